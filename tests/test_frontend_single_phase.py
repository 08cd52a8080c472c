"""The browser's single-phase kinds in its OpenDSS power flow.

No body of the real client has them; these are written by the field tables of the contract
(`frontend.md`: Line 1ph, Transformer 1ph, Load 1ph, Generator 1ph, Source 1ph). What they mean is
said once more in the documented spelling, whose answers are tested against the engine.
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from bricks import bus, columns, element, grid, solve
from flask.testing import FlaskClient
from pytest import approx

Body = dict[str, Any]

DIALOG = {
    "typ": "PowerFlowOpenDss Parameters", "frequency": "60", "algorithm": "Normal",
    "mode": "Snapshot", "loadmodel": "Powerflow", "controlmode": "Static", "tolerance": "0.0001",
    "maxIterations": "100",
}  # fmt: skip


def entry(typ: str, name: str, **fields: Any) -> Body:
    identity = {"typ": f"{typ}0", "name": name, "id": f"mxCell#{name}", "userFriendlyName": name}
    return {**identity, **fields}


def a_bus(name: str, vn_kv: str) -> Body:
    return entry("Bus", name, vn_kv=vn_kv, in_service=True)


def a_source(**more: Any) -> Body:
    known = {"vm_pu": "1.02", "va_degree": "0", "s_sc_max_mva": "1000"}
    return entry("Source 1ph", "s1", bus="b1", **{**known, **_WIRED, **more})


_WIRED = {"phase": 2, "conn": "wye", "in_service": True}


def a_line(**more: Any) -> Body:
    known = {"r_ohm_per_km": "0.8", "x_ohm_per_km": "0.7", "length_km": "2", "c_nf_per_km": "8"}
    return entry("Line 1ph", "l1", busFrom="b1", busTo="b2", **{**known, **_WIRED, **more})


def a_load(**more: Any) -> Body:
    known = {
        "p_kw": 10, "q_kvar": 3, "p_mw": 0.01, "q_mvar": 0.003, "kv": "0.12", "pf": "1.0",
        "spectrum": "defaultload", "pctSeriesRL": "100",
    }  # fmt: skip
    return entry("Load 1ph", "d1", **{"bus": "b3", **known, **_WIRED, **more})


def a_transformer(**more: Any) -> Body:
    known = {
        "sn_kva": "25", "vk_percent": "2", "vkr_percent": "0.6", "vn_hv_kv": "7.2",
        "vn_lv_kv": "0.12", "tap_pos": "0",
    }  # fmt: skip
    return entry(
        "Transformer 1ph", "t1", **{"busFrom": "b2", "busTo": "b3", **known, **_WIRED, **more}
    )


def a_generator(**more: Any) -> Body:
    known = {
        "p_kw": 5, "q_kvar": 1, "p_mw": 0.005, "q_mvar": 0.001, "kv": "", "sn_kva": "", "model": 1,
        "spectrum": "defaultgen",
    }  # fmt: skip
    return entry("Generator 1ph", "g1", bus="b2", **{**known, **_WIRED, **more})


def ask(client: FlaskClient, *entries: Body) -> Body:
    body = {str(k): each for k, each in enumerate([DIALOG, *entries])}
    response = client.post("/", data=json.dumps(body), content_type="application/json")
    assert response.status_code == 200, response.text
    answer: Body = response.get_json()
    return answer


BUSES = [a_bus("b1", "12.47"), a_bus("b2", "12.47"), a_bus("b3", "0.2078")]
#: BUSES with a source, a line, a transformer, a load and a generator, all on phase b.
MEANT = {
    "b1": bus(12.47), "b2": bus(12.47), "b3": bus(0.2078),
    "s1": grid("b1", phases="b", vm_pu=1.02),
    "l1": element("Line", from_bus="b1", to_bus="b2", length_km=2, phases="b", r_ohm_per_km=0.8,
                  x_ohm_per_km=0.7, c_nf_per_km=8, max_i_ka=0.1),
    "t1": element("Transformer", hv_bus="b2", lv_bus="b3", phases="b", sn_mva=0.025, vk_percent=2,
                  vkr_percent=0.6, vn_hv_kv=7.2, vn_lv_kv=0.12, pfe_kw=0, i0_percent=0),
    "d1": element("Load", bus="b3", phases="b", p_mw=0.01, q_mvar=0.003),
    "g1": element("Static Generator", bus="b2", phases="b", p_mw=0.005, q_mvar=0.001),
}  # fmt: skip


def meant(**more: Any) -> Any:
    elements = {**MEANT, **more}
    return solve(elements, solver="opendss", mode="unbalanced", frequency=60)


def test_a_network_of_one_phase_is_answered_in_the_lists_that_the_client_reads(client):
    answer = ask(client, *BUSES, a_source(), a_line(), a_transformer(), a_load(), a_generator())
    assert "error" not in answer
    found = meant()
    buses, unit = columns(found, "Bus"), columns(found, "Transformer")
    for row, bus_ in enumerate(answer["busbars"]):
        assert bus_["vm_pu"] == approx(buses["vm_b_pu"][row], abs=1e-9)
        assert bus_["va_degree"] == approx(buses["va_b_degree"][row], abs=1e-7)
    (t1,) = answer["transformers"]
    assert t1["p_hv_mw"] == approx(unit["p_b_hv_mw"][0], abs=1e-9)
    assert t1["pl_mw"] == approx(unit["pl_b_mw"][0], abs=1e-9)
    assert t1["i_lv_ka"] == approx(unit["i_b_lv_ka"][0], rel=1e-6)
    assert t1["vm_lv_pu"] == approx(buses["vm_b_pu"][2], abs=1e-9)
    assert answer["loads"][0]["p_mw"] == approx(0.01)
    assert answer["generators"][0]["q_mvar"] == approx(0.001)
    taken = columns(found, "External Grid")["p_b_mw"][0]
    assert answer["externalgrids"][0]["p_mw"] == approx(taken, abs=1e-9)


def test_a_line_of_one_phase_has_no_rating_and_so_no_row(client):
    """The client formats its loading without looking, and there is none."""
    answer = ask(client, *BUSES[:2], a_source(), a_line(), a_load(bus="b2", kv=""))
    assert answer["lines"] == []
    assert any("Line “l1”" in warning for warning in answer["warnings"])


def test_three_phases_stand_beside_one(client):
    """A lateral of phase b, a load between c and a: the line before them has a zero sequence."""
    three = {
        "r_ohm_per_km": "0.2", "x_ohm_per_km": "0.3", "c_nf_per_km": "12", "g_us_per_km": "0",
        "r0_ohm_per_km": "0.5", "x0_ohm_per_km": "1.2", "c0_nf_per_km": "6", "max_i_ka": "0.4",
        "length_km": "3", "parallel": "1", "df": "1", "in_service": True,
    }  # fmt: skip
    answer = ask(
        client, a_bus("b0", "12.47"), *BUSES[:2],
        entry("External Grid", "grid", bus="b0", vm_pu="1.01", va_degree="0", in_service=True),
        entry("Line", "l0", busFrom="b0", busTo="b1", **three), a_line(),
        a_load(bus="b2", p_kw=300, q_kvar=100),
        {**a_load(bus="b1", phase=3, conn="delta", p_kw=200, q_kvar=0, q_mvar=0), "name": "d2"},
    )  # fmt: skip
    numbers = {name: float(value) for name, value in three.items() if name != "in_service"}
    elements = {
        "b0": bus(12.47), "b1": bus(12.47), "b2": bus(12.47), "grid": grid("b0", vm_pu=1.01),
        "l0": element("Line", from_bus="b0", to_bus="b1", **numbers),
        "l1": {**MEANT["l1"]},
        "d1": element("Load", bus="b2", phases="b", p_mw=0.3, q_mvar=0.1),
        "d2": element("Load", bus="b1", phases="ca", p_mw=0.2),
    }  # fmt: skip
    found = solve(elements, solver="opendss", mode="unbalanced", frequency=60)
    buses, line = columns(found, "Bus"), columns(found, "Line")
    assert answer["busbars"][1]["vm_pu"] == approx(buses["vm_pu"][1], abs=1e-9)
    assert answer["busbars"][2]["vm_pu"] == approx(buses["vm_b_pu"][2], abs=1e-9)
    (l0,) = answer["lines"]
    assert l0["p_from_mw"] == approx(sum(line[f"p_{a}_from_mw"][0] for a in "abc"), abs=1e-9)
    largest = max(line[f"i_{a}_from_ka"][0] for a in "abc")
    assert l0["i_from_ka"] == approx(largest, rel=1e-6)


@pytest.mark.parametrize(
    ("given", "p_mw", "q_mvar"),
    [
        ({"p_kw": 20, "q_kvar": 5}, 0.02, 0.005),
        ({"p_kw": None, "q_kvar": None}, 0.01, 0.003),
        # tan(arccos 0.8) = 0.75
        ({"q_kvar": 0, "q_mvar": 0, "pf": "0.8"}, 0.01, 0.0075),
        ({"q_kvar": 0, "q_mvar": 0, "pf": "-0.8"}, 0.01, -0.0075),
        ({"pf": "0.8"}, 0.01, 0.003),
    ],
)
def test_the_power_of_a_load_is_what_its_dialog_says(client, given, p_mw, q_mvar):
    answer = ask(client, *BUSES[:2], a_source(), a_line(), a_load(bus="b2", **given))
    (load,) = answer["loads"]
    assert (load["p_mw"], load["q_mvar"]) == (approx(p_mw), approx(q_mvar))


def test_a_unit_in_delta_lies_between_its_phase_and_the_next(client):
    three = {f"s{a}": grid("b2", phases=a, va_degree=-120 * k) for k, a in enumerate("abc")}
    sources = [
        {**a_source(phase=k + 1, va_degree=str(-120 * k), vm_pu="1"), "name": f"s{a}", "bus": "b2"}
        for k, a in enumerate("abc")
    ]
    answer = ask(
        client, *BUSES[1:], *sources, a_transformer(conn="delta", vn_hv_kv="12.47"),
        a_load(conn="delta"),
    )  # fmt: skip
    unit = {**MEANT["t1"]["parameters"], "phases": "bc", "vn_hv_kv": 12.47}
    elements = {
        "b2": bus(12.47), "b3": bus(0.2078), **three, "t1": element("Transformer", **unit),
        "d1": element("Load", bus="b3", phases="bc", p_mw=0.01, q_mvar=0.003),
    }  # fmt: skip
    found = columns(solve(elements, solver="opendss", mode="unbalanced", frequency=60), "Bus")
    assert np.isnan(found["vm_a_pu"][1])
    assert answer["busbars"][1]["vm_pu"] == approx(found["vm_b_pu"][1], abs=1e-9)


@pytest.mark.parametrize(
    ("odd", "field"),
    [
        (a_load(bus="b2", phase=4), "phase"),
        (a_load(bus="b2", phase=1), "bus"),
        (a_generator(model=3), "model"),
        (a_source(conn="delta"), "conn"),
        (a_line(r_ohm_per_km="0", x_ohm_per_km="0"), "x_matrix_ohm_per_km"),
        (a_transformer(busTo="b2b", tap_pos="2"), "tap_pos"),
    ],
)
def test_what_cannot_be_is_refused_by_name(client, odd, field):
    parts = {each["name"]: each for each in (a_source(), a_line(), odd)}
    answer = ask(client, *BUSES[:2], a_bus("b2b", "0.2078"), *parts.values())
    assert answer["error"]
    told = answer["diagnostic"]["invalid_parameters"]
    assert [(each["name"], each["param"]) for each in told] == [(odd["name"], field)]


@pytest.mark.parametrize("odd", [a_line(), a_transformer(), a_load(), a_generator(), a_source()])
def test_on_pandapower_each_is_refused_by_name(client, odd):
    dialog = {"typ": "PowerFlowPandaPower Parameters", "frequency": "60", "algorithm": "nr"}
    ends = entry("External Grid", "grid", bus="b1", vm_pu="1", va_degree="0", in_service="true")
    body = {str(k): each for k, each in enumerate([dialog, *BUSES, ends, odd])}
    answer = client.post("/", data=json.dumps(body), content_type="application/json").get_json()
    told = answer["diagnostic"]["invalid_parameters"]
    assert (odd["name"], "phases") in [(each["name"], each["param"]) for each in told]
