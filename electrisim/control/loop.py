"""Moving controllers until all are content.

What settles anywhere (inverters, continuous tap changers, stations) is quick, and settles first;
then whatever moves in steps and is not content makes one, all at the same time, and so on. A
controller that comes back to where it was hunts: it is left where all that hunt were nearest to
their targets, and the answer says so. As positions are finite and none is visited twice, this ends.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from electrisim.claims import Answered
from electrisim.completion import complete
from electrisim.control.plan import Owner, Place, Plan, Stepping, with_values
from electrisim.control.record import Controlled
from electrisim.control.sensitivity import Sensitivity
from electrisim.control.system import STATION_PU, Machines, System, blocks_of
from electrisim.control.telling import End, Settled, State, records
from electrisim.engine import Engine
from electrisim.network import Array, Network
from electrisim.problems import NotConvergedError
from electrisim.settings import Settings
from electrisim.topology import Topology

#: Newton's steps of what settles anywhere, and how often one is halved.
STEPS, HALVINGS = 40, 6


class _Solved(NamedTuple):
    """A state, and its numbers for those who look at it."""

    state: State
    answered: Answered


def settle(engine: Engine, network: Network, topology: Topology, settings: Settings) -> Settled:
    """Solve a network again and again, moving its controllers until all are content.

    Raises NotConvergedError where the network has no solution on the way.
    """
    return _Loop(engine, network, topology, settings).run()


class _Loop:
    def __init__(
        self, engine: Engine, network: Network, topology: Topology, settings: Settings
    ) -> None:
        self.engine = engine
        self.network = network
        self.topology = topology
        self.settings = settings
        self.plan = Plan(network, topology)
        self.flows = 0
        #: What hunts → the positions between which it does.
        self.hunted: dict[Place, tuple[float, ...]] = {}
        self.stepping: list[Stepping] = [
            *(tap for tap in self.plan.taps if tap.is_discrete),
            *self.plan.steps,
        ]
        self.positions = {each.place: each.within(each.position) for each in self.stepping}
        # What does not look at the voltage is known at once.
        self.fixed = {tap.place: tap.within(tap.position) for tap in self.plan.taps}
        self.fixed |= {
            Place(droops.rows.kind, row, field): value
            for droops in self.plan.droops
            for row, fields in droops.fields(droops.law(np.ones(len(droops.at)))).items()
            for field, value in fields.items()
        }
        self.system = System(blocks_of(self.plan, ()))
        self.free = np.ones(len(self.system.x), dtype=bool)
        self.rests = True

    def run(self) -> Settled:
        state = self._solve()
        self._learn_slopes(state)
        state = self._settle(state)
        visited: dict[tuple[float, ...], float] = {}
        while moves := self._moves(state):
            here = tuple(self.positions.values())
            if here in visited:
                path = list(visited.items())
                self._stop_hunting(path[list(visited).index(here) :])
                visited = {}
            else:
                visited[here] = self._off(state)
                self.positions |= moves
            state = self._settle(self._solve())
        told = self._records(state)
        return Settled(state.state, told, self.flows, self._warnings())

    def _solve(self) -> _Solved:
        values = {**self.fixed, **self.positions, **self.system.values()}
        network = with_values(self.network, values)
        self.flows += 1
        with self.engine.build(network, self.topology, self.settings) as model:
            solution = model.power_flow()
            script = model.script() if self.settings.export_script else None
        tables = complete(network, self.topology, self.settings, solution.tables)
        for block in self.system.blocks:
            if isinstance(block, Machines):
                tables = block.shared(tables, self.system.of(block))
        answered = Answered(network, self.topology, self.settings, tables)
        return _Solved(State(network, solution, tables, script), answered)

    def _learn_slopes(self, state: _Solved) -> None:
        """Which way each tap changer moves its voltage; those that move it become variables."""
        if not self.plan.taps:
            return
        near = Sensitivity(state.answered)
        for kind in {tap.place.kind for tap in self.plan.taps}:
            taps = [tap for tap in self.plan.taps if tap.place.kind is kind]
            moved = near.moved(near.of_taps(kind, [tap.place.row for tap in taps]))
            for column, tap in enumerate(taps):
                tap.slope = float(moved.vm_pu[tap.bus, column])
        taps = [tap for tap in self.plan.taps if not tap.is_discrete and tap.acts]
        self.system = System(blocks_of(self.plan, taps))

    # -- what settles anywhere ---------------------------------------------------------------------

    def _settle(self, state: _Solved) -> _Solved:
        """Newton's method from here; it ends where all are within tolerance, or go no nearer."""
        residual = self.system.residual(state.answered)
        for _ in range(STEPS):
            self.free = np.ones(len(residual), dtype=bool)
            if _largest(residual, self.free) <= 1:
                break
            step, self.free = self.system.move(state.answered, residual)
            if _largest(residual, self.free) <= 1:
                break
            state, residual = self._go(state, residual, step)
        self.rests = _largest(residual, self.free) <= 1
        return state

    def _go(self, state: _Solved, residual: Array, step: Array) -> tuple[_Solved, Array]:
        """One step, halved while it leads farther away or nowhere."""
        before, size = self.system.x, _largest(residual, self.free)
        for halving in range(HALVINGS + 1):
            self.system.x = before
            self.system.go(step / 2**halving)
            try:
                found = self._solve()
            except NotConvergedError:
                if halving == HALVINGS:
                    raise
                continue
            left = self.system.residual(found.answered)
            if _largest(left, self.free) < size or halving == HALVINGS:
                return found, left
        raise AssertionError("the last halving returns or raises")

    # -- what moves in steps -----------------------------------------------------------------------

    def _moves(self, state: _Solved) -> dict[Place, float]:
        """The next position of everything that is not content and has one."""
        found = {}
        for each in self.stepping:
            here = self.positions[each.place]
            wanted = each.within(here + each.step(state.answered, here))
            if wanted != here and each.place not in self.hunted:
                found[each.place] = wanted
        return found

    def _off(self, state: _Solved) -> float:
        """How far all together are from their targets."""
        return sum(
            each.off(state.answered, self.positions[each.place])
            for each in self.stepping
            if each.place not in self.hunted
        )

    def _stop_hunting(self, circle: Sequence[tuple[tuple[float, ...], float]]) -> None:
        """Leave what moves in a circle where all together are nearest to their targets.

        circle  (positions, how far off) of its states
        """
        places = list(self.positions)
        for place, positions in zip(
            places, zip(*(at for at, _ in circle), strict=True), strict=True
        ):
            if len(set(positions)) > 1:
                self.hunted[place] = tuple(sorted(set(positions)))
        best = min(circle, key=lambda pair: pair[1])[0]
        self.positions = dict(zip(places, best, strict=True))

    # -- what is told ------------------------------------------------------------------------------

    def _records(self, state: _Solved) -> list[Controlled]:
        others: dict[Owner, dict[str, Any]] = {}
        for block in self.system.blocks:
            if isinstance(block, Machines):
                others |= dict(self._of_station(state, block))
        positions = {**self.fixed, **self.positions, **self.system.values()}
        end = End(self.plan, state.answered, positions, self.hunted)
        return records(self.network, end, others)

    def _of_station(
        self, state: _Solved, block: Machines
    ) -> Iterator[tuple[Owner, dict[str, Any]]]:
        station, answered = block.station, state.answered
        vm = float(answered.vm[station.bus])
        level = float(self.system.of(block)[-1])
        for (kind, row), share, limited in zip(
            station.members, station.shares, block.limited(level), strict=True
        ):
            rows = self.network.rows(kind)
            on_target = abs(vm - station.target) <= STATION_PU
            yield (
                (kind, row),
                {
                    "kind": "station_control",
                    "station": station.name,
                    "machine_vm_pu_initial": rows.elements[row].vm_pu,
                    "machine_vm_pu": state.state.network.rows(kind).elements[row].vm_pu,
                    "q_mvar": float(state.state.tables[kind]["q_mvar"][row]),
                    "q_share": float(share),
                    "vm_pu": vm,
                    "vm_set_pu": station.target,
                    "converged": self.rests,
                    "on_target": on_target,
                    "at_limit": bool(limited),
                },
            )

    def _warnings(self) -> list[str]:
        found = []
        for place, positions in self.hunted.items():
            told = self.network.rows(place.kind).label(place.row)
            between = " and ".join(f"{at:g}" for at in positions)
            found.append(
                f"{told} hunts between {place.field} {between}, none of which contents all; it was "
                f"left at {self.positions[place]:g}."
            )
        idle = [tap for tap in self.plan.taps if not tap.acts]
        if idle:
            told = ", ".join(self.network.rows(t.place.kind).label(t.place.row) for t in idle)
            found.append(
                f"Left alone, for their steps do not move the voltage that they control: {told}."
            )
        if not self.rests:
            found.append(
                "Some controllers that settle anywhere found no place where all are content."
            )
        return found


def _largest(residual: Array, free: Array) -> float:
    return float(np.abs(residual[free]).max(initial=0))
