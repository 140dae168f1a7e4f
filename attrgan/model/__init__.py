"""The completion model: levels, fusion, generator, discriminator, and what is saved of them."""

from attrgan.model.completion_model import CompletionModel
from attrgan.model.prediction import Prediction

__all__ = ["CompletionModel", "Prediction"]
