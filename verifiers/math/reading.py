"""What a written answer says: a scalar, a list, an interval, a matrix, an equation or plain words.

`read` never raises, and takes milliseconds at most: the structure of longer texts than `MAX_CHARS` is not read.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction

from verifiers.math.expression import CostlyError, UnreadableError, ValuelessError
from verifiers.math.scalars import read_scalar
from verifiers.math.sets import both, builder, difference, either, membership
from verifiers.math.tokens import Token, normal_form, tokenize, words
from verifiers.math.units import denies, operates, qualifies
from verifiers.math.values import REALS, Chain, Group, Matrix, Scalar, Text, Union, Value, named_values

MAX_CHARS = 1000
"""Characters of an answer whose structure is read."""
MAX_ITEMS = 32
"""Items of a list or entries of a matrix; longer ones are only compared as written."""
MAX_NESTING = 16
"""Brackets and braces within each other."""
MAX_LISTS = 8
"""Brackets that may enclose lists within each other."""


@dataclass(frozen=True, slots=True)
class Reading:
    """The normal form of a text, and what it says; `value` is None where that would cost too much to find out."""

    normal: str
    value: Value | None
    costly: str = ""
    """Why reading it would cost too much."""
    valueless: str = ""
    """Why it has no value; it is only compared as written."""


_OPENERS = {"(", "[", "{", "\\{", "langle", "begin", "lfloor", "lceil"}
_CLOSERS = {")", "]", "}", "\\}", "rangle", "end", "rfloor", "rceil"}
_LISTS = {"(", "[", "\\{", "langle", "begin"}
_LIST_ENDS = {")", "]", "\\}", "rangle", "end"}
_MATRICES = words("matrix pmatrix bmatrix Bmatrix smallmatrix array")
_SYSTEMS = words("cases aligned align gathered")
_POINTS = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZ")
"""What a point's coordinates may follow: `P(3,-4)`."""
_REALS = ("all real numbers", "all reals", "real numbers", "set of all real numbers", "set of real numbers")
_NOTHING = ("empty set", "null set", "no solution", "no solutions")
_SUCH_THAT = ("such that", "where", "with")
_RELATIONS = frozenset(("equiv", "=", "<", ">", "le", "ge", "ne", "approx", "in"))
_ARTICLES = frozenset(("a", "an", "the"))
_SEGMENT = re.compile(
    r"\$\$?([^$]+)\$\$?|\\\((.+?)\\\)|\\\[(.+?)\\\]|(?<!\S)\*\*(?=\S)([^*]+)(?<=\S)\*\*(?![^\s.,;:!])", re.DOTALL
)
_NAME = re.compile(r"\$[A-Za-z]\$|\\\([A-Za-z]\\\)")
_FRACTION = frozenset(("frac", "{", "}", "/"))
_NEAR = 3
"""Words on either side of a formula in a sentence that may change what it says."""
_SHORT_WORDS = words("yes no odd all one two six ten red")
"""What would read as a product of letters."""
_CLOCK = re.compile(r"[0-9]{1,2}:[0-9]{2}(?![0-9])")
_CLOCK_SIGNS = re.compile(r"\\text|[{} ~]|(?<=[a-z])\.")
_PUNCTUATION = frozenset("$%-,.;:'\"/()*!?{}")
_BEFORE_PARAMETERS = ("for", "where", "with", "for all", "for any", ", where", ", with", ", for")
_INTEGER = re.compile(r"-?[0-9]{1,18}")
"""What most references and many answers are: read as the grammar would read it, at a tenth of the cost."""
_COMMA = Token("op", ",", False)
_CUP = Token("cmd", "cup", False)


def read(text: str, *, grouping: bool = True) -> Reading:
    """What an answer says. With `grouping`, `1,234` outside brackets is one number."""
    if len(text) > MAX_CHARS:
        return Reading(text.strip(), None, f"an answer of more than {MAX_CHARS} characters")
    if _INTEGER.fullmatch(text):
        number = Fraction(int(text))
        return Reading(text, Scalar(text, text, ("number", number), number))
    return _read(text, grouping)


def _read(text: str, grouping: bool) -> Reading:
    tokens = tokenize(text, grouping=grouping)
    normal = normal_form(tokens)
    tokens = _with_commas(tokens)
    try:
        _check_size(tokens)
        return Reading(normal, _value(tokens))
    except CostlyError as error:
        return Reading(normal, None, str(error))
    except UnreadableError as error:
        return Reading(normal, _said(tokens), valueless=str(error) if isinstance(error, ValuelessError) else "")


def read_among_words(text: str) -> Value | None:
    """The one formula or the one number in a sentence, where nothing makes it ambiguous; else None."""
    segments = list(_SEGMENT.finditer(text))
    if segments:
        names = [segment for segment in segments if _NAME.fullmatch(segment.group())]
        [segment, *others] = [s for s in segments if s not in names] or segments
        before, after = text[: segment.start()].split(), text[segment.end() :].split()
        if names and segment not in names and before[-1:] not in (["is"], ["equals"], ["be"], ["="]):
            return None  # only `the value of $x$ is $5$` is sure to be 5
        if others or denies(" ".join(before[-_NEAR:] + after[:_NEAR])):
            return None
        if operates(" ".join(before[-_NEAR:]), " ".join(after[:_NEAR])):
            return None
        return read(next(filter(None, segment.groups()))).value
    tokens = tokenize(text)
    start = next((at for at, t in enumerate(tokens) if t.kind == "num" or t.text == "frac"), len(tokens))
    end = start
    while end < len(tokens) and (tokens[end].kind == "num" or tokens[end].text in _FRACTION):
        end += 1
    while sum((t.text == "{") - (t.text == "}") for t in tokens[start:end]) < 0:
        end -= 1  # that brace is the sentence's
    if start == end:
        return None
    around = [token for token in (*tokens[:start], *tokens[end:]) if token.text not in _PUNCTUATION]
    said = " ".join(token.text for token in around)
    leading = " ".join(token.text for token in tokens[:start])
    if any(t.kind not in ("word", "text") for t in around) or qualifies(said) or qualifies(leading):
        return None
    while start and tokens[start - 1].text in ("-", "$"):
        start -= 1
    glued = tokens[max(0, start - 1) : end + 1]  # `ab2` and `2ab` are not the number 2
    if any(t.kind == "word" for t in glued) and not (start == 0 or tokens[start].gap):
        return None
    while end < len(tokens) and (tokens[end].kind in ("word", "text") or tokens[end].text == "%"):
        end += 1
    try:
        return read_scalar(tokens[start:end])
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
    tokens = _unwrapped(tokens)
    if not tokens:
        raise UnreadableError("nothing")
    if all(t.kind == "text" for t in tokens) or [t.text.lower() in _SHORT_WORDS for t in tokens] == [True]:
        return _said(tokens)
    items, separators = _split_list(tokens)
    if len(items) > 1:
        return _bare_list(items, separators)
    parts, relations = _split(tokens, lambda t: t.kind in ("op", "cmd") and t.text in _RELATIONS)
    if relations:
        return _chain(parts, [t.text for t in relations])
    return _simple(tokens)


def _unwrapped(tokens: Sequence[Token]) -> Sequence[Token]:
    while tokens and tokens[0].text == "{" and tokens[-1].text == "}" and _encloses(tokens):
        tokens = tokens[1:-1]
    return tokens


def _simple(tokens: Sequence[Token]) -> Value:
    """A value without list separators and relations at its top."""
    parts, _ = _split(_with_cups(tokens), lambda t: t.text == "cup" and t.kind == "cmd")
    if len(parts) > 1:
        return Union(tuple(_value(part) for part in parts))
    if len(tokens) == 1 and tokens[0].text == "emptyset":
        return Group("\\{", (), "\\}")
    if len(tokens) == 1 and tokens[0].text == "reals":
        return REALS
    if tokens[0].text == "reals" and tokens[1].text in ("setminus", "backslash", "-"):
        left_over = difference(REALS, _value(tokens[2:]))
        if left_over is not None:
            return left_over
    if tokens[-1].text == "}" and (scaled := _scaled_matrix(tokens)) is not None:
        return scaled
    inner = tokens[1:-1] if tokens[0].text in ("(", "[") and _encloses(tokens) else tokens
    if inner and inner[0].text == "begin" and (matrix := _matrix(inner)):
        return matrix
    if (group := _bracketed(tokens)) is not None:
        return group
    named = len(tokens) > 3 and tokens[0].text in _POINTS and tokens[1].text == "("
    if named and (point := _bracketed(tokens[1:])) is not None:
        return point
    if _signs(tokens):
        return Group("", tuple(_both_signs(tokens)), "")
    parts, _ = _split(tokens, lambda t: t.text == ":" and t.kind == "op")
    if len(parts) > 1:
        normal = normal_form(tokens)
        if _CLOCK.match(normal):
            return Text(_CLOCK_SIGNS.sub("", normal.casefold()))
        if len(parts) > 2:
            return Text(normal)
        return read_scalar([*_parenthesised(parts[0]), Token("op", "/", False), *_parenthesised(parts[1])])
    return read_scalar(tokens)


def _with_commas(tokens: list[Token]) -> list[Token]:
    """With a comma for the word before what a parameter runs through: `2k \\text{ where } k \\in \\mathbb{Z}`."""
    return [
        _COMMA if t.kind == "text" and t.text in _BEFORE_PARAMETERS and followed.text == "in" else t
        for t, followed in zip(tokens, [*tokens[2:], *[_COMMA] * 2], strict=False)
    ]


def _with_cups(tokens: Sequence[Token]) -> Sequence[Token]:
    """With the letter U between two brackets as a union sign."""
    if not any(t.text == "U" for t in tokens):
        return tokens
    joined = list(tokens)
    for at in range(1, len(joined) - 1):
        if joined[at].text == "U" and joined[at - 1].text in (")", "]") and joined[at + 1].text in ("(", "["):
            joined[at] = _CUP
    return joined


def _as_text(tokens: Sequence[Token]) -> Text:
    said = normal_form([Token("word" if t.kind == "text" else t.kind, t.text, t.gap) for t in tokens])
    return Text(" ".join(w for w in said.casefold().strip(" .,;:!()'\"").split() if w not in _ARTICLES))


def _said(tokens: Sequence[Token]) -> Value:
    """Words, or the set that they name."""
    text = _as_text(_unwrapped(tokens))
    if text.normal in _NOTHING:
        return Group("\\{", (), "\\}")
    return REALS if text.normal in _REALS else text


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
    return token.text in (",", ";", "vee", "wedge") and token.kind != "num"


def _split_list(tokens: Sequence[Token]) -> tuple[list[Sequence[Token]], set[str]]:
    parts, separators = _split(tokens, _separates)
    items = [part for part in parts if part]
    return items, {t.text.strip(",; ").lower() for t in separators}


def _bare_list(items: list[Sequence[Token]], separators: set[str]) -> Value:
    values = _items(items)
    joined: Value | None
    if separators & {"or", "vee"}:
        joined = either(values)
        if joined is None and named_values(Group("", tuple(values), "")) is not None:
            raise UnreadableError("alternatives about different names")
    elif separators & {"and", "wedge"} or any(isinstance(v, Chain) and v.members[-1] == REALS for v in values):
        joined = both(values)
    else:
        joined = None
    return joined or Group("", tuple(values), "")


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


def _bracketed(tokens: Sequence[Token]) -> Value | None:
    opener, closer = tokens[0].text, tokens[-1].text
    if opener not in ("(", "[", "\\{", "langle") or len(tokens) < 2 or not _encloses(tokens):
        return None
    if opener == "\\{" and (built := _built(tokens[1:-1])) is not None:
        return built
    items, _ = _split_list(tokens[1:-1])
    if opener in ("\\{", "langle") or len(items) > 1:
        return Group(opener, tuple(_items(items)), closer)
    return None


def _built(tokens: Sequence[Token]) -> Value | None:
    """The set that a set-builder between the braces stands for, where it is one of intervals."""
    at = next((i for i, t in enumerate(tokens) if t.text in ("|", ":", *_SUCH_THAT)), 0)
    if not at or at == len(tokens) - 1:
        return None
    try:
        return builder(_value(tokens[:at]), _value(tokens[at + 1 :]))
    except ValuelessError:
        raise
    except UnreadableError:
        return None


def _scaled_matrix(tokens: Sequence[Token]) -> Matrix | None:
    """A matrix with a factor before it, which every entry is multiplied by."""
    at = next((at for at, token in enumerate(tokens) if token.text == "begin"), 0)
    factor = tokens[: at - 1] if at > 1 and tokens[at - 1].text == "*" else tokens[:at]
    if not factor or any(t.kind == "text" for t in factor):
        return None
    if [t.text for t in factor] == ["-"]:
        factor = [*factor, Token("num", "1", False)]
    try:
        number = read_scalar(factor)
    except UnreadableError:
        return None
    matrix = _matrix(tokens[at:], _parenthesised(factor))
    plain = isinstance(number, Scalar) and number.tree is not None and number.unit is None
    return matrix if plain and isinstance(matrix, Matrix) else None


def _matrix(tokens: Sequence[Token], factor: Sequence[Token] = ()) -> Matrix | Group | None:
    """The matrix, or system of equations, that fills the tokens, which start with `\\begin`."""
    name = tokens[2].text if len(tokens) > 8 else ""
    ending = [t.text for t in tokens[-4:]]
    if (
        name not in _MATRICES | _SYSTEMS
        or ending != ["end", "{", name, "}"]
        or any(t.text == "begin" for t in tokens[1:])
    ):
        return None
    body = tokens[4:-4]
    if name == "array" and body and body[0].text == "{":
        body = body[[t.text for t in body].index("}") + 1 :]
    lines, _ = _split(body, lambda t: t.text == "\\\\")
    if name in _SYSTEMS:
        equations = [_value([t for t in line if t.text != "&"]) for line in lines if line]
        if not all(isinstance(equation, Chain) for equation in equations):
            raise UnreadableError("not a system of equations")
        return Group("", tuple(equations), "")
    rows = [_split(line, lambda t: t.text == "&")[0] for line in lines if line]
    if not rows or len({len(row) for row in rows}) != 1 or sum(len(row) for row in rows) > MAX_ITEMS:
        raise UnreadableError("not a matrix")
    if factor:
        rows = [[[*factor, *_parenthesised(entry)] for entry in row] for row in rows]
    return Matrix(tuple(tuple(_value(entry) for entry in row) for row in rows))


def _chain(parts: list[Sequence[Token]], relations: list[str]) -> Value:
    if relations == ["equiv"]:
        return _congruence(*parts)
    members = [_member(part) for part in parts]
    if "approx" in relations:
        cut = relations.index("approx")
        if cut == 0 and _is_label(members[0]):
            relations[0] = "="
        else:
            members, relations = members[: cut + 1], relations[:cut]
            if not relations:
                return members[0]
    if (interval := membership(members, relations)) is not None:
        return interval
    return Chain(tuple(members), tuple(relations))


def _congruence(left: Sequence[Token], right: Sequence[Token]) -> Chain:
    """`x \\equiv 3 \\pmod 7`: what is congruent, to which residue, and the modulus."""
    at = next((at for at, token in enumerate(right) if token.text in ("pmod", "bmod", "mod")), 0)
    bracket = at > 1 and right[at - 1].text == "(" and right[-1].text == ")"
    residue, modulus = right[: at - bracket], right[at + 1 : len(right) - bracket]
    if not residue or not modulus:
        raise UnreadableError("a congruence without a modulus")
    return Chain((_value(left), _value(residue), _value(modulus)), ("equiv", "mod"))


def _member(tokens: Sequence[Token]) -> Value:
    try:
        return _value(tokens)
    except ValuelessError:
        raise
    except UnreadableError:
        return _as_text(tokens)


def _is_label(value: Value) -> bool:
    return isinstance(value, Text) or (isinstance(value, Scalar) and value.is_symbol)


def _parenthesised(tokens: Sequence[Token]) -> list[Token]:
    return [Token("op", "(", False), *tokens, Token("op", ")", False)]
