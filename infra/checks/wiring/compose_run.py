"""compose.yaml as processes: what `docker compose up --wait` does, the proofs, and `docker compose down`."""

import asyncio

from wiring import compose, metrics, money, proofs
from wiring.compose import Service
from wiring.corner import Failure
from wiring.images import Health
from wiring.people import Visitor
from wiring.stage import Stage, perform


def run(keep: bool) -> int:
    project = compose.read()
    stage = Stage([*compose.names(project), "smoke"])
    return perform(stage, prove(stage, compose.services(project, stage.volume), keep))


async def prove(stage: Stage, wanted: dict[str, Service], keep: bool) -> None:
    await up(stage, wanted)
    stage.say("all", "healthy")
    names = {name: stage.address(name) for name in wanted}
    visitor = Visitor(names["gateway"])
    ours = [name for name, one in wanted.items() if one.image.ours and not stage.running[name].stopping]
    mails = stage.live / "volumes/mailpit-mails/box"
    base = wanted["gateway"].container.environment["TICKBELL_LINKS__BASE_URL"]
    with stage.step("links in mails lead to the port that is published"):
        port = base.rpartition(":")[2]
        published = [inside for host, inside in wanted["gateway"].ports.items() if host.rpartition(":")[2] == port]
        if published != ["8080"]:
            raise Failure(f"links lead to {base}, and the gateway's ports are {wanted['gateway'].ports}")
    await proofs.smoke(stage, "smoke", names)
    await proofs.be_told(stage, visitor, mails, base)
    # As the runbook says it: `docker compose run -e NATS_URL=… migrate`, as the broker's operator and the database's owner.
    variables = {"NATS_URL": wanted["streams"].container.environment["NATS_URL"]}
    await money.trade(stage, visitor, mails, base, money.operator(stage, wanted["migrate"].container, names, variables))
    with stage.step("metrics"):
        stage.say("", metrics.compare({name: proofs.scrape(stage, name) for name in ours}))
    proofs.nothing_refused(stage)
    if keep:
        await proofs.stay(stage, names["gateway"])
    with stage.step("everything ends with status 0 when it is asked"):
        await down(stage, wanted)


async def up(stage: Stage, wanted: dict[str, Service]) -> None:
    """`docker compose up --wait`: each service when its conditions hold, and the end when all are healthy."""
    shots = {
        name for one in wanted.values() for name, rule in one.after.items() if rule == "service_completed_successfully"
    }
    tasks: dict[str, asyncio.Task] = {}
    started = {name: asyncio.Event() for name in wanted}

    async def bring(name: str) -> None:
        one = wanted[name]
        for other, rule in one.after.items():
            await (started[other].wait() if rule == "service_started" else asyncio.shield(tasks[other]))
        running = stage.prepare(one.container, known(stage, wanted, one))
        started[name].set()
        if name in shots:
            await stage.finish(running, 60)
            return
        await stage.start(running)
        if one.health:
            await stage.healthy(running, asked(running, one.health), limit(one.health))
        else:
            stage.say(name, "started; it has no health check")

    for name in order(wanted):
        tasks[name] = asyncio.create_task(bring(name))
    await asyncio.gather(*tasks.values())


def known(stage: Stage, wanted: dict[str, Service], one: Service) -> dict[str, str]:
    """The names that a service finds: those on its networks."""
    return {name: stage.address(name) for name, other in wanted.items() if other.networks & one.networks}


def asked(running, health: Health):
    async def question() -> str | None:
        status, said = await running.run(health.command, health.timeout)
        return None if status == 0 else f"{' '.join(health.command)} ended with {status}: {said[-300:]}"

    return question


def limit(health: Health) -> float:
    """When Docker would call it unhealthy."""
    return health.start_period + health.interval * health.retries


def order(wanted: dict[str, Service]) -> list[str]:
    """Services after those that they wait for."""
    done: list[str] = []

    def visit(name: str, above: tuple[str, ...]) -> None:
        if name in above:
            raise Failure(f"compose.yaml: {' → '.join([*above, name])} wait for each other")
        if name not in wanted:
            raise Failure(f"compose.yaml: {above[-1]} waits for {name}, which does not run without its profile")
        if name not in done:
            for other in wanted[name].after:
                visit(other, (*above, name))
            done.append(name)

    for name in wanted:
        visit(name, ())
    return done


async def down(stage: Stage, wanted: dict[str, Service]) -> None:
    """`docker compose down`: whoever waits for others ends before them, also where those have long ended."""
    left = list(wanted)
    while left:
        free = [name for name in left if not any(name in wanted[other].after for other in left)]
        await stage.stop([name for name in free if not stage.running[name].stopping])
        left = [name for name in left if name not in free]
