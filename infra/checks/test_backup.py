"""backup and restore on a real PostgreSQL, with a stand-in for the program: money is neither lost nor moved twice."""

import contextlib
import os
import pwd
import re
import shutil
import socket
import subprocess
import tempfile
from pathlib import Path

import house
import pytest

# Letters that mean something in a URL.
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
# Writes down how it was called; migrates as far as a restore needs it; finds the ledger as the test wants it.
TICKBELL = f"""#!/bin/sh
echo "$* ${{DATABASE_URL##*/}}" >>"$0.calls"
case $1 in
  migrate) exec "$(dirname "$0")/psql" --quiet --set ON_ERROR_STOP=1 --single-transaction "$DATABASE_URL" \\
             --output /dev/null --file {house.ROOT}/infra/postgres/roles.sql 2>/dev/null ;;
  ledger) exit "$(cat "$0.finds" 2>/dev/null || echo 0)" ;;
esac
"""


class Server:
    """A PostgreSQL, the owner of whose databases is nobody special."""

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
        return house.output(self.programs / "psql", *flags, self.url(database), stdin=text).strip()

    def migrated(self, name: str) -> None:
        """A new database with this commit's schema."""
        self.sql("postgres", f"CREATE DATABASE {name}")
        for file in sorted((house.ROOT / "services/store/migrations").glob("*.sql")):
            self.sql(name, f"BEGIN; {file.read_text()} COMMIT;")
        self.sql(name, "CREATE TABLE _sqlx_migrations (version bigint PRIMARY KEY)")
        self.sql(name, f"BEGIN; {(house.ROOT / 'infra/postgres/roles.sql').read_text()} COMMIT;")


def exists(name: str) -> bool:
    with contextlib.suppress(KeyError):
        return bool(pwd.getpwnam(name))
    return False


@pytest.fixture(scope="module")
def server():
    # Not pytest's folder, which the server's user may not enter.
    folder = Path(tempfile.mkdtemp(prefix="tickbell-", dir="/tmp"))
    folder.chmod(0o755)
    server = Server(folder)
    yield server
    server.stop()
    shutil.rmtree(folder)


class Place:
    """A database with money in it, a folder for backups, and the scripts."""

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
        return house.run(house.ROOT / "infra/pipelines" / script, env={"PATH": os.environ["PATH"]} | given)

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
def place(server, tmp_path):
    place = Place(server, tmp_path)
    yield place
    for name in place.databases():
        server.sql("postgres", f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def backed_up(place) -> Place:
    place.back_up()
    return place


def test_what_is_restored_is_what_was_backed_up(backed_up):
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


def test_nobody_may_call_what_runs_with_the_owners_rights_in_a_restored_database(backed_up):
    backed_up.must("restore", FROM=str(backed_up.file))
    question = """SELECT count(*), count(*) FILTER (WHERE has_function_privilege('pg_monitor', oid, 'EXECUTE'))
                  FROM pg_proc WHERE prosecdef AND pronamespace = 'public'::regnamespace"""
    functions, allowed = backed_up.server.sql("tickbell_restored", question).split("|")
    assert int(functions) >= 3 and int(allowed) == 0


def test_a_backup_is_for_its_owner_alone(backed_up):
    assert backed_up.file.stat().st_mode & 0o777 == 0o600
    assert [path.name for path in backed_up.file.parent.iterdir()] == ["now.dump"]


def test_a_backup_that_fails_leaves_no_file(place):
    done = place.run("backup", TO=str(place.file), DATABASE_URL=place.server.url("nothing"))
    assert done.returncode != 0 and "nothing" in done.stderr
    assert list(place.file.parent.iterdir()) == []


def test_where_the_database_is_must_be_said(place):
    done = place.run("backup", DATABASE_URL="", DATA=str(place.folder))
    assert done.returncode == 1 and "DATABASE_URL" in done.stderr
    (place.folder / "env").write_text(f"NATS_URL=nats://x\nDATABASE_URL={place.server.url('tickbell')}\n")
    place.must("backup", DATABASE_URL="", DATA=str(place.folder), TO=str(place.file))


def test_a_database_that_is_there_already_is_not_touched(backed_up):
    backed_up.server.sql("postgres", "CREATE DATABASE tickbell_restored")
    done = backed_up.run("restore", FROM=str(backed_up.file))
    assert done.returncode == 1 and "Drop tickbell_restored first" in done.stderr
    assert "tickbell_restored" in backed_up.databases() and backed_up.calls() == []
    done = backed_up.run("restore", FROM=str(backed_up.file), INTO="tickbell")
    assert done.returncode == 1 and backed_up.server.sql("tickbell", BALANCES) == RIGHT


def test_a_file_that_is_no_backup_leaves_no_database(place):
    place.folder.joinpath("no.dump").write_text("no")
    assert place.run("restore", FROM=str(place.folder / "no.dump")).returncode != 0
    assert place.run("restore", FROM=str(place.folder / "missing")).returncode == 1
    assert place.databases() == {"tickbell"}


def test_a_switch_puts_the_backup_in_the_place_of_the_database_and_ends_its_sessions(backed_up):
    sql = backed_up.server.sql
    sql("tickbell", "INSERT INTO settlement_prices (symbol, price, at, sequence) VALUES ('BTC-USD', 1, now(), 1)")
    command = [backed_up.server.programs / "psql", backed_up.server.url("tickbell"), "--command", "SELECT pg_sleep(60)"]
    session = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    backed_up.must("restore", FROM=str(backed_up.file), SWITCH="1")
    assert session.wait(10) != 0
    assert sql("tickbell", "SELECT count(*) FROM settlement_prices") == "0" and sql("tickbell", BALANCES) == RIGHT
    (before,) = backed_up.databases() - {"tickbell"}
    assert before.startswith("tickbell_before_") and sql(before, "SELECT count(*) FROM settlement_prices") == "1"


def test_a_ledger_that_is_wrong_takes_nobodys_place(backed_up):
    Path(f"{backed_up.program}.finds").write_text("1")
    done = backed_up.run("restore", FROM=str(backed_up.file), SWITCH="1")
    assert done.returncode == 1 and "is not right" in done.stderr
    assert backed_up.databases() == {"tickbell", "tickbell_restored"}


def test_tables_whose_rows_the_runbook_takes_over_have_no_triggers(place):
    tables = set(re.findall(r"--table=(\w+)", (house.ROOT / "RUNBOOK.md").read_text()))
    assert tables == {"users", "orders", "deposits"}
    found = place.server.sql("tickbell", "SELECT tgrelid::regclass FROM pg_trigger WHERE NOT tgisinternal")
    assert found and not tables & set(found.split())


def test_data_alone_would_move_balances_twice(backed_up):
    # Why restore takes no dump of data alone, and the runbook warns of it: triggers are there before such data is.
    backed_up.server.migrated("tickbell_data")
    tables = [f"--table={name}" for name in ("accounts", "postings", "transfers")]
    where = f"--dbname={backed_up.server.url('tickbell_data')}"
    restore = [backed_up.server.programs / "pg_restore", "--data-only", "--single-transaction", where]
    house.output(*restore, *tables, backed_up.file)
    assert backed_up.server.sql("tickbell_data", BALANCES) == DOUBLED
