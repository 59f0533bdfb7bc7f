"""Linear maps with what follows them: every kernel computes what PyTorch's plain operations do."""

import pytest
import torch
import torch.nn.functional as F

import anfinsen.nn.linear as kernels
from anfinsen.nn.linear import linear

PLAIN = {"none": lambda y: y, "relu": torch.relu, "sigmoid": torch.sigmoid, "swish": F.silu}


@pytest.fixture(params=["oneDNN", "MKL", "PyTorch"])
def kernel(request, monkeypatch):
    """What runs without gradients: each of the three, whatever is installed here."""
    monkeypatch.setattr(kernels, "WIDE", 8)
    monkeypatch.setattr(kernels, "_is_intel", lambda: request.param == "MKL")
    if request.param == "PyTorch":
        monkeypatch.setattr(kernels, "_works", lambda: False)
    return request.param


@pytest.mark.parametrize("activation", PLAIN)
@pytest.mark.parametrize("times", [None, (7, 12), (3, 7, 12)])
@pytest.mark.parametrize("plus", [True, False])
@pytest.mark.parametrize("offset", [True, False])
def test_fused_linear_maps_are_pytorchs(activation, times, plus, offset, kernel):
    torch.manual_seed(0)
    x, weight = torch.randn(3, 7, 20), torch.randn(36, 20)[12:24]
    bias = torch.randn(12) if offset else None
    factor = None if times is None else torch.randn(times)
    term = torch.randn(3, 7, 12) if plus else None
    kept = [None if tensor is None else tensor.clone() for tensor in (x, factor, term)]
    expected = PLAIN[activation](x @ weight.T + (0 if bias is None else bias))
    expected = (expected if factor is None else expected * factor) + (0 if term is None else term)
    torch.testing.assert_close(linear(x, weight, bias, activation, factor, term), expected)
    with torch.no_grad():
        torch.testing.assert_close(linear(x, weight, bias, activation, factor, term), expected)
        strided = x.transpose(0, 1).contiguous().transpose(0, 1)
        torch.testing.assert_close(linear(strided, weight, bias, activation, factor, term), expected)
    for before, after in zip(kept, (x, factor, term), strict=True):
        assert before is after is None or torch.equal(before, after)


@pytest.mark.parametrize("activation", PLAIN)
def test_what_is_no_number_stays_none(activation, kernel):
    x = torch.ones(2, 8)
    x[0, 0] = torch.nan
    with torch.no_grad():
        found = linear(x, torch.ones(4, 8), activation=activation)
    assert found[0].isnan().all() and found[1].isfinite().all()


@pytest.mark.parametrize(("name", "intel"), [("GenuineIntel", True), ("AuthenticAMD", False)])
def test_the_maker_of_the_processor_is_read(name, intel, tmp_path, monkeypatch):
    (tmp_path / "cpuinfo").write_bytes(f"processor\t: 0\nvendor_id\t: {name}\nmodel name\t: \xff\n".encode("latin-1"))
    monkeypatch.setattr(kernels, "_PROCESSORS", tmp_path / "cpuinfo")
    monkeypatch.setattr(kernels.platform, "processor", lambda: "")
    assert kernels._is_intel.__wrapped__() is intel
    monkeypatch.setattr(kernels, "_PROCESSORS", tmp_path / "missing")
    monkeypatch.setattr(kernels.platform, "processor", lambda: f"Family 6 Model 85, {name}")
    assert kernels._is_intel.__wrapped__() is intel
