"""A problem is a value; an error is a list of them.

Every stage collects what it finds wrong and raises once. What a caller sees is built from these
values at the edge (`electrisim.wire`), so a new kind of problem needs no change anywhere else.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec


class Problem(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One fault, told in one sentence, with the place where the caller can mend it.

    kind      stable word for programs (`unknown-field`, `unknown-bus`, `out-of-bounds`, …)
    message   one sentence for people, naming the element as its author named it
    element   id of the element in the request, None where the fault is not in an element
    name      the element's label
    field     the parameter or setting at fault
    """

    kind: str
    message: str
    element: str | None = None
    name: str | None = None
    field: str | None = None


class ProblemError(Exception):
    """A request that cannot be answered, with everything that is wrong with it.

    status   the HTTP status of the documented spelling
    kind     the kind of the whole error: `invalid`, `not-converged`, `unsupported`, `malformed`, …
    extra    members that stand beside `errors` in the answer (`diagnosis`, …)
    """

    def __init__(
        self,
        problems: Sequence[Problem],
        *,
        status: int = 422,
        kind: str = "invalid",
        extra: dict[str, Any] | None = None,
    ) -> None:
        self.problems = list(problems)
        self.status = status
        self.kind = kind
        self.extra = extra or {}
        super().__init__(self.sentence)

    @property
    def sentence(self) -> str:
        """The error in one sentence: the first problem, and how many more there are."""
        first = self.problems[0].message if self.problems else "The request cannot be answered."
        more = len(self.problems) - 1
        return f"{first} (and {more} more)" if more > 0 else first


class NotConvergedError(ProblemError):
    """No solution, or none that its certificate confirms."""

    def __init__(
        self,
        message: str,
        *,
        problems: Sequence[Problem] = (),
        diagnosis: Sequence[dict[str, Any]] = (),
        **evidence: Any,
    ) -> None:
        listed = [Problem(kind="not-converged", message=message), *problems]
        extra = {"diagnosis": list(diagnosis), **evidence}
        super().__init__(listed, kind="not-converged", extra=extra)


def nearest(word: str, known: Iterable[str]) -> str:
    """“ Did you mean …?” for a word that is not among the known; empty when nothing is near."""
    by_fold = {k.casefold(): k for k in known}
    hits = difflib.get_close_matches(word[:80].casefold(), by_fold, n=1, cutoff=0.6)
    return f" Did you mean “{by_fold[hits[0]]}”?" if hits else ""


def shorten(value: object, limit: int = 80) -> str:
    """A client's value as it may stand in a sentence: one line, printable, of bounded length."""
    text = value if isinstance(value, str) else repr(value)
    text = "".join(c if c.isprintable() else " " for c in text[: limit + 1])
    return text if len(text) <= limit else text[:limit] + "…"
