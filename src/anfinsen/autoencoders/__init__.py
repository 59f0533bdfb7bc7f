"""Room: autoencoders. Estimators with scikit-learn's interface."""

from .autoencoder import Autoencoder
from .base import BaseAutoencoder
from .convolutional import ConvolutionalAutoencoder
from .denoising import DenoisingAutoencoder
from .detector import AutoencoderDetector
from .sparse import SparseAutoencoder
from .variational import VariationalAutoencoder

__all__ = [
    "Autoencoder",
    "AutoencoderDetector",
    "BaseAutoencoder",
    "ConvolutionalAutoencoder",
    "DenoisingAutoencoder",
    "SparseAutoencoder",
    "VariationalAutoencoder",
]
