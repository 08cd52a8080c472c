"""The two spellings of one API, and which of them a body is written in."""

from __future__ import annotations

from collections.abc import Iterator

from electrisim.engine import Engines
from electrisim.problems import ProblemError
from electrisim.studies import STUDIES
from electrisim.wire import documented, frontend


def answer_request(
    body: bytes, engines: Engines, library: documented.Library
) -> tuple[int, str, bytes | Iterator[bytes]]:
    """Answer a request body: (status, media type, body), in the spelling in which it was asked.

    The body comes in pieces where it is too much to hold at once.
    """
    try:
        strict = documented.decode_strict(body)
        browsers = None if strict else frontend.recognise(body)
        if browsers is not None:
            return 200, frontend.MEDIA_TYPE, frontend.answer(browsers, engines)
        settings, network = strict or documented.decode_loose(body, library)
        answer = STUDIES[settings.name].run(network, settings, engines)
        return 200, documented.MEDIA_TYPE, documented.encode(network, answer)
    except ProblemError as error:
        return error.status, documented.PROBLEM_TYPE, documented.encode_problem(error)
