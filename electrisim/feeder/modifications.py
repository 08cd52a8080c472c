"""What can be done to a feeder: one class per kind, its fields, and what becomes of the state.

`applied` gives the next state, or raises ProblemError where the state does not allow it; whether
the result is physical is judged when it has been solved.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Annotated, Any, ClassVar, Literal

import msgspec

from electrisim.feeder.refusals import invalid, nearest_names, refused
from electrisim.feeder.state import Device, Place, Programme, State, Storage
from electrisim.fields import quantity, read, says
from electrisim.problems import Problem, shorten

BusName = Annotated[str, says("Name of the bus, in any case.")]
Phases = Annotated[
    int, quantity("1", "1 or 3; one phase is the first that the bus has.", ge=1, le=3)
]
Power = Annotated[float, quantity("kW", "Real power.", ge=0)]
Factor = Annotated[float, quantity("1", "What the present power is multiplied with.", ge=0)]
DeviceName = Annotated[str, says("A name, unique at its bus.")]
ProgrammeName = Annotated[str, says("Name of the programme.")]
Number = Annotated[int, quantity("1", "Number of the neighbourhood.", ge=-(2**53), le=2**53)]
Share = Annotated[
    float, quantity("1", "The chance of each bus to take part; 1: all do.", ge=0, le=1)
]
Seed = Annotated[
    int, quantity("1", "Of the draw; the same seed draws the same buses.", ge=0, le=2**53)
]


class Modification(msgspec.Struct, frozen=True, kw_only=True):
    """One entry of a session's log."""

    kind: ClassVar[str]

    def applied(self, state: State, place: Place) -> State:
        """The state after it."""
        raise NotImplementedError


class AddGenerator(Modification, frozen=True, kw_only=True):
    """Add a generator of constant power at unity power factor. A bus has one of each phase count:
    the next one replaces its power.
    """

    kind = "add_generator"
    bus_name: BusName
    phases: Phases
    kw: Power

    def applied(self, state: State, place: Place) -> State:
        bus = place.connection(self.bus_name, self.phases).bus
        added = state.changed(generators={**state.generators, (bus, self.phases): self.kw})
        return place.within_ratings(added, bus, "kw")


class RemoveGenerator(Modification, frozen=True, kw_only=True):
    """Remove a generator."""

    kind = "remove_generator"
    bus_name: BusName
    phases: Phases

    def applied(self, state: State, place: Place) -> State:
        bus = place.bus(self.bus_name)
        key = (bus.bus, self.phases)
        if key not in state.generators:
            message = f"Bus {bus.bus} has no generator of {self.phases} phase(s)."
            raise refused("unknown-generator", message, field="phases", element=bus.bus)
        return state.changed(generators=_without(state.generators, key))


class ModifyLoadNeighbourhood(Modification, frozen=True, kw_only=True):
    """Multiply the present consumption (kW and kvar) of every load and device in a neighbourhood.
    Factors compound; after a 0 only `undo` or `reset` bring a load back.
    """

    kind = "modify_load_neighbourhood"
    neighbourhood: Number
    factor: Factor

    def applied(self, state: State, place: Place) -> State:
        buses = place.neighbourhood(self.neighbourhood)
        table = place.options.neighbourhood_table
        loads = place.feeder.loads_in(table, self.neighbourhood)
        return _scaled(state, loads, buses, self.factor)


class ModifyLoadNode(Modification, frozen=True, kw_only=True):
    """Multiply the present consumption of every load and device at one bus."""

    kind = "modify_load_node"
    bus_name: BusName
    factor: Factor

    def applied(self, state: State, place: Place) -> State:
        bus = place.bus(self.bus_name).bus
        loads = place.feeder.loads_at(bus)
        if not loads and not any(d.bus == bus for d in state.devices.values()):
            message = f"Bus {bus} has neither load nor device."
            raise refused("not-added", message, field="bus_name", element=bus)
        return _scaled(state, loads, (bus,), self.factor)


class AddDevice(Modification, frozen=True, kw_only=True):
    """Add a load with a name: constant power at unity power factor."""

    kind = "add_device"
    bus_name: BusName
    device_name: DeviceName
    kw: Power
    phases: Phases = 1

    def applied(self, state: State, place: Place) -> State:
        bus = place.connection(self.bus_name, self.phases).bus
        key = (bus, self.device_name)
        if key in state.devices:
            raise _taken("device", bus, self.device_name)
        device = Device(bus, self.device_name, self.phases, self.kw)
        added = state.changed(devices={**state.devices, key: device})
        return place.within_ratings(added, bus, "kw")


class DisconnectDevice(Modification, frozen=True, kw_only=True):
    """Remove a device."""

    kind = "disconnect_device"
    bus_name: BusName
    device_name: DeviceName

    def applied(self, state: State, place: Place) -> State:
        key = _known("device", state.devices, place, self.bus_name, self.device_name)
        return state.changed(devices=_without(state.devices, key))


class ModifyDevicesInNode(Modification, frozen=True, kw_only=True):
    """Multiply the power of those devices at a bus that are above a threshold."""

    kind = "modify_devices_in_node"
    bus_name: BusName
    power_threshold_kw: Annotated[float, quantity("kW", "Smaller devices stay.", ge=0)]
    reduction_factor: Factor

    def applied(self, state: State, place: Place) -> State:
        bus = place.bus(self.bus_name).bus
        devices = {
            key: _times(device, self.reduction_factor)
            for key, device in state.devices.items()
            if device.bus == bus and device.present_kw > self.power_threshold_kw
        }
        if not devices:
            message = f"Bus {bus} has no device above {self.power_threshold_kw:g} kW."
            raise refused("not-added", message, field="power_threshold_kw", element=bus)
        return state.changed(devices={**state.devices, **devices})


class AddStorageDevice(Modification, frozen=True, kw_only=True):
    """Add a storage; it begins to charge at once. Its energy changes with `simulate` only."""

    kind = "add_storage_device"
    bus_name: BusName
    device_name: DeviceName
    max_capacity_kwh: Annotated[float, quantity("kWh", "Energy when full.", gt=0)]
    charge_rate_kw: Annotated[float, quantity("kW", "Power while it charges.", ge=0)]
    discharge_rate_kw: Annotated[float, quantity("kW", "Power while it discharges.", ge=0)]
    phases: Phases = 1
    energy_kwh: Annotated[float, quantity("kWh", "Energy to begin with.", ge=0)] = 0.0

    def applied(self, state: State, place: Place) -> State:
        bus = place.connection(self.bus_name, self.phases).bus
        key = (bus, self.device_name)
        if key in state.storages:
            raise _taken("storage", bus, self.device_name)
        if self.energy_kwh > self.max_capacity_kwh:
            message = (
                f"energy_kwh, {self.energy_kwh:g}, is more than max_capacity_kwh, "
                f"{self.max_capacity_kwh:g}."
            )
            raise invalid([Problem(kind="out-of-bounds", message=message, field="energy_kwh")])
        storage = Storage(
            bus=bus,
            name=self.device_name,
            phases=self.phases,
            capacity_kwh=self.max_capacity_kwh,
            charge_kw=self.charge_rate_kw,
            discharge_kw=self.discharge_rate_kw,
            mode="charging",
            energy_kwh=self.energy_kwh,
        )
        added = state.changed(storages={**state.storages, key: storage})
        return place.within_ratings(added, bus, "charge_rate_kw")


class ToggleStorageDevice(Modification, frozen=True, kw_only=True):
    """Make a storage charge, discharge or rest, turn it round, or remove it (`disconnect`)."""

    kind = "toggle_storage_device"
    bus_name: BusName
    device_name: DeviceName
    action: Annotated[
        Literal["toggle", "charge", "discharge", "idle", "disconnect"],
        says("`toggle` discharges what charges and charges everything else."),
    ] = "toggle"

    def applied(self, state: State, place: Place) -> State:
        key = _known("storage", state.storages, place, self.bus_name, self.device_name)
        if self.action == "disconnect":
            return state.changed(storages=_without(state.storages, key))
        storage = state.storages[key]
        turned = "discharging" if storage.mode == "charging" else "charging"
        modes = {"charge": "charging", "discharge": "discharging", "idle": "idle"}
        mode = modes.get(self.action, turned)
        changed = msgspec.structs.replace(storage, mode=mode)
        return state.changed(storages={**state.storages, key: changed})


class Simulate(Modification, frozen=True, kw_only=True):
    """Let time pass: storages charge and discharge as they stand."""

    kind = "simulate"
    minutes: Annotated[float, quantity("min", "How long.", gt=0, le=525_600)]

    def applied(self, state: State, place: Place) -> State:
        hours = self.minutes / 60
        storages = {key: storage.after(hours) for key, storage in state.storages.items()}
        return state.changed(storages=storages, minutes=state.minutes + self.minutes)


class RegisterDfp(Modification, frozen=True, kw_only=True):
    """Register a demand-flexibility programme."""

    kind = "register_dfp"
    name: ProgrammeName
    description: Annotated[str, says("What it is for.")] = ""
    min_power_kw: Annotated[float, quantity("kW", "Smaller devices do not take part.", ge=0)]
    target_pf: Annotated[
        float,
        quantity(
            "1",
            "What a device's power is multiplied with while the programme runs; in spite of its "
            "name no power factor.",
            ge=0,
        ),
    ]

    def applied(self, state: State, place: Place) -> State:
        if self.name in state.programmes:
            message = f"There is a programme “{shorten(self.name)}” already."
            raise refused("name-taken", message, field="name")
        programme = Programme(self.name, self.description, self.min_power_kw, self.target_pf)
        return state.changed(programmes={**state.programmes, self.name: programme})


class UpdateDfp(Modification, frozen=True, kw_only=True):
    """Change a programme; what it has curtailed stays so until it is executed again or stopped."""

    kind = "update_dfp"
    name: ProgrammeName
    min_power_kw: (
        Annotated[float, quantity("kW", "Smaller devices do not take part.", ge=0)] | None
    ) = None
    target_pf: Annotated[float, quantity("1", "As in `register_dfp`.", ge=0)] | None = None
    description: Annotated[str, says("What it is for.")] | None = None

    def applied(self, state: State, place: Place) -> State:
        programme = _programme(state, self.name, "name")
        given = {
            name: value
            for name in ("min_power_kw", "target_pf", "description")
            if (value := getattr(self, name)) is not None
        }
        return _with_programme(state, msgspec.structs.replace(programme, **given))


class DeleteDfp(Modification, frozen=True, kw_only=True):
    """Stop a programme and remove it."""

    kind = "delete_dfp"
    name: ProgrammeName

    def applied(self, state: State, place: Place) -> State:
        _programme(state, self.name, "name")
        stopped = _released(state, self.name, None)
        return stopped.changed(programmes=_without(state.programmes, self.name))


class SubscribeDfp(Modification, frozen=True, kw_only=True):
    """Let the devices of a bus take part in a programme."""

    kind = "subscribe_dfp"
    bus_name: BusName
    dfp_name: ProgrammeName

    def applied(self, state: State, place: Place) -> State:
        bus = place.bus(self.bus_name).bus
        return _subscribed(state, _programme(state, self.dfp_name), [bus])


class UnsubscribeDfp(Modification, frozen=True, kw_only=True):
    """End the part of a bus in a programme; its devices are released."""

    kind = "unsubscribe_dfp"
    bus_name: BusName
    dfp_name: ProgrammeName

    def applied(self, state: State, place: Place) -> State:
        bus = place.bus(self.bus_name).bus
        programme = _programme(state, self.dfp_name)
        if bus not in programme.subscribers:
            message = f"Bus {bus} has not subscribed to “{shorten(self.dfp_name)}”."
            raise refused("not-added", message, field="bus_name", element=bus)
        remaining = tuple(other for other in programme.subscribers if other != bus)
        left = msgspec.structs.replace(programme, subscribers=remaining)
        return _with_programme(_released(state, self.dfp_name, {bus}), left)


class SendDfpToNeighbourhood(Modification, frozen=True, kw_only=True):
    """Offer a programme to a neighbourhood; which of its buses subscribe is drawn by `seed`."""

    kind = "send_dfp_to_neighbourhood"
    neighbourhood: Number
    dfp_name: ProgrammeName
    share: Share = 1.0
    seed: Seed = 0

    def applied(self, state: State, place: Place) -> State:
        buses = place.neighbourhood(self.neighbourhood)
        programme = _programme(state, self.dfp_name)
        drawn = _drawn(buses, self.share, f"{self.seed}/{self.dfp_name}/subscribe")
        return _subscribed(state, programme, drawn)


class ExecuteDfp(Modification, frozen=True, kw_only=True):
    """Run a programme: at the subscribed buses, in one neighbourhood or all, that `seed` draws,
    every device above its `min_power_kw` is multiplied with its `target_pf`.
    """

    kind = "execute_dfp"
    dfp_name: ProgrammeName
    neighbourhood: (
        Annotated[int, quantity("1", "Number of the neighbourhood; absent, all.", ge=-(2**53))]
        | None
    ) = None
    share: Share = 1.0
    seed: Seed = 0

    def applied(self, state: State, place: Place) -> State:
        programme = _programme(state, self.dfp_name)
        buses = _within(programme.subscribers, place, self.neighbourhood)
        if not buses:
            message = f"No bus there has subscribed to “{shorten(self.dfp_name)}”."
            raise refused("not-added", message, field="dfp_name")
        drawn = set(_drawn(buses, self.share, f"{self.seed}/{self.dfp_name}/execute"))
        released = _released(state, self.dfp_name, set(buses))
        devices = {
            key: msgspec.structs.replace(
                device, cuts={**device.cuts, self.dfp_name: programme.target_pf}
            )
            for key, device in released.devices.items()
            if device.bus in drawn and device.present_kw > programme.min_power_kw
        }
        return released.changed(devices={**released.devices, **devices})


class StopDfp(Modification, frozen=True, kw_only=True):
    """End a programme's curtailments, in one neighbourhood or all."""

    kind = "stop_dfp"
    dfp_name: ProgrammeName
    neighbourhood: (
        Annotated[int, quantity("1", "Number of the neighbourhood; absent, all.", ge=-(2**53))]
        | None
    ) = None

    def applied(self, state: State, place: Place) -> State:
        programme = _programme(state, self.dfp_name)
        buses = _within(programme.subscribers, place, self.neighbourhood)
        return _released(state, self.dfp_name, set(buses))


#: All kinds by name; each is a route of the same name.
KINDS: Mapping[str, type[Modification]] = MappingProxyType(
    {
        kind.kind: kind
        for kind in (
            AddGenerator,
            RemoveGenerator,
            ModifyLoadNeighbourhood,
            ModifyLoadNode,
            AddDevice,
            DisconnectDevice,
            ModifyDevicesInNode,
            AddStorageDevice,
            ToggleStorageDevice,
            Simulate,
            RegisterDfp,
            UpdateDfp,
            DeleteDfp,
            SubscribeDfp,
            UnsubscribeDfp,
            SendDfpToNeighbourhood,
            ExecuteDfp,
            StopDfp,
        )
    }
)

_NAMES = ("device_name", "dfp_name", "name")
_NAME_LIMIT = 80


def decode(kind: type[Modification], plain: Mapping[str, Any]) -> Modification:
    """A modification from the fields of a request; raises ProblemError (400) with every fault."""
    if isinstance(plain.get("bus_name"), int) and not isinstance(plain["bus_name"], bool):
        plain = {**plain, "bus_name": str(plain["bus_name"])}
    found, problems = read(kind, plain, f"`{kind.kind}`", "field")
    if str(plain.get("phases")).strip() in ("2", "2.0"):
        message = f"`{kind.kind}`: phases must be 1 or 3, not 2."
        problems.append(Problem(kind="out-of-bounds", message=message, field="phases"))
    for name in _NAMES:
        if isinstance(plain.get(name), str) and len(plain[name]) > _NAME_LIMIT:
            message = f"`{kind.kind}`: {name} has more than {_NAME_LIMIT} characters."
            problems.append(Problem(kind="out-of-bounds", message=message, field=name))
    if found is None or problems:
        raise invalid(problems)
    return found


# -- what several of them do -----------------------------------------------------------------------


def _without(table: Mapping[Any, Any], key: Any) -> dict[Any, Any]:
    return {other: value for other, value in table.items() if other != key}


def _times(device: Device, factor: float) -> Device:
    return msgspec.structs.replace(device, kw=device.kw * factor)


def _scaled(state: State, loads: Iterable[str], buses: Iterable[str], factor: float) -> State:
    factors = {load: state.factors.get(load, 1.0) * factor for load in loads}
    at = set(buses)
    devices = {
        key: _times(device, factor) if device.bus in at else device
        for key, device in state.devices.items()
    }
    return state.changed(factors={**state.factors, **factors}, devices=devices)


def _taken(what: str, bus: str, name: str) -> Exception:
    message = f"Bus {bus} has a {what} “{shorten(name)}” already."
    return refused("name-taken", message, field="device_name", element=bus)


def _known(
    what: str,
    table: Mapping[tuple[str, str], Any],
    place: Place,
    bus_name: str,
    name: str,
) -> tuple[str, str]:
    """The key of a device or storage; raises ProblemError where there is none of the name."""
    bus = place.bus(bus_name).bus
    if (bus, name) not in table:
        near = nearest_names(name, [other for at, other in table if at == bus])
        message = f"Bus {bus} has no {what} “{shorten(name)}”.{near}"
        raise refused(f"unknown-{what}", message, field="device_name", element=bus)
    return bus, name


def _programme(state: State, name: str, field: str = "dfp_name") -> Programme:
    found = state.programmes.get(name)
    if found is None:
        near = nearest_names(name, state.programmes)
        message = f"There is no programme “{shorten(name)}”.{near}"
        raise refused("unknown-programme", message, field=field)
    return found


def _with_programme(state: State, programme: Programme) -> State:
    return state.changed(programmes={**state.programmes, programme.name: programme})


def _subscribed(state: State, programme: Programme, buses: Iterable[str]) -> State:
    subscribers = tuple(dict.fromkeys([*programme.subscribers, *buses]))
    return _with_programme(state, msgspec.structs.replace(programme, subscribers=subscribers))


def _within(buses: Iterable[str], place: Place, neighbourhood: int | None) -> list[str]:
    inside = None if neighbourhood is None else set(place.neighbourhood(neighbourhood))
    return [bus for bus in buses if inside is None or bus in inside]


def _drawn(buses: Iterable[str], share: float, seed: str) -> list[str]:
    """Each bus by its own draw, so that it does not depend on which others there are."""
    return [bus for bus in buses if random.Random(f"{seed}/{bus}").random() < share]  # noqa: S311


def _released(state: State, programme: str, buses: set[str] | None) -> State:
    """Devices without what a programme has put on them, at some buses or all."""
    devices = {
        key: device
        if buses is not None and device.bus not in buses
        else msgspec.structs.replace(device, cuts=_without(device.cuts, programme))
        for key, device in state.devices.items()
    }
    return state.changed(devices=devices)
