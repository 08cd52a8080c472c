"""What tests share: the application and a client of it."""

from __future__ import annotations

import pytest
from flask import Flask
from flask.testing import FlaskClient

from app import create_app


@pytest.fixture(scope="session")
def app(tmp_path_factory: pytest.TempPathFactory) -> Flask:
    state = tmp_path_factory.mktemp("state")
    return create_app({"LOG_LEVEL": "WARNING", "STATE_DIRECTORY": str(state)})


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    return app.test_client()
