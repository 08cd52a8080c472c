"""The controllers that settle anywhere, as one system of equations: a variable and a residual each.

Continuous tap changers, inverters whose power follows their voltage, and stations are blocks of it.
It is solved by Newton's method on solved networks, with the derivatives of the linearised network;
a variable at the end of its range that would go on is left there, and its equation with it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np

from electrisim import elements as e
from electrisim.branches import flows
from electrisim.claims import Answered
from electrisim.control.droops import Droops
from electrisim.control.plan import Fleet, Place, Plan, Station, Tap, Values
from electrisim.control.sensitivity import Moved, Sensitivity
from electrisim.network import Array, Network, Rows
from electrisim.results import Tables
from electrisim.topology import Topology

#: How near a station comes to its shares [Mvar], and to its voltage [pu].
STATION_MVAR, STATION_PU = 1e-6, 1e-7
#: Within what the machines of a station move their voltages [pu].
LOWEST_PU, HIGHEST_PU = 0.5, 1.5
#: Steps of numerical derivatives: of a droop's law [pu], of a line's flow [MW discharged].
STEP_PU, STEP_MW = 1e-6, 1e-3


class Block(Protocol):
    """Some variables with as many residuals.

    start     their values in the network as it is given, shape (k,)
    lowest, highest  their range
    tolerance of the residuals, shape (k,)
    """

    start: Array
    lowest: Array
    highest: Array
    tolerance: Array

    def values(self, x: Array) -> Values:
        """The fields that these values set."""
        ...

    def residual(self, answered: Answered, x: Array) -> Array:
        """How far each is from where it should be, shape (k,)."""
        ...

    def drawn(self, near: Sensitivity, x: Array) -> tuple[Array, Array]:
        """What each changes at constant voltages: (drawn, held_pu) of `Sensitivity.moved`."""
        ...

    def slope(self, answered: Answered, x: Array, moved: Moved, own: slice) -> Array:
        """Derivatives of the residuals by all variables, shape (k, all)."""
        ...


class Taps:
    """Continuous tap changers of one kind."""

    def __init__(self, taps: Sequence[Tap]) -> None:
        self.taps = taps
        self.buses = [tap.bus for tap in taps]
        self.targets = np.array([tap.target for tap in taps])
        self.start = np.array([tap.within(tap.position) for tap in taps])
        self.lowest = np.array([tap.lowest for tap in taps])
        self.highest = np.array([tap.highest for tap in taps])
        self.tolerance = np.array([(tap.high - tap.low) / 2 for tap in taps])

    def values(self, x: Array) -> Values:
        return {tap.place: at for tap, at in zip(self.taps, x.tolist(), strict=True)}

    def residual(self, answered: Answered, x: Array) -> Array:
        return np.asarray(answered.vm[self.buses] - self.targets)

    def drawn(self, near: Sensitivity, x: Array) -> tuple[Array, Array]:
        drawn = near.of_taps(self.taps[0].place.kind, [tap.place.row for tap in self.taps])
        return drawn, np.zeros((near.count, len(self.taps)))

    def slope(self, answered: Answered, x: Array, moved: Moved, own: slice) -> Array:
        return moved.vm_pu[self.buses]


class Inverters:
    """Inverters of one kind whose power follows the voltage: P and Q of each."""

    def __init__(self, droops: Droops) -> None:
        self.droops = Droops(droops.rows, droops.at[droops.follows])
        self.bus = droops.rows.at["bus"][self.droops.at]
        first = self.droops.given
        self.start = np.concatenate([first.real, first.imag])
        self.lowest = np.full(len(self.start), -np.inf)
        self.highest = np.full(len(self.start), np.inf)
        self.tolerance = np.tile(self.droops.tolerance_mva / 10, 2)

    def power_mva(self, x: Array) -> Array:
        p, q = np.split(x, 2)
        return np.asarray(p + 1j * q)

    def values(self, x: Array) -> Values:
        fields = self.droops.fields(self.power_mva(x))
        kind = self.droops.rows.kind
        return {
            Place(kind, row, field): value
            for row, found in fields.items()
            for field, value in found.items()
        }

    def residual(self, answered: Answered, x: Array) -> Array:
        wrong = self.power_mva(x) - self.droops.law(answered.vm[self.bus])
        return np.concatenate([wrong.real, wrong.imag])

    def drawn(self, near: Sensitivity, x: Array) -> tuple[Array, Array]:
        count = len(self.bus)
        drawn = np.zeros((len(near.node), 2 * count), dtype=complex)
        drawn[self.bus, np.arange(count)] = -1
        drawn[self.bus, count + np.arange(count)] = -1j
        return drawn, np.zeros((near.count, 2 * count))

    def slope(self, answered: Answered, x: Array, moved: Moved, own: slice) -> Array:
        vm = answered.vm[self.bus]
        law = (self.droops.law(vm + STEP_PU) - self.droops.law(vm - STEP_PU)) / (2 * STEP_PU)
        goes = moved.vm_pu[self.bus]
        slope = -np.concatenate([law.real[:, None] * goes, law.imag[:, None] * goes])
        slope[:, own] += np.eye(len(x))
        return slope


class Machines:
    """The machines of a station: the voltages that they hold, and the level λ of their shares.

    Each delivers λ·share within its limits; machines at one node deliver theirs together.
    """

    def __init__(self, network: Network, topology: Topology, station: Station) -> None:
        self.station = station
        nodes: dict[int, list[int]] = defaultdict(list)
        limits = []
        for number, (kind, row) in enumerate(station.members):
            nodes[int(topology.node[network.rows(kind).at["bus"][row]])].append(number)
            limits.append(_limits(network.rows(kind).elements[row]))
        self._lower, self._upper = np.array(limits).T
        self.nodes = list(nodes.values())
        first = [station.members[members[0]] for members in self.nodes]
        self.buses = [int(network.rows(kind).at["bus"][row]) for kind, row in first]
        held = [network.rows(kind).elements[row].vm_pu for kind, row in first]
        self.start = np.array([*held, 0.0])
        count = len(held)
        self.lowest = np.array([*np.full(count, LOWEST_PU), np.min(self._lower / station.shares)])
        self.highest = np.array([*np.full(count, HIGHEST_PU), np.max(self._upper / station.shares)])
        self.tolerance = np.array([*np.full(count, STATION_MVAR), STATION_PU])

    def values(self, x: Array) -> Values:
        found = {}
        for vm, members in zip(x[:-1].tolist(), self.nodes, strict=True):
            for kind, row in (self.station.members[number] for number in members):
                found[Place(kind, row, "vm_pu")] = vm
        return found

    def shares_mvar(self, level: float) -> Array:
        """The reactive power of each machine at a level."""
        return np.clip(level * self.station.shares, self._lower, self._upper)

    def limited(self, level: float) -> Array:
        """Which machines are at a reactive limit."""
        asked = level * self.station.shares
        return np.asarray((asked <= self._lower) | (asked >= self._upper))

    def shared(self, tables: Tables, x: Array) -> Tables:
        """The tables with what machines at one node deliver together split by their shares.

        No equation tells how they split it, and an engine splits it as it likes.
        """
        shares = self.shares_mvar(x[-1])
        done = dict(tables)
        for members in self.nodes:
            if len(members) == 1:
                continue
            places = [self.station.members[number] for number in members]
            total = sum(float(tables[kind]["q_mvar"][row]) for kind, row in places)
            spare = (total - shares[members].sum()) / len(members)
            for (kind, row), share in zip(places, shares[members], strict=True):
                column = done[kind]["q_mvar"].copy()
                column[row] = share + spare
                done[kind] = {**done[kind], "q_mvar": column}
        return done

    def delivered_mvar(self, answered: Answered) -> Array:
        powers = [
            answered.power(kind, "p_mw", "q_mvar")[row].imag for kind, row in self.station.members
        ]
        return np.array([sum(powers[number] for number in members) for members in self.nodes])

    def residual(self, answered: Answered, x: Array) -> Array:
        shares = self.shares_mvar(x[-1])
        asked = [shares[members].sum() for members in self.nodes]
        voltage = answered.vm[self.station.bus] - self.station.target
        return np.array([*(self.delivered_mvar(answered) - asked), voltage])

    def drawn(self, near: Sensitivity, x: Array) -> tuple[Array, Array]:
        held = np.zeros((near.count, len(self.start)))
        held[near.node[self.buses], np.arange(len(self.buses))] = 1
        return np.zeros((len(near.node), len(self.start)), dtype=complex), held

    def slope(self, answered: Answered, x: Array, moved: Moved, own: slice) -> Array:
        shares = self.station.shares
        level = x[-1] * shares
        moves = np.where((level >= self._lower) & (level <= self._upper), shares, 0)
        slope = np.concatenate([moved.drawn[self.buses].imag, moved.vm_pu[[self.station.bus]]])
        slope[:-1, own.stop - 1] -= [moves[members].sum() for members in self.nodes]
        return np.asarray(slope)


class Fleets:
    """Storages that shave the peak of a line: what they discharge together.

    Nothing of it is asked for below the target, where the variable is at the end of its range.
    """

    def __init__(self, storages: Rows, fleet: Fleet) -> None:
        self.fleet = fleet
        self._scaling = storages.column("scaling")[list(fleet.rows)]
        self._bus = storages.at["bus"][list(fleet.rows)]
        self.start = np.zeros(1)
        self.lowest = np.zeros(1)
        self.highest = np.array([np.max(fleet.most / fleet.shares)])
        self.tolerance = np.array([fleet.tolerance_mw()])

    def values(self, x: Array) -> Values:
        powers = -self.fleet.discharged_mw(float(x[0])) / self._scaling
        return dict(zip(self.fleet.places(), powers.tolist(), strict=True))

    def residual(self, answered: Answered, x: Array) -> Array:
        return np.array([self.fleet.flow_mw(answered) - self.fleet.target])

    def drawn(self, near: Sensitivity, x: Array) -> tuple[Array, Array]:
        drawn = np.zeros((len(near.node), 1), dtype=complex)
        moves = x[0] * self.fleet.shares <= self.fleet.most
        np.add.at(drawn[:, 0], self._bus, -np.where(moves, self.fleet.shares, 0))
        return drawn, np.zeros((near.count, 1))

    def slope(self, answered: Answered, x: Array, moved: Moved, own: slice) -> Array:
        """Of its own discharge alone: what other controllers do to the flow comes out in steps."""
        slope = np.zeros((1, moved.vm_pu.shape[1]))
        size = moved.vm_pu[:, own.start] / np.where(answered.vm > 0, answered.vm, 1)
        turned = size + 1j * moved.angle[:, own.start]
        arguments = answered.network, answered.topology, answered.settings, answered.tables
        at, near = (
            flows(*arguments, answered.voltage * (1 + step * turned))[e.Line].power_mva.real
            for step in (0.0, STEP_MW)
        )
        slope[0, own.start] = (near - at)[0, self.fleet.line] / STEP_MW
        return slope


def _limits(element: Any) -> tuple[float, float]:
    lower = -np.inf if element.min_q_mvar is None else element.min_q_mvar
    upper = np.inf if element.max_q_mvar is None else element.max_q_mvar
    return lower, upper


class System:
    """Blocks together.

    x  where their variables are
    """

    def __init__(self, blocks: Sequence[Block]) -> None:
        self.blocks = blocks
        self.own = []
        start = 0
        for block in blocks:
            self.own.append(slice(start, start + len(block.start)))
            start += len(block.start)
        nothing = [np.zeros(0)]
        self.x = np.concatenate([block.start for block in blocks] or nothing)
        self.lowest = np.concatenate([block.lowest for block in blocks] or nothing)
        self.highest = np.concatenate([block.highest for block in blocks] or nothing)
        self.tolerance = np.concatenate([block.tolerance for block in blocks] or nothing)

    def of(self, block: Block) -> Array:
        """Where a block's variables are."""
        return self.x[self.own[self.blocks.index(block)]]

    def values(self) -> Values:
        found: dict[Place, float] = {}
        for block, own in zip(self.blocks, self.own, strict=True):
            found |= block.values(self.x[own])
        return found

    def residual(self, answered: Answered) -> Array:
        """The residuals in parts of their tolerances."""
        parts = [
            block.residual(answered, self.x[own])
            for block, own in zip(self.blocks, self.own, strict=True)
        ]
        return np.asarray(np.concatenate(parts or [np.zeros(0)]) / self.tolerance)

    def move(self, answered: Answered, residual: Array) -> tuple[Array, Array]:
        """(Newton's step of all variables, which of them are free to make one)."""
        near = Sensitivity(answered)
        parts = [
            block.drawn(near, self.x[own]) for block, own in zip(self.blocks, self.own, strict=True)
        ]
        drawn, held = (np.concatenate(part, axis=1) for part in zip(*parts, strict=True))
        moved = near.moved(drawn, held)
        slopes = [
            block.slope(answered, self.x[own], moved, own)
            for block, own in zip(self.blocks, self.own, strict=True)
        ]
        slope = np.concatenate(slopes) / self.tolerance[:, None]
        free = np.ones(len(self.x), dtype=bool)
        while True:
            step = np.zeros(len(self.x))
            step[free] = -np.linalg.lstsq(slope[free][:, free], residual[free], rcond=None)[0]
            beyond = ((self.x <= self.lowest) & (step < 0)) | (
                (self.x >= self.highest) & (step > 0)
            )
            if not beyond.any():
                return step, free
            free &= ~beyond

    def go(self, step: Array) -> None:
        self.x = np.clip(self.x + step, self.lowest, self.highest)


def blocks_of(plan: Plan, taps: Sequence[Tap]) -> list[Block]:
    """The blocks of a plan, with these of its tap changers; of inverters those that follow."""
    blocks: list[Block] = []
    for kind in (e.Transformer, e.ThreeWindingTransformer):
        some = [tap for tap in taps if tap.place.kind is kind]
        blocks += [Taps(some)] if some else []
    blocks += [Inverters(each) for each in plan.droops if each.follows.any()]
    blocks += [Machines(plan.network, plan.topology, station) for station in plan.stations]
    storages = plan.network.rows(e.Storage)
    blocks += [Fleets(storages, fleet) for fleet in plan.fleets]
    return blocks
