"""The power flow equations of a network, from the graph's own data and no engine.

    V · conj(Y·V)  +  λ·(a + b·|V|)  =  0      at every free node,

in MVA at 1 pu. Y holds branches, shunts and what goes with the voltage squared; a + b·|V| is what
is drawn otherwise. At nodes that hold their voltage the reactive equation gives way to |V|, at
those that hold the angle too both do.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from scipy.sparse import coo_matrix, csr_matrix

from electrisim import elements as e
from electrisim.branches import CIRCUITS, ends_of, thyristor_siemens
from electrisim.elements import Element
from electrisim.laws import POWER
from electrisim.network import Array, Network, Rows
from electrisim.settings import Settings
from electrisim.topology import CONVERTERS, Topology
from electrisim.transformers import TwoPorts, legs, phase_shifts_count

#: Kinds that these equations leave out, and so networks in which they work.
NOT_HERE = (*CONVERTERS, e.DCBus)

Owner = tuple[type[Element], int]


class Branch(NamedTuple):
    """Branches with both ends connected, between nodes, all of shape (n,).

    ratio   ratio : 1 at the from end, then a pi
    series  its admittance [MVA at 1 pu]
    owner   whose it is
    """

    f: Array
    t: Array
    ratio: Array
    series: Array
    owner: list[Owner]


class Equations:
    """The equations of the supplied part of a network.

    count      number of nodes; a three-winding transformer's star point is one
    of_bus     bus → node, -1 without supply
    y          admittances, (count, count) [MVA at 1 pu]
    branch     the branches
    constant   what is drawn at each node whatever the voltage [MVA]; linear: in proportion to it
    reference  which nodes hold voltage and angle; held: which hold their voltage, those included
    target     the voltages that are held, complex; 1 elsewhere
    """

    def __init__(self, network: Network, topology: Topology, settings: Settings) -> None:
        self.network, self.topology, self.settings = network, topology, settings
        nodes, place = np.unique(topology.node[topology.bus], return_inverse=True)
        self.of_bus = np.full(len(topology.bus), -1)
        self.of_bus[topology.bus] = place
        self.count = len(nodes)
        self._entries: list[tuple[Array, Array, Array]] = []
        self._branches: list[Branch] = []
        self._inner: list[tuple[Array, Array]] = []
        self._add_branches()
        self._add_stars()
        sources = self._sources_behind_impedances()
        self.y = self._admittances()
        self.branch = self._joined()
        self.constant = np.zeros(self.count, dtype=complex)
        self.linear = np.zeros(self.count, dtype=complex)
        self.reference = np.zeros(self.count, dtype=bool)
        self.held = np.zeros(self.count, dtype=bool)
        self.target = np.ones(self.count, dtype=complex)
        self._hold(*sources)
        self._add_consumers()
        self._add_sources()

    # -- nodes and admittances

    def _new_nodes(self, count: int) -> Array:
        self.count += count
        return np.arange(self.count - count, self.count)

    def _enter(self, one: Array, other: Array, y: Array) -> None:
        self._entries.append((one, other, y))

    def _admittances(self) -> csr_matrix:
        nothing = np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64), np.zeros(0)
        one, other, y = map(np.concatenate, zip(nothing, *self._entries, strict=True))
        return coo_matrix((y.astype(complex), (one, other)), (self.count, self.count)).tocsr()

    def _joined(self) -> Branch:
        none = np.zeros(0, dtype=np.int64)
        every = [Branch(none, none, none, none, []), *self._branches]
        f, t, ratio, series = (np.concatenate([branch[k] for branch in every]) for k in range(4))
        return Branch(f, t, ratio, series, [owner for branch in every for owner in branch.owner])

    def _add_two_ports(self, owners: list[Owner], ports: TwoPorts, f: Array, t: Array) -> None:
        """Two-ports between nodes; an end at -1 is open."""
        y_ff, y_ft, y_tf, y_tt = ports.admittances()
        both = (f >= 0) & (t >= 0)
        at_f, at_t = f[both], t[both]
        for one, other, y in ((at_f, at_f, y_ff), (at_f, at_t, y_ft), (at_t, at_f, y_tf),
                              (at_t, at_t, y_tt)):  # fmt: skip
            self._enter(one, other, y[both])
        for alone, y in (
            ((f >= 0) & (t < 0), y_ff - y_ft * y_tf / np.where(y_tt == 0, 1, y_tt)),
            ((t >= 0) & (f < 0), y_tt - y_tf * y_ft / np.where(y_ff == 0, 1, y_ff)),
        ):
            at = np.where(f >= 0, f, t)[alone]
            self._enter(at, at, y[alone])
        ratio, series = ports.ratio * np.ones(len(f)), ports.series
        kept = [owner for owner, joined in zip(owners, both, strict=True) if joined]
        self._branches.append(Branch(at_f, at_t, ratio[both], series[both], kept))

    def _ends(self, kind: type[Element]) -> Array:
        """Node at every end of a kind's branches, -1 where it is open or dead."""
        bus, attached = ends_of(self.network, self.topology, kind)
        alive = self.topology.alive(kind)
        return np.where(attached & alive, self.of_bus[bus], -1)

    def _add_branches(self) -> None:
        tables: dict[type[Element], dict[str, Array]] = {}
        if e.TCSC in self.network.kinds:
            angle = self.network.rows(e.TCSC).column("thyristor_firing_angle_degree")
            tables = {e.TCSC: {"thyristor_firing_angle_degree": angle}}
        for kind in (kind for kind in CIRCUITS if kind in self.network.kinds):
            rows = self.network.rows(kind)
            ports = CIRCUITS[kind](self.network, rows, self.settings, tables)
            ends = self._ends(kind)
            if kind is e.Switch:
                # Ideal ones have made one node of their buses already.
                ends = np.where(ports.series == 0, -1, ends)
            self._add_two_ports([(kind, row) for row in range(len(rows))], ports, *ends)

    def _add_stars(self) -> None:
        kind = e.ThreeWindingTransformer
        if kind not in self.network.kinds:
            return
        alive = self.topology.alive(kind)
        star = np.full(len(alive), -1)
        star[alive] = self._new_nodes(int(alive.sum()))
        owners: list[Owner] = [(kind, row) for row in range(len(alive))]
        for leg, outside in zip(legs(self.network, self.settings), self._ends(kind), strict=True):
            f, t = (star, outside) if leg.star_is_from else (outside, star)
            self._add_two_ports(owners, leg.ports, f, t)

    def _sources_behind_impedances(self) -> tuple[Array, Array]:
        """Nodes inside extended wards, and compensators at a fixed voltage; what they hold."""
        nodes, held = [np.zeros(0, dtype=np.int64)], [np.zeros(0)]
        for kind, field in ((e.ExtendedWard, "vm_pu"), (e.SSC, "vm_internal_pu")):
            rows = self.network.rows(kind)
            if not len(rows):
                continue
            alive = self.topology.alive(kind)
            if kind is e.SSC:
                alive = alive & ~rows.column("controllable")
            bus = rows.at["bus"][alive]
            inside = self._new_nodes(len(bus))
            vn = self.network.rows(e.Bus).column("vn_kv")[bus]
            series = vn**2 / (rows.column("r_ohm") + 1j * rows.column("x_ohm"))[alive]
            nothing, ratio = np.zeros(len(bus)), np.ones(len(bus))
            owners: list[Owner] = [(kind, int(row)) for row in np.flatnonzero(alive)]
            ports = TwoPorts(series, series, nothing, nothing, ratio)
            self._add_two_ports(owners, ports, self.of_bus[bus], inside)
            nodes.append(inside)
            held.append(rows.column(field)[alive])
        return np.concatenate(nodes), np.concatenate(held)

    # -- what is drawn, what is held

    def _hold(self, nodes: Array, vm: Array) -> None:
        self.held[nodes] = True
        self.target[nodes] = vm

    def _add_consumers(self) -> None:
        for kind, rows, power in drawn(self.network, self.settings):
            at, alive = self.of_bus[rows.at["bus"]], self.topology.alive(kind)
            squared, here = power[2][alive], at[alive]
            np.add.at(self.constant, here, power[0][alive])
            np.add.at(self.linear, here, power[1][alive])
            self.y = self.y + _diagonal(here, np.conj(squared), self.count)
        lines = self.network.rows(e.DCLine)
        if len(lines):
            alive = self.topology.alive(e.DCLine)
            taken = lines.column("p_mw")
            lost = np.abs(taken) * lines.column("loss_percent") / 100 + lines.column("loss_mw")
            arriving = np.abs(taken) - lost
            for end, p in (
                ("from", np.where(taken > 0, taken, -arriving)),
                ("to", np.where(taken > 0, -arriving, -taken)),
            ):
                at = self.of_bus[lines.at[f"{end}_bus"]][alive]
                np.add.at(self.constant, at, p[alive])
                self._hold(at, lines.column(f"vm_{end}_pu")[alive])

    def _add_sources(self) -> None:
        turned = phase_shifts_count(self.network, self.settings)
        compensators = self.network.rows(e.SVC)
        if len(compensators):
            self._add_svcs(compensators)
        rows = self.network.rows(e.SSC)
        if len(rows):
            holds = self.topology.alive(e.SSC) & rows.column("controllable")
            self._hold(self.of_bus[rows.at["bus"]][holds], rows.column("set_vm_pu")[holds])
        rows = self.network.rows(e.Generator)
        if len(rows):
            alive = self.topology.alive(e.Generator)
            at = self.of_bus[rows.at["bus"]]
            self._hold(at[alive], rows.column("vm_pu")[alive])
            p = rows.column("p_mw") * rows.column("scaling")
            np.add.at(self.constant, at[alive], -p[alive])
            self.reference[at[alive & rows.column("slack")]] = True
        rows = self.network.rows(e.ExternalGrid)
        if len(rows):
            alive = self.topology.alive(e.ExternalGrid)
            at = self.of_bus[rows.at["bus"]][alive]
            angle = np.deg2rad(rows.column("va_degree")[alive]) * turned
            self._hold(at, rows.column("vm_pu")[alive] * np.exp(1j * angle))
            self.reference[at] = True

    def _add_svcs(self, rows: Rows) -> None:
        alive = self.topology.alive(e.SVC)
        at, holds = self.of_bus[rows.at["bus"]], rows.column("controllable")
        self._hold(at[alive & holds], rows.column("set_vm_pu")[alive & holds])
        fixed = alive & ~holds
        kv = self.network.rows(e.Bus).column("vn_kv")[rows.at["bus"]]
        siemens = thyristor_siemens(
            rows.column("thyristor_firing_angle_degree"),
            rows.column("x_l_ohm"),
            rows.column("x_cvar_ohm"),
        )
        y = -1j * kv**2 * siemens
        self.y = self.y + _diagonal(at[fixed], y[fixed], self.count)


def _diagonal(at: Array, y: Array, count: int) -> csr_matrix:
    return coo_matrix((y, (at, at)), (count, count)).tocsr()


def drawn(network: Network, settings: Settings) -> Iterator[tuple[type[Element], Rows, Array]]:
    """What consumers and static generators draw: parts with |V|⁰, |V|¹ and |V|², shape (3, n).

    Every law is a polynomial of the second degree in |V| [MVA]; generation is negative.
    """
    for kind, law in POWER.items():
        rows = network.rows(kind)
        if not len(rows):
            continue
        sign = kind.ports[0].sign
        at_0, at_1, at_2 = (
            sign * law(rows, np.full(len(rows), vm), network, settings) for vm in (0.0, 1.0, 2.0)
        )
        if settings.load_model == "admittance":
            yield kind, rows, np.array([0 * at_1, 0 * at_1, at_1])
            continue
        squared = (at_2 - 2 * at_1 + at_0) / 2
        yield kind, rows, np.array([at_0, at_1 - at_0 - squared, squared])


def can_write(network: Network) -> bool:
    """Whether a network has nothing that these equations leave out."""
    return not any(len(network.rows(kind)) for kind in NOT_HERE)
