"""The stateless API: POST / answers a study, GET / says that somebody is there."""

from __future__ import annotations

import msgspec
from flask import Blueprint, Response, request
from werkzeug.exceptions import UnsupportedMediaType

from electrisim.engine import Engines
from electrisim.wire import answer_request
from electrisim.wire.documented import Library

GREETING = "Please send data to backend"


def blueprint(engines: Engines, library: Library) -> Blueprint:
    """The routes of the stateless API over these engines.

    library  standard types: table → name → parameters
    """
    api = Blueprint("api", __name__)

    @api.get("/")
    def greet() -> Response:
        return Response(GREETING, mimetype="text/plain")

    @api.post("/")
    def study() -> Response:
        body = request.get_data(cache=False)
        if request.content_encoding or not (_says_json(request.mimetype) or _is_json(body)):
            raise UnsupportedMediaType
        status, media_type, answer = answer_request(body, engines, library)
        return Response(answer, status=status, content_type=media_type)

    return api


def _says_json(mimetype: str) -> bool:
    return not mimetype or mimetype == "application/json" or mimetype.endswith("+json")


def _is_json(body: bytes) -> bool:
    """Whether a body of another media type is JSON all the same, as curl's default sends it."""
    try:
        msgspec.json.decode(body, type=msgspec.Raw)
    except msgspec.DecodeError:
        return False
    except RecursionError:
        return True
    return True
