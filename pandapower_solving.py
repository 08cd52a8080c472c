"""Running pandapower: what it raises becomes our errors, what it silently fails at too."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
from pandapower.auxiliary import LoadflowNotConverged, pandapowerNet
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import breadth_first_order
from scipy.sparse.linalg import MatrixRankWarning

from electrisim import elements as e
from electrisim.network import Array, Network, shift_degree, shifts3w_degree
from electrisim.problems import NotConvergedError, Problem, ProblemError, shorten
from electrisim.studies.powerflow import PowerFlow
from electrisim.topology import Topology

#: The numbers have left what can be solved, noticed by numpy, scipy or pandapower.
UNSOLVED = (
    LoadflowNotConverged,
    MatrixRankWarning,  # a singular matrix where warnings are errors; elsewhere the result is NaN
    np.linalg.LinAlgError,  # roots of a polynomial that is not finite (iwamoto_nr)
    FloatingPointError,  # pandapower's own np.errstate(all="raise"), around 1/x and T to pi
    RuntimeError,  # SuperLU: the factor is exactly singular
    OverflowError,  # an index from a number that is not finite
)

#: What pandapower says in words: UserWarning is its exception for data that it cannot model.
REFUSED = (UserWarning, NotImplementedError, ValueError)


class NoReactanceError(Exception):
    """The linear power flow, by itself or as the start of another, met a branch without one."""


def solve(
    net: pandapowerNet,
    call: Callable[..., None],
    arguments: Mapping[str, Any],
    settings: PowerFlow,
    voltage: tuple[str, str],
) -> None:
    """Run pandapower on a net.

    voltage  (result table, column) that must be finite at every bus in service
    Raises NotConvergedError, ProblemError for what pandapower does not model, NoReactanceError.
    """
    try:
        # Numbers that leave the range end in NaN, which is looked for below.
        with np.errstate(all="ignore"):
            call(net, **arguments)
    except ZeroDivisionError as error:
        raise _unsolved(settings) from error
    except FloatingPointError as error:
        if "divide by zero" in str(error):
            raise NoReactanceError from error
        raise _unsolved(settings) from error
    except IndexError as error:
        # A step so small that the cubic of its multiplier has lost its roots.
        if settings.algorithm != "iwamoto_nr":
            raise
        raise _unsolved(settings) from error
    except UNSOLVED as error:
        raise _unsolved(settings) from error
    except REFUSED as error:
        said = shorten(" ".join(str(error).split()), 300)
        message = f"pandapower does not solve this network: {said}"
        problem = Problem(kind="unsupported", message=message)
        raise ProblemError([problem], kind="unsupported") from error
    table, column = voltage
    found = net[table][column].to_numpy(dtype=float)
    alive = net["bus"]["in_service"].to_numpy(dtype=bool)
    if not np.isfinite(found[alive]).all():
        raise _unsolved(settings)


def _unsolved(settings: PowerFlow) -> NotConvergedError:
    if settings.mode == "dc":
        return NotConvergedError("The linear power flow has no solution.")
    limit = f" within {settings.max_iteration} iterations" if settings.max_iteration else ""
    algorithm = settings.algorithm or "nr"
    return NotConvergedError(f"pandapower ({algorithm}) found no solution{limit}.")


def start_angles(network: Network, topology: Topology) -> Array:
    """Voltage angles to start from: the sources', turned by the phase shifts on the way [degree].

    For networks in which the linear power flow has no meaning, because a branch has no reactance.
    """
    buses = network.rows(e.Bus)
    ends = list(_turns(network, topology))
    one, other, turn = (np.concatenate(part) for part in zip(*ends, strict=True))
    count = len(buses)
    grids = network.rows(e.ExternalGrid)
    sources = np.flatnonzero(topology.alive(e.ExternalGrid)) if len(grids) else []
    angle = np.zeros(count)
    known = np.zeros(count, dtype=bool)
    step: dict[tuple[int, int], float] = {}
    for a, b, by in zip(one.tolist(), other.tolist(), turn.tolist(), strict=True):
        step.setdefault((a, b), by)
        step.setdefault((b, a), -by)
    graph = coo_matrix((np.ones(len(one)), (one, other)), shape=(count, count)).tocsr()
    roots = [(int(grids.at["bus"][row]), float(grids.column("va_degree")[row])) for row in sources]
    roots += [(int(bus), 0.0) for bus in np.flatnonzero(topology.bus)]
    for root, start in roots:
        if known[root]:
            continue
        order, before = breadth_first_order(graph, root, directed=False)
        angle[root], known[root] = start, True
        for bus in order[1:].tolist():
            if not known[bus]:
                came = int(before[bus])
                angle[bus], known[bus] = angle[came] + step[came, bus], True
    return angle


def _turns(network: Network, topology: Topology) -> Iterator[tuple[Array, Array, Array]]:
    """Living connections: bus, other bus, by how much the angle is turned on the way [degree]."""
    switches = network.rows(e.Switch)
    if len(switches):
        between = topology.alive(e.Switch) & (switches.at["et"] == "b")
        one, other = switches.at["bus"][between], switches.at["element"][between]
        yield one, other, np.zeros(len(one))
    for kind in (e.Line, e.Impedance, e.TCSC, e.Transformer, e.ThreeWindingTransformer):
        rows = network.rows(kind)
        if not len(rows):
            continue
        turns = {"hv_bus": np.zeros(len(rows))}
        if kind is e.Transformer:
            turns["lv_bus"] = -shift_degree(rows)
        elif kind is e.ThreeWindingTransformer:
            turns |= dict(
                zip(("mv_bus", "lv_bus"), np.negative(shifts3w_degree(rows)), strict=True)
            )
        first = kind.ports[0].bus
        for port in kind.ports[1:]:
            joined = topology.alive(kind) & topology.attached(rows, first)
            joined = joined & topology.attached(rows, port.bus)
            turn = turns.get(port.bus, np.zeros(len(rows)))
            yield rows.at[first][joined], rows.at[port.bus][joined], turn[joined]
    yield np.zeros(0, dtype=int), np.zeros(0, dtype=int), np.zeros(0)
