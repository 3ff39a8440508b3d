"""ccxt, unmodified but for the URLs, reads our market data as that of Coinbase Exchange."""

from datetime import datetime
from decimal import Decimal

import ccxt
import pytest
from tickbell_up import Tickbell, seconds


@pytest.fixture(scope="module")
def exchange(tickbell: Tickbell) -> ccxt.coinbaseexchange:
    client = ccxt.coinbaseexchange({"enableRateLimit": False})
    base = f"{tickbell.url}/compat/coinbase"
    client.urls["api"] = {"public": base, "private": base}
    client.load_markets()
    return client


def ohlcv(candle: dict) -> list:
    values = [float(candle[name]) for name in ("open", "high", "low", "close", "volume")]
    return [seconds(candle["start"]) * 1_000, *values]


def six_hours(candles: list[dict]) -> list[dict]:
    """Folds the candles of hours."""
    buckets: dict[int, list[dict]] = {}
    for candle in candles:
        start = seconds(candle["start"]) // 21_600 * 21_600
        buckets.setdefault(start, []).append(candle)
    return [
        {
            "start": datetime.fromtimestamp(start).astimezone().isoformat(),
            "open": hours[0]["open"],
            "high": str(max(Decimal(hour["high"]) for hour in hours)),
            "low": str(min(Decimal(hour["low"]) for hour in hours)),
            "close": hours[-1]["close"],
            "volume": str(sum(Decimal(hour["volume"]) for hour in hours)),
        }
        for start, hours in buckets.items()
    ]


def test_markets_are_the_pairs(exchange, tickbell):
    markets = {market["symbol"]: market for market in exchange.fetch_markets()}
    assert set(markets) == {"BTC/USD", "ETH/BTC"}, "a share is no pair"
    assert markets["BTC/USD"]["active"]
    assert markets["BTC/USD"]["precision"] == {"amount": 1e-08, "price": 0.01}
    assert markets["ETH/BTC"]["precision"]["price"] == 1e-08
    for product in tickbell.get("/compat/coinbase/products"):
        assert tickbell.get(f"/compat/coinbase/products/{product['id']}") == product


def test_currencies_are_those_of_the_pairs(exchange):
    currencies = exchange.fetch_currencies()
    assert set(currencies) == {"BTC", "ETH", "USD"}
    assert currencies["BTC"]["precision"] == 1e-08 and currencies["BTC"]["active"]
    assert currencies["USD"]["type"] == "fiat" and currencies["ETH"]["type"] == "crypto"


def test_the_time_is_ours(exchange):
    assert abs(exchange.fetch_time() - exchange.milliseconds()) < 60_000


@pytest.mark.parametrize("symbol", ["BTC/USD", "ETH/BTC"])
def test_a_ticker_is_the_latest_price(exchange, tickbell, symbol):
    ours = tickbell.get(f"/v1/prices/{symbol.replace('/', '-')}")
    tick = tickbell.ticks(symbol.replace("/", "-"))[0]
    ticker = exchange.fetch_ticker(symbol)
    assert ticker["last"] == float(ours["price"]) and ticker["info"]["price"] == ours["price"]
    assert ticker["info"]["time"] == ours["at"] == tick["at"]
    assert (str(ticker["info"]["trade_id"]), ticker["info"]["size"]) == (tick["trade_id"], tick["size"])
    newest = seconds(ours["at"])
    minutes = [
        minute
        for minute in tickbell.candles(symbol.replace("/", "-"), "1m")
        if seconds(minute["start"]) > newest - 86_400
    ]
    assert Decimal(ticker["info"]["volume"]) == sum(Decimal(minute["volume"]) for minute in minutes)

    exchange.options["fetchTickerMethod"] = "publicGetProductsIdStats"
    stats = exchange.fetch_ticker(symbol)
    del exchange.options["fetchTickerMethod"]
    assert stats["last"] == float(ours["price"])
    assert Decimal(stats["info"]["high"]) == max(Decimal(minute["high"]) for minute in minutes)
    assert Decimal(stats["info"]["low"]) == min(Decimal(minute["low"]) for minute in minutes)
    change = (Decimal(ours["price"]) / Decimal(stats["info"]["open"]) - 1) * 100
    assert round(change, 4) == Decimal(ours["change_24h_percent"])


def test_all_tickers_are_the_latest_prices(exchange, tickbell):
    tickers = exchange.fetch_tickers()
    prices = {price["symbol"].replace("-", "/"): float(price["price"]) for price in tickbell.get("/v1/prices")["items"]}
    assert {symbol: ticker["last"] for symbol, ticker in tickers.items()} == {
        symbol: price for symbol, price in prices.items() if "/" in symbol
    }
    assert set(exchange.fetch_tickers(["ETH/BTC"])) == {"ETH/BTC"}


def test_trades_are_the_ticks_and_pages_follow_each_other(exchange, tickbell):
    ticks = tickbell.ticks("BTC-USD")
    trades = exchange.fetch_trades("BTC/USD", limit=250)
    assert [trade["id"] for trade in trades] == [tick["trade_id"] for tick in reversed(ticks[:250])]
    for trade, tick in zip(reversed(trades), ticks[:250], strict=True):
        assert (trade["info"]["price"], trade["info"]["size"], trade["info"]["time"]) == (
            tick["price"],
            tick["size"],
            tick["at"],
        )
        assert (trade["price"], trade["amount"]) == (float(tick["price"]), float(tick["size"]))
    found, after = [], None
    while True:
        page = exchange.fetch_trades("BTC/USD", limit=1_000, params={"after": after} if after else {})
        if not page:
            break
        found = page + found
        after = exchange.last_response_headers["Cb-After"]
    assert [trade["id"] for trade in found] == [tick["trade_id"] for tick in reversed(ticks)]
    middle = found[len(found) // 2 :]
    exchange.fetch_trades("BTC/USD", limit=len(middle))
    before = exchange.last_response_headers["Cb-After"]
    newer = exchange.fetch_trades("BTC/USD", limit=1_000, params={"before": before})
    assert [trade["id"] for trade in newer] == [
        trade["id"] for trade in middle[-1_000:] if trade["id"] != middle[0]["id"]
    ]


@pytest.mark.parametrize("timeframe", ["1m", "5m", "15m", "1h", "6h", "1d"])
def test_candles_are_ours_over_several_pages(exchange, tickbell, timeframe):
    ours = six_hours(tickbell.candles("BTC-USD", "1h")) if timeframe == "6h" else tickbell.candles("BTC-USD", timeframe)
    expected = [ohlcv(candle) for candle in ours]
    width = exchange.parse_timeframe(timeframe) * 1_000
    found, since = [], expected[0][0] - 3 * width
    while since <= expected[-1][0]:
        found += exchange.fetch_ohlcv("BTC/USD", timeframe, since, 300)
        since += 300 * width
    assert found == expected
    assert exchange.fetch_ohlcv("BTC/USD", timeframe)[-5:] == expected[-5:], "without a range, the last ones"
    first = expected[-3][0]
    assert exchange.fetch_ohlcv("BTC/USD", timeframe, first, 2) == [
        candle for candle in expected if first <= candle[0] < first + 2 * width
    ]


def test_candles_are_numbers_with_our_digits(tickbell):
    ours = tickbell.candles("ETH-BTC", "1h")
    rows = tickbell.get("/compat/coinbase/products/ETH-BTC/candles?granularity=3600")
    texts = [[str(part) for part in row] for row in reversed(rows)]
    columns = ("low", "high", "open", "close", "volume")
    assert texts == [[str(seconds(candle["start"])), *(candle[name] for name in columns)] for candle in ours[-300:]]


def test_what_there_is_not_is_an_error_that_ccxt_knows(exchange, tickbell):
    with pytest.raises(ccxt.ExchangeError, match="NotFound"):
        exchange.fetch_order_book("BTC/USD")
    for path in ("products/NO-USD/ticker", "products/no/trades", "products/NO-USD/candles", "products/SPY", "nothing"):
        status, headers, body = tickbell.request(f"/compat/coinbase/{path}")
        assert (status, body) == (404, '{"message":"NotFound"}'), path
        assert headers["content-type"] == "application/json"
    for path in ("candles?granularity=61", "candles?start=yesterday", "trades?limit=0", "trades?after=12"):
        status, _, body = tickbell.request(f"/compat/coinbase/products/BTC-USD/{path}")
        assert status == 400 and body.startswith('{"message":'), body
    with pytest.raises(ccxt.ExchangeError, match="at most 300 candles"):
        exchange.public_get_products_id_candles(
            {"id": "BTC-USD", "granularity": 60, "start": "2018-04-05T00:00:00Z", "end": "2018-04-06T00:00:00Z"}
        )
