"""Facts of the house that checks compare with: read from the code and from the built program, never written down here."""

import os
import re
import shutil
import subprocess
import tomllib
from functools import cache
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[2]
# Schemas of custom resources lie beside the clone.
SHARED = Path(os.environ.get("TICKBELL_SHARED", ROOT / ".." / "shared")).resolve()
CRDS = SHARED / "crds"
# Crates under services/ that no subcommand runs.
NO_ROLES = {"journeys", "platform", "prices", "store", "tickbell"}


def tool(name: str) -> str:
    """The path of a program that a check needs. A check that lacks its tool fails."""
    for folder in (ROOT / ".tools/bin", ROOT / ".tools/python/bin"):
        if (folder / name).is_file():
            return str(folder / name)
    found = shutil.which(name)
    assert found, f"{name} is not installed: run `make tools-deploy`"
    return found


def run(
    *command: str | Path, env: dict[str, str] | None = None, stdin: str | None = None
) -> subprocess.CompletedProcess:
    """Runs a command with the repository as its folder, and returns what it said."""
    return subprocess.run(
        [str(part) for part in command], cwd=ROOT, env=env, input=stdin, capture_output=True, text=True, check=False
    )


def output(*command: str | Path, **kwargs) -> str:
    """What a command that must succeed printed."""
    done = run(*command, **kwargs)
    assert done.returncode == 0, (
        f"{' '.join(map(str, command))} ended with {done.returncode}:\n{done.stdout}{done.stderr}"
    )
    return done.stdout


def documents(text: str) -> list[dict]:
    """All YAML documents of a text that hold something."""
    return [document for document in yaml.safe_load_all(text) if document]


@cache
def tickbell() -> str:
    """The built program."""
    built = ROOT / "target/release/tickbell"
    assert built.is_file(), "the program is not built: run `cargo build --release --locked -p tickbell`"
    return str(built)


@cache
def roles() -> list[str]:
    """Every service that the program can be: folder = crate = subcommand = Deployment."""
    folders = sorted(path.parent.name for path in ROOT.glob("services/*/Cargo.toml"))
    return [name for name in folders if name not in NO_ROLES]


@cache
def setting_keys() -> dict[str, object]:
    """Every setting with its default, like `gateway.listen`. A unit test holds the sample file to the program."""
    keys: dict[str, object] = {}
    section = ""
    for line in (ROOT / "tickbell.example.toml").read_text().splitlines():
        if header := re.fullmatch(r"\[([a-z_.]+)\]", line):
            section = header[1]
        elif setting := re.fullmatch(r"(?:# )?([a-z_]+ = .+)", line):
            for key, value in tomllib.loads(setting[1]).items():
                keys[f"{section}.{key}"] = value
    return keys


def setting_variables() -> set[str]:
    """Every environment variable that is a setting."""
    nested = {"TICKBELL_" + key.upper().replace(".", "__") for key in setting_keys()}
    return nested | {"NATS_URL", "DATABASE_URL"}


@cache
def own_metrics() -> set[str]:
    """Every metric that the code records; histograms with the suffixes that they are scraped under."""
    names: set[str] = set()
    for source in ROOT.glob("services/*/src/**/*.rs"):
        for kind, name in re.findall(r'\b(counter|gauge|histogram)!\(\s*"(\w+)"', source.read_text()):
            suffixes = ("_bucket", "_sum", "_count") if kind == "histogram" else ("",)
            names |= {name + suffix for suffix in suffixes}
    return names


@cache
def own_labels() -> dict[str, set[str]]:
    """The labels that the code gives to each metric; a scrape adds its own."""
    call = re.compile(r'\b(?:counter|gauge|histogram)!\(\s*"(\w+)"([^;}]*)')
    found: dict[str, set[str]] = {}
    for source in ROOT.glob("services/*/src/**/*.rs"):
        for name, labels in call.findall(source.read_text()):
            found.setdefault(name, set()).update(re.findall(r'"(\w+)" =>', labels))
    return found


def check_settings(arguments: list[str], environment: dict[str, str]) -> str | None:
    """What the program says against a subcommand with its environment, or nothing."""
    done = run(tickbell(), *arguments, "--check-settings", env={"PATH": "/usr/bin:/bin", **environment})
    return None if done.returncode == 0 else f"{done.stdout}{done.stderr}".strip()


@cache
def dockerfile() -> list[list[tuple[str, str]]]:
    """The stages of the Dockerfile: each a list of instructions with their arguments on one line."""
    text = (ROOT / "infra/docker/Dockerfile").read_text()
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    stages: list[list[tuple[str, str]]] = []
    for line in re.sub(r"\s*\\\n\s*", " ", "\n".join(lines)).splitlines():
        word, _, arguments = line.partition(" ")
        if word == "FROM":
            stages.append([])
        stages[-1].append((word, arguments))
    return stages


@cache
def image_environment() -> dict[str, str]:
    """What every container of our image has in its environment."""
    pairs = " ".join(arguments for word, arguments in dockerfile()[-1] if word == "ENV")
    return dict(pair.split("=", 1) for pair in pairs.split())


@cache
def image_ports() -> set[int]:
    """Where a container of our image listens."""
    return {int(value.rsplit(":", 1)[1]) for key, value in image_environment().items() if key.endswith("__LISTEN")}
