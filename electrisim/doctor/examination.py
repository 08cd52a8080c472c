"""From suspects to a ranked diagnosis whose repairs have been tried."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import msgspec
import numpy as np

from electrisim import elements as e
from electrisim import premises
from electrisim.certificate import certify
from electrisim.completion import complete
from electrisim.doctor import levels, loading, measures
from electrisim.doctor.case import FAILED, Case, Edit, Outcome, Repair, Suspect, outcome, repaired
from electrisim.engine import Engine
from electrisim.network import Network
from electrisim.problems import ProblemError
from electrisim.settings import Settings
from electrisim.topology import Topology

#: How many suspects are screened, and how many causes a diagnosis tells.
SCREENED, TOLD = 40, 8
#: How many repairs of a suspect are tried.
REPAIRS = 3
#: How many repairs are tried on the engine, and after how many that work it is enough.
VERIFIED, ENOUGH = 8, 3
#: Shares of the time after which the way to the last solvable point is searched, and after which
#: repairs are tried on the engine.
STATIC, SCREENING = 0.4, 0.65
#: A repair of many fields is less likely than one of few [decades per decade].
PARSIMONY = 0.3


#: Rules whose repair is the least that will do, and so leaves the network at its limit.
AT_THE_EDGE = ("transfer", "overload")


class Cause(NamedTuple):
    """A suspect with the repair that was chosen for it.

    outcome   of the repair by our own equations
    verified  whether the engine then has a certified solution; None where that was not tried
    """

    suspect: Suspect
    repair: Repair | None
    outcome: Outcome
    verified: bool | None = None

    @property
    def score(self) -> float:
        fields = len(self.repair.edits) if self.repair else 1
        return self.suspect.score - PARSIMONY * float(np.log10(max(fields, 1)))

    def rank(self) -> tuple[int, float]:
        """Repairs that work before those that do not, better states before worse, then scores."""
        worked = 0 if self.verified else 2 if self.verified is None and self.outcome.solved else 4
        good = self.outcome.healthy or self.suspect.rule in AT_THE_EDGE
        return worked + (not good), -self.score


def examine(engine: Engine, network: Network, settings: Settings, seconds: float) -> list[Cause]:
    """The likely causes, the likeliest first; nothing is begun after these seconds."""
    start = time.monotonic()
    case = Case(network, settings, start + STATIC * seconds)
    causes = list(_reachable(engine, case))
    if not causes:
        causes = _screened(case, _static(case))
        single = [cause for cause in causes if cause.suspect.rule != "every-value"]
        if not any(cause.outcome.healthy for cause in single):
            causes += _together(case, single)
        case.deadline_s = start + SCREENING * seconds
        causes += _screened(case, loading.find(case))
    causes += [Cause(suspect, None, FAILED) for suspect in _unsupplied(case)]
    return _verified(engine, case, _distinct(causes), start + seconds)[:TOLD]


def _static(case: Case) -> Iterator[Suspect]:
    with np.errstate(all="ignore"):
        yield from measures.find(case)
        yield from levels.find(case)


def _screened(case: Case, suspects: Iterable[Suspect]) -> list[Cause]:
    """The likeliest suspects, each with its first repair that gives a good state, or solves.

    First the likeliest repair of each is tried, then the second of those that need one.
    """
    ranked = sorted(suspects, key=lambda suspect: (suspect.rule != "every-value", -suspect.score))
    causes = [
        Cause(suspect, suspect.repairs[0] if suspect.repairs else None, FAILED)
        for suspect in ranked[:SCREENED]
    ]
    for turn in range(REPAIRS):
        if sum(cause.outcome.healthy for cause in causes) >= ENOUGH:
            break
        for at, cause in enumerate(causes):
            if cause.outcome.healthy or turn >= len(cause.suspect.repairs):
                continue
            repair = cause.suspect.repairs[turn]
            found = case.attempt(repair)
            if found.healthy or (found.solved and not cause.outcome.solved):
                causes[at] = Cause(cause.suspect, repair, found)
    return causes


def _distinct(causes: Iterable[Cause]) -> list[Cause]:
    """One cause per element and per repair: the best."""
    found: list[Cause] = []
    seen: set[Any] = set()
    for cause in sorted(causes, key=Cause.rank):
        keys = {cause.suspect.elements}
        if cause.repair:
            keys.add(cause.repair.key)
        if seen.isdisjoint(keys):
            found.append(cause)
        seen |= keys
    return found


def _together(case: Case, causes: Sequence[Cause]) -> Iterator[Cause]:
    """The likeliest repairs together, where none suffices alone."""
    chosen: dict[str, Cause] = {}
    for cause in sorted(causes, key=lambda cause: -cause.score):
        if cause.repair and cause.score > measures.OUTLYING:
            chosen.setdefault(cause.suspect.elements[0], cause)
    parts = list(chosen.values())[:8]
    for count in range(2, len(parts) + 1):
        some = parts[:count]
        edits = tuple(edit for cause in some if cause.repair for edit in cause.repair.edits)
        repair = Repair(edits, "together")
        found = case.attempt(repair)
        if found.solved:
            ids = tuple(id_ for cause in some for id_ in cause.suspect.elements)
            told = " ".join(cause.suspect.cause for cause in some)
            score = min(cause.suspect.score for cause in some)
            evidence = {"faults": count}
            yield Cause(Suspect("several", ids, told, evidence, score, (repair,)), repair, found)
            return


# -- causes that need no repair of the network -----------------------------------------------------

#: Settings with which an engine may reach what it does not with others, in the order tried.
WAYS: tuple[dict[str, Any], ...] = (
    {"max_iteration": None},
    {"tolerance": None},
    {"max_iteration": None, "tolerance": None},
    {"algorithm": None, "init": "auto", "max_iteration": None, "tolerance": None},
    {"algorithm": None, "init": "flat"},
    {"algorithm": None, "init": "dc"},
    {"algorithm": "newton"},
    {"enforce_q_lims": False},
    {"distributed_slack": False},
)


#: Algorithms of which a second try may take seconds.
SLOW = ("gs", "fdbx", "fdxb", "bfsw")


def _reachable(engine: Engine, case: Case) -> Iterator[Cause]:
    """Settings that keep the engine from a solution which the network has."""
    newton = case.newton
    if newton is None or case.settings.linear:
        return
    here = outcome(newton)
    if not here.healthy:
        return
    cause = (
        f"The network has a solution, with voltages from {here.lowest:.3g} to {here.highest:.3g} "
        "pu; the engine does not reach it with these settings."
    )
    evidence = {"lowest_vm_pu": here.lowest, "highest_vm_pu": here.highest}
    suspect = Suspect("solver", (), cause, evidence, 1.0)
    seen = {case.settings}
    slow = case.settings.algorithm in SLOW
    for way in WAYS:
        if slow and "algorithm" not in way:
            continue
        settings = msgspec.structs.replace(case.settings, **way)
        if settings in seen or case.late:
            continue
        seen.add(settings)
        if engine.refusals(case.network, settings):
            continue
        if solves(engine, case.network, settings):
            edits = tuple(
                Edit(None, name, value)
                for name, value in way.items()
                if getattr(case.settings, name) != value
            )
            yield Cause(suspect, Repair(edits, "the engine then reaches it"), here, True)
            return


def _unsupplied(case: Case) -> Iterator[Suspect]:
    buses = case.network.rows(e.Bus)
    dark = np.flatnonzero(~case.topology.bus & np.asarray(buses.column("in_service"), dtype=bool))
    if not len(dark):
        return
    ids = tuple(buses.ids[int(row)] for row in dark)
    named = ", ".join(buses.label(int(row)) for row in dark[:3])
    cause = f"{len(dark)} bus(es) in service have no supply: {named}{' …' * (len(dark) > 3)}."
    advice = "Connect them to a source, or give a Generator there slack true, if they belong to it."
    yield Suspect("unsupplied", ids[:20], cause, {"buses": len(dark)}, 0.05, (), advice)


# -- the engine's word -----------------------------------------------------------------------------


def solves(engine: Engine, network: Network, settings: Settings) -> bool:
    """Whether the engine has a solution that is certified."""
    topology = Topology(network)
    try:
        premises.check(network, topology, settings)
        with engine.build(network, topology, settings) as model:
            tables = model.power_flow().tables
        certify(network, topology, settings, complete(network, topology, settings, tables))
    except ProblemError:
        return False
    return True


def _verified(engine: Engine, case: Case, causes: list[Cause], deadline_s: float) -> list[Cause]:
    """The likeliest repairs tried on the engine, and all of them in their order again."""
    done: list[Cause] = []
    worked = 0
    for cause in causes:
        may = cause.repair and len(done) < VERIFIED and worked < ENOUGH
        if may and cause.verified is None and time.monotonic() < deadline_s:
            cause = _try(engine, case, cause)
        worked += bool(cause.verified)
        done.append(cause)
    return sorted(done, key=Cause.rank)


def _try(engine: Engine, case: Case, cause: Cause) -> Cause:
    assert cause.repair is not None
    try:
        network, settings = repaired(case.network, case.settings, cause.repair)
    except ProblemError:
        return cause._replace(verified=False)
    return cause._replace(verified=solves(engine, network, settings))


# -- in words --------------------------------------------------------------------------------------


def told(network: Network, cause: Cause) -> dict[str, Any]:
    """A cause as it stands in `diagnosis`."""
    suspect = cause.suspect
    edits = cause.repair.edits if cause.repair else ()
    return {
        "rule": suspect.rule,
        "cause": suspect.cause,
        "elements": list(suspect.elements),
        "evidence": {name: _finite(value) for name, value in suspect.evidence.items()},
        "suggestion": _suggestion(network, cause),
        "repair": [edit._asdict() for edit in edits],
        "verified": cause.verified,
    }


def _finite(value: Any) -> Any:
    return None if isinstance(value, float) and not np.isfinite(value) else value


def _suggestion(network: Network, cause: Cause) -> str:
    if not cause.repair:
        return cause.suspect.advice
    edits = cause.repair.edits
    first = "; ".join(_said(network, edit) for edit in edits[:3])
    more = f"; and {len(edits) - 3} more likewise" if len(edits) > 3 else ""
    why = f" ({cause.repair.why})" if cause.repair.why else ""
    result = {
        True: " Tried: the network then has a certified solution"
        + (f", with voltages from {cause.outcome.lowest:.3f} to {cause.outcome.highest:.3f} pu."
           if cause.outcome.solved else "."),
        False: " Tried: it does not suffice alone.",
        None: " Not tried.",
    }[cause.verified]  # fmt: skip
    return f"{first}{more}{why}.{result}"


def _said(network: Network, edit: Edit) -> str:
    if edit.element is None:
        value = "to its default" if edit.value is None else f"to {edit.value}"
        return f"Set the setting {edit.field} {value}"
    kind, row = network.ids[edit.element]
    rows = network.rows(kind)
    now = getattr(rows.elements[row], edit.field)
    said = f"{edit.value:.6g}" if isinstance(edit.value, float) else str(edit.value).lower()
    if isinstance(edit.value, str):
        said = network.label(edit.value) if edit.value in network.ids else edit.value
        return f"Set {edit.field} of {rows.label(row)} to {said}"
    was = f", now {now:.6g}" if isinstance(now, float) else ""
    return f"Set {edit.field} of {rows.label(row)} to {said}{was}"
