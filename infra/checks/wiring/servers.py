"""The servers that a cluster has and an overlay does not render: NATS and PostgreSQL with TLS, a mail server outside."""

import secrets as random
from dataclasses import dataclass, field
from pathlib import Path

import house

from wiring import corner, images
from wiring.authority import Authority
from wiring.container import Container, Mount
from wiring.stage import Stage

HERE = Path(__file__).resolve().parent
NATS_USERS = (
    "price-ingestor", "alert-engine", "history-writer", "trade-settler", "notifier", "gateway", "operator",
    "jetstream-controller",
)  # fmt: skip
DATABASE, BROKER, MAIL, PRICES = "tickbell-postgres-rw", "nats", "smtp.example.com", "coinnews.example"
CA = "/etc/tickbell/ca/ca.crt"
# Parameters of a Cluster that change what works; the others are for its size and for its version of PostgreSQL.
MATTER = ("max_connections", "idle_in_transaction_session_timeout")
SENDS_MAIL, SIGNS_LINKS = ("notifier",), ("notifier", "gateway")


@dataclass
class Secrets:
    """Passwords of one run, in the shape that services get them."""

    database_roles: list[str]
    passwords: dict[str, str] = field(default_factory=dict)

    def __post_init__(self):
        for name in (*NATS_USERS, *self.database_roles, "tickbell", "postgres", "links"):
            # NATS reads passwords as configuration: letters and digits that are no number.
            self.passwords[name] = "p" + random.token_hex(16)

    def nats_url(self, user: str) -> str:
        return f"tls://{user}:{self.passwords[user]}@{BROKER}:4222"

    def database_url(self, role: str, query: str = f"sslmode=verify-full&sslrootcert={CA}") -> str:
        return f"postgres://{role}:{self.passwords[role]}@{DATABASE}:5432/tickbell?{query}"

    def objects(self) -> dict[str, dict[str, str]]:
        """The Secrets of the namespace."""
        found = {"tickbell-price-ingestor": {"NATS_URL": self.nats_url("price-ingestor")}}
        for role in ("alert-engine", "history-writer", "trade-settler", "notifier", "gateway"):
            database = self.database_url(f"tickbell_{role.replace('-', '_')}")
            found[f"tickbell-{role}"] = {"NATS_URL": self.nats_url(role), "DATABASE_URL": database}
        for role in SIGNS_LINKS:
            found[f"tickbell-{role}"]["TICKBELL_LINKS__SECRET"] = self.passwords["links"]
        for role in SENDS_MAIL:
            found[f"tickbell-{role}"]["TICKBELL_SMTP__URL"] = f"smtp://{MAIL}:587?tls=required"
        found["tickbell-migrate"] = {
            "DATABASE_URL": self.database_url("tickbell"),
            "NATS_URL": self.nats_url("operator"),
        }
        found["tickbell-telemetry"] = {"TICKBELL_TELEMETRY__SENTRY_DSN": "https://key@sentry.example.com/1"}
        return found

    def for_nats(self) -> dict[str, str]:
        """The environment that users.conf reads."""
        return {f"NATS_PASSWORD_{user.upper().replace('-', '_')}": self.passwords[user] for user in NATS_USERS}


def nats(stage: Stage, authority: Authority, secrets: Secrets) -> Container:
    """The broker of infra/nats/nats.conf."""
    image = images.named("nats:alpine")
    owner = (1000, 1000)
    tls = certified(stage, "nats-tls", authority, ["nats", "nats-headless"], owner)
    configured = sorted((house.ROOT / "infra/nats").glob("*.conf"))
    return Container(
        "nats",
        image.words(None, ["nats-server", "--config", "/etc/nats/nats.conf"]),
        environment={"NATS_SERVER_NAME": "nats-0", **secrets.for_nats()},
        user=owner,
        read_only=True,
        bare=True,
        mounts=[
            *(Mount(f"/etc/nats/{file.name}", file, read_only=True) for file in configured),
            Mount("/etc/nats/tls", tls, read_only=True),
            Mount("/data", stage.volume("nats", owner)),
        ],
        programs=image.programs,
        grace=60,
    )


def postgres(stage: Stage, authority: Authority, secrets: Secrets, spec: dict) -> Container:
    """A PostgreSQL as CloudNativePG makes it from a Cluster's `spec`: its roles, its access rules, TLS."""
    image = images.named("postgres:17")
    owner = (70, 70)
    tls = certified(stage, "postgres-tls", authority, [DATABASE], owner)
    settings = stage.volume("postgres-settings")
    # The operator puts the Cluster's rules between its own.
    rules = ["local all postgres trust", *spec["postgresql"].get("pg_hba", []), "host all all all scram-sha-256"]
    (settings / "pg_hba.conf").write_text("\n".join(rules) + "\n")
    roles = stage.volume("postgres-roles")
    (roles / "roles.sql").write_text("\n".join(logins(secrets, spec)) + "\n")
    parameters = {name: value for name, value in spec["postgresql"]["parameters"].items() if name in MATTER}
    flags = {
        "ssl": "on",
        "ssl_cert_file": "/etc/postgres-tls/tls.crt",
        "ssl_key_file": "/etc/postgres-tls/tls.key",
        "hba_file": "/etc/postgres/pg_hba.conf",
        **parameters,
    }
    return Container(
        "postgres",
        image.words(None, ["postgres", *(word for name, value in flags.items() for word in ("-c", f"{name}={value}"))]),
        environment={**image.environment, "POSTGRES_PASSWORD": secrets.passwords["postgres"]},
        user=owner,
        read_only=True,
        bare=True,
        mounts=[
            Mount("/etc/postgres", settings, read_only=True),
            Mount("/etc/postgres-tls", tls, read_only=True),
            Mount("/docker-entrypoint-initdb.d", roles, read_only=True),
            Mount("/var/lib/postgresql/data", stage.volume("postgres", owner)),
            Mount("/var/run/postgresql"),
            Mount("/tmp"),
        ],
        programs=image.programs,
        stop_signal=image.stop_signal,
        grace=60,
    )


def logins(secrets: Secrets, spec: dict) -> list[str]:
    """The owner, who is no superuser, and the managed roles."""
    made = [f"CREATE ROLE tickbell LOGIN PASSWORD '{secrets.passwords['tickbell']}';"]
    for role in spec["managed"]["roles"]:
        name = role["name"]
        login = f"LOGIN PASSWORD '{secrets.passwords[name]}'" if role.get("login") else "NOLOGIN"
        groups = f" IN ROLE {', '.join(role['inRoles'])}" if "inRoles" in role else ""
        made.append(f"CREATE ROLE {name} {login}{groups};")
    return [*made, "CREATE DATABASE tickbell OWNER tickbell;"]


def mail(stage: Stage) -> Container:
    """A mail server on the internet, which takes mails by TLS only; its certificate is of a public authority."""
    image = images.mailpit("")
    owner = (10002, 10002)
    tls = certified(stage, "mail-tls", stage.public, [MAIL], owner)
    starttls = ["--tlscert", "/tls/tls.crt", "--tlskey", "/tls/tls.key"]
    listen = ["--listen", "0.0.0.0:587", "--class", "aiosmtpd.handlers.Mailbox", f"{images.MAILS}/box"]
    return Container(
        MAIL,
        [*image.entrypoint, *starttls, *listen],
        user=owner,
        mounts=[Mount("/tls", tls, read_only=True), Mount(images.MAILS, stage.volume("mails", owner))],
        libraries=image.libraries,
        stop_signal=image.stop_signal,
    )


def prices(stage: Stage) -> list[Container]:
    """A coinnews API on the internet: `tickbell coinnews`, whose prices move every second, behind TLS."""
    image, owner = images.ours(), (10001, 10001)
    settings = {"TICKBELL_COINNEWS__LISTEN": "127.0.0.1:8090", "TICKBELL_COINNEWS__INTERVAL": "1s"}
    tls = certified(stage, "prices-tls", stage.public, [PRICES], owner)
    api = Container(
        "coinnews",
        [*image.entrypoint, "coinnews"],
        network=PRICES,
        environment={**image.environment, **settings},
        user=owner,
        programs=image.programs,
    )
    return [api, script(PRICES, "tls_door.py", owner, [Mount("/tls", tls, read_only=True)])]


def collector(stage: Stage) -> Container:
    owner = (10001, 10001)
    return script("otel-collector", "collector.py", owner, [Mount("/traces", stage.volume("traces", owner))])


def script(name: str, file: str, user: tuple[int, int], mounts: list[Mount]) -> Container:
    """A container that runs a file of this folder."""
    image = images.mailpit("")
    command = [image.entrypoint[0], f"/{file}"]
    here = Mount(f"/{file}", HERE / file, read_only=True)
    return Container(name, command, user=user, mounts=[here, *mounts], libraries=image.libraries)


def certified(stage: Stage, volume: str, authority: Authority, names: list[str], owner: tuple[int, int]) -> Path:
    """A folder with a server's certificate and key, as cert-manager makes it."""
    folder = stage.volume(volume, owner)
    certificate, key = authority.sign(names)
    for name, text in (("tls.crt", certificate), ("tls.key", key), ("ca.crt", authority.text)):
        (folder / name).write_text(text)
        (folder / name).chmod(0o600 if name == "tls.key" else 0o644)
        corner.own(folder / name, owner)
    return folder
