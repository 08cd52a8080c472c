"""What a photovoltaic system delivers: OpenDSS' law of its PVSystem, for engines that lack one.

The array gives P_dc = pmpp · irradiance · f(temperature). The inverter passes it on with the
efficiency that its curve has at P_dc / kva, at most pmpp_percent of pmpp, and nothing below
cutout_percent of kva; cutin_percent matters to an inverter that is off, and in a single state it is
on. Reactive power is kvar, or goes with active power by pf; both are held within the rating by
giving up active power first (OpenDSS' default, var priority). It flows at night too.
"""

from __future__ import annotations

import numpy as np

from electrisim.network import Array, Rows


def power_mva(rows: Rows) -> Array:
    """P + jQ that each system delivers, shape (n,) [MW, Mvar]."""
    pmpp = rows.column("pmpp_kw")
    kva = rows.column("kva")
    kva = np.where(np.isnan(kva), pmpp, kva)
    panel = pmpp * rows.column("irradiance_kw_per_m2")
    panel = panel * _along(rows, "temperature_curve", rows.column("temperature_degree_celsius"))
    efficiency = _along(rows, "efficiency_curve", panel / np.where(kva > 0, kva, 1))
    p = np.minimum(panel * efficiency, pmpp * rows.column("pmpp_percent") / 100)
    p = np.where(panel < kva * rows.column("cutout_percent") / 100, 0, p)
    kvar, pf = rows.column("kvar"), rows.column("pf")
    by_factor = p * np.copysign(np.sqrt(1 / np.where(pf == 0, 1, pf) ** 2 - 1), pf)
    q = np.clip(np.where(np.isnan(kvar), by_factor, kvar), -kva, kva)
    p = np.where(np.hypot(p, q) > kva, np.sqrt(kva**2 - q**2), p)
    return np.asarray(p + 1j * q) / 1000


def _along(rows: Rows, field: str, x: Array) -> Array:
    """Each element's own curve at its own x; 1 where it has none."""
    return np.array(
        [
            curve_at(points, at) if points else 1.0
            for points, at in zip(rows.values(field), x.tolist(), strict=True)
        ],
        dtype=float,
    )


def curve_at(points: list[tuple[float, float]], x: float) -> float:
    """A curve [(x, y), …], x rising, at x: linear between its points and on beyond its ends."""
    after = next((i for i, point in enumerate(points) if x < point[0]), len(points))
    (x0, y0), (x1, y1) = points[(start := min(max(after - 1, 0), len(points) - 2)) : start + 2]
    return y0 + (y1 - y0) * (x - x0) / (x1 - x0)
