"""
Early hits under WSGI, in a project's ``wsgi.py``::

    from django.core.wsgi import get_wsgi_application
    from viewcache.wsgi import early

    application = early(get_wsgi_application())
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from http.client import responses
from typing import Any

from django.core.handlers.wsgi import WSGIHandler, WSGIRequest, get_script_name
from django.http import HttpResponse
from django.urls import set_script_prefix

from . import _core, conf, signals, visit
from .early import bounds
from .early.asked import Answer, hit, learn, look_up, observed
from .early.proof import Sent
from .early.rules import Rules, now

logger = logging.getLogger("viewcache")

Environ = dict[str, Any]
StartResponse = Callable[..., Any]


def early(application: WSGIHandler) -> Callable[[Environ, StartResponse], Iterable[bytes]]:
    """
    The application, with pages served before Django builds a request where that is proven to make
    no difference. Everything else is handed to it untouched.

    Goes around Django's own application; what wraps that goes around ``early()``. Raises
    ``TypeError`` for anything else.
    """
    if type(application) is not WSGIHandler:
        raise TypeError(
            f"early() was given {application!r}; expected what get_wsgi_application() returns. "
            "Wrap what early() returns in whatever else the project wraps its application in."
        )
    return _Early(application)


class _Early:
    def __init__(self, application: WSGIHandler) -> None:
        self.application = application

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        rules = it = answer = None
        try:
            if (rules := now()) is not None:
                it = rules.early.ask_wsgi(conf.site(), environ, WSGIRequest)
                answer = None if it is None else look_up(it, rules)
        except Exception:
            logger.exception("viewcache could not look up a page early; Django answers.")
        if rules is None or it is None:
            return self.application(environ, start_response)
        if answer is not None:
            return _send(it, rules, answer, environ, start_response)
        with observed() as hits:
            response = self.application(environ, start_response)
        learn(it, rules, hits, lambda: _sent(response))
        return response


def _send(
    it: _core.Asked,
    rules: Rules,
    answer: Answer,
    environ: Environ,
    start_response: StartResponse,
) -> Iterable[bytes]:
    store, headers, body = answer
    has_listeners = bounds.has_listeners()
    if has_listeners:
        bounds.started(environ)
    if signals.is_anybody_told():
        set_script_prefix(get_script_name(environ))
        request, made = WSGIRequest(environ), hit(it, rules, store)
        visit.attach(request, made)
        signals.looked_up(request, made)
    assert it.proof is not None
    start_response(it.proof.status_line, headers)
    if has_listeners:
        return _Body(body)
    bounds.passed(store)
    # A server sends a list in one piece; for more, granian would go to another thread each time.
    return [body]


class _Body:
    """A body, and the end of its request, of which somebody wants to hear."""

    __slots__ = ("_body",)

    def __init__(self, body: bytes) -> None:
        self._body = body

    def __iter__(self) -> Iterator[bytes]:
        return iter((self._body,))

    def close(self) -> None:
        """The server has sent it."""
        bounds.finished()


def _sent(response: object) -> Sent | None:
    if type(response) is not HttpResponse or response.cookies:
        return None
    phrase = response.reason_phrase
    if phrase != responses.get(response.status_code):
        return None
    return Sent(response.status_code, phrase, list(response.items()), response.content)
