"""Scripts end as the command does."""

from argparse import ArgumentTypeError

import pytest

from anfinsen.common.errors import InputError
from anfinsen.common.script import positive, run_script


def test_an_error_for_the_user_is_one_sentence_and_exit_code_2(capsys):
    def main():
        raise InputError("data/x.parquet is not there.")

    with pytest.raises(SystemExit) as stop:
        run_script(main)
    assert stop.value.code == 2
    assert capsys.readouterr().err == "Error: data/x.parquet is not there.\n"


def test_a_bug_keeps_its_traceback_and_success_says_nothing(capsys):
    with pytest.raises(ZeroDivisionError):
        run_script(lambda: 1 / 0)
    run_script(lambda: None)
    assert capsys.readouterr() == ("", "")


def test_files_that_are_not_there_end_a_script_with_a_sentence(tmp_path, capsys):
    for path, why in ((tmp_path / "none", "No such file"), (tmp_path, "Is a directory")):
        with pytest.raises(SystemExit) as ended:
            run_script(lambda path=path: path.read_text())
        assert ended.value.code == 2
        error = capsys.readouterr().err
        assert error.startswith(f"Error: {path} cannot be used: {why}") and error.count("\n") == 1


@pytest.mark.parametrize("text", ["0", "-1", "1.5", "", "two", "²"])
def test_counts_are_whole_and_above_0(text):
    assert positive("12") == 12
    with pytest.raises(ArgumentTypeError, match="no whole number above 0"):
        positive(text)


def test_libraries_give_a_message_alone(capsys):
    def main():
        raise FileNotFoundError("/data/x.parquet")

    why = "there is no such file, or it may not be read.\n"
    with pytest.raises(SystemExit) as ended:
        run_script(main)
    assert (ended.value.code, capsys.readouterr().err) == (2, "Error: /data/x.parquet cannot be used: " + why)
