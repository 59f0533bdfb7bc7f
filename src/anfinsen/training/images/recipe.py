"""How each image network is trained: optimiser, batch, steps."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace


@dataclass(frozen=True)
class ImageRecipe:
    """Everything about a training run that is neither data nor network.

    Attributes:
        steps: of the optimiser. batch: pictures of a step.
        learning_rate: of AdamW, after ``warmup`` steps, falling along a cosine to ``final_fraction`` of it.
        matrix_rate: Muon moves the matrices that are no embeddings, at this multiple of the rate; 0: AdamW moves all.
        beta1, beta2, weight_decay: of AdamW. clip: largest gradient norm. ema: decay of the averaged weights.
        emoji_repeats: how often emoji come in the time that scenes come once.
        validation: pictures of the validation split that are scored along the way.
    """

    steps: int
    batch: int
    learning_rate: float
    warmup: int = 100
    final_fraction: float = 0.01
    matrix_rate: float = 0.0
    beta1: float = 0.9
    beta2: float = 0.98
    weight_decay: float = 0.0
    clip: float = 1.0
    ema: float = 0.998
    emoji_repeats: int = 2
    validation: int = 512

    def rate_at(self, step: int) -> float:
        """Return the learning rate of step ``step``, from 0."""
        warm = min(1.0, (step + 1) / max(1, self.warmup))
        cosine = 0.5 * (1 + math.cos(math.pi * min(1.0, step / max(1, self.steps))))
        return self.learning_rate * warm * (self.final_fraction + (1 - self.final_fraction) * cosine)

    def scaled(self, steps: int) -> ImageRecipe:
        """Return the recipe with another number of steps."""
        return replace(self, steps=steps, warmup=min(self.warmup, max(1, steps // 10)))


@dataclass(frozen=True)
class ConditionDrop:
    """How often a condition is left out in training, so that guidance can leave it out, too.

    Attributes:
        image: the image embedding (Ramesh et al. 2022, section 2.1: 10 %).
        text: the caption. There, half of the decoder's captions are dropped; one in five here, for a short run
            otherwise learns little from them.
        both: besides, the two together: what guidance leads away from. There, 5 % of all examples have neither.
    """

    image: float = 0.1
    text: float = 0.2
    both: float = 0.1


# An embedding tells the decoder most of a picture at once. Where it is seldom missing, captions are hardly learnt, and
# with them what the embedding does not tell: what belongs to what.
CONDITION_DROPS: dict[str, ConditionDrop] = {"dalle2-decoder": ConditionDrop(image=0.6, text=0.1, both=0.05)}

# Of the decoder's guess of CLIP's picture tokens, beside a denoising loss of about 0.3.
ALIGNMENT_WEIGHT = 1.0


# Steps of "mini" are for one core and about the CPU minutes named. Those of "small" are for a GPU.
RECIPES: dict[str, dict[str, ImageRecipe]] = {
    "clip": {  # 10 minutes
        "mini": ImageRecipe(steps=1200, batch=128, learning_rate=2e-3, matrix_rate=2.0, weight_decay=0.01),
        "small": ImageRecipe(steps=10_000, batch=1024, learning_rate=1e-3, weight_decay=0.05),
    },
    "dalle2-prior": {  # 4 minutes
        "mini": ImageRecipe(steps=800, batch=128, learning_rate=2e-3, matrix_rate=2.0),
        "small": ImageRecipe(steps=20_000, batch=512, learning_rate=5e-4, ema=0.9995),
    },
    "dalle2-decoder": {  # 80 minutes
        "mini": ImageRecipe(steps=4000, batch=64, learning_rate=2e-3, matrix_rate=3.0, clip=5.0),
        "small": ImageRecipe(steps=100_000, batch=256, learning_rate=4e-4, ema=0.9995),
    },
    "dalle2-upsampler": {  # 4 minutes
        "mini": ImageRecipe(steps=1000, batch=64, learning_rate=2e-3, matrix_rate=3.0, clip=5.0),
        "small": ImageRecipe(steps=40_000, batch=256, learning_rate=4e-4, ema=0.9995),
    },
    "dalle1-dvae": {  # 12 minutes
        "mini": ImageRecipe(steps=2400, batch=32, learning_rate=2e-3, matrix_rate=3.0),
        "small": ImageRecipe(steps=40_000, batch=256, learning_rate=4e-4, ema=0.9995),
    },
    "dalle1-transformer": {  # 41 minutes
        "mini": ImageRecipe(steps=2000, batch=64, learning_rate=2e-3, matrix_rate=2.0, weight_decay=0.01),
        "small": ImageRecipe(steps=60_000, batch=256, learning_rate=5e-4, ema=0.9995, weight_decay=0.05),
    },
}
