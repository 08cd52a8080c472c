"""The feeder's routes. Those of a session exist twice: for any session, and for the default one."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import msgspec
import orjson
from flask import Blueprint, Response, current_app, g, request
from werkzeug.exceptions import HTTPException
from werkzeug.routing import RoutingException

from electrisim.feeder import modifications, reads, report, scenarios
from electrisim.feeder.api import (
    PROMISED,
    ROUTES,
    At,
    Fork,
    NewSession,
    Nothing,
    Part,
    Route,
    Shown,
)
from electrisim.feeder.configuration import Configuration
from electrisim.feeder.fold import STEPS, Entry
from electrisim.feeder.journal import Journal
from electrisim.feeder.model import Options, Solver
from electrisim.feeder.modifications import KINDS
from electrisim.feeder.page import PAGE, POLICY
from electrisim.feeder.refusals import invalid, refused
from electrisim.feeder.sessions import DEFAULT, Answer, Sessions
from electrisim.feeder.tables import FEEDERS
from electrisim.feeder.tables import read as read_feeder
from electrisim.fields import read
from electrisim.problems import Problem, ProblemError, shorten

#: No modification is nearly so long [byte].
LARGEST_BODY = 64 * 1024

MEDIA_TYPE = "application/json"
LINES = "application/x-ndjson"


def blueprint(solver: Solver, configuration: Configuration) -> Blueprint:
    """All routes of the feeder.

    Nothing is opened before the first request, so that the process may be forked meanwhile.
    """
    feeder = Blueprint("feeder", __name__)
    feeders = {name: read_feeder(name) for name in FEEDERS}
    journal = Journal(configuration.database)
    sessions = Sessions(solver, feeders, journal, configuration.default, configuration.restart)
    report.prepare(configuration.reports)
    views = _Views(sessions, configuration)
    for route in ROUTES:
        for rule in route.rules:
            _add(feeder, rule, route, views)
    feeder.before_app_request(_misdirected)
    feeder.register_error_handler(ProblemError, _problem_response)
    feeder.register_error_handler(HTTPException, _http_error)
    feeder.register_error_handler(Exception, _defect)
    return feeder


def _add(feeder: Blueprint, rule: str, route: Route, views: _Views) -> None:
    view = views.of(route)

    def answer(**arguments: str) -> Response:
        if route.session:
            arguments.setdefault("session_id", DEFAULT)
        return view(**arguments)

    feeder.add_url_rule(
        rule, f"{route.view} {rule}".replace(".", "-"), answer, methods=[route.method]
    )


class _Views:
    """What answers the routes, by their names."""

    def __init__(self, sessions: Sessions, configuration: Configuration) -> None:
        self._sessions = sessions
        self._configuration = configuration

    def of(self, route: Route) -> Callable[..., Response]:
        if route.view in KINDS:
            return lambda session_id: self._modify(session_id, route.view)
        if route.view in STEPS:
            return lambda session_id: self._step(session_id, route.view)
        found: Callable[..., Response] = getattr(self, route.view)
        return found

    # -- modifications -----------------------------------------------------------------------------

    def _modify(self, session_id: str, kind: str) -> Response:
        modification = modifications.decode(KINDS[kind], _body())
        payload: dict[str, Any] = msgspec.to_builtins(modification)
        return self._do(session_id, Entry(kind, payload))

    def _step(self, session_id: str, step: str) -> Response:
        _fields(Nothing, _body(optional=True), f"`{step}`")
        return self._do(session_id, Entry(step, {}))

    def _do(self, session_id: str, entry: Entry) -> Response:
        key = _idempotency_key()
        sessions = self._sessions
        session = sessions.session(session_id)
        seq, answer = sessions.do(session, entry, key)
        if session.id == DEFAULT:
            report.write(
                self._configuration.reports,
                answer.results,
                lambda: sessions.journal.head(session) == seq,
            )
        return _results(answer, seq)

    # -- the page ----------------------------------------------------------------------------------

    def page(self) -> Response:
        _fields(Shown, request.args.to_dict(), "The page")
        headers = {"Content-Security-Policy": POLICY}
        return Response(PAGE, content_type="text/html; charset=utf-8", headers=headers)

    # -- sessions ----------------------------------------------------------------------------------

    def sessions(self) -> Response:
        return _success([reads.described(session) for session in self._sessions.journal.sessions()])

    def create(self) -> Response:
        given = _fields(NewSession, _body(), "A session")
        options = msgspec.convert(
            {name: getattr(given, name) for name in Options.__struct_fields__}, Options
        )
        session = self._sessions.create(given.id, options)
        return self._first_answer(session.id)

    def fork(self, session_id: str) -> Response:
        given = _fields(Fork, _body(), "`fork`")
        session = self._sessions.fork(session_id, given.id, given.at)
        return self._first_answer(session.id)

    def _first_answer(self, session_id: str) -> Response:
        standing = self._sessions.standing(session_id)
        answer = self._sessions.answer(standing.session, standing.history.state)
        response = _results(answer, standing.seq, 201)
        response.headers["Location"] = f"/feeder/sessions/{session_id}"
        return response

    def session(self, session_id: str) -> Response:
        session = self._sessions.session(session_id)
        head = self._sessions.journal.head(session)
        return _success({**reads.described(session), "head": head})

    def delete(self, session_id: str) -> Response:
        self._sessions.delete(session_id)
        return _success({"id": session_id})

    # -- reads -------------------------------------------------------------------------------------

    def state(self, session_id: str) -> Response:
        standing, answer = self._read(session_id)
        return _results(answer, standing.seq)

    def log(self, session_id: str) -> Response:
        part = _fields(Part, request.args.to_dict(), "`log`")
        session = self._sessions.session(session_id)
        log = self._sessions.journal.log(session, beyond=part.beyond, limit=part.limit)
        head = self._sessions.journal.head(session)
        return _success({"session": session.id, "head": head, "entries": reads.entries(log)})

    def buses(self, session_id: str) -> Response:
        standing, answer = self._read(session_id)
        place = self._sessions.place(standing.session)
        listed = reads.buses(place, answer.results)
        found = {
            "source": place.feeder.source.bus,
            "buses": listed,
            "branches": reads.branches(place.feeder),
        }
        return _success(found, standing.seq)

    def bus(self, session_id: str, bus_name: str) -> Response:
        standing, answer = self._read(session_id)
        place, state = self._sessions.place(standing.session), standing.history.state
        return _success(reads.bus(place, state, answer.results, bus_name), standing.seq)

    def neighbourhoods(self, session_id: str) -> Response:
        standing, answer = self._read(session_id)
        place, state = self._sessions.place(standing.session), standing.history.state
        return _success(reads.neighbourhoods(place, state, answer.results), standing.seq)

    def additions(self, session_id: str) -> Response:
        standing = self._sessions.standing(session_id, self._at())
        return _success(reads.additions(standing.history.state), standing.seq)

    def violations(self, session_id: str) -> Response:
        standing, answer = self._read(session_id)
        return _success(answer.results["violations"], standing.seq)

    # -- scenarios ---------------------------------------------------------------------------------

    def day_profile(self, session_id: str) -> Response:
        settings = _fields(scenarios.DayProfile, _body(optional=True), "`day_profile`")
        standing = self._sessions.standing(session_id)
        place, state = self._sessions.place(standing.session), standing.history.state
        return _success(scenarios.day(self._sessions.solver, place, state, settings), standing.seq)

    def hosting_capacity(self, session_id: str) -> Response:
        settings = _fields(scenarios.HostingCapacity, _body(optional=True), "`hosting_capacity`")
        standing = self._sessions.standing(session_id)
        place, state = self._sessions.place(standing.session), standing.history.state
        solver = self._sessions.solver
        count, found = scenarios.hosting_capacity(solver, place, state, settings)
        return _told(Response(_lines(count, found), content_type=LINES), standing.seq)

    def _read(self, session_id: str) -> tuple[Any, Answer]:
        standing = self._sessions.standing(session_id, self._at())
        return standing, self._sessions.answer(standing.session, standing.history.state)

    @staticmethod
    def _at() -> int | None:
        at: int | None = _fields(At, request.args.to_dict(), "The query").at
        return at


# -- requests --------------------------------------------------------------------------------------


def _body(*, optional: bool = False) -> Mapping[str, Any]:
    """The JSON object that was sent."""
    request.max_content_length = LARGEST_BODY
    body = request.get_data(cache=False)
    if optional and not body:
        return {}
    if not request.is_json or request.content_encoding:
        raise refused(
            "unsupported-media-type",
            "The body must be JSON, sent as such: Content-Type: application/json.",
        )
    try:
        plain = msgspec.json.decode(body)
    except msgspec.DecodeError as error:
        raise refused("malformed", f"The body is not JSON: {shorten(str(error), 200)}.") from error
    except RecursionError as error:
        raise refused("malformed", "The body is nested too deep.") from error
    if not isinstance(plain, dict):
        raise refused("malformed", "The body must be a JSON object.")
    return plain


def _fields(record: type[msgspec.Struct], plain: Mapping[str, Any], what: str) -> Any:
    """The fields of a request as a record; raises ProblemError (400) with every fault."""
    found, problems = read(record, plain, what, "field")
    if found is None:
        raise invalid(problems)
    return found


_KEY = re.compile(r"[\x21-\x7e]{1,255}")


def _idempotency_key() -> str | None:
    key = request.headers.get("Idempotency-Key")
    if key is not None and not _KEY.fullmatch(key):
        message = "The Idempotency-Key must be of 1 to 255 visible ASCII characters."
        raise invalid([Problem(kind="malformed-key", message=message, field="Idempotency-Key")])
    return key


# -- answers ---------------------------------------------------------------------------------------


def _results(answer: Answer, seq: int, status: int = 200) -> Response:
    body = b'{"status":"success","results":' + answer.body + b"}"
    return _told(Response(body, status=status, content_type=MEDIA_TYPE), seq)


def _success(results: Any, seq: int | None = None) -> Response:
    body = orjson.dumps({"status": "success", "results": results})
    return _told(Response(body, content_type=MEDIA_TYPE), seq)


def _lines(count: int, found: Iterator[Any]) -> Iterator[bytes]:
    """A line for each as it is found, and one with all of them; or one that tells why not."""
    every = []
    try:
        for each in found:
            every.append(each)
            yield _line({"type": "progress", "done": len(every), "of": count, "data": each})
    except ProblemError as error:
        yield _line({"type": "error", **_error_body(error)})
    else:
        yield _line({"type": "result", "data": every})


def _line(content: Any) -> bytes:
    return msgspec.json.encode(content) + b"\n"


def _told(response: Response, seq: int | None) -> Response:
    """Which entry of the log the answer belongs to."""
    if seq is not None:
        response.headers["Log-Seq"] = str(seq)
    return response


def _error_body(error: ProblemError) -> dict[str, Any]:
    """An error as the feeder's routes tell it: two members that it has always had, and `errors`."""
    body = {
        "status": "error",
        "message": error.sentence,
        "kind": error.kind,
        "errors": error.problems,
    }
    return {**error.extra, **body}


def _problem_response(error: ProblemError) -> Response:
    body = msgspec.json.encode(_error_body(error))
    response = Response(body, status=error.status, content_type=MEDIA_TYPE)
    if error.status in (409, 503):
        response.headers["Retry-After"] = "1"
    return response


_SENTENCES = {
    404: ("not-found", "There is nothing at this address."),
    405: ("method-not-allowed", "This address does not take this method."),
    413: ("too-large", f"The body is larger than {LARGEST_BODY} bytes."),
}


def _http_error(error: HTTPException) -> Response:
    if error.code in _SENTENCES:
        response = _problem_response(refused(*_SENTENCES[error.code]))
    else:
        problem = Problem(kind="malformed", message=error.description or error.name)
        response = _problem_response(
            ProblemError([problem], status=error.code or 500, kind="malformed")
        )
    response.headers.extend(
        (name, value) for name, value in error.get_headers() if name in ("Allow", "Retry-After")
    )
    return response


def _defect(error: Exception) -> Response:
    """A defect of ours: the traceback goes to the log, the caller gets an id to quote."""
    id_ = g.get("request_id", "")
    current_app.logger.error("Defect [%s]", id_, exc_info=error)
    message = f"The server failed; this is its fault. Please report it with the id {id_}."
    problem = Problem(kind="defect", message=message)
    return _problem_response(ProblemError([problem], status=500, kind="defect", extra={"id": id_}))


def _misdirected() -> Response | None:
    """Addresses of the feeder that do not exist, and methods that they do not take."""
    error = request.routing_exception
    if isinstance(error, RoutingException) or not isinstance(error, HTTPException):
        return None
    path = request.path
    ours = path == "/feeder" or path.startswith("/feeder/") or path[1:] in PROMISED
    return _http_error(error) if ours else None
