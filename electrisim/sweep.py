"""What a sweep yields, and the sweep that any engine can do: one case after the other.

A sweep solves the built network once per case, each case starting from the built state. It yields
chunks of at most about half a second of work, in any order of the cases, so that whoever drives it
can stop, report or hand on what is there.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from types import MappingProxyType
from typing import NamedTuple

import numpy as np

from electrisim import premises
from electrisim.certificate import certify
from electrisim.change import Changes, changed
from electrisim.completion import complete
from electrisim.elements import Element
from electrisim.engine import Engine, Model, Sweeping
from electrisim.network import Array, Network
from electrisim.problems import ProblemError
from electrisim.results import Answer, Certificate, Tables
from electrisim.settings import Settings
from electrisim.topology import Topology

#: A chunk is handed on after this long [s].
CHUNK_SECONDS = 0.5


class Chunk(NamedTuple):
    """Some cases of a sweep, solved.

    cases      their numbers, shape (n,)
    solved     which of them have a certified solution, shape (n,); the others have no results
    judged     the certificate of the worst of those that are solved
    column     (kind, result column) → shape (n, n_elements), NaN where there is no result
    alive      kind → which elements are in service and supplied, shape (n, n_elements)
    solver     what solved them, in words
    note       why not the fast way; empty where it was the fast way
    failures   case → why it has no solution, where more is known than that there is none
    """

    cases: Array
    solved: Array
    judged: Certificate
    column: Callable[[type[Element], str], Array]
    alive: Callable[[type[Element]], Array]
    solver: str
    note: str = ""
    failures: Mapping[int, str] = MappingProxyType({})


class _Case(NamedTuple):
    number: int
    tables: Tables
    alive: Callable[[type[Element]], Array]
    certificate: Certificate | None
    solver: str
    failure: str


def sweep(
    engine: Engine, model: Model, network: Network, settings: Settings, changes: Changes
) -> Iterator[Chunk]:
    """Solve a built network once per case, by its model's own sweep where it has one."""
    if isinstance(model, Sweeping):
        return model.sweep(changes)

    def build(case: Network, topology: Topology) -> AbstractContextManager[Model]:
        return engine.build(case, topology, settings)

    return solve_each(build, network, settings, changes, range(changes.count))


Build = Callable[[Network, Topology], AbstractContextManager[Model]]


def solve_each(
    build: Build,
    network: Network,
    settings: Settings,
    changes: Changes,
    cases: Iterable[int],
    note: str = "",
    topology: Topology | None = None,
    otherwise: Build | None = None,
) -> Iterator[Chunk]:
    """Build, solve and certify one case after the other by the engine's own power flow.

    topology   of every case, where none changes what is connected, supplied or held; its premises
               have been checked
    otherwise  how a case is built that has no certified solution the first way
    """
    done: list[_Case] = []
    start = time.monotonic()
    for case in cases:
        there = changed(network, changes.of(case))
        found = _solve(build, there, settings, case, topology)
        if found.certificate is None and otherwise is not None:
            found = _solve(otherwise, there, settings, case, topology)
        done.append(found)
        if time.monotonic() - start > CHUNK_SECONDS:
            yield _chunk(network, done, note)
            done = []
            start = time.monotonic()
    if done:
        yield _chunk(network, done, note)


def answer_each(
    answer: Callable[[Network], Answer], network: Network, changes: Changes, cases: Iterable[int]
) -> Iterator[Chunk]:
    """One case after the other by a study of its own, which certifies its answer."""
    for case in cases:
        there = changed(network, changes.of(case))
        alive = Topology(there).alive
        try:
            found = answer(there)
        except ProblemError as error:
            yield _chunk(network, [_Case(case, {}, alive, None, "", error.sentence)], "")
            continue
        solver = found.engine.get("solver", "")
        certificate = found.certificate if isinstance(found.certificate, Certificate) else None
        done = _Case(case, found.tables, alive, certificate, solver, "")
        yield _chunk(network, [done], "")


def _solve(
    build: Build,
    network: Network,
    settings: Settings,
    case: int,
    known: Topology | None = None,
) -> _Case:
    topology = known or Topology(network)
    if not (topology.bus.any() or topology.bus_dc.any()):
        return _Case(case, {}, topology.alive, PERFECT, "", "")
    try:
        if known is None:
            premises.check(network, topology, settings)
        with build(network, topology) as model:
            solution = model.power_flow()
        tables = complete(network, topology, settings, solution.tables)
        certificate = certify(network, topology, settings, tables)
    except ProblemError as error:
        if error.status >= 500:
            # The engine is busy or broke down, which says nothing about the case.
            raise
        return _Case(case, {}, topology.alive, None, "", error.sentence)
    return _Case(case, tables, topology.alive, certificate, solution.solver, "")


def _chunk(network: Network, cases: list[_Case], note: str) -> Chunk:
    def column(kind: type[Element], name: str) -> Array:
        nothing = np.full(len(network.rows(kind)), np.nan)
        return np.stack([case.tables.get(kind, {}).get(name, nothing) for case in cases])

    def alive(kind: type[Element]) -> Array:
        return np.stack([case.alive(kind) for case in cases])

    return Chunk(
        cases=np.array([case.number for case in cases]),
        solved=np.array([case.certificate is not None for case in cases]),
        judged=worst(case.certificate for case in cases if case.certificate),
        column=column,
        alive=alive,
        solver=next((case.solver for case in cases if case.solver), ""),
        note=note,
        failures={case.number: case.failure for case in cases if case.failure},
    )


PERFECT = Certificate(0.0, 0.0, 0.0, 0.0)


def worst(certificates: Iterable[Certificate]) -> Certificate:
    """One certificate for many: the largest error of each sort, and where the largest ones are."""
    every = [*certificates, PERFECT]
    figures = ("max_p_mismatch_mw", "max_q_mismatch_mvar", "max_voltage_mismatch_pu")
    asked = ("max_setpoint_error_mw", "max_setpoint_error_mvar", "max_setpoint_error_pu")
    largest = {name: max(getattr(each, name) for each in every) for name in (*figures, *asked)}
    mismatch = max(every, key=lambda each: max(getattr(each, name) for name in figures))
    setpoint = max(every, key=lambda each: max(getattr(each, name) for name in asked))
    return Certificate(
        **largest,
        max_mismatch_element=mismatch.max_mismatch_element,
        max_setpoint_element=setpoint.max_setpoint_element,
    )
