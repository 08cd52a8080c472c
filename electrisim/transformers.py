"""Equivalent circuits of two- and three-winding transformers from their nameplates.

The conventions are pandapower's: the leakage counts on the tapped low-voltage side, phase shifts
turn the low-voltage side back, iron losses of a three-winding transformer sit in its hv leg.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from electrisim import elements as e
from electrisim.network import Array, Network, Rows, shift_degree, shifts3w_degree
from electrisim.phasing import across, any_partial, words
from electrisim.settings import Settings

SIDES = ("hv", "mv", "lv")


class TwoPorts(NamedTuple):
    """Two-ports, one per row: ratio : 1 at the from end, then a pi.

    series, back          series admittance as seen from the from and from the to end [MVA]
    earth_from, earth_to  admittance to earth at either end [MVA]
    ratio                 off-nominal ratio, its angle the phase shift
    """

    series: Array
    back: Array
    earth_from: Array
    earth_to: Array
    ratio: Array

    def admittances(self) -> tuple[Array, Array, Array, Array]:
        """Y_ff, Y_ft, Y_tf, Y_tt: I_from = Y_ff·V_from + Y_ft·V_to, … [MVA at 1 pu]."""
        return (
            (self.series + self.earth_from) / np.abs(self.ratio) ** 2,
            -self.series / np.conj(self.ratio),
            -self.back / self.ratio,
            self.back + self.earth_to,
        )

    def susceptance(self) -> Array:
        """1/x of the linearised power flow, 0 where nothing joins the ends [MW per rad]."""
        joined = self.series != 0
        x = (1 / np.where(joined, self.series, 1)).imag
        return np.where(joined, 1 / (x * np.abs(self.ratio)), 0)


def phase_shifts_count(network: Network, settings: Settings) -> bool:
    """Whether phase shifts and the angles of sources enter the equations.

    "auto" is pandapower's: only where a bus above 70 kV has both a line that starts and a line that
    ends there. The linearised power flow and OpenDSS always count them.
    """
    chosen = settings.calculate_voltage_angles
    if settings.linear or settings.solver != "pandapower":
        return True
    if chosen != "auto":
        return chosen
    lines = network.rows(e.Line)
    if not len(lines):
        return False
    passed = np.intersect1d(lines.at["from_bus"], lines.at["to_bus"])
    return bool((network.rows(e.Bus).column("vn_kv")[passed] > 70).any())


# -- tap changers ----------------------------------------------------------------------------------


class Winding(NamedTuple):
    """Winding voltages with the taps in effect [kV], and the phase shift [degree]."""

    hv_kv: Array
    lv_kv: Array
    shift: Array


class _Tap(NamedTuple):
    """A tap changer: where it sits, and what it does to the voltage of its winding.

    du      voltage that it adds, of the winding's rated one; complex where it turns it
    ideal   where it is an ideal phase shifter the angle that it adds [degree], elsewhere NaN;
            None where there is none
    """

    on_hv: Array
    on_lv: Array
    du: Array
    ideal: Array | None

    def apply(self, winding: Winding) -> Winding:
        factor, angle = np.abs(1 + self.du), None
        if np.iscomplexobj(self.du):
            # pandapower takes the principal branch: a tap never turns a winding around.
            angle = np.rad2deg(np.arctan(self.du.imag / (1 + self.du.real)))
        if self.ideal is not None:
            is_ideal = ~np.isnan(self.ideal)
            factor = np.where(is_ideal, 1, factor)
            angle = np.where(is_ideal, self.ideal, 0 if angle is None else angle)
        hv_kv = np.where(self.on_hv, winding.hv_kv * factor, winding.hv_kv)
        lv_kv = np.where(self.on_lv, winding.lv_kv * factor, winding.lv_kv)
        if angle is None:
            return Winding(hv_kv, lv_kv, winding.shift)
        shift = winding.shift + np.where(self.on_hv, angle, 0) - np.where(self.on_lv, angle, 0)
        return Winding(hv_kv, lv_kv, shift)


def _tap(rows: Rows, changer: str, side: Array) -> _Tap:
    """The tap changers "" or "2": Δ·step·e^{jφ}, or an ideal phase shifter's angle."""
    position, neutral = rows.column(f"tap{changer}_pos"), rows.column(f"tap{changer}_neutral")
    steps = np.where(np.isnan(position), 0, position - _or_none(neutral))
    percent = _or_none(rows.column(f"tap{changer}_step_percent"))
    degree = _or_none(rows.column(f"tap{changer}_step_degree"))
    du = steps * percent / 100
    ideal = None
    types = rows.values(f"tap{changer}_changer_type")
    if "Ideal" in types:
        by_percent = 2 * np.rad2deg(np.arcsin(steps * percent / 200))
        angle = np.where(degree != 0, steps * degree, by_percent)
        ideal = np.where(np.array(types, dtype=object) == "Ideal", angle, np.nan)
    if degree.any():
        du = du * np.exp(1j * np.deg2rad(degree))
    return _Tap(side == "hv", side == "lv", du, ideal)


def _or_none(values: Array) -> Array:
    """The values, 0 where there is none."""
    return np.where(np.isnan(values), 0, values)


def _leg_tap(rows: Rows, here: Array, side: str) -> _Tap:
    """The tap changer of a leg of a star; at the star point it sits inversely on the other end."""
    tap = _tap(rows, "", np.where(here, "hv" if side == "hv" else "lv", ""))
    at_star = here & np.asarray(rows.column("tap_at_star_point"), dtype=bool)
    if not at_star.any():
        return tap
    return _Tap(
        on_hv=np.where(at_star, tap.on_lv, tap.on_hv),
        on_lv=np.where(at_star, tap.on_hv, tap.on_lv),
        du=np.where(at_star, -tap.du / (1 + tap.du), tap.du),
        ideal=None if tap.ideal is None else np.where(at_star, -tap.ideal, tap.ideal),
    )


# -- two windings ----------------------------------------------------------------------------------


class _Plate(NamedTuple):
    """What a transformer's nameplate says; shares of the leakage on the high-voltage side."""

    sn_mva: Array
    vk_percent: Array
    vkr_percent: Array
    pfe_mw: Array
    i0_percent: Array
    parallel: Array | float
    share_r: Array | float
    share_x: Array | float


def windings(network: Network, rows: Rows, settings: Settings) -> tuple[TwoPorts, Winding]:
    """The two-winding transformers from hv to lv, and their windings with the taps in effect."""
    vn_kv = network.rows(e.Bus).column("vn_kv")
    shift = shift_degree(rows) if phase_shifts_count(network, settings) else np.zeros(len(rows))
    winding = Winding(rows.column("vn_hv_kv"), rows.column("vn_lv_kv"), shift)
    for changer in ("", "2"):
        sides = rows.values(f"tap{changer}_side")
        if sides.count(None) < len(sides):
            winding = _tap(rows, changer, np.array(sides, dtype=object)).apply(winding)
    shares = [rows.column(f"leakage_{part}_ratio_hv") for part in ("resistance", "reactance")]
    plate = _Plate(
        sn_mva=rows.column("sn_mva"),
        vk_percent=rows.column("vk_percent"),
        vkr_percent=rows.column("vkr_percent"),
        pfe_mw=rows.column("pfe_kw") / 1e3,
        i0_percent=rows.column("i0_percent"),
        parallel=rows.column("parallel"),
        share_r=_half_where_none(shares[0]),
        share_x=_half_where_none(shares[1]),
    )
    vn_hv, vn_lv = vn_kv[rows.at["hv_bus"]], vn_kv[rows.at["lv_bus"]]
    if any_partial(rows):
        # Of a single-phase unit per unit is of what its windings lie between.
        vn_hv, vn_lv = (
            vn * np.array([across(word) for word in words(rows, port)])
            for port, vn in enumerate((vn_hv, vn_lv))
        )
    return _two_winding(plate, winding, vn_hv, vn_lv, settings), winding


def _half_where_none(share: Array) -> Array | float:
    none = np.isnan(share)
    return 0.5 if none.all() else np.where(none, 0.5, share)


def _two_winding(
    plate: _Plate, winding: Winding, vn_from: Array, vn_to: Array, settings: Settings
) -> TwoPorts:
    """z = vk/100·vn²/sn and y = (pfe − j√((i0·sn)² − pfe²))/vn², both on the low-voltage side.

    As a T the leakage is split around y, as a pi y is halved to both ends.
    """
    sn, parallel = plate.sn_mva, plate.parallel
    base = (winding.lv_kv / vn_to) ** 2 / sn / parallel
    z, r = plate.vk_percent / 100 * base, plate.vkr_percent / 100 * base
    x = np.sign(z) * np.sqrt(z**2 - r**2)
    no_load = plate.i0_percent / 100 * sn
    reactive = np.sqrt(np.maximum(no_load**2 - plate.pfe_mw**2, 0))
    y = (plate.pfe_mw - 1j * reactive) * parallel * (vn_to / winding.lv_kv) ** 2
    turns = winding.hv_kv / winding.lv_kv * vn_to / vn_from
    ratio = turns
    if winding.shift.any():
        ratio = turns * np.exp(1j * np.deg2rad(winding.shift))
    if settings.trafo_model == "pi":
        series = 1 / (r + 1j * x)
        return TwoPorts(series, series, y / 2, y / 2, ratio)
    z_from = r * plate.share_r + 1j * x * plate.share_x
    z_to = r + 1j * x - z_from
    delta = z_from + z_to + z_from * z_to * y
    return TwoPorts(1 / delta, 1 / delta, z_to * y / delta, z_from * y / delta, ratio)


#: Of the leakage of a centre-tapped unit, the shares of resistance and reactance at its high side
#: where none are given: interlaced halves (Kersting, Center-Tapped Transformer and 120/240-V
#: Secondary Models, IEEE Rural Electric Power Conference 2008).
INTERLACED = (0.5, 0.8)


def halves(rows: Rows) -> tuple[Array, Array, Array]:
    """Leakages of the high-voltage winding and of either half of the low-voltage one, and y.

    All of the rating [pu], a half of half the rated voltage. Both halves in series are the
    nameplate's low-voltage winding; the iron losses and the no-load current are at the high side.
    """
    z, r = (rows.column(name) / 100 for name in ("vk_percent", "vkr_percent"))
    x = np.sign(z) * np.sqrt(z**2 - r**2)
    shares = [
        np.where(np.isnan(share), otherwise, share)
        for otherwise, part in zip(INTERLACED, ("resistance", "reactance"), strict=True)
        for share in [rows.column(f"leakage_{part}_ratio_hv")]
    ]
    pfe = rows.column("pfe_kw") / 1e3 / rows.column("sn_mva")
    no_load = rows.column("i0_percent") / 100
    y = pfe - 1j * np.sqrt(np.maximum(no_load**2 - pfe**2, 0))
    high = r * shares[0] + 1j * x * shares[1]
    return high, 2 * (r + 1j * x - high), y


# -- three windings --------------------------------------------------------------------------------


class Leg(NamedTuple):
    """One leg of three-winding transformers; star_is_from: its two-port starts at the star."""

    winding: Winding
    ports: TwoPorts
    star_is_from: bool


def legs(network: Network, settings: Settings) -> Iterator[Leg]:
    """The hv, mv and lv legs; the star point counts its per-unit from the hv bus."""
    rows = network.rows(e.ThreeWindingTransformer)
    vn_kv = network.rows(e.Bus).column("vn_kv")
    vn = [vn_kv[rows.at[f"{side}_bus"]] for side in SIDES]
    sn = np.stack([rows.column(f"sn_{side}_mva") for side in SIDES])
    vk, vkr = _leg_voltages(rows, sn)
    shifts = [np.zeros(len(rows))] * 3
    if phase_shifts_count(network, settings):
        shifts[1:] = shifts3w_degree(rows)
    tap_side = np.array(rows.values("tap_side"), dtype=object)
    for k, side in enumerate(SIDES):
        winding = Winding(rows.column("vn_hv_kv"), rows.column(f"vn_{side}_kv"), shifts[k])
        if (tap_side == side).any():
            winding = _leg_tap(rows, tap_side == side, side).apply(winding)
        iron = 1.0 if side == "hv" else 0.0
        plate = _Plate(
            sn_mva=sn[k],
            vk_percent=vk[k],
            vkr_percent=vkr[k],
            pfe_mw=rows.column("pfe_kw") / 1e3 * iron,
            i0_percent=rows.column("i0_percent") * iron,
            parallel=1.0,
            share_r=0.5,
            share_x=0.5,
        )
        ports = _two_winding(plate, winding, vn[0], vn[k], settings)
        yield Leg(winding, ports, side != "hv")


def _leg_voltages(rows: Rows, sn: Array) -> tuple[Array, Array]:
    """vk and vkr of the legs [% of their ratings], shape (3, n), from those measured pairwise."""
    smaller = np.minimum(sn, sn[[1, 2, 0]])
    measured = [
        np.stack([rows.column(f"{name}_{side}_percent") for side in SIDES]) / smaller
        for name in ("vk", "vkr")
    ]
    reactive = np.sqrt(measured[0] ** 2 - measured[1] ** 2)
    to_star = np.array([[1, -1, 1], [1, 1, -1], [-1, 1, 1]]) / 2
    x, r = to_star @ reactive * sn, to_star @ measured[1] * sn
    return np.sign(x) * np.hypot(x, r), r
