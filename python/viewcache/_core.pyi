"""
The core of viewcache, in Rust: keys, scopes, records and the way of a request through the cache.

Times are seconds since the epoch. A scope is text: ``path:/blog/``, ``tree:/blog/``, ``tag:a``.
Nothing here does I/O of its own: the key functions call the Django cache that they are given, and
``Fetched`` the database cursor that it is made of.
"""

from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any, final

from django.core.cache.backends.base import BaseCache
from django.http import HttpRequest

__all__ = [
    "Asked",
    "Django",
    "Early",
    "Fetched",
    "Hit",
    "Inventory",
    "LocalMemory",
    "LookUp",
    "Names",
    "Plain",
    "Proof",
    "Queries",
    "Site",
    "UrlPattern",
    "absolute_uri",
    "canonical_cookies",
    "cut",
    "detect_recipe",
    "expire_view_cache",
    "get_cache_key",
    "get_cache_key_of",
    "inventory_entries",
    "learn_cache_key",
    "learn_cache_key_of",
    "mask_token",
    "new_rows",
    "query_pairs",
    "read_cache_control",
    "read_redis",
    "read_vary",
    "row_scope",
    "scope_of_session",
    "scope_of_tag",
    "scopes_of_path",
    "scopes_of_tree",
    "slot_nonces",
    "table_name",
    "take_out",
    "vary_list",
]

@final
class Django:
    """
    Reads what keys are made of from where the installed Django keeps it. What has been replaced, or
    is not simply there, is Django's to tell.

    ``settings`` is the dictionary of ``LazySettings``, and that itself. ``host`` and ``uri`` are
    attributes of ``HttpRequest`` by name; a request of another class that has others, or has them
    itself, is not read. ``validate`` is the module of ``validate_host()`` and that function;
    ``language`` and ``zone`` are the modules in whose ``_active``, a ``local``, the active ones are
    kept.
    """

    def __new__(
        cls,
        *,
        settings: tuple[dict[str, Any], Any],
        host: Sequence[tuple[str, Any]],
        uri: Sequence[tuple[str, Any]],
        wsgi_scheme: Any,
        validate: tuple[Any, Any],
        language: ModuleType,
        zone: ModuleType,
        local: type,
        variable: type,
        getattr: Any,
    ) -> Django: ...
    def let_through(self, host: str, allowed: Any, debug: Any) -> None:
        """``get_host()`` has let this host through, by these settings."""
    def is_judged(self, host: str) -> bool:
        """Has it let this very host through, by the settings as they are now?"""
    def default_zone(self, zone: Any, name: str) -> None:
        """The default time zone, and Django's name of it."""

@final
class Names:
    """A compiled list of patterns in which ``*`` stands for any run of characters."""

    def __new__(cls, patterns: Sequence[str]) -> Names: ...
    def matches(self, name: str) -> bool:
        """Does any of the patterns match the whole name?"""

@final
class UrlPattern:
    """
    A regular expression that is searched for in URLs, and in their part after the host. It is
    matched in linear time. Raises ``ValueError`` for what is no pattern.
    """

    def __new__(cls, pattern: str) -> UrlPattern: ...

@final
class Site:
    """What all keys of a site share, and the recipes that this process remembers."""

    def __new__(
        cls,
        key_prefix: str,
        *,
        release: str,
        ignore_cookies: Sequence[str],
        ignore_query: Sequence[str],
        sort_query: bool,
        memory_entries: int,
        memory_bytes: int,
        sign_with: Sequence[bytes],
        session_cookie: str | None = None,
    ) -> Site:
        """
        ``session_cookie``: a page that varies on it is bound to the session that it names.
        ``sign_with``: keys for HMAC-SHA-256. With the first, pages and recipes are signed; those
        that none of them has signed are misses. Without any, nothing is signed.
        """
    def look_up(
        self,
        meta: dict[str, Any],
        *,
        method: str,
        key_prefix: str,
        scheme: str,
        host: str,
        path: str,
        query: str,
        charset: str | None,
        utf8_cookies: bool,
        only: Names | None,
        language: str | None,
        zone: str | None,
    ) -> LookUp | None:
        """
        Begin a look-up. ``None`` when the path is beyond the limits of what is cached (32
        segments, 4096 bytes). ``utf8_cookies``: the header holds bytes as Latin-1, as WSGI hands
        them over, which Django reads as UTF-8. Raises ``UnicodeEncodeError`` for text with lone
        surrogates.
        """
    def look_up_of(self, django: Django, request: Any, key_prefix: str, only: Names | None) -> Any:
        """
        As ``look_up``, of a request that is as Django makes them; ``NotImplemented`` where Django
        has to be asked for what it is made of.
        """
    def generation_keys(self, scopes: Sequence[str]) -> list[str]:
        """The cache keys of these scopes' generations."""
    def tells_sessions_apart(self, cookies: set[str] | None) -> bool:
        """Are pages of these cookies (``None`` is all of them) told apart by the session's?"""
    def expiry(self, scopes: Sequence[str]) -> dict[str, int]:
        """
        What to write to expire these scopes: their keys, each with a new random
        generation. Raises ``OSError`` when the operating system has no randomness.
        """
    def moment(self) -> int:
        """Now, for ``LookUp.younger_than``: a count of what this process has read so far."""
    @staticmethod
    def moment_key(key: str, generation: int) -> str | None:
        """
        Where the moment (milliseconds since the epoch) is kept at which the generation under this
        key became this one by a soft expiry; ``None`` when it is none and has to be replaced.
        """
    @property
    def remembered(self) -> int:
        """How many recipes this process remembers."""

@final
class LocalMemory:
    """
    Reads one of Django's ``LocMemCache``s, as its ``get()`` does one key after another.

    A key's name in ``cache`` is the text ``name`` and it, or what ``name`` makes of it. Classes,
    attributes and values: where one of these attributes is another by now, nothing is read. What
    is pickled otherwise than a page or a generation is, ``loads`` reads. Of so many entries, and so
    many bytes, it remembers that their checksum was right.
    """

    def __new__(
        cls,
        cache: Any,
        name: str | Callable[[str], str],
        originals: Sequence[tuple[type, str, Any]],
        loads: Callable[[bytes], Any],
        memory_entries: int,
        memory_bytes: int,
    ) -> LocalMemory: ...
    @property
    def is_djangos(self) -> bool:
        """Are those attributes as they were?"""
    def lend(
        self, pages: Sequence[str], others: Sequence[str], now: float
    ) -> dict[str, Any] | None:
        """
        What is under these keys at this time; ``None`` where an attribute is another by now. Of
        large bytes under the first keys it is the pickle in which they lie, where they begin, and
        where they end.
        """

@final
class LookUp:
    """One request's way through the cache; after a miss, the lease."""

    def wanted(self) -> tuple[list[str], list[str]]:
        """The keys to fetch now: those of recipe and pages, and those of generations."""
    def receive(self, found: dict[str, Any], now: float) -> bool:
        """Take in what was found under the wanted keys. True when there is more to fetch."""
    def answer(self, memory: LocalMemory, now: float) -> bool:
        """
        Find all that is wanted in local memory at this time. False where it does not answer, and
        there is more to fetch.
        """
    @property
    def hit(self) -> Hit | None:
        """The page that answers, if one does."""
    def stale(self, *, on_error: bool) -> Hit | None:
        """
        The page that may be served although it is stale: while another request renders it, or in
        place of an error. The look-up is a miss then, too, and may be the lease.
        """
    @property
    def stale_since(self) -> float | None:
        """Since when that page is stale."""
    def again(self) -> LookUp:
        """The same request once more, from the beginning."""
    def own(self) -> None:
        """The lease: has a copy of the request's META from here on, as it is now."""
    @property
    def key(self) -> str | None:
        """The key of the page that answers, or of the one that was looked for or stored."""
    @property
    def miss(self) -> tuple[str, str | None] | None:
        """Why there is none: a code, and the scope that it is about."""
    @property
    def recipe(self) -> tuple[list[str], list[str] | None, list[str]] | None:
        """Header names, cookie names (``None``: all of them) and tags of this URL, if known."""
    @property
    def scopes(self) -> list[tuple[str, bool]]:
        """The scopes that bind the page, and whether each had a generation."""
    @property
    def turn_key(self) -> str:
        """The lease: the key of the turn to render this page, of this moment's generations."""
    @property
    def recipe_key(self) -> str:
        """The cache key of the URL's recipe."""
    def read(self, scopes: Sequence[str]) -> list[str]:
        """
        The lease: scopes that the page reads from here on. Returns the keys whose generations
        have to be fetched, and handed to ``claim``, before the data is read.
        """
    def read_known(self, scopes: Sequence[str]) -> bool:
        """
        The lease: as ``read``, where the generations of all of them have been read; else it does
        nothing, and returns False.
        """
    def expect(self, scopes: Sequence[str], *, remember: bool) -> None:
        """
        The lease: scopes that the page may come to read; they are fetched with those it does.
        Those to ``remember`` become part of the recipe.
        """
    def unknown(self) -> list[str]:
        """The lease: the keys of all generations that are not known, used or only expected."""
    def renewals(self) -> dict[str, int]:
        """The lease: the same, each with a new one to set."""
    def unread_of(self, scopes: Sequence[str]) -> list[str]:
        """The lease: those of the scopes whose generation has not been read."""
    def has_read_any(self, prefix: str) -> bool:
        """The lease: has the generation of any scope that begins so been read?"""
    def younger_than(self, moment: int, scopes: Sequence[str]) -> str | None:
        """
        The lease: the first of these scopes that may have been expired between that moment and
        the look-up; ``None`` when this process had seen each generation even before.
        """
    def teach(self, now: float) -> tuple[str, bytes, int]:
        """The lease: the entry that teaches the next render of this URL what this one read."""
    def unclaimed(self) -> dict[str, int]:
        """The lease: the keys of generations that are absent, each with a new one to add."""
    def claim(self, found: dict[str, Any]) -> None:
        """The lease: take in what was found under keys that ``read`` or ``unclaimed`` named."""
    def store(
        self,
        *,
        status: int,
        reason: str | None,
        marks: str,
        headers: Sequence[tuple[str, str]],
        body: bytes,
        slots: Sequence[tuple[int, str]],
        public: bool,
        vary: set[str],
        cookies: set[str] | None,
        timeout: int,
        windows: tuple[int, int],
        now: float,
    ) -> tuple[list[tuple[str, bytes, int]] | None, str | None]:
        """
        The entries to set for a response that may be stored, each a key, a record and the
        seconds to keep it; or ``None`` and the reason (``"no-generation"``, ``"closed"``,
        ``"too-many-tags"``). ``cookies`` are the names that the page depends on, ``None`` the whole
        header; ``windows`` are ``Hit.windows``.
        """

@final
class Inventory:
    """The table of a site's pages, and which of them this process knows to be in it."""

    def __new__(cls, site: Site, *, places: int, remembered: int) -> Inventory: ...
    @property
    def places(self) -> int:
        """How many places there are; none where it is switched off."""
    def keys(self, start: int, stop: int) -> list[str]:
        """The cache keys of these places."""
    def is_listed(self, lease: LookUp, until: float) -> bool:
        """The page that was stored: is its entry there until then, as far as is known?"""
    def listing(
        self,
        lease: LookUp,
        *,
        scheme: str,
        host: str,
        query: str,
        charset: str | None,
        only: Names | None,
        key_prefix: str,
        alias: str | None,
    ) -> tuple[list[str], bytes]:
        """
        The page that was stored: the keys that its entry may have, in the order in which they are
        tried, and the entry. The same page always has the same entry.
        """
    def listed(self, lease: LookUp, until: float, has_place: bool) -> None:
        """
        The page that was stored: its entry is there until then; or, where all its places were
        taken, no page of its URL need ask again until then.
        """
    def generation_keys(self, path: str, key: str, record: bytes) -> list[str] | None:
        """
        The keys of the generations that the page at this path, stored under this key, is checked
        against.
        """
    def inspect(
        self, path: str, key: str, record: bytes, found: dict[str, Any], now: float
    ) -> tuple[tuple[str, str | None] | None, int, float, float, list[str]] | None:
        """
        Why a page is not served (a code, and the scope that it is about; ``None`` where it is),
        its status, when it was stored and when it ends, its scopes beyond those of its path.
        ``None`` when the record is none, is another page's, or was not signed by this site that
        signs.
        """

@final
class Early:
    """
    What the settings ask of a request, so that Django would do nothing with it but look it up; and
    what is known of pages, within these bounds.

    ``active`` asks Django for the language and the time zone that are active; ``language`` says
    which language a path is in, and ``None`` where that is a matter of the request. ``needs_https``
    and ``needs_www``: it is redirected otherwise. The cookies are those of the session and of the
    CSRF secret.
    """

    def __new__(
        cls,
        django: Django,
        active: Callable[[], tuple[str | None, str | None]],
        *,
        language: Callable[[str], str | None] | None,
        key_prefix: str,
        needs_https: bool,
        needs_www: bool,
        session_cookie: str,
        secret_cookie: str,
        memory_entries: int,
        memory_bytes: int,
    ) -> Early: ...
    def ask(
        self,
        site: Site,
        meta: dict[str, Any],
        kind: type[HttpRequest],
        *,
        scheme: str,
        path: str,
        query: str,
    ) -> Asked | None:
        """
        Begin the look-up of a request with this ``META``, of which Django would make one of this
        class. ``None`` if it is Django's to answer. ``path`` and ``query`` are decoded as Django
        decodes them. Raises ``UnicodeEncodeError`` for text with lone surrogates.
        """
    def ask_wsgi(
        self, site: Site, environ: dict[str, Any], kind: type[HttpRequest]
    ) -> Asked | None:
        """As ``ask()``, of a request as a WSGI server hands it over (PEP 3333)."""
    def learn(self, asked: Asked, shown: Proof) -> None:
        """
        A hit of the page that was asked for has shown this. It is proven once two hits have shown
        the same, and refused once they have not.
        """
    @property
    def known(self) -> int:
        """Of how many pages something is known."""

@final
class Asked:
    """A request that may be answered early, and what is known of its page."""

    @property
    def lookup(self) -> LookUp:
        """Its look-up, which is to be answered."""
    @property
    def key(self) -> str:
        """The key of the page that is asked for."""
    @property
    def proof(self) -> Proof | None:
        """What is known of it."""
    @property
    def is_proven(self) -> bool:
        """Is it known what a hit sends?"""
    def answer(self, now: float) -> tuple[list[tuple[str, str]], bytes] | None:
        """
        Headers and body to send at this time, if the look-up has found the very record of the
        proof.
        """

@final
class Proof:
    """
    What a hit of one record sends. Without headers: it is not to be served early.

    What changes with time is left out of ``headers``: the value of ``Age``, and the seconds at the
    end of the header at ``ttl_at``, if there is one.
    """

    def __new__(
        cls,
        identity: bytes,
        status: int = 0,
        phrase: str = "",
        headers: Sequence[tuple[str, str]] = ...,
        age_at: int = 0,
        ttl_at: int | None = None,
    ) -> Proof: ...
    @property
    def identity(self) -> bytes:
        """That of the record, see ``Hit``."""
    @property
    def status(self) -> int:
        """The status code."""
    @property
    def status_line(self) -> str:
        """Status code and reason phrase, as WSGI wants them."""
    @property
    def is_refused(self) -> bool:
        """Is this record not to be served early?"""

@final
class Queries:
    """The project's tables, and the statements that have been seen."""

    def __new__(
        cls,
        tables: Sequence[tuple[str, str | None]],
        *,
        findable: Sequence[tuple[str, Sequence[tuple[str, bool, int | None, bool]]]],
        tracked: Sequence[str] | None,
        quiet: dict[str, list[str] | None],
        cascades: dict[str, list[str]],
        pure_functions: Sequence[str],
        rows_limit: int,
    ) -> Queries: ...
    def analyse(
        self, text: str, vendor: str, params: Any, many: bool
    ) -> tuple[
        list[str],
        list[str],
        list[str],
        list[str],
        bool | None,
        tuple[str, bool] | None,
        list[tuple[str, str, Any, list[str], int | None, bool]],
    ]:
        """
        What a statement does: scopes read, scopes written, names read that are no known table,
        tables whose new rows the database numbers, whether a transaction begins (``False``: the
        open one ends), why it was not understood (with whether it may write), and the rows that
        it finds by a value: table, column, value, the scopes of what is found by it, where in a
        row of the result the primary key stands, and whether one row has it at most.
        """
    def plain(self, text: str, vendor: str) -> Plain | None:
        """The statement, where it is a query of known tables and nothing else."""

@final
class Plain:
    """A query of known tables and nothing else."""

    def reads(self, params: Any) -> tuple[str, ...]:
        """The scopes that it reads with these parameters."""

@final
class Fetched:
    """A database cursor whose rows have been fetched, and are handed out from here."""

    def __new__(cls, cursor: Any, kind: type[Any]) -> Fetched:
        """``kind`` is what the driver gives several rows as."""
    @property
    def rows(self) -> Sequence[Any]:
        """All of its rows."""
    def forget(self) -> Any:
        """The cursor as it was, for its next statement."""
    def close(self) -> None: ...
    def __getattribute__(self, name: str, /) -> Any: ...
    def __iter__(self) -> Fetched: ...
    def __next__(self) -> Any: ...
    def fetchone(self) -> Any:
        """The next row, if there is one."""
    def fetchmany(self, size: int | None = None) -> Any:
        """The next rows, as many as the cursor's ``arraysize`` where no size is given."""
    def fetchall(self) -> Any:
        """The rows that are left."""
    def scroll(self, value: int, mode: str = "relative") -> None:
        """Go to another row, as the driver's cursor does, and raise what it raises."""
    @property
    def rownumber(self) -> int:
        """Which row is next, where the driver says so."""

@final
class Hit:
    """A page that answers a request."""

    def head(self) -> tuple[int, str | None, list[tuple[str, str]], float, float]:
        """
        Status, reason phrase where it is not the status code's own, headers, when it was stored
        and when it ends, in seconds since the epoch.
        """
    def ready(
        self, now: float, *, with_body: bool
    ) -> tuple[
        int,
        str | None,
        str | None,
        dict[str, tuple[str, str]],
        bool,
        float,
        list[str],
        bytes | None,
    ]:
        """
        Status, reason phrase, marks if there are any (what ``store`` was given), headers by their
        lower-case names, ``Age`` among them, whether these are as Django would let them be (no
        phrase; ASCII, no line ends), when the page was stored, its slots, and the body if it is
        wanted and has none.
        """
    @property
    def body(self) -> bytes:
        """The body without its slots; ``ValueError`` once it was let go."""
    @property
    def size(self) -> int:
        """Bytes of that body."""
    def let_go(self) -> None:
        """Forget the body, which a response has now."""
    @property
    def identity(self) -> bytes:
        """What tells this record from any other: its checksum, its times and its fingerprint."""
    @property
    def windows(self) -> tuple[int, int]:
        """
        For how many seconds the page may be served stale: while another request renders it, and
        in place of an error.
        """
    @property
    def slots(self) -> list[str]:
        """The names of the body's slots, in their order; the CSRF token's is ``""``."""
    @property
    def tags(self) -> list[str]:
        """The scopes that the page carries beyond those of its path."""
    def fill(self, fillings: Sequence[bytes]) -> bytes:
        """The body with its slots filled, one filling for each."""

def absolute_uri(origin: str, path: str, query: str) -> str | None:
    """
    ``HttpRequest.build_absolute_uri()`` for an origin such as ``https://host``. ``None`` for what
    Django joins as a browser would: dot segments, and a path that does not begin with a slash.
    """

def canonical_cookies(header: str) -> str:
    """
    The ``Cookie`` header in canonical order: by name, namesakes as they came. One with a name that
    is not ASCII comes back as it is.
    """

def query_pairs(query: str) -> list[tuple[str, str]]:
    """The pairs of a query string, decoded as ``QueryDict`` decodes them."""

def detect_recipe(probes: Sequence[tuple[Sequence[str | None], str]]) -> str | None:
    """The name of Django's key recipe that gives these digests for these header values."""

def get_cache_key(
    django: Django,
    request: HttpRequest,
    key_prefix: Any,
    method: str,
    cache: BaseCache,
    recipe: str,
) -> Any:
    """
    ``django.utils.cache.get_cache_key``, cookies sorted, of a request that is as Django makes them;
    ``NotImplemented`` where Django has to be asked for what it is made of.
    """

def get_cache_key_of(
    request: HttpRequest,
    key_prefix: Any,
    method: str,
    cache: BaseCache,
    recipe: str,
    url: str,
    language: str | None,
    zone: str | None,
) -> str | None:
    """The same of any request, with what it takes from Django as arguments."""

def inventory_entries(
    found: dict[str, Any], patterns: Sequence[UrlPattern]
) -> list[tuple[str, str, str, str, str, str | None, str, str | None, str | None]]:
    """
    The entries of the inventory among what was found; those that match one of the patterns, if
    there are any. Each: key of the page, origin, URL from its path on, path, method, alias, key
    prefix, language, time zone.
    """

def learn_cache_key(
    django: Django,
    request: HttpRequest,
    headers: list[str],
    cache_timeout: float | None,
    key_prefix: Any,
    cache: BaseCache,
    recipe: str,
) -> Any:
    """
    ``django.utils.cache.learn_cache_key``, cookies sorted, of a request that is as Django makes
    them and with the list that is to be cached; ``NotImplemented`` where Django has to be asked for
    what the request is made of.
    """

def learn_cache_key_of(
    request: HttpRequest,
    headers: list[str],
    cache_timeout: float | None,
    key_prefix: Any,
    cache: BaseCache,
    recipe: str,
    url: str,
    language: str | None,
    zone: str | None,
) -> str:
    """The same of any request, with what it takes from Django as arguments."""

def vary_list(vary: Sequence[str], is_i18n: bool) -> list[str]:
    """What Django caches for a ``Vary`` header with these members."""

def expire_view_cache(
    stock_cache: BaseCache,
    *,
    recipe: str | None,
    key_prefixes: Sequence[str],
    urls: Sequence[str],
    suffixes: Sequence[tuple[str | None, str | None]],
) -> int:
    """
    Delete what stock Django stored for these URLs, with these key prefixes, languages and time
    zones. Returns how many keys it asked to delete.
    """

def scopes_of_path(path: str) -> list[str]:
    """The scopes to write to expire one path. Raises ``ValueError`` for what is no path."""

def scopes_of_tree(path: str) -> list[str]:
    """The scopes to write to expire a path and all below it. Raises ``ValueError``."""

def scope_of_session(key: str) -> str:
    """The scope of the session with this key, which does not tell the key."""

def scope_of_tag(tag: str) -> str:
    """The scope of a tag. Raises ``ValueError`` for what is no tag."""

def read_redis(
    keys: list[str], pages: int, values: list[Any]
) -> tuple[dict[str, Any], list[tuple[str, Any]]]:
    """
    What Redis has under these keys, as Django keeps it there; so many of them are those of pages.

    Returns what was found, with large bytes of pages as ``LocalMemory`` has them, and what
    is left to the serializer.
    """

def read_vary(header: str) -> tuple[list[str] | None, str | None]:
    """The header names of ``Vary``, lower case; or ``None`` and why it forbids storing."""

def read_cache_control(
    header: str,
) -> tuple[str | None, bool, tuple[int | None, int | None] | None]:
    """
    The first directive that forbids storing; whether the response is ``public``; and for how many
    seconds it may be served stale (while another request renders it, in place of an error), as far
    as it says so: ``None`` where it must not be at all.
    """

def take_out(body: bytes, nonce: str) -> tuple[bytes, list[tuple[int, int, int, str]], bool]:
    """
    The body without the markers of this nonce; the pieces that stood between them, each with its
    number, start, end, and how it was escaped (``"plain"``, ``"json"``, ``"other"``); and whether
    all markers were whole.
    """

def slot_nonces(body: bytes) -> list[str]:
    """The nonces whose markers stand in this body, whatever response they belong to."""

def cut(
    body: bytes, secret: str | None, pieces: Sequence[tuple[int, int]]
) -> tuple[bytes, list[tuple[int, int | None]]] | None:
    """
    The body without these pieces and without the CSRF tokens of this secret; and each place with
    the number of its piece, ``None`` for a token. ``None`` when it cannot be shared: there is a
    secret and no token of it, or the secret itself.
    """

def mask_token(secret: str) -> str | None:
    """A token of this CSRF secret, masked anew as Django does; ``None`` when it is no secret."""

def new_rows(table: str, last: int, count: int) -> list[str]:
    """The scopes of the rows that an insert of ``count`` rows may have added around ``last``."""

def row_scope(table: str, key: str) -> str | None:
    """The scope of a row by the text of its primary key; ``None`` for a key that names none."""

def table_name(name: str) -> str:
    """The name by which a table is known in scopes, however it is quoted or qualified."""
