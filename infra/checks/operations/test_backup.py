"""backup and restore on a real PostgreSQL, with a substitute for the program: no money is lost or moved twice."""

import contextlib
import os
import pwd
import re
import shutil
import socket
import subprocess
import tempfile
from pathlib import Path

import project
import pytest

# A password of characters that have a meaning in a URL, and its escaped form.
PASSWORD, QUOTED = "p@ss/w:rd%", "p%40ss%2Fw%3Ard%25"
LEDGER = """
INSERT INTO accounts (id, kind, user_id, asset, hash) VALUES
    (1, 'issued', NULL, 'USD', 'a'), (2, 'available', '00000000-0000-0000-0000-000000000001', 'USD', 'b'),
    (3, 'held', '00000000-0000-0000-0000-000000000001', 'USD', 'c');
INSERT INTO postings (id, kind, user_id, cause, at, previous_hash, hash) VALUES
    (1, 'deposit', '00000000-0000-0000-0000-000000000001', gen_random_uuid(), '2026-11-20', '', 'one'),
    (2, 'hold', '00000000-0000-0000-0000-000000000001', gen_random_uuid(), '2026-11-20', 'one', 'two');
INSERT INTO transfers (posting_id, number, asset, from_account, to_account, amount, hash) VALUES
    (1, 1, 'USD', 1, 2, 100.25, 'x'), (2, 1, 'USD', 2, 3, 40, 'x');
"""
BALANCES = "SELECT string_agg(kind || ' ' || balance, ', ' ORDER BY id) FROM accounts"
RIGHT, DOUBLED = "issued -100.25, available 60.25, held 40", "issued -200.50, available 120.50, held 80"
# Records its calls, applies the roles instead of migrating, and verifies a ledger with the result that a test wants.
TICKBELL = f"""#!/bin/sh
echo "$* ${{DATABASE_URL##*/}}" >>"$0.calls"
case $1 in
  migrate) exec "$(dirname "$0")/psql" --quiet --set ON_ERROR_STOP=1 --single-transaction "$DATABASE_URL" \\
             --output /dev/null --file {project.ROOT / project.ROLES_SQL} 2>/dev/null ;;
  ledger) exit "$(cat "$0.verify-status" 2>/dev/null || echo 0)" ;;
esac
"""


class Server:
    """A PostgreSQL server whose databases belong to an ordinary role."""

    def __init__(self, folder: Path):
        self.programs = max(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name))
        self.folder, self.data = folder, folder / "data"
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        # PostgreSQL refuses to run as root.
        self.user = next((name for name in ("postgres", "nobody") if exists(name)), None) if os.geteuid() == 0 else None
        if self.user:
            shutil.chown(folder, self.user)
        (folder / "password").write_text(PASSWORD)
        (folder / "password").chmod(0o644)
        self.run(
            "initdb", "-D", self.data, "-U", "tickbell", "--auth=scram-sha-256", "-N", f"--pwfile={folder}/password"
        )
        options = f"-p {self.port} -k {folder} -c fsync=off"
        self.run("pg_ctl", "-w", "-D", self.data, "-l", folder / "log", "-o", options, "start")

    def run(self, program: str, *arguments: object) -> None:
        command = [str(self.programs / program), *map(str, arguments)]
        subprocess.run(command, user=self.user, cwd="/", check=True, stdout=subprocess.DEVNULL)

    def stop(self) -> None:
        self.run("pg_ctl", "-m", "immediate", "-D", self.data, "stop")

    def url(self, database: str) -> str:
        return f"postgres://tickbell:{QUOTED}@127.0.0.1:{self.port}/{database}"

    def sql(self, database: str, text: str) -> str:
        flags = ("--no-psqlrc", "--quiet", "--tuples-only", "--no-align", "--set", "ON_ERROR_STOP=1")
        return project.output(self.programs / "psql", *flags, self.url(database), stdin=text).strip()

    def migrated(self, name: str) -> None:
        """Creates a database with this commit's schema."""
        self.sql("postgres", f"CREATE DATABASE {name}")
        for file in sorted((project.ROOT / project.MIGRATIONS).glob("*.sql")):
            self.sql(name, f"BEGIN; {file.read_text()} COMMIT;")
        self.sql(name, "CREATE TABLE _sqlx_migrations (version bigint PRIMARY KEY)")
        self.sql(name, f"BEGIN; {(project.ROOT / project.ROLES_SQL).read_text()} COMMIT;")


def exists(name: str) -> bool:
    with contextlib.suppress(KeyError):
        return bool(pwd.getpwnam(name))
    return False


@pytest.fixture(scope="module")
def server():
    # The server's user may not enter pytest's own folder.
    folder = Path(tempfile.mkdtemp(prefix="tickbell-", dir="/tmp"))
    folder.chmod(0o755)
    server = Server(folder)
    yield server
    server.stop()
    shutil.rmtree(folder)


class Workspace:
    """A database with money in it, a folder for backups, and the scripts under test."""

    def __init__(self, server: Server, folder: Path):
        self.server, self.folder = server, folder
        server.migrated("tickbell")
        server.sql("tickbell", f"BEGIN; {LEDGER} COMMIT;")
        self.file, self.program = folder / "backups/now.dump", folder / "tickbell"
        self.program.write_text(TICKBELL)
        self.program.chmod(0o755)
        (folder / "psql").symlink_to(server.programs / "psql")

    def run(self, script: str, **variables: str) -> subprocess.CompletedProcess:
        given = {"DATABASE_URL": self.server.url("tickbell"), "TICKBELL": str(self.program)} | variables
        return project.run(project.ROOT / "infra/scripts" / script, env={"PATH": os.environ["PATH"]} | given)

    def must(self, script: str, **variables: str) -> None:
        done = self.run(script, **variables)
        assert done.returncode == 0, done.stderr

    def back_up(self) -> None:
        self.must("backup", TO=str(self.file))

    def databases(self) -> set[str]:
        listed = self.server.sql("postgres", "SELECT datname FROM pg_database WHERE datname LIKE 'tickbell%'")
        return set(listed.split())

    def calls(self) -> list[str]:
        calls = Path(f"{self.program}.calls")
        return calls.read_text().splitlines() if calls.exists() else []


@pytest.fixture
def workspace(server, tmp_path):
    workspace = Workspace(server, tmp_path)
    yield workspace
    for name in workspace.databases():
        server.sql("postgres", f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def backed_up(workspace) -> Workspace:
    workspace.back_up()
    return workspace


def test_a_restore_equals_what_was_backed_up(backed_up):
    backed_up.must("restore", FROM=str(backed_up.file))
    sql = backed_up.server.sql
    assert sql("tickbell_restored", BALANCES) == sql("tickbell", BALANCES) == RIGHT
    for question in (
        "SELECT count(*), string_agg(hash::text, ' ' ORDER BY id) FROM postings",
        "SELECT tgrelid::regclass::text, tgname, tgenabled FROM pg_trigger WHERE NOT tgisinternal ORDER BY 1, 2",
        "SELECT tablename, policyname, qual FROM pg_policies ORDER BY 1, 2",
    ):
        assert sql("tickbell_restored", question) == sql("tickbell", question) != ""


def test_a_restored_database_is_migrated_and_then_verified(backed_up):
    backed_up.must("restore", FROM=str(backed_up.file), INTO="tickbell_tried")
    assert backed_up.calls() == ["migrate tickbell_tried", "ledger verify tickbell_tried"]
    assert backed_up.databases() == {"tickbell", "tickbell_tried"}


def test_no_role_may_execute_security_definer_functions_of_a_restored_database(backed_up):
    backed_up.must("restore", FROM=str(backed_up.file))
    question = """SELECT count(*), count(*) FILTER (WHERE has_function_privilege('pg_monitor', oid, 'EXECUTE'))
                  FROM pg_proc WHERE prosecdef AND pronamespace = 'public'::regnamespace"""
    functions, allowed = backed_up.server.sql("tickbell_restored", question).split("|")
    assert int(functions) >= 3 and int(allowed) == 0


def test_only_the_owner_can_read_a_backup(backed_up):
    assert backed_up.file.stat().st_mode & 0o777 == 0o600
    assert [path.name for path in backed_up.file.parent.iterdir()] == ["now.dump"]


def test_a_backup_that_fails_leaves_no_file(workspace):
    done = workspace.run("backup", TO=str(workspace.file), DATABASE_URL=workspace.server.url("nothing"))
    assert done.returncode != 0 and "nothing" in done.stderr
    assert list(workspace.file.parent.iterdir()) == []


def test_the_database_must_be_named_or_found_in_the_data_folder(workspace):
    done = workspace.run("backup", DATABASE_URL="", DATA=str(workspace.folder))
    assert done.returncode == 1 and "DATABASE_URL" in done.stderr
    (workspace.folder / "env").write_text(f"NATS_URL=nats://x\nDATABASE_URL={workspace.server.url('tickbell')}\n")
    workspace.must("backup", DATABASE_URL="", DATA=str(workspace.folder), TO=str(workspace.file))


def test_an_existing_database_is_not_touched(backed_up):
    backed_up.server.sql("postgres", "CREATE DATABASE tickbell_restored")
    done = backed_up.run("restore", FROM=str(backed_up.file))
    assert done.returncode == 1 and "Drop tickbell_restored first" in done.stderr
    assert "tickbell_restored" in backed_up.databases() and backed_up.calls() == []
    done = backed_up.run("restore", FROM=str(backed_up.file), INTO="tickbell")
    assert done.returncode == 1 and backed_up.server.sql("tickbell", BALANCES) == RIGHT


def test_a_file_that_is_not_a_backup_leaves_no_database(workspace):
    workspace.folder.joinpath("no.dump").write_text("no")
    assert workspace.run("restore", FROM=str(workspace.folder / "no.dump")).returncode != 0
    assert workspace.run("restore", FROM=str(workspace.folder / "missing")).returncode == 1
    assert workspace.databases() == {"tickbell"}


def test_a_switch_replaces_the_database_by_the_backup_and_ends_its_sessions(backed_up):
    sql = backed_up.server.sql
    sql("tickbell", "INSERT INTO settlement_prices VALUES ('BTC-USD', 'test', true, '1', 1, now(), 1, 0)")
    command = [backed_up.server.programs / "psql", backed_up.server.url("tickbell"), "--command", "SELECT pg_sleep(60)"]
    session = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    backed_up.must("restore", FROM=str(backed_up.file), SWITCH="1")
    assert session.wait(10) != 0
    assert sql("tickbell", "SELECT count(*) FROM settlement_prices") == "0" and sql("tickbell", BALANCES) == RIGHT
    (before,) = backed_up.databases() - {"tickbell"}
    assert before.startswith("tickbell_before_") and sql(before, "SELECT count(*) FROM settlement_prices") == "1"


def test_a_switch_may_take_over_what_is_newer_and_leaves_what_the_backup_has(backed_up):
    sql = backed_up.server.sql
    user = "INSERT INTO users (id, email, password_hash, created_at) VALUES (gen_random_uuid(), '{}', 'x', now())"
    sql("tickbell", user.format("new@example.com"))
    sql("tickbell", "INSERT INTO settlement_prices VALUES ('BTC-USD', 'test', true, '1', 1, now(), 1, 0)")
    count = "SELECT count(*) FROM users WHERE email = 'new@example.com'"
    backed_up.must("restore", FROM=str(backed_up.file), SWITCH="1", NEWER="1")
    assert (sql("tickbell", count), sql("tickbell", BALANCES)) == ("1", RIGHT)
    assert sql("tickbell", "SELECT count(*) FROM settlement_prices") == "0", "nothing else is taken over"
    (before,) = backed_up.databases() - {"tickbell"}
    assert sql(before, count) == "1"
    backed_up.must("restore", FROM=str(backed_up.file), SWITCH="1", INTO="tickbell_again")
    assert sql("tickbell", count) == "0"


def test_a_database_with_a_wrong_ledger_is_not_switched_to(backed_up):
    Path(f"{backed_up.program}.verify-status").write_text("1")
    done = backed_up.run("restore", FROM=str(backed_up.file), SWITCH="1")
    assert done.returncode == 1 and "is wrong" in done.stderr
    assert backed_up.databases() == {"tickbell", "tickbell_restored"}


def test_tables_whose_rows_the_runbook_takes_over_have_no_triggers(workspace):
    tables = set(re.findall(r"--table=(\w+)", (project.ROOT / "RUNBOOK.md").read_text()))
    assert tables == {"users", "rules", "orders", "deposits"}
    found = workspace.server.sql("tickbell", "SELECT tgrelid::regclass FROM pg_trigger WHERE NOT tgisinternal")
    assert found and not tables & set(found.split())


def test_data_alone_would_move_balances_twice(backed_up):
    # This is why restore refuses a dump of data alone and the runbook warns of it: triggers would exist before the data.
    backed_up.server.migrated("tickbell_data")
    tables = [f"--table={name}" for name in ("accounts", "postings", "transfers")]
    where = f"--dbname={backed_up.server.url('tickbell_data')}"
    restore = [backed_up.server.programs / "pg_restore", "--data-only", "--single-transaction", where]
    project.output(*restore, *tables, backed_up.file)
    assert backed_up.server.sql("tickbell_data", BALANCES) == DOUBLED
