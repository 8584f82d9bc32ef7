"""What a compact grammar saves: the tokens of free regions with a JSON schema, with and without
`any_whitespace`, on a running server.

python -m sgl_conveyor.launch_server --port 30000 --tools search validation database \\
    'programs.plan_tools:*' &
python -m bench.schema_tokens --url http://127.0.0.1:30000 --repeats 10 --out schema_tokens.json

For each tool with a schema and each prompt, the model writes a region of each kind in turn, at the
given temperature. A region that reaches its limit is cut: its tool has no result (`RegionCut`).
"""

from __future__ import annotations

import argparse
import json
import statistics
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import msgspec

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
        blanks: white space characters outside of strings.
        text: what was decoded.
    """

    tool: str
    any_whitespace: bool
    tokens: int
    cut: bool
    blanks: int
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


def blanks_of(text: str) -> int:
    """Count the white space of a JSON text, whole or cut, that is in no string."""
    count, in_string, escaped = 0, False, False
    for character in text:
        if escaped:
            escaped = False
        elif in_string and character == "\\":
            escaped = True
        elif character == '"':
            in_string = not in_string
        elif not in_string and character.isspace():
            count += 1
    return count


def decode(
    client: httpx.Client, tool: dict[str, str], prompt: str, any_whitespace: bool, options: Options
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
    meta = content["meta_info"]
    return Region(
        tool=tool["name"],
        any_whitespace=any_whitespace,
        tokens=meta["completion_tokens"],
        cut=meta["finish_reason"]["type"] == "length",
        blanks=blanks_of(content["text"]),
        text=content["text"],
    )


def measure(client: httpx.Client, names: list[str], options: Options) -> list[Region]:
    """Decode regions of both kinds in turn, for each tool that has a schema."""
    answer = client.get("/conveyor/tools")
    answer.raise_for_status()
    tools = [
        tool["function"]
        for tool in answer.json()["tools"]
        if tool["function"]["parameters"]["properties"]
        and (not names or tool["function"]["name"] in names)
    ]
    jobs = [
        (tool, prompt, any_whitespace)
        for _ in range(options.repeats)
        for tool in tools
        for prompt in PROMPTS
        for any_whitespace in (True, False)
    ]
    with ThreadPoolExecutor(options.at_once) as pool:
        return list(pool.map(lambda job: decode(client, job[0], job[1], job[2], options), jobs))


def table(regions: list[Region]) -> str:
    """Tokens, cut regions and white space of each tool, for both kinds."""
    lines = [
        "| tool | regions | tokens, any / compact (mean) | of whole regions (median) "
        "| cut, any / compact | blanks, any / compact (mean) |",
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
            " / ".join(f"{statistics.mean(r.blanks for r in kind):.1f}" for kind in kinds),
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
    parser.add_argument("--out", type=Path, help="where all regions are written, as JSON")
    given = parser.parse_args()
    headers = {"Authorization": f"Bearer {given.api_key}"} if given.api_key else {}
    options = Options(given.max_tokens, given.temperature, given.repeats, given.at_once)
    with httpx.Client(base_url=given.url, headers=headers, timeout=600, trust_env=False) as client:
        regions = measure(client, given.tools, options)
    if given.out is not None:
        content = {"options": options, "regions": regions}
        given.out.write_text(json.dumps(msgspec.to_builtins(content), indent=1, ensure_ascii=False))
    print(table(regions))


if __name__ == "__main__":
    main()
