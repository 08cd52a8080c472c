"""From solved faults to what is told of them: the currents at buses, in branches, out of sources.

Of several faults, branches and sources tell the largest current (case max) or the smallest that is
not nothing (case min), as pandapower does. In unbalanced faults it is that of the phase that has
the largest, with the vector groups of the transformers in between.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

from electrisim import elements as e
from electrisim import iec60909 as iec
from electrisim.elements import Element
from electrisim.network import Array, Network, Rows, shift_degree, shifts3w_degree
from electrisim.sources import Case, Source, Unit
from electrisim.studies.shortcircuit import (
    COLUMNS,
    Fault,
    Faulted,
    Partial,
    ShortCircuit,
    SourceCurrent,
)
from electrisim.topology import Topology
from pandapower_shortcircuit_arrays import Arrays, Faults, unit_transformers

#: What a fault's positive-sequence current is in the phase, or phases, that have it.
OF_FAULT: Mapping[str, complex] = MappingProxyType({"3ph": 1, "2ph": -1j * np.sqrt(3), "1ph": 3})
#: A current below this is none [pu of 1 MVA].
NO_CURRENT = 1e-10


class End(NamedTuple):
    """The ends of one side of all branches of a kind.

    branch, branch0  their branches in the arrays of either sequence; -1 where out
    at_from          whether it is the from end of those branches
    column           of its initial current
    """

    kind: type[Element]
    side: str
    branch: Array
    branch0: Array | None
    at_from: bool

    @property
    def column(self) -> str:
        return f"ikss_{self.side}_ka"


#: kind → its table, and per side: which of its branches in the arrays, and at which of its ends.
_SIDES: Mapping[type[Element], tuple[str, Mapping[str, tuple[int, bool]]]] = MappingProxyType({
    e.Line: ("line", {"from": (0, True), "to": (0, False)}),
    e.Transformer: ("trafo", {"hv": (0, True), "lv": (0, False)}),
    e.ThreeWindingTransformer: (
        "trafo3w", {"hv": (0, True), "mv": (1, False), "lv": (2, False)},
    ),
    e.Impedance: ("impedance", {"from": (0, True), "to": (0, False)}),
})  # fmt: skip


class Telling:
    """Collects what solved faults tell, chunk by chunk."""

    def __init__(
        self, network: Network, topology: Topology, settings: ShortCircuit, arrays: Arrays,
        zero: Arrays | None, sources: Sequence[Source], units: Sequence[Unit],
        nodes: Sequence[Array], buses: Array,
    ) -> None:  # fmt: skip
        self.network, self.topology, self.settings = network, topology, settings
        self.arrays, self.zero, self.sources, self.units = arrays, zero, sources, units
        self.nodes, self.buses = nodes, buses
        self.count = len(arrays.bus)
        self.ends = list(self._ends())
        self.zone = self._zones() if settings.fault != "3ph" else np.zeros(self.count)
        self.bus_columns = {
            name: np.full(self.count, np.nan) for name in (*COLUMNS[e.Bus], "kappa", "m", "c")
        }
        self.mismatch_ka = np.full(self.count, np.nan)
        self.extremes: dict[tuple[Any, str, str], Array] = {}
        self.details: dict[int, Fault] = {}

    def _ends(self) -> Iterator[End]:
        for kind, (table, sides) in _SIDES.items():
            if not len(self.network.rows(kind)):
                continue
            branches = self.arrays.branches_of(table)
            branches0 = None if self.zero is None else self.zero.branches_of(table)
            for side, (part, at_from) in sides.items():
                own0 = None if branches0 is None else branches0[part]
                yield End(kind, side, branches[part], own0, at_from)

    def _zones(self) -> Array:
        """The angle by which transformers turn each node, from where the search begins [rad]."""
        turned = np.zeros(len(self.arrays.f))
        trafos, trafos3w = (
            self.network.rows(k) for k in (e.Transformer, e.ThreeWindingTransformer)
        )
        if len(trafos):
            own = self.arrays.branches_of("trafo")[0]
            turned[own[own >= 0]] = shift_degree(trafos)[own >= 0]
        if len(trafos3w):
            of_sides = self.arrays.branches_of("trafo3w")[1:]
            for own, shift in zip(of_sides, shifts3w_degree(trafos3w), strict=True):
                turned[own[own >= 0]] = shift[own >= 0]
        at: list[list[tuple[int, float]]] = [[] for _ in range(self.count)]
        for f, t, degree in zip(self.arrays.f, self.arrays.t, turned, strict=True):
            at[f].append((int(t), -degree))
            at[t].append((int(f), degree))
        return _spread_angles(at)

    # -- faults ------------------------------------------------------------------------------------

    def add(self, faults: Faults) -> None:
        self._at_buses(faults)
        self._missed(faults)
        for end in self.ends:
            self._keep_end(end, faults)
        for number, (source, node) in enumerate(zip(self.sources, self.nodes, strict=True)):
            self._keep_source(number, source, node, faults)
        if self.settings.bus is not None:
            for k in range(len(faults.at)):
                self._detail(faults, k)

    def _at_buses(self, faults: Faults) -> None:
        """What holds at the faulted nodes."""
        at, ka = faults.at, self.arrays.ka[faults.at]
        driven_ka = np.abs(OF_FAULT[self.settings.fault] * faults.i) * ka
        added_ka = np.abs(faults.i_cv) * ka
        ikss_ka = driven_ka + added_ka
        m = iec.m(faults.kappa, self.network.frequency_hz, self.settings.tk_s)
        ohm = self.arrays.base_kv[at] ** 2 / self.arrays.base_mva
        power = {"3ph": np.sqrt(3), "2ph": 1 / np.sqrt(3), "1ph": np.nan}[self.settings.fault]
        known0 = np.where(np.isfinite(faults.z0), faults.z0, complex(np.nan, np.nan))
        found = {
            "ikss_ka": ikss_ka,
            "ip_ka": np.sqrt(2) * (self._kappa_of_all(faults) * driven_ka + added_ka),
            "ith_ka": ikss_ka * np.sqrt(m + 1),
            "ib_ka": self._breaking(faults) * ka + added_ka
            if self.settings.fault == "3ph" else ikss_ka,
            "skss_mw": power * ikss_ka * self.arrays.base_kv[at],
            "rk_ohm": faults.z.real * ohm, "xk_ohm": faults.z.imag * ohm,
            "rk0_ohm": known0.real * ohm, "xk0_ohm": known0.imag * ohm,
            "kappa": faults.kappa, "m": m, "c": faults.c,
        }  # fmt: skip
        for name, values in found.items():
            self.bus_columns[name][at] = values

    def _kappa_of_all(self, faults: Faults) -> Array:
        """κ of the fault, and the maker's for the share that doubly fed machines bring."""
        kappa = faults.kappa.copy()
        for source, node, y in zip(self.sources, self.nodes, faults.y_sources, strict=True):
            own = ~np.isnan(source.kappa)
            if own.any():
                safe = np.where(faults.i == 0, 1, faults.i)
                share = (-y[own, None] * faults.v[node[own]] / safe).real
                kappa += ((source.kappa[own, None] - faults.kappa) * share).sum(axis=0)
        return kappa

    def _breaking(self, faults: Faults) -> Array:
        """I_b of the driven current: what machines near the fault lose by t_min_s, per unit.

        Meshed networks: I″k − Σ ΔU″/(c·Un/√3)·(1 − μ·q)·I″, with the drop ΔU″ over the machine's
        own reactance.
        """
        lost, near = np.zeros(len(faults.at), dtype=complex), np.zeros(len(faults.at))
        for source, node, y in zip(self.sources, self.nodes, faults.y_sources, strict=True):
            if not source.decrement:
                continue
            own, kept, ratio = self._machine(source, node, y, faults)
            drop = 1j * (1 / y).imag[:, None] * own / (faults.c * faults.scale)
            lost += (drop * (1 - kept) * own).sum(axis=0)
            near += np.where(ratio > iec.NEAR, np.abs(own), 0).sum(axis=0)
        counts = near > iec.NEGLIGIBLE * np.abs(faults.i)
        return np.abs(faults.i - np.where(counts, lost, 0))

    def _machine(
        self, source: Source, node: Array, y: Array, faults: Faults
    ) -> tuple[Array, Array, Array]:
        """A group of machines: current [pu], the share kept at t_min_s, I″/I_r; shape (m, K)."""
        own = -y[:, None] * faults.v[node]
        ratio = np.abs(own) * self.arrays.ka[node, None] / source.rated_ka[:, None]
        mu, q = self._decrement(source, ratio)
        return own, mu * q, ratio

    def _decrement(self, source: Source, ratio: Array) -> tuple[Array, Array]:
        t_min_s = self.settings.tk_s if self.settings.t_min_s is None else self.settings.t_min_s
        mu = iec.mu(ratio, t_min_s)
        if source.decrement != "mu q":
            return mu, np.ones_like(mu)
        q = iec.q(source.power_mw, t_min_s)[:, None]
        return mu, np.where(ratio > iec.NEAR, q, 1.0)

    def _missed(self, faults: Faults) -> None:
        """What Kirchhoff's law leaves: the largest of all nodes, as a current at the fault."""
        at, here = faults.at, np.arange(len(faults.at))
        left = faults.system.y @ (faults.v + faults.v_cv)
        left[at, here] += faults.i + faults.i_cv
        left -= faults.injected[:, None]
        worst = np.abs(left).max(axis=0)
        if faults.zero_system is not None:
            left = faults.zero_system.y @ faults.v_zero
            left[at, here] += faults.i_zero
            worst = np.maximum(worst, np.abs(left).max(axis=0))
        self.mismatch_ka[at] = worst * self.arrays.ka[at]

    # -- branches and sources ----------------------------------------------------------------------

    def _keep_end(self, end: End, faults: Faults) -> None:
        into, added, zero, node = self._flows(end, faults)
        ka = self.arrays.ka[node][:, None]
        turned = self.zone[node][:, None] - self.zone[faults.at]
        ikss_ka = self._largest_phase(into + added, zero, turned) * ka
        self._keep((end.kind, end.side), "ikss", ikss_ka, end.branch >= 0)
        if end.kind is e.Line:
            m = self.bus_columns["m"][faults.at]
            peak = self._largest_phase(faults.kappa * into + added, faults.kappa * zero, turned)
            self._keep((end.kind, end.side), "ip", np.sqrt(2) * peak * ka, end.branch >= 0)
            self._keep((end.kind, end.side), "ith", ikss_ka * np.sqrt(m + 1), end.branch >= 0)

    def _flows(self, end: End, faults: Faults) -> tuple[Array, Array, Array, Array]:
        """Into the ends: the driven current, the converters', the zero sequence; and the nodes."""
        y = faults.system.y_from if end.at_from else faults.system.y_to
        rows = y[end.branch]
        into, added = rows @ faults.v, rows @ faults.v_cv
        zero = np.zeros_like(into)
        if faults.zero_system is not None and end.branch0 is not None:
            y0 = faults.zero_system.y_from if end.at_from else faults.zero_system.y_to
            zero = y0[end.branch0] @ faults.v_zero
        node = (self.arrays.f if end.at_from else self.arrays.t)[end.branch]
        return into, added, zero, node

    def _largest_phase(self, positive: Array, zero: Array, turned: Array) -> Array:
        """The current of the phase that has the largest, of sequences turned by vector groups."""
        if self.settings.fault == "3ph":
            return np.abs(positive)
        phases = turned + np.radians([0, -120, 120])[:, None, None]
        forth, back = np.exp(1j * phases), np.exp(-1j * phases)
        sign = -1 if self.settings.fault == "2ph" else 1
        return np.abs(positive * (forth + sign * back) + zero).max(axis=0)

    def _keep_source(self, number: int, source: Source, node: Array, faults: Faults) -> None:
        ikss_ka = self._out_of(source, node, faults.y_sources[number], faults)
        self._keep(number, "ikss", ikss_ka, np.ones(len(node), dtype=bool))

    def _out_of(self, source: Source, node: Array, y: Array, faults: Faults) -> Array:
        """What flows out of sources at their own terminals [kA], shape (m, K)."""
        ka = self.arrays.ka[node][:, None]
        own = -y[:, None] * (faults.v + faults.v_cv)[node]
        zero = np.zeros_like(own)
        if self.zero is not None:
            ends = np.isfinite(source.z0_ohm)
            y0 = np.where(ends, self.zero.pu(node, np.where(ends, source.z0_ohm, 1)), 0)
            zero = -y0[:, None] * faults.v_zero[node]
        turned = self.zone[node][:, None] - self.zone[faults.at]
        machines = self._largest_phase(own, zero, turned) * ka
        return np.where(source.current_ka[:, None] > 0, source.current_ka[:, None], machines)

    def _keep(self, owner: Any, what: str, values: Array, known: Array) -> None:
        """The extreme over all faults so far; NaN where there was no current yet."""
        values = np.where((values >= NO_CURRENT) & known[:, None], values, np.nan)
        smallest = self.settings.case == "min"
        reduce = np.fmin.reduce if smallest else np.fmax.reduce
        own = reduce(values, axis=1)
        before = self.extremes.get((owner, what))
        if before is not None:
            own = np.fmin(before, own) if smallest else np.fmax(before, own)
        self.extremes[owner, what] = own

    # -- the faults at named buses -----------------------------------------------------------------

    def _detail(self, faults: Faults, k: int) -> None:
        node = int(faults.at[k])
        rows = self.network.rows(e.Bus)
        told = [*self._partials_of_branches(faults, k), *self._partials_of_sources(faults, k)]
        for row in self.buses[self.arrays.of_bus[self.buses] == node].tolist():
            self.details[row] = Fault(
                bus=rows.ids[row], name=rows.names[row], c=float(faults.c[k]),
                kappa=float(faults.kappa[k]), m=float(self.bus_columns["m"][node]),
                ikss_ka=float(self.bus_columns["ikss_ka"][node]),
                contributions=told, sources=list(self._sources_of(faults, k)),
            )  # fmt: skip

    def _partials_of_branches(self, faults: Faults, k: int) -> Iterator[Partial]:
        at = int(faults.at[k])
        for end in self.ends:
            nodes = (self.arrays.f if end.at_from else self.arrays.t)[end.branch]
            here = np.flatnonzero((nodes == at) & (end.branch >= 0))
            if not len(here):
                continue
            one = end._replace(
                branch=end.branch[here],
                branch0=None if end.branch0 is None else end.branch0[here],
            )
            into, added, zero, _ = self._flows(one, faults)
            for row, *parts in zip(here, into[:, k], added[:, k], zero[:, k], strict=True):
                yield self._partial(self.network.rows(end.kind), int(row), end.side, at, *parts)

    def _partials_of_sources(self, faults: Faults, k: int) -> Iterator[Partial]:
        at = int(faults.at[k])
        for source, node, y in zip(self.sources, self.nodes, faults.y_sources, strict=True):
            rows = self.network.rows(source.kind)
            for i in np.flatnonzero(node == at).tolist():
                into, added = y[i] * faults.v[at, k], y[i] * faults.v_cv[at, k]
                added -= faults.injected[at] * self._share(source, i, at)
                zero = 0j
                if self.zero is not None and np.isfinite(source.z0_ohm[i]):
                    own = self.zero.pu(np.array([at]), source.z0_ohm[i : i + 1])[0]
                    zero = own * faults.v_zero[at, k]
                yield self._partial(rows, int(source.row[i]), None, at, into, added, zero)

    def _share(self, source: Source, i: int, at: int) -> float:
        """Which share of the converters' current at a node is this one's."""
        if not source.current_ka[i]:
            return 0.0
        there = sum(
            other.current_ka[node == at].sum()
            for other, node in zip(self.sources, self.nodes, strict=True)
        )
        return float(source.current_ka[i] / there)

    def _partial(
        self, rows: Rows, row: int, side: str | None, at: int, into: complex, added: complex,
        zero: complex,
    ) -> Partial:  # fmt: skip
        """What flows into an element at the fault, told as what it brings there."""
        turn = {"3ph": 1, "2ph": -1j, "1ph": 1}[self.settings.fault]
        of_phase = {"3ph": 1, "2ph": np.sqrt(3), "1ph": 2}[self.settings.fault]
        brought = -turn * (of_phase * into + added) - zero
        return Partial(
            element=rows.ids[row], name=rows.names[row], typ=rows.kind.typ, side=side,
            ikss_ka=float(abs(brought) * self.arrays.ka[at]),
            ikss_degree=float(np.degrees(np.angle(brought))),
        )  # fmt: skip

    def _sources_of(self, faults: Faults, k: int) -> Iterator[SourceCurrent]:
        for source, node, y in zip(self.sources, self.nodes, faults.y_sources, strict=True):
            rows = self.network.rows(source.kind)
            out_ka = self._out_of(source, node, y, faults)[:, k]
            mu = q = np.full(len(node), np.nan)
            if source.decrement and self.settings.fault == "3ph":
                ratio = self._machine(source, node, y, faults)[2][:, k : k + 1]
                mu, q = (part[:, 0] for part in self._decrement(source, ratio))
            for i, row in enumerate(source.row.tolist()):
                yield SourceCurrent(
                    element=rows.ids[row], name=rows.names[row], typ=rows.kind.typ,
                    ikss_ka=float(out_ka[i]),
                    mu=None if np.isnan(mu[i]) else float(mu[i]),
                    q=float(q[i]) if source.decrement == "mu q" and not np.isnan(q[i]) else None,
                )  # fmt: skip

    # -- what is told ------------------------------------------------------------------------------

    def told(self) -> Faulted:
        tables: dict[type[Element], dict[str, Array]] = {}
        buses = self.network.rows(e.Bus)
        asked = np.zeros(len(buses), dtype=bool)
        asked[self.buses] = True
        node = self.arrays.of_bus
        of_bus = {
            name: np.where(asked, values[node], np.nan) for name, values in self.bus_columns.items()
        }
        tables[e.Bus] = {name: of_bus[name] for name in COLUMNS[e.Bus]}
        for end in self.ends:
            tables.setdefault(end.kind, {})[end.column] = self.extremes[
                (end.kind, end.side), "ikss"
            ]
        if e.Line in tables:
            tables[e.Line] = {**self._of_lines(), **tables[e.Line]}
        for number, source in enumerate(self.sources):
            column = tables.setdefault(
                source.kind, {"ikss_ka": np.full(len(self.network.rows(source.kind)), np.nan)}
            )["ikss_ka"]
            column[source.row] = self.extremes[number, "ikss"]
        for kind in self.network.kinds:
            nothing = np.full(len(self.network.rows(kind)), np.nan)
            if kind in COLUMNS:
                own = tables.get(kind, {})
                tables[kind] = {name: own.get(name, nothing) for name in COLUMNS[kind]}
        return Faulted(
            tables=tables,
            faults=[self.details[row] for row in self.buses.tolist() if row in self.details],
            factors=self._factors(of_bus),
            mismatch_ka=np.where(asked, self.mismatch_ka[node], np.nan),
            solver="IEC 60909-0:2016, equivalent voltage source",
        )

    def _of_lines(self) -> dict[str, Array]:
        """The larger of a line's ends, of all faults; the smaller in case min."""
        pick = np.fmin if self.settings.case == "min" else np.fmax
        ends = [(e.Line, side) for side in ("from", "to")]
        return {
            f"{what}_ka": pick(*(self.extremes[end, what] for end in ends))
            for what in ("ikss", "ip", "ith")
        }

    def _factors(self, of_bus: Mapping[str, Array]) -> dict[str, dict[str, float]]:
        found: dict[str, dict[str, float]] = {}
        buses = self.network.rows(e.Bus)
        for row in self.buses.tolist():
            found[buses.ids[row]] = {name: float(of_bus[name][row]) for name in ("c", "kappa", "m")}
        for source in self.sources:
            rows = self.network.rows(source.kind)
            for name, values in source.factors.items():
                for row, value in zip(source.row.tolist(), values.tolist(), strict=True):
                    if not np.isnan(value):
                        found.setdefault(rows.ids[row], {})[name] = value
        return found | dict(self._transformer_factors())

    def _transformer_factors(self) -> Iterator[tuple[str, dict[str, float]]]:
        """K_T, which pandapower's arrays have applied, and K_S or K_SO of power-station units."""
        case = Case(self.settings.case, self.settings.lv_tol_percent)
        rows = self.network.rows(e.Transformer)
        vn_kv = self.network.rows(e.Bus).column("vn_kv")
        k_of_unit = {unit.transformer: unit.k_s for unit in self.units}
        in_unit = unit_transformers(self.network) if len(rows) else np.zeros(0, dtype=bool)
        alive = self.topology.alive(e.Transformer)
        for row in np.flatnonzero(alive).tolist():
            if row in k_of_unit:
                name = "k_s" if rows.elements[row].oltc else "k_so"
                yield rows.ids[row], {name: k_of_unit[row]}
            elif case.case == "max" and not in_unit[row]:
                trafo = rows.elements[row]
                x_pu = np.sqrt(trafo.vk_percent**2 - trafo.vkr_percent**2) / 100
                c = case.c_max(vn_kv[rows.at["lv_bus"][row]])
                yield rows.ids[row], {"k_t": float(iec.k_t(x_pu, c))}
        if case.case == "max":
            yield from self._three_winding_factors()

    def _three_winding_factors(self) -> Iterator[tuple[str, dict[str, float]]]:
        rows = self.network.rows(e.ThreeWindingTransformer)
        for row in np.flatnonzero(self.topology.alive(e.ThreeWindingTransformer)).tolist():
            trafo = rows.elements[row]
            pairs = {"hv": ("hv", "mv"), "mv": ("mv", "lv"), "lv": ("hv", "lv")}
            found = {}
            for side in pairs:
                vk, vkr = (getattr(trafo, f"{part}_{side}_percent") for part in ("vk", "vkr"))
                # pandapower's x is of the winding's own rating, and its c that of high voltage.
                found[f"k_t_{side}"] = float(iec.k_t(np.sqrt(vk**2 - vkr**2) / 100, 1.1))
            yield rows.ids[row], found


def _spread_angles(at: Sequence[Sequence[tuple[int, float]]]) -> Array:
    """Angles of nodes from differences along edges, each island from its first node [rad]."""
    angle = np.full(len(at), np.nan)
    for root in range(len(at)):
        if not np.isnan(angle[root]):
            continue
        angle[root] = 0.0
        waiting = deque([root])
        while waiting:
            node = waiting.popleft()
            for other, degree in at[node]:
                if np.isnan(angle[other]):
                    angle[other] = angle[node] + degree
                    waiting.append(other)
    return np.radians(angle)
