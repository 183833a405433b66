"""
May a request be looked up, may its response be stored? And if not, why not.

Django decides: its own ``process_response()`` is asked, against a recording store, and what it
would have stored is what may be stored. The rules here come on top; they are those of the newest
Django whatever Django is installed, and two of our own (no ``Set-Cookie``, no dot segments).
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from http.cookies import SimpleCookie
from typing import Any, NamedTuple, cast

from django.conf import settings
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.middleware.cache import UpdateCacheMiddleware as DjangoUpdateCacheMiddleware
from django.utils.cache import get_max_age, patch_cache_control, patch_vary_headers
from django.utils.http import http_date

from . import _core, asking, compat, conf, reads, slots
from .request import has_body

logger = logging.getLogger("viewcache")


class Area(NamedTuple):
    """Where and how long pages are kept: what a middleware or a decorator was configured with."""

    #: The cache alias of the pages; ``None`` is that of the generations.
    alias: str | None
    key_prefix: str
    #: Seconds, where the response names none.
    cache_timeout: float | None
    #: Seconds, whatever the response names.
    page_timeout: float | None = None
    #: Query parameters that a view allows into its keys; ``None`` leaves it to the settings.
    query: _core.Names | None = None
    #: Cookies that a view says its pages depend on; ``None`` leaves it to what is read.
    cookies: frozenset[str] | None = None
    #: Seconds for which a page may be served stale, where the response does not say it: while
    #: another request renders it, and in place of an error. ``None`` leaves it to the settings.
    stale_while_revalidate: int | None = None
    stale_if_error: int | None = None


#: Where a request keeps the moment from which on its page is old.
_ENDS = "_viewcache_ends"
#: Where a response carries why it is not stored, once browsers were told how long to keep it.
_REFUSED = "_viewcache_refused"


def end_at(request: HttpRequest, moment: float) -> None:
    """The page of this request is old from this moment on, in seconds since the epoch."""
    values = request.__dict__
    values[_ENDS] = min(moment, values.get(_ENDS, moment))


def refuses_request(request: HttpRequest) -> str | None:
    """Why this request is not looked up, or ``None``."""
    if request.method not in ("GET", "HEAD"):
        return "method"
    if has_body(request):
        return "request body"
    if "is_dummy" in request.__dict__:
        # Wagtail sends its previews of drafts through the middleware, under the page's own URL.
        return "preview"
    if "/." in request.path and any(part in (".", "..") for part in request.path.split("/")):
        return "dot segments"
    return None


class Permission(NamedTuple):
    """A response may be stored, this way."""

    #: Seconds.
    timeout: int
    #: Header names, lower case, without ``cookie``.
    vary: frozenset[str]
    #: Cookie names, ``None`` for the whole header.
    cookies: frozenset[str] | None
    public: bool
    #: The CSRF secret whose tokens have to be cut out of the body.
    secret: str | None
    #: The nonce that a CSP header names: one for each response, so a page must not have it.
    nonce: str | None
    #: Seconds for which the page may be served stale: while another request renders it, and in
    #: place of an error (RFC 5861).
    windows: tuple[int, int]


def judge(
    request: HttpRequest,
    response: HttpResponseBase,
    area: Area,
    stored: Callable[[Permission | str], None],
) -> HttpResponseBase:
    """
    Ask Django about this response, and tell ``stored`` what came of it: a ``Permission`` or the
    reason for none, which is empty where a decorator within has it. For a response that renders
    later it is told once that is done.

    Returns the response with the headers that Django gives one that is cached.
    """
    if slots.is_private(response):
        # A decorator within has judged it, for all of us, and has refused it, or nobody would ask.
        stored("")
        return response
    if (reason := response.__dict__.get(_REFUSED)) is not None:
        # Likewise; and it has told browsers what Django would now take for the view's own word.
        stored(reason)
        return response
    said = get_max_age(response) is not None or "Expires" in response.headers
    ends = request.__dict__.get(_ENDS)
    if ends is not None and not response.streaming:
        # Browsers and proxies are told, too.
        patch_cache_control(response, max_age=max(0, int(ends - time.time())))
    reason = _refuses_now(response)
    if reason is not None:
        stored(reason)
        return response

    def found(final: HttpResponseBase, timeout: float) -> None:
        told = not said and _tell_browsers(final)
        permission = _permission(request, final, area, timeout)
        if told and isinstance(permission, str):
            final.__dict__[_REFUSED] = permission
        stored(permission)

    recorder = _Recorder(found)
    seen = reads.of(request)
    with (
        _hidden(request, response, seen),
        # Django makes a key meanwhile, of the raw Cookie header: that is no read of the page's.
        nullcontext() if seen is None else seen.paused(),
    ):
        try:
            response = asking.decide(_Django(recorder, area), request, response)
        except ValueError as error:
            # It takes numbers of Cache-Control as they are: `max-age="60"` is one that it cannot.
            logger.warning("viewcache stores nothing: Django cannot judge a response (%s).", error)
            stored("headers that Django cannot read")
            return response
    if not recorder.asked:
        stored(_djangos_reason(response))
    return response


def _tell_browsers(response: HttpResponseBase) -> bool:
    """
    Django has just told them to keep the page for as long as the cache does; are they told
    otherwise?
    """
    seconds = conf.get().BROWSER_SECONDS
    if seconds is None:
        return False
    patch_cache_control(response, max_age=seconds)
    # Whichever is less, and Django has named both.
    response.headers["Expires"] = http_date(time.time() + cast(int, get_max_age(response)))
    return True


def _hidden(
    request: HttpRequest, response: HttpResponseBase, seen: reads.Reads | None
) -> AbstractContextManager[None]:
    """
    Keep the visitor's cookies from Django while it is asked: they are not part of the page, which
    is stored without them and gets them anew with each hit.
    """
    if not response.cookies:
        return nullcontext()
    return _without(response, _visitors_cookies(request, seen))


@contextmanager
def _without(response: HttpResponseBase, names: frozenset[str]) -> Iterator[None]:
    cookies = response.cookies
    response.cookies = SimpleCookie()
    for name, morsel in cookies.items():
        if name not in names:
            dict.__setitem__(response.cookies, name, morsel)
    try:
        yield
    finally:
        response.cookies = cookies


class _Recorder:
    """A cache that only notes what Django would have stored."""

    def __init__(self, found: Callable[[HttpResponseBase, float], None]) -> None:
        self.asked = False
        self._found = found

    def set(self, key: str, value: Any, timeout: float, version: Any = None) -> None:
        self.asked = True
        if isinstance(value, HttpResponseBase):
            self._found(value, timeout)


class _Django(DjangoUpdateCacheMiddleware):
    """The installed Django's own decision, without its cache."""

    def __init__(self, recorder: _Recorder, area: Area) -> None:
        # Not super().__init__(): it reads the settings that the area already holds.
        self._recorder = recorder
        self.page_timeout = area.page_timeout
        self.cache_timeout = cast(Any, area.cache_timeout)
        self.key_prefix = area.key_prefix

    @property
    def cache(self) -> Any:
        return self._recorder

    def _should_update_cache(self, request: HttpRequest, response: HttpResponseBase) -> bool:
        return True


def _refuses_now(response: HttpResponseBase) -> str | None:
    """What forbids storing before Django is asked."""
    if response.streaming:
        return "streaming"
    if response.status_code not in (200, 304):
        return f"status {response.status_code}"
    forbidding, _, _ = _core.read_cache_control(_header(response, "cache-control"))
    return None if forbidding is None else f"Cache-Control: {forbidding}"


def _djangos_reason(response: HttpResponseBase) -> str:
    """A name for a refusal of Django's that none of our rules gave first."""
    if response.status_code != 200:
        return f"status {response.status_code}"
    if response.cookies:
        return "Set-Cookie"
    vary, why = _core.read_vary(_header(response, "vary"))
    return why if vary is None and why else "timeout 0"


def _permission(
    request: HttpRequest, response: HttpResponseBase, area: Area, timeout: float
) -> Permission | str:
    """What Django would store, by the stricter rules."""
    seen = reads.of(request) if conf.get().VARY_ON_READ else None
    names, why = _core.read_vary(_header(response, "vary"))
    if names is None:
        return why or "Vary"
    _, public, stale = _core.read_cache_control(_header(response, "cache-control"))
    # Django has just said how long anybody may keep it.
    slots.make_private(response, shows_token=seen is not None and bool(seen.token))
    meta = request.META
    if not public and ("HTTP_AUTHORIZATION" in meta or "HTTP_PROXY_AUTHORIZATION" in meta):
        return "Authorization"
    refusal = slots.refusal(request, response) or _is_for_one(request, response, seen)
    if refusal is not None:
        return refusal
    secret = None
    if seen is not None and seen.token:
        secret = dict.get(request.META, "CSRF_COOKIE")
    vary = set(names)
    if conf.django("USE_I18N"):
        # The language is in the key (Django ticket #18191).
        vary.discard("accept-language")
    whole = "cookie" in vary
    vary.discard("cookie")
    if area.cookies is not None:
        cookies: frozenset[str] | None = area.cookies
    elif seen is None:
        cookies = None if whole else frozenset()
    else:
        cookies = _cookies_read(seen, whole=whole)
    shows_session = seen is not None and seen.session is not None
    if shows_session and not whole and (cookies is None or reads.session_cookie() in cookies):
        # SessionMiddleware adds it where the session was accessed. A hit of a view's page, which is
        # stored before that, accesses none, and a cache on the way would give it to everybody.
        patch_vary_headers(response, ["Cookie"])
    ends = request.__dict__.get(_ENDS)
    if ends is not None:
        timeout = min(timeout, ends - time.time())
    if timeout < 1:
        return "timeout 0"
    left = None if ends is None else int(ends - time.time() - timeout)
    return Permission(
        timeout=int(timeout),
        vary=frozenset(vary),
        cookies=cookies,
        public=public,
        secret=secret,
        nonce=_nonce(request),
        windows=_windows(response, area, stale, left),
    )


def _windows(
    response: HttpResponseBase,
    area: Area,
    said: tuple[int | None, int | None] | None,
    left: int | None,
) -> tuple[int, int]:
    """
    For how long this page may be stale: as the response says, else as its view or the settings do.
    What those say is sent, too, so that the caches on the way know as much as ours, unless they
    are told to ask each time (``BROWSER_SECONDS``).

    ``left`` are the seconds between the page's end and the moment from which nobody may have it.
    """
    if said is None:
        return 0, 0
    site = conf.get()
    found = []
    for name, own, of_view, of_site in (
        (
            "stale_while_revalidate",
            said[0],
            area.stale_while_revalidate,
            site.STALE_WHILE_REVALIDATE,
        ),
        ("stale_if_error", said[1], area.stale_if_error, site.STALE_IF_ERROR),
    ):
        seconds = own if own is not None else of_site if of_view is None else of_view
        seconds = min(seconds, conf.BEYOND if left is None else max(0, left))
        told = site.BROWSER_SECONDS is None and not slots.is_private(response)
        if own is None and seconds and told:
            patch_cache_control(response, **{name: seconds})
        found.append(seconds)
    return found[0], found[1]


def _is_for_one(
    request: HttpRequest, response: HttpResponseBase, seen: reads.Reads | None
) -> str | None:
    """What shows that this response is for one visitor, this once."""
    if cookies_for_one(request, response):
        return "Set-Cookie"
    if seen is None:
        if getattr(getattr(request, "session", None), "modified", False):
            return "session modified"
        return "messages" if _has_messages(request) else None
    if seen.modified:
        return "session modified"
    return "messages" if seen.messages and _has_messages(request) else None


def cookies_for_one(request: HttpRequest, response: HttpResponseBase) -> list[str]:
    """
    The names of the cookies by which this response is for one visitor. The reason does not name
    them: it is a code that metrics and logs count by.
    """
    # Set as any header: the page is stored without it, and Django looks at its cookies only.
    plain = compat.header(response, "set-cookie")
    names = [] if plain is None else [plain.partition("=")[0].strip()]
    if response.cookies:
        theirs = _visitors_cookies(request, reads.of(request))
        names += [name for name in response.cookies if name not in theirs]
    return names


def _cookies_read(seen: reads.Reads, *, whole: bool) -> frozenset[str] | None:
    """The cookies that a page depends on, by what was read."""
    if seen.all is not None:
        return None
    names = set(seen.names)
    if seen.session:
        names.add(reads.session_cookie())
    if not whole:
        return frozenset(names)
    # Vary: Cookie. Who put it there: the view, or middleware because of what was used?
    _, left = seen.left or (None, "")
    by_view = "cookie" in (_core.read_vary(left)[0] or ())
    if seen.is_late or (by_view and not names and not seen.token):
        # It stands for something that we cannot see.
        return None
    used = seen.token or seen.aside_token or seen.aside_session
    return frozenset(names) if names or used else None


def _visitors_cookies(request: HttpRequest, seen: reads.Reads | None) -> frozenset[str]:
    """
    The cookies that Django's middleware sets for this visitor although the page does not depend
    on them: it was the token, or a slot, that used the CSRF secret, the session or the messages.
    They are not part of the page, which is stored without them and gets them with each hit.
    """
    if seen is None or not conf.get().VARY_ON_READ:
        return frozenset()
    theirs = set()
    by_view, _ = seen.left or (frozenset(), "")
    if (seen.token or seen.aside_token) and not settings.CSRF_USE_SESSIONS:
        theirs.add(reads.secret_cookie())
    if not seen.modified and (session := reads.session_cookie()) not in by_view:
        theirs.add(session)
    if not seen.messages:
        storage = getattr(request, "_messages", None)
        for part in (storage, *getattr(storage, "storages", ())):
            if (name := getattr(part, "cookie_name", None)) and name not in by_view:
                theirs.add(name)
    return frozenset(theirs)


def _nonce(request: HttpRequest) -> str | None:
    """The nonce of this response's Content-Security-Policy, if one was used."""
    nonce = request.__dict__.get("_csp_nonce")
    # Django's is false until it is asked for.
    return str(nonce) if nonce else None


def _has_messages(request: HttpRequest) -> bool:
    """Were one-shot messages shown or added? They are for this visitor, this once."""
    storage = getattr(request, "_messages", None)
    return bool(
        getattr(storage, "_loaded_data", None) or getattr(storage, "_queued_messages", None)
    )


def _header(response: HttpResponseBase, name: str) -> str:
    return compat.header(response, name) or ""
