"""What can be read of a session beside its results."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from electrisim.feeder.journal import Session, Written
from electrisim.feeder.state import Place, State
from electrisim.feeder.tables import (
    Bus,
    Feeder,
    Line,
    Regulator,
    Switch,
    Transformer,
    numbers,
)

Rows = list[dict[str, Any]]
Branch = Line | Switch | Transformer | Regulator


def described(session: Session) -> dict[str, Any]:
    """A session as it was made."""
    options = session.options
    return {
        "id": session.id,
        "feeder": options.feeder,
        "neighbourhood_table": options.neighbourhood_table,
        "taps": options.taps,
        "lengths": options.lengths,
        "created": session.created,
        "feeder_digest": session.feeder_digest,
        "engine_version": session.engine_version,
    }


def entries(log: list[Written]) -> Rows:
    """A log, each entry with the digest of the results that it was answered with."""
    return [
        {
            "seq": written.seq,
            "kind": written.entry.kind,
            "payload": written.entry.payload,
            "at": written.at,
            "result_digest": written.result_digest,
            "idempotency_key": written.idempotency_key,
        }
        for written in log
    ]


def buses(place: Place, results: Mapping[str, Any]) -> Rows:
    """Every bus with its place in the drawing, its neighbourhood, and its nodes as solved."""
    rows = _rows_of(results)
    neighbourhoods = neighbourhood_of(place)
    return [
        _bus(place.feeder, bus, neighbourhoods.get(bus.bus), rows.get(bus.bus, []))
        for bus in place.feeder.buses.values()
    ]


def branches(feeder: Feeder) -> Rows:
    """What joins the buses, for a drawing."""
    listed: list[tuple[str, str, Branch, bool]] = [
        *(("line", line.line, line, True) for line in feeder.lines.values()),
        *(("switch", s.switch, s, s.closed) for s in feeder.switches.values()),
        *(("transformer", t.name, t, True) for t in feeder.transformers.values()),
        *(("regulator", r.regulator, r, True) for r in feeder.regulators.values()),
    ]
    return [
        {
            "typ": typ,
            "name": name,
            "from_bus": branch.from_bus,
            "to_bus": branch.to_bus,
            "phases": _letters(branch.nodes),
            "closed": closed,
        }
        for typ, name, branch, closed in listed
    ]


def bus(place: Place, state: State, results: Mapping[str, Any], name: str) -> dict[str, Any]:
    """One bus with everything at it."""
    found = place.bus(name)
    at = found.bus
    rows = _rows_of(results).get(at, [])
    return {
        **_bus(place.feeder, found, neighbourhood_of(place).get(at), rows),
        "net_power_kW": sum(row["Gen_kW"] - row["Load_kW"] for row in rows),
        "loads": [
            {
                "name": load.load,
                "phases": _letters(load.nodes),
                "connection": load.conn,
                "model": load.model,
                "rated_kw": load.kw,
                "rated_kvar": load.kvar,
                "factor": state.factors.get(load.load, 1.0),
            }
            for load in place.feeder.loads.values()
            if at in place.feeder.ends_of_load[load.load]
        ],
        "generators": [row for row in generators(state) if row["bus"] == at],
        "devices": [row for row in devices(state) if row["bus"] == at],
        "storages": [row for row in storages(state) if row["bus"] == at],
        "programmes": [name for name, p in state.programmes.items() if at in p.subscribers],
        "neighbours": [
            branch
            for branch in branches(place.feeder)
            if at in (branch["from_bus"], branch["to_bus"])
        ],
        "violations": [v for v in results["violations"] if v["element"] == at],
    }


def neighbourhoods(place: Place, state: State, results: Mapping[str, Any]) -> Rows:
    """Every neighbourhood with its buses, its loads and what it consumes and generates.

    `factor` is what its loads are of their rated power, devices and storages not counted.
    """
    rows = _rows_of(results)
    table = place.feeder.neighbourhoods[place.options.neighbourhood_table]
    listed = []
    for number, members in table.items():
        loads = place.feeder.loads_in(place.options.neighbourhood_table, number)
        figures = [row for member in members for row in rows.get(member, [])]
        rated_kw = sum(place.feeder.loads[load].kw for load in loads)
        present_kw = sum(
            place.feeder.loads[load].kw * state.factors.get(load, 1.0) for load in loads
        )
        listed.append(
            {
                "neighbourhood": number,
                "buses": list(members),
                "loads": len(loads),
                "rated_kW": rated_kw,
                "factor": present_kw / rated_kw if rated_kw else 1.0,
                "load_kW": sum(row["Load_kW"] for row in figures),
                "load_kVAR": sum(row["Load_kVAR"] for row in figures),
                "gen_kW": sum(row["Gen_kW"] for row in figures),
            }
        )
    return listed


def additions(state: State) -> dict[str, Any]:
    """What was added to the feeder, and how long it was simulated."""
    return {
        "generators": generators(state),
        "devices": devices(state),
        "storages": storages(state),
        "programmes": [
            {
                "name": p.name,
                "description": p.description,
                "min_power_kw": p.min_power_kw,
                "target_pf": p.target_pf,
                "subscribers": list(p.subscribers),
                "curtailed": [
                    {"bus": d.bus, "device": d.name}
                    for d in state.sorted_devices()
                    if p.name in d.cuts
                ],
            }
            for p in state.programmes.values()
        ],
        "simulated_minutes": state.minutes,
    }


def generators(state: State) -> Rows:
    return [
        {"bus": bus, "phases": phases, "kw": kw} for bus, phases, kw in state.sorted_generators()
    ]


def devices(state: State) -> Rows:
    return [
        {
            "bus": d.bus,
            "device": d.name,
            "phases": d.phases,
            "kw": d.kw,
            "present_kw": d.present_kw,
            "programmes": sorted(d.cuts),
        }
        for d in state.sorted_devices()
    ]


def storages(state: State) -> Rows:
    return [
        {
            "bus": s.bus,
            "device": s.name,
            "phases": s.phases,
            "capacity_kwh": s.capacity_kwh,
            "charge_rate_kw": s.charge_kw,
            "discharge_rate_kw": s.discharge_kw,
            "mode": s.mode,
            "energy_kwh": s.energy_kwh,
            "injected_kw": s.injected_kw,
        }
        for s in state.sorted_storages()
    ]


def neighbourhood_of(place: Place) -> dict[str, int]:
    """Bus → its neighbourhood; the last one where a table puts a bus into two."""
    table = place.feeder.neighbourhoods[place.options.neighbourhood_table]
    return {bus: number for number, members in table.items() for bus in members}


def _bus(feeder: Feeder, found: Bus, neighbourhood: int | None, rows: Rows) -> dict[str, Any]:
    return {
        "bus": found.bus,
        "ieee_name": found.ieee_name,
        "phases": _letters(found.nodes),
        "base_kv": found.base_kv_ll,
        "energised": found.energised,
        "neutral": found.bus not in feeder.ungrounded,
        "neighbourhood": neighbourhood,
        "x": found.x,
        "y": found.y,
        "nodes": rows,
    }


def _rows_of(results: Mapping[str, Any]) -> dict[str, Rows]:
    found: dict[str, Rows] = {}
    for row in results["bus_details"]:
        found.setdefault(row["Bus"], []).append(row)
    return found


def _letters(nodes: str) -> str:
    return "".join("ABC"[node - 1] for node in numbers(nodes))
