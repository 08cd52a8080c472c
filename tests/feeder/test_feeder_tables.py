"""The facts of the feeders hang together, and are those of the data sheets."""

import pytest

from electrisim.feeder import tables
from electrisim.feeder.tables import numbers

ALL = pytest.mark.parametrize("name", tables.FEEDERS)


@ALL
def test_every_end_is_a_bus_that_has_the_nodes(name, feeders):
    feeder = feeders[name]
    branches = [
        *feeder.lines.values(),
        *feeder.switches.values(),
        *feeder.transformers.values(),
        *feeder.regulators.values(),
    ]
    for branch in branches:
        for bus in (branch.from_bus, branch.to_bus):
            assert set(numbers(branch.nodes)) <= set(numbers(feeder.buses[bus].nodes)), branch
    for shunt in [*feeder.loads.values(), *feeder.capacitors.values()]:
        for bus in feeder.ends_of_load[shunt.load] if hasattr(shunt, "load") else [shunt.bus]:
            assert set(numbers(shunt.nodes)) <= set(numbers(feeder.buses[bus].nodes)), shunt


@ALL
def test_every_line_has_the_matrices_of_its_phases(name, feeders):
    feeder = feeders[name]
    for line in feeder.lines.values():
        entries = feeder.impedances[line.config]
        phases = {entry.row_phase for entry in entries}
        assert phases == {"ABC"[node - 1] for node in numbers(line.nodes)}, line
        assert len(entries) == len(phases) * (len(phases) + 1) // 2, line


@pytest.mark.parametrize(
    ("name", "nodes", "loads", "kw", "kvar"),
    [
        ("ieee123", 274, 91, 3490, 1920),
        ("ieee13", 35, 15, 3466, 2102),
        ("ieee34", 92, 38, 1769, 1044),
        ("ieee37", 114, 30, 2457, 1201),
    ],
)
def test_the_loads_add_up_to_those_of_the_data_sheets(name, nodes, loads, kw, kvar, feeders):
    feeder = feeders[name]
    assert len(feeder.nodes) == nodes
    assert len(feeder.loads) == loads
    assert sum(load.kw for load in feeder.loads.values()) == pytest.approx(kw)
    assert sum(load.kvar for load in feeder.loads.values()) == pytest.approx(kvar)


@ALL
def test_every_energised_bus_is_in_exactly_one_recommended_neighbourhood(name, feeders):
    feeder = feeders[name]
    listed = [bus for buses in feeder.neighbourhoods[tables.RECOMMENDED].values() for bus in buses]
    assert sorted(listed) == sorted(b.bus for b in feeder.buses.values() if b.energised)


@ALL
def test_no_line_with_a_load_crosses_the_border_of_a_neighbourhood(name, feeders):
    feeder = feeders[name]
    for buses in feeder.neighbourhoods[tables.RECOMMENDED].values():
        for load in feeder.loads.values():
            if load.line:
                line = feeder.lines[load.line]
                assert (line.from_bus in buses) == (line.to_bus in buses)


@pytest.mark.parametrize(
    ("version", "kw"),
    [
        ("recommended", [180, 120, 180, 80, 160, 200, 140, 615, 390, 260, 485, 240, 220, 220]),
        ("seed", [180, 120, 180, 80, 160, 200, 140, 615, 390, 220, 485, 240, 220, 220]),
        ("later", [180, 120, 180, 80, 160, 200, 140, 615, 390, 220, 485, 240, 220, 220]),
    ],
)
def test_the_load_of_each_neighbourhood(version, kw, feeder):
    """The 40 kW at bus 94 are in no neighbourhood of the original's tables."""
    loads = [
        sum(feeder.loads[load].kw for load in feeder.loads_in(version, number))
        for number in range(1, 15)
    ]
    assert loads == kw


def test_neighbourhoods_by_topology_are_cut_at_switches_and_regulators(feeders):
    """650 ⊸ 650r … 671 ─/ ─ 692 … of the 13-node feeder"""
    zones = feeders["ieee13"].neighbourhoods[tables.RECOMMENDED]
    assert zones[1] == ("650",)
    assert {"650r", "671", "634"} <= set(zones[2])
    assert zones[3] == ("675", "692")


def test_only_the_bus_behind_the_delta_has_no_neutral(feeder, feeders):
    assert feeder.ungrounded == {"610"}
    assert feeders["ieee13"].ungrounded == frozenset()
    assert feeders["ieee37"].ungrounded == set(feeders["ieee37"].buses)


def test_what_a_transformer_feeds(feeders):
    fed = {bus: t.name for bus, t in feeders["ieee34"].feeding.items()}
    assert fed == {"888": "xfm1", "890": "xfm1"}


def test_the_digest_is_of_all_tables(feeders):
    assert len({feeder.digest for feeder in feeders.values()}) == len(feeders)
    assert tables.read("ieee13").digest == feeders["ieee13"].digest
