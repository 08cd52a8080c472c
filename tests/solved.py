"""Networks of every kind with the answers of pandapower called by hand, for who judges answers."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
import pandapower as pp
import pytest
from hand import Hand

from electrisim import elements as e
from electrisim.certificate import certify
from electrisim.completion import complete
from electrisim.elements import Element
from electrisim.network import Network
from electrisim.problems import NotConvergedError
from electrisim.results import COLUMNS, COLUMNS_3PH, Certificate
from electrisim.settings import Settings
from electrisim.topology import Topology
from electrisim.wire import documented

Elements = Mapping[str, Mapping[str, Any]]
Tables = dict[type[Element], dict[str, np.ndarray]]


class Answer(NamedTuple):
    """What the certificate judges."""

    network: Network
    topology: Topology
    settings: Settings
    tables: Tables

    def change(self, id_: str, column: str, value: Callable[[float], float]) -> Answer:
        """The answer with one number changed."""
        kind, row = self.network.ids[id_]
        changed = self.tables[kind][column].copy()
        changed[row] = value(changed[row])
        table = {**self.tables[kind], column: changed}
        return self._replace(tables={**self.tables, kind: table})

    def certify(self) -> Certificate:
        return certify(*self)

    def refused(self) -> NotConvergedError:
        with pytest.raises(NotConvergedError) as caught:
            self.certify()
        return caught.value


def element(typ: str, **parameters: Any) -> dict[str, Any]:
    return {"typ": typ, "parameters": parameters}


def asked(elements: Elements, **settings: Any) -> tuple[Network, Topology, Settings]:
    """What a request asks for."""
    body = {"simulationType": "powerflow", "elements": elements, "settings": settings}
    read, network = documented.decode(json.dumps(body).encode(), {})
    return network, Topology(network), read


def arrays(tables: Mapping[type[Element], Mapping[str, list[float]]]) -> Tables:
    return {kind: {name: np.array(v) for name, v in t.items()} for kind, t in tables.items()}


_RUN = {
    "ac": (pp.runpp, "", COLUMNS),
    "dc": (pp.rundcpp, "", COLUMNS),
    "unbalanced": (pp.runpp_3ph, "_3ph", COLUMNS_3PH),
}


def by_hand(elements: Elements, solved: Elements | None = None, **settings: Any) -> Answer:
    """The network asked for, with the answer of pandapower called by hand.

    solved  what pandapower is given, where that is another network
    """
    network, topology, read = asked(elements, **settings)
    net = Hand(solved if solved is not None else elements, read.frequency)
    mode = settings.pop("mode", "ac")
    run, suffix, columns = _RUN[mode]
    if mode == "ac":
        # lightsim2grid's solver refuses a distributed slack.
        settings["lightsim2grid"] = False
    if mode == "unbalanced":
        net.net.load["type"] = net.net.load["type"].fillna("wye")
        net.net.trafo["vector_group"] = [g.rstrip("0123456789") for g in net.net.trafo.vector_group]
    run(net.net, numba=False, **settings)
    tables: Tables = {}
    for kind in network.kinds:
        ids = network.rows(kind).ids
        found = [net.result(id_, suffix) if id_ in net.where else {} for id_ in ids]
        tables[kind] = {
            name: np.array([record.get(name, np.nan) for record in found])
            for name in columns.get(kind, ())
        }
    if mode == "unbalanced":
        _positive_sequence(tables[e.Bus])
    return Answer(network, topology, read, complete(network, topology, read, tables))


def _positive_sequence(buses: dict[str, np.ndarray]) -> None:
    turn = np.exp(2j * np.pi / 3)
    positive = sum(
        buses[f"vm_{phase}_pu"] * np.exp(1j * np.deg2rad(buses[f"va_{phase}_degree"])) * turn**k
        for k, phase in enumerate("abc")
    )
    buses["vm_pu"], buses["va_degree"] = np.abs(positive) / 3, np.rad2deg(np.angle(positive))


# -- networks --------------------------------------------------------------------------------------

# Networks are read as tables: one element a line where it fits.
# fmt: off

LINE = {
    "length_km": 20.0, "r_ohm_per_km": 0.06, "x_ohm_per_km": 0.4, "c_nf_per_km": 9.0,
    "max_i_ka": 0.6,
}


def bus(vn_kv: float = 110.0, **more: Any) -> dict[str, Any]:
    return element("Bus", vn_kv=vn_kv, **more)


def line(from_bus: str, to_bus: str, **more: Any) -> dict[str, Any]:
    return element("Line", from_bus=from_bus, to_bus=to_bus, **{**LINE, **more})


def load(at: str, p_mw: float, q_mvar: float = 0.0, **more: Any) -> dict[str, Any]:
    return element("Load", bus=at, p_mw=p_mw, q_mvar=q_mvar, **more)


def switch(at: str, what: str, **more: Any) -> dict[str, Any]:
    return element("Switch", bus=at, element=what, **more)


def generator(**more: Any) -> dict[str, Any]:
    return element("Generator", **{"bus": "b1", "p_mw": 20.0, "vm_pu": 1.03, **more})


def ring(**more: dict[str, Any]) -> dict[str, Any]:
    """grid ─ b0 ── l1 ── b1 ── l2 ── b2 ── l3 ── b0, 110 kV; a load at b2"""
    return {
        "b0": bus(), "b1": bus(), "b2": bus(),
        "grid": element("External Grid", bus="b0", vm_pu=1.02, va_degree=5.0),
        "l1": line("b0", "b1"), "l2": line("b1", "b2"), "l3": line("b2", "b0"),
        "load": load("b2", 40.0, 12.0),
        **more,
    }


def below(transformer: dict[str, Any], **more: dict[str, Any]) -> dict[str, Any]:
    """The ring, and below b1 a transformer to b3 (20 kV) with a load."""
    plate = {
        "hv_bus": "b1", "lv_bus": "b3", "sn_mva": 40.0, "vn_hv_kv": 112.0, "vn_lv_kv": 20.5,
        "vk_percent": 11.0, "vkr_percent": 0.4, "pfe_kw": 30.0, "i0_percent": 0.2,
    }
    return ring(
        b3=bus(20.0), t=element("Transformer", **{**plate, **transformer}),
        load3=load("b3", 15.0, 5.0), **more,
    )


def star(transformer: dict[str, Any], **more: dict[str, Any]) -> dict[str, Any]:
    """The ring, and below b1 a three-winding transformer to b3 (20 kV) and b4 (10 kV)."""
    plate = {
        "hv_bus": "b1", "mv_bus": "b3", "lv_bus": "b4", "sn_hv_mva": 60.0, "sn_mv_mva": 40.0,
        "sn_lv_mva": 30.0, "vn_hv_kv": 112.0, "vn_mv_kv": 20.5, "vn_lv_kv": 10.3,
        "vk_hv_percent": 10.0, "vk_mv_percent": 11.0, "vk_lv_percent": 12.0,
        "vkr_hv_percent": 0.3, "vkr_mv_percent": 0.31, "vkr_lv_percent": 0.32, "pfe_kw": 30.0,
        "i0_percent": 0.1, "shift_mv_degree": 30.0, "shift_lv_degree": 150.0,
    }
    return ring(
        b3=bus(20.0), b4=bus(10.0),
        u=element("Three Winding Transformer", **{**plate, **transformer}),
        load3=load("b3", 15.0, 5.0), load4=load("b4", 8.0, 2.0), **more,
    )


def tap(changer: str = "", **parameters: Any) -> dict[str, Any]:
    given = {"neutral": 0.0, "pos": 3.0, "changer_type": "Ratio", **parameters}
    return {f"tap{changer}_{name}": value for name, value in given.items()}


CONVERTER = {"r_ohm": 0.5, "x_ohm": 5.0, "r_dc_ohm": 0.3, "pl_dc_mw": 0.2}


def converter(at: str, bus_dc: str, ac: tuple[str, float], dc: tuple[str, float]) -> dict[str, Any]:
    return element(
        "VSC", bus=at, bus_dc=bus_dc, control_mode_ac=ac[0], control_value_ac=ac[1],
        control_mode_dc=dc[0], control_value_dc=dc[1], **CONVERTER,
    )


def converters(**more: dict[str, Any]) -> dict[str, Any]:
    """The ring, and from b1 over n1 ── n2 (150 kV DC) to b2 a second way."""
    return ring(**{
        "n1": element("DC Bus", vn_kv=150.0), "n2": element("DC Bus", vn_kv=150.0),
        "cable": element(
            "Line DC", from_bus_dc="n1", to_bus_dc="n2", length_km=100.0, r_ohm_per_km=0.1,
            max_i_ka=1.0,
        ),
        "v1": converter("b1", "n1", ("vm_pu", 1.01), ("p_mw", -5.0)),
        "v2": converter("b2", "n2", ("q_mvar", 2.0), ("vm_pu", 1.02)),
        "load_dc": element("Load DC", bus_dc="n1", p_dc_mw=3.0, scaling=0.5),
        **more,
    })


def low_voltage(**more: dict[str, Any]) -> dict[str, Any]:
    """grid ─ a (20 kV) ─t─ b (0.4 kV) ── l ── c, with unequal phases at c"""
    return {
        "a": bus(20.0), "b": bus(0.4), "c": bus(0.4),
        "grid": element(
            "External Grid", bus="a", vm_pu=1.02, s_sc_max_mva=500.0, rx_max=0.1, x0x_max=1.0,
            r0x0_max=0.1,
        ),
        "t": element(
            "Transformer", hv_bus="a", lv_bus="b", sn_mva=0.63, vn_hv_kv=20.0, vn_lv_kv=0.41,
            vk_percent=6.0, vkr_percent=1.2, pfe_kw=1.2, i0_percent=0.3, vector_group="Dyn5",
            shift_degree=150.0, vk0_percent=6.0, vkr0_percent=1.2, mag0_percent=100.0, mag0_rx=0.0,
            si0_hv_partial=0.9, **tap(side="hv", step_percent=2.5, pos=1.0),
        ),
        "l": line(
            "b", "c", length_km=0.1, r_ohm_per_km=0.2, x_ohm_per_km=0.08, c_nf_per_km=200.0,
            parallel=2, r0_ohm_per_km=0.8, x0_ohm_per_km=0.3, c0_nf_per_km=100.0,
        ),
        "load": load("c", 0.12, 0.03),
        "unequal": element(
            "Asymmetric Load", bus="c", p_a_mw=0.03, p_b_mw=0.06, p_c_mw=0.02, q_a_mvar=0.01,
            q_b_mvar=0.02, q_c_mvar=0.005, scaling=1.1,
        ),
        "sun": element("Asymmetric Static Generator", bus="c", p_b_mw=0.02),
        **more,
    }


def without(elements: dict[str, Any], *ids: str) -> dict[str, Any]:
    return {id_: each for id_, each in elements.items() if id_ not in ids}


CONSUMERS = {
    "ward": element("Ward", bus="b1", ps_mw=1.0, qs_mvar=2.0, pz_mw=3.0, qz_mvar=4.0),
    "motor": element(
        "Motor", bus="b2", pn_mech_mw=2.0, cos_phi=0.9, scaling=0.9, loading_percent=80.0,
        efficiency_percent=93.0,
    ),
    "shunt": element("Shunt", bus="b1", p_mw=0.5, q_mvar=2.0, vn_kv=105.0),
    "reactor": element("Shunt Reactor", bus="b1", q_mvar=4.0, step=2.0),
    "bank": element("Capacitor", bus="b2", q_mvar=-5.0, step=2.0, max_step=3),
    "phases": element(
        "Asymmetric Load", bus="b1", p_a_mw=1.0, p_b_mw=2.0, p_c_mw=3.0, q_a_mvar=0.1,
        q_b_mvar=0.2, q_c_mvar=0.3, scaling=0.5,
    ),
    "turbines": element("Asymmetric Static Generator", bus="b1", p_a_mw=1.0, q_b_mvar=0.2),
    "wind": element("Static Generator", bus="b2", p_mw=3.0, q_mvar=1.0, scaling=1.1),
    "battery": element("Storage", bus="b2", p_mw=-3.0, q_mvar=1.0, scaling=1.1, max_e_mwh=10.0),
}
DC_LINE = {
    "from_bus": "b1", "to_bus": "b2", "loss_percent": 1.0, "loss_mw": 0.1, "vm_from_pu": 1.0,
    "vm_to_pu": 1.01,
}
SHARES = {
    "const_z_p_percent": 30.0, "const_i_p_percent": 20.0, "const_z_q_percent": 10.0,
    "const_i_q_percent": 40.0,
}
THYRISTOR = {"x_l_ohm": 1.2, "x_cvar_ohm": -3.0, "thyristor_firing_angle_degree": 140.0}
FACTS = {
    **ring(load=load("b2", 50.0, 10.0)),
    "l2": element("TCSC", from_bus="b1", to_bus="b2", set_p_to_mw=-20.0, **THYRISTOR),
    "svc": element(
        "SVC", bus="b1", x_l_ohm=1.0, x_cvar_ohm=-10.0, set_vm_pu=1.01,
        thyristor_firing_angle_degree=90.0,
    ),
    "ssc": element("SSC", bus="b2", r_ohm=0.5, x_ohm=5.0, set_vm_pu=1.0),
}

#: What pandapower solves by hand: name → (elements, settings).
CASES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "lines": (ring(l1=line("b0", "b1", g_us_per_km=2.0, parallel=2)), {}),
    "warm lines": (
        ring(
            l1=line("b0", "b1", alpha=0.0039, temperature_degree_celsius=75.0),
            l2=line("b1", "b2", alpha=0.004, temperature_degree_celsius=20.0),
            l3=line("b2", "b0", alpha=0.004, temperature_degree_celsius=40.0),
        ),
        {"consider_line_temperature": True},
    ),
    "what is out of service": (
        ring(
            l4=line("b1", "b2", in_service=False), more=load("b1", 5.0, in_service=False),
            b3=bus(), lost=load("b3", 1.0),
        ),
        {},
    ),
    "a line open at its end": (ring(s=switch("b1", "l1", closed=False)), {}),
    "a line at a bus out of service": (ring(b3=bus(in_service=False), l4=line("b1", "b3")), {}),
    "a transformer": (below(tap(side="hv", step_percent=1.5)), {}),
    "a transformer as a pi": (below(tap(side="lv", step_percent=1.5)), {"trafo_model": "pi"}),
    "an oblique tap changer": (
        below(tap(side="lv", step_percent=1.5, step_degree=60.0, changer_type="Symmetrical")), {},
    ),
    "an ideal phase shifter": (
        below({"shift_degree": 150.0, **tap(side="hv", step_degree=2.0, changer_type="Ideal")}), {},
    ),
    "an ideal phase shifter by percent": (
        below(tap(side="lv", step_percent=2.0, changer_type="Ideal")), {},
    ),
    "two tap changers": (
        below({
            **tap(side="hv", step_percent=1.5), **tap("2", side="lv", step_percent=0.5, pos=-2.0),
        }),
        {},
    ),
    "parallel transformers with their leakage on one side": (
        below({
            "parallel": 2, "leakage_resistance_ratio_hv": 0.9, "leakage_reactance_ratio_hv": 0.2,
        }),
        {},
    ),
    "no angles": (below({"shift_degree": 150.0}), {"calculate_voltage_angles": False}),
    "angles as pandapower sees fit": (
        below({"shift_degree": 150.0}), {"calculate_voltage_angles": "auto"},
    ),
    "a transformer open at its end": (
        below(
            {}, s=switch("b1", "t", closed=False), b4=bus(20.0), l4=line("b3", "b4", length_km=2.0),
            second=element("External Grid", bus="b4"),
        ),
        {},
    ),
    "a star": (star({}), {}),
    "a star with its tap at the terminal": (star(tap(side="mv", step_percent=1.2)), {}),
    "a star with its tap at the star point": (
        star({"tap_at_star_point": True, **tap(side="hv", step_percent=1.2, step_degree=0.0)}), {},
    ),
    "a star open at its end": (star({}, s=switch("b4", "u", closed=False)), {}),
    "an impedance": (
        ring(z=element(
            "Impedance", from_bus="b1", to_bus="b2", sn_mva=80.0, rft_pu=0.01, xft_pu=0.08,
            rtf_pu=0.012, xtf_pu=0.09, gf_pu=0.001, bf_pu=0.002, gt_pu=0.003, bt_pu=-0.001,
        )),
        {},
    ),
    "switches between buses": (
        ring(
            b3=bus(), b4=bus(), b5=bus(), b6=bus(), joins=switch("b2", "b3"),
            resists=switch("b3", "b4", z_ohm=0.7), one=switch("b4", "b5"), other=switch("b4", "b5"),
            tie=switch("b5", "b6"), at_line=switch("b1", "l1"), load3=load("b3", 2.0),
            load5=load("b5", 3.0), load6=load("b6", 1.0, 0.5),
        ),
        {},
    ),
    "loads that follow their voltage": (
        ring(load=load("b2", 40.0, 12.0, scaling=0.8, **SHARES)), {},
    ),
    "loads that might": (
        ring(load=load("b2", 40.0, 12.0, **SHARES)), {"voltage_depend_loads": False},
    ),
    "consumers and static generators": (ring(**CONSUMERS), {}),
    "an extended ward": (
        ring(ward=element(
            "Extended Ward", bus="b1", ps_mw=1.0, qs_mvar=2.0, pz_mw=3.0, qz_mvar=4.0, r_ohm=1.0,
            x_ohm=8.0, vm_pu=1.01,
        )),
        {},
    ),
    "a generator": (ring(gen=generator(scaling=0.9)), {}),
    "a generator at its limit": (
        ring(gen=generator(max_q_mvar=5.0, min_q_mvar=-5.0)), {"enforce_q_lims": True},
    ),
    "generators and a grid at one node": (
        ring(one=generator(bus="b0", vm_pu=1.02), two=generator(), three=generator(p_mw=5.0)), {},
    ),
    "a slack generator": (without(ring(gen=generator(slack=True)), "grid"), {}),
    "a distributed slack": (ring(gen=generator(slack_weight=2.0)), {"distributed_slack": True}),
    "DC lines": (
        ring(
            there=element("DC Line", p_mw=5.0, **DC_LINE),
            back=element("DC Line", p_mw=-3.0, **DC_LINE),
        ),
        {},
    ),
    "thyristors and a compensator": (FACTS, {}),
    "a compensator at a fixed voltage": (
        ring(ssc=element(
            "SSC", bus="b2", r_ohm=0.5, x_ohm=5.0, vm_internal_pu=1.03, controllable=False,
        )),
        {},
    ),
    "converters": (converters(), {}),
    "a source in a DC network": (
        without(converters(source=element("Source DC", bus_dc="n2", vm_pu=1.01)), "v2"), {},
    ),
    "a converter as slack": (
        converters(
            v1=converter("b1", "n1", ("vm_pu", 1.01), ("vm_pu", 1.0)),
            v2=converter("b3", "n2", ("slack", 1.01), ("p_mw", 0.0)),
            b3=bus(), load3=load("b3", 5.0, 1.0),
        ),
        {},
    ),
    "a stacked converter": (
        ring(
            plus=element("DC Bus", vn_kv=40.0), minus=element("DC Bus", vn_kv=40.0),
            v=element(
                "B2B VSC", bus="b1", bus_dc_plus="plus", bus_dc_minus="minus",
                control_mode_ac="q_mvar", control_value_ac=0.3, control_mode_dc="vm_pu",
                control_value_dc=1.01, **CONVERTER,
            ),
            load_plus=element("Load DC", bus_dc="plus", p_dc_mw=0.7),
            load_minus=element("Load DC", bus_dc="minus", p_dc_mw=0.4),
        ),
        {},
    ),
    "linear": (
        star(
            tap(side="hv", step_percent=1.2), gen=generator(), s=switch("b1", "l1", closed=False),
            wind=element("Static Generator", bus="b2", p_mw=3.0),
        ),
        {"mode": "dc"},
    ),
    "three unequal phases": (low_voltage(), {"mode": "unbalanced"}),
    "phases and deltas": (
        low_voltage(
            delta=load("c", 0.05, 0.02, type="delta"),
            between=element(
                "Asymmetric Load", bus="c", p_a_mw=0.01, p_b_mw=0.03, q_c_mvar=0.01, type="delta",
            ),
        ),
        {"mode": "unbalanced"},
    ),
}
# fmt: on
