"""How to say a test feeder in OpenDSS' words, solve it, and read it back.

The names that reach the engine are numbers of ours: bus `b7`, line `l12`, load `d3`, unit `u0`.

    with OpenDSSFeeder(Bindings()).open(feeder, Options(), Case({}, ())) as model:
        solved = model.solve()
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np

from electrisim.feeder.model import (
    SUBSTATION,
    Case,
    Options,
    Solved,
    Unit,
    UnsolvableError,
    rated_kv,
)
from electrisim.feeder.tables import (
    Capacitor,
    Complex,
    Feeder,
    Impedance,
    Line,
    Load,
    Regulator,
    Switch,
    Transformer,
    numbers,
)
from opendss_bindings import Bindings
from opendss_session import EngineError, Session

FEET_PER_MILE = 5280

#: A closed switch: ohms that change no voltage within 1e-8 pu and keep the matrix regular.
SWITCH_OHM = 1e-6

#: A tap is 5/8 percent.
STEP = 0.00625

#: OpenDSS' numbers of load models.
LOAD_MODELS = {"PQ": 1, "Z": 2, "I": 5}

#: A unit beyond these voltages would be an impedance to OpenDSS; the judge sees what it delivers.
UNIT_V_MIN_PU, UNIT_V_MAX_PU = 0.8, 1.2

#: The base case takes 15 rounds of taps, all loads times 2.5 take 33; OpenDSS allows 10. Of its own
#: tolerance, 1e-4, the fourth decimal of a voltage would show.
SOLUTION = ("set maxcontroliter=100", "set maxiterations=100", "set tolerance=1e-7")


class OpenDSSFeeder:
    """OpenDSS as the feeder's engine.

    binding  which of the two builds, as in `Bindings.session`
    """

    def __init__(self, bindings: Bindings, binding: str = "opendssdirect") -> None:
        self._bindings = bindings
        self._binding = binding
        self._words: dict[tuple[str, Options], Words] = {}

    def version(self) -> str:
        return self._bindings.version(self._binding)

    @contextmanager
    def open(self, feeder: Feeder, options: Options, case: Case) -> Iterator[_Model]:
        key = (feeder.digest, options)
        words = self._words.get(key) or self._words.setdefault(key, Words(feeder, options))
        with self._bindings.session(self._binding) as session:
            yield _Model(session, words, case)


class _Model:
    """A feeder in a session of the engine, as a `Model`."""

    def __init__(self, session: Session, words: Words, case: Case) -> None:
        self._session = session
        self._words = words
        self._case = case
        self._layout: _Layout | None = None
        self._run(self._words.circuit(case))

    def change(self, case: Case) -> None:
        self._run(self._words.changes(self._case, case))
        self._case = case

    def reset_taps(self) -> None:
        self._run(self._words.taps())

    def solve(self) -> Solved:
        try:
            converged, _ = self._session.solve()
            if self._layout is None:
                self._layout = _Layout(self._words, self._session.node_names(), self._case.units)
            # What is no solution may be no numbers either; the judge sees to that.
            with np.errstate(all="ignore"):
                return self._layout.read(self._session, converged)
        except EngineError as error:
            raise UnsolvableError(str(error)) from error

    def _run(self, commands: Sequence[str]) -> None:
        try:
            self._session.run(commands)
        except EngineError as error:
            raise UnsolvableError(str(error)) from error


class Words:
    """A feeder's elements as commands, and the nodes that each conductor of them is at.

    A load along a line is on a bus of its own in the middle, where two halves of the line meet.
    """

    def __init__(self, feeder: Feeder, options: Options) -> None:
        self.feeder = feeder
        self._options = options
        self._bus = {bus: f"b{number}" for number, bus in enumerate(feeder.buses)}
        with_load = {load.line for load in feeder.loads.values() if load.line}
        self._middle = {
            name: f"m{number}" for number, name in enumerate(feeder.lines) if name in with_load
        }

    # -- commands ----------------------------------------------------------------------------------

    def circuit(self, case: Case) -> list[str]:
        """All commands from nothing to a feeder that can be solved."""
        return [
            *self._lines_and_machines,
            *(self._load(n, load, case) for n, load in enumerate(self.feeder.loads.values())),
            *(self._unit(number, unit) for number, unit in enumerate(case.units)),
            *SOLUTION,
            f"set controlmode={'static' if self._options.taps == 'automatic' else 'off'}",
            *self.taps(),
        ]

    @functools.cached_property
    def _lines_and_machines(self) -> list[str]:
        """What is the same in every case."""
        feeder = self.feeder
        codes = {config: f"c{number}" for number, config in enumerate(feeder.impedances)}
        return [
            f"set defaultbasefrequency={feeder.source.frequency_hz}",
            self._source(),
            *(_linecode(codes[name], matrix) for name, matrix in feeder.impedances.items()),
            *itertools.chain.from_iterable(
                self._line(number, line, codes[line.config])
                for number, line in enumerate(feeder.lines.values())
            ),
            *(self._switch(n, s) for n, s in enumerate(feeder.switches.values()) if s.closed),
            *(self._transformer(n, t) for n, t in enumerate(feeder.transformers.values())),
            *(self._regulator(n, r) for n, r in enumerate(feeder.regulators.values())),
            *itertools.starmap(
                _control,
                enumerate(feeder.regulators.values() if self._options.taps == "automatic" else ()),
            ),
            *(self._capacitor(n, c) for n, c in enumerate(feeder.capacitors.values())),
        ]

    def changes(self, before: Case, after: Case) -> list[str]:
        """From one case to another."""
        loads = [
            f"edit load.d{number} {self._power(load, after)}"
            for number, load in enumerate(self.feeder.loads.values())
            if before.factors.get(load.load, 1.0) != after.factors.get(load.load, 1.0)
        ]
        units = [
            f"edit generator.u{number} kw={new.kw!r}"
            for number, (old, new) in enumerate(zip(before.units, after.units, strict=True))
            if old.kw != new.kw
        ]
        return [*loads, *units]

    def taps(self) -> list[str]:
        """Regulators where a session's solution begins."""
        published = self._options.taps == "published"
        taps = (r.published_tap if published else 0 for r in self.feeder.regulators.values())
        return [f"edit transformer.r{n} wdg=2 tap={1 + STEP * tap!r}" for n, tap in enumerate(taps)]

    def _source(self) -> str:
        source = self.feeder.source
        return (
            f"new circuit.feeder bus1={self._at(source.bus, '1.2.3')} phases=3 "
            f"basekv={source.kv_ll} pu={source.v_pu} angle={source.angle_deg} "
            f"basefreq={source.frequency_hz} "
            f"z1=[{source.r1_ohm} {source.x1_ohm}] z0=[{source.r0_ohm} {source.x0_ohm}]"
        )

    def _line(self, number: int, line: Line, code: str) -> Iterator[str]:
        miles = self._epri(line.epri_length_ft, line.length_ft) / FEET_PER_MILE
        for name, start, end, share in self._halves(number, line):
            yield (
                f"new line.{name} phases={len(numbers(line.nodes))} "
                f"bus1={start}.{line.nodes} bus2={end}.{line.nodes} "
                f"linecode={code} length={miles * share!r} units=mi"
            )

    def _halves(self, number: int, line: Line) -> list[tuple[str, str, str, float]]:
        """(name, bus, bus, share of the length) of a line, or of its halves."""
        start, end = self._bus[line.from_bus], self._bus[line.to_bus]
        middle = self._middle.get(line.line)
        if middle is None:
            return [(f"l{number}", start, end, 1.0)]
        return [(f"l{number}", start, middle, 0.5), (f"h{number}", middle, end, 0.5)]

    def _switch(self, number: int, switch: Switch) -> str:
        return (
            f"new line.s{number} phases={len(numbers(switch.nodes))} "
            f"bus1={self._at(switch.from_bus, switch.nodes)} "
            f"bus2={self._at(switch.to_bus, switch.nodes)} "
            f"r1={SWITCH_OHM} r0={SWITCH_OHM} x1=0 x0=0 c1=0 c0=0 length=1"
        )

    def _capacitor(self, number: int, capacitor: Capacitor) -> str:
        return (
            f"new capacitor.k{number} phases={len(numbers(capacitor.nodes))} "
            f"bus1={self._at(capacitor.bus, capacitor.nodes)} kvar={capacitor.kvar} "
            f"kv={self._epri(capacitor.epri_kv, capacitor.kv)}"
        )

    def _transformer(self, number: int, transformer: Transformer) -> str:
        t = transformer
        return (
            f"new transformer.t{number} phases={len(numbers(t.nodes))} windings=2 "
            f"buses=[{self._at(t.from_bus, t.nodes)} {self._at(t.to_bus, t.nodes)}] "
            f"conns=[{t.conn_from} {t.conn_to}] kvs=[{t.kv_from} {t.kv_to}] "
            f"kvas=[{t.kva} {t.kva}] %loadloss={t.r_percent_total} xhl={t.x_percent}"
        )

    def _regulator(self, number: int, regulator: Regulator) -> str:
        r = regulator
        return (
            f"new transformer.r{number} phases={_phases(r.nodes, r.conn)} windings=2 "
            f"buses=[{self._at(r.from_bus, r.nodes)} {self._at(r.to_bus, r.nodes)}] "
            f"conns=[{r.conn} {r.conn}] kvs=[{r.kv} {r.kv}] kvas=[{r.kva} {r.kva}] "
            f"xhl={r.x_percent} %loadloss=0.00001 ppm=0 numtaps=32 mintap=0.9 maxtap=1.1"
        )

    def _load(self, number: int, load: Load, case: Case) -> str:
        about = self.feeder.about
        return (
            f"new load.d{number} phases={_phases(load.nodes, load.conn)} "
            f"bus1={self._load_bus(load)}.{load.nodes} conn={load.conn} "
            f"model={LOAD_MODELS[load.model]} kv={rated_kv(load, self._options)} "
            f"{self._power(load, case)} "
            f"vminpu={about.load_v_min_pu} vmaxpu={about.load_v_max_pu}"
        )

    def _load_bus(self, load: Load) -> str:
        return self._middle[load.line] if load.line else self._bus[load.bus or ""]

    @staticmethod
    def _power(load: Load, case: Case) -> str:
        factor = case.factors.get(load.load, 1.0)
        return f"kw={load.kw * factor!r} kvar={load.kvar * factor!r}"

    def _unit(self, number: int, unit: Unit) -> str:
        kv = self.feeder.buses[unit.bus].base_kv_ll
        if len(unit.nodes) == 1:
            kv /= math.sqrt(3)
        nodes = ".".join(map(str, unit.nodes))
        return (
            f"new generator.u{number} phases={unit.phases} bus1={self._at(unit.bus, nodes)} "
            f"conn={'delta' if unit.delta else 'wye'} kv={kv!r} kw={unit.kw!r} pf=1 model=1 "
            f"vminpu={UNIT_V_MIN_PU} vmaxpu={UNIT_V_MAX_PU}"
        )

    def _at(self, bus: str, nodes: str) -> str:
        return f"{self._bus[bus]}.{nodes}"

    def _epri(self, epri: float | None, ieee: float) -> float:
        return epri if self._options.lengths == "epri" and epri is not None else ieee

    # -- what is where -----------------------------------------------------------------------------

    @functools.cached_property
    def nodes(self) -> list[str]:
        """The engine's names of `Feeder.nodes`."""
        return [f"{self._bus[bus]}.{node}" for bus, node in self.feeder.nodes]

    @functools.cached_property
    def branches(self) -> dict[str, list[str]]:
        """Element → the node of each conductor, "" for ground: lines, switches, transformers."""
        feeder = self.feeder
        found: dict[str, list[str]] = {}
        for number, line in enumerate(feeder.lines.values()):
            for name, start, end, _ in self._halves(number, line):
                found[f"line.{name}"] = [*_of(start, line.nodes), *_of(end, line.nodes)]
        for number, switch in enumerate(feeder.switches.values()):
            if switch.closed:
                found[f"line.s{number}"] = [
                    *_of(self._bus[switch.from_bus], switch.nodes),
                    *_of(self._bus[switch.to_bus], switch.nodes),
                ]
        for number, t in enumerate(feeder.transformers.values()):
            found[f"transformer.t{number}"] = [
                *self._winding(t.from_bus, t.nodes, t.conn_from),
                *self._winding(t.to_bus, t.nodes, t.conn_to),
            ]
        for number, r in enumerate(feeder.regulators.values()):
            found[f"transformer.r{number}"] = [
                *self._winding(r.from_bus, r.nodes, r.conn),
                *self._winding(r.to_bus, r.nodes, r.conn),
            ]
        return found

    @functools.cached_property
    def shunts(self) -> dict[str, list[str]]:
        """As `branches`: the source, capacitors and loads."""
        feeder = self.feeder
        found = {"vsource.source": [*_of(self._bus[feeder.source.bus], "1.2.3"), "", "", ""]}
        for number, capacitor in enumerate(feeder.capacitors.values()):
            nodes = _of(self._bus[capacitor.bus], capacitor.nodes)
            found[f"capacitor.k{number}"] = [*nodes, *([""] * len(nodes))]
        for number, load in enumerate(feeder.loads.values()):
            nodes = _of(self._load_bus(load), load.nodes)
            found[f"load.d{number}"] = nodes if load.conn == "delta" else [*nodes, ""]
        return found

    def units(self, units: Sequence[Unit]) -> dict[str, list[str]]:
        """As `branches`: the units."""
        found = {}
        for number, unit in enumerate(units):
            nodes = _of(self._bus[unit.bus], ".".join(map(str, unit.nodes)))
            found[f"generator.u{number}"] = nodes if unit.delta else [*nodes, ""]
        return found

    @functools.cached_property
    def measured(self) -> dict[str, tuple[str, list[str]]]:
        """What carries a current → its element, and the nodes of its first terminal."""
        feeder = self.feeder
        everything = {**self.branches, **self.shunts}
        elements = {
            SUBSTATION: ("vsource.source", 3),
            **{
                t.name: (f"transformer.t{n}", len(numbers(t.nodes)))
                for n, t in enumerate(feeder.transformers.values())
            },
            **{
                r.regulator: (f"transformer.r{n}", len(numbers(r.nodes)))
                for n, r in enumerate(feeder.regulators.values())
            },
            **{
                line.line: (f"line.l{n}", len(numbers(line.nodes)))
                for n, line in enumerate(feeder.lines.values())
            },
        }
        return {
            name: (element, everything[element][:count])
            for name, (element, count) in elements.items()
        }

    def _winding(self, bus: str, nodes: str, conn: str) -> list[str]:
        """A winding has a conductor more than phases: the neutral, or where a delta closes."""
        named = _of(self._bus[bus], nodes)
        return named if conn == "delta" and len(named) == 2 else [*named, ""]


class _Layout:
    """Where in the engine's answers the figures of a feeder are."""

    def __init__(self, words: Words, names: Sequence[str], units: Sequence[Unit]) -> None:
        row = {name: number for number, name in enumerate(names)}
        nodes_of = {**words.branches, **words.shunts, **words.units(units)}
        self._elements = list(nodes_of)
        place = {element: number for number, element in enumerate(nodes_of)}
        self._rows = [row[node] for node in words.nodes]
        # Conductors at the ground add to a row of their own, which no balance is asked of.
        ground = len(names)
        self._nodes = [row.get(node, ground) for nodes in nodes_of.values() for node in nodes]
        self._branches = len(words.branches)
        self._source = place["vsource.source"]
        first = place["load.d0"]
        self._loads = slice(first, first + len(words.feeder.loads))
        self._units = [(place[f"generator.u{n}"], unit) for n, unit in enumerate(units)]
        start = np.cumsum([0, *(len(nodes) for nodes in nodes_of.values())])
        self._starts = start[:-1]
        self._conductors = np.array(
            [
                start[place[element]] + number
                for element, nodes in words.measured.values()
                for number in range(len(nodes))
            ]
        )
        self._conductor_rows = [row[node] for _, nodes in words.measured.values() for node in nodes]
        ends = np.cumsum([len(nodes) for _, nodes in words.measured.values()]).tolist()
        self._measured = [
            (name, slice(start, end))
            for name, start, end in zip(words.measured, [0, *ends], ends, strict=False)
        ]
        self._taps = {
            name: _terminals(words.branches[f"transformer.r{number}"], row, ground)
            for number, name in enumerate(words.feeder.regulators)
        }

    def read(self, session: Session, converged: bool) -> Solved:
        """The solution that the engine has now."""
        volts = session.voltages()
        powers = session.powers(self._elements)
        every = np.concatenate(powers)
        balance = np.zeros(len(volts) + 1, np.complex128)
        np.add.at(balance, self._nodes, every)
        currents = 1e3 * np.abs(every[self._conductors] / volts[self._conductor_rows])
        sums = np.add.reduceat(every, self._starts)
        grounded = np.append(volts, 0)
        return Solved(
            converged=converged,
            voltages=volts[self._rows],
            loads=sums[self._loads],
            units=tuple(_injected(powers[first], unit) for first, unit in self._units),
            source=-complex(sums[self._source]),
            losses=complex(sums[: self._branches].sum()),
            taps={name: _tap(grounded, *ends) for name, ends in self._taps.items()},
            currents={name: currents[where] for name, where in self._measured},
            mismatch_kva=float(np.abs(balance[:-1]).max()),
        )


def _terminals(nodes: Sequence[str], row: dict[str, int], ground: int) -> list[tuple[int, int]]:
    """Of both windings of a regulator, the rows of the first conductor and of its return."""
    half = len(nodes) // 2
    delta = half == 2 and nodes[1]
    return [(row[end[0]], row[end[1]] if delta else ground) for end in (nodes[:half], nodes[half:])]


def _tap(volts: Complex, primary: tuple[int, int], secondary: tuple[int, int]) -> int:
    """Steps from neutral: what the regulator makes of its voltage, its impedance being nothing."""
    before, after = (abs(volts[one] - volts[other]) for one, other in (primary, secondary))
    ratio = after / before if before > 0 else math.nan
    return round((ratio - 1) / STEP) if math.isfinite(ratio) else 0


def _injected(power: Complex, unit: Unit) -> Complex:
    """What a unit gives at each of its nodes; in delta, equal parts of the whole."""
    count = len(unit.nodes)
    return np.full(count, -power.sum() / count) if unit.delta else -power[:count]


def _of(bus: str, nodes: str) -> list[str]:
    return [f"{bus}.{node}" for node in numbers(nodes)]


def _phases(nodes: str, conn: str) -> int:
    count = len(numbers(nodes))
    return 1 if conn == "delta" and count == 2 else count


def _linecode(name: str, matrix: Sequence[Impedance]) -> str:
    """A configuration; the engine takes lower triangles."""
    phases = sorted({entry.row_phase for entry in matrix})
    entries = {(entry.row_phase, entry.col_phase): entry for entry in matrix}

    def triangle(quantity: str) -> str:
        rows = (
            " ".join(repr(getattr(entries[row, col], quantity)) for col in phases[: number + 1])
            for number, row in enumerate(phases)
        )
        return "[" + "|".join(rows) + "]"

    return (
        f"new linecode.{name} nphases={len(phases)} units=mi "
        f"rmatrix={triangle('r_ohm_per_mile')} xmatrix={triangle('x_ohm_per_mile')} "
        f"cmatrix={triangle('c_nF_per_mile_60Hz')}"
    )


def _control(number: int, regulator: Regulator) -> str:
    """One step at a time, those upstream first; each stops at the first tap in its band."""
    r = regulator
    return (
        f"new regcontrol.r{number} transformer=r{number} winding=2 vreg={r.vreg_volts} "
        f"band={r.bandwidth_volts} ptratio={r.pt_ratio} ctprim={r.ct_primary_amps} "
        f"r={r.r_volts} x={r.x_volts} maxtapchange=1 delay={r.delay_s}"
    )
