"""Three unequal phases: the claims and sums of an unbalanced answer.

Lines and switches with an impedance are recomputed in all three sequences, transformers in the
positive and the negative one; how a transformer passes on the zero sequence depends on its vector
group and core, so that its zero-sequence currents are taken as reported. They count in the sums of
every phase like all others.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from electrisim import elements as e
from electrisim.branches import CIRCUITS, ends_of, enter, zero_sequence_line
from electrisim.claims import Answered, Claim
from electrisim.elements import Element, Port
from electrisim.laws import asked_mva, by_phase, thevenin_pu
from electrisim.network import Array, Rows
from electrisim.sums import Terminals
from electrisim.transformers import TwoPorts, phase_shifts_count

PHASES = "abc"
#: Phases a, b, c (rows) from the zero, positive and negative sequence (columns), and back.
TO_PHASES = np.exp(2j * np.pi / 3 * np.array([[0, 0, 0], [0, -1, 1], [0, 1, -1]]))
TO_SEQUENCES = np.linalg.inv(TO_PHASES)
_AT_PHASES = tuple(f" in phase {phase}" for phase in PHASES)


class Phased(Answered):
    """An answer phase by phase.

    phases   complex bus voltages to earth [pu], shape (n_bus, 3); 0 without supply
    voltage  their positive sequence
    """

    phases: Array

    def _voltage(self) -> Array:
        told = [self.phasor(e.Bus, f"vm_{a}_pu", f"va_{a}_degree") for a in PHASES]
        self.phases = np.where(self.topology.bus[:, None], np.stack(told, axis=1), 0)
        return np.asarray(self.sequences[:, 1])

    @property
    def sequences(self) -> Array:
        """Zero, positive and negative sequence of the bus voltages, shape (n_bus, 3)."""
        return np.asarray(self.phases @ TO_SEQUENCES.T)

    def by_phase(self, kind: type[Element], port: Port) -> Array:
        """Power at a port phase by phase, as reported, shape (n, 3) [MVA]."""
        p, q = port.p, port.q or ""
        return np.stack([self.power(kind, _of(p, a), _of(q, a)) for a in PHASES], axis=1)


def _of(column: str, phase: str) -> str:
    """The column of one phase: p_from_mw → p_a_from_mw."""
    return column.replace("_", f"_{phase}_", 1)


class PhaseFlows(NamedTuple):
    """What flows into a kind's branches, shape (n, ports), and (n, ports, 3) phase by phase.

    current  counted in MVA at 1 pu of all three phases
    """

    bus: Array
    attached: Array
    current: Array
    power_mva: Array


def phase_flows(answered: Phased) -> dict[type[Element], PhaseFlows]:
    """What flows into the branches at the returned voltages, by kind."""
    found: dict[type[Element], PhaseFlows] = {}
    network, settings, topology = answered.network, answered.settings, answered.topology
    for kind in (e.Line, e.Transformer, e.Switch):
        if kind not in network.kinds:
            continue
        rows = network.rows(kind)
        bus, attached = ends_of(network, topology, kind)
        positive = CIRCUITS[kind](network, rows, settings, answered.tables)
        negative = positive._replace(ratio=np.conj(positive.ratio))
        zero = zero_sequence_line(network, rows) if kind is e.Line else positive
        voltage, current = _in_sequences(
            (zero, positive, negative), answered.sequences[bus], attached
        )
        if kind is e.Transformer:
            voltage[..., 0], current[..., 0] = _zero_sequence_told(answered, rows, bus, attached)
        voltage, current = voltage @ TO_PHASES.T, current @ TO_PHASES.T
        power = voltage * np.conj(current) / 3
        turned = (array.swapaxes(0, 1) for array in (current, power))
        found[kind] = PhaseFlows(bus.T, attached.T, *turned)
    return found


def _in_sequences(
    ports: tuple[TwoPorts, TwoPorts, TwoPorts], voltage: Array, attached: Array
) -> tuple[Array, Array]:
    """Voltages and entering currents at two ends in three sequences, (2, n, 3) each."""
    each = [enter(two_ports, voltage[..., s], attached) for s, two_ports in enumerate(ports)]
    return np.stack([v for v, _ in each], axis=-1), np.stack([i for _, i in each], axis=-1)


def _zero_sequence_told(
    answered: Phased, rows: Rows, bus: Array, attached: Array
) -> tuple[Array, Array]:
    """Zero-sequence voltages and currents of branches as reported, shape (2, n) each."""
    power = np.stack([answered.by_phase(rows.kind, port) for port in rows.kind.ports])
    current = np.conj(3 * power / answered.phases[bus]) @ TO_SEQUENCES.T
    return answered.sequences[bus][..., 0], np.where(attached, current[..., 0], 0)


# -- claims ----------------------------------------------------------------------------------------


def branch_claims(answered: Phased, found: dict[type[Element], PhaseFlows]) -> Iterator[Claim]:
    """Reported powers, losses and currents of branches beside what their data give."""
    for kind, flow in found.items():
        rows, alive = answered.network.rows(kind), answered.carrying(answered.network.rows(kind))
        if not answered.has(kind, _of(kind.ports[0].p, "a")):
            continue
        ends = [port.p.removeprefix("p_").removesuffix("_mw") for port in kind.ports]
        places = tuple(f" at its {end} end in phase {phase}" for end in ends for phase in PHASES)
        told = np.stack([answered.by_phase(kind, port) for port in kind.ports], axis=1)
        told = np.where(flow.attached[..., None] | ~np.isnan(told), told, 0)
        yield Claim(
            rows, "mismatch", "power", _flat(flow.power_mva), _flat(told), alive[:, None],
            places=places,
        )  # fmt: skip
        if answered.has(kind, "p_a_l_mw"):
            loss = answered.by_phase(kind, Port("", "p_l_mw", "q_l_mvar"))
            asked = flow.power_mva.sum(axis=1)
            yield Claim(rows, "mismatch", "power", asked, loss, alive[:, None], "loss", _AT_PHASES)
        columns = [f"i_{phase}_{end}_ka" for end in ends for phase in PHASES]
        if answered.has(kind, *columns):
            mva_per_ka = np.repeat(np.sqrt(3) * answered.vn_kv[flow.bus], 3, axis=1)
            ka = np.abs(_flat(flow.current)) / mva_per_ka
            told = np.stack([answered.column(kind, column) for column in columns], axis=1)
            at = alive[:, None] & (np.repeat(flow.attached, 3, axis=1) | ~np.isnan(told))
            yield Claim(rows, "mismatch", "current", ka, told, at, "", places, mva_per_ka)


def _flat(array: Array) -> Array:
    return array.reshape(len(array), -1)


def setpoint_claims(answered: Phased) -> Iterator[Claim]:
    """Delivered beside asked for every element with a set-point."""
    for kind in answered.network.kinds:
        rows = answered.network.rows(kind)
        alive = answered.topology.alive(kind)
        if len(kind.ports) != 1:
            continue
        port = kind.ports[0]
        if kind in (e.ExternalGrid, e.Generator):
            yield from _source(answered, rows)
        elif kind in ASYMMETRIC:
            asked, told = by_phase(rows), answered.by_phase(kind, port)
            yield Claim(rows, "setpoint", "power", asked, told, alive[:, None], places=_AT_PHASES)
        else:
            asked = _asked_by_phase(answered, rows).sum(axis=1)
            yield Claim(
                rows, "setpoint", "power", asked, answered.power(kind, port.p, port.q), alive
            )


ASYMMETRIC = (e.AsymmetricLoad, e.AsymmetricStaticGenerator)


def _source(answered: Phased, rows: Rows) -> Iterator[Claim]:
    """Sources hold the positive sequence; the others are 0, or what their impedance leaves."""
    kind, bus, alive = rows.kind, rows.at["bus"], answered.topology.alive(rows.kind)
    told = answered.by_phase(kind, kind.ports[0])
    yield Claim(rows, "setpoint", "power", told, told, alive[:, None], places=_AT_PHASES)
    here = answered.sequences[bus]
    if kind is e.Generator:
        p = told.real.sum(axis=1)
        slack = np.asarray(rows.column("slack"), dtype=bool)
        asked = np.where(slack, p, rows.column("p_mw") * rows.column("scaling"))
        yield Claim(rows, "setpoint", "active", asked, p, alive)
        yield Claim(rows, "setpoint", "voltage", rows.column("vm_pu"), np.abs(here[:, 1]), alive)
        return
    angle = rows.column("va_degree") * phase_shifts_count(answered.network, answered.settings)
    held = rows.column("vm_pu") * np.exp(1j * np.deg2rad(angle))
    current = np.conj(3 * told / answered.phases[bus]) @ TO_SEQUENCES.T
    z = thevenin_pu(rows)
    if answered.settings.source_impedance:
        here = here + np.stack([np.zeros(len(rows)), z, np.zeros(len(rows))], axis=1) * current
    yield Claim(rows, "setpoint", "voltage", held, here[:, 1], alive)
    left = here[:, 2]
    behind = left + z * current[:, 2]
    left = np.where(np.abs(behind) < np.abs(left), behind, left)
    yield Claim(rows, "setpoint", "voltage", np.zeros(len(rows)), left, alive, "negative sequence")


def _asked_by_phase(answered: Phased, rows: Rows) -> Array:
    """What elements that know only their sum ask of each phase, or pair of phases, shape (n, 3)."""
    across = _across(answered, rows)
    magnitude = np.abs(across) / np.where(is_delta(rows), np.sqrt(3), 1)[:, None]
    third = [asked_mva(answered, rows, magnitude[:, phase]) / 3 for phase in range(3)]
    return np.stack(third, axis=1)


def is_delta(rows: Rows) -> Array:
    """Which elements are connected between the phases."""
    if rows.kind is not e.Load and rows.kind not in ASYMMETRIC:
        return np.zeros(len(rows), dtype=bool)
    return np.array([type_ == "delta" for type_ in rows.values("type")], dtype=bool)


def _across(answered: Phased, rows: Rows) -> Array:
    """Voltages across the branches of elements: to earth, in a delta ab, bc and ca."""
    here = answered.phases[rows.at["bus"]]
    between = here - np.roll(here, -1, axis=1)
    return np.where(is_delta(rows)[:, None], between, here)


def bus_claims(answered: Phased) -> Iterator[Claim]:
    """One voltage per node, and a positive sequence that is the phases'."""
    network, topology = answered.network, answered.topology
    buses = network.rows(e.Bus)
    at = topology.bus[:, None]
    first = np.unique(topology.node, return_index=True)[1][topology.node]
    there = answered.phases[first] * (answered.vn_kv[first] / answered.vn_kv)[:, None]
    yield Claim(buses, "mismatch", "voltage", there, answered.phases, at, places=_AT_PHASES)
    if answered.has(e.Bus, "vm_pu", "va_degree"):
        told = answered.phasor(e.Bus, "vm_pu", "va_degree")
        yield Claim(buses, "mismatch", "voltage", answered.voltage, told, topology.bus)
    if answered.has(e.Generator, "vm_a_pu", "va_a_degree"):
        rows = network.rows(e.Generator)
        phasors = [answered.phasor(e.Generator, f"vm_{a}_pu", f"va_{a}_degree") for a in PHASES]
        here, alive = answered.phases[rows.at["bus"]], topology.alive(e.Generator)
        yield Claim(
            rows, "mismatch", "voltage", here, np.stack(phasors, axis=1), alive[:, None],
            places=_AT_PHASES,
        )  # fmt: skip


# -- sums ------------------------------------------------------------------------------------------


class PhaseSums:
    """Sums of the terminal powers, phase by phase.

    throughput_mva  the largest that passes a phase of a bus
    """

    def __init__(self, answered: Phased, found: dict[type[Element], PhaseFlows]) -> None:
        network, topology = answered.network, answered.topology
        self._answered = answered
        terminals = Terminals(3 * len(network.rows(e.Bus)))
        drawn = Terminals(3 * len(network.rows(e.Bus)))
        for kind in network.kinds:
            rows, alive = network.rows(kind), topology.alive(kind)[:, None]
            if kind in found:
                flow = found[kind]
                at = answered.carrying(rows)[:, None, None]
                terminals.add(_phase_of(flow.bus), flow.power_mva, at)
            elif len(kind.ports) == 1:
                power = kind.ports[0].sign * _at_terminals(answered, rows)
                terminals.add(_phase_of(rows.at["bus"]), power, alive)
                drawn.add(_phase_of(rows.at["bus"]), power, alive)
        left, through = terminals.summed(_phase_of(topology.node).ravel())
        self._left, self._drawn = left.reshape(-1, 3), drawn.summed()[0].reshape(-1, 3)
        self.throughput_mva = float(through.max(initial=0.0))

    def claims(self) -> Iterator[Claim]:
        """Nothing is left at a node, and a bus reports what the elements at it draw.

        pandapower counts the branch ab of a delta to phase a: there only all phases together agree.
        """
        answered = self._answered
        rows, alive = answered.network.rows(e.Bus), answered.topology.bus
        nothing = np.zeros_like(self._left)
        yield Claim(rows, "node", "power", nothing, self._left, None, "sum", _AT_PHASES)
        if not answered.has(e.Bus, "p_a_mw"):
            return
        told = answered.by_phase(e.Bus, Port("", "p_mw", "q_mvar"))
        yield Claim(rows, "node", "power", self._drawn.sum(axis=1), told.sum(axis=1), alive)
        wye = alive.copy()
        for kind in (e.Load, *ASYMMETRIC):
            some = answered.network.rows(kind)
            if len(some):
                wye[some.at["bus"][is_delta(some)]] = False
        yield Claim(rows, "node", "power", self._drawn, told, wye[:, None], places=_AT_PHASES)


def _phase_of(bus: Array) -> Array:
    """Numbers of the three phases of each bus, shape (…, 3)."""
    return np.asarray(3 * bus[..., None] + np.arange(3))


def _at_terminals(answered: Phased, rows: Rows) -> Array:
    """What elements draw at each phase, shape (n, 3); a delta's branches lie between two."""
    kind = rows.kind
    if answered.has(kind, "p_a_mw"):
        power = answered.by_phase(kind, kind.ports[0])
    else:
        power = _asked_by_phase(answered, rows)
    delta = is_delta(rows)
    if not delta.any():
        return power
    branch = np.conj(power / _across(answered, rows))
    through = branch - np.roll(branch, 1, axis=1)
    here = answered.phases[rows.at["bus"]]
    return np.where(delta[:, None], here * np.conj(through), power)
