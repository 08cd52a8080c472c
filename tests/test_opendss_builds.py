"""Both builds of OpenDSS through the API: equal numbers, each named, and a child that may die.

The DSS C-API (`opendssdirect`) and EPRI's own engine (`py_dss_interface`) were compiled from
different sources; the translation and the studies are the same.
"""

from __future__ import annotations

import os
import signal

import pytest
from bricks import bus, cable, element, grid, load, transformer
from pytest import approx
from test_engines_agree import ALL_COLUMNS, NETWORKS

from app import create_app
from opendss_bindings import _Child

BUILDS = {"opendssdirect": "DSS C-API ", "py_dss_interface": "EPRI OpenDSS "}

# grid ── b1 ── b2 ── b3, a ring of cables; a load and a generator at its ends; b2 ─v─ b4, whose
# voltage v steps into a band that it is not in at neutral
RING = {
    "grid": grid("b1", s_sc_max_mva=500, rx_max=0.1, x0x_max=1, r0x0_max=0.1),
    "b1": bus(20), "b2": bus(20), "b3": bus(20), "l1": cable("b1", "b2"), "l2": cable("b2", "b3"),
    "l3": cable("b3", "b1"), "d2": load("b2", 2, 0.5), "d3": load("b3", 1, 0.3),
    "s3": element("Static Generator", bus="b3", p_mw=0.5), "b4": bus(20), "d4": load("b4", 1, 0.4),
    "v": transformer(
        "b2", "b4", vn_hv_kv=20, vk_percent=1, vector_group="YNyn0", vk0_percent=1,
        vkr0_percent=0.5, mag0_percent=100, mag0_rx=0, si0_hv_partial=0.9, tap_side="lv",
        tap_neutral=0, tap_pos=0, tap_min=-16, tap_max=16, tap_step_percent=0.625,
        tap_control="discrete", vm_lower_pu=1.02, vm_upper_pu=1.03,
    ),
}  # fmt: skip
for _line in ("l1", "l2", "l3"):
    RING[_line]["parameters"].update(r0_ohm_per_km=0.6, x0_ohm_per_km=0.4, c0_nf_per_km=120)

#: The studies that OpenDSS has, and what they are asked.
STUDIES = {
    "power flow": {"study": "powerflow"},
    "three phases": {"study": "powerflow", "mode": "unbalanced"},
    "harmonics": {"study": "harmonics"},
    "contingency": {"study": "contingency", "element_type": "line", "details": True},
    "a series": {"study": "timeseries", "profiles": {"d2": {"p_mw": [1, 2, 3, 2]}}},
    # A voltage that others hold is set case by case.
    "cases one by one": {"study": "timeseries", "profiles": {"l2": {"in_service": [1, 0, 1]}}},
    "controls": {"study": "controller"},
    "short circuits": {"study": "shortcircuit"},
    "short circuits to earth": {"study": "shortcircuit", "fault": "2ph_ground"},
}


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("OPENDSS_DEADLINE", "2")
        state = tmp_path_factory.mktemp("state")
        return create_app({"LOG_LEVEL": "ERROR", "STATE_DIRECTORY": str(state)}).test_client()


def asked(client, elements, study="powerflow", **settings):
    body = {
        "simulationType": study,
        "elements": elements,
        "settings": {"solver": "opendss", **settings},
    }
    return client.post("/", json=body)


def answers(client, elements, study="powerflow", **settings):
    """Of both builds, with the names of their engines taken out."""
    found = []
    for binding, build in BUILDS.items():
        answer = asked(client, elements, study, binding=binding, **settings)
        assert answer.status_code == 200, answer.text
        told = answer.get_json()
        engine = told.pop("engine")
        # Of errors that are rounding, another one may be the largest.
        told["certificate"].pop("max_setpoint_element", None)
        assert engine["name"] == "opendss"
        assert engine["version"].startswith(build)
        found.append(told)
    return found


def assert_equal(one, other, path="answer"):
    """The same structure, texts and gaps, and numbers equal to within the solvers' tolerance."""
    if isinstance(one, dict):
        assert list(one) == list(other), path
        for key in one:
            assert_equal(one[key], other[key], f"{path}.{key}")
    elif isinstance(one, list):
        assert len(one) == len(other), path
        for number, (mine, theirs) in enumerate(zip(one, other, strict=True)):
            assert_equal(mine, theirs, f"{path}[{number}]")
    elif isinstance(one, float) and isinstance(other, float):
        assert other == approx(one, rel=1e-6, abs=1e-6), path
    elif not isinstance(one, (int, float)) or isinstance(one, bool):
        assert one == other, path


@pytest.mark.parametrize("name", [*NETWORKS, *ALL_COLUMNS])
def test_both_builds_answer_alike(name, client):
    """All that the agreement with pandapower is tested on."""
    assert_equal(*answers(client, {**NETWORKS, **ALL_COLUMNS}[name]))


@pytest.mark.parametrize("study", STUDIES)
def test_both_builds_answer_alike_in_every_study(study, client):
    assert_equal(*answers(client, RING, **STUDIES[study]))


@pytest.mark.parametrize("study", STUDIES)
def test_both_builds_refuse_alike(study, client):
    """What OpenDSS lacks is said before either build is asked."""
    tcsc = element(
        "TCSC", from_bus="b2", to_bus="b3", x_l_ohm=0.2, x_cvar_ohm=-0.5, set_p_to_mw=-0.5,
        thyristor_firing_angle_degree=140,
    )  # fmt: skip
    one, other = (
        asked(client, {**RING, "x": tcsc}, binding=binding, **STUDIES[study]) for binding in BUILDS
    )
    assert one.status_code == other.status_code == 422
    problems = one.get_json()["errors"]
    assert problems == other.get_json()["errors"]
    assert "unsupported" in [problem["kind"] for problem in problems]


def test_what_does_not_converge_is_told_alike(client):
    impossible = {**RING, "d9": load("b3", 900, 300)}
    for binding in BUILDS:
        answer = asked(client, impossible, binding=binding)
        assert answer.status_code == 422
        assert "not-converged" in answer.text


# a child that dies


@pytest.fixture
def disturbed(monkeypatch):
    """Sends the child a signal when it is to solve for the first time; the ids of children."""

    def disturb(number):
        ask, asked_to_solve = _Child._ask, []

        def asks(child, method, *arguments):
            if "solve" in method:
                asked_to_solve.append(child.process.pid)
                if len(asked_to_solve) == 1:
                    os.kill(child.process.pid, number)
            return ask(child, method, *arguments)

        monkeypatch.setattr(_Child, "_ask", asks)
        return asked_to_solve

    return disturb


@pytest.mark.parametrize("study", STUDIES)
@pytest.mark.parametrize(
    ("number", "status", "kind", "sentence"),
    [
        (signal.SIGKILL, 503, "engine-died", "OpenDSS broke down while it worked on this request"),
        (signal.SIGSTOP, 504, "deadline", "OpenDSS gave no answer within 2 s and was stopped."),
    ],
    ids=["crash", "hang"],
)
def test_a_request_whose_engine_dies_is_told_so_and_the_next_one_succeeds(
    study, number, status, kind, sentence, client, disturbed
):
    children = disturbed(number)
    chosen = {"binding": "py_dss_interface", **STUDIES[study]}
    answer = asked(client, RING, **chosen)
    told = answer.get_json()
    assert (answer.status_code, answer.content_type) == (status, "application/problem+json")
    assert [problem["kind"] for problem in told["errors"]] == [kind]
    assert sentence in told["detail"]
    assert ("Retry-After" in answer.headers) == (status == 503)
    again = asked(client, RING, **chosen)
    assert again.status_code == 200
    assert again.get_json()["engine"]["version"].startswith("EPRI OpenDSS ")
    died, *others = children
    assert others
    assert died not in others
    with pytest.raises(ProcessLookupError):
        os.kill(died, 0)


def test_the_other_build_does_not_notice(client, disturbed):
    children = disturbed(signal.SIGKILL)
    assert asked(client, RING, binding="py_dss_interface").status_code == 503
    assert len(children) == 1
    assert asked(client, RING).status_code == 200
