"""The broker in a cluster: the pods of the official NATS chart, its certificate, and its users."""

import re

import manifests
import nats_chart
import project
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
