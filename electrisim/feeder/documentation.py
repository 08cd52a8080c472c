"""The feeder's page of the documentation, derived from its routes and modifications."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from electrisim.feeder.api import ROUTES, Nothing, Route
from electrisim.feeder.refusals import REFUSALS
from electrisim.feeder.tables import FEEDERS, RECOMMENDED, read
from electrisim.fields import Field, fields_of

TITLE = "The test feeder"

TEXT = (
    "`POST /add_generator` and `POST /modify_load_neighbourhood` change a public test feeder, the "
    "IEEE's of 123 nodes, and answer how it is then. Each call builds on those before it. The "
    "state is a log of what was accepted: it outlives the server, can be walked back and forth, "
    "and is solved anew each time from the regulators' neutral taps, so that the same history "
    "always gives the same bytes. These two routes, and all below `/feeder`, are of the session "
    "`default`; below `/feeder/sessions/{id}` there are as many others as you make. Answers are "
    "`status` and `results`; a refusal has `status`, `message`, `kind` and `errors`, and leaves "
    "no trace. The header `Log-Seq` says which entry of the log an answer belongs to. A request "
    "that is sent again with its `Idempotency-Key` is answered again and not made again."
)


class Part(NamedTuple):
    """A heading, a paragraph, and a table."""

    title: str
    text: str
    header: tuple[str, ...]
    rows: list[tuple[str, ...]]


def parts() -> Iterator[Part]:
    """The page below its first paragraph."""
    yield Part(
        "Routes",
        "Those of a session are given for the default one; `/feeder/sessions/{session_id}` in the "
        "place of `/feeder` makes them another's.",
        ("route", "fields", "what it does"),
        [
            (f"`{route.method} {_spelled(rule)}`", _fields(route), route.summary)
            for route in ROUTES
            for rule in _shown(route)
        ],
    )
    for route in ROUTES:
        if route.fields is not Nothing:
            yield Part(
                f"Fields of {route.method} {_spelled(_shown(route)[-1])}",
                route.summary,
                ("field", "unit", "values", "default", "meaning"),
                [_field(field) for field in fields_of(route.fields).values()],
            )
    yield Part(
        "Results",
        "Full double precision throughout; rows are buses in the order of their table, nodes "
        "ascending.",
        ("member", "meaning"),
        [*_RESULTS.items()],
    )
    yield Part(
        "Conventions",
        "What a number means where one could think otherwise.",
        ("of", "is so"),
        [*_CONVENTIONS.items()],
    )
    yield Part(
        "Feeders",
        "Each README beside the tables says where the figures are from.",
        ("feeder", "title", "buses", "nodes", "loads", "neighbourhoods"),
        [_feeder(name) for name in FEEDERS],
    )
    yield Part(
        "Refusals",
        "The `kind` of an error. Each of `errors` has its own `kind` and `message`, and `field` "
        "or `element` where they apply.",
        ("kind", "status", "when"),
        [(f"`{kind}`", str(refusal.status), refusal.when) for kind, refusal in REFUSALS.items()],
    )


_RESULTS: Mapping[str, str] = {
    "`power_summary`": "`converged`; `total_circuit_power_kW` with OpenDSS' sign, negative while "
    "the feeder draws power, and `source_power_kW`, positive then; `total_losses_kW`; "
    "`total_load_kW`, the sum of the rows.",
    "`voltage_profile`": "`min_voltage_pu`, `max_voltage_pu`, `avg_voltage_pu` over all rows.",
    "`bus_details`": "The rows: `Bus`, `Node` (1, 2, 3 are phases A, B, C), `VMag_pu`, `VAngle` "
    "[degree], `Load_kW` and `Load_kVAR` (rated power times its factors), `Gen_kW` and "
    "`Gen_kVAR` (as delivered).",
    "`totals`": "The same solution in kW and kvar; `load_delivered_kw` is what loads take at "
    "their voltages, by their own models.",
    "`regulators`": "Steps from neutral, -16 to 16.",
    "`transformers`": "Loading of transformers, regulators and the substation's unit: current of "
    "the most loaded phase in percent of the rated one.",
    "`violations`": "Nodes beyond ANSI C84.1 and transformers above 80 %.",
    "`voltage_reference`": "`line-to-neutral`; of a three-wire feeder `line-to-line`: from the "
    "node's phase to the next (A-B, B-C, C-A).",
}

_CONVENTIONS: Mapping[str, str] = {
    "A generator": "delivers exactly the `kw` asked for, at unity power factor; else it is "
    "refused. It is told from others at its bus by its number of phases.",
    "One phase": "is the first one that the bus has, to the neutral; where there is no neutral "
    "(bus 610 of `ieee123`, all of `ieee37`), it is between the first two.",
    "A load of three phases": "counts a third at each node; one between two phases half at each; "
    "one along a line half at each end. That is bookkeeping: it is solved as it is connected.",
    "A factor": "multiplies what is consumed now, kW and kvar alike, devices included, storages "
    "not.",
    "A load's model": "(constant power, current or impedance) holds between two voltages, on "
    "`ieee123` 0.95 and 1.05 pu; beyond them it is an impedance, as in the published "
    "comparisons. Where that takes more than 0.5 % off all loads together, the modification is "
    "refused: the feeder cannot serve them.",
    "Regulators": "start from neutral at every solution and take one step at a time, those "
    "upstream first; each stops at the first tap in its band.",
    "`lengths` = `epri`": "takes EPRI's figures where its file of `ieee123` differs from the "
    "IEEE's sheets: two lengths, the rated voltage of loads and of single-phase capacitors.",
    "Neighbourhoods": "of `ieee123` are a table of 14, in three versions; of the others, what "
    "hangs together when switches and regulators are cut.",
    "A tap operation": "is one step of one regulator between two steps of a day. Over a day "
    "regulators keep their taps; those that lead to the first solution do not count.",
    "A stream": "is one JSON object a line (`application/x-ndjson`): `type` `progress` with "
    "`done`, `of` and `data` for each bus, then `type` `result` with all of them in `data`, or "
    "`type` `error` with the members of a refusal.",
    "Hosting capacity": "is found by growing the generator step by step, so that no size between "
    "is overlooked; `binding` is what forbids the next one: `vm_pu`, `loading_percent`, `rating` "
    "of the transformer that feeds the bus, or `delivery`. The data sheets rate no conductors: "
    "a line's current is a limit only where `conductor_amps` rates what it is made of.",
    "Simulated time": "passes with `simulate` only. A programme's draws depend on `seed`, its "
    "name and the bus, and on nothing else.",
}


def _shown(route: Route) -> list[str]:
    """Of a session's routes, those of the default one, where there are any."""
    own = [rule for rule in route.rules if not rule.startswith("/feeder/sessions/<")]
    return own or route.rules


def _spelled(rule: str) -> str:
    return re.sub(r"<(\w+)>", r"{\1}", rule)


def _fields(route: Route) -> str:
    return ", ".join(
        f"`{field.name}`" if field.required else f"[`{field.name}`]"
        for field in fields_of(route.fields).values()
    )


def _field(field: Field) -> tuple[str, ...]:
    if field.name == "phases":
        values = "1, 3"
    elif field.choices:
        values = ", ".join(f"`{choice}`" for choice in field.choices)
    else:
        limits = (f"{_SIGNS[bound]} {limit:g}" for bound, limit in field.bounds.items())
        values = ", ".join([_TYPES[field.type], *limits])
    default = (
        "required" if field.required else "–" if field.default is None else f"`{field.default}`"
    )
    return (f"`{field.name}`", field.unit or "", values, default, field.meaning)


_TYPES = {
    "number": "number",
    "integer": "whole number",
    "word": "text",
    "structure": "list or object",
}
_SIGNS = {"gt": ">", "ge": "≥", "lt": "<", "le": "≤"}


def _feeder(name: str) -> tuple[str, ...]:
    feeder = read(name)
    return (
        f"`{name}`",
        feeder.about.title,
        str(len(feeder.buses)),
        str(len(feeder.nodes)),
        str(len(feeder.loads)),
        str(len(feeder.neighbourhoods[RECOMMENDED])),
    )
