"""Fault study on OpenDSS: published feeders, pandapower without factors, and cases on paper."""

from __future__ import annotations

import json
import math
from typing import Any

import feeders
import numpy as np
import pytest
from bricks import ENGINES, bus, cable, element, grid, load, transformer
from pytest import approx

from electrisim.problems import ProblemError
from electrisim.studies import shortcircuit
from electrisim.wire import documented

Elements = dict[str, Any]

BINDINGS = ("opendssdirect", "py_dss_interface")
FEED = {"s_sc_max_mva": 1000, "rx_max": 0.1, "x0x_max": 1.5, "r0x0_max": 0.2}
ZERO = {"r0_ohm_per_km": 0.5, "x0_ohm_per_km": 0.4, "c0_nf_per_km": 0, "c_nf_per_km": 0}
MACHINE = {"vn_kv": 20, "sn_mva": 20, "xdss_pu": 0.2, "rdss_ohm": 0.1, "p_mw": 10}


def solve(elements: Elements, **settings: Any) -> dict[str, Any]:
    asked = {"solver": "opendss", **settings}
    body = {"simulationType": "shortcircuit", "elements": elements, "settings": asked}
    read, network = documented.decode(json.dumps(body).encode(), {})
    return json.loads(documented.encode(network, shortcircuit.run(network, read, ENGINES)))


def problems(elements: Elements, **settings: Any) -> list[tuple[str | None, str | None, str]]:
    with pytest.raises(ProblemError) as refused:
        solve(elements, **settings)
    return [(p.element, p.field, p.kind) for p in refused.value.problems]


def at(answer: Any, id_: str) -> dict[str, Any]:
    return next(record for record in answer["results"]["busbars"] if record["id"] == id_)


def feeder(**line: Any) -> Elements:
    """grid ── b1 ── 5 km ── b2, 20 kV"""
    return {
        "b1": bus(20), "b2": bus(20), "grid": grid("b1", **FEED),
        "line": cable("b1", "b2", 5, **{**ZERO, **line}),
    }  # fmt: skip


Z_GRID = 20**2 / 1000 * (0.1 + 1j) / abs(0.1 + 1j)
Z1 = Z_GRID + 5 * (0.2 + 0.12j)
Z0 = 1.5 * Z_GRID.imag * (0.2 + 1j) + 5 * (0.5 + 0.4j)
E_KV = 20 / math.sqrt(3)

# -- published -------------------------------------------------------------------------------------

#: Kersting's currents of phases a, b, c in a fault of all three [A], as EPRI's workbook has them,
#: and the source of its cases: kV, its impedances [Ω], and the substation transformer that IEEE
#: lists: MVA, R and X in percent, vector group, the bus and voltage that it feeds. Without loads
#: and capacitors, regulators at neutral.
PUBLISHED = {
    "ieee123": (
        # R is the file's 1 % of one winding and the engine's 0.2 % of the other.
        (115, 0.7673 + 4.7852j, 0.3474 + 8.518j, 5, 1.2, 8, "Dyn1", "150", 4.16),
        {"1": (7088.6, 7209.5, 7057.9), "7": (6353.2, 6530.4, 6307.6), "13": (5409.3, 5640, 5352.3),
         "18": (4430.8, 4461.5, 4287.8), "29": (3434.4, 3335.3, 3248.1)},
    ),
    "ieee37": (
        (230, 4.2831 + 16.6212j, 3.9609 + 29.7351j, 2.5, 2, 8, "Dd0", "799", 4.8),
        {"701": (3213.6, 3211.1, 3149.9), "702": (2955.1, 2976.7, 2879.2),
         "711": (1724.6, 1824, 1722.6)},
    ),
    "ieee34": (
        (69, 8.3741 + 21.3901j, 19.0068 + 44.8784j, 2.5, 1, 8, "Dyn1", "800", 24.9),
        {"800": (627.3, 627.3, 627.3), "806": (605.9, 605.7, 604.8), "832": (207.5, 213.9, 202.7)},
    ),
}  # fmt: skip


def published(name: str) -> Elements:
    """A feeder behind its substation, without loads and capacitors, regulators at neutral."""
    (hv_kv, z1, z0, mva, r, x, group, head, kv), _ = PUBLISHED[name]
    elements = {
        id_: one
        for id_, one in feeders.graph(name).items()
        if one["typ"] not in ("Load", "Capacitor", "External Grid")
    }
    for one in elements.values():
        if "tap_pos" in one["parameters"]:
            one["parameters"] |= {"tap_pos": 0, "vk_percent": 1e-5}
    source = {
        "s_sc_max_mva": hv_kv**2 / abs(z1), "rx_max": z1.real / z1.imag,
        "x0x_max": z0.imag / z1.imag, "r0x0_max": z0.real / z0.imag,
    }  # fmt: skip
    plate = {
        "sn_mva": mva, "vn_hv_kv": hv_kv, "vn_lv_kv": kv, "vk_percent": math.hypot(r, x),
        "vkr_percent": r, "pfe_kw": 0, "i0_percent": 0, "vector_group": group,
    }  # fmt: skip
    return {
        **elements, "hv": bus(hv_kv), "grid": grid("hv", **source),
        "substation": element("Transformer", hv_bus="hv", lv_bus=f"b{head}", **plate),
    }  # fmt: skip


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_currents_of_a_feeder_are_met(name):
    answer = solve(published(name), frequency=60)
    for bus_, amperes in PUBLISHED[name][1].items():
        found = [1e3 * at(answer, f"b{bus_}")[f"ikss_{phase}_ka"] for phase in "abc"]
        assert found == approx(amperes, rel=5e-3), bus_


def test_the_two_builds_of_the_engine_agree():
    elements = published("ieee34")
    one, other = (
        solve(elements, frequency=60, fault="1ph", binding=binding) for binding in BINDINGS
    )
    for ours, theirs in zip(one["results"]["busbars"], other["results"]["busbars"], strict=True):
        for name, value in ours.items():
            if isinstance(value, float):
                assert value == approx(theirs[name], rel=1e-6, abs=1e-9), (ours["id"], name)
    assert one["engine"]["version"] != other["engine"]["version"]


# -- pandapower without factors --------------------------------------------------------------------


@pytest.mark.parametrize("fault", ["3ph", "2ph", "1ph"])
def test_a_balanced_network_is_what_pandapower_says_where_the_standard_has_no_factors(fault):
    """Case min: c = 1, K_T = 1; lines at 20 °C and without charging, a core that does not count."""
    ring = {**ZERO, "endtemp_degree": 20}
    zero = {
        "vector_group": "Dyn5", "vk0_percent": 11, "vkr0_percent": 0.5, "mag0_percent": 1e8,
        "mag0_rx": 0, "si0_hv_partial": 0.5, "pfe_kw": 0, "i0_percent": 0,
    }  # fmt: skip
    least = {"s_sc_min_mva": 1000, "rx_min": 0.1, "x0x_min": 1.5, "r0x0_min": 0.2}
    elements = {
        "b1": bus(110), "b2": bus(20), "b3": bus(20), "b4": bus(20),
        "grid": grid("b1", **FEED, **least), "t": transformer("b1", "b2", **zero),
        "l1": cable("b2", "b3", 4, **ring), "l2": cable("b3", "b4", 3, **ring),
        "l3": cable("b2", "b4", 5, **ring), "load": load("b4"),
    }  # fmt: skip
    settings = {"fault": fault, "r_fault_ohm": 0.3, "x_fault_ohm": 0.1}
    ours = solve(elements, **settings)
    theirs = solve(elements, solver="pandapower", case="min", **settings)
    for id_ in ("b1", "b2", "b3", "b4"):
        for name in ("ikss_ka", "rk_ohm", "xk_ohm"):
            assert at(ours, id_)[name] == approx(at(theirs, id_)[name], rel=1e-5), (id_, name)


# -- on paper --------------------------------------------------------------------------------------


@pytest.mark.parametrize("binding", BINDINGS)
@pytest.mark.parametrize("z_fault", [0, 0.4 + 0.2j])
def test_faults_behind_a_line_are_those_of_its_sequences(binding, z_fault):
    settings = {"r_fault_ohm": z_fault.real, "x_fault_ohm": z_fault.imag, "binding": binding}
    z1, z0 = Z1 + z_fault, Z0 + z_fault
    a = np.exp(2j * np.pi / 3)
    # Two phases to earth: the sequence networks in parallel.
    i1 = E_KV / (z1 + z1 * z0 / (z1 + z0))
    i2, i0 = -i1 * z0 / (z1 + z0), -i1 * z1 / (z1 + z0)
    both = max(abs(i0 + a**2 * i1 + a * i2), abs(i0 + a * i1 + a**2 * i2))
    for fault, expected in (
        ("3ph", E_KV / abs(z1)),
        ("2ph", 20 / abs(2 * z1)),
        ("1ph", 3 * E_KV / abs(2 * z1 + z0)),
        ("2ph_ground", both),
    ):
        answer = solve(feeder(), fault=fault, **settings)
        assert at(answer, "b2")["ikss_ka"] == approx(expected, rel=1e-6), fault
        assert at(answer, "b2")["xk_ohm"] == approx(z1.imag, rel=1e-6)
    assert answer["certificate"]["max_current_mismatch_ka"] < 1e-5


def test_a_grid_brings_the_current_of_its_power():
    assert at(solve(feeder()), "b1")["ikss_ka"] == approx(1000 / (math.sqrt(3) * 20), rel=1e-6)
    assert at(solve(feeder()), "b1")["skss_mw"] == approx(1000, rel=1e-6)


def test_machines_bring_the_currents_of_their_inner_impedances():
    """A generator behind x″, a motor behind its locked rotor; nothing flows before the fault."""
    elements = {
        **feeder(),
        "g": element("Generator", bus="b2", **MACHINE),
        "m": element(
            "Motor", bus="b2", pn_mech_mw=1.0, cos_phi=0.85, cos_phi_n=0.85, lrc_pu=5.0, rx=0.1,
            efficiency_n_percent=95.0, vn_kv=20.0,
        ),
    }  # fmt: skip
    z_motor = 20**2 / 5 / (1 / 0.95 / 0.85) * (0.1 + 1j) / abs(0.1 + 1j)
    y = 1 / Z1 + 1 / (0.1 + 4j) + 1 / z_motor
    assert at(solve(elements), "b2")["ikss_ka"] == approx(E_KV * abs(y), rel=1e-6)


def test_a_machine_behind_a_vector_group_turns_with_it():
    """Dyn5 ── generator: were its voltage not turned by 150°, a current would flow before."""
    elements = {
        "b1": bus(110), "b2": bus(20), "grid": grid("b1", **FEED),
        "t": transformer("b1", "b2", vector_group="Dyn5", pfe_kw=0, i0_percent=0),
        "g": element("Generator", bus="b2", **MACHINE),
    }  # fmt: skip
    z_grid = Z_GRID + 20**2 / 40 * (0.005 + 1j * math.sqrt(0.11**2 - 0.005**2))
    expected = E_KV * abs(1 / z_grid + 1 / (0.1 + 4j))
    assert at(solve(elements), "b2")["ikss_ka"] == approx(expected, rel=1e-6)


def test_a_generator_alone_feeds_its_island():
    elements = {"b": bus(20), "g": element("Generator", bus="b", **MACHINE)}
    assert at(solve(elements), "b")["ikss_ka"] == approx(E_KV / abs(0.1 + 4j), rel=1e-6)


def test_phases_that_a_bus_lacks_have_no_current():
    """b2 ── phase c only ── b3: its fault is one of that phase."""
    elements = feeder()
    elements["b3"] = bus(20)
    elements["lateral"] = element(
        "Line", from_bus="b2", to_bus="b3", length_km=2, phases="c", max_i_ka=0.4,
        r_matrix_ohm_per_km=[[0.3]], x_matrix_ohm_per_km=[[0.4]], c_matrix_nf_per_km=[[0]],
    )  # fmt: skip
    there = at(solve(elements, fault="1ph"), "b3")
    z = (2 * Z1 + Z0) / 3 + 2 * (0.3 + 0.4j)
    assert there["ikss_c_ka"] == approx(E_KV / abs(z), rel=1e-6)
    assert there["ikss_a_ka"] is None and there["ikss_b_ka"] is None
    assert at(solve(elements, fault="2ph"), "b3")["ikss_ka"] is None


def test_converters_are_named_for_bringing_nothing():
    elements = feeder()
    elements["pv"] = element("Static Generator", bus="b2", p_mw=3, sn_mva=4, k=1.3)
    answer = solve(elements)
    assert any("Static Generator “pv”" in warning for warning in answer["warnings"])
    assert at(answer, "b2")["ikss_ka"] == at(solve(feeder()), "b2")["ikss_ka"]


# -- what is missing or wrong ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("setting", "value"),
    [("case", "min"), ("lv_tol_percent", 6), ("topology", "radial"), ("kappa_method", "B"),
     ("t_min_s", 0.1), ("inverse_y", True)],
)  # fmt: skip
def test_what_is_the_standards_own_is_refused(setting, value):
    assert problems(feeder(), **{setting: value}) == [(None, setting, "unsupported")]


def test_two_phases_to_earth_are_not_for_pandapower():
    asked = {"solver": "pandapower", "fault": "2ph_ground"}
    assert (None, "fault", "unsupported") in problems(feeder(), **asked)


@pytest.mark.parametrize(
    ("element_", "field", "fault"),
    [("grid", "s_sc_max_mva", "3ph"), ("grid", "x0x_max", "1ph"), ("line", "x0_ohm_per_km", "1ph")],
)
def test_a_number_that_the_study_needs_is_asked_for(element_, field, fault):
    elements = feeder()
    del elements[element_]["parameters"][field]
    assert problems(elements, fault=fault) == [(element_, field, "missing-parameter")]
