"""site-deploy, site-promote and site-rollback against a fake aws that remembers task definitions and records every call."""

import json
import os
import stat
import sys
from pathlib import Path

import project
import pytest

COMMIT = "c" * 40
BUCKET = "s3://tickbell-staging-site-111122223333"
FAMILY = "tickbell-staging-site-blue"
# The fake is a JSON file: {definition, live_image, network, exit_code, calls}.
FAKE_AWS = f"""#!{sys.executable}
import json, pathlib, sys
file = pathlib.Path(__file__).with_name("aws.json")
state = json.loads(file.read_text())
command, given = " ".join(sys.argv[1:3]), dict(zip(sys.argv[3::2], sys.argv[4::2]))
state["calls"].append([command, given])
answer = None
match command:
    case "ecs describe-task-definition":
        definition = state["definition"]
        if given["--task-definition"] != definition["family"]:
            assert given["--query"] == "taskDefinition.containerDefinitions[0].image", given
            answer = state["live_image"]
        else:
            answer = json.dumps(definition)
    case "ecs register-task-definition":
        state["registered"] = json.loads(pathlib.Path(given["--cli-input-json"].removeprefix("file://")).read_text())
        answer = "arn:revision:8"
    case "events list-targets-by-rule":
        answer = json.dumps(state["network"])
    case "ecs run-task":
        answer = "arn:task"
    case "ecs describe-tasks":
        answer = str(state["exit_code"])
file.write_text(json.dumps(state))
if answer is not None:
    print(answer)
"""
FAKE_TICKBELL = """#!/bin/sh
printf '%s\\n' "$*" >> "${0%/*}/tickbell.log"
[ "$2" != status ] || cat "${0%/*}/status.json"
[ "$2" != status ] || exit 1
"""
OLD = "b" * 40


class Site:
    """A folder with both fakes, and the script that is run against them."""

    def __init__(self, folder: Path):
        self.folder = folder
        for name, text in {"aws": FAKE_AWS, "tickbell": FAKE_TICKBELL}.items():
            (folder / name).write_text(text)
            (folder / name).chmod(stat.S_IRWXU)
        definition = {
            "taskDefinitionArn": "arn:revision:7",
            "revision": 7,
            "status": "ACTIVE",
            "registeredAt": "2026-11-29T00:00:00Z",
            "family": FAMILY,
            "taskRoleArn": "arn:role/blue",
            "executionRoleArn": "arn:role/start",
            "networkMode": "awsvpc",
            "requiresCompatibilities": ["FARGATE"],
            "cpu": "256",
            "memory": "512",
            "containerDefinitions": [{"name": "site", "image": "ghcr.io/tickbell/tickbell:old", "command": ["export"]}],
        }
        network = {"Subnets": ["subnet-1"], "SecurityGroups": ["sg-1"], "AssignPublicIp": "DISABLED"}
        image = f"ghcr.io/tickbell/tickbell:{OLD}"
        self.write(
            {"definition": definition, "live_image": image, "network": network, "exit_code": 0, "calls": []},
        )
        self.shows(live="green", commit=OLD)

    def write(self, state: dict) -> None:
        (self.folder / "aws.json").write_text(json.dumps(state))

    def shows(self, live: str | None, commit: str | None) -> None:
        """Sets what `site status` says; the live copy is not healthy without a commit."""
        copy = {"healthy": True, "commit": commit} if commit else {"healthy": False, "problem": "too old"}
        idle = "blue" if live == "green" else "green"
        status = {"live": live, "idle": idle, "copies": {live: copy} if live else {}}
        (self.folder / "status.json").write_text(json.dumps(status))

    def state(self) -> dict:
        return json.loads((self.folder / "aws.json").read_text())

    def calls(self) -> list[str]:
        return [command for command, _ in self.state()["calls"]]

    def commands(self) -> list[str]:
        log = self.folder / "tickbell.log"
        return log.read_text().splitlines() if log.exists() else []

    def run(self, action: str, **given: str):
        environment = {
            "PATH": f"{self.folder}:{os.environ['PATH']}",
            "TICKBELL": str(self.folder / "tickbell"),
            "ENV": "staging",
            "COMMIT": COMMIT,
            "SITE": BUCKET,
            "SITE_URL": "https://prices.staging.example",
            "SITE_CLUSTER": "tickbell-staging-site",
        }
        return project.run(project.ROOT / "infra/scripts/site", action, env=environment | given)


@pytest.fixture
def site(tmp_path):
    return Site(tmp_path)


def test_the_idle_copy_is_written_once_by_the_new_commit(site):
    done = site.run("deploy")
    assert done.returncode == 0, done.stderr
    registered = site.state()["registered"]
    (container,) = registered["containerDefinitions"]
    assert container == {"name": "site", "image": f"ghcr.io/tickbell/tickbell:{COMMIT}", "command": ["export"]}
    assert registered["taskRoleArn"] == "arn:role/blue"
    assert not {"revision", "status", "taskDefinitionArn", "registeredAt", "runtimePlatform"} & set(registered)
    ran = dict(site.state()["calls"])["ecs run-task"]
    assert ran["--task-definition"] == "arn:revision:8"
    assert json.loads(ran["--network-configuration"]) == {
        "awsvpcConfiguration": {"subnets": ["subnet-1"], "securityGroups": ["sg-1"], "assignPublicIp": "DISABLED"}
    }
    assert dict(site.state()["calls"])["events list-targets-by-rule"]["--rule"] == FAMILY
    assert "ecs deregister-task-definition" not in site.calls()
    assert site.commands() == [f"site status --site {BUCKET} --json"], "the pointer is switched by promote"


@pytest.mark.parametrize("healthy", [True, False], ids=["healthy", "not-healthy"])
def test_a_repeated_release_leaves_the_copy_that_a_rollback_returns_to(site, healthy):
    site.shows(live="green", commit=COMMIT if healthy else None)
    site.write(site.state() | {"live_image": f"ghcr.io/tickbell/tickbell:{COMMIT}"})
    done = site.run("deploy")
    assert done.returncode == 0, done.stderr
    assert f"green is live and has {COMMIT} already" in done.stderr
    assert not {"ecs register-task-definition", "ecs run-task"} & set(site.calls())


@pytest.mark.parametrize(("live", "commit"), [("green", None), (None, None)], ids=["not-healthy", "first"])
def test_a_copy_that_is_not_healthy_keeps_no_better_one_away(site, live, commit):
    site.shows(live=live, commit=commit)
    state = site.state()
    site.write(
        state | {"definition": state["definition"] | {"family": FAMILY if live else FAMILY.replace("blue", "green")}}
    )
    done = site.run("deploy")
    assert done.returncode == 0, done.stderr
    assert "ecs run-task" in site.calls()


def test_a_commit_whose_task_fails_leaves_no_revision(site):
    site.write(site.state() | {"exit_code": 69})
    done = site.run("deploy")
    assert done.returncode == 1
    assert "ended with status 69" in done.stderr
    assert site.calls()[-1] == "ecs deregister-task-definition"
    assert site.state()["calls"][-1][1] == {"--task-definition": "arn:revision:8"}


def test_a_task_without_a_network_is_not_run(site):
    site.write(site.state() | {"network": None})
    done = site.run("deploy")
    assert done.returncode == 1
    assert "names no network" in done.stderr
    assert "ecs run-task" not in site.calls()
    assert site.calls()[-1] == "ecs deregister-task-definition"


def test_only_the_copy_of_this_commit_is_promoted(site):
    assert site.run("promote").returncode == 0
    assert site.run("rollback").returncode == 0
    where = f"--site {BUCKET} --url https://prices.staging.example"
    assert site.commands() == [f"site promote {where} --release {COMMIT}", f"site rollback {where}"]
    assert site.calls() == []


@pytest.mark.parametrize("action", ["deploy", "promote", "rollback"])
def test_an_environment_without_a_page_does_nothing(site, action):
    done = site.run(action, SITE="")
    assert done.returncode == 0
    assert "has no page of prices" in done.stderr
    assert site.commands() == site.calls() == []


@pytest.mark.parametrize(
    ("given", "said"),
    [({"ENV": "test"}, "ENV=staging"), ({"COMMIT": "main"}, "full commit hash"), ({"SITE_URL": ""}, "SITE_URL")],
)
def test_what_is_missing_is_said(site, given, said):
    done = site.run("promote", **given)
    assert done.returncode == 1
    assert said in done.stderr
    assert site.commands() == []
