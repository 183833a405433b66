"""What lies in the cache, whoever put it there."""

from __future__ import annotations

import os
import random
import zlib
from typing import Any

import pytest
import viewcache
from backends import write_raw
from battery.served import NOT_DATABASE, Served, status
from django.core import checks
from django.http import HttpResponse
from viewcache import conf

DAMAGES: list[Any] = [
    b"",
    b"junk",
    -7,
    1 << 64,
    1.5,
    "text",
    {"a": 1},
    [],
    b"\x00" * 5000,
    None,
    True,
    "1",
]


#: What no serializer of these backends reads: nothing, no pickle, a pickle of what is gone.
ILLEGIBLE = [b"", b"\x80garbage", b"cgone_module\nGone\n."]


@pytest.mark.case(56)
def test_keys_are_short_ascii_whatever_they_are_made_of(served: Served) -> None:
    site = served(key_prefix="préfixe " * 100)
    for url in ("/" + "é" * 900, "/a b\x7f/?" + "ü" * 2000, "/日本/\u2028"):
        response = site.get(url, headers={"Cookie": "a=" + "x" * 5000})
        for key in site.keys(response).values():
            assert key.isascii()
            assert key.isprintable()
            assert " " not in key
            assert len(key) <= 77


@pytest.mark.case(56)
@pytest.mark.parametrize("prefix", ["x" * 240, "a b", "a\x7f"])
def test_a_prefix_that_memcached_refuses_is_told(served: Served, prefix: str) -> None:
    caches = served.settings.CACHES
    served.settings.CACHES = {"default": {**caches["default"], "KEY_PREFIX": prefix}}
    found = {message.id for message in checks.run_checks(tags=["viewcache"])}
    assert ("viewcache.W008" in found) == (served.backend.name == "memcached")


@pytest.mark.case(57)
def test_line_ends_reach_no_protocol(served: Served) -> None:
    evil = "\r\nflush_all\r\nset x 0 0 1\r\n1\r\n"
    served.backend.cache.set("kept", "1", 600)
    served.settings.CACHE_MIDDLEWARE_KEY_PREFIX = evil
    site = served(key_prefix=evil)
    for _ in range(2):
        assert (
            site.get("/%0d%0aflush_all%0d%0a/?a=%0d%0a", headers={"Cookie": "a=1"}).content == b"1"
        )
    viewcache.expire(path="/%0d%0aflush_all%0d%0a/")
    with pytest.raises(ValueError, match="control"):
        viewcache.expire(tag=f"a{evil}")
    assert served.backend.cache.get("kept") == "1"
    assert site.get("/%0d%0aflush_all%0d%0a/?a=%0d%0a").content == b"2"


@pytest.mark.case(58)
def test_a_page_of_three_megabytes_is_whole_or_not_there(served: Served) -> None:
    site = served(lambda request, number: HttpResponse(b"%d" % number + bytes(3_000_000) + b"end"))
    for _ in range(3):
        body = site.get().content
        assert len(body) == 3_000_004
        assert body.endswith(b"end")
    viewcache.expire(path="/page/")
    before = site.renders
    assert site.get().content[:1] == b"%d" % (before + 1)


@pytest.mark.case(58)
def test_entries_that_come_and_go(served: Served) -> None:
    """The cache forgets at random, any kind of entry, between any two requests."""
    site = served()
    dice = random.Random(58)
    known: dict[str, dict[str, str]] = {}
    current: dict[str, int] = {}
    for _ in range(150):
        url = f"/{dice.randrange(4)}/"
        response = site.get(url)
        number = int(response.content)
        assert number >= current.get(url, 0)
        current[url] = number
        known[url] = site.keys(response)
        if dice.random() < 0.4:
            lost = dice.sample(list(known[url].values()), dice.randrange(1, 3))
            site.backend.cache.delete_many(lost)
        if dice.random() < 0.3:
            expired = f"/{dice.randrange(4)}/"
            viewcache.expire(path=expired)
            current[expired] = site.renders + 1


@pytest.mark.case(59)
@pytest.mark.parametrize("damage", DAMAGES, ids=repr)
def test_what_is_no_entry_of_ours_is_a_miss_and_overwritten(served: Served, damage: Any) -> None:
    site = served()
    keys = site.keys(site.get())
    for kind, key in keys.items():
        before = site.renders
        site.backend.cache.set(key, damage, 600)
        responses = [site.get() for _ in range(3)]
        assert {response.status_code for response in responses} == {200}
        if kind in ("page", "recipe"):
            assert int(responses[0].content) == before + 1
        assert status(responses[2])[0] == "hit", kind


@pytest.mark.case(59)
@pytest.mark.parametrize("raw", ILLEGIBLE, ids=repr)
def test_what_the_backend_cannot_decode_is_a_miss_and_overwritten(
    served: Served, raw: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    site = served()
    keys = site.keys(site.get())
    site.get("/other/")
    for kind, key in keys.items():
        before = site.renders
        write_raw(site.backend, key, raw)
        responses = [site.get() for _ in range(3)]
        assert int(responses[0].content) == before + 1, kind
        assert [status(response)[0] for response in responses] == ["stored", "hit", "hit"], kind
        # What it says is not that the cache has failed: other pages are served.
        assert status(site.get("/other/"))[0] == ("stored" if kind == "tree:/" else "hit"), kind
    assert "cache fault" not in caplog.text


@pytest.mark.case(59)
def test_a_record_that_is_cut_or_changed_is_a_miss(served: Served) -> None:
    site = served()
    response = site.get()
    keys = site.keys(response)
    for kind in ("page", "recipe"):
        record = site.backend.cache.get(keys[kind])
        for at in range(0, len(record), max(1, len(record) // 12)):
            for damaged in (record[:at], record[:at] + bytes([record[at] ^ 1]) + record[at + 1 :]):
                before = site.renders
                site.backend.cache.set(keys[kind], damaged, 600)
                assert site.pages({}, {}) == [before + 1] * 2


def sealed(record: bytes) -> bytes:
    """With a checksum that is right."""
    return record[:4] + zlib.crc32(record[8:]).to_bytes(4, "little") + record[8:]


@pytest.mark.case(60)
def test_a_forged_record_for_another_request_is_a_miss(served: Served) -> None:
    site = served(lambda request, number: HttpResponse(f"{request.path} {number}"))
    theirs, mine = site.get("/theirs/"), site.get("/mine/")
    forged = site.backend.cache.get(site.keys(theirs)["page"]).replace(b"/theirs/", b"/forged/")
    site.backend.cache.set(site.keys(mine)["page"], sealed(forged), 600)
    assert site.get("/mine/").content == b"/mine/ 3"


@pytest.mark.case(60)
def test_no_entry_of_ours_is_a_pickle(served: Served) -> None:
    site = served()
    for key, value in site.entries(site.get()).items():
        if ".g1." in key:
            assert type(value) is int
        else:
            assert type(value) is bytes
            assert value[:3] in (b"VCP", b"VCR")


# -- Signed ---------------------------------------------------------------------------------------

KEYS = {"VIEWCACHE": {"SIGN": True}, "SECRET_KEY": "a" * 50, "SECRET_KEY_FALLBACKS": []}


@pytest.fixture
def signing(served: Served) -> Served:
    """Sites that sign what they store."""
    for name, value in KEYS.items():
        setattr(served.settings, name, value)
    return served


def forget() -> None:
    """As another process: no recipe is remembered."""
    conf.site.cache_clear()


@pytest.mark.case(60)
def test_a_signed_page_is_what_it_was(signing: Served) -> None:
    site = signing(lambda request, number: HttpResponse(b"body %d" % number), per_site=True)
    first = site.get()
    for response in (site.get(), site.get(headers={"If-None-Match": "x"})):
        assert status(response)[0] == "hit"
        assert response.content == b"body 1"
    forget()
    assert status(site.get())[0] == "hit"
    head = site.get(method="HEAD")
    assert (status(head)[0], head.content) == ("hit", b"")
    record = site.entries(first)[site.keys(first)["page"]]
    headers = sum(len(name) + len(value) + 8 for name, value in first.items())
    assert len(record) <= len(b"body 1") + 512 + headers


@pytest.mark.case(60)
@pytest.mark.parametrize("kind", ["page", "recipe"])
def test_a_forged_record_is_served_only_where_nothing_is_signed(
    signing: Served, kind: str, caplog: Any
) -> None:
    """The attacker knows the format and the checksum, and not the secret."""
    for signs in (False, True):
        signing.settings.VIEWCACHE = {"SIGN": signs}
        site = signing(lambda request, number: HttpResponse(b"honest %d" % number))
        response = site.get(f"/{signs}/")
        key = site.keys(response)[kind]
        record = site.backend.cache.get(key)
        forged = sealed(record.replace(b"honest", b"forged"))
        # What the site itself once signed does not help to sign anything else.
        for attempt in (forged, forged[:-32] + record[-32:], forged + record[-32:]):
            site.backend.cache.set(key, attempt, 600)
            forget()
            response = site.get(f"/{signs}/")
            assert response.status_code == 200
            if signs:
                assert response.content.startswith(b"honest")
                assert status(response) == ("stored", "")
                assert "has not signed" in caplog.text
                caplog.clear()
        if not signs and kind == "page":
            site.backend.cache.set(key, forged, 600)
            assert site.get(f"/{signs}/").content.startswith(b"forged")
    assert status(site.get("/True/"))[0] == "hit"


@pytest.mark.case(60)
def test_signed_entries_that_are_swapped_are_misses(signing: Served) -> None:
    site = signing(lambda request, number: HttpResponse(f"{request.path} {number}"))
    one, other = (site.keys(site.get(path)) for path in ("/one/", "/two/"))
    for kind in ("page", "recipe"):
        mine, theirs = (site.backend.cache.get(keys[kind]) for keys in (one, other))
        site.backend.cache.set(one[kind], theirs, 600)
        site.backend.cache.set(other[kind], mine, 600)
        forget()
        before = site.renders
        assert site.get("/one/").content.decode() == f"/one/ {before + 1}"
        assert site.get("/two/").content.decode() == f"/two/ {before + 2}"


@pytest.mark.case(59)
def test_a_signed_record_that_is_cut_is_a_miss(signing: Served) -> None:
    site = signing()
    keys = site.keys(site.get())
    for kind in ("page", "recipe"):
        record = site.backend.cache.get(keys[kind])
        for length in (0, 1, 31, 32, 33, len(record) - 33, len(record) - 32, len(record) - 1):
            before = site.renders
            site.backend.cache.set(keys[kind], record[:length], 600)
            forget()
            assert site.pages({}, {}) == [before + 1] * 2


@pytest.mark.case(17, 60)
def test_a_secret_that_is_rotated(signing: Served) -> None:
    site = signing()
    assert site.pages({}) == [1]
    # The old one becomes a fallback: its pages live on, and new ones are signed with the new.
    signing.settings.SECRET_KEY_FALLBACKS = [signing.settings.SECRET_KEY]
    signing.settings.SECRET_KEY = "b" * 50
    assert site.pages({}, "/new/") == [1, 2]
    # It is dropped.
    signing.settings.SECRET_KEY_FALLBACKS = []
    assert site.pages("/new/", {}, {}) == [2, 3, 3]


@pytest.mark.case(17, 60)
def test_signing_is_switched_on_and_off(signing: Served) -> None:
    site = signing()
    for number, signs in enumerate([False, True, False, True], 1):
        signing.settings.VIEWCACHE = {"SIGN": signs}
        assert site.pages({}, {}) == [number, number]
    # An expiry is everybody's.
    viewcache.expire(path="/page/")
    assert site.pages({}) == [5]


@pytest.mark.case(61)
def test_lengths_that_lie(served: Served) -> None:
    """Every four bytes of the records in turn say 2³²-1, with a checksum that is right."""
    site = served(headers={"X-One": "1", "Vary": "X-Two"})
    keys = site.keys(site.get())
    for kind in ("page", "recipe"):
        record = site.backend.cache.get(keys[kind])
        for at in range(8, len(record) - 4, 3):
            forged = record[:at] + b"\xff" * 4 + record[at + 4 :]
            site.backend.cache.set(keys[kind], sealed(forged), 600)
            # Some are records of other pages; none is an error or takes more than it holds.
            assert site.get().status_code == 200
            site.backend.cache.set(keys[kind], record, 600)


@pytest.mark.case(62)
@pytest.mark.parametrize("fault", [MemoryError, RecursionError, SystemExit, KeyboardInterrupt])
def test_an_error_of_the_view_is_the_views(served: Served, fault: type[BaseException]) -> None:
    def fails_once(request: Any, number: int) -> HttpResponse:
        if number == 1:
            raise fault
        return HttpResponse(str(number))

    site = served(fails_once)
    site.client.raise_request_exception = True
    with pytest.raises(fault):
        site.get()
    assert site.pages({}, {}) == [2, 2]


#: The tests' database is a memory of this process.
@pytest.mark.parametrize("backend", NOT_DATABASE, indirect=True)
@pytest.mark.case(62)
@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_a_fork_serves_like_its_parent(served: Served) -> None:
    site = served()
    assert site.pages({}) == [1]
    generations = set(conf.site().expiry(["path:/a"]).values())
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:  # pragma: no cover
        token = next(iter(conf.site().expiry(["path:/a"]).values()))
        os.write(writing, b"%d %d" % (site.pages({})[0], token))
        os._exit(0)
    os.waitpid(child, 0)
    page, token = os.read(reading, 100).split()
    os.close(reading)
    os.close(writing)
    assert page == b"1"
    # Random after a fork, too: not the number that the parent draws next.
    assert {int(token)}.isdisjoint(generations | set(conf.site().expiry(["path:/a"]).values()))


@pytest.mark.case(63)
def test_a_cache_of_one_process_is_told(served: Served) -> None:
    served.settings.DEBUG = False
    served()
    found = {message.id for message in checks.run_checks(tags=["viewcache"])}
    assert ("viewcache.W006" in found) == (served.backend.name == "locmem")
