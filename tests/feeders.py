"""The IEEE test feeders as element graphs, from the tables of `electrisim.feeder`.

Buses are b<name>, other elements have the names of their tables. A load along a line is at a bus in
its middle (m<line>), where two halves of the line meet: the treatment that the published losses
prove (electrisim/feeder/ieee13/README.md). Switches, regulators and single-phase elements say which
phases they have; a regulator is a single-phase transformer with its tap.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from bricks import element

from electrisim.feeder import tables
from electrisim.feeder.tables import Feeder

KM_PER_MILE, KM_PER_FOOT = 1.609344, 0.3048e-3
SHARES = {
    "PQ": {},
    "I": {"const_i_p_percent": 100, "const_i_q_percent": 100},
    "Z": {"const_z_p_percent": 100, "const_z_q_percent": 100},
}
#: Percent of a tap of a step-voltage regulator.
STEP_PERCENT = 0.625


def letters(nodes: str) -> str:
    """“3.1” → “ca”"""
    return "".join("abc"[int(node) - 1] for node in nodes.split("."))


def of_phases(nodes: str) -> dict[str, str]:
    """The field `phases`, which needs no word for all three."""
    word = letters(nodes)
    return {} if word == "abc" else {"phases": word}


def graph(name: str, controlled: bool = False) -> dict[str, Any]:
    """A feeder's elements; the regulators at the published taps, or at neutral with control."""
    feeder = tables.read(name)
    elements = dict(_elements(feeder))
    for regulator in feeder.regulators.values() if controlled else ():
        elements[regulator.regulator]["parameters"].update(_control(feeder, regulator))
    return elements


def _control(feeder: Feeder, regulator: tables.Regulator) -> dict[str, Any]:
    """From the volts of the relay to per unit and ohms of the feeder."""
    r, base_kv = regulator, feeder.buses[regulator.to_bus].base_kv_ll
    nominal = 1e3 * base_kv / (1 if r.conn == "delta" else 3**0.5)
    half = r.bandwidth_volts / 2
    ohm = r.pt_ratio / r.ct_primary_amps
    return {
        "tap_control": "discrete", "tap_pos": 0, "control_delay_s": r.delay_s,
        "vm_lower_pu": (r.vreg_volts - half) * r.pt_ratio / nominal,
        "vm_upper_pu": (r.vreg_volts + half) * r.pt_ratio / nominal,
        "line_drop_r_ohm": r.r_volts * ohm, "line_drop_x_ohm": r.x_volts * ohm,
    }  # fmt: skip


def _elements(feeder: Feeder) -> Iterator[tuple[str, Any]]:
    source = feeder.source
    yield (
        "grid",
        element(
            "External Grid", bus=f"b{source.bus}", vm_pu=source.v_pu, va_degree=source.angle_deg
        ),
    )
    for bus in feeder.buses.values():
        yield f"b{bus.bus}", element("Bus", bus.bus, vn_kv=bus.base_kv_ll)
    yield from _lines(feeder)
    for switch in feeder.switches.values():
        yield (
            f"switch {switch.switch}",
            element(
                "Switch", bus=f"b{switch.from_bus}", element=f"b{switch.to_bus}",
                closed=switch.closed, **of_phases(switch.nodes),
            ),
        )  # fmt: skip
    yield from _transformers(feeder)
    for capacitor in feeder.capacitors.values():
        yield (
            capacitor.capacitor,
            element(
                "Capacitor", bus=f"b{capacitor.bus}", q_mvar=-capacitor.kvar / 1e3,
                **of_phases(capacitor.nodes),
            ),
        )  # fmt: skip
    for load in feeder.loads.values():
        at = f"m{load.line}" if load.line else f"b{load.bus}"
        wired = of_phases(load.nodes) or {"type": load.conn}
        powers = {"p_mw": load.kw / 1e3, "q_mvar": load.kvar / 1e3}
        yield load.load, element("Load", bus=at, **powers, **wired, **SHARES[load.model])


def _lines(feeder: Feeder) -> Iterator[tuple[str, Any]]:
    loaded = {load.line for load in feeder.loads.values() if load.line}
    for line in feeder.lines.values():
        start, end, km = f"b{line.from_bus}", f"b{line.to_bus}", line.length_ft * KM_PER_FOOT
        parts = {**of_phases(line.nodes), **_matrices(feeder, line.config)}
        if line.line not in loaded:
            ends = {"from_bus": start, "to_bus": end}
            yield line.line, element("Line", **ends, length_km=km, **parts)
            continue
        middle = f"m{line.line}"
        yield middle, element("Bus", vn_kv=feeder.buses[line.from_bus].base_kv_ll)
        for half, ends in (("", (start, middle)), (" (far half)", (middle, end))):
            more = {"from_bus": ends[0], "to_bus": ends[1], "length_km": km / 2}
            yield f"{line.line}{half}", element("Line", **more, **parts)


def _matrices(feeder: Feeder, config: str) -> dict[str, Any]:
    """Lower triangles per kilometre."""
    entries = {(z.row_phase, z.col_phase): z for z in feeder.impedances[config]}
    phases = sorted({row for row, _ in entries})

    def triangle(field: str) -> list[list[float]]:
        return [
            [getattr(entries[row, column], field) / KM_PER_MILE for column in phases[: k + 1]]
            for k, row in enumerate(phases)
        ]

    return {
        "r_matrix_ohm_per_km": triangle("r_ohm_per_mile"),
        "x_matrix_ohm_per_km": triangle("x_ohm_per_mile"),
        "c_matrix_nf_per_km": triangle("c_nF_per_mile_60Hz"),
    }


def _transformers(feeder: Feeder) -> Iterator[tuple[str, Any]]:
    for unit in feeder.transformers.values():
        r, x = unit.r_percent_total, unit.x_percent
        group = {"wye": "YN", "delta": "D"}[unit.conn_from]
        group += {"wye": "yn", "delta": "d"}[unit.conn_to] + "0"
        yield (
            unit.name,
            _unit(
                unit.from_bus, unit.to_bus, unit.kva, (unit.kv_from, unit.kv_to), r, x,
                vector_group=group,
            ),
        )  # fmt: skip
    for regulator in feeder.regulators.values():
        parts = of_phases(regulator.nodes) or {"vector_group": "YNyn0"}
        kv = (regulator.kv, regulator.kv)
        yield (
            regulator.regulator,
            _unit(
                regulator.from_bus, regulator.to_bus, regulator.kva, kv, 0, regulator.x_percent,
                tap_side="lv", tap_neutral=0, tap_min=-16, tap_max=16,
                tap_step_percent=STEP_PERCENT, tap_pos=regulator.published_tap, **parts,
            ),
        )  # fmt: skip


def _unit(
    hv: str, lv: str, kva: float, kv: tuple[float, float], r: float, x: float, **more: Any
) -> dict[str, Any]:
    """A transformer of r + j·x percent without no-load current."""
    return element(
        "Transformer", hv_bus=f"b{hv}", lv_bus=f"b{lv}", sn_mva=kva / 1e3, vn_hv_kv=kv[0],
        vn_lv_kv=kv[1], vk_percent=(r**2 + x**2) ** 0.5, vkr_percent=r, pfe_kw=0, i0_percent=0,
        **more,
    )  # fmt: skip


# -- IEEE 4-node feeder ----------------------------------------------------------------------------

#: Ω per mile of the four-wire line (its neutral folded in) and of the three-wire one: IEEE 4 Node
#: Test Feeder, Distribution System Analysis Subcommittee, revised 19 September 2006.
FOUR_WIRE = (
    [[0.4576], [0.1559, 0.4666], [0.1535, 0.158, 0.4615]],
    [[1.078], [0.5017, 1.0482], [0.3849, 0.4236, 1.0651]],
)
THREE_WIRE = (
    [[0.4013], [0.0953, 0.4013], [0.0953, 0.0953, 0.4013]],
    [[1.4133], [0.8515, 1.4133], [0.7266, 0.7802, 1.4133]],
)
#: kW and power factor of the phases, or of the sides of a delta.
LOADINGS = {
    "bal": ((1800, 0.9), (1800, 0.9), (1800, 0.9)),
    "unbal": ((1275, 0.85), (1800, 0.9), (2375, 0.95)),
}
#: Connection → vector groups stepping down and up (the low side lags), or of two units what their
#: windings at node 2 and at node 3 lie between.
BANKS: dict[str, tuple[Any, Any]] = {
    "gry_gry": ("YNyn0", "YNyn0"),
    "gry_d": ("YNd1", "Dyn1"),
    "y_d": ("Yd1", "Dy1"),
    "d_gry": ("Dyn1", "YNd1"),
    "d_d": ("Dd0", "Dd0"),
    "open_gry_d": ((("a", "ab"), ("b", "bc")), (("a", "ac"), ("b", "ba"))),
}


def ieee4(connection: str, direction: str, loading: str) -> dict[str, Any]:
    """grid b1 ── 2000 ft ── b2 ─ bank ─ b3 ── 2500 ft ── b4 (three loads)

    connection  of `BANKS`        direction  "down" to 4.16 kV or "up" to 24.9
    loading     of `LOADINGS`; an open bank has two thirds of it
    """
    far_kv = {"down": 4.16, "up": 24.9}[direction]
    near, far = (side in ("d", "y") for side in connection.split("_")[-2:])
    # An ungrounded wye has the four-wire line on its side.
    near = near and not connection.startswith("y_")
    parts = {"grid": element("External Grid", bus="b1")}
    for bus, kv in (("b1", 12.47), ("b2", 12.47), ("b3", far_kv), ("b4", far_kv)):
        parts[bus] = element("Bus", vn_kv=kv)
    parts["line 1-2"] = _of_miles("b1", "b2", 2000, THREE_WIRE if near else FOUR_WIRE)
    parts["line 3-4"] = _of_miles("b3", "b4", 2500, THREE_WIRE if far else FOUR_WIRE)
    parts |= _bank(connection, direction, far_kv)
    share = 2 / 3 if connection.startswith("open") else 1
    for side, (kw, pf) in zip(("ab", "bc", "ca"), LOADINGS[loading], strict=True):
        powers = {"p_mw": share * kw / 1e3, "q_mvar": share * kw / 1e3 * (pf**-2 - 1) ** 0.5}
        parts[f"load {side[0]}"] = element(
            "Load", bus="b4", phases=side if far else side[0], **powers
        )
    return parts


def _of_miles(from_bus: str, to_bus: str, feet: float, matrices: tuple[Any, Any]) -> dict[str, Any]:
    r, x = ([[z / KM_PER_MILE for z in row] for row in matrix] for matrix in matrices)
    km = feet * KM_PER_FOOT
    return element(
        "Line", from_bus=from_bus, to_bus=to_bus, length_km=km,
        r_matrix_ohm_per_km=r, x_matrix_ohm_per_km=x,
    )  # fmt: skip


def _bank(connection: str, direction: str, far_kv: float) -> dict[str, Any]:
    """6 MVA, or 2 MVA each of two, 1 % and 6 %."""
    down = direction == "down"
    how = BANKS[connection][0 if down else 1]
    ends = ("2", "3") if down else ("3", "2")
    if isinstance(how, str):
        kv = (12.47, far_kv) if down else (far_kv, 12.47)
        return {"bank": _unit(*ends, 6000, kv, 1, 6, vector_group=how)}
    kv = (7.2, far_kv) if down else (far_kv, 7.2)
    return {
        f"unit {near}": _unit(
            *ends, 2000, kv, 1, 6,
            phases=near if down else far, lv_phases=far if down else near,
        )
        for near, far in how
    }  # fmt: skip


# -- an example that README posts ------------------------------------------------------------------


def example() -> dict[str, Any]:
    """The 13-node feeder as a request."""
    settings = {"solver": "opendss", "mode": "unbalanced", "frequency": 60}
    return {
        "simulationType": "powerflow",
        "elements": _rounded(graph("ieee13")),
        "settings": settings,
    }


def _rounded(value: Any) -> Any:
    """To nine digits, which is far beyond what the data sheets give."""
    if isinstance(value, float):
        return float(f"{value:.9g}")
    if isinstance(value, dict):
        return {key: _rounded(each) for key, each in value.items() if each is not None}
    return [_rounded(each) for each in value] if isinstance(value, list) else value


def write(request: Mapping[str, Any]) -> str:
    """A request as text, one element a line."""
    lines = [
        f"    {json.dumps(id_, ensure_ascii=False)}: {json.dumps(each, ensure_ascii=False)}"
        for id_, each in request["elements"].items()
    ]
    return (
        f'{{\n  "simulationType": {json.dumps(request["simulationType"])},\n  "elements": {{\n'
        + ",\n".join(lines)
        + f'\n  }},\n  "settings": {json.dumps(request["settings"])}\n}}\n'
    )
