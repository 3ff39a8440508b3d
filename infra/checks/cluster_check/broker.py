"""Three real NATS servers with the configuration of the official chart, on addresses of loopback."""

import json
import shutil
import time
import urllib.request
from pathlib import Path

import nats_chart
import project

from cluster_check.control_plane import ControlPlane, wait

SERVERS = [f"nats-{number}" for number in range(3)]
ADDRESSES = {name: f"127.0.1.{number}" for number, name in enumerate(SERVERS, start=1)}
# The names of the cluster's DNS, as lines of a hosts file.
HOSTS = "127.0.0.1 localhost\n127.0.1.1 nats nats.tickbell.svc\n" + "".join(
    f"{address} {name}.nats-headless\n" for name, address in ADDRESSES.items()
)


class Broker:
    """The servers, their certificate and their volumes."""

    def __init__(self, cluster: ControlPlane, passwords: dict[str, str]):
        self.cluster, self.passwords = cluster, passwords
        self.folder = cluster.folder / "nats"
        self.folder.mkdir()
        self.tls = self.certificate()

    def certificate(self) -> Path:
        folder = self.folder / "tls"
        folder.mkdir()
        request = project.ROOT / "infra/nats/certificate.cnf"
        key, wanted, certificate = folder / "tls.key", folder / "tls.csr", folder / "tls.crt"
        project.output("openssl", "req", "-new", "-config", request, "-keyout", key, "-out", wanted)
        authority = ["-CA", self.cluster.tls / "ca.crt", "-CAkey", self.cluster.tls / "ca.key"]
        project.output(
            "openssl", "x509", "-req", "-in", wanted, *authority, "-copy_extensions", "copy", "-out", certificate
        )
        shutil.copy(self.cluster.tls / "ca.crt", folder / "ca.crt")
        return folder

    def secret(self) -> dict[str, str]:
        return {name: (self.tls / name).read_text() for name in ("tls.crt", "tls.key", "ca.crt")}

    def start(self) -> None:
        for name in SERVERS:
            folder = self.folder / name
            folder.mkdir(exist_ok=True)
            shutil.copy(project.ROOT / "infra/nats/users.conf", folder)
            text = nats_chart.nats_conf().replace('"port": 6222', f'"host": "{ADDRESSES[name]}", "port": 6222')
            text = text.replace("{\n", f'{{\n  "host": "{ADDRESSES[name]}",\n', 1)
            for inside, here in (
                (f"{nats_chart.CERTIFICATES}/nats", self.tls),
                (f"{nats_chart.CERTIFICATES}/cluster", self.tls),
                (nats_chart.AUTHORITY, self.tls),
                ("/var/run/nats", folder),
                ("/data", folder / "data"),
            ):
                text = text.replace(inside, str(here))
            (folder / "nats.conf").write_text(text)
            server = project.tool("nats-server")
            self.cluster.spawn(name, ["-c", folder / "nats.conf"], server, SERVER_NAME=name, **self.passwords)
        wait("three servers with a leader", 60, self.formed)

    def formed(self) -> bool:
        self.cluster.check()
        try:
            views = [self.ask(name, "/jsz").get("meta_cluster", {}) for name in SERVERS]
        except OSError:
            return False
        return all(view.get("leader") and view.get("cluster_size") == len(SERVERS) for view in views)

    def ask(self, name: str, path: str) -> dict:
        with urllib.request.urlopen(f"http://{ADDRESSES[name]}:8222{path}", timeout=5) as answer:
            return json.load(answer)

    def lose_volumes(self) -> None:
        """Stops the servers, deletes what they have stored, and starts them again."""
        self.cluster.stop(*SERVERS)
        time.sleep(1)
        for name in SERVERS:
            shutil.rmtree(self.folder / name / "data")
        self.start()

    def streams(self) -> dict[str, dict]:
        """Returns the configuration of every stream."""
        found: dict[str, dict] = {}
        for name in SERVERS:
            accounts = self.ask(name, "/jsz?accounts=true&streams=true&config=true").get("account_details", [])
            for account in accounts:
                found |= {item["name"]: item["config"] for item in account.get("stream_detail") or []}
        return found
