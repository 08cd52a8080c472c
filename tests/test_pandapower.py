"""pandapower as our engine: every kind, every setting, against pandapower called by hand."""

from __future__ import annotations

import ast
import csv
from collections.abc import Mapping
from typing import Any

import alone
import numpy as np
import pandapower as pp
import pandas as pd
import pytest
from hand import CREATE, Elements, Hand, answer, ask, differences, records, refused
from pytest import approx

from electrisim.elements import KINDS
from pandapower_electrisim import Pandapower

#: Both sides iterate to 1e-10 MVA over the same equations.
SAME = 1e-9


def element(typ: str, **parameters: Any) -> dict[str, Any]:
    return {"typ": typ, "parameters": parameters}


CABLE = {
    "length_km": 4.0, "r_ohm_per_km": 0.21, "x_ohm_per_km": 0.11, "c_nf_per_km": 260.0,
    "g_us_per_km": 3.0, "max_i_ka": 0.3, "df": 0.9,
}  # fmt: skip


def feeder(**more: dict[str, Any]) -> dict[str, Any]:
    """grid ─ b1 ══ l1 (two systems) ══ b2 ── l2 ── b3 ── load, all 20 kV"""
    return {
        "grid": element("External Grid", bus="b1", vm_pu=1.02, va_degree=3.0),
        "b1": element("Bus", vn_kv=20.0),
        "b2": element("Bus", vn_kv=20.0),
        "b3": element("Bus", vn_kv=20.0),
        "l1": element("Line", from_bus="b1", to_bus="b2", **{**CABLE, "parallel": 2}),
        "l2": element("Line", from_bus="b2", to_bus="b3", **CABLE),
        "d3": element("Load", bus="b3", p_mw=3.0, q_mvar=1.0, scaling=0.8),
        **more,
    }


TRANSFORMER = {
    "hv_bus": "b3", "lv_bus": "low", "sn_mva": 4.0, "vn_hv_kv": 20.5, "vn_lv_kv": 0.4,
    "vk_percent": 6.0, "vkr_percent": 1.1, "pfe_kw": 5.0, "i0_percent": 0.4,
}  # fmt: skip
STAR = {
    "hv_bus": "b3", "mv_bus": "mid", "lv_bus": "low", "sn_hv_mva": 10.0, "sn_mv_mva": 6.0,
    "sn_lv_mva": 4.0, "vn_hv_kv": 20.4, "vn_mv_kv": 10.2, "vn_lv_kv": 0.41,
    "vk_hv_percent": 8.0, "vk_mv_percent": 5.0, "vk_lv_percent": 9.0, "vkr_hv_percent": 0.5,
    "vkr_mv_percent": 0.4, "vkr_lv_percent": 0.6, "pfe_kw": 6.0, "i0_percent": 0.3,
}  # fmt: skip
TAP = {"tap_neutral": 1.0, "tap_min": -8.0, "tap_max": 8.0, "tap_step_percent": 1.3}


def below(**more: Any) -> dict[str, Any]:
    """The feeder, and at its end: b3 ─T─ low (0.4 kV) ── load"""
    return feeder(
        low=element("Bus", vn_kv=0.4),
        t=element("Transformer", **{**TRANSFORMER, **more}),
        d=element("Load", bus="low", p_mw=0.9, q_mvar=0.2),
    )


def star(**more: Any) -> dict[str, Any]:
    """The feeder, and at its end: b3 ─T3─ mid (10 kV) ── load, low (0.4 kV) ── load"""
    return feeder(
        mid=element("Bus", vn_kv=10.0),
        low=element("Bus", vn_kv=0.4),
        t3=element("Three Winding Transformer", **{**STAR, **more}),
        dm=element("Load", bus="mid", p_mw=1.9, q_mvar=0.7),
        dl=element("Load", bus="low", p_mw=0.9, q_mvar=0.2),
    )


DC_LINE = element(
    "Line DC", from_bus_dc="p", to_bus_dc="q", length_km=30.0, r_ohm_per_km=0.05,
    max_i_ka=0.9, df=0.95, parallel=2,
)  # fmt: skip


def converters(**more: dict[str, Any]) -> dict[str, Any]:
    """The feeder, and beside it: b2 ─VSC─ p ══ 2 × 30 km ══ q ─VSC─ b3, p and q at 40 kV DC"""
    bridge = {"r_ohm": 0.1, "x_ohm": 2.0, "r_dc_ohm": 0.2, "pl_dc_mw": 0.02}
    return {
        **feeder(),
        "p": element("DC Bus", vn_kv=40.0),
        "q": element("DC Bus", vn_kv=40.0),
        "dc": DC_LINE,
        "v2": element(
            "VSC", bus="b2", bus_dc="p", control_mode_ac="q_mvar", control_value_ac=0.3,
            control_mode_dc="vm_pu", control_value_dc=1.01, **bridge,
        ),
        "v3": element(
            "VSC", bus="b3", bus_dc="q", control_mode_ac="vm_pu", control_value_ac=1.01,
            control_mode_dc="p_mw", control_value_dc=0.8, **bridge,
        ),
        **more,
    }  # fmt: skip


NETWORKS: dict[str, Elements] = {
    "lines, load and external grid": feeder(),
    "a generator": feeder(
        g=element(
            "Generator", bus="b3", p_mw=1.5, vm_pu=1.01, scaling=0.9, sn_mva=3.0, slack_weight=0.4
        ),
    ),
    "a generator as slack": feeder(
        grid=element("Generator", bus="b1", p_mw=1.0, vm_pu=1.03, slack=True),
    ),
    "a static generator": feeder(
        s=element("Static Generator", bus="b3", p_mw=2.0, q_mvar=-0.7, scaling=0.6, type="PV"),
    ),
    "an asymmetric static generator": feeder(
        s=element(
            "Asymmetric Static Generator", bus="b3", p_a_mw=0.4, p_b_mw=0.2, p_c_mw=0.1,
            q_a_mvar=0.1, q_b_mvar=-0.2, q_c_mvar=0.3, scaling=0.7,
        ),
    ),
    "an asymmetric load": feeder(
        s=element(
            "Asymmetric Load", bus="b3", p_a_mw=0.4, p_b_mw=0.2, p_c_mw=0.1, q_a_mvar=0.1,
            q_b_mvar=-0.2, q_c_mvar=0.3, scaling=0.7, type="delta",
        ),
    ),
    "a load that follows the voltage": feeder(
        d3=element(
            "Load", bus="b3", p_mw=3.0, q_mvar=1.0, scaling=0.8, const_z_p_percent=30.0,
            const_i_p_percent=20.0, const_z_q_percent=10.0, const_i_q_percent=60.0,
        ),
    ),
    "a shunt": feeder(
        s=element("Shunt", bus="b3", p_mw=0.1, q_mvar=-0.5, vn_kv=21.0, step=2.0, max_step=3),
    ),
    "a shunt of the bus's own voltage": feeder(
        s=element("Shunt", bus="b3", p_mw=0.1, q_mvar=0.5),
    ),
    "shunt, reactor and capacitor": feeder(
        s=element("Shunt", bus="b3", q_mvar=0.5),
        r=element("Shunt Reactor", bus="b2", q_mvar=0.7, vn_kv=19.0),
        c=element("Capacitor", bus="b3", q_mvar=-1.5, step=0.0),
        c2=element("Capacitor", bus="b2", q_mvar=-0.9),
    ),
    "a ward": feeder(
        w=element("Ward", bus="b3", ps_mw=0.3, qs_mvar=0.2, pz_mw=0.4, qz_mvar=-0.3),
    ),
    "an extended ward": feeder(
        w=element(
            "Extended Ward", bus="b3", ps_mw=0.3, qs_mvar=0.2, pz_mw=0.4, qz_mvar=-0.3, r_ohm=1.0,
            x_ohm=4.0, vm_pu=1.01,
        ),
    ),
    "a motor": feeder(
        m=element(
            "Motor", bus="b3", pn_mech_mw=1.2, cos_phi=0.86, efficiency_percent=94.0,
            loading_percent=70.0, scaling=0.9,
        ),
    ),
    "storage": feeder(
        s=element("Storage", bus="b3", p_mw=-1.2, q_mvar=0.3, scaling=0.8, max_e_mwh=4.0),
    ),
    "an impedance": feeder(
        b4=element("Bus", vn_kv=20.0),
        z=element(
            "Impedance", from_bus="b3", to_bus="b4", sn_mva=8.0, rft_pu=0.02, xft_pu=0.06,
            rtf_pu=0.03, xtf_pu=0.05, gf_pu=0.001, bf_pu=0.02, gt_pu=0.002, bt_pu=0.01,
        ),
        d4=element("Load", bus="b4", p_mw=1.0),
    ),
    "an impedance the same both ways": feeder(
        b4=element("Bus", vn_kv=20.0),
        z=element(
            "Impedance", from_bus="b3", to_bus="b4", sn_mva=8.0, rft_pu=0.02, xft_pu=0.06,
            gf_pu=0.001, bf_pu=0.02,
        ),
        d4=element("Load", bus="b4", p_mw=1.0),
    ),
    "a transformer": below(parallel=2, df=0.8, shift_degree=150.0),
    "a transformer whose leakage is not halved": below(
        leakage_resistance_ratio_hv=0.3, leakage_reactance_ratio_hv=0.7
    ),
    "a transformer of negative equivalent figures": below(vk_percent=-6.0, i0_percent=-0.4),
    "a tap changer at the high side": below(
        **TAP, tap_side="hv", tap_pos=-2.0, tap_changer_type="Ratio"
    ),
    "a tap changer at the low side": below(
        **TAP, tap_side="lv", tap_pos=3.0, tap_changer_type="Ratio"
    ),
    "an oblique tap changer": below(
        **TAP, tap_side="hv", tap_pos=3.0, tap_step_degree=60.0, tap_changer_type="Ratio"
    ),
    "a symmetrical tap changer": below(
        **TAP, tap_side="lv", tap_pos=3.0, tap_step_degree=90.0, tap_changer_type="Symmetrical"
    ),
    "an ideal phase shifter in degrees": below(
        tap_side="hv", tap_neutral=0.0, tap_pos=3.0, tap_step_degree=2.0, tap_changer_type="Ideal"
    ),
    "an ideal phase shifter in percent": below(
        tap_side="hv", tap_neutral=0.0, tap_pos=3.0, tap_step_percent=2.0, tap_changer_type="Ideal"
    ),
    "a tap changer at its neutral": below(**TAP, tap_side="hv", tap_changer_type="Ratio"),
    "two tap changers": below(
        **TAP, tap_side="hv", tap_pos=-2.0, tap_changer_type="Ratio", tap2_side="lv",
        tap2_neutral=0.0, tap2_min=-2.0, tap2_max=2.0, tap2_step_percent=2.5, tap2_pos=1.0,
        tap2_step_degree=0.0, tap2_changer_type="Ratio",
    ),
    "a three-winding transformer": star(shift_mv_degree=30.0, shift_lv_degree=-150.0),
    **{
        f"a three-winding transformer's tap changer at {side}": star(
            **TAP, tap_side=side, tap_pos=-2.0, tap_changer_type="Ratio", tap_step_degree=10.0
        )
        for side in ("hv", "mv", "lv")
    },
    "a tap changer at the star point": star(
        **TAP, tap_side="mv", tap_pos=-2.0, tap_changer_type="Ratio", tap_step_degree=0.0,
        tap_at_star_point=True,
    ),
    "a DC line": feeder(
        dc=element(
            "DC Line", from_bus="b2", to_bus="b3", p_mw=1.4, loss_percent=2.0, loss_mw=0.05,
            vm_from_pu=1.0, vm_to_pu=1.005,
        ),
    ),
    "a DC line that brings power back": feeder(
        dc=element(
            "DC Line", from_bus="b2", to_bus="b3", p_mw=-1.4, loss_percent=2.0, loss_mw=0.05,
            vm_from_pu=1.0, vm_to_pu=1.005,
        ),
    ),
    "an SVC": feeder(
        f=element(
            "SVC", bus="b3", x_l_ohm=20.0, x_cvar_ohm=-50.0, set_vm_pu=1.01,
            thyristor_firing_angle_degree=120.0, min_angle_degree=91.0, max_angle_degree=179.0,
        ),
    ),
    "an SVC as a fixed reactance": feeder(
        f=element(
            "SVC", bus="b3", x_l_ohm=40.0, x_cvar_ohm=-90.0, set_vm_pu=1.01,
            thyristor_firing_angle_degree=110.0, controllable=False,
        ),
    ),
    "a TCSC": feeder(
        l3=feeder()["l2"],
        b4=element("Bus", vn_kv=20.0),
        f=element(
            "TCSC", from_bus="b2", to_bus="b4", x_l_ohm=0.2, x_cvar_ohm=-0.5, set_p_to_mw=-0.85,
            thyristor_firing_angle_degree=150.0, min_angle_degree=91.0, max_angle_degree=179.0,
        ),
        l4=element(
            "Line", from_bus="b4", to_bus="b3", length_km=3.0, r_ohm_per_km=0.21,
            x_ohm_per_km=0.4, c_nf_per_km=100.0, max_i_ka=0.3,
        ),
    ),
    "a TCSC as a fixed reactance": feeder(
        b4=element("Bus", vn_kv=20.0),
        f=element(
            "TCSC", from_bus="b3", to_bus="b4", x_l_ohm=0.2, x_cvar_ohm=-0.5, set_p_to_mw=-1.4,
            thyristor_firing_angle_degree=150.0, controllable=False,
        ),
        d4=element("Load", bus="b4", p_mw=1.0),
    ),
    "an SSC": feeder(
        f=element("SSC", bus="b3", r_ohm=0.2, x_ohm=4.0, set_vm_pu=1.01, vm_internal_pu=1.02),
    ),
    "an SSC of a fixed inner voltage": feeder(
        f=element(
            "SSC", bus="b3", r_ohm=0.2, x_ohm=4.0, set_vm_pu=1.01, vm_internal_pu=1.02,
            va_internal_degree=2.0, controllable=False,
        ),
    ),
    "converters over a DC line": converters(),
    "DC loads": converters(
        d1=element("Load DC", bus_dc="p", p_dc_mw=0.4, scaling=0.7),
        d2=element("Load DC", bus_dc="q", p_dc_mw=0.3),
    ),
    "a DC source beside converters of fixed power": {
        "s0": element("DC Bus", vn_kv=40.0),
        **converters(
            ls={**DC_LINE, "parameters": {**DC_LINE["parameters"], "to_bus_dc": "s0"}},
            s=element("Source DC", bus_dc="s0", vm_pu=1.005),
            v2=element(
                "VSC", bus="b2", bus_dc="p", r_ohm=0.1, x_ohm=2.0, r_dc_ohm=0.2, pl_dc_mw=0.02,
                control_mode_ac="q_mvar", control_value_ac=0.3, control_mode_dc="p_mw",
                control_value_dc=-0.3,
            ),
        ),
    },
    "a stacked converter": {
        **feeder(),
        "p": element("DC Bus", vn_kv=40.0),
        "q": element("DC Bus", vn_kv=40.0),
        "v": element(
            "B2B VSC", bus="b2", bus_dc_plus="p", bus_dc_minus="q", r_ohm=0.1, x_ohm=2.0,
            r_dc_ohm=0.2, pl_dc_mw=0.02, control_mode_ac="q_mvar", control_value_ac=0.3,
            control_mode_dc="vm_pu", control_value_dc=1.01,
        ),
        "dp": element("Load DC", bus_dc="p", p_dc_mw=0.7),
        "dq": element("Load DC", bus_dc="q", p_dc_mw=0.4),
    },
    "an island behind a converter": converters(
        i1=element("Bus", vn_kv=20.0),
        i2=element("Bus", vn_kv=20.0),
        li=element("Line", **{**CABLE, "from_bus": "i1", "to_bus": "i2"}),
        di=element("Load", bus="i2", p_mw=0.5, q_mvar=0.1),
        v3=element(
            "VSC", bus="i1", bus_dc="q", r_ohm=0.1, x_ohm=2.0, r_dc_ohm=0.2, pl_dc_mw=0.02,
            control_mode_ac="slack", control_value_ac=1.01, control_mode_dc="vm_pu",
            control_value_dc=1.0,
        ),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", NETWORKS)
def test_an_answer_is_what_pandapower_says_when_asked_by_hand(name: str) -> None:
    network = NETWORKS[name]
    body = answer(network, tolerance=1e-10, max_iteration=30)
    hand = Hand(network)
    pp.runpp(hand.net, tolerance_mva=1e-10, max_iteration=30, numba=False)
    # pandapower leaves sources out of what a DC bus draws; at AC buses it counts them, as we do.
    sources = hand.net.source_dc
    hand.net.res_bus_dc.loc[sources.bus_dc, "p_mw"] -= hand.net.res_source_dc.p_dc_mw.to_numpy()
    found = differences(records(body).values(), hand)
    assert found
    assert {column: error for column, error in found.items() if error > SAME} == {}


# -- settings: each one acts, or is refused by name ------------------------------------------------

LIMITED = feeder(
    g=element(
        "Generator", bus="b3", p_mw=1.5, vm_pu=1.04, min_q_mvar=-0.4, max_q_mvar=0.6,
        slack_weight=2.0,
    ),
    s=element("Static Generator", bus="b2", p_mw=0.5, q_mvar=0.9, max_q_mvar=0.3),
)  # fmt: skip
WARM = feeder(
    l1=element(
        "Line", from_bus="b1", to_bus="b2", **CABLE, alpha=0.0043, temperature_degree_celsius=70.0
    ),
    l2=element(
        "Line", from_bus="b2", to_bus="b3", **CABLE, alpha=0.0039, temperature_degree_celsius=60.0
    ),
)
SHIFTED = below(shift_degree=150.0)
HIGH = {
    id_: {**part, "parameters": {**part["parameters"], "vn_kv": 110.0}} if id_[0] == "b" else part
    for id_, part in SHIFTED.items()
}

#: Networks on which a setting matters, and what it does there.
ACTS: dict[str, tuple[Elements, dict[str, Any], str]] = {
    "frequency": (feeder(), {"frequency": 60.0}, "q_mvar"),
    "calculate_voltage_angles": (SHIFTED, {"calculate_voltage_angles": False}, "va_degree"),
    "calculate_voltage_angles, auto": (SHIFTED, {"calculate_voltage_angles": "auto"}, "va_degree"),
    "trafo_model": (below(i0_percent=8.0), {"trafo_model": "pi"}, "q_hv_mvar"),
    "trafo_loading": (SHIFTED, {"trafo_loading": "power"}, "loading_percent"),
    "enforce_q_lims": (LIMITED, {"enforce_q_lims": True}, "vm_pu"),
    "enforce_q_lims, iwamoto_nr": (
        LIMITED, {"enforce_q_lims": True, "algorithm": "iwamoto_nr"}, "vm_pu",
    ),
    "distributed_slack": (LIMITED, {"distributed_slack": True}, "p_mw"),
    "voltage_depend_loads": (
        NETWORKS["a load that follows the voltage"], {"voltage_depend_loads": False}, "p_mw",
    ),
    "consider_line_temperature": (WARM, {"consider_line_temperature": True}, "vm_pu"),
}  # fmt: skip


def by_hand(network: Elements, **settings: Any) -> Hand:
    """The network solved by pandapower under our names of the settings."""
    hand = Hand(network, settings.pop("frequency", 50.0))
    names = {"tolerance": "tolerance_mva"}
    arguments = {names.get(name, name): value for name, value in settings.items()}
    if settings.get("distributed_slack"):
        # lightsim2grid refuses generators that share the imbalance without being a slack.
        arguments["lightsim2grid"] = False
    pp.runpp(hand.net, **{"tolerance_mva": 1e-10, "numba": False, **arguments})
    return hand


def numbers(body: Mapping[str, Any], column: str) -> np.ndarray:
    return np.array([r[column] for r in records(body).values() if column in r], dtype=float)


@pytest.mark.parametrize("name", ACTS)
def test_a_setting_acts_as_it_does_in_pandapower(name: str) -> None:
    network, settings, column = ACTS[name]
    body = answer(network, tolerance=1e-10, **settings)
    moved = np.abs(numbers(body, column) - numbers(answer(network), column))
    assert np.nanmax(moved) > 1e-4
    errors = differences(records(body).values(), by_hand(network, **settings))
    assert {name: error for name, error in errors.items() if error > SAME} == {}


def test_angles_count_above_70_kv_where_they_count_automatically() -> None:
    low = records(answer(HIGH, calculate_voltage_angles="auto"))["low"]
    assert low["va_degree"] == approx(records(answer(HIGH))["low"]["va_degree"], abs=1e-9)
    assert abs(low["va_degree"]) > 100


ALGORITHMS = ("nr", "iwamoto_nr", "bfsw", "gs", "fdbx", "fdxb")


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_every_algorithm_finds_the_same_solution_in_its_own_way(algorithm: str) -> None:
    """Each stops at 1e-9 MVA, which at this short-circuit power is below 1e-9 pu."""
    newton = answer(feeder(), tolerance=1e-10)
    body = answer(feeder(), algorithm=algorithm, tolerance=1e-9, max_iteration=10000)
    assert np.abs(numbers(body, "vm_pu") - numbers(newton, "vm_pu")).max() < 1e-9
    assert body["engine"]["solver"].startswith(algorithm)
    errors = differences(records(body).values(), by_hand(feeder(), algorithm=algorithm))
    assert max(errors.values()) < 1e-8


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_an_algorithm_stops_at_max_iteration(algorithm: str) -> None:
    (problem,) = refused(feeder(), algorithm=algorithm, max_iteration=1)
    assert problem["kind"] == "not-converged"
    assert f"({algorithm}) found no solution within 1 iterations" in problem["message"]


def test_a_loose_tolerance_takes_fewer_iterations() -> None:
    body = answer(feeder(), tolerance=1e-4)
    assert body["iterations"] < answer(feeder(), tolerance=1e-10)["iterations"]


def test_the_start_decides_how_far_the_way_is() -> None:
    """From the linear power flow's angles it is shorter than over a shift of 150° from nowhere."""
    mild = below(shift_degree=30.0)
    flat, dc = (answer(mild, init=init, max_iteration=30)["iterations"] for init in ("flat", "dc"))
    assert dc < flat


def test_limits_of_generators_bind_with_either_newton_solver() -> None:
    """lightsim2grid solves the plain network, pandapower itself one with a load beside it that
    follows the voltage; in both the generator gives up its voltage at 0.6 Mvar.
    """
    follows = {
        "b4": element("Bus", vn_kv=20.0),
        "l4": element("Line", **{**CABLE, "from_bus": "b3", "to_bus": "b4"}),
        "z": element("Load", bus="b4", p_mw=0.1, const_z_p_percent=100.0),
    }
    for extra in ({}, follows):
        body = answer({**LIMITED, **extra}, enforce_q_lims=True)
        generator = records(body)["g"]
        assert generator["q_mvar"] == approx(0.6, abs=1e-9)
        assert generator["vm_pu"] < 1.035
        assert ("lightsim2grid" in body["engine"]["solver"]) == (not extra)


FACTS = NETWORKS["an SVC"]
REFUSED: dict[str, tuple[Elements, dict[str, Any], str]] = {
    **{
        f"{name} of OpenDSS": (feeder(), {name: value}, name)
        for name, value in {
            "binding": "py_dss_interface", "source_impedance": True, "solution_mode": "daily",
            "load_model": "admittance", "control_mode": "off", "algorithm": "newton",
        }.items()
    },
    **{
        f"enforce_q_lims with {algorithm}": (
            LIMITED, {"algorithm": algorithm, "enforce_q_lims": True}, "enforce_q_lims",
        )
        for algorithm in ("bfsw", "gs", "fdbx", "fdxb")
    },
    **{
        f"distributed_slack with {algorithm}": (
            LIMITED, {"algorithm": algorithm, "distributed_slack": True}, "distributed_slack",
        )
        for algorithm in ALGORITHMS[1:]
    },
    **{
        f"an SVC with {algorithm}": (FACTS, {"algorithm": algorithm}, "algorithm")
        for algorithm in ALGORITHMS[1:]
    },
    "an SVC from the linear power flow": (FACTS, {"init": "dc"}, "init"),
    "an uneven impedance with bfsw": (
        NETWORKS["an impedance"], {"algorithm": "bfsw"}, "algorithm",
    ),
    "an uneven transformer with bfsw": (
        NETWORKS["a transformer whose leakage is not halved"], {"algorithm": "bfsw"}, "algorithm",
    ),
    "line temperatures beside a DC network": (
        converters(), {"consider_line_temperature": True}, "consider_line_temperature",
    ),
    **{
        f"{name} in the linear power flow": (feeder(), {"mode": "dc", name: value}, name)
        for name, value in {
            "algorithm": "nr", "init": "flat", "enforce_q_lims": True, "distributed_slack": True,
            "consider_line_temperature": True, "calculate_voltage_angles": False,
        }.items()
    },
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_a_setting_that_pandapower_would_ignore_is_refused_by_name(name: str) -> None:
    network, settings, field = REFUSED[name]
    (problem,) = refused(network, **settings)
    assert (problem["kind"], problem["field"]) == ("unsupported", field)
    assert f"The setting {field} “" in problem["message"]


# -- loads that follow the voltage -----------------------------------------------------------------


def powers(body: Mapping[str, Any], id_: str) -> complex:
    record = records(body)[id_]
    return complex(record["p_mw"], record["q_mvar"])


COMPANY: dict[str, dict[str, Any]] = {
    "a load of other shares": {"c": element("Load", bus="b3", p_mw=1.0, q_mvar=0.3)},
    "generation of constant power": {
        "c": element("Static Generator", bus="b3", p_mw=2.4, q_mvar=0.8)
    },
    "a motor": {"c": element("Motor", bus="b3", pn_mech_mw=0.5, cos_phi=0.8)},
    "a battery": {"c": element("Storage", bus="b3", p_mw=0.5)},
    "a ward": {"c": element("Ward", bus="b3", ps_mw=0.1, qs_mvar=0.1, pz_mw=0.2, qz_mvar=0.1)},
    "an asymmetric load": {"c": element("Asymmetric Load", bus="b3", p_a_mw=0.1)},
    "a load across an ideal switch": {
        "b4": element("Bus", vn_kv=20.0),
        "s": element("Switch", bus="b3", element="b4"),
        "c": element("Load", bus="b4", p_mw=1.0, const_z_p_percent=50.0),
    },
    "a generator that holds the voltage": {
        "c": element("Generator", bus="b3", p_mw=0.5, vm_pu=1.03)
    },
    "nothing": {},
}


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("company", COMPANY)
def test_a_load_follows_the_voltage_whatever_stands_beside_it(company: str, algorithm: str) -> None:
    """Its own law at the voltage of its bus, by hand; the certificate closes the sums."""
    shares = {"const_z_p_percent": 30.0, "const_i_p_percent": 50.0, "const_i_q_percent": 100.0}
    load = element("Load", bus="b3", p_mw=3.0, q_mvar=1.0, scaling=0.8, **shares)
    network = feeder(d3=load, **COMPANY[company])
    body = answer(network, algorithm=algorithm, tolerance=1e-9, max_iteration=10000)
    v = records(body)["b3"]["vm_pu"]
    assert abs(v - 1) > 0.005
    asked = complex(2.4 * (0.2 + 0.5 * v + 0.3 * v**2), 0.8 * v)
    assert powers(body, "d3") == approx(asked, abs=1e-8)


def test_a_load_beside_the_grid_draws_from_it_by_its_own_law() -> None:
    """grid at 1.02 pu ─ load of 1 MW and 0.5 Mvar, all of them with the square of the voltage"""
    shares = {"const_z_p_percent": 100.0, "const_z_q_percent": 100.0}
    body = answer(
        {
            "grid": element("External Grid", bus="b1", vm_pu=1.02),
            "b1": element("Bus", vn_kv=20.0),
            "d": element("Load", bus="b1", p_mw=1.0, q_mvar=0.5, **shares),
        }
    )
    assert powers(body, "grid") == approx((1 + 0.5j) * 1.02**2, rel=1e-12)


# -- the linear power flow -------------------------------------------------------------------------

LINEAR = [
    name
    for name in NETWORKS
    if not {"TCSC", "DC Bus"} & {part["typ"] for part in NETWORKS[name].values()}
]


@pytest.mark.parametrize("name", LINEAR)
def test_a_linear_answer_is_what_pandapower_says_when_asked_by_hand(name: str) -> None:
    """Active powers, angles, currents and loadings; what needs a voltage or reactive power is null.

    pandapower leaves asymmetric loads and generators out of its linear power flow and counts them
    in its results; by hand they stand as symmetric ones of the same sum.
    """
    body = answer(NETWORKS[name], mode="dc")
    hand = Hand({id_: symmetric(part) for id_, part in NETWORKS[name].items()})
    pp.rundcpp(hand.net)
    for record in records(body).values():
        expected = hand.result(record["id"])
        for column, value in record.items():
            if column.startswith(("q_", "ql_", "vm_", "thyristor_", "x_")):
                assert value is None
            elif not np.isnan(expected.get(column, np.nan)) and column != "va_internal_degree":
                assert value == approx(expected[column], rel=SAME, abs=SAME), column


@pytest.mark.parametrize(
    ("held", "of_ward", "drawn_mw"),
    [
        (1.02, element("Shunt", bus="b1", p_mw=1.0, q_mvar=0.2), 1.0),
        (1.02, element("Shunt", bus="b1", p_mw=1.0, q_mvar=0.2, step=2, vn_kv=10.0), 8.0),
        (1.02, element("Ward", bus="b1", ps_mw=0.2, qs_mvar=0, pz_mw=1.0, qz_mvar=0.3), 1.2),
        (
            0.97,
            element(
                "Extended Ward", bus="b1", ps_mw=0.2, qs_mvar=0.0, pz_mw=1.0, qz_mvar=0.3,
                r_ohm=1.0, x_ohm=5.0, vm_pu=1.0,
            ),
            1.2,
        ),
    ],
)  # fmt: skip
def test_admittances_draw_what_they_do_at_1_pu_in_the_linear_power_flow(
    held: float, of_ward: dict[str, Any], drawn_mw: float
) -> None:
    """pandapower solves it so and tells their power at the voltage of the grid beside them."""
    elements = feeder(w=of_ward, grid=element("External Grid", bus="b1", vm_pu=held))
    found = records(answer(elements, mode="dc"))
    assert found["w"]["p_mw"] == approx(drawn_mw, rel=SAME)
    assert found["grid"]["p_mw"] == approx(drawn_mw + 0.8 * 3.0, rel=SAME)


def symmetric(part: dict[str, Any]) -> dict[str, Any]:
    """An asymmetric load or generator as a symmetric one of the same sum."""
    typ = {"Asymmetric Load": "Load", "Asymmetric Static Generator": "Static Generator"}
    if part["typ"] not in typ:
        return part
    given = part["parameters"]
    p_mw = sum(given.get(f"p_{phase}_mw", 0.0) for phase in "abc")
    return element(typ[part["typ"]], bus=given["bus"], p_mw=p_mw, scaling=given["scaling"])


def test_the_linear_power_flow_of_two_lines_by_hand() -> None:
    """grid ─ b1 ── 0.44 Ω ── b2 ── 0.44 Ω ── b3 ── 2.4 MW: the angle falls by x·P/U² on each way"""
    body = answer(feeder(), mode="dc")
    falls = [2.4 * x / 20**2 for x in (0.11 * 4 / 2, 0.11 * 4)]
    angles = [np.deg2rad(records(body)[bus]["va_degree"]) for bus in ("b1", "b2", "b3")]
    assert -np.diff(angles) == approx(falls, rel=1e-12)
    assert records(body)["grid"]["p_mw"] == approx(2.4, rel=1e-12)
    assert body["losses"]["p_mw"] == 0


@pytest.mark.parametrize("name", ["a TCSC", "converters over a DC line", "a stacked converter"])
def test_what_the_linear_power_flow_leaves_out_is_refused_by_name(name: str) -> None:
    problems = refused(NETWORKS[name], mode="dc")
    named = {problem["element"] for problem in problems}
    kinds = ("TCSC", "DC Bus", "Line DC", "VSC", "B2B VSC", "Load DC")
    assert named == {id_ for id_, part in NETWORKS[name].items() if part["typ"] in kinds}
    assert {problem["kind"] for problem in problems} == {"unsupported"}


def test_a_branch_without_reactance_is_named_where_the_linear_power_flow_needs_one() -> None:
    resistive = feeder(
        l2=element("Line", **{**CABLE, "x_ohm_per_km": 0.0}, from_bus="b2", to_bus="b3")
    )
    for settings in ({"mode": "dc"}, {"init": "dc"}):
        (problem,) = refused(resistive, **settings)
        assert (problem["kind"], problem["element"]) == ("no-reactance", "l2")
        assert problem["field"] == "x_ohm_per_km"


@pytest.mark.parametrize("shift_degree", [0.0, 150.0])
def test_an_ac_power_flow_with_a_branch_without_reactance_starts_elsewhere(
    shift_degree: float,
) -> None:
    """… at the angles that the transformers' shifts leave; pandapower by hand starts flat."""
    network = below(shift_degree=shift_degree)
    network["l2"] = element("Line", **{**CABLE, "x_ohm_per_km": 0.0}, from_bus="b2", to_bus="b3")
    body = answer(network, tolerance=1e-10)
    hand = Hand({**network, "t": element("Transformer", **TRANSFORMER)})
    pp.runpp(hand.net, init="flat", tolerance_mva=1e-10, numba=False)
    found = records(body)["low"]
    assert found["vm_pu"] == approx(hand.result("low")["vm_pu"], abs=SAME)
    turned = hand.result("low")["va_degree"] - shift_degree
    assert found["va_degree"] == approx(turned, abs=1e-7)


# -- standard types --------------------------------------------------------------------------------

LIBRARY = pp.create_empty_network()["std_types"]


def of_standard_type(table: str, name: str) -> Elements:
    """grid ─ a ─ an element of the standard type ─ b (and c) ── load"""
    type_ = LIBRARY[table][name]
    sides = [side for side in ("hv", "mv", "lv") if f"vn_{side}_kv" in type_] or ["from", "to"]
    buses = dict(zip(sides, "abc", strict=False))
    made = {
        "line": element("Line", length_km=0.5, parallel=2),
        "trafo": element("Transformer", tap_pos=1.0),
        "trafo3w": element("Three Winding Transformer", tap_pos=1.0),
    }[table]
    made["parameters"] |= {f"{side}_bus": bus for side, bus in buses.items()}
    made["parameters"]["std_type"] = name
    return {
        "grid": element("External Grid", bus="a"),
        **{
            bus: element("Bus", vn_kv=float(type_.get(f"vn_{side}_kv", 20.0)))
            for side, bus in buses.items()
        },
        "x": made,
        "d": element("Load", bus="b", p_mw=0.1, q_mvar=0.05),
    }


@pytest.mark.parametrize("table", ["line", "trafo", "trafo3w"])
def test_standard_types_are_pandapowers(table: str) -> None:
    """One network of all types, each between buses and below a grid of its own."""
    network = {
        f"{id_} {n}": {**part, "parameters": at(part["parameters"], n)}
        for n, name in enumerate(LIBRARY[table])
        for id_, part in of_standard_type(table, name).items()
    }
    body = answer(network, tolerance=1e-10)
    assert body["warnings"] == []
    hand = Hand(network)
    pp.runpp(hand.net, tolerance_mva=1e-10, numba=False)
    assert max(differences(records(body).values(), hand).values()) < SAME


def at(parameters: dict[str, Any], n: int) -> dict[str, Any]:
    """The parameters with every reference to a bus numbered."""
    ends = {"bus", "from_bus", "to_bus", "hv_bus", "mv_bus", "lv_bus"}
    return {k: f"{v} {n}" if k in ends else v for k, v in parameters.items()}


def test_standard_types_of_dc_lines_are_pandapowers() -> None:
    for name in LIBRARY["line_dc"]:
        line = element("Line DC", from_bus_dc="p", to_bus_dc="q", length_km=3.0, std_type=name)
        network = converters(dc=line)
        hand = Hand(network)
        pp.runpp(hand.net, tolerance_mva=1e-10, numba=False)
        body = answer(network, tolerance=1e-10)
        assert max(differences(records(body).values(), hand).values()) < SAME, name


def test_what_is_given_wins_over_the_standard_type() -> None:
    """A vector group that is given brings its own shift, Dyn11 instead of the type's Dyn5."""
    network = of_standard_type("trafo", "0.4 MVA 20/0.4 kV")
    network["x"]["parameters"] |= {"vector_group": "Dyn11", "vk_percent": 4.0}
    body = answer(network)
    assert body["warnings"] == []
    hand = Hand(of_standard_type("trafo", "0.4 MVA 20/0.4 kV"))
    hand.net.trafo[["shift_degree", "vk_percent"]] = 330.0, 4.0
    pp.runpp(hand.net, numba=False)
    for name in ("vm_pu", "va_degree"):
        assert records(body)["b"][name] == approx(hand.result("b")[name], abs=1e-8)


# -- scripts ---------------------------------------------------------------------------------------

HOSTILE = (
    'quoted "twice" and \'once\'', "a\nnew line", "\\", '"""', "#; import os", "{x} %s",
    "ünïcödé ⚡", "\u202egnirts", "\x00\x07", "'); raise SystemExit(3) #", "",
)  # fmt: skip


def printed(script: str) -> dict[str, dict[int, dict[str, float]]]:
    """The result tables that a script prints when it runs on its own: table → row → column."""
    tables: dict[str, dict[int, dict[str, float]]] = {}
    for part in alone.printed(script).split("res_")[1:]:
        name, *rows = part.strip().splitlines()
        tables[name] = {
            int(row[""]): {k: float(v or "nan") for k, v in row.items() if k}
            for row in csv.DictReader(rows)
        }
    return tables


def assert_reproduced(network: Elements, body: Mapping[str, Any]) -> None:
    """Every number of an answer is in what its script prints, in the tables' order."""
    tables = printed(body["script"])
    rows: dict[str, int] = {}
    order = [kind.typ for kind in KINDS]
    for id_, part in sorted(network.items(), key=lambda item: order.index(item[1]["typ"])):
        table = CREATE[part["typ"]][0]
        row = rows[table] = rows.get(table, -1) + 1
        if part["typ"] in ("B2B VSC", "Switch", "DC Bus"):
            continue
        for column, value in records(body)[id_].items():
            expected = tables[table][row].get(column)
            if value is not None and expected is not None:
                assert value == approx(expected, rel=SAME, abs=SAME), (id_, column)


SCRIPTED = [
    "lines, load and external grid", "two tap changers", "a tap changer at the star point",
    "a load that follows the voltage", "shunt, reactor and capacitor", "a DC line",
    "an SVC", "an SSC", "converters over a DC line", "a stacked converter", "an extended ward",
    "a motor", "storage", "an impedance", "an asymmetric load", "a TCSC as a fixed reactance",
    "a DC source beside converters of fixed power",
]  # fmt: skip


@pytest.mark.parametrize("name", SCRIPTED)
def test_a_script_reproduces_the_numbers_on_its_own(name: str) -> None:
    body = answer(NETWORKS[name], export_script=True, tolerance=1e-10, max_iteration=30)
    assert_reproduced(NETWORKS[name], body)


@pytest.mark.parametrize(
    "settings",
    [
        {"mode": "dc"},
        {"algorithm": "gs", "max_iteration": 10000, "tolerance": 1e-10},
        {"enforce_q_lims": True, "trafo_loading": "power", "tolerance": 1e-10},
        {"distributed_slack": True, "frequency": 60.0, "tolerance": 1e-10},
    ],
    ids=str,
)
def test_a_script_has_the_settings_too(settings: dict[str, Any]) -> None:
    assert_reproduced(LIMITED, answer(LIMITED, export_script=True, **settings))


def test_a_script_has_what_loads_draw_by_the_voltage() -> None:
    load = NETWORKS["a load that follows the voltage"]["d3"]
    network = feeder(d3=load, c=element("Static Generator", bus="b3", p_mw=2.4, q_mvar=0.8))
    assert_reproduced(network, answer(network, export_script=True, tolerance=1e-10))


def test_names_are_nothing_but_quoted_text_in_a_script() -> None:
    network = feeder()
    for number, name in enumerate(HOSTILE):
        network[f"d{number}"] = {
            "typ": "Load", "name": name, "parameters": {"bus": "b2", "p_mw": 0.01 * number},
        }  # fmt: skip
    body = answer(network, export_script=True, tolerance=1e-10)
    assert_reproduced(network, body)
    calls = [node for node in ast.walk(ast.parse(body["script"])) if isinstance(node, ast.Call)]
    given = {
        word.value.value
        for call in calls
        for word in call.keywords
        if word.arg == "name" and isinstance(word.value, ast.Constant)
    }
    assert set(HOSTILE) <= given
    assert {ast.unparse(call.func) for call in calls} <= {
        "pp.create_empty_network", "pp.create_bus", "pp.create_load", "pp.create_ext_grid",
        "pp.create_line_from_parameters", "pp.runpp", "print", "net[table].to_csv", "len",
    }  # fmt: skip


# -- what has no solution, or no meaning -----------------------------------------------------------


def test_a_load_that_no_line_can_feed_has_no_solution() -> None:
    (problem, *_) = refused(feeder(d3=element("Load", bus="b3", p_mw=1e6)))
    assert problem["kind"] == "not-converged"


FLOAT = [0.0, -1.0, 1e-308, 1e30, 1e308, -1e308]
EXTREMES = {
    "lines, load and external grid": ("l1", "l2", "d3", "grid", "b2"),
    "two tap changers": ("t",),
    "a tap changer at the star point": ("t3",),
    "an impedance": ("z",),
    "an extended ward": ("w",),
    "a load that follows the voltage": ("d3",),
    "a DC line": ("dc",),
    "an SVC": ("f",),
    "a TCSC": ("f",),
    "an SSC": ("f",),
    "a stacked converter": ("v", "p"),
}


@pytest.mark.parametrize("name", EXTREMES)
def test_no_number_is_a_defect_of_the_server(name: str) -> None:
    """Every number of an element at 0, negative, tiny, huge: answered, or refused with a reason."""
    for id_ in EXTREMES[name]:
        part = NETWORKS[name][id_]
        for field, value in part["parameters"].items():
            for extreme in FLOAT if isinstance(value, float) else ():
                moved = {**part, "parameters": {**part["parameters"], field: extreme}}
                status, body = ask({**NETWORKS[name], id_: moved})
                assert status in (200, 422)
                assert "pandapower does not solve" not in body.get("error", ""), (field, extreme)


def test_nothing_supplied_is_told_with_what_is_missing() -> None:
    grid = {**feeder()["grid"]["parameters"], "in_service": False}
    for network in (feeder(grid=element("External Grid", **grid)), {"b1": feeder()["b1"]}):
        for mode in ("ac", "dc", "unbalanced"):
            problems = refused(network, mode=mode)
            kinds = {problem["kind"] for problem in problems}
            assert kinds == {"no-source"} or mode == "unbalanced"


@pytest.mark.parametrize(
    ("other", "field"),
    [
        (element("External Grid", bus="b1", vm_pu=1.01, va_degree=3.0), "vm_pu"),
        (element("External Grid", bus="b1", vm_pu=1.02), "va_degree"),
        (element("Generator", bus="b4", p_mw=1.0, vm_pu=1.03), "vm_pu"),
        (element("DC Line", from_bus="b1", to_bus="b3", p_mw=1.0, vm_from_pu=1.03), "vm_from_pu"),
        (element("SSC", bus="b4", r_ohm=0.1, x_ohm=1.0, set_vm_pu=1.03), "set_vm_pu"),
    ],
    ids=lambda part: part["typ"] if isinstance(part, dict) else part,
)
def test_two_voltages_at_one_node_are_refused_naming_both(
    other: dict[str, Any], field: str
) -> None:
    """grid at 1.02 pu ─ b1 ─ an ideal switch ─ b4"""
    network = feeder(
        b4=element("Bus", vn_kv=20.0), s=element("Switch", bus="b1", element="b4"), x=other
    )
    (problem,) = refused(network)
    assert (problem["kind"], problem["element"], problem["field"]) == ("contradiction", "x", field)
    assert "“grid”" in problem["message"]


@pytest.mark.parametrize(
    ("taps", "kind", "field"),
    [
        ({"tap_side": None}, "missing-parameter", "tap_side"),
        ({"tap_step_percent": None}, "missing-parameter", "tap_step_percent"),
        (
            {"tap_changer_type": "Ideal", "tap_step_degree": 2.0},
            "contradiction",
            "tap_step_degree",
        ),
    ],
    ids=["side", "step", "both steps"],
)
def test_a_tap_changer_that_could_not_act_is_refused(
    taps: dict[str, Any], kind: str, field: str
) -> None:
    (problem,) = refused(below(**{**TAP, "tap_side": "hv", "tap_pos": 3.0, **taps}))
    assert (problem["kind"], problem["element"], problem["field"]) == (kind, "t", field)


@pytest.mark.parametrize("mode", ["ac", "dc"])
@pytest.mark.parametrize(
    ("joining", "kind", "field"),
    [
        (element("Line", from_bus="b3", to_bus="b4", **CABLE), "unsupported", "to_bus"),
        (element("Switch", bus="b3", element="b4", closed=False), "contradiction", "element"),
    ],
    ids=["line", "switch"],
)
def test_what_joins_two_nominal_voltages_is_refused_as_pandapower_equates_them(
    joining: dict[str, Any], kind: str, field: str, mode: str
) -> None:
    """… b3 (20 kV) ─ a line or a switch ─ b4 (21 kV): pandapower would make 1 pu of 1 pu."""
    problems = refused(feeder(b4=element("Bus", vn_kv=21.0), j=joining), mode=mode)
    (problem,) = [problem for problem in problems if problem["element"] == "j"]
    told = (problem["kind"], problem["element"], problem["field"])
    assert told == (kind, "j", field)
    assert "20 kV and 21 kV" in problem["message"]


@pytest.mark.parametrize(
    ("converter", "field"),
    [({"r_dc_ohm": 0.0}, "r_dc_ohm"), ({"controllable": False}, "controllable"),
     ({"r_ohm": 0.0, "x_ohm": 0.0}, "x_ohm")],
    ids=str,
)  # fmt: skip
def test_converters_that_pandapower_cannot_solve_are_refused(
    converter: dict[str, Any], field: str
) -> None:
    given = converters()["v3"]["parameters"]
    (problem,) = refused(converters(v3=element("VSC", **{**given, **converter})))
    assert (problem["kind"], problem["element"], problem["field"]) == ("unsupported", "v3", field)


def test_a_dc_source_where_a_converter_stands_is_refused() -> None:
    (problem,) = refused(converters(s=element("Source DC", bus_dc="q")))
    assert (problem["element"], problem["field"]) == ("s", "bus_dc")


def test_a_dc_line_that_leaks_is_refused() -> None:
    leaking = element("Line DC", **{**DC_LINE["parameters"], "g_us_per_km": 1.0})
    (problem,) = refused(converters(dc=leaking))
    assert (problem["element"], problem["field"]) == ("dc", "g_us_per_km")


def test_a_bipolar_converter_is_refused_since_pandapower_leaves_it_out() -> None:
    station = element(
        "Bipolar VSC", bus="b2", bus_dc_plus="p", bus_dc_minus="q", r_ohm=0.1, x_ohm=1.0,
        r_dc_ohm=0.1, control_mode="Vdc_Q", control_value_1=1.0, control_value_2=0.0,
    )  # fmt: skip
    network = converters(v2=station)
    hand = Hand({id_: part for id_, part in network.items() if id_ != "v2"})
    pp.create_vsc_bipolar(hand.net, 1, 0, 1, 0.1, 1.0, 0.1, control_mode="Vdc_Q")
    (problem,) = refused(network)
    assert (problem["kind"], problem["element"]) == ("unsupported", "v2")


# -- supply ----------------------------------------------------------------------------------------


def test_what_is_dead_has_null_rows_and_is_named_in_the_warnings() -> None:
    """grid ─ b1 ══ b2 ── b3, and apart: b4 ── b5 with a load; l9 and d9 out of service at b3"""
    network = feeder(
        b4=element("Bus", vn_kv=20.0),
        b5=element("Bus", vn_kv=20.0),
        l4=element("Line", **{**CABLE, "from_bus": "b4", "to_bus": "b5"}),
        d5=element("Load", bus="b5", p_mw=1.0),
        l9=element("Line", **CABLE, from_bus="b2", to_bus="b3", in_service=False),
        d9=element("Load", bus="b3", p_mw=1.0, in_service=False),
    )
    body = answer(network)
    for id_ in ("b4", "b5", "l4", "d5", "l9", "d9"):
        values = {k: v for k, v in records(body)[id_].items() if k not in ("id", "name")}
        assert values
        assert set(values.values()) == {None}
    out, dark = sorted(body["warnings"])
    assert "Line “l9”" in out
    assert "Load “d9”" in out
    assert all(f"“{id_}”" in dark for id_ in ("b4", "b5", "l4", "d5"))


def test_the_empty_network_that_all_requests_share_stays_empty() -> None:
    """Whatever is solved in whatever mode, the shared tables are what pandapower makes anew."""
    engine = Pandapower()
    before = {name: table for name, table in engine._empty.items()}
    for network in NETWORKS.values():
        for mode in ("ac", "dc", "unbalanced"):
            ask(network, engine, mode=mode)
    fresh = pp.create_empty_network()
    for name, table in before.items():
        assert engine._empty[name] is table
        if isinstance(table, pd.DataFrame):
            pd.testing.assert_frame_equal(table, fresh[name])
