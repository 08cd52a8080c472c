"""The stateless API: POST / answers a study, GET / says that somebody is there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flask import Blueprint, Response, request

from electrisim.engine import Engines
from electrisim.problems import ProblemError
from electrisim.wire import answer_request
from electrisim.wire.documented import PROBLEM_TYPE, encode_problem

GREETING = "Please send data to backend"


def blueprint(engines: Engines, library: Mapping[str, Any]) -> Blueprint:
    """The routes of the stateless API over these engines.

    library  standard types: table → name → parameters
    """
    api = Blueprint("api", __name__)

    @api.get("/")
    def greet() -> Response:
        return Response(GREETING, mimetype="text/plain")

    @api.post("/")
    def study() -> Response:
        status, media_type, body = answer_request(request.get_data(cache=False), engines, library)
        return Response(body, status=status, content_type=media_type)

    @api.get("/healthz")
    def healthz() -> Response:
        return Response("ok", mimetype="text/plain")

    return api


def problem_response(error: ProblemError) -> Response:
    """A ProblemError as it leaves the server."""
    return Response(encode_problem(error), status=error.status, content_type=PROBLEM_TYPE)
