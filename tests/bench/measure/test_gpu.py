"""What is run on a CUDA machine, without one."""

import json
import shlex
import subprocess
from pathlib import Path

import pytest

from bench.measure.gpu import SHAPE, make_model

ROOT = Path(__file__).parents[3]


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
    """The commands of `make bench-gpu`, by the name of their bench."""
    make = ["make", "--silent", "--dry-run", "bench-gpu", f"GPU={tmp_path}"]
    said = subprocess.run(make, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    commands = [shlex.split(line) for line in said.replace("\\\n", " ").splitlines()]
    return {
        words[words.index("-m") + 1].rpartition(".")[2]: words
        for words in commands
        if "-m" in words
    }


def test_both_servers_of_every_bench_get_the_model_and_no_weights_are_loaded(tmp_path, todo):
    for name in ("workloads", "concurrency", "overhead"):
        (flags,) = [word for word in todo[name] if word.startswith("--server-flags=")]
        given = shlex.split(flags.partition("=")[2])
        assert given[:4] == ["--model-path", f"{tmp_path}/llama-7b-dummy", "--load-format", "dummy"]
    assert "--workload" not in todo["workloads"]


def test_every_file_is_in_the_folder_and_the_report_takes_them_from_there(tmp_path, todo):
    assert list(todo) == ["gpu", "workloads", "theory", "concurrency", "overhead", "report"]
    assert todo["gpu"][-1] == f"{tmp_path}/llama-7b-dummy"
    names = [todo[name][todo[name].index("--json") + 1] for name in list(todo)[1:-1]]
    files = ("runs", "theory", "concurrency", "overhead")
    assert names == [f"{tmp_path}/{file}.json" for file in files]
    assert todo["theory"][todo["theory"].index("--runs") + 1] == names[0]
    assert todo["report"][todo["report"].index("--results") + 1] == str(tmp_path)


def test_each_measurement_has_a_limit_of_time(todo):
    for name in ("workloads", "theory", "concurrency", "overhead"):
        assert todo[name][0] == "timeout"
