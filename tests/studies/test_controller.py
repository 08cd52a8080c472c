"""Controllers: where they end, worked by hand and by pandapower's own controllers."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pandapower as pp
import pytest
from bricks import ENGINES, bus, cable, element, grid, load, transformer
from hand import Hand
from hypothesis import given, settings
from hypothesis import strategies as st
from pandapower import control
from pandapower.control.controller.DERController import QModelQVCurve

from electrisim.wire import answer_request

Elements = dict[str, Any]


def ask(elements: Elements, study: str = "controller", **asked: Any) -> tuple[int, dict[str, Any]]:
    body = {"simulationType": study, "elements": elements, "settings": asked}
    status, _, answer = answer_request(json.dumps(body).encode(), ENGINES, {})
    return status, json.loads(answer if isinstance(answer, bytes) else b"".join(answer))


def answered(elements: Elements, study: str = "controller", **asked: Any) -> dict[str, Any]:
    status, body = ask(elements, study, **asked)
    assert status == 200, body["errors"]
    return body


def refused(elements: Elements, study: str = "controller", **asked: Any) -> list[dict[str, Any]]:
    status, body = ask(elements, study, **asked)
    assert status == 422, body
    return body["errors"]


def record(body: dict[str, Any], id_: str) -> dict[str, Any]:
    (found,) = [each for each in body["controllers"] if each["element"] == id_]
    return found


def result(body: dict[str, Any], id_: str) -> dict[str, Any]:
    (found,) = [row for rows in body["results"].values() for row in rows if row["id"] == id_]
    return found


TAP = {
    "tap_side": "hv", "tap_neutral": 0, "tap_min": -9, "tap_max": 9, "tap_step_percent": 1.5,
    "tap_pos": 0,
}  # fmt: skip
BAND = {"tap_control": "discrete", "vm_lower_pu": 0.99, "vm_upper_pu": 1.01}


def substation(p_mw: float = 25.0, q_mvar: float = 12.0, **more: Any) -> Elements:
    """grid 1.0 pu ─ b0 (110 kV) ─ t ─ b1 (20 kV) ─ load"""
    return {
        "g": grid("b0"), "b0": bus(110), "b1": bus(20),
        "t": transformer("b0", "b1", **{**TAP, **more}),
        "d": load("b1", p_mw, q_mvar),
    }  # fmt: skip


# Tap changers


def lossless(position: float, x_pu: float, p: float, q: float) -> float:
    """Voltage behind a reactance and a tapped ratio, E = 1/(1 + 1.5 %·n).

    From v⁴ + v²(2xq − E²) + x²(p² + q²) = 0, all in pu of the transformer's rating.
    """
    e2 = (1 / (1 + 0.015 * position)) ** 2
    b = e2 - 2 * x_pu * q
    return float(np.sqrt((b + np.sqrt(b**2 - 4 * x_pu**2 * (p**2 + q**2))) / 2))


@pytest.mark.parametrize(("p_mw", "q_mvar"), [(20, 8), (30, 15), (35, 20), (-20, -10), (5, 1)])
def test_a_discrete_tap_changer_steps_into_its_band_as_on_paper(p_mw, q_mvar):
    """vk = 11 %, nothing else, so the voltage of each position follows from a quadratic equation.

    The tap changer stops at the first position, counted from where it is, inside its band.
    """
    ideal = {"vkr_percent": 0, "pfe_kw": 0, "i0_percent": 0}
    body = answered(substation(p_mw, q_mvar, **ideal, **BAND))
    position = 0
    while not 0.99 <= (v := lossless(position, 0.11, p_mw / 40, q_mvar / 40)) <= 1.01:
        position += 1 if v > 1.01 else -1
    assert record(body, "t")["tap_pos_initial"] == 0
    assert record(body, "t")["tap_pos"] == position
    assert record(body, "t")["vm_pu"] == pytest.approx(v, abs=1e-9)
    assert result(body, "b1")["vm_pu"] == pytest.approx(v, abs=1e-9)


def test_a_continuous_tap_changer_holds_its_voltage_as_on_paper():
    """With 11 % and no resistance, E² = v² + 2xq + x²(p² + q²)/v², and n = (1/E − 1)/1.5 %."""
    ideal = {"vkr_percent": 0, "pfe_kw": 0, "i0_percent": 0}
    body = answered(substation(**ideal, tap_control="continuous", vm_set_pu=1.01))
    p, q, x, v2 = 25 / 40, 12 / 40, 0.11, 1.01**2
    e = np.sqrt(v2 + 2 * x * q + x**2 * (p**2 + q**2) / v2)
    found = record(body, "t")
    assert found["kind"] == "tap_control_continuous"
    # The controller stops within 1e-6 pu, a fifteen-thousandth of a step.
    assert found["tap_pos"] == pytest.approx((1 / e - 1) / 0.015, abs=1e-4)
    assert found["vm_pu"] == pytest.approx(1.01, abs=1e-6)


def test_a_voltage_to_aim_at_makes_a_band_of_half_a_step():
    """As pandapower's from_tap_step_percent: half a step and 1e-3 on either side."""
    found = record(answered(substation(tap_control="discrete", vm_set_pu=1.0)), "t")
    assert found["vm_lower_pu"] == pytest.approx(1 - 0.0075 - 0.001)
    assert found["vm_upper_pu"] == pytest.approx(1 + 0.0075 + 0.001)
    assert found["on_target"]


def three_winding(**more: Any) -> Elements:
    """grid ─ b0 (110 kV) ─ u ─ b1 (20 kV), b2 (10 kV), a load at each"""
    plate = {
        "sn_hv_mva": 60, "sn_mv_mva": 40, "sn_lv_mva": 30, "vn_hv_kv": 110, "vn_mv_kv": 20,
        "vn_lv_kv": 10, "vk_hv_percent": 10, "vk_mv_percent": 11, "vk_lv_percent": 12,
        "vkr_hv_percent": 0.3, "vkr_mv_percent": 0.31, "vkr_lv_percent": 0.32, "pfe_kw": 30,
        "i0_percent": 0.1,
    }  # fmt: skip
    at = {"hv_bus": "b0", "mv_bus": "b1", "lv_bus": "b2"}
    return {
        "g": grid("b0"), "b0": bus(110), "b1": bus(20), "b2": bus(10),
        "t": element("Three Winding Transformer", **{**at, **plate, **TAP, **more}),
        "d1": load("b1", 25, 12), "d2": load("b2", 15, 6),
    }  # fmt: skip


_SIDES_3W = [("hv", "mv"), ("hv", "lv"), ("mv", "mv"), ("lv", "lv")]


def controlled_by_hand(elements: Elements, table: str, **asked: Any) -> Hand:
    """pandapower's own tap controller on the same network."""
    plain = {id_: dict(each, parameters=dict(each["parameters"])) for id_, each in elements.items()}
    side = plain["t"]["parameters"].get("control_side", "lv")
    for name in ("tap_control", "control_side", "vm_lower_pu", "vm_upper_pu", "vm_set_pu", "tol"):
        plain["t"]["parameters"].pop(name, None)
    plain["t"]["parameters"] |= {"tap_changer_type": "Ratio", "tap_step_degree": 0}
    hand = Hand(plain)
    if "vm_set_pu" in asked:
        control.ContinuousTapControl(hand.net, 0, **asked, side=side, element=table, tol=1e-9)
    else:
        control.DiscreteTapControl(hand.net, 0, **asked, side=side, element=table)
    pp.runpp(hand.net, run_control=True, numba=False, max_iter=100)
    return hand


@pytest.mark.parametrize("star", [False, True])
@pytest.mark.parametrize(("tap_side", "control_side"), _SIDES_3W)
def test_a_three_winding_tap_changer_ends_where_pandapowers_does(tap_side, control_side, star):
    more = {"tap_side": tap_side, "control_side": control_side, "tap_at_star_point": star}
    elements = three_winding(**more, **BAND)
    found = record(answered(elements), "t")
    hand = controlled_by_hand(elements, "trafo3w", vm_lower_pu=0.99, vm_upper_pu=1.01)
    assert found["tap_pos"] == hand.net.trafo3w.tap_pos[0] != 0
    side = hand.net.trafo3w[f"{control_side}_bus"][0]
    assert found["vm_pu"] == pytest.approx(hand.net.res_bus.vm_pu[side], abs=1e-9)


@pytest.mark.parametrize("tap_side", ["hv", "lv"])
@pytest.mark.parametrize("step", [1.5, -1.5])
def test_a_two_winding_tap_changer_ends_where_pandapowers_does(tap_side, step):
    elements = substation(tap_side=tap_side, tap_step_percent=step, **BAND)
    found = record(answered(elements), "t")
    hand = controlled_by_hand(elements, "trafo", vm_lower_pu=0.99, vm_upper_pu=1.01)
    assert found["tap_pos"] == hand.net.trafo.tap_pos[0] != 0
    assert found["vm_pu"] == pytest.approx(hand.net.res_bus.vm_pu[1], abs=1e-9)


@pytest.mark.parametrize("tap_side", ["hv", "mv"])
def test_a_continuous_three_winding_tap_changer_ends_where_pandapowers_does(tap_side):
    """Its controller runs until 1e-9, so positions agree to the difference of both tolerances."""
    asked = {"tap_control": "continuous", "vm_set_pu": 1.0, "control_side": "mv", "tol": 1e-8}
    elements = three_winding(tap_side=tap_side, **asked)
    found = record(answered(elements), "t")
    hand = controlled_by_hand(elements, "trafo3w", vm_set_pu=1.0)
    assert found["tap_pos"] == pytest.approx(hand.net.trafo3w.tap_pos[0], abs=1e-5)


def test_the_higher_voltage_is_controlled_from_the_lower_side():
    """A plant below the transformer, a long line above it: raising hv turns raises the hv side."""
    elements = {
        "g": grid("b2", vm_pu=0.96), "b0": bus(110), "b1": bus(20), "b2": bus(110),
        "l": cable("b2", "b0", 40),
        "t": transformer("b0", "b1", **TAP, **{**BAND, "control_side": "hv"}),
        "m": element("Generator", bus="b1", p_mw=20, vm_pu=1.0),
    }  # fmt: skip
    found = record(answered(elements), "t")
    assert found["on_target"]
    assert found["tap_pos"] > 0


def test_a_tap_changer_at_its_end_says_so():
    found = record(answered(substation(35, 22, **{**TAP, "tap_min": -2}, **BAND)), "t")
    assert found["tap_pos"] == -2
    assert found["at_limit"]
    assert found["converged"]
    assert not found["on_target"]


def test_a_continuous_tap_changer_at_its_end_says_so():
    asked = {"tap_control": "continuous", "vm_set_pu": 1.1, "tap_min": -2}
    found = record(answered(substation(35, 22, **{**TAP, **asked})), "t")
    assert found["tap_pos"] == -2
    assert found["at_limit"]


def test_a_band_narrower_than_a_step_hunts_and_ends():
    """pandapower's controller never ends here; ours is left at the better of the two positions."""
    narrow = {"tap_control": "discrete", "vm_lower_pu": 0.999, "vm_upper_pu": 1.001}
    body = answered(substation(**{**narrow, "tap_step_percent": 3.0}))
    found = record(body, "t")
    assert not found["converged"]
    assert not body["control"]["converged"]
    assert any("hunts between tap_pos -2 and -1" in each for each in body["warnings"])
    vm = {
        position: result(
            answered(substation(**{"tap_step_percent": 3.0, "tap_pos": position}), "powerflow"),
            "b1",
        )["vm_pu"]
        for position in (-2, -1)
    }
    assert found["tap_pos"] == min(vm, key=lambda position: abs(vm[position] - 1))


def test_what_a_source_holds_is_left_alone():
    """As pandapower: a tap changer whose controlled bus has an external grid does nothing."""
    elements = substation(
        **{**BAND, "control_side": "hv", "vm_lower_pu": 1.01, "vm_upper_pu": 1.02}
    )
    body = answered(elements)
    assert record(body, "t")["tap_pos"] == 0
    assert any("do not move the voltage" in each for each in body["warnings"])


def test_two_in_a_row_both_end_inside_their_bands():
    """grid ─ t (110/20) ─ line ─ t2 (20/20) ─ load; the lower sees what the upper does."""
    elements = substation(5, 2, **BAND)
    elements |= {
        "b2": bus(20), "b3": bus(20), "l": cable("b1", "b2", 12), "d2": load("b3", 9, 5),
        "t2": transformer("b2", "b3", sn_mva=15, vn_hv_kv=20, **TAP, **BAND),
    }  # fmt: skip
    body = answered(elements)
    assert all(0.99 <= record(body, id_)["vm_pu"] <= 1.01 for id_ in ("t", "t2"))


# Stepped shunts


def bank(**more: Any) -> Elements:
    """grid 1.0 ─ b0 ── 15 km, purely reactive ── b1 ─ load 6 + j4, steps of a capacitor"""
    steps = {
        "bus": "b1", "q_mvar": -1.0, "step": 0, "max_step": 8, "step_control": "voltage",
        "vm_set_pu": 0.995, "vm_tol_pu": 0.004,
    }  # fmt: skip
    line = {"r_ohm_per_km": 0, "x_ohm_per_km": 0.12, "c_nf_per_km": 0}
    return {
        "g": grid("b0"), "b0": bus(20), "b1": bus(20), "l": cable("b0", "b1", 15, **line),
        "d": load("b1", 6, 4), "c": element("Capacitor", **{**steps, **more}),
    }  # fmt: skip


def test_a_capacitor_switches_as_many_steps_as_on_paper():
    """v⁴(1 − xb)² + v²(2xq(1 − xb) − 1) + x²(p² + q²) = 0 with x = 1.8 Ω/400 Ω per MVA and b steps.

    From the mesh equation of a source behind x with a load p + jq beside a susceptance b.
    """
    x, p, q = 15 * 0.12 / 20**2, 6.0, 4.0

    def voltage(steps: int) -> float:
        a = 1 - x * steps
        root = np.sqrt((1 - 2 * x * q * a) ** 2 - 4 * a**2 * x**2 * (p**2 + q**2))
        return float(np.sqrt(((1 - 2 * x * q * a) + root) / (2 * a**2)))

    steps = next(steps for steps in range(9) if voltage(steps) >= 0.991)
    found = record(answered(bank()), "c")
    assert found["step_initial"] == 0
    assert found["step"] == steps > 0
    assert found["vm_pu"] == pytest.approx(voltage(steps), abs=1e-9)


@pytest.mark.parametrize(("q_mvar", "target", "start"), [(-1.0, 0.995, 0), (1.0, 0.96, 1)])
def test_a_stepped_shunt_ends_where_pandapowers_does(q_mvar, target, start):
    asked = {"vm_set_pu": target, "q_mvar": q_mvar, "step": start}
    found = record(answered(bank(**asked)), "c")
    plain = bank(**asked)
    for name in ("step_control", "vm_set_pu", "vm_tol_pu"):
        del plain["c"]["parameters"][name]
    hand = Hand(plain)
    control.DiscreteShuntController(hand.net, 0, vm_set_pu=target, tol=0.004)
    pp.runpp(hand.net, run_control=True, numba=False)
    assert found["step"] == hand.net.shunt.step[0] != start
    assert found["vm_pu"] == pytest.approx(hand.net.res_bus.vm_pu[1], abs=1e-9)


def test_a_shunt_controls_the_voltage_of_another_bus():
    elements = bank(vm_set_pu=0.985, reference="b2")
    elements |= {"b2": bus(20), "l2": cable("b1", "b2", 5), "d2": load("b2", 1, 0.5)}
    found = record(answered(elements), "c")
    assert found["vm_pu"] == pytest.approx(result(answered(elements), "b2")["vm_pu"], abs=1e-12)
    assert abs(found["vm_pu"] - 0.985) <= 0.004


def test_a_shunt_with_too_few_steps_is_at_its_limit():
    found = record(answered(bank(max_step=1)), "c")
    assert (found["step"], found["at_limit"], found["on_target"]) == (1, True, False)


@pytest.mark.parametrize(("p_mw", "steps"), [(1.0, 0), (3.0, 1), (6.0, 3), (20.0, 5)])
def test_steps_follow_the_flow_of_a_line(p_mw, steps):
    """A lossless line carries just the load: below 2 MW no step, from 2 MW one, from 5 MW three."""
    table = [[0, 0], [2, 1], [5, 3], [10, 5]]
    asked = {"step_control": "line_flow", "reference": "l", "step_table": table, "vm_set_pu": None}
    elements = bank(**asked)
    elements["d"] = load("b1", p_mw, 0.5)
    found = record(answered(elements), "c")
    assert found["step"] == steps
    assert found["line_p_mw"] == pytest.approx(p_mw, abs=1e-6)
    toward = answered(bank(**asked, reference_column="p_to_mw", reference_absolute=False))
    assert record(toward, "c")["step"] == 0


# Inverters


def plant(kind: str = "Static Generator", **more: Any) -> Elements:
    """grid 1.0 ─ b0 ── x ── b1 ─ plant; 24 Ω at 20 kV: 0.06 per MVA"""
    own = {
        "Static Generator": {"p_mw": 4.0, "sn_mva": 5.0},
        "Storage": {"p_mw": -4.0, "sn_mva": 5.0},
        "PVSystem": {"pmpp_kw": 4000.0, "kva": 5000.0},
    }[kind]
    line = {"r_ohm_per_km": 0, "x_ohm_per_km": 0.6, "c_nf_per_km": 0}
    return {
        "g": grid("b0"), "b0": bus(20), "b1": bus(20), "l": cable("b0", "b1", 40, **line),
        "p": element(kind, bus="b1", **{**own, **more}),
    }  # fmt: skip


QV = [[0.9, 0.44], [0.98, 0.0], [1.0, -0.3], [1.1, -0.3]]
#: The sign of a kind's powers in its results.
SIGNS = {"Static Generator": 1, "Storage": -1, "PVSystem": 1}


@pytest.mark.parametrize("kind", SIGNS)
def test_reactive_power_by_voltage_is_the_fixed_point_on_paper(kind):
    """v² = 1 − 2xq' … on the slope q = 5·0.3/0.02·(0.98 − v): one root of a quartic.

    |v − jx(p − jq)*/v| = 1 of a source behind x: (v − xq/v)² + (xp/v)² = 1 with q delivered.
    """
    found = record(answered(plant(kind, q_control="qv", qv_curve=QV)), "p")
    x, p = 0.06, 4.0

    def off(v: float) -> float:
        q = 5 * np.interp(v, *zip(*QV, strict=True))
        return (v - x * q / v) ** 2 + (x * p / v) ** 2 - 1

    low, high = 0.9, 1.1
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if off(middle) < 0 else (low, middle)
    assert found["vm_pu"] == pytest.approx(low, abs=1e-6)
    q = 5 * np.interp(low, *zip(*QV, strict=True))
    assert found["q_mvar"] == pytest.approx(SIGNS[kind] * q, abs=1e-4)
    assert found["converged"]


def test_reactive_power_by_voltage_is_pandapowers():
    """pandapower's own curve controller, damped, stops at steps of 1e-6 Mvar."""
    found = record(answered(plant(q_control="qv", qv_curve=QV)), "p")
    hand = Hand(plant())
    x, y = zip(*QV, strict=True)
    control.DERController(
        hand.net, 0, q_model=QModelQVCurve({"vm_points_pu": x, "q_points_pu": y}),
        saturate_sn_mva=5.0, damping_coef=8, max_p_error=1e-6, max_q_error=1e-6,
    )  # fmt: skip
    pp.runpp(hand.net, run_control=True, numba=False, max_iter=500)
    assert found["q_mvar"] == pytest.approx(hand.net.res_sgen.q_mvar[0], abs=1e-5)


@pytest.mark.parametrize("kind", SIGNS)
def test_active_power_gives_way_to_the_voltage(kind):
    """P falls from all at 1.02 pu to nothing at 1.04: again the root where the mesh equation holds.

    A resistive line of 2.4 Ω (0.006 per MVA): v² = v + r·p with q = 0 and no angle.
    """
    elements = plant(kind, pv_curve=[[1.01, 1.0], [1.03, 0.0]])
    elements["l"] = cable("b0", "b1", 40, r_ohm_per_km=0.06, x_ohm_per_km=1e-9, c_nf_per_km=0)
    found = record(answered(elements), "p")
    array = 4.0 if kind == "PVSystem" else 5.0
    # v² − v = r·array·(1.03 − v)/0.02
    slope = 0.006 * array / 0.02
    v = (1 - slope + np.sqrt((slope - 1) ** 2 + 4 * slope * 1.03)) / 2
    assert found["vm_pu"] == pytest.approx(v, abs=1e-7)
    assert found["p_mw"] == pytest.approx(SIGNS[kind] * array * (1.03 - v) / 0.02, abs=1e-5)
    assert abs(found["p_mw"]) < 4


@pytest.mark.parametrize("kind", SIGNS)
@pytest.mark.parametrize("cosphi", [0.95, -0.9])
def test_a_power_factor_goes_with_the_active_power(kind, cosphi):
    """|Q| = P·tan φ; positive delivers, whatever the sign of the kind's results."""
    body = answered(plant(kind, q_control="cosphi", cosphi=cosphi))
    q = np.copysign(4 * np.tan(np.arccos(abs(cosphi))), cosphi)
    assert result(body, "p")["q_mvar"] == pytest.approx(SIGNS[kind] * q, abs=1e-9)


@pytest.mark.parametrize("kind", SIGNS)
def test_a_power_factor_follows_the_active_power(kind):
    """From 1 at half the rating to -0.9 at all of it: at 4 of 5 MVA 1 − 0.6·0.1 = 0.94."""
    curve = [[0.5, 1.0], [1.0, -0.9]]
    body = answered(plant(kind, q_control="cosphi_p", cosphi_p_curve=curve))
    q = -4 * np.tan(np.arccos(0.94))
    assert result(body, "p")["q_mvar"] == pytest.approx(SIGNS[kind] * q, abs=1e-9)


def test_the_rating_bounds_what_the_voltage_asks_for():
    """0.8 of 5 MVA in reactive power leaves 3 MW, as in OpenDSS' PVSystem."""
    curve = [[0.5, 0.8], [1.5, 0.8]]
    found = record(answered(plant(q_control="qv", qv_curve=curve)), "p")
    assert found["q_mvar"] == pytest.approx(4.0, abs=1e-9)
    assert found["p_mw"] == pytest.approx(3.0, abs=1e-9)
    assert found["at_limit"]


def test_reactive_limits_bound_what_the_voltage_asks_for():
    curve = [[0.5, 0.4], [1.5, 0.4]]
    found = record(answered(plant(q_control="qv", qv_curve=curve, max_q_mvar=1.5)), "p")
    assert found["q_mvar"] == pytest.approx(1.5)
    assert found["at_limit"]


def test_constant_reactive_power_stays_as_it_is_given():
    body = answered(plant(q_control="constant_q", q_mvar=0.7))
    assert result(body, "p")["q_mvar"] == 0.7


# Fleets


def shaving(target_mw: float = 4.0, **more: Any) -> Elements:
    """grid ─ b0 ── l ── b1 ─ load 6 MW, beside two storages of 3 and 1.5 MVA"""
    own = {"bus": "b1", "p_mw": 0.3, "p_control": "peak_shave", "reference": "l"}
    own["p_target_mw"] = target_mw
    line = {"r_ohm_per_km": 0.2, "x_ohm_per_km": 0.3, "c_nf_per_km": 0}
    return {
        "g": grid("b0"), "b0": bus(20), "b1": bus(20), "l": cable("b0", "b1", 4, **line),
        "d": load("b1", 6, 1),
        "e0": element("Storage", **{**own, "sn_mva": 3.0, **more}),
        "e1": element("Storage", **{**own, "sn_mva": 1.5}),
    }  # fmt: skip


def lossy(p_mw: float) -> float:
    """What enters 0.8 + j1.2 Ω at 20 kV and 1 pu to deliver p + j1: p + r·i², i = |s/v|.

    v from v⁴ + v²(2(rp + xq) − 1) + |z|²(p² + q²) = 0, in pu of 1 MVA.
    """
    r, x, q = 0.8 / 400, 1.2 / 400, 1.0
    b = 1 - 2 * (r * p_mw + x * q)
    v2 = (b + np.sqrt(b**2 - 4 * (r**2 + x**2) * (p_mw**2 + q**2))) / 2
    return float(p_mw + r * (p_mw**2 + q**2) / v2)


@pytest.mark.parametrize(("target", "shares"), [(4.0, (1, 1)), (4.0, (3, 1)), (2.5, (1, 1))])
def test_storages_discharge_what_keeps_a_line_at_its_target(target, shares):
    """By hand: the delivered power of which the sending end is the target, shared, within 1.5 MVA.

    At 2.5 MW the smaller one is at its end, and the other takes the rest.
    """
    body = answered(shaving(target, p_share=shares[0]))
    low, high = 0.0, 6.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if lossy(middle) < target else (low, middle)
    small = min((6 - low) * shares[1] / sum(shares), 1.5)
    assert result(body, "l")["p_from_mw"] == pytest.approx(target, abs=1e-5)
    assert result(body, "e1")["p_mw"] == pytest.approx(-small, abs=1e-5)
    assert result(body, "e0")["p_mw"] == pytest.approx(-(6 - low - small), abs=1e-5)
    assert record(body, "e1")["at_limit"] == (small == 1.5)
    assert all(record(body, id_)["on_target"] for id_ in ("e0", "e1"))


def test_storages_rest_where_the_line_is_below_its_target():
    body = answered(shaving(7.0))
    assert [result(body, id_)["p_mw"] for id_ in ("e0", "e1")] == [0, 0]
    assert record(body, "e0")["on_target"]


def test_storages_at_their_ends_say_that_they_cannot_do_more():
    body = answered(shaving(0.5))
    assert [result(body, id_)["p_mw"] for id_ in ("e0", "e1")] == pytest.approx([-3, -1.5])
    assert record(body, "e0")["at_limit"]
    assert not record(body, "e0")["on_target"]


def test_an_empty_storage_gives_nothing():
    body = answered(shaving(soc_percent=10, max_e_mwh=1.0, min_e_mwh=0.2))
    assert result(body, "e0")["p_mw"] == 0
    assert result(body, "e1")["p_mw"] == pytest.approx(-1.5)


@pytest.mark.parametrize(
    ("change", "field", "kind"),
    [
        ({"p_target_mw": None}, "p_target_mw", "missing-parameter"),
        ({"reference": None}, "reference", "missing-parameter"),
        ({"sn_mva": None}, "sn_mva", "missing-parameter"),
        ({"reference": "b1"}, "reference", "unknown-line"),
        ({"q_control": "constant_q"}, "q_control", "contradiction"),
        ({"p_target_mw": 3.0}, "p_target_mw", "contradiction"),
    ],
)
def test_a_fleet_without_what_it_needs_is_refused(change, field, kind):
    problems = refused(shaving(**change))
    assert {(problem["field"], problem["kind"]) for problem in problems} == {(field, kind)}


# Stations


def station(**more: dict[str, Any]) -> Elements:
    """grid ─ b0 ── line ── b1, where two plants end behind a transformer each"""
    together = {"station_control": "S", "reference": "b1", "vm_set_pu": 1.02}
    elements = {
        "g": grid("b0"), "b0": bus(110), "b1": bus(110), "m1": bus(20), "m2": bus(20),
        "l": cable("b0", "b1", 30),
        "t1": transformer("b1", "m1"), "t2": transformer("b1", "m2"),
        "x1": element("Generator", bus="m1", p_mw=20, q_share=2.0, **together),
        "x2": element("Generator", bus="m2", p_mw=15, **together),
        "d": load("b1", 10, 4),
    }  # fmt: skip
    for id_, parameters in more.items():
        elements[id_]["parameters"] |= parameters
    return elements


def test_a_station_holds_its_voltage_and_shares_the_reactive_power():
    body = answered(station())
    assert result(body, "b1")["vm_pu"] == pytest.approx(1.02, abs=1e-6)
    q1, q2 = (result(body, id_)["q_mvar"] for id_ in ("x1", "x2"))
    assert q1 == pytest.approx(2 * q2, abs=1e-5)
    assert record(body, "x1")["q_share"] == pytest.approx(2 / 3)


def test_the_others_take_over_from_a_machine_at_its_limit():
    free = result(answered(station()), "x1")["q_mvar"]
    body = answered(station(x1={"max_q_mvar": free / 2}))
    assert result(body, "x1")["q_mvar"] == pytest.approx(free / 2, abs=1e-5)
    assert result(body, "b1")["vm_pu"] == pytest.approx(1.02, abs=1e-6)
    assert record(body, "x1")["at_limit"]
    assert not record(body, "x2")["at_limit"]


def test_a_station_at_all_its_limits_gives_what_it_has():
    body = answered(station(x1={"max_q_mvar": 3}, x2={"max_q_mvar": 2}))
    assert [result(body, id_)["q_mvar"] for id_ in ("x1", "x2")] == pytest.approx([3, 2], abs=1e-5)
    assert result(body, "b1")["vm_pu"] < 1.02
    assert not record(body, "x2")["on_target"]


def test_machines_at_one_bus_share_what_they_deliver_together():
    together = answered(station(x2={"bus": "m1"}))
    q1, q2 = (result(together, id_)["q_mvar"] for id_ in ("x1", "x2"))
    assert q1 == pytest.approx(2 * q2, abs=1e-5)
    assert result(together, "b1")["vm_pu"] == pytest.approx(1.02, abs=1e-6)


def test_a_grid_may_belong_to_a_station():
    own = {"station_control": "S", "reference": "b1", "vm_set_pu": 1.02}
    body = answered(station(g=own))
    q = [result(body, id_)["q_mvar"] for id_ in ("g", "x1", "x2")]
    assert q == pytest.approx([q[0], 2 * q[0], q[0]], abs=1e-5)
    assert result(body, "b1")["vm_pu"] == pytest.approx(1.02, abs=1e-6)


def test_one_station_has_one_will():
    kinds = {(p["element"], p["field"], p["kind"]) for p in refused(station(x2={"vm_set_pu": 1.0}))}
    assert kinds == {("x2", "vm_set_pu", "contradiction")}
    elements = station(x1={"bus": "m2"}, x2={"station_control": None, "reference": None})
    elements["x2"]["parameters"]["vm_set_pu"] = None
    (problem,) = refused(elements)
    assert (problem["element"], problem["kind"]) == ("x2", "contradiction")


# What is refused, and what is said


@pytest.mark.parametrize(
    ("change", "field", "kind"),
    [
        ({"tap_control": "discrete"}, "vm_set_pu", "missing-parameter"),
        ({"tap_control": "discrete", "vm_lower_pu": 1.0}, "vm_upper_pu", "missing-parameter"),
        ({"tap_control": "continuous"}, "vm_set_pu", "missing-parameter"),
        ({**BAND, "tap_side": None}, "tap_side", "missing-parameter"),
        ({**BAND, "tap_min": None}, "tap_min", "missing-parameter"),
        ({**BAND, "tap_step_percent": 0}, "tap_step_percent", "out-of-bounds"),
        ({**BAND, "vm_upper_pu": 0.98}, "vm_upper_pu", "out-of-bounds"),
        ({**BAND, "tap_max": -10}, "tap_max", "out-of-bounds"),
        ({**BAND, "vm_set_pu": 1.0}, "vm_set_pu", "contradiction"),
        ({**BAND, "tap_changer_type": "Ideal"}, "tap_control", "contradiction"),
        ({**BAND, "control_side": "mv"}, "control_side", "unknown-value"),
    ],
)
def test_a_tap_control_without_what_it_needs_is_refused(change, field, kind):
    (problem,) = refused(substation(**change))
    assert (problem["element"], problem["field"], problem["kind"]) == ("t", field, kind)


@pytest.mark.parametrize(
    ("change", "field", "kind"),
    [
        ({"vm_set_pu": None}, "vm_set_pu", "missing-parameter"),
        ({"q_mvar": 0}, "q_mvar", "out-of-bounds"),
        ({"reference": "b9"}, "reference", "unknown-bus"),
        ({"step_control": "line_flow", "reference": "l"}, "step_table", "missing-parameter"),
        (
            {"step_control": "line_flow", "step_table": [[0, 0], [1, 1]]},
            "reference",
            "missing-parameter",
        ),
        (
            {"step_control": "line_flow", "reference": "b1", "step_table": [[0, 0], [1, 1]]},
            "reference",
            "unknown-line",
        ),
        (
            {"step_control": "line_flow", "reference": "l", "step_table": [[0, 0], [1, 9]]},
            "step_table",
            "out-of-bounds",
        ),
    ],
)
def test_a_step_control_without_what_it_needs_is_refused(change, field, kind):
    (problem,) = refused(bank(**change))
    assert (problem["element"], problem["field"], problem["kind"]) == ("c", field, kind)


@pytest.mark.parametrize(
    ("change", "field", "kind"),
    [
        ({"q_control": "qv"}, "qv_curve", "missing-parameter"),
        ({"q_control": "qv", "qv_curve": QV, "sn_mva": None}, "sn_mva", "missing-parameter"),
        ({"q_control": "cosphi"}, "cosphi", "missing-parameter"),
        ({"q_control": "cosphi", "cosphi": 0}, "cosphi", "out-of-bounds"),
        ({"q_control": "cosphi_p"}, "cosphi_p_curve", "missing-parameter"),
        ({"q_control": "qv", "qv_curve": [[1, 0], [0.9, 1]]}, "qv_curve", "not-a-curve"),
        ({"pv_curve": [[1, 1], [1.1, -1]]}, "pv_curve", "out-of-bounds"),
        ({"q_control": "volt"}, "q_control", "unknown-value"),
    ],
)
def test_a_droop_without_what_it_needs_is_refused(change, field, kind):
    (problem,) = refused(plant(**change))
    assert (problem["element"], problem["field"], problem["kind"]) == ("p", field, kind)


def test_a_power_flow_says_which_controllers_it_leaves_asleep():
    asleep = answered(substation(**BAND), "powerflow")
    assert any("Controllers do not act" in each for each in asleep["warnings"])
    assert "controllers" not in asleep
    awake = answered(substation(**BAND), "powerflow", run_control=True)
    assert record(awake, "t")["tap_pos"] == record(answered(substation(**BAND)), "t")["tap_pos"]


@pytest.mark.parametrize(
    ("study", "asked"),
    [
        ("contingency", {"run_control": True}),
        ("timeseries", {"run_control": True, "time_steps": 2}),
        ("powerflow", {"run_control": True, "mode": "dc"}),
        ("powerflow", {"run_control": True, "mode": "unbalanced"}),
        ("controller", {"run_control": False}),
    ],
)
def test_where_controllers_cannot_act_they_are_not_asked_to(study, asked):
    fields = {problem["field"] for problem in refused(substation(**BAND), study, **asked)}
    assert "run_control" in fields


def test_a_controller_without_supply_is_told_as_idle():
    elements = substation(**BAND)
    elements["t"]["parameters"]["in_service"] = False
    assert record(answered(elements), "t")["active"] is False


# What holds for all networks


@settings(max_examples=8, deadline=None)
@given(
    p=st.floats(-20, 30), q=st.floats(-10, 15), slope=st.floats(0, 10),
    target=st.floats(0.97, 1.03), steps=st.integers(0, 4), continuous=st.booleans(),
)  # fmt: skip
def test_the_answer_is_the_power_flow_of_where_the_controllers_end(
    p, q, slope, target, steps, continuous
):
    """Set by hand to where they ended, the network without controllers has the same voltages."""
    asked = {"tap_control": "continuous", "vm_set_pu": target} if continuous else BAND
    elements = substation(p, q, **asked)
    curve = [[target - 0.05, 0.05 * slope], [target + 0.05, -0.05 * slope]]
    elements |= {
        "b2": bus(20), "l": cable("b1", "b2", 6),
        "p": element(
            "Static Generator", bus="b2", p_mw=5, sn_mva=8, q_control="qv", qv_curve=curve
        ),
        "c": element(
            "Capacitor", bus="b2", q_mvar=-0.8, step=steps, max_step=4, step_control="voltage",
            vm_set_pu=target, vm_tol_pu=0.01,
        ),
    }  # fmt: skip
    body = answered(elements)
    found = {each["element"]: each for each in body["controllers"]}
    plain = substation(p, q, **{**TAP, "tap_pos": found["t"]["tap_pos"]})
    plain |= {"b2": elements["b2"], "l": elements["l"]}
    plain["p"] = element(
        "Static Generator", bus="b2", p_mw=found["p"]["p_mw"], q_mvar=found["p"]["q_mvar"]
    )
    plain["c"] = element("Capacitor", bus="b2", q_mvar=-0.8, step=found["c"]["step"], max_step=4)
    alone = answered(plain, "powerflow")
    for id_ in ("b1", "b2"):
        assert result(body, id_)["vm_pu"] == pytest.approx(result(alone, id_)["vm_pu"], abs=1e-9)
    law = 8 * np.clip(slope * (target - found["p"]["vm_pu"]), -0.05 * slope, 0.05 * slope)
    assert found["p"]["q_mvar"] == pytest.approx(law, abs=1e-5)
