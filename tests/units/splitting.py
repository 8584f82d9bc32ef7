"""What splitters of arguments hand over, and how a path is written."""

import json

from sgl_conveyor.units.arguments import ArgumentSplitter


def parts(splitter, texts):
    """What a splitter hands over, and the error that ends it, if one does."""
    found = []
    try:
        for text in texts:
            found += splitter.feed(text)
        found += splitter.close()
    except ValueError as error:
        return [tuple(argument) for argument in found], str(error)
    return [tuple(argument) for argument in found], None


def arguments_of(texts):
    return parts(ArgumentSplitter(), texts)


def inside(path, key):
    if not key.isidentifier():
        return f"{path}[{json.dumps(key, ensure_ascii=False)}]"
    return f"{path}.{key}" if path else key
