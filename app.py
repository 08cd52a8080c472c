"""The Electrisim backend: `gunicorn app:app`, `flask run` or `python app.py`."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from flask import Flask

from electrisim.engine import Engines
from electrisim.feeder import routes as feeder
from electrisim.feeder.configuration import from_environment as feeder_from_environment
from electrisim.web import api, documentation, edge, health, imports
from electrisim.web.configuration import from_environment
from opendss_bindings import Bindings
from opendss_electrisim import OpenDSS
from opendss_feeder import OpenDSSFeeder
from opendss_reference import Referee
from pandapower_electrisim import Pandapower


def create_app(environ: Mapping[str, str] = os.environ) -> Flask:
    """The application with its engines: the one place that names them."""
    pandapower = Pandapower()
    bindings = Bindings()
    engines = Engines(pandapower, OpenDSS(bindings))
    app = Flask(__name__, static_folder=None)
    app.extensions["engines"] = engines
    edge.configure(app, from_environment(environ))
    app.register_blueprint(api.blueprint(engines, pandapower.standard_types))
    app.register_blueprint(imports.blueprint(engines, Referee(bindings)))
    app.register_blueprint(health.blueprint(engines))
    root = Path(app.root_path)
    kept = feeder_from_environment(environ, root)
    app.register_blueprint(feeder.blueprint(OpenDSSFeeder(bindings), kept))
    app.register_blueprint(documentation.blueprint(engines, root))
    return app


app = create_app()

if __name__ == "__main__":
    app.run(host=os.environ.get("HOST") or "127.0.0.1", port=int(os.environ.get("PORT") or "5000"))
