"""The sweep on pandapower: every case must be what pandapower alone says of the changed network.

The referee is pandapower called by hand, one power flow per case, on networks that hypothesis
builds from everything that pandapower turns into branches, injections and sources. Voltages are
compared in per unit. Both sides iterate to mismatches of 1e-10 MVA or below; the weakest node of
these networks has some 10 MVA of short-circuit power, so that voltages agree to about 1e-11 pu.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandapower as pp
import pytest
from bricks import ENGINES, bus, cable, decoded, element, grid, load, transformer
from hand import Hand
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from pandapower.auxiliary import LoadflowNotConverged

from electrisim.change import Changes, Series, outages
from electrisim.elements import KIND
from electrisim.network import Network
from electrisim.sweep import Chunk
from electrisim.topology import Topology

Elements = dict[str, Any]
SAME = 1e-8
#: pandapower shares reactive power out in proportion to ranges of ±1e9 Mvar, which costs digits.
OF_GENERATORS = 1e-6

STAR = {
    "sn_hv_mva": 40.0, "sn_mv_mva": 25.0, "sn_lv_mva": 15.0, "vn_hv_kv": 110.0, "vn_mv_kv": 20.0,
    "vn_lv_kv": 10.0, "vk_hv_percent": 10.0, "vk_mv_percent": 6.0, "vk_lv_percent": 12.0,
    "vkr_hv_percent": 0.4, "vkr_mv_percent": 0.3, "vkr_lv_percent": 0.5, "pfe_kw": 30.0,
    "i0_percent": 0.2,
}  # fmt: skip
TAPPED = {
    "tap_side": "hv", "tap_neutral": 0.0, "tap_min": -9.0, "tap_max": 9.0,
    "tap_changer_type": "Ratio",
}  # fmt: skip


def overhead(from_bus: str, to_bus: str, length_km: float, **more: Any) -> dict[str, Any]:
    """0.06 + j0.4 Ω/km, 9 nF/km, 0.6 kA, for 110 kV"""
    values = {"r_ohm_per_km": 0.06, "x_ohm_per_km": 0.4, "c_nf_per_km": 9, "max_i_ka": 0.6}
    ends = {"from_bus": from_bus, "to_bus": to_bus, "length_km": length_km}
    return element("Line", **{**ends, **values, **more})


@st.composite
def networks(draw: st.DrawFn) -> Elements:
    """A meshed 110 kV part, two- and three-winding transformers below it, feeders, extras.

    grid ── h0 ── h1 ── … ── h0 (ring, chords)        sometimes a second grid
             T│     │T3
       m0 ── m1 …   n ┬ l                             switches at and between buses
    """
    some = st.floats(0.2, 1.0)
    high = draw(st.integers(3, 6))
    found: Elements = {f"h{k}": bus(110) for k in range(high)}
    found["g"] = grid("h0", vm_pu=1.02, va_degree=draw(st.sampled_from([0.0, 30.0])))
    for k in range(high):
        length = 10 + 20 * draw(some)
        found[f"hl{k}"] = overhead(f"h{k}", f"h{(k + 1) % high}", length)
    if draw(st.booleans()):
        found["chord"] = overhead("h0", f"h{high // 2}", 25, parallel=2)
    if draw(st.booleans()):
        found["g2"] = grid(
            f"h{high - 1}", vm_pu=1.015, va_degree=found["g"]["parameters"]["va_degree"] - 1.0
        )
    middle = draw(st.integers(2, 5))
    found |= {f"m{k}": bus(20) for k in range(middle)}
    tap = {**TAPPED, "tap_pos": float(draw(st.integers(-3, 3))), "tap_step_percent": 1.5}
    shift = draw(st.sampled_from([0.0, 150.0]))
    found["t"] = transformer("h1", "m0", shift_degree=shift, **tap)
    if draw(st.booleans()):
        found["t2"] = transformer("h1", "m0", shift_degree=shift, vk_percent=12, parallel=2)
    for k in range(middle - 1):
        found[f"ml{k}"] = cable(f"m{k}", f"m{k + 1}", 1 + 4 * draw(some))
    if draw(st.booleans()):
        found["ring"] = cable("m0", f"m{middle - 1}", 3)
    for k in range(middle):
        found[f"md{k}"] = load(f"m{k}", 2 * draw(some), 0.6 * draw(some), scaling=0.9)
    if draw(st.booleans()):
        found |= {"n": bus(20), "l": bus(10)}
        side = draw(st.sampled_from(["hv", "mv", "lv"]))
        found["t3"] = element(
            "Three Winding Transformer", hv_bus="h2", mv_bus="n", lv_bus="l", **STAR,
            shift_mv_degree=shift, shift_lv_degree=draw(st.sampled_from([0.0, 150.0])),
            **{**TAPPED, "tap_side": side, "tap_pos": 2.0, "tap_step_percent": 1.2},
        )  # fmt: skip
        found |= {"nd": load("n", 3.0, 1.0), "ld": load("l", 2.0, 0.5)}
        if draw(st.booleans()):
            found["tie"] = cable("n", "m1", 6)
    extras = {
        "gen": element("Generator", bus="h2", p_mw=8.0, vm_pu=1.015),
        "gen2": element(
            "Generator", bus="h2", p_mw=4.0, vm_pu=1.015, min_q_mvar=-5.0, max_q_mvar=9.0
        ),
        "gen0": element("Generator", bus="h0", p_mw=5.0, vm_pu=1.02),
        "pv": element("Static Generator", bus="m1", p_mw=1.5, q_mvar=0.2),
        "battery": element("Storage", bus="m1", p_mw=-0.4, q_mvar=0.1),
        "motor": element("Motor", bus="m0", pn_mech_mw=0.4, cos_phi=0.85, efficiency_percent=95.0),
        "phases": element("Asymmetric Load", bus="m0", p_a_mw=0.2, p_b_mw=0.1, q_c_mvar=0.1),
        "sun": element("PVSystem", bus="m0", pmpp_kw=700.0, irradiance_kw_per_m2=0.8),
        "shunt": element("Shunt", bus="m1", q_mvar=-0.6, p_mw=0.01, step=2.0, max_step=3),
        "ward": element("Ward", bus="h1", ps_mw=2.0, qs_mvar=0.5, pz_mw=1.0, qz_mvar=0.3),
        "xward": element(
            "Extended Ward", bus="h2", ps_mw=1.0, qs_mvar=0.2, pz_mw=0.5, qz_mvar=0.1, r_ohm=2.0,
            x_ohm=40.0, vm_pu=1.0,
        ),
        "equivalent": element(
            "Impedance", from_bus="h1", to_bus="h2", sn_mva=100.0, rft_pu=0.02, xft_pu=0.2,
            gf_pu=0.001, bf_pu=0.01, gt_pu=0.002, bt_pu=0.02,
        ),
        "hvdc": element(
            "DC Line", from_bus="h1", to_bus="h2", p_mw=3.0, loss_percent=1.0, vm_from_pu=1.01,
            vm_to_pu=1.015,
        ),
        "shifter": element(
            "Transformer", hv_bus="h1", lv_bus="h2", sn_mva=80.0, vn_hv_kv=110.0, vn_lv_kv=110.0,
            vk_percent=12.0, vkr_percent=0.4, pfe_kw=20.0, i0_percent=0.1, tap_side="hv",
            tap_neutral=0.0, tap_pos=3.0, tap_step_degree=1.0, tap_changer_type="Ideal",
        ),
    }  # fmt: skip
    found |= {name: extras[name] for name in draw(st.sets(st.sampled_from(sorted(extras))))}
    if draw(st.booleans()):
        found |= {"s": bus(20), "sd": load("s", 0.5, 0.1)}
        found["coupler"] = element(
            "Switch", bus="m0", element="s", z_ohm=draw(st.sampled_from([0.0, 0.05]))
        )
    if draw(st.booleans()):
        found["breaker"] = element("Switch", bus="m0", element="ml0", closed=draw(st.booleans()))
    if draw(st.booleans()):
        found["offline"] = overhead("h0", "h1", 20, in_service=False)
    return found


LOST = {
    "Line", "Transformer", "Three Winding Transformer", "Impedance", "Generator", "Load",
    "Static Generator", "Storage", "PVSystem", "Motor", "Asymmetric Load",
}  # fmt: skip
COMPARED = {
    "Bus": ("vm_pu", "va_degree"),
    "Line": ("p_from_mw", "q_to_mvar", "loading_percent"),
    "Transformer": ("p_hv_mw", "q_lv_mvar", "loading_percent"),
    "Three Winding Transformer": ("p_lv_mw", "loading_percent", "vm_internal_pu"),
    "Impedance": ("p_from_mw", "i_to_ka"),
    "External Grid": ("p_mw", "q_mvar"),
    "Generator": ("p_mw", "q_mvar"),
    "Extended Ward": ("p_mw", "q_mvar"),
    "Ward": ("p_mw", "q_mvar"),
    "Shunt": ("p_mw", "q_mvar"),
    "DC Line": ("p_from_mw", "q_to_mvar"),
    "Load": ("p_mw",),
}


def swept(network: Network, changes: Changes, **asked: Any) -> list[Chunk]:
    engine = ENGINES["pandapower"]
    how, _ = decoded({"b": bus(20), "g": grid("b")}, tolerance=1e-10, **asked)
    with engine.build(network, Topology(network), how) as model:
        return list(model.sweep(changes))


def column(network: Network, chunks: Sequence[Chunk], count: int, typ: str, name: str) -> Any:
    """A result column of all cases, shape (n_cases, n_elements)."""
    found = np.full((count, len(network.rows(KIND[typ]))), np.nan)
    for chunk in chunks:
        found[chunk.cases] = chunk.column(KIND[typ], name)
    return found


class Referee:
    """The network built by hand once; each case is set, solved by pandapower alone, and undone."""

    def __init__(self, elements: Elements) -> None:
        known = {id_: each for id_, each in elements.items() if each["typ"] != "PVSystem"}
        self.hand = Hand(known)
        if "sun" in elements:
            # 700 kW at 0.8 kW/m², unity power factor.
            index = pp.create_sgen(self.hand.net, self.hand.where["m0"][1], 0.56)
            self.hand.where["sun"] = ("sgen", int(index))

    def solves(self, edits: Mapping[str, Mapping[str, Any]]) -> bool:
        """Whether pandapower finds a solution, which then stands in the hand's results."""
        net, where = self.hand.net, self.hand.where
        before = {name: net[name].copy() for name in {where[id_][0] for id_ in edits}}
        for id_, fields in edits.items():
            table, index = where[id_]
            for name, value in fields.items():
                net[table].loc[index, name] = value
        try:
            pp.runpp(net, numba=False, calculate_voltage_angles=True, tolerance_mva=1e-10)
        except LoadflowNotConverged:
            return False
        finally:
            for name, table in before.items():
                net[name] = table
        return True


def assert_same(
    elements: Elements,
    network: Network,
    chunks: Sequence[Chunk],
    cases: Sequence[Mapping[str, Any]],
) -> None:
    """Every case as pandapower says: the same buses dead, the same numbers."""
    found = {
        (typ, name): column(network, chunks, len(cases), typ, name)
        for typ, names in COMPARED.items()
        for name in names
        if KIND[typ] in network.kinds
    }
    solved = np.zeros(len(cases), dtype=bool)
    for chunk in chunks:
        solved[chunk.cases] = chunk.solved
    referee = Referee(elements)
    hand = referee.hand
    for number, edits in enumerate(cases):
        assert solved[number] == referee.solves(edits), edits
        if not solved[number]:
            continue
        # pandapower forgets the angles of grids that are all that is left, and so what flows.
        alone = hand.net["res_bus"]["vm_pu"].notna().sum() <= len(hand.net["ext_grid"])
        for (typ, name), values in found.items():
            if alone and name != "vm_pu":
                continue
            for id_, ours in zip(network.rows(KIND[typ]).ids, values[number], strict=True):
                theirs = hand.result(id_)[name]
                dead = any(np.isnan(hand.result(at)["vm_pu"]) for at in _buses(elements, id_))
                if np.isnan(ours):
                    off = not {**elements[id_]["parameters"], **edits.get(id_, {})}.get(
                        "in_service", True
                    )
                    assert off or dead or np.isnan(theirs), (edits, id_, name)
                else:
                    error = abs(ours - theirs) / max(1.0, abs(theirs))
                    allowed = OF_GENERATORS if typ in ("Generator", "DC Line") else SAME
                    assert error < allowed, (edits, id_, name, ours, theirs)


def _buses(elements: Elements, id_: str) -> list[str]:
    parameters = elements[id_]["parameters"]
    ends = ("bus", "from_bus", "to_bus", "hv_bus", "mv_bus", "lv_bus")
    return [parameters[end] for end in ends if end in parameters] or [id_]


# A failing network says enough; to make it smaller would take minutes.
@settings(
    max_examples=12,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
)
@given(networks(), st.data())
def test_outages_are_as_pandapower_solves_them_one_by_one(
    elements: Elements, data: st.DataObject
) -> None:
    _, network = decoded(elements)
    candidates = [id_ for id_ in elements if elements[id_]["typ"] in LOST]
    several = st.lists(st.sampled_from(candidates), min_size=2, max_size=3, unique=True)
    lost = [[id_] for id_ in candidates] + data.draw(st.lists(several, max_size=4))
    chunks = swept(network, outages([[network.ids[id_] for id_ in ids] for ids in lost]))
    assert {chunk.note for chunk in chunks} <= {"", "lightsim2grid found no solution"}
    assert_same(
        elements, network, chunks, [{id_: {"in_service": False} for id_ in ids} for ids in lost]
    )


def weak(load_mw: float, q_mvar: float) -> Elements:
    """grid ── 30 km of 20 kV cable ── load: beyond 13 MW, 4.3 Mvar there soon is no solution"""
    return {
        "g": grid("a"),
        "a": bus(20),
        "b": bus(20),
        "l": cable("a", "b", 30),
        "d": load("b", load_mw, q_mvar),
    }


@pytest.mark.parametrize("x_ohm_per_km", [0.12, 0.0])
def test_light_load_is_found_from_a_base_case_close_to_its_limit(x_ohm_per_km: float) -> None:
    """There are two solutions; Newton's method from a low voltage may reach the lower one.

    Without a reactance there is no linear power flow to start from; pandapower gets a trace of it.
    """
    elements = weak(13.0, 4.3)
    elements["l"]["parameters"]["x_ohm_per_km"] = x_ohm_per_km
    _, network = decoded(elements)
    shares = np.array([0.95, 0.9, 0.6, 0.4, 0.25, 0.12, 0.06, 0.01])
    rows = np.zeros(1, dtype=np.int64)
    profile = {
        (KIND["Load"], name): Series(rows, shares[:, None] * asked)
        for name, asked in (("p_mw", 13.0), ("q_mvar", 4.3))
    }
    chunks = swept(network, Changes(len(shares), series=profile))
    assert {chunk.note for chunk in chunks} == {""}
    cases = [{"d": {"p_mw": 13.0 * share, "q_mvar": 4.3 * share}} for share in shares]
    elements["l"]["parameters"]["x_ohm_per_km"] = max(x_ohm_per_km, 1e-12)
    assert_same(elements, network, chunks, cases)


def following() -> Elements:
    """grid ── a ── b ── c ── a, and c ── d: loads that follow the voltage, one at a bus."""
    shares = {"const_z_p_percent": 40.0, "const_i_p_percent": 30.0, "const_z_q_percent": 100.0}
    return {
        "g": grid("a", vm_pu=1.03), "a": bus(20), "b": bus(20), "c": bus(20), "d": bus(20),
        "ab": cable("a", "b", 8), "bc": cable("b", "c", 8), "ca": cable("c", "a", 8),
        "cd": cable("c", "d", 5),
        "db": load("b", 3, 1, scaling=0.9, **shares),
        "dc": load("c", 2, 1, const_i_p_percent=100.0, const_i_q_percent=50.0),
        "dd": load("d", 1, 0.3, const_z_p_percent=80.0, const_z_q_percent=20.0),
    }  # fmt: skip


def test_loads_that_follow_the_voltage_are_swept_with_their_shares() -> None:
    elements = following()
    _, network = decoded(elements)
    lost = ["ab", "bc", "ca", "cd", "db", "dc"]
    chunks = swept(network, outages([[network.ids[id_]] for id_ in lost]))
    assert {chunk.note for chunk in chunks} == {""}
    assert_same(elements, network, chunks, [{id_: {"in_service": False}} for id_ in lost])


def test_profiles_of_loads_that_follow_the_voltage_are_swept_with_their_shares() -> None:
    elements = following()
    _, network = decoded(elements)
    profiles = np.array([[3.0, 2.0, 1.0], [0.5, 0.2, 0.1], [5.0, 4.0, 2.0], [-2.0, -1.0, 0.0]])
    changes = Changes(4, series={(KIND["Load"], "p_mw"): Series(np.arange(3), profiles)})
    chunks = swept(network, changes)
    assert {chunk.note for chunk in chunks} == {""}
    names = ("db", "dc", "dd")
    cases = [
        {id_: {"p_mw": p_mw} for id_, p_mw in zip(names, row, strict=True)}
        for row in profiles.tolist()
    ]
    assert_same(elements, network, chunks, cases)


def test_where_every_bus_is_held_outages_go_through_pandapower() -> None:
    """grid ── line ── grid: pandapower solves nothing and keeps no arrays of it."""
    elements = {
        "g": grid("a"), "a": bus(20), "h": grid("b", vm_pu=1.01), "b": bus(20),
        "l": cable("a", "b", 5), "m": cable("a", "b", 7), "d": load("b", 1, 0),
    }  # fmt: skip
    _, network = decoded(elements)
    lost = ["l", "m", "d"]
    chunks = swept(network, outages([[network.ids[id_]] for id_ in lost]))
    assert {chunk.note for chunk in chunks} == {
        "the network has no bus beside those that hold the voltage"
    }
    assert_same(elements, network, chunks, [{id_: {"in_service": False}} for id_ in lost])
