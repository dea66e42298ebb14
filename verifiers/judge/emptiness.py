"""Completions that say nothing, yet that judges accept: they never reach one.

"One Token to Fool LLM-as-a-Judge" (arXiv:2507.08794) found that a lone ":" or the opening of a solution is judged
correct by many models, in several languages. A completion that consists of nothing else is known without a judge.
"""

from __future__ import annotations

import re
import unicodedata

from verifiers.invisible import is_seen, without_invisible

OPENINGS = frozenset(
    """
    thought process|thoughts|thinking process|thinking|reasoning|reasoning process|chain of thought|analysis
    solution|the solution|solution process|detailed solution|full solution|step by step solution|my solution
    answer|the answer|the answer is|final answer|the final answer|the final answer is|my answer|correct answer
    the correct answer is|so the answer is|boxed|therefore the answer is|response|output|result|conclusion|explanation
    step 1|step one|steps|proof|hint|to solve this|to solve this problem|to answer this question|first
    let s think|let s think step by step|let us think step by step|let s solve this|let s solve this problem
    let s solve this problem step by step|let us solve this problem step by step|let s solve this step by step
    let s work through this step by step|let s work this out step by step|let s break this down
    let s break it down step by step|let s analyze the problem|let s begin|let s start|let me think
    let me think step by step|let me solve this|let me solve this step by step|let me think about this
    here is the solution|here s the solution|here is the answer|here is my answer|here is my solution
    i will solve this step by step|i will think step by step|we need to|okay let s see|alright let s begin
    解|解答|解法|答案|答|思考过程|思路|分析|让我们一步一步地思考|让我们一步步思考|让我们逐步解决这个问题|让我们一步一步解决这个问题|首先
    思考プロセス|解説|解答|かいせつ|答え|一歩ずつ考えましょう|ステップバイステップで考えましょう
    풀이|해설|답|정답|단계별로 생각해 봅시다
    respuesta|solución|proceso de pensamiento|la respuesta es|pensemos paso a paso
    resolvamos este problema paso a paso|razonamiento|respuesta final
    réponse|raisonnement|processus de réflexion|la réponse est|réfléchissons étape par étape
    antwort|lösung|lösungsweg|gedankengang|die antwort lautet|denken wir schritt für schritt
    resposta|solução|vamos pensar passo a passo|risposta|soluzione|ragioniamo passo dopo passo
    ответ|решение|ход мыслей|давайте подумаем шаг за шагом|الحل|الجواب|الإجابة|उत्तर|समाधान|हल
    """.strip()
    .replace("\n", "|")
    .split("|")
)
"""Openings of an answer, in lower case and without punctuation."""
LONGEST = 100
"""Characters beyond which a part of a text is no opening."""
_PART = re.compile(r"[^\n:：.。!！?？;；,，、…]+")
_SPACE = re.compile(r"\s+")


def says_nothing(text: str, reference: str | None = None) -> bool:
    """Whether a completion is empty, punctuation, or nothing but openings of an answer, however often.

    Characters that nobody sees count for nothing, and wide letters are letters. One that is the reference, word for
    word, says something: to some questions "Solution" or "?" is the answer.
    """
    text = text.strip()
    if not is_seen(text):
        return True
    if reference is not None:
        if text == reference.strip():
            return False
        if len(text) <= 2 * LONGEST + len(reference) and (said := _plain(text)) and said == _plain(reference):
            return False
    known: set[str] = set()
    for found in _PART.finditer(text):
        part = found[0]
        if part in known:
            continue
        if _says(part):
            return False
        if len(part) <= LONGEST:
            known.add(part)
    return True


def _says(part: str) -> bool:
    """Whether a part of a text is more than an opening."""
    if len(part) > LONGEST:
        return not all(map(_is_blank, set(part)))
    words = _plain(part)
    return bool(words) and words not in _NAMES


def _plain(text: str) -> str:
    """Its words in lower case, without punctuation and marks."""
    text = without_invisible(unicodedata.normalize("NFKC", text))
    return _SPACE.sub(" ", text.casefold().translate(_MARKS)).strip()


def _is_blank(character: str) -> bool:
    return character.isspace() or _is_mark(character) or not is_seen(character)


class _Marks(dict[int, str]):
    """For `str.translate`: marks become spaces. Keeps what it found of the common scripts, and of no others."""

    def __missing__(self, code: int) -> str:
        character = chr(code)
        found = " " if _is_mark(character) else character
        if code < 0x3100:
            self[code] = found
        return found


def _is_mark(character: str) -> bool:
    return character in "`~|^<>$" or unicodedata.category(character)[0] in "PZC"


_MARKS = _Marks()
_NAMES = frozenset(map(_plain, OPENINGS))
