"""From an answer to the browser's lists: one row per element that has every number it formats.

The client formats the fields that a listing calls `read` without looking, so that one null loses
the row's whole list. An element without them has no row, and a warning names it. NaN elsewhere is
JSON's null.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import Any

import numpy as np

from electrisim import elements as e
from electrisim.elements import Element
from electrisim.network import Array, Network, Rows
from electrisim.results import Tables
from electrisim.topology import Topology
from electrisim.wire.frontend.tables import Listing

Echoing = Callable[[type[Element], str], dict[str, Any]]


def write_lists(
    network: Network, tables: Tables, listings: Iterable[Listing], echo: Echoing
) -> tuple[dict[str, list[dict[str, Any]]], list[str]]:
    """(key → rows, in the request's order; what cannot be listed although it is supplied).

    echo  (kind, id) → the members that identify an element
    """
    view = _View(network, tables)
    lists: dict[str, list[dict[str, Any]]] = {}
    incomplete: list[str] = []
    for listing in listings:
        kinds = [kind for kind in listing.kinds if kind in network.kinds]
        rows = [row for kind in kinds for row in _rows(view, kind, listing, echo, incomplete)]
        if kinds:
            lists.update(dict.fromkeys(listing.keys, rows))
    return lists, incomplete


def _rows(
    view: _View, kind: type[Element], listing: Listing, echo: Echoing, incomplete: list[str]
) -> Iterable[dict[str, Any]]:
    rows = view.network.rows(kind)
    names = (*listing.read, *listing.more)
    columns = [view.column(rows, name) for name in names]
    complete = np.logical_and.reduce([_known(column) for column in columns[: len(listing.read)]])
    partly = ~complete & view.has_results(rows)
    incomplete += [rows.label(int(row)) for row in np.flatnonzero(partly)]
    for row, numbers in enumerate(zip(*(column.tolist() for column in columns), strict=True)):
        if complete[row]:
            yield {**echo(kind, rows.ids[row]), **dict(zip(names, numbers, strict=True))}


def _known(column: Array) -> Array:
    return np.isfinite(column) if column.dtype.kind == "f" else np.ones(len(column), dtype=bool)


class _View:
    """The columns of an answer, the engine's and those that the browser wants beside them."""

    def __init__(self, network: Network, tables: Tables) -> None:
        self.network = network
        self.tables = tables
        self.topology = Topology(network)

    def column(self, rows: Rows, name: str) -> Array:
        """A column by the browser's name, shape (n,); NaN where there is no number."""
        given = self.tables.get(rows.kind, {})
        if name in given:
            return given[name]
        return DERIVED[name](self, rows)

    def has_results(self, rows: Rows) -> Array:
        """Which elements have any number from the engine."""
        columns = self.tables.get(rows.kind, {}).values()
        none = np.zeros(len(rows), dtype=bool)
        return np.asarray(np.logical_or.reduce([none, *map(_known, columns)]))

    @functools.cached_property
    def passing(self) -> Mapping[str, Array]:
        """What passes through each bus."""
        return passing_mva(self.network, self.topology, self.tables)

    def at_bus(self, rows: Rows, name: str) -> Array:
        """What holds at each element's bus, where the element itself has a result."""
        alive = self.topology.alive(rows.kind)
        return np.where(alive, self.tables[e.Bus][name][rows.at["bus"]], np.nan)


# -- what the browser wants beside the engine's columns --------------------------------------------


def _pf(view: _View, rows: Rows) -> Array:
    """P/S with the sign of P; 0 where there is no active power."""
    p, q = view.column(rows, "p_mw"), view.column(rows, "q_mvar")
    return _ratio(p, np.hypot(p, q), p)


def _q_p(view: _View, rows: Rows) -> Array:
    """Q/P; 0 where there is no active power."""
    p, q = view.column(rows, "p_mw"), view.column(rows, "q_mvar")
    return _ratio(q, p, p)


def _ratio(over: Array, under: Array, p: Array) -> Array:
    ratio = np.divide(over, under, out=np.zeros_like(over), where=p != 0)
    return np.where(np.isnan(p), np.nan, ratio)


def _vm_kv(view: _View, rows: Rows) -> Array:
    return np.asarray(view.column(rows, "vm_pu") * rows.column("vn_kv"))


def _branch(part: str) -> Callable[[_View, Rows], Array]:
    return lambda view, rows: view.passing[part]


#: Two sums that differ by no more than this are the same flow, arriving and leaving.
_EQUAL = 1e-6


def passing_mva(network: Network, topology: Topology, tables: Tables) -> Mapping[str, Array]:
    """What passes through each bus over its branches: the larger of what arrives and what leaves.

    `p` is positive for what arrives and negative for what leaves; `q` is what the same terminals
    draw from the bus where power arrives, and its negative where it leaves, as the client knows it.
    """
    count = len(network.rows(e.Bus))
    sums = {name: np.zeros(count) for name in ("p_in", "q_in", "p_out", "q_out")}
    for kind in (e.Line, e.Transformer, e.ThreeWindingTransformer, e.Impedance, e.TCSC, e.Switch):
        rows = network.rows(kind)
        if not len(rows) or kind not in tables:
            continue
        for port in kind.ports:
            p, q = (np.nan_to_num(tables[kind][name]) for name in (port.p, port.q or port.p))
            bus = rows.at[port.bus] if kind is not e.Switch else _end_of_switch(rows, port.bus)
            for side, chosen in (("in", p < 0), ("out", p > 0)):
                np.add.at(sums["p_" + side], bus[chosen & (bus >= 0)], p[chosen & (bus >= 0)])
                np.add.at(sums["q_" + side], bus[chosen & (bus >= 0)], q[chosen & (bus >= 0)])
    arrives = -sums["p_in"] >= sums["p_out"] * (1 - _EQUAL)
    found = {
        "p": np.where(arrives, -sums["p_in"], -sums["p_out"]),
        "q": np.where(arrives, sums["q_in"], -sums["q_out"]),
    }
    return {name: np.where(topology.bus, values, np.nan) for name, values in found.items()}


def _end_of_switch(rows: Rows, end: str) -> Array:
    """The buses of switches between buses; -1 for others, whose flow their branch has already."""
    bus = rows.at["bus" if end == "from_bus" else "element"]
    return np.where(rows.at["et"] == "b", bus, -1)


def _at_bus(name: str) -> Callable[[_View, Rows], Array]:
    return lambda view, rows: view.at_bus(rows, name)


def _given(name: str) -> Callable[[_View, Rows], Array]:
    return lambda view, rows: rows.column(name)


def _result(name: str) -> Callable[[_View, Rows], Array]:
    return lambda view, rows: view.column(rows, name)


def _scaled(name: str) -> Callable[[_View, Rows], Array]:
    """A given power, where the element has a result."""

    def column(view: _View, rows: Rows) -> Array:
        asked = rows.column(name) * rows.column("scaling")
        return np.where(view.topology.alive(rows.kind), asked, np.nan)

    return column


#: Browser's field → how it follows from the others.
DERIVED: Mapping[str, Callable[[_View, Rows], Array]] = MappingProxyType(
    {
        "pf": _pf,
        "q_p": _q_p,
        "vm_kv": _vm_kv,
        "p_branch_mw": _branch("p"),
        "q_branch_mvar": _branch("q"),
        "vm_pu": _at_bus("vm_pu"),
        "va_degree": _at_bus("va_degree"),
        "p_to_mw": _at_bus("vm_pu"),
        "p_l_mw": _result("pl_mw"),
        "q_l_mvar": _result("ql_mvar"),
        "p_set_mw": _scaled("p_mw"),
        "step": _given("step"),
        "max_step": _given("max_step"),
        "closed": _given("closed"),
        "irradiance": _given("irradiance_kw_per_m2"),
        "temperature": _given("temperature_degree_celsius"),
        **{f"p_{phase}_mw": _scaled(f"p_{phase}_mw") for phase in "abc"},
        **{f"q_{phase}_mvar": _scaled(f"q_{phase}_mvar") for phase in "abc"},
    }
)
