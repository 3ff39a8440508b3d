"""What each image is: ours from its Dockerfile, others by the same or a similar program of this machine."""

import json
import re
import shlex
import signal
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import house

from wiring.corner import Failure

DOCKERFILE = house.ROOT / "infra/docker/Dockerfile"
HERE = Path(__file__).resolve().parent
TOOLS = house.ROOT / ".tools"
MAILS = "/mails"
ASK_SMTP = "import smtplib; smtplib.SMTP('127.0.0.1', 1025).noop()"
# As registries know it, and as compose.yaml builds it.
OURS = ("ghcr.io/tickbell/tickbell", "tickbell")


@dataclass
class Health:
    """A health check as a command, with Docker's own times where none are given."""

    command: list[str]
    interval: float = 30
    timeout: float = 30
    retries: int = 3
    start_period: float = 0


@dataclass
class Image:
    """What an image brings to a container."""

    entrypoint: list[str] = field(default_factory=list)
    command: list[str] = field(default_factory=list)
    environment: dict[str, str] = field(default_factory=dict)
    user: str = "0:0"
    workdir: str = "/"
    health: Health | None = None
    # The program is only similar: its command and its health check are the ones here, not those of compose.yaml.
    similar: bool = False
    # Folders that the image makes for its user, and those among them that are volumes.
    folders: list[str] = field(default_factory=list)
    volumes: list[str] = field(default_factory=list)
    programs: dict[str, Path] = field(default_factory=dict)
    libraries: list[Path] = field(default_factory=list)
    stop_signal: signal.Signals = signal.SIGTERM
    ours: bool = False

    def words(self, entrypoint: list[str] | None, command: list[str] | None) -> list[str]:
        """The whole command of a container that has these."""
        if self.similar:
            return [*self.entrypoint, *self.command]
        if entrypoint is not None:
            return [*entrypoint, *(command or [])]
        return [*self.entrypoint, *(command if command is not None else self.command)]


def named(reference: str) -> Image:
    """The image of a reference like `nats:2.15.1-alpine`."""
    name, _, tag = reference.rpartition(":") if ":" in reference.split("/")[-1] else (reference, "", "")
    name = name.removeprefix("docker.io/").removeprefix("library/")
    if name in OURS:
        return ours()
    kinds = {"nats": nats, "postgres": postgres, "axllent/mailpit": mailpit}
    if name not in kinds:
        raise Failure(f"nothing here can stand for the image {reference}: add it to {Path(__file__).name}")
    return kinds[name](tag)


def nats(tag: str) -> Image:
    """nats-server, with the rule of the image's entrypoint: flags alone are flags of the server."""
    if "alpine" not in tag:
        raise Failure(f"nats:{tag} has neither a shell nor wget for its health check: take the alpine one")
    return Image(
        entrypoint=["/usr/local/bin/docker-entrypoint.sh"],
        command=["nats-server", "--config", "/etc/nats/nats-server.conf"],
        programs={"nats-server": Path(house.tool("nats-server")), "docker-entrypoint.sh": HERE / "nats-entrypoint.sh"},
    )


def postgres(tag: str) -> Image:
    """The distribution's PostgreSQL, set up as the official image does it."""
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
    """aiosmtpd: Mailpit is in no package registry. It takes mails at the same port and keeps them as files."""
    python = (TOOLS / "python/bin/python").resolve()
    libraries = [TOOLS] if str(python).startswith("/usr/") else [TOOLS, python.parents[1]]
    house.tool("aiosmtpd")
    return Image(
        entrypoint=[str(TOOLS / "python/bin/python"), "-m", "aiosmtpd", "--nosetuid"],
        command=["--listen", "0.0.0.0:1025", "--class", "aiosmtpd.handlers.Mailbox", f"{MAILS}/box"],
        health=Health([str(TOOLS / "python/bin/python"), "-c", ASK_SMTP]),
        similar=True,
        user="10002:10002",
        folders=[MAILS],
        volumes=[MAILS],
        libraries=libraries,
        stop_signal=signal.SIGINT,
    )


@cache
def ours() -> Image:
    """What the last stage of the Dockerfile says, around the built program."""
    image = Image(programs={"/usr/local/bin/tickbell": Path(house.tickbell())}, ours=True)
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
    """The instructions of the Dockerfile's last stage."""
    if not DOCKERFILE.is_file():
        raise Failure(f"{DOCKERFILE.relative_to(house.ROOT)} does not exist")
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
    """A duration as Docker writes it: 1m30s, 500ms."""
    units = {"h": 3600, "m": 60, "s": 1, "ms": 0.001, "us": 0.000001}
    parts = re.findall(r"([\d.]+)(ms|us|h|m|s)", text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        raise Failure(f"{text!r} is no duration")
    return sum(float(number) * units[unit] for number, unit in parts)
