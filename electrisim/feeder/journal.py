"""The journal: what was done to each session, in order, in SQLite or PostgreSQL.

Rows are only ever added. A modification has its number in the primary key, so that of two that were
made of the same state only one can be written; the other one's author looks again.
"""

from __future__ import annotations

import datetime
import fcntl
import os
import secrets
import threading
import time
import weakref
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import sqlalchemy as sa
from sqlalchemy import Column, Connection, Engine, ForeignKey, Integer, String, Table, Text

from electrisim.feeder.fold import Entry
from electrisim.feeder.model import Options
from electrisim.feeder.refusals import refused

_METADATA = sa.MetaData()

SESSIONS = Table(
    "feeder_session",
    _METADATA,
    Column("key", String(32), primary_key=True),
    Column("id", String(64), nullable=False, unique=True),
    Column("options", Text, nullable=False),
    Column("feeder_digest", String(64), nullable=False),
    Column("engine_version", String(80), nullable=False),
    Column("created", String(32), nullable=False),
)

MODIFICATIONS = Table(
    "feeder_modification",
    _METADATA,
    Column(
        "session",
        String(32),
        ForeignKey("feeder_session.key", ondelete="CASCADE"),
        primary_key=True,
    ),
    Column("seq", Integer, primary_key=True, autoincrement=False),
    Column("kind", String(40), nullable=False),
    Column("payload", Text, nullable=False),
    Column("result_digest", String(64), nullable=False),
    Column("at", String(32), nullable=False),
    Column("idempotency_key", String(255)),
    sa.UniqueConstraint("session", "idempotency_key"),
)

#: How long a writer waits for others to finish writing to SQLite [s].
_PATIENCE_S = 30

#: How long others are waited for that are changing the same session [s].
_COURTESY_S = 5

#: Any number that nobody else takes: two processes must not make the tables at once.
_ADVISORY_LOCK = 0x656C6563


class Session(NamedTuple):
    """A session as it was made.

    key  unique for ever, where an id may be given again after its session was deleted
    """

    key: str
    id: str
    options: Options
    feeder_digest: str
    engine_version: str
    created: str


class Written(NamedTuple):
    """An entry of a log.

    seq            its number, from 1 on
    result_digest  of the results that it was answered with
    """

    seq: int
    entry: Entry
    result_digest: str
    at: str
    idempotency_key: str | None


class TakenError(Exception):
    """Another row has the place: the number, the idempotency key, or the session's id."""


class Journal:
    """The journal in one database.

    url  sqlite:///path, or postgresql://… in any spelling, among them Heroku's postgres://
    """

    def __init__(self, url: str) -> None:
        self._url = normalised(url)
        self._lock = threading.Lock()
        self._engine: Engine | None = None
        self._process = 0
        self._end: weakref.finalize[[Engine], Journal] | None = None

    # -- sessions ----------------------------------------------------------------------------------

    def session(self, id_: str) -> Session | None:
        """A session by its id."""
        with self._reading() as connection:
            row = connection.execute(sa.select(SESSIONS).where(SESSIONS.c.id == id_)).first()
        return None if row is None else _session(row)

    def sessions(self) -> list[Session]:
        """All sessions, the oldest first."""
        query = sa.select(SESSIONS).order_by(SESSIONS.c.created, SESSIONS.c.id)
        with self._reading() as connection:
            return [_session(row) for row in connection.execute(query)]

    def create(
        self,
        id_: str,
        options: Options,
        feeder_digest: str,
        engine_version: str,
        entries: Sequence[Written] = (),
    ) -> Session:
        """A new session, with a log to begin with; raises TakenError if the id is in use."""
        session = Session(
            secrets.token_hex(16), id_, options, feeder_digest, engine_version, _now()
        )
        row = session._asdict() | {"options": msgspec.json.encode(options).decode()}
        with self._writing() as connection:
            connection.execute(sa.insert(SESSIONS), row)
            if entries:
                rows = [_row(session.key, written) for written in entries]
                connection.execute(sa.insert(MODIFICATIONS), rows)
        return session

    def delete(self, session: Session) -> None:
        """Forget a session and its log."""
        with self._writing() as connection:
            connection.execute(sa.delete(SESSIONS).where(SESSIONS.c.key == session.key))

    # -- logs --------------------------------------------------------------------------------------

    def log(
        self, session: Session, beyond: int = 0, until: int | None = None, limit: int | None = None
    ) -> list[Written]:
        """The entries of a session with beyond < seq ≤ until."""
        table = MODIFICATIONS
        query = sa.select(table).where(table.c.session == session.key, table.c.seq > beyond)
        if until is not None:
            query = query.where(table.c.seq <= until)
        with self._reading() as connection:
            rows = connection.execute(query.order_by(table.c.seq).limit(limit))
            return [_written(row) for row in rows]

    def head(self, session: Session) -> int:
        """The number of the last entry; 0 where there is none."""
        table = MODIFICATIONS
        query = sa.select(sa.func.max(table.c.seq)).where(table.c.session == session.key)
        with self._reading() as connection:
            return connection.execute(query).scalar() or 0

    def of_key(self, session: Session, idempotency_key: str) -> Written | None:
        """The entry that was made under an idempotency key."""
        table = MODIFICATIONS
        query = sa.select(table).where(
            table.c.session == session.key, table.c.idempotency_key == idempotency_key
        )
        with self._reading() as connection:
            row = connection.execute(query).first()
        return None if row is None else _written(row)

    def append(
        self,
        session: Session,
        seq: int,
        entry: Entry,
        result_digest: str,
        idempotency_key: str | None,
    ) -> None:
        """Write an entry; raises TakenError where others were faster, or deleted the session."""
        written = Written(seq, entry, result_digest, _now(), idempotency_key)
        with self._writing() as connection:
            connection.execute(sa.insert(MODIFICATIONS), _row(session.key, written))

    @contextmanager
    def turn(self, session: Session) -> Iterator[None]:
        """Let other processes wait that would change the same session, so far as they do.

        A courtesy: two that solve for one session at once do so for nothing but one of them. The
        lock ends with its process, is waited for only so long, and nothing depends on it.
        """
        with _answering():
            engine = self._connected()
        number = int(session.key[:7], 16)
        taken = _turn_on_file if engine.dialect.name == "sqlite" else _turn_on_server
        with taken(engine, number):
            yield

    # -- the database ------------------------------------------------------------------------------

    @contextmanager
    def _reading(self) -> Iterator[Connection]:
        with _answering(), self._connected().connect() as connection:
            yield connection

    @contextmanager
    def _writing(self) -> Iterator[Connection]:
        with _answering(), self._connected().connect() as connection:
            connection.execution_options(writing=True)
            with connection.begin():
                yield connection

    def _connected(self) -> Engine:
        """The engine of this process, made at its first request: connections survive no fork."""
        with self._lock:
            if self._engine is None or self._process != os.getpid():
                # What was inherited belongs to the other process, and is not to be closed here.
                if self._end is not None:
                    self._end.detach()
                self._engine = _engine(self._url)
                self._end = weakref.finalize(self, _close, self._engine)
                self._process = os.getpid()
            return self._engine


def normalised(text: str) -> sa.URL:
    """An address as SQLAlchemy takes it; raises ValueError for another kind of database."""
    scheme, colon, rest = text.partition(":")
    if scheme in ("postgres", "postgresql", "postgresql+psycopg"):
        scheme = "postgresql+psycopg"
    elif scheme != "sqlite":
        raise ValueError(
            "DATABASE_URL: the feeder's journal is kept in PostgreSQL (postgresql://…) or SQLite "
            f"(sqlite:///path), not in “{scheme}”."
        )
    return sa.make_url(scheme + colon + rest)


def _engine(url: sa.URL) -> Engine:
    if url.get_backend_name() == "sqlite":
        if url.database:
            Path(url.database).parent.mkdir(parents=True, exist_ok=True)
        turns = Path(f"{url.database}-turns").open("ab")  # noqa: SIM115
        engine = sa.create_engine(
            url, connect_args={"timeout": _PATIENCE_S}, execution_options={"turns": turns}
        )
        sa.event.listen(engine, "connect", _prepare_sqlite)
        sa.event.listen(engine, "begin", _begin_sqlite)
    else:
        engine = sa.create_engine(url, pool_pre_ping=True)
    with engine.connect() as connection:
        connection.execution_options(writing=True)
        with connection.begin():
            if engine.dialect.name == "postgresql":
                lock = sa.func.pg_advisory_xact_lock(_ADVISORY_LOCK)
                connection.execute(sa.select(lock))
            _METADATA.create_all(connection)
    return engine


@contextmanager
def _turn_on_server(engine: Engine, number: int) -> Iterator[None]:
    with _answering():
        connection = engine.connect()
    with connection, connection.begin() as transaction:
        try:
            connection.execute(sa.text(f"SET LOCAL lock_timeout = '{_COURTESY_S}s'"))
            lock = sa.func.pg_advisory_xact_lock(_ADVISORY_LOCK >> 1, number)
            connection.execute(sa.select(lock))
        except sa.exc.OperationalError:
            transaction.rollback()
        yield


@contextmanager
def _turn_on_file(engine: Engine, number: int) -> Iterator[None]:
    """A lock of one byte. The file stays open: closing it would end all locks of the process."""
    file = engine.get_execution_options()["turns"]
    until = time.monotonic() + _COURTESY_S
    while time.monotonic() < until:
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, number)
            break
        except BlockingIOError:
            time.sleep(0.002)
    try:
        yield
    finally:
        fcntl.lockf(file, fcntl.LOCK_UN, 1, number)


def _close(engine: Engine) -> None:
    engine.dispose()
    turns = engine.get_execution_options().get("turns")
    if turns is not None:
        turns.close()


def _prepare_sqlite(connection: Any, _record: object) -> None:
    # Python's module would begin transactions by itself, and not where reading begins.
    connection.isolation_level = None
    for pragma in ("journal_mode=WAL", "foreign_keys=ON", "synchronous=FULL"):
        connection.execute(f"PRAGMA {pragma}")


def _begin_sqlite(connection: Connection) -> None:
    # A writer that begins as a reader cannot wait for another writer; it fails.
    writing = connection.get_execution_options().get("writing", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writing else "BEGIN")


@contextmanager
def _answering() -> Iterator[None]:
    try:
        yield
    except sa.exc.IntegrityError as error:
        raise TakenError from error
    except (sa.exc.OperationalError, sa.exc.InterfaceError, sa.exc.TimeoutError) as error:
        message = "The database of the feeder's journal does not answer; please try again."
        raise refused("journal-unavailable", message) from error
    except OSError as error:
        message = "The place of the feeder's journal cannot be written to; see DATABASE_URL."
        raise refused("journal-unavailable", message) from error


# -- rows ------------------------------------------------------------------------------------------


def _session(row: Any) -> Session:
    plain: Mapping[str, Any] = row._mapping
    return Session(**{**plain, "options": msgspec.json.decode(plain["options"], type=Options)})


def _row(session: str, written: Written) -> dict[str, Any]:
    return {
        "session": session,
        "seq": written.seq,
        "kind": written.entry.kind,
        "payload": msgspec.json.encode(written.entry.payload).decode(),
        "result_digest": written.result_digest,
        "at": written.at,
        "idempotency_key": written.idempotency_key,
    }


def _written(row: Any) -> Written:
    entry = Entry(row.kind, msgspec.json.decode(row.payload))
    return Written(row.seq, entry, row.result_digest, row.at, row.idempotency_key)


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="microseconds")
