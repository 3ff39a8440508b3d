"""Reads compose.yaml as Docker Compose does: interpolates it and merges it with the settings of its images."""

import re
import signal
from dataclasses import dataclass
from pathlib import Path

import project
import yaml

from runtime_check.processes import images
from runtime_check.processes.container import Container, Mount
from runtime_check.processes.images import Health, Image
from runtime_check.processes.namespaces import Failure

FILE = project.ROOT / "compose.yaml"
# The keys that this runner applies to a process, and those that make no difference to one.
SUPPORTED = {
    "image", "build", "command", "entrypoint", "environment", "user", "working_dir", "read_only", "cap_drop",
    "cap_add", "security_opt", "tmpfs", "volumes", "configs", "healthcheck", "depends_on", "networks",
    "profiles", "ports", "stop_grace_period", "stop_signal",
}  # fmt: skip
IGNORED = {
    "restart", "init", "logging", "labels", "deploy", "mem_limit", "cpus", "pids_limit", "shm_size", "ulimits",
    "pull_policy", "hostname",
}  # fmt: skip


@dataclass
class Service:
    """A service to run, with what only Compose knows about it."""

    container: Container
    image: Image
    health: Health | None
    # The services that this one waits for, each with the condition.
    after: dict[str, str]
    networks: set[str]
    # Host port to container port.
    ports: dict[str, str]


def read() -> dict:
    """Returns the file with every variable replaced by its default: a clean clone has no .env."""
    if not FILE.is_file():
        raise Failure(f"{FILE.name} does not exist")
    return interpolate_all(yaml.safe_load(FILE.read_text()))


def interpolate_all(value):
    if isinstance(value, dict):
        return {key: interpolate_all(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [interpolate_all(inner) for inner in value]
    return interpolated(value) if isinstance(value, str) else value


VARIABLE = re.compile(
    r"\$(?:(?P<escaped>\$)|(?P<plain>\w+)|\{(?P<name>\w+)(?:(?P<rule>:?[-?+])(?P<other>(?:[^{}]|\{[^}]*\})*))?\})"
)


def interpolated(text: str) -> str:
    """Returns a text with its variables replaced as if none of them was set."""

    def fill(match: re.Match) -> str:
        if match["escaped"]:
            return "$"
        name, rule, other = match["name"] or match["plain"], match["rule"], match["other"] or ""
        if rule in ("-", ":-"):
            return interpolated(other)
        if rule in ("?", ":?"):
            raise Failure(f"compose.yaml needs {name}, and a clean clone has no .env: {other}")
        if rule is None:
            raise Failure(f"compose.yaml has ${{{name}}} without a default")
        return ""

    return VARIABLE.sub(fill, text)


def names(compose_file: dict) -> list[str]:
    """Returns the services that `docker compose up` starts: those without a profile."""
    return [name for name, raw in compose_file["services"].items() if not raw.get("profiles")]


def services(compose_file: dict, make_volume) -> dict[str, Service]:
    found = {
        name: service(name, compose_file["services"][name], compose_file, make_volume) for name in names(compose_file)
    }
    networks = compose_file.get("networks") or {}
    for name, one in found.items():
        if one.ports and all((networks.get(network) or {}).get("internal") for network in one.networks):
            raise Failure(f"compose.yaml: {name} publishes ports, and no network of it leads outside")
    return found


def service(name: str, raw: dict, compose_file: dict, make_volume) -> Service:
    unknown = {key for key in raw if not key.startswith("x-")} - SUPPORTED - IGNORED
    if unknown:
        raise Failure(f"compose.yaml: {name} has {sorted(unknown)}, which this runner does not support")
    image = images.named(raw["image"])
    read_only = raw.get("read_only", False)
    container = Container(
        name=name,
        command=image.command_line(as_words(raw.get("entrypoint")), as_words(raw.get("command"))),
        environment={**image.environment, **pairs(raw.get("environment"))},
        user=user(image.user if image.is_substitute else raw.get("user", image.user)),
        workdir=raw.get("working_dir", image.workdir),
        read_only=read_only,
        no_capabilities="ALL" in raw.get("cap_drop", []),
        mounts=mounts(name, raw, image, compose_file, make_volume),
        folders=image.folders,
        programs=image.programs,
        libraries=image.libraries,
        stop_signal=signal.Signals[raw["stop_signal"]] if "stop_signal" in raw else image.stop_signal,
        grace=images.seconds(raw.get("stop_grace_period", "10s")),
        own_program=image.own_program,
    )
    return Service(
        container=container,
        image=image,
        health=image.health if image.is_substitute else health(raw.get("healthcheck"), image.health),
        after=conditions(raw.get("depends_on")),
        networks=set(raw.get("networks") or ["default"]),
        ports=ports(raw.get("ports", [])),
    )


def as_words(value: str | list | None) -> list[str] | None:
    if isinstance(value, str):
        return images.shlex.split(value)
    return None if value is None else [str(word) for word in value]


def pairs(value: dict | list | None) -> dict[str, str]:
    if isinstance(value, list):
        value = dict(item.split("=", 1) for item in value)
    texts = {True: "true", False: "false"}
    return {
        name: texts.get(one, str(one)) if isinstance(one, bool) else str(one) for name, one in (value or {}).items()
    }


def user(text: str) -> tuple[int, int]:
    names = {"root": 0, "postgres": 70, "tickbell": 10001}
    first, _, second = str(text).partition(":")
    number = names[first] if first in names else int(first)
    return number, (names[second] if second in names else int(second)) if second else number


def mounts(name: str, raw: dict, image: Image, compose_file: dict, make_volume) -> list[Mount]:
    owner = user(image.user)
    found = [Mount(target.partition(":")[0]) for target in as_list(raw.get("tmpfs"))]
    for wanted in raw.get("volumes", []):
        found.append(volume(wanted, image, compose_file, owner, make_volume))
    for wanted in raw.get("configs", []):
        found.append(config(wanted, compose_file))
    taken = [mount.target for mount in found]
    for target in image.volumes:
        if target not in taken:  # an anonymous volume
            found.append(Mount(target, make_volume(f"{name}{target.replace('/', '-')}", owner)))
    return found


def volume(wanted: str | dict, image: Image, compose_file: dict, owner: tuple[int, int], make_volume) -> Mount:
    if isinstance(wanted, str):
        source, target, *rest = wanted.split(":")
        wanted = {"source": source, "target": target, "read_only": "ro" in ",".join(rest).split(",")}
        wanted["type"] = "bind" if source[0] in "./~" else "volume"
    if wanted["type"] == "tmpfs":
        return Mount(wanted["target"])
    if wanted["type"] == "bind":
        return Mount(wanted["target"], existing_path(wanted["source"]), wanted.get("read_only", False))
    if wanted["source"] not in (compose_file.get("volumes") or {}):
        raise Failure(f"compose.yaml: the volume {wanted['source']} is not under volumes")
    # A new volume belongs to root, unless the image has a folder at its path that belongs to the image's user.
    made = wanted["target"].rstrip("/") in image.folders
    source = make_volume(wanted["source"], owner if made else (0, 0))
    return Mount(wanted["target"], source, wanted.get("read_only", False))


def config(wanted: str | dict, compose_file: dict) -> Mount:
    name = wanted if isinstance(wanted, str) else wanted["source"]
    target = f"/{name}" if isinstance(wanted, str) else wanted.get("target", f"/{name}")
    return Mount(target, existing_path(compose_file["configs"][name]["file"]), read_only=True)


def existing_path(source: str) -> Path:
    path = (project.ROOT / source).resolve()
    if not path.exists():
        raise Failure(f"compose.yaml mounts {source}, which does not exist: Docker would create an empty folder there")
    return path


def as_list(value: str | list | None) -> list[str]:
    return [value] if isinstance(value, str) else list(value or [])


def health(raw: dict | None, image: Health | None) -> Health | None:
    if raw is None:
        return image
    test = raw.get("test")
    if raw.get("disable") or test == ["NONE"]:
        return None
    if test is None:
        command = image.command
    elif isinstance(test, str):
        command = ["/bin/sh", "-c", test]
    else:
        command = {"CMD": test[1:], "CMD-SHELL": ["/bin/sh", "-c", *test[1:]]}[test[0]]
    base = image or Health([])
    given = {key: images.seconds(raw[key]) for key in ("interval", "timeout", "start_period") if key in raw}
    old = {"interval": base.interval, "timeout": base.timeout, "start_period": base.start_period}
    return Health(command, retries=int(raw.get("retries", base.retries)), **{**old, **given})


def conditions(raw: list | dict | None) -> dict[str, str]:
    if isinstance(raw, list):
        return {name: "service_started" for name in raw}
    return {name: rule.get("condition", "service_started") for name, rule in (raw or {}).items()}


def ports(raw: list) -> dict[str, str]:
    found = {}
    for one in raw:
        if isinstance(one, dict):
            found[str(one["published"])] = str(one["target"])
        else:
            *_, host, inside = str(one).split(":")
            found[host] = inside
    return found
