"""What an element must say for its controller to work, and what contradicts itself.

Every check yields (row, field, kind of problem, what is wrong).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from electrisim import elements as e
from electrisim.elements import Element

if TYPE_CHECKING:
    from electrisim.network import Rows

Faults = Iterator[tuple[int, str, str, str]]

_TAP_CHANGER = ("tap_side", "tap_min", "tap_max", "tap_step_percent")


def _tap_control(rows: Rows) -> Faults:
    for row in _given(rows, "tap_control"):
        element = rows.elements[row]
        control = element.tap_control
        needed = list(_TAP_CHANGER)
        if control == "continuous" or _none(element, "vm_lower_pu", "vm_upper_pu"):
            needed.append("vm_set_pu")
        else:
            needed += ["vm_lower_pu", "vm_upper_pu"]
        yield from _missing(element, row, needed, f"tap_control {control}")
        if element.tap_changer_type == "Ideal":
            text = "is an ideal phase shifter, whose steps change no voltage"
            yield row, "tap_control", "contradiction", text
        elif element.tap_step_percent == 0:
            yield row, "tap_step_percent", "out-of-bounds", "has steps of 0 % and a tap_control"
        yield from _rising(element, row, "tap_min", "tap_max")
        if control == "discrete" and "vm_set_pu" not in needed:
            yield from _rising(element, row, "vm_lower_pu", "vm_upper_pu")
            if element.vm_set_pu is not None:
                text = (
                    "has a band (vm_lower_pu, vm_upper_pu) and a vm_set_pu; one of them is enough"
                )
                yield row, "vm_set_pu", "contradiction", text


def _step_control(rows: Rows) -> Faults:
    for row in _given(rows, "step_control"):
        element = rows.elements[row]
        control = element.step_control
        if control == "voltage":
            yield from _missing(element, row, ["vm_set_pu"], "step_control voltage")
            if element.q_mvar == 0:
                yield row, "q_mvar", "out-of-bounds", "has no q_mvar and a step_control by voltage"
            continue
        yield from _missing(element, row, ["step_table", "reference"], "step_control line_flow")
        if element.step_table is None:
            continue
        yield from _curve(element, row, "step_table")
        for _, step in element.step_table:
            if step < 0 or step > element.max_step or step != int(step):
                text = f"has a step_table with {step:g} steps; it has 0 to {element.max_step}"
                yield row, "step_table", "out-of-bounds", text
                break


def _droop(rows: Rows) -> Faults:
    rating = "sn_mva" if "sn_mva" in rows.kind.__struct_fields__ else None
    for row in _given(rows, "q_control", "cosphi", "qv_curve", "cosphi_p_curve", "pv_curve"):
        element = rows.elements[row]
        needed = {"qv": ["qv_curve"], "cosphi": ["cosphi"], "cosphi_p": ["cosphi_p_curve"]}.get(
            element.q_control, []
        )
        curved = element.q_control in ("qv", "cosphi_p") or element.pv_curve is not None
        what = f"q_control {element.q_control}" if element.q_control else "pv_curve"
        yield from _missing(element, row, needed, what)
        if curved and rating:
            yield from _missing(element, row, [rating], what)
        for name in ("qv_curve", "cosphi_p_curve", "pv_curve"):
            if getattr(element, name) is not None:
                yield from _curve(element, row, name)
        factors = [y for _, y in element.cosphi_p_curve or ()]
        if element.cosphi == 0 or any(not 0 < abs(factor) <= 1 for factor in factors):
            name = "cosphi" if element.cosphi == 0 else "cosphi_p_curve"
            text = "must have power factors from -1 to 1, other than 0"
            yield row, name, "out-of-bounds", text
        if any(y < 0 for _, y in element.pv_curve or ()):
            yield row, "pv_curve", "out-of-bounds", "must have a pv_curve that is never negative"


def _storage(rows: Rows) -> Faults:
    yield from _droop(rows)
    for row in _given(rows, "p_control"):
        element = rows.elements[row]
        needed = ["reference", "p_target_mw", "sn_mva"]
        yield from _missing(element, row, needed, f"p_control {element.p_control}")
        for other in ("q_control", "pv_curve"):
            if getattr(element, other) is not None:
                text = f"has a p_control and a {other}; only one of them can decide its power"
                yield row, other, "contradiction", text


def _station(rows: Rows) -> Faults:
    for row in _given(rows, "station_control", "reference", "vm_set_pu"):
        element = rows.elements[row]
        if element.station_control is None:
            for name in ("reference", "vm_set_pu"):
                if getattr(element, name) is not None:
                    text = f"has a {name} and needs the station_control that it belongs to"
                    yield row, "station_control", "missing-parameter", text
            continue
        needed = ["reference", "vm_set_pu"]
        yield from _missing(element, row, needed, "station_control")


def _given(rows: Rows, *names: str) -> Iterator[int]:
    """The elements of which any of these fields is given."""
    found: set[int] = set()
    for name in names:
        values = rows.values(name)
        if values.count(None) < len(values):
            found.update(row for row, value in enumerate(values) if value is not None)
    return iter(sorted(found))


def _none(element: Any, *names: str) -> bool:
    return all(getattr(element, name) is None for name in names)


def _missing(element: Any, row: int, names: list[str], what: str) -> Faults:
    for name in names:
        if getattr(element, name) is None:
            yield row, name, "missing-parameter", f"has {what} and needs {name}"


def _rising(element: Any, row: int, low: str, high: str) -> Faults:
    lower, upper = getattr(element, low), getattr(element, high)
    if lower is not None and upper is not None and not lower < upper:
        yield row, high, "out-of-bounds", f"must have a {high} above its {low}"


def _curve(element: Any, row: int, name: str) -> Faults:
    """JSON that is in order is read without a look at what is in its lists."""
    points = getattr(element, name)
    rising = all(a[0] < b[0] for a, b in zip(points, points[1:], strict=False))
    if len(points) < 2 or not rising or not all(math.isfinite(v) for p in points for v in p):
        text = f"must have a {name} of at least two points [x, y] with x rising"
        yield row, name, "not-a-curve", text


_CHECKS: Mapping[type[Element], Callable[[Rows], Faults]] = MappingProxyType(
    {
        **dict.fromkeys((e.Transformer, e.ThreeWindingTransformer), _tap_control),
        **dict.fromkeys((e.Shunt, e.ShuntReactor, e.Capacitor), _step_control),
        **dict.fromkeys((e.StaticGenerator, e.PVSystem), _droop),
        e.Storage: _storage,
        **dict.fromkeys((e.ExternalGrid, e.Generator), _station),
    }
)


def faults(rows: Rows) -> Faults:
    """What is wrong with the controllers of a kind's elements."""
    check = _CHECKS.get(rows.kind)
    return check(rows) if check else iter(())
