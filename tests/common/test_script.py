"""Scripts end as the command does."""

import pytest

from anfinsen.common.errors import InputError
from anfinsen.common.script import run_script


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
