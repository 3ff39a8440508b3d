"""Tokens and metric names of PromQL expressions: promtool validates expressions, but does not list their metrics."""

import re

# Keywords that a list of labels follows.
BEFORE_LABELS = {"by", "without", "on", "ignoring", "group_left", "group_right"}
# Words that can stand where a metric's name can, but are not one.
KEYWORDS = BEFORE_LABELS | {"bool", "offset", "and", "or", "unless", "atan2", "inf", "nan"}
# An aggregation with `by (…)` between its name and its bracket does not look like a function.
KEYWORDS |= {"sum", "min", "max", "avg", "count", "stddev", "stdvar", "group"}
KEYWORDS |= {"count_values", "topk", "bottomk", "quantile"}

TOKEN = re.compile(
    r"""(?P<space>\s+|\#[^\n]*)
      | (?P<string>"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'|`[^`]*`)
      | (?P<number>0x[0-9a-f]+|(?:\d+(?:ms|[smhdwy]))+|(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?)
      | (?P<name>\$?[a-z_:][\w:]*)
      | (?P<sign>[-+*/%^=!<>~@,(){}\[\]])""",
    re.VERBOSE | re.IGNORECASE,
)


def tokens(expression: str) -> list[tuple[str, str]]:
    """Returns the tokens of an expression with their kinds; raises ValueError for anything else."""
    found, at = [], 0
    while at < len(expression):
        match = TOKEN.match(expression, at)
        if not match:
            raise ValueError(f"unknown token: {expression[at : at + 40]!r} in {expression}")
        at = match.end()
        if match.lastgroup != "space":
            found.append((match.lastgroup, match.group()))
    return found


def metrics_of(expression: str) -> set[str]:
    """Returns the metrics of an expression: the names that are no function, keyword or label."""
    words = tokens(expression)
    names, inside = set(), []
    for number, (kind, word) in enumerate(words):
        before = words[number - 1][1].lower() if number else ""
        after = words[number + 1][1] if number + 1 < len(words) else ""
        if word in ("{", "["):
            inside.append(word)
        elif word == "(":
            inside.append("labels" if before in BEFORE_LABELS else word)
        elif word in ("}", "]", ")"):
            inside.pop()
        elif kind == "name" and after != "(" and not {"{", "[", "labels"} & set(inside) and is_metric(word):
            names.add(word)
    return names


def is_metric(word: str) -> bool:
    """Returns whether a word is neither a keyword nor a variable of a dashboard."""
    return word.lower() not in KEYWORDS and not word.startswith("$")
