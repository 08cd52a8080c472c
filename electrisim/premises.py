"""What must hold before any engine is asked: a source, and one voltage per node."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from electrisim import elements as e
from electrisim import phasing
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
    if network.is_phased:
        problems += _lacking(network, topology)
    if problems:
        raise ProblemError(problems)


def single_phase(network: Network, engine: str, model: str) -> Iterator[Problem]:
    """Elements of fewer than three phases, and lines of which only matrices are known.

    engine, model  what cannot represent them
    """
    hint = " The engine opendss can, with mode unbalanced."
    for kind in network.kinds:
        rows = network.rows(kind)
        if phasing.any_partial(rows):
            for row in np.flatnonzero(phasing.partial(rows)).tolist():
                told = f"of phase {rows.elements[row].phases}"
                yield _unspoken(rows, row, "phases", f"is {told}", engine, model, hint)
        if kind is e.Line:
            matrices = rows.values(phasing.MATRICES[0])
            for row, matrix in enumerate(matrices if any(matrices) else ()):
                known = model == "balanced" and rows.elements[row].r_ohm_per_km is not None
                if matrix is not None and not known and rows.elements[row].phases == phasing.ALL:
                    told = "has its impedance by conductor"
                    yield _unspoken(rows, row, phasing.MATRICES[0], told, engine, model, hint)


def line_drops(network: Network, engine: str) -> Iterator[Problem]:
    """Tap changers that look behind the drop of a line, where no phase has a current of its own."""
    rows = network.rows(e.Transformer)
    for field in ("line_drop_r_ohm", "line_drop_x_ohm"):
        for row in np.flatnonzero(~np.isnan(rows.column(field)) & rows.column("in_service")):
            yield _unspoken(
                rows, int(row), field, f"has a {field}", engine, "balanced",
                " The engine opendss can, with mode unbalanced.",
            )  # fmt: skip


def _unspoken(
    rows: Rows, row: int, field: str, told: str, engine: str, model: str, hint: str
) -> Problem:
    text = f"{told}, which cannot be represented by {engine} ({model})"
    return fault(rows, row, field, "unsupported", text, hint)


def _lacking(network: Network, topology: Topology) -> Iterator[Problem]:
    """Elements on phases that their buses, although supplied, do not have."""
    buses = network.rows(e.Bus)
    for kind in network.kinds:
        rows = network.rows(kind)
        for field in ("bus", "element") if kind is e.Switch else (p.bus for p in kind.ports):
            lacks = topology.lacking(rows, field)
            meant = topology.in_service(rows)
            if kind is not e.Switch:
                meant = meant & topology.attached(rows, field)
            for row in np.flatnonzero(meant & lacks.any(axis=1)).tolist():
                bus = int(rows.at[field][row])
                if topology.bus[bus]:
                    has = _letters(topology.phases[bus])
                    text = f"needs {_letters(lacks[row])} at {buses.label(bus)}, which has {has}"
                    yield fault(rows, row, field, "no-phase", f"{text} only")


def _letters(phases: Array) -> str:
    """“phase a and c”"""
    return "phase " + " and ".join(np.array(list(phasing.ALL))[phases])


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
    first: dict[tuple[int, str], tuple[float, str]] = {}
    for part in held:
        phases = phasing.words(part.rows)
        for row in np.flatnonzero(part.acts).tolist():
            node, value = int(topology.node[part.bus[row]]), float(part.value[row])
            other = first.setdefault((node, phases[row]), (value, part.rows.label(row)))
            if abs(value - other[0]) > APART:
                bus = network.rows(e.Bus).label(int(part.bus[row]))
                text = (
                    f"holds {value:g} {unit} at {bus}, where {other[1]} holds {other[0]:g} {unit}"
                )
                yield fault(part.rows, row, part.field, "contradiction", text)
