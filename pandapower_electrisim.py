"""pandapower as an engine: how we speak pandapower, wholly, and nothing else.

Tables are made in bulk, one frame per kind from the catalogue's columns, over a shallow copy of one
empty network that is never edited in place. Results come back as pandapower's own columns.
"""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import MappingProxyType
from typing import Any

import numpy as np
import pandapower as pp
import pandas as pd
from pandapower.auxiliary import pandapowerNet
from pandapower.powerflow import LoadflowNotConverged

from electrisim import elements as e
from electrisim.elements import FIELDS, KINDS, Element
from electrisim.engine import Support
from electrisim.network import Array, Network, Rows, shift_degree, shifts3w_degree
from electrisim.problems import NotConvergedError, Problem
from electrisim.results import COLUMNS, Solution
from electrisim.settings import Settings
from electrisim.studies.powerflow import PowerFlow
from electrisim.topology import Topology

DERIVED = Support("derived")


class Pandapower:
    """The engine "pandapower"."""

    name = "pandapower"

    def __init__(self) -> None:
        self._empty = pp.create_empty_network()

    @functools.cached_property
    def support(self) -> Mapping[str, Mapping[type[Element], Support]]:
        return MappingProxyType({"balanced": SUPPORT, "unbalanced": SUPPORT_3PH})

    @functools.cached_property
    def standard_types(self) -> Mapping[str, Mapping[str, Mapping[str, Any]]]:
        """pandapower's library: table → name of the type → parameters."""
        return MappingProxyType(self._empty["std_types"])

    def version(self, settings: Settings) -> Mapping[str, str]:
        return {"name": self.name, "version": pp.__version__}

    def refusals(self, network: Network, settings: Settings) -> list[Problem]:
        return _setting_refusals(settings)

    @contextmanager
    def build(
        self, network: Network, topology: Topology, settings: Settings
    ) -> Iterator[PandapowerModel]:
        yield PandapowerModel(network, settings, self._net(network))

    def _net(self, network: Network) -> pandapowerNet:
        net = copy.copy(self._empty)
        for name, value in net.items():
            if isinstance(value, dict):
                net[name] = copy.deepcopy(value) if name != "std_types" else value
        net["f_hz"] = network.frequency_hz
        for table, blocks in _tables(network).items():
            net[table] = _frame(net[table], blocks)
        return net


class PandapowerModel:
    """A network as a pandapower net."""

    def __init__(self, network: Network, settings: Settings, net: pandapowerNet) -> None:
        self.network = network
        self.settings = settings
        self.net = net

    def power_flow(self) -> Solution:
        settings = self.settings
        assert isinstance(settings, PowerFlow)
        try:
            _SOLVERS[settings.mode](self.net, settings)
        except LoadflowNotConverged as error:
            raise NotConvergedError("pandapower found no solution.") from error
        return Solution(
            tables=self._read(),
            iterations=_iterations(self.net),
            solver=_solver(self.net, settings),
        )

    def script(self) -> str:
        raise NotImplementedError

    def _read(self) -> dict[type[Element], dict[str, Array]]:
        """Every kind's result columns, in the network's row order."""
        tables: dict[type[Element], dict[str, Array]] = {}
        for table, blocks in _tables(self.network).items():
            frame = self.net["res_" + table]
            start = 0
            for rows in blocks:
                end = start + len(rows)
                tables[rows.kind] = {
                    name: frame[name].to_numpy(dtype=float)[start:end]
                    for name in COLUMNS[rows.kind]
                    if name in frame
                }
                start = end
        return tables


def _ac(net: pandapowerNet, settings: PowerFlow) -> None:
    pp.runpp(
        net,
        algorithm=settings.algorithm or "nr",
        calculate_voltage_angles=settings.calculate_voltage_angles,
        init=settings.init,
        max_iteration=settings.max_iteration or "auto",
        tolerance_mva=settings.tolerance or 1e-8,
        trafo_model=settings.trafo_model,
        trafo_loading=settings.trafo_loading,
        enforce_q_lims=settings.enforce_q_lims,
        voltage_depend_loads=settings.voltage_depend_loads,
        consider_line_temperature=settings.consider_line_temperature,
        distributed_slack=settings.distributed_slack,
        # No JIT: compiling takes two seconds of the first request; lightsim2grid is faster anyway.
        numba=False,
    )


def _dc(net: pandapowerNet, settings: PowerFlow) -> None:
    pp.rundcpp(
        net,
        trafo_model=settings.trafo_model,
        trafo_loading=settings.trafo_loading,
        calculate_voltage_angles=settings.calculate_voltage_angles,
        numba=False,
    )


_SOLVERS: Mapping[str, Callable[[pandapowerNet, PowerFlow], None]] = MappingProxyType(
    {"ac": _ac, "dc": _dc}
)


def _iterations(net: pandapowerNet) -> int | None:
    found = (net["_ppc"] or {}).get("iterations")
    return None if found is None else int(found)


def _solver(net: pandapowerNet, settings: PowerFlow) -> str:
    if settings.mode == "dc":
        return "linear DC power flow"
    algorithm = settings.algorithm or "nr"
    return f"{algorithm} (lightsim2grid)" if net["_options"].get("lightsim2grid") else algorithm


def _setting_refusals(settings: Settings) -> list[Problem]:
    foreign = {
        "algorithm": settings.algorithm in ("normal", "newton"),
        "binding": settings.binding != "opendssdirect",
        "source_impedance": settings.source_impedance,
        "solution_mode": settings.solution_mode != "snapshot",
        "load_model": settings.load_model != "powerflow",
        "control_mode": settings.control_mode != "static",
    }
    return [
        Problem(
            kind="unsupported",
            message=f"The setting {name} “{getattr(settings, name)}” is OpenDSS' own; "
            "pandapower does not know it.",
            field=name,
        )
        for name, given in foreign.items()
        if given
    ]


# -- from the catalogue to tables ------------------------------------------------------------------


def _tables(network: Network) -> dict[str, list[Rows]]:
    """pandapower's table → the kinds that stand in it, one after the other."""
    tables: dict[str, list[Rows]] = {}
    for kind in KINDS:
        if kind in network.kinds:
            tables.setdefault(kind.table, []).append(network.rows(kind))
    return tables


def _frame(empty: pd.DataFrame, blocks: list[Rows]) -> pd.DataFrame:
    parts = [(_TRANSLATIONS.get(rows.kind) or derive)(rows) for rows in blocks]
    names = dict.fromkeys([*empty.columns, *(name for part in parts for name in part)])
    data: dict[str, Any] = {}
    for name in names:
        dtype = empty[name].dtype if name in empty.columns else None
        pieces = [
            part[name] if name in part else _missing(dtype, len(rows))
            for part, rows in zip(parts, blocks, strict=True)
        ]
        whole = pieces[0] if len(pieces) == 1 else np.concatenate(pieces)
        data[name] = (
            whole if dtype is None or whole.dtype == dtype else pd.array(whole, dtype=dtype)
        )
    return pd.DataFrame(data, copy=False)


def _missing(dtype: Any, count: int) -> Array:
    if dtype is None or dtype.kind == "f":
        return np.full(count, np.nan)
    if dtype.kind == "b":
        return np.zeros(count, dtype=bool)
    return np.full(count, None, dtype=object)


def derive(rows: Rows) -> dict[str, Array]:
    """The columns of a kind whose fields are pandapower's, without those that nobody gave."""
    columns: dict[str, Array] = {"name": np.array(rows.names, dtype=object)}
    for name, field in FIELDS[rows.kind].items():
        if field.type == "reference":
            columns[name] = rows.at[name]
            continue
        values = rows.values(name)
        if not field.required and field.default is None and values.count(None) == len(values):
            continue
        if field.type == "number":
            columns[name] = np.array(values, dtype=float)
        elif field.type == "integer":
            columns[name] = np.array(values)
        elif field.type == "flag" and None not in values:
            columns[name] = np.array(values, dtype=bool)
        else:
            columns[name] = np.array(values, dtype=object)
    return columns


def _transformer(rows: Rows) -> dict[str, Array]:
    return {**derive(rows), "shift_degree": shift_degree(rows), **_taps(rows, ("", "2"))}


def _transformer3w(rows: Rows) -> dict[str, Array]:
    mv, lv = shifts3w_degree(rows)
    return {**derive(rows), "shift_mv_degree": mv, "shift_lv_degree": lv, **_taps(rows, ("",))}


def _taps(rows: Rows, changers: tuple[str, ...]) -> dict[str, Array]:
    """Tap changers as pandapower wants them: position, neutral and type where there is a side."""
    columns: dict[str, Array] = {}
    for changer in changers:
        sides = rows.values(f"tap{changer}_side")
        if sides.count(None) == len(sides):
            continue
        neutral = np.nan_to_num(rows.column(f"tap{changer}_neutral"))
        position = rows.column(f"tap{changer}_pos")
        columns[f"tap{changer}_neutral"] = neutral
        columns[f"tap{changer}_pos"] = np.where(np.isnan(position), neutral, position)
        columns[f"tap{changer}_step_degree"] = np.nan_to_num(
            rows.column(f"tap{changer}_step_degree")
        )
        types = [kind or "Ratio" for kind in rows.values(f"tap{changer}_changer_type")]
        columns[f"tap{changer}_changer_type"] = np.array(types, dtype=object)
    return columns


def _impedance(rows: Rows) -> dict[str, Array]:
    columns = derive(rows)
    for there, back in (("rft_pu", "rtf_pu"), ("xft_pu", "xtf_pu")):
        given = rows.column(back)
        columns[back] = np.where(np.isnan(given), rows.column(there), given)
    return columns


def _switch(rows: Rows) -> dict[str, Array]:
    return {**derive(rows), "et": rows.at["et"].astype(object)}


_TRANSLATIONS: Mapping[type[Element], Callable[[Rows], dict[str, Array]]] = MappingProxyType(
    {
        e.Transformer: _transformer,
        e.ThreeWindingTransformer: _transformer3w,
        e.Impedance: _impedance,
        e.Switch: _switch,
    }
)

SUPPORT: Mapping[type[Element], Support] = MappingProxyType(dict.fromkeys(KINDS, DERIVED))
SUPPORT_3PH: Mapping[type[Element], Support] = MappingProxyType(
    dict.fromkeys(KINDS, Support("unsupported", ""))
)
