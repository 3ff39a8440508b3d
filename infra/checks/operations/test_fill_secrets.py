"""fill-secrets against a fake aws that holds the entries of Secrets Manager in a file and records every call."""

import base64
import hashlib
import hmac
import json
import os
import re
import stat
import sys
from pathlib import Path
from urllib.parse import urlsplit

import project
import pytest

PREFIX = "tickbell/staging/"
RELAY = "smtps://relay:m41lpa55@mail.example:465"
# The fake is a JSON file: {entries, refused, calls}. It refuses to write the entry `refused`, once.
FAKE_AWS = f"""#!{sys.executable}
import json, pathlib, sys
file = pathlib.Path(__file__).with_name("aws.json")
state = json.loads(file.read_text())
service, command, *rest = sys.argv[1:]
given = dict(zip(rest[::2], rest[1::2]))
state["calls"].append(sys.argv[1:])
assert service == "secretsmanager" and given["--output"] == "json", sys.argv
entries, name = state["entries"], given["--secret-id"]
answer, status = {{}}, 0
match command:
    case "list-secret-version-ids":
        answer = {{"Versions": [{{"VersionStages": ["AWSCURRENT"]}}] if name in entries else []}}
    case "get-secret-value":
        answer = {{"SecretString": entries[name]}}
    case "put-secret-value":
        assert given["--secret-string"] == "file:///dev/stdin"
        if state.get("refused") == name:
            del state["refused"]
            status = 254
        else:
            entries[name] = sys.stdin.read()
    case _:
        status = 252
file.write_text(json.dumps(state))
print(json.dumps(answer))
sys.exit(status)
"""


class Store:
    """A folder with the fake, and the script that is run against it."""

    def __init__(self, folder: Path):
        self.file = folder / "aws.json"
        self.path = f"{folder}:{os.environ['PATH']}"
        (folder / "aws").write_text(FAKE_AWS)
        (folder / "aws").chmod(stat.S_IRWXU)
        self.write({"entries": {}, "calls": []})

    def write(self, state: dict) -> None:
        self.file.write_text(json.dumps(state))

    def state(self) -> dict:
        return json.loads(self.file.read_text())

    def entries(self) -> dict[str, dict[str, str]]:
        return {name.removeprefix(PREFIX): json.loads(text) for name, text in self.state()["entries"].items()}

    def keep(self, entries: dict[str, dict[str, str]]) -> None:
        """Makes the entries what they are in an environment of an earlier release."""
        self.write({"entries": {PREFIX + name: json.dumps(value) for name, value in entries.items()}, "calls": []})

    def written(self) -> list[str]:
        calls = [call for call in self.state()["calls"] if call[1] == "put-secret-value"]
        return [call[call.index("--secret-id") + 1].removeprefix(PREFIX) for call in calls]

    def run(self, *options: str, relay: str = ""):
        script = project.ROOT / "infra/terraform/fill-secrets"
        arguments = ("staging", "--database-host", "db.example", *options)
        return project.run("setsid", "--wait", sys.executable, script, *arguments, env={"PATH": self.path}, stdin=relay)


@pytest.fixture
def filled(tmp_path) -> Store:
    """The entries of a new environment."""
    store = Store(tmp_path)
    done = store.run(relay=f"{RELAY}\n")
    assert done.returncode == 0, done.stderr
    return store


def roles_of(sql: str) -> set[str]:
    return set(re.findall(r"^ALTER ROLE (\w+) LOGIN PASSWORD", sql, re.MULTILINE))


def accepts(sql: str, url: str) -> bool:
    """Returns whether the last statement about the role of a URL gives it the password of the URL (RFC 5803)."""
    user = urlsplit(url)
    verifiers = re.findall(rf"^ALTER ROLE {user.username} LOGIN PASSWORD '([^']+)';$", sql, re.MULTILINE)
    rounds, salt = verifiers[-1].split("$")[1].split(":")
    salted = hashlib.pbkdf2_hmac("sha256", user.password.encode(), base64.b64decode(salt), int(rounds))
    stored = hashlib.sha256(hmac.digest(salted, b"Client Key", "sha256")).digest()
    return f"${base64.b64encode(stored).decode()}:" in verifiers[-1]


def test_a_release_that_needs_more_gets_what_is_absent_and_changes_nothing(filled):
    before = filled.entries()
    del before["archiver"], before["kafka-bridge"], before["nats"]["NATS_PASSWORD_KAFKA_BRIDGE"]
    filled.keep(before)
    done = filled.run("--add")
    assert done.returncode == 0, done.stderr
    after = filled.entries()
    assert filled.written() == ["archiver", "kafka-bridge", "nats"]
    assert {name: after[name] for name in before if name != "nats"} == {
        name: value for name, value in before.items() if name != "nats"
    }
    assert after["nats"] == before["nats"] | {
        "NATS_PASSWORD_KAFKA_BRIDGE": urlsplit(after["kafka-bridge"]["NATS_URL"]).password
    }
    assert roles_of(done.stdout) == {"tickbell_archiver", "tickbell_kafka_bridge"}
    assert all(accepts(done.stdout, after[name]["DATABASE_URL"]) for name in ("archiver", "kafka-bridge"))
    assert "GRANT CONNECT ON DATABASE tickbell TO tickbell_archiver, tickbell_kafka_bridge;" in done.stdout
    assert "OWNER" not in done.stdout and "tickbell_monitor" not in done.stdout


def test_where_nothing_is_absent_nothing_is_written(filled):
    filled.keep(filled.entries())
    done = filled.run("--add")
    assert (done.returncode, done.stdout, filled.written()) == (0, "", [])
    assert "New roles of the database: none." in done.stderr


def test_one_side_of_a_password_gets_what_the_other_has(filled):
    before = filled.entries()
    key = before["nats"].pop("NATS_PASSWORD_OPERATOR")
    links = before["gateway"].pop("TICKBELL_LINKS__SECRET")
    url = before["alert-engine"].pop("NATS_URL")
    filled.keep(before)
    done = filled.run("--add")
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    after = filled.entries()
    assert after["nats"]["NATS_PASSWORD_OPERATOR"] == key
    assert after["gateway"]["TICKBELL_LINKS__SECRET"] == links
    assert after["alert-engine"]["NATS_URL"] == url


def test_a_password_that_was_changed_on_one_side_only_is_said(filled):
    before = filled.entries()
    before["nats"]["NATS_PASSWORD_NOTIFIER"] = "other"
    filled.keep(before)
    done = filled.run("--add")
    assert done.returncode == 1 and "NATS user notifier has different passwords" in done.stderr
    assert filled.written() == []


def test_a_run_that_failed_half_way_is_gone_on_with(tmp_path):
    store = Store(tmp_path)
    store.write(store.state() | {"refused": f"{PREFIX}notifier"})
    first = store.run(relay=f"{RELAY}\n")
    assert first.returncode == 1 and "notifier" in first.stderr
    second = store.run("--add", relay=f"{RELAY}\n")
    assert second.returncode == 0, second.stderr
    sql = first.stdout + second.stdout
    urls = [value["DATABASE_URL"] for value in store.entries().values() if "DATABASE_URL" in value]
    assert len(urls) == len(roles_of(sql)) and all(accepts(sql, url) for url in urls)
    for user, value in store.entries().items():
        if user in project.services() and "NATS_URL" in value:
            key = f"NATS_PASSWORD_{user.replace('-', '_').upper()}"
            assert urlsplit(value["NATS_URL"]).password == store.entries()["nats"][key]


def test_without_an_option_values_that_exist_are_left_alone(filled):
    before = filled.entries()
    filled.keep(before)
    done = filled.run(relay=f"{RELAY}\n")
    assert done.returncode == 1 and "--add" in done.stderr and "--replace" in done.stderr
    assert filled.entries() == before and done.stdout == ""
    assert filled.run("--add", "--replace").returncode == 2


def test_no_password_is_an_argument_or_printed(filled):
    entries = filled.entries()
    del entries["archiver"]
    calls = filled.state()["calls"]
    filled.keep(entries)
    done = filled.run("--add")
    said = json.dumps([*calls, *filled.state()["calls"]]) + done.stdout + done.stderr
    passwords = {urlsplit(url).password for value in filled.entries().values() for url in value.values()} - {None}
    passwords |= set(filled.entries()["nats"].values())
    assert len(passwords) > 15 and not [secret for secret in passwords if secret in said]
