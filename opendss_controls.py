"""OpenDSS' own controls: RegControl, CapControl, InvControl, StorageController.

They act inside a solution of the engine, by its own rules. What they end at is read back as fields
of the network, from which the engine then builds a circuit without controls: so its answer is that
of the positions that are told, iron losses at the present tap included.

Both builds end alike (measured: to the last digit of a tap, 1e-9 of a power).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from electrisim import elements as e
from electrisim.control.droops import Droops, steep_factors
from electrisim.control.plan import Fleet, Place, Plan, Tap, Values, VoltageSteps, controllers
from electrisim.elements import Element
from electrisim.network import Network, fault
from electrisim.phasing import ALL, across
from electrisim.premises import line_drops
from electrisim.problems import Problem, ProblemError
from electrisim.settings import Settings
from opendss_circuit import Circuit
from opendss_session import Session

#: Rounds of the engine's controls within one solution; it gives up after ten by default.
ROUNDS = 2000
#: Seconds that matter to the order of actions only: one tap at a time, those of a round together.
DELAYS = "delay=15 tapdelay=15 maxtapchange=1"
#: Where inverters stop [pu of voltage, of their rating], and how much of the way they go at once:
#: a fifth converges while the slope of the curve times the reactance is below nine.
INVERTERS = (
    "voltagechangetolerance=1e-8 varchangetolerance=1e-8 activepchangetolerance=1e-8 "
    "deltaq_factor=0.2 deltap_factor=0.2 voltage_curvex_ref=rated"
)
#: How far a curve is continued level on either side, in its own x; the engine would go on rising.
LEVEL = 10.0
#: Band around the target of a fleet [% of it].
BAND_PERCENT = 1e-4
#: What CapControl looks at where it controls another bus: a resistor that takes nothing [Ω].
PROBE_OHM = 1e12


class Controls:
    """The engine's controls of a circuit.

    network  in which banks under control have no steps, so that the circuit has none of them
    """

    def __init__(self, circuit: Circuit, plan: Plan) -> None:
        self.circuit = circuit
        self.taps = [tap for tap in plan.taps if tap.is_discrete]
        self.steps = [each for each in plan.steps if isinstance(each, VoltageSteps)]
        self.droops = [acting for each in plan.droops for acting in _acting(each)]
        self.fleets = [fleet for fleet in plan.fleets if fleet.most.any()]
        self._refuse_turned()
        self.commands = [
            *(command for tap in self.taps for command in self._regulator(tap)),
            *(command for bank in self.steps for command in self._bank(bank)),
            *(command for droops in self.droops for command in self._inverters(droops)),
            *(command for fleet in self.fleets for command in self._fleet(fleet)),
        ]

    def _refuse_turned(self) -> None:
        """Tap changers of which the circuit has no winding that could carry them."""
        problems = []
        for tap in self.taps:
            windings = self.circuit.windings.get(_transformer(tap))
            if windings is None or windings.taps[_winding(tap) - 1] <= 0:
                text = "has a phase shift with which OpenDSS' windings cannot control taps"
                rows, field = self.circuit.network.rows(tap.place.kind), "shift_degree"
                if tap.place.kind is e.ThreeWindingTransformer:
                    field = f"shift_{tap.tap_side}_degree"
                problems.append(fault(rows, tap.place.row, field, "unsupported", text))
        if problems:
            raise ProblemError(problems, kind="unsupported")

    def read(self, session: Session) -> Values:
        """Where the controls have brought what they move."""
        asked = [f"{_transformer(tap)}.taps" for tap in self.taps]
        asked += [f"capacitor.{_bank_name(bank)}.states" for bank in self.steps]
        told = [_numbers(text) for text in session.properties(asked)]
        found: dict[Place, float] = {}
        for tap, taps in zip(self.taps, told, strict=False):
            found[tap.place] = self._position(tap, taps[_winding(tap) - 1])
        for bank, states in zip(self.steps, told[len(self.taps) :], strict=True):
            found[bank.place] = float(sum(states))
        for droops in self.droops:
            powers = session.powers(_inverter_names(droops))
            delivered = np.array([-power[:3].sum() for power in powers]) / 1e3
            for row, fields in droops.fields(delivered).items():
                for field, value in fields.items():
                    found[Place(droops.rows.kind, row, field)] = value
        for fleet in self.fleets:
            scaling = self.circuit.network.rows(e.Storage).column("scaling")[list(fleet.rows)]
            powers = session.powers([f"storage.e{row}" for row in fleet.rows])
            drawn = np.array([power[:3].sum().real for power in powers]) / 1e3 / scaling
            found |= zip(fleet.places(), drawn.tolist(), strict=True)
        return found

    # -- tap changers ------------------------------------------------------------------------------

    def _regulator(self, tap: Tap) -> Iterator[str]:
        """The voltage of a bus, by the winding that carries the taps; one step at a time."""
        name, winding = _transformer(tap), _winding(tap)
        # The engine moves the other way where it watches the other winding.
        watched = winding if _same_side(self.circuit.network, tap) else 3 - winding
        lowest, highest = sorted(self._tap_at(tap, at) for at in (tap.lowest, tap.highest))
        count = round(tap.highest - tap.lowest)
        yield f"edit {name} wdg={winding} numtaps={count} mintap={lowest!r} maxtap={highest!r}"
        own = name.partition(".")[2]
        if self.circuit.unbalanced:
            yield self._in_phases(tap, own, watched, winding)
            return
        # It counts the taps that are missing in the watched winding's voltage, and looks at the
        # bus: with these ratios both are per unit.
        volts = self.circuit.windings[name].volts[watched - 1]
        yield (
            f"new regcontrol.{own} transformer={own} winding={watched} tapwinding={winding} "
            f"bus={self._node(tap.bus)}.1 ptratio={volts!r} "
            f"remoteptratio={self._volts(tap.bus)!r} vreg={(tap.low + tap.high) / 2!r} "
            f"band={tap.high - tap.low!r} {DELAYS}"
        )

    def _in_phases(self, tap: Tap, own: str, watched: int, winding: int) -> str:
        """The voltage of a winding itself, behind the drop of a line, all per unit of its bus."""
        node = self.circuit.node[tap.bus]
        volts = float(self.circuit.vn_kv[node] * 1e3 * across(tap.watched))
        r, x = tap.line_drop_ohm.real / volts, tap.line_drop_ohm.imag / volts
        return (
            f"new regcontrol.{own} transformer={own} winding={watched} tapwinding={winding} "
            f"ptratio={volts!r} ctprim=1 r={r!r} x={x!r} vreg={(tap.low + tap.high) / 2!r} "
            f"band={tap.high - tap.low!r} delay={tap.delay_s!r} maxtapchange=1"
        )

    def _tap_at(self, tap: Tap, position: float) -> float:
        """The engine's tap, which counts from the rated voltage, at a position of ours."""
        here = self.circuit.windings[_transformer(tap)].taps[_winding(tap) - 1]
        step = tap.signed_step_pu
        return float(here * (1 + (position - tap.neutral) * step) / self._factor(tap))

    def _factor(self, tap: Tap) -> float:
        at = tap.within(tap.position)
        return 1 + (at - tap.neutral) * tap.signed_step_pu

    def _position(self, tap: Tap, found: float) -> float:
        here = self.circuit.windings[_transformer(tap)].taps[_winding(tap) - 1]
        factor = found / here * self._factor(tap)
        return float(tap.within(round(tap.neutral + (factor - 1) / tap.signed_step_pu)))

    # -- banks -------------------------------------------------------------------------------------

    def _bank(self, bank: VoltageSteps) -> Iterator[str]:
        circuit, row = self.circuit, bank.place.row
        rows = circuit.network.rows(bank.place.kind)
        shunt = rows.elements[row]
        name, at = _bank_name(bank), int(rows.at["bus"][row])
        node = circuit.node[at]
        vn_kv = shunt.vn_kv or float(circuit.vn_kv[node])
        count, on = int(bank.most), int(bank.within(bank.position))
        states = ",".join("1" if step < on else "0" for step in range(count))
        yield (
            f"new capacitor.{name} phases=3 conn=wye bus1={self._node(at)}.1.2.3 kv={vn_kv!r} "
            f"kvar={-1e3 * shunt.q_mvar * count!r} numsteps={count} states=({states})"
        )
        watched = self._node(bank.bus)
        yield f"new reactor.{name} phases=3 bus1={watched}.1.2.3 r={PROBE_OHM!r} x=0"
        volts = self._volts(bank.bus)
        low, high = (bank.target + sign * bank.tol for sign in (-1, 1))
        yield (
            f"new capcontrol.{name} capacitor={name} element=reactor.{name} terminal=1 "
            f"type=voltage ptratio=1 ptphase=1 onsetting={low * volts!r} "
            f"offsetting={high * volts!r} delay=15 delayoff=15 deadtime=0"
        )

    # -- inverters ---------------------------------------------------------------------------------

    def _inverters(self, droops: Droops) -> Iterator[str]:
        for row, name, rating in zip(
            droops.at.tolist(), _inverter_names(droops), droops.rating_mva.tolist(), strict=True
        ):
            element = droops.rows.elements[row]
            own = name.partition(".")[2]
            kva = 1e3 * rating
            if droops.rows.kind is e.Storage:
                kw = 1e3 * -element.p_mw * element.scaling
                yield f"edit {name} kwrated={kva!r} kva={kva!r} kw={kw!r} %cutin=0 %cutout=0"
            pmpp = element.pmpp_kw if droops.rows.kind is e.PVSystem else kva
            modes = []
            if element.q_control == "qv":
                yield _curve(f"{own}q", element.qv_curve)
                modes.append(f"vvc_curve1={own}q refreactivepower=varmax")
            if element.q_control == "cosphi_p":
                points = steep_factors(element.cosphi_p_curve)
                yield _curve(f"{own}f", [(x * kva / pmpp, y) for x, y in points])
                modes.append(f"mode=wattpf wattpf_curve={own}f")
            if element.pv_curve is not None:
                yield _curve(f"{own}w", element.pv_curve)
                modes.append(f"voltwatt_curve={own}w voltwattyaxis=pmpppu")
            if element.q_control == "qv":
                modes.append("mode=voltvar" if element.pv_curve is None else "combimode=vv_vw")
            elif element.pv_curve is not None:
                modes.append("mode=voltwatt")
            yield f"new invcontrol.{own} derlist=({name}) {' '.join(modes)} {INVERTERS}"

    # -- fleets of storages ------------------------------------------------------------------------

    def _fleet(self, fleet: Fleet) -> Iterator[str]:
        """Idle at first: without that word EPRI's build begins with a fifth of the rating."""
        acting = [
            (row, share, most)
            for row, share, most in zip(
                fleet.rows, fleet.shares.tolist(), fleet.most.tolist(), strict=True
            )
            if most
        ]
        for row, _, most in acting:
            kva = 1e3 * most
            yield f"edit storage.e{row} kwrated={kva!r} kva={kva!r} kw=0 state=idling"
        names = ",".join(f"e{row}" for row, _, _ in acting)
        weights = ",".join(repr(share) for _, share, _ in acting)
        yield (
            f"new storagecontroller.e{acting[0][0]} element=line.l{fleet.line} terminal=1 "
            f"modedischarge=peakshave kwtarget={1e3 * fleet.target!r} %kwband={BAND_PERCENT!r} "
            f"modecharge=time timechargetrigger=-1 monphase=avg elementlist=({names}) "
            f"weights=({weights})"
        )

    def _node(self, bus: int) -> str:
        return self.circuit.nodes[self.circuit.node[bus]]

    def _volts(self, bus: int) -> float:
        """Nominal voltage of a bus to earth [V]."""
        return float(self.circuit.vn_kv[self.circuit.node[bus]] * 1e3 / np.sqrt(3))


def _acting(droops: Droops) -> Iterator[Droops]:
    """Those whose power the engine's InvControl decides; the others' is known beforehand."""
    rows = droops.rows
    at = [row for row in droops.at.tolist() if _by_engine(rows.elements[row])]
    if at and rows.kind is not e.StaticGenerator:
        yield Droops(rows, np.array(at))


def _by_engine(element: Any) -> bool:
    # A Storage's InvControl keeps no power factor by power; without a voltage it is known anyway.
    by_power = element.q_control == "cosphi_p" and isinstance(element, e.PVSystem)
    return element.q_control == "qv" or by_power or element.pv_curve is not None


def _transformer(tap: Tap) -> str:
    if tap.place.kind is e.Transformer:
        return f"transformer.t{tap.place.row}"
    return f"transformer.u{tap.place.row}{tap.tap_side[0]}"


def _winding(tap: Tap) -> int:
    """Which winding of its transformer carries the taps: legs below the star end outside."""
    return 1 if tap.tap_side == "hv" else 2


def _same_side(network: Network, tap: Tap) -> bool:
    element = network.rows(tap.place.kind).elements[tap.place.row]
    return bool(element.control_side == element.tap_side)


def _bank_name(bank: VoltageSteps) -> str:
    return f"{_LETTERS[bank.place.kind]}{bank.place.row}k"


_LETTERS: Mapping[type[Element], str] = {e.Shunt: "h", e.ShuntReactor: "r", e.Capacitor: "c"}


def _inverter_names(droops: Droops) -> list[str]:
    class_ = "storage.e" if droops.rows.kind is e.Storage else "pvsystem.p"
    return [f"{class_}{row}" for row in droops.at.tolist()]


def _curve(name: str, points: Sequence[tuple[float, float]]) -> str:
    first, last = points[0], points[-1]
    level = [(first[0] - LEVEL, first[1]), *points, (last[0] + LEVEL, last[1])]
    x, y = (",".join(repr(float(v)) for v in axis) for axis in zip(*level, strict=True))
    return f"new xycurve.{name} npts={len(level)} xarray=({x}) yarray=({y})"


_NUMBER = re.compile(r"-?\d+(?:\.\d*)?(?:e[+-]?\d+)?", re.IGNORECASE)


def _numbers(text: str) -> list[float]:
    """“[0.985, 1, ]” and “[ 1 1 0 ]” alike."""
    return [float(number) for number in _NUMBER.findall(text)]


# -- what the engine's controls cannot do ----------------------------------------------------------


def refused_controls(network: Network, settings: Settings) -> Iterator[Problem]:
    """Controllers that OpenDSS has no control for, by element and field."""
    if settings.load_model == "admittance" and controllers(network):
        message = "OpenDSS' controls do not act on loads as admittances (load_model admittance)."
        yield Problem(kind="unsupported", message=message, field="load_model")
    if settings.model == "unbalanced":
        yield from _refused_in_phases(network)
    else:
        yield from line_drops(network, "opendss")
    for kind, why in _REFUSALS.items():
        rows = network.rows(kind)
        for row in np.flatnonzero(rows.column("in_service")) if len(rows) else ():
            for field, text in why(rows.elements[int(row)]):
                hint = " The engine pandapower can."
                yield fault(rows, int(row), field, "unsupported", f"{text} on OpenDSS", hint)


def _refused_in_phases(network: Network) -> Iterator[Problem]:
    """In three unequal phases tap changers of two-winding transformers act, and nothing else."""
    for kind, row in controllers(network):
        rows = network.rows(kind)
        if kind is not e.Transformer:
            text = "has a controller, which acts in balanced networks only"
            yield fault(rows, row, None, "unsupported", text)
            continue
        tap, unit = Tap(rows, row), rows.elements[row]
        if unit.phases == ALL and len(tap.watched) == 2 and tap.line_drop_ohm:
            text = "has a delta where its line_drop counts, whose current is no phase's"
            yield fault(rows, row, "line_drop_r_ohm", "unsupported", text)
        if unit.centre_tapped:
            text = "is centre-tapped and has no winding that could be controlled"
            yield fault(rows, row, "tap_control", "unsupported", text)


def _refused_tap(element: Any) -> Iterator[tuple[str, str]]:
    if element.tap_control is None:
        return
    if element.tap_control == "continuous":
        yield "tap_control", "cannot move its taps without steps"
    if element.tap_step_degree:
        yield "tap_step_degree", "cannot control taps that also turn the voltage"
    if not float(element.tap_max - element.tap_min).is_integer():
        yield "tap_max", "needs a whole number of taps"
    if isinstance(element, e.ThreeWindingTransformer):
        if element.tap_at_star_point:
            yield "tap_at_star_point", "cannot control taps at its star point"
        sides = {element.tap_side, element.control_side}
        if len(sides) == 2 and "hv" not in sides:
            yield "control_side", "cannot control a voltage that its taps are not on the way to"


def _refused_steps(shunt: Any) -> Iterator[tuple[str, str]]:
    if shunt.step_control == "line_flow":
        yield "step_control", "cannot follow the flow of a line with its steps"
    if shunt.step_control != "voltage":
        return
    if shunt.q_mvar > 0 or shunt.p_mw:
        yield "step_control", "cannot control steps of anything but lossless capacitors"
    if shunt.step_increment != 1:
        yield "step_increment", "takes one step at a time"


def _refused_droop(inverter: Any) -> Iterator[tuple[str, str]]:
    voltage = inverter.q_control == "qv" or inverter.pv_curve is not None
    if isinstance(inverter, e.StaticGenerator) and voltage:
        field = "q_control" if inverter.q_control == "qv" else "pv_curve"
        yield field, "cannot follow its voltage (a PVSystem or a Storage can)"
    elif inverter.q_control in ("cosphi", "cosphi_p") and inverter.pv_curve is not None:
        yield "pv_curve", "cannot follow its voltage and keep a power factor"


def _refused_station(machine: Any) -> Iterator[tuple[str, str]]:
    if machine.station_control is not None:
        yield "station_control", "cannot hold a voltage together with others"


_REFUSALS: Mapping[type[Element], Callable[[Any], Iterator[tuple[str, str]]]] = {
    **dict.fromkeys((e.Transformer, e.ThreeWindingTransformer), _refused_tap),
    **dict.fromkeys((e.Shunt, e.ShuntReactor, e.Capacitor), _refused_steps),
    **dict.fromkeys((e.StaticGenerator, e.Storage, e.PVSystem), _refused_droop),
    **dict.fromkeys((e.ExternalGrid, e.Generator), _refused_station),
}
