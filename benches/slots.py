"""
What filling in a CSRF token costs a hit: the same 20 KB page with a form, and without.

    python benches/slots.py

Both sides go through the same middleware (sessions, CSRF, authentication, messages) and are
measured in turns; the figure is the ratio of the medians, at most 1.3.
"""

from __future__ import annotations

import statistics
import sys
import time
import types
from collections.abc import Callable
from typing import Any

import django
from django.conf import settings

LIMIT = 1.3
ROUNDS = 4_000
TEXT = "<p>" + "A page of twenty kilobytes, as they are. " * 500 + "</p>"

urls: Any = types.ModuleType("urls_of_the_bench")

settings.configure(
    ALLOWED_HOSTS=["testserver"],
    CACHES={"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}},
    INSTALLED_APPS=["django.contrib.auth", "django.contrib.contenttypes", "viewcache"],
    MIDDLEWARE=[
        "viewcache.middleware.UpdateCacheMiddleware",
        "django.middleware.security.SecurityMiddleware",
        "django.contrib.sessions.middleware.SessionMiddleware",
        "django.middleware.locale.LocaleMiddleware",
        "django.middleware.common.CommonMiddleware",
        "django.middleware.csrf.CsrfViewMiddleware",
        "django.contrib.auth.middleware.AuthenticationMiddleware",
        "django.contrib.messages.middleware.MessageMiddleware",
        "django.middleware.clickjacking.XFrameOptionsMiddleware",
        "viewcache.middleware.FetchFromCacheMiddleware",
    ],
    MESSAGE_STORAGE="django.contrib.messages.storage.cookie.CookieStorage",
    ROOT_URLCONF=urls,
    SECRET_KEY="bench",
    SESSION_ENGINE="django.contrib.sessions.backends.signed_cookies",
)


def main() -> int:
    django.setup()
    from django.core.handlers.wsgi import WSGIHandler
    from django.http import HttpRequest, HttpResponse
    from django.middleware.csrf import get_token
    from django.test import RequestFactory
    from django.urls import path

    def plain(request: HttpRequest) -> HttpResponse:
        return HttpResponse(TEXT)

    def form(request: HttpRequest) -> HttpResponse:
        return HttpResponse(f'{TEXT}<input value="{get_token(request)}">')

    urls.urlpatterns = [path("plain/", plain), path("form/", form)]
    handler: Any = WSGIHandler()
    factory = RequestFactory(headers={"cookie": f"csrftoken={'a' * 32}; sessionid=x; _ga=1"})

    def get(url: str) -> Callable[[], Any]:
        environ = factory.get(url).environ

        def send() -> Any:
            # As a server: a fresh environ, the headers and the body taken.
            response = handler(dict(environ), lambda status, headers: None)
            body = b"".join(response)
            response.close()
            return response, body

        return send

    contenders = {"without": get("/plain/"), "with": get("/form/")}
    for send in contenders.values():
        send()
        response, _ = send()
        if "Age" not in response.headers:
            raise SystemExit("The page was not served from the cache.")
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(ROUNDS):
        for name, send in contenders.items():
            started = time.perf_counter()
            send()
            seconds[name].append(time.perf_counter() - started)
    medians = {name: statistics.median(taken) * 1e6 for name, taken in seconds.items()}
    ratio = medians["with"] / medians["without"]
    print(
        f"A hit on a 20 KB page: {medians['without']:.0f} µs without a token, "
        f"{medians['with']:.0f} µs with one: {ratio:.2f} times (at most {LIMIT})."
    )
    return int(ratio > LIMIT)


if __name__ == "__main__":
    sys.exit(main())
