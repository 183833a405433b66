"""Two ways to ask one site: Django's application, and the same with early hits."""

from __future__ import annotations

import asyncio
import io
from typing import Any, NamedTuple

from django.core.asgi import get_asgi_application
from django.core.wsgi import get_wsgi_application
from django.test import AsyncRequestFactory, RequestFactory
from viewcache import asgi, wsgi

UPDATE = "viewcache.middleware.UpdateCacheMiddleware"
FETCH = "viewcache.middleware.FetchFromCacheMiddleware"
DEFAULT = [
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]


class Answer(NamedTuple):
    """What a client gets, byte for byte."""

    status: str
    headers: list[tuple[str, str]]
    body: bytes

    @property
    def is_hit(self) -> bool:
        return any(name == "Age" for name, _ in self.headers)


class Wsgi:
    """A site under WSGI."""

    def __init__(self) -> None:
        self.late = get_wsgi_application()
        self.early: Any = wsgi.early(self.late)
        #: How many requests Django answered of those that were sent to ``early``.
        self.fallen = 0
        self.early.application = self._fall

    def _fall(self, environ: Any, start_response: Any) -> Any:
        self.fallen += 1
        return self.late(environ, start_response)

    def get(self, url: str, *, early: bool = True, method: str = "GET", **meta: Any) -> Answer:
        environ = RequestFactory().generic(method, url).environ
        del environ["HTTP_COOKIE"]
        # WSGIRequest has decoded it in place.
        environ["PATH_INFO"] = environ["PATH_INFO"].encode().decode("latin-1")
        environ = {**environ, "wsgi.input": io.BytesIO(), "HTTP_HOST": "testserver", **meta}
        started: list[Any] = []
        body = (self.early if early else self.late)(environ, lambda *a: started.append(a))
        try:
            content = b"".join(body)
        finally:
            if hasattr(body, "close"):  # PEP 3333
                body.close()
        [(status, headers)] = started
        return Answer(status, headers, content)


class Asgi:
    """A site under ASGI."""

    def __init__(self) -> None:
        self.late = get_asgi_application()
        self.early: Any = asgi.early(self.late)
        self.fallen = 0
        self.early.application = self._fall

    async def _fall(self, scope: Any, receive: Any, send: Any) -> None:
        self.fallen += 1
        await self.late(scope, receive, send)

    def get(self, url: str, *, early: bool = True, method: str = "GET", **meta: Any) -> Answer:
        headers = {
            name.removeprefix("HTTP_").lower().replace("_", "-"): value
            for name, value in {"HTTP_HOST": "testserver", **meta}.items()
            if name.startswith("HTTP_")
        }
        scope: Any = AsyncRequestFactory().generic(method, url).scope
        scope["headers"] = [(n.encode(), v.encode("latin-1")) for n, v in headers.items()]
        scope["scheme"] = meta.get("wsgi.url_scheme", "http")
        sent: list[Any] = []
        received = iter([{"type": "http.request", "body": b"", "more_body": False}])

        async def receive() -> Any:
            if (message := next(received, None)) is None:
                await asyncio.sleep(60)
            return message

        async def send(message: Any) -> None:
            sent.append(message)

        asyncio.run((self.early if early else self.late)(scope, receive, send))
        start, *rest = sent
        pairs = [(name.decode(), value.decode("latin-1")) for name, value in start["headers"]]
        return Answer(str(start["status"]), pairs, b"".join(part["body"] for part in rest))
