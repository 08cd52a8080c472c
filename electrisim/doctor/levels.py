"""Voltage levels, ratios, phase shifts and set-points that contradict each other."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import breadth_first_order

from electrisim import elements as e
from electrisim.doctor.case import Case, Edit, Repair, Suspect
from electrisim.doctor.equations import Owner
from electrisim.elements import Element
from electrisim.network import Rows, shift_degree
from electrisim.transformers import windings

#: Two nominal voltages are one level within this factor; a winding may differ from its bus by more.
ONE_LEVEL, WINDING = 1.12, 1.3
#: A tap changer that changes the ratio by more is far off [1].
FAR_TAP = 0.25
#: Voltages that sources hold [pu]; beyond, they are hardly meant.
SOURCE_PU = (0.85, 1.15)
#: Phase shifts around a loop that do not cancel by more than this contradict [degree].
LOOP_DEGREE = 20.0


class Meeting(NamedTuple):
    """A place where two voltages should agree: at a bus, by its own level and by another's say.

    bus    row of the bus
    kv     what the other says [kV]
    owner  which element connects them, and by which of its fields it says so; None for a bus's own
    """

    bus: int
    kv: float
    owner: Owner
    field: str | None
    agrees: bool


def find(case: Case) -> Iterator[Suspect]:
    yield from _voltage_levels(case)
    yield from _taps(case)
    yield from _source_voltages(case)
    yield from _phase_shifts(case)


# -- voltage levels --------------------------------------------------------------------------------

_SIDES: Mapping[type[Element], tuple[str, ...]] = {
    e.Transformer: ("hv", "lv"),
    e.ThreeWindingTransformer: ("hv", "mv", "lv"),
}


def _meetings(case: Case) -> Iterator[Meeting]:
    network = case.network
    vn = network.rows(e.Bus).column("vn_kv").tolist()

    def meet(bus: int, kv: float, owner: Owner, field: str | None, within: float) -> Meeting:
        agrees = max(vn[bus] / kv, kv / vn[bus]) <= within
        return Meeting(bus, kv, owner, field, agrees)

    joining: tuple[type[Element], ...] = (e.Line, e.Switch)
    for kind in joining:
        rows = network.rows(kind)
        alive = case.topology.alive(kind)
        for row in np.flatnonzero(alive).tolist():
            if kind is e.Switch and rows.at["et"][row] != "b":
                continue
            names = ("bus", "element") if kind is e.Switch else ("from_bus", "to_bus")
            one, other = (int(rows.at[name][row]) for name in names)
            yield meet(one, vn[other], (kind, row), None, ONE_LEVEL)
            yield meet(other, vn[one], (kind, row), None, ONE_LEVEL)
    for kind, sides in _SIDES.items():
        rows = network.rows(kind)
        for row in np.flatnonzero(case.topology.alive(kind)).tolist():
            for side in sides:
                bus = int(rows.at[f"{side}_bus"][row])
                field = f"vn_{side}_kv"
                yield meet(bus, float(rows.column(field)[row]), (kind, row), field, WINDING)


def _voltage_levels(case: Case) -> Iterator[Suspect]:
    at_bus: dict[int, list[Meeting]] = defaultdict(list)
    by_owner: dict[Owner, list[Meeting]] = defaultdict(list)
    for meeting in _meetings(case):
        at_bus[meeting.bus].append(meeting)
        by_owner[meeting.owner].append(meeting)
    for bus, meetings in at_bus.items():
        apart = [m for m in meetings if not m.agrees]
        if apart and 2 * len(apart) >= len(meetings):
            yield _bus_level(case, bus, meetings, apart)
    for owner, meetings in by_owner.items():
        if all(m.agrees for m in meetings):
            continue
        if owner[0] in _SIDES:
            yield _windings(case, owner, meetings, at_bus)
        elif all(_otherwise_agrees(at_bus, m) for m in meetings):
            yield _joins_levels(case, owner, meetings)


def _otherwise_agrees(at_bus: Mapping[int, list[Meeting]], meeting: Meeting) -> bool:
    others = [m.agrees for m in at_bus[meeting.bus] if m.owner != meeting.owner]
    return bool(others) and sum(others) * 2 >= len(others)


def _bus_level(case: Case, bus: int, meetings: list[Meeting], apart: list[Meeting]) -> Suspect:
    rows = case.network.rows(e.Bus)
    own = float(rows.column("vn_kv")[bus])
    said = sorted(m.kv for m in apart)
    other = said[len(said) // 2]
    times = max(own / other, other / own)
    repairs = [Repair((Edit(rows.ids[bus], "vn_kv", other),), "the level of what is connected")]
    if 500 <= own / other <= 2000:
        repairs.insert(0, Repair((Edit(rows.ids[bus], "vn_kv", own / 1e3),), "V given as kV"))
    cause = (
        f"{rows.label(bus)} has a vn_kv of {own:g} kV; {len(apart)} of the {len(meetings)} "
        f"connections there are for {other:g} kV."
    )
    evidence = {"vn_kv": own, "others_kv": other, "apart": len(apart), "of": len(meetings)}
    score = (0.5 + np.log10(times)) * len(apart) / len(meetings) + 0.3 * (len(apart) > 1)
    return Suspect("voltage-level", (rows.ids[bus],), cause, evidence, float(score), tuple(repairs))


def _windings(
    case: Case, owner: Owner, meetings: list[Meeting], at_bus: Mapping[int, list[Meeting]]
) -> Suspect:
    kind, row = owner
    rows, vn = case.network.rows(kind), case.network.rows(e.Bus).column("vn_kv")
    id_ = rows.ids[row]
    apart = [m for m in meetings if not m.agrees]
    repairs = []
    if kind is e.Transformer:
        hv, lv = (int(rows.at[f"{side}_bus"][row]) for side in ("hv", "lv"))
        kv = [float(rows.column(f"vn_{side}_kv")[row]) for side in ("hv", "lv")]
        if max(vn[hv] / kv[1], kv[1] / vn[hv], vn[lv] / kv[0], kv[0] / vn[lv]) <= WINDING:
            element = rows.elements[row]
            turned = Edit(id_, "hv_bus", element.lv_bus), Edit(id_, "lv_bus", element.hv_bus)
            repairs.append(Repair(turned, "the transformer is the wrong way round"))
    edits = tuple(Edit(id_, str(m.field), float(vn[m.bus])) for m in apart)
    repairs += [
        Repair((Edit(id_, str(m.field), m.kv / 1e3),), "V given as kV")
        for m in apart
        if 500 <= m.kv / vn[m.bus] <= 2000
    ]
    repairs.append(Repair(edits, "the level of its bus"))
    times = max(max(m.kv / vn[m.bus], vn[m.bus] / m.kv) for m in apart)
    told = ", ".join(
        f"{m.field} {m.kv:g} kV at {case.network.rows(e.Bus).label(m.bus)} of {vn[m.bus]:g} kV"
        for m in apart
    )
    cause = f"{rows.label(row)} does not fit its buses: {told}."
    sure = float(np.mean([_otherwise_agrees(at_bus, m) for m in apart]))
    evidence = {"rated_kv": [m.kv for m in apart], "bus_kv": [float(vn[m.bus]) for m in apart]}
    score = (0.5 + float(np.log10(times))) * (0.6 + 0.4 * sure) + 0.3 * sure
    return Suspect("voltage-level", (id_,), cause, evidence, score, tuple(repairs))


def _joins_levels(case: Case, owner: Owner, meetings: list[Meeting]) -> Suspect:
    kind, row = owner
    rows = case.network.rows(kind)
    one, other = meetings[0].kv, meetings[-1].kv
    field = "closed" if kind is e.Switch else "in_service"
    repair = Repair((Edit(rows.ids[row], field, False),), "it joins two voltage levels")
    cause = f"{rows.label(row)} joins a bus of {one:g} kV and one of {other:g} kV."
    evidence = {"vn_kv": [one, other]}
    score = 1.0 + abs(float(np.log10(one / other)))
    return Suspect("joins-levels", (rows.ids[row],), cause, evidence, score, (repair,))


# -- tap changers ----------------------------------------------------------------------------------


def _taps(case: Case) -> Iterator[Suspect]:
    for kind, changers in ((e.Transformer, ("", "2")), (e.ThreeWindingTransformer, ("",))):
        rows = case.network.rows(kind)
        for row in np.flatnonzero(case.topology.alive(kind)).tolist():
            for changer in changers:
                yield from _tap(case, rows, row, changer)


def _tap(case: Case, rows: Rows, row: int, changer: str) -> Iterator[Suspect]:
    element, id_ = rows.elements[row], rows.ids[row]
    tap = f"tap{changer}_"
    pos, step = getattr(element, f"{tap}pos"), getattr(element, f"{tap}step_percent")
    if pos is None or not step:
        return
    neutral = getattr(element, f"{tap}neutral") or 0.0
    least, largest = (getattr(element, f"{tap}{end}") for end in ("min", "max"))
    change = abs(pos - neutral) * abs(step) / 100
    outside = (least is not None and pos < least) or (largest is not None and pos > largest)
    if change <= FAR_TAP and not (outside and change > FAR_TAP / 3):
        return
    repairs = []
    if abs(step) > 5:
        factor = 0.01 if abs(step) * 0.01 >= 0.3 else 0.1
        edit = Edit(id_, f"{tap}step_percent", step * factor)
        repairs.append(Repair((edit,), "a step in the wrong unit"))
    if outside:
        nearest = min(max(pos, least if least is not None else pos), largest or pos)
        ten = neutral + (pos - neutral) / 10
        if (least is None or ten >= least) and (largest is None or ten <= largest):
            repairs.append(Repair((Edit(id_, f"{tap}pos", float(ten)),), "a decimal point"))
        repairs.append(Repair((Edit(id_, f"{tap}pos", float(nearest)),), "the end of its range"))
    repairs.append(Repair((Edit(id_, f"{tap}pos", float(neutral)),), "the neutral position"))
    cause = (
        f"{rows.label(row)}: {tap}pos {pos:g} at {step:g} % a step changes the ratio by "
        f"{100 * change:.3g} %{', and is outside of its range' if outside else ''}."
    )
    evidence = {f"{tap}pos": pos, f"{tap}step_percent": step, "ratio_change_percent": 100 * change}
    score = 0.6 + 0.6 * outside + max(0.0, float(np.log10(change / FAR_TAP)))
    yield Suspect("tap", (id_,), cause, evidence, score, tuple(repairs))


# -- sources ---------------------------------------------------------------------------------------

_HELD: tuple[tuple[type[Element], str, str], ...] = (
    (e.ExternalGrid, "bus", "vm_pu"),
    (e.Generator, "bus", "vm_pu"),
    (e.DCLine, "from_bus", "vm_from_pu"),
    (e.DCLine, "to_bus", "vm_to_pu"),
    (e.SVC, "bus", "set_vm_pu"),
    (e.SSC, "bus", "set_vm_pu"),
    (e.ExtendedWard, "bus", "vm_pu"),
)


def _source_voltages(case: Case) -> Iterator[Suspect]:
    usual = _usual_voltage(case)
    for kind, reference, field in _HELD:
        rows = case.network.rows(kind)
        if not len(rows):
            continue
        held, kv = rows.column(field), case.kv(rows, reference)
        odd = (held < SOURCE_PU[0]) | (held > SOURCE_PU[1])
        for row in np.flatnonzero(odd & case.topology.alive(kind)).tolist():
            yield _source_voltage(rows, row, field, float(kv[row]), usual)


def _usual_voltage(case: Case) -> float:
    found = [
        float(value)
        for kind, _, field in _HELD
        for value in case.network.rows(kind).column(field)
        if SOURCE_PU[0] <= value <= SOURCE_PU[1]
    ]
    return float(np.median(found)) if found else 1.0


def _source_voltage(rows: Rows, row: int, field: str, kv: float, usual: float) -> Suspect:
    held, id_ = float(rows.column(field)[row]), rows.ids[row]
    slips = (
        (held / kv, "kV given as per unit"),
        (held / 100, "percent given as per unit"),
        (held / kv / 1e3, "V given as per unit"),
        (held * 10, "a decimal point"),
        (held / 10, "a decimal point"),
    )
    repairs = [
        Repair((Edit(id_, field, float(f"{value:.6g}")),), why)
        for value, why in slips
        if SOURCE_PU[0] <= value <= SOURCE_PU[1]
    ]
    repairs.append(Repair((Edit(id_, field, usual),), "what the other sources hold"))
    cause = f"{rows.label(row)} is to hold {held:g} pu ({field}), which is {held * kv:.4g} kV."
    evidence = {field: held, "vn_kv": kv, "usual_pu": usual}
    far = abs(float(np.log10(held)))
    return Suspect("set-point", (id_,), cause, evidence, 0.8 + far, tuple(repairs[:3]))


# -- phase shifts ----------------------------------------------------------------------------------


class _Tree(NamedTuple):
    """Angles along a spanning tree, and what each branch beside it contradicts by.

    edges  (one end, other end, owner, turn of the other end against the one [degree])
    """

    above: list[int]
    over: list[int]
    angle: list[float]
    edges: list[tuple[int, int, Owner, float]]


def _phase_shifts(case: Case) -> Iterator[Suspect]:
    """Around every loop the phase shifts add up to nothing; sources are joined by the earth."""
    if case.newton is None:
        return
    tree = _tree(case)
    bad: dict[Owner, list[float]] = defaultdict(list)
    good: dict[Owner, int] = defaultdict(int)
    for at, (one, other, owner, turn) in enumerate(tree.edges):
        if at in tree.over:
            continue
        left = (tree.angle[one] + turn - tree.angle[other] + 180) % 360 - 180
        loop = _loop(tree, at, one, other)
        for member, sign in [(owner, 1), *loop]:
            if not _turns(case, member):
                continue
            if abs(left) > LOOP_DEGREE:
                bad[member].append(sign * left)
            else:
                good[member] += 1
    for owner, lefts in bad.items():
        suspect = _shift_suspect(case, owner, lefts, good[owner])
        if suspect is not None:
            yield suspect


def _tree(case: Case) -> _Tree:
    assert case.newton is not None
    q = case.newton.equations
    branch, root = q.branch, q.count
    turns = -np.rad2deg(np.angle(branch.ratio))
    edges = list(
        zip(branch.f.tolist(), branch.t.tolist(), branch.owner, turns.tolist(), strict=True)
    )
    for kind in (e.ExternalGrid, e.Generator):
        rows = case.network.rows(kind)
        holds = case.topology.alive(kind)
        if kind is e.Generator:
            holds = holds & (rows.column("slack") if len(rows) else False)
        for row in np.flatnonzero(holds).tolist():
            node = int(q.of_bus[rows.at["bus"][row]])
            edges.append((root, node, (kind, row), float(np.rad2deg(np.angle(q.target[node])))))
    ends = np.array([(one, other) for one, other, _, _ in edges]).T
    size = (q.count + 1,) * 2
    graph = csr_matrix((np.ones(len(edges)), tuple(ends)), size)
    order, before = breadth_first_order(graph, root, directed=False)
    by_pair: dict[tuple[int, int], int] = {}
    for at, (one, other, _, _) in enumerate(edges):
        by_pair.setdefault((one, other), at)
        by_pair.setdefault((other, one), at)
    above, over, angle = [-1] * (q.count + 1), [-1] * (q.count + 1), [0.0] * (q.count + 1)
    for node in order[1:].tolist():
        parent = int(before[node])
        at = by_pair[parent, node]
        sign = 1 if edges[at][0] == parent else -1
        above[node], over[node] = parent, at
        angle[node] = angle[parent] + sign * edges[at][3]
    return _Tree(above, over, angle, edges)


def _loop(tree: _Tree, at: int, one: int, other: int) -> list[tuple[Owner, int]]:
    """The tree's branches between the ends of another, each with its sense in the loop."""

    def up(node: int) -> list[int]:
        path = [node]
        while tree.above[path[-1]] >= 0:
            path.append(tree.above[path[-1]])
        return path

    ups, downs = up(one), up(other)
    while len(ups) > 1 and len(downs) > 1 and ups[-2] == downs[-2]:
        ups.pop()
        downs.pop()
    found = []
    for path, sense in ((ups, 1), (downs, -1)):
        for node in path[:-1]:
            member = tree.edges[tree.over[node]]
            found.append((member[2], sense if member[1] == node else -sense))
    return found


def _turns(case: Case, owner: Owner) -> bool:
    """Whether an element has a field by which it turns the phase."""
    return owner[0] in (e.Transformer, e.ExternalGrid)


def _shift_suspect(case: Case, owner: Owner, lefts: list[float], good: int) -> Suspect | None:
    kind, row = owner
    rows = case.network.rows(kind)
    left = float(np.median(lefts))
    id_ = rows.ids[row]
    if kind is e.Transformer:
        # A shift turns the low-voltage side back.
        own = float(shift_degree(rows)[row])
        field, value = "shift_degree", own + left
        winding = windings(case.network, rows, case.settings)[1]
        evidence = {"shift_degree": own, "effective_shift_degree": float(winding.shift[row])}
    else:
        own = float(rows.column("va_degree")[row])
        field, value = "va_degree", own - left
        evidence = {"va_degree": own}
    value = (round(value, 6) + 180) % 360 - 180
    if kind is e.Transformer and own >= 0:
        value %= 360
    told = f"{rows.label(row)} has a {field} of {own:g}°"
    cause = (
        f"{told}, and the phase shifts around {len(lefts)} loop(s) through it do not cancel by "
        f"{abs(left):.4g}°."
    )
    evidence |= {"left_degree": left, "loops": len(lefts), "loops_that_agree": good}
    share = len(lefts) / (len(lefts) + good)
    repair = Repair((Edit(id_, field, value),), "the shifts around the loop cancel")
    score = 0.5 + share + abs(left) / 360
    return Suspect("phase-shift", (id_,), cause, evidence, score, (repair,))
