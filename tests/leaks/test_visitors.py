"""200 visitors in random order, on several workers that share a cache: everybody sees their own."""

from __future__ import annotations

import multiprocessing
import random
import traceback
from typing import Any

import pytest
import viewcache
from backends import Backend
from django.core.cache import close_caches
from django.test import override_settings
from leaks.site import SETTINGS
from leaks.visitor import Visitor

WORKERS = 4
VISITORS = 200
STEPS = 12


def visit(numbers: list[int], seed: int) -> int:
    """These visitors in random order; how many of their answers came from the cache."""
    dice = random.Random(seed)
    visitors = [Visitor(number) for number in numbers]
    order = [visitor for visitor in visitors for _ in range(STEPS)]
    dice.shuffle(order)
    for place, visitor in enumerate(order):
        visitor.step()
        if place % 200 == 0:
            viewcache.expire(everything=True)
    return sum(visitor.hits for visitor in visitors)


def _work(numbers: list[int], seed: int, results: Any) -> None:
    try:
        close_caches()
        results.put((visit(numbers, seed), ""))
    except BaseException:
        results.put((0, traceback.format_exc()))


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
@pytest.mark.parametrize("backend", ["redis", "memcached"], indirect=True)
def test_everybody_sees_their_own(backend: Backend) -> None:
    context = multiprocessing.get_context("fork")
    results = context.Queue()
    with override_settings(**SETTINGS):
        close_caches()
        workers = [
            context.Process(
                target=_work, args=(list(range(first, VISITORS, WORKERS)), first, results)
            )
            for first in range(WORKERS)
        ]
        for worker in workers:
            worker.start()
        found = [results.get(timeout=120) for _ in workers]
        for worker in workers:
            worker.join()
    assert [failure for _, failure in found if failure] == []
    # Were nothing shared, nothing could leak.
    assert sum(hits for hits, _ in found) > VISITORS


@pytest.mark.parametrize("backend", ["locmem"], indirect=True)
def test_a_leak_would_be_seen(backend: Backend) -> None:
    """With a key that has no variant in it, somebody sees another's."""
    wrong = {**SETTINGS, "VIEWCACHE": {"IGNORE_COOKIES": ["ab"]}}
    with override_settings(**wrong), pytest.raises(AssertionError):
        visit(list(range(60)), 1)
