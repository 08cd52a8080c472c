"""An optimal power flow in per unit: what may move, within which limits, at what cost.

It is made from pandapower's own arrays of the network without what may move, and from our elements
with what may. Units inject: a load that may move is a unit with negative power.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from pandapower.auxiliary import (
    _add_auxiliary_elements,
    _init_rundcpp_options,
    _init_runpp_options,
    pandapowerNet,
)
from pandapower.pd2ppc import _pd2ppc
from pandapower.pypower.idx_brch import F_BUS, SHIFT, T_BUS
from pandapower.pypower.idx_bus import BASE_KV, BS, GS, PD, QD
from pandapower.pypower.makeBdc import makeBdc
from pandapower.pypower.makeYbus import branch_vectors
from pandapower.results import init_results, verify_results
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import breadth_first_order, connected_components

from electrisim import elements as e
from electrisim.dispatch import (
    COSTS,
    HOLDING,
    MOVABLE,
    Q_COSTS,
    dc_line_range,
    limits,
    lines_of,
    moves,
)
from electrisim.elements import Element
from electrisim.network import Array, Network, Rows, line_rating_ka
from electrisim.settings import Settings
from electrisim.topology import Topology
from electrisim.transformers import phase_shifts_count
from pandapower_refusals import no_reactance
from pandapower_tables import Block, power_flow_blocks

MakeNet = Callable[[float, Sequence[Block]], pandapowerNet]


class Owner(NamedTuple):
    """Whose limit it is, and which field says so."""

    kind: type[Element]
    row: int
    field: str


class Unit(NamedTuple):
    """What injects power: (kind, row), the sign of its columns, and at which of its ends."""

    kind: type[Element]
    row: int
    sign: int
    port: int = 0


@dataclass(frozen=True)
class Case:
    """An optimal power flow in per unit of `s_mva`.

    of_bus    bus of the network → bus here, −1 without supply
    f, t, y   buses of each branch, and Y_ff, Y_ft, Y_tf, Y_tt as (4, m)
    b, shift_pu      DC: susceptance and constant flow of each branch; drawn_dc what buses draw
    drawn, drawn_i, drawn_z   power drawn at each bus: constant, times V, times V²
    units     what injects; the arrays p_*, q_* and cost* are theirs, cost* of [p, q] together
    seg_*     piecewise-linear costs: cost `seg_curve` ≥ slope · pq[seg_of] + constant
    flow_*    limited ends (0 from, 1 to) of branches; angle_* limited differences of angles
    link_*    p[to] + ratio · p[from] = constant: the two ends of DC lines
    *_by      whose the limits are
    priced    whether any cost was given; without one the losses are what is minimised
    """

    s_mva: float
    n_bus: int
    of_bus: Array
    f: Array
    t: Array
    y: Array
    b: Array
    shift_pu: Array
    drawn: Array
    drawn_i: Array
    drawn_z: Array
    drawn_dc: Array
    va_lo: Array
    va_hi: Array
    va_start: Array
    vm_lo: Array
    vm_hi: Array
    vm_lo_by: list[Owner | None]
    vm_hi_by: list[Owner | None]
    units: list[Unit]
    unit_bus: Array
    p_lo: Array
    p_hi: Array
    q_lo: Array
    q_hi: Array
    p_start: Array
    q_start: Array
    fixed: Array
    cost0: Array
    cost1: Array
    cost2: Array
    n_curve: int
    seg_of: Array
    seg_slope: Array
    seg_curve: Array
    seg_constant: Array
    flow_branch: Array
    flow_end: Array
    flow_limit: Array
    flow_percent: Array
    flow_by: list[Owner]
    flow_port: Array
    angle_from: Array
    angle_to: Array
    angle_lo: Array
    angle_hi: Array
    angle_by: list[tuple[type[Element], int]]
    link_from: Array
    link_to: Array
    link_ratio: Array
    link_constant: Array
    priced: bool
    references: list[tuple[type[Element], int]]
    warnings: list[str]


#: Kinds that are drawn at their bus unless they may move.
_DRAWN = (e.StaticGenerator, e.Load, e.Storage)


class Arrays:
    """pandapower's per-unit arrays of what does not move."""

    def __init__(
        self, network: Network, topology: Topology, settings: Settings, make_net: MakeNet
    ) -> None:
        blocks = power_flow_blocks(_still(network, topology), topology, settings)
        blocks = [block for block in blocks if block.kind is not e.DCLine]
        net = make_net(network.frequency_hz, blocks)
        with np.errstate(all="ignore"):
            ppci = _translate(net, settings)
        self.bus, self.branch = ppci["bus"], ppci["branch"]
        self.base_mva = float(ppci["baseMVA"])
        count = len(self.bus)
        lookup = net["_pd2ppc_lookups"]["bus"][np.arange(len(network.rows(e.Bus)))]
        alive = (lookup >= 0) & (lookup < count) & topology.bus
        self.of_bus = np.where(alive, lookup, -1)
        kept = ppci["internal"]["branch_is"]
        self._number = np.where(kept, np.cumsum(kept) - 1, -1)
        self._branches = net["_pd2ppc_lookups"]["branch"]
        self.base_kv = self.bus[:, BASE_KV].real

    def of(self, table: str) -> Array:
        """Branches of a table's elements, −1 where out; shape (branches per element, n)."""
        start, end = self._branches.get(table, (0, 0))
        return np.asarray(self._number[start:end]).reshape(3 if table == "trafo3w" else 1, -1)


def _still(network: Network, topology: Topology) -> Network:
    """The network with all voltages alike and without the power of what may move."""
    edits: dict[type[Element], dict[int, dict[str, Any]]] = {}
    for kind in (e.ExternalGrid, e.Generator):
        edits[kind] = {row: {"vm_pu": 1.0} for row in range(len(network.rows(kind)))}
    for kind in _DRAWN:
        moving = np.flatnonzero(moves(network, topology, kind))
        edits[kind] = {int(row): {"p_mw": 0.0, "q_mvar": 0.0} for row in moving}
    return network.changed({kind: rows for kind, rows in edits.items() if rows})


def _translate(net: pandapowerNet, settings: Settings) -> Any:
    """pandapower's own way from tables to arrays, without solving."""
    if settings.linear:
        _init_rundcpp_options(
            net, trafo_model=settings.trafo_model, trafo_loading=settings.trafo_loading,
            recycle=None, check_connectivity=True, switch_rx_ratio=2, trafo3w_losses="hv",
        )  # fmt: skip
    else:
        _init_runpp_options(
            net, algorithm="nr", calculate_voltage_angles=settings.calculate_voltage_angles,
            init="flat", max_iteration="auto", tolerance_mva=1e-8,
            trafo_model=settings.trafo_model, trafo_loading=settings.trafo_loading,
            enforce_p_lims=False, enforce_q_lims=False, check_connectivity=True,
            voltage_depend_loads=False, numba=False, lightsim2grid=False,
            consider_line_temperature=settings.consider_line_temperature,
        )  # fmt: skip
    _add_auxiliary_elements(net)
    if settings.linear:
        verify_results(net, mode="dc")
    else:
        init_results(net)
    nothing = np.array([], dtype=np.int64)
    names = ("bus", "bus_dc", "ext_grid", "gen", "branch", "branch_dc")
    net["_pd2ppc_lookups"] = dict.fromkeys(names, nothing)
    return _pd2ppc(net)[1]


# -- making a case ---------------------------------------------------------------------------------


class Maker:
    """Collects a case from a network."""

    def __init__(
        self,
        network: Network,
        topology: Topology,
        settings: Settings,
        make_net: MakeNet,
        current: bool,
    ) -> None:
        self.network, self.topology, self.settings = network, topology, settings
        self.current = current
        self.a = Arrays(network, topology, settings, make_net)
        self.n_bus = len(self.a.bus)
        self.f, self.t = (self.a.branch[:, end].real.astype(np.int64) for end in (F_BUS, T_BUS))
        self.warnings: list[str] = []
        self.vm_lo, self.vm_hi = np.zeros(self.n_bus), np.full(self.n_bus, np.inf)
        self.vm_by: tuple[list[Owner | None], list[Owner | None]] = (
            [None] * self.n_bus, [None] * self.n_bus,
        )  # fmt: skip
        self.units: list[Unit] = []
        self.numbers: list[tuple[float, ...]] = []
        self.unit_bus: list[int] = []
        self.links: list[tuple[int, int, float, float]] = []

    def bus_of(self, rows: Rows, field: str) -> Array:
        if not len(rows):
            return np.zeros(0, dtype=np.int64)
        return np.asarray(self.a.of_bus[rows.at[field]])

    def case(self) -> Case:
        self._voltages()
        for kind, sign, _ in MOVABLE:
            self._movable(kind, sign)
        self._extended_wards()
        self._dc_lines()
        s = self._base_mva()
        numbers = np.array(self.numbers, dtype=float).reshape(-1, 7)
        p_lo, p_hi, q_lo, q_hi, p_start, q_start, fixed = numbers.T
        if self.settings.linear:
            q_lo, q_hi = np.zeros(len(q_lo)), np.zeros(len(q_hi))
        va_lo, va_hi, va_start, references = self._angles()
        return Case(
            s_mva=s, n_bus=self.n_bus, of_bus=self.a.of_bus, f=self.f, t=self.t,
            **self._branches(s), **self._drawn(s),
            va_lo=va_lo, va_hi=va_hi, va_start=va_start, references=references,
            vm_lo=self.vm_lo, vm_hi=self.vm_hi, vm_lo_by=self.vm_by[0], vm_hi_by=self.vm_by[1],
            units=self.units, unit_bus=np.array(self.unit_bus, dtype=np.int64),
            p_lo=p_lo / s, p_hi=p_hi / s, q_lo=q_lo / s, q_hi=q_hi / s,
            p_start=p_start / s, q_start=q_start / s, fixed=fixed.astype(bool),
            **self._costs(s), **self._flow_limits(s), **self._angle_limits(), **self._linked(s),
            warnings=self.warnings,
        )  # fmt: skip

    def _base_mva(self) -> float:
        """A power of ten near what is drawn, so that per-unit numbers are near one."""
        drawn = (
            np.abs(self.a.bus[:, PD]).sum() + np.abs([number[4] for number in self.numbers]).sum()
        )
        return float(10.0 ** np.clip(np.round(np.log10(max(drawn, 1e-6) / 10)), -3, 2))

    # -- voltages ----------------------------------------------------------------------------------

    def _bound_vm(self, bus: int, lo: float, hi: float, by: tuple[Owner, Owner]) -> None:
        if lo > self.vm_lo[bus]:
            self.vm_lo[bus], self.vm_by[0][bus] = lo, by[0]
        if hi < self.vm_hi[bus]:
            self.vm_hi[bus], self.vm_by[1][bus] = hi, by[1]

    def _voltages(self) -> None:
        fields = ("min_vm_pu", "max_vm_pu")
        for kind in (e.Bus, e.Generator):
            rows = self.network.rows(kind)
            at = self.a.of_bus if kind is e.Bus else self.bus_of(rows, "bus")
            bounds = (rows.column(field) for field in fields)
            alive = self.topology.alive(kind)
            for row, (bus, lo, hi) in enumerate(zip(at.tolist(), *bounds, strict=True)):
                if alive[row] and bus >= 0:
                    by = (Owner(kind, row, fields[0]), Owner(kind, row, fields[1]))
                    self._bound_vm(bus, lo, hi, by)
        for kind in (e.ExternalGrid, e.Generator):
            rows = self.network.rows(kind)
            held = self.topology.alive(kind) & ~moves(self.network, self.topology, kind)
            for row in np.flatnonzero(held).tolist():
                vm, by = float(rows.column("vm_pu")[row]), Owner(kind, row, "vm_pu")
                bus = int(self.a.of_bus[rows.at["bus"][row]])
                self._bound_vm(bus, vm, vm, (by, by))

    def _angles(self) -> tuple[Array, Array, Array, list[tuple[type[Element], int]]]:
        """Limits and start of angles: fixed at external grids, else at one slack per island.

        They start as the sources', turned by the phase shifts on the way.
        """
        count = phase_shifts_count(self.network, self.settings)
        lo, hi = np.full(self.n_bus, -np.inf), np.full(self.n_bus, np.inf)
        start, references = np.zeros(self.n_bus), []
        graph = coo_matrix((np.ones(len(self.f)), (self.f, self.t)), (self.n_bus, self.n_bus))
        island = connected_components(graph, directed=False)[1]
        known: dict[int, int] = {}
        grids = self.network.rows(e.ExternalGrid)
        for row in np.flatnonzero(self.topology.alive(e.ExternalGrid)).tolist():
            bus = int(self.a.of_bus[grids.at["bus"][row]])
            lo[bus] = hi[bus] = np.deg2rad(grids.column("va_degree")[row] * count)
            known.setdefault(int(island[bus]), bus)
        machines = self.network.rows(e.Generator)
        slack = self.topology.alive(e.Generator) & machines.column("slack").astype(bool)
        for row in np.flatnonzero(slack).tolist():
            bus = int(self.a.of_bus[machines.at["bus"][row]])
            if int(island[bus]) not in known:
                lo[bus] = hi[bus] = 0.0
                known[int(island[bus])] = bus
                references.append((e.Generator, row))
        shift = np.deg2rad(self.a.branch[:, SHIFT].real)
        turn: dict[tuple[int, int], float] = {}
        for f, t, by in zip(self.f.tolist(), self.t.tolist(), shift.tolist(), strict=True):
            turn[f, t], turn[t, f] = -by, by
        for root in known.values():
            start[root] = lo[root]
            order, before = breadth_first_order(graph.tocsr(), root, directed=False)
            for bus in order[1:].tolist():
                start[bus] = start[before[bus]] + turn[int(before[bus]), bus]
        return lo, hi, start, references

    # -- units -------------------------------------------------------------------------------------

    def _movable(self, kind: type[Element], sign: int) -> None:
        rows, alive = self.network.rows(kind), self.topology.alive(kind)
        free = moves(self.network, self.topology, kind)
        holds_voltage = kind in HOLDING
        wanted = np.flatnonzero(alive if holds_voltage else free).tolist()
        if not wanted:
            return
        at = self.bus_of(rows, "bus")
        scaling = np.ones(len(rows)) if kind is e.ExternalGrid else rows.column("scaling")
        for row in wanted:
            element = rows.elements[row]
            p, q = (getattr(element, name, 0.0) * scaling[row] for name in ("p_mw", "q_mvar"))
            p_range, q_range = limits(element, "p_mw"), limits(element, "q_mvar")
            fixed = kind is e.Generator and not free[row]
            if fixed:
                p_range = p, p
            if not holds_voltage:
                p_range = self._or_still(rows, row, p_range, p, "p_mw")
                q_range = self._or_still(rows, row, q_range, q, "q_mvar")
            (p_lo, p_hi), (q_lo, q_hi) = (
                pair if sign > 0 else (-pair[1], -pair[0]) for pair in (p_range, q_range)
            )
            self._add(Unit(kind, row, sign), int(at[row]), (p_lo, p_hi, q_lo, q_hi, sign * p,
                      sign * q, fixed))  # fmt: skip

    def _or_still(
        self, rows: Rows, row: int, given: tuple[float, float], now: float, quantity: str
    ) -> tuple[float, float]:
        """A power without any limit stays as it is: unlimited it could be anything."""
        if np.isfinite(given).any():
            return given
        if quantity == "p_mw" or not self.settings.linear:
            label = rows.label(row)
            self.warnings.append(f"{label} has no limits of {quantity}, which stays at {now:g}.")
        return now, now

    def _add(self, unit: Unit, bus: int, numbers: tuple[float, ...]) -> int:
        self.units.append(unit)
        self.unit_bus.append(bus)
        self.numbers.append(numbers)
        return len(self.units) - 1

    def _extended_wards(self) -> None:
        """The source inside holds its voltage by reactive power alone."""
        rows = self.network.rows(e.ExtendedWard)
        for row, branch in enumerate(self.a.of("xward")[0].tolist() if len(rows) else ()):
            if branch < 0:
                continue
            bus, vm = int(self.t[branch]), float(rows.column("vm_pu")[row])
            self.vm_lo[bus] = self.vm_hi[bus] = vm
            numbers = (0.0, 0.0, -np.inf, np.inf, 0.0, 0.0, True)
            self._add(Unit(e.ExtendedWard, row, 1, -1), bus, numbers)

    def _dc_lines(self) -> None:
        """Two units each; what one takes, less losses, the other gives."""
        rows = self.network.rows(e.DCLine)
        for row in np.flatnonzero(self.topology.alive(e.DCLine)).tolist():
            line = rows.elements[row]
            lo, hi = dc_line_range(line)
            ends = []
            for port, side in enumerate(("from", "to")):
                q_lo, q_hi = limits(line, f"q_{side}_mvar")
                p = (-np.inf, np.inf) if port else (-hi, -lo)
                numbers = (*p, q_lo, q_hi, -line.p_mw if not port else line.p_mw, 0.0, False)
                bus = int(self.a.of_bus[rows.at[f"{side}_bus"][row]])
                ends.append(self._add(Unit(e.DCLine, row, -1, port), bus, numbers))
            ends = ends if lo >= 0 or hi > 0 else ends[::-1]
            self.links.append((*ends, 1 - line.loss_percent / 100, -line.loss_mw))

    def _linked(self, s: float) -> dict[str, Any]:
        table = np.array(self.links, dtype=float).reshape(-1, 4)
        return {
            "link_from": table[:, 0].astype(np.int64),
            "link_to": table[:, 1].astype(np.int64),
            "link_ratio": table[:, 2],
            "link_constant": table[:, 3] / s,
        }

    # -- costs -------------------------------------------------------------------------------------

    def _costs(self, s: float) -> dict[str, Any]:
        k = len(self.units)
        cost = np.zeros((3, 2 * k))
        segments: list[tuple[float, ...]] = []
        curves, priced = 0, False
        for at, unit in enumerate(self.units):
            if unit.port < 0 or (unit.kind is e.DCLine and unit.port):
                continue
            element, scale = self.network.rows(unit.kind).elements[unit.row], unit.sign * s
            for part, fields in ((0, COSTS), (k, Q_COSTS)):
                given = [getattr(element, field, None) for field in fields]
                if part and self.settings.linear:
                    continue
                priced = priced or any(value is not None for value in given)
                powers = np.array([0.0 if value is None else value for value in given[:3]])
                cost[:, part + at] = powers * [1, scale, s**2]
                if given[3] is not None:
                    segments += [
                        (part + at, slope * scale, curves, constant)
                        for slope, constant in lines_of(given[3])
                    ]
                    curves += 1
        if not priced:
            cost[1, :k] = s
        table = np.array(segments, dtype=float).reshape(-1, 4)
        return {
            "cost0": cost[0], "cost1": cost[1], "cost2": cost[2], "n_curve": curves,
            "seg_of": table[:, 0].astype(np.int64), "seg_slope": table[:, 1],
            "seg_curve": table[:, 2].astype(np.int64), "seg_constant": table[:, 3],
            "priced": priced,
        }  # fmt: skip

    # -- branches and what is drawn ----------------------------------------------------------------

    def _branches(self, s: float) -> dict[str, Any]:
        bus, branch, base = self.a.bus, self.a.branch, self.a.base_mva
        m = len(self.f)
        if self.settings.linear:
            try:
                _, b_f, _, p_shift, _ = makeBdc(bus, branch.real)
            except FloatingPointError as error:
                raise no_reactance(self.network, self.topology) from error
            table = b_f.tocsr()
            b = np.asarray(table[np.arange(m), self.f]).ravel() if m else np.zeros(0)
            return {"y": np.zeros((4, m)), "b": b * base / s, "shift_pu": p_shift.real * base / s}
        y_tt, y_ff, y_ft, y_tf = branch_vectors(branch, m)
        y = np.stack([y_ff, y_ft, y_tf, y_tt]).astype(complex) * base / s
        return {"y": y, "b": np.zeros(m), "shift_pu": np.zeros(m)}

    def _drawn(self, s: float) -> dict[str, Any]:
        bus = self.a.bus
        constant = (bus[:, PD] + 1j * bus[:, QD]).astype(complex)
        current = np.zeros(self.n_bus, dtype=complex)
        square = (bus[:, GS] - 1j * bus[:, BS]).astype(complex)
        loads = self.network.rows(e.Load)
        if len(loads) and self.settings.voltage_depend_loads and not self.settings.linear:
            still = self.topology.alive(e.Load) & ~moves(self.network, self.topology, e.Load)
            at = self.bus_of(loads, "bus")[still]
            power = loads.column("scaling") * (loads.column("p_mw") + 1j * loads.column("q_mvar"))
            for part, into in (("i", current), ("z", square)):
                share = [loads.column(f"const_{part}_{letter}_percent") / 100 for letter in "pq"]
                drawn = (power.real * share[0] + 1j * power.imag * share[1])[still]
                np.add.at(into, at, drawn)
                np.subtract.at(constant, at, drawn)
        return {
            "drawn": constant / s, "drawn_i": current / s, "drawn_z": square / s,
            "drawn_dc": (bus[:, PD] + bus[:, GS]).real / s,
        }  # fmt: skip

    def _flow_limits(self, s: float) -> dict[str, Any]:
        found = [part for part in self._rated(s) if len(part[0])]
        branch, end, limit, percent, port = (
            np.concatenate([part[i] for part in found]) if found else np.zeros(0) for i in range(5)
        )
        by = [Owner(part[6], int(row), "max_loading_percent") for part in found for row in part[5]]
        return {
            "flow_branch": branch.astype(np.int64), "flow_end": end.astype(np.int64),
            "flow_limit": limit, "flow_percent": percent, "flow_by": by,
            "flow_port": port.astype(np.int64),
        }  # fmt: skip

    def _rated(self, s: float) -> Iterator[tuple[Any, ...]]:
        """Limited ends: branch, end, limit [pu], max_loading_percent, port, row, kind."""
        for kind, windings in _RATED.items():
            rows = self.network.rows(kind)
            if not len(rows):
                continue
            percent = rows.column("max_loading_percent")
            branches = self.a.of(kind.table)
            for port, (winding, end) in enumerate(windings):
                branch = branches[winding]
                limited = np.isfinite(percent)
                if kind is e.Line:
                    limited &= np.isfinite(line_rating_ka(rows))
                used = np.flatnonzero((branch >= 0) & limited)
                bus = (self.f, self.t)[end][branch[used]]
                limit = self._rating_mva(rows, port, bus, used) * percent[used] / 100 / s
                ends = np.full(len(used), end)
                ports = np.full(len(used), port)
                yield branch[used], ends, limit, percent[used], ports, used, kind

    def _rating_mva(self, rows: Rows, port: int, bus: Array, used: Array) -> Array:
        """Rated power of an end; where currents are limited, rated current times nominal kV."""
        vn_kv = self.a.base_kv[bus]
        if rows.kind is e.Line:
            i_ka = line_rating_ka(rows)[used]
            kv = self.network.rows(e.Bus).column("vn_kv")[rows.at["from_bus"][used]]
            return np.asarray(np.sqrt(3) * i_ka * (vn_kv if self.current else kv))
        side = ("hv", "mv", "lv")[port] if rows.kind is e.ThreeWindingTransformer else None
        rated_kv = rows.column(f"vn_{side or ('hv', 'lv')[port]}_kv")[used]
        if side:
            mva = rows.column(f"sn_{side}_mva")[used]
        else:
            mva = (rows.column("sn_mva") * rows.column("df") * rows.column("parallel"))[used]
        return np.asarray(mva * vn_kv / rated_kv if self.current else mva)

    def _angle_limits(self) -> dict[str, Any]:
        one, other, lo, hi = [], [], [], []
        by: list[tuple[type[Element], int]] = []
        for kind in (e.Line, e.Transformer, e.Impedance):
            rows = self.network.rows(kind)
            if not len(rows):
                continue
            least, most = rows.column("min_angle_degree"), rows.column("max_angle_degree")
            both = self.topology.alive(kind)
            for port in kind.ports:
                both = both & self.topology.attached(rows, port.bus)
            used = np.flatnonzero(both & (np.isfinite(least) | np.isfinite(most)))
            ends = [self.bus_of(rows, port.bus)[used] for port in kind.ports]
            one.append(ends[0])
            other.append(ends[1])
            lo.append(np.deg2rad(np.nan_to_num(least[used], nan=-np.inf)))
            hi.append(np.deg2rad(np.nan_to_num(most[used], nan=np.inf)))
            by += [(kind, int(row)) for row in used]
        return {
            "angle_from": _joined(one).astype(np.int64),
            "angle_to": _joined(other).astype(np.int64),
            "angle_lo": _joined(lo), "angle_hi": _joined(hi), "angle_by": by,
        }  # fmt: skip


#: Per kind and port: which of its branches, and which end of that.
_RATED: dict[type[Element], tuple[tuple[int, int], ...]] = {
    e.Line: ((0, 0), (0, 1)),
    e.Transformer: ((0, 0), (0, 1)),
    e.ThreeWindingTransformer: ((0, 0), (1, 1), (2, 1)),
}


def _joined(parts: list[Array]) -> Array:
    return np.concatenate(parts) if parts else np.zeros(0)
