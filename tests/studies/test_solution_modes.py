"""Solution modes: the last step is a snapshot with its multipliers, the extremes are of all steps.

The referee is OpenDSS' own mode, driven by hand with load shapes of its own.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from bricks import Elements, bus, cable, columns, element, grid, load, solve
from pytest import approx

from electrisim.problems import ProblemError
from opendss_context import opendssdirect

DAY = [0.4, 0.7, 1.1, 0.9]
SUN = [0.0, 0.5, 1.0]


def feeder(**more: Any) -> Elements:
    """grid (1.02 pu) ── b1 ── 4 km ── b2 ── 3 MW + 1 Mvar"""
    found = {
        "g": grid("b1", vm_pu=1.02),
        "b1": bus(20),
        "b2": bus(20),
        "l": cable("b1", "b2"),
        "d": load("b2", daily=DAY),
    }
    return {**found, **more}


def by_hand(mode: str, steps: int, *commands: str) -> np.ndarray:
    """Voltages of b2 in the engine's own mode [pu]."""
    dss: Any = opendssdirect.dss.NewContext()
    dss.Text.Commands(
        [
            "clear", "set defaultbasefrequency=50",
            "new circuit.hand bus1=b1 basekv=20 pu=1.02 r1=0 x1=4e-9 r0=0 x0=4e-9",
            "new line.l bus1=b1 bus2=b2 r1=0.8 x1=0.48 r0=0.8 x0=0.48 c1=800 c0=800",
            "new loadshape.day npts=4 interval=1 mult=(0.4,0.7,1.1,0.9)",
            "new loadshape.sun npts=3 interval=1 mult=(0,0.5,1)",
            *commands,
            "set tolerance=1e-12 maxiterations=100", "solve",
            f"set mode={mode} number=1 stepsize=1h hour=0",
        ]
    )  # fmt: skip
    found = []
    for _ in range(steps):
        dss.Solution.Solve()
        volts = np.array(dss.Circuit.YNodeVArray()).view(complex)
        names = [name.lower() for name in dss.Circuit.YNodeOrder()]
        found.append(abs(volts[names.index("b2.1")]) * np.sqrt(3) / 20e3)
    return np.array(found)


LOAD = "new load.d bus1=b2 kv=20 kw=3000 kvar=1000 vminpu=0 vmaxpu=1000 daily=day"


@pytest.mark.parametrize("mode", ["daily", "yearly", "dutycycle"])
def test_the_answer_is_the_last_step_and_its_extremes_those_of_all(mode):
    """Without multipliers of its own, a mode takes the daily ones, as in OpenDSS."""
    found = solve(feeder(), solver="opendss", solution_mode=mode)
    volts = by_hand("yearly" if mode == "dutycycle" else mode, 4, LOAD)
    assert found.beside["steps"] == 4
    assert columns(found, "Bus")["vm_pu"][1] == approx(volts[-1], abs=1e-9)
    extremes = found.beside["extremes"]["busbars"]["vm_pu"]
    assert extremes["min"][1] == approx(volts.min(), abs=1e-9)
    assert extremes["max"][1] == approx(volts.max(), abs=1e-9)
    assert (extremes["min_step"][1], extremes["max_step"][1]) == (2, 0)


def test_a_shorter_list_begins_again():
    """Sun of three steps over a day of four: the last step has the first one's."""
    generator = element("Static Generator", bus="b2", p_mw=1.0, daily=SUN)
    found = solve(feeder(s=generator), solver="opendss", solution_mode="daily")
    sun = "new generator.s bus1=b2 kv=20 kw=1000 kvar=0 vminpu=0 vmaxpu=1000 daily=sun"
    volts = by_hand("daily", 4, LOAD, sun)
    extremes = found.beside["extremes"]["busbars"]["vm_pu"]
    assert columns(found, "Bus")["vm_pu"][1] == approx(volts[-1], abs=1e-9)
    assert extremes["min"][1] == approx(volts.min(), abs=1e-9)


def test_own_multipliers_of_a_mode_count_before_the_daily_ones():
    elements = feeder(d=load("b2", daily=DAY, yearly=[0.2, 0.3]))
    found = solve(elements, solver="opendss", solution_mode="yearly")
    assert found.beside["steps"] == 2
    assert columns(found, "Load")["p_mw"][0] == approx(0.9, abs=1e-6)


def test_a_pv_system_follows_its_irradiance():
    sun = element("PVSystem", bus="b2", pmpp_kw=1000, irradiance_kw_per_m2=0.8, daily=SUN)
    elements = feeder(d=load("b2"), pv=sun)
    found = solve(elements, solver="opendss", solution_mode="daily")
    assert columns(found, "PVSystem")["p_mw"][0] == approx(0.8, abs=1e-6)


@pytest.mark.parametrize("mode", ["daily", "dutycycle", "yearly"])
def test_without_multipliers_it_is_a_snapshot_and_says_so(mode):
    elements = feeder(d=load("b2"))
    found = solve(elements, solver="opendss", solution_mode=mode)
    snapshot = solve(elements, solver="opendss")
    assert any("snapshot" in warning for warning in found.warnings)
    assert np.array_equal(columns(found, "Bus")["vm_pu"], columns(snapshot, "Bus")["vm_pu"])


def test_a_step_without_a_solution_is_told():
    elements = feeder(d=load("b2", daily=[1.0, 200.0, 1.0]))
    found = solve(elements, solver="opendss", solution_mode="daily")
    assert found.beside["failed_steps"] == [1]


def test_three_unequal_phases_go_through_steps_too():
    line = cable("b1", "b2", r0_ohm_per_km=0.6, x0_ohm_per_km=0.4, c0_nf_per_km=100)
    lopsided = element("Asymmetric Load", bus="b2", p_a_mw=1.0, p_b_mw=0.5, daily=DAY)
    elements = feeder(l=line, d=lopsided)
    found = solve(elements, solver="opendss", solution_mode="daily", mode="unbalanced")
    last = feeder(l=line, d=element("Asymmetric Load", bus="b2", p_a_mw=0.9, p_b_mw=0.45))
    alone = solve(last, solver="opendss", mode="unbalanced")
    volts = columns(found, "Bus")["vm_a_pu"]
    assert volts == approx(columns(alone, "Bus")["vm_a_pu"], abs=1e-9)
    assert found.beside["extremes"]["busbars"]["vm_pu"]["min_step"][1] == 2


@pytest.mark.parametrize("daily", [[], [-0.1], [1.0, -1.0]])
def test_multipliers_that_are_none_are_refused(daily):
    with pytest.raises(ProblemError) as refused:
        solve(feeder(d=load("b2", daily=daily)), solver="opendss", solution_mode="daily")
    (problem,) = refused.value.problems
    assert (problem.element, problem.field) == ("d", "daily")


def test_pandapower_refuses_it_by_name():
    with pytest.raises(ProblemError) as refused:
        solve(feeder(), solution_mode="daily")
    assert {problem.field for problem in refused.value.problems} == {"solution_mode"}
