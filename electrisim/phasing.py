"""Which phases elements have, and what they lie between.

A word of one letter is a phase and earth, of two letters what lies between these phases, “abc” all
three. Per unit of a voltage is of what lies between: of vn_kv/√3 to earth, of vn_kv between phases.

Arrays of incidence have the shape (n, 3, 3): of each element up to three branches, each with +1
(and -1) in the column of the phase where it starts (ends); one branch is told first.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from electrisim import elements as e
from electrisim.elements import FIELDS, Element

if TYPE_CHECKING:
    from electrisim.network import Rows

Array = NDArray[Any]
#: A fault of one row: (row, field, kind of problem, what a sentence says of the element).
Fault = tuple[int, str, str, str]

ALL = "abc"
#: Fields of a line that its matrices replace, and those of a transformer that one phase lacks.
MATRICES = ("r_matrix_ohm_per_km", "x_matrix_ohm_per_km", "c_matrix_nf_per_km")
ZERO_OF_LINES = ("r0_ohm_per_km", "x0_ohm_per_km", "c0_nf_per_km")
THREE_PHASE = (
    "vector_group", "vk0_percent", "vkr0_percent", "mag0_percent", "mag0_rx", "si0_hv_partial",
    "xn_ohm",
)  # fmt: skip
#: A determinant this small beside the product of the diagonal is none [1].
SINGULAR = 1e-9


def numbers(word: str) -> tuple[int, ...]:
    """“ca” → (2, 0)."""
    return tuple(map(ALL.index, word))


def has_phases(kind: type[Element]) -> bool:
    return "phases" in FIELDS[kind]


def words(rows: Rows, port: int = 0) -> list[str]:
    """What the elements of a kind lie between, at one of their ports."""
    if not has_phases(rows.kind):
        return [ALL] * len(rows)
    found: list[str] = rows.values("phases")
    if rows.kind is e.Transformer and port == 1:
        return [low or high for low, high in zip(rows.values("lv_phases"), found, strict=True)]
    return found


def partial(rows: Rows) -> Array:
    """Which elements have fewer than three phases, shape (n,)."""
    return rows.derived("partial", lambda: _partial(rows), of_texts=True)


def _partial(rows: Rows) -> Array:
    if not has_phases(rows.kind):
        return fixed(np.zeros(len(rows), dtype=bool))
    return fixed(np.array([word != ALL for word in rows.values("phases")], dtype=bool))


def any_partial(rows: Rows) -> bool:
    return bool(partial(rows).any())


def present(rows: Rows, port: int = 0) -> Array:
    """Which phases each element has at a port, shape (n, 3)."""
    return rows.derived(("present", port), lambda: _present(words(rows, port)), of_texts=True)


def _present(found: list[str]) -> Array:
    if set(found) <= {ALL}:
        return fixed(np.ones((len(found), 3), dtype=bool))
    return fixed(np.array([[letter in word for letter in ALL] for word in found], dtype=bool))


def fixed(array: Array) -> Array:
    """An array to which nobody can write."""
    array.flags.writeable = False
    return array


@functools.cache
def _incidence(word: str, delta: bool) -> Array:
    whole = np.eye(3)
    if word == ALL:
        return whole - np.roll(whole, 1, axis=1) if delta else whole
    found = np.zeros((3, 3))
    for sign, phase in zip((1, -1), numbers(word), strict=False):
        found[0, phase] = sign
    return found


def incidence(rows: Rows, port: int = 0, delta: Array | None = None) -> Array:
    """The branches of each element, shape (n, 3, 3).

    delta  which of those with three phases have their branches between these
    """
    deltas = [False] * len(rows) if delta is None else delta.tolist()
    key = "incidence", port, tuple(deltas)
    return rows.derived(key, lambda: _branches(words(rows, port), deltas), of_texts=True)


def _branches(found: list[str], deltas: list[bool]) -> Array:
    return fixed(np.array(list(map(_incidence, found, deltas))).reshape(-1, 3, 3))


def across(word: str) -> float:
    """Nominal voltage of what lies so, of vn_kv; of three phases between two of them."""
    return 1 / math.sqrt(3) if len(word) == 1 else 1.0


def nominal(branches: Array) -> Array:
    """Nominal voltage across branches in units of vn_kv/√3: 1 to earth, √3 between phases."""
    return np.where(np.abs(branches).sum(axis=2) == 2, math.sqrt(3), 1.0)


#: A winding of another rated voltage than this, of what it lies between, is worth a word [1].
USUAL = (0.7, 1.4)


def odd_windings(rows: Rows, vn_kv: Array) -> Iterator[str]:
    """A sentence per winding of a single-phase unit that is far from its bus's nominal voltage.

    vn_kv  of the buses: that between phases, which who thinks of one phase may take for its own
    """
    for port, (bus, rated) in enumerate((("hv_bus", "vn_hv_kv"), ("lv_bus", "vn_lv_kv"))):
        for row in np.flatnonzero(partial(rows)).tolist():
            word, at = words(rows, port)[row], int(rows.at[bus][row])
            kv = getattr(rows.elements[row], rated)
            if at < 0 or kv is None or USUAL[0] < kv / (vn_kv[at] * across(word)) < USUAL[1]:
                continue
            yield (
                f"{rows.label(row)} has {rated} {kv:g} at a bus of vn_kv {vn_kv[at]:g}, where what "
                f"it lies between ({word}) is nominally at {vn_kv[at] * across(word):.4g} kV."
            )


def triangle(rows: list[list[float]]) -> Array:
    """A symmetric matrix from its lower triangle."""
    size = len(rows)
    found = np.zeros((size, size))
    for k, row in enumerate(rows):
        found[k, : k + 1] = found[: k + 1, k] = row
    return found


# -- what contradicts itself -----------------------------------------------------------------------


def faults(rows: Rows) -> Iterator[Fault]:
    """What is wrong with the phases of the elements of a kind."""
    if rows.kind is e.Line:
        yield from _faults_of_lines(rows)
        return
    if not has_phases(rows.kind) or not any_partial(rows) and rows.kind is not e.Transformer:
        return
    for row, element in enumerate(rows.elements):
        if rows.kind is e.Transformer:
            yield from ((row, *fault) for fault in _faults_of_transformer(element))
        elif rows.kind is e.Load:
            yield from ((row, *fault) for fault in _faults_of_load(element))
        elif rows.kind is e.Switch and element.phases != ALL and rows.at["et"][row] != "b":
            text = "has fewer than three poles at the end of a branch; between buses it may"
            yield row, "phases", "contradiction", text


def _faults_of_load(load: e.Load) -> Iterator[tuple[str, str, str]]:
    expected = {1: "wye", 2: "delta"}.get(len(load.phases))
    if expected and load.type not in (None, expected):
        lies = "one phase and earth" if expected == "wye" else "two phases"
        yield "type", "contradiction", f"lies between {lies} and is no {load.type}"


def _faults_of_transformer(unit: e.Transformer) -> Iterator[tuple[str, str, str]]:
    if unit.phases == ALL:
        for name in ("lv_phases", "centre_tapped"):
            if getattr(unit, name):
                text = f"has {name}, which only a single-phase unit (phases) has"
                yield name, "contradiction", text
        return
    if unit.lv_phases == ALL:
        yield "lv_phases", "contradiction", "is a single-phase unit and has no lv_phases abc"
    if unit.centre_tapped and len(unit.lv_phases or unit.phases) != 2:
        text = "is centre-tapped, so that its low-voltage winding lies between two lv_phases"
        yield "lv_phases", "contradiction", text
    for name in THREE_PHASE:
        if getattr(unit, name) is not None:
            text = f"is a single-phase unit, which has no {name}"
            yield name, "contradiction", text
    if (unit.shift_degree or 0) % 180:
        text = "is a single-phase unit, whose shift_degree is 0 or 180"
        yield "shift_degree", "contradiction", text
    for changer in ("tap", "tap2"):
        kind, degree = f"{changer}_changer_type", f"{changer}_step_degree"
        if getattr(unit, kind) == "Ideal" or getattr(unit, degree):
            at = degree if getattr(unit, degree) else kind
            text = "is a single-phase unit, whose taps turn no angle"
            yield at, "contradiction", text


def _faults_of_lines(rows: Rows) -> Iterator[Fault]:
    columns = list(map(rows.values, MATRICES))
    if not any_partial(rows) and all(column.count(None) == len(rows) for column in columns):
        return
    for row, (word, *matrices) in enumerate(zip(rows.values("phases"), *columns, strict=True)):
        if any(matrix is not None for matrix in matrices):
            yield from ((row, *fault) for fault in _faults_of_matrices(word, matrices))
        elif word != ALL:
            yield from ((row, *fault) for fault in _faults_of_sequences(rows.elements[row]))


def _faults_of_sequences(line: e.Line) -> Iterator[tuple[str, str, str]]:
    one = len(line.phases) == 1
    for name in (*ZERO_OF_LINES, "g0_us_per_km"):
        given = getattr(line, name) is not None
        if given and (one or name == "g0_us_per_km"):
            text = f"has fewer than three conductors, whose own values count, and no {name}"
            yield name, "contradiction", text
        elif not given and not one and name != "g0_us_per_km":
            yield name, "missing-parameter", f"has two conductors and needs {name}, or matrices"


def _faults_of_matrices(word: str, matrices: list[Any]) -> Iterator[tuple[str, str, str]]:
    shapes = True
    for name, matrix in zip(MATRICES, matrices, strict=True):
        if matrix is None:
            if name != MATRICES[2]:
                yield name, "missing-parameter", f"has matrices and needs {name}"
                shapes = False
            continue
        if [len(row) for row in matrix] != list(range(1, len(word) + 1)):
            rows = "[[aa], [ba, bb], [ca, cb, cc]]"
            text = f"needs {name} with a row per conductor, {len(word)}, as in {rows}"
            yield name, "wrong-form", text
            shapes = False
        elif not all(math.isfinite(value) for row in matrix for value in row):
            yield name, "not-finite", f"has a {name} with a number that is not finite"
            shapes = False
    if shapes:
        z = triangle(matrices[0]) + 1j * triangle(matrices[1])
        if abs(np.linalg.det(z)) <= SINGULAR * float(np.prod(np.abs(np.diag(z)))):
            text = "has a matrix without inverse, so that its voltages tell no currents"
            yield MATRICES[1], "no-impedance", text
