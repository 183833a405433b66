"""The Django project that is measured: its settings, its requests, its view, the cache packages."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from io import BytesIO
from typing import Any

import django
from django.conf import settings
from django.core.handlers.wsgi import WSGIRequest
from django.http import HttpRequest, HttpResponse

Handler = Callable[[HttpRequest], HttpResponse]

#: Each server's backends, Django's own first, under the name of the server.
BACKENDS = {
    "locmem": {"locmem": "django.core.cache.backends.locmem.LocMemCache"},
    "redis": {
        "redis": "django.core.cache.backends.redis.RedisCache",
        "django-redis": "django_redis.cache.RedisCache",
        "django-vcache": "django_vcache.backend.ValkeyCache",
    },
    "memcached": {"memcached": "django.core.cache.backends.memcached.PyMemcacheCache"},
}


#: What is put around a view, see chains().
PACKAGES = ("django", "viewcache", "django-fancy-cache", "wagtail-cache")


def alias(backend: str, package: str) -> str:
    """The name of this backend as this package alone uses it, with connections of its own."""
    return f"{backend}.{package}"


def group_of(backend: str) -> str:
    """The group of this backend, which has the name of its server."""
    return next(group for group, names in BACKENDS.items() if backend in names)


def has(dotted: str) -> bool:
    """Is the package of this dotted path installed?"""
    return find_spec(dotted.partition(".")[0]) is not None


def set_up(locations: dict[str, str], **more: Any) -> None:
    """
    Configure Django with every backend that is there, each under its own name and once more for
    each package, and these settings.
    """
    caches = {
        used_as: {
            "BACKEND": path,
            "LOCATION": where,
            # Backends of one server do not read each other's serialization.
            "KEY_PREFIX": used_as,
            "OPTIONS": _options(name),
        }
        for group, where in locations.items()
        for name, path in BACKENDS[group].items()
        if has(path)
        for used_as in (name, *(alias(name, package) for package in PACKAGES))
    }
    usual = {
        "ALLOWED_HOSTS": ["www.example.com", ".example.org"],
        "CACHES": {**caches, "default": next(iter(caches.values()))},
        "CACHE_MIDDLEWARE_SECONDS": 3600,
        "LANGUAGE_CODE": "en-gb",
        "LANGUAGES": [("en-gb", "English"), ("de", "Deutsch"), ("fr", "Français")],
        "SECRET_KEY": "measured",
        "TIME_ZONE": "Europe/Berlin",
        "USE_I18N": True,
        "USE_TZ": True,
    }
    settings.configure(**{**usual, **more})
    django.setup()


def _options(name: str) -> dict[str, Any]:
    return {
        # Big enough that no measurement is about eviction.
        "locmem": {"MAX_ENTRIES": 1_000_000},
        # As docs/how-to.md has it: pages of the usual size are not unpacked for each hit.
        "django-vcache": {"COMPRESS_MIN_LEN": 65_536},
    }.get(name, {})


# -- Requests -------------------------------------------------------------------------------------

COOKIES = [
    ("sessionid", "q8z1w6y4x0v2u5t7s9r3p1n6m4k8j2h5"),
    ("csrftoken", "ZyXwVuTsRqPoNmLkJiHgFeDcBa987654"),
    ("_ga", "GA1.2.1094832215.1712345678"),
    ("_gid", "GA1.2.1884412399.1712345678"),
    ("theme", "dark"),
    ("django_language", "en-gb"),
    *((f"pref_{number}", f"value-{number:08}") for number in range(14)),
]
LONG_QUERY = "&".join(f"filter_{number}=some+value%20{number}" for number in range(20))

_ENVIRON: dict[str, Any] = {
    "HTTP_ACCEPT": "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8",
    "HTTP_ACCEPT_ENCODING": "gzip, deflate, br, zstd",
    "HTTP_ACCEPT_LANGUAGE": "en-GB,en;q=0.7,de;q=0.3",
    "HTTP_CONNECTION": "keep-alive",
    "HTTP_HOST": "www.example.com",
    "HTTP_REFERER": "http://www.example.com/blog/",
    "HTTP_SEC_FETCH_DEST": "document",
    "HTTP_SEC_FETCH_MODE": "navigate",
    "HTTP_SEC_FETCH_SITE": "same-origin",
    "HTTP_UPGRADE_INSECURE_REQUESTS": "1",
    "HTTP_USER_AGENT": "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
    "QUERY_STRING": "",
    "REMOTE_ADDR": "192.0.2.1",
    "REQUEST_METHOD": "GET",
    "SCRIPT_NAME": "",
    "SERVER_NAME": "www.example.com",
    "SERVER_PORT": "80",
    "SERVER_PROTOCOL": "HTTP/1.1",
    "wsgi.errors": None,
    "wsgi.input": BytesIO(),
    "wsgi.multiprocess": True,
    "wsgi.multithread": False,
    "wsgi.run_once": False,
    "wsgi.url_scheme": "http",
    "wsgi.version": (1, 0),
}


def request(path: str = "/blog/posts/1/", *, cookies: int = 6, **more: str) -> WSGIRequest:
    """A fresh request, as a WSGI server hands it to Django."""
    # PEP 3333: bytes as latin-1.
    environ = {**_ENVIRON, "PATH_INFO": path.encode().decode("latin-1"), **more}
    if cookies:
        environ["HTTP_COOKIE"] = "; ".join(f"{n}={v}" for n, v in COOKIES[:cookies])
    return WSGIRequest(environ)


# -- Pages ----------------------------------------------------------------------------------------


class View:
    """A view whose page has this size."""

    def __init__(self, kilobytes: float, vary: str = "Accept-Language, Cookie") -> None:
        row = b"<p>The quick brown fox jumps over the lazy dog, %06d times.</p>\n"
        size = int(kilobytes * 1024)
        self.body = b"".join(row % number for number in range(size // 60 + 1))[:size]
        self.headers = {"Vary": vary, "X-Frame-Options": "DENY"}
        self.calls = 0

    def __call__(self, request: HttpRequest) -> HttpResponse:
        self.calls += 1
        return HttpResponse(self.body, headers=self.headers)


def chains(alias: str) -> dict[str, Callable[[Handler], Handler]]:
    """The packages that are installed: what each puts around a view, with pages in this cache."""
    found: dict[str, Callable[[Handler], Handler]] = {"django": _django, "viewcache": _viewcache}
    if has("fancy_cache"):
        found["django-fancy-cache"] = lambda view: _fancy(view, alias)
    if has("wagtailcache") and has("wagtail"):
        found["wagtail-cache"] = _wagtail
    return found


def _django(view: Handler) -> Handler:
    from django.middleware import cache

    return cache.UpdateCacheMiddleware(cache.FetchFromCacheMiddleware(view))


def _viewcache(view: Handler) -> Handler:
    from viewcache import middleware

    return middleware.UpdateCacheMiddleware(middleware.FetchFromCacheMiddleware(view))


def _fancy(view: Handler, alias: str) -> Handler:
    from django.middleware import cache

    # On import it takes this property from Django's classes.
    stock = {
        kind: vars(kind)["cache"]
        for kind in (cache.UpdateCacheMiddleware, cache.FetchFromCacheMiddleware)
    }
    from fancy_cache import middleware

    for kind, kept in stock.items():
        kind.cache = kept
    middleware.FancyUpdateCacheMiddleware.cache = None
    return middleware.FancyCacheMiddleware(view, cache_alias=alias)


def _wagtail(view: Handler) -> Handler:
    from wagtailcache import cache

    return cache.UpdateCacheMiddleware(cache.FetchFromCacheMiddleware(view))
