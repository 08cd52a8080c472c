"""Optimal power flow: pandapower's arrays, Ipopt or HiGHS, and the way back to our elements.

The answer is a power flow: the optimum becomes the network's set-points, pandapower solves that
network from the optimal voltages, and its tables are returned. Were its voltages not the optimum's,
there would be no answer.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

import pandapower_ipopt as ipopt
from electrisim import elements as e
from electrisim.dispatch import HOLDING
from electrisim.elements import Element
from electrisim.network import Array, Network
from electrisim.problems import NotConvergedError, Problem, ProblemError
from electrisim.results import Solution
from electrisim.studies.opf import COLUMNS, Binding, Optimal, Optimality, OptimalPowerFlow
from electrisim.topology import Topology
from pandapower_opf_ac import Elastic, Optimum
from pandapower_opf_case import Case, MakeNet, Maker
from pandapower_opf_dc import Bounds, relax_linear, solve_linear

#: Kinds that optimal power flow has no place for.
CONTROLLED = (e.SVC, e.TCSC, e.SSC, e.VSC, e.B2BVSC, e.DCBus)
#: How far pandapower's voltages may be from the optimum's [pu].
SAME_VOLTAGE = 1e-5
#: A limit binds where its multiplier is above this share of the largest price.
BINDS = 1e-6
#: A limit counts as broken beyond this share of it.
BROKEN = 1e-5
MAX_ITERATION = 500
#: What has a solution is solved within this many iterations; the largest published case takes 50.
SOON = 120

FlowAt = Callable[[Network, Array, Array], Solution]


class Optimised(NamedTuple):
    """An optimum in per unit: voltages, powers of the units, and the multipliers of all limits.

    Multipliers are per unit of the case's quantities; `low` and `high` by the limit's sort.
    """

    va: Array
    vm: Array
    p: Array
    q: Array
    lam_p: Array
    lam_q: Array
    low: Mapping[str, Array]
    high: Mapping[str, Array]
    flow: Array
    objective: float
    iterations: int
    solver: str
    kkt: Optimality


def solve(
    network: Network,
    topology: Topology,
    settings: OptimalPowerFlow,
    make_net: MakeNet,
    flow_at: FlowAt,
) -> Optimal:
    """Optimise a network.

    flow_at  (network, voltages [pu], angles [degree]) → its power flow, started from there
    """
    refuse(network)
    current = settings.branch_limit == "current"
    case = Maker(network, topology, settings.flow, make_net, current).case()
    found = (_linear if settings.linear else _exact)(case, network, settings)
    moved = network.changed(_set_points(network, case, found))
    vm, va = (_at_buses(case, values) for values in (found.vm, np.rad2deg(found.va)))
    solution = flow_at(moved, np.nan_to_num(vm, nan=1.0), np.nan_to_num(va))
    tables = {
        kind: {name: values.copy() for name, values in columns.items()}
        for kind, columns in solution.tables.items()
    }
    _agree(tables, topology, settings, vm, va)
    _share(tables, case, found, settings.linear)
    warnings = [*solution.warnings, *case.warnings]
    if not case.priced:
        warnings.append(
            "No element has a cost, so nothing has a price: "
            + ("the dispatch is one of many." if settings.linear else "the losses were minimised.")
        )
    return Optimal(
        network=moved,
        solution=Solution(tables, found.iterations, found.solver, tuple(warnings)),
        prices=_prices(network, topology, case, found, settings.linear),
        objective=found.objective if case.priced else None,
        binding=list(_binding(network, case, found)),
        kkt=found.kkt,
    )


def refuse(network: Network) -> None:
    """Raise ProblemError for elements that optimal power flow has no place for."""
    problems = []
    for kind in CONTROLLED:
        rows = network.rows(kind)
        for row in np.flatnonzero(rows.column("in_service")).tolist() if len(rows) else ():
            message = f"{rows.label(row)} has no place in an optimal power flow yet."
            problems.append(
                Problem(
                    kind="unsupported", message=message, element=rows.ids[row], name=rows.names[row]
                )
            )
    if problems:
        raise ProblemError(problems, kind="unsupported")


# -- AC --------------------------------------------------------------------------------------------


def _exact(case: Case, network: Network, settings: OptimalPowerFlow) -> Optimised:
    programme = Optimum(case, settings.branch_limit == "current")
    found = _minimised(case, network, programme, settings)
    x, g = found.x, found.multipliers
    z_lo = np.maximum(found.z_lo - found.z_hi, 0)
    z_hi = np.maximum(found.z_hi - found.z_lo, 0)
    return Optimised(
        va=x[programme.va], vm=x[programme.vm], p=x[programme.p], q=x[programme.q],
        lam_p=g[programme.rows_p], lam_q=g[programme.rows_q],
        low={
            "vm": z_lo[programme.vm], "p": z_lo[programme.p], "q": z_lo[programme.q],
            "angle": np.maximum(-g[programme.angle], 0),
        },
        high={
            "vm": z_hi[programme.vm], "p": z_hi[programme.p], "q": z_hi[programme.q],
            "angle": np.maximum(g[programme.angle], 0),
        },
        flow=2 * case.flow_limit * g[programme.flow],
        objective=programme.objective(x), iterations=found.iterations,
        solver=f"Ipopt {ipopt.version()}", kkt=programme.kkt(found),
    )  # fmt: skip


def _minimised(
    case: Case, network: Network, programme: Optimum, settings: OptimalPowerFlow
) -> ipopt.Found:
    """The optimum; raises NotConvergedError with the limits that would have to give way.

    Where it is not found soon, what is sought next is the least that the limits would have to give
    way. If that is nothing, the point found is within all limits and a better start.
    """
    clock = _Clock(settings)
    if (programme.x_lo > programme.x_hi).any():
        raise _infeasible(network, case, _relaxed(case, programme, clock)[1])
    options: dict[str, str | float | int] = {}
    unknowns = (programme.x_lo < programme.x_hi).sum()
    if unknowns <= (programme.g_lo == programme.g_hi).sum():
        # Nothing is free: multipliers come only with bounds that have an inside.
        options["fixed_variable_treatment"] = "relax_bounds"
    iterations = min(SOON, clock.iterations)
    options |= clock.options(iterations)
    found = ipopt.minimise(programme, programme.start, options, clock.seconds)
    if found.solved:
        return found
    clock.check(found)
    x, state = _relaxed(case, programme, clock)
    if not _broken(network, case, state):
        start = np.clip(x, programme.x_lo, programme.x_hi)
        options["max_iter"] = clock.iterations
        found = ipopt.minimise(programme, start, options, clock.seconds)
        if found.solved:
            return found
        clock.check(found)
    raise _infeasible(network, case, state)


class _Clock:
    """What is left of the time and the iterations that the settings allow."""

    def __init__(self, settings: OptimalPowerFlow) -> None:
        self.settings = settings
        self.iterations = settings.max_iteration or MAX_ITERATION
        self._end = time.monotonic() + settings.max_time_s

    def options(self, iterations: int) -> dict[str, str | float | int]:
        """Ipopt's options for a solution within so many iterations."""
        return {
            "print_level": 0, "sb": "yes", "linear_solver": "mumps", "tol": 1e-8,
            "constr_viol_tol": 1e-9, "dual_inf_tol": 1e-4, "compl_inf_tol": 1e-7,
            "acceptable_iter": 0, "bound_relax_factor": 0.0, "mu_strategy": "adaptive",
            "max_iter": iterations,
        }  # fmt: skip

    @property
    def seconds(self) -> float:
        """What is left of the time."""
        return max(self._end - time.monotonic(), 1e-9)

    def check(self, found: ipopt.Found) -> None:
        """Raise NotConvergedError where a solution ended because nothing is left."""
        if found.status == ipopt.TIME_SPENT:
            raise _too_slow(f"{self.settings.max_time_s:g} s")
        self.iterations -= found.iterations
        if self.iterations <= 0:
            raise _too_slow(f"{self.settings.max_iteration or MAX_ITERATION} iterations")


def _too_slow(bound: str) -> NotConvergedError:
    return NotConvergedError(f"The optimal power flow found no solution within {bound}.")


def _relaxed(case: Case, programme: Optimum, clock: _Clock) -> tuple[Array, _State]:
    """Where the limits give way least; raises NotConvergedError where even that has no solution."""
    elastic = Elastic(programme)
    options = {**clock.options(MAX_ITERATION), "bound_relax_factor": 1e-8, "tol": 1e-7}
    relaxed = ipopt.minimise(elastic, elastic.start, options, clock.seconds)
    if relaxed.status == ipopt.TIME_SPENT:
        clock.check(relaxed)
    if not relaxed.solved:
        raise NotConvergedError(
            "The optimal power flow has no solution, and none was found without its limits either: "
            "the network cannot carry what is drawn."
        )
    x = relaxed.x[: programme.size]
    loads = np.sqrt(np.maximum(programme.constraints(x)[programme.flow], 0))
    return x, _State(x[programme.va], x[programme.vm], x[programme.p], x[programme.q], loads)


# -- DC --------------------------------------------------------------------------------------------


def _linear(case: Case, network: Network, settings: OptimalPowerFlow) -> Optimised:
    bounds = Bounds(settings.max_time_s, settings.max_iteration)
    found = solve_linear(case, bounds)
    if found is None:
        raise _infeasible_linear(case, network, bounds)
    nothing = np.zeros(len(case.units))
    return Optimised(
        va=found.va, vm=np.ones(case.n_bus), p=found.p, q=nothing, lam_p=found.lam,
        lam_q=np.zeros(case.n_bus), low=found.low, high=found.high, flow=found.flow,
        objective=found.objective, iterations=found.iterations, solver=found.solver, kkt=found.kkt,
    )  # fmt: skip


def _infeasible_linear(case: Case, network: Network, bounds: Bounds) -> NotConvergedError:
    relaxed = relax_linear(case, bounds)
    if relaxed is None:
        return NotConvergedError(
            "The linear optimal power flow has no solution, even without its limits."
        )
    state = _State(relaxed.va, np.ones(case.n_bus), relaxed.p, np.zeros(len(case.units)),
                   relaxed.loads)  # fmt: skip
    return _infeasible(network, case, state)


# -- limits, one by one ----------------------------------------------------------------------------


class _State(NamedTuple):
    va: Array
    vm: Array
    p: Array
    q: Array
    loads: Array


class _Limit(NamedTuple):
    """A limit of an element, in the element's own units and sign.

    upper  whether the value may not be above it
    """

    kind: type[Element]
    row: int
    field: str
    upper: bool
    value: float
    limit: float
    unit: str
    multiplier: float


_NONE: Mapping[str, Array] = {}


def _limits_of(
    network: Network,
    case: Case,
    state: _State,
    low: Mapping[str, Array] = _NONE,
    high: Mapping[str, Array] = _NONE,
    flow: Array | None = None,
) -> Iterator[_Limit]:
    """Every limit of the case."""
    s = case.s_mva

    def price(side: Mapping[str, Array], sort: str, at: int, per: float) -> float:
        return float(side[sort][at]) / per if sort in side else 0.0

    for upper, bounds, by, side in (
        (False, case.vm_lo, case.vm_lo_by, low), (True, case.vm_hi, case.vm_hi_by, high),
    ):  # fmt: skip
        for bus, owner in enumerate(by):
            if owner is not None:
                value, limit = float(state.vm[bus]), float(bounds[bus])
                yield _Limit(*owner, upper, value, limit, "pu", price(side, "vm", bus, 1))
    for sort, values, lo, hi, unit_name, letter in (
        ("p", state.p, case.p_lo, case.p_hi, "MW", "p_mw"),
        ("q", state.q, case.q_lo, case.q_hi, "Mvar", "q_mvar"),
    ):
        for at, unit in enumerate(case.units):
            if unit.port < 0 or (unit.kind is e.DCLine and unit.port and sort == "p"):
                continue
            field = letter
            if unit.kind is e.DCLine and sort == "q":
                field = f"q_{('from', 'to')[unit.port]}_mvar"
            # A DC line's reactive powers are counted as delivered, all else in its column's sign.
            sign = 1 if unit.kind is e.DCLine and sort == "q" else unit.sign
            for upper_of_unit, bound, side in ((False, lo[at], low), (True, hi[at], high)):
                if not np.isfinite(bound):
                    continue
                upper = upper_of_unit == (sign > 0)
                named = f"{'max' if upper else 'min'}_{field}"
                if (
                    case.fixed[at]
                    and sort == "p"
                    or (
                        lo[at] == hi[at]
                        and getattr(network.rows(unit.kind).elements[unit.row], named, None) is None
                    )
                ):
                    named = field
                value, limit = (sign * float(number) * s for number in (values[at], bound))
                multiplier = price(side, sort, at, s)
                yield _Limit(unit.kind, unit.row, named, upper, value, limit, unit_name, multiplier)
    for at, owner in enumerate(case.flow_by):
        percent, limit = float(case.flow_percent[at]), float(case.flow_limit[at])
        value = float(state.loads[at]) / limit * percent
        multiplier = 0.0 if flow is None else float(flow[at]) / s
        yield _Limit(*owner, True, value, percent, "%", multiplier)
    delta = np.rad2deg(state.va[case.angle_from] - state.va[case.angle_to])
    for at, (kind, row) in enumerate(case.angle_by):
        for upper, bound, side in (
            (False, case.angle_lo[at], low), (True, case.angle_hi[at], high),
        ):  # fmt: skip
            if np.isfinite(bound):
                field = f"{'max' if upper else 'min'}_angle_degree"
                value, limit = float(delta[at]), float(np.rad2deg(bound))
                multiplier = price(side, "angle", at, 180 / np.pi)
                yield _Limit(kind, row, field, upper, value, limit, "degree", multiplier)


def _binding(network: Network, case: Case, found: Optimised) -> Iterator[Binding]:
    state = _State(found.va, found.vm, found.p, found.q, case.flow_limit)
    scale = max(1e-9, np.abs(found.lam_p).max(initial=0) / case.s_mva)
    strongest: dict[tuple[Any, ...], _Limit] = {}
    for limit in _limits_of(network, case, state, found.low, found.high, found.flow):
        # A set-point that may not move is no limit.
        if limit.field in _SETPOINTS or limit.multiplier <= BINDS * scale * _PER[limit.unit]:
            continue
        key = limit[:3]
        if key not in strongest or limit.multiplier > strongest[key].multiplier:
            strongest[key] = limit
    for limit in strongest.values():
        rows = network.rows(limit.kind)
        yield Binding(
            element=rows.ids[limit.row], name=rows.names[limit.row], typ=limit.kind.typ,
            field=limit.field, value=limit.value, limit=limit.limit, unit=limit.unit,
            multiplier=limit.multiplier if case.priced else None,
        )  # fmt: skip


_SETPOINTS = ("vm_pu", "p_mw", "q_mvar", "q_from_mvar", "q_to_mvar")
#: How many MW a unit of each quantity is worth before its multiplier counts.
_PER = {"pu": 100.0, "MW": 1.0, "Mvar": 1.0, "%": 1.0, "degree": 10.0}


def _broken(network: Network, case: Case, state: _State) -> list[tuple[float, float, _Limit]]:
    """Limits that a state is beyond: by which share of them, by how much, which; worst first."""
    broken = []
    for limit in _limits_of(network, case, state):
        beyond = limit.value - limit.limit if limit.upper else limit.limit - limit.value
        share = beyond / max(abs(limit.limit), _LEAST[limit.unit])
        if share > BROKEN:
            broken.append((share, beyond, limit))
    return sorted(broken, key=lambda entry: -entry[0])


def _infeasible(network: Network, case: Case, state: _State) -> NotConvergedError:
    broken = _broken(network, case, state)
    if not broken:
        return NotConvergedError(
            "The optimal power flow found no solution, although one within all limits exists."
        )
    diagnosis, problems = [], []
    together = [_moved(network, limit) for _, _, limit in broken]
    for _, beyond, limit in broken:
        rows = network.rows(limit.kind)
        label, unit = rows.label(limit.row), limit.unit
        cause = f"{label}: {limit.field} is {limit.limit:.6g} {unit}, at least {abs(beyond):.4g} "
        cause += f"{unit} too {'low' if limit.upper else 'high'}."
        problems.append(
            Problem(
                kind="not-converged", message=cause, element=rows.ids[limit.row],
                name=rows.names[limit.row], field=limit.field,
            )
        )  # fmt: skip
        diagnosis.append({
            "rule": "limit", "cause": cause, "elements": [rows.ids[limit.row]],
            "evidence": {
                "field": limit.field, "limit": limit.limit, "needed": limit.value, "unit": unit,
            },
            "suggestion": f"Set {limit.field} to {limit.value:.6g} {unit}, or change what asks for "
            "it; all limits named here have to give way together.",
            "repair": together, "verified": None,
        })  # fmt: skip
    message = "No dispatch keeps all limits. " + problems[0].message
    return NotConvergedError(
        message, element=problems[0].element, name=problems[0].name, problems=problems[1:],
        diagnosis=diagnosis,
    )  # fmt: skip


def _moved(network: Network, limit: _Limit) -> dict[str, Any]:
    """The limit moved by what is needed and a little more: a solver needs some room."""
    room = ROOM * max(abs(limit.value), _LEAST[limit.unit])
    value = limit.value + room if limit.upper else limit.value - room
    return {
        "element": network.rows(limit.kind).ids[limit.row], "field": limit.field, "value": value,
    }  # fmt: skip


#: By which share more than needed a limit is moved where that is suggested.
ROOM = 1e-4
_LEAST = {"pu": 1.0, "MW": 0.1, "Mvar": 0.1, "%": 1.0, "degree": 1.0}


# -- back to elements ------------------------------------------------------------------------------


def _set_points(
    network: Network, case: Case, found: Optimised
) -> dict[type[Element], dict[int, dict[str, Any]]]:
    """The optimum as the set-points of a power flow (kind → row → field)."""
    edits: dict[type[Element], dict[int, dict[str, Any]]] = defaultdict(dict)
    kept = set(case.references)
    for at, unit in enumerate(case.units):
        p, q = (unit.sign * float(values[at]) * case.s_mva for values in (found.p, found.q))
        vm = float(found.vm[case.unit_bus[at]])
        fields: dict[str, Any] = {}
        if unit.kind is e.ExternalGrid:
            fields = {"vm_pu": vm}
        elif unit.kind is e.Generator:
            fields = {"p_mw": p, "scaling": 1.0, "vm_pu": vm}
            fields["slack"] = (e.Generator, unit.row) in kept
        elif unit.kind is e.DCLine:
            fields = {f"vm_{('from', 'to')[unit.port]}_pu": vm}
            if not unit.port:
                fields["p_mw"] = p
        elif unit.kind is not e.ExtendedWard:
            fields = {"p_mw": p, "q_mvar": q, "scaling": 1.0}
        if fields:
            edits[unit.kind].setdefault(unit.row, {}).update(fields)
    return dict(edits)


def _at_buses(case: Case, values: Array) -> Array:
    return np.where(case.of_bus >= 0, values[np.maximum(case.of_bus, 0)], np.nan)


def _agree(
    tables: Mapping[type[Element], Mapping[str, Array]],
    topology: Topology,
    settings: OptimalPowerFlow,
    vm: Array,
    va: Array,
) -> None:
    """pandapower's voltages must be the optimum's."""
    buses = tables[e.Bus]
    here = np.exp(1j * np.deg2rad(buses["va_degree"]))
    there = np.exp(1j * np.deg2rad(va))
    if not settings.linear:
        here, there = here * buses["vm_pu"], there * vm
    if not np.abs(here - there)[topology.bus].max(initial=0) <= SAME_VOLTAGE:
        raise NotConvergedError("pandapower's power flow does not confirm the optimum's voltages.")


def _share(
    tables: dict[type[Element], dict[str, Array]], case: Case, found: Optimised, linear: bool
) -> None:
    """How sources at one node share its power is the optimum's to say, not pandapower's."""
    for at, unit in enumerate(case.units):
        if unit.kind not in (*HOLDING, e.DCLine):
            continue
        for quantity, values in (("p", found.p), ("q", found.q)):
            if unit.kind is e.DCLine and (quantity == "p" or linear):
                continue
            if linear and quantity == "q":
                continue
            name, sign = _column(unit, quantity)
            tables[unit.kind][name][unit.row] = sign * values[at] * case.s_mva


def _column(unit: Any, quantity: str) -> tuple[str, int]:
    name = "p_mw" if quantity == "p" else "q_mvar"
    if unit.kind is e.DCLine:
        side = ("from", "to")[unit.port]
        return name.replace("_", f"_{side}_", 1), unit.sign
    return name, unit.sign


def _prices(
    network: Network, topology: Topology, case: Case, found: Optimised, linear: bool
) -> dict[type[Element], dict[str, Array]]:
    """Prices of buses and multipliers of branches [EUR/h per unit of what is limited]."""
    s, priced = case.s_mva, np.nan if not case.priced else 1.0
    prices: dict[type[Element], dict[str, Array]] = {}
    buses = {"lam_p": found.lam_p / s, "lam_q": found.lam_q / s}
    for name, side in (("mu_vmin", found.low), ("mu_vmax", found.high)):
        buses[name] = side["vm"] if "vm" in side else np.zeros(case.n_bus)
    prices[e.Bus] = {name: _at_buses(case, values) * priced for name, values in buses.items()}
    if linear:
        for name in ("lam_q", "mu_vmin", "mu_vmax"):
            prices[e.Bus][name] = np.full(len(case.of_bus), np.nan)
    for kind, columns in COLUMNS.items():
        if kind is not e.Bus and kind in network.kinds:
            alive = np.where(topology.alive(kind), 0.0, np.nan) * priced
            prices[kind] = {name: alive.copy() for name in columns}
    for owner, port, mu in zip(case.flow_by, case.flow_port, found.flow, strict=True):
        names = list(COLUMNS[owner.kind])
        prices[owner.kind][names[port]][owner.row] = mu / s * priced
    for at, (kind, row) in enumerate(case.angle_by):
        for name, side in (("mu_angmin", found.low), ("mu_angmax", found.high)):
            prices[kind][name][row] = side["angle"][at] * np.pi / 180 * priced
    return prices
