"""What is proven of both wirings."""

import asyncio
import os
import socket
from pathlib import Path

from wiring import compose, images, people
from wiring.container import Container
from wiring.corner import Failure
from wiring.people import Visitor
from wiring.stage import Stage, until

SOMEBODY = "ada@example.com"


async def smoke(stage: Stage, network: str, names: dict[str, str], gateway: str = "gateway") -> None:
    """`tickbell smoke` as a container beside the others."""
    image = images.ours()
    command = [*image.entrypoint, "smoke", f"http://{gateway}:8080"]
    container = Container(
        f"smoke-{gateway}",
        command,
        network,
        environment=dict(image.environment),
        user=compose.user(image.user),
        workdir=image.workdir,
        read_only=True,
        bare=True,
        programs=image.programs,
        ours=True,
    )
    with stage.step(" ".join(command[1:])):
        await stage.finish(stage.prepare(container, names), 60)


async def be_told(stage: Stage, visitor: Visitor, mails: Path, base: str) -> None:
    """From a subscription to an alert, as somebody lives it."""
    with stage.step("a subscription is confirmed by the link in the mail"):
        await asyncio.to_thread(visitor.subscribe, SOMEBODY)
        link = await until(
            "the mail that asks to confirm", 20, lambda: people.link(mails, SOMEBODY), stage.tails("notifier")
        )
        await asyncio.to_thread(visitor.press, link, base)
    with stage.step("an alert comes by mail"):
        tails = stage.tails("price-ingestor", "alert-engine", "notifier")
        stage.say("", "“" + await until("an alert mail", 20, lambda: people.alert(mails, SOMEBODY), tails) + "”")


def nothing_refused(stage: Stage) -> None:
    """The servers' own logs: no subject and no table was asked for that is not allowed, nobody was sent away."""
    refusals = {
        "nats": ("Violation", "[ERR]"),
        "postgres": ("permission denied", "authentication failed", "no pg_hba.conf entry", "pg_hba.conf rejects"),
    }
    with stage.step("NATS and PostgreSQL have refused nothing"):
        for name, words in refusals.items():
            log = stage.running[name].log.read_text(errors="replace")
            if found := [line for line in log.splitlines() if any(word in line for word in words)]:
                raise Failure(f"{name} has said\n" + "\n".join(found[:10]))


def scrape(stage: Stage, name: str, scraper: str | None = None) -> str:
    """/metrics of a container, asked from the network of `scraper` or from the node."""
    visitor = Visitor(stage.address(name), port=8081)
    if scraper:
        visitor.ask = lambda question: stage.network.ask(scraper, question)
    answer = visitor.request("GET", "/metrics")
    if answer.status != 200:
        raise Failure(f"/metrics of {name} was answered with {answer.status}")
    return answer.body


async def stay(stage: Stage, gateway: str) -> None:
    """Leaves everything running, with the API on the port that was opened before we came here."""
    listener = socket.socket(fileno=int(os.environ["TICKBELL_WIRING_LISTENER"]))
    host, port = listener.getsockname()

    async def forward(reader, writer):
        there, back = await asyncio.open_connection(gateway, 8080)
        await asyncio.gather(copy(reader, back), copy(there, writer))

    async def copy(reader, writer):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(forward, sock=listener)
    stage.say("", f"the API is at http://{host}:{port}, logs are in {stage.folder}/logs; Ctrl-C ends it")
    stopped = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(2, stopped.set)
    await stopped.wait()
    server.close()
