"""Hours of a feeder with three unequal phases on OpenDSS, against a build per hour.

The network is that of `opendss_series`, with every load at one of the phases in turn. Ours is the
study from profiles, one for every load, to certified columns; the circuit stands, and powers are
edited in it. The peer builds, solves and certifies every hour's network alone, as any engine can.
Both run turn by turn in one process; the ratio is the median of the turns.
"""

from __future__ import annotations

import json
import statistics
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from opendss_series import BUSES, feeder, seconds

from app import app
from electrisim import elements as e
from electrisim.change import Changes, Series
from electrisim.engine import Model
from electrisim.network import Network
from electrisim.studies import STUDIES
from electrisim.sweep import solve_each
from electrisim.topology import Topology
from electrisim.wire import documented

STEPS, SAMPLE, YEAR = 400, 30, 8760


def unequal(buses: int) -> dict[str, Any]:
    """The feeder with loads of one phase each, and lines that know their zero sequence."""
    found = feeder(buses)
    for number, entry in enumerate(found.values()):
        if entry["typ"] == "Load":
            entry["parameters"]["phases"] = "abc"[number // 3 % 3]
        elif entry["typ"] == "Line":
            entry["parameters"].update(r0_ohm_per_km=0.5, x0_ohm_per_km=0.4, c0_nf_per_km=150)
    return found


def main() -> None:
    """Print milliseconds per step, their ratio, and minutes for a year."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 3
    graph = unequal(BUSES)
    loads = [id_ for id_, entry in graph.items() if entry["typ"] == "Load"]
    factors = np.random.default_rng(0).uniform(0.5, 1.1, (STEPS, len(loads)))
    profiles = {id_: {"scaling": factors[:, k].tolist()} for k, id_ in enumerate(loads)}
    settings = {"solver": "opendss", "mode": "unbalanced", "profiles": profiles}
    body = {"simulationType": "timeseries", "elements": graph, "settings": settings}
    asked, network = documented.decode(json.dumps(body).encode(), {})
    engines = app.extensions["engines"]
    engine = engines.admit(network, asked)
    rows = network.rows(e.Load)
    order = np.array([rows.position[id_] for id_ in loads])
    changes = Changes(STEPS, series={(e.Load, "scaling"): Series(order, factors)})

    @contextmanager
    def build(case: Network, topology: Topology) -> Iterator[Model]:
        with engine.build(case, topology, asked) as model:
            yield model

    def ours() -> Any:
        return STUDIES["timeseries"].run(network, asked, engines)

    def peer() -> Any:
        return list(solve_each(build, network, asked, changes, range(SAMPLE)))

    turns = [(seconds(ours) / STEPS, seconds(peer) / SAMPLE) for _ in range(rounds + 1)][1:]
    mine, theirs = (statistics.median(each) for each in zip(*turns, strict=True))
    ratio = statistics.median(b / a for a, b in turns)
    print(f"ours           {1e3 * mine:6.1f} ms a step, {mine * YEAR / 60:5.1f} min a year")
    print(f"built anew     {1e3 * theirs:6.1f} ms a step, {theirs * YEAR / 60:5.1f} min a year")
    print(f"ours × {ratio:.1f}")


if __name__ == "__main__":
    main()
