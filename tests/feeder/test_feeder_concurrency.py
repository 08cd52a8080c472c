"""Many clients, several processes, and processes that die: the journal is what a serial run leaves.

gunicorn runs with the project's own settings. Times are not asserted; `script/bench feeder` prints
them, and makes the comparison for 1,000 modifications.
"""

from __future__ import annotations

import os
import signal

import pytest
from databases import DATABASES, empty_database

from benchmarks.feeder import Killing, ask, logs, plan, play, server, unequal, workers_of
from electrisim.feeder.journal import Journal
from electrisim.feeder.model import Options
from electrisim.feeder.sessions import Sessions


@pytest.fixture(scope="module", params=DATABASES)
def running(request, tmp_path_factory):
    """gunicorn on an empty database of each kind: (port, process)."""
    address = empty_database(request, tmp_path_factory.mktemp("database"))
    variables = {"DATABASE_URL": address, "WEB_CONCURRENCY": "3", "WEB_THREADS": "4"}
    with server(tmp_path_factory.mktemp("server"), **variables) as started:
        yield started


@pytest.fixture
def sessions(running, request):
    """Ten sessions of the test's own."""
    ids = [f"{request.function.__name__[-20:]}-{number}" for number in range(10)]
    for id_ in ids:
        assert ask(running[0], "/feeder/sessions", "POST", {"id": id_})[0] == 201
    return ids


@pytest.fixture
def serial(engine, feeders, tmp_path):
    """Sessions of one process with a journal of its own."""
    journal = Journal(f"sqlite:///{tmp_path / 'serial.sqlite3'}")
    return Sessions(engine, feeders, journal, Options())


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


def test_modifications_by_32_clients_are_as_if_made_one_by_one(running, sessions, serial):
    port, _ = running
    requests = plan(160, sessions=sessions)
    replies = play(port, requests, clients=32)
    # Phases that 16 does not have, nothing to undo or to redo; and no 5xx.
    assert {reply.status for reply in replies} <= {200, 422}
    wrong = {
        r.key for r in requests if (r.fields.get("bus_name"), r.fields.get("phases")) == ("16", 3)
    }
    steps = {request.key for request in requests if request.kind in ("undo", "redo")}
    refused = {reply.request.key for reply in replies if reply.status == 422}
    assert wrong
    assert wrong <= refused <= wrong | steps
    entries = logs(port, sessions)
    assert_every_request_was_made_once(replies, entries)
    assert unequal(port, entries, serial) == []


def test_a_worker_that_is_killed_at_work_loses_nothing(running, sessions, serial):
    """Clients send again what they got no answer to, with its key: each is made exactly once."""
    port, process = running
    requests = plan(120, seed=2, sessions=sessions)
    with Killing(process, 0.5) as killing:
        replies = play(port, requests, clients=16)
    assert killing.killed >= 2
    assert sum(reply.lost for reply in replies) >= 1
    assert {reply.status for reply in replies} <= {200, 422}
    assert len(replies) == len(requests)
    entries = logs(port, sessions)
    assert_every_request_was_made_once(replies, entries)
    assert unequal(port, entries, serial) == []


def test_what_was_answered_is_there_after_the_whole_server_was_killed(make_app, database, tmp_path):
    with server(tmp_path, DATABASE_URL=database, WEB_CONCURRENCY="1") as (port, process):
        body = {"bus_name": "16", "phases": 1, "kw": 200}
        status, before = ask(port, "/add_generator", "POST", body)
        assert status == 200
        for pid in [process.pid, *workers_of(process)]:
            os.kill(pid, signal.SIGKILL)
        process.wait()
    assert make_app(DATABASE_URL=database).test_client().get("/feeder/state").get_json() == before
