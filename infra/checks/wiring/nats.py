"""As much of the NATS protocol as somebody needs who is no service of ours: log in, publish, ask."""

import json
import socket
import ssl

from wiring.corner import Failure


class Client:
    """A connection by TLS, as one user."""

    def __init__(self, address: str, authority: str, user: str, password: str):
        context = ssl.create_default_context(cadata=authority)
        plain = socket.create_connection((address, 4222), timeout=5)
        # The server speaks first, and then TLS.
        read_line(plain)
        self.line = context.wrap_socket(plain, server_hostname="nats")
        self.inbox = f"_INBOX.{user}.0"
        log_in(self.line, user, password)
        if (answer := self.answer()) != "PONG":
            raise Failure(f"NATS did not let {user} in: {answer}")

    def publish(self, subject: str, body: bytes) -> str:
        """What the server says of it; PONG when nothing."""
        self.line.sendall(f"PUB {subject} {len(body)}\r\n".encode() + body + b"\r\nPING\r\n")
        return self.answer()

    def ask(self, subject: str, question: dict) -> dict:
        """The answer to a request as JSON."""
        body = json.dumps(question).encode()
        self.line.sendall(f"SUB {self.inbox} 1\r\nUNSUB 1 1\r\nPUB {subject} {self.inbox} {len(body)}\r\n".encode())
        self.line.sendall(body + b"\r\n")
        head = self.answer()
        if not head.startswith("MSG "):
            raise Failure(f"{subject} was answered with {head}")
        size = int(head.split()[-1])
        said = b""
        while len(said) < size + 2:
            said += self.line.recv(size + 2 - len(said))
        return json.loads(said)

    def answer(self) -> str:
        """The next line that is more than news about the server."""
        while (said := read_line(self.line)).startswith("INFO "):
            pass
        return said


def log_in(line: socket.socket, user: str, password: str) -> None:
    connect = {"user": user, "pass": password, "verbose": False, "pedantic": False, "protocol": 1}
    line.sendall(f"CONNECT {json.dumps(connect)}\r\nPING\r\n".encode())


def read_line(line: socket.socket) -> str:
    """A line of the protocol; empty when the other side has hung up."""
    said = b""
    try:
        while not said.endswith(b"\n") and (byte := line.recv(1)):
            said += byte
    except ConnectionError:
        pass
    return said.decode(errors="replace").strip()
