"""A process of the site: it is told what to ask for, and asks where it must wait."""

from __future__ import annotations

import types
from multiprocessing.connection import Connection
from typing import Any

from storm import gate

#: What pages show beside the data: something of the visitor, read in another way each.
KINDS = ("shared", "cookie", "header", "language", "sets", "private", "tagged")


def work(conductor: Connection, cache: dict[str, Any], is_broken: bool) -> None:
    """Do what the conductor says until it closes the connection."""
    import django
    from django.conf import settings

    urls = types.ModuleType("storm_urls")
    settings.configure(
        SECRET_KEY="storm",
        ALLOWED_HOSTS=["*"],
        CACHES={"default": cache},
        VIEWCACHE={"WAIT_SECONDS": 0},
        ROOT_URLCONF=urls,
        LANGUAGES=[("en", "English"), ("fr", "French"), ("de", "German")],
        MIDDLEWARE=["django.middleware.locale.LocaleMiddleware"],
        LOGGING_CONFIG=None,
    )
    django.setup()
    import logging

    from django.test import Client
    from django.urls import path
    from viewcache.decorators import cache_page
    from viewcache.store import Store

    logging.disable()
    if is_broken:
        Store.write = lambda self, entries: None  # type: ignore[method-assign]
    urls.urlpatterns = [path("<str:kind>/<int:number>/", cache_page(3600)(view))]  # type: ignore[attr-defined]
    gate.connect(conductor)
    client = Client()
    while True:
        try:
            job = conductor.recv()
        except EOFError:
            return
        conductor.send(("done", do(client, *job)))


def view(request: Any, kind: str, number: int) -> Any:
    import viewcache
    from django.http import HttpResponse

    if kind == "tagged":
        viewcache.tag(request, "everywhere")
    version = gate.wait("read", f"/{kind}/{number}/")
    response = HttpResponse()
    who = ""
    if kind == "cookie":
        who = request.COOKIES.get("who", "")
    elif kind == "header":
        who = request.headers.get("X-Who", "")
        response["Vary"] = "X-Who"
    elif kind == "language":
        who = request.LANGUAGE_CODE
    elif kind == "sets":
        who = request.COOKIES.get("who", "")
        response.set_cookie("who", who)
    elif kind == "private":
        who = request.headers.get("X-Who", "")
        response["Cache-Control"] = "private"
    response.content = f"{version} {who}"
    return response


def do(client: Any, what: str, *about: Any) -> Any:
    """One request, or one change with its expiry."""
    import viewcache
    from viewcache import breaker

    # How long a cache is left alone depends on the clock, and a seed could not replay it.
    breaker.reset()
    if what == "get":
        url, visitor, language = about
        client.cookies.clear()
        headers = {"X-Who": visitor, "Accept-Language": language}
        response = client.get(url, headers={**headers, "Cookie": f"_ga={visitor}; who={visitor}"})
        sent = response.cookies.get("who")
        return response.status_code, response.content.decode(), sent.value if sent else None
    gate.wait("write", *about[:1])
    try:
        viewcache.expire(**about[1])
    except Exception as error:
        return type(error).__name__
    return None
