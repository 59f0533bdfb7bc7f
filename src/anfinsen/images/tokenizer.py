"""Captions as token numbers: byte-pair encoding trained on the captions (library ``tokenizers``)."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from anfinsen.common.errors import InputError, MissingExtraError

if TYPE_CHECKING:
    import tokenizers

PADDING, UNKNOWN, START, END = "[padding]", "[unknown]", "[start]", "[end]"
SPECIAL = (PADDING, UNKNOWN, START, END)  # numbers 0 to 3
MOST_TOKENS = 24  # of a caption, with its start and end
VOCABULARY_SIZE = 1024  # at most
LEAST_OFTEN = 2  # a pair of tokens is joined if it is seen so often
_ALPHABET = "abcdefghijklmnopqrstuvwxyz0123456789,.'-"  # known even where no caption of training has it
_WORD_START = "▁"
_SHOWN = 60  # letters of a caption that an error shows


@dataclass(frozen=True)
class Tokens:
    """Captions: token numbers, padded with 0, and which of them are tokens (start, words, end)."""

    ids: Int[Tensor, "batch tokens"]
    mask: Bool[Tensor, "batch tokens"]


class Tokenizer:
    """Byte-pair encoding (Sennrich et al. 2016) of lower-cased words without accents; new letters are "unknown"."""

    def __init__(self, encoding: tokenizers.Tokenizer) -> None:
        self._encoding = encoding
        self._encoding.encode_special_tokens = True  # "[end]" in a caption is but letters

    @classmethod
    def train(cls, captions: Iterable[str], vocabulary_size: int = VOCABULARY_SIZE) -> Tokenizer:
        """Learn the words and parts of words that ``captions`` use most.

        Raises:
            MissingExtraError: the library is not installed.
        """
        _library()
        from tokenizers import Tokenizer as Encoding
        from tokenizers import models, normalizers, pre_tokenizers, trainers

        encoding = Encoding(models.BPE(unk_token=UNKNOWN))
        encoding.normalizer = normalizers.Sequence(
            [normalizers.NFKD(), normalizers.StripAccents(), normalizers.Lowercase()]
        )
        # Words begin with a mark. (Marks at their end would be numbered in another order each time.)
        encoding.pre_tokenizer = pre_tokenizers.Sequence(
            [pre_tokenizers.Whitespace(), pre_tokenizers.Metaspace(_WORD_START, prepend_scheme="always")]
        )
        trainer = trainers.BpeTrainer(
            vocab_size=vocabulary_size,
            min_frequency=LEAST_OFTEN,
            special_tokens=list(SPECIAL),
            initial_alphabet=[_WORD_START, *_ALPHABET],
            limit_alphabet=2 * len(_ALPHABET),
            show_progress=False,
        )
        encoding.train_from_iterator(captions, trainer)
        return cls(encoding)

    @property
    def vocabulary_size(self) -> int:
        """Number of different tokens; numbers are below it."""
        return int(self._encoding.get_vocab_size())

    def length(self, caption: str) -> int:
        """Return how many tokens ``caption`` has, with its start and end."""
        return len(self._encoding.encode(caption).ids) + 2

    def encode(self, captions: str | Sequence[str]) -> Tokens:
        """Return the tokens of one or more captions: start, words, end, padding to 24.

        Raises:
            InputError: a caption is longer, or holds what is no letter of any script (half of a UTF-16 pair, or a byte
                that is not UTF-8).
        """
        captions = [captions] if isinstance(captions, str) else list(captions)
        start, end = SPECIAL.index(START), SPECIAL.index(END)
        ids = torch.full((len(captions), MOST_TOKENS), SPECIAL.index(PADDING))
        mask = torch.zeros(ids.shape, dtype=torch.bool)
        for caption in captions:
            _require_text(caption)
        for row, encoded in enumerate(self._encoding.encode_batch(captions)):
            tokens = [start, *encoded.ids, end]
            if len(tokens) > MOST_TOKENS:
                raise InputError(
                    f"The caption {_shown(captions[row])!r} has {len(tokens)} tokens, and {MOST_TOKENS} are the most "
                    "(start and end among them): shorten it."
                )
            ids[row, : len(tokens)] = torch.tensor(tokens)
            mask[row, : len(tokens)] = True
        return Tokens(ids, mask)

    def require_words(self, captions: Sequence[str]) -> None:
        """Refuse captions that :meth:`encode` refuses, and those of which nothing is known.

        Raises:
            InputError: a caption is too long, or has no letter that captions of training had.
        """
        self.encode(captions)
        for caption in captions:
            known = [token for token in self._encoding.encode(caption).tokens if token not in SPECIAL]
            if not any(letter.isalnum() for token in known for letter in token):
                raise InputError(
                    f"The caption {_shown(caption)!r} has no letter that the model knows: say it in English words."
                )

    def to_json(self) -> str:
        """Return what :meth:`from_json` reads."""
        return str(self._encoding.to_str())

    @classmethod
    def from_json(cls, text: str) -> Tokenizer:
        """Read a tokenizer as :meth:`to_json` writes it.

        Raises:
            InputError: the text is no such tokenizer.
            MissingExtraError: the library is not installed.
        """
        _library()
        from tokenizers import Tokenizer as Encoding

        try:
            special = [each["content"] for each in json.loads(text)["added_tokens"]]
            encoding = Encoding.from_str(text)
        except Exception as error:  # the library raises nothing narrower
            raise InputError(
                "The text of a tokenizer cannot be read: expected what Tokenizer.to_json writes; train it again."
            ) from error
        if special[: len(SPECIAL)] != list(SPECIAL):
            raise InputError(f"The tokenizer's first tokens are {special[:4]}: expected {', '.join(SPECIAL)}.")
        return cls(encoding)


def _require_text(caption: str) -> None:
    try:
        caption.encode("utf-8")
    except UnicodeEncodeError as error:
        shown = _shown(caption).encode("ascii", "backslashreplace").decode("ascii")
        raise InputError(
            f"The caption '{shown}' holds, at letter {error.start + 1}, what is no letter of any script: write it as "
            "UTF-8."
        ) from None


def _shown(caption: str) -> str:
    return caption if len(caption) <= _SHOWN else f"{caption[:_SHOWN]}…"


def _library() -> None:
    try:
        import tokenizers  # noqa: F401  # only whether it is there
    except ImportError as error:
        raise MissingExtraError("Captions need tokenizers: pip install 'anfinsen[images]'.") from error
