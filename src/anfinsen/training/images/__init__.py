"""Training CLIP, DALL·E 2 and DALL·E 1: data in memory, an objective for each network, recipes, one trainer."""

from .options import ImageTrainOptions, NoiseOptions
from .train import train_images

__all__ = ["ImageTrainOptions", "NoiseOptions", "train_images"]
