"""OpenDSS as an engine: each kind against the engine driven by hand, in its own words."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from bricks import bus, cable, columns, element, grid, load, solve, transformer

from opendss_context import opendssdirect

A = np.exp(2j * np.pi / 3)
#: Sources of 1e11 MVA: they hold their voltages to 1e-10 under what is drawn here.
SOURCE = "new circuit.hand bus1=b1 basekv=20 pu=1.02 angle=10 r1=0 x1=4e-9 r0=0 x0=4e-9"
SOURCE_110 = "new circuit.hand bus1=b1 basekv=110 pu=1.02 angle=10 r1=0 x1=1e-7 r0=0 x0=1e-7"
#: 4 km of `cable`.
CABLE = "new line.l bus1=b1 bus2=b2 r1=0.2 x1=0.12 r0=0.2 x0=0.12 c1=200 c0=200 length=4 units=km"
#: A load keeps its power at any voltage, as ours do.
CONSTANT = "vminpu=0 vmaxpu=1000"
LOAD = f"new load.d bus1=b2 kv=20 kw=3000 kvar=1000 {CONSTANT}"

Voltages = dict[str, complex]


@pytest.fixture(scope="module")
def by_hand() -> Callable[..., Voltages]:
    """Solves commands; returns the buses' voltages to earth [V], positive sequence."""
    dss: Any = opendssdirect.dss.NewContext()

    def run(*commands: str, frequency: float = 50) -> Voltages:
        dss.Text.Commands([
            "clear", f"set defaultbasefrequency={frequency}", *commands,
            "set tolerance=1e-13 maxiterations=1000", "solve",
        ])  # fmt: skip
        assert dss.Solution.Converged()
        volts = np.array(dss.Circuit.YNodeVArray()).view(complex)
        nodes = dict(zip(map(str.lower, dss.Circuit.YNodeOrder()), volts, strict=True))
        names = {node.split(".")[0] for node in nodes}
        return {
            name: (nodes[f"{name}.1"] + A * nodes[f"{name}.2"] + A**2 * nodes[f"{name}.3"]) / 3
            for name in names
        }

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
    found = columns(solve(elements, solver="opendss", consider_line_temperature=warm), "Bus")
    hand = by_hand(*commands)
    ids = [id_ for id_, each in elements.items() if each["typ"] == "Bus"]
    for row, id_ in enumerate(ids):
        if id_ not in hand:
            continue
        kv = elements[id_]["parameters"]["vn_kv"]
        ours = found["vm_pu"][row] * np.exp(1j * np.deg2rad(found["va_degree"][row]))
        # The rounding of both solutions, their sources' drops and the angle's scale.
        assert abs(ours - hand[id_] * np.sqrt(3) / kv / 1e3) < 1e-9
    assert sum(id_ in hand for id_ in ids) >= 2
