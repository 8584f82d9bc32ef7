"""What a compact grammar saves: the tokens of free regions with a JSON schema, with and without
`any_whitespace`, on a running server.

python -m sgl_conveyor.launch_server --port 30000 --tools search validation database \\
    'programs.plan_tools:*' &
python -m bench.measure.schema_tokens --url http://127.0.0.1:30000 --repeats 10 --out tokens.json

For each tool with a schema and each prompt, the model writes a region of each kind in turn, at the
given temperature. A region that reaches its limit is cut: its tool has no result (`RegionCut`).
Contents differ from region to region by more than white space comes to, so each text is also
compared with itself: its tokens as written, less those of the same text with compact white space.
"""

from __future__ import annotations

import argparse
import json
import statistics
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import msgspec
from tokenizers import Tokenizer

from sgl_conveyor import embedded_model

PROMPTS = (
    "What was in the news about cycling in Paris in June 2024?",
    "Which customers have ordered most in the last year?",
    "Give me the first useful call that comes to your mind.",
)


class Region(msgspec.Struct):
    """One decoded region.

    Args:
        tool: whose arguments it holds.
        any_whitespace: whether its grammar let the model write white space as it liked.
        tokens: that were decoded.
        cut: whether it ended at its limit.
        saved: tokens more than the same text has with compact white space.
        text: what was decoded.
    """

    tool: str
    any_whitespace: bool
    tokens: int
    cut: bool
    saved: int
    text: str


class Options(msgspec.Struct):
    """How regions are decoded.

    Args:
        max_tokens: the limit of a region.
        temperature: of the sampling.
        repeats: regions of each kind for each tool and prompt.
        at_once: regions that are decoded at once.
    """

    max_tokens: int
    temperature: float
    repeats: int
    at_once: int


def compacted(text: str) -> str:
    """A JSON text, whole or cut, with a space behind each comma and colon and no other white space
    outside of its strings."""
    kept: list[str] = []
    in_string = escaped = False
    for character in text:
        if in_string:
            kept.append(character)
            in_string = escaped or character != '"'
            escaped = not escaped and character == "\\"
        elif not character.isspace():
            kept.append(f"{character} " if character in ",:" else character)
            in_string = character == '"'
    return "".join(kept)


def decode(
    client: httpx.Client,
    tool: dict[str, str],
    prompt: str,
    any_whitespace: bool,
    options: Options,
    tokenizer: Tokenizer,
) -> Region:
    """Have the model write one region; its call is deleted when that is done."""
    answer = client.post("/conveyor/calls", json={"tool": tool["name"], "region": "measured"})
    answer.raise_for_status()
    created = answer.json()
    conveyor = {"call": created["call"], "any_whitespace": any_whitespace}
    text = (
        f"<|im_start|>user\n{prompt} Call the tool {tool['name']}: {tool['description']}"
        "<|im_end|>\n<|im_start|>assistant\n"
    )
    parameters = {
        "max_new_tokens": options.max_tokens,
        "temperature": options.temperature,
        "json_schema": created["json_schema"],
        "custom_params": {"conveyor": conveyor},
    }
    answer = client.post("/generate", json={"text": text, "sampling_params": parameters})
    if answer.status_code != 200:
        raise SystemExit(f"the schema of {tool['name']} was refused: {answer.text}")
    content = answer.json()
    client.delete(f"/conveyor/calls/{created['call']}")
    meta, text = content["meta_info"], content["text"]
    tokens, least = (len(tokenizer.encode(form).ids) for form in (text, compacted(text)))
    return Region(
        tool=tool["name"],
        any_whitespace=any_whitespace,
        tokens=meta["completion_tokens"],
        cut=meta["finish_reason"]["type"] == "length",
        saved=tokens - least,
        text=text,
    )


def measure(
    client: httpx.Client, names: list[str], options: Options, tokenizer: Tokenizer
) -> list[Region]:
    """Decode regions of both kinds in turn, for each tool that has a schema."""
    answer = client.get("/conveyor/tools")
    answer.raise_for_status()
    tools = [
        tool["function"]
        for tool in answer.json()["tools"]
        if tool["function"]["parameters"]["properties"]
        and (not names or tool["function"]["name"] in names)
    ]
    with ThreadPoolExecutor(options.at_once) as pool:
        regions = [
            pool.submit(decode, client, tool, prompt, any_whitespace, options, tokenizer)
            for _ in range(options.repeats)
            for tool in tools
            for prompt in PROMPTS
            for any_whitespace in (True, False)
        ]
        return [region.result() for region in regions]


def table(regions: list[Region]) -> str:
    """Tokens, cut regions and what white space cost, of each tool and for both kinds."""
    lines = [
        "| tool | regions | tokens, any / compact (mean) | of whole regions (median) "
        "| cut, any / compact | tokens of white space, any / compact (mean) |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for name in [*dict.fromkeys(region.tool for region in regions), "all"]:
        kinds = [
            [r for r in regions if name in (r.tool, "all") and r.any_whitespace is kind]
            for kind in (True, False)
        ]
        whole = [[r.tokens for r in kind if not r.cut] for kind in kinds]
        cells = [
            f"{len(kinds[0])} + {len(kinds[1])}",
            " / ".join(f"{statistics.mean(r.tokens for r in kind):.1f}" for kind in kinds),
            " / ".join(f"{statistics.median(w):.0f}" if w else "none" for w in whole),
            " / ".join(str(sum(r.cut for r in kind)) for kind in kinds),
            " / ".join(f"{statistics.mean(r.saved for r in kind):.1f}" for kind in kinds),
        ]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--url", default="http://127.0.0.1:30000")
    parser.add_argument("--api-key", default="")
    parser.add_argument("--tools", nargs="*", default=[], help="by default all with a schema")
    parser.add_argument("--max-tokens", type=int, default=256)
    parser.add_argument("--temperature", type=float, default=1.0)
    parser.add_argument("--repeats", type=int, default=10)
    parser.add_argument("--at-once", type=int, default=8)
    parser.add_argument("--tokenizer", type=Path, help="by default the embedded model's")
    parser.add_argument("--out", type=Path, help="where all regions are written, as JSON")
    given = parser.parse_args()
    headers = {"Authorization": f"Bearer {given.api_key}"} if given.api_key else {}
    file = given.tokenizer or embedded_model.ensure() / "tokenizer.json"
    tokenizer = Tokenizer.from_file(str(file))
    options = Options(given.max_tokens, given.temperature, given.repeats, given.at_once)
    with httpx.Client(base_url=given.url, headers=headers, timeout=600, trust_env=False) as client:
        regions = measure(client, given.tools, options, tokenizer)
    if given.out is not None:
        content = {"options": options, "regions": regions}
        given.out.write_text(json.dumps(msgspec.to_builtins(content), indent=1, ensure_ascii=False))
    print(table(regions))


if __name__ == "__main__":
    main()
