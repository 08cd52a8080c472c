"""What flows through branches at given voltages, from the graph's own data and no engine.

Every branch is a two-port between its buses, a three-winding transformer a star of three:

    from ──[ratio : 1]──┬──[series]──┬── to
                   [earth_from]  [earth_to]
                        ┴            ┴

Admittances are in MVA at 1 pu of the to bus. An end that is detached from its bus carries no
current; its voltage is what the branch imposes on it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import NamedTuple

import numpy as np

from electrisim import elements as e
from electrisim.elements import Element
from electrisim.network import Array, Network, Rows
from electrisim.results import Tables
from electrisim.settings import Settings
from electrisim.topology import Topology
from electrisim.transformers import Leg, TwoPorts, legs, windings

#: R/X of a switch with an impedance: pandapower's.
SWITCH_RX = 2.0
#: Temperature coefficient of a line that names none [1/K], and the temperature of its data [°C].
ALPHA_PER_K, REFERENCE_CELSIUS = 4e-3, 20.0


class Flows(NamedTuple):
    """What flows into a kind's branches, shape (ports, n).

    bus, attached  where each port ends, and whether it is connected there
    voltage_pu     at each port; at a detached end what the branch imposes there
    current        what enters there, counted in MVA at 1 pu
    power_mva      what enters there
    star_pu        voltage of the star point (three-winding transformers), shape (n,)
    """

    bus: Array
    attached: Array
    voltage_pu: Array
    current: Array
    power_mva: Array
    star_pu: Array | None = None


def flows(
    network: Network, topology: Topology, settings: Settings, tables: Tables, voltage_pu: Array
) -> dict[type[Element], Flows]:
    """What flows into the AC branches at these complex bus voltages, by kind.

    voltage_pu  shape (n_bus,), finite, 0 without supply
    tables      tell the firing angles of TCSCs
    """
    kinds = [kind for kind in CIRCUITS if kind in network.kinds]
    parts = [CIRCUITS[kind](network, network.rows(kind), settings, tables) for kind in kinds]
    found = {}
    if parts:
        ends = [ends_of(network, topology, kind) for kind in kinds]
        bus, attached = (np.concatenate(arrays, axis=1) for arrays in zip(*ends, strict=True))
        whole = TwoPorts(*map(np.concatenate, zip(*parts, strict=True)))
        voltage, current = enter(whole, voltage_pu[bus], attached)
        arrays = bus, attached, voltage, current, voltage * np.conj(current)
        stop = 0
        for kind in kinds:
            start, stop = stop, stop + len(network.rows(kind))
            found[kind] = Flows(*(array[:, start:stop] for array in arrays))
    if e.ThreeWindingTransformer in network.kinds:
        found[e.ThreeWindingTransformer] = _star_flows(network, topology, settings, voltage_pu)
    return found


def ends_of(network: Network, topology: Topology, kind: type[Element]) -> tuple[Array, Array]:
    """Bus and attachment of every end of the branches of a kind, both of shape (ports, n)."""
    rows = network.rows(kind)
    if kind is e.Switch:
        other = np.where(rows.at["et"] == "b", rows.at["element"], rows.at["bus"])
        return np.array([rows.at["bus"], other]), np.ones((2, len(rows)), dtype=bool)
    fields = [port.bus for port in kind.ports]
    return (
        np.array([rows.at[field] for field in fields]),
        np.array([topology.attached(rows, field) for field in fields]),
    )


def enter(ports: TwoPorts, voltage: Array, attached: Array) -> tuple[Array, Array]:
    """Voltages and entering currents of two-ports, (2, n) each; detached ends float."""
    y_ff, y_ft, y_tf, y_tt = ports.admittances()
    v_from, v_to = voltage
    if not attached.all():
        v_from, v_to = (
            np.where(attached[0], v_from, -y_ft / y_ff * v_to),
            np.where(attached[1], v_to, -y_tf / y_tt * v_from),
        )
        voltage = np.array([v_from, v_to])
    current = np.array([y_ff * v_from + y_ft * v_to, y_tf * v_from + y_tt * v_to])
    return voltage, current if attached.all() else np.where(attached, current, 0)


def _star_flows(
    network: Network, topology: Topology, settings: Settings, voltage_pu: Array
) -> Flows:
    """Three-winding transformers: the star point takes the voltage at which no current is left."""
    bus, attached = ends_of(network, topology, e.ThreeWindingTransformer)
    y_kk, y_ks, y_sk, y_ss = np.stack(
        [from_outside(leg) for leg in legs(network, settings)], axis=1
    )
    outside = voltage_pu[bus]
    driven = np.where(attached, -y_sk * outside, 0).sum(axis=0)
    star = driven / np.where(attached, y_ss, y_ss - y_sk * y_ks / y_kk).sum(axis=0)
    outside = np.where(attached, outside, -y_ks / y_kk * star)
    current = np.where(attached, y_kk * outside + y_ks * star, 0)
    return Flows(bus, attached, outside, current, outside * np.conj(current), star)


def from_outside(leg: Leg) -> Array:
    """The admittances of a leg as (outside, outside–star, star–outside, star)."""
    y_ff, y_ft, y_tf, y_tt = leg.ports.admittances()
    return np.stack([y_tt, y_tf, y_ft, y_ff] if leg.star_is_from else [y_ff, y_ft, y_tf, y_tt])


# -- the linearised power flow ---------------------------------------------------------------------


def linear_flows(
    network: Network, topology: Topology, settings: Settings, angle: Array
) -> dict[type[Element], Flows]:
    """As `flows` in the linearised power flow, at these bus angles [rad].

    Active power only, at 1 pu: the series reactance, the ratio and the phase shift count, losses
    and charging do not.
    """
    found = {}
    for kind, circuit in CIRCUITS.items():
        if kind is e.TCSC or kind not in network.kinds:
            continue
        ports = circuit(network, network.rows(kind), settings, {})
        bus, attached = ends_of(network, topology, kind)
        shift = np.angle(ports.ratio)
        a_from = np.where(attached[0], angle[bus[0]], angle[bus[1]] + shift)
        a_to = np.where(attached[1], angle[bus[1]], angle[bus[0]] - shift)
        power = np.where(attached.all(axis=0), ports.susceptance() * (a_from - a_to - shift), 0)
        found[kind] = _linear(bus, attached, np.stack([a_from, a_to]), np.stack([power, -power]))
    if e.ThreeWindingTransformer in network.kinds:
        bus, attached = ends_of(network, topology, e.ThreeWindingTransformer)
        star_of = list(legs(network, settings))
        b = np.where(attached, [leg.ports.susceptance() for leg in star_of], 0)
        shift = np.stack(
            [(-1 if leg.star_is_from else 1) * np.angle(leg.ports.ratio) for leg in star_of]
        )
        star = (b * (angle[bus] - shift)).sum(axis=0) / b.sum(axis=0)
        outside = np.where(attached, angle[bus], star + shift)
        power = b * (outside - star - shift)
        found[e.ThreeWindingTransformer] = _linear(bus, attached, outside, power, star)
    return found


def _linear(
    bus: Array, attached: Array, angle: Array, power: Array, star: Array | None = None
) -> Flows:
    at_star = None if star is None else np.exp(1j * star)
    return Flows(bus, attached, np.exp(1j * angle), power, power, at_star)


# -- DC networks -----------------------------------------------------------------------------------


def dc_flows(network: Network, topology: Topology, vm_pu: Array) -> Flows:
    """What flows into the lines of DC networks at these bus voltages [MW at 1 pu]."""
    rows = network.rows(e.LineDC)
    length, parallel = rows.column("length_km"), rows.column("parallel")
    ohm = rows.column("r_ohm_per_km") * length / parallel
    siemens = 1e-6 * rows.column("g_us_per_km") * length * parallel / 2
    bus, attached = ends_of(network, topology, e.LineDC)
    vn_from, vn_to = network.rows(e.DCBus).column("vn_kv")[bus]
    voltage, current = enter(ohmic(ohm, siemens, vn_from, vn_to), vm_pu[bus], attached)
    return Flows(bus, attached, voltage, current, voltage * current)


# -- the equivalent circuits -----------------------------------------------------------------------


def ends_kv(network: Network, rows: Rows) -> tuple[Array, Array]:
    """Nominal voltages of the buses at both ends of branches."""
    vn_kv = network.rows(e.Bus).column("vn_kv")
    one, other = (rows.at[port.bus] for port in rows.kind.ports)
    return vn_kv[one], vn_kv[other]


def ohmic(z_ohm: Array, y_siemens: Array, vn_from: Array, vn_to: Array) -> TwoPorts:
    """A pi section in Ω and S per end, which sees the kilovolts of its ends, not their per-unit."""
    base = vn_to**2
    series, earth = base / z_ohm, base * y_siemens
    return TwoPorts(series, series, earth, earth, vn_to / vn_from)


def line_warming(lines: Rows) -> Array:
    """Factor on the resistance of each line at its temperature_degree_celsius."""
    alpha = _given(lines.column("alpha"), ALPHA_PER_K)
    celsius = _given(lines.column("temperature_degree_celsius"), REFERENCE_CELSIUS)
    return np.asarray(1 + alpha * (celsius - REFERENCE_CELSIUS))


def _given(values: Array, otherwise: Array | float) -> Array:
    return np.where(np.isnan(values), otherwise, values)


def _line(network: Network, rows: Rows, settings: Settings, tables: Tables) -> TwoPorts:
    length, parallel = rows.column("length_km"), rows.column("parallel")
    r = rows.column("r_ohm_per_km")
    if settings.consider_line_temperature:
        r = r * line_warming(rows)
    b = 2e-9 * np.pi * network.frequency_hz * rows.column("c_nf_per_km")
    z = (r + 1j * rows.column("x_ohm_per_km")) * (length / parallel)
    y = (1e-6 * rows.column("g_us_per_km") + 1j * b) * (length * parallel / 2)
    return ohmic(z, y, *ends_kv(network, rows))


def zero_sequence_line(network: Network, rows: Rows) -> TwoPorts:
    """Lines as the zero sequence sees them."""
    length, parallel = rows.column("length_km"), rows.column("parallel")
    b = 2e-9 * np.pi * network.frequency_hz * rows.column("c0_nf_per_km")
    z = (rows.column("r0_ohm_per_km") + 1j * rows.column("x0_ohm_per_km")) * (length / parallel)
    g = 1e-6 * np.nan_to_num(rows.column("g0_us_per_km"))
    return ohmic(z, (g + 1j * b) * (length * parallel / 2), *ends_kv(network, rows))


def _impedance(network: Network, rows: Rows, settings: Settings, tables: Tables) -> TwoPorts:
    """Per-unit values of the element's own base, which may differ by direction."""
    sn = rows.column("sn_mva")
    r, x = rows.column("rft_pu"), rows.column("xft_pu")
    back = _given(rows.column("rtf_pu"), r) + 1j * _given(rows.column("xtf_pu"), x)
    y_from = rows.column("gf_pu") + 1j * rows.column("bf_pu")
    y_to = _given(rows.column("gt_pu"), y_from.real) + 1j * _given(
        rows.column("bt_pu"), y_from.imag
    )
    return TwoPorts(sn / (r + 1j * x), sn / back, sn * y_from, sn * y_to, np.ones(len(rows)))


def _switch(network: Network, rows: Rows, settings: Settings, tables: Tables) -> TwoPorts:
    """Closed switches between buses that have an impedance; the others carry nothing here."""
    vn_kv = network.rows(e.Bus).column("vn_kv")
    z_ohm = rows.column("z_ohm")
    acts = (rows.at["et"] == "b") & np.asarray(rows.column("closed"), dtype=bool) & (z_ohm > 0)
    bus = rows.at["bus"]
    vn_from, vn_to = vn_kv[bus], vn_kv[np.where(acts, rows.at["element"], bus)]
    z = np.where(acts, z_ohm, np.inf) * (SWITCH_RX + 1j) / np.hypot(SWITCH_RX, 1)
    series, nothing = np.where(acts, vn_to**2 / z, 0), np.zeros(len(rows))
    return TwoPorts(series, series, nothing, nothing, vn_to / vn_from)


def thyristor_siemens(angle_degree: Array, x_l_ohm: Array, x_cvar_ohm: Array) -> Array:
    """Susceptance of a thyristor-controlled reactor beside a capacitor; inductive is positive.

    B = (2(π−α) + sin 2α + π·x_l/x_c) / (π·x_l), with the firing angle α between 90° (the reactor
    conducts all the time) and 180° (never).
    """
    angle = np.deg2rad(angle_degree)
    conduction = 2 * (np.pi - angle) + np.sin(2 * angle)
    return np.asarray((conduction / np.pi + x_l_ohm / x_cvar_ohm) / x_l_ohm)


def _tcsc(network: Network, rows: Rows, settings: Settings, tables: Tables) -> TwoPorts:
    angle = tables.get(e.TCSC, {}).get("thyristor_firing_angle_degree", np.full(len(rows), np.nan))
    b = thyristor_siemens(angle, rows.column("x_l_ohm"), rows.column("x_cvar_ohm"))
    vn_from, vn_to = ends_kv(network, rows)
    series, nothing = -1j * vn_to**2 * b, np.zeros(len(rows))
    return TwoPorts(series, series, nothing, nothing, vn_to / vn_from)


def _transformer(network: Network, rows: Rows, settings: Settings, tables: Tables) -> TwoPorts:
    return windings(network, rows, settings)[0]


CIRCUITS: Mapping[type[Element], Callable[[Network, Rows, Settings, Tables], TwoPorts]] = (
    MappingProxyType(
        {
            e.Line: _line,
            e.Transformer: _transformer,
            e.Impedance: _impedance,
            e.Switch: _switch,
            e.TCSC: _tcsc,
        }
    )
)
