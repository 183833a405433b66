"""
Slots: pieces of a cached page that are made for each request.

While a page is made that may be stored, a piece stands in it between two markers: letters and
digits that nobody can foresee (see ``src/slot.rs``). They are taken out where the response leaves
the view, before any middleware sees it, so nobody is ever sent one. Where the pieces stood is kept
with the response, and the page is stored without them. On a hit they are made again.

A record in the cache names the function to call, and whoever can write to the cache could name any
function there is. So the name is signed with the ``SECRET_KEY``: only what ``slot()`` was called
with is ever imported. A decorator that registers functions would serve as well, but a process that
has not imported the module yet would know none of them.
"""

from __future__ import annotations

import json
import logging
import sys
import zlib
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Iterator
from contextvars import ContextVar
from email.errors import MessageError
from email.header import decode_header, make_header
from functools import cached_property, lru_cache, partial
from importlib import import_module
from inspect import iscoroutinefunction
from secrets import token_hex
from typing import Any, NamedTuple, cast

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.utils.cache import patch_cache_control
from django.utils.crypto import constant_time_compare, salted_hmac
from django.utils.html import conditional_escape
from django.utils.safestring import SafeString, mark_safe

from . import _core, reads
from .request import djangos

logger = logging.getLogger("viewcache")

_ATTRIBUTE = "_viewcache_slots"
_PRIVATE = "_viewcache_private"
_SALT = "viewcache.slots"
_SIGNATURE = 40
#: Longer than any marker, however it was escaped.
_MARKER_LIMIT = 80
#: Set on a response in whose body a piece stood that another request's page was made with.
_ANOTHERS = "_viewcache_anothers_slot"

_within: ContextVar[bool] = ContextVar("viewcache_within", default=False)

#: Makes a piece of text for a request.
Function = Callable[[HttpRequest], str]


@lru_cache(maxsize=1024)
def _import(where: str) -> Function:
    module, _, qualname = where.partition(":")
    found: Any = import_module(module)
    for part in qualname.split("."):
        found = getattr(found, part)
    return cast(Function, found)


class SlotGoneError(Exception):
    """What makes a slot of a stored page is not there any more, or was never named by us."""


def slot(request: HttpRequest, name: str, function: Function) -> SafeString:
    """
    A piece of the page that is made for each request, also when the page comes from the cache.

    ``function`` takes the request and returns a string, which is escaped unless it is marked as
    safe. It must be importable: a function at the top of a module. What it reads (cookies, the
    session, the database) is not part of the page, so the page can be shared; nor may the page
    depend on the result: put it into the page as it is.

    Raises ``TypeError`` or ``ValueError`` for a name or a function that cannot be found again.
    """
    if not callable(function):
        raise TypeError(f"slot() was given {function!r}; expected a function of a module.")
    where = _whereabouts(function)
    return piece(request, "function", name, where, lambda: function(request))


def piece(
    request: HttpRequest, kind: str, name: str, where: str, make: Callable[[], str]
) -> SafeString:
    """A slot of any kind: what ``make`` makes, marked while a page is recorded."""
    if not isinstance(name, str):
        raise TypeError(f"The slot's name is {name!r}; expected a string.")
    if not (0 < len(name) <= 100 and name.isprintable()):
        raise ValueError(f"The slot's name is {name!r}; expected 1 to 100 printable characters.")
    request = djangos(request, "slot()")
    if _within.get():
        # Inside another slot, which is marked as a whole.
        return conditional_escape(make())
    record = _record(request)
    if not record.depth or not where:
        # Nobody would take the markers out, or find the piece again: the page is this visitor's.
        record.unmarked = name
        return conditional_escape(make())
    token = _within.set(True)
    try:
        with reads.apart(request):
            text = conditional_escape(make())
    finally:
        _within.reset(token)
    number = len(record.pieces)
    record.pieces.append((f"{kind}\n{name}\n{where}", str(text)))
    mark = record.nonce
    # A backslash means nothing to HTML, and everything that escapes strings doubles it.
    return mark_safe(f"{mark}b{number}\\z{text}{mark}e{number}\\z")


# -- While a page is made -------------------------------------------------------------------------


class _Record:
    """The slots of one request. Most requests have none: what those need is made when asked for."""

    def __init__(self) -> None:
        #: How many of our middleware and decorators will take the markers out.
        self.depth = 0
        #: What makes each piece, and its text.
        self.pieces: list[tuple[str, str]] = []
        #: A slot whose text stands in a page without markers.
        self.unmarked = ""
        #: One stood in a header.
        self.in_header = False

    @cached_property
    def nonce(self) -> str:
        """What a marker begins with, which nobody can guess."""
        return f"viewcacheslot{token_hex(16)}"


class _Taken(NamedTuple):
    """What was taken out of a response."""

    record: _Record
    body: bytes
    #: Number, start, end, style.
    found: list[tuple[int, int, int, str]]
    fault: str


def _record(request: HttpRequest) -> _Record:
    record: _Record | None = request.__dict__.get(_ATTRIBUTE)
    if record is None:
        record = request.__dict__[_ATTRIBUTE] = _Record()
    return record


class recording:  # noqa: N801 - a context manager, as those of contextlib
    """Within, slots stand between markers. Whoever opens this calls ``take_out()`` afterwards."""

    __slots__ = ("_record",)

    def __init__(self, request: HttpRequest) -> None:
        self._record = _record(request)

    def __enter__(self) -> None:
        self._record.depth += 1

    def __exit__(self, *_: object) -> None:
        self._record.depth -= 1


def record_rendering(request: HttpRequest, response: Any) -> None:
    """The same for a response that renders later, by itself."""
    render = response.render

    def recorded() -> Any:
        # Whoever stands around it (stale.py) has taken it away before.
        response.__dict__.pop("render", None)
        with recording(request):
            return render()

    response.__dict__["render"] = recorded


def take_out(request: HttpRequest, response: HttpResponseBase) -> None:
    """Take the markers out of this response, and keep on it where the pieces stand."""
    record: _Record | None = request.__dict__.get(_ATTRIBUTE)
    if record is None or not record.pieces:
        _take_out_anothers(response)
        return
    _take_out_of_headers(response, record)
    if response.streaming:
        _take_out_of_stream(cast(Any, response), record.nonce)
    elif getattr(response, "is_rendered", True):
        _take_out_anothers(response, record.nonce)
        _take_out_of_body(cast(HttpResponse, response), record)
    else:
        # It renders later, and is stored after that.
        cast(Any, response).add_post_render_callback(partial(take_out, request))


def _take_out_anothers(response: HttpResponseBase, own: str = "") -> None:
    """
    Take out the markers of another request's page, which code has kept together with what they
    stood in, such as a piece of HTML in Django's cache.
    """
    if response.streaming or not getattr(response, "is_rendered", True):
        return
    body = cast(HttpResponse, response).content
    anothers = [nonce for nonce in _core.slot_nonces(body) if nonce != own]
    if not anothers:
        return
    for nonce in anothers:
        body = _core.take_out(body, nonce)[0]
    response.__dict__[_ANOTHERS] = True
    cast(HttpResponse, response).content = body
    if response.has_header("Content-Length"):
        response.headers["Content-Length"] = str(len(body))


def _take_out_of_headers(response: HttpResponseBase, record: _Record) -> None:
    """A hit has the headers as they were stored: none is made anew for each visitor."""
    for name, value in list(response.items()):
        text = _as_given(value)
        plain = _core.take_out(text.encode(), record.nonce)[0].decode()
        if plain != text:
            response.headers[name] = plain
            record.in_header = True


def text_of_headers(response: HttpResponseBase, *, but: Collection[str] = ()) -> str:
    """All that headers say, but those with these names, a line for each."""
    return "\n".join(_as_given(text) for name, text in response.items() if name.lower() not in but)


def _as_given(value: str) -> str:
    """The text that a header was set to: Django encodes what is not Latin-1 (RFC 2047)."""
    if "=?" not in value:
        return value
    try:
        return str(make_header(decode_header(value)))
    except (MessageError, LookupError, ValueError):
        return value


def _take_out_of_body(response: HttpResponse, record: _Record) -> None:
    fault = ""
    body = response.content
    if response.headers.get("Content-Encoding"):
        body, fault = _decoded(response, body, record.nonce), "slot in an encoded body"
    charset = response.charset
    try:
        is_ascii = "a".encode(charset) == b"a"
    except LookupError:
        is_ascii = True
    if not is_ascii:
        body, fault = body.decode(charset).encode(), "slot in a body that is not UTF-8"
    body, found, whole = _core.take_out(body, record.nonce)
    if not is_ascii:
        body = body.decode().encode(charset)
    known = response.__dict__.get(_ATTRIBUTE)
    if known is not None and not found and whole:
        return
    if not whole or known is not None:
        fault = fault or "slot cut off or changed"
    response.__dict__[_ATTRIBUTE] = _Taken(record, body, found, fault)
    # The view's validators know nothing of the pieces.
    del response.headers["ETag"]
    del response.headers["Last-Modified"]
    if body != response.content:
        response.content = body
        if response.has_header("Content-Length"):
            response.headers["Content-Length"] = str(len(body))


def _decoded(response: HttpResponse, body: bytes, nonce: str) -> bytes:
    """The body without its encoding, where there are markers in it: it is sent like that."""
    for encoding in reversed(response.headers["Content-Encoding"].lower().split(",")):
        try:
            body = _decode(encoding.strip(), body)
        except Exception:
            logger.exception(
                "viewcache cannot take slots out of a response that is %s-encoded. Compress it "
                "outside of FetchFromCacheMiddleware and cache_page.",
                encoding.strip(),
            )
            return response.content
    if nonce.encode() not in body:
        return response.content
    del response.headers["Content-Encoding"]
    return body


def _decode(encoding: str, body: bytes) -> bytes:
    if encoding in ("gzip", "x-gzip", "deflate"):
        return zlib.decompress(body, zlib.MAX_WBITS | 32)
    if encoding == "identity":
        return body
    # Whoever encoded it has imported a module for it.
    for module in {"br": ("brotli", "brotlicffi"), "zstd": ("compression.zstd", "zstandard")}[
        encoding
    ]:
        if module in sys.modules:
            return bytes(sys.modules[module].decompress(body))
    raise LookupError(f"no module for {encoding}")


def _take_out_of_stream(response: Any, nonce: str) -> None:
    content = response.streaming_content
    if getattr(response, "is_async", False):
        response.streaming_content = _astreamed(content, nonce)
    else:
        response.streaming_content = _streamed(content, nonce)


def _streamed(content: Iterable[bytes], nonce: str) -> Iterator[bytes]:
    held = b""
    for chunk in content:
        ready, held = _split(held + chunk, nonce)
        yield ready
    yield _core.take_out(held, nonce)[0]


async def _astreamed(content: AsyncIterator[bytes], nonce: str) -> AsyncIterator[bytes]:
    held = b""
    async for chunk in content:
        ready, held = _split(held + chunk, nonce)
        yield ready
    yield _core.take_out(held, nonce)[0]


def _split(data: bytes, nonce: str) -> tuple[bytes, bytes]:
    """What can be sent of a stream, and the end that may be the beginning of a marker."""
    mark = nonce.encode()
    at = max(0, len(data) - _MARKER_LIMIT)
    while at < len(data) and data[at : at + len(mark)] != mark[: len(data) - at]:
        at += 1
    return _core.take_out(data[:at], nonce)[0], data[at:]


# -- When the page is stored ----------------------------------------------------------------------


def refusal(request: HttpRequest, response: HttpResponseBase) -> str | None:
    """Why the slots of this response keep its page from being stored, if they do."""
    if _ANOTHERS in response.__dict__:
        return "slot of another request"
    record: _Record | None = request.__dict__.get(_ATTRIBUTE)
    if record is None or not (record.pieces or record.unmarked):
        return None
    if record.unmarked:
        return f"slot {record.unmarked!r} that cannot be found again"
    if record.in_header:
        return "slot in a header"
    taken: _Taken | None = response.__dict__.get(_ATTRIBUTE)
    if taken is None:
        return "slot not found in the body"
    if taken.fault:
        return taken.fault
    if response.headers.get("Content-Encoding"):
        return "slot in an encoded body"
    if not isinstance(response, HttpResponse) or response.content != taken.body:
        return "body changed after its slots were made"
    if {number for number, *_ in taken.found} != set(range(len(record.pieces))):
        return "slot not found in the body"
    for number, start, end, style in taken.found:
        if taken.body[start:end] not in _escaped(record.pieces[number][1], style, response.charset):
            return "text of a slot changed after it was made"
    return None


def places(response: HttpResponseBase) -> list[tuple[int, int, str]]:
    """Start, end and signed name of each piece of a response that ``refusal()`` let pass."""
    taken: _Taken | None = response.__dict__.get(_ATTRIBUTE)
    if taken is None:
        return []
    return [
        (start, end, _sign(f"{style}\n{taken.record.pieces[number][0]}"))
        for number, start, end, style in taken.found
    ]


def make_private(response: HttpResponseBase, *, shows_token: bool) -> None:
    """
    A body with pieces for one visitor is not for shared caches, whatever the page's age says, nor
    for the browser's without asking. One with a CSRF token is not for shared caches either: they
    would give it, and the cookie that goes with it, to all who have no cookies.
    """
    if getattr(response.__dict__.get(_ATTRIBUTE), "found", None):
        patch_cache_control(response, private=True, max_age=0)
        del response.headers["Expires"]
    elif shows_token:
        patch_cache_control(response, private=True)
    else:
        return
    response.__dict__[_PRIVATE] = True


def is_private(response: HttpResponseBase) -> bool:
    """Has ``make_private()`` made it so?"""
    return _PRIVATE in response.__dict__


def _escaped(text: str, style: str, charset: str) -> list[bytes]:
    if style == "plain":
        return [text.encode(charset)]
    if style == "json":
        return [json.dumps(text, ensure_ascii=ascii)[1:-1].encode() for ascii in (True, False)]
    return []


# -- When the page is served ----------------------------------------------------------------------


def fillings(names: Iterable[str], request: HttpRequest) -> list[bytes]:
    """
    What fills these slots for this request.

    Raises ``SlotGoneError`` before any of them is made, or what making one raises.
    """
    secrets = (settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS)
    made = [_found(name, secrets) for name in names]
    token = _within.set(True)
    try:
        return [
            _escaped(conditional_escape(make(request)), style, "utf-8")[0] for style, make in made
        ]
    finally:
        _within.reset(token)


def readable(name: str) -> str:
    """The name that a slot was given, of the one that is stored."""
    return name[_SIGNATURE:].split("\n")[2] if name else "csrf_token"


def _found(signed: str, secrets: tuple[Any, ...]) -> tuple[str, Function]:
    style, kind, name, where = _unsign(signed, secrets)
    try:
        if kind not in KINDS:
            # No template was loaded in this process yet.
            import_module(f"{__package__}.templatetags.viewcache")
        return style, KINDS[kind](name, where)
    except Exception as error:
        raise SlotGoneError(f"The slot {name!r} ({where}) is not there: {error}") from error


#: What finds a slot again, by its kind.
KINDS: dict[str, Callable[[str, str], Function]] = {"function": lambda name, where: _import(where)}


def _sign(name: str, secret: Any = None) -> str:
    """The name after its signature; by ``SECRET_KEY``, where no secret is given."""
    digest = salted_hmac(_SALT, name, secret, algorithm="sha256").hexdigest()
    return digest[:_SIGNATURE] + name


@lru_cache(maxsize=1024)
def _unsign(signed: str, secrets: tuple[Any, ...]) -> tuple[str, str, str, str]:
    name = signed[_SIGNATURE:]
    if not any(constant_time_compare(_sign(name, secret), signed) for secret in secrets):
        raise SlotGoneError(
            "A record names a slot that was not signed with SECRET_KEY or SECRET_KEY_FALLBACKS."
        )
    style, kind, given, where = name.split("\n")
    return style, kind, given, where


@lru_cache(maxsize=1024)
def _whereabouts(function: Function) -> str:
    """Module and name of this function, by which it is found again."""
    module = getattr(function, "__module__", None)
    qualname = getattr(function, "__qualname__", None)
    if module is None or qualname is None:
        raise TypeError(f"slot() was given {function!r}; expected a function of a module.")
    if iscoroutinefunction(function):
        raise TypeError(f"slot() was given the async function {qualname}; expected a sync one.")
    where = f"{module}:{qualname}"
    found: Any = None
    if "<" not in qualname:
        try:
            found = _import(where)
        except (ImportError, AttributeError):
            found = None
    if found is not function:
        raise ValueError(
            f"slot() was given {qualname} of {module}, which cannot be found again by that name: "
            "a later request, in another process, has to. Give a function that stands at the top "
            "of a module; no lambda, no bound method, no function inside another."
        )
    return where
