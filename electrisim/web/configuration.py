"""What the environment decides about the server; docs/deployment.md explains each variable."""

from __future__ import annotations

import re
from collections.abc import Mapping

import msgspec

#: The pages of the Electrisim frontend, in development and in production.
FRONTEND = (
    "http://127.0.0.1:5500",
    "http://127.0.0.1:5501",
    "http://localhost:5500",
    "http://localhost:5501",
    "http://localhost:5502",
    "https://app.electrisim.com",
    "https://electrisim.com",
    "https://www.electrisim.com",
)

_ORIGIN = re.compile(r"\*|[a-z][a-z0-9+.-]*://[^\s/*?#]+", re.IGNORECASE)


class Configuration(msgspec.Struct, frozen=True, kw_only=True):
    """How the server meets the outside.

    cors_origins        origins of the web pages that may read answers; ("*",) for all
    max_content_length  largest request body [byte]
    trusted_proxies     how many proxies in front may tell the caller's address and scheme
    log_level           of the application's own log
    """

    cors_origins: tuple[str, ...] = FRONTEND
    max_content_length: int = 64 * 2**20
    trusted_proxies: int = 0
    log_level: str = "INFO"


def from_environment(environ: Mapping[str, str]) -> Configuration:
    """The configuration that the environment asks for; an empty variable counts as absent.

    Raises ValueError with a sentence that names the variable.
    """
    default = Configuration()
    origins = environ.get("CORS_ORIGINS", "").replace(",", " ").split()
    for origin in origins:
        if not _ORIGIN.fullmatch(origin):
            raise ValueError(
                f"CORS_ORIGINS: “{origin}” is no origin; one reads https://app.example.com, "
                "without a path or a slash at the end."
            )
    level = environ.get("LOG_LEVEL", "").upper() or default.log_level
    if level not in ("DEBUG", "INFO", "WARNING", "ERROR"):
        raise ValueError(f"LOG_LEVEL: “{level}” is none of DEBUG, INFO, WARNING, ERROR.")
    return Configuration(
        cors_origins=tuple(origins) or default.cors_origins,
        max_content_length=_whole(
            "MAX_CONTENT_LENGTH", environ.get("MAX_CONTENT_LENGTH"), default.max_content_length
        ),
        trusted_proxies=_whole(
            "TRUSTED_PROXIES", environ.get("TRUSTED_PROXIES"), default.trusted_proxies
        ),
        log_level=level,
    )


def _whole(name: str, value: str | None, default: int) -> int:
    if not value:
        return default
    if not (value.isascii() and value.isdigit()):
        raise ValueError(f"{name}: “{value}” is no whole number.")
    return int(value)
