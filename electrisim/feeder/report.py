"""The text report of the default session, for those who read a file instead of asking."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

log = logging.getLogger(__name__)

NAME = "latest_api_results.txt"

_COLUMNS = ("Bus", "Node", "VMag_pu", "VAngle", "Load_kW", "Load_kVAR", "Gen_kW", "Gen_kVAR")
_RULE = "=" * 110


def prepare(directory: Path) -> None:
    """Make the directory; where that is not possible, there are no reports."""
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        log.warning("No reports: %s", error)


def write(directory: Path, results: Mapping[str, Any], current: Callable[[], bool]) -> None:
    """Replace the report, unless it is not current any more; never leave half of one.

    A report that cannot be written is no reason to fail: the modification has been made.
    """
    try:
        with tempfile.NamedTemporaryFile(
            "w", dir=directory, prefix=".report-", encoding="utf-8", newline="\n", delete=False
        ) as file:
            temporary = Path(file.name)
            file.write(text(results))
        if current():
            temporary.chmod(0o644)
            temporary.replace(directory / NAME)
        else:
            temporary.unlink()
    except OSError as error:
        log.warning("No report: %s", error)


def text(results: Mapping[str, Any]) -> str:
    """The report of some results."""
    power, voltage = results["power_summary"], results["voltage_profile"]
    extremes = "min_voltage_pu", "avg_voltage_pu", "max_voltage_pu"
    lines = [
        _RULE,
        "SIMULATION STATE REPORT",
        _RULE,
        "",
        "--- POWER SUMMARY ---",
        f"Converged: {power['converged']}",
        f"Total Circuit Power: {power['total_circuit_power_kW']:.2f} kW",
        f"Total Load: {power['total_load_kW']:.2f} kW",
        f"Total Losses: {power['total_losses_kW']:.2f} kW",
        "",
        "--- VOLTAGE PROFILE ---",
        "Min/Avg/Max Voltage (p.u.): " + " / ".join(f"{voltage[key]:.4f}" for key in extremes),
        "",
        "--- DETAILED BUS DATA ---",
        *_table([_cells(row) for row in results["bus_details"]]),
    ]
    return "\n".join(lines)


def _cells(row: Mapping[str, Any]) -> list[str]:
    """Of a row, rounded as the report always was."""
    return [
        f"{row[column]:.4f}" if isinstance(row[column], float) else str(row[column])
        for column in _COLUMNS
    ]


def _table(rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines with every column aligned to the right."""
    widths = [max(map(len, column)) for column in zip(_COLUMNS, *rows, strict=True)]
    return [
        " ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True))
        for row in (_COLUMNS, *rows)
    ]
