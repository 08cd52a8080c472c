"""Both engines give the same answer on the same balanced network."""

from __future__ import annotations

import numpy as np
import pytest
from bricks import bus, cable, columns, element, grid, load, solve, transformer

#: What issue and contract promise; measured are 1e-9 pu and 1e-7 degree.
VOLTAGE_PU, ANGLE_DEGREE = 1e-4, 0.01


def network_of_two_levels(**more):
    """grid ─ b1 (110 kV) ─T1─ b2 (20 kV) ── 4 km ── b3"""
    buses = {"b1": bus(110), "b2": bus(20), "b3": bus(20)}
    return {
        "grid": grid("b1", vm_pu=1.01, va_degree=5), **buses,
        "t1": transformer("b1", "b2"), "l1": cable("b2", "b3"), "d1": load("b3"), **more,
    }  # fmt: skip


NETWORKS = {
    "radial": network_of_two_levels(),
    "meshed": network_of_two_levels(
        b4=bus(20), l2=cable("b3", "b4", 7), l3=cable("b4", "b2", 2), d2=load("b4", 5)
    ),
    "taps off neutral": network_of_two_levels(
        t1=transformer("b1", "b2", tap_side="hv", tap_neutral=0, tap_pos=4, tap_step_percent=1.5)
    ),
    "a Dyn5 transformer": network_of_two_levels(t1=transformer("b1", "b2", vector_group="Dyn5")),
    "a Yd11 transformer with its tap on the low side": network_of_two_levels(
        t1=transformer(
            "b1", "b2", vector_group="Yd11", tap_side="lv", tap_neutral=1, tap_pos=-3,
            tap_step_percent=1.25,
        )
    ),
    "parallel units and cables": network_of_two_levels(
        t1=transformer("b1", "b2", parallel=2), l1=cable("b2", "b3", parallel=3)
    ),
    "a generator that holds its voltage": network_of_two_levels(
        g1=element("Generator", bus="b3", p_mw=5, vm_pu=1.02)
    ),
    "loads that follow the voltage": network_of_two_levels(
        d2=load(
            "b3", 6, -2, scaling=0.9, const_z_p_percent=40, const_i_p_percent=30,
            const_z_q_percent=20, const_i_q_percent=50,
        )
    ),
    "shunts off their rated voltage": network_of_two_levels(
        c1=element("Capacitor", bus="b3", q_mvar=-1.5, vn_kv=21, step=2, max_step=3),
        h1=element("Shunt Reactor", bus="b2", q_mvar=0.8, p_mw=0.02),
    ),
    "a three-winding transformer": network_of_two_levels(
        b4=bus(10),
        t3=element(
            "Three Winding Transformer", hv_bus="b1", mv_bus="b3", lv_bus="b4", sn_hv_mva=63,
            sn_mv_mva=40, sn_lv_mva=25, vn_hv_kv=110, vn_mv_kv=20, vn_lv_kv=10, vk_hv_percent=11,
            vk_mv_percent=8, vk_lv_percent=17, vkr_hv_percent=0.4, vkr_mv_percent=0.3,
            vkr_lv_percent=0.5, pfe_kw=35, i0_percent=0.1, tap_side="hv", tap_neutral=0,
            tap_pos=-2, tap_step_percent=1.2,
        ),
        d4=load("b4", 4, 1),
    ),
    "wards and an impedance": network_of_two_levels(
        b4=bus(20),
        z1=element("Impedance", from_bus="b3", to_bus="b4", sn_mva=10, rft_pu=0.01, xft_pu=0.05),
        w1=element("Ward", bus="b4", ps_mw=1, qs_mvar=0.4, pz_mw=0.5, qz_mvar=-0.2),
        x1=element(
            "Extended Ward", bus="b3", ps_mw=0.5, qs_mvar=0.1, pz_mw=0.2, qz_mvar=0.1, r_ohm=1,
            x_ohm=8, vm_pu=1.0,
        ),
    ),
    "a cable that is open at one end, and a coupler": network_of_two_levels(
        b4=bus(20), l2=cable("b3", "b4", 9),
        s1=element("Switch", bus="b4", element="l2", closed=False),
        s2=element("Switch", bus="b3", element="b4"), d4=load("b4", 2, 0.5),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", NETWORKS)
def test_bus_voltages_agree(name):
    one, other = (
        columns(solve(NETWORKS[name], solver=solver), "Bus") for solver in ("pandapower", "opendss")
    )
    assert np.abs(one["vm_pu"] - other["vm_pu"]).max() < VOLTAGE_PU
    assert np.abs(one["va_degree"] - other["va_degree"]).max() < ANGLE_DEGREE
