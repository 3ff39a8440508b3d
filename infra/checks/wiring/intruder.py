"""What must not work: each of these asks for something forbidden and says how it was refused."""

import socket

from wiring import nats
from wiring.corner import Failure


def connect_plain(address: str, user: str, password: str) -> str:
    """How the broker answers somebody who does not begin with TLS."""
    with socket.create_connection((address, 4222), timeout=5) as line:
        nats.read_line(line)
        nats.log_in(line, user, password)
        return nats.read_line(line) or "hung up"


def knock(address: str, port: int) -> str:
    """How a port answers."""
    try:
        socket.create_connection((address, port), timeout=5).close()
    except OSError as error:
        return str(error)
    return "open"


def expect(what: str, said: str, *words: str) -> None:
    if not any(word in said for word in words):
        raise Failure(f"{what} was answered with “{said[-300:]}”, not with “{words[0]}”")
