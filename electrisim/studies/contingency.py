"""Contingency analysis: what the loss of elements does to the rest of the network."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Annotated, Any, ClassVar, Literal

import msgspec
import numpy as np

from electrisim import elements as e
from electrisim import premises
from electrisim.certificate import certify
from electrisim.change import outages
from electrisim.completion import complete
from electrisim.elements import Element
from electrisim.engine import Engines
from electrisim.fields import quantity, says
from electrisim.network import Array, Network
from electrisim.problems import Problem, ProblemError, nearest, shorten
from electrisim.results import Answer, Tables
from electrisim.spool import Spool
from electrisim.studies.powerflow import PowerFlow, idle
from electrisim.sweep import Chunk, sweep, worst
from electrisim.topology import Topology

#: element_type → the kinds whose elements are lost one by one.
KINDS_OF: Mapping[str, tuple[type[Element], ...]] = MappingProxyType(
    {
        "line": (e.Line,),
        "transformer": (e.Transformer, e.ThreeWindingTransformer),
        "generator": (
            e.Generator, e.StaticGenerator, e.AsymmetricStaticGenerator, e.PVSystem, e.ExternalGrid,
        ),
        "load": (e.Load, e.AsymmetricLoad, e.Motor),
        "switch": (e.Switch,),
    }
)  # fmt: skip
#: Kinds whose loading is watched, and kinds whose supply counts as load.
LOADED = (e.Line, e.Transformer, e.ThreeWindingTransformer, e.LineDC)
CONSUMERS = (e.Load, e.AsymmetricLoad, e.Motor, e.LoadDC)
#: A value at its limit is within it, whatever its last digit.
ROUNDING = 1e-9
#: Beyond its limit already without an outage, a value counts where it is worse by this share of it.
WORSE = 0.01
#: How many of the worst outages the summary ranks.
RANKED = 50


class Contingency(PowerFlow, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Settings of a contingency analysis."""

    name: ClassVar[str] = "contingency"

    mode: Annotated[Literal["ac", "dc"], says("AC, or linearised DC (pandapower).")] = "ac"
    element_type: Annotated[
        Literal["line", "transformer", "generator", "load", "switch", "all"],
        says(
            "Which elements are lost one by one. transformer: with two and three windings; "
            "generator: static ones, PV systems and external grids too, the last where another "
            "source of the angle remains; load: motors too; switch: closed ones open."
        ),
    ] = "all"
    outages: (
        Annotated[
            list[str | list[str]],
            says("The outages by id; a list of ids is lost together. It replaces element_type."),
        ]
        | None
    ) = None
    min_vm_pu: Annotated[float, quantity("pu", "Lowest voltage where the bus says none.", ge=0)] = (
        0.9
    )
    max_vm_pu: Annotated[
        float, quantity("pu", "Highest voltage where the bus says none.", gt=0)
    ] = 1.1
    max_loading_percent: Annotated[
        float, quantity("%", "Largest loading where the branch says none.", gt=0)
    ] = 100.0
    details: Annotated[bool, says("Also answer every outage's tables, in columns.")] = False


class Violation(msgspec.Struct, frozen=True, gc=False):
    """A value beyond its limit; a bus without supply has no value."""

    element: str
    typ: str
    quantity: str
    value: float | None
    limit: float


class Outcome(msgspec.Struct, frozen=True, gc=False):
    """What an outage does; extremes over what is alive."""

    id: str
    name: str | None
    typ: str
    elements: list[str]
    status: str
    max_loading_percent: float | None = None
    max_loading_element: str | None = None
    min_vm_pu: float | None = None
    min_vm_element: str | None = None
    max_vm_pu: float | None = None
    max_vm_element: str | None = None
    lost_load_mw: float | None = None
    violations: list[Violation] = []


class Ranked(msgspec.Struct, frozen=True):
    """An outage in the ranking; severity sums up by how much of each limit values are beyond it."""

    id: str
    name: str | None
    status: str
    lost_load_mw: float | None
    severity: float | None


class Base(msgspec.Struct, frozen=True):
    """The network without any outage."""

    violations: list[Violation]


class Summary(msgspec.Struct, frozen=True):
    """How many outages have which status, and the worst of them, the worst first."""

    analysed: int
    diverged: int
    islanded: int
    violations: int
    ok: int
    ranking: list[Ranked]


#: What stands beside the tables.
SHAPES = (Base, Outcome, Summary, Violation, Ranked)

Lost = tuple[type[Element], int]
#: Largest loading, lowest and highest voltage, each with whose it is.
Extremes = tuple[float | None, str | None, float | None, str | None, float | None, str | None]


def run(network: Network, settings: Contingency, engines: Engines) -> Answer:
    """Solve the network with each outage and compare it with the network as it is.

    Raises ProblemError (unknown outages, the engine cannot represent something) and
    NotConvergedError (the network has no solution even without an outage).
    """
    cases = _cases(network, settings)
    engine = engines.admit(network, settings)
    topology = Topology(network)
    premises.check(network, topology, settings)
    with engine.build(network, topology, settings) as model:
        solution = model.power_flow()
        tables = complete(network, topology, settings, solution.tables)
        certificate = certify(network, topology, settings, tables)
        watch = _Watch(network, topology, settings, tables)
        found = _Findings(network, cases, watch, settings.details)
        for chunk in sweep(engine, model, network, settings, outages(cases)):
            found.add(chunk)
            certificate = worst([certificate, chunk.judged])
    beside: dict[str, Any] = {
        "base": Base(watch.base_violations()),
        "contingencies": found.outcomes,
        "summary": found.summary(),
    }
    return Answer(
        tables=tables,
        iterations=solution.iterations,
        warnings=(
            *network.warnings,
            *solution.warnings,
            *idle(network, topology),
            *found.warnings(),
        ),
        certificate=certificate,
        engine={**engine.version(settings), "solver": solution.solver},
        beside=beside,
        streamed={"details": found.details} if found.details else {},
    )


# -- what is lost ----------------------------------------------------------------------------------


def _cases(network: Network, settings: Contingency) -> list[list[Lost]]:
    if settings.outages is not None:
        return _listed(network, settings.outages)
    words = KINDS_OF if settings.element_type == "all" else (settings.element_type,)
    kinds = {kind for word in words for kind in KINDS_OF[word]} & set(network.kinds)
    working = {kind: _working(network, kind) for kind in kinds}
    places = (network.ids[id_] for id_ in network.order)
    return [[(kind, row)] for kind, row in places if kind in kinds and working[kind][row]]


def _working(network: Network, kind: type[Element]) -> Array:
    """Which elements of a kind can be lost: in service or closed; not the only source."""
    rows = network.rows(kind)
    if kind is e.Switch:
        return rows.column("closed")
    working = rows.column("in_service")
    if kind is e.ExternalGrid:
        generators = network.rows(e.Generator)
        slack = generators.column("slack") & generators.column("in_service")
        if working.sum() + slack.sum() < 2:
            return np.zeros(len(rows), dtype=bool)
    return working


def _listed(network: Network, listed: Sequence[str | list[str]]) -> list[list[Lost]]:
    by_name = Counter(
        name for kind in network.kinds for name in network.rows(kind).names if name is not None
    )
    problems: list[Problem] = []

    def find(ref: str) -> Lost:
        if ref in network.ids:
            return network.ids[ref]
        if by_name[ref] == 1:
            return next(
                (kind, network.rows(kind).names.index(ref))
                for kind in network.kinds
                if ref in network.rows(kind).names
            )
        hint = nearest(ref, network.order[:2000]) if len(problems) < 20 else ""
        text = "several elements bear the name" if by_name[ref] else "the network has no element"
        kind = "ambiguous-name" if by_name[ref] else "unknown-element"
        message = f"The setting outages: {text} “{shorten(ref)}”.{hint}"
        problems.append(Problem(kind=kind, message=message, field="outages"))
        return e.Bus, 0

    cases = []
    for entry in listed:
        refs = [entry] if isinstance(entry, str) else entry
        if not refs:
            message = "The setting outages has an outage of nothing (an empty list)."
            problems.append(Problem(kind="empty-outage", message=message, field="outages"))
        cases.append(list(dict.fromkeys(map(find, refs))))
    if problems:
        raise ProblemError(problems)
    return cases


# -- what is watched -------------------------------------------------------------------------------


class _Limit:
    """A quantity of a kind beside its limits; `sign` +1 where above them is beyond, else -1.

    base       the quantity without an outage
    allowed    what an outage may reach, shape (n,): the limit, or a little worse than without it
    """

    def __init__(
        self, kind: type[Element], quantity: str, limits: Array, sign: int, base: Array
    ) -> None:
        self.kind = kind
        self.quantity = quantity
        self.limits = limits
        self.sign = sign
        self.base = base
        before = sign * (base - limits)
        margin = np.where(before > ROUNDING, before + WORSE * limits, ROUNDING)
        self.allowed = limits + sign * margin

    def base_beyond(self) -> Array:
        """Which elements are beyond their limits without an outage."""
        return np.flatnonzero(self.sign * (self.base - self.limits) > ROUNDING)

    def beyond(self, values: Array) -> Array:
        """Where values are beyond what is allowed, as pairs (case, element), shape (n, 2)."""
        is_beyond = values > self.allowed if self.sign > 0 else values < self.allowed
        return np.argwhere(is_beyond)

    def severity(self, values: Array, pairs: Array) -> Array:
        """By how much of their limits values are beyond these, summed up case by case."""
        limits = self.limits[pairs[:, 1]]
        # A limit of 0 is no measure of what is beyond it.
        shares = self.sign * (values[tuple(pairs.T)] - limits) / np.where(limits > 0, limits, 1)
        return np.bincount(pairs[:, 0], shares, len(values))


class _Watch:
    """The network without an outage, and the limits that are watched."""

    def __init__(
        self, network: Network, topology: Topology, settings: Contingency, tables: Tables
    ) -> None:
        self.network = network
        self.limits = list(self._find_limits(settings, tables))
        kinds = [kind for kind in (e.Bus, *CONSUMERS) if kind in network.kinds]
        self.alive = {kind: topology.alive(kind) for kind in kinds}
        self.load_mw = {
            kind: np.maximum(np.nan_to_num(tables[kind][kind.ports[0].p]), 0)
            for kind in CONSUMERS
            if kind in network.kinds
        }

    def _find_limits(self, settings: Contingency, tables: Tables) -> Iterator[_Limit]:
        for field, sign in (("min_vm_pu", -1), ("max_vm_pu", 1)):
            own = self.network.rows(e.Bus).column(field)
            limits = np.where(np.isnan(own), getattr(settings, field), own)
            yield _Limit(e.Bus, "vm_pu", limits, sign, tables[e.Bus]["vm_pu"])
        for kind in LOADED:
            if kind in self.network.kinds:
                own = self.network.rows(kind).column("max_loading_percent")
                limits = np.where(np.isnan(own), settings.max_loading_percent, own)
                base = tables[kind]["loading_percent"]
                yield _Limit(kind, "loading_percent", limits, 1, base)

    def base_violations(self) -> list[Violation]:
        """What is beyond its limits without any outage."""
        return [
            violation
            for limit in self.limits
            for rows in [limit.base_beyond()]
            for violation in self.violations(limit, rows, limit.base[rows])
        ]

    def violations(self, limit: _Limit, rows: Array, values: Array) -> list[Violation]:
        """Elements beyond a limit; a value that is none is that of a bus without supply."""
        ids = self.network.rows(limit.kind).ids
        typ, quantity = limit.kind.typ, limit.quantity
        told = zip(rows.tolist(), values.tolist(), limit.limits[rows].tolist(), strict=True)
        return [
            Violation(ids[row], typ, quantity, None if value != value else value, at)
            for row, value, at in told
        ]


# -- what is found ---------------------------------------------------------------------------------


class _Findings:
    """The outcomes of all outages, filled in as their cases are solved."""

    def __init__(
        self, network: Network, cases: Sequence[Sequence[Lost]], watch: _Watch, details: bool
    ) -> None:
        self.network = network
        self.cases = cases
        self.watch = watch
        labels = [_label(network, lost) for lost in cases]
        self.details = Spool(network, labels) if details else None
        self._outcomes: list[Outcome | None] = [None] * len(cases)
        self.severity = np.zeros(len(cases))
        self._notes: Counter[str] = Counter()

    @property
    def outcomes(self) -> list[Outcome]:
        return [outcome for outcome in self._outcomes if outcome is not None]

    def add(self, chunk: Chunk) -> None:
        """Judge the cases of a chunk."""
        if chunk.note:
            self._notes[chunk.note] += len(chunk.cases)
        violations: list[list[Violation]] = [[] for _ in chunk.cases]
        severity = np.zeros(len(chunk.cases))
        for limit in self.watch.limits:
            values = chunk.column(limit.kind, limit.quantity)
            pairs = limit.beyond(values)
            told = self.watch.violations(limit, pairs[:, 1], values[tuple(pairs.T)])
            for at, violation in zip(pairs[:, 0].tolist(), told, strict=True):
                violations[at].append(violation)
            severity += limit.severity(values, pairs)
        dead, lost_mw = self._add_losses(chunk, violations)
        self.severity[chunk.cases] = severity
        found = zip(
            chunk.cases.tolist(), chunk.solved.tolist(), dead.tolist(), lost_mw.tolist(),
            violations, zip(*self._extremes(chunk), strict=True), strict=True,
        )  # fmt: skip
        for case, *of_case in found:
            self._outcomes[case] = self._outcome(case, *of_case)
        if self.details is not None:
            self.details.add(chunk)

    def _add_losses(self, chunk: Chunk, violations: list[list[Violation]]) -> tuple[Array, Array]:
        """Buses and loads that the outage leaves without supply: whether, and how many MW."""
        lost_mw = np.zeros(len(chunk.cases))
        dead = self.watch.alive[e.Bus] & ~chunk.alive(e.Bus)
        low = self.watch.limits[0]
        dead &= chunk.solved[:, None]
        pairs = np.argwhere(dead)
        told = self.watch.violations(low, pairs[:, 1], np.full(len(pairs), np.nan))
        for at, violation in zip(pairs[:, 0].tolist(), told, strict=True):
            violations[at].append(violation)
        for kind, load_mw in self.watch.load_mw.items():
            lost = self.watch.alive[kind] & ~chunk.alive(kind) & chunk.solved[:, None]
            if not lost.any():
                continue
            lost &= ~self._taken(kind, chunk)
            lost_mw += lost @ load_mw
            rows = self.network.rows(kind)
            for at, row in np.argwhere(lost).tolist():
                lost_load = Violation(
                    rows.ids[row], kind.typ, "lost_load_mw", float(load_mw[row]), 0.0
                )
                violations[at].append(lost_load)
        return np.asarray(dead.any(axis=1)), lost_mw

    def _taken(self, kind: type[Element], chunk: Chunk) -> Array:
        """Which elements are the outage themselves, shape (n, n_elements)."""
        taken = np.zeros((len(chunk.cases), len(self.network.rows(kind))), dtype=bool)
        for at, case in enumerate(chunk.cases.tolist()):
            taken[at, [row for lost, row in self.cases[case] if lost is kind]] = True
        return taken

    def _extremes(self, chunk: Chunk) -> list[Sequence[Any]]:
        """Largest loading, lowest and highest voltage of each case, each with whose it is."""
        vm_pu = chunk.column(e.Bus, "vm_pu")
        ids = self.network.rows(e.Bus).ids
        kinds = [kind for kind in LOADED if kind in self.network.kinds]
        parts = [
            _extreme(chunk.column(kind, "loading_percent"), self.network.rows(kind).ids, 1)
            for kind in kinds
        ]
        largest = list(_largest(parts)) if parts else [(None, None)] * len(chunk.cases)
        loading = zip(*largest, strict=True)
        return [*loading, *_extreme(vm_pu, ids, -1), *_extreme(vm_pu, ids, 1)]

    def _outcome(
        self,
        case: int,
        solved: bool,
        islanded: bool,
        lost_mw: float,
        violations: list[Violation],
        extremes: Extremes,
    ) -> Outcome:
        who = self._who(self.cases[case])
        if not solved:
            return Outcome(*who, "diverged")
        status = "islanded" if islanded else "violations" if violations else "ok"
        return Outcome(*who, status, *extremes, lost_mw, violations)

    def _who(self, lost: Sequence[Lost]) -> tuple[str, str | None, str, list[str]]:
        """What identifies an outage: id, name, typ, and the ids of what is lost."""
        if len(lost) == 1:
            (kind, row), rows = lost[0], self.network.rows(lost[0][0])
            return rows.ids[row], rows.names[row], kind.typ, [rows.ids[row]]
        parts = [(self.network.rows(kind), row) for kind, row in lost]
        ids = [rows.ids[row] for rows, row in parts]
        names = [rows.names[row] or rows.ids[row] for rows, row in parts]
        return " + ".join(ids), " + ".join(names), "several", ids

    def summary(self) -> Summary:
        """Counts by status, and the worst outages."""
        outcomes = self.outcomes
        counts = Counter(outcome.status for outcome in outcomes)
        order = sorted(
            range(len(outcomes)),
            key=lambda case: (
                outcomes[case].status != "diverged",
                -(outcomes[case].lost_load_mw or 0),
                -self.severity[case],
            ),
        )
        worst_first = [case for case in order if outcomes[case].status != "ok"][:RANKED]
        return Summary(
            analysed=len(outcomes),
            **{name: counts[name] for name in ("diverged", "islanded", "violations", "ok")},
            ranking=[self._ranked(case, outcomes[case]) for case in worst_first],
        )

    def _ranked(self, case: int, outcome: Outcome) -> Ranked:
        severity = None if outcome.status == "diverged" else float(self.severity[case])
        return Ranked(outcome.id, outcome.name, outcome.status, outcome.lost_load_mw, severity)

    def warnings(self) -> Iterable[str]:
        """How many outages went another way than the fast one, and why."""
        for note, count in self._notes.items():
            yield f"{count} of {len(self.cases)} outages were solved one by one: {note}."


def _label(network: Network, lost: Sequence[Lost]) -> str:
    return " + ".join(network.rows(kind).ids[row] for kind, row in lost)


def _extreme(
    values: Array, ids: Sequence[str], sign: int
) -> tuple[list[float | None], list[str | None]]:
    """The largest (sign +1) or smallest (-1) value of each row, and whose it is; NaN is none."""
    if not values.shape[1]:
        return [None] * len(values), [None] * len(values)
    signed = sign * values
    signed[np.isnan(signed)] = -np.inf
    at = signed.argmax(axis=1)
    found = signed[np.arange(len(values)), at]
    pairs = zip((sign * found).tolist(), at.tolist(), strict=True)
    known = [(value, ids[row]) if np.isfinite(value) else (None, None) for value, row in pairs]
    return [value for value, _ in known], [element for _, element in known]


def _largest(parts: Sequence[tuple[Sequence[float | None], Sequence[str | None]]]) -> Any:
    """The largest of several kinds' values, case by case."""
    for case in zip(*(zip(*part, strict=True) for part in parts), strict=True):
        yield max(case, key=lambda pair: -np.inf if pair[0] is None else pair[0])
