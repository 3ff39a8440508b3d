"""Runs the production overlay as processes: the rendered pods, and the servers that the cluster provides."""

import asyncio
import os
from pathlib import Path

import project

from runtime_check import metrics, scenarios, trading
from runtime_check.cluster import (
    controller,
    denied_peer,
    kubernetes,
    nats,
    policies,
    servers,
)
from runtime_check.cluster.kubernetes import Cluster
from runtime_check.cluster.policies import Peer
from runtime_check.cluster.servers import BROKER, DATABASE, MAIL, PRICES, Secrets
from runtime_check.processes.certificate_authority import Authority
from runtime_check.processes.container import Running
from runtime_check.processes.namespaces import Failure
from runtime_check.processes.process_runner import ProcessRunner, run_plan, wait_until
from runtime_check.users import ApiClient

OVERLAY = project.ROOT / "k8s/overlays/production"
DOMAIN = "tickbell.svc.cluster.local"
CONTROLLER = "jetstream-controller"
# Other pods of the cluster that the policies name: name to namespace and labels.
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
    """The state of one run."""

    def __init__(self, cluster: Cluster, runner: ProcessRunner, keep: bool):
        self.cluster, self.runner, self.keep = cluster, runner, keep
        self.postgres = cluster.one("Cluster", "tickbell-postgres")["spec"]
        self.secrets = Secrets([role["name"] for role in self.postgres["managed"]["roles"]])
        self.authority = Authority(runner.live / "authorities", "internal")
        # The dry run of `make operate` does not know the hashed name of the settings, so it gets the plain one.
        given = {"tickbell-ca": {"ca.crt": self.authority.text}, "tickbell-settings": cluster.settings()}
        stored = {one["spec"]["target"]["name"] for one in cluster.kind("ExternalSecret")}
        secrets = {name: data for name, data in self.secrets.objects().items() if name in stored}
        self.pods = kubernetes.pods_of(cluster, secrets, given, runner.volume)
        # Otherwise the check would wait three minutes for a price.
        for name, pod in self.pods.items():
            if name.startswith("price-ingestor-"):
                pod.container.environment["TICKBELL_PRICE_INGESTOR__COINNEWS__INTERVAL"] = "1s"
        self.names = self.reachable_names()
        self.services = [name for name, pod in self.pods.items() if pod.probes]

    def reachable_names(self) -> dict[str, str]:
        """Returns the names of the cluster's DNS: the first pod of each Service, the servers, and the hosts outside."""
        found = {}
        for service in self.cluster.kind("Service"):
            name = service["metadata"]["name"]
            if pods := self.cluster.selected(name, self.pods):
                found[name] = self.runner.address(pods[0])
        found |= {BROKER: self.runner.address("nats"), "nats-headless": self.runner.address("nats")}
        found[DATABASE] = self.runner.address("postgres")
        found |= {f"{name}.{DOMAIN}": address for name, address in found.items()}
        found["otel-collector.monitoring"] = self.runner.address("otel-collector")
        return {**found, **{name: self.runner.address(name) for name in OUTSIDE}}

    def peers(self) -> tuple[list[Peer], list[Peer]]:
        """Returns the peers that the policies apply to, and all peers that a policy may name."""
        address = self.runner.address
        bound = [Peer(name, address(name), "tickbell", items(pod.labels)) for name, pod in self.pods.items()]
        bound += [Peer(name, address(name), "tickbell", items(labels)) for name, labels in SERVERS.items()]
        others = [Peer(name, address(name), space, items(labels)) for name, (space, labels) in NEIGHBOURS.items()]
        others += [Peer(name, address(name), None) for name in OUTSIDE]
        return bound, bound + others

    async def run_checks(self) -> None:
        runner = self.runner
        bound, everyone = self.peers()
        await asyncio.to_thread(policies.enforce, self.cluster.kind("NetworkPolicy"), bound, everyone)
        runner.report("network policies", f"enforced in {len(bound)} pods")
        await asyncio.gather(self.broker(), self.database(), self.outside_servers())
        await asyncio.gather(*(self.service(name) for name in self.services))
        await self.poll()
        await self.smoke()
        mails = runner.volume("mails") / "box"
        base = self.cluster.settings()["TICKBELL_LINKS__BASE_URL"]
        gateway = self.cluster.selected("gateway", self.pods)[0]
        client = self.client(gateway)
        await scenarios.subscribe_and_receive_alert(runner, client, mails, base)
        await trading.trade(runner, client, mails, base, self.operator())
        with runner.step("metrics"):
            pages = {name: scenarios.scrape(runner, name, "prometheus") for name in self.services}
            runner.report("", metrics.compare(pages))
        with runner.step("every service that creates spans sends traces"):
            missing = self.services_without_traces
            await wait_until("traces of every service", 20, lambda: not missing(), lambda: f"none from {missing()}")
        with runner.step("the network policies refused no connection"):
            if refused := await asyncio.to_thread(policies.refused, bound):
                raise Failure(f"the policies refused connections: {refused}")
        scenarios.check_no_refusals(runner)
        await self.check_denials()
        if self.keep:
            await scenarios.keep_running(runner, runner.address(gateway))
        with runner.step("every service exits with status 0 on SIGTERM"):
            await runner.stop(self.services)
            await runner.stop([name for name, running in runner.running.items() if not running.stopping])

    async def broker(self) -> None:
        """Starts NATS and creates its streams."""
        running = self.runner.prepare(servers.nats(self.runner, self.authority, self.secrets), self.names)
        await self.runner.start(running)
        await self.runner.healthy(running, self.health_probe("nats", [("/healthz", 8222)]), 30)
        streams, consumers = self.cluster.kind("Stream"), self.cluster.kind("Consumer")
        made = self.as_user(CONTROLLER, CONTROLLER, lambda client: controller.apply(client, streams, consumers))
        self.runner.report(CONTROLLER, f"created {made}")

    def as_user(self, pod: str, user: str, function):
        """Returns the result of a function on a NATS connection of a user, in a pod's network."""
        authority, password = self.authority.text, self.secrets.passwords[user]
        address = self.runner.address("nats")
        return self.runner.network.run_in(pod, lambda: function(nats.Client(address, authority, user, password)))

    async def database(self) -> None:
        """Starts PostgreSQL and creates its schema."""
        container = servers.postgres(self.runner, self.authority, self.secrets, self.postgres)
        running = self.runner.prepare(container, self.names)
        await self.runner.start(running)

        async def ready() -> str | None:
            status, output = await running.run(["pg_isready", "-h", "127.0.0.1"], 5)
            return None if status == 0 else output

        await self.runner.healthy(running, ready, 60)
        await self.runner.finish(self.runner.prepare(self.pods["migrate"].container, self.names), 60)

    async def outside_servers(self) -> None:
        """Starts the mail server and the price API of the internet, and the collector of traces."""
        runner = self.runner
        api, proxy = servers.prices(runner)
        wanted = [(servers.mail(runner), MAIL, 587), (api, None, 0), (proxy, PRICES, 443)]
        wanted.append((servers.collector(runner), "otel-collector", 4318))
        for container, name, port in wanted:
            running = runner.prepare(container, {})
            await runner.start(running)
            if name:
                await runner.healthy(running, self.port_probe(name, port), 30)

    def port_probe(self, name: str, port: int):
        async def probe() -> str | None:
            answer = await asyncio.to_thread(denied_peer.try_port, self.runner.address(name), port)
            return None if answer == "open" else answer

        return probe

    async def service(self, name: str) -> None:
        pod = self.pods[name]
        running = self.runner.prepare(pod.container, self.names)
        await self.runner.start(running)
        await self.runner.healthy(running, self.health_probe(name, pod.probes), pod.probe_deadline)

    def health_probe(self, name: str, probes: list[tuple[str, int]]):
        """Returns the probe that the node runs against a pod."""

        async def probe() -> str | None:
            for path, port in probes:
                client = ApiClient(self.runner.address(name), port)
                try:
                    answer = await asyncio.to_thread(client.request, "GET", path)
                except Failure as failure:
                    return str(failure)
                if answer.status >= 400:
                    return f"{path} was answered with {answer.status}: {answer.body[:300]}"
            return None

        return probe

    async def poll(self) -> None:
        """Runs the pod of the CronJob once."""
        await self.runner.finish(self.runner.prepare(self.pods["price-poller"].container, self.names), 60)

    async def smoke(self) -> None:
        """Runs the smoke test against both colours, from the load balancer's network."""
        for colour in COLOURS:
            name = self.cluster.selected(f"gateway-{colour}", self.pods)[0]
            await scenarios.smoke(
                self.runner, "ingress", {f"gateway-{colour}": self.runner.address(name)}, f"gateway-{colour}"
            )

    def client(self, gateway: str) -> ApiClient:
        port = self.cluster.target("gateway", self.pods[gateway])
        run_in = self.runner.network.run_in
        published = self.cluster.is_published
        return ApiClient(self.runner.address(gateway), port, lambda function: run_in("ingress", function), published)

    def operator(self):
        """Returns a function that runs commands in the pod of `make operate`, with the database role tickbell_operator.

        The Job itself connects as the owner of the database.
        """
        variables = {"DATABASE_URL": self.secrets.database_url("tickbell_operator")}
        return trading.operator(self.runner, self.pods["operator"].container, self.names, variables)

    def services_without_traces(self) -> list[str]:
        """Returns the services that create spans and whose traces have not reached the collector."""
        received = b"".join(file.read_bytes() for file in (self.runner.live / "volumes/traces").iterdir())
        services = {self.pods[name].labels["app.kubernetes.io/name"] for name in self.services}
        return sorted(service for service in services & services_with_spans() if service.encode() not in received)

    async def check_denials(self) -> None:
        """Tests one example of each kind of access that must be denied."""
        passwords, address = self.secrets.passwords, self.runner.address
        run_in = self.runner.network.run_in
        with self.runner.step("a service cannot publish on another's subject"):
            answer = self.as_user(
                "alert-engine-1", "alert-engine", lambda client: client.publish("rules.denied", b"{}")
            )
            denied_peer.expect("publishing on rules.denied as alert-engine", answer, "Permissions Violation")
        with self.runner.step("NATS refuses a connection without TLS"):
            answer = run_in(
                "alert-engine-1",
                lambda: denied_peer.connect_plain(address("nats"), "alert-engine", passwords["alert-engine"]),
            )
            denied_peer.expect(
                "a connection without TLS", answer, "connection closed", "Secure Connection - TLS Required"
            )
        notifier = self.runner.running["notifier-1"]
        with self.runner.step("PostgreSQL refuses a connection without TLS"):
            answer = await query(
                notifier, self.secrets.database_url("tickbell_notifier", "sslmode=disable"), "SELECT 1"
            )
            denied_peer.expect("a connection without TLS", answer, "no encryption")
        with self.runner.step("a service's role cannot read another's tables"):
            url = self.secrets.database_url("tickbell_notifier")
            denied_peer.expect(
                "the notifier's role", await query(notifier, url, "SELECT count(*) FROM deliveries"), "(1 row)"
            )
            answer = await query(notifier, url, "SELECT * FROM rules")
            denied_peer.expect("SELECT * FROM rules by the notifier", answer, "permission denied for table rules")
        with self.runner.step("the settler's role cannot set a balance"):
            url = self.secrets.database_url("tickbell_trade_settler")
            answer = await query(notifier, url, "UPDATE accounts SET balance = 1")
            denied_peer.expect("UPDATE accounts by the settler", answer, "permission denied for table accounts")
        with self.runner.step("a pod cannot reach a peer that its policy does not name"):
            answer = run_in("price-ingestor-1", lambda: denied_peer.try_port(address(MAIL), 587))
            denied_peer.expect("price-ingestor at the mail server's port", answer, "refused")


def services_with_spans() -> set[str]:
    """Returns the services whose code creates spans; the others only propagate the trace context."""
    sources = [
        path for service in project.services() for path in (project.ROOT / "services" / service / "src").rglob("*.rs")
    ]
    return {path.relative_to(project.ROOT).parts[1] for path in sources if "_span!(" in path.read_text()}


async def query(running: Running, url: str, text: str) -> str:
    """Returns the output of psql inside a container."""
    _, answer = await running.run(["/usr/bin/psql", "--no-psqlrc", url, "--command", text], 10)
    return answer


def items(labels: dict[str, str]) -> tuple[tuple[str, str], ...]:
    return tuple(sorted(labels.items()))


def run(keep: bool, overlay: Path = OVERLAY) -> int:
    if not (overlay / "kustomization.yaml").is_file():
        raise Failure(f"{overlay.relative_to(project.ROOT)} does not exist")
    cluster = Cluster(overlay)
    dry = {"PATH": os.environ["PATH"], "ENV": "production", "DRY_RUN": "1"}
    cluster.objects += project.documents(project.output(project.ROOT / "infra/scripts/operate", env=dry))
    runner = ProcessRunner([*kubernetes.names(cluster), *SERVERS, *NEIGHBOURS], OUTSIDE)
    return run_plan(runner, Production(cluster, runner, keep).run_checks())
