"""OpenDSS as an engine: how we speak OpenDSS, and nothing else.

opendss_bindings      the builds of the engine, behind one session
opendss_circuit, opendss_elements, opendss_transformers
                      the network in OpenDSS' words
opendss_sources       what holds a voltage
opendss_results       the answer in result columns
opendss_controls      the engine's own controls
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import MappingProxyType

import numpy as np

import opendss_shortcircuit
from electrisim import elements as e
from electrisim.change import Changes
from electrisim.conductors import by_matrix
from electrisim.control.plan import Place, Plan, Values, with_values
from electrisim.elements import Element
from electrisim.engine import Distortion, Support
from electrisim.network import Array, Network, Rows, fault
from electrisim.phasing import partial
from electrisim.premises import single_phase
from electrisim.problems import NotConvergedError, Problem, ProblemError, shorten
from electrisim.results import Solution, Tables
from electrisim.settings import Settings
from electrisim.spectra import Spectrum
from electrisim.studies.shortcircuit import Faulted, ShortCircuit
from electrisim.sweep import Chunk, solve_each
from electrisim.topology import Topology
from opendss_bindings import Bindings
from opendss_circuit import Circuit
from opendss_controls import ROUNDS, Controls, refused_controls
from opendss_elements import translate, translate_again
from opendss_harmonics import Harmonics
from opendss_harmonics import refusals as harmonic_refusals
from opendss_results import Balanced, Flows, NodeVoltages, Unbalanced, positive_sequence
from opendss_session import EngineError, Session
from opendss_sources import Sources
from opendss_standing import edits
from opendss_sweep import sweep
from opendss_transformers import refused_in_phases

#: Largest bus mismatch where the settings say none [MVA], and iterations per solve.
TOLERANCE_MVA, ITERATIONS = 1e-6, 500
#: Change of a voltage at which the engine stops [pu]: first; by how much it is tightened while the
#: mismatches that it leaves are too large; and where it does not get there, since a node that
#: hardly anything holds to earth is never still.
ENGINE_TOLERANCE, TIGHTER, TIGHTENINGS, RESTLESS = 1e-10, 1e-2, 2, 1e-6
#: Solutions by the engine's Newton until nothing moves any more.
NEWTON_ROUNDS = 100


class OpenDSS:
    """The engine "opendss"."""

    name = "opendss"

    def __init__(self, bindings: Bindings) -> None:
        self._bindings = bindings

    @functools.cached_property
    def support(self) -> Mapping[str, Mapping[type[Element], Support]]:
        return MappingProxyType({"balanced": SUPPORT, "unbalanced": SUPPORT_3PH})

    def version(self, settings: Settings) -> Mapping[str, str]:
        return {"name": self.name, "version": self._bindings.version(settings.binding)}

    def refusals(self, network: Network, settings: Settings) -> list[Problem]:
        problems = [*_refused_settings(settings), *_refused_elements(network, settings)]
        if settings.controls:
            problems += refused_controls(network, settings)
        if settings.model == "balanced":
            problems += single_phase(network, self.name, settings.model)
        return problems

    def act(self, network: Network, topology: Topology, settings: Settings) -> tuple[Values, bool]:
        """Where the engine's own controls leave a network, and whether they found rest there."""
        plan = Plan(network, topology)
        # Banks under control are the controls' own.
        empty = {Place(*bank.place[:2], "step"): 0.0 for bank in plan.steps}
        with np.errstate(all="ignore"):
            circuit = translate(with_values(network, empty), topology, settings)
            sources = Sources(circuit)
        controls = Controls(circuit, plan)
        with self._bindings.session(settings.binding) as session:
            return OpenDSSModel(circuit, sources, session).act(controls)

    @contextmanager
    def build(
        self, network: Network, topology: Topology, settings: Settings
    ) -> Iterator[OpenDSSModel]:
        # What overflows is refused by name, or the engine's answer is not finite.
        with np.errstate(all="ignore"):
            circuit = translate(network, topology, settings)
            sources = Sources(circuit)
        with self._bindings.session(settings.binding) as session:
            yield OpenDSSModel(circuit, sources, session)


class OpenDSSModel:
    """A network as an OpenDSS circuit."""

    def __init__(self, circuit: Circuit, sources: Sources, session: Session) -> None:
        self.circuit = circuit
        self.sources = sources
        self.settings = circuit.settings
        self.session = session
        self._iterations = 0
        self._edits: list[str] | None = None
        self._voltages: NodeVoltages | None = None
        self._harmonics: Harmonics | None = None
        self.solution: Solution | None = None
        self.engine_tolerance = ENGINE_TOLERANCE

    def power_flow(self) -> Solution:
        self.solution = None
        with np.errstate(all="ignore"):
            try:
                self.solution = self._power_flow()
            except EngineError as error:
                raise self._refusal(error) from error
        return self.solution

    @property
    def tolerance(self) -> float:
        """The largest mismatch at a bus [MVA]."""
        return self.settings.tolerance or TOLERANCE_MVA

    @property
    def solver(self) -> str:
        return f"{self.settings.algorithm or 'normal'} (OpenDSS)"

    def turn_into(self, network: Network, kinds: Sequence[type[Element]]) -> None:
        """Take the powers of some kinds from a network; the next power flow starts from here."""
        circuit, part = translate_again(self.circuit, network, kinds)
        self._edits, self.circuit = edits(self.circuit, part), circuit

    def sweep(self, changes: Changes) -> Iterator[Chunk]:
        with np.errstate(all="ignore"):
            yield from sweep(self, changes)

    def each(self, changes: Changes, cases: Iterable[int], note: str) -> Iterator[Chunk]:
        """Build and solve cases one after the other, in this model's session."""

        @contextmanager
        def build(network: Network, topology: Topology) -> Iterator[OpenDSSModel]:
            yield self.anew(network, topology)

        return solve_each(build, self.circuit.network, self.settings, changes, cases, note)

    def anew(self, network: Network, topology: Topology) -> OpenDSSModel:
        """The model of a network in this one's session, which forgets this one's circuit."""
        self.session.clear()
        circuit = translate(network, topology, self.settings)
        return OpenDSSModel(circuit, Sources(circuit), self.session)

    def short_circuit(self, settings: ShortCircuit, buses: Array) -> Faulted:
        with np.errstate(all="ignore"):
            try:
                return opendss_shortcircuit.solve(self.circuit, self.session, settings, buses)
            except EngineError as error:
                raise self._refusal(error) from error

    def harmonics(
        self,
        spectra: Mapping[type[Element], Sequence[Spectrum]],
        orders: Sequence[float],
        neglect_load_y: bool = False,
    ) -> Distortion:
        script = self.script()
        with np.errstate(all="ignore"):
            self._harmonics = Harmonics(
                self.circuit, self.sources, self.session, spectra, neglect_load_y
            )
            return self._harmonics.distortion(orders, script)

    def scan(self, bus: int, orders: Sequence[float]) -> Array:
        assert self._harmonics is not None  # harmonics() came first
        return self._harmonics.scan(bus, orders)

    def _power_flow(self) -> Solution:
        self._iterations, self.engine_tolerance = 0, ENGINE_TOLERANCE
        if self._edits is None:
            self.run(
                [*self._preamble(), *self.sources.commands(), *self._elements(), *self._options()]
            )
            self._start()
        else:
            # Edited powers leave the nodes and their order as they are.
            self.session.run(self._edits)
        return self._settled()

    def _settled(self) -> Solution:
        """The solution that the circuit, as it is set up, has from where it is."""
        tolerance = self.tolerance
        for _ in range(1 + TIGHTENINGS):
            self.session.run([f"set tolerance={self.engine_tolerance!r}"])
            self.sources.settle(self, tolerance)
            flows = Flows(self.circuit, self.sources, self.session)
            if (mismatch := self._mismatch(flows)) <= tolerance:
                return Solution(
                    tables=self._tables(flows),
                    iterations=self._iterations,
                    solver=self.solver,
                    warnings=_idle_settings(self.settings),
                )
            self.engine_tolerance *= TIGHTER
        raise NotConvergedError(
            f"OpenDSS leaves a mismatch of {mismatch:.3g} MVA, more than the tolerance of "
            f"{tolerance:g} MVA."
        )

    def act(self, controls: Controls) -> tuple[Values, bool]:
        """Solve without the controls, then with them; see `OpenDSS.act`."""
        tolerance = self.settings.tolerance or TOLERANCE_MVA
        with np.errstate(all="ignore"):
            try:
                self.run([
                    *self._preamble(), *self.sources.commands(), *self._elements(),
                    *controls.commands, *self._options(), "set controlmode=off",
                    f"set maxcontroliter={ROUNDS}",
                ])  # fmt: skip
                self._start()
                self.run([f"set tolerance={ENGINE_TOLERANCE!r}"])
                self.sources.settle(self, tolerance)
                self.run([f"set controlmode={self.settings.control_mode}"])
                rests = self._once()
                if rests:
                    self.sources.settle(self, tolerance)
                return controls.read(self.session), rests
            except EngineError as error:
                raise self._refusal(error) from error

    def _refusal(self, error: EngineError) -> ProblemError:
        """The engine refused a command or found no numbers: whose element it was, if any's."""
        for part in self.circuit.parts:
            if part.kind is not None and error.command in part.commands:
                rows = self.circuit.network.rows(part.kind)
                row = int(part.rows[part.commands.index(error.command)])
                text = "has values that OpenDSS does not take"
                return ProblemError([fault(rows, row, None, "out-of-bounds", text)])
        return NotConvergedError("OpenDSS found no numbers for this network.")

    # -- what turning angles needs (opendss_sources.Solver) ----------------------------------------

    def solve(self) -> bool:
        converged = self._once()
        if not converged:
            self.run([f"set tolerance={RESTLESS!r}"])
            converged = self._once()
        if self.settings.algorithm == "newton":
            converged = converged and self._comes_to_rest()
        if self._voltages is None:
            self._voltages = NodeVoltages(self.circuit, self.session)
        return converged and bool(np.isfinite(self.session.voltages()).all())

    def _once(self) -> bool:
        solved = self.session.solve()
        self._iterations += solved.iterations
        return solved.converged

    def _comes_to_rest(self) -> bool:
        """The engine's Newton stops when magnitudes rest, after two steps if angles still move."""
        for _ in range(NEWTON_ROUNDS):
            before = self.session.voltages()
            if not self._once():
                return False
            after = self.session.voltages()
            scale = np.maximum(np.abs(after), 1e-3 * np.abs(after).max())
            if (np.abs(after - before) <= ENGINE_TOLERANCE * scale).all():
                return True
        return False

    def voltages(self) -> Array:
        return np.asarray(np.sqrt(3) * positive_sequence(self._phases_kv()))

    def node_voltages(self, volts: Array) -> Array:
        """Voltages of the engine's nodes [V], shape (n, …), as `voltages` has them: (n, nodes)."""
        if self._voltages is None:
            self._voltages = NodeVoltages(self.circuit, self.session)
        return np.asarray(np.sqrt(3) * positive_sequence(self._voltages.of(volts)))

    def _phases_kv(self) -> Array:
        assert self._voltages is not None  # solve() came first
        return self._voltages.phases_kv()

    def delivered(self, elements: Sequence[str]) -> Array:
        powers = self.session.powers(elements)
        return np.array([-power[:3].sum() for power in powers], dtype=complex) / 1e3

    def run(self, commands: Sequence[str]) -> None:
        self.session.run(commands)
        self._voltages = None

    def set_sources(self, names: Sequence[str], pu: Array, degree: Array) -> None:
        self.session.set_magnitudes(names, pu.tolist())
        self.session.set_angles(names, degree.tolist())

    # -- commands ----------------------------------------------------------------------------------

    def _preamble(self) -> list[str]:
        return [f"set defaultbasefrequency={self.circuit.network.frequency_hz!r}"]

    def _elements(self) -> list[str]:
        return [command for part in self.circuit.parts for command in part.commands]

    def _options(self) -> list[str]:
        settings = self.settings
        return [
            f"set algorithm={settings.algorithm or 'normal'}",
            f"set maxiterations={settings.max_iteration or ITERATIONS}",
            f"set controlmode={settings.control_mode}",
            "makebuslist",
            *self.circuit.voltage_bases(),
        ]

    def _start(self) -> None:
        """Solve with all loads as impedances first: of several solutions, that leads to the upper.

        From no load, constant power may land on another (measured on MATPOWER's case39).
        """
        self.run(["set loadmodel=admittance", f"set tolerance={ENGINE_TOLERANCE!r}"])
        self.sources.approach(self)
        if self.settings.load_model == "powerflow":
            self.run(["set loadmodel=powerflow"])

    def _mismatch(self, flows: Flows) -> float:
        """The largest sum of powers at a node, of one phase where they differ [MVA]."""
        left = flows.left if self.circuit.unbalanced else flows.left.sum(axis=1)
        return float(np.abs(left).max(initial=0))

    def _tables(self, flows: Flows) -> Tables:
        if not self.circuit.unbalanced:
            mva = {kind: flow.sum(axis=2) for kind, flow in flows.mva.items()}
            return Balanced(self.circuit, self.voltages(), mva, flows.drawn.sum(axis=1)).tables()
        return Unbalanced(self.circuit, self._phases_kv(), flows).tables()

    def script(self) -> str:
        """A text that OpenDSS runs on its own; it ends in the state that was found."""
        settings = self.settings
        lines = [
            "! Run by OpenDSS on its own. Names are by kind and row; comments tell whose they are.",
            "clear",
            *self._preamble(),
            *self._source_lines(),
            *self._element_lines(),
            *self._options(),
            f"set tolerance={ENGINE_TOLERANCE!r}",
            "set loadmodel=admittance",
            "solve",
        ]
        if settings.load_model == "powerflow":
            lines += ["set loadmodel=powerflow", "solve"]
        return "\n".join(lines) + "\n"

    def _source_lines(self) -> list[str]:
        lines = [
            "! Sources, set to what meets the set-points behind a reactance of almost nothing."
        ]
        for claim in self.sources.claims:
            nodes = self.circuit.names(claim.node)
            rows = self.circuit.network.rows(claim.kind)
            lines += [
                f"! at {node}: {_told(rows.label(row), rows.ids[row])}"
                for node, row in zip(nodes, claim.row.tolist(), strict=True)
            ]
        return [*lines, *self.sources.commands()]

    def _element_lines(self) -> list[str]:
        lines = []
        buses = self.circuit.network.rows(e.Bus)
        lines += [
            f"! {self.circuit.nodes[node]}: {_told(buses.label(row), buses.ids[row])}"
            for row, node in enumerate(self.circuit.node.tolist())
        ]
        for part in self.circuit.parts:
            if part.kind is None:
                lines += part.commands
                continue
            rows = self.circuit.network.rows(part.kind)
            for row, command in zip(part.rows.tolist(), part.commands, strict=True):
                lines += [f"! {_told(rows.label(row), rows.ids[row])}", command]
        return lines


def _told(label: str, id_: str) -> str:
    return f"{label} ({shorten(id_)})"


# -- what is taken and what is not -----------------------------------------------------------------


def _refused_settings(settings: Settings) -> list[Problem]:
    foreign = {
        "algorithm": settings.algorithm not in (None, "normal", "newton"),
        "init": settings.init != "auto",
        "calculate_voltage_angles": settings.calculate_voltage_angles is not True,
        "distributed_slack": settings.distributed_slack,
        "mode": settings.linear,
        "solution_mode": settings.solution_mode != "snapshot" and not settings.steps,
        "enforce_q_lims": settings.enforce_q_lims and settings.model == "unbalanced",
    }
    return [
        Problem(
            kind="unsupported",
            message=f"OpenDSS does not take {name} “{getattr(settings, name)}”: {_WHY[name]}.",
            field=name,
        )
        for name, given in foreign.items()
        if given
    ]


_WHY = {
    "algorithm": "it has normal (fixed point) and newton",
    "init": "it starts from its own solution without load",
    "calculate_voltage_angles": "phase shifts and angles of sources always count",
    "distributed_slack": "what holds an angle balances its island; pandapower can share it",
    "mode": "it has no linearised power flow; pandapower has",
    "solution_mode": "only a power flow goes through steps",
    "enforce_q_lims": "in three unequal phases a generator holds its voltage whatever it takes",
}


def _idle_settings(settings: Settings) -> tuple[str, ...]:
    if settings.controls or settings.control_mode in ("static", "off"):
        return ()
    return (
        f"control_mode “{settings.control_mode}” changes nothing here: a snapshot has no time and "
        "this circuit no controls.",
    )


_SHORT_CIRCUIT = ("s_sc_max_mva", "rx_max", "r0x0_max", "x0x_max")
_ZERO_SEQUENCE = ("r0_ohm_per_km", "x0_ohm_per_km", "c0_nf_per_km")


def _refused_elements(network: Network, settings: Settings) -> Iterator[Problem]:
    grids = network.rows(e.ExternalGrid)
    if settings.source_impedance:
        why = "for its impedance (setting source_impedance)"
        yield from _missing(grids, _SHORT_CIRCUIT, why, ~partial(grids))
        for row in np.flatnonzero(partial(grids)):
            text = "holds one phase, for which no short-circuit impedance counts"
            yield fault(grids, int(row), "phases", "unsupported", text)
    if settings.harmonic:
        why = "for its impedance to harmonics"
        yield from _missing(grids, _SHORT_CIRCUIT[:2], why, ~partial(grids))
        yield from harmonic_refusals(network)
    if settings.model == "unbalanced":
        lines = network.rows(e.Line)
        told = by_matrix(lines)
        yield from _missing(lines, _ZERO_SEQUENCE, "in three unequal phases", ~told)
        yield from refused_in_phases(network, settings)
        warm = settings.consider_line_temperature
        celsius = lines.column("temperature_degree_celsius")
        for row in np.flatnonzero(told & ~np.isnan(celsius)) if warm else ():
            text = "has its impedance by conductor, of which the part that warms is not known"
            yield fault(lines, int(row), "temperature_degree_celsius", "unsupported", text)


def _missing(rows: Rows, names: Sequence[str], why: str, of: Array) -> Iterator[Problem]:
    """Fields that elements in service need and lack."""
    for name in names if len(rows) else ():
        for row in np.flatnonzero(of & rows.column("in_service") & np.isnan(rows.column(name))):
            text = f"needs {name} {why}"
            yield fault(rows, int(row), name, "missing-parameter", text)


def _unsupported(note: str) -> Support:
    return Support("unsupported", note)


_NO_DC = _unsupported("OpenDSS has no DC networks")
_NO_FACTS = _unsupported("OpenDSS has no such controlled element in steady state")

SUPPORT: Mapping[type[Element], Support] = MappingProxyType(
    {
        e.Bus: Support("translated", "Three nodes; ideal closed switches join buses to one."),
        e.ExternalGrid: Support("translated", "Vsource behind almost no impedance."),
        e.Generator: Support(
            "translated", "Vsource whose angle is turned until the active power is met."
        ),
        e.StaticGenerator: Support("translated", "Generator of constant power."),
        e.AsymmetricStaticGenerator: Support("translated", "Generator with the sum of the phases."),
        e.Load: Support("translated", "Load, model 1 or 8 (ZIPV), an impedance at no voltage."),
        e.AsymmetricLoad: Support("translated", "Load with the sum of the phases."),
        e.Line: Support("translated", "Line; leakage as Reactors."),
        e.Transformer: Support(
            "translated",
            "Transformer with its taps and winding connection; magnetising as Reactors.",
        ),
        e.ThreeWindingTransformer: Support("translated", "A star of three Transformers."),
        e.ShuntReactor: Support("translated", "Reactor."),
        e.Capacitor: Support("translated", "Capacitor; with losses a Reactor."),
        e.Shunt: Support("translated", "Capacitor or Reactor."),
        e.Impedance: Support("translated", "Reactors between turned phases."),
        e.Ward: Support("translated", "Load and Reactor."),
        e.ExtendedWard: Support("translated", "Load, Reactors and a Vsource that gives no power."),
        e.Motor: Support("translated", "Load of constant power."),
        e.SVC: _NO_FACTS,
        e.TCSC: _NO_FACTS,
        e.SSC: _NO_FACTS,
        e.Storage: Support("translated", "Storage without losses of its own."),
        e.PVSystem: Support("translated", "PVSystem with its curves."),
        e.Switch: Support(
            "translated", "Joined nodes or detached ends; with an impedance a Reactor."
        ),
        e.DCLine: Support("translated", "Two Vsources, as two Generators."),
        e.DCBus: _NO_DC,
        e.LineDC: _NO_DC,
        e.LoadDC: _NO_DC,
        e.SourceDC: _NO_DC,
        e.VSC: _NO_DC,
        e.B2BVSC: _NO_DC,
        e.BipolarVSC: _NO_DC,
    }
)

_BALANCED_ONLY = _unsupported("only the positive sequence of its equivalent circuit is known")

SUPPORT_3PH: Mapping[type[Element], Support] = MappingProxyType(
    {
        **SUPPORT,
        e.Generator: Support(
            "translated", "Vsource that holds the positive sequence and leaves the others alone."
        ),
        e.AsymmetricStaticGenerator: Support("translated", "A Generator per phase or branch."),
        e.Load: Support("translated", "Load in wye or delta, model 1 or 8 (ZIPV)."),
        e.AsymmetricLoad: Support("translated", "A Load per phase or branch."),
        e.Line: Support(
            "translated", "Line with its zero sequence, or of its matrices; leakage as Reactors."
        ),
        e.Transformer: Support(
            "translated",
            "Transformer of its vector group (Y, YN, D), star points and core included; of one "
            "phase, also centre-tapped, between what its windings lie.",
        ),
        e.Switch: Support(
            "translated",
            "Joined nodes or detached ends; with an impedance, or with fewer poles, a Reactor.",
        ),
        e.ThreeWindingTransformer: _BALANCED_ONLY,
        e.Impedance: _BALANCED_ONLY,
        e.ExtendedWard: _BALANCED_ONLY,
        e.DCLine: _BALANCED_ONLY,
    }
)
