"""Pages that are no longer fresh: served while one request renders, or in place of an error."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable
from datetime import UTC
from typing import Any, ClassVar

import pytest
import viewcache
from backends import ASYNC, Backend, ask_step_by_step
from django.core.cache import caches
from django.core.exceptions import PermissionDenied
from django.core.signals import got_request_exception
from django.http import Http404, HttpResponse
from django.template import engines
from django.template.response import TemplateResponse
from django.views.generic import TemplateView
from viewcache import stampede
from viewcache.decorators import cache_page
from viewcache.mixins import CacheMixin
from viewcache.store import Store

WINDOWS = {"STALE_WHILE_REVALIDATE": 30, "STALE_IF_ERROR": 300}


@pytest.fixture(autouse=True)
def _windows(settings: Any) -> None:
    settings.VIEWCACHE = {**WINDOWS, "CACHE_STATUS": True}
    settings.CACHE_MIDDLEWARE_SECONDS = 60
    stampede.passes.clear()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time, for viewcache and for local memory; a test moves it on."""
    now = [1_000_000.0]
    monkeypatch.setattr("time.time", lambda: now[0])
    return now


class Meanwhile:
    """A view that has another visitor come while it renders for the second time."""

    def __init__(self, counted: Any, get: Callable[[], Any] | None = None) -> None:
        self.get = get
        self.others: list[Any] = []
        self.view = counted(self.respond)

    def respond(self, request: Any, count: int) -> HttpResponse:
        if count == 2 and self.get is not None:
            # In a thread of its own: it is another visitor, and async code must not block.
            thread = threading.Thread(target=lambda: self.others.append(self.get()))
            thread.start()
            thread.join()
        return HttpResponse(str(count))


@pytest.fixture
def meanwhile(cached: Any, counted: Any) -> Meanwhile:
    found = Meanwhile(counted)
    found.get = cached(found.view)
    return found


# -- While another renders ------------------------------------------------------------------------


def test_one_visitor_renders_and_the_others_get_the_stale_page(
    meanwhile: Meanwhile, clock: list[float]
) -> None:
    assert meanwhile.get().content == b"1"
    clock[0] += 61
    response = meanwhile.get()
    [other] = meanwhile.others
    assert (response.content, other.content) == (b"2", b"1")
    assert "Age" not in response
    assert other["Age"] == "61"
    assert meanwhile.get().content == b"2"
    assert meanwhile.view.count == 2


def test_each_is_told_what_happened(
    meanwhile: Meanwhile, clock: list[float], visit_of: Any
) -> None:
    meanwhile.get()
    clock[0] += 65
    response = meanwhile.get()
    [other] = meanwhile.others
    assert response["Cache-Status"] == 'viewcache; fwd=stale; stored; detail="timed-out"'
    assert other["Cache-Status"] == 'viewcache; hit; ttl=-5; detail="stale-while-revalidate"'
    assert visit_of(other) == ("stale", "stale-while-revalidate")


def test_after_its_window_nobody_gets_it(
    meanwhile: Meanwhile, clock: list[float], settings: Any
) -> None:
    settings.VIEWCACHE = {**WINDOWS, "WAIT_SECONDS": 0}
    meanwhile.get()
    clock[0] += 91
    meanwhile.get()
    assert [other.content for other in meanwhile.others] == [b"3"]


def test_without_windows_nobody_gets_a_stale_page(
    cached: Any, counted: Any, clock: list[float], settings: Any
) -> None:
    settings.VIEWCACHE = {"WAIT_SECONDS": 0}
    found = Meanwhile(counted)
    get = cached(found.view)
    get()
    clock[0] += 60
    found.get = get
    assert get().content == b"2"
    assert found.others[0].content == b"3"


def test_whoever_dies_while_rendering_is_followed_by_another(
    meanwhile: Meanwhile, clock: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    meanwhile.get()
    clock[0] += 61
    get, meanwhile.get = meanwhile.get, None
    # Somebody has the turn, and never comes back.
    take = Store.take_turn
    taken = []

    def once(self: Store, key: str, owner: str, seconds: int) -> bool:
        if not taken:
            taken.append(take(self, key, "somebody", 20))
        return take(self, key, owner, seconds)

    monkeypatch.setattr(Store, "take_turn", once)
    assert get().content == b"1"
    clock[0] += 19
    assert get().content == b"1"
    clock[0] += 2
    assert get().content == b"2"


def test_a_head_does_not_render_for_those_who_get(
    cached: Any, counted: Any, clock: list[float]
) -> None:
    view = counted()
    get = cached(view)
    get()
    clock[0] += 61
    get(method="HEAD")
    assert get().content == b"3"
    assert get().content == b"3"


# -- What is said of it ---------------------------------------------------------------------------


def directives(response: Any) -> dict[str, str]:
    parts = [part.strip().partition("=") for part in response["Cache-Control"].split(",")]
    return {name: value for name, _, value in parts}


def test_the_caches_on_the_way_are_told(cached: Any, counted: Any) -> None:
    get = cached(counted())
    for response in (get(), get()):
        assert directives(response) == {
            "max-age": "60",
            "stale-while-revalidate": "30",
            "stale-if-error": "300",
        }


def test_a_softly_expired_page_is_fresh_nowhere(meanwhile: Meanwhile, clock: list[float]) -> None:
    meanwhile.get()
    clock[0] += 10
    viewcache.expire(path="/page/", soft=True)
    clock[0] += 5
    meanwhile.get()
    [other] = meanwhile.others
    assert (other.content, other["Age"], directives(other)["max-age"]) == (b"1", "15", "10")
    assert other["Expires"] == "Mon, 12 Jan 1970 13:46:50 GMT"
    assert other["Cache-Status"] == 'viewcache; hit; ttl=-5; detail="stale-while-revalidate"'


@pytest.mark.parametrize(
    "header",
    [
        "must-revalidate",
        "proxy-revalidate, max-age=60",
        "s-maxage=60",
        "max-age=60, must-revalidate, stale-while-revalidate=30",
        "stale-while-revalidate=0",
    ],
)
def test_a_response_may_forbid_it(
    cached: Any, counted: Any, clock: list[float], settings: Any, header: str
) -> None:
    settings.VIEWCACHE = {**WINDOWS, "WAIT_SECONDS": 0}
    found = Meanwhile(counted)

    def respond(request: Any, count: int) -> HttpResponse:
        response = found.respond(request, count)
        response.headers["Cache-Control"] = header
        return response

    view = counted(respond)
    get = cached(view)
    found.get = get
    get()
    clock[0] += 61
    get()
    assert found.others[0].content == b"3"


def test_a_response_may_allow_it(
    site: Any, counted: Any, clock: list[float], settings: Any
) -> None:
    settings.VIEWCACHE = {}
    view = counted(Cache_Control="max-age=20, stale-while-revalidate=7, stale-if-error=9")
    client = site.serve(cache_page(20)(view))
    client.get("/page/")
    found = viewcache.explain(client.get("/page/").wsgi_request)
    assert found.page is not None
    assert (found.page.stale_while_revalidate, found.page.stale_if_error) == (7, 9)
    clock[0] += 21
    found = viewcache.explain(client.get("/page/").wsgi_request)
    assert found.verdict == "hit"


def test_a_view_may_say_it(site: Any, counted: Any, settings: Any) -> None:
    settings.VIEWCACHE = {}

    class Page(CacheMixin, TemplateView):
        cache_timeout = 60
        cache_page_options: ClassVar = {"stale_while_revalidate": 5, "stale_if_error": 6}

        def get(self, request: Any, *args: Any, **kwargs: Any) -> HttpResponse:
            return HttpResponse("page")

    decorated = cache_page(60, stale_while_revalidate=5, stale_if_error=6)(counted())
    for view in (decorated, Page.as_view()):
        response = site.serve(view).get("/page/")
        assert directives(response) == {
            "max-age": "60",
            "stale-while-revalidate": "5",
            "stale-if-error": "6",
        }


@pytest.mark.parametrize("name", ["stale_while_revalidate", "stale_if_error"])
@pytest.mark.parametrize(
    ("value", "error"), [("5", TypeError), (True, TypeError), (-1, ValueError)]
)
def test_what_is_no_number_of_seconds_is_refused(name: str, value: Any, error: Any) -> None:
    with pytest.raises(error, match=f"{name} is {value!r}; expected"):
        cache_page(60, **{name: value})


def test_nothing_is_stale_beyond_the_moment_of_expires_at(
    site: Any, counted: Any, clock: list[float]
) -> None:
    from datetime import datetime

    def respond(request: Any, count: int) -> HttpResponse:
        viewcache.expires_at(request, datetime.fromtimestamp(1_000_070, UTC))
        return HttpResponse(str(count))

    client = site.serve(cache_page(60)(counted(respond)))
    assert directives(client.get("/page/"))["stale-if-error"] == "10"


# -- Soft expiries --------------------------------------------------------------------------------

#: Those that count atomically; in the others a soft expiry is a hard one.
COUNTING = ["locmem", "redis", "memcached"]


@pytest.mark.parametrize("backend", COUNTING, indirect=True)
@pytest.mark.parametrize(
    "what", [{"path": "/page/"}, {"tree": "/"}, {"tag": "t"}, {"path": "/page/", "tag": "t"}]
)
def test_a_soft_expiry_lets_the_page_be_served_while_one_renders(
    cached: Any, counted: Any, backend: Backend, what: dict[str, Any]
) -> None:
    found = Meanwhile(counted)
    inner = found.respond

    def respond(request: Any, count: int) -> HttpResponse:
        viewcache.tag(request, "t")
        return inner(request, count)

    found.view.respond = respond
    get = found.get = cached(found.view)
    assert get().content == b"1"
    viewcache.expire(**what, soft=True)
    assert get().content == b"2"
    assert [other.content for other in found.others] == [b"1"]
    assert get().content == b"2"


@pytest.mark.parametrize("backend", COUNTING, indirect=True)
@pytest.mark.parametrize("order", ["hard, soft", "soft, hard", "hard while soft"])
def test_a_hard_expiry_beats_a_soft_one(
    cached: Any,
    counted: Any,
    backend: Backend,
    order: str,
    settings: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    settings.VIEWCACHE = {**WINDOWS, "WAIT_SECONDS": 0}
    found = Meanwhile(counted)
    get = found.get = cached(found.view)
    get()
    if order == "hard while soft":
        count = type(backend.cache).incr

        def meanwhile(self: Any, key: str, *args: Any, **kwargs: Any) -> int:
            viewcache.expire(path="/page/")
            return int(count(self, key, *args, **kwargs))

        monkeypatch.setattr(type(backend.cache), "incr", meanwhile)
        viewcache.expire(path="/page/", soft=True)
    else:
        for kind in order.split(", "):
            viewcache.expire(path="/page/", soft=kind == "soft")
    found.get = get
    assert get().content != b"1"
    assert found.others[0].content == b"3"


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("backend", ["file", "db"], indirect=True)
def test_where_nothing_counts_atomically_a_soft_expiry_is_a_hard_one(
    cached: Any, counted: Any, backend: Backend, settings: Any
) -> None:
    settings.VIEWCACHE = {**WINDOWS, "WAIT_SECONDS": 0}
    view = counted()
    get = cached(view)
    get()
    before = set(_generations())
    assert not viewcache.expire(path="/page/", soft=True).waits
    assert not before & set(_generations())
    assert get().content == b"2"


def _generations() -> list[int]:
    from viewcache import conf

    keys = conf.site().generation_keys(["path:/page/"])
    return list(caches["default"].get_many(keys).values())


@pytest.mark.parametrize("backend", COUNTING, indirect=True)
def test_an_absent_generation_is_written_by_a_soft_expiry(backend: Backend) -> None:
    viewcache.expire(path="/page/", soft=True)
    [generation] = _generations()
    assert generation > 1 << 8


@pytest.mark.parametrize("backend", [*COUNTING, ASYNC], indirect=True)
def test_async_code_expires_softly_too(backend: Backend) -> None:
    viewcache.expire(path="/page/")
    [before] = _generations()
    asyncio.run(viewcache.aexpire(path="/page/", soft=True))
    assert _generations() == [before + 1]


@pytest.mark.parametrize("backend", COUNTING, indirect=True)
def test_what_counts_up_to_no_generation_is_expired_hard(backend: Backend) -> None:
    from viewcache import conf

    [key] = conf.site().generation_keys(["path:/page/"])
    caches["default"].set(key, 1, None)
    viewcache.expire(path="/page/", soft=True)
    [generation] = _generations()
    assert generation > 1 << 8


@pytest.mark.parametrize("backend", ["redis"], indirect=True)
def test_what_redis_counts_from_nothing_is_no_generation(
    cached: Any, counted: Any, backend: Backend
) -> None:
    from viewcache import conf

    get = cached(counted())
    get()
    [key] = conf.site().generation_keys(["path:/page/"])
    # Evicted between RedisCache's EXISTS and its INCR.
    caches["default"].set(key, 1, None)
    assert [get().content, get().content] == [b"2", b"2"]
    assert _generations()[0] > 1 << 8


def test_pages_that_may_not_be_stale_are_expired_by_a_soft_expiry(
    cached: Any, counted: Any, settings: Any, visit_of: Any
) -> None:
    settings.VIEWCACHE = {"WAIT_SECONDS": 0}
    get = cached(counted())
    get()
    viewcache.expire(path="/page/", soft=True)
    response = get()
    assert (response.content, visit_of(response)[0]) == (b"2", "stored")


@pytest.mark.django_db(transaction=True)
def test_inside_a_transaction_soft_and_hard_wait_for_the_commit() -> None:
    from django.db import transaction

    viewcache.expire(path=["/a/", "/b/"])
    before = _tokens("/a/", "/b/")
    with transaction.atomic():
        assert viewcache.expire(path="/a/", soft=True).waits
        assert viewcache.expire(path="/b/").waits
        assert _tokens("/a/", "/b/") == before
    after = _tokens("/a/", "/b/")
    assert after[0] == before[0] + 1
    assert after[1] >> 8 != before[1] >> 8
    with transaction.atomic():
        viewcache.expire(path="/a/", soft=True)
        transaction.set_rollback(True)
    assert _tokens("/a/", "/b/") == after


@pytest.mark.django_db(transaction=True)
def test_in_a_transaction_that_django_does_not_manage_soft_is_hard() -> None:
    """It has one way to write for all that it gathers, and hard expires what soft does."""
    from django.db import transaction

    viewcache.expire(path="/a/")
    [before] = _tokens("/a/")
    transaction.set_autocommit(False)
    try:
        with transaction.atomic():
            viewcache.expire(path="/a/", soft=True)
        transaction.commit()
    finally:
        transaction.set_autocommit(True)
    [after] = _tokens("/a/")
    assert after >> 8 != before >> 8


def _tokens(*paths: str) -> list[int]:
    from viewcache import conf

    keys = conf.site().generation_keys([f"path:{path}" for path in paths])
    found = caches["default"].get_many(keys)
    return [found[key] for key in keys]


# -- Commands -------------------------------------------------------------------------------------


@pytest.mark.parametrize("backend", ["redis"], indirect=True)
def test_what_it_costs(site: Any, counted: Any, backend: Backend) -> None:
    client = site.serve(cache_page(60)(counted()))
    client.get("/page/")
    with backend.counting() as sent:
        assert client.get("/page/").content == b"1"
    assert sent.total() == 1, sent
    viewcache.expire(path="/page/")
    with backend.counting() as sent:
        client.get("/page/")
    # As without windows: what is there, the turn, the page.
    assert sent == {"mget": 1, "set": 2}, sent
    with backend.counting() as sent:
        viewcache.expire(path="/page/", soft=True)
    assert sent == {"exists": 1, "incrby": 1, "multi": 1, "mset": 1, "expire": 1, "exec": 1}, sent


# -- In place of an error -------------------------------------------------------------------------


class Failing:
    """What a view does from its second render on."""

    def __init__(self, how: Any) -> None:
        self.how = how

    def __call__(self, request: Any, count: int) -> HttpResponse:
        if count == 1:
            return HttpResponse("fine")
        if isinstance(self.how, int):
            return HttpResponse("failed", status=self.how)
        raise self.how


def failing(cached: Any, counted: Any, how: Any) -> tuple[Any, Any]:
    view = counted(Failing(how))
    get = cached(view)
    get.client.raise_request_exception = False
    assert get().content == b"fine"
    return get, view


@pytest.mark.parametrize("how", [500, 502, 503, 504, RuntimeError("it fails")])
def test_a_stale_page_stands_in_for_an_error(
    cached: Any, counted: Any, clock: list[float], how: Any, visit_of: Any
) -> None:
    get, view = failing(cached, counted, how)
    clock[0] += 60 + 299
    response = get()
    assert (response.status_code, response.content, view.count) == (200, b"fine", 2)
    assert response["Age"] == "359"
    status = how if isinstance(how, int) else 500
    assert response["Cache-Status"] == (
        f'viewcache; fwd=stale; fwd-status={status}; detail="stale-if-error"'
    )
    assert visit_of(response) == ("stale", "stale-if-error")
    # It was not stored as a fresh one.
    clock[0] += 2
    assert get().status_code == status


@pytest.mark.parametrize(
    ("how", "status"), [(404, 404), (501, 501), (Http404(), 404), (PermissionDenied(), 403)]
)
def test_it_stands_in_for_nothing_else(
    cached: Any, counted: Any, clock: list[float], how: Any, status: int
) -> None:
    get, _ = failing(cached, counted, how)
    clock[0] += 61
    assert get().status_code == status


def test_what_is_expired_stands_in_for_nothing(cached: Any, counted: Any) -> None:
    get, _ = failing(cached, counted, 503)
    viewcache.expire(path="/page/")
    assert get().status_code == 503


def test_what_is_softly_expired_stands_in_within_its_window(
    cached: Any, counted: Any, clock: list[float]
) -> None:
    get, _ = failing(cached, counted, 503)
    viewcache.expire(path="/page/", soft=True)
    clock[0] += 299
    assert get().content == b"fine"
    # Softly expired once more: the window is that of the first time.
    viewcache.expire(path="/page/", soft=True)
    clock[0] += 2
    assert get().status_code == 503


def test_what_is_expired_while_the_view_fails_stands_in_for_nothing(
    cached: Any, counted: Any, clock: list[float]
) -> None:
    def respond(request: Any, count: int) -> HttpResponse:
        if count == 1:
            return HttpResponse("fine")
        viewcache.expire(path="/page/")
        return HttpResponse("failed", status=503)

    view = counted(respond)
    get = cached(view)
    get()
    clock[0] += 61
    assert get().status_code == 503


def test_an_error_without_a_stale_page_costs_no_command(
    site: Any, counted: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = site.serve(cache_page(60)(counted(lambda request, count: HttpResponse(status=503))))
    fetched = []
    ask_step_by_step(monkeypatch)
    fetch = Store.fetch
    monkeypatch.setattr(Store, "fetch", lambda self, *keys: fetched.append(1) or fetch(self, *keys))
    assert client.get("/page/").status_code == 503
    assert len(fetched) == 1


def test_whoever_looks_after_the_site_learns_of_the_error(
    cached: Any, counted: Any, clock: list[float], caplog: pytest.LogCaptureFixture
) -> None:
    get, _ = failing(cached, counted, RuntimeError("it fails"))
    seen = []

    def receiver(**kwargs: Any) -> None:
        seen.append(1)

    got_request_exception.connect(receiver)
    try:
        clock[0] += 61
        with caplog.at_level(logging.ERROR):
            assert get().content == b"fine"
    finally:
        got_request_exception.disconnect(receiver)
    assert seen == [1]
    ours = [record for record in caplog.records if record.name == "viewcache"]
    assert "/page/" in ours[0].getMessage()
    assert any(record.exc_info for record in caplog.records)


def test_a_template_that_fails_when_it_renders(site: Any, counted: Any, clock: list[float]) -> None:
    template = engines["django"].from_string("{% if fails %}{{ fails.now }}{% endif %}fine")

    class Fails:
        @property
        def now(self) -> str:
            raise RuntimeError("it fails")

    def respond(request: Any, count: int) -> HttpResponse:
        return TemplateResponse(request, template, {"fails": Fails() if count > 1 else None})

    for per_site in (False, True):
        view = counted(respond)
        client = site.serve(view if per_site else cache_page(60)(view), per_site=per_site)
        client.raise_request_exception = False
        assert client.get(f"/{per_site}/").content == b"fine"
        clock[0] += 61
        response = client.get(f"/{per_site}/")
        assert (response.status_code, response.content) == (200, b"fine")


@pytest.mark.parametrize("per_site", [False, True])
def test_a_template_that_renders_again_is_the_page(
    site: Any, counted: Any, clock: list[float], visit_of: Any, per_site: bool
) -> None:
    template = engines["django"].from_string("{{ count }}")
    view = counted(lambda request, count: TemplateResponse(request, template, {"count": count}))
    client = site.serve(view if per_site else cache_page(60)(view), per_site=per_site)
    assert client.get("/page/").content == b"1"
    clock[0] += 61
    response = client.get("/page/")
    assert (response.content, visit_of(response)) == (b"2", ("stored", ""))


@pytest.mark.parametrize("per_site", [False, True])
@pytest.mark.parametrize(
    ("error", "status"), [(Http404, 404), (None, 500)], ids=["no error", "expired meanwhile"]
)
def test_a_template_for_which_nothing_stands_in(
    site: Any, counted: Any, clock: list[float], per_site: bool, error: Any, status: int
) -> None:
    template = engines["django"].from_string("{% if fails %}{{ fails.now }}{% endif %}fine")

    class Fails:
        @property
        def now(self) -> str:
            if error is None:
                viewcache.expire(tree="/")
                raise RuntimeError("it fails")
            raise error

    def respond(request: Any, count: int) -> HttpResponse:
        return TemplateResponse(request, template, {"fails": Fails() if count > 1 else None})

    view = counted(respond)
    client = site.serve(view if per_site else cache_page(60)(view), per_site=per_site)
    client.raise_request_exception = False
    assert client.get("/page/").content == b"fine"
    clock[0] += 61
    assert client.get("/page/").status_code == status


@pytest.mark.django_db(transaction=True)
def test_what_the_open_transaction_makes_old_stands_in_for_nothing(
    site: Any, counted: Any, clock: list[float]
) -> None:
    from django.db import transaction

    client = site.serve(cache_page(60)(counted(Failing(503))))
    client.get("/page/")
    clock[0] += 61
    with transaction.atomic():
        viewcache.expire(path="/page/")
        assert client.get("/page/").status_code == 503
        transaction.set_rollback(True)
    # It was not made old.
    assert client.get("/page/").content == b"fine"


def test_what_a_failing_view_keeps_in_the_session_is_not_saved(
    site: Any, counted: Any, clock: list[float], settings: Any
) -> None:
    settings.SESSION_ENGINE = "django.contrib.sessions.backends.signed_cookies"

    def respond(request: Any, count: int) -> HttpResponse:
        if count > 1:
            request.session["half"] = 1
            raise RuntimeError("it fails")
        return HttpResponse("fine")

    session = "django.contrib.sessions.middleware.SessionMiddleware"
    client = site.serve(cache_page(60)(counted(respond)), middleware=[session])
    client.raise_request_exception = False
    client.get("/page/")
    clock[0] += 61
    response = client.get("/page/")
    assert response.content == b"fine"
    assert "sessionid" not in response.cookies


@pytest.mark.django_db(transaction=True)
def test_what_a_failing_view_wrote_is_rolled_back(
    site: Any, counted: Any, clock: list[float], settings: Any
) -> None:
    from django.contrib.auth.models import Group
    from django.db import connection

    def respond(request: Any, count: int) -> HttpResponse:
        if count > 1:
            Group.objects.create(name="half")
            raise RuntimeError("it fails")
        return HttpResponse("fine")

    client = site.serve(cache_page(60)(counted(respond)))
    client.raise_request_exception = False
    client.get("/page/")
    clock[0] += 61
    connection.settings_dict["ATOMIC_REQUESTS"] = True
    try:
        assert client.get("/page/").content == b"fine"
    finally:
        connection.settings_dict["ATOMIC_REQUESTS"] = False
    assert not Group.objects.exists()


def test_a_cache_that_fails_with_the_view_leaves_the_error(
    cached: Any, counted: Any, clock: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    get, view = failing(cached, counted, 503)
    clock[0] += 61
    ask_step_by_step(monkeypatch)
    fetch = Store.fetch

    def broken(self: Store, *keys: Any) -> Any:
        if view.count > 1:
            raise ConnectionError("down")
        return fetch(self, *keys)

    monkeypatch.setattr(Store, "fetch", broken)
    assert get().status_code == 503


# -- Explained ------------------------------------------------------------------------------------


def test_it_is_explained(
    site: Any, counted: Any, clock: list[float], rf: Any, settings: Any
) -> None:
    client = site.serve(cache_page(60)(counted()))
    request = client.get("/page/").wsgi_request
    clock[0] += 70
    found = viewcache.explain(request)
    assert (found.verdict, found.reason) == ("stale", "timed-out")
    assert (
        "STALE: its time was over 10 seconds ago. For another 20 seconds it is served while one "
        "request renders it anew. For another 290 seconds it is served where the view fails."
    ) in str(found).replace("5 minutes", "290 seconds")
    clock[0] += 30
    found = viewcache.explain(request)
    assert (found.verdict, found.reason) == ("miss", "timed-out")
    assert "it is served where the view fails" in str(found)
    client.get("/page/")
    viewcache.expire(tree="/", soft=True)
    found = viewcache.explain(request)
    assert (found.verdict, found.reason, found.scope) == ("stale", "soft-expired", "tree:/")
    # Nobody was kept from rendering by being explained.
    assert client.get("/page/").content == b"3"
