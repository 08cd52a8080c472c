"""What optimal power flow may move, within which range, and at what cost.

An External Grid and a Generator may move unless `controllable` is false, a Static Generator, a Load
and a Storage only where it is true. A DC Line's power may move where it has a limit. A cost is one
of the element's own p_mw and q_mvar, in the sign of its columns, as in pandapower.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from electrisim import elements as e
from electrisim.elements import Element
from electrisim.network import Array, Network, Rows, fault
from electrisim.problems import Problem
from electrisim.topology import Topology

#: Kinds that may move, with the sign of their columns and whether they do unless they say so.
MOVABLE: tuple[tuple[type[Element], int, bool], ...] = (
    (e.ExternalGrid, 1, True),
    (e.Generator, 1, True),
    (e.StaticGenerator, 1, False),
    (e.Load, -1, False),
    (e.Storage, -1, False),
)
#: Those of them that hold the voltage of their bus.
HOLDING = (e.ExternalGrid, e.Generator)
COSTS = ("cp0_eur", "cp1_eur_per_mw", "cp2_eur_per_mw2", "pwl_points")
Q_COSTS = ("cq0_eur", "cq1_eur_per_mvar", "cq2_eur_per_mvar2", "pwl_q_points")
_VOLTAGE_SHARES = (
    "const_z_p_percent", "const_i_p_percent", "const_z_q_percent", "const_i_q_percent",
)  # fmt: skip

Pieces = Sequence[tuple[float, float, float]]


def moves(network: Network, topology: Topology, kind: type[Element]) -> Array:
    """Which elements of a kind optimal power flow may move, shape (n,)."""
    usual = next(default for each, _, default in MOVABLE if each is kind)
    given = network.rows(kind).values("controllable")
    said = np.array([usual if value is None else value for value in given], dtype=bool)
    return np.asarray(said & topology.alive(kind))


def limits(element: Any, quantity: str) -> tuple[float, float]:
    """Least and largest value of a quantity; infinite where there is no limit."""
    low, high = getattr(element, f"min_{quantity}"), getattr(element, f"max_{quantity}")
    return -np.inf if low is None else low, np.inf if high is None else high


def dc_line_range(line: Any) -> tuple[float, float]:
    """Least and largest power taken at the from bus [MW]; p_mw where there is no limit."""
    if line.min_p_mw is None and line.max_p_mw is None:
        return line.p_mw, line.p_mw
    low, high = limits(line, "p_mw")
    return (0.0 if line.min_p_mw is None else low), high


def lines_of(pieces: Pieces) -> list[tuple[float, float]]:
    """Slope and constant of the lines whose maximum is a piecewise-linear cost."""
    lines: list[tuple[float, float]] = []
    worth = pieces[0][0] * pieces[0][2]
    for start, end, slope in pieces:
        lines.append((slope, worth - slope * start))
        worth += slope * (end - start)
    return lines


def agreeing(network: Network, topology: Topology) -> Network:
    """The network with every voltage that may move like the one that is held at its node, or 1."""
    held: dict[int, float] = {}
    for kind in HOLDING:
        rows = network.rows(kind)
        still = topology.alive(kind) & ~moves(network, topology, kind)
        for row in np.flatnonzero(still).tolist():
            node = int(topology.node[rows.at["bus"][row]])
            held.setdefault(node, float(rows.column("vm_pu")[row]))
    edits: dict[type[Element], dict[int, dict[str, float]]] = {}
    for kind in HOLDING:
        rows = network.rows(kind)
        for row in np.flatnonzero(moves(network, topology, kind)).tolist():
            vm = held.get(int(topology.node[rows.at["bus"][row]]), 1.0)
            edits.setdefault(kind, {})[row] = {"vm_pu": vm}
    lines = network.rows(e.DCLine)
    for row in range(len(lines)):
        ends = ((f"vm_{side}_pu", lines.at[f"{side}_bus"][row]) for side in ("from", "to"))
        edits.setdefault(e.DCLine, {})[row] = {
            field: held.get(int(topology.node[bus]), 1.0) for field, bus in ends
        }
    return network.changed(edits)


# -- what cannot be optimised ----------------------------------------------------------------------


def faults(network: Network, topology: Topology, linear: bool) -> Iterator[Problem]:
    """Limits and costs that contradict themselves or that no solver of ours takes."""
    for kind, _, _ in MOVABLE:
        rows = network.rows(kind)
        for row in np.flatnonzero(moves(network, topology, kind)).tolist():
            yield from _crossed(rows, row, "p_mw")
            yield from _crossed(rows, row, "q_mvar")
            yield from _costs(rows, row, linear)
    yield from _loads(network, topology, linear)
    lines = network.rows(e.DCLine)
    for row in np.flatnonzero(topology.alive(e.DCLine)).tolist():
        yield from _crossed(lines, row, "p_mw")
        yield from _costs(lines, row, linear)
        yield from _two_ways(lines, row)
    for kind in (e.Line, e.Transformer, e.Impedance):
        rows = network.rows(kind)
        for row in np.flatnonzero(topology.alive(kind)).tolist() if len(rows) else ():
            yield from _crossed(rows, row, "angle_degree")
    buses = network.rows(e.Bus)
    for row in np.flatnonzero(topology.bus).tolist():
        yield from _crossed(buses, row, "vm_pu")


def _crossed(rows: Rows, row: int, quantity: str) -> Iterator[Problem]:
    low, high = limits(rows.elements[row], quantity)
    if low > high:
        text = f"has a min_{quantity} of {low:g} above its max_{quantity} of {high:g}"
        yield fault(rows, row, f"min_{quantity}", "contradiction", text)


def _costs(rows: Rows, row: int, linear: bool) -> Iterator[Problem]:
    element = rows.elements[row]
    for fields in (COSTS, Q_COSTS):
        constant, first, second, pieces = fields
        if linear and (getattr(element, second, None) or 0) < 0:
            text = f"has a negative {second}, which opf_type dc cannot minimise; ac can"
            yield fault(rows, row, second, "unsupported", text)
        if getattr(element, pieces, None) is None:
            continue
        if any(getattr(element, name) is not None for name in (constant, first, second)):
            text = f"has both {pieces} and a polynomial cost; one of them is its cost"
            yield fault(rows, row, pieces, "contradiction", text)
        yield from _convex(rows, row, pieces)


def _convex(rows: Rows, row: int, field: str) -> Iterator[Problem]:
    pieces: Pieces = getattr(rows.elements[row], field)
    joined = all(a[1] == b[0] for a, b in zip(pieces, pieces[1:], strict=False))
    if not pieces or not joined or any(start >= end for start, end, _ in pieces):
        text = f"has {field} that do not join: each piece begins where the last one ends"
        yield fault(rows, row, field, "not-a-curve", text)
    elif any(a[2] > b[2] for a, b in zip(pieces, pieces[1:], strict=False)):
        text = f"has {field} with a piece cheaper than the one before it; such a cost is not convex"
        yield fault(rows, row, field, "unsupported", text)


def _loads(network: Network, topology: Topology, linear: bool) -> Iterator[Problem]:
    rows = network.rows(e.Load)
    if linear or not len(rows):
        return
    follows = np.any([rows.column(name) != 0 for name in _VOLTAGE_SHARES], axis=0)
    for row in np.flatnonzero(follows & moves(network, topology, e.Load)).tolist():
        text = "may move in OPF and follow the voltage at the same time; only one of both is meant"
        yield fault(rows, row, "controllable", "contradiction", text)


def _two_ways(rows: Rows, row: int) -> Iterator[Problem]:
    line = rows.elements[row]
    low, high = dc_line_range(line)
    if low < 0 < high and (line.loss_percent or line.loss_mw):
        text = "may send power either way and has losses, which OPF cannot represent; give it a "
        yield fault(rows, row, "min_p_mw", "unsupported", f"{text}min_p_mw of 0 or more")
