"""Every bus that was sent comes back, once, in its order, on both engines."""

from __future__ import annotations

import json
from typing import Any

import pytest


def chain(count: int) -> dict[str, Any]:
    """grid ─ b0 ── b1 ── … ── b(count−1), a load at the end"""
    elements: dict[str, Any] = {
        "g": {"typ": "External Grid", "bus": "b0"},
        "d": {"typ": "Load", "bus": f"b{count - 1}", "p_mw": 0.1},
    }
    for at in range(count):
        elements[f"b{at}"] = {"typ": "Bus", "name": f"Busbar {at}", "vn_kv": 20}
        if at:
            elements[f"l{at}"] = {
                "typ": "Line", "from_bus": f"b{at - 1}", "to_bus": f"b{at}", "length_km": 1,
                "r_ohm_per_km": 0.2, "x_ohm_per_km": 0.1, "c_nf_per_km": 0, "max_i_ka": 0.3,
            }  # fmt: skip
    return elements


def busbars(client, elements, solver):
    body = {"simulationType": "powerflow", "elements": elements, "settings": {"solver": solver}}
    answer = client.post("/", data=json.dumps(body))
    assert answer.status_code == 200, answer.text
    return answer.json


@pytest.mark.parametrize("solver", ["pandapower", "opendss"])
@pytest.mark.parametrize("count", [1, 2, 17])
def test_as_many_buses_come_back_as_were_sent(client, count, solver):
    rows = busbars(client, chain(count), solver)["results"]["busbars"]
    assert [row["id"] for row in rows] == [f"b{at}" for at in range(count)]
    assert [row["name"] for row in rows] == [f"Busbar {at}" for at in range(count)]
    assert all(0.99 < row["vm_pu"] < 1.0 + 1e-9 for row in rows)


@pytest.mark.parametrize("solver", ["pandapower", "opendss"])
def test_buses_joined_by_a_closed_switch_stay_two_rows_of_one_voltage(client, solver):
    """Both engines make one node of them; the answer still has the diagram's buses."""
    elements = chain(3) | {
        "b3": {"typ": "Bus", "vn_kv": 20},
        "s": {"typ": "Switch", "bus": "b2", "element": "b3"},
        "d3": {"typ": "Load", "bus": "b3", "p_mw": 0.2},
    }
    answer = busbars(client, elements, solver)["results"]
    assert len(answer["busbars"]) == 4
    assert answer["busbars"][2]["vm_pu"] == answer["busbars"][3]["vm_pu"]
    # What passes the coupler is what hangs behind it.
    assert answer["switches"][0]["p_from_mw"] == pytest.approx(0.2, abs=1e-6)


@pytest.mark.parametrize("solver", ["pandapower", "opendss"])
def test_buses_without_supply_come_back_without_numbers_and_are_named(client, solver):
    elements = chain(3) | {"lonely": {"typ": "Bus", "name": "Lonely", "vn_kv": 20}}
    answer = busbars(client, elements, solver)
    row = answer["results"]["busbars"][3]
    assert {row["vm_pu"], row["va_degree"], row["p_mw"], row["q_mvar"]} == {None}
    assert any("Lonely" in warning for warning in answer["warnings"])
