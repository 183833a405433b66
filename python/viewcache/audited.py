"""
An audited request: what is read of its headers, its query and its META is noted, for
:mod:`viewcache.audit` to judge. A second layer over the request that ``reads`` watches.
"""

from __future__ import annotations

import re
import sys
from contextlib import suppress
from functools import cache
from types import FrameType
from typing import TYPE_CHECKING, Any, cast

from django.core.exceptions import ImproperlyConfigured
from django.core.signals import setting_changed
from django.http import HttpRequest, QueryDict
from django.utils.functional import cached_property

from . import conf, reads
from .visit import AUDIT
from .watched import Headers, Meta, Scope, named_like

if TYPE_CHECKING:
    from .audit import Unkeyed


class Audit:
    """What was read of one request beyond its cookies, each with the place that read it first."""

    __slots__ = ("all_headers", "headers", "meta", "query", "raw_query", "reads", "unkeyed")

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
    reads.on_watch(_begin if conf.get().AUDIT else None)


def _connect_again(*, setting: str, **kwargs: Any) -> None:
    if setting == "VIEWCACHE":
        with suppress(ImproperlyConfigured):
            connect()


setting_changed.connect(_connect_again, dispatch_uid="viewcache.audited")


def _begin(request: HttpRequest, watched: reads.Reads) -> None:
    if not (conf.get().AUDIT or AUDIT in request.__dict__):
        return
    known = request.__dict__
    audit = known[AUDIT] = Audit(watched)
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
#: session, as the language.
_MIDDLEWARE = r"django\.(middleware|contrib\.\w+\.middleware)\b"
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
