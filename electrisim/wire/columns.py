"""Results in columns: one list per quantity, for what would be too many records."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec
import numpy as np
import orjson

from electrisim.elements import KINDS, Element
from electrisim.network import Array, Network
from electrisim.spool import Spool

Columns = Mapping[type[Element], Mapping[str, Array]]


def encode_array(values: Array) -> msgspec.Raw:
    """Numbers in any number of dimensions as JSON; null where there is none."""
    compact = np.ascontiguousarray(values)
    return msgspec.Raw(orjson.dumps(compact, option=orjson.OPT_SERIALIZE_NUMPY))


def by_key(network: Network, columns: Columns) -> dict[str, dict[str, Any]]:
    """`{"<key>": {"ids": […], "<quantity>": […]}}`; the last axis of a column is the elements'.

    Kinds that share a key stand there one after the other.
    """
    found: dict[str, dict[str, Any]] = {}
    for key, kinds in _kinds_by_key(columns).items():
        ids = [id_ for kind in kinds for id_ in network.rows(kind).ids]
        names = list(dict.fromkeys(name for kind in kinds for name in columns[kind]))
        found[key] = {"ids": ids}
        for name in names:
            parts = [_column(network, columns, kind, name) for kind in kinds]
            whole = parts[0] if len(parts) == 1 else np.concatenate(parts, axis=-1)
            found[key][name] = encode_array(whole)
    return found


def _column(network: Network, columns: Columns, kind: type[Element], name: str) -> Array:
    if name in columns[kind]:
        return columns[kind][name]
    shape = next(iter(columns[kind].values())).shape
    return np.full(shape, np.nan)


def _kinds_by_key(columns: Columns) -> dict[str, list[type[Element]]]:
    found: dict[str, list[type[Element]]] = {}
    for kind in KINDS:
        if kind in columns and columns[kind]:
            found.setdefault(kind.key, []).append(kind)
    return found


def with_streamed(body: bytes, streamed: Mapping[str, Spool]) -> Iterator[bytes]:
    """An object's JSON, with members added at its end that are written piece by piece."""
    yield body[:-1]
    for name, spool in streamed.items():
        yield b"," + msgspec.json.encode(name) + b":"
        yield from _pieces(spool)
    yield b"}"


def _pieces(spool: Spool) -> Iterator[bytes]:
    yield b"["
    for number, (label, columns) in enumerate(spool.cases()):
        record = {"id": label, "results": by_key(spool.network, columns)}
        yield (b"," if number else b"") + msgspec.json.encode(record)
    yield b"]"
