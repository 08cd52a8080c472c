"""What differs from the built network in each case of a sweep.

A contingency takes a few elements out in each case, a series sets the same fields in every case:
both are `Changes`. Nothing here knows an engine.
"""

from __future__ import annotations

import functools
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

from electrisim import elements as e
from electrisim.elements import FIELDS, Element
from electrisim.network import Array, Network

Place = tuple[type[Element], str]
#: kind → row → field → value: what one case changes.
Edits = Mapping[type[Element], Mapping[int, Mapping[str, Any]]]


class Series(NamedTuple):
    """A field of some elements, set in every case.

    rows    shape (m,)
    values  shape (n_cases, m)
    """

    rows: Array
    values: Array


class Spots(NamedTuple):
    """A field of single elements, each set in one case; all of shape (k,)."""

    cases: Array
    rows: Array
    values: Array


class Changes:
    """The cases of a sweep, each a set of changes to the same built network.

    count   number of cases
    series  (kind, field) → what every case sets
    spots   (kind, field) → what only some cases set
    """

    def __init__(
        self,
        count: int,
        series: Mapping[Place, Series] | None = None,
        spots: Mapping[Place, Spots] | None = None,
    ) -> None:
        self.count = count
        self.series = MappingProxyType(dict(series or {}))
        self.spots = MappingProxyType(dict(spots or {}))

    @property
    def places(self) -> list[Place]:
        """Every (kind, field) that some case changes."""
        return list(dict.fromkeys([*self.series, *self.spots]))

    def rows(self, kind: type[Element], field: str) -> Array:
        """The elements of which some case changes this field."""
        found = [part.rows for part in self._parts(kind, field)]
        return np.unique(np.concatenate([np.zeros(0, dtype=np.int64), *found]))

    def rows_set(self, kind: type[Element], field: str) -> Array:
        """The elements of which some case sets this flag to true."""
        found = [
            np.broadcast_to(part.rows, part.values.shape)[part.values.astype(bool)]
            for part in self._parts(kind, field)
        ]
        return np.unique(np.concatenate([np.zeros(0, dtype=np.int64), *found]))

    def _parts(self, kind: type[Element], field: str) -> list[Series | Spots]:
        parts = (self.series.get((kind, field)), self.spots.get((kind, field)))
        return [part for part in parts if part is not None]

    @functools.cached_property
    def _spots_by_case(self) -> Mapping[int, list[tuple[Place, int, Any]]]:
        found: dict[int, list[tuple[Place, int, Any]]] = defaultdict(list)
        for place, (cases, rows, values) in self.spots.items():
            for case, row, value in zip(
                cases.tolist(), rows.tolist(), values.tolist(), strict=True
            ):
                found[case].append((place, row, value))
        return found

    def of(self, case: int) -> Edits:
        """What one case changes."""
        edits: dict[type[Element], dict[int, dict[str, Any]]] = defaultdict(
            lambda: defaultdict(dict)
        )
        for (kind, field), (rows, values) in self.series.items():
            for row, value in zip(rows.tolist(), values[case].tolist(), strict=True):
                edits[kind][row][field] = value
        for (kind, field), row, value in self._spots_by_case.get(case, ()):
            edits[kind][row][field] = value
        return edits


def outages(cases: Sequence[Iterable[tuple[type[Element], int]]]) -> Changes:
    """One case per set of elements (kind, row) that are lost together; a switch opens."""
    found: dict[Place, list[tuple[int, int]]] = defaultdict(list)
    for case, lost in enumerate(cases):
        for kind, row in lost:
            found[kind, "closed" if kind is e.Switch else "in_service"].append((case, row))
    spots = {}
    for place, pairs in found.items():
        at, rows = np.array(pairs, dtype=np.int64).T
        spots[place] = Spots(at, rows, np.zeros(len(pairs), dtype=bool))
    return Changes(len(cases), spots=spots)


def changed(network: Network, edits: Edits) -> Network:
    """The network with the edits made; values are taken as they are."""
    replaced = {}
    for kind, by_row in edits.items():
        whole = {name for name, field in FIELDS[kind].items() if field.type == "integer"}
        replaced[kind] = {
            row: {name: int(value) if name in whole else value for name, value in fields.items()}
            for row, fields in by_row.items()
        }
    return network.changed(replaced)
