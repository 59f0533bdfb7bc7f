"""Room: images. CLIP, DALL·E 1 and DALL·E 2."""

from .captions import caption, describe, parse
from .checker import Attributes, Found, check, compare, read_picture
from .clip import CLIP_PRESETS, Clip, ClipConfig, ClipText
from .datasets import Captioned, ImageTextDataset, from_bytes, to_bytes
from .rendering import PICTURE_SIZE, render
from .retrieval import RetrievalRecall, recall_at, retrieval_recall
from .scenes import COLOURS, HELD_OUT, SHAPES, Group, Scene, sample_scene, sibling
from .tokenizer import MOST_TOKENS, Tokenizer, Tokens

__all__ = [
    "CLIP_PRESETS",
    "COLOURS",
    "HELD_OUT",
    "MOST_TOKENS",
    "PICTURE_SIZE",
    "SHAPES",
    "Attributes",
    "Captioned",
    "Clip",
    "ClipConfig",
    "ClipText",
    "Found",
    "Group",
    "ImageTextDataset",
    "RetrievalRecall",
    "Scene",
    "Tokenizer",
    "Tokens",
    "caption",
    "check",
    "compare",
    "describe",
    "from_bytes",
    "parse",
    "read_picture",
    "recall_at",
    "render",
    "retrieval_recall",
    "sample_scene",
    "sibling",
    "to_bytes",
]
