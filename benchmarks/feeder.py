"""The stateful feeder under load: gunicorn with three workers of four threads, 32 clients.

They make 1,000 mixed modifications on ten sessions, on SQLite and, where ELECTRISIM_TEST_POSTGRES
names a database, on PostgreSQL; once undisturbed, and once while a worker is killed every second.
Clients keep their connections, and send again what was lost or refused as a conflict, with the same
Idempotency-Key. Afterwards every log is made again by one process alone, one entry after another,
and compared to the last bit.
"""

from __future__ import annotations

import http.client
import json
import os
import queue
import random
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from electrisim.feeder import tables
from electrisim.feeder.fold import Entry
from electrisim.feeder.journal import Journal
from electrisim.feeder.model import Options
from electrisim.feeder.sessions import Sessions
from opendss_bindings import Bindings
from opendss_feeder import OpenDSSFeeder

ROOT = Path(__file__).resolve().parent.parent

SESSIONS = [f"session-{number}" for number in range(10)]


class Request(NamedTuple):
    """A modification to be made once."""

    session: str
    kind: str
    fields: dict[str, Any]
    key: str


class Reply(NamedTuple):
    """What came of a request.

    kind   of the refusal, where it was refused
    seq    the entry of the log, None where it was refused
    lost   how often the connection broke before an answer
    late   how often the session was changed by others all the time
    """

    request: Request
    status: int
    kind: str
    seq: int | None
    seconds: float
    lost: int
    late: int


def plan(count: int, seed: int = 1, sessions: Sequence[str] = SESSIONS) -> list[Request]:
    """So many modifications of all kinds, some of which the feeder must refuse."""
    draw = random.Random(seed)  # noqa: S311
    return [
        Request(draw.choice(sessions), *_modification(draw), f"{seed}-{number}")
        for number in range(count)
    ]


def _modification(draw: random.Random) -> tuple[str, dict[str, Any]]:
    kind = draw.choices(
        ("add_generator", "modify_load_neighbourhood", "modify_load_node", "undo", "redo", "wrong"),
        (40, 40, 8, 6, 3, 3),
    )[0]
    if kind == "add_generator":
        bus, phases = draw.choice((("16", 1), ("48", 3), ("7", 1), ("114", 1), ("76", 3)))
        return kind, {"bus_name": bus, "phases": phases, "kw": draw.randrange(10, 300, 10)}
    if kind == "modify_load_neighbourhood":
        factor = draw.choice((0.8, 0.9, 1.05, 1.1, 1.2))
        return kind, {"neighbourhood": draw.randint(1, 14), "factor": factor}
    if kind == "modify_load_node":
        return kind, {"bus_name": draw.choice(("1", "65", "83")), "factor": 0.95}
    if kind == "wrong":
        return "add_generator", {"bus_name": "16", "phases": 3, "kw": 50}
    return kind, {}


def play(port: int, requests: Sequence[Request], clients: int) -> list[Reply]:
    """All requests, by so many clients at once; in no order."""
    waiting: queue.SimpleQueue[Request] = queue.SimpleQueue()
    for request in requests:
        waiting.put(request)
    replies: queue.SimpleQueue[Reply] = queue.SimpleQueue()
    threads = [
        threading.Thread(target=_client, args=(port, waiting, replies)) for _ in range(clients)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return [replies.get() for _ in range(replies.qsize())]


def _client(
    port: int, waiting: queue.SimpleQueue[Request], replies: queue.SimpleQueue[Reply]
) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    with closing(connection):
        while True:
            try:
                request = waiting.get_nowait()
            except queue.Empty:
                return
            replies.put(_sent(connection, request))


def _sent(connection: http.client.HTTPConnection, request: Request) -> Reply:
    headers = {"Content-Type": "application/json", "Idempotency-Key": request.key}
    path = f"/feeder/sessions/{request.session}/{request.kind}"
    start, lost, late = time.perf_counter(), 0, 0
    while True:
        try:
            connection.request("POST", path, json.dumps(request.fields), headers)
            response = connection.getresponse()
            text = response.read()
        except (OSError, http.client.HTTPException):
            connection.close()
            lost += 1
            time.sleep(0.05)
            continue
        if response.status == 409:
            late += 1
            continue
        seconds = time.perf_counter() - start
        seq = response.getheader("Log-Seq")
        kind = "" if response.status == 200 else json.loads(text)["kind"]
        number = int(seq) if seq else None
        return Reply(request, response.status, kind, number, seconds, lost, late)


@contextmanager
def server(folder: Path, **variables: str) -> Iterator[tuple[int, subprocess.Popen[bytes]]]:
    """gunicorn with our settings and (port, process), from when it answers until the block ends."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    environ = {
        **os.environ,
        "HOST": "127.0.0.1",
        "PORT": str(port),
        "STATE_DIRECTORY": str(folder),
        "LOG_LEVEL": "WARNING",
        **variables,
    }
    log = (folder / "server.log").open("wb")
    command = [sys.executable, "-m", "gunicorn", "app:app"]
    with log, subprocess.Popen(command, cwd=ROOT, env=environ, stderr=log) as process:
        try:
            _wait_for(port, process)
            yield port, process
        finally:
            process.terminate()
            process.wait(60)


def _wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    for _ in range(600):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        if process.poll() is not None:
            break
        time.sleep(0.1)
    raise RuntimeError("gunicorn did not start")


def ask(port: int, path: str, method: str = "GET", body: Any = None) -> tuple[int, Any]:
    """One request: status and JSON."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    with closing(connection):
        sent = None if body is None else json.dumps(body)
        connection.request(method, path, sent, {"Content-Type": "application/json"})
        response = connection.getresponse()
        return response.status, json.loads(response.read())


def logs(port: int, sessions: Sequence[str] = SESSIONS) -> dict[str, list[dict[str, Any]]]:
    """Session → the entries of its log."""
    return {
        id_: ask(port, f"/feeder/sessions/{id_}/log?limit=10000")[1]["results"]["entries"]
        for id_ in sessions
    }


def unequal(port: int, entries: dict[str, list[dict[str, Any]]], serial: Sessions) -> list[str]:
    """Where logs were answered otherwise than they are by one process alone, entry after entry."""
    found = []
    for id_, log in entries.items():
        if [entry["seq"] for entry in log] != list(range(1, len(log) + 1)):
            found.append(f"{id_}: the numbers of its entries have gaps")
        session = serial.create(id_, Options())
        for entry in log:
            _, answer = serial.do(session, Entry(entry["kind"], entry["payload"]), None)
            if answer.digest != entry["result_digest"]:
                found.append(f"{id_}: entry {entry['seq']} was answered otherwise")
        last = serial.answer(session, serial.standing(id_).history.state).results
        if ask(port, f"/feeder/sessions/{id_}/state")[1]["results"] != last:
            found.append(f"{id_}: it ends in another state")
    return found


def workers_of(process: subprocess.Popen[bytes]) -> list[int]:
    """The workers that run now."""
    listed = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    return [int(pid) for pid in listed]


class Killing(threading.Thread):
    """Kills a worker again and again, from `with` to the end of the block."""

    def __init__(self, process: subprocess.Popen[bytes], seconds: float) -> None:
        super().__init__()
        self._process = process
        self._seconds = seconds
        self._over = threading.Event()
        self.killed = 0

    def run(self) -> None:
        while not self._over.wait(self._seconds):
            workers = workers_of(self._process)
            if workers:
                os.kill(random.choice(workers), signal.SIGKILL)  # noqa: S311
                self.killed += 1

    def __enter__(self) -> Killing:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self.join()


class Round(NamedTuple):
    """A run of the clients, how long it took, and what was found in the logs afterwards."""

    replies: list[Reply]
    seconds: float
    killed: int
    entries: int
    unequal: list[str]


def played(requests: list[Request], sessions: list[str], kill: bool, **variables: str) -> Round:
    """All requests, by 32 clients, on a server of their own."""
    with tempfile.TemporaryDirectory() as folder:
        run = server(Path(folder), WEB_CONCURRENCY="3", WEB_THREADS="4", **variables)
        with run as (port, process):
            for id_ in sessions:
                ask(port, "/feeder/sessions", "POST", {"id": id_})
            start = time.perf_counter()
            with Killing(process, 1.0 if kill else 1e6) as killing:
                replies = play(port, requests, 32)
            seconds = time.perf_counter() - start
            entries = logs(port, sessions)
            feeders = {name: tables.read(name) for name in tables.FEEDERS}
            alone = Journal(f"sqlite:///{folder}/serial.sqlite3")
            serial = Sessions(OpenDSSFeeder(Bindings()), feeders, alone, Options())
            found = unequal(port, entries, serial)
            for id_ in sessions:
                ask(port, f"/feeder/sessions/{id_}", "DELETE")
    return Round(replies, seconds, killing.killed, sum(map(len, entries.values())), found)


def main() -> None:
    """Print the table."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    databases = {"SQLite": {}}
    if os.environ.get("ELECTRISIM_TEST_POSTGRES"):
        databases["PostgreSQL"] = {"DATABASE_URL": os.environ["ELECTRISIM_TEST_POSTGRES"]}
    titles = "".join(f"{title:>9}" for title in ("median", "p95", "p99", "max"))
    print(f"{'database':12} {'per second':>10}{titles}")
    for name, variables in databases.items():
        for kill in (False, True):
            ids = [f"{id_}-{os.getpid()}-{name}-{kill}" for id_ in SESSIONS]
            _tell(name, played(plan(count, sessions=ids), ids, kill, **variables))


def _tell(name: str, found: Round) -> None:
    replies, count = found.replies, len(found.replies)
    cuts = statistics.quantiles([reply.seconds * 1e3 for reply in replies], n=100)
    times = [cuts[49], cuts[94], cuts[98], max(reply.seconds for reply in replies) * 1e3]
    print(f"{name:12} {count / found.seconds:10.1f}" + "".join(f"{ms:6.0f} ms" for ms in times))
    answers = Counter(f"{reply.status} {reply.kind}".rstrip() for reply in replies)
    accepted = answers["200"]
    print(
        f"{'':12} {dict(sorted(answers.items()))}; {found.killed} workers killed, "
        f"{sum(reply.lost for reply in replies)} answers lost and asked for again, "
        f"{sum(reply.late for reply in replies)} conflicts"
    )
    print(
        f"{'':12} {found.entries} entries for {accepted} accepted requests; "
        f"{'; '.join(found.unequal) or 'bit-equal to a serial replay'}"
    )


if __name__ == "__main__":
    main()
