"""
A backend for ``wagtail.contrib.frontend_cache``, so that whatever purges by its functions
(``PurgeBatch``, ``purge_page_from_cache()``) expires the cached page, too::

    WAGTAILFRONTENDCACHE = {
        "viewcache": {"BACKEND": "viewcache.wagtail.frontend_cache.ViewcacheBackend"},
    }
"""

from __future__ import annotations

from collections.abc import Iterable

from django.db import transaction
from wagtail.contrib.frontend_cache.backends import BaseBackend

from viewcache.expiry import on_commit
from viewcache.scopes import of_path


class ViewcacheBackend(BaseBackend):  # type: ignore[misc, unused-ignore]
    """
    Expires URLs: on every host and with every query, and after the commit where a transaction is
    open. As Wagtail's own backends it logs a fault and does not raise.
    """

    def purge(self, url: str) -> None:
        """Expire this URL."""
        self.purge_batch([url])

    def purge_batch(self, urls: Iterable[str]) -> None:
        """Expire these URLs, in one command to the cache."""
        scopes = [scope for url in urls for scope in of_path(url)]
        on_commit(dict.fromkeys(scopes), transaction.get_connection())
