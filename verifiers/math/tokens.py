"""The tokens of a written answer: LaTeX, plain text and Unicode brought to one spelling.

`tokenize` is linear in the text, never fails, and forgets what does not change the meaning (spacing, sizes, fonts,
the delimiters of maths). `normal_form` writes tokens back as one canonical string: two answers with the same
normal form are the same answer, and tokenizing a normal form gives the same normal form again.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple


class Token(NamedTuple):
    """One token; `kind` is num, word (a run of letters), cmd (a LaTeX command), text, or op (a sign)."""

    kind: str
    text: str
    gap: bool
    """Whether white space stood before it."""


def words(text: str) -> frozenset[str]:
    """The set of the words of a text."""
    return frozenset(text.split())


_SUPERSCRIPTS = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻ⁿ", "0123456789+-n")
_SUBSCRIPTS = str.maketrans("₀₁₂₃₄₅₆₇₈₉", "0123456789")
_FRACTIONS = {
    "½": (1, 2), "⅓": (1, 3), "⅔": (2, 3), "¼": (1, 4), "¾": (3, 4), "⅕": (1, 5), "⅖": (2, 5), "⅗": (3, 5),
    "⅘": (4, 5), "⅙": (1, 6), "⅚": (5, 6), "⅐": (1, 7), "⅛": (1, 8), "⅜": (3, 8), "⅝": (5, 8), "⅞": (7, 8),
    "⅑": (1, 9), "⅒": (1, 10),
}  # fmt: skip
_GREEK_LETTERS = "αβγδεζηθικλμνξπρστυφχψωΓΔΘΛΞΠΣΦΨΩϕϵϑ"
_GREEK_NAMES = (
    "alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu nu xi pi rho sigma tau upsilon phi chi psi "
    "omega Gamma Delta Theta Lambda Xi Pi Sigma Phi Psi Omega phi epsilon theta"
)
_GREEK = dict(zip(_GREEK_LETTERS, _GREEK_NAMES.split(), strict=True))
_UNICODE = {
    **{ord(c): "-" for c in "−‐‑‒–—﹣－"},
    **{ord(c): " " for c in "\u00a0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u202f"},
    **{ord(c): None for c in "\u200b\u200c\u200d\u2060\ufeff\u2061\u2062\u2063"},
    **{ord(c): f"\\frac{{{p}}}{{{q}}}" for c, (p, q) in _FRACTIONS.items()},
    **{ord(c): f"\\{name} " for c, name in _GREEK.items()},
    **{c: chr(c - 0xFEE0) for c in range(0xFF01, 0xFF5F) if c != 0xFF0D},
    ord("×"): "*", ord("·"): "*", ord("⋅"): "*", ord("∙"): "*", ord("÷"): "/", ord("⁄"): "/", ord("∕"): "/",
    ord("√"): "\\sqrt ", ord("∞"): "\\infty ", ord("∪"): "\\cup ", ord("∩"): "\\cap ", ord("∈"): "\\in ",
    ord("≤"): "\\le ", ord("≥"): "\\ge ", ord("⩽"): "\\le ", ord("⩾"): "\\ge ", ord("≠"): "\\ne ",
    ord("≈"): "\\approx ", ord("±"): "\\pm ", ord("∓"): "\\mp ", ord("°"): "^\\circ ", ord("∅"): "\\emptyset ",
    ord("ℝ"): "\\mathbb{R}", ord("ℤ"): "\\mathbb{Z}", ord("ℕ"): "\\mathbb{N}", ord("ℚ"): "\\mathbb{Q}",
    ord("ℂ"): "\\mathbb{C}", ord("⟨"): "\\langle ", ord("⟩"): "\\rangle ", ord("∫"): "\\int ", ord("∑"): "\\sum ",
    ord("∏"): "\\prod ", ord("¢"): "\\text{cents}", ord("€"): "\\text{euros}", ord("£"): "\\text{sterling}",
    ord("¥"): "\\text{yen}", ord("₹"): "\\text{rupees}",
}  # fmt: skip

_SAME_COMMAND = {
    "dfrac": "frac", "tfrac": "frac", "cfrac": "frac", "dbinom": "binom", "tbinom": "binom", "leq": "le",
    "leqslant": "le", "geq": "ge", "geqslant": "ge", "neq": "ne", "varnothing": "emptyset", "thickapprox": "approx",
    "simeq": "approx", "sim": "approx", "lor": "vee", "land": "wedge", "varphi": "phi", "varepsilon": "epsilon",
    "vartheta": "theta", "dots": "ldots", "cdots": "ldots", "infin": "infty", "R": "reals", "lt": "<", "gt": ">",
    "cdot": "*", "times": "*", "ast": "*", "div": "/", "colon": ":", "vert": "|", "lvert": "|", "rvert": "|",
    "mid": "|", "lbrace": "{", "rbrace": "}", "lbrack": "[", "rbrack": "]", "lparen": "(", "rparen": ")",
}  # fmt: skip
"""Commands that mean the same; a value that is not letters is the sign itself."""

_TOKEN = re.compile(
    r"""
      (?P<space> (?: \s | ~ | \\[,;:!>\ ()\[\]]
          | \\(?:q?quad|displaystyle|textstyle|left|right|middle|[bB]igg?[lrm]?|limits|thinspace|rm|bf|it
              |small|normalsize|[lL]arge|LARGE|[hH]uge|checkmark)(?![A-Za-z])
        )+ )
    | \\(?P<font>text(?:bf|it|rm|normal|sf|tt|up|md)?|mbox|hbox|mathrm)\s*\{(?P<said>(?:[^{}\\$0-9]|\\[,;:!\ ])*)\}
    | \\operatorname\*?\s*\{\s*(?P<operator>[A-Za-z]+)\s*\}
    | (?P<hidden> \\(?:[hv]?phantom|[hv]space|tag|label|(?:text)?color)\*?\s*\{[^{}]*\} )
    | (?P<plain> \\(?:text(?:bf|it|rm|normal|sf|tt|up|md)?|mbox|mathrm|mathbf|mathit|mathsf|boldsymbol|bm
          |boxed|fbox|underline|operatorname)\*?(?![A-Za-z]) )
    | (?P<reals> \\mathbb\s*\{?\s*R(?![A-Za-z])\s*\}? )
    | (?P<degree> \^\s*(?:\{\s*\\circ\s*\}|\\circ(?![A-Za-z])) | \\degree(?![A-Za-z]) )
    | (?P<repeating> [0-9]*\.[0-9]*\\(?:overline\s*\{[0-9]+\}|bar\s*\{[0-9]+\}|dot\s*\{[0-9]\}) )
    | (?P<num> (?: [0-9]+(?:(?:\{,\}|\\,)[0-9]{3}(?![0-9]))*(?:\.[0-9]+)? | \.[0-9]+ )
          (?: [eE][-+]?[0-9]+(?![A-Za-z]) )? )
    | (?P<word> [A-Za-z]+ )
    | (?P<ne> \\not\s*= )
    | \\(?P<cmd>[A-Za-z]+)
    | (?P<le> <= ) | (?P<ge> >= ) | (?P<power> \*\* )
    | \\(?P<escaped> . )
    | (?P<op> . )
    """,
    re.VERBOSE | re.DOTALL,
)
_UNESCAPED_DOLLAR = re.compile(r"\\.|\$", re.DOTALL)
_SCRIPT = re.compile(r"[⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻ⁿ]+|[₀₁₂₃₄₅₆₇₈₉]+")
_SPACING = re.compile(r"\\[,;:! ]")
_THOUSANDS = re.compile(r",\s?\\!\s?")
_OPEN_LISTS = {"(", "[", "\\{", "langle"}


def tokenize(text: str, *, grouping: bool = True) -> list[Token]:
    """The tokens of an answer. With `grouping`, `1,234` outside brackets is one number, else two."""
    tokens: list[Token] = []
    gap = False
    for match in _TOKEN.finditer(_spelling(text)):
        kind = match.lastgroup or ""
        if kind == "space":
            gap = True
            continue
        if kind in ("hidden", "plain"):
            continue
        tokens.append(_token(kind, match, gap))
        gap = False
    return _group_digits(_trim(tokens)) if grouping else _trim(tokens)


def normal_form(tokens: Sequence[Token]) -> str:
    """Tokens as one canonical string."""
    parts: list[str] = []
    previous: Token | None = None
    for token in _unbrace(tokens):
        if previous is not None and _needs_space(previous, token):
            parts.append(" ")
        match token.kind:
            case "cmd":
                parts.append(f"\\{token.text}")
            case "text":
                parts.append(f"\\text{{{token.text}}}")
            case "op" if token.text in ",$":
                parts.append(", " if token.text == "," else "\\$")
            case _:
                parts.append(token.text)
        previous = token
    return "".join(parts)


def _spelling(text: str) -> str:
    """Unicode and shorthands as LaTeX or ASCII; delimiters of maths and emphasis around the whole removed."""
    if not text.isascii():
        text = _SCRIPT.sub(_script, text).translate(_UNICODE)
    text = text.strip().strip("`")
    while text.startswith("**"):
        text = text[2:]
    while text.endswith("**"):
        text = text[:-2]
    if "$" in text:
        dollars = [m.start() for m in _UNESCAPED_DOLLAR.finditer(text) if m.group() == "$"]
        if len(dollars) % 2 == 0:  # delimiters; one left over is a currency
            for at in reversed(dollars):
                text = f"{text[:at]} {text[at + 1 :]}"
    return _THOUSANDS.sub("{,}", text) if "\\!" in text else text


def _script(match: re.Match[str]) -> str:
    run = match.group()
    if run[0] in "₀₁₂₃₄₅₆₇₈₉":
        return f"_{{{run.translate(_SUBSCRIPTS)}}}"
    return f"^{{{run.translate(_SUPERSCRIPTS)}}}"


def _token(kind: str, match: re.Match[str], gap: bool) -> Token:
    text = match.group(kind)
    match kind:
        case "said":
            said = " ".join(_SPACING.sub(" ", text).split())
            if match.group("font") == "mathrm" and len(said) == 1 and said.isalpha():
                return Token("word", said, gap)
            return Token("cmd", "infty", gap) if said.lower() == "infinity" else Token("text", said, gap)
        case "operator":
            return Token("cmd", text, gap)
        case "reals":
            return Token("cmd", "reals", gap)
        case "degree":
            return Token("cmd", "degree", gap)
        case "num" | "repeating":
            if kind == "repeating":
                text = text.replace("\\bar", "\\overline").replace("\\dot", "\\overline")
            return Token("num", text.replace("{,}", "").replace("\\,", "").replace(" ", ""), gap)
        case "cmd":
            name = _SAME_COMMAND.get(text, text)
            if name.isalpha():
                return Token("cmd", name, gap)
            return Token("op", f"\\{name}" if name in "{}" else name, gap)
        case "ne" | "le" | "ge":
            return Token("cmd", kind, gap)
        case "power":
            return Token("op", "^", gap)
        case "escaped":
            return Token("op", text if text in "%$&" else f"\\{text}", gap)
        case _:
            return Token("word" if kind == "word" else "op", text, gap)


def _trim(tokens: list[Token]) -> list[Token]:
    """Without the punctuation around an answer, and without a leading `=`; but `0.3...` is not 0.3."""
    start, end = 0, len(tokens)
    if [t.text for t in tokens[-2:]] == [".", "."] and any(t.kind == "num" for t in tokens):
        return tokens
    while end > start and tokens[end - 1].kind == "op" and tokens[end - 1].text in ".,;:":
        end -= 1
    while start < end and tokens[start].kind == "op" and tokens[start].text in ",;:=":
        start += 1
    return tokens[start:end]


def _group_digits(tokens: list[Token]) -> list[Token]:
    """Join `1,234` (no space) and `1 234` to one number, except directly inside brackets that make lists."""
    if not any(t.text == "," or (t.kind == "num" and t.gap) for t in tokens):
        return tokens
    joined: list[Token] = []
    listing = [False]
    at = 0
    while at < len(tokens):
        token = tokens[at]
        if token.text in _OPEN_LISTS or token.text in ("{", "begin"):
            listing.append(token.text in _OPEN_LISTS)
        elif token.text in (")", "]", "\\}", "}", "rangle", "end") and len(listing) > 1:
            listing.pop()
        if token.kind == "num" and not listing[-1]:
            end = _digit_group_end(tokens, at)
            if end > at + 1:
                number = "".join(t.text for t in tokens[at:end] if t.kind == "num")
                token, at = Token("num", number, token.gap), end - 1
        joined.append(token)
        at += 1
    return joined


def _digit_group_end(tokens: list[Token], at: int) -> int:
    """The index after the number that starts at `at` with one to three digits and goes on in groups of three."""
    first = tokens[at].text
    if len(first) > 3 or not first.isdecimal() or first[0] == "0" or (at and tokens[at - 1].text in ("^", "_")):
        return at + 1
    end, separator = at + 1, ""
    while end < len(tokens):
        comma = tokens[end].text == ","
        group = end + 1 if comma else end
        if group >= len(tokens) or tokens[group].kind != "num" or separator not in ("", "," if comma else " "):
            break
        whole, _, decimals = tokens[group].text.partition(".")
        tight = not (tokens[end].gap or tokens[group].gap) if comma else tokens[group].gap
        if not tight or len(whole) != 3 or not whole.isdecimal():
            break
        end, separator = group + 1, "," if comma else " "
        if decimals:
            break
    if separator == " " and end < len(tokens) and tokens[end].text == "/":  # 1 234/567 is a mixed number
        return at + 1
    return end


def _unbrace(tokens: Sequence[Token]) -> list[Token]:
    """Without the braces around a single token of an exponent or index: `x^{2}` and `x^2` are one form."""
    kept: list[Token] = []
    at = 0
    while at < len(tokens):
        kept.append(tokens[at])
        script = tokens[at].kind == "op" and tokens[at].text in "^_"
        if (
            script
            and at + 3 < len(tokens)
            and tokens[at + 1].text == "{"
            and tokens[at + 3].text == "}"
            and (tokens[at + 2].kind == "num" or (tokens[at + 2].kind == "word" and len(tokens[at + 2].text) == 1))
            and (at + 4 == len(tokens) or not (tokens[at + 4].kind == "num" or tokens[at + 4].text == "^"))
        ):
            kept.append(tokens[at + 2])
            at += 3
        at += 1
    return kept


def _needs_space(left: Token, right: Token) -> bool:
    if left.kind == "cmd":
        return right.kind == "word"
    if left.kind == "word":
        return right.kind == "word"
    if left.kind == "num":
        return right.kind == "num" or (right.kind == "word" and right.text[0] in "eE")
    return False
