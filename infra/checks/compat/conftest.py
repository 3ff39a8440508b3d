"""A `tickbell up` with a recording of two pairs and a share, which all tests of clients read."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from tickbell_up import Tickbell, recording


@pytest.fixture(scope="session")
def tickbell(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tickbell]:
    folder = tmp_path_factory.mktemp("up")
    # A session owns alerts before the prices come, so that they fire.
    running = Tickbell.start(folder)
    try:
        running.sign_up("ada@example.com")
        running.create_alert("BTC-USD", "1.1")
        running.ingest(recording(folder / "recording.csv"))
        yield running
    finally:
        running.process.send_signal(signal.SIGTERM)
        running.process.wait(timeout=30)


@pytest.fixture(autouse=True, scope="session")
def no_proxy(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Clients read proxies and their folders from the environment."""
    for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
        del os.environ[name]
    os.environ["HOME"] = str(Path(tmp_path_factory.mktemp("home")))
