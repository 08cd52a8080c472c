"""What the way to the last solvable point says: too much is drawn, or too little carries it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from electrisim import elements as e
from electrisim.doctor.case import ADMITTANCES, Case, Edit, Outcome, Repair, Suspect
from electrisim.elements import FIELDS, Element
from electrisim.network import Rows

#: How many single elements, branches and idle elements are tried.
SINGLE, WEAK, IDLE = 4, 3, 10
#: What a kind's power is scaled by.
SCALED: Mapping[type[Element], tuple[str, ...]] = {
    e.Load: ("scaling",),
    e.StaticGenerator: ("scaling",),
    e.Storage: ("scaling",),
    e.Motor: ("scaling",),
    e.AsymmetricLoad: ("scaling",),
    e.AsymmetricStaticGenerator: ("scaling",),
    e.Generator: ("scaling",),
    e.Ward: ("ps_mw", "qs_mvar", "pz_mw", "qz_mvar"),
    e.ExtendedWard: ("ps_mw", "qs_mvar", "pz_mw", "qz_mvar"),
    e.PVSystem: ("pmpp_kw",),
    e.Shunt: ("p_mw", "q_mvar"),
    e.ShuntReactor: ("p_mw", "q_mvar"),
    e.Capacitor: ("p_mw", "q_mvar"),
}
#: Kinds whose branches can be doubled.
DOUBLED = (e.Line, e.Transformer)
#: Names for those that move together when all of the network's power does.
CONSUMERS = (e.Load, e.Motor, e.AsymmetricLoad)
#: A compensation of this share of all load is a large one.
LARGE = 0.3
#: Shares of the power down to which a smaller one is looked for, and how near it is found.
LEAST, NEAR = 0.02, 0.03


def find(case: Case) -> Iterator[Suspect]:
    if case.newton is None or case.nose is None:
        return
    load = case.nose.load
    if load is not None and load < 1:
        yield from _all(case, load)
    yield from _idle(case)
    if load is not None and load < 1:
        yield from _single(case)
        yield from _weak(case, load)


def _scaled(rows: Rows, row: int, share: float) -> tuple[Edit, ...]:
    element = rows.elements[row]
    return tuple(
        Edit(rows.ids[row], name, float(f"{value * share:.4g}"))
        for name in SCALED[rows.kind]
        if (value := getattr(element, name))
    )


def _in_megawatts(rows: Rows, row: int) -> Iterator[Edit]:
    """A thousandth of every power of an element."""
    for name, field in FIELDS[rows.kind].items():
        value = getattr(rows.elements[row], name)
        if value and field.unit in ("MW", "Mvar") and not name.startswith(("min_", "max_")):
            yield Edit(rows.ids[row], name, float(f"{value / 1e3:.12g}"))


def _largest(case: Case, edits: Any) -> tuple[float, Outcome] | None:
    """The largest share of a power with which the network solves; None where none does."""
    low, high = LEAST, 1.0
    found = case.attempt(Repair(edits(low)))
    if not found.solved:
        return None
    while high - low > NEAR * high and not case.late:
        middle = (low + high) / 2
        tried = case.attempt(Repair(edits(middle)))
        if tried.solved:
            low, found = middle, tried
        else:
            high = middle
    return low, found


def _single(case: Case) -> Iterator[Suspect]:
    """Single elements whose power drives the collapse most."""
    drivers = [
        (float(part), rows, row)
        for kind in SCALED
        for rows in [case.network.rows(kind)]
        if len(rows)
        for row, part in enumerate(case.takes_part(kind))
        if part > 0
    ]
    drivers.sort(key=lambda each: -each[0])
    drivers[SINGLE:] = sorted(_large_admittances(case), key=lambda each: -each[0])[:SINGLE]
    for part, rows, row in drivers:
        found = _largest(case, lambda share, rows=rows, row=row: _scaled(rows, row, share))
        if found is None:
            continue
        share, _ = found
        power = complex(case.power_mva(rows.kind)[row])
        edits = _scaled(rows, row, 0.98 * share)
        cause = (
            f"{rows.label(row)} asks for {abs(power):.4g} MVA; with everything else as it is, the "
            f"network can pass on {share * abs(power):.4g} MVA of it."
        )
        evidence = {
            "asked_mva": abs(power), "possible_mva": share * abs(power),
            "takes_part": part, "buses": _falling(case),
        }  # fmt: skip
        score = 0.2 + max(0.0, -float(np.log10(share))) / 2 + 0.1 * part
        repair = Repair(edits, "what the network can pass on")
        yield Suspect("transfer", (rows.ids[row],), cause, evidence, score, (repair,))


def _large_admittances(case: Case) -> Iterator[tuple[float, Rows, int]]:
    """Those that draw or give more than a share of all that is drawn."""
    for kind in ADMITTANCES:
        rows = case.network.rows(kind)
        parts = np.abs(case.power_mva(kind)) / max(case.drawn_mva, 1e-300)
        for row in np.flatnonzero((parts > LARGE) & case.topology.alive(kind)).tolist():
            yield min(float(parts[row]), 1.0), rows, row


def _all(case: Case, load: float) -> Iterator[Suspect]:
    """All of the load together is beyond what the network carries."""
    assert case.newton is not None
    parts = [(rows, row) for kind in CONSUMERS for rows in [case.network.rows(kind)]
             for row in np.flatnonzero(case.topology.alive(kind)).tolist()]  # fmt: skip
    if not parts:
        return
    buses = _falling(case)

    def edits(share: float) -> tuple[Edit, ...]:
        return tuple(edit for rows, row in parts for edit in _scaled(rows, row, share))

    found = _largest(case, edits)
    drawn = sum(abs(complex(case.power_mva(rows.kind)[row])) for rows, row in parts)
    where = ", ".join(case.network.label(id_) for id_ in buses[:3])
    cause = (
        f"The network is loaded beyond what it carries: the last state with a solution has "
        f"{100 * load:.3g} % of all powers. The voltage collapses at {where}."
    )
    evidence = {"solvable_share": load, "drawn_mva": float(drawn), "buses": buses}
    repairs = []
    score = 0.3
    if found is not None:
        share = found[0]
        if share < 0.02:
            thousandth = tuple(edit for rows, row in parts for edit in _in_megawatts(rows, row))
            repairs.append(Repair(thousandth, "kW and kvar given as MW and Mvar"))
        repairs.append(Repair(edits(0.98 * share), "what the network carries"))
        evidence["possible_share_of_load"] = share
        score += max(0.0, -float(np.log10(share))) / 3
    yield Suspect("overload", tuple(buses), cause, evidence, score, tuple(repairs))


def _falling(case: Case) -> list[str]:
    """The buses that the singular direction names, those that fall most first."""
    assert case.newton is not None
    buses = case.network.rows(e.Bus)
    if case.direction is None:
        return []
    at = case.newton.equations.of_bus
    falls = np.where(at >= 0, case.direction.falls[at], 0.0)
    order = np.argsort(-falls, kind="stable")[:5]
    return [buses.ids[int(bus)] for bus in order if falls[bus] > 0.3]


def _weak(case: Case, load: float) -> Iterator[Suspect]:
    """Branches that hold most of the voltage between their ends where the solution ends."""
    assert case.newton is not None
    worst = sorted(case.stress.items(), key=lambda item: -item[1])[:WEAK]
    for owner, stress in worst:
        kind, row = owner
        rows = case.network.rows(kind)
        if stress < 0.2:
            continue
        limit = _limit_mva(case, owner)
        cause = (
            f"{rows.label(row)} is the bottleneck: at the last solvable point "
            f"({100 * load:.3g} % of all powers) {100 * stress:.3g} % of the voltage falls along "
            f"it; V²/2X is {limit:.4g} MW."
        )
        evidence = {"voltage_along_it_pu": stress, "limit_mw": limit, "solvable_share": load}
        repairs = []
        if kind in DOUBLED:
            now = rows.elements[row].parallel
            for more in (2, 4):
                repair = Repair((Edit(rows.ids[row], "parallel", now * more),), "more beside it")
                if case.attempt(repair).solved:
                    repairs.append(repair)
                    break
        score = 0.1 + 0.3 * min(stress, 1.0) if repairs else 0.1 * min(stress, 1.0)
        yield Suspect("bottleneck", (rows.ids[row],), cause, evidence, score, tuple(repairs))


def _limit_mva(case: Case, owner: tuple[type[Element], int]) -> float:
    """V²/2X of a branch at 1 pu: the most that it passes on between two held voltages' middle."""
    assert case.newton is not None
    branch = case.newton.equations.branch
    series = [abs(y) for own, y in zip(branch.owner, branch.series.tolist(), strict=True)
              if own == owner]  # fmt: skip
    return float(min(series)) / 2


# -- what is there and idle ------------------------------------------------------------------------


def _idle(case: Case) -> Iterator[Suspect]:
    """Branches, sources and switches that are out of service or open, and would do."""
    resting = list(_resting(case))
    groups = [[each] for each in resting[:IDLE]]
    for kind in dict.fromkeys(rows.kind for rows, _, _ in resting):
        group = [each for each in resting if each[0].kind is kind]
        groups += [group] if len(group) > 1 else []
    for group in groups:
        edits = tuple(Edit(rows.ids[row], field, True) for rows, row, field in group)
        repair = Repair(edits, "it is there" if len(group) == 1 else "they are there")
        found = case.attempt(repair)
        if not found.solved:
            continue
        state = "open" if group[0][2] == "closed" else "out of service"
        named = ", ".join(rows.label(row) for rows, row, _ in group[:4])
        more = f" and {len(group) - 4} more" if len(group) > 4 else ""
        cause = f"Open or out of service: {named}{more}; with that the network has a solution."
        evidence = {"state": state, "lowest_vm_pu": found.lowest}
        ids = tuple(rows.ids[row] for rows, row, _ in group)
        yield Suspect("idle", ids, cause, evidence, 0.6, (repair,))


def _resting(case: Case) -> Iterator[tuple[Rows, int, str]]:
    network = case.network
    for kind in (e.Transformer, e.Line, e.ThreeWindingTransformer, e.Generator, e.ExternalGrid,
                 e.StaticGenerator, e.Capacitor, e.Shunt):  # fmt: skip
        rows = network.rows(kind)
        for row in np.flatnonzero(~np.asarray(rows.column("in_service"), dtype=bool)).tolist():
            yield rows, row, "in_service"
    rows = network.rows(e.Switch)
    if len(rows):
        for row in np.flatnonzero(~rows.column("closed")).tolist():
            yield rows, row, "closed"
