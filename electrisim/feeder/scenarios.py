"""What would be: a day over a session's state, and how large a generator each bus could take.

Neither changes the session.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, NamedTuple

import msgspec
import numpy as np

from electrisim.feeder.judge import judge
from electrisim.feeder.model import (
    Case,
    Model,
    Solved,
    Solver,
    UnsolvableError,
    per_unit,
)
from electrisim.feeder.refusals import invalid, nearest_names, refused
from electrisim.feeder.results import BANDS, LOADINGS, shares, totals, transformer_loadings
from electrisim.feeder.state import Place, State, case
from electrisim.feeder.tables import Bus, Feeder, Reals
from electrisim.fields import quantity, says
from electrisim.problems import Problem, ProblemError, shorten

MINUTES_PER_DAY = 1440

#: OpenDSS' own default load shape, hour by hour.
LOAD_SHAPE = (
    0.677, 0.6256, 0.6087, 0.5833, 0.58028, 0.6025, 0.657, 0.7477, 0.832, 0.88, 0.94, 0.989,
    0.985, 0.98, 0.9898, 0.999, 1.0, 0.958, 0.936, 0.913, 0.876, 0.876, 0.828, 0.756,
)  # fmt: skip

#: A clear day at an equinox, half hour by half hour: the sun's height goes with the cosine of its
#: hour angle, here that of the middle of each half hour.
SOLAR_SHAPE = tuple(max(0.0, -math.cos(math.tau * (half + 0.5) / 48)) for half in range(48))


class DayProfile(msgspec.Struct, frozen=True, kw_only=True):
    """A day: how long its steps are, and with what loads and generators are multiplied. A shape is
    factors at equal distances from midnight on, each of which holds until the next.
    """

    step_minutes: Annotated[
        int, quantity("min", "Length of a step; it must divide the day.", ge=1, le=1440)
    ] = 60
    load_shape: (
        Annotated[list[float], says("Of loads and devices; absent, OpenDSS' default load shape.")]
        | None
    ) = None
    solar_shape: (
        Annotated[list[float], says("Of generators; absent, a clear day at an equinox.")] | None
    ) = None


class HostingCapacity(msgspec.Struct, frozen=True, kw_only=True):
    """How a generator grows at each bus, and what ends that. What the session violates already
    ends it only when it becomes worse by more than 1 % of the limit.
    """

    buses: Annotated[list[str], says("Names of buses; absent, all with voltage.")] | None = None
    phases: (
        Annotated[
            int, quantity("1", "1 or 3; absent, 3 at buses that have them, else 1.", ge=1, le=3)
        ]
        | None
    ) = None
    step_kw: Annotated[float, quantity("kW", "By how much it grows.", ge=0.1)] = 50.0
    max_kw: Annotated[float, quantity("kW", "Where it ends at the latest.", gt=0, le=100_000)] = (
        10_000.0
    )
    min_vm_pu: Annotated[float, quantity("pu", "Lowest voltage.", ge=0)] = BANDS["A"][0]
    max_vm_pu: Annotated[float, quantity("pu", "Highest voltage.", ge=0)] = BANDS["A"][1]
    max_loading_percent: Annotated[
        float, quantity("percent", "Highest loading of transformers, regulators and lines.", gt=0)
    ] = LOADINGS["overloaded"]
    conductor_amps: (
        Annotated[
            dict[str, float],
            says("Ratings of conductors [A] by their names; lines of others have no limit."),
        ]
        | None
    ) = None


#: So many sizes at most are tried at one bus.
MOST_STEPS = 10_000


# -- a day -----------------------------------------------------------------------------------------


class _Step(NamedTuple):
    state: State
    case: Case
    solved: Solved


def day(solver: Solver, place: Place, state: State, settings: DayProfile) -> dict[str, Any]:
    """The session's state over a day, as columns.

    Regulators begin at neutral and keep their taps from step to step. A tap operation is one step
    of one regulator; those that lead to the first solution do not count. Storages charge and
    discharge as they stand; in the step in which one fills or empties it has the mean power of that
    step, so that energies add up. Raises ProblemError where a shape is none, or where a step has no
    solution.
    """
    length = settings.step_minutes
    if MINUTES_PER_DAY % length:
        message = f"step_minutes, {length}, does not divide the day's {MINUTES_PER_DAY}."
        raise invalid([Problem(kind="out-of-bounds", message=message, field="step_minutes")])
    load = _shape("load_shape", settings.load_shape, LOAD_SHAPE)
    solar = _shape("solar_shape", settings.solar_shape, SOLAR_SHAPE)
    minutes = range(0, MINUTES_PER_DAY, length)
    steps: list[_Step] = []
    with solver.open(place.feeder, place.options, case(place.feeder, state)) as model:
        for minute in minutes:
            factors = _value(load, minute), _value(solar, minute)
            now = _shaped(place.feeder, state, *factors, length / 60)
            steps.append(_Step(state, now, _solved_at(minute, place, model, now)))
            storages = {key: each.after(length / 60) for key, each in state.storages.items()}
            state = state.changed(storages=storages)
    return _columns(place.feeder, minutes, steps, length / 60)


def _shape(name: str, given: list[float] | None, default: Sequence[float]) -> Sequence[float]:
    if given is None:
        return default
    if not given or not all(math.isfinite(value) and value >= 0 for value in given):
        message = f"{name} must be one or more finite numbers, none of them negative."
        raise invalid([Problem(kind="out-of-bounds", message=message, field=name)])
    return given


def _value(shape: Sequence[float], minute: int) -> float:
    """The factor that holds at a minute of the day."""
    return shape[minute * len(shape) // MINUTES_PER_DAY]


def _shaped(feeder: Feeder, state: State, load: float, solar: float, hours: float) -> Case:
    """A state with generators and consumption multiplied, storages with their mean power."""
    plain = case(feeder, state)
    factors = {name: state.factors.get(name, 1.0) * load for name in feeder.loads}
    shapes = [solar] * len(state.generators) + [load] * len(state.devices)
    powers = [
        *(unit.kw * shape for unit, shape in zip(plain.units, shapes, strict=False)),
        *(storage.mean_kw(hours) for storage in state.sorted_storages()),
    ]
    units = (unit._replace(kw=kw) for unit, kw in zip(plain.units, powers, strict=True))
    return Case(factors, tuple(units))


def _solved_at(minute: int, place: Place, model: Model, now: Case) -> Solved:
    try:
        model.change(now)
        solved = model.solve()
        judge(place.feeder, place.options, now, solved)
    except (ProblemError, UnsolvableError) as error:
        why = error.sentence if isinstance(error, ProblemError) else "There is no solution."
        message = f"At {minute // 60:02d}:{minute % 60:02d}: {why}"
        raise refused("not-converged", message) from error
    return solved


def _columns(
    feeder: Feeder, minutes: Sequence[int], steps: Sequence[_Step], hours: float
) -> dict[str, Any]:
    sums = [
        totals(step.case, step.solved, *shares(feeder, step.case, step.solved)) for step in steps
    ]
    volts = [np.abs(per_unit(feeder, step.solved.voltages)) for step in steps]
    low, high = BANDS["A"]
    loadings = [
        max(each["loading_percent"] for each in transformer_loadings(feeder, step.solved))
        for step in steps
    ]
    taps = {name: [step.solved.taps[name] for step in steps] for name in feeder.regulators}
    operations = {
        name: sum(abs(then - now) for now, then in zip(taken, taken[1:], strict=False))
        for name, taken in taps.items()
    }
    return {
        "minutes": list(minutes),
        "source_power_kW": [each["source_kw"] for each in sums],
        "total_losses_kW": [each["loss_kw"] for each in sums],
        "total_load_kW": [each["load_nominal_kw"] for each in sums],
        "generation_kW": [each["generation_kw"] for each in sums],
        "min_voltage_pu": [float(each.min()) for each in volts],
        "max_voltage_pu": [float(each.max()) for each in volts],
        "nodes_beyond_range_A": [int(((v < low) | (v > high)).sum()) for v in volts],
        "max_loading_percent": loadings,
        "regulators": taps,
        "storages": [
            {
                "bus": bus,
                "device": name,
                "energy_kwh": [step.state.storages[bus, name].energy_kwh for step in steps],
            }
            for bus, name in steps[0].state.storages
        ],
        "tap_operations": {**operations, "total": sum(operations.values())},
        "energy_kWh": {
            "source": hours * sum(each["source_kw"] for each in sums),
            "losses": hours * sum(each["loss_kw"] for each in sums),
            "load_delivered": hours * sum(each["load_delivered_kw"] for each in sums),
            "generation": hours * sum(each["generation_kw"] for each in sums),
        },
    }


# -- hosting capacity ------------------------------------------------------------------------------


class _Limit(NamedTuple):
    """A quantity over many things, how far it may go, and how far it went before.

    sign   1 where the limit is the highest value, -1 where it is the lowest
    names  of the things: element, and node where it has one
    """

    quantity: str
    sign: int
    limit: float
    names: Sequence[tuple[str, int | None]]
    before: Reals

    def broken(self, now: Reals) -> dict[str, Any] | None:
        """What goes furthest beyond the limit, where it did not before."""
        beyond = self.sign * (now - self.limit)
        before = np.maximum(self.sign * (self.before - self.limit), 0.0)
        allowed = np.where(before > 0, before + 0.01 * self.limit, 0.0)
        excess = beyond - allowed
        worst = int(excess.argmax())
        if excess[worst] <= 0:
            return None
        element, node = self.names[worst]
        return _bound(self.quantity, element, float(now[worst]), self.limit, node)


def hosting_capacity(
    solver: Solver, place: Place, state: State, settings: HostingCapacity
) -> tuple[int, Iterator[dict[str, Any]]]:
    """How many buses, and of each the largest generator that it takes and what forbids the next.

    A generator that the bus has already, of as many phases, is replaced, as `add_generator` would.
    Every size is solved from neutral taps. Raises ProblemError before the first bus where a bus
    cannot have such a generator, or the session has no solution.
    """
    if settings.max_kw / settings.step_kw > MOST_STEPS:
        message = f"`hosting_capacity`: more than {MOST_STEPS} steps of step_kw to max_kw."
        raise invalid([Problem(kind="out-of-bounds", message=message, field="step_kw")])
    if settings.step_kw > settings.max_kw:
        message = "`hosting_capacity`: step_kw is more than max_kw, so that no size would be tried."
        raise invalid([Problem(kind="out-of-bounds", message=message, field="step_kw")])
    if settings.phases == 2:
        message = "`hosting_capacity`: phases must be 1 or 3, not 2."
        raise invalid([Problem(kind="out-of-bounds", message=message, field="phases")])
    search = _Search(solver, place, state, settings)
    buses = search.buses()
    limits = search.limits()
    return len(buses), (search.capacity(limits, bus) for bus in buses)


def _phases(bus: Bus) -> int:
    return 3 if len(bus.nodes.split(".")) == 3 else 1


def _rated(feeder: Feeder, amps: Mapping[str, float]) -> dict[str, float]:
    """Line → its rating [A], of those whose conductor has one."""
    known = set(feeder.conductors.values())
    problems = [
        Problem(
            kind="unknown-conductor",
            message=f"No line is of “{shorten(name)}”.{nearest_names(name, sorted(known))}",
            field="conductor_amps",
        )
        for name in amps
        if name not in known
    ]
    problems += [
        Problem(
            kind="out-of-bounds",
            message=f"The rating of {shorten(name)} must be a finite number above 0.",
            field="conductor_amps",
        )
        for name, rating in amps.items()
        if not (math.isfinite(rating) and rating > 0)
    ]
    if problems:
        raise invalid(problems)
    return {line: amps[made] for line, made in feeder.conductors.items() if made in amps}


def _loadings(feeder: Feeder, rated_a: Mapping[str, float], solved: Solved) -> dict[str, float]:
    """Loading of transformers and regulators, and of the lines that have a rating [percent]."""
    loadings = transformer_loadings(feeder, solved)
    return {
        **{each["name"]: each["loading_percent"] for each in loadings},
        **{
            line: 100 * float(solved.currents[line].max()) / rating
            for line, rating in rated_a.items()
        },
    }


class _Search(NamedTuple):
    """A search for the largest generator at each bus."""

    solver: Solver
    place: Place
    state: State
    settings: HostingCapacity

    def buses(self) -> list[Bus]:
        """The buses that are asked about, each once."""
        phases = self.settings.phases
        if self.settings.buses is not None:
            names = dict.fromkeys(self.settings.buses)
            return [self.place.connection(name, phases or 1) for name in names]
        buses = (bus for bus in self.place.feeder.buses.values() if bus.energised)
        return [bus for bus in buses if phases != 3 or _phases(bus) == 3]

    def limits(self) -> list[_Limit]:
        """The limits, and how near to them the session is."""
        feeder, settings = self.place.feeder, self.settings
        now = case(feeder, self.state)
        with self.solver.open(feeder, self.place.options, now) as model:
            solved = model.solve()
        judge(feeder, self.place.options, now, solved)
        volts = np.abs(per_unit(feeder, solved.voltages))
        rated = _rated(feeder, settings.conductor_amps or {})
        loadings = _loadings(feeder, rated, solved)
        nodes: list[tuple[str, int | None]] = [*feeder.nodes]
        names: list[tuple[str, int | None]] = [(name, None) for name in loadings]
        percent = np.array(list(loadings.values()))
        return [
            _Limit("vm_pu", 1, settings.max_vm_pu, nodes, volts),
            _Limit("vm_pu", -1, settings.min_vm_pu, nodes, volts),
            _Limit("loading_percent", 1, settings.max_loading_percent, names, percent),
        ]

    def capacity(self, limits: Sequence[_Limit], bus: Bus) -> dict[str, Any]:
        """The largest generator at a bus, and what forbids the next size."""
        feeder, step = self.place.feeder, self.settings.step_kw
        phases = self.settings.phases or _phases(bus)
        fits, binding = 0.0, None
        smallest = case(feeder, self._with(bus, phases, 0.0))
        with self.solver.open(feeder, self.place.options, smallest) as model:
            for number in range(1, math.floor(self.settings.max_kw / step + 1e-9) + 1):
                kw = number * step
                binding = self._binding(model, limits, bus, phases, kw)
                if binding is not None:
                    break
                fits = kw
        return {"bus": bus.bus, "phases": phases, "kw": fits, "binding": binding}

    def _with(self, bus: Bus, phases: int, kw: float) -> State:
        generators = {**self.state.generators, (bus.bus, phases): kw}
        return self.state.changed(generators=generators)

    def _binding(
        self, model: Model, limits: Sequence[_Limit], bus: Bus, phases: int, kw: float
    ) -> dict[str, Any] | None:
        """What forbids a size; None where nothing does."""
        feeder, state = self.place.feeder, self._with(bus, phases, kw)
        now, overrated = case(feeder, state), self.place.overrated(state, bus.bus)
        if overrated is not None:
            feeding, behind_kw = overrated
            return _bound("rating", feeding.name, behind_kw, feeding.kva)
        try:
            model.change(now)
            model.reset_taps()
            solved = model.solve()
            judge(feeder, self.place.options, now, solved)
        except (ProblemError, UnsolvableError):
            return _bound("delivery", bus.bus, kw, None)
        rated = _rated(feeder, self.settings.conductor_amps or {})
        figures = {
            "vm_pu": np.abs(per_unit(feeder, solved.voltages)),
            "loading_percent": np.array(list(_loadings(feeder, rated, solved).values())),
        }
        broken = (limit.broken(figures[limit.quantity]) for limit in limits)
        return next((found for found in broken if found), None)


def _bound(
    quantity: str, element: str, value: float, limit: float | None, node: int | None = None
) -> dict[str, Any]:
    return {
        "quantity": quantity,
        "element": element,
        "node": node,
        "value": value,
        "limit": limit,
    }
