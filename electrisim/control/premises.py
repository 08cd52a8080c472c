"""What must hold between the controllers of a network before any of them acts."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from electrisim import elements as e
from electrisim.control.plan import MACHINES
from electrisim.elements import Element
from electrisim.network import Network, Rows, fault
from electrisim.problems import Problem, ProblemError, shorten
from electrisim.topology import Topology


def check(network: Network, topology: Topology) -> None:
    """Raise ProblemError where stations and fleets contradict themselves or what is beside."""
    problems = [
        *_within_stations(network),
        *_beside_stations(network, topology),
        *_within_fleets(network),
    ]
    if problems:
        raise ProblemError(problems)


def _machines(network: Network) -> Iterator[tuple[Rows, int, Any]]:
    for kind in MACHINES:
        rows = network.rows(kind)
        for row, element in enumerate(rows.elements):
            yield rows, row, element


def _within_stations(network: Network) -> Iterator[Problem]:
    """One station, one bus and one voltage."""
    first: dict[str, tuple[int, float, str]] = {}
    for rows, row, element in _machines(network):
        if element.station_control is None:
            continue
        bus = int(rows.at["reference"][row])
        here = bus, element.vm_set_pu, rows.label(row)
        there = first.setdefault(element.station_control, here)
        station = shorten(element.station_control)
        if here[0] != there[0]:
            text = f"names another reference of station “{station}” than {there[2]}"
            yield fault(rows, row, "reference", "contradiction", text)
        if here[1] != there[1]:
            text = (
                f"says {here[1]:g} pu for station “{station}”, of which {there[2]} says "
                f"{there[1]:g} pu"
            )
            yield fault(rows, row, "vm_set_pu", "contradiction", text)


def _within_fleets(network: Network) -> Iterator[Problem]:
    """One line, one target."""
    rows = network.rows(e.Storage)
    first: dict[int, tuple[float, str]] = {}
    for row, control in enumerate(rows.values("p_control")):
        if control is None:
            continue
        target = rows.elements[row].p_target_mw
        there, other = first.setdefault(int(rows.at["reference"][row]), (target, rows.label(row)))
        if target != there:
            text = f"says {target:g} MW for a line of which {other} says {there:g} MW"
            yield fault(rows, row, "p_target_mw", "contradiction", text)


def _beside_stations(network: Network, topology: Topology) -> Iterator[Problem]:
    """What holds a voltage where a station has a machine belongs to the station."""
    nodes = {
        int(topology.node[rows.at["bus"][row]]): element.station_control
        for rows, row, element in _machines(network)
        if element.station_control is not None and topology.alive(rows.kind)[row]
    }
    if not nodes:
        return
    for kind in _HOLDING:
        rows = network.rows(kind)
        for port in kind.ports if len(rows) else ():
            for row in np.flatnonzero(topology.alive(kind)).tolist():
                node = int(topology.node[rows.at[port.bus][row]])
                own = getattr(rows.elements[row], "station_control", None)
                if node in nodes and own != nodes[node]:
                    text = (
                        f"holds the voltage of a bus at which station “{shorten(nodes[node])}” has "
                        "a machine, and does not belong to it"
                    )
                    field = "station_control" if kind in MACHINES else port.bus
                    yield fault(rows, row, field, "contradiction", text)


_HOLDING: tuple[type[Element], ...] = (*MACHINES, e.DCLine, e.SVC, e.SSC)
