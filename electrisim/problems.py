"""A problem is a value; an error is a list of them.

Every stage collects what it finds wrong and raises once. What a caller sees is built from these
values at the edge (`electrisim.wire`), so a new kind of problem needs no change anywhere else.
"""

from __future__ import annotations

import difflib
import reprlib
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

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
        element: str | None = None,
        name: str | None = None,
        problems: Sequence[Problem] = (),
        diagnosis: Sequence[dict[str, Any]] = (),
        **evidence: Any,
    ) -> None:
        told = Problem(kind="not-converged", message=message, element=element, name=name)
        listed = [told, *problems]
        extra = {"diagnosis": list(diagnosis), **evidence}
        super().__init__(listed, kind="not-converged", extra=extra)


class ErrorKind(NamedTuple):
    """A kind of a whole error: its HTTP status, its title, and when it comes."""

    status: int
    title: str
    when: str


#: The kinds of whole errors.
ERRORS: Mapping[str, ErrorKind] = MappingProxyType(
    {
        "malformed": ErrorKind(
            400, "Not a request", "The body is not JSON, not an object, or nested too deep."
        ),
        "not-found": ErrorKind(404, "Not found", "There is nothing at the address."),
        "method-not-allowed": ErrorKind(
            405,
            "Method not allowed",
            "The address does not take the method; `Allow` lists what it takes.",
        ),
        "too-large": ErrorKind(
            413, "Too large", "The body is larger than the server takes (`MAX_CONTENT_LENGTH`)."
        ),
        "unsupported-media-type": ErrorKind(
            415,
            "Not JSON",
            "The body is not JSON, nor said to be; or it is compressed.",
        ),
        "invalid": ErrorKind(
            422,
            "The request is wrong",
            "Something in the graph or the settings is wrong; `errors` has every fault.",
        ),
        "unsupported": ErrorKind(
            422,
            "The engine cannot do this",
            "The engine cannot represent something; `errors` names it, and who can.",
        ),
        "not-converged": ErrorKind(
            422,
            "No solution",
            "No solution, or none that certifies; `diagnosis` has the likely causes.",
        ),
        "defect": ErrorKind(
            500,
            "A defect of the server",
            "The server failed. `id` is what to quote in a report; the log has the rest.",
        ),
        "not-ready": ErrorKind(
            503, "Not ready", "`/readyz`: an engine does not solve a network of two buses."
        ),
        "overloaded": ErrorKind(
            503,
            "Overloaded",
            "All engines were busy for too long; `Retry-After` says when to ask again.",
        ),
        "engine-died": ErrorKind(
            503,
            "The engine broke down",
            "EPRI's engine ended in the middle of the request; the next one gets a new engine.",
        ),
        "deadline": ErrorKind(
            504,
            "Too slow",
            "EPRI's engine gave no answer in time (`OPENDSS_DEADLINE`) and was stopped.",
        ),
    }
)

#: The kinds of single problems.
KINDS: Mapping[str, str] = MappingProxyType({
    "unknown-study": "`simulationType` is missing or names no study.",
    "unknown-key": "The request has a key beside `simulationType`, `elements` and `settings`.",
    "unknown-typ": "The element has no `typ`, or one that names no kind.",
    "unknown-parameter": "The kind has no such parameter.",
    "unknown-setting": "The study has no such setting.",
    "unknown-value": "The value is none of those that can be chosen.",
    "unknown-std-type": "pandapower's library has no such standard type.",
    "unknown-bus": "A reference to a bus that the network does not have.",
    "unknown-dc-bus": "A reference to a DC bus that the network does not have.",
    "unknown-transformer": "A reference to a transformer that the network does not have.",
    "unknown-element": "A switch's reference to an element that the network does not have.",
    "ambiguous-name": "A reference by a name that several elements bear.",
    "missing-parameter": "A parameter that must be given is absent.",
    "missing-setting": "A setting that must be given is absent.",
    "not-an-object": "Something that must be a JSON object is none.",
    "not-a-number": "A number was expected.",
    "not-finite": "NaN or infinity, which nothing means.",
    "not-an-integer": "A whole number was expected.",
    "not-a-flag": "true or false was expected.",
    "not-a-text": "A text was expected.",
    "wrong-form": "A list or an object with other contents was expected.",
    "wrong-length": "A profile that has not one value per step.",
    "not-a-time": "A time in the form of ISO 8601 was expected.",
    "empty-outage": "An outage of no element at all.",
    "not-a-curve": "Points [x, y] with x rising were expected.",
    "not-a-spectrum": "Points [order, percent, degree] with each order once were expected.",
    "not-taken": "A table of a whole pandapower net, which this API does not take.",
    "out-of-bounds": "The number is outside its range.",
    "too-many-faults": "Reading stopped after a thousand faults; there may be more.",
    "no-elements": "The request has no elements.",
    "no-bus": "The network has no bus.",
    "no-source": "Nothing in the network is supplied: no source is in service.",
    "not-supplied": "A fault is asked for at a bus that nothing feeds.",
    "no-supply": "No bus is supplied (in the frontend's spelling, which shows no empty results).",
    "several-studies": "A request in the frontend's spelling names several studies.",
    "duplicate-id": "Two elements have one id.",
    "malformed-key": "An `Idempotency-Key` that is none (feeder).",
    "unknown-conductor": "A rating for a conductor that no line of the feeder has.",
    "given-twice": "A key stands twice, or a parameter both nested and flat.",
    "contradiction": "Two parameters contradict each other.",
    "loop": "A branch starts and ends at one bus.",
    "no-impedance": "A branch without impedance; a switch joins buses.",
    "no-phase": "An element on a phase that its bus does not have.",
    "no-reactance": "A branch without reactance, where a linear power flow needs one.",
    "unread-text": "A line of an OpenDSS script cannot be read.",
    "unread-archive": "The body is no zip, or one beyond what is read.",
    "unknown-command": "A line of an OpenDSS script begins with no command of OpenDSS.",
    "unknown-class": "A class that OpenDSS does not have.",
    "unknown-property": "A property that the class of OpenDSS does not have.",
    "unknown-object": "A reference to an object that the script has not made yet.",
    "unknown-file": "A file that the zip does not have.",
    "not-a-value": "A value of an OpenDSS script that is not what its property takes.",
    "refused-command": "A command of an OpenDSS script that describes no circuit, or reads files.",
    "refused-property": "A property of OpenDSS that has no place in the graph.",
    "unrepresented": "An object of an OpenDSS script that the graph cannot represent.",
    "too-large-circuit": "An OpenDSS script with more objects than are read.",
    "not-connected": "A switch at a bus where its element does not end.",
})  # fmt: skip


def nearest(word: str, known: Iterable[str]) -> str:
    """“ Did you mean …?” for a word that is not among the known; empty when nothing is near."""
    by_fold = {k.casefold(): k for k in known}
    hits = difflib.get_close_matches(word[:80].casefold(), by_fold, n=1, cutoff=0.6)
    return f" Did you mean “{by_fold[hits[0]]}”?" if hits else ""


def shorten(value: object, limit: int = 80) -> str:
    """A client's value as it may stand in a sentence: one line, printable, of bounded length."""
    text = value if isinstance(value, str) else reprlib.repr(value)
    text = "".join(c if c.isprintable() else " " for c in text[: limit + 1])
    return text if len(text) <= limit else text[:limit] + "…"
