"""What must hold before any engine is asked: a source, and one voltage per node."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from electrisim import elements as e
from electrisim.network import Array, Network, Rows, fault
from electrisim.problems import Problem, ProblemError
from electrisim.settings import Settings
from electrisim.topology import Topology

#: Two voltages this far apart are two [pu, degree].
APART = 1e-9


def check(network: Network, topology: Topology, settings: Settings) -> None:
    """Raise ProblemError where nothing is supplied or where sources of a node contradict."""
    if not topology.bus.any() and not topology.bus_dc.any():
        raise ProblemError([no_source(network)])
    problems = list(_contradictions(network, topology, settings))
    if problems:
        raise ProblemError(problems)


def no_source(network: Network) -> Problem:
    """The problem of a network in which nothing is supplied."""
    sources = [network.rows(kind) for kind in (e.ExternalGrid, e.SourceDC)]
    idle = [rows.label(row) for rows in sources for row in range(len(rows))]
    hint = (
        f"{', '.join(idle[:5])}: out of service, or at a bus that is."
        if idle
        else "Connect an External Grid, or a Generator with slack true."
    )
    return Problem(kind="no-source", message=f"No bus of the network is supplied. {hint}")


class _Held(NamedTuple):
    """What elements of a kind hold at the nodes where one of their terminals is.

    acts  which of them do
    """

    rows: Rows
    field: str
    bus: Array
    value: Array
    acts: Array


def _contradictions(network: Network, topology: Topology, settings: Settings) -> Iterator[Problem]:
    if not settings.linear:
        yield from _differing(network, topology, list(_voltages(network, topology)), "pu")
    if settings.calculate_voltage_angles is not False:
        grids = network.rows(e.ExternalGrid)
        if len(grids):
            angles = grids.column("va_degree")
            alive = topology.alive(e.ExternalGrid)
            held = _Held(grids, "va_degree", grids.at["bus"], angles, alive)
            yield from _differing(network, topology, [held], "°")


def _voltages(network: Network, topology: Topology) -> Iterator[_Held]:
    for kind, field in ((e.ExternalGrid, "vm_pu"), (e.Generator, "vm_pu"), (e.SSC, "set_vm_pu")):
        rows = network.rows(kind)
        if len(rows):
            acts = topology.alive(kind)
            if kind is e.SSC:
                acts = acts & rows.column("controllable")
            yield _Held(rows, field, rows.at["bus"], rows.column(field), acts)
    lines = network.rows(e.DCLine)
    for end in ("from", "to") if len(lines) else ():
        field = f"vm_{end}_pu"
        alive = topology.alive(e.DCLine)
        yield _Held(lines, field, lines.at[f"{end}_bus"], lines.column(field), alive)
    for converter in (e.VSC, e.B2BVSC):
        rows = network.rows(converter)
        if len(rows):
            modes = np.array(rows.values("control_mode_ac"))
            acts = topology.alive(converter) & (modes != "q_mvar")
            yield _Held(
                rows, "control_value_ac", rows.at["bus"], rows.column("control_value_ac"), acts
            )


def _differing(
    network: Network, topology: Topology, held: list[_Held], unit: str
) -> Iterator[Problem]:
    """One problem per element that holds something else than the first at its node."""
    first: dict[int, tuple[float, str]] = {}
    for part in held:
        for row in np.flatnonzero(part.acts).tolist():
            node, value = int(topology.node[part.bus[row]]), float(part.value[row])
            other = first.setdefault(node, (value, part.rows.label(row)))
            if abs(value - other[0]) > APART:
                bus = network.rows(e.Bus).label(int(part.bus[row]))
                text = (
                    f"holds {value:g} {unit} at {bus}, where {other[1]} holds {other[0]:g} {unit}"
                )
                yield fault(part.rows, row, part.field, "contradiction", text)
