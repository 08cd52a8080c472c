"""Controllers over HTTP, against pandapower.control on the same network.

A feeder with an inverter at every bus whose reactive power follows its voltage, below a transformer
with taps. Ours goes through the application from bytes to bytes; pandapower has its network ready,
with one controller for all inverters and the largest steps at which it still converges. Both run
turn by turn in one process; ratios are medians of the turns.
"""

from __future__ import annotations

import copy
import json
import statistics
import sys
import time
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pandapower as pp
from pandapower.auxiliary import ControllerNotConverged
from pandapower.control import DERController, DiscreteTapControl
from pandapower.control.controller.DERController import QModelQVCurve
from pandapower.powerflow import LoadflowNotConverged

from app import app

CURVE = [[0.9, 0.4], [0.98, 0.0], [1.0, 0.0], [1.03, -0.4], [1.1, -0.4]]
SIZES = (20, 100)
TURNS = 5


def seconds(job: Callable[[], object]) -> float:
    start = time.perf_counter()
    job()
    return time.perf_counter() - start


def request(count: int) -> bytes:
    """grid ─ t ─ b0 ── b1 ── … ── b(n−1), 10 MW of sun along a line of 12 km"""
    elements: dict[str, Any] = {
        "g": {"typ": "External Grid", "bus": "grid", "vm_pu": 1.03},
        "grid": {"typ": "Bus", "vn_kv": 110},
        "t": {
            "typ": "Transformer", "hv_bus": "grid", "lv_bus": "b0", "sn_mva": 25, "vn_hv_kv": 110,
            "vn_lv_kv": 20, "vk_percent": 12, "vkr_percent": 0.4, "pfe_kw": 15, "i0_percent": 0.1,
            "tap_side": "hv", "tap_neutral": 0, "tap_min": -9, "tap_max": 9, "tap_pos": 0,
            "tap_step_percent": 1.5, "tap_changer_type": "Ratio", "tap_control": "discrete",
            "vm_lower_pu": 0.98, "vm_upper_pu": 1.0,
        },
    }  # fmt: skip
    for at in range(count):
        elements[f"b{at}"] = {"typ": "Bus", "vn_kv": 20}
        elements[f"s{at}"] = {
            "typ": "Static Generator", "bus": f"b{at}", "p_mw": 10 / count, "sn_mva": 12 / count,
            "q_control": "qv", "qv_curve": CURVE,
        }  # fmt: skip
        elements[f"d{at}"] = {"typ": "Load", "bus": f"b{at}", "p_mw": 1 / count}
        if at:
            elements[f"l{at}"] = {
                "typ": "Line", "from_bus": f"b{at - 1}", "to_bus": f"b{at}",
                "length_km": 12 / count, "r_ohm_per_km": 0.2, "x_ohm_per_km": 0.12,
                "c_nf_per_km": 200, "max_i_ka": 0.4,
            }  # fmt: skip
    return json.dumps({"simulationType": "controller", "elements": elements}).encode()


def by_pandapower(count: int, damping: float) -> pp.pandapowerNet:
    """The same network, with its controllers."""
    net = pp.create_empty_network()
    high = pp.create_bus(net, 110)
    buses = pp.create_buses(net, count, 20)
    pp.create_ext_grid(net, high, 1.03)
    pp.create_transformer_from_parameters(
        net, high, buses[0], 25, 110, 20, 0.4, 12, 15, 0.1, tap_side="hv", tap_neutral=0,
        tap_min=-9, tap_max=9, tap_pos=0, tap_step_percent=1.5, tap_step_degree=0,
        tap_changer_type="Ratio",
    )  # fmt: skip
    pp.create_lines_from_parameters(net, buses[:-1], buses[1:], 12 / count, 0.2, 0.12, 200, 0.4)
    suns = pp.create_sgens(net, buses, 10 / count, sn_mva=12 / count)
    pp.create_loads(net, buses, 1 / count)
    x, y = zip(*CURVE, strict=True)
    DERController(
        net, list(suns), q_model=QModelQVCurve({"vm_points_pu": x, "q_points_pu": y}),
        damping_coef=damping, max_q_error=1e-6 * 12 / count, max_p_error=1e-6,
    )  # fmt: skip
    DiscreteTapControl(net, 0, 0.98, 1.0)
    return net


def run_control(net: pp.pandapowerNet) -> pp.pandapowerNet:
    solved = copy.deepcopy(net)
    pp.runpp(solved, run_control=True, numba=False, max_iter=100)
    return solved


def largest_steps(count: int) -> tuple[float, pp.pandapowerNet]:
    """The least damping at which pandapower converges, and its network."""
    for damping in (1, 2, 3, 5, 8, 13, 21):
        net = by_pandapower(count, damping)
        try:
            run_control(net)
        except (ControllerNotConverged, LoadflowNotConverged):
            continue
        return damping, net
    raise SystemExit("pandapower.control converges at no damping tried")


def measure(count: int) -> None:
    client, body = app.test_client(), request(count)
    damping, net = largest_steps(count)
    solved = run_control(net)

    def ours() -> Any:
        return client.post("/", data=body, content_type="application/json")

    answer = json.loads(ours().data)
    position = next(each["tap_pos"] for each in answer["controllers"] if each["element"] == "t")
    vm_pu = np.array([each["vm_pu"] for each in answer["results"]["busbars"]])
    apart = float(np.abs(vm_pu - solved.res_bus.vm_pu.to_numpy()).max())
    assert position == solved.trafo.tap_pos[0]
    times = [(seconds(ours), seconds(lambda: run_control(net))) for _ in range(TURNS)]
    ratio = statistics.median(theirs / own for own, theirs in times)
    own, theirs = (statistics.median(column) * 1e3 for column in zip(*times, strict=True))
    flows = answer["control"]["power_flows"]
    print(
        f"{count:4} inverters  {own:8.0f} ms ({flows} power flows)  pandapower.control "
        f"{theirs:8.0f} ms (damping {damping:g})  {ratio:5.1f} times  {apart:.0e} pu apart"
    )


if __name__ == "__main__":
    warnings.filterwarnings("ignore")
    for size in [int(word) for word in sys.argv[1:]] or SIZES:
        measure(size)
