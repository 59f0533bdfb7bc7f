"""How far a module's outputs are from those of a golden file."""

import torch


def converted_inputs(file, dtype):
    return {k: v.to(dtype) if v.is_floating_point() else v for k, v in file.tensors["input"].items()}


def outputs_of(module, run, file, dtype, gradients):
    """What the module makes of the file's inputs, which it must leave as they are."""
    inputs = converted_inputs(file, dtype)
    copies = {k: v.clone() for k, v in inputs.items()}
    with torch.set_grad_enabled(gradients):
        outputs = run(module, inputs)
    for key, value in inputs.items():
        assert torch.equal(value, copies[key]), f"the input {key} was changed"
    return outputs


def relative_errors(outputs, expected_outputs, file, dtype):
    """Largest error of each output inside its valid region, relative to the largest output."""
    result = {}
    for name, expected in expected_outputs.items():
        valid = file.tensors.get("valid", {}).get(name)
        keep = torch.ones(expected.shape[:-1], dtype=torch.bool) if valid is None else valid.bool()
        actual = outputs[name].detach()
        assert actual.shape == expected.shape
        assert actual.dtype == dtype
        difference = (actual - expected)[keep].abs().max()
        result[name] = (difference / expected[keep].abs().max()).item()
    return result
