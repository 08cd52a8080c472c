"""What was odd in a request: collected while it is read, told once, naming every element."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from electrisim.problems import Problem, shorten


class Report:
    """What a user should know about how the request was read.

    problems    what refuses the study
    controlled  the kinds, as the browser names them, whose controllers the study asks for
    continuous  whether tap changers hold the middle of their band, without steps
    beyond      the fields beyond power flow that the study reads
    more        browser's field → catalogue's field, of what the study reads beyond power flow under
                another name or meaning; in `unset` it writes 0 for "not set"
    given       cell id → catalogue's fields that the study's parameters give
    kinds       element id → its kind, as the browser names it
    words       element id → catalogue's field → browser's field
    """

    def __init__(self) -> None:
        self.problems: list[Problem] = []
        self.controlled: frozenset[str] = frozenset()
        self.continuous = False
        self.beyond: frozenset[str] = frozenset()
        self.more: Mapping[str, str] = {}
        self.unset: frozenset[str] = frozenset()
        self.given: dict[str, dict[str, float]] = {}
        self.kinds: dict[str, str] = {}
        self.words: dict[str, Mapping[str, str]] = {}
        self._notes: dict[tuple[str, str], list[str]] = {}

    def note(self, typ: str, label: str, text: str) -> None:
        """Something odd that an element shares with others of its kind: told in one sentence."""
        self._notes.setdefault((typ, text), []).append(label)

    def word(self, problem: Problem) -> str:
        """The field of a problem, as the browser calls it."""
        field = problem.field or ""
        return self.words.get(problem.element or "", {}).get(field, field)

    @property
    def warnings(self) -> Iterator[str]:
        """One sentence per oddity: “Load “A”, “B”: …”."""
        for (typ, text), labels in self._notes.items():
            named = ", ".join(f"“{label}”" for label in labels)
            yield f"{typ} {named}: {text}." if typ else f"{text}."


class About:
    """The report, as one element sees it.

    typ    its kind, as the browser names it
    id     under which the network knows it
    label  what the user calls it
    """

    def __init__(self, report: Report, typ: str, id_: str, label: str) -> None:
        self.report = report
        self.typ = typ
        self.id = id_
        self.label = label
        report.kinds[id_] = typ

    @property
    def told(self) -> str:
        """What a sentence calls it."""
        return f"{self.typ} “{self.label}”"

    def note(self, text: str) -> None:
        """Something odd that does not refuse the study."""
        self.report.note(self.typ, self.label, text)

    def controls(self, what: str) -> bool:
        """Whether a controller acts: where the study asks for the controllers of its kind."""
        if self.typ in self.report.controlled:
            return True
        self.note(f"{what} does not act, because the study does not ask for control")
        return False

    def ignored(self, field: str, value: Any, why: str) -> None:
        """A value that could not be read and counts as not given."""
        self.note(f"{field} “{shorten(value)}” {why}; it counts as not given")

    def problem(self, kind: str, text: str, field: str | None = None, hint: str = "") -> None:
        """Something that refuses the study: “Load “A” <text>.<hint>”."""
        self.report.problems.append(
            Problem(
                kind=kind,
                message=f"{self.told} {text}.{hint}",
                element=self.id,
                name=self.label,
                field=field,
            )
        )
