"""
The page that is being made, and the scopes that its queries bind it to.

A context makes one page at a time: the request's, once its look-up has missed. The generation of
whatever a query reads is read before the query runs; rows that are found by a value are asked for,
or shown by the result itself (``by_value.py``).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any
from weakref import ref

from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.http import HttpRequest

from . import by_value, commit, conf, databases
from ._core import Fetched
from .by_value import Sought
from .lease import read_rows
from .visit import Visit

#: What every tracked page reads: expired when nobody knows what was written.
ANY_TABLE = "table:*"

#: Commands that the first render of a URL may spend on generations, beyond its look-up; later ones
#: know the URL's scopes beforehand. A render that needs more reads tables instead of rows.
COMMANDS = 6

#: Tables that pages have read in this process, to be asked for at once.
_tables_read: dict[str, None] = {}
_TABLES_ASKED = 256
#: Scopes of which a page may have only so many (``TRACK_ROWS``).
_NAMED = ("row:", "value:")
#: Why a page is not stored that shows what nobody else sees yet.
READ_ITS_OWN = "read what this transaction has written"


class Making:
    """What the queries of this context are for: a page, once there is a lease."""

    __slots__ = (
        *("began", "blind", "has_asked_all", "known", "read", "request", "rows", "spent", "visit"),
    )

    def __init__(self, began: int | None = None) -> None:
        self.visit: Visit | None = None
        #: Whose it is, where that is known.
        self.request: ref[HttpRequest] | None = None
        #: When it began, as the core counts; ``None`` where it may have read before.
        self.began = began
        #: The scopes that were read so far, before there was a lease or after.
        self.read: dict[str, None] = {}
        #: Why what was read so far is not all known.
        self.blind = ""
        #: What queries have read for which visit, so that it need not be looked at again.
        self.known: set[tuple[Any, ...]] = set()
        #: Commands spent on generations.
        self.spent = 0
        #: One of them was for all tables of the project.
        self.has_asked_all = False
        #: Rows that the page names; where there are too many, it reads their tables.
        self.rows: set[str] = set()


current: ContextVar[Making | None] = ContextVar("viewcache_making", default=None)


# -- A request ------------------------------------------------------------------------------------


def begin(**kwargs: Any) -> None:
    """A request begins: what is queried before its look-up is noted."""
    _interrupt(current.get())
    was_open = any(databases.is_late(each) for each in connections.all(initialized_only=True))
    current.set(Making(None if was_open else conf.site().moment()))
    for connection in connections.all(initialized_only=True):
        if not connection.in_atomic_block:
            databases.note_read(connection, has_read=False)


def begin_if_untold(request: HttpRequest) -> None:
    """
    The same, of a request whose beginning this context may not have been told: Django 5.2 runs the
    receivers of an async signal in tasks, and what they set ends with those.
    """
    making = current.get()
    if making is None or (making.request is not None and making.request() is not request):
        begin()
        making = current.get()
    assert making is not None
    making.request = ref(request)


def end(**kwargs: Any) -> None:
    """A request is over: its context makes nothing any more."""
    current.set(None)
    # Its connections may be kept, and send nothing for long.
    commit.settle_all()


def ask(visit: Visit) -> None:
    """What was read before the look-up is what the page reads: it is asked for with the page."""
    making = current.get()
    if making is not None:
        _interrupt(making, visit)
        visit.tags += _read_before(making)


def _interrupt(making: Making | None, by: Visit | None = None) -> None:
    """
    A page that is being made asks for another by a request of its own: what it reads from here on
    is not seen, nor is what that one shows. It is not stored.
    """
    if making is None or making.visit is None:
        return
    within = () if by is None else tuple(by.around)
    for visit in making.visit.around:
        if visit.lease is not None and visit not in within:
            visit.refuse("another request was answered while it was made")


def _read_before(making: Making) -> list[str]:
    """The scopes that were read before the look-up."""
    if not making.read:
        return []
    making.rows.update(scope for scope in making.read if scope.startswith("row:"))
    are_many = len(making.rows) > conf.get().TRACK_ROWS
    return [*(coarse(making.read) if are_many else making.read), ANY_TABLE]


def attach(visit: Visit) -> None:
    """From here on, this context's queries are for this visit's page."""
    making = current.get()
    if making is None:
        making = Making()
        current.set(making)
    making.visit = visit
    lease = visit.lease
    if any(databases.is_late(connection) for connection in connections.all(initialized_only=True)):
        visit.refuse("looked up inside a transaction that had read before")
    elif making.blind:
        visit.refuse(f"{making.blind} (before the look-up)")
    elif (before := _read_before(making)) and lease is not None:
        # It may have changed since, unless this process knows of the same generation from before.
        young = before[0] if making.began is None else lease.younger_than(making.began, before)
        if young is not None:
            visit.refuse(f"{young} read before the look-up")


def visit_of_context(scopes: list[str]) -> Visit | None:
    """The visit whose page is being made here and now, and depends on these scopes."""
    making = current.get()
    if making is None:
        return None
    making.read.update(dict.fromkeys(scopes))
    return making.visit


@contextmanager
def aside() -> Iterator[None]:
    """What is queried within is not part of the page."""
    token = current.set(None)
    try:
        yield
    finally:
        current.reset(token)


# -- A query --------------------------------------------------------------------------------------


def read(
    making: Making,
    connection: BaseDatabaseWrapper,
    reads: Sequence[str],
    others: Sequence[str] = (),
    refused: tuple[str, bool] | None = None,
    by: Sequence[Any] = (),
    *,
    written: bool,
) -> list[Sought]:
    """
    Bind the page that is being made to what a query reads; this transaction may have written it.
    Returns what the query finds by a value and has to prove, once it has run.
    """
    inner = making.visit
    known = inner, tuple(reads)
    is_plain = not (written or others or refused or by)
    if is_plain and inner and inner.outer is None and bind_known(making, inner, reads):
        making.known.add(known)
        return []
    making.known.add(known)
    sought = [Sought(*each) for each in by]
    visits = _visits(making)
    reason = None if refused is None else f"query not understood: {refused[0]}"
    scopes = [ANY_TABLE, *reads]
    # Whoever does not know the rows reads their tables.
    with_tables = [*scopes, *(each.all_rows for each in sought)] if sought else scopes
    for name in others:
        with databases.quietly():
            if not databases.is_table(connection.alias, name):
                reason = f"query reads {name}, which is no table"
    if written and not commit.dirty().isdisjoint(with_tables):
        # Nobody else sees it yet, and after a rollback nobody ever does.
        reason = READ_ITS_OWN
    making.read.update(dict.fromkeys(with_tables[1:]))
    making.blind = making.blind or reason or ""
    # What a transaction reads after its first read is as old as that one.
    late = bool(visits) and databases.is_late(connection)
    for visit in visits:
        if reason is not None:
            visit.refuse(reason)
        else:
            bind(making, visit, scopes, late=late)
    values = [scope for each in sought for scope in each.scopes]
    if inner and reason is None:
        for visit in inner.around:
            if visit.teaches:
                teach(making, visit, [*with_tables, *values])
    for scope in (*reads, *values):
        if not scope.startswith(_NAMED) and len(_tables_read) < _TABLES_ASKED:
            _tables_read.setdefault(scope)
    return _seek(making, connection, sought) if sought and visits and reason is None else []


def _seek(making: Making, connection: BaseDatabaseWrapper, sought: list[Sought]) -> list[Sought]:
    """
    Bind the page to what a query finds by values, before it runs. Returns those whose rows the
    query itself has to show.
    """
    late = databases.is_late(connection)
    # All of them, before the first row is asked for.
    bound = [
        (each, [bind(making, visit, each.scopes, late=late) for visit in _visits(making)])
        for each in sought
    ]
    unproven = []
    for each, exact in bound:
        if not any(exact):
            continue
        if each.key_at is not None and each.unique and _knows_a_row(making, each):
            unproven.append(each)
        else:
            _find(making, connection, each)
    return unproven


def _find(making: Making, connection: BaseDatabaseWrapper, sought: Sought) -> None:
    """Ask which rows have the value, and bind the page to them, before its own query runs."""
    with databases.quietly():
        scopes = by_value.find(sought, connection)
    # In a transaction that may have been its first read.
    databases.note_read(connection)
    late = databases.is_late(connection)
    for visit in _visits(making):
        if scopes is None:
            bind(making, visit, [sought.all_rows], late=late)
        elif scopes:
            bind(making, visit, scopes, late=late)


def prove(
    making: Making, connection: BaseDatabaseWrapper, unproven: list[Sought], cursor: Any
) -> bool:
    """
    Does a result show the rows that the page knew beforehand? If not, the page is bound to those
    that there are, and the query is to be run again.
    """
    proven = True
    for each in unproven:
        row = by_value.shown(each, cursor.rows if isinstance(cursor, Fetched) else None)
        leases = [visit.lease for visit in _visits(making)]
        has_room = row in making.rows or len(making.rows) < conf.get().TRACK_ROWS
        if (
            row is not None
            and has_room
            and not any(lease.unread_of([row]) for lease in leases if lease is not None)
        ):
            for visit in _visits(making):
                bind(making, visit, [row], late=True)
        else:
            proven = False
            _find(making, connection, each)
    return proven


def _visits(making: Making) -> list[Visit]:
    """The visits whose pages are being made."""
    around = () if making.visit is None else making.visit.around
    return [visit for visit in around if visit.lease is not None]


def _knows_a_row(making: Making, sought: Sought) -> bool:
    """Has an earlier render taught the scope of a row of this table?"""
    leases = [visit.lease for visit in _visits(making)]
    return all(lease.has_read_any(sought.any_row) for lease in leases if lease is not None)


def bind_known(making: Making, visit: Visit, reads: Sequence[str]) -> bool:
    """
    As ``bind``, where that is quick: each generation has been read and there is room for each row.
    Else nothing is done.
    """
    lease = visit.lease
    rows = [scope for scope in reads if scope.startswith("row:")]
    if (
        lease is None
        or len(making.rows) + len(rows) > conf.get().TRACK_ROWS
        or not lease.read_known([ANY_TABLE, *reads])
    ):
        return False
    making.rows.update(rows)
    making.read.update(dict.fromkeys(reads))
    return True


def teach(making: Making, visit: Visit, scopes: list[str]) -> None:
    """
    The visit's page is not stored, and this is what the next render of its URL has to know
    beforehand, too: else each render would learn of one more query.
    """
    assert visit.lookup is not None
    scopes, _ = _within_bound(making, scopes)
    visit.lookup.expect([*scopes, *coarse(scopes)], remember=True)


def _within_bound(making: Making, scopes: list[str]) -> tuple[list[str], bool]:
    """
    These scopes, or the tables in their place where the page has read too many rows; and whether
    they are exact.
    """
    named = [scope for scope in scopes if scope.startswith(_NAMED)]
    if named and len(rows := making.rows.union(named)) > conf.get().TRACK_ROWS:
        return coarse(scopes), False
    if named:
        making.rows = rows
    return scopes, True


def bind(making: Making, visit: Visit, scopes: list[str], *, late: bool) -> bool:
    """
    The visit's page reads these scopes: bind it to their generations, or refuse it. False when it
    reads tables in their place.
    """
    lease = visit.lease
    assert lease is not None
    scopes, exact = _within_bound(making, scopes)
    if lease.read_known(scopes):
        return exact
    if late or making.spent >= COMMANDS:
        # The next render of this URL knows these rows beforehand; this one reads tables.
        lease.expect(scopes, remember=True)
        scopes, exact = coarse(scopes), False
        if lease.read_known(scopes):
            return exact
    if late:
        lease.expect(scopes, remember=True)
        visit.refuse("read inside a transaction that had read before", teach=True)
        return exact
    # Those that pages of this process have read; where that is not enough, those of the project.
    if not making.spent and _tables_read:
        lease.expect(list(_tables_read), remember=False)
    elif not making.has_asked_all:
        making.has_asked_all = True
        lease.expect(databases.all_tables()[:_TABLES_ASKED], remember=False)
    with databases.quietly():
        making.spent += read_rows(visit, scopes)
    return exact


def coarse(scopes: Iterable[str]) -> list[str]:
    """Rows, and what is found by values, as the tables that they are of."""
    return list(dict.fromkeys(map(_coarser, scopes)))


def _coarser(scope: str) -> str:
    kind, _, rest = scope.partition(":")
    if kind in ("row", "value"):
        rest = rest.rpartition(":")[0]
    return f"rows:{rest}" if kind in ("row", "value", "values") else scope
