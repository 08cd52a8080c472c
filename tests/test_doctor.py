"""The doctor: each cause in a network small enough to see it, and what its repair must be.

Limits are worked on paper; that a repair works is asked of the whole API, from bytes to bytes.
"""

from __future__ import annotations

import copy
import json
import random
import time
from typing import Any

import numpy as np
import pytest
import solved
from hand import PANDAPOWER, ask
from pytest import approx
from solved import asked, bus, by_hand, element, line, load, ring, switch

from benchmarks.faults import FAULTS
from benchmarks.networks import NETWORKS
from electrisim import doctor
from electrisim import elements as e
from electrisim.doctor import examination
from electrisim.doctor.case import Case
from electrisim.doctor.equations import Equations, can_write
from electrisim.doctor.newton import Newton, nose, singular_direction
from electrisim.problems import NotConvergedError

# -- the equations ---------------------------------------------------------------------------------

WRITABLE = [
    name
    for name, (elements, settings) in solved.CASES.items()
    if settings.get("mode", "ac") == "ac"
    and not {"VSC", "DC Bus"} & {each["typ"] for each in elements.values()}
]


@pytest.mark.parametrize("name", WRITABLE)
def test_the_equations_have_pandapowers_solution(name):
    """Own admittances and Newton against pandapower called by hand, to its own tolerance."""
    elements, settings = solved.CASES[name]
    answer = by_hand(elements, **settings)
    network, topology, read = answer.network, answer.topology, answer.settings
    assert can_write(network)
    # Where thyristors move or limits act, the solution is that of other equations.
    if network.rows(e.TCSC) or network.rows(e.SVC) or read.enforce_q_lims:
        return
    if read.distributed_slack:
        return
    with np.errstate(all="ignore"):
        equations = Equations(network, topology, read)
    state = Newton(equations).solve()
    assert state.solved
    table = answer.tables[e.Bus]
    expected = table["vm_pu"] * np.exp(1j * np.deg2rad(table["va_degree"]))
    here = equations.of_bus >= 0
    assert state.voltage[equations.of_bus[here]] == approx(expected[here], abs=2e-6)


def two_buses(p_mw: float, q_mvar: float = 0.0) -> dict[str, Any]:
    """grid ── X = 20 Ω ── load, 110 kV"""
    return {
        "b1": bus(),
        "b2": bus(),
        "grid": element("External Grid", bus="b1"),
        "l": line("b1", "b2", length_km=50.0, r_ohm_per_km=0.0, x_ohm_per_km=0.4, c_nf_per_km=0.0),
        "d": load("b2", p_mw, q_mvar),
    }


@pytest.mark.parametrize(
    ("phi", "limit_mw"),
    # At power factor cos φ the most is V²/2X · cos φ / (1 + sin φ): V²/2X = 302.5 MW at X = 20 Ω.
    [(0.0, 302.5), (np.arccos(0.8), 302.5 * 0.8 / 1.6)],
)
def test_the_last_solvable_point_is_that_of_the_formula(phi, limit_mw):
    elements = two_buses(1000.0, 1000.0 * float(np.tan(phi)))
    newton = Newton(Equations(*asked(elements)))
    found = nose(newton, time.monotonic() + 10)
    assert found.load is not None
    assert 1000.0 * found.load == approx(limit_mw, rel=0.005)
    assert 1000.0 * found.load <= limit_mw * (1 + 1e-6)


def test_the_singular_direction_names_the_bus_that_collapses():
    """grid ── b1 ── b2 (5 MW) and a long way to b3 (beyond its nose)"""
    elements = two_buses(5.0) | {
        "b3": bus(), "far": line("b1", "b3", length_km=400.0), "heavy": load("b3", 200.0, 20.0),
    }  # fmt: skip
    network, topology, settings = asked(elements)
    equations = Equations(network, topology, settings)
    newton = Newton(equations)
    found = nose(newton, time.monotonic() + 10)
    direction = singular_direction(newton, found.voltage, found.load)
    assert int(np.argmax(direction.falls)) == equations.of_bus[2]


# -- the rules, each in a drawing of its own -------------------------------------------------------


def village(**changes: dict[str, Any]) -> dict[str, Any]:
    """110 kV grid ─ transformer ─ b1 ─ b2 … b6, 20 kV cables, a load of 0.6 MW at each."""
    plate = {
        "sn_mva": 25.0, "vn_hv_kv": 110.0, "vn_lv_kv": 20.0, "vk_percent": 11.0,
        "vkr_percent": 0.4, "pfe_kw": 14.0, "i0_percent": 0.1,
        "tap_side": "hv", "tap_neutral": 0.0, "tap_min": -9.0, "tap_max": 9.0,
        "tap_step_percent": 1.5, "tap_pos": -1.0,
    }  # fmt: skip
    cable = {"length_km": 1.5, "r_ohm_per_km": 0.16, "x_ohm_per_km": 0.12, "c_nf_per_km": 250.0}
    elements = {
        "b0": bus(),
        "grid": element("External Grid", bus="b0", vm_pu=1.02),
        "t": element("Transformer", hv_bus="b0", lv_bus="b1", **plate),
        **{f"b{k}": bus(20.0) for k in range(1, 7)},
        **{f"c{k}": line(f"b{k}", f"b{k + 1}", **cable) for k in range(1, 6)},
        **{f"d{k}": load(f"b{k}", 0.6, 0.15) for k in range(1, 7)},
    }
    for id_, parameters in changes.items():
        elements[id_]["parameters"] |= parameters
    return elements


SIX = range(1, 7)
#: What is planted in the village → rule, element and the fields that the first repair must set.
PLANTED = {
    "kW for MW": (
        {"d4": {"p_mw": 600.0, "q_mvar": 150.0}}, "value", "d4", {"p_mw": 0.6, "q_mvar": 0.15},
    ),
    "kvar for Mvar": ({"d6": {"q_mvar": 150.0}}, "value", "d6", {"q_mvar": 0.15}),
    "percent for a factor": ({"d5": {"scaling": 100.0}}, "value", "d5", {"scaling": 1.0}),
    "metres for kilometres": ({"c2": {"length_km": 1500.0}}, "value", "c2", {"length_km": 1.5}),
    "mΩ for Ω": (
        {"c3": {"r_ohm_per_km": 160.0, "x_ohm_per_km": 120.0}}, "value", "c3",
        {"r_ohm_per_km": 0.16, "x_ohm_per_km": 0.12},
    ),
    "vk of 1100 %": ({"t": {"vk_percent": 1100.0}}, "value", "t", None),
    "GVA for MVA": ({"t": {"sn_mva": 0.025}}, "value", "t", {"sn_mva": 25.0}),
    "V for kV at a winding": ({"t": {"vn_lv_kv": 2e4}}, "voltage-level", "t", {"vn_lv_kv": 20.0}),
    "the wrong way round": (
        {"t": {"hv_bus": "b1", "lv_bus": "b0"}}, "voltage-level", "t",
        {"hv_bus": "b0", "lv_bus": "b1"},
    ),
    "a decimal point of the set-point": ({"grid": {"vm_pu": 0.102}}, "set-point", "grid", None),
    "all loads in kW": (
        {f"d{k}": {"p_mw": 600.0, "q_mvar": 150.0} for k in SIX}, "every-value", "d1",
        {"p_mw": 0.6, "q_mvar": 0.15},
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", PLANTED)
def test_a_slip_is_found_and_undone(name):
    changes, rule, id_, fields = PLANTED[name]
    elements = village(**changes)
    first = diagnosis_of(elements)[0]
    assert first["rule"] == rule
    assert id_ in first["elements"]
    assert first["verified"]
    if fields is not None:
        set_to = {r["field"]: r["value"] for r in first["repair"] if r["element"] == id_}
        assert set_to == {k: v if isinstance(v, str) else approx(v) for k, v in fields.items()}
    assert solves(elements, first)


def diagnosis_of(elements: dict[str, Any], **settings: Any) -> list[dict[str, Any]]:
    status, body = ask(elements, **settings)
    assert status == 422, "this network has a solution"
    for cause in body["diagnosis"]:
        assert list(cause) == [
            "rule", "cause", "elements", "evidence", "suggestion", "repair", "verified",
        ]  # fmt: skip
        assert cause["rule"] in doctor.RULES
        assert set(cause["elements"]) <= set(elements)
    return body["diagnosis"]


def solves(elements: dict[str, Any], cause: dict[str, Any], **settings: Any) -> bool:
    """Whether the request with a cause's repair made has an answer."""
    mended = copy.deepcopy(elements)
    for edit in cause["repair"]:
        if edit["element"] is None:
            settings[edit["field"]] = edit["value"]
        else:
            mended[edit["element"]]["parameters"][edit["field"]] = edit["value"]
    return ask(mended, **settings)[0] == 200


def named(causes: list[dict[str, Any]], rule: str) -> dict[str, Any]:
    return next(cause for cause in causes if cause["rule"] == rule)


def test_what_one_load_may_draw_is_told():
    """V²/2X = 302.5 MW against 400 MW: the repair is just below what the formula allows."""
    first = diagnosis_of(two_buses(400.0))[0]
    assert first["elements"] == ["d"]
    assert first["evidence"]["possible_mva"] == approx(302.5, rel=0.04)
    assert solves(two_buses(400.0), first)


def test_a_branch_that_is_too_weak_is_told_with_its_limit():
    cause = named(diagnosis_of(two_buses(400.0)), "bottleneck")
    assert cause["elements"] == ["l"]
    assert cause["evidence"]["limit_mw"] == approx(302.5)
    assert cause["repair"] == [{"element": "l", "field": "parallel", "value": 2}]


def test_an_overload_of_all_names_the_buses_that_collapse():
    """Far more at b1 than the ring carries, and a weak line on to b2, where it ends."""
    elements = ring(
        load=load("b2", 900.0, 200.0), load1=load("b1", 900.0, 200.0),
        l2=line("b1", "b2", length_km=60.0), l3=line("b2", "b0", length_km=60.0),
    )  # fmt: skip
    cause = named(diagnosis_of(elements), "overload")
    assert cause["elements"][0] == "b2"
    assert 0 < cause["evidence"]["solvable_share"] < 1
    assert solves(elements, cause)


def test_what_is_out_of_service_and_would_do_is_told():
    """Two lines in parallel, V²/2X = 302.5 MW each: 400 MW need both."""
    elements = two_buses(400.0)
    elements["second"] = copy.deepcopy(elements["l"])
    elements["second"]["parameters"]["in_service"] = False
    first = diagnosis_of(elements)[0]
    assert (first["rule"], first["elements"]) == ("idle", ["second"])
    assert first["repair"] == [{"element": "second", "field": "in_service", "value": True}]
    assert solves(elements, first)


def test_an_open_switch_that_would_do_is_told():
    elements = two_buses(400.0)
    elements["second"] = copy.deepcopy(elements["l"])
    elements["breaker"] = switch("b2", "second", closed=False)
    first = diagnosis_of(elements)[0]
    assert (first["rule"], first["elements"]) == ("idle", ["breaker"])
    assert solves(elements, first)


def test_a_tap_position_far_beyond_its_range_is_told():
    """hv side, 60 steps of 1.5 %: 1/1.9 pu and 40 MW behind 11 % cannot be."""
    elements = village(t={"tap_pos": 60.0}, d6={"p_mw": 20.0, "q_mvar": 2.0})
    causes = diagnosis_of(elements)
    cause = named(causes, "tap")
    assert cause in causes[:3]
    assert cause["elements"] == ["t"]
    assert solves(elements, cause)


def test_phase_shifts_that_do_not_cancel_are_told():
    """Two transformers in parallel, one Dyn5 and one Yy0, with a load near their limit."""
    elements = village(t={"shift_degree": 150.0}, d6={"p_mw": 12.0, "q_mvar": 2.0})
    elements["t2"] = copy.deepcopy(elements["t"])
    elements["t2"]["parameters"] |= {"shift_degree": 0.0}
    network, _, settings = asked(elements)
    suspects = [s for s in examination._static(Case(network, settings, time.monotonic() + 5))
                if s.rule == "phase-shift"]  # fmt: skip
    found = {s.elements[0]: s.repairs[0].edits[0].value for s in suspects}
    assert found == {"t": approx(0.0), "t2": approx(150.0)}
    assert all(s.evidence["left_degree"] in (approx(150.0), approx(-150.0)) for s in suspects)


def test_a_line_across_voltage_levels_is_told():
    elements = village()
    elements["wrong"] = line("b0", "b5")
    network, _, settings = asked(elements)
    suspects = [s for s in examination._static(Case(network, settings, time.monotonic() + 5))
                if s.rule == "joins-levels"]  # fmt: skip
    assert [s.elements for s in suspects] == [("wrong",)]
    assert suspects[0].repairs[0].edits[0][1:] == ("in_service", False)


def test_two_faults_are_mended_together():
    elements = village(d4={"p_mw": 600.0, "q_mvar": 150.0}, c2={"length_km": 1500.0})
    first = diagnosis_of(elements)[0]
    assert first["rule"] == "several"
    assert set(first["elements"]) == {"d4", "c2"}
    assert solves(elements, first)


def test_too_few_iterations_are_the_settings_fault():
    causes = diagnosis_of(village(), max_iteration=1)
    assert causes[0]["rule"] == "solver"
    assert causes[0]["repair"] == [{"element": None, "field": "max_iteration", "value": None}]
    assert solves(village(), causes[0], max_iteration=1)


def test_a_part_without_supply_is_told_beside_the_cause():
    elements = village(d4={"p_mw": 600.0, "q_mvar": 150.0})
    elements["alone"] = bus(20.0)
    cause = named(diagnosis_of(elements), "unsupplied")
    assert cause["elements"] == ["alone"]
    assert cause["verified"] is None


# -- what the certificate knew is kept -------------------------------------------------------------


def test_a_diagnosis_of_the_certificate_is_ranked_with_the_others():
    """What it said of the engine's answer stands behind what is known to help."""
    known = {
        "rule": "engine-answer", "cause": "It got less.", "elements": ["d"], "evidence": {},
        "suggestion": "", "repair": [], "verified": None,
    }  # fmt: skip
    network, _, settings = asked(two_buses(400.0))
    error = NotConvergedError("No solution.", diagnosis=[known])
    causes = doctor.diagnosed(error, PANDAPOWER, network, settings).extra["diagnosis"]
    assert known in causes
    assert [cause["verified"] for cause in causes[: causes.index(known)]] == [
        True for _ in causes[: causes.index(known)]
    ]
    assert causes[0]["verified"]


def test_what_the_certificate_refuses_has_the_same_shape():
    """The voltages of a sound answer, moved: no repair is known of the engine's mistake."""
    error = by_hand(two_buses(40.0)).change("b2", "vm_pu", lambda vm: vm - 0.01).refused()
    cause = error.extra["diagnosis"][0]
    assert (cause["rule"], cause["repair"], cause["verified"]) == ("engine-answer", [], None)


# -- bounds ----------------------------------------------------------------------------------------


def test_without_time_nothing_is_tried():
    network, _, settings = asked(two_buses(400.0))
    causes = doctor.diagnosis(PANDAPOWER, network, settings, seconds=0.0)
    assert not any(cause["verified"] for cause in causes)


def test_a_failure_of_the_examination_leaves_the_error_as_it_was(monkeypatch, caplog):
    def fail(*_: Any) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(doctor, "examine", fail)
    network, _, settings = asked(two_buses(400.0))
    error = doctor.diagnosed(NotConvergedError("None."), PANDAPOWER, network, settings)
    assert error.extra["diagnosis"] == []
    assert "ZeroDivisionError" in caplog.text


def test_a_network_that_solves_is_not_examined(monkeypatch):
    monkeypatch.setattr(doctor, "examine", None)
    assert ask(village())[0] == 200


def test_what_is_no_number_is_null_in_the_evidence():
    for cause in diagnosis_of(two_buses(4e9)):
        json.dumps(cause, allow_nan=False)


# -- a part of the bench ---------------------------------------------------------------------------

BENCH = [
    ("town", "load: kW for MW"),
    ("town", "transformer: vk, two decimals"),
    ("plant", "motor: kW for MW"),
    ("plant", "transformer 3w: vk, two decimals"),
    ("ieee34", "line: metres for kilometres"),
    ("case30", "generator: percent for pu"),
]


@pytest.mark.parametrize(("network", "fault"), BENCH)
def test_planted_faults_are_among_the_first_three_and_mended(network, fault):
    elements = NETWORKS[network]()
    planted = FAULTS[fault](random.Random(f"{network} {fault} 0"), elements)
    causes = diagnosis_of(elements)
    assert any(planted.elements & set(cause["elements"]) for cause in causes[:3])
    assert solves(elements, causes[0])
