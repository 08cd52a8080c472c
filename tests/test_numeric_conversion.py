"""Numbers as callers send them: texts are numbers, absent words are absent, the rest is refused."""

from __future__ import annotations

import json
from typing import Any

import pytest
from flask.testing import FlaskClient


def request(**load: Any) -> dict[str, Any]:
    """grid ─ b1 ── load"""
    return {
        "simulationType": "powerflow",
        "elements": {
            "g": {"typ": "External Grid", "bus": "b1"},
            "b1": {"typ": "Bus", "vn_kv": 20},
            "d": {"typ": "Load", "name": "Mill", "bus": "b1", **load},
        },
    }


def post(client: FlaskClient, body: Any) -> Any:
    return client.post("/", data=body if isinstance(body, str) else json.dumps(body))


@pytest.mark.parametrize(
    ("sent", "meant"),
    [
        (2.5, 2.5),
        ("2.5", 2.5),
        (" 2.5 ", 2.5),
        ("25e-1", 2.5),
        ("-0", 0.0),
        (3, 3.0),
        ("1e-16", 1e-16),
    ],
)
def test_a_number_is_read_however_it_is_written(client, sent, meant):
    answer = post(client, request(p_mw=sent))
    assert answer.status_code == 200
    assert answer.json["results"]["loads"][0]["p_mw"] == meant


@pytest.mark.parametrize("absent", ["", "None", "null", "NONE", None, "  "])
def test_an_absent_value_is_the_default(client, absent):
    answer = post(client, request(p_mw=1, q_mvar=absent, scaling=absent))
    row = answer.json["results"]["loads"][0]
    assert (row["p_mw"], row["q_mvar"]) == (1.0, 0.0)


@pytest.mark.parametrize(
    "wrong",
    ["two", "2,5", "2 5", "0x10", "1_000", "NaN", "inf", "-Infinity", "1e999", True, [2], {"a": 2}],
)
def test_what_is_no_number_is_refused_with_element_and_field(client, wrong):
    answer = post(client, request(p_mw=wrong))
    assert answer.status_code == 422
    (problem,) = answer.json["errors"]
    assert (problem["element"], problem["name"], problem["field"]) == ("d", "Mill", "p_mw")


@pytest.mark.parametrize("token", ["NaN", "Infinity", "-Infinity", "2.", "+2", "0x2"])
def test_a_bare_token_that_json_does_not_know_is_no_json(client, token):
    body = json.dumps(request(p_mw=12345)).replace("12345", token)
    assert post(client, body).status_code == 400


def test_answers_are_strict_json_with_null_for_what_has_no_number(client):
    body = request(p_mw=1)
    body["elements"]["b2"] = {"typ": "Bus", "vn_kv": 20}
    answer = post(client, body)
    strict = json.loads(answer.text, parse_constant=pytest.fail)
    assert strict["results"]["busbars"][1]["vm_pu"] is None
    assert "b2" in " ".join(strict["warnings"])
