"""JSON schemas, as OpenAPI 3.1 has them, of what records are declared with."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import msgspec

from electrisim.fields import Field

Schema = dict[str, Any]


def ref(name: str, place: str = "schemas") -> Schema:
    return {"$ref": f"#/components/{place}/{name}"}


def parameter(field: Field) -> Schema:
    """The JSON schema of a field: type, unit, bounds, default and meaning; null is absence."""
    schema = _TYPES[field.type](field)
    if not field.required and "enum" in schema:
        schema["enum"] = [*schema["enum"], None]
    elif not field.required and "anyOf" in schema:
        schema["anyOf"] = [*schema["anyOf"], {"type": "null"}]
    elif not field.required:
        schema["type"] = [schema["type"], "null"]
    schema["description"] = field.meaning
    if field.unit is not None:
        schema["x-unit"] = field.unit
    if field.default is not None:
        schema["default"] = field.default
    return schema | {_BOUNDS[bound]: limit for bound, limit in field.bounds.items()}


_BOUNDS = {
    "gt": "exclusiveMinimum",
    "ge": "minimum",
    "lt": "exclusiveMaximum",
    "le": "maximum",
}

_POINT = {"type": "array", "prefixItems": [{"type": "number"}] * 2, "minItems": 2, "maxItems": 2}
_PIECE = {"type": "array", "prefixItems": [{"type": "number"}] * 3, "minItems": 3, "maxItems": 3}
_ROW = {"type": "array", "items": {"type": "number"}, "minItems": 1}

_TYPES: Mapping[str, Callable[[Field], Schema]] = {
    "number": lambda field: {"type": "number"},
    "integer": lambda field: {"type": "integer"},
    "flag": lambda field: {"type": "boolean"},
    "word": lambda field: {"type": "string"},
    "choice": lambda field: {"enum": list(field.choices)},
    "reference": lambda field: {
        "type": "string",
        "minLength": 1,
        "x-refers-to": ", ".join(field.refers_to),
    },
    "curve": lambda field: {"type": "array", "items": _POINT, "minItems": 2},
    "pieces": lambda field: {"type": "array", "items": _PIECE, "minItems": 1},
    "triangle": lambda field: {"type": "array", "items": _ROW, "minItems": 1},
    "structure": lambda field: _structure(field.annotation),
    "nothing": lambda field: {"enum": [False]},
}


def _structure(annotation: Any) -> Schema:
    """What msgspec makes of a list or object, without the null that the field may allow."""
    schema = msgspec.json.schema(annotation)
    options = [option for option in schema.get("anyOf", []) if option.get("type") != "null"]
    if len(options) > 1:
        return {"anyOf": options}
    return options[0] if options else schema


def object_of(properties: Schema, required: Iterable[str], **others: Any) -> Schema:
    return {
        "type": "object",
        **others,
        "properties": properties,
        "required": list(required),
        "additionalProperties": False,
    }
