"""What a session has made of its feeder: the result of folding its log. Values, never edited."""

from __future__ import annotations

import functools
import hashlib
import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Literal

import msgspec

from electrisim.feeder.model import Case, Options, Unit, connect
from electrisim.feeder.refusals import nearest_names, refused
from electrisim.feeder.tables import Bus, Feeder, Transformer
from electrisim.problems import shorten

Mode = Literal["charging", "discharging", "idle"]


class Device(msgspec.Struct, frozen=True):
    """A load with a name.

    kw    before programmes curtail it
    cuts  programme → the factor that it has put on this device
    """

    bus: str
    name: str
    phases: int
    kw: float
    cuts: Mapping[str, float] = MappingProxyType({})

    @property
    def present_kw(self) -> float:
        return self.kw * math.prod(self.cuts.values())


class Storage(msgspec.Struct, frozen=True):
    """A storage without losses. It neither charges when full nor discharges when empty."""

    bus: str
    name: str
    phases: int
    capacity_kwh: float
    charge_kw: float
    discharge_kw: float
    mode: Mode
    energy_kwh: float

    @property
    def injected_kw(self) -> float:
        if self.mode == "charging" and self.energy_kwh < self.capacity_kwh:
            return -self.charge_kw
        if self.mode == "discharging" and self.energy_kwh > 0:
            return self.discharge_kw
        return 0.0

    def mean_kw(self, hours: float) -> float:
        """Injected over some time in its mode; less than now where it fills or empties."""
        return (self.energy_kwh - self.after(hours).energy_kwh) / hours

    def after(self, hours: float) -> Storage:
        """The same storage after some time in its mode."""
        energy = min(max(self.energy_kwh - self.injected_kw * hours, 0.0), self.capacity_kwh)
        return msgspec.structs.replace(self, energy_kwh=energy)


class Programme(msgspec.Struct, frozen=True):
    """A demand-flexibility programme, and the buses that have subscribed to it."""

    name: str
    description: str
    min_power_kw: float
    target_pf: float
    subscribers: tuple[str, ...] = ()


class State(msgspec.Struct, frozen=True):
    """A feeder as modified.

    factors     load → product of all that it was multiplied with, where that is not 1
    generators  (bus, phases) → kW
    minutes     simulated so far
    """

    factors: Mapping[str, float] = MappingProxyType({})
    generators: Mapping[tuple[str, int], float] = MappingProxyType({})
    devices: Mapping[tuple[str, str], Device] = MappingProxyType({})
    storages: Mapping[tuple[str, str], Storage] = MappingProxyType({})
    programmes: Mapping[str, Programme] = MappingProxyType({})
    minutes: float = 0.0

    def changed(self, **parts: Any) -> State:
        return msgspec.structs.replace(self, **parts)

    def sorted_generators(self) -> list[tuple[str, int, float]]:
        return [(bus, phases, kw) for (bus, phases), kw in sorted(self.generators.items())]

    def sorted_devices(self) -> list[Device]:
        return [device for _, device in sorted(self.devices.items())]

    def sorted_storages(self) -> list[Storage]:
        return [storage for _, storage in sorted(self.storages.items())]

    def digest(self) -> str:
        """The same for two states that are solved alike, whatever led to them."""
        plain = [
            sorted(self.factors.items()),
            self.sorted_generators(),
            [[d.bus, d.name, d.phases, d.present_kw] for d in self.sorted_devices()],
            [[s.bus, s.name, s.phases, s.injected_kw] for s in self.sorted_storages()],
        ]
        return hashlib.sha256(msgspec.json.encode(plain)).hexdigest()


def case(feeder: Feeder, state: State) -> Case:
    """What the engine is to solve: generators, then devices, then storages, each sorted."""
    at = functools.partial(_at, feeder)
    return Case(
        state.factors,
        (
            *(at(bus, phases, kw) for bus, phases, kw in state.sorted_generators()),
            *(at(d.bus, d.phases, -d.present_kw) for d in state.sorted_devices()),
            *(at(s.bus, s.phases, s.injected_kw) for s in state.sorted_storages()),
        ),
    )


def _at(feeder: Feeder, bus: str, phases: int, kw: float) -> Unit:
    return connect(feeder, feeder.buses[bus], phases, kw)


class Place(msgspec.Struct, frozen=True):
    """Where a modification happens: a feeder, with the options of its session."""

    feeder: Feeder
    options: Options

    def bus(self, name: str) -> Bus:
        """A bus by its name in any case; raises ProblemError `unknown-bus`."""
        found = self.feeder.buses.get(name.strip().lower())
        if found is None:
            near = nearest_names(name.strip().lower(), self.feeder.buses)
            message = f"The feeder has no bus “{shorten(name)}”.{near}"
            raise refused("unknown-bus", message, field="bus_name", element=shorten(name))
        return found

    def connection(self, name: str, phases: int) -> Bus:
        """A bus where so many phases can be connected to; raises ProblemError if not."""
        bus = self.bus(name)
        if not bus.energised:
            message = f"Bus {bus.bus} lies behind an open switch: it has no voltage."
            raise refused("dead-bus", message, field="bus_name", element=bus.bus)
        letters = ", ".join("ABC"[int(node) - 1] for node in bus.nodes.split("."))
        if phases > len(bus.nodes.split(".")):
            message = f"Bus {bus.bus} has no three phases, only {letters}."
            raise refused("missing-phases", message, field="phases", element=bus.bus)
        return bus

    def within_ratings(self, state: State, bus: str, field: str) -> State:
        """A state with something new at a bus; raises ProblemError `overrated`."""
        overrated = self.overrated(state, bus)
        if overrated is not None:
            feeding, kw = overrated
            message = (
                f"What was added behind the transformer {feeding.name}, which feeds bus {bus}, "
                f"would have {kw:g} kW; its rating is {feeding.kva:g} kVA."
            )
            raise refused("overrated", message, field=field, element=bus)
        return state

    def overrated(self, state: State, bus: str) -> tuple[Transformer, float] | None:
        """The transformer that feeds a bus and the power of all that was added behind it [kW].

        None where that is within its rating. What injects and what consumes counts each alone,
        since one of them may be switched off; storages count on both sides.
        """
        feeding = self.feeder.feeding.get(bus)
        if feeding is None:
            return None
        behind = {other for other, by in self.feeder.feeding.items() if by is feeding}
        storages = [storage for storage in state.storages.values() if storage.bus in behind]
        injected_kw = sum(kw for (at, _), kw in state.generators.items() if at in behind)
        injected_kw += sum(storage.discharge_kw for storage in storages)
        consumed_kw = sum(device.kw for device in state.devices.values() if device.bus in behind)
        consumed_kw += sum(storage.charge_kw for storage in storages)
        most_kw = max(injected_kw, consumed_kw)
        return (feeding, most_kw) if most_kw > feeding.kva else None

    def neighbourhood(self, number: int) -> tuple[str, ...]:
        """The buses of a neighbourhood; raises ProblemError `unknown-neighbourhood`."""
        table = self.feeder.neighbourhoods[self.options.neighbourhood_table]
        if number not in table:
            numbers = f"{min(table)} to {max(table)}"
            message = f"There is no neighbourhood {number}; the feeder has {numbers}."
            raise refused("unknown-neighbourhood", message, field="neighbourhood")
        return table[number]
