"""The routes: what goes in, what comes out, and what is left of it. Each on both databases."""

import json

import pytest
from pytest import approx

from electrisim.feeder import report

GENERATOR = {"bus_name": "16", "phases": 1, "kw": 200}
HOOD = {"neighbourhood": 5, "factor": 0.8}


@pytest.fixture
def client(make_app, database):
    return make_app(DATABASE_URL=database).test_client()


def results(response, status=200):
    assert response.status_code == status, response.get_data(as_text=True)
    assert response.content_type == "application/json"
    body = response.get_json()
    assert list(body) == ["status", "results"]
    assert body["status"] == "success"
    return body["results"]


def refusal(response, status):
    assert response.status_code == status, response.get_data(as_text=True)
    assert response.content_type == "application/json"
    body = response.get_json()
    assert body["status"] == "error"
    assert body["message"]
    assert all(problem["kind"] and problem["message"] for problem in body["errors"])
    assert body["errors"]
    return body


def state(client, path="/feeder/state"):
    return results(client.get(path))


# The promise


def test_the_shape_of_an_answer(client):
    answer = results(client.post("/add_generator", json=GENERATOR))
    summary, profile, rows = (
        answer[key] for key in ("power_summary", "voltage_profile", "bus_details")
    )
    assert set(summary) == {
        "converged",
        "total_circuit_power_kW",
        "total_losses_kW",
        "total_load_kW",
        "source_power_kW",
    }
    assert set(profile) == {"min_voltage_pu", "max_voltage_pu", "avg_voltage_pu"}
    assert len(rows) == 274
    row = rows[0]
    assert list(row) == [
        "Bus",
        "Node",
        "VMag_pu",
        "VAngle",
        "Load_kW",
        "Load_kVAR",
        "Gen_kW",
        "Gen_kVAR",
    ]
    for row in rows:
        assert type(row["Bus"]) is str
        assert type(row["Node"]) is int
        assert all(type(row[name]) is float for name in list(row)[2:])


def test_signs_and_sums(client):
    """OpenDSS counts what the feeder draws as negative; each sum is that of its rows."""
    answer = results(client.post("/add_generator", json=GENERATOR))
    summary, rows = answer["power_summary"], answer["bus_details"]
    # The reference's `gen16_1ph_200`.
    assert summary["total_circuit_power_kW"] == approx(-3405.715263, abs=1e-3)
    assert summary["source_power_kW"] == -summary["total_circuit_power_kW"]
    assert summary["total_load_kW"] == approx(3490)
    assert summary["total_load_kW"] == approx(sum(row["Load_kW"] for row in rows))
    (at_16,) = [row for row in rows if row["Bus"] == "16"]
    assert at_16["Gen_kW"] == approx(200, rel=1e-6)
    assert sum(row["Gen_kW"] for row in rows) == at_16["Gen_kW"]
    totals = answer["totals"]
    drawn = totals["source_kw"] + totals["generation_kw"]
    assert drawn == approx(totals["load_delivered_kw"] + totals["loss_kw"], abs=1e-4)


def test_loads_count_at_their_nodes(client):
    """48: 210 kW in three phases; 47: 105; 35: 40 kW between A and B; 65: three between phases."""
    rows = {(r["Bus"], r["Node"]): r["Load_kW"] for r in state(client)["bus_details"]}
    assert [rows["48", node] for node in (1, 2, 3)] == approx([70, 70, 70])
    assert [rows["35", node] for node in (1, 2, 3)] == approx([20, 20, 0])
    assert [rows["65", node] for node in (1, 2, 3)] == approx([52.5, 35, 52.5])
    assert rows["1", 1] == 40


def test_rows_are_in_the_order_of_the_table_of_buses(client, feeder):
    assert [(r["Bus"], r["Node"]) for r in state(client)["bus_details"]] == list(feeder.nodes)


def test_modifications_build_on_each_other(client):
    client.post("/add_generator", json=GENERATOR)
    client.post("/add_generator", json={"bus_name": "48", "phases": 3, "kw": 500})
    client.post("/modify_load_neighbourhood", json=HOOD)
    answer = results(client.post("/modify_load_neighbourhood", json=HOOD))
    assert answer["power_summary"]["total_load_kW"] == approx(3490 - 160 + 160 * 0.64)
    assert answer["totals"]["generation_kw"] == approx(700, rel=1e-6)
    assert state(client) == answer


def test_a_second_call_for_the_same_generator_updates_it(client):
    client.post("/add_generator", json=GENERATOR)
    answer = results(client.post("/add_generator", json={**GENERATOR, "kw": 100}))
    assert answer["totals"]["generation_kw"] == approx(100, rel=1e-6)


def test_what_led_to_a_state_does_not_matter(client):
    """The original's regulators remembered: up to 1.4e-2 pu by the history alone."""
    before = client.get("/feeder/state").data
    client.post("/modify_load_neighbourhood", json={"neighbourhood": 8, "factor": 1.5})
    client.post("/modify_load_neighbourhood", json={"neighbourhood": 8, "factor": 0})
    client.post("/feeder/undo")
    client.post("/feeder/undo")
    assert client.get("/feeder/state").data == before


# The report


def test_the_report_is_of_the_last_modification(client, tmp_path):
    path = tmp_path / "results_api" / report.NAME
    assert path.parent.is_dir()
    assert not path.exists()
    client.post("/add_generator", json=GENERATOR)
    text = path.read_text()
    lines = text.split("\n")
    assert lines[:4] == ["=" * 110, "SIMULATION STATE REPORT", "=" * 110, ""]
    assert lines[4:9] == [
        "--- POWER SUMMARY ---",
        "Converged: True",
        "Total Circuit Power: -3405.72 kW",
        "Total Load: 3490.00 kW",
        "Total Losses: 92.64 kW",
    ]
    assert lines[10:12] == [
        "--- VOLTAGE PROFILE ---",
        "Min/Avg/Max Voltage (p.u.): 0.9758 / 1.0163 / 1.0403",
    ]
    assert lines[13] == "--- DETAILED BUS DATA ---"
    header = "Bus Node VMag_pu VAngle Load_kW Load_kVAR Gen_kW Gen_kVAR"
    assert lines[14].split() == header.split()
    assert len(lines) == 15 + 274
    assert len({len(line) for line in lines[14:]}) == 1
    assert not text.endswith("\n")
    (row,) = [line.split() for line in lines[15:] if line.split()[0] == "16"]
    assert row[1] == "3"
    assert row[6] == "200.0000"
    assert list(path.parent.iterdir()) == [path]


def test_only_the_default_session_writes_the_report(client, tmp_path):
    client.post("/feeder/sessions", json={"id": "mine"})
    client.post("/feeder/sessions/mine/add_generator", json=GENERATOR)
    assert not (tmp_path / "results_api" / report.NAME).exists()


def test_a_report_that_cannot_be_written_fails_nothing(make_app, tmp_path):
    (tmp_path / "taken").write_text("a file where the directory should be")
    client = make_app(FEEDER_REPORTS=str(tmp_path / "taken")).test_client()
    results(client.post("/add_generator", json=GENERATOR))


# Sessions


def test_sessions_do_not_see_each_other(client):
    results(client.post("/feeder/sessions", json={"id": "mine"}), 201)
    results(client.post("/feeder/sessions/mine/add_generator", json=GENERATOR))
    assert state(client)["totals"]["generation_kw"] == 0
    mine = state(client, "/feeder/sessions/mine/state")
    assert mine["totals"]["generation_kw"] == approx(200, rel=1e-6)


@pytest.mark.parametrize(
    ("options", "source_kw"),
    [
        # Figures of the reference: base_published_taps, base_epri_lengths, and `control` of others.
        ({"taps": "published"}, 3620.877981),
        ({"lengths": "epri"}, 3608.309518),
        ({"feeder": "ieee13"}, 3567.263004),
        ({"feeder": "ieee34"}, 2047.003087),
        ({"feeder": "ieee37"}, 2523.022421),
    ],
)
def test_a_session_of_another_kind(client, options, source_kw):
    answer = results(client.post("/feeder/sessions", json={"id": "mine", **options}), 201)
    assert answer["power_summary"]["source_power_kW"] == approx(source_kw, abs=1e-3)
    told = results(client.get("/feeder/sessions/mine"))
    assert options.items() <= told.items()
    results(
        client.post(
            "/feeder/sessions/mine/modify_load_neighbourhood",
            json={"neighbourhood": 2, "factor": 0.9},
        )
    )


def test_the_default_session_is_as_the_server_was_told(make_app):
    """The reference's hood10_x0_seed_table: the load at 94 is in no neighbourhood."""
    client = make_app(FEEDER_NEIGHBOURHOODS="seed").test_client()
    answer = results(
        client.post("/modify_load_neighbourhood", json={"neighbourhood": 10, "factor": 0})
    )
    assert answer["power_summary"]["total_load_kW"] == approx(3490 - 220)


def test_the_log_tells_what_was_done_and_every_state_can_be_had_again(client):
    answers = [
        results(client.post("/add_generator", json=GENERATOR)),
        results(client.post("/modify_load_neighbourhood", json=HOOD)),
        results(client.post("/feeder/undo")),
        results(client.post("/feeder/redo")),
        results(client.post("/feeder/reset")),
    ]
    log = results(client.get("/feeder/log"))
    assert log["head"] == 5
    assert [(entry["seq"], entry["kind"]) for entry in log["entries"]] == [
        (1, "add_generator"),
        (2, "modify_load_neighbourhood"),
        (3, "undo"),
        (4, "redo"),
        (5, "reset"),
    ]
    assert log["entries"][0]["payload"] == GENERATOR
    for seq, answer in enumerate(answers, 1):
        assert state(client, f"/feeder/state?at={seq}") == answer
    assert state(client, "/feeder/state?at=0") == answers[-1]
    assert answers[2] == answers[0]
    assert answers[3] == answers[1]
    part = results(client.get("/feeder/log?beyond=2&limit=2"))
    assert [entry["seq"] for entry in part["entries"]] == [3, 4]


def test_the_same_results_have_the_same_digest_in_the_log(client):
    for _ in range(2):
        client.post("/add_generator", json=GENERATOR)
    one, other = results(client.get("/feeder/log"))["entries"]
    assert one["result_digest"] == other["result_digest"]


def test_a_fork_goes_its_own_way(client):
    client.post("/add_generator", json=GENERATOR)
    then = results(client.post("/modify_load_neighbourhood", json=HOOD))
    fork = results(client.post("/feeder/fork", json={"id": "branch"}), 201)
    assert fork == then
    results(client.post("/feeder/sessions/branch/undo"))
    assert state(client) == then
    early = results(client.post("/feeder/fork", json={"id": "early", "at": 1}), 201)
    assert early == state(client, "/feeder/state?at=1")


def test_a_session_is_deleted_with_its_log(client):
    client.post("/feeder/sessions", json={"id": "mine"})
    client.post("/feeder/sessions/mine/add_generator", json=GENERATOR)
    results(client.delete("/feeder/sessions/mine"))
    refusal(client.get("/feeder/sessions/mine/state"), 404)
    fresh = results(client.post("/feeder/sessions", json={"id": "mine"}), 201)
    assert fresh["totals"]["generation_kw"] == 0


def test_another_process_sees_the_same(make_app, database):
    one, other = (make_app(DATABASE_URL=database).test_client() for _ in range(2))
    for client in (one, other, one, other):
        answer = results(client.post("/modify_load_neighbourhood", json=HOOD))
    assert answer["power_summary"]["total_load_kW"] == approx(3490 - 160 + 160 * 0.8**4)
    assert state(one) == state(other) == answer


def test_the_state_outlives_the_server_or_not_as_it_was_told(make_app, database):
    before = results(
        make_app(DATABASE_URL=database).test_client().post("/add_generator", json=GENERATOR)
    )
    assert state(make_app(DATABASE_URL=database).test_client()) == before
    anew = make_app(DATABASE_URL=database, FEEDER_STATE="until-restart").test_client()
    assert state(anew)["totals"]["generation_kw"] == 0
    after = results(anew.post("/add_generator", json=GENERATOR))
    assert state(anew) == after
    # The log keeps all, and the server's restart can be taken back.
    kinds = [entry["kind"] for entry in results(anew.get("/feeder/log"))["entries"]]
    assert kinds == ["add_generator", "reset", "add_generator"]


# Once, and only once


def test_a_repeated_request_with_its_key_is_made_once(client):
    keyed = {"Idempotency-Key": "5f0e"}
    first = client.post("/modify_load_neighbourhood", json=HOOD, headers=keyed)
    client.post("/add_generator", json=GENERATOR)
    again = client.post("/modify_load_neighbourhood", json=HOOD, headers=keyed)
    assert again.data == first.data
    assert again.headers["Log-Seq"] == first.headers["Log-Seq"] == "1"
    assert results(client.get("/feeder/log"))["head"] == 2


def test_a_key_is_not_for_two_different_requests(client):
    keyed = {"Idempotency-Key": "5f0e"}
    client.post("/modify_load_neighbourhood", json=HOOD, headers=keyed)
    other = client.post("/add_generator", json=GENERATOR, headers=keyed)
    assert refusal(other, 422)["kind"] == "key-reused"


def test_a_key_belongs_to_its_session(client):
    keyed = {"Idempotency-Key": "5f0e"}
    client.post("/feeder/sessions", json={"id": "mine"})
    for path in ("/feeder", "/feeder/sessions/mine"):
        results(client.post(f"{path}/add_generator", json=GENERATOR, headers=keyed))
    assert state(client) == state(client, "/feeder/sessions/mine/state")


def test_a_refused_request_uses_up_no_key(client):
    keyed = {"Idempotency-Key": "5f0e"}
    refusal(client.post("/add_generator", json={**GENERATOR, "kw": 1e6}, headers=keyed), 422)
    results(client.post("/add_generator", json=GENERATOR, headers=keyed))


def test_a_key_must_be_one(client):
    keyed = {"Idempotency-Key": "a key"}
    refusal(client.post("/add_generator", json=GENERATOR, headers=keyed), 400)


# What is refused leaves no trace

REFUSED = [
    ("/add_generator", {**GENERATOR, "bus_name": "nowhere"}, 404, "unknown-bus"),
    ("/add_generator", {**GENERATOR, "bus_name": "1.1"}, 404, "unknown-bus"),
    ("/add_generator", {**GENERATOR, "bus_name": "2.2 kw=999 !"}, 404, "unknown-bus"),
    ("/add_generator", {**GENERATOR, "phases": 2}, 400, "invalid"),
    ("/add_generator", {**GENERATOR, "phases": 3}, 422, "missing-phases"),
    ("/add_generator", {**GENERATOR, "phases": 1.9}, 400, "invalid"),
    ("/add_generator", {**GENERATOR, "kw": -1}, 400, "invalid"),
    ("/add_generator", {**GENERATOR, "kw": "NaN"}, 400, "invalid"),
    ("/add_generator", {**GENERATOR, "kw": True}, 400, "invalid"),
    ("/add_generator", {**GENERATOR, "kw": 20_000}, 422, "not-delivered"),
    ("/add_generator", {**GENERATOR, "kw": 1e308}, 422, "not-converged"),
    ("/add_generator", {**GENERATOR, "bus_name": "251"}, 422, "dead-bus"),
    ("/add_generator", {"bus_name": "610", "phases": 3, "kw": 200}, 422, "overrated"),
    ("/add_generator", {"bus_name": "16", "phases": 1}, 400, "invalid"),
    ("/add_generator", {**GENERATOR, "colour": "red"}, 400, "invalid"),
    ("/modify_load_neighbourhood", {**HOOD, "neighbourhood": 99}, 404, "unknown-neighbourhood"),
    ("/modify_load_neighbourhood", {**HOOD, "neighbourhood": 5.9}, 400, "invalid"),
    ("/modify_load_neighbourhood", {**HOOD, "factor": -0.1}, 400, "invalid"),
    ("/modify_load_neighbourhood", {**HOOD, "factor": 1e6}, 422, "not-delivered"),
    ("/modify_load_neighbourhood", {**HOOD, "factor": "inf"}, 400, "invalid"),
    ("/feeder/redo", {}, 422, "nothing-to-redo"),
    ("/feeder/sessions/none/undo", {}, 404, "unknown-session"),
    ("/feeder/sessions", {"id": "a b"}, 400, "invalid"),
    ("/feeder/sessions", {"id": "x", "feeder": "ieee8500"}, 400, "invalid"),
    ("/feeder/sessions", {"id": "x", "feeder": "ieee37", "lengths": "epri"}, 422, "not-offered"),
    ("/feeder/sessions", {"id": "default"}, 409, "session-exists"),
    ("/feeder/fork", {"id": "x", "at": 99}, 404, "unknown-point"),
]


@pytest.mark.parametrize(("path", "body", "status", "kind"), REFUSED)
def test_a_refused_modification_leaves_no_trace(path, body, status, kind, client):
    before = results(client.post("/modify_load_neighbourhood", json=HOOD))
    assert refusal(client.post(path, json=body), status)["kind"] == kind
    assert state(client) == before
    assert results(client.get("/feeder/log"))["head"] == 1
    assert len(results(client.get("/feeder/sessions"))) == 1


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b'{"neighbourhood": 5, "factor": NaN}', "malformed"),
        (b'{"neighbourhood": 5, "factor": Infinity}', "malformed"),
        (b'{"neighbourhood": 5, "factor": 1e999}', "malformed"),
        (b"{", "malformed"),
        (b"", "malformed"),
        (b"[1]", "malformed"),
        (b"null", "malformed"),
        (b"\xff", "malformed"),
        (b"[" * 10_000, "malformed"),
    ],
)
def test_bodies_that_are_no_requests(body, kind, client):
    answer = client.post("/modify_load_neighbourhood", data=body, content_type="application/json")
    assert refusal(answer, 400)["kind"] == kind


def test_what_is_not_said_to_be_json_is_not_read(client):
    body = json.dumps(HOOD)
    for media_type in ("text/plain", "application/x-www-form-urlencoded", None):
        answer = client.post("/modify_load_neighbourhood", data=body, content_type=media_type)
        refusal(answer, 415)


def test_a_body_that_is_too_large(client):
    body = b'{"neighbourhood": 5, "factor": "' + b"1" * 70_000 + b'"}'
    answer = client.post("/modify_load_neighbourhood", data=body, content_type="application/json")
    refusal(answer, 413)


@pytest.mark.parametrize("path", ["/add_generator", "/modify_load_neighbourhood", "/feeder/undo"])
def test_other_methods_are_refused_in_json(path, client):
    answer = client.get(path)
    refusal(answer, 405)
    assert "POST" in answer.headers["Allow"]


@pytest.mark.parametrize("path", ["/feeder/nothing", "/feeder/sessions/default/nothing"])
def test_addresses_of_the_feeder_that_do_not_exist(path, client):
    refusal(client.get(path), 404)


def test_other_addresses_are_not_the_feeders_business(client):
    assert client.get("/nothing").content_type == "application/problem+json"


def test_a_database_that_is_not_there(make_app):
    client = make_app(DATABASE_URL="postgres://nobody@127.0.0.1:1/none").test_client()
    answer = client.get("/feeder/state")
    assert refusal(answer, 503)["kind"] == "journal-unavailable"
    assert int(answer.headers["Retry-After"]) > 0


def test_a_defect_is_told_in_json_without_its_traceback(make_app, caplog, monkeypatch):
    def broken(*_):
        raise ZeroDivisionError("secret")

    monkeypatch.setattr("electrisim.feeder.sessions.judge", broken)
    answer = make_app().test_client().get("/feeder/state")
    body = refusal(answer, 500)
    assert body["id"] in body["message"]
    assert "secret" not in answer.get_data(as_text=True)
    assert "secret" in caplog.text


# Reads


def test_every_bus_is_listed_with_its_place_and_its_nodes(client, feeder):
    listed = results(client.get("/feeder/buses"))
    buses = {bus["bus"]: bus for bus in listed["buses"]}
    assert list(buses) == list(feeder.buses)
    assert buses["610"]["neutral"] is False
    assert buses["251"]["energised"] is False
    assert buses["251"]["nodes"] == []
    assert buses["18"]["neighbourhood"] == 5
    nodes = [row for bus in listed["buses"] for row in bus["nodes"]]
    assert nodes == state(client)["bus_details"]
    ends = {end for branch in listed["branches"] for end in (branch["from_bus"], branch["to_bus"])}
    assert ends == set(feeder.buses)


def test_one_bus_has_everything_at_it(client):
    client.post("/add_generator", json={"bus_name": "48", "phases": 3, "kw": 500})
    client.post("/feeder/modify_load_node", json={"bus_name": "48", "factor": 0.5})
    bus = results(client.get("/feeder/buses/48"))
    assert bus["phases"] == "ABC"
    assert bus["generators"] == [{"bus": "48", "phases": 3, "kw": 500}]
    assert bus["net_power_kW"] == approx(500 - 105, rel=1e-6)
    (load,) = bus["loads"]
    assert (load["name"], load["rated_kw"], load["factor"], load["model"]) == ("s48", 210, 0.5, "Z")
    assert {branch["name"] for branch in bus["neighbours"]} == {"47-48"}
    refusal(client.get("/feeder/buses/nowhere"), 404)


def test_neighbourhoods_add_up_to_the_feeder(client):
    client.post("/modify_load_neighbourhood", json=HOOD)
    listed = results(client.get("/feeder/neighbourhoods"))
    assert [each["neighbourhood"] for each in listed] == list(range(1, 15))
    assert sum(each["rated_kW"] for each in listed) == approx(3490)
    assert sum(each["load_kW"] for each in listed) == approx(3490 - 32)
    assert listed[4]["factor"] == approx(0.8)
    assert listed[4]["load_kW"] == approx(128)


def test_what_was_added_is_listed_and_removed_again(client):
    where = {"bus_name": "48", "device_name": "pump"}
    for kind, fields in (
        ("add_generator", GENERATOR),
        ("add_device", {**where, "kw": 30}),
        (
            "add_storage_device",
            {**where, "max_capacity_kwh": 100, "charge_rate_kw": 40, "discharge_rate_kw": 60},
        ),
        ("simulate", {"minutes": 90}),
        ("register_dfp", {"name": "peak", "min_power_kw": 10, "target_pf": 0.5}),
        ("subscribe_dfp", {"bus_name": "48", "dfp_name": "peak"}),
        ("execute_dfp", {"dfp_name": "peak"}),
    ):
        results(client.post(f"/feeder/{kind}", json=fields))
    added = results(client.get("/feeder/additions"))
    assert added["generators"] == [{"bus": "16", "phases": 1, "kw": 200}]
    assert [(d["device"], d["kw"], d["present_kw"]) for d in added["devices"]] == [("pump", 30, 15)]
    assert [(s["energy_kwh"], s["injected_kw"]) for s in added["storages"]] == [(60, -40)]
    assert added["programmes"][0]["curtailed"] == [{"bus": "48", "device": "pump"}]
    assert added["simulated_minutes"] == 90
    assert state(client)["power_summary"]["total_load_kW"] == approx(3490 + 15 + 40)
    for kind, fields in (
        ("remove_generator", {"bus_name": "16", "phases": 1}),
        ("disconnect_device", where),
        ("toggle_storage_device", {**where, "action": "disconnect"}),
        ("unsubscribe_dfp", {"bus_name": "48", "dfp_name": "peak"}),
        ("delete_dfp", {"name": "peak"}),
    ):
        results(client.post(f"/feeder/{kind}", json=fields))
    left = results(client.get("/feeder/additions"))
    assert [left[key] for key in ("generators", "devices", "storages", "programmes")] == [[]] * 4
    assert state(client) == state(client, "/feeder/state?at=0")


def test_violations_of_voltage_and_of_transformers(client):
    """Bus 16 with 2 MW in one phase: 1.09 pu were measured elsewhere."""
    answer = results(client.post("/add_generator", json={**GENERATOR, "kw": 2000}))
    found = results(client.get("/feeder/violations"))
    assert found == answer["violations"]
    voltages = {(v["element"], v["node"]): v for v in found if v["typ"] == "bus"}
    rows = [r for r in answer["bus_details"] if not 0.95 <= r["VMag_pu"] <= 1.05]
    assert set(voltages) == {(row["Bus"], row["Node"]) for row in rows}
    assert voltages["16", 3]["value"] == approx(1.09, abs=0.005)
    assert voltages["16", 3]["severity"] == "range B"
    assert voltages["16", 3]["limit"] == approx(127 / 120)


def test_transformers_are_judged_by_the_current_of_their_most_loaded_phase(client):
    """Published: 610.45 A in phase A of 1-7, behind 20 kW at 1; the regulator carries all of it."""
    client.post("/feeder/sessions", json={"id": "p", "taps": "published"})
    answer = state(client, "/feeder/sessions/p/state")
    loadings = {each["name"]: each for each in answer["transformers"]}
    # 1575.351 kVA in phase A at 1 pu, as published, of a third of 5000 kVA.
    assert loadings["reg1"]["loading_percent"] == approx(100 * 1575.351 / (5000 / 3), rel=1e-3)
    assert loadings["substation"]["loading_percent"] == approx(
        loadings["reg1"]["loading_percent"], rel=1e-6
    )
    assert loadings["reg1"]["status"] == "critical"
    assert loadings["xfm1"]["status"] == "ok"
