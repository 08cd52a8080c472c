"""Elements of one phase, of two, and told by conductor: against the engine driven by hand.

The networks hang on a 12.47 kV grid, or behind one of the elements in question.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from bricks import bus, columns, element, grid, solve
from pytest import approx

from opendss_context import opendssdirect

#: A source of 1e11 MVA, which holds all phases to 1e-10 under what is drawn here.
SOURCE = "new circuit.hand bus1=b1 basekv=12.47 pu=1.02 r1=0 x1=1.5e-9 r0=0 x0=1.5e-9"
CONSTANT = "vminpu=0 vmaxpu=1000 vlowpu=0"
GENERATING = "vminpu=0 vmaxpu=1000"
OWN_KV = 12.47 / np.sqrt(3)
#: Ω and nF per kilometre of three conductors that are all different.
R = [[0.29], [0.1, 0.3], [0.09, 0.08, 0.31]]
X = [[0.67], [0.31, 0.65], [0.24, 0.26, 0.66]]
C = [[9.4], [-3.0, 9.9], [-1.2, -2.0, 9.1]]
MATRICES = {"r_matrix_ohm_per_km": R, "x_matrix_ohm_per_km": X, "c_matrix_nf_per_km": C}
DSS_MATRICES = " ".join(
    f"{name}=({' | '.join(' '.join(map(str, row)) for row in matrix)})"
    for name, matrix in (("rmatrix", R), ("xmatrix", X), ("cmatrix", C))
)


def line(from_bus: str, to_bus: str, length_km: float = 2.0, **more: Any) -> dict[str, Any]:
    """By matrices, unless other values are given."""
    values = more if "r_ohm_per_km" in more else {**MATRICES, **more}
    return element("Line", from_bus=from_bus, to_bus=to_bus, length_km=length_km, **values)


def on_line(**more: Any) -> dict[str, Any]:
    """grid (1.02 pu) b1 ── 2 km by matrices ── b2 ─ …"""
    buses = {"b1": bus(12.47), "b2": bus(12.47)}
    return {"grid": grid("b1", vm_pu=1.02), **buses, "l1": line("b1", "b2"), **more}


def load(at: str, phases: str, p_mw: float, q_mvar: float, **more: Any) -> dict[str, Any]:
    return element("Load", bus=at, phases=phases, p_mw=p_mw, q_mvar=q_mvar, **more)


def unit(hv_bus: str, lv_bus: str, **more: Any) -> dict[str, Any]:
    """50 kVA, 7.2/0.24 kV, R 1.2 %, X 1.7 %, without no-load current"""
    plate = {
        "sn_mva": 0.05, "vn_hv_kv": 7.2, "vn_lv_kv": 0.24, "vk_percent": np.hypot(1.2, 1.7),
        "vkr_percent": 1.2, "pfe_kw": 0, "i0_percent": 0,
    }  # fmt: skip
    return element("Transformer", hv_bus=hv_bus, lv_bus=lv_bus, **{**plate, **more})


DSS_LINE = f"new line.l1 bus1=b1 bus2=b2 {DSS_MATRICES} length=2 units=km"
ON_LINE = [SOURCE, DSS_LINE]
PLATE = "kvs=[7.2 .24] kvas=[50 50] %rs=[.6 .6] xhl=1.7 ppm_antifloat=0"

#: Our elements, and the same network as OpenDSS' own users would write it.
ALIKE: dict[str, tuple[dict[str, Any], list[str]]] = {
    "loads to earth and between phases": (
        on_line(d1=load("b2", "b", 0.4, 0.2), d2=load("b2", "ca", 0.3, -0.1),
                d3=load("b2", "abc", 0.6, 0.1, type="delta"), d4=load("b2", "abc", 0.3, 0.1)),
        [*ON_LINE, f"new load.d1 phases=1 bus1=b2.2 kv={OWN_KV} kw=400 kvar=200 {CONSTANT}",
         f"new load.d2 phases=1 bus1=b2.3.1 conn=delta kv=12.47 kw=300 kvar=-100 {CONSTANT}",
         f"new load.d3 bus1=b2 conn=delta kv=12.47 kw=600 kvar=100 {CONSTANT}",
         f"new load.d4 bus1=b2 kv=12.47 kw=300 kvar=100 {CONSTANT}"],
    ),
    "loads that follow the voltage": (
        on_line(d1=load("b2", "a", 0.4, 0.2, const_z_p_percent=100, const_z_q_percent=100),
                d2=load("b2", "bc", 0.3, 0.1, const_i_p_percent=100, const_i_q_percent=100)),
        [*ON_LINE, f"new load.d1 phases=1 bus1=b2.1 kv={OWN_KV} kw=400 kvar=200 model=2 {CONSTANT}",
         "new load.d2 phases=1 bus1=b2.2.3 conn=delta kv=12.47 kw=300 kvar=100 model=5 "
         f"{CONSTANT}"],
    ),
    "generation, storage and sun of one phase or two": (
        on_line(s1=element("Static Generator", bus="b2", phases="c", p_mw=0.5, q_mvar=0.1),
                s2=element("Static Generator", bus="b2", phases="ab", p_mw=0.2, q_mvar=0),
                e1=element("Storage", bus="b2", phases="b", p_mw=0.3, q_mvar=0.1),
                e2=element("Storage", bus="b2", phases="ca", p_mw=-0.2, q_mvar=0),
                p1=element("PVSystem", bus="b2", phases="a", pmpp_kw=200, kva=300, kvar=50),
                p2=element("PVSystem", bus="b2", phases="bc", pmpp_kw=100)),
        [*ON_LINE,
         f"new generator.s1 phases=1 bus1=b2.3 kv={OWN_KV} kw=500 kvar=100 {GENERATING}",
         f"new generator.s2 phases=1 bus1=b2.1.2 conn=delta kv=12.47 kw=200 kvar=0 {GENERATING}",
         f"new load.e1 phases=1 bus1=b2.2 kv={OWN_KV} kw=300 kvar=100 {CONSTANT}",
         f"new generator.e2 phases=1 bus1=b2.3.1 conn=delta kv=12.47 kw=200 kvar=0 {GENERATING}",
         f"new generator.p1 phases=1 bus1=b2.1 kv={OWN_KV} kw=200 kvar=50 {GENERATING}",
         f"new generator.p2 phases=1 bus1=b2.2.3 conn=delta kv=12.47 kw=100 kvar=0 {GENERATING}"],
    ),
    "capacitors and reactors of one phase or two": (
        on_line(c1=element("Capacitor", bus="b2", phases="b", q_mvar=-0.3),
                c2=element("Capacitor", bus="b2", phases="ca", q_mvar=-0.2, vn_kv=13),
                r1=element("Shunt Reactor", bus="b2", phases="a", q_mvar=0.2),
                h1=element("Shunt", bus="b2", phases="bc", q_mvar=0.1, p_mw=0.1)),
        [*ON_LINE, f"new capacitor.c1 phases=1 bus1=b2.2 kv={OWN_KV} kvar=300",
         "new capacitor.c2 phases=1 bus1=b2.3 bus2=b2.1 kv=13 kvar=200",
         f"new reactor.r1 phases=1 bus1=b2.1 kv={OWN_KV} kvar=200",
         "new load.h1 phases=1 bus1=b2.2.3 conn=delta kv=12.47 kw=100 kvar=100 model=2 "
         f"{CONSTANT}"],
    ),
    "lines of two conductors and of one": (
        on_line(b3=bus(12.47), b4=bus(12.47),
                l2=line("b2", "b3", phases="bc", r_matrix_ohm_per_km=R[:2],
                        x_matrix_ohm_per_km=X[:2], c_matrix_nf_per_km=C[:2], parallel=2),
                l3=line("b3", "b4", phases="c", r_ohm_per_km=0.8, x_ohm_per_km=0.7, c_nf_per_km=8,
                        g_us_per_km=200, max_i_ka=0.2),
                d3=load("b3", "b", 0.5, 0.1), d4=load("b4", "c", 0.4, 0.1)),
        [*ON_LINE, "new line.l2 phases=2 bus1=b2.2.3 bus2=b3.2.3 length=1 units=km "
         "rmatrix=(.29 | .1 .3) xmatrix=(.67 | .31 .65) cmatrix=(37.6 | -12 39.6)",
         "new line.l3 phases=1 bus1=b3.3 bus2=b4.3 rmatrix=(.8) xmatrix=(.7) cmatrix=(8) length=2 "
         "units=km",
         *(f"new reactor.{b} phases=1 bus1={b}.3 r={1 / 200e-6} x=0" for b in ("b3", "b4")),
         f"new load.d3 phases=1 bus1=b3.2 kv={OWN_KV} kw=500 kvar=100 {CONSTANT}",
         f"new load.d4 phases=1 bus1=b4.3 kv={OWN_KV} kw=400 kvar=100 {CONSTANT}"],
    ),
    "a line whose matrices follow another order of its conductors": (
        on_line(b3=bus(12.47), d3=load("b3", "a", 0.5, 0.1),
                l2=line("b2", "b3", phases="ca", r_matrix_ohm_per_km=R[:2],
                        x_matrix_ohm_per_km=X[:2], c_matrix_nf_per_km=C[:2])),
        [*ON_LINE, "new line.l2 phases=2 bus1=b2.3.1 bus2=b3.3.1 length=2 units=km "
         "rmatrix=(.29 | .1 .3) xmatrix=(.67 | .31 .65) cmatrix=(9.4 | -3 9.9)",
         f"new load.d3 phases=1 bus1=b3.1 kv={OWN_KV} kw=500 kvar=100 {CONSTANT}"],
    ),
    "two conductors of a transposed line": (
        # On the diagonal (2·Z1 + Z0)/3, beside it (Z0 − Z1)/3.
        on_line(b3=bus(12.47), d3=load("b3", "b", 0.5, 0.1),
                l2=line("b2", "b3", phases="ab", r_ohm_per_km=0.2, x_ohm_per_km=0.3,
                        c_nf_per_km=12, r0_ohm_per_km=0.5, x0_ohm_per_km=1.2, c0_nf_per_km=6,
                        max_i_ka=0.3)),
        [*ON_LINE, "new line.l2 phases=2 bus1=b2.1.2 bus2=b3.1.2 length=2 units=km "
         "rmatrix=(.3 | .1 .3) xmatrix=(.6 | .3 .6) cmatrix=(10 | -2 10)",
         f"new load.d3 phases=1 bus1=b3.2 kv={OWN_KV} kw=500 kvar=100 {CONSTANT}"],
    ),
    "a line that is open at its far end": (
        on_line(b3=bus(12.47), l2=line("b2", "b3", 30.0), d2=load("b2", "a", 0.4, 0.1),
                k=element("Switch", bus="b3", element="l2", closed=False)),
        [*ON_LINE, f"new line.l2 bus1=b2 bus2=open {DSS_MATRICES} length=30 units=km",
         f"new load.d2 phases=1 bus1=b2.1 kv={OWN_KV} kw=400 kvar=100 {CONSTANT}"],
    ),
    "a single-phase transformer to earth with a tap, behind a pole with an impedance": (
        on_line(b3=bus(12.47), b4=bus(0.416), d4=load("b4", "b", 0.03, 0.01),
                k=element("Switch", bus="b2", element="b3", phases="c", z_ohm=2),
                t1=unit("b3", "b4", phases="c", lv_phases="b", tap_side="lv", tap_neutral=0,
                        tap_pos=3, tap_step_percent=0.625)),
        [*ON_LINE, f"new reactor.k phases=1 bus1=b2.3 bus2=b3.3 r={4 / 5**.5} x={2 / 5**.5}",
         f"new transformer.t1 phases=1 buses=[b3.3 b4.2] {PLATE} taps=[1 1.01875]",
         f"new load.d4 phases=1 bus1=b4.2 kv=.24 kw=30 kvar=10 {CONSTANT}"],
    ),
    "a single-phase transformer between phases, with the windings in opposition": (
        on_line(b4=bus(0.416), d4=load("b4", "a", 0.03, 0.01),
                t1=unit("b2", "b4", phases="bc", lv_phases="a", vn_hv_kv=12.47, shift_degree=180)),
        [*ON_LINE, "new transformer.t1 phases=1 windings=2 buses=[b2.2.3 b4.0.1] "
         "kvs=[12.47 .24] kvas=[50 50] %rs=[.6 .6] xhl=1.7 ppm_antifloat=0",
         f"new load.d4 phases=1 bus1=b4.1 kv=.24 kw=30 kvar=10 {CONSTANT}"],
    ),
    "a centre-tapped transformer with 120 V and 240 V loads": (
        # The three-winding data of 1.2 % and 1.7 % that EPRI's examples have.
        on_line(b4=bus(0.12 * np.sqrt(3)), d1=load("b4", "a", 0.01, 0.002),
                d2=load("b4", "b", 0.015, 0), d3=load("b4", "ab", 0.01, 0.005),
                t1=unit("b2", "b4", phases="b", lv_phases="ab", centre_tapped=True)),
        [*ON_LINE, "new transformer.t1 phases=1 windings=3 buses=[b2.2 b4.1.0 b4.0.2] "
         "kvs=[7.2 .12 .12] kvas=[50 50 50] %rs=[.6 1.2 1.2] xhl=2.04 xht=2.04 xlt=1.36 "
         "ppm_antifloat=0",
         f"new load.d1 phases=1 bus1=b4.1 kv=.12 kw=10 kvar=2 {CONSTANT}",
         f"new load.d2 phases=1 bus1=b4.2 kv=.12 kw=15 kvar=0 {CONSTANT}",
         f"new load.d3 phases=1 bus1=b4.1.2 conn=delta kv=.24 kw=10 kvar=5 {CONSTANT}"],
    ),
    "single-pole switches, one of them open": (
        on_line(b3=bus(12.47), d3=load("b3", "a", 0.5, 0.1), d2=load("b2", "b", 0.2, 0),
                d4=load("b3", "c", 0.2, 0),
                k1=element("Switch", bus="b2", element="b3", phases="a"),
                k2=element("Switch", bus="b2", element="b3", phases="c"),
                k3=element("Switch", bus="b2", element="b3", phases="b", closed=False)),
        [*ON_LINE, f"new load.d3 phases=1 bus1=b2.1 kv={OWN_KV} kw=500 kvar=100 {CONSTANT}",
         f"new load.d2 phases=1 bus1=b2.2 kv={OWN_KV} kw=200 kvar=0 {CONSTANT}",
         f"new load.d4 phases=1 bus1=b2.3 kv={OWN_KV} kw=200 kvar=0 {CONSTANT}"],
    ),
    "a grid of one phase": (
        {"grid": grid("b1", phases="b", vm_pu=1.01, va_degree=20), "b1": bus(12.47),
         "b2": bus(12.47), "l1": line("b1", "b2", phases="b", r_ohm_per_km=0.8, x_ohm_per_km=0.7,
                                      c_nf_per_km=8, max_i_ka=0.2),
         "d1": load("b2", "b", 0.6, 0.2)},
        [f"new circuit.hand phases=1 bus1=b1.2 basekv={OWN_KV} pu=1.01 angle=20 r1=0 x1=1.5e-9 "
         "r0=0 x0=1.5e-9",
         "new line.l1 phases=1 bus1=b1.2 bus2=b2.2 rmatrix=(.8) xmatrix=(.7) cmatrix=(8) length=2 "
         "units=km",
         f"new load.d1 phases=1 bus1=b2.2 kv={OWN_KV} kw=600 kvar=200 {CONSTANT}"],
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def by_hand() -> Any:
    dss: Any = opendssdirect.dss.NewContext()

    def run(*commands: str) -> dict[str, complex]:
        """Solves commands at 60 Hz; returns the node voltages [V]."""
        options = ["set tolerance=1e-13 maxiterations=1000", "solve"]
        dss.Text.Commands(["clear", "set defaultbasefrequency=60", *commands, *options])
        assert dss.Solution.Converged()
        volts = np.array(dss.Circuit.YNodeVArray()).view(complex)
        return dict(zip(map(str.lower, dss.Circuit.YNodeOrder()), volts, strict=True))

    return run


def in_phases(elements: dict[str, Any], **settings: Any) -> Any:
    return solve(elements, solver="opendss", mode="unbalanced", frequency=60, **settings)


def node_voltages(elements: dict[str, Any], found: Any) -> Iterator[tuple[str, float, complex]]:
    """(node as OpenDSS calls it, nominal volts, per unit) of what has a number."""
    table = columns(found, "Bus")
    buses = [id_ for id_, each in elements.items() if each["typ"] == "Bus"]
    for row, id_ in enumerate(buses):
        base = elements[id_]["parameters"]["vn_kv"] / np.sqrt(3)
        for number, a in enumerate("abc", start=1):
            vm, va = table[f"vm_{a}_pu"][row], table[f"va_{a}_degree"][row]
            if not np.isnan(vm):
                yield f"{id_}.{number}", 1e3 * base, vm * np.exp(1j * np.deg2rad(va))


@pytest.mark.parametrize("case", ALIKE)
def test_voltages_are_those_of_the_engine_driven_by_hand(by_hand, case):
    elements, commands = ALIKE[case]
    hand = by_hand(*commands)
    ours = list(node_voltages(elements, in_phases(elements)))
    compared = 0
    for node, base, pu in ours:
        # Behind closed poles the hand has one bus for two.
        theirs = hand.get(node, hand.get(node.replace("b3", "b2")))
        assert abs(pu - theirs / base) < 3e-7, node
        compared += node in hand
    assert compared == sum(not node.startswith("open") for node in hand)


NO_IRON, IRON = {"pfe_kw": 0, "i0_percent": 0}, {"pfe_kw": 0.4, "i0_percent": 1.5}


@pytest.mark.parametrize("model", ["t", "pi"])
@pytest.mark.parametrize("iron", [NO_IRON, IRON])
def test_three_single_phase_units_are_a_three_phase_bank(model, iron):
    """A YNyn0 transformer in thirds, with its tap.

    With iron the loads are equal: the zero sequence finds it in three cores, not in one of three
    limbs.
    """
    plate = {
        "vk_percent": 6, "vkr_percent": 1, "tap_side": "hv", "tap_neutral": 0, "tap_pos": -2,
        "tap_step_percent": 1.25, **iron,
    }  # fmt: skip
    powers = (0.2, 0.2, 0.2) if iron is IRON else (0.4, 0.1, 0.2)
    loads = {f"d{phase}": load("b3", phase, p, 0.1) for phase, p in zip("abc", powers, strict=True)}
    loads |= {"b3": bus(4.16), "d": load("b3", "bc", 0 if iron is IRON else 0.2, 0)}
    bank = element(
        "Transformer", hv_bus="b2", lv_bus="b3", sn_mva=1.5, vn_hv_kv=12.47, vn_lv_kv=4.16,
        vector_group="YNyn0", **{**plate, "pfe_kw": 3 * plate["pfe_kw"]},
    )  # fmt: skip
    units = {
        f"t{phase}": unit(
            "b2", "b3", phases=phase, sn_mva=0.5, vn_hv_kv=OWN_KV, vn_lv_kv=4.16 / np.sqrt(3),
            **plate,
        )
        for phase in "abc"
    }  # fmt: skip
    whole = in_phases(on_line(**loads, t=bank), trafo_model=model)
    parts = in_phases(on_line(**loads, **units), trafo_model=model)
    for a in "abc":
        for column in (f"vm_{a}_pu", f"va_{a}_degree"):
            ours, theirs = (columns(found, "Bus")[column] for found in (parts, whole))
            # Unequal lines leave a zero sequence of 1e-8; an angle is told in degrees.
            assert ours == approx(theirs, abs=2e-7 if column.startswith("vm") else 2e-5)
    of_units, of_bank = (columns(found, "Transformer") for found in (parts, whole))
    for row, a in enumerate("abc"):
        for column in (f"p_{a}_hv_mw", f"i_{a}_lv_ka", f"loading_{a}_percent"):
            assert of_units[column][row] == approx(of_bank[column][0], rel=1e-5)
    assert np.isnan(of_units["p_b_hv_mw"][0]) and np.isnan(of_units["i_c_lv_ka"][1])


def test_a_centre_tapped_transformer_has_its_no_load_current_at_the_high_side(by_hand):
    """0.4 kW and 1.5 % of 50 kVA: what a reactor across the high-voltage winding takes."""
    elements = on_line(
        b4=bus(0.24), d1=load("b4", "c", 0.01, 0), d2=load("b4", "bc", 0.01, 0),
        t1=unit("b2", "b4", phases="ca", vn_hv_kv=12.47, lv_phases="bc", centre_tapped=True,
                tap_side="hv", tap_neutral=0, tap_pos=1, tap_step_percent=2.5, **IRON),
    )  # fmt: skip
    # Z = V²/S*, at the tapped voltage.
    z = (12.47 * 1.025) ** 2 / (0.4e-3 - 1j * np.sqrt(0.75e-3**2 - 0.4e-3**2))
    hand = by_hand(
        *ON_LINE, "new transformer.t1 phases=1 windings=3 buses=[b2.3.1 b4.2.0 b4.0.3] "
        "kvs=[12.47 .12 .12] kvas=[50 50 50] taps=[1.025 1 1] %rs=[.6 1.2 1.2] xhl=2.04 xht=2.04 "
        "xlt=1.36 ppm_antifloat=0",
        f"new reactor.i phases=1 bus1=b2.3 bus2=b2.1 r={z.real} x={z.imag}",
        f"new load.d1 phases=1 bus1=b4.3 kv=.12 kw=10 kvar=0 {CONSTANT}",
        f"new load.d2 phases=1 bus1=b4.2.3 conn=delta kv=.24 kw=10 kvar=0 {CONSTANT}",
    )  # fmt: skip
    for node, base, pu in node_voltages(elements, in_phases(elements)):
        assert abs(pu - hand[node] / base) < 3e-7, node
