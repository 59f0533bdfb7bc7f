"""Files appear whole, whatever their names; random numbers of several generators do not mix."""

import pytest
import torch

from anfinsen.common.files import file_sha256, write_text
from anfinsen.common.seeding import gaussian, torch_generator


@pytest.mark.parametrize("name", ["x" * 250 + ".txt", "蛋" * 84 + ".a", "🧬" * 60, "a.b"])
def test_a_name_that_the_file_system_allows_can_be_written(tmp_path, name):
    write_text(tmp_path / name, "whole")
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert (tmp_path / name).read_text() == "whole"


def test_the_hash_of_a_file_is_that_of_its_content(tmp_path):
    (tmp_path / "a").write_bytes(b"abc")  # NIST's example
    assert file_sha256(tmp_path / "a") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_one_generator_draws_what_torch_draws():
    expected = torch.randn((3, 2), generator=torch_generator(1), dtype=torch.float64)
    assert torch.equal(gaussian((3, 2), torch_generator(1), torch.float64), expected)


def test_several_generators_draw_each_their_own_entry():
    drawn = gaussian((3, 2, 2), [torch_generator(n) for n in range(3)])
    assert torch.equal(drawn[1], torch.randn((2, 2), generator=torch_generator(1)))
    with pytest.raises(ValueError, match="3 generators cannot fill an array of shape"):
        gaussian((2, 2), [torch_generator(n) for n in range(3)])
