"""The grammar of scalar expressions: tokens to a tree, by precedence climbing.

A tree is a tuple whose first entry is its kind:

    ("number", Fraction)  ("symbol", name)  ("constant", "pi" | "e" | "i" | "infinity")
    ("sum", a, b, ...)  ("product", a, b, ...)  ("quotient", a, b)  ("power", a, b)  ("call", name, a, b, ...)

Nothing is evaluated here. What the grammar does not know raises `UnreadableError`; nothing is guessed.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

from verifiers.math.tokens import Token, normal_form, words

Tree = tuple[Any, ...]

MAX_DEPTH = 32
"""Operations within operations; deeper expressions are refused as too costly."""
MAX_DIGITS = 1000
"""Digits of one number that takes part in arithmetic. Longer ones are only compared as written."""


class UnreadableError(ValueError):
    """The tokens are not an expression of this grammar."""


class ValuelessError(UnreadableError):
    """What they write has no value: it divides by zero, or calculates with infinity."""


class CostlyError(ValueError):
    """Evaluating the expression could take too long; raised before anything is computed."""


GREEK = words(
    "alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu nu xi rho sigma tau upsilon phi chi "
    "psi omega Gamma Delta Theta Lambda Xi Pi Sigma Upsilon Phi Psi Omega ell hbar"
)
TRIGONOMETRIC = words("sin cos tan cot sec csc sinh cosh tanh coth")
UNARY = TRIGONOMETRIC | words("arcsin arccos arctan exp ln log lg sqrt cbrt floor ceil abs")
VARIADIC = words("max min gcd lcm")
SAME_FUNCTION = {"asin": "arcsin", "acos": "arccos", "atan": "arctan", "cosec": "csc", "ctg": "cot", "tg": "tan"}
ACCENTS = {
    "overline": "bar", "bar": "bar", "vec": "vec", "overrightarrow": "vec", "hat": "hat", "widehat": "hat",
    "tilde": "tilde",
}  # fmt: skip
DELIMITERS = {"(": ")", "[": "]", "{": "}"}
CLOSERS = {"lfloor": "rfloor", "lceil": "rceil"}
WORDS = UNARY | VARIADIC | frozenset(SAME_FUNCTION) | {"pi", "infinity", "inf", "oo", "infty"} | GREEK
"""Words that mean something without a backslash."""

_DERIVATIVE = r"\\frac\{(?:d|\\partial)(?:[ (^0-9a-z][^{}]*)?\}\{(?:d|\\partial) ?[a-z](?:\^[0-9])?\}"
DERIVATIVE = re.compile(_DERIVATIVE)
"""In a normal form, a derivative that is yet to be taken."""
UNEVALUATED = re.compile(
    r"\\(?:i{0,4}int|oint|sum|prod|coprod|lim|limsup|liminf|det|partial|nabla|bigcup|bigcap|sup|inf|Re|Im|arg)"
    rf"(?![A-Za-z])|\\begin|\|_|{_DERIVATIVE}"
)
"""In a normal form, what is yet to be worked out: integrals, sums, products, limits, derivatives, determinants."""

MINUS_ONE: Tree = ("number", Fraction(-1))


def parse(tokens: Sequence[Token], max_depth: int = MAX_DEPTH) -> Tree:
    """The tree of a whole expression. Raises `UnreadableError` or `CostlyError`."""
    parser = _Parser(_spelled_out(tokens), max_depth)
    tree = parser.fraction()
    if parser.peek().kind != "end":
        raise UnreadableError(f"{parser.peek().text!r} was not expected")
    return tree


def number(text: str) -> Fraction:
    """The exact value of a decimal literal, `0.1\\overline{6}` included. Raises `CostlyError` on huge ones."""
    if len(text) > MAX_DIGITS:
        raise CostlyError("a number has too many digits")
    plain, repeats, period = text.partition("\\overline{")
    mantissa, _, exponent = plain.lower().partition("e")
    if exponent and (len(exponent) > 5 or abs(int(exponent)) > MAX_DIGITS):
        raise CostlyError("the exponent of a number is too large")
    value = Fraction(mantissa.rstrip(".") if mantissa.strip(".") else "0") * Fraction(10) ** int(exponent or 0)
    if repeats:
        period = period.rstrip("}")
        scale = 10 ** len(mantissa.partition(".")[2])
        value += Fraction(int(period), scale * (10 ** len(period) - 1))
    return value


def _spelled_out(tokens: Sequence[Token]) -> list[Token]:
    """With unknown runs of up to three letters taken apart: they are products."""
    spelled: list[Token] = []
    for token in tokens:
        if token.kind == "word" and len(token.text) > 1 and token.text not in WORDS:
            if len(token.text) > 3:
                raise UnreadableError(f"{token.text!r} is a word")
            spelled += [Token("word", c, False) for c in token.text]
        else:
            spelled.append(token)
    return spelled


class _Parser:
    def __init__(self, tokens: list[Token], max_depth: int) -> None:
        self.tokens = tokens
        self.max_depth = max_depth
        self.at = 0
        self.depth = 0
        self.bars = 0

    def peek(self, ahead: int = 0) -> Token:
        index = self.at + ahead
        return self.tokens[index] if index < len(self.tokens) else Token("end", "", False)

    def take(self) -> Token:
        token = self.peek()
        self.at += 1
        return token

    def accept(self, text: str) -> bool:
        token = self.peek()
        if token.text == text and token.kind in ("op", "cmd"):
            self.at += 1
            return True
        return False

    def expect(self, text: str) -> None:
        if not self.accept(text):
            raise UnreadableError(f"{text!r} was expected")

    def deeper(self) -> None:
        self.depth += 1
        if self.depth > self.max_depth:
            raise CostlyError("the expression is nested too deep")

    def sum(self) -> Tree:
        terms = [self.product()]
        while self.peek().kind == "op" and self.peek().text in "+-":
            negative = self.take().text == "-"
            term = self.product()
            terms.append(negated(term) if negative else term)
        return terms[0] if len(terms) == 1 else ("sum", *terms)

    def fraction(self) -> Tree:
        """A sum, or as in plain TeX `1 \\over 2` and `n \\choose k` between braces."""
        tree = self.sum()
        if self.accept("over"):
            return ("quotient", tree, self.sum())
        return ("call", "binomial", tree, self.sum()) if self.accept("choose") else tree

    def product(self) -> Tree:
        depth = self.depth
        left = self.signed()
        while True:
            if self.accept("*"):
                left = _times(left, self.signed())
            elif self.accept("/"):
                self.deeper()
                left = ("quotient", left, self.signed())
            elif self.accept("bmod") or self.accept("mod"):
                self.deeper()
                left = ("call", "mod", left, self.signed())
            elif self.starts_factor():
                left = _times(left, self.factor())
            else:
                self.depth = depth
                return left

    def signed(self) -> Tree:
        negative = False
        while self.peek().kind == "op" and self.peek().text in "+-":
            negative ^= self.take().text == "-"
        return negated(self.factor()) if negative else self.factor()

    def starts_factor(self) -> bool:
        """Whether the next token can be multiplied without a sign."""
        token = self.peek()
        match token.kind:
            case "word":
                return True
            case "cmd":
                return token.text not in ("rfloor", "rceil", "bmod", "mod", "degree", "over", "choose")
            case "op":
                return token.text in ("(", "[", "{") or (token.text == "|" and not self.bars)
            case "num":
                previous = self.tokens[self.at - 1]
                return previous.kind not in ("num", "word")
            case _:
                return False

    def factor(self) -> Tree:
        """A primary with its exponents, factorials, per cent and degree signs."""
        depth = self.depth
        tree = self.primary()
        while True:
            if self.accept("^"):
                tree = ("power", tree, self.exponent())
            elif self.accept("!"):
                tree = ("call", "factorial", tree)
            elif self.accept("%"):
                tree = ("quotient", tree, ("number", Fraction(100)))
            elif self.accept("degree"):
                tree = ("product", tree, ("quotient", ("constant", "pi"), ("number", Fraction(180))))
            else:
                self.depth = depth
                return tree
            self.deeper()

    def exponent(self) -> Tree:
        if self.peek().text == "{":
            return self.group("{")
        self.deeper()
        negative = self.accept("-")
        tree = self.argument() if self.peek().kind != "num" else ("number", number(self.take().text))
        if self.accept("^"):  # only plain text writes towers without braces: 2^3^4 is 2^(3^4)
            tree = ("power", tree, self.exponent())
        self.depth -= 1
        return negated(tree) if negative else tree

    def primary(self) -> Tree:
        self.deeper()
        tree = self.primary_at(self.take())
        self.depth -= 1
        return tree

    def primary_at(self, token: Token) -> Tree:
        match token.kind:
            case "num":
                return self.numeral(token)
            case "word" if token.text not in WORDS:
                return self.symbol(token.text)
            case "word" | "cmd":
                return self.command(token)
            case "text" if len(token.text) == 1 and token.text.isalpha():
                return self.symbol(token.text)
            case "op" if token.text in DELIMITERS:
                self.at -= 1
                return self.group(token.text)
            case "op" if token.text == "|":
                self.bars += 1
                inner = self.sum()
                self.expect("|")
                self.bars -= 1
                return ("call", "abs", inner)
            case _:
                raise UnreadableError(f"{token.text!r} cannot begin an expression")

    def group(self, opener: str) -> Tree:
        self.expect(opener)
        bars, self.bars = self.bars, 0
        tree = self.fraction() if opener == "{" else self.sum()
        self.bars = bars
        self.expect(DELIMITERS[opener])
        return tree

    def numeral(self, token: Token) -> Tree:
        """A number, or a mixed number: `1 1/2` and `1\\frac{1}{2}` are 3/2."""
        value = number(token.text)
        if self.peek().text == "_":
            raise UnreadableError("a number with an index")
        if not token.text.isdecimal():
            return ("number", value)
        if self.peek().kind == "num" and self.peek().gap and self.peek(1).text == "/" and self.peek(2).kind == "num":
            top, bottom = self.peek().text, self.peek(2).text
            if not (top.isdecimal() and bottom.isdecimal()):
                raise UnreadableError("two numbers in a row")
            self.at += 3
            return ("number", _mixed(value, number(top), number(bottom)))
        if (proper := self.proper_fraction()) is not None:
            return ("number", value + proper)
        if self.peek().kind == "num":
            raise UnreadableError("two numbers in a row")
        return ("number", value)

    def proper_fraction(self) -> Fraction | None:
        """A `\\frac` of two positive integers less than 1 that follows here, taken; else None and nothing taken."""
        if not self.accept("frac"):
            return None
        start = self.at - 1
        parts = [t.text for t in self.tokens[self.at : self.at + 6]]
        match parts:
            case ["{", top, "}", "{", bottom, "}"]:
                self.at += 6
            case ["{", top, "}", bottom, *_] | [top, "{", bottom, "}", *_]:
                self.at += 4
            case [both, *_] if len(both) == 2:
                top, bottom = both[0], both[1]
                self.at += 1
            case [top, bottom, *_]:
                self.at += 2
            case _:
                top = bottom = ""
        whole = top.isdecimal() and bottom.isdecimal() and len(top + bottom) < MAX_DIGITS
        if whole and 0 < int(top) < int(bottom):
            return Fraction(int(top), int(bottom))
        self.at = start
        return None

    def argument(self) -> Tree:
        """What follows `\\frac` or `\\sqrt`: a group, or as in TeX the next single digit or sign."""
        token = self.peek()
        if token.text == "{":
            return self.group("{")
        if token.kind == "num" and token.text.isdecimal():
            if len(token.text) > 1:
                self.tokens[self.at] = Token("num", token.text[1:], False)
            else:
                self.at += 1
            return ("number", Fraction(token.text[0]))
        return self.primary()

    def symbol(self, name: str) -> Tree:
        """A symbol with its index and primes."""
        if self.accept("_"):
            name = f"{name}_{self.index()}"
        while self.accept("'") or self.accept("prime"):
            name += "'"
        return letter(name)

    def index(self) -> str:
        token = self.take()
        if token.text != "{":
            if token.kind in ("num", "word", "text") or (token.kind == "cmd" and token.text in GREEK):
                return token.text
            raise UnreadableError("an index was expected")
        start = self.at
        while self.peek().text != "}":
            if self.peek().kind == "end" or self.peek().text == "{":
                raise UnreadableError("an index was expected")
            self.at += 1
        self.at += 1
        return normal_form(self.tokens[start : self.at - 1])

    def command(self, token: Token) -> Tree:
        name = SAME_FUNCTION.get(token.text, token.text)
        match name:
            case "frac":
                if DERIVATIVE.match(normal_form(self.tokens[self.at - 1 : self.at + 40])):
                    raise UnreadableError("a derivative")
                return ("quotient", self.argument(), self.argument())
            case "sqrt" if token.kind == "cmd":
                if self.accept("["):
                    root = self.sum()
                    self.expect("]")
                    return ("call", "root", self.argument(), root)
                return ("call", "sqrt", self.argument())
            case "binom":
                return ("call", "binomial", self.argument(), self.argument())
            case "pi":
                return ("constant", "pi")
            case "infty" | "infinity" | "inf" | "oo":
                return ("constant", "infinity")
            case "lfloor" | "lceil":
                inner = self.sum()
                self.expect(CLOSERS[name])
                return ("call", "floor" if name == "lfloor" else "ceil", inner)
            case _ if name in UNARY:
                return self.call(name)
            case _ if name in VARIADIC:
                return self.variadic(name)
            case _ if name in GREEK:
                return self.symbol(f"\\{name}")
            case _ if name in ACCENTS:
                return self.symbol(f"\\{ACCENTS[name]}{{{self.index()}}}")
            case _:
                raise UnreadableError(f"\\{name} is not known")

    def call(self, name: str) -> Tree:
        """A function of one argument: `\\sin^2 x`, `\\log_2 8`, `\\sin 2x`, `sqrt(2)`."""
        base: Tree | None = None
        power: Tree | None = None
        if name == "log" and self.accept("_"):
            base = ("number", number(self.take().text)) if self.peek().kind == "num" else self.argument()
        if self.accept("^"):
            power = self.exponent()
        if self.peek().text in ("(", "["):
            inner = self.group(self.peek().text)
        elif self.peek().text == "{":
            inner = self.group("{")
        else:
            inner = self.signed()
            while self.starts_factor() and self.peek().text not in UNARY | VARIADIC | {"("}:
                inner = _times(inner, self.factor())
        if power == MINUS_ONE and name in ("sin", "cos", "tan"):
            name, power = f"arc{name}", None
        tree = ("call", name, inner) if base is None else ("call", "log", inner, base)
        return tree if power is None else ("power", tree, power)

    def variadic(self, name: str) -> Tree:
        for opener, closer in (("(", ")"), ("\\{", "\\}"), ("{", "}")):
            if self.accept(opener):
                arguments = [self.sum()]
                while self.accept(","):
                    arguments.append(self.sum())
                self.expect(closer)
                return ("call", name, *arguments)
        raise UnreadableError(f"{name} needs its arguments in brackets")


def letter(name: str) -> Tree:
    """The tree of a symbol; `e` and `i` are the constants."""
    return ("constant", name) if name in ("e", "i") else ("symbol", name)


def negated(tree: Tree) -> Tree:
    """The tree of its negative."""
    return ("number", -tree[1]) if tree[0] == "number" else _times(MINUS_ONE, tree)


def _times(left: Tree, right: Tree) -> Tree:
    return (*left, right) if left[0] == "product" else ("product", left, right)


def _mixed(whole: Fraction, top: Fraction, bottom: Fraction) -> Fraction:
    if not 0 < top < bottom:
        raise UnreadableError("two numbers in a row")
    return whole + top / bottom


def symbols(tree: Tree) -> frozenset[str]:
    """The names of the symbols in a tree."""
    if tree[0] == "symbol":
        return frozenset((tree[1],))
    return frozenset().union(*(symbols(part) for part in tree[1:] if isinstance(part, tuple)))
