"""One value in an answer: an expression with the unit, currency, per cent sign and words that stand beside it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from fractions import Fraction
from itertools import pairwise

from verifiers.math.bases import read_numeral
from verifiers.math.cost import MAX_EXACT, MAX_SCALAR, check_written, exact, height
from verifiers.math.expression import WORDS, CostlyError, Tree, UnreadableError, ValuelessError, parse
from verifiers.math.tokens import Token, normal_form
from verifiers.math.units import canonical_unit, is_unit, may_be_product, qualifies, scale_of
from verifiers.math.values import INFINITE, Numeral, Scalar, Text, infinite, mentions

_LEADS_TO = re.compile(r"(?:\b(?:is|be|equals)|:)$")


def read_scalar(tokens: Sequence[Token]) -> Scalar | Numeral | Text:
    """The value that all the tokens write. Raises `UnreadableError` or `CostlyError`."""
    normal = normal_form(tokens)
    if (numeral := read_numeral(normal)) is not None:
        return numeral
    beside = _Beside(tokens)
    core = beside.core
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
        return Scalar(normal, source, unit=beside.unit, percent=beside.percent, words=beside.words)
    if tree[0] == "symbol" and beside.words and not _LEADS_TO.search(beside.words):
        raise UnreadableError("words that say something of a symbol")
    if beside.scale != 1:
        tree = ("product", ("number", Fraction(beside.scale)), tree)
        source = f"{beside.scale}({source})"
    scalar = Scalar(
        normal, source, tree, _exact(tree), beside.unit, beside.percent, beside.words, _product(tokens, core)
    )
    if mentions(tree, INFINITE) and not infinite(scalar):
        raise ValuelessError("infinity is no number to calculate with")
    return scalar


def _product(tokens: Sequence[Token], core: Sequence[Token]) -> Scalar | None:
    """The tokens as a product, where a unit that could be one is glued to the number."""
    beside = tokens[len(core) :]
    if len(beside) != 1 or beside[0].kind != "word" or beside[0].gap or not may_be_product(beside[0].text):
        return None
    source = normal_form(tokens)
    return Scalar(source, source, parse(tokens))


def _exact(tree: Tree) -> Fraction | None:
    try:
        bits = height(tree)
        if bits > MAX_SCALAR:
            raise CostlyError("evaluating the expression would take too long")
        return exact(tree) if bits <= MAX_EXACT else None
    except ZeroDivisionError:
        raise ValuelessError("division by zero") from None


class _Beside:
    """The tokens of a value, and what stood beside them. Raises `UnreadableError` where that changes the value."""

    def __init__(self, tokens: Sequence[Token]) -> None:
        self.unit: str | None = None
        self.percent = False
        self.scale = 1
        """The factor of a counting word such as `million`."""
        self.words = ""
        self.core = self._without_signs(self._without_words(self._without_currency(tokens)))

    def _without_currency(self, tokens: Sequence[Token]) -> Sequence[Token]:
        if len(tokens) > 1 and tokens[0].text == "$":
            self.unit = "dollar"
            return tokens[1:]
        if len(tokens) > 2 and tokens[0].text == "-" and tokens[1].text == "$":
            self.unit = "dollar"
            return [tokens[0], *tokens[2:]]
        if len(tokens) > 1 and tokens[0].kind == "text" and len(tokens[0].text) > 1:
            if qualifies(tokens[0].text):
                raise UnreadableError("a number with conditions")
            self.unit = canonical_unit(tokens[0].text)
            self.words = "" if self.unit else tokens[0].text
            return tokens[1:]
        return tokens

    def _without_words(self, tokens: Sequence[Token]) -> Sequence[Token]:
        at = _start_of_words(tokens)
        said = " ".join(t.text for t in tokens[at:])
        if not at or at == len(tokens):
            return tokens
        if qualifies(said):
            raise UnreadableError("a number with conditions")
        first, _, rest = said.partition(" ")
        if (factor := scale_of(first)) is not None:
            self.scale, said = factor, rest
        if said.lower().startswith(("percent", "per cent", "pct")):
            self.percent, said = True, ""
        unit = canonical_unit(said)
        self.unit = unit or self.unit
        if said and not unit:
            self.words = said
        return tokens[:at]

    def _without_signs(self, tokens: Sequence[Token]) -> Sequence[Token]:
        if len(tokens) > 1 and tokens[-1].kind == "op" and tokens[-1].text in "%$":
            self.percent = self.percent or tokens[-1].text == "%"
            self.unit = "dollar" if tokens[-1].text == "$" else self.unit
            tokens = tokens[:-1]
        if len(tokens) > 2 and tokens[-2].text == "degree" and tokens[-1].text in ("C", "F"):
            self.unit = tokens[-1].text
            return tokens[:-2]
        if len(tokens) > 1 and tokens[-1].text == "degree" and not _inside_function(tokens):
            self.unit = "degree"
            return tokens[:-1]
        return tokens


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
