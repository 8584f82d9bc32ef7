"""The sample database: a shop's customers, products and orders, the same wherever it is made."""

from __future__ import annotations

import datetime
import os
import random
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

from sgl_conveyor.embedded_model import cache_directory

#: Raised with every change of the data, so that an older file is not taken for it.
_VERSION = 1
_SEED = 20240
_CUSTOMERS, _PRODUCTS, _ORDERS = 4_000, 400, 60_000
_FIRST_DAY = datetime.date(2022, 1, 1)
_DAYS = 3 * 365

_SCHEMA = """
CREATE TABLE customers (
    id INTEGER PRIMARY KEY, name TEXT NOT NULL, email TEXT NOT NULL, country TEXT NOT NULL,
    city TEXT NOT NULL, segment TEXT NOT NULL, joined_on TEXT NOT NULL);
CREATE TABLE products (
    id INTEGER PRIMARY KEY, name TEXT NOT NULL, category TEXT NOT NULL, price REAL NOT NULL,
    cost REAL NOT NULL, stock INTEGER NOT NULL);
CREATE TABLE orders (
    id INTEGER PRIMARY KEY, customer_id INTEGER NOT NULL REFERENCES customers (id),
    ordered_on TEXT NOT NULL, status TEXT NOT NULL, channel TEXT NOT NULL);
CREATE TABLE order_items (
    order_id INTEGER NOT NULL REFERENCES orders (id),
    product_id INTEGER NOT NULL REFERENCES products (id),
    quantity INTEGER NOT NULL, unit_price REAL NOT NULL, discount REAL NOT NULL);
"""
_INDEXES = """
CREATE INDEX orders_customer ON orders (customer_id);
CREATE INDEX order_items_order ON order_items (order_id);
CREATE INDEX order_items_product ON order_items (product_id);
"""
_PLACES = {
    "Germany": ("Berlin", "Hamburg", "Munich"),
    "France": ("Paris", "Lyon", "Nantes"),
    "Spain": ("Madrid", "Valencia", "Bilbao"),
    "Poland": ("Warsaw", "Gdansk", "Krakow"),
    "Japan": ("Tokyo", "Osaka", "Sapporo"),
    "Brazil": ("São Paulo", "Recife", "Curitiba"),
    "Canada": ("Toronto", "Montréal", "Calgary"),
    "Kenya": ("Nairobi", "Mombasa", "Kisumu"),
}
_FIRST_NAMES = (
    "Ada", "Ben", "Carla", "David", "Elif", "Femi", "Greta", "Hiro", "Ines", "Jonas", "Kira",
    "Luca", "Mara", "Noor", "Otto",
)  # fmt: skip
_LAST_NAMES = (
    "Adler", "Brandt", "Costa", "Diaz", "Endo", "Fischer", "Garcia", "Haas", "Ito", "Jansen",
    "Keller", "Lopez",
)  # fmt: skip
_SEGMENTS = {"consumer": 60, "business": 30, "public": 10}
_CATEGORIES = {
    "books": ("Atlas", "Novel", "Cookbook", "Dictionary"),
    "garden": ("Spade", "Hose", "Planter", "Rake"),
    "kitchen": ("Kettle", "Pan", "Grinder", "Scale"),
    "office": ("Lamp", "Chair", "Stapler", "Shelf"),
    "sports": ("Racket", "Mat", "Helmet", "Rope"),
    "toys": ("Puzzle", "Kite", "Robot", "Train"),
}
_STYLES = (
    "Basic", "Classic", "Compact", "Eco", "Light", "Nordic", "Prime", "Solid", "Travel", "Ultra",
)  # fmt: skip
_STATUSES = {"delivered": 80, "shipped": 8, "cancelled": 7, "returned": 5}
_CHANNELS = {"web": 60, "app": 30, "store": 10}


def sample_database(path: Path | None = None) -> Path:
    """Make the sample database where it is missing, in a few seconds, and return its file.

    It appears complete or not at all, whoever else makes it at the same time.

    Args:
        path: the file; by default one below the user's cache directory.

    Raises:
        OSError: the file cannot be written.
    """
    if path is None:
        path = cache_directory() / f"sample-{_VERSION}.sqlite"
    if path.exists():
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".sample-", dir=path.parent) as directory:
        made = Path(directory) / path.name
        _fill(made)
        # Unlike a rename, a link never replaces a file that another process uses already.
        with suppress(FileExistsError):
            os.link(made, path)
    return path


def _fill(path: Path) -> None:
    chance = random.Random(_SEED)
    products = list(_products(chance))
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript("PRAGMA synchronous = OFF;" + _SCHEMA)
        connection.executemany(
            "INSERT INTO customers VALUES (?, ?, ?, ?, ?, ?, ?)", _customers(chance)
        )
        connection.executemany("INSERT INTO products VALUES (?, ?, ?, ?, ?, ?)", products)
        connection.executemany("INSERT INTO orders VALUES (?, ?, ?, ?, ?)", _orders(chance))
        connection.executemany(
            "INSERT INTO order_items VALUES (?, ?, ?, ?, ?)", _items(chance, products)
        )
        connection.commit()
        connection.executescript(_INDEXES + "ANALYZE;")


def _customers(chance: random.Random) -> Iterator[tuple[object, ...]]:
    countries = list(_PLACES)
    for number in range(1, _CUSTOMERS + 1):
        first, last = chance.choice(_FIRST_NAMES), chance.choice(_LAST_NAMES)
        country = countries[int(len(countries) * chance.random() ** 1.5)]
        yield (
            number,
            f"{first} {last}",
            f"{first}.{last}.{number}@example.com".lower(),
            country,
            chance.choice(_PLACES[country]),
            _weighted(chance, _SEGMENTS),
            _day(chance.randrange(_DAYS)),
        )


def _products(chance: random.Random) -> Iterator[tuple[int, str, str, float, float, int]]:
    categories = list(_CATEGORIES)
    for number in range(1, _PRODUCTS + 1):
        category = chance.choice(categories)
        name = f"{chance.choice(_STYLES)} {chance.choice(_CATEGORIES[category])} {number}"
        price = round(chance.lognormvariate(3.2, 0.8), 2)
        yield number, name, category, price, round(price * 0.6, 2), chance.randrange(500)


def _orders(chance: random.Random) -> Iterator[tuple[object, ...]]:
    for number in range(1, _ORDERS + 1):
        # A few customers order much, and orders grow over the years.
        customer = 1 + int(_CUSTOMERS * chance.random() ** 2)
        day = int(_DAYS * chance.random() ** 0.7)
        yield (
            number,
            customer,
            _day(day),
            _weighted(chance, _STATUSES),
            _weighted(chance, _CHANNELS),
        )


def _items(
    chance: random.Random, products: list[tuple[int, str, str, float, float, int]]
) -> Iterator[tuple[object, ...]]:
    for order in range(1, _ORDERS + 1):
        for _ in range(chance.randint(1, 5)):
            product = products[int(len(products) * chance.random() ** 1.4)]
            discount = chance.choice((0.0, 0.0, 0.0, 0.05, 0.1))
            yield order, product[0], chance.randint(1, 4), product[3], discount


def _weighted(chance: random.Random, weights: dict[str, int]) -> str:
    return chance.choices(list(weights), list(weights.values()))[0]


def _day(number: int) -> str:
    return (_FIRST_DAY + datetime.timedelta(days=number)).isoformat()
