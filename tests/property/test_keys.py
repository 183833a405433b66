"""
Keys, over odd requests: Django's own are compared with those of the installed Django, ours with a
plain tuple of what a key is made of.
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import contextmanager
from contextvars import Context
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import parse_qsl

import pytest
import viewcache
from asgiref.local import Local
from django.core.cache import CacheKeyWarning, caches
from django.core.handlers.asgi import ASGIRequest
from django.core.handlers.wsgi import WSGIRequest
from django.http import HttpRequest, HttpResponse, QueryDict, parse_cookie
from django.test import RequestFactory, override_settings
from django.utils import cache as django_cache
from django.utils import timezone, translation
from hypothesis import example, given, settings
from hypothesis import strategies as st
from viewcache import _core
from viewcache import request as canonical

pytestmark = pytest.mark.filterwarnings(f"ignore::{CacheKeyWarning.__module__}.CacheKeyWarning")

LOCMEM = "django.core.cache.backends.locmem.LocMemCache"

# White space as Python and as Rust see it, delimiters, what is not latin-1, what is not a letter.
ODD = " \t\x0b\x0c\x1c\x1d\x1f\x85\xa0\u2028\u180e\u200b=;,\"\\%+&'é☃😀\x00\x7fAa0"
odd_text = st.text(st.sampled_from(ODD) | st.characters(exclude_categories=["Cs"]), max_size=6)
plain_text = st.text("abAB09-_.", min_size=1, max_size=4)

# -- Cookies --------------------------------------------------------------------------------------

cookie_name = st.sampled_from(["a", "b", "A", "ab", "é", "sessionid", "csrftoken", "__Host-a"])
cookie_value = st.text('ab=" \\,:-%é0', max_size=4)
cookie = st.tuples(cookie_name | st.just(""), cookie_value).filter(any)
raw_cookies = st.text(st.sampled_from('ab=; \t\x1c\x85\xa0",\\073é☃'), max_size=20)


def parsed(header: str, space: str | None = None) -> list[tuple[str, str]]:
    """What ``parse_cookie`` splits a header into, before it unquotes and drops namesakes."""
    pairs = []
    for chunk in header.split(";"):
        name, equals, value = chunk.partition("=")
        if not equals:
            name, value = "", chunk
        pair = (name.strip(space), value.strip(space))
        if any(pair):
            pairs.append(pair)
    return pairs


#: White space whatever the encoding: the byte 0x85 may be part of a letter.
SPACE = " \t\n\x0b\x0c\r\x1c\x1d\x1e\x1f"


def in_order(header: str) -> str:
    """The header in canonical order; as it is where a name is not ASCII."""
    pairs = sorted(parsed(header, SPACE), key=lambda pair: pair[0])
    if not all(name.isascii() for name, _ in pairs):
        return header
    return "; ".join(f"{name}={value}" if name or "=" in value else value for name, value in pairs)


@given(raw_cookies | odd_text | st.lists(cookie).map(lambda c: "; ".join(map("=".join, c))))
@example("a=1;;; b ;=c;=a=b; a=2")
@example('b="x;y"; a="\\073"')
def test_canonical_cookies_show_a_view_what_the_header_showed(header: str) -> None:
    canonical_header = viewcache._core.canonical_cookies(header)
    assert canonical_header == in_order(header)
    assert parse_cookie(canonical_header) == parse_cookie(header)
    assert viewcache._core.canonical_cookies(canonical_header) == canonical_header


@given(st.lists(cookie, max_size=6), st.randoms(use_true_random=False), st.data())
def test_cookies_in_any_order_give_one_key(
    cookies: list[tuple[str, str]], random: Any, data: st.DataObject
) -> None:
    shuffled = list(cookies)
    random.shuffle(shuffled)
    # Same-named ones keep the order they came in, because the last one wins.
    by_name = {name: iter([c for c in cookies if c[0] == name]) for name, _ in cookies}
    other = [next(by_name[name]) for name, _ in shuffled]
    separator = data.draw(st.sampled_from(["; ", ";", " ;  ", ";;"]))
    keys = {
        _keys_of_cookies(joined.join(f"{name}={value}" for name, value in order))
        for joined, order in (("; ", cookies), (separator, other))
    }
    djangos, ours = map(set, zip(*keys, strict=True))
    assert len(ours) == 1
    if all(name.isascii() for name in by_name):
        assert len(djangos) == 1


@given(st.lists(st.lists(cookie, min_size=1, max_size=3), min_size=2, max_size=8))
@example([[("", "a=b")], [("a", "b")]])
@example([[("a", "1"), ("a", "2")], [("a", "2"), ("a", "1")]])
def test_different_cookies_never_share_a_key(visitors: list[list[tuple[str, str]]]) -> None:
    # A header of nothing but white space is absent to some of Django's recipes.
    headers = ["; ".join(f"{name}={value}" for name, value in cookies) for cookies in visitors]
    headers = [header for header in headers if parsed(header)]
    told_apart = {tuple(sorted(parsed(header), key=lambda pair: pair[0])) for header in headers}
    assert len({_keys_of_cookies(header) for header in headers}) == len(told_apart)


def _keys_of_cookies(header: str) -> tuple[str, str]:
    """Django's key and ours, of a page that varies on its cookies."""
    request = RequestFactory().get("/", HTTP_COOKIE=header)
    with override_settings(CACHES={"default": {"BACKEND": LOCMEM}}, ALLOWED_HOSTS=["*"]):
        djangos = viewcache.learn_cache_key(request, HttpResponse(headers={"Vary": "Cookie"}))
        ours = Fields(cookies=None).key({"HTTP_COOKIE": header})
    return djangos, ours


# -- Django's keys --------------------------------------------------------------------------------

HEADERS = ["ACCEPT_ENCODING", "ACCEPT_LANGUAGE", "X_A", "AUTHORIZATION", "X_LOWER"]
VARY_NAMES = [name.replace("_", "-").title() for name in HEADERS]
VARY_NAMES += [
    "cookie",
    "Cookie",
    "COOKIE",
    "x-lower",
    "X_A",
    "Missing",
    "",
    " ",
    "ß",
    "ﬁ",
    "é",
    "*",
]
vary_name = st.sampled_from(VARY_NAMES)
vary_separator = st.sampled_from([",", ", ", " ,", "\t,  ", ",,", " , ,"])
header_value = st.sampled_from(["", " ", "-,", "1:a,", "0:,", "ab", "a", "b", "x" * 300]) | odd_text
HOSTS = ["example.com", "EXAMPLE.com", "example.com:8000", "[::1]:80", "a.example.com."]
BAD_HOSTS = ["", "a b", "evil.com/", "é.com", "example.com:x", "a\x00b", "example.com,evil", "[::1"]


@st.composite
def vary_headers(draw: st.DrawFn) -> str | None:
    names = draw(st.none() | st.lists(vary_name, max_size=5))
    if names is None:
        return None
    # No line breaks: HttpResponse refuses them.
    return "".join(name + draw(vary_separator) for name in names)


class Named(str):
    """A text that is formatted as another, as a member of an ``Enum`` of texts is."""

    def __str__(self) -> str:
        return "Prefix.SITE"


@dataclass
class Case:
    """An odd request, the response to learn from, and the circumstances."""

    method: Any
    host: str
    path: str
    query: str
    secure: bool
    headers: dict[str, str]
    cookies: str | None
    request_language: str | None
    vary: str | None
    prefix: Any
    timeout: Any
    language: str | None
    zone: str | None
    use_i18n: bool
    use_tz: bool

    def request(self, cookies: str | None) -> HttpRequest:
        request = RequestFactory().get("/", secure=self.secure)
        request.META.update(self.headers, HTTP_HOST=self.host, QUERY_STRING=self.query)
        request.path = request.path_info = self.path
        request.method = self.method
        if cookies is not None:
            request.META["HTTP_COOKIE"] = cookies
        if self.request_language is not None:
            request.LANGUAGE_CODE = self.request_language
        return request

    def outcomes(self, module: Any, alias: str, cookies: str | None) -> list[Any]:
        """What this module's functions return, raise, and leave in the cache."""
        cache: Any = caches[alias]
        cache.clear()
        request = self.request(cookies)
        response = HttpResponse(headers={} if self.vary is None else {"Vary": self.vary})

        def stored() -> dict[str, Any]:
            return {key: cache.get(key.removeprefix(":1:")) for key in list(cache._cache)}

        learn, get = module.learn_cache_key, module.get_cache_key
        return [
            outcome(get, request, self.prefix, cache=cache),
            outcome(learn, request, response, self.timeout, self.prefix, cache),
            stored(),
            outcome(get, request, self.prefix, cache=cache),
            outcome(get, request, self.prefix, "HEAD", cache),
            outcome(get, request, key_prefix=None, method="GET", cache=cache),
        ]

    @contextmanager
    def circumstances(self) -> Any:
        with (
            override_settings(
                USE_I18N=self.use_i18n,
                USE_TZ=self.use_tz,
                ALLOWED_HOSTS=["example.com", "[::1]", ".a.example.com"],
                CACHE_MIDDLEWARE_KEY_PREFIX="site",
                CACHES={
                    "default": {"BACKEND": LOCMEM},
                    "django": {"BACKEND": LOCMEM, "LOCATION": "django"},
                    "viewcache": {"BACKEND": LOCMEM, "LOCATION": "viewcache"},
                },
            ),
            timezone.override(self.zone),
            translation.override(self.language),
        ):
            yield


def outcome(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    try:
        return function(*args, **kwargs)
    except UnicodeEncodeError as error:
        return type(error), error.encoding, error.reason
    except Exception as error:
        return type(error), str(error)


cases = st.builds(
    Case,
    method=st.sampled_from(["GET", "HEAD", "POST", "get", "", None]),
    host=st.sampled_from(HOSTS) | st.sampled_from(BAD_HOSTS),
    path=st.sampled_from(["/", "/a/b/", "//d//", "/é/", "/a b", "/☃", "/%zz", "/" + "long" * 99])
    | odd_text.map(lambda text: f"/{text}"),
    query=st.sampled_from(["", "a=1", "b=2&a=1", "a=%20+", "é", "&&", "utm_source=x"]) | odd_text,
    secure=st.booleans(),
    headers=st.dictionaries(st.sampled_from([f"HTTP_{name}" for name in HEADERS]), header_value),
    cookies=st.none() | st.lists(cookie).map(lambda c: "; ".join(map("=".join, c))) | raw_cookies,
    request_language=st.sampled_from([None, None, "en", "fr", "zh-hant", "X", ""]),
    vary=vary_headers(),
    prefix=st.sampled_from([None, None, "", "p", "with space", "é", "%s", "a.b", 7, Named("site")]),
    timeout=st.sampled_from([None, 0, 1, 600, 1.5]),
    language=st.sampled_from(["en", "fr", "pt-br", "en-gb", None]),
    zone=st.sampled_from([None, "UTC", "Europe/Paris", "America/Argentina/Buenos_Aires"]),
    use_i18n=st.booleans(),
    use_tz=st.booleans(),
)


@settings(max_examples=400)
@given(cases)
def test_django_gives_the_same_keys(case: Case) -> None:
    cookies = None if case.cookies is None else in_order(case.cookies)
    with case.circumstances():
        theirs = case.outcomes(django_cache, "django", cookies)
        assert case.outcomes(viewcache, "viewcache", cookies) == theirs
        # However the browser had them in order.
        assert case.outcomes(viewcache, "viewcache", case.cookies) == theirs


@pytest.mark.parametrize("name", [None, "Europe/Paris"])
@pytest.mark.parametrize("kind", [threading.local, Local])
def test_a_zone_is_found_wherever_django_keeps_it(
    monkeypatch: pytest.MonkeyPatch, kind: Any, name: str | None
) -> None:
    """Django's own tests put another object there, and so may whoever traces it."""

    def asked() -> Any:
        # Django's functions keep what they have asked, and then the core asks nothing.
        return RequestFactory().get("/", HTTP_HOST="testserver")

    def same() -> None:
        response = HttpResponse()
        # Now the host is known, and where a zone is kept.
        for _ in range(2):
            viewcache.learn_cache_key(asked(), response)
        monkeypatch.setattr(timezone, "_active", kind())
        with timezone.override(name):
            theirs = django_cache.learn_cache_key(asked(), response)
            assert viewcache.learn_cache_key(asked(), response) == theirs
            assert viewcache.get_cache_key(asked()) == theirs

    with override_settings(CACHES={"default": {"BACKEND": LOCMEM}}):
        # Where nothing was ever activated.
        Context().run(same)


#: Djangos of tomorrow: one without the function that is asked, and others with another.
TOMORROW = {
    "gone": """
del theirs._generate_cache_key
theirs.get_cache_key = lambda request, prefix, method, cache: f"get {prefix} {method} {cache}"
theirs.learn_cache_key = lambda request, response, timeout, *rest: f"learn {timeout} {rest}"
""",
    "short": """
theirs._generate_cache_key = lambda request, method, names, prefix: f"{method} {names} {prefix}"
""",
    "another": """
theirs._generate_cache_key = lambda request, method, names, prefix: (
    f"views.decorators.cache.cache_page.{prefix}.{method}.url.{'+'.join(names)}"
)
""",
}
PROGRAM = """
import json
import django
from django.conf import settings
from django.utils import cache as theirs
{change}
settings.configure(INSTALLED_APPS=["viewcache"], ALLOWED_HOSTS=["*"], SECRET_KEY="s", DEBUG=True)
django.setup()
import viewcache
from django.core.cache import cache
from django.http import HttpResponse
from django.test import RequestFactory
from viewcache import checks

request = RequestFactory().get("/a/", HTTP_ACCEPT="text/html")
response = HttpResponse(headers={{"Vary": "Accept"}})
told = []
for module in (theirs, viewcache):
    cache.clear()
    learn, get = module.learn_cache_key, module.get_cache_key
    told.append([learn(request, response, 60, "p", cache), get(request, "p", "GET", cache)])
print(json.dumps([*told, [message.id for message in checks.check()]]))
"""


@pytest.mark.parametrize("django", TOMORROW)
def test_a_django_that_makes_its_keys_otherwise_is_left_to_make_them(django: str) -> None:
    program = PROGRAM.format(change=TOMORROW[django])
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    theirs, ours, told = json.loads(done.stdout)
    assert ours == theirs
    assert all(theirs)
    assert "viewcache.W011" in told


@pytest.mark.parametrize("where", ["host", "path", "query", "header", "cookie"])
def test_text_that_is_no_text_raises_what_django_raises(where: str) -> None:
    lone = "a\udc80"
    request = RequestFactory().get("/", HTTP_X_A=lone if where == "header" else "a")
    response = HttpResponse(headers={"Vary": "X-A, Cookie"})
    if where == "host":
        request.META["HTTP_HOST"] = lone
    elif where == "path":
        request.path = f"/{lone}"
    elif where == "query":
        request.META["QUERY_STRING"] = lone
    elif where == "cookie":
        request.META["HTTP_COOKIE"] = lone
    with override_settings(CACHES={"default": {"BACKEND": LOCMEM}}):
        theirs, ours = (
            [
                outcome(module.learn_cache_key, request, response, 60),
                outcome(module.get_cache_key, request),
            ]
            for module in (django_cache, viewcache)
        )
    assert ours == theirs


# -- Queries --------------------------------------------------------------------------------------

query_text = st.text(st.sampled_from("ab=&;+%0123cfFuzé☃[] \x00"), max_size=24)
encoded_bytes = st.binary(max_size=4).map(lambda raw: "".join(f"%{byte:02x}" for byte in raw))
queries = (
    query_text
    | odd_text
    | st.lists(query_text | encoded_bytes | st.just("="), max_size=8).map("".join)
)


@settings(max_examples=500)
@given(queries)
@example("a=%zz&%=%&c=%u0041&d=%f6&e=%ef%bf%bd&f=+%20&g=1;h=2&i=%C3é&=&j")
@example("%E2%82é=%F0%9F%98&%ed%a0%80=%c0%af")
def test_a_query_is_decoded_as_querydict_decodes_it(query: str) -> None:
    pairs = _core.query_pairs(query)
    assert pairs == parse_qsl(query, keep_blank_values=True)
    grouped: dict[str, list[str]] = {}
    for name, value in pairs:
        grouped.setdefault(name, []).append(value)
    assert grouped == dict(QueryDict(query).lists())


def _wsgi(raw: bytes) -> HttpRequest:
    environ = RequestFactory().get("/").environ
    return WSGIRequest({**environ, "QUERY_STRING": raw.decode("latin-1")})


def _asgi(raw: bytes) -> HttpRequest:
    scope = {"type": "http", "method": "GET", "path": "/", "query_string": raw, "headers": []}
    return ASGIRequest({**scope, "server": ("testserver", "80")}, None)


def _url_key(request: HttpRequest) -> str:
    lookup = canonical.begin(request, key_prefix="", only=None)
    assert lookup is not None
    return lookup.wanted()[0][0]


@settings(max_examples=300)
@given(st.lists(st.binary(max_size=6) | queries.map(str.encode), min_size=2, max_size=6))
@example([b"a=%f6", b"a=%ef%bf%bd", b"a=\xc3\xb6", b"a=%c3%b6", "a=ö".encode("latin-1")])
@override_settings(VIEWCACHE={"IGNORE_QUERY": []})
def test_queries_are_one_page_when_the_view_cannot_tell_them_apart(raw: list[bytes]) -> None:
    by_key: dict[str, Any] = {}
    by_query: dict[Any, str] = {}
    for query in raw:
        request = _wsgi(query)
        # The order of different names counts until SORT_QUERY says otherwise.
        seen = (list(request.GET.lists()), _core.query_pairs(_decoded(query)))
        key = _url_key(request)
        assert by_key.setdefault(key, seen) == seen
        assert by_query.setdefault(str(seen), key) == key


def _decoded(query: bytes) -> str:
    try:
        return query.decode()
    except UnicodeDecodeError:
        return query.decode("latin-1")


@given(queries.map(str.encode))
def test_wsgi_and_asgi_share_their_pages(raw: bytes) -> None:
    assert _url_key(_wsgi(raw)) == _url_key(_asgi(raw))


# -- Our own keys ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class Fields:
    """All that a page's key may depend on."""

    site: str = ""
    release: str = ""
    prefix: str = ""
    method: str = "GET"
    scheme: str = "http"
    host: str = "h"
    path: str = "/"
    query: tuple[tuple[str, str], ...] = ()
    language: str | None = None
    zone: str | None = None
    #: Header names with the request's values.
    headers: tuple[tuple[str, str | None], ...] = ()
    #: Cookie names with the request's values; ``None`` when the page varies on all of them.
    cookies: tuple[tuple[str, str | None], ...] | None = ()
    all_cookies: tuple[tuple[str, str], ...] = field(default=())

    def lookup(self, meta: dict[str, str]) -> _core.LookUp:
        site = _core.Site(
            self.site,
            release=self.release,
            ignore_cookies=[],
            ignore_query=[],
            sort_query=False,
            memory_entries=10,
            memory_bytes=10_000,
            sign_with=[],
        )
        lookup = site.look_up(
            meta,
            method=self.method,
            key_prefix=self.prefix,
            scheme=self.scheme,
            host=self.host,
            path=self.path,
            query="&".join(f"{_percent(name)}={_percent(value)}" for name, value in self.query),
            charset=None,
            utf8_cookies=False,
            only=None,
            language=self.language,
            zone=self.zone,
        )
        assert lookup is not None
        return lookup

    def key(self, extra: dict[str, str] | None = None) -> str:
        """The key that a page of this request is stored under."""
        meta = {f"HTTP_{name.upper()}": value for name, value in self.headers if value is not None}
        cookies = self.all_cookies if self.cookies is None else self.cookies
        chunks = [f"{name}={value}" for name, value in cookies if value is not None]
        if chunks:
            meta["HTTP_COOKIE"] = "; ".join(chunks)
        lookup = self.lookup(meta | (extra or {}))
        assert not lookup.receive({}, 0.0)
        lookup.claim(lookup.unclaimed())
        entries, why = lookup.store(
            status=200,
            reason=None,
            marks="",
            headers=[],
            body=b"",
            slots=[],
            public=False,
            vary={name for name, _ in self.headers},
            cookies=None if self.cookies is None else {name for name, _ in self.cookies},
            timeout=60,
            windows=(0, 0),
            now=0.0,
        )
        assert entries is not None, why
        (key,) = (name for name, _, _ in entries if name.startswith("viewcache.p"))
        return key

    def oracle(self) -> Any:
        """What tells it from the others: the plain values, in plain tuples."""
        default = {"http": ":80", "https": ":443"}.get(self.scheme, "")
        host = self.host.removesuffix(default).lower()
        headers = tuple(sorted(dict(self.headers).items(), key=lambda item: item[0]))
        if self.cookies is None:
            cookies: Any = ("all", tuple(sorted(self.all_cookies, key=lambda pair: pair[0])))
        else:
            cookies = tuple(sorted(dict(self.cookies).items(), key=lambda item: item[0]))
        return replace(self, host=host, headers=headers, cookies=cookies, all_cookies=())


def _percent(text: str) -> str:
    return "".join(f"%{byte:02x}" for byte in text.encode())


# Few characters, so that borders that move and delimiters that are spelt out are found.
few = st.text("ab-:s,\x01", max_size=3)
name = st.sampled_from(["a", "b", "ab", "s", "n"])
fields = st.builds(
    Fields,
    site=few,
    release=few,
    prefix=few,
    method=st.sampled_from(["GET", "HEAD"]),
    scheme=st.sampled_from(["http", "https"]),
    host=st.sampled_from(["h", "H", "h:80", "h:443", "h:8", "hh"]),
    path=few.map(lambda text: f"/{text}"),
    query=st.lists(st.tuples(few, few), max_size=2).map(tuple),
    language=st.none() | few,
    zone=st.none() | few,
    headers=st.dictionaries(name, st.none() | few, max_size=2).map(lambda d: tuple(d.items())),
    cookies=st.none()
    | st.dictionaries(name, st.none() | few, max_size=2).map(lambda d: tuple(d.items())),
    all_cookies=st.lists(st.tuples(name, few), max_size=2).map(tuple),
)


@st.composite
def neighbours(draw: st.DrawFn) -> list[Fields]:
    """Requests that differ in one or two of their fields."""
    first = draw(fields)
    names = st.sampled_from(sorted(set(Fields.__dataclass_fields__)))
    found = [first]
    for _ in range(draw(st.integers(2, 8))):
        other = draw(fields)
        taken = draw(st.sets(names, min_size=1, max_size=2))
        found.append(replace(first, **{name: getattr(other, name) for name in taken}))
    return found


@settings(max_examples=300)
@given(neighbours())
@example(
    [Fields(headers=(("a", None),)), Fields(headers=(("a", ""),)), Fields(headers=(("a", "-"),))]
)
@example([Fields(site="ab"), Fields(site="a", release="b"), Fields(prefix="ab")])
@example([Fields(language="a"), Fields(zone="a"), Fields(language="a", zone="a")])
@example([Fields(query=(("a", "b"), ("c", ""))), Fields(query=(("a", "b&c="),))])
@example(
    [Fields(cookies=None), Fields(), Fields(cookies=(("a", None),)), Fields(cookies=(("a", ""),))]
)
def test_two_requests_share_a_key_only_when_nothing_tells_them_apart(group: list[Fields]) -> None:
    keys: dict[str, Any] = {}
    pages: dict[Any, str] = {}
    for request in group:
        key, told = request.key(), request.oracle()
        assert keys.setdefault(key, told) == told
        assert pages.setdefault(told, key) == key
        assert key.isascii()
        assert len(key) < 100
        assert not any(character.isspace() for character in key)


scope_text = st.sampled_from(["path:/", "tree:/", "path:/a", "path:/a/", "tree:/a/", "tag:a"]) | (
    st.tuples(st.sampled_from(["path:/", "tree:/", "tag:"]), odd_text).map("".join)
)


@given(st.lists(st.tuples(few, few, scope_text), min_size=2, max_size=8))
def test_generations_hang_on_the_site_and_the_scope_alone(
    given_scopes: list[tuple[str, str, str]],
) -> None:
    keys: dict[str, tuple[str, str]] = {}
    for site, release, scope in given_scopes:
        [key] = _core.Site(
            site,
            release=release,
            ignore_cookies=[],
            ignore_query=[],
            sort_query=False,
            memory_entries=0,
            memory_bytes=0,
            sign_with=[],
        ).generation_keys([scope])
        assert keys.setdefault(key, (site, scope)) == (site, scope)
        assert key.isascii()
        assert len(key) < 100
    assert len(keys) == len(set(keys.values()))
