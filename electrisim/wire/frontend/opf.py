"""Optimal power flow in the browser's spelling.

Its costs stand in the study's parameters, by cell id. Limits that its dialogs leave at 0 and 0, a
loading limit of 0, and `controllable` "false" on an external grid are defaults and say nothing.
"""

from __future__ import annotations

from collections.abc import Mapping

from electrisim import elements as e
from electrisim.dispatch import COSTS
from electrisim.elements import Element
from electrisim.fields import ABSENT, present, read
from electrisim.network import Network
from electrisim.problems import Problem, shorten
from electrisim.results import Answer
from electrisim.studies import opf
from electrisim.wire.frontend.conversions import number
from electrisim.wire.frontend.report import Report
from electrisim.wire.frontend.study import Body, Parameters, Request, Spoken
from electrisim.wire.frontend.tables import OPTIMAL_POWER_FLOW
from electrisim.wire.frontend.writing import write_lists

_WORDS = ("opf_type", "frequency", "calculate_voltage_angles", "trafo_model", "trafo_loading")
#: What chooses among pandapower's solvers and how they start; ours is another and needs none.
_OF_ITS_SOLVERS = frozenset(
    ("typ", "user_email", "ac_algorithm", "dc_algorithm", "init", "delta", "numba")
    + ("suppress_warnings", "ac_line_model", "cost_function", "cost_currency")
)
_PRICED = ("generator", "ext_grid", "storage", "sgen", "load", "dcline")
_COSTS: Mapping[str, str] = {
    f"{kind}_cost_cp{degree}": COSTS[degree] for kind in _PRICED for degree in (1, 2)
}
#: Fields beyond power flow that the study reads.
_LIMITS = frozenset(
    ("controllable", "min_p_mw", "max_p_mw", "min_q_mvar", "max_q_mvar", "max_loading_percent")
    + ("min_vm_pu", "max_vm_pu")
)


def _read(parameters: Parameters, report: Report) -> opf.OptimalPowerFlow | None:
    report.beyond = _LIMITS
    values: Body = {}
    for word, value in parameters.items():
        if word in _WORDS:
            values[word] = value.strip().lower() if isinstance(value, str) else value
        elif word not in _COSTS and word not in _OF_ITS_SOLVERS:
            report.note("", "", f"The parameter “{shorten(word)}” is unknown and was ignored")
    if values.get("opf_type") == "dc":
        # The linear equations consist of angles.
        values.pop("calculate_voltage_angles", None)
    if str(parameters.get("cost_function", "none")).lower() != "none":
        _read_costs(parameters, report)
    settings, problems = read(opf.OptimalPowerFlow, values, "The optimal power flow", "setting")
    report.problems += problems
    return settings


def _read_costs(parameters: Parameters, report: Report) -> None:
    linear = str(parameters.get("cost_function")).lower() == "piecewise_linear"
    for word, field in _COSTS.items():
        costs = parameters.get(word)
        for cell, value in costs.items() if isinstance(costs, dict) else ():
            cost = number(value)
            if present(value) is ABSENT or (cost == 0 and field == COSTS[2]):
                continue
            if cost is None or (linear and field == COSTS[2]):
                why = "is not a number" if cost is None else "is quadratic, the costs are linear"
                message = f"The cost “{shorten(value)}” in {word} {why}."
                report.problems.append(Problem(kind="not-a-number", message=message, field=word))
                continue
            report.given.setdefault(str(cell), {})[field] = cost


def _write(request: Request, found: Answer) -> tuple[Body, list[str]]:
    network = request.network

    def echo(kind: type[Element], id_: str) -> Body:
        return {**request.echoes[id_]._asdict(), **_costs_of(network, found, kind, id_)}

    lists, incomplete = write_lists(network, found.tables, OPTIMAL_POWER_FLOW, echo)
    return {
        "opf_converged": True,
        "total_cost": found.beside["objective"],
        "cost_currency": request.parameters.get("cost_currency", "EUR"),
        **lists,
    }, incomplete


def _costs_of(network: Network, found: Answer, kind: type[Element], id_: str) -> Body:
    """What an element costs and what one more MW of it would; null where it has no cost."""
    if kind not in _COSTLY:
        return {}
    row = network.rows(kind).position[id_]
    element = network.rows(kind).elements[row]
    constant, first, second = (getattr(element, field) for field in COSTS[:3])
    p = float(found.tables[kind]["p_mw"][row])
    if constant is first is second is None or p != p:
        return {"gen_cost": None, "marginal_cost": None}
    c0, c1, c2 = (value or 0.0 for value in (constant, first, second))
    return {"gen_cost": c0 + c1 * p + c2 * p**2, "marginal_cost": c1 + 2 * c2 * p}


_COSTLY = (e.Generator, e.ExternalGrid, e.Storage, e.StaticGenerator, e.Load)

ON_PANDAPOWER = Spoken(_read, opf.run, _write)
