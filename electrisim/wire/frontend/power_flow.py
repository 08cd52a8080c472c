"""Power flow in the browser's spelling: its two dialogs' parameters, and the lists that it reads.

The tolerance of the OpenDSS dialog is OpenDSS' own: the change of a voltage, in pu, below which the
iteration stops. Ours is the mismatch of power at the buses, and to meet it the engine iterates
until voltages change by no more than 1e-10 pu. So the dialog's number is a bound that is always
kept; one below 1e-10 is answered with a warning.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from electrisim import elements as e
from electrisim.elements import Element
from electrisim.engine import Engines
from electrisim.fields import ABSENT, present, read
from electrisim.network import Network
from electrisim.problems import Problem, shorten
from electrisim.results import Answer
from electrisim.studies import powerflow
from electrisim.wire.frontend import controllers
from electrisim.wire.frontend.conversions import flag, number
from electrisim.wire.frontend.one_number import in_one
from electrisim.wire.frontend.report import Report
from electrisim.wire.frontend.study import Body, Parameters, Request, Spoken
from electrisim.wire.frontend.tables import POWER_FLOW
from electrisim.wire.frontend.writing import write_lists

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
    values = _settings(parameters, report, words, known)
    return _power_flow({**values, "run_control": bool(report.controlled)}, report)


def _controlled(parameters: Parameters) -> frozenset[str]:
    if parameters.keys().isdisjoint(_CONTROL) and flag(parameters.get("run_control")):
        return frozenset(_CONTROL.values())
    return frozenset(kind for word, kind in _CONTROL.items() if flag(parameters.get(word)))


def _read_opendss(parameters: Parameters, report: Report) -> powerflow.PowerFlow | None:
    # Its dialog does not ask for control: what is drawn at a battery acts.
    report.controlled = frozenset({"Storage"})
    values = opendss_settings(parameters, report)
    return _power_flow({**values, "run_control": True}, report)


def opendss_settings(parameters: Parameters, report: Report, known: tuple[str, ...] = ()) -> Body:
    """The values of the OpenDSS dialog, by the settings' names; `known` are a study's own."""
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
    values = _settings(parameters, report, words, ("tolerance", *known))
    return {**values, "solver": "opendss"}


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

    network = found.network or request.network
    body, incomplete = write_lists(network, found.tables, POWER_FLOW["pandapower"], echo)
    if _controlled(request.parameters):
        body |= controllers.written(request, found)
    if "script" in found.beside:
        body["pandapower_python"] = found.beside["script"]
    return body, incomplete


def _write_opendss(request: Request, found: Answer) -> tuple[Body, list[str]]:
    def echo(kind: type[Element], id_: str) -> Body:
        identity = opendss_echo(request, kind, id_)
        return {**identity, **controllers.inverter_mode(request.network, kind, id_)}

    network = found.network or request.network
    tables = in_one(network, found.tables) if network.is_phased else found.tables
    body, incomplete = write_lists(network, tables, POWER_FLOW["opendss"], echo)
    if "script" in found.beside:
        body["opendss_commands"] = found.beside["script"]
    return body, incomplete


def _run_opendss(network: Network, settings: powerflow.PowerFlow, engines: Engines) -> Answer:
    """What has elements of fewer phases than three is solved phase by phase."""
    if network.is_phased:
        settings = msgspec.structs.replace(settings, mode="unbalanced")
    return powerflow.run(network, settings, engines)


def opendss_echo(request: Request, kind: type[Element], id_: str) -> Body:
    """The client finds a row by its mxCell number only, which a bus has in its name."""
    given = request.echoes[id_]
    return {"id": given.name if kind is e.Bus else given.id, "name": given.name}


ON_PANDAPOWER = Spoken(_read_pandapower, powerflow.run, _write_pandapower)
ON_OPENDSS = Spoken(_read_opendss, _run_opendss, _write_opendss)
