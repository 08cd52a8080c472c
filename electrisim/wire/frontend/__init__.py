"""The browser's spelling: the flat bodies that the Electrisim frontend posts, and what it reads.

A body is an object of entries; one, whose `typ` names a study, carries the study's parameters, the
others are elements. Values are mostly text. What a study needs beside the tables of `tables.py` is
one row of `STUDIES`: how its parameters are read and how its answer is written.

    tables       which word means what, per kind; which lists an answer has
    conversions  what is no renaming
    reading      entries to a network        report  what was odd in them
    writing      an answer to lists

A study that fails for electrical or user reasons answers 200 with `error`, `message`, `exception`
and `diagnostic`: the client shows nothing for any other status.

The tolerance of the OpenDSS dialog is OpenDSS' own: the change of a voltage, in pu, below which
the iteration stops. Ours is the mismatch of power at the buses, and to meet it the engine iterates
until voltages change by no more than 1e-10 pu. So the dialog's number is a bound that is always
kept; one below 1e-10 is answered with a warning.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import msgspec

from electrisim import elements as e
from electrisim.elements import Element
from electrisim.engine import Engines
from electrisim.fields import ABSENT, present, read
from electrisim.network import Network
from electrisim.problems import NotConvergedError, Problem, ProblemError, shorten
from electrisim.results import Answer
from electrisim.settings import Settings
from electrisim.studies import powerflow
from electrisim.topology import Topology
from electrisim.wire.frontend.conversions import flag, number
from electrisim.wire.frontend.reading import Echo, read_elements
from electrisim.wire.frontend.report import Report
from electrisim.wire.frontend.tables import POWER_FLOW
from electrisim.wire.frontend.writing import write_lists

MEDIA_TYPE = "application/json"
#: From this status on an error is the server's or the traffic's, and no answer to the study.
TOO_BUSY = 429

Body = dict[str, Any]
Parameters = Mapping[str, Any]


class Request(NamedTuple):
    """A body that was read: what is asked of which network, and how to name its elements."""

    settings: Any
    network: Network
    parameters: Parameters
    echoes: Mapping[str, Echo]


class Study(NamedTuple):
    """A study of the browser's.

    word   what its parameter entry's `typ` contains
    title  how a sentence calls it
    read   its settings from the parameter entry; None where this server does not have it
    run    the study
    write  its answer, and what could not be listed in it
    """

    word: str
    title: str
    read: Callable[[Parameters, Report], Settings | None] | None = None
    run: Callable[[Network, Any, Engines], Answer] = powerflow.run
    write: Callable[[Request, Answer], tuple[Body, list[str]]] | None = None


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
        study, parameters = _study(plain)
        request = _read(plain, study, parameters, report)
        return msgspec.json.encode(_answer(study, request, engines, report))
    except ProblemError as error:
        if error.status >= TOO_BUSY:
            raise
        return msgspec.json.encode(_failure(error, report))


def _study(plain: Body) -> tuple[Study, Parameters]:
    found = [(study, entry) for entry in plain.values() if (study := _study_of(entry))]
    if len(found) > 1:
        asked = ", ".join(shorten(entry["typ"]) for _, entry in found)
        raise ProblemError([Problem(kind="several-studies", message=f"One study each: {asked}.")])
    study, parameters = found[0]
    if study.word == "PowerFlowOpenDss" and present(parameters.get("analysisType")) is not ABSENT:
        study = HARMONICS
    return study, parameters


def _read(plain: Body, study: Study, parameters: Parameters, report: Report) -> Request:
    if study.read is None:
        raise ProblemError(
            [
                Problem(
                    kind="unknown-study",
                    message=f"{study.title} is not available on this server yet.",
                )
            ],
            kind="unsupported",
        )
    settings = study.read(parameters, report)
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


def _answer(study: Study, request: Request, engines: Engines, report: Report) -> Body:
    _demand_supply(request.network)
    found = study.run(request.network, request.settings, engines)
    assert study.write is not None
    body, incomplete = study.write(request, found)
    unlisted = f"Without all results, and so not listed: {', '.join(incomplete)}."
    warnings = [*report.warnings, *found.warnings, *([unlisted] if incomplete else [])]
    return {**body, "warnings": warnings}


def _demand_supply(network: Network) -> None:
    """An answer without a single bus would look like an answer."""
    if Topology(network).bus.any():
        return
    message = "No bus is supplied: connect an External Grid that is in service."
    raise ProblemError(
        [Problem(kind="no-supply", message=message)],
        extra={"isolated_buses": network.rows(e.Bus).names},
    )


def _failure(error: ProblemError, report: Report) -> Body:
    """The body in which the client shows an error."""
    messages = [problem.message for problem in error.problems]
    diagnostic: Body = {"general_error": error.sentence, "diagnostic_output": "\n".join(messages)}
    if "isolated_buses" in error.extra:
        diagnostic["isolated_buses"] = error.extra["isolated_buses"]
    parameters = [
        {
            "element_type": report.kinds.get(problem.element or "", "Study"),
            "name": problem.name or problem.element or "",
            "param": problem.field or "",
            "message": problem.message,
        }
        for problem in error.problems
        if problem.element or problem.field
    ]
    if parameters:
        diagnostic["invalid_parameters"] = parameters
    if isinstance(error, NotConvergedError):
        diagnostic["convergence"] = error.extra.get("diagnosis") or messages
    return {
        "error": error.sentence,
        "message": error.sentence,
        "exception": error.kind,
        "diagnostic": diagnostic,
        "warnings": list(report.warnings),
    }


# -- power flow ------------------------------------------------------------------------------------

#: Parameters that the browser itself acts upon.
_OF_THE_BROWSER = frozenset(
    {"typ", "user_email", "exportPandapowerResults", "exportOpenDSSResults", "exportPdfReport"}
)
#: Parameter → the kinds whose controllers it asks for; run_control says only that one of them does.
_CONTROL: Mapping[str, str] = {
    "run_control_trafo2w": "Transformer",
    "run_control_trafo3w": "Three Winding Transformer",
    "run_control_shunt": "Shunt Reactor",
}


def _settings(
    parameters: Parameters, report: Report, words: Mapping[str, str], known: tuple[str, ...] = ()
) -> Body:
    """The values of the parameters that are settings, by the setting's name, in lower case."""
    values: Body = {}
    for word, value in parameters.items():
        if word in words:
            values[words[word]] = value.strip().lower() if isinstance(value, str) else value
        elif word not in _OF_THE_BROWSER and word not in known:
            report.note("", "", f"The parameter “{shorten(word)}” is unknown and was ignored")
    return values


def _power_flow(values: Body, report: Report) -> powerflow.PowerFlow | None:
    settings, problems = read(powerflow.PowerFlow, values, "The power flow", "setting")
    report.problems += problems
    return settings


def _read_pandapower(parameters: Parameters, report: Report) -> powerflow.PowerFlow | None:
    words = {
        "frequency": "frequency",
        "algorithm": "algorithm",
        "calculate_voltage_angles": "calculate_voltage_angles",
        "initialization": "init",
        "exportPython": "export_script",
    }
    report.controlled = _controlled(parameters)
    known = ("run_control", *_CONTROL)
    return _power_flow(_settings(parameters, report, words, known), report)


def _controlled(parameters: Parameters) -> frozenset[str]:
    if parameters.keys().isdisjoint(_CONTROL) and flag(parameters.get("run_control")):
        return frozenset(_CONTROL.values())
    return frozenset(kind for word, kind in _CONTROL.items() if flag(parameters.get(word)))


def _read_opendss(parameters: Parameters, report: Report) -> powerflow.PowerFlow | None:
    words = {
        "frequency": "frequency",
        "algorithm": "algorithm",
        "mode": "solution_mode",
        "loadmodel": "load_model",
        "controlmode": "control_mode",
        "maxIterations": "max_iteration",
        "exportCommands": "export_script",
    }
    _bound_tolerance(parameters.get("tolerance"), report)
    known = ("tolerance", "analysisType", "harmonics", "neglectLoadY")
    values = _settings(parameters, report, words, known)
    return _power_flow({**values, "solver": "opendss"}, report)


#: Change of voltage at which the OpenDSS engine stops [pu].
_FINEST = 1e-10


def _bound_tolerance(given: Any, report: Report) -> None:
    """The engine is finer than what the dialog asks for; what is no tolerance is refused."""
    value = present(given)
    tolerance = _FINEST if value is ABSENT else number(value)
    if tolerance is None or tolerance <= 0:
        message = f"The power flow: tolerance must be greater than 0 [pu], not “{shorten(value)}”."
        report.problems.append(Problem(kind="out-of-bounds", message=message, field="tolerance"))
    elif tolerance < _FINEST:
        report.note("", "", f"The tolerance {tolerance:g} pu was not used: {_FINEST:g} pu was")


def _write_pandapower(request: Request, found: Answer) -> tuple[Body, list[str]]:
    def echo(kind: type[Element], id_: str) -> Body:
        return request.echoes[id_]._asdict()

    body, incomplete = write_lists(request.network, found.tables, POWER_FLOW["pandapower"], echo)
    if _controlled(request.parameters):
        body.update(tap_control_results=[], shunt_control_results=[])
    if "script" in found.beside:
        body["pandapower_python"] = found.beside["script"]
    return body, incomplete


def _write_opendss(request: Request, found: Answer) -> tuple[Body, list[str]]:
    def echo(kind: type[Element], id_: str) -> Body:
        """The client finds a row by its mxCell number only, which a bus has in its name."""
        given = request.echoes[id_]
        return {"id": given.name if kind is e.Bus else given.id, "name": given.name}

    body, incomplete = write_lists(request.network, found.tables, POWER_FLOW["opendss"], echo)
    if "script" in found.beside:
        body["opendss_commands"] = found.beside["script"]
    return body, incomplete


HARMONICS = Study("PowerFlowOpenDss", "The harmonic analysis")

#: The studies that the browser asks for. A word that contains another one comes before it.
STUDIES: tuple[Study, ...] = (
    Study("FuseCharacteristicPreview", "The fuse preview"),
    Study("OptimalPowerFlowPandaPower", "The optimal power flow"),
    Study(
        "PowerFlowPandaPower", "The power flow", _read_pandapower, powerflow.run, _write_pandapower
    ),
    Study("RPCAnalysis", "The reactive power capability study"),
    Study("ShortCircuitPandaPower", "The short circuit study"),
    Study("ShortCircuitOpenDss", "The short circuit study on OpenDSS"),
    Study("PowerFlowOpenDss", "The power flow", _read_opendss, powerflow.run, _write_opendss),
    Study("ContingencyAnalysis", "The contingency analysis"),
    Study("ProtectionCoordination", "The protection coordination"),
    Study("EconomicAnalysis", "The economic analysis"),
    Study("ControllerSimulation", "The controller simulation"),
    Study("TimeSeriesSimulation", "The time series simulation"),
    Study("BessSizing", "The battery sizing"),
)
