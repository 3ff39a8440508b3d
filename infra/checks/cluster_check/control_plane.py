"""etcd, the API server, the controllers and the JetStream controller on loopback, with a certificate for each person."""

import base64
import json
import os
import ssl
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path

import project
import yaml

TOOLS = project.ROOT / ".tools/cluster"
ADDRESS = "https://127.0.0.1:6443"
# Each person with the groups of k8s/base/access.yaml.
PEOPLE = {
    "administrator": ["system:masters"],
    "deployer": ["tickbell-deployers"],
    "helm-deployer": ["tickbell-deployers", "tickbell-helm-deployers"],
    "reader": ["tickbell-readers"],
}


class Failure(Exception):
    """A step that did not go as the book says; its text is for the reader of the output."""


def wait(what: str, seconds: float, question, interval: float = 0.2):
    """Returns the first true answer of a question."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if answer := question():
            return answer
        time.sleep(interval)
    raise Failure(f"{what}: not within {seconds:g} s")


class ControlPlane:
    """The processes, and a client with the rights of the administrator."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.processes: dict[str, subprocess.Popen] = {}
        self.tls = folder / "pki"
        self.tls.mkdir()
        self.sign("ca", None, [])
        self.sign("server", "/CN=kube-apiserver", ["IP:127.0.0.1", "DNS:localhost"])
        for person, groups in PEOPLE.items():
            self.sign(person, "".join(f"/O={group}" for group in groups) + f"/CN={person}", [])
            self.kubeconfig(person).write_text(yaml.safe_dump(self.configuration(person)))
        self.context = ssl.create_default_context(cafile=str(self.tls / "ca.crt"))
        self.context.load_cert_chain(self.tls / "administrator.crt", self.tls / "administrator.key")

    def sign(self, name: str, subject: str | None, names: list[str]) -> None:
        key, certificate = self.tls / f"{name}.key", self.tls / f"{name}.crt"
        new = ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out", certificate, "-days", "1"]
        if subject is None:
            project.output("openssl", *new, "-subj", "/CN=cluster-authority")
            return
        extra = ["-addext", "basicConstraints=critical,CA:false", "-addext", "extendedKeyUsage=serverAuth,clientAuth"]
        extra += ["-addext", f"subjectAltName={','.join(names)}"] if names else []
        authority = ["-CA", self.tls / "ca.crt", "-CAkey", self.tls / "ca.key"]
        project.output("openssl", *new, "-subj", subject, *authority, *extra)

    def kubeconfig(self, person: str) -> Path:
        return self.folder / f"{person}.kubeconfig"

    def configuration(self, person: str) -> dict:
        def data(name: str) -> str:
            return base64.b64encode((self.tls / name).read_bytes()).decode()

        user = {"client-certificate-data": data(f"{person}.crt"), "client-key-data": data(f"{person}.key")}
        cluster = {"server": ADDRESS, "certificate-authority-data": data("ca.crt")}
        return {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "it",
            "clusters": [{"name": "it", "cluster": cluster}],
            "users": [{"name": person, "user": user}],
            "contexts": [{"name": "it", "context": {"cluster": "it", "user": person}}],
        }

    def start(self) -> None:
        """Starts etcd, the API server and the controllers, and waits until they answer."""
        tls, data = self.tls, self.folder / "etcd"
        self.spawn("etcd", ["--data-dir", data, "--log-level", "error", "--unsafe-no-fsync"])
        self.spawn(
            "kube-apiserver",
            ["--etcd-servers=http://127.0.0.1:2379", "--bind-address=127.0.0.1", "--advertise-address=127.0.0.1"]
            + ["--authorization-mode=RBAC", "--service-cluster-ip-range=10.96.0.0/16"]
            + [f"--tls-cert-file={tls}/server.crt", f"--tls-private-key-file={tls}/server.key"]
            + [f"--client-ca-file={tls}/ca.crt", "--service-account-issuer=https://kubernetes.default.svc"]
            + [f"--service-account-key-file={tls}/server.key", f"--service-account-signing-key-file={tls}/server.key"],
        )
        wait("the API server", 60, lambda: self.answers("/readyz"))
        self.spawn(
            "kube-controller-manager",
            [f"--kubeconfig={self.kubeconfig('administrator')}", "--leader-elect=false", "--bind-address=127.0.0.1"]
            + [f"--service-account-private-key-file={tls}/server.key", f"--root-ca-file={tls}/ca.crt"],
        )

    def spawn(self, name: str, arguments: list, program: str | None = None, **variables: str) -> None:
        log = (self.folder / f"{name}.log").open("ab")
        command = [str(TOOLS / "bin" / (program or name)) if program is None else program, *map(str, arguments)]
        self.processes[name] = subprocess.Popen(
            command, stdout=log, stderr=subprocess.STDOUT, env=os.environ | variables, cwd=self.folder
        )

    def stop(self, *names: str) -> None:
        for name in names:
            self.processes.pop(name).terminate()

    def check(self) -> None:
        """Fails if a process has ended that nothing stopped."""
        for name, process in self.processes.items():
            if process.poll() is not None:
                tail = "\n".join((self.folder / f"{name}.log").read_text().splitlines()[-12:])
                raise Failure(f"{name} ended with {process.returncode}:\n{tail}")

    def answers(self, path: str) -> bool:
        self.check()
        try:
            self.call("GET", path)
        except (OSError, urllib.error.URLError):
            return False
        return True

    def call(self, method: str, path: str, body: object = None, kind: str = "application/json") -> dict:
        """Sends a request as the administrator, and returns the answer."""
        data = json.dumps(body).encode() if body is not None else None
        request = urllib.request.Request(f"{ADDRESS}{path}", data, {"content-type": kind}, method=method)
        with urllib.request.urlopen(request, context=self.context, timeout=20) as answer:
            text = answer.read()
        return json.loads(text) if text[:1] == b"{" else {}

    def merge(self, path: str, change: dict) -> None:
        self.call("PATCH", path, change, "application/merge-patch+json")
