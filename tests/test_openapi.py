"""The OpenAPI document: valid, complete, and kept by every answer."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, settings
from openapi_spec_validator import validate
from schemathesis.config import SchemathesisConfig
from schemathesis.specs.openapi.checks import positive_data_acceptance

from app import create_app
from electrisim.elements import FIELDS, KINDS
from electrisim.fields import fields_of
from electrisim.openapi import MODELS, document
from electrisim.results import unit_of
from electrisim.studies import STUDIES

ROOT = Path(__file__).resolve().parent.parent
EXAMPLES = {path.stem: json.loads(path.read_text()) for path in (ROOT / "examples").glob("*.json")}
ENGINES = {engine.name for engine in create_app({}).extensions["engines"]}
DOCUMENT = document(EXAMPLES)
SCHEMAS = DOCUMENT["components"]["schemas"]


def validator(name: str) -> Any:
    """Judges values by a schema of the document."""
    return jsonschema_rs.validator_for({**DOCUMENT, "$ref": f"#/components/schemas/{name}"})


def test_the_document_is_openapi_3_1():
    assert DOCUMENT["openapi"].startswith("3.1")
    validate(DOCUMENT)


def test_the_document_is_what_the_server_says(client):
    assert client.get("/openapi.json").get_json() == json.loads(json.dumps(DOCUMENT))


def test_every_route_is_described(app):
    described = {
        (path, method) for path, methods in DOCUMENT["paths"].items() for method in methods
    }
    served = {
        (re.sub(r"<(\w+)>", r"{\1}", rule.rule), method.lower())
        for rule in app.url_map.iter_rules()
        for method in rule.methods - {"HEAD", "OPTIONS"}
    }
    assert described == served


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_every_parameter_has_its_type_unit_bounds_default_and_meaning(kind):
    schema = SCHEMAS[f"{kind.__name__}Parameters"]
    assert schema["properties"].keys() == FIELDS[kind].keys()
    assert schema["additionalProperties"] is False
    for name, field in FIELDS[kind].items():
        said = schema["properties"][name]
        assert said["description"]
        assert said.get("x-unit") == field.unit
        assert said.get("default") == field.default
        assert (name in schema["required"]) == field.required
        if field.type == "number":
            assert field.unit
        if field.refers_to:
            assert said["x-refers-to"] == ", ".join(field.refers_to)


@pytest.mark.parametrize("name", STUDIES)
def test_every_setting_is_described(name):
    settings_of = STUDIES[name].Settings
    schema = SCHEMAS[f"{settings_of.__name__}Settings"]
    assert schema["properties"].keys() == fields_of(settings_of).keys()
    assert all(said["description"] for said in schema["properties"].values())


@pytest.mark.parametrize("model", MODELS)
def test_every_result_column_is_described_with_its_unit(model):
    for kind, columns in MODELS[model].items():
        record = SCHEMAS[f"{model.capitalize()}{kind.__name__}Result"]["properties"]
        assert list(record) == ["id", "name", *columns]
        for column in columns:
            assert record[column]["x-unit"] == unit_of(column)
            assert record[column]["description"]


@pytest.mark.parametrize(
    "name",
    [
        name
        for name, body in EXAMPLES.items()
        if body["settings"].get("solver", "pandapower") in ENGINES
    ],
)
def test_every_example_is_a_request_and_its_answer_an_answer(client, name):
    study = STUDIES[EXAMPLES[name]["simulationType"]].Settings.__name__
    assert not list(validator(f"{study}Request").iter_errors(EXAMPLES[name]))
    response = client.post("/", json=EXAMPLES[name])
    assert response.status_code == 200, response.text
    assert not list(validator(f"{study}Answer").iter_errors(response.get_json()))


@pytest.mark.parametrize(
    ("line", "right"),
    [
        ({"typ": "Line", "parameters": {"length_km": 1, "std_type": "x"}}, True),
        ({"typ": "Line", "length_km": 1, "std_type": "x"}, True),
        ({"typ": "Line", "parameters": {"length_km": 0, "std_type": "x"}}, False),
        ({"typ": "Line", "parameters": {"length_km": 1}}, False),
        ({"typ": "Line", "length_km": 1}, False),
        ({"typ": "Line", "length_km": 1, "std_type": "x", "lenght": 1}, False),
    ],
)
def test_the_schema_of_an_element_tells_right_from_wrong(line, right):
    """Nested or flat; within bounds; a standard type or the parameters that it stands for."""
    (line.get("parameters") or line).update(from_bus="a", to_bus="b")
    assert validator("Element").is_valid(line) is right


# -- attacked with what it promises ----------------------------------------------------------------

# The feeder, which remembers, has an attack of its own.
#: Without the phase that tries every keyword of every schema once, 20,000 requests long.
UNHURRIED = SchemathesisConfig.from_dict({"phases": {"coverage": {"enabled": False}}})
ATTACKED = schemathesis.openapi.from_wsgi(
    "/openapi.json", create_app({"LOG_LEVEL": "WARNING"}), config=UNHURRIED
).include(path=["/", "/healthz", "/readyz", "/openapi.json", "/docs"])


@ATTACKED.parametrize()
@settings(
    max_examples=200,
    deadline=None,
    derandomize=True,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
def test_every_answer_keeps_to_the_document(case):
    """No 5xx; statuses, media types, headers and bodies are the promised ones.

    A graph of a right shape may still be no network (a reference to a bus that is not there), so
    that the acceptance of all well-shaped bodies is not asked for.
    """
    # The transport of the test would not decompress.
    case.call_and_validate(
        headers={"Accept-Encoding": "identity"}, excluded_checks=[positive_data_acceptance]
    )
