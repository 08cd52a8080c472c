"""Memory of a server that answers thousands of requests: does it stay flat?

One worker of gunicorn, never replaced, and Flask's own server, which makes a thread per
connection; four clients each, and every engine and binding in turn. Prints the resident sets of the
server and of its engine's child after a warm-up and after 5,000 more requests. The networks differ
from request to request, so that nothing can be remembered. Linux only.

    PYTHONPATH=. python benchmarks/memory.py [requests] [server …] [engine …]
"""

from __future__ import annotations

import copy
import http.client
import itertools
import json
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
EXAMPLE = json.loads((ROOT / "examples/powerflow.json").read_text())
WARM_UP = 600
CLIENTS = 4

#: Flask's server as a beginner starts it; gunicorn without the replacement that would hide a leak.
SERVERS = {
    "gunicorn": ["gunicorn", "app:app", "--workers", "1", "--max-requests", "0"],
    "flask": ["flask", "--app", "app", "run"],
}

ENGINES = {
    "pandapower": {"solver": "pandapower"},
    "opendssdirect": {"solver": "opendss"},
    "py_dss_interface": {"solver": "opendss", "binding": "py_dss_interface"},
}


def body(number: int, settings: dict[str, str]) -> bytes:
    """Ever new requests: the load, the length of a cable and a name differ."""
    found: dict[str, Any] = copy.deepcopy(EXAMPLE)
    found["settings"] = settings
    found["elements"]["d1"]["parameters"]["p_mw"] = 1 + number / 1e5
    found["elements"]["l1"]["parameters"]["length_km"] = 1 + number / 1e5
    found["elements"]["d1"]["name"] = f"Homes {number}"
    return json.dumps(found).encode()


@contextmanager
def serving(kind: str) -> Iterator[tuple[int, subprocess.Popen[bytes]]]:
    """A server and (port, process), from when it answers until the block ends."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, "-m", *SERVERS[kind]]
    command += ["--port", str(port)] if kind == "flask" else []
    with tempfile.TemporaryDirectory() as folder:
        environ = {
            **os.environ,
            "HOST": "127.0.0.1",
            "PORT": str(port),
            "STATE_DIRECTORY": folder,
            "LOG_LEVEL": "ERROR",
        }
        with subprocess.Popen(
            command, cwd=ROOT, env=environ, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        ) as process:
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
    raise RuntimeError("the server did not start")


def ask(port: int, count: int, numbers: Iterator[int], settings: dict[str, str]) -> None:
    """So many requests, by several clients at once."""
    share = [count // CLIENTS + (place < count % CLIENTS) for place in range(CLIENTS)]
    wrong: list[str] = []

    def client(each: int) -> None:
        with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=120)) as connection:
            for _ in range(each):
                connection.request("POST", "/", body(next(numbers), settings))
                response = connection.getresponse()
                text = response.read()
                if response.status != 200:
                    wrong.append(f"{response.status} {text[:200]!r}")

    threads = [threading.Thread(target=client, args=(each,)) for each in share]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if wrong:
        raise RuntimeError(f"{len(wrong)} requests were not answered; the first: {wrong[0]}")


def resident_mb(pid: int) -> dict[int, float]:
    """Resident set of a process and of all below it [MB]."""
    status = Path(f"/proc/{pid}/status").read_text()
    found = {pid: int(status.partition("VmRSS:")[2].split()[0]) / 1024}
    for task in Path(f"/proc/{pid}/task").iterdir():
        for child in (task / "children").read_text().split():
            found |= resident_mb(int(child))
    return found


def main(arguments: list[str]) -> None:
    """Print the table; the last columns are what a request costs for ever, in every process."""
    count = next((int(each) for each in arguments if each.isdigit()), 5000)
    servers = [each for each in arguments if each in SERVERS] or list(SERVERS)
    engines = [each for each in arguments if each in ENGINES] or list(ENGINES)
    print(f"{'server':10} {'engine':18} {'per second':>10}  resident before → after")
    for kind, engine in itertools.product(servers, engines):
        numbers = itertools.count(1)
        with serving(kind) as (port, process):
            ask(port, WARM_UP, numbers, ENGINES[engine])
            before = resident_mb(process.pid)
            start = time.perf_counter()
            ask(port, count, numbers, ENGINES[engine])
            rate = count / (time.perf_counter() - start)
            after = resident_mb(process.pid)
        # An engine's child may have been replaced: in order, the server, its worker, the child.
        pairs = zip(before.values(), after.values(), strict=True)
        told = ", ".join(_change(*pair, count) for pair in pairs)
        print(f"{kind:10} {engine:18} {rate:10.0f}  {told}", flush=True)


def _change(before_mb: float, after_mb: float, count: int) -> str:
    each_kb = 1024 * (after_mb - before_mb) / count
    return f"{before_mb:.1f} → {after_mb:.1f} MB ({each_kb:+.2f} kB a request)"


if __name__ == "__main__":
    main(sys.argv[1:])
