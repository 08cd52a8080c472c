"""A year of hours on OpenDSS, against a solution per step through text commands in the same engine.

The network is a radial 20 kV feeder with a load at every bus. Ours is the study from profiles to
certified columns (bus voltages, line loadings, the grid's powers). The peer is what a script does
that drives the engine by its text interface: per step one `edit` per load, `solve`, and the same
quantities read element by element. It runs over a sample of steps, with the engine's tolerance set
as ours is. Both run turn by turn in one process; the ratio is the median of the turns.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from app import app
from electrisim import elements as e
from electrisim.network import Array
from electrisim.results import Answer
from electrisim.studies import STUDIES
from electrisim.wire import documented

BUSES, STEPS, SAMPLE = 123, 8760, 100
#: Times the rate of a solution per step through text commands.
GOAL = 10.0


def feeder(buses: int) -> dict[str, Any]:
    """grid ─ b0 ─ … a tree in which every bus hangs on one of the three before it."""
    rng = np.random.default_rng(0)
    found: dict[str, Any] = {
        "g": {"typ": "External Grid", "parameters": {"bus": "b0", "vm_pu": 1.02}},
        "b0": {"typ": "Bus", "parameters": {"vn_kv": 20.0}},
    }
    for bus in range(1, buses):
        parent = max(0, bus - int(rng.integers(1, 4)))
        found[f"b{bus}"] = {"typ": "Bus", "parameters": {"vn_kv": 20.0}}
        found[f"l{bus}"] = {
            "typ": "Line",
            "parameters": {
                "from_bus": f"b{parent}", "to_bus": f"b{bus}", "length_km": 0.1,
                "r_ohm_per_km": 0.2, "x_ohm_per_km": 0.12, "c_nf_per_km": 200, "max_i_ka": 0.4,
            },
        }  # fmt: skip
        found[f"d{bus}"] = {
            "typ": "Load",
            "parameters": {"bus": f"b{bus}", "p_mw": 0.1, "q_mvar": 0.03},
        }
    return found


def seconds(job: Callable[[], object]) -> float:
    start = time.perf_counter()
    job()
    return time.perf_counter() - start


class Peer:
    """The engine by its text interface: a solution per step, element by element."""

    def __init__(self, script: str, p_mw: Array, q_mvar: Array) -> None:
        # After `app`, which lets the engine see an environment that stays in place.
        import opendssdirect

        self.dss = opendssdirect.dss.NewContext()
        self.dss.Text.Commands([line for line in script.splitlines() if not line.startswith("!")])
        self.dss.Text.Command("set tolerance=1e-8")
        self.p_mw, self.q_mvar = p_mw, q_mvar
        self.lines = [f"line.l{k}" for k in range(p_mw.shape[1])]
        self.vm_pu = np.zeros((SAMPLE, p_mw.shape[1] + 1))

    def run(self) -> None:
        dss = self.dss
        for step in range(SAMPLE):
            for load, (p, q) in enumerate(
                zip(self.p_mw[step].tolist(), self.q_mvar[step].tolist(), strict=True)
            ):
                dss.Text.Command(f"edit load.d{load} kw={1e3 * p!r} kvar={1e3 * q!r}")
            dss.Text.Command("solve")
            volts = np.array(dss.Circuit.YNodeVArray()).view(complex)
            self.vm_pu[step] = np.abs(volts[::3]) * np.sqrt(3) / 20e3
            for line in self.lines:
                dss.Circuit.SetActiveElement(line)
                dss.CktElement.CurrentsMagAng()


def main() -> None:
    """Print rates per second, and the ratio."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 3
    elements = feeder(BUSES)
    hour = np.arange(STEPS)[:, None]
    noise = np.random.default_rng(1).uniform(-0.05, 0.05, (STEPS, BUSES - 1))
    factor = 0.75 + 0.2 * np.sin(hour / 24 * 2 * np.pi) + noise
    p_mw, q_mvar = (0.1 * factor).round(6), (0.03 * factor).round(6)
    profiles = {
        f"d{k + 1}": {"p_mw": p_mw[:, k].tolist(), "q_mvar": q_mvar[:, k].tolist()}
        for k in range(BUSES - 1)
    }
    engines = app.extensions["engines"]

    def decoded(study: str, **settings: Any) -> tuple[Any, Any]:
        body = {"simulationType": study, "elements": elements, "settings": settings}
        return documented.decode(json.dumps(body).encode(), {})

    asked, network = decoded("powerflow", solver="opendss", export_script=True)
    script = STUDIES["powerflow"].run(network, asked, engines).beside["script"]
    peer = Peer(script, p_mw, q_mvar)
    asked, network = decoded("timeseries", solver="opendss", profiles=profiles)
    found: list[Answer] = []

    def ours() -> None:
        found[:] = [STUDIES["timeseries"].run(network, asked, engines)]

    turns = [(seconds(ours), seconds(peer.run)) for _ in range(rounds + 1)][1:]
    series = found[0].series or {}
    apart = np.abs(series[e.Bus]["vm_pu"][:SAMPLE] - peer.vm_pu).max()
    mine = [STEPS / one for one, _ in turns]
    theirs = [SAMPLE / other for _, other in turns]
    ratio = statistics.median(a / b for a, b in zip(mine, theirs, strict=True))
    print(f"{BUSES} buses, {STEPS} steps, all certified; voltages apart by {apart:.1e} pu at most")
    print(f"ours           {statistics.median(mine):8.0f} steps/s")
    print(f"text commands  {statistics.median(theirs):8.0f} steps/s, ours × {ratio:.1f}", end=" ")
    print(f"(goal {GOAL:.0f})")


if __name__ == "__main__":
    main()
