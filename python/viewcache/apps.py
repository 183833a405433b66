"""
The app: connects the signal receivers that the settings name.
"""

from django.apps import AppConfig


class ViewcacheConfig(AppConfig):
    name = "viewcache"
    verbose_name = "Page cache"

    def ready(self) -> None:
        from . import queries, receivers

        receivers.connect()
        queries.connect()
