from functools import cache

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from anfinsen.common.errors import InputError
from anfinsen.images.captions import describe
from anfinsen.images.scenes import sample_scene
from anfinsen.images.tokenizer import MOST_TOKENS, SPECIAL, Tokenizer


def captions(number: int, seed: int) -> list[str]:
    generator = np.random.default_rng(seed)
    return [describe(sample_scene(generator), generator) for _ in range(number)]


@cache
def small_tokenizer() -> Tokenizer:
    return Tokenizer.train(captions(100, 0))


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return Tokenizer.train([*captions(1500, 0), "the grinning cat emoji"])


def test_every_word_of_scenes_is_one_token(tokenizer: Tokenizer) -> None:
    assert tokenizer.vocabulary_size <= 1024
    words = {word for text in captions(300, 1) for word in text.replace(",", "").split()}
    assert all(tokenizer.length(word) == 3 for word in words)


def test_tokens_are_start_words_end_and_padding(tokenizer: Tokenizer) -> None:
    tokens = tokenizer.encode(["two small red circles", "a star"])
    assert tokens.ids.shape == tokens.mask.shape == (2, MOST_TOKENS)
    assert tokens.mask.sum(1).tolist() == [6, 4]
    assert tokens.ids[:, 0].tolist() == [SPECIAL.index("[start]")] * 2
    assert [int(tokens.ids[0, 5]), int(tokens.ids[1, 3])] == [SPECIAL.index("[end]")] * 2
    assert not tokens.ids[~tokens.mask].any()
    assert int(tokens.ids.max()) < tokenizer.vocabulary_size
    assert torch.equal(tokenizer.encode("a star").ids[0], tokens.ids[1])


def test_case_accents_and_spaces_make_no_difference(tokenizer: Tokenizer) -> None:
    assert torch.equal(tokenizer.encode("  Two RED  círcles").ids, tokenizer.encode("two red circles").ids)


def test_captions_of_scenes_fit(tokenizer: Tokenizer) -> None:
    assert int(tokenizer.encode(captions(1500, 2)).mask.sum(1).max()) <= MOST_TOKENS


def test_long_captions_are_refused(tokenizer: Tokenizer) -> None:
    with pytest.raises(InputError, match=r"The caption 'a a a .*…' has 102 tokens, and 24 are the most"):
        tokenizer.encode(["a star", "a " * 100])


def test_names_of_special_tokens_are_letters(tokenizer: Tokenizer) -> None:
    again = Tokenizer.from_json(tokenizer.to_json())
    for each in (tokenizer, again):
        tokens = each.encode("a [end] [padding]")
        assert int((tokens.ids == SPECIAL.index("[end]")).sum()) == 1
        assert bool((tokens.ids[tokens.mask] != SPECIAL.index("[padding]")).all())


def test_captions_without_a_known_letter_are_refused(tokenizer: Tokenizer) -> None:
    tokenizer.require_words(["a star", "星 star", "zebra"])
    for text in ("星", "!!!", "🎉 ☃", "...", " , . - '"):
        with pytest.raises(InputError, match=r"has no letter that the model knows"):
            tokenizer.require_words(["a star", text])
    with pytest.raises(InputError, match="24 are the most"):
        tokenizer.require_words(["a " * 100])
    with pytest.raises(InputError, match=r"'a \\udcff star' holds, at letter 3, what is no letter"):
        tokenizer.encode("a \udcff star")


def test_json_brings_the_same_tokenizer_back(tokenizer: Tokenizer) -> None:
    again = Tokenizer.from_json(tokenizer.to_json())
    texts = [*captions(50, 3), "the grinning zebra, ☃"]
    assert torch.equal(again.encode(texts).ids, tokenizer.encode(texts).ids)
    assert Tokenizer.train(captions(100, 4)).to_json() == Tokenizer.train(captions(100, 4)).to_json()


@pytest.mark.parametrize("text", ["", "{}", "[1]", '{"added_tokens": []}'])
def test_what_is_no_tokenizer_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="tokenizer"):
        Tokenizer.from_json(text)


@settings(max_examples=100, deadline=None)
@given(st.text(max_size=40))
def test_any_text_is_encoded_or_refused(text: str) -> None:
    tokenizer = small_tokenizer()
    try:
        tokens = tokenizer.encode(text)
    except InputError:
        assert tokenizer.length(text) > MOST_TOKENS
    else:
        assert int(tokens.mask.sum()) == tokenizer.length(text)
