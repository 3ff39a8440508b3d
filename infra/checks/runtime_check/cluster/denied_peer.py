"""Requests that must be denied: each function attempts one and returns how it was refused."""

import socket

from runtime_check.cluster import nats
from runtime_check.processes.namespaces import Failure


def connect_plain(address: str, user: str, password: str) -> str:
    """Returns the broker's answer to a client that does not use TLS."""
    with socket.create_connection((address, 4222), timeout=5) as line:
        nats.read_line(line)
        nats.log_in(line, user, password)
        return nats.read_line(line) or "connection closed"


def try_port(address: str, port: int) -> str:
    """Returns `open`, or the error of a connection to a port."""
    try:
        socket.create_connection((address, port), timeout=5).close()
    except OSError as error:
        return str(error)
    return "open"


def expect(what: str, answer: str, *reasons: str) -> None:
    """Fails unless an answer contains one of the expected reasons."""
    if not any(reason in answer for reason in reasons):
        raise Failure(f"{what} was answered with “{answer[-300:]}”, not with “{reasons[0]}”")
