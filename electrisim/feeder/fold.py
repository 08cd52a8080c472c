"""From a log to the state that it leaves, and to that at any point of it. Pure.

    history = functools.reduce(next_history, entries, History())
    history.state

Nothing is forgotten: `undo` steps back over the last modification (a `reset` is one), `redo`
forward again, until another modification takes the place of those stepped back over.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import msgspec

from electrisim.feeder.modifications import KINDS
from electrisim.feeder.refusals import refused
from electrisim.feeder.state import Place, State

#: Entries of a log that are about the log itself: kind → what it does.
STEPS: Mapping[str, str] = {
    "undo": "Take the last modification back; a `reset` is one.",
    "redo": "Do again what was taken back, unless something else was done since.",
    "reset": "Return to the feeder as it came. `undo` takes that back too.",
}


class Entry(NamedTuple):
    """What happened: a modification with its fields, or one of `STEPS` without."""

    kind: str
    payload: Mapping[str, Any]


class History(NamedTuple):
    """Where a session stands.

    before    states that `undo` returns to, the last one first in turn
    state     the state now
    undone    states that `redo` returns to, likewise
    """

    before: _Stack | None = None
    state: State = State()
    undone: _Stack | None = None


class _Stack(NamedTuple):
    """A stack that shares what lies below with all others made from it."""

    top: State
    below: _Stack | None


def after(history: History, entry: Entry, place: Place) -> History:
    """The history with one more entry; raises ProblemError where the entry does not fit it."""
    if entry.kind == "undo":
        if history.before is None:
            raise refused("nothing-to-undo", "There is no modification left to take back.")
        return History(
            history.before.below, history.before.top, _Stack(history.state, history.undone)
        )
    if entry.kind == "redo":
        if history.undone is None:
            raise refused("nothing-to-redo", "Nothing was taken back since the last modification.")
        return History(
            _Stack(history.state, history.before), history.undone.top, history.undone.below
        )
    if entry.kind == "reset":
        state = State()
    else:
        modification = msgspec.convert(entry.payload, KINDS[entry.kind])
        state = modification.applied(history.state, place)
    return History(_Stack(history.state, history.before), state)
