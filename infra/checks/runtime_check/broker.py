"""Runs the three servers of the official NATS chart as processes: they form a cluster that outlives one of them."""

import asyncio
import json

import manifests
import nats_chart
import project

from runtime_check.cluster import controller, nats, servers
from runtime_check.cluster.servers import Secrets
from runtime_check.processes import images
from runtime_check.processes.certificate_authority import Authority
from runtime_check.processes.container import Container, Mount
from runtime_check.processes.namespaces import Failure
from runtime_check.processes.process_runner import ProcessRunner, run_plan, wait_until
from runtime_check.users import ApiClient

POD = nats_chart.pod()
OWNER = (POD["securityContext"]["runAsUser"], POD["securityContext"]["runAsGroup"])
PODS = [f"nats-{number}" for number in range(nats_chart.values()["config"]["cluster"]["replicas"])]
# Where a client connects from.
CLIENT = "client"


class Broker:
    """The state of one run."""

    def __init__(self, runner: ProcessRunner):
        self.runner = runner
        self.authority = Authority(runner.live / "authorities", "internal")
        self.secrets = Secrets([])
        # The names of the headless Service and of the Service.
        self.names = {f"{pod}.nats-headless": runner.address(pod) for pod in PODS} | {"nats": runner.address(PODS[0])}

    async def run_checks(self) -> None:
        runner = self.runner
        for pod in PODS:
            await runner.start(runner.prepare(self.container(pod), self.names))
        # The probes of the chart; the readiness probe alone passes on a server that has no cluster.
        for pod in PODS:
            await runner.healthy(runner.running[pod], self.probe(pod, "/healthz"), 60)
        with runner.step(f"{len(PODS)} servers are connected with each other by TLS and have a leader"):
            await wait_until("a cluster", 30, self.formed, lambda: json.dumps(self.view(PODS[0])))
        objects = manifests.overlay("production")
        streams, consumers = (manifests.of_kind(objects, kind) for kind in ("Stream", "Consumer"))
        with runner.step("the JetStream controller's user creates every stream with its replicas"):
            (replicas,) = {stream["spec"]["replicas"] for stream in streams}
            await asyncio.to_thread(
                self.as_user,
                "jetstream-controller",
                lambda client: controller.apply(client, streams, consumers, replicas),
            )
        with runner.step("the system user sees the servers, and no stream"):
            answer = self.as_user("system", lambda client: client.request("$SYS.REQ.SERVER.PING", {}))
            if answer["server"]["name"] not in PODS:
                raise Failure(f"the system user was answered {answer}")
            refused = self.as_user("operator", lambda client: client.publish("$SYS.REQ.SERVER.PING", b""))
            if "Permissions Violation" not in refused:
                raise Failure(f"the operator may ask the system account: {refused}")
        with runner.step("a message is acknowledged while one server is away"):
            await runner.stop([PODS[-1]])
            await wait_until("an acknowledgement", 30, self.acknowledged)
        await runner.stop(PODS[:-1])

    def container(self, pod: str) -> Container:
        """Returns the container `nats` of the chart's pod."""
        given = POD["containers"][0]
        image = images.named(given["image"])
        tls = servers.certificate_files(
            self.runner, f"{pod}-tls", self.authority, self.authority.sign_request(servers.REQUEST), OWNER
        )
        config = self.runner.volume(f"{pod}-config")
        (config / "nats.conf").write_text(nats_chart.nats_conf())
        (config / "users.conf").write_text((project.ROOT / "infra/nats/users.conf").read_text())
        sources = {"config": config, "nats-js": self.runner.volume(f"{pod}-js", OWNER), "pid": None}
        mounts = [
            Mount(mount["mountPath"], sources.get(mount["name"], tls), read_only=mount["mountPath"].startswith("/etc"))
            for mount in given["volumeMounts"]
        ]
        return Container(
            pod,
            image.command_line(None, ["nats-server", *given["args"]]),
            environment={"POD_NAME": pod, "SERVER_NAME": pod, **self.secrets.for_nats()},
            user=OWNER,
            read_only=given["securityContext"]["readOnlyRootFilesystem"],
            no_capabilities=True,
            mounts=mounts,
            programs=image.programs,
            grace=POD["terminationGracePeriodSeconds"],
        )

    def probe(self, pod: str, path: str):
        async def probe() -> str | None:
            try:
                answer = await asyncio.to_thread(self.monitor(pod).request, "GET", path)
            except Failure as failure:
                return str(failure)
            return None if answer.status == 200 else f"{path} was answered with {answer.status}: {answer.body[:300]}"

        return probe

    def monitor(self, pod: str) -> ApiClient:
        return ApiClient(self.runner.address(pod), 8222)

    def view(self, pod: str) -> dict:
        """Returns what a server says of its cluster."""
        meta = json.loads(self.monitor(pod).request("GET", "/jsz").body).get("meta_cluster", {})
        routes = json.loads(self.monitor(pod).request("GET", "/routez").body)["routes"]
        remotes = sorted({route["remote_name"] for route in routes})
        return {"leader": meta.get("leader"), "size": meta.get("cluster_size"), "routes": remotes}

    def formed(self) -> bool:
        for pod in PODS:
            view = self.view(pod)
            if not view["leader"] or view["size"] != len(PODS) or view["routes"] != [one for one in PODS if one != pod]:
                return False
        return True

    def acknowledged(self) -> bool:
        answer = self.as_user("gateway", lambda client: client.request("orders.check", {}))
        return answer.get("stream") == "ORDERS"

    def as_user(self, user: str, function):
        """Returns the result of a function on a connection of a user."""
        password, address = self.secrets.passwords[user], self.runner.address(PODS[0])
        return self.runner.network.run_in(
            CLIENT, lambda: function(nats.Client(address, self.authority.text, user, password))
        )


def run(_keep: bool) -> int:
    runner = ProcessRunner([*PODS, CLIENT])
    return run_plan(runner, Broker(runner).run_checks())
