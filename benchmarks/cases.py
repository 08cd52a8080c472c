"""Requests to measure with: networks that pandapower ships, written as graphs in our spelling.

For timing only. Some of these networks carry swapped taps, so nothing is compared with their
published results.
"""

from __future__ import annotations

import json
import math
from typing import Any

import pandapower.networks

from electrisim.elements import FIELDS, KINDS, Element, PVSystem, ShuntReactor


def request(case: str) -> bytes:
    """The power flow request for one of pandapower's networks."""
    net = getattr(pandapower.networks, case)()
    elements: dict[str, Any] = {}
    for kind in KINDS:
        if kind in (ShuntReactor, PVSystem) or kind.typ == "Capacitor":
            continue
        frame = net[kind.table]
        for index, row in zip(frame.index, frame.to_dict("records"), strict=True):
            elements[f"{kind.table}{index}"] = {
                "typ": kind.typ,
                "name": f"{kind.typ} {index}",
                "parameters": _parameters(kind, row),
            }
    return json.dumps({"simulationType": "powerflow", "elements": elements}).encode()


def _parameters(kind: type[Element], row: dict[str, Any]) -> dict[str, Any]:
    parameters = {}
    for name, field in FIELDS[kind].items():
        value = row.get(name)
        if value is None or field.type == "nothing" or value != value or value == "":
            continue
        if field.type == "reference":
            parameters[name] = f"bus{value}"
        elif field.type == "number" and math.isfinite(value):
            parameters[name] = float(value)
        elif field.type == "integer":
            parameters[name] = int(value)
        elif field.type == "flag":
            parameters[name] = bool(value)
        elif field.type in ("word", "choice"):
            parameters[name] = str(value)
    if parameters.get("tap_side") is None:
        parameters = {k: v for k, v in parameters.items() if not k.startswith("tap_")}
    return parameters
