"""What the document says in words and its schemas cannot: requests that fit their schemas are put right by these hooks.

A value is changed only when it fits its own schema, so that what must be refused is sent as it was made.
"""

import re
import uuid
from datetime import datetime

import schemathesis

TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)")
SECONDS = re.compile(r"\d{1,10}")
DECIMAL = re.compile(r"([1-9][0-9]{0,9}|0)\.[0-9]{3,18}|[1-9][0-9]{10,13}\.[0-9]{3,14}")
NAME = re.compile(r"[!-~]{1,64}")
PAIR = re.compile(r"([A-Z0-9]{1,20}(?:\.[A-Z0-9]{1,5})?[-/_])[A-Z0-9]{1,20}")
FUTURE = "2999-01-01T00:00:00Z"
CHANNELS = re.compile(r"[a-z0-9:,]+")
SYMBOLS = re.compile(r"[A-Z0-9.,/_-]+")
AMOUNTS = ("size", "funds", "price", "stop_price", "above", "below", "percent", "amount")


@schemathesis.hook
def before_call(context, case, kwargs):
    if isinstance(case.query, dict):
        in_order(case.query)
        if context.operation.path == "/v1/stream":
            name_streams(case.query)
    if case.headers and NAME.fullmatch(str(case.headers.get("Idempotency-Key", ""))):
        # A key that was used with another order is refused.
        case.headers["Idempotency-Key"] = str(uuid.uuid4())
    if isinstance(case.body, dict):
        put_right(case.body)
        if isinstance(case.body.get("then"), dict) and "Authorization" not in (kwargs.get("headers") or {}):
            # Only the alert of a signed-in user may hold an order.
            case.body["then"] = None


def in_order(query: dict) -> None:
    """`from` is not after `to`, and between `start` and `end` are not more candles than an answer has."""
    times = [query.get("from"), query.get("to")]
    if all(isinstance(time, str) and TIME.fullmatch(time) for time in times):
        query["from"], query["to"] = sorted(times, key=datetime.fromisoformat)
    ends = [str(query.get("start")), str(query.get("end"))]
    if all(TIME.fullmatch(end) or SECONDS.fullmatch(end) for end in ends):
        query["end"] = query["start"]


def name_streams(query: dict) -> None:
    """Channels and symbols are names, which a pattern cannot list."""
    if CHANNELS.fullmatch(str(query.get("channels", ""))):
        query["channels"] = "prices,candles:1m,gaps"
    if SYMBOLS.fullmatch(str(query.get("symbols", ""))):
        query["symbols"] = "BTC-USD"


def put_right(fields: dict) -> None:
    if isinstance(fields.get("expires_at"), str) and TIME.fullmatch(fields["expires_at"]):
        fields["expires_at"] = FUTURE
    # A pair is quoted in a currency or a coin that is known, and an order of a share says what it is paid in.
    if isinstance(fields.get("symbol"), str) and (pair := PAIR.fullmatch(fields["symbol"])):
        fields["symbol"] = pair[1] + "USD"
    # A user's orders have different names.
    if isinstance(fields.get("client_order_id"), str) and NAME.fullmatch(fields["client_order_id"]):
        fields["client_order_id"] = str(uuid.uuid4())
    for name in AMOUNTS:
        if name in fields:
            fields[name] = plain(fields[name])
    # A price cannot fall by all of itself.
    if fields.get("direction") == "down" and isinstance(fields.get("percent"), str | float):
        fields["percent"] = fields["percent"] if str(fields["percent"]).startswith("-") else "5"
    for value in fields.values():
        if isinstance(value, dict):
            put_right(value)


def plain(amount):
    """Returns an amount with no more decimal places than any asset has; a number is made by machine, with all of a float's."""
    if isinstance(amount, str) and DECIMAL.fullmatch(amount):
        return amount[: amount.index(".")] + ".01"
    if isinstance(amount, float) and amount > 0:
        return max(round(amount, 2), 0.01)
    return amount
