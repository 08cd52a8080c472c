"""OpenDSS as an engine: each kind against the engine driven by hand, in its own words."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from bricks import (
    ENGINES,
    bus,
    cable,
    columns,
    decoded,
    element,
    grid,
    load,
    solve,
    transformer,
)
from pytest import approx

from electrisim.elements import KINDS
from electrisim.problems import NotConvergedError, ProblemError
from electrisim.topology import Topology
from opendss_context import opendssdirect

A = np.exp(2j * np.pi / 3)
#: Sources of 1e11 MVA: they hold their voltages to 1e-10 under what is drawn here.
SOURCE = "new circuit.hand bus1=b1 basekv=20 pu=1.02 angle=10 r1=0 x1=4e-9 r0=0 x0=4e-9"
SOURCE_110 = "new circuit.hand bus1=b1 basekv=110 pu=1.02 angle=10 r1=0 x1=1e-7 r0=0 x0=1e-7"
#: 4 km of `cable`.
CABLE = "new line.l bus1=b1 bus2=b2 r1=0.2 x1=0.12 r0=0.2 x0=0.12 c1=200 c0=200 length=4 units=km"
#: A load keeps its power at any voltage, as ours do.
CONSTANT = "vminpu=0 vmaxpu=1000"
ACCURATE = "set tolerance=1e-13 maxiterations=1000"
LOAD = f"new load.d bus1=b2 kv=20 kw=3000 kvar=1000 {CONSTANT}"

Voltages = dict[str, complex]


@pytest.fixture(scope="module")
def by_hand() -> Callable[..., Voltages]:
    """Solves commands; returns the buses' voltages to earth [V], positive sequence."""
    dss: Any = opendssdirect.dss.NewContext()

    def run(*commands: str, frequency: float = 50, options: str = ACCURATE) -> Voltages:
        preamble = ["clear", f"set defaultbasefrequency={frequency}"]
        dss.Text.Commands([*preamble, *commands, options, "solve"])
        assert dss.Solution.Converged()
        volts = np.array(dss.Circuit.YNodeVArray()).view(complex)
        nodes = dict(zip(map(str.lower, dss.Circuit.YNodeOrder()), volts, strict=True))
        names = {node.split(".")[0] for node in nodes}
        return {
            name: (nodes[f"{name}.1"] + A * nodes[f"{name}.2"] + A**2 * nodes[f"{name}.3"]) / 3
            for name in names
        }

    run.dss = dss  # type: ignore[attr-defined]
    return run


def at_20_kv(**more: Any) -> dict[str, Any]:
    """grid (1.02 pu, 10°) b1 ── 4 km ── b2 ─ …"""
    ends = {"b1": bus(20), "b2": bus(20)}
    return {"grid": grid("b1", vm_pu=1.02, va_degree=10), **ends, "l1": cable("b1", "b2"), **more}


def at_110_kv(**more: Any) -> dict[str, Any]:
    """grid (1.02 pu, 10°) b1 ─ … ─ b2 (20 kV, 3 MW + 1 Mvar)"""
    ends = {"b1": bus(110), "b2": bus(20)}
    return {"grid": grid("b1", vm_pu=1.02, va_degree=10), **ends, "d1": load("b2"), **more}


def curve(name: str, points: list[tuple[float, float]]) -> str:
    x, y = zip(*points, strict=True)
    return f"new xycurve.{name} npts={len(points)} xarray={list(x)} yarray={list(y)}"


WARM, EFFICIENT = [(0, 1.2), (25, 1.0), (75, 0.8)], [(0.1, 0.86), (0.5, 0.95), (1.0, 0.97)]

#: Our elements, and the same network as OpenDSS' own users would write it.
ALIKE: dict[str, tuple[dict[str, Any], list[str]]] = {
    "a load": (at_20_kv(d1=load("b2")), [SOURCE, CABLE, LOAD]),
    "a capacitive load": (
        at_20_kv(d1=load("b2", q_mvar=-1)), [SOURCE, CABLE, LOAD.replace("kvar=", "kvar=-")]
    ),
    "a load with scaling and shares of impedance and current": (
        at_20_kv(d1=load("b2", scaling=0.5, const_z_p_percent=30, const_i_p_percent=20,
                         const_z_q_percent=10, const_i_q_percent=50)),
        [SOURCE, CABLE, f"new load.d bus1=b2 kv=20 kw=1500 kvar=500 model=8 {CONSTANT} "
         "zipv=[0.3 0.2 0.5 0.1 0.5 0.4 0]"],
    ),
    "two lines in parallel, with leakage": (
        at_20_kv(l1=cable("b1", "b2", parallel=2, g_us_per_km=50), d1=load("b2")),
        [SOURCE, CABLE, CABLE.replace("line.l", "line.m"), LOAD,
         "new reactor.g1 bus1=b1 r=5000 x=0", "new reactor.g2 bus1=b2 r=5000 x=0"],
    ),
    "a line with its own zero sequence": (
        at_20_kv(l1=cable("b1", "b2", r0_ohm_per_km=0.8, x0_ohm_per_km=0.5, c0_nf_per_km=90),
                 d1=load("b2")),
        [SOURCE, CABLE, LOAD],
    ),
    "a line that is warm": (
        at_20_kv(l1=cable("b1", "b2", temperature_degree_celsius=70, alpha=0.004), d1=load("b2")),
        [SOURCE, CABLE.replace("r1=0.2", "r1=0.24"), LOAD],
    ),
    "a static generator": (
        at_20_kv(s1=element("Static Generator", bus="b2", p_mw=4, q_mvar=-0.5, scaling=0.5)),
        [SOURCE, CABLE, f"new generator.s bus1=b2 kv=20 kw=2000 kvar=-250 model=1 {CONSTANT}"],
    ),
    "asymmetric elements, of which a balanced study takes the sum": (
        at_20_kv(a1=element("Asymmetric Load", bus="b2", p_a_mw=2, p_b_mw=1.5, q_c_mvar=1),
                 y1=element("Asymmetric Static Generator", bus="b2", p_c_mw=0.5, type="delta")),
        [SOURCE, CABLE, LOAD],
    ),
    "a motor": (
        at_20_kv(m1=element("Motor", bus="b2", pn_mech_mw=2, cos_phi=0.8, efficiency_percent=80,
                            loading_percent=50, scaling=0.8)),
        [SOURCE, CABLE, f"new load.m bus1=b2 kv=20 kw=1000 kvar=750 {CONSTANT}"],
    ),
    "a storage that charges although it is full": (
        at_20_kv(e1=element("Storage", bus="b2", p_mw=1, q_mvar=0.3, soc_percent=100)),
        [SOURCE, CABLE, f"new load.e bus1=b2 kv=20 kw=1000 kvar=300 {CONSTANT}"],
    ),
    "a storage that discharges although it is empty": (
        at_20_kv(e1=element("Storage", bus="b2", p_mw=-1, q_mvar=-0.3, scaling=2, soc_percent=0)),
        [SOURCE, CABLE, f"new load.e bus1=b2 kv=20 kw=-2000 kvar=-600 {CONSTANT}"],
    ),
    "a photovoltaic system with its curves": (
        at_20_kv(p1=element("PVSystem", bus="b2", pmpp_kw=2000, irradiance_kw_per_m2=0.8,
                            temperature_degree_celsius=40, kva=1800, pf=-0.95,
                            temperature_curve=WARM, efficiency_curve=EFFICIENT)),
        [SOURCE, CABLE, curve("t", WARM), curve("e", EFFICIENT),
         "new pvsystem.p bus1=b2 kv=20 pmpp=2000 irradiance=0.8 temperature=40 kva=1800 pf=-0.95 "
         f"p-tcurve=t effcurve=e %cutin=0 %cutout=0 {CONSTANT}"],
    ),
    "shunts at a voltage that is not the bus's": (
        at_20_kv(d1=load("b2"),
                 h1=element("Shunt", bus="b2", p_mw=0.1, q_mvar=0.2, vn_kv=21, step=2, max_step=2),
                 r1=element("Shunt Reactor", bus="b1", q_mvar=0.5),
                 c1=element("Capacitor", bus="b2", q_mvar=-0.8, vn_kv=21)),
        [SOURCE, CABLE, LOAD, "new capacitor.c bus1=b2 kv=21 kvar=800",
         "new reactor.r bus1=b1 kv=20 kvar=500", "new reactor.q bus1=b2 kv=21 kvar=400",
         f"new load.p bus1=b2 kv=21 kw=200 kvar=0 model=2 {CONSTANT}"],
    ),
    "a ward": (
        at_20_kv(w1=element("Ward", bus="b2", ps_mw=1, qs_mvar=0.2, pz_mw=0.5, qz_mvar=-0.1)),
        [SOURCE, CABLE, f"new load.s bus1=b2 kv=20 kw=1000 kvar=200 {CONSTANT}",
         f"new load.z bus1=b2 kv=20 kw=500 kvar=-100 model=2 {CONSTANT}"],
    ),
    "an impedance": (
        at_20_kv(l1=element("Impedance", from_bus="b1", to_bus="b2", sn_mva=10, rft_pu=0.02,
                            xft_pu=0.03, gf_pu=0, bf_pu=0, gt_pu=0, bt_pu=0), d1=load("b2")),
        [SOURCE, "new reactor.z bus1=b1 bus2=b2 r=0.8 x=1.2", LOAD],
    ),
    "a closed switch with an impedance, and one without": (
        at_20_kv(b3=bus(20), b4=bus(20), d1=load("b4"),
                 k1=element("Switch", bus="b2", element="b3", z_ohm=np.sqrt(5)),
                 k2=element("Switch", bus="b3", element="b4")),
        [SOURCE, CABLE, "new reactor.k bus1=b2 bus2=b3 r=2 x=1", LOAD.replace("b2", "b3")],
    ),
    "a line that is open at its far end": (
        at_20_kv(b3=bus(20), l2=cable("b2", "b3", 30), d1=load("b2"),
                 k1=element("Switch", bus="b3", element="l2", closed=False)),
        [SOURCE, CABLE, LOAD, CABLE.replace("line.l bus1=b1 bus2=b2 ", "line.o bus1=b2 bus2=x ")
         .replace("length=4", "length=30")],
    ),
    "a transformer with a tap off neutral on its high side": (
        at_110_kv(t1=transformer("b1", "b2", pfe_kw=0, i0_percent=0, vn_lv_kv=21, tap_side="hv",
                                 tap_neutral=0, tap_pos=-3, tap_step_percent=1.5)),
        [SOURCE_110, "new transformer.t windings=2 buses=[b1 b2] kvs=[110 21] kvas=[40000 40000] "
         f"taps=[0.955 1] %rs=[0.25 0.25] xhl={np.sqrt(11**2 - 0.5**2)} ppm_antifloat=0", LOAD],
    ),
    "two transformers in parallel with a tap off neutral on their low side": (
        at_110_kv(t1=transformer("b1", "b2", pfe_kw=0, i0_percent=0, parallel=2, tap_side="lv",
                                 tap_neutral=1, tap_pos=3, tap_step_percent=2)),
        [SOURCE_110, LOAD, *(f"new transformer.{name} windings=2 buses=[b1 b2] kvs=[110 20] "
         "kvas=[40000 40000] taps=[1 1.04] %rs=[0.25 0.25] ppm_antifloat=0 "
         f"xhl={np.sqrt(11**2 - 0.5**2)}" for name in ("t", "u"))],
    ),
    "a transformer whose iron losses lie in the middle of its leakage": (
        # i0 = 3/1000 with pfe/sn = 1/1000; 1 % of 10 Ω is the base of the low side.
        at_110_kv(t1=transformer("b1", "b2", leakage_reactance_ratio_hv=0.3)),
        [SOURCE_110, "new transformer.t windings=2 buses=[b1 m] kvs=[110 20] kvas=[40000 40000] "
         f"%rs=[0.125 0.125] xhl={0.3 * np.sqrt(11**2 - 0.5**2)} ppm_antifloat=0",
         f"new load.fe bus1=m kv=20 kw=40 kvar={np.sqrt(120**2 - 40**2)} model=2 {CONSTANT}",
         f"new reactor.z bus1=m bus2=b2 r=0.025 x={0.07 * np.sqrt(11**2 - 0.5**2)}", LOAD],
    ),
    "a Dyn11 transformer": (
        at_110_kv(t1=transformer("b1", "b2", pfe_kw=0, i0_percent=0, vector_group="Dyn11")),
        [SOURCE_110, "new transformer.t windings=2 buses=[b1 b2] conns=[delta wye] kvs=[110 20] "
         f"kvas=[40000 40000] %rs=[0.25 0.25] xhl={np.sqrt(11**2 - 0.5**2)} ppm_antifloat=0 "
         "leadlag=lead", LOAD],
    ),
    "a YNd1 transformer": (
        at_110_kv(t1=transformer("b1", "b2", pfe_kw=0, i0_percent=0, vector_group="YNd1")),
        [SOURCE_110, "new transformer.t windings=2 buses=[b1 b2] conns=[wye delta] kvs=[110 20] "
         f"kvas=[40000 40000] %rs=[0.25 0.25] xhl={np.sqrt(11**2 - 0.5**2)} ppm_antifloat=0",
         LOAD + " conn=delta"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", ALIKE)
def test_voltages_are_those_of_the_engine_driven_by_hand(by_hand, case):
    elements, commands = ALIKE[case]
    warm = case == "a line that is warm"
    ours = voltages(elements, consider_line_temperature=warm)
    hand = by_hand(*commands)
    assert len(ours.keys() & hand.keys()) >= 2
    for id_ in ours.keys() & hand.keys():
        # The rounding of both solutions, and the drop on the source by hand.
        assert abs(ours[id_] - hand[id_]) < 1e-9 * abs(hand[id_])


def voltages(elements: dict[str, Any], **settings: Any) -> Voltages:
    """Our bus voltages to earth by id [V], positive sequence."""
    found = columns(solve(elements, solver="opendss", **settings), "Bus")
    kv = {i: e["parameters"]["vn_kv"] for i, e in elements.items() if e["typ"] == "Bus"}
    phasors = found["vm_pu"] * np.exp(1j * np.deg2rad(found["va_degree"]))
    return {
        id_: phasor * vn / np.sqrt(3) * 1e3
        for (id_, vn), phasor in zip(kv.items(), phasors, strict=True)
    }


def test_powers_are_those_of_the_engine_driven_by_hand(by_hand):
    """What the line takes and gives, by the engine's own figures."""
    found = solve(ALIKE["a load"][0], solver="opendss")
    by_hand(*ALIKE["a load"][1])
    by_hand.dss.Circuit.SetActiveElement("line.l")
    powers = np.array(by_hand.dss.CktElement.Powers()).view(complex).reshape(2, 3).sum(axis=1)
    line, source = columns(found, "Line"), columns(found, "External Grid")
    for side, power in zip(("from", "to"), powers / 1e3, strict=True):
        # The by-hand source of 1e11 MVA has its own rounding.
        assert line[f"p_{side}_mw"][0] == approx(power.real, abs=1e-7)
        assert line[f"q_{side}_mvar"][0] == approx(power.imag, abs=1e-7)
    assert source["p_mw"][0] == approx(powers[0].real / 1e3, abs=1e-7)


# what holds a voltage


def test_a_generator_is_where_the_engine_has_its_own_voltage_controlled_one(by_hand):
    """Model 3 of OpenDSS' Generator, which converges on a network as small as this."""
    elements = at_20_kv(
        d1=load("b2"), g1=element("Generator", bus="b2", p_mw=4, vm_pu=1.01, scaling=0.5)
    )
    hand = by_hand(
        SOURCE, CABLE, LOAD,
        f"new generator.g bus1=b2 kv=20.2 kw=2000 model=3 maxkvar=9000 minkvar=-9000 {CONSTANT}",
        options="set tolerance=1e-9 maxiterations=2000",
    )  # fmt: skip
    # Its controller stops within 1e-5 of its set-point.
    assert voltages(elements)["b2"] == approx(hand["b2"], rel=2e-5)


GENERATOR = {"bus": "b2", "p_mw": 2, "vm_pu": 1.05, "min_q_mvar": -1, "max_q_mvar": 1.5}


def test_a_generator_at_its_limit_delivers_it_and_gives_up_its_voltage(by_hand):
    elements = at_20_kv(d1=load("b2"), g1=element("Generator", **GENERATOR))
    found = columns(solve(elements, solver="opendss", enforce_q_lims=True), "Generator")
    assert found["q_mvar"][0] == approx(1.5, abs=1e-9)
    assert found["p_mw"][0] == approx(2, abs=1e-9)
    assert found["vm_pu"][0] < 1.05
    fixed = f"new generator.g bus1=b2 kv=20 kw=2000 kvar=1500 model=1 {CONSTANT}"
    hand = by_hand(SOURCE, CABLE, LOAD, fixed)
    assert found["vm_pu"][0] == approx(abs(hand["b2"]) * np.sqrt(3) / 20e3, abs=1e-9)


def test_limits_do_not_bind_unless_they_are_to_be_enforced():
    elements = at_20_kv(d1=load("b2"), g1=element("Generator", **GENERATOR))
    found = columns(solve(elements, solver="opendss"), "Generator")
    assert found["q_mvar"][0] > 1.5
    assert found["vm_pu"][0] == approx(1.05, abs=1e-9)


def test_a_voltage_is_taken_up_again_when_the_limit_is_not_needed_any_more():
    """b1 ── b2 (g1 wants 0.95 pu, 1 Mvar at least) ── b3 (g2 wants 1.02 pu)

    Holding 0.95 pu, g1 draws so much that g2 hits its upper limit; once g1 is at its own, g2 can
    hold its voltage with less.
    """
    limits = {"min_q_mvar": -1, "max_q_mvar": 6}
    elements = at_20_kv(
        b3=bus(20), l2=cable("b2", "b3"), d1=load("b3"),
        g1=element("Generator", bus="b2", p_mw=1, vm_pu=0.95, **limits),
        g2=element("Generator", bus="b3", p_mw=1, vm_pu=1.02, **limits),
    )  # fmt: skip
    found = columns(solve(elements, solver="opendss", enforce_q_lims=True), "Generator")
    assert found["q_mvar"][0] == approx(-1, abs=1e-9)
    assert found["vm_pu"][0] > 0.95
    assert found["vm_pu"][1] == approx(1.02, abs=1e-9)
    assert -1 < found["q_mvar"][1] < 6


def test_static_generators_keep_within_their_limits_too():
    limited = element("Static Generator", bus="b2", p_mw=1, q_mvar=2, max_q_mvar=0.5)
    found = solve(at_20_kv(s1=limited), solver="opendss", enforce_q_lims=True)
    assert columns(found, "Static Generator")["q_mvar"][0] == approx(0.5, abs=1e-9)


def test_an_external_grid_has_its_short_circuit_impedance_when_asked_to(by_hand):
    """OpenDSS' own MVAsc3 and x1r1, which know no factor c."""
    data = {"s_sc_max_mva": 330, "rx_max": 0.1, "r0x0_max": 0.2, "x0x_max": 2.0}
    elements = {**at_20_kv(d1=load("b2")), "grid": grid("b1", vm_pu=1.02, va_degree=10, **data)}
    source = "new circuit.hand bus1=b1 basekv=20 pu=1.02 angle=10 mvasc3=300 x1r1=10 x0r0=5"
    hand = by_hand(source, CABLE, LOAD)
    ours = voltages(elements, source_impedance=True)
    for id_ in ("b1", "b2"):
        assert abs(ours[id_] - hand[id_]) < 1e-9 * abs(hand[id_])


def test_two_external_grids_hold_their_own_angles(by_hand):
    """grid (10°) b1 ── 4 km ── b2 ── 4 km ── b3 (9.5°)"""
    more = {"b3": bus(20), "l2": cable("b2", "b3"), "grid2": grid("b3", va_degree=9.5)}
    second = SOURCE.replace("circuit.hand bus1=b1", "vsource.s bus1=b3")
    hand = by_hand(
        SOURCE, CABLE, LOAD, CABLE.replace("line.l bus1=b1 bus2=b2", "line.m bus1=b2 bus2=b3"),
        second.replace("pu=1.02 angle=10", "pu=1 angle=9.5"),
    )  # fmt: skip
    ours = voltages(at_20_kv(d1=load("b2"), **more))
    assert abs(ours["b2"] - hand["b2"]) < 1e-9 * abs(hand["b2"])


# settings


def test_the_frequency_counts(by_hand):
    elements, commands = ALIKE["a line that is open at its far end"]
    ours, hand = voltages(elements, frequency=60), by_hand(*commands, frequency=60)
    assert abs(ours["b2"] - hand["b2"]) < 1e-9 * abs(hand["b2"])
    assert abs(ours["b2"] - voltages(elements)["b2"]) > 0.1


WHOLE_NETWORK = at_110_kv(
    t1=transformer("b1", "b2", vector_group="YNd5", tap_side="hv", tap_neutral=0, tap_pos=2,
                   tap_step_percent=1.5, tap_step_degree=30, tap_changer_type="Ratio"),
    b3=bus(20), b4=bus(20), l1=cable("b2", "b3"), l2=cable("b3", "b4"), l3=cable("b4", "b2"),
    d2=load("b3", 5, 2, const_z_p_percent=40, const_i_q_percent=30),
    g1=element("Generator", bus="b4", p_mw=4, vm_pu=1.01),
    s1=element("Static Generator", bus="b3", p_mw=1), e1=element("Storage", bus="b3", p_mw=0.5),
    x1=element("Extended Ward", bus="b3", ps_mw=0.2, qs_mvar=0.1, pz_mw=0.1, qz_mvar=0.1, r_ohm=1,
               x_ohm=8),
)  # fmt: skip


@pytest.mark.parametrize(
    "settings",
    [{"algorithm": "normal"}, {"algorithm": "newton"}, {"binding": "py_dss_interface"},
     {"control_mode": "off"}, {"tolerance": 1e-8}, {"max_iteration": 50}],
)  # fmt: skip
def test_the_way_to_the_answer_does_not_change_it(settings):
    expected = voltages(WHOLE_NETWORK)
    for id_, voltage in voltages(WHOLE_NETWORK, **settings).items():
        assert voltage == approx(expected[id_], rel=1e-8)


def test_loads_as_admittances_draw_power_with_the_voltage_squared(by_hand):
    """OpenDSS' constant-impedance load, model 2."""
    elements, commands = ALIKE["a load"]
    ours = voltages(elements, load_model="admittance")
    hand = by_hand(*commands[:2], LOAD + " model=2")
    assert abs(ours["b2"] - hand["b2"]) < 1e-9 * abs(hand["b2"])
    assert solve(WHOLE_NETWORK, solver="opendss", load_model="admittance").certificate


@pytest.mark.parametrize("mode", ["event", "time"])
def test_a_control_mode_that_means_nothing_here_is_told(mode):
    found = solve(ALIKE["a load"][0], solver="opendss", control_mode=mode)
    assert any(f"“{mode}” changes nothing" in warning for warning in found.warnings)


@pytest.mark.parametrize(
    ("field", "value"),
    [("algorithm", "nr"), ("init", "dc"), ("calculate_voltage_angles", False),
     ("calculate_voltage_angles", "auto"), ("distributed_slack", True), ("mode", "dc")],
)  # fmt: skip
def test_a_setting_that_opendss_lacks_is_refused_by_name(field, value):
    with pytest.raises(ProblemError) as refused:
        solve(ALIKE["a load"][0], solver="opendss", **{field: value})
    assert refused.value.kind == "unsupported"
    assert field in {problem.field for problem in refused.value.problems}


def test_source_impedance_needs_the_grids_data():
    with pytest.raises(ProblemError) as refused:
        solve(at_20_kv(), solver="opendss", source_impedance=True)
    assert [(p.kind, p.element, p.field) for p in refused.value.problems] == [
        ("missing-parameter", "grid", field)
        for field in ("s_sc_max_mva", "rx_max", "r0x0_max", "x0x_max")
    ]


def test_a_tolerance_below_rounding_is_not_claimed_to_be_met():
    with pytest.raises(NotConvergedError):
        solve(WHOLE_NETWORK, solver="opendss", tolerance=1e-13)
    with pytest.raises(NotConvergedError, match="more than the tolerance of 1e-15 MVA"):
        solve(ALIKE["a load"][0], solver="opendss", tolerance=1e-15)


# converged is not solved


def test_an_impossible_load_is_not_solved():
    """20 kV cannot deliver 1 GW over 4 km; the engine would turn such a load into an impedance."""
    with pytest.raises(NotConvergedError):
        solve(at_20_kv(d1=load("b2", 1000, 0)), solver="opendss")


def test_an_impossible_generator_is_not_solved():
    generator = element("Generator", bus="b2", p_mw=5000, vm_pu=1.0)
    with pytest.raises(NotConvergedError):
        solve(at_20_kv(g1=generator), solver="opendss")


@pytest.mark.parametrize("value", [1e307, -1e307, 5e-324, 1e-300])
@pytest.mark.parametrize("field", ["r_ohm_per_km", "c_nf_per_km", "length_km"])
def test_values_beyond_all_measure_are_answered_with_a_problem_or_a_solution(field, value):
    line = cable("b1", "b2", **{field: abs(value) if field == "length_km" else value})
    try:
        assert solve(at_20_kv(l1=line, d1=load("b2")), solver="opendss").certificate
    except ProblemError as problem:
        assert problem.status == 422


# the script


def exported(elements: dict[str, Any], **settings: Any) -> tuple[str, Any]:
    found = solve(elements, solver="opendss", export_script=True, **settings)
    return found.beside["script"], found


@pytest.mark.parametrize("settings", [{}, {"load_model": "admittance"}, {"frequency": 60}])
def test_the_script_runs_on_its_own_and_reproduces_the_numbers(tmp_path, settings):
    script, found = exported(WHOLE_NETWORK, **settings)
    path = tmp_path / "script.dss"
    path.write_text(script, encoding="utf-8")
    dss = opendssdirect.dss.NewContext()
    dss.Text.Command(f"redirect {path}")
    assert dss.Solution.Converged()
    for row, (vm, va) in enumerate(zip(*columns_of_buses(found), strict=True)):
        dss.Circuit.SetActiveBus(f"b{row}")
        volts = np.array(dss.Bus.PuVoltage()).view(complex)
        phasor = (volts[0] + A * volts[1] + A**2 * volts[2]) / 3
        # In per unit of our own nominal voltages, which the script tells the engine.
        assert abs(phasor) == approx(vm, abs=1e-8)
        assert np.rad2deg(np.angle(phasor)) == approx(va, abs=1e-6)


def columns_of_buses(found: Any) -> tuple[Any, Any]:
    table = columns(found, "Bus")
    return table["vm_pu"], table["va_degree"]


def test_the_script_has_the_generators_that_are_at_their_limits():
    elements = at_20_kv(d1=load("b2"), g1=element("Generator", **GENERATOR))
    script, found = exported(elements, enforce_q_lims=True)
    dss = opendssdirect.dss.NewContext()
    dss.Text.Commands(script)
    dss.Circuit.SetActiveBus("b1")
    expected = columns(found, "Generator")["vm_pu"][0]
    assert dss.Bus.puVmagAngle()[0] == approx(expected, abs=1e-8)


HOSTILE = [
    'a "quoted" name', "it's", "two\nlines", "carriage\rreturn\nNew Load.x bus1=b1 kw=1e9",
    "// comment", "! comment", "/* block", "*/", "~ kw=1e9", "Größe Ω 変電所", "a=b,c|[d](e)",
    "redirect /etc/passwd", "\u2028clear", "x" * 300,
]  # fmt: skip


def test_names_are_never_a_command():
    """Hostile ids and names change no number, and no number of the script."""
    plain = {**at_20_kv(d1=load("b2")), "s1": element("Static Generator", bus="b2", p_mw=1)}
    expected = columns(solve(plain, solver="opendss"), "Bus")["vm_pu"]
    for word in HOSTILE:
        ids = {id_: f"{id_} {word}" for id_ in plain}
        renamed = {}
        for id_, each in plain.items():
            parameters = {
                k: ids.get(v, v) if k != "name" else v for k, v in each["parameters"].items()
            }
            renamed[ids[id_]] = {"typ": each["typ"], "name": word, "parameters": parameters}
        script, found = exported(renamed)
        assert (columns(found, "Bus")["vm_pu"] == expected).all()
        dss = opendssdirect.dss.NewContext()
        dss.Text.Commands(script)
        dss.Circuit.SetActiveBus("b1")
        assert dss.Bus.puVmagAngle()[0] == approx(expected[1], abs=1e-8)


# what is supplied and what is supported


def test_only_what_is_supplied_is_made():
    """b1 ── b2, and b3 ── b4 (a load) without a source"""
    elements = at_20_kv(b3=bus(20), b4=bus(20), l2=cable("b3", "b4"), d1=load("b4"), d2=load("b2"))
    script, found = exported(elements)
    assert "load.d1" in script
    assert "load.d0 " not in script
    assert "line.l1 " not in script
    assert np.isnan(columns(found, "Load")["p_mw"]).tolist() == [True, False]
    assert np.isnan(columns(found, "Bus")["vm_pu"]).tolist() == [False, False, True, True]


@pytest.mark.parametrize("model", ["balanced", "unbalanced"])
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.typ)
def test_every_kind_is_translated_or_refused_with_a_reason(kind, model):
    support = ENGINES["opendss"].support[model][kind]
    assert support.state in ("derived", "translated", "unsupported")
    assert support.note


def test_a_kind_that_opendss_lacks_is_refused_by_element():
    """One problem per element, before anything is built."""
    svc = {"x_l_ohm": 1, "x_cvar_ohm": -10, "set_vm_pu": 1, "thyristor_firing_angle_degree": 90}
    elements = at_20_kv(v1=element("SVC", bus="b2", **svc), v2=element("SVC", bus="b1", **svc))
    asked, network = decoded(elements, solver="opendss")
    with pytest.raises(ProblemError) as refused:
        ENGINES.admit(network, asked)
    assert [(p.kind, p.element) for p in refused.value.problems] == [
        ("unsupported", "v1"), ("unsupported", "v2"),
    ]  # fmt: skip
    assert "pandapower" in refused.value.problems[0].message


def test_what_the_engine_does_not_take_is_told_of_its_element(monkeypatch):
    """A command of a load that the engine refuses names the load as its author did."""
    elements = at_20_kv(d1={**load("b2"), "name": "Village"})
    asked, network = decoded(elements, solver="opendss")
    with ENGINES["opendss"].build(network, Topology(network), asked) as model:
        part = next(part for part in model.circuit.parts if part.names == ["load.d0"])
        part.commands[0] = part.commands[0].replace("kw=3000.0", "kw=three")
        with pytest.raises(ProblemError, match="Load “Village” has values that OpenDSS"):
            model.power_flow()


def test_a_bus_of_another_nominal_voltage_has_the_same_kilovolts():
    """grid ─ b1 ── b2 (20 kV) ── b3 (20 or 21 kV) ─ load"""
    kv = []
    for vn_kv in (20, 21):
        network = at_20_kv(b3=bus(vn_kv), l2=cable("b2", "b3"), d1=load("b3"))
        found = solve(network, solver="opendss")
        assert bool(found.warnings) is (vn_kv == 21)
        kv.append(columns(found, "Bus")["vm_pu"][2] * vn_kv)
    assert kv[1] == approx(kv[0], rel=1e-9)


def test_a_generator_holds_its_voltage_beside_a_grid_behind_its_impedance():
    """grid 1.02 pu ─ Z ─ b1 ── b2 (generator 1.5 MW, 1.01 pu; load)

    The same impedance said as one: pandapower's ideal grid behind an Impedance.
    """
    short_circuit = {"s_sc_max_mva": 500, "rx_max": 0.1, "x0x_max": 1.0, "r0x0_max": 0.1}
    generator = element("Generator", bus="b2", p_mw=1.5, vm_pu=1.01)
    behind = at_20_kv(g=generator, d1=load("b2"))
    behind["grid"]["parameters"] |= short_circuit
    found = columns(solve(behind, solver="opendss", source_impedance=True), "Bus")

    x_pu = 1.1 / 500 * 100 / np.hypot(1, 0.1)
    said = at_20_kv(
        g=generator, d1=load("b2"), b0=bus(20),
        z=element("Impedance", from_bus="b0", to_bus="b1", sn_mva=100, rft_pu=0.1 * x_pu,
                  xft_pu=x_pu),
    )  # fmt: skip
    said["grid"]["parameters"]["bus"] = "b0"
    expected = columns(solve(said, solver="pandapower"), "Bus")
    for column in ("vm_pu", "va_degree"):
        assert found[column] == approx(expected[column][:2], abs=1e-6)
