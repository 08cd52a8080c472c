"""Controllers in the browser's spelling: what it draws acts where it asks, and comes back told."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandapower as pp
import pytest
from pandapower import control
from test_wire_frontend import (
    OPENDSS,
    PANDAPOWER,
    POWER,
    TRANSFORMER,
    Body,
    ask,
    by_hand,
    entry,
    feeder,
    row,
)

BODIES = Path(__file__).resolve().parents[2] / "shared/contract/payloads"
CAPTURED = [
    path
    for study in ("powerflow_pandapower_controllers", "controller_simulation")
    for path in sorted(BODIES.glob(f"*__{study}.json"))
]

TAPS = {"tap_min": "-9", "tap_max": "9", "tap_pos": "0"}
BAND = {
    "discrete_tap_control": "true", "control_side": "lv", "vm_lower_pu": "0.99",
    "vm_upper_pu": "1.01",
}  # fmt: skip
CONTROL = {**PANDAPOWER, **dict.fromkeys(("run_control", "run_control_trafo2w"), True)}
SHUNTS = {**PANDAPOWER, **dict.fromkeys(("run_control", "run_control_shunt"), True)}
SIMULATION = {
    "typ": "ControllerSimulationPandaPower Parameters", "voltage_control": True,
    "tap_control": True, "discrete_tap_control": True, "continuous_tap_control": False,
    "frequency": "50", "algorithm": "nr", "calculate_voltage_angles": "auto", "init": "dc",
}  # fmt: skip


def plant(parameters: Body, **more: Any) -> Body:
    """The feeder, and below its bus b (20 kV) a transformer to c (0.4 kV) with a load."""
    t = {**TRANSFORMER, **TAPS, "sn_mva": "5", "vn_hv_kv": "20", "vn_lv_kv": "0.4", **BAND, **more}
    return feeder(
        entry("Bus2", "c", vn_kv="0.4"),
        entry("Transformer0", "t", hv_bus="b", lv_bus="c", **t),
        entry("Load0", "d", bus="c", **POWER),
        parameters=parameters,
    )


def controlled_by_hand(**more: Any) -> pp.pandapowerNet:
    def add(net: pp.pandapowerNet, b: int) -> None:
        c = pp.create_bus(net, 0.4)
        pp.create_transformer_from_parameters(
            net, b, c, sn_mva=5, vn_hv_kv=20, vn_lv_kv=0.4, vkr_percent=0.41, vk_percent=12,
            pfe_kw=14, i0_percent=0.07, tap_side="hv", tap_pos=0, tap_neutral=0,
            tap_min=-9, tap_max=9, tap_step_percent=1.5, tap_step_degree=0,
            tap_changer_type="Ratio",
        )  # fmt: skip
        pp.create_load(net, c, 3, 1)

    net = by_hand(add)
    control.DiscreteTapControl(net, 0, 0.99, 1.01)
    pp.runpp(net, run_control=True, numba=False)
    return net


def test_a_drawn_tap_changer_ends_where_pandapowers_does(client):
    answer = ask(client, plant(CONTROL))
    net = controlled_by_hand()
    (told,) = answer["tap_control_results"]
    assert (told["name"], told["id"], told["cell_id"]) == ("t", "t", "cell-t")
    assert (told["tap_pos_initial"], told["tap_pos"]) == (0, net.trafo.tap_pos[0])
    assert told["tap_pos"] != 0
    assert told["controlled_vm_pu"] == pytest.approx(net.res_bus.vm_pu[2], abs=1e-9)
    assert told["lv_vm_pu"] == pytest.approx(told["controlled_vm_pu"], abs=1e-12)
    assert told["hv_vm_pu"] == pytest.approx(net.res_bus.vm_pu[1], abs=1e-9)
    assert (told["tap_min"], told["tap_max"], told["tap_step_percent"]) == (-9, 9, 1.5)
    assert (told["in_limits"], told["at_limit"], told["taps_needed"]) == (True, None, None)
    assert row(answer, "busbars", "c")["vm_pu"] == pytest.approx(net.res_bus.vm_pu[2], abs=1e-9)


def test_a_drawn_controller_sleeps_where_nobody_asks_for_it(client):
    answer = ask(client, plant(PANDAPOWER))
    assert "tap_control_results" not in answer
    assert any("Transformer “t”" in each and "does not act" in each for each in answer["warnings"])


def test_only_the_kinds_that_are_asked_for_act(client):
    flags = {"run_control_trafo2w": False, "run_control_trafo3w": True}
    answer = ask(client, plant({**CONTROL, **flags}))
    assert answer["tap_control_results"] == []


def test_a_tap_changer_out_of_reach_says_how_many_taps_are_missing(client):
    (told,) = ask(client, plant(CONTROL, tap_min="0"))["tap_control_results"]
    assert (told["tap_pos"], told["in_limits"], told["at_limit"]) == (0, False, True)
    missing = (0.99 - told["controlled_vm_pu"]) / 0.015
    assert told["taps_needed"] - 1 < missing <= told["taps_needed"]


def test_a_controller_without_its_band_is_told_by_name(client):
    answer = ask(client, plant(CONTROL, vm_upper_pu="0.9"))
    assert "Transformer “t”" in answer["error"] and "vm_upper_pu" in answer["error"]


def reactor(**more: Any) -> Body:
    drawn = {
        "p_mw": "0", "q_mvar": "-1", "vn_kv": "20", "step": "0", "max_step": "5",
        "in_service": "true",
    }  # fmt: skip
    return feeder(
        entry("Load0", "d", bus="b", p_mw="6", q_mvar="4", scaling="1", in_service="true"),
        entry("Shunt Reactor0", "s", bus="b", **{**drawn, **more}),
        parameters=SHUNTS,
    )


def test_drawn_steps_end_where_pandapowers_do(client):
    more = {"discrete_shunt_control": "true", "vm_set_pu": "1.0", "shunt_control_tol": "0.005"}
    answer = ask(client, reactor(**more, shunt_control_increment="1", shunt_reset_at_init="false"))

    def add(net: pp.pandapowerNet, b: int) -> None:
        pp.create_load(net, b, 6, 4)
        pp.create_shunt(net, b, -1, 0, step=0, max_step=5)

    net = by_hand(add)
    control.DiscreteShuntController(net, 0, vm_set_pu=1.0, tol=0.005)
    pp.runpp(net, run_control=True, numba=False)
    (told,) = answer["shunt_control_results"]
    assert told["control_type"] == "discrete_voltage"
    assert (told["step_initial"], told["step"]) == (0, net.shunt.step[0])
    assert told["vm_pu"] == pytest.approx(net.res_bus.vm_pu[1], abs=1e-9)
    assert row(answer, "shunts", "s")["step"] == told["step"] != 0


def test_drawn_steps_follow_the_drawn_line(client):
    bands = [
        {"p_mw_min": 0, "p_mw_max": 4, "step": 1},
        {"p_mw_min": 4, "p_mw_max": 100, "step": 3},
    ]
    answer = ask(
        client,
        reactor(
            line_flow_step_control="true",
            line_flow_reference_line_id="cell-line",
            line_flow_p_use_abs="true",
            line_flow_p_reference="p_from_mw",
            line_flow_step_table_json=json.dumps(bands),
        ),
    )
    (told,) = answer["shunt_control_results"]
    assert (told["control_type"], told["step"]) == ("line_flow", 3)
    assert told["line_p_column"] == "p_from_mw"
    assert told["line_p_mw_used"] == pytest.approx(row(answer, "lines", "line")["p_from_mw"])


def test_the_simulation_tells_what_its_controllers_did(client):
    answer = ask(client, plant(SIMULATION))
    assert answer["controller_converged"] is True
    (status,) = answer["controller_status"]
    assert status["controller_type"] == "DiscreteTapControl"
    assert "tap position 0 → " in status["description"]
    (told,) = answer["tap_control_results"]
    (same,) = ask(client, plant(CONTROL))["tap_control_results"]
    assert told["tap_pos"] == same["tap_pos"]
    assert told["controlled_vm_pu"] == pytest.approx(same["controlled_vm_pu"], abs=1e-9)


def test_the_simulation_moves_taps_without_steps(client):
    flags = {"discrete_tap_control": False, "continuous_tap_control": True}
    answer = ask(client, plant({**SIMULATION, **flags}))
    assert row(answer, "busbars", "c")["vm_pu"] == pytest.approx(1.0, abs=1e-6)
    assert answer["controller_status"][0]["controller_type"] == "ContinuousTapControl"


def battery(mode: str, **more: Any) -> Body:
    """The feeder, and at its end a battery that discharges 4 MW."""
    drawn = {
        "p_mw": "-4", "q_mvar": "0.5", "sn_mva": "5", "scaling": "1", "in_service": True,
        "max_e_mwh": "10", "soc_percent": "50", "state": "DISCHARGING", "phases": "3", "pf": "1",
        "vv_curve_preset": "IEEE_1547", "vv_xarray": "0.92 0.98 1.02 1.08",
        "vv_yarray": "0.44 0 -0.44 -0.44", "wattpf_xarray": "0 0.5 1",
        "wattpf_yarray": "1 0.98 0.95",
    }  # fmt: skip
    drawn |= {"inv_control_mode": mode, **more}
    return feeder(entry("Storage", "s", bus="b", **drawn), parameters=OPENDSS)


def delivered(client: Any, body: Body) -> tuple[float, float, str]:
    """P and Q that the battery delivers, and what the answer says of its inverter."""
    answer = ask(client, body)
    (found,) = answer["storages"]
    return -found["p_mw"], -found["q_mvar"], found["inv_control_mode"]


def test_a_battery_keeps_the_power_that_is_drawn(client):
    assert delivered(client, battery("NONE")) == (
        pytest.approx(4, abs=1e-6), pytest.approx(-0.5, abs=1e-6), "NONE",
    )  # fmt: skip
    assert delivered(client, battery("FIXED_Q"))[1] == pytest.approx(-0.5, abs=1e-6)


def test_a_battery_keeps_its_power_factor(client):
    p, q, mode = delivered(client, battery("FIXED_PF", pf="-0.9"))
    assert (p, q, mode) == (
        pytest.approx(4, abs=1e-6), pytest.approx(-4 * 0.484322, abs=1e-5), "FIXED_PF",
    )  # fmt: skip


def test_the_power_factor_of_a_battery_follows_its_power(client):
    """0.8 of the rating lies between 0.98 and 0.95: 0.962, of which tan φ is 0.28377."""
    _, q, _ = delivered(client, battery("WATTPF"))
    assert q == pytest.approx(4 * 0.2838372, abs=1e-5)


@pytest.mark.parametrize("preset", ["IEEE_1547", "custom"])
def test_the_reactive_power_of_a_battery_follows_the_voltage(client, preset):
    """On the standard's curve, or on the drawn one: what is delivered lies on it."""
    body = battery("VOLTVAR", vv_curve_preset=preset)
    answer = ask(client, body)
    vm = row(answer, "busbars", "b")["vm_pu"]
    curve = {
        "IEEE_1547": [0.44, 0, 0, -0.44],
        "custom": [0.44, 0, -0.44, -0.44],
    }[preset]
    q = 5 * np.interp(vm, [0.92, 0.98, 1.02, 1.08], curve)
    assert -answer["storages"][0]["q_mvar"] == pytest.approx(q, abs=1e-4)
    assert q < -0.05


def test_a_drawn_curve_that_is_none_is_told(client):
    answer = ask(client, battery("VOLTVAR", vv_curve_preset="custom", vv_yarray="0.44 0"))
    assert "Storage “s”" in answer["error"] and "vv_xarray" in answer["error"]


@pytest.mark.parametrize("path", CAPTURED, ids=[path.stem for path in CAPTURED])
def test_what_the_browser_sent_is_answered(client, path):
    """None of the captured drawings has a controller that is switched on: a plain power flow."""
    body = json.loads(path.read_text(encoding="utf-8"))
    body = body.get("body", body)
    answer = ask(client, body)
    assert answer["busbars"]
    assert answer["tap_control_results"] == answer["shunt_control_results"] == []
    if "simulation" in path.stem:
        assert answer["controller_converged"] is True
        (key,) = [key for key, each in body.items() if "Controller" in each["typ"]]
        body[key] = {**PANDAPOWER, "initialization": "dc", "calculate_voltage_angles": "auto"}
        plain = ask(client, body)
        assert answer["busbars"] == plain["busbars"]


@pytest.mark.skipif(not CAPTURED, reason="the captured bodies are not here")
def test_switching_a_captured_controller_on_moves_it(client):
    """reactive_power_onshore_WF_33MW has eleven transformers with a band and the flag off."""
    name = "reactive_power_onshore_WF_33MW__powerflow_pandapower_controllers"
    body = json.loads((BODIES / f"{name}.json").read_text(encoding="utf-8"))
    body = body.get("body", body)
    for each in body.values():
        if each.get("typ", "").startswith("Transformer"):
            each["discrete_tap_control"] = "true"
    answer = ask(client, body)
    assert len(answer["tap_control_results"]) == 11
    assert all(told["in_limits"] or told["at_limit"] for told in answer["tap_control_results"])
