"""Short circuit: the currents of faults, by IEC 60909 or as a fault study.

On pandapower the standard's equivalent voltage source drives every fault; loads, line capacitances
and shunts do not count, sources have the standard's correction factors. On OpenDSS the voltages
that the network has without load drive it, in three phases where they differ, without factors.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Annotated, Any, ClassVar, Literal, NamedTuple

import msgspec
import numpy as np

from electrisim import elements as e
from electrisim import sources
from electrisim.conductors import by_matrix
from electrisim.elements import Element
from electrisim.engine import Engines, ShortCircuiting
from electrisim.fields import quantity, says
from electrisim.network import Array, Network, Rows, fault
from electrisim.phasing import any_partial
from electrisim.problems import NotConvergedError, Problem, ProblemError, nearest, shorten
from electrisim.results import Answer, FaultCertificate, Tables
from electrisim.settings import Settings
from electrisim.studies.powerflow import PowerFlow, idle
from electrisim.topology import Topology


class ShortCircuit(Settings, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Settings of a short-circuit study."""

    name: ClassVar[str] = "shortcircuit"

    fault: Annotated[
        Literal["3ph", "2ph", "2ph_ground", "1ph"],
        says(
            "Three-phase; two-phase without earth; two-phase to earth (OpenDSS); single-phase to "
            "earth."
        ),
    ] = "3ph"
    case: Annotated[
        Literal["max", "min"],
        says("Largest currents, or smallest: without motors and converters, lines warm."),
    ] = "max"
    bus: (
        Annotated[
            str | list[str],
            says(
                "The bus with the fault, or several of them, one after the other; absent, every "
                "supplied bus. Where buses are named, `faults` tells what each element brings."
            ),
        ]
        | None
    ) = None
    lv_tol_percent: Annotated[
        float,
        quantity("%", "Voltage tolerance of low-voltage networks, 6 or 10; c depends on it."),
    ] = 10.0
    topology: Annotated[
        Literal["auto", "meshed", "radial"],
        says("How κ is found: radial from R/X at the fault, else by kappa_method."),
    ] = "auto"
    kappa_method: Annotated[
        Literal["B", "C"],
        says("C: equivalent frequency. B: R/X at the fault, times 1.15 where the net is meshed."),
    ] = "C"
    tk_s: Annotated[float, quantity("s", "Duration, for the thermal equivalent.", gt=0)] = 1.0
    t_min_s: (
        Annotated[float, quantity("s", "Minimum time delay, for ib_ka; tk_s where absent.", ge=0)]
        | None
    ) = None
    r_fault_ohm: Annotated[
        float, quantity("Ω", "Resistance of the fault, in every phase of it.", ge=0)
    ] = 0.0
    x_fault_ohm: Annotated[
        float, quantity("Ω", "Reactance of the fault, in every phase of it.", ge=0)
    ] = 0.0
    inverse_y: Annotated[
        bool, says("The whole inverse of the admittance matrix, instead of its factors.")
    ] = False

    @property
    def earthed(self) -> bool:
        """Whether the zero sequence matters."""
        return self.fault in ("1ph", "2ph_ground")

    def flow(self, network: Network) -> PowerFlow:
        """The settings under which the engine builds the network.

        IEC 60909 takes one phase for three; a fault study has three where they differ.
        """
        shared = {name: getattr(self, name) for name in Settings.__struct_fields__}
        by_phase = self.solver == "opendss" and (self.earthed or _has_phases(network))
        return PowerFlow(mode="unbalanced" if by_phase else "ac", **shared)


# -- what an engine finds --------------------------------------------------------------------------


class Partial(msgspec.Struct, frozen=True, gc=False):
    """What an element that ends at the faulted bus brings; the phasors add up to the fault's.

    side  the end of a branch that is at the bus
    """

    element: str
    name: str | None
    typ: str
    side: str | None
    ikss_ka: float
    ikss_degree: float


class SourceCurrent(msgspec.Struct, frozen=True, gc=False):
    """What flows out of a source at its own terminals, and what is left of it at t_min_s."""

    element: str
    name: str | None
    typ: str
    ikss_ka: float
    mu: float | None
    q: float | None


class Fault(msgspec.Struct, frozen=True, gc=False):
    """A fault at a bus that was named."""

    bus: str
    name: str | None
    c: float
    kappa: float
    m: float
    ikss_ka: float
    contributions: list[Partial]
    sources: list[SourceCurrent]


SHAPES = (Fault, FaultCertificate)


class Faulted(NamedTuple):
    """The currents of all faults that were asked for.

    tables        result columns
    faults        the faults at buses that were named
    factors       element id → name of a factor → its value
    mismatch_ka   what Kirchhoff's first law leaves, the largest of all nodes, or by how much the
                  current differs by another way, per bus; shape (n,), NaN where it was not tried
    solver        what solved it, in words
    warnings      what a reader of the numbers should know
    """

    tables: Tables
    faults: Sequence[Fault]
    factors: Mapping[str, Mapping[str, float]]
    mismatch_ka: Array
    solver: str
    warnings: tuple[str, ...] = ()


# -- the study -------------------------------------------------------------------------------------

#: What carries or feeds a short-circuit current.
KINDS = (
    e.Bus, e.ExternalGrid, e.Generator, e.StaticGenerator, e.Motor, e.Line, e.Transformer,
    e.ThreeWindingTransformer, e.Impedance, e.Ward, e.ExtendedWard, e.Switch,
)  # fmt: skip
#: What delivers or regulates behind power electronics, without data of its short-circuit current.
SILENT = (
    e.AsymmetricStaticGenerator, e.PVSystem, e.Storage, e.SVC, e.SSC, e.DCLine, e.VSC, e.B2BVSC,
    e.BipolarVSC,
)  # fmt: skip
#: A current that Kirchhoff's law misses by more than this share of the fault's is no answer.
TOLERANCE = 1e-6


def run(network: Network, settings: ShortCircuit, engines: Engines) -> Answer:
    """Solve the faults and check their currents.

    Raises ProblemError and NotConvergedError.
    """
    feeding = _feeding(network)
    problems = [*_refused(settings), *_refused_elements(network)]
    flow = settings.flow(feeding)
    engine = engines.admit(feeding, flow)
    topology = Topology(feeding)
    buses, unknown = faulted(feeding, topology, settings)
    problems += [*unknown, *faults(feeding, topology, settings)]
    if not topology.bus.any():
        problems = [_no_source(network)]
    if problems:
        raise ProblemError(problems)
    with engine.build(feeding, topology, flow) as model:
        if not isinstance(model, ShortCircuiting):
            message = f"{engine.name} has no short-circuit study; pandapower has."
            problem = Problem(kind="unsupported", message=message, field="solver")
            raise ProblemError([problem], kind="unsupported")
        found = model.short_circuit(settings, buses)
    certificate = _certify(feeding, found, buses)
    beside: dict[str, Any] = {"factors": found.factors} if found.factors else {}
    return Answer(
        tables=found.tables,
        iterations=None,
        warnings=(
            *network.warnings, *found.warnings, *_silent(network), *idle(feeding, topology)
        ),
        certificate=certificate,
        engine={**engine.version(flow), "solver": found.solver},
        beside={**beside, "faults": found.faults} if found.faults else beside,
    )  # fmt: skip


def _has_phases(network: Network) -> bool:
    """Whether something has fewer phases than three, or three of its own."""
    lines = network.rows(e.Line)
    few = any(any_partial(network.rows(kind)) for kind in network.kinds)
    return few or bool(len(lines) and by_matrix(lines).any())


def _feeding(network: Network) -> Network:
    """The network of what carries or feeds a short-circuit current; every generator feeds it."""
    entries = []
    for kind in KINDS:
        rows = network.rows(kind)
        elements = rows.elements
        if kind is e.Generator:
            elements = [msgspec.structs.replace(one, slack=True) for one in elements]
        entries += list(zip(rows.ids, rows.names, elements, strict=True))
    return Network(entries, network.frequency_hz)


def faulted(
    network: Network, topology: Topology, settings: ShortCircuit
) -> tuple[Array, list[Problem]]:
    """The rows of the buses with a fault, and what is wrong with those that were named."""
    rows = network.rows(e.Bus)
    if settings.bus is None:
        return np.flatnonzero(topology.bus), []
    named = [settings.bus] if isinstance(settings.bus, str) else settings.bus
    found: list[int] = []
    problems: list[Problem] = []
    if not named:
        message = "The setting bus is an empty list; leave it out for a fault at every bus."
        problems.append(Problem(kind="missing-setting", message=message, field="bus"))
    for name in named:
        row = _row_of(rows, name)
        if isinstance(row, Problem):
            problems.append(row)
        elif not topology.bus[row]:
            text = "has no supply, so that a fault there has no current"
            problems.append(fault(rows, row, "bus", "not-supplied", text))
        else:
            found.append(row)
    return np.unique(np.array(found, dtype=np.int64)), problems


def _row_of(rows: Rows, name: str) -> int | Problem:
    """The bus with this id, or with this name where no other bears it."""
    if name in rows.position:
        return rows.position[name]
    bearers = [row for row, own in enumerate(rows.names) if own == name]
    if len(bearers) == 1:
        return bearers[0]
    if bearers:
        message = f"Several buses bear the name “{shorten(name)}”; use an id."
        return Problem(kind="ambiguous-name", message=message, field="bus")
    message = f"The network has no bus “{shorten(name)}”.{nearest(name, rows.ids[:2000])}"
    return Problem(kind="unknown-bus", message=message, field="bus")


def _certify(network: Network, found: Faulted, asked: Array) -> FaultCertificate:
    """The one judge of fault currents: Kirchhoff's first law, or the same fault by another way.

    Raises NotConvergedError.
    """
    buses = network.rows(e.Bus)
    ikss_ka, missed = found.tables[e.Bus]["ikss_ka"], found.mismatch_ka
    bad = missed > TOLERANCE * np.maximum(ikss_ka, 1e-3)
    bad[asked] |= np.isinf(ikss_ka[asked]) | np.isinf(missed[asked])
    if bad.any():
        row = int(np.flatnonzero(bad)[0])
        raise NotConvergedError(
            f"The fault at {buses.label(row)} has no solution that Kirchhoff's law confirms: "
            "some impedance of the network is too small or too large to be told from the others.",
            element=buses.ids[row], name=buses.names[row],
        )  # fmt: skip
    if np.isnan(missed).all():
        message = "No fault has a current that could be confirmed."
        raise NotConvergedError(message)
    worst = int(np.nanargmax(missed))
    return FaultCertificate(
        max_current_mismatch_ka=float(missed[worst]), max_current_mismatch_bus=buses.ids[worst]
    )


# -- what cannot be answered -----------------------------------------------------------------------

#: Settings of a power flow that say nothing to a short circuit.
_IDLE = (
    "algorithm", "tolerance", "max_iteration", "init", "calculate_voltage_angles", "trafo_model",
    "trafo_loading", "enforce_q_lims", "distributed_slack", "voltage_depend_loads",
    "consider_line_temperature", "source_impedance", "solution_mode", "load_model", "control_mode",
    "export_script",
)  # fmt: skip


#: Settings of the standard that a fault study does not have.
_OF_THE_STANDARD = (
    "case", "lv_tol_percent", "topology", "kappa_method", "t_min_s", "inverse_y",
)  # fmt: skip


def _refused(settings: ShortCircuit) -> Iterator[Problem]:
    usual = ShortCircuit()
    if settings.solver == "opendss":
        for name in _OF_THE_STANDARD:
            if getattr(settings, name) != getattr(usual, name):
                message = f"The setting {name} is IEC 60909's, which pandapower answers by."
                yield Problem(kind="unsupported", message=message, field=name)
    elif settings.fault == "2ph_ground":
        message = "The fault 2ph_ground is not for pandapower; OpenDSS has it."
        yield Problem(kind="unsupported", message=message, field="fault")
    for name in _IDLE:
        if getattr(settings, name) != getattr(usual, name):
            message = f"The setting {name} has no meaning in a short circuit; leave it out."
            yield Problem(kind="unsupported", message=message, field=name)
    if settings.lv_tol_percent not in (6, 10):
        message = (
            "The setting lv_tol_percent must be 6 or 10 [%], the tolerances of IEC 60909, "
            f"not “{settings.lv_tol_percent:g}”."
        )
        yield Problem(kind="unknown-value", message=message, field="lv_tol_percent")
    if settings.frequency not in (50, 60) and settings.solver == "pandapower":
        message = f"IEC 60909 is for 50 and 60 Hz; frequency is {settings.frequency:g} Hz."
        yield Problem(kind="unsupported", message=message, field="frequency")


def _refused_elements(network: Network) -> Iterator[Problem]:
    rows = network.rows(e.TCSC)
    for row in np.flatnonzero(rows.column("in_service")).tolist():
        text = "has no model in a short circuit; draw it as an Impedance, or take it out of service"
        yield fault(rows, row, None, "unsupported", text)


def _no_source(network: Network) -> Problem:
    hint = "Connect an External Grid or a Generator that is in service."
    return Problem(kind="no-source", message=f"Nothing feeds a short circuit. {hint}")


def _silent(network: Network) -> list[str]:
    """A warning that names what does not contribute although it delivers or regulates."""
    found = []
    for kind in SILENT:
        rows = network.rows(kind)
        found += [rows.label(row) for row in np.flatnonzero(rows.column("in_service")).tolist()]
    rows = network.rows(e.StaticGenerator)
    for row, element in enumerate(rows.elements):
        if element.in_service and sources.sort_of(element) is None:
            found.append(rows.label(row))
    if not found:
        return []
    return [
        f"Without a short-circuit current of their own, and so not counted: {', '.join(found)}."
    ]


# -- what the standard needs -----------------------------------------------------------------------


def faults(network: Network, topology: Topology, settings: ShortCircuit) -> Iterator[Problem]:
    """Every number that the standard needs and that is missing, by element and field."""
    zero, standard = settings.earthed, settings.solver == "pandapower"
    case = settings.case if standard else "max"
    yield from sources.faults(network, topology, case, zero, factors=standard)
    if not standard:
        return
    for kind, names in _branch_fields(settings).items():
        rows = network.rows(kind)
        for name in names:
            yield from _lacking(rows, name, topology.alive(kind))
    yield from _units(network, topology)
    if zero:
        yield from _without_impedance(network, topology)
        yield from _transformers(network, topology)
        yield from _transformers3w(network, topology)


def _branch_fields(settings: ShortCircuit) -> Mapping[type[Element], tuple[str, ...]]:
    lines = ("endtemp_degree",) if settings.case == "min" else ()
    if not settings.earthed:
        return {e.Line: lines}
    return {
        e.Line: (*lines, "r0_ohm_per_km", "x0_ohm_per_km", "c0_nf_per_km"),
        e.Impedance: ("rft0_pu", "xft0_pu"),
    }


def _without_impedance(network: Network, topology: Topology) -> Iterator[Problem]:
    """Branches whose zero sequence is given as nothing."""
    for kind, r, x in (
        (e.Line, "r0_ohm_per_km", "x0_ohm_per_km"),
        (e.Impedance, "rft0_pu", "xft0_pu"),
    ):
        rows = network.rows(kind)
        nothing = (rows.column(r) == 0) & (rows.column(x) == 0) & topology.alive(kind)
        text = f"has no impedance in the zero sequence ({r} and {x} are 0)"
        for row in np.flatnonzero(nothing).tolist():
            yield fault(rows, row, x, "no-impedance", text)


def _lacking(rows: Rows, name: str, where: Array) -> Iterator[Problem]:
    meaning = e.FIELDS[rows.kind][name].meaning.rstrip(".")
    text = f"needs {name} for this short circuit: {meaning}"
    missing = np.isnan(rows.column(name)) if len(rows) else np.zeros(0, dtype=bool)
    for row in np.flatnonzero(missing & where).tolist():
        yield fault(rows, row, name, "missing-parameter", text)


def _units(network: Network, topology: Topology) -> Iterator[Problem]:
    """A unit's transformer ends, with its low-voltage side, at the generator's bus."""
    rows, transformers = network.rows(e.Generator), network.rows(e.Transformer)
    if not len(rows):
        return
    taken: dict[int, str] = {}
    node = topology.node
    for row, unit in enumerate(rows.at["power_station_trafo"].tolist()):
        if unit < 0:
            continue
        if node[transformers.at["lv_bus"][unit]] != node[rows.at["bus"][row]]:
            text = f"is not at the low-voltage side of its {transformers.label(unit)}"
            yield fault(rows, row, "power_station_trafo", "contradiction", text)
        if unit in taken:
            text = f"shares its {transformers.label(unit)} with {taken[unit]}; a unit has one each"
            yield fault(rows, row, "power_station_trafo", "contradiction", text)
        taken[unit] = rows.label(row)


#: Vector group → the fields that its zero sequence needs; those of the first row carry none.
_LEAKAGE = ("vk0_percent", "vkr0_percent")
_CORE = (*_LEAKAGE, "mag0_percent", "mag0_rx")
ZERO_SEQUENCE: Mapping[str, tuple[str, ...]] = MappingProxyType({
    **dict.fromkeys(("yy", "yd", "dy", "dd"), ()),
    **dict.fromkeys(("dyn", "ynd"), _LEAKAGE),
    **dict.fromkeys(("yyn", "yny"), _CORE),
    **dict.fromkeys(("ynyn", "yzn", "znyn"), (*_CORE, "si0_hv_partial")),
    **dict.fromkeys(("znd", "zny", "zd"), (*_LEAKAGE, "si0_hv_partial")),
})  # fmt: skip
#: Vector groups of three windings whose zero sequence is known, without clock numbers.
ZERO_SEQUENCE_3W = (
    *(a + b + c for a in "dy" for b in "dy" for c in "dy"),
    "ynyd", "yndy", "yynd", "ydyn", "ynynd", "yndyn", "yndd", "ynyy", "dynyn",
)  # fmt: skip


def zero_sequence_fields(transformer: e.Transformer) -> tuple[str, ...]:
    """The fields that the zero sequence of a transformer's vector group needs."""
    return ZERO_SEQUENCE.get(_bare(transformer.vector_group), ())


def _transformers(network: Network, topology: Topology) -> Iterator[Problem]:
    rows = network.rows(e.Transformer)
    alive = topology.alive(e.Transformer)
    for row, group in enumerate(rows.values("vector_group")):
        if not alive[row]:
            continue
        bare = _bare(group)
        if bare not in ZERO_SEQUENCE:
            yield _wrong_group(rows, row, group)
            continue
        for name in ZERO_SEQUENCE[bare]:
            only = np.arange(len(rows)) == row
            yield from _lacking(rows, name, only)
        for name in _LEAKAGE[: len(ZERO_SEQUENCE[bare])]:
            if getattr(rows.elements[row], name) == 0:
                # pandapower takes a zero for "not given" and the positive sequence instead.
                text = f"must have a {name} other than 0"
                yield fault(rows, row, name, "out-of-bounds", text)


def _transformers3w(network: Network, topology: Topology) -> Iterator[Problem]:
    rows = network.rows(e.ThreeWindingTransformer)
    alive = topology.alive(e.ThreeWindingTransformer)
    for row, group in enumerate(rows.values("vector_group")):
        if alive[row] and _bare(group) not in ZERO_SEQUENCE_3W:
            yield _wrong_group(rows, row, group)
    for part in ("vk0", "vkr0"):
        for side in ("hv", "mv", "lv"):
            yield from _lacking(rows, f"{part}_{side}_percent", alive)


def _bare(group: str | None) -> str:
    return "".join(c for c in group or "" if not c.isdigit()).lower()


def _wrong_group(rows: Rows, row: int, group: str | None) -> Problem:
    if group is None:
        text = "needs vector_group for its zero sequence"
        return fault(rows, row, "vector_group", "missing-parameter", text)
    text = f"has the vector group {shorten(group)}, whose zero sequence is not known here"
    return fault(rows, row, "vector_group", "unsupported", text)


# -- result columns --------------------------------------------------------------------------------

_FACTORED = {"ip_ka": "peak current", "ith_ka": "thermal equivalent of tk_s"}
_OWN = {
    "ikss_ka": "initial current out of its terminals, of all faults the largest (min: smallest)"
}
#: Columns of the study, with what they tell.
COLUMNS: Mapping[type[Element], Mapping[str, str]] = MappingProxyType({
    e.Bus: {
        "ikss_ka": "initial symmetrical current of the fault there",
        "ip_ka": "peak current",
        "ith_ka": "thermal equivalent current of tk_s",
        "ib_ka": "symmetrical breaking current at t_min_s",
        "skss_mw": "initial short-circuit power, in MVA",
        "rk_ohm": "resistance at the fault, its own included",
        "xk_ohm": "reactance at the fault, its own included",
        "rk0_ohm": "the same of the zero sequence, for a fault to earth",
        "xk0_ohm": "the same of the zero sequence, for a fault to earth",
    },
    e.Line: {
        "ikss_ka": "initial current, the larger of its ends (min: the smaller), of all faults",
        "ikss_from_ka": "initial current at the from end",
        "ikss_to_ka": "initial current at the to end",
        **_FACTORED,
    },
    e.Transformer: {
        "ikss_hv_ka": "initial current at the high-voltage side",
        "ikss_lv_ka": "initial current at the low-voltage side",
    },
    e.ThreeWindingTransformer: {
        "ikss_hv_ka": "initial current at the high-voltage side",
        "ikss_mv_ka": "initial current at the medium-voltage side",
        "ikss_lv_ka": "initial current at the low-voltage side",
    },
    e.Impedance: {
        "ikss_from_ka": "initial current at the from end",
        "ikss_to_ka": "initial current at the to end",
    },
    e.ExternalGrid: _OWN,
    e.Generator: _OWN,
    e.StaticGenerator: _OWN,
    e.Motor: _OWN,
})  # fmt: skip

#: Columns of a bus in a fault study, which tells the phases one by one.
PHASE_COLUMNS: Mapping[str, str] = MappingProxyType({
    "ikss_ka": "current of the fault there, of the phase or pair that has the largest",
    **{name: COLUMNS[e.Bus][name] for name in COLUMNS[e.Bus] if name not in ("ikss_ka", "ib_ka")},
    **{f"ikss_{a}_ka": f"current in phase {a}: of all three, or of a fault there" for a in "abc"},
    **{
        f"ikss_{pair}_ka": f"current of a fault between phases {pair[0]} and {pair[1]}"
        for pair in ("ab", "bc", "ca")
    },
})  # fmt: skip
