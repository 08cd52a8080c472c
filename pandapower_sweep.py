"""A sweep on pandapower: many cases of one network, in compiled code wherever that is exact.

pandapower translates and solves the network once. Its own arrays (`pandapower_arrays`) then solve
the cases, and results are read from the voltages with the same arrays and pandapower's own rules.
So whatever pandapower turns into branches, injections and sources is swept.

Two guards stand before it: the admittances and the base voltages must be pandapower's, and the
base case, read our way, must be pandapower's own result tables. What does not pass, what the
arrays cannot say (other nodes, other admittances) and what lightsim2grid does not solve is solved
by pandapower itself, one case after the other.
"""

from __future__ import annotations

import functools
import itertools
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from electrisim import elements as e
from electrisim.certificate import accepts
from electrisim.change import Changes, Edits, Series, Spots, changed
from electrisim.completion import complete
from electrisim.elements import Element
from electrisim.injections import CONSTANT, LAWS, SHARES, Values
from electrisim.network import Array, Network, line_rating_ka
from electrisim.problems import ProblemError
from electrisim.results import COLUMNS, Certificate
from electrisim.sweep import CHUNK_SECONDS, Chunk, solve_each
from electrisim.topology import Topology
from pandapower_arrays import SAME, Arrays, CannotCompileError, Inputs, Solver, incidence

if TYPE_CHECKING:
    from pandapower_electrisim import BalancedModel

#: Fewer cases than this are not worth a compiled network of their own.
FEW = 3
#: How many solutions loads that follow the voltage may take until they settle.
SOLUTIONS = 25
#: Buses and branches of all cases of a chunk together; two chunks are some hundred megabytes.
ELEMENTS = 1_500_000


def sweep(model: BalancedModel, changes: Changes) -> Iterator[Chunk]:
    """Solve the model's network once per case; chunks come in no particular order of the cases."""
    for edits, cases in _groups(model.network, changes):
        note = "they change admittances or nodes" if edits else ""
        compiled = None
        if not edits or len(cases) >= FEW:
            try:
                compiled = _Compiled(model, changes, edits)
            except CannotCompileError as reason:
                note = str(reason)
        if compiled is None:
            yield from _each(model, changes, cases, note)
        else:
            yield from compiled.sweep(cases)


def _each(model: BalancedModel, changes: Changes, cases: Array, note: str) -> Iterator[Chunk]:
    def build(network: Network, topology: Topology) -> AbstractContextManager[BalancedModel]:
        return nullcontext(model.rebuilt(network, topology))

    return solve_each(build, model.network, model.settings, changes, cases.tolist(), note)


# -- which changes the arrays can take -------------------------------------------------------------

#: Kinds whose elements are branches of the arrays, by pandapower's tables.
BRANCHES: Mapping[type[Element], str] = MappingProxyType(
    {
        e.Line: "line",
        e.Transformer: "trafo",
        e.ThreeWindingTransformer: "trafo3w",
        e.Impedance: "impedance",
    }
)


def _within_arrays(network: Network, kind: type[Element], field: str, rows: Array) -> bool:
    """Whether changes of a field of these elements leave nodes and admittances as they are."""
    if kind in BRANCHES:
        return field == "in_service"
    if kind is e.Generator:
        slack = network.rows(kind).column("slack")[rows].any()
        return field in ("p_mw", "scaling") or (field in ("in_service", "vm_pu") and not slack)
    if kind is e.ExternalGrid:
        return field == "vm_pu" and _references(network) == 1
    if field == "in_service":
        # Wards also have an admittance.
        return kind in CONSTANT and kind not in (e.Ward, e.ExtendedWard)
    return kind is e.PVSystem or (kind in LAWS and field in LAWS[kind][1])


def _references(network: Network) -> int:
    grids, generators = network.rows(e.ExternalGrid), network.rows(e.Generator)
    slack = generators.column("slack") & generators.column("in_service")
    return int(grids.column("in_service").sum() + slack.sum())


def _groups(network: Network, changes: Changes) -> Iterator[tuple[Edits, Array]]:
    """Cases that share arrays: (what makes these of the built ones, the cases)."""
    foreign = {
        (kind, field)
        for kind, field in changes.places
        if not _within_arrays(network, kind, field, changes.rows(kind, field))
    }
    labels: list[tuple[Any, ...]] = [()] * changes.count
    for place in foreign & changes.series.keys():
        values = changes.series[place].values
        _, group = np.unique(values, axis=0, return_inverse=True)
        labels = [(*label, g) for label, g in zip(labels, group.ravel().tolist(), strict=True)]
    for place in foreign & changes.spots.keys():
        for case, row, value in zip(*(part.tolist() for part in changes.spots[place]), strict=True):
            labels[case] = (*labels[case], place, row, value)
    by_label: dict[tuple[Any, ...], list[int]] = defaultdict(list)
    for case, label in enumerate(labels):
        by_label[label].append(case)
    for cases in by_label.values():
        edits = {
            kind: {
                row: {name: value for name, value in fields.items() if (kind, name) in foreign}
                for row, fields in by_row.items()
            }
            for kind, by_row in changes.of(cases[0]).items()
            if any(place[0] is kind for place in foreign)
        }
        yield edits, np.array(cases)


# -- from changes to inputs ------------------------------------------------------------------------


class _Compiled:
    """A network in the compiled solver, and how changes of its elements are changes there."""

    def __init__(self, model: BalancedModel, changes: Changes, edits: Edits) -> None:
        self.origin = model
        self.changes = changes
        self.model = self._base(edits)
        self.network, self.topology = self.model.network, self.model.topology
        reason = _reason_against(self.model)
        if reason:
            raise CannotCompileError(reason)
        follows = _follows_voltage(self.model)
        try:
            if follows:
                self.model = _steadied(self.model)
            self.net, self.solution = self.model.net, self.model.solution
        except ProblemError as error:
            raise CannotCompileError("the network as built has no solution") from error
        self.arrays = Arrays(self.net)
        self.load_vm_pu = self._at_loads(self.arrays.voltage[None]) if follows else None
        settings = model.settings
        self.solver = Solver(self.arrays, settings.tolerance or 1e-8, settings.max_iteration)
        self._check_drawn()
        self._check_results()

    def _base(self, edits: Edits) -> BalancedModel:
        """The model with the edits made, and with everything on that some case turns on."""
        network = self.origin.network
        made = {kind: {row: dict(f) for row, f in rows.items()} for kind, rows in edits.items()}
        for kind, field in self.changes.places:
            if field != "in_service" or kind not in (*BRANCHES, e.Generator):
                continue
            is_on = network.rows(kind).column(field)
            for row in self.changes.rows_set(kind, field).tolist():
                if not is_on[row]:
                    made.setdefault(kind, {}).setdefault(row, {})[field] = True
        return self.origin.rebuilt(changed(network, made)) if any(made.values()) else self.origin

    # -- guards

    def _check_drawn(self) -> None:
        """What our laws draw at each bus must be what pandapower's arrays say."""
        values = Values(self.network, self.load_vm_pu)
        drawn = np.zeros((1, self.arrays.count), dtype=complex)
        for kind in CONSTANT:
            if kind in self.network.kinds:
                drawn += self._drawn(values, kind)
        error = np.abs(drawn[0] - self.arrays.drawn_mva)[self.solver.inner]
        if error.max() > SAME * max(1.0, np.abs(self.arrays.drawn_mva).max()):
            raise CannotCompileError("the power drawn is not what pandapower's arrays say")

    def _check_results(self) -> None:
        """The base case, read our way, must be pandapower's own result tables."""
        inputs = Inputs(1, np.zeros((2, 0), dtype=np.int64))
        number = np.zeros(1, dtype=np.int64)
        values = Values(self.network, self.load_vm_pu)
        ours = _Cases(self, number, inputs, values, self.arrays.voltage[None])
        for kind, columns in self.solution.tables.items():
            if kind is e.Switch:
                continue
            alive = self.topology.alive(kind)
            if not np.array_equal(ours.alive(kind)[0], alive):
                raise CannotCompileError(f"the supply of {kind.key} is not what pandapower says")
            for name, theirs in columns.items():
                error = np.abs(ours.column(kind, name)[0] - theirs)[alive]
                known = ~np.isnan(theirs[alive])
                if not (error <= SAME * np.maximum(1.0, np.abs(theirs[alive])))[known].all():
                    raise CannotCompileError(f"{name} of {kind.key} is not what pandapower says")

    # -- inputs

    def _drawn(self, values: Values, kind: type[Element]) -> Array:
        """What a kind draws at each bus of the arrays, shape (n or 1, n_bus) [MVA]."""
        bus = self.arrays.of_bus[self.network.rows(kind).at["bus"]]
        active = values.get(kind, "in_service").astype(bool) & (bus < self.arrays.count)
        power = np.where(active, kind.ports[0].sign * values.power_mva(kind), 0)
        return np.asarray(power @ incidence(bus, self.arrays.count))

    def values_of(self, cases: Array) -> Values:
        """The fields that these cases change within the arrays."""
        values = Values(self.network, self.load_vm_pu)
        new = np.full(self.changes.count, -1)
        new[cases] = np.arange(len(cases))
        for (kind, field), series in self.changes.series.items():
            if _within_arrays(self.network, kind, field, series.rows):
                part = Series(series.rows, series.values[cases])
                values.set(kind, field, len(cases), part)
        for (kind, field), spots in self.changes.spots.items():
            mine = new[spots.cases] >= 0
            if mine.any() and _within_arrays(self.network, kind, field, spots.rows):
                part_ = Spots(new[spots.cases[mine]], spots.rows[mine], spots.values[mine])
                values.set(kind, field, len(cases), part_)
        return values

    def inputs_of(self, values: Values, count: int) -> Inputs:
        """What the changed fields mean to the arrays."""
        built, drawn = Values(self.network, self.load_vm_pu), None
        kinds = values.kinds() & set(CONSTANT)
        if self.load_vm_pu is not None:
            kinds.add(e.Load)
        for kind in kinds:
            change = self._drawn(values, kind) - self._drawn(built, kind)
            drawn = (self.arrays.drawn_mva if drawn is None else drawn) + change
        inputs = Inputs(count, self._off(values), drawn)
        if e.Generator in values.kinds():
            inputs = self._with_generators(inputs, values)
        if e.ExternalGrid in values.kinds():
            only = self.arrays.gens_of("ext_grid", len(self.network.rows(e.ExternalGrid))) >= 0
            inputs = inputs._replace(ref_vm=values.get(e.ExternalGrid, "vm_pu")[:, only][:, 0])
        return inputs

    def _off(self, values: Values) -> Array:
        pairs = [np.zeros((2, 0), dtype=np.int64)]
        for kind, table in BRANCHES.items():
            if (kind, "in_service") not in values.changed:
                continue
            case, row = np.nonzero(~values.get(kind, "in_service").astype(bool))
            for branch in self.arrays.branches_of(table):
                out = branch[row]
                pairs.append(np.stack([case, out])[:, out >= 0])
        return np.concatenate(pairs, axis=1)

    @functools.cached_property
    def _of_generator(self) -> Array:
        """Generator of the arrays of each Generator, -1 where it is out."""
        return self.arrays.gens_of("gen", len(self.network.rows(e.Generator)))

    def gens(self, values: Values) -> tuple[Array, Array]:
        """Which generators of the arrays are on, and their power [MW]; (n or 1, n_gen)."""
        mine = np.flatnonzero(self._of_generator >= 0)
        here = self._of_generator[mine]
        p_mw = values.get(e.Generator, "p_mw") * values.get(e.Generator, "scaling")
        is_on = values.get(e.Generator, "in_service").astype(bool)
        count = max(len(p_mw), len(is_on))
        on = np.ones((count, len(self.arrays.gen_bus)), dtype=bool)
        power = np.repeat(self.arrays.gen_p_mw[None], count, axis=0)
        on[:, here] = is_on[:, mine]
        power[:, here] = p_mw[:, mine]
        return on, power

    def _with_generators(self, inputs: Inputs, values: Values) -> Inputs:
        a = self.arrays
        at_bus = incidence(a.gen_bus, a.count)
        on, p_mw = self.gens(values)
        inputs = inputs._replace(
            pv_mw=_rows((np.where(on, p_mw, 0) @ at_bus)[:, a.pv], inputs.count),
            released=_rows((on.astype(float) @ at_bus)[:, a.pv] == 0, inputs.count),
        )
        if (e.Generator, "vm_pu") in values.changed:
            mine = np.flatnonzero(self._of_generator >= 0)
            held = np.full(a.count, -1)
            held[a.pv] = np.arange(len(a.pv))
            at = held[a.gen_bus[self._of_generator[mine]]]
            pv_vm = np.tile(self.solver.base_pv_vm, (inputs.count, 1))
            pv_vm[:, at[at >= 0]] = values.get(e.Generator, "vm_pu")[:, mine[at >= 0]]
            inputs = inputs._replace(pv_vm=pv_vm)
        return inputs

    def _agree(self, values: Values, count: int) -> Array:
        """In which cases generators at one bus ask for one voltage, shape (n,)."""
        a = self.arrays
        if (e.Generator, "vm_pu") not in values.changed:
            return np.ones(count, dtype=bool)
        mine = np.flatnonzero(self._of_generator >= 0)
        asked = np.tile(a.gen_vm_pu, (count, 1))
        asked[:, self._of_generator[mine]] = values.get(e.Generator, "vm_pu")[:, mine]
        on, _ = self.gens(values)
        high, low = np.full((count, a.count), -np.inf), np.full((count, a.count), np.inf)
        for gen, bus in enumerate(a.gen_bus):
            high[:, bus] = np.fmax(high[:, bus], np.where(on[:, gen], asked[:, gen], np.nan))
            low[:, bus] = np.fmin(low[:, bus], np.where(on[:, gen], asked[:, gen], np.nan))
        return np.asarray((high <= low + 1e-9).all(axis=1) | (high == -np.inf).all(axis=1))

    # -- the sweep

    def sweep(self, cases: Array) -> Iterator[Chunk]:
        """The cases in chunks, and what has no solution here solved by pandapower itself.

        A chunk is in the compiled solver, which needs no interpreter, while the one before it is
        judged and used.
        """
        most = max(16, ELEMENTS // (self.arrays.count + len(self.arrays.f)))
        size, start = max(16, most // 8), 0
        with ThreadPoolExecutor(max_workers=1) as ahead:
            following = ahead.submit(self._solved, cases[:size])
            while start < len(cases):
                solved = following.result()
                start += solved.count
                pace = solved.seconds / solved.count
                size = int(np.clip(CHUNK_SECONDS / pace, 16, min(2 * size, most)))
                if start < len(cases):
                    following = ahead.submit(self._solved, cases[start : start + size])
                chunk, rest = self._judged(solved)
                if len(chunk.cases):
                    yield chunk
                if len(rest):
                    note = "lightsim2grid found no solution"
                    yield from _each(self.origin, self.changes, rest, note)

    def _solved(self, numbers: Array) -> _Solved:
        begin = time.monotonic()
        values = self.values_of(numbers)
        if self.load_vm_pu is None:
            inputs = self.inputs_of(values, len(numbers))
            voltage, solved = self.solver.solve(inputs)
        else:
            voltage, solved = self._settled(values, len(numbers))
            inputs = self.inputs_of(values, len(numbers))
        solved &= self._agree(values, len(numbers))
        cases = _Cases(self, numbers, inputs, values, voltage)
        return _Solved(cases, solved, len(numbers), time.monotonic() - begin)

    def _at_loads(self, voltage: Array) -> Array:
        """Voltage at every load, shape (n, n_loads); 0 without supply."""
        bus = self.arrays.of_bus[self.network.rows(e.Load).at["bus"]]
        none = np.zeros((len(voltage), 1))
        return np.hstack([np.abs(voltage), none])[:, bus]

    def _settled(self, values: Values, count: int) -> tuple[Array, Array]:
        """As `Solver.solve`, again and again until loads draw what they do at its voltages.

        Leaves these voltages in `values`. What they draw changes by some hundredths of what the
        voltage does, so that each solution is closer by as much; what does not settle is not
        solved.
        """
        values.load_vm_pu = np.repeat(values.load_vm_pu, count, axis=0)
        voltage = np.zeros((count, self.arrays.count), dtype=complex)
        solved = np.zeros(count, dtype=bool)
        tolerance = (self.model.settings.tolerance or 1e-8) / 10
        rows = np.arange(count)
        for _ in range(SOLUTIONS):
            part = values.take(rows)
            voltage[rows], found = self.solver.solve(self.inputs_of(part, len(rows)))
            before = self._drawn(part, e.Load)
            values.load_vm_pu[rows] = self._at_loads(voltage[rows])
            moved = np.abs(self._drawn(values.take(rows), e.Load) - before).max(axis=1)
            solved[rows] = found & (moved <= tolerance)
            rows = rows[found & (moved > tolerance)]
            if not len(rows):
                break
        return voltage, solved

    def _judged(self, found: _Solved) -> tuple[Chunk, Array]:
        """What certifies, and the numbers of the cases that have no solution that does."""
        cases, solved = found.cases, found.solved
        numbers = cases.numbers
        if not solved.all():
            cases = cases.take(np.flatnonzero(solved))
        accepted = cases.accepted() & ~cases.cuts_a_dc_line()
        if not accepted.all():
            cases = cases.take(np.flatnonzero(accepted))
        chunk = Chunk(
            cases=cases.numbers,
            solved=np.ones(cases.count, dtype=bool),
            judged=cases.judged(),
            column=cases.column,
            alive=cases.alive,
            solver="nr (lightsim2grid)",
        )
        return chunk, np.setdiff1d(numbers, cases.numbers)


class _Solved(NamedTuple):
    """Cases as the compiled solver left them: which have a solution, and how long it took [s]."""

    cases: _Cases
    solved: Array
    count: int
    seconds: float


def _rows(values: Array, count: int) -> Array:
    return np.broadcast_to(values, (count, values.shape[1]))


def _reason_against(model: BalancedModel) -> str:
    """Why pandapower's arrays are not all that matters; empty where they are."""
    settings, network = model.settings, model.network
    foreign = [kind for kind in network.kinds if kind in (*_CONTROLLED, *_DC)]
    reasons = {
        "the compiled solver is for AC": settings.mode != "ac",
        "an algorithm was asked for": settings.algorithm not in (None, "nr"),
        "reactive limits are enforced": settings.enforce_q_lims,
        "the slack is distributed": settings.distributed_slack,
        f"{foreign[0].typ} needs its own equations" if foreign else "": bool(foreign),
    }
    return next((reason for reason, holds in reasons.items() if holds), "")


def _follows_voltage(model: BalancedModel) -> bool:
    """Whether a load draws by the voltage at its bus."""
    loads = model.network.rows(e.Load)
    shares = any(loads.column(name).any() for name in SHARES) if len(loads) else False
    return model.settings.voltage_depend_loads and shares


def _steadied(model: BalancedModel) -> BalancedModel:
    """The model with every load at the constant power that it draws at the built state."""
    drawn = model.solution.tables[e.Load]
    constant: dict[str, float] = dict.fromkeys(SHARES, 0.0)
    alive = np.flatnonzero(model.topology.alive(e.Load)).tolist()
    edits = dict.fromkeys(range(len(model.network.rows(e.Load))), constant)
    for row in alive:
        power = {name: float(drawn[name][row]) for name in ("p_mw", "q_mvar")}
        edits[row] = {**constant, **power, "scaling": 1.0}
    return model.rebuilt(changed(model.network, {e.Load: edits}), model.topology)


_CONTROLLED = (e.SVC, e.TCSC, e.SSC)
_DC = (e.DCBus, e.LineDC, e.LoadDC, e.SourceDC, e.VSC, e.B2BVSC, e.BipolarVSC)


# -- results ---------------------------------------------------------------------------------------


class _End(NamedTuple):
    """One end of a kind's branches: its word in result columns, and where it is in the arrays."""

    word: str
    branch: Array
    at_from: bool


#: The ends of a kind's branches: (word, which of its branches in the arrays, at its from end).
_ENDS: Mapping[type[Element], tuple[tuple[str, int, bool], ...]] = MappingProxyType(
    {
        e.Line: (("from", 0, True), ("to", 0, False)),
        e.Transformer: (("hv", 0, True), ("lv", 0, False)),
        e.ThreeWindingTransformer: (("hv", 0, True), ("mv", 1, False), ("lv", 2, False)),
        e.Impedance: (("from", 0, True), ("to", 0, False)),
    }
)


class _Cases:
    """Solved cases and their results, each column made when it is asked for.

    What is in the arrays is of shape (n_rows, n_cases), and what `alive` and `column` hand out of
    shape (n_cases, n_elements). The last row of voltages and currents is 0 and stands for what the
    arrays do not have.
    """

    def __init__(
        self, compiled: _Compiled, numbers: Array, inputs: Inputs, values: Values, voltage: Array
    ) -> None:
        self.c = compiled
        self.numbers = numbers
        self.inputs = inputs
        self.values = values
        self.count = inputs.count
        self.voltage = np.zeros((compiled.arrays.count + 1, self.count), dtype=complex)
        self.voltage[:-1] = voltage.T
        self._columns: dict[tuple[type[Element], str], Array] = {}

    def take(self, rows: Array) -> _Cases:
        """Some of the cases."""
        parts = self.inputs.take(rows), self.values.take(rows), self.voltage[:-1, rows].T
        return _Cases(self.c, self.numbers[rows], *parts)

    # -- in the arrays

    @functools.cached_property
    def vm_pu(self) -> Array:
        return np.abs(self.voltage)

    @functools.cached_property
    def va_degree(self) -> Array:
        return np.angle(self.voltage, deg=True)

    @functools.cached_property
    def supplied(self) -> Array:
        """Which buses of the arrays have a voltage."""
        return self.voltage != 0

    @functools.cached_property
    def current(self) -> tuple[Array, Array]:
        """What enters each branch at its from and at its to end [pu]."""
        found = []
        for y in self.c.arrays.y_ends:
            ends = y @ self.voltage[:-1]
            case, branch = self.inputs.off
            ends[branch, case] = 0
            found.append(ends)
        return found[0], found[1]

    @functools.cached_property
    def current_size(self) -> tuple[Array, Array]:
        """How large these currents are [pu]."""
        at_f, at_t = self.current
        return np.abs(at_f), np.abs(at_t)

    @functools.cached_property
    def injected_mva(self) -> Array:
        """What flows from each bus into branches and earth."""
        a, (at_f, at_t) = self.c.arrays, self.current
        into = a.from_bus @ at_f[:-1] + a.to_bus @ at_t[:-1]
        into += a.y_earth[:, None] * self.voltage[:-1]
        return np.asarray(self.voltage[:-1] * np.conj(into) * a.base_mva)

    @functools.cached_property
    def mismatch_mva(self) -> Array:
        """Injected less asked where the arrays fix it: P at PQ and PV buses, Q at PQ buses."""
        a, inputs = self.c.arrays, self.inputs
        drawn = a.drawn_mva[:, None] if inputs.drawn_mva is None else inputs.drawn_mva.T
        built = self.c.solver.base_pv_mw[a.pv, None]
        delivered = built if inputs.pv_mw is None else inputs.pv_mw.T
        mismatch = self.injected_mva + drawn
        mismatch[a.pv] -= delivered
        mismatch[a.ref] = 0
        free = np.zeros((len(a.pv), 1), dtype=bool)
        if inputs.released is not None:
            free = inputs.released.T
        mismatch[a.pv] = np.where(free, mismatch[a.pv], mismatch[a.pv].real)
        mismatch[~self.supplied[:-1]] = 0
        return mismatch

    @functools.cached_property
    def _worst_mva(self) -> tuple[Array, Array]:
        """The largest mismatch of each case [MW, Mvar]."""
        p, q = self.mismatch_mva.real, self.mismatch_mva.imag
        return np.abs(p).max(axis=0, initial=0), np.abs(q).max(axis=0, initial=0)

    @functools.cached_property
    def _astray_pu(self) -> Array:
        """How far generators are from the voltage that they are to hold, per case."""
        a, inputs = self.c.arrays, self.inputs
        held = self.c.solver.base_pv_vm[None] if inputs.pv_vm is None else inputs.pv_vm
        holding = self.supplied[a.pv].T
        if inputs.released is not None:
            holding = holding & ~inputs.released
        error = np.where(holding, np.abs(self.vm_pu[a.pv].T - held), 0)
        return np.asarray(error.max(axis=1, initial=0))

    def accepted(self) -> Array:
        """Which cases certify: powers add up, and generators hold their voltage; shape (n,)."""
        worst = np.maximum(*self._worst_mva)
        return accepts(worst, self._astray_pu, lambda: np.abs(self.injected_mva).max(axis=0))

    def judged(self) -> Certificate:
        """The certificate of the worst case.

        Branches answer by the arrays, which the base case's own certificate has compared with the
        graph's data; what loads draw is what was asked, so that a lack shows as a mismatch.
        """
        p, q = (float(part.max(initial=0)) for part in self._worst_mva)
        astray = float(self._astray_pu.max(initial=0))
        return Certificate(p, q, 0.0, 0.0, max_setpoint_error_pu=astray)

    def cuts_a_dc_line(self) -> Array:
        """Cases that leave a DC line without one of its ends, shape (n,)."""
        if e.DCLine not in self.c.network.kinds:
            return np.zeros(self.count, dtype=bool)
        lost = self.c.topology.alive(e.DCLine)[None] & ~self.alive(e.DCLine)
        return np.asarray(lost.any(axis=1))

    # -- of the elements

    def alive(self, kind: type[Element]) -> Array:
        """Which elements are in service and supplied, shape (n, n_elements)."""
        rows = self.c.network.rows(kind)
        if (kind, "in_service") in self.values.changed:
            working = self.values.get(kind, "in_service").astype(bool)
        else:
            working = self.c.topology.in_service(rows)[None]
        if kind in BRANCHES:
            ends = [self.supplied[self._bus_of(end)].T for end in self._ends(kind)]
            return np.asarray(np.logical_or.reduce(ends) & working)
        fields = [port.bus for port in kind.ports]
        if kind is e.Switch:
            fields = ["bus"]
        fed = [self.supplied[self.c.arrays.of_bus[rows.at[field]]].T for field in fields]
        if kind is e.Bus:
            fed = [self.supplied[self.c.arrays.of_bus].T]
        return np.asarray(np.logical_and.reduce(fed) & working)

    def _ends(self, kind: type[Element]) -> list[_End]:
        branches = self.c.arrays.branches_of(BRANCHES[kind])
        return [_End(word, branches[k], at_from) for word, k, at_from in _ENDS[kind]]

    def _bus_of(self, end: _End) -> Array:
        """The bus of each branch end in the arrays; the last row where the branch is out."""
        a = self.c.arrays
        buses = np.r_[a.f if end.at_from else a.t, a.count]
        return np.asarray(buses[end.branch])

    def _current_of(self, end: _End) -> Array:
        return np.asarray(self.current[0 if end.at_from else 1][end.branch])

    def _power_of(self, end: _End) -> Array:
        """What enters at one end of a kind's branches [MVA]."""
        base = self.c.arrays.base_mva
        return np.asarray(self.voltage[self._bus_of(end)] * np.conj(self._current_of(end)) * base)

    def _i_ka(self, end: _End) -> Array:
        a = self.c.arrays
        kv = np.r_[a.base_kv, np.inf][self._bus_of(end)]
        size = self.current_size[0 if end.at_from else 1][end.branch]
        return np.asarray(size * (a.base_mva / (np.sqrt(3) * kv))[:, None])

    def column(self, kind: type[Element], name: str) -> Array:
        """A result column of these cases, shape (n, n_elements), NaN where there is no result."""
        if (kind, name) not in self._columns:
            if kind is e.Switch:
                self._add_switches()
            else:
                found = _READERS[kind](self, kind, name).T
                found = np.broadcast_to(found, (self.count, found.shape[1]))
                alive = self.alive(kind)
                found = found if alive.all() else np.where(alive, found, np.nan)
                self._columns[kind, name] = found
        return self._columns[kind, name]

    def _bus(self, kind: type[Element], name: str) -> Array:
        of_bus = self.c.arrays.of_bus
        if name in ("vm_pu", "va_degree"):
            return self._voltage_at(of_bus, name)
        total = np.zeros((len(of_bus), self.count))
        for other in self.c.network.kinds:
            rows = self.c.network.rows(other)
            # Neither branches nor DC lines count: pandapower's sum of what stands at the bus.
            for port in other.ports if len(other.ports) == 1 else ():
                power = self.column(other, port.p if name == "p_mw" else port.q or "")
                total += incidence(rows.at[port.bus], len(of_bus)).T @ (
                    port.sign * np.nan_to_num(power).T
                )
        return total

    def _voltage_at(self, bus: Array, name: str) -> Array:
        return np.asarray((self.vm_pu if name.startswith("vm") else self.va_degree)[bus])

    def _branch(self, kind: type[Element], name: str) -> Array:
        ends = self._ends(kind)
        if name == "loading_percent":
            return self._loading(kind, ends)
        if name in ("pl_mw", "ql_mvar"):
            total = np.sum([self._power_of(end) for end in ends], axis=0)
            return np.asarray(total.real if name == "pl_mw" else total.imag)
        if name == "i_ka":
            return np.maximum.reduce([self._i_ka(end) for end in ends])
        quantity, word, _ = name.split("_")
        if word == "internal":
            star = ends[0]._replace(at_from=False)
            return self._voltage_at(self._bus_of(star), quantity)
        end = next(end for end in ends if end.word == word)
        if quantity in ("p", "q"):
            power = self._power_of(end)
            return np.asarray(power.real if quantity == "p" else power.imag)
        if quantity == "i":
            return self._i_ka(end)
        return self._voltage_at(self._bus_of(end), quantity)

    def _loading(self, kind: type[Element], ends: list[_End]) -> Array:
        rows = self.c.network.rows(kind)

        def of(field: str) -> Array:
            return rows.column(field)[:, None]

        if kind is e.Line:
            return np.maximum(*map(self._i_ka, ends)) / line_rating_ka(rows)[:, None] * 100
        shares = []
        for end in ends:
            one = f"_{end.word}" if kind is e.ThreeWindingTransformer else ""
            rated_mva = of(f"sn{one}_mva")
            if self.c.model.settings.trafo_loading == "current":
                rated_ka = rated_mva / (np.sqrt(3) * of(f"vn_{end.word}_kv"))
                shares.append(self._i_ka(end) / rated_ka)
            else:
                shares.append(np.abs(self._power_of(end)) / rated_mva)
        loading = 100 * np.maximum.reduce(shares)
        return loading / of("parallel") / of("df") if kind is e.Transformer else loading

    def _at_its_bus(self, kind: type[Element], name: str) -> Array:
        bus = self.c.arrays.of_bus[self.c.network.rows(kind).at["bus"]]
        return self._voltage_at(bus, name)

    def _constant(self, kind: type[Element], name: str) -> Array:
        if name in ("vm_pu", "va_degree"):
            return self._at_its_bus(kind, name)
        power = self.values.power_mva(kind).T
        return np.asarray(power.real if name == "p_mw" else power.imag)

    def _ward(self, kind: type[Element], name: str) -> Array:
        """Constant power, admittance, and what flows behind the impedance of an extended ward."""
        (behind,) = self.c.arrays.branches_of("xward") if kind is e.ExtendedWard else (None,)
        if "internal" in name:
            return self._voltage_at(self._bus_of(_End("", behind, at_from=False)), name)
        if name in ("vm_pu", "va_degree"):
            return self._at_its_bus(kind, name)
        at_1_pu = self.values.get(kind, "pz_mw" if name == "p_mw" else "qz_mvar").T
        total = self._constant(kind, name) + self._at_its_bus(kind, "vm_pu") ** 2 * at_1_pu
        if kind is e.ExtendedWard:
            power = self._power_of(_End("", behind, at_from=True))
            total = total + (power.real if name == "p_mw" else power.imag)
        return np.asarray(total)

    def _shunt(self, kind: type[Element], name: str) -> Array:
        vm_pu = self._at_its_bus(kind, "vm_pu")
        if name == "vm_pu":
            return vm_pu
        rows = self.c.network.rows(kind)
        bus_kv = self.c.network.rows(e.Bus).column("vn_kv")[rows.at["bus"]]
        vn_kv = np.where(np.isnan(rows.column("vn_kv")), bus_kv, rows.column("vn_kv"))
        at_1_pu = rows.column(name) * rows.column("step") * (bus_kv / vn_kv) ** 2
        return np.asarray(vm_pu**2 * at_1_pu[:, None])

    @functools.cached_property
    def _generated(self) -> tuple[Array, Array]:
        """What each generator of the arrays delivers, and a row of 0 [MW, Mvar]."""
        a = self.c.arrays
        shape = (len(a.gen_bus), self.count)
        on, p_mw = (np.broadcast_to(part.T, shape) for part in self.c.gens(self.values))
        drawn = a.drawn_mva[:, None] if self.inputs.drawn_mva is None else self.inputs.drawn_mva.T
        total = self.injected_mva + drawn
        p, q = (
            np.zeros((len(a.gen_bus) + 1, self.count)),
            np.zeros((len(a.gen_bus) + 1, self.count)),
        )
        p[:-1] = np.where(on, p_mw, 0)
        for bus, group in itertools.groupby(np.argsort(a.gen_bus, kind="stable"), a.gen_bus.item):
            here = np.array(list(group))
            q[here] = _shared_q(total[bus].imag, on[here], a.gen_range[here])
            if bus in a.ref:
                p[here] = _shared_p(
                    total[bus].real, p[here], on[here], a.ref_gen[here], a.gen_weight[here]
                )
        return p, q

    def _source(self, kind: type[Element], name: str) -> Array:
        if name in ("vm_pu", "va_degree"):
            return self._at_its_bus(kind, name)
        at = self.c.arrays.gens_of(kind.table, len(self.c.network.rows(kind)))
        return self._generated[0 if name == "p_mw" else 1][at]

    def _dc_line(self, kind: type[Element], name: str) -> Array:
        """pandapower's two generators of each DC line: at its to end, then at its from end."""
        rows, alive = self.c.network.rows(kind), self.c.topology.alive(kind)
        first = len(self.c.network.rows(e.Generator))
        gens = self.c.arrays.gens_of("gen", first + 2 * int(alive.sum()))[first:]
        quantity, _, end = name.rpartition("_")[0].partition("_")
        if quantity in ("vm", "va"):
            return self._voltage_at(self.c.arrays.of_bus[rows.at[f"{end}_bus"]], quantity)
        found = np.full((len(rows), self.count), np.nan)
        power = -self._generated[quantity == "q"][gens]
        at_to, at_from = power[::2], power[1::2]
        found[alive] = at_to + at_from if quantity == "pl" else at_from if end == "from" else at_to
        return found

    # -- switches

    def _add_switches(self) -> None:
        """Switch flows follow from all the other results, case by case."""
        network, settings = self.c.network, self.c.model.settings
        stacks: dict[str, list[Array]] = defaultdict(list)
        for case, number in enumerate(self.numbers.tolist()):
            tables: dict[type[Element], dict[str, Array]] = {
                kind: {name: self.column(kind, name)[case] for name in _flowing(kind)}
                for kind in network.kinds
                if kind is not e.Switch
            }
            tables[e.Switch] = self._resistive_switches(case)
            topology = Topology(changed(self.c.origin.network, self.c.changes.of(number)))
            done = complete(network, topology, settings, tables)
            for name, values in done[e.Switch].items():
                stacks[name].append(values)
        self._columns |= {(e.Switch, name): np.stack(stack) for name, stack in stacks.items()}

    def _resistive_switches(self, case: int) -> dict[str, Array]:
        """Flows of the switches that have an impedance; NaN for the others."""
        rows = self.c.network.rows(e.Switch)
        columns = {name: np.full(len(rows), np.nan) for name in COLUMNS[e.Switch]}
        at = np.flatnonzero(self.c.net["_impedance_bb_switches"])
        if len(at):
            (branches,) = self.c.arrays.branches_of("switch")
            ends = [_End("from", branches, True), _End("to", branches, False)]
            for end in ends:
                power = self._power_of(end)[:, case]
                columns[f"p_{end.word}_mw"][at] = power.real
                columns[f"q_{end.word}_mvar"][at] = power.imag
            columns["i_ka"][at] = np.maximum(*map(self._i_ka, ends))[:, case]
        return columns


def _flowing(kind: type[Element]) -> tuple[str, ...]:
    """The columns that Kirchhoff's law needs of a kind."""
    names = [name for port in kind.ports for name in (port.p, port.q) if name]
    return ("vm_pu",) if kind is e.Bus else tuple(names)


def _shared_q(total_mvar: Array, on: Array, limits: Array) -> Array:
    """Reactive power of generators at one bus: in proportion to their ranges, as pandapower does.

    total_mvar shape (n_cases,); on shape (n_gen, n_cases); limits shape (n_gen, 2)
    """
    count = on.sum(axis=0)
    low, high = (np.where(on, limits[:, [k]], 0.0) for k in (0, 1))
    width = (high - low).sum(axis=0)
    equal = np.where(count > 0, total_mvar / np.maximum(count, 1), 0.0)
    share = (total_mvar - low.sum(axis=0)) / np.where(width == 0, 1.0, width)
    alone = (count == 1) | (width == 0)
    return np.where(on, np.where(alone, equal, low + share * (high - low)), 0.0)


def _shared_p(total_mw: Array, p_mw: Array, on: Array, is_ref: Array, weight: Array) -> Array:
    """Active power of generators at one reference bus: what the others there do not deliver.

    By slack weight where there is any, else in equal parts, as pandapower does.
    """
    ref = is_ref[:, None] & on
    left = total_mw - np.where(ref, 0.0, p_mw).sum(axis=0)
    weights = np.where(ref, weight[:, None], 0.0)
    whole = weights.sum(axis=0)
    start = np.where(ref & (whole > 0), p_mw, 0.0)
    equal = ref / np.maximum(ref.sum(axis=0), 1)
    share = np.where(whole > 0, weights / np.where(whole == 0, 1.0, whole), equal)
    return np.where(ref, start + (left - start.sum(axis=0)) * share, p_mw)


_READERS: Mapping[type[Element], Callable[[_Cases, type[Element], str], Array]] = MappingProxyType(
    {
        e.Bus: _Cases._bus,
        **dict.fromkeys(BRANCHES, _Cases._branch),
        **dict.fromkeys(CONSTANT, _Cases._constant),
        e.Ward: _Cases._ward,
        e.ExtendedWard: _Cases._ward,
        **dict.fromkeys((e.Shunt, e.ShuntReactor, e.Capacitor), _Cases._shunt),
        e.Generator: _Cases._source,
        e.ExternalGrid: _Cases._source,
        e.DCLine: _Cases._dc_line,
    }
)
