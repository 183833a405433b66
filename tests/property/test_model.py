"""
Every order of events, on paper: a page with one scope, and all that can happen to it.

Hypothesis tries some orders of the real code (``test_generations``); here all of them are tried, of
a model of it. Each action of a reader or a writer is one command to the cache, so between any two
of them anything may happen: another reader, another writer, an eviction. What is searched for is a
request that is served a page older than an expiry that had returned before the request began.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import pytest


@dataclass(frozen=True)
class Protocol:
    """What the model's readers and writers do."""

    #: How an absent generation gets a value before the render: ``add`` it and read back what is
    #: there then, ``set`` it over whatever is there by now and take it for granted, or ``either``,
    #: as it happens. (A path's scopes are added, those of many queries are set.)
    claim: str | None = "add"
    #: Is the page read before the generations? One ``get_many`` is many reads where the keys live
    #: on several servers, and nobody says in which order.
    page_first: bool = False
    #: Are a page's generations those that were read before its data?
    before_data: bool = True
    #: May a page whose generation is absent on both sides be served?
    absent_is_fresh: bool = False
    #: Does a writer delete the page instead of writing a generation?
    deletes: bool = False
    #: Is the data read before the generation (by a middleware)? The page is stored then with a
    #: generation that the process had seen even before that.
    early: bool = False
    #: Is it looked at what had been seen before?
    proves: bool = True


class Reader(NamedTuple):
    at: str = "idle"
    #: What an expiry had acknowledged when this request began.
    needed: int = 0
    generation: int | None = None
    page: tuple[int | None, int] | None = None
    data: int = 0
    #: The generation that the process had seen when this request began.
    known: int | None = None


class State(NamedTuple):
    readers: tuple[Reader, ...]
    writes_left: int
    evictions_left: int
    #: A change that is committed and not yet expired.
    expiring: bool = False
    #: The version of the data, and the one that an expiry has made known.
    data: int = 0
    acknowledged: int = 0
    #: In the cache: the generation, and the page as (generation, data).
    generation: int | None = None
    page: tuple[int | None, int] | None = None
    #: The next random token.
    token: int = 1
    #: The generation that the readers' process has seen last.
    seen: int | None = None


class StaleError(Exception):
    """A request was served a page that is too old."""


def writers(state: State, protocol: Protocol) -> Iterator[State]:
    if state.writes_left and not state.expiring:
        yield state._replace(data=state.data + 1, expiring=True)
    if state.expiring:
        done = state._replace(
            expiring=False, writes_left=state.writes_left - 1, acknowledged=state.data
        )
        if protocol.deletes:
            yield done._replace(page=None)
        else:
            yield done._replace(generation=state.token, token=state.token + 1)


def evictions(state: State) -> Iterator[State]:
    if state.evictions_left:
        left = state._replace(evictions_left=state.evictions_left - 1)
        if state.generation is not None:
            yield left._replace(generation=None)
        if state.page is not None:
            yield left._replace(page=None)


def serve(reader: Reader, data: int) -> Reader:
    if data < reader.needed:
        raise StaleError(f"version {data} is served; {reader.needed} was acknowledged")
    return Reader("done")


def readers(state: State, protocol: Protocol) -> Iterator[State]:
    for at, reader in enumerate(state.readers):
        for after, changes in moves(reader, state, protocol):
            others = (*state.readers[:at], after, *state.readers[at + 1 :])
            yield state._replace(readers=others, **changes)


def moves(reader: Reader, state: State, protocol: Protocol) -> Iterator[tuple[Reader, dict]]:
    """What this reader may do next, and what it changes."""
    first, second = ("page", "generation") if protocol.page_first else ("generation", "page")
    match reader.at:
        case "idle":
            begun = reader._replace(at="look up", needed=state.acknowledged, known=state.seen)
            if protocol.early:
                yield begun._replace(at="early"), {}
            else:
                yield begun._replace(at=second, **{first: getattr(state, first)}), {}
        case "early":
            yield reader._replace(at="look up", data=state.data), {}
        case "look up":
            yield reader._replace(at=second, **{first: getattr(state, first)}), {}
        case "page" | "generation":
            judging = reader._replace(at="judge", **{second: getattr(state, second)})
            seen = judging.generation if protocol.early else None
            yield judging, {} if seen is None else {"seen": seen}
        case "judge":
            yield from judge(reader, protocol)
        case "claim":
            new = {"generation": state.token, "token": state.token + 1}
            if protocol.claim in ("set", "either"):
                yield reader._replace(at="render", generation=state.token), new
            if protocol.claim in ("add", "either"):
                added = new if state.generation is None else {}
                yield reader._replace(at="read back"), added
        case "read back":
            # Evicted again already: the visitor is served, nothing is stored.
            gone = state.generation is None
            yield (
                reader._replace(at="unstored" if gone else "render", generation=state.generation),
                {},
            )
        case "unstored":
            yield serve(reader, state.data), {}
        case "render":
            data = reader.data if protocol.early else state.data
            yield reader._replace(at="store", data=data), {}
        case "store":
            generation = reader.generation if protocol.before_data else state.generation
            proven = not protocol.early or not protocol.proves or generation == reader.known
            page = {"page": (generation, reader.data)} if proven else {}
            # Nothing guards what a page shows to the one who read it early.
            yield (Reader("done") if protocol.early else serve(reader, reader.data)), page


def judge(reader: Reader, protocol: Protocol) -> Iterator[tuple[Reader, dict]]:
    """Both reads are done: a hit, or what a miss does next."""
    if reader.page is not None:
        same = reader.page[0] == reader.generation
        known = reader.generation is not None or protocol.absent_is_fresh
        if protocol.deletes or (same and known):
            yield serve(reader, reader.page[1]), {}
            return
    absent = reader.generation is None and protocol.claim is not None
    yield reader._replace(at="claim" if absent else "render", page=None), {}


def search(protocol: Protocol, *, visitors: int, writes: int, evicted: int) -> int:
    """How many states there are; raises ``StaleError`` at the first that serves an old page."""
    todo = [State((Reader(),) * visitors, writes, evicted)]
    seen = set()
    while todo:
        state = todo.pop()
        # Readers are alike, so which of them is where does not matter.
        state = state._replace(readers=tuple(sorted(state.readers, key=repr)))
        if state not in seen:
            seen.add(state)
            todo += writers(state, protocol)
            todo += evictions(state)
            todo += readers(state, protocol)
    return len(seen)


@pytest.mark.parametrize("page_first", [False, True], ids=["", "page-first"])
@pytest.mark.parametrize("claim", ["add", "set", "either"])
def test_no_order_of_events_serves_an_old_page(claim: str, page_first: bool) -> None:
    protocol = Protocol(claim=claim, page_first=page_first)
    assert search(protocol, visitors=2, writes=2, evicted=2) > 5_000
    assert search(protocol, visitors=3, writes=1, evicted=1) > 5_000


@pytest.mark.parametrize("claim", ["add", "set", "either"])
def test_data_that_was_read_before_its_generation(claim: str) -> None:
    assert search(Protocol(claim=claim, early=True), visitors=2, writes=2, evicted=2) > 5_000


@pytest.mark.parametrize(
    "broken",
    [
        pytest.param(Protocol(before_data=False), id="generation read after the data"),
        pytest.param(Protocol(claim=None, absent_is_fresh=True), id="absent is fresh"),
        pytest.param(
            Protocol(claim=None, before_data=False, absent_is_fresh=True), id="neither rule"
        ),
        pytest.param(Protocol(deletes=True), id="pages are deleted"),
        pytest.param(Protocol(early=True, proves=False), id="data read before, not looked at"),
    ],
)
def test_without_a_rule_an_old_page_is_found(broken: Protocol) -> None:
    with pytest.raises(StaleError):
        search(broken, visitors=2, writes=2, evicted=2)
