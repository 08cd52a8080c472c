"""Optimal power flow beside pandapower's `runopp`: seconds, and how far the objectives are apart.

    python -m benchmarks.opf [rounds]

Both solve networks that pandapower ships, turn by turn in one process, with free slack voltages.
"""

from __future__ import annotations

import statistics
import sys
import time
import warnings
from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np
import pandapower as pp
import pandapower.networks

from app import app
from benchmarks.cases import request
from electrisim.wire import answer_request

CASES = ("case9", "case30", "case39", "case118")


def opf_request(case: str) -> tuple[bytes, pp.pandapowerNet]:
    """Our request for one of pandapower's networks with its costs, and that network."""
    net = getattr(pandapower.networks, case)()
    net.ext_grid["controllable"] = True
    body = msgspec.json.decode(request(case))
    body["simulationType"] = "opf"
    # runopp limits currents.
    body["settings"] = {"frequency": net.f_hz, "branch_limit": "current"}
    for cost in net.poly_cost.to_dict("records"):
        parameters = body["elements"][f"{cost['et']}{cost['element']}"]["parameters"]
        parameters |= {name: cost[name] for name in COSTS}
    for element in body["elements"].values():
        if element["typ"] == "External Grid":
            element["parameters"].pop("controllable", None)
    return msgspec.json.encode(body), net


COSTS = ("cp0_eur", "cp1_eur_per_mw", "cp2_eur_per_mw2")


def seconds(job: Callable[[], Any]) -> tuple[float, Any]:
    """How long a job takes once [s], and what it returns."""
    start = time.perf_counter()
    found = job()
    return time.perf_counter() - start, found


def theirs(net: pp.pandapowerNet) -> float:
    """The objective of runopp; NaN where it finds none."""
    try:
        pp.runopp(net, numba=False, init="pf")
    except pp.OPFNotConverged:
        return np.nan
    return float(net.res_cost)


def main() -> None:
    """Print the table."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    engines = app.extensions["engines"]
    library = engines["pandapower"].standard_types
    print(
        f"{'case':10} {'runopp':>9} {'request':>9} {'ratio':>6} {'runopp EUR/h':>14} {'ours':>14}"
    )
    for case in CASES:
        body, net = opf_request(case)
        pairs = []
        for _ in range(rounds):
            slow, their_cost = seconds(lambda net=net: theirs(net))
            fast, answer = seconds(lambda body=body: answer_request(body, engines, library))
            pairs.append((slow, fast))
        cost = msgspec.json.decode(answer[2]).get("objective", np.nan)
        bare, ours = (statistics.median(side) for side in zip(*pairs, strict=True))
        ratio = statistics.median(slow / fast for slow, fast in pairs)
        print(
            f"{case:10} {bare * 1e3:6.0f} ms {ours * 1e3:6.0f} ms {ratio:6.1f} "
            f"{their_cost:14.3f} {cost:14.3f}"
        )


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    main()
