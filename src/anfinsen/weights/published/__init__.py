"""Published checkpoint formats: which of their tensors goes where in our modules.

One file per format and half of the network (``*_trunk.py``, ``*_diffusion.py``; AlphaFold 2: ``*_structure.py``);
every file is a list of rules that `rules.convert` applies strictly: each source tensor is used exactly once and each of
our parameters is filled. `alphafold2_official` and `alphafold2_openfold` know whole AlphaFold 2 files, and from
their shapes (`alphafold2_sizes`) the configuration they belong to.
"""

from .rules import Rule, convert, load_converted

__all__ = ["Rule", "convert", "load_converted"]
