"""python -m bench.measure.gpu FOLDER: a 7B model without weights, for `make bench-gpu`.

With `--load-format dummy` it does the work of a real one, and the grammar of a recorded call makes
its text exact. See bench/gpu.md. Exit code 2: there is no CUDA device.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from pathlib import Path

import msgspec

from sgl_conveyor import embedded_model

#: The shape of Mistral-7B, the paper's model, as a Llama: 7.4 billion parameters.
SHAPE = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "hidden_act": "silu",
    "hidden_size": 4096,
    "intermediate_size": 14336,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "max_position_embeddings": 8192,
    "rms_norm_eps": 1e-5,
    "rope_parameters": {"rope_type": "default", "rope_theta": 1e6},
    "tie_word_embeddings": False,
    "dtype": "bfloat16",
}
_WEIGHTS = (".safetensors", ".bin", ".pt", ".gguf")


class _Vocabulary(msgspec.Struct, frozen=True):
    vocab_size: int
    bos_token_id: int | None = None
    eos_token_id: int | list[int] | None = None
    pad_token_id: int | None = None


def make_model(folder: Path, tokenizer: Path) -> None:
    """Write a model's folder without weights: the 7B shape, with another model's vocabulary.

    Args:
        folder: where to; files in it are replaced.
        tokenizer: the folder of the model whose tokenizer it gets.

    Raises:
        OSError: a folder cannot be read or written.
        msgspec.DecodeError: the other model's config is none.
    """
    config = (tokenizer / "config.json").read_bytes()
    vocabulary = msgspec.json.decode(config, type=_Vocabulary)
    folder.mkdir(parents=True, exist_ok=True)
    for path in tokenizer.iterdir():
        about_weights = path.suffix in _WEIGHTS or path.name.endswith(".index.json")
        if path.is_file() and not about_weights and path.name != "config.json":
            shutil.copy(path, folder / path.name)
    written = {**SHAPE, **msgspec.to_builtins(vocabulary)}
    (folder / "config.json").write_text(json.dumps(written, indent=1) + "\n")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="of the model; files in it are replaced")
    folder = parser.parse_args().folder
    import torch

    if not torch.cuda.is_available():
        print("bench.measure.gpu: there is no CUDA device here", file=sys.stderr)
        return 2
    make_model(folder, embedded_model.ensure())
    return 0


if __name__ == "__main__":
    sys.exit(main())
