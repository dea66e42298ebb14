"""The language of an answer, told offline and always the same.

The public checkers ask langdetect, which draws random numbers (one text, several verdicts; see
EleutherAI/lm-evaluation-harness issue 4213) and count a text without letters as following the instruction. Here a
text follows it only if the language asked for is more likely than all others together; and no paragraph of
`MIN_LETTERS` letters or more may surely be in another language, since IFEval asks for the entire response. What the
answer repeats from its prompt, code and addresses do not count.

The model is py3langid's (naive Bayes over byte n-grams, 4.5 MB). Measured on articles of the Universal Declaration of
Human Rights in IFEval's 30 languages and 10 more, the share of right answers at 20, 50 and 100 characters: py3langid
restricted to langid's languages 0.97, 0.99, 1.00; langdetect seeded 0.95, 0.99, 1.00 (no wheel on PyPI; 2.6 ms a
text, py3langid 0.1 to 0.2); fasttext lid.176.ftz 0.92, 0.97, 0.98; lingua 0.88, 0.90, 0.91 (no Kannada, Malayalam,
Nepali; 96 MB installed, 1.2 GB in memory); eldc 0.91, 0.92, 0.92 (no Nepali, Swahili, Indonesian; 71 MB installed).
"""

from __future__ import annotations

from typing import Annotated, ClassVar

import regex
from pydantic import AfterValidator
from pydantic_core import PydanticCustomError

from verifiers.instructions.displayed import displayed
from verifiers.instructions.instruction import Instruction, instruction
from verifiers.instructions.reading import Reading, paragraphs

_CODES = """
af am an ar as az be bg bn br bs ca cs cy da de dz el en eo es et eu fa fi fo fr ga gl gu he hi hr ht hu hy id is it
ja jv ka kk km kn ko ku ky la lb lo lt lv mg mk ml mn mr ms mt ne nl nn no oc or pa pl ps pt qu ro ru rw se si
sk sl sq sr sv sw ta te th tl tr ug uk ur vi vo wa xh zh zu
"""
CODES = tuple(_CODES.split())
"""The languages that can be asked for: those of langid, which IFEval refers to, as ISO 639-1 codes."""
TWINS = {"ms": "id", "nn": "no", "nb": "no", "bs": "hr"}
"""Languages that short texts do not tell apart; either passes for the other."""
MIN_LETTERS = 100
"""Letters of a paragraph whose language is looked at by itself."""
LIKELY = 0.5
"""Where the language asked for is more likely than all others together."""
SURE = 0.9
"""How likely another language must be for one paragraph to break the instruction. Of 1,521 texts of 100 characters in
40 languages none was taken for another language with more than 0.6."""

_TAG = r"""</?[A-Za-z][\w:-]*+(?:\s++[\w:-]++=(?:"[^"<>\n]*+"|'[^'<>\n]*+'|[^\s<>"']++))*+\s*+/?>"""
_NO_LANGUAGE = regex.compile(rf"`[^`\n]*+`|https?://\S++|{_TAG}")
_LETTER = regex.compile(r"\p{L}")


def _known(code: str) -> str:
    if code not in CODES:
        raise PydanticCustomError("language", f"must be one of these ISO 639-1 codes: {' '.join(CODES)}")
    return code


Language = Annotated[str, AfterValidator(_known)]


@instruction("language:response_language")
class ResponseLanguage(Instruction):
    """The answer is in this language (an ISO 639-1 code), all of it."""

    needs_language: ClassVar[bool] = True
    language: Language

    def broken(self, reading: Reading) -> str:
        """See `Instruction.broken`."""
        return not_in(reading, self.language)


def not_in(reading: Reading, code: str) -> str:
    """Why a text is not in a language; empty where it is."""
    from verifiers.instructions.language_model import most_likely

    asked = TWINS.get(code, code)
    prose = paragraphs("\n".join(reading.prose))
    prompt = displayed(reading.prompt)
    own = [part for part in prose if part not in prompt] or prose
    parts = [_NO_LANGUAGE.sub(" ", part).lower() for part in own]
    if not any(map(_LETTER.search, parts)):
        return "no text whose language could be told"
    found, share = most_likely("\n\n".join(parts))
    if found != asked:
        return f"the language seems to be {found}" if share >= LIKELY else "the language cannot be told"
    if share < LIKELY:
        return f"too little text to be sure that the language is {code}"
    for part in parts:
        if len(_LETTER.findall(part)) >= MIN_LETTERS:
            other, share = most_likely(part)
            if other != asked and share >= SURE:
                return f"a paragraph is in another language: {other}"
    return ""
