"""The task that delivers what ``VIEWCACHE["DURABLE"]`` keeps (``django.tasks``, of Django 6.0)."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import pytest
import viewcache
from django.db import transaction
from viewcache.models import PendingExpiry
from viewcache.store import Store

backends = pytest.importorskip("django.tasks.backends.base", reason="django.tasks is Django 6.0's")

pytestmark = pytest.mark.django_db(transaction=True)


class Queue(backends.BaseTaskBackend):  # type: ignore[misc, name-defined]
    supports_defer = True
    waiting: list[Any] = []  # noqa: RUF012

    def enqueue(self, task: Any, args: Any, kwargs: Any) -> None:
        self.waiting.append(task)


@pytest.fixture
def worker(settings: Any, request: pytest.FixtureRequest) -> Callable[[], Any]:
    settings.CACHES = {
        "default": {
            "BACKEND": "django.core.cache.backends.locmem.LocMemCache",
            "LOCATION": request.node.nodeid,
        }
    }
    settings.VIEWCACHE = {"DURABLE": True}
    Queue.waiting.clear()
    settings.TASKS = {"default": {"BACKEND": f"{__name__}.Queue"}}
    return lambda: Queue.waiting.pop(0).func()


def fail(*args: Any) -> None:
    raise ConnectionError("down")


def test_a_worker_is_asked_and_tries_again(
    worker: Callable[[], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as down:
        down.setattr(Store, "_set", fail)
        with transaction.atomic():
            viewcache.expire(path="/a/")
        assert len(Queue.waiting) == 1
        with pytest.raises(ConnectionError):
            worker()
    assert [task.run_after is not None for task in Queue.waiting] == [True]
    assert (worker(), PendingExpiry.objects.count(), Queue.waiting) == (1, 0, [])


def test_a_queue_that_fails_harms_nobody(
    worker: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(Queue, "enqueue", fail)
    monkeypatch.setattr(Store, "_set", fail)
    with caplog.at_level(logging.WARNING), transaction.atomic():
        viewcache.expire(path="/a/")
    assert "could not put its task on the queue" in caplog.text
    assert PendingExpiry.objects.count() == 1


def test_djangos_own_backends_have_no_worker(
    settings: Any, worker: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.TASKS = {"default": {"BACKEND": "django.tasks.backends.immediate.ImmediateBackend"}}
    with monkeypatch.context() as down:
        down.setattr(Store, "_set", fail)
        with transaction.atomic():
            viewcache.expire(path="/a/")
    assert PendingExpiry.objects.count() == 1


def test_a_queue_that_puts_nothing_off_is_given_no_next_try(
    worker: Callable[[], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Queue, "supports_defer", False)
    monkeypatch.setattr(Store, "_set", fail)
    with transaction.atomic():
        viewcache.expire(path="/a/")
    with pytest.raises(ConnectionError):
        worker()
    assert Queue.waiting == []
    assert PendingExpiry.objects.count() == 1
