"""The kinds of databases that a journal can be in."""

from __future__ import annotations

from pathlib import Path

import psycopg
import pytest

DATABASES = ("sqlite", "postgresql")


def empty_database(request: pytest.FixtureRequest, folder: Path) -> str:
    """Address of an empty database of the kind that is the parameter of the fixture."""
    if request.param == "sqlite":
        return f"sqlite:///{folder / 'journal.sqlite3'}"
    address: str = request.getfixturevalue("postgres")
    with psycopg.connect(address, autocommit=True) as connection:
        connection.execute("DROP TABLE IF EXISTS feeder_modification, feeder_session")
    return address
