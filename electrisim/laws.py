"""What every element was asked for, by its own law, at the returned voltages.

Powers have the sign of the kind's result columns.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Mapping
from types import MappingProxyType

import numpy as np

from electrisim import elements as e
from electrisim.branches import thyristor_siemens
from electrisim.claims import Answered, Claim
from electrisim.elements import Element
from electrisim.network import Array, Network, Rows
from electrisim.pvsystem import power_mva
from electrisim.settings import Settings
from electrisim.transformers import phase_shifts_count

#: Voltage factor of a network feeder's largest short-circuit power.
C_MAX = 1.1

# -- consumers and static generators: complex power at a voltage -----------------------------------


def _scaled(rows: Rows, vm: Array, network: Network, settings: Settings) -> Array:
    power = rows.column("p_mw") + 1j * rows.column("q_mvar")
    return np.asarray(power * rows.column("scaling"))


def _load(rows: Rows, vm: Array, network: Network, settings: Settings) -> Array:
    power = _scaled(rows, vm, network, settings)
    shares = [rows.column(f"const_{share}_percent") for share in ("z_p", "i_p", "z_q", "i_q")]
    depends = settings.voltage_depend_loads and any(share.any() for share in shares)
    if not depends or settings.linear:
        return power
    return power.real * zip_factor(rows, "p", vm) + 1j * power.imag * zip_factor(rows, "q", vm)


def zip_factor(rows: Rows, part: str, vm: Array) -> Array:
    """1 − z − i + i·v + z·v² from the constant-impedance and constant-current shares."""
    z = rows.column(f"const_z_{part}_percent") / 100
    i = rows.column(f"const_i_{part}_percent") / 100
    return np.asarray(1 - z - i + i * vm + z * vm**2)


def _static_generator(rows: Rows, vm: Array, network: Network, settings: Settings) -> Array:
    power = rows.column("p_mw") + 1j * rows.column("q_mvar")
    if settings.enforce_q_lims:
        lower, upper = rows.column("min_q_mvar"), rows.column("max_q_mvar")
        power.imag = np.fmin(np.fmax(power.imag, lower), upper)
    return np.asarray(power * rows.column("scaling"))


def by_phase(rows: Rows) -> Array:
    """What an asymmetric element asks of each phase, shape (3, n)."""
    power = np.array([rows.column(f"p_{a}_mw") + 1j * rows.column(f"q_{a}_mvar") for a in "abc"])
    return np.asarray(power * rows.column("scaling"))


def _asymmetric(rows: Rows, vm: Array, network: Network, settings: Settings) -> Array:
    return np.asarray(by_phase(rows).sum(axis=0))


def _motor(rows: Rows, vm: Array, network: Network, settings: Settings) -> Array:
    """P = pn_mech/η at the present mechanical load, Q from cos φ."""
    load = rows.column("loading_percent") / 100 * rows.column("scaling")
    p = rows.column("pn_mech_mw") / (rows.column("efficiency_percent") / 100) * load
    return np.asarray(p * (1 + 1j * np.tan(np.arccos(rows.column("cos_phi")))))


def _ward(rows: Rows, vm: Array, network: Network, settings: Settings) -> Array:
    constant = rows.column("ps_mw") + 1j * rows.column("qs_mvar")
    admittance = rows.column("pz_mw") + 1j * rows.column("qz_mvar")
    return np.asarray(constant + admittance * vm**2)


def _shunt(rows: Rows, vm: Array, network: Network, settings: Settings) -> Array:
    vn_bus = network.rows(e.Bus).column("vn_kv")[rows.at["bus"]]
    vn = rows.column("vn_kv")
    ratio = np.where(np.isnan(vn), 1, vn_bus / vn)
    power = (rows.column("p_mw") + 1j * rows.column("q_mvar")) * rows.column("step")
    return np.asarray(power * (ratio * vm) ** 2)


def _pv_system(rows: Rows, vm: Array, network: Network, settings: Settings) -> Array:
    return power_mva(rows)


Law = Callable[[Rows, Array, Network, Settings], Array]

#: Kinds whose power follows from the voltage magnitude at their bus alone.
POWER: Mapping[type[Element], Law] = MappingProxyType(
    {
        e.Load: _load,
        e.AsymmetricLoad: _asymmetric,
        e.StaticGenerator: _static_generator,
        e.AsymmetricStaticGenerator: _asymmetric,
        e.Storage: _scaled,
        e.Motor: _motor,
        e.Ward: _ward,
        e.ExtendedWard: _ward,
        e.PVSystem: _pv_system,
        e.Shunt: _shunt,
        e.ShuntReactor: _shunt,
        e.Capacitor: _shunt,
    }
)


# -- set-points ------------------------------------------------------------------------------------


def setpoint_claims(answered: Answered, limit_mva: float) -> Iterator[Claim]:
    """Delivered beside asked for every element with a set-point.

    limit_mva  how near to a reactive limit a generator is at it
    """
    for kind in answered.network.kinds:
        rows = answered.network.rows(kind)
        if kind in SETPOINTS:
            yield from SETPOINTS[kind](answered, rows, limit_mva)
        elif kind in POWER:
            yield _power(answered, rows, asked_mva(answered, rows, answered.vm[rows.at["bus"]]))


def asked_mva(answered: Answered, rows: Rows, vm: Array) -> Array:
    """What elements of a kind ask for at these voltages, their internal sources apart [MVA]."""
    law, settings = POWER[rows.kind], answered.settings
    if settings.load_model == "admittance":
        nominal = law(rows, np.ones(len(rows)), answered.network, settings)
        return np.asarray(nominal * vm**2)
    return law(rows, vm, answered.network, settings)


def _power(answered: Answered, rows: Rows, asked: Array | None = None) -> Claim:
    """Its power, of which nothing may be asked but to be a number."""
    port = rows.kind.ports[0]
    delivered = answered.power(rows.kind, port.p, port.q)
    if asked is None:
        asked = delivered
    elif answered.linear:
        asked = asked.real
    return Claim(rows, "setpoint", "power", asked, delivered, answered.topology.alive(rows.kind))


def _flag(rows: Rows, field: str) -> Array:
    return np.asarray(rows.column(field), dtype=bool)


def _external_grid(answered: Answered, rows: Rows, limit_mva: float) -> Iterator[Claim]:
    yield _power(answered, rows)
    angle = rows.column("va_degree") * phase_shifts_count(answered.network, answered.settings)
    vm = 1.0 if answered.linear else rows.column("vm_pu")
    held = vm * np.exp(1j * np.deg2rad(angle))
    here = answered.voltage[rows.at["bus"]]
    if answered.settings.source_impedance:
        delivered = answered.power(e.ExternalGrid, "p_mw", "q_mvar")
        here = here + thevenin_pu(rows) * np.conj(delivered / here)
    yield Claim(rows, "setpoint", "voltage", held, here, answered.topology.alive(e.ExternalGrid))


def thevenin_pu(rows: Rows) -> Array:
    """Impedance of external grids, Z = c·Un²/S″k with c = 1.1 (IEC 60909-0) [pu of 1 MVA]."""
    x = C_MAX / rows.column("s_sc_max_mva") / np.hypot(1, rows.column("rx_max"))
    return np.asarray(x * (rows.column("rx_max") + 1j))


def _generator(answered: Answered, rows: Rows, limit_mva: float) -> Iterator[Claim]:
    """Who balances an island, alone or as one of several, is free in active power."""
    told = answered.power(e.Generator, "p_mw", "q_mvar")
    slack = _flag(rows, "slack")
    balances = slack
    if answered.settings.distributed_slack:
        balances = slack | (rows.column("slack_weight") > 0)
    asked = np.where(balances, told.real, rows.column("p_mw") * rows.column("scaling"))
    alive = answered.topology.alive(e.Generator)
    yield Claim(rows, "setpoint", "power", asked + 1j * told.imag, told, alive)
    fields = ("bus", "vm_pu", "min_q_mvar", "max_q_mvar")
    yield from _holding(answered, rows, fields, told.imag, alive & ~slack, limit_mva)


def _holding(
    answered: Answered,
    rows: Rows,
    fields: tuple[str, str, str, str],
    q: Array,
    limited: Array,
    limit_mva: float,
) -> Iterator[Claim]:
    """A voltage held by reactive power q, but where limits count and it is at one of them.

    fields   the reference to the bus, its set-point, the lower and the upper limit of q
    limited  who has limits
    """
    bus, vm_pu, *limits = fields
    if answered.linear:
        return
    at = answered.topology.alive(rows.kind)
    here, held = answered.vm[rows.at[bus]], rows.column(vm_pu)
    if answered.settings.enforce_q_lims:
        lower, upper = map(rows.column, limits)
        within = np.fmin(np.fmax(q, lower), upper)
        yield Claim(rows, "setpoint", "reactive", within, q, limited, "limit")
        # At its upper limit it may lack voltage, at its lower one have too much, not the reverse.
        held = np.where(limited & (upper - q <= limit_mva), np.fmin(held, here), held)
        held = np.where(limited & (q - lower <= limit_mva), np.fmax(held, here), held)
    yield Claim(rows, "setpoint", "voltage", held, here, at)


def _dc_line(answered: Answered, rows: Rows, limit_mva: float) -> Iterator[Claim]:
    """What one end takes, less losses, the other gives; a negative p_mw goes from to → from."""
    alive = answered.topology.alive(e.DCLine)
    taken = rows.column("p_mw")
    arriving = np.abs(taken) * (1 - rows.column("loss_percent") / 100) - rows.column("loss_mw")
    forward = taken > 0
    asked = {
        "from": np.where(forward, taken, -arriving),
        "to": np.where(forward, -arriving, -taken),
    }
    for side, power in asked.items():
        told = answered.power(e.DCLine, f"p_{side}_mw", f"q_{side}_mvar")
        yield Claim(rows, "setpoint", "power", power + 1j * told.imag, told, alive)
        held = (f"{side}_bus", f"vm_{side}_pu")
        fields = (*held, f"min_q_{side}_mvar", f"max_q_{side}_mvar")
        yield from _holding(answered, rows, fields, -told.imag, alive, limit_mva)
        if not answered.linear:
            here = answered.voltage[rows.at[held[0]]]
            there = answered.phasor(e.DCLine, held[1], f"va_{side}_degree")
            yield Claim(rows, "mismatch", "voltage", here, there, alive)
    loss = asked["from"] + asked["to"]
    yield Claim(rows, "mismatch", "active", loss, answered.column(e.DCLine, "pl_mw"), alive, "loss")


# -- sources behind an impedance -------------------------------------------------------------------


def behind_impedance(answered: Answered, rows: Rows) -> tuple[Array, Array]:
    """Power from the bus into r_ohm + j·x_ohm, and into the internal source at its other end."""
    bus = rows.at["bus"]
    here = answered.voltage[bus]
    inside = answered.phasor(rows.kind, "vm_internal_pu", "va_internal_degree")
    z = (rows.column("r_ohm") + 1j * rows.column("x_ohm")) / answered.vn_kv[bus] ** 2
    current = np.conj((here - inside) / z)
    return here * current, inside * current


def _extended_ward(answered: Answered, rows: Rows, limit_mva: float) -> Iterator[Claim]:
    """The internal source gives reactive power only, unless it shares in a distributed slack."""
    asked = asked_mva(answered, rows, answered.vm[rows.at["bus"]])
    if answered.linear:
        yield _power(answered, rows, asked)
        return
    drawn, inside = behind_impedance(answered, rows)
    shares = (rows.column("slack_weight") > 0) & answered.settings.distributed_slack
    yield Claim(
        rows, "setpoint", "power", asked + drawn, answered.power(e.ExtendedWard, "p_mw", "q_mvar"),
        answered.topology.alive(e.ExtendedWard) & ~shares,
    )  # fmt: skip
    yield from _idle_inside(answered, rows, inside, ~shares)
    held = answered.column(e.ExtendedWard, "vm_internal_pu")
    alive = answered.topology.alive(e.ExtendedWard)
    yield Claim(rows, "setpoint", "voltage", rows.column("vm_pu"), held, alive)


def _idle_inside(answered: Answered, rows: Rows, inside: Array, at: Array) -> Iterator[Claim]:
    alive = answered.topology.alive(rows.kind)
    nothing = np.zeros(len(rows))
    yield Claim(rows, "setpoint", "active", nothing, inside.real, alive & at, "inside")


def _ssc(answered: Answered, rows: Rows, limit_mva: float) -> Iterator[Claim]:
    """Its internal source gives reactive power only, to hold the bus or at a fixed voltage."""
    alive = answered.topology.alive(e.SSC)
    drawn, inside = behind_impedance(answered, rows)
    yield from _idle_inside(answered, rows, inside, alive)
    if answered.linear:
        return
    reported = answered.column(e.SSC, "q_mvar")
    yield Claim(rows, "mismatch", "reactive", drawn.imag, reported, alive)
    controls = _flag(rows, "controllable")
    here = answered.vm[rows.at["bus"]]
    held = np.where(controls, here, answered.column(e.SSC, "vm_internal_pu"))
    asked = np.where(controls, rows.column("set_vm_pu"), rows.column("vm_internal_pu"))
    yield Claim(rows, "setpoint", "voltage", asked, held, alive)


# -- thyristors ------------------------------------------------------------------------------------


def _susceptances(answered: Answered, rows: Rows) -> tuple[Array, Array, Array]:
    """Susceptance by the firing angle that may be, by the returned one, and by x_ohm [S]."""
    angle = answered.column(rows.kind, "thyristor_firing_angle_degree")
    within = np.clip(angle, rows.column("min_angle_degree"), rows.column("max_angle_degree"))
    fixed = rows.column("thyristor_firing_angle_degree")
    may = np.where(_flag(rows, "controllable"), within, fixed)
    x_l, x_c = rows.column("x_l_ohm"), rows.column("x_cvar_ohm")
    by_x = 1 / answered.column(rows.kind, "x_ohm")
    return thyristor_siemens(may, x_l, x_c), thyristor_siemens(angle, x_l, x_c), by_x


def _svc(answered: Answered, rows: Rows, limit_mva: float) -> Iterator[Claim]:
    """Reactive power alone: nothing to claim in the linearised power flow."""
    if answered.linear:
        return
    alive, bus = answered.topology.alive(e.SVC), rows.at["bus"]
    kv2 = (answered.vm * answered.vn_kv)[bus] ** 2
    may, does, by_x = _susceptances(answered, rows)
    reported = answered.column(e.SVC, "q_mvar")
    yield Claim(rows, "setpoint", "reactive", kv2 * may, reported, alive, "limit")
    yield Claim(rows, "mismatch", "reactive", kv2 * does, kv2 * by_x, alive)
    held = alive & _flag(rows, "controllable")
    yield Claim(rows, "setpoint", "voltage", rows.column("set_vm_pu"), answered.vm[bus], held)


def _tcsc(answered: Answered, rows: Rows, limit_mva: float) -> Iterator[Claim]:
    alive = answered.topology.alive(e.TCSC)
    held = alive & _flag(rows, "controllable")
    reported = answered.column(e.TCSC, "p_to_mw")
    yield Claim(rows, "setpoint", "active", rows.column("set_p_to_mw"), reported, held)
    ends = [answered.voltage[rows.at[end]] * answered.vn_kv[rows.at[end]] for end in _TCSC_ENDS]
    kv2 = np.abs(ends[0] - ends[1]) ** 2
    may, does, by_x = _susceptances(answered, rows)
    yield Claim(rows, "setpoint", "reactive", kv2 * may, kv2 * does, alive, "limit")
    yield Claim(rows, "mismatch", "reactive", kv2 * does, kv2 * by_x, alive)


_TCSC_ENDS = ("from_bus", "to_bus")


# -- DC networks -----------------------------------------------------------------------------------


def _load_dc(answered: Answered, rows: Rows, limit_mva: float) -> Iterator[Claim]:
    yield _power(answered, rows, rows.column("p_dc_mw") * rows.column("scaling"))


def _source_dc(answered: Answered, rows: Rows, limit_mva: float) -> Iterator[Claim]:
    yield _power(answered, rows)
    here, alive = answered.vm_dc[rows.at["bus_dc"]], answered.topology.alive(e.SourceDC)
    yield Claim(rows, "setpoint", "voltage", rows.column("vm_pu"), here, alive)


def _vsc(answered: Answered, rows: Rows, limit_mva: float) -> Iterator[Claim]:
    """What enters the converter from the AC side leaves it on the DC side."""
    told = answered.power(e.VSC, "p_mw", "q_mvar")
    drawn, inside = behind_impedance(answered, rows)
    alive = answered.topology.alive(e.VSC)
    yield Claim(rows, "mismatch", "power", drawn, told, alive)
    through = yield from _pole(answered, rows, "bus_dc", "", 1.0)
    yield Claim(rows, "setpoint", "active", -through, inside.real, alive, "inside")
    yield from _ac_side(answered, rows, told.imag)


def _stacked(answered: Answered, rows: Rows, limit_mva: float) -> Iterator[Claim]:
    """Two converters in parallel on the AC side, each with half the impedances, one per pole.

    Each of the two is set to the control values, as pandapower reads them.
    """
    yield _power(answered, rows)
    yield from _ac_side(answered, rows, answered.power(e.B2BVSC, "p_mw", "q_mvar").imag / 2)
    for bus, mark in (("bus_dc_plus", "_p"), ("bus_dc_minus", "_m")):
        yield from _pole(answered, rows, bus, mark, 0.5)


def _pole(
    answered: Answered, rows: Rows, bus: str, mark: str, share: float
) -> Generator[Claim, None, Array]:
    """A converter's DC side; returns what passes through its resistance into the valves [MW].

    mark   what the names of the pole's columns end with
    share  of r_dc_ohm that lies in this pole
    """
    at, kind, alive = rows.at[bus], rows.kind, answered.topology.alive(rows.kind)
    here, inside = answered.vm_dc[at], answered.column(kind, f"vm_internal_dc_pu{mark}")
    current = (here - inside) * answered.vn_dc_kv[at] ** 2 / (share * rows.column("r_dc_ohm"))
    drawn = here * current + rows.column("pl_dc_mw") * here**2
    told = answered.column(kind, f"p_dc_mw{mark}")
    yield Claim(rows, "mismatch", "active", drawn, told, alive)
    yield Claim(rows, "mismatch", "voltage", here, answered.column(kind, f"vm_dc_pu{mark}"), alive)
    # A converter that balances its AC side has no say on the DC side.
    free = ~_controls(answered, rows, "control_mode_ac", "slack")
    asked = rows.column("control_value_dc")
    holds = free & _controls(answered, rows, "control_mode_dc", "vm_pu")
    yield Claim(rows, "setpoint", "voltage", asked, here, holds)
    gives = free & _controls(answered, rows, "control_mode_dc", "p_mw")
    yield Claim(rows, "setpoint", "active", asked, told, gives)
    return np.asarray(inside * current)


def _controls(answered: Answered, rows: Rows, field: str, word: str) -> Array:
    chosen = np.array([value == word for value in rows.values(field)], dtype=bool)
    return np.asarray(answered.topology.alive(rows.kind) & _flag(rows, "controllable") & chosen)


def _ac_side(answered: Answered, rows: Rows, q: Array) -> Iterator[Claim]:
    """As slack it is at 0°; otherwise it holds a magnitude or its reactive power."""
    asked, here = rows.column("control_value_ac"), answered.voltage[rows.at["bus"]]
    slack = _controls(answered, rows, "control_mode_ac", "slack")
    holds = slack | _controls(answered, rows, "control_mode_ac", "vm_pu")
    yield Claim(rows, "setpoint", "voltage", asked, np.where(slack, here, np.abs(here)), holds)
    gives = _controls(answered, rows, "control_mode_ac", "q_mvar")
    yield Claim(rows, "setpoint", "reactive", asked, q, gives)


SETPOINTS: Mapping[type[Element], Callable[[Answered, Rows, float], Iterator[Claim]]] = (
    MappingProxyType(
        {
            e.ExternalGrid: _external_grid,
            e.Generator: _generator,
            e.DCLine: _dc_line,
            e.ExtendedWard: _extended_ward,
            e.SSC: _ssc,
            e.SVC: _svc,
            e.TCSC: _tcsc,
            e.LoadDC: _load_dc,
            e.SourceDC: _source_dc,
            e.VSC: _vsc,
            e.B2BVSC: _stacked,
        }
    )
)
