"""The documentation says what the code does: generated pages are current, nothing is left out."""

from __future__ import annotations

import ast
import json
import re
import shlex
import tomllib
from pathlib import Path

import pytest

import electrisim
from electrisim.docs import markdown, pages
from electrisim.elements import FIELDS, KINDS
from electrisim.fields import fields_of
from electrisim.openapi import MODELS
from electrisim.results import QUANTITIES
from electrisim.studies import STUDIES
from electrisim.web.documentation import generated

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text()
DEPLOYMENT = (ROOT / "docs/deployment.md").read_text()

OUR_CODE = [*ROOT.glob("*.py"), *ROOT.glob("electrisim/**/*.py")]


def page(app, name):
    found = {page.name: page for page in pages(app.extensions["engines"])}
    return markdown(found[name])


# Generated pages


def test_generated_pages_are_current(app):
    """`script/docs` writes them."""
    stale = [
        path.name
        for path, text in generated(app, app.extensions["engines"], ROOT).items()
        if not path.exists() or path.read_text() != text
    ]
    assert not stale


def test_script_docs_writes_what_is_compared_here(app):
    assert "flask --app app docs" in (ROOT / "script/docs").read_text()
    assert "docs" in app.cli.commands


# Nothing is left out


def test_every_route_is_on_the_page_of_the_documentation(app, client):
    shown = client.get("/docs").text
    for rule in app.url_map.iter_rules():
        for method in rule.methods - {"HEAD", "OPTIONS"}:
            path = re.sub(r"<(\w+)>", r"{\1}", rule.rule)
            assert f"<code>{method} {path}</code>" in shown


@pytest.mark.parametrize("name", STUDIES)
def test_every_setting_is_documented(app, name):
    text = page(app, "studies")
    assert f"## {name}\n" in text
    for field in fields_of(STUDIES[name].Settings).values():
        assert f"| `{field.name}` |" in text
        assert field.meaning


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_every_parameter_of_an_element_is_documented(app, kind):
    text = page(app, "elements").partition(f"## {kind.typ}\n")[2].partition("\n## ")[0]
    assert kind.__doc__.replace("\n", " ")[:40] in text
    for field in FIELDS[kind].values():
        assert f"| `{field.name}` |" in text
        assert field.meaning.endswith(".")


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_every_result_column_is_documented(app, kind):
    text = page(app, "results").partition(f"## {kind.typ}\n")[2].partition("\n## ")[0]
    for columns in MODELS.values():
        for column in columns.get(kind, ()):
            (row,) = [line for line in text.splitlines() if line.startswith(f"| `{column}` |")]
            assert any(said in row for said in QUANTITIES.values())


def test_every_kind_has_its_state_on_every_engine(app):
    text = page(app, "engines")
    for engine in app.extensions["engines"]:
        assert engine.name in text
        for model in MODELS:
            assert set(engine.support[model]) == set(KINDS)


def test_every_study_and_kind_is_in_the_readme():
    for name in [*STUDIES, *(kind.typ for kind in KINDS)]:
        assert f"| `{name}` |" in README


# Environment variables


def variables_read() -> set[str]:
    """Names that our code asks the environment for."""
    names = set()
    for path in OUR_CODE:
        for node in ast.walk(ast.parse(path.read_text())):
            key = None
            if isinstance(node, ast.Call) and isinstance(node.func, (ast.Attribute, ast.Name)):
                owner = ast.unparse(node.func)
                if owner.endswith(("environ.get", "getenv", "_setting", "_from_environment")) and (
                    node.args
                ):
                    key = node.args[0]
            elif isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Load):
                key = node.slice if ast.unparse(node.value).endswith("environ") else None
            if isinstance(key, ast.Constant):
                names.add(key.value)
    return names


def test_every_environment_variable_is_documented():
    read = variables_read()
    assert {"PORT", "CORS_ORIGINS", "WEB_CONCURRENCY"} <= read
    documented = set(re.findall(r"^\| `(\w+)` \|", DEPLOYMENT, re.MULTILINE))
    assert read == documented


# The README


def test_the_readme_posts_examples_that_exist(client):
    posted = re.findall(r"@(examples/\w+\.json)", README)
    assert sorted(posted) == sorted(f"examples/{p.name}" for p in (ROOT / "examples").iterdir())


def test_the_commands_of_the_readme_are_there():
    commands = re.search(r"```sh\n(.*?)```", README, re.DOTALL)[1].splitlines()
    assert [shlex.split(line, comments=True)[0] for line in commands] == [
        "script/server",
        "script/test",
    ]
    for command in set(re.findall(r"`(script/\w+|\.ci/run)`", README)):
        assert (ROOT / command).exists()


@pytest.mark.parametrize("file", ["README.md", "docs/deployment.md", "CHANGELOG.md"])
def test_every_link_to_a_file_leads_somewhere(file):
    text = (ROOT / file).read_text()
    for target in re.findall(r"\]\((?!https?:|#)([^)]+)\)", text):
        assert (ROOT / file).parent.joinpath(target).exists(), target


def test_every_path_in_the_readme_exists():
    table = README.partition("| where | what |")[2].partition("\n\n")[0]
    for row in table.splitlines()[2:]:
        for path in re.findall(r"`([^`]+)`", row.split("|")[1]):
            assert (ROOT / path).exists() or (ROOT / "electrisim" / path).exists(), path


def test_the_answer_in_the_readme_is_in_physical_order():
    """What the grid delivers is what is consumed, less the sun, plus the losses: by hand."""
    block = README.partition("<!-- answer: written by script/docs -->")[2]
    answer = json.loads(re.search(r"```json\n(.*?)\n```", block, re.DOTALL)[1])
    (grid,) = answer["results"]["externalgrids"]
    assert grid["p_mw"] == pytest.approx(4 - 1.5 + answer["losses"]["p_mw"], abs=2e-6)
    assert grid["q_mvar"] == pytest.approx(1 + answer["losses"]["q_mvar"], abs=2e-6)


def test_one_version():
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert electrisim.__version__ == declared
