"""ccxt and cryptofeed, unmodified but for the URLs, watch trades as they happen. It runs last: it publishes more of them."""

import asyncio
import itertools
import logging
from collections.abc import Callable, Coroutine
from datetime import timedelta
from decimal import Decimal

import ccxt.pro
import pytest
from cryptofeed import FeedHandler
from cryptofeed.connection import RestEndpoint, Routes, WebsocketEndpoint
from cryptofeed.defines import TRADES
from cryptofeed.exchanges import Coinbase
from tickbell_up import HOURS, START, Tickbell, recording
from tls import self_signed, tls_proxy

# The longest wait for what was published, in seconds.
TIMEOUT = 30
HOUR = itertools.count(HOURS)
PAIRS = ("BTC-USD", "ETH-BTC")


def publish(tickbell: Tickbell) -> dict[str, list[dict]]:
    """Publishes the trades of one more hour, and returns those of each pair, oldest first."""
    start = START + timedelta(hours=next(HOUR))
    tickbell.ingest(recording(tickbell.folder / f"{start:%d-%H}.csv", start, 1))
    since = f"{start:%Y-%m-%dT%H:%M:%SZ}"
    return {pair: tickbell.items(f"/v1/prices/{pair}/history?order=asc&from={since}") for pair in PAIRS}


async def publish_until_seen(tickbell: Tickbell, is_seen: Callable[[], bool]) -> dict[str, list[dict]]:
    """Publishes until a client has subscribed, of which it says nothing, and then what it must see."""
    for _ in range(TIMEOUT):
        await asyncio.to_thread(publish, tickbell)
        if is_seen():
            return await asyncio.to_thread(publish, tickbell)
    raise AssertionError("the client sees nothing")


async def until(is_so: Callable[[], bool]) -> None:
    async with asyncio.timeout(TIMEOUT):
        while not is_so():
            await asyncio.sleep(0.05)


def run(work: Coroutine) -> None:
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    try:
        loop.run_until_complete(asyncio.wait_for(work, 3 * TIMEOUT))
    finally:
        for task in asyncio.all_tasks(loop):
            task.cancel()
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()


def client(tickbell: Tickbell) -> ccxt.pro.coinbaseexchange:
    exchange = ccxt.pro.coinbaseexchange({"newUpdates": True})
    base = f"{tickbell.url}/compat/coinbase"
    exchange.urls["api"] = {"public": base, "private": base, "ws": base.replace("http", "ws", 1) + "/ws"}
    return exchange


def test_ccxt_watches_every_trade(tickbell):
    async def watch() -> None:
        exchange = client(tickbell)
        seen: dict[str, list[dict]] = {pair: [] for pair in PAIRS}

        async def collect(pair: str) -> None:
            while True:
                seen[pair] += await exchange.watch_trades(pair.replace("-", "/"))

        await exchange.load_markets()
        watching = [asyncio.create_task(collect(pair)) for pair in PAIRS]
        try:
            history = await publish_until_seen(tickbell, lambda: all(seen.values()))
            last = {pair: ticks[-1]["trade_id"] for pair, ticks in history.items()}
            await until(lambda: all(seen[pair][-1]["id"] == last[pair] for pair in PAIRS))
            for pair, ticks in history.items():
                fields = [(one["id"], *(one["info"][name] for name in ("price", "size", "time"))) for one in seen[pair]]
                expected = [(tick["trade_id"], tick["price"], tick["size"], tick["at"]) for tick in ticks]
                assert len(ticks) > 30 and fields[-len(ticks) :] == expected
        finally:
            for task in watching:
                task.cancel()
            await exchange.close()

    run(watch())


def test_ccxt_watches_the_ticker(tickbell):
    async def watch() -> None:
        exchange = client(tickbell)
        seen: list[dict] = []

        async def collect() -> None:
            while True:
                seen.append(await exchange.watch_ticker("BTC/USD"))

        await exchange.load_markets()
        watching = asyncio.create_task(collect())
        try:
            ticks = (await publish_until_seen(tickbell, lambda: bool(seen)))["BTC-USD"]
            await until(lambda: seen[-1]["info"]["time"] == ticks[-1]["at"])
            last = seen[-1]
            assert (last["last"], last["info"]["price"]) == (float(ticks[-1]["price"]), ticks[-1]["price"])
            assert (str(last["info"]["trade_id"]), last["info"]["last_size"]) == (
                ticks[-1]["trade_id"],
                ticks[-1]["size"],
            )
            stats = tickbell.get("/compat/coinbase/products/BTC-USD/stats")
            assert last["info"]["open_24h"] == stats["open"]
            assert Decimal(stats["low"]) <= Decimal(last["info"]["low_24h"]) <= Decimal(last["info"]["high_24h"])
        finally:
            watching.cancel()
            await exchange.close()

    run(watch())


def test_what_cannot_be_subscribed_is_an_error_that_ccxt_raises(tickbell):
    async def watch() -> None:
        exchange = client(tickbell)
        await exchange.load_markets()
        try:
            with pytest.raises(ccxt.ExchangeError, match="allowed are ticker and matches"):
                await asyncio.wait_for(exchange.subscribe("heartbeat", "BTC/USD", "heartbeat"), TIMEOUT)
        finally:
            await exchange.close()

    run(watch())


def test_cryptofeed_gets_the_trades_of_two_symbols(tickbell, monkeypatch, caplog, tmp_path):
    caplog.set_level(logging.WARNING)
    certificate = self_signed(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    rest = f"{tickbell.url}/compat/coinbase-advanced/api/v3/brokerage"
    monkeypatch.setattr(Coinbase, "rest_endpoints", [RestEndpoint(rest, routes=Routes("/products"))])
    seen: dict[str, list] = {pair: [] for pair in PAIRS}

    async def trade(trade, _received: float) -> None:
        seen[trade.symbol].append(trade)

    async def watch() -> None:
        proxy, port = await tls_proxy(certificate, tickbell.url)
        socket = WebsocketEndpoint(f"wss://localhost:{port}/compat/coinbase-advanced/ws", options={"compression": None})
        monkeypatch.setattr(Coinbase, "websocket_endpoints", [socket])
        config = {"log": {"disabled": True}, "coinbase": {"key_id": "any", "key_secret": "any"}}
        handler = FeedHandler(config=config)
        handler.add_feed(Coinbase(config=config, symbols=list(PAIRS), channels=[TRADES], callbacks={TRADES: trade}))
        handler.run(start_loop=False, install_signal_handlers=False)
        try:
            history = await publish_until_seen(tickbell, lambda: all(seen.values()))
            last = {pair: ticks[-1]["trade_id"] for pair, ticks in history.items()}
            await until(lambda: all(seen[pair][-1].id == last[pair] for pair in PAIRS))
            for pair, ticks in history.items():
                fields = [(one.id, one.price, one.amount) for one in seen[pair]]
                expected = [(tick["trade_id"], Decimal(tick["price"]), Decimal(tick["size"])) for tick in ticks]
                assert len(ticks) > 30 and fields[-len(ticks) :] == expected
        finally:
            await handler.stop_async(loop=asyncio.get_running_loop())
            proxy.close()

    run(watch())
    assert not [record for record in caplog.records if "Invalid message" in record.getMessage()]
