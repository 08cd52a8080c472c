"""Harmonics: on paper, against OpenDSS' own mode driven by hand, and on both builds of the engine.

The paper cases solve a ladder of a few impedances with complex numbers. Both sides are linear
solutions in doubles; they agree to 1e-9, the rounding of the power flow's currents.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bricks import (
    ENGINES,
    Elements,
    bus,
    cable,
    columns,
    element,
    grid,
    load,
    transformer,
)
from pytest import approx

from electrisim.problems import ProblemError
from electrisim.results import Answer
from electrisim.spectra import NAMED, NotASpectrumError, checked, from_csv, relative
from electrisim.studies import STUDIES
from electrisim.wire import answer_request, documented
from opendss_context import opendssdirect

PAYLOADS = Path(__file__).parents[3] / "shared/contract/payloads"
SAME = 1e-9
W = 2 * np.pi * 50


def analyse(elements: Elements, **settings: Any) -> Answer:
    """The answer of a harmonic analysis."""
    body = {"simulationType": "harmonics", "elements": elements, "settings": settings}
    asked, network = documented.decode(json.dumps(body).encode(), {})
    return STUDIES["harmonics"].run(network, asked, ENGINES)


def orders(found: Answer, key: str, quantity: str) -> dict[float, list[float]]:
    return dict(zip(found.beside["orders"], found.beside["harmonics"][key][quantity], strict=True))


def refused(elements: Elements, **settings: Any) -> list[Any]:
    with pytest.raises(ProblemError) as caught:
        analyse(elements, **settings)
    return caught.value.problems


SIX_PULSE = [[1, 100, 0], [5, 20, 30], [7, 14, -20], [11, 9, 0]]


def feeder(**more: Any) -> Elements:
    """grid (100 MVA, R/X 0.1) ── b1 ── 4 km ── b2 ── 3 MW + 1 Mvar, a six-pulse rectifier"""
    found = {
        "g": grid("b1", s_sc_max_mva=100, rx_max=0.1),
        "b1": bus(20),
        "b2": bus(20),
        "l": cable("b1", "b2"),
        "d": load("b2", spectrum_points=SIX_PULSE),
    }
    return {**found, **more}


def grid_ohm(h: float) -> complex:
    """Z = 1.1·Un²/S″k, its reactance in proportion to the frequency."""
    x = 1.1 * 400 / 100 / np.hypot(1, 0.1)
    return complex(0.1 * x, h * x)


def ladder(h: float, *beside: complex) -> tuple[complex, complex]:
    """What b2 meets, and what share of its voltage b1 has: grid ─┬─ cable ─┬─ `beside` [S]."""
    y = 1j * h * W * 800e-9 / 2
    at_b1 = 1 / (1 / grid_ohm(h) + y)
    line = complex(0.8, h * 0.48)
    z = 1 / (1 / (at_b1 + line) + y + sum(beside))
    return z, at_b1 / (at_b1 + line)


def drawn_ka(found: Answer, mva: complex, row: int = 1) -> complex:
    """√3 times the current of a constant power at a bus."""
    at = columns(found, "Bus")
    volts = 20 * at["vm_pu"][row] * np.exp(1j * np.deg2rad(at["va_degree"][row]))
    return complex(np.conj(mva / volts))


@pytest.mark.parametrize("binding", ["opendssdirect", "py_dss_interface"])
def test_a_current_source_meets_the_impedance_of_its_order(binding):
    """V(h) = I(h)·Z(h), at both buses, with magnitude and angle."""
    found = analyse(feeder(), neglect_load_y=True, binding=binding)
    assert found.beside["orders"] == [5, 7, 11]
    kv, degree = orders(found, "busbars", "vm_kv"), orders(found, "busbars", "va_degree")
    i1 = drawn_ka(found, 3 + 1j)
    for _, percent, angle, h in ((*point, point[0]) for point in SIX_PULSE[1:]):
        z, share = ladder(h)
        turned = np.exp(1j * (np.deg2rad(angle) + h * np.angle(i1)))
        v2 = -percent / 100 * abs(i1) * turned * z
        assert kv[h] == approx([abs(v2 * share), abs(v2)], rel=SAME)
        assert degree[h] == approx(
            [np.angle(v2 * share, deg=True), np.angle(v2, deg=True)], abs=1e-6
        )


def test_distortion_is_all_orders_together_of_the_fundamental():
    found = analyse(feeder())
    kv = orders(found, "busbars", "vm_kv")
    whole = np.sqrt(np.sum(np.square(list(kv.values())), axis=0))
    fundamental = 20 * columns(found, "Bus")["vm_pu"]
    assert columns(found, "Bus")["vthd_percent"] == approx(100 * whole / fundamental)
    ka = orders(found, "lines", "i_to_ka")
    line = columns(found, "Line")
    assert line["ithd_to_percent"] == approx(
        100 * np.sqrt(np.sum(np.square(list(ka.values())), axis=0)) / line["i_to_ka"]
    )


def test_what_the_load_injects_flows_through_its_line():
    """At its own bus nothing else takes it but the cable's capacitance there."""
    found = analyse(feeder(), neglect_load_y=True)
    i1 = abs(drawn_ka(found, 3 + 1j)) / np.sqrt(3)
    z, _ = ladder(5)
    volts = 0.2 * i1 * abs(z)
    through = orders(found, "lines", "i_to_ka")[5][0]
    # The line's terminal has the capacitance inside it.
    assert through == approx(0.2 * i1, rel=SAME)
    assert orders(found, "busbars", "vm_kv")[5][1] == approx(np.sqrt(3) * volts, rel=SAME)


def test_a_capacitor_resonates_with_the_grid_at_the_root_of_their_powers():
    """h = √(S″k/Qc) for a lossless source: 100/1.1 MVA and 1 Mvar beside the bus resonate at 9.53.

    The scan's largest impedance must be there, within half a step.
    """
    elements = {
        "g": grid("b", s_sc_max_mva=100, rx_max=0.01),
        "b": bus(20),
        "c": element("Capacitor", bus="b", q_mvar=-1.0),
    }
    found = analyse(elements, scan=["b"], scan_from_hz=100, scan_to_hz=1000, scan_step_hz=1)
    (scan,) = found.beside["scan"]
    at = scan.frequency_hz[int(np.argmax(scan.z_ohm))]
    assert at / 50 == approx(np.sqrt(100 / 1.1), abs=0.01)
    for hertz, r, x in list(zip(scan.frequency_hz, scan.r_ohm, scan.x_ohm, strict=True))[::100]:
        h = hertz / 50
        reactance = 4.4 / np.hypot(1, 0.01)
        z = 1 / (1 / complex(0.01 * reactance, h * reactance) + 1j * h / 400)
        assert complex(r, x) == approx(z, rel=SAME)


def test_a_scan_includes_the_fundamental_and_needs_no_spectrum():
    elements = feeder(d=load("b2", spectrum="none"))
    found = analyse(elements, scan=["b2", "b1"], scan_step_hz=50, scan_to_hz=100)
    assert [scan.element for scan in found.beside["scan"]] == ["b2", "b1"]
    assert found.beside["scan"][0].frequency_hz == [50, 100]
    assert found.beside["orders"] == []


def test_a_shunt_with_losses_is_a_capacitor_beside_a_resistance():
    """At order 5 its susceptance is five times as large, its conductance is the same."""
    shunt = element("Shunt", bus="b2", p_mw=0.1, q_mvar=-0.8)
    found = analyse(feeder(c=shunt), neglect_load_y=True)
    z, _ = ladder(5, complex(0.1, 5 * 0.8) / 400)
    i1 = drawn_ka(found, 3 + 1j)
    kv = orders(found, "busbars", "vm_kv")[5][1]
    assert kv == approx(0.2 * abs(i1) * abs(z), rel=SAME)


def test_a_generator_is_a_voltage_behind_its_subtransient_reactance():
    """E = V + jX″·I; 3 % of it at order 5, its usual share, behind five times the reactance."""
    machine = element("Generator", bus="b2", p_mw=2.0, vm_pu=1.0, sn_mva=5.0, xdss_pu=0.16)
    found = analyse(feeder(d=load("b2", spectrum="none"), m=machine), neglect_load_y=True)
    x = 0.16 * 400 / 5
    row = columns(found, "Generator")
    volts = 20 * row["vm_pu"][0] * np.exp(1j * np.deg2rad(row["va_degree"][0]))
    power = row["p_mw"][0] + 1j * row["q_mvar"][0]
    emf = volts + 1j * x * np.conj(power / volts)
    z, _ = ladder(5)
    kv = orders(found, "busbars", "vm_kv")[5][1]
    assert kv == approx(abs(0.03 * emf * z / (z + 5j * x)), rel=1e-8)


def test_a_transformer_with_a_delta_turns_orders_both_ways():
    """Dyn5: order 7, of the positive sequence, turns by -150°; order 5, of the negative, by +150°.

    Without shunts the no-load voltage on the high side is that of the low side by the ratio.
    """
    elements = {
        "g": grid("h", s_sc_max_mva=1000, rx_max=0.1),
        "h": bus(110),
        "m": bus(20),
        "t": transformer("h", "m", vector_group="Dyn5", pfe_kw=0, i0_percent=0, vkr_percent=0),
        "d": load("m", spectrum_points=[[5, 20, 0], [7, 14, 0]]),
    }
    found = analyse(elements, neglect_load_y=True)
    kv, degree = orders(found, "busbars", "vm_kv"), orders(found, "busbars", "va_degree")
    for h, turn in ((5, -150), (7, 150)):
        x = 1.1 * 20**2 / 1000 / np.hypot(1, 0.1)
        z_grid, z = complex(0.1 * x, h * x), 1j * h * 0.11 * 400 / 40
        assert kv[h][0] * 20 / 110 / kv[h][1] == approx(abs(z_grid / (z_grid + z)), rel=1e-7)
        angle = degree[h][0] - degree[h][1] - np.angle(z_grid / (z_grid + z), deg=True)
        assert (angle - turn + 180) % 360 - 180 == approx(0, abs=1e-6)


# -- the engine's own mode -------------------------------------------------------------------------

CIRCUIT = (
    "clear",
    "set defaultbasefrequency=50",
    "new circuit.hand bus1=b1 basekv=20 r1=0 x1=1e-7 r0=0 x0=1e-7",
    "new line.l bus1=b1 bus2=b2 r1=0.8 x1=0.48 r0=0.8 x0=0.48 c1=800 c0=800 rg=0 xg=0",
    "new spectrum.own numharm=4 harmonic=(1,5,7,11) %mag=(100,20,14,9) angle=(0,30,-20,0)",
)


@pytest.fixture
def by_hand(tmp_path: Path) -> Callable[..., dict[int, float]]:
    """OpenDSS' own mode for harmonics; voltages of b2, line to line [kV]. It writes a file."""
    dss: Any = opendssdirect.dss.NewContext()
    dss.Basic.DataPath(str(tmp_path))

    def run(*commands: str) -> dict[int, float]:
        dss.Text.Commands([*CIRCUIT, *commands, "set tolerance=1e-12 maxiterations=100", "solve"])
        assert dss.Solution.Converged()
        dss.Text.Commands(["set mode=harmonics"])
        found = {}
        for h in (5, 7, 11):
            dss.Text.Commands([f"set harmonics=({h})", "solve"])
            volts = np.array(dss.Circuit.YNodeVArray()).view(complex)
            names = [name.lower() for name in dss.Circuit.YNodeOrder()]
            found[h] = float(np.sqrt(3) * abs(volts[names.index("b2.1")]) / 1e3)
        return found

    return run


def stiff(**more: Any) -> Elements:
    """The feeder behind a grid so strong that its impedance is no matter at any order."""
    return feeder(g=grid("b1", s_sc_max_mva=1e10, rx_max=0), **more)


WYE = "phases=3 conn=wye bus1=b2.1.2.3.0 kv=20 spectrum=own"
CONSTANT = "model=1 vminpu=0 vmaxpu=1000"


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (load("b2", spectrum_points=SIX_PULSE), f"load.x {WYE} kw=3000 kvar=1000 {CONSTANT}"),
        (
            load("b2", spectrum_points=SIX_PULSE, series_rl_percent=100),
            f"load.x {WYE} kw=3000 kvar=1000 {CONSTANT} %seriesrl=100",
        ),
        (
            load("b2", spectrum_points=SIX_PULSE, x_harmonic_pu=0.2, xr_harmonic=8.0),
            f"load.x {WYE} kw=3000 kvar=1000 {CONSTANT} puxharm=0.2 xrharm=8",
        ),
        (
            load("b2", spectrum_points=SIX_PULSE, const_z_p_percent=40, const_i_q_percent=30),
            f"load.x {WYE} kw=3000 kvar=1000 model=8 zipv=(0.4,0,0.6,0,0.3,0.7,0) vminpu=0 "
            "vmaxpu=1000",
        ),
        (
            element(
                "Static Generator", bus="b2", p_mw=2.0, q_mvar=0.5, sn_mva=3.0, xdss_pu=0.25,
                spectrum_points=SIX_PULSE,
            ),
            f"generator.x {WYE} kw=2000 kvar=500 kva=3000 xdpp=0.25 {CONSTANT}",
        ),
        (
            element(
                "PVSystem", bus="b2", pmpp_kw=1000, irradiance_kw_per_m2=0.9, kva=1200,
                spectrum_points=SIX_PULSE,
            ),
            f"pvsystem.x {WYE} pmpp=1000 irradiance=0.9 kva=1200 {CONSTANT}",
        ),
        (
            element(
                "Storage", bus="b2", p_mw=-1.0, q_mvar=0.0, sn_mva=2.0, soc_percent=50,
                max_e_mwh=10, spectrum_points=SIX_PULSE,
            ),
            f"storage.x {WYE} kwrated=2000 kva=2000 kwhrated=10000 %stored=50 kw=1000 kvar=0 "
            f"%idlingkw=0 %reserve=0 {CONSTANT}",
        ),
    ],
    ids=["load", "all in series", "motors", "zip", "generator", "pv", "storage"],
)  # fmt: skip
def test_elements_are_to_harmonics_what_opendss_makes_of_them(by_hand, ours, theirs):
    found = orders(analyse(stiff(d=ours)), "busbars", "vm_kv")
    for h, kv in by_hand(f"new {theirs}").items():
        assert found[h][1] == approx(kv, rel=1e-6), h


def test_the_named_spectra_are_opendss_own():
    dss: Any = opendssdirect.dss.NewContext()
    dss.Text.Commands(["clear", "new circuit.hand"])
    for name in ("default", "defaultload", "defaultgen", "defaultvsource", "pwm6", "dc6"):
        columns_ = []
        for property_ in ("harmonic", "%mag", "angle"):
            dss.Text.Command(f"? spectrum.{name}.{property_}")
            columns_.append([float(word) for word in dss.Text.Result().strip("[]( )").split()])
        assert list(zip(*columns_, strict=True)) == [approx(point) for point in NAMED[name]], name


# -- spectra ---------------------------------------------------------------------------------------


def test_a_spectrum_as_csv_is_the_same_as_its_points():
    text = "1,100,0\n5, 20, 30,\n\n7,14,-20\n11,9\n"
    assert from_csv(text) == checked(SIX_PULSE)
    as_text = analyse(feeder(d=load("b2", spectrum="custom", spectrum_csv=text)))
    as_points = analyse(feeder())
    assert as_text.beside["harmonics"] == as_points.beside["harmonics"]


def test_angles_refer_to_the_fundamentals_own():
    shifted = relative(checked([[1, 100, 10], [5, 20, 80]]))
    assert shifted == checked([[1, 100, 0], [5, 20, 30]])


@pytest.mark.parametrize(
    "points",
    [[], [[5, 20]], [[5, 20, float("nan")]], [[0, 1, 0]], [[2.5, 1, 0]], [[5, -1, 0]]]
    + [[[5, 1, 0], [5, 2, 0]], [[k, 1, 0] for k in range(1, 300)]],
)  # fmt: skip
def test_what_is_no_spectrum_is_told(points):
    with pytest.raises(NotASpectrumError):
        checked(points)


@pytest.mark.parametrize(
    ("fields", "field", "kind"),
    [
        ({"spectrum": "custom"}, "spectrum_points", "missing-parameter"),
        ({"spectrum": "dc6", "spectrum_csv": "5,20"}, "spectrum", "contradiction"),
        ({"spectrum_points": SIX_PULSE, "spectrum_csv": "5,20"}, "spectrum_csv", "contradiction"),
        ({"spectrum_csv": "redirect /etc/passwd"}, "spectrum_csv", "not-a-spectrum"),
        ({"spectrum_points": [[5, 20, 0], [5, 9, 0]]}, "spectrum_points", "not-a-spectrum"),
    ],
)
def test_a_wrong_spectrum_is_refused_with_its_element_and_field(fields, field, kind):
    (problem,) = refused(feeder(d=load("b2", **fields)))
    assert (problem.element, problem.field, problem.kind) == ("d", field, kind)


def test_every_element_tells_its_spectrum():
    found = analyse(feeder())
    used = {each.element: each.spectrum for each in found.beside["spectra"]}
    assert used == {"g": "defaultvsource", "d": "custom"}


# -- what is refused and warned of -----------------------------------------------------------------


def test_pandapower_refuses_by_name():
    (problem,) = refused(feeder(), solver="pandapower")
    assert problem.kind == "unsupported"
    assert "pandapower" in problem.message
    assert "opendss" in problem.message


@pytest.mark.parametrize(
    ("more", "element_id", "field"),
    [
        ({"g": grid("b1")}, "g", "s_sc_max_mva"),
        (
            {"x": element("DC Line", from_bus="b1", to_bus="b2", p_mw=1.0)},
            "x", None,
        ),
        (
            {"x": element(
                "Impedance", from_bus="b1", to_bus="b2", sn_mva=1, rft_pu=0.1, xft_pu=0.1,
                xtf_pu=0.2,
            )},
            "x", "rtf_pu",
        ),
    ],
)  # fmt: skip
def test_what_is_unknown_at_other_frequencies_is_refused(more, element_id, field):
    problems = refused(feeder(**more))
    assert (element_id, field) in [(problem.element, problem.field) for problem in problems]


@pytest.mark.parametrize(
    "settings",
    [
        {"harmonics": []},
        {"harmonics": [1, 5]},
        {"harmonics": [5, 5]},
        {"harmonics": [2.5]},
        {"scan": ["nowhere"]},
        {"scan_to_hz": 100},
        {"scan": ["b1"], "scan_from_hz": 500, "scan_to_hz": 100},
        {"scan": ["b1"], "scan_step_hz": 1e-3},
    ],
)
def test_orders_and_scans_that_are_none_are_refused(settings):
    assert len(refused(feeder(), **settings)) == 1


def test_orders_that_nothing_injects_are_zero_and_told():
    found = analyse(feeder(), harmonics=[5, 13])
    assert orders(found, "busbars", "vm_kv")[13] == [0, 0]
    assert any("order 13" in warning for warning in found.warnings)


def test_multiples_of_three_are_told_to_be_of_the_zero_sequence():
    """With a zero sequence of its own, order 3 meets that of the cable."""
    line = cable("b1", "b2", r0_ohm_per_km=0.6, x0_ohm_per_km=0.4, c0_nf_per_km=100)
    found = analyse(feeder(l=line, d=load("b2", spectrum_points=[[3, 10, 0]])), neglect_load_y=True)
    assert any("zero sequence" in warning for warning in found.warnings)
    y = 3j * W * 400e-9 / 2
    z = 1 / (1 / (1 / (1 / grid_ohm(3) + y) + complex(2.4, 3 * 1.6)) + y)
    i1 = drawn_ka(found, 3 + 1j)
    assert orders(found, "busbars", "vm_kv")[3][1] == approx(0.1 * abs(i1) * abs(z), rel=SAME)


def test_the_engines_own_figures_are_told_where_they_stand_in():
    machine = element("Static Generator", bus="b2", p_mw=2.0)
    found = analyse(feeder(m=machine))
    assert any("sn_mva" in warning and "m" in warning for warning in found.warnings)
    assert any("xdss_pu" in warning for warning in found.warnings)


def test_the_script_reproduces_the_last_order():
    found = analyse(feeder(), harmonics=[5, 7], export_script=True)
    dss: Any = opendssdirect.dss.NewContext()
    lines = [line for line in found.beside["script"].splitlines() if not line.startswith("!")]
    dss.Text.Commands(lines)
    volts = np.array(dss.Circuit.YNodeVArray()).view(complex)
    kv = orders(found, "busbars", "vm_kv")[7]
    assert np.sqrt(3) * np.abs(volts[[0, 3]]) / 1e3 == approx(kv, rel=1e-9)


def test_what_is_dead_has_no_harmonics():
    elements = feeder(b3=bus(20), l2=cable("b2", "b3", in_service=False))
    found = analyse(elements)
    assert np.isnan(orders(found, "busbars", "vm_kv")[5][2])
    assert np.isnan(orders(found, "lines", "i_from_ka")[5][1])


# -- the browser -----------------------------------------------------------------------------------

CAPTURED = sorted(PAYLOADS.glob("*__harmonic.json")) if PAYLOADS.exists() else []


@pytest.mark.parametrize("path", CAPTURED, ids=lambda path: path.stem)
def test_every_captured_body_is_answered(path):
    status, _, body = answer_request(path.read_bytes(), ENGINES, {})
    found = json.loads(body)
    assert status == 200
    assert not found.get("error"), found["error"]
    assert found["harmonic_analysis"]["executed"] is True
    assert found["harmonic_analysis"]["harmonic_orders"] == [3, 5, 7, 11, 13]
    for row in found["busbars"]:
        assert set(row["harmonic_voltages_kv"]) == {"3", "5", "7", "11", "13"}
        whole = np.sqrt(sum(v**2 for v in row["harmonic_voltages_kv"].values()))
        assert row["vthd_percent"] == approx(100 * whole / row["fundamental_voltage_kv"])
    for row in found["lines"]:
        whole = np.sqrt(sum(i**2 for i in row["harmonic_currents_a"].values()))
        assert row["ithd_percent"] == approx(100 * whole / row["fundamental_current_a"])
