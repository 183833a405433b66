"""
The table of ``VIEWCACHE["DURABLE"]``. Without the setting nothing is ever read from it or written.
"""

from __future__ import annotations

import uuid
from typing import Any

from django.db import models
from django.utils import timezone


class PendingExpiry(models.Model):
    """
    What a transaction has made old, written down in that transaction.

    The row is deleted once the cache has taken the expiry, so a row that is there tells of a
    process that was killed, or of a cache that was down.
    """

    # Made here, because not every database tells the number that it gave a row.
    id: models.UUIDField[Any, Any] = models.UUIDField(
        primary_key=True, default=uuid.uuid4, editable=False
    )
    #: ``CACHE_MIDDLEWARE_KEY_PREFIX`` of the site: others may share the database.
    site: models.CharField[Any, Any] = models.CharField(max_length=250, db_index=True)
    #: The scopes, as JSON.
    scopes: models.TextField[Any, Any] = models.TextField()
    created_at: models.DateTimeField[Any, Any] = models.DateTimeField(
        default=timezone.now, editable=False
    )

    class Meta:
        verbose_name = "pending expiry"
        verbose_name_plural = "pending expiries"
        default_permissions = ("view",)

    def __str__(self) -> str:
        return str(self.scopes)


class CachedPage(models.Model):
    """
    What the admin calls a page in the cache. It has no table: its rows are in the cache, and here
    are its name and its permissions, which are given to people as any other's.
    """

    class Meta:
        managed = False
        verbose_name = "cached page"
        verbose_name_plural = "cached pages"
        default_permissions = ("view",)
        permissions = (("expire_cachedpage", "Can expire cached pages"),)

    def __str__(self) -> str:
        return "a cached page"
