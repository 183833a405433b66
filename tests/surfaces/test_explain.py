"""``viewcache.explain()`` and ``manage.py viewcache explain``."""

from __future__ import annotations

import json
from io import StringIO
from typing import Any

import pytest
import viewcache
from django.conf import settings
from django.contrib.auth import get_user_model
from django.contrib.auth.models import AnonymousUser
from django.core.cache import cache
from django.core.exceptions import DisallowedHost
from django.core.management import CommandError, call_command
from django.test import AsyncRequestFactory, Client, RequestFactory, override_settings
from django.utils import translation
from surfaces.conftest import MIDDLEWARE, WITHOUT
from surfaces.site import calls, opened
from viewcache import explaining, telling
from viewcache.explanation import Explanation, SetCookie

pytestmark = pytest.mark.usefixtures("site")


def explain(path: str, *, render: bool = False, **headers: str) -> Explanation:
    return viewcache.explain(RequestFactory().get(path, headers=headers), render=render)


def tell(*args: str) -> str:
    out = StringIO()
    call_command("viewcache", "explain", *args, stdout=out)
    return out.getvalue()


def entries() -> dict[str, Any]:
    """What is in the cache."""
    return dict(cache._cache)  # type: ignore[attr-defined]


def inputs(told: Explanation, kind: str) -> dict[str, tuple[bool | None, str]]:
    return {item.name: (item.in_key, item.why) for item in told.inputs if item.kind == kind}


# -- Hit or miss, and why -------------------------------------------------------------------------


def test_a_page_that_was_never_stored() -> None:
    told = explain("/plain/")
    assert (told.verdict, told.reason) == ("miss", "uri-miss")
    assert told.recipe is None
    assert told.view == "surfaces.site.plain"
    assert told.asked_by == ("middleware",)
    assert [(scope.scope, scope.has_generation) for scope in told.scopes] == [
        ("tree:/", False),
        ("path:/plain/", False),
    ]
    assert calls["plain"] == 0


def test_a_hit() -> None:
    Client().get("/plain/")
    told = explain("/plain/")
    assert told.verdict == "hit"
    assert told.page is not None
    assert told.page.size == len("plain")
    assert told.page.key in told.page_keys
    assert all(scope.has_generation for scope in told.scopes)
    assert calls["plain"] == 1
    assert "HIT: stored 0 seconds ago" in str(told)


def test_an_expired_page_names_the_scope() -> None:
    Client().get("/tagged/")
    viewcache.expire(tag="a")
    told = explain("/tagged/")
    assert (told.verdict, told.reason, told.scope) == ("miss", "expired", "tag:a")
    assert "tag:a was expired since" in str(told)


def test_a_generation_that_the_cache_lost() -> None:
    Client().get("/tagged/")
    site = viewcache.explain.__globals__["conf"].site()
    cache.delete(site.generation_keys(["tag:a"])[0])
    told = explain("/tagged/")
    assert (told.reason, told.scope) == ("generation-gone", "tag:a")
    assert [scope.scope for scope in told.scopes if not scope.has_generation] == ["tag:a"]


def test_another_variant() -> None:
    Client().get("/varying/", headers={"accept": "text/html"})
    told = explain("/varying/", accept="text/plain", user_agent="x")
    assert (told.verdict, told.reason) == ("miss", "vary-miss")
    assert inputs(told, "header") == {
        "accept": (True, "the response's Vary names it"),
        "user-agent": (False, "no response of this URL varied on it"),
    }


def test_what_is_not_looked_up() -> None:
    told = viewcache.explain(RequestFactory().post("/plain/"))
    assert (told.verdict, told.reason) == ("bypass", "method")
    assert told.inputs == ()


@override_settings(MIDDLEWARE=WITHOUT)
def test_a_view_that_nothing_caches() -> None:
    told = explain("/plain/")
    assert (told.verdict, told.reason) == ("bypass", "nothing asks the cache")
    assert told.asked_by == ()


@pytest.mark.parametrize("path", ["/plain/", "/tagged/"])
@override_settings(MIDDLEWARE=WITHOUT)
def test_a_rendering_that_nothing_caches(path: str) -> None:
    told = explain(path, render=True)
    assert (told.verdict, told.reason) == ("bypass", "nothing asks the cache")
    assert told.rendering is not None
    assert told.rendering.refusal == "nothing asks the cache"


def test_no_view_at_all() -> None:
    assert explain("/nothing/").answered == (404, None)
    assert explain("/plain").answered == (301, "/plain/")
    assert "No view is called: the site answers 404." in str(explain("/nothing/"))


@override_settings(SECURE_SSL_REDIRECT=True)
def test_middleware_that_answers_before_the_cache_is_asked() -> None:
    with override_settings(
        MIDDLEWARE=["django.middleware.security.SecurityMiddleware", *WITHOUT],
    ):
        told = explain("/plain/")
    assert told.answered == (301, "https://testserver/plain/")
    assert str(told).count("NOT ASKED") == 1


# -- Where the cache is asked ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "name"), [("/decorated/", "decorated"), ("/dispatch/", "dispatch")]
)
def test_the_decorator_alone(path: str, name: str) -> None:
    with override_settings(MIDDLEWARE=WITHOUT):
        assert explain(path).reason == "uri-miss"
        assert explain(path).asked_by == ("view",)
        assert calls[name] == 0
        Client().get(path)
        assert explain(path).verdict == "hit"


def test_the_decorator_within_the_middleware_shares_its_page() -> None:
    Client().get("/decorated/")
    told = explain("/decorated/")
    assert told.verdict == "hit"


def test_a_decorator_with_a_cache_of_its_own() -> None:
    Client().get("/elsewhere/?q=1&r=2")
    told = explain("/elsewhere/?q=1&r=3", cookie="theme=a; b=1")
    assert told.asked_by == ("middleware", "view")
    assert told.reason == "vary-miss"
    assert inputs(told, "query") == {
        "q": (True, "the view names it"),
        "r": (False, "the view does not name it in query=[…]"),
    }
    assert inputs(told, "cookie") == {
        "theme": (True, "the view names it"),
        "b": (False, "the view does not name it in cookies=[…]"),
    }
    assert explain("/elsewhere/?q=1").verdict == "hit"
    assert calls["elsewhere"] == 1


@override_settings(MIDDLEWARE=WITHOUT)
def test_the_mixin(monkeypatch: pytest.MonkeyPatch) -> None:
    assert explain("/mixed/").reason == "uri-miss"
    Client().get("/mixed/")
    assert explain("/mixed/").verdict == "hit"
    monkeypatch.setattr(AnonymousUser, "is_authenticated", True)
    assert explain("/mixed/").reason == "logged-in user"


# -- What enters the key --------------------------------------------------------------------------


def test_cookies_that_were_read_and_those_that_were_not() -> None:
    Client().get("/themed/")
    told = explain("/themed/?utm_source=x&page=2", cookie="djdt=hide; theme=dark")
    assert told.recipe is None  # it is another URL
    assert inputs(told, "query") == {
        "utm_source": (False, 'VIEWCACHE["IGNORE_QUERY"] names it'),
        "page": (True, "no rule leaves it out"),
    }
    assert inputs(told, "cookie")["djdt"] == (None, "the URL's recipe is not known")
    told = explain("/themed/", cookie="djdt=hide; theme=dark")
    assert told.recipe is not None
    assert told.recipe.cookies == ("theme",)
    assert inputs(told, "cookie") == {
        "theme": (True, "it was read"),
        "djdt": (False, "nothing that made a page of this URL read it"),
    }


@override_settings(VIEWCACHE={"IGNORE_COOKIES": ["_ga*"]})
def test_the_whole_cookie_header() -> None:
    Client().get("/every-cookie/")
    told = explain("/every-cookie/", cookie="_ga_1=x; a=1")
    assert inputs(told, "cookie") == {
        "_ga_1": (False, 'VIEWCACHE["IGNORE_COOKIES"] names it'),
        "a": (True, "pages of this URL vary on the whole Cookie header"),
    }


def test_the_language_is_that_of_the_sites_middleware() -> None:
    told = explain("/plain/", accept_language="fr")
    assert next(item.value for item in told.inputs if item.kind == "language") == "fr"


def test_a_language_that_is_asked_for_is_in_the_key_as_the_one_that_was_chosen() -> None:
    Client().get("/varying/")
    assert inputs(explain("/varying/", accept_language="fr"), "header")["accept-language"] == (
        False,
        "the language that was chosen is in the key instead",
    )


def test_what_the_settings_add_to_the_key() -> None:
    told = explain("/plain/")
    assert "release" not in inputs(told, "url")
    assert inputs(told, "time zone") == {"": (True, "USE_TZ is on")}
    with override_settings(VIEWCACHE={"RELEASE": "r7"}, USE_TZ=False):
        told = explain("/plain/")
    assert inputs(told, "url")["release"] == (True, 'VIEWCACHE["RELEASE"]')
    assert inputs(told, "time zone") == {}


def test_secrets_are_not_shown() -> None:
    told = explain("/themed/", cookie="sessionid=xyzzy; csrftoken=plugh", authorization="Basic abc")
    for text in (str(told), repr(told), json.dumps(told.as_dict())):
        assert not any(secret in text for secret in ("xyzzy", "plugh", "Basic abc"))
    other = explain("/themed/", cookie="sessionid=other")
    assert "xyzzy" not in repr(told.differences(other))


# -- Two visitors ---------------------------------------------------------------------------------


def test_the_order_of_cookies_makes_no_difference() -> None:
    Client().get("/themed/")
    text = tell(
        "/themed/",
        "--cookie=djdt=hide; csrftoken=a; theme=dark",
        "--against=theme=dark; csrftoken=b; djdt=hide",
    )
    assert "get the same page: no input of the key differs." in text
    assert "Their cookies come in another order" in text
    text = tell("/themed/", "--cookie=djdt=hide", "--against=csrftoken=b")
    assert "get the same page" in text
    assert "another order" not in text


def test_a_cookie_that_was_read_makes_one() -> None:
    Client().get("/themed/")
    text = tell("/themed/", "--cookie=theme=dark", "--against=djdt=hide")
    assert "cookie theme: dark and (absent)" in text
    Client().get("/every-cookie/")
    text = tell("/every-cookie/", "--cookie=a=1; a=2", "--against=a=2")
    assert "cookies of the same name" in text


def test_a_language_that_a_cookie_chose_makes_one() -> None:
    Client().get("/plain/")
    text = tell("/plain/", "--cookie=django_language=fr", "--against=django_language=en")
    assert "language: fr and en" in text


def test_a_secret_that_makes_one_is_not_shown() -> None:
    Client().get("/session/")
    text = tell("/session/", "--cookie=sessionid=xyzzy", "--against=sessionid=plugh")
    assert "cookie sessionid: another value" in text
    assert "xyzzy" not in text
    assert "plugh" not in text


def test_what_is_not_looked_up_is_not_compared() -> None:
    text = tell("/plain/", "--method=POST", "--cookie=a=1", "--against=a=2")
    assert "NOT CACHED: only GET and HEAD are cached." in text
    assert "These two requests are not looked up in the cache." in text


def test_before_anything_is_stored_only_a_rendering_can_tell() -> None:
    arguments = ("/themed/", "--cookie=theme=dark", "--against=theme=light")
    assert "cannot be compared" in tell(*arguments)
    assert "cookie theme: dark and light" in tell(*arguments, "--render")


# -- Rendering ------------------------------------------------------------------------------------


def test_rendering_tells_what_was_read_and_where() -> None:
    told = explain("/themed/", render=True)
    assert told.rendering is not None
    assert told.rendering.refusal is None
    assert told.rendering.timeout == 3600
    [read] = told.rendering.cookies
    assert read.name == "theme"
    assert "site.py:" in read.where
    assert told.verdict == "miss"
    assert "cookie theme was read at surfaces/site.py:" in str(told)


def test_rendering_tells_where_tags_and_tokens_come_from() -> None:
    told = explain("/tagged/", render=True)
    [tag] = [scope for scope in told.scopes if scope.scope == "tag:a"]
    assert "site.py:" in (tag.where or "")
    told = explain("/token/", render=True)
    assert told.rendering is not None
    assert "csrf.py:" in (told.rendering.csrf_token or "")
    assert ", for surfaces/site.py:" in str(told)


def test_rendering_tells_where_all_cookies_were_read() -> None:
    text = str(explain("/every-cookie/", render=True))
    assert "  all cookies were read at once at surfaces/site.py:" in text
    assert "no cookie was read" not in text


def test_rendering_tells_where_the_session_was_used() -> None:
    told = explain("/session/", render=True)
    assert told.rendering is not None
    assert "site.py:" in (told.rendering.session or "")
    assert "the session, and so its cookie, was used at surfaces/site.py:" in str(told)


@pytest.mark.parametrize(
    ("path", "refusal"),
    [
        ("/private/", "Cache-Control: private"),
        ("/with-cookie/", "Set-Cookie"),
        ("/away/", "status 302"),
        ("/broken/", "status 500"),
        ("/nothing/", "status 404"),
    ],
)
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_rendering_names_the_rule_that_refused(path: str, refusal: str) -> None:
    told = explain(path, render=True)
    assert told.rendering is not None
    assert told.rendering.refusal == refusal
    assert told.rendering.timeout is None
    shown = telling.refusal(refusal, told.rendering.sets)
    assert f"  It may not be stored: {shown}" in str(told)
    assert "It may be stored" not in str(told)


def test_rendering_names_the_cookies_that_refused_and_who_set_them() -> None:
    told = explain("/welcome/", render=True, cookie="seen=1")
    assert told.rendering is not None
    # What metrics and logs count by stays a code.
    assert told.rendering.refusal == "Set-Cookie"
    assert told.rendering.sets == (SetCookie("visitor", is_new=True, set_by="the view"),)
    assert "the response sets the cookie visitor, so it belongs to one visitor." in str(told)
    text = str(explain("/welcome/", render=True))
    assert "the response sets the cookies visitor and seen, so it belongs to one visitor." in text
    assert "cookie seen was set by the view" in text
    assert "again with --cookie 'visitor=value; seen=value'" in text
    told = explain("/welcome/", render=True, cookie="seen=1; visitor=1")
    assert told.rendering is not None
    assert (told.rendering.refusal, told.rendering.sets) == (None, ())
    text = str(explain("/with-cookie/", render=True, cookie="a=1"))
    assert "the response sets the cookie a, so" in text
    assert "ask again" not in text


def test_rendering_tells_cookies_of_the_view_from_those_of_middleware() -> None:
    with override_settings(MIDDLEWARE=[MIDDLEWARE[0], "surfaces.site.greets", *MIDDLEWARE[1:]]):
        text = str(explain("/plain/", render=True))
        assert "cookie greeted was set by middleware" in text
        with override_settings(VIEWCACHE={"VARY_ON_READ": False}):
            text = str(explain("/plain/", render=True))
    assert "the response sets the cookie greeted" in text
    assert "was set by" not in text


def test_a_page_that_is_refused_tells_what_its_key_would_not_have() -> None:
    told = explain("/welcome/", render=True)
    assert told.rendering is not None
    assert [item.name for item in told.rendering.unkeyed] == ["x-app"]
    assert "NOT IN THE KEY: the header x-app, read at surfaces/site.py:" in str(told)
    with override_settings(VIEWCACHE={"IGNORE_COOKIES": ["visitor"]}):
        told = explain("/welcome/", render=True)
    assert told.rendering is not None
    assert {item.name for item in told.rendering.unkeyed} == {"x-app", "visitor"}
    with override_settings(VIEWCACHE={"VARY_ON_READ": False, "AUDIT": True}):
        told = explain("/welcome/", render=True)
    assert told.rendering is not None
    assert {item.name for item in told.rendering.unkeyed} == {"x-app", "visitor", "seen"}


def test_a_page_that_nobody_may_store_depends_on_what_it_likes() -> None:
    told = explain("/for-me/", render=True)
    assert told.rendering is not None
    assert (told.rendering.refusal, told.rendering.unkeyed) == ("Cache-Control: private", ())


def test_a_page_without_its_store_half() -> None:
    fetch_only = [*WITHOUT, "viewcache.middleware.FetchFromCacheMiddleware"]
    with override_settings(MIDDLEWARE=fetch_only):
        told = explain("/plain/", render=True)
    assert told.rendering is not None
    assert told.rendering.refusal == "nothing stores it"


@pytest.mark.parametrize(
    "path", ["/themed/", "/tagged/", "/token/", "/decorated/", "/elsewhere/", "/mixed/"]
)
def test_nothing_is_changed(path: str) -> None:
    before = entries()
    explain(path, render=True)
    assert entries() == before
    Client().get(path)
    before = entries()
    told = explain(path, render=True)
    assert told.verdict == "hit"
    assert told.rendering is not None
    assert told.rendering.refusal is None
    assert entries() == before


def test_what_a_rendering_has_opened_is_closed() -> None:
    told = explain("/attached/", render=True)
    assert told.rendering is not None
    assert told.rendering.refusal == "streaming"
    assert opened.pop().closed


def test_only_what_changes_nothing_is_rendered() -> None:
    with pytest.raises(ValueError, match="POST is not rendered"):
        viewcache.explain(RequestFactory().post("/plain/"), render=True)


def test_explaining_within_a_request_leaves_it_alone() -> None:
    request = RequestFactory().get("/themed/", headers={"cookie": "theme=a"})
    with translation.override("fr"):
        viewcache.explain(request, render=True)
        assert translation.get_language() == "fr"
    assert not hasattr(request, "session")
    assert "_viewcache" not in request.__dict__


def test_what_cannot_be_seen_is_said() -> None:
    assert ", but the response says Vary: Cookie" in str(explain("/vary-on-cookie/", render=True))
    with override_settings(VIEWCACHE={"VARY_ON_READ": False}):
        assert "is not watched" in str(explain("/themed/", render=True))


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(-1, "0 seconds"), (119, "119 seconds"), (3600, "60 minutes"), (86400, "24 hours")],
)
def test_durations(seconds: float, shown: str) -> None:
    assert telling._duration(seconds) == shown


def test_a_request_of_an_async_server() -> None:
    Client().get("/plain/?q=é")
    request = AsyncRequestFactory().get("/plain/", {"q": "é"}, headers={"cookie": "a=1"})
    told = viewcache.explain(request)
    assert told.verdict == "hit"
    assert told.cookie_order == ("a",)


async def _aexplain() -> Explanation:
    return await viewcache.aexplain(RequestFactory().get("/plain/"))


def test_async() -> None:
    from asgiref.sync import async_to_sync

    assert async_to_sync(_aexplain)().reason == "uri-miss"


@pytest.mark.django_db(transaction=True)
@override_settings(VIEWCACHE={"TRACK": True})
def test_what_queries_read_is_among_the_scopes() -> None:
    before = entries()
    told = explain("/users/", render=True)
    assert told.rendering is not None
    assert told.rendering.refusal is None
    [rows] = [scope for scope in told.scopes if scope.scope == "rows:auth_user"]
    assert (rows.query or "").startswith('SELECT "auth_user"."username"')
    assert "site.py:" in (rows.where or "")
    assert "read at surfaces/site.py:" in str(told)
    assert entries() == before
    Client().get("/users/")
    assert explain("/users/").verdict == "hit"
    get_user_model().objects.create(username="a")
    told = explain("/users/")
    assert (told.reason, told.scope) == ("expired", "rows:auth_user")


@pytest.mark.django_db(transaction=True)
@override_settings(VIEWCACHE={"TRACK": True})
def test_a_page_that_writes_before_it_reads_expires_itself() -> None:
    ann = get_user_model().objects.create(username="ann").pk
    told = explain(f"/users/{ann}/before/", render=True)
    assert told.rendering is not None
    [written] = told.rendering.written
    assert (written.table, written.columns) == ("auth_user", ("last_name",))
    assert "EXPIRES ITSELF: auth_user.last_name written at surfaces/" in str(told)
    # The recipe has named the row: it is read before the view begins.
    seen = [Client().get(f"/users/{ann}/before/").content for _ in range(4)]
    assert len(set(seen[1:])) == 3


@pytest.mark.django_db(transaction=True)
@override_settings(VIEWCACHE={"TRACK": True})
def test_a_page_that_expires_itself_says_by_what() -> None:
    users = get_user_model().objects
    ann, bob = users.create(username="ann").pk, users.create(username="bob").pk
    told = explain(f"/users/{ann}/", render=True)
    assert told.rendering is not None
    [written] = told.rendering.written
    assert (written.table, written.columns) == ("auth_user", ("last_name", "email"))
    assert "site.py:" in (written.where or "")
    text = str(told)
    assert "EXPIRES ITSELF: auth_user.last_name and auth_user.email written at surfaces/" in text
    assert "QUIET = {'auth_user': ['last_name', 'email']}" in text
    # In one transaction, whatever comes first.
    told = explain(f"/users/{bob}/first/", render=True)
    assert told.rendering is not None
    [written] = told.rendering.written
    assert (written.table, written.columns) == ("auth_user", ("last_name",))
    told = explain("/users/new/", render=True)
    assert told.rendering is not None
    assert [(each.table, each.columns) for each in told.rendering.written] == [("auth_user", ())]
    assert "auth_user written at" in str(told)
    assert "QUIET = {'auth_user': None}" in str(told)


@pytest.mark.django_db(transaction=True)
@override_settings(
    VIEWCACHE={"TRACK": True, "QUIET": {"auth_user": ["last_name", "email"]}},
)
def test_a_counter_that_is_quiet_expires_nothing() -> None:
    ann = get_user_model().objects.create(username="ann").pk
    for url in (f"/users/{ann}/", f"/users/{ann}/first/"):
        told = explain(url, render=True)
        assert told.rendering is not None
        assert (told.rendering.refusal, told.rendering.written) == (None, ())
    # It counts renders: a hit runs no view.
    for _ in range(3):
        Client().get(f"/users/{ann}/")
    assert get_user_model().objects.get(pk=ann).last_name == "||"


@pytest.mark.parametrize(
    ("sql", "columns"),
    [
        (
            'UPDATE "t" SET "a" = ("t"."a" + 1), "b" = COALESCE("c", (1 = 2)) WHERE "t"."id" = 1',
            "ab",
        ),
        ("update `t` set `a` = `t`.`a` + 1", "a"),
        ("UPDATE [t] SET [a] = 1 WHERE b = 2", "a"),
        ('INSERT INTO "t" ("a") VALUES (1)', ""),
    ],
)
def test_the_columns_that_a_statement_sets(sql: str, columns: str) -> None:
    assert explaining._columns(sql) == tuple(columns)


# -- The command ----------------------------------------------------------------------------------


def test_json() -> None:
    Client().get("/themed/")
    told = json.loads(tell("/themed/", "--json", "--cookie=a=1", "--against=theme=dark"))
    assert told["verdict"] == "hit"
    assert told["recipe"]["cookies"] == ["theme"]
    assert told["differences"] == [
        {"kind": "cookie", "name": "theme", "here": None, "there": "dark"}
    ]
    assert told["against"]["verdict"] == "miss"
    alone = json.loads(tell("/themed/", "--json"))
    assert alone["verdict"] == "hit"
    assert not {"against", "differences"} & set(alone)


def test_the_url_may_be_a_path_or_full() -> None:
    assert "GET http://testserver/plain/" in tell("/plain/")
    assert "GET https://www.example.com/plain/?a=1" in tell("https://www.example.com/plain/?a=1")
    assert "GET http://a.example.org/plain/" in tell("/plain/", "--host=a.example.org")
    assert "HEAD http" in tell("/plain/", "--method=head")
    assert "path       /caf%C3%A9/" not in tell("/caf%C3%A9/")
    assert "path       /café/" in tell("/caf%C3%A9/")
    with override_settings(SECURE_PROXY_SSL_HEADER=("HTTP_X_FORWARDED_PROTO", "https")):
        assert "GET https://testserver/plain/" in tell("https://testserver/plain/")


@pytest.mark.parametrize(
    ("allowed", "host"),
    [
        (["*"], "localhost"),
        ([], "localhost"),
        (["*", "www.example.com"], "www.example.com"),
        ([".example.org", "www.example.com"], "example.org"),
    ],
)
def test_a_path_is_asked_for_at_the_first_host_that_is_named(allowed: list[str], host: str) -> None:
    with override_settings(ALLOWED_HOSTS=allowed, DEBUG=not allowed):
        assert f"GET http://{host}/plain/" in tell("/plain/")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["plain/"], "'plain/' is a relative path. Begin it with a slash."),
        ([""], "'' is no URL of this site. Give a path such as /blog/."),
        (["ftp://testserver/"], "is no URL of this site"),
        (["//testserver/"], "has no scheme"),
        (["http://[x/"], "is no URL: Invalid IPv6 URL."),
        (["http://evil.test/"], "Invalid HTTP_HOST header: 'evil.test'"),
        (["/plain/", "--header=nonsense"], "'nonsense' is no header"),
        (["/plain/", "--method=POST", "--render"], "POST is not rendered"),
    ],
)
def test_bad_input_is_one_clear_line(arguments: list[str], message: str) -> None:
    with pytest.raises(CommandError, match=r".") as caught:
        tell(*arguments)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_wrong_alias() -> None:
    with (
        override_settings(CACHE_MIDDLEWARE_ALIAS="nowhere"),
        pytest.raises(CommandError, match="nowhere"),
    ):
        tell("/plain/")
    with (
        override_settings(CACHES={"default": settings.CACHES["default"]}),
        pytest.raises(CommandError, match="other"),
    ):
        tell("/elsewhere/")


def test_a_cache_that_is_down() -> None:
    down = {"BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": "redis://[::1]:1"}
    with (
        override_settings(CACHES={"default": down}),
        pytest.raises(CommandError, match="ConnectionError: ") as caught,
    ):
        tell("/plain/")
    assert "\n" not in str(caught.value)


def test_a_host_that_is_not_the_sites() -> None:
    with pytest.raises(DisallowedHost):
        viewcache.explain(RequestFactory().get("/plain/", headers={"host": "evil.test"}))
