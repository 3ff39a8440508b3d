"""What somebody does who trades, and what an operator does besides: from signing up to a ledger that is right."""

import asyncio
import dataclasses
import json
from collections.abc import Awaitable, Callable
from pathlib import Path

from wiring import people
from wiring.container import Container
from wiring.corner import Failure
from wiring.people import Visitor
from wiring.stage import Stage, until

SOMEBODY, PASSWORD = "bob@example.com", "correct horse battery staple"
ORDER = {"symbol": "BTC-USD", "side": "buy", "type": "market", "funds": "500"}
# The settler decides at once; it may be a busy machine.
PATIENCE = {"prefer": "wait=9"}


async def trade(stage: Stage, visitor: Visitor, mails: Path, base: str, operate: Callable[..., Awaitable[str]]) -> None:
    """The journey of money; `operate` runs an operator's command and gives what it said."""
    tails = stage.tails("gateway", "trade-settler", "notifier")
    with stage.step("somebody signs up, confirms by mail and signs in"):
        account = {"email": SOMEBODY, "password": PASSWORD}
        await ask(visitor, 202, "POST", "/v1/users", account)
        link = await until("the mail that asks to join", 20, lambda: people.link(mails, SOMEBODY, "join"), tails)
        await asyncio.to_thread(visitor.press, link, base)
        session = {"authorization": f"Bearer {(await ask(visitor, 201, 'POST', '/v1/sessions', account))['token']}"}
    with stage.step("an operator funds the account"):
        said = await operate("accounts", "deposit", SOMEBODY, "1000.00", "USD")
        if f"{SOMEBODY} has 1000.00 USD now" not in said:
            raise Failure(f"the deposit ended with “{said[-300:]}”")
    with stage.step("an order is filled while its sender waits, and comes by mail"):
        order = await ask(visitor, 200, "POST", "/v1/orders", ORDER, session | PATIENCE)
        if order["status"] != "filled":
            raise Failure(f"the order is not filled: {order}\n{tails()}")
        held = {item["asset"] for item in (await ask(visitor, 200, "GET", "/v1/accounts", None, session))["items"]}
        if held != {"BTC", "USD"}:
            raise Failure(f"the account holds {sorted(held)} after the order")
        bought = await until(
            "the mail of what was bought", 20, lambda: people.subject(mails, SOMEBODY, "Bought"), tails
        )
        stage.say("", f"“{bought}”")
    with stage.step("an operator verifies the ledger"):
        said = await operate("ledger", "verify", "--json")
        # A deposit and a fill.
        if not all(part in said for part in ('"right":true', '"postings":2', '"orders":1', '"orders_of_the_stream":1')):
            raise Failure(f"tickbell ledger verify said “{said[-600:]}”")


async def ask(visitor: Visitor, status: int, method: str, path: str, body=None, headers=None) -> dict:
    """What the API answers, when it answers as it should."""
    answer = await asyncio.to_thread(visitor.request, method, path, body, headers)
    if answer.status != status:
        raise Failure(f"{method} {path} was answered with {answer.status}: {answer.body[:500]}")
    return json.loads(answer.body)


def operator(
    stage: Stage, container: Container, names: dict[str, str], variables: dict[str, str]
) -> Callable[..., Awaitable[str]]:
    """Runs commands in a container that is there for one, with these variables besides its own."""
    environment = container.environment | variables

    async def operate(*words: str) -> str:
        name = f"{container.name}-{words[0]}"
        command = [container.command[0], *words]
        network = container.network or container.name
        once = dataclasses.replace(container, name=name, network=network, command=command, environment=environment)
        running = stage.prepare(once, names)
        await stage.finish(running, 60)
        return running.log.read_text(errors="replace")

    return operate
