"""PVSystem's law against OpenDSS itself, driven by hand: one system on a stiff 20 kV source."""

from __future__ import annotations

from typing import Any

import opendssdirect
import pytest
from pytest import approx

from electrisim import elements as e
from electrisim.network import Rows
from electrisim.pvsystem import power_mva

TEMPERATURE = [(0.0, 1.2), (25.0, 1.0), (75.0, 0.8)]
EFFICIENCY = [(0.1, 0.86), (0.2, 0.9), (0.4, 0.93), (1.0, 0.97)]

CASES: dict[str, dict[str, Any]] = {
    "full sun": {},
    "half sun": {"irradiance_kw_per_m2": 0.5},
    "more sun than the array's rating": {"irradiance_kw_per_m2": 1.3, "kva": 200.0},
    "a ceiling below the rating": {"irradiance_kw_per_m2": 0.9, "pmpp_percent": 80.0},
    "a warm array": {"temperature_degree_celsius": 50.0, "temperature_curve": TEMPERATURE},
    "hotter than the curve tells": {
        "temperature_degree_celsius": 100.0, "temperature_curve": TEMPERATURE,
    },
    "an efficiency": {"irradiance_kw_per_m2": 0.3, "efficiency_curve": EFFICIENCY},
    "less power than the efficiency curve tells": {
        "irradiance_kw_per_m2": 0.03, "efficiency_curve": EFFICIENCY,
    },
    "an efficiency under a ceiling": {
        "irradiance_kw_per_m2": 0.9, "efficiency_curve": EFFICIENCY, "pmpp_percent": 80.0,
    },
    "a power factor within the rating": {"pf": 0.9, "kva": 150.0},
    "a power factor beyond the rating": {"pf": 0.9},
    "an absorbing power factor": {"pf": -0.9, "irradiance_kw_per_m2": 0.6},
    "fixed kvar beside active power": {"kvar": 30.0, "kva": 150.0},
    "fixed kvar that costs active power": {"kvar": 50.0},
    "more kvar than the rating": {"kvar": -150.0},
    "fixed kvar at night": {"kvar": 30.0, "irradiance_kw_per_m2": 0.0},
    "too little power to go on": {"irradiance_kw_per_m2": 0.15, "cutout_percent": 20.0},
    "just enough power to go on": {"irradiance_kw_per_m2": 0.2, "cutout_percent": 20.0},
    "on, though below what it would start at": {
        "irradiance_kw_per_m2": 0.15, "cutin_percent": 20.0,
    },
}  # fmt: skip


@pytest.fixture(scope="module")
def dss() -> Any:
    return opendssdirect.OpenDSSDirect.NewContext()


def delivered_by_opendss(dss: Any, system: e.PVSystem) -> tuple[float, float]:
    """(kW, kvar) that OpenDSS delivers for a system."""
    curves = ""
    dss.Text.Command("clear")
    dss.Text.Command("new circuit.c basekv=20 z1=(1e-6, 1e-5) z0=(1e-6, 1e-5)")
    for name, property_ in (("temperature_curve", "p-tcurve"), ("efficiency_curve", "effcurve")):
        points = getattr(system, name)
        if points:
            x, y = ([point[axis] for point in points] for axis in (0, 1))
            dss.Text.Command(f"new xycurve.{name} npts={len(points)} xarray={x} yarray={y}")
            curves += f" {property_}={name}"
    reactive = f"pf={system.pf}" if system.kvar is None else f"kvar={system.kvar}"
    dss.Text.Command(
        f"new pvsystem.p bus1=sourcebus kv=20 pmpp={system.pmpp_kw} kva={system.kva}"
        f" irradiance={system.irradiance_kw_per_m2}"
        f" temperature={system.temperature_degree_celsius} %cutin={system.cutin_percent}"
        f" %cutout={system.cutout_percent} %pmpp={system.pmpp_percent}{curves} {reactive}"
    )
    dss.Solution.Solve()
    dss.Circuit.SetActiveElement("pvsystem.p")
    powers = dss.CktElement.Powers()
    return -sum(powers[0:6:2]), -sum(powers[1:6:2])


@pytest.mark.parametrize("case", CASES)
def test_a_pv_system_delivers_what_opendss_makes_it_deliver(dss: Any, case: str) -> None:
    """OpenDSS solves the terminal to its own tolerance: 1e-4 of the rating is far above it."""
    system = e.PVSystem(**{"bus": "b", "pmpp_kw": 100.0, "kva": 100.0, **CASES[case]})
    ours = 1000 * power_mva(Rows(e.PVSystem, ["pv"], ["pv"], [system]))[0]
    kw, kvar = delivered_by_opendss(dss, system)
    assert (ours.real, ours.imag) == (approx(kw, abs=0.01), approx(kvar, abs=0.01))


def test_the_rating_is_the_arrays_where_none_is_given() -> None:
    system = e.PVSystem(bus="b", pmpp_kw=80.0, irradiance_kw_per_m2=1.4, pmpp_percent=100.0)
    assert power_mva(Rows(e.PVSystem, ["pv"], ["pv"], [system]))[0] == approx(0.08, rel=1e-12)
