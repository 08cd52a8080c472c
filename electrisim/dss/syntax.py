"""Lines of a script to commands: comments, continuations, quotes, names and values.

OpenDSS separates by white space and commas and has five pairs of quotes, which do not nest.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from electrisim.problems import Problem, ProblemError, shorten


class Value(NamedTuple):
    """A parameter's text, whether it stood in quotes, and its line (from 1)."""

    text: str
    quoted: bool
    line: int


class Parameter(NamedTuple):
    """`name=value`, or a value by its position (name None)."""

    name: str | None
    value: Value


class Command(NamedTuple):
    """A verb and its parameters; a line that begins with `class.name.property=` has verb "".

    place  in words, where it stands
    """

    verb: str
    parameters: list[Parameter]
    line: int
    place: str


#: Characters of a line: a load shape of a year is a tenth of it.
LONGEST_LINE = 1_000_000

_QUOTES = {"(": ")", "[": "]", "{": "}", '"': '"', "'": "'"}
_GAP = re.compile(r"[\s,]*")
_PLAIN = re.compile(r"[^\s,=!]+")
_EQUALS = re.compile(r"\s*=\s*")


def refused(message: str, place: str, kind: str = "refused-command") -> ProblemError:
    """A script that is not taken, for one reason, with where that stands."""
    return ProblemError([problem(message, place, kind)])


def problem(message: str, place: str, kind: str, element: str | None = None) -> Problem:
    return Problem(kind=kind, message=f"{place}: {message}", element=element)


def place_of(file: str, line: int) -> str:
    return f"{shorten(file)}, line {line}" if file else f"Line {line}"


def commands(text: str, file: str = "") -> Iterator[Command]:
    """The commands of a script in order; raises ProblemError where a quote is not closed.

    file  its name, where there are several
    """
    in_comment = False
    for line, source in enumerate(text.splitlines(), 1):
        begins = source.lstrip()[:2]
        if not in_comment and (not begins or begins[0] == "!" or begins == "//"):
            continue
        if in_comment or begins == "/*":
            in_comment = "*/" not in source
            continue
        place = place_of(file, line)
        if len(source) > LONGEST_LINE:
            raise refused(f"The line is longer than {LONGEST_LINE}.", place, "unread-text")
        parameters = list(_parameters(source, line, place))
        if parameters:
            yield _command(parameters, line, place)


def _command(parameters: list[Parameter], line: int, place: str) -> Command:
    first = parameters[0]
    if first.name is not None or first.value.quoted:
        return Command("", parameters, line, place)
    verb = first.value.text.lower()
    if verb.startswith("~") and len(verb) > 1:
        # “~ kv=1” and “~kv=1” are the same; the name then sticks to the sign.
        return Command("~", [Parameter(None, first.value), *parameters[1:]], line, place)
    return Command(verb, parameters[1:], line, place)


def _parameters(source: str, line: int, place: str) -> Iterator[Parameter]:
    at = 0
    if source.lstrip().startswith("~"):
        at = source.index("~") + 1
        yield Parameter(None, Value("~", False, line))
    while True:
        at = _GAP.match(source, at).end()  # type: ignore[union-attr]
        if at >= len(source) or source[at] == "!" or source.startswith("//", at):
            return
        value, at = _value(source, at, line, place)
        equals = _EQUALS.match(source, at)
        if equals is None or value.quoted:
            yield Parameter(None, value)
            continue
        name, at = value.text.lower(), equals.end()
        if at >= len(source) or source[at] in "!,":
            yield Parameter(name, Value("", False, line))
            continue
        value, at = _value(source, at, line, place)
        yield Parameter(name, value)


def _value(source: str, at: int, line: int, place: str) -> tuple[Value, int]:
    opening = source[at]
    if opening in _QUOTES:
        end = source.find(_QUOTES[opening], at + 1)
        if end < 0:
            raise refused(f"The {opening} is not closed.", place, "unread-text")
        return Value(source[at + 1 : end], True, line), end + 1
    match = _PLAIN.match(source, at)
    if match is None:
        raise refused(f"“{shorten(source[at:])}” is no parameter.", place, "unread-text")
    return Value(match[0], False, line), match.end()
