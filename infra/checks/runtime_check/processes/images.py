"""What each image contains: ours by its Dockerfile, others by the same or a similar program of this machine."""

import json
import re
import shlex
import signal
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import project

from runtime_check.processes.namespaces import Failure

DOCKERFILE = project.ROOT / "infra/docker/Dockerfile"
HERE = Path(__file__).resolve().parent
TOOLS = project.ROOT / ".tools"
MAILS = "/mails"
ASK_SMTP = "import smtplib; smtplib.SMTP('127.0.0.1', 1025).noop()"
# The repository of our image in the registry, and its name in compose.yaml.
OWN_REPOSITORIES = ("ghcr.io/tickbell/tickbell", "tickbell")


@dataclass
class Health:
    """A health check as a command; times are in seconds, and default to Docker's."""

    command: list[str]
    interval: float = 30
    timeout: float = 30
    retries: int = 3
    start_period: float = 0


@dataclass
class Image:
    """What an image contributes to a container."""

    entrypoint: list[str] = field(default_factory=list)
    command: list[str] = field(default_factory=list)
    environment: dict[str, str] = field(default_factory=dict)
    user: str = "0:0"
    workdir: str = "/"
    health: Health | None = None
    # A similar program substitutes the image's: the command and the health check are those given here, not those of
    # compose.yaml.
    is_substitute: bool = False
    # Folders that the image creates for its user, and those among them that are volumes.
    folders: list[str] = field(default_factory=list)
    volumes: list[str] = field(default_factory=list)
    programs: dict[str, Path] = field(default_factory=dict)
    libraries: list[Path] = field(default_factory=list)
    stop_signal: signal.Signals = signal.SIGTERM
    own_program: bool = False

    def command_line(self, entrypoint: list[str] | None, command: list[str] | None) -> list[str]:
        """Returns the whole command of a container with this entrypoint and command."""
        if self.is_substitute:
            return [*self.entrypoint, *self.command]
        if entrypoint is not None:
            return [*entrypoint, *(command or [])]
        return [*self.entrypoint, *(command if command is not None else self.command)]


def named(reference: str) -> Image:
    """Returns the image of a reference like `nats:2.15.1-alpine`."""
    name, _, tag = reference.rpartition(":") if ":" in reference.split("/")[-1] else (reference, "", "")
    name = name.removeprefix("docker.io/").removeprefix("library/")
    if name in OWN_REPOSITORIES:
        return tickbell_image()
    kinds = {"nats": nats, "postgres": postgres, "axllent/mailpit": mailpit}
    if name not in kinds:
        raise Failure(f"there is no substitute for the image {reference}: add it to {Path(__file__).name}")
    return kinds[name](tag)


def nats(tag: str) -> Image:
    """Returns nats-server with the image's entrypoint, which passes bare flags to the server."""
    if "alpine" not in tag:
        raise Failure(f"nats:{tag} has neither a shell nor wget for its health check: use an alpine tag")
    return Image(
        entrypoint=["/usr/local/bin/docker-entrypoint.sh"],
        command=["nats-server", "--config", "/etc/nats/nats-server.conf"],
        programs={
            "nats-server": Path(project.tool("nats-server")),
            "docker-entrypoint.sh": HERE / "nats-entrypoint.sh",
        },
    )


def postgres(tag: str) -> Image:
    """Returns the distribution's PostgreSQL, set up as the official image does it."""
    major = tag.partition(".")[0].partition("-")[0]
    volume = "/var/lib/postgresql/data" if int(major) < 18 else "/var/lib/postgresql"
    data = volume if int(major) < 18 else f"{volume}/{major}/docker"
    servers = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name))
    if not servers:
        raise Failure("PostgreSQL is not installed: run `make tools-test`")
    return Image(
        entrypoint=["/usr/local/bin/docker-entrypoint.sh"],
        command=["postgres"],
        environment={"PATH": f"{servers[-1]}:/usr/local/bin:/usr/bin:/bin", "PGDATA": data},
        user="70:70",
        folders=["/var/lib/postgresql", "/var/lib/postgresql/data", "/var/run/postgresql"],
        volumes=[volume],
        programs={"docker-entrypoint.sh": HERE / "postgres-entrypoint.sh"},
        stop_signal=signal.SIGINT,
    )


def mailpit(_tag: str) -> Image:
    """Returns aiosmtpd, because no package registry has Mailpit. It uses the same port and stores mails as files."""
    python = (TOOLS / "python/bin/python").resolve()
    libraries = [TOOLS] if str(python).startswith("/usr/") else [TOOLS, python.parents[1]]
    project.tool("aiosmtpd")
    return Image(
        entrypoint=[str(TOOLS / "python/bin/python"), "-m", "aiosmtpd", "--nosetuid"],
        command=["--listen", "0.0.0.0:1025", "--class", "aiosmtpd.handlers.Mailbox", f"{MAILS}/box"],
        health=Health([str(TOOLS / "python/bin/python"), "-c", ASK_SMTP]),
        is_substitute=True,
        user="10002:10002",
        folders=[MAILS],
        volumes=[MAILS],
        libraries=libraries,
        stop_signal=signal.SIGINT,
    )


@cache
def tickbell_image() -> Image:
    """Returns the image of the Dockerfile's last stage, with the built program."""
    image = Image(programs={"/usr/local/bin/tickbell": Path(project.tickbell())}, own_program=True)
    arguments: dict[str, str] = {}
    for word, rest in instructions():
        if word == "ARG":
            name, _, value = rest.partition("=")
            arguments.setdefault(name, unquoted(value))
        elif word == "ENV":
            for name, value in pairs(rest, arguments):
                image.environment[name] = value
        elif word == "USER":
            image.user = rest
        elif word == "WORKDIR":
            image.workdir = rest
        elif word == "ENTRYPOINT":
            image.entrypoint = json.loads(rest)
        elif word == "CMD":
            image.command = json.loads(rest)
        elif word == "STOPSIGNAL":
            image.stop_signal = signal.Signals[rest]
        elif word == "HEALTHCHECK":
            image.health = dockerfile_health(rest)
    return image


def instructions() -> list[tuple[str, str]]:
    """Returns the instructions of the Dockerfile's last stage."""
    if not DOCKERFILE.is_file():
        raise Failure(f"{DOCKERFILE.relative_to(project.ROOT)} does not exist")
    lines = [line for line in DOCKERFILE.read_text().splitlines() if not line.lstrip().startswith("#")]
    joined = re.sub(r"\\\n\s*", " ", "\n".join(lines))
    found = [tuple(line.split(None, 1)) for line in joined.splitlines() if re.match(r"[A-Z]+\s+\S", line)]
    last = max(number for number, (word, _) in enumerate(found) if word == "FROM")
    return [(word, rest.strip()) for word, rest in found[last:]]


def pairs(text: str, arguments: dict[str, str]) -> list[tuple[str, str]]:
    parts = [part.partition("=") for part in shlex.split(text)]

    def fill(value: str) -> str:
        return re.sub(r"\$\{?(\w+)\}?", lambda match: arguments.get(match[1], ""), value)

    return [(name, fill(value)) for name, _, value in parts]


def unquoted(value: str) -> str:
    return value.strip("\"'")


def dockerfile_health(text: str) -> Health | None:
    flags = dict(re.findall(r"--([a-z-]+)=(\S+)", text))
    command = text.partition("CMD")[2].strip()
    if not command:
        return None
    words = json.loads(command) if command.startswith("[") else ["/bin/sh", "-c", command]
    times = {name: seconds(flags[flag]) for flag, name in
             (("interval", "interval"), ("timeout", "timeout"), ("start-period", "start_period")) if flag in flags}  # fmt: skip
    return Health(words, retries=int(flags.get("retries", 3)), **times)


def seconds(text: str) -> float:
    """Parses a duration as Docker writes it, like 1m30s or 500ms, to seconds."""
    units = {"h": 3600, "m": 60, "s": 1, "ms": 0.001, "us": 0.000001}
    parts = re.findall(r"([\d.]+)(ms|us|h|m|s)", text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        raise Failure(f"{text!r} is not a duration")
    return sum(float(number) * units[unit] for number, unit in parts)
