"""What the feeder's tests share: the engine, the tables, and how a case is solved."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from electrisim.feeder import tables
from electrisim.feeder.model import Case, Options, Solved
from opendss_bindings import Bindings
from opendss_feeder import OpenDSSFeeder

UNCHANGED = Case({}, ())

SHARED = Path(__file__).resolve().parents[2].parent / "shared" / "feeder"


@pytest.fixture(scope="session")
def shared() -> Path:
    """Reference results and published solutions, which lie beside the checkout."""
    if not SHARED.exists():
        pytest.skip("needs ../shared")
    return SHARED


@pytest.fixture(scope="session")
def bindings() -> Bindings:
    return Bindings()


@pytest.fixture(scope="session")
def engine(bindings: Bindings) -> OpenDSSFeeder:
    return OpenDSSFeeder(bindings)


@pytest.fixture(scope="session")
def feeders() -> dict[str, tables.Feeder]:
    return {name: tables.read(name) for name in tables.FEEDERS}


@pytest.fixture(scope="session")
def feeder(feeders: dict[str, tables.Feeder]) -> tables.Feeder:
    """The 123-node feeder."""
    return feeders["ieee123"]


@pytest.fixture(scope="session")
def solve(engine: OpenDSSFeeder, feeders: dict[str, tables.Feeder]) -> Callable[..., Solved]:
    def solved(case: Case = UNCHANGED, **options: str) -> Solved:
        chosen = Options(**options)
        with engine.open(feeders[chosen.feeder], chosen, case) as model:
            return model.solve()

    return solved
