"""What the environment decides about the feeder; docs/deployment.md explains each variable."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from pathlib import Path

import msgspec

from electrisim.feeder.journal import normalised
from electrisim.feeder.model import Options


class Configuration(msgspec.Struct, frozen=True, kw_only=True):
    """Where the feeder's sessions live.

    database  address of the journal
    reports   directory of the text report
    default   options of the default session
    restart   see `Sessions`
    """

    database: str
    reports: Path
    default: Options
    restart: str | None


def from_environment(environ: Mapping[str, str], root: Path) -> Configuration:
    """The configuration that the environment asks for; an empty variable counts as absent.

    root  where files are kept, unless systemd or a variable names another place
    Raises ValueError with a sentence that names the variable.
    """
    place = Path((environ.get("STATE_DIRECTORY") or str(root)).split(":")[0])
    database = environ.get("DATABASE_URL") or f"sqlite:///{place / 'feeder.sqlite3'}"
    normalised(database)
    tables = ("recommended", "seed", "later")
    table = _one_of("FEEDER_NEIGHBOURHOODS", environ.get("FEEDER_NEIGHBOURHOODS"), tables)
    ends = ("until-reset", "until-restart")
    state = _one_of("FEEDER_STATE", environ.get("FEEDER_STATE"), ends)
    return Configuration(
        database=database,
        reports=Path(environ.get("FEEDER_REPORTS") or place / "results_api"),
        default=msgspec.convert({"neighbourhood_table": table}, Options),
        restart=f"restart-{secrets.token_hex(8)}" if state == "until-restart" else None,
    )


def _one_of(name: str, value: str | None, known: tuple[str, ...]) -> str:
    if value and value not in known:
        raise ValueError(f"{name}: “{value}” is none of {', '.join(known)}.")
    return value or known[0]
