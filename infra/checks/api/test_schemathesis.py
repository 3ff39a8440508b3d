"""The API keeps to its OpenAPI document: Schemathesis sends what the document allows and what it forbids."""

import json
import os
import signal
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import project
import pytest

FOLDER = Path(__file__).parent
# The longest wait for a first start, in seconds.
START_TIMEOUT = 90
PASSWORD = "correct horse battery staple"
# These become WebSockets, which Schemathesis does not speak; the end-to-end tests check them.
WEBSOCKETS = ("open_websocket", "coinbase_websocket", "coinbase_advanced_websocket")
# These end the session, the user or the key that the rest of the run needs.
ENDS = ("erase_me", "sign_out", "sign_out_everywhere", "revoke_api_key", "change_password")


def environment() -> dict[str, str]:
    """Returns the environment without settings, other servers and proxies."""
    foreign = ("TICKBELL_", "PG", "NATS_URL", "DATABASE_URL")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
    kept = {name: value for name, value in kept.items() if not name.lower().endswith("_proxy")}
    return kept | {"TICKBELL_GATEWAY__ORDERS_FROM_ALERTS": "on"}


class Api:
    """The API of a `tickbell up` of this test."""

    def __init__(self, url: str):
        self.url = url

    def post(self, path: str, body: dict, token: str | None = None) -> dict:
        headers = {"content-type": "application/json"} | ({"authorization": f"Bearer {token}"} if token else {})
        request = urllib.request.Request(self.url + path, json.dumps(body).encode(), headers)
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=30) as answer:
            return json.load(answer)

    def session(self, email: str) -> str:
        """Returns the token of a new user."""
        self.post("/v1/users", {"email": email, "password": PASSWORD})
        return self.post("/v1/sessions", {"email": email, "password": PASSWORD})["token"]


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    data = tmp_path_factory.mktemp("up")
    path = f"{project.ROOT / '.tools/bin'}:{os.environ['PATH']}"
    command = [project.tickbell(), "up", "--http", "127.0.0.1:0", "--data-dir", str(data / "data")]
    with (data / "log").open("w") as log:
        up = subprocess.Popen(command, cwd=data, env=environment() | {"PATH": path}, stdout=log, stderr=log)
    try:
        yield Api(address(up, data))
    finally:
        up.send_signal(signal.SIGTERM)
        up.wait(timeout=30)


def address(up: subprocess.Popen, data: Path) -> str:
    """Waits until everything runs, and returns the base URL of the API."""
    deadline = time.monotonic() + START_TIMEOUT
    env = data / "data/env"
    while not env.is_file():
        assert up.poll() is None and time.monotonic() < deadline, (data / "log").read_text()
        time.sleep(0.1)
    return next(line.partition("=")[2] for line in env.read_text().splitlines() if line.startswith("HTTP_URL="))


def check(api: Api, token: str | None, tmp_path: Path, *options: str) -> None:
    credentials = [f"--header=Authorization: Bearer {token}"] if token else []
    config = FOLDER / ("schemathesis_signed_in.toml" if token else "schemathesis.toml")
    command = [project.tool("schemathesis"), f"--config-file={config}", "run"]
    websockets = [f"--exclude-operation-id={operation}" for operation in WEBSOCKETS]
    command += [f"{api.url}/openapi.json", *credentials, *websockets, *options]
    hooks = {"SCHEMATHESIS_HOOKS": "schemathesis_hooks", "PYTHONPATH": str(FOLDER)}
    done = subprocess.run(
        command, cwd=tmp_path, env=environment() | hooks, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_an_anonymous_caller_finds_nothing(api, tmp_path):
    check(api, None, tmp_path)


def test_an_api_key_finds_nothing(api, tmp_path):
    session = api.session("key@example.com")
    scopes = {"name": "schemathesis", "scopes": ["read", "trade", "alerts"]}
    key = api.post("/v1/api-keys", scopes, session)["key"]
    check(api, key, tmp_path)


def test_a_session_finds_nothing(api, tmp_path):
    excluded = [f"--exclude-operation-id={operation}" for operation in ENDS]
    check(api, api.session("session@example.com"), tmp_path, *excluded)
