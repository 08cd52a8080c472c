"""Whatever is done to a session, in any order: the laws that hold for all histories."""

from __future__ import annotations

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

# Some buses of every sort: one phase, three, dead, without neutral, none at all.
BUSES = st.sampled_from(["1", "16", "48", "65", "76", "83", "114", "610", "251", "nowhere"])
KW = st.sampled_from([0, 0.5, 30, 120, 400, 2500, 90_000])
FACTORS = st.sampled_from([0, 0.5, 0.9, 1, 1.3, 6])
NAMES = st.sampled_from(["pump", "oven"])
PHASES = st.sampled_from([1, 3])
SHARES = st.sampled_from([0, 0.4, 1])
HOODS = st.integers(1, 15)


def modification(kind, **fields):
    return st.tuples(st.just(kind), st.fixed_dictionaries(fields))


MODIFICATIONS = st.one_of(
    modification("add_generator", bus_name=BUSES, phases=PHASES, kw=KW),
    modification("remove_generator", bus_name=BUSES, phases=PHASES),
    modification("modify_load_neighbourhood", neighbourhood=HOODS, factor=FACTORS),
    modification("modify_load_node", bus_name=BUSES, factor=FACTORS),
    modification("add_device", bus_name=BUSES, device_name=NAMES, kw=KW, phases=PHASES),
    modification("disconnect_device", bus_name=BUSES, device_name=NAMES),
    modification(
        "modify_devices_in_node", bus_name=BUSES, power_threshold_kw=KW, reduction_factor=FACTORS
    ),
    modification(
        "add_storage_device",
        bus_name=BUSES,
        device_name=NAMES,
        max_capacity_kwh=st.just(100),
        charge_rate_kw=KW,
        discharge_rate_kw=KW,
    ),
    modification(
        "toggle_storage_device",
        bus_name=BUSES,
        device_name=NAMES,
        action=st.sampled_from(["toggle", "charge", "discharge", "idle", "disconnect"]),
    ),
    modification("simulate", minutes=st.sampled_from([1, 45, 600])),
    modification("register_dfp", name=NAMES, min_power_kw=KW, target_pf=FACTORS),
    modification("update_dfp", name=NAMES, min_power_kw=KW),
    modification("delete_dfp", name=NAMES),
    modification("subscribe_dfp", bus_name=BUSES, dfp_name=NAMES),
    modification("unsubscribe_dfp", bus_name=BUSES, dfp_name=NAMES),
    modification("send_dfp_to_neighbourhood", neighbourhood=HOODS, dfp_name=NAMES, share=SHARES),
    modification("execute_dfp", dfp_name=NAMES, share=SHARES),
    modification("stop_dfp", dfp_name=NAMES),
    st.tuples(st.sampled_from(["undo", "redo", "reset"]), st.just({})),
)

HISTORIES = settings(
    max_examples=40,
    deadline=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
)


@pytest.fixture
def session(client):
    """Makes empty sessions."""
    made = iter(range(10_000))

    def new():
        id_ = f"history-{next(made)}"
        assert client.post("/feeder/sessions", json={"id": id_}).status_code == 201
        return f"/feeder/sessions/{id_}"

    return new


@HISTORIES
@given(st.lists(MODIFICATIONS, min_size=1, max_size=12))
def test_every_history_is_accepted_or_refused_entry_by_entry(client, session, history):
    """An accepted modification is the log's next entry, and its answer the state; a refused one is
    neither. What is left is what a new session gives to which the log is done, and no answer is a
    defect of ours.
    """
    path = session()
    body, head = client.get(f"{path}/state").data, 0
    for kind, fields in history:
        answer = client.post(f"{path}/{kind}", json=fields)
        if answer.status_code == 200:
            body, head = answer.data, head + 1
            assert answer.headers["Log-Seq"] == str(head)
        else:
            assert answer.status_code in (400, 404, 422), answer.text
            assert answer.get_json()["errors"]
    assert client.get(f"{path}/state").data == body
    entries = client.get(f"{path}/log").get_json()["results"]["entries"]
    assert len(entries) == head
    again = session()
    for entry in entries:
        replayed = client.post(f"{again}/{entry['kind']}", json=entry["payload"])
        assert replayed.status_code == 200
    assert client.get(f"{again}/state").data == body
    additions = [client.get(f"{each}/additions").get_json() for each in (path, again)]
    assert additions[0] == additions[1]


@HISTORIES
@given(st.lists(MODIFICATIONS, min_size=1, max_size=8))
def test_undo_walks_back_to_the_beginning_and_redo_forth_again(client, session, history):
    path = session()
    wanted = [entry for entry in history if entry[0] not in ("undo", "redo")]
    states = [client.get(f"{path}/additions").data + client.get(f"{path}/state").data]
    for kind, fields in wanted:
        if client.post(f"{path}/{kind}", json=fields).status_code == 200:
            states.append(client.get(f"{path}/additions").data + client.get(f"{path}/state").data)
    for step, expected in (("undo", states[-2::-1]), ("redo", states[1:])):
        for state in expected:
            assert client.post(f"{path}/{step}").status_code == 200
            now = client.get(f"{path}/additions").data + client.get(f"{path}/state").data
            assert now == state
        refused = client.post(f"{path}/{step}")
        assert (refused.status_code, refused.get_json()["kind"]) == (422, f"nothing-to-{step}")


def test_every_kind_of_modification_is_part_of_the_histories():
    from electrisim.feeder.fold import STEPS
    from electrisim.feeder.modifications import KINDS

    drawn = json.dumps(str(MODIFICATIONS))
    assert [kind for kind in (*KINDS, *STEPS) if kind not in drawn] == []
