"""Runs a Python text on its own: in a process that has imported pandapower and nothing of ours."""

from __future__ import annotations

import contextlib
import io
import multiprocessing
import warnings
from concurrent.futures import ProcessPoolExecutor

TIMEOUT_S = 120


def printed(text: str) -> str:
    """What the text prints; raises what it raises, warnings included.

    Every text gets a process of its own, forked from one that imported pandapower only: the
    import takes longer than what a text does.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["pandapower"])
    with ProcessPoolExecutor(1, context, max_tasks_per_child=1) as pool:
        return pool.submit(_run, text).result(TIMEOUT_S)


def _run(text: str) -> str:
    out = io.StringIO()
    warnings.simplefilter("error")
    warnings.filterwarnings("ignore", "Changing the sparsity")
    with contextlib.redirect_stdout(out):
        exec(compile(text, "script", "exec"), {"__name__": "__main__"})
    return out.getvalue()
