"""Contingency analysis as the browser asks for it.

Where the backend that this one replaces was right, that is where an outage islands nobody, the
tables of an outage are its tables. What it called "no violations" is told as lost load.
"""

from __future__ import annotations

from typing import Any

import pytest
from pytest import approx
from test_wire_frontend import (
    LINE,
    POWER,
    answered,
    ask,
    entry,
    needs_shared,
    payload,
    payloads,
    theirs,
)

Body = dict[str, Any]

ANALYSIS = {
    "typ": "ContingencyAnalysisPandaPower Parameters", "element_type": "line",
    "voltage_limits": "true", "thermal_limits": "true", "min_vm_pu": "0.95", "max_vm_pu": "1.05",
    "max_loading_percent": "100", "user_email": "tester@example.com",
}  # fmt: skip


def ring(closed: bool = True, **parameters: Any) -> Body:
    """grid ── B1 ── L1 ── B2 (load 3 MW), and L2 between B1 and B2 as well where it is closed."""
    second = {**LINE, "in_service": "true" if closed else "false"}
    entries = [
        {**ANALYSIS, **parameters},
        entry("External Grid0", "g", bus="b1", vm_pu="1", va_degree="0"),
        entry("Bus0", "b1", vn_kv="20"),
        entry("Bus1", "b2", vn_kv="20"),
        entry("Load0", "d", bus="b2", userFriendlyName="Village", **POWER),
        entry("Line0", "l1", busFrom="b1", busTo="b2", userFriendlyName="L", **LINE),
        entry("Line1", "l2", busFrom="b1", busTo="b2", userFriendlyName="L", **second),
    ]
    return {str(key): value for key, value in enumerate(entries)}


def islands(outage: Body) -> bool:
    """Whether the older backend left somebody without voltage in an outage."""
    return any(bus["vm_pu"] is None for bus in outage["bus_results"])


@needs_shared
@pytest.mark.parametrize("name", payloads("*__contingency*"))
def test_what_the_browser_sent_is_answered_outage_by_outage(client, name):
    """Everything that the client formats is a number, and every count is that of what is listed."""
    answer = ask(client, payload(name))
    assert "error" not in answer
    summary, results = answer["summary"], answer["contingency_results"]
    assert summary["contingencies_analyzed"] == len(results) > 0
    assert summary["total_violations"] == len(summary["violations"])
    assert summary["total_critical"] == len(summary["critical_contingencies"])
    found = sum(len(result["violations"]) for result in results)
    base = [v for v in summary["violations"] if v["description"].endswith("without any outage")]
    assert found + len(base) == summary["total_violations"]
    sent = {entry.get("id") for entry in payload(name).values()}
    for key, id_, numbers in (
        ("bus", "bus_id", ("vm_pu", "va_degree", "p_mw", "q_mvar")),
        ("line", "line_id", ("loading_percent", "p_from_mw", "q_from_mvar")),
        ("transformer", "trafo_id", ("loading_percent", "p_hv_mw", "q_hv_mvar")),
    ):
        for row in answer[key]:
            assert row[id_] in sent
            assert all(isinstance(row[number], float) for number in numbers)


@needs_shared
@pytest.mark.parametrize("name", answered("*__contingency*"))
def test_an_outage_that_islands_nobody_has_the_tables_of_the_older_backend(client, name):
    old, new = theirs(name), ask(client, payload(name))
    lines = [outage for outage in new["contingency_results"] if "Line_" in outage["name"]]
    for was, now in zip(old["contingency_results"], lines, strict=False):
        if "Line_" not in was["name"] or not was["converged"] or islands(was):
            continue
        for key, id_ in (("bus_results", "bus_id"), ("line_results", "line_id")):
            mine = {row[id_]: row for row in now[key]}
            for row in was[key]:
                if row[id_] not in mine:  # what is lost itself: they listed zeros
                    assert not any(row[field] for field in row if field.endswith("_mw"))
                    continue
                numbers = {f: v for f, v in row.items() if isinstance(v, float)}
                ours = {field: mine[row[id_]][field] for field in numbers}
                assert ours == approx(numbers, rel=1e-6, abs=1e-6), (was["name"], row["name"])


@needs_shared
@pytest.mark.parametrize("name", payloads("*__contingency*"))
def test_whoever_is_left_without_supply_is_a_violation(client, name):
    """The older backend had converged cases without violations in which buses had no voltage."""
    answer = ask(client, payload(name))
    count = len(answer["bus"])
    for outage in answer["contingency_results"]:
        if outage["converged"] and len(outage["bus_results"]) < count:
            assert any(v["type"] == "supply" for v in outage["violations"]), outage["name"]


def test_losing_the_only_line_is_lost_load(client):
    answer = ask(client, ring(closed=False))
    (outage,) = answer["contingency_results"]
    assert outage["converged"] is True
    told = {(v["type"], v["element"], v["description"]) for v in outage["violations"]}
    assert told == {
        ("supply", "Bus_b2", "No supply"),
        ("supply", "Load_Village", "Lost load: 3 MW"),
    }
    assert all(v["severity"] == "high" for v in outage["violations"])


def test_the_list_of_a_bus_is_its_worst_case(client):
    answer = ask(client, ring())
    lowest = min(
        row["vm_pu"]
        for outage in answer["contingency_results"]
        for row in outage["bus_results"]
        if row["name"] == "b2"
    )
    assert next(row["vm_pu"] for row in answer["bus"] if row["name"] == "b2") == lowest


@pytest.mark.parametrize(
    ("switch", "limits", "type_"),
    [
        ("voltage_limits", {"min_vm_pu": "0.9999", "max_loading_percent": "1000"}, "voltage"),
        ("thermal_limits", {"min_vm_pu": "0.5", "max_loading_percent": "1"}, "thermal"),
    ],
)
def test_a_check_that_is_switched_off_reports_nothing(client, switch, limits, type_):
    on = ask(client, ring(**limits))
    assert {v["type"] for v in on["summary"]["violations"]} == {type_}
    off = ask(client, ring(**limits, **{switch: "false"}))
    assert off["summary"]["violations"] == []


def test_an_outage_without_a_solution_is_counted(client):
    """Two lines of 4 + j2.9 Ω can bring 44 MW at 20 kV, one of them 22 MW."""
    body = ring()
    for at in "56":
        body[at]["length_km"] = "25"
    body["4"] |= {"p_mw": "30", "q_mvar": "0"}
    answer = ask(client, body)
    for outage in answer["contingency_results"]:
        assert outage["converged"] is False
        assert outage["error"]
        assert [v["type"] for v in outage["violations"]] == ["convergence"]
    assert answer["summary"]["total_critical"] == 2


def test_outages_beyond_what_can_be_listed_are_told(client, monkeypatch):
    monkeypatch.setattr("electrisim.wire.frontend.contingency.MOST_ROWS", 5)
    answer = ask(client, ring())
    assert all(outage["bus_results"] == [] for outage in answer["contingency_results"])
    assert any("have no tables" in warning for warning in answer["warnings"])


def test_an_unknown_kind_of_outage_is_refused(client):
    answer = ask(client, ring(element_type="busbar"))
    assert "element_type" in answer["error"]
    assert answer["diagnostic"]["invalid_parameters"][0]["param"] == "element_type"
