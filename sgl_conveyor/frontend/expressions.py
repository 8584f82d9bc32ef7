"""The two expressions that a program appends: a tool region, and a tool's result."""

from __future__ import annotations

import json
from typing import Any

from sglang.lang.ir import SglExpr

from sgl_conveyor.literal import literal_grammar
from sgl_conveyor.specs import Grammar


class SglToolRegion(SglExpr):  # type: ignore[misc]
    """A stretch of generated text that is one call's input; see `tool_region`."""

    def __init__(
        self,
        name: str,
        tool: str,
        max_tokens: int,
        literal: bool,
        grammar: Grammar,
        temperature: float | None,
        partial: bool,
        any_whitespace: bool,
    ) -> None:
        super().__init__()
        self.name = name
        self.tool = tool
        self.max_tokens = max_tokens
        self.literal = literal
        self.grammar = grammar
        self.temperature = temperature
        self.partial = partial
        self.any_whitespace = any_whitespace

    def __repr__(self) -> str:
        return f"tool_region({self.name!r}, tool={self.tool!r})"


class SglToolResult(SglExpr):  # type: ignore[misc]
    """The text of a tool's result; see `tool_result`."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name

    def __repr__(self) -> str:
        return f"tool_result({self.name!r})"


def tool_region(
    name: str,
    *,
    tool: str,
    max_tokens: int = 256,
    literal: str | None = None,
    regex: str | None = None,
    ebnf: str | None = None,
    json_schema: str | dict[str, Any] | None = None,
    stop: str | list[str] | None = None,
    temperature: float | None = None,
    partial: bool = True,
    any_whitespace: bool = False,
) -> SglToolRegion:
    """Let the model write a tool's input here; the tool runs while it does.

    What is given here beats what the tool gives; with neither the text is free.

    Args:
        name: `s[name]` is the region's text, `s[name + ".result"]` its `ToolResult`.
        tool: the tool's name on the server.
        max_tokens: tokens at most; a region that is cut by it has no result.
        literal: the text to replay: a grammar that admits nothing else, at temperature 0.
        regex, ebnf, json_schema: the region's grammar; at most one of these and `literal`.
        stop: strings that end the region; they are no part of its text.
        temperature: by default that of the program, or 0 with `literal`.
        partial: False holds the text back until the region is complete (the baseline).
        any_whitespace: with a JSON schema, True lets the model write white space between the
            tokens of JSON as it likes; by default there is a blank after `,` and `:` only.

    Raises:
        ValueError: more than one grammar is given, a limit that admits no token, an empty stop
            or a literal that no model can write.
    """
    where = f"tool_region({name!r}, tool={tool!r})"
    grammars = {"literal": literal, "regex": regex, "ebnf": ebnf, "json_schema": json_schema}
    given = [key for key, value in grammars.items() if value is not None]
    if len(given) > 1:
        raise ValueError(f"{where} has {' and '.join(given)}: give one grammar")
    if max_tokens < 1:
        raise ValueError(f"{where} has max_tokens = {max_tokens}: give 1 or more")
    stops = [stop] if isinstance(stop, str) else stop
    if stops is not None and "" in stops:
        raise ValueError(f"{where} has an empty text in stop, which would end it at once: omit it")
    if literal is not None:
        try:
            ebnf = literal_grammar(literal)
        except ValueError as error:
            raise ValueError(f"{where}: {error}") from None
        temperature = 0.0 if temperature is None else temperature
    schema = json.dumps(json_schema) if isinstance(json_schema, dict) else json_schema
    grammar = Grammar(
        regex=regex,
        ebnf=ebnf,
        json_schema=schema,
        stop=stops,
    )
    return SglToolRegion(
        name,
        tool,
        max_tokens,
        literal is not None,
        grammar,
        temperature,
        partial,
        any_whitespace,
    )


def tool_result(name: str) -> SglToolResult:
    """The text of the result of the region `name`, appended when it is there."""
    return SglToolResult(name)


def region_parameters(
    region: SglToolRegion, offered: Grammar, template_stop: list[str]
) -> dict[str, Any]:
    """The sampling parameters by which SGLang decodes a region.

    Args:
        region: what the program says.
        offered: what the tool says, where the region does not.
        template_stop: strings by which the chat template ends a turn.
    """
    own = region.grammar
    has_grammar = any((own.regex, own.ebnf, own.json_schema))
    grammar = own if has_grammar else offered
    stop = own.stop if own.stop is not None else (offered.stop or [])
    if region.literal:
        stop = own.stop or []
    elif not any((grammar.regex, grammar.ebnf, grammar.json_schema)):
        stop = [*stop, *(s for s in template_stop if s not in stop)]
    parameters: dict[str, Any] = {"max_new_tokens": region.max_tokens, "stop": stop}
    for key in ("regex", "ebnf", "json_schema"):
        value = getattr(grammar, key)
        if value is not None:
            parameters[key] = value
    if region.temperature is not None:
        parameters["temperature"] = region.temperature
    return parameters
