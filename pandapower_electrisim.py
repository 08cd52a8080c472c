"""pandapower as an engine: how we speak pandapower, wholly, and nothing else.

Tables are made in bulk from the catalogue's columns (`pandapower_tables`), over a shallow copy of
one empty network that is never edited in place. Results come back as pandapower's own columns.
Beside this file: `pandapower_loads` and `pandapower_solving` keep the numbers right,
`pandapower_refusals` names what pandapower cannot do, `pandapower_unbalanced` speaks its
three-phase power flow, `pandapower_script` writes scripts.
"""

from __future__ import annotations

import copy
import functools
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import MappingProxyType
from typing import Any

import numpy as np
import pandapower as pp
from pandapower.auxiliary import pandapowerNet

import pandapower_opf
import pandapower_shortcircuit
import pandapower_sweep
import pandapower_unbalanced
from electrisim import elements as e
from electrisim.change import Changes
from electrisim.elements import KINDS, Element
from electrisim.engine import Model, Support
from electrisim.network import Array, Network, Rows
from electrisim.premises import line_drops, single_phase
from electrisim.problems import NotConvergedError, Problem
from electrisim.results import COLUMNS, Solution
from electrisim.settings import Settings
from electrisim.studies.opf import Optimal, OptimalPowerFlow
from electrisim.studies.powerflow import PowerFlow
from electrisim.studies.shortcircuit import Faulted, ShortCircuit
from electrisim.sweep import Chunk
from electrisim.topology import Topology
from pandapower_limits import Limits
from pandapower_loads import DEAF, Followers
from pandapower_refusals import no_reactance, refusals
from pandapower_script import script
from pandapower_solving import NoReactanceError, solve, start_angles
from pandapower_tables import Block, expected_columns, frames, power_flow_blocks

# What pandapower tells its users about their data, we tell in warnings and problems.
logging.getLogger("pandapower").setLevel(logging.CRITICAL)

#: pandapower's tables that it edits although a network may have nothing there.
EDITED = ("gen", "trafo", "res_bus_dc", "res_source_dc")

#: How many solutions loads that follow the voltage, and generators that leave a limit, may take
#: until they settle; three or four do.
SOLUTIONS = 20


class Pandapower:
    """The engine "pandapower"."""

    name = "pandapower"

    def __init__(self) -> None:
        self._empty = pp.create_empty_network()
        self._expected = expected_columns(self._empty, {kind.table for kind in KINDS})

    @functools.cached_property
    def support(self) -> Mapping[str, Mapping[type[Element], Support]]:
        return MappingProxyType({"balanced": SUPPORT, "unbalanced": pandapower_unbalanced.SUPPORT})

    @functools.cached_property
    def standard_types(self) -> Mapping[str, Mapping[str, Mapping[str, Any]]]:
        """pandapower's library: table → name of the type → parameters."""
        return MappingProxyType(self._empty["std_types"])

    def version(self, settings: Settings) -> Mapping[str, str]:
        return {"name": self.name, "version": pp.__version__}

    def refusals(self, network: Network, settings: Settings) -> list[Problem]:
        if settings.model == "unbalanced":
            found = pandapower_unbalanced.refusals(network, settings)
        else:
            found = refusals(network, settings)
        if settings.controls:
            found += line_drops(network, self.name)
        return [*single_phase(network, self.name, settings.model), *found]

    @contextmanager
    def build(self, network: Network, topology: Topology, settings: Settings) -> Iterator[Model]:
        assert isinstance(settings, PowerFlow)
        make = (
            pandapower_unbalanced.UnbalancedModel
            if settings.model == "unbalanced"
            else BalancedModel
        )
        yield make(network, topology, settings, self.net)

    def net(self, frequency_hz: float, blocks: Sequence[Block]) -> pandapowerNet:
        """A net of these tables; those that the network has nothing of are shared, never edited."""
        net = copy.copy(self._empty)
        for name, value in net.items():
            if isinstance(value, dict) and name != "std_types":
                net[name] = copy.deepcopy(value)
        for name in EDITED:
            net[name] = self._empty[name].copy()
        net["f_hz"] = frequency_hz
        for table, frame in frames(self._expected, blocks).items():
            net[table] = frame
        return net


class BalancedModel:
    """A network as pandapower's tables, with one phase standing for three."""

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
        blocks = power_flow_blocks(network, topology, settings)
        self._followers = Followers(network, topology, settings, blocks)
        self._limits = Limits(network, topology, settings)
        self._blocks = blocks
        self._iterations = 0
        self._call, self._arguments = _CALLS[settings.mode](settings)

    def power_flow(self) -> Solution:
        return self.solution

    @functools.cached_property
    def solution(self) -> Solution:
        net = self.net
        return Solution(
            tables=self._read(net),
            iterations=self._iterations,
            solver=_solver(net, self.settings),
        )

    def sweep(self, changes: Changes) -> Iterator[Chunk]:
        return pandapower_sweep.sweep(self, changes)

    def optimal_power_flow(self, settings: OptimalPowerFlow) -> Optimal:
        def flow_at(network: Network, vm_pu: Array, va_degree: Array) -> Solution:
            model = self.rebuilt(network, self.topology)
            model._arguments |= model._start(vm_pu, va_degree)
            return model.solution

        network, topology = self.network, self.topology
        return pandapower_opf.solve(network, topology, settings, self._make_net, flow_at)

    def short_circuit(self, settings: ShortCircuit, buses: Array) -> Faulted:
        network, topology = self.network, self.topology
        return pandapower_shortcircuit.solve(network, topology, settings, buses, self._make_net)

    def rebuilt(self, network: Network, topology: Topology | None = None) -> BalancedModel:
        """Another network under the same settings."""
        return BalancedModel(network, topology or Topology(network), self.settings, self._make_net)

    def script(self) -> str:
        rows = self._followers.rows
        return script(self.network, self._blocks, self._call, self._arguments, rows)

    @functools.cached_property
    def net(self) -> pandapowerNet:
        """pandapower's own net, solved."""
        count = len(self.network.rows(e.Bus))
        vm_pu, start = np.ones(count), dict[str, Any]()
        for _ in range(SOLUTIONS):
            self._blocks = self._limits.applied(self._followers.blocks(vm_pu))
            net = self._solved(start)
            belongs = self._limits.settle(net)
            found = net["res_bus"].iloc[:count]
            before, vm_pu = vm_pu, found["vm_pu"].fillna(1.0).to_numpy(dtype=float)
            tolerance = (self.settings.tolerance or 1e-8) / 10
            if belongs and self._followers.error_mva(before, vm_pu) <= tolerance:
                return net
            start = self._start(vm_pu, found["va_degree"].fillna(0.0).to_numpy(dtype=float))
        what = "loads that follow the voltage" if belongs else "reactive limits of generators"
        raise NotConvergedError(f"The {what} settle at no solution.")

    def _start(self, vm_pu: Array, va_degree: Array) -> dict[str, Any]:
        """How to tell pandapower where to start, if that can be chosen."""
        if self.settings.linear or self.settings.init != "auto" or not self._takes_arrays:
            return {}
        return {"init_vm_pu": vm_pu, "init_va_degree": va_degree}

    @property
    def _takes_arrays(self) -> bool:
        """Whether it can start anywhere: by its own solvers, without nodes of its own."""
        inner = (e.ThreeWindingTransformer, e.ExtendedWard, e.SSC, e.VSC, e.B2BVSC)
        has_inner = any(self.topology.alive(kind).any() for kind in inner)
        return not has_inner and self.settings.algorithm not in DEAF

    def _solved(self, start: Mapping[str, Any]) -> pandapowerNet:
        try:
            return self._solve(start)
        except NoReactanceError as error:
            if self.settings.mode == "dc" or self.settings.init == "dc":
                raise no_reactance(self.network, self.topology) from error
        self._arguments["init_va_degree"] = (
            start_angles(self.network, self.topology) if self._takes_arrays else "flat"
        )
        try:
            return self._solve(start)
        except NoReactanceError as error:
            raise NotConvergedError("An impedance is too small for a number.") from error

    def _solve(self, start: Mapping[str, Any]) -> pandapowerNet:
        net = self._make_net(self.network.frequency_hz, self._blocks)
        seen = ("res_bus", "va_degree" if self.settings.linear else "vm_pu")
        solve(net, self._call, {**self._arguments, **start}, self.settings, seen)
        self._iterations += int(net["_ppc"]["iterations"])
        return net

    def _read(self, net: pandapowerNet) -> dict[type[Element], dict[str, Array]]:
        """Every kind's result columns, in the network's row order."""
        found: dict[type[Element], dict[str, Array]] = {}
        for block, columns in _slices(net, self._blocks):
            if block.kind is None:
                continue
            if block.kind is e.B2BVSC:
                columns = _as_one(columns)
            if block.keep is not None:
                columns = {name: _spread(part, block.keep) for name, part in columns.items()}
            found[block.kind] = columns
        self._deliver_to_loads(found)
        self._carry_nothing(found)
        self._follow_voltages(found)
        tables = {}
        for kind in self.network.kinds:
            columns = found.get(kind, {})
            nothing = np.full(len(self.network.rows(kind)), np.nan)
            tables[kind] = {
                name: nothing
                if name not in columns or (self.settings.linear and _needs_ac(name))
                else columns[name]
                for name in COLUMNS[kind]
            }
        return tables

    def _carry_nothing(self, found: dict[type[Element], dict[str, Array]]) -> None:
        """DC lines that are fed from one end only, which pandapower does not get to see."""
        rows = self.network.rows(e.LineDC)
        if not len(rows):
            return
        fed = {end: self.topology.supplied(rows, f"{end}_bus_dc") for end in ("from", "to")}
        idle = self.topology.alive(e.LineDC) & (fed["from"] ^ fed["to"])
        if not idle.any():
            return
        nothing = np.full(len(rows), np.nan)
        columns = found.get(e.LineDC, dict.fromkeys(COLUMNS[e.LineDC], nothing))
        one = np.where(fed["from"], rows.at["from_bus_dc"], rows.at["to_bus_dc"])
        vm_pu = found[e.DCBus]["vm_pu"][one]
        found[e.LineDC] = {
            name: np.where(idle, vm_pu if name.startswith("vm_") else 0, values)
            for name, values in columns.items()
        }

    def _deliver_to_loads(self, found: dict[type[Element], dict[str, Array]]) -> None:
        """pandapower's DC sources deliver to lines and converters; ours to loads at the bus too."""
        if e.SourceDC not in found or e.LoadDC not in found:
            return
        drawn = np.zeros(len(self.network.rows(e.DCBus)))
        at = self.network.rows(e.LoadDC).at["bus_dc"]
        np.add.at(drawn, at, np.nan_to_num(found[e.LoadDC]["p_dc_mw"]))
        here = drawn[self.network.rows(e.SourceDC).at["bus_dc"]]
        found[e.SourceDC]["p_dc_mw"] = found[e.SourceDC]["p_dc_mw"] + here

    def _follow_voltages(self, found: dict[type[Element], dict[str, Array]]) -> None:
        """What pandapower does not tell: voltages at PV systems, loads that we had to change."""
        buses = found[e.Bus]
        if e.PVSystem in found:
            at = self.network.rows(e.PVSystem).at["bus"]
            found[e.PVSystem] |= {name: buses[name][at] for name in ("vm_pu", "va_degree")}
        for kind in (e.SVC, e.SSC) if self.settings.linear else ():
            if kind in found:
                # Reactive power alone turns no angle.
                here = buses["va_degree"][self.network.rows(kind).at["bus"]]
                found[kind] |= {"va_degree": here, "va_internal_degree": here}
        if self.settings.linear:
            self._draw_at_1_pu(found)
        if len(self._followers.rows):
            power = self._followers.power_mva(buses["vm_pu"])
            for name, own in (("p_mw", power.real), ("q_mvar", power.imag)):
                found[e.Load][name] = found[e.Load][name].copy()
                found[e.Load][name][self._followers.rows] = own

    def _draw_at_1_pu(self, found: dict[type[Element], dict[str, Array]]) -> None:
        """Admittances draw what they do at 1 pu in the linear power flow, everywhere.

        pandapower solves it so, and then tells their power at the voltage that a source holds.
        """
        vm_pu = np.nan_to_num(found[e.Bus]["vm_pu"], nan=1.0)
        for kind in ADMITTANCES:
            if kind in found:
                rows = self.network.rows(kind)
                beyond = vm_pu[rows.at["bus"]] ** 2 - 1
                active = _active_at_1_pu(self.network, rows)
                found[kind]["p_mw"] = found[kind]["p_mw"] - beyond * active


#: Kinds that are admittances, or partly.
ADMITTANCES = (e.Shunt, e.ShuntReactor, e.Capacitor, e.Ward, e.ExtendedWard)


def _active_at_1_pu(network: Network, rows: Rows) -> Array:
    """Active power that the admittance of an element draws at 1 pu of its bus [MW]."""
    if rows.kind in (e.Ward, e.ExtendedWard):
        return rows.column("pz_mw")
    bus_kv = network.rows(e.Bus).column("vn_kv")[rows.at["bus"]]
    own_kv = rows.column("vn_kv")
    ratio = bus_kv / np.where(np.isnan(own_kv), bus_kv, own_kv)
    return np.asarray(rows.column("p_mw") * rows.column("step") * ratio**2)


def _slices(
    net: pandapowerNet, blocks: Sequence[Block]
) -> Iterator[tuple[Block, dict[str, Array]]]:
    """Each block with the result columns of its rows."""
    start: dict[str, int] = {}
    columns: dict[str, dict[str, Array]] = {}
    for block in blocks:
        if block.table not in columns:
            frame = net["res_" + block.table].sort_index()
            columns[block.table] = {
                name: values.to_numpy(dtype=float) for name, values in frame.items()
            }
        begin = start.get(block.table, 0)
        end = start[block.table] = begin + len(block.names)
        yield block, {name: values[begin:end] for name, values in columns[block.table].items()}


def _spread(values: Array, keep: Array) -> Array:
    """The values of the kept elements among all of a kind, NaN for the others."""
    spread = np.full(len(keep), np.nan)
    spread[keep] = values
    return spread


def _as_one(columns: Mapping[str, Array]) -> dict[str, Array]:
    """The results of stacked converters from those of their plus and minus halves."""
    plus = {name: values[0::2] for name, values in columns.items()}
    minus = {name: values[1::2] for name, values in columns.items()}
    one = {name: plus[name] + minus[name] for name in ("p_mw", "q_mvar")}
    for name in ("vm_internal_pu", "va_internal_degree", "vm_pu", "va_degree"):
        one[name] = (plus[name] + minus[name]) / 2
    for name in ("p_dc_mw", "vm_internal_dc_pu", "vm_dc_pu"):
        one[f"{name}_p"], one[f"{name}_m"] = plus[name], minus[name]
    return one


def _needs_ac(column: str) -> bool:
    """Whether a result column means nothing in the linearised power flow."""
    return column.startswith(("q_", "ql_", "vm_", "thyristor_", "x_"))


# -- calling pandapower ----------------------------------------------------------------------------

_Call = tuple[Callable[..., None], dict[str, Any]]


def _ac(settings: PowerFlow) -> _Call:
    return pp.runpp, {
        "algorithm": settings.algorithm or "nr",
        "calculate_voltage_angles": settings.calculate_voltage_angles,
        "init": settings.init,
        "max_iteration": settings.max_iteration or "auto",
        "tolerance_mva": settings.tolerance or 1e-8,
        "trafo_model": settings.trafo_model,
        "trafo_loading": settings.trafo_loading,
        "enforce_q_lims": settings.enforce_q_lims,
        "voltage_depend_loads": settings.voltage_depend_loads,
        "consider_line_temperature": settings.consider_line_temperature,
        "distributed_slack": settings.distributed_slack,
        # lightsim2grid wants every bus that shares the imbalance to be a reference.
        "lightsim2grid": False if settings.distributed_slack else "auto",
        # No JIT: compiling takes two seconds of the first request; lightsim2grid is faster anyway.
        "numba": False,
    }


def _dc(settings: PowerFlow) -> _Call:
    return pp.rundcpp, {
        "trafo_model": settings.trafo_model,
        "trafo_loading": settings.trafo_loading,
    }


_CALLS: Mapping[str, Callable[[PowerFlow], _Call]] = MappingProxyType({"ac": _ac, "dc": _dc})


def _solver(net: pandapowerNet, settings: PowerFlow) -> str:
    if settings.mode == "dc":
        return "linear DC power flow"
    algorithm = settings.algorithm or "nr"
    return f"{algorithm} (lightsim2grid)" if net["_options"].get("lightsim2grid") else algorithm


# -- what pandapower can represent -----------------------------------------------------------------

DERIVED = Support("derived")

SUPPORT: Mapping[type[Element], Support] = MappingProxyType(
    {
        **dict.fromkeys(KINDS, DERIVED),
        e.Load: Support("derived", "At a bus that also draws other power, beside a shunt."),
        e.PVSystem: Support("translated", "A static generator with the power its curves give."),
        e.B2BVSC: Support("translated", "Two converters, with half the impedances each."),
        e.BipolarVSC: Support(
            "unsupported", "pandapower has a table for it, and leaves it out of the power flow"
        ),
    }
)
