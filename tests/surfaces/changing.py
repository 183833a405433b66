"""Middleware that does something with the body of a response, or seems to."""

from __future__ import annotations

from typing import Any

from asgiref.sync import iscoroutinefunction, markcoroutinefunction
from django.http import HttpResponseNotModified, StreamingHttpResponse


class Bar:
    """Appends to each page."""

    async_capable = sync_capable = True

    def __init__(self, get_response: Any) -> None:
        self.get_response = get_response
        if iscoroutinefunction(get_response):
            markcoroutinefunction(self)

    def __call__(self, request: Any) -> Any:
        if iscoroutinefunction(self):
            return self._later(request)
        return self.change(self.get_response(request))

    async def _later(self, request: Any) -> Any:
        return self.change(await self.get_response(request))

    def change(self, response: Any) -> Any:
        response.content += b"|"
        return response


class Same(Bar):
    """Sets the body anew, as it was."""

    def change(self, response: Any) -> Any:
        response.content = bytes(bytearray(response.content))
        return response


class Packed(Bar):
    """Encodes the body for this client, which ``GZipMiddleware`` would."""

    def change(self, response: Any) -> Any:
        if "Age" in response.headers:
            response.content = response.content[::-1]
            response.headers["Content-Encoding"] = "reversed"
        return response


class NotModified(Bar):
    """Answers that the client has the page."""

    def change(self, response: Any) -> Any:
        return HttpResponseNotModified() if "Age" in response.headers else response


class Streamed(Bar):
    """Sends a hit piece by piece."""

    def change(self, response: Any) -> Any:
        return StreamingHttpResponse([b"a"]) if "Age" in response.headers else response


class OncePerPage(Bar):
    """Leaves hits alone: what it has appended is stored with the page."""

    def change(self, response: Any) -> Any:
        return response if "Age" in response.headers else super().change(response)
