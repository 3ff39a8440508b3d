"""Reads captures of exchanges without any of our code, and prints each trade: venue, product, id, price, size, microseconds."""

import gzip
import json
import sys
from datetime import datetime, timezone
from pathlib import Path

EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)


def micros(text):
    delta = datetime.fromisoformat(text.replace("Z", "+00:00")) - EPOCH
    return (delta.days * 86_400 + delta.seconds) * 1_000_000 + delta.microseconds


def coinbase(message):
    if message.get("type") in ("match", "last_match"):
        trade = message
        yield trade["product_id"], trade["trade_id"], trade["price"], trade["size"], micros(trade["time"])


def coinbaseadvanced(message):
    if message.get("channel") == "market_trades":
        trades = [trade for event in message["events"] for trade in event["trades"]]
        for trade in sorted(trades, key=lambda trade: int(trade["trade_id"])):
            yield trade["product_id"], trade["trade_id"], trade["price"], trade["size"], micros(trade["time"])


def binance(message):
    if message.get("data", {}).get("e") == "aggTrade":
        trade = message["data"]
        yield trade["s"], trade["a"], trade["p"], trade["q"], int(trade["T"]) * 1_000


def kraken(message):
    if message.get("channel") == "trade":
        for trade in sorted(message["data"], key=lambda trade: int(trade["trade_id"])):
            yield trade["symbol"], trade["trade_id"], trade["price"], trade["qty"], micros(trade["timestamp"])


def bitstamp(message):
    if message.get("event") == "trade":
        trade, product = message["data"], message["channel"].removeprefix("live_trades_")
        yield product, trade["id"], trade["price_str"], trade["amount_str"], int(trade["microtimestamp"])


CAPTURES = {
    "coinbase.ndjson.gz": ("coinbase", coinbase),
    "coinbase-advanced.ndjson": ("coinbaseadvanced", coinbaseadvanced),
    "binance.ndjson.gz": ("binance", binance),
    "kraken-v2.ndjson": ("kraken", kraken),
    "bitstamp.ndjson.gz": ("bitstamp", bitstamp),
}

for name, (venue, trades) in CAPTURES.items():
    path = Path(sys.argv[1]) / name
    with gzip.open(path, "rt") if path.suffix == ".gz" else path.open() as lines:
        for line in lines:
            # Numbers stay text, so that no digit is lost.
            message = json.loads(line, parse_float=str, parse_int=str).get("received")
            if isinstance(message, dict):
                for trade in trades(message):
                    print(venue, *trade)
