"""Stands in for a network: the methods of `AlphaFold3` with answers that tests can foresee."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch

from anfinsen.common.seeding import gaussian
from anfinsen.models.alphafold3 import PRESETS, AlphaFold3Config, ConfidenceLogits, TrunkOutput
from anfinsen.weights import WeightsInfo


@dataclass
class FakeModel:
    """Structures are the reference positions on a line plus noise of ``spread`` Å."""

    config: AlphaFold3Config = PRESETS["mini"]
    spread: float = 0.1
    poison: str = ""  # "coordinates", "pae" or "plddt" become NaN
    error: Exception | None = None
    calls: list[str] = field(default_factory=list)
    reads_templates: bool = True

    def trunk(self, batch, *, recycles, generator, on_recycle=None):
        if self.error is not None:
            raise self.error
        self.calls.append(f"trunk {recycles}")
        for _ in range(recycles + 1):
            on_recycle()
        n = len(batch.restype)
        return TrunkOutput(torch.zeros(n, 4), torch.zeros(n, 4), torch.zeros(n, n, 4))

    def sample(self, batch, trunk, *, samples, steps, generator, on_step=None):
        self.calls.append(f"sample {samples} x {steps}")
        for _ in range(steps):
            on_step()
        line = torch.zeros(len(batch.ref_pos), 3)
        line[:, 0] = 4.0 * batch.ref_space_uid
        x = batch.ref_pos.float() + line
        x = x + self.spread * gaussian((samples, *x.shape), generator)
        if self.poison == "coordinates":
            x[0, 0, 0] = float("nan")
        return x

    def confidence(self, batch, trunk, coordinates):
        assert len(coordinates) == 1
        self.calls.append("confidence")
        n, a = len(batch.restype), len(batch.atom_to_token)
        logits = ConfidenceLogits(
            torch.zeros(1, a, 50), torch.zeros(1, n, n, 64), torch.zeros(1, n, n, 64), torch.zeros(1, a, 2)
        )
        if self.poison in {"pae", "plddt"}:
            getattr(logits, self.poison)[0, 0] = float("nan")
        return logits

    def distogram_logits(self, trunk):
        return torch.zeros(*trunk.pair.shape[:2], 64)


def install(monkeypatch, model: FakeModel | None = None, sha256: str = "f" * 64) -> FakeModel:
    """Let `Predictor` find the fake model whatever is asked for."""
    model = model or FakeModel()
    info = WeightsInfo(name="fake", path="fake.safetensors", sha256=sha256, preset="mini")
    monkeypatch.setattr("anfinsen.inference.alphafold3.load_model", lambda name, device: (model, info))
    return model
