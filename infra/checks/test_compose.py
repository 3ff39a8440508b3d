"""compose.yaml: every service is present, gets its settings, starts in order, and has no more rights than it needs."""

import json
import re
from functools import cache
from urllib.parse import urlsplit

import project
import pytest
import yaml

VARIABLE = re.compile(r"\$\$|\$\{(\w+)(?::-([^}]*))?\}|\$\w+")
# The ports of servers that run with their default configuration.
FOREIGN_PORTS = {"postgres": {5432}, "mailpit": {1025, 8025}, "otel-collector": {4318}}
# Services that run once to completion, which others wait for.
ONE_SHOTS = {"migrate", "streams", "opensearch-setup"}
# A second price-ingestor, which is a CronJob in a cluster.
SECOND_INGESTOR = "price-poller"


def defaults() -> dict[str, set[str | None]]:
    """Returns every variable of the file, with its defaults."""
    found: dict[str, set[str | None]] = {}
    for match in VARIABLE.finditer((project.ROOT / "compose.yaml").read_text()):
        if match[0] != "$$":
            found.setdefault(match[1] or match[0], set()).add(match[2])
    return found


def interpolated(value):
    """Replaces every variable of a value by its default."""
    if isinstance(value, dict):
        return {key: interpolated(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [interpolated(inner) for inner in value]
    if isinstance(value, str):
        return VARIABLE.sub(lambda match: "$" if match[0] == "$$" else match[2] or "", value)
    return value


@cache
def compose_file() -> dict:
    """Returns the file as Compose reads it without an .env."""
    return interpolated(yaml.safe_load((project.ROOT / "compose.yaml").read_text()))


def services() -> dict[str, dict]:
    return compose_file()["services"]


def own() -> dict[str, dict]:
    """Returns the containers of our own image."""
    return {name: service for name, service in services().items() if service["image"] == "tickbell:local"}


def environment(service: dict) -> dict[str, str]:
    return project.image_environment() | service.get("environment", {})


def depends(service: dict) -> dict[str, str]:
    return {name: what["condition"] for name, what in service.get("depends_on", {}).items()}


def seconds(text: str) -> int:
    return int(re.fullmatch(r"(\d+)s", text)[1])


OWN = sorted(own())
ALL = sorted(services())


def test_the_file_fits_the_compose_schema(tmp_path):
    file = tmp_path / "compose.json"
    file.write_text(json.dumps(compose_file()))
    for compose in (project.ROOT / "compose.yaml", file):
        project.output(project.tool("check-jsonschema"), "--builtin-schema", "vendor.compose-spec", compose)


def test_every_service_has_a_container():
    long_running = {name: own()[name]["command"][0] for name in OWN if name not in ONE_SHOTS}
    assert long_running == {service: service for service in project.services()} | {SECOND_INGESTOR: "price-ingestor"}
    assert not [name for name in long_running if "profiles" in services()[name]], "a service that is not started"


@pytest.mark.parametrize("name", OWN)
def test_the_program_accepts_its_command_and_settings(name):
    assert project.check_settings(own()[name]["command"], environment(own()[name])) is None


@pytest.mark.parametrize("name", OWN)
def test_its_variables_are_settings(name):
    unknown = set(environment(own()[name])) - project.setting_variables()
    assert not unknown, f"these are not settings: {unknown}"


def test_every_variable_has_a_default_that_is_documented():
    lines = (project.ROOT / ".env.example").read_text().splitlines()
    documented = dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))
    assert {name: {value} for name, value in documented.items()} == defaults()


def test_the_log_filter_is_that_of_the_program():
    example = (project.ROOT / "tickbell.example.toml").read_text()
    assert defaults()["TICKBELL_TELEMETRY__LOG"] == set(re.findall('^# log = "(.*)"$', example, re.MULTILINE))


def test_own_containers_share_one_image_that_is_built_once():
    assert [name for name in OWN if "build" in own()[name]] == ["migrate"], "Compose would build it several times"
    assert {own()[name]["pull_policy"] for name in OWN} == {"never"}, "a registry would be asked for our local image"
    build = own()["migrate"]["build"]
    assert (project.ROOT / build["context"] / build["dockerfile"]).is_file()
    arguments = {text.split("=")[0] for stage in project.dockerfile() for word, text in stage if word == "ARG"}
    assert set(build["args"]) <= arguments


@pytest.mark.parametrize("name", sorted(project.OPTIONAL_SERVICES))
def test_an_optional_service_has_a_profile_and_an_image_of_its_own(name):
    service = services()[name]
    assert service["profiles"] and service["image"].startswith("tickbell:local-")
    assert (service["command"], service["pull_policy"]) == ([name], "never")
    unknown = set(environment(service)) - project.setting_variables()
    assert not unknown, f"these are not settings: {unknown}"


@pytest.mark.parametrize("name", sorted(set(ALL) - set(OWN) - project.OPTIONAL_SERVICES))
def test_a_third_party_image_has_an_exact_tag(name):
    image = services()[name]["image"]
    assert re.search(r":v?\d+\.\d+(\.\d+)?(-alpine[\d.]+)?$", image), image


def mounts() -> list[tuple[str, str, str, bool]]:
    """Returns every mount as service, source, target and whether it is read-only."""
    found = []
    for name, service in services().items():
        for line in service.get("volumes", []):
            source, target, *mode = line.split(":")
            found.append((name, source, target, bool(mode) and "ro" in mode[0].split(",")))
    return found


def test_mounted_files_exist():
    files = [(name, source, read_only) for name, source, _, read_only in mounts() if source.startswith(".")]
    files += [(name, service["env_file"], True) for name, service in services().items() if "env_file" in service]
    missing = [(name, source) for name, source, _ in files if not (project.ROOT / source).exists()]
    assert not missing
    assert all(read_only for *_, read_only in files), "a container could write into the clone"


def test_files_in_commands_are_mounted():
    places = {}
    for name, source, target, _ in mounts():
        if source.startswith("."):
            places.setdefault(name, []).append((target, source))
    for name, service in services().items():
        words = " ".join([*service.get("command", []), *service.get("entrypoint", [])])
        for target, source in places.get(name, []):
            for inside in re.findall(rf"{re.escape(target)}/(\S+)", words):
                assert (project.ROOT / source / inside).is_file(), f"{name} reads {target}/{inside}"


def test_volumes_and_networks_are_declared_and_used():
    named = {source for _, source, _, _ in mounts() if not source.startswith((".", "/"))}
    assert named == set(compose_file()["volumes"])
    assert {network for service in services().values() for network in service["networks"]} == set(
        compose_file()["networks"]
    )


def test_only_docker_logs_and_node_metrics_read_host_folders():
    seen = {(name, source) for name, source, _, _ in mounts() if source.startswith("/")}
    assert seen == {("fluent-bit", "/var/lib/docker/containers"), ("node-exporter", "/")}


# --- Order ----------------------------------------------------------------------------------------------------------


def test_dependencies_have_no_circle():
    waiting = {name: set(depends(service)) for name, service in services().items()}
    while waiting:
        ready = [name for name, others in waiting.items() if not others & set(waiting)]
        assert ready, f"these wait for each other: {sorted(waiting)}"
        for name in ready:
            del waiting[name]


@pytest.mark.parametrize("name", ALL)
def test_it_waits_with_the_right_condition(name):
    profiles = set(services()[name].get("profiles", []))
    for other, condition in depends(services()[name]).items():
        ends, probed = other in ONE_SHOTS, "test" in services()[other].get("healthcheck", {})
        wanted = "service_completed_successfully" if ends else "service_healthy" if probed else "service_started"
        assert condition == wanted, f"{name} waits for {other}"
        assert set(services()[other].get("profiles", [])) <= profiles, f"{other} may not be started when {name} is"


@pytest.mark.parametrize("name", OWN)
def test_it_waits_for_the_servers_of_its_settings(name):
    variables, waits = set(environment(own()[name])), set(depends(own()[name]))
    if "NATS_URL" in variables:
        assert {"nats"} | ({"streams"} - {name}) <= waits
    if "DATABASE_URL" in variables:
        assert {"postgres"} | ({"migrate"} - {name}) <= waits
    addresses = [*environment(own()[name]).values(), *own()[name]["command"]]
    hosts = {host for host, _ in reached(addresses)} - {"nats", "postgres", "otel-collector"}
    assert hosts <= waits
    assert "migrate" in waits or name == "migrate" or waits & {"streams"}, "the image may not be built yet"


@pytest.mark.parametrize("name", sorted(ONE_SHOTS))
def test_another_service_waits_for_a_one_shot(name):
    # `up --wait` reports a container that exits as a failure, unless another service waits for its completion.
    waiting = [other for other, service in services().items() if name in depends(service)]
    assert waiting
    assert services()[name]["restart"] == "no"
    assert services()[name]["healthcheck"] == {"disable": True}


# --- Health, shutdown and limits ------------------------------------------------------------------------------------

# Their images hold a program and nothing that could probe it.
NO_SHELL = {"jaeger", "otel-collector", "fluent-bit", "nats-exporter"}


@pytest.mark.parametrize("name", sorted(set(ALL) - ONE_SHOTS - NO_SHELL))
def test_its_health_is_checked(name):
    test = services()[name]["healthcheck"]["test"]
    assert test[0] == "CMD"
    if name in OWN:
        assert test[1:] == json.loads(dict(project.dockerfile()[-1])["HEALTHCHECK"].partition("CMD ")[2])


@pytest.mark.parametrize("name", OWN)
def test_it_is_given_time_to_drain(name):
    keys = [key for key in project.setting_keys() if key.endswith(("drain_seconds", "lame_duck_seconds"))]
    assert len(keys) == 2
    variables_of = environment(own()[name])
    variables = {key: "TICKBELL_" + key.upper().replace(".", "__") for key in keys}
    drain = sum(int(variables_of.get(variables[key], project.setting_keys()[key])) for key in keys)
    assert seconds(own()[name]["stop_grace_period"]) > drain


@pytest.mark.parametrize("name", ALL)
def test_it_has_no_more_rights_than_it_needs(name):
    service = services()[name]
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert not {"cap_add", "privileged", "pid", "ipc", "network_mode", "devices"} & set(service)
    assert re.fullmatch(r"\d+[mg]", service["deploy"]["resources"]["limits"]["memory"])
    assert {"max-size", "max-file"} <= set(service["logging"]["options"]), "its log could fill the disk"
    assert service["restart"] == ("no" if name in ONE_SHOTS else "unless-stopped")


@pytest.mark.parametrize("name", OWN)
def test_own_containers_are_read_only_and_unprivileged(name):
    assert own()[name]["user"] == dict(project.dockerfile()[-1])["USER"]
    assert own()[name]["read_only"] is True
    # The archive is the only thing that a container of ours writes to a disk; the gateway reads it.
    archive = {"archiver": ["archive:/var/lib/tickbell"], "gateway": ["archive:/var/lib/tickbell:ro"]}
    assert own()[name].get("volumes", []) == archive.get(name, [])


# --- Connections --------------------------------------------------------------------------------------------------


def reached(texts: list[str]) -> set[tuple[str, int]]:
    """Returns the hosts and ports of the compose networks in the URLs of these texts."""
    urls = [urlsplit(url) for text in texts for url in re.findall(r"\w+://\S+", str(text))]
    return {(url.hostname, url.port) for url in urls if url.hostname in services()}


def nats_file(name: str) -> str:
    return (project.ROOT / "infra/nats" / name).read_text()


def listening(name: str) -> set[int]:
    if name in OWN:
        return project.image_ports()
    if name == "nats":
        return {
            int(port) for port in re.findall(r'^(?:listen|http): ".*:(\d+)"', nats_file("compose.conf"), re.MULTILINE)
        }
    return FOREIGN_PORTS[name]


@pytest.mark.parametrize("name", OWN)
def test_it_connects_to_ports_that_are_open(name):
    for host, port in reached([*environment(own()[name]).values(), *own()[name]["command"]]):
        assert port in listening(host), f"{name} → {host}:{port}"
        assert set(services()[host]["networks"]) & set(own()[name]["networks"]), f"{name} cannot reach {host}"


def test_ports_are_published_on_this_machine_only():
    for name, service in services().items():
        for port in service.get("ports", []):
            address, _, inside = port.split(":")
            assert address == "127.0.0.1", f"{name}: {port}"
            assert "front" in service["networks"], f"{name}: a network without a way out publishes nothing"
            if name in {*OWN, *FOREIGN_PORTS}:
                assert int(inside) in listening(name)


def test_published_ports_are_distinct():
    published = [port.split(":")[1] for service in services().values() for port in service.get("ports", [])]
    assert len(published) == len(set(published))


def test_servers_are_on_the_internal_network_only():
    assert compose_file()["networks"]["back"] == {"internal": True}
    for name in ("nats", "postgres"):
        assert services()[name]["networks"] == ["back"]
        assert "ports" not in services()[name]


def test_every_user_of_the_broker_has_a_password():
    wanted = set(re.findall(r"\$(NATS_PASSWORD_\w+)", nats_file("users.conf")))
    assert wanted
    assert set(services()["nats"]["environment"]) == wanted


@pytest.mark.parametrize("name", [name for name in OWN if "NATS_URL" in own()[name].get("environment", {})])
def test_a_service_is_its_own_user_of_the_broker(name):
    user = urlsplit(environment(own()[name])["NATS_URL"]).username
    assert user in re.findall(r"user: ([\w-]+)", nats_file("users.conf"))
    assert user == ("operator" if name == "streams" else own()[name]["command"][0])
