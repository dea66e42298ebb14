"""What a written answer says: a scalar, a list, an interval, a matrix, an equation or plain words.

`read` never raises, and takes milliseconds at most: the structure of longer texts than `MAX_CHARS` is not read.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from typing import TypeAlias

from verifiers.math.cost import MAX_EXACT, MAX_SCALAR, check_written, exact, height
from verifiers.math.expression import WORDS, CostlyError, Tree, UnreadableError, parse, symbols
from verifiers.math.tokens import Token, normal_form, tokenize, words
from verifiers.math.units import canonical_unit, denies, is_unit, qualifies, scale_of

MAX_CHARS = 1000
"""Characters of an answer whose structure is read."""
MAX_ITEMS = 32
"""Items of a list or entries of a matrix; longer ones are only compared as written."""


MAX_NESTING = 16
"""Brackets and braces within each other."""
MAX_LISTS = 8
"""Brackets that may enclose lists within each other."""


@dataclass(frozen=True, slots=True)
class Scalar:
    """One value. `tree` is None where the grammar of `expression` does not read it: then only `source` is known."""

    normal: str
    source: str
    """LaTeX of the value without its unit, currency and per cent sign."""
    tree: Tree | None = None
    exact: Fraction | None = None
    unit: str | None = None
    percent: bool = False

    @property
    def names(self) -> frozenset[str]:
        """The symbols it depends on."""
        return frozenset() if self.tree is None else symbols(self.tree)

    @property
    def is_symbol(self) -> bool:
        """Whether it is a symbol and nothing else."""
        return self.tree is not None and self.tree[0] == "symbol"


@dataclass(frozen=True, slots=True)
class Text:
    """Plain words, or what is only compared as written (a number in another base, a time of day)."""

    normal: str


@dataclass(frozen=True, slots=True)
class Group:
    """Items between brackets; no brackets (`opener` empty) for a bare list. `(1,2)` is a pair or an interval."""

    opener: str
    items: tuple[Value, ...]
    closer: str


@dataclass(frozen=True, slots=True)
class Union:
    """Sets joined by a union sign."""

    parts: tuple[Value, ...]


@dataclass(frozen=True, slots=True)
class Matrix:
    """Rows of entries."""

    rows: tuple[tuple[Value, ...], ...]


@dataclass(frozen=True, slots=True)
class Chain:
    """Members joined by relations: `x = 5`, `2 + 2 = 4`, `x in (1, 2)`, `a < b`."""

    members: tuple[Value, ...]
    relations: tuple[str, ...]


Value: TypeAlias = Scalar | Text | Group | Union | Matrix | Chain


@dataclass(frozen=True, slots=True)
class Reading:
    """The normal form of a text, and what it says; `value` is None where that would cost too much to find out."""

    normal: str
    value: Value | None
    costly: str = ""
    """Why reading it would cost too much."""


UNEVALUATED = words("int iint iiint oint sum prod lim limsup liminf")
_OPENERS = {"(", "[", "{", "\\{", "langle", "begin", "lfloor", "lceil"}
_CLOSERS = {")", "]", "}", "\\}", "rangle", "end", "rfloor", "rceil"}
_LISTS = {"(", "[", "\\{", "langle", "begin"}
_LIST_ENDS = {")", "]", "\\}", "rangle", "end"}
_MATRICES = words("matrix pmatrix bmatrix Bmatrix smallmatrix array")
_RELATIONS = frozenset(("=", "<", ">", "le", "ge", "ne", "approx", "in"))
_FLIPPED = {"<": ">", "le": "ge", ">": "<", "ge": "le"}
_ARTICLES = frozenset(("a", "an", "the"))
_SEGMENT = re.compile(
    r"\$\$?([^$]+)\$\$?|\\\((.+?)\\\)|\\\[(.+?)\\\]|(?<!\S)\*\*(?=\S)([^*]+)(?<=\S)\*\*(?![^\s.,;:!])", re.DOTALL
)
_FRACTION = frozenset(("frac", "{", "}", "/"))
_NEAR = 3
"""Words on either side of a formula in a sentence that may change what it says."""
_SHORT_WORDS = words("yes no odd all one two six ten red")
"""What would read as a product of letters."""
_CLOCK = re.compile(r"[0-9]{1,2}:[0-9]{2}(?![0-9])")
_PUNCTUATION = frozenset("$%-,.;:'\"/()*!?")
_INFINITY = Token("cmd", "infty", False)
_MINUS = Token("op", "-", False)


def read(text: str, *, grouping: bool = True) -> Reading:
    """What an answer says. With `grouping`, `1,234` outside brackets is one number."""
    if len(text) > MAX_CHARS:
        return Reading(text.strip(), None, f"an answer of more than {MAX_CHARS} characters")
    tokens = tokenize(text, grouping=grouping)
    normal = normal_form(tokens)
    try:
        _check_size(tokens)
        return Reading(normal, _value(tokens))
    except CostlyError as error:
        return Reading(normal, None, str(error))
    except UnreadableError:
        return Reading(normal, _as_text(tokens))


def read_among_words(text: str) -> Value | None:
    """The one formula or the one number in a sentence, where nothing makes it ambiguous; else None."""
    segments = list(_SEGMENT.finditer(text))
    if segments:
        [segment, *others] = segments
        before, after = text[: segment.start()].split(), text[segment.end() :].split()
        if others or denies(" ".join(before[-_NEAR:] + after[:_NEAR])):
            return None
        return read(next(filter(None, segment.groups()))).value
    tokens = tokenize(text)
    start = next((at for at, t in enumerate(tokens) if t.kind == "num" or t.text == "frac"), len(tokens))
    end = start
    while end < len(tokens) and (tokens[end].kind == "num" or tokens[end].text in _FRACTION):
        end += 1
    if start == end:
        return None
    around = [token for token in (*tokens[:start], *tokens[end:]) if token.text not in _PUNCTUATION]
    said = " ".join(token.text for token in around)
    if any(t.kind not in ("word", "text") for t in around) or qualifies(said):
        return None
    while start and tokens[start - 1].text in ("-", "$"):
        start -= 1
    glued = tokens[max(0, start - 1) : end + 1]  # `ab2` and `2ab` are not the number 2
    if any(t.kind == "word" for t in glued) and not (start == 0 or tokens[start].gap):
        return None
    while end < len(tokens) and (tokens[end].kind in ("word", "text") or tokens[end].text == "%"):
        end += 1
    try:
        return _scalar(tokens[start:end])
    except (UnreadableError, CostlyError):
        return None


def _check_size(tokens: Sequence[Token]) -> None:
    if len(tokens) > MAX_CHARS:  # one character of Unicode can stand for a whole fraction
        raise CostlyError("an answer of too many parts")
    for openers, closers, limit in ((_OPENERS, _CLOSERS, MAX_NESTING), (_LISTS, _LIST_ENDS, MAX_LISTS)):
        depth = 0
        for token in tokens:
            depth += (token.text in openers) - (token.text in closers)
            if depth > limit:
                raise CostlyError(f"brackets nested more than {limit} deep")


def _value(tokens: Sequence[Token]) -> Value:
    while tokens and tokens[0].text == "{" and tokens[-1].text == "}" and _encloses(tokens):
        tokens = tokens[1:-1]
    if not tokens:
        raise UnreadableError("nothing")
    if all(t.kind == "text" for t in tokens) or [t.text.lower() in _SHORT_WORDS for t in tokens] == [True]:
        return _as_text(tokens)
    items, separators = _split_list(tokens)
    if len(items) > 1:
        return _bare_list(items, separators)
    parts, relations = _split(tokens, lambda t: t.kind in ("op", "cmd") and t.text in _RELATIONS)
    if relations:
        return _chain(parts, [t.text for t in relations])
    return _simple(tokens)


def _simple(tokens: Sequence[Token]) -> Value:
    """A value without list separators and relations at its top."""
    parts, _ = _split(tokens, lambda t: t.text == "cup" and t.kind == "cmd")
    if len(parts) > 1:
        return Union(tuple(_value(part) for part in parts))
    if len(tokens) == 1 and tokens[0].text == "emptyset":
        return Group("\\{", (), "\\}")
    if len(tokens) == 1 and tokens[0].text == "reals":
        return Group("(", (_scalar([_MINUS, _INFINITY]), _scalar([_INFINITY])), ")")
    inner = tokens[1:-1] if tokens[0].text in ("(", "[") and _encloses(tokens) else tokens
    if inner and inner[0].text == "begin" and (matrix := _matrix(inner)):
        return matrix
    if (group := _bracketed(tokens)) is not None:
        return group
    if _signs(tokens):
        return Group("", tuple(_both_signs(tokens)), "")
    parts, _ = _split(tokens, lambda t: t.text == ":" and t.kind == "op")
    if len(parts) > 1:
        normal = normal_form(tokens)
        if len(parts) > 2 or _CLOCK.match(normal):
            return Text(normal)
        return _scalar([*_parenthesised(parts[0]), Token("op", "/", False), *_parenthesised(parts[1])])
    return _scalar(tokens)


def _scalar(tokens: Sequence[Token]) -> Scalar | Text:
    normal = normal_form(tokens)
    core, percent, unit, scale = _without_unit(tokens)
    if _in_base(core):
        return Text(normal)  # its index must not get lost
    if any(_begins_prose(core, at) for at in range(len(core))):
        raise UnreadableError("prose")
    source = normal_form(core)
    try:
        tree = parse(core)
    except UnreadableError:
        if any(t.text == "ldots" for t in core):
            raise  # SymPy's parser would read on as if it were not there
        letters = 3 if any(t.kind == "cmd" for t in core) else 1  # `dx` beside a command is no word
        if any(
            t.kind == "text" or (t.kind == "word" and len(t.text) > letters and t.text not in WORDS) for t in core
        ):
            raise
        check_written(source)
        return Scalar(normal, source, unit=unit, percent=percent)
    if scale != 1:
        tree = ("product", ("number", Fraction(scale)), tree)
        source = f"{scale}({source})"
    try:
        bits = height(tree)
        if bits > MAX_SCALAR:
            raise CostlyError("evaluating the expression would take too long")
        value = exact(tree) if bits <= MAX_EXACT else None
    except ZeroDivisionError:
        raise UnreadableError("division by zero") from None
    return Scalar(normal, source, tree, value, unit, percent)


def _without_unit(tokens: Sequence[Token]) -> tuple[Sequence[Token], bool, str | None, int]:
    """The tokens without unit, currency and per cent sign; whether per cent; the unit; the factor of `million`."""
    unit, percent, scale = None, False, 1
    if len(tokens) > 1 and tokens[0].text == "$":
        tokens, unit = tokens[1:], "dollar"
    elif len(tokens) > 2 and tokens[0].text == "-" and tokens[1].text == "$":
        tokens, unit = [tokens[0], *tokens[2:]], "dollar"
    if len(tokens) > 1 and tokens[0].kind == "text" and len(tokens[0].text) > 1:
        if qualifies(tokens[0].text):
            raise UnreadableError("a number with conditions")
        tokens, unit = tokens[1:], canonical_unit(tokens[0].text)
    at = _start_of_words(tokens)
    said = " ".join(t.text for t in tokens[at:])
    if at and at < len(tokens):
        if qualifies(said):
            raise UnreadableError("a number with conditions")
        tokens = tokens[:at]
        first, _, rest = said.partition(" ")
        if (factor := scale_of(first)) is not None:
            scale, said = factor, rest
        if said.lower().startswith(("percent", "per cent", "pct")):
            percent, said = True, ""
        unit = canonical_unit(said) or unit
    if len(tokens) > 1 and tokens[-1].kind == "op" and tokens[-1].text in "%$":
        percent, unit = tokens[-1].text == "%" or percent, "dollar" if tokens[-1].text == "$" else unit
        tokens = tokens[:-1]
    if len(tokens) > 2 and tokens[-2].text == "degree" and tokens[-1].text in ("C", "F"):
        tokens, unit = tokens[:-2], tokens[-1].text
    elif len(tokens) > 1 and tokens[-1].text == "degree" and not _inside_function(tokens):
        tokens, unit = tokens[:-1], "degree"
    return tokens, percent, unit, scale


def _inside_function(tokens: Sequence[Token]) -> bool:
    """Whether a degree sign at the end belongs to an argument, as in `\\sin 30^\\circ`."""
    return any(t.kind in ("cmd", "word") and t.text in WORDS and t.text not in ("pi", "sqrt") for t in tokens)


def _start_of_words(tokens: Sequence[Token]) -> int:
    """Where the words after a value begin: `cm^2`, `\\text{ inches}`, `dollars per week`."""
    at = len(tokens)
    while at:
        token = tokens[at - 1]
        slash = token.text == "/" and 1 < at < len(tokens) and tokens[at - 2].kind in ("text", "word")
        if power := _unit_power(tokens, at):
            at -= power
        elif slash or _is_word(token) or (at == len(tokens) and is_unit(token.text)):  # `5 min` and `5 sec` end so
            at -= 1
        else:
            break
    if any(t.kind == "word" and len(t.text) == 1 and t.text not in ("a", "A") for t in tokens[at + 1 :]):
        return len(tokens)  # a symbol among them: no words
    while at < len(tokens) and tokens[at].kind != "text" and not _begins_words(tokens, at):
        at += 1
    return at


def _is_word(token: Token) -> bool:
    if token.kind == "text":  # a single letter is a symbol, unless it is a unit
        return len(token.text) != 1 or canonical_unit(token.text) is not None
    return token.kind == "word" and token.text not in WORDS


def _begins_words(tokens: Sequence[Token], at: int) -> bool:
    word = tokens[at].text
    if tokens[at].kind != "word":
        return False
    if word == "a":  # an article
        following = tokens[at + 1 : at + 2]
        return any(t.kind == "word" and t.gap and len(t.text) > 3 for t in following)
    return len(word) > 3 or is_unit(word) or word.lower() in ("per", "of") or _begins_prose(tokens, at)


def _begins_prose(tokens: Sequence[Token], at: int) -> bool:
    """Whether two words of at least two letters stand side by side here: no product is written so."""
    pair = tokens[at : at + 2]
    return (
        len(pair) == 2
        and pair[1].gap
        and all(t.kind == "word" and len(t.text) > 1 for t in pair)
        and not (pair[0].text in WORDS or pair[1].text in WORDS)
    )


def _unit_power(tokens: Sequence[Token], at: int) -> int:
    """How many tokens before `at` are a square or cube sign of a unit."""
    for width in (2, 4):
        script = [t.text for t in tokens[max(0, at - width) : at] if t.text not in ("{", "}")]
        if script in (["^", "2"], ["^", "3"]) and at > width:
            base = tokens[at - width - 1]
            if base.kind == "text" or (base.kind == "word" and is_unit(base.text)):
                return width
    return 0


def _in_base(tokens: Sequence[Token]) -> bool:
    """Whether a numeral with a base is in it: `52_8`, `(1101)_{2}`."""
    return any(t.text == "_" and (before.kind == "num" or before.text == ")") for before, t in pairwise(tokens))


def _as_text(tokens: Sequence[Token]) -> Text:
    said = normal_form([Token("word" if t.kind == "text" else t.kind, t.text, t.gap) for t in tokens])
    return Text(" ".join(w for w in said.casefold().strip(" .,;:!()'\"").split() if w not in _ARTICLES))


def _split(tokens: Sequence[Token], separates: Callable[[Token], bool]) -> tuple[list[Sequence[Token]], list[Token]]:
    """The parts between separators outside all brackets, and the separators. Raises `UnreadableError`."""
    parts: list[Sequence[Token]] = []
    separators: list[Token] = []
    depth = start = 0
    for at, token in enumerate(tokens):
        if token.text in _OPENERS and token.kind != "word":
            depth += 1
        elif token.text in _CLOSERS and token.kind != "word":
            depth -= 1
            if depth < 0:
                raise UnreadableError("unbalanced brackets")
        elif depth == 0 and separates(token):
            parts.append(tokens[start:at])
            separators.append(token)
            start = at + 1
    if depth:
        raise UnreadableError("unbalanced brackets")
    parts.append(tokens[start:])
    if len(parts) > MAX_ITEMS:
        raise CostlyError(f"more than {MAX_ITEMS} items")
    return parts, separators


def _separates(token: Token) -> bool:
    if token.kind in ("text", "word"):
        return token.text.strip(",; ").lower() in ("and", "or")
    return token.text in (",", ";", "vee") and token.kind != "num"


def _split_list(tokens: Sequence[Token]) -> tuple[list[Sequence[Token]], set[str]]:
    parts, separators = _split(tokens, _separates)
    items = [part for part in parts if part]
    return items, {t.text.strip(",; ").lower() for t in separators}


def _bare_list(items: list[Sequence[Token]], separators: set[str]) -> Value:
    values = _items(items)
    names = {v.members[0] for v in values if isinstance(v, Chain) and v.relations == ("in",)}
    if "or" in separators and len(names) == 1 and all(isinstance(v, Chain) for v in values):
        return Chain((names.pop(), Union(tuple(v.members[1] for v in values if isinstance(v, Chain)))), ("in",))
    return Group("", tuple(values), "")


def _items(parts: list[Sequence[Token]]) -> list[Value]:
    values: list[Value] = []
    for part in parts:
        value = _value(part)
        values += value.items if isinstance(value, Group) and not value.opener else [value]
    return values


def _signs(tokens: Sequence[Token]) -> bool:
    return any(t.kind == "cmd" and t.text in ("pm", "mp") for t in tokens)


def _both_signs(tokens: Sequence[Token]) -> list[Value]:
    """The two values of an expression with plus-minus signs."""
    both = []
    for upper in ("+", "-"):
        signs = {"pm": upper, "mp": "-" if upper == "+" else "+"}
        both.append(_value([Token("op", signs[t.text], t.gap) if t.text in signs else t for t in tokens]))
    return both


def _encloses(tokens: Sequence[Token]) -> bool:
    """Whether the bracket that opens at the first token closes at the last."""
    depth = 0
    for at, token in enumerate(tokens):
        if token.text in _OPENERS:
            depth += 1
        elif token.text in _CLOSERS:
            depth -= 1
            if depth == 0:
                return at == len(tokens) - 1
    return False


def _bracketed(tokens: Sequence[Token]) -> Group | None:
    opener, closer = tokens[0].text, tokens[-1].text
    if opener not in ("(", "[", "\\{", "langle") or len(tokens) < 2 or not _encloses(tokens):
        return None
    items, _ = _split_list(tokens[1:-1])
    if opener in ("\\{", "langle") or len(items) > 1:
        return Group(opener, tuple(_items(items)), closer)
    return None


def _matrix(tokens: Sequence[Token]) -> Matrix | None:
    """The matrix that fills the tokens, which start with `\\begin`."""
    name = tokens[2].text if len(tokens) > 8 else ""
    ending = [t.text for t in tokens[-4:]]
    if name not in _MATRICES or ending != ["end", "{", name, "}"] or any(t.text == "begin" for t in tokens[1:]):
        return None
    body = tokens[4:-4]
    if name == "array" and body and body[0].text == "{":
        body = body[[t.text for t in body].index("}") + 1 :]
    lines, _ = _split(body, lambda t: t.text == "\\\\")
    rows = [_split(line, lambda t: t.text == "&")[0] for line in lines if line]
    if not rows or len({len(row) for row in rows}) != 1 or sum(len(row) for row in rows) > MAX_ITEMS:
        raise UnreadableError("not a matrix")
    return Matrix(tuple(tuple(_value(entry) for entry in row) for row in rows))


def _chain(parts: list[Sequence[Token]], relations: list[str]) -> Value:
    members = [_member(part) for part in parts]
    if "approx" in relations:
        cut = relations.index("approx")
        if cut == 0 and _is_label(members[0]):
            relations[0] = "="
        else:
            members, relations = members[: cut + 1], relations[:cut]
            if not relations:
                return members[0]
    if (interval := _interval(members, relations)) is not None:
        return interval
    return Chain(tuple(members), tuple(relations))


def _member(tokens: Sequence[Token]) -> Value:
    try:
        return _value(tokens)
    except UnreadableError:
        return _as_text(tokens)


def _is_label(value: Value) -> bool:
    return isinstance(value, Text) or (isinstance(value, Scalar) and value.is_symbol)


def _interval(members: list[Value], relations: list[str]) -> Chain | None:
    """An inequality about one symbol as membership in an interval."""
    if not all(r in _FLIPPED for r in relations):
        return None
    at = next((i for i, m in enumerate(members) if isinstance(m, Scalar) and m.is_symbol), None)
    if at is None or len(members) > 3 or (len(members) == 3 and at != 1):
        return None
    low, high = _scalar([_MINUS, _INFINITY]), _scalar([_INFINITY])
    bounds: dict[str, tuple[Value, str]] = {"low": (low, "<"), "high": (high, "<")}
    for index, member in enumerate(members):
        if index == at:
            continue
        relation = relations[min(index, at)]
        if index < at:  # read as "symbol relation bound"
            relation = _FLIPPED[relation]
        side = "low" if relation in (">", "ge") else "high"
        if bounds[side][0] not in (low, high):
            return None
        bounds[side] = member, relation
    (left, from_left), (right, from_right) = bounds["low"], bounds["high"]
    opener, closer = "[" if from_left == "ge" else "(", "]" if from_right == "le" else ")"
    return Chain((members[at], Group(opener, (left, right), closer)), ("in",))


def _parenthesised(tokens: Sequence[Token]) -> list[Token]:
    return [Token("op", "(", False), *tokens, Token("op", ")", False)]
