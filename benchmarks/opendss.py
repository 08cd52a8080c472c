"""A power flow request of 13 buses on OpenDSS against the bare engine running the same commands.

Bare means a context of DSS C-API that executes the exported script (which builds and solves) and
reads the node voltages. Both run turn by turn in one process; the ratio is the median of the ratios
of neighbours.
"""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable
from typing import Any

from app import app
from electrisim.wire import answer_request

GOAL = 3.0


def feeder() -> dict[str, Any]:
    """115 kV grid ─ 5 MVA transformer ─ 12 buses of a 4.16 kV feeder with three laterals."""
    elements: dict[str, Any] = {
        "grid": {"typ": "External Grid", "parameters": {"bus": "b0", "vm_pu": 1.02}},
        "b0": {"typ": "Bus", "parameters": {"vn_kv": 115.0}},
        "t1": {
            "typ": "Transformer",
            "parameters": {
                "hv_bus": "b0", "lv_bus": "b1", "sn_mva": 5.0, "vn_hv_kv": 115.0,
                "vn_lv_kv": 4.16, "vk_percent": 8.06, "vkr_percent": 1.0, "pfe_kw": 6.0,
                "i0_percent": 0.3, "vector_group": "Dyn1",
            },
        },
    }  # fmt: skip
    parents = [1, 2, 3, 2, 5, 2, 7, 8, 7, 10, 7]
    for bus in range(1, 13):
        elements[f"b{bus}"] = {"typ": "Bus", "parameters": {"vn_kv": 4.16}}
    for bus, parent in enumerate(parents, start=2):
        elements[f"l{bus}"] = {
            "typ": "Line",
            "parameters": {
                "from_bus": f"b{parent}", "to_bus": f"b{bus}", "length_km": 0.3,
                "r_ohm_per_km": 0.21, "x_ohm_per_km": 0.39, "c_nf_per_km": 10.0, "max_i_ka": 0.5,
            },
        }  # fmt: skip
        elements[f"d{bus}"] = {
            "typ": "Load",
            "parameters": {"bus": f"b{bus}", "p_mw": 0.3, "q_mvar": 0.15},
        }
    elements["c1"] = {"typ": "Capacitor", "parameters": {"bus": "b8", "q_mvar": -0.6}}
    return {"simulationType": "powerflow", "elements": elements}


def request(**settings: Any) -> bytes:
    """The request, with these settings beside the solver."""
    return json.dumps({**feeder(), "settings": {"solver": "opendss", **settings}}).encode()


def seconds(job: Callable[[], object]) -> float:
    """How long a job takes once [s]."""
    start = time.perf_counter()
    job()
    return time.perf_counter() - start


def main() -> None:
    """Print the medians and their ratio."""
    engines = app.extensions["engines"]
    library = engines["pandapower"].standard_types
    body = request()
    answer = json.loads(answer_request(request(export_script=True), engines, library)[2])
    lines = [line for line in answer["script"].splitlines() if not line.startswith("!")]
    # After `app`, which lets the engine see an environment that stays in place.
    import opendssdirect

    context = opendssdirect.dss.NewContext()

    def bare() -> None:
        context.Text.Commands(lines)
        context.Circuit.AllBusVolts()

    pairs = [
        (seconds(bare), seconds(lambda: answer_request(body, engines, library))) for _ in range(200)
    ][10:]
    ratio = statistics.median(whole / engine for engine, whole in pairs)
    engine_ms, whole_ms = (1e3 * statistics.median(side) for side in zip(*pairs, strict=True))
    print(f"{'case':16} {'engine':>9} {'request':>9} {'ratio':>6} {'goal':>6}")
    print(f"{'13 buses':16} {engine_ms:6.2f} ms {whole_ms:6.2f} ms {ratio:6.2f} {GOAL:6.2f}")


if __name__ == "__main__":
    main()
