"""A small attention with two heads, as a plan: what the tests of pages and exercises show."""

import torch

from anfinsen.byhand import Names, Plan, make_plan, trace_function


def attention(inputs, weights):
    """Two heads of attention over tokens, gated."""
    x = inputs["x"]
    x = torch.nn.functional.layer_norm(x, (x.shape[-1],))
    queries, keys, values = (torch.einsum("nc,hcd->hnd", x, weights[name]) for name in ("W_Q", "W_K", "W_V"))
    attended = torch.softmax(queries @ keys.transpose(1, 2) / 2**0.5, -1) @ values
    gate = torch.sigmoid(torch.nn.functional.gelu(inputs["x"]) @ weights["W_G"])
    return {"out": attended.permute(1, 0, 2).reshape(x.shape[0], -1) * gate}


def small_plan(tokens: int = 3) -> Plan:
    """Return the plan of `attention` over so many tokens of four channels."""
    generator = torch.Generator().manual_seed(4)

    def draw(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=generator, dtype=torch.float64)

    inputs = {"x": draw(tokens, 4)}
    weights = {"W_Q": draw(2, 4, 2), "W_K": draw(2, 4, 2), "W_V": draw(2, 4, 2), "W_G": draw(4, 4)}
    trace = trace_function(
        attention,
        inputs,
        weights,
        axes={"x": "n c", "W_Q": "heads c c", "W_K": "heads c c", "W_V": "heads c c", "W_G": "c c"},
        names=Names({"token": [f"{letter}{n + 1}" for n, letter in enumerate("MKVLAE"[:tokens])]}),
        title="Gated attention <&> two heads",
        reference="Vaswani et al. 2017, equation 1",
    )
    return make_plan(trace)
