"""A sweep of three unequal phases on OpenDSS: the circuit stands, and powers are edited in it.

What draws or delivers power is put into the engine's words anew for every case, and an element of
which these words differ is edited; nothing else is built again, and the engine goes on from the
case before. Its answer is read and certified as that of a circuit built for the case alone, which
takes its place where there is none.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from electrisim import elements as e
from electrisim import premises
from electrisim.change import Changes
from electrisim.elements import Element
from electrisim.injections import LAWS
from electrisim.network import Network
from electrisim.sweep import Chunk, solve_each
from electrisim.topology import Topology
from opendss_circuit import Circuit, Part

if TYPE_CHECKING:
    from opendss_electrisim import OpenDSSModel

#: Settings under which the circuit is more than its elements and their powers.
UNUSUAL = ("enforce_q_lims", "load_model", "algorithm")
_POWERS = ("kw=", "kvar=")


def reason_against(circuit: Circuit, changes: Changes) -> str:
    """Why the circuit cannot stand while the cases pass; empty where it can."""
    settings = circuit.settings
    usual = type(settings)()
    for name in UNUSUAL:
        if getattr(settings, name) != getattr(usual, name):
            return f"the setting {name}"
    if settings.controls:
        return "controllers act"
    for kind, field in changes.places:
        if not _is_power(kind, field):
            return f"phases differ, and they change {field} of {kind.key}"
    return ""


def _is_power(kind: type[Element], field: str) -> bool:
    if field == "in_service" or kind is e.ExtendedWard:
        return False
    return kind is e.PVSystem or (kind in LAWS and field in LAWS[kind][1])


def sweep(
    model: OpenDSSModel,
    changes: Changes,
    make: Callable[[Network, Topology], OpenDSSModel],
) -> Iterator[Chunk]:
    """Solve the model's network once per case.

    make  a circuit of a network in place of the one that stands in the model's session
    """
    network, topology = model.circuit.network, model.circuit.topology
    settings = model.settings
    premises.check(network, topology, settings)
    kinds = list(dict.fromkeys(kind for kind, _ in changes.places))
    standing = model

    @contextmanager
    def edited(case: Network, topology: Topology) -> Iterator[OpenDSSModel]:
        if standing.solution is None:
            with anew(case, topology) as fresh:
                yield fresh
        else:
            standing.turn_into(case, kinds)
            yield standing

    @contextmanager
    def anew(case: Network, topology: Topology) -> Iterator[OpenDSSModel]:
        nonlocal standing
        standing = make(case, topology)
        yield standing

    cases = range(changes.count)
    yield from solve_each(
        edited, network, settings, changes, cases, topology=topology, otherwise=anew
    )


def edits(before: Circuit, after: Circuit) -> list[str]:
    """Commands that make the elements of one circuit those of another with the same names."""
    kinds = {part.kind for part in after.parts}
    parts = [part for part in before.parts if part.kind in kinds]
    was = {name: text for part in parts for name, text in _made(part)}
    now = [pair for part in after.parts for pair in _made(part)]
    return [_edit(was[name], text) for name, text in now if was[name] != text]


def _made(part: Part) -> Iterator[tuple[str, str]]:
    return zip(part.names, part.commands, strict=True)


def _edit(was: str, text: str) -> str:
    """Both powers, since kw alone would move kvar; where more differs all from there on."""
    old, (_, name, *new) = was.split(" ")[2:], text.split(" ")
    first = next(k for k, pair in enumerate(zip(old, new, strict=True)) if pair[0] != pair[1])
    powers = [word for word in new if word.startswith(_POWERS)]
    only = all(a == b or b in powers for a, b in zip(old, new, strict=True))
    return " ".join(["edit", name, *(powers if only else new[first:])])
