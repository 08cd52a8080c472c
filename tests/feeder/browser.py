"""A headless Chromium, spoken to by W3C WebDriver over HTTP; as much of it as the tests need."""

from __future__ import annotations

import base64
import json
import shutil
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path
from types import TracebackType
from typing import Any

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
CHROMEDRIVER = shutil.which("chromedriver")


class Browser:
    """A browser of its own, with a new profile, from `with` to the end of the block."""

    def __init__(self, width: int = 1400, height: int = 900) -> None:
        self.size = width, height

    def __enter__(self) -> Browser:
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        self._profile = tempfile.mkdtemp()
        self._driver = subprocess.Popen(
            [str(CHROMEDRIVER), f"--port={port}", "--silent"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        self._base = f"http://127.0.0.1:{port}"
        try:
            self._wait_for_driver()
            self._session()
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            self._send("DELETE", "")
        finally:
            self._end()

    def _end(self) -> None:
        self._driver.terminate()
        self._driver.wait(30)
        shutil.rmtree(self._profile, ignore_errors=True)

    def _wait_for_driver(self) -> None:
        for _ in range(300):
            try:
                with urllib.request.urlopen(f"{self._base}/status", timeout=5):
                    return
            except OSError:
                time.sleep(0.1)
        raise RuntimeError("chromedriver did not start")

    def _session(self) -> None:
        width, height = self.size
        arguments = [
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--disable-background-networking",
            "--disable-extensions",
            "--no-first-run",
            f"--user-data-dir={self._profile}",
            f"--window-size={width},{height}",
        ]
        options = {"binary": CHROMIUM, "args": arguments}
        wanted = {"capabilities": {"alwaysMatch": {"goog:chromeOptions": options}}}
        answer = self._ask("POST", f"{self._base}/session", wanted)
        self._base += f"/session/{answer['sessionId']}"

    def _send(self, method: str, path: str, body: Any = None) -> Any:
        return self._ask(method, self._base + path, body)

    @staticmethod
    def _ask(method: str, url: str, body: Any) -> Any:
        data = None if method != "POST" else json.dumps(body or {}).encode()
        request = urllib.request.Request(url, data, method=method)
        try:
            with urllib.request.urlopen(request, timeout=120) as response:
                return json.load(response)["value"]
        except urllib.error.HTTPError as error:
            raise RuntimeError(error.read().decode()) from None

    def open(self, url: str) -> None:
        self._send("POST", "/url", {"url": url})

    def resize(self, width: int, height: int) -> None:
        """Make the window's inside so large."""
        self._send("POST", "/window/rect", {"width": width, "height": height})
        inside = self.run("return [innerWidth, innerHeight]")
        outside = {"width": 2 * width - inside[0], "height": 2 * height - inside[1]}
        self._send("POST", "/window/rect", outside)

    def run(self, script: str, *arguments: Any) -> Any:
        """What a script returns."""
        return self._send("POST", "/execute/sync", {"script": script, "args": list(arguments)})

    def wait(self, condition: str, seconds: float = 60) -> None:
        """Until an expression is true."""
        until = time.monotonic() + seconds
        while not self.run(f"return Boolean({condition})"):
            if time.monotonic() > until:
                raise TimeoutError(condition)
            time.sleep(0.05)

    def click(self, selector: str) -> None:
        """As a user would, where it can be clicked at all."""
        self._send("POST", f"/element/{self._found(selector)}/click")

    def type(self, selector: str, text: str) -> None:
        found = self._found(selector)
        self._send("POST", f"/element/{found}/clear")
        self._send("POST", f"/element/{found}/value", {"text": text})

    def keys(self, selector: str, text: str) -> None:
        """Keys, to what is there already."""
        self._send("POST", f"/element/{self._found(selector)}/value", {"text": text})

    def _found(self, selector: str) -> str:
        found = self._send("POST", "/element", {"using": "css selector", "value": selector})
        return str(next(iter(found.values())))

    def text(self, selector: str) -> str:
        return str(self._send("GET", f"/element/{self._found(selector)}/text"))

    def picture(self, path: Path) -> None:
        path.write_bytes(base64.b64decode(self._send("GET", "/screenshot")))
