"""A diagnosis in the keys that the browser's dialog shows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any

from electrisim.problems import Problem
from electrisim.wire.frontend.report import Report

#: Rule → the heading of the dialog under which its causes stand.
HEADINGS: Mapping[str, str] = MappingProxyType({
    "value": "invalid_values",
    "every-value": "invalid_values",
    "tap": "invalid_values",
    "set-point": "invalid_values",
    "phase-shift": "invalid_values",
    "several": "invalid_values",
    "voltage-level": "nominal_voltages_dont_match",
    "joins-levels": "nominal_voltages_dont_match",
    "transfer": "overload",
    "overload": "overload",
    "bottleneck": "overload",
    "limit": "overload",
    "unsupplied": "isolated_buses",
})  # fmt: skip


def shown(diagnosis: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """The causes as sentences: all of them in their order, and by heading."""
    found: dict[str, Any] = {}
    for cause in diagnosis:
        sentence = f"{cause['cause']} {cause['suggestion']}".rstrip()
        found.setdefault("convergence", []).append(sentence)
        heading = HEADINGS.get(cause["rule"])
        if heading:
            found.setdefault(heading, []).append(sentence)
        if cause["verified"]:
            found.setdefault("diagnostic_note", cause["suggestion"])
    return found


def places(diagnosis: Iterable[Mapping[str, Any]], report: Report) -> list[dict[str, str]]:
    """The fields that verified repairs set, as the dialog lists parameters."""
    found = []
    for cause in diagnosis:
        for edit in cause["repair"] if cause["verified"] else ():
            problem = Problem(
                kind="not-converged",
                message=cause["cause"],
                element=edit["element"],
                field=edit["field"],
            )
            found.append({
                "element_type": report.kinds.get(edit["element"] or "", "Study"),
                "name": edit["element"] or "",
                "param": report.word(problem),
                "message": f"{cause['cause']} {cause['suggestion']}",
            })  # fmt: skip
    return found[:LISTED]


#: How many parameters the dialog is given.
LISTED = 10
