"""MATPOWER's own figures for its cases, through the documented spelling and on both engines.

Losses and lowest voltages as published with the case data (reproduced with PYPOWER 5.1.21);
printed to four and five decimals, which is the tolerance.
"""

from __future__ import annotations

import json
from typing import Any

import pytest
from flask.testing import FlaskClient
from matpower import OPF, elements, tables

CASES = OPF / "matpower"
needs_cases = pytest.mark.skipif(not CASES.exists(), reason="the case files are in ../shared")

#: Case → losses [MW], lowest voltage [pu].
PUBLISHED = {
    "case9": (4.6410, 0.99563),
    "case14": (13.3933, 1.01000),
    "case30": (2.4438, 0.96062),
    "case39": (43.6411, 0.98200),
    "case57": (27.8638, 0.93593),
    "case118": (132.8629, 0.94300),
    "case300": (408.3156, 0.92880),
}


def solve(client: FlaskClient, case: str, **settings: Any) -> Any:
    request = {
        "simulationType": "powerflow",
        "elements": elements(tables(CASES / f"{case}.m")),
        "settings": {"trafo_model": "pi", **settings},
    }
    response = client.post("/", data=json.dumps(request))
    assert response.status_code == 200, response.text[:400]
    return response.json


@needs_cases
@pytest.mark.parametrize("case", PUBLISHED)
def test_losses_and_lowest_voltage_are_the_published_ones(client, case):
    answer = solve(client, case)
    losses_mw, vm_pu = PUBLISHED[case]
    assert answer["losses"]["p_mw"] == pytest.approx(losses_mw, abs=5e-5)
    lowest = min(row["vm_pu"] for row in answer["results"]["busbars"])
    assert lowest == pytest.approx(vm_pu, abs=5e-6)


@needs_cases
@pytest.mark.parametrize("case", ["case9", "case14", "case39"])
def test_opendss_agrees_with_pandapower_on_published_cases(client, case):
    """Generators and their voltages included; 1e-6 pu, the slack being ideal on both."""
    one = solve(client, case)["results"]["busbars"]
    other = solve(client, case, solver="opendss")["results"]["busbars"]
    for ours, theirs in zip(one, other, strict=True):
        assert theirs["vm_pu"] == pytest.approx(ours["vm_pu"], abs=1e-6)
        assert theirs["va_degree"] == pytest.approx(ours["va_degree"], abs=1e-4)
