"""Result columns of many cases, kept in a temporary file: they would not fit into memory."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from electrisim.elements import Element
from electrisim.network import Array, Network
from electrisim.results import COLUMNS
from electrisim.sweep import Chunk


class Spool:
    """Every balanced result column of every case, in a file that vanishes with this object.

    labels  one per case
    """

    def __init__(self, network: Network, labels: Sequence[str]) -> None:
        self.network = network
        self.labels = labels
        self._slices: dict[type[Element], dict[str, slice]] = {}
        width = 0
        for kind in network.kinds:
            rows = len(network.rows(kind))
            self._slices[kind] = {
                name: slice(width + at * rows, width + (at + 1) * rows)
                for at, name in enumerate(COLUMNS[kind])
            }
            width += rows * len(COLUMNS[kind])
        shape = (max(len(labels), 1), max(width, 1))
        # Mapped, it outlives its handle.
        with tempfile.TemporaryFile() as file:
            self._values = np.memmap(file, dtype=float, mode="w+", shape=shape)

    def add(self, chunk: Chunk) -> None:
        """Keep the cases of a chunk; a case without a solution has no numbers."""
        for kind, columns in self._slices.items():
            for name, at in columns.items():
                self._values[chunk.cases, at] = chunk.column(kind, name)
        self._values.flush()

    def column(self, kind: type[Element], name: str) -> Array:
        """A result column of all cases, shape (n_cases, n_elements)."""
        return np.asarray(self._values[: len(self.labels), self._slices[kind][name]])

    def cases(self) -> Iterator[tuple[str, Mapping[type[Element], Mapping[str, Array]]]]:
        """Each case: its label, and kind → column → array of shape (n_elements,)."""
        for label, values in zip(self.labels, self._values, strict=False):
            yield (
                label,
                {
                    kind: {name: values[at] for name, at in columns.items()}
                    for kind, columns in self._slices.items()
                },
            )
