"""Commands to objects: an interpreter of what may be said, which executes nothing.

circuit = Script().read(text).circuit()
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import msgspec

from electrisim.dss import values
from electrisim.dss.classes import CLASSES, CONTROLS, READERS, REFUSED, WITHOUT_EFFECT
from electrisim.dss.syntax import Command, Parameter, Value, commands, problem
from electrisim.problems import Problem, ProblemError, nearest, shorten

#: A property, or one of a winding (from 1).
Key = str | tuple[int, str]

#: What nobody's circuit has, and what would cost too much to tell.
MOST_OBJECTS, MOST_FAULTS, MOST_WINDINGS, MOST_BASES = 100_000, 1000, 10, 100
#: How many faults are told with what was probably meant.
_HINTED = 20


class Thing:
    """An object: its properties by name in the order in which they were last set.

    class_, name   in lower case
    label          its name as written
    place          where it was made
    """

    def __init__(self, class_: str, label: str, place: str) -> None:
        self.class_ = class_
        self.label = label
        self.name = label.lower()
        self.place = place
        self.values: dict[Key, Any] = {}
        self.winding = 1

    @property
    def id(self) -> str:
        return f"{self.class_}.{self.name}"

    def __contains__(self, key: Key) -> bool:
        return key in self.values

    def get(self, key: Key, otherwise: Any = None) -> Any:
        return self.values.get(key, otherwise)

    def set(self, key: Key, value: Any) -> None:
        # The last one counts, and comes last.
        self.values.pop(key, None)
        self.values[key] = value


class Note(msgspec.Struct, frozen=True):
    """What was read and has no effect here, in a sentence with its place."""

    place: str
    message: str


class Circuit(NamedTuple):
    """A circuit as it was said.

    source   the source that `New Circuit` made, in `things` too
    options  of `Set`, those that matter
    bases    kV of buses by `SetKVBase`
    opened   (object id, terminal) that `Open` opened
    """

    name: str
    frequency_hz: float
    things: Mapping[str, Mapping[str, Thing]]
    options: Mapping[str, Any]
    bases: Mapping[str, float]
    opened: list[tuple[str, int]]
    notes: list[Note]

    def of(self, class_: str) -> Iterable[Thing]:
        return self.things.get(class_, {}).values()


#: All commands of OpenDSS in its order, in which it resolves abbreviations.
VERBS = (
    "new", "edit", "more", "m", "~", "select", "save", "show", "solve", "enable", "disable",
    "plot", "reset", "compile", "set", "dump", "open", "close", "//", "redirect", "help",
    "quit", "?", "next", "panel", "sample", "clear", "about", "calcvoltagebases", "setkvbase",
    "buildy", "get", "init", "export", "fileedit", "voltages", "currents", "powers",
    "seqvoltages", "seqcurrents", "seqpowers", "losses", "phaselosses", "cktlosses",
    "allocateloads", "formedit", "totals", "capacity", "classes", "userclasses", "zsc", "zsc10",
    "zscrefresh", "ysc", "puvoltages", "varvalues", "varnames", "buscoords", "makebuslist",
    "makeposseq", "reduce", "interpolate", "alignfile", "top", "rotate", "vdiff", "summary",
    "distribute", "di_plot", "comparecases", "yearlycurves", "cd", "visualize", "closedi",
    "doscmd", "estimate", "reconductor", "_initsnap", "_solvenocontrol", "_samplecontrols",
    "_docontrolactions", "_showcontrolqueue", "_solvedirect", "_solvepflow", "addbusmarker",
    "uuids", "setloadandgenkv", "cvrtloadshapes", "nodediff", "rephase", "setbusxy",
    "updatestorage", "obfuscate", "latlongcoords", "batchedit", "pstcalc", "variable", "var",
    "ysparse", "clearall", "refine_buslevels",
)  # fmt: skip

_NO_OPERATION = frozenset(
    {
        "calcvoltagebases", "buildy", "makebuslist", "init", "reset",
        "sample", "interpolate", "quit", "?", "get", "totals", "summary", "losses", "voltages",
        "currents", "powers", "about", "help", "classes", "addbusmarker", "setbusxy",
    }
)  # fmt: skip

#: Options of `Set` that matter, and how they are read; those without effect.
OPTIONS: Mapping[str, str] = MappingProxyType(
    {
        "defaultbasefrequency": "n", "voltagebases": "ns", "loadmult": "n", "frequency": "n",
        "controlmode": "w", "mode": "w", "loadmodel": "w",
    }
)  # fmt: skip
_IDLE_OPTIONS = frozenset(
    {
        "tolerance", "maxiterations", "maxiter", "maxcontroliter", "maxcontrol",
        "algorithm", "number", "stepsize", "h", "hour", "sec", "time", "casename",
        "trapezoidal", "demandinterval", "diverbose", "markercode", "nodewidth",
        "marktransformers", "markswitches", "markregulators", "markcapacitors",
        "markpvsystems", "markstorage", "normvminpu", "normvmaxpu", "emergvminpu",
        "emergvmaxpu", "basefrequency", "cktmodel", "bus", "object", "type", "circuit",
        "earthmodel", "allowduplicates", "showexport", "editor", "recorder", "lossweight",
        "ueweight", "overloadreport", "voltexceptionreport", "miniterations", "zonelock",
    }
)  # fmt: skip


class Script:
    """The state of the interpretation.

    files  reads another file by its name for Redirect and Compile; raises ProblemError
    """

    def __init__(self, files: Callable[[str, str], Iterator[Command]] | None = None) -> None:
        self._files = files
        self._things: dict[str, dict[str, Thing]] = {}
        self._options: dict[str, Any] = {}
        self._bases: dict[str, float] = {}
        self._opened: dict[tuple[str, int], None] = {}
        self._notes: list[Note] = []
        self._problems: list[Problem] = []
        self._active: Thing | None = None
        self._ignored: str | None = None
        self._name: str | None = None
        self._count = 0

    def read(self, text: str) -> Script:
        """Interpret a script; raises ProblemError with every fault that was found."""
        self._run(commands(text))
        self._raise()
        return self

    def run(self, stream: Iterator[Command]) -> Script:
        self._run(stream)
        self._raise()
        return self

    def circuit(self) -> Circuit:
        if self._name is None:
            text = "The script makes no circuit: it needs “New Circuit.<name>”."
            raise ProblemError([Problem(kind="no-source", message=text)])
        frequency = self._options.get("defaultbasefrequency", 60.0)
        return Circuit(
            self._name, self._options.get("frequency", frequency), self._things, self._options,
            self._bases, [*self._opened], self._notes,
        )  # fmt: skip

    def _raise(self) -> None:
        if self._problems:
            raise ProblemError(self._problems, kind=_worst_kind(self._problems))

    def _run(self, stream: Iterator[Command]) -> None:
        while len(self._problems) < MOST_FAULTS:
            try:
                command = next(stream)
            except StopIteration:
                return
            except ProblemError as error:
                # What comes after an unreadable line would be misunderstood.
                self._problems += error.problems
                return
            self._execute(command)

    def _execute(self, command: Command) -> None:
        verb = _full(command.verb)
        act = _ACTIONS.get(verb) if verb else None
        if command.verb == "":
            self._assign(command)
        elif act is not None:
            act(self, command)
        elif verb in _NO_OPERATION:
            self._note(command.place, f"{verb} was passed over: nothing is executed.")
        elif verb:
            self._refuse(command, f"The command {verb} is refused: {_why(verb)}.")
        else:
            hint = self._hint(command.verb, VERBS)
            text = f"“{shorten(command.verb)}” is no command of OpenDSS.{hint}"
            self._fault(command.place, text, "unknown-command")

    # -- objects -----------------------------------------------------------------------------------

    def _new(self, command: Command) -> None:
        class_, label, rest = self._called(command)
        if class_ is None:
            return
        if class_ == "circuit":
            self._new_circuit(label, rest, command)
            return
        if not self._takes(class_, command):
            return
        if label.lower() in self._things.get(class_, {}):
            text = f"{class_}.{shorten(label)} exists already; Edit changes it."
            self._fault(command.place, text, "duplicate-id")
            return
        self._set(self._made(class_, label, command), rest, command)

    def _new_circuit(self, label: str, rest: list[Parameter], command: Command) -> None:
        if self._name is not None:
            self._refuse(command, "A second circuit is refused: one import is one circuit.")
            return
        self._name = label
        self._set(self._made("vsource", "source", command), rest, command)

    def _made(self, class_: str, label: str, command: Command) -> Thing:
        self._count += 1
        if self._count > MOST_OBJECTS:
            text = f"A circuit of more than {MOST_OBJECTS} objects is refused."
            raise ProblemError([*self._problems, problem(text, command.place, "too-large-circuit")])
        thing = Thing(class_, label, command.place)
        self._things.setdefault(class_, {})[thing.name] = thing
        return thing

    def _edit(self, command: Command) -> None:
        class_, label, rest = self._called(command)
        if class_ is None:
            return
        if class_ == "circuit":
            class_, label = "vsource", "source"
        if self._takes(class_, command) and (thing := self._find(class_, label, command)):
            self._set(thing, rest, command)

    def _more(self, command: Command) -> None:
        if self._active is not None:
            self._set(self._active, command.parameters, command)
        elif self._ignored is None:
            text = "There is nothing yet that this line could continue."
            self._fault(command.place, text, "unread-text")
        else:
            self._no_files(command.parameters, command)

    def _assign(self, command: Command) -> None:
        """`class.name.property=value`, and then perhaps more properties of the same object."""
        first, *rest = command.parameters
        path = (first.name or "").split(".")
        if len(path) < 3:
            text = f"“{shorten(first.name or first.value.text)}” is no command of OpenDSS."
            self._fault(command.place, text, "unknown-command")
            return
        class_, name, property_ = path[0], ".".join(path[1:-1]), path[-1]
        if class_ == "circuit":
            class_, name = "vsource", "source"
        if self._takes(class_, command) and (thing := self._find(class_, name, command)):
            self._set(thing, [Parameter(property_, first.value), *rest], command)

    def _called(self, command: Command) -> tuple[str | None, str, list[Parameter]]:
        """Class and name of the object that a command is about, and the other parameters."""
        first = command.parameters[0] if command.parameters else None
        named = first is not None and first.name in (None, "object")
        class_, dot, label = first.value.text.partition(".") if first and named else ("", "", "")
        if not dot or not label.strip() or len(label) > 200 or not label.isprintable():
            text = "needs an object such as Line.l1"
            self._fault(command.place, f"{command.verb} {text}.", "unread-text")
            return None, "", []
        return class_.lower(), label, command.parameters[1:]

    def _takes(self, class_: str, command: Command) -> bool:
        """Whether a class is read; what is not is noted or refused."""
        self._active, self._ignored = None, None
        if class_ in CLASSES:
            return True
        if class_ in WITHOUT_EFFECT or class_ in CONTROLS:
            self._ignored = class_
            self._no_files(command.parameters, command)
            what = "has no effect on a power flow"
            if class_ in CONTROLS:
                what = "is not imported: its steps stay as they are written"
            self._note(command.place, f"{class_} {what}.")
            return False
        # Whatever continues it is refused with it.
        self._ignored = class_
        if class_ in REFUSED:
            self._refuse(command, f"The class {class_} is refused: {REFUSED[class_]}.")
        else:
            hint = self._hint(class_, [*CLASSES, *REFUSED, *WITHOUT_EFFECT, *CONTROLS])
            text = f"“{shorten(class_)}” is no class of OpenDSS.{hint}"
            self._fault(command.place, text, "unknown-class")
        return False

    def _no_files(self, parameters: list[Parameter], command: Command) -> None:
        for name, value in parameters:
            if (name and name.endswith("file")) or _reads_a_file(value):
                self._refuse(command, f"{name or 'The value'} reads a file, which is refused.")

    def _find(self, class_: str, name: str, command: Command) -> Thing | None:
        thing = self._things.get(class_, {}).get(name.lower())
        if thing is None:
            text = f"There is no {class_}.{shorten(name)} yet."
            hint = self._hint(name, list(self._things.get(class_, {}))[:2000])
            self._fault(command.place, text + hint, "unknown-object")
        return thing

    # -- properties --------------------------------------------------------------------------------

    def _set(self, thing: Thing, parameters: list[Parameter], command: Command) -> None:
        self._active = thing
        table = CLASSES[thing.class_].properties
        order = list(table)
        at = -1
        for name, value in parameters:
            at = at + 1 if name is None else _position(name, order)
            if not 0 <= at < len(order):
                told = f"property “{shorten(name)}”" if name else f"{len(order) + 1}th property"
                hint = self._hint(name, order) if name else ""
                text = f"{thing.class_} has no {told}.{hint}"
                self._fault(command.place, text, "unknown-property", thing.id)
                at = len(order)
                continue
            self._set_one(thing, order[at], table[order[at]], value, command)

    def _set_one(self, thing: Thing, name: str, how: str, value: Value, command: Command) -> None:
        if _reads_a_file(value):
            text = f"{name} reads a file, which is refused."
            self._fault(command.place, text, "refused-command", thing.id)
        elif how == "!":
            text = f"{thing.class_} property {name} is refused: it has no place in the graph."
            self._fault(command.place, text, "refused-property", thing.id)
        elif name == "like":
            self._like(thing, value, command)
        elif how != "-":
            try:
                self._store(thing, name, READERS[how](value), command)
            except values.ValueFaultError as error:
                text = f"{thing.id} {name} {error}."
                self._fault(command.place, text, "not-a-value", thing.id)

    def _store(self, thing: Thing, name: str, found: Any, command: Command) -> None:
        class_ = CLASSES[thing.class_]
        if name == "wdg":
            thing.winding = _within(found)
        elif name == "kva" and class_.winding:
            # That of the first is that of all others, and of two windings either is both's.
            count = int(thing.get("windings", 2))
            alike = range(1, count + 1) if thing.winding == 1 or count == 2 else (thing.winding,)
            for winding in alike:
                thing.set((winding, name), found)
        elif name in class_.winding:
            thing.set((thing.winding, name), found)
        elif name in class_.windings:
            if len(found) > MOST_WINDINGS:
                raise values.ValueFaultError(f"must have at most {MOST_WINDINGS} values")
            for winding, each in enumerate(found, 1):
                thing.set((winding, class_.windings[name]), each)
                thing.winding = winding
        elif name == "xfmrcode":
            code = self._find("xfmrcode", found, command)
            for key, each in code.values.items() if code else ():
                thing.set(key, each)
        elif name == "linecode":
            code = self._find("linecode", found, command)
            if code:
                # As it is now: what is edited later does not reach the lines.
                thing.set(name, dict(code.values))
        elif name == "transformer":
            if self._find(name, found, command):
                thing.set(name, found)
        elif name == "tapnum":
            self._move(thing, found)
        elif name in ("effcurve", "p-tcurve"):
            curve = self._find("xycurve", found, command)
            if curve:
                thing.set(name, dict(curve.values))
        else:
            thing.set(name, _within(found) if name == "windings" else found)

    def _move(self, control: Thing, steps: int) -> None:
        """A regulator's TapNum moves its transformer."""
        unit = self._things.get("transformer", {}).get(control.get("transformer", ""))
        winding = _within(control.get("tapwinding", control.get("winding", 1)))
        if unit is not None:
            low, high = unit.get((winding, "mintap"), 0.9), unit.get((winding, "maxtap"), 1.1)
            count = unit.get((winding, "numtaps"), 32)
            tap = (low + high) / 2 + (steps * (high - low) / count if count > 0 else 0.0)
            unit.set((winding, "tap"), min(max(tap, low), high))

    def _like(self, thing: Thing, value: Value, command: Command) -> None:
        model = self._find(thing.class_, value.text, command)
        if thing.class_ == "line":
            # Measured on both builds: of a line its units are forgotten, and its line code.
            text = f"{thing.id} is like another line, of which OpenDSS loses a part: say it anew."
            self._fault(command.place, text, "refused-property", thing.id)
            return
        for key, each in list(model.values.items()) if model else ():
            # Where it is connected stays its own, and so (measured) which side leads.
            if not isinstance(each, values.BusAt) and key != "leadlag":
                thing.set(key, each)

    # -- other commands ----------------------------------------------------------------------------

    def _set_option(self, command: Command) -> None:
        for name, value in command.parameters:
            if name is not None and name in OPTIONS:
                try:
                    self._options[name] = _option(name, value)
                except values.ValueFaultError as error:
                    self._fault(command.place, f"Set {name} {error}.", "not-a-value")
            elif name in _IDLE_OPTIONS:
                self._note(command.place, f"Set {name} has no effect here.")
            else:
                text = f"The option {shorten(name or value.text)} of Set is refused."
                hint = self._hint(name or "", [*OPTIONS, *_IDLE_OPTIONS])
                self._refuse(command, text + hint)

    def _solve(self, command: Command) -> None:
        self._note(command.place, "solve was passed over: nothing is executed.")
        self._set_option(command)

    def _clear(self, command: Command) -> None:
        if self._name is not None:
            self._refuse(command, "Clear after the circuit is refused: nothing would be left.")

    def _set_base(self, command: Command) -> None:
        given = {name: value for name, value in command.parameters if name}
        try:
            kv = values.number(given["kvll"])
        except (KeyError, values.ValueFaultError):
            text = "SetKVBase needs bus=… and kvll=…, a number."
            self._fault(command.place, text, "unread-text")
            return
        if "bus" not in given or kv <= 0:
            text = "SetKVBase needs bus=… and kvll=…, more than 0."
            self._fault(command.place, text, "unread-text")
            return
        self._bases[given["bus"].text.lower()] = kv

    def _switch(self, command: Command) -> None:
        class_, label, rest = self._called(command)
        if class_ is None:
            return
        thing = self._takes(class_, command) and self._find(class_, label, command)
        if not thing:
            return
        try:
            terminal, *conductor = [values.integer(value) for _, value in rest] or [1]
        except values.ValueFaultError as error:
            self._fault(command.place, f"Its terminal {error}.", "not-a-value")
            return
        if conductor and conductor != [0]:
            self._refuse(command, "Opening or closing single conductors is refused.")
        elif _full(command.verb) == "open":
            self._opened[thing.id, terminal] = None
        else:
            self._opened.pop((thing.id, terminal), None)

    def _enable(self, command: Command) -> None:
        class_, label, _ = self._called(command)
        if class_ is None:
            return
        thing = self._takes(class_, command) and self._find(class_, label, command)
        if thing:
            thing.set("enabled", _full(command.verb) == "enable")

    def _select(self, command: Command) -> None:
        class_, label, _ = self._called(command)
        if class_ is not None and self._takes(class_, command):
            self._active = self._find(class_, label, command)

    def _redirect(self, command: Command) -> None:
        verb = _full(command.verb)
        if self._files is None or len(command.parameters) != 1 or command.parameters[0].name:
            text = f"The command {verb} is refused: it reads a file, which only a zip may bring."
            self._refuse(command, text)
            return
        try:
            stream = self._files(command.parameters[0].value.text, command.place)
        except ProblemError as error:
            self._problems += error.problems
            return
        self._run(stream)

    def _coordinates(self, command: Command) -> None:
        if self._files is None:
            text = f"The command {_full(command.verb)} is refused: it reads a file."
            self._refuse(command, text)
        else:
            self._note(command.place, "Coordinates are not read.")

    # -- what was found ----------------------------------------------------------------------------

    def _note(self, place: str, message: str) -> None:
        if len(self._notes) < MOST_FAULTS:
            self._notes.append(Note(place, message))

    def _hint(self, word: str, known: Iterable[str]) -> str:
        """What was probably meant, as long as few faults were found: the search is slow."""
        return nearest(word, known) if len(self._problems) < _HINTED else ""

    def _fault(self, place: str, message: str, kind: str, element: str | None = None) -> None:
        self._problems.append(problem(message, place, kind, element))

    def _refuse(self, command: Command, message: str) -> None:
        self._fault(command.place, message, "refused-command")


_Action = Callable[[Script, Command], None]
_ACTIONS: Mapping[str, _Action] = MappingProxyType(
    {
        "new": Script._new, "edit": Script._edit, "more": Script._more, "m": Script._more,
        "~": Script._more, "solve": Script._solve, "clear": Script._clear,
        "clearall": Script._clear, "set": Script._set_option, "setkvbase": Script._set_base,
        "open": Script._switch, "close": Script._switch, "enable": Script._enable,
        "disable": Script._enable, "select": Script._select, "redirect": Script._redirect,
        "compile": Script._redirect, "buscoords": Script._coordinates,
        "latlongcoords": Script._coordinates,
    }
)  # fmt: skip

_SHELL = frozenset({"doscmd", "fileedit", "formedit", "panel"})
_WRITES = frozenset({"save", "show", "export", "dump", "plot", "uuids", "visualize", "di_plot"})
_TRAVELS = frozenset({"cd"})


def _why(verb: str) -> str:
    if verb in _SHELL:
        return "it starts a program"
    if verb in _WRITES:
        return "it writes a file or opens a window"
    if verb in _TRAVELS:
        return "it leaves its directory"
    return "it is none of those that describe a circuit"


def _full(verb: str) -> str | None:
    """The command that a word stands for: itself, or the first one that it begins."""
    if verb in VERBS:
        return verb
    return next((full for full in VERBS if full.startswith(verb)), None) if verb else None


def _option(name: str, value: Value) -> Any:
    found = READERS[OPTIONS[name]](value)
    if name == "voltagebases" and len(found) > MOST_BASES:
        raise values.ValueFaultError(f"must be no longer than {MOST_BASES}")
    return found


def _within(winding: int) -> int:
    if not 1 <= winding <= MOST_WINDINGS:
        raise values.ValueFaultError(f"must be from 1 to {MOST_WINDINGS}")
    return winding


def _position(name: str, order: list[str]) -> int:
    """The position of a property: its own, or of the first one that the word begins; -1 of none."""
    if name in order:
        return order.index(name)
    if not name:
        return -1
    return next((at for at, full in enumerate(order) if full.startswith(name)), -1)


def _reads_a_file(value: Value) -> bool:
    folded = value.text.lower().replace(" ", "")
    return any(f"{word}=" in folded for word in ("file", "csvfile", "sngfile", "dblfile"))


def _worst_kind(problems: list[Problem]) -> str:
    return "unsupported" if all(p.kind.startswith("refused") for p in problems) else "invalid"
