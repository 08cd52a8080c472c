"""The feeder's routes as data: for the blueprint, the documentation and OpenAPI alike."""

from __future__ import annotations

from typing import Annotated, NamedTuple

import msgspec

from electrisim.feeder.fold import STEPS
from electrisim.feeder.model import Options
from electrisim.feeder.modifications import KINDS
from electrisim.feeder.scenarios import DayProfile, HostingCapacity
from electrisim.fields import quantity, says

#: The two routes that the API has always had; they are of the default session.
PROMISED = ("add_generator", "modify_load_neighbourhood")

SessionId = Annotated[str, says("1 to 64 letters, digits, “.”, “_” or “-”.")]
Point = Annotated[int, quantity("1", "Number of an entry of the log; absent, the last.", ge=0)]


class Nothing(msgspec.Struct, frozen=True):
    """No fields."""


class NewSession(Options, frozen=True, kw_only=True):
    """What a session is made of; `id` alone is needed."""

    id: SessionId


class Fork(msgspec.Struct, frozen=True):
    """What a session is forked to, and from where."""

    id: SessionId
    at: Point | None = None


class At(msgspec.Struct, frozen=True):
    """A point of the log."""

    at: Point | None = None


class Part(msgspec.Struct, frozen=True):
    """A part of the log."""

    beyond: Annotated[int, quantity("1", "Only entries after this one.", ge=0)] = 0
    limit: Annotated[int, quantity("1", "So many at most.", ge=1, le=10_000)] = 1000


class Shown(msgspec.Struct, frozen=True):
    """What the page shows."""

    session: Annotated[str, says("Id of the session to show.")] = "default"


class Route(NamedTuple):
    """A route.

    view     what answers it; of a modification or a step of the log, its kind
    path     below /feeder, or below a session
    session  whether it is of a session: then it exists for the default one, too
    fields   of the body, or of the query where the method is GET
    answer   "results" of a state, or what else: "rows", "record", a "stream" of lines,
             a "page"
    """

    view: str
    method: str
    path: str
    session: bool
    fields: type[msgspec.Struct]
    answer: str
    summary: str

    @property
    def written(self) -> bool:
        """Whether it leaves an entry in the log."""
        return self.view in KINDS or self.view in STEPS

    @property
    def rules(self) -> list[str]:
        """The addresses, in Flask's spelling; the shortest first."""
        if not self.session:
            return [f"/feeder{self.path}"]
        promised = [f"/{self.view}"] if self.view in PROMISED else []
        default = [f"/feeder{self.path}"] if self.path else []
        return [*promised, *default, f"/feeder/sessions/<session_id>{self.path}"]


def _read(view: str, path: str, answer: str, summary: str) -> Route:
    return Route(view, "GET", path, True, At, answer, summary)


ROUTES: tuple[Route, ...] = (
    *(
        Route(
            kind,
            "POST",
            f"/{kind}",
            True,
            modification,
            "results",
            " ".join((modification.__doc__ or "").split()),
        )
        for kind, modification in KINDS.items()
    ),
    *(
        Route(step, "POST", f"/{step}", True, Nothing, "results", summary)
        for step, summary in STEPS.items()
    ),
    Route(
        "fork",
        "POST",
        "/fork",
        True,
        Fork,
        "results",
        "Make a new session with the log of this one, as far as a point of it.",
    ),
    _read("state", "/state", "results", "The results, now or at any point of the log."),
    Route("log", "GET", "/log", True, Part, "record", "What was done to the session, in order."),
    _read("buses", "/buses", "record", "All buses with their nodes, and what joins them."),
    _read(
        "bus",
        "/buses/<bus_name>",
        "record",
        "One bus: its nodes, its loads, what was added to it, its neighbours and violations.",
    ),
    _read(
        "neighbourhoods",
        "/neighbourhoods",
        "rows",
        "All neighbourhoods with their buses, consumption and generation.",
    ),
    _read(
        "additions",
        "/additions",
        "record",
        "All that was added: generators, devices, storages, programmes.",
    ),
    _read(
        "violations",
        "/violations",
        "rows",
        "Voltages beyond ANSI C84.1 (range A 0.95 to 1.05, B 0.917 to 1.058), transformers above "
        "80 % (warning), 90 % (critical) and 100 % (overloaded).",
    ),
    Route(
        "day_profile",
        "POST",
        "/day_profile",
        True,
        DayProfile,
        "record",
        "The session over a day: generators with a solar shape, loads with a daily one, regulators "
        "that keep their taps; columns, tap operations and energies. Nothing is changed.",
    ),
    Route(
        "hosting_capacity",
        "POST",
        "/hosting_capacity",
        True,
        HostingCapacity,
        "stream",
        "The largest generator that each bus takes before a voltage, a transformer's loading or "
        "rating, or the delivery of its power forbids more, and which of them. Streamed, a line "
        "as each is found. Nothing is changed.",
    ),
    Route(
        "page",
        "GET",
        "",
        False,
        Shown,
        "page",
        "A page to see the feeder and to work with it.",
    ),
    Route("sessions", "GET", "/sessions", False, Nothing, "rows", "All sessions."),
    Route("create", "POST", "/sessions", False, NewSession, "results", "Make a session."),
    Route("session", "GET", "", True, Nothing, "record", "A session's options and its last entry."),
    Route("delete", "DELETE", "", True, Nothing, "record", "Forget a session and its log."),
)
