"""Runs compose.yaml as processes: `docker compose up --wait`, the scenarios, and `docker compose down`."""

import asyncio

from runtime_check import compose, metrics, scenarios, trading
from runtime_check.compose import Service
from runtime_check.processes.images import Health
from runtime_check.processes.namespaces import Failure
from runtime_check.processes.process_runner import ProcessRunner, run_plan
from runtime_check.users import ApiClient


def run(keep: bool) -> int:
    compose_file = compose.read()
    runner = ProcessRunner([*compose.names(compose_file), "smoke"])
    return run_plan(runner, run_checks(runner, compose.services(compose_file, runner.volume), keep))


async def run_checks(runner: ProcessRunner, wanted: dict[str, Service], keep: bool) -> None:
    await up(runner, wanted)
    runner.report("all", "healthy")
    names = {name: runner.address(name) for name in wanted}
    client = ApiClient(names["gateway"])
    own_services = [name for name, one in wanted.items() if one.image.own_program and not runner.running[name].stopping]
    mails = runner.live / "volumes/mailpit-mails/box"
    base = wanted["gateway"].container.environment["TICKBELL_LINKS__BASE_URL"]
    with runner.step("links in mails point at the published port"):
        port = base.rpartition(":")[2]
        published = [inside for host, inside in wanted["gateway"].ports.items() if host.rpartition(":")[2] == port]
        if published != ["8080"]:
            raise Failure(f"links lead to {base}, and the gateway's ports are {wanted['gateway'].ports}")
    await scenarios.smoke(runner, "smoke", names)
    await scenarios.subscribe_and_receive_alert(runner, client, mails, base)
    # As the broker's operator and the database's owner, like `docker compose run -e NATS_URL=… migrate` in the runbook.
    variables = {"NATS_URL": wanted["streams"].container.environment["NATS_URL"]}
    await trading.trade(
        runner, client, mails, base, trading.operator(runner, wanted["migrate"].container, names, variables)
    )
    with runner.step("metrics"):
        runner.report("", metrics.compare({name: scenarios.scrape(runner, name) for name in own_services}))
    scenarios.check_no_refusals(runner)
    if keep:
        await scenarios.keep_running(runner, names["gateway"])
    with runner.step("every service exits with status 0 on SIGTERM"):
        await down(runner, wanted)


async def up(runner: ProcessRunner, wanted: dict[str, Service]) -> None:
    """`docker compose up --wait`: each service when its conditions hold, and the end when all are healthy."""
    one_shots = {
        name for one in wanted.values() for name, rule in one.after.items() if rule == "service_completed_successfully"
    }
    tasks: dict[str, asyncio.Task] = {}
    started = {name: asyncio.Event() for name in wanted}

    async def start_service(name: str) -> None:
        one = wanted[name]
        for other, rule in one.after.items():
            await (started[other].wait() if rule == "service_started" else asyncio.shield(tasks[other]))
        running = runner.prepare(one.container, reachable_names(runner, wanted, one))
        started[name].set()
        if name in one_shots:
            await runner.finish(running, 60)
            return
        await runner.start(running)
        if one.health:
            await runner.healthy(running, health_probe(running, one.health), unhealthy_after(one.health))
        else:
            runner.report(name, "started; it has no health check")

    for name in order(wanted):
        tasks[name] = asyncio.create_task(start_service(name))
    await asyncio.gather(*tasks.values())


def reachable_names(runner: ProcessRunner, wanted: dict[str, Service], one: Service) -> dict[str, str]:
    """Returns the names that a service can resolve: those on its networks."""
    return {name: runner.address(name) for name, other in wanted.items() if other.networks & one.networks}


def health_probe(running, health: Health):
    async def probe() -> str | None:
        status, output = await running.run(health.command, health.timeout)
        return None if status == 0 else f"{' '.join(health.command)} exited with {status}: {output[-300:]}"

    return probe


def unhealthy_after(health: Health) -> float:
    """Returns the seconds after which Docker reports a service as unhealthy."""
    return health.start_period + health.interval * health.retries


def order(wanted: dict[str, Service]) -> list[str]:
    """Returns the services in an order in which each stands after those that it waits for."""
    done: list[str] = []

    def visit(name: str, above: tuple[str, ...]) -> None:
        if name in above:
            raise Failure(f"compose.yaml: {' → '.join([*above, name])} wait for each other")
        if name not in wanted:
            raise Failure(f"compose.yaml: {above[-1]} waits for {name}, which only runs with its profile")
        if name not in done:
            for other in wanted[name].after:
                visit(other, (*above, name))
            done.append(name)

    for name in wanted:
        visit(name, ())
    return done


async def down(runner: ProcessRunner, wanted: dict[str, Service]) -> None:
    """Does what `docker compose down` does: a service stops before the services that it depends on."""
    left = list(wanted)
    while left:
        free = [name for name in left if not any(name in wanted[other].after for other in left)]
        await runner.stop([name for name in free if not runner.running[name].stopping])
        left = [name for name in left if name not in free]
