"""An imported network as the browser reads it: positional tables, pandapower's JSON in looks.

Row order and column order are the contract, no header is read (frontend contract, c.15). Buses are
named by their rows, in switches by their names.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any

import msgspec

from electrisim import elements as e
from electrisim.dss.lines import is_transposed
from electrisim.elements import FIELDS, Element
from electrisim.network import Network, Rows, fault, shift_degree, shifts3w_degree
from electrisim.phasing import any_partial, partial
from electrisim.problems import ProblemError

#: Table → its kind and its columns: a field; “name”; “=…” a constant; “@…” of `_made`.
COLUMNS: Mapping[str, tuple[type[Element] | None, str]] = MappingProxyType({
    "bus": (e.Bus, "name vn_kv =b in_service =null =null"),
    "line": (
        e.Line,
        "name std_type from_bus to_bus length_km r_ohm_per_km x_ohm_per_km c_nf_per_km "
        "g_us_per_km max_i_ka df parallel type in_service",
    ),
    "switch": (e.Switch, "name @bus_name @element_name @et closed type z_ohm in_ka"),
    "ext_grid": (
        e.ExternalGrid,
        "name bus vm_pu va_degree slack_weight in_service s_sc_max_mva s_sc_min_mva rx_max rx_min "
        "r0x0_max x0x_max",
    ),
    "gen": (
        e.Generator,
        "name bus p_mw vm_pu sn_mva min_q_mvar max_q_mvar scaling slack in_service slack_weight "
        "type",
    ),
    "sgen": (
        e.StaticGenerator,
        "name bus p_mw q_mvar sn_mva scaling in_service type current_source",
    ),
    "trafo": (
        e.Transformer,
        "name std_type hv_bus lv_bus sn_mva vn_hv_kv vn_lv_kv vk_percent vkr_percent pfe_kw "
        "i0_percent @shift tap_side tap_neutral tap_min tap_max tap_step_percent tap_step_degree "
        "tap_pos =false parallel df in_service vector_group",
    ),
    "trafo3w": (
        e.ThreeWindingTransformer,
        "name std_type hv_bus mv_bus lv_bus sn_hv_mva sn_mv_mva sn_lv_mva vn_hv_kv vn_mv_kv "
        "vn_lv_kv vk_hv_percent vk_mv_percent vk_lv_percent vkr_hv_percent vkr_mv_percent "
        "vkr_lv_percent pfe_kw i0_percent @shift_mv tap_side tap_neutral tap_min tap_max "
        "tap_step_percent tap_step_degree tap_pos tap_at_star_point in_service",
    ),
    "shunt": (e.Shunt, "bus name q_mvar p_mw @vn_kv step max_step in_service"),
    "load": (
        e.Load,
        "name bus p_mw q_mvar const_z_p_percent const_i_p_percent sn_mva scaling type",
    ),
    "impedance": (None, ""),
    "ward": (None, ""),
    "xward": (None, ""),
    "motor": (None, ""),
    "storage": (
        e.Storage,
        "name bus p_mw q_mvar sn_mva soc_percent min_e_mwh max_e_mwh scaling in_service type",
    ),
    "asymmetric_load": (None, ""),
    "asymmetric_sgen": (None, ""),
    "svc": (None, ""),
    "tcsc": (None, ""),
    "dcline": (None, ""),
    "pvsystems": (
        e.PVSystem,
        "name bus irradiance_kw_per_m2 pmpp_kw temperature_degree_celsius =3 @kv pf kvar kva "
        "cutin_percent cutout_percent in_service",
    ),
})  # fmt: skip
_CONSTANTS = {"=b": "b", "=null": None, "=false": False, "=3": 3}


def tables(network: Network) -> dict[str, Any]:
    """The answer to the browser; raises ProblemError for what its tables have no place for."""
    faults = [
        fault(
            rows, row, "phases", "unsupported",
            "has fewer than three phases, for which the browser's tables have no place",
        )
        for rows in map(network.rows, network.kinds)
        if any_partial(rows)
        for row in partial(rows).nonzero()[0].tolist()
    ]  # fmt: skip
    lines = network.rows(e.Line)
    faults += [
        fault(
            lines, row, "r_matrix_ohm_per_km", "unsupported",
            "is not transposed, for which the browser's tables have no place",
        )
        for row, line in enumerate(lines.elements)
        if line.r_matrix_ohm_per_km and not is_transposed(line.r_matrix_ohm_per_km)
    ]  # fmt: skip
    if faults:
        raise ProblemError(faults, kind="unsupported")
    return {
        "_object": {
            name: {"_object": msgspec.json.encode({"data": list(_rows(network, name))}).decode()}
            for name in COLUMNS
        }
    }


def _rows(network: Network, table: str) -> Iterator[list[Any]]:
    kind, columns = COLUMNS[table]
    # Capacitors are shunts with their own sign already.
    kinds = (e.Shunt, e.Capacitor) if kind is e.Shunt else (kind,)
    for each in kinds:
        rows = network.rows(each) if each else Rows(e.Bus)
        for row in range(len(rows)):
            yield [_value(network, rows, row, column) for column in columns.split()]


def _value(network: Network, rows: Rows, row: int, column: str) -> Any:
    if column in _CONSTANTS:
        return _CONSTANTS[column]
    if column == "name":
        return rows.names[row] or rows.ids[row]
    if column.startswith("@"):
        return _made(network, rows, row, column)
    if FIELDS[rows.kind][column].refers_to:
        return int(rows.at[column][row])
    return getattr(rows.elements[row], column)


def _made(network: Network, rows: Rows, row: int, column: str) -> Any:
    """What no field is."""
    buses = network.rows(e.Bus)
    if column == "@shift":
        return float(shift_degree(rows)[row])
    if column == "@shift_mv":
        return float(shifts3w_degree(rows)[0][row])
    if column == "@et":
        return str(rows.at["et"][row])
    if column == "@bus_name":
        return buses.names[rows.at["bus"][row]]
    if column == "@element_name":
        kind, at = network.ids[rows.elements[row].element]
        return network.rows(kind).names[at]
    kv = buses.elements[rows.at["bus"][row]].vn_kv
    return (rows.elements[row].vn_kv or kv) if column == "@vn_kv" else kv
