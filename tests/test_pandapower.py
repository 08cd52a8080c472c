"""pandapower as our engine: every kind, every setting, against pandapower called by hand."""

from __future__ import annotations

from typing import Any

import pandapower as pp
import pytest
from hand import Elements, Hand, answer, differences, records

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
