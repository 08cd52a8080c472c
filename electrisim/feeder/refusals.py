"""What a feeder's routes refuse, and with which status."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import NamedTuple

from electrisim.problems import Problem, ProblemError, shorten


class Refusal(NamedTuple):
    """A kind of refusal: its HTTP status, and when it comes."""

    status: int
    when: str


#: The kinds of refusals that are the feeder's own. Faults of single fields are 400 and have the
#: kinds of all fields.
REFUSALS: Mapping[str, Refusal] = MappingProxyType(
    {
        "malformed": Refusal(400, "The body is not JSON, not an object, or nested too deep."),
        "invalid": Refusal(400, "A field is missing, unknown, or not what it must be."),
        "unknown-session": Refusal(404, "There is no such session."),
        "unknown-bus": Refusal(404, "The feeder has no such bus; the nearest names are given."),
        "unknown-neighbourhood": Refusal(404, "The feeder has no such neighbourhood."),
        "unknown-generator": Refusal(404, "There is no such generator at the bus."),
        "unknown-device": Refusal(404, "There is no such device at the bus."),
        "unknown-storage": Refusal(404, "There is no such storage at the bus."),
        "unknown-programme": Refusal(404, "There is no such demand-flexibility programme."),
        "unknown-point": Refusal(404, "The log has no such entry."),
        "not-found": Refusal(404, "There is nothing at the address."),
        "method-not-allowed": Refusal(405, "The address does not take the method."),
        "conflict": Refusal(
            409, "Others changed the session again and again meanwhile; nothing was changed."
        ),
        "session-exists": Refusal(409, "There is a session of this id already."),
        "too-large": Refusal(413, "The body is larger than a modification can be."),
        "unsupported-media-type": Refusal(415, "The body is not said to be JSON."),
        "dead-bus": Refusal(422, "The bus lies behind an open switch and has no voltage."),
        "missing-phases": Refusal(422, "The bus has not so many phases."),
        "overrated": Refusal(
            422,
            "All that was added behind the transformer that feeds the bus is more than its rating.",
        ),
        "name-taken": Refusal(422, "Something of this name is there already."),
        "not-added": Refusal(422, "There is nothing of that kind to act on."),
        "nothing-to-undo": Refusal(422, "No modification is left to take back."),
        "nothing-to-redo": Refusal(422, "Nothing was taken back since the last modification."),
        "not-offered": Refusal(422, "The feeder has no such data."),
        "not-converged": Refusal(422, "There is no solution."),
        "not-delivered": Refusal(
            422, "The solution delivers another power than was asked for, by more than 0.5 %."
        ),
        "key-reused": Refusal(422, "The Idempotency-Key came before, with another request."),
        "journal-unavailable": Refusal(503, "The database of the journal does not answer."),
    }
)


def refused(
    kind: str, message: str, *, field: str | None = None, element: str | None = None
) -> ProblemError:
    """A refusal of one problem."""
    problem = Problem(kind=kind, message=message, element=element, field=field)
    return ProblemError([problem], status=REFUSALS[kind].status, kind=kind)


def invalid(problems: list[Problem]) -> ProblemError:
    """Fields that are not what they must be, all of them."""
    return ProblemError(problems, status=REFUSALS["invalid"].status, kind="invalid")


def nearest_names(word: str, known: Iterable[str]) -> str:
    """“ The nearest names are 6, 16 and 61.”; the first of them where nothing is near."""
    names = list(known)
    near = difflib.get_close_matches(shorten(word), names, n=3, cutoff=0.3)
    if not names:
        return ""
    if not near:
        return f" There are {_listed(names[:3])}{', among others' if names[3:] else ''}."
    return f" The nearest {'name is' if len(near) == 1 else 'names are'} {_listed(near)}."


def _listed(names: list[str]) -> str:
    return " and ".join([", ".join(names[:-1]), names[-1]] if names[1:] else names)
