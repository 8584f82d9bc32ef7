"""Regions with a JSON schema: white space only as `, ` and `: `, unless the program asks.

SGLang's switch for this is the whole server's. So the HTTP process marks the schema of a region,
and a hook in the scheduler compiles a marked schema as that switch would have it. The mark is white
space behind the schema: it changes nothing that the schema says, and SGLang's cache keeps both
grammars of one schema apart. (The EBNF of a schema would need no hook, but xgrammar 0.2.7 reads its
own EBNF back wrongly: in `décor` it takes the `c` for a digit of the escape that it wrote for `é`.)
"""

from __future__ import annotations

import copy
import pkgutil
from collections.abc import Callable
from typing import Any

DISPATCH_JSON = "sglang.srt.constrained.xgrammar_backend.XGrammarGrammarBackend.dispatch_json"
_MARK = "\n\t \t\n\t \t\n"
#: SGLang's name for a grammar that admits any JSON; it is no schema.
_ANY_JSON = "$$ANY$$"


def refusal_of_schema(params: dict[str, Any]) -> str | None:
    """Why a region's schema cannot be used, in one sentence; None if it can.

    Args:
        params: the request's sampling parameters.
    """
    if not isinstance(params.get("json_schema"), (str, type(None))):
        return "json_schema must be a text that holds the schema as JSON"
    if not isinstance(_any_whitespace(params), bool):
        return "custom_params.conveyor.any_whitespace must be true or false"
    return None


def ask_for_compact_json(params: dict[str, Any]) -> None:
    """Mark the schema of a region, if it has one and its program does not ask otherwise.

    Args:
        params: the request's sampling parameters.
    """
    schema = params.get("json_schema")
    if schema and schema != _ANY_JSON and not _any_whitespace(params):
        params["json_schema"] = schema + _MARK


def _any_whitespace(params: dict[str, Any]) -> Any:
    ours = (params.get("custom_params") or {}).get("conveyor", {})
    return ours.get("any_whitespace", False)


def register_compact_json() -> None:
    """Register the hook by which the scheduler compiles marked schemas."""
    from sglang.srt.plugins.hook_registry import HookRegistry, HookType

    HookRegistry.register(DISPATCH_JSON, _dispatch_json, HookType.AROUND)


def missing_hook() -> str | None:
    """The hook, if it is not in place; SGLang only logs it when it could not apply one."""
    applied = hasattr(pkgutil.resolve_name(DISPATCH_JSON), "__wrapped__")
    return None if applied else DISPATCH_JSON


def _dispatch_json(original: Callable[[Any, str], Any], backend: Any, key_string: str) -> Any:
    if key_string.endswith(_MARK):
        backend = copy.copy(backend)
        backend.any_whitespace = False
    return original(backend, key_string)
