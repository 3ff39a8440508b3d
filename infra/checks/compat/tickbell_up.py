"""Starts Tickbell, gives it prices, and reads its own API, whose answers those of the surfaces are compared with."""

import json
import os
import subprocess
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[3]
PASSWORD = "correct horse battery staple"
# The longest wait for a first start, and for prices to be stored, in seconds.
TIMEOUT = 90
START = datetime(2018, 4, 5, tzinfo=UTC)
# The symbols of the recording, each with its first price and the decimal places of its prices and sizes.
SYMBOLS = {"BTC-USD": (680491, 2, 8), "ETH-BTC": (5612345, 8, 4), "SPY": (264123, 3, 0)}
# The hours of the recording, and those in which nothing is traded.
HOURS, SILENT = 60, range(20, 29)
STEP = timedelta(seconds=97)


def decimal(units: int, places: int) -> str:
    """Writes a number of the smallest units, with all its decimal places."""
    digits = f"{units:0{places + 1}d}"
    return digits if places == 0 else f"{digits[:-places]}.{digits[-places:]}"


def recording(path: Path, start: datetime = START, hours: int = HOURS) -> Path:
    """Writes a recording whose prices walk up and down, the same each time."""
    lines, at, turn = ["time,symbol,price,size"], start, 0
    while at < start + timedelta(hours=hours):
        if int((at - START) / timedelta(hours=1)) not in SILENT:
            for number, (symbol, (first, places, size_places)) in enumerate(SYMBOLS.items()):
                turn = (turn * 1_103_515_245 + 12_345 + number) % 2**31
                price = first + first * (turn % 20_001 - 10_000) // 1_000_000
                size = 1 + turn % 500_000_000 if size_places else 1 + turn % 900
                lines.append(
                    f"{at:%Y-%m-%dT%H:%M:%S.%f}Z,{symbol},{decimal(price, places)},{decimal(size, size_places)}"
                )
        at += STEP
    path.write_text("\n".join(lines) + "\n")
    return path


def program() -> str:
    """Returns the program under test: the built one, unless another is named."""
    built = os.environ.get("TICKBELL_BINARY") or str(ROOT / "target/release/tickbell")
    assert Path(built).is_file(), "the program is not built: run `cargo build --release --locked -p tickbell`"
    return built


def environment() -> dict[str, str]:
    """Returns the environment without settings and other servers."""
    foreign = ("TICKBELL_", "PG", "NATS_URL", "DATABASE_URL")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
    return kept | {"PATH": f"{ROOT / '.tools/bin'}:{os.environ['PATH']}"}


@dataclass
class Tickbell:
    """A running Tickbell."""

    process: subprocess.Popen
    url: str
    folder: Path
    token: str = ""

    @classmethod
    def start(cls, folder: Path) -> "Tickbell":
        command = [program(), "up", "--source", "none", "--http", "127.0.0.1:0", "--data-dir", str(folder / "data")]
        with (folder / "log").open("w") as log:
            process = subprocess.Popen(command, cwd=folder, env=environment(), stdout=log, stderr=log)
        env, deadline = folder / "data/env", time.monotonic() + TIMEOUT
        while not env.is_file():
            assert process.poll() is None and time.monotonic() < deadline, (folder / "log").read_text()
            time.sleep(0.1)
        lines = env.read_text().splitlines()
        url = next(line.partition("=")[2] for line in lines if line.startswith("HTTP_URL="))
        return cls(process, url, folder)

    def run(self, *arguments: str) -> str:
        """Runs a command of the program on the servers of this one."""
        lines = (self.folder / "data/env").read_text().splitlines()
        servers = dict(line.split("=", 1) for line in lines)
        done = subprocess.run(
            [program(), *arguments],
            env=environment() | servers,
            capture_output=True,
            text=True,
            timeout=TIMEOUT,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def ingest(self, path: Path) -> None:
        """Publishes a recording, and waits until all of it is stored."""
        self.run("price-ingestor", "--source", f"file:{path}", "--speed", "max", "--venue", "file")
        deadline = time.monotonic() + TIMEOUT
        while any(consumer["lag"] for consumer in json.loads(self.run("status", "--json"))["consumers"]):
            assert time.monotonic() < deadline, "prices are not stored in time"
            time.sleep(0.2)

    def request(self, path: str, body: dict | None = None, token: str = "") -> tuple[int, dict[str, str], str]:
        """Returns status, headers and body of an answer."""
        headers = {"content-type": "application/json"} if body is not None else {}
        headers |= {"authorization": f"Bearer {token}"} if token else {}
        data = json.dumps(body).encode() if body is not None else None
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(urllib.request.Request(self.url + path, data, headers), timeout=30) as answer:
                return answer.status, dict(answer.headers.items()), answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, dict(error.headers.items()), error.read().decode()

    def get(self, path: str, token: str = "") -> Any:
        """Returns the JSON of an answer, in which each number that is no integer is the text that was sent."""
        status, _, text = self.request(path, token=token)
        assert status == 200, f"{path}: {status} {text}"
        return json.loads(text, parse_float=str)

    def sign_up(self, email: str) -> None:
        for path in ("/v1/users", "/v1/sessions"):
            status, _, text = self.request(path, {"email": email, "password": PASSWORD})
            assert status < 300, text
        self.token = json.loads(text)["token"]

    def create_alert(self, symbol: str, percent: str) -> None:
        status, _, text = self.request("/v1/alerts", {"symbol": symbol, "percent": percent}, self.token)
        assert status == 201, text

    def items(self, path: str) -> list[dict]:
        """Returns all pages of a list of the API."""
        found, cursor = [], ""
        while True:
            page = self.get(f"{path}&limit=1000" + (f"&cursor={cursor}" if cursor else ""), self.token)
            found += page["items"]
            cursor = page["next_cursor"]
            if not cursor:
                return found

    def candles(self, symbol: str, interval: str) -> list[dict]:
        """Returns all candles, oldest first."""
        return self.items(f"/v1/prices/{symbol}/candles?interval={interval}")

    def ticks(self, symbol: str) -> list[dict]:
        """Returns all ticks, newest first."""
        return self.items(f"/v1/prices/{symbol}/history?order=desc")


def seconds(time_text: str) -> int:
    return int(datetime.fromisoformat(time_text).timestamp())
