"""A server's own numbers: what it answered, how long that took and how many bytes went through."""

from __future__ import annotations

from tests.api.prometheus import read, values
from tests.server.pushing import content, push_blob
from tests.server.running import Server


def scraped(server: Server, name: str, *labels: str) -> dict[tuple[str, ...], float]:
    answer = server.ask("GET", "/metrics?comp=core")
    assert answer.status == 200
    return dict(values(answer.body, name, *labels))


def test_each_request_counts_once_under_its_operation(server: Server) -> None:
    asked = {
        ("GET", "200", "v2"): ("/v2/", 3),
        ("GET", "404", "v2_manifest"): ("/v2/library/none/manifests/v1", 2),
        ("GET", "200", "/projects"): ("/api/v2.0/projects", 2),
        ("GET", "404", "others"): ("/nowhere", 1),
    }
    labels = ("method", "code", "operation")
    server.ask("GET", "/v2/")
    before = scraped(server, "harbor_core_http_request_total", *labels)

    for path, times in asked.values():
        for _ in range(times):
            server.ask("GET", path)

    after = scraped(server, "harbor_core_http_request_total", *labels)
    grown = {key: number - before.get(key, 0) for key, number in after.items()}
    assert {key: grown[key] for key in asked} == {key: times for key, (_, times) in asked.items()}
    assert grown["GET", "200", "/metrics"] == 1


def test_the_scrape_is_the_one_request_under_way(server: Server) -> None:
    assert scraped(server, "harbor_core_http_inflight_requests") == {(): 1}


def test_bytes_of_bodies_are_counted(server: Server) -> None:
    def received() -> float:
        body = server.ask("GET", "/metrics?comp=registry").body
        told = values(body, "roadstead_received_bytes_total", "method", "operation")
        return told.get(("PUT", "v2_blob_upload"), 0)

    server.ask("GET", "/v2/")
    before = received()
    push_blob(server, "library/counted", content("counted", 5000))

    assert received() == before + 5000


def test_whole_scrape_is_what_prometheus_reads(server: Server) -> None:
    answer = server.ask("GET", "/metrics")

    assert {"harbor_up", "harbor_project_total", "harbor_core_http_request_total"} <= set(read(answer.body))


def test_strangers_read_nothing(server: Server) -> None:
    assert server.ask("GET", "/metrics", {}).status == 401
