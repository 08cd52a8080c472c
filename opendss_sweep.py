"""A sweep on OpenDSS: many cases of one network in the circuit that stands already.

What draws or delivers constant power becomes one load per node, whose power the cases set: through
load shapes where only such powers change, so that the engine steps through them by itself, else
case by case; branches that are out are disabled. Nothing is built again.

Results are read from the node voltages with the network's own equations, all cases of a chunk at
once; what these leave at the nodes judges every case. The base case, read this way, must be what
the engine itself reports. Cases that need other nodes are built one after the other.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from scipy.sparse import csr_matrix

import opendss_standing
from electrisim import elements as e
from electrisim.branches import CIRCUITS
from electrisim.certificate import ABSOLUTE_MVA, RELATIVE, VOLTAGE_PU
from electrisim.change import Changes, Series, Spots, changed
from electrisim.completion import complete
from electrisim.elements import Element
from electrisim.injections import CONSTANT, LAWS, Values
from electrisim.laws import POWER, zip_factor
from electrisim.network import Array, Network
from electrisim.problems import ProblemError
from electrisim.results import Certificate, Tables
from electrisim.sweep import CHUNK_SECONDS, Chunk
from electrisim.topology import Topology
from electrisim.transformers import legs
from opendss_angles import admittance
from opendss_circuit import Circuit, picked, siemens
from opendss_elements import ALWAYS, two_ports
from opendss_results import Balanced
from opendss_session import EngineError
from opendss_sources import Claim
from opendss_transformers import leg_nodes

if TYPE_CHECKING:
    from opendss_electrisim import OpenDSSModel

#: Branches that can be out without another node.
BRANCHES = (e.Line, e.Transformer, e.ThreeWindingTransformer, e.Impedance)
#: How near the base case, read our way, must be to the engine's own figures, of the larger of them
#: and 1.
SAME = 1e-6
#: Change of a voltage at which the engine stops in a series [pu]: where its own next steps are
#: taken for all cases at once, and where not; and how many of them there are at most.
ROUGH, TOLERANCE, STEPS = 1e-4, 1e-8, 10
#: Change of the voltages at which they rest, of the largest one [1].
REST = 1e-12
#: Up to so many nodes these steps, with a full Y⁻¹, are faster than the engine's own; a sparse
#: factorisation takes 4 to 8 times as long for 1,000 cases.
DENSE = 600
#: Nodes and branches of all cases of a chunk together, and the most cases.
ELEMENTS, CASES = 500_000, 1000
#: Reactance of what holds a voltage, where nobody asks the engine what flows through it [pu].
STIFFNESS = 1e-9

#: Classes of what has constant power.
_CONSTANT_CLASSES = ("load", "generator", "storage", "pvsystem")


Outages = Mapping[int, Sequence[tuple[type[Element], int]]]


class CannotSweepError(Exception):
    """Why cases are built one after the other."""


def sweep(model: OpenDSSModel, changes: Changes) -> Iterator[Chunk]:
    """Solve the model's network once per case; chunks come in no particular order of the cases."""
    if model.circuit.unbalanced:
        reason = opendss_standing.reason_against(model.circuit, changes)
        if not reason:
            yield from opendss_standing.sweep(model, changes, model.anew)
            return
    else:
        reason = _reason_against(model.circuit, changes)
    later = np.arange(changes.count)
    if not reason:
        try:
            live = _Live(model, changes)
        except ProblemError:
            reason = "the network as built has no solution"
        except CannotSweepError as error:
            reason = str(error)
        else:
            yield from live.sweep()
            later, reason = np.array(sorted(live.later), dtype=np.int64), live.note
    if len(later):
        yield from model.each(changes, later.tolist(), reason)


def _reason_against(circuit: Circuit, changes: Changes) -> str:
    settings = circuit.settings
    usual = type(settings)()
    for name in ("enforce_q_lims", "load_model", "source_impedance", "algorithm"):
        if getattr(settings, name) != getattr(usual, name):
            return f"the setting {name}"
    if settings.controls:
        return "controllers act"
    for kind, field in changes.series:
        if not _within_circuit(circuit.network, changes, kind, field):
            return f"they change {field} of {kind.key}"
    return ""


def _within_circuit(network: Network, changes: Changes, kind: type[Element], field: str) -> bool:
    """Whether changes of a field leave the circuit's nodes and its admittances as they are."""
    if kind in BRANCHES and field == "in_service":
        return (kind, field) not in changes.series and not len(changes.rows_set(kind, field))
    if kind is e.Generator:
        slack = network.rows(kind).column("slack")[changes.rows(kind, field)].any()
        return field in ("p_mw", "scaling") and not slack
    if field == "in_service":
        # Wards also have an admittance.
        was_on = network.rows(kind).column(field)[changes.rows_set(kind, field)].all()
        return kind in CONSTANT and kind not in (e.Ward, e.ExtendedWard) and bool(was_on)
    return kind is e.PVSystem or (kind in LAWS and field in LAWS[kind][1])


class _Leg(NamedTuple):
    """Two-ports of some elements of a kind, in siemens, between nodes.

    ports  of the kind at either end, None inside
    y      Y_ff, Y_ft, Y_tf, Y_tt
    """

    kind: type[Element]
    rows: Array
    nodes: Array
    ports: tuple[int | None, int | None]
    y: tuple[Array, Array, Array, Array]


def _legs(circuit: Circuit) -> Iterator[_Leg]:
    network, settings, kv = circuit.network, circuit.settings, circuit.vn_kv
    for kind, ends in circuit.ports.items():
        rows = np.flatnonzero(ends[:, 0] >= 0)
        nodes = ends[rows]
        if kind in CIRCUITS:
            ports = picked(CIRCUITS[kind](network, network.rows(kind), settings, {}), rows)
            yield _Leg(kind, rows, nodes, (0, 1), siemens(ports, *kv[nodes].T))
        elif kind is e.ThreeWindingTransformer:
            star = circuit.inner[kind][rows]
            for number, leg in enumerate(legs(network, settings)):
                at = leg_nodes(leg, nodes[:, number], star)
                answers = (None, number) if leg.star_is_from else (number, None)
                yield _Leg(kind, rows, at, answers, siemens(picked(leg.ports, rows), *kv[at].T))
        elif kind is e.ExtendedWard:
            inside = circuit.inner[kind][rows]
            wards = network.rows(kind)
            y = 1 / (wards.column("r_ohm") + 1j * wards.column("x_ohm"))[rows]
            at = np.stack([nodes[:, 0], inside], axis=1)
            yield _Leg(kind, rows, at, (0, None), (y, -y, -y, y))


class _Live:
    """A solved circuit in which cases are set, solved and taken back.

    later  cases that are to be built instead
    note   why
    """

    def __init__(self, model: OpenDSSModel, changes: Changes) -> None:
        self.model, self.changes = model, changes
        self.circuit, self.session = model.circuit, model.session
        self.sources = model.sources
        self.network, self.topology = self.circuit.network, self.circuit.topology
        self.tolerance = model.tolerance
        self.later: set[int] = set()
        self.note = ""
        for kind, field in changes.spots:
            if not _within_circuit(self.network, changes, kind, field):
                for case in changes.spots[kind, field].cases.tolist():
                    self._put_off(case, f"they change {field} of {kind.key}")
        solution = model.solution or model.power_flow()
        self.legs = list(_legs(self.circuit))
        self.target = self.sources.target.copy()
        self.p_mw = self.sources.p_mw.copy()
        self.claims = list(self.sources.claims)
        self.fixed = bool(self.sources.is_fixed.all())
        self._find_drawers()
        self._check_results(model.voltages(), solution.tables)
        self._prepare()

    # -- what draws constant power -----------------------------------------------------------------

    def _find_drawers(self) -> None:
        """One load per node, and loads that go with the voltage as what they are.

        drawn_by  kind → which drawer takes each of its elements, -1 for none
        """
        self._own: list[str] = []
        rows_of: dict[str, tuple[type[Element], int]] = {}
        self._replaced: list[str] = []
        for part in self.circuit.parts:
            for row, name, command in zip(
                part.rows.tolist(), part.names, part.commands, strict=True
            ):
                if " model=8 " in command and part.kind is not None:
                    self._own.append(name)
                    rows_of[name] = part.kind, row
                elif name.partition(".")[0] in _CONSTANT_CLASSES:
                    self._replaced.append(name)
        kinds = [kind for kind in CONSTANT if kind in self.network.kinds]
        nodes = {
            kind: np.where(
                self.topology.bus[self.network.rows(kind).at["bus"]],
                self.circuit.node[self.network.rows(kind).at["bus"]],
                -1,
            )
            for kind in kinds
        }
        at = np.concatenate([np.zeros(0, dtype=np.int64), *nodes.values()])
        self._nodes = np.unique(at[at >= 0])
        place = np.full(len(self.circuit.nodes) + 1, -1)
        place[self._nodes] = np.arange(len(self._nodes))
        self._drawn_by = {kind: place[node] for kind, node in nodes.items()}
        for number, name in enumerate(self._own):
            kind, row = rows_of[name]
            self._drawn_by[kind][row] = len(self._nodes) + number
        self._drawers = [f"n{name}" for name in self.circuit.names(self._nodes)]
        self._drawers += [name.partition(".")[2] for name in self._own]

    def drawn_mva(self, values: Values, count: int) -> Array:
        """What each drawer draws, at 1 pu, under the cases of some values; (count, drawers)."""
        total = np.zeros((count, len(self._drawers)), dtype=complex)
        for kind, drawer in self._drawn_by.items():
            power = kind.ports[0].sign * values.power_mva(kind)
            power = np.where(values.get(kind, "in_service").astype(bool), power, 0)
            some = np.flatnonzero(drawer >= 0)
            shape = (len(some), len(self._drawers))
            to = csr_matrix((np.ones(len(some)), (np.arange(len(some)), drawer[some])), shape)
            total += power[:, some] @ to
        return total

    def _prepare(self) -> None:
        """The circuit with its drawers in place of all that has constant power."""
        self._built = self.drawn_mva(Values(self.network), 1)[0]
        kv = self.circuit.vn_kv[self._nodes].tolist()
        commands = [f"edit {name} enabled=no" for name in self._replaced]
        for name, node, base, mva in zip(
            self._drawers, self.circuit.names(self._nodes), kv, self._built.tolist(), strict=False
        ):
            power = f"kw={1e3 * mva.real!r} kvar={1e3 * mva.imag!r}"
            where = f"phases=3 conn=wye bus1={node}.1.2.3.0 kv={base!r}"
            commands.append(f"new load.{name} {where} {power} model=1 {ALWAYS} vlowpu=0")
        if self.fixed:
            for k, name in enumerate(self.sources.names):
                base = float(self.sources.kv[k])
                pu = float(np.abs(self.sources.target[k]) / base)
                degree = float(np.angle(self.sources.target[k], deg=True))
                x = STIFFNESS * base**2 / 100
                commands.append(
                    f"edit vsource.{name} pu={pu!r} angle={degree!r} r1=0 x1={x!r} r0=0 x0={x!r}"
                )
            self.sources.emf = self.sources.target.copy()
        self._now = self._built
        self.model.run(commands)

    # -- cases -------------------------------------------------------------------------------------

    def sweep(self) -> Iterator[Chunk]:
        out = self._outages()
        if self.fixed and not out and not self.later:
            yield from self._in_series()
        else:
            yield from self._one_by_one(out)

    def _outages(self) -> dict[int, list[tuple[type[Element], int]]]:
        """Case → the branches that it takes out."""
        found: dict[int, list[tuple[type[Element], int]]] = {}
        for kind in BRANCHES:
            spots = self.changes.spots.get((kind, "in_service"))
            for case, row in zip(*(spots.cases, spots.rows), strict=True) if spots else ():
                found.setdefault(int(case), []).append((kind, int(row)))
        return found

    def values_of(self, cases: Array) -> Values:
        """The fields that these cases change."""
        values = Values(self.network)
        new = np.full(self.changes.count, -1)
        new[cases] = np.arange(len(cases))
        for (kind, field), series in self.changes.series.items():
            values.set(kind, field, len(cases), Series(series.rows, series.values[cases]))
        for (kind, field), spots in self.changes.spots.items():
            mine = new[spots.cases] >= 0
            if mine.any():
                part = Spots(new[spots.cases[mine]], spots.rows[mine], spots.values[mine])
                values.set(kind, field, len(cases), part)
        return values

    @property
    def _together(self) -> int:
        """How many cases make a chunk."""
        width = len(self.circuit.nodes) + sum(len(leg.rows) for leg in self.legs)
        return int(np.clip(ELEMENTS // max(width, 1), 1, CASES))

    def _in_series(self) -> Iterator[Chunk]:
        """The engine steps through the cases by itself."""
        shaped = [f"edit load.{name} yearly=y{name}" for name in self._drawers]
        for start in range(0, self.changes.count, self._together):
            cases = np.arange(start, min(start + self._together, self.changes.count))
            values = self.values_of(cases)
            drawn = self.drawn_mva(values, len(cases))
            shapes = [f"y{name}" for name in self._drawers]
            self.session.shapes(shapes, 1e3 * drawn.real, 1e3 * drawn.imag)
            stop = ROUGH if self._refines else TOLERANCE
            self.model.run([*shaped, f"set tolerance={stop!r}"])
            shaped = []
            self.session.run(["set mode=yearly number=1 stepsize=1h hour=0"])
            solved, volts = self.session.series(len(cases))
            phases = self._refined(self.model.node_voltages(volts), drawn)
            found = _Cases(self, cases, values, phases)
            good = solved & (found.worst_mva <= self.tolerance) & found.holds
            if not good.all():
                self.session.run(["set mode=snapshot"])
                for at in np.flatnonzero(~good).tolist():
                    one = self._solve_one(int(cases[at]), drawn[at], values.take(np.array([at])))
                    good[at] = one is not None
                    if one is not None:
                        phases[at] = one
                    else:
                        self._put_off(int(cases[at]), "they have no solution in the live circuit")
                found = _Cases(self, cases, values, phases)
            yield from self._chunks(found, good)

    @property
    def _refines(self) -> bool:
        """Whether all but constant power is an admittance, and the network small enough."""
        return not self._own and len(self.circuit.nodes) <= DENSE

    @functools.cached_property
    def _fixed_point(self) -> tuple[Array, Array, csr_matrix, Array]:
        """Nodes without and with a source, their mutual admittances, and Y⁻¹ of the former."""
        y = admittance(self.circuit, list(two_ports(self.circuit)), self.circuit.earth)
        held = self.sources.node
        used = np.setdiff1d(np.flatnonzero(y.diagonal()), held)
        return used, held, y[used][:, held], np.linalg.inv(y[used][:, used].toarray())

    def _refined(self, volts: Array, drawn: Array) -> Array:
        """The engine's own fixed-point steps, V = Y⁻¹·I(V), for all cases at once."""
        if not self._refines:
            return volts
        used, held, y_held, inverse = self._fixed_point
        at_node = np.zeros((volts.shape[1], len(drawn)), dtype=complex)
        at_node[self._nodes] = drawn.T
        at_node = at_node[used]
        driven = y_held @ self.target[:, None]
        v = volts[:, used].T
        for _ in range(STEPS):
            before, v = v, inverse @ (-driven - np.conj(at_node / v))
            if np.abs(v - before).max(initial=0) <= REST * np.abs(v).max(initial=0):
                break
        refined = volts.copy()
        refined[:, used] = v.T
        refined[:, held] = self.target
        return refined

    def _one_by_one(self, out: Outages) -> Iterator[Chunk]:
        """Set a case, turn the sources, take the case back."""
        cases: list[int] = []
        rows: list[Array] = []
        start = time.monotonic()
        for case in range(self.changes.count):
            if case in self.later:
                continue
            if case in out and self._cuts_off(case):
                self._put_off(case, "they change what is supplied")
                continue
            values = self.values_of(np.array([case]))
            drawn = self.drawn_mva(values, 1)[0]
            phases = self._solve_one(case, drawn, values, out.get(case, ()))
            if phases is None:
                self._put_off(case, "they have no solution in the live circuit")
                continue
            cases.append(case)
            rows.append(phases)
            late = time.monotonic() - start > CHUNK_SECONDS
            if late or len(cases) == self._together:
                yield from self._found(cases, rows, out)
                cases, rows, start = [], [], time.monotonic()
        yield from self._found(cases, rows, out)

    def _found(
        self,
        cases: list[int],
        rows: list[Array],
        out: Outages,
    ) -> Iterator[Chunk]:
        if not cases:
            return
        numbers = np.array(cases)
        found = _Cases(self, numbers, self.values_of(numbers), np.array(rows), out)
        yield from self._chunks(found, np.ones(len(cases), dtype=bool))

    def _chunks(self, found: _Cases, good: Array) -> Iterator[Chunk]:
        """What is accepted; the rest is put off."""
        good = good & found.accepted
        for case in found.numbers[~good].tolist():
            self._put_off(case, "they have no solution in the live circuit")
        if good.any():
            yield found.take(good).chunk()

    def _put_off(self, case: int, why: str) -> None:
        self.later.add(case)
        self.note = self.note or why

    def _cuts_off(self, case: int) -> bool:
        """Whether a case leaves a bus, or the inside of an element, without supply."""
        there = Topology(changed(self.network, self.changes.of(case)))
        return bool((there.bus != self.topology.bus).any())

    def _solve_one(
        self,
        case: int,
        drawn: Array,
        values: Values,
        out: Sequence[tuple[type[Element], int]] = (),
    ) -> Array | None:
        """Voltages of the nodes in one case [kV]; None where there is no solution."""
        off = [
            name
            for kind, row in out
            for part in self.circuit.parts
            if part.kind is kind
            for name in np.array(part.names)[part.rows == row].tolist()
        ]
        self._set_powers(drawn, [f"edit {name} enabled=no" for name in off])
        self._set_generators(values)
        try:
            self.sources.settle(self.model, self.tolerance)
            found = self.model.voltages()
        except (ProblemError, EngineError):
            found = None
            self.sources.target, self.sources.emf = self.target.copy(), self.target.copy()
        if off:
            self.model.run([f"edit {name} enabled=yes" for name in off])
        return found

    def _set_powers(self, drawn: Array, more: list[str]) -> None:
        commands = [*more, f"set tolerance={self.model.engine_tolerance!r}"]
        for k in np.flatnonzero(drawn != self._now).tolist():
            power = f"kw={float(1e3 * drawn[k].real)!r} kvar={float(1e3 * drawn[k].imag)!r}"
            commands.append(f"edit load.{self._drawers[k]} {power}")
        self._now = drawn
        self.model.run(commands)

    def _set_generators(self, values: Values) -> None:
        """What the sources with a free angle must deliver."""
        if e.Generator not in values.kinds():
            return
        self.sources.p_mw, self.sources.claims = self.generation(values)

    def generation(self, values: Values) -> tuple[Array, list[Claim]]:
        """What the held nodes must deliver, and of whom, in the only case of some values."""
        p_mw = self.p_mw.copy()
        claims = []
        power = (values.get(e.Generator, "p_mw") * values.get(e.Generator, "scaling"))[0]
        for claim, at in zip(self.claims, self.sources.at, strict=True):
            new = claim
            if claim.kind is e.Generator:
                new = claim._replace(p_mw=power[claim.row])
                np.add.at(p_mw, at, new.p_mw - claim.p_mw)
            claims.append(new)
        return p_mw, claims

    # -- guard -------------------------------------------------------------------------------------

    def _check_results(self, voltage: Array, tables: Tables) -> None:
        """The base case, read our way, must be what the engine itself reports."""
        ours = _Cases(self, np.zeros(1, dtype=np.int64), Values(self.network), voltage[None])
        for kind, columns in tables.items():
            if kind is e.Switch:
                continue
            alive = self.topology.alive(kind)
            for name, theirs in columns.items():
                error = np.abs(ours.column(kind, name)[0] - theirs)[alive]
                known = ~np.isnan(theirs[alive])
                close = error <= SAME * np.maximum(1.0, np.abs(theirs[alive]))
                if not close[known].all():
                    reason = f"{name} of {kind.key}, read from voltages, is not OpenDSS' own"
                    raise CannotSweepError(reason)


class _Cases:
    """Some cases, solved: everything that their node voltages tell.

    numbers  of the cases, shape (n,)
    volts    of the nodes, line to line, shape (n, nodes) [kV]
    out      case → branches that it takes out
    """

    def __init__(
        self,
        live: _Live,
        numbers: Array,
        values: Values,
        volts: Array,
        out: Outages = MappingProxyType({}),
    ) -> None:
        self.live, self.numbers, self.values, self.volts, self.out = (
            live,
            numbers,
            values,
            volts,
            out,
        )
        self.network, self.circuit = live.network, live.circuit
        self._tables: dict[type[Element], Mapping[str, Array]] = {}
        with np.errstate(all="ignore"):
            self._add_up()

    def take(self, chosen: Array) -> _Cases:
        """Some of the cases."""
        if chosen.all():
            return self
        rows = np.flatnonzero(chosen)
        values = self.values.take(rows)
        return _Cases(self.live, self.numbers[rows], values, self.volts[rows], self.out)

    def alive(self, kind: type[Element]) -> Array:
        """Which elements are in service and supplied, shape (n, n_elements)."""
        alive = np.repeat(self.live.topology.alive(kind)[None], len(self.numbers), axis=0)
        if kind in CONSTANT:
            alive = alive & self.values.get(kind, "in_service").astype(bool)
        for at, case in enumerate(self.numbers.tolist()) if self.out else ():
            for lost, row in self.out.get(case, ()):
                if lost is kind:
                    alive[at, row] = False
        return np.asarray(alive)

    # -- from voltages to powers -------------------------------------------------------------------

    def _add_up(self) -> None:
        """What flows into every port, and what all of it leaves at the nodes [MVA]."""
        count, circuit = len(self.numbers), self.circuit
        self.left = np.zeros((count, len(circuit.nodes)), dtype=complex)
        self.drawn = np.zeros((count, len(self.network.rows(e.Bus))), dtype=complex)
        self.flows: dict[type[Element], Array] = {}
        self._on = {kind: self.alive(kind) for kind in self.network.kinds if kind.ports}
        for kind, on in self._on.items():
            self.flows[kind] = np.zeros((*on.shape, len(kind.ports)), dtype=complex)
        for leg in self.live.legs:
            self._add_leg(leg)
        for kind in self.network.kinds:
            if kind in POWER:
                self._take(kind, 0, kind.ports[0].sign * self._power_mva(kind))
        self._add_sources()
        for kind, on in self._on.items():
            self.flows[kind] = np.where(on[:, :, None], self.flows[kind], np.nan)

    def _add_leg(self, leg: _Leg) -> None:
        one, other = (self.volts[:, nodes] for nodes in leg.nodes.T)
        ff, ft, tf, tt = leg.y
        on = self._on[leg.kind][:, leg.rows]
        for end, port, power in (
            (0, leg.ports[0], one * np.conj(ff * one + ft * other)),
            (1, leg.ports[1], other * np.conj(tf * one + tt * other)),
        ):
            flow = np.where(on, power, 0)
            self.left += flow @ _incidence(leg.nodes[:, end], len(self.circuit.nodes))
            if port is not None:
                self.flows[leg.kind][:, leg.rows, port] += flow
                if len(leg.kind.ports) == 1:
                    bus = self.network.rows(leg.kind).at["bus"][leg.rows]
                    self.drawn += flow @ _incidence(bus, self.drawn.shape[1])

    def _power_mva(self, kind: type[Element]) -> Array:
        """What elements take by their own law, with the sign of their result columns."""
        rows, settings = self.network.rows(kind), self.circuit.settings
        node = self.circuit.node[rows.at["bus"]]
        vm = np.abs(self.volts[:, node]) / self.circuit.vn_kv[node]
        if kind not in CONSTANT:
            return POWER[kind](rows, vm, self.network, settings)
        power = self.values.power_mva(kind)
        if kind is e.Load and settings.voltage_depend_loads:
            p, q = (zip_factor(rows, part, vm) for part in "pq")
            return np.asarray(power.real * p + 1j * power.imag * q)
        if kind in (e.Ward, e.ExtendedWard):
            return np.asarray(power + (rows.column("pz_mw") + 1j * rows.column("qz_mvar")) * vm**2)
        return power

    def _take(
        self, kind: type[Element], port: int, power: Array, rows: Array | None = None
    ) -> None:
        """Count power into elements with one port, or at one port of a DC line."""
        rows = np.arange(self._on[kind].shape[1]) if rows is None else rows
        flow = np.where(self._on[kind][:, rows], power, 0)
        bus = self.network.rows(kind).at[kind.ports[port].bus][rows]
        self.flows[kind][:, rows, port] += flow
        self.left += flow @ _incidence(self.circuit.node[bus], self.left.shape[1])
        if len(kind.ports) == 1:
            self.drawn += flow @ _incidence(bus, self.drawn.shape[1])

    def _add_sources(self) -> None:
        """What holds a voltage delivers what is missing at its node."""
        sources = self.live.sources
        delivered = self.left[:, sources.node]
        self.p_asked = np.repeat(self.live.p_mw[None], len(self.numbers), axis=0)
        claims = self.live.claims
        shares = [np.zeros((len(self.numbers), len(claim.row)), dtype=complex) for claim in claims]
        changes = e.Generator in self.values.kinds()
        entries = np.concatenate([np.zeros(0, dtype=np.int64), *sources.at])
        alone = len(np.unique(entries)) == len(entries)
        for at in range(len(self.numbers)) if changes or not alone else ():
            if changes:
                self.p_asked[at], claims = self.live.generation(self.values.take(np.array([at])))
            sources.claims = claims
            phases = np.repeat(delivered[at][:, None] / 3, 3, axis=1)
            for share, (_, part) in zip(shares, sources.shared(phases), strict=True):
                share[at] = part.sum(axis=1)
        if alone:
            shares = [delivered[:, places] for places in sources.at]
        for claim, share in zip(self.live.claims, shares, strict=True):
            if claim.kind is e.ExtendedWard:
                self.left += -share @ _incidence(claim.node, self.left.shape[1])
            else:
                self._take(claim.kind, claim.port, -share, claim.row)
        self._delivered = delivered

    # -- judged ------------------------------------------------------------------------------------

    @functools.cached_property
    def _missing(self) -> Array:
        """What is left at the nodes without a source, and what generators miss, (n, …) [MVA]."""
        sources = self.live.sources
        free = ~sources.is_fixed
        astray = (self._delivered.real - self.p_asked)[:, free]
        held = np.zeros(self.left.shape[1], dtype=bool)
        held[sources.node] = True
        return np.concatenate([self.left[:, ~held], astray], axis=1)

    @property
    def worst_mva(self) -> Array:
        """The largest part of them in each case, shape (n,)."""
        parts = np.maximum(np.abs(self._missing.real), np.abs(self._missing.imag))
        return np.nan_to_num(parts.max(axis=1, initial=0), nan=np.inf)

    @functools.cached_property
    def _astray_pu(self) -> Array:
        """By how much sources miss their voltages, the largest in each case, shape (n,)."""
        sources = self.live.sources
        volts, target = self.volts[:, sources.node], self.live.target
        angles = np.abs(volts - target)
        sizes = np.abs(np.abs(volts) - np.abs(target))
        error = np.where(sources.is_fixed, angles, sizes) / sources.kv
        return np.nan_to_num(error.max(axis=1, initial=0), nan=np.inf)

    @property
    def holds(self) -> Array:
        return np.asarray(self._astray_pu <= VOLTAGE_PU)

    @property
    def accepted(self) -> Array:
        """Which cases certify, shape (n,)."""
        through = np.abs(self._delivered).max(axis=1, initial=0)
        limit = np.maximum(ABSOLUTE_MVA, RELATIVE * through)
        return np.asarray((self.worst_mva <= limit) & self.holds)

    def judged(self) -> Certificate:
        """The certificate of the worst case.

        Branches answer by the network's own equations, which the base case's figures have been
        compared with; what loads draw is what was asked, so that a lack shows as a mismatch.
        """
        p, q = (
            float(np.abs(part).max(initial=0)) for part in (self._missing.real, self._missing.imag)
        )
        astray = float(self._astray_pu.max(initial=0))
        return Certificate(p, q, 0.0, 0.0, max_setpoint_error_pu=astray)

    # -- handed on ---------------------------------------------------------------------------------

    def column(self, kind: type[Element], name: str) -> Array:
        """A result column, shape (n, n_elements), NaN where there is no result."""
        if kind not in self._tables:
            self._tables[kind] = self._switches() if kind is e.Switch else self._read(kind)
        return np.where(self.alive(kind), self._tables[kind][name], np.nan)

    def _read(self, kind: type[Element]) -> Mapping[str, Array]:
        with np.errstate(all="ignore"):
            return Balanced(self.circuit, self.volts, self.flows, self.drawn).table(kind)

    def _switches(self) -> Mapping[str, Array]:
        """Flows of ideal switches follow from all the others', case by case."""
        network, kinds = self.network, self.network.kinds
        whole = {kind: self._read(kind) for kind in kinds}
        done = [
            complete(
                network,
                Topology(changed(network, self.live.changes.of(case))),
                self.circuit.settings,
                {k: {name: c[at] for name, c in columns.items()} for k, columns in whole.items()},
            )[e.Switch]
            for at, case in enumerate(self.numbers.tolist())
        ]
        return {name: np.stack([each[name] for each in done]) for name in done[0]}

    def chunk(self) -> Chunk:
        """What a sweep hands on."""
        return Chunk(
            cases=self.numbers,
            solved=np.ones(len(self.numbers), dtype=bool),
            judged=self.judged(),
            column=self.column,
            alive=self.alive,
            solver=self.live.model.solver,
        )


def _incidence(at: Array, count: int) -> csr_matrix:
    """Sparse (len(at), count) with a 1 where each element is."""
    return csr_matrix((np.ones(len(at)), (np.arange(len(at)), at)), (len(at), count))
