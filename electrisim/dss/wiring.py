"""Where elements are connected: phases by the nodes of their buses, nominal voltages of buses."""

from __future__ import annotations

import math
from collections import defaultdict, deque
from collections.abc import Iterable, Iterator, Mapping

from electrisim.dss.script import Circuit, Thing
from electrisim.dss.values import BusAt
from electrisim.problems import Problem, ProblemError

ROOT3 = math.sqrt(3)
#: An element's own default, where its kv says nothing [kV].
DEFAULT_KV = 12.47


class UnrepresentedError(ValueError):
    """What an element has and the graph has not; its text is the end of a sentence."""


def phase_word(at: BusAt, phases: int, delta: bool = False) -> str:
    """What an element lies between at a bus: “abc”, “b” (and earth), “ca”.

    A third of a wye is to earth; one phase between two nodes, or one branch of a delta, is between
    two phases.
    """
    nodes = at.nodes
    if phases == 3:
        three = nodes[:3] or (1, 2, 3)
        if sorted(three) != [1, 2, 3] or (not delta and any(nodes[3:])):
            raise UnrepresentedError(f"lies at nodes {_told(nodes)}, which are not three phases")
        return "abc"
    if phases != 1:
        raise UnrepresentedError(f"has {phases} phases; one element has one or three")
    first, second = (*nodes, 0, 0)[:2] if nodes else (1, 2 if delta else 0)
    if delta and len(nodes) == 1:
        raise UnrepresentedError("is in delta and needs two nodes, as in b1.1.2")
    if first not in (1, 2, 3) or second not in (0, 1, 2, 3) or first == second:
        raise UnrepresentedError(f"lies at nodes {_told(nodes)}, which are no phases or earth")
    return "".join("abc"[node - 1] for node in (first, second) if node)


def line_phases(one: BusAt, other: BusAt, count: int) -> str:
    """The phases of a line's conductors, which are the same at both ends."""
    if not 1 <= count <= 3:
        raise UnrepresentedError(f"has {count} conductors; the graph has up to three")
    usual = tuple(range(1, count + 1))
    first, second = (at.nodes[:count] or usual for at in (one, other))
    if first != second:
        raise UnrepresentedError(
            f"ends at nodes {_told(first)} and {_told(second)}: a transposition has no place"
        )
    known = set(first) <= {1, 2, 3} and len(set(first)) == count
    if not known or (count == 3 and first != (1, 2, 3)):
        raise UnrepresentedError(f"lies at nodes {_told(first)}, which are no phases in order")
    return "".join("abc"[node - 1] for node in first)


def _told(nodes: Iterable[int]) -> str:
    return ".".join(map(str, nodes)) or "1.2.3"


def across(vn_kv: float, word: str) -> float:
    """Nominal voltage of what lies so at a bus [kV]."""
    return vn_kv / ROOT3 if len(word) == 1 else vn_kv


def terminals(thing: Thing) -> Iterator[BusAt]:
    """The buses of an object."""
    for key, value in thing.values.items():
        if isinstance(value, BusAt) and (key != "bus2" or thing.class_ in ("line", "reactor")):
            yield value


class Bases:
    """The nominal line-to-line voltage of every bus [kV].

    From the source's basekv along lines and by the ratios of transformers, to the nearest of
    `Set VoltageBases` where there are such; `SetKVBase` counts before all.
    """

    def __init__(self, circuit: Circuit) -> None:
        self._circuit = circuit
        self.kv: dict[str, float] = dict(circuit.bases)
        self._steps = self._neighbours()
        choices = circuit.options.get("voltagebases", ())
        self._choices = [kv for kv in choices if kv > 0]
        for source in circuit.of("vsource"):
            at = source.get("bus1", BusAt("sourcebus", ()))
            self._spread(at.name, source.get("basekv", 115.0))
        self._alone()

    def __getitem__(self, bus: str) -> float:
        return self.kv[bus]

    def _neighbours(self) -> Mapping[str, list[tuple[str, float]]]:
        """bus → (neighbour, ratio of its voltage to this one's)"""
        steps: dict[str, list[tuple[str, float]]] = defaultdict(list)

        def join(one: str, other: str, ratio: float) -> None:
            steps[one].append((other, ratio))
            steps[other].append((one, 1 / ratio))

        for class_ in ("line", "reactor"):
            for thing in self._circuit.of(class_):
                one, other = thing.get("bus1"), thing.get("bus2")
                if one and other and other.name != one.name:
                    join(one.name, other.name, 1.0)
        for thing in self._circuit.of("transformer"):
            sides = [
                (thing.get((w, "bus")), _line_kv(thing, w))
                for w in range(1, int(thing.get("windings", 2)) + 1)
            ]
            for (one, kv), (other, other_kv) in zip(sides, sides[1:], strict=False):
                if one and other and kv > 0 and other_kv > 0:
                    join(one.name, other.name, other_kv / kv)
        return steps

    def _spread(self, start: str, kv: float) -> None:
        exact = {start: kv}
        queue = deque([start])
        while queue:
            here = queue.popleft()
            for there, ratio in self._steps.get(here, ()):
                if there not in exact:
                    exact[there] = exact[here] * ratio
                    queue.append(there)
        for bus, value in exact.items():
            self.kv.setdefault(bus, self._nearest(value))

    def _nearest(self, kv: float) -> float:
        near = min(self._choices, key=lambda choice: abs(choice / kv - 1), default=kv)
        # As a tap or a rated voltage puts it, but not another level.
        return near if abs(near / kv - 1) < 0.1 else kv

    def _alone(self) -> None:
        """Buses that no source reaches: by what is connected there."""
        for class_, things in self._circuit.things.items():
            for thing in things.values():
                for key, at in list(thing.values.items()):
                    if not isinstance(at, BusAt) or at.name in self.kv:
                        continue
                    kv = thing.get("kv", thing.get("basekv", DEFAULT_KV))
                    if class_ == "transformer" and isinstance(key, tuple):
                        kv = _line_kv(thing, key[0])
                    self._spread(at.name, abs(kv) or DEFAULT_KV)


def _line_kv(thing: Thing, winding: int) -> float:
    """The line-to-line voltage of a winding: of one phase and earth, √3 of its own."""
    kv = float(thing.get((winding, "kv"), DEFAULT_KV))
    at = thing.get((winding, "bus"))
    earthed = at is None or len([node for node in at.nodes if node]) < 2
    is_delta = str(thing.get((winding, "conn"), "wye"))[:1] in ("d", "l")
    if thing.get("phases", 3) == 1 and earthed and not is_delta:
        return kv * ROOT3
    return kv


def refuse(faults: list[Problem]) -> None:
    if faults:
        raise ProblemError(faults, kind="unsupported")
