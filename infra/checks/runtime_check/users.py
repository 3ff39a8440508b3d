"""What a user does: sends requests to the API, opens links of mails, reads mails."""

import email
import email.policy
import http.client
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from email.message import EmailMessage
from pathlib import Path

from runtime_check.processes.namespaces import Failure


@dataclass
class Answer:
    status: int
    body: str


@dataclass
class ApiClient:
    """A client of the gateway, in the network that `run_in_network` enters: by default that of the node."""

    address: str
    port: int = 8080
    run_in_network: Callable[[Callable], Answer] = lambda function: function()
    # Whether the route publishes a path to the outside.
    published: Callable[[str], bool] = lambda path: True

    def request(self, method: str, path: str, body: object = None, headers: dict[str, str] | None = None) -> Answer:
        if not self.published(path):
            raise Failure(f"{method} {path} is not published by the route")
        return self.run_in_network(lambda: send(self.address, self.port, method, path, body, headers))

    def subscribe(self, address: str) -> None:
        # Any change of a hundredth of a percent fires, so the simulator's next price does.
        rule = {
            "symbol": "BTC-USD",
            "condition": {"change": {"percent": "0.01", "since": "previous"}},
            "notify": {"email": address},
        }
        answer = self.request("POST", "/v1/alerts", rule)
        if answer.status not in (200, 201, 202):
            raise Failure(f"subscribing was answered with {answer.status}: {answer.body[:500]}")

    def confirm(self, link: str, base: str) -> None:
        """Opens a link of a mail and submits its form."""
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


def mails_to(mailbox: Path, to: str) -> list[EmailMessage]:
    """Returns the mails of a mailbox to an address, oldest first."""
    files = sorted((mailbox / "new").glob("*"), key=lambda path: path.stat().st_mtime)
    found = [email.message_from_bytes(path.read_bytes(), policy=email.policy.default) for path in files]
    return [mail for mail in found if to in str(mail["To"])]


def text(mail: EmailMessage) -> str:
    return mail.get_body(("plain", "html")).get_content()


def link(mailbox: Path, to: str, page: str = "confirm") -> str | None:
    """Returns the link to a page in the mails to an address."""
    for mail in mails_to(mailbox, to):
        if found := re.search(rf"https?://\S+/{page}/[\w.~-]+", text(mail)):
            return found[0]
    return None


def alert(mailbox: Path, to: str) -> str | None:
    """Returns the subject of an alert mail to an address."""
    return subject(mailbox, to, "BTC-USD", "%")


def subject(mailbox: Path, to: str, *words: str) -> str | None:
    """Returns the first subject with these words among the mails to an address."""
    subjects = [str(mail["Subject"]) for mail in mails_to(mailbox, to)]
    return next((one for one in subjects if all(word in one for word in words)), None)
