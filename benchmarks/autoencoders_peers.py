"""What our autoencoders are compared with: PCA, KernelPCA and detectors of scikit-learn, AutoEncoder and VAE of PyOD.

PyOD's networks get the width, batch size, learning rate and number of epochs of ours where both reconstruct, no
dropout, and otherwise PyOD's defaults; its detectors are run with its defaults, which is how they are used. Where PyOD
is not installed its rows are left out, and `missing_peers` says so.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
import torch
from sklearn.decomposition import PCA, KernelPCA
from sklearn.ensemble import IsolationForest
from sklearn.mixture import GaussianMixture
from sklearn.neighbors import LocalOutlierFactor

WIDTH = 128  # units of the one hidden layer of every network that reconstructs, on either side of the code
BATCH = 64
RATE = 3e-3  # learning rate of every network that reconstructs
UPDATES = 500  # steps of the optimiser, whatever the number of rows
KERNEL_SCALES = (0.1, 0.3, 1.0)  # gamma of the RBF kernel, in units of 1 / (d · mean variance)
KERNEL_RIDGES = (1e-3, 1e-2)  # of the map back into the space of the rows
KERNEL_UNITS = (1.0, 4.0)  # by which rows are divided
KERNEL_ROWS = 800  # training rows, at most, on which the kernel is chosen, a quarter of them held out
KEPT_VARIANCE = 0.95
MIXTURES = (5, 10, 20, 40)  # components tried, the least BIC wins

Array = np.ndarray


@dataclass(frozen=True)
class Coder:
    """A fitted method: rows ``[n, d]`` to codes ``[n, k]``, and rows to their reconstruction ``[n, d]``."""

    encode: Callable[[Array], Array]
    reconstruct: Callable[[Array], Array]


def epochs(rows: int) -> int:
    """Return the number of passes that make about ``UPDATES`` steps."""
    return max(1, round(UPDATES / max(1, rows // BATCH)))


def has_pyod() -> bool:
    return importlib.util.find_spec("pyod") is not None


def missing_peers() -> list[str]:
    return [] if has_pyod() else ["PyOD is not installed (`pip install pyod`): its rows are left out."]


def coders() -> dict[str, Callable[[Array, int, int], Coder]]:
    """Return what is fitted to (training rows, number of components, seed), by name."""
    found = {"PCA": pca, "KernelPCA (RBF)": kernel_pca}
    return found | ({"PyOD AutoEncoder": pyod_autoencoder, "PyOD VAE": pyod_vae} if has_pyod() else {})


def pca(train: Array, k: int, seed: int) -> Coder:
    model = PCA(k, random_state=seed).fit(train)
    return Coder(model.transform, lambda rows: model.inverse_transform(model.transform(rows)))


def kernel_pca(train: Array, k: int, seed: int) -> Coder:
    """RBF kernel; its settings are those that reconstruct held-out training rows best.

    scikit-learn uses the same gamma for rows and, on the way back, for components, whose size does not depend on the
    rows' unit; that unit therefore matters, and is one of the settings.
    """
    part = np.random.default_rng(seed).permutation(train)[:KERNEL_ROWS]
    held = len(part) // 4

    def fit(rows: Array, setting: tuple[float, ...]) -> Coder:
        scale, ridge, unit = setting
        gamma = scale * unit**2 / (train.shape[1] * train.var())
        size = min(k, len(rows) - 1)
        model = KernelPCA(
            size, kernel="rbf", gamma=gamma, alpha=ridge, fit_inverse_transform=True, random_state=seed
        ).fit(rows / unit)
        return Coder(
            lambda new: model.transform(new / unit),
            lambda new: model.inverse_transform(model.transform(new / unit)) * unit,
        )

    def error(setting: tuple[float, ...]) -> float:
        return float(np.square(fit(part[held:], setting).reconstruct(part[:held]) - part[:held]).mean())

    return fit(train, min(product(KERNEL_SCALES, KERNEL_RIDGES, KERNEL_UNITS), key=error))


def pyod_autoencoder(train: Array, k: int, seed: int) -> Coder:
    from pyod.models.auto_encoder import AutoEncoder

    model = AutoEncoder(
        hidden_neuron_list=[WIDTH, k],
        epoch_num=epochs(len(train)),
        batch_size=BATCH,
        lr=RATE,
        dropout_rate=0.0,
        preprocessing=False,
        device=torch.device("cpu"),
        random_state=seed,
        verbose=0,
    ).fit(train)
    net = model.model.eval()
    return Coder(_as_arrays(net.encoder), _as_arrays(net))


def pyod_vae(train: Array, k: int, seed: int) -> Coder:
    from pyod.models.vae import VAE

    model = VAE(
        encoder_neuron_list=[WIDTH],
        decoder_neuron_list=[WIDTH],
        latent_dim=k,
        epoch_num=epochs(len(train)),
        batch_size=BATCH,
        lr=RATE,
        dropout_rate=0.0,
        preprocessing=False,
        device=torch.device("cpu"),
        random_state=seed,
        verbose=0,
    ).fit(train)
    net = model.model.eval()
    return Coder(_as_arrays(lambda x: net.encode(x)[0]), _as_arrays(lambda x: net.decode(net.encode(x)[0])))


def _as_arrays(network: Callable[[torch.Tensor], torch.Tensor]) -> Callable[[Array], Array]:
    def call(rows: Array) -> Array:
        with torch.no_grad():
            return network(torch.as_tensor(rows, dtype=torch.float32)).numpy().astype(np.float64)

    return call


def detectors() -> dict[str, Callable[[Array, int], Callable[[Array], Array]]]:
    """Return what is fitted to (training rows, seed) and then scores rows: the higher, the more abnormal."""
    found = {"PCA": _pca_detector, "IsolationForest": _forest, "LocalOutlierFactor": _factor}
    return found | (
        {"PyOD AutoEncoder": _pyod_detector("AutoEncoder"), "PyOD VAE": _pyod_detector("VAE")} if has_pyod() else {}
    )


def _pca_detector(train: Array, seed: int) -> Callable[[Array], Array]:
    """Squared error of the reconstruction from the components that keep ``KEPT_VARIANCE``."""
    model = PCA(KEPT_VARIANCE, svd_solver="full").fit(train)
    return lambda rows: np.square(model.inverse_transform(model.transform(rows)) - rows).sum(1)


def _forest(train: Array, seed: int) -> Callable[[Array], Array]:
    model = IsolationForest(random_state=seed).fit(train)
    return lambda rows: -model.score_samples(rows)


def _factor(train: Array, seed: int) -> Callable[[Array], Array]:
    model = LocalOutlierFactor(novelty=True).fit(train)
    return lambda rows: -model.score_samples(rows)


def _pyod_detector(name: str) -> Callable[[Array, int], Callable[[Array], Array]]:
    def fit(train: Array, seed: int) -> Callable[[Array], Array]:
        from pyod.models.auto_encoder import AutoEncoder
        from pyod.models.vae import VAE

        kind = {"AutoEncoder": AutoEncoder, "VAE": VAE}[name]
        return kind(device=torch.device("cpu"), random_state=seed, verbose=0).fit(train).decision_function

    return fit


def generators() -> dict[str, Callable[[Array, int, int], Array]]:
    """Return what is fitted to (training rows, number of samples, seed) and gives samples ``[count, d]``."""
    return {"PCA and one Gaussian": _gaussian, "Gaussian mixture": _mixture}


def _gaussian(train: Array, count: int, seed: int) -> Array:
    reduce = PCA(KEPT_VARIANCE, svd_solver="full").fit(train)
    codes = reduce.transform(train)
    draw = np.random.default_rng(seed)
    return reduce.inverse_transform(draw.multivariate_normal(codes.mean(0), np.cov(codes.T), size=count))


def _mixture(train: Array, count: int, seed: int) -> Array:
    """Full covariances in the components that keep ``KEPT_VARIANCE``, as many as BIC asks for."""
    reduce = PCA(KEPT_VARIANCE, svd_solver="full").fit(train)
    codes = reduce.transform(train)
    tried = [GaussianMixture(n, random_state=seed, reg_covar=1e-4).fit(codes) for n in MIXTURES]
    best = min(tried, key=lambda model: model.bic(codes))
    return reduce.inverse_transform(best.sample(count)[0])


def denoisers() -> dict[str, Callable[[Array, Array, Sequence[int], int], Callable[[Array], Array]]]:
    """Return what is fitted to (clean training rows, the same with noise, numbers of components to try, seed).

    The number of components is the one that brings the noisy training rows closest to the clean ones.
    """
    found = {"PCA": _best(pca), "KernelPCA (RBF)": _best(kernel_pca)}
    return found | ({"PyOD AutoEncoder": _best(pyod_autoencoder, only_last=True)} if has_pyod() else {})


def _best(make: Callable[[Array, int, int], Coder], only_last: bool = False):
    def fit(clean: Array, noisy: Array, sizes: Sequence[int], seed: int) -> Callable[[Array], Array]:
        tried = [make(clean, k, seed) for k in (sizes[-1:] if only_last else sizes)]
        return min(tried, key=lambda coder: float(np.square(coder.reconstruct(noisy) - clean).mean())).reconstruct

    return fit
