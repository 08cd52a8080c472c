"""The IEEE test feeders as scripts of our own, written from the data sheets' tables.

A distributed load stands in the middle of its line, which the published losses prove; regulators
are at their published taps (the tables' own README tells).
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path

TABLES = Path(__file__).parents[3] / "shared/feeder"
FEEDERS = ("ieee13", "ieee34", "ieee37", "ieee123")


class Feeder:
    """The tables of one feeder."""

    def __init__(self, name: str) -> None:
        self.name = name

    def table(self, name: str) -> list[dict[str, str]]:
        path = TABLES / self.name / f"{name}.csv"
        if not path.exists():
            return []
        with path.open(encoding="utf-8") as file:
            return list(csv.DictReader(file))

    def script(self) -> str:
        """A circuit that uses much of the language: codes, expressions, arrays, continuations."""
        (source,) = self.table("source")
        start = [
            "Clear  // as every script begins",
            "Set DefaultBaseFrequency=60",
            f"New Circuit.{self.name} bus1={source['bus']} basekv={source['kv_ll']}",
            f"~ pu={source['v_pu']} angle={source['angle_deg']}",
            "~ R1=0 X1=0.0001 R0=0 X0=0.0001 ! ideal",
        ]
        bases = sorted({bus["base_kv_ll"] for bus in self.table("buses")})
        end = [f"Set Voltagebases=[{', '.join(bases)}]", "CalcVoltageBases", "Solve"]
        parts = (
            self._codes(), self._lines(), self._switches(), self._transformers(),
            self._regulators(), self._capacitors(), self._loads(),
        )  # fmt: skip
        return "\n".join([*start, *(line for part in parts for line in part), *end])

    def _codes(self) -> Iterator[str]:
        impedances = self.table("line_impedances")
        for config in self.table("line_configs"):
            entries = {
                (z["row_phase"], z["col_phase"]): z
                for z in impedances
                if z["config"] == config["config"]
            }
            phases = config["matrix_phases"]
            yield f"New Linecode.mtx{config['config']} nphases={len(phases)} units=mi"
            yield f"~ rmatrix=({_rows(entries, phases, 'r_ohm_per_mile')})"
            yield f"~ xmatrix=[{_rows(entries, phases, 'x_ohm_per_mile')}]"
            yield f"More cmatrix={{{_rows(entries, phases, 'c_nF_per_mile_60Hz')}}}"

    def _lines(self) -> Iterator[str]:
        loaded = {load["line"] for load in self.table("distributed_loads")}
        for line in self.table("lines"):
            nodes, name = line["nodes"], line["line"]
            what = f"Phases={len(nodes.split('.'))} LineCode=mtx{line['config']} units=ft"
            ends = [f"{line[f'{end}_bus']}.{nodes}" for end in ("from", "to")]
            if name not in loaded:
                yield f"New Line.{name} {' '.join(ends)} {what} Len={line['length_ft']}"
                continue
            yield f"New Line.{name} {ends[0]} mid{name}.{nodes} {what}"
            yield f"~ Length=({line['length_ft']} 2 /)"
            yield f"New Line.{name}b mid{name}.{nodes} {ends[1]} {what}"
            yield f"~ length={{{line['length_ft']} .5 *}}"

    def _switches(self) -> Iterator[str]:
        for switch in self.table("switches"):
            nodes, name = switch["nodes"], f"switch{switch['switch']}"
            yield f"New Line.{name} {switch['from_bus']}.{nodes} {switch['to_bus']}.{nodes}"
            yield f"~ Phases={len(nodes.split('.'))} Switch=y r1=1e-4 r0=1e-4 x1=0 x0=0 c1=0 c0=0"
            if switch["normal_state"] == "open":
                yield f"Disable Line.{name}"

    def _transformers(self) -> Iterator[str]:
        for unit in self.table("transformers"):
            if unit["in_model"] != "yes":
                continue
            yield f"New Transformer.{unit['name']} Phases=3 Windings=2 XHL={unit['x_percent']}"
            for winding, side in enumerate(("from", "to"), 1):
                conn = unit[f"conn_{side}"].partition("-")[0]
                yield f"~ wdg={winding} bus={unit[f'{side}_bus']} conn={conn}"
                yield f"~ kv={unit[f'kv_{side}']} kva={unit['kva']}"
                yield f"~ %r=({unit['r_percent_total']} 2 /)"

    def _regulators(self) -> Iterator[str]:
        for unit in self.table("regulators"):
            name, at = unit["regulator"], unit["nodes"]
            phases = 3 if unit["ganged"] == "yes" else 1
            conn = "delta" if len(at.split(".")) == 2 else "wye"
            tap = 1 + float(unit["pu_per_step"]) * int(unit["published_tap"])
            yield f"New Transformer.{name} phases={phases} XHL=0.01 kVAs=[2000 2000]"
            yield f"~ Buses=[{unit['from_bus']}.{at} {unit['to_bus']}.{at}] conns=({conn} {conn})"
            yield f"~ kVs=[{unit['kv']} {unit['kv']}] %LoadLoss=0.00001"
            yield f"New RegControl.{name} transformer={name} winding=2 vreg={unit['vreg_volts']}"
            yield f"Transformer.{name}.Taps=[1.0 {tap}]"

    def _capacitors(self) -> Iterator[str]:
        for bank in self.table("capacitors"):
            phases = len(bank["nodes"].split("."))
            kv = float(bank["kv_ll"]) / (1 if phases == 3 else 3**0.5)
            yield f"New Capacitor.{bank['capacitor']} Bus1={bank['bus']}.{bank['nodes']}"
            yield f"~ Phases={phases} kVAR={bank['kvar_total']} kV={kv!r}"

    def _loads(self) -> Iterator[str]:
        for load in [*self.table("loads"), *self.table("distributed_loads")]:
            bus = f"mid{load['line']}" if "line" in load else load["bus"]
            phases = 3 if len(load["nodes"]) == 5 else 1
            yield f"New Load.{load['load']} Bus1={bus}.{load['nodes']} Phases={phases}"
            yield f"~ Conn={load['conn']} Model={load['dss_model']} kV={load['kv']}"
            yield f"~ kW={load['kw']} kvar={load['kvar']} vminpu=.5 vmaxpu=1.5"


def _rows(entries: dict[tuple[str, str], dict[str, str]], phases: str, field: str) -> str:
    """The lower triangle of a matrix."""
    triangle = (
        " ".join(entries[row, column][field] for column in phases[: k + 1])
        for k, row in enumerate(phases)
    )
    return " | ".join(triangle)
