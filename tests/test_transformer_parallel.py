"""Parallel transformers and lines: n equal units are one with n times the admittance."""

from __future__ import annotations

import json
from typing import Any

import pytest

UNIT = {
    "hv_bus": "b1", "lv_bus": "b2", "sn_mva": 10.0, "vn_hv_kv": 110.0, "vn_lv_kv": 20.0,
    "vk_percent": 10.0, "vkr_percent": 0.5, "pfe_kw": 8.0, "i0_percent": 0.1,
    "vector_group": "YNyn0",
}  # fmt: skip


def substation(**transformers: dict[str, Any]) -> dict[str, Any]:
    """grid ─ b1 (110 kV) ═T…T═ b2 (20 kV) ─ load 15 MW, 5 Mvar"""
    return {
        "g": {"typ": "External Grid", "bus": "b1"},
        "b1": {"typ": "Bus", "vn_kv": 110},
        "b2": {"typ": "Bus", "vn_kv": 20},
        "d": {"typ": "Load", "bus": "b2", "p_mw": 15, "q_mvar": 5},
        **{id_: {"typ": "Transformer", **values} for id_, values in transformers.items()},
    }


def results(client, elements, solver):
    body = {"simulationType": "powerflow", "elements": elements, "settings": {"solver": solver}}
    answer = client.post("/", data=json.dumps(body))
    assert answer.status_code == 200, answer.text
    return answer.json["results"]


@pytest.mark.parametrize("solver", ["pandapower", "opendss"])
def test_two_in_one_are_two_apart(client, solver):
    """The same equations either way, so to the solvers' tolerance of 1e-8 and 1e-6 MVA."""
    one = results(client, substation(t=UNIT | {"parallel": 2}), solver)
    two = results(client, substation(t1=UNIT, t2=UNIT), solver)
    assert one["busbars"][1]["vm_pu"] == pytest.approx(two["busbars"][1]["vm_pu"], abs=1e-8)
    both = one["transformers"][0]
    for single in two["transformers"]:
        assert both["p_hv_mw"] == pytest.approx(2 * single["p_hv_mw"], abs=1e-6)
        assert both["pl_mw"] == pytest.approx(2 * single["pl_mw"], abs=1e-6)
        assert both["loading_percent"] == pytest.approx(single["loading_percent"], abs=1e-5)


@pytest.mark.parametrize("solver", ["pandapower", "opendss"])
def test_the_voltage_drop_is_that_of_half_the_impedance(client, solver):
    """ΔU = (R·P + X·Q)/U² and the cross part, on paper, for an unloaded core.

    Z of one unit on 20 kV: R = 0.5 % · 20²/10 = 0.2 Ω, X = √(10² − 0.5²) % · 40 Ω; half of it.
    U1 = U2 + Z·conj(S/U2) with U1 = 20 kV gives U2⁴ + (2a − 400)·U2² + a² + b² = 0 in kV,
    a = R·P + X·Q, b = X·P − R·Q.
    """
    unloaded = UNIT | {"pfe_kw": 0.0, "i0_percent": 0.0, "parallel": 2}
    r, x = 0.1, (10.0**2 - 0.5**2) ** 0.5 / 100 * 40 / 2
    a, b = r * 15 + x * 5, x * 15 - r * 5
    half = (400 - 2 * a) / 2
    on_paper_kv = (half + (half**2 - a**2 - b**2) ** 0.5) ** 0.5
    found = results(client, substation(t=unloaded), solver)
    assert found["busbars"][1]["vm_pu"] == pytest.approx(on_paper_kv / 20, abs=1e-8)


@pytest.mark.parametrize("wrong", [0, -1, 1.5, "two"])
def test_a_number_of_units_that_is_none_is_refused(client, wrong):
    body = {
        "simulationType": "powerflow",
        "elements": substation(t=UNIT | {"parallel": wrong}),
    }
    answer = client.post("/", data=json.dumps(body))
    assert answer.status_code == 422
    assert [problem["field"] for problem in answer.json["errors"]] == ["parallel"]
