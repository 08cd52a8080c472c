"""The Electrisim backend: `gunicorn app:app`, `flask run` or `python app.py`."""

from __future__ import annotations

import os

from flask import Flask

from electrisim.engine import Engines
from electrisim.web.api import blueprint
from pandapower_electrisim import Pandapower


def create_app() -> Flask:
    """The application with both engines: the one place that names them."""
    pandapower = Pandapower()
    engines = Engines(pandapower)
    app = Flask(__name__)
    app.register_blueprint(blueprint(engines, pandapower.standard_types))
    return app


app = create_app()

if __name__ == "__main__":
    app.run(host=os.environ.get("HOST", "127.0.0.1"), port=int(os.environ.get("PORT", "5000")))
