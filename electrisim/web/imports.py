"""POST /import-opendss: a circuit of OpenDSS in, a graph of elements out. Nothing is executed."""

from __future__ import annotations

from flask import Blueprint, Response, request
from werkzeug.exceptions import UnsupportedMediaType

from electrisim.dss.parity import Solving
from electrisim.engine import Engines
from electrisim.wire.imports import MEDIA_TYPE, import_opendss


def blueprint(engines: Engines, solving: Solving) -> Blueprint:
    """The routes of imports.

    solving  solves a circuit in our own words, for the parity report
    """
    imports = Blueprint("imports", __name__)

    @imports.post("/import-opendss")
    def opendss() -> Response:
        if request.content_encoding:
            raise UnsupportedMediaType
        body = request.get_data(cache=False)
        is_text = request.mimetype == "text/plain"
        answer = import_opendss(body, is_text, request.args.get("main"), engines, solving)
        return Response(answer, content_type=MEDIA_TYPE)

    return imports
