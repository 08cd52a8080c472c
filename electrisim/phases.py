"""Three unequal phases: the claims and sums of an unbalanced answer.

Lines and switches with an impedance are recomputed conductor by conductor, single-phase
transformers winding by winding, others in the positive and the negative sequence; how a transformer
passes on the zero sequence depends on its vector group and core, so that its zero-sequence currents
are taken as reported. They count in the sums of every phase like all others.

Arrays of phases have the shape (3, n), those of branches (ports, 3, n). Phases that an element or a
bus lacks are 0 in them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from electrisim import elements as e
from electrisim.branches import ends_of, enter
from electrisim.claims import Answered, Claim, places_of
from electrisim.conductors import Conductors, of_lines, of_switches, series_of_lines
from electrisim.elements import Element, Port
from electrisim.laws import asked_mva, by_phase, thevenin_pu
from electrisim.network import Array, Rows
from electrisim.phasing import across as across_of
from electrisim.phasing import any_partial, incidence, nominal, partial, present, words
from electrisim.sums import Terminals
from electrisim.transformers import TwoPorts, Winding, halves, phase_shifts_count, windings

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
        self.phases = np.where(self.topology.phases.T, self.phasors(e.Bus, vm, va), 0)
        self.sequences = TO_SEQUENCES @ self.phases
        return np.asarray(self.sequences[1])

    def by_phase(self, kind: type[Element], port: Port) -> Array:
        """Power of a pair of columns phase by phase, as reported [MVA]."""
        q = port.q or ""
        told = np.array([self.power(kind, of_phase(port.p, a), of_phase(q, a)) for a in PHASES])
        return np.where(self.has_phases(kind, port), told, 0) if self.network.is_phased else told

    def has_phases(self, kind: type[Element], port: Port) -> Array:
        """The phases of which a pair of columns tells, shape (3, n); losses of any port's."""
        if kind is e.Bus:
            return np.asarray(self.topology.phases.T)
        rows = self.network.rows(kind)
        numbers = [k for k, own in enumerate(kind.ports) if own == port] or [0, 1]
        return np.asarray(np.logical_or.reduce([present(rows, k) for k in numbers]).T)

    def current(self, power: Array, bus: Array) -> Array:
        """Sequence currents that carry powers at buses, counted in MVA at 1 pu of all phases."""
        here = self.phases[:, bus]
        return np.asarray(TO_SEQUENCES @ np.conj(3 * power / np.where(here == 0, 1, here)))

    def kilovolts(self, bus: Array) -> Array:
        """Voltages of the phases of buses to earth [kV], shape (n, 3)."""
        return np.asarray((self.phases[:, bus] * self.vn_kv[bus] / np.sqrt(3)).T)


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
    return {
        kind: flows(answered, answered.network.rows(kind))
        for kind, flows in (
            (e.Line, _through_lines),
            (e.Transformer, _through_transformers),
            (e.Switch, _through_switches),
        )
        if kind in answered.network.kinds
    }


def _through_lines(answered: Phased, rows: Rows) -> PhaseFlows:
    data = answered.network, rows, answered.settings
    return _through(answered, rows, of_lines(*data), series_of_lines(*data))


def _through_switches(answered: Phased, rows: Rows) -> PhaseFlows:
    """Those without impedance carry nothing here: their nodes are one."""
    found = of_switches(rows)
    ideal = ~answered.carrying(rows)
    found.has[ideal] = False
    found.z[ideal] = 0
    return _through(answered, rows, found, found.series())


def _through(answered: Phased, rows: Rows, conductors: Conductors, series: Array) -> PhaseFlows:
    """I = Y_series·(V − V') + Y_end·V at either end; a detached end floats."""
    bus, attached = ends_of(answered.network, answered.topology, rows.kind)
    to_earth = conductors.y
    volts = np.stack([answered.kilovolts(at) for at in bus])
    for end in (0, 1):
        if not attached[end].all():
            loose = ~attached[end]
            absent = np.einsum("ij,jk->ijk", ~conductors.has[loose], np.eye(3))
            drives = np.einsum("ijk,ik->ij", series[loose], volts[1 - end, loose])
            left = series[loose] + to_earth[loose] + absent
            volts[end, loose] = np.linalg.solve(left, drives[..., None])[..., 0]
    through = np.einsum("ijk,ik->ij", series, volts[0] - volts[1])
    leaving = [through, -through]
    ka = np.stack([leaving[end] + np.einsum("ijk,ik->ij", to_earth, volts[end]) for end in (0, 1)])
    ka = np.where(attached[:, :, None], ka, 0)
    return _phase_flows(answered, bus, attached, volts, ka)


def _phase_flows(
    answered: Phased, bus: Array, attached: Array, volts: Array, ka: Array
) -> PhaseFlows:
    """From kilovolts to earth and kiloamperes, both of shape (ports, n, 3)."""
    counted = ka * np.sqrt(3) * answered.vn_kv[bus][..., None]
    power = volts * np.conj(ka)
    return PhaseFlows(bus, attached, np.swapaxes(counted, 1, 2), np.swapaxes(power, 1, 2))


def _through_transformers(answered: Phased, rows: Rows) -> PhaseFlows:
    network, kind = answered.network, e.Transformer
    bus, attached = ends_of(network, answered.topology, kind)
    positive, winding = windings(network, rows, answered.settings)
    negative = positive._replace(ratio=np.conj(positive.ratio))
    voltage, current = _in_sequences(answered, (positive, positive, negative), bus, attached)
    for end, port in enumerate(kind.ports):
        told = answered.current(answered.by_phase(kind, port), bus[end])[0]
        voltage[end, 0] = answered.sequences[0, bus[end]]
        current[end, 0] = np.where(attached[end], told, 0)
    voltage, current = TO_PHASES @ voltage, TO_PHASES @ current
    whole = PhaseFlows(bus, attached, current, voltage * np.conj(current) / 3)
    few = partial(rows)
    if not few.any():
        return whole
    units = _through_units(answered, rows, bus, attached, positive, winding)
    at = few[None, None, :]
    return PhaseFlows(
        bus, attached, np.where(at, units.current, whole.current),
        np.where(at, units.power_mva, whole.power_mva),
    )  # fmt: skip


def _through_units(
    answered: Phased,
    rows: Rows,
    bus: Array,
    attached: Array,
    ports: TwoPorts,
    winding: Winding,
) -> PhaseFlows:
    """Single-phase units: a two-port between what either winding lies between."""
    volts = np.stack([answered.kilovolts(at) for at in bus])
    branches = np.stack([incidence(rows, port)[:, 0] for port in (0, 1)])
    base = np.stack([np.array([across_of(word) for word in words(rows, port)]) for port in (0, 1)])
    base = base * answered.vn_kv[bus]
    pu = (branches * volts).sum(axis=2) / base
    _, current = enter(ports, pu, attached)
    ka = branches * (current / base)[..., None]
    tapped = np.array(rows.values("centre_tapped"), dtype=bool)
    if tapped.any():
        legs = _through_halves(rows, winding, branches, volts, attached)
        ka = np.where(tapped[None, :, None], legs, ka)
    return _phase_flows(answered, bus, attached, volts, ka)


def _through_halves(
    rows: Rows, winding: Winding, branches: Array, volts: Array, attached: Array
) -> Array:
    """Centre-tapped units [kA]: I = (D − D·1·1ᵀ·D / 1ᵀ·D·1)·V of three windings, D their 1/z.

    Of the rating and each winding's own voltage; the second half lies from earth to its leg.
    """
    z_high, z_half, y = halves(rows)
    conducts = np.stack([attached[0], attached[1], attached[1]])
    d = np.where(conducts, 1 / np.stack([z_high, z_half, z_half]), 0)
    turned = np.where(np.abs(winding.shift) % 360 > 90, -1, 1)
    kv = np.stack([winding.hv_kv, turned * winding.lv_kv / 2, turned * winding.lv_kv / 2])
    first, second = np.maximum(branches[1], 0), np.minimum(branches[1], 0)
    lies = np.stack([branches[0], first, second])
    seen = np.stack([volts[0], volts[1], volts[1]])
    pu = (lies * seen).sum(axis=2) / kv
    through = d * pu - d * (d * pu).sum(axis=0) / np.where(d.any(axis=0), d.sum(axis=0), 1)
    through[0] += np.where(attached[0], y * pu[0], 0)
    mva = rows.column("sn_mva") * rows.column("parallel")
    ka = lies * (through * mva / kv)[..., None]
    return np.stack([ka[0], ka[1] + ka[2]])


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
    if answered.network.is_phased:
        at = at & np.concatenate([answered.has_phases(kind, port) for port in kind.ports])
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
    few = partial(rows)
    if few.any():
        # Of one phase it holds this phase's own voltage.
        own = np.where(present(rows).T, answered.phases[:, bus], 0).sum(axis=0)
        held = rows.column("vm_pu") * np.exp(1j * np.deg2rad(rows.column("va_degree")))
        yield Claim(rows, "setpoint", "voltage", held, own, alive & few)
        alive = alive & ~few
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
    if not any_partial(rows):
        across = np.abs(_across(answered, rows)) / np.where(is_delta(rows), np.sqrt(3), 1)
        return np.array([asked_mva(answered, rows, vm) / 3 for vm in across])
    branches = incidence(rows, delta=is_delta(rows))
    across = np.abs(_across(answered, rows)) / nominal(branches).T
    share = branches.any(axis=2).T / branches.any(axis=2).sum(axis=1)
    return np.asarray([asked_mva(answered, rows, vm) for vm in across] * share)


def is_delta(rows: Rows) -> Array:
    """Which elements with three phases are connected between them."""
    if rows.kind is not e.Load and rows.kind not in ASYMMETRIC:
        return np.zeros(len(rows), dtype=bool)
    return np.array([type_ == "delta" for type_ in rows.values("type")], dtype=bool)


def _across(answered: Phased, rows: Rows) -> Array:
    """Voltages across the branches of elements: to earth, in a delta ab, bc and ca."""
    here = answered.phases[:, rows.at["bus"]]
    if any_partial(rows):
        return np.asarray(np.einsum("ijk,ki->ji", incidence(rows, delta=is_delta(rows)), here))
    return np.where(is_delta(rows), here - np.roll(here, -1, axis=0), here)


def bus_claims(answered: Phased) -> Iterator[Claim]:
    """One voltage per node, and a positive sequence that is the phases'."""
    network, topology = answered.network, answered.topology
    buses = network.rows(e.Bus)
    node = topology.phase_node
    first = np.unique(node, return_index=True)[1][node]
    kv = (answered.phases * answered.vn_kv).T.ravel()
    there = (kv[first] / answered.vn_kv[:, None]).T
    here = answered.phases
    yield Claim(buses, "mismatch", "voltage", there, here, topology.phases.T, places=_IN_PHASE)
    if answered.has(e.Bus, "vm_pu", "va_degree"):
        told = answered.phasor(e.Bus, "vm_pu", "va_degree")
        whole = np.asarray(topology.phases.all(axis=1))
        yield Claim(buses, "mismatch", "voltage", answered.voltage, told, whole)
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
        group = topology.phase_node.ravel()
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
        if kind not in ASYMMETRIC:
            return power
    else:
        power = _asked_by_phase(answered, rows)
    delta = is_delta(rows)
    if not delta.any() and not any_partial(rows):
        return power
    across = _across(answered, rows)
    branch = np.conj(power / np.where(across == 0, 1, across))
    through = np.einsum("ijk,ji->ki", incidence(rows, delta=delta), branch)
    return np.asarray(answered.phases[:, rows.at["bus"]] * np.conj(through))
