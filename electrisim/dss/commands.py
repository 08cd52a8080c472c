"""Objects to commands in our own words, for an engine that checks the translation.

No character of a script reaches it: numbers are written anew, words come from a list, objects and
buses are numbered. Controls stay out, since what is imported is the circuit as it is written.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from electrisim.dss.classes import CLASSES
from electrisim.dss.script import Circuit, Key, Thing
from electrisim.dss.transformers import rating_kva
from electrisim.dss.values import BusAt
from electrisim.dss.wiring import Bases

#: Iterations and change of a voltage at which the engine stops [pu].
ITERATIONS, TOLERANCE = 500, 1e-10


class Spoken(NamedTuple):
    """commands  make the circuit; buses  by their own names, as they are called there"""

    commands: list[str]
    buses: Mapping[str, str]


def spoken(circuit: Circuit) -> Spoken:
    return _Speaker(circuit).speak()


class _Speaker:
    def __init__(self, circuit: Circuit) -> None:
        self._circuit = circuit
        self._buses: dict[str, str] = {}
        self._helpers = 0

    def speak(self) -> Spoken:
        options = self._circuit.options
        base_hz = options.get("defaultbasefrequency", 60.0)
        commands = [f"set defaultbasefrequency={base_hz!r}", *self._sources()]
        for class_ in _CLASSES:
            for number, thing in enumerate(self._circuit.of(class_)):
                commands += self._object(f"{class_}.x{number}", thing)
        commands += self._opened()
        commands.append("makebuslist")
        bases = Bases(self._circuit)
        commands += [
            f"setkvbase bus={spoken} kvll={bases[bus]!r}" for bus, spoken in self._buses.items()
        ]
        if "frequency" in options:
            commands.append(f"set frequency={options['frequency']!r}")
        load_model = "admittance" if options.get("loadmodel", "p")[:1] == "a" else "powerflow"
        commands += [
            f"set loadmult={options.get('loadmult', 1.0)!r}",
            f"set maxiterations={ITERATIONS}",
            f"set tolerance={TOLERANCE!r}",
            f"set loadmodel={load_model}",
            "set controlmode=off",
        ]
        return Spoken(commands, self._buses)

    def _sources(self) -> Iterator[str]:
        for number, thing in enumerate(self._circuit.of("vsource")):
            name = "circuit.c" if number == 0 else f"vsource.x{number}"
            thing.values.setdefault("bus1", BusAt("sourcebus", ()))
            yield from self._object(name, thing)

    def _object(self, name: str, thing: Thing) -> Iterator[str]:
        how = CLASSES[thing.class_].properties
        # These size the arrays that what follows fills.
        first = [key for key in ("phases", "nphases", "windings") if key in thing]
        keys: list[Key] = [*first, *(key for key in thing.values if key not in first)]
        words = []
        for key in keys:
            value = thing.values[key]
            if isinstance(key, tuple):
                if key[1] == "kva":
                    # Winding by winding, one would change the others'.
                    continue
                words.append(f"wdg={key[0]} {key[1]}={self._told(how[key[1]], key[1], value)}")
            elif how[key] == "ref":
                helper, command = self._helper(key, value)
                yield command
                words.append(f"{key}={helper}")
            elif how[key] != "shape":
                words.append(f"{key}={self._told(how[key], key, value)}")
        if thing.class_ == "transformer":
            windings = range(1, int(thing.get("windings", 2)) + 1)
            words.append(f"kvas=({','.join(repr(rating_kva(thing, w)) for w in windings)})")
        yield " ".join([f"new {name}", *words])

    def _helper(self, property_: str, values: Mapping[Any, Any]) -> tuple[str, str]:
        """A line code or a curve of an object's own."""
        class_ = "linecode" if property_ == "linecode" else "xycurve"
        self._helpers += 1
        name = f"h{self._helpers}"
        how = CLASSES[class_].properties
        first = [key for key in ("nphases", "npts") if key in values]
        keys = [*first, *(key for key in values if key not in first)]
        words = [f"{key}={self._told(how[key], key, values[key])}" for key in keys]
        return name, " ".join([f"new {class_}.{name}", *words])

    def _told(self, how: str, name: str, value: Any) -> str:
        if isinstance(value, BusAt):
            return ".".join([self._bus(value.name), *map(str, value.nodes)])
        if how == "m":
            return f"[{' | '.join(' '.join(map(repr, row)) for row in value)}]"
        if how == "ns":
            return f"({','.join(map(repr, value))})"
        if how == "b":
            return "yes" if value else "no"
        if how in ("w", "u"):
            return _word(name, value)
        return repr(value)

    def _bus(self, name: str) -> str:
        return self._buses.setdefault(name, f"b{len(self._buses)}")

    def _opened(self) -> Iterator[str]:
        names = {
            thing.id: f"{class_}.x{number}"
            for class_ in _CLASSES
            for number, thing in enumerate(self._circuit.of(class_))
        }
        for id_, terminal in self._circuit.opened:
            if id_ in names:
                yield f"open {names[id_]} {terminal}"


_CLASSES = (
    "line", "transformer", "reactor", "capacitor", "load", "generator", "pvsystem", "storage",
)  # fmt: skip


def _word(name: str, value: str) -> str:
    """The word of a list that OpenDSS takes a word for, by its first letters."""
    first = value[:1]
    if name == "conn":
        return "delta" if first in ("d", "l") else "wye"
    if name == "leadlag":
        return "lead" if value[:2] in ("le", "eu") else "lag"
    if name == "status":
        return "fixed" if first == "f" else "variable"
    if name == "state":
        return {"c": "charging", "d": "discharging"}.get(first, "idling")
    # A unit of length, which was looked up.
    return value
