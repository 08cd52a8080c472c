"""The sweep on OpenDSS: every case must be what a circuit built for it alone says.

The referee is the way that every engine has, one build and one power flow per case, and in the
first test the engine driven by hand. Both sides leave less than 1e-6 MVA at any node; the weakest
node here has some 30 MVA of short-circuit power, so that voltages agree to 1e-7 pu.
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from bricks import ENGINES, Elements, bus, cable, element, grid, load, transformer
from pytest import approx

from electrisim import elements as e
from electrisim.change import Changes, Series, outages
from electrisim.results import Answer
from electrisim.studies import STUDIES
from electrisim.sweep import Chunk, solve_each
from electrisim.topology import Topology
from electrisim.wire import documented
from opendss_context import opendssdirect

STEPS = 24
FACTORS = 0.75 + 0.25 * np.sin(np.arange(STEPS))


def decoded(study: str, elements: Elements, **settings: Any) -> tuple[Any, Any]:
    body = {
        "simulationType": study,
        "elements": elements,
        "settings": {"solver": "opendss", **settings},
    }
    return documented.decode(json.dumps(body).encode(), {})


def run(study: str, elements: Elements, **settings: Any) -> Answer:
    asked, network = decoded(study, elements, **settings)
    return STUDIES[study].run(network, asked, ENGINES)


def network_of_many_kinds(**more: Any) -> Elements:
    """grid ─ h ═ two Dyn5 transformers ═ m ── m2 ── m3 ── m; consumers of every kind

    m2: load, battery, sun, motor, ward      m3: load that follows the voltage, sgen, capacitor
    """
    found = {
        "g": grid("h", vm_pu=1.02),
        "h": bus(110), "m": bus(20), "m2": bus(20), "m3": bus(20),
        "t": transformer("h", "m", vector_group="Dyn5"),
        "t2": transformer("h", "m", vector_group="Dyn5", vk_percent=12),
        "l1": cable("m", "m2"), "l2": cable("m2", "m3", 3), "l3": cable("m", "m3", 5),
        "d2": load("m2"),
        "d3": load("m3", 2, 0.5, const_z_p_percent=30, const_i_q_percent=20),
        "s": element("Static Generator", bus="m3", p_mw=1.0, q_mvar=0.1),
        "b": element("Storage", bus="m2", p_mw=0.4, q_mvar=0.1),
        "pv": element("PVSystem", bus="m2", pmpp_kw=800, irradiance_kw_per_m2=0.9),
        "c": element("Capacitor", bus="m3", q_mvar=-0.6),
        "w": element("Ward", bus="m2", ps_mw=0.1, qs_mvar=0.05, pz_mw=0.1, qz_mvar=0.02),
        "mo": element("Motor", bus="m2", pn_mech_mw=0.2, cos_phi=0.85, efficiency_percent=95.0),
    }  # fmt: skip
    return {**found, **more}


def held() -> Elements:
    """The same with a generator and an extended ward, whose sources are turned in every case."""
    return network_of_many_kinds(
        gen=element("Generator", bus="m3", p_mw=1.5, vm_pu=1.01),
        xw=element(
            "Extended Ward", bus="m2", ps_mw=0.2, qs_mvar=0.1, pz_mw=0.1, qz_mvar=0.1, r_ohm=1.0,
            x_ohm=20.0, vm_pu=1.0,
        ),
    )  # fmt: skip


def in_columns(chunks: list[Chunk], count: int, network: Any) -> dict[Any, np.ndarray]:
    """(kind, column) → values of all cases in order."""
    found: dict[Any, np.ndarray] = {}
    for chunk in chunks:
        for kind in network.kinds:
            for name in _columns(kind):
                values = chunk.column(kind, name)
                key = kind, name
                whole = found.setdefault(key, np.full((count, values.shape[1]), np.nan))
                whole[chunk.cases[chunk.solved]] = values[chunk.solved]
    return found


def _columns(kind: Any) -> tuple[str, ...]:
    from electrisim.results import COLUMNS

    return COLUMNS[kind]


def compare(elements: Elements, changes_of: Any, **settings: Any) -> list[Chunk]:
    """Sweep in the live circuit and one by one; every column of every kind must agree."""
    asked, network = decoded("powerflow", elements, **settings)
    changes: Changes = changes_of(network)
    engine = ENGINES["opendss"]
    with engine.build(network, Topology(network), asked) as model:
        live = list(model.sweep(changes))

    def build(case: Any, topology: Topology) -> Any:
        return engine.build(case, topology, asked)

    alone = list(solve_each(build, network, asked, changes, range(changes.count)))
    ours = in_columns(live, changes.count, network)
    theirs = in_columns(alone, changes.count, network)
    for key, values in theirs.items():
        scale = np.maximum(1.0, np.abs(values))
        assert np.array_equal(np.isnan(ours[key]), np.isnan(values)), key
        assert np.nanmax(np.abs(ours[key] - values) / scale, initial=0) < 5e-6, key
    return live


def series_of(*fields: tuple[Any, str]) -> Any:
    """Changes that scale a field of every element of some kinds by the hour."""

    def make(network: Any) -> Changes:
        found = {}
        for kind, field in fields:
            own = network.rows(kind).column(field)
            found[kind, field] = Series(np.arange(len(own)), FACTORS[:, None] * own)
        return Changes(STEPS, series=found)

    return make


CONSTANT = (
    (e.Load, "p_mw"), (e.Load, "scaling"), (e.StaticGenerator, "p_mw"), (e.Storage, "p_mw"),
    (e.PVSystem, "irradiance_kw_per_m2"), (e.Motor, "scaling"), (e.Ward, "ps_mw"),
)  # fmt: skip


@pytest.mark.parametrize("binding", ["opendssdirect", "py_dss_interface"])
def test_a_series_is_what_single_solutions_say(binding):
    chunks = compare(network_of_many_kinds(), series_of(*CONSTANT), binding=binding)
    assert not any(chunk.note for chunk in chunks)


def test_without_loads_that_follow_the_voltage_it_is_the_same():
    """Then the last digits come from fixed-point steps for all cases at once."""
    elements = network_of_many_kinds(d3=load("m3", 2, 0.5))
    assert not any(chunk.note for chunk in compare(elements, series_of(*CONSTANT)))


def test_generators_are_turned_in_every_step():
    chunks = compare(held(), series_of(*CONSTANT, (e.Generator, "p_mw")))
    assert not any(chunk.note for chunk in chunks)


def test_what_changes_nodes_or_admittances_is_built_anew():
    (chunk, *_) = compare(network_of_many_kinds(), series_of((e.Ward, "pz_mw")))
    assert "pz_mw" in chunk.note


@pytest.mark.parametrize("elements", [network_of_many_kinds(), held()], ids=["grid", "held"])
def test_outages_are_what_single_solutions_say(elements):
    """Every branch and consumer on its own, two at once, and what cuts off the rest."""

    def make(network: Any) -> Changes:
        one = [
            [(kind, row)]
            for kind in (e.Line, e.Transformer, e.Load, e.StaticGenerator, e.PVSystem, e.Ward)
            for row in range(len(network.rows(kind)))
        ]
        several = [[(e.Line, 0), (e.Line, 1)], [(e.Transformer, 0), (e.Transformer, 1)]]
        return outages([*one, *several, [(e.Line, 2), (e.Load, 0)]])

    chunks = compare(elements, make)
    notes = {chunk.note for chunk in chunks if chunk.note}
    assert notes  # the islands and the ward, which is an admittance too
    assert any(not chunk.note for chunk in chunks)


def test_a_year_agrees_with_the_engine_driven_by_hand():
    """grid ── 4 km ── load: the last of 2,000 hours, set by hand in the engine's own words."""
    p_mw = (3 + np.sin(np.arange(2000))).tolist()
    elements = {
        "g": grid("b1", vm_pu=1.02), "b1": bus(20), "b2": bus(20), "l": cable("b1", "b2"),
        "d": load("b2"),
    }  # fmt: skip
    found = run("timeseries", elements, profiles={"d": {"p_mw": p_mw}})
    assert found.beside["failed_steps"] == []
    dss: Any = opendssdirect.dss.NewContext()
    dss.Text.Commands(
        [
            "clear", "set defaultbasefrequency=50",
            "new circuit.hand bus1=b1 basekv=20 pu=1.02 r1=0 x1=4e-9 r0=0 x0=4e-9",
            "new line.l bus1=b1 bus2=b2 r1=0.8 x1=0.48 r0=0.8 x0=0.48 c1=800 c0=800",
            f"new load.d bus1=b2 kv=20 kw={1e3 * p_mw[-1]} kvar=1000 vminpu=0 vmaxpu=1000",
            "set tolerance=1e-12 maxiterations=100", "solve",
        ]
    )  # fmt: skip
    volts = np.array(dss.Circuit.YNodeVArray()).view(complex)
    assert found.series is not None
    by_hand = abs(volts[3]) * np.sqrt(3) / 20e3
    assert found.series[e.Bus]["vm_pu"][-1][1] == approx(by_hand, abs=1e-9)


def test_a_step_without_a_solution_fails_alone():
    """500 MW over 4 km at 20 kV: the step before and the step after stand."""
    elements = {
        "g": grid("b1"), "b1": bus(20), "b2": bus(20), "l": cable("b1", "b2"), "d": load("b2"),
    }  # fmt: skip
    found = run("timeseries", elements, profiles={"d": {"p_mw": [3.0, 500.0, 3.0]}})
    assert found.beside["failed_steps"] == [1]
    assert found.series is not None
    vm_pu = found.series[e.Bus]["vm_pu"][:, 1]
    assert np.isnan(vm_pu[1])
    assert vm_pu[0] == approx(vm_pu[2], abs=1e-10)


def test_contingencies_on_opendss_are_pandapowers():
    """The statuses and extremes of every outage, as the other engine has them."""
    elements = network_of_many_kinds()
    ours = run("contingency", elements, element_type="all").beside["contingencies"]
    theirs = run("contingency", elements, element_type="all", solver="pandapower")
    for one, other in zip(ours, theirs.beside["contingencies"], strict=True):
        assert (one.id, one.status) == (other.id, other.status)
        assert one.min_vm_pu == approx(other.min_vm_pu, abs=1e-6)
        assert one.max_loading_percent == approx(other.max_loading_percent, rel=1e-5)


def test_one_engine_is_enough_for_cases_that_are_built():
    """EPRI's build is one per process; what is built anew is built in the session that is there."""
    profiles = {"l1": {"length_km": [4.0, 5.0]}}
    found = run(
        "timeseries", network_of_many_kinds(), profiles=profiles, binding="py_dss_interface"
    )
    assert found.beside["failed_steps"] == []
