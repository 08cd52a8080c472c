"""Three unequal phases: the claims and sums of an unbalanced answer.

Lines and switches with an impedance are recomputed in all three sequences, transformers in the
positive and the negative one; how a transformer passes on the zero sequence depends on its vector
group and core, so that its zero-sequence currents are taken as reported. They count in the sums of
every phase like all others.

Arrays of phases have the shape (3, n), those of branches (ports, 3, n).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from electrisim import elements as e
from electrisim.branches import CIRCUITS, ends_of, enter, zero_sequence_line
from electrisim.claims import Answered, Claim, places_of
from electrisim.elements import Element, Port
from electrisim.laws import asked_mva, by_phase, thevenin_pu
from electrisim.network import Array, Rows
from electrisim.sums import Terminals
from electrisim.transformers import TwoPorts, phase_shifts_count

PHASES = "abc"
#: Phases a, b, c (rows) from the zero, positive and negative sequence (columns), and back.
TO_PHASES = np.exp(2j * np.pi / 3 * np.array([[0, 0, 0], [0, -1, 1], [0, 1, -1]]))
TO_SEQUENCES = np.linalg.inv(TO_PHASES)
ASYMMETRIC = (e.AsymmetricLoad, e.AsymmetricStaticGenerator)
_IN_PHASE = tuple(f" in phase {phase}" for phase in PHASES)


class Phased(Answered):
    """An answer phase by phase.

    phases     complex bus voltages to earth [pu], shape (3, n_bus); 0 without supply
    sequences  their zero, positive and negative sequence
    voltage    the positive one
    """

    phases: Array
    sequences: Array

    def _voltage(self) -> Array:
        vm, va = ([of_phase(name, a) for a in PHASES] for name in ("vm_pu", "va_degree"))
        self.phases = np.where(self.topology.bus, self.phasors(e.Bus, vm, va), 0)
        self.sequences = TO_SEQUENCES @ self.phases
        return np.asarray(self.sequences[1])

    def by_phase(self, kind: type[Element], port: Port) -> Array:
        """Power at a port phase by phase, as reported [MVA]."""
        q = port.q or ""
        return np.array([self.power(kind, of_phase(port.p, a), of_phase(q, a)) for a in PHASES])

    def current(self, power: Array, bus: Array) -> Array:
        """Sequence currents that carry powers at buses, counted in MVA at 1 pu of all phases."""
        return np.asarray(TO_SEQUENCES @ np.conj(3 * power / self.phases[:, bus]))


def of_phase(column: str, phase: str) -> str:
    """The column of one phase: p_from_mw → p_a_from_mw."""
    return column.replace("_", f"_{phase}_", 1)


class PhaseFlows(NamedTuple):
    """What flows into a kind's branches.

    bus, attached  where each port ends, and whether it is connected there, shape (ports, n)
    current        counted in MVA at 1 pu of all three phases
    power_mva      of each phase
    """

    bus: Array
    attached: Array
    current: Array
    power_mva: Array


Found = dict[type[Element], PhaseFlows]


def phase_flows(answered: Phased) -> Found:
    """What flows into the branches at the returned voltages, by kind."""
    found: Found = {}
    network, settings, topology = answered.network, answered.settings, answered.topology
    for kind in (e.Line, e.Transformer, e.Switch):
        if kind not in network.kinds:
            continue
        rows = network.rows(kind)
        bus, attached = ends_of(network, topology, kind)
        positive = CIRCUITS[kind](network, rows, settings, answered.tables)
        negative = positive._replace(ratio=np.conj(positive.ratio))
        zero = zero_sequence_line(network, rows) if kind is e.Line else positive
        voltage, current = _in_sequences(answered, (zero, positive, negative), bus, attached)
        if kind is e.Transformer:
            for end, port in enumerate(kind.ports):
                told = answered.current(answered.by_phase(kind, port), bus[end])[0]
                voltage[end, 0] = answered.sequences[0, bus[end]]
                current[end, 0] = np.where(attached[end], told, 0)
        voltage, current = TO_PHASES @ voltage, TO_PHASES @ current
        found[kind] = PhaseFlows(bus, attached, current, voltage * np.conj(current) / 3)
    return found


def _in_sequences(
    answered: Phased, ports: tuple[TwoPorts, TwoPorts, TwoPorts], bus: Array, attached: Array
) -> tuple[Array, Array]:
    """Voltages and entering currents at two ends in three sequences, shape (2, 3, n)."""
    each = [enter(ports[s], answered.sequences[s][bus], attached) for s in range(3)]
    return np.stack([v for v, _ in each], axis=1), np.stack([i for _, i in each], axis=1)


# -- claims ----------------------------------------------------------------------------------------


def branch_claims(answered: Phased, found: Found) -> Iterator[Claim]:
    """Reported powers, losses and currents of branches beside what their data give."""
    for kind, flow in found.items():
        rows = answered.network.rows(kind)
        alive = answered.carrying(rows)
        if not answered.has(kind, of_phase(kind.ports[0].p, "a")):
            continue
        places = tuple(at + phase for at in places_of(kind) for phase in _IN_PHASE)
        told = np.array([answered.by_phase(kind, port) for port in kind.ports])
        told = np.where(flow.attached[:, None] | ~np.isnan(told), told, 0)
        yield Claim(
            rows, "mismatch", "power", _flat(flow.power_mva), _flat(told), alive, places=places
        )
        if answered.has(kind, "pl_a_mw"):
            loss = answered.by_phase(kind, Port("", "pl_mw", "ql_mvar"))
            places = tuple(f" as its loss{phase}" for phase in _IN_PHASE)
            asked = flow.power_mva.sum(axis=0)
            yield Claim(rows, "mismatch", "power", asked, loss, alive, places=places)
        yield from _current_claims(answered, rows, flow, alive)


def _current_claims(
    answered: Phased, rows: Rows, flow: PhaseFlows, alive: Array
) -> Iterator[Claim]:
    kind = rows.kind
    ends = [port.p.removeprefix("p_").removesuffix("_mw") for port in kind.ports]
    columns = [f"i_{phase}_{end}_ka" for end in ends for phase in PHASES]
    if not answered.has(kind, *columns):
        return
    mva_per_ka = np.repeat(np.sqrt(3) * answered.vn_kv[flow.bus], 3, axis=0)
    ka = np.abs(_flat(flow.current)) / mva_per_ka
    told = np.array([answered.column(kind, column) for column in columns])
    at = alive & (np.repeat(flow.attached, 3, axis=0) | ~np.isnan(told))
    places = tuple(at_end + phase for at_end in places_of(kind) for phase in _IN_PHASE)
    yield Claim(rows, "mismatch", "current", ka, told, at, "", places, mva_per_ka)


def _flat(array: Array) -> Array:
    return array.reshape(-1, array.shape[-1])


def setpoint_claims(answered: Phased) -> Iterator[Claim]:
    """Delivered beside asked for every element with a set-point."""
    for kind in answered.network.kinds:
        if len(kind.ports) != 1:
            continue
        rows, alive = answered.network.rows(kind), answered.topology.alive(kind)
        port = kind.ports[0]
        if kind in (e.ExternalGrid, e.Generator):
            yield from _source(answered, rows)
        elif kind in ASYMMETRIC:
            asked, told = by_phase(rows), answered.by_phase(kind, port)
            yield Claim(rows, "setpoint", "power", asked, told, alive, places=_IN_PHASE)
        else:
            asked, told = _asked_by_phase(answered, rows), answered.power(kind, port.p, port.q)
            yield Claim(rows, "setpoint", "power", asked.sum(axis=0), told, alive)


def _source(answered: Phased, rows: Rows) -> Iterator[Claim]:
    """Sources hold the positive sequence, and pass on the negative one as their impedance wants.

    An external grid has no negative sequence where it is ideal, and otherwise what its
    short-circuit impedance leaves; either is accepted.
    """
    kind, bus, alive = rows.kind, rows.at["bus"], answered.topology.alive(rows.kind)
    told = answered.by_phase(kind, kind.ports[0])
    yield Claim(rows, "setpoint", "power", told, told, alive, places=_IN_PHASE)
    _, here, negative = answered.sequences[:, bus]
    if kind is e.Generator:
        p = told.real.sum(axis=0)
        slack = np.asarray(rows.column("slack"), dtype=bool)
        asked = np.where(slack, p, rows.column("p_mw") * rows.column("scaling"))
        yield Claim(rows, "setpoint", "active", asked, p, alive)
        yield Claim(rows, "setpoint", "voltage", rows.column("vm_pu"), np.abs(here), alive)
        return
    z, current = thevenin_pu(rows), answered.current(told, bus)
    if answered.settings.source_impedance:
        here = here + z * current[1]
    angle = rows.column("va_degree") * phase_shifts_count(answered.network, answered.settings)
    held = rows.column("vm_pu") * np.exp(1j * np.deg2rad(angle))
    yield Claim(rows, "setpoint", "voltage", held, here, alive)
    behind = negative + z * current[2]
    negative = np.where(np.abs(behind) < np.abs(negative), behind, negative)
    yield Claim(rows, "setpoint", "voltage", np.zeros(len(rows)), negative, alive, "negative")


def _asked_by_phase(answered: Phased, rows: Rows) -> Array:
    """What elements that know only their sum ask of each phase, or pair of phases."""
    nominal = np.where(is_delta(rows), np.sqrt(3), 1)
    across = np.abs(_across(answered, rows)) / nominal
    return np.array([asked_mva(answered, rows, vm) / 3 for vm in across])


def is_delta(rows: Rows) -> Array:
    """Which elements are connected between the phases."""
    if rows.kind is not e.Load and rows.kind not in ASYMMETRIC:
        return np.zeros(len(rows), dtype=bool)
    return np.array([type_ == "delta" for type_ in rows.values("type")], dtype=bool)


def _across(answered: Phased, rows: Rows) -> Array:
    """Voltages across the branches of elements: to earth, in a delta ab, bc and ca."""
    here = answered.phases[:, rows.at["bus"]]
    return np.where(is_delta(rows), here - np.roll(here, -1, axis=0), here)


def bus_claims(answered: Phased) -> Iterator[Claim]:
    """One voltage per node, and a positive sequence that is the phases'."""
    network, topology = answered.network, answered.topology
    buses = network.rows(e.Bus)
    first = np.unique(topology.node, return_index=True)[1][topology.node]
    there = answered.phases[:, first] * (answered.vn_kv[first] / answered.vn_kv)
    here = answered.phases
    yield Claim(buses, "mismatch", "voltage", there, here, topology.bus, places=_IN_PHASE)
    if answered.has(e.Bus, "vm_pu", "va_degree"):
        told = answered.phasor(e.Bus, "vm_pu", "va_degree")
        yield Claim(buses, "mismatch", "voltage", answered.voltage, told, topology.bus)
    if answered.has(e.Generator, "vm_a_pu", "va_a_degree"):
        vm, va = ([of_phase(name, a) for a in PHASES] for name in ("vm_pu", "va_degree"))
        rows, alive = network.rows(e.Generator), topology.alive(e.Generator)
        told, here = answered.phasors(e.Generator, vm, va), here[:, rows.at["bus"]]
        yield Claim(rows, "mismatch", "voltage", here, told, alive, places=_IN_PHASE)


# -- sums ------------------------------------------------------------------------------------------


class PhaseSums:
    """Sums of the terminal powers, phase by phase.

    throughput_mva  the largest that passes a phase of a bus
    """

    def __init__(self, answered: Phased, found: Found) -> None:
        network, topology = answered.network, answered.topology
        self._answered = answered
        count = len(network.rows(e.Bus))
        terminals, drawn = Terminals(3 * count), Terminals(3 * count)
        for kind in network.kinds:
            rows = network.rows(kind)
            if kind in found:
                flow = found[kind]
                terminals.add(_phases_of(flow.bus), flow.power_mva, answered.carrying(rows))
            elif len(kind.ports) == 1:
                power = kind.ports[0].sign * _at_terminals(answered, rows)
                for collected in (terminals, drawn):
                    collected.add(_phases_of(rows.at["bus"]), power, topology.alive(kind))
        group = _phases_of(topology.node).T.ravel()
        left, self.throughput_mva = terminals.summed(group)
        self._left, self._drawn = (each.reshape(-1, 3).T for each in (left, drawn.summed()[0]))

    def claims(self) -> Iterator[Claim]:
        """Nothing is left at a node, and a bus reports what the elements at it draw.

        pandapower counts the branch ab of a delta to phase a: there only all phases together agree.
        """
        answered, drawn = self._answered, self._drawn
        rows, alive = answered.network.rows(e.Bus), answered.topology.bus
        nothing = np.zeros_like(self._left)
        yield Claim(rows, "node", "power", nothing, self._left, None, "sum", _IN_PHASE)
        if not answered.has(e.Bus, "p_a_mw"):
            return
        told = answered.by_phase(e.Bus, Port("", "p_mw", "q_mvar"))
        yield Claim(rows, "node", "power", drawn.sum(axis=0), told.sum(axis=0), alive)
        wye = alive.copy()
        for kind in (e.Load, *ASYMMETRIC):
            some = answered.network.rows(kind)
            if len(some):
                wye[some.at["bus"][is_delta(some)]] = False
        yield Claim(rows, "node", "power", drawn, told, wye, places=_IN_PHASE)


def _phases_of(bus: Array) -> Array:
    """Numbers of the three phases of each bus: (…, n) → (…, 3, n)."""
    return np.asarray(3 * bus[..., None, :] + np.arange(3)[:, None])


def _at_terminals(answered: Phased, rows: Rows) -> Array:
    """What elements draw at each phase; the branches of a delta lie between two."""
    kind = rows.kind
    if answered.has(kind, "p_a_mw"):
        power = answered.by_phase(kind, kind.ports[0])
    else:
        power = _asked_by_phase(answered, rows)
    delta = is_delta(rows)
    if not delta.any():
        return power
    branch = np.conj(power / _across(answered, rows))
    through = branch - np.roll(branch, 1, axis=0)
    here = answered.phases[:, rows.at["bus"]]
    return np.where(delta, here * np.conj(through), power)
