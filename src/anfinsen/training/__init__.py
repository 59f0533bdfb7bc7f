"""Training: data sets, crops, sampling; one loop; one recipe per preset."""

from .loop import Trainer, train
from .options import TrainOptions
from .recipe import RECIPES, Recipe, Stage

__all__ = ["RECIPES", "Recipe", "Stage", "TrainOptions", "Trainer", "train"]
