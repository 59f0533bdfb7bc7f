"""What messages say of values and of many names."""

import pytest

from anfinsen.common.text import counted, listed, shown


@pytest.mark.parametrize(
    ("names", "said"),
    [((), ""), ("A", "A"), ("ABC", "A, B, C"), ("ABCD", "A, B, C and 1 more"), (range(10), "0, 1, 2 and 7 more")],
)
def test_many_names_are_counted(names, said):
    assert listed(names, 3) == said
    assert listed(iter(names), 3, "more names") == said.replace("more", "more names")


def test_values_are_quoted_on_one_line_and_cut():
    assert shown("a\nb") == r"'a\nb'"
    assert shown(7) == "7"
    long = shown("x" * 100, 20)
    assert len(long) == 20
    assert long == "'" + "x" * 18 + "…"


def test_counted():
    assert [counted(n, "row") for n in (0, 1, 2, 2048)] == ["0 rows", "1 row", "2 rows", "2,048 rows"]
    assert [counted(n, "entry", "entries") for n in (1, 2)] == ["1 entry", "2 entries"]
