"""The error contract.

Every error is application/problem+json (RFC 9457), whatever the route and whatever went wrong:

    type      "/docs#" and the kind of the error, one of electrisim.problems.ERRORS
    title     the kind in a few words
    status    the HTTP status, once more
    detail    one sentence: the first fault, and how many more there are
    success   false
    error     the sentence of `detail`, for clients that look for it there
    errors    every fault that was found, at least one:
              kind      a stable word, one of electrisim.problems.KINDS (or of ERRORS, where the
                        error is its only fault)
              message   one sentence that names the element as its author named it
              element   the caller's id of it, where the fault is in an element
              name      its label, where it has one
              field     the parameter or setting at fault
    …         more, by kind: `diagnosis` and `certificate` of not-converged, `id` of defect

Nothing else: no traceback, no path of the server, no HTML. Names come back as they were sent, in
sentences shortened and without control characters.
"""

from __future__ import annotations

import ast
import copy
import json
from pathlib import Path
from typing import Any

import pytest

from electrisim.problems import ERRORS, KINDS, nearest, shorten

ROOT = Path(__file__).resolve().parent.parent
EXAMPLE = json.loads((ROOT / "examples/powerflow.json").read_text())

MEMBERS = {"type", "title", "status", "detail", "success", "error", "errors"}
MORE = {
    "not-converged": {"diagnosis", "certificate"},
    "defect": {"id"},
    "overloaded": {"retry_after"},
}


def problem(response, status: int) -> dict[str, Any]:
    """The error of a response, held to the contract."""
    assert response.status_code == status
    assert response.content_type == "application/problem+json"
    error = json.loads(response.data, parse_constant=pytest.fail)
    kind = error["type"].removeprefix("/docs#")
    assert set(error) >= MEMBERS
    assert set(error) - MEMBERS <= MORE.get(kind, set())
    assert ERRORS[kind].status == error["status"] == status
    assert error["title"] == ERRORS[kind].title
    assert error["success"] is False
    assert error["error"] == error["detail"]
    assert error["detail"].startswith(error["errors"][0]["message"])
    for fault in error["errors"]:
        assert fault["kind"] in KINDS.keys() | ERRORS.keys()
        assert fault["message"].endswith((".", "?"))
        assert fault["message"].isprintable()
        assert set(fault) <= {"kind", "message", "element", "name", "field"}
    assert "Traceback" not in response.text
    assert str(ROOT) not in response.text
    return error


def faults(client, request: Any) -> list[tuple[str, str | None, str | None]]:
    """(kind, element, field) of every fault of a request that is refused."""
    error = problem(client.post("/", json=request), 422)
    return [(f["kind"], f.get("element"), f.get("field")) for f in error["errors"]]


def changed(**changes: Any) -> dict[str, Any]:
    """The example with some elements' parameters changed, `l1={"to_bus": "b9"}`; … removes one."""
    request = copy.deepcopy(EXAMPLE)
    for id_, parameters in changes.items():
        for name, value in parameters.items():
            if value is ...:
                del request["elements"][id_]["parameters"][name]
            else:
                request["elements"][id_]["parameters"][name] = value
    return request


def with_element(**element: Any) -> dict[str, Any]:
    """The example with an element “new”."""
    request = copy.deepcopy(EXAMPLE)
    request["elements"]["new"] = element
    return request


# One line per route and stage


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "kind"),
    [
        ("GET", "/nowhere", None, 404, "not-found"),
        ("PATCH", "/", None, 405, "method-not-allowed"),
        ("POST", "/docs", None, 405, "method-not-allowed"),
        ("POST", "/openapi.json", None, 405, "method-not-allowed"),
        ("POST", "/healthz", None, 405, "method-not-allowed"),
        ("POST", "/readyz", None, 405, "method-not-allowed"),
        ("POST", "/", b"", 400, "malformed"),
        ("POST", "/", b"{", 400, "malformed"),
        ("POST", "/", b'{"elements": {"b1": {"vn_kv": NaN}}}', 400, "malformed"),
        ("POST", "/", b'{"elements": {"b1": {"vn_kv": Infinity}}}', 400, "malformed"),
        ("POST", "/", b'{"elements": {"b1": {"vn_kv": 1e999}}}', 400, "malformed"),
        ("POST", "/", b"\xff\xfe{\x00}\x00", 400, "malformed"),
        ("POST", "/", b'"\\ud800"', 400, "malformed"),
        ("POST", "/", b"[1, 2]", 400, "malformed"),
        ("POST", "/", b"null", 400, "malformed"),
        ("POST", "/", b'"text"', 400, "malformed"),
        ("POST", "/", b'{"a": ' + b"[" * 5000 + b"]" * 5000 + b"}", 400, "malformed"),
        ("POST", "/", b"{}", 422, "invalid"),
        ("POST", "/", b'{"test": "data"}', 422, "invalid"),
        ("POST", "/", b'{"simulationType": "powerflow"}', 422, "invalid"),
        ("POST", "/", b'{"simulationType": "powerflow", "elements": {}}', 422, "invalid"),
        ("POST", "/", b'{"simulationType": "powerflow", "elements": []}', 422, "invalid"),
    ],
)
def test_every_route_and_stage_speaks_one_language(client, method, path, body, status, kind):
    error = problem(client.open(path, method=method, data=body), status)
    assert error["type"] == f"/docs#{kind}"


# The request as a whole


def test_an_unknown_study_is_named_with_the_studies_there_are(client):
    error = problem(client.post("/", json={**EXAMPLE, "simulationType": "powerflo"}), 422)
    (fault,) = error["errors"]
    assert fault["kind"] == "unknown-study"
    assert "Did you mean “powerflow”?" in fault["message"]


@pytest.mark.parametrize("word", [None, 7, [], {}, "", "PowerFlow!"])
def test_a_study_that_is_no_word_or_no_study_is_refused(client, word):
    assert ("unknown-study", None, "simulationType") in faults(
        client, {**EXAMPLE, "simulationType": word}
    )


def test_an_unknown_key_of_the_request_is_named(client):
    assert faults(client, {**EXAMPLE, "setings": {}}) == [("unknown-key", None, "setings")]


@pytest.mark.parametrize(
    ("setting", "value", "kind"),
    [
        ("toleranse", 1e-6, "unknown-setting"),
        ("solver", "pandapwer", "unknown-value"),
        ("tolerance", 0, "out-of-bounds"),
        ("tolerance", "small", "not-a-number"),
        ("tolerance", "inf", "not-finite"),
        ("max_iteration", 2.5, "not-an-integer"),
        ("enforce_q_lims", "perhaps", "not-a-flag"),
        ("mode", 3, "unknown-value"),
        ("frequency", -50, "out-of-bounds"),
    ],
)
def test_a_setting_that_cannot_be_is_refused_by_name(client, setting, value, kind):
    request = {**EXAMPLE, "settings": {setting: value}}
    assert faults(client, request) == [(kind, None, setting)]


@pytest.mark.parametrize("settings", [[], "pandapower", 7])
def test_settings_that_are_no_object_are_refused(client, settings):
    assert faults(client, {**EXAMPLE, "settings": settings}) == [
        ("not-an-object", None, "settings")
    ]


# Elements


@pytest.mark.parametrize(
    ("changes", "kind", "field"),
    [
        ({"length_km": ...}, "missing-parameter", "length_km"),
        ({"length_km": None}, "missing-parameter", "length_km"),
        ({"length_km": ""}, "missing-parameter", "length_km"),
        ({"length_km": 0}, "out-of-bounds", "length_km"),
        ({"length_km": "long"}, "not-a-number", "length_km"),
        ({"length_km": True}, "not-a-number", "length_km"),
        ({"length_km": [5]}, "not-a-number", "length_km"),
        ({"length_km": "NaN"}, "not-finite", "length_km"),
        ({"length_km": "1_000"}, "not-a-number", "length_km"),
        ({"parallel": 1.5}, "not-an-integer", "parallel"),
        ({"parallel": 0}, "out-of-bounds", "parallel"),
        ({"in_service": "maybe"}, "not-a-flag", "in_service"),
        ({"r_ohm_per_km": ...}, "missing-parameter", "r_ohm_per_km"),
        ({"std_type": "NAYY 4x51"}, "unknown-std-type", "std_type"),
        ({"to_bus": "b9"}, "unknown-bus", "to_bus"),
        ({"to_bus": "d1"}, "unknown-bus", "to_bus"),
        ({"to_bus": 2}, "not-a-text", "to_bus"),
        ({"to_bus": "b1"}, "loop", "to_bus"),
        ({"r_ohm_per_km": 0, "x_ohm_per_km": 0}, "no-impedance", "x_ohm_per_km"),
        ({"lenght": 5}, "unknown-parameter", "lenght"),
    ],
)
def test_a_parameter_that_cannot_be_is_refused_by_element_and_field(client, changes, kind, field):
    assert faults(client, changed(l1=changes)) == [(kind, "l1", field)]


@pytest.mark.parametrize(
    ("element", "kind", "field"),
    [
        ({"typ": "Lime"}, "unknown-typ", "typ"),
        ({"name": "no kind"}, "unknown-typ", "typ"),
        ({"typ": 7}, "unknown-typ", "typ"),
        ({"typ": "Bus", "vn_kv": 20, "name": ["x"]}, "not-a-text", "name"),
        ({"typ": "Bus", "parameters": 20}, "not-an-object", "parameters"),
        ({"typ": "Bus", "vn_kv": 20, "parameters": {"vn_kv": 20}}, "given-twice", "vn_kv"),
        ({"typ": "Switch", "bus": "b1", "element": "l2"}, "not-connected", "bus"),
        ({"typ": "Switch", "bus": "b1", "element": "b1"}, "loop", "element"),
        ({"typ": "Switch", "bus": "b1", "element": "l1", "et": "b"}, "contradiction", "et"),
        ({"typ": "Switch", "bus": "b1", "element": "l9"}, "unknown-element", "element"),
        ({"typ": "Load DC", "bus_dc": "b1", "p_dc_mw": 1}, "unknown-dc-bus", "bus_dc"),
    ],
)
def test_an_element_that_cannot_be_is_refused_by_id(client, element, kind, field):
    assert (kind, "new", field) in faults(client, with_element(**element))


@pytest.mark.parametrize("element", [None, 7, "Bus", ["Bus"]])
def test_an_element_that_is_no_object_is_refused_by_id(client, element):
    request = copy.deepcopy(EXAMPLE)
    request["elements"]["new"] = element
    assert faults(client, request) == [("not-an-object", "new", None)]


def test_a_name_that_several_bear_is_no_reference(client):
    request = with_element(typ="Bus", name="Farm", vn_kv=20)
    request["elements"]["s1"]["parameters"]["bus"] = "Farm"
    assert faults(client, request) == [("ambiguous-name", "s1", "bus")]


# All at once


def test_every_fault_of_a_request_is_told_at_once(client):
    request = changed(l1={"to_bus": "b9", "length_km": -5}, d1={"p_mw": "much", "bus": "b8"})
    request["elements"]["s1"]["typ"] = "Sgenn"
    request["elements"]["s1"]["parameters"]["bus"] = "b7"
    request["settings"] = {"solver": "opendsss", "toleranse": 1}
    request["extra"] = 1
    assert set(faults(client, request)) == {
        ("out-of-bounds", "l1", "length_km"),
        ("unknown-bus", "l1", "to_bus"),
        ("not-a-number", "d1", "p_mw"),
        ("unknown-bus", "d1", "bus"),
        ("unknown-typ", "s1", "typ"),
        ("unknown-value", None, "solver"),
        ("unknown-setting", None, "toleranse"),
        ("unknown-key", None, "extra"),
    }


def test_what_refers_to_a_faulty_element_is_not_blamed_for_it(client):
    """b2 has no voltage; the lines and the load at it are right."""
    assert faults(client, changed(b2={"vn_kv": "?"})) == [("not-a-number", "b2", "vn_kv")]
    request = copy.deepcopy(EXAMPLE)
    request["elements"]["b2"]["typ"] = "Buss"
    assert faults(client, request) == [("unknown-typ", "b2", "typ")]


def test_the_sentence_counts_the_faults_that_it_does_not_tell(client):
    request = changed(l1={"length_km": -5}, l2={"length_km": -5}, d1={"p_mw": "x"})
    assert problem(client.post("/", json=request), 422)["error"].endswith("(and 2 more)")


def test_two_elements_with_one_id_are_an_error(client):
    text = json.dumps(EXAMPLE).replace('"l2":', '"l1":')
    error = problem(client.post("/", data=text), 422)
    assert [(f["kind"], f["element"]) for f in error["errors"]] == [("duplicate-id", "l1")]


@pytest.mark.parametrize("key", ["settings", "simulationType", "elements"])
def test_a_key_that_stands_twice_is_an_error(client, key):
    text = json.dumps(EXAMPLE)
    text = f"{text[:-1]}, {json.dumps(key)}: {json.dumps(EXAMPLE[key])}}}"
    kinds = {fault["kind"] for fault in problem(client.post("/", data=text), 422)["errors"]}
    assert kinds == {"given-twice"}


# Words


@pytest.mark.parametrize(
    ("request_", "hint"),
    [
        (changed(l1={"lenght_km": 5}), "length_km"),
        (with_element(typ="Transfromer"), "Transformer"),
        (changed(l1={"to_bus": "b22"}), "b2"),
        ({**EXAMPLE, "settings": {"toleranse": 1}}, "tolerance"),
        ({**EXAMPLE, "settings": {"solver": "pandapwoer"}}, "pandapower"),
        ({**EXAMPLE, "settings": {"algorithm": "newtn"}}, "newton"),
        (changed(l2={"std_type": "NA2XS2Y 1x150 RM/25 12/20"}), "NA2XS2Y 1x150 RM/25 12/20 kV"),
    ],
)
def test_the_nearest_right_word_is_offered(client, request_, hint):
    errors = problem(client.post("/", json=request_), 422)["errors"]
    assert any(f"Did you mean “{hint}”?" in fault["message"] for fault in errors)


def test_a_sentence_names_the_element_as_its_author_did(client):
    error = problem(client.post("/", json=changed(l1={"to_bus": "b9"})), 422)
    (fault,) = error["errors"]
    assert "Line “Cable 1”" in fault["message"]
    assert (fault["element"], fault["name"]) == ("l1", "Cable 1")


@pytest.mark.parametrize("name", ["a\nb", "x" * 10_000, "\x1b[31mred", "‮txet", "<b>&", "“”"])
def test_a_name_comes_back_whole_and_stands_in_sentences_tamed(client, name):
    request = changed(l1={"to_bus": "b9"})
    request["elements"]["l1"]["name"] = name
    (fault,) = problem(client.post("/", json=request), 422)["errors"]
    assert fault["name"] == name
    assert len(fault["message"]) < 300


def test_a_value_however_deep_or_long_is_told_shortly():
    assert shorten("x" * 100) == "x" * 80 + "…"
    assert len(shorten([["x" * 1000] * 1000] * 1000)) <= 81
    deep: list[Any] = []
    for _ in range(10_000):
        deep = [deep]
    assert len(shorten(deep)) <= 81


def test_no_hint_is_given_where_nothing_is_near():
    assert nearest("zzz", ["length_km", "parallel"]) == ""


# The contract itself


def test_every_kind_that_the_code_can_raise_is_documented():
    """Looks for the literal kinds of Problem(kind=…), fault(…, kind, …) and _Fault(kind, …)."""
    used = set()
    for path in [*ROOT.glob("*.py"), *ROOT.glob("electrisim/**/*.py")]:
        for call in ast.walk(ast.parse(path.read_text())):
            if not isinstance(call, ast.Call) or not isinstance(
                call.func, (ast.Name, ast.Attribute)
            ):
                continue
            name = getattr(call.func, "id", None) or getattr(call.func, "attr", None)
            place = {"fault": 3, "_fault": 3, "_Fault": 0}.get(name)
            if name == "argsort":
                continue
            given = [word.value for word in call.keywords if word.arg == "kind"]
            given += [call.args[place]] if place is not None and len(call.args) > place else []
            used |= {node.value for node in given if isinstance(node, ast.Constant)}
    assert used
    assert used <= KINDS.keys() | ERRORS.keys()
