"""Memory of a process that answers one request after another: does it stay flat?

Prints the resident set after a warm-up and after 2,000 more requests, every engine in turn. The
networks differ from request to request, so that nothing can be remembered. Linux only.
"""

from __future__ import annotations

import copy
import gc
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from app import create_app

EXAMPLE = json.loads((Path(__file__).parent.parent / "examples/powerflow.json").read_text())
WARM_UP = 600


def resident_mb() -> float:
    """Resident set of this process [MB]."""
    gc.collect()
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    raise OSError("/proc/self/status has no VmRSS")


def requests(engine: str) -> Iterator[bytes]:
    """Ever new requests: the load, the length of a cable and a name differ."""
    number = 0
    while True:
        number += 1
        body: dict[str, Any] = copy.deepcopy(EXAMPLE)
        body["settings"] = {"solver": engine}
        body["elements"]["d1"]["parameters"]["p_mw"] = 1 + number / 1e4
        body["elements"]["l1"]["parameters"]["length_km"] = 1 + number / 1e4
        body["elements"]["d1"]["name"] = f"Homes {number}"
        yield json.dumps(body).encode()


def main(count: int) -> None:
    """Print the table; the last column is what a request costs for ever."""
    app = create_app({"LOG_LEVEL": "WARNING"})
    client = app.test_client()
    print(f"{'engine':12} {'requests':>8} {'before':>9} {'after':>9} {'per request':>12}")
    for engine in app.extensions["engines"]:
        bodies = requests(engine.name)
        for _ in range(WARM_UP):
            assert client.post("/", data=next(bodies)).status_code == 200
        before_mb = resident_mb()
        for _ in range(count):
            assert client.post("/", data=next(bodies)).status_code == 200
        after_mb = resident_mb()
        each_kb = 1024 * (after_mb - before_mb) / count
        print(
            f"{engine.name:12} {count:8} {before_mb:6.1f} MB {after_mb:6.1f} MB {each_kb:9.2f} kB"
        )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 2000)
