"""Whatever is sent, the answer is one of the contract's: no 5xx, strict JSON, every fault told.

Valid requests are mutated: parameters removed, of the wrong type, out of all bounds, NaN;
references dangling, crossed and to themselves; ids doubled; names that would mean something to a
parser. Both spellings, every engine. Numpy's and the engines' warnings are errors here as in all
tests, so that no answer rests on an overflow that nobody looked at.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from app import create_app
from electrisim.elements import FIELDS, KIND, KINDS, Element
from electrisim.fields import Field, fields_of
from electrisim.studies.powerflow import PowerFlow

ROOT = Path(__file__).resolve().parent.parent
ENGINES = [engine.name for engine in create_app({}).extensions["engines"]]

FUZZ = settings(
    max_examples=300,
    deadline=None,
    derandomize=True,
    # What fails is printed whole; to shrink it would take minutes.
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)

#: Stand for what the standard library cannot write: a number of 5,000 digits, half a character.
RAW = {"<5000 digits>": "7" * 5000, "<half a character>": r"\ud800"}

#: Numbers that a solver does not like, and values that are no numbers.
NASTY: list[Any] = [
    None, True, False, 0, -0.0, 1, -1, 1e-308, 5e-324, 1e-9, 1e9, 1e18, 1e308, -1e308, 2**31,
    2**53 + 1, 2**63, 2**64, 10**400, *RAW, float("nan"), float("inf"), "", "None", "null", "NaN",
    "-inf", "1e400", "0x10", "१२", "1_000", " 7 ", "7,5", [], [[]], {}, {"a": 1}, "b1", "hv",
    "true", "ac", [[0, 0], [1, 1]], [[0, float("nan")], [1, 2]], [["a", "b"], [1, 2]],
]  # fmt: skip

#: Names and ids that mean something to OpenDSS, to a shell, to HTML or to a terminal.
HOSTILE = [
    "<half a character>", "b1", "B1", "l1", "", " ", "a b", "x.y", "bus.1.2.3", "//", "// comment",
    "! comment", '"', "'", '"quoted"', "a=b", "a,b", "[1 2 3]", "(1|2)", "{x}", "@var", "~ more",
    "\n", "a\nNew Load.x kw=1e9", "a\r\nClear", "redirect /etc/passwd", "DOScmd ls",
    "../../etc/passwd", "%s%n", "\x00", "\x1b[2J", "\u202e", "\ufeff", "𝔘𝔫𝔦", "é" * 200, "x" * 5000,
    "<script>", "${x}", "None", "null", "NaN", "0", "-1",
]  # fmt: skip


# Valid requests


def ring(kind: type[Element]) -> dict[str, Any]:
    """grid ─ b1 ══ b2 ══ b3 ══ b1, source ─ dc1 ══ dc2 where needed, and an element of a kind"""
    line = {
        "length_km": 2,
        "r_ohm_per_km": 0.2,
        "x_ohm_per_km": 0.1,
        "c_nf_per_km": 200,
        "max_i_ka": 0.3,
    }
    elements: dict[str, Any] = {
        "grid": {"typ": "External Grid", "name": "Grid", "parameters": {"bus": "b1"}}
    }
    for n, m in ((1, 2), (2, 3), (3, 1)):
        ends = {"from_bus": f"b{n}", "to_bus": f"b{m}"}
        elements[f"b{n}"] = {"typ": "Bus", "name": f"Bus {n}", "vn_kv": 20}
        elements[f"l{n}"] = {"typ": "Line", "name": f"Line {n}", "parameters": {**ends, **line}}
    if any("DC Bus" in field.refers_to for field in FIELDS[kind].values()):
        elements |= {
            "dc1": {"typ": "DC Bus", "vn_kv": 20},
            "dc2": {"typ": "DC Bus", "vn_kv": 20},
            "s1": {"typ": "Source DC", "bus_dc": "dc1"},
            "ldc": {
                **{"typ": "Line DC", "from_bus_dc": "dc1", "to_bus_dc": "dc2"},
                **{"length_km": 1, "r_ohm_per_km": 0.1, "max_i_ka": 1},
            },
        }
    elements["x"] = {"typ": kind.typ, "name": kind.__name__, "parameters": minimal(kind)}
    return {"simulationType": "powerflow", "elements": elements}


def minimal(kind: type[Element]) -> dict[str, Any]:
    """The parameters that must be given, at admissible values."""
    buses, dc_buses = iter(("b1", "b2", "b3")), iter(("dc1", "dc2"))
    return {
        name: next(dc_buses if field.refers_to == ("DC Bus",) else buses)
        if field.refers_to
        else admissible(field)
        for name, field in FIELDS[kind].items()
        if field.required or name in kind.from_std_type
    }


def admissible(field: Field) -> Any:
    if field.choices:
        return field.choices[0]
    if "le" in field.bounds:
        return (field.bounds.get("ge", field.bounds["le"]) + field.bounds["le"]) / 2
    if field.name.startswith("vkr"):
        return 0.5
    return -30 if "lt" in field.bounds else 20 if field.unit == "kV" else 5


def example(name: str) -> dict[str, Any]:
    return json.loads((ROOT / f"examples/{name}.json").read_text())


GRAPHS = [
    example("powerflow"),
    example("powerflow_opendss"),
    *(ring(kind) for kind in KINDS),
]


def nasty() -> st.SearchStrategy[Any]:
    return st.sampled_from(NASTY).map(copy.deepcopy)


# Mutations: each changes one element of a request, or the request


def change_a_value(draw: st.DrawFn, request: Any, id_: str) -> None:
    place, fields = parameters(request, id_)
    place[draw(st.sampled_from(fields))] = draw(nasty() | st.floats())


def remove_a_parameter(draw: st.DrawFn, request: Any, id_: str) -> None:
    place, _ = parameters(request, id_)
    place.pop(draw(st.sampled_from([*sorted(place), "nothing"])), None)


def invent_a_parameter(draw: st.DrawFn, request: Any, id_: str) -> None:
    place, _ = parameters(request, id_)
    place[draw(st.sampled_from(HOSTILE) | st.text())] = draw(nasty())


def cross_references(draw: st.DrawFn, request: Any, id_: str) -> None:
    place, fields = parameters(request, id_)
    kind = KIND.get(str(request["elements"][id_].get("typ")))
    referring = [name for name in fields if kind and FIELDS[kind][name].refers_to]
    for field in referring:
        place[field] = draw(
            st.sampled_from([*request["elements"], id_, "nowhere", place.get(field)])
        )


def remove_the_element(draw: st.DrawFn, request: Any, id_: str) -> None:
    del request["elements"][id_]


def replace_the_element(draw: st.DrawFn, request: Any, id_: str) -> None:
    request["elements"][id_] = draw(nasty())


def change_the_kind(draw: st.DrawFn, request: Any, id_: str) -> None:
    request["elements"][id_]["typ"] = draw(st.sampled_from([*KIND, *HOSTILE, None, 7]))


def change_the_name(draw: st.DrawFn, request: Any, id_: str) -> None:
    request["elements"][id_]["name"] = draw(st.sampled_from(HOSTILE) | nasty() | st.text())


def change_the_id(draw: st.DrawFn, request: Any, id_: str) -> None:
    """Of the element alone, so that references to it dangle, or everywhere."""
    new = draw(st.sampled_from(HOSTILE) | st.text())
    elements = request["elements"]
    elements[new] = elements.pop(id_)
    if draw(st.booleans()):
        for other in elements.values():
            for place in (other, other.get("parameters")) if isinstance(other, dict) else ():
                for name, value in place.items() if isinstance(place, dict) else ():
                    if value == id_:
                        place[name] = new


def change_a_setting(draw: st.DrawFn, request: Any, id_: str) -> None:
    name = draw(st.sampled_from([*sorted(fields_of(PowerFlow).keys() - {"binding"}), "toleranse"]))
    choices = fields_of(PowerFlow)[name].choices if name in fields_of(PowerFlow) else ()
    request.setdefault("settings", {})[name] = draw(nasty() | st.sampled_from(choices or [0]))


def double_a_key(draw: st.DrawFn, request: Any, id_: str) -> None:
    """Said here, done in the text: JSON that Python writes has no key twice."""
    request["elements"][id_]["<twice>"] = None


def parameters(request: Any, id_: str) -> tuple[dict[str, Any], list[str]]:
    """Where an element has its parameters, and which its kind has."""
    element = request["elements"][id_]
    place = element.get("parameters", element)
    kind = KIND.get(str(element.get("typ")))
    fields = sorted(FIELDS[kind]) if kind else ["bus"]
    return (place if isinstance(place, dict) else {}), fields


Mutation = Callable[[st.DrawFn, Any, str], None]
MUTATIONS: list[Mutation] = [
    change_a_value, change_a_value, change_a_value, change_a_value, change_a_setting,
    change_a_setting, cross_references, cross_references, remove_a_parameter, invent_a_parameter,
    remove_the_element, replace_the_element, change_the_kind, change_the_name, change_the_id,
    double_a_key,
]  # fmt: skip


def text_of(request: Any) -> bytes:
    """JSON as a hostile client may write it: NaN tokens, keys twice, half characters."""
    text = json.dumps(request).replace('"<twice>": null', '"typ": "Bus", "typ": "Bus"')
    text = text.replace('"<5000 digits>"', RAW["<5000 digits>"])
    return text.replace("<half a character>", RAW["<half a character>"]).encode()


@st.composite
def mutated(draw: st.DrawFn, engine: str) -> bytes:
    """A request a step or three away from a valid one."""
    request = copy.deepcopy(draw(st.sampled_from(GRAPHS)))
    request["settings"] = {"solver": engine}
    for mutate in draw(st.lists(st.sampled_from(MUTATIONS), min_size=1, max_size=3)):
        objects = [id_ for id_, each in request["elements"].items() if isinstance(each, dict)]
        if objects:
            # The last element is the one whose kind the graph is about.
            mutate(draw, request, draw(st.sampled_from([*objects, objects[-1], objects[-1]])))
    return text_of(request)


# The contract


def judge(response: Any, statuses: tuple[int, ...] = (200, 400, 422)) -> Any:
    """An answer of POST /, held to what every answer promises."""
    assert response.status_code in statuses, response.text
    answer = json.loads(response.data, parse_constant=pytest.fail)
    if response.status_code != 200:
        assert response.content_type == "application/problem+json"
        assert answer["success"] is False
        assert answer["errors"]
        for error in answer["errors"]:
            assert error["kind"]
            assert error["message"]
    return answer


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(
    "graph", GRAPHS, ids=lambda graph: list(graph["elements"].values())[-1]["typ"]
)
def test_a_valid_graph_is_answered_or_refused_by_name(client, engine, graph):
    response = client.post("/", json={**graph, "settings": {"solver": engine}})
    answer = judge(response, (200, 422))
    if response.status_code == 422:
        assert answer["type"] in ("/docs#unsupported", "/docs#not-converged")


@pytest.mark.parametrize("engine", ENGINES)
@FUZZ
@given(data=st.data())
def test_no_graph_breaks_the_server(client, engine, data):
    judge(client.post("/", data=data.draw(mutated(engine))))


@pytest.mark.parametrize("engine", ENGINES)
def test_an_impedance_too_small_for_a_number_breaks_nothing(client, engine):
    """0.1 Ω/km over the smallest number of kilometres is 0 Ω."""
    request = copy.deepcopy(GRAPHS[0])
    request["elements"]["l1"]["parameters"]["length_km"] = 5e-324
    request["settings"] = {"solver": engine}
    judge(client.post("/", json=request))


# The frontend's spelling

PAYLOADS = {
    path.stem: json.loads(path.read_text()) for path in (ROOT / "tests/payloads").glob("*.json")
}


@st.composite
def mutated_payload(draw: st.DrawFn, name: str) -> bytes:
    body = copy.deepcopy(PAYLOADS[name])
    for _ in range(draw(st.integers(1, 3))):
        key = draw(st.sampled_from(sorted(body)))
        entry = body[key]
        if not isinstance(entry, dict):
            continue
        field = draw(st.sampled_from([*sorted(entry), "typ", "bus"]))
        match draw(st.sampled_from(["value", "value", "value", "name", "remove", "drop", "entry"])):
            case "value":
                entry[field] = draw(nasty() | st.floats().map(str))
            case "name":
                entry[field] = draw(st.sampled_from(HOSTILE) | st.text())
            case "remove":
                entry.pop(field, None)
            case "drop":
                del body[key]
            case "entry":
                body[key] = draw(nasty())
    return text_of(body)


@pytest.mark.parametrize("name", PAYLOADS)
@FUZZ
@given(data=st.data())
def test_no_diagram_breaks_the_server(client, name, data):
    """What the browser can show: 200, with an error and its diagnostic where there is no answer."""
    response = client.post("/", data=data.draw(mutated_payload(name)))
    answer = judge(response)
    if response.status_code == 200 and answer.get("error"):
        assert answer["message"]
        assert answer["diagnostic"]
