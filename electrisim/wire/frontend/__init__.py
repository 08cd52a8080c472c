"""The browser's spelling: the flat bodies that the Electrisim frontend posts, and what it reads.

A body is an object of entries; one, whose `typ` names a study, carries the study's parameters, the
others are elements. Values are mostly text. A study is a row of `STUDIES` here, and what it is made
of, a `Spoken`, in a module of its own.

    tables       which word means what, per kind; which lists an answer has
    conversions  what is no renaming
    reading      entries to a network        report  what was odd in them
    writing      an answer to lists
    study        what a study is made of     power_flow, …  each of them

A study that fails for electrical or user reasons answers 200 with `error`, `message`, `exception`
and `diagnostic`: the client shows nothing for any other status.
"""

from __future__ import annotations

from typing import Any

import msgspec

from electrisim.engine import Engines
from electrisim.network import Network
from electrisim.problems import NotConvergedError, Problem, ProblemError, shorten
from electrisim.wire.frontend import (
    contingency,
    controllers,
    diagnosis,
    harmonics,
    opf,
    power_flow,
    short_circuit,
    timeseries,
)
from electrisim.wire.frontend.reading import read_elements
from electrisim.wire.frontend.report import Report
from electrisim.wire.frontend.study import Body, Parameters, Request, Spoken, Study

MEDIA_TYPE = "application/json"
#: From this status on an error is the server's or the traffic's, and no answer to the study.
TOO_BUSY = 429

# -- recognising -----------------------------------------------------------------------------------

_TOP_LEVEL = msgspec.json.Decoder(dict[str, msgspec.Raw])


def recognise(body: bytes) -> Body | None:
    """The plain values of a body in the browser's spelling; None for every other body."""
    try:
        keys = _TOP_LEVEL.decode(body)
        if "simulationType" in keys or "elements" in keys:
            return None
        plain = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return plain if any(map(_study_of, plain.values())) else None


def _study_of(entry: Any) -> Study | None:
    typ = entry.get("typ") if isinstance(entry, dict) else None
    if not isinstance(typ, str):
        return None
    return next((study for study in STUDIES if study.word in typ), None)


# -- answering -------------------------------------------------------------------------------------


def answer(plain: Body, engines: Engines) -> bytes:
    """The answer to a recognised body, or the error body that the client shows.

    Raises ProblemError for what is no failure of the study (overload, deadline).
    """
    report = Report()
    try:
        spoken, parameters = _spoken(plain)
        request = _read(plain, spoken, parameters, report)
        return msgspec.json.encode(_answer(spoken, request, engines, report))
    except ProblemError as error:
        if error.status >= TOO_BUSY:
            raise
        return msgspec.json.encode(_failure(error, report))


def _spoken(plain: Body) -> tuple[Spoken, Parameters]:
    found = [(study, entry) for entry in plain.values() if (study := _study_of(entry))]
    if len(found) > 1:
        asked = ", ".join(shorten(entry["typ"]) for _, entry in found)
        raise ProblemError([Problem(kind="several-studies", message=f"One study each: {asked}.")])
    study, parameters = found[0]
    analysis = str(parameters.get("analysisType")).lower()
    if study.word == HARMONICS.word and analysis == "harmonic":
        study = HARMONICS
    if study.spoken is None:
        message = f"{study.title} is not available on this server yet."
        raise ProblemError([Problem(kind="unsupported", message=message)], kind="unsupported")
    return study.spoken, parameters


def _read(plain: Body, spoken: Spoken, parameters: Parameters, report: Report) -> Request:
    settings = spoken.read(parameters, report)
    entries = {key: entry for key, entry in plain.items() if entry is not parameters}
    elements, echoes = read_elements(entries, report)
    network = None
    try:
        network = Network(elements, settings.frequency if settings else 50.0)
    except ProblemError as error:
        # What could not be read is missing here; what refers to it is not to blame.
        unread = bool(report.problems)
        report.problems += [
            problem for problem in error.problems if not (unread and _is_missing(problem))
        ]
    if report.problems or network is None or settings is None:
        raise ProblemError(report.problems)
    return Request(settings, network, parameters, echoes)


def _is_missing(problem: Problem) -> bool:
    return problem.kind == "no-bus" or problem.kind.startswith("unknown-")


def _answer(spoken: Spoken, request: Request, engines: Engines, report: Report) -> Body:
    found = spoken.run(request.network, request.settings, engines)
    body, incomplete = spoken.write(request, found)
    unlisted = f"Without all results, and so not listed: {', '.join(incomplete)}."
    warnings = [*report.warnings, *found.warnings, *([unlisted] if incomplete else [])]
    return {**body, "warnings": warnings}


def _failure(error: ProblemError, report: Report) -> Body:
    """The body in which the client shows an error."""
    messages = [problem.message for problem in error.problems]
    diagnostic: Body = {"general_error": error.sentence, "diagnostic_output": "\n".join(messages)}
    if any(problem.kind == "no-source" for problem in error.problems):
        diagnostic["isolated_buses"] = [id_ for id_, kind in report.kinds.items() if kind == "Bus"]
    parameters = [
        {
            "element_type": report.kinds.get(problem.element or "", "Study"),
            "name": problem.name or problem.element or "",
            "param": report.word(problem),
            "message": problem.message,
        }
        for problem in error.problems
        if problem.element or problem.field
    ]
    if isinstance(error, NotConvergedError):
        causes = error.extra["diagnosis"]
        diagnostic |= {"convergence": messages, **diagnosis.shown(causes)}
        parameters += diagnosis.places(causes, report)
    if parameters:
        diagnostic["invalid_parameters"] = parameters
    return {
        "error": error.sentence,
        "message": error.sentence,
        "exception": error.kind,
        "diagnostic": diagnostic,
        "warnings": list(report.warnings),
    }


# -- the studies -----------------------------------------------------------------------------------

HARMONICS = Study("PowerFlowOpenDss", "The harmonic analysis", harmonics.ON_OPENDSS)

#: The studies that the browser asks for. A word that contains another one comes before it.
STUDIES: tuple[Study, ...] = (
    Study("FuseCharacteristicPreview", "The fuse preview"),
    Study("OptimalPowerFlowPandaPower", "The optimal power flow", opf.ON_PANDAPOWER),
    Study("PowerFlowPandaPower", "The power flow", power_flow.ON_PANDAPOWER),
    Study("RPCAnalysis", "The reactive power capability study"),
    Study("ShortCircuitPandaPower", "The short circuit study", short_circuit.ON_PANDAPOWER),
    Study("ShortCircuitOpenDss", "The short circuit study", short_circuit.ON_OPENDSS),
    Study("PowerFlowOpenDss", "The power flow", power_flow.ON_OPENDSS),
    Study("ContingencyAnalysis", "The contingency analysis", contingency.ON_PANDAPOWER),
    Study("ProtectionCoordination", "The protection coordination"),
    Study("EconomicAnalysis", "The economic analysis"),
    Study("ControllerSimulation", "The controller simulation", controllers.ON_PANDAPOWER),
    Study("TimeSeriesSimulation", "The time series simulation", timeseries.ON_PANDAPOWER),
    Study("BessSizing", "The battery sizing"),
)
