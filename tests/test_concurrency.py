"""Requests at a time and one after another: the same bits, flat memory, workers may die."""

from __future__ import annotations

import copy
import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
EXAMPLES = [
    json.loads((ROOT / f"examples/{name}.json").read_text())
    for name in ("powerflow", "powerflow_opendss")
]
THREADS, REQUESTS = 4, 200


def bodies(engine: str) -> list[bytes]:
    """Ten requests of different networks and loads."""
    made = []
    for number in range(10):
        body = copy.deepcopy(EXAMPLES[number % 2])
        body["settings"] = {"solver": engine}
        load = body["elements"]["d1"]
        load.get("parameters", load)["p_mw"] = 1 + number / 3
        made.append(json.dumps(body).encode())
    return made


def test_threads_answer_bit_for_bit_what_one_answers_alone(app):
    """Four threads, each 200 requests to all engines in an order of its own."""
    asked = [body for engine in app.extensions["engines"] for body in bodies(engine.name)]
    alone = [app.test_client().post("/", data=body) for body in asked]
    assert {answer.status_code for answer in alone} == {200}

    def ask(thread: int) -> list[int]:
        client = app.test_client()
        wrong = []
        for turn in range(REQUESTS):
            which = (turn * (2 * thread + 1) + 3 * thread) % len(asked)
            answer = client.post("/", data=asked[which])
            if answer.data != alone[which].data:
                wrong.append(which)
        return wrong

    with ThreadPoolExecutor(THREADS) as pool:
        assert list(pool.map(ask, range(THREADS))) == [[]] * THREADS


@pytest.mark.parametrize(("engine", "count"), [("pandapower", "400"), ("opendssdirect", "1200")])
def test_memory_stays_flat(engine, count):
    """`script/bench memory` measures it at length: 5,000 requests, every server and engine."""
    run = subprocess.run(
        [sys.executable, "benchmarks/memory.py", count, "gunicorn", engine],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    per_request_kb = [float(kb) for kb in re.findall(r"\(([+-][\d.]+) kB a request\)", run.stdout)]
    assert per_request_kb, run.stdout
    # A network kept by mistake would be some ten; measured at length it is 0.4.
    assert max(per_request_kb) < 3, run.stdout


# gunicorn


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


class Server:
    """gunicorn with our settings and two workers, on a loopback port."""

    def __init__(self, process: subprocess.Popen[bytes], port: int) -> None:
        self.process = process
        self.port = port

    def post(self, body: bytes) -> tuple[int, dict[str, object]]:
        with closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)) as connection:
            connection.request("POST", "/", body)
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read())

    def workers(self) -> set[int]:
        pid = self.process.pid
        return {int(w) for w in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()}


@contextmanager
def serving(port: int) -> Iterator[Server]:
    variables = {"HOST": "127.0.0.1", "PORT": str(port), "WEB_CONCURRENCY": "2"}
    process = subprocess.Popen(
        [sys.executable, "-m", "gunicorn", "app:app"],
        cwd=ROOT,
        env={**os.environ, **variables},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield Server(process, port)
    finally:
        process.terminate()
        process.wait(timeout=60)


def wait_until(condition, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def answers(server: Server) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", server.port)) == 0


def test_a_worker_killed_in_the_middle_of_its_work_is_replaced():
    """Requests keep coming while both are killed in turn; only what they were answering fails."""
    body = json.dumps(EXAMPLES[0]).encode()
    with serving(free_port()) as server:
        wait_until(lambda: answers(server))
        wait_until(lambda: len(server.workers()) == 2)
        status, answer = server.post(body)
        assert (status, answer["success"]) == (200, True)

        outcomes: list[object] = []
        done = threading.Event()

        def keep_asking() -> None:
            while not done.is_set():
                try:
                    outcomes.append(server.post(body))
                except (http.client.HTTPException, ConnectionError) as error:
                    outcomes.append(error)

        asking = threading.Thread(target=keep_asking)
        asking.start()
        try:
            for victim in server.workers():
                before = len(outcomes)
                wait_until(lambda before=before: len(outcomes) > before + 3)
                os.kill(victim, signal.SIGKILL)
                wait_until(lambda victim=victim: len(server.workers() - {victim}) == 2)
                assert server.post(body) == (200, answer)
        finally:
            done.set()
            asking.join()
        answered = [outcome for outcome in outcomes if isinstance(outcome, tuple)]
        assert all(outcome == (200, answer) for outcome in answered)
        assert len(outcomes) - len(answered) <= 2


@pytest.mark.parametrize("command", [["app.py"], ["-m", "flask", "run"]])
def test_other_ways_to_serve(command):
    """`python app.py` and `flask run`, for development."""
    port = free_port()
    variables = {"HOST": "127.0.0.1", "PORT": str(port), "FLASK_RUN_PORT": str(port)}
    process = subprocess.Popen(
        [sys.executable, *command],
        cwd=ROOT,
        env={**os.environ, **variables},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    server = Server(process, port)
    try:
        wait_until(lambda: answers(server))
        assert server.post(json.dumps(EXAMPLES[0]).encode())[0] == 200
    finally:
        process.terminate()
        process.wait(timeout=60)
