"""CLIP: unit vectors, temperature, padding, classification; retrieval with several correct captions."""

import math

import pytest
import torch
import torch.nn.functional as F

from anfinsen.images.clip import CLIP_PRESETS, MAX_SCALE, Clip, ClipConfig
from anfinsen.images.retrieval import first_correct_rank, recall_at, retrieval_recall
from anfinsen.images.transformer import TransformerConfig

TINY = ClipConfig(
    text=TransformerConfig(16, 2, 1),
    image=TransformerConfig(16, 2, 1),
    stem=16,
    embedding=8,
    vocabulary=12,
    length=6,
    picture_size=16,
)


def tiny_clip(seed: int = 0) -> Clip:
    torch.manual_seed(seed)
    return Clip(TINY)


def captions(*lengths: int) -> tuple[torch.Tensor, torch.Tensor]:
    ids = torch.randint(0, 12, (len(lengths), 6), generator=torch.Generator().manual_seed(1))
    return ids, torch.arange(6)[None] < torch.tensor(lengths)[:, None]


def contrastive_loss(clip: Clip, images: torch.Tensor, texts: torch.Tensor) -> torch.Tensor:
    """Radford et al. 2021, figure 3."""
    logits, labels = clip.logits(images, texts), torch.arange(len(images))
    return (F.cross_entropy(logits, labels) + F.cross_entropy(logits.T, labels)) / 2


def test_embeddings_have_unit_length() -> None:
    clip = tiny_clip()
    ids, mask = captions(2, 6, 4)
    text = clip.encode_text(ids, mask)
    assert text.encodings.shape == (3, 6, 16) and text.mask is mask
    torch.testing.assert_close(text.embedding.norm(dim=1), torch.ones(3))
    torch.testing.assert_close(clip.encode_image(torch.rand(2, 3, 16, 16) * 2 - 1).norm(dim=1), torch.ones(2))


def test_padding_is_not_seen() -> None:
    clip = tiny_clip()
    ids, mask = captions(2, 6, 4)
    text, other = clip.encode_text(ids, mask), clip.encode_text(torch.where(mask, ids, (ids + 5) % 12), mask)
    torch.testing.assert_close(text.embedding, other.embedding)
    torch.testing.assert_close(text.encodings[mask], other.encodings[mask])
    shorter = clip.encode_text(ids[:1, :2], mask[:1, :2])
    torch.testing.assert_close(shorter.embedding, text.embedding[:1])
    assert not torch.allclose(clip.encode_text(ids.flip(1), mask).embedding, text.embedding)


def test_temperature_starts_as_published_and_is_bounded() -> None:
    clip = tiny_clip()
    assert clip.scale.item() == pytest.approx(1 / 0.07, rel=1e-5)
    torch.nn.init.constant_(clip.log_scale, 9.0)
    assert clip.scale.item() == MAX_SCALE


def test_contrastive_loss_is_symmetric_and_has_the_right_gradient() -> None:
    clip = tiny_clip().double()
    generator = torch.Generator().manual_seed(3)
    images, texts = (F.normalize(torch.randn(5, 8, generator=generator, dtype=torch.double), dim=1) for _ in range(2))
    one, other = contrastive_loss(clip, images, texts), contrastive_loss(clip, texts, images)
    torch.testing.assert_close(one, other)
    one.backward()
    step, losses = 1e-5, []
    for sign in (1, -1):
        with torch.no_grad():
            clip.log_scale += sign * step
            losses.append(contrastive_loss(clip, images, texts))
            clip.log_scale -= sign * step
    difference = (losses[0] - losses[1]) / (2 * step)
    assert clip.log_scale.grad is not None
    torch.testing.assert_close(clip.log_scale.grad, difference, rtol=1e-6, atol=1e-8)


def test_learns_and_classifies_a_toy() -> None:
    """Four colours, three captions' lengths and words: after 60 steps every picture has its own caption."""
    clip = tiny_clip()
    ids = torch.tensor([[0, 3, 1, 2, 2, 2], [0, 4, 1, 2, 2, 2], [0, 3, 4, 1, 2, 2], [0, 4, 3, 1, 2, 2]])
    mask = ids != 2
    colours = torch.tensor([[1.0, -1, -1], [-1, 1, -1], [-1, -1, 1], [1, 1, 1]])
    generator = torch.Generator().manual_seed(0)

    def pictures() -> torch.Tensor:
        noise = torch.randn(4, 3, 16, 16, generator=generator)
        return (colours[:, :, None, None] + 0.3 * noise).clamp(-1, 1)

    optimizer = torch.optim.Adam(clip.parameters(), 3e-3)
    for _ in range(60):
        loss = contrastive_loss(clip, clip.encode_image(pictures()), clip.encode_text(ids, mask).embedding)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    probability = clip.classify(pictures(), ids, mask)
    torch.testing.assert_close(probability.sum(1), torch.ones(4))
    assert probability.argmax(1).tolist() == [0, 1, 2, 3]
    assert probability.diagonal().min() > 0.8


def test_same_seed_same_network() -> None:
    for one, other in zip(tiny_clip().parameters(), tiny_clip().parameters(), strict=True):
        assert torch.equal(one, other)


def test_wrong_sizes_are_refused() -> None:
    clip = tiny_clip()
    with pytest.raises(ValueError, match="expected 16 x 16"):
        clip.encode_image(torch.zeros(1, 3, 8, 8))
    with pytest.raises(ValueError, match="7 tokens: expected at most 6"):
        clip.encode_text(torch.zeros(1, 7, dtype=torch.long), torch.ones(1, 7, dtype=torch.bool))
    with pytest.raises(ValueError, match="no token"):
        clip.encode_text(torch.zeros(1, 6, dtype=torch.long), torch.zeros(1, 6, dtype=torch.bool))


def test_mini_has_the_size_that_was_planned() -> None:
    with torch.device("meta"):
        clip = Clip(CLIP_PRESETS["mini"])
    assert 1.4e6 < sum(parameter.numel() for parameter in clip.parameters()) < 1.8e6


def test_rank_counts_wrong_candidates_only() -> None:
    similarity = torch.tensor([[0.9, 0.8, 0.7, 0.1], [0.9, 0.8, 0.7, 0.1], [0.5, 0.5, 0.5, 0.5]])
    correct = torch.tensor([[False, True, True, False], [True, True, True, False], [False, True, False, False]])
    assert first_correct_rank(similarity, correct).tolist() == [1, 0, 3]
    assert [recall_at(k, similarity, correct) for k in (1, 2, 4)] == pytest.approx([1 / 3, 2 / 3, 1])
    with pytest.raises(ValueError, match="no correct"):
        first_correct_rank(similarity, torch.zeros_like(correct))


def test_recall_with_captions_shared_by_pictures() -> None:
    """Pictures 0 and 2 share a caption; picture 3's embedding is nearest to that caption, wrongly."""
    texts = F.normalize(torch.tensor([[1.0, 0], [0, 1], [1, 0], [-1, 0.2]]), dim=1)
    images = F.normalize(torch.tensor([[1.0, 0.2], [0, 1], [0.5, 1], [1.0, 0.1]]), dim=1)
    recall = retrieval_recall(images, texts, ["a", "b", "a", "c"], ranks=(1, 2, 3))
    # Picture 0 -> a, 1 -> b, 2 -> b before a, 3 -> a and b before c.
    assert recall.captions == pytest.approx({1: 0.5, 2: 0.75, 3: 1.0})
    # Caption a's nearest picture is 3, then 0; b's is 1; c's are 1 and 2 before 0 and 3 (nearest by angle).
    assert recall.pictures[1] == pytest.approx(1 / 3)
    angle = math.acos(float(images[3] @ texts[0])) < math.acos(float(images[0] @ texts[0]))
    assert angle and recall.pictures[2] == pytest.approx(2 / 3)
    with pytest.raises(ValueError, match="4 images, 4 texts and 3 captions"):
        retrieval_recall(images, texts, ["a", "b", "c"])
