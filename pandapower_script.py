"""A script of pandapower calls that reproduces an answer when run on its own.

Everything in it is a number, a name of pandapower's or a quoted literal: what a user wrote stands
nowhere else.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np
import pandapower as pp

from electrisim.network import Array, Network
from pandapower_tables import Block

#: pandapower's table → the function that makes one row of it.
CREATE: Mapping[str, Callable[..., Any]] = MappingProxyType(
    {
        "bus": pp.create_bus,
        "bus_dc": pp.create_bus_dc,
        "ext_grid": pp.create_ext_grid,
        "gen": pp.create_gen,
        "sgen": pp.create_sgen,
        "asymmetric_sgen": pp.create_asymmetric_sgen,
        "load": pp.create_load,
        "asymmetric_load": pp.create_asymmetric_load,
        "line": pp.create_line_from_parameters,
        "trafo": pp.create_transformer_from_parameters,
        "trafo3w": pp.create_transformer3w_from_parameters,
        "shunt": pp.create_shunt,
        "impedance": pp.create_impedance,
        "ward": pp.create_ward,
        "xward": pp.create_xward,
        "motor": pp.create_motor,
        "storage": pp.create_storage,
        "dcline": pp.create_dcline,
        "svc": pp.create_svc,
        "tcsc": pp.create_tcsc,
        "ssc": pp.create_ssc,
        "line_dc": pp.create_line_dc_from_parameters,
        "load_dc": pp.create_load_dc,
        "source_dc": pp.create_source_dc,
        "vsc": pp.create_vsc,
        "switch": pp.create_switch,
    }
)


def script(
    network: Network,
    blocks: Sequence[Block],
    call: Callable[..., None],
    arguments: Mapping[str, Any],
    followers: Array | None = None,
) -> str:
    """A Python script that makes this network, solves it and prints every result table as CSV.

    call, arguments  what solves it: a function of pandapower's and its settings
    followers        rows of the loads whose part that follows the voltage stands as a shunt
    """
    suffix = "_3ph" if call is pp.runpp_3ph else ""
    tables = dict.fromkeys(f"res_{block.table}{suffix}" for block in blocks)
    lines = [
        "import numpy as np",
        "import pandapower as pp",
        "",
        f"net = pp.create_empty_network(f_hz={network.frequency_hz!r})",
    ]
    for block in blocks:
        lines += ["", *_rows(block)]
    lines += ["", f"pp.{call.__name__}(", "    net,"]
    lines += [f"    {name}={_literal(value)}," for name, value in arguments.items()]
    lines += [")", *_own_powers(blocks, followers)]
    lines += ["", f"for table in {tuple(tables)!r}:", "    if table in net and len(net[table]):"]
    lines += ["        print(table)", "        print(net[table].to_csv())", ""]
    return "\n".join(lines)


def _rows(block: Block) -> Iterator[str]:
    """One call per row, without what is pandapower's default."""
    create = CREATE[block.table]
    parameters = inspect.signature(create).parameters
    defaults = {name: parameter.default for name, parameter in parameters.items()}
    must = [
        name
        for name, default in defaults.items()
        if default is inspect.Parameter.empty and name not in ("net", "kwargs", *block.columns)
    ]
    columns = {name: values.tolist() for name, values in block.columns.items()}
    for row, label in enumerate(block.names):
        given = {name: values[row] for name, values in columns.items()}
        told = [
            f"{name}={_literal(value)}"
            for name, value in given.items()
            if not _absent(value) and not _same(value, defaults.get(name))
        ]
        told += [f'{name}=float("nan")' for name in must]
        if block.order is not None:
            told.append(f"index={int(block.order[row])}")
        if label is not None:
            told.append(f"name={label!r}")
        yield f"pp.{create.__name__}(net, {', '.join(told)})"


def _absent(value: Any) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value))


def _same(value: Any, default: Any) -> bool:
    return type(value) in (bool, int, float, str) and value == default


def _literal(value: Any) -> str:
    return f"np.array({value.tolist()!r})" if isinstance(value, np.ndarray) else repr(value)


def _own_powers(blocks: Sequence[Block], followers: Array | None) -> Iterator[str]:
    """What loads draw in all, whose part that follows the voltage stands as a shunt."""
    if followers is None or not len(followers):
        return
    first = sum(len(block.names) for block in blocks if block.table == "shunt" and block.kind)
    shunts = list(range(first, first + len(followers)))
    yield from (
        "",
        "# What these loads draw by the voltage stands as shunts, of the values at its solution.",
        f"loads, shunts = {followers.tolist()!r}, {shunts!r}",
        'powers = ["p_mw", "q_mvar"]',
        "net.res_load.loc[loads, powers] += net.res_shunt.loc[shunts, powers].to_numpy()",
    )
