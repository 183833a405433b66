"""
Pages that show a session: each change of it, whoever makes it, is seen by the next request, and
costs nobody else a page.
"""

from __future__ import annotations

import subprocess
import sys
from io import StringIO
from typing import Any

import pytest
from backends import Backend
from django.contrib.sessions.models import Session
from django.core.cache import caches
from django.core.management import call_command
from django.db import connection, transaction
from django.test import Client
from django.utils import timezone
from viewcache import _core, conf, session_engines, shared
from viewcache.store import Store

from tests.sessions.conftest import Shop, key_of, store, use_engine

pytestmark = pytest.mark.django_db(transaction=True)

WAYS = ["site", "view", "async site", "async view"]
READS_BEFORE = "tests.sessions.test_sessions.reads_before"


def reads_before(get_response: Any) -> Any:
    """A middleware that has read the session before the cache is asked."""

    def middleware(request: Any) -> Any:
        request.size = len(request.session.get("cart", []))
        return get_response(request)

    return middleware


@pytest.mark.parametrize("way", WAYS)
def test_a_cart_is_never_old(settings: Any, engine: str, track: bool, way: str) -> None:
    shop = Shop(settings, way)
    names = ("acart", "aadd") if shop.is_async else ("cart", "add")
    visitor = shop.visitor()
    shop.get(visitor, f"/{names[1]}/?p=a")
    for expected, new in (("a", "b"), ("a,b", "c"), ("a,b,c", "d")):
        assert shop.get(visitor, f"/{names[0]}/") == f"cart {expected}"
        assert shop.settle(visitor, f"/{names[0]}/") == f"cart {expected}"
        shop.get(visitor, f"/{names[1]}/?p={new}", "post")


@pytest.mark.parametrize("middleware", [(), (READS_BEFORE,)])
def test_who_replays_a_cookie_after_the_logout_is_nobody(
    settings: Any, kept: str, track: bool, anna: Any, middleware: tuple[str, ...]
) -> None:
    shop = Shop(settings, middleware=middleware)
    visitor = shop.visitor()
    visitor.force_login(anna)
    key = key_of(visitor)
    assert shop.settle(visitor, "/who/") == "account of anna"
    shop.get(visitor, "/out/", "post")
    replayed = shop.visitor()
    replayed.cookies["sessionid"] = key
    assert shop.get(replayed, "/who/") == "account of nobody"
    visitor.force_login(anna)
    assert shop.settle(visitor, "/who/") == "account of anna"


@pytest.mark.parametrize("way", WAYS)
def test_a_hit_tells_caches_on_the_way_whose_it_is(settings: Any, kept: str, way: str) -> None:
    shop = Shop(settings, way)
    visitor = shop.visitor()
    shop.get(visitor, "/add/?p=a")
    shop.settle(visitor, "/cart/")
    for url, vary in (("/cart/", "Cookie"), ("/shared/", "")):
        shop.settle(visitor, url)
        assert shop.headers.get("Vary", "") == vary


def test_messages_are_shown_once(settings: Any, kept: str, track: bool) -> None:
    shop = Shop(settings)
    visitor = shop.visitor()
    shop.get(visitor, "/add/?p=a")
    assert shop.settle(visitor, "/said/") == "said "
    shop.get(visitor, "/say/?p=hello")
    assert shop.get(visitor, "/said/") == "said hello"
    assert shop.settle(visitor, "/said/") == "said "


def test_what_reads_the_session_before_the_look_up(settings: Any, kept: str, track: bool) -> None:
    shop = Shop(settings, middleware=(READS_BEFORE,))
    visitor = shop.visitor()
    shop.get(visitor, "/add/?p=a")
    shop.settle(visitor, "/cart/")
    shop.get(visitor, "/add/?p=b")
    assert shop.get(visitor, "/cart/") == "cart a,b"
    assert shop.settle(visitor, "/cart/") == "cart a,b"


def test_what_is_read_before_a_view_that_is_cached_by_itself(settings: Any, kept: str) -> None:
    shop = Shop(settings, "view", middleware=(READS_BEFORE,))
    visitor = shop.visitor()
    shop.get(visitor, "/add/?p=a")
    shop.settle(visitor, "/cart/")
    shop.get(visitor, "/add/?p=b")
    assert shop.settle(visitor, "/cart/") == "cart a,b"


@pytest.mark.parametrize("middleware", [(), (READS_BEFORE,)])
@pytest.mark.parametrize("way", ["site", "view"])
def test_a_change_between_the_load_and_the_store(
    settings: Any,
    kept: str,
    track: bool,
    way: str,
    middleware: tuple[str, ...],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shop = Shop(settings, way, middleware)
    visitor = shop.visitor()
    shop.get(visitor, "/add/?p=a")
    made = shared.cut

    def is_made() -> bool:
        return shared.cut is made

    for item in "bcd":
        # The view has read the session; its response is about to be stored.
        def change(*args: Any, item: str = item) -> Any:
            monkeypatch.setattr(shared, "cut", made)
            of_another = store()(key_of(visitor))
            of_another["cart"] = [*of_another["cart"], item]
            of_another.save()
            return made(*args)

        monkeypatch.setattr(shared, "cut", change)
        url = f"/cart/?before={item}"
        # A first page is not stored where the session was read before the look-up.
        before = next(shown for _ in range(4) if (shown := shop.get(visitor, url)) and is_made())
        assert shop.get(visitor, url) == f"{before},{item}"


def test_a_change_between_the_load_and_the_look_up(settings: Any, kept: str) -> None:
    """By a middleware that reads, and whose request is late."""
    shop = Shop(settings, middleware=(READS_BEFORE, f"{__name__}.changes_before"))
    visitor = shop.visitor()
    shop.get(visitor, "/add/?p=a")
    shop.settle(visitor, "/cart/")
    changes_now.append(key_of(visitor))
    shop.get(visitor, "/cart/")
    assert not changes_now
    assert shop.get(visitor, "/cart/") == "cart late"


changes_now: list[str] = []


def changes_before(get_response: Any) -> Any:
    def middleware(request: Any) -> Any:
        while changes_now:
            of_another = store()(changes_now.pop())
            of_another["cart"] = ["late"]
            of_another.save()
        return get_response(request)

    return middleware


@pytest.mark.parametrize("change", ["save", "in place", "delete", "flush", "cycle_key"])
def test_code_beside_requests(settings: Any, kept: str, change: str) -> None:
    shop = Shop(settings)
    visitor = shop.visitor()
    shop.get(visitor, "/add/?p=a")
    shop.settle(visitor, "/cart/")
    session = store()(key_of(visitor))
    if change == "save":
        session["cart"] = []
        session.save()
    elif change == "in place":
        session["cart"].clear()
        session.save()
    else:
        getattr(session, change)()
    assert shop.get(visitor, "/cart/") == "cart "


@pytest.mark.parametrize("kept", ["db"], indirect=True)
def test_the_rows_of_sessions(settings: Any, kept: str) -> None:
    shop = Shop(settings)
    visitor = shop.visitor()
    shop.get(visitor, "/add/?p=a")
    shop.settle(visitor, "/cart/")
    Session.objects.filter(expire_date__lt=timezone.now()).delete()
    call_command("clearsessions")
    shop.get(visitor, "/cart/")
    assert shop.status == "hit"
    Session.objects.all().delete()
    assert shop.get(visitor, "/cart/") == "cart "


def test_others_keep_their_pages(settings: Any, engine: str, track: bool) -> None:
    shop = Shop(settings)
    one, other = shop.visitor(), shop.visitor()
    for visitor, item in ((one, "a"), (other, "b")):
        shop.get(visitor, f"/add/?p={item}")
        shop.get(visitor, "/shared/")
        shop.settle(visitor, "/cart/")
    for _ in range(2):
        shop.get(one, "/add/?p=c")
        shop.get(one, "/shared/")
        assert shop.status == "hit"
        shop.get(other, "/shared/")
        assert shop.status == "hit"
        shop.get(other, "/cart/")
        assert shop.status == "hit"


def test_a_session_that_is_saved_unchanged_keeps_its_pages(settings: Any, kept: str) -> None:
    settings.SESSION_SAVE_EVERY_REQUEST = True
    shop = Shop(settings)
    visitor = shop.visitor()
    shop.get(visitor, "/add/?p=a")
    for _ in range(3):
        assert shop.settle(visitor, "/cart/") == "cart a"
        shop.get(visitor, "/shared/")
        shop.get(visitor, "/cart/")
        assert shop.status == "hit"


def test_what_is_changed_in_place_is_saved_with_every_request(settings: Any, kept: str) -> None:
    settings.SESSION_SAVE_EVERY_REQUEST = True
    shop = Shop(settings, middleware=(f"{__name__}.appends",))
    visitor = shop.visitor()
    shop.get(visitor, "/add/?p=a")
    assert shop.settle(visitor, "/cart/") == "cart a"
    shop.get(visitor, "/shared/?append=b")
    assert shop.settle(visitor, "/cart/") == "cart a,b"


def appends(get_response: Any) -> Any:
    def middleware(request: Any) -> Any:
        if item := request.GET.get("append"):
            request.session["cart"].append(item)
        return get_response(request)

    return middleware


@pytest.mark.parametrize("kept", ["db", "cached_db", "cache"], indirect=True)
@pytest.mark.parametrize("rolls_back", [False, True])
def test_a_transaction(settings: Any, kept: str, rolls_back: bool) -> None:
    shop = Shop(settings)
    visitor = shop.visitor()
    shop.get(visitor, "/add/?p=a")
    shop.settle(visitor, "/cart/")
    with transaction.atomic():
        session = store()(key_of(visitor))
        session["cart"] = []
        session.save()
        transaction.set_rollback(rolls_back)
    shown = shop.get(visitor, "/cart/")
    if kept == "db" and rolls_back:
        assert (shop.status, shown) == ("hit", "cart a")
    else:
        # A cache knows of no transaction.
        assert (shop.status, shown) == ("stored", "cart ")


def test_a_cache_that_is_down_breaks_no_request(
    settings: Any, kept: str, monkeypatch: pytest.MonkeyPatch, caplog: Any
) -> None:
    shop = Shop(settings)
    visitor = shop.visitor()

    def fail(*args: Any, **kwargs: Any) -> Any:
        raise ConnectionError("down")

    monkeypatch.setattr(Store, "write", fail)
    shop.get(visitor, "/add/?p=a")
    assert "viewcache could not expire session:" in caplog.text
    assert key_of(visitor) not in caplog.text


def test_the_key_is_nowhere_in_clear(settings: Any, caplog: Any) -> None:
    use_engine(settings, "db", None)
    caplog.set_level("DEBUG", "viewcache")
    settings.VIEWCACHE = {"CACHE_STATUS": "debug", "RECORD_EXPIRIES": 50}
    settings.DEBUG = True
    shop = Shop(settings)
    visitor = shop.visitor()
    shop.get(visitor, "/add/?p=a")
    shop.settle(visitor, "/cart/")
    shop.get(visitor, "/add/?p=b")
    key = key_of(visitor)
    answer = visitor.get("/cart/")
    assert "session:" in answer["Cache-Status"]
    assert key not in answer["Cache-Status"]
    for name, value in caches["default"]._cache.items():
        assert key not in name
        assert key.encode() not in value
    assert key not in caplog.text
    shop.get(visitor, "/add/?p=c")
    out = StringIO()
    call_command(
        "viewcache", "explain", "http://testserver/cart/", cookie=f"sessionid={key}", stdout=out
    )
    assert "the page was stored, and the visitor's session was expired since" in out.getvalue()


@pytest.mark.parametrize("backend", ["redis"], indirect=True)
def test_what_it_costs(settings: Any, backend: Backend) -> None:
    use_engine(settings, "db", None)
    shop = Shop(settings)
    visitor, nobody = shop.visitor(), shop.visitor()
    shop.get(visitor, "/add/?p=a")
    for url in ("/cart/", "/shared/"):
        shop.settle(visitor, url)
        with backend.counting() as sent:
            shop.get(visitor, url)
        assert (shop.status, dict(sent)) == ("hit", {"mget": 1})
    with backend.counting() as sent:
        shop.get(visitor, "/add/?p=b", "post")
    assert sum(sent.values()) == 1, sent
    with backend.counting() as sent:
        shop.get(nobody, "/shared/")
    assert dict(sent) == {"mget": 1}
    # As many as there are visitors: each is forgotten some day.
    kept_for = conf.site().generation_keys([_core.scope_of_session(key_of(visitor))])
    assert caches["default"].has_key(kept_for[0])
    assert "viewcache.g1.s." in kept_for[0]


@pytest.mark.parametrize("backend", ["redis"], indirect=True)
def test_a_shared_page_costs_a_visitor_no_more(settings: Any, backend: Backend) -> None:
    use_engine(settings, "db", None)
    shop = Shop(settings)
    visitor, nobody = shop.visitor(), shop.visitor()
    shop.get(visitor, "/add/?p=a")
    shop.get(nobody, "/shared/")
    counts = []
    for client, url in ((nobody, "/shared/?n=1"), (visitor, "/shared/?n=2")):
        with backend.counting() as sent:
            shop.get(client, url)
        counts.append(dict(sent))
    assert counts[0] == counts[1]


def test_a_quoted_cookie_is_the_same_session(settings: Any, kept: str) -> None:
    shop = Shop(settings)
    visitor = shop.visitor()
    shop.get(visitor, "/add/?p=a")
    key = key_of(visitor)
    quoted = Client(headers={"cookie": f'sessionid="{key}"'})
    assert shop.settle(quoted, "/cart/") == "cart a"
    shop.get(visitor, "/add/?p=b")
    assert shop.get(quoted, "/cart/") == "cart a,b"


def test_an_engine_is_followed_once(settings: Any, kept: str) -> None:
    session_engines.connect()
    before = vars(store()).copy()
    session_engines.connect()
    assert vars(store()) == before


def test_a_view_may_be_decorated_before_there_are_models() -> None:
    program = (
        "from django.conf import settings\n"
        "apps = ['django.contrib.contenttypes', 'django.contrib.sessions']\n"
        "settings.configure(INSTALLED_APPS=apps)\n"
        "from viewcache.decorators import cache_page\n"
        "cache_page(60)(print)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("way", WAYS)
def test_the_first_page_of_a_session_is_kept(
    settings: Any, kept: str, track: bool, way: str
) -> None:
    """Its generation is read just before the engine loads the data."""
    shop = Shop(settings, way)
    visitor = shop.visitor()
    shop.get(visitor, "/add/?p=a")
    url = "/acart/" if shop.is_async else "/cart/"
    shop.get(visitor, url)
    assert (shop.status, shop.reason) == ("stored", "")
    shop.get(visitor, url)
    assert shop.status == "hit"


@pytest.mark.parametrize("kept", ["db", "cached_db"], indirect=True)
def test_a_transaction_that_may_see_an_older_session(
    settings: Any, kept: str, track: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it loads may be older than a generation that is read within."""
    monkeypatch.setitem(connection.settings_dict, "ATOMIC_REQUESTS", True)
    monkeypatch.setitem(connection.settings_dict["OPTIONS"], "transaction_mode", "DEFERRED")
    shop = Shop(settings)
    visitor = shop.visitor()
    shop.get(visitor, "/add/?p=a")
    shop.get(visitor, "/counted/")
    assert (shop.status, shop.reason) == ("miss", "session read before its generation")
    for url in ("/counted/", "/cart/"):
        assert shop.settle(visitor, url).endswith("a")
    shop.get(visitor, "/add/?p=b", "post")
    assert shop.get(visitor, "/counted/").endswith("a,b")
