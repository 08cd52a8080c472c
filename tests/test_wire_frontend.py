"""The browser's spelling: what it posts is understood, what it reads is there, and nothing is lost.

The bodies are of three origins. `../shared/contract/payloads` is what the real client posted, and
`../shared/contract/answers` what the backend that this one replaces answered: where that was right,
our numbers equal its printed ones. `tests/payloads` was written here in the client's manner. The
small bodies below are made of the pieces that `entries` makes.
"""

from __future__ import annotations

import functools
import json
import random
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandapower as pp
import pytest
from flask.testing import FlaskClient
from pytest import approx

from electrisim.elements import KIND
from electrisim.wire.frontend import diagnosis
from electrisim.wire.frontend.report import Report
from electrisim.wire.frontend.tables import POWER_FLOW, SPELLINGS

Body = dict[str, Any]

HERE = Path(__file__).parent
CONTRACT = HERE.parent.parent / "shared" / "contract"
needs_shared = pytest.mark.skipif(not CONTRACT.exists(), reason="../shared is absent")


def ask(client: FlaskClient, body: Any) -> Body:
    """Post a body; it must come back as 200, strict JSON."""
    text = body if isinstance(body, (str, bytes)) else json.dumps(body)
    response = client.post("/", data=text, content_type="application/json")
    assert response.status_code == 200, response.text
    assert response.content_type == "application/json"
    return json.loads(response.text, parse_constant=refuse_constant)


def refuse_constant(word: str) -> None:
    pytest.fail(f"{word} is no JSON")


def row(answer: Body, key: str, name: str) -> Body:
    return next(row for row in answer[key] if row["name"] == name)


def listed(answer: Body, field: str) -> set[str]:
    """The elements that have a row."""
    lists = (rows for rows in answer.values() if isinstance(rows, list))
    return {row[field] for rows in lists for row in rows if isinstance(row, dict)}


# -- bodies in the client's manner -----------------------------------------------------------------

PANDAPOWER = {
    "typ": "PowerFlowPandaPower Parameters", "frequency": "50", "algorithm": "nr",
    "calculate_voltage_angles": "true", "initialization": "auto", "exportPython": False,
}  # fmt: skip
OPENDSS = {
    "typ": "PowerFlowOpenDss Parameters", "frequency": "50", "mode": "Snapshot",
    "algorithm": "Normal", "loadmodel": "Powerflow", "maxIterations": "100",
    "tolerance": "0.0001", "controlmode": "Static", "exportCommands": False,
}  # fmt: skip
LINE = {
    "length_km": "10", "r_ohm_per_km": "0.16", "x_ohm_per_km": "0.117", "c_nf_per_km": "273",
    "g_us_per_km": "0", "max_i_ka": "0.362", "df": "1", "parallel": "1", "in_service": "true",
}  # fmt: skip
TRANSFORMER = {
    "sn_mva": "25", "vn_hv_kv": "110", "vn_lv_kv": "20", "vkr_percent": "0.41",
    "vk_percent": "12", "pfe_kw": "14", "i0_percent": "0.07", "vector_group": "Dyn",
    "shift_degree": "0", "tap_side": "hv", "tap_pos": "0", "tap_neutral": "0", "parallel": "1",
    "tap_step_percent": "1.5", "tap_step_degree": "0", "in_service": "true",
}  # fmt: skip
POWER = {"p_mw": "3", "q_mvar": "1", "scaling": "1", "in_service": "true"}


def entry(typ: str, name: str, **fields: Any) -> Body:
    """An element as the client writes it: labelled by its name, with an id of its own."""
    return {"typ": typ, "name": name, "id": f"cell-{name}", "userFriendlyName": name, **fields}


def feeder(*more: Body, parameters: Mapping[str, Any] = PANDAPOWER) -> Body:
    """grid ── bus a ══ line, 10 km ══ bus b, 20 kV, and what more there is"""
    entries = (
        dict(parameters),
        entry("External Grid0", "grid", bus="a", vm_pu="1.02", va_degree="0", in_service="true"),
        entry("Bus0", "a", vn_kv="20"),
        entry("Bus1", "b", vn_kv="20"),
        entry("Line0", "line", busFrom="a", busTo="b", **LINE),
        *more,
    )
    return {str(key): entry for key, entry in enumerate(entries)}


def by_hand(add: Callable[[pp.pandapowerNet, int], Any]) -> pp.pandapowerNet:
    """The same feeder made with pandapower's own functions, and solved."""
    net = pp.create_empty_network(f_hz=50)
    a, b = (pp.create_bus(net, 20, name=name) for name in "ab")
    pp.create_ext_grid(net, a, 1.02)
    pp.create_line_from_parameters(net, a, b, 10, 0.16, 0.117, 273, 0.362)
    add(net, b)
    pp.runpp(net, calculate_voltage_angles=True, numba=False)
    return net


def same_voltage(answer: Body, net: pp.pandapowerNet) -> None:
    """Two runs of one solver on one network: they agree to its tolerance of 1e-8 MVA."""
    for at, name in enumerate("ab"):
        bus = row(answer, "busbars", name)
        assert bus["vm_pu"] == approx(net.res_bus.vm_pu[at], abs=1e-9)
        assert bus["va_degree"] == approx(net.res_bus.va_degree[at], abs=1e-7)


# -- which spelling --------------------------------------------------------------------------------

STUDIES = [
    ("FuseCharacteristicPreviewPandaPower", "fuse preview"),
    ("ProtectionCoordinationPandaPower", "protection"),
    ("EconomicAnalysisPandaPower Parameters", "economic"),
    ("RPCAnalysisPandaPower Parameters", "reactive power capability"),
    ("BessSizingPandaPower", "battery"),
]


@pytest.mark.parametrize(("typ", "title"), STUDIES)
def test_a_study_that_the_server_does_not_have_is_refused_by_its_name(client, typ, title):
    """A longer name wins: an optimal power flow is not taken for a power flow."""
    answer = ask(client, feeder(parameters={"typ": typ}))
    assert title in answer["error"] and "not available" in answer["error"]
    assert answer["diagnostic"]


def test_the_parameters_of_the_battery_study_stand_under_a_key_of_their_own(client):
    body = feeder()
    body["bess_sizing_params"] = {"typ": "BessSizingPandaPower"}
    del body["0"]
    assert "battery" in ask(client, body)["error"]


def test_harmonics_are_no_power_flow(client):
    """They need the impedance of the grid, which a power flow does not."""
    answer = ask(client, feeder(parameters={**OPENDSS, "analysisType": "harmonic"}))
    assert "s_sc_max_mva" in answer["error"]


def test_the_parameter_entry_may_stand_anywhere(client):
    body = feeder()
    moved = {key: body[key] for key in reversed(body)}
    assert ask(client, moved)["busbars"][0]["vm_pu"]


def test_a_body_that_asks_for_two_studies_is_refused(client):
    body = feeder({"typ": "ShortCircuitPandaPower Parameters"})
    assert "One study" in ask(client, body)["error"]


@pytest.mark.parametrize("key", ["simulationType", "elements"])
def test_a_body_with_the_documented_keys_is_the_documented_spelling(client, key):
    response = client.post("/", json={**feeder(), key: "powerflow"})
    assert response.status_code == 422
    assert response.content_type == "application/problem+json"


@pytest.mark.parametrize("body", ["{}", '{"0": {"typ": "Bus0"}}', '{"0": 1}'])
def test_a_body_without_a_study_is_refused_in_the_documented_spelling(client, body):
    response = client.post("/", data=body, content_type="application/json")
    assert response.status_code == 422
    assert response.content_type == "application/problem+json"


@pytest.mark.parametrize("body", ["", "[1, 2]", "{", "[" * 100_000, '{"0":' * 100_000])
def test_what_is_no_json_object_is_no_request(client, body):
    response = client.post("/", data=body, content_type="application/json")
    assert response.status_code == 400


# -- what the real client posted -------------------------------------------------------------------


def payloads(pattern: str) -> list[str]:
    return sorted(path.stem for path in CONTRACT.glob(f"payloads/{pattern}.json"))


#: Whether a study's lists are of some kinds only, whatever else takes part.
SERIAL = re.compile(".*__(contingency|timeseries|shortcircuit)").match


def answered(pattern: str) -> list[str]:
    """The bodies that the backend which this one replaces answered with results."""
    return sorted(
        path.stem
        for path in CONTRACT.glob(f"answers/{pattern}.json")
        if not json.loads(path.read_text())["body"].get("error")
    )


def payload(name: str) -> Body:
    return json.loads((CONTRACT / "payloads" / f"{name}.json").read_text())


def theirs(name: str) -> Body:
    return json.loads((CONTRACT / "answers" / f"{name}.json").read_text())["body"]


CLOSE = functools.partial(approx, rel=1e-6, abs=1e-7)


def through_flow(answer: Body, name: str) -> float:
    bus = row(answer, "busbars", name)
    return abs(bus["p_branch_mw"])


def explained(name: str, key: str, field: str, old: Body, new: Body, answer: Body) -> bool:
    """Whether a difference from the answer of the backend that this one replaces has a reason."""
    if key == "busbars" and field in ("p_branch_mw", "q_branch_mvar"):
        # The same flow arrives and leaves; its sign was decided by the last digit of the two sums.
        tie = abs(old["p_branch_mw"]) == CLOSE(abs(new["p_branch_mw"]))
        # What passes through an ideal switch between buses was counted as nothing.
        switched = any(
            e["typ"].startswith("Switch")
            and e["et"] == "b"
            and old["name"] in (e["bus"], e["element"])
            for e in payload(name).values()
        )
        return tie or switched
    if key == "switches":
        if field == "loading_percent":  # of a rating that nobody gave
            return new[field] is None
        between = payload_of(name, new["id"])["et"] == "b"
        # Between buses everything was 0; at a branch, `to` was the far end of the branch.
        return (between and old[field] == 0) or field in ("p_to_mw", "q_to_mvar")
    if name.startswith("elem_ssc") and key in ("externalgrids", "busbars"):
        # Their grid delivered 3.09731 MW into a transformer, its only branch, that took 3.09737 MW.
        grid = answer["externalgrids"][0]
        return grid["p_mw"] == CLOSE(answer["transformers"][0]["p_hv_mw"])
    return False


def payload_of(name: str, id_: str) -> Body:
    return next(e for e in payload(name).values() if e.get("id") == id_)


@needs_shared
@pytest.mark.parametrize("name", payloads("*__powerflow_pandapower*"))
def test_numbers_equal_those_of_the_backend_that_this_one_replaces(client, name):
    """Its power flow on pandapower was right; both print the solver's own digits."""
    old, answer = theirs(name), ask(client, payload(name))
    if old.get("error"):
        assert answer["warnings"]
        return
    compared = 0
    for key, rows in old.items():
        if key == "pandapower_python":
            assert answer[key]
            continue
        for was in rows:
            now = next((r for r in answer[key] if r["id"] == was["id"]), None)
            if now is None:
                # Out of service: they listed zeros, the contract leaves the row out.
                assert payload_of(name, was["id"])["in_service"] == "false"
                continue
            compared += len(was)
            differing = {
                field: (value, now[field])
                for field, value in was.items()
                if not alike(value, now[field])
                and not explained(name, key, field, was, now, answer)
            }
            assert not differing, (key, was["name"])
    assert compared > 60


def alike(old: Any, new: Any) -> bool:
    if isinstance(old, (int, float)) and isinstance(new, (int, float)):
        return bool(new == CLOSE(old))
    return bool(old == new)


def numbers(answer: Body, engine: str) -> None:
    """Every field that the client formats is a number."""
    for listing in POWER_FLOW[engine]:
        for key in listing.keys:
            for found in answer.get(key, []):
                assert {"id", "name"} <= found.keys()
                for field in listing.read:
                    assert isinstance(found[field], (int, float)), (key, field, found)


@needs_shared
@pytest.mark.parametrize("name", payloads("*__powerflow_pandapower*"))
def test_every_shipped_request_is_answered_with_numbers_under_the_ids_it_came_with(client, name):
    body = payload(name)
    answer = ask(client, body)
    assert "error" not in answer
    numbers(answer, "pandapower")
    sent = {(entry.get("id"), entry.get("name")) for entry in body.values()}
    for key, rows in answer.items():
        if isinstance(rows, list) and key != "warnings":
            assert {(found["id"], found["name"]) for found in rows} <= sent


@needs_shared
@pytest.mark.parametrize("name", payloads("*__powerflow_opendss*"))
def test_rows_of_opendss_bear_the_number_by_which_the_client_finds_a_cell(client, name):
    answer = ask(client, payload(name))
    assert "error" not in answer
    numbers(answer, "opendss")
    rows = [row for rows in answer.values() if isinstance(rows, list) for row in rows]
    found = [re.fullmatch(r"mxCell[_#](\d+)", r["id"]) for r in rows if isinstance(r, dict)]
    assert found and all(found)


#: What a shipped OpenDSS request does not say, and so is another network than pandapower's.
UNSAID: Mapping[str, str] = {
    "elem_asymmetric_load": "its collector has no asymmetric loads",
    "elem_capacitor": "no losses of a capacitor",
    "elem_extended_ward": "no voltage of an extended ward",
    "multivoltage_example": "no voltage of an extended ward",
    "elem_motor": "no power of a motor",
    "elem_ssc": "no impedance of a compensator",
    "elem_svc": "no reactances of a compensator",
    "elem_pvsystem": "the other collector has no PVSystem",
    "elem_switch_bb": "no switches",
    "elem_trafo_dyn5": "no parallel transformers",
}


@needs_shared
@pytest.mark.parametrize("name", payloads("*__powerflow_opendss"))
def test_both_engines_find_the_same_voltages_in_a_shipped_diagram(client, name):
    """Two solvers that share no code; 1e-6 pu and 1e-4° are ten times what either leaves."""
    diagram = name.removesuffix("__powerflow_opendss")
    body = payload(f"{diagram}__powerflow_pandapower")
    body["0"]["calculate_voltage_angles"] = "true"
    one, other = ask(client, payload(name)), ask(client, body)
    pairs = [(bus, row(other, "busbars", bus["name"])) for bus in one["busbars"]]
    apart = [
        (a["name"], a["vm_pu"] - b["vm_pu"], a["va_degree"] - b["va_degree"])
        for a, b in pairs
        if a["vm_pu"] != approx(b["vm_pu"], abs=1e-6)
        or a["va_degree"] != approx(b["va_degree"], abs=1e-4)
    ]
    assert bool(apart) == (diagram in UNSAID), apart


@needs_shared
@pytest.mark.parametrize(
    "name",
    payloads("*__powerflow_*") + [name for name in payloads("elem_*") if not SERIAL(name)],
)
def test_nothing_in_a_shipped_request_is_dropped_in_silence(client, name):
    """An element has a row, or a warning names it, or the study is refused."""
    body = payload(name)
    answer = ask(client, body)
    if answer.get("error"):
        assert answer["diagnostic"] and answer["message"] and answer["exception"]
        return
    there = listed(answer, "name")
    told = " ".join(answer["warnings"])
    for element in body.values():
        if "name" not in element or element["name"] in there:
            continue
        label = element.get("userFriendlyName")
        assert element["name"] in told or (label and label in told), element["name"]


@needs_shared
def test_no_shipped_field_is_unknown(client):
    for name in payloads("*__powerflow_*"):
        assert "is unknown" not in " ".join(ask(client, payload(name))["warnings"]), name


@needs_shared
def test_every_field_that_the_client_can_send_has_its_place_in_the_tables():
    """`frontend-fields.json` lists every field of every kind, over all collectors."""
    listed = json.loads((CONTRACT / "frontend-fields.json").read_text())
    for typ, fields in listed.items():
        spelling = SPELLINGS[typ]
        if spelling.kind is None:
            continue
        placed = {*spelling.fields, *spelling.beyond, "typ", "name", "id", "userFriendlyName"}
        placed |= {word for words in spelling.terminals.values() for word in words}
        assert set(fields) <= placed, typ


def test_every_spelling_leads_to_fields_of_the_catalogue():
    for typ, spelling in SPELLINGS.items():
        if spelling.kind is not None:
            assert spelling.kind is KIND.get(typ, spelling.kind)
            names = set(spelling.kind.__struct_fields__)
            assert {*spelling.fields.values(), *spelling.terminals, *spelling.needs} <= names
            assert not spelling.beyond & set(spelling.fields), typ


# -- OpenDSS ---------------------------------------------------------------------------------------


def test_the_whole_written_request_is_answered_by_opendss(client):
    body = json.loads((HERE / "payloads" / "powerflow_opendss.json").read_text())
    answer = ask(client, body)
    numbers(answer, "opendss")
    sent = {e["name"] for e in body.values() if "name" in e}
    assert sent - listed(answer, "name") == {"mxCell_32"}  # an impedance without terminals
    assert "Impedance “mxCell_32”: left out" in " ".join(answer["warnings"])
    load = row(answer, "loads", "mxCell_27")
    assert load["p_set_mw"] == approx(3 * 1.2)
    v = load["vm_pu"]
    shares = 0.3 + 0.3 * v + 0.4 * v**2
    assert load["p_mw"] == approx(3 * 1.2 * shares, rel=1e-6)
    assert load["q_mvar"] == approx(-1 * 1.2 * shares, rel=1e-6)
    sun = row(answer, "pvsystems", "mxCell_41")
    assert (sun["p_mw"], sun["irradiance"]) == (approx(1.2), 0.8)
    assert row(answer, "generators", "mxCell_22")["p_mw"] == approx(1, rel=1e-6)
    assert row(answer, "storages", "mxCell_35")["p_mw"] == approx(-0.3, rel=1e-6)
    assert row(answer, "capacitors", "mxCell_26")["q_mvar"] == approx(-(v**2), rel=1e-6)
    assert row(answer, "shunts", "mxCell_25")["q_mvar"] == approx(0.8 * v**2, rel=1e-6)


def sun(**fields: Any) -> Body:
    given = {"pmpp": "2000", "irradiance": "1", "temperature": "25", "kva": "2000", "pf": "1",
             "kvar": "0", "cutin": "0.1", "cutout": "0.1", "phases": "3"}  # fmt: skip
    return entry("PVSystem", "sun", bus="b", **{**given, **fields})


@pytest.mark.parametrize(
    ("fields", "p_mw", "q_mvar"),
    [({}, 2, 0), ({"irradiance": "0.5"}, 1, 0), ({"irradiance": "0.09"}, 0, 0),
     ({"pf": "0.8", "irradiance": "0.5"}, 1, 0.75), ({"kvar": "300", "irradiance": "0.5"}, 1, 0.3),
     ({"pmpp_percent": "50"}, 1, 0)],
)  # fmt: skip
def test_a_pv_system_delivers_what_the_sun_and_its_inverter_allow(client, fields, p_mw, q_mvar):
    """By hand: Pmpp × irradiance above the cut-in of 10 % of the rating, Q by factor or number."""
    found = row(ask(client, feeder(sun(**fields), parameters=OPENDSS)), "pvsystems", "sun")
    assert found["p_mw"] == approx(p_mw, abs=1e-6)
    assert found["q_mvar"] == approx(q_mvar, abs=1e-6)


@pytest.mark.parametrize(
    "odd",
    [sun(model="3"), sun(phases="1"), sun(controlmode="GFM"),
     entry("Storage", "sun", bus="b", p_mw="1", inv_control_mode="VOLTS"),
     entry("Storage", "sun", bus="b", p_mw="1", phases=1)],
)  # fmt: skip
def test_what_an_inverter_would_do_and_cannot_is_refused_by_name(client, odd):
    answer = ask(client, feeder(odd, parameters=OPENDSS))
    assert f"{odd['typ']} “sun” has" in answer["error"]


def test_a_battery_acts_as_its_power_says(client):
    """The dialog leaves `state` at IDLING, whatever the power; one that contradicts is told."""
    idle = entry("Storage", "s", bus="b", p_mw="-1", q_mvar="0", state="IDLING")
    answer = ask(client, feeder(idle, parameters=OPENDSS))
    assert row(answer, "storages", "s")["p_mw"] == approx(-1, rel=1e-6)
    assert answer["warnings"] == []
    answer = ask(client, feeder({**idle, "state": "CHARGING"}, parameters=OPENDSS))
    assert any("state CHARGING" in told for told in answer["warnings"])


def test_static_generators_are_among_the_generators_with_their_bus_s_voltage(client):
    wind = entry("Static Generator", "wind", bus="b", p_mw="2", q_mvar="0", scaling="1")
    answer = ask(client, feeder(wind, parameters=OPENDSS))
    bus, found = row(answer, "busbars", "b"), row(answer, "generators", "wind")
    assert (found["vm_pu"], found["va_degree"]) == (bus["vm_pu"], bus["va_degree"])


@pytest.mark.parametrize("mode", ["Daily", "Dutycycle", "Yearly"])
def test_a_series_without_shapes_is_a_snapshot_and_says_so(client, mode):
    answer = ask(client, feeder(parameters={**OPENDSS, "mode": mode}))
    assert answer["busbars"] == ask(client, feeder(parameters=OPENDSS))["busbars"]
    assert any("snapshot" in warning for warning in answer["warnings"])


@pytest.mark.parametrize("field", ["algorithm", "loadmodel"])
def test_the_words_of_the_opendss_dialog_are_understood(client, field):
    """Newton finds what the fixed point finds; admittances draw what their voltage lets them."""
    other = {"algorithm": "Newton", "loadmodel": "Admittance"}[field]
    load = entry("Load", "load", bus="b", **POWER)
    usual = row(ask(client, feeder(load, parameters=OPENDSS)), "loads", "load")
    changed = ask(client, feeder(load, parameters={**OPENDSS, field: other}))
    found = row(changed, "loads", "load")
    v = row(changed, "busbars", "b")["vm_pu"]
    factor = 1 if field == "algorithm" else v**2
    assert found["p_mw"] == approx(usual["p_mw"] * factor, rel=1e-6)


@pytest.mark.parametrize(("tolerance", "told"), [("0", "tolerance"), ("fine", "tolerance")])
def test_a_tolerance_must_be_one(client, tolerance, told):
    answer = ask(client, feeder(parameters={**OPENDSS, "tolerance": tolerance}))
    assert told in answer["error"]


def test_a_tolerance_that_is_finer_than_the_engine_s_is_told(client):
    answer = ask(client, feeder(parameters={**OPENDSS, "tolerance": "1e-14"}))
    assert any("tolerance 1e-14" in warning for warning in answer["warnings"])


@pytest.mark.parametrize(
    ("parameters", "flag", "key"),
    [(PANDAPOWER, "exportPython", "pandapower_python"),
     (OPENDSS, "exportCommands", "opendss_commands")],
)  # fmt: skip
def test_a_script_comes_with_the_answer_when_it_is_asked_for(client, parameters, flag, key):
    asked = ask(client, feeder(parameters={**parameters, flag: True}))
    assert len(asked[key].splitlines()) > 5
    assert key not in ask(client, feeder(parameters=parameters))


# -- what the fields mean --------------------------------------------------------------------------


def test_the_whole_written_request_has_a_row_per_element_or_a_word_about_it(client):
    body = json.loads((HERE / "payloads" / "powerflow_pandapower.json").read_text())
    answer = ask(client, body)
    numbers(answer, "pandapower")
    assert {e["id"] for e in body.values() if "id" in e} - listed(answer, "id") == {
        "cell-36",  # a DC line without terminals
        "cell-38",  # a line out of service
        "cell-41",  # a switch between garbage and garbage
    }
    told = "\n".join(answer["warnings"])
    assert "DC Line “Link”: left out" in told
    assert "Switch “Switch (27)”: left out, because its bus “0”" in told
    assert "Line “Spare”" in told
    assert "tap_side “30” is not hv or lv" in told
    assert "tap_neutral “hv” is not a number" in told
    assert "type “true” is not wye or delta" in told


def test_both_keys_of_a_compensator_are_there(client):
    svc = entry(
        "SVC0", "svc", bus="b", x_l_ohm="1", x_cvar_ohm="-10", set_vm_pu="1", in_service="true",
        thyristor_firing_angle_degree="145", controllable="True", min_angle_degree="90",
        max_angle_degree="180",
    )  # fmt: skip
    answer = ask(client, feeder(svc))
    assert answer["svc"] == answer["svcs"]
    assert answer["svc"][0]["vm_pu"] == approx(1.0, abs=1e-9)


def test_a_capacitor_delivers_what_the_browser_counts_positive(client):
    """pandapower's own create_shunt_as_capacitor is the judge of sign and losses."""
    bank = entry("Capacitor0", "bank", bus="b", q_mvar="2", loss_factor="0.01", vn_kv="20")
    answer = ask(client, feeder(bank))
    net = by_hand(lambda net, b: pp.create_shunt_as_capacitor(net, b, 2, 0.01, vn_kv=20))
    same_voltage(answer, net)
    assert row(answer, "capacitors", "bank")["q_mvar"] == approx(net.res_shunt.q_mvar[0])
    assert row(answer, "capacitors", "bank")["p_mw"] == approx(net.res_shunt.p_mw[0])


def test_a_rated_voltage_of_zero_is_the_bus_s(client):
    reactor = entry("Shunt Reactor0", "reactor", bus="b", p_mw="0", q_mvar="2", vn_kv="0")
    answer = ask(client, feeder(reactor))
    same_voltage(answer, by_hand(lambda net, b: pp.create_shunt(net, b, 2, 0)))


def test_the_table_of_a_reactor_tells_its_power_at_the_present_step(client):
    """Two steps of 0.5 Mvar by their table, not twice the 9 Mvar of the dialog."""
    table = json.dumps(
        [{"step": 1, "p_mw": 0, "q_mvar": 0.3}, {"step": 2, "p_mw": 0.1, "q_mvar": 1}]
    )
    reactor = entry(
        "Shunt Reactor0", "reactor", bus="b", p_mw="0", q_mvar="9", vn_kv="20", step="2",
        max_step="2", step_dependency_table="true", shunt_characteristic_table_json=table,
    )  # fmt: skip
    answer = ask(client, feeder(reactor))
    same_voltage(answer, by_hand(lambda net, b: pp.create_shunt(net, b, 1, 0.1)))
    assert row(answer, "shunts", "reactor")["step"] == 2


def test_shares_of_a_load_are_those_of_both_its_powers(client):
    load = entry("Load0", "load", bus="b", const_z_percent="40", const_i_percent="30", **POWER)
    shares = {"const_z_p_percent": 40, "const_z_q_percent": 40}
    shares |= {"const_i_p_percent": 30, "const_i_q_percent": 30}
    answer = ask(client, feeder(load))
    same_voltage(answer, by_hand(lambda net, b: pp.create_load(net, b, 3, 1, **shares)))


def test_one_direction_of_an_impedance_is_enough(client):
    """The browser's power flow sends null for one of them."""
    c = entry("Bus2", "c", vn_kv="20")
    between = entry(
        "Impedance0", "z", busFrom="b", busTo="c", rft_pu=None, xft_pu=None, rtf_pu="0.01",
        xtf_pu="0.05", sn_mva="10", in_service="true",
    )  # fmt: skip
    load = entry("Load0", "load", bus="c", **POWER)

    def same(net, b):
        c = pp.create_bus(net, 20)
        pp.create_impedance(net, b, c, 0.01, 0.05, 10)
        pp.create_load(net, c, 3, 1)

    same_voltage(ask(client, feeder(c, between, load)), by_hand(same))


@pytest.mark.parametrize(
    ("vector_group", "shift", "lv_degree"),
    [("Dyn", "0", 0), ("Dyn5", "0", -150), ("Dyn5", "150", -150), ("Dyn", "30", -30),
     ("Dyn11", "30", -30), ("YNyn0", "0", 0)],
)  # fmt: skip
def test_a_shift_is_not_added_twice(client, vector_group, shift, lv_degree):
    """Unloaded, the secondary lags by the shift, or the clock number where the shift is unset."""
    body = feeder(
        entry("Bus2", "hv", vn_kv="110"),
        entry("External Grid1", "strong", bus="hv", vm_pu="1", va_degree="0"),
        entry("Bus3", "lv", vn_kv="20"),
        entry(
            "Transformer0", "t", hv_bus="hv", lv_bus="lv",
            **TRANSFORMER | {"vector_group": vector_group, "shift_degree": shift},
        ),
    )  # fmt: skip
    answer = ask(client, body)
    # The magnetising current turns the voltage by a few thousandths of a degree.
    assert row(answer, "busbars", "lv")["va_degree"] == approx(lv_degree, abs=0.01)


def test_a_phase_shifter_is_an_ideal_tap_changer(client):
    """Three steps of 2° on the high-voltage side turn the secondary by 6°."""
    body = feeder(
        entry("Bus2", "hv", vn_kv="110"),
        entry("External Grid1", "strong", bus="hv", vm_pu="1", va_degree="0"),
        entry("Bus3", "lv", vn_kv="20"),
        entry(
            "Transformer0", "t", hv_bus="hv", lv_bus="lv",
            **TRANSFORMER | {"tap_phase_shifter": "true", "tap_pos": "3", "tap_step_degree": "2",
                             "tap_step_percent": "0"},
        ),
    )  # fmt: skip
    lv = row(ask(client, body), "busbars", "lv")
    assert abs(lv["va_degree"]) == approx(6, abs=0.01)
    assert lv["vm_pu"] == approx(1, abs=1e-3)


def test_a_generator_that_leaves_its_capability_curve_is_limited_by_it(client):
    curve = [{"p_mw": p, "q_min_mvar": -q, "q_max_mvar": q} for p, q in ((0, 0), (4, 2))]
    sun = entry(
        "Static Generator", "sun", bus="b", p_mw="1", q_mvar="5", scaling="1", in_service="true",
        reactive_capability_curve="true", curve_style="straightLineYValues",
        q_capability_curve_json=json.dumps(curve),
    )  # fmt: skip
    answer = ask(client, feeder(sun))
    assert row(answer, "staticgenerators", "sun")["q_mvar"] == approx(0.5)
    assert any("limited to 0.5" in warning for warning in answer["warnings"])


def test_angles_that_the_user_switched_off_are_not_calculated(client):
    """The text “false” is no truth, whatever a language thinks of texts."""
    body = feeder(
        entry("Bus2", "hv", vn_kv="110"),
        entry("External Grid1", "strong", bus="hv", vm_pu="1", va_degree="0"),
        entry("Bus3", "lv", vn_kv="20"),
        entry("Transformer0", "t", hv_bus="hv", lv_bus="lv",
              **TRANSFORMER | {"vector_group": "Dyn5"}),
    )  # fmt: skip
    body["0"] = {**PANDAPOWER, "calculate_voltage_angles": "false"}
    assert row(ask(client, body), "busbars", "lv")["va_degree"] == approx(0, abs=0.01)


def test_a_bus_tells_what_passes_through_it(client):
    """a ── 3 MW over two lines ── b ── switch ── c: b and c pass on what c's load takes."""
    body = feeder(
        entry("Bus2", "c", vn_kv="20"),
        entry("Switch0", "switch", bus="b", element="c", et="b", closed="true", z_ohm="0.0"),
        entry("Load0", "load", bus="c", **POWER),
    )
    answer = ask(client, body)
    for name in "bc":
        assert through_flow(answer, name) == approx(3, abs=1e-6)
    assert row(answer, "switches", "switch")["p_from_mw"] == approx(3, abs=1e-6)
    b = row(answer, "busbars", "b")
    assert (b["p_mw"], b["pf"], b["q_p"]) == (approx(0), 0, 0)
    c = row(answer, "busbars", "c")
    assert c["pf"] == approx(3 / np.hypot(3, 1)) and c["q_p"] == approx(1 / 3)
    assert c["vm_kv"] == approx(20 * c["vm_pu"])


def test_zero_means_not_set_where_the_dialog_starts_with_it(client):
    body = feeder(entry("Load0", "load", bus="b", **POWER, sn_mva="0"))
    body["1"]["vm_pu"] = "0"
    answer = ask(client, body)
    assert row(answer, "busbars", "a")["vm_pu"] == approx(1)
    assert answer["warnings"] == []


# -- references ------------------------------------------------------------------------------------


def test_a_switch_may_refer_by_labels(client):
    body = feeder(entry("Load0", "load", bus="b", **POWER))
    body["3"]["userFriendlyName"], body["4"]["userFriendlyName"] = "Village", "Cable"
    body["9"] = entry("Switch0", "s", bus="Village", element="Cable", et="line", closed="false")
    answer = ask(client, body)
    assert [bus["name"] for bus in answer["busbars"]] == ["a"]
    assert any("Without supply" in warning for warning in answer["warnings"])


def test_a_label_that_two_buses_bear_refers_to_neither(client):
    body = feeder(entry("Load0", "load", bus="b", **POWER))
    body["2"]["userFriendlyName"] = body["3"]["userFriendlyName"] = "Bus"
    body["9"] = entry("Switch0", "s", bus="Bus", element="line", et="l", closed="false")
    answer = ask(client, body)
    assert len(answer["busbars"]) == 2
    assert "Switch “s”: left out" in " ".join(answer["warnings"])


def test_what_a_switch_switches_counts_more_than_its_letter(client):
    body = feeder(entry("Load0", "load", bus="b", **POWER))
    body["9"] = entry("Switch0", "s", bus="b", element="line", et="t", closed="true")
    answer = ask(client, body)
    assert row(answer, "switches", "s")["p_from_mw"] == approx(-3, abs=1e-6)
    assert "contradicts" in " ".join(answer["warnings"])


def test_an_element_that_is_connected_to_nothing_is_left_out_and_named(client):
    lost = entry("Load0", "lost", bus="gone", **POWER)
    open_ = entry("Load1", "open", bus=None, **POWER)
    answer = ask(client, feeder(lost, open_))
    told = " ".join(answer["warnings"])
    assert "Load “lost”: left out" in told and "Load “open”: left out" in told
    assert "loads" not in answer


def test_what_the_request_does_not_say_leaves_an_element_out(client):
    """As the OpenDSS collector sends a motor: without its power."""
    motor = entry("Motor", "pump", bus="b", pn_mw=1, cos_phi_n="0.88", efficiency_percent="94")
    answer = ask(client, feeder(motor))
    assert "left out, because the request does not say its pn_mech_mw" in answer["warnings"][0]


def test_two_buses_of_one_name_are_refused(client):
    answer = ask(client, feeder(entry("Bus2", "a", vn_kv="20")))
    assert "the name “a” of another bus" in answer["error"]


# -- odd values ------------------------------------------------------------------------------------

ODD = [
    ("Load0", {**POWER, "sn_mva": "null"}),
    ("Load0", {**POWER, "scaling": "None"}),
    ("Load0", {**POWER, "scaling": ""}),
    ("Load0", {**POWER, "scaling": "NaN"}),
    ("Load0", {**POWER, "scaling": "two"}),
    ("Load0", {**POWER, "type": "true"}),
    ("Load0", {**POWER, "in_service": "True"}),
    ("Load0", {**POWER, "in_service": ""}),
    ("Load0", {**POWER, "in_service": "perhaps"}),
    ("Load0", {**POWER, "const_z_percent": None}),
    ("Load0", {**POWER, "p_mw": 3, "q_mvar": 1.0}),
    ("Load0", {**POWER, "p_mw": " 3 "}),
    ("Load0", {**POWER, "spectrum": "custom", "conn": [1]}),
    ("Load0", {**POWER, "in_service": True, "something": "else"}),
]


@pytest.mark.parametrize(("typ", "fields"), ODD)
def test_odd_values_do_not_kill_a_study(client, typ, fields):
    """Each is a way to write the same load."""
    answer = ask(client, feeder(entry(typ, "x", bus="b", **fields)))
    same_voltage(answer, by_hand(lambda net, b: pp.create_load(net, b, 3, 1)))


@pytest.mark.parametrize(
    ("field", "value"),
    [("scaling", "two"), ("scaling", "1e999"), ("type", "true"), ("in_service", "perhaps"),
     ("sn_mva", [1]), ("sn_mva", True), ("something", "else")],
)  # fmt: skip
def test_what_counts_as_not_given_is_told_with_its_field(client, field, value):
    answer = ask(client, feeder(entry("Load0", "Mill", bus="b", **{**POWER, field: value})))
    assert any("Load “Mill”" in told and field in told for told in answer["warnings"])


def test_elements_with_the_same_oddity_share_one_sentence(client):
    mills = [entry(f"Load{n}", f"m{n}", bus="b", **POWER, type="true") for n in range(3)]
    warnings = ask(client, feeder(*mills))["warnings"]
    assert warnings == [
        "Load “m0”, “m1”, “m2”: type “true” is not wye or delta; it counts as not given."
    ]


TRANSFORMER_ODDITIES = [
    {"tap_side": "30", "tap_neutral": "hv"},
    {"tap_side": "0"},
    {"tap_side": "null"},
    {"tap_side": "HV"},
    {"parallel": "null"},
    {"vector_group": "0"},
    {"vector_group": "nonsense"},
    {"tap_changer_type": "ratio"},
]


@pytest.mark.parametrize("odd", TRANSFORMER_ODDITIES)
def test_shipped_garbage_at_a_transformer_does_not_kill_a_study(client, odd):
    """All of them at the neutral tap: the garbage has nothing to say."""

    def secondary(**fields):
        body = feeder(
            entry("Bus2", "hv", vn_kv="110"),
            entry("External Grid1", "strong", bus="hv", vm_pu="1", va_degree="0"),
            entry("Bus3", "lv", vn_kv="20"),
            entry("Transformer0", "t", hv_bus="hv", lv_bus="lv", **TRANSFORMER | fields),
            entry("Load0", "load", bus="lv", **POWER),
        )
        return row(ask(client, body), "busbars", "lv")

    assert secondary(**odd)["vm_pu"] == approx(secondary()["vm_pu"], abs=1e-12)


def test_the_columns_of_an_imported_three_winding_transformer_may_be_shifted(client):
    """`tap_side` "30", `tap_neutral` "hv": what imported diagrams carry."""
    windings = {
        f"{word}_{side}_{unit}": value
        for side, sn, vn in (("hv", "40", "110"), ("mv", "15", "20"), ("lv", "25", "10"))
        for word, unit, value in (
            ("sn", "mva", sn), ("vn", "kv", vn), ("vk", "percent", "10"), ("vkr", "percent", "0.3"),
        )
    }  # fmt: skip
    body = feeder(
        entry("Bus2", "hv", vn_kv="110"),
        entry("External Grid1", "strong", bus="hv", vm_pu="1", va_degree="0"),
        entry("Bus3", "mv", vn_kv="20"),
        entry("Bus4", "lv", vn_kv="10"),
        entry(
            "Three Winding Transformer0", "t3", hv_bus="hv", mv_bus="mv", lv_bus="lv", **windings,
            pfe_kw="0", i0_percent="0", vector_group="Dyn", shift_mv_degree="30",
            shift_lv_degree="0", tap_side="30", tap_neutral="hv", tap_pos="0",
            tap_step_percent="1.25", vk0_hv_percent=None,
        ),
    )  # fmt: skip
    answer = ask(client, body)
    assert row(answer, "transformers3W", "t3")["loading_percent"] == approx(0, abs=1e-6)
    assert row(answer, "busbars", "mv")["va_degree"] == approx(-30, abs=1e-6)


# -- refusals --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("typ", "field", "value"),
    [("Bus2", "vn_kv", "0"), ("Bus2", "vn_kv", "high"), ("Load0", "p_mw", ""),
     ("Load0", "p_mw", "much"), ("Load0", "p_mw", "1,5"), ("Load0", "const_z_percent", "140"),
     ("Transformer0", "vk_percent", "0"), ("Transformer0", "sn_mva", "-1"),
     ("Line1", "length_km", "0"), ("Line1", "parallel", "0")],
)  # fmt: skip
def test_what_the_user_can_mend_is_refused_with_its_place(client, typ, field, value):
    element = {
        "Bus2": {"vn_kv": "20"},
        "Load0": {"bus": "b", **POWER},
        "Transformer0": {"hv_bus": "a", "lv_bus": "b", **TRANSFORMER},
        "Line1": {"busFrom": "a", "busTo": "b", **LINE},
    }[typ]
    answer = ask(client, feeder(entry(typ, "x", **{**element, field: value})))
    assert answer["error"] == answer["message"]
    assert answer["exception"] == "invalid"
    places = answer["diagnostic"]["invalid_parameters"]
    place = next(place for place in places if place["param"] == field)
    assert place["element_type"] == typ.rstrip("0123456789")
    assert place["name"] == "x"
    assert place["message"] in answer["diagnostic"]["diagnostic_output"]


@pytest.mark.parametrize("parameters", [PANDAPOWER, OPENDSS])
def test_shares_of_more_than_the_whole_are_refused_by_name(client, parameters):
    load = entry("Load0", "Mill", bus="b", **POWER, const_z_percent="80", const_i_percent="40")
    answer = ask(client, feeder(load, parameters=parameters))
    assert "Load “Mill” has const_z_p_percent" in answer["error"]
    # The dialog has one share for both powers.
    assert answer["diagnostic"]["invalid_parameters"][0]["param"] == "const_z_percent"


def test_every_fault_is_told_at_once(client):
    body = feeder(entry("Load0", "x", bus="b", p_mw="?"), entry("Load1", "y", bus="b", p_mw=""))
    body["4"]["length_km"] = "-1"
    places = ask(client, body)["diagnostic"]["invalid_parameters"]
    assert [(place["name"], place["param"]) for place in places] == [
        ("line", "length_km"), ("x", "p_mw"), ("y", "p_mw"),
    ]  # fmt: skip


@pytest.mark.parametrize("typ", ["B2B VSC", "Line DC", "Load DC", "DC Bus"])
def test_a_kind_that_cannot_be_represented_refuses_the_study_by_name(client, typ):
    answer = ask(client, feeder(entry(typ, "odd one", bus="b")))
    assert f"{typ} “odd one”" in answer["error"]


def test_an_unknown_kind_refuses_the_study_and_names_the_nearest(client):
    answer = ask(client, feeder(entry("Laod3", "x", bus="b", **POWER)))
    assert "“Laod3”" in answer["error"] and "Load" in answer["error"]


@pytest.mark.parametrize(("field", "value"), [("frequency", "__import__('os')"),
                                              ("frequency", "-50"), ("algorithm", "magic"),
                                              ("initialization", "results")])  # fmt: skip
def test_parameters_are_read_and_never_evaluated(client, field, value):
    answer = ask(client, feeder(parameters={**PANDAPOWER, field: value}))
    assert value in answer["error"]


def test_without_a_source_there_is_no_answer(client):
    body = feeder()
    body["1"]["in_service"] = "false"
    answer = ask(client, body)
    assert "No bus" in answer["error"] and "supplied" in answer["error"]
    assert answer["diagnostic"]["isolated_buses"] == ["a", "b"]


def test_a_part_without_supply_does_not_refuse_the_rest(client):
    island = (entry("Bus2", "c", vn_kv="20"), entry("Load0", "dark", bus="c", **POWER))
    answer = ask(client, feeder(*island))
    assert [bus["name"] for bus in answer["busbars"]] == ["a", "b"]
    assert answer["loads"] == []
    assert any("Bus “c”" in told and "Load “dark”" in told for told in answer["warnings"])


def test_an_impossible_load_is_told_in_the_client_s_dialog(client):
    body = feeder(entry("Load0", "city", bus="b", **{**POWER, "p_mw": "1000"}))
    answer = ask(client, body)
    assert answer["exception"] == "not-converged"
    assert answer["diagnostic"]["convergence"]


def test_control_without_controllers_is_a_power_flow_with_empty_lists(client):
    flags = dict.fromkeys(("run_control", "run_control_trafo2w", "run_control_shunt"), True)
    answer = ask(client, feeder(parameters={**PANDAPOWER, **flags}))
    assert answer["tap_control_results"] == answer["shunt_control_results"] == []


# -- anything at all -------------------------------------------------------------------------------

GARBAGE: list[Any] = [
    None, "", "null", "NaN", "inf", "-1", "0", 0, -1, 1e308, "1e308", True, "true", [], {}, [[1]],
    {"busFrom": "a"}, "x" * 3000, "\u0000", "“//\n", "mxCell_1", "0.5", "1,5", 10**30,
]  # fmt: skip


def mutated(body: Body, seed: int) -> Body:
    """The body with a few values, keys or whole entries replaced by garbage."""
    chance = random.Random(seed)
    changed: Body = json.loads(json.dumps(body))
    for _ in range(chance.randint(1, 6)):
        key = chance.choice(list(changed))
        found = changed[key]
        if not isinstance(found, dict) or chance.random() < 0.1:
            changed[key] = chance.choice(GARBAGE)
        elif chance.random() < 0.2 and found:
            del found[chance.choice(list(found))]
        else:
            field = chance.choice([*found, "userFriendlyName", "typ", "bus"])
            found[field] = chance.choice(GARBAGE)
    return changed


@pytest.mark.parametrize("engine", ["pandapower", "opendss"])
@pytest.mark.parametrize("seed", range(200))
def test_no_body_is_a_defect_of_ours(client, seed, engine):
    body = json.loads((HERE / "payloads" / f"powerflow_{engine}.json").read_text())
    text = json.dumps(mutated(body, seed))
    response = client.post("/", data=text, content_type="application/json")
    assert response.status_code in (200, 422), text
    answer = json.loads(response.text, parse_constant=refuse_constant)
    if response.status_code == 200 and answer.get("error"):
        assert answer["diagnostic"] and answer["message"]
    elif response.status_code == 200:
        numbers(answer, engine)


def test_a_diagnosis_stands_under_the_headings_of_the_dialog():
    """Sentences by heading, the repair that works as the note, its fields as parameters."""
    causes = [
        {
            "rule": "value", "cause": "Load “A” draws 600 MW.", "elements": ["a"], "evidence": {},
            "suggestion": "Set p_mw to 0.6.", "verified": True,
            "repair": [{"element": "a", "field": "p_mw", "value": 0.6}],
        },
        {
            "rule": "overload", "cause": "Too much.", "elements": [], "evidence": {},
            "suggestion": "", "verified": None, "repair": [],
        },
    ]  # fmt: skip
    found = diagnosis.shown(causes)
    assert found["invalid_values"] == ["Load “A” draws 600 MW. Set p_mw to 0.6."]
    assert found["overload"] == ["Too much."]
    assert found["convergence"] == [*found["invalid_values"], *found["overload"]]
    assert found["diagnostic_note"] == "Set p_mw to 0.6."
    (place,) = diagnosis.places(causes, Report())
    assert (place["name"], place["param"]) == ("a", "p_mw")
