"""What people do with a running Tickbell: subscribe, press the button in the mail, get an alert."""

import email
import email.policy
import http.client
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from email.message import EmailMessage
from pathlib import Path

from wiring.corner import Failure


@dataclass
class Answer:
    status: int
    body: str


@dataclass
class Visitor:
    """Somebody who reaches the gateway, from the network that `ask` runs in: from the node unless said otherwise."""

    address: str
    port: int = 8080
    ask: Callable[[Callable], Answer] = lambda question: question()
    # Paths that lead in from outside.
    published: Callable[[str], bool] = lambda path: True

    def request(self, method: str, path: str, body: object = None, headers: dict[str, str] | None = None) -> Answer:
        if not self.published(path):
            raise Failure(f"{method} {path} is not published by the route")
        return self.ask(lambda: send(self.address, self.port, method, path, body, headers))

    def subscribe(self, address: str) -> None:
        # Every change of a hundredth of a percent: the simulator's next step rings.
        rule = {
            "symbol": "BTC-USD",
            "condition": {"change": {"percent": "0.01", "since": "previous"}},
            "notify": {"email": address},
        }
        answer = self.request("POST", "/v1/alerts", rule)
        if answer.status not in (200, 201, 202):
            raise Failure(f"subscribing was answered with {answer.status}: {answer.body[:500]}")

    def press(self, link: str, base: str) -> None:
        """Opens a link of a mail and presses its button."""
        if not link.startswith(f"{base}/"):
            raise Failure(f"the link {link} is not below links.base_url, {base}")
        for method in ("GET", "POST"):
            answer = self.request(method, link.removeprefix(base))
            if answer.status != 200:
                raise Failure(f"{method} of the link was answered with {answer.status}: {answer.body[:500]}")


def send(
    address: str, port: int, method: str, path: str, body: object = None, headers: dict[str, str] | None = None
) -> Answer:
    connection = http.client.HTTPConnection(address, port, timeout=10)
    try:
        typed = {"content-type": "application/json"} if body is not None else {}
        connection.request(method, path, json.dumps(body) if body is not None else None, typed | (headers or {}))
        response = connection.getresponse()
        return Answer(response.status, response.read().decode(errors="replace"))
    except OSError as error:
        raise Failure(f"{method} http://{address}:{port}{path}: {error}") from error
    finally:
        connection.close()


def letters(mailbox: Path, to: str) -> list[EmailMessage]:
    """What a mail folder has for somebody, oldest first."""
    files = sorted((mailbox / "new").glob("*"), key=lambda path: path.stat().st_mtime)
    found = [email.message_from_bytes(path.read_bytes(), policy=email.policy.default) for path in files]
    return [letter for letter in found if to in str(letter["To"])]


def text(letter: EmailMessage) -> str:
    return letter.get_body(("plain", "html")).get_content()


def link(mailbox: Path, to: str, page: str = "confirm") -> str | None:
    """The link to a page that somebody was sent."""
    for letter in letters(mailbox, to):
        if found := re.search(rf"https?://\S+/{page}/[\w.~-]+", text(letter)):
            return found[0]
    return None


def alert(mailbox: Path, to: str) -> str | None:
    """The subject of an alert that somebody was sent."""
    return subject(mailbox, to, "BTC-USD", "%")


def subject(mailbox: Path, to: str, *words: str) -> str | None:
    """The subject with these words of a mail that somebody was sent."""
    subjects = [str(letter["Subject"]) for letter in letters(mailbox, to)]
    return next((one for one in subjects if all(word in one for word in words)), None)
