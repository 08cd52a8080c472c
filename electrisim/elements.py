"""The catalogue: one typed class per kind of element, with units, bounds, defaults and meaning.

Everything that must know a kind reads it here: decoding and validation, the JSON schema, the docs tables, the
reference checks, pandapower's columns and the arguments of the OpenDSS translation. Names and units are
pandapower's columns; PVSystem, which pandapower lacks, has OpenDSS' in the same manner.

Bounds refuse only what has no meaning. Negative series reactance and negative magnetising figures occur in
network equivalents and are accepted. A field whose absence has a meaning is None; a field without default must
be given.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, ClassVar, Literal, NamedTuple

import msgspec

from electrisim.fields import Field, fields_of, quantity, refers_to, says
from electrisim.problems import nearest

# One field a line, so that the file reads as the table that it is.
# fmt: off


class Port(NamedTuple):
    """A terminal of an element, and the result columns that tell what flows there.

    sign is +1 where the columns count power into the element, -1 where they count it out of it.
    """

    bus: str
    p: str
    q: str | None
    sign: int = 1


class Element(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, gc=False):
    """What all kinds share.

    typ      the kind as a request spells it
    table    pandapower's table of the kind
    key      the key of the kind's list in `results`
    ports    its terminals, with the result columns that tell what flows there
    from_std_type  the fields that must be given unless a standard type brings them
    instead  the fields that stand for those of from_std_type
    """

    typ: ClassVar[str]
    table: ClassVar[str]
    key: ClassVar[str]
    ports: ClassVar[tuple[Port, ...]] = ()
    from_std_type: ClassVar[tuple[str, ...]] = ()
    instead: ClassVar[tuple[str, ...]] = ()


# -- annotations that many kinds share -------------------------------------------------------------

InService = Annotated[bool, says("Whether the element takes part; out of service it has no results.")]
AcBus = Annotated[str, refers_to("Bus", "Bus to which the element is connected.")]
DcBusRef = Annotated[str, refers_to("DC Bus", "DC bus to which the element is connected.")]
Scaling = Annotated[float, quantity("1", "Factor on active and reactive power.")]
Controllable = Annotated[bool, says("Whether optimal power flow may move it.")]
Label = Annotated[str, says("A label without effect on the solution.")]
RatedPower = Annotated[float, quantity("MVA", "Rated apparent power.", gt=0)]
Df = Annotated[float, quantity("1", "Derating of the rated current.", gt=0)]
Parallel = Annotated[int, quantity("1", "Number of equal systems in parallel.", ge=1, le=100_000)]
MaxLoading = Annotated[float, quantity("%", "Largest loading allowed in OPF and contingency.", gt=0)]
MinP = Annotated[float, quantity("MW", "Smallest active power in OPF.")]
MaxP = Annotated[float, quantity("MW", "Largest active power in OPF.")]
MinQ = Annotated[float, quantity("Mvar", "Smallest reactive power.")]
MaxQ = Annotated[float, quantity("Mvar", "Largest reactive power.")]
FiringAngle = Annotated[float, quantity("degree", "Thyristor firing angle; the start value where it is controlled.", ge=90, le=180)]
MinFiring = Annotated[float, quantity("degree", "Smallest firing angle.", ge=90, le=180)]
MaxFiring = Annotated[float, quantity("degree", "Largest firing angle.", ge=90, le=180)]
LiveControl = Annotated[bool, says("True: it controls its set-point. False: it is a fixed impedance.")]
NoTable = Annotated[None, says("Refers to a table of a whole pandapower net; absent or false.")]
Curve = Annotated[list[tuple[float, float]], says("Points [x, y], x rising.")]
Cost0 = Annotated[float, quantity("EUR/h", "Constant cost in OPF.")]
CostP1 = Annotated[float, quantity("EUR/MWh", "Cost in OPF per p_mw.")]
CostP2 = Annotated[float, quantity("EUR/MW²h", "Cost in OPF per p_mw squared.")]
CostQ1 = Annotated[float, quantity("EUR/Mvarh", "Cost in OPF per q_mvar.")]
CostQ2 = Annotated[float, quantity("EUR/Mvar²h", "Cost in OPF per q_mvar squared.")]
Pieces = Annotated[list[tuple[float, float, float]], says("Piecewise-linear cost in OPF: pieces [from, to, cost per unit of power between], joined, no piece cheaper than the one before; the first is in proportion to the power.")]
MinAngle = Annotated[float, quantity("degree", "Least voltage angle of the first bus over the second in OPF.", ge=-360, le=360)]
MaxAngle = Annotated[float, quantity("degree", "Largest voltage angle of the first bus over the second in OPF.", ge=-360, le=360)]
TapSide = Annotated[Literal["hv", "lv"], says("Winding that carries the tap changer.")]
TapNeutral = Annotated[float, quantity("1", "Tap position of the rated ratio.")]
TapMin = Annotated[float, quantity("1", "Lowest tap position.")]
TapMax = Annotated[float, quantity("1", "Highest tap position.")]
TapStepPercent = Annotated[float, quantity("%", "Voltage of one tap step, of the rated voltage.")]
TapStepDegree = Annotated[float, quantity("degree", "Angle of one tap step.")]
TapPos = Annotated[float, quantity("1", "Present tap position; the neutral one where absent.")]
TapChanger = Annotated[Literal["Ratio", "Symmetrical", "Ideal"], says("Ratio: longitudinal or oblique; Symmetrical: magnitude and angle alike; Ideal: angle only.")]
Shift = Annotated[float, quantity("degree", "Phase shift from the high-voltage side; absent, the vector group's clock number × 30°.")]
TapControl = Annotated[Literal["discrete", "continuous"], says("What its tap changer does where controllers act: discrete steps until the voltage is between vm_lower_pu and vm_upper_pu, continuous holds vm_set_pu.")]
VmLower = Annotated[float, quantity("pu", "Tap control, discrete: below this voltage it steps.", gt=0)]
VmUpper = Annotated[float, quantity("pu", "Tap control, discrete: above this voltage it steps.", gt=0)]
VmSet = Annotated[float, quantity("pu", "Voltage that its control aims at; a discrete tap control's in place of a band, which is then half a step and tol around it.", gt=0)]
Tol = Annotated[float, quantity("pu", "Tolerance of the controlled voltage: 1e-6 where absent; beside vm_set_pu of a discrete tap control 1e-3.", gt=0)]
QControl = Annotated[Literal["constant_q", "cosphi", "cosphi_p", "qv"], says("Where its reactive power comes from where controllers act: q_mvar (PVSystem: kvar) as given, a power factor, a power factor by active power, or the voltage.")]
CosPhi = Annotated[float, quantity("1", "Power factor of q_control cosphi; positive delivers reactive power, negative absorbs it.", ge=-1, le=1)]
QVCurve = Annotated[list[tuple[float, float]], says("Curve of q_control qv: points [voltage in pu, reactive power delivered in parts of the rating], level beyond its ends.")]
CosPhiPCurve = Annotated[list[tuple[float, float]], says("Curve of q_control cosphi_p: points [active power delivered in parts of the rating, power factor], level beyond its ends; a negative power factor absorbs.")]
PVCurve = Annotated[list[tuple[float, float]], says("Where controllers act: points [voltage in pu, most active power delivered in parts of the rating (PVSystem: of pmpp_kw)], level beyond its ends.")]
Station = Annotated[str, says("The station it belongs to: where controllers act, its machines hold vm_set_pu at the reference bus together and share the reactive power by q_share.")]
StationBus = Annotated[str, refers_to("Bus", "Bus whose voltage its station holds.")]
QShare = Annotated[float, quantity("1", "Its part of its station's reactive power, relative to the others'.", gt=0)]
Daily = Annotated[list[float], says("Multipliers of its power (a PV system's irradiance), one per step of solution_mode daily; of the other modes too where they have none.")]
Duty = Annotated[list[float], says("Multipliers of its power, one per step of solution_mode dutycycle.")]
Yearly = Annotated[list[float], says("Multipliers of its power, one per step of solution_mode yearly.")]
SpectrumName = Annotated[Literal["default", "defaultload", "defaultgen", "defaultvsource", "Linear", "none", "pwm6", "dc6", "TCR_PU", "HVDC_PU", "custom"], says("Harmonics it injects: a spectrum by name (Linear and none inject nothing), or custom by spectrum_points or spectrum_csv; absent, the usual one of its kind.")]
SpectrumPoints = Annotated[list[list[float]], says("Own spectrum: points [order, percent of the fundamental, degree].")]
SpectrumCsv = Annotated[str, says("Own spectrum: lines “order,percent,degree”.")]
VectorGroup = Annotated[str, says("Vector group, e.g. Dyn5; it decides the zero sequence.")]
Phases = Annotated[Literal["abc", "a", "b", "c", "ab", "bc", "ca", "ba", "cb", "ac"], says("Its phases: all, one to earth, or two between which it lies; other than abc on OpenDSS, mode unbalanced.")]
Conductors = Annotated[Literal["abc", "a", "b", "c", "ab", "bc", "ca", "ba", "cb", "ac"], says("Its conductors, in the order of its matrices; other than abc on OpenDSS, mode unbalanced.")]
Triangle = list[list[float]]


# -- AC nodes and sources --------------------------------------------------------------------------


class Bus(Element, frozen=True):
    """A node: busbar, sleeve or terminal."""

    typ = "Bus"
    table = "bus"
    key = "busbars"

    vn_kv: Annotated[float, quantity("kV", "Nominal line-to-line voltage; per-unit values refer to it.", gt=0)]
    in_service: InService = True
    min_vm_pu: Annotated[float, quantity("pu", "Lowest voltage allowed in OPF and contingency.", ge=0)] | None = None
    max_vm_pu: Annotated[float, quantity("pu", "Highest voltage allowed in OPF and contingency.", gt=0)] | None = None
    type: Label | None = None
    zone: Label | None = None
    geo: Label | None = None


class ExternalGrid(Element, frozen=True):
    """The connection to a stronger network: an ideal voltage source in power flow."""

    typ = "External Grid"
    table = "ext_grid"
    key = "externalgrids"
    ports = (Port("bus", "p_mw", "q_mvar", -1),)

    bus: AcBus
    vm_pu: Annotated[float, quantity("pu", "Voltage it holds.", gt=0)] = 1.0
    va_degree: Annotated[float, quantity("degree", "Angle it holds.")] = 0.0
    slack_weight: Annotated[float, quantity("1", "Share of the imbalance under a distributed slack.", ge=0)] = 1.0
    in_service: InService = True
    phases: Annotated[Literal["abc", "a", "b", "c"], says("Phases in which it holds its voltage: all, or one, whose own va_degree is then; other than abc on OpenDSS, mode unbalanced.")] = "abc"
    s_sc_max_mva: Annotated[float, quantity("MVA", "Largest initial short-circuit power.", gt=0)] | None = None
    s_sc_min_mva: Annotated[float, quantity("MVA", "Smallest initial short-circuit power.", gt=0)] | None = None
    rx_max: Annotated[float, quantity("1", "R/X at the largest short-circuit power.", ge=0)] | None = None
    rx_min: Annotated[float, quantity("1", "R/X at the smallest short-circuit power.", ge=0)] | None = None
    r0x0_max: Annotated[float, quantity("1", "R0/X0 of the zero sequence.", ge=0)] | None = None
    x0x_max: Annotated[float, quantity("1", "X0/X of the zero sequence.", ge=0)] | None = None
    r0x0_min: Annotated[float, quantity("1", "R0/X0 in the minimum case.", ge=0)] | None = None
    x0x_min: Annotated[float, quantity("1", "X0/X in the minimum case.", ge=0)] | None = None
    controllable: Controllable | None = None
    min_p_mw: MinP | None = None
    max_p_mw: MaxP | None = None
    min_q_mvar: MinQ | None = None
    max_q_mvar: MaxQ | None = None
    cp0_eur: Cost0 | None = None
    cp1_eur_per_mw: CostP1 | None = None
    cp2_eur_per_mw2: CostP2 | None = None
    pwl_points: Pieces | None = None
    cq0_eur: Cost0 | None = None
    cq1_eur_per_mvar: CostQ1 | None = None
    cq2_eur_per_mvar2: CostQ2 | None = None
    pwl_q_points: Pieces | None = None
    station_control: Station | None = None
    reference: StationBus | None = None
    vm_set_pu: VmSet | None = None
    q_share: QShare = 1.0
    spectrum: SpectrumName | None = None
    spectrum_points: SpectrumPoints | None = None
    spectrum_csv: SpectrumCsv | None = None


class Generator(Element, frozen=True):
    """A synchronous machine that holds its voltage (PV node)."""

    typ = "Generator"
    table = "gen"
    key = "generators"
    ports = (Port("bus", "p_mw", "q_mvar", -1),)

    bus: AcBus
    p_mw: Annotated[float, quantity("MW", "Active power delivered.")]
    vm_pu: Annotated[float, quantity("pu", "Voltage it holds.", gt=0)] = 1.0
    sn_mva: RatedPower | None = None
    min_q_mvar: MinQ | None = None
    max_q_mvar: MaxQ | None = None
    scaling: Scaling = 1.0
    slack: Annotated[bool, says("True: it is a reference node and balances its island.")] = False
    slack_weight: Annotated[float, quantity("1", "Share of the imbalance under a distributed slack.", ge=0)] = 0.0
    in_service: InService = True
    controllable: Controllable | None = None
    min_p_mw: MinP | None = None
    max_p_mw: MaxP | None = None
    min_vm_pu: Annotated[float, quantity("pu", "Lowest voltage in OPF.", gt=0)] | None = None
    max_vm_pu: Annotated[float, quantity("pu", "Highest voltage in OPF.", gt=0)] | None = None
    vn_kv: Annotated[float, quantity("kV", "Rated voltage, for short circuit.", gt=0)] | None = None
    xdss_pu: Annotated[float, quantity("pu", "Subtransient reactance, of the rating.", gt=0)] | None = None
    rdss_ohm: Annotated[float, quantity("Ω", "Subtransient resistance.", ge=0)] | None = None
    cos_phi: Annotated[float, quantity("1", "Rated power factor.", gt=0, le=1)] | None = None
    pg_percent: Annotated[float, quantity("%", "Voltage range of the generator's regulator.", ge=0)] | None = None
    power_station_trafo: Annotated[str, refers_to("Transformer", "Unit transformer of its power station.")] | None = None
    type: Label | None = None
    reactive_capability_curve: NoTable = None
    id_q_capability_characteristic: NoTable = None
    curve_style: Label | None = None
    cp0_eur: Cost0 | None = None
    cp1_eur_per_mw: CostP1 | None = None
    cp2_eur_per_mw2: CostP2 | None = None
    pwl_points: Pieces | None = None
    cq0_eur: Cost0 | None = None
    cq1_eur_per_mvar: CostQ1 | None = None
    cq2_eur_per_mvar2: CostQ2 | None = None
    pwl_q_points: Pieces | None = None
    station_control: Station | None = None
    reference: StationBus | None = None
    vm_set_pu: VmSet | None = None
    q_share: QShare = 1.0
    daily: Daily | None = None
    duty: Duty | None = None
    yearly: Yearly | None = None
    spectrum: SpectrumName | None = None
    spectrum_points: SpectrumPoints | None = None
    spectrum_csv: SpectrumCsv | None = None


class StaticGenerator(Element, frozen=True):
    """A source of fixed active and reactive power: wind, sun, converter."""

    typ = "Static Generator"
    table = "sgen"
    key = "staticgenerators"
    ports = (Port("bus", "p_mw", "q_mvar", -1),)

    bus: AcBus
    p_mw: Annotated[float, quantity("MW", "Active power delivered.")]
    q_mvar: Annotated[float, quantity("Mvar", "Reactive power delivered.")] = 0.0
    sn_mva: RatedPower | None = None
    scaling: Scaling = 1.0
    in_service: InService = True
    phases: Phases = "abc"
    type: Label | None = None
    controllable: Controllable | None = None
    min_p_mw: MinP | None = None
    max_p_mw: MaxP | None = None
    min_q_mvar: MinQ | None = None
    max_q_mvar: MaxQ | None = None
    current_source: Annotated[bool, says("Short circuit: a current source (full converter).")] = True
    generator_type: Annotated[Literal["current_source", "async", "async_doubly_fed"], says("Short circuit: the machine behind it; it wins over current_source.")] | None = None
    k: Annotated[float, quantity("1", "Short-circuit to rated current of a converter.", ge=0)] | None = None
    rx: Annotated[float, quantity("1", "R/X of an asynchronous machine.", ge=0)] | None = None
    lrc_pu: Annotated[float, quantity("pu", "Locked-rotor to rated current of an asynchronous machine.", gt=0)] | None = None
    pole_pairs: Annotated[int, quantity("1", "Pole pairs of an asynchronous machine, for the breaking current; absent, 2 up to 2 MW and 1 above.", ge=1, le=100)] | None = None
    max_ik_ka: Annotated[float, quantity("kA", "Largest instantaneous short-circuit current of a doubly fed machine.", gt=0)] | None = None
    kappa: Annotated[float, quantity("1", "Peak factor of a doubly fed machine.", gt=0)] | None = None
    reactive_capability_curve: NoTable = None
    id_q_capability_characteristic: NoTable = None
    curve_style: Label | None = None
    cp0_eur: Cost0 | None = None
    cp1_eur_per_mw: CostP1 | None = None
    cp2_eur_per_mw2: CostP2 | None = None
    pwl_points: Pieces | None = None
    cq0_eur: Cost0 | None = None
    cq1_eur_per_mvar: CostQ1 | None = None
    cq2_eur_per_mvar2: CostQ2 | None = None
    pwl_q_points: Pieces | None = None
    q_control: QControl | None = None
    cosphi: CosPhi | None = None
    qv_curve: QVCurve | None = None
    cosphi_p_curve: CosPhiPCurve | None = None
    pv_curve: PVCurve | None = None
    daily: Daily | None = None
    duty: Duty | None = None
    yearly: Yearly | None = None
    spectrum: SpectrumName | None = None
    spectrum_points: SpectrumPoints | None = None
    spectrum_csv: SpectrumCsv | None = None
    xdss_pu: Annotated[float, quantity("pu", "Reactance to harmonics, of the rating; OpenDSS' 0.2 where absent.", gt=0)] | None = None


class AsymmetricStaticGenerator(Element, frozen=True):
    """A static generator with its own power in each phase; balanced studies take the sum."""

    typ = "Asymmetric Static Generator"
    table = "asymmetric_sgen"
    key = "asymmetricstaticgenerators"
    ports = (Port("bus", "p_mw", "q_mvar", -1),)

    bus: AcBus
    p_a_mw: Annotated[float, quantity("MW", "Active power delivered, phase a.")] = 0.0
    p_b_mw: Annotated[float, quantity("MW", "Active power delivered, phase b.")] = 0.0
    p_c_mw: Annotated[float, quantity("MW", "Active power delivered, phase c.")] = 0.0
    q_a_mvar: Annotated[float, quantity("Mvar", "Reactive power delivered, phase a.")] = 0.0
    q_b_mvar: Annotated[float, quantity("Mvar", "Reactive power delivered, phase b.")] = 0.0
    q_c_mvar: Annotated[float, quantity("Mvar", "Reactive power delivered, phase c.")] = 0.0
    sn_mva: RatedPower | None = None
    sn_a_mva: RatedPower | None = None
    sn_b_mva: RatedPower | None = None
    sn_c_mva: RatedPower | None = None
    scaling: Scaling = 1.0
    in_service: InService = True
    type: Annotated[Literal["wye", "delta"], says("Connection of the three phases.")] = "wye"
    current_source: Annotated[bool, says("Short circuit: a current source.")] = True
    daily: Daily | None = None
    duty: Duty | None = None
    yearly: Yearly | None = None
    spectrum: SpectrumName | None = None
    spectrum_points: SpectrumPoints | None = None
    spectrum_csv: SpectrumCsv | None = None


# -- AC consumers ----------------------------------------------------------------------------------


class Load(Element, frozen=True):
    """A consumer of active and reactive power, with constant-impedance and constant-current shares."""

    typ = "Load"
    table = "load"
    key = "loads"
    ports = (Port("bus", "p_mw", "q_mvar"),)

    bus: AcBus
    p_mw: Annotated[float, quantity("MW", "Active power consumed at 1 pu.")]
    q_mvar: Annotated[float, quantity("Mvar", "Reactive power consumed at 1 pu; negative for a capacitive load.")] = 0.0
    const_z_p_percent: Annotated[float, quantity("%", "Share of p_mw that goes with the voltage squared.", ge=0, le=100)] = 0.0
    const_i_p_percent: Annotated[float, quantity("%", "Share of p_mw that goes with the voltage.", ge=0, le=100)] = 0.0
    const_z_q_percent: Annotated[float, quantity("%", "Share of q_mvar that goes with the voltage squared.", ge=0, le=100)] = 0.0
    const_i_q_percent: Annotated[float, quantity("%", "Share of q_mvar that goes with the voltage.", ge=0, le=100)] = 0.0
    sn_mva: RatedPower | None = None
    scaling: Scaling = 1.0
    in_service: InService = True
    phases: Phases = "abc"
    type: Annotated[Literal["wye", "delta"], says("Connection of the three phases, where phases are modelled.")] | None = None
    controllable: Controllable | None = None
    min_p_mw: MinP | None = None
    max_p_mw: MaxP | None = None
    min_q_mvar: MinQ | None = None
    max_q_mvar: MaxQ | None = None
    zone: Label | None = None
    cp0_eur: Cost0 | None = None
    cp1_eur_per_mw: CostP1 | None = None
    cp2_eur_per_mw2: CostP2 | None = None
    pwl_points: Pieces | None = None
    cq0_eur: Cost0 | None = None
    cq1_eur_per_mvar: CostQ1 | None = None
    cq2_eur_per_mvar2: CostQ2 | None = None
    pwl_q_points: Pieces | None = None
    daily: Daily | None = None
    duty: Duty | None = None
    yearly: Yearly | None = None
    spectrum: SpectrumName | None = None
    spectrum_points: SpectrumPoints | None = None
    spectrum_csv: SpectrumCsv | None = None
    series_rl_percent: Annotated[float, quantity("%", "To harmonics: share of the load that is R and L in series, the rest being parallel; OpenDSS' 50 where absent.", ge=0, le=100)] | None = None
    x_harmonic_pu: Annotated[float, quantity("pu", "To harmonics: reactance of the series share, of the apparent power, as of blocked motors; by p_mw and q_mvar where absent.", gt=0)] | None = None
    xr_harmonic: Annotated[float, quantity("1", "To harmonics: X/R beside x_harmonic_pu; OpenDSS' 6 where absent.", gt=0)] | None = None


class AsymmetricLoad(Element, frozen=True):
    """A load with its own power in each phase; balanced studies take the sum."""

    typ = "Asymmetric Load"
    table = "asymmetric_load"
    key = "asymmetricloads"
    ports = (Port("bus", "p_mw", "q_mvar"),)

    bus: AcBus
    p_a_mw: Annotated[float, quantity("MW", "Active power consumed, phase a.")] = 0.0
    p_b_mw: Annotated[float, quantity("MW", "Active power consumed, phase b.")] = 0.0
    p_c_mw: Annotated[float, quantity("MW", "Active power consumed, phase c.")] = 0.0
    q_a_mvar: Annotated[float, quantity("Mvar", "Reactive power consumed, phase a.")] = 0.0
    q_b_mvar: Annotated[float, quantity("Mvar", "Reactive power consumed, phase b.")] = 0.0
    q_c_mvar: Annotated[float, quantity("Mvar", "Reactive power consumed, phase c.")] = 0.0
    sn_mva: RatedPower | None = None
    sn_a_mva: RatedPower | None = None
    sn_b_mva: RatedPower | None = None
    sn_c_mva: RatedPower | None = None
    scaling: Scaling = 1.0
    in_service: InService = True
    type: Annotated[Literal["wye", "delta"], says("Connection of the three phases.")] = "wye"
    daily: Daily | None = None
    duty: Duty | None = None
    yearly: Yearly | None = None
    spectrum: SpectrumName | None = None
    spectrum_points: SpectrumPoints | None = None
    spectrum_csv: SpectrumCsv | None = None


class _Shunt(Element, frozen=True):
    """What the three kinds of shunt share: pandapower's `shunt`, with its sign of q."""

    table = "shunt"
    ports = (Port("bus", "p_mw", "q_mvar"),)

    bus: AcBus
    q_mvar: Annotated[float, quantity("Mvar", "Reactive power consumed per step at vn_kv; negative for a capacitor.")]
    p_mw: Annotated[float, quantity("MW", "Active power consumed per step at vn_kv.")] = 0.0
    vn_kv: Annotated[float, quantity("kV", "Rated voltage; the bus's where absent.", gt=0)] | None = None
    step: Annotated[float, quantity("1", "Steps that are connected.", ge=0)] = 1.0
    max_step: Annotated[int, quantity("1", "Steps that exist.", ge=0, le=100_000)] = 1
    in_service: InService = True
    phases: Phases = "abc"
    step_dependency_table: NoTable = None
    id_characteristic_table: NoTable = None
    step_control: Annotated[Literal["voltage", "line_flow"], says("What its steps do where controllers act: voltage steps until it is within vm_tol_pu of vm_set_pu, line_flow follows the active power of a line by step_table.")] | None = None
    vm_set_pu: VmSet | None = None
    vm_tol_pu: Annotated[float, quantity("pu", "Step control, voltage: half the band around vm_set_pu.", gt=0)] = 1e-3
    step_increment: Annotated[int, quantity("1", "Step control, voltage: steps taken at a time.", ge=1)] = 1
    step_table: Annotated[list[tuple[float, float]], says("Step control, line_flow: points [active power in MW, steps], the power rising; from each power on its steps are connected, below the first one those of the first.")] | None = None
    reference: Annotated[str, refers_to("Bus, Line", "What its control looks at: the bus whose voltage it controls (its own where absent), or the line whose active power decides.")] | None = None
    reference_column: Annotated[Literal["p_from_mw", "p_to_mw"], says("Step control, line_flow: the end of the line whose power counts.")] = "p_from_mw"
    reference_absolute: Annotated[bool, says("Step control, line_flow: the power counts whichever way it flows.")] = True


class Shunt(_Shunt, frozen=True):
    """A constant admittance to earth."""

    typ = "Shunt"
    key = "shunts"


class ShuntReactor(_Shunt, frozen=True):
    """A reactor to earth: q_mvar positive."""

    typ = "Shunt Reactor"
    key = "shunts"


class Capacitor(_Shunt, frozen=True):
    """A capacitor bank to earth: q_mvar negative."""

    typ = "Capacitor"
    key = "capacitors"


class Ward(Element, frozen=True):
    """An equivalent of a network part: constant power and constant admittance."""

    typ = "Ward"
    table = "ward"
    key = "wards"
    ports = (Port("bus", "p_mw", "q_mvar"),)

    bus: AcBus
    ps_mw: Annotated[float, quantity("MW", "Constant active power consumed.")]
    qs_mvar: Annotated[float, quantity("Mvar", "Constant reactive power consumed.")]
    pz_mw: Annotated[float, quantity("MW", "Active power of the admittance at 1 pu.")]
    qz_mvar: Annotated[float, quantity("Mvar", "Reactive power of the admittance at 1 pu.")]
    in_service: InService = True


class ExtendedWard(Element, frozen=True):
    """A ward with a voltage source behind an impedance, which gives reactive power only."""

    typ = "Extended Ward"
    table = "xward"
    key = "extendedwards"
    ports = (Port("bus", "p_mw", "q_mvar"),)

    bus: AcBus
    ps_mw: Annotated[float, quantity("MW", "Constant active power consumed.")]
    qs_mvar: Annotated[float, quantity("Mvar", "Constant reactive power consumed.")]
    pz_mw: Annotated[float, quantity("MW", "Active power of the admittance at 1 pu.")]
    qz_mvar: Annotated[float, quantity("Mvar", "Reactive power of the admittance at 1 pu.")]
    r_ohm: Annotated[float, quantity("Ω", "Resistance to the internal source.")]
    x_ohm: Annotated[float, quantity("Ω", "Reactance to the internal source.")]
    vm_pu: Annotated[float, quantity("pu", "Voltage of the internal source.", gt=0)] = 1.0
    slack_weight: Annotated[float, quantity("1", "Share of the imbalance under a distributed slack.", ge=0)] = 0.0
    in_service: InService = True


class Motor(Element, frozen=True):
    """An asynchronous motor: constant power in power flow, a source in short circuit."""

    typ = "Motor"
    table = "motor"
    key = "motors"
    ports = (Port("bus", "p_mw", "q_mvar"),)

    bus: AcBus
    pn_mech_mw: Annotated[float, quantity("MW", "Rated mechanical power.", ge=0)]
    cos_phi: Annotated[float, quantity("1", "Power factor at the present load.", gt=0, le=1)]
    efficiency_percent: Annotated[float, quantity("%", "Efficiency at the present load.", gt=0, le=100)] = 100.0
    loading_percent: Annotated[float, quantity("%", "Present mechanical load, of the rated one.", ge=0)] = 100.0
    scaling: Scaling = 1.0
    cos_phi_n: Annotated[float, quantity("1", "Rated power factor.", gt=0, le=1)] | None = None
    efficiency_n_percent: Annotated[float, quantity("%", "Rated efficiency.", gt=0, le=100)] | None = None
    lrc_pu: Annotated[float, quantity("pu", "Locked-rotor to rated current.", gt=0)] | None = None
    rx: Annotated[float, quantity("1", "R/X with locked rotor.", ge=0)] | None = None
    pole_pairs: Annotated[int, quantity("1", "Pole pairs, for the breaking current; absent, 2 up to 2 MW and 1 above.", ge=1, le=100)] | None = None
    vn_kv: Annotated[float, quantity("kV", "Rated voltage.", gt=0)] | None = None
    in_service: InService = True


class Storage(Element, frozen=True):
    """A battery: positive power charges it."""

    typ = "Storage"
    table = "storage"
    key = "storages"
    ports = (Port("bus", "p_mw", "q_mvar"),)

    bus: AcBus
    p_mw: Annotated[float, quantity("MW", "Active power: charging positive, discharging negative.")]
    q_mvar: Annotated[float, quantity("Mvar", "Reactive power consumed.")] = 0.0
    max_e_mwh: Annotated[float, quantity("MWh", "Energy it holds when full.", ge=0)] | None = None
    min_e_mwh: Annotated[float, quantity("MWh", "Energy below which it is not discharged.", ge=0)] = 0.0
    soc_percent: Annotated[float, quantity("%", "State of charge.", ge=0, le=100)] | None = None
    sn_mva: RatedPower | None = None
    scaling: Scaling = 1.0
    in_service: InService = True
    phases: Phases = "abc"
    type: Label | None = None
    controllable: Controllable | None = None
    min_p_mw: MinP | None = None
    max_p_mw: MaxP | None = None
    min_q_mvar: MinQ | None = None
    max_q_mvar: MaxQ | None = None
    cp0_eur: Cost0 | None = None
    cp1_eur_per_mw: CostP1 | None = None
    cp2_eur_per_mw2: CostP2 | None = None
    pwl_points: Pieces | None = None
    cq0_eur: Cost0 | None = None
    cq1_eur_per_mvar: CostQ1 | None = None
    cq2_eur_per_mvar2: CostQ2 | None = None
    pwl_q_points: Pieces | None = None
    q_control: QControl | None = None
    cosphi: CosPhi | None = None
    qv_curve: QVCurve | None = None
    cosphi_p_curve: CosPhiPCurve | None = None
    pv_curve: PVCurve | None = None
    p_control: Annotated[Literal["peak_shave"], says("Where controllers act: peak_shave discharges what keeps the power into its reference within p_target_mw, together with the others of that reference, and rests below.")] | None = None
    reference: Annotated[str, refers_to("Line", "Line whose active power, into it at its from end, p_control looks at.")] | None = None
    p_target_mw: Annotated[float, quantity("MW", "Most active power that its reference should carry.", gt=0)] | None = None
    p_share: Annotated[float, quantity("1", "Its part of what the storages of its reference discharge, relative to the others'.", gt=0)] = 1.0
    daily: Daily | None = None
    duty: Duty | None = None
    yearly: Yearly | None = None
    spectrum: SpectrumName | None = None
    spectrum_points: SpectrumPoints | None = None
    spectrum_csv: SpectrumCsv | None = None


class PVSystem(Element, frozen=True):
    """A photovoltaic array with its inverter, as OpenDSS models it."""

    typ = "PVSystem"
    table = "sgen"
    key = "pvsystems"
    ports = (Port("bus", "p_mw", "q_mvar", -1),)

    bus: AcBus
    pmpp_kw: Annotated[float, quantity("kW", "Power of the array at 1 kW/m² and 25 °C.", ge=0)]
    irradiance_kw_per_m2: Annotated[float, quantity("kW/m²", "Irradiance on the array.", ge=0)] = 1.0
    temperature_degree_celsius: Annotated[float, quantity("°C", "Temperature of the array.")] = 25.0
    kva: Annotated[float, quantity("kVA", "Rating of the inverter; pmpp_kw where absent.", gt=0)] | None = None
    pf: Annotated[float, quantity("1", "Power factor; negative absorbs reactive power.", ge=-1, le=1)] = 1.0
    kvar: Annotated[float, quantity("kvar", "Reactive power delivered; it wins over pf.")] | None = None
    cutin_percent: Annotated[float, quantity("%", "The inverter starts at this power, of kva.", ge=0, le=100)] = 0.0
    cutout_percent: Annotated[float, quantity("%", "The inverter stops below this power, of kva.", ge=0, le=100)] = 0.0
    pmpp_percent: Annotated[float, quantity("%", "Ceiling on the array's power, of pmpp_kw.", ge=0, le=100)] = 100.0
    temperature_curve: Curve | None = None
    efficiency_curve: Curve | None = None
    in_service: InService = True
    phases: Phases = "abc"
    q_control: QControl | None = None
    cosphi: CosPhi | None = None
    qv_curve: QVCurve | None = None
    cosphi_p_curve: CosPhiPCurve | None = None
    pv_curve: PVCurve | None = None
    daily: Daily | None = None
    duty: Duty | None = None
    yearly: Yearly | None = None
    spectrum: SpectrumName | None = None
    spectrum_points: SpectrumPoints | None = None
    spectrum_csv: SpectrumCsv | None = None


# -- AC branches -----------------------------------------------------------------------------------

FROM_TO = (Port("from_bus", "p_from_mw", "q_from_mvar"), Port("to_bus", "p_to_mw", "q_to_mvar"))
FromBus = Annotated[str, refers_to("Bus", "Bus at the from end.")]
ToBus = Annotated[str, refers_to("Bus", "Bus at the to end.")]


class Line(Element, frozen=True):
    """A cable or overhead line: a pi section with its capacitance."""

    typ = "Line"
    table = "line"
    key = "lines"
    ports = FROM_TO
    from_std_type = ("r_ohm_per_km", "x_ohm_per_km", "c_nf_per_km", "max_i_ka")
    instead = ("r_matrix_ohm_per_km", "x_matrix_ohm_per_km")

    from_bus: FromBus
    to_bus: ToBus
    length_km: Annotated[float, quantity("km", "Length.", gt=0)]
    std_type: Annotated[str, says("Standard type of pandapower's library; explicit values win over it.")] | None = None
    r_ohm_per_km: Annotated[float, quantity("Ω/km", "Series resistance.")] | None = None
    x_ohm_per_km: Annotated[float, quantity("Ω/km", "Series reactance at the network's frequency.")] | None = None
    c_nf_per_km: Annotated[float, quantity("nF/km", "Capacitance to earth.")] | None = None
    g_us_per_km: Annotated[float, quantity("µS/km", "Conductance to earth.")] = 0.0
    max_i_ka: Annotated[float, quantity("kA", "Thermal rating of one system; loading refers to it. 0: not known.", ge=0)] | None = None
    df: Df = 1.0
    parallel: Parallel = 1
    in_service: InService = True
    phases: Conductors = "abc"
    r_matrix_ohm_per_km: Annotated[Triangle, says("Series resistance [Ω/km] by conductor, the lower triangle by rows: [[aa], [ba, bb], …]; it wins over sequence values in three unequal phases.")] | None = None
    x_matrix_ohm_per_km: Annotated[Triangle, says("Series reactance [Ω/km] by conductor, as r_matrix_ohm_per_km.")] | None = None
    c_matrix_nf_per_km: Annotated[Triangle, says("Nodal capacitance [nF/km] by conductor, as r_matrix_ohm_per_km; between conductors negative; none where absent.")] | None = None
    r0_ohm_per_km: Annotated[float, quantity("Ω/km", "Zero-sequence resistance.", ge=0)] | None = None
    x0_ohm_per_km: Annotated[float, quantity("Ω/km", "Zero-sequence reactance.")] | None = None
    c0_nf_per_km: Annotated[float, quantity("nF/km", "Zero-sequence capacitance.", ge=0)] | None = None
    g0_us_per_km: Annotated[float, quantity("µS/km", "Zero-sequence conductance.", ge=0)] | None = None
    endtemp_degree: Annotated[float, quantity("°C", "Conductor temperature at the end of a short circuit.", gt=-273)] | None = None
    max_loading_percent: MaxLoading | None = None
    alpha: Annotated[float, quantity("1/K", "Temperature coefficient of the resistance.")] | None = None
    temperature_degree_celsius: Annotated[float, quantity("°C", "Conductor temperature for which the resistance is corrected.", gt=-273)] | None = None
    type: Label | None = None
    geo: Label | None = None
    min_angle_degree: MinAngle | None = None
    max_angle_degree: MaxAngle | None = None


class Transformer(Element, frozen=True):
    """A two-winding transformer."""

    typ = "Transformer"
    table = "trafo"
    key = "transformers"
    ports = (Port("hv_bus", "p_hv_mw", "q_hv_mvar"), Port("lv_bus", "p_lv_mw", "q_lv_mvar"))
    from_std_type = ("sn_mva", "vn_hv_kv", "vn_lv_kv", "vk_percent", "vkr_percent", "pfe_kw", "i0_percent")

    hv_bus: Annotated[str, refers_to("Bus", "Bus of the high-voltage winding.")]
    lv_bus: Annotated[str, refers_to("Bus", "Bus of the low-voltage winding.")]
    std_type: Annotated[str, says("Standard type of pandapower's library; explicit values win over it.")] | None = None
    sn_mva: RatedPower | None = None
    vn_hv_kv: Annotated[float, quantity("kV", "Rated voltage of the high-voltage winding.", gt=0)] | None = None
    vn_lv_kv: Annotated[float, quantity("kV", "Rated voltage of the low-voltage winding.", gt=0)] | None = None
    vk_percent: Annotated[float, quantity("%", "Short-circuit voltage; negative in equivalents.")] | None = None
    vkr_percent: Annotated[float, quantity("%", "Resistive part of the short-circuit voltage.")] | None = None
    pfe_kw: Annotated[float, quantity("kW", "Iron losses.")] | None = None
    i0_percent: Annotated[float, quantity("%", "No-load current; negative in equivalents.")] | None = None
    shift_degree: Shift | None = None
    vector_group: VectorGroup | None = None
    tap_side: TapSide | None = None
    tap_neutral: TapNeutral | None = None
    tap_min: TapMin | None = None
    tap_max: TapMax | None = None
    tap_step_percent: TapStepPercent | None = None
    tap_step_degree: TapStepDegree | None = None
    tap_pos: TapPos | None = None
    tap_changer_type: TapChanger | None = None
    tap2_side: TapSide | None = None
    tap2_neutral: TapNeutral | None = None
    tap2_min: TapMin | None = None
    tap2_max: TapMax | None = None
    tap2_step_percent: TapStepPercent | None = None
    tap2_step_degree: TapStepDegree | None = None
    tap2_pos: TapPos | None = None
    tap2_changer_type: TapChanger | None = None
    parallel: Parallel = 1
    df: Df = 1.0
    in_service: InService = True
    phases: Annotated[Phases, says("abc, or of a single-phase unit what its high-voltage winding lies between: one phase and earth, or two phases; vn_hv_kv is the voltage across it. OpenDSS, mode unbalanced.")] = "abc"
    lv_phases: Annotated[Phases, says("Of a single-phase unit: what its low-voltage winding lies between; phases where absent.")] | None = None
    centre_tapped: Annotated[bool, says("Of a single-phase unit: the middle of the low-voltage winding is earthed, so that vn_lv_kv lies between two legs (240 V for 120/240 V).")] = False
    leakage_resistance_ratio_hv: Annotated[float, quantity("1", "Share of the resistance on the high-voltage side.", ge=0, le=1)] | None = None
    leakage_reactance_ratio_hv: Annotated[float, quantity("1", "Share of the reactance on the high-voltage side.", ge=0, le=1)] | None = None
    vk0_percent: Annotated[float, quantity("%", "Zero-sequence short-circuit voltage.", ge=0)] | None = None
    vkr0_percent: Annotated[float, quantity("%", "Resistive part of vk0_percent.", ge=0)] | None = None
    mag0_percent: Annotated[float, quantity("%", "Zero-sequence magnetising impedance, of the short-circuit impedance.", ge=0)] | None = None
    mag0_rx: Annotated[float, quantity("1", "R/X of the zero-sequence magnetising impedance.", ge=0)] | None = None
    si0_hv_partial: Annotated[float, quantity("1", "Share of the zero-sequence impedance on the high-voltage side.", ge=0, le=1)] | None = None
    xn_ohm: Annotated[float, quantity("Ω", "Reactance between the star point and earth, for short circuit.", ge=0)] | None = None
    pt_percent: Annotated[float, quantity("%", "Range of the unit transformer's tap changer, for short circuit.", ge=0)] | None = None
    oltc: Annotated[bool, says("Short circuit: it has an on-load tap changer.")] | None = None
    power_station_unit: Annotated[bool, says("Short circuit: it belongs to a power-station unit.")] | None = None
    max_loading_percent: MaxLoading | None = None
    tap_dependency_table: NoTable = None
    id_characteristic_table: NoTable = None
    min_angle_degree: MinAngle | None = None
    max_angle_degree: MaxAngle | None = None
    tap_control: TapControl | None = None
    control_side: Annotated[Literal["hv", "lv"], says("Tap control: side whose voltage it controls.")] = "lv"
    vm_lower_pu: VmLower | None = None
    vm_upper_pu: VmUpper | None = None
    vm_set_pu: VmSet | None = None
    tol: Tol | None = None
    line_drop_r_ohm: Annotated[float, quantity("Ω", "Tap control: resistance behind whose drop, by the current of the controlled winding, the voltage is held; of three unequal phases on OpenDSS.")] | None = None
    line_drop_x_ohm: Annotated[float, quantity("Ω", "Tap control: reactance beside line_drop_r_ohm.")] | None = None
    control_delay_s: Annotated[float, quantity("s", "Tap control on OpenDSS: how long it waits; of several that could act, the quickest does.", gt=0)] = 15.0


class ThreeWindingTransformer(Element, frozen=True):
    """A three-winding transformer, a star of three two-winding ones."""

    typ = "Three Winding Transformer"
    table = "trafo3w"
    key = "transformers3w"
    ports = (Port("hv_bus", "p_hv_mw", "q_hv_mvar"), Port("mv_bus", "p_mv_mw", "q_mv_mvar"), Port("lv_bus", "p_lv_mw", "q_lv_mvar"))
    from_std_type = (
        "sn_hv_mva", "sn_mv_mva", "sn_lv_mva", "vn_hv_kv", "vn_mv_kv", "vn_lv_kv",
        "vk_hv_percent", "vk_mv_percent", "vk_lv_percent",
        "vkr_hv_percent", "vkr_mv_percent", "vkr_lv_percent", "pfe_kw", "i0_percent",
    )  # fmt: skip

    hv_bus: Annotated[str, refers_to("Bus", "Bus of the high-voltage winding.")]
    mv_bus: Annotated[str, refers_to("Bus", "Bus of the medium-voltage winding.")]
    lv_bus: Annotated[str, refers_to("Bus", "Bus of the low-voltage winding.")]
    std_type: Annotated[str, says("Standard type of pandapower's library; explicit values win over it.")] | None = None
    sn_hv_mva: RatedPower | None = None
    sn_mv_mva: RatedPower | None = None
    sn_lv_mva: RatedPower | None = None
    vn_hv_kv: Annotated[float, quantity("kV", "Rated voltage of the high-voltage winding.", gt=0)] | None = None
    vn_mv_kv: Annotated[float, quantity("kV", "Rated voltage of the medium-voltage winding.", gt=0)] | None = None
    vn_lv_kv: Annotated[float, quantity("kV", "Rated voltage of the low-voltage winding.", gt=0)] | None = None
    vk_hv_percent: Annotated[float, quantity("%", "Short-circuit voltage hv–mv, of the smaller of both ratings.")] | None = None
    vk_mv_percent: Annotated[float, quantity("%", "Short-circuit voltage mv–lv, of the smaller of both ratings.")] | None = None
    vk_lv_percent: Annotated[float, quantity("%", "Short-circuit voltage hv–lv, of the smaller of both ratings.")] | None = None
    vkr_hv_percent: Annotated[float, quantity("%", "Resistive part of vk_hv_percent.")] | None = None
    vkr_mv_percent: Annotated[float, quantity("%", "Resistive part of vk_mv_percent.")] | None = None
    vkr_lv_percent: Annotated[float, quantity("%", "Resistive part of vk_lv_percent.")] | None = None
    pfe_kw: Annotated[float, quantity("kW", "Iron losses.")] | None = None
    i0_percent: Annotated[float, quantity("%", "No-load current, of the high-voltage rating.")] | None = None
    shift_mv_degree: Annotated[float, quantity("degree", "Phase shift of the medium-voltage side.")] | None = None
    shift_lv_degree: Annotated[float, quantity("degree", "Phase shift of the low-voltage side.")] | None = None
    vector_group: VectorGroup | None = None
    tap_side: Annotated[Literal["hv", "mv", "lv"], says("Winding that carries the tap changer.")] | None = None
    tap_neutral: TapNeutral | None = None
    tap_min: TapMin | None = None
    tap_max: TapMax | None = None
    tap_step_percent: TapStepPercent | None = None
    tap_step_degree: TapStepDegree | None = None
    tap_pos: TapPos | None = None
    tap_at_star_point: Annotated[bool, says("The tap changer sits at the star point instead of the terminal.")] = False
    tap_changer_type: TapChanger | None = None
    in_service: InService = True
    vk0_hv_percent: Annotated[float, quantity("%", "Zero-sequence short-circuit voltage hv–mv.", ge=0)] | None = None
    vk0_mv_percent: Annotated[float, quantity("%", "Zero-sequence short-circuit voltage mv–lv.", ge=0)] | None = None
    vk0_lv_percent: Annotated[float, quantity("%", "Zero-sequence short-circuit voltage hv–lv.", ge=0)] | None = None
    vkr0_hv_percent: Annotated[float, quantity("%", "Resistive part of vk0_hv_percent.", ge=0)] | None = None
    vkr0_mv_percent: Annotated[float, quantity("%", "Resistive part of vk0_mv_percent.", ge=0)] | None = None
    vkr0_lv_percent: Annotated[float, quantity("%", "Resistive part of vk0_lv_percent.", ge=0)] | None = None
    max_loading_percent: MaxLoading | None = None
    tap_dependency_table: NoTable = None
    id_characteristic_table: NoTable = None
    tap_control: TapControl | None = None
    control_side: Annotated[Literal["hv", "mv", "lv"], says("Tap control: side whose voltage it controls.")] = "lv"
    vm_lower_pu: VmLower | None = None
    vm_upper_pu: VmUpper | None = None
    vm_set_pu: VmSet | None = None
    tol: Tol | None = None


class Impedance(Element, frozen=True):
    """A series impedance in per unit, which may differ by direction."""

    typ = "Impedance"
    table = "impedance"
    key = "impedances"
    ports = FROM_TO

    from_bus: FromBus
    to_bus: ToBus
    sn_mva: Annotated[float, quantity("MVA", "Base of the per-unit values.", gt=0)]
    rft_pu: Annotated[float, quantity("pu", "Resistance, from → to.")]
    xft_pu: Annotated[float, quantity("pu", "Reactance, from → to.")]
    rtf_pu: Annotated[float, quantity("pu", "Resistance, to → from; rft_pu where absent.")] | None = None
    xtf_pu: Annotated[float, quantity("pu", "Reactance, to → from; xft_pu where absent.")] | None = None
    gf_pu: Annotated[float, quantity("pu", "Conductance to earth at the from end.")] = 0.0
    bf_pu: Annotated[float, quantity("pu", "Susceptance to earth at the from end.")] = 0.0
    gt_pu: Annotated[float, quantity("pu", "Conductance to earth at the to end; gf_pu where absent.")] | None = None
    bt_pu: Annotated[float, quantity("pu", "Susceptance to earth at the to end; bf_pu where absent.")] | None = None
    in_service: InService = True
    rft0_pu: Annotated[float, quantity("pu", "Zero-sequence resistance, from → to.")] | None = None
    xft0_pu: Annotated[float, quantity("pu", "Zero-sequence reactance, from → to.")] | None = None
    rtf0_pu: Annotated[float, quantity("pu", "Zero-sequence resistance, to → from.")] | None = None
    xtf0_pu: Annotated[float, quantity("pu", "Zero-sequence reactance, to → from.")] | None = None
    gf0_pu: Annotated[float, quantity("pu", "Zero-sequence conductance at the from end.")] | None = None
    bf0_pu: Annotated[float, quantity("pu", "Zero-sequence susceptance at the from end.")] | None = None
    gt0_pu: Annotated[float, quantity("pu", "Zero-sequence conductance at the to end.")] | None = None
    bt0_pu: Annotated[float, quantity("pu", "Zero-sequence susceptance at the to end.")] | None = None
    min_angle_degree: MinAngle | None = None
    max_angle_degree: MaxAngle | None = None


class Switch(Element, frozen=True):
    """A switch between two buses, or at one end of a line or transformer."""

    typ = "Switch"
    table = "switch"
    key = "switches"
    ports = FROM_TO

    bus: AcBus
    element: Annotated[str, refers_to("Bus, Line, Transformer, Three Winding Transformer", "What it switches: the other bus, or the line or transformer that ends at its bus.")]
    et: Annotated[Literal["b", "l", "t", "t3"], says("Kind of element: b bus, l line, t transformer, t3 three-winding; must agree.")] | None = None
    closed: Annotated[bool, says("Whether it conducts.")] = True
    phases: Annotated[Phases, says("Its poles, between buses.")] = "abc"
    z_ohm: Annotated[float, quantity("Ω", "Impedance when closed, between buses; 0 joins them.", ge=0)] = 0.0
    in_ka: Annotated[float, quantity("kA", "Rated current; loading refers to it.", gt=0)] | None = None
    type: Label | None = None


class DCLine(Element, frozen=True):
    """A point-to-point DC link, two voltage-holding converters with their losses."""

    typ = "DC Line"
    table = "dcline"
    key = "dclines"
    ports = FROM_TO

    from_bus: FromBus
    to_bus: ToBus
    p_mw: Annotated[float, quantity("MW", "Active power taken from the from bus.")]
    loss_percent: Annotated[float, quantity("%", "Loss in proportion to the transported power.", ge=0)] = 0.0
    loss_mw: Annotated[float, quantity("MW", "Constant loss.", ge=0)] = 0.0
    vm_from_pu: Annotated[float, quantity("pu", "Voltage held at the from bus.", gt=0)] = 1.0
    vm_to_pu: Annotated[float, quantity("pu", "Voltage held at the to bus.", gt=0)] = 1.0
    in_service: InService = True
    min_p_mw: MinP | None = None
    max_p_mw: MaxP | None = None
    min_q_from_mvar: MinQ | None = None
    max_q_from_mvar: MaxQ | None = None
    min_q_to_mvar: MinQ | None = None
    max_q_to_mvar: MaxQ | None = None
    cp0_eur: Cost0 | None = None
    cp1_eur_per_mw: CostP1 | None = None
    cp2_eur_per_mw2: CostP2 | None = None
    pwl_points: Pieces | None = None


# -- FACTS -----------------------------------------------------------------------------------------


class SVC(Element, frozen=True):
    """A static var compensator: a thyristor-controlled reactor beside a capacitor."""

    typ = "SVC"
    table = "svc"
    key = "svcs"
    ports = (Port("bus", "", "q_mvar"),)

    bus: AcBus
    x_l_ohm: Annotated[float, quantity("Ω", "Reactance of the reactor.", gt=0)]
    x_cvar_ohm: Annotated[float, quantity("Ω", "Reactance of the capacitor, negative.", lt=0)]
    set_vm_pu: Annotated[float, quantity("pu", "Voltage it holds.", gt=0)]
    thyristor_firing_angle_degree: FiringAngle
    controllable: LiveControl = True
    in_service: InService = True
    min_angle_degree: MinFiring = 90.0
    max_angle_degree: MaxFiring = 180.0


class TCSC(Element, frozen=True):
    """A thyristor-controlled series capacitor, which holds the active power through it."""

    typ = "TCSC"
    table = "tcsc"
    key = "tcscs"
    ports = FROM_TO

    from_bus: FromBus
    to_bus: ToBus
    x_l_ohm: Annotated[float, quantity("Ω", "Reactance of the reactor.", gt=0)]
    x_cvar_ohm: Annotated[float, quantity("Ω", "Reactance of the capacitor, negative.", lt=0)]
    set_p_to_mw: Annotated[float, quantity("MW", "Active power into the element at the to end.")]
    thyristor_firing_angle_degree: FiringAngle
    controllable: LiveControl = True
    in_service: InService = True
    min_angle_degree: MinFiring = 90.0
    max_angle_degree: MaxFiring = 180.0


class SSC(Element, frozen=True):
    """A static synchronous compensator: a voltage source behind its coupling impedance."""

    typ = "SSC"
    table = "ssc"
    key = "sscs"
    ports = (Port("bus", "", "q_mvar"),)

    bus: AcBus
    r_ohm: Annotated[float, quantity("Ω", "Resistance of the coupling transformer.", ge=0)]
    x_ohm: Annotated[float, quantity("Ω", "Reactance of the coupling transformer.")]
    set_vm_pu: Annotated[float, quantity("pu", "Voltage it holds at its bus.", gt=0)] = 1.0
    vm_internal_pu: Annotated[float, quantity("pu", "Internal voltage; the start value where it is controlled.", gt=0)] = 1.0
    va_internal_degree: Annotated[float, quantity("degree", "Internal angle; the start value where it is controlled.")] = 0.0
    controllable: LiveControl = True
    in_service: InService = True


# -- DC networks and converters --------------------------------------------------------------------


class DCBus(Element, frozen=True):
    """A node of a DC network."""

    typ = "DC Bus"
    table = "bus_dc"
    key = "dcbusbars"

    vn_kv: Annotated[float, quantity("kV", "Nominal voltage; per-unit values refer to it.", gt=0)]
    in_service: InService = True
    min_vm_pu: Annotated[float, quantity("pu", "Lowest voltage allowed.", ge=0)] | None = None
    max_vm_pu: Annotated[float, quantity("pu", "Highest voltage allowed.", gt=0)] | None = None
    type: Label | None = None
    zone: Label | None = None
    geo: Label | None = None


class LineDC(Element, frozen=True):
    """A line of a DC network: a resistance."""

    typ = "Line DC"
    table = "line_dc"
    key = "linesdc"
    ports = (Port("from_bus_dc", "p_from_mw", None), Port("to_bus_dc", "p_to_mw", None))
    from_std_type = ("r_ohm_per_km", "max_i_ka")

    from_bus_dc: Annotated[str, refers_to("DC Bus", "DC bus at the from end.")]
    to_bus_dc: Annotated[str, refers_to("DC Bus", "DC bus at the to end.")]
    length_km: Annotated[float, quantity("km", "Length.", gt=0)]
    std_type: Annotated[str, says("Standard type of pandapower's library; explicit values win over it.")] | None = None
    r_ohm_per_km: Annotated[float, quantity("Ω/km", "Resistance.", gt=0)] | None = None
    g_us_per_km: Annotated[float, quantity("µS/km", "Conductance to earth.", ge=0)] = 0.0
    max_i_ka: Annotated[float, quantity("kA", "Thermal rating of one system.", gt=0)] | None = None
    df: Df = 1.0
    parallel: Parallel = 1
    in_service: InService = True
    max_loading_percent: MaxLoading | None = None
    type: Label | None = None
    geo: Label | None = None


class LoadDC(Element, frozen=True):
    """A consumer in a DC network."""

    typ = "Load DC"
    table = "load_dc"
    key = "loadsdc"
    ports = (Port("bus_dc", "p_dc_mw", None),)

    bus_dc: DcBusRef
    p_dc_mw: Annotated[float, quantity("MW", "Active power consumed.")]
    scaling: Scaling = 1.0
    in_service: InService = True
    type: Label | None = None
    controllable: Controllable | None = None


class SourceDC(Element, frozen=True):
    """A source that holds the voltage of a DC bus."""

    typ = "Source DC"
    table = "source_dc"
    key = "sourcesdc"
    ports = (Port("bus_dc", "p_dc_mw", None, -1),)

    bus_dc: DcBusRef
    vm_pu: Annotated[float, quantity("pu", "Voltage it holds.", gt=0)] = 1.0
    in_service: InService = True
    type: Label | None = None


ControlAc = Annotated[Literal["vm_pu", "q_mvar", "slack"], says("Quantity held on the AC side.")]
ControlDc = Annotated[Literal["vm_pu", "p_mw"], says("Quantity held on the DC side.")]


class VSC(Element, frozen=True):
    """A voltage-source converter between an AC and a DC bus."""

    typ = "VSC"
    table = "vsc"
    key = "vscs"
    ports = (Port("bus", "p_mw", "q_mvar"), Port("bus_dc", "p_dc_mw", None))

    bus: AcBus
    bus_dc: DcBusRef
    r_ohm: Annotated[float, quantity("Ω", "Resistance of the coupling transformer.", ge=0)]
    x_ohm: Annotated[float, quantity("Ω", "Reactance of the coupling transformer.")]
    r_dc_ohm: Annotated[float, quantity("Ω", "Resistance on the DC side.", ge=0)]
    pl_dc_mw: Annotated[float, quantity("MW", "No-load losses on the DC side.", ge=0)] = 0.0
    control_mode_ac: ControlAc = "vm_pu"
    control_value_ac: Annotated[float, quantity("as control_mode_ac", "Set-point on the AC side.")] = 1.0
    control_mode_dc: ControlDc = "p_mw"
    control_value_dc: Annotated[float, quantity("as control_mode_dc", "Set-point on the DC side.")] = 0.0
    controllable: LiveControl = True
    in_service: InService = True


class B2BVSC(Element, frozen=True):
    """Two converters in series on the DC side, between a plus and a minus bus."""

    typ = "B2B VSC"
    table = "vsc_stacked"
    key = "b2bvscs"
    ports = (Port("bus", "p_mw", "q_mvar"), Port("bus_dc_plus", "p_dc_mw_p", None), Port("bus_dc_minus", "p_dc_mw_m", None))

    bus: AcBus
    bus_dc_plus: Annotated[str, refers_to("DC Bus", "DC bus of the plus pole.")]
    bus_dc_minus: Annotated[str, refers_to("DC Bus", "DC bus of the minus pole.")]
    r_ohm: Annotated[float, quantity("Ω", "Resistance of the coupling transformer.", ge=0)]
    x_ohm: Annotated[float, quantity("Ω", "Reactance of the coupling transformer.")]
    r_dc_ohm: Annotated[float, quantity("Ω", "Resistance on the DC side.", ge=0)]
    pl_dc_mw: Annotated[float, quantity("MW", "No-load losses on the DC side.", ge=0)] = 0.0
    control_mode_ac: ControlAc = "vm_pu"
    control_value_ac: Annotated[float, quantity("as control_mode_ac", "Set-point on the AC side.")] = 1.0
    control_mode_dc: ControlDc = "p_mw"
    control_value_dc: Annotated[float, quantity("as control_mode_dc", "Set-point on the DC side.")] = 0.0
    controllable: LiveControl = True
    in_service: InService = True


class BipolarVSC(Element, frozen=True):
    """A bipolar converter station between one AC bus and the two poles of a DC link."""

    typ = "Bipolar VSC"
    table = "vsc_bipolar"
    key = "bipolarvscs"
    ports = B2BVSC.ports

    bus: AcBus
    bus_dc_plus: Annotated[str, refers_to("DC Bus", "DC bus of the plus pole.")]
    bus_dc_minus: Annotated[str, refers_to("DC Bus", "DC bus of the minus pole.")]
    r_ohm: Annotated[float, quantity("Ω", "Resistance of the coupling transformer.", ge=0)]
    x_ohm: Annotated[float, quantity("Ω", "Reactance of the coupling transformer.")]
    r_dc_ohm: Annotated[float, quantity("Ω", "Resistance on the DC side.", ge=0)]
    control_mode: Annotated[Literal["Vac_phi", "Vdc_phi", "Vdc_Q", "Pac_Vac", "Pac_Qac", "Vdc_Vac"], says("The two quantities it holds.")]
    control_value_1: Annotated[float, quantity("as control_mode", "Set-point of the first quantity.")]
    control_value_2: Annotated[float, quantity("as control_mode", "Set-point of the second quantity.")]
    pl_dc_mw: Annotated[float, quantity("MW", "No-load losses on the DC side.", ge=0)] = 0.0
    controllable: LiveControl = True
    in_service: InService = True


# -- the catalogue ---------------------------------------------------------------------------------

KINDS: tuple[type[Element], ...] = (
    Bus, ExternalGrid, Generator, StaticGenerator, AsymmetricStaticGenerator, Load, AsymmetricLoad,
    Line, Transformer, ThreeWindingTransformer, ShuntReactor, Capacitor, Shunt, Impedance, Ward, ExtendedWard,
    Motor, SVC, TCSC, SSC, Storage, PVSystem, Switch, DCLine,
    DCBus, LineDC, LoadDC, SourceDC, VSC, B2BVSC, BipolarVSC,
)  # fmt: skip

KIND: Mapping[str, type[Element]] = MappingProxyType({kind.typ: kind for kind in KINDS})


FIELDS: Mapping[type[Element], Mapping[str, Field]] = MappingProxyType({kind: fields_of(kind) for kind in KINDS})


def _fold(word: str) -> str:
    return word.casefold().replace(" ", "").replace("-", "").replace("_", "").rstrip("0123456789")


#: Every spelling of a kind, folded: its name, pandapower's table, the class.
_SPELLINGS: Mapping[str, type[Element]] = MappingProxyType({_fold(kind.table): kind for kind in reversed(KINDS) if kind not in (PVSystem, ShuntReactor, Capacitor)} | {_fold(kind.typ): kind for kind in KINDS})


def kind_named(word: str) -> type[Element] | None:
    """The kind that a `typ` names: case, spaces, hyphens and a trailing counter do not matter."""
    exact = KIND.get(word)
    return exact if exact else _SPELLINGS.get(_fold(word)) if len(word) <= 80 else None


def nearest_kind(word: str) -> str:
    """“ Did you mean …?” for a `typ` that names no kind."""
    return nearest(word, KIND)
