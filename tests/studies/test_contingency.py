"""What a contingency analysis says, on networks small enough to check by hand."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pandapower as pp
import pytest
from bricks import ENGINES, bus, cable, element, grid, load, transformer
from hand import Hand

from electrisim.wire import answer_request

Elements = dict[str, Any]


def asked(elements: Elements, **settings: Any) -> tuple[int, dict[str, Any]]:
    body = {"simulationType": "contingency", "elements": elements, "settings": settings}
    status, _, answer = answer_request(json.dumps(body).encode(), ENGINES, {})
    return status, json.loads(answer if isinstance(answer, bytes) else b"".join(answer))


def answered(elements: Elements, **settings: Any) -> dict[str, Any]:
    status, body = asked(elements, **settings)
    assert status == 200, body["errors"]
    return body


def outcomes(elements: Elements, **settings: Any) -> dict[str, Mapping[str, Any]]:
    body = answered(elements, **settings)
    return {outcome["id"]: outcome for outcome in body["contingencies"]}


def feeder(**more: Any) -> Elements:
    """grid ─ b0 ══ two lines ══ b1 ── end ── b2 ── load 2 MW, another of 1 MW at b1"""
    return {
        "g": grid("b0"),
        "b0": bus(20),
        "b1": bus(20),
        "b2": bus(20),
        "one": cable("b0", "b1"),
        "two": cable("b0", "b1"),
        "end": cable("b1", "b2"),
        "d1": load("b1", 1.0, 0.3),
        "d2": load("b2", 2.0, 0.5),
        **more,
    }


def test_an_outage_in_a_double_line_overloads_the_other() -> None:
    """The remaining line then carries all; its rating is set between half and the whole."""
    lines = {name: cable("b0", "b1", max_i_ka=0.06) for name in ("one", "two")}
    found = outcomes(feeder(**lines), element_type="line")
    hand = Hand(feeder(**lines))
    hand.net["line"].loc[hand.where["one"][1], "in_service"] = False
    pp.runpp(hand.net, numba=False)
    assert found["one"]["status"] == "violations"
    assert found["one"]["max_loading_element"] == "two"
    loading = hand.result("two")["loading_percent"]
    assert found["one"]["max_loading_percent"] == pytest.approx(loading, rel=1e-9)
    assert found["one"]["violations"] == [
        {
            "element": "two",
            "typ": "Line",
            "quantity": "loading_percent",
            "value": found["one"]["max_loading_percent"],
            "limit": 100.0,
        }
    ]


def test_an_outage_that_cuts_off_a_load_is_islanded_and_says_what_is_lost() -> None:
    found = outcomes(feeder(), element_type="line")["end"]
    assert found["status"] == "islanded"
    assert found["lost_load_mw"] == 2.0
    assert found["violations"] == [
        {"element": "b2", "typ": "Bus", "quantity": "vm_pu", "value": None, "limit": 0.9},
        {"element": "d2", "typ": "Load", "quantity": "lost_load_mw", "value": 2.0, "limit": 0.0},
    ]
    assert found["min_vm_element"] in ("b0", "b1")


def test_losing_the_only_infeed_is_a_blackout_without_extremes() -> None:
    found = outcomes(feeder(), outages=["g"])["g"]
    assert found["status"] == "islanded"
    assert found["lost_load_mw"] == 3.0
    extremes = [found[name] for name in found if name.startswith(("min_", "max_"))]
    assert extremes == [None] * 6
    assert {v["element"] for v in found["violations"]} == {"b0", "b1", "b2", "d1", "d2"}


def test_the_only_external_grid_is_no_contingency_but_one_of_two_is() -> None:
    assert "g" not in outcomes(feeder(), element_type="generator")
    two = outcomes(feeder(h=grid("b2")), element_type="generator")
    assert two["g"]["status"] == two["h"]["status"] == "ok"


def test_what_remains_alive_after_losing_one_of_two_grids_is_as_pandapower_says() -> None:
    found = outcomes(feeder(h=grid("b2", vm_pu=0.99)), outages=["g"])["g"]
    hand = Hand(feeder(h=grid("b2", vm_pu=0.99)))
    hand.net["ext_grid"].loc[hand.where["g"][1], "in_service"] = False
    pp.runpp(hand.net, numba=False)
    assert found["min_vm_pu"] == pytest.approx(hand.net["res_bus"]["vm_pu"].min(), abs=1e-9)
    assert found["max_vm_pu"] == pytest.approx(hand.net["res_bus"]["vm_pu"].max(), abs=1e-9)


def test_every_kind_of_the_issue_is_lost_one_by_one() -> None:
    """Two- and three-winding transformers, generators, static ones, grids, loads, switches."""
    elements = feeder(
        h=grid("b2"),
        m=element("Generator", bus="b1", p_mw=0.5),
        s=element("Static Generator", bus="b1", p_mw=0.1),
        low=bus(0.4),
        t=element(
            "Transformer", hv_bus="b1", lv_bus="low", sn_mva=1, vn_hv_kv=20, vn_lv_kv=0.4,
            vk_percent=6, vkr_percent=1, pfe_kw=1, i0_percent=0.2,
        ),
        mid=bus(10),
        deep=bus(0.4),
        t3=element(
            "Three Winding Transformer", hv_bus="b1", mv_bus="mid", lv_bus="deep", sn_hv_mva=2,
            sn_mv_mva=1, sn_lv_mva=1, vn_hv_kv=20, vn_mv_kv=10, vn_lv_kv=0.4, vk_hv_percent=6,
            vk_mv_percent=6, vk_lv_percent=6, vkr_hv_percent=1, vkr_mv_percent=1, vkr_lv_percent=1,
            pfe_kw=1, i0_percent=0.1,
        ),
        q=element("Switch", bus="b1", element="end"),
        off=cable("b0", "b1", in_service=False),
        open=element("Switch", bus="b0", element="two", closed=False),
    )  # fmt: skip
    names = ["one", "two", "end", "d1", "d2", "g", "h", "m", "s", "t", "t3", "q"]
    assert set(outcomes(elements)) == set(names)
    assert set(outcomes(elements, element_type="transformer")) == {"t", "t3"}
    assert set(outcomes(elements, element_type="generator")) == {"g", "h", "m", "s"}
    assert set(outcomes(elements, element_type="load")) == {"d1", "d2"}
    assert set(outcomes(elements, element_type="switch")) == {"q"}


def test_outages_come_in_the_order_of_the_request() -> None:
    body = answered(feeder(), outages=["two", "d1", "one"])
    assert [outcome["id"] for outcome in body["contingencies"]] == ["two", "d1", "one"]


def test_elements_lost_together_are_one_outage() -> None:
    body = answered(feeder(), outages=[["one", "two"], "end"])
    both = body["contingencies"][0]
    assert (both["id"], both["name"], both["typ"]) == ("one + two", "one + two", "several")
    assert both["elements"] == ["one", "two"]
    assert both["status"] == "islanded"
    assert both["lost_load_mw"] == 3.0


def test_an_open_switch_detaches_one_end_of_a_line() -> None:
    """The line stays under voltage from its other end: what it draws then is its charging."""
    elements = feeder(q=element("Switch", bus="b1", element="two"))
    found = answered(elements, outages=["q"], details=True)
    lines = found["details"][0]["results"]["lines"]
    at = lines["ids"].index("two")
    assert lines["p_to_mw"][at] == pytest.approx(0, abs=1e-9)
    # 2π · 50 Hz · 200 nF/km · 4 km · (20 kV)²
    assert lines["q_from_mvar"][at] == pytest.approx(-0.1005, abs=2e-4)
    assert found["contingencies"][0]["status"] == "ok"


def test_a_violation_that_was_there_before_counts_only_where_it_gets_worse() -> None:
    """`two` is overloaded from the start; losing d1 relieves it, losing `one` makes it worse."""
    elements = feeder(one=cable("b0", "b1"), two=cable("b0", "b1", max_i_ka=0.03))
    body = answered(elements, outages=["d1", "one"])
    assert [v["element"] for v in body["base"]["violations"]] == ["two"]
    relieved, worse = body["contingencies"]
    assert relieved["status"] == "ok"
    assert [v["element"] for v in worse["violations"]] == ["two"]


def test_limits_come_from_the_elements_and_else_from_the_settings() -> None:
    strict = feeder(b2=bus(20, min_vm_pu=0.999))
    assert [v["element"] for v in answered(strict)["base"]["violations"]] == ["b2"]
    settings = {"min_vm_pu": 0.9995, "max_loading_percent": 1.0}
    limits = {v["element"]: v["limit"] for v in answered(strict, **settings)["base"]["violations"]}
    assert limits == {"b1": 0.9995, "b2": 0.999, "one": 1.0, "two": 1.0, "end": 1.0}
    own = feeder(end=cable("b1", "b2", max_loading_percent=10.0))
    assert [v["limit"] for v in answered(own)["base"]["violations"]] == [10.0]


def test_an_outage_without_a_solution_is_counted_and_ranked_first() -> None:
    """One 4 km cable cannot carry 220 MW at 20 kV; two in parallel hold it, barely."""
    elements = feeder(d1=load("b1", 145.0, 0.0), d2=load("b2", 0.5, 0.0))
    body = answered(elements, outages=["d2", "one"])
    assert [outcome["status"] for outcome in body["contingencies"]] == ["ok", "diverged"]
    assert body["summary"]["diverged"] == 1
    assert body["summary"]["ranking"][0]["id"] == "one"
    lost = body["contingencies"][1]
    assert lost["violations"] == []
    assert lost["max_loading_percent"] is None


def test_the_ranking_puts_lost_load_before_overloads() -> None:
    lines = {name: cable("b0", "b1", max_i_ka=0.06) for name in ("one", "two")}
    body = answered(feeder(**lines), element_type="line")
    assert [ranked["id"] for ranked in body["summary"]["ranking"]] == ["end", "one", "two"]
    counts = {name: body["summary"][name] for name in ("analysed", "islanded", "violations", "ok")}
    assert counts == {"analysed": 3, "islanded": 1, "violations": 2, "ok": 0}


def test_the_tables_are_those_of_the_network_without_outages() -> None:
    elements = feeder()
    body = answered(elements, element_type="line")
    hand = Hand(elements)
    pp.runpp(hand.net, numba=False)
    for record in body["results"]["busbars"]:
        expected = hand.result(record["id"])["vm_pu"]
        assert record["vm_pu"] == pytest.approx(expected, abs=1e-9)


def test_details_are_every_outages_tables() -> None:
    elements = feeder()
    body = answered(elements, element_type="line", details=True)
    assert [each["id"] for each in body["details"]] == ["one", "two", "end"]
    hand = Hand(elements)
    hand.net["line"].loc[hand.where["end"][1], "in_service"] = False
    pp.runpp(hand.net, numba=False)
    tables = body["details"][2]["results"]
    assert tables["busbars"]["vm_pu"][2] is None
    flow = tables["lines"]["p_from_mw"]
    assert flow[0] == pytest.approx(hand.result("one")["p_from_mw"], abs=1e-8)
    assert flow[2] is None


def test_linear_power_flow_has_loadings_and_no_voltages() -> None:
    found = outcomes(feeder(t=cable("b0", "b2")), element_type="line", mode="dc")
    assert found["end"]["min_vm_pu"] is None
    assert found["end"]["max_loading_percent"] > 0


def test_opendss_says_the_same() -> None:
    """Constant-power loads and an ideal source: the two engines agree to the solver's accuracy."""
    ours = outcomes(feeder(), element_type="line")
    theirs = outcomes(feeder(), element_type="line", solver="opendss")
    for id_, outcome in ours.items():
        assert theirs[id_]["status"] == outcome["status"]
        for name in ("max_loading_percent", "min_vm_pu", "lost_load_mw"):
            assert theirs[id_][name] == pytest.approx(outcome[name], rel=1e-6)


@pytest.mark.parametrize(
    ("settings", "kind"),
    [
        ({"outages": ["nobody"]}, "unknown-element"),
        ({"outages": [["one", "nobody"]]}, "unknown-element"),
        ({"outages": [[]]}, "empty-outage"),
        ({"outages": "one"}, "wrong-form"),
        ({"outages": [1]}, "wrong-form"),
        ({"element_type": "lines"}, "unknown-value"),
        ({"min_vm_pu": -1}, "out-of-bounds"),
        ({"max_loading_percent": "much"}, "not-a-number"),
        ({"profiles": {}}, "unknown-setting"),
    ],
)
def test_a_wrong_setting_is_named(settings: dict[str, Any], kind: str) -> None:
    status, body = asked(feeder(), **settings)
    assert status == 422
    assert [problem["kind"] for problem in body["errors"]] == [kind]
    assert body["errors"][0]["field"] == next(iter(settings))


def test_every_unknown_outage_is_named() -> None:
    _, body = asked(feeder(), outages=["x", ["one", "y"]])
    assert len(body["errors"]) == 2


def test_a_network_without_a_solution_is_refused() -> None:
    status, body = asked(feeder(d2=load("b2", 900.0)))
    assert (status, body["errors"][0]["kind"]) == (422, "not-converged")


def test_a_name_that_only_one_element_bears_stands_for_it() -> None:
    elements = feeder(end={**cable("b1", "b2"), "name": "To the village"})
    body = answered(elements, outages=["To the village"])
    assert body["contingencies"][0]["elements"] == ["end"]


def test_a_transformer_outage_below_a_double_infeed_shifts_its_load() -> None:
    """Two transformers in parallel, 110/20 kV: without one, the other carries the whole load."""
    elements = {
        "g": grid("h"),
        "h": bus(110),
        "m": bus(20),
        "t1": transformer("h", "m"),
        "t2": transformer("h", "m"),
        "d": load("m", 30.0, 8.0),
    }
    found = outcomes(elements, element_type="transformer")["t1"]
    hand = Hand(elements)
    hand.net["trafo"].loc[hand.where["t1"][1], "in_service"] = False
    pp.runpp(hand.net, numba=False)
    loading = hand.result("t2")["loading_percent"]
    assert found["max_loading_percent"] == pytest.approx(loading, rel=1e-8)
