"""Is the process alive (/healthz), and do its engines solve (/readyz)?"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping

import msgspec
import orjson
from flask import Blueprint, Response

from electrisim import elements as e
from electrisim.engine import Engines
from electrisim.network import Entry, Network
from electrisim.problems import Problem, ProblemError
from electrisim.studies import STUDIES

LIFETIME_S = 30.0


def blueprint(engines: Engines, clock_s: Callable[[], float] = time.monotonic) -> Blueprint:
    """The two health checks."""
    health = Blueprint("health", __name__)
    readiness = _Readiness(engines, clock_s)

    @health.get("/healthz")
    def healthz() -> Response:
        return Response("ok", mimetype="text/plain")

    @health.get("/readyz")
    def readyz() -> Response:
        body = orjson.dumps({"status": "ready", "engines": readiness.versions()})
        return Response(body, mimetype="application/json")

    return health


class _Readiness:
    """Remembers for LIFETIME_S that every engine has solved a network of two buses."""

    def __init__(self, engines: Engines, clock_s: Callable[[], float]) -> None:
        self._engines = engines
        self._clock_s = clock_s
        self._lock = threading.Lock()
        self._versions: Mapping[str, str] = {}
        self._solved_s = float("-inf")

    def versions(self) -> Mapping[str, str]:
        """Name → version of the engines; raises ProblemError (503) if one of them fails."""
        with self._lock:
            if self._clock_s() - self._solved_s > LIFETIME_S:
                self._versions = {engine.name: self._solve(engine.name) for engine in self._engines}
                self._solved_s = self._clock_s()
            return self._versions

    def _solve(self, name: str) -> str:
        study = STUDIES["powerflow"]
        try:
            settings = msgspec.convert({"solver": name}, study.Settings)
            answer = study.run(two_buses(), settings, self._engines)
        except ProblemError as error:
            message = f"The engine {name} does not solve: {error.sentence}"
            raise ProblemError(
                [Problem(kind="not-ready", message=message)], status=503, kind="not-ready"
            ) from error
        return str(answer.engine["version"])


def two_buses() -> Network:
    """grid — b1 ── 1 km line ── b2 — 1 MW load"""
    return Network(
        [
            Entry("b1", None, e.Bus(vn_kv=20.0)),
            Entry("b2", None, e.Bus(vn_kv=20.0)),
            Entry("grid", None, e.ExternalGrid(bus="b1")),
            Entry(
                "line",
                None,
                e.Line(
                    from_bus="b1",
                    to_bus="b2",
                    length_km=1.0,
                    r_ohm_per_km=0.2,
                    x_ohm_per_km=0.1,
                    c_nf_per_km=200.0,
                    max_i_ka=0.3,
                ),
            ),
            Entry("load", None, e.Load(bus="b2", p_mw=1.0, q_mvar=0.2)),
        ]
    )
