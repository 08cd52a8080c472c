"""Many clients, several processes, and processes that die: the journal is what a serial run leaves.

gunicorn runs with the project's own settings. Times are not asserted; `script/bench feeder` prints
them.
"""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from collections import Counter
from pathlib import Path

import pytest

from benchmarks.feeder import SESSIONS, ask, plan, play, server
from electrisim.feeder.fold import Entry
from electrisim.feeder.journal import Journal
from electrisim.feeder.model import Options
from electrisim.feeder.sessions import Sessions


@pytest.fixture
def running(database, tmp_path):
    """gunicorn on an empty journal, with the ten sessions."""
    variables = {"DATABASE_URL": database, "WEB_CONCURRENCY": "3", "WEB_THREADS": "4"}
    with server(tmp_path, **variables) as (port, process):
        for id_ in SESSIONS:
            assert ask(port, "/feeder/sessions", "POST", {"id": id_})[0] == 201
        yield port, process


@pytest.fixture
def serial(engine, feeders, tmp_path):
    """Sessions of one process with a journal of its own."""
    journal = Journal(f"sqlite:///{tmp_path / 'serial.sqlite3'}")
    return Sessions(engine, feeders, journal, Options())


def logs(port):
    """Session → its entries."""
    found = {}
    for id_ in SESSIONS:
        status, body = ask(port, f"/feeder/sessions/{id_}/log?limit=10000")
        assert status == 200
        assert body["results"]["head"] == len(body["results"]["entries"])
        found[id_] = body["results"]["entries"]
    return found


def assert_every_request_was_made_once(replies, entries):
    """Those accepted are in the log under their number; those refused are not."""
    by_key = {
        (id_, entry["idempotency_key"]): entry for id_, log in entries.items() for entry in log
    }
    assert len(by_key) == sum(map(len, entries.values()))
    accepted = [reply for reply in replies if reply.status == 200]
    assert len(accepted) == len(by_key)
    for reply in accepted:
        entry = by_key[reply.request.session, reply.request.key]
        assert (entry["seq"], entry["kind"]) == (reply.seq, reply.request.kind)
        assert entry["payload"] == reply.request.fields


def assert_as_a_serial_replay(port, entries, serial):
    """Every entry was answered with, and every session ends in, what one process alone gives."""
    for id_, log in entries.items():
        assert [entry["seq"] for entry in log] == list(range(1, len(log) + 1))
        session = serial.create(id_, Options())
        for entry in log:
            _, answer = serial.do(session, Entry(entry["kind"], entry["payload"]), None)
            assert answer.digest == entry["result_digest"]
        _, body = ask(port, f"/feeder/sessions/{id_}/state")
        assert body["results"] == serial.answer(session, serial.standing(id_).history.state).results


def test_a_thousand_modifications_by_32_clients_are_as_if_made_one_by_one(running, serial):
    port, _ = running
    requests = plan(1000)
    replies = play(port, requests, clients=32)
    answered = Counter(reply.status for reply in replies)
    # Phases that 16 does not have, nothing to undo or to redo; and no 5xx.
    assert set(answered) <= {200, 422}
    wrong = {
        r.key for r in requests if (r.fields.get("bus_name"), r.fields.get("phases")) == ("16", 3)
    }
    steps = {request.key for request in requests if request.kind in ("undo", "redo")}
    refused = {reply.request.key for reply in replies if reply.status == 422}
    assert wrong
    assert wrong <= refused <= wrong | steps
    entries = logs(port)
    assert_every_request_was_made_once(replies, entries)
    assert_as_a_serial_replay(port, entries, serial)


def workers_of(process):
    listed = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    return [int(pid) for pid in listed]


def test_a_worker_that_is_killed_at_work_loses_nothing(running, serial):
    """Clients send again what they got no answer to, with its key: each is made exactly once."""
    port, process = running
    requests = plan(200, seed=2)
    replies = []
    clients = threading.Thread(target=lambda: replies.extend(play(port, requests, clients=16)))
    clients.start()
    killed = 0
    while clients.is_alive():
        time.sleep(0.7)
        workers = workers_of(process)
        if workers and clients.is_alive() and killed < 6:
            os.kill(random.choice(workers), signal.SIGKILL)  # noqa: S311
            killed += 1
    clients.join()
    assert killed >= 2
    assert sum(reply.lost for reply in replies) >= 1
    assert {reply.status for reply in replies} <= {200, 422}
    assert len(replies) == len(requests)
    entries = logs(port)
    assert_every_request_was_made_once(replies, entries)
    assert_as_a_serial_replay(port, entries, serial)


def test_what_was_answered_is_there_after_the_whole_server_was_killed(database, tmp_path):
    variables = {"DATABASE_URL": database, "WEB_CONCURRENCY": "1"}
    with server(tmp_path, **variables) as (port, process):
        body = {"bus_name": "16", "phases": 1, "kw": 200}
        status, before = ask(port, "/add_generator", "POST", body)
        assert status == 200
        for pid in [process.pid, *workers_of(process)]:
            os.kill(pid, signal.SIGKILL)
        process.wait()
    with server(tmp_path, **variables) as (port, _):
        assert ask(port, "/feeder/state") == (200, before)
