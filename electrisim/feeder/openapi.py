"""The feeder's part of the OpenAPI document, derived from its routes and modifications."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from electrisim.feeder.api import ROUTES, Route
from electrisim.feeder.refusals import REFUSALS
from electrisim.feeder.results import BANDS, LOADINGS
from electrisim.fields import Field, fields_of
from electrisim.schema import Schema, object_of, parameter, ref

TAG = {
    "name": "feeder",
    "description": "A public test feeder with a memory: modifications in, the solved feeder out.",
}

_TEXT: Schema = {"type": "string"}
_NUMBER: Schema = {"type": "number"}
_WHOLE: Schema = {"type": "integer"}

_SESSION = {
    "name": "session_id",
    "in": "path",
    "required": True,
    "description": "Id of a session.",
    "schema": _TEXT,
}
_BUS = {
    "name": "bus_name",
    "in": "path",
    "required": True,
    "description": "Name of a bus, in any case.",
    "schema": _TEXT,
}
_KEY = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "description": "1 to 255 visible ASCII characters. A request that is repeated with its key is "
    "answered again and not made again.",
    "schema": {**_TEXT, "pattern": "^[!-~]{1,255}$"},
}


def paths() -> Schema:
    """The routes, path → method → operation."""
    found: Schema = {}
    for route in ROUTES:
        for number, rule in enumerate(route.rules):
            path = re.sub(r"<(\w+)>", r"{\1}", rule)
            found.setdefault(path, {})[route.method.lower()] = _operation(route, path, number)
    return found


def schemas() -> Schema:
    """What the routes take and answer."""
    records = {route.fields for route in ROUTES if route.method == "POST"}
    requests = {
        _name(record): object_of(
            {field.name: _field(field) for field in fields_of(record).values()},
            [field.name for field in fields_of(record).values() if field.required],
            description=" ".join((record.__doc__ or "").split()),
        )
        for record in sorted(records, key=lambda record: record.__name__)
    }
    return {**requests, **_ANSWERS, "FeederError": _ERROR}


def _operation(route: Route, path: str, number: int) -> Schema:
    parameters = [each for each in (_SESSION, _BUS) if f"{{{each['name']}}}" in path]
    operation: Schema = {
        "tags": [TAG["name"]],
        "operationId": f"feeder_{route.view}" + (f"_{number + 1}" if number else ""),
        "summary": route.summary,
    }
    if route.method == "GET":
        parameters += [_query(field) for field in fields_of(route.fields).values()]
    if route.written:
        parameters.append(_KEY)
    if parameters:
        operation["parameters"] = parameters
    if route.method == "POST":
        operation["requestBody"] = {
            "required": any(field.required for field in fields_of(route.fields).values()),
            "content": {"application/json": {"schema": ref(_name(route.fields))}},
        }
    created = route.view in ("create", "fork")
    answer = _answer("As asked.", ref(_ANSWER_OF.get(route.answer, "FeederRecord")))
    if route.answer == "stream":
        (schema,) = answer["content"].values()
        answer["content"] = {"application/x-ndjson": schema}
    elif route.answer == "page":
        answer["content"] = {"text/html": {"schema": _TEXT}}
    operation["responses"] = {
        "201" if created else "200": answer,
        **{str(status): _answer(when, ref("FeederError")) for status, when in _refusals(route)},
    }
    return operation


def _refusals(route: Route) -> Iterable[tuple[int, str]]:
    """What a route may answer instead: status, and when."""
    writes = route.method == "POST"
    for status in sorted({refusal.status for refusal in REFUSALS.values()} | {500}):
        if status == 405 or (status in (409, 413, 415) and not writes):
            continue
        cases = [refusal.when for refusal in REFUSALS.values() if refusal.status == status]
        yield status, " ".join(cases) or "A defect of the server, with an id to quote."


def _query(field: Field) -> Schema:
    schema = parameter(field)
    return {
        "name": field.name,
        "in": "query",
        "required": False,
        "description": schema.pop("description"),
        "schema": schema,
    }


def _field(field: Field) -> Schema:
    """A field's schema; where one or three phases can be, these."""
    schema = parameter(field)
    if field.name == "phases":
        schema = {name: schema[name] for name in schema if name not in ("minimum", "maximum")}
        schema["enum"] = [1, 3]
    return schema


def _name(record: type) -> str:
    return f"Feeder{record.__name__}"


def _answer(description: str, schema: Schema) -> Schema:
    return {"description": description, "content": {"application/json": {"schema": schema}}}


def _record(properties: Schema, **others: Any) -> Schema:
    return object_of(properties, properties, **others)


def _success(results: Schema) -> Schema:
    return _record({"status": {"const": "success"}, "results": results})


_LOADING = _record(
    {
        "name": _TEXT,
        "typ": {"enum": ["transformer", "regulator"]},
        "kva": {**_NUMBER, "x-unit": "kVA"},
        "loading_percent": {
            **_NUMBER,
            "description": "Current of the most loaded phase.",
            "x-unit": "percent",
        },
        "status": {"enum": ["ok", *LOADINGS]},
    }
)

_VIOLATION = object_of(
    {
        "element": _TEXT,
        "typ": {"enum": ["bus", "transformer", "regulator"]},
        "node": {**_WHOLE, "description": "Of a bus."},
        "quantity": {"enum": ["vm_pu", "loading_percent"]},
        "value": _NUMBER,
        "limit": _NUMBER,
        "severity": {"enum": [*(f"range {band}" for band in BANDS), *LOADINGS]},
    },
    ["element", "typ", "quantity", "value", "limit", "severity"],
)

_ROW = _record(
    {
        "Bus": _TEXT,
        "Node": {**_WHOLE, "description": "1, 2, 3: phases A, B, C."},
        "VMag_pu": {**_NUMBER, "x-unit": "pu"},
        "VAngle": {**_NUMBER, "x-unit": "degree"},
        "Load_kW": {**_NUMBER, "description": "Rated power times its factors.", "x-unit": "kW"},
        "Load_kVAR": {**_NUMBER, "x-unit": "kvar"},
        "Gen_kW": {**_NUMBER, "description": "As delivered.", "x-unit": "kW"},
        "Gen_kVAR": {**_NUMBER, "x-unit": "kvar"},
    },
    description="A node: buses in the order of their table, nodes ascending.",
)

_RESULTS = _record(
    {
        "power_summary": _record(
            {
                "converged": {"const": True},
                "total_circuit_power_kW": {
                    **_NUMBER,
                    "description": "With OpenDSS' sign: negative while the feeder draws power.",
                    "x-unit": "kW",
                },
                "total_losses_kW": {**_NUMBER, "x-unit": "kW"},
                "total_load_kW": {
                    **_NUMBER,
                    "description": "Sum of the rows' Load_kW.",
                    "x-unit": "kW",
                },
                "source_power_kW": {
                    **_NUMBER,
                    "description": "Positive while the feeder draws power.",
                    "x-unit": "kW",
                },
            }
        ),
        "voltage_profile": _record(
            {
                name: {**_NUMBER, "x-unit": "pu"}
                for name in ("min_voltage_pu", "max_voltage_pu", "avg_voltage_pu")
            }
        ),
        "bus_details": {"type": "array", "items": _ROW},
        "totals": _record(
            {
                "source_kw": {**_NUMBER, "x-unit": "kW"},
                "source_kvar": {**_NUMBER, "x-unit": "kvar"},
                "loss_kw": {**_NUMBER, "x-unit": "kW"},
                "loss_kvar": {**_NUMBER, "x-unit": "kvar"},
                "load_nominal_kw": {**_NUMBER, "x-unit": "kW"},
                "load_delivered_kw": {
                    **_NUMBER,
                    "description": "At the solved voltages, by the loads' own models.",
                    "x-unit": "kW",
                },
                "generation_kw": {**_NUMBER, "x-unit": "kW"},
            }
        ),
        "regulators": {
            "type": "object",
            "description": "Steps from neutral, by the name of the regulator.",
            "additionalProperties": _WHOLE,
        },
        "transformers": {"type": "array", "items": _LOADING},
        "violations": {"type": "array", "items": _VIOLATION},
        "voltage_reference": {
            "enum": ["line-to-neutral", "line-to-line"],
            "description": "Of VMag_pu and VAngle; line-to-line is from the node to the next one.",
        },
    }
)

#: `Route.answer` → name of its schema.
_ANSWER_OF = {
    "results": "FeederResults",
    "record": "FeederRecord",
    "rows": "FeederRows",
    "stream": "FeederLine",
}

_ANSWERS: Schema = {
    "FeederResults": _success(_RESULTS),
    "FeederRecord": _success({"type": "object"}),
    "FeederRows": _success({"type": "array", "items": {"type": "object"}}),
    "FeederLine": {
        "type": "object",
        "description": "One line of a stream.",
        "properties": {"type": {"enum": ["progress", "result", "error"]}},
        "required": ["type"],
    },
}

_ERROR: Schema = {
    "type": "object",
    "description": "A refusal: the modification was not made.",
    "properties": {
        "status": {"const": "error"},
        "message": {"type": "string", "description": "One sentence."},
        "kind": {"enum": [*REFUSALS, "overloaded", "defect"]},
        "errors": {"type": "array", "items": ref("Problem"), "minItems": 1},
        "id": {"type": "string", "description": "Of a 500: the id to quote."},
    },
    "required": ["status", "message", "kind", "errors"],
}
