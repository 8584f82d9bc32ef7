"""The validation tool: a call for local news, each argument checked as soon as it is complete."""

from __future__ import annotations

import datetime
import functools
import json
import re
from difflib import get_close_matches
from enum import StrEnum
from typing import Annotated, Any

import msgspec
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, SettingsConfigDict

from sgl_conveyor.errors import ConfigurationError, ToolAbort
from sgl_conveyor.tools import Tool
from tool_workers._validation_places import Place, gazetteer

_MAX_SHOWN_CHARS = 60


class Settings(BaseSettings):
    """What the news archive holds.

    Args:
        earliest: its first day.
        latest: its last day; by default today.
    """

    model_config = SettingsConfigDict(env_prefix="VALIDATION_")

    earliest: datetime.date = datetime.date(1990, 1, 1)
    latest: datetime.date | None = None


class Topic(StrEnum):
    """What news are about."""

    POLITICS = "politics"
    BUSINESS = "business"
    CRIME = "crime"
    CULTURE = "culture"
    EDUCATION = "education"
    ENVIRONMENT = "environment"
    HEALTH = "health"
    SPORT = "sport"
    TRAFFIC = "traffic"
    WEATHER = "weather"


#: pydantic by itself also takes a timestamp in a string, and its schema gives no grammar.
_Day = Annotated[
    str, Field(pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$"), AfterValidator(datetime.date.fromisoformat)
]


class Dates(msgspec.Struct, frozen=True):
    """Days in a row.

    Args:
        first, last: both included.
        days: how many they are.
    """

    first: datetime.date
    last: datetime.date
    days: int


class NewsCall(msgspec.Struct, frozen=True):
    """A good call, as the news service takes it."""

    place: Place
    radius_km: int
    dates: Dates
    topic: str
    keywords: list[str]
    language: str | None
    count: int
    question: str | None


class Validation(Tool):
    """Check a call for local news: place, dates, topic, and what else it asks for. The first bad
    argument ends the call, and says what would be right.
    """

    class Args(BaseModel):
        """A call for local news."""

        model_config = ConfigDict(strict=True, extra="forbid")

        place: str = Field(
            min_length=1, max_length=100, description="the town or city: Paris, São Paulo"
        )
        country: Annotated[str, Field(pattern="^[A-Z]{2}$")] | None = Field(
            None, description="its country's ISO 3166 code of two letters, where names are shared"
        )
        radius_km: int = Field(10, ge=1, le=200, description="kilometres around the place")
        date_from: _Day = Field(description="the first day, YYYY-MM-DD")
        date_to: _Day = Field(description="the last day, YYYY-MM-DD")
        topic: Topic = Field(description="what the news are about")
        keywords: list[Annotated[str, Field(min_length=1, max_length=40)]] = Field(
            [], max_length=8, description="words that an article holds"
        )
        language: Annotated[str, Field(pattern="^[a-z]{2}$")] | None = Field(
            None, description="ISO 639-1 code of two letters"
        )
        count: int = Field(10, ge=1, le=50, description="articles at most")
        question: str | None = Field(
            None, max_length=500, description="what the reader wants to know"
        )

    read_only = True

    def __init__(self) -> None:
        # The arguments that were good, by name.
        self._known: dict[str, Any] = {}

    def open(self) -> None:
        self._gazetteer = gazetteer()
        try:
            settings = Settings()
        except ValidationError as error:
            name = str(error.errors()[0]["loc"][0]).upper()
            raise ConfigurationError(f"VALIDATION_{name} is no date: YYYY-MM-DD") from None
        self._earliest = settings.earliest
        self._latest = settings.latest or datetime.date.today()

    def on_argument(self, path: str, value: Any) -> None:
        name = _top(path)
        adapter = _adapters().get(name)
        if adapter is None:
            names = ", ".join(_adapters())
            raise ToolAbort(f"{name[:_MAX_SHOWN_CHARS]}: there is no such argument, only {names}")
        if path != name:
            # A part of a list or an object, which comes as a whole too.
            return
        if name in self._known:
            raise ToolAbort(f"{name}: it is given twice")
        try:
            self._known[name] = adapter.validate_json(json.dumps(value), strict=True)
        except ValidationError as error:
            raise ToolAbort(f"{name}: {_problem(error, value)}{self._hint(name, value)}") from None
        self._check(name)

    def finish(self) -> NewsCall:
        # The text as a whole, as pydantic reads it, is what counts.
        self._known = {name: getattr(self.args, name) for name in _adapters()}
        for name in _adapters():
            self._check(name)
        args, first, last = self.args, self.args.date_from, self.args.date_to
        return NewsCall(
            place=self._places()[0],
            radius_km=args.radius_km,
            dates=Dates(first, last, (last - first).days + 1),
            topic=args.topic.value,
            keywords=args.keywords,
            language=args.language,
            count=args.count,
            question=args.question,
        )

    def _hint(self, name: str, value: Any) -> str:
        """What was probably meant by a value of the wrong form."""
        meant: str | None = None
        if name == "topic" and isinstance(value, str):
            meant = next(
                iter(get_close_matches(value[:_MAX_SHOWN_CHARS].lower(), list(Topic))), None
            )
        elif name == "country" and isinstance(value, str):
            code = value.upper()
            known = code in self._gazetteer.countries
            meant = code if known else self._gazetteer.country_code(value[:_MAX_SHOWN_CHARS])
        return f": did you mean '{meant}'?" if meant else ""

    def _check(self, name: str) -> None:
        """Check an argument against the data, and against the others that are known.

        Raises:
            ToolAbort: it is wrong; the reason names it.
        """
        if name in ("place", "country"):
            self._check_place(name)
        elif name in ("date_from", "date_to"):
            self._check_date(name)

    def _check_place(self, name: str) -> None:
        place, country = self._known.get("place"), self._known.get("country")
        if name == "country" and country is not None and country not in self._gazetteer.countries:
            raise ToolAbort(f"country: there is no country with the code {country!r}")
        if place is None or self._places():
            return
        found = self._gazetteer.find(place)
        if found:
            where = ", ".join(dict.fromkeys(place.country for place in found[:10]))
            raise ToolAbort(
                f"{name}: there is no place called {_shown(place)} in {country}, but in {where}"
            )
        like = self._gazetteer.like(place)
        hint = f": did you mean {like!r}?" if like else ""
        raise ToolAbort(f"place: there is no place called {_shown(place)}{hint}")

    def _places(self) -> list[Place]:
        """The places that are meant, the largest first."""
        country = self._known.get("country")
        found = self._gazetteer.find(self._known["place"])
        return [place for place in found if country in (None, place.country)]

    def _check_date(self, name: str) -> None:
        day = self._known[name]
        if not self._earliest <= day <= self._latest:
            raise ToolAbort(
                f"{name}: {day} is not between {self._earliest} and {self._latest}, "
                "the first and the last day that there are news of"
            )
        first, last = self._known.get("date_from"), self._known.get("date_to")
        if first is not None and last is not None and first > last:
            raise ToolAbort(f"{name}: date_from {first} is after date_to {last}")


@functools.cache
def _adapters() -> dict[str, TypeAdapter[Any]]:
    """What checks each argument by itself, its constraints included."""
    return {
        name: TypeAdapter[Any](_annotation(field))
        for name, field in Validation.Args.model_fields.items()
    }


def _annotation(field: FieldInfo) -> Any:
    return Annotated[field.annotation, field]


def _top(path: str) -> str:
    """The argument that a path leads into: `keywords` for `keywords[2]`."""
    name = re.match(r"[^.\[]+", path)
    return name.group() if name else path


def _problem(error: ValidationError, value: Any) -> str:
    """What is wrong with a value, and where in it."""
    first = error.errors(include_url=False, include_input=False, include_context=False)[0]
    for part in first["loc"]:
        if isinstance(part, int) and isinstance(value, list):
            value = value[part]
    message = first["msg"].removeprefix("Value error, ")
    return f"{message[0].lower()}{message[1:]}, but got {_shown(value)}"


def _shown(value: Any) -> str:
    text = repr(value) if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _MAX_SHOWN_CHARS else f"{text[:_MAX_SHOWN_CHARS]}…"
