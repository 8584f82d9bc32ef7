"""What a file of results says of where it comes from."""

import shlex
import subprocess
import sys

import pytest

from bench.measure.machine import commit_of, model_of, this_machine
from sgl_conveyor import embedded_model


@pytest.mark.parametrize(
    ("flags", "model"),
    [
        ("", embedded_model.NAME),
        ("--max-total-tokens 5", embedded_model.NAME),
        ("--model-path org/name --seed 1", "org/name"),
        ("--model-path=/home/me/models/seven", "seven"),
        ("--model /models/eight", "eight"),
    ],
)
def test_the_model_is_the_embedded_one_unless_the_flags_name_another(flags, model):
    assert model_of(flags.split()) == model
    assert this_machine(flags.split()).model == model


def test_the_command_can_be_typed_again(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["x", "--server-flags=--a 1 --b 'c d'", "--repeat", "5"])
    assert shlex.split(this_machine().command)[3:] == sys.argv[1:]


def test_the_commit_tells_of_changes_but_not_of_those_that_the_benches_write(tmp_path):
    def git(*arguments):
        who = ("-c", "user.name=a", "-c", "user.email=a@b.c")
        subprocess.run(["git", "-C", tmp_path, *who, *arguments], check=True, capture_output=True)

    assert commit_of(tmp_path / "missing") == ""
    git("init")
    (tmp_path / "code.py").write_text("1")
    git("add", ".")
    git("commit", "-m", "first")
    commit = commit_of(tmp_path)
    assert len(commit) >= 7
    (tmp_path / "bench").mkdir()
    (tmp_path / "bench/REPORT.md").write_text("# Measurements")
    assert commit_of(tmp_path) == commit
    (tmp_path / "code.py").write_text("2")
    assert commit_of(tmp_path) == f"{commit}+changes"
