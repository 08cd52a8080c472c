"""The IEEE 13-node feeder as a script of our own, written from the data sheets' tables.

The distributed load stands in the middle of its line, which the published losses prove; regulators
at their published taps (../shared/feeder/ieee13/README.md).
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path

TABLES = Path(__file__).parents[3] / "shared/feeder/ieee13"


def table(name: str) -> list[dict[str, str]]:
    with (TABLES / f"{name}.csv").open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def script() -> str:
    """A circuit that uses much of the language: codes, expressions, arrays, continuations."""
    (source,) = table("source")
    lines = [
        "Clear  // as every script begins",
        "Set DefaultBaseFrequency=60",
        f"New Circuit.IEEE13 bus1={source['bus']} basekv={source['kv_ll']} pu={source['v_pu']}",
        f"~ R1={source['r1_ohm']} X1={source['x1_ohm']} R0={source['r0_ohm']} X0=0.0001 ! ideal",
        *_codes(), *_lines(), *_transformers(), *_capacitors(), *_loads(),
        "Set Voltagebases=[4.16, .48]",
        "CalcVoltageBases",
        "Solve",
    ]  # fmt: skip
    return "\n".join(lines)


def _codes() -> Iterator[str]:
    impedances = table("line_impedances")
    for config in table("line_configs"):
        phases = config["matrix_phases"]
        entries = {
            (z["row_phase"], z["col_phase"]): z
            for z in impedances
            if z["config"] == config["config"]
        }

        def rows(field: str, phases: str = phases, entries: dict = entries) -> str:
            triangle = (
                " ".join(entries[row, column][field] for column in phases[: k + 1])
                for k, row in enumerate(phases)
            )
            return " | ".join(triangle)

        yield f"New Linecode.mtx{config['config']} nphases={len(phases)} units=mi"
        yield f"~ rmatrix=({rows('r_ohm_per_mile')})"
        yield f"~ xmatrix=[{rows('x_ohm_per_mile')}]"
        yield f"More cmatrix={{{rows('c_nF_per_mile_60Hz')}}}"


def _lines() -> Iterator[str]:
    for line in table("lines"):
        nodes, code = line["nodes"], f"LineCode=mtx{line['config']}"
        phases = f"Phases={len(nodes.split('.'))}"
        if line["line"] == "632-671":
            yield f"New Line.near 632.{nodes} mid.{nodes} {phases} {code} units=ft"
            yield "~ Length=(2000 2 /)"
            yield f"New Line.far like=near Bus1=mid.{nodes} Bus2=671.{nodes}"
            continue
        ends = f"Bus1={line['from_bus']}.{nodes} Bus2={line['to_bus']}.{nodes}"
        yield f"New Line.{line['line']} {phases} {ends} {code} Len={line['length_ft']} units=ft"
    yield "New Line.671-692 Bus1=671 Bus2=692 Switch=y r1=1e-4 r0=1e-4 x1=0 x0=0 c1=0 c0=0"


def _transformers() -> Iterator[str]:
    unit = next(unit for unit in table("transformers") if unit["in_model"] == "yes")
    r = float(unit["r_percent_total"]) / 2
    yield f"New Transformer.{unit['name']} Phases=3 Windings=2 XHL={unit['x_percent']}"
    for winding, side in enumerate(("from", "to"), 1):
        yield f"~ wdg={winding} bus={unit[f'{side}_bus']} conn=Wye kv={unit[f'kv_{side}']}"
        yield f"~ kva={unit['kva']} %r={r}"
    for unit in table("regulators"):
        name, at = unit["regulator"], unit["nodes"]
        tap = 1 + float(unit["pu_per_step"]) * int(unit["published_tap"])
        yield f"New Transformer.{name} phases=1 XHL=0.01 kVAs=[2000 2000] %LoadLoss=0.00001"
        yield f"~ Buses=[{unit['from_bus']}.{at} {unit['to_bus']}.{at}]"
        yield f"~ kVs=[{unit['kv']} {unit['kv']}]"
        yield f"Transformer.{name}.Taps=[1.0 {tap}]"


def _capacitors() -> Iterator[str]:
    for bank in table("capacitors"):
        phases = len(bank["nodes"].split("."))
        kv = float(bank["kv_ll"]) / (1 if phases == 3 else 3**0.5)
        yield f"New Capacitor.{bank['capacitor']} Bus1={bank['bus']}.{bank['nodes']}"
        yield f"~ Phases={phases} kVAR={bank['kvar_total']} kV={kv!r}"


def _loads() -> Iterator[str]:
    for load in [*table("loads"), *table("distributed_loads")]:
        bus = "mid" if "line" in load else load["bus"]
        phases = 3 if len(load["nodes"]) == 5 else 1
        yield f"New Load.{load['load']} Bus1={bus}.{load['nodes']} Phases={phases}"
        yield f"~ Conn={load['conn']} Model={load['dss_model']} kV={load['kv']}"
        yield f"~ kW={load['kw']} kvar={load['kvar']} vminpu=.5 vmaxpu=1.5"
