"""What checks compare files with: read from the code and from the built program, never repeated here."""

import os
import re
import shutil
import subprocess
import tomllib
from functools import cache
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[2]
# The schemas of custom resources lie beside the clone.
SHARED = Path(os.environ.get("TICKBELL_SHARED", ROOT / ".." / "shared")).resolve()
CRDS = SHARED / "crds"
ROLES_SQL, MIGRATIONS = "services/core/store/roles.sql", "services/core/store/migrations"
# The modules with the descriptors of the services, one each.
DESCRIPTORS = ROOT / "services/tickbell/src/services"
# Crates under services/ that are not deployed as a service of their own.
NOT_SERVICES = {"e2e", "tickbell"}
# Services with an image of their own, which run where somebody adds them: a profile of compose, a component, a value of the chart.
OPTIONAL_SERVICES = {"kafka-bridge"}
# The design of the services: all others connect to both servers and run in production.
DEMO_SERVICES = {"coinnews"}
WITHOUT_BROKER = {"coinnews", "archiver"}
WITHOUT_DATABASE = {"coinnews"}


def tool(name: str) -> str:
    """Returns the path of a program that a check needs; fails if it is not installed."""
    for folder in (ROOT / ".tools/bin", ROOT / ".tools/python/bin"):
        if (folder / name).is_file():
            return str(folder / name)
    found = shutil.which(name)
    assert found, f"{name} is not installed: run `make tools-deploy`"
    return found


def run(
    *command: str | Path, env: dict[str, str] | None = None, stdin: str | None = None
) -> subprocess.CompletedProcess:
    """Runs a command in the root of the repository and returns its status and output."""
    return subprocess.run(
        [str(part) for part in command], cwd=ROOT, env=env, input=stdin, capture_output=True, text=True, check=False
    )


def output(*command: str | Path, **kwargs) -> str:
    """Returns the standard output of a command that must succeed."""
    done = run(*command, **kwargs)
    assert done.returncode == 0, (
        f"{' '.join(map(str, command))} exited with {done.returncode}:\n{done.stdout}{done.stderr}"
    )
    return done.stdout


def documents(text: str) -> list[dict]:
    """Returns the YAML documents of a text that are not empty."""
    return [document for document in yaml.safe_load_all(text) if document]


@cache
def baseline() -> str:
    """Returns what a change is compared with: the newest release before this commit, or the commit that stands for one."""
    newest = run("git", "describe", "--tags", "--abbrev=0", "--match", "v[0-9]*", "HEAD^")
    named = newest.stdout.strip() or (ROOT / "infra/pipelines/baseline").read_text().split()[-1]
    found = run("git", "rev-parse", "--verify", "--quiet", f"{named}^{{commit}}")
    assert found.returncode == 0, f"this clone does not have {named}: git fetch --unshallow --tags"
    return found.stdout.strip()


@cache
def tickbell() -> str:
    """Returns the path of the built program."""
    built = ROOT / "target/release/tickbell"
    assert built.is_file(), (
        "the program is not built: run `cargo build --release --locked -p tickbell --features export`"
    )
    return str(built)


@cache
def services() -> list[str]:
    """Returns every service of the program: folder = crate = subcommand = Deployment.

    The descriptors in the source are the list. A test compares it with the folders.
    """
    # The names of a descriptor's flags stand deeper.
    name = re.compile(r'^    name: "([a-z0-9-]+)"', re.MULTILINE)
    names = {found for module in DESCRIPTORS.glob("*.rs") for found in name.findall(module.read_text())}
    return sorted(names - OPTIONAL_SERVICES)


def folders_of_services() -> list[str]:
    """Returns the crates directly under services/ that are services."""
    folders = sorted(path.parent.name for path in ROOT.glob("services/*/Cargo.toml"))
    return [name for name in folders if name not in NOT_SERVICES | OPTIONAL_SERVICES]


def sources(folder: str) -> list[Path]:
    """Returns the Rust sources of the crates below a folder, without those of tests/ and target/."""
    return [path for path in sorted((ROOT / folder).rglob("*.rs")) if "src" in path.relative_to(ROOT).parts]


@cache
def setting_keys() -> dict[str, object]:
    """Returns every setting with its default, like `gateway.listen`. A unit test compares the sample with the program."""
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
    """Returns every environment variable that is a setting."""
    nested = {"TICKBELL_" + key.upper().replace(".", "__") for key in setting_keys()}
    return nested | {"NATS_URL", "DATABASE_URL"}


@cache
def own_metrics() -> set[str]:
    """Returns every metric that the code records; histograms with the suffixes of their series."""
    names: set[str] = set()
    for source in sources("services"):
        for kind, name in re.findall(r'\b(counter|gauge|histogram)!\(\s*"(\w+)"', source.read_text()):
            suffixes = ("_bucket", "_sum", "_count") if kind == "histogram" else ("",)
            names |= {name + suffix for suffix in suffixes}
    return names


@cache
def own_labels() -> dict[str, set[str]]:
    """Returns the labels that the code gives to each metric; a scrape adds its own."""
    call = re.compile(r'\b(?:counter|gauge|histogram)!\(\s*"(\w+)"([^;}]*)')
    found: dict[str, set[str]] = {}
    for source in sources("services"):
        for name, labels in call.findall(source.read_text()):
            found.setdefault(name, set()).update(re.findall(r'"(\w+)" =>', labels))
    return found


def check_settings(arguments: list[str], environment: dict[str, str]) -> str | None:
    """Returns the program's objections to a subcommand and its environment, or None."""
    done = run(tickbell(), *arguments, "--check-settings", env={"PATH": "/usr/bin:/bin", **environment})
    return None if done.returncode == 0 else f"{done.stdout}{done.stderr}".strip()


@cache
def dockerfile() -> list[list[tuple[str, str]]]:
    """Returns the stages of the Dockerfile: each is a list of instructions with their arguments on one line."""
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
    """Returns the environment that our image gives to every container."""
    pairs = " ".join(arguments for word, arguments in dockerfile()[-1] if word == "ENV")
    return dict(pair.split("=", 1) for pair in pairs.split())


@cache
def image_ports() -> set[int]:
    """Returns the ports on which containers of our image listen."""
    return {int(value.rsplit(":", 1)[1]) for key, value in image_environment().items() if key.endswith("__LISTEN")}
