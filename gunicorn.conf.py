"""Settings of gunicorn, which reads this file by itself where it is started.

docs/deployment.md explains the environment variables.
"""

import gc
import os
from pathlib import Path


def _setting(name: str, default: str) -> str:
    """Value of an environment variable; an empty one counts as absent."""
    return os.environ.get(name) or default


# A platform that sets PORT connects from outside; without it nobody but this machine should.
_host = _setting("HOST", "0.0.0.0" if os.environ.get("PORT") else "127.0.0.1")
_port = _setting("PORT", "5000")
bind = f"[{_host}]:{_port}" if ":" in _host else f"{_host}:{_port}"

worker_class = "gthread"
workers = int(_setting("WEB_CONCURRENCY", "2"))
threads = int(_setting("WEB_THREADS", "4"))

# Loaded once, before the fork, so that the workers share the 200 MB that the engines occupy.
preload_app = True

# Seconds without a heartbeat until a worker is killed. Its threads may work longer than that: only
# a call that holds the interpreter lock throughout stops the heart.
timeout = int(_setting("WEB_TIMEOUT", "120"))
# Heroku kills a dyno 30 s after asking it to stop.
graceful_timeout = 25
# Longer than the 90 s for which Heroku's router keeps a connection, so that the router closes first
# and never sends a request into a closing socket.
keepalive = 95

# Workers are replaced before a leak in a native engine matters, and not all at once.
max_requests = 500
max_requests_jitter = 50

# The heartbeat is a file: on a busy disk, writing it can block a worker.
if Path("/dev/shm").is_dir():
    worker_tmp_dir = "/dev/shm"

# Nothing here speaks to the control socket, and its default place is in a home that may not exist.
control_socket_disable = True

# The collector writes into every object that it visits, which copies the shared pages: after sixty
# power flows, four workers measured 450 MB, and 297 MB like this. So it rests while the application
# loads, leaves alone what was loaded, and works in the workers.
gc.disable()


def pre_fork(server, worker):
    gc.freeze()


def post_fork(server, worker):
    gc.enable()
