"""A small tracked site: one view at every path, cached around or by itself, and how it went."""

from __future__ import annotations

import types
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from blog.models import Tag
from django.db import connection
from django.db.utils import OperationalError
from django.http import HttpResponse
from django.test import AsyncClient, Client
from django.urls import path
from viewcache import pipeline
from viewcache.decorators import cache_page

UPDATE = "viewcache.middleware.UpdateCacheMiddleware"
FETCH = "viewcache.middleware.FetchFromCacheMiddleware"


class Site:
    """``get()`` says what was served; ``status`` and ``reason`` what became of the visit."""

    def __init__(self, settings: Any) -> None:
        self.settings = settings
        settings.USE_I18N = False
        self.status = self.reason = ""
        self.client = Client()
        self.async_client = AsyncClient()

    def track(self, **more: Any) -> None:
        self.settings.VIEWCACHE = {"TRACK": True, **more}

    def serve(self, view: Callable[..., Any], *, per_site: bool = True, **options: Any) -> Any:
        """Have the view, which returns text, answer at every path."""

        def respond(request: Any, **kwargs: Any) -> HttpResponse:
            said = view(request)
            return said if isinstance(said, HttpResponse) else HttpResponse(str(said))

        return self.serve_as_it_is(
            respond if per_site else cache_page(600, **options)(respond), per_site
        )

    def serve_as_it_is(
        self, view: Callable[..., Any], per_site: bool = True, middleware: tuple[Any, ...] = ()
    ) -> Callable[..., str]:
        module = types.ModuleType("urls_of_a_test")
        module.urlpatterns = [path("<path:anything>", view)]
        self.settings.ROOT_URLCONF = module
        inner = list(middleware)
        self.settings.MIDDLEWARE = [UPDATE, *inner, FETCH] if per_site else inner
        self.client = Client()
        return self.get

    def get(self, url: str = "/page/", **headers: Any) -> str:
        return self._note(self.client.get(url, **headers))

    async def aget(self, url: str = "/page/") -> str:
        return self._note(await self.async_client.get(url))

    def _note(self, response: Any) -> str:
        request = getattr(response, "wsgi_request", None) or response.asgi_request
        visit = pipeline.visit_of(request)
        self.status, self.reason = (visit.status, visit.reason) if visit else ("", "")
        content: bytes = response.content
        return content.decode()


class ReadsBefore:
    """A middleware that reads before the cache is asked: all tags, and what the test says."""

    statement = ""

    def __init__(self, get_response: Any) -> None:
        self.get_response = get_response

    def __call__(self, request: Any) -> Any:
        request.names = list(Tag.objects.values_list("name", flat=True))
        if self.statement:
            with connection.cursor() as cursor, suppress(OperationalError):
                cursor.execute(self.statement)
        return self.get_response(request)


@contextmanager
def sent(server: Any) -> Iterator[dict[str, int]]:
    """
    The commands that reached the server. Django's backend puts a MULTI and an EXEC around the
    MSET of its ``set_many``, all three in one packet: together they count as the one they are.
    """
    counted: dict[str, int] = {}
    with server.counting() as commands:
        yield counted
    counted.update(
        {name: count for name, count in commands.items() if name not in ("multi", "exec")}
    )
    assert commands["multi"] == commands["exec"] <= commands["mset"]
