"""Crosscheck: one request, two engines, one verdict, with the tested causes of what differs.

The study is solved on both engines. What differs by more than the tolerance is traced to its cause:
each feature that engines are known to treat in ways of their own is neutralised on both, and where
the difference is then gone, that was it (`electrisim.suspects`). What no feature explains is sought
element by element: first those whose reported numbers are farthest from the graph's own data.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Annotated, Any, ClassVar, Literal, NamedTuple

import msgspec
import numpy as np

from electrisim import elements as e
from electrisim.certificate import certify, severities
from electrisim.change import changed
from electrisim.elements import Element
from electrisim.engine import Engines
from electrisim.fields import fields_of, quantity, read, says
from electrisim.network import Array, Network
from electrisim.problems import NotConvergedError, Problem, ProblemError
from electrisim.results import Answer, Certificate, Tables
from electrisim.settings import Settings
from electrisim.studies import powerflow, timeseries
from electrisim.suspects import Suspect, outage, suspects, together
from electrisim.topology import Topology

Engine = Literal["pandapower", "opendss", "opendssdirect", "py_dss_interface"]

#: Differences within this are the solvers' own rounding [pu].
ROUNDING_PU = 1e-6
#: Elements that are tried one by one where no feature explains a difference.
TRIED = 6


class Compared(NamedTuple):
    """A study that both engines have."""

    Settings: type[powerflow.PowerFlow]
    solve: Callable[..., Answer]


STUDIES: Mapping[str, Compared] = MappingProxyType(
    {
        "powerflow": Compared(powerflow.PowerFlow, powerflow.solve),
        "timeseries": Compared(timeseries.TimeSeries, timeseries.run),
    }
)


class CrossCheck(Settings, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Settings of a crosscheck."""

    name: ClassVar[str] = "crosscheck"

    study: Annotated[
        Literal["powerflow", "timeseries"], says("The study that both engines solve.")
    ] = "powerflow"
    study_settings: (
        Annotated[
            dict[str, Any],
            says("The study's own settings; those that all studies share stand beside it."),
        ]
        | None
    ) = None
    engines: (
        Annotated[
            list[Engine],
            says(
                "Two of pandapower, opendss (in the binding of the settings), opendssdirect, "
                "py_dss_interface; absent, the first two. `results` has the numbers of `solver`, "
                "or of the first where that is not one of them."
            ),
        ]
        | None
    ) = None
    tolerance_pu: Annotated[
        float,
        quantity(
            "pu",
            "Largest difference that is none: of voltages, angles in radian; of powers, currents "
            "and loadings as a share of the largest of the kind.",
            gt=0,
        ),
    ] = 1e-4
    find_causes: Annotated[
        bool, says("Solve again without each suspected feature, to find what a difference is from.")
    ] = True

    @property
    def pair(self) -> tuple[str, str]:
        return tuple(self.engines or ("pandapower", "opendss"))  # type: ignore[return-value]


# -- the answer's own shapes -----------------------------------------------------------------------


class EngineReport(msgspec.Struct, frozen=True):
    """How one engine fared.

    status    solved; refuted: its answer contradicts the graph's data; no-solution; unsupported
    without   settings that only the other engine knows, and that are at their default here
    problems  why it has no answer, or what refutes it
    """

    asked: str
    name: str
    version: str
    status: str
    iterations: int | None = None
    certificate: Certificate | None = None
    without: list[str] = []
    problems: list[Problem] = []


class Difference(msgspec.Struct, frozen=True):
    """The largest difference of one quantity of one kind.

    values      of both engines, in the order of `engines`; null where an engine has none
    difference  the second's less the first's, in the quantity's unit
    share       of the tolerance; above 1 it is a difference; null where one engine has no number
    causes      positions in `causes`
    """

    key: str
    quantity: str
    element: str
    name: str | None
    values: tuple[float | None, float | None]
    difference: float | None
    share: float | None
    causes: list[int] = []


class Cause(msgspec.Struct, frozen=True):
    """What a difference is from, as tested by solving without it.

    before, after  the largest difference as a share of the tolerance, with and without it
    elements       that have the feature, the first fifty
    engine         whose numbers contradict the graph's data there, where one's do
    """

    cause: str
    sentence: str
    elements: list[str]
    before: float | None
    after: float | None
    engine: str | None = None


class Verdict(msgspec.Struct, frozen=True):
    """agree, agree-within-tolerance, differ, no-solution (of one engine) or cannot-compare."""

    status: str
    sentence: str


SHAPES = (EngineReport, Difference, Cause, Verdict)


# -- solving on one engine -------------------------------------------------------------------------


class Outcome(NamedTuple):
    """One engine's answer, or why there is none.

    tables      kind → column → (n,), or (steps, n) of a series; None without an answer
    severities  element id → how far its numbers are from its data, of what a certificate accepts
    """

    report: EngineReport
    answer: Answer | None = None
    severities: Mapping[str, float] = MappingProxyType({})

    @property
    def tables(self) -> Tables | None:
        return (self.answer.series or self.answer.tables) if self.answer else None


class Bench:
    """Both engines ready to solve variants of one request."""

    def __init__(self, settings: CrossCheck, inner: powerflow.PowerFlow, engines: Engines) -> None:
        self._study = STUDIES[settings.study]
        self.settings = inner
        self._engines = engines
        self.pair = settings.pair
        self._binding = settings.binding

    def solve(self, network: Network, without: Suspect | None = None) -> tuple[Outcome, Outcome]:
        """Both engines' outcomes, with a feature neutralised."""
        settings = self.settings
        if without:
            # A network's warnings would be told twice.
            network = changed(network, without.edits)
            settings = msgspec.structs.replace(settings, **without.settings)
        one, other = (self._on(asked, network, settings) for asked in self.pair)
        return one, other

    def _on(self, asked: str, network: Network, settings: powerflow.PowerFlow) -> Outcome:
        solver = "pandapower" if asked == "pandapower" else "opendss"
        binding = asked if asked in _BINDINGS else self._binding
        settings = msgspec.structs.replace(settings, solver=solver, binding=binding)
        foreign: list[str] = []
        try:
            try:
                answer = self._study.solve(network, settings, self._engines)
            except ProblemError as error:
                foreign = _foreign(error)
                if not foreign:
                    raise
                settings = _at_default(settings, foreign)
                answer = self._study.solve(network, settings, self._engines)
        except ProblemError as error:
            if error.kind not in ("not-converged", "unsupported"):
                raise
            status = "no-solution" if error.kind == "not-converged" else "unsupported"
            report = EngineReport(
                asked, solver, "", status, without=foreign, problems=list(error.problems)
            )
            return Outcome(report)
        outcome = self._judged(asked, answer, network, settings)
        return outcome._replace(report=msgspec.structs.replace(outcome.report, without=foreign))

    def _judged(
        self, asked: str, answer: Answer, network: Network, settings: powerflow.PowerFlow
    ) -> Outcome:
        told = answer.engine
        own = answer.certificate
        certificate = own if isinstance(own, Certificate) else None
        status, problems = "solved", list[Problem]()
        found: Mapping[str, float] = {}
        if answer.series is None and certificate is None:
            network = answer.network or network
            topology = Topology(network)
            try:
                certificate = certify(network, topology, settings, answer.tables)
            except NotConvergedError as error:
                status, certificate = "refuted", error.extra["certificate"]
                problems = list(error.problems)
            found = severities(network, topology, settings, answer.tables)
        report = EngineReport(
            asked, told["name"], told["version"], status, answer.iterations, certificate,
            problems=problems,
        )  # fmt: skip
        return Outcome(report, answer, found)


_BINDINGS = ("opendssdirect", "py_dss_interface")


def _foreign(error: ProblemError) -> list[str]:
    """The common settings that an engine does not know, where nothing else is in its way."""
    common = fields_of(Settings)
    names = [
        problem.field
        for problem in error.problems
        if problem.element is None and problem.field in common and problem.field != "binding"
    ]
    refused = error.kind == "unsupported" and len(names) == len(error.problems)
    return [name for name in names if name] if refused else []


def _at_default(settings: powerflow.PowerFlow, names: list[str]) -> powerflow.PowerFlow:
    fields = fields_of(type(settings))
    return msgspec.structs.replace(settings, **{name: fields[name].default for name in names})


# -- comparing -------------------------------------------------------------------------------------


class Gap(NamedTuple):
    """The largest difference of a column.

    share  of the tolerance; infinite where only one engine has a number
    at     row of the kind, and step of a series
    """

    share: float
    difference: float
    values: tuple[float, float]
    row: int


Gaps = dict[tuple[type[Element], str], Gap]


def compare(one: Tables, other: Tables, tolerance_pu: float) -> Gaps:
    """The largest difference of every column that both engines tell."""
    found: Gaps = {}
    for kind, columns in one.items():
        scales = _scales(columns)
        for column, first in columns.items():
            second = other.get(kind, {}).get(column)
            if second is None or not first.size or _untold(first) != _untold(second):
                continue
            difference = _difference(column, first, second)
            shares = np.abs(difference) / (tolerance_pu * scales[_family(column)])
            shares = np.where(np.isnan(first) & np.isnan(second), 0.0, shares)
            shares = np.where(np.isnan(shares), np.inf, shares)
            at = int(shares.argmax())
            values = float(first.flat[at]), float(second.flat[at])
            row = at % first.shape[-1]
            found[kind, column] = Gap(
                float(shares.flat[at]), float(difference.flat[at]), values, row
            )
    return found


def _untold(values: Array) -> bool:
    return bool(np.isnan(values).all())


def _difference(column: str, first: Array, second: Array) -> Array:
    """Second less first; of angles, the shorter way round."""
    if column.endswith("degree"):
        return np.asarray((second - first + 180) % 360 - 180)
    return np.asarray(second - first)


def _family(column: str) -> str:
    """Columns whose largest value is the scale of all of them: powers, currents, …"""
    return {"mw": "mva", "mvar": "mva"}.get(_unit(column), _unit(column))


def _unit(column: str) -> str:
    return column.removesuffix("_p").removesuffix("_m").rsplit("_", 1)[-1]


#: The scale of a family in its unit: fixed, or at least this where the largest value is.
_FIXED = {"pu": 1.0, "degree": math.degrees(1)}
_LEAST = {"mva": 0.1, "ka": 0.1, "percent": 100.0}


def _scales(columns: Mapping[str, Array]) -> dict[str, float]:
    scales: dict[str, float] = {}
    for column, values in columns.items():
        family = _family(column)
        largest = float(np.nanmax(np.abs(values))) if np.isfinite(values).any() else 0.0
        least = _LEAST.get(family, ROUNDING_PU)
        scales[family] = _FIXED.get(family) or max(scales.get(family, least), largest)
    return scales


def _worst(gaps: Gaps) -> float:
    return max((gap.share for gap in gaps.values()), default=0.0)


# -- causes ----------------------------------------------------------------------------------------

Place = tuple[type[Element], str]

#: An element contradicts its data from this share of what a certificate accepts.
CONTRADICTS = 1e-2
#: What has no model of its own that could be wrong.
_NODES = (e.Bus, e.DCBus)


class Trial(NamedTuple):
    """A suspect, and the differences that are left without it; None where that was not solved."""

    suspect: Suspect
    gaps: Gaps | None
    engine: str | None = None

    def clears(self, place: Place, before: Gap) -> bool:
        """Whether the difference is gone, and not only smaller with everything else."""
        if self.gaps is None:
            return False
        gap = self.gaps.get(place)
        return gap is None or gap.share <= min(1.0, before.share / 2)


class Inquiry:
    """The search for what the differences are from.

    outcomes  of both engines with everything as it is
    gaps      between them
    """

    def __init__(
        self,
        bench: Bench,
        network: Network,
        tolerance_pu: float,
        outcomes: tuple[Outcome, Outcome],
        gaps: Gaps,
    ) -> None:
        self._bench = bench
        self._network = network
        self._tolerance_pu = tolerance_pu
        self._outcomes = outcomes
        self._gaps = gaps
        self._supplied = Topology(network).bus

    def trials(self) -> list[Trial]:
        """What the differences are from; those that nothing clears stay without."""
        open_ = {place for place, gap in self._gaps.items() if gap.share > 1}
        contradicting = self._contradicting()
        if contradicting:
            return contradicting
        kept, open_ = self._features(open_)
        return kept + self._elements(open_) if open_ else kept

    def _cleared(self, trial: Trial, open_: set[Place]) -> set[Place]:
        return {place for place in open_ if trial.clears(place, self._gaps[place])}

    def _contradicting(self) -> list[Trial]:
        """Elements whose numbers on one engine contradict the graph's data, the worst first."""
        found = []
        for outcome in self._outcomes:
            if outcome.report.status != "refuted":
                continue
            severities = {
                id_: severity
                for id_, severity in outcome.severities.items()
                if severity > 1 and self._network.ids[id_][0] not in _NODES
            }
            for id_ in sorted(severities, key=lambda id_: -severities[id_])[:TRIED]:
                suspect = outage(self._network, id_)
                found.append(Trial(suspect, self._try(suspect).gaps, outcome.report.asked))
        return found

    def _features(self, open_: set[Place]) -> tuple[list[Trial], set[Place]]:
        present = suspects(self._network, self._bench.settings, self._vm_pu())
        kept: list[Trial] = []
        for suspect in present:
            trial = self._try(suspect)
            if cleared := self._cleared(trial, open_):
                kept.append(trial)
                open_ = open_ - cleared
            if not open_:
                return kept, open_
        several = self._fewest(present, open_)
        return ([*kept, several], set()) if several else (kept, open_)

    def _fewest(self, present: list[Suspect], open_: set[Place]) -> Trial | None:
        """The fewest features that have to go together for the differences to go."""
        found: Trial | None = None
        rest = present
        for leave in [None, *present]:
            tried = [suspect for suspect in rest if suspect is not leave]
            if len(tried) < 2:
                continue
            trial = self._try(together(tried))
            if self._cleared(trial, open_) == open_:
                found, rest = trial, tried
            elif leave is None:
                return None
        return found

    def _elements(self, open_: set[Place]) -> list[Trial]:
        """A single element without which the differences are gone."""
        for id_ in self._candidates()[:TRIED]:
            trial = self._try(outage(self._network, id_))
            if self._cleared(trial, open_) == open_:
                engine = self._contradicted_by(id_)
                return [trial._replace(engine=engine)]
        return []

    def _candidates(self) -> list[str]:
        """By how much they contradict their data, then by how much their results differ."""
        weights: dict[str, float] = {}
        for outcome in self._outcomes:
            for id_, severity in outcome.severities.items():
                if severity > CONTRADICTS:
                    weights[id_] = max(weights.get(id_, 0.0), severity)
        named = sorted(weights, key=lambda id_: -weights[id_])
        differing = sorted(self._gaps.items(), key=lambda item: -item[1].share)
        named += [self._network.rows(kind).ids[gap.row] for (kind, _), gap in differing]
        return [id_ for id_ in dict.fromkeys(named) if self._network.ids[id_][0] not in _NODES]

    def _contradicted_by(self, id_: str) -> str | None:
        """The engine whose numbers are much farther from the element's data than the other's."""
        one, other = (outcome.severities.get(id_, 0.0) for outcome in self._outcomes)
        if max(one, other) <= CONTRADICTS or min(one, other) > max(one, other) / 10:
            return None
        return self._bench.pair[0 if one > other else 1]

    def _try(self, suspect: Suspect) -> Trial:
        """Solve without it; that proves nothing where an engine cannot, or supply is lost."""
        without = changed(self._network, suspect.edits)
        if not np.array_equal(Topology(without).bus, self._supplied):
            return Trial(suspect, None)
        one, other = self._bench.solve(self._network, suspect)
        if one.tables is None or other.tables is None:
            return Trial(suspect, None)
        return Trial(suspect, compare(one.tables, other.tables, self._tolerance_pu))

    def _vm_pu(self) -> Array:
        """The bus voltages farthest from 1, on either side and in any step."""
        both = [
            np.atleast_2d(outcome.tables[e.Bus]["vm_pu"])
            for outcome in self._outcomes
            if outcome.tables and "vm_pu" in outcome.tables.get(e.Bus, {})
        ]
        if not both:
            return np.ones(len(self._network.rows(e.Bus)))
        vm = np.nan_to_num(np.concatenate(both), nan=1.0)
        return np.asarray(vm[np.abs(vm - 1).argmax(axis=0), np.arange(vm.shape[1])])


# -- the study -------------------------------------------------------------------------------------


def run(network: Network, settings: CrossCheck, engines: Engines) -> Answer:
    """Solve on both engines and compare.

    Raises ProblemError where a setting is wrong, or where neither engine has an answer.
    """
    bench = Bench(settings, _inner(settings), engines)
    outcomes = bench.solve(network)
    answers = [outcome.answer for outcome in outcomes if outcome.answer]
    if not answers:
        raise _no_answer(outcomes)
    reference = next((a for a in answers if a.engine["name"] == settings.solver), answers[0])
    one, other = (outcome.tables for outcome in outcomes)
    gaps = compare(one, other, settings.tolerance_pu) if one and other else {}
    trials: list[Trial] = []
    if settings.find_causes and _worst(gaps) > 1:
        trials = Inquiry(bench, network, settings.tolerance_pu, outcomes, gaps).trials()
    causes = [_cause(network, trial, gaps, outcomes) for trial in trials]
    told = [text for answer in answers for text in answer.warnings]
    told += [
        f"{outcome.report.asked} does not know {name}, and solved without."
        for outcome in outcomes
        for name in outcome.report.without
    ]
    return Answer(
        tables=reference.tables,
        series=reference.series,
        iterations=reference.iterations,
        warnings=tuple(dict.fromkeys([*told, *_untold_columns(outcomes)])),
        certificate=next(o.report.certificate for o in outcomes if o.answer is reference),
        engine=reference.engine,
        beside={
            "verdict": _verdict(outcomes, gaps, causes, settings),
            "engines": [outcome.report for outcome in outcomes],
            "largest": _largest(network, gaps, trials),
            "causes": causes,
            "differences": _by_key(network, one, other) if one and other else {},
        },
    )


def _inner(settings: CrossCheck) -> powerflow.PowerFlow:
    """The settings of the study to be solved: the common ones, and its own."""
    problems: list[Problem] = []
    pair = settings.pair
    if len(pair) != 2 or len(set(pair)) != 2:
        message = "engines must name two different engines."
        problems.append(Problem(kind="wrong-form", message=message, field="engines"))
    common = fields_of(Settings)
    given = settings.study_settings or {}
    doubled = [name for name in given if name in common]
    problems += [
        Problem(
            kind="unknown-setting",
            message=f"{name} is a setting of all studies; it stands beside study_settings.",
            field="study_settings",
        )
        for name in doubled
    ]
    own = {name: value for name, value in given.items() if name not in common}
    what = f"The study {settings.study}"
    inner, faults = read(STUDIES[settings.study].Settings, own, what, "setting")
    problems += faults
    if inner is None or problems:
        raise ProblemError(problems)
    shared = {name: getattr(settings, name) for name in common if name != "export_script"}
    return msgspec.structs.replace(inner, **shared)


def _no_answer(outcomes: tuple[Outcome, Outcome]) -> ProblemError:
    reports = [outcome.report for outcome in outcomes]
    problems = [
        msgspec.structs.replace(problem, message=f"{report.asked}: {problem.message}")
        for report in reports
        for problem in report.problems
    ]
    kinds = {report.status for report in reports}
    kind = "unsupported" if kinds == {"unsupported"} else "not-converged"
    verdict = Verdict("no-solution", "Neither engine has an answer.")
    return ProblemError(problems, kind=kind, extra={"verdict": verdict, "engines": reports})


def _cause(network: Network, trial: Trial, gaps: Gaps, outcomes: tuple[Outcome, Outcome]) -> Cause:
    before = _worst(gaps)
    after = None if trial.gaps is None else _worst(trial.gaps)
    ids = trial.suspect.elements(network)
    sentence = f"Solved {trial.suspect.without}, the engines agree to {_told_share(after)}."
    if trial.engine:
        evidence = next(
            (
                problem.message
                for outcome in outcomes
                for problem in outcome.report.problems
                if problem.element in ids
            ),
            f"The numbers of {trial.engine} contradict the data of {trial.suspect.name}.",
        )
        sentence = evidence if after is None or after > 1 else f"{evidence} {sentence}"
    return Cause(
        trial.suspect.name, sentence, ids[:50], _finite(before),
        None if after is None else _finite(after), trial.engine,
    )  # fmt: skip


def _told_share(share: float | None) -> str:
    return f"{share:.2g} of the tolerance" if share is not None else "nothing that was solved"


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _largest(network: Network, gaps: Gaps, trials: list[Trial]) -> list[Difference]:
    """The largest difference of every quantity, those beyond the tolerance first."""
    found = []
    for (kind, column), gap in sorted(gaps.items(), key=lambda item: -item[1].share):
        rows = network.rows(kind)
        causes = [
            number
            for number, trial in enumerate(trials)
            if gap.share > 1 and (trial.engine or trial.clears((kind, column), gap))
        ]
        first, second = (_finite(value) for value in gap.values)
        found.append(
            Difference(
                kind.key, column, rows.ids[gap.row], rows.names[gap.row], (first, second),
                _finite(gap.difference), _finite(gap.share), causes,
            )
        )  # fmt: skip
    return found


def _by_key(network: Network, one: Tables, other: Tables) -> dict[str, dict[str, Any]]:
    """Second less first of every element, in columns; of a series, where it is farthest from 0."""
    found: dict[str, dict[str, Any]] = {}
    for kind, columns in one.items():
        table: dict[str, Any] = {"ids": list(network.rows(kind).ids)}
        for column, first in columns.items():
            second = other.get(kind, {}).get(column)
            if second is not None:
                table[column] = _farthest(_difference(column, first, second)).tolist()
        previous = found.get(kind.key)
        if previous is None:
            found[kind.key] = table
            continue
        # Shunts and shunt reactors share a key and have the same columns.
        for column, values in table.items():
            previous[column] = previous[column] + values
    return found


def _untold_columns(outcomes: tuple[Outcome, Outcome]) -> Iterator[str]:
    """Quantities that only one engine tells, and that hence are not compared."""
    for outcome, rival in (outcomes, outcomes[::-1]):
        for kind, columns in (outcome.tables or {}).items() if rival.tables else ():
            other = rival.tables.get(kind, {}) if rival.tables else {}
            missing = [
                column
                for column, values in columns.items()
                if not _untold(values) and (column not in other or _untold(other[column]))
            ]
            if missing:
                names = ", ".join(missing)
                yield f"{rival.report.asked} does not tell {names} of {kind.key}: not compared."


def _farthest(values: Array) -> Array:
    if values.ndim == 1:
        return values
    at = np.abs(np.nan_to_num(values)).argmax(axis=0)
    return np.asarray(values[at, np.arange(values.shape[1])])


def _verdict(
    outcomes: tuple[Outcome, Outcome], gaps: Gaps, causes: list[Cause], settings: CrossCheck
) -> Verdict:
    one, other = settings.pair
    for outcome in outcomes:
        report = outcome.report
        if report.status in ("unsupported", "no-solution"):
            why = " ".join(problem.message for problem in report.problems[:3])
            if report.status == "unsupported":
                return Verdict("cannot-compare", f"{report.asked} cannot solve this. {why}")
            return Verdict("no-solution", f"{report.asked} has no solution. {why}")
    if _worst(gaps) <= 1:
        # As a share of the tolerance, what is rounding.
        if _worst(gaps) * settings.tolerance_pu <= ROUNDING_PU:
            return Verdict("agree", f"{one} and {other} agree to {ROUNDING_PU:g} pu.")
        text = f"{one} and {other} agree within {settings.tolerance_pu:g} pu."
        return Verdict("agree-within-tolerance", text)
    return Verdict("differ", f"{one} and {other} differ. {_because(causes, settings)}".strip())


def _because(causes: list[Cause], settings: CrossCheck) -> str:
    if causes:
        return "It is due to: " + "; ".join(cause.cause for cause in causes) + "."
    if not settings.find_causes:
        return ""
    return "No feature and no single element that was tried explains it."
