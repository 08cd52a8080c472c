"""From OpenDSS' answer to result columns: everything is read at once, the rest is arithmetic."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

import numpy as np

from electrisim import elements as e
from electrisim.balance import drawn_mva
from electrisim.elements import Element
from electrisim.network import Array, Rows
from electrisim.results import COLUMNS
from opendss_circuit import A, Circuit
from opendss_session import Session
from opendss_sources import Sources

Columns = dict[str, Array]


class NodeVoltages:
    """Voltages of a circuit's nodes, phase by phase.

    The engine numbers nodes in its own order, and anew whenever an element comes or goes.
    """

    def __init__(self, circuit: Circuit, session: Session) -> None:
        self._session = session
        row = {name: number for number, name in enumerate(circuit.nodes)}
        self._order = np.full((len(circuit.nodes), 3), -1)
        for position, name in enumerate(session.node_names()):
            node, _, phase = name.partition(".")
            if phase in ("1", "2", "3"):
                self._order[row[node], int(phase) - 1] = position

    def phases_kv(self) -> Array:
        """To earth, shape (nodes, 3) [kV]; NaN where there is no such node."""
        volts = np.append(self._session.voltages(), np.nan)
        return np.asarray(volts[self._order] / 1e3)


def positive_sequence(phases: Array) -> Array:
    """Of phases a, b, c in the last axis."""
    return np.asarray(phases @ np.array([1, A, A**2]) / 3)


class Flows:
    """What flows into the ports of a circuit's elements.

    mva  kind → shape (n, ports); NaN without supply
    """

    def __init__(self, circuit: Circuit, sources: Sources, session: Session) -> None:
        parts = [part for part in circuit.parts if part.kind is not None]
        held = sources.elements()
        names = [name for part in parts for name in part.names]
        powers = session.powers([*names, *held])
        self.mva: dict[type[Element], Array] = {}
        for kind in circuit.network.kinds:
            alive = circuit.topology.alive(kind)
            flow = np.full((len(alive), len(kind.ports)), np.nan, dtype=complex)
            flow[alive] = 0
            self.mva[kind] = flow
        start = 0
        for part in parts:
            end = start + len(part.names)
            self._add(part.kind, part.rows, part.ports, np.array(powers[start:end]) / 1e3)
            start = end
        own = np.array([-power[:3].sum() for power in powers[start:]]) / 1e3
        for claim, share in sources.shared(own):
            # Inside an extended ward a source holds the voltage; what counts is what enters it.
            if claim.kind is not e.ExtendedWard:
                self.mva[claim.kind][claim.row, claim.port] -= share
        if sources.grids:
            self.mva[e.ExternalGrid][sources.grids.row, 0] -= own[len(sources.node) :]

    def _add(
        self,
        kind: type[Element] | None,
        rows: Array,
        ports: tuple[int | None, ...],
        conductors: Array,
    ) -> None:
        if kind is None:
            return
        terminals = conductors.reshape(len(rows), len(ports), -1).sum(axis=2)
        for terminal, port in enumerate(ports):
            if port is not None:
                self.mva[kind][rows, port] += terminals[:, terminal]


class Balanced:
    """Result columns of a balanced study: all three phases together, the positive sequence.

    Bus powers are left out; they are the sum over what stands at the bus.
    """

    def __init__(self, circuit: Circuit, voltage_kv: Array, flows: Flows) -> None:
        self.circuit = circuit
        self.network = circuit.network
        self.settings = circuit.settings
        self.flows = flows.mva
        self.voltage_kv = np.append(voltage_kv, np.nan)
        self.vn_kv = circuit.vn_kv

    def tables(self) -> dict[type[Element], Columns]:
        tables: dict[type[Element], Columns] = {}
        for kind in self.network.kinds:
            if kind is e.Bus:
                tables[kind] = self._buses()
            elif kind in COLUMNS:
                rows = self.network.rows(kind)
                columns = self._powers(kind)
                columns.update(_MORE[kind](self, rows, columns) if kind in _MORE else {})
                tables[kind] = {name: columns[name] for name in COLUMNS[kind]}
        one_port = [kind for kind in tables if len(kind.ports) == 1]
        drawn, _ = drawn_mva(self.network, self.circuit.topology, tables, one_port)
        tables[e.Bus].update(p_mw=drawn.real, q_mvar=drawn.imag)
        return tables

    def _buses(self) -> Columns:
        supplied = self.circuit.topology.bus
        return self._voltage("", np.where(supplied, self.circuit.node, -1))

    def _powers(self, kind: type[Element]) -> Columns:
        columns: Columns = {}
        for number, port in enumerate(kind.ports):
            power = port.sign * self.flows[kind][:, number]
            columns[port.p] = power.real
            if port.q:
                columns[port.q] = power.imag
        return columns

    def _voltage(self, side: str, node: Array) -> Columns:
        """vm and va of a node each; `side` is a middle part of the columns' names."""
        volts = self.voltage_kv[node] / np.append(self.vn_kv, np.nan)[node]
        return {f"vm_{side}pu": np.abs(volts), f"va_{side}degree": np.rad2deg(np.angle(volts))}

    def at_bus(self, rows: Rows, columns: Columns) -> Columns:
        return self._voltage("", self._nodes(rows)[:, 0])

    def extended_ward(self, rows: Rows, columns: Columns) -> Columns:
        inside = self.circuit.inner.get(e.ExtendedWard, np.full(len(rows), -1))
        return {**self.at_bus(rows, columns), **self._voltage("internal_", inside)}

    def branch(self, rows: Rows, columns: Columns) -> Columns:
        """Losses, and voltage and current at every port."""
        flow, nodes = self.flows[rows.kind], self._nodes(rows)
        more = {"pl_mw": flow.sum(axis=1).real, "ql_mvar": flow.sum(axis=1).imag}
        for number, port in enumerate(rows.kind.ports):
            side = port.p.removeprefix("p_").removesuffix("mw")
            more.update(self._voltage(side, nodes[:, number]))
            kv = np.abs(self.voltage_kv[nodes[:, number]])
            more[f"i_{side}ka"] = np.abs(flow[:, number]) / (np.sqrt(3) * kv)
        return more

    def line(self, rows: Rows, columns: Columns) -> Columns:
        more = self.branch(rows, columns)
        i_ka = np.fmax(more["i_from_ka"], more["i_to_ka"])
        rated = rows.column("max_i_ka") * rows.column("df") * rows.column("parallel")
        return {**more, "i_ka": i_ka, "loading_percent": 100 * i_ka / rated}

    def switch(self, rows: Rows, columns: Columns) -> Columns:
        """Of those with an impedance; the flows of the others are Kirchhoff's to tell."""
        acts = self._nodes(rows)[:, 0] >= 0
        more = self.branch(rows, columns)
        i_ka = np.fmax(more["i_from_ka"], more["i_to_ka"])
        found = {**columns, "i_ka": i_ka, "loading_percent": 100 * i_ka / rows.column("in_ka")}
        return {name: np.where(acts, values, np.nan) for name, values in found.items()}

    def transformer(self, rows: Rows, columns: Columns) -> Columns:
        more = self.branch(rows, columns)
        sn = rows.column("sn_mva")
        loading = self._loading(rows, more, {"hv": sn, "lv": sn})
        more["loading_percent"] = loading / rows.column("parallel") / rows.column("df")
        return more

    def transformer3w(self, rows: Rows, columns: Columns) -> Columns:
        more = self.branch(rows, columns)
        star = self.circuit.inner.get(rows.kind, np.full(len(rows), -1))
        rated = {side: rows.column(f"sn_{side}_mva") for side in ("hv", "mv", "lv")}
        loading = {"loading_percent": self._loading(rows, more, rated)}
        return {**more, **self._voltage("internal_", star), **loading}

    def _loading(self, rows: Rows, more: Columns, rated_mva: Mapping[str, Array]) -> Array:
        """The highest loading of the windings, by current or by power [%]."""
        if self.settings.trafo_loading == "power":
            apparent = np.abs(self.flows[rows.kind]).T
        else:
            apparent = np.stack(
                [more[f"i_{s}_ka"] * rows.column(f"vn_{s}_kv") * np.sqrt(3) for s in rated_mva]
            )
        return np.asarray(100 * np.max(apparent / np.stack(list(rated_mva.values())), axis=0))

    def _nodes(self, rows: Rows) -> Array:
        """The node of each port, -1 without supply, shape (n, ports)."""
        found = self.circuit.ports.get(rows.kind)
        if found is None and rows.kind is e.Switch:
            return np.full((len(rows), 2), -1)
        if found is None:
            buses = [rows.at[port.bus] for port in rows.kind.ports]
            nodes = self.circuit.node[np.stack(buses, axis=1)]
            found = np.where(self.circuit.topology.alive(rows.kind)[:, None], nodes, -1)
        return found


_MORE: Mapping[type[Element], Callable[[Balanced, Rows, Columns], Columns]] = MappingProxyType(
    {
        e.Generator: Balanced.at_bus,
        e.PVSystem: Balanced.at_bus,
        e.Shunt: Balanced.at_bus,
        e.ShuntReactor: Balanced.at_bus,
        e.Capacitor: Balanced.at_bus,
        e.Ward: Balanced.at_bus,
        e.ExtendedWard: Balanced.extended_ward,
        e.Line: Balanced.line,
        e.Transformer: Balanced.transformer,
        e.ThreeWindingTransformer: Balanced.transformer3w,
        e.Impedance: Balanced.branch,
        e.Switch: Balanced.switch,
        e.DCLine: Balanced.branch,
    }
)
