"""A year of hours over HTTP, against pandapower's recycled time series and raw lightsim2grid.

The request goes through the application from bytes to bytes: profiles of every load's active and
reactive power in, voltages and loadings of every step out. pandapower's `run_timeseries` (which
recycles by itself) steps through the same profiles for a sample of steps; raw lightsim2grid solves
all steps with the injections ready in its own arrays, and reads nothing. The three run turn by turn
in one process; ratios are medians of the turns.
"""

from __future__ import annotations

import copy
import gc
import json
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Callable

import numpy as np
import pandas as pd
from lightsim2grid.lightsim2grid_cpp import AlgorithmType, InjectionSweepCPP
from pandapower.control import ConstControl
from pandapower.timeseries import DFData, OutputWriter, run_timeseries

from app import app
from benchmarks.cases import request
from electrisim import elements as e
from electrisim.network import Array
from electrisim.topology import Topology
from electrisim.wire import documented
from pandapower_arrays import Arrays, Solver, incidence
from pandapower_electrisim import BalancedModel

CASE, STEPS, SAMPLE = "case118", 8760, 96
#: Times the rate of run_timeseries.
GOAL = 40.0


def seconds(job: Callable[[], object]) -> float:
    start = time.perf_counter()
    job()
    return time.perf_counter() - start


def factors(loads: int) -> Array:
    """A factor per step and load: a daily wave, a yearly one, and noise of its own."""
    hour = np.arange(STEPS)[:, None]
    noise = np.random.default_rng(0).uniform(-0.05, 0.05, (STEPS, loads))
    return (
        0.75 + 0.15 * np.sin(hour / 24 * 2 * np.pi) + 0.05 * np.cos(hour / 8760 * 2 * np.pi) + noise
    )


def main() -> None:
    """Print rates per second, and the ratios."""
    warnings.simplefilter("ignore")
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 3
    plain = json.loads(request(CASE))
    settings, network = documented.decode(json.dumps(plain).encode(), {})
    engine = app.extensions["engines"]["pandapower"]
    with engine.build(network, Topology(network), settings) as model:
        assert isinstance(model, BalancedModel)
        # Our tables share columns that nobody may write to; its controllers do.
        net = copy.deepcopy(model.net)
    loads = network.rows(e.Load)
    factor = factors(len(loads))
    p_mw, q_mvar = loads.column("p_mw") * factor, loads.column("q_mvar") * factor
    profiles = {
        id_: {"p_mw": p_mw[:, k].round(4).tolist(), "q_mvar": q_mvar[:, k].round(4).tolist()}
        for k, id_ in enumerate(loads.ids)
    }
    plain |= {"simulationType": "timeseries", "settings": {"profiles": profiles}}
    body = json.dumps(plain).encode()
    client = app.test_client()

    def post() -> None:
        response = client.post("/", data=body, content_type="application/json")
        assert response.status_code == 200, response.text

    columns = [f"{pq}{k}" for pq in "pq" for k in range(len(loads))]
    source = DFData(pd.DataFrame(np.hstack([p_mw, q_mvar]), columns=columns))
    index = list(range(len(loads)))
    for variable, names in (("p_mw", columns[: len(loads)]), ("q_mvar", columns[len(loads) :])):
        ConstControl(net, "load", variable, index, names, data_source=source)

    def peer() -> None:
        with tempfile.TemporaryDirectory() as path:
            writer = OutputWriter(net, range(SAMPLE), output_path=path, output_file_type=".p")
            writer.log_variable("res_bus", "vm_pu")
            writer.log_variable("res_line", "loading_percent")
            run_timeseries(net, range(SAMPLE), verbose=False, numba=False)

    solver = Solver(Arrays(net), 1e-8, None)
    arrays = solver.arrays
    at = incidence(arrays.of_bus[loads.at["bus"]], arrays.count)
    drawn = (p_mw @ at)[:, solver.inner], (q_mvar @ at)[:, solver.inner]

    def raw() -> None:
        sweep = InjectionSweepCPP(solver.grid)
        sweep.change_algorithm(AlgorithmType.NRSing_KLU)
        sweep.init_from_n_powerflow = True
        sweep.nb_thread = 2
        sweep.modify_load_p(np.ascontiguousarray(drawn[0]))
        sweep.modify_load_q(np.ascontiguousarray(drawn[1]))
        sweep.compute(solver.start(solver.arrays.voltage, 0), 30, solver.tolerance)

    gc.collect()
    gc.freeze()
    turns = [(seconds(post), seconds(peer), seconds(raw)) for _ in range(rounds + 1)][1:]
    ours = [STEPS / mine for mine, _, _ in turns]
    theirs = [SAMPLE / peers for _, peers, _ in turns]
    bare = [STEPS / raws for _, _, raws in turns]
    times = statistics.median(a / b for a, b in zip(ours, theirs, strict=True))
    share = statistics.median(a / b for a, b in zip(ours, bare, strict=True))
    print(f"{CASE}, {STEPS} steps, {len(body) / 1e6:.1f} MB in")
    print(f"ours            {statistics.median(ours):8.0f} steps/s")
    peers = f"run_timeseries  {statistics.median(theirs):8.0f} steps/s"
    print(f"{peers}, ours × {times:.0f} (goal {GOAL:.0f})")
    print(f"raw lightsim2grid {statistics.median(bare):6.0f} steps/s, ours {share:.2f} of it")


if __name__ == "__main__":
    main()
