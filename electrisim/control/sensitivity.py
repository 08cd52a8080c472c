"""What a small move changes everywhere: the power-flow equations of a solved state, linearised.

The equations are made of the graph's own branches and of what its elements draw at their voltages,
and so know no engine. They lead the controllers; whether these have arrived is read from solved
states alone, so what is left out here (the inner sources of wards and converters, a shared slack)
costs steps and no accuracy.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from scipy.sparse import bmat, coo_matrix, csc_matrix, diags
from scipy.sparse.linalg import splu

from electrisim import elements as e
from electrisim.branches import CIRCUITS, ends_of, flows, from_outside
from electrisim.change import Edits, changed
from electrisim.claims import Answered
from electrisim.laws import POWER, asked_mva
from electrisim.network import Array, Rows
from electrisim.problems import NotConvergedError
from electrisim.transformers import legs

#: Step of the numerical derivatives: of a voltage [pu], of a tap position.
STEP_PU, STEP_TAP = 1e-5, 1e-3
#: A generator that is farther from its set-point has given it up at a reactive limit [pu].
HELD_PU = 1e-4


class Moved(NamedTuple):
    """What moves with each of k variables.

    vm_pu     bus voltages, shape (n_bus, k)
    angle     of them, shape (n_bus, k) [rad]
    drawn     what flows from each bus's node, sources apart, shape (n_bus, k) [MVA]
    """

    vm_pu: Array
    angle: Array
    drawn: Array


class Sensitivity:
    """The linearised equations of a solved network.

    node    bus → its node among the supplied ones, -1 without supply
    holds   which nodes hold their voltage
    """

    def __init__(self, answered: Answered) -> None:
        self.answered = answered
        topology = answered.topology
        supplied = np.unique(topology.node[topology.bus])
        self.count = len(supplied)
        number = np.full(len(topology.node), -1)
        number[supplied] = np.arange(self.count)
        self.node = np.where(topology.bus, number[topology.node], -1)
        voltage = np.ones(self.count, dtype=complex)
        voltage[self.node[topology.bus]] = answered.voltage[topology.bus]
        self._linearise(voltage)

    def _linearise(self, voltage: Array) -> None:
        slack, self.holds = self._held()
        y = self._admittances()
        unit = voltage / np.abs(voltage)
        current = y @ voltage
        self._by_angle = 1j * diags(voltage) @ (diags(current) - y @ diags(voltage)).conj()
        by_size = diags(voltage) @ (y @ diags(unit)).conj() + diags(current.conj() * unit)
        self._by_size = by_size + diags(self._drawn_by_size())
        self._angles, self._sizes = np.flatnonzero(~slack), np.flatnonzero(~self.holds)
        a, m = self._angles, self._sizes
        angle, size = csc_matrix(self._by_angle), csc_matrix(self._by_size)
        jacobian = bmat(
            [
                [angle[a][:, a].real, size[a][:, m].real],
                [angle[m][:, a].imag, size[m][:, m].imag],
            ],
            format="csc",
        )
        if not jacobian.shape[0]:
            self._solve = None
            return
        try:
            self._solve = splu(csc_matrix(jacobian)).solve
        except RuntimeError as error:
            text = "At the edge of what the network can carry no controller finds its way."
            raise NotConvergedError(text) from error

    def moved(self, drawn: Array, held_pu: Array | None = None) -> Moved:
        """What moves where more is drawn at constant voltages, or held voltages change.

        drawn    change of what is drawn at each bus, shape (n_bus, k) [MVA]
        held_pu  change of the voltages of nodes that hold theirs, shape (n_nodes, k)
        """
        k = drawn.shape[1]
        change = np.zeros((self.count, k), dtype=complex)
        living = self.node >= 0
        np.add.at(change, self.node[living], drawn[living])
        size = np.zeros((self.count, k)) if held_pu is None else held_pu.copy()
        forced = change + self._by_size @ size
        angle = np.zeros((self.count, k))
        if self._solve is not None and k:
            wanted = np.concatenate([forced[self._angles].real, forced[self._sizes].imag])
            found = -self._solve(np.ascontiguousarray(wanted))
            angle[self._angles] = found[: len(self._angles)]
            size[self._sizes] = found[len(self._angles) :]
        left = change + self._by_angle @ angle + self._by_size @ size
        return Moved(*(part[self.node] * living[:, None] for part in (size, angle, left)))

    def of_taps(self, kind: type[e.Element], rows: list[int]) -> Array:
        """Change of what is drawn per tap position of some transformers, (n_bus, k) [MVA]."""
        answered = self.answered
        positions = answered.network.rows(kind).column("tap_pos")
        neutral = np.nan_to_num(answered.network.rows(kind).column("tap_neutral"))
        positions = np.where(np.isnan(positions), neutral, positions)
        edits: Edits = {kind: {row: {"tap_pos": positions[row] + STEP_TAP} for row in rows}}
        arguments = answered.topology, answered.settings, answered.tables, answered.voltage
        before = flows(answered.network, *arguments)[kind]
        after = flows(changed(answered.network, edits), *arguments)[kind]
        drawn = np.zeros((len(answered.topology.node), len(rows)), dtype=complex)
        for port in range(len(before.bus)):
            step = (after.power_mva[port, rows] - before.power_mva[port, rows]) / STEP_TAP
            np.add.at(drawn, (before.bus[port, rows], np.arange(len(rows))), step)
        return drawn

    # -- what the equations are made of ------------------------------------------------------------

    def _held(self) -> tuple[Array, Array]:
        """Which nodes hold their angle and voltage, and which at least their voltage."""
        slack, holds = np.zeros(self.count, dtype=bool), np.zeros(self.count, dtype=bool)
        for bus, angle_too in self._holding():
            nodes = self.node[bus]
            holds[nodes[nodes >= 0]] = True
            if angle_too:
                slack[nodes[nodes >= 0]] = True
        return slack, holds

    def _holding(self) -> Iterator[tuple[Array, bool]]:
        network, topology = self.answered.network, self.answered.topology
        grids = network.rows(e.ExternalGrid)
        if len(grids):
            yield grids.at["bus"][topology.alive(e.ExternalGrid)], True
        generators = network.rows(e.Generator)
        if len(generators):
            alive, bus = topology.alive(e.Generator), generators.at["bus"]
            near = np.abs(self.answered.vm[bus] - generators.column("vm_pu")) <= HELD_PU
            yield bus[alive & generators.column("slack")], True
            yield bus[alive & near], False
        for kind, flag in ((e.SVC, "controllable"), (e.SSC, "controllable"), (e.DCLine, None)):
            rows = network.rows(kind)
            if len(rows):
                acts = topology.alive(kind) & (rows.column(flag) if flag else True)
                for port in kind.ports if kind is e.DCLine else kind.ports[:1]:
                    yield rows.at[port.bus][acts], False
        for converter in (e.VSC, e.B2BVSC):
            rows = network.rows(converter)
            if len(rows):
                mode = np.array(rows.values("control_mode_ac"))
                yield rows.at["bus"][topology.alive(converter) & (mode == "slack")], True
                yield rows.at["bus"][topology.alive(converter) & (mode == "vm_pu")], False

    def _admittances(self) -> csc_matrix:
        """The node admittances of the branches [MVA at 1 pu]."""
        rows, columns, values = [], [], []
        for bus, y in self._branches():
            for i in range(len(bus)):
                for j in range(len(bus)):
                    living = (self.node[bus[i]] >= 0) & (self.node[bus[j]] >= 0)
                    rows.append(self.node[bus[i]][living])
                    columns.append(self.node[bus[j]][living])
                    values.append(y[i, j][living])
        nothing = [np.zeros(0, dtype=int)]
        at = np.concatenate(rows or nothing), np.concatenate(columns or nothing)
        shape = (self.count, self.count)
        return csc_matrix(coo_matrix((np.concatenate(values or nothing), at), shape=shape))

    def _branches(self) -> Iterator[tuple[Array, Array]]:
        """(buses of the ports, (ports, n); admittances between them, (ports, ports, n))."""
        answered, network = self.answered, self.answered.network
        for kind, circuit in CIRCUITS.items():
            rows = network.rows(kind)
            if not len(rows):
                continue
            ports = circuit(network, rows, answered.settings, answered.tables)
            bus, attached = ends_of(network, answered.topology, kind)
            alive = answered.topology.alive(kind)
            y = np.array(ports.admittances()).reshape(2, 2, -1)
            yield bus, _without(y, attached) * alive
        if e.ThreeWindingTransformer in network.kinds:
            bus, attached = ends_of(network, answered.topology, e.ThreeWindingTransformer)
            alive = answered.topology.alive(e.ThreeWindingTransformer)
            y_kk, y_ks, y_sk, y_ss = np.stack(
                [from_outside(leg) for leg in legs(network, answered.settings)], axis=1
            )
            star = np.where(attached, y_ss, y_ss - y_sk * y_ks / y_kk).sum(axis=0)
            y = -y_ks[:, None] * y_sk[None, :] / star
            y[range(3), range(3)] += y_kk
            both = attached[:, None] & attached[None, :]
            yield bus, np.where(both, y, 0) * alive

    def _drawn_by_size(self) -> Array:
        """How what the elements draw goes with the voltage, shape (n_nodes,) [MVA per pu]."""
        answered = self.answered
        found = np.zeros(self.count, dtype=complex)
        for kind in POWER:
            rows = answered.network.rows(kind)
            if not len(rows):
                continue
            slope = self._slope(rows)
            bus = rows.at["bus"]
            living = answered.topology.alive(kind) & (self.node[bus] >= 0)
            np.add.at(found, self.node[bus[living]], slope[living])
        return found

    def _slope(self, rows: Rows) -> Array:
        vm = self.answered.vm[rows.at["bus"]]
        more = asked_mva(self.answered, rows, vm + STEP_PU)
        less = asked_mva(self.answered, rows, vm - STEP_PU)
        return np.asarray(rows.kind.ports[0].sign * (more - less) / (2 * STEP_PU))


def _without(y: Array, attached: Array) -> Array:
    """Admittances of two-ports of which detached ends float."""
    if attached.all():
        return y
    y = y.copy()
    for end, other in ((0, 1), (1, 0)):
        loose = ~attached[end]
        reduced = y[other, other] - y[other, end] * y[end, other] / y[end, end]
        y[other, other] = np.where(loose, reduced, y[other, other])
        y[end, end] = np.where(loose, 0, y[end, end])
        y[end, other] = np.where(loose, 0, y[end, other])
        y[other, end] = np.where(loose, 0, y[other, end])
    return y
