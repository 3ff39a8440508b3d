"""Both pipelines: valid, equal, calling make targets that exist, and careful with secrets and production."""

import re
import tomllib
from functools import cache
from itertools import pairwise
from typing import NamedTuple

import project
import pytest
import yaml

# One job of each stage, in their order; a later one never starts before an earlier one has succeeded.
ORDER = ["lint", "integration", "publish", "staging", "end-to-end", "production", "smoke", "rollback"]
GITLAB = [
    ".gitlab-ci.yml",
    *sorted(f"infra/pipelines/{path.name}" for path in project.ROOT.glob("infra/pipelines/*.yml")),
]
GITHUB = sorted(f".github/workflows/{path.name}" for path in project.ROOT.glob(".github/workflows/*.yml"))
# The scripts that make runs, and the shell files that they source.
SCRIPTS = sorted(path for path in project.ROOT.glob("infra/scripts/*") if path.is_file())
SHELL = sorted([*SCRIPTS, project.ROOT / "infra/local/previous", *project.ROOT.glob("infra/scripts/lib/*.sh")])
VERSION_TAG = "/^v[0-9]/"


class Job(NamedTuple):
    """The parts of a job that both pipelines have."""

    commands: tuple[str, ...]
    needs: frozenset[str]


def read(name: str) -> dict:
    # YAML 1.1 parses the key `on` as true; GitHub reads it as text, so keys are turned into text here.
    return {str(key): value for key, value in yaml.safe_load((project.ROOT / name).read_text()).items()}


def makes(lines: list[str]) -> tuple[str, ...]:
    return tuple(line.strip() for text in lines for line in text.splitlines() if line.strip().startswith("make "))


@cache
def gitlab_jobs() -> dict[str, dict]:
    """Returns every job merged with the jobs that it extends."""
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
    """Returns every job of the release; jobs of a called workflow replace their caller."""
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
    """Returns all jobs that must succeed before this one."""
    found: set[str] = set()
    for need in jobs[name].needs:
        found |= {need} | before(jobs, need)
    return found


# --- Valid ----------------------------------------------------------------------------------------------------------


def check(schema: str, files: list[str]) -> None:
    project.output(project.tool("check-jsonschema"), "--builtin-schema", schema, *files)


def test_the_files_fit_the_gitlab_schema():
    check("vendor.gitlab-ci", GITLAB)


def test_every_gitlab_file_is_included():
    assert sorted(part["local"] for part in read(".gitlab-ci.yml")["include"]) == GITLAB[1:]


def test_jobs_have_stages_that_are_declared():
    assert {job["stage"] for job in gitlab_jobs().values()} == set(read(".gitlab-ci.yml")["stages"])


def test_the_files_fit_the_github_schemas():
    check("vendor.github-workflows", GITHUB)
    check("vendor.github-actions", sorted(map(str, project.ROOT.glob(".github/actions/*/action.yml"))))
    check("vendor.dependabot", [".github/dependabot.yml"])
    project.output(project.tool("actionlint"))


def test_every_job_has_a_timeout():
    assert read(".gitlab-ci.yml")["default"]["timeout"]
    assert not [name for name, job in github_jobs().items() if "timeout-minutes" not in job]


@pytest.mark.parametrize("script", SHELL, ids=lambda path: path.name)
def test_shellcheck_finds_nothing(script):
    project.output(project.tool("shellcheck"), script)


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_a_script_stops_at_its_first_failure(script):
    assert "set -euo pipefail" in script.read_text()
    assert script.stat().st_mode & 0o111, "it is not executable"


# --- Equal to each other, and to a developer's commands -----------------------------------------------------------------


def targets() -> set[str]:
    return set(re.findall(r"^([a-z][a-z-]*):", (project.ROOT / "Makefile").read_text(), re.MULTILINE))


@pytest.mark.parametrize("target", sorted({line.split()[1] for job in gitlab().values() for line in job.commands}))
def test_the_make_target_exists(target):
    assert target in targets()


def test_every_script_has_a_make_target():
    makefile = (project.ROOT / "Makefile").read_text()
    assert not [path.name for path in SCRIPTS if f"infra/scripts/{path.name}" not in makefile]


def test_tests_that_cargo_test_leaves_out_are_linted_too():
    """`cargo clippy --all-targets` takes what `cargo test` and `cargo bench` run, and nothing else."""
    apart = set()
    for manifest in [*project.ROOT.glob("services/**/Cargo.toml"), *project.ROOT.glob("*/Cargo.toml")]:
        if manifest.parent.name == "fuzz":  # a workspace of its own, of programs
            continue
        crate = tomllib.loads(manifest.read_text())
        apart |= {target["name"] for target in crate.get("test", []) if target.get("test") is False}
        assert all(target.get("bench", True) for target in crate.get("bench", [])), manifest
    planned = project.run("make", "--dry-run", "check").stdout
    assert set(re.findall(r"--test (\S+)", planned)) == apart
    assert "captures" in apart


def test_both_pipelines_run_the_same_commands():
    assert {name: job.commands for name, job in gitlab().items()} == {
        name: job.commands for name, job in github().items()
    }
    assert all(job.commands for job in gitlab().values()), "a job that a developer cannot run"


@pytest.mark.parametrize("name", sorted(gitlab()))
def test_both_pipelines_have_the_same_order(name):
    assert before(gitlab(), name) == before(github(), name)


@pytest.mark.parametrize("jobs", [gitlab(), github()], ids=["gitlab", "github"])
def test_stages_follow_each_other(jobs):
    for earlier, later in pairwise(ORDER):
        assert earlier in before(jobs, later)


# --- Images and artefacts ---------------------------------------------------------------------------------------------


def test_artefacts_expire_after_thirty_days():
    expiry = {name: job["artifacts"]["expire_in"] for name, job in gitlab_jobs().items() if "artifacts" in job}
    assert expiry == {"publish": "30 days", "sbom": "30 days", "dashboard-unit": "30 days"}
    uploads = {
        name: step["with"]["retention-days"]
        for name, job in github_jobs().items()
        for step in job["steps"]
        if step.get("uses", "").startswith("actions/upload-artifact@")
    }
    assert uploads == {"publish": 30, "sbom": 30, "dashboard-unit": 30}


def test_artefacts_are_written_by_scripts():
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


def test_the_dashboard_is_linted_and_tested_before_it_is_released():
    for jobs in (gitlab(), github()):
        assert {"dashboard-lint", "dashboard-unit", "dashboard-browser"} <= before(jobs, "publish")
        for environment in ("staging", "production"):
            assert jobs[f"{environment}-dashboard"].commands == (f"make deploy-dashboard ENV={environment}",)


@pytest.mark.parametrize("jobs", [gitlab(), github()], ids=["gitlab", "github"])
def test_what_may_fail_does_not_follow_a_switch_in_its_job(jobs):
    """What a failed job has made live would not be tested, and not be rolled back."""
    switches = {"promote", "site-promote", "rollback", "deploy-dashboard"}
    for name, job in jobs.items():
        made = [line.split()[1] for line in job.commands]
        assert not switches & set(made[:-1]), f"{name}: {made}"


@pytest.mark.parametrize("jobs", [gitlab(), github()], ids=["gitlab", "github"])
@pytest.mark.parametrize("page", ["dashboard", "site"])
def test_a_page_is_released_behind_a_tested_gateway_and_never_in_its_way(jobs, page):
    staging, production = f"staging-{page}", f"production-{page}"
    assert "end-to-end" in before(jobs, staging)
    assert {"smoke", staging} <= before(jobs, production)
    for name in ("end-to-end", "production", "smoke", "rollback"):
        assert not {staging, production} & before(jobs, name), name


def test_a_released_page_is_asked_about_and_its_files_are_there_before_it():
    script = (project.ROOT / "infra/scripts/dashboard").read_text()
    hashed, index = (script.index(f'"$dist/{name}" "$bucket/{name}"') for name in ("assets", "index.html"))
    assert hashed < index < script.index("create-invalidation")
    assert "--delete" not in script, "open pages still need the files of the release before"
    assert "--paths / /index.html /config.json" in script


def test_the_page_of_prices_is_deployed_and_checked():
    for jobs in (gitlab(), github()):
        for environment in ("staging", "production"):
            steps = tuple(f"make site-{step} ENV={environment}" for step in ("deploy", "promote"))
            assert jobs[f"{environment}-site"].commands == steps
        # When the test of the gateway fails, the pages are still those of the release before.
        assert jobs["rollback"].commands == ("make rollback ENV=production",)


def test_the_image_is_tagged_with_its_commit():
    for name in ("publish", "publish-kafka"):
        assert gitlab_jobs()[name]["variables"]["PUSH"] == "1"
        steps = [step for step in github_jobs()[name]["steps"] if step.get("run", "").startswith("make image")]
        assert [step["env"] for step in steps] == [{"PUSH": "1"}]
    assert read(".gitlab-ci.yml")["variables"]["COMMIT"] == "$CI_COMMIT_SHA"
    assert read(".github/workflows/release.yml")["env"]["COMMIT"] == "${{ github.sha }}"
    script = (project.ROOT / "infra/scripts/image").read_text()
    assert {"--provenance", "--sbom"} <= set(script.split())


def test_the_optional_parts_are_tested_and_the_image_of_kafka_pushed_before_they_are_deployed():
    for jobs in (gitlab(), github()):
        assert "make check-complete test-archive test-kafka" in jobs["complete"].commands
        assert jobs["publish-kafka"].commands == ("make image FEATURES=kafka",)
        assert "complete" in before(jobs, "publish") & before(jobs, "publish-kafka")
        assert "publish-kafka" in before(jobs, "staging") & before(jobs, "production")
    # The deployment gives the bridge the tag that the script makes.
    assert "suffix=-kafka" in (project.ROOT / "infra/scripts/image").read_text()
    assert '"tickbell-kafka=$image:$1-kafka"' in (project.ROOT / "infra/scripts/lib/manifests.sh").read_text()


# --- Production -------------------------------------------------------------------------------------------------------


def for_environment(environment: str) -> set[str]:
    return {name for name, job in gitlab().items() if any(f"ENV={environment}" in line for line in job.commands)}


def test_production_is_deployed_by_hand_from_a_tag():
    assert for_environment("production") == {"production", "production-dashboard", "production-site", "rollback"}
    assert gitlab_jobs()["production"]["rules"] == [{"if": f"$CI_COMMIT_TAG =~ {VERSION_TAG}", "when": "manual"}]
    when = github_jobs()["production"]["if"]
    assert when == "github.event_name == 'workflow_dispatch' && startsWith(github.ref, 'refs/tags/v')"
    assert set(read(".github/workflows/release.yml")["True"]) == {"push", "workflow_dispatch"}


def test_what_follows_production_needs_it():
    for name in ("smoke", "production-dashboard", "production-site", "rollback"):
        assert "production" in before(gitlab(), name)
        rules = gitlab_jobs()[name]["rules"]
        assert [rule["if"] for rule in rules] == [f"$CI_COMMIT_TAG =~ {VERSION_TAG}"]
        if name != "rollback":
            assert "if" not in github_jobs()[name], f"{name} would run although production was not deployed"


def test_only_a_failed_smoke_test_starts_a_rollback():
    # Of the other one it takes the program.
    assert gitlab()["rollback"].needs == github()["rollback"].needs == {"smoke", "publish"}
    assert "publish" in before(gitlab(), "smoke")
    assert [rule["when"] for rule in gitlab_jobs()["rollback"]["rules"]] == ["on_failure"]
    assert github_jobs()["rollback"]["if"] == "failure() && needs.smoke.result == 'failure'"


def test_a_merge_request_deploys_nothing():
    for name, job in gitlab_jobs().items():
        released = bool({"publish", "publish-kafka", "sbom"} & ({name} | before(gitlab(), name)))
        assert ("rules" in job) == released, f"{name} has no rule, or one too many"
    assert "pull_request" not in read(".github/workflows/release.yml")["True"]


@pytest.mark.parametrize(
    "name", sorted({"end-to-end", "smoke"} | for_environment("staging") | for_environment("production"))
)
def test_it_belongs_to_its_environment(name):
    environment = "staging" if name in {"end-to-end"} | for_environment("staging") else "production"
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
    """Yields every text of a document with its path."""
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
    text = (project.ROOT / name).read_text()
    assert not re.search(r"AWS_(ACCESS_KEY_ID|SECRET_ACCESS_KEY|SESSION_TOKEN)|aws-access-key|AKIA|secrets\.", text)
    for path, value in pairs(read(name)):
        key = path.rsplit("/", 1)[-1].lower()
        if re.search("password|secret|token$|credential", key) and key not in {"persist-credentials", "id-token"}:
            assert re.fullmatch(r"\$\{\{ .+ \}\}|\$\w+", value), f"{path} is a literal"


def test_jobs_that_read_earlier_commits_have_them():
    # Deploying and rolling back apply the manifests of a commit; check-deploy compares with those of the last release.
    commands = re.compile(r"make (deploy|rollback|check-deploy)(?:\s|$)")
    found = 0
    for name, job in gitlab_jobs().items():
        if commands.search(" ".join(job["script"])):
            assert job["variables"]["GIT_DEPTH"] == "0", name
            found += 1
    for name, job in github_jobs().items():
        if commands.search(" ".join(step.get("run", "") for step in job["steps"])):
            (clone,) = [
                step for step in job["steps"] if "checkout" in step.get("uses", "") and "path" not in step["with"]
            ]
            assert clone["with"]["fetch-depth"] == 0, name
            found += 1
    assert found == 8


def test_no_secret_is_an_argument():
    commands = [line for job in gitlab_jobs().values() for line in [*job.get("before_script", []), *job["script"]]]
    for line in commands:
        assert "PASSWORD" not in line or line.startswith("printf '%s' \"$REGISTRY_PASSWORD\" | "), line


def uses(job: dict) -> list[str]:
    return [step["uses"].split("@")[0] for step in job["steps"] if "uses" in step]


def test_jobs_have_no_more_permissions_than_they_need():
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


def test_third_party_actions_and_images_are_pinned():
    actions = [step["uses"] for job in github_jobs().values() for step in job["steps"] if "uses" in step]
    actions += [step["uses"] for step in read(".github/actions/rust/action.yml")["runs"]["steps"] if "uses" in step]
    for action in actions:
        assert action.startswith("./.github/actions/") or re.search(r"@v\d+\.\d+\.\d+$", action), action
    for job in gitlab_jobs().values():
        image = job["image"] if isinstance(job["image"], str) else job["image"]["name"]
        for name in [image, *job.get("services", [])]:
            assert re.search(r":\d+\.\d+\.\d+(-[a-z]+)?$", name), name
