"""Sessions: what was done is read from the journal, folded, solved, judged, and then written.

Nothing is kept between requests but what the journal could tell as well: how far a log has been
folded, and the answers to states that were solved before. So any number of processes may serve the
same sessions.
"""

from __future__ import annotations

import functools
import hashlib
import random
import re
import threading
import time
import weakref
from collections import OrderedDict
from collections.abc import Hashable, Mapping
from typing import Any, Generic, NamedTuple, TypeVar

import orjson

from electrisim.feeder.fold import Entry, History, after
from electrisim.feeder.journal import Journal, Session, TakenError, Written
from electrisim.feeder.judge import judge
from electrisim.feeder.model import Options, Solver, UnsolvableError
from electrisim.feeder.refusals import refused
from electrisim.feeder.results import results
from electrisim.feeder.state import Place, State, case
from electrisim.feeder.tables import RECOMMENDED, Feeder
from electrisim.problems import shorten

#: The session of the two routes that the API has always had.
DEFAULT = "default"

#: How often a modification is tried again when others were faster.
ATTEMPTS = 30

#: How many folded logs and how many answers a process remembers.
_LOGS, _ANSWERS = 32, 16

_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")


class Answer(NamedTuple):
    """The results of a state.

    body    as JSON
    digest  of the body
    """

    results: Mapping[str, Any]
    body: bytes
    digest: str


class Standing(NamedTuple):
    """A session at a point of its log."""

    session: Session
    seq: int
    history: History


class Sessions:
    """All sessions of one journal.

    default   options of the default session, which is made when first asked for
    restart   set where the default session begins anew: a word unique to this start of the server
    """

    def __init__(
        self,
        solver: Solver,
        feeders: Mapping[str, Feeder],
        journal: Journal,
        default: Options,
        restart: str | None = None,
    ) -> None:
        self.solver = solver
        self.feeders = feeders
        self.journal = journal
        self._default = default
        self._restart = restart
        self._restarted = restart is None
        self._logs: _Remembered[tuple[int, History]] = _Remembered(_LOGS)
        self._answers: _Remembered[Answer] = _Remembered(_ANSWERS)
        self._turns = _Turns()

    # -- sessions ----------------------------------------------------------------------------------

    def session(self, id_: str) -> Session:
        """A session; raises ProblemError `unknown-session`."""
        found = self.journal.session(id_)
        if found is None and id_ == DEFAULT:
            found = self._made_default()
        if found is None:
            message = f"There is no session “{shorten(id_)}”."
            raise refused("unknown-session", message, field="id")
        if id_ == DEFAULT and not self._restarted:
            self._begin_anew(found)
        return found

    def create(self, id_: str, options: Options) -> Session:
        """A new session; raises ProblemError where the id or an option is not possible."""
        _check_id(id_)
        self._check(options)
        return self._created(id_, options)

    def fork(self, id_: str, new: str, at: int | None) -> Session:
        """A new session with the log of another, as far as a point of it."""
        _check_id(new)
        standing = self.standing(id_, at)
        log = self.journal.log(standing.session, until=standing.seq)
        entries = [written._replace(idempotency_key=None) for written in log]
        return self._created(new, standing.session.options, entries)

    def delete(self, id_: str) -> None:
        """Forget a session and all that was done to it."""
        self.journal.delete(self.session(id_))

    def place(self, session: Session) -> Place:
        """Where a session's modifications happen."""
        return Place(self.feeders[session.options.feeder], session.options)

    def _created(self, id_: str, options: Options, entries: list[Written] | None = None) -> Session:
        digest = self.feeders[options.feeder].digest
        try:
            return self.journal.create(id_, options, digest, self.solver.version(), entries or ())
        except TakenError:
            message = f"There is a session “{id_}” already."
            raise refused("session-exists", message, field="id") from None

    def _made_default(self) -> Session | None:
        digest = self.feeders[self._default.feeder].digest
        try:
            return self.journal.create(DEFAULT, self._default, digest, self.solver.version())
        except TakenError:
            return self.journal.session(DEFAULT)

    def _begin_anew(self, session: Session) -> None:
        """Reset the default session once in the life of this server, whichever process does it."""
        if self.journal.head(session) and not self.journal.of_key(session, self._restart or ""):
            self.do(session, Entry("reset", {}), self._restart)
        self._restarted = True

    def _check(self, options: Options) -> None:
        feeder = self.feeders[options.feeder]
        if options.neighbourhood_table not in feeder.neighbourhoods:
            message = (
                f"{feeder.name} has no neighbourhood table “{options.neighbourhood_table}”, "
                f"only “{RECOMMENDED}”."
            )
            raise refused("not-offered", message, field="neighbourhood_table")
        if options.lengths == "epri" and not feeder.has_epri_data:
            message = f"For {feeder.name}, only the IEEE's own data are there."
            raise refused("not-offered", message, field="lengths")

    # -- what was done -----------------------------------------------------------------------------

    def standing(self, id_: str, at: int | None = None) -> Standing:
        """A session now, or at a point of its log; raises ProblemError if there is none."""
        session = self.session(id_)
        if at is None:
            return self._now(session)
        log = self.journal.log(session, until=at)
        if at < 0 or len(log) < at:
            message = f"The log of session “{session.id}” has no entry {at}."
            raise refused("unknown-point", message, field="at")
        return Standing(session, at, self._folded(session, History(), log))

    def do(self, session: Session, entry: Entry, idempotency_key: str | None) -> tuple[int, Answer]:
        """Make a modification and solve; or neither, and raise ProblemError.

        Where others change the session meanwhile, it is tried again with what they left.
        """
        with self._turns.of(session.key), self.journal.turn(session):
            for attempt in range(ATTEMPTS):
                if idempotency_key is not None:
                    done = self.journal.of_key(session, idempotency_key)
                    if done is not None:
                        return self._again(session, entry, done)
                standing = self._now(session)
                history = after(standing.history, entry, self.place(session))
                answer = self.answer(session, history.state)
                seq = standing.seq + 1
                try:
                    self.journal.append(session, seq, entry, answer.digest, idempotency_key)
                except TakenError:
                    self.session(session.id)
                    time.sleep(random.uniform(0, 0.002 * (attempt + 1)))  # noqa: S311
                    continue
                self._logs.put(session.key, (seq, history))
                return seq, answer
        message = f"Session “{session.id}” is changed by others all the time; please try again."
        raise refused("conflict", message)

    def _again(self, session: Session, entry: Entry, done: Written) -> tuple[int, Answer]:
        """The answer to what was done under the same idempotency key before."""
        if done.entry != entry:
            message = "The Idempotency-Key was used before, for another modification."
            raise refused("key-reused", message)
        return done.seq, self.answer(session, self.standing(session.id, done.seq).history.state)

    def _now(self, session: Session) -> Standing:
        seq, history = self._logs.get(session.key) or (0, History())
        log = self.journal.log(session, beyond=seq)
        if log:
            seq, history = log[-1].seq, self._folded(session, history, log)
            self._logs.put(session.key, (seq, history))
        return Standing(session, seq, history)

    def _folded(self, session: Session, history: History, log: list[Written]) -> History:
        step = functools.partial(after, place=self.place(session))
        return functools.reduce(step, (written.entry for written in log), history)

    # -- what comes of it --------------------------------------------------------------------------

    def answer(self, session: Session, state: State) -> Answer:
        """The results of a state; raises ProblemError where it has no solution."""
        key = (session.options, state.digest())
        known = self._answers.get(key)
        if known is None:
            known = self._solved(self.feeders[session.options.feeder], session.options, state)
            self._answers.put(key, known)
        return known

    def _solved(self, feeder: Feeder, options: Options, state: State) -> Answer:
        chosen = case(feeder, state)
        try:
            with self.solver.open(feeder, options, chosen) as model:
                solved = model.solve()
        except UnsolvableError:
            message = "The power flow has no solution: the figures are beyond all measure."
            raise refused("not-converged", message) from None
        judge(feeder, options, chosen, solved)
        told = results(feeder, chosen, solved)
        body = orjson.dumps(told)
        return Answer(told, body, hashlib.sha256(body).hexdigest())


def _check_id(id_: str) -> None:
    if not _ID.fullmatch(id_):
        message = (
            f"“{shorten(id_)}” is no id of a session: 1 to 64 of letters, digits, “.”, “_”, “-”."
        )
        raise refused("invalid", message, field="id")


Value = TypeVar("Value")


class _Remembered(Generic[Value]):
    """The values used last, so many at most."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._lock = threading.Lock()
        self._values: OrderedDict[Hashable, Value] = OrderedDict()

    def get(self, key: Hashable) -> Value | None:
        with self._lock:
            if key in self._values:
                self._values.move_to_end(key)
            return self._values.get(key)

    def put(self, key: Hashable, value: Value) -> None:
        with self._lock:
            self._values[key] = value
            self._values.move_to_end(key)
            if len(self._values) > self._size:
                self._values.popitem(last=False)


class _Turns:
    """A lock per session, so that this process does not compete with itself."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._locks: weakref.WeakValueDictionary[str, _Turn] = weakref.WeakValueDictionary()

    def of(self, key: str) -> _Turn:
        with self._lock:
            return self._locks.setdefault(key, _Turn())


class _Turn:
    """A lock that can be referred to weakly."""

    def __init__(self) -> None:
        self._lock = threading.RLock()

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(self, *_: object) -> None:
        self._lock.release()
