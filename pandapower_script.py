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

from electrisim import elements as e
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
    mixed: Array | None = None,
) -> str:
    """A Python script that makes this network, solves it and prints every result table as CSV.

    call, arguments  what solves it: a function of pandapower's and its settings
    mixed            which loads pandapower would mix up, shape (n_load,); they are told beside
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
    lines += [")", *_own_powers(network, blocks, mixed)]
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


def _own_powers(network: Network, blocks: Sequence[Block], mixed: Array | None) -> Iterator[str]:
    """What loads draw by their own law, where pandapower would give them the mean of a bus."""
    if mixed is None or not mixed.any():
        return
    loads = network.rows(e.Load)
    at = {}
    for row in np.flatnonzero(mixed).tolist():
        load = loads.elements[row]
        at[row] = (
            (load.p_mw * load.scaling, load.const_z_p_percent, load.const_i_p_percent),
            (load.q_mvar * load.scaling, load.const_z_q_percent, load.const_i_q_percent),
        )
    shunts = sum(len(b.names) for b in blocks if b.table == "shunt" and b.kind)
    added = sum(len(b.names) for b in blocks if b.table == "shunt" and not b.kind)
    yield from (
        "",
        "# pandapower gives all that a bus draws the mean of its loads' voltage dependence. The",
        "# loads and shunts above make up for it; here are the loads' own powers.",
        'powers = ["p_mw", "q_mvar"]',
        f"for shunt in range({shunts}, {shunts + added}):",
        '    bus = net.shunt.at[shunt, "bus"]',
        "    net.res_bus.loc[bus, powers] -= net.res_shunt.loc[shunt, powers]",
        f"for load, laws in {at!r}.items():",
        '    bus = net.load.at[load, "bus"]',
        '    v = net.res_bus.at[bus, "vm_pu"]',
        "    own = [s * (1 - (z + i) / 100 + i / 100 * v + z / 100 * v**2) for s, z, i in laws]",
        "    net.res_bus.loc[bus, powers] += own - net.res_load.loc[load, powers]",
        "    net.res_load.loc[load, powers] = own",
    )
