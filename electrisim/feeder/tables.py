"""The public test feeders as tables: read once, checked once, never changed.

Each folder beside this module is a feeder; its README tells where the figures are from. Buses keep
the names of the data sheets, in lower case. Nodes 1, 2 and 3 are phases A, B and C.
"""

from __future__ import annotations

import csv
import functools
import hashlib
import math
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple, TypeVar

import msgspec
import numpy as np
from numpy.typing import NDArray

Indices = NDArray[np.intp]
Reals = NDArray[np.float64]
Complex = NDArray[np.complex128]

FOLDER = Path(__file__).parent

#: The feeders that a session may be of; the first is the default.
FEEDERS = ("ieee123", "ieee13", "ieee34", "ieee37")

#: The version of the neighbourhood table that is right, and the only one that every feeder has.
RECOMMENDED = "recommended"


def numbers(nodes: str) -> tuple[int, ...]:
    """Nodes as numbers: "3.1" is (3, 1)."""
    return tuple(int(node) for node in nodes.split("."))


class About(msgspec.Struct, frozen=True):
    """A feeder in one row.

    wiring          "four-wire": loads between phase and neutral; "three-wire": no neutral
    load_v_*_pu     between them loads keep their model; beyond them they are impedances
    substation_kva  rating of the substation's transformer, which is not in the model
    """

    title: str
    wiring: str
    load_v_min_pu: float
    load_v_max_pu: float
    substation_kva: float


class Source(msgspec.Struct, frozen=True):
    """The voltage source that stands for the grid."""

    bus: str
    kv_ll: float
    v_pu: float
    angle_deg: float
    frequency_hz: float
    r1_ohm: float
    x1_ohm: float
    r0_ohm: float
    x0_ohm: float


class Bus(msgspec.Struct, frozen=True):
    """A bus; one that is not energised lies behind an open switch. x, y: its place in a drawing."""

    bus: str
    ieee_name: str
    nodes: str
    base_kv_ll: float
    energised: bool
    x: float | None = None
    y: float | None = None


class Line(msgspec.Struct, frozen=True):
    """A line segment of one configuration."""

    line: str
    from_bus: str
    to_bus: str
    nodes: str
    config: str
    length_ft: float
    epri_length_ft: float | None = None


class Configuration(msgspec.Struct, frozen=True):
    """What a line is made of."""

    config: str
    construction: str
    phase_conductor: str


class Impedance(msgspec.Struct, frozen=True):
    """One entry of a configuration's matrices, of which the lower triangle is in the table."""

    config: str
    row_phase: str
    col_phase: str
    r_ohm_per_mile: float
    x_ohm_per_mile: float
    c_nF_per_mile_60Hz: float  # noqa: N815 - the table's spelling


class Switch(msgspec.Struct, frozen=True):
    """A switch, ideal when closed."""

    switch: str
    from_bus: str
    to_bus: str
    nodes: str
    closed: bool


class Transformer(msgspec.Struct, frozen=True):
    """A transformer of two windings, each "wye" (grounded) or "delta"."""

    name: str
    from_bus: str
    to_bus: str
    nodes: str
    kva: float
    kv_from: float
    conn_from: str
    kv_to: float
    conn_to: str
    r_percent_total: float
    x_percent: float


class Regulator(msgspec.Struct, frozen=True):
    """A step-voltage regulator: 16 steps of 5/8 percent each way, with line-drop compensation."""

    regulator: str
    from_bus: str
    to_bus: str
    nodes: str
    conn: str
    kva: float
    kv: float
    x_percent: float
    vreg_volts: float
    bandwidth_volts: float
    pt_ratio: float
    ct_primary_amps: float
    r_volts: float
    x_volts: float
    delay_s: float
    published_tap: int


class Capacitor(msgspec.Struct, frozen=True):
    """A shunt capacitor, wye."""

    capacitor: str
    bus: str
    nodes: str
    kvar: float
    kv: float
    epri_kv: float | None = None


class Load(msgspec.Struct, frozen=True):
    """A load: at a bus, or along a line and then modelled in its middle.

    conn   "wye" or "delta"
    model  "PQ", "I" or "Z": constant power, current or impedance
    kv     rated voltage, line to line for delta and for three phases
    """

    load: str
    nodes: str
    conn: str
    model: str
    kv: float
    kw: float
    kvar: float
    bus: str | None = None
    line: str | None = None
    epri_kv: float | None = None


class Membership(msgspec.Struct, frozen=True):
    """A bus in a neighbourhood of one version of the table."""

    version: str
    neighbourhood: int
    bus: str


class Parts(NamedTuple):
    """All loads of a feeder, phase by phase: one entry per wye phase, per delta side.

    load             which of `Feeder.loads`
    nodes, returns   between which of `Feeder.nodes` it is, at its bus, or at both ends of its line
                     (then they differ); beyond the last node is the ground
    kw               rated power
    rated_by         the load's rated voltage is so many times this entry's
    exponent         of the voltage, by which the power goes
    """

    load: Indices
    nodes: Indices
    returns: Indices
    kw: Reals
    rated_by: Reals
    exponent: Reals


class Shares(NamedTuple):
    """What each node has of each load, a convention: equal parts of it, at both ends of a line.

    load   which of `Feeder.loads`
    node   which of `Feeder.nodes`
    kva    rated power there
    """

    load: Indices
    node: Indices
    kva: Complex


class Feeder(msgspec.Struct, frozen=True, dict=True):
    """A feeder's tables, each by name and in the order of the file.

    neighbourhoods  version → number → names of buses
    digest          of all files, so that a journal can say what it is about
    """

    name: str
    about: About
    source: Source
    buses: Mapping[str, Bus]
    lines: Mapping[str, Line]
    configurations: Mapping[str, Configuration]
    impedances: Mapping[str, tuple[Impedance, ...]]
    switches: Mapping[str, Switch]
    transformers: Mapping[str, Transformer]
    regulators: Mapping[str, Regulator]
    capacitors: Mapping[str, Capacitor]
    loads: Mapping[str, Load]
    neighbourhoods: Mapping[str, Mapping[int, tuple[str, ...]]]
    digest: str

    @functools.cached_property
    def nodes(self) -> tuple[tuple[str, int], ...]:
        """The energised nodes: buses in the order of their table, of each its nodes."""
        return tuple(
            (bus.bus, node)
            for bus in self.buses.values()
            if bus.energised
            for node in sorted(numbers(bus.nodes))
        )

    @functools.cached_property
    def feeding(self) -> Mapping[str, Transformer]:
        """Bus → the transformer through which it gets its power; others have none."""
        switches = [_ends(switch) for switch in self.switches.values() if switch.closed]
        joined = _neighbours([*map(_ends, self.lines.values()), *switches])
        return {
            bus: transformer
            for transformer in self.transformers.values()
            for bus in _reached(transformer.to_bus, joined)
        }

    @functools.cached_property
    def ungrounded(self) -> frozenset[str]:
        """Buses without a neutral: of a three-wire feeder all, else those behind a delta."""
        if self.about.wiring == "three-wire":
            return frozenset(self.buses)
        return frozenset(bus for bus, t in self.feeding.items() if t.conn_to == "delta")

    @functools.cached_property
    def ends_of_load(self) -> Mapping[str, tuple[str, ...]]:
        """Load → its bus, or both ends of the line that it lies along."""
        return {
            load.load: _ends(self.lines[load.line]) if load.line else (load.bus or "",)
            for load in self.loads.values()
        }

    @functools.cached_property
    def rows(self) -> Mapping[tuple[str, int], int]:
        """(bus, node) → its place in `nodes`."""
        return {node: row for row, node in enumerate(self.nodes)}

    @functools.cached_property
    def parts_of_loads(self) -> Parts:
        """The loads, phase by phase."""
        parts = [
            (number, *part)
            for number, load in enumerate(self.loads.values())
            for part in self._parts(load)
        ]
        return Parts(*map(np.array, zip(*parts, strict=True)))

    @functools.cached_property
    def shares_of_loads(self) -> Shares:
        """The loads, node by node."""
        shares = [
            (number, self.rows[bus, node], complex(load.kw, load.kvar) / (len(nodes) * len(ends)))
            for number, load in enumerate(self.loads.values())
            for nodes, ends in [(numbers(load.nodes), self.ends_of_load[load.load])]
            for bus in ends
            for node in nodes
        ]
        return Shares(*map(np.array, zip(*shares, strict=True)))

    def _parts(
        self, load: Load
    ) -> Iterator[tuple[tuple[int, int], tuple[int, int], float, float, float]]:
        nodes, ends = numbers(load.nodes), self.ends_of_load[load.load]
        one, other = ends[0], ends[-1]
        three = len(nodes) == 3
        sides = list(zip(nodes, (*nodes[1:], nodes[0]), strict=True))
        ground = len(self.nodes)
        for node, following in sides if load.conn == "wye" or three else sides[:1]:
            delta = load.conn == "delta"
            yield (
                (self.rows[one, node], self.rows[other, node]),
                (self.rows[one, following], self.rows[other, following])
                if delta
                else (ground, ground),
                load.kw / 3 if three else load.kw,
                math.sqrt(3) if three and not delta else 1.0,
                _EXPONENTS[load.model],
            )

    @functools.cached_property
    def tables_of_neighbourhoods(self) -> tuple[str, ...]:
        """The versions of the neighbourhood table that this feeder has."""
        return tuple(self.neighbourhoods)

    @functools.cached_property
    def has_epri_data(self) -> bool:
        """Whether the tables say where EPRI's file has other data than the IEEE's sheets."""
        return any(line.epri_length_ft is not None for line in self.lines.values())

    @functools.cached_property
    def conductors(self) -> Mapping[str, str]:
        """Line → its phase conductor."""
        return {
            line.line: self.configurations[line.config].phase_conductor
            for line in self.lines.values()
        }

    def loads_in(self, version: str, neighbourhood: int) -> list[str]:
        """The loads of a neighbourhood. No line crosses its border, so one end of it tells."""
        buses = frozenset(self.neighbourhoods[version][neighbourhood])
        return [load for load, ends in self.ends_of_load.items() if ends[0] in buses]

    def loads_at(self, bus: str) -> list[str]:
        """The loads at a bus; those along a line are at none."""
        return [load.load for load in self.loads.values() if load.bus == bus]


#: How the power of each model of load goes with the voltage.
_EXPONENTS = {"PQ": 0.0, "I": 1.0, "Z": 2.0}

Row = TypeVar("Row", bound=msgspec.Struct)


def read(name: str) -> Feeder:
    """A feeder by the name of its folder."""
    folder = FOLDER / name
    impedances: dict[str, tuple[Impedance, ...]] = {}
    for entry in _rows(folder, "line_impedances", Impedance):
        impedances[entry.config] = (*impedances.get(entry.config, ()), entry)
    (about,) = _rows(folder, "feeder", About)
    (source,) = _rows(folder, "source", Source)
    loads = [*_rows(folder, "loads", Load), *_rows(folder, "distributed_loads", Load)]
    buses = list(_rows(folder, "buses", Bus))
    lines = list(_rows(folder, "lines", Line))
    transformers = list(_rows(folder, "transformers", Transformer))
    memberships = list(_rows(folder, "neighbourhoods", Membership))
    return Feeder(
        name=name,
        about=about,
        source=source,
        buses=_named("bus", buses),
        lines=_named("line", lines),
        configurations=_named("config", _rows(folder, "line_configs", Configuration)),
        impedances=MappingProxyType(impedances),
        switches=_named("switch", _rows(folder, "switches", Switch)),
        transformers=_named("name", transformers),
        regulators=_named("regulator", _rows(folder, "regulators", Regulator)),
        capacitors=_named("capacitor", _rows(folder, "capacitors", Capacitor)),
        loads=_named("load", loads),
        neighbourhoods=MappingProxyType(
            _listed(memberships)
            if memberships
            else {RECOMMENDED: _zones(source.bus, buses, [*lines, *transformers])}
        ),
        digest=_digest(folder),
    )


def _rows(folder: Path, table: str, row: type[Row]) -> Iterator[Row]:
    """The rows of a table; none where the feeder has no such things."""
    path = folder / f"{table}.csv"
    if path.exists():
        with path.open(newline="") as file:
            for plain in csv.DictReader(file):
                given = {name: value for name, value in plain.items() if value != ""}
                yield msgspec.convert(given, row, strict=False)


def _named(key: str, rows: Iterator[Row] | list[Row]) -> Mapping[str, Row]:
    return MappingProxyType({getattr(row, key): row for row in rows})


def _listed(memberships: list[Membership]) -> dict[str, Mapping[int, tuple[str, ...]]]:
    listed: dict[str, dict[int, tuple[str, ...]]] = {}
    for entry in memberships:
        table = listed.setdefault(entry.version, {})
        table[entry.neighbourhood] = (*table.get(entry.neighbourhood, ()), entry.bus)
    return {version: MappingProxyType(table) for version, table in listed.items()}


def _zones(
    source: str, buses: list[Bus], branches: list[Line | Transformer]
) -> Mapping[int, tuple[str, ...]]:
    """Neighbourhoods by topology: what hangs together when switches and regulators are cut.

    The source's is the first; the others follow in the order of the table of buses.
    """
    joined = _neighbours(map(_ends, branches))
    zones: dict[int, tuple[str, ...]] = {}
    seen: set[str] = set()
    for start in [source, *(bus.bus for bus in buses)]:
        if start not in seen:
            reached = _reached(start, joined)
            seen |= reached
            zones[len(zones) + 1] = tuple(bus.bus for bus in buses if bus.bus in reached)
    return MappingProxyType(zones)


def _ends(branch: Line | Switch | Transformer) -> tuple[str, str]:
    return branch.from_bus, branch.to_bus


def _neighbours(branches: Iterable[tuple[str, str]]) -> dict[str, list[str]]:
    joined: dict[str, list[str]] = {}
    for one, other in branches:
        joined.setdefault(one, []).append(other)
        joined.setdefault(other, []).append(one)
    return joined


def _reached(start: str, joined: Mapping[str, list[str]]) -> set[str]:
    reached, waiting = {start}, [start]
    while waiting:
        for bus in joined.get(waiting.pop(), []):
            if bus not in reached:
                reached.add(bus)
                waiting.append(bus)
    return reached


def _digest(folder: Path) -> str:
    digest = hashlib.sha256()
    for path in sorted(folder.glob("*.csv")):
        digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()
