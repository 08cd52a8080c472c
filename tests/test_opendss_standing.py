"""The sweep of three unequal phases on OpenDSS: every case is what a circuit of its own says.

The referee is the way that every engine has, one build and one power flow per case. Both sides
leave less than 1e-6 MVA at any node; the weakest node has some 10 MVA of short-circuit power, so
that voltages agree to 1e-7 pu, and currents in percent of a rating to 1e-5.
"""

from __future__ import annotations

import json
from typing import Any

import feeders
import numpy as np
import pytest
from bricks import ENGINES, Elements, bus, cable, element, grid, load, transformer

from electrisim import elements as e
from electrisim.change import Changes, Series
from electrisim.results import COLUMNS_3PH, Answer
from electrisim.studies import STUDIES
from electrisim.sweep import Chunk, solve_each
from electrisim.topology import Topology
from electrisim.wire import documented

STEPS = 6
FACTORS = np.array([1.0, 0.6, 0.0, 1.3, 0.6, 1.1])


def decoded(study: str, elements: Elements, **settings: Any) -> tuple[Any, Any]:
    more = {"solver": "opendss", "mode": "unbalanced", **settings}
    body = {"simulationType": study, "elements": elements, "settings": more}
    return documented.decode(json.dumps(body).encode(), {})


def run(study: str, elements: Elements, **settings: Any) -> Answer:
    asked, network = decoded(study, elements, **settings)
    return STUDIES[study].run(network, asked, ENGINES)


def network_of_many_kinds() -> Elements:
    """grid ─ h ═ transformer Dyn5 ═ m ── m2 ── m3, at m2 and m3 consumers of every kind and wiring

    m2: load, delta load, battery, sun, motor     m3: unequal loads, sgens, load of one phase
    """
    unequal = {f"p_{phase}_mw": 0.1 * k for k, phase in enumerate("abc", 1)}
    return {
        "g": grid("h", vm_pu=1.02, s_sc_max_mva=1000, rx_max=0.1, r0x0_max=0.1, x0x_max=1),
        "h": bus(110), "m": bus(20), "m2": bus(20), "m3": bus(20),
        "t": transformer("h", "m", vector_group="Dyn5", vk0_percent=10, vkr0_percent=0.5,
                         mag0_percent=100, mag0_rx=0, si0_hv_partial=0.9, i0_percent=0, pfe_kw=0),
        "l1": cable("m", "m2", r0_ohm_per_km=0.5, x0_ohm_per_km=0.4, c0_nf_per_km=150),
        "l2": cable("m2", "m3", 3, r0_ohm_per_km=0.5, x0_ohm_per_km=0.4, c0_nf_per_km=150),
        "d2": load("m2"), "d2d": load("m2", 0.5, 0.2, type="delta"),
        "d3": load("m3", 0.3, 0.1, phases="b", const_z_p_percent=30, const_i_q_percent=20),
        "a": element("Asymmetric Load", bus="m3", **unequal, q_b_mvar=0.1),
        "ad": element("Asymmetric Load", bus="m3", **unequal, type="delta"),
        "s": element("Static Generator", bus="m3", p_mw=0.4, q_mvar=0.1),
        "y": element("Asymmetric Static Generator", bus="m3", **unequal),
        "b": element("Storage", bus="m2", p_mw=0.4, q_mvar=0.1),
        "pv": element("PVSystem", bus="m2", pmpp_kw=800, irradiance_kw_per_m2=0.9),
        "w": element("Ward", bus="m3", ps_mw=0.1, qs_mvar=0.05, pz_mw=0.1, qz_mvar=0.02),
        "mo": element("Motor", bus="m2", pn_mech_mw=0.2, cos_phi=0.85, efficiency_percent=95.0),
    }  # fmt: skip


def in_columns(chunks: list[Chunk], count: int, network: Any) -> dict[Any, np.ndarray]:
    """(kind, column) → values of all cases in order."""
    found: dict[Any, np.ndarray] = {}
    for chunk in chunks:
        assert chunk.solved.all()
        for kind in network.kinds:
            for name in COLUMNS_3PH.get(kind, ()):
                values = chunk.column(kind, name)
                whole = found.setdefault((kind, name), np.zeros((count, values.shape[1])))
                whole[chunk.cases] = values
    return found


def compare(elements: Elements, *fields: tuple[Any, str], **settings: Any) -> list[Chunk]:
    """Sweep in the standing circuit and in one of each case's own; every column must agree."""
    asked, network = decoded("powerflow", elements, **settings)
    scaled = {
        (kind, field): np.outer(FACTORS, network.rows(kind).column(field)) for kind, field in fields
    }
    series = {key: Series(np.arange(each.shape[1]), each) for key, each in scaled.items()}
    changes, engine = Changes(STEPS, series=series), ENGINES["opendss"]
    with engine.build(network, Topology(network), asked) as model:
        standing = list(model.sweep(changes))

    def build(case: Any, topology: Topology) -> Any:
        return engine.build(case, topology, asked)

    alone = list(solve_each(build, network, asked, changes, range(STEPS)))
    ours, theirs = (in_columns(chunks, STEPS, network) for chunks in (standing, alone))
    for key, values in theirs.items():
        scale = np.maximum(1.0, np.abs(values))
        assert np.array_equal(np.isnan(ours[key]), np.isnan(values)), key
        assert np.nanmax(np.abs(ours[key] - values) / scale, initial=0) < 5e-6, key
    return standing


POWERS = (
    (e.Load, "p_mw"), (e.AsymmetricLoad, "scaling"), (e.AsymmetricLoad, "p_b_mw"),
    (e.StaticGenerator, "q_mvar"), (e.AsymmetricStaticGenerator, "scaling"), (e.Storage, "p_mw"),
    (e.PVSystem, "irradiance_kw_per_m2"), (e.Motor, "scaling"),
    (e.Ward, "ps_mw"),
)  # fmt: skip


@pytest.mark.parametrize("binding", ["opendssdirect", "py_dss_interface"])
def test_cases_of_every_power_are_what_circuits_of_their_own_say(binding):
    chunks = compare(network_of_many_kinds(), *POWERS, binding=binding)
    assert not any(chunk.note for chunk in chunks)


@pytest.mark.parametrize("place", POWERS, ids=lambda place: f"{place[1]} of {place[0].key}")
def test_a_power_that_changes_alone_moves_no_other(place):
    compare(network_of_many_kinds(), place)


def test_sources_behind_their_impedance_stay_as_they_are():
    compare(network_of_many_kinds(), *POWERS, source_impedance=True)


def test_cases_that_change_admittances_are_built_one_by_one():
    chunks = compare(network_of_many_kinds(), (e.Line, "c_nf_per_km"), (e.Load, "p_mw"))
    assert {chunk.note for chunk in chunks} == {
        "phases differ, and they change c_nf_per_km of lines"
    }


def test_steps_on_ieee123_are_its_single_power_flows():
    """Every step beside the power flow of the feeder with these powers written into its graph."""
    graph = feeders.graph("ieee123")
    loads = [id_ for id_, entry in graph.items() if entry["typ"] == "Load"]
    factors = np.random.default_rng(0).uniform(0.3, 1.1, (3, len(loads)))
    profiles = {id_: {"scaling": factors[:, k].tolist()} for k, id_ in enumerate(loads)}
    answer = run("timeseries", graph, profiles=profiles, outputs={"busbars": ["vm_a_pu"]})
    series = answer.series or {}
    assert answer.beside["failed_steps"] == []
    assert not any("one by one" in warning for warning in answer.warnings)
    for step in range(3):
        for k, id_ in enumerate(loads):
            graph[id_]["parameters"]["scaling"] = float(factors[step, k])
        alone = run("powerflow", graph).tables[e.Bus]["vm_a_pu"]
        assert np.nanmax(np.abs(series[e.Bus]["vm_a_pu"][step] - alone)) < 1e-7


def test_after_a_step_without_a_solution_the_others_stand():
    """One of six steps asks for 200 times the load, more than the cables carry."""
    elements = network_of_many_kinds()
    scaling = [1.0, 0.8, 200.0, 0.8, 1.2, 1.0]
    outputs = {"busbars": ["vm_a_pu"]}
    answer = run("timeseries", elements, profiles={"d2": {"scaling": scaling}}, outputs=outputs)
    assert answer.beside["failed_steps"] == [2]
    found = (answer.series or {})[e.Bus]["vm_a_pu"]
    elements["d2"]["parameters"]["scaling"] = 0.8
    alone = run("powerflow", elements).tables[e.Bus]["vm_a_pu"]
    assert np.abs(found[[1, 3]] - alone).max() < 1e-7
    assert np.abs(found[0] - found[5]).max() < 1e-7
