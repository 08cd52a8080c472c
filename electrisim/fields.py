"""How a record is declared, described and read: the language of the catalogue and the settings.

A record is a msgspec struct whose fields carry `quantity`, `refers_to` or `says`. msgspec reads
well-formed JSON straight into it. Where msgspec refuses, or where a spelling is looser than JSON
(numbers as text, "" for absent), `read` goes over the plain values and returns every fault at once.
"""

from __future__ import annotations

import functools
import math
import operator
from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Any, Literal, NamedTuple, TypeVar

import msgspec
from msgspec import Meta

from electrisim.problems import Problem, nearest, shorten

Record = TypeVar("Record", bound=msgspec.Struct)


def quantity(unit: str, meaning: str, **bounds: float) -> Meta:
    """A number with a unit ("1" for none), a sentence and its admissible range."""
    limits: dict[str, Any] = dict(bounds)
    return Meta(description=meaning, extra_json_schema={"x-unit": unit}, **limits)


def refers_to(kind: str, meaning: str) -> Meta:
    """A reference: the id, or a unique name, of an element of another kind."""
    return Meta(description=meaning, min_length=1, extra_json_schema={"x-refers-to": kind})


def says(meaning: str) -> Meta:
    """A word, a flag or a list, with a sentence."""
    return Meta(description=meaning)


class Field(NamedTuple):
    """A field of a record, flattened for validation and documentation.

    type      number, integer, flag, word, choice, reference, curve, pieces, triangle, structure or
              nothing
    bounds    of gt, ge, lt, le those that hold
    choices   the values of a choice
    """

    name: str
    type: str
    meaning: str
    unit: str | None
    required: bool
    default: Any
    bounds: Mapping[str, float]
    choices: tuple[Any, ...]
    refers_to: tuple[str, ...]
    annotation: Any = None


_TYPES = {float: "number", int: "integer", bool: "flag", str: "word", type(None): "nothing"}


def _flatten(annotation: Any) -> tuple[str, Meta | None, tuple[Any, ...]]:
    """(type, meta, choices) of an annotation, looking through Optional and Annotated."""
    if hasattr(annotation, "__metadata__"):
        inner, _, choices = _flatten(annotation.__origin__)
        return inner, annotation.__metadata__[0], choices
    if annotation in _TYPES:
        return _TYPES[annotation], None, ()
    origin, arguments = getattr(annotation, "__origin__", None), annotation.__args__
    if origin is Literal:
        return "choice", None, arguments
    if annotation == list[tuple[float, float]]:
        return "curve", None, ()
    if annotation == list[tuple[float, float, float]]:
        return "pieces", None, ()
    if annotation == list[list[float]]:
        return "triangle", None, ()
    if origin in (list, dict):
        return "structure", None, ()
    options = [argument for argument in arguments if argument is not type(None)]
    if len(options) > 1 and any(getattr(option, "__origin__", None) is list for option in options):
        return "structure", None, ()
    if len(options) == 1:
        return _flatten(options[0])
    each = [(True, False) if option is bool else _flatten(option)[2] for option in options]
    return "choice", None, tuple(choice for choices in each for choice in choices)


def _fields(record: type[msgspec.Struct]) -> Iterator[Field]:
    for field in msgspec.structs.fields(record):
        type_, meta, choices = _flatten(field.type)
        schema = (meta and meta.extra_json_schema) or {}
        refers = tuple(schema["x-refers-to"].split(", ")) if "x-refers-to" in schema else ()
        given = {bound: getattr(meta, bound) for bound in ("gt", "ge", "lt", "le")} if meta else {}
        yield Field(
            name=field.name,
            type="reference" if refers else type_,
            meaning=(meta and meta.description) or "",
            unit=schema.get("x-unit"),
            required=field.required,
            default=None if field.required else field.default,
            bounds=MappingProxyType({b: v for b, v in given.items() if v is not None}),
            choices=choices,
            refers_to=refers,
            annotation=field.type,
        )


@functools.cache
def fields_of(record: type[msgspec.Struct]) -> Mapping[str, Field]:
    """The fields of a record by name, in the order of their declaration."""
    return MappingProxyType({field.name: field for field in _fields(record)})


ABSENT = object()
_ABSENT_WORDS = frozenset({"", "none", "null"})
_FLAGS = {"true": True, "false": False}
_SIGNS = {"gt": "greater than", "ge": "at least", "lt": "less than", "le": "at most"}


def present(value: Any) -> Any:
    """The value, or ABSENT for null and the words that stand for it."""
    if value is None or (isinstance(value, str) and value.strip().lower() in _ABSENT_WORDS):
        return ABSENT
    return value.strip() if isinstance(value, str) else value


class _Fault(ValueError):
    def __init__(self, kind: str, text: str) -> None:
        super().__init__(text)
        self.kind = kind


def _number(value: Any, field: Field) -> float:
    # Python takes 1_000 and the digits of other scripts for numbers, which nobody means here.
    odd = isinstance(value, str) and ("_" in value or not value.isascii())
    try:
        number = (
            float(value)
            if isinstance(value, (int, float, str)) and not isinstance(value, bool) and not odd
            else None
        )
    except (ValueError, OverflowError):
        number = None
    if number is None:
        raise _Fault("not-a-number", f"must be a number{_in(field)}, not {_told(value)}")
    if not math.isfinite(number):
        raise _Fault("not-finite", f"must be a finite number{_in(field)}, not {_told(value)}")
    for bound, limit in field.bounds.items():
        if not getattr(operator, bound)(number, limit):
            raise _Fault(
                "out-of-bounds",
                f"must be {_SIGNS[bound]} {limit:g}{_in(field)}, not {_told(value)}",
            )
    return number


def _integer(value: Any, field: Field) -> int:
    number = _number(value, field)
    if number != int(number):
        raise _Fault("not-an-integer", f"must be a whole number, not {_told(value)}")
    return int(number)


def _flag(value: Any, field: Field) -> bool:
    flag = value if isinstance(value, bool) else _FLAGS.get(str(value).lower())
    if flag is None:
        raise _Fault("not-a-flag", f"must be true or false, not {_told(value)}")
    return flag


def _word(value: Any, field: Field) -> str:
    if not isinstance(value, str):
        raise _Fault("not-a-text", f"must be a text, not {_told(value)}")
    return value


def _choice(value: Any, field: Field) -> Any:
    if True in field.choices and isinstance(value, str):
        value = _FLAGS.get(value.lower(), value)
    if not isinstance(value, (str, bool)) or value not in field.choices:
        listed = ", ".join(
            str(choice).lower() if isinstance(choice, bool) else choice for choice in field.choices
        )
        hint = (
            nearest(value, (c for c in field.choices if isinstance(c, str)))
            if isinstance(value, str)
            else ""
        )
        raise _Fault(
            "unknown-value", f"must be one of {listed}, not {_told(value)}.{hint}".rstrip(".")
        )
    return value


def _curve(value: Any, field: Field) -> list[tuple[float, float]]:
    try:
        points = [(float(x), float(y)) for x, y in value]
    except (TypeError, ValueError, OverflowError):
        points = []
    rising = all(a[0] < b[0] for a, b in zip(points, points[1:], strict=False))
    finite = all(math.isfinite(v) for point in points for v in point)
    if len(points) < 2 or not rising or not finite:
        raise _Fault("not-a-curve", "must be a list of at least two points [x, y] with x rising")
    return points


def _structure(value: Any, field: Field) -> Any:
    try:
        return msgspec.convert(value, field.annotation, strict=False)
    except msgspec.ValidationError as error:
        said = str(error).replace("$", "its place $")
        raise _Fault("wrong-form", f"is not in the form that is asked for: {said}") from error


def _pieces(value: Any, field: Field) -> list[tuple[float, float, float]]:
    try:
        pieces = [(float(start), float(end), float(slope)) for start, end, slope in value]
    except (TypeError, ValueError, OverflowError):
        pieces = []
    finite = all(math.isfinite(v) for piece in pieces for v in piece)
    joined = all(a[1] == b[0] for a, b in zip(pieces, pieces[1:], strict=False))
    if not pieces or not finite or not joined or any(a >= b for a, b, _ in pieces):
        raise _Fault(
            "not-a-curve",
            "must be a list of pieces [from, to, slope], each beginning where the last one ends",
        )
    return pieces


def _triangle(value: Any, field: Field) -> list[list[float]]:
    try:
        rows = [[float(entry) for entry in row] for row in value]
    except (TypeError, ValueError, OverflowError):
        rows = []
    finite = all(math.isfinite(entry) for row in rows for entry in row)
    if not rows or not finite or any(len(row) != k for k, row in enumerate(rows, start=1)):
        raise _Fault(
            "wrong-form", "must be the lower triangle of a matrix by rows: [[aa], [ba, bb], …]"
        )
    return rows


def _nothing(value: Any, field: Field) -> None:
    if value is False or value == "false":
        return
    raise _Fault(
        "not-taken", "must be absent or false: tables of a whole pandapower net are not taken"
    )


_READERS: dict[str, Callable[[Any, Field], Any]] = {
    "number": _number,
    "integer": _integer,
    "flag": _flag,
    "word": _word,
    "choice": _choice,
    "reference": _word,
    "curve": _curve,
    "pieces": _pieces,
    "triangle": _triangle,
    "structure": _structure,
    "nothing": _nothing,
}


def _in(field: Field) -> str:
    return f" [{field.unit}]" if field.unit and field.unit != "1" else ""


def _told(value: Any) -> str:
    return f"“{shorten(value)}”"


#: How many unknown fields of one record are compared with the known ones, and how many are told.
_HINTED, _TOLD = 20, 100


def read(
    record: type[Record], plain: Mapping[str, Any], what: str, place: str = "parameter"
) -> tuple[Record | None, list[Problem]]:
    """A record from plain values, or every reason why not.

    what   how a sentence calls the record, e.g. "Line “Cable 1”" or "Settings"
    place  what a sentence calls a field: "parameter" of an element, "setting" of a study
    """
    fields = fields_of(record)
    values: dict[str, Any] = {}
    problems: list[Problem] = []
    for name, value in plain.items():
        field = fields.get(name)
        if field is None and len(problems) >= _TOLD:
            break
        if field is None:
            hint = nearest(name, fields) if len(problems) < _HINTED else ""
            problems.append(
                Problem(
                    kind=f"unknown-{place}",
                    message=f"{what} has no {place} “{shorten(name)}”.{hint}",
                    field=shorten(name, 200),
                )
            )
            continue
        value = present(value)
        if value is ABSENT:
            continue
        try:
            values[name] = _READERS[field.type](value, field)
        except _Fault as fault:
            values[name] = None
            problems.append(
                Problem(kind=fault.kind, message=f"{what}: {name} {fault}.", field=name)
            )
    problems += [
        Problem(
            kind=f"missing-{place}", message=f"{what} needs {name}: {field.meaning}", field=name
        )
        for name, field in fields.items()
        if field.required and name not in values
    ]
    return (None if problems else record(**values)), problems
