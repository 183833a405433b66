"""
Early hits under ASGI, in a project's ``asgi.py``::

    from django.core.asgi import get_asgi_application
    from viewcache.asgi import early

    application = early(get_asgi_application())
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping
from io import BytesIO
from typing import Any

from asgiref.sync import ThreadSensitiveContext, sync_to_async
from django.core.handlers.asgi import ASGIHandler, ASGIRequest
from django.core.signals import request_finished, request_started
from django.urls import set_script_prefix

from . import _core, conf, signals, visit
from .early import bounds
from .early.asked import Answer, alook_up, hit, learn, observed
from .early.proof import Sent
from .early.rules import Rules, now

logger = logging.getLogger("viewcache")

Message = Mapping[str, Any]
Scope = dict[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]


def early(application: ASGIHandler) -> Application:
    """
    The application, with pages served before Django handles the request where that is proven to
    make no difference. Everything else is handed to it untouched.

    Goes around Django's own application; what wraps that goes around ``early()``. Raises
    ``TypeError`` for anything else.
    """
    if type(application) is not ASGIHandler:
        raise TypeError(
            f"early() was given {application!r}; expected what get_asgi_application() returns. "
            "Wrap what early() returns in whatever else the project wraps its application in."
        )
    return _Early(application)


class _Early:
    def __init__(self, application: ASGIHandler) -> None:
        self.application = application

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        rules = it = answer = None
        try:
            if (rules := now()) is not None:
                it = _ask(rules, scope)
                answer = None if it is None else await alook_up(it, rules)
        except Exception:
            logger.exception("viewcache could not look up a page early; Django answers.")
        if rules is None or it is None:
            await self.application(scope, receive, send)
        elif answer is not None:
            await _send(it, rules, answer, scope, send)
        else:
            seen = _Seen(send)
            with observed() as hits:
                await self.application(scope, receive, seen)
            if seen.is_whole:
                learn(it, rules, hits, seen.sent)


def _ask(rules: Rules, scope: Scope) -> _core.Asked | None:
    if scope["type"] != "http" or scope["method"] not in ("GET", "HEAD") or scope.get("root_path"):
        return None
    # What becomes of a header's name is a matter of Django's security releases.
    try:
        request = ASGIRequest(scope, BytesIO())
    except UnicodeDecodeError:
        return None  # Django answers 400
    meta = request.META
    return rules.early.ask(
        conf.site(),
        meta,
        ASGIRequest,
        scheme=scope.get("scheme") or "http",
        path=request.path,
        query=meta.get("QUERY_STRING") or "",
    )


async def _send(it: _core.Asked, rules: Rules, answer: Answer, scope: Scope, send: Send) -> None:
    if not (signals.is_anybody_told() or bounds.has_listeners()):
        await _respond(it, answer, send)
        await bounds.apassed(answer[0])
        return
    # As Django's application does: receivers that are no coroutines share a thread.
    async with ThreadSensitiveContext():
        await request_started.asend(sender=ASGIHandler, scope=scope)
        if signals.is_anybody_told():
            set_script_prefix("/")
            request, made = ASGIRequest(scope, BytesIO()), hit(it, rules, answer[0])
            visit.attach(request, made)
            await signals.alooked_up(request, made)
        await _respond(it, answer, send)
        await sync_to_async(request_finished.send, thread_sensitive=True)(sender=ASGIHandler)


async def _respond(it: _core.Asked, answer: Answer, send: Send) -> None:
    _, headers, body = answer
    encoded = [(name.encode("ascii"), value.encode("latin-1")) for name, value in headers]
    assert it.proof is not None
    await send({"type": "http.response.start", "status": it.proof.status, "headers": encoded})
    for chunk, is_last in ASGIHandler.chunk_bytes(body):
        await send({"type": "http.response.body", "body": chunk, "more_body": not is_last})


class _Seen:
    """What is sent, on its way."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._start: Message | None = None
        self._body: list[bytes] = []
        #: All of it was sent; not so to a visitor who has left meanwhile.
        self.is_whole = False

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._start = message
        else:
            self._body.append(message.get("body", b""))
            self.is_whole = not message.get("more_body")
        await self._send(message)

    def sent(self) -> Sent:
        """All of it."""
        assert self._start is not None
        headers = [
            (name.decode("ascii"), value.decode("latin-1"))
            for name, value in self._start["headers"]
        ]
        return Sent(self._start["status"], "", headers, b"".join(self._body))
