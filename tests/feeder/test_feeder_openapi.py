"""The feeder's routes are documented, and keep to what OpenAPI promises of them."""

from __future__ import annotations

import atexit
import shutil
import tempfile

import jsonschema_rs
import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis.specs.openapi.checks import positive_data_acceptance

from app import create_app
from electrisim.docs import markdown, pages
from electrisim.engine import Engines
from electrisim.feeder import openapi
from electrisim.feeder.api import ROUTES
from electrisim.feeder.refusals import REFUSALS
from electrisim.fields import fields_of
from electrisim.openapi import document

PAGE = {page.name: markdown(page) for page in pages(Engines())}["feeder"]


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: route.view)
def test_every_route_and_field_is_on_the_page(route):
    rules = [rule for rule in route.rules if not rule.startswith("/feeder/sessions/<")]
    for rule in rules or route.rules:
        assert f"| `{route.method} {rule.replace('<', '{').replace('>', '}')}` |" in PAGE
    for field in fields_of(route.fields).values():
        assert f"| `{field.name}` |" in PAGE
        assert field.meaning


def test_every_refusal_is_on_the_page():
    for kind in REFUSALS:
        assert f"| `{kind}` |" in PAGE


def test_every_address_is_in_the_document():
    paths = openapi.paths()
    for route in ROUTES:
        for rule in route.rules:
            path = rule.replace("<", "{").replace(">", "}")
            assert route.method.lower() in paths[path]


def test_an_answer_is_as_promised(client):
    schema = {**document({}), "$ref": "#/components/schemas/FeederResults"}
    body = client.post("/add_generator", json={"bus_name": "16", "phases": 1, "kw": 2000}).json
    assert body["results"]["violations"]
    assert not list(jsonschema_rs.validator_for(schema).iter_errors(body))


STATE = tempfile.mkdtemp()
atexit.register(shutil.rmtree, STATE, ignore_errors=True)
# Hosting capacity takes seconds for a feeder; what it refuses is tested elsewhere.
ATTACKED = (
    schemathesis.openapi.from_wsgi(
        "/openapi.json", create_app({"LOG_LEVEL": "ERROR", "STATE_DIRECTORY": STATE})
    )
    .include(tag="feeder")
    .exclude(path_regex="hosting_capacity$")
)


@ATTACKED.parametrize()
@settings(
    max_examples=8,
    deadline=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
)
def test_every_answer_keeps_to_the_document(case):
    """No 5xx; statuses, media types, headers and bodies are the promised ones.

    A well-shaped modification may still not fit the state (a bus that is not there), so that the
    acceptance of all well-shaped bodies is not asked for.
    """
    case.call_and_validate(
        headers={"Accept-Encoding": "identity"}, excluded_checks=[positive_data_acceptance]
    )
