"""One example of every message that may come on a socket, made from the messages' own types.

It also runs inside a sandbox: of ours it imports what a worker has.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec.inspect

#: What fields hold whose type does not say enough; `Values` of a place come first.
_BY_NAME: Mapping[str, object] = {
    "offset": 0,
    "number": 0,
    "pieces": 0,
    "wait": 0.0,
    "value": b"1",
    "type": "stop",
    "stop": [],
    "matched": None,
}


def examples(union: Any, values: Mapping[str, object]) -> dict[str, Any]:
    """A valid message of each type, by the name of the type.

    Args:
        union: the types, as `messages` has them for a direction.
        values: what fields of these names hold: the ids of calls, say.
    """
    types = msgspec.inspect.multi_type_info(union.__args__)
    return {t.cls.__name__: _struct(t, values) for t in types if isinstance(t, _Struct)}


_Struct = msgspec.inspect.StructType


def _struct(kind: msgspec.inspect.StructType, values: Mapping[str, object]) -> Any:
    known = {**_BY_NAME, **values}
    fields = {
        field.name: known[field.name] if field.name in known else _of(field.type, values)
        for field in kind.fields
    }
    return kind.cls(**fields)


def _of(kind: msgspec.inspect.Type, values: Mapping[str, object]) -> object:
    match kind:
        case msgspec.inspect.StructType():
            return _struct(kind, values)
        case msgspec.inspect.ListType():
            return [_of(kind.item_type, values)]
        case msgspec.inspect.UnionType():
            return _of(kind.types[0], values)
        case msgspec.inspect.StrType():
            return "text"
        case msgspec.inspect.BytesType():
            return b"bytes"
        case msgspec.inspect.BoolType():
            return False
        case msgspec.inspect.FloatType():
            return 1.0
        case msgspec.inspect.IntType():
            return 1
        case _:
            raise TypeError(f"no example is known of {kind}")
