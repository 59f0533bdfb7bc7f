"""`anfinsen weights convert`: what is no whole published file is refused in one sentence, and nothing is written."""

import io
import pickle
import tarfile

import numpy as np
import pytest
import torch
from alphafold2_published import ROOT, SMALL, published
from conversion import random_tensors, refused, save_arrays
from hypothesis import given, settings
from hypothesis import strategies as st
from openfold_published import openfold_published

from anfinsen.cli.app import run
from anfinsen.common.errors import WeightsError
from anfinsen.weights.published.files import kind_of, read_arrays, read_checkpoint


class Evil:
    """Would run code when it is unpickled."""

    def __reduce__(self):
        return (pytest.fail, ("code was run",))


def a_tar():
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("params_model_1.npz"), io.BytesIO())
    return buffer.getvalue()


def an_archive(**arrays):
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return buffer.getvalue()


def a_checkpoint(content, **options):
    buffer = io.BytesIO()
    torch.save(content, buffer, **options)
    return buffer.getvalue()


NUMBERS = {"w": torch.zeros(3)}
FILES = {
    "empty": (b"", "is empty: expected DeepMind's arrays"),
    "text": (b"these are no parameters\n" * 50, "is no parameter file: expected"),
    "web page": (b"<html><body>404 Not Found</body></html>", "is no parameter file"),
    "archive of files": (a_tar(), "unpack it, and convert one of them"),
    "other arrays": (an_archive(w=np.zeros(3)), "holds no AlphaFold 2 parameters"),
    "no arrays": (an_archive(), "is no parameter file"),
    "array of objects": (an_archive(w=np.array([{}, 3], dtype=object)), "cannot be read as an archive of arrays"),
    "array of whole numbers": (an_archive(w=np.arange(3)), "of type torch.int64, expected tensors of decimal numbers"),
    "array of texts": (an_archive(w=np.array(["a"])), "cannot be read as an archive of arrays"),
    "truncated archive": (an_archive(w=np.zeros(300))[:900], "is an archive that was cut short"),
    "other checkpoint": (a_checkpoint(NUMBERS), "holds no OpenFold model of AlphaFold 2"),
    "empty checkpoint": (a_checkpoint({}), "holds no parameters"),
    "checkpoint of a list": (a_checkpoint([torch.zeros(3)]), "holds a list, expected a dictionary"),
    "checkpoint of numbers": (a_checkpoint({"epoch": 3}), "holds 'epoch' of type int"),
    "old checkpoint": (a_checkpoint(NUMBERS, _use_new_zipfile_serialization=False), "holds no OpenFold model"),
    "truncated checkpoint": (a_checkpoint(NUMBERS)[:300], "is an archive that was cut short"),
    "pickle": (pickle.dumps(Evil()), "are not read because they can run code"),
    "checkpoint with code": (a_checkpoint({"w": torch.zeros(3), "x": Evil()}), "can run code"),
    "array with code": (an_archive(w=np.array([Evil()], dtype=object)), "cannot be read as an archive of arrays"),
}


@pytest.mark.parametrize("case", FILES)
def test_files_that_are_no_parameters(case, tmp_path, capsys):
    content, saying = FILES[case]
    (tmp_path / "params.npz").write_bytes(content)
    refused(capsys, tmp_path / "params.npz", tmp_path / "out.safetensors", saying=saying)


def test_missing_files_and_wrong_options(tmp_path, capsys):
    out = tmp_path / "out.safetensors"
    refused(capsys, tmp_path / "none.npz", out, saying="none.npz: No such file")
    refused(capsys, tmp_path, out, saying="Is a directory")
    refused(capsys, tmp_path / "none.npz", tmp_path / "out.npz", saying="expected a file that ends in .safetensors")
    assert run(["weights", "convert", str(tmp_path / "none.npz")]) == 2


BLOCK = ROOT + "evoformer/evoformer_iteration"
ONE = f"{BLOCK}/msa_transition/transition1//weights"
CHANGES = {
    "missing": ({ONE: None}, "has no tensor"),
    "missing, read first": ({ROOT + "evoformer/preprocess_1d//bias": None}, "has no tensor"),
    "left over": ({ROOT + "evoformer/another//weights": torch.zeros(3)}, "does not use: 'alphafold/"),
    "shape": ({ONE: torch.zeros(2, 16, 32)}, "has shape [32, 16], expected [64, 16]"),
    "too few axes": ({ROOT + "evoformer/preprocess_1d//bias": torch.zeros(())}, "which no AlphaFold 2 has"),
    "no heads": (
        {ROOT + "structure_module/fold_iteration/invariant_point_attention//trainable_point_weights": torch.zeros(0)},
        "which no AlphaFold 2 has",
    ),
    "depth": ({ONE: torch.zeros(3, 16, 64)}, "expected 2 blocks"),
    "not finite": ({ONE: torch.full((2, 16, 64), torch.nan)}, "non-finite numbers"),
    "heads": (
        {
            ROOT + "evoformer/evoformer_iteration/msa_row_attention_with_pair_bias//feat_2d_weights": torch.zeros(
                2, 8, 3
            )
        },
        "do not fit",
    ),
}


@pytest.mark.parametrize("change", CHANGES)
def test_one_wrong_array(change, tmp_path, capsys):
    tensors = random_tensors(published("ptm", SMALL))
    changes, saying = CHANGES[change]
    for name, tensor in changes.items():
        assert tensor is not None or name in tensors
        tensors = {key: value for key, value in {**tensors, name: tensor}.items() if value is not None}
    source = save_arrays(tmp_path / "params.npz", tensors)
    refused(capsys, source, tmp_path / "out.safetensors", saying=saying)


@pytest.mark.parametrize("change", ["missing", "left over", "shape", "twice"])
def test_one_wrong_tensor(change, tmp_path, capsys):
    tensors = random_tensors(openfold_published("ptm", SMALL))
    name = "evoformer.blocks.1.msa_transition.linear_1.weight"
    if change == "missing":
        del tensors[name]
    elif change == "twice":
        tensors["evoformer.blocks.1.core.msa_transition.linear_1.weight"] = tensors[name]
    else:
        tensors[name if change == "shape" else "preembedding_embedder.x.weight"] = torch.zeros(16, 16)
    saying = {"missing": "has no tensor", "left over": "does not use", "shape": "has shape", "twice": "twice"}[change]
    torch.save(tensors, tmp_path / "a.pt")
    refused(capsys, tmp_path / "a.pt", tmp_path / "out.safetensors", saying=saying)


@pytest.fixture(scope="module")
def whole_files():
    tensors = {name: torch.ones(shape) for name, shape in (("a.weight", (3, 5)), ("b", (7,)))}
    compressed = io.BytesIO()
    np.savez_compressed(compressed, **{name: tensor.numpy() for name, tensor in tensors.items()})
    return [compressed.getvalue(), an_archive(a=np.ones(40)), a_checkpoint(tensors)]


def test_one_changed_bit_of_a_checkpoint_is_noticed(tmp_path):
    content = bytearray(a_checkpoint({"w": torch.full((50,), 1.5)}))
    content[content.index(torch.full((50,), 1.5).numpy().tobytes()) + 7] ^= 1
    (tmp_path / "a.pt").write_bytes(bytes(content))
    with pytest.raises(WeightsError, match="is damaged"):
        read_checkpoint(tmp_path / "a.pt")


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_damaged_files_are_read_or_refused(data, whole_files, tmp_path_factory):
    """Whatever a bad copy changes, the answer is tensors or a WeightsError."""
    content = bytearray(data.draw(st.sampled_from(whole_files)))
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    length = data.draw(st.sampled_from([len(content), data.draw(st.integers(0, len(content)))]))
    path = tmp_path_factory.getbasetemp() / "damaged.bin"
    path.write_bytes(bytes(content[:length]))
    try:
        tensors = read_arrays(path) if kind_of(path) == "arrays" else read_checkpoint(path)
    except WeightsError as error:
        assert "\n" not in str(error)
    else:
        assert all(isinstance(tensor, torch.Tensor) for tensor in tensors.values())
