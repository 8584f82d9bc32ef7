"""python -m bench.gpu [--repeat 20] [--out bench/results/gpu]: the workloads on a CUDA machine.

A 7B model without weights (`--load-format dummy`) does the work of a real one, and the grammar of
a recorded call makes its text exact. See bench/gpu.md.
"""

from __future__ import annotations

import argparse
import json
import shlex
import shutil
import subprocess
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
#: Two servers share the GPU: each has 15 GB of weights and 2 GB for 16384 tokens.
FLAGS = ("--load-format dummy", "--mem-fraction-static 0.4", "--max-total-tokens 16384")
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


def commands(model: Path, out: Path, repeat: int, flags: str) -> list[list[str]]:
    """What is run, in this order.

    Args:
        model: the model's folder.
        out: where the figures go.
        repeat: calls of each workload and mode.
        flags: of both servers, besides the model's.
    """
    python, runs, theory = [sys.executable, "-m"], out / "runs.json", out / "theory.json"
    servers = f"--server-flags=--model-path {model} {flags}".strip()
    return [
        [*python, "bench.workloads", "--repeat", str(repeat), "--json", str(runs), servers],
        [*python, "bench.theory", "--runs", str(runs), "--json", str(theory)],
        [
            *python, "bench.report", "--runs", str(runs), "--theory", str(theory),
            "--out", str(out / "REPORT.md"), "--figures", str(out / "figures"),
            "--summary", str(out / "summary.json"),
        ],
    ]  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m bench.gpu",
        description=__doc__,
        formatter_class=argparse.RawTextHelpFormatter,
    )
    parser.add_argument("--out", type=Path, default=Path("bench/results/gpu"))
    parser.add_argument("--repeat", type=int, default=20, help="calls of each workload and mode")
    parser.add_argument("--flags", default=" ".join(FLAGS), help="of both servers")
    parser.add_argument("--dry-run", action="store_true", help="make the model, print the commands")
    args = parser.parse_args()
    model = (args.out / "model").absolute()
    make_model(model, embedded_model.ensure())
    todo = commands(model, args.out, args.repeat, args.flags)
    if args.dry_run:
        print("\n".join(map(shlex.join, todo)))
        return 0
    import torch

    if not torch.cuda.is_available():
        print("bench.gpu: there is no CUDA device here", file=sys.stderr)
        return 2
    measured = subprocess.run(todo[0], check=False).returncode
    if measured != 0:
        return measured
    # Errors above its targets are no reason not to report them.
    subprocess.run(todo[1], check=False)
    return subprocess.run(todo[2], check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
