"""Two solutions of one network, column by column: where they are farthest apart.

Differences are shares of a tolerance in per unit: of voltages as they are, of angles in radian, of
powers, currents and loadings by the largest of their kind.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from electrisim.elements import Element
from electrisim.network import Array
from electrisim.results import Tables

#: Differences within this are the solvers' own rounding [pu].
ROUNDING_PU = 1e-6


class Gap(NamedTuple):
    """The largest difference of a column.

    share  of the tolerance; infinite where only one engine has a number
    at     row of the kind, and step of a series
    """

    share: float
    difference: float
    values: tuple[float, float]
    row: int


Gaps = dict[tuple[type[Element], str], Gap]


def compare(one: Tables, other: Tables, tolerance_pu: float) -> Gaps:
    """The largest difference of every column that both engines tell."""
    found: Gaps = {}
    for kind, columns in one.items():
        rivals = other.get(kind, {})
        for column, shares in shares_of(columns, rivals, tolerance_pu).items():
            first, second = columns[column], rivals[column]
            at = int(shares.argmax())
            values = float(first.flat[at]), float(second.flat[at])
            difference = float(difference_of(column, first, second).flat[at])
            row = at % first.shape[-1]
            found[kind, column] = Gap(float(shares.flat[at]), difference, values, row)
    return found


def shares_of(
    one: Mapping[str, Array], other: Mapping[str, Array], tolerance_pu: float
) -> dict[str, Array]:
    """Every difference as a share of the tolerance, of the columns that both tell.

    Infinite where only one has a number.
    """
    scales = _scales(one)
    found = {}
    for column, first in one.items():
        second = other.get(column)
        if second is None or not first.size or is_untold(first) != is_untold(second):
            continue
        difference = difference_of(column, first, second)
        shares = np.abs(difference) / (tolerance_pu * scales[_family(column)])
        shares = np.where(np.isnan(first) & np.isnan(second), 0.0, shares)
        found[column] = np.where(np.isnan(shares), np.inf, shares)
    return found


def is_untold(values: Array) -> bool:
    return bool(np.isnan(values).all())


def difference_of(column: str, first: Array, second: Array) -> Array:
    """Second less first; of angles, the shorter way round."""
    if column.endswith("degree"):
        return np.asarray((second - first + 180) % 360 - 180)
    return np.asarray(second - first)


def _family(column: str) -> str:
    """Columns whose largest value is the scale of all of them: powers, currents, …"""
    return {"mw": "mva", "mvar": "mva"}.get(_unit(column), _unit(column))


def _unit(column: str) -> str:
    return column.removesuffix("_p").removesuffix("_m").rsplit("_", 1)[-1]


#: The scale of a family in its unit: fixed, or at least this where the largest value is.
_FIXED = {"pu": 1.0, "degree": math.degrees(1)}
_LEAST = {"mva": 0.1, "ka": 0.1, "percent": 100.0}


def _scales(columns: Mapping[str, Array]) -> dict[str, float]:
    scales: dict[str, float] = {}
    for column, values in columns.items():
        family = _family(column)
        largest = float(np.nanmax(np.abs(values))) if np.isfinite(values).any() else 0.0
        least = _LEAST.get(family, ROUNDING_PU)
        scales[family] = _FIXED.get(family) or max(scales.get(family, least), largest)
    return scales


def worst(gaps: Gaps) -> float:
    return max((gap.share for gap in gaps.values()), default=0.0)
