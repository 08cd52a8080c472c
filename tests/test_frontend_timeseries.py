"""Time series as the browser asks for them.

The captured bodies draw a random day for every load and generator. For those that the backend that
this one replaces could answer, its numbers are ours.
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

SERIES = {
    "typ": "TimeSeriesSimulationPandaPower Parameters", "time_steps": "3",
    "load_profile": "constant", "generation_profile": "constant", "profile_mode": "custom",
    "element_profiles": {}, "frequency": "50", "algorithm": "nr",
    "calculate_voltage_angles": "auto", "init": "auto", "user_email": "tester@example.com",
}  # fmt: skip


def feeder(**parameters: Any) -> Body:
    """grid ── B1 ── line ── B2 with two loads of 3 MW, 1 Mvar that are both called Village."""
    entries = [
        {**SERIES, **parameters},
        entry("External Grid0", "g", bus="b1", vm_pu="1", va_degree="0"),
        entry("Bus0", "b1", vn_kv="20"),
        entry("Bus1", "b2", vn_kv="20"),
        entry("Load0", "d1", bus="b2", userFriendlyName="Village", **POWER),
        entry("Load1", "d2", bus="b2", userFriendlyName="Village", **POWER),
        entry("Line0", "l1", busFrom="b1", busTo="b2", **LINE),
    ]
    return {str(key): value for key, value in enumerate(entries)}


def drawn(values: Any, mode: str = "absolute") -> Body:
    return {"element_type": "load", "mode": mode, "values": values, "display_name": "Village"}


def of(answer: Body, key: str, id_: str, field: str) -> list[Any]:
    return [row[field] for row in answer[key] if row["id"] == id_]


@needs_shared
@pytest.mark.parametrize("name", payloads("*__timeseries"))
def test_what_the_browser_sent_is_answered_step_by_step(client, name):
    body = payload(name)
    answer = ask(client, body)
    assert answer["timeseries_converged"] is True
    steps = answer["time_steps"]
    assert steps == int(body["0"]["time_steps"]) == len(answer["time_stamps"])
    assert answer["profiles_used"].keys() == body["0"]["element_profiles"].keys()
    for key in ("busbars", "lines", "loads", "sgens", "gens"):
        rows = answer[key]
        assert len({row["id"] for row in rows}) == len({row["name"] for row in rows})
        assert len(rows) == steps * len({row["id"] for row in rows})
        assert all(isinstance(value, (int, float, str)) for row in rows for value in row.values())


@needs_shared
@pytest.mark.parametrize("name", answered("*__timeseries"))
def test_numbers_equal_those_of_the_backend_that_this_one_replaces(client, name):
    old, new = theirs(name), ask(client, payload(name))
    for key in ("busbars", "lines", "loads", "sgens"):
        rows = {(row["id"], row["time_step"]): row for row in new[key]}
        for was in old[key]:
            numbers = {f: v for f, v in was.items() if isinstance(v, float)}
            ours = {field: rows[was["id"], was["time_step"]][field] for field in numbers}
            assert ours == approx(numbers, rel=1e-6, abs=1e-6), (key, was)
    assert new["time_stamps"] == old["time_stamps"]


def test_more_than_a_day_is_answered(client):
    answer = ask(client, feeder(time_steps="60", load_profile="daily"))
    assert answer["timeseries_converged"] is True
    assert answer["time_stamps"][::24] == [f"2024-01-0{day} 00:00:00" for day in (1, 2, 3)]
    voltages = of(answer, "busbars", "b2", "vm_pu")
    assert voltages[0] == approx(voltages[24], rel=1e-9)
    factors = answer["load_profile_values"]
    assert of(answer, "loads", "d1", "p_mw") == approx([3 * factor for factor in factors])


def test_an_absolute_profile_is_in_mw_and_keeps_the_power_factor(client):
    answer = ask(client, feeder(element_profiles={"d1": drawn([1.5, 3, 6])}))
    assert of(answer, "loads", "d1", "p_mw") == approx([1.5, 3, 6])
    assert of(answer, "loads", "d1", "q_mvar") == approx([0.5, 1, 2])
    assert of(answer, "loads", "d2", "p_mw") == [3, 3, 3]


def test_a_factor_is_a_factor_however_large(client):
    """The older backend took a factor above 3 for megawatts."""
    body = feeder(element_profiles={"d1": drawn(["0.5", "1", "4"], "scale")})
    body["4"] |= {"p_mw": "0.3", "q_mvar": "0.1"}
    answer = ask(client, body)
    assert of(answer, "loads", "d1", "p_mw") == approx([0.15, 0.3, 1.2])
    assert of(answer, "loads", "d1", "q_mvar") == approx([0.05, 0.1, 0.4])


def test_a_drawn_profile_overrides_the_named_one(client):
    profiles = {"d1": drawn([1, 1, 1])}
    answer = ask(client, feeder(load_profile="daily", element_profiles=profiles))
    assert of(answer, "loads", "d1", "p_mw") == [1, 1, 1]
    assert of(answer, "loads", "d2", "p_mw")[0] == approx(3 * 0.4)


def test_equal_labels_are_told_apart(client):
    answer = ask(client, feeder())
    assert {row["name"] for row in answer["loads"]} == {"Village (d1)", "Village (d2)"}


def test_a_step_that_fails_is_named_and_the_others_stand(client):
    """900 MW cannot be carried at 20 kV."""
    answer = ask(client, feeder(element_profiles={"d1": drawn([3, 900, 3])}))
    assert answer["timeseries_converged"] is False
    assert answer["failed_time_steps"] == [1]
    assert [row["time_step"] for row in answer["busbars"] if row["id"] == "b2"] == [0, 2]
    before, after = of(answer, "busbars", "b2", "vm_pu")
    assert before == approx(after, abs=1e-9)


@pytest.mark.parametrize("algorithm", ["nr", "iwamoto_nr", "fastdecoupled", "dc"])
def test_every_algorithm_of_the_dialog_answers(client, algorithm):
    answer = ask(client, feeder(algorithm=algorithm))
    assert answer["timeseries_converged"] is True
    assert len(answer["busbars"]) == 6
    expected = None if algorithm == "dc" else approx(0.96965, abs=1e-5)
    assert of(answer, "busbars", "b2", "vm_pu") == [expected] * 3


@pytest.mark.parametrize(
    "profile",
    [
        drawn([1, 2]), drawn([1, 2, "many"]), drawn("1,2,3"), "flat", drawn([1, 2, None]),
        drawn([1, 2, 3], "cubic"),
    ],
)  # fmt: skip
def test_a_profile_that_does_not_fit_is_refused_with_its_element(client, profile):
    answer = ask(client, feeder(element_profiles={"d1": profile}))
    assert "Village" in answer["error"]
    assert answer["diagnostic"]["invalid_parameters"][0]["name"] == "Village (d1)"


def test_profiles_of_a_kind_without_power_are_refused(client):
    answer = ask(client, feeder(element_profiles={"l1": drawn([1, 2, 3])}))
    assert "no power of its own" in answer["error"]


def test_profiles_that_are_no_object_are_refused(client):
    answer = ask(client, feeder(element_profiles=[1, 2, 3]))
    assert "element_profiles" in answer["error"]


def test_a_profile_of_nothing_is_told(client):
    answer = ask(client, feeder(element_profiles={"gone": drawn([1, 2, 3])}))
    assert any("gone" in warning for warning in answer["warnings"])
