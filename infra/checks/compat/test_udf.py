"""A chart with TradingView's open UDF datafeed reads our candles, prices, gaps and firings."""

import time

import pytest
from tickbell_up import HOURS, SILENT, START, Tickbell, seconds
from udf_datafeed import DatafeedError, UdfDatafeed

INTERVALS = {"1": "1m", "5": "5m", "15": "15m", "60": "1h", "240": "4h", "1D": "1d"}
BEGIN = int(START.timestamp())
END = BEGIN + HOURS * 3_600


@pytest.fixture(scope="module")
def datafeed(tickbell: Tickbell) -> UdfDatafeed:
    return UdfDatafeed(tickbell)


def bar(candle: dict) -> dict:
    names = ("open", "high", "low", "close", "volume")
    return {"time": seconds(candle["start"]) * 1_000} | {name: candle[name] for name in names}


def test_the_configuration_says_what_there_is(datafeed):
    configuration = datafeed.configuration
    assert configuration["supported_resolutions"] == list(INTERVALS)
    assert [exchange["value"] for exchange in configuration["exchanges"]] == ["", "file"]
    assert configuration["currency_codes"] == ["BTC", "USD"]
    assert configuration["supports_marks"] and configuration["supports_time"]


def test_a_symbol_says_how_to_draw_it(datafeed):
    for name, kind, pricescale, currency in [
        ("BTC-USD", "crypto", 100, "USD"),
        ("ETH-BTC", "crypto", 100_000_000, "BTC"),
        ("SPY", "stock", 1_000, None),
    ]:
        symbol = datafeed.resolve_symbol(name)
        assert (symbol["name"], symbol["ticker"], symbol["type"]) == (name, name, kind)
        assert (symbol["pricescale"], symbol["minmov"], symbol.get("currency_code")) == (pricescale, 1, currency)
        assert (symbol["session"], symbol["timezone"], symbol["exchange"]) == ("24x7", "Etc/UTC", "file")
        assert symbol["supported_resolutions"] == list(INTERVALS)
    for unknown in ("NO-USD", "no such", ""):
        with pytest.raises(DatafeedError, match="unknown_symbol"):
            datafeed.resolve_symbol(unknown)


def test_a_search_finds_symbols(datafeed):
    assert [found["ticker"] for found in datafeed.search_symbols("btc")] == ["BTC-USD", "ETH-BTC"]
    assert [found["symbol"] for found in datafeed.search_symbols("", kind="stock")] == ["SPY"]
    assert datafeed.search_symbols("", exchange="coinbase") == []
    for found in datafeed.search_symbols(""):
        assert datafeed.resolve_symbol(found["full_name"])["ticker"] == found["ticker"]


@pytest.mark.parametrize("symbol", ["BTC-USD", "ETH-BTC", "SPY"])
@pytest.mark.parametrize("resolution", INTERVALS)
def test_a_chart_that_scrolls_into_the_past_sees_our_candles_to_the_digit(datafeed, tickbell, symbol, resolution):
    expected = [bar(candle) for candle in tickbell.candles(symbol, INTERVALS[resolution])]
    resolved = datafeed.resolve_symbol(symbol)
    assert datafeed.load_all(resolved, resolution, END, 329) == expected
    # Exactly so many bars, whatever lies between: nothing was traded for nine hours.
    silent = BEGIN + SILENT.stop * 3_600
    page = datafeed.get_bars(resolved, resolution, silent - 60, silent, 7)
    before = [one for one in expected if one["time"] < silent * 1_000]
    assert page.bars == before[-7:]


def test_without_countback_a_range_is_answered(datafeed, tickbell):
    symbol = datafeed.resolve_symbol("BTC-USD")
    hours = [bar(candle) for candle in tickbell.candles("BTC-USD", "1h")]
    page = datafeed.get_bars(symbol, "60", BEGIN + 3_600, BEGIN + 4 * 3_600)
    assert page.bars == hours[1:4], "`from` belongs to it, and `to` does not"
    inside = (BEGIN + (SILENT.start + 2) * 3_600, BEGIN + (SILENT.start + 3) * 3_600)
    silent = datafeed.get_bars(symbol, "60", *inside)
    assert (silent.no_data, silent.next_time) == (True, hours[SILENT.start - 1]["time"])
    nothing = datafeed.get_bars(symbol, "60", BEGIN - 86_400, BEGIN)
    assert (nothing.no_data, nothing.next_time) == (True, None)
    assert datafeed.get_bars(symbol, "60", -5_000_000_000, 99_999_999_999_999).bars == hours


def test_a_chart_that_polls_gets_the_last_two_bars(datafeed, tickbell):
    minutes = [bar(candle) for candle in tickbell.candles("BTC-USD", "1m")]
    symbol = datafeed.resolve_symbol("BTC-USD")
    now = datafeed.get_server_time()
    assert abs(now - time.time()) < 60
    assert datafeed.get_bars(symbol, "1", now - 600, now, 2).bars == minutes[-2:]


def test_what_cannot_be_answered_says_why(datafeed):
    symbol = datafeed.resolve_symbol("BTC-USD")
    with pytest.raises(DatafeedError, match="must be 1, 5, 15, 60, 240 or 1D"):
        datafeed.get_bars(symbol, "2", BEGIN, END)
    with pytest.raises(DatafeedError, match="unknown_symbol"):
        datafeed.get_bars({"ticker": "NO-USD"}, "1", BEGIN, END, 10)
    with pytest.raises(DatafeedError, match="at most 50"):
        datafeed.get_quotes(["BTC-USD"] * 51)


def test_quotes_are_the_latest_prices(datafeed, tickbell):
    quotes = datafeed.get_quotes(["BTC-USD", "NO-USD", "SPY"])
    assert [(quote["s"], quote["n"]) for quote in quotes] == [("ok", "BTC-USD"), ("error", "NO-USD"), ("ok", "SPY")]
    for quote in (quotes[0], quotes[2]):
        price = tickbell.get(f"/v1/prices/{quote['n']}")
        values = quote["v"]
        assert (values["lp"], values["chp"]) == (price["price"], price["change_24h_percent"])
        assert (values["short_name"], values["exchange"]) == (price["symbol"], price["venue"])
        since = tickbell.get(f"/v1/prices/{quote['n']}/history?from={price['change_24h_since']}&order=asc&limit=1")
        assert values["prev_close_price"] == values["open_price"] == since["items"][0]["price"]


def test_firings_are_on_the_chart_of_their_owner_alone(datafeed, tickbell):
    symbol = datafeed.resolve_symbol("BTC-USD")
    assert datafeed.get_marks(symbol, BEGIN, END, "60") == []
    alert = tickbell.get("/v1/alerts", tickbell.token)["items"][0]
    firings = tickbell.items(f"/v1/alerts/{alert['id']}/firings?")
    assert firings, "the recording makes the alert fire"
    hers = UdfDatafeed(tickbell, tickbell.token)
    newest = firings[:500]
    marks = hers.get_marks(symbol, BEGIN, END, "60")
    assert {mark["id"] for mark in marks} == {firing["id"] for firing in newest}
    assert [mark["time"] for mark in marks] == [seconds(firing["fired_at"]) for firing in reversed(newest)]
    assert hers.get_marks(hers.resolve_symbol("SPY"), BEGIN, END, "60") == []
    assert hers.get_marks(symbol, END, END + 60, "60") == []
    status, _, body = tickbell.request("/udf/marks?symbol=BTC-USD", token="tbs_" + "A" * 43)
    assert status == 401 and body.startswith('{"s":"error"'), body
