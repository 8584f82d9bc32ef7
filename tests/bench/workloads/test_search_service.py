"""The local search service: what it answers, and what its network costs."""

from __future__ import annotations

import ssl
import stat
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from bench.workloads.search_service import Service, running_service

RTT_S = 0.05


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fresh one: the index and the certificates are made in it."""
    return tmp_path_factory.mktemp("search")


@pytest.fixture(scope="module")
def service(directory: Path) -> Iterator[Service]:
    with running_service(rtt_ms=RTT_S * 1e3, directory=directory) as running:
        yield running


def client(service: Service) -> httpx.Client:
    context = ssl.create_default_context(cafile=str(service.ca))
    return httpx.Client(base_url=service.url, verify=context, trust_env=False)


def found(http: httpx.Client, query: str, **parameters: str) -> list[dict[str, Any]]:
    asked = {"q": query, "format": "json", **parameters}
    results: list[dict[str, Any]] = (
        http.get("/search", params=asked).raise_for_status().json()["results"]
    )
    return results


def seconds(work: Callable[[], object]) -> float:
    started = time.monotonic()
    work()
    return time.monotonic() - started


class TestAnswers:
    def test_have_the_shape_of_searxngs(self, service: Service) -> None:
        with client(service) as http:
            results = found(http, "how to decode a JSON document")
        assert 5 <= len(results) <= 20
        assert all({"title", "url", "content", "engine", "score"} <= set(r) for r in results)
        assert any("json" in result["title"] for result in results[:5])
        assert len({result["url"] for result in results}) == len(results)

    def test_keep_to_a_site_and_its_subdomains(self, service: Service) -> None:
        with client(service) as http:
            for site, host in [
                ("python.org", "docs.python.org"), ("GitHub.com", "github.com"),
            ]:  # fmt: skip
                results = found(http, f"site:{site} read a file")
                assert {result["url"].split("/")[2] for result in results} == {host}
            assert found(http, "site:thon.org read a file") == []

    def test_are_empty_in_languages_that_no_page_has(self, service: Service) -> None:
        with client(service) as http:
            assert found(http, "file", language="en-GB")
            assert found(http, "file", language="de") == []

    @pytest.mark.parametrize("query", ['"', "AND OR NOT", "a* NEAR(b)", "site:", "🧦", "'; --"])
    def test_come_for_queries_that_are_no_words(self, service: Service, query: str) -> None:
        with client(service) as http:
            assert isinstance(found(http, query), list)

    def test_refuse_what_is_no_query(self, service: Service) -> None:
        with client(service) as http:
            assert http.get("/search", params={"q": "a"}).status_code == 400
            assert http.get("/search", params={"format": "json"}).status_code == 400

    def test_say_that_the_service_is_well(self, service: Service) -> None:
        with client(service) as http:
            assert http.get("/healthz").text == "OK"
            assert http.head("/").status_code == 404
            assert http.head("/healthz").status_code == 200


class TestNetwork:
    def test_a_connection_costs_round_trips_and_a_kept_one_does_not(self, service: Service) -> None:
        def connect() -> None:
            with client(service) as http:
                http.get("/healthz")

        with client(service) as http:
            http.get("/healthz")
            kept = min(seconds(lambda: http.get("/healthz")) for _ in range(5))
        # TCP's handshake, TLS's, the request.
        cold = min(seconds(connect) for _ in range(3))
        assert cold >= 3 * RTT_S
        assert kept >= RTT_S
        assert kept < cold

    def test_work_is_added_to_each_query(self, directory: Path) -> None:
        with running_service(rtt_ms=0, work_ms=150, directory=directory) as slow:
            with client(slow) as http:
                http.get("/healthz")
                assert seconds(lambda: found(http, "file")) >= 0.15


class TestProcess:
    def test_it_ends_with_its_block_though_clients_are_connected(self, directory: Path) -> None:
        before = set(psutil.Process().children())
        with running_service(rtt_ms=0, directory=directory) as running:
            http = client(running)
            http.get("/healthz")
            assert set(psutil.Process().children()) - before
        assert not set(psutil.Process().children()) - before
        with pytest.raises(httpx.TransportError):
            http.get("/healthz")
        http.close()

    def test_it_ends_when_its_block_raises(self, directory: Path) -> None:
        before = set(psutil.Process().children())
        with pytest.raises(KeyError):
            with running_service(rtt_ms=0, directory=directory):
                raise KeyError
        assert not set(psutil.Process().children()) - before

    def test_the_next_one_has_the_same_certificate(self, service: Service, directory: Path) -> None:
        before = service.ca.read_bytes()
        with running_service(rtt_ms=0, directory=directory) as running:
            assert running.ca.read_bytes() == before
            with client(service) as first, client(running) as second:
                assert first.get("/healthz").text == second.get("/healthz").text

    def test_its_key_is_for_its_user_alone(self, service: Service, directory: Path) -> None:
        assert stat.S_IMODE((directory / "server.pem").stat().st_mode) == 0o600

    def test_one_that_cannot_start_says_so(self, tmp_path: Path) -> None:
        (tmp_path / "file").touch()
        with pytest.raises(RuntimeError, match="did not start"):
            with running_service(directory=tmp_path / "file"):
                pass
