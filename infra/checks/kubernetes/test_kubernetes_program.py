"""The objects that k8s/ renders match the program, the other files of the project, and the store of secrets."""

import base64
import json
import os
import re
import textwrap

import manifests
import project
import pytest
import yaml
from manifests import containers, named, of_kind, overlay, templates, title

OVERLAYS = ["local", "staging", "production"]
CLUSTERS = ["staging", "production"]
IMAGE = "ghcr.io/tickbell/tickbell"
# Sample values of the variables that Secrets hold.
SAMPLES = {
    "NATS_URL": "tls://service:secret@nats:4222",
    "DATABASE_URL": "postgres://role:secret@tickbell-postgres-rw:5432/tickbell?sslmode=verify-full"
    "&sslrootcert=/etc/tickbell/ca/ca.crt",
    "TICKBELL_LINKS__SECRET": "0123456789abcdef0123456789abcdef",
    "TICKBELL_SMTP__URL": "smtps://service:secret@mail.tickbell.example:465",
    "TICKBELL_TELEMETRY__SENTRY_DSN": "https://0123456789abcdef@sentry.tickbell.example/1",
}
# The keys of each Secret that a pod reads.
SECRETS = {
    f"tickbell-{service}": ["NATS_URL"] * (service not in project.WITHOUT_BROKER)
    + ["DATABASE_URL"] * (service not in project.WITHOUT_DATABASE)
    for service in set(project.services()) - (project.WITHOUT_BROKER & project.WITHOUT_DATABASE)
} | {
    "tickbell-notifier": ["NATS_URL", "DATABASE_URL", "TICKBELL_LINKS__SECRET", "TICKBELL_SMTP__URL"],
    "tickbell-gateway": ["NATS_URL", "DATABASE_URL", "TICKBELL_LINKS__SECRET"],
    "tickbell-migrate": ["NATS_URL", "DATABASE_URL"],
    "tickbell-telemetry": ["TICKBELL_TELEMETRY__SENTRY_DSN"],
}
# cert-manager creates these, because the Gateway is annotated with an issuer.
CERTIFICATES = {"tickbell-gateway-tls"}


# --- Matches the program ---------------------------------------------------------------------------------------------


def secrets(name: str) -> dict[str, dict[str, str]]:
    """Returns the content of each Secret: that of the sandbox, or samples in other overlays."""
    if name != "local":
        return {secret: {key: SAMPLES[key] for key in keys} for secret, keys in SECRETS.items()}
    decode = {manifests.plain(item["metadata"]["name"]): item["data"] for item in of_kind(overlay(name), "Secret")}
    return {
        secret: {key: base64.b64decode(text).decode() for key, text in data.items()} for secret, data in decode.items()
    }


@pytest.mark.parametrize("name", OVERLAYS)
def test_the_program_accepts_the_settings_of_every_container(name):
    refused = {}
    for where, pod in templates(overlay(name)):
        for container in containers(pod["spec"]):
            if container["image"].startswith(IMAGE):
                variables = manifests.environment(container, overlay(name), secrets(name))
                if objections := project.check_settings(manifests.arguments(container, variables), variables):
                    refused[where] = objections
    assert refused == {}


@pytest.mark.parametrize("name", OVERLAYS)
def test_every_variable_is_a_setting(name):
    used = set().union(*(secrets(name).values())) | {key for keys in SECRETS.values() for key in keys}
    for _, pod in templates(overlay(name)):
        for container in containers(pod["spec"]):
            if container["image"].startswith(IMAGE):
                used |= set(manifests.environment(container, overlay(name), secrets(name)))
    ours = {variable for variable in used if variable.startswith("TICKBELL_")}
    assert len(ours) > 5 and ours <= project.setting_variables()


@pytest.mark.parametrize("name", CLUSTERS)
def test_environment_and_address_are_the_same_everywhere(name):
    settings = named(overlay(name), "ConfigMap", "tickbell-settings")["data"]
    (host,) = named(overlay(name), "HTTPRoute", "gateway")["spec"]["hostnames"]
    assert settings["TICKBELL_LINKS__BASE_URL"] == f"https://{host}"
    assert settings["TICKBELL_TELEMETRY__ENVIRONMENT"] == name
    keys = [item["spec"]["dataFrom"][0]["extract"]["key"] for item in of_kind(overlay(name), "ExternalSecret")]
    assert all(key.startswith(f"tickbell/{name}/") for key in keys)
    assert "values" not in [item["metadata"]["name"] for item in of_kind(overlay(name), "ConfigMap")]


def test_the_streams_are_those_of_the_program():
    exported = project.output(project.tickbell(), "streams", "export", "--format", "nack")
    assert (project.ROOT / "k8s/streams/streams.yaml").read_text() == exported


@pytest.mark.parametrize("name", CLUSTERS)
def test_every_stream_has_three_replicas(name):
    streams = of_kind(overlay(name), "Stream")
    assert len(streams) == len(yaml.safe_load((project.ROOT / "schemas/streams.yaml").read_text())["streams"])
    assert {stream["spec"]["replicas"] for stream in streams} == {3}
    # The controller parses durations with Go's parser, which has no days.
    for item in streams + of_kind(overlay(name), "Consumer"):
        for key in ("maxAge", "duplicateWindow", "ackWait"):
            assert re.fullmatch(r"(\d+(h|m|s|ms))+", item["spec"].get(key, "1s")), f"{title(item)}: {key}"
    # The controller gives a stream without an age a year.
    assert all("maxAge" in stream["spec"] for stream in streams)
    assert named(overlay(name), "Stream", "rules")["spec"]["maxAge"] == "0s"
    assert named(overlay(name), "ConfigMap", "tickbell-settings")["data"]["TICKBELL_STREAMS__MANAGE"] == "false"


def test_the_brokers_of_the_sandbox_and_of_production_are_equally_durable():
    file = manifests.OVERLAYS / "components/sandbox/nats.conf"
    project.output(project.tool("nats-server"), "-t", "-c", file)
    assert re.search(r"^ *sync_interval: always$", file.read_text(), re.MULTILINE)
    values = yaml.safe_load((project.ROOT / "infra/nats/values.yaml").read_text())
    replicas = {item["spec"]["replicas"] for item in of_kind(overlay("production"), "Stream")}
    assert replicas == {values["config"]["cluster"]["replicas"]}


def test_every_broker_has_room_for_all_streams():
    # nats-server reserves the max_bytes of a stream, and rejects a stream that does not fit.
    streams = yaml.safe_load((project.ROOT / "schemas/streams.yaml").read_text())["streams"].values()
    sizes = [re.fullmatch(r"(\d+)(GiB|MiB)", stream["max_bytes"]).groups() for stream in streams]
    needed = sum(int(number) / {"GiB": 1, "MiB": 1024}[unit] for number, unit in sizes)
    sandbox = (manifests.OVERLAYS / "components/sandbox/nats.conf").read_text()
    for text in ((project.ROOT / "infra/nats/jetstream.conf").read_text(), sandbox):
        assert needed < int(re.search(r"max_file_store: (\d+)Gi?B", text)[1])
    claims = named(overlay("local"), "StatefulSet", "nats")["spec"]["volumeClaimTemplates"]
    volumes = {claim["spec"]["resources"]["requests"]["storage"] for claim in claims}
    assert {int(re.search(r"max_file_store: (\d+)GiB", sandbox)[1]) + 1} == {int(size[:-2]) for size in volumes}
    store = yaml.safe_load((project.ROOT / "infra/nats/values.yaml").read_text())["config"]["jetstream"]["fileStore"]
    assert needed < int(store["maxSize"][:-2]) < int(store["pvc"]["size"][:-2])


def test_the_rules_are_those_of_infra_monitoring():
    file = manifests.OVERLAYS / "components/monitoring/rules.yaml"
    documents = []
    for path in sorted((project.ROOT / "infra/monitoring/rules").glob("*.yml")):
        metadata = f"metadata:\n  name: tickbell-{path.stem}\n  labels:\n    app.kubernetes.io/part-of: tickbell\n"
        spec = textwrap.indent(path.read_text().rstrip() + "\n", "  ")
        documents.append(f"apiVersion: monitoring.coreos.com/v1\nkind: PrometheusRule\n{metadata}spec:\n{spec}")
    header = "# Generated from infra/monitoring/rules by `make monitoring`.\n"
    text = header + "---\n".join(documents)
    if os.environ.get("UPDATE"):
        file.write_text(text)
    assert documents and file.read_text() == text


# --- Secrets and images ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [*CLUSTERS, *manifests.ALTERNATIVES])
def test_the_store_fills_every_secret(name):
    objects = manifests.rendered(name)
    assert of_kind(objects, "Secret") == []
    filled = {item["spec"]["target"]["name"] for item in of_kind(objects, "ExternalSecret")}
    used = set().union(*map(manifests.secret_references, objects))
    assert len(used) > 5 and used - CERTIFICATES <= filled
    assert set(SECRETS) <= filled
    values = (project.ROOT / "infra/nats/values.yaml").read_text()
    assert set(re.findall(r"(?:secretKeyRef: \{ name|secretName): ([a-z-]+)", values)) <= filled
    (store,) = of_kind(objects, "SecretStore")
    assert {item["spec"]["secretStoreRef"]["name"] for item in of_kind(objects, "ExternalSecret")} == {
        store["metadata"]["name"]
    }
    assert "secretRef" not in json.dumps(store), "the operator authenticates by its service account, not by a key"


def test_the_store_of_terraform_has_every_entry():
    text = (project.ROOT / "infra/terraform/modules/secrets/main.tf").read_text()
    made = {
        name: re.findall(r'"([\w.]+)"', keys)
        for name, keys in re.findall(r"^    ([a-z-]+) *= \[([^]]*)]", text, re.MULTILINE)
    }
    # The database of Terraform is outside the cluster.
    objects = manifests.rendered("managed-postgres")
    entries = {item["spec"]["dataFrom"][0]["extract"]["key"] for item in of_kind(objects, "ExternalSecret")}
    assert {entry.rpartition("/")[2] for entry in entries} <= set(made)
    for secret, keys in SECRETS.items():
        assert made[secret.removeprefix("tickbell-")] == keys


@pytest.mark.parametrize("name", OVERLAYS)
def test_images_are_known_and_pinned(name):
    objects = overlay(name)
    compose = (project.ROOT / "compose.yaml").read_text()
    known = dict(re.findall(r"^ +image: ([\w./-]+):([\w.-]+)$", compose, re.MULTILINE))
    tags = {"local": "local"}
    images = {container["image"] for _, pod in templates(objects) for container in containers(pod["spec"])}
    for image in images:
        repository, _, tag = image.rpartition(":")
        # The tag of our image is a commit, which `make deploy` sets.
        assert tag == (tags.get(name, "set-by-deploy") if repository == IMAGE else known.get(repository)), image
    for cluster in of_kind(objects, "Cluster"):
        version = re.fullmatch(r"ghcr\.io/cloudnative-pg/postgresql:([\d.]+)-.+", cluster["spec"]["imageName"])
        assert version and known["postgres"].startswith(version[1] + "-"), (
            "compose and clusters must run the same PostgreSQL"
        )


def test_alternatives_use_only_our_own_image():
    for name in manifests.ALTERNATIVES:
        objects = manifests.rendered(name)
        images = {container["image"] for _, pod in templates(objects) for container in containers(pod["spec"])}
        assert images == {f"{IMAGE}:set-by-deploy"}, name
