"""The powers that leave every bus, added up: Kirchhoff's first law on an answer's own numbers.

Branches enter as recomputed from the bus voltages, at detached ends too: an end behind an open
switch or at a bus out of service draws nothing, and the rest of the branch is solved with that end
floating. Sources, consumers and converters enter as reported; so do ideal switches, which have no
impedance, where their flow is determined.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from electrisim import elements as e
from electrisim.balance import DC_SIDE
from electrisim.claims import Answered, Claim, Found
from electrisim.elements import Element
from electrisim.laws import behind_impedance
from electrisim.network import Array


class Terminals:
    """Powers that leave buses, collected terminal by terminal."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._bus: list[Array] = []
        self._power: list[Array] = []

    def add(self, bus: Array, power: Array, at: Array) -> None:
        self._bus.append(bus.ravel())
        self._power.append((power if at.all() else np.where(at, power, 0)).ravel())

    def summed(self, group: Array | None = None) -> tuple[Array, float]:
        """The sum per bus, or per group of buses at each of its buses; the largest throughput.

        What passes a bus is half of what its terminals carry [MVA].
        """
        if not self._bus:
            return np.zeros(self._count, dtype=complex), 0.0
        bus, power = np.concatenate(self._bus), np.concatenate(self._power)
        at = bus if group is None else group[bus]
        total = np.empty(self._count, dtype=complex)
        total.real = np.bincount(at, power.real, self._count)
        total.imag = np.bincount(at, power.imag, self._count)
        carried = np.bincount(at, np.abs(power), self._count)
        return total if group is None else total[group], float(carried.max(initial=0.0) / 2)


class Sums:
    """Sums of the terminal powers.

    throughput_mva  the largest that passes a bus
    """

    def __init__(self, answered: Answered, found: Found) -> None:
        network = answered.network
        self._answered = answered
        buses, buses_dc = len(network.rows(e.Bus)), len(network.rows(e.DCBus))
        ac, dc = Terminals(buses), Terminals(buses_dc)
        drawn, drawn_dc = Terminals(buses), Terminals(buses_dc)
        for kind in network.kinds:
            if kind in found:
                alive, flow = answered.carrying(network.rows(kind)), found[kind]
                (dc if kind is e.LineDC else ac).add(flow.bus, flow.power_mva, alive)
            else:
                _add_elements(answered, kind, (ac, drawn), (dc, drawn_dc))
        group = _add_ideal_switches(answered, ac)
        self._left, through = ac.summed(group)
        self._left_dc, through_dc = dc.summed()
        self._drawn, self._drawn_dc = drawn.summed()[0], drawn_dc.summed()[0]
        self.throughput_mva = max(through, through_dc)

    def claims(self) -> Iterator[Claim]:
        """Nothing is left at a node, and a bus reports what the elements at it draw."""
        answered, topology = self._answered, self._answered.topology
        for kind, left, drawn, alive in (
            (e.Bus, self._left, self._drawn, topology.bus),
            (e.DCBus, self._left_dc, self._drawn_dc, topology.bus_dc),
        ):
            rows = answered.network.rows(kind)
            if not len(rows):
                continue
            is_active = answered.linear or kind is e.DCBus
            left, drawn = (left.real, drawn.real) if is_active else (left, drawn)
            yield Claim(rows, "node", "power", np.zeros_like(left), left, about="sum")
            if answered.has(kind, "p_mw"):
                reported = answered.power(kind, "p_mw", None if is_active else "q_mvar")
                yield Claim(rows, "node", "power", drawn, reported, alive)


def _add_elements(
    answered: Answered,
    kind: type[Element],
    ac: tuple[Terminals, Terminals],
    dc: tuple[Terminals, Terminals],
) -> None:
    """The terminals of a kind: to its side's sums, and to what its buses report as drawn there."""
    rows = answered.network.rows(kind)
    alive = answered.topology.alive(kind)
    for port in kind.ports:
        left, drawn = dc if port.bus in DC_SIDE else ac
        power = port.sign * answered.power(kind, port.p, port.q)
        if kind is not e.DCLine:
            drawn.add(rows.at[port.bus], power, alive)
        if kind is e.SSC:
            # Its resistance takes active power that no result column tells.
            power = behind_impedance(answered, rows)[0]
        left.add(rows.at[port.bus], power, alive)


def _add_ideal_switches(answered: Answered, ac: Terminals) -> Array:
    """Flows of ideal switches, where they are told; and the group of every bus without them.

    In a loop of ideal switches the flow is undetermined: those buses are summed up together.
    """
    topology, rows = answered.topology, answered.network.rows(e.Switch)
    if not len(rows):
        return topology.node
    ideal = topology.alive(e.Switch) & (rows.at["et"] == "b") & (rows.column("z_ohm") == 0)
    flow = answered.power(e.Switch, "p_from_mw", "q_from_mvar")
    told = ideal & ~np.isnan(flow)
    if not told.any():
        return topology.node
    ends = rows.at["bus"], rows.at["element"]
    for bus, power in zip(ends, (flow, -flow), strict=True):
        ac.add(bus[told], power[told], np.ones(told.sum(), dtype=bool))
    one, other = (bus[ideal & ~told] for bus in ends)
    count = len(topology.node)
    joined = coo_matrix((np.ones(len(one)), (one, other)), shape=(count, count))
    return np.asarray(connected_components(joined, directed=False)[1])
