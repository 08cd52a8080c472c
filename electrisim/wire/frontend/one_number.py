"""Three phases in one number each: the browser's lists have no columns for more.

Powers and losses are sums, currents the largest of the phases, loadings as they are. A voltage is
the positive sequence's; at a bus with fewer phases it is that of its first one.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from electrisim import elements as e
from electrisim.elements import Element
from electrisim.network import Array, Network
from electrisim.phases import PHASES, of_phase
from electrisim.results import COLUMNS, Tables

Columns = dict[str, Array]


def in_one(network: Network, tables: Tables) -> dict[type[Element], Columns]:
    """The tables of an unbalanced answer with the columns of a balanced one."""
    found = {kind: _of_kind(kind, dict(columns)) for kind, columns in tables.items()}
    buses = found[e.Bus]
    for name in ("vm_pu", "va_degree"):
        for phase in PHASES:
            of_this = buses[of_phase(name, phase)]
            buses[name] = np.where(np.isnan(buses[name]), of_this, buses[name])
    for kind in (e.Line, e.Transformer):
        for port in kind.ports if kind in found else ():
            side, alive = port.bus.removesuffix("_bus"), ~np.isnan(found[kind][port.p])
            at = network.rows(kind).at[port.bus]
            for name in ("vm_pu", "va_degree"):
                here = np.where(alive, buses[name][at], np.nan)
                found[kind][name.replace("_", f"_{side}_", 1)] = here
    return found


def _of_kind(kind: type[Element], columns: Columns) -> Columns:
    for name in COLUMNS[kind]:
        of_phases = [columns[each] for a in PHASES if (each := of_phase(name, a)) in columns]
        if name not in columns and of_phases:
            columns[name] = _JOINED[name[0]](np.array(of_phases))
    return columns


def _sum(of_phases: Array) -> Array:
    """Of the phases that there are; NaN where there is none."""
    none = np.isnan(of_phases).all(axis=0)
    return np.where(none, np.nan, np.nansum(of_phases, axis=0))


def _largest(of_phases: Array) -> Array:
    return np.asarray(np.fmax.reduce(of_phases, axis=0))


#: By the first letter of a quantity: powers, currents, voltages.
_JOINED: dict[str, Callable[[Array], Array]] = {
    "p": _sum, "q": _sum, "i": _largest, "v": _largest,
}  # fmt: skip
