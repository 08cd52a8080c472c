"""What a log of modifications makes of a feeder."""

import pytest
from pytest import approx

from electrisim.feeder.fold import Entry, History, after
from electrisim.feeder.model import Options
from electrisim.feeder.modifications import KINDS, decode
from electrisim.feeder.state import Place, State, case
from electrisim.fields import fields_of
from electrisim.problems import ProblemError


@pytest.fixture
def fold(feeder):
    def folded(*entries, **options):
        history = History()
        for kind, *fields in entries:
            entry = Entry(kind, fields[0] if fields else {})
            history = after(history, entry, Place(feeder, Options(**options)))
        return history.state

    return folded


def generator(kw, bus="16", phases=1):
    return ("add_generator", {"bus_name": bus, "phases": phases, "kw": kw})


def hood(factor, neighbourhood=5):
    return ("modify_load_neighbourhood", {"neighbourhood": neighbourhood, "factor": factor})


def refusal_of(call, *arguments):
    with pytest.raises(ProblemError) as caught:
        call(*arguments)
    return caught.value


# The two that the API has always had


def test_factors_compound(fold, feeder):
    factors = fold(hood(0.8), hood(0.8)).factors
    assert set(factors) == set(feeder.loads_in("recommended", 5))
    assert set(factors.values()) == {0.8 * 0.8}


def test_no_factor_brings_a_load_back_that_was_switched_off(fold):
    assert set(fold(hood(0), hood(5)).factors.values()) == {0}


def test_a_second_generator_of_the_same_phases_replaces_the_first(fold):
    assert fold(generator(200), generator(100)).generators == {("16", 1): 100}


def test_one_phase_and_three_phases_are_two_generators(fold):
    state = fold(generator(200, "48"), generator(500, "48", 3))
    assert state.generators == {("48", 1): 200, ("48", 3): 500}


def test_the_name_of_a_bus_is_taken_in_any_case(fold):
    assert fold(generator(10, "150R", 3)).generators == {("150r", 3): 10}


def test_the_seed_table_leaves_out_the_load_at_94(fold):
    assert "s94a" in fold(hood(0, 10)).factors
    assert "s94a" not in fold(hood(0, 10), neighbourhood_table="seed").factors


# Back and forth


def test_undo_and_redo_walk_along_the_history(fold):
    steps = [generator(1), generator(2), ("undo",), ("undo",), ("redo",)]
    assert fold(*steps[:3]).generators == {("16", 1): 1}
    assert fold(*steps[:4]).generators == {}
    assert fold(*steps).generators == {("16", 1): 1}


def test_a_reset_can_be_undone(fold):
    assert fold(generator(1), ("reset",)) == State()
    assert fold(generator(1), ("reset",), ("undo",)).generators == {("16", 1): 1}


def test_what_was_undone_is_gone_once_something_else_is_done(fold):
    error = refusal_of(fold, generator(1), ("undo",), generator(2), ("redo",))
    assert (error.kind, error.status) == ("nothing-to-redo", 422)


def test_there_is_nothing_to_undo_at_the_beginning(fold):
    assert refusal_of(fold, ("undo",)).kind == "nothing-to-undo"


def test_undo_gives_back_the_very_load_that_a_zero_factor_took(fold):
    assert fold(hood(0.7), hood(0), ("undo",)).factors == fold(hood(0.7)).factors


def test_different_ways_to_one_state_have_one_digest(fold):
    one = fold(generator(1), hood(0.5), generator(2, "48", 3))
    other = fold(generator(2, "48", 3), generator(7), ("undo",), hood(0.5), generator(1))
    assert one.digest() == other.digest()
    assert one.digest() != fold(generator(1)).digest()


def test_ten_thousand_entries_fold(fold):
    state = fold(*([generator(1), ("undo",)] * 5_000))
    assert state.generators == {}


# Beyond


def device(kw, name="pump", bus="48", **fields):
    return (
        "add_device",
        {"bus_name": bus, "device_name": name, "kw": kw, **fields},
    )


def test_a_node_is_scaled_alone(fold):
    state = fold(("modify_load_node", {"bus_name": "1", "factor": 2}))
    assert state.factors == {"s1a": 2}


def test_devices_are_consumption_and_are_scaled_with_it(fold, feeder):
    state = fold(device(30, bus="1"), hood(0.5, 1))
    (unit,) = case(feeder, state).units
    assert (unit.bus, unit.kw) == ("1", -15)


def test_devices_above_a_threshold_are_reduced(fold):
    fields = {"bus_name": "48", "power_threshold_kw": 20, "reduction_factor": 0.1}
    state = fold(device(30), device(10, "fan"), ("modify_devices_in_node", fields))
    assert {d.name: d.present_kw for d in state.devices.values()} == {"pump": 3, "fan": 10}


def test_a_device_is_removed_by_its_name(fold):
    where = {"bus_name": "48", "device_name": "pump"}
    assert fold(device(30), ("disconnect_device", where)).devices == {}
    assert refusal_of(fold, ("disconnect_device", where)).kind == "unknown-device"


def storage(**fields):
    given = {"max_capacity_kwh": 100, "charge_rate_kw": 40, "discharge_rate_kw": 60}
    where = {"bus_name": "48", "device_name": "battery"}
    return ("add_storage_device", {**where, **given, **fields})


def turn(action):
    fields = {"bus_name": "48", "device_name": "battery", "action": action}
    return ("toggle_storage_device", fields)


def wait(minutes):
    return ("simulate", {"minutes": minutes})


@pytest.mark.parametrize(
    ("steps", "kwh", "kw"),
    [
        ([], 0, -40),
        ([wait(60)], 40, -40),
        ([wait(60), wait(60), wait(60)], 100, 0),
        ([wait(600), turn("discharge")], 100, 60),
        ([wait(600), turn("toggle"), wait(30)], 70, 60),
        ([wait(600), turn("toggle"), wait(600)], 0, 0),
        ([wait(60), turn("idle"), wait(600)], 40, 0),
    ],
)
def test_a_storage_charges_and_discharges_by_simulated_steps(steps, kwh, kw, fold):
    """100 kWh, charging with 40 kW, discharging with 60 kW"""
    (battery,) = fold(storage(), *steps).storages.values()
    assert battery.energy_kwh == approx(kwh)
    assert battery.injected_kw == kw


def test_a_storage_is_removed_by_disconnecting_it(fold):
    assert fold(storage(), turn("disconnect")).storages == {}


def programme(**fields):
    return ("register_dfp", {"name": "peak", "min_power_kw": 15, "target_pf": 0.5, **fields})


def subscribe(bus):
    return ("subscribe_dfp", {"bus_name": bus, "dfp_name": "peak"})


EXECUTE = ("execute_dfp", {"dfp_name": "peak"})
STOP = ("stop_dfp", {"dfp_name": "peak"})
DEVICES = [device(30), device(10, "fan"), device(30, bus="1")]


def powers(state):
    return {(d.bus, d.name): d.present_kw for d in state.devices.values()}


def test_a_programme_curtails_large_devices_of_subscribers_and_lets_them_go(fold):
    running = [*DEVICES, programme(), subscribe("48"), EXECUTE]
    assert powers(fold(*running)) == {("48", "pump"): 15, ("48", "fan"): 10, ("1", "pump"): 30}
    assert powers(fold(*running, EXECUTE)) == powers(fold(*running))
    assert powers(fold(*running, STOP)) == powers(fold(*DEVICES))


def test_a_programme_ends_with_its_removal_and_with_the_subscription(fold):
    running = [*DEVICES, programme(), subscribe("48"), EXECUTE]
    deleted = fold(*running, ("delete_dfp", {"name": "peak"}))
    left = fold(*running, ("unsubscribe_dfp", {"bus_name": "48", "dfp_name": "peak"}))
    assert powers(deleted) == powers(left) == powers(fold(*DEVICES))
    assert deleted.programmes == {}
    assert left.programmes["peak"].subscribers == ()


def test_a_changed_programme_counts_from_its_next_execution(fold):
    running = [*DEVICES, programme(), subscribe("48"), EXECUTE]
    update = ("update_dfp", {"name": "peak", "target_pf": 0.1})
    assert powers(fold(*running, update))["48", "pump"] == 15
    assert powers(fold(*running, update, EXECUTE))["48", "pump"] == approx(3)


def test_who_takes_part_is_drawn_by_the_seed_alone(fold, feeder):
    offers = [
        fold(
            programme(),
            (
                "send_dfp_to_neighbourhood",
                {"neighbourhood": 8, "dfp_name": "peak", "share": 0.5, "seed": seed},
            ),
        )
        .programmes["peak"]
        .subscribers
        for seed in (1, 1, 2)
    ]
    assert offers[0] == offers[1] != offers[2]
    assert 0 < len(offers[0]) < len(feeder.neighbourhoods["recommended"][8])


# What is refused


@pytest.mark.parametrize(
    ("kind", "fields", "refusal"),
    [
        ("add_generator", {"bus_name": "999", "phases": 1, "kw": 1}, ("unknown-bus", 404)),
        ("add_generator", {"bus_name": "1.1", "phases": 1, "kw": 1}, ("unknown-bus", 404)),
        ("add_generator", {"bus_name": "251", "phases": 3, "kw": 1}, ("dead-bus", 422)),
        ("add_generator", {"bus_name": "16", "phases": 3, "kw": 1}, ("missing-phases", 422)),
        ("add_generator", {"bus_name": "610", "phases": 3, "kw": 151}, ("overrated", 422)),
        (
            "modify_load_neighbourhood",
            {"neighbourhood": 99, "factor": 1},
            ("unknown-neighbourhood", 404),
        ),
        ("modify_load_node", {"bus_name": "3", "factor": 2}, ("not-added", 422)),
        ("remove_generator", {"bus_name": "16", "phases": 1}, ("unknown-generator", 404)),
        ("execute_dfp", {"dfp_name": "peak"}, ("unknown-programme", 404)),
        ("subscribe_dfp", {"bus_name": "48", "dfp_name": "peak"}, ("unknown-programme", 404)),
    ],
)
def test_what_the_feeder_does_not_allow(kind, fields, refusal, fold):
    error = refusal_of(fold, (kind, fields))
    assert (error.kind, error.status) == refusal


@pytest.mark.parametrize(
    "second",
    [
        generator(60, "610"),
        storage(bus_name="610", charge_rate_kw=1, discharge_rate_kw=60),
    ],
)
def test_all_that_is_added_behind_a_transformer_counts(second, fold):
    """Bus 610 is behind XFM-1 of 150 kVA. What consumes does not make room for what injects."""
    first = generator(100, "610", 3)
    error = refusal_of(fold, first, device(120, bus="610", phases=3), second)
    assert (error.kind, error.status) == ("overrated", 422)
    assert "would have 160 kW; its rating is 150 kVA" in error.sentence
    fold(first, device(120, bus="610", phases=3), generator(50, "610"))


def test_the_nearest_names_of_buses_are_given(fold):
    error = refusal_of(fold, generator(1, "15O"))
    assert "The nearest names are 15, 152 and 151." in error.sentence


def test_a_name_can_be_had_once(fold):
    assert refusal_of(fold, device(1), device(2)).kind == "name-taken"
    assert refusal_of(fold, storage(), storage()).kind == "name-taken"
    assert refusal_of(fold, programme(), programme()).kind == "name-taken"


@pytest.mark.parametrize(
    ("field", "value", "kind"),
    [
        ("kw", float("nan"), "not-finite"),
        ("kw", "NaN", "not-finite"),
        ("kw", "inf", "not-finite"),
        ("kw", -1, "out-of-bounds"),
        ("kw", True, "not-a-number"),
        ("kw", "many", "not-a-number"),
        ("kw", [1], "not-a-number"),
        ("kw", None, "missing-field"),
        ("phases", 1.9, "not-an-integer"),
        ("phases", 2, "out-of-bounds"),
        ("phases", "2", "out-of-bounds"),
        ("phases", 0, "out-of-bounds"),
        ("phases", False, "not-a-number"),
        ("bus_name", True, "not-a-text"),
        ("bus_name", ["16"], "not-a-text"),
        ("bus_name", None, "missing-field"),
        ("colour", "red", "unknown-field"),
    ],
)
def test_fields_that_are_not_what_they_must_be(field, value, kind):
    plain = {"bus_name": "16", "phases": 1, "kw": 200, field: value}
    error = refusal_of(decode, KINDS["add_generator"], plain)
    assert error.status == 400
    assert [(problem.kind, problem.field) for problem in error.problems] == [(kind, field)]


def test_all_faults_are_told_at_once():
    error = refusal_of(decode, KINDS["add_generator"], {"bus_name": [], "phases": 2, "kw": -1})
    assert {problem.field for problem in error.problems} == {"bus_name", "phases", "kw"}


@pytest.mark.parametrize("bus", ["16", 16, " 16 "])
@pytest.mark.parametrize("phases", [1, 1.0, "1"])
def test_looser_spellings_that_mean_the_same(bus, phases):
    plain = {"bus_name": bus, "phases": phases, "kw": "200"}
    found = decode(KINDS["add_generator"], plain)
    assert (found.bus_name, found.phases, found.kw) == ("16", 1, 200.0)


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_says_what_it_does_and_what_its_fields_mean(kind):
    assert KINDS[kind].__doc__
    assert all(field.meaning for field in fields_of(KINDS[kind]).values())
