"""The broker in a cluster: the pods of the official NATS chart, its certificate, and its users."""

import json
import re
import socket
import subprocess

import manifests
import nats_chart
import project
import pytest
import yaml
from restricted import violations

CERTIFICATE = project.ROOT / "infra/nats/certificate.cnf"
# The files that say for which names and usages the certificate is.
DESCRIPTIONS = [
    "infra/nats/values.yaml",
    "infra/terraform/README.md",
    "infra/terraform/modules/secrets/main.tf",
    "k8s/overlays/components/external-secrets/secrets.yaml",
    "RUNBOOK.md",
]

# The function that publishes a dead letter again, by the outbox of a service.
REPLAY = "0002_dead_letter_replays.sql"


def requested(key: str) -> list[str]:
    """Returns a list of the request for the certificate."""
    (found,) = re.findall(rf"^{key} = (.+)$", CERTIFICATE.read_text(), re.MULTILINE)
    return [item.strip().removeprefix("DNS:") for item in found.split(",")]


def test_every_container_of_the_chart_is_restricted():
    pod = nats_chart.pod()
    assert [container["name"] for container in pod["containers"]] == ["nats", "reloader", "prom-exporter"]
    assert violations(pod) == []


def test_the_reloader_may_signal_the_server():
    # One user in one process namespace: without it the signal is refused, and a changed password is never read.
    pod = nats_chart.pod()
    assert pod["shareProcessNamespace"] is True
    assert not [container["name"] for container in pod["containers"] if "runAsUser" in container["securityContext"]]


def test_the_certificate_has_the_names_under_which_the_broker_is_reached():
    names = requested("subjectAltName")
    routes = [re.sub(r"^tls://|:\d+$", "", route) for route in nats_chart.configuration()["cluster"]["routes"]]
    (account,) = manifests.of_kind(manifests.overlay("production"), "Account")
    servers = [re.sub(r"^tls://|:\d+$", "", server) for server in account["spec"]["servers"]]
    fill = (project.ROOT / "infra/terraform/fill-secrets").read_text()
    clients = re.findall(r'"--nats-host", default="([\w.-]+)"', fill)
    assert len(routes) == 3 and len(clients) == 1
    used = {*routes, *servers, *clients}
    assert [name for name in used if name not in names and f"*.{name.partition('.')[2]}" not in names] == []
    assert set(names) == {"*.nats-headless", *servers, *clients}, "a name that nobody uses"
    # A server of a cluster is a client of the others.
    assert requested("extendedKeyUsage") == ["serverAuth", "clientAuth"]


def test_every_description_of_the_certificate_has_its_names_and_usages():
    for path in DESCRIPTIONS:
        text = " ".join((project.ROOT / path).read_text().replace("`", "").replace("#", " ").split())
        (found,) = set(re.findall(r"[Ff]or (nats, nats\.[\w.,* -]+?), as server and client", text)) or [None]
        assert found == "nats, nats.tickbell.svc and *.nats-headless", path
        assert CERTIFICATE.name in text, path


def test_the_servers_verify_each_other_by_our_authority():
    config = nats_chart.configuration()
    secrets = {
        volume["name"]: volume["secret"]["secretName"] for volume in nats_chart.pod()["volumes"] if "secret" in volume
    }
    folders = {mount["name"]: mount["mountPath"] for mount in nats_chart.pod()["containers"][0]["volumeMounts"]}
    for section in (config["tls"], config["cluster"]["tls"]):
        files = {key: section[key].rpartition("/") for key in ("cert_file", "key_file", "ca_file")}
        for folder, _, name in files.values():
            (volume,) = [volume for volume, path in folders.items() if path == folder]
            assert secrets[volume] == "nats-tls" and name in ("tls.crt", "tls.key", "ca.crt")
        assert files["ca_file"][2] == "ca.crt"


def test_the_documented_version_of_the_chart_is_the_one_that_is_known_here():
    assert f"--version {nats_chart.VERSION} " in (nats_chart.NATS / "values.yaml").read_text()


def test_every_user_of_the_broker_has_a_password_everywhere():
    users = (nats_chart.NATS / "users.conf").read_text()
    wanted = set(re.findall(r"\$(NATS_PASSWORD_\w+)", users))
    assert len(wanted) >= 9
    compose = yaml.safe_load((project.ROOT / "compose.yaml").read_text())["services"]["nats"]["environment"]
    assert wanted == {name for name in compose if name.startswith("NATS_PASSWORD_")}
    assert wanted == set(nats_chart.values()["container"]["env"])
    terraform = (project.ROOT / "infra/terraform/modules/secrets/main.tf").read_text()
    assert wanted == set(re.findall(r'"(NATS_PASSWORD_\w+)"', terraform))


@pytest.fixture(scope="module")
def broker(tmp_path_factory):
    """A broker with the users of users.conf, whose passwords are their names: its port."""
    folder = tmp_path_factory.mktemp("broker")
    users = (nats_chart.NATS / "users.conf").read_text()
    (folder / "users.conf").write_text(re.sub(r"user: ([\w-]+), password: \$\w+", r'user: \1, password: "\1"', users))
    (folder / "nats.conf").write_text('listen: "127.0.0.1:-1"\ninclude "users.conf"\n')
    command = [project.tool("nats-server"), "--config", folder / "nats.conf"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        try:
            for line in process.stdout:
                if found := re.search(r"Listening for client connections on 127\.0\.0\.1:(\d+)", line):
                    yield int(found[1])
                    break
        finally:
            process.terminate()


def refusals(port: int, user: str, subjects: list[str]) -> list[str]:
    """Publishes a message to each subject as a user, and returns what the broker objects to."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        asked = json.dumps({"user": user, "pass": user, "verbose": False})
        published = "".join(f"PUB {subject} 0\r\n\r\n" for subject in subjects)
        connection.sendall(f"CONNECT {asked}\r\n{published}PING\r\n".encode())
        answers = []
        for line in connection.makefile():
            if line.startswith("PONG"):
                return answers
            if line.startswith("-ERR"):
                answers.append(line.strip())
    raise AssertionError(f"the broker has closed the connection of {user}: {answers}")


def of_streams() -> dict[str, list[str]]:
    """Returns a subject below each of those that a stream stores, by the stream."""
    streams = yaml.safe_load((project.ROOT / "schemas/streams.yaml").read_text())["streams"]
    return {
        name: [subject.replace(">", "one.BTC-USD") for subject in stream["subjects"]]
        for name, stream in streams.items()
    }


def test_the_operator_may_publish_again_what_any_service_gives_up(broker):
    """`dlq replay` publishes a message to its subject, and the Kafka bridge reads streams that no other service reads."""
    subjects = [subject for stream in of_streams().values() for subject in stream]
    assert len(subjects) >= 10
    assert refusals(broker, "operator", subjects) == []
    assert len(refusals(broker, "operator", ["elsewhere.one", "$SYS.REQ.SERVER.PING"])) == 2


def test_the_service_that_publishes_a_dead_letter_again_may_do_so(broker):
    migration = (project.ROOT / project.MIGRATIONS / REPLAY).read_text()
    publishers = dict(re.findall(r"WHEN '(\w+)' THEN '([\w-]+)'", migration))
    assert set(publishers) == set(of_streams()) - {"DLQ"}
    for stream, publisher in publishers.items():
        assert refusals(broker, publisher, of_streams()[stream]) == [], f"{publisher} for {stream}"
