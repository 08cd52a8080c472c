"""Shapes for loads and generation that have no profile of their own.

Every shape is a factor between 0 and 1 on what the element is set to, a smooth function of the time
and nothing else: the same request has the same answer. Without a start, time begins on a Monday in
spring at 0:00.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping
from types import MappingProxyType

import numpy as np

from electrisim.network import Array

#: When time begins where nobody says: Monday, 24 March, days and nights of about equal length.
START = dt.datetime(2025, 3, 24)

#: A household's working day by the hour: a rise in the morning, the peak in the evening.
_DAILY = (
    0.40, 0.36, 0.34, 0.33, 0.34, 0.38, 0.50, 0.64, 0.66, 0.64, 0.63, 0.65,
    0.68, 0.66, 0.62, 0.62, 0.68, 0.82, 0.95, 1.00, 0.94, 0.82, 0.66, 0.50,
)  # fmt: skip
#: One working day of a factory with a day shift and a smaller late one.
_INDUSTRIAL = (
    0.30, 0.30, 0.30, 0.30, 0.32, 0.45, 0.75, 0.95, 1.00, 1.00, 1.00, 0.98,
    0.90, 0.97, 1.00, 0.98, 0.90, 0.75, 0.65, 0.60, 0.55, 0.45, 0.36, 0.32,
)  # fmt: skip
#: What a factory draws on Saturdays and Sundays.
_WEEKEND = 0.30


class Clock:
    """The time of every step, in local hours.

    hours    since the beginning of the first day, shape (n,)
    weekday  0 Monday … 6 Sunday, shape (n,)
    day      of the year, 1 … 366, shape (n,)
    """

    def __init__(self, start: dt.datetime | None, step_minutes: float, count: int) -> None:
        first = start or START
        minutes = first.hour * 60 + first.minute + first.second / 60
        self.hours = (minutes + step_minutes * np.arange(count)) / 60
        days = np.floor(self.hours / 24).astype(int)
        self.weekday = (first.weekday() + days) % 7
        self.day = (first.timetuple().tm_yday - 1 + days) % 365 + 1

    @property
    def hour(self) -> Array:
        """Hour of the day, 0 … 24."""
        return np.asarray(self.hours % 24)


def _by_hour(points: tuple[float, ...], clock: Clock) -> Array:
    return np.asarray(np.interp(clock.hour, np.arange(25), [*points, points[0]]))


def _waves(hours: Array, periods: tuple[float, ...]) -> Array:
    """Waves of equal weight whose periods share no multiple, between -1 and 1."""
    waves = [np.sin(2 * np.pi * hours / period + k) for k, period in enumerate(periods)]
    return np.asarray(np.mean(waves, axis=0))


def _constant(clock: Clock) -> Array:
    return np.ones(len(clock.hours))


def _daily(clock: Clock) -> Array:
    return _by_hour(_DAILY, clock)


def _industrial(clock: Clock) -> Array:
    return np.where(clock.weekday < 5, _by_hour(_INDUSTRIAL, clock), _WEEKEND)


def _variable(clock: Clock) -> Array:
    return 0.75 + 0.25 * _waves(clock.hours, (24.0, 10.7, 5.3, 2.9))


def _solar(clock: Clock) -> Array:
    """A cloudless day at 50° N: the sine of the sun's elevation beside its largest of the year."""
    declination = np.deg2rad(-23.44) * np.cos(2 * np.pi * (clock.day + 10) / 365)
    latitude, angle = np.deg2rad(50), np.deg2rad(15 * (clock.hour - 12))
    sine = np.sin(latitude) * np.sin(declination)
    sine = sine + np.cos(latitude) * np.cos(declination) * np.cos(angle)
    return np.asarray(np.maximum(sine, 0) / np.cos(latitude - np.deg2rad(23.44)))


def _wind(clock: Clock) -> Array:
    return np.clip(0.45 + 0.9 * _waves(clock.hours, (91.0, 37.0, 15.3, 6.1)), 0.02, 1)


Shape = Callable[[Clock], Array]

LOAD: Mapping[str, Shape] = MappingProxyType(
    {"constant": _constant, "daily": _daily, "industrial": _industrial, "variable": _variable}
)
GENERATION: Mapping[str, Shape] = MappingProxyType(
    {"constant": _constant, "solar": _solar, "wind": _wind, "variable": _variable}
)
