"""What the differences between two engines are from, found by solving again.

First elements whose numbers on one engine contradict the graph's own data; then features that
engines treat in ways of their own, neutralised on both; then single elements that are done without.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from electrisim import elements as e
from electrisim.change import changed
from electrisim.comparing import Gap, Gaps, compare
from electrisim.elements import Element
from electrisim.network import Array, Network
from electrisim.rivals import Bench, Outcome
from electrisim.suspects import Suspect, outage, suspects, together
from electrisim.topology import Topology

#: Elements that are tried one by one where no feature explains a difference.
TRIED = 6

Place = tuple[type[Element], str]

#: An element contradicts its data from this share of what a certificate accepts.
CONTRADICTS = 1e-2
#: What has no model of its own that could be wrong.
_NODES = (e.Bus, e.DCBus)


class Trial(NamedTuple):
    """A suspect, and the differences that are left without it; None where that was not solved."""

    suspect: Suspect
    gaps: Gaps | None
    engine: str | None = None

    def clears(self, place: Place, before: Gap) -> bool:
        """Whether the difference is gone, and not only smaller with everything else."""
        if self.gaps is None:
            return False
        gap = self.gaps.get(place)
        return gap is None or gap.share <= min(1.0, before.share / 2)


class Inquiry:
    """The search for what the differences are from.

    outcomes  of both engines with everything as it is
    gaps      between them
    """

    def __init__(
        self,
        bench: Bench,
        network: Network,
        tolerance_pu: float,
        outcomes: tuple[Outcome, Outcome],
        gaps: Gaps,
    ) -> None:
        self._bench = bench
        self._network = network
        self._tolerance_pu = tolerance_pu
        self._outcomes = outcomes
        self._gaps = gaps
        self._supplied = Topology(network).bus

    def trials(self) -> list[Trial]:
        """What the differences are from; those that nothing clears stay without."""
        open_ = {place for place, gap in self._gaps.items() if gap.share > 1}
        contradicting = self._contradicting()
        if contradicting:
            return contradicting
        kept, open_ = self._features(open_)
        return kept + self._elements(open_) if open_ else kept

    def _cleared(self, trial: Trial, open_: set[Place]) -> set[Place]:
        return {place for place in open_ if trial.clears(place, self._gaps[place])}

    def _contradicting(self) -> list[Trial]:
        """Elements whose numbers on one engine contradict the graph's data, the worst first."""
        found = []
        for outcome in self._outcomes:
            if outcome.report.status != "refuted":
                continue
            severities = {
                id_: severity
                for id_, severity in outcome.severities.items()
                if severity > 1 and self._network.ids[id_][0] not in _NODES
            }
            for id_ in sorted(severities, key=lambda id_: -severities[id_])[:TRIED]:
                suspect = outage(self._network, id_)
                found.append(Trial(suspect, self._try(suspect).gaps, outcome.report.asked))
        return found

    def _features(self, open_: set[Place]) -> tuple[list[Trial], set[Place]]:
        present = suspects(self._network, self._bench.settings, self._vm_pu())
        kept: list[Trial] = []
        for suspect in present:
            trial = self._try(suspect)
            if cleared := self._cleared(trial, open_):
                kept.append(trial)
                open_ = open_ - cleared
            if not open_:
                return kept, open_
        several = self._fewest(present, open_)
        return ([*kept, several], set()) if several else (kept, open_)

    def _fewest(self, present: list[Suspect], open_: set[Place]) -> Trial | None:
        """The fewest features that have to go together for the differences to go."""
        found: Trial | None = None
        rest = present
        for leave in [None, *present]:
            tried = [suspect for suspect in rest if suspect is not leave]
            if len(tried) < 2:
                continue
            trial = self._try(together(tried))
            if self._cleared(trial, open_) == open_:
                found, rest = trial, tried
            elif leave is None:
                return None
        return found

    def _elements(self, open_: set[Place]) -> list[Trial]:
        """A single element without which the differences are gone."""
        for id_ in self._candidates()[:TRIED]:
            trial = self._try(outage(self._network, id_))
            if self._cleared(trial, open_) == open_:
                engine = self._contradicted_by(id_)
                return [trial._replace(engine=engine)]
        return []

    def _candidates(self) -> list[str]:
        """By how much they contradict their data, then by how much their results differ."""
        weights: dict[str, float] = {}
        for outcome in self._outcomes:
            for id_, severity in outcome.severities.items():
                if severity > CONTRADICTS:
                    weights[id_] = max(weights.get(id_, 0.0), severity)
        named = sorted(weights, key=lambda id_: -weights[id_])
        differing = sorted(self._gaps.items(), key=lambda item: -item[1].share)
        named += [self._network.rows(kind).ids[gap.row] for (kind, _), gap in differing]
        return [id_ for id_ in dict.fromkeys(named) if self._network.ids[id_][0] not in _NODES]

    def _contradicted_by(self, id_: str) -> str | None:
        """The engine whose numbers are much farther from the element's data than the other's."""
        one, other = (outcome.severities.get(id_, 0.0) for outcome in self._outcomes)
        if max(one, other) <= CONTRADICTS or min(one, other) > max(one, other) / 10:
            return None
        return self._bench.pair[0 if one > other else 1]

    def _try(self, suspect: Suspect) -> Trial:
        """Solve without it; that proves nothing where an engine cannot, or supply is lost."""
        without = changed(self._network, suspect.edits)
        if not np.array_equal(Topology(without).bus, self._supplied):
            return Trial(suspect, None)
        one, other = self._bench.solve(self._network, suspect)
        if one.tables is None or other.tables is None:
            return Trial(suspect, None)
        return Trial(suspect, compare(one.tables, other.tables, self._tolerance_pu))

    def _vm_pu(self) -> Array:
        """The bus voltages farthest from 1, on either side and in any step."""
        both = [
            np.atleast_2d(outcome.tables[e.Bus]["vm_pu"])
            for outcome in self._outcomes
            if outcome.tables and "vm_pu" in outcome.tables.get(e.Bus, {})
        ]
        if not both:
            return np.ones(len(self._network.rows(e.Bus)))
        vm = np.nan_to_num(np.concatenate(both), nan=1.0)
        return np.asarray(vm[np.abs(vm - 1).argmax(axis=0), np.arange(vm.shape[1])])
