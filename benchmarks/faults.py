"""Faults to plant: what people get wrong when they draw a network.

Each takes a random generator and a network, changes the network and tells what it changed; None
where the network has nothing of the sort.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from benchmarks.networks import Elements, element


class Planted(NamedTuple):
    """What was changed.

    elements  of which a diagnosis has to name one; empty where it is all of them, or a setting
    before    (element, field) → the value before
    rules     rules that name the cause too, where it is no single element
    settings  of the request
    """

    elements: frozenset[str]
    before: Mapping[tuple[str | None, str], Any]
    rules: frozenset[str] = frozenset()
    settings: Mapping[str, Any] = MappingProxyType({})


Fault = Callable[[random.Random, Elements], Planted | None]


def _of(elements: Elements, *typs: str, **having: Any) -> list[str]:
    """Elements of these kinds in service, with these parameters present and not 0."""
    return [
        id_
        for id_, each in elements.items()
        if each["typ"] in typs
        and each["parameters"].get("in_service", True)
        and all(each["parameters"].get(name) for name in having)
    ]


def times(typs: str | tuple[str, ...], fields: tuple[str, ...], factor: float) -> Fault:
    """One element's fields multiplied."""
    kinds = (typs,) if isinstance(typs, str) else typs

    def plant(rng: random.Random, elements: Elements) -> Planted | None:
        found = _of(elements, *kinds, **dict.fromkeys(fields[:1]))
        if not found:
            return None
        id_ = rng.choice(found)
        given = elements[id_]["parameters"]
        before = {(id_, name): given[name] for name in fields if given.get(name)}
        for _, name in before:
            given[name] = given[name] * factor
        return Planted(frozenset([id_]), before)

    return plant


def every(typ: str, fields: tuple[str, ...], factor: float, *rules: str) -> Fault:
    """All elements of a kind with their fields multiplied."""

    def plant(rng: random.Random, elements: Elements) -> Planted | None:
        found = _of(elements, typ)
        if len(found) < 2:
            return None
        before = {}
        for id_ in found:
            given = elements[id_]["parameters"]
            for name in fields:
                if given.get(name):
                    before[id_, name] = given[name]
                    given[name] = given[name] * factor
        return Planted(frozenset(), before, frozenset(rules))

    return plant


def put(typs: str | tuple[str, ...], field: str, value: Callable[[Any, Elements], Any]) -> Fault:
    """One element's field set to what a function makes of its parameters; None for no fault."""
    kinds = (typs,) if isinstance(typs, str) else typs

    def plant(rng: random.Random, elements: Elements) -> Planted | None:
        found = _of(elements, *kinds)
        rng.shuffle(found)
        for id_ in found:
            given = elements[id_]["parameters"]
            new = value(given, elements)
            if new is not None:
                before = {(id_, field): given.get(field)}
                given[field] = new
                return Planted(frozenset([id_]), before)
        return None

    return plant


def _kv(given: Mapping[str, Any], elements: Elements) -> float:
    bus = given.get("bus") or given.get("hv_bus") or given.get("from_bus")
    return float(elements[str(bus)]["parameters"]["vn_kv"])


def whole_line_ohms(rng: random.Random, elements: Elements) -> Planted | None:
    """Ω of the whole line given as Ω/km, where a line is longer than 2 km."""
    found = [id_ for id_ in _of(elements, "Line") if elements[id_]["parameters"]["length_km"] > 2]
    if not found:
        return None
    id_ = rng.choice(found)
    given = elements[id_]["parameters"]
    before = {(id_, name): given[name] for name in ("r_ohm_per_km", "x_ohm_per_km")}
    for _, name in before:
        given[name] *= given["length_km"]
    return Planted(frozenset([id_]), before)


def wrong_way_round(rng: random.Random, elements: Elements) -> Planted | None:
    found = [
        id_
        for id_ in _of(elements, "Transformer")
        if elements[id_]["parameters"]["vn_hv_kv"] != elements[id_]["parameters"]["vn_lv_kv"]
    ]
    if not found:
        return None
    id_ = rng.choice(found)
    given = elements[id_]["parameters"]
    before = {(id_, name): given[name] for name in ("hv_bus", "lv_bus")}
    given["hv_bus"], given["lv_bus"] = given["lv_bus"], given["hv_bus"]
    return Planted(frozenset([id_]), before)


def other_level(rng: random.Random, elements: Elements) -> Planted | None:
    """A bus with the nominal voltage of another level."""
    levels = sorted({each["parameters"]["vn_kv"] for each in elements.values()
                     if each["typ"] == "Bus"})  # fmt: skip
    if len(levels) < 2:
        return None
    id_ = rng.choice(_of(elements, "Bus"))
    given = elements[id_]["parameters"]
    before = {(id_, "vn_kv"): given["vn_kv"]}
    given["vn_kv"] = rng.choice([kv for kv in levels if kv != given["vn_kv"]])
    return Planted(frozenset([id_]), before)


def across_levels(rng: random.Random, elements: Elements) -> Planted | None:
    """A closed switch between two buses of different levels."""
    buses = _of(elements, "Bus")
    rng.shuffle(buses)
    level = {id_: elements[id_]["parameters"]["vn_kv"] for id_ in buses}
    other = next((id_ for id_ in buses if level[id_] != level[buses[0]]), None)
    if other is None:
        return None
    elements["planted"] = element("Switch", bus=buses[0], element=other, closed=True)
    return Planted(frozenset(["planted", buses[0], other]), {("planted", "closed"): False})


def second_grid(rng: random.Random, elements: Elements) -> Planted | None:
    """A second external grid that stands 120° off."""
    taken = {each["parameters"].get("bus") for each in elements.values()
             if each["typ"] in ("External Grid", "Generator")}  # fmt: skip
    levels = [elements[id_]["parameters"]["vn_kv"] for id_ in _of(elements, "Bus")]
    buses = [
        id_
        for id_ in _of(elements, "Bus")
        if id_ not in taken and elements[id_]["parameters"]["vn_kv"] == max(levels)
    ]
    if not buses:
        return None
    elements["planted"] = element(
        "External Grid", bus=rng.choice(buses), vm_pu=1.0, va_degree=120.0
    )
    grids = frozenset(_of(elements, "External Grid"))
    return Planted(grids, {("planted", "va_degree"): 0.0})


def strongest_out(typs: tuple[str, ...]) -> Fault:
    """One of the three branches with the largest flow is out of service (flows by impedance)."""

    def plant(rng: random.Random, elements: Elements) -> Planted | None:
        found = _of(elements, *typs)
        if len(found) < 3:
            return None
        grids = {elements[id_]["parameters"]["bus"] for id_ in _of(elements, "External Grid")}
        near = [id_ for id_ in found
                if grids & {elements[id_]["parameters"].get(f)
                            for f in ("from_bus", "to_bus", "hv_bus", "lv_bus")}]  # fmt: skip
        id_ = rng.choice(near or found)
        elements[id_]["parameters"]["in_service"] = False
        return Planted(frozenset([id_]), {(id_, "in_service"): True}, frozenset(["overload"]))

    return plant


def generators_out(rng: random.Random, elements: Elements) -> Planted | None:
    """All generators but every fourth out of service."""
    found = _of(elements, "Generator")
    out = [id_ for k, id_ in enumerate(found) if k % 4]
    if not out:
        return None
    for id_ in out:
        elements[id_]["parameters"]["in_service"] = False
    before = {(id_, "in_service"): True for id_ in out}
    return Planted(frozenset(out), before, frozenset(["overload"]))


def settings(rules: tuple[str, ...] = ("solver",), **chosen: Any) -> Fault:
    def plant(rng: random.Random, elements: Elements) -> Planted | None:
        before = {(None, name): None for name in chosen}
        return Planted(frozenset(), before, frozenset(rules), MappingProxyType(chosen))

    return plant


def both(one: Fault, other: Fault) -> Fault:
    """Two faults in one network; naming one of them is not enough for its repair."""

    def plant(rng: random.Random, elements: Elements) -> Planted | None:
        first = one(rng, elements)
        second = other(rng, elements)
        if first is None or second is None:
            return None
        return Planted(first.elements | second.elements, {**first.before, **second.before})

    return plant


_PQ = ("p_mw", "q_mvar")
_RX = ("r_ohm_per_km", "x_ohm_per_km")
_SHUNTS = ("Shunt", "Shunt Reactor", "Capacitor")
_PHASES = ("p_a_mw", "p_b_mw", "p_c_mw")

FAULTS: Mapping[str, Fault] = MappingProxyType({
    "load: kW for MW": times("Load", _PQ, 1e3),
    "load: W for MW": times("Load", _PQ, 1e6),
    "load: kvar for Mvar": times("Load", ("q_mvar",), 1e3),
    "load: decimal point": times("Load", _PQ, 10),
    "load: percent for scaling": put("Load", "scaling", lambda given, _: 100.0),
    "asymmetric load: kW for MW": times("Asymmetric Load", _PHASES, 1e3),
    "static generator: kW for MW": times("Static Generator", _PQ, 1e3),
    "generator: kW for MW": times("Generator", ("p_mw",), 1e3),
    "generator: percent for scaling": put("Generator", "scaling", lambda given, _: 100.0),
    "motor: kW for MW": times("Motor", ("pn_mech_mw",), 1e3),
    "storage: kW for MW": times("Storage", ("p_mw",), 1e3),
    "PV system: W for kW": times("PVSystem", ("pmpp_kw",), 1e3),
    "ward: kW for MW": times("Ward", ("ps_mw", "qs_mvar"), 1e3),
    "shunt: kvar for Mvar": times(_SHUNTS, ("q_mvar",), 1e3),
    "line: metres for kilometres": times("Line", ("length_km",), 1e3),
    "line: ohms of the whole line": whole_line_ohms,
    "line: mΩ for Ω": times("Line", _RX, 1e3),
    "line: reactance, two decimals": times("Line", ("x_ohm_per_km",), 100),
    "line: resistance, two decimals": times("Line", ("r_ohm_per_km",), 100),
    "line: pF for nF": times("Line", ("c_nf_per_km",), 1e3),
    "line: sign of the reactance": times("Line", ("x_ohm_per_km",), -1),
    "impedance: percent for pu": times("Impedance", ("rft_pu", "xft_pu"), 100),
    "transformer: vk, two decimals": times("Transformer", ("vk_percent", "vkr_percent"), 100),
    "transformer: GVA for MVA": times("Transformer", ("sn_mva",), 1e-3),
    "transformer: vn_hv in V": times("Transformer", ("vn_hv_kv",), 1e3),
    "transformer: vn_lv in V": times("Transformer", ("vn_lv_kv",), 1e3),
    "transformer: wrong way round": wrong_way_round,
    "transformer: tap_pos, decimal point": put(
        "Transformer", "tap_pos",
        lambda given, _: 30.0 if given.get("tap_step_percent") and given.get("tap_side") else None,
    ),
    "transformer: tap step, two decimals": put(
        "Transformer", "tap_step_percent",
        lambda given, _: 100 * given["tap_step_percent"]
        if given.get("tap_step_percent") and given.get("tap_pos") else None,
    ),
    "transformer: wrong vector group": put(
        "Transformer", "shift_degree",
        lambda given, _: (given.get("shift_degree") or 0.0) + 150.0,
    ),
    "transformer: W for kW of iron losses": times("Transformer", ("pfe_kw",), 1e3),
    "transformer 3w: vk, two decimals": times(
        "Three Winding Transformer",
        tuple(f"{name}_{side}_percent" for side in ("hv", "mv", "lv") for name in ("vk", "vkr")),
        100,
    ),
    "transformer 3w: vn_mv in V": times("Three Winding Transformer", ("vn_mv_kv",), 1e3),
    "bus: V for kV": times("Bus", ("vn_kv",), 1e3),
    "bus: another level": other_level,
    "switch across levels": across_levels,
    "generator: kV for pu": put("Generator", "vm_pu", lambda given, all_: _kv(given, all_)),
    "generator: percent for pu": times("Generator", ("vm_pu",), 100),
    "generator: decimal point of vm_pu": times("Generator", ("vm_pu",), 0.1),
    "external grid: kV for pu": put("External Grid", "vm_pu", lambda given, all_: _kv(given, all_)),
    "external grid: decimal point of vm_pu": times("External Grid", ("vm_pu",), 0.1),
    "external grid: a second one, 120° off": second_grid,
    "a strong line out of service": strongest_out(("Line",)),
    "generators out of service": generators_out,
    "all loads: four times": every("Load", _PQ, 4, "overload", "every-value"),
    "all loads: kW for MW": every("Load", _PQ, 1e3, "overload", "every-value"),
    "all lines: metres for kilometres": every("Line", ("length_km",), 1e3, "every-value"),
    "two faults: load and line": both(
        times("Load", _PQ, 1e3), times("Line", ("length_km",), 1e3)
    ),
    "two faults: two loads": both(times("Load", _PQ, 1e3), times("Load", _PQ, 1e3)),
    "settings: one iteration": settings(max_iteration=1),
    "settings: Gauss-Seidel, 20 iterations": settings(algorithm="gs", max_iteration=20),
})  # fmt: skip
