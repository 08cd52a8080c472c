"""OpenDSS' own controls: against the engine driven by hand, against our loop over pandapower."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import opendssdirect
import pytest
from bricks import ENGINES, bus, cable, element, grid, load, transformer

from electrisim.wire import answer_request
from opendss_bindings import Bindings

Elements = dict[str, Any]
BINDINGS = ("opendssdirect", "py_dss_interface")


def ask(elements: Elements, **asked: Any) -> tuple[int, dict[str, Any]]:
    body = {"simulationType": "controller", "elements": elements, "settings": asked}
    status, _, answer = answer_request(json.dumps(body).encode(), ENGINES, {})
    return status, json.loads(answer if isinstance(answer, bytes) else b"".join(answer))


def answered(elements: Elements, solver: str = "opendss", **asked: Any) -> dict[str, Any]:
    status, body = ask(elements, solver=solver, **asked)
    assert status == 200, body["errors"]
    return body


def records(body: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {each["element"]: each for each in body["controllers"]}


TAP = {
    "tap_side": "hv", "tap_neutral": 0, "tap_min": -9, "tap_max": 9, "tap_step_percent": 1.5,
    "tap_pos": 0,
}  # fmt: skip
BAND = {"tap_control": "discrete", "vm_lower_pu": 0.99, "vm_upper_pu": 1.01}
PLATE_3W = {
    "sn_hv_mva": 60, "sn_mv_mva": 40, "sn_lv_mva": 30, "vn_hv_kv": 110, "vn_mv_kv": 20,
    "vn_lv_kv": 10, "vk_hv_percent": 10, "vk_mv_percent": 11, "vk_lv_percent": 12,
    "vkr_hv_percent": 0.3, "vkr_mv_percent": 0.31, "vkr_lv_percent": 0.32, "pfe_kw": 30,
    "i0_percent": 0.1,
}  # fmt: skip
QV = [[0.9, 0.44], [0.98, 0.0], [1.0, -0.3], [1.1, -0.3]]


def substation(**more: Any) -> Elements:
    """grid 1.0 pu ─ b0 (110 kV) ─ t ─ b1 (20 kV) ─ load"""
    return {
        "g": grid("b0"), "b0": bus(110), "b1": bus(20),
        "t": transformer("b0", "b1", **{**TAP, **BAND, **more}),
        "d": load("b1", 25, 12),
    }  # fmt: skip


def three_winding(**more: Any) -> Elements:
    """grid ─ b0 (110 kV) ─ t ─ b1 (20 kV), b2 (10 kV), a load at each"""
    at = {"hv_bus": "b0", "mv_bus": "b1", "lv_bus": "b2"}
    return {
        "g": grid("b0"), "b0": bus(110), "b1": bus(20), "b2": bus(10),
        "t": element("Three Winding Transformer", **{**at, **PLATE_3W, **TAP, **BAND, **more}),
        "d1": load("b1", 25, 12), "d2": load("b2", 15, 6),
    }  # fmt: skip


def line(r_ohm: float, x_ohm: float) -> dict[str, Any]:
    return cable("b0", "b1", 1, r_ohm_per_km=r_ohm, x_ohm_per_km=x_ohm, c_nf_per_km=0)


def bank(**more: Any) -> Elements:
    """grid 1.0 ─ b0 (20 kV) ── j1.8 Ω ── b1 ─ load 6 + j4, steps of a capacitor"""
    steps = {
        "bus": "b1", "q_mvar": -1.0, "step": 0, "max_step": 8, "step_control": "voltage",
        "vm_set_pu": 0.995, "vm_tol_pu": 0.004,
    }  # fmt: skip
    return {
        "g": grid("b0"), "b0": bus(20), "b1": bus(20), "l": line(0, 1.8),
        "d": load("b1", 6, 4), "c": element("Capacitor", **{**steps, **more}),
    }  # fmt: skip


def plant(kind: str, r_ohm: float = 0.0, x_ohm: float = 24.0, **more: Any) -> Elements:
    """grid 1.0 ─ b0 (20 kV) ── line ── b1 ─ 4 MW behind an inverter of 5 MVA"""
    own = {
        "Storage": {"p_mw": -4.0, "sn_mva": 5.0},
        "PVSystem": {"pmpp_kw": 4000.0, "kva": 5000.0},
        "Static Generator": {"p_mw": 4.0, "sn_mva": 5.0},
    }[kind]
    return {
        "g": grid("b0"), "b0": bus(20), "b1": bus(20), "l": line(r_ohm, x_ohm),
        "p": element(kind, bus="b1", **{**own, **more}),
    }  # fmt: skip


def shaving(target_mw: float) -> Elements:
    """grid ─ b0 ── l ── b1 ─ load 6 MW, beside two storages of 3 and 1.5 MVA"""
    own = {"bus": "b1", "p_mw": 0.3, "p_control": "peak_shave", "reference": "l"}
    own["p_target_mw"] = target_mw
    return {
        "g": grid("b0"), "b0": bus(20), "b1": bus(20), "l": line(0.8, 1.2), "d": load("b1", 6, 1),
        "e0": element("Storage", **own, sn_mva=3.0, p_share=2.0),
        "e1": element("Storage", **own, sn_mva=1.5),
    }  # fmt: skip


@pytest.mark.parametrize("binding", BINDINGS)
@pytest.mark.parametrize("target", [4.0, 1.8, 7.0, 0.5])
def test_a_fleet_shaves_a_peak_as_our_loop_does(target, binding):
    """The engine moves no storage by less than 1 kW."""
    ours = records(answered(shaving(target), "pandapower"))
    for id_, found in records(answered(shaving(target), binding=binding)).items():
        assert found["p_mw"] == pytest.approx(ours[id_]["p_mw"], abs=2e-3)
        assert (found["on_target"], found["at_limit"], found["converged"]) == (
            ours[id_]["on_target"], ours[id_]["at_limit"], ours[id_]["converged"],
        )  # fmt: skip


#: What is in a line is controlled alike on both engines.
ALIKE = {
    "taps above, voltage below": substation(),
    "taps below": substation(tap_side="lv"),
    "taps that count down": substation(tap_step_percent=-1.5),
    "taps from off neutral": substation(tap_pos=4),
    "a target": substation(vm_lower_pu=None, vm_upper_pu=None, vm_set_pu=1.0),
    "a turned transformer": substation(vector_group="Dyn5"),
    "three windings, hv taps, mv voltage": three_winding(control_side="mv"),
    "three windings, hv taps, lv voltage": three_winding(control_side="lv"),
    "three windings, mv taps": three_winding(tap_side="mv", control_side="mv"),
    "three windings, lv taps": three_winding(tap_side="lv", control_side="lv"),
    "a bank": bank(),
    "a bank that is too large": bank(step=6, vm_set_pu=0.99),
    "a bank for another bus": {
        **bank(vm_set_pu=0.985, reference="b2"),
        "b2": bus(20), "l2": cable("b1", "b2", 5), "d2": load("b2", 1, 0.5),
    },
    **{
        f"{kind}: {what}": plant(kind, **asked)
        for kind in ("PVSystem", "Storage")
        for what, asked in {
            "Q(V)": {"q_control": "qv", "qv_curve": QV},
            "Q(V) at its rating": {"q_control": "qv", "qv_curve": [[0.5, 0.8], [1.5, 0.8]]},
            "P(V)": {"r_ohm": 2.4, "x_ohm": 1e-4, "pv_curve": [[1.01, 1], [1.03, 0]]},
            "P(V) and Q(V)": {
                "r_ohm": 2.4, "x_ohm": 0.5, "q_control": "qv", "qv_curve": QV,
                "pv_curve": [[1.01, 1], [1.03, 0]],
            },
            "cos φ": {"q_control": "cosphi", "cosphi": -0.95, "x_ohm": 2.4},
            "cos φ(P)": {
                "q_control": "cosphi_p", "cosphi_p_curve": [[0.5, 1.0], [1.0, -0.9]],
                "x_ohm": 2.4,
            },
        }.items()
    },
    "a generator beside": {
        **substation(), "m": element("Generator", bus="b0", p_mw=8, vm_pu=1.0),
    },
    "a generator that holds a voltage beyond a line": {
        "g": grid("b2", vm_pu=0.96), "b0": bus(110), "b1": bus(20), "b2": bus(110),
        "l": cable("b2", "b0", 40),
        "t": transformer("b0", "b1", **{**TAP, **BAND, "control_side": "hv"}),
        "m": element("Generator", bus="b1", p_mw=20, vm_pu=1.0),
    },
    "a feeder of them all": {
        **substation(tap_pos=5), "b2": bus(20), "l": cable("b1", "b2", 6),
        "p": element("PVSystem", bus="b2", pmpp_kw=5000, kva=6000, q_control="qv", qv_curve=QV),
        "c": element(
            "Capacitor", bus="b2", q_mvar=-0.8, step=0, max_step=4, step_control="voltage",
            vm_set_pu=0.99, vm_tol_pu=0.012,
        ),
    },
}  # fmt: skip


@pytest.mark.parametrize("name", ALIKE)
def test_opendss_controls_end_where_our_loop_over_pandapower_does(name):
    """Positions are the same; the engine's inverters stop a millionth of their rating away."""
    ours, theirs = answered(ALIKE[name], "pandapower"), answered(ALIKE[name])
    for id_, expected in records(ours).items():
        found = records(theirs)[id_]
        for field in ("tap_pos", "step", "on_target", "at_limit", "kind"):
            assert found.get(field) == expected.get(field), (id_, field)
        for field in ("p_mw", "q_mvar"):
            if field in expected:
                assert found[field] == pytest.approx(expected[field], abs=1e-5)
    for one, other in zip(ours["results"]["busbars"], theirs["results"]["busbars"], strict=True):
        assert other["vm_pu"] == pytest.approx(one["vm_pu"], abs=1e-7)


_SOME = ["three windings, hv taps, mv voltage", "a bank", "PVSystem: P(V) and Q(V)"]


@pytest.mark.parametrize("name", _SOME)
def test_both_builds_of_the_engine_end_alike(name):
    one, other = (records(answered(ALIKE[name], binding=binding)) for binding in BINDINGS)
    for id_, record in one.items():
        for field, value in record.items():
            alike = pytest.approx(value, abs=1e-9) if isinstance(value, float) else value
            assert other[id_][field] == alike


# The engine driven by hand


def by_hand(commands: Sequence[str], asked: str) -> tuple[str, list[complex], list[float]]:
    """(a property, powers of p if it is there [kVA], voltages [pu]) of a circuit written here."""
    dss = opendssdirect.dss.NewContext()
    for command in ("clearall", "set defaultbasefrequency=50", *commands, "solve"):
        dss.Text.Command(command)
    assert dss.Solution.Converged()
    dss.Text.Command(f"? {asked}")
    told = dss.Text.Result()
    dss.Circuit.SetActiveElement(asked.rpartition(".")[0])
    powers = np.array(dss.CktElement.Powers()).view(complex)[:3]
    return told, powers.tolist(), dss.Circuit.AllBusMagPu()


SOURCE = "bus1=b0 pu=1.0 r1=1e-9 x1=1e-9 r0=1e-9 x0=1e-9"
OPTIONS = [
    "set maxcontroliter=500",
    "makebuslist",
    "setkvbase bus=b1 kvll=20",
    "set tolerance=1e-10",
]
LINE = "new line.l bus1=b0 bus2=b1 r1=0 x1={x} r0=0 x0={x} c1=0 c0=0 length=1 units=none"


def test_a_regcontrol_written_by_hand_ends_at_the_same_tap():
    """On winding 2 and its own voltage, as in the engine's manual, where ours watches a bus."""
    volts = 20e3 / np.sqrt(3)
    told, _, voltages = by_hand(
        [
            f"new circuit.c basekv=110 {SOURCE}",
            "new transformer.t windings=2 buses=(b0,b1) conns=(wye,wye) kvs=(110,20) "
            "kvas=(40000,40000) %rs=(0.25,0.25) xhl=10.98863047 wdg=1 numtaps=18 mintap=0.865 "
            "maxtap=1.135",
            f"new regcontrol.r transformer=t winding=2 tapwinding=1 vreg={volts} "
            f"band={0.02 * volts} ptratio=1 maxtapchange=1",
            "new load.d bus1=b1 kv=20 kw=25000 kvar=12000 vminpu=0 vmaxpu=9",
            *OPTIONS,
            "setkvbase bus=b0 kvll=110",
        ],
        "transformer.t.taps",
    )
    found = answered(substation(pfe_kw=0, i0_percent=0))
    position = (float(told.strip("[] ").split(",")[0]) - 1) / 0.015
    assert records(found)["t"]["tap_pos"] == pytest.approx(position) == -2
    assert found["results"]["busbars"][1]["vm_pu"] == pytest.approx(voltages[-1], abs=1e-7)


def test_a_capcontrol_written_by_hand_ends_at_the_same_step():
    volts = 20e3 / np.sqrt(3)
    told, _, voltages = by_hand(
        [
            f"new circuit.c basekv=20 {SOURCE}", LINE.format(x=1.8),
            "new load.d bus1=b1 kv=20 kw=6000 kvar=4000 vminpu=0 vmaxpu=9",
            "new capacitor.c bus1=b1 kv=20 kvar=8000 numsteps=8 states=(0,0,0,0,0,0,0,0)",
            f"new capcontrol.c capacitor=c element=line.l terminal=2 type=voltage ptratio=1 "
            f"onsetting={0.991 * volts} offsetting={0.999 * volts} deadtime=0",
            *OPTIONS, "setkvbase bus=b0 kvll=20",
        ],
        "capacitor.c.states",
    )  # fmt: skip
    found = records(answered(bank()))["c"]
    assert found["step"] == told.count("1") == 3
    assert found["vm_pu"] == pytest.approx(voltages[-1], abs=1e-7)


def test_an_invcontrol_written_by_hand_delivers_the_same():
    """Its own tolerance is 1e-6 here, of 5 MVA; ours are tighter."""
    _, powers, voltages = by_hand(
        [
            f"new circuit.c basekv=20 {SOURCE}", LINE.format(x=24),
            "new pvsystem.p bus1=b1 kv=20 pmpp=4000 irradiance=1 kva=5000 pf=1 %cutin=0 "
            "%cutout=0 vminpu=0 vmaxpu=9",
            "new xycurve.q npts=6 xarray=(0.5,0.9,0.98,1.0,1.1,1.5) "
            "yarray=(0.44,0.44,0,-0.3,-0.3,-0.3)",
            "new invcontrol.i derlist=(pvsystem.p) mode=voltvar vvc_curve1=q "
            "refreactivepower=varmax voltagechangetolerance=1e-8 varchangetolerance=1e-8 "
            "deltaq_factor=0.3",
            *OPTIONS, "setkvbase bus=b0 kvll=20",
        ],
        "pvsystem.p.kva",
    )  # fmt: skip
    found = records(answered(ALIKE["PVSystem: Q(V)"]))["p"]
    assert found["q_mvar"] == pytest.approx(-sum(powers).imag / 1e3, abs=1e-5)
    assert found["vm_pu"] == pytest.approx(voltages[-1], abs=1e-6)


# What is told and what is refused


def test_a_control_that_stops_short_of_its_band_is_told():
    """The engine rounds what is missing to whole taps: a quarter of one is none."""
    narrow = {"vm_lower_pu": 0.999, "vm_upper_pu": 1.001, "tap_step_percent": 3.0}
    body = answered(substation(**narrow))
    assert not body["control"]["converged"]
    assert any("Transformer “t”" in each for each in body["warnings"])


def test_controls_that_are_switched_off_move_nothing():
    body = answered(substation(), control_mode="off")
    assert records(body)["t"]["tap_pos"] == 0
    assert not records(body)["t"]["on_target"]


def test_an_end_of_the_range_is_told():
    found = records(answered(substation(tap_min=-1)))["t"]
    assert (found["tap_pos"], found["at_limit"], found["converged"]) == (-1, True, True)


SHIFTED = {"tap_side": "lv", "vector_group": "YNyn6"}
STATION = {"station_control": "S", "reference": "b1", "vm_set_pu": 1.0}


@pytest.mark.parametrize(
    ("elements", "element_id", "field"),
    [
        (substation(tap_control="continuous", vm_lower_pu=None, vm_upper_pu=None, vm_set_pu=1.0),
         "t", "tap_control"),
        (substation(tap_step_degree=60), "t", "tap_step_degree"),
        (substation(shift_degree=17), "t", "shift_degree"),
        (substation(**SHIFTED), "t", "shift_degree"),
        (three_winding(tap_at_star_point=True), "t", "tap_at_star_point"),
        (three_winding(tap_side="mv", control_side="lv"), "t", "control_side"),
        (bank(q_mvar=1.0), "c", "step_control"),
        (bank(p_mw=0.1), "c", "step_control"),
        (bank(step_increment=2), "c", "step_increment"),
        (bank(step_control="line_flow", reference="l", step_table=[[0, 0], [1, 1]]),
         "c", "step_control"),
        (plant("Static Generator", q_control="qv", qv_curve=QV), "p", "q_control"),
        (plant("Static Generator", pv_curve=[[1, 1], [1.1, 0]]), "p", "pv_curve"),
        (plant("PVSystem", q_control="cosphi", cosphi=0.9, pv_curve=[[1, 1], [1.1, 0]]),
         "p", "pv_curve"),
        ({**plant("PVSystem"), "m": element("Generator", bus="b1", p_mw=1, **STATION)},
         "m", "station_control"),
    ],
)  # fmt: skip
def test_what_the_engine_has_no_control_for_is_refused_by_name(elements, element_id, field):
    status, body = ask(elements, solver="opendss")
    assert status == 422
    (problem,) = body["errors"]
    assert (problem["element"], problem["field"]) == (element_id, field)
    assert problem["kind"] == "unsupported"


def test_a_power_factor_of_a_static_generator_needs_no_control():
    body = answered(plant("Static Generator", x_ohm=2.4, q_control="cosphi", cosphi=0.9))
    q = 4 * np.tan(np.arccos(0.9))
    assert body["results"]["staticgenerators"][0]["q_mvar"] == pytest.approx(q, abs=1e-9)


@pytest.mark.parametrize("binding", BINDINGS)
def test_a_session_tells_properties_of_our_elements_only(binding):
    with Bindings().session(binding) as session:
        session.run(["new circuit.c bus1=b0", "new load.d bus1=b0 kw=12.5"])
        assert [float(text) for text in session.properties(["load.d.kw"])] == [12.5]
        for name in ("load.d.kw solve", "../x.y.z", "load.D.kw"):
            with pytest.raises(ValueError, match="property"):
                session.properties([name])
