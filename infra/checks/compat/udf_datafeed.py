"""What TradingView's open UDF datafeed does with our answers, written anew from its published behaviour.

It ignores the status of an answer. An object with a field `s` is an unknown symbol. Bars have times in milliseconds; without a
column `o` all prices would be the close. `nextTime` is handed to the chart as it comes, and the chart takes it as milliseconds.
"""

import json
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from tickbell_up import Tickbell

PRICES = {"open": "o", "high": "h", "low": "l", "close": "c"}


class DatafeedError(Exception):
    """An error that the server reports to the chart."""


@dataclass
class Bars:
    """The bars of one request, and what the chart concludes about older ones."""

    bars: list[dict]
    no_data: bool
    next_time: int | None


class UdfDatafeed:
    """A datafeed of a server."""

    def __init__(self, tickbell: Tickbell, token: str = ""):
        self.tickbell = tickbell
        self.token = token
        self.configuration = self.send("config")
        assert self.configuration["supports_search"] != self.configuration["supports_group_request"]

    def send(self, path: str, **parameters: Any) -> Any:
        query = f"?{urlencode(parameters)}" if parameters else ""
        return json.loads(self.tickbell.request(f"/udf/{path}{query}", token=self.token)[2], parse_float=str)

    def search_symbols(self, text: str, exchange: str = "", kind: str = "") -> list[dict]:
        found = self.send("search", limit=30, query=text.upper(), type=kind, exchange=exchange)
        assert "s" not in found, "an object with `s` is an error"
        return found

    def resolve_symbol(self, name: str) -> dict:
        answer = self.send("symbols", symbol=name, currencyCode="USD")
        if "s" in answer:
            raise DatafeedError("unknown_symbol")
        listed = answer.get("listed_exchange", answer.get("exchange-listed"))
        return answer | {"listed_exchange": listed, "minmov": answer.get("minmov", answer.get("minmovement", 1))}

    def get_bars(self, symbol: dict, resolution: str, begin: int, end: int, count_back: int | None = None) -> Bars:
        parameters = {"symbol": symbol["ticker"], "resolution": resolution, "from": begin, "to": end}
        if count_back is not None:
            parameters["countback"] = count_back
        answer = self.send("history", **parameters, currencyCode=symbol.get("currency_code", ""))
        if answer["s"] not in ("ok", "no_data"):
            raise DatafeedError(answer["errmsg"])
        if answer["s"] == "no_data":
            return Bars([], True, answer.get("nextTime"))
        bars = []
        for index, time in enumerate(answer["t"]):
            bar = {"time": time * 1_000}
            for name, column in PRICES.items():
                bar[name] = str(answer.get(column, answer["c"])[index])
            bar["volume"] = str(answer["v"][index])
            bars.append(bar)
        return Bars(bars, False, None)

    def load_all(self, symbol: dict, resolution: str, end: int, count_back: int) -> list[dict]:
        """Scrolls into the past as a chart does, page by page, until there is no data."""
        loaded: list[dict] = []
        for _ in range(1_000):
            page = self.get_bars(symbol, resolution, end - 86_400, end, count_back)
            if page.no_data:
                return loaded
            times = [bar["time"] for bar in page.bars]
            assert times == sorted(set(times)) and times[-1] < end * 1_000, "bars ascend, and end before `to`"
            loaded = page.bars + loaded
            end = times[0] // 1_000
        raise AssertionError("the past never ends")

    def get_marks(self, symbol: dict, begin: int, end: int, resolution: str) -> list[dict]:
        answer = self.send("marks", **{"symbol": symbol["ticker"], "from": begin, "to": end, "resolution": resolution})
        if isinstance(answer, list):
            return answer
        names = ("id", "time", "color", "text", "label", "labelFontColor", "minSize")
        return [{name: answer[name][index] for name in names} for index in range(len(answer["id"]))]

    def get_server_time(self) -> int:
        return int(self.tickbell.request("/udf/time")[2])

    def get_quotes(self, symbols: list[str]) -> list[dict]:
        answer = self.send("quotes", symbols=",".join(symbols))
        if answer["s"] != "ok":
            raise DatafeedError(answer["errmsg"])
        return answer["d"]
