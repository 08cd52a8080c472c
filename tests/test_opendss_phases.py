"""OpenDSS with three unequal phases: against the engine driven by hand, and against pandapower."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
from bricks import ENGINES, bus, cable, columns, decoded, element, grid, load, solve, transformer
from hand import Hand
from pandapower.pf.runpp_3ph import runpp_3ph
from pytest import approx

from electrisim.problems import ProblemError
from opendss_context import opendssdirect

#: Sources of 1e11 MVA: they hold all phases to 1e-10 under what is drawn here.
SOURCE = "new circuit.hand bus1=b1 basekv=20 pu=1.02 r1=0 x1=4e-9 r0=0 x0=4e-9"
SOURCE_110 = "new circuit.hand bus1=b1 basekv=110 pu=1.02 r1=0 x1=1e-7 r0=0 x0=1e-7"
CONSTANT = "vminpu=0 vmaxpu=1000"
#: `transformer` without its no-load current.
UNIT = (
    f"kvs=[110 20] kvas=[40000 40000] %rs=[0.25 0.25] ppm_antifloat=0 xhl={np.sqrt(11**2 - 0.5**2)}"
)
NO_LOAD = {"pfe_kw": 0, "i0_percent": 0}
#: MVA of the phases.
UNEQUAL = (0.9 + 0.3j, 0.5 + 0.1j, 0.2 - 0.05j)


def line(from_bus: str, to_bus: str, **more: Any) -> dict[str, Any]:
    zero = {"r0_ohm_per_km": 0.6, "x0_ohm_per_km": 0.4, "c0_nf_per_km": 90}
    return cable(from_bus, to_bus, **{**zero, **more})


def dss_line(from_bus: str, to_bus: str) -> str:
    """4 km of `line`."""
    data = "r1=0.2 x1=0.12 r0=0.6 x0=0.4 c1=200 c0=90 length=4 units=km"
    return f"new line.{from_bus}{to_bus} bus1={from_bus} bus2={to_bus} {data}"


def unequal(at: str, times: float = 1.0, typ: str = "Asymmetric Load", **more: Any) -> Any:
    """UNEQUAL, so many times."""
    p = {f"p_{a}_mw": times * s.real for a, s in zip("abc", UNEQUAL, strict=True)}
    q = {f"q_{a}_mvar": times * s.imag for a, s in zip("abc", UNEQUAL, strict=True)}
    return element(typ, bus=at, **p, **q, **more)


def dss_unequal(
    at: str, times: float = 1.0, class_: str = "load", delta: bool = False
) -> list[str]:
    """UNEQUAL, so many times, as three elements of one phase."""
    how = "conn=delta kv=20" if delta else f"conn=wye kv={20 / np.sqrt(3)}"
    nodes = ("1.2", "2.3", "3.1") if delta else ("1", "2", "3")
    return [
        f"new {class_}.{class_[0]}{node[0]} phases=1 bus1={at}.{node} {how} "
        f"kw={1e3 * times * s.real} kvar={1e3 * times * s.imag} {CONSTANT}"
        for node, s in zip(nodes, UNEQUAL, strict=True)
    ]


def at_20_kv(**more: Any) -> dict[str, Any]:
    """grid (1.02 pu) b1 ── 4 km ── b2 ─ …"""
    ends = {"b1": bus(20), "b2": bus(20)}
    return {"grid": grid("b1", vm_pu=1.02), **ends, "l1": line("b1", "b2"), **more}


def at_110_kv(**more: Any) -> dict[str, Any]:
    """grid (1.02 pu) b1 ─T1─ b2 (20 kV) ── 4 km ── b3 (five times UNEQUAL)"""
    buses = {"b1": bus(110), "b2": bus(20), "b3": bus(20)}
    parts = {"grid": grid("b1", vm_pu=1.02), **buses, "l1": line("b2", "b3")}
    return {**parts, "a1": unequal("b3", 5), **more}


ON_LINE = [SOURCE, dss_line("b1", "b2")]
BEHIND = [SOURCE_110, dss_line("b2", "b3"), *dss_unequal("b3", 5)]

#: Our elements, and the same network as OpenDSS' own users would write it.
ALIKE: dict[str, tuple[dict[str, Any], list[str]]] = {
    "loads of one phase": (
        at_20_kv(a1=unequal("b2")), [*ON_LINE, *dss_unequal("b2")]
    ),
    "loads between two phases": (
        at_20_kv(a1=unequal("b2", type="delta")), [*ON_LINE, *dss_unequal("b2", delta=True)]
    ),
    "generation of one phase": (
        at_20_kv(y1=unequal("b2", 2, "Asymmetric Static Generator", scaling=0.5)),
        [*ON_LINE, *dss_unequal("b2", class_="generator")],
    ),
    "loads in wye and in delta, with shares, beside unequal ones": (
        at_20_kv(a1=unequal("b2"), d1=load("b2", 1, 0.5, type="wye", const_z_p_percent=40),
                 d2=load("b2", 2, 0.5, type="delta", const_i_q_percent=50)),
        [*ON_LINE, *dss_unequal("b2"),
         f"new load.w bus1=b2 kv=20 kw=1000 kvar=500 model=8 zipv=[.4 0 .6 0 0 1 0] {CONSTANT}",
         "new load.d bus1=b2 kv=20 kw=2000 kvar=500 conn=delta model=8 "
         f"zipv=[0 0 1 0 .5 .5 0] {CONSTANT}"],
    ),
    "what knows only its sum, beside unequal loads": (
        at_20_kv(a1=unequal("b2"), s1=element("Static Generator", bus="b2", p_mw=1, q_mvar=0.2),
                 m1=element("Motor", bus="b2", pn_mech_mw=0.8, cos_phi=0.8),
                 e1=element("Storage", bus="b2", p_mw=0.5),
                 c1=element("Capacitor", bus="b2", q_mvar=-0.5),
                 r1=element("Shunt Reactor", bus="b2", q_mvar=0.2),
                 w1=element("Ward", bus="b2", ps_mw=0.1, qs_mvar=0, pz_mw=0.2, qz_mvar=0)),
        [*ON_LINE, *dss_unequal("b2"),
         f"new generator.s bus1=b2 kv=20 kw=1000 kvar=200 model=1 {CONSTANT}",
         f"new load.m bus1=b2 kv=20 kw=800 kvar=600 {CONSTANT}",
         f"new load.e bus1=b2 kv=20 kw=600 kvar=0 {CONSTANT}",
         "new capacitor.c bus1=b2 kv=20 kvar=500", "new reactor.r bus1=b2 kv=20 kvar=200",
         f"new load.z bus1=b2 kv=20 kw=200 kvar=0 model=2 {CONSTANT}"],
    ),
    "a line with leakage, of which the zero sequence has less": (
        # Half of 4 km at either end: 60 µS to earth, and 40 µS per branch of a delta.
        at_20_kv(l1=line("b1", "b2", g_us_per_km=90, g0_us_per_km=30), a1=unequal("b2")),
        [*ON_LINE, *dss_unequal("b2"),
         *(f"new reactor.{b}e bus1={b} r={1 / 60e-6} x=0" for b in ("b1", "b2")),
         *(f"new reactor.{b}p bus1={b} conn=delta r={1 / 40e-6} x=0" for b in ("b1", "b2"))],
    ),
    "a Dyn11 transformer": (
        at_110_kv(t1=transformer("b1", "b2", **NO_LOAD, vector_group="Dyn11")),
        [*BEHIND, f"new transformer.t buses=[b1 b2] conns=[delta wye] leadlag=lead {UNIT}"],
    ),
    "a Dyn1 transformer with its star point earthed through 2 Ω": (
        at_110_kv(t1=transformer("b1", "b2", **NO_LOAD, vector_group="Dyn1", xn_ohm=2)),
        [*BEHIND, f"new transformer.t buses=[b1 b2.1.2.3.4] conns=[delta wye] {UNIT}",
         "new reactor.n phases=1 bus1=b2.4 r=0 x=2"],
    ),
    "a YNyn0 transformer with a tap off neutral": (
        at_110_kv(t1=transformer("b1", "b2", **NO_LOAD, vector_group="YNyn0", tap_side="hv",
                                 tap_neutral=0, tap_pos=-3, tap_step_percent=1.5)),
        [*BEHIND, f"new transformer.t buses=[b1 b2] conns=[wye wye] taps=[0.955 1] {UNIT}"],
    ),
    "a YNd1 transformer, behind which only cables know the earth": (
        {**at_110_kv(t1=transformer("b1", "b2", **NO_LOAD, vector_group="YNd1")),
         "a1": unequal("b3", 5, type="delta")},
        [*BEHIND[:2], *dss_unequal("b3", 5, delta=True),
         f"new transformer.t buses=[b1 b2] conns=[wye delta] {UNIT}"],
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def by_hand() -> Any:
    dss: Any = opendssdirect.dss.NewContext()

    def run(*commands: str) -> dict[str, complex]:
        """Solves commands; returns the node voltages [V]."""
        options = ["set tolerance=1e-13 maxiterations=1000", "solve"]
        dss.Text.Commands(["clear", "set defaultbasefrequency=50", *commands, *options])
        assert dss.Solution.Converged()
        volts = np.array(dss.Circuit.YNodeVArray()).view(complex)
        return dict(zip(map(str.lower, dss.Circuit.YNodeOrder()), volts, strict=True))

    return run


def in_phases(elements: dict[str, Any], **settings: Any) -> Any:
    return solve(elements, solver="opendss", mode="unbalanced", **settings)


def phasors(found: Any, typ: str, magnitude: str, angle: str) -> Any:
    """Phasors of the three phases, shape (n, 3)."""
    table = columns(found, typ)
    return np.stack(
        [
            table[magnitude.replace("*", a)] * np.exp(1j * np.deg2rad(table[angle.replace("*", a)]))
            for a in "abc"
        ],
        axis=1,
    )


@pytest.mark.parametrize("case", ALIKE)
def test_voltages_of_all_phases_are_those_of_the_engine_driven_by_hand(by_hand, case):
    elements, commands = ALIKE[case]
    ours = phasors(in_phases(elements), "Bus", "vm_*_pu", "va_*_degree")
    hand = by_hand(*commands)
    buses = [id_ for id_, each in elements.items() if each["typ"] == "Bus"]
    # Our source drops 1e-6 pu of 100 MVA in the negative and the zero sequence; behind YNd an
    # earth of 0.1 ppm of the rating keeps the delta from floating.
    allowed = 1e-6 if "YNd" in case else 1e-7
    for row, id_ in enumerate(buses):
        kv = elements[id_]["parameters"]["vn_kv"]
        for phase in range(3):
            theirs = hand[f"{id_}.{phase + 1}"] * np.sqrt(3) / kv / 1e3
            assert abs(ours[row, phase] - theirs) < allowed


# pandapower's three-phase solver

#: A core whose zero sequence is its own.
ZERO = {
    "vk0_percent": 10, "vkr0_percent": 0.6,
    "mag0_percent": 80, "mag0_rx": 0.2, "si0_hv_partial": 0.7,
}  # fmt: skip
#: pandapower's external grid is ideal in the positive sequence only.
STIFF = {"s_sc_max_mva": 1e9, "rx_max": 0.1, "r0x0_max": 0.1, "x0x_max": 1.0}

ALSO_PANDAPOWER = {
    "wye": at_20_kv(a1=unequal("b2")),
    "delta": at_20_kv(a1=unequal("b2", type="delta")),
    **{
        group: at_110_kv(t1=transformer("b1", "b2", vector_group=group, **ZERO))
        for group in ("Dyn1", "Dyn5", "Dyn7", "Dyn11", "YNyn0", "YNyn6")
    },
    "taps": at_110_kv(
        t1=transformer("b1", "b2", vector_group="Dyn5", tap_side="lv", tap_neutral=0, tap_pos=2,
                       tap_step_percent=2, tap_changer_type="Ratio", parallel=2, **ZERO)
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", ALSO_PANDAPOWER)
def test_voltages_and_currents_of_all_phases_are_those_of_pandapower(case):
    elements = copy.deepcopy(ALSO_PANDAPOWER[case])
    elements["grid"]["parameters"] |= STIFF
    found = in_phases(elements)
    group = elements.get("t1", {}).get("parameters", {}).get("vector_group")
    if group:
        # Its three-phase solver takes the clock number from shift_degree alone.
        letters = group.rstrip("0123456789")
        more = {"vector_group": letters, "shift_degree": 30 * int(group[len(letters) :])}
        elements["t1"]["parameters"] |= more
    hand = Hand(elements)
    runpp_3ph(hand.net, tolerance_mva=1e-9, numba=False, max_iteration=100)
    for typ, table, columns_ in (
        ("Bus", "bus", ("vm_{}_pu", "va_{}_degree")),
        ("Line", "line", ("p_{}_from_mw", "q_{}_to_mvar", "i_{}_from_ka", "loading_{}_percent")),
        ("Transformer", "trafo", ("p_{}_hv_mw", "q_{}_lv_mvar", "i_{}_hv_ka")),
    ):
        frame = hand.net[f"res_{table}_3ph"]
        for pattern in columns_ if len(frame) else ():
            for a in "abc":
                ours, theirs = columns(found, typ)[pattern.format(a)], frame[pattern.format(a)]
                # Its solver stops at 3e-8 MVA; ours differ by 1e-7 pu, 1e-5° and 1e-5 MVA.
                assert ours == approx(theirs.to_numpy(), rel=1e-5, abs=3e-5)


def test_buses_tell_their_unbalance():
    """VUF = |V2|/|V1| (IEC 61000-2-2), by pandapower."""
    elements = at_20_kv(a1=unequal("b2"))
    elements["grid"]["parameters"] |= STIFF
    hand = Hand(copy.deepcopy(elements))
    runpp_3ph(hand.net, tolerance_mva=1e-9, numba=False)
    ours = columns(in_phases(elements), "Bus")["unbalance_percent"]
    assert ours == approx(hand.net.res_bus_3ph["unbalance_percent"].to_numpy(), abs=1e-4)


# what has no other judge


def test_a_generator_holds_the_positive_sequence_and_leaves_the_others_alone():
    """b1 ── 4 km ── b2 (UNEQUAL; a generator of 1 MW at 1.01 pu)"""
    generator = element("Generator", bus="b2", p_mw=1, vm_pu=1.01)
    found = in_phases(at_20_kv(a1=unequal("b2"), g1=generator))
    a = np.exp(2j * np.pi / 3)
    voltage = phasors(found, "Bus", "vm_*_pu", "va_*_degree")[1]
    assert abs(voltage @ [1, a, a**2]) / 3 == approx(1.01, abs=1e-8)
    table = columns(found, "Generator")
    power = np.array([table[f"p_{x}_mw"][0] + 1j * table[f"q_{x}_mvar"][0] for x in "abc"])
    assert power.sum().real == approx(1, abs=1e-6)
    current = np.conj(power / voltage)
    positive = abs(current @ [1, a, a**2])
    # 1e4 pu of 100 MVA leave 1e-6 pu of the unbalance, a ten-thousandth of the current here.
    assert abs(current.sum()) < 1e-4 * positive
    assert abs(current @ [1, a**2, a]) < 1e-4 * positive


def test_equal_phases_give_the_balanced_answer():
    """The same network with equal loads, balanced and in phases."""
    elements = at_110_kv(
        t1=transformer("b1", "b2", vector_group="Dyn5", **ZERO), a1=load("b3", 5, 1)
    )
    balanced = columns(solve(elements, solver="opendss"), "Bus")
    phases = columns(in_phases(elements), "Bus")
    for name in ("vm_pu", "va_degree"):
        assert phases[name] == approx(balanced[name], abs=1e-7)
    assert phases["unbalance_percent"] == approx(0, abs=1e-6)


def test_an_external_grid_has_its_impedances_in_all_sequences():
    """1 MW in phase a at a bus of 300 MVA: I = S/V, V = E - (2·Z1 + Z0)/3·I, by hand.

    Z1 = c·Un²/S″k, c = 1.1; Z0 by x0x and r0x0.
    """
    data = {"s_sc_max_mva": 300, "rx_max": 0.1, "r0x0_max": 0.2, "x0x_max": 1.5}
    elements = {
        "grid": grid("b1", **data), "b1": bus(20),
        "a1": element("Asymmetric Load", bus="b1", p_a_mw=1),
    }  # fmt: skip
    found = in_phases(elements, source_impedance=True)
    x1 = 1.1 * 20**2 / 300 / np.hypot(1, 0.1)
    z1, z0 = x1 * (0.1 + 1j), 1.5 * x1 * (0.2 + 1j)
    emf = voltage = 20 / np.sqrt(3)
    for _ in range(50):
        voltage = emf - (2 * z1 + z0) / 3 * np.conj(1 / voltage)
    table = columns(found, "Bus")
    assert table["vm_a_pu"][0] == approx(abs(voltage) / emf, abs=1e-9)


# refusals


def refusal(elements: dict[str, Any], **settings: Any) -> tuple[str, str | None, str | None]:
    """(kind, element, field) of the first reason why this is refused before it is built."""
    asked, network = decoded(elements, solver="opendss", mode="unbalanced", **settings)
    with pytest.raises(ProblemError) as refused:
        ENGINES.admit(network, asked)
    problem = refused.value.problems[0]
    return problem.kind, problem.element, problem.field


def test_a_line_without_zero_sequence_is_refused():
    elements = at_20_kv(a1=unequal("b2"))
    del elements["l1"]["parameters"]["x0_ohm_per_km"]
    assert refusal(elements) == ("missing-parameter", "l1", "x0_ohm_per_km")


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ({}, ("missing-parameter", "t1", "vector_group")),
        ({"vector_group": "Yzn5"}, ("unsupported", "t1", "vector_group")),
        ({"vector_group": "Dyn5", "shift_degree": 0}, ("unsupported", "t1", "shift_degree")),
        ({"vector_group": "YNyn0", "tap_side": "hv", "tap_neutral": 0, "tap_pos": 2,
          "tap_step_percent": 2, "tap_step_degree": 60}, ("unsupported", "t1", "shift_degree")),
        ({"vector_group": "Dyn5", "vk0_percent": 10}, ("missing-parameter", "t1", "vkr0_percent")),
        ({"vector_group": "Dyn5", **ZERO, "mag0_rx": None}, ("missing-parameter", "t1", "mag0_rx")),
    ],
)  # fmt: skip
def test_a_transformer_that_no_windings_represent_is_refused(more, expected):
    assert refusal(at_110_kv(t1=transformer("b1", "b2", **more))) == expected


def test_reactive_limits_are_refused():
    assert refusal(at_20_kv(), enforce_q_lims=True) == ("unsupported", None, "enforce_q_lims")


def test_a_kind_without_zero_sequence_is_refused_by_element():
    wire = element("Impedance", from_bus="b1", to_bus="b2", sn_mva=1, rft_pu=0.1, xft_pu=0.1)
    assert refusal(at_20_kv(z1=wire)) == ("unsupported", "z1", None)
