"""pandapower's three-phase power flow, for what it really models.

pandapower solves three phases in sequence components with constant powers. Of the kinds it takes no
notice of, it says nothing; so what stands here as supported is what was found to move its answer,
and the rest is refused by name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from types import MappingProxyType

import numpy as np
import pandapower as pp
from pandapower.auxiliary import pandapowerNet

from electrisim import elements as e
from electrisim.change import Changes
from electrisim.elements import KINDS, Element
from electrisim.engine import Support
from electrisim.network import Array, Network, Rows, fault
from electrisim.phases import PHASES, TO_SEQUENCES, of_phase
from electrisim.problems import Problem
from electrisim.results import COLUMNS_3PH, Solution
from electrisim.studies.powerflow import PowerFlow
from electrisim.sweep import Chunk
from electrisim.topology import Topology
from pandapower_refusals import FOLLOWS_VOLTAGE, across_levels, foreign, said
from pandapower_script import script
from pandapower_solving import solve
from pandapower_tables import Block, power_flow_blocks

SILENT = Support("unsupported", "pandapower's three-phase solver leaves it out")
SUPPORT: Mapping[type[Element], Support] = MappingProxyType({
    **dict.fromkeys(KINDS, SILENT),
    e.Bus: Support("derived"),
    e.ExternalGrid: Support("derived", "with its zero sequence; it holds the positive one"),
    e.StaticGenerator: Support("derived", "its power in three equal phases"),
    e.AsymmetricStaticGenerator: Support("derived"),
    e.Load: Support("derived", "constant power only, in three equal phases"),
    e.AsymmetricLoad: Support("derived"),
    e.Line: Support("derived", "with its zero sequence"),
    e.Transformer: Support("derived", "vector groups Dyn, YNyn and Yzn, with zero sequence"),
    e.PVSystem: Support("translated", "a static generator with the power of its curves"),
    e.Switch: Support("derived", "without impedance"),
})  # fmt: skip

#: What the zero sequence needs, and what the kinds' rows carry of it into pandapower's tables.
ZERO_SEQUENCE: Mapping[type[Element], tuple[str, ...]] = MappingProxyType({
    e.ExternalGrid: ("s_sc_max_mva", "rx_max", "x0x_max", "r0x0_max"),
    e.Line: ("r0_ohm_per_km", "x0_ohm_per_km", "c0_nf_per_km"),
    e.Transformer: (
        "vk0_percent", "vkr0_percent", "mag0_percent", "mag0_rx", "si0_hv_partial",
    ),
})  # fmt: skip
VECTOR_GROUPS = ("Dyn", "YNyn", "Yzn")


# -- what it cannot do -----------------------------------------------------------------------------


def refusals(network: Network, settings: PowerFlow) -> list[Problem]:
    """Every setting and element of an unbalanced study that pandapower would ignore or refuse."""
    reasons = [*foreign(settings), *_settings(settings)]
    elements = [*_elements(network, settings), *across_levels(network)]
    return [*said(settings, reasons), *elements]


def _settings(settings: PowerFlow) -> Iterator[tuple[str, str]]:
    if settings.algorithm not in (None, "nr"):
        yield "algorithm", "is not for three phases; nr is"
    if settings.trafo_model != "t":
        yield "trafo_model", "is not for three phases; t is"
    if settings.calculate_voltage_angles == "auto":
        yield "calculate_voltage_angles", "does not act in three phases; true and false do"
    for name in ("enforce_q_lims", "distributed_slack", "consider_line_temperature"):
        if getattr(settings, name):
            yield name, "does not act in three phases"
    if settings.trafo_loading != "current":
        yield "trafo_loading", "does not act in three phases; current does"


def _elements(network: Network, settings: PowerFlow) -> Iterator[Problem]:
    for kind, names in ZERO_SEQUENCE.items():
        rows = network.rows(kind)
        for name in names:
            for row in np.flatnonzero(np.isnan(rows.column(name)) & rows.column("in_service")):
                text = f"needs {name} for its zero sequence"
                yield fault(rows, int(row), name, "missing-parameter", text)
    yield from _transformers(network.rows(e.Transformer))
    yield from _shared_nodes(network)
    switches = network.rows(e.Switch)
    for row in np.flatnonzero(switches.column("z_ohm") != 0):
        text = "has an impedance, which the three-phase solver has no zero sequence for"
        yield fault(switches, int(row), "z_ohm", "unsupported", text)
    for row in np.flatnonzero(~switches.column("closed") & (switches.at.get("et", "b") != "b")):
        text = "leaves the end of a branch open, which the three-phase solver does not model"
        yield fault(switches, int(row), "closed", "unsupported", text)
    loads = network.rows(e.Load)
    if settings.voltage_depend_loads:
        for name in FOLLOWS_VOLTAGE:
            for row in np.flatnonzero(loads.column(name)):
                text = f"follows the voltage ({name}), which those of three phases do not"
                yield fault(loads, int(row), name, "unsupported", text)


def _shared_nodes(network: Network) -> Iterator[Problem]:
    rows = network.rows(e.ExternalGrid)
    if not len(rows):
        return
    node = Topology(network).node[rows.at["bus"]]
    for row in range(len(rows)):
        if (node[:row] == node[row]).any():
            text = "shares its node with another grid; of three phases their parts are not known"
            yield fault(rows, row, "bus", "unsupported", text)


def _transformers(rows: Rows) -> Iterator[Problem]:
    for row, group in enumerate(rows.values("vector_group")):
        if group is None:
            yield fault(rows, row, "vector_group", "missing-parameter", "needs a vector_group")
        elif _group(group) not in VECTOR_GROUPS:
            text = f"has the vector group {group}; three phases are solved for Dyn, YNyn and Yzn"
            yield fault(rows, row, "vector_group", "unsupported", text)
    for name in ("vk0_percent", "vkr0_percent"):
        # pandapower takes a zero for "not given" and the positive sequence instead.
        for row in np.flatnonzero(rows.column(name) == 0):
            yield fault(rows, int(row), name, "out-of-bounds", f"must have a {name} other than 0")


def _group(vector_group: str) -> str:
    return vector_group.rstrip("0123456789")


# -- the model -------------------------------------------------------------------------------------


class UnbalancedModel:
    """A network as pandapower's tables, with its zero sequence."""

    def __init__(
        self,
        network: Network,
        topology: Topology,
        settings: PowerFlow,
        make_net: Callable[[float, Sequence[Block]], pandapowerNet],
    ) -> None:
        self.network = network
        self.topology = topology
        self.settings = settings
        self._make_net = make_net
        self._blocks = [
            each._replace(columns={**each.columns, **_zero_sequence(network, each)})
            for each in power_flow_blocks(network, topology, settings)
        ]
        self._arguments = {
            "calculate_voltage_angles": settings.calculate_voltage_angles,
            "init": settings.init,
            "max_iteration": settings.max_iteration or "auto",
            "tolerance_mva": settings.tolerance or 1e-8,
            "numba": False,
        }

    def power_flow(self) -> Solution:
        net = self._make_net(self.network.frequency_hz, self._blocks)
        seen = ("res_bus_3ph", "vm_a_pu")
        solve(net, pp.runpp_3ph, self._arguments, self.settings, seen)
        return Solution(
            tables=self._read(net),
            iterations=None,
            solver="nr in sequence components",
        )

    def sweep(self, changes: Changes) -> Iterator[Chunk]:
        raise NotImplementedError

    def script(self) -> str:
        return script(self.network, self._blocks, pp.runpp_3ph, self._arguments)

    def _read(self, net: pandapowerNet) -> dict[type[Element], dict[str, Array]]:
        tables: dict[type[Element], dict[str, Array]] = {}
        start: dict[str, int] = {}
        for block in self._blocks:
            begin = start.get(block.table, 0)
            end = start[block.table] = begin + len(block.names)
            if block.kind is None:
                continue
            frame = net.get(f"res_{block.table}_3ph")
            nothing = np.full(len(block.names), np.nan)
            tables[block.kind] = {
                name: nothing
                if frame is None or name not in frame
                else frame[name].to_numpy(dtype=float)[begin:end]
                for name in COLUMNS_3PH.get(block.kind, ())
            }
        buses = tables[e.Bus]
        phases = [_phasor(buses[f"vm_{a}_pu"], buses[f"va_{a}_degree"]) for a in PHASES]
        positive = (TO_SEQUENCES @ np.array(phases))[1]
        buses |= {"vm_pu": np.abs(positive), "va_degree": np.degrees(np.angle(positive))}
        for a in PHASES:
            self._deliver(tables, f"p_{a}_mw", a)
            self._deliver(tables, f"q_{a}_mvar", a)
        return tables

    def _deliver(self, tables: dict[type[Element], dict[str, Array]], column: str, a: str) -> None:
        """Let grids deliver what their nodes draw, by Kirchhoff's first law.

        Where a grid carries zero-sequence current, pandapower's own figure is not what passes its
        terminal: of one loaded phase it told 1.048 MW for a line that draws 0.907 MW.
        """
        node, rows = self.topology.node, self.network.rows(e.ExternalGrid)
        grids, buses = tables[e.ExternalGrid], tables[e.Bus]
        at = rows.at["bus"]
        told = np.where(self.topology.alive(e.ExternalGrid), np.nan_to_num(grids[column]), 0)
        others = np.nan_to_num(buses[column]).copy()
        np.add.at(others, at, told)
        drawn = np.zeros(len(node))
        np.add.at(drawn, node, others)
        for kind in (e.Line, e.Transformer):
            branches = self.network.rows(kind)
            for port in kind.ports if len(branches) else ():
                name = of_phase(port.p if column.startswith("p") else port.q or "", a)
                np.add.at(drawn, node[branches.at[port.bus]], np.nan_to_num(tables[kind][name]))
        delivers = np.where(self.topology.alive(e.ExternalGrid), drawn[node[at]], np.nan)
        grids[column] = delivers
        buses[column] = buses[column].copy()
        np.add.at(buses[column], at, told - np.nan_to_num(delivers))


def _phasor(magnitude: Array, degree: Array) -> Array:
    return np.asarray(magnitude * np.exp(1j * np.radians(degree)))


def _zero_sequence(network: Network, block: Block) -> dict[str, Array]:
    """The columns beyond a balanced power flow's that a block's table needs."""
    if block.kind is None:
        return {}
    rows = network.rows(block.kind)
    columns = {name: rows.column(name) for name in ZERO_SEQUENCE.get(block.kind, ())}
    if block.kind is e.Transformer:
        groups = [_group(group) for group in rows.values("vector_group")]
        columns["vector_group"] = np.array(groups, dtype=object)
    if block.kind in (e.Load, e.AsymmetricLoad, e.AsymmetricStaticGenerator):
        types = [word or "wye" for word in rows.values("type")]
        columns["type"] = np.array(types, dtype=object)
    if block.kind in (e.StaticGenerator, e.PVSystem):
        # Of any other type pandapower takes no notice.
        columns["type"] = np.full(len(rows), "wye", dtype=object)
    return columns
