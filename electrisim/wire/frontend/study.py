"""What a study in the browser's spelling is made of."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from electrisim.engine import Engines
from electrisim.network import Network
from electrisim.results import Answer
from electrisim.settings import Settings
from electrisim.wire.frontend.reading import Echo
from electrisim.wire.frontend.report import Report

Body = dict[str, Any]
Parameters = Mapping[str, Any]


class Request(NamedTuple):
    """A body that was read: what is asked of which network, and how its elements are called.

    echoes  element id → what identified it in the body
    """

    settings: Any
    network: Network
    parameters: Parameters
    echoes: Mapping[str, Echo]


class Spoken(NamedTuple):
    """How a study is asked for and answered in the browser's spelling.

    read   its settings from the parameter entry; None where problems were reported
    run    the study
    write  the members of its answer, and the elements that could not be listed in them
    """

    read: Callable[[Parameters, Report], Settings | None]
    run: Callable[[Network, Any, Engines], Answer]
    write: Callable[[Request, Answer], tuple[Body, list[str]]]


class Study(NamedTuple):
    """A study that the browser can ask for.

    word    what its parameter entry's `typ` contains
    title   how a sentence calls it
    spoken  None where this server does not have it
    """

    word: str
    title: str
    spoken: Spoken | None = None
