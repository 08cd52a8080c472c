"""The frozen network: elements by kind, references resolved, shared facts derived once.

A `Network` is complete when made. Engines, studies and the certificate read it by kind and by
column; nothing edits it afterwards.
"""

from __future__ import annotations

import copy
import functools
import itertools
import re
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from operator import attrgetter
from types import MappingProxyType
from typing import Any, NamedTuple, TypeVar

import msgspec
import numpy as np
from numpy.typing import NDArray

from electrisim import elements as e
from electrisim import phasing
from electrisim.control import fields as control
from electrisim.elements import FIELDS, KIND, Element
from electrisim.fields import ABSENT, present
from electrisim.problems import Problem, ProblemError, nearest, shorten

Array = NDArray[Any]
T = TypeVar("T")


class Entry(NamedTuple):
    """An element as a spelling hands it over: its id, its label and its parameters."""

    id: str
    name: str | None
    element: Element


class Rows:
    """The elements of one kind, in the request's order, as rows and as columns.

    ids, names   one per element; names may be None
    elements     the records themselves
    position     id → row
    at           reference field → rows of the referred kind, shape (n,), -1 where absent
    """

    def __init__(
        self,
        kind: type[Element],
        ids: Sequence[str] = (),
        names: Sequence[str | None] = (),
        elements: Sequence[Any] = (),
    ) -> None:
        self.kind = kind
        self.ids = ids
        self.names = names
        self.elements = elements
        self.position = dict(zip(ids, range(len(ids)), strict=True))
        self.at: dict[str, Array] = {}
        self._columns: dict[str, Array] = {}
        self._derived: dict[Hashable, Any] = {}
        self._of_texts: dict[Hashable, Any] = {}

    def __len__(self) -> int:
        return len(self.ids)

    def values(self, field: str) -> list[Any]:
        """A field of every element, as given."""
        return list(map(attrgetter(field), self.elements))

    def column(self, field: str) -> Array:
        """A numeric or flag field as an array of shape (n,); absent numbers are NaN."""
        found = self._columns.get(field)
        if found is None:
            dtype = bool if FIELDS[self.kind][field].type == "flag" else float
            found = np.array(self.values(field), dtype=dtype)
            found.flags.writeable = False
            self._columns[field] = found
        return found

    def derived(self, key: Hashable, make: Callable[[], T], of_texts: bool = False) -> T:
        """What follows from these rows alone, made once; nobody may write to it.

        of_texts  whether it follows from texts, which `changed` leaves as they are
        """
        kept = self._of_texts if of_texts else self._derived
        if key not in kept:
            kept[key] = make()
        found: T = kept[key]
        return found

    def label(self, row: int) -> str:
        """What a sentence calls an element: its kind and its name, or its id where it has none."""
        return told(self.kind, self.ids[row], self.names[row])

    def changed(self, edits: Mapping[int, Mapping[str, Any]]) -> Rows:
        """These rows with some fields of some elements replaced (row → field → value).

        References stay: only numbers and flags may change.
        """
        rows = copy.copy(self)
        elements = list(self.elements)
        for row, fields in edits.items():
            elements[row] = msgspec.structs.replace(elements[row], **fields)
        rows.elements = elements
        touched = {field for fields in edits.values() for field in fields}
        rows._columns = {k: v for k, v in self._columns.items() if k not in touched}
        rows._derived = {}
        return rows


def told(kind: type[Element] | None, id_: str, name: str | None) -> str:
    """“Line “Cable 1””: how sentences name an element."""
    return f"{kind.typ if kind else 'Element'} “{shorten(name or id_)}”"


class Network:
    """A validated network.

    order         the ids of all elements, as the request had them
    frequency_hz  the nominal frequency
    warnings      what was odd in the request and how it was read
    """

    def __init__(
        self, entries: Iterable[tuple[str, str | None, Element]], frequency_hz: float = 50.0
    ) -> None:
        self.order: list[str] = []
        self.frequency_hz = frequency_hz
        self.warnings: list[str] = []
        grouped: dict[type[Element], tuple[list[Any], ...]] = {}
        for id_, name, element in entries:
            kind = type(element)
            if kind not in grouped:
                grouped[kind] = ([], [], [])
            ids, names, elements = grouped[kind]
            ids.append(id_)
            names.append(name)
            elements.append(element)
            self.order.append(id_)
        self._rows = {kind: Rows(kind, *columns) for kind, columns in grouped.items()}
        problems = _References(self).resolve()
        for rows in self._rows.values():
            check = _CHECKS.get(rows.kind)
            problems += check(self, rows) if check else []
            more = (*phasing.faults(rows), *control.faults(rows))
            problems += [fault(rows, *found) for found in more]
        if not len(self.rows(e.Bus)):
            problems.append(Problem(kind="no-bus", message="The network has no bus."))
        if problems:
            raise ProblemError(problems)
        self.warnings += [
            f"{rows.label(row)} joins buses of {ends}." for rows, row, ends in across_voltages(self)
        ]

    @property
    def kinds(self) -> list[type[Element]]:
        """The kinds that the network has, in the order in which they first appear."""
        return list(self._rows)

    def rows(self, kind: type[Element]) -> Rows:
        """The elements of a kind; empty where the network has none."""
        return self._rows.get(kind) or Rows(kind)

    @functools.cached_property
    def ids(self) -> Mapping[str, tuple[type[Element], int]]:
        """id → (kind, row) of every element."""
        return MappingProxyType(
            {
                id_: (rows.kind, row)
                for rows in self._rows.values()
                for row, id_ in enumerate(rows.ids)
            }
        )

    @functools.cached_property
    def is_phased(self) -> bool:
        """Whether some element has fewer than three phases."""
        return any(map(phasing.any_partial, self._rows.values()))

    def changed(self, edits: Mapping[type[Element], Mapping[int, Mapping[str, Any]]]) -> Network:
        """This network with numbers and flags of some elements replaced (kind → row → field).

        The values are taken as they are: what made them has checked them.
        """
        network = copy.copy(self)
        network._rows = {
            kind: rows.changed(edits[kind]) if kind in edits else rows
            for kind, rows in self._rows.items()
        }
        return network

    def label(self, id_: str) -> str:
        """What a sentence calls the element with this id."""
        kind, row = self.ids[id_]
        return self.rows(kind).label(row)


#: How many dangling references are compared with how many ids: the search is slow.
_HINTED, _COMPARED = 50, 2000


class _References:
    """Turns references (ids or unique names) into rows and collects what does not fit."""

    def __init__(self, network: Network) -> None:
        self.network = network
        self.rows = network._rows
        self.problems: list[Problem] = []
        self._warned: set[str] = set()
        self._others: dict[type[Element], dict[str, str]] = {}

    @functools.cached_property
    def _names(self) -> dict[type[Element], Counter[str]]:
        return {
            kind: Counter(name for name in rows.names if name) for kind, rows in self.rows.items()
        }

    @functools.cached_property
    def _by_name(self) -> dict[type[Element], dict[str, int]]:
        return {
            kind: {name: row for row, name in enumerate(rows.names) if name}
            for kind, rows in self.rows.items()
        }

    def _names_of_others(self, kind: type[Element]) -> dict[str, str]:
        """The ids of a kind that are at the same time the name of another element of it."""
        if kind not in self._others:
            rows = self.rows[kind]
            both = rows.position.keys() & set(rows.names)
            self._others[kind] = {
                name: rows.ids[row]
                for row, name in enumerate(rows.names if both else ())
                if name is not None and name in both and name != rows.ids[row]
            }
        return self._others[kind]

    def resolve(self) -> list[Problem]:
        for rows in self.rows.values():
            for field in FIELDS[rows.kind].values():
                if len(field.refers_to) == 1:
                    self._resolve_field(rows, field.name, KIND[field.refers_to[0]])
                elif field.refers_to and rows.kind is not e.Switch:
                    self._resolve_observed(rows)
        if e.Switch in self.rows:
            self._resolve_switches(self.rows[e.Switch])
        return self.problems

    def _resolve_field(self, rows: Rows, field: str, kind: type[Element]) -> None:
        target = self.rows.get(kind)
        position = target.position if target else {}
        wanted = rows.values(field)
        try:
            found = list(map(position.__getitem__, wanted))
        except KeyError:
            found = [position.get(ref, -1) for ref in wanted]
            for row, ref in enumerate(wanted):
                if found[row] < 0 and ref is not None:
                    found[row] = self._named(rows, row, field, ref, (kind,))[1]
        others = self._names_of_others(kind) if target else {}
        for ref in others.keys() & set(wanted) if others else ():
            self._warn_of_name(kind, ref, others[ref])
        rows.at[field] = np.array(found, dtype=np.int64)

    def _resolve_observed(self, rows: Rows) -> None:
        """What a shunt's control looks at: a line where it follows a flow, a bus elsewhere."""
        found = np.full(len(rows), -1)
        for row, (reference, follows) in enumerate(
            zip(rows.values("reference"), rows.values("step_control"), strict=True)
        ):
            if reference is None:
                continue
            kind = e.Line if follows == "line_flow" else e.Bus
            target = self.rows.get(kind)
            at = target.position.get(reference, -1) if target else -1
            if at < 0:
                at = self._named(rows, row, "reference", reference, (kind,))[1]
            found[row] = at
        rows.at["reference"] = found

    def _resolve_switches(self, rows: Rows) -> None:
        """A switch's element is of one of four kinds (`at["et"]`); `at["element"]` is its row."""
        kinds = [_ET[et] for et in ("b", "l", "t", "t3")]
        found: list[int] = []
        ets: list[str] = []
        for row, switch in enumerate(rows.elements):
            allowed = [_ET[switch.et]] if switch.et else kinds
            kind, at = next(
                (
                    (kind, self.rows[kind].position[switch.element])
                    for kind in kinds
                    if kind in self.rows and switch.element in self.rows[kind].position
                ),
                (None, -1),
            )
            if kind is None:
                kind, at = self._named(rows, row, "element", switch.element, allowed)
            elif kind not in allowed:
                self._fault(
                    rows, row, "et", "contradiction",
                    f"says et “{switch.et}”, but its element is a {kind.typ.lower()}",
                )  # fmt: skip
            found.append(at)
            ets.append(_LETTER[kind] if kind else "b")
        rows.at["element"] = np.array(found, dtype=np.int64)
        rows.at["et"] = np.array(ets, dtype="U2")

    def _named(
        self, rows: Rows, row: int, field: str, ref: str, kinds: Sequence[type[Element]]
    ) -> tuple[type[Element] | None, int]:
        """The element that a name refers to, where it is the only one of its kinds so named."""
        bearers = [kind for kind in kinds if ref in self._by_name.get(kind, {})]
        if len(bearers) == 1 and self._names[bearers[0]][ref] == 1:
            return bearers[0], self._by_name[bearers[0]][ref]
        what = " or ".join(kind.typ.lower() for kind in kinds)
        if bearers:
            self._fault(
                rows, row, field, "ambiguous-name",
                f"refers by {field} to the name “{shorten(ref)}”, which several bear; use an id",
            )  # fmt: skip
            return None, -1
        elsewhere = next((k for k, other in self.rows.items() if ref in other.position), None)
        hint = f" It is the id of a {elsewhere.typ.lower()}." if elsewhere else ""
        if not hint and len(self.problems) < _HINTED:
            ids = (id_ for kind in kinds if kind in self.rows for id_ in self.rows[kind].ids)
            hint = nearest(ref, itertools.islice(ids, _COMPARED))
        kind_word = f"unknown-{what.replace(' ', '-')}" if len(kinds) == 1 else "unknown-element"
        self._fault(
            rows, row, field, kind_word,
            f"refers by {field} to {what} “{shorten(ref)}”, which the network does not have", hint,
        )  # fmt: skip
        return None, -1

    def _fault(
        self, rows: Rows, row: int, field: str, kind: str, text: str, hint: str = ""
    ) -> None:
        self.problems.append(fault(rows, row, field, kind, text, hint))

    def _warn_of_name(self, kind: type[Element], ref: str, other: str) -> None:
        if ref not in self._warned:
            self._warned.add(ref)
            self.network.warnings.append(
                f"The reference “{shorten(ref)}” is the id of one {kind.typ.lower()} and the name "
                f"of another (“{shorten(other)}”); the id was taken."
            )


_ET: Mapping[str, type[Element]] = {
    "b": e.Bus,
    "l": e.Line,
    "t": e.Transformer,
    "t3": e.ThreeWindingTransformer,
}
_LETTER = {kind: letter for letter, kind in _ET.items()}


def fault(rows: Rows, row: int, field: str | None, kind: str, text: str, hint: str = "") -> Problem:
    """A problem of one element: “Line “Cable 1” <text>.<hint>”."""
    return Problem(
        kind=kind,
        message=f"{rows.label(row)} {text}.{hint}",
        element=rows.ids[row],
        name=rows.names[row],
        field=field,
    )


# -- what must hold between fields -----------------------------------------------------------------


def _needs_std_type(rows: Rows) -> list[Problem]:
    problems = []
    instead = rows.values(rows.kind.instead[0]) if rows.kind.instead else [None] * len(rows)
    for name in rows.kind.from_std_type:
        values = rows.values(name)
        if None in values:
            text = f"needs {name} (or a std_type): {FIELDS[rows.kind][name].meaning.rstrip('.')}"
            problems += [
                fault(rows, row, name, "missing-parameter", text)
                for row, value in enumerate(values)
                if value is None and instead[row] is None
            ]
    return problems


def _no_loop(rows: Rows, one: str, other: str) -> list[Problem]:
    same = np.flatnonzero((rows.at[one] == rows.at[other]) & (rows.at[one] >= 0))
    return [
        fault(rows, int(r), other, "loop", f"starts and ends at the same bus ({one} and {other})")
        for r in same
    ]


def _not_both_zero(rows: Rows, one: str, other: str) -> list[Problem]:
    zero = np.flatnonzero((rows.column(one) == 0) & (rows.column(other) == 0))
    text = f"has no impedance ({one} and {other} are 0); join the buses with a switch instead"
    return [fault(rows, int(row), other, "no-impedance", text) for row in zero]


def _check_pv_system(network: Network, rows: Rows) -> list[Problem]:
    nothing = (rows.column("pf") == 0) & np.isnan(rows.column("kvar"))
    text = "must have a pf other than 0, or a kvar"
    return [fault(rows, int(row), "pf", "out-of-bounds", text) for row in np.flatnonzero(nothing)]


def _check_line(network: Network, rows: Rows) -> list[Problem]:
    return [
        *_needs_std_type(rows),
        *_no_loop(rows, "from_bus", "to_bus"),
        *_not_both_zero(rows, "r_ohm_per_km", "x_ohm_per_km"),
    ]


def _check_impedance(network: Network, rows: Rows) -> list[Problem]:
    return [*_no_loop(rows, "from_bus", "to_bus"), *_not_both_zero(rows, "rft_pu", "xft_pu")]


def _check_from_to(network: Network, rows: Rows) -> list[Problem]:
    return _no_loop(rows, "from_bus", "to_bus")


def _check_line_dc(network: Network, rows: Rows) -> list[Problem]:
    return [*_needs_std_type(rows), *_no_loop(rows, "from_bus_dc", "to_bus_dc")]


def _positive(rows: Rows, names: Iterable[str]) -> list[Problem]:
    return [
        fault(rows, int(row), name, "out-of-bounds", f"must have a {name} other than 0")
        for name in names
        for row in np.flatnonzero(rows.column(name) == 0)
    ]


def _check_transformer(network: Network, rows: Rows) -> list[Problem]:
    network.warnings += _contradicting_shifts(rows)
    if phasing.any_partial(rows):
        network.warnings += phasing.odd_windings(rows, network.rows(e.Bus).column("vn_kv"))
    return [
        *_needs_std_type(rows),
        *_no_loop(rows, "hv_bus", "lv_bus"),
        *_positive(rows, ("vk_percent",)),
        *_vkr_within_vk(rows, (("vk_percent", "vkr_percent"),)),
        *_vector_groups(rows, 1),
        *_tap_changer(rows, ""),
        *_tap_changer(rows, "2"),
    ]


def _check_transformer3w(network: Network, rows: Rows) -> list[Problem]:
    sides = ("hv", "mv", "lv")
    return [
        *_needs_std_type(rows),
        *_no_loop(rows, "hv_bus", "mv_bus"),
        *_no_loop(rows, "hv_bus", "lv_bus"),
        *_no_loop(rows, "mv_bus", "lv_bus"),
        *_positive(rows, (f"vk_{side}_percent" for side in sides)),
        *_vkr_within_vk(rows, ((f"vk_{side}_percent", f"vkr_{side}_percent") for side in sides)),
        *_vector_groups(rows, 2),
        *_tap_changer(rows, ""),
    ]


def _vkr_within_vk(rows: Rows, pairs: Iterable[tuple[str, str]]) -> list[Problem]:
    return [
        fault(rows, int(row), vkr, "out-of-bounds", f"must have a {vkr} no larger than its {vk}")
        for vk, vkr in pairs
        for row in np.flatnonzero(np.abs(rows.column(vkr)) > np.abs(rows.column(vk)))
    ]


def _tap_changer(rows: Rows, changer: str) -> list[Problem]:
    """What a tap changer off neutral needs in order to act, and what contradicts itself.

    changer  "" or, for a second one, "2"
    """
    side, neutral, pos, percent, degree, kind = (
        f"tap{changer}_{name}"
        for name in ("side", "neutral", "pos", "step_percent", "step_degree", "changer_type")
    )
    position = rows.column(pos)
    problems = []
    for row in np.flatnonzero(position != np.nan_to_num(rows.column(neutral))):
        transformer = rows.elements[int(row)]
        if np.isnan(position[row]):
            continue
        ideal = getattr(transformer, kind) == "Ideal"
        steps = [percent, degree] if ideal else [percent]
        missing = [side] if getattr(transformer, side) is None else []
        if all(getattr(transformer, step) is None for step in steps):
            missing.append(percent)
        for name in missing:
            text = f"has a {pos} off neutral and needs {name}"
            problems.append(fault(rows, int(row), name, "missing-parameter", text))
        if ideal and getattr(transformer, percent) and getattr(transformer, degree):
            text = f"shifts ideally, by {percent} or {degree} and not by both"
            problems.append(fault(rows, int(row), degree, "contradiction", text))
    return problems


_VECTOR_GROUP = re.compile(r"(YN|Y|D|ZN|Z)0?(yn|y|d|zn|z)(\d{0,2})(?:(yn|y|d|zn|z)(\d{0,2}))?")


def clock_numbers(vector_group: str | None) -> list[int | None] | None:
    """The clock numbers of a vector group, one per secondary winding, None where it names none.

    "Dyn5" → [5], "YNyn0d5" → [0, 5], "Dyn" → [None]; None for what is no vector group.
    """
    match = _VECTOR_GROUP.fullmatch(vector_group or "")
    if not match:
        return None
    clocks = [
        int(digits) if digits else None for digits in (match[3], match[5]) if digits is not None
    ]
    return None if any(clock is not None and clock > 11 for clock in clocks) else clocks


_EXAMPLE = {1: "Dyn5", 2: "YNyn0d5"}


def _vector_groups(rows: Rows, secondaries: int) -> list[Problem]:
    return [
        fault(
            rows, row, "vector_group", "unknown-value",
            f"has the vector_group “{shorten(group)}”; one reads {_EXAMPLE[secondaries]}",
        )
        for row, group in enumerate(rows.values("vector_group"))
        if present(group) is not ABSENT and len(clock_numbers(group) or ()) != secondaries
    ]  # fmt: skip


def _contradicting_shifts(rows: Rows) -> list[str]:
    warnings = []
    for row, transformer in enumerate(rows.elements):
        if transformer.vector_group is None or transformer.shift_degree is None:
            continue
        clock = (clock_numbers(transformer.vector_group) or [None])[0]
        if clock is None:
            continue
        if (transformer.shift_degree - 30 * clock) % 360:
            warnings.append(
                f"{rows.label(row)} has shift_degree {transformer.shift_degree:g} and the vector "
                f"group {transformer.vector_group} (clock {clock}, {30 * clock}°): shift_degree "
                "was taken."
            )
    return warnings


def _check_load(network: Network, rows: Rows) -> list[Problem]:
    return [
        fault(
            rows, int(row), z, "out-of-bounds",
            f"has {z} and {i} of more than 100 % together; what is left to 100 % is constant power",
        )
        for z, i in ((f"const_z_{part}_percent", f"const_i_{part}_percent") for part in "pq")
        for row in np.flatnonzero(rows.column(z) + rows.column(i) > 100)
    ]  # fmt: skip


def _check_xward(network: Network, rows: Rows) -> list[Problem]:
    return _not_both_zero(rows, "r_ohm", "x_ohm")


def _check_switch(network: Network, rows: Rows) -> list[Problem]:
    problems = []
    vn_kv = network.rows(e.Bus).column("vn_kv")
    for row, (et, element, bus) in enumerate(
        zip(rows.at["et"], rows.at["element"], rows.at["bus"], strict=True)
    ):
        if element < 0 or bus < 0:
            continue
        if et == "b":
            one, other = vn_kv[bus], vn_kv[element]
            if element == bus:
                problems.append(fault(rows, row, "element", "loop", "joins a bus to itself"))
            elif one != other:
                text = f"joins buses of {one:g} kV and {other:g} kV, which cannot be one voltage"
                problems.append(fault(rows, row, "element", "contradiction", text))
            continue
        branches = network.rows(_ET[et])
        ends = {int(branches.at[port.bus][element]) for port in branches.kind.ports}
        if bus not in ends and ends.isdisjoint({-1}):
            problems.append(
                fault(
                    rows, row, "bus", "not-connected",
                    f"sits at {network.rows(e.Bus).label(bus)}, where its element does not end",
                )
            )  # fmt: skip
    return problems


_CHECKS: Mapping[type[Element], Callable[[Network, Rows], list[Problem]]] = MappingProxyType(
    {
        e.PVSystem: _check_pv_system,
        e.Line: _check_line,
        e.Transformer: _check_transformer,
        e.ThreeWindingTransformer: _check_transformer3w,
        e.Impedance: _check_impedance,
        e.DCLine: _check_from_to,
        e.TCSC: _check_from_to,
        e.LineDC: _check_line_dc,
        e.ExtendedWard: _check_xward,
        e.Load: _check_load,
        e.Switch: _check_switch,
    }
)


def across_voltages(network: Network) -> Iterator[tuple[Rows, int, str]]:
    """Lines between buses of unequal vn_kv: (rows, row, both voltages in words)."""
    vn_kv = network.rows(e.Bus).column("vn_kv")
    lines = network.rows(e.Line)
    if len(lines):
        one, other = (vn_kv[lines.at[field]] for field in ("from_bus", "to_bus"))
        for row in np.flatnonzero(one != other).tolist():
            yield lines, row, f"{one[row]:g} kV and {other[row]:g} kV"


def with_std_type(element: dict[str, Any], library: Mapping[str, Any]) -> dict[str, Any]:
    """An element's parameters completed from its standard type; explicit values win."""
    return {**library, **{name: value for name, value in element.items() if value is not None}}


def line_rating_ka(rows: Rows) -> Array:
    """What lines may carry, all systems together [kA]; NaN where it is not known."""
    one = rows.column("max_i_ka")
    return np.where(one == 0, np.nan, one) * rows.column("df") * rows.column("parallel")


def shift_degree(rows: Rows) -> Array:
    """Phase shift of each transformer: as given, else its clock number × 30° [degree]."""
    given = rows.column("shift_degree")
    if not np.isnan(given).any():
        return given
    clocks = [(clock_numbers(group) or [None])[0] for group in rows.values("vector_group")]
    from_clock = np.array([30.0 * (clock or 0) for clock in clocks])
    return np.where(np.isnan(given), from_clock, given)


def shifts3w_degree(rows: Rows) -> tuple[Array, Array]:
    """Phase shifts (mv, lv) of each three-winding transformer, as `shift_degree`."""
    clocks = [(clock_numbers(group) or [None, None]) for group in rows.values("vector_group")]
    shifts = []
    for winding, field in enumerate(("shift_mv_degree", "shift_lv_degree")):
        from_clock = np.array([30.0 * (pair[winding] or 0) for pair in clocks])
        given = rows.column(field)
        shifts.append(np.where(np.isnan(given), from_clock, given))
    return shifts[0], shifts[1]


def replaced(element: Element, **changes: Any) -> Element:
    """The element with some fields changed; the original stays as it is."""
    return msgspec.structs.replace(element, **changes)
