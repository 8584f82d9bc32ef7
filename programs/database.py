"""Database: the model writes SQL statements, each of which runs while the next one is written.

python -m programs.database [--url http://127.0.0.1:30000] [--free] [--repeat N]
    [--statement SQL …]

The database is the server's: SQLite, or what its DATABASE_TOOL_URL names.
"""

from __future__ import annotations

import argparse
import json
from typing import Any

import sglang as sgl

from programs.compare import main
from sgl_conveyor import tool_region, tool_result

QUESTION = (
    "The shop's tables: customers (id, name, email, country, city, segment, joined_on), products "
    "(id, name, category, price, cost, stock), orders (id, customer_id, ordered_on, status, "
    "channel), order_items (order_id, product_id, quantity, unit_price, discount). "
    "Where does the revenue come from? Answer with SQL statements."
)

#: Three aggregates over the sample's orders: joins that take a tenth of a second to half of one.
RECORDED = json.dumps(
    {
        "statements": [
            "SELECT country, SUM(quantity * unit_price) AS revenue FROM order_items "
            "JOIN orders o ON o.id = order_id JOIN customers c ON c.id = customer_id "
            "GROUP BY country ORDER BY revenue DESC",
            "SELECT a.product_id, b.product_id, COUNT(*) AS n FROM order_items a "
            "JOIN order_items b USING (order_id) WHERE a.product_id < b.product_id "
            "GROUP BY 1, 2 ORDER BY n DESC LIMIT 3",
            "SELECT status, COUNT(*) FROM orders GROUP BY status",
        ]
    }
)


@sgl.function  # type: ignore[untyped-decorator]
def database(s: Any, question: str, literal: str | None = RECORDED, partial: bool = True) -> None:
    """Answer a question with SQL statements; `literal` replays recorded ones."""
    s += sgl.user(question)
    region = tool_region(
        "queries", tool="database", max_tokens=400, literal=literal, partial=partial
    )
    s += sgl.assistant(region)
    s += sgl.user("Result:\n" + tool_result("queries"))


if __name__ == "__main__":
    options = argparse.ArgumentParser(add_help=False)
    options.add_argument(
        "--statement", action="append", metavar="SQL", help="replay this one, and others like it"
    )
    given = options.parse_known_args()[0].statement
    recorded = RECORDED if given is None else json.dumps({"statements": given})
    main(
        "Database: SQL statements that run while the next ones are written.",
        ["queries"],
        lambda partial, free: database.run(
            question=QUESTION, literal=None if free else recorded, partial=partial
        ),
        [options],
    )
