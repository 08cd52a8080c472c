"""Networks to plant faults in, as `elements` of the documented spelling.

Five are MATPOWER's cases as pandapower ships them. `ieee34` is the balanced equivalent of the IEEE
34-node feeder from the tables in electrisim/feeder, `town` and `plant` are our own: their lines
have lengths, their cables and transformers the data of common types.
"""

from __future__ import annotations

import csv
import json
import math
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from benchmarks.cases import request

Elements = dict[str, dict[str, Any]]
FEEDERS = Path(__file__).parents[1] / "electrisim" / "feeder"
KM_PER_FOOT, KM_PER_MILE = 0.3048e-3, 1.609344


def matpower(case: str) -> Elements:
    """One of MATPOWER's cases."""
    elements: Elements = json.loads(request(case))["elements"]
    return elements


def element(typ: str, name: str = "", **parameters: Any) -> dict[str, Any]:
    return {"typ": typ, "name": name or typ, "parameters": parameters}


# -- a town ----------------------------------------------------------------------------------------

OVERHEAD_110 = {"r_ohm_per_km": 0.119, "x_ohm_per_km": 0.38, "c_nf_per_km": 9.2, "max_i_ka": 0.645}
CABLE_20 = {"r_ohm_per_km": 0.161, "x_ohm_per_km": 0.117, "c_nf_per_km": 273.0, "max_i_ka": 0.362}
CABLE_04 = {"r_ohm_per_km": 0.206, "x_ohm_per_km": 0.08, "c_nf_per_km": 829.0, "max_i_ka": 0.27}
MAIN = {
    "sn_mva": 25.0, "vn_hv_kv": 110.0, "vn_lv_kv": 20.0, "vk_percent": 12.0, "vkr_percent": 0.41,
    "pfe_kw": 14.0, "i0_percent": 0.07, "vector_group": "YNd5", "shift_degree": 150.0,
    "tap_side": "hv", "tap_neutral": 0.0, "tap_min": -9.0, "tap_max": 9.0, "tap_step_percent": 1.5,
    "tap_pos": -2.0,
}  # fmt: skip
LOCAL = {
    "sn_mva": 0.63, "vn_hv_kv": 20.0, "vn_lv_kv": 0.4, "vk_percent": 6.0, "vkr_percent": 1.2,
    "pfe_kw": 1.2, "i0_percent": 0.3, "vector_group": "Dyn5", "shift_degree": 150.0,
    "tap_side": "hv", "tap_neutral": 0.0, "tap_min": -2.0, "tap_max": 2.0, "tap_step_percent": 2.5,
    "tap_pos": 0.0,
}  # fmt: skip


def town() -> Elements:
    """110 kV ring ─ two transformers ─ 20 kV rings, open in the middle ─ ten streets, 0.4 kV."""
    found: Elements = {"grid": element("External Grid", bus="h0", vm_pu=1.03)}
    for k in range(3):
        found[f"h{k}"] = element("Bus", vn_kv=110.0)
        found[f"ring{k}"] = element(
            "Line", from_bus=f"h{k}", to_bus=f"h{(k + 1) % 3}", length_km=12.0 + 6 * k,
            **OVERHEAD_110,
        )  # fmt: skip
    found["m0"] = element("Bus", vn_kv=20.0)
    for k, at in enumerate(("h1", "h1")):
        found[f"main{k}"] = element("Transformer", hv_bus=at, lv_bus="m0", **MAIN)
    found["bank"] = element("Capacitor", bus="m0", q_mvar=-2.0)
    found["park"] = element("Static Generator", bus="h2", p_mw=15.0, q_mvar=0.0)
    found["town2"] = element("Load", bus="h2", p_mw=18.0, q_mvar=5.0)
    for ring in range(2):
        before = "m0"
        for k in range(1, 6):
            bus = f"m{ring}{k}"
            found[bus] = element("Bus", vn_kv=20.0)
            found[f"cable{ring}{k}"] = element(
                "Line", from_bus=before, to_bus=bus, length_km=0.8 + 0.3 * k, **CABLE_20
            )
            found |= _street(bus, f"{ring}{k}", 0.25 + 0.03 * k, ring == 1 and k > 2)
            before = bus
    found["tie"] = element("Line", from_bus="m05", to_bus="m15", length_km=2.0, **CABLE_20)
    found["open"] = element("Switch", bus="m05", element="tie", closed=False)
    found["battery"] = element("Storage", bus="m13", p_mw=0.5, q_mvar=0.0, max_e_mwh=2.0)
    found["works"] = element("Motor", bus="m04", pn_mech_mw=0.9, cos_phi=0.88,
                             efficiency_percent=95.0)  # fmt: skip
    return found


def _street(bus: str, mark: str, p_mw: float, sunny: bool) -> Elements:
    found = {
        f"s{mark}": element("Bus", vn_kv=0.4),
        f"e{mark}": element("Bus", vn_kv=0.4),
        f"local{mark}": element("Transformer", hv_bus=bus, lv_bus=f"s{mark}", **LOCAL),
        f"feed{mark}": element(
            "Line", from_bus=f"s{mark}", to_bus=f"e{mark}", length_km=0.18, **CABLE_04
        ),
        f"shop{mark}": element("Load", bus=f"s{mark}", p_mw=0.7 * p_mw, q_mvar=0.2 * p_mw),
        f"home{mark}": element("Load", bus=f"e{mark}", p_mw=0.2 * p_mw, q_mvar=0.05 * p_mw),
    }
    if sunny:
        found[f"roof{mark}"] = element("PVSystem", bus=f"e{mark}", pmpp_kw=40.0)
    return found


# -- a plant ---------------------------------------------------------------------------------------

CABLE_10 = {"r_ohm_per_km": 0.1, "x_ohm_per_km": 0.1, "c_nf_per_km": 400.0, "max_i_ka": 0.45}
STAR = {
    "sn_hv_mva": 63.0, "sn_mv_mva": 40.0, "sn_lv_mva": 25.0, "vn_hv_kv": 110.0, "vn_mv_kv": 30.0,
    "vn_lv_kv": 10.5, "vk_hv_percent": 11.0, "vk_mv_percent": 7.0, "vk_lv_percent": 12.0,
    "vkr_hv_percent": 0.3, "vkr_mv_percent": 0.3, "vkr_lv_percent": 0.35, "pfe_kw": 35.0,
    "i0_percent": 0.1, "shift_mv_degree": 0.0, "shift_lv_degree": 330.0,
}  # fmt: skip
UNIT = {
    "sn_mva": 16.0, "vn_hv_kv": 30.0, "vn_lv_kv": 6.3, "vk_percent": 9.0, "vkr_percent": 0.5,
    "pfe_kw": 12.0, "i0_percent": 0.2, "shift_degree": 330.0, "tap_side": "hv",
    "tap_neutral": 0.0, "tap_min": -8.0, "tap_max": 8.0, "tap_step_percent": 1.25, "tap_pos": 2.0,
}  # fmt: skip


def plant() -> Elements:
    """A works behind a three-winding transformer, with motors, its own generator and a reactor."""
    found: Elements = {
        "b110": element("Bus", vn_kv=110.0),
        "b110w": element("Bus", vn_kv=110.0),
        "grid": element("External Grid", bus="b110", vm_pu=1.02),
        "feeder": element("Line", from_bus="b110", to_bus="b110w", length_km=22.0, **OVERHEAD_110),
        "b30": element("Bus", vn_kv=30.0),
        "b10": element("Bus", vn_kv=10.5),
        "star": element("Three Winding Transformer", hv_bus="b110w", mv_bus="b30", lv_bus="b10",
                        **STAR),
        "reactor": element("Shunt Reactor", bus="b30", q_mvar=3.0),
        "filter": element("Capacitor", bus="b10", q_mvar=-4.0),
        "furnace": element("Load", bus="b30", p_mw=14.0, q_mvar=6.0),
        "village": element("Ward", bus="b30", ps_mw=1.5, qs_mvar=0.5, pz_mw=1.0, qz_mvar=0.3),
        "choke": element("Impedance", from_bus="b10", to_bus="b10c", sn_mva=25.0, rft_pu=0.001,
                         xft_pu=0.06),
        "b10c": element("Bus", vn_kv=10.5),
    }  # fmt: skip
    for k in range(4):
        bus = f"hall{k}"
        found[bus] = element("Bus", vn_kv=10.5)
        found[f"cable{k}"] = element(
            "Line", from_bus="b10c" if k % 2 else "b10", to_bus=bus, length_km=0.4 + 0.2 * k,
            **CABLE_10,
        )  # fmt: skip
        found[f"drive{k}"] = element("Motor", bus=bus, pn_mech_mw=1.5 + 0.4 * k, cos_phi=0.87,
                                     efficiency_percent=96.0)  # fmt: skip
        found[f"light{k}"] = element("Load", bus=bus, p_mw=0.6, q_mvar=0.15)
        found[f"phases{k}"] = element("Asymmetric Load", bus=bus, p_a_mw=0.05, p_b_mw=0.06,
                                      p_c_mw=0.04)  # fmt: skip
    for k in range(2):
        found[f"g{k}"] = element("Bus", vn_kv=6.3)
        found[f"unit{k}"] = element("Transformer", hv_bus="b30", lv_bus=f"g{k}", **UNIT)
    found["turbine"] = element("Generator", bus="g0", p_mw=9.0, vm_pu=1.01)
    found["mill"] = element("Load", bus="g1", p_mw=7.0, q_mvar=3.0)
    return found


# -- a feeder --------------------------------------------------------------------------------------


def _table(feeder: str, name: str) -> list[dict[str, str]]:
    with (FEEDERS / feeder / f"{name}.csv").open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def ieee34() -> Elements:
    """Every line with its positive-sequence (or own) impedance, every load on three phases."""
    feeder = "ieee34"
    found: Elements = {}
    for row in _table(feeder, "buses"):
        found[f"b{row['bus']}"] = element("Bus", vn_kv=float(row["base_kv_ll"]))
    source = _table(feeder, "source")[0]
    found["grid"] = element("External Grid", bus=f"b{source['bus']}", vm_pu=float(source["v_pu"]))
    constants = dict(_positive_sequence(feeder))
    for row in _table(feeder, "lines"):
        found[f"l{row['line']}"] = element(
            "Line", from_bus=f"b{row['from_bus']}", to_bus=f"b{row['to_bus']}",
            length_km=float(row["length_ft"]) * KM_PER_FOOT, max_i_ka=0.23,
            **constants[row["config"]],
        )  # fmt: skip
    for row in _table(feeder, "transformers"):
        found[row["name"]] = element(
            "Transformer", hv_bus=f"b{row['from_bus']}", lv_bus=f"b{row['to_bus']}",
            sn_mva=float(row["kva"]) / 1e3, vn_hv_kv=float(row["kv_from"]),
            vn_lv_kv=float(row["kv_to"]), vkr_percent=float(row["r_percent_total"]),
            vk_percent=math.hypot(float(row["r_percent_total"]), float(row["x_percent"])),
            pfe_kw=0.0, i0_percent=0.0, shift_degree=0.0,
        )  # fmt: skip
    found |= _regulators(feeder)
    found |= _loads(feeder)
    for row in _table(feeder, "capacitors"):
        found[row["capacitor"]] = element(
            "Capacitor", bus=f"b{row['bus']}", q_mvar=-float(row["kvar"]) / 1e3
        )
    return found


def _positive_sequence(feeder: str) -> Iterator[tuple[str, dict[str, float]]]:
    """Configuration → mean of the diagonal less mean of the rest, per kilometre."""
    parts: dict[str, dict[bool, list[list[float]]]] = defaultdict(lambda: defaultdict(list))
    for row in _table(feeder, "line_impedances"):
        values = [float(row[n]) for n in ("r_ohm_per_mile", "x_ohm_per_mile", "c_nF_per_mile_60Hz")]
        parts[row["config"]][row["row_phase"] == row["col_phase"]].append(values)
    names = ("r_ohm_per_km", "x_ohm_per_km", "c_nf_per_km")
    for config, part in parts.items():
        means = [
            [sum(column) / len(column) for column in zip(*part[own], strict=True)] or [0.0] * 3
            for own in (True, False)
        ]
        yield (
            config,
            {
                name: (own - mutual) / KM_PER_MILE
                for name, own, mutual in zip(names, *means, strict=True)
            },
        )


def _regulators(feeder: str) -> Elements:
    """Three single-phase regulators as one transformer at the mean of their published taps."""
    banks: dict[tuple[str, str], list[float]] = defaultdict(list)
    for row in _table(feeder, "regulators"):
        banks[row["from_bus"], row["to_bus"]].append(float(row["published_tap"]))
    return {
        f"reg{one}": element(
            "Transformer", hv_bus=f"b{one}", lv_bus=f"b{other}", sn_mva=5.0, vn_hv_kv=24.9,
            vn_lv_kv=24.9, vk_percent=1.0, vkr_percent=0.1, pfe_kw=0.0, i0_percent=0.0,
            shift_degree=0.0, tap_side="lv", tap_neutral=0.0, tap_min=-16.0, tap_max=16.0,
            tap_step_percent=0.625, tap_pos=float(round(sum(taps) / len(taps))),
        )
        for (one, other), taps in banks.items()
    }  # fmt: skip


def _loads(feeder: str) -> Elements:
    """Spot loads at their bus, distributed ones at the end of their line."""
    ends = {row["line"]: row["to_bus"] for row in _table(feeder, "lines")}
    at: dict[str, complex] = defaultdict(complex)
    for row in _table(feeder, "loads"):
        at[row["bus"]] += complex(float(row["kw"]), float(row["kvar"]))
    for row in _table(feeder, "distributed_loads"):
        at[ends[row["line"]]] += complex(float(row["kw"]), float(row["kvar"]))
    return {
        f"d{bus}": element("Load", bus=f"b{bus}", p_mw=kva.real / 1e3, q_mvar=kva.imag / 1e3)
        for bus, kva in at.items()
    }


NETWORKS: Mapping[str, Callable[[], Elements]] = MappingProxyType({
    "case14": lambda: matpower("case14"),
    "case30": lambda: matpower("case30"),
    "case39": lambda: matpower("case39"),
    "case57": lambda: matpower("case57"),
    "case118": lambda: matpower("case118"),
    "ieee34": ieee34,
    "town": town,
    "plant": plant,
})  # fmt: skip
