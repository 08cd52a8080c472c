"""What every request and every answer passes: limits, origins, compression, headers, errors, log.

Every answer carries `X-Request-ID`: the caller's own where it sent a plain one, else a new one. The
log names it, and so does the body of a 500. Neither bodies nor addresses are logged.
"""

from __future__ import annotations

import logging
import re
import time
import uuid

from flask import Flask, Response, current_app, g, request
from flask_compress import Compress
from flask_cors import CORS
from werkzeug.exceptions import HTTPException
from werkzeug.middleware.proxy_fix import ProxyFix

from electrisim.problems import Problem, ProblemError, shorten
from electrisim.web.configuration import Configuration
from electrisim.wire.documented import MEDIA_TYPE, PROBLEM_TYPE, encode_problem

HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
}

#: Asked every few seconds by whoever watches the server, and so logged at DEBUG.
HEALTH = ("/healthz", "/readyz")

_PLAIN_ID = re.compile(r"[A-Za-z0-9._-]{1,80}")


def configure(app: Flask, configuration: Configuration) -> None:
    """Put the application behind its edge."""
    if configuration.trusted_proxies:
        hops = configuration.trusted_proxies
        app.wsgi_app = ProxyFix(app.wsgi_app, x_for=hops, x_proto=hops)  # type: ignore[method-assign]
    app.config["MAX_CONTENT_LENGTH"] = configuration.max_content_length
    app.logger.setLevel(configuration.log_level)
    app.before_request(_begin)
    app.after_request(_finish)
    _allow_origins(app, configuration.cors_origins)
    app.config.update(
        COMPRESS_MIN_SIZE=1025,
        COMPRESS_STREAMS=False,
        COMPRESS_MIMETYPES=[MEDIA_TYPE, PROBLEM_TYPE, "text/html", "text/plain"],
    )
    _CompressForThoseWhoAccept(app)
    app.register_error_handler(ProblemError, problem_response)
    app.register_error_handler(HTTPException, _http_error)
    app.register_error_handler(Exception, _defect)


def problem_response(error: ProblemError) -> Response:
    """A ProblemError as it leaves the server."""
    return Response(encode_problem(error), status=error.status, content_type=PROBLEM_TYPE)


class _CompressForThoseWhoAccept(Compress):
    """flask-compress, which would choose `gzip` for a caller that sends `gzip;q=0`."""

    def after_request(self, response: Response | None) -> Response:
        accepted = {coding for coding, quality in request.accept_encodings if quality > 0}
        if response is not None and accepted.isdisjoint({*self.enabled_algorithms, "*"}):
            response.vary.add("Accept-Encoding")
            return response
        return super().after_request(response)


def _allow_origins(app: Flask, origins: tuple[str, ...]) -> None:
    CORS(
        app,
        # Patterns, because flask-cors takes a text with brackets (IPv6) for one.
        origins=".*" if "*" in origins else [re.compile(re.escape(o) + r"\Z") for o in origins],
        # With credentials, “all origins” would mean every page as the signed-in user.
        supports_credentials="*" not in origins,
        send_wildcard=True,
        always_send=False,
        vary_header=False,
        methods=["GET", "POST", "DELETE", "OPTIONS"],
        allow_headers=["Content-Type", "Authorization", "Idempotency-Key"],
        expose_headers=["Retry-After", "X-Request-ID", "Log-Seq"],
        max_age=600,
    )


def _begin() -> None:
    sent = request.headers.get("X-Request-ID", "")
    g.request_id = sent if _PLAIN_ID.fullmatch(sent) else uuid.uuid4().hex
    g.begun_s = time.perf_counter()


def _finish(response: Response) -> Response:
    for name, value in HEADERS.items():
        response.headers.setdefault(name, value)
    response.headers["X-Request-ID"] = g.request_id
    if response.status_code in (429, 503):
        response.headers.setdefault("Retry-After", "5")
    response.vary.add("Origin")
    current_app.logger.log(
        logging.DEBUG if request.path in HEALTH else logging.INFO,
        "%s %s %d in %.0f ms, %s bytes to %s [%s]",
        request.method,
        shorten(request.path),
        response.status_code,
        1e3 * (time.perf_counter() - g.begun_s),
        request.content_length or 0,
        response.content_length,
        g.request_id,
    )
    return response


_SENTENCES = {
    404: ("not-found", "There is nothing at this address; the studies are at POST /."),
    405: ("method-not-allowed", "This address does not take this method."),
    413: ("too-large", "The body is larger than this server takes."),
    415: ("unsupported-media-type", "The body is not JSON."),
}


def _http_error(error: HTTPException) -> Response:
    """404, 405, 413 and their like, in the shape of all errors and with their own headers."""
    status = error.code or 500
    if status < 400:
        return Response(error.get_body(), status, error.get_headers())
    kind, message = _SENTENCES.get(status, (f"http-{status}", error.description or error.name))
    if status == 413:
        message = f"{message.rstrip('.')}, which is {request.max_content_length} bytes."
    response = problem_response(
        ProblemError([Problem(kind=kind, message=message)], status=status, kind=kind)
    )
    response.headers.extend(
        (name, value) for name, value in error.get_headers() if name in ("Allow", "Retry-After")
    )
    return response


def _defect(error: Exception) -> Response:
    """A defect of ours: the traceback goes to the log, the caller gets an id to quote."""
    current_app.logger.error("Defect [%s]", g.request_id, exc_info=error)
    message = f"The server failed; this is its fault. Please report it with the id {g.request_id}."
    return problem_response(
        ProblemError(
            [Problem(kind="defect", message=message)],
            status=500,
            kind="defect",
            extra={"id": g.request_id},
        )
    )
