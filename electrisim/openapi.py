"""The OpenAPI document, derived from the catalogue, the studies and the result columns.

It describes the API's own spelling. What is read beyond it (numbers as text, other words for a
kind) is said in words, so that the schemas stay what a client should send.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

import electrisim
from electrisim.control.record import Controlled
from electrisim.doctor import RULES
from electrisim.dss.parity import Parity
from electrisim.dss.script import Note
from electrisim.elements import FIELDS, KINDS, Bus, Element
from electrisim.feeder import openapi as feeder
from electrisim.fields import fields_of
from electrisim.problems import Problem
from electrisim.results import (
    COLUMNS,
    COLUMNS_3PH,
    Certificate,
    Losses,
    meaning_of,
    unit_of,
)
from electrisim.schema import Schema, object_of, parameter, ref
from electrisim.studies import (
    STUDIES,
    Study,
    contingency,
    crosscheck,
    harmonics,
    opf,
    shortcircuit,
)

#: The result columns of each model that a study may use.
MODELS = {"balanced": COLUMNS, "unbalanced": COLUMNS_3PH}
_OPTIMAL = {kind: (*columns, *opf.COLUMNS.get(kind, ())) for kind, columns in COLUMNS.items()}
_FAULTED = {kind: tuple(shortcircuit.COLUMNS.get(kind, ())) for kind in KINDS}
_FAULTED_PHASES = {kind: tuple(shortcircuit.PHASE_COLUMNS) if kind is Bus else () for kind in KINDS}
_DISTORTED = {
    kind: (*columns, *harmonics.COLUMNS.get(kind, ())) for kind, columns in COLUMNS.items()
}
#: The forms that result lists have: the models', an optimum's with its prices, fault currents, and
#: those with their distortion.
FORMS = {
    **MODELS,
    "optimal": _OPTIMAL,
    "faulted": _FAULTED,
    "phased": _FAULTED_PHASES,
    "distorted": _DISTORTED,
}

DESCRIPTION = """\
A network goes in as JSON, a study of it comes out. Ids, names, units and signs are the caller's and
pandapower's, whichever engine solves.

Numbers may be sent as text; an empty text, `"None"`, `"null"` and `null` count as absent. Case,
spaces, hyphens and a trailing number in a `typ` do not matter, and pandapower's table names are
taken too. A reference is an element's id, or a name that no other element of its kind bears.
Whatever else is unknown or wrong is refused, every fault at once, each with its element and field.

The Electrisim frontend's own spelling of the same requests is taken at the same address.
"""


def document(examples: Mapping[str, Any]) -> Schema:
    """The OpenAPI 3.1 document.

    examples  request bodies by name
    """
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Electrisim backend",
            "version": electrisim.__version__,
            "summary": "Power system studies over HTTP, with pandapower and OpenDSS.",
            "description": DESCRIPTION,
            "license": {"name": "Apache 2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "tags": [
            {"name": "studies", "description": "A network in, physics out."},
            feeder.TAG,
            {"name": "service", "description": "Health and documentation."},
        ],
        "paths": {**_paths(examples), **feeder.paths()},
        "components": {"schemas": _schemas() | feeder.schemas(), "responses": _responses()},
    }


# -- routes ----------------------------------------------------------------------------------------


def _paths(examples: Mapping[str, Any]) -> Schema:
    requests = [ref(f"{study.Settings.__name__}Request") for study in STUDIES.values()]
    answers = [ref(f"{study.Settings.__name__}Answer") for study in STUDIES.values()]
    named = {name: {"value": body} for name, body in examples.items()}
    post = {
        "tags": ["studies"],
        "operationId": "study",
        "summary": "Run a study of a network",
        "description": f"The studies are {', '.join(f'`{name}`' for name in STUDIES)}.",
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": _any_of(requests), "examples": named}},
        },
        "responses": {
            "200": _answer("The study's results.", "application/json", _any_of(answers)),
            **{status: ref(_RESPONSES[status][0], "responses") for status in _RESPONSES},
        },
    }
    return {
        "/": {
            "post": post,
            "get": _get("greet", "Say that somebody is there", "text/plain", {"type": "string"}),
        },
        "/import-opendss": {"post": _import()},
        "/healthz": {
            "get": _get("healthz", "Is the process alive? No engine is asked.", "text/plain", _TEXT)
        },
        "/readyz": {
            "get": _get(
                "readyz",
                "Does every engine solve a network of two buses? Asked anew after 30 s.",
                "application/json",
                ref("Ready"),
                {"503": _problem("An engine does not solve.", retry_after=True)},
            )
        },
        "/openapi.json": {
            "get": _get("openapi", "This document", "application/json", {"type": "object"})
        },
        "/docs": {"get": _get("docs", "The documentation, to be read", "text/html", _TEXT)},
    }


_TEXT: Schema = {"type": "string"}


def _import() -> Schema:
    script = {"type": "string", "description": "The script."}
    wanted = {
        "type": "boolean",
        "description": "Whether to solve both and compare.",
        "default": True,
    }
    media = {
        "application/json": {
            "schema": {
                "anyOf": [
                    object_of({"opendss": script, "parity": wanted}, ["opendss"]),
                    object_of({"content": script}, ["content"], description=_BROWSERS_IMPORT),
                ]
            }
        },
        "application/zip": {"schema": {"type": "string", "contentMediaType": "application/zip"}},
        "text/plain": {"schema": {"type": "string"}},
    }
    main = "Of a zip, the file to begin with; where only one makes a circuit, that."
    return {
        "tags": ["studies"],
        "operationId": "import_opendss",
        "summary": "Read a circuit of OpenDSS as a graph of elements",
        "description": "Nothing is executed: what describes a circuit is read, the rest refused.",
        "parameters": [
            {"name": "main", "in": "query", "description": main, "schema": {"type": "string"}}
        ],
        "requestBody": {"required": True, "content": media},
        "responses": {
            "200": _answer("The graph.", "application/json", _any_of([ref("Import"), _TABLES])),
            **{status: ref(_RESPONSES[status][0], "responses") for status in _RESPONSES},
        },
    }


_BROWSERS_IMPORT = "The Electrisim frontend's spelling; it is answered in positional tables."
_TABLES: Schema = {
    "type": "object",
    "description": "To the frontend: tables by name, each the JSON text of its rows.",
    "properties": {"_object": {"type": "object"}},
    "required": ["_object"],
    "additionalProperties": False,
}


def _any_of(schemas: list[Schema]) -> Schema:
    return schemas[0] if len(schemas) == 1 else {"anyOf": schemas}


def _get(name: str, summary: str, media_type: str, schema: Schema, others: Schema = {}) -> Schema:  # noqa: B006
    return {
        "tags": ["service"],
        "operationId": name,
        "summary": summary,
        "responses": {
            "200": _answer("As asked.", media_type, schema),
            **others,
            "500": ref("Defect", "responses"),
        },
    }


def _answer(description: str, media_type: str, schema: Schema) -> Schema:
    return {"description": description, "content": {media_type: {"schema": schema}}}


#: What may come instead of an answer: status → (name, when).
_RESPONSES: Mapping[str, tuple[str, str]] = {
    "400": ("Malformed", "The body is not JSON, not an object, or nested too deep."),
    "413": ("TooLarge", "The body is larger than the server takes."),
    "415": ("NotJson", "The body is not JSON, nor does its content type say so."),
    "422": (
        "Refused",
        "The request is wrong (every fault is listed), the engine cannot represent an element, or "
        "there is no solution that certifies.",
    ),
    "500": ("Defect", "A defect of the server, with an id to quote."),
}


def _responses() -> Schema:
    return {name: _problem(description) for name, description in _RESPONSES.values()}


def _problem(description: str, *, retry_after: bool = False) -> Schema:
    answer = _answer(description, "application/problem+json", ref("ProblemDetails"))
    if retry_after:
        text = "Seconds until asking again may help."
        answer["headers"] = {"Retry-After": {"description": text, "schema": {"type": "integer"}}}
    return answer


# -- schemas ---------------------------------------------------------------------------------------


def _schemas() -> Schema:
    structs = [
        *(Problem, Certificate, Losses, Controlled),
        *(*contingency.SHAPES, *crosscheck.SHAPES, *opf.SHAPES, *shortcircuit.SHAPES),
        *harmonics.SHAPES,
        Note,
        Parity,
    ]
    _, ours = msgspec.json.schema_components(structs, ref_template="#/components/schemas/{name}")
    for schema in ours.values():
        schema["description"] = inspect.cleandoc(schema["description"])
    schemas: Schema = {"Element": _element()}
    for kind in KINDS:
        schemas |= _kind(kind)
    for name, study in STUDIES.items():
        schemas |= _study(name, study)
    for form in FORMS:
        schemas |= _results(form)
    return (
        schemas
        | ours
        | {"Import": _IMPORT, "LikelyCause": _CAUSE}
        | {"Engine": _ENGINE, "ProblemDetails": _DETAILS, "Ready": _READY}
    )


def _element() -> Schema:
    return {
        "description": "An element of the network, under the caller's id.",
        "anyOf": [ref(kind.__name__) for kind in KINDS],
    }


def _kind(kind: type[Element]) -> Schema:
    """An element with its parameters nested, or flat beside `typ` and `name`."""
    fields = FIELDS[kind]
    name, parameters = kind.__name__, f"{kind.__name__}Parameters"
    required = [field.name for field in fields.values() if field.required]
    common: Schema = {
        "typ": {"const": kind.typ},
        "name": {"type": ["string", "null"], "description": "A label, which need not be unique."},
    }
    flat = {
        field: {"$ref": f"#/components/schemas/{parameters}/properties/{field}"} for field in fields
    }
    either = _std_type(kind)
    return {
        name: {
            "title": kind.typ,
            "description": inspect.cleandoc(kind.__doc__ or ""),
            "anyOf": [
                object_of({**common, "parameters": ref(parameters)}, ["typ", "parameters"]),
                object_of({**common, **flat}, ["typ", *required], **either),
            ],
        },
        parameters: object_of(
            {field.name: parameter(field) for field in fields.values()}, required, **either
        ),
    }


def _std_type(kind: type[Element]) -> Schema:
    """A standard type, or what stands instead, for the electrical parameters."""
    if not kind.from_std_type:
        return {}
    ways = [kind.from_std_type, ("std_type",), *([kind.instead] if kind.instead else [])]
    return {"anyOf": [{"required": list(way)} for way in ways]}


def _study(name: str, study: Study) -> Schema:
    title = study.Settings.__name__
    fields = fields_of(study.Settings)
    elements = {"type": "object", "minProperties": 1, "additionalProperties": ref("Element")}
    models = [ref(f"{model.capitalize()}Results") for model in FORMS]
    if name == "crosscheck":
        models.append(_IN_COLUMNS)
    return {
        f"{title}Settings": object_of({f.name: parameter(f) for f in fields.values()}, []),
        f"{title}Request": object_of(
            {
                "simulationType": {"const": name},
                "elements": {"anyOf": [{**elements, "description": "By their ids."}, _SCRIPT]},
                "settings": {"anyOf": [ref(f"{title}Settings"), {"type": "null"}]},
            },
            ["simulationType", "elements"],
        ),
        f"{title}Answer": object_of(
            {
                "success": {"const": True},
                "results": _IN_COLUMNS if name == "timeseries" else _any_of(models),
                "convergence": {"type": "boolean"} if name == "timeseries" else {"const": True},
                "iterations": {"type": ["integer", "null"]},
                **_BESIDE[name],
                "warnings": {"type": "array", "items": _TEXT},
                "certificate": ref("FaultCertificate" if name == "shortcircuit" else "Certificate"),
                "engine": ref("Engine"),
            },
            [
                "success",
                "results",
                "convergence",
                "iterations",
                "warnings",
                "certificate",
                "engine",
            ],
        ),
    }


#: Elements as an OpenDSS script.
_SCRIPT: Schema = {
    "type": "object",
    "description": "A circuit as an OpenDSS script, read as `POST /import-opendss` reads it.",
    "properties": {"opendss": {"type": "string"}},
    "required": ["opendss"],
    "additionalProperties": False,
}

_NUMBERS: Schema = {"type": "array", "items": {"type": ["number", "null"]}}

#: Results of a series: key → ids and, by quantity, one list per step with one value per element.
_IN_COLUMNS: Schema = {
    "type": "object",
    "additionalProperties": {
        "type": "object",
        "properties": {"ids": {"type": "array", "items": _TEXT}},
        "additionalProperties": {"type": "array", "items": _NUMBERS},
    },
}

_FIGURES: Schema = {
    "type": "object",
    "properties": {"min": _NUMBERS, "max": _NUMBERS, "mean": _NUMBERS},
    "additionalProperties": False,
}

_CONTINGENCY: Schema = {
    "base": ref("Base"),
    "contingencies": {"type": "array", "items": ref("Outcome")},
    "summary": ref("Summary"),
    "details": {
        "type": "array",
        "description": "Asked for by `details`: every outage's tables in columns.",
        "items": {"type": "object"},
    },
}

_POWER_FLOW: Schema = {
    "losses": ref("Losses"),
    "script": {"type": "string", "description": "Asked for by `export_script`."},
    "controllers": {
        "type": "array",
        "description": "One per element with a controller, where controllers act.",
        "items": ref("Controlled"),
    },
    "control": object_of(
        {"converged": {"type": "boolean"}, "power_flows": {"type": "integer"}},
        ["converged", "power_flows"],
    ),
    "solution_mode": {"enum": ["daily", "dutycycle", "yearly"]},
    "steps": {"type": "integer", "description": "Number of steps of the solution mode."},
    "failed_steps": {
        "type": "array",
        "description": "The numbers of the steps without a solution.",
        "items": {"type": "integer"},
    },
    "extremes": {
        "type": "object",
        "description": "As results in columns: the extremes over the steps, and when they are.",
        "additionalProperties": {
            "type": "object",
            "properties": {"ids": {"type": "array", "items": _TEXT}},
            "additionalProperties": {"type": "object"},
        },
    },
}
#: What stands beside the result tables, by study.
_BESIDE: Mapping[str, Schema] = {
    "powerflow": _POWER_FLOW,
    "controller": _POWER_FLOW,
    "opf": {
        "objective": {"type": ["number", "null"], "description": "The cost in EUR/h."},
        "minimised": {"enum": ["cost", "losses"], "description": "Losses, where nothing costs."},
        "binding": {"type": "array", "items": ref("Binding")},
        "kkt": ref("Optimality"),
        "losses": ref("Losses"),
    },
    "shortcircuit": {
        "factors": {
            "type": "object",
            "description": "Element → the factors of the standard that were applied there.",
            "additionalProperties": {
                "type": "object",
                "additionalProperties": {"type": "number"},
            },
        },
        "faults": {
            "type": "array",
            "description": "The faults at the buses that `bus` names.",
            "items": ref("Fault"),
        },
    },
    "contingency": _CONTINGENCY,
    "harmonics": {
        "orders": {"type": "array", "items": {"type": "number"}},
        "harmonics": {
            **_IN_COLUMNS,
            "description": "Voltages and currents: per order one value per element.",
        },
        "spectra": {"type": "array", "items": ref("Used")},
        "scan": {"type": "array", "items": ref("Scan")},
        "losses": ref("Losses"),
        "script": {"type": "string", "description": "Asked for by `export_script`."},
    },
    "timeseries": {
        "time_steps": {"type": "integer"},
        "steps": {
            "type": "array",
            "description": "Their numbers, or their times where `start` is given.",
            "items": {"type": ["integer", "string"]},
        },
        "failed_steps": {
            "type": "array",
            "description": "The numbers of the steps without a solution; their values are null.",
            "items": {"type": "integer"},
        },
        "statistics": {
            "type": "object",
            "description": "As results: per quantity one value per element, over all solved steps.",
            "additionalProperties": {
                "type": "object",
                "properties": {"ids": {"type": "array", "items": _TEXT}},
                "additionalProperties": _FIGURES,
            },
        },
        "presets": {
            "type": "object",
            "description": "The factors of the presets that were asked for, one per step.",
            "additionalProperties": _NUMBERS,
        },
    },
    "crosscheck": {
        "verdict": ref("Verdict"),
        "engines": {"type": "array", "items": ref("EngineReport")},
        "largest": {
            "type": "array",
            "description": "The largest difference of every quantity, the gravest first.",
            "items": ref("Difference"),
        },
        "causes": {"type": "array", "items": ref("Cause")},
        "positions": {
            "type": "array",
            "description": "Where controllers act: those that ended in different positions.",
            "items": ref("Position"),
        },
        **_CONTINGENCY,
        "outages": {
            "type": "array",
            "description": "Of a contingency analysis: where outages are judged differently.",
            "items": ref("Judged"),
        },
        "differences": {
            "type": "object",
            "description": "The second engine's numbers less the first's, per element in columns.",
            "additionalProperties": {
                "type": "object",
                "properties": {"ids": {"type": "array", "items": _TEXT}},
                "additionalProperties": _NUMBERS,
            },
        },
    },
}


def _results(model: str) -> Schema:
    """One list per kind; a kind that the request lacks has no key."""
    prefix = model.capitalize()
    columns = FORMS[model]
    lists: Schema = {}
    for kind in columns:
        items = ref(f"{prefix}{kind.__name__}Result")
        lists.setdefault(kind.key, {"type": "array", "items": items})
    records = {
        f"{prefix}{kind.__name__}Result": _record(kind, names, model)
        for kind, names in columns.items()
    }
    return {f"{prefix}Results": object_of(lists, []), **records}


def _record(kind: type[Element], columns: Iterable[str], model: str) -> Schema:
    properties: Schema = {
        "id": {"type": "string"},
        "name": {"type": ["string", "null"]},
        **{
            column: {
                "type": ["number", "null"],
                "description": _meaning(kind, column, model),
                "x-unit": unit_of(column),
            }
            for column in columns
        },
    }
    return object_of(properties, properties, description=f"Results of one element: {kind.typ}.")


#: Forms whose columns are a study's own.
_OWN_COLUMNS: Mapping[str, Mapping[type[Element], Mapping[str, str]]] = {
    "faulted": shortcircuit.COLUMNS,
    "phased": {Bus: shortcircuit.PHASE_COLUMNS},
    "distorted": harmonics.COLUMNS,
}


def _meaning(kind: type[Element], column: str, model: str) -> str:
    own = _OWN_COLUMNS.get(model, opf.COLUMNS)
    text = own.get(kind, {}).get(column) or meaning_of(kind, column, model)
    return f"{text[0].upper()}{text[1:]}."


_IMPORT: Schema = {
    "type": "object",
    "description": "A circuit of OpenDSS as a graph.",
    "properties": {
        "success": {"const": True},
        "elements": {"type": "object", "additionalProperties": ref("Element")},
        "settings": {
            "type": "object",
            "description": "Settings of a power flow that is the circuit's.",
        },
        "notes": {"type": "array", "items": ref("Note")},
        "warnings": {"type": "array", "items": _TEXT},
        "parity": {"anyOf": [ref("Parity"), {"type": "null"}]},
    },
    "required": ["success", "elements", "settings", "notes", "warnings", "parity"],
    "additionalProperties": False,
}

_ENGINE = {
    "type": "object",
    "description": "What solved it.",
    "properties": {"name": _TEXT, "version": _TEXT, "solver": _TEXT},
    "required": ["name", "version", "solver"],
    "additionalProperties": _TEXT,
}

_READY = object_of(
    {
        "status": {"const": "ready"},
        "engines": {
            "type": "object",
            "description": "Version of each engine, by its name.",
            "additionalProperties": _TEXT,
        },
    },
    ["status", "engines"],
)

_CAUSE = {
    "type": "object",
    "description": "A likely cause of a failure, with what would mend it.",
    "properties": {
        "rule": {"enum": list(RULES)},
        "cause": _TEXT,
        "elements": {"type": "array", "items": _TEXT},
        "evidence": {"type": "object", "description": "The numbers that speak for it."},
        "suggestion": _TEXT,
        "repair": {
            "type": "array",
            "description": "Fields to be set together; without element, of the settings.",
            "items": {
                "type": "object",
                "properties": {
                    "element": {"type": ["string", "null"]},
                    "field": _TEXT,
                    "value": {"type": ["number", "boolean", "string", "null"]},
                },
                "required": ["element", "field", "value"],
            },
        },
        "verified": {
            "type": ["boolean", "null"],
            "description": "Whether there is a solution with the repair; null: not tried.",
        },
    },
    "required": [
        "rule", "cause", "elements", "evidence", "suggestion", "repair", "verified",
    ],
}  # fmt: skip

_DETAILS = {
    "type": "object",
    "description": "An error (RFC 9457), with every fault that was found.",
    "properties": {
        "type": {"type": "string", "format": "uri-reference"},
        "title": _TEXT,
        "status": {"type": "integer", "minimum": 400, "maximum": 599},
        "detail": _TEXT,
        "success": {"const": False},
        "error": {"type": "string", "description": "The same sentence as `detail`."},
        "errors": {"type": "array", "items": ref("Problem"), "minItems": 1},
        "diagnosis": {
            "type": "array",
            "description": "Of a study without solution: causes, the likeliest first.",
            "items": ref("LikelyCause"),
        },
        "certificate": ref("Certificate"),
        "id": {"type": "string", "description": "Of a 500: the id to quote."},
    },
    "required": ["type", "title", "status", "detail", "success", "error", "errors"],
}
