"""How the response is cut from OpenRLHF's query."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.api.compat.openrlhf import END_TOKENS, MAX_ENDS, START_TOKENS, response_of

TEXTS = st.text(max_size=30).filter(lambda text: not text.endswith(END_TOKENS))


@given(prompt=TEXTS.filter(bool), response=TEXTS, ends=st.lists(st.sampled_from(END_TOKENS), max_size=4))
def test_the_prompt_and_any_end_tokens_are_cut_off(prompt: str, response: str, ends: list[str]) -> None:
    assert response_of(prompt + response + "".join(ends), prompt) == (response, True)


@given(start=st.sampled_from(START_TOKENS), response=TEXTS)
def test_so_is_a_start_token_before_the_prompt(start: str, response: str) -> None:
    assert response_of(f"{start}What?{response}", "What?") == (response, True)


@pytest.mark.parametrize(
    ("query", "prompt"),
    [
        ("<s> [INST] Well? [/INST]", "[INST] Well? [/INST]"),
        ("<s> [INST] Well? [/INST]", "<s>[INST] Well? [/INST]"),
        ("<s><s> [INST] Well? [/INST]", "<s>[INST] Well? [/INST]"),
        ("<|begin_of_text|>Well?", "<|begin_of_text|>Well?"),
        ("<|begin_of_text|><|begin_of_text|>Well?", "<|begin_of_text|>Well?"),
        ("<|begin_of_text|>Well?", "<|begin_of_text|><|begin_of_text|>Well?"),
        (" Well?", "Well?"),
        ("Well?", " Well?"),
    ],
)
def test_start_tokens_and_the_space_that_sentencepiece_adds_hide_no_prompt(query: str, prompt: str) -> None:
    assert response_of(query + " Yes.</s>", prompt) == (" Yes.", True)


@given(query=TEXTS.filter(lambda text: "?" not in text), prompt=st.sampled_from([None, "", "What?"]))
def test_without_the_prompt_in_front_the_whole_is_the_response(query: str, prompt: str | None) -> None:
    assert response_of(query, prompt) == (query, False)


def test_a_prompt_truncated_on_its_left_does_not_match() -> None:
    assert response_of("the end? Yes.</s>", "This is not the end?") == ("the end? Yes.", False)


@pytest.mark.parametrize("text", ["a </s> b", "</s> a", "a<|im_end|>\n"])
def test_tokens_elsewhere_are_the_models_text(text: str) -> None:
    assert response_of("p" + text, "p") == (text, True)


def test_more_end_tokens_may_be_named() -> None:
    assert response_of("pyes<STOP></s><STOP>", "p", (*END_TOKENS, "<STOP>")) == ("yes", True)


def test_end_tokens_are_stripped_up_to_a_bound() -> None:
    assert response_of("p" + "</s>" * MAX_ENDS, "p") == ("", True)
    assert response_of("p" + "</s>" * (MAX_ENDS + 1), "p") == ("</s>", True)
