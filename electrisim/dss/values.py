"""What stands behind a property: numbers, arrays, matrices, buses, units.

A number in quotes may be an expression in reverse Polish notation, `(115 3 sqrt /)`: a calculator
with a stack of numbers, evaluated here.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import NamedTuple

from electrisim.dss.syntax import Value
from electrisim.problems import shorten


class ValueFaultError(ValueError):
    """A value that is not what the property takes; its text is the end of a sentence."""


class BusAt(NamedTuple):
    """A bus and the nodes at which an element's conductors are; none where the usual ones."""

    name: str
    nodes: tuple[int, ...]


#: Longest array or matrix row, expressions in one, and largest number.
LONGEST, MOST_EXPRESSIONS, LARGEST = 100_000, 100, 1e30
_SPLIT = re.compile(r"[\s,]+")
_ITEM = re.compile(r"\(([^)]*)\)|\{([^}]*)\}|([^\s,(){}]+)")


def number(value: Value) -> float:
    found = _plain(value.text)
    if found is None and value.quoted:
        found = polish(value.text)
    if found is None:
        raise ValueFaultError(f"must be a number, not “{shorten(value.text)}”")
    return _finite(found, value.text)


def _finite(found: float, text: str) -> float:
    if not abs(found) <= LARGEST:
        raise ValueFaultError(f"must be a number of reasonable size, not “{shorten(text)}”")
    return found


def _plain(text: str) -> float | None:
    try:
        # What Python reads beyond OpenDSS: 1_000, digits of other scripts, infinity.
        return float(text) if text.isascii() and "_" not in text else None
    except ValueError:
        return None


def integer(value: Value) -> int:
    found = number(value)
    if found != int(found):
        raise ValueFaultError(f"must be a whole number, not “{shorten(value.text)}”")
    return int(found)


def flag(value: Value) -> bool:
    first = value.text.strip().lower()[:1]
    if first in ("y", "t") or value.text.strip() == "1":
        return True
    if first in ("n", "f") or value.text.strip() == "0":
        return False
    raise ValueFaultError(f"must be yes or no, not “{shorten(value.text)}”")


def word(value: Value) -> str:
    return value.text.strip().lower()


def words(value: Value) -> tuple[str, ...]:
    found = tuple(part.lower() for part in _SPLIT.split(value.text.replace("|", " ")) if part)
    if len(found) > LONGEST:
        raise ValueFaultError(f"must be no longer than {LONGEST}")
    return found


def numbers(value: Value) -> tuple[float, ...]:
    found = []
    whole = value.text.replace("|", " ")
    # Each opening bracket without a closing one is searched for to the end.
    if whole.count("(") + whole.count("{") > MOST_EXPRESSIONS:
        raise ValueFaultError(f"must have no more than {MOST_EXPRESSIONS} expressions")
    if _SPLIT.sub("", _ITEM.sub("", whole)):
        raise ValueFaultError(f"must be numbers, not “{shorten(value.text)}”")
    for match in _ITEM.finditer(whole):
        expression = match[1] if match[1] is not None else match[2]
        text = match[3] if expression is None else expression
        item = _plain(text)
        if item is None and expression is not None:
            item = polish(expression)
        if item is None:
            raise ValueFaultError(f"must be numbers, and “{shorten(text)}” is none")
        found.append(_finite(item, text))
        if len(found) > LONGEST:
            raise ValueFaultError(f"must be no longer than {LONGEST}")
    return tuple(found)


def matrix(value: Value) -> tuple[tuple[float, ...], ...]:
    """A symmetric matrix from its full form or its lower triangle, rows separated by “|”."""
    rows = [numbers(value._replace(text=part)) for part in value.text.split("|")]
    n = len(rows)
    if n > 20 or any(len(row) not in (k + 1, n) for k, row in enumerate(rows)):
        raise ValueFaultError("must be a matrix of rows separated by |, full or its lower triangle")
    return tuple(tuple(rows[max(i, j)][min(i, j)] for j in range(n)) for i in range(n))


def bus(value: Value) -> BusAt:
    name, *nodes = value.text.strip().lower().split(".")
    if not name or not all(node.isascii() and node.isdigit() for node in nodes):
        raise ValueFaultError(f"must be a bus such as b1 or b1.1.2, not “{shorten(value.text)}”")
    return BusAt(name, tuple(int(node[:6]) for node in nodes))


def buses(value: Value) -> tuple[BusAt, ...]:
    return tuple(bus(Value(part, False, value.line)) for part in _SPLIT.split(value.text) if part)


#: Units of length [km]; none is the unit of whatever is given per length.
KM: Mapping[str, float] = MappingProxyType(
    {
        "mi": 1.609344, "kft": 0.3048, "km": 1.0, "m": 1e-3, "ft": 0.3048e-3, "in": 0.0254e-3,
        "cm": 1e-5, "mm": 1e-6,
    }
)  # fmt: skip


def unit(value: Value) -> str:
    """A unit of length, or none; OpenDSS reads its first letters, as “miles” or “meters”."""
    text = word(value)
    if text in ("none", "n"):
        return "none"
    for name, spellings in _UNITS.items():
        if text in (name, *spellings):
            return name
    raise ValueFaultError(f"must be a unit of length ({', '.join(KM)}), not “{shorten(text)}”")


_UNITS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "mi": ("mile", "miles"), "kft": (), "km": ("kilometer", "kilometers"),
        "m": ("meter", "meters"), "ft": ("feet", "foot"), "in": ("inch", "inches"), "cm": (),
        "mm": (),
    }
)  # fmt: skip


# -- reverse Polish --------------------------------------------------------------------------------

_BINARY: Mapping[str, Callable[[float, float], float]] = MappingProxyType(
    {
        "+": lambda y, x: y + x,
        "-": lambda y, x: y - x,
        "*": lambda y, x: y * x,
        "/": lambda y, x: y / x,
        "^": lambda y, x: float(y**x),
        "atan2": lambda y, x: math.degrees(math.atan2(y, x)),
    }
)
_UNARY: Mapping[str, Callable[[float], float]] = MappingProxyType(
    {
        "sqrt": math.sqrt,
        "sqr": lambda x: x * x,
        "sin": lambda x: math.sin(math.radians(x)),
        "cos": lambda x: math.cos(math.radians(x)),
        "tan": lambda x: math.tan(math.radians(x)),
        "asin": lambda x: math.degrees(math.asin(x)),
        "acos": lambda x: math.degrees(math.acos(x)),
        "atan": lambda x: math.degrees(math.atan(x)),
        "ln": math.log,
        "log10": math.log10,
        "exp": math.exp,
        "inv": lambda x: 1 / x,
    }
)


def polish(text: str) -> float:
    """The value of an expression in reverse Polish notation; angles are in degrees."""
    stack: list[float] = []
    try:
        for token in _SPLIT.split(text.strip().lower()):
            _step(stack, token)
        return float(stack[-1])
    except (IndexError, ArithmeticError, ValueError, TypeError) as error:
        raise ValueFaultError(
            f"must be a number or an expression in reverse Polish notation, not “{shorten(text)}”"
        ) from error


def _step(stack: list[float], token: str) -> None:
    found = _plain(token)
    if found is not None:
        stack.append(found)
    elif token == "pi":
        stack.append(math.pi)
    elif token in _BINARY:
        x, y = stack.pop(), stack.pop()
        stack.append(_BINARY[token](y, x))
    elif token in _UNARY:
        stack.append(_UNARY[token](stack.pop()))
    elif token == "swap":
        stack[-2:] = stack[:-3:-1]
    else:
        raise ValueError(token)
