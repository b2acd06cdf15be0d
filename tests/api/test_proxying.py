"""Projects that are caches of other registries, as clients meet them."""

import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, cast

import orjson
import pytest

from chalicelib.changes import caching
from chalicelib.oci.digests import Digest
from chalicelib.oci.errors import ErrorCode, RegistryError
from chalicelib.oci.manifests import OCI_MANIFEST
from chalicelib.store.directory import configuration, projects
from chalicelib.store.sources import Wish
from tests.api.asking import Client, basic
from tests.api.hub import CONFIG, LAYER, NAME, REPOSITORY, Hub, hub
from tests.memory import services_over
from tests.store.remote.fake import ACCESS_SECRET, Handler, answer, digest_of

if TYPE_CHECKING:
    from chalicelib.store.regions import Region
    from chalicelib.store.table import Table

ROOT = Path(__file__).parents[2]


@pytest.fixture
def cache() -> Iterator[Hub]:
    with hub() as made:
        yield made


@pytest.mark.parametrize(
    ("method", "target"),
    [("POST", "/v2/hub/library/alpine/blobs/uploads/"), ("PUT", "/v2/hub/library/alpine/manifests/latest")],
)
def test_nothing_is_pushed_to_a_cache(cache: Hub, method: str, target: str) -> None:
    cache.client.headers = basic()

    refused = cache.client.ask(method, target, b"{}")

    assert refused.status == 403
    assert b"DENIED" in refused.body
    assert b"can not push artifact to a proxy project" in refused.body


def test_a_pull_of_any_other_project_imports_nothing_of_caches() -> None:
    script = (
        "import sys\nfrom tests.api.asking import Client\nclient = Client()\n"
        "for what in ('manifests/v1', 'blobs/sha256:' + 'a' * 64):\n"
        "    assert client.ask('GET', f'/v2/library/app/{what}').status == 404\n"
        "print(*sys.modules)"
    )

    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=ROOT)

    caches = {"chalicelib.api.proxying", "chalicelib.changes.caching", "chalicelib.store.fetching"}
    assert not {*caches, "chalicelib.store.remote.wire"} & set(ran.stdout.split())


def test_a_registry_is_in_use_while_a_project_is_its_cache(cache: Hub) -> None:
    assert projects.uses_registry(cache.client.services.directory, cache.registry)
    assert not projects.uses_registry(cache.client.services.directory, cache.registry + 1)


def test_a_cold_image_is_pulled_at_once_and_becomes_an_artifact(cache: Hub) -> None:
    digest = cache.image()

    pulled = cache.pull()
    cache.settle()

    assert pulled == {digest_of(CONFIG): CONFIG, digest_of(LAYER): LAYER}
    listed = cache.client.ask("GET", "/v2/hub/library/alpine/tags/list")
    assert orjson.loads(listed.body)["tags"] == ["latest"]
    assert not cache.client.objects.keys("repositories/hub/library/alpine/_cached")
    assert not cache.client.objects.keys("repositories/hub/library/alpine/_noted")
    assert cache.manifest(digest).status == 200


def test_a_tag_that_was_asked_for_by_head_names_what_was_pulled_by_its_digest(cache: Hub) -> None:
    digest = cache.image()

    assert cache.manifest("latest", "HEAD").headers["Docker-Content-Digest"] == digest
    cache.pull(digest)
    cache.settle()

    listed = cache.client.ask("GET", "/v2/hub/library/alpine/tags/list")
    assert orjson.loads(listed.body)["tags"] == ["latest"]


def test_two_processes_fetch_one_blob_once(cache: Hub) -> None:
    cache.image()
    cache.know(proxy_speed_kb="400")
    one, two = cache.client, Client.beside(cache.client)
    own = services_over(cache.client.objects.beside(), cache.client.clock, settings=one.services.settings)
    two.services, two.headers = own, {}
    path = f"/v2/hub/library/alpine/blobs/{digest_of(LAYER)}"

    first = one.ask("GET", path)
    with ThreadPoolExecutor(1) as threads:
        other = threads.submit(two.ask, "GET", path)
        assert cache.bytes_of(first) == LAYER

        assert other.result().status == 307
    assert cache.asked("GET", f"/blobs/{digest_of(LAYER)}") == 1


def test_what_is_here_is_pulled_with_one_question_and_no_byte_of_the_other_registry(cache: Hub) -> None:
    cache.image()
    cache.pull()
    cache.settle()
    cache.there.asked.clear()

    pulled = cache.pull()

    assert pulled[digest_of(LAYER)] == LAYER
    assert [each.method for each in cache.there.asked] == ["HEAD"]


def test_what_a_client_has_already_is_fetched_too(cache: Hub) -> None:
    digest = cache.image()

    cache.manifest("latest")
    cache.settle()

    assert cache.holds(digest_of(LAYER))
    cache.there.instead("GET", "/v2/", answer(500))
    cache.there.instead("HEAD", "/v2/", answer(500))
    assert cache.pull(digest)[digest_of(LAYER)] == LAYER


def test_many_who_want_one_tag_ask_once(cache: Hub) -> None:
    cache.image()

    with ThreadPoolExecutor(16) as threads:
        answers = list(threads.map(lambda _: cache.manifest("latest").status, range(16)))

    assert answers == [200] * 16
    assert cache.asked("HEAD", "/manifests/latest") == 1
    assert cache.asked("GET", "/manifests/") == 1


def test_many_who_want_one_cold_blob_get_it_of_one_fetch(cache: Hub) -> None:
    cache.image()

    with ThreadPoolExecutor(16) as threads:
        got = list(threads.map(lambda _: cache.bytes_of(cache.blob(digest_of(LAYER))), range(16)))

    assert got == [LAYER] * 16
    assert cache.asked("GET", f"/blobs/{digest_of(LAYER)}") == 1


def test_a_tag_that_moved_is_followed(cache: Hub) -> None:
    cache.image()
    cache.pull()
    cache.settle()
    moved = cache.image(layers=(b"another",))
    cache.client.clock.advance(timedelta(seconds=4))

    pulled = cache.pull()
    cache.settle()

    assert pulled[digest_of(b"another")] == b"another"
    head = cache.manifest("latest", "HEAD")
    assert head.headers["Docker-Content-Digest"] == moved


def test_a_tag_that_moves_back_to_what_is_here_names_it_again(cache: Hub) -> None:
    first = cache.image()
    cache.pull()
    cache.settle()
    cache.image(layers=(b"another",))
    cache.client.clock.advance(timedelta(seconds=4))
    cache.pull()
    cache.settle()
    cache.there.tags[NAME, "latest"] = first
    cache.client.clock.advance(timedelta(seconds=4))

    cache.pull()
    cache.settle()
    cache.there.instead("HEAD", "/v2/", answer(503))
    cache.client.clock.advance(timedelta(seconds=11))

    assert cache.manifest("latest").headers["Docker-Content-Digest"] == first


@pytest.mark.parametrize("status", [401, 403, 429, 500, 502, 503])
def test_the_last_that_is_known_is_served_with_a_warning(cache: Hub, status: int) -> None:
    digest = cache.image()
    cache.pull()
    cache.settle()
    cache.there.instead("HEAD", "/v2/", answer(status))
    cache.client.clock.advance(timedelta(seconds=11))

    got = cache.manifest("latest")

    assert got.status == 200
    assert got.headers["Docker-Content-Digest"] == digest
    assert got.headers["Warning"].startswith("110 ")


@pytest.mark.parametrize("status", [403, 404, 429, 500, 503])
def test_a_tag_that_moved_to_what_is_not_given_is_the_last_that_is_known(cache: Hub, status: int) -> None:
    digest = cache.image()
    cache.pull()
    cache.settle()
    cache.image(layers=(b"another",))
    cache.there.instead("GET", "/v2/", answer(status))
    cache.client.clock.advance(timedelta(seconds=11))

    got = cache.manifest("latest")

    assert got.headers["Docker-Content-Digest"] == digest
    assert got.headers["Warning"].startswith("110 ")


def test_a_registry_that_does_not_answer_is_not_asked_for_other_tags_meanwhile(cache: Hub) -> None:
    for tag in ("one", "two"):
        cache.image(tag)
        cache.manifest(tag)
    cache.settle()
    cache.there.asked.clear()

    def reset(handler: Handler) -> None:
        handler.close_connection = True

    cache.there.instead("HEAD", "/v2/", reset)
    cache.client.clock.advance(timedelta(seconds=11))

    assert ["Warning" in cache.manifest(tag).headers for tag in ("one", "two")] == [True, True]
    assert {each.target.rpartition("/")[2] for each in cache.there.asked} == {"one"}
    cache.there.replaced.clear()
    cache.client.clock.advance(timedelta(seconds=61))
    assert "Warning" not in cache.manifest("two").headers


def test_a_credential_that_is_refused_is_tried_once_a_minute_until_it_is_changed(cache: Hub) -> None:
    digest = cache.image()
    cache.there.auth = "bearer"
    cache.log_in("wrong")

    def tried() -> int:
        return sum(each.path == "/token" for each in cache.there.asked)

    refused = [cache.manifest(each).status for each in ("one", "two", digest)]
    refused.append(cache.blob(digest_of(LAYER)).status)
    assert (refused, tried()) == ([403] * 4, 1)
    cache.client.clock.advance(timedelta(seconds=61))
    assert (cache.manifest("three").status, tried()) == (403, 2)
    cache.log_in(ACCESS_SECRET)
    assert cache.manifest("latest").status == 200


def test_what_is_not_whole_yet_is_the_last_that_is_known_too(cache: Hub) -> None:
    digest = cache.image()
    cache.manifest("latest")
    cache.there.instead("HEAD", "/v2/", answer(503))
    cache.client.clock.advance(timedelta(seconds=11))

    assert cache.manifest("latest").headers["Docker-Content-Digest"] == digest


@pytest.mark.parametrize(
    ("status", "told", "code"), [(429, 429, b"TOOMANYREQUESTS"), (503, 503, b"UNAVAILABLE"), (403, 403, b"DENIED")]
)
def test_where_nothing_is_kept_the_client_hears_why(cache: Hub, status: int, told: int, code: bytes) -> None:
    cache.there.instead("HEAD", "/v2/", answer(status))

    refused = cache.manifest("latest")

    assert refused.status == told
    assert code in refused.body


def test_what_is_gone_there_is_gone_here_unless_the_project_wants_it(cache: Hub) -> None:
    cache.image()
    cache.pull()
    cache.settle()
    del cache.there.tags[NAME, "latest"]
    cache.client.clock.advance(timedelta(seconds=11))

    assert cache.manifest("latest").status == 404
    cache.know(proxy_cache_local_on_not_found="true")
    assert cache.manifest("latest").status == 200


def test_an_index_is_kept_with_the_children_that_are_pulled(cache: Hub) -> None:
    wanted, other = cache.image("", layers=(b"one",)), cache.image("", layers=(b"two",))
    index = cache.index(wanted, other)

    assert cache.manifest("multi").headers["Docker-Content-Digest"] == index
    cache.pull(wanted)
    cache.settle()

    cache.there.instead("HEAD", "/v2/", answer(503))
    cache.there.instead("GET", "/v2/", answer(503))
    cache.client.clock.advance(timedelta(seconds=11))
    assert cache.manifest("multi").headers["Docker-Content-Digest"] == index
    assert cache.pull(wanted)[digest_of(b"one")] == b"one"
    assert cache.manifest(other).status == 503


def test_a_range_of_a_cold_blob_is_given(cache: Hub) -> None:
    cache.image()

    part = cache.blob(digest_of(LAYER), part="bytes=7-11")

    assert part.status == 206
    assert part.headers["Content-Range"] == f"bytes 7-11/{len(LAYER)}"
    assert cache.bytes_of(part) == LAYER[7:12]


def test_a_head_tells_of_a_cold_blob_and_fetches_nothing(cache: Hub) -> None:
    cache.image()

    told = cache.blob(digest_of(LAYER), "HEAD")

    assert (told.status, told.headers["Content-Length"]) == (200, str(len(LAYER)))
    assert not cache.asked("GET", "/blobs/")


def test_a_blob_that_is_nowhere_is_unknown(cache: Hub) -> None:
    refused = cache.blob(digest_of(b"nowhere"))

    assert refused.status == 404
    assert b"BLOB_UNKNOWN" in refused.body


def test_bytes_that_are_others_are_given_to_nobody_whole_and_leave_nothing(cache: Hub) -> None:
    cache.image()
    cache.there.blobs[NAME, digest_of(LAYER)] = LAYER[:-1] + b"!"

    streamed = cache.blob(digest_of(LAYER))
    with pytest.raises(OSError, match="other bytes"):
        cache.bytes_of(streamed)

    assert not cache.holds(digest_of(LAYER))
    assert not cache.client.objects.keys("data/")


def test_docker_hubs_short_names_lead_to_the_long_ones_with_one_token() -> None:
    with hub("docker-hub") as cache:
        cache.image()
        cache.client.headers = basic()
        asked = "/service/token?scope=repository:hub/alpine:pull"
        token = orjson.loads(cache.client.ask("GET", asked).body)["token"]
        cache.client.headers = {"authorization": f"Bearer {token}"}

        moved = cache.client.ask("GET", "/v2/hub/alpine/manifests/latest")

        assert (moved.status, moved.headers["Location"]) == (301, "/v2/hub/library/alpine/manifests/latest")
        assert cache.client.ask("GET", moved.headers["Location"]).status == 200


def test_a_filter_leaves_repositories_out(cache: Hub) -> None:
    cache.image()
    cache.know(proxy_cache_filter_pattern="bitnami/**")

    refused = cache.manifest("latest")

    assert refused.status == 403
    assert b"is a cache of some repositories" in refused.body


def test_connections_to_the_other_registry_are_counted(cache: Hub) -> None:
    cache.image(layers=(LAYER, b"other" * 1000))
    cache.know(max_upstream_conn="1", proxy_speed_kb="500")

    first = cache.blob(digest_of(LAYER))
    refused = cache.blob(digest_of(b"other" * 1000))

    assert (first.status, refused.status) == (200, 429)
    assert cache.bytes_of(first) == LAYER


def test_nothing_that_does_not_fit_is_kept_and_all_of_it_is_given(cache: Hub) -> None:
    cache.client.headers = basic()
    cache.image()
    limited = cache.client.ask("GET", "/api/v2.0/quotas?reference=project&reference_id=" + str(cache.project.id))
    number = orjson.loads(limited.body)[0]["id"]
    cache.client.ask(
        "PUT", f"/api/v2.0/quotas/{number}", b'{"hard":{"storage":1000}}', content_type="application/json"
    )
    cache.know()

    assert cache.pull()[digest_of(LAYER)] == LAYER
    assert not cache.holds(digest_of(LAYER))


def test_a_registry_that_is_read_only_passes_on_and_keeps_nothing(cache: Hub) -> None:
    cache.image()
    configuration.change(cache.client.services.directory, {"read_only": True})

    assert cache.pull()[digest_of(LAYER)] == LAYER
    assert not cache.holds(digest_of(LAYER))


def test_a_project_that_is_deleted_meanwhile_gets_nothing_of_what_was_on_its_way(cache: Hub) -> None:
    cache.image()
    cache.manifest("latest")
    services = cache.client.services
    source = caching.upstream(services, REPOSITORY)
    assert source
    cache.client.headers = basic()
    assert cache.client.ask("DELETE", "/api/v2.0/projects/hub").status == 200

    fetch = caching.fetch_blob(services, source, Wish(REPOSITORY, Digest.parse(digest_of(LAYER))))
    with pytest.raises(RegistryError, match="was deleted meanwhile"):
        fetch.wait(20)

    fetch.leave()
    assert not cache.client.objects.keys("repositories/hub/")


TAGS = "/v2/hub/library/alpine/tags/list"


def listed(cache: Hub, target: str = TAGS) -> list[str]:
    found: list[str] = orjson.loads(cache.client.ask("GET", target).body)["tags"]
    return found


def test_tags_are_those_of_the_other_registry_and_those_that_are_here(cache: Hub) -> None:
    for tag in ("gone", "latest"):
        cache.image(tag)
        cache.pull(tag)
    cache.settle()
    del cache.there.tags[NAME, "gone"]
    for tag in ("3.20", "edge"):
        cache.image(tag)

    assert listed(cache) == ["3.20", "edge", "gone", "latest"]


def test_tags_of_what_nobody_pulled_yet_are_listed(cache: Hub) -> None:
    cache.image("3.20")

    assert listed(cache) == ["3.20"]


def test_pages_of_tags_are_of_both_registries_and_asked_for_once(cache: Hub) -> None:
    for tag in ("b", "d", "e"):
        cache.image(tag)
        cache.pull(tag)
    cache.settle()
    for tag in ("a", "c", "f"):
        cache.image(tag)
    cache.there.page = 2
    cache.there.asked.clear()

    found, target = list[str](), f"{TAGS}?n=2"
    while target:
        page = cache.client.ask("GET", target)
        found += orjson.loads(page.body)["tags"]
        target = page.headers.get("Link", "").partition("<")[2].partition(">")[0]

    assert found == ["a", "b", "c", "d", "e", "f"]
    assert cache.asked("GET", "/tags/list") == 3
    assert listed(cache, f"{TAGS}?n=0") == []


def test_many_tags_are_not_remembered(cache: Hub) -> None:
    tags = [digest_of(b"%d" % number)[7:] for number in range(4000)]
    cache.there.instead("GET", f"/v2/{NAME}/tags/", answer(200, orjson.dumps({"tags": tags})))

    assert listed(cache, f"{TAGS}?n=1") == [min(tags)]
    assert listed(cache, f"{TAGS}?n=1&last={min(tags)}") == [sorted(tags)[1]]
    assert cache.asked("GET", "/tags/list") == 2


@pytest.mark.parametrize(("status", "warned"), [(404, False), (403, True), (429, True), (503, True)])
def test_where_the_other_registry_lists_no_tags_those_here_are_listed(cache: Hub, status: int, warned: bool) -> None:
    cache.image()
    cache.pull()
    cache.settle()
    cache.there.instead("GET", f"/v2/{NAME}/tags/", answer(status))

    answered = cache.client.ask("GET", TAGS)

    assert orjson.loads(answered.body)["tags"] == ["latest"]
    assert ("Warning" in answered.headers) is warned


@pytest.mark.parametrize(
    ("status", "code"), [(404, b"NAME_UNKNOWN"), (429, b"TOOMANYREQUESTS"), (503, b"UNAVAILABLE")]
)
def test_where_no_tags_are_here_the_client_hears_why(cache: Hub, status: int, code: bytes) -> None:
    cache.there.instead("GET", f"/v2/{NAME}/tags/", answer(status))

    refused = cache.client.ask("GET", TAGS)

    assert refused.status == status
    assert code in refused.body


def test_tags_of_what_a_filter_leaves_out_are_not_listed(cache: Hub) -> None:
    cache.image()
    cache.know(proxy_cache_filter_pattern="bitnami/**")

    assert cache.client.ask("GET", TAGS).status == 403
    assert not cache.there.asked


def test_lists_of_docker_hubs_short_names_lead_to_the_long_ones() -> None:
    with hub("docker-hub") as cache:
        digest = cache.image()

        tags = cache.client.ask("GET", "/v2/hub/alpine/tags/list?n=5&last=a")
        referrers = cache.client.ask("GET", f"/v2/hub/alpine/referrers/{digest}?artifactType=a/b")

        assert (tags.status, tags.headers["Location"]) == (301, f"{TAGS}?n=5&last=a")
        assert referrers.headers["Location"] == f"/v2/hub/library/alpine/referrers/{digest}?artifactType=a%2Fb"
        assert listed(cache, tags.headers["Location"]) == ["latest"]


def test_referrers_are_passed_on_where_the_project_wants_them(cache: Hub) -> None:
    digest = cache.image()
    signature = orjson.dumps({"schemaVersion": 2, "subject": {"digest": digest}})
    cache.there.add_manifest(NAME, signature, "application/vnd.oci.image.manifest.v1+json")
    target = f"/v2/hub/library/alpine/referrers/{digest}"

    assert orjson.loads(cache.client.ask("GET", target).body)["manifests"] == []
    cache.know(proxy_referrer_api="true")
    assert len(orjson.loads(cache.client.ask("GET", target).body)["manifests"]) == 1


@pytest.mark.parametrize(("size", "asked"), [(1, 1), (1 << 17, 2)])
def test_referrers_are_remembered_unless_they_are_large(cache: Hub, size: int, asked: int) -> None:
    digest = cache.image()
    cache.know(proxy_referrer_api="true")
    listed = orjson.dumps({"manifests": [{"digest": digest, "annotations": {"said": "x" * size}}]})
    cache.there.instead("GET", f"/v2/{NAME}/referrers/", answer(200, listed))

    for _ in range(2):
        got = cache.client.ask("GET", f"/v2/hub/library/alpine/referrers/{digest}")
        assert len(orjson.loads(got.body)["manifests"]) == 1

    assert cache.asked("GET", "/referrers/") == asked


def test_the_credential_is_nowhere_to_be_seen(cache: Hub, caplog: pytest.LogCaptureFixture) -> None:
    cache.there.auth = "bearer"
    cache.image()
    answers = [cache.manifest("latest"), cache.blob(digest_of(CONFIG))]
    assert cache.bytes_of(answers[1]) == CONFIG
    # A registry that says in its errors what it was sent.
    echo = answer(403, b'{"errors":[{"code":"DENIED","message":"robot:s3cret"}]}')
    for method in ("GET", "HEAD"):
        cache.there.instead(method, f"/v2/{NAME}/", echo)
    answers += [cache.manifest("other"), cache.manifest(digest_of(b"1")), cache.blob(digest_of(b"2"))]
    cache.settle(ends=False)

    told = [repr((each.headers, each.body)) for each in answers]
    every = cache.client.objects.keys("")
    kept = [repr(cache.client.objects.get(key)) for key in every]
    assert not [text for text in (*told, *kept, caplog.text) if ACCESS_SECRET in text]


class Down:
    """A table that does not answer."""

    def __getattr__(self, name: str) -> object:
        raise OSError("the table does not answer")


def behind_api_gateway(cache: Hub, *, relay: bool = False) -> None:
    """Let the client's requests come as they come to a function of Lambda."""
    cache.client.streams, cache.client.redirect_head = False, True
    settings = replace(cache.client.services.settings, relay=relay)
    cache.client.services = replace(cache.client.services, settings=settings)


def test_a_function_leads_to_where_the_other_registry_leads_and_a_job_keeps_the_blob(cache: Hub) -> None:
    cache.image()
    path = f"/v2/{NAME}/blobs/{digest_of(LAYER)}"
    cache.there.instead("GET", path, answer(307, Location="https://cdn.example/layer?signed=1"), times=1)
    behind_api_gateway(cache)
    assert cache.manifest("latest").status == 200

    led = cache.blob(digest_of(LAYER))

    assert (led.status, led.headers["Location"]) == (307, "https://cdn.example/layer?signed=1")
    cache.settle()
    assert cache.holds(digest_of(LAYER))


def test_a_function_leads_to_the_relay_by_a_path_that_opens_one_blob_for_a_while(cache: Hub) -> None:
    cache.image()
    behind_api_gateway(cache, relay=True)
    led = cache.blob(digest_of(LAYER))
    sized = cache.blob(digest_of(LAYER), "HEAD")
    assert (led.status, sized.status) == (307, 307)

    cache.client.streams, cache.client.redirect_head, cache.client.headers = True, False, {}
    told = cache.client.ask("HEAD", sized.headers["Location"])
    assert (told.status, told.headers["Content-Length"]) == (200, str(len(LAYER)))
    other = led.headers["Location"].replace(digest_of(LAYER), digest_of(CONFIG))
    assert cache.client.ask("GET", other).status == 403
    assert cache.bytes_of(cache.client.ask("GET", led.headers["Location"])) == LAYER
    cache.client.clock.advance(timedelta(seconds=901))
    assert cache.client.ask("GET", led.headers["Location"]).status == 403


def test_a_function_without_a_relay_waits_for_the_job(cache: Hub) -> None:
    cache.image()
    behind_api_gateway(cache)
    assert cache.manifest("latest", "HEAD").status == 307

    with ThreadPoolExecutor(1) as threads:
        waiting = threads.submit(cache.blob, digest_of(LAYER))
        cache.settle()

        assert waiting.result().status == 307


def test_a_copy_of_another_region_has_what_its_bucket_has_and_asks_no_other_registry(cache: Hub) -> None:
    cache.image()

    class Copy:
        is_copy = True
        is_whole = True
        takes_writes = False

        def elsewhere(self, do: object, what: object) -> None:  # noqa: ARG002 - as a region has it
            raise RegistryError(ErrorCode.MANIFEST_UNKNOWN)

    cache.client.services = replace(cache.client.services, region=cast("Region", Copy()))

    assert cache.manifest("latest").status == 404
    assert not cache.there.asked


def test_what_the_table_cannot_say_is_served_as_it_was(cache: Hub) -> None:
    digest = cache.image()
    cache.pull()
    cache.settle()
    services = cache.client.services
    token = orjson.loads(cache.client.ask("GET", "/service/token?scope=repository:hub/library/alpine:pull").body)
    cache.client.headers = {"authorization": f"Bearer {token['token']}"}
    services.shared.forget(("upstream", "hub"))

    cache.client.services = replace(services, directory=replace(services.directory, table=cast("Table", Down())))

    got = cache.manifest("latest")
    assert (got.status, got.headers["Docker-Content-Digest"]) == (200, digest)
    assert "Warning" in got.headers
    assert cache.blob(digest_of(LAYER)).status == 307


def test_a_table_that_goes_down_in_the_middle_of_a_fetch_is_not_in_the_clients_way(cache: Hub) -> None:
    cache.image()
    cache.know()
    token = orjson.loads(cache.client.ask("GET", "/service/token?scope=repository:hub/library/alpine:pull").body)
    cache.client.headers = {"authorization": f"Bearer {token['token']}"}
    assert cache.manifest("latest").status == 200
    services = cache.client.services
    cache.client.clock.advance(timedelta(seconds=4))
    services.directory.settings.kept = None

    cache.client.services = replace(services, directory=replace(services.directory, table=cast("Table", Down())))

    assert cache.bytes_of(cache.blob(digest_of(LAYER))) == LAYER


def test_one_tag_of_which_the_other_registry_says_nonsense_silences_no_other(cache: Hub) -> None:
    for tag in ("one", "two"):
        cache.image(tag)
    told = answer(200, b"{}", Content_Type=OCI_MANIFEST, Docker_Content_Digest="1")
    cache.there.instead("HEAD", f"/v2/{NAME}/manifests/one", told)

    refused = cache.manifest("one")

    assert refused.status == 503
    assert b"sent something else than it was asked for" in refused.body
    assert cache.manifest("two").status == 200


def test_short_names_are_led_to_the_long_ones_that_a_filter_admits() -> None:
    with hub("docker-hub") as cache:
        cache.image()
        cache.know(proxy_cache_filter_pattern="library/**")

        wanted = ("manifests/latest", f"blobs/{digest_of(LAYER)}")
        moved = [cache.client.ask("GET", f"/v2/hub/alpine/{what}") for what in wanted]

        assert [each.status for each in moved] == [301, 301]
        assert cache.client.ask("GET", moved[0].headers["Location"]).status == 200


def test_what_is_here_is_served_though_the_credential_cannot_be_opened_any_more(cache: Hub) -> None:
    digest = cache.image()
    cache.pull()
    cache.settle()
    services = cache.client.services
    settings = replace(services.settings, signing_key=b"n" * 32)
    cache.client.services = replace(services, settings=settings)
    services.shared.forget(("upstream", "hub"))

    assert cache.manifest(digest).status == 200
    assert cache.manifest("latest").headers["Docker-Content-Digest"] == digest
    refused = cache.manifest(digest_of(b"elsewhere"))
    assert refused.status == 503
    assert b"has to be set again" in refused.body


def test_where_a_short_name_leads_has_nothing_in_it_that_ends_a_line() -> None:
    with hub("docker-hub") as cache:
        # A path comes decoded.
        moved = cache.client.ask("GET", "/v2/hub/alpine/manifests/a\r\nX-Other: 1")

        assert "\n" not in moved.headers.get("Location", "")


def test_a_region_that_is_the_writer_no_more_passes_on_what_the_relay_is_asked_for(cache: Hub) -> None:
    cache.image()
    behind_api_gateway(cache, relay=True)
    led = cache.blob(digest_of(LAYER))
    cache.client.streams, cache.client.redirect_head = True, False

    class Former:
        is_copy = False
        takes_writes = False

    cache.client.services = replace(cache.client.services, region=cast("Region", Former()))

    assert cache.bytes_of(cache.client.ask("GET", led.headers["Location"])) == LAYER
    assert not cache.holds(digest_of(LAYER))


def test_a_tag_that_is_fixed_here_and_moved_there_makes_one_artifact_however_often_it_is_pulled(cache: Hub) -> None:
    cache.image()
    cache.pull()
    cache.settle()
    cache.client.headers = basic()
    rule = {
        "action": "immutable",
        "template": "immutable_template",
        "tag_selectors": [{"kind": "doublestar", "decoration": "matches", "pattern": "**"}],
        "scope_selectors": {"repository": [{"kind": "doublestar", "decoration": "repoMatches", "pattern": "**"}]},
    }
    made = cache.client.ask(
        "POST",
        "/api/v2.0/projects/hub/immutabletagrules",
        orjson.dumps(rule),
        content_type="application/json",
    )
    assert made.status == 201
    cache.image(layers=(b"another",))

    logged = []
    for _ in range(3):
        cache.client.clock.advance(timedelta(seconds=11))
        cache.pull()
        cache.settle()
        audited = cache.client.ask("GET", "/api/v2.0/projects/hub/logs?q=operation%3Dcreate")
        logged.append(audited.headers["X-Total-Count"])

    assert len(set(logged)) == 1
    listed = cache.client.ask("GET", "/api/v2.0/projects/hub/repositories/library%2Falpine/artifacts")
    assert len(orjson.loads(listed.body)) == 2
