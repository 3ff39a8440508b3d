"""The part of the NATS protocol that the checks need: log in, publish, request."""

import json
import socket
import ssl

from runtime_check.processes.namespaces import Failure


class Client:
    """A TLS connection of one user."""

    def __init__(self, address: str, authority: str, user: str, password: str):
        context = ssl.create_default_context(cadata=authority)
        plain = socket.create_connection((address, 4222), timeout=5)
        # The server sends its INFO line before the TLS handshake.
        read_line(plain)
        self.line = context.wrap_socket(plain, server_hostname="nats")
        self.inbox = f"_INBOX.{user}.0"
        log_in(self.line, user, password)
        if (answer := self.answer()) != "PONG":
            raise Failure(f"NATS rejected the user {user}: {answer}")

    def publish(self, subject: str, body: bytes) -> str:
        """Publishes a message and returns the server's error, or PONG."""
        self.line.sendall(f"PUB {subject} {len(body)}\r\n".encode() + body + b"\r\nPING\r\n")
        return self.answer()

    def request(self, subject: str, body: dict) -> dict:
        """Sends a request and returns the reply, parsed from JSON."""
        payload = json.dumps(body).encode()
        self.line.sendall(f"SUB {self.inbox} 1\r\nUNSUB 1 1\r\nPUB {subject} {self.inbox} {len(payload)}\r\n".encode())
        self.line.sendall(payload + b"\r\n")
        head = self.answer()
        if not head.startswith("MSG "):
            raise Failure(f"{subject} was answered with {head}")
        size = int(head.split()[-1])
        received = b""
        while len(received) < size + 2:
            received += self.line.recv(size + 2 - len(received))
        return json.loads(received)

    def answer(self) -> str:
        """Returns the next line that is not INFO."""
        while (received := read_line(self.line)).startswith("INFO "):
            pass
        return received


def log_in(line: socket.socket, user: str, password: str) -> None:
    connect = {"user": user, "pass": password, "verbose": False, "pedantic": False, "protocol": 1}
    line.sendall(f"CONNECT {json.dumps(connect)}\r\nPING\r\n".encode())


def read_line(line: socket.socket) -> str:
    """Reads a line of the protocol; returns an empty text when the server has closed the connection."""
    received = b""
    try:
        while not received.endswith(b"\n") and (byte := line.recv(1)):
            received += byte
    except ConnectionError:
        pass
    return received.decode(errors="replace").strip()
