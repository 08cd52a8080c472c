"""What is connected and what is supplied: one answer for engines, results and certificate.

Conventions, which are pandapower's: an open switch at the end of a branch detaches that end, so
that the branch stays energised from its other ends; a line or a winding of a three-winding
transformer that ends at a bus out of service is open there, any other branch that does is dead; a
closed switch without impedance joins its buses to one node. Generators without a slack supply
nothing, and neither do DC lines, wards or compensators. A converter hands on what reaches its
other side: from a supplied AC bus it holds a DC voltage, from a supplied DC bus it is the slack of
an AC island. A DC line or a converter works with both sides supplied, or not at all.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator

import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from electrisim import elements as e
from electrisim import phasing
from electrisim.elements import Element
from electrisim.network import Array, Network, Rows

#: Branches that carry an AC voltage from one bus to another.
AC_BRANCHES = (e.Line, e.Transformer, e.ThreeWindingTransformer, e.Impedance, e.TCSC)
CONVERTERS = (e.VSC, e.B2BVSC, e.BipolarVSC)
#: Kinds that stay alive where one of their ends is at a bus out of service.
OPEN_AT_DEAD_BUS = (e.Line, e.ThreeWindingTransformer, e.LineDC)
#: Kinds that need every side supplied.
EVERY_SIDE = (*CONVERTERS, e.DCLine)


class Topology:
    """Connections and supply of a network.

    node      AC bus → node, shape (n_bus,): buses joined by ideal closed switches share one
    bus       which AC buses are supplied, in one phase at least, shape (n_bus,)
    bus_dc    which DC buses are supplied, shape (n_bus_dc,)
    phases    which phases of the AC buses are supplied, shape (n_bus, 3)
    """

    def __init__(self, network: Network) -> None:
        self.network = network
        self._alive: dict[type[Element], Array] = {}
        self._attached: dict[tuple[type[Element], str], Array] = {}
        self._in_service = np.asarray(network.rows(e.Bus).column("in_service"), dtype=bool)
        self._in_service_dc = np.asarray(network.rows(e.DCBus).column("in_service"), dtype=bool)
        self.node = self._fuse()
        self.bus, self.bus_dc = self._spread()
        self.phases = np.broadcast_to(self.bus[:, None], (len(self.bus), 3))
        if network.is_phased:
            self.phases = self._spread_phases()
            self.bus = np.asarray(self.phases.any(axis=1))

    @functools.cached_property
    def phase_node(self) -> Array:
        """As `node` of every phase of every bus, shape (n_bus, 3): single poles join, too."""
        whole = 3 * self.node[:, None] + np.arange(3)
        if not self.network.is_phased:
            return np.asarray(whole)
        closed = self._poles(self.network.rows(e.Switch), self._between_buses(True), _ENDS)
        return _components(whole.size, *closed).reshape(-1, 3)

    def attached(self, rows: Rows, field: str) -> Array:
        """Whether each element's terminal `field` is connected to its bus, shape (n,)."""
        found = self._attached.get((rows.kind, field))
        if found is None:
            if _at_dc(field):
                found = self._in_service_dc[rows.at[field]]
            else:
                found = self._in_service[rows.at[field]] & ~self.opened(rows, field)
            self._attached[rows.kind, field] = found
        return found

    def opened(self, rows: Rows, field: str) -> Array:
        """Whether an open switch detaches each element's terminal `field`, shape (n,)."""
        ends = self._open_ends.get(_LETTER.get(rows.kind, ""), set())
        if not ends:
            return np.zeros(len(rows), dtype=bool)
        return np.fromiter(
            ((row, bus) in ends for row, bus in enumerate(rows.at[field].tolist())),
            dtype=bool,
            count=len(rows),
        )

    def supplied(self, rows: Rows, field: str) -> Array:
        """Whether each element's terminal `field` is connected to a supplied bus, shape (n,)."""
        if _at_dc(field):
            supplied = self.bus_dc[rows.at[field]]
        elif self.network.is_phased:
            supplied = ~np.any(self.lacking(rows, field), axis=1)
        else:
            supplied = self.bus[rows.at[field]]
        return np.asarray(supplied & self.attached(rows, field))

    def lacking(self, rows: Rows, field: str) -> Array:
        """The phases of each element that its terminal `field` does not find, shape (n, 3)."""
        if _at_dc(field):
            return np.zeros((len(rows), 3), dtype=bool)
        if rows.kind is e.Switch:
            # At the end of a branch it has the poles of the branch.
            between = rows.at["et"] == "b"
            bus = np.where(between, rows.at[field], rows.at["bus"])
            return np.asarray(phasing.present(rows) & between[:, None] & ~self.phases[bus])
        port = [port.bus for port in rows.kind.ports].index(field)
        return np.asarray(phasing.present(rows, port) & ~self.phases[rows.at[field]])

    def in_service(self, rows: Rows) -> Array:
        """Whether each element is meant to work: in service, closed, its buses in service."""
        if rows.kind is e.Switch:
            return self._switch_in_service(rows)
        in_service = np.asarray(rows.column("in_service"), dtype=bool)
        if rows.kind in OPEN_AT_DEAD_BUS:
            return in_service
        for port in rows.kind.ports:
            if not _at_dc(port.bus):
                alive = self._in_service[rows.at[port.bus]] | self.opened(rows, port.bus)
                in_service = in_service & alive
        return in_service

    def alive(self, kind: type[Element]) -> Array:
        """Which elements of a kind have results: in service and supplied, shape (n,)."""
        if kind not in self._alive:
            self._alive[kind] = self._find_alive(kind)
        return self._alive[kind]

    def _find_alive(self, kind: type[Element]) -> Array:
        rows = self.network.rows(kind)
        if kind is e.Bus:
            return self.bus
        if kind is e.DCBus:
            return self.bus_dc
        if not len(rows):
            return np.zeros(0, dtype=bool)
        if kind is e.Switch:
            supplied = self.bus[rows.at["bus"]]
            if self.network.is_phased:
                supplied = supplied & ~(self.lacking(rows, "bus").any(axis=1))
            return np.asarray(self.in_service(rows) & supplied)
        ends = [self.supplied(rows, port.bus) for port in kind.ports]
        fed = (np.logical_and if kind in EVERY_SIDE else np.logical_or).reduce(ends)
        return np.asarray(self.in_service(rows) & fed)

    @functools.cached_property
    def _open_ends(self) -> dict[str, set[tuple[int, int]]]:
        """Per letter of a switch's `et`, the (element row, bus row) of its open switches."""
        rows = self.network.rows(e.Switch)
        ends: dict[str, set[tuple[int, int]]] = {"b": set(), "l": set(), "t": set(), "t3": set()}
        if len(rows):
            is_open = ~rows.column("closed")
            for et, element, bus in zip(
                rows.at["et"][is_open],
                rows.at["element"][is_open],
                rows.at["bus"][is_open],
                strict=True,
            ):
                ends[str(et)].add((int(element), int(bus)))
        return ends

    def _between_buses(self, ideal: bool) -> Array:
        """The closed switches between buses, with or without impedance."""
        rows = self.network.rows(e.Switch)
        if not len(rows):
            return np.zeros(0, dtype=np.int64)
        wanted = (
            (rows.at["et"] == "b") & rows.column("closed") & ((rows.column("z_ohm") == 0) == ideal)
        )
        found = np.flatnonzero(wanted)
        working = [self._in_service[rows.at[end][found]] for end in _ENDS]
        return np.asarray(found[working[0] & working[1]])

    def _bus_switches(self, found: Array) -> tuple[Array, Array]:
        """Ends (bus, other bus) of switches between buses."""
        rows = self.network.rows(e.Switch)
        if not len(found):
            return np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64)
        return rows.at["bus"][found], rows.at["element"][found]

    def _fuse(self) -> Array:
        found = self._between_buses(ideal=True)
        if self.network.is_phased:
            found = found[~phasing.partial(self.network.rows(e.Switch))[found]]
        return _components(len(self._in_service), *self._bus_switches(found))

    def _switch_in_service(self, rows: Rows) -> Array:
        closed = np.asarray(rows.column("closed"), dtype=bool)
        between = rows.at["et"] == "b"
        other = np.where(between, rows.at["element"], rows.at["bus"])
        return np.asarray(closed & self._in_service[rows.at["bus"]] & self._in_service[other])

    def _ac_edges(self) -> Iterator[tuple[Array, Array]]:
        yield self._bus_switches(self._between_buses(ideal=True))
        yield self._bus_switches(self._between_buses(ideal=False))
        for kind in AC_BRANCHES:
            for rows, ends, joined in self._joining(kind):
                yield rows.at[ends[0]][joined], rows.at[ends[1]][joined]

    def _joining(self, kind: type[Element]) -> Iterator[tuple[Rows, tuple[str, str], Array]]:
        """Per pair of a branch's terminals, which branches of the kind join their buses."""
        rows = self.network.rows(kind)
        if not len(rows):
            return
        working = self.in_service(rows)
        fields = [port.bus for port in kind.ports]
        for i, one in enumerate(fields):
            for other in fields[i + 1 :]:
                joined = working & self.attached(rows, one) & self.attached(rows, other)
                yield rows, (one, other), np.flatnonzero(joined)

    # -- phase by phase ----------------------------------------------------------------------------

    def _poles(self, rows: Rows, found: Array, ends: tuple[str, str]) -> tuple[Array, Array]:
        """What conductors or poles join, as numbers of phases of buses: 3·bus + phase."""
        if not len(found):
            return np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64)
        branch, phase = np.nonzero(phasing.present(rows)[found])
        one, other = (3 * rows.at[end][found][branch] + phase for end in ends)
        return one, other

    def _spread_phases(self) -> Array:
        """Which phases of the AC buses are supplied, shape (n_bus, 3).

        Lines and switches conduct phase by phase; a transformer hands on what reaches all phases
        of one of its sides.
        """
        switches = self.network.rows(e.Switch)
        closed = (self._between_buses(ideal) for ideal in (True, False))
        joined = [self._poles(switches, found, _ENDS) for found in closed]
        for branch in AC_BRANCHES:
            if branch is not e.Transformer:
                for rows, ends, found in self._joining(branch):
                    joined.append(self._poles(rows, found, ends))
        one, other = (np.concatenate(side) for side in zip(*joined, strict=True))
        component = _components(3 * len(self._in_service), one, other)
        fed = np.zeros(len(component), dtype=bool)
        for kind in (e.ExternalGrid, e.Generator):
            rows = self.network.rows(kind)
            if len(rows):
                holds = rows.column("in_service") & _holds_angle(rows)
                holds = holds & self._in_service[rows.at["bus"]]
                phases = 3 * rows.at["bus"][:, None] + np.arange(3)
                fed[component[phases[phasing.present(rows) & holds[:, None]]]] = True
        self._hand_on(component, fed)
        return np.asarray(fed[component].reshape(-1, 3) & self._in_service[:, None])

    def _hand_on(self, component: Array, fed: Array) -> None:
        """Mark the components that transformers supply."""
        for rows, ends, working in self._joining(e.Transformer):
            sides = [
                (component[3 * rows.at[end][working][:, None] + np.arange(3)], has[working])
                for port, end in enumerate(ends)
                for has in [phasing.present(rows, port)]
            ]
            while True:
                before = fed.sum()
                for (here, own), (there, others) in (sides, sides[::-1]):
                    reached = np.all(fed[here] | ~own, axis=1)
                    fed[there[others & reached[:, None]]] = True
                if fed.sum() == before:
                    return

    def _spread(self) -> tuple[Array, Array]:
        """Which AC and which DC buses are supplied: sources first, then what converters hand on."""
        edges = list(self._ac_edges())
        ends = [np.concatenate([edge[i] for edge in edges]) for i in (0, 1)]
        ac = _components(len(self._in_service), ends[0], ends[1])
        dc = _components(len(self._in_service_dc), *self._dc_edges())
        bus = self._fed(ac, self._in_service, self._sources((e.ExternalGrid, e.Generator), "bus"))
        bus_dc = self._fed(dc, self._in_service_dc, self._sources((e.SourceDC,), "bus_dc"))
        while True:
            before = bus.sum() + bus_dc.sum()
            for kind in CONVERTERS:
                rows = self.network.rows(kind)
                if not len(rows):
                    continue
                poles = [rows.at[port.bus] for port in kind.ports[1:]]
                reached = np.logical_and.reduce([self._in_service_dc[pole] for pole in poles])
                working = self.in_service(rows) & reached
                for pole in poles:
                    holding = _holds_dc_voltage(rows) & ~_holds_angle(rows)
                    held = pole[working & holding & bus[rows.at["bus"]]]
                    bus_dc = bus_dc | self._fed(dc, self._in_service_dc, held)
                fed = np.logical_and.reduce([bus_dc[pole] for pole in poles])
                slack = rows.at["bus"][working & _holds_angle(rows) & fed]
                bus = bus | self._fed(ac, self._in_service, slack)
            if bus.sum() + bus_dc.sum() == before:
                return bus, bus_dc

    @staticmethod
    def _fed(component: Array, in_service: Array, sources: Array) -> Array:
        """Buses in service in a component with a source."""
        fed = np.isin(component, component[sources[in_service[sources]]])
        return np.asarray(fed & in_service)

    def _sources(self, kinds: tuple[type[Element], ...], field: str) -> Array:
        """Buses where sources of these kinds hold the voltage that others take their angle from."""
        found = [np.zeros(0, dtype=np.int64)]
        for kind in kinds:
            rows = self.network.rows(kind)
            if len(rows):
                found.append(rows.at[field][rows.column("in_service") & _holds_angle(rows)])
        return np.concatenate(found)

    def _dc_edges(self) -> tuple[Array, Array]:
        lines = self.network.rows(e.LineDC)
        if not len(lines):
            return np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64)
        one, other = lines.at["from_bus_dc"], lines.at["to_bus_dc"]
        joined = lines.column("in_service") & self._in_service_dc[one] & self._in_service_dc[other]
        return one[joined], other[joined]


def _holds_angle(rows: Rows) -> Array:
    """Which sources fix an angle, and so supply their island."""
    if rows.kind is e.Generator:
        return np.asarray(rows.column("slack"), dtype=bool)
    if rows.kind is e.BipolarVSC:
        return np.array([mode == "Vac_phi" for mode in rows.values("control_mode")])
    if rows.kind in CONVERTERS:
        return np.array([mode == "slack" for mode in rows.values("control_mode_ac")])
    return np.ones(len(rows), dtype=bool)


def _holds_dc_voltage(rows: Rows) -> Array:
    if rows.kind is e.BipolarVSC:
        return np.array([mode.startswith("Vdc") for mode in rows.values("control_mode")])
    return np.array([mode == "vm_pu" for mode in rows.values("control_mode_dc")])


#: Where a switch between buses ends.
_ENDS = ("bus", "element")
_LETTER = {e.Line: "l", e.Transformer: "t", e.ThreeWindingTransformer: "t3"}


def _at_dc(field: str) -> bool:
    return field.startswith(("bus_dc", "from_bus_dc", "to_bus_dc"))


def _components(count: int, one: Array, other: Array) -> Array:
    graph = coo_matrix((np.ones(len(one), dtype=bool), (one, other)), shape=(count, count))
    return np.asarray(connected_components(graph, directed=False)[1])
