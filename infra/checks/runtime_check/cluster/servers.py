"""The servers that a cluster provides and an overlay does not render: NATS and PostgreSQL with TLS, a mail server."""

import secrets as random
from dataclasses import dataclass, field
from pathlib import Path

import project

from runtime_check.processes import images, namespaces
from runtime_check.processes.certificate_authority import Authority
from runtime_check.processes.container import Container, Mount
from runtime_check.processes.process_runner import ProcessRunner

HERE = Path(__file__).resolve().parent
# The request for the broker's certificate.
REQUEST = project.ROOT / "infra/nats/certificate.cnf"
BROKER_SERVICES = [name for name in project.services() if name not in project.WITHOUT_BROKER]
# Optional services do not run here, and the broker knows their users all the same.
NATS_USERS = (*BROKER_SERVICES, *sorted(project.OPTIONAL_SERVICES), "operator", "jetstream-controller", "system")
DATABASE, BROKER, MAIL, PRICES = "tickbell-postgres-rw", "nats", "smtp.example.com", "coinnews.example"
CA = "/etc/tickbell/ca/ca.crt"
# The parameters of a Cluster that change behaviour; the others fit its size and its version of PostgreSQL.
APPLIED_PARAMETERS = ("max_connections", "idle_in_transaction_session_timeout")
SENDS_MAIL, SIGNS_LINKS = ("notifier",), ("notifier", "gateway")


@dataclass
class Secrets:
    """The passwords of one run, in the form in which services get them."""

    database_roles: list[str]
    passwords: dict[str, str] = field(default_factory=dict)

    def __post_init__(self):
        for name in (*NATS_USERS, *self.database_roles, "tickbell", "postgres", "links"):
            # NATS parses passwords as configuration values, so they must not look like a number.
            self.passwords[name] = "p" + random.token_hex(16)

    def nats_url(self, user: str) -> str:
        return f"tls://{user}:{self.passwords[user]}@{BROKER}:4222"

    def database_url(self, role: str, query: str = f"sslmode=verify-full&sslrootcert={CA}") -> str:
        return f"postgres://{role}:{self.passwords[role]}@{DATABASE}:5432/tickbell?{query}"

    def objects(self) -> dict[str, dict[str, str]]:
        """Returns the Secrets of the namespace."""
        found = {f"tickbell-{service}": {"NATS_URL": self.nats_url(service)} for service in BROKER_SERVICES}
        for service in set(project.services()) - project.WITHOUT_DATABASE:
            role = f"tickbell_{service.replace('-', '_')}"
            found.setdefault(f"tickbell-{service}", {})["DATABASE_URL"] = self.database_url(role)
        for service in SIGNS_LINKS:
            found[f"tickbell-{service}"]["TICKBELL_LINKS__SECRET"] = self.passwords["links"]
        for service in SENDS_MAIL:
            found[f"tickbell-{service}"]["TICKBELL_SMTP__URL"] = f"smtp://{MAIL}:587?tls=required"
        found["tickbell-migrate"] = {
            "DATABASE_URL": self.database_url("tickbell"),
            "NATS_URL": self.nats_url("operator"),
        }
        found["tickbell-telemetry"] = {"TICKBELL_TELEMETRY__SENTRY_DSN": "https://key@sentry.example.com/1"}
        return found

    def for_nats(self) -> dict[str, str]:
        """Returns the environment variables that users.conf reads."""
        return {f"NATS_PASSWORD_{user.upper().replace('-', '_')}": self.passwords[user] for user in NATS_USERS}


def nats(runner: ProcessRunner, authority: Authority, secrets: Secrets) -> Container:
    """Returns the broker of infra/nats/nats.conf."""
    image = images.named("nats:alpine")
    owner = (1000, 1000)
    tls = certificate_files(runner, "nats-tls", authority, authority.sign_request(REQUEST), owner)
    configured = sorted((project.ROOT / "infra/nats").glob("*.conf"))
    return Container(
        "nats",
        image.command_line(None, ["nats-server", "--config", "/etc/nats/nats.conf"]),
        environment={"NATS_SERVER_NAME": "nats-0", **secrets.for_nats()},
        user=owner,
        read_only=True,
        no_capabilities=True,
        mounts=[
            *(Mount(f"/etc/nats/{file.name}", file, read_only=True) for file in configured),
            Mount("/etc/nats/tls", tls, read_only=True),
            Mount("/data", runner.volume("nats", owner)),
        ],
        programs=image.programs,
        grace=60,
    )


def postgres(runner: ProcessRunner, authority: Authority, secrets: Secrets, spec: dict) -> Container:
    """Returns a PostgreSQL as CloudNativePG creates it from a Cluster's `spec`: roles, access rules, TLS."""
    image = images.named("postgres:17")
    owner = (70, 70)
    tls = certificate_folder(runner, "postgres-tls", authority, [DATABASE], owner)
    settings = runner.volume("postgres-settings")
    # CloudNativePG puts the Cluster's rules between its own.
    rules = ["local all postgres trust", *spec["postgresql"].get("pg_hba", []), "host all all all scram-sha-256"]
    (settings / "pg_hba.conf").write_text("\n".join(rules) + "\n")
    roles = runner.volume("postgres-roles")
    (roles / "roles.sql").write_text("\n".join(role_statements(secrets, spec)) + "\n")
    parameters = {name: value for name, value in spec["postgresql"]["parameters"].items() if name in APPLIED_PARAMETERS}
    flags = {
        "ssl": "on",
        "ssl_cert_file": "/etc/postgres-tls/tls.crt",
        "ssl_key_file": "/etc/postgres-tls/tls.key",
        "hba_file": "/etc/postgres/pg_hba.conf",
        **parameters,
    }
    return Container(
        "postgres",
        image.command_line(
            None, ["postgres", *(word for name, value in flags.items() for word in ("-c", f"{name}={value}"))]
        ),
        environment={**image.environment, "POSTGRES_PASSWORD": secrets.passwords["postgres"]},
        user=owner,
        read_only=True,
        no_capabilities=True,
        mounts=[
            Mount("/etc/postgres", settings, read_only=True),
            Mount("/etc/postgres-tls", tls, read_only=True),
            Mount("/docker-entrypoint-initdb.d", roles, read_only=True),
            Mount("/var/lib/postgresql/data", runner.volume("postgres", owner)),
            Mount("/var/run/postgresql"),
            Mount("/tmp"),
        ],
        programs=image.programs,
        stop_signal=image.stop_signal,
        grace=60,
    )


def role_statements(secrets: Secrets, spec: dict) -> list[str]:
    """Returns the SQL that creates the owner, who is not a superuser, and the managed roles."""
    statements = [f"CREATE ROLE tickbell LOGIN PASSWORD '{secrets.passwords['tickbell']}';"]
    for role in spec["managed"]["roles"]:
        name = role["name"]
        login = f"LOGIN PASSWORD '{secrets.passwords[name]}'" if role.get("login") else "NOLOGIN"
        groups = f" IN ROLE {', '.join(role['inRoles'])}" if "inRoles" in role else ""
        statements.append(f"CREATE ROLE {name} {login}{groups};")
    return [*statements, "CREATE DATABASE tickbell OWNER tickbell;"]


def mail(runner: ProcessRunner) -> Container:
    """Returns a mail server on the internet that requires TLS, with a certificate of the public authority."""
    image = images.mailpit("")
    owner = (10002, 10002)
    tls = certificate_folder(runner, "mail-tls", runner.public, [MAIL], owner)
    starttls = ["--tlscert", "/tls/tls.crt", "--tlskey", "/tls/tls.key"]
    listen = ["--listen", "0.0.0.0:587", "--class", "aiosmtpd.handlers.Mailbox", f"{images.MAILS}/box"]
    return Container(
        MAIL,
        [*image.entrypoint, *starttls, *listen],
        user=owner,
        mounts=[Mount("/tls", tls, read_only=True), Mount(images.MAILS, runner.volume("mails", owner))],
        libraries=image.libraries,
        stop_signal=image.stop_signal,
    )


def prices(runner: ProcessRunner) -> list[Container]:
    """Returns a coinnews API on the internet: `tickbell coinnews`, whose prices move every second, behind a TLS proxy."""
    image, owner = images.tickbell_image(), (10001, 10001)
    settings = {"TICKBELL_COINNEWS__LISTEN": "127.0.0.1:8090", "TICKBELL_COINNEWS__INTERVAL": "1s"}
    tls = certificate_folder(runner, "prices-tls", runner.public, [PRICES], owner)
    api = Container(
        "coinnews",
        [*image.entrypoint, "coinnews"],
        network=PRICES,
        environment={**image.environment, **settings},
        user=owner,
        programs=image.programs,
    )
    return [api, script(PRICES, "tls_proxy.py", owner, [Mount("/tls", tls, read_only=True)])]


def collector(runner: ProcessRunner) -> Container:
    owner = (10001, 10001)
    return script("otel-collector", "collector.py", owner, [Mount("/traces", runner.volume("traces", owner))])


def script(name: str, file: str, user: tuple[int, int], mounts: list[Mount]) -> Container:
    """Returns a container that runs a Python file of this folder."""
    image = images.mailpit("")
    command = [image.entrypoint[0], f"/{file}"]
    here = Mount(f"/{file}", HERE / file, read_only=True)
    return Container(name, command, user=user, mounts=[here, *mounts], libraries=image.libraries)


def certificate_folder(
    runner: ProcessRunner, volume: str, authority: Authority, names: list[str], owner: tuple[int, int]
) -> Path:
    """Returns a folder with a server's certificate and key, as cert-manager lays it out."""
    return certificate_files(runner, volume, authority, authority.sign(names), owner)


def certificate_files(
    runner: ProcessRunner, volume: str, authority: Authority, pair: tuple[str, str], owner: tuple[int, int]
) -> Path:
    folder = runner.volume(volume, owner)
    certificate, key = pair
    for name, text in (("tls.crt", certificate), ("tls.key", key), ("ca.crt", authority.text)):
        (folder / name).write_text(text)
        (folder / name).chmod(0o600 if name == "tls.key" else 0o644)
        namespaces.change_owner(folder / name, owner)
    return folder
