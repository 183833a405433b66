"""viewcache's drop-in keys against the installed Django's own, over many odd requests.

Every key must be equal byte for byte, and so must what is stored for the header list. Only the
Cookie header differs, on purpose: viewcache puts it in canonical order, so Django is given one that
already is.

Then Django is given a recipe that nobody has seen, in a process of its own: viewcache must notice
and give that Django's keys all the same.
"""

from __future__ import annotations

import random
import subprocess
import sys
import warnings
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import django
from django.conf import settings
from django.core.cache import CacheKeyWarning, caches
from django.http import HttpRequest, HttpResponse
from django.test import RequestFactory, override_settings
from django.utils import cache as django_cache
from django.utils import timezone, translation

ROUNDS = 4_000
SHOWN = 5

LOCMEM = "django.core.cache.backends.locmem.LocMemCache"
SETTINGS = {
    "ALLOWED_HOSTS": ["*"],
    "CACHES": {
        "default": {"BACKEND": LOCMEM},
        "django": {"BACKEND": LOCMEM, "LOCATION": "django"},
        "viewcache": {"BACKEND": LOCMEM, "LOCATION": "viewcache"},
    },
    "CACHE_MIDDLEWARE_KEY_PREFIX": "site",
    "INSTALLED_APPS": ["viewcache"],
    "LANGUAGES": [("en", "English"), ("fr", "French"), ("pt-br", "Portuguese")],
    "SECRET_KEY": "keys",
}

METHODS = ["GET", "HEAD", "POST"]
HOSTS = [
    "example.com",
    "EXAMPLE.com",
    "example.com:8000",
    "127.0.0.1",
    "[::1]:80",
    "a.example.com.",
]
PATHS = ["/", "/a/b/", "//double//", "/café/", "/%2e%2e/x", "/a;b=c", "/a b", "/☃", "/long" * 200]
QUERIES = ["", "a=1", "a=1&b=2", "b=2&a=1", "a=%20+%2B", "é=ü", "&&", "utm_source=x&a", "a=1;b=2"]
HEADERS = ["ACCEPT_ENCODING", "ACCEPT_LANGUAGE", "X_A", "X_B", "AUTHORIZATION", "X_LOWER"]
VALUES = ["", " ", "gzip", "gzip, br", "é", "x" * 3000, "1:a,", "-,", "0:,", "\t", "☃", "😀"]
COOKIES = ["a=1", "b=2", "a=2", "flag", "=empty", "sessionid=abc", 'q="x y"', "csrftoken=t", "é=1"]
VARY = [
    *(None, "", ",", "Missing", "x-lower", "Accept_Encoding", "Accept-Language"),
    *("Cookie", "cookie", "Cookie, Cookie", " Cookie ,Accept-Encoding", "Cookie\t, X-A"),
    *("X-A, X-B", "X-B,X-A", "X-A,,X-B", "accept-language, Cookie"),
]
ZONES = [None, "UTC", "Europe/Paris", "America/Argentina/Buenos_Aires", "Asia/Kathmandu"]
PREFIXES = [None, "", "p", "with space", "é", "%s", "a.b"]
TIMEOUTS = [None, 0, 1, 600]


def canonical_cookies(cookies: list[str]) -> list[str]:
    """
    By name, namesakes as they came; what has no name is written without the equals sign. All as
    they came where a name is not ASCII.
    """
    named = [cookie.partition("=") if "=" in cookie else ("", "", cookie) for cookie in cookies]
    if not all(name.isascii() for name, _, _ in named):
        return cookies
    return [
        f"{name}={value}" if name else value
        for name, _, value in sorted(named, key=lambda cookie: cookie[0])
    ]


@dataclass(frozen=True)
class Case:
    """One odd request, the response to learn from, and the circumstances."""

    method: str
    host: str
    path: str
    query: str
    secure: bool
    headers: dict[str, str]
    cookies: list[str]
    request_language: str | None
    vary: str | None
    prefix: str | None
    timeout: int | None
    language: str
    zone: str | None
    use_i18n: bool
    use_tz: bool

    @classmethod
    def any(cls, pick: random.Random) -> Case:
        """An odd request, chosen by chance."""
        names = pick.sample(HEADERS, pick.randrange(len(HEADERS)))
        return cls(
            method=pick.choice(METHODS),
            host=pick.choice(HOSTS),
            path=pick.choice(PATHS),
            query=pick.choice(QUERIES),
            secure=pick.random() < 0.5,
            headers={f"HTTP_{name}": pick.choice(VALUES) for name in names},
            cookies=pick.sample(COOKIES, pick.randrange(len(COOKIES))),
            request_language=pick.choice([None, None, "en", "fr", "zh-hant", "X"]),
            vary=pick.choice(VARY),
            prefix=pick.choice(PREFIXES),
            timeout=pick.choice(TIMEOUTS),
            language=pick.choice(["en", "fr", "pt-br"]),
            zone=pick.choice(ZONES),
            use_i18n=pick.random() < 0.7,
            use_tz=pick.random() < 0.7,
        )

    def request(self, *, canonical: bool) -> HttpRequest:
        """The request, with its cookies in canonical order or as they came."""
        cookies = canonical_cookies(self.cookies) if canonical else self.cookies
        extra = {"HTTP_COOKIE": "; ".join(cookies)} if cookies else {}
        request = RequestFactory().generic(
            self.method, self.path, secure=self.secure, HTTP_HOST=self.host, **self.headers, **extra
        )
        # As it came over the wire: the factory would encode it.
        request.META["QUERY_STRING"] = self.query
        if self.request_language is not None:
            request.LANGUAGE_CODE = self.request_language
        return request

    def response(self) -> HttpResponse:
        """The response to learn from."""
        return HttpResponse(headers={} if self.vary is None else {"Vary": self.vary})

    def keys(self, module: ModuleType, alias: str, *, canonical: bool) -> list[Any]:
        """What the module makes of the request, and what it leaves in the cache."""
        request, response = self.request(canonical=canonical), self.response()
        cache: Any = caches[alias]
        cache.clear()
        with (
            override_settings(USE_I18N=self.use_i18n, USE_TZ=self.use_tz),
            translation.override(self.language),
            timezone.override(self.zone),
        ):
            learn = (module.learn_cache_key, request, response, self.timeout, self.prefix)
            return [
                outcome(module.get_cache_key, request, self.prefix, cache=cache),
                outcome(*learn, cache=cache),
                {key: cache.get(key.split(":", 2)[2]) for key in list(cache._cache)},
                outcome(module.get_cache_key, request, self.prefix, "GET", cache=cache),
                outcome(module.get_cache_key, request, self.prefix, "HEAD", cache=cache),
            ]


def outcome(function: Any, *args: Any, **kwargs: Any) -> Any:
    """What a call returns, or the type of the exception that it raises."""
    try:
        return function(*args, **kwargs)
    except Exception as error:
        return type(error)


def compare(rounds: int, *, canonical: bool) -> int:
    """How many of this many requests have other keys than Django's; the first few are shown."""
    import viewcache

    pick = random.Random(20)
    different = 0
    for _ in range(rounds):
        case = Case.any(pick)
        theirs = case.keys(django_cache, "django", canonical=True)
        ours = case.keys(viewcache, "viewcache", canonical=canonical)
        if theirs != ours:
            different += 1
            if different <= SHOWN:
                print(f"{case}\n  Django    {theirs}\n  viewcache {ours}")
    return different


def forget_the_recipe() -> None:
    """Make this a Django of tomorrow: header values go in with their names."""

    def _generate_cache_key(request: Any, method: str, headerlist: list[str], prefix: str) -> str:
        parts = ",".join(f"{header}={request.META.get(header)!r}" for header in headerlist)
        key = f"tomorrow.{prefix}.{method}.{request.build_absolute_uri()}.{parts}"
        return django_cache._i18n_cache_key_suffix(request, key)

    django_cache._generate_cache_key = _generate_cache_key


def main() -> int:
    unknown = "--unknown" in sys.argv
    if unknown:
        forget_the_recipe()
    settings.configure(**SETTINGS)
    # A prefix may hold a space; locmem warns that memcached would mind.
    warnings.simplefilter("ignore", CacheKeyWarning)
    django.setup()
    # Whether an unknown recipe is given canonical cookies is not promised.
    rounds = ROUNDS // 10 if unknown else ROUNDS
    different = compare(rounds, canonical=unknown)
    python = ".".join(map(str, sys.version_info[:2]))
    recipe = "an unknown recipe" if unknown else "its own recipe"
    found = f"{different} of {rounds} differ" if different else f"{rounds} requests, all equal"
    print(f"Keys of Django {django.__version__} on Python {python}, {recipe}: {found}", flush=True)
    if not unknown:
        different += subprocess.run([sys.executable, __file__, "--unknown"], check=False).returncode
    return bool(different)


if __name__ == "__main__":
    sys.exit(main())
