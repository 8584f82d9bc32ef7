"""Validation: a bad call is refused while it is written, and the model repairs it.

The recorded call misspells its first argument: partial execution ends its decoding there, while
the sequential baseline decodes it to its end before anybody looks.

python -m programs.validation [--url http://127.0.0.1:30000] [--free]
"""

from __future__ import annotations

from typing import Any

import sglang as sgl

from programs.compare import main
from sgl_conveyor import tool_region, tool_result

QUESTION = "What was in the news about cycling in Paris in June 2024? Call the news service."

GOOD = (
    '{"place": "Paris", "country": "FR", "radius_km": 20, "date_from": "2024-06-01", '
    '"date_to": "2024-06-30", "topic": "sport", "keywords": ["cycling", "bicycle", "race"], '
    '"language": "fr", "count": 20, "question": "Which races took place, and who won them?"}'
)
BAD = GOOD.replace("Paris", "Parsi")


@sgl.function  # type: ignore[untyped-decorator]
def validation(
    s: Any,
    question: str,
    first: str | None = BAD,
    repaired: str | None = GOOD,
    partial: bool = True,
) -> None:
    """Have the model call the news service, and repair its call; both may be recorded ones."""
    s += sgl.user(question)
    s += sgl.assistant(
        tool_region("first", tool="validation", max_tokens=300, literal=first, partial=partial)
    )
    s += sgl.user("The service says: " + tool_result("first") + "\nWrite the call as it should be.")
    s += sgl.assistant(
        tool_region(
            "repaired", tool="validation", max_tokens=300, literal=repaired, partial=partial
        )
    )
    s += sgl.user("The service takes: " + tool_result("repaired"))


if __name__ == "__main__":
    main(
        "Validation: a bad call is refused while it is written, and repaired.",
        ["first", "repaired"],
        lambda partial, free: validation.run(
            question=QUESTION,
            first=None if free else BAD,
            repaired=None if free else GOOD,
            partial=partial,
        ),
    )
