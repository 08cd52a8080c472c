"""Crosscheck: one request, two engines, one verdict, with the tested causes of what differs.

The study is solved on both engines. What differs by more than the tolerance is traced to its cause:
each feature that engines are known to treat in ways of their own is neutralised on both, and where
the difference is then gone, that was it (`electrisim.suspects`). What no feature explains is sought
element by element: first those whose reported numbers are farthest from the graph's own data.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Annotated, Any, ClassVar, Literal, NamedTuple

import msgspec
import numpy as np

from electrisim import elements as e
from electrisim.comparing import (
    ROUNDING_PU,
    Gaps,
    compare,
    difference_of,
    is_untold,
    shares_of,
    worst,
)
from electrisim.elements import Element
from electrisim.engine import Engines
from electrisim.fields import fields_of, quantity, read, says
from electrisim.inquiry import Inquiry, Trial
from electrisim.network import Array, Network
from electrisim.problems import Problem, ProblemError
from electrisim.results import Answer, Tables
from electrisim.rivals import Bench, EngineReport, Outcome, as_told
from electrisim.settings import Settings
from electrisim.studies import contingency, controller, powerflow, timeseries

Engine = Literal["pandapower", "opendss", "opendssdirect", "py_dss_interface"]


class Compared(NamedTuple):
    """A study that both engines have.

    numbers  what of its answers is compared
    """

    Settings: type[powerflow.PowerFlow]
    solve: Callable[..., Answer]
    numbers: Callable[[Answer], Tables] = as_told


def _detailed(network: Network, settings: contingency.Contingency, engines: Engines) -> Answer:
    """A contingency analysis with the tables of every outage."""
    return contingency.run(network, msgspec.structs.replace(settings, details=True), engines)


def _with_outages(answer: Answer) -> Tables:
    """The base tables; what is watched has a row more per outage, shape (1 + outages, n)."""
    details = answer.streamed["details"]
    watched: dict[type[Element], str] = {
        e.Bus: "vm_pu",
        **dict.fromkeys(contingency.LOADED, "loading_percent"),
    }
    found = {kind: dict(columns) for kind, columns in answer.tables.items()}
    for kind in watched.keys() & found.keys():
        name = watched[kind]
        found[kind][name] = np.vstack([found[kind][name], details.column(kind, name)])
    return found


STUDIES: Mapping[str, Compared] = MappingProxyType(
    {
        "powerflow": Compared(powerflow.PowerFlow, powerflow.solve),
        "controller": Compared(controller.Controller, powerflow.solve),
        "timeseries": Compared(timeseries.TimeSeries, timeseries.run),
        "contingency": Compared(contingency.Contingency, _detailed, _with_outages),
    }
)


class CrossCheck(Settings, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Settings of a crosscheck."""

    name: ClassVar[str] = "crosscheck"

    study: Annotated[
        Literal["powerflow", "controller", "timeseries", "contingency"],
        says("The study that both engines solve."),
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


class Position(msgspec.Struct, frozen=True):
    """Where a controller ended on both engines, in the order of `engines`."""

    element: str
    name: str | None
    kind: str
    values: tuple[float, float]


class Judged(msgspec.Struct, frozen=True):
    """An outage's status or figure of which the engines differ; values in the order of `engines`.

    share  of the tolerance; null of a status, and where one engine has no number
    """

    outage: str
    name: str | None
    quantity: str
    values: tuple[float | str | None, float | str | None]
    share: float | None = None


class Verdict(msgspec.Struct, frozen=True):
    """agree, agree-within-tolerance, differ, no-solution (of one engine) or cannot-compare."""

    status: str
    sentence: str


SHAPES = (EngineReport, Difference, Cause, Position, Judged, Verdict)


# -- the study -------------------------------------------------------------------------------------


def run(network: Network, settings: CrossCheck, engines: Engines) -> Answer:
    """Solve on both engines and compare.

    Raises ProblemError where a setting is wrong, or where neither engine has an answer.
    """
    study, inner = STUDIES[settings.study], _inner(settings)
    bench = Bench(study.solve, settings.pair, inner, engines, study.numbers)
    outcomes = bench.solve(network)
    answers = [outcome.answer for outcome in outcomes if outcome.answer]
    if not answers:
        raise _no_answer(outcomes)
    reference = next((a for a in answers if a.engine["name"] == settings.solver), answers[0])
    one, other = (outcome.tables for outcome in outcomes)
    gaps = compare(one, other, settings.tolerance_pu) if one and other else {}
    trials: list[Trial] = []
    if settings.find_causes and worst(gaps) > 1:
        trials = Inquiry(bench, network, settings.tolerance_pu, outcomes, gaps).trials()
    causes = [_cause(network, trial, gaps, outcomes) for trial in trials]
    judged = _judged(outcomes, settings.tolerance_pu)
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
            "verdict": _verdict(outcomes, gaps, causes, judged, settings),
            "engines": [outcome.report for outcome in outcomes],
            "largest": _largest(network, gaps, trials),
            "causes": causes,
            "differences": _by_key(network, one, other) if one and other else {},
            **_positions(outcomes),
            **_outages(reference, judged),
        },
        streamed=reference.streamed if getattr(inner, "details", False) else {},
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
    before = worst(gaps)
    after = None if trial.gaps is None else worst(trial.gaps)
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
                table[column] = _farthest(difference_of(column, first, second)).tolist()
        previous = found.get(kind.key)
        if previous is None:
            found[kind.key] = table
            continue
        # Shunts and shunt reactors share a key and have the same columns.
        for column, values in table.items():
            previous[column] = previous[column] + values
    return found


def _positions(outcomes: tuple[Outcome, Outcome]) -> dict[str, list[Position]]:
    """Taps and steps that both engines moved to different places, where controllers act."""
    first, second = (
        {(r.element, r.kind): r for r in outcome.answer.beside.get("controllers", ())}
        if outcome.answer
        else {}
        for outcome in outcomes
    )
    found = []
    for place, record in first.items():
        other = second.get(place)
        for field in ("tap_pos", "step"):
            here, there = getattr(record, field), getattr(other, field, None)
            if here is not None and there is not None and here != there:
                pair = (float(here), float(there))
                found.append(Position(record.element, record.name, record.kind, pair))
    return {"positions": found} if first or second else {}


#: The figures of an outage that are compared.
_FIGURES = ("max_loading_percent", "min_vm_pu", "max_vm_pu", "lost_load_mw")


def _judged(outcomes: tuple[Outcome, Outcome], tolerance_pu: float) -> list[Judged]:
    """Where the engines judge outages differently, or their figures are beyond the tolerance."""
    first, second = (
        outcome.answer.beside.get("contingencies", []) if outcome.answer else []
        for outcome in outcomes
    )
    # A study has the same outages on both engines; none where one of them has no answer.
    pairs = list(zip(first, second, strict=bool(first and second)))
    found = [
        Judged(one.id, one.name, "status", (one.status, other.status))
        for one, other in pairs
        if one.status != other.status
    ]
    shares = shares_of(_figures(first), _figures(second), tolerance_pu) if pairs else {}
    for name, of in shares.items():
        for at in np.flatnonzero(of > 1).tolist():
            one, other = pairs[at]
            values = getattr(one, name), getattr(other, name)
            found.append(Judged(one.id, one.name, name, values, _finite(float(of[at]))))
    return found


def _figures(of: Sequence[contingency.Outcome]) -> dict[str, Array]:
    """Figure → one value per outage, NaN where there is none."""
    return {name: np.array([getattr(one, name) for one in of], dtype=float) for name in _FIGURES}


def _outages(reference: Answer, judged: list[Judged]) -> dict[str, Any]:
    """Of a contingency analysis, its own answer and what the engines do not agree about."""
    own = {name: reference.beside[name] for name in _OF_OUTAGES if name in reference.beside}
    return {**own, "outages": judged} if own else {}


#: What a contingency analysis answers beside its tables.
_OF_OUTAGES = ("base", "contingencies", "summary")


def _untold_columns(outcomes: tuple[Outcome, Outcome]) -> Iterator[str]:
    """Quantities that only one engine tells, and that hence are not compared."""
    for outcome, rival in (outcomes, outcomes[::-1]):
        for kind, columns in (outcome.tables or {}).items() if rival.tables else ():
            other = rival.tables.get(kind, {}) if rival.tables else {}
            missing = [
                column
                for column, values in columns.items()
                if not is_untold(values) and (column not in other or is_untold(other[column]))
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
    outcomes: tuple[Outcome, Outcome],
    gaps: Gaps,
    causes: list[Cause],
    judged: list[Judged],
    settings: CrossCheck,
) -> Verdict:
    one, other = settings.pair
    for outcome in outcomes:
        report = outcome.report
        if report.status in ("unsupported", "no-solution"):
            why = " ".join(problem.message for problem in report.problems[:3])
            if report.status == "unsupported":
                return Verdict("cannot-compare", f"{report.asked} cannot solve this. {why}")
            return Verdict("no-solution", f"{report.asked} has no solution. {why}")
    if worst(gaps) <= 1:
        # As a share of the tolerance, what is rounding.
        if worst(gaps) * settings.tolerance_pu <= ROUNDING_PU:
            text = f"{one} and {other} agree to {ROUNDING_PU:g} pu.{_at_limits(judged)}"
            return Verdict("agree", text)
        text = f"{one} and {other} agree within {settings.tolerance_pu:g} pu.{_at_limits(judged)}"
        return Verdict("agree-within-tolerance", text)
    return Verdict("differ", f"{one} and {other} differ. {_because(causes, settings)}".strip())


def _at_limits(judged: list[Judged]) -> str:
    """Where numbers agree and statuses do not, a limit lies between the numbers."""
    count = sum(one.quantity == "status" for one in judged)
    if not count:
        return ""
    return f" Of {count} outage(s) the status differs: a value is at its limit."


def _because(causes: list[Cause], settings: CrossCheck) -> str:
    if causes:
        return "It is due to: " + "; ".join(cause.cause for cause in causes) + "."
    if not settings.find_causes:
        return ""
    return "No feature and no single element that was tried explains it."
