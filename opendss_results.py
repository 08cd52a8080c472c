"""From OpenDSS' answer to result columns: everything is read at once, the rest is arithmetic."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

import numpy as np

from electrisim import elements as e
from electrisim.elements import Element
from electrisim.network import Array, Rows, line_rating_ka
from electrisim.phasing import partial, present
from electrisim.results import COLUMNS, COLUMNS_3PH
from opendss_circuit import A, Circuit, Part
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
        return self.of(self._session.voltages())

    def of(self, volts: Array) -> Array:
        """The same of the engine's voltages [V], shape (…, its nodes): (…, nodes, 3)."""
        nowhere = np.full((*volts.shape[:-1], 1), np.nan)
        return np.asarray(np.concatenate([volts, nowhere], axis=-1)[..., self._order] / 1e3)


def positive_sequence(phases: Array) -> Array:
    """Of phases a, b, c in the last axis."""
    return np.asarray(phases @ np.array([1, A, A**2]) / 3)


class Flows:
    """What flows into a circuit's elements, phase by phase.

    mva    kind → shape (n, ports, 3); NaN without supply
    drawn  what elements with one port draw at each bus, shape (n_bus, 3)
    left   what all elements draw at each node, which ought to be nothing, shape (nodes, 3)
    """

    def __init__(self, circuit: Circuit, sources: Sources, session: Session) -> None:
        parts = [part for part in circuit.parts if part.kind is not None]
        held = sources.elements()
        powers = session.powers([*(name for part in parts for name in part.names), *held])
        self._circuit = circuit
        self.left = np.zeros((len(circuit.nodes), 3), dtype=complex)
        self.drawn = np.zeros((len(circuit.network.rows(e.Bus)), 3), dtype=complex)
        self.mva: dict[type[Element], Array] = {}
        for kind in circuit.network.kinds:
            alive = circuit.topology.alive(kind)
            flow = np.full((len(alive), len(kind.ports), 3), np.nan, dtype=complex)
            flow[alive] = 0
            self.mva[kind] = flow
        start = 0
        for part in parts:
            end = start + len(part.names)
            self._add(part, np.array(powers[start:end]) / 1e3)
            start = end
        stop = len(powers) - len(sources.singles.row)
        own = np.array([-power[:3] for power in powers[start:stop]]) / 1e3
        for claim, share in sources.shared(own[: len(sources.node)]):
            # Inside an extended ward a source holds the voltage; what counts is what enters it.
            if claim.kind is not e.ExtendedWard:
                self._take(claim.kind, claim.row, claim.port, -share)
        if sources.grids:
            self._take(e.ExternalGrid, sources.grids.row, 0, -own[len(sources.node) :])
        singles = sources.singles
        if len(singles.row):
            of_phases = np.zeros((len(singles.row), 3), dtype=complex)
            of_phases[np.arange(len(singles.row)), singles.phase] = [p[0] for p in powers[stop:]]
            self._take(e.ExternalGrid, singles.row, 0, of_phases / 1e3)

    def _add(self, part: Part, conductors: Array) -> None:
        """Powers of the conductors of the elements of a part, shape (n, conductors)."""
        if part.kind is None:
            return
        terminals = conductors.reshape(len(part.rows), len(part.ports), -1)
        for terminal, port in enumerate(part.ports):
            if port is None:
                continue
            power = np.zeros((len(part.rows), 3), dtype=complex)
            for conductor, number in enumerate(part.phases[terminal].split(".")):
                if number != "0":
                    power[:, int(number) - 1] = terminals[:, terminal, conductor]
            own = None
            if part.branch is not None:
                own = np.zeros_like(power)
                own[:, part.branch] = power.sum(axis=1)
            self._take(part.kind, part.rows, port, power, own)

    def _take(
        self,
        kind: type[Element],
        rows: Array,
        port: int,
        power: Array,
        own: Array | None = None,
    ) -> None:
        """Count power to its elements and to the phases of their buses.

        own  what the elements report instead: a delta its branches, not its conductors
        """
        self.mva[kind][rows, port] += power if own is None else own
        if kind in self._circuit.ports:
            node = self._circuit.ports[kind][rows, port]
        else:
            node = self._circuit.node[self._buses(kind, port)[rows]]
        np.add.at(self.left, node, power)
        if len(kind.ports) == 1:
            np.add.at(self.drawn, self._buses(kind, port)[rows], power)

    def _buses(self, kind: type[Element], port: int) -> Array:
        return self._circuit.network.rows(kind).at[kind.ports[port].bus]


class Balanced:
    """Result columns of a balanced study: all three phases together, the positive sequence.

    Of one solution, or of many: then arrays have an axis of cases before that of the elements.

    voltage_kv  of the nodes, line to line, shape (…, nodes)
    flows       kind → what flows into each port of its elements, shape (…, n, ports) [MVA]
    drawn       by what has one port, at each bus, shape (…, n_bus) [MVA]
    """

    def __init__(
        self,
        circuit: Circuit,
        voltage_kv: Array,
        flows: Mapping[type[Element], Array],
        drawn: Array,
    ) -> None:
        self.circuit = circuit
        self.network = circuit.network
        self.settings = circuit.settings
        self.flows = flows
        self.drawn = drawn
        nowhere = np.full((*voltage_kv.shape[:-1], 1), np.nan)
        self.voltage_kv = np.concatenate([voltage_kv, nowhere], axis=-1)
        self.vn_kv = circuit.vn_kv

    def tables(self) -> dict[type[Element], Columns]:
        tables: dict[type[Element], Columns] = {}
        for kind in self.network.kinds:
            if kind in COLUMNS:
                tables[kind] = self.table(kind)
        return tables

    def table(self, kind: type[Element]) -> Columns:
        """All columns of a kind."""
        if kind is e.Bus:
            return self._buses()
        rows = self.network.rows(kind)
        columns = self._powers(kind)
        columns.update(_MORE[kind](self, rows, columns) if kind in _MORE else {})
        return {name: columns[name] for name in COLUMNS[kind]}

    def _buses(self) -> Columns:
        supplied = self.circuit.topology.bus
        voltage = self._voltage("", np.where(supplied, self.circuit.node, -1))
        return {**voltage, "p_mw": self.drawn.real, "q_mvar": self.drawn.imag}

    def _powers(self, kind: type[Element]) -> Columns:
        columns: Columns = {}
        for number, port in enumerate(kind.ports):
            power = port.sign * self.flows[kind][..., number]
            columns[port.p] = power.real
            if port.q:
                columns[port.q] = power.imag
        return columns

    def _voltage(self, side: str, node: Array) -> Columns:
        """vm and va of a node each; `side` is a middle part of the columns' names."""
        volts = self.voltage_kv[..., node] / np.append(self.vn_kv, np.nan)[node]
        return {f"vm_{side}pu": np.abs(volts), f"va_{side}degree": np.rad2deg(np.angle(volts))}

    def at_bus(self, rows: Rows, columns: Columns) -> Columns:
        return self._voltage("", self._nodes(rows)[:, 0])

    def extended_ward(self, rows: Rows, columns: Columns) -> Columns:
        inside = self.circuit.inner.get(e.ExtendedWard, np.full(len(rows), -1))
        return {**self.at_bus(rows, columns), **self._voltage("internal_", inside)}

    def branch(self, rows: Rows, columns: Columns) -> Columns:
        """Losses, and voltage and current at every port."""
        flow, nodes = self.flows[rows.kind], self._nodes(rows)
        more = {"pl_mw": flow.sum(axis=-1).real, "ql_mvar": flow.sum(axis=-1).imag}
        for number, port in enumerate(rows.kind.ports):
            side = port.p.removeprefix("p_").removesuffix("mw")
            more.update(self._voltage(side, nodes[:, number]))
            kv = np.abs(self.voltage_kv[..., nodes[:, number]])
            more[f"i_{side}ka"] = np.abs(flow[..., number]) / (np.sqrt(3) * kv)
        return more

    def line(self, rows: Rows, columns: Columns) -> Columns:
        more = self.branch(rows, columns)
        i_ka = np.fmax(more["i_from_ka"], more["i_to_ka"])
        rated = line_rating_ka(rows)
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
            apparent = np.moveaxis(np.abs(self.flows[rows.kind]), -1, 0)
        else:
            apparent = np.stack(
                [more[f"i_{s}_ka"] * rows.column(f"vn_{s}_kv") * np.sqrt(3) for s in rated_mva]
            )
        shares = [part / mva for part, mva in zip(apparent, rated_mva.values(), strict=True)]
        return np.asarray(100 * np.max(shares, axis=0))

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


class Unbalanced:
    """Result columns of a study with three unequal phases."""

    def __init__(self, circuit: Circuit, phases_kv: Array, flows: Flows) -> None:
        self.circuit = circuit
        self.network = circuit.network
        self.settings = circuit.settings
        self.flows = flows
        self.phases_kv = np.vstack([phases_kv, np.full((1, 3), np.nan)])
        self.vn_kv = np.append(circuit.vn_kv, np.nan)

    def tables(self) -> dict[type[Element], Columns]:
        return {
            kind: {name: columns[name] for name in COLUMNS_3PH.get(kind, ())}
            for kind in self.network.kinds
            for columns in [self._columns(kind)]
        }

    def _columns(self, kind: type[Element]) -> Columns:
        if kind is e.Bus:
            return self._buses()
        if kind is e.Switch:
            return {}
        rows, columns = self.network.rows(kind), {}
        for number, port in enumerate(kind.ports):
            power = port.sign * self.flows.mva[kind][:, number]
            of_phases = _where(present(rows, number), power)
            columns.update(_by_phase(port.p, of_phases.real))
            columns.update(_by_phase(port.q or "", of_phases.imag))
            columns[port.p] = power.sum(axis=1).real
            columns[port.q or ""] = power.sum(axis=1).imag
        if len(kind.ports) == 2:
            columns.update(self._branch(rows))
        elif kind is e.Generator:
            columns.update(
                self._voltages(self.circuit.node[rows.at["bus"]], self.circuit.topology.alive(kind))
            )
        return columns

    def _voltages(self, node: Array, alive: Array) -> Columns:
        volts = self.phases_kv[np.where(alive, node, -1)]
        volts = volts * np.sqrt(3) / self.vn_kv[node][:, None]
        return {
            **_by_phase("vm_pu", np.abs(volts)),
            **_by_phase("va_degree", np.rad2deg(np.angle(volts))),
        }

    def _buses(self) -> Columns:
        node, supplied = self.circuit.node, self.circuit.topology.bus
        volts = self.phases_kv[np.where(supplied, node, -1)] * np.sqrt(3)
        positive, negative = positive_sequence(volts), positive_sequence(volts[:, [0, 2, 1]])
        drawn = _where(self.circuit.topology.phases, self.flows.drawn)
        return {
            **self._voltages(node, supplied),
            "vm_pu": np.abs(positive) / self.vn_kv[node],
            "va_degree": np.rad2deg(np.angle(positive)),
            **_by_phase("p_mw", drawn.real),
            **_by_phase("q_mvar", drawn.imag),
            "unbalance_percent": 100 * np.abs(negative / positive),
        }

    def _branch(self, rows: Rows) -> Columns:
        """Losses, currents and loading, phase by phase."""
        flow = self.flows.mva[rows.kind]
        nodes = self.circuit.ports.get(rows.kind, np.full((len(rows), 2), -1))
        has = np.stack([present(rows, number) for number in range(2)], axis=1)
        ka = _where(has, np.conj(flow / self.phases_kv[nodes]))
        loss = _where(has.any(axis=1), flow.sum(axis=1))
        columns = {**_by_phase("pl_mw", loss.real), **_by_phase("ql_mvar", loss.imag)}
        for number, port in enumerate(rows.kind.ports):
            side = port.p.removeprefix("p_").removesuffix("_mw")
            columns.update(_by_phase(f"i_{side}_ka", np.abs(ka[:, number])))
        if rows.kind is e.Line:
            highest = np.abs(ka).max(axis=1)
            neutral = np.abs(np.nansum(ka, axis=2))
            rated = line_rating_ka(rows)
            loading = 100 * highest / rated[:, None]
            columns.update(_by_phase("i_ka", highest))
            columns.update(
                i_n_from_ka=neutral[:, 0], i_n_to_ka=neutral[:, 1], i_n_ka=neutral.max(axis=1)
            )
        else:
            loading = self._transformer_loading(rows, ka, flow)
        columns.update(_by_phase("loading_percent", loading))
        columns["loading_percent"] = np.fmax.reduce(loading, axis=1)
        return columns

    def _transformer_loading(self, rows: Rows, ka: Array, flow: Array) -> Array:
        """The higher of both windings' loadings in each phase, by current or by power [%].

        Of a single-phase unit all of its rating is in its one winding, whose voltage is rated.
        """
        single = partial(rows)[:, None, None]
        if self.settings.trafo_loading == "power":
            apparent = np.where(single, np.abs(flow.sum(axis=2, keepdims=True)), 3 * np.abs(flow))
            apparent = _where(~np.isnan(ka), apparent)
        else:
            rated = np.stack([rows.column("vn_hv_kv"), rows.column("vn_lv_kv")], axis=1)
            apparent = np.where(single, 1, np.sqrt(3)) * np.abs(ka) * rated[:, :, None]
        units = rows.column("sn_mva") * rows.column("parallel") * rows.column("df")
        return np.asarray(100 * np.fmax.reduce(apparent, axis=1) / units[:, None])


def _where(has: Array, values: Array) -> Array:
    """The values of phases that there are, NaN in both parts for others."""
    return np.where(has, values, complex(np.nan, np.nan) if np.iscomplexobj(values) else np.nan)


def _by_phase(name: str, values: Array) -> Columns:
    """p_from_mw → p_a_from_mw, p_b_from_mw, p_c_from_mw."""
    return {name.replace("_", f"_{a}_", 1): values[:, k] for k, a in enumerate("abc")}
