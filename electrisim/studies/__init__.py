"""The studies, by the name under which a request asks for them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from electrisim.settings import Settings
from electrisim.studies import (
    contingency,
    controller,
    crosscheck,
    harmonics,
    opf,
    powerflow,
    shortcircuit,
    timeseries,
)


class Study(NamedTuple):
    """A study: its settings and what runs it."""

    Settings: type[Settings]
    run: Callable[..., Any]


STUDIES: Mapping[str, Study] = MappingProxyType(
    {
        "powerflow": Study(powerflow.PowerFlow, powerflow.run),
        "opf": Study(opf.OptimalPowerFlow, opf.run),
        "shortcircuit": Study(shortcircuit.ShortCircuit, shortcircuit.run),
        "contingency": Study(contingency.Contingency, contingency.run),
        "controller": Study(controller.Controller, controller.run),
        "harmonics": Study(harmonics.Harmonics, harmonics.run),
        "timeseries": Study(timeseries.TimeSeries, timeseries.run),
        "crosscheck": Study(crosscheck.CrossCheck, crosscheck.run),
    }
)
