"""The formulas of IEC 60909-0:2016: factors and decrements of short-circuit currents.

Pure arithmetic on numbers and arrays; which element has which data is `electrisim.sources`' matter.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import numpy as np

from electrisim.network import Array

#: Up to this voltage a network or machine is of low voltage [kV].
LOW_VOLTAGE_KV = 1.0
#: A machine that brings less than twice its rated current is far from the fault.
NEAR = 2.0
#: Machines that together bring less than this share of the current leave it undiminished.
NEGLIGIBLE = 0.01

#: Minimum time delay [s] → (a, b, c) of μ = a + b·exp(−c·I″kG/IrG).
_MU: Mapping[float, tuple[float, float, float]] = MappingProxyType(
    {
        0.02: (0.84, 0.26, 0.26),
        0.05: (0.71, 0.51, 0.30),
        0.10: (0.62, 0.72, 0.32),
        0.25: (0.56, 0.94, 0.38),
    }
)
#: Minimum time delay [s] → (a, b) of q = a + b·ln(PrM/p).
_Q: Mapping[float, tuple[float, float]] = MappingProxyType(
    {0.02: (1.03, 0.12), 0.05: (0.79, 0.12), 0.10: (0.57, 0.12), 0.25: (0.26, 0.10)}
)


def voltage_factor(vn_kv: Any, case: str, lv_tol_percent: float) -> Array:
    """c of table 1, for the nominal voltage of a bus [kV]."""
    if case == "max":
        low, high = (1.05 if lv_tol_percent == 6 else 1.1), 1.1
    else:
        low, high = (0.95 if lv_tol_percent == 6 else 0.9), 1.0
    return np.where(np.asarray(vn_kv) < LOW_VOLTAGE_KV, low, high)


def k_t(x_pu: Any, c_max: Any) -> Any:
    """K_T of a network transformer; x_pu is its short-circuit reactance, of its rating."""
    return 0.95 * c_max / (1 + 0.6 * x_pu)


def k_g(vn_bus_kv: Any, vn_kv: Any, p_g: Any, c_max: Any, xdss_pu: Any, sin_phi: Any) -> Any:
    """K_G of a generator at a network; p_g is the range of its voltage regulator."""
    return vn_bus_kv / (vn_kv * (1 + p_g)) * c_max / (1 + xdss_pu * sin_phi)


def k_s(
    vn_bus_kv: Any, vn_kv: Any, ratio: Any, c_max: Any, xdss_pu: Any, x_pu: Any, sin_phi: Any
) -> Any:
    """K_S of a power-station unit with an on-load tap changer.

    vn_bus_kv  nominal voltage of the network behind the unit transformer
    ratio      rated low over rated high voltage of the unit transformer
    """
    voltages = (vn_bus_kv / vn_kv * ratio) ** 2
    return voltages * c_max / (1 + np.abs(xdss_pu - x_pu) * sin_phi)


def k_so(
    vn_bus_kv: Any, vn_kv: Any, p_g: Any, ratio: Any, p_t: Any, c_max: Any, xdss_pu: Any,
    sin_phi: Any,
) -> Any:  # fmt: skip
    """K_SO of a power-station unit without on-load tap changer."""
    voltages = vn_bus_kv / (vn_kv * (1 + p_g)) * ratio * (1 - p_t)
    return voltages * c_max / (1 + xdss_pu * sin_phi)


def k_g_of_unit(oltc: Any, p_g: Any, c_max: Any, xdss_pu: Any, sin_phi: Any) -> Any:
    """K_G,S and K_G,SO: of a unit's generator, for a fault between it and its transformer."""
    return c_max / (1 + xdss_pu * sin_phi) / np.where(oltc, 1, 1 + p_g)


def fictitious_r_over_x(vn_kv: Any, sn_mva: Any) -> Array:
    """R_Gf/X″d of a generator, which makes the aperiodic current decay as it does."""
    high = np.where(np.asarray(sn_mva) >= 100, 0.05, 0.07)
    return np.where(np.asarray(vn_kv) <= LOW_VOLTAGE_KV, 0.15, high)


def kappa(r_over_x: Any) -> Any:
    """κ of the peak current."""
    return 1.02 + 0.98 * np.exp(-3 * r_over_x)


def mu(ratio: Any, t_min_s: float) -> Array:
    """μ: what is left of a machine's symmetrical current at t_min_s; ratio is I″kG/IrG."""
    r = np.asarray(ratio, dtype=float)
    near = _over_time(t_min_s, {t: a + b * np.exp(-c * r) for t, (a, b, c) in _MU.items()})
    return np.where(r <= NEAR, 1.0, np.minimum(near, 1.0))


def q(power_per_pole_pair_mw: Any, t_min_s: float) -> Array:
    """q: what an asynchronous machine keeps beyond μ, by its rated active power per pole pair."""
    power = np.log(np.asarray(power_per_pole_pair_mw, dtype=float))
    return np.clip(_over_time(t_min_s, {t: a + b * power for t, (a, b) in _Q.items()}), 0, 1)


def _over_time(t_min_s: float, curves: Mapping[float, Array]) -> Array:
    """Straight lines between the instants of the standard, from 1 at the beginning."""
    times = [0.0, *curves]
    values = [np.ones_like(next(iter(curves.values()))), *curves.values()]
    after = min(int(np.searchsorted(times, t_min_s, side="left")), len(times) - 1)
    if after == 0:
        return values[0]
    share = min(1.0, (t_min_s - times[after - 1]) / (times[after] - times[after - 1]))
    return np.asarray(values[after - 1] + share * (values[after] - values[after - 1]))


def m(kappa: Any, frequency_hz: float, tk_s: float) -> Array:
    """m: heat of the aperiodic current, of the symmetrical one's."""
    factor = np.clip(np.asarray(kappa, dtype=float) - 1, 1e-12, None)
    exponent = 2 * frequency_hz * tk_s * np.log(factor)
    with np.errstate(divide="ignore", invalid="ignore"):
        heat = np.expm1(2 * exponent) / exponent
    return np.where(factor > 0.99, 0.0, heat)
