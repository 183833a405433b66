"""
An audited request: what is read of its headers, its query and its META is noted, for
:mod:`viewcache.audit` to judge. A second layer over the request that ``reads`` watches.
"""

from __future__ import annotations

import atexit
import re
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from contextvars import ContextVar
from functools import cache, wraps
from types import FrameType
from typing import TYPE_CHECKING, Any, cast
from weakref import ref

from django.apps import apps
from django.conf import settings
from django.contrib.sessions.backends.base import SessionBase
from django.core.cache.backends.base import BaseCache
from django.core.exceptions import ImproperlyConfigured
from django.core.signals import setting_changed
from django.http import HttpRequest, QueryDict
from django.utils.functional import cached_property
from django.utils.module_loading import import_string

from . import conf, reads
from .visit import AUDIT
from .watched import Headers, Meta, Scope, named_like

if TYPE_CHECKING:
    from .audit import Unkeyed


class Audit:
    """What was read of one request beyond its cookies, each with the place that read it first."""

    __slots__ = (
        *("__weakref__", "all_headers", "cached", "filled", "headers", "meta", "query"),
        *("raw_query", "reads", "unkeyed"),
    )

    def __init__(self, watched: reads.Reads) -> None:
        #: What was read of its cookies.
        self.reads = watched
        #: By lower-case name.
        self.headers: dict[str, str] = {}
        self.all_headers: str | None = None
        self.meta: dict[str, str] = {}
        self.query: dict[str, str] = {}
        #: The query string itself, or all parameters at once.
        self.raw_query: str | None = None
        #: Keys of Django's caches that it found something under.
        self.cached: dict[str, str] = {}
        #: Those that it found nothing under: what is there from then on, it made itself.
        self.filled: set[str] = set()
        #: What came of it, once the page was stored.
        self.unkeyed: tuple[Unkeyed, ...] = ()

    def note(self, what: dict[str, str], name: str) -> None:
        """One of these was read."""
        if name not in what and (place := self._place()):
            what[name] = place

    def note_all_headers(self) -> None:
        """All headers were read, or there is no telling which."""
        self.all_headers = self.all_headers or self._place()

    def note_raw_query(self) -> None:
        """The query was read as a whole."""
        self.raw_query = self.raw_query or self._place()

    def _place(self) -> str | None:
        return None if self.reads.is_paused else _place()


def of(request: HttpRequest) -> Audit | None:
    """What was read of this request, if it is audited."""
    return cast("Audit | None", request.__dict__.get(AUDIT))


def ask(request: HttpRequest) -> None:
    """Audit this request from where it is watched, whatever the setting."""
    request.__dict__[AUDIT] = None
    reads.on_watch(_begin)


def connect() -> None:
    """Audit as the setting says, from here on. Raises ``ImproperlyConfigured`` as ``conf`` does."""
    _caches.close()
    reads.on_watch(_begin if conf.get().AUDIT else None)
    if conf.get().AUDIT:
        _caches.enter_context(listening())


def _connect_again(*, setting: str, **kwargs: Any) -> None:
    if setting in ("VIEWCACHE", "CACHES"):
        with suppress(ImproperlyConfigured):
            connect()


setting_changed.connect(_connect_again, dispatch_uid="viewcache.audited")


def _begin(request: HttpRequest, watched: reads.Reads) -> None:
    if not (conf.get().AUDIT or AUDIT in request.__dict__):
        return
    known = request.__dict__
    audit = known[AUDIT] = Audit(watched)
    _heard.set(ref(audit))
    request.__class__ = _audited(cast(Any, type(request)))
    request.META = _Meta(cast(Meta, request.META), watched, audit)
    if "environ" in known:
        known["environ"] = request.META
    if "scope" in known:
        known["scope"] = _Scope(known["scope"], watched, audit)
    if "headers" in known:
        known["headers"] = _Headers(request.META, watched, audit)
    if "GET" in known:
        known["GET"] = _Query(known["GET"], audit)


# -- The audited request --------------------------------------------------------------------------


@cache
def _audited(kind: Any) -> type[HttpRequest]:
    """The class of a request of this class, which is watched, that is audited, too."""

    class Audited(kind):  # type: ignore[misc]
        @cached_property
        def GET(self) -> QueryDict:  # noqa: N802
            audit: Audit = self.__dict__[AUDIT]
            with audit.reads.paused():  # Django parses the query string here
                query = super().GET
            return _Query(query, audit)

        @cached_property
        def headers(self) -> Headers:
            audit: Audit = self.__dict__[AUDIT]
            return _Headers(self.META, audit.reads, audit)

    return cast("type[HttpRequest]", named_like(kind, Audited))


#: What servers say of the visitor. (Some put ``os.environ`` into META, which is nobody's.)
_OF_VISITOR = ("REMOTE_", "SSL_", "GEOIP_")
_RAW = frozenset({"QUERY_STRING", "REQUEST_URI", "RAW_URI"})


class _Meta(Meta):
    def __init__(self, meta: Meta, watched: reads.Reads, audit: Audit) -> None:
        super().__init__(dict(dict.items(meta)), watched)
        self._shared = meta._shared
        self._audit = audit

    def note(self, name: object) -> None:
        super().note(name)
        name = str(name)
        if name.startswith("HTTP_"):
            self._audit.note(self._audit.headers, name[5:].replace("_", "-").lower())
        elif name.startswith(_OF_VISITOR):
            self._audit.note(self._audit.meta, name)
        elif name in _RAW:
            self._audit.note_raw_query()

    def note_all(self) -> None:
        super().note_all()
        self._audit.note_all_headers()


class _Scope(Scope):
    def __init__(self, scope: Scope, watched: reads.Reads, audit: Audit) -> None:
        super().__init__(dict(dict.items(scope)), watched)
        self._shared = scope._shared
        self._audit = audit

    def note(self, name: object) -> None:
        super().note(name)
        if name == "headers":
            self._audit.note_all_headers()
        elif name == "query_string":
            self._audit.note_raw_query()
        elif name == "client":
            self._audit.note(self._audit.meta, "REMOTE_ADDR")

    def note_all(self) -> None:
        super().note_all()
        self._audit.note_all_headers()


class _Headers(Headers):
    def __init__(self, meta: Any, watched: reads.Reads, audit: Audit) -> None:
        super().__init__(meta, watched)
        self._audit = audit

    def note(self, name: str) -> None:
        super().note(name)
        self._audit.note(self._audit.headers, name)

    def note_all(self) -> None:
        super().note_all()
        self._audit.note_all_headers()


named_like(Headers, _Headers)


class _Query(QueryDict):
    """``request.GET``: a look-up by name notes the name, everything else the whole."""

    def __init__(self, query: QueryDict, audit: Audit) -> None:
        super().__init__("", mutable=True, encoding=query.encoding)
        self._audit = audit
        for name, values in dict.items(query):
            dict.__setitem__(self, name, values)
        self._mutable = query._mutable

    def __getitem__(self, name: str) -> Any:
        self._audit.note(self._audit.query, name)
        return super().__getitem__(name)

    def __contains__(self, name: object) -> bool:
        self._audit.note(self._audit.query, str(name))
        return dict.__contains__(self, name)

    def getlist(self, name: str, default: Any = None) -> Any:
        self._audit.note(self._audit.query, name)
        return super().getlist(name, default)

    def _plain(self) -> QueryDict:
        self._audit.note_raw_query()
        plain = QueryDict("", mutable=True, encoding=self.encoding)
        for name, values in dict.items(self):
            plain.setlist(name, list(values))
        return plain

    def __copy__(self) -> Any:
        return self._plain()

    def __deepcopy__(self, memo: Any) -> Any:
        return self._plain()

    # Django's makes an instance of this class, which takes more than it gives.
    fromkeys = QueryDict.fromkeys  # type: ignore[assignment]

    def __reduce_ex__(self, protocol: Any) -> Any:
        plain = self._plain()
        plain._mutable = self._mutable
        return _same, (plain,)


def _same(query: QueryDict) -> QueryDict:
    """What a pickled query is made of again: a plain one."""
    return query


def _noting_all(name: str) -> Any:
    kept = getattr(QueryDict, name)

    def method(self: _Query, *args: Any, **kwargs: Any) -> Any:
        self._audit.note_raw_query()
        return kept(self, *args, **kwargs)

    method.__name__ = name
    return method


for _name in (
    "__eq__",
    "__iter__",
    "__len__",
    "__ne__",
    "__or__",
    "__repr__",
    "__reversed__",
    "dict",
    "items",
    "keys",
    "lists",
    "urlencode",
    "values",
):
    setattr(_Query, _name, _noting_all(_name))


# -- Who reads ------------------------------------------------------------------------------------

#: Between the mapping that is read and whoever reads it there may be these.
_BETWEEN = (
    "viewcache.audited",
    "viewcache.reads",
    "viewcache.watched",
    "django.http",
    "django.core.handlers.wsgi",
    "django.core.handlers.asgi",
    "django.utils.datastructures",
    "django.utils.translation",
    "collections.abc",
    "_collections_abc",
)
#: What these of Django's request come to is in every key.
_IN_KEY = frozenset({"_get_raw_host", "_get_scheme", "get_host", "is_secure", "scheme"})
#: These read for every request. What they leave to the page is told otherwise: by ``Vary``, in the
#: session, as the language. Those of packages write the visitor's address and browser into it, and
#: set ``REMOTE_USER`` for whom a member of the staff acts as.
_MIDDLEWARE = "|".join(
    rf"{name}\b"
    for name in (
        r"django\.(middleware|contrib\.\w+\.middleware)",
        *map(re.escape, reads.OF_PACKAGES),
    )
)
#: So do these, unless the site's own code asks them to.
_DJANGOS = r"django\.(core|utils|test|views\.decorators)\b"


def _place() -> str | None:
    """
    File and line of the read, as ``reads`` gives it; ``None`` for one that does not count: ours,
    one of Django's middleware, or one whose outcome every key has.
    """
    frame: FrameType | None = sys._getframe(2)
    while frame is not None:
        module = frame.f_globals.get("__name__", "")
        if not module.startswith(_BETWEEN):
            break
        if module == "django.http.request" and frame.f_code.co_name in _IN_KEY:
            return None
        frame = frame.f_back
    if frame is None:
        return "unknown"
    if module.startswith("viewcache.") or re.match(_MIDDLEWARE, module):
        return None
    if re.match(_DJANGOS, module) and reads.caller(frame) is None:
        return None
    return reads.place_of(frame)


# -- What is read of Django's caches ---------------------------------------------------------------

#: The audit of the request that this context answers. It may be over: a thread lives longer.
_heard: ContextVar[ref[Audit] | None] = ContextVar("viewcache_heard", default=None)
#: What the setting keeps patched.
_caches = ExitStack()
#: While its modules are there: at the end of the process it would be closed without them.
atexit.register(_caches.close)
#: Patching a class is for all threads, and several may ask for it.
_lock = threading.Lock()
_listeners = 0
#: The methods that were replaced: what a class had of its own, or ``None``.
_replaced: list[tuple[type, str, Any]] = []


@contextmanager
def listening() -> Iterator[None]:
    """
    Note what is read of Django's caches, where pages find out what they read (``TRACK``): what an
    app keeps there was made of rows that no query of the page shows.
    """
    if not conf.get().TRACK:
        yield
        return
    token = _heard.set(None)
    _patch(1)
    try:
        yield
    finally:
        _patch(-1)
        # The setting may be taken back in another context than it was made in.
        with suppress(ValueError):
            _heard.reset(token)


def _patch(more: int) -> None:
    """One listener more, or one less."""
    global _listeners
    with _lock:
        _listeners += more
        if _listeners == more == 1:
            for kind in _kinds():
                for name in ("get", "get_many", "aget", "aget_many"):
                    _replaced.append((kind, name, vars(kind).get(name)))
                    setattr(kind, name, _noting(kind, name))
        elif _listeners == 0:
            while _replaced:
                kind, name, own = _replaced.pop()
                if own is None:
                    delattr(kind, name)
                else:
                    setattr(kind, name, own)


def _kinds() -> set[type]:
    """The classes of the site's caches."""
    kinds = set()
    for given in settings.CACHES.values():
        with suppress(ImportError):  # Django says so itself
            kinds.add(import_string(given["BACKEND"]))
    return kinds


def _noting(kind: type, name: str) -> Any:
    """This method of a cache, which notes what was found."""
    method: Callable[..., Any] = getattr(kind, name)
    is_one = name.endswith("get")

    def note(audit: Audit | None, place: str | None, asked: Any, found: Any, *args: Any) -> None:
        if audit is None or place is None:
            return
        if is_one:
            asked, found = [asked], [] if found is (args[0] if args else None) else [asked]
        _note_cached(audit, place, asked, found)

    def default(args: tuple[Any, ...], named: dict[str, Any]) -> Any:
        return args[0] if args else named.get("default")

    @wraps(method)
    def get(self: BaseCache, asked: Any, *args: Any, **named: Any) -> Any:
        audit = _hearing()
        if audit is not None and not is_one:
            asked = list(asked)
        found = method(self, asked, *args, **named)
        note(audit, _cached_place() if audit else None, asked, found, default(args, named))
        return found

    @wraps(method)
    async def aget(self: BaseCache, asked: Any, *args: Any, **named: Any) -> Any:
        audit = _hearing()
        place = _cached_place() if audit else None
        if audit is not None and not is_one:
            asked = list(asked)
        token = _heard.set(None)  # It may call the other in a thread, which has nobody's frames.
        try:
            found = await method(self, asked, *args, **named)
        finally:
            _heard.reset(token)
        note(audit, place, asked, found, default(args, named))
        return found

    return aget if name.startswith("a") else get


def _hearing() -> Audit | None:
    """The audit of the page that is being made, here and now."""
    known = _heard.get()
    audit = known() if known is not None else None
    return None if audit is None or audit.reads.is_paused else audit


def _note_cached(audit: Audit, place: str, asked: Iterable[Any], found: Iterable[Any]) -> None:
    known = set(map(str, found))
    for key in map(str, asked):
        if key not in known:
            audit.filled.add(key)
        elif not (key in audit.filled or _is_expired(key)):
            audit.cached.setdefault(key, place)


def _is_expired(key: str) -> bool:
    """Does one of our apps expire pages when what is under this key changes?"""
    return key == "wagtail_site_root_paths" and apps.is_installed("viewcache.wagtail")


def _cached_place() -> str | None:
    """
    File and line that asked the cache; ``None`` for our own code, and for sessions, which are
    judged by whether they were used.
    """
    frame: FrameType | None = sys._getframe(2)
    while frame is not None:
        module = frame.f_globals.get("__name__", "")
        is_cache = isinstance(frame.f_locals.get("self"), BaseCache)
        if not (is_cache or module.startswith(("django.core.cache", "django.utils.connection"))):
            break
        frame = frame.f_back
    if frame is None:
        return "unknown"
    if module.startswith("viewcache.") or isinstance(frame.f_locals.get("self"), SessionBase):
        return None
    return reads.place_of(frame)
