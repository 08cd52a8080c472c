"""The power of an inverter under control: by its voltage, its active power, or as it is given.

Powers are counted as delivered, storage's too. The voltage may take active power first (pv_curve);
the reactive power follows from its q_control, within min_q_mvar and max_q_mvar. Where it comes from
the voltage, both are held within the rating by giving up active power, as OpenDSS' PVSystem does.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from electrisim import elements as e
from electrisim.elements import Element
from electrisim.network import Array, Rows
from electrisim.pvsystem import power_mva

#: How wide the jump of a power factor from 1 to -1 is, where it must have a width.
NARROW = 1e-9


class Droops:
    """The inverters of a kind that are under control.

    at       their rows, shape (n,)
    given    P + jQ that each delivers where no controller acts, shape (n,) [MVA]
    rating_mva  shape (n,), NaN where absent
    """

    def __init__(self, rows: Rows, at: Array) -> None:
        self.rows = rows
        self.at = at
        self._elements = [rows.elements[row] for row in at.tolist()]
        self.given = _available_mva(rows, at)
        self.rating_mva, self._array = (np.array(values) for values in self._ratings())

    def _ratings(self) -> tuple[list[float], list[float]]:
        """What reactive power and what pv_curve are counted in [MVA]; NaN where absent."""
        if self.rows.kind is e.PVSystem:
            array = [each.pmpp_kw / 1e3 for each in self._elements]
            rating = [(each.kva or each.pmpp_kw) / 1e3 for each in self._elements]
            return rating, array
        rating = [np.nan if each.sn_mva is None else each.sn_mva for each in self._elements]
        return rating, rating

    def law(self, vm_pu: Array) -> Array:
        """P + jQ that each delivers at these voltages, shape (n,) [MVA]."""
        p = np.array(
            [
                self._active(each, s.real, array, vm)
                for each, s, array, vm in zip(
                    self._elements, self.given, self._array, vm_pu, strict=True
                )
            ]
        )
        q = np.array(
            [
                self._reactive(*each)
                for each in zip(self._elements, self.given, p, self.rating_mva, vm_pu, strict=True)
            ]
        )
        rating = np.where(self._is_bounded, self.rating_mva, np.inf)
        q = np.clip(q, -rating, rating)
        left = np.sqrt(np.where(self._is_bounded, self.rating_mva**2 - q**2, np.inf))
        return np.asarray(np.clip(p, -left, left) + 1j * q)

    @functools.cached_property
    def tolerance_mva(self) -> Array:
        """How near each comes to its law: 1e-6 of its rating, but not of less than 0.1 MVA."""
        size = np.fmax(np.abs(self.given), self.rating_mva)
        return np.asarray(1e-6 * np.fmax(size, 0.1))

    @functools.cached_property
    def _is_bounded(self) -> Array:
        """Whose rating holds whatever is asked: a photovoltaic system's, and by the voltage."""
        of_pv = self.rows.kind is e.PVSystem
        return np.array([of_pv or each.q_control == "qv" for each in self._elements])

    @property
    def follows(self) -> Array:
        """Whose power depends on the voltage, shape (n,)."""
        return np.array(
            [each.q_control == "qv" or each.pv_curve is not None for each in self._elements]
        )

    @staticmethod
    def _active(element: Any, p: float, array: float, vm: float) -> float:
        """What a storage takes is not limited by a voltage that is too high."""
        if element.pv_curve is None or p <= 0:
            return p
        return min(p, array * along(element.pv_curve, vm))

    @staticmethod
    def _reactive(element: Any, given: complex, p: float, rating: float, vm: float) -> float:
        if element.q_control == "qv":
            q = rating * along(element.qv_curve, vm)
        elif element.q_control == "cosphi":
            q = abs(p) * tangent(element.cosphi)
        elif element.q_control == "cosphi_p":
            q = abs(p) * tangent(factor_at(element.cosphi_p_curve, abs(p) / rating))
        else:
            return given.imag
        lower, upper = _limits(element)
        return min(max(q, lower), upper)

    def at_limit(self, power_mva: Array) -> list[bool]:
        """Whether each is at a limit of its reactive power or its rating."""
        found = []
        for element, s, rating, bounded in zip(
            self._elements, power_mva, self.rating_mva, self._is_bounded, strict=True
        ):
            lower, upper = _limits(element)
            outside = s.imag <= lower or s.imag >= upper
            full = bounded and abs(s) >= rating * (1 - 1e-9)
            asks = element.q_control not in (None, "constant_q")
            found.append(bool(full or (asks and outside)))
        return found

    def fields(self, power_mva: Array) -> dict[int, dict[str, float]]:
        """Row → the fields with which each delivers this power."""
        return {
            row: _fields(self.rows.kind, element, s)
            for row, element, s in zip(self.at.tolist(), self._elements, power_mva, strict=True)
        }


def _available_mva(rows: Rows, at: Array) -> Array:
    """P + jQ of what is given: a photovoltaic system's P is what its array has."""
    if rows.kind is not e.PVSystem:
        sign = -1 if rows.kind is e.Storage else 1
        power = rows.column("p_mw") + 1j * rows.column("q_mvar")
        return np.asarray(sign * rows.column("scaling") * power)[at]
    idle = rows.changed({row: {"kvar": 0.0} for row in at.tolist()})
    return np.asarray(power_mva(idle).real + 1j * power_mva(rows).imag)[at]


def _fields(kind: type[Element], element: Any, s: complex) -> dict[str, float]:
    if kind is e.PVSystem:
        most = 100 * s.real * 1e3 / element.pmpp_kw if element.pmpp_kw else 0.0
        return {"kvar": 1e3 * s.imag, "pmpp_percent": most}
    sign = (-1 if kind is e.Storage else 1) * element.scaling
    return {"p_mw": s.real / sign, "q_mvar": s.imag / sign}


def _limits(element: Any) -> tuple[float, float]:
    """Limits of the reactive power delivered [Mvar]."""
    if isinstance(element, e.PVSystem):
        return -np.inf, np.inf
    lower = -np.inf if element.min_q_mvar is None else element.min_q_mvar
    upper = np.inf if element.max_q_mvar is None else element.max_q_mvar
    if isinstance(element, e.Storage):
        lower, upper = -upper, -lower
    return element.scaling * lower, element.scaling * upper


def along(points: list[tuple[float, float]], x: float) -> float:
    """A curve at x: linear between its points, level beyond its ends."""
    xs, ys = zip(*points, strict=True)
    return float(np.interp(x, xs, ys))


def tangent(cosphi: float) -> float:
    """Reactive power per active power; negative for a negative power factor."""
    return float(np.copysign(np.sqrt(1 / cosphi**2 - 1), cosphi))


def factor_at(points: list[tuple[float, float]], p_pu: float) -> float:
    """A power factor between others: 0.95 and -0.95 are apart by their distances from 1.

    So a curve passes from one sign to the other through 1 (as pandapower's CosphiPCurve does).
    """
    apart = [(x, np.copysign(1 - abs(y), y)) for x, y in points]
    distance = along(apart, p_pu)
    return float(np.copysign(1 - abs(distance), distance))


def steep_factors(points: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """A curve of power factors for who draws straight lines between them: through 1 it jumps."""
    found = points[:1]
    for (x1, y1), (x2, y2) in zip(points, points[1:], strict=False):
        if y1 * y2 < 0:
            one, other = 1 - abs(y1), 1 - abs(y2)
            at = x1 + (x2 - x1) * (one / (one + other) if one + other else 0.5)
            if at > x1:
                found.append((at, float(np.copysign(1, y1))))
            if at + NARROW < x2:
                found.append((at + NARROW, float(np.copysign(1, y2))))
        found.append((x2, y2))
    return found
