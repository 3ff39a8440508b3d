"""Both pipelines: valid, alike, calling make targets that exist, careful with secrets and with production."""

import re
from functools import cache
from itertools import pairwise
from typing import NamedTuple

import house
import pytest
import yaml

# The stages, each with a job that stands for it; a later one never starts before an earlier one is done.
ORDER = ["lint", "integration", "publish", "staging", "end-to-end", "production", "smoke", "rollback"]
GITLAB = [
    ".gitlab-ci.yml",
    *sorted(f"infra/pipelines/{path.name}" for path in house.ROOT.glob("infra/pipelines/*.yml")),
]
GITHUB = sorted(f".github/workflows/{path.name}" for path in house.ROOT.glob(".github/workflows/*.yml"))
# What make runs; a file of shell that is no script of its own ends in .sh.
SCRIPTS = sorted(path for path in house.ROOT.glob("infra/pipelines/*") if path.suffix == "")
SHELL = sorted([*SCRIPTS, *house.ROOT.glob("infra/pipelines/*.sh")])
VERSION_TAG = "/^v[0-9]/"


class Job(NamedTuple):
    """What is the same in both kinds."""

    commands: tuple[str, ...]
    needs: frozenset[str]


def read(name: str) -> dict:
    # `on` is a word for true in YAML 1.1; GitHub reads it as text, and so must a key be here.
    return {str(key): value for key, value in yaml.safe_load((house.ROOT / name).read_text()).items()}


def makes(lines: list[str]) -> tuple[str, ...]:
    return tuple(line.strip() for text in lines for line in text.splitlines() if line.strip().startswith("make "))


@cache
def gitlab_jobs() -> dict[str, dict]:
    """Every job with what it extends."""
    parts: dict[str, dict] = {}
    for name in GITLAB:
        parts |= {key: value for key, value in read(name).items() if isinstance(value, dict)}

    def whole(job: dict) -> dict:
        bases = job.get("extends", [])
        merged: dict = {}
        for base in [bases] if isinstance(bases, str) else bases:
            merged |= whole(parts[base])
        return merged | job

    return {key: whole(job) for key, job in parts.items() if "script" in job}


@cache
def github_jobs() -> dict[str, dict]:
    """Every job of the release, with those of the workflow that it calls in the caller's place."""
    jobs, called = {}, {}
    for name, job in read(".github/workflows/release.yml")["jobs"].items():
        if "uses" in job:
            called[name] = read(job["uses"].removeprefix("./"))["jobs"]
            jobs |= called[name]
        else:
            jobs[name] = job
    for job in jobs.values():
        needs = job.get("needs", [])
        needs = [needs] if isinstance(needs, str) else needs
        job["needs"] = [inner for need in needs for inner in called.get(need, [need])]
    return jobs


def gitlab() -> dict[str, Job]:
    return {name: Job(makes(job["script"]), frozenset(job["needs"])) for name, job in gitlab_jobs().items()}


def github() -> dict[str, Job]:
    def lines(job: dict) -> list[str]:
        return [step["run"] for step in job["steps"] if "run" in step]

    return {name: Job(makes(lines(job)), frozenset(job["needs"])) for name, job in github_jobs().items()}


def before(jobs: dict[str, Job], name: str) -> set[str]:
    """Every job that must be done before this one."""
    found: set[str] = set()
    for need in jobs[name].needs:
        found |= {need} | before(jobs, need)
    return found


# --- Valid ----------------------------------------------------------------------------------------------------------


def check(schema: str, files: list[str]) -> None:
    house.output(house.tool("check-jsonschema"), "--builtin-schema", schema, *files)


def test_gitlab_would_take_it():
    check("vendor.gitlab-ci", GITLAB)


def test_all_parts_are_included():
    assert sorted(part["local"] for part in read(".gitlab-ci.yml")["include"]) == GITLAB[1:]


def test_jobs_have_stages_that_are_declared():
    assert {job["stage"] for job in gitlab_jobs().values()} == set(read(".gitlab-ci.yml")["stages"])


def test_github_would_take_it():
    check("vendor.github-workflows", GITHUB)
    check("vendor.github-actions", sorted(map(str, house.ROOT.glob(".github/actions/*/action.yml"))))
    check("vendor.dependabot", [".github/dependabot.yml"])
    house.output(house.tool("actionlint"))


def test_no_job_hangs_for_hours():
    assert read(".gitlab-ci.yml")["default"]["timeout"]
    assert not [name for name, job in github_jobs().items() if "timeout-minutes" not in job]


@pytest.mark.parametrize("script", SHELL, ids=lambda path: path.name)
def test_shellcheck_has_nothing_to_say(script):
    house.output(house.tool("shellcheck"), script)


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_a_script_stops_at_its_first_mistake(script):
    assert "set -euo pipefail" in script.read_text()
    assert script.stat().st_mode & 0o111, "it cannot be run"


# --- The same as a developer's, and as each other ---------------------------------------------------------------------


def targets() -> set[str]:
    return set(re.findall(r"^([a-z][a-z-]*):", (house.ROOT / "Makefile").read_text(), re.MULTILINE))


@pytest.mark.parametrize("target", sorted({line.split()[1] for job in gitlab().values() for line in job.commands}))
def test_make_knows(target):
    assert target in targets()


def test_every_script_has_its_target():
    makefile = (house.ROOT / "Makefile").read_text()
    assert not [path.name for path in SCRIPTS if f"infra/pipelines/{path.name}" not in makefile]


def test_both_do_the_same():
    assert {name: job.commands for name, job in gitlab().items()} == {
        name: job.commands for name, job in github().items()
    }
    assert all(job.commands for job in gitlab().values()), "a job that a developer cannot run"


@pytest.mark.parametrize("name", sorted(gitlab()))
def test_both_do_it_in_the_same_order(name):
    assert before(gitlab(), name) == before(github(), name)


@pytest.mark.parametrize("jobs", [gitlab(), github()], ids=["gitlab", "github"])
def test_stages_follow_each_other(jobs):
    for earlier, later in pairwise(ORDER):
        assert earlier in before(jobs, later)


# --- Images and artefacts ---------------------------------------------------------------------------------------------


def test_artefacts_are_kept_for_thirty_days():
    kept = {name: job["artifacts"]["expire_in"] for name, job in gitlab_jobs().items() if "artifacts" in job}
    assert kept == {"publish": "30 days", "sbom": "30 days"}
    uploads = {
        name: step["with"]["retention-days"]
        for name, job in github_jobs().items()
        for step in job["steps"]
        if step.get("uses", "").startswith("actions/upload-artifact@")
    }
    assert uploads == {"publish": 30, "sbom": 30}


def test_artefacts_are_what_scripts_make():
    paths = {path for job in gitlab_jobs().values() for path in job.get("artifacts", {}).get("paths", [])}
    uploaded = {
        step["with"]["path"]
        for job in github_jobs().values()
        for step in job["steps"]
        if "retention-days" in step.get("with", {})
    }
    assert paths == uploaded
    texts = "".join(path.read_text() for path in SCRIPTS)
    for path in paths:
        folder, name = path.rsplit("/", 1)
        assert folder in texts
        assert name in texts
    assert read(".gitlab-ci.yml")["variables"]["TICKBELL"] in paths
    assert read(".github/workflows/release.yml")["env"]["TICKBELL"] in paths


def test_the_image_goes_to_the_registry_by_its_commit():
    assert gitlab_jobs()["publish"]["variables"]["PUSH"] == "1"
    assert [step["env"] for step in github_jobs()["publish"]["steps"] if step.get("run") == "make image"] == [
        {"PUSH": "1"}
    ]
    assert read(".gitlab-ci.yml")["variables"]["COMMIT"] == "$CI_COMMIT_SHA"
    assert read(".github/workflows/release.yml")["env"]["COMMIT"] == "${{ github.sha }}"
    script = (house.ROOT / "infra/pipelines/image").read_text()
    assert {"--provenance", "--sbom"} <= set(script.split())


# --- Production -------------------------------------------------------------------------------------------------------


def for_environment(environment: str) -> set[str]:
    return {name for name, job in gitlab().items() if any(f"ENV={environment}" in line for line in job.commands)}


def test_production_is_a_decision_on_a_tag():
    assert for_environment("production") == {"production", "rollback"}
    assert gitlab_jobs()["production"]["rules"] == [{"if": f"$CI_COMMIT_TAG =~ {VERSION_TAG}", "when": "manual"}]
    when = github_jobs()["production"]["if"]
    assert when == "github.event_name == 'workflow_dispatch' && startsWith(github.ref, 'refs/tags/v')"
    assert set(read(".github/workflows/release.yml")["True"]) == {"push", "workflow_dispatch"}


def test_what_follows_production_has_no_way_around_it():
    for name in ("smoke", "rollback"):
        assert "production" in before(gitlab(), name)
        rules = gitlab_jobs()[name]["rules"]
        assert [rule["if"] for rule in rules] == [f"$CI_COMMIT_TAG =~ {VERSION_TAG}"]
    assert "if" not in github_jobs()["smoke"], "it would run although production was not deployed"


def test_a_rollback_follows_a_failed_smoke_test_alone():
    assert gitlab()["rollback"].needs == {"smoke"}
    assert [rule["when"] for rule in gitlab_jobs()["rollback"]["rules"]] == ["on_failure"]
    assert github_jobs()["rollback"]["if"] == "failure() && needs.smoke.result == 'failure'"


def test_a_merge_request_deploys_nothing():
    for name, job in gitlab_jobs().items():
        released = bool({"publish", "sbom"} & ({name} | before(gitlab(), name)))
        assert ("rules" in job) == released, f"{name} has no rule, or one too many"
    assert "pull_request" not in read(".github/workflows/release.yml")["True"]


@pytest.mark.parametrize("name", ["staging", "end-to-end", "production", "smoke", "rollback"])
def test_it_belongs_to_its_environment(name):
    environment = "staging" if name in {"staging", "end-to-end"} else "production"
    assert gitlab_jobs()[name]["environment"]["name"] == environment
    assert github_jobs()[name]["environment"]["name"] == environment
    assert gitlab_jobs()[name]["interruptible"] is False


def test_deployments_do_not_overlap():
    for environment in ("staging", "production"):
        for name in for_environment(environment):
            assert gitlab_jobs()[name]["resource_group"] == environment
    assert read(".github/workflows/release.yml")["concurrency"] == {"group": "release", "cancel-in-progress": False}


# --- Secrets ----------------------------------------------------------------------------------------------------------


def pairs(value, path: str = ""):
    """Every text in a document with the way to it."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from pairs(inner, f"{path}/{key}")
    elif isinstance(value, list):
        for inner in value:
            yield from pairs(inner, path)
    else:
        yield path, str(value)


@pytest.mark.parametrize("name", [*GITLAB, *GITHUB])
def test_it_holds_no_secret(name):
    text = (house.ROOT / name).read_text()
    assert not re.search(r"AWS_(ACCESS_KEY_ID|SECRET_ACCESS_KEY|SESSION_TOKEN)|aws-access-key|AKIA|secrets\.", text)
    for path, value in pairs(read(name)):
        key = path.rsplit("/", 1)[-1].lower()
        if re.search("password|secret|token$|credential", key) and key not in {"persist-credentials", "id-token"}:
            assert re.fullmatch(r"\$\{\{ .+ \}\}|\$\w+", value), f"{path} is written down"


def test_no_secret_is_an_argument():
    commands = [line for job in gitlab_jobs().values() for line in [*job.get("before_script", []), *job["script"]]]
    for line in commands:
        assert "PASSWORD" not in line or line.startswith("printf '%s' \"$REGISTRY_PASSWORD\" | "), line


def uses(job: dict) -> list[str]:
    return [step["uses"].split("@")[0] for step in job["steps"] if "uses" in step]


def test_jobs_may_do_no_more_than_they_must():
    for name in GITHUB:
        assert read(name)["permissions"] == {"contents": "read"}
    for name, job in github_jobs().items():
        wanted = {"contents": "read"}
        if "docker/login-action" in uses(job):
            wanted["packages"] = "write"
        if {"aws-actions/configure-aws-credentials", "sigstore/cosign-installer"} & set(uses(job)):
            wanted["id-token"] = "write"
        assert job.get("permissions", {"contents": "read"}) == wanted, name


def test_no_job_leaves_its_token_in_the_clone():
    for name, job in github_jobs().items():
        for step in job["steps"]:
            if step.get("uses", "").startswith("actions/checkout@"):
                assert step["with"]["persist-credentials"] is False, name


def test_everything_foreign_is_pinned():
    actions = [step["uses"] for job in github_jobs().values() for step in job["steps"] if "uses" in step]
    actions += [step["uses"] for step in read(".github/actions/rust/action.yml")["runs"]["steps"] if "uses" in step]
    for action in actions:
        assert action.startswith("./.github/actions/") or re.search(r"@v\d+\.\d+\.\d+$", action), action
    for job in gitlab_jobs().values():
        image = job["image"] if isinstance(job["image"], str) else job["image"]["name"]
        for name in [image, *job.get("services", [])]:
            assert re.search(r":\d+\.\d+\.\d+(-[a-z]+)?$", name), name
