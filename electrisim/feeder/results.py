"""The results of a feeder as every route answers them.

Rows are one per energised bus and node, buses in the order of their table and nodes ascending. All
figures are in full double precision; rounding is the text report's.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from electrisim.feeder.model import SUBSTATION, Case, Solved, factors_of, per_unit
from electrisim.feeder.tables import Complex, Feeder, Reals

#: Voltage bands of ANSI C84.1 for the service [pu]: A as a rule, B for a while.
BANDS = {"A": (0.95, 1.05), "B": (110 / 120, 127 / 120)}

#: From which loading on a transformer is remarked upon [%].
LOADINGS = {"overloaded": 100.0, "critical": 90.0, "warning": 80.0}


def results(feeder: Feeder, case: Case, solved: Solved) -> dict[str, Any]:
    """`results` of an answer.

    power_summary    total_circuit_power_kW has OpenDSS' sign, negative while the feeder draws
                     power; source_power_kW is positive then
    voltage_profile  over all rows
    bus_details      the rows; loads with their rated power times their factors
    totals           the same solution in all its powers; load_delivered_kw by the loads' own models
    regulators       steps from neutral
    transformers     loading of their most loaded phase, by current
    violations       voltages beyond ANSI C84.1, transformers from 80 % on
    """
    pu = per_unit(feeder, solved.voltages)
    volts = np.abs(pu)
    load, generation = shares(feeder, case, solved)
    loadings = transformer_loadings(feeder, solved)
    return {
        "power_summary": {
            "converged": solved.converged,
            "total_circuit_power_kW": -solved.source.real,
            "total_losses_kW": solved.losses.real,
            "total_load_kW": float(load.real.sum()),
            "source_power_kW": solved.source.real,
        },
        "voltage_profile": {
            "min_voltage_pu": float(volts.min()),
            "max_voltage_pu": float(volts.max()),
            "avg_voltage_pu": float(volts.mean()),
        },
        "bus_details": rows(feeder, pu, load, generation),
        "totals": totals(case, solved, load, generation),
        "regulators": dict(solved.taps),
        "transformers": loadings,
        "violations": [*voltage_violations(feeder, volts), *loading_violations(loadings)],
        "voltage_reference": (
            "line-to-line" if feeder.about.wiring == "three-wire" else "line-to-neutral"
        ),
    }


def rows(feeder: Feeder, pu: Complex, load: Complex, generation: Complex) -> list[dict[str, Any]]:
    columns = (
        np.abs(pu),
        np.degrees(np.angle(pu)),
        load.real,
        load.imag,
        generation.real,
        generation.imag,
    )
    names = ("VMag_pu", "VAngle", "Load_kW", "Load_kVAR", "Gen_kW", "Gen_kVAR")
    return [
        {"Bus": bus, "Node": node, **dict(zip(names, figures, strict=True))}
        for (bus, node), figures in zip(
            feeder.nodes, np.column_stack(columns).tolist(), strict=True
        )
    ]


def totals(case: Case, solved: Solved, load: Complex, generation: Complex) -> dict[str, float]:
    consumed = sum(
        -float(power.sum().real)
        for unit, power in zip(case.units, solved.units, strict=True)
        if unit.kw < 0
    )
    return {
        "source_kw": solved.source.real,
        "source_kvar": solved.source.imag,
        "loss_kw": solved.losses.real,
        "loss_kvar": solved.losses.imag,
        "load_nominal_kw": float(load.real.sum()),
        "load_delivered_kw": float(solved.loads.sum().real) + consumed,
        "generation_kw": float(generation.real.sum()),
    }


def shares(feeder: Feeder, case: Case, solved: Solved) -> tuple[Complex, Complex]:
    """(nominal load, generation) of each node [kVA].

    Equal parts to all nodes of a load: a third each of three phases, and of a load between two
    phases a half each, which is a convention. A load along a line counts half at each end. What is
    generated is as delivered; a unit that consumes is a load.
    """
    each = feeder.shares_of_loads
    load = np.zeros(len(feeder.nodes), np.complex128)
    np.add.at(load, each.node, each.kva * factors_of(feeder, case)[each.load])
    generation = np.zeros_like(load)
    for unit, power in zip(case.units, solved.units, strict=True):
        where = [feeder.rows[unit.bus, node] for node in unit.nodes]
        if unit.kw < 0:
            load[where] -= unit.kw / len(where)
        else:
            # Adding 0 makes a 0 of a -0.
            generation[where] += power + 0.0
    return load, generation


def transformer_loadings(feeder: Feeder, solved: Solved) -> list[dict[str, Any]]:
    """Transformers, regulators, and the substation's unit by the current of the source.

    In percent of the rated current, that of the most loaded phase.
    """
    rated = [
        *((t.name, "transformer", t.kva, t.kv_from) for t in feeder.transformers.values()),
        *((r.regulator, "regulator", r.kva, r.kv) for r in feeder.regulators.values()),
        (SUBSTATION, "transformer", feeder.about.substation_kva, feeder.source.kv_ll),
    ]
    return [_loading(name, typ, kva, kv, solved.currents[name]) for name, typ, kva, kv in rated]


def _loading(name: str, typ: str, kva: float, kv: float, current_a: Reals) -> dict[str, Any]:
    rated_a = kva / kv / (math.sqrt(3) if len(current_a) == 3 else 1.0)
    percent = 100 * float(current_a.max()) / rated_a
    status = next((word for word, limit in LOADINGS.items() if percent > limit), "ok")
    return {"name": name, "typ": typ, "kva": kva, "loading_percent": percent, "status": status}


def voltage_violations(feeder: Feeder, volts: Reals) -> Iterator[dict[str, Any]]:
    """Nodes beyond ANSI C84.1, each with the widest band that it leaves."""
    (low, high), (lowest, highest) = BANDS["A"], BANDS["B"]
    for row in np.flatnonzero((volts < low) | (volts > high)).tolist():
        bus, node = feeder.nodes[row]
        value = float(volts[row])
        band = "A" if lowest <= value <= highest else "B"
        yield {
            "element": bus,
            "typ": "bus",
            "node": node,
            "quantity": "vm_pu",
            "value": value,
            "limit": BANDS[band][value > 1],
            "severity": f"range {band}",
        }


def loading_violations(loadings: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Transformers and regulators from the lowest of `LOADINGS` on."""
    for loading in loadings:
        if loading["status"] != "ok":
            yield {
                "element": loading["name"],
                "typ": loading["typ"],
                "quantity": "loading_percent",
                "value": loading["loading_percent"],
                "limit": LOADINGS[loading["status"]],
                "severity": loading["status"],
            }
