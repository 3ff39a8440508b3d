"""The production overlay as processes: rendered pods, and around them the servers that the cluster has."""

import asyncio
import os
from pathlib import Path

import house

from wiring import (
    controller,
    intruder,
    kubernetes,
    metrics,
    money,
    nats,
    policies,
    proofs,
    servers,
)
from wiring.authority import Authority
from wiring.container import Running
from wiring.corner import Failure
from wiring.kubernetes import Cluster
from wiring.people import Visitor
from wiring.policies import Peer
from wiring.servers import BROKER, DATABASE, MAIL, PRICES, Secrets
from wiring.stage import Stage, perform, until

OVERLAY = house.ROOT / "k8s/overlays/production"
DOMAIN = "tickbell.svc.cluster.local"
CONTROLLER = "jetstream-controller"
# Who else is in the cluster, as the policies know them: name to namespace and labels.
NEIGHBOURS = {
    "ingress": ("envoy-gateway-system", {}),
    "otel-collector": ("monitoring", {"app.kubernetes.io/name": "opentelemetry-collector"}),
    "prometheus": ("monitoring", {"app.kubernetes.io/name": "prometheus"}),
    CONTROLLER: ("nack", {"app.kubernetes.io/name": "nack"}),
}
SERVERS = {
    "nats": {"app.kubernetes.io/name": "nats", "app.kubernetes.io/component": "nats"},
    "postgres": {"tickbell.dev/server": "postgres"},
}
OUTSIDE = [MAIL, PRICES]
COLOURS = ("blue", "green")


class Production:
    """Everything that one run knows."""

    def __init__(self, cluster: Cluster, stage: Stage, keep: bool):
        self.cluster, self.stage, self.keep = cluster, stage, keep
        self.postgres = cluster.one("Cluster", "tickbell-postgres")["spec"]
        self.secrets = Secrets([role["name"] for role in self.postgres["managed"]["roles"]])
        self.authority = Authority(stage.live / "authorities", "internal")
        # What `make operate` makes, whose dry run does not know how the cluster's settings are called.
        given = {"tickbell-ca": {"ca.crt": self.authority.text}, "tickbell-settings": cluster.settings()}
        stored = {one["spec"]["target"]["name"] for one in cluster.kind("ExternalSecret")}
        secrets = {name: data for name, data in self.secrets.objects().items() if name in stored}
        self.pods = kubernetes.pods_of(cluster, secrets, given, stage.volume)
        # Nobody wants to wait three minutes for a price here.
        for name, pod in self.pods.items():
            if name.startswith("price-ingestor-"):
                pod.container.environment["TICKBELL_PRICE_INGESTOR__COINNEWS__INTERVAL"] = "1s"
        self.names = self.known()
        self.services = [name for name, pod in self.pods.items() if pod.probes]

    def known(self) -> dict[str, str]:
        """What the cluster's DNS says: each Service's first pod, the servers, and the world outside."""
        found = {}
        for service in self.cluster.kind("Service"):
            name = service["metadata"]["name"]
            if pods := self.cluster.selected(name, self.pods):
                found[name] = self.stage.address(pods[0])
        found |= {BROKER: self.stage.address("nats"), "nats-headless": self.stage.address("nats")}
        found[DATABASE] = self.stage.address("postgres")
        found |= {f"{name}.{DOMAIN}": address for name, address in found.items()}
        found["otel-collector.monitoring"] = self.stage.address("otel-collector")
        return {**found, **{name: self.stage.address(name) for name in OUTSIDE}}

    def peers(self) -> tuple[list[Peer], list[Peer]]:
        """Whom the policies bind, and all whom they may mean."""
        address = self.stage.address
        bound = [Peer(name, address(name), "tickbell", items(pod.labels)) for name, pod in self.pods.items()]
        bound += [Peer(name, address(name), "tickbell", items(labels)) for name, labels in SERVERS.items()]
        others = [Peer(name, address(name), space, items(labels)) for name, (space, labels) in NEIGHBOURS.items()]
        others += [Peer(name, address(name), None) for name in OUTSIDE]
        return bound, bound + others

    async def prove(self) -> None:
        stage = self.stage
        bound, everybody = self.peers()
        await asyncio.to_thread(policies.enforce, self.cluster.kind("NetworkPolicy"), bound, everybody)
        stage.say("network policies", f"enforced in {len(bound)} pods")
        await asyncio.gather(self.broker(), self.database(), self.surroundings())
        await asyncio.gather(*(self.service(name) for name in self.services))
        await self.poll()
        await self.smoke()
        mails = stage.volume("mails") / "box"
        base = self.cluster.settings()["TICKBELL_LINKS__BASE_URL"]
        gateway = self.cluster.selected("gateway", self.pods)[0]
        visitor = self.visitor(gateway)
        await proofs.be_told(stage, visitor, mails, base)
        await money.trade(stage, visitor, mails, base, self.operator())
        with stage.step("metrics"):
            pages = {name: proofs.scrape(stage, name, "prometheus") for name in self.services}
            stage.say("", metrics.compare(pages))
        with stage.step("traces come from every service that makes some"):
            missing = self.without_traces
            await until("traces of all", 20, lambda: not missing(), lambda: f"none of {missing()}")
        with stage.step("the network policies have refused nothing that is needed"):
            if refused := await asyncio.to_thread(policies.refused, bound):
                raise Failure(f"connections were refused by the policies of {refused}")
        proofs.nothing_refused(stage)
        await self.intrude()
        if self.keep:
            await proofs.stay(stage, stage.address(gateway))
        with stage.step("everything ends with status 0 when it is asked"):
            await stage.stop(self.services)
            await stage.stop([name for name, running in stage.running.items() if not running.stopping])

    async def broker(self) -> None:
        """NATS, and its streams."""
        running = self.stage.prepare(servers.nats(self.stage, self.authority, self.secrets), self.names)
        await self.stage.start(running)
        await self.stage.healthy(running, self.asked("nats", [("/healthz", 8222)]), 30)
        streams, consumers = self.cluster.kind("Stream"), self.cluster.kind("Consumer")
        made = self.as_user(CONTROLLER, CONTROLLER, lambda client: controller.apply(client, streams, consumers))
        self.stage.say(CONTROLLER, f"has made {made}")

    def as_user(self, pod: str, user: str, question):
        """What somebody gets from NATS as a user, in a pod's network."""
        authority, password = self.authority.text, self.secrets.passwords[user]
        address = self.stage.address("nats")
        return self.stage.network.ask(pod, lambda: question(nats.Client(address, authority, user, password)))

    async def database(self) -> None:
        """PostgreSQL, and its schema."""
        container = servers.postgres(self.stage, self.authority, self.secrets, self.postgres)
        running = self.stage.prepare(container, self.names)
        await self.stage.start(running)

        async def ready() -> str | None:
            status, said = await running.run(["pg_isready", "-h", "127.0.0.1"], 5)
            return None if status == 0 else said

        await self.stage.healthy(running, ready, 60)
        await self.stage.finish(self.stage.prepare(self.pods["migrate"].container, self.names), 60)

    async def surroundings(self) -> None:
        """The internet's mail server and prices, and the collector of traces."""
        stage = self.stage
        api, door = servers.prices(stage)
        opened = [(servers.mail(stage), MAIL, 587), (api, None, 0), (door, PRICES, 443)]
        opened.append((servers.collector(stage), "otel-collector", 4318))
        for container, name, port in opened:
            running = stage.prepare(container, {})
            await stage.start(running)
            if name:
                await stage.healthy(running, self.open_at(name, port), 30)

    def open_at(self, name: str, port: int):
        async def question() -> str | None:
            said = await asyncio.to_thread(intruder.knock, self.stage.address(name), port)
            return None if said == "open" else said

        return question

    async def service(self, name: str) -> None:
        pod = self.pods[name]
        running = self.stage.prepare(pod.container, self.names)
        await self.stage.start(running)
        await self.stage.healthy(running, self.asked(name, pod.probes), pod.patience)

    def asked(self, name: str, probes: list[tuple[str, int]]):
        """What the node asks a pod."""

        async def question() -> str | None:
            for path, port in probes:
                visitor = Visitor(self.stage.address(name), port)
                try:
                    answer = await asyncio.to_thread(visitor.request, "GET", path)
                except Failure as failure:
                    return str(failure)
                if answer.status >= 400:
                    return f"{path} says {answer.status}: {answer.body[:300]}"
            return None

        return question

    async def poll(self) -> None:
        """The CronJob's pod, once."""
        await self.stage.finish(self.stage.prepare(self.pods["price-poller"].container, self.names), 60)

    async def smoke(self) -> None:
        """Both colours, by way of the load balancer's network."""
        for colour in COLOURS:
            name = self.cluster.selected(f"gateway-{colour}", self.pods)[0]
            await proofs.smoke(
                self.stage, "ingress", {f"gateway-{colour}": self.stage.address(name)}, f"gateway-{colour}"
            )

    def visitor(self, gateway: str) -> Visitor:
        port = self.cluster.target("gateway", self.pods[gateway])
        ask = self.stage.network.ask
        published = self.cluster.is_published
        return Visitor(self.stage.address(gateway), port, lambda question: ask("ingress", question), published)

    def operator(self):
        """Commands in the pod of `make operate`, as the operator's own role; the Job's is the owner."""
        variables = {"DATABASE_URL": self.secrets.database_url("tickbell_operator")}
        return money.operator(self.stage, self.pods["operator"].container, self.names, variables)

    def without_traces(self) -> list[str]:
        """The services that make spans and of which the collector has heard nothing."""
        got = b"".join(file.read_bytes() for file in (self.stage.live / "volumes/traces").iterdir())
        roles = {self.pods[name].labels["app.kubernetes.io/name"] for name in self.services}
        return sorted(role for role in roles & makes_spans() if role.encode() not in got)

    async def intrude(self) -> None:
        """One example each of what must not work."""
        passwords, address = self.secrets.passwords, self.stage.address
        inside = self.stage.network.ask
        with self.stage.step("a service cannot publish on another's subject"):
            said = self.as_user(
                "alert-engine-1", "alert-engine", lambda client: client.publish("rules.intruder", b"{}")
            )
            intruder.expect("publishing on rules.intruder as alert-engine", said, "Permissions Violation")
        with self.stage.step("NATS takes no connection without TLS"):
            said = inside(
                "alert-engine-1",
                lambda: intruder.connect_plain(address("nats"), "alert-engine", passwords["alert-engine"]),
            )
            intruder.expect("a connection without TLS", said, "hung up", "Secure Connection - TLS Required")
        notifier = self.stage.running["notifier-1"]
        with self.stage.step("PostgreSQL takes no connection without TLS"):
            said = await query(notifier, self.secrets.database_url("tickbell_notifier", "sslmode=disable"), "SELECT 1")
            intruder.expect("a connection without TLS", said, "no encryption")
        with self.stage.step("a service's role cannot read another's tables"):
            url = self.secrets.database_url("tickbell_notifier")
            intruder.expect(
                "the notifier's role", await query(notifier, url, "SELECT count(*) FROM deliveries"), "(1 row)"
            )
            said = await query(notifier, url, "SELECT * FROM rules")
            intruder.expect("SELECT * FROM rules by the notifier", said, "permission denied for table rules")
        with self.stage.step("not even the settler's role can set a balance"):
            url = self.secrets.database_url("tickbell_trade_settler")
            said = await query(notifier, url, "UPDATE accounts SET balance = 1")
            intruder.expect("UPDATE accounts by the settler", said, "permission denied for table accounts")
        with self.stage.step("a pod reaches nobody whom its policy does not name"):
            said = inside("price-ingestor-1", lambda: intruder.knock(address("postgres"), 5432))
            intruder.expect("price-ingestor at PostgreSQL's port", said, "refused")


def makes_spans() -> set[str]:
    """The services whose code makes spans; the others only pass on what they were given."""
    sources = [path for role in house.roles() for path in (house.ROOT / "services" / role / "src").rglob("*.rs")]
    return {path.relative_to(house.ROOT).parts[1] for path in sources if "_span!(" in path.read_text()}


async def query(running: Running, url: str, text: str) -> str:
    """What psql says inside a container."""
    _, said = await running.run(["/usr/bin/psql", "--no-psqlrc", url, "--command", text], 10)
    return said


def items(labels: dict[str, str]) -> tuple[tuple[str, str], ...]:
    return tuple(sorted(labels.items()))


def run(keep: bool, overlay: Path = OVERLAY) -> int:
    if not (overlay / "kustomization.yaml").is_file():
        raise Failure(f"{overlay.relative_to(house.ROOT)} does not exist")
    cluster = Cluster(overlay)
    dry = {"PATH": os.environ["PATH"], "ENV": "production", "DRY_RUN": "1"}
    cluster.objects += house.documents(house.output(house.ROOT / "infra/pipelines/operate", env=dry))
    stage = Stage([*kubernetes.names(cluster), *SERVERS, *NEIGHBOURS], OUTSIDE)
    return perform(stage, Production(cluster, stage, keep).prove())
