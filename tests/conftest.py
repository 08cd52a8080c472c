"""What tests share: the application and a client of it."""

from __future__ import annotations

import pytest
from flask import Flask
from flask.testing import FlaskClient

from app import create_app


@pytest.fixture(scope="session")
def app() -> Flask:
    return create_app({"LOG_LEVEL": "WARNING"})


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    return app.test_client()
