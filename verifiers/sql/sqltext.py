"""SQL as text: where its statements end, whether it orders its rows, whether it changes data.

Standard library alone: the same file runs in the sandbox, beside `in_cell.py`, and in the service. It takes time in
proportion to the text. It understands quoting and comments of both dialects, and nothing of the grammar.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

_COMMON = r"(?P<line>--[^\n]*)|(?P<block>/\*)|(?P<word>[^\W\d][\w$]*)|(?P<number>\d[\w.]*)"
_PATTERNS = {
    # SQLite: strings double their quotes and know no backslash; names also stand in [] and ``
    "sqlite": re.compile(
        r"(?P<quoted>'[^']*(?:'|\Z)|\"[^\"]*(?:\"|\Z)|`[^`]*(?:`|\Z)|\[[^\]]*(?:\]|\Z))|"
        + _COMMON
        + r"|(?P<other>\S)"
    ),
    # PostgreSQL: E'' has backslashes, $tag$ quotes anything
    "postgresql": re.compile(
        r"(?P<quoted>[eE]'(?:[^'\\]|\\.|'')*(?:'|\Z)|'[^']*(?:'|\Z)|\"[^\"]*(?:\"|\Z))"
        r"|(?P<dollar>\$(?:[^\W\d]\w*)?\$)|" + _COMMON + r"|(?P<other>\S)",
        re.DOTALL,
    ),
}
_COMMENT_EDGE = re.compile(r"/\*|\*/")

_CHANGE = frozenset(
    (
        "insert", "update", "delete", "replace", "merge", "truncate", "create", "drop", "alter", "do", "call", "copy",
        "comment", "grant", "revoke", "reindex", "vacuum", "refresh", "lock", "set", "reset", "begin", "start",
        "savepoint",
    )
)  # fmt: skip
"""What a statement begins with that is run for what it leaves behind. (Those that control a transaction or a setting
leave nothing behind, and return nothing either.)"""
_CHANGE_WITHIN = frozenset(("insert", "update", "delete", "merge", "replace"))
_MOMENT = frozenset(
    (
        "now", "current_date", "current_time", "current_timestamp", "localtime", "localtimestamp", "clock_timestamp",
        "statement_timestamp", "transaction_timestamp", "timeofday", "random", "randomblob", "random_normal",
        "gen_random_uuid", "uuidv4", "uuidv7", "tablesample",
    )
)  # fmt: skip
_MOMENT_CALLS = (("date", "(", ")"), ("time", "(", ")"), ("datetime", "(", ")"), ("julianday", "(", ")"),
                 ("unixepoch", "(", ")"), ("strftime", "(", "'", ")"))  # fmt: skip
"""Of SQLite: these mean now where no time is given."""
_MOMENT_QUOTED = ("now", "today", "tomorrow", "yesterday")
_MAX_MOMENT = 16
_MAYBE_MOMENT = ("now", "current_", "time", "date", "julianday", "unixepoch", "random", "uuid", "tablesample",
                 "today", "tomorrow", "yesterday")  # fmt: skip
"""What there is of these in a text that may ask for the time or for chance."""

_MOMENT_IN_SETUP = ("current_", "now(", "now (", "'now'", "localtime", "_timestamp(", "timeofday", "random", "uuidv")
"""Of a fixture, which may have megabytes: nothing of it is needed where it is missing, and little is lost where it
means something else."""

Token = tuple[str, int, int]
"""A word in lower case, one other character, or `'` for anything quoted; with its start and end."""


def tokens(sql: str, dialect: str) -> Iterator[Token]:
    """The tokens of a text, without white space and comments."""
    pattern = _PATTERNS[dialect]
    position, end = 0, len(sql)
    while position < end:
        match = pattern.search(sql, position)
        if match is None:
            return
        position = match.end()
        kind = match.lastgroup
        if kind == "word":
            yield match[0].lower(), match.start(), position
        elif kind == "quoted":
            yield "'", match.start(), position
        elif kind == "block":
            position = _comment_end(sql, position, nested=dialect == "postgresql")
        elif kind == "dollar":
            close = sql.find(match[0], position)
            position = end if close < 0 else close + len(match[0])
            yield "'", match.start(), position
        elif kind in ("other", "number"):
            yield match[0], match.start(), position


def _comment_end(sql: str, position: int, *, nested: bool) -> int:
    if not nested:
        close = sql.find("*/", position)
        return len(sql) if close < 0 else close + 2
    depth = 1
    for edge in _COMMENT_EDGE.finditer(sql, position):
        depth += 1 if edge[0] == "/*" else -1
        if not depth:
            return edge.end()
    return len(sql)


def _split(sql: str, dialect: str) -> Iterator[list[Token]]:
    """The tokens of each statement, without the semicolon that ends it; statements of nothing are left out.

    A trigger's body has semicolons of its own, and ends with `; END` (as sqlite3_complete has it).
    """
    found: list[Token] = []
    for token in tokens(sql, dialect):
        if token[0] == ";" and not _inside_trigger(found, dialect):
            if found:
                yield found
            found = []
        else:
            found.append(token)
    if found:
        yield found


def _inside_trigger(found: list[Token], dialect: str) -> bool:
    if dialect != "sqlite" or len(found) < 3 or found[0][0] != "create":
        return False
    named = found[2][0] if found[1][0] in ("temp", "temporary") else found[1][0]
    if named != "trigger":
        return False
    return not (found[-1][0] == "end" and found[-2][0] == ";")


def statements(sql: str, dialect: str) -> list[str]:
    """The statements of a text, without comments and semicolons around them."""
    return [sql[found[0][1] : found[-1][2]] for found in _split(sql, dialect)]


def is_ordered(sql: str, dialect: str) -> bool:
    """Whether the last statement orders its rows: ORDER BY outside of all parentheses but those around the whole."""
    if "order" not in sql.lower():
        return False
    last: list[Token] = []
    for found in _split(sql, dialect):
        last = found
    words = [word for word, _, _ in last]
    around = _around_all(words)
    depth = 0
    for index in range(around, len(words) - around - 1):
        depth += (words[index] == "(") - (words[index] == ")")
        if not depth and words[index] == "order" and words[index + 1] == "by":
            return True
    return False


def _around_all(words: list[str]) -> int:
    """How many pairs of parentheses enclose the whole."""
    closes: dict[int, int] = {}
    opened: list[int] = []
    for index, word in enumerate(words):
        if word == "(":
            opened.append(index)
        elif word == ")" and opened:
            closes[opened.pop()] = index
    count = 0
    while closes.get(count) == len(words) - 1 - count:
        count += 1
    return count


def changes_data(sql: str, dialect: str) -> bool:
    """Whether any statement is one that is run for what it leaves behind rather than for its rows."""
    lowered = sql.lower()
    if not any(word in lowered for word in _CHANGE):
        return False
    for found in _split(sql, dialect):
        words = [word for word, _, _ in found if word != "("]
        if words and words[0] in _CHANGE:
            return True
        if words and words[0] == "with" and any(_changes(found, index) for index in range(len(found))):
            return True
    return False


def _changes(found: list[Token], index: int) -> bool:
    """Whether the token begins a change inside WITH: not FOR UPDATE, not a function named like one."""
    if found[index][0] not in _CHANGE_WITHIN or found[index - 1][0] not in ("(", ")"):
        return False
    return index + 1 < len(found) and found[index + 1][0] != "("


def may_depend_on_moment(sql: str) -> bool:
    """Whether the text has anything of what `depends_on_moment` looks for. Takes milliseconds for 100,000 characters,
    of which the other may take a second."""
    lowered = sql.lower()
    return any(word in lowered for word in _MAYBE_MOMENT)


def makes_moments(setup: str) -> bool:
    """Whether a fixture's script may write the time or chance into rows, or have it written by default."""
    lowered = setup.lower()
    return any(word in lowered for word in _MOMENT_IN_SETUP)


def depends_on_moment(sql: str, dialect: str) -> bool:
    """Whether the text may ask for the time or for chance, so that its rows are not always the same."""
    if not may_depend_on_moment(sql):
        return False
    last: tuple[str, ...] = ()
    for word, start, end in tokens(sql, dialect):
        last = (*last[-3:], word)
        if word in _MOMENT or last[-3:] in _MOMENT_CALLS or last in _MOMENT_CALLS:
            return True
        if word == "'" and end - start < _MAX_MOMENT and sql[start + 1 : end - 1].lower() in _MOMENT_QUOTED:
            return True
    return False
