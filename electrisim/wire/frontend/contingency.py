"""Contingency analysis in the browser's spelling.

Its lists tell the worst that happens to each element over all outages. What an outage leaves
without supply is a violation, as an overload is; the client shows any word as its type.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import msgspec
import numpy as np

from electrisim import elements as e
from electrisim.elements import Element
from electrisim.engine import Engines
from electrisim.fields import read
from electrisim.network import Array, Network
from electrisim.problems import shorten
from electrisim.results import Answer
from electrisim.spool import Spool
from electrisim.studies import contingency
from electrisim.studies.contingency import Outcome, Violation
from electrisim.wire.frontend.conversions import flag
from electrisim.wire.frontend.report import Report
from electrisim.wire.frontend.study import Body, Parameters, Request, Spoken

_WORDS = ("element_type", "min_vm_pu", "max_vm_pu", "max_loading_percent")
#: Switch of the dialog → what it leaves unlimited where it is off.
_CHECKS: Mapping[str, Mapping[str, float]] = {
    "voltage_limits": {"min_vm_pu": 0.0, "max_vm_pu": 1e9},
    "thermal_limits": {"max_loading_percent": 1e9},
}
_OF_THE_BROWSER = ("typ", "user_email")
#: Rows of single outages are listed as long as there are no more of them than this.
MOST_ROWS = 200_000


class _List(NamedTuple):
    """One of the client's lists: its keys over all outages and of one, and what a row tells.

    fields  those in which the client needs a number, then those that may be null
    """

    key: str
    key_of_one: str
    id: str
    kinds: tuple[type[Element], ...]
    fields: tuple[str, ...]
    optional: tuple[str, ...] = ()


_LISTS = (
    _List("bus", "bus_results", "bus_id", (e.Bus,), ("vm_pu", "va_degree", "p_mw", "q_mvar")),
    _List(
        "line", "line_results", "line_id", (e.Line,),
        ("loading_percent", "p_from_mw", "q_from_mvar"), ("p_to_mw", "q_to_mvar"),
    ),
    _List(
        "transformer", "trafo_results", "trafo_id", (e.Transformer, e.ThreeWindingTransformer),
        ("loading_percent", "p_hv_mw", "q_hv_mvar"),
        ("p_mv_mw", "q_mv_mvar", "p_lv_mw", "q_lv_mvar"),
    ),
)  # fmt: skip


def _read(parameters: Parameters, report: Report) -> contingency.Contingency | None:
    report.beyond = frozenset({"max_loading_percent"})
    values: Body = {"details": True}
    for word, value in parameters.items():
        if word in _WORDS:
            values[word] = value.strip().lower() if isinstance(value, str) else value
        elif word not in _CHECKS and word not in _OF_THE_BROWSER:
            report.note("", "", f"The parameter “{shorten(word)}” is unknown and was ignored")
    for word, unlimited in _CHECKS.items():
        if flag(parameters.get(word)) is False:
            values |= unlimited
            report.beyond -= unlimited.keys()
    settings, problems = read(
        contingency.Contingency, values, "The contingency analysis", "setting"
    )
    report.problems += problems
    return settings


def _run(network: Network, settings: contingency.Contingency, engines: Engines) -> Answer:
    found = contingency.run(network, settings, engines)
    if _lists_each(network, found):
        return found
    warning = f"Single outages have no tables here: together more than {MOST_ROWS} rows."
    return msgspec.structs.replace(found, warnings=(*found.warnings, warning))


def _lists_each(network: Network, found: Answer) -> bool:
    """Whether there are few enough rows to list every outage's."""
    rows = sum(len(network.rows(kind)) for each in _LISTS for kind in each.kinds)
    return rows * len(found.beside["contingencies"]) <= MOST_ROWS


def _write(request: Request, found: Answer) -> tuple[Body, list[str]]:
    network = request.network
    outcomes: list[Outcome] = found.beside["contingencies"]
    spool: Spool = found.streamed["details"]
    worst = _Worst(request)
    results: list[Body] = []
    listed = _lists_each(network, found)
    for outcome, (_, columns) in zip(outcomes, spool.cases(), strict=False):
        worst.add(columns)
        tables = _tables(request, columns) if listed else {each.key_of_one: [] for each in _LISTS}
        results.append({**_result(network, outcome), **tables})
    lists, missing = worst.lists()
    violations = list(_violations(network, found.beside["base"].violations, " without any outage"))
    violations += [each for result in results for each in result["violations"]]
    critical = [
        {
            "name": result["name"],
            "description": result["description"],
            "violations": len(result["violations"]),
        }
        for result in results
        if result["violations"]
    ]
    summary = {
        "contingencies_analyzed": len(outcomes),
        "violations": violations,
        "critical_contingencies": critical,
        "total_violations": len(violations),
        "total_critical": len(critical),
    }
    return {**lists, "summary": summary, "contingency_results": results}, missing


def _result(network: Network, outcome: Outcome) -> Body:
    """What the client shows of one outage beside its tables."""
    label = outcome.name or outcome.id
    name = f"{outcome.typ.replace(' ', '_')}_{label}"
    body: Body = {
        "name": name,
        "description": f"Outage of {outcome.typ.lower()} {label}",
        "converged": outcome.status != "diverged",
    }
    violations = list(_violations(network, outcome.violations))
    if outcome.status == "diverged":
        body["error"] = "The power flow has no solution."
        violations.append(
            {
                "type": "convergence",
                "element": name,
                "description": f"Outage of {label}: the power flow has no solution",
                "severity": "high",
            }
        )
    return {**body, "violations": violations}


def _violations(
    network: Network, violations: Iterable[Violation], when: str = ""
) -> Iterator[Body]:
    for violation in violations:
        kind, row = network.ids[violation.element]
        label = network.rows(kind).names[row] or violation.element
        type_, text, severe = _told(violation)
        yield {
            "type": type_,
            "element": f"{violation.typ.replace(' ', '_')}_{label}",
            "description": f"{text}{when}",
            "severity": "high" if severe else "medium",
        }


def _told(violation: Violation) -> tuple[str, str, bool]:
    """(type, description, whether it is severe) of a violation."""
    value, limit = violation.value, violation.limit
    if value is None:
        return "supply", "No supply", True
    if violation.quantity == "lost_load_mw":
        return "supply", f"Lost load: {value:.3g} MW", True
    if violation.quantity == "loading_percent":
        return "thermal", f"Overload: {value:.1f} % (limit {limit:g} %)", value > 1.2 * limit
    severe = abs(value - limit) > 0.05
    return "voltage", f"Voltage violation: {value:.3f} p.u. (limit {limit:g})", severe


# -- tables ----------------------------------------------------------------------------------------

Columns = Mapping[type[Element], Mapping[str, Array]]


def _row(request: Request, each: _List, kind: type[Element], row: int, numbers: Body) -> Body:
    rows = request.network.rows(kind)
    echo = request.echoes[rows.ids[row]]
    return {each.id: echo.id, "name": rows.names[row] or echo.name, **numbers}


def _numbers(columns: Mapping[str, Array], each: _List) -> Mapping[str, list[float]]:
    names = [name for name in (*each.fields, *each.optional) if name in columns]
    return {name: columns[name].tolist() for name in names}


def _tables(request: Request, columns: Columns) -> Body:
    """The client's lists of one outage; an element without numbers has no row."""
    found: Body = {}
    for each in _LISTS:
        found[each.key_of_one] = rows = []
        for kind in each.kinds:
            if kind not in columns:
                continue
            known = np.logical_and.reduce([~np.isnan(columns[kind][name]) for name in each.fields])
            numbers = _numbers(columns[kind], each)
            rows += [
                _row(request, each, kind, row, {n: values[row] for n, values in numbers.items()})
                for row in np.flatnonzero(known).tolist()
            ]
    return found


class _Worst:
    """Each element's row in the outage that strains it most.

    That is where its loading is largest, or its voltage furthest from 1 pu.
    """

    def __init__(self, request: Request) -> None:
        self.request = request
        self._strain: dict[type[Element], Array] = {}
        self._columns: dict[type[Element], dict[str, Array]] = {}

    def add(self, columns: Columns) -> None:
        for each in _LISTS:
            for kind in each.kinds:
                if kind not in columns:
                    continue
                first = columns[kind][each.fields[0]]
                strain = np.abs(first - 1) if kind is e.Bus else first
                strain = np.where(np.isnan(strain), -np.inf, strain)
                names = _numbers(columns[kind], each)
                if kind not in self._strain:
                    self._strain[kind] = np.full(len(strain), -np.inf)
                    self._columns[kind] = {name: np.full(len(strain), np.nan) for name in names}
                more = strain > self._strain[kind]
                self._strain[kind] = np.where(more, strain, self._strain[kind])
                for name, values in self._columns[kind].items():
                    values[more] = columns[kind][name][more]

    def lists(self) -> tuple[Body, list[str]]:
        """The client's lists, and the elements that no outage leaves with numbers."""
        found: Body = {}
        missing: list[str] = []
        for each in _LISTS:
            found[each.key] = rows = []
            for kind in each.kinds:
                numbers = {name: v.tolist() for name, v in self._columns.get(kind, {}).items()}
                strain = self._strain.get(kind, np.zeros(0))
                for row in range(len(strain)):
                    if np.isfinite(strain[row]):
                        told: dict[str, Any] = {name: v[row] for name, v in numbers.items()}
                        rows.append(_row(self.request, each, kind, row, told))
                    elif self.request.network.rows(kind).column("in_service")[row]:
                        missing.append(self.request.network.rows(kind).label(row))
        return found, missing


ON_PANDAPOWER = Spoken(_read, _run, _write)
