"""The documented spelling: what is read, how loosely, and what is refused with which words."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from electrisim import elements as e
from electrisim.elements import FIELDS, KINDS, Element
from electrisim.network import Network
from electrisim.problems import ProblemError
from electrisim.settings import Settings
from electrisim.wire import documented

LIBRARY: dict[str, Any] = {
    "line": {
        "cable": {"r_ohm_per_km": 0.2, "x_ohm_per_km": 0.1, "c_nf_per_km": 200.0, "max_i_ka": 0.3}
    }
}


def two_buses(**changes: Any) -> dict[str, Any]:
    """grid ─ b1 ══ cable l1 ══ b2 ─ load d1"""
    elements = {
        "g": {"typ": "External Grid", "parameters": {"bus": "b1"}},
        "b1": {"typ": "Bus", "name": "North", "parameters": {"vn_kv": 20.0}},
        "b2": {"typ": "Bus", "name": "South", "parameters": {"vn_kv": 20.0}},
        "l1": {
            "typ": "Line",
            "name": "Cable 1",
            "parameters": {
                "from_bus": "b1",
                "to_bus": "b2",
                "length_km": 5.0,
                "r_ohm_per_km": 0.2,
                "x_ohm_per_km": 0.1,
                "c_nf_per_km": 200.0,
                "max_i_ka": 0.3,
            },
        },
        "d1": {"typ": "Load", "name": "Village", "parameters": {"bus": "b2", "p_mw": 2.0}},
    }
    return {"simulationType": "powerflow", "elements": elements | changes, "settings": {}}


def decode(request: dict[str, Any] | str) -> tuple[Settings, Network]:
    text = request if isinstance(request, str) else json.dumps(request)
    return documented.decode(text.encode(), LIBRARY)


def refused(request: dict[str, Any] | str) -> dict[tuple[str, str | None, str | None], str]:
    """The problems of a refused request: (kind, element, field) → message."""
    with pytest.raises(ProblemError) as caught:
        decode(request)
    return {(p.kind, p.element, p.field): p.message for p in caught.value.problems}


def line_with(**parameters: Any) -> dict[str, Any]:
    request = two_buses()
    request["elements"]["l1"]["parameters"] |= parameters
    return request


def test_a_well_formed_request_is_read_whole():
    settings, network = decode(two_buses())
    assert settings.solver == "pandapower"
    assert network.rows(e.Bus).names == ["North", "South"]
    line = network.rows(e.Line)
    assert line.elements[0].length_km == 5.0
    assert (line.at["from_bus"].tolist(), line.at["to_bus"].tolist()) == ([0], [1])


@pytest.mark.parametrize(
    "loose",
    [
        lambda r: r["elements"]["l1"]["parameters"].update(length_km="5.0", parallel="1"),
        lambda r: r["elements"]["l1"].update(r["elements"]["l1"].pop("parameters")),
        lambda r: r["elements"]["l1"]["parameters"].update(from_bus="North"),
        lambda r: r["elements"]["l1"].update(typ="line 7"),
        lambda r: r["elements"]["g"].update(typ="external-grid"),
        lambda r: r["elements"]["g"].update(typ="ext_grid"),
        lambda r: r["elements"]["l1"]["parameters"].update(df="", type="None", g_us_per_km="null"),
        lambda r: r["elements"]["l1"]["parameters"].update(in_service="true"),
    ],
    ids=[
        "numbers as text",
        "flat",
        "by name",
        "counter",
        "hyphen",
        "table",
        "absent",
        "flag as text",
    ],
)
def test_looser_spellings_mean_the_same(loose):
    strict = decode(two_buses())[1]
    request = two_buses()
    loose(request)
    read = decode(request)[1]
    for kind in strict.kinds:
        ours, theirs = strict.rows(kind), read.rows(kind)
        assert ours.ids == theirs.ids
        for field in FIELDS[kind].values():
            if field.type != "reference":
                assert ours.values(field.name) == theirs.values(field.name)
        assert all((ours.at[ref] == theirs.at[ref]).all() for ref in ours.at)


def test_a_standard_type_completes_and_explicit_values_win():
    request = two_buses()
    request["elements"]["l1"]["parameters"] = {
        "from_bus": "b1",
        "to_bus": "b2",
        "length_km": 5,
        "std_type": "cable",
        "max_i_ka": 0.5,
    }
    line = decode(request)[1].rows(e.Line).elements[0]
    assert (line.r_ohm_per_km, line.max_i_ka) == (0.2, 0.5)


def test_every_fault_is_told_at_once_with_its_place():
    request = two_buses(
        x={"typ": "Lline", "parameters": {}},
        d2={"typ": "Load", "name": "Mill", "parameters": {"bus": "b9", "p_mw": 1}},
        d3={"typ": "Load", "parameters": {"bus": "b2", "p_mw": "much", "q_mwar": 1}},
    )
    request["settings"] = {"solver": "pandapwer", "tolerence": 1}
    problems = refused(request)
    assert problems[("unknown-typ", "x", "typ")].endswith("Did you mean “Line”?")
    assert "which the network does not have" in problems[("unknown-bus", "d2", "bus")]
    assert (
        problems[("not-a-number", "d3", "p_mw")]
        == "Load “d3”: p_mw must be a number [MW], not “much”."
    )
    assert problems[("unknown-parameter", "d3", "q_mwar")].endswith("Did you mean “q_mvar”?")
    assert "Did you mean “pandapower”?" in problems[("unknown-value", None, "solver")]
    assert problems[("unknown-setting", None, "tolerence")].endswith("Did you mean “tolerance”?")


@pytest.mark.parametrize(
    ("parameters", "kind", "field"),
    [
        ({"length_km": 0}, "out-of-bounds", "length_km"),
        ({"length_km": "NaN"}, "not-finite", "length_km"),
        ({"length_km": "1e999"}, "not-finite", "length_km"),
        ({"length_km": True}, "not-a-number", "length_km"),
        ({"length_km": [1]}, "not-a-number", "length_km"),
        ({"parallel": 1.5}, "not-an-integer", "parallel"),
        ({"parallel": 0}, "out-of-bounds", "parallel"),
        ({"in_service": "perhaps"}, "not-a-flag", "in_service"),
        ({"from_bus": 7}, "not-a-text", "from_bus"),
        ({"from_bus": None}, "missing-parameter", "from_bus"),
        ({"from_bus": "b7"}, "unknown-bus", "from_bus"),
        ({"from_bus": "d1"}, "unknown-bus", "from_bus"),
        ({"to_bus": "b1"}, "loop", "to_bus"),
        ({"r_ohm_per_km": 0, "x_ohm_per_km": 0}, "no-impedance", "x_ohm_per_km"),
        ({"r_ohm_per_km": None}, "missing-parameter", "r_ohm_per_km"),
        ({"std_type": "rope"}, "unknown-std-type", "std_type"),
    ],
)
def test_a_wrong_parameter_is_refused_by_name(parameters, kind, field):
    assert (kind, "l1", field) in refused(line_with(**parameters))


def test_negative_reactance_and_huge_numbers_are_no_faults():
    """Series capacitors and equivalents have x < 0; what is absurd is the doctor's business."""
    decode(line_with(x_ohm_per_km=-0.3))
    decode(line_with(max_i_ka=1e308))


def test_a_field_given_flat_and_nested_is_refused():
    request = two_buses()
    request["elements"]["d1"]["p_mw"] = 3
    assert ("given-twice", "d1", "p_mw") in refused(request)


def test_two_elements_with_one_id_are_refused():
    text = json.dumps(two_buses()).replace('"b2": {', '"b1": {', 1)
    assert ("duplicate-id", "b1", None) in refused(text)


def test_a_parameter_that_stands_twice_is_refused():
    text = json.dumps(two_buses()).replace('"p_mw": 2.0', '"p_mw": 2.0, "p_mw": 20.0')
    assert ("given-twice", "d1", "p_mw") in refused(text)


def test_two_elements_with_one_id_are_refused_in_large_bodies_too():
    loads = {
        f"x{i}": {"typ": "Load", "parameters": {"bus": "b2", "p_mw": 0.1}} for i in range(2000)
    }
    text = json.dumps(two_buses(**loads))
    assert len(text) > 64 * 1024
    assert ("duplicate-id", "x8", None) in refused(text.replace('"x7":', '"x8":'))


def test_an_ambiguous_name_asks_for_an_id():
    request = two_buses()
    request["elements"]["b2"]["name"] = "North"
    request["elements"]["d1"]["parameters"]["bus"] = "North"
    assert ("ambiguous-name", "d1", "bus") in refused(request)


def test_an_id_wins_over_a_name_with_a_warning():
    request = two_buses()
    request["elements"]["b1"]["name"] = "b2"
    network = decode(request)[1]
    assert network.rows(e.Load).at["bus"].tolist() == [1]
    assert "“b2”" in network.warnings[0]


def test_what_refers_to_an_unreadable_bus_is_not_blamed():
    request = two_buses(b2={"typ": "Bus", "parameters": {"vn_kv": -20}})
    assert list(refused(request)) == [("out-of-bounds", "b2", "vn_kv")]


@pytest.mark.parametrize(
    ("text", "status"),
    [
        ("", 400),
        ("{", 400),
        ("[]", 400),
        ("7", 400),
        ('{"a": NaN}', 400),
        ("[" * 100_000, 400),
        ('{"elements": {"a": ' + '{"x":' * 5000 + "1" + "}" * 5002, 400),
        ("{}", 422),
        ('{"elements": []}', 422),
        ('{"elements": {}, "settings": 3, "simulationType": 4}', 422),
        ('{"elements": {"a": 3}, "simulationType": "powerflow"}', 422),
        (
            '{"elements": {"a": {"typ": "Bus", "parameters": 3}}, "simulationType": "powerflow"}',
            422,
        ),
    ],
    ids=range(12),
)
def test_what_is_no_request_is_refused_with_its_status(text, status):
    with pytest.raises(ProblemError) as caught:
        decode(text)
    assert caught.value.status == status
    assert caught.value.problems


def test_references_of_switches_are_found_by_kind():
    request = two_buses(
        s1={"typ": "Switch", "parameters": {"bus": "b1", "element": "l1"}},
        s2={"typ": "Switch", "parameters": {"bus": "b1", "element": "b2", "et": "b"}},
    )
    switches = decode(request)[1].rows(e.Switch)
    assert switches.at["et"].tolist() == ["l", "b"]
    assert switches.at["element"].tolist() == [0, 1]


@pytest.mark.parametrize(
    ("parameters", "kind", "field"),
    [
        ({"bus": "b1", "element": "l1", "et": "b"}, "contradiction", "et"),
        ({"bus": "b3", "element": "l1"}, "not-connected", "bus"),
        ({"bus": "b1", "element": "b1"}, "loop", "element"),
        ({"bus": "b1", "element": "zz"}, "unknown-element", "element"),
    ],
)
def test_a_switch_that_fits_nothing_is_refused(parameters, kind, field):
    request = two_buses(
        s1={"typ": "Switch", "parameters": parameters},
        b3={"typ": "Bus", "parameters": {"vn_kv": 20}},
    )
    assert (kind, "s1", field) in refused(request)


def _values(kind: type[Element]) -> st.SearchStrategy[dict[str, Any]]:
    """Valid parameters of a kind, each field given or left out."""
    fields = {}
    for field in FIELDS[kind].values():
        low = max(field.bounds.get("gt", field.bounds.get("ge", -10)), -1e6)
        high = min(field.bounds.get("lt", field.bounds.get("le", low + 20)), 1e6)
        strategy: st.SearchStrategy[Any] = {
            "number": st.floats(
                low, high, exclude_min="gt" in field.bounds, exclude_max="lt" in field.bounds
            ),
            "integer": st.integers(int(low), int(high)),
            "flag": st.booleans(),
            "word": st.sampled_from(["ol", "Dyn5", "x y"]),
            "choice": st.sampled_from(field.choices or (None,)),
            "reference": st.just("b1"),
            "curve": st.just([[0.0, 1.0], [1.0, 0.5]]),
            "pieces": st.just([[0.0, 1.0, 2.0], [1.0, 3.0, 2.5]]),
            "triangle": st.just([[0.4], [0.1, 0.4]]),
            "structure": st.just([1.0, 0.5]),
            "nothing": st.none(),
        }[field.type]
        fields[field.name] = (field.required, strategy)
    return st.fixed_dictionaries(
        {name: s for name, (required, s) in fields.items() if required},
        optional={name: s for name, (required, s) in fields.items() if not required},
    )


@given(st.sampled_from(KINDS).flatmap(lambda kind: st.tuples(st.just(kind), _values(kind))))
def test_both_ways_of_reading_a_record_agree(drawn):
    """msgspec's way for well-formed JSON, and the second pass over plain values."""
    from electrisim.fields import read

    kind, parameters = drawn
    fast = msgspec.json.decode(json.dumps(parameters).encode(), type=kind)
    slow, problems = read(kind, json.loads(json.dumps(parameters)), "It")
    assert problems == []
    assert slow == fast


def test_a_million_faults_end_soon():
    """Every fault costs the search for what was meant, so reading stops after a thousand."""
    loads = {f"x{i}": {"typ": "Load", "parameters": {"bas": "b2"}} for i in range(20_000)}
    problems = refused(two_buses(**loads))
    assert ("too-many-faults", None, None) in problems
    assert len(problems) < 1100


def test_many_dangling_references_are_all_told():
    loads = {f"x{i}": {"typ": "Load", "parameters": {"bus": "bb", "p_mw": 1}} for i in range(3000)}
    assert len(refused(two_buses(**loads))) == 3000
