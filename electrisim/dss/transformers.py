"""Transformers: windings in any order and connection, to high, middle and low voltage."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from electrisim.dss.script import Thing
from electrisim.dss.values import BusAt
from electrisim.dss.wiring import UnrepresentedError, phase_word


class Winding(NamedTuple):
    """One winding.

    r_percent  its resistance, of the first winding's rating
    step       of its tap changer, of the rated voltage
    turned     clock number by which it is connected the other way round (a negative tap)
    """

    at: BusAt
    delta: bool
    kv: float
    kva: float
    tap: float
    r_percent: float
    step: float
    turned: int


def transformer(thing: Thing) -> tuple[str, dict[str, Any]]:
    """Kind and parameters in the documented spelling, buses by their own names."""
    windings = _windings(thing)
    if int(thing.get("phases", 3)) not in (1, 3):
        raise UnrepresentedError(f"has {thing.get('phases')} phases; the graph has one or three")
    if len(windings) == 2:
        return "Transformer", _two(thing, windings)
    if len(windings) == 3 and int(thing.get("phases", 3)) == 3:
        return "Three Winding Transformer", _three(thing, windings)
    raise UnrepresentedError(
        f"has {len(windings)} windings; the graph has two, or three with three phases"
    )


def _windings(thing: Thing) -> list[Winding]:
    count = int(thing.get("windings", 2))
    if not 2 <= count <= 10:
        raise UnrepresentedError(f"has {count} windings")
    resistance = [0.2] * count
    for key, value in thing.values.items():
        if key == "%loadloss":
            resistance[:2] = [value / 2, value / 2]
        elif isinstance(key, tuple) and key[1] == "%r" and key[0] <= count:
            resistance[key[0] - 1] = value
    return [_winding(thing, w, resistance[w - 1]) for w in range(1, count + 1)]


def rating_kva(thing: Thing, winding: int) -> float:
    return float(thing.get((winding, "kva"), 1000.0))


def step_of(thing: Thing, winding: int) -> float:
    """A step of a winding's taps, of its rated voltage."""
    span = thing.get((winding, "maxtap"), 1.1) - thing.get((winding, "mintap"), 0.9)
    steps = thing.get((winding, "numtaps"), 32)
    return float(span / steps) if steps > 0 and span > 0 else 0.00625


def sides(thing: Thing) -> dict[int, str]:
    """Of two windings, which is on the high-voltage side."""
    first, second = (float(thing.get((w, "kv"), 12.47)) for w in (1, 2))
    return {1: "hv", 2: "lv"} if first >= second else {1: "lv", 2: "hv"}


def _winding(thing: Thing, w: int, r_percent: float) -> Winding:
    at, kv, tap = thing.get((w, "bus")), thing.get((w, "kv"), 12.47), thing.get((w, "tap"), 1.0)
    kva = rating_kva(thing, w)
    if at is None:
        raise UnrepresentedError(f"needs a bus for winding {w}")
    if min(kv, kva) <= 0 or tap == 0:
        raise UnrepresentedError(f"needs kv and kva of more than 0 and a tap for winding {w}")
    step = step_of(thing, w)
    delta = str(thing.get((w, "conn"), "wye"))[:1] in ("d", "l")
    return Winding(at, delta, kv, kva, abs(tap), r_percent, step, 0 if tap > 0 else 6)


def _reactance(thing: Thing, one: int, other: int) -> float:
    """Of a pair of windings, of the first winding's rating [%]."""
    names = {
        (1, 2): ("xhl", "x12", 7.0),
        (1, 3): ("xht", "x13", 35.0),
        (2, 3): ("xlt", "x23", 30.0),
    }
    first, second, otherwise = names[min(one, other), max(one, other)]
    said = [value for key, value in thing.values.items() if key in (first, second)]
    return float(said[-1] if said else otherwise)


def _no_load(thing: Thing, sn_kva: float) -> dict[str, float]:
    iron, magnetising = thing.get("%noloadloss", 0.0), thing.get("%imag", 0.0)
    return {
        "pfe_kw": iron / 100 * sn_kva,
        "i0_percent": math.hypot(iron, magnetising),
    }


def _tap(winding: Winding, side: str, changer: str) -> dict[str, Any]:
    position = (winding.tap - 1) / winding.step
    return {
        f"{changer}_side": side, f"{changer}_neutral": 0.0,
        f"{changer}_pos": round(position, 9), f"{changer}_step_percent": 100 * winding.step,
        f"{changer}_changer_type": "Ratio",
    }  # fmt: skip


def _shift(thing: Thing, high: Winding, low: Winding) -> int:
    """Clock number: between wye and delta, the low side lags by 30° unless said to lead."""
    clock = low.turned - high.turned + _turn(low) - _turn(high)
    if high.delta != low.delta:
        clock += 11 if str(thing.get("leadlag", "lag"))[:2] in ("le", "eu") else 1
    return clock % 12


def _turn(winding: Winding) -> int:
    """Clock number by which the phases at a winding are turned."""
    nodes = winding.at.nodes[:3] or (1, 2, 3)
    if nodes not in _TURNS:
        told = ".".join(map(str, nodes))
        raise UnrepresentedError(f"lies at nodes {told}, which are not three phases in order")
    return _TURNS[nodes]


_TURNS = {(1, 2, 3): 0, (3, 1, 2): 4, (2, 3, 1): 8}


def _letters(winding: Winding) -> str:
    if winding.delta:
        return "D"
    earthed = len(winding.at.nodes) < 4 or winding.at.nodes[3] == 0
    return "YN" if earthed else "Y"


def _two(thing: Thing, windings: list[Winding]) -> dict[str, Any]:
    high, low = sorted(windings, key=lambda winding: -winding.kv)
    sn_kva = windings[0].kva
    r, x = high.r_percent + low.r_percent, _reactance(thing, 1, 2)
    if x == 0 and r == 0:
        raise UnrepresentedError("has no impedance")
    found = {
        "hv_bus": high.at.name, "lv_bus": low.at.name, "sn_mva": sn_kva / 1e3,
        "vn_hv_kv": high.kv, "vn_lv_kv": low.kv, "vk_percent": math.copysign(math.hypot(r, x), x),
        "vkr_percent": r, **_no_load(thing, sn_kva), **_wired(thing, high, low),
    }  # fmt: skip
    if found["i0_percent"]:
        # OpenDSS' magnetising branch is at the last winding, beyond all of the leakage.
        share = float(low is windings[1])
        found |= {"leakage_resistance_ratio_hv": share, "leakage_reactance_ratio_hv": share}
    taps = [(winding, side) for winding, side in ((high, "hv"), (low, "lv")) if winding.tap != 1]
    for (winding, side), changer in zip(taps, ("tap", "tap2"), strict=False):
        found |= _tap(winding, side, changer)
    return found


def _wired(thing: Thing, high: Winding, low: Winding) -> dict[str, Any]:
    if int(thing.get("phases", 3)) == 3:
        clock = _shift(thing, high, low)
        return {"vector_group": f"{_letters(high)}{_letters(low).lower()}{clock}"}
    words = []
    for winding in (high, low):
        nodes = winding.at.nodes
        between = winding.delta or len([node for node in nodes if node]) > 1
        words.append(phase_word(winding.at, 1, between))
    return {"phases": words[0], "lv_phases": words[1]}


def _three(thing: Thing, windings: list[Winding]) -> dict[str, Any]:
    order = sorted(range(3), key=lambda w: -windings[w].kv)
    sides = dict(zip(("hv", "mv", "lv"), order, strict=True))
    base = windings[0].kva
    found: dict[str, Any] = _no_load(thing, base)
    found["i0_percent"] *= base / windings[order[0]].kva
    for side, w in sides.items():
        winding = windings[w]
        found |= {
            f"{side}_bus": winding.at.name, f"vn_{side}_kv": winding.kv,
            f"sn_{side}_mva": winding.kva / 1e3,
        }  # fmt: skip
    for name, (one, other) in {"hv": ("hv", "mv"), "mv": ("mv", "lv"), "lv": ("hv", "lv")}.items():
        v, w = sides[one], sides[other]
        r, x = windings[v].r_percent + windings[w].r_percent, _reactance(thing, v + 1, w + 1)
        # Of the smaller of both ratings.
        share = min(windings[v].kva, windings[w].kva) / base
        found[f"vk_{name}_percent"] = math.copysign(math.hypot(r, x), x) * share
        found[f"vkr_{name}_percent"] = r * share
    high = windings[order[0]]
    for side in ("mv", "lv"):
        found[f"shift_{side}_degree"] = 30.0 * _shift(thing, high, windings[sides[side]])
    moved = [(windings[w], side) for side, w in sides.items() if windings[w].tap != 1]
    if len(moved) > 1:
        raise UnrepresentedError("has taps on several windings; the graph has one tap changer")
    for winding, side in moved:
        found |= _tap(winding, side, "tap")
    return found
