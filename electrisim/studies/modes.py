"""Solution modes: the steps that elements' own daily, duty or yearly multipliers make.

A multiplier acts on `scaling`, of a PV system on its irradiance. As in OpenDSS, an element without
the multipliers of a mode has its daily ones, and a list that is shorter than the longest begins
again at its end.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from electrisim import elements as e
from electrisim.change import Changes, Place, Series
from electrisim.elements import Element
from electrisim.network import Array, Network, fault
from electrisim.problems import Problem, ProblemError

#: Mode → the field of its multipliers.
FIELDS: Mapping[str, str] = {"daily": "daily", "dutycycle": "duty", "yearly": "yearly"}
#: What the multipliers of a kind act on.
SCALED: Mapping[type[Element], str] = {
    e.Load: "scaling",
    e.AsymmetricLoad: "scaling",
    e.Generator: "scaling",
    e.StaticGenerator: "scaling",
    e.AsymmetricStaticGenerator: "scaling",
    e.Storage: "scaling",
    e.PVSystem: "irradiance_kw_per_m2",
}
#: Most steps: a leap year of five-minute steps.
MOST_STEPS = 105_408
#: Of which quantities the extremes are told.
WATCHED: Mapping[type[Element], tuple[str, ...]] = {
    e.Bus: ("vm_pu",),
    e.Line: ("loading_percent",),
    e.Transformer: ("loading_percent",),
    e.ThreeWindingTransformer: ("loading_percent",),
    e.ExternalGrid: ("p_mw", "q_mvar"),
}


def steps_of(network: Network, mode: str) -> Changes:
    """The steps of a mode; none where no element has multipliers for it.

    Raises ProblemError: multipliers that are no list of finite numbers from 0.
    """
    found = list(_multipliers(network, mode))
    problems = [problem for *_, problem in found if problem]
    if problems:
        raise ProblemError(problems)
    count = max((len(values) for _, _, values, _ in found), default=0)
    by_place: dict[Place, dict[int, Array]] = {}
    for kind, row, values, _ in found:
        field = SCALED[kind]
        own = network.rows(kind).column(field)[row]
        by_place.setdefault((kind, field), {})[row] = own * np.resize(values, count)
    series = {
        place: Series(np.array(list(rows)), np.stack(list(rows.values()), axis=1))
        for place, rows in by_place.items()
    }
    return Changes(count, series=series)


def _multipliers(
    network: Network, mode: str
) -> Iterator[tuple[type[Element], int, Array, Problem | None]]:
    for kind in SCALED:
        rows = network.rows(kind)
        for row, element in enumerate(rows.elements):
            field = FIELDS[mode]
            given = getattr(element, field)
            if given is None:
                field, given = "daily", element.daily
            if given is None:
                continue
            values = np.array(given, dtype=float)
            text = ""
            if not 1 <= len(values) <= MOST_STEPS:
                text = f"must have 1 to {MOST_STEPS} multipliers in {field}"
            elif not (np.isfinite(values) & (values >= 0)).all():
                text = f"must have finite multipliers of at least 0 in {field}"
            problem = fault(rows, row, field, "out-of-bounds", text) if text else None
            yield kind, row, values, problem


class Extremes:
    """The least and largest values of every element over the steps, and when they are."""

    def __init__(self, network: Network, model: str) -> None:
        self._network = network
        self._low: dict[tuple[type[Element], str], tuple[Array, Array]] = {}
        self._high: dict[tuple[type[Element], str], tuple[Array, Array]] = {}
        for kind, names in WATCHED.items():
            # With three unequal phases an external grid has powers of phases only.
            if kind in network.kinds and not (kind is e.ExternalGrid and model == "unbalanced"):
                for name in names:
                    nothing = np.full(len(network.rows(kind)), np.nan)
                    when = np.full(len(nothing), -1)
                    self._low[kind, name] = nothing, when
                    self._high[kind, name] = nothing, when

    @property
    def quantities(self) -> Sequence[tuple[type[Element], str]]:
        return list(self._low)

    def add(self, kind: type[Element], name: str, steps: Array, values: Array) -> None:
        """Values of some steps, shape (n, n_elements), NaN where there is none."""
        for kept, sign in ((self._low, -1), (self._high, 1)):
            signed = np.where(np.isnan(values), -np.inf, sign * values)
            at = signed.argmax(axis=0)
            best = np.take_along_axis(signed, at[None], axis=0)[0]
            old, when = kept[kind, name]
            better = best > np.where(np.isnan(old), -np.inf, sign * old)
            kept[kind, name] = np.where(better, sign * best, old), np.where(better, steps[at], when)

    def told(self) -> dict[str, dict[str, Any]]:
        """Key of the results → ids, and by quantity the extremes and the steps they are in."""
        found: dict[str, dict[str, Any]] = {}
        for kind, name in self._low:
            table = found.setdefault(kind.key, {"ids": self._network.rows(kind).ids})
            table[name] = {}
            for word, kept in (("min", self._low), ("max", self._high)):
                values, when = kept[kind, name]
                table[name][word] = values.tolist()
                table[name][f"{word}_step"] = [int(step) if step >= 0 else None for step in when]
        return found
