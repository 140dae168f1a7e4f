"""The end of a command: what the process that called it sees."""

import subprocess
import sys

import pytest

FAULTY_END = """
import atexit, os, sys
from attrgan import cli

class Abort:
    def __del__(self):
        os.abort()

def run(then=cli.run):
    atexit.register(print, "sent at the end")
    return then()

kept, cli.run = Abort(), run
sys.argv = ["attrgan", *sys.argv[1:]]
cli.main()
"""
"""A command in whose process something aborts while the interpreter is torn down, as Arrow's threads may."""


@pytest.mark.parametrize(("words", "code"), [(["config", "show"], 0), (["landing", "nowhere"], 2)])
def test_the_exit_code_is_the_commands_whatever_happens_after_it(words, code, tmp_path):
    ended = subprocess.run(
        [sys.executable, "-c", FAULTY_END, *words], capture_output=True, text=True, check=False, cwd=tmp_path
    )
    assert ended.returncode == code, ended.stderr
    assert (ended.stderr == "") == (code == 0)
    assert ended.stdout.splitlines()[-1] == "sent at the end"  # such as metrics and traces that wait


def test_a_reader_that_went_away_is_no_success(tmp_path):
    command = f"set -o pipefail; {sys.executable} -m attrgan config show | true"
    ended = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False, cwd=tmp_path)
    assert ended.returncode == 1
    assert "Traceback" not in ended.stderr
