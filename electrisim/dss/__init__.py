"""OpenDSS scripts read without being executed: a circuit in, a graph of elements out.

    syntax    lines to commands: comments, continuations, quotes
    values    numbers (reverse Polish too), arrays, matrices, buses, units
    classes   which classes and properties are taken, which have no effect, which are refused
    script    commands to objects, against an allow-list of commands and options
    archive   the files of an uploaded zip, for Redirect and Compile
    wiring, lines, transformers, circuit
              objects to elements in the documented spelling
    commands  objects to commands in our own words, for an engine that checks the translation
    parity    both solved, and their voltages compared

Whatever touches a file, a shell or another circuit is refused by name, with its line.
"""

from __future__ import annotations

from electrisim.dss.archive import read_archive
from electrisim.dss.circuit import Imported, graph
from electrisim.dss.script import Circuit, Script

__all__ = ["Circuit", "Imported", "graph", "read_archive", "read_script"]


def read_script(text: str) -> Circuit:
    """The circuit of a script; raises ProblemError with every fault that was found."""
    return Script().read(text).circuit()
