"""Substitutes the OpenTelemetry collector: receives traces over HTTP and stores each request body as a file."""

from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from pathlib import Path

NUMBERS = count()


class Collector(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        Path(f"/traces/{next(NUMBERS)}").write_bytes(body)
        self.send_response(200 if self.path == "/v1/traces" else 404)
        self.send_header("content-type", "application/x-protobuf")
        self.send_header("content-length", "0")
        self.end_headers()


ThreadingHTTPServer(("0.0.0.0", 4318), Collector).serve_forever()
