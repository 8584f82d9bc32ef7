"""The validation tool: which calls are good, and how soon and with which words it ends others."""

from __future__ import annotations

import ast
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sgl_conveyor.testing import ToolRun, check_every_cut, cuts, run_tool
from tool_workers.validation import Validation

ROOT = Path(__file__).parents[2]
CALL = {
    "place": "Paris", "country": "FR", "radius_km": 20, "date_from": "2024-05-01",
    "date_to": "2024-05-31", "topic": "sport", "keywords": ["marathon"], "language": "fr",
    "count": 5, "question": "Who won?",
}  # fmt: skip


def run(text: str) -> ToolRun:
    """The call, character by character."""
    return run_tool(Validation, text, cuts=range(len(text)))


def written(**changed: Any) -> str:
    return json.dumps({**CALL, **changed}, ensure_ascii=False)


def without(*names: str) -> dict[str, Any]:
    return {name: value for name, value in CALL.items() if name not in names}


class TestGoodCalls:
    def test_the_call_is_normalised(self) -> None:
        value = check_every_cut(Validation, written(place="são  PAULO", country="BR")).result.value
        assert value["place"]["name"] == "São Paulo"
        assert value["place"]["country"] == "BR"
        assert value["place"]["timezone"] == "America/Sao_Paulo"
        assert value["place"]["population"] > 10_000_000
        assert -24 < value["place"]["latitude"] < -23
        assert value["dates"] == {"first": "2024-05-01", "last": "2024-05-31", "days": 31}
        assert value["topic"] == "sport"
        assert value["count"] == 5

    def test_what_is_optional_may_be_left_out(self) -> None:
        call = without("country", "radius_km", "keywords", "language", "count", "question")
        value = run(json.dumps(call)).result.value
        assert value["place"]["country"] == "FR"
        assert (value["count"], value["keywords"], value["language"]) == (10, [], None)
        assert run(written(country=None, language=None)).result.error is None

    @pytest.mark.parametrize(
        ("place", "country", "name"),
        [("Cologne", "DE", "Köln"), ("東京", None, "Tokyo"), ("Paris", "US", "Paris")],
    )
    def test_places_have_several_names_and_names_several_places(
        self, place: str, country: str | None, name: str
    ) -> None:
        value = run(written(place=place, country=country)).result.value
        assert value["place"]["name"] == name
        assert country in (None, value["place"]["country"])


class TestBadCalls:
    @pytest.mark.parametrize(
        ("changed", "reason"),
        [
            ({"place": "Parsi"}, "place: there is no place called 'Parsi': did you mean 'Paris'?"),
            ({"place": "Xqzzw"}, "place: there is no place called 'Xqzzw'"),
            ({"place": "!"}, "place: there is no place called '!'"),
            ({"place": 5}, "place: input should be a valid string, but got 5"),
            ({"place": {"name": "Paris"}}, "place: input should be a valid string, but got {"),
            ({"place": "S" * 101}, "place: string should have at most 100 characters, but got"),
            ({"country": "Germany"}, "country: string should match pattern '^[A-Z]{2}$', but got "
             "'Germany': did you mean 'DE'?"),
            ({"country": "XX"}, "country: there is no country with the code 'XX'"),
            ({"country": "DE"}, "country: there is no place called 'Paris' in DE, but in FR, US"),
            ({"radius_km": 0}, "radius_km: input should be greater than or equal to 1, but got 0"),
            ({"radius_km": True}, "radius_km: input should be a valid integer, but got true"),
            ({"date_from": "2024-02-30"}, "date_from: day is out of range for month, but got"),
            ({"date_from": "1714521600"}, "date_from: string should match pattern"),
            ({"date_from": "1815-06-18"}, "date_from: 1815-06-18 is not between 1990-01-01 and "),
            ({"date_to": "2999-01-01"}, "date_to: 2999-01-01 is not between 1990-01-01 and "),
            ({"date_to": "2024-04-30"}, "date_to: date_from 2024-05-01 is after date_to 2024-04"),
            ({"topic": "sports"}, "topic: input should be 'politics', 'business', 'crime', "
             "'culture', 'education', 'environment', 'health', 'sport', 'traffic' or 'weather', "
             "but got 'sports': did you mean 'sport'?"),
            ({"keywords": ["a", ""]}, "keywords: string should have at least 1 character, but"),
            ({"keywords": list("abcdefghi")}, "keywords: list should have at most 8 items"),
            ({"language": "French"}, "language: string should match pattern"),
            ({"count": 51}, "count: input should be less than or equal to 50, but got 51"),
            ({"count": "5"}, "count: input should be a valid integer, but got '5'"),
            ({"count": 10**30}, "count: input should be less than or equal to 50"),
            ({"count": None}, "count: input should be a valid integer, but got null"),
            ({"question": "x" * 501}, "question: string should have at most 500 characters"),
            ({"city": {"a": 1}}, "city: there is no such argument, only place, country, "),
            ({"a.b": 1}, '["a.b"]: there is no such argument'),
        ],
    )  # fmt: skip
    def test_a_bad_argument_ends_the_call_with_a_reason(
        self, changed: dict[str, Any], reason: str
    ) -> None:
        text = written(**changed)
        result = run(text).result
        assert result.aborted is not None
        assert result.aborted.startswith(reason)
        assert len(result.aborted) < 300
        assert str(result) == f"Aborted: {result.aborted}"
        assert run_tool(Validation, text, partial=False).result.aborted == result.aborted

    def test_decoding_ends_at_the_bad_argument(self) -> None:
        text = written(place="Parsi")
        assert run(text).text == '{"place": "Parsi"'
        assert run_tool(Validation, text, partial=False).text == text

    def test_the_reason_is_the_same_at_every_cut(self) -> None:
        check_every_cut(Validation, '{"country": "DE", "place": "Lyon", "count": 500}')

    def test_what_belongs_together_is_checked_in_either_order(self) -> None:
        early = run('{"country": "DE", "place": "Lyon"}')
        assert early.result.aborted == "place: there is no place called 'Lyon' in DE, but in FR"
        late = run('{"date_to": "2024-05-01", "date_from": "2024-05-02"}')
        assert str(late.result.aborted).startswith("date_from: date_from 2024-05-02 is after")

    def test_an_argument_given_twice_ends_the_call(self) -> None:
        text = '{"place": "Paris", "pl\\u0061ce": "Lyon"}'
        assert run(text).result.aborted == "place: it is given twice"

    def test_a_missing_argument_is_an_error(self) -> None:
        error = run(json.dumps(without("topic"))).result.error
        assert error is not None
        assert (error.type, error.message) == ("InvalidArguments", "topic: Field required")

    def test_the_archives_days_are_configured(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("VALIDATION_EARLIEST", "2024-05-02")
        monkeypatch.setenv("VALIDATION_LATEST", "2024-05-30")
        aborted = run(written()).result.aborted
        assert str(aborted).startswith(
            "date_from: 2024-05-01 is not between 2024-05-02 and 2024-05-30"
        )
        assert run(written(date_from="2024-05-02", date_to="2024-05-30")).result.error is None

    @pytest.mark.parametrize("text", ["", "[1]", '"x"', "{", '{"place": "Paris"}}', "null", "no"])
    def test_what_is_no_call_is_an_error_or_aborted(self, text: str) -> None:
        result = check_every_cut(Validation, text).result
        assert result.value is None
        assert result.error is not None or result.aborted is not None


class TestRecorded:
    def test_each_recorded_call_is_aborted_before_its_end(self) -> None:
        texts = json.loads((ROOT / "bench/recorded/validation.json").read_text("utf-8"))
        assert len(set(texts)) >= 20
        for text in texts:
            seen = run(text)
            assert seen.result.aborted is not None, text
            assert len(seen.text) < len(text), text

    def test_the_programs_call_is_good_and_bad_in_its_first_argument(self) -> None:
        # The program itself imports SGLang: too slow for here.
        tree = ast.parse((ROOT / "programs/validation.py").read_text("utf-8"))
        [good] = [
            ast.literal_eval(node.value)
            for node in tree.body
            if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "GOOD"
        ]
        assert run(good).result.error is None
        assert run(good).result.aborted is None
        assert run(good.replace("Paris", "Parsi")).text == '{"place": "Parsi"'


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)
NAMES = st.sampled_from(list(CALL)) | st.text(max_size=5)


@settings(max_examples=80, deadline=None)
@given(st.data())
def test_any_call_has_the_same_outcome_at_any_cuts(data: st.DataObject) -> None:
    call = {**CALL, **data.draw(st.dictionaries(NAMES, JSON_VALUES, max_size=2))}
    names = data.draw(st.permutations(list(call)))
    text = json.dumps({name: call[name] for name in names}, ensure_ascii=data.draw(st.booleans()))
    expected = run_tool(Validation, text, partial=False).result.outcome()
    got = run_tool(Validation, text, cuts=data.draw(cuts(text))).result.outcome()
    assert (got.value, got.error, got.aborted) == (
        expected.value, expected.error, expected.aborted,
    )  # fmt: skip
    if call == CALL:
        assert got.value["place"]["name"] == "Paris"
