"""All branch outages over HTTP, against pandapower's own analysis and raw lightsim2grid.

The request goes through the application from bytes to bytes, everything included. pandapower's
`run_contingency` solves a sample of the same outages on the same network, so that its rate is per
outage; raw lightsim2grid solves all of them, given the network ready in its own arrays, and reads
nothing. The three run turn by turn in one process; ratios are medians of the turns.
"""

from __future__ import annotations

import gc
import json
import statistics
import sys
import time
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
from lightsim2grid.lightsim2grid_cpp import AlgorithmType, ContingencyAnalysisCPP
from pandapower.contingency import run_contingency

from app import app
from benchmarks.cases import request
from electrisim import elements as e
from electrisim.network import Network
from electrisim.topology import Topology
from electrisim.wire import documented
from pandapower_arrays import Arrays, Solver
from pandapower_electrisim import BalancedModel

#: Case → (times the rate of run_contingency, share of raw lightsim2grid) that are aimed at.
GOALS = {
    "case118": (80.0, None), "case1354pegase": (40.0, 0.7), "case2869pegase": (25.0, None),
}  # fmt: skip
#: Outages that run_contingency solves per turn.
SAMPLE = 8


def seconds(job: Callable[[], object]) -> float:
    start = time.perf_counter()
    job()
    return time.perf_counter() - start


def body_of(case: str) -> tuple[bytes, Network, int]:
    """A request for all branch outages, its network, and how many outages these are."""
    plain = json.loads(request(case))
    kinds = ("Line", "Transformer", "Three Winding Transformer")
    outages = [id_ for id_, element in plain["elements"].items() if element["typ"] in kinds]
    plain |= {"simulationType": "contingency", "settings": {"outages": outages}}
    body = json.dumps(plain).encode()
    _, network = documented.decode(body, {})
    return body, network, len(outages)


def raw(solver: Solver, threads: int) -> Callable[[], object]:
    """lightsim2grid's own analysis of the ready network, with the settings that ours uses."""
    analysis = ContingencyAnalysisCPP(solver.grid)
    analysis.change_algorithm(AlgorithmType.NRSing_KLU)
    config = analysis.get_algo_config()
    config.int_params = [0, 1, 30, 2]
    analysis.set_algo_config(config)
    analysis.handle_disconnected_grid = True
    analysis.init_from_n_powerflow = True
    analysis.nb_thread = threads
    analysis.add_all_n1()
    start = solver.start(solver.arrays.voltage, 0)

    def compute() -> None:
        analysis.compute(start, solver.max_iteration, solver.tolerance)

    return compute


def measure(case: str, rounds: int) -> dict[str, float]:
    """Medians of a case: outages per second of each, and the two ratios."""
    body, network, count = body_of(case)
    engine = app.extensions["engines"]["pandapower"]
    settings, _ = documented.decode(request(case), {})
    with engine.build(network, Topology(network), settings) as model:
        assert isinstance(model, BalancedModel)
        net = model.net
    solver = Solver(Arrays(net), 1e-8, None)
    client = app.test_client()
    lines = np.flatnonzero(network.rows(e.Line).column("in_service"))
    rng = np.random.default_rng(0)
    sample = {"line": {"index": rng.choice(lines, SAMPLE, replace=False)}}

    def post() -> None:
        response = client.post("/", data=body, content_type="application/json")
        assert response.status_code == 200, response.text

    def peer() -> None:
        run_contingency(net, sample, numba=False)

    turns: list[tuple[float, float, float]] = []
    for _ in range(rounds + 1):
        compute = raw(solver, 2)
        turns.append((seconds(post), seconds(peer), seconds(compute)))
    del turns[0]
    ours = [count / mine for mine, _, _ in turns]
    theirs = [SAMPLE / peers for _, peers, _ in turns]
    bare = [count / raws for _, _, raws in turns]
    return {
        "outages": count,
        "ours": statistics.median(ours),
        "run_contingency": statistics.median(theirs),
        "raw": statistics.median(bare),
        "times": statistics.median(a / b for a, b in zip(ours, theirs, strict=True)),
        "share": statistics.median(a / b for a, b in zip(ours, bare, strict=True)),
    }


def main() -> None:
    """Print the table: rates per second, and ratios with their goals."""
    warnings.simplefilter("ignore")
    gc.collect()
    gc.freeze()
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    cases: dict[str, Any] = {name: GOALS[name] for name in sys.argv[2:] or GOALS}
    print(
        f"{'case':16} {'outages':>8} {'ours':>9} {'pandapower':>11} {'raw ls2g':>9} "
        f"{'×':>6} {'goal':>5} {'of raw':>7} {'goal':>5}"
    )
    for case, (times, share) in cases.items():
        found = measure(case, rounds)
        print(
            f"{case:16} {found['outages']:8.0f} {found['ours']:7.0f}/s "
            f"{found['run_contingency']:9.1f}/s {found['raw']:7.0f}/s {found['times']:6.1f} "
            f"{times:5.0f} {found['share']:7.2f} {share if share is not None else '–':>5}"
        )


if __name__ == "__main__":
    main()
