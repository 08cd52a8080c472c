"""Moving controllers until all are content.

What settles anywhere (inverters, continuous tap changers, stations) is quick, and settles first;
then whatever moves in steps and is not content makes one, all at the same time, and so on. A
controller that comes back to where it was hunts: it is left where all that hunt were nearest to
their targets, and the answer says so. As positions are finite and none is visited twice, this ends.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from electrisim.change import changed
from electrisim.claims import Answered
from electrisim.completion import complete
from electrisim.control.droops import Droops
from electrisim.control.plan import (
    EDGE_PU,
    Owner,
    Place,
    Plan,
    Stepping,
    Tap,
    controllers,
    kind_of,
)
from electrisim.control.record import Controlled
from electrisim.control.sensitivity import Sensitivity
from electrisim.control.system import STATION_PU, Machines, System, blocks_of
from electrisim.elements import Element
from electrisim.engine import Engine
from electrisim.network import Array, Network
from electrisim.problems import NotConvergedError
from electrisim.results import Solution, Tables
from electrisim.settings import Settings
from electrisim.topology import Topology

#: Newton's steps of what settles anywhere, and how often one is halved.
STEPS, HALVINGS = 40, 6


class State(NamedTuple):
    """A network solved with its controllers where they are."""

    network: Network
    solution: Solution
    tables: Tables
    script: str | None


class _Solved(NamedTuple):
    """A state, and its numbers for those who look at it."""

    state: State
    answered: Answered


class Settled(NamedTuple):
    """Where the controllers of a network end.

    state     the network there, solved
    records   one per controller, in the request's order
    flows     how many power flows it took
    warnings  what a reader of the numbers should know
    """

    state: State
    records: list[Controlled]
    flows: int
    warnings: list[str]

    @property
    def converged(self) -> bool:
        """Whether all are content, or at a limit."""
        return all(record.converged for record in self.records)


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
        self.system = System(blocks_of(network, topology, (), self.plan.droops, self.plan.stations))
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
        records = self._records(state)
        return Settled(state.state, records, self.flows, self._warnings())

    def _solve(self) -> _Solved:
        edits: dict[type[Element], dict[int, dict[str, Any]]] = defaultdict(
            lambda: defaultdict(dict)
        )
        for place, value in {**self.fixed, **self.positions, **self.system.values()}.items():
            edits[place.kind][place.row][place.field] = value
        network = changed(self.network, edits)
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
        blocks = blocks_of(self.network, self.topology, taps, self.plan.droops, self.plan.stations)
        self.system = System(blocks)

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
        found: dict[Owner, dict[str, Any]] = {}
        for each in self.stepping:
            found[each.place[:2]] = self._of_stepping(state, each)
        for tap in self.plan.taps:
            if not tap.is_discrete:
                found[tap.place[:2]] = self._of_continuous(state, tap)
        for droops in self.plan.droops:
            found |= dict(self._of_droops(state, droops))
        for block in self.system.blocks:
            if isinstance(block, Machines):
                found |= dict(self._of_station(state, block))
        return [self._record(owner, found.get(owner)) for owner in controllers(self.network)]

    def _record(self, owner: Owner, told: dict[str, Any] | None) -> Controlled:
        rows, row = self.network.rows(owner[0]), owner[1]
        if told is not None:
            return Controlled(element=rows.ids[row], name=rows.names[row], **told)
        return Controlled(
            element=rows.ids[row],
            name=rows.names[row],
            kind=kind_of(rows.elements[row]),
            active=False,
            converged=True,
            on_target=False,
            at_limit=False,
        )

    def _of_stepping(self, state: _Solved, each: Stepping) -> dict[str, Any]:
        at, field = self.positions[each.place], each.place.field
        wanted = each.step(state.answered, at)
        return {
            "kind": each.kind,
            f"{field}_initial": each.position,
            field: at,
            **each.told(state.answered),
            "converged": each.place not in self.hunted,
            "on_target": each.off(state.answered, at) <= EDGE_PU,
            "at_limit": bool(wanted and each.within(at + wanted) == at),
        }

    def _of_continuous(self, state: _Solved, tap: Tap) -> dict[str, Any]:
        position = self.system.values().get(tap.place, tap.within(tap.position))
        off = tap.off(state.answered, position)
        at_limit = bool(tap.acts and off > EDGE_PU and position in (tap.lowest, tap.highest))
        return {
            "kind": tap.kind,
            "tap_pos_initial": tap.position,
            "tap_pos": position,
            **tap.told(state.answered),
            "converged": bool(off <= EDGE_PU or at_limit or not tap.acts),
            "on_target": off <= EDGE_PU,
            "at_limit": at_limit,
        }

    def _of_droops(self, state: _Solved, droops: Droops) -> Iterator[tuple[Owner, dict[str, Any]]]:
        rows = droops.rows
        vm = state.answered.vm[rows.at["bus"][droops.at]]
        columns = [state.state.tables[rows.kind][name][droops.at] for name in ("p_mw", "q_mvar")]
        power = -rows.kind.ports[0].sign * (columns[0] + 1j * columns[1])
        wrong = np.abs(power - droops.law(vm))
        before = -rows.kind.ports[0].sign * droops.given
        limits = droops.at_limit(power)
        for k, row in enumerate(droops.at.tolist()):
            yield (
                (rows.kind, row),
                {
                    "kind": kind_of(rows.elements[row]),
                    "p_mw_initial": float(before[k].real),
                    "p_mw": float(columns[0][k]),
                    "q_mvar_initial": float(before[k].imag),
                    "q_mvar": float(columns[1][k]),
                    "vm_pu": float(vm[k]),
                    "converged": bool(wrong[k] <= droops.tolerance_mva[k]),
                    "on_target": bool(wrong[k] <= droops.tolerance_mva[k]),
                    "at_limit": limits[k],
                },
            )

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
