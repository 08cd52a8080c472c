"""Power flow: the steady state of the network."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, ClassVar, Literal

import msgspec
import numpy as np

from electrisim import doctor, premises
from electrisim import elements as e
from electrisim.certificate import certify
from electrisim.change import Changes, changed
from electrisim.completion import complete
from electrisim.control import loop, native
from electrisim.control.plan import controllers
from electrisim.control.premises import check as check_control
from electrisim.control.telling import Settled, State
from electrisim.engine import Controlling, Engine, Engines
from electrisim.fields import says
from electrisim.network import Network
from electrisim.problems import NotConvergedError
from electrisim.results import Answer, Certificate, Losses, Tables
from electrisim.settings import Settings
from electrisim.studies import modes
from electrisim.sweep import Chunk, answer_each, sweep, worst
from electrisim.topology import Topology


class PowerFlow(Settings, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Settings of a power flow."""

    name: ClassVar[str] = "powerflow"

    mode: Annotated[
        Literal["ac", "dc", "unbalanced"],
        says("AC, linearised DC (pandapower), or with three unequal phases."),
    ] = "ac"
    run_control: Annotated[
        bool, says("Controllers of transformers, shunts, inverters and stations act.")
    ] = False

    @property
    def controls(self) -> bool:
        return self.run_control

    @property
    def model(self) -> str:
        return "unbalanced" if self.mode == "unbalanced" else "balanced"

    @property
    def steps(self) -> bool:
        return type(self).name in ("powerflow", "controller")

    @property
    def linear(self) -> bool:
        return self.mode == "dc"


def run(network: Network, settings: PowerFlow, engines: Engines) -> Answer:
    """Solve the network and certify the answer.

    Raises ProblemError (the engine cannot represent it) and NotConvergedError with a diagnosis.
    """
    if settings.solution_mode != "snapshot":
        return _over_steps(network, settings, engines)
    try:
        return _certified(network, settings, engines)
    except NotConvergedError as error:
        raise doctor.diagnosed(error, engines[settings.solver], network, settings) from error


def _certified(network: Network, settings: PowerFlow, engines: Engines) -> Answer:
    """The engine's answer with its certificate; raises as `run`, without a diagnosis."""
    answer = solve(network, settings, engines)
    ended = answer.network or network
    certificate = certify(ended, Topology(ended), settings, answer.tables)
    return msgspec.structs.replace(answer, certificate=certificate)


def _over_steps(network: Network, settings: PowerFlow, engines: Engines) -> Answer:
    """The last step of a solution mode, with the extremes over all steps beside it."""
    engine = engines.admit(network, settings)
    steps = modes.steps_of(network, settings.solution_mode)
    still = msgspec.structs.replace(settings, solution_mode="snapshot")
    if not steps.count:
        answer = run(network, still, engines)
        word = modes.FIELDS[settings.solution_mode]
        note = f"No element has {word} multipliers: the answer is that of a snapshot."
        return msgspec.structs.replace(answer, warnings=(*answer.warnings, note))
    extremes = modes.Extremes(network, settings.model)
    failed: list[int] = []
    certificates = []
    for chunk in _solved_steps(engine, network, still, engines, steps):
        failed += chunk.cases[~chunk.solved].tolist()
        certificates.append(chunk.judged)
        solved = chunk.cases[chunk.solved]
        for kind, name in extremes.quantities if len(solved) else ():
            extremes.add(kind, name, solved, chunk.column(kind, name)[chunk.solved])
    answer = run(changed(network, steps.of(steps.count - 1)), still, engines)
    certificate = answer.certificate
    beside = {
        **answer.beside,
        "solution_mode": settings.solution_mode,
        "steps": steps.count,
        "failed_steps": sorted(failed),
        "extremes": extremes.told(),
    }
    if isinstance(certificate, Certificate):
        certificate = worst([*certificates, certificate])
    return msgspec.structs.replace(answer, certificate=certificate, beside=beside)


def _solved_steps(
    engine: Engine, network: Network, settings: PowerFlow, engines: Engines, steps: Changes
) -> Iterator[Chunk]:
    """Every step, solved; with controllers each for itself."""
    if settings.controls:
        yield from answer_each(
            lambda case: _certified(case, settings, engines), network, steps, range(steps.count)
        )
        return
    topology = Topology(network)
    premises.check(network, topology, settings)
    with engine.build(network, topology, settings) as model:
        yield from sweep(engine, model, network, settings, steps)


def solve(network: Network, settings: PowerFlow, engines: Engines) -> Answer:
    """The engine's answer as it comes, certified by nobody; raises as `run`."""
    engine = engines.admit(network, settings)
    topology = Topology(network)
    premises.check(network, topology, settings)
    if settings.controls and controllers(network):
        settled = _settle(engine, network, topology, settings)
    else:
        settled = _as_given(engine, network, topology, settings)
    state = settled.state
    warnings = (*network.warnings, *state.solution.warnings, *idle(network, topology))
    return Answer(
        tables=state.tables,
        iterations=state.solution.iterations,
        warnings=(*warnings, *settled.warnings),
        certificate=None,
        engine={**engine.version(settings), "solver": state.solution.solver},
        beside=_beside(settings, settled),
        network=state.network,
    )


def _settle(engine: Engine, network: Network, topology: Topology, settings: PowerFlow) -> Settled:
    """The network where its controllers settle: by the engine's own, or by our loop."""
    check_control(network, topology)
    if isinstance(engine, Controlling):
        return native.settle(engine, engine, network, topology, settings)
    return loop.settle(engine, network, topology, settings)


def _as_given(engine: Engine, network: Network, topology: Topology, settings: PowerFlow) -> Settled:
    """The network as it is; a warning names the controllers that do not act."""
    with engine.build(network, topology, settings) as model:
        solution = model.power_flow()
        script = model.script() if settings.export_script else None
    tables = complete(network, topology, settings, solution.tables)
    asleep = [network.rows(kind).label(row) for kind, row in controllers(network)]
    notes = [f"Controllers do not act (run_control is false): {', '.join(asleep)}."]
    return Settled(State(network, solution, tables, script), [], 1, notes if asleep else [])


def _beside(settings: PowerFlow, settled: Settled) -> dict[str, Any]:
    """What stands beside the tables."""
    beside: dict[str, Any] = {"losses": losses(settled.state.tables)}
    if settings.controls:
        beside["controllers"] = settled.records
        beside["control"] = {"converged": settled.converged, "power_flows": settled.flows}
    if settled.state.script is not None:
        beside["script"] = settled.state.script
    return beside


def losses(tables: Tables) -> Losses:
    """The sum of what flows into the branches: series losses, and what their capacitances take."""
    p, q = 0.0, 0.0
    for kind, columns in tables.items():
        if len(kind.ports) < 2 or kind is e.Switch:
            continue
        for column, values in columns.items():
            if column.startswith("pl_") or (column.startswith("p_") and "_l_" in column):
                p += float(np.nansum(values))
            elif column.startswith("ql_") or (column.startswith("q_") and "_l_" in column):
                q += float(np.nansum(values))
    return Losses(p_mw=p, q_mvar=q)


def idle(network: Network, topology: Topology) -> list[str]:
    """A warning per reason for which elements have no results, naming them."""
    out: list[str] = []
    dark: list[str] = []
    for kind in network.kinds:
        rows = network.rows(kind)
        if kind in (e.Bus, e.DCBus):
            working = np.asarray(rows.column("in_service"), dtype=bool)
        elif kind is e.Switch:
            continue
        else:
            working = np.asarray(rows.column("in_service"), dtype=bool)
        alive = topology.alive(kind)
        out += [rows.label(int(row)) for row in np.flatnonzero(~working)]
        dark += [rows.label(int(row)) for row in np.flatnonzero(working & ~alive)]
    warnings = []
    if out:
        warnings.append(f"Out of service, without results: {', '.join(out)}.")
    if dark:
        warnings.append(f"Without supply, without results: {', '.join(dark)}.")
    return warnings
