"""
The app: connects the signal receivers and registers the system checks.
"""

from contextlib import suppress

from django.apps import AppConfig
from django.core.exceptions import ImproperlyConfigured


class ViewcacheConfig(AppConfig):
    name = "viewcache"
    verbose_name = "Page cache"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from . import audited, checks, durable, outbox, queries, receivers, session_engines

        checks.register()
        receivers.connect()
        session_engines.connect()
        # Settings that are wrong are told by the checks, and to whoever asks for them.
        with suppress(ImproperlyConfigured):
            audited.connect()
            queries.connect()
            outbox.connect()
            durable.connect()
