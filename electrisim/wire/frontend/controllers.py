"""Controllers in the browser's spelling: what it reads of them, and its controller simulation.

The browser draws controllers at transformers and shunt reactors; a power flow says by kind which of
them act, the simulation by what they do. Its continuous tap control has no target of its own: the
middle of the drawn band is one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from electrisim import elements as e
from electrisim.control.record import Controlled
from electrisim.elements import Element
from electrisim.fields import read
from electrisim.network import Network, Rows
from electrisim.problems import shorten
from electrisim.results import Answer, Tables
from electrisim.studies import controller
from electrisim.topology import Topology
from electrisim.wire.frontend.conversions import INVERTER_MODES, flag
from electrisim.wire.frontend.report import Report
from electrisim.wire.frontend.study import Body, Parameters, Request, Spoken
from electrisim.wire.frontend.tables import POWER_FLOW
from electrisim.wire.frontend.writing import write_lists

_SETTINGS = ("frequency", "algorithm", "calculate_voltage_angles", "init")
_FLAGS = ("voltage_control", "tap_control", "discrete_tap_control", "continuous_tap_control")
#: Lists that the simulation always has.
_ALWAYS = ("busbars", "lines", "generators", "loads")
_TYPES: Mapping[str, str] = {
    "tap_control_discrete": "DiscreteTapControl",
    "tap_control_continuous": "ContinuousTapControl",
    "step_control_voltage": "DiscreteShuntControl",
    "step_control_line_flow": "LineFlowShuntControl",
}


# -- what a power flow with controllers tells ------------------------------------------------------


def written(request: Request, found: Answer) -> Body:
    """The lists of the controllers that acted, in the words of the power flow's dialog."""
    records: list[Controlled] = [each for each in found.beside["controllers"] if each.active]
    return {
        "tap_control_results": [
            _tap(request, found.tables, record) for record in records if record.tap_pos is not None
        ],
        "shunt_control_results": [
            _shunt(request, record) for record in records if record.step is not None
        ],
    }


def inverter_mode(network: Network, kind: type[Element], id_: str) -> Body:
    """The control of a battery's inverter, in the word of its dialog."""
    if kind is not e.Storage:
        return {}
    rows = network.rows(kind)
    control = rows.elements[rows.position[id_]].q_control
    words = {name: word for word, name in INVERTER_MODES.items()}
    return {"inv_control_mode": words.get(control, "NONE")}


def _who(request: Request, record: Controlled) -> Body:
    echo = request.echoes[record.element]
    return {"name": record.name, "id": echo.name, "cell_id": echo.id}


def _tap(request: Request, tables: Tables, record: Controlled) -> Body:
    """`at_limit` and `taps_needed` are null where the voltage is inside its band."""
    kind, row = request.network.ids[record.element]
    transformer: Any = request.network.rows(kind).elements[row]
    sides = ("hv", "mv", "lv") if kind is e.ThreeWindingTransformer else ("hv", "lv")
    return {
        "element": "trafo3w" if kind is e.ThreeWindingTransformer else "trafo",
        **_who(request, record),
        "tap_pos_initial": record.tap_pos_initial,
        "tap_pos": record.tap_pos,
        "tap_min": transformer.tap_min,
        "tap_max": transformer.tap_max,
        "tap_step_percent": transformer.tap_step_percent,
        "control_side": transformer.control_side,
        "controlled_vm_pu": record.vm_pu,
        "vm_lower_pu": record.vm_lower_pu,
        "vm_upper_pu": record.vm_upper_pu,
        **{f"{side}_vm_pu": _number(tables[kind][f"vm_{side}_pu"][row]) for side in sides},
        "in_limits": record.on_target,
        "at_limit": None if record.on_target else record.at_limit,
        "taps_needed": None if record.on_target else _taps_needed(transformer, record),
    }


def _number(value: Any) -> float | None:
    return None if value != value else float(value)


def _taps_needed(transformer: Any, record: Controlled) -> int:
    """How many steps the voltage is away from its band."""
    vm, low, high = record.vm_pu or 0.0, record.vm_lower_pu or 0.0, record.vm_upper_pu or 0.0
    away = max(low - vm, vm - high)
    return -int(-away // (abs(transformer.tap_step_percent) / 100))


def _shunt(request: Request, record: Controlled) -> Body:
    kind, row = request.network.ids[record.element]
    shunt: Any = request.network.rows(kind).elements[row]
    followed = record.line_p_column is not None
    return {
        "element": "shunt",
        "control_type": "line_flow" if followed else "discrete_voltage",
        **_who(request, record),
        "step_initial": record.step_initial,
        "step": record.step,
        "max_step": shunt.max_step,
        "vm_set_pu": record.vm_set_pu,
        "vm_pu": record.vm_pu,
        "tol": None if followed else shunt.vm_tol_pu,
        "increment": None if followed else shunt.step_increment,
        "line_p_mw_used": record.line_p_mw,
        "line_p_column": record.line_p_column,
    }


# -- the controller simulation ---------------------------------------------------------------------


def _read(parameters: Parameters, report: Report) -> controller.Controller | None:
    asked = {name: flag(parameters.get(name)) is True for name in _FLAGS}
    if asked["tap_control"]:
        report.controlled |= {"Transformer", "Three Winding Transformer"}
        report.continuous = asked["continuous_tap_control"] and not asked["discrete_tap_control"]
    if asked["voltage_control"]:
        report.controlled |= {"Shunt Reactor"}
    values: Body = {}
    for word, value in parameters.items():
        if word in _SETTINGS:
            values[word] = value.strip().lower() if isinstance(value, str) else value
        elif word not in (*_FLAGS, "typ", "user_email"):
            report.note("", "", f"The parameter “{shorten(word)}” is unknown and was ignored")
    settings, problems = read(controller.Controller, values, "The controller simulation", "setting")
    report.problems += problems
    return settings


def _write(request: Request, found: Answer) -> tuple[Body, list[str]]:
    def echo(kind: type[Element], id_: str) -> Body:
        return request.echoes[id_]._asdict()

    network = found.network or request.network
    lists, incomplete = write_lists(network, found.tables, POWER_FLOW["pandapower"], echo)
    status = [*_machines(request, network), *_drawn(request.network, found)]
    flows = found.beside["control"]["power_flows"]
    common = {"method": "electrisim.control", "max_iterations": flows}
    return {
        "controller_converged": found.beside["control"]["converged"],
        "controller_status": [
            {"controller_id": number, **each, **common} for number, each in enumerate(status)
        ],
        **{key: [] for key in _ALWAYS},
        **lists,
        **written(request, found),
    }, incomplete


def _machines(request: Request, network: Network) -> Iterator[Body]:
    """Generators, which hold their voltages in every power flow."""
    rows = network.rows(e.Generator)
    if not len(rows) or not flag(request.parameters.get("voltage_control")):
        return
    alive = Topology(network).alive(e.Generator)
    for row, machine in enumerate(rows.elements):
        yield {
            "controller_type": "VoltageControl",
            "active": bool(alive[row]),
            "description": f"{rows.label(row)} holds {machine.vm_pu:g} pu",
        }


def _drawn(network: Network, found: Answer) -> Iterator[Body]:
    for record in found.beside["controllers"]:
        kind, row = network.ids[record.element]
        yield {
            "controller_type": _TYPES[record.kind],
            "active": record.active,
            "description": _told(network.rows(kind), row, record),
        }


def _told(rows: Rows, row: int, record: Controlled) -> str:
    """“Transformer “T”: tap position 0 → -2, 1.002 pu”."""
    label = rows.label(row)
    if not record.active:
        return f"{label}: out of service or without supply"
    if record.step is not None:
        moved = f"step {record.step_initial:g} → {record.step:g}"
    else:
        moved = f"tap position {record.tap_pos_initial:g} → {record.tap_pos:g}"
    reached = "" if record.vm_pu is None else f", {record.vm_pu:.5g} pu"
    limit = ", at its limit" if record.at_limit else ""
    return f"{label}: {moved}{reached}{limit}"


ON_PANDAPOWER = Spoken(_read, controller.run, _write)
