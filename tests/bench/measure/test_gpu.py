"""What is run on a CUDA machine, without one."""

import json
import shlex
import sys

import pytest

from bench.measure.gpu import FLAGS, SHAPE, Step, make_model, run, steps


@pytest.fixture
def embedded(tmp_path):
    """A model's folder with a small vocabulary."""
    folder = tmp_path / "embedded"
    folder.mkdir()
    config = {"vocab_size": 49152, "bos_token_id": 1, "eos_token_id": 2, "hidden_size": 576}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "tokenizer.json").write_text("{}")
    (folder / "model.safetensors").write_text("weights")
    (folder / "model.safetensors.index.json").write_text("{}")
    return folder


def test_the_model_has_the_7b_shape_the_vocabulary_and_no_weights(tmp_path, embedded):
    make_model(tmp_path / "model", embedded)
    config = json.loads((tmp_path / "model/config.json").read_text())
    assert {name: config[name] for name in SHAPE} == SHAPE
    assert (config["vocab_size"], config["bos_token_id"], config["eos_token_id"]) == (49152, 1, 2)
    names = {path.name for path in (tmp_path / "model").iterdir()}
    assert names == {"config.json", "tokenizer.json"}


def test_it_is_made_again_over_an_old_one(tmp_path, embedded):
    make_model(tmp_path / "model", embedded)
    (tmp_path / "model/config.json").write_text("old")
    make_model(tmp_path / "model", embedded)
    assert json.loads((tmp_path / "model/config.json").read_text())["hidden_size"] == 4096


def test_the_shape_is_of_seven_billion_parameters():
    hidden, inner = SHAPE["hidden_size"], SHAPE["intermediate_size"]
    keys = hidden * SHAPE["num_key_value_heads"] // SHAPE["num_attention_heads"]
    layer = 2 * hidden * hidden + 2 * hidden * keys + 3 * hidden * inner
    assert SHAPE["num_hidden_layers"] * layer + 2 * 49152 * hidden == pytest.approx(7.4e9, rel=0.01)


@pytest.fixture
def todo(tmp_path):
    """The steps' commands, by the name of their bench."""
    found = steps(tmp_path / "model", tmp_path, 20, " ".join(FLAGS))
    return {step.command[2].rpartition(".")[2]: step for step in found}


def test_both_servers_of_every_bench_get_the_model_and_no_weights_are_loaded(tmp_path, todo):
    for name in ("workloads", "concurrency", "overhead"):
        (flags,) = [word for word in todo[name].command if word.startswith("--server-flags=")]
        given = shlex.split(flags.partition("=")[2])
        assert given[:4] == ["--model-path", str(tmp_path / "model"), "--load-format", "dummy"]
    assert "--workload" not in todo["workloads"].command


def test_every_file_is_in_the_folder_and_the_report_takes_them_from_there(tmp_path, todo):
    *measured, report = todo.values()
    assert report.command[report.command.index("--results") + 1] == str(tmp_path)
    names = []
    for step in measured:
        names.append(step.command[step.command.index("--json") + 1])
    assert names == [
        str(tmp_path / f"{name}.json") for name in ("runs", "theory", "concurrency", "overhead")
    ]
    theory = todo["theory"].command
    assert theory[theory.index("--runs") + 1] == names[0]


def test_a_command_that_takes_too_long_is_ended():
    asleep = [sys.executable, "-c", "import time; time.sleep(60)"]
    assert run(Step(command=asleep, limit_s=0.2)) == 124
    assert run(Step(command=[sys.executable, "-c", "raise SystemExit(3)"], limit_s=60)) == 3
