"""What a time series says: every step is a steady state of its own."""

from __future__ import annotations

import datetime as dt
import json
from typing import Any

import numpy as np
import pandapower as pp
import pytest
from bricks import ENGINES, bus, cable, element, grid, load, transformer
from hand import Hand

from electrisim.studies.profiles import GENERATION, LOAD, Clock
from electrisim.wire import answer_request

Elements = dict[str, Any]

#: Both sides iterate to 1e-8 MVA on a network of some 100 MVA short-circuit power.
SAME = 1e-8
VOLTAGES = {"busbars": ["vm_pu"]}


def asked(elements: Elements, **settings: Any) -> tuple[int, dict[str, Any]]:
    body = {"simulationType": "timeseries", "elements": elements, "settings": settings}
    status, _, answer = answer_request(json.dumps(body).encode(), ENGINES, {})
    assert isinstance(answer, bytes)
    return status, json.loads(answer)


def answered(elements: Elements, **settings: Any) -> dict[str, Any]:
    status, body = asked(elements, **settings)
    assert status == 200, body["errors"]
    return body


def feeder(**more: Any) -> Elements:
    """grid ─ h ─T─ m0 ── m1 ── load 3 MW, sun 1 MW; a second line to m2 ── load 1 MW"""
    return {
        "g": grid("h", vm_pu=1.01),
        "h": bus(110),
        "m0": bus(20),
        "m1": bus(20),
        "m2": bus(20),
        "t": transformer(
            "h", "m0", tap_side="hv", tap_neutral=0, tap_min=-9, tap_max=9, tap_pos=0,
            tap_step_percent=1.5, tap_changer_type="Ratio",
        ),
        "a": cable("m0", "m1"),
        "b": cable("m0", "m2"),
        "d1": load("m1", 3.0, 1.0, scaling=0.9),
        "d2": load("m2", 1.0, 0.2),
        "sun": element("Static Generator", bus="m1", p_mw=1.0, q_mvar=0.1),
        **more,
    }  # fmt: skip


def by_hand(elements: Elements, **changes: dict[str, Any]) -> Hand:
    """The network with some fields changed, solved by pandapower alone."""
    hand = Hand(
        {
            id_: {**each, "parameters": {**each["parameters"], **changes.get(id_, {})}}
            for id_, each in elements.items()
        }
    )
    pp.runpp(hand.net, numba=False, calculate_voltage_angles=True, tolerance_mva=1e-9)
    return hand


def voltages(hand: Hand) -> Any:
    return pytest.approx(hand.net["res_bus"]["vm_pu"].to_numpy(), abs=SAME, nan_ok=True)


def numbers(values: list[float | None]) -> Any:
    return np.array([np.nan if value is None else value for value in values])


PROFILES: dict[str, dict[str, Any]] = {
    "loads": {"d1": {"p_mw": [1.0, 4.0, 2.0], "q_mvar": [0.0, 1.5, -0.5]}},
    "generation": {"sun": {"p_mw": [0.0, 0.5, 2.0]}},
    "scaling": {"d2": {"scaling": [0.0, 2.0, 1.0]}},
    "grid voltage": {"g": {"vm_pu": [0.98, 1.0, 1.03]}},
    "taps": {"t": {"tap_pos": [-2, 0, 3]}},
    "lines in service": {"b": {"in_service": [True, False, True]}},
    "loads in service": {"d1": {"in_service": [False, True, True]}},
    "line length": {"a": {"length_km": [1.0, 2.0, 8.0]}},
    "several at once": {
        "d1": {"p_mw": [1.0, 2.0, 3.0]},
        "t": {"tap_pos": [1, 1, 2]},
        "b": {"in_service": [False, True, True]},
    },
}


@pytest.mark.parametrize("name", PROFILES)
def test_every_step_is_as_pandapower_says_of_the_network_at_that_step(name: str) -> None:
    profiles = PROFILES[name]
    body = answered(feeder(), profiles=profiles, outputs=VOLTAGES)
    assert body["failed_steps"] == []
    for step, found in enumerate(body["results"]["busbars"]["vm_pu"]):
        changes = {
            id_: {field: values[step] for field, values in profile.items()}
            for id_, profile in profiles.items()
        }
        assert numbers(found) == voltages(by_hand(feeder(), **changes))


@pytest.mark.parametrize(
    ("extra", "profiles"),
    [
        ({"s": element("Switch", bus="m0", element="b")}, {"s": {"closed": [True, False, False]}}),
        (
            {"c": element("Shunt", bus="m1", q_mvar=-0.5, max_step=4)},
            {"c": {"step": [0.0, 2.0, 4.0]}},
        ),
        (
            {"m": element("Generator", bus="m2", p_mw=0.5, vm_pu=1.0)},
            {"m": {"vm_pu": [0.99, 1.0, 1.01], "p_mw": [0.1, 0.2, 0.3]}},
        ),
        (
            {"m": element("Generator", bus="m2", p_mw=0.5, vm_pu=1.0)},
            {"m": {"in_service": [True, False, True]}},
        ),
        (
            {"off": cable("m1", "m2", in_service=False)},
            {"off": {"in_service": [False, True, True]}},
        ),
        (
            {"battery": element("Storage", bus="m2", p_mw=0.1)},
            {"battery": {"p_mw": [0.5, -0.5, 0.0]}},
        ),
        (
            {
                "w": element("Ward", bus="m2", ps_mw=0.1, qs_mvar=0.1, pz_mw=0.1, qz_mvar=0.1),
            },
            {"w": {"ps_mw": [0.0, 0.5, 1.0]}},
        ),
        ({"h2": bus(110), "g2": grid("h2")}, {"g2": {"vm_pu": [1.0, 1.02, 0.99]}}),
    ],
    ids=["switch", "steps", "voltage", "generator", "line on", "storage", "ward", "two grids"],
)  # fmt: skip
def test_other_kinds_are_followed_too(extra: Elements, profiles: dict[str, Any]) -> None:
    elements = feeder(**extra)
    body = answered(elements, profiles=profiles, outputs=VOLTAGES)
    for step, found in enumerate(body["results"]["busbars"]["vm_pu"]):
        changes = {
            id_: {field: values[step] for field, values in profile.items()}
            for id_, profile in profiles.items()
        }
        assert numbers(found) == voltages(by_hand(elements, **changes))


def test_a_factor_scales_the_elements_own_value() -> None:
    by_factor = answered(feeder(), profiles={"d1": {"p_mw": [0.5, 1.0], "unit": "factor"}})
    absolute = answered(feeder(), profiles={"d1": {"p_mw": [1.5, 3.0]}})
    assert by_factor["results"] == absolute["results"]


def test_a_step_without_a_solution_is_null_and_the_others_stand() -> None:
    body = answered(feeder(), profiles={"d1": {"p_mw": [1.0, 900.0, 2.0]}}, outputs=VOLTAGES)
    assert body["failed_steps"] == [1]
    assert body["diagnosis"][0]["step"] == 1
    assert body["diagnosis"][0]["rule"]
    assert body["convergence"] is False
    found = body["results"]["busbars"]["vm_pu"]
    assert found[1] == [None] * 4
    for step, p_mw in ((0, 1.0), (2, 2.0)):
        assert numbers(found[step]) == voltages(by_hand(feeder(), d1={"p_mw": p_mw}))
    assert any("step 1" in warning for warning in body["warnings"])


def test_a_series_of_which_no_step_has_a_solution_is_refused() -> None:
    status, body = asked(feeder(), profiles={"d1": {"p_mw": [900.0, 900.0]}})
    assert (status, body["errors"][0]["kind"]) == (422, "not-converged")


def test_a_line_out_of_service_has_no_loading_in_that_step() -> None:
    body = answered(
        feeder(),
        profiles={"b": {"in_service": [True, False]}},
        outputs={"lines": ["loading_percent"], "busbars": ["vm_pu"]},
    )
    assert body["results"]["lines"]["loading_percent"][1][1] is None
    assert body["results"]["busbars"]["vm_pu"][1][3] is None


def test_results_are_columns_with_their_ids() -> None:
    body = answered(feeder(), profiles={"d1": {"p_mw": [1.0, 2.0]}})
    results = body["results"]
    assert set(results) == {"busbars", "lines", "transformers", "externalgrids"}
    assert results["lines"]["ids"] == ["a", "b"]
    assert np.shape(results["lines"]["loading_percent"]) == (2, 2)
    assert np.shape(results["externalgrids"]["p_mw"]) == (2, 1)
    assert body["steps"] == [0, 1]


def test_statistics_are_over_the_steps_that_have_a_solution() -> None:
    body = answered(feeder(), profiles={"d1": {"p_mw": [1.0, 900.0, 3.0]}}, outputs=VOLTAGES)
    first, _, last = (row[2] for row in body["results"]["busbars"]["vm_pu"])
    figures = body["statistics"]["busbars"]["vm_pu"]
    assert body["statistics"]["busbars"]["ids"] == ["h", "m0", "m1", "m2"]
    assert (figures["min"][2], figures["max"][2]) == (last, first)
    assert figures["mean"][2] == pytest.approx((first + last) / 2, abs=1e-15)


def test_steps_have_times_where_a_start_is_given() -> None:
    body = answered(
        feeder(), profiles={"d1": {"p_mw": [1, 2, 3]}}, start="2025-02-28T23:30", step_minutes=15
    )
    assert body["steps"] == ["2025-02-28T23:30:00", "2025-02-28T23:45:00", "2025-03-01T00:00:00"]


BATTERY = element(
    "Storage", bus="m1", p_mw=0.0, max_e_mwh=4.0, min_e_mwh=1.0, soc_percent=50.0
)  # fmt: skip


def test_a_storage_is_charged_by_power_times_time_until_it_is_full() -> None:
    """2 MWh to begin with, half an hour per step: 1 MW adds 0.5 MWh; at 4 MWh it is full."""
    body = answered(
        feeder(battery=BATTERY),
        profiles={"battery": {"p_mw": [1.0, 2.0, 2.0, -4.0, -4.0]}},
        step_minutes=30,
        outputs={"storages": ["p_mw", "soc_percent"]},
    )
    storages = body["results"]["storages"]
    assert [row[0] for row in storages["soc_percent"]] == [62.5, 87.5, 100.0, 50.0, 25.0]
    assert [row[0] for row in storages["p_mw"]] == [1.0, 2.0, 1.0, -4.0, -2.0]
    assert any("full or empty in 2 of 5 steps" in warning for warning in body["warnings"])


def test_the_state_of_charge_is_answered_by_default_where_it_is_known() -> None:
    body = answered(feeder(battery=BATTERY), time_steps=2)
    assert body["results"]["storages"]["soc_percent"] == [[50.0], [50.0]]
    unknown = element("Storage", bus="m1", p_mw=0.1, max_e_mwh=4.0)
    assert "storages" not in answered(feeder(battery=unknown), time_steps=2)["results"]


@pytest.mark.parametrize("name", ["daily", "industrial", "variable"])
def test_a_preset_scales_the_loads_that_have_no_profile(name: str) -> None:
    body = answered(
        feeder(),
        time_steps=24,
        load_profile=name,
        profiles={"d2": {"p_mw": [1.0] * 24}},
        outputs={"loads": ["p_mw"]},
    )
    shape = body["presets"]["load"]
    first, second = zip(*body["results"]["loads"]["p_mw"], strict=True)
    assert first == pytest.approx(2.7 * np.array(shape), rel=1e-12)
    assert set(second) == {1.0}


@pytest.mark.parametrize("name", ["solar", "wind", "variable"])
def test_a_preset_scales_generation(name: str) -> None:
    body = answered(
        feeder(), time_steps=24, generation_profile=name, outputs={"staticgenerators": ["p_mw"]}
    )
    shape = body["presets"]["generation"]
    found = [row[0] for row in body["results"]["staticgenerators"]["p_mw"]]
    assert found == pytest.approx(shape, rel=1e-12)


@pytest.mark.parametrize("shapes", [LOAD, GENERATION])
def test_shapes_stay_between_nothing_and_everything_and_repeat_exactly(shapes: Any) -> None:
    clock = Clock(None, 15.0, 4 * 24 * 28)
    for shape in shapes.values():
        values = shape(clock)
        assert values.min() >= 0
        assert values.max() <= 1
        assert np.array_equal(values, shape(clock))


def test_the_sun_shines_by_day_and_longer_in_summer() -> None:
    hours = [GENERATION["solar"](Clock(dt.datetime(2025, month, 21), 60, 24)) for month in (6, 12)]
    assert all(day[0] == 0 and day[12] > 0.2 for day in hours)
    assert (hours[0] > 0).sum() > (hours[1] > 0).sum()


def test_opendss_says_the_same() -> None:
    """Constant power, an ideal source, no magnetising branch: equal to the solver's accuracy."""
    elements = {
        "g": grid("b0"),
        "b0": bus(20),
        "b1": bus(20),
        "a": cable("b0", "b1"),
        "d": load("b1"),
    }
    profiles = {"d": {"p_mw": [1.0, 2.0, 3.0]}}
    ours = answered(elements, profiles=profiles, outputs=VOLTAGES)
    theirs = answered(elements, profiles=profiles, outputs=VOLTAGES, solver="opendss")
    assert np.array(theirs["results"]["busbars"]["vm_pu"]) == pytest.approx(
        np.array(ours["results"]["busbars"]["vm_pu"]), abs=1e-7
    )


def test_linear_steps_scale_with_the_load() -> None:
    body = answered(
        feeder(),
        mode="dc",
        profiles={"d2": {"p_mw": [1.0, 2.0]}},
        outputs={"lines": ["p_from_mw"], "busbars": ["vm_pu"]},
    )
    assert [row[1] for row in body["results"]["lines"]["p_from_mw"]] == pytest.approx([1.0, 2.0])


@pytest.mark.parametrize(
    ("settings", "kinds"),
    [
        ({"profiles": {"x": {"p_mw": [1, 2]}}}, ["unknown-element"]),
        ({"profiles": {"d1": {"p_mw": [1, 2]}, "d2": {"p_mw": [1]}}}, ["wrong-length"]),
        ({"profiles": {"d1": {"p_mw": [1, 2]}}, "time_steps": 3}, ["wrong-length"]),
        ({"profiles": {"d1": {"power": [1, 2]}}}, ["unknown-parameter"]),
        ({"profiles": {"a": {"from_bus": [1, 2]}}}, ["unknown-parameter"]),
        ({"profiles": {"a": {"length_km": [1, 0]}}}, ["out-of-bounds"]),
        ({"profiles": {"a": {"parallel": [1, 1.5]}}}, ["out-of-bounds"]),
        ({"profiles": {"a": {"in_service": [1, 0.5]}}}, ["not-a-flag"]),
        ({"profiles": {"a": {"in_service": [1, 1], "unit": "factor"}}}, ["not-a-flag"]),
        ({"profiles": {"a": {"alpha": [1, 1], "unit": "factor"}}}, ["missing-parameter"]),
        ({"profiles": {"d1": {"p_mw": [1, 2], "unit": "MW"}}}, ["wrong-form"]),
        ({"profiles": {"d1": {"p_mw": ["a", "b"]}}}, ["wrong-form"]),
        ({"profiles": {"d1": [1, 2]}}, ["wrong-form"]),
        ({}, ["missing-setting"]),
        ({"time_steps": 0}, ["out-of-bounds"]),
        ({"time_steps": 1e9}, ["out-of-bounds"]),
        ({"time_steps": 2, "start": "yesterday"}, ["not-a-time"]),
        ({"time_steps": 2, "start": "9999-12-31T23:30:00"}, ["out-of-bounds"]),
        ({"time_steps": 2, "step_minutes": 0}, ["out-of-bounds"]),
        ({"time_steps": 2, "outputs": {"buses": ["vm_pu"]}}, ["unknown-value"]),
        ({"time_steps": 2, "outputs": {"busbars": ["vm"]}}, ["unknown-value"]),
        ({"time_steps": 2, "load_profile": "solar"}, ["unknown-value"]),
        (
            {"profiles": {"x": {"p_mw": [1]}, "d1": {"power": [1]}}, "outputs": {"buses": []}},
            ["unknown-element", "unknown-parameter", "unknown-value"],
        ),
    ],
)
def test_what_is_wrong_is_named_all_of_it(settings: dict[str, Any], kinds: list[str]) -> None:
    status, body = asked(feeder(), **settings)
    assert status == 422
    assert [problem["kind"] for problem in body["errors"]] == kinds


def test_numbers_sent_as_texts_are_numbers() -> None:
    texts = answered(feeder(), profiles={"d1": {"p_mw": ["1.0", "2"]}}, time_steps="2")
    plain = answered(feeder(), profiles={"d1": {"p_mw": [1.0, 2.0]}})
    assert texts["results"] == plain["results"]


def test_a_year_of_hours_agrees_with_single_solutions() -> None:
    """Spot checks of 8,760 steps against pandapower alone."""
    hours = np.arange(8760)
    factor = (0.6 + 0.4 * np.sin(2 * np.pi * hours / 24) ** 2).tolist()
    profiles = {"d1": {"p_mw": factor, "unit": "factor"}, "sun": {"p_mw": factor[::-1]}}
    body = answered(feeder(), profiles=profiles, outputs=VOLTAGES)
    assert body["failed_steps"] == []
    for step in (0, 1234, 5000, 8759):
        changes = {"d1": {"p_mw": 3.0 * factor[step]}, "sun": {"p_mw": factor[8759 - step]}}
        expected = voltages(by_hand(feeder(), **changes))
        assert numbers(body["results"]["busbars"]["vm_pu"][step]) == expected
