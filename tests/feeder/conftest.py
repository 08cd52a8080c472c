"""What the feeder's tests share: the engine, the tables, servers, and databases."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
from databases import DATABASES, empty_database
from flask import Flask
from flask.testing import FlaskClient

from electrisim.feeder import routes, tables
from electrisim.feeder.configuration import from_environment
from electrisim.feeder.model import Case, Options, Solved
from electrisim.web import configuration, edge
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


# -- databases -------------------------------------------------------------------------------------

POSTGRES = os.environ.get("ELECTRISIM_TEST_POSTGRES") or (
    "postgresql://postgres@127.0.0.1:5432/postgres"
)


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of a database of this run's own, in the server that there is or in one started."""
    with _server(tmp_path_factory) as address:
        name = f"electrisim_test_{uuid.uuid4().hex}"
        with psycopg.connect(address, autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}")
        yield f"{address.rpartition('/')[0]}/{name}"
        with psycopg.connect(address, autocommit=True) as connection:
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


class _server:  # noqa: N801 - used as a function
    """The server at POSTGRES; where none answers, one of our own for as long as it is needed."""

    def __init__(self, temporary: pytest.TempPathFactory) -> None:
        self._temporary = temporary
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> str:
        if _answers(POSTGRES):
            return POSTGRES
        programs = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
        path = os.pathsep.join([os.environ["PATH"], *map(str, programs)])
        initdb, postgres = shutil.which("initdb", path=path), shutil.which("postgres", path=path)
        if not (initdb and postgres) or os.geteuid() == 0:
            pytest.skip(f"no PostgreSQL at {POSTGRES}, and none that could be started")
        data = self._temporary.mktemp("postgres")
        port = free_port()
        subprocess.run(
            [initdb, "-D", data, "-U", "postgres", "-A", "trust", "-E", "UTF8"],
            check=True,
            stdout=subprocess.DEVNULL,
        )
        self._process = subprocess.Popen(
            [postgres, "-D", data, "-p", str(port), "-h", "127.0.0.1", "-k", data],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        address = f"postgresql://postgres@127.0.0.1:{port}/postgres"
        for _ in range(100):
            if _answers(address):
                return address
            time.sleep(0.1)
        pytest.skip("PostgreSQL was started and does not answer")

    def __exit__(self, *_: object) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait()


def _answers(address: str) -> bool:
    try:
        psycopg.connect(address, connect_timeout=3).close()
    except psycopg.OperationalError:
        return False
    return True


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


@pytest.fixture(params=DATABASES)
def database(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Address of an empty database, of each kind in turn."""
    return empty_database(request, tmp_path)


# -- servers ---------------------------------------------------------------------------------------


@pytest.fixture
def make_app(engine: OpenDSSFeeder, tmp_path: Path) -> Callable[..., Flask]:
    """An application of the feeder behind the edge; called again, it is another process's."""

    def made(**environ: str) -> Flask:
        app = Flask(__name__, static_folder=None)
        edge.configure(app, configuration.from_environment({"LOG_LEVEL": "WARNING"}))
        app.register_blueprint(routes.blueprint(engine, from_environment(environ, tmp_path)))
        return app

    return made


@pytest.fixture
def client(make_app: Callable[..., Flask]) -> FlaskClient:
    """A client of an application with an empty journal in SQLite."""
    return make_app().test_client()
