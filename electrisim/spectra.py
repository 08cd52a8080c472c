"""Harmonic spectra: what a nonlinear element adds to its fundamental, order by order.

A spectrum is a list of points (order, percent of the fundamental, degree). The angle is that of the
harmonic when the fundamental's is the spectrum's own at order 1, or 0 where it tells none. The
named ones are OpenDSS' own, and the two of the IEEE task force on harmonics modeling ("Modeling and
simulation of the propagation of harmonics in electric power networks", part II, 1996): a
thyristor-controlled reactor and an HVDC converter.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import NamedTuple

from electrisim import elements as e
from electrisim.elements import Element


class Point(NamedTuple):
    """One order of a spectrum."""

    order: float
    percent: float
    degree: float


Spectrum = tuple[Point, ...]

#: Most orders of one spectrum.
MOST_POINTS = 200


def _spectrum(orders: str, percents: str, degrees: str = "") -> Spectrum:
    columns = [list(map(float, text.split())) for text in (orders, percents, degrees)]
    columns[2] = columns[2] or [0.0] * len(columns[0])
    return tuple(map(Point, *columns))


_LINEAR = _spectrum("1", "100")
_IEEE = "1 5 7 11 13 17 19 23 25 29"

#: The spectra that have a name.
NAMED: Mapping[str, Spectrum] = MappingProxyType({
    "default": _spectrum("1 3 5 7 9 11 13", "100 33 20 14 11 9 7"),
    "defaultload": _spectrum(
        "1 3 5 7 9 11 13", "100 1.5 20 14 1 9 7", "0 180 180 180 180 180 180"
    ),
    "defaultgen": _spectrum("1 3 5 7 9 11 13", "100 5 3 1.5 1 0.7 0.5"),
    "defaultvsource": _LINEAR,
    "Linear": _LINEAR,
    "none": _LINEAR,
    "pwm6": _spectrum(
        "1 3 5 7 9 11 13 15 17 19 21 23 25",
        "100 4.4 76.5 62.7 2.9 24.8 12.7 0.5 7.1 8.4 0.9 4.4 3.3",
        "-103 -5 28 -180 -33 -59 79 36 -253 -124 3 -30 86",
    ),
    "dc6": _spectrum(
        "1 3 5 7 9 11 13 15 17 19",
        "100 1.2 33.6 1.6 0.4 8.7 1.2 0.3 4.5 1.3",
        "-75 28 156 29 -91 49 54 148 -57 -46",
    ),
    "TCR_PU": _spectrum(
        _IEEE,
        "100 7.0151 2.5049 1.3585 0.75 0.61573 0.31786 0.43146 0.12855 0.3999",
        "46.916 -124.4 -29.867 -23.745 71.502 77.119 173.43 178.02 -83.446 -80.445",
    ),
    "HVDC_PU": _spectrum(
        _IEEE,
        "100 19.408 13.089 7.5773 5.8591 3.792 3.2919 2.2634 2.4114 1.9274",
        "-49.555 -67.771 11.903 -7.1346 68.571 46.526 116.46 87.465 159.32 126.79",
    ),
})  # fmt: skip

#: What an element has that names no spectrum; OpenDSS' own.
USUAL: Mapping[type[Element], str] = MappingProxyType(
    {
        e.ExternalGrid: "defaultvsource",
        e.Generator: "defaultgen",
        e.StaticGenerator: "defaultgen",
        e.AsymmetricStaticGenerator: "defaultgen",
        e.Load: "defaultload",
        e.AsymmetricLoad: "defaultload",
        e.Storage: "default",
        e.PVSystem: "default",
    }
)


class NotASpectrumError(ValueError):
    """Why points are no spectrum, to be told after the element's name."""


def checked(points: Iterable[Iterable[float]]) -> Spectrum:
    """Points as a spectrum; raises NotASpectrumError."""
    rows = [list(map(float, point)) for point in points]
    if any(len(row) != 3 for row in rows):
        raise NotASpectrumError("must consist of points [order, percent, degree]")
    spectrum = tuple(Point(*row) for row in rows)
    if not spectrum or len(spectrum) > MOST_POINTS:
        raise NotASpectrumError(f"must have 1 to {MOST_POINTS} points")
    if not all(math.isfinite(number) for point in spectrum for number in point):
        raise NotASpectrumError("must consist of finite numbers")
    if any(point.order < 1 or point.order != int(point.order) for point in spectrum):
        raise NotASpectrumError("must have whole numbers from 1 for orders")
    if any(point.percent < 0 for point in spectrum):
        raise NotASpectrumError("must have percents of at least 0")
    orders = [point.order for point in spectrum]
    if len(set(orders)) < len(orders):
        raise NotASpectrumError("has an order twice")
    return spectrum


def from_csv(text: str) -> Spectrum:
    """A spectrum from lines “order,percent,degree”; the degree may be absent.

    Raises NotASpectrumError.
    """
    points = []
    for line in filter(None, map(str.strip, text.splitlines())):
        cells = [cell.strip() for cell in line.rstrip(", ").split(",")]
        try:
            numbers = list(map(float, cells))
        except ValueError:
            numbers = []
        if len(numbers) not in (2, 3):
            raise NotASpectrumError("must consist of lines “order,percent,degree”")
        points.append([*numbers, 0.0][:3])
    return checked(points)


def relative(spectrum: Spectrum) -> Spectrum:
    """The spectrum with the fundamental at 100 % and 0°, as it multiplies a fundamental.

    A shift in time that turns the fundamental by its angle turns order h by h times that. Where
    the fundamental is not told, percents and angles refer to it already.
    """
    first = next((point for point in spectrum if point.order == 1), Point(1.0, 100.0, 0.0))
    return (
        Point(1.0, 100.0, 0.0),
        *(
            Point(p.order, p.percent, p.degree - p.order * first.degree)
            for p in spectrum
            if p.order != 1 and p.percent
        ),
    )
