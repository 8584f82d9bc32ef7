"""python -m bench.measure.gpu [--repeat 20] [--out bench/results/gpu]: all benches with CUDA.

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
from dataclasses import dataclass
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
#: Two servers share the GPU and start at once: each has 15 GB of weights. SGLang gives the KV cache
#: what is free after loading less (1 - fraction) of what was free before, and what the other server
#: loads meanwhile counts as used: so the fraction is high, and the tokens limit the cache.
FLAGS = ("--load-format dummy", "--mem-fraction-static 0.9", "--max-total-tokens 16384")
MODEL = "llama-7b-dummy"
_HOUR_S = 3600.0
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


@dataclass(frozen=True, kw_only=True)
class Step:
    """One command.

    Args:
        command: its words.
        limit_s: seconds that it may take.
        needed: whether the rest is of no use without it; else a missed limit or a failure of it is
            no reason not to report what there is.
    """

    command: list[str]
    limit_s: float
    needed: bool = False


def steps(model: Path, out: Path, repeat: int, flags: str) -> list[Step]:
    """What is run, in this order; all files are in one folder, and none are taken from another.

    Args:
        model: the model's folder.
        out: where the figures go.
        repeat: calls of each workload and mode.
        flags: of both servers, besides the model's.
    """
    servers = f"--server-flags=--model-path {model} {flags}".strip()

    runs = str(out / "runs.json")

    def bench(hours: float, name: str, file: str, *flags: str, needed: bool = False) -> Step:
        command = [sys.executable, "-m", f"bench.measure.{name}", "--json", str(out / file), *flags]
        return Step(command=command, limit_s=hours * _HOUR_S, needed=needed)

    places = {"results": out, "out": out / "REPORT.md"}
    places |= {"figures": out / "figures", "summary": out / "summary.json"}
    report = [sys.executable, "-m", "bench.report"]
    report += [word for name, path in places.items() for word in (f"--{name}", str(path))]
    return [
        bench(4, "workloads", "runs.json", "--repeat", str(repeat), servers, needed=True),
        bench(1, "theory", "theory.json", "--runs", runs),
        bench(1, "concurrency", "concurrency.json", servers),
        bench(2, "overhead", "overhead.json", servers),
        Step(command=report, limit_s=_HOUR_S / 4, needed=True),
    ]


def run(step: Step) -> int:
    """Run a command to its end or its limit.

    Args:
        step: which.

    Returns:
        Its exit code; 124 if it ran past its limit and was killed.
    """
    try:
        return subprocess.run(step.command, check=False, timeout=step.limit_s).returncode
    except subprocess.TimeoutExpired:
        said = f"bench.measure.gpu: more than {step.limit_s:g} s: {shlex.join(step.command)}"
        print(said, file=sys.stderr)
        return 124


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m bench.measure.gpu",
        description=__doc__,
        formatter_class=argparse.RawTextHelpFormatter,
    )
    parser.add_argument("--out", type=Path, default=Path("bench/results/gpu"))
    parser.add_argument("--repeat", type=int, default=20, help="calls of each workload and mode")
    parser.add_argument("--flags", default=" ".join(FLAGS), help="of both servers")
    parser.add_argument("--dry-run", action="store_true", help="make the model, print the commands")
    args = parser.parse_args()
    model = (args.out / MODEL).absolute()
    make_model(model, embedded_model.ensure())
    todo = steps(model, args.out, args.repeat, args.flags)
    if args.dry_run:
        print("\n".join(shlex.join(step.command) for step in todo))
        return 0
    import torch

    if not torch.cuda.is_available():
        print("bench.measure.gpu: there is no CUDA device here", file=sys.stderr)
        return 2
    # What an earlier run has left must not be reported as this one's.
    for old in args.out.glob("*.json"):
        old.unlink()
    for step in todo:
        code = run(step)
        if code != 0 and step.needed:
            return code
    return 0


if __name__ == "__main__":
    sys.exit(main())
