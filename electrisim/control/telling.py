"""What an answer tells of its controllers, from the solved network and where they ended."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from electrisim import elements as e
from electrisim.claims import Answered
from electrisim.control.droops import Droops
from electrisim.control.plan import (
    EDGE_PU,
    Fleet,
    Owner,
    Place,
    Plan,
    Stepping,
    Tap,
    controllers,
    kind_of,
)
from electrisim.control.record import Controlled
from electrisim.network import Network
from electrisim.results import Solution, Tables


class State(NamedTuple):
    """A network solved with its controllers where they are."""

    network: Network
    solution: Solution
    tables: Tables
    script: str | None


class Settled(NamedTuple):
    """Where the controllers of a network end.

    state     the network there, solved
    records   one per controller, in the request's order
    flows     how many power flows it took
    warnings  what a reader of the numbers should know
    """

    state: State
    records: list[Controlled]
    flows: int
    warnings: list[str]

    @property
    def converged(self) -> bool:
        """Whether all are content, or at a limit."""
        return all(record.converged for record in self.records)


class End(NamedTuple):
    """Where controllers ended.

    answered   the solved network's numbers
    positions  of what moves
    restless   what found no rest
    near       how many times its own tolerance an inverter may be from its law
    near_mw    how far each storage of a fleet may be from what is missing, beyond its tolerance
    """

    plan: Plan
    answered: Answered
    positions: Mapping[Place, float]
    restless: Collection[Place]
    near: float = 1.0
    near_mw: float = 0.0


def records(network: Network, end: End, others: Mapping[Owner, dict[str, Any]]) -> list[Controlled]:
    """One record per controller, in the request's order; others: those told elsewhere."""
    found: dict[Owner, dict[str, Any]] = dict(others)
    for each in (*end.plan.taps, *end.plan.steps):
        if isinstance(each, Tap) and not each.is_discrete:
            found[each.place[:2]] = _continuous(end, each)
        else:
            found[each.place[:2]] = _stepping(end, each)
    for droops in end.plan.droops:
        found |= dict(_droops(end, droops))
    for fleet in end.plan.fleets:
        found |= dict(_fleet(network, end, fleet))
    return [_record(network, owner, found.get(owner)) for owner in controllers(network)]


def _record(network: Network, owner: Owner, told: dict[str, Any] | None) -> Controlled:
    rows, row = network.rows(owner[0]), owner[1]
    if told is not None:
        return Controlled(element=rows.ids[row], name=rows.names[row], **told)
    return Controlled(
        element=rows.ids[row],
        name=rows.names[row],
        kind=kind_of(rows.elements[row]),
        active=False,
        converged=True,
        on_target=False,
        at_limit=False,
    )


def _stepping(end: End, each: Stepping) -> dict[str, Any]:
    at, field = end.positions[each.place], each.place.field
    wanted = each.step(end.answered, at)
    return {
        "kind": each.kind,
        f"{field}_initial": each.position,
        field: at,
        **each.told(end.answered),
        "converged": each.place not in end.restless,
        "on_target": each.off(end.answered, at) <= EDGE_PU,
        "at_limit": bool(wanted and each.within(at + wanted) == at),
    }


def _continuous(end: End, tap: Tap) -> dict[str, Any]:
    position = end.positions[tap.place]
    on_target = tap.off(end.answered, position) <= EDGE_PU
    at_limit = bool(tap.acts and not on_target and position in (tap.lowest, tap.highest))
    return {
        "kind": tap.kind,
        "tap_pos_initial": tap.position,
        "tap_pos": position,
        **tap.told(end.answered),
        "converged": bool(on_target or at_limit or not tap.acts),
        "on_target": on_target,
        "at_limit": at_limit,
    }


def _droops(end: End, droops: Droops) -> Iterator[tuple[Owner, dict[str, Any]]]:
    rows = droops.rows
    sign = -rows.kind.ports[0].sign
    vm = end.answered.vm[rows.at["bus"][droops.at]]
    told = end.answered.power(rows.kind, "p_mw", "q_mvar")[droops.at]
    near = np.abs(sign * told - droops.law(vm)) <= end.near * droops.tolerance_mva
    limits = droops.at_limit(sign * told)
    for k, row in enumerate(droops.at.tolist()):
        yield (
            (rows.kind, row),
            {
                "kind": kind_of(rows.elements[row]),
                "p_mw_initial": float(sign * droops.given[k].real),
                "p_mw": float(told[k].real),
                "q_mvar_initial": float(sign * droops.given[k].imag),
                "q_mvar": float(told[k].imag),
                "vm_pu": float(vm[k]),
                "converged": bool(near[k]),
                "on_target": bool(near[k]),
                "at_limit": limits[k],
            },
        )


def _fleet(network: Network, end: End, fleet: Fleet) -> Iterator[tuple[Owner, dict[str, Any]]]:
    storages = network.rows(e.Storage)
    flow = fleet.flow_mw(end.answered)
    near = end.near * fleet.tolerance_mw() + end.near_mw * len(fleet.rows)
    powers = end.answered.column(e.Storage, "p_mw")[list(fleet.rows)]
    full = -powers >= fleet.most - near
    rests = flow <= fleet.target + near and bool((np.abs(powers) <= near).all())
    on_target = abs(flow - fleet.target) <= near or rests
    for row, power, limited in zip(fleet.rows, powers.tolist(), full.tolist(), strict=True):
        element: Any = storages.elements[row]
        yield (
            (e.Storage, row),
            {
                "kind": kind_of(element),
                "p_mw_initial": element.p_mw * element.scaling,
                "p_mw": power,
                "line": network.rows(e.Line).ids[fleet.line],
                "line_p_mw": flow,
                "line_p_column": "p_from_mw",
                "p_target_mw": fleet.target,
                "converged": bool(on_target or full.all()),
                "on_target": bool(on_target),
                "at_limit": bool(limited and not rests),
            },
        )
