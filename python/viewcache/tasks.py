"""
A task for ``django.tasks`` (Django 6.0) that delivers what ``VIEWCACHE["DURABLE"]`` has kept.

When the cache did not take an expiry, the task is put on the queue by itself, where the project's
default backend has a worker. It may also be put there at intervals of the project's own::

    viewcache.tasks.deliver.enqueue()
"""

from __future__ import annotations

from datetime import timedelta

from django.tasks import default_task_backend, task
from django.utils import timezone

from . import outbox

#: Seconds until the next try, where the backend can put a task off.
AGAIN_SECONDS = 10


@task
def deliver() -> int:
    """
    Deliver all that waits; returns how many transactions owed it.

    A cache that is still down fails the task, and the next try is put on the queue.
    """
    try:
        return outbox.deliver()
    except Exception:
        if default_task_backend.supports_defer:
            deliver.using(run_after=timezone.now() + timedelta(seconds=AGAIN_SECONDS)).enqueue()
        raise
