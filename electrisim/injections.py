"""What elements draw or deliver under many cases: their fields, and how power follows from them.

The sweeps of all engines read it; nothing here knows one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

import msgspec
import numpy as np

from electrisim import elements as e
from electrisim.change import Series, Spots
from electrisim.elements import Element
from electrisim.network import Array, Network, Rows
from electrisim.pvsystem import power_mva

Get = Callable[[str], Array]


def _scaled(get: Get) -> Array:
    return np.asarray(get("scaling") * (get("p_mw") + 1j * get("q_mvar")))


def _constant_part(get: Get) -> Array:
    return np.asarray(get("ps_mw") + 1j * get("qs_mvar"))


def _three_phases(get: Get) -> Array:
    p = get("p_a_mw") + get("p_b_mw") + get("p_c_mw")
    q = get("q_a_mvar") + get("q_b_mvar") + get("q_c_mvar")
    return np.asarray(get("scaling") * (p + 1j * q))


def _motor(get: Get) -> Array:
    share = get("loading_percent") / get("efficiency_percent") * get("scaling")
    tangent = np.sqrt(1 / get("cos_phi") ** 2 - 1)
    return np.asarray(get("pn_mech_mw") * share * (1 + 1j * tangent))


_PQ = ("p_mw", "q_mvar", "scaling")
_PHASES = tuple(f"{pq}_{ph}_{unit}" for pq, unit in (("p", "mw"), ("q", "mvar")) for ph in "abc")
_MOTOR = ("pn_mech_mw", "efficiency_percent", "loading_percent", "cos_phi", "scaling")

#: How the constant power of a kind follows from its fields, with the sign of its result columns
#: [MVA], and the fields that matter.
LAWS: Mapping[type[Element], tuple[Callable[[Get], Array], tuple[str, ...]]] = MappingProxyType(
    {
        e.Load: (_scaled, _PQ),
        e.StaticGenerator: (_scaled, _PQ),
        e.Storage: (_scaled, _PQ),
        e.Motor: (_motor, _MOTOR),
        e.Ward: (_constant_part, ("ps_mw", "qs_mvar")),
        e.ExtendedWard: (_constant_part, ("ps_mw", "qs_mvar")),
        e.AsymmetricLoad: (_three_phases, (*_PHASES, "scaling")),
        e.AsymmetricStaticGenerator: (_three_phases, (*_PHASES, "scaling")),
    }
)

#: Kinds that draw constant power, loads by their shares.
CONSTANT = (*LAWS, e.PVSystem)


SHARES = ("const_z_p_percent", "const_i_p_percent", "const_z_q_percent", "const_i_q_percent")


def _following(get: Get, vm_pu: Array) -> Array:
    """What loads draw at these voltages of their buses [MVA]."""

    def share(letter: str) -> Array:
        z, i = (get(f"const_{part}_{letter}_percent") / 100 for part in "zi")
        return np.asarray(1 - z - i + i * vm_pu + z * vm_pu**2)

    p, q = get("p_mw") * share("p"), get("q_mvar") * share("q")
    return np.asarray(get("scaling") * (p + 1j * q))


class Values:
    """Fields under some cases: (n_cases, n_elements) where a case changes one, else (1, n).

    load_vm_pu  voltage at every load, by which it draws; None where loads follow no voltage
    """

    def __init__(self, network: Network, load_vm_pu: Array | None = None) -> None:
        self.network = network
        self.load_vm_pu = load_vm_pu
        self.changed: dict[tuple[type[Element], str], Array] = {}

    def get(self, kind: type[Element], field: str) -> Array:
        """A field of every element of a kind under the cases."""
        found = self.changed.get((kind, field))
        return self.network.rows(kind).column(field)[None] if found is None else found

    def kinds(self) -> set[type[Element]]:
        """The kinds of which a case changes something."""
        return {kind for kind, _ in self.changed}

    def set(self, kind: type[Element], field: str, count: int, at: Series | Spots) -> None:
        """Change a field in some cases, numbered from 0 to count."""
        if (kind, field) not in self.changed:
            column = self.network.rows(kind).column(field)
            self.changed[kind, field] = np.repeat(column[None], count, axis=0)
        column = self.changed[kind, field]
        if isinstance(at, Series):
            column[:, at.rows] = at.values
        else:
            column[at.cases, at.rows] = at.values

    def take(self, rows: Array) -> Values:
        """The fields under some of the cases."""
        vm_pu = self.load_vm_pu
        if vm_pu is not None and len(vm_pu) > 1:
            vm_pu = vm_pu[rows]
        part = Values(self.network, vm_pu)
        part.changed = {key: column[rows] for key, column in self.changed.items()}
        return part

    def power_mva(self, kind: type[Element]) -> Array:
        """Constant power of every element, with the sign of its result columns, on or off."""
        if kind is e.PVSystem:
            return self._pv_power_mva()
        if kind is e.Load and self.load_vm_pu is not None:
            return _following(lambda field: self.get(kind, field), self.load_vm_pu)
        return LAWS[kind][0](lambda field: self.get(kind, field))

    def _pv_power_mva(self) -> Array:
        rows = self.network.rows(e.PVSystem)
        fields = [field for kind, field in self.changed if kind is e.PVSystem]
        fields = [field for field in fields if field != "in_service"]
        if not fields:
            return power_mva(rows)[None]
        columns = [self.changed[e.PVSystem, field] for field in fields]
        count = len(columns[0])
        records = [
            msgspec.structs.replace(element, **dict(zip(fields, values, strict=True)))
            for case in range(count)
            for element, *values in zip(
                rows.elements, *(column[case].tolist() for column in columns), strict=True
            )
        ]
        names = [str(number) for number in range(len(records))]
        every = Rows(e.PVSystem, names, names, records)
        return power_mva(every).reshape(count, len(rows))
