"""A whole power flow request, bytes to bytes, against the bare engine on the ready network.

Both run turn by turn in one process; the ratio is the median of the ratios of neighbours.
"""

from __future__ import annotations

import gc
import statistics
import sys
import time
from collections.abc import Callable

import pandapower as pp

from app import app
from benchmarks.cases import request
from electrisim.topology import Topology
from electrisim.wire import answer_request, documented

#: Case → how many times the bare engine a whole request may cost.
GOALS = {"case118": 1.35, "case1354pegase": 2.0, "case2869pegase": 2.4}


def seconds(job: Callable[[], object]) -> float:
    """How long a job takes once [s]."""
    start = time.perf_counter()
    job()
    return time.perf_counter() - start


def measure(case: str, rounds: int) -> tuple[float, float, float]:
    """Medians of a case: bare runpp [s], whole request [s], and their ratio."""
    engines = app.extensions["engines"]
    library = engines["pandapower"].standard_types
    body = request(case)
    settings, network = documented.decode(body, library)
    with engines["pandapower"].build(network, Topology(network), settings) as model:
        net = model.net
    pairs = []
    for _ in range(rounds):
        bare = seconds(lambda: pp.runpp(net, numba=False))
        whole = seconds(lambda: answer_request(body, engines, library))
        pairs.append((bare, whole))
    del pairs[0]
    ratio = statistics.median(whole / bare for bare, whole in pairs)
    return statistics.median(b for b, _ in pairs), statistics.median(w for _, w in pairs), ratio


def main() -> None:
    """Print the table."""
    # As under gunicorn, where the application is frozen before the fork.
    gc.collect()
    gc.freeze()
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 15
    print(f"{'case':16} {'runpp':>9} {'request':>9} {'ratio':>6} {'goal':>6}")
    for case, goal in GOALS.items():
        bare, whole, ratio = measure(case, rounds)
        print(f"{case:16} {bare * 1e3:6.1f} ms {whole * 1e3:6.1f} ms {ratio:6.2f} {goal:6.2f}")


if __name__ == "__main__":
    main()
