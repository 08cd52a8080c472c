"""Optimal power flow: the cheapest dispatch within all limits, with its prices."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Annotated, ClassVar, Literal, NamedTuple, Protocol, runtime_checkable

import msgspec

from electrisim import doctor, premises
from electrisim import elements as e
from electrisim.certificate import certify
from electrisim.completion import complete
from electrisim.dispatch import agreeing, faults
from electrisim.elements import Element
from electrisim.engine import Engine, Engines
from electrisim.fields import quantity, says
from electrisim.network import Array, Network
from electrisim.problems import NotConvergedError, Problem, ProblemError
from electrisim.results import Answer, Solution
from electrisim.settings import Settings
from electrisim.studies.powerflow import PowerFlow, idle, losses
from electrisim.topology import Topology


class OptimalPowerFlow(Settings, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Settings of an optimal power flow."""

    name: ClassVar[str] = "opf"

    opf_type: Annotated[
        Literal["ac", "dc"], says("The exact AC equations, or the linear ones of active power.")
    ] = "ac"
    branch_limit: Annotated[
        Literal["power", "current"],
        says("What max_loading_percent limits: apparent power, or current."),
    ] = "power"
    max_time_s: Annotated[float, quantity("s", "After this the solver gives up.", gt=0, le=600)] = (
        60.0
    )

    @property
    def linear(self) -> bool:
        return self.opf_type == "dc"

    @property
    def flow(self) -> PowerFlow:
        """The power flow of which the answer is a solution."""
        shared = {name: getattr(self, name) for name in Settings.__struct_fields__}
        shared["max_iteration"] = None
        return PowerFlow(mode=self.opf_type, **shared)


class Binding(msgspec.Struct, frozen=True):
    """A limit that binds: the field that says so, its value, and what it costs per unit of it.

    The multiplier of a loading is per MVA; null where nothing has a cost.
    """

    element: str
    name: str | None
    typ: str
    field: str
    value: float
    limit: float
    unit: str
    multiplier: float | None


class Optimality(msgspec.Struct, frozen=True):
    """How far an answer is from the conditions of an optimum (Karush, Kuhn, Tucker).

    stationarity  largest entry of the Lagrangian's gradient, of the largest price
    mismatch_mva  by which an equation or a limit is missed
    gap           multipliers times distances to their limits, summed, of the objective
    """

    stationarity: float
    mismatch_mva: float
    gap: float


SHAPES = (Binding, Optimality)


class Optimal(NamedTuple):
    """The optimum of a network.

    network     with what may move at its optimum
    solution    its power flow
    prices      columns that stand beside the power flow's: prices and multipliers
    objective   the cost [EUR/h]; None where nothing has a cost
    binding     the limits that bind
    kkt         how far it is from optimality, by our own reckoning
    """

    network: Network
    solution: Solution
    prices: Mapping[type[Element], Mapping[str, Array]]
    objective: float | None
    binding: Sequence[Binding]
    kkt: Optimality


@runtime_checkable
class Optimising(Protocol):
    """A model that can be optimised."""

    def optimal_power_flow(self, settings: OptimalPowerFlow) -> Optimal:
        """The cheapest dispatch; raises NotConvergedError with the limits in the way."""
        ...


def run(network: Network, settings: OptimalPowerFlow, engines: Engines) -> Answer:
    """Optimise the network and certify the answer as the power flow that it is.

    Raises ProblemError and NotConvergedError.
    """
    flow = settings.flow
    engine = engines.admit(network, flow)
    topology = Topology(network)
    premises.check(agreeing(network, topology), topology, flow)
    problems = [*_refused(settings), *faults(network, topology, settings.linear)]
    if problems:
        raise ProblemError(problems)
    try:
        found = _optimum(engine, network, topology, settings)
    except NotConvergedError as error:
        raise _examined(error, engine, network, settings) from error
    tables = complete(found.network, topology, flow, found.solution.tables)
    certificate = certify(found.network, topology, flow, tables)
    tables = {kind: {**columns, **found.prices.get(kind, {})} for kind, columns in tables.items()}
    return Answer(
        tables=tables,
        iterations=found.solution.iterations,
        warnings=(*network.warnings, *found.solution.warnings, *idle(network, topology)),
        certificate=certificate,
        engine={**engine.version(flow), "solver": found.solution.solver},
        beside={
            "objective": found.objective,
            "minimised": "losses" if found.objective is None else "cost",
            "binding": found.binding,
            "kkt": found.kkt,
            "losses": losses(tables),
        },
    )


def _optimum(
    engine: Engine, network: Network, topology: Topology, settings: OptimalPowerFlow
) -> Optimal:
    with engine.build(network, topology, settings.flow) as model:
        if not isinstance(model, Optimising):
            message = f"{engine.name} has no optimal power flow; pandapower has."
            problem = Problem(kind="unsupported", message=message, field="solver")
            raise ProblemError([problem], kind="unsupported")
        return model.optimal_power_flow(settings)


#: So long a repair may be tried [s].
TRIED_S = 5.0


def _examined(
    error: NotConvergedError, engine: Engine, network: Network, settings: OptimalPowerFlow
) -> NotConvergedError:
    """The error with its limits' relaxation tried; without any, with what the doctor finds."""
    causes = error.extra["diagnosis"]
    if not causes:
        error.extra["diagnosis"] = doctor.diagnosis(engine, network, settings.flow)
        return error
    repair = doctor.Repair(tuple(doctor.Edit(**edit) for edit in causes[0]["repair"]))
    brief = msgspec.structs.replace(settings, max_time_s=min(settings.max_time_s, TRIED_S))
    try:
        relaxed, _ = doctor.repaired(network, settings.flow, repair)
        _optimum(engine, relaxed, Topology(relaxed), brief)
        verified = True
    except ProblemError:
        verified = False
    for cause in causes:
        cause["verified"] = verified
    return error


#: Settings of a power flow that say nothing to an optimum.
_IDLE = ("algorithm", "init", "enforce_q_lims", "distributed_slack", "export_script")
#: Those that say nothing to the linear one: its equations are solved exactly, and without loadings.
_IDLE_IF_LINEAR = ("branch_limit", "tolerance")


def _refused(settings: OptimalPowerFlow) -> list[Problem]:
    usual = OptimalPowerFlow()
    names = [*_IDLE, *(_IDLE_IF_LINEAR if settings.linear else ())]
    return [
        Problem(
            kind="unsupported",
            message=f"The setting {name} has no meaning in an optimal power flow"
            f"{' of opf_type dc' if name in _IDLE_IF_LINEAR else ''}; leave it out.",
            field=name,
        )
        for name in names
        if getattr(settings, name) != getattr(usual, name)
    ]


_ANGLES = {
    "mu_angmin": "what min_angle_degree costs [EUR/h per degree]",
    "mu_angmax": "what max_angle_degree costs [EUR/h per degree]",
}
#: Columns beside those of the power flow, with what they tell.
COLUMNS: Mapping[type[Element], Mapping[str, str]] = MappingProxyType({
    e.Bus: {
        "lam_p": "what one more MW of load costs [EUR/MWh]",
        "lam_q": "what one more Mvar of load costs [EUR/Mvarh]",
        "mu_vmin": "what min_vm_pu costs [EUR/h per pu]",
        "mu_vmax": "what max_vm_pu costs [EUR/h per pu]",
    },
    e.Line: {
        "mu_sf": "what max_loading_percent costs at the from end [EUR/h per MVA]",
        "mu_st": "what it costs at the to end [EUR/h per MVA]",
        **_ANGLES,
    },
    e.Transformer: {
        "mu_sf": "what max_loading_percent costs at the high-voltage side [EUR/h per MVA]",
        "mu_st": "what it costs at the low-voltage side [EUR/h per MVA]",
        **_ANGLES,
    },
    e.ThreeWindingTransformer: {
        "mu_hv": "what max_loading_percent costs at the high-voltage side [EUR/h per MVA]",
        "mu_mv": "what it costs at the medium-voltage side [EUR/h per MVA]",
        "mu_lv": "what it costs at the low-voltage side [EUR/h per MVA]",
    },
    e.Impedance: _ANGLES,
})  # fmt: skip
