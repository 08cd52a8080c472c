"""Lines, from a line code or their own values, with the units of their lengths."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from electrisim.dss.script import Thing
from electrisim.dss.values import KM
from electrisim.dss.wiring import UnrepresentedError, line_phases

Matrix = NDArray[Any]
_SEQUENCE = ("r1", "x1", "r0", "x0", "c1", "c0", "b1", "b0")
_MATRICES = ("rmatrix", "xmatrix", "cmatrix")

#: What OpenDSS takes for a line that says nothing [Ω, nF per unit of length].
_DEFAULT = {"r1": 0.058, "x1": 0.1206, "r0": 0.1784, "x0": 0.4047, "c1": 3.4, "c0": 1.6}
_SWITCH = {"r1": 1.0, "x1": 1.0, "r0": 1.0, "x0": 1.0, "c1": 1.1, "c0": 1.0}
_DEFAULT_AMPS = 400.0
#: The fields of a line that is not transposed.
MATRICES = ("r_matrix_ohm_per_km", "x_matrix_ohm_per_km", "c_matrix_nf_per_km")
#: Entries nearer than this are those of a transposed line [1].
_SAME = 1e-9


class Wires(NamedTuple):
    """Constants per unit of length.

    sequence  r1, x1, r0, x0 [Ω], c1, c0 [nF]; None where matrices are given
    """

    sequence: Mapping[str, float] | None
    r: Matrix | None
    x: Matrix | None
    c: Matrix | None
    conductors: int
    units: str
    frequency_hz: float
    amps: float

    def at(self, frequency_hz: float) -> tuple[Matrix, Matrix, Matrix]:
        """Resistance, reactance [Ω] and capacitance [nF] by conductor at a frequency."""
        shift = frequency_hz / self.frequency_hz
        if self.sequence is not None:
            s = self.sequence
            own = [(2 * s[f"{q}1"] + s[f"{q}0"]) / 3 for q in "rxc"]
            mutual = [(s[f"{q}0"] - s[f"{q}1"]) / 3 for q in "rxc"]
            if self.conductors == 1:
                own, mutual = [s["r1"], s["x1"], s["c1"]], [0.0, 0.0, 0.0]
            eye, ones = np.eye(self.conductors), np.ones((self.conductors, self.conductors))
            r, x, c = (m * ones + (o - m) * eye for o, m in zip(own, mutual, strict=True))
            return r, x * shift, c
        assert self.r is not None and self.x is not None
        c = np.zeros_like(self.r) if self.c is None else self.c
        return self.r, self.x * shift, c


def _wires(values: Mapping[Any, Any], start: Wires) -> Wires:
    """Constants from properties in the order in which they were set."""
    sequence = dict(start.sequence) if start.sequence is not None else None
    matrices = {"rmatrix": start.r, "xmatrix": start.x, "cmatrix": start.c}
    count = int(values.get("nphases", values.get("phases", start.conductors)))
    frequency = float(values.get("basefreq", start.frequency_hz))
    if frequency <= 0 or count < 1:
        raise UnrepresentedError("needs at least one phase and a basefreq of more than 0")
    for name, value in values.items():
        if name == "switch" and value:
            sequence, matrices = dict(_SWITCH), dict.fromkeys(_MATRICES)
        elif name in _SEQUENCE:
            if sequence is None:
                raise UnrepresentedError(f"has matrices and then {name}: give one or the other")
            if name[0] == "b":
                sequence[f"c{name[1]}"] = 1e3 * value / (2 * math.pi * frequency)
            else:
                sequence[name] = value
        elif name in _MATRICES:
            sequence = None
            matrices[name] = np.array(value)
    if sequence is None:
        matrices = _complete(matrices, count)
    return Wires(
        sequence, matrices["rmatrix"], matrices["xmatrix"], matrices["cmatrix"], count,
        values.get("units", "none"), frequency, float(values.get("normamps", start.amps)),
    )  # fmt: skip


def _complete(matrices: dict[str, Matrix | None], count: int) -> dict[str, Matrix | None]:
    for name, matrix in matrices.items():
        if matrix is None and name != "cmatrix":
            raise UnrepresentedError(f"has matrices and needs {name}")
        if matrix is not None and matrix.shape != (count, count):
            size = f"{len(matrix)} × {len(matrix)}"
            raise UnrepresentedError(f"has {count} phases and a {name} of {size}")
    return matrices


def line(thing: Thing, frequency_hz: float, base_hz: float) -> tuple[dict[str, Any], float]:
    """A line's parameters in the documented spelling, and its length in them [km].

    base_hz  the frequency that objects without basefreq refer to
    """
    wires = Wires(_DEFAULT, None, None, None, 3, "none", base_hz, _DEFAULT_AMPS)
    own = dict(thing.values)
    code = own.get("linecode")
    if code is not None:
        wires = _wires(code, wires)
        # What was set before its line code was overwritten by it.
        order = list(own)
        own = {name: own[name] for name in order[order.index("linecode") + 1 :]}
        mixed = [name for name in own if name in (*_SEQUENCE, *_MATRICES)]
        if mixed and not own.get("switch"):
            raise UnrepresentedError(f"has a line code and then {mixed[0]}: give one or the other")
    code_units = wires.units if code is not None else "none"
    wires = _wires(own, wires)
    length, units = _length(thing)
    km = length * KM.get(units, 1.0)
    both = "none" not in (units, code_units)
    per_unit = KM[units] / KM[code_units] if both else 1.0
    return _parameters(thing, wires, frequency_hz, per_unit * length / km), km


def _length(thing: Thing) -> tuple[float, str]:
    """Its length and the unit of that; a switch is short, unless said afterwards."""
    length, units = 1.0, "none"
    for name, value in thing.values.items():
        if name == "length":
            length = value
        elif name == "units":
            units = value
        elif name == "switch" and value:
            length, units = 0.001, "none"
    if length <= 0:
        raise UnrepresentedError("needs a length of more than 0")
    return length, units


def _parameters(thing: Thing, wires: Wires, frequency_hz: float, per_km: float) -> dict[str, Any]:
    """per_km  what turns a constant per unit of length into one per kilometre"""
    word = line_phases(thing.get("bus1"), thing.get("bus2"), wires.conductors)
    r, x, c = (matrix * per_km for matrix in wires.at(frequency_hz))
    found: dict[str, Any] = {"max_i_ka": wires.amps / 1e3} if wires.amps > 0 else {}
    if word == "abc":
        found |= _sequences(r, x, c)
        triangles = [_triangle(matrix) for matrix in (r, x, c)]
        if all(map(is_transposed, triangles)):
            return found
    else:
        found["phases"] = word
    return found | dict(zip(MATRICES, map(_triangle, (r, x, c)), strict=True))


def _triangle(matrix: Matrix) -> list[list[float]]:
    return [matrix[k, : k + 1].tolist() for k in range(len(matrix))]


def is_transposed(triangle: list[list[float]]) -> bool:
    """Whether all conductors are alike, to the last digits."""
    own = [row[-1] for row in triangle]
    mutual = [value for row in triangle for value in row[:-1]]
    scale = _SAME * max(map(abs, own))
    return all(max(values) - min(values) <= scale for values in (own, mutual) if values)


def _sequences(r: Matrix, x: Matrix, c: Matrix) -> dict[str, float]:
    """Of a line that is not transposed, the means."""
    found = {}
    for name, matrix in (("r", r), ("x", x), ("c", c)):
        own = float(np.diag(matrix).mean())
        mutual = float(matrix[~np.eye(3, dtype=bool)].mean())
        unit = "nf" if name == "c" else "ohm"
        found[f"{name}_{unit}_per_km"] = own - mutual
        found[f"{name}0_{unit}_per_km"] = own + 2 * mutual
    if min(found["r0_ohm_per_km"], found["c0_nf_per_km"]) < 0:
        # Of equivalents, which are balanced: the graph takes none below 0.
        found = {name: value for name, value in found.items() if "0_" not in name}
    return found
