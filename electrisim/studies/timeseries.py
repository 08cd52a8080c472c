"""Time series: the network under profiles, one steady state per step."""

from __future__ import annotations

import datetime as dt
import operator
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import Annotated, Any, ClassVar, Literal, NamedTuple

import numpy as np

from electrisim import doctor, premises
from electrisim import elements as e
from electrisim.change import Changes, Place, Series, changed
from electrisim.elements import FIELDS, KINDS, Element
from electrisim.engine import Engine, Engines
from electrisim.fields import Field, quantity, says
from electrisim.network import Array, Network, Rows, fault
from electrisim.problems import NotConvergedError, Problem, ProblemError, nearest, shorten
from electrisim.results import COLUMNS, COLUMNS_3PH, Answer, Certificate
from electrisim.studies.powerflow import PowerFlow, idle
from electrisim.studies.profiles import GENERATION, LOAD, Clock
from electrisim.sweep import PERFECT, Chunk, sweep, worst
from electrisim.topology import Topology

#: A leap year of five-minute steps.
MOST_STEPS = 105_408
#: What is answered unless `outputs` asks for something else.
OUTPUTS: Mapping[type[Element], tuple[str, ...]] = {
    e.Bus: ("vm_pu",),
    e.Line: ("loading_percent",),
    e.Transformer: ("loading_percent",),
    e.ThreeWindingTransformer: ("loading_percent",),
    e.ExternalGrid: ("p_mw", "q_mvar"),
}
#: … and of three unequal phases.
OUTPUTS_3PH: Mapping[type[Element], tuple[str, ...]] = {
    e.Bus: ("vm_a_pu", "vm_b_pu", "vm_c_pu"),
    e.Line: ("loading_percent",),
    e.Transformer: ("loading_percent",),
    e.ExternalGrid: ("p_a_mw", "p_b_mw", "p_c_mw", "q_a_mvar", "q_b_mvar", "q_c_mvar"),
}
#: The result column of storage that only a series has.
SOC = "soc_percent"
#: What the presets act on: kind → the field that they scale.
LOADS: Mapping[type[Element], str] = {
    e.Load: "scaling", e.AsymmetricLoad: "scaling", e.Motor: "scaling",
}  # fmt: skip
SOURCES: Mapping[type[Element], str] = {
    e.Generator: "scaling",
    e.StaticGenerator: "scaling",
    e.AsymmetricStaticGenerator: "scaling",
    e.PVSystem: "irradiance_kw_per_m2",
}

Profile = dict[str, list[float | bool] | Literal["absolute", "factor"]]


class TimeSeries(PowerFlow, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Settings of a time series."""

    name: ClassVar[str] = "timeseries"

    mode: Annotated[
        Literal["ac", "dc", "unbalanced"],
        says("AC, linearised DC (pandapower), or with three unequal phases."),
    ] = "ac"
    profiles: (
        Annotated[
            dict[str, Profile],
            says(
                "By element id: a list of one value per step for each field, and `unit` absolute "
                "(default: in the field's unit) or factor (on the element's own value). Any "
                "number, and in_service, closed."
            ),
        ]
        | None
    ) = None
    time_steps: (
        Annotated[
            int,
            quantity("1", "Number of steps; the profiles' where absent.", ge=1, le=MOST_STEPS),
        ]
        | None
    ) = None
    step_minutes: Annotated[float, quantity("min", "Length of a step.", gt=0, le=MOST_STEPS)] = 60.0
    start: (
        Annotated[str, says("Time of the first step, ISO 8601, e.g. 2025-01-01T00:00.")] | None
    ) = None
    outputs: (
        Annotated[
            dict[str, list[str]],
            says(
                'Key of the results → quantities, e.g. {"busbars": ["vm_pu"]}; by default '
                "bus voltages, line and transformer loadings, external grids' powers, storages' "
                "power and state of charge."
            ),
        ]
        | None
    ) = None
    load_profile: Annotated[
        Literal["constant", "daily", "industrial", "variable"],
        says("Shape of the loads that have no profile of their own."),
    ] = "constant"
    generation_profile: Annotated[
        Literal["constant", "solar", "wind", "variable"],
        says("Shape of generators, static ones and PV systems without a profile of their own."),
    ] = "constant"


def run(network: Network, settings: TimeSeries, engines: Engines) -> Answer:
    """Solve every step; one without a solution is reported, and the others stand.

    Raises ProblemError (profiles that do not fit, the engine cannot represent something) and
    NotConvergedError (no step has a solution).
    """
    plan = _Plan(network, settings)
    engine = engines.admit(network, settings)
    topology = Topology(network)
    if not plan.switches:
        premises.check(network, topology, settings)
    found = _Found(network, plan)
    with engine.build(network, topology, settings) as model:
        for chunk in sweep(engine, model, network, settings, plan.changes):
            found.add(chunk)
    failed = found.failed()
    if len(failed) == plan.count:
        first = next(iter(found.failures.values()), "")
        raise NotConvergedError(
            f"No step of the series has a solution. {first}".rstrip(),
            diagnosis=_of_first_failure(engine, network, settings, plan, failed),
        )
    beside: dict[str, Any] = {
        "convergence": not failed,
        "time_steps": plan.count,
        "steps": plan.steps(),
        "failed_steps": failed,
        "statistics": found.statistics(),
    }
    if failed:
        beside["diagnosis"] = _of_first_failure(engine, network, settings, plan, failed)
    if plan.presets:
        beside["presets"] = {name: shape.tolist() for name, shape in plan.presets.items()}
    return Answer(
        tables={},
        iterations=None,
        warnings=(
            *network.warnings,
            *idle(network, topology),
            *plan.warnings,
            *found.warnings(),
        ),
        certificate=found.certificate,
        engine={**engine.version(settings), "solver": found.solver},
        beside=beside,
        series=found.series,
    )


#: So long the first failed step is examined [s].
EXAMINED_S = 1.5


def _of_first_failure(
    engine: Engine, network: Network, settings: TimeSeries, plan: _Plan, failed: list[int]
) -> list[dict[str, Any]]:
    """The causes for which the first failed step, named in each, has no solution."""
    step = failed[0]
    there = changed(network, plan.changes.of(step))
    causes = doctor.diagnosis(engine, there, settings, EXAMINED_S)
    return [{"step": step, **cause} for cause in causes[:3]]


# -- what is asked ---------------------------------------------------------------------------------


class _Values(NamedTuple):
    """One profile, in the field's own unit."""

    kind: type[Element]
    row: int
    field: str
    values: Array


class _Plan:
    """Profiles and presets as changes of the network; raises ProblemError with all that is wrong.

    count     number of steps
    changes   the cases of the sweep
    outputs   kind → the result columns that are asked for
    soc       state of charge of each tracked storage, shape (n_steps, n_storage); NaN untracked
    presets   the factors of the presets that are not constant
    switches  whether a profile changes what is supplied, or who holds which voltage
    """

    def __init__(self, network: Network, settings: TimeSeries) -> None:
        self.network = network
        self.settings = settings
        self.problems: list[Problem] = []
        self.warnings: list[str] = []
        self.start = self._read_start()
        self.count = self._count()
        self._check_end()
        given = list(self._read_profiles())
        self.outputs = self._read_outputs()
        if self.problems:
            raise ProblemError(self.problems)
        self.switches = any(each.field in ("in_service", "closed", "vm_pu") for each in given)
        own = {(each.kind, each.row) for each in given}
        self.presets: dict[str, Array] = {}
        by_place: dict[Place, dict[int, Array]] = defaultdict(dict)
        for each in [*given, *self._preset_values(own)]:
            by_place[each.kind, each.field][each.row] = each.values
        self.soc = self._follow_storages(by_place)
        series = {
            place: Series(np.array(list(rows)), np.stack(list(rows.values()), axis=1))
            for place, rows in by_place.items()
        }
        self.changes = Changes(self.count, series=series)

    def _fault(self, kind: str, field: str, message: str) -> None:
        self.problems.append(Problem(kind=kind, message=message, field=field))

    def _read_start(self) -> dt.datetime | None:
        given = self.settings.start
        if given is None:
            return None
        try:
            return dt.datetime.fromisoformat(given)
        except ValueError:
            example = "must be a time such as 2025-01-01T00:00"
            self._fault(
                "not-a-time", "start", f"The setting start {example}, not “{shorten(given)}”."
            )
            return None

    def _check_end(self) -> None:
        try:
            self.steps()
        except OverflowError:
            self._fault("out-of-bounds", "start", "The series ends after the year 9999.")

    def steps(self) -> list[Any]:
        """The steps' numbers, or their times where a start is given."""
        if self.start is None:
            return list(range(self.count))
        step = dt.timedelta(minutes=self.settings.step_minutes)
        return [(self.start + k * step).isoformat() for k in range(self.count)]

    def _count(self) -> int:
        lengths = Counter(
            len(values)
            for profile in (self.settings.profiles or {}).values()
            for values in profile.values()
            if isinstance(values, list)
        )
        if self.settings.time_steps is not None:
            return self.settings.time_steps
        if not lengths:
            message = "The setting time_steps is needed where there are no profiles."
            self._fault("missing-setting", "time_steps", message)
            return 0
        return lengths.most_common(1)[0][0]

    # -- profiles

    def _read_profiles(self) -> Iterator[_Values]:
        if self.settings.time_steps is None and self.count > MOST_STEPS:
            message = f"A profile has {self.count} values; there may be up to {MOST_STEPS} steps."
            self._fault("out-of-bounds", "profiles", message)
        for id_, profile in (self.settings.profiles or {}).items():
            if id_ not in self.network.ids:
                hint = nearest(id_, self.network.order[:2000]) if len(self.problems) < 20 else ""
                message = (
                    f"The setting profiles names “{shorten(id_)}”, which no element has as its id."
                    f"{hint}"
                )
                self._fault("unknown-element", "profiles", message)
                continue
            yield from self._read_profile(*self.network.ids[id_], profile)

    def _read_profile(self, kind: type[Element], row: int, profile: Profile) -> Iterator[_Values]:
        rows = self.network.rows(kind)
        unit = profile.get("unit", "absolute")
        if unit not in ("absolute", "factor"):
            self._blame(rows, row, "unit", "unknown-value", "must be absolute or factor")
        for name, values in profile.items():
            if name == "unit":
                continue
            field = FIELDS[kind].get(name)
            if field is None or not _may_change(field):
                allowed = [f.name for f in FIELDS[kind].values() if _may_change(f)]
                text = f"has no {shorten(name)} that a profile could change"
                hint = nearest(name, allowed)
                self._blame(rows, row, name, "unknown-parameter", text, hint)
            elif not isinstance(values, list) or len(values) != self.count:
                many = len(values) if isinstance(values, list) else "no"
                text = f"must have {self.count} values of {name}, one per step, and has {many}"
                self._blame(rows, row, name, "wrong-length", text)
            else:
                found = self._in_own_unit(rows, row, field, values, unit == "factor")
                if found is not None:
                    yield _Values(kind, row, name, found)

    def _in_own_unit(
        self, rows: Rows, row: int, field: Field, values: list[float | bool], is_factor: bool
    ) -> Array | None:
        numbers = np.array(values, dtype=float)
        if field.type == "flag":
            return self._flags(rows, row, field, numbers, is_factor)
        if is_factor:
            own = rows.column(field.name)[row]
            if np.isnan(own):
                text = f"has no {field.name} of its own that a factor could scale"
                self._blame(rows, row, field.name, "missing-parameter", text)
                return None
            numbers = own * numbers
        wrong = ~np.isfinite(numbers)
        for bound, limit in field.bounds.items():
            wrong |= ~_WITHIN[bound](numbers, limit)
        if field.type == "integer":
            wrong |= numbers != np.round(numbers)
        if wrong.any():
            step = int(wrong.argmax())
            limits = [f"{_SIGNS[bound]} {limit:g}" for bound, limit in field.bounds.items()]
            whole = ["a whole number"] if field.type == "integer" else []
            must = " and ".join([*whole, *limits]) or "finite"
            text = f"has {numbers[step]:g} for {field.name} in step {step}, which must be {must}"
            self._blame(rows, row, field.name, "out-of-bounds", text)
            return None
        return numbers

    def _flags(
        self, rows: Rows, row: int, field: Field, numbers: Array, is_factor: bool
    ) -> Array | None:
        if is_factor or not np.isin(numbers, (0, 1)).all():
            text = f"must have true or false for {field.name} in every step, as absolute values"
            self._blame(rows, row, field.name, "not-a-flag", text)
            return None
        return numbers.astype(bool)

    def _blame(
        self, rows: Rows, row: int, field: str, kind: str, text: str, hint: str = ""
    ) -> None:
        problem = fault(rows, row, field, kind, f"in profiles {text}", hint)
        self.problems.append(problem)

    # -- presets

    def _preset_values(self, own: set[tuple[type[Element], int]]) -> Iterator[_Values]:
        clock = Clock(self.start, self.settings.step_minutes, self.count)
        asked = (
            ("load", LOADS, LOAD, self.settings.load_profile),
            ("generation", SOURCES, GENERATION, self.settings.generation_profile),
        )
        for name, fields, shapes, word in asked:
            if word == "constant":
                continue
            shape = shapes[word](clock)
            self.presets[name] = shape
            for kind, field in fields.items():
                base = self.network.rows(kind).column(field)
                for row in range(len(base)):
                    if (kind, row) not in own:
                        yield _Values(kind, row, field, base[row] * shape)

    # -- outputs

    def _read_outputs(self) -> Mapping[type[Element], tuple[str, ...]]:
        present = [kind for kind in KINDS if kind in self.network.kinds]
        asked = self.settings.outputs
        if asked is None:
            usual = OUTPUTS if self.settings.model == "balanced" else OUTPUTS_3PH
            found = {kind: usual[kind] for kind in present if kind in usual}
            if _tracked(self.network.rows(e.Storage)).any():
                found[e.Storage] = ("p_mw", SOC)
            return found
        keys = dict.fromkeys(kind.key for kind in KINDS)
        columns = COLUMNS if self.settings.model == "balanced" else COLUMNS_3PH
        chosen: dict[type[Element], tuple[str, ...]] = {}
        for key, names in asked.items():
            if key not in keys:
                message = f"The setting outputs has no key “{shorten(key)}”.{nearest(key, keys)}"
                self._fault("unknown-value", "outputs", message)
                continue
            kinds = [kind for kind in KINDS if kind.key == key]
            for kind in kinds:
                known = columns.get(kind, ())
                known = (*known, SOC) if kind is e.Storage else known
                for name in names:
                    if name not in known:
                        hint = nearest(name, known)
                        message = f"The {key} have no quantity “{shorten(name)}”.{hint}"
                        self._fault("unknown-value", "outputs", message)
                if kind in present:
                    chosen[kind] = tuple(dict.fromkeys(names))
        return chosen

    # -- storage

    def _follow_storages(self, by_place: dict[Place, dict[int, Array]]) -> Array:
        """State of charge after each step; power is limited where a storage is full or empty.

        Without losses: the energy changes by power × time, between min_e_mwh and max_e_mwh.
        """
        rows = self.network.rows(e.Storage)
        soc = np.full((self.count, len(rows)), np.nan)
        hours = self.settings.step_minutes / 60
        for row in np.flatnonzero(_tracked(rows)).tolist():

            def of(field: str, row: int = row) -> Array:
                given = (
                    by_place[e.Storage, field].get(row) if (e.Storage, field) in by_place else None
                )
                own = rows.column(field)[row]
                return np.full(self.count, own) if given is None else given

            scaling = of("scaling")
            asked = np.where(of("in_service"), of("p_mw") * scaling, 0.0)
            storage = rows.elements[row]
            power, energy = _limited(
                asked.tolist(),
                storage.soc_percent / 100 * storage.max_e_mwh,
                storage.min_e_mwh,
                storage.max_e_mwh,
                hours,
            )
            soc[:, row] = 100 * energy / storage.max_e_mwh
            limited = np.abs(power - asked) > 1e-12 * np.maximum(1, np.abs(asked))
            if limited.any():
                by_place[e.Storage, "p_mw"][row] = np.where(
                    scaling == 0, of("p_mw"), power / np.where(scaling == 0, 1, scaling)
                )
                steps = f"{int(limited.sum())} of {self.count} steps"
                self.warnings.append(
                    f"{rows.label(row)} is full or empty in {steps}; its power is limited there."
                )
        return soc


_WITHIN = {
    "gt": operator.gt, "ge": operator.ge, "lt": operator.lt, "le": operator.le,
}  # fmt: skip
_SIGNS = {"gt": "greater than", "ge": "at least", "lt": "less than", "le": "at most"}


def _may_change(field: Field) -> bool:
    return field.type in ("number", "integer") or field.name in ("in_service", "closed")


def _tracked(rows: Rows) -> Array:
    """Which storages have a state of charge to follow."""
    return np.asarray((rows.column("max_e_mwh") > 0) & ~np.isnan(rows.column(SOC)))


def _limited(
    asked: list[float], energy: float, least: float, most: float, hours: float
) -> tuple[Array, Array]:
    """Power and energy after each step, for the power asked for [MW, MWh]."""
    power, energies = [], []
    for wanted in asked:
        lowest, highest = min(0.0, (least - energy) / hours), max(0.0, (most - energy) / hours)
        got = min(max(wanted, lowest), highest)
        energy += got * hours
        power.append(got)
        energies.append(energy)
    return np.array(power), np.array(energies)


# -- what is found ---------------------------------------------------------------------------------


class _Found:
    """The answered quantities of all steps, filled in as the steps are solved."""

    def __init__(self, network: Network, plan: _Plan) -> None:
        self.network = network
        self.plan = plan
        self.series: dict[type[Element], dict[str, Array]] = {
            kind: {name: np.full((plan.count, len(network.rows(kind))), np.nan) for name in names}
            for kind, names in plan.outputs.items()
        }
        self.solved = np.zeros(plan.count, dtype=bool)
        self.certificate: Certificate = PERFECT
        self.solver = ""
        self.failures: dict[int, str] = {}
        self._notes: Counter[str] = Counter()

    def add(self, chunk: Chunk) -> None:
        """Keep what the chunk's steps answer."""
        self.solved[chunk.cases] = chunk.solved
        self.certificate = worst([self.certificate, chunk.judged])
        self.solver = self.solver or chunk.solver
        self.failures |= chunk.failures
        if chunk.note:
            self._notes[chunk.note] += len(chunk.cases)
        for kind, columns in self.series.items():
            for name, values in columns.items():
                if name == SOC:
                    alive = chunk.alive(kind) & chunk.solved[:, None]
                    soc = self.plan.soc[chunk.cases]
                    values[chunk.cases] = np.where(alive, soc, np.nan)
                else:
                    values[chunk.cases] = chunk.column(kind, name)

    def failed(self) -> list[int]:
        """The steps without a solution."""
        return [int(step) for step in np.flatnonzero(~self.solved)]

    def statistics(self) -> dict[str, dict[str, Any]]:
        """Smallest, largest and mean value of each quantity, element by element."""
        found: dict[str, dict[str, Any]] = {}
        for kind, columns in self.series.items():
            of_key = found.setdefault(kind.key, {"ids": []})
            of_key["ids"] = [*of_key["ids"], *self.network.rows(kind).ids]
            for name, values in columns.items():
                there = ~np.isnan(values)
                count = there.sum(axis=0)
                none = count == 0
                mean = np.where(there, values, 0).sum(axis=0) / np.where(none, 1, count)
                figures = {
                    "min": np.where(there, values, np.inf).min(axis=0),
                    "max": np.where(there, values, -np.inf).max(axis=0),
                    "mean": mean,
                }
                of_name = of_key.setdefault(name, {"min": [], "max": [], "mean": []})
                for figure, each in figures.items():
                    of_name[figure] += np.where(none, np.nan, each).tolist()
        return found

    def warnings(self) -> Iterable[str]:
        """What failed and why, and how many steps went another way than the fast one."""
        for note, count in self._notes.items():
            yield f"{count} of {self.plan.count} steps were solved one by one: {note}."
        for sentence, steps in _by_sentence(self.failures).items():
            yield f"Without a solution: {_listed(steps)}. {sentence}"


def _by_sentence(failures: Mapping[int, str]) -> dict[str, list[int]]:
    found: dict[str, list[int]] = defaultdict(list)
    for step, sentence in sorted(failures.items()):
        found[sentence].append(step)
    return found


def _listed(steps: list[int]) -> str:
    some = ", ".join(map(str, steps[:10]))
    more = f" and {len(steps) - 10} more" if len(steps) > 10 else ""
    return f"step{'s' if len(steps) > 1 else ''} {some}{more}"
