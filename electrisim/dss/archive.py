"""The files of an uploaded zip, for Redirect and Compile. Nothing is unpacked onto a disk.

Names are looked up inside the archive only; how much is read is bounded while reading, whatever the
archive says of its sizes.
"""

from __future__ import annotations

import io
import re
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import PurePosixPath

from electrisim.dss.script import Circuit, Script
from electrisim.dss.syntax import Command, commands, refused
from electrisim.problems import Problem, ProblemError, shorten

#: Entries of an archive, bytes of one file and of all that is read, files inside each other.
MOST_ENTRIES, MOST_BYTES, MOST_DEPTH = 1000, 8 << 20, 20

_MAKES_CIRCUIT = re.compile(rb"^\s*new\s+(object\s*=\s*)?[\"'(]?circuit\.", re.IGNORECASE | re.M)


def read_archive(body: bytes, main: str | None = None) -> Circuit:
    """The circuit of a zip; raises ProblemError.

    main  the file to begin with; None: the only one that makes a circuit
    """
    archive = Archive(body)
    script = Script(archive.open)
    return script.run(archive.open(main or archive.main(), "The zip")).circuit()


class Archive:
    """Reads scripts of a zip by their names, from inside each other."""

    def __init__(self, body: bytes) -> None:
        try:
            self._zip = zipfile.ZipFile(io.BytesIO(body))
            names = self._zip.namelist()
        except (zipfile.BadZipFile, ValueError, OverflowError, UnicodeDecodeError) as error:
            raise _fault("The body is no zip archive.") from error
        if len(names) > MOST_ENTRIES:
            raise _fault(f"The zip has more than {MOST_ENTRIES} entries.")
        self._names = {_folded(name): name for name in names if not name.endswith("/")}
        self._inside: list[PurePosixPath] = []
        self._left = MOST_BYTES

    def main(self) -> str:
        """The file that makes the circuit."""
        scripts = [name for name in self._names.values() if name.lower().endswith((".dss", ".txt"))]
        found = [name for name in scripts if _MAKES_CIRCUIT.search(self._bytes(name))]
        self._left = MOST_BYTES
        if len(found) != 1:
            told = ", ".join(map(shorten, found[:10])) if found else "none"
            raise _fault(f"Say by `main` which file makes the circuit; candidates: {told}.")
        return found[0]

    def open(self, name: str, place: str) -> Iterator[Command]:
        """The commands of a file, named as seen from the one that is being read."""
        folder = self._inside[-1] if self._inside else PurePosixPath()
        path = PurePosixPath(name.strip().replace("\\", "/"))
        if path.is_absolute() or ":" in name or ".." in path.parts:
            raise refused(f"The path “{shorten(name)}” leaves the zip.", place)
        known = self._names.get(_folded(str(folder / path))) or self._names.get(_folded(str(path)))
        if known is None:
            raise refused(f"The zip has no file “{shorten(name)}”.", place, "unknown-file")
        if len(self._inside) >= MOST_DEPTH:
            raise refused(f"Files are inside each other more than {MOST_DEPTH} deep.", place)
        return self._commands(known, self._bytes(known))

    def _commands(self, name: str, body: bytes) -> Iterator[Command]:
        self._inside.append(PurePosixPath(name.replace("\\", "/")).parent)
        try:
            yield from commands(body.decode("utf-8", "replace"), name)
        finally:
            self._inside.pop()

    def _bytes(self, name: str) -> bytes:
        """A file's bytes; of all files together no more than the bound, however often read."""
        try:
            with self._zip.open(name) as file:
                body = file.read(self._left + 1)
        except (
            zipfile.BadZipFile, RuntimeError, NotImplementedError, OSError, EOFError, zlib.error,
            ValueError,
        ) as error:  # fmt: skip
            raise _fault(f"The file “{shorten(name)}” of the zip cannot be read.") from error
        self._left -= len(body)
        if self._left < 0:
            raise _fault(f"The files of the zip are more than {MOST_BYTES} bytes.")
        return body


def _folded(name: str) -> str:
    return str(PurePosixPath(name.replace("\\", "/"))).lower()


def _fault(message: str) -> ProblemError:
    return ProblemError([Problem(kind="unread-archive", message=message)])
