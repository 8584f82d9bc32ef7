"""What is run on a CUDA machine, without one."""

import json
import shlex

import pytest

from bench.gpu import FLAGS, SHAPE, commands, make_model


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


def test_both_servers_get_the_model_and_no_weights_are_loaded(tmp_path):
    run, theory, report = commands(tmp_path / "model", tmp_path, 20, " ".join(FLAGS))
    flags = next(word for word in run if word.startswith("--server-flags="))
    given = shlex.split(flags.partition("=")[2])
    assert given[:4] == ["--model-path", str(tmp_path / "model"), "--load-format", "dummy"]
    runs = run[run.index("--json") + 1]
    assert theory[theory.index("--runs") + 1] == report[report.index("--runs") + 1] == runs
    assert "--workload" not in run
