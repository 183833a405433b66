"""
The app: connects the receivers. Wagtail finds ``wagtail_hooks`` by itself.
"""

from django.apps import AppConfig


class ViewcacheWagtailConfig(AppConfig):
    name = "viewcache.wagtail"
    label = "viewcache_wagtail"
    verbose_name = "Page cache for Wagtail"

    def ready(self) -> None:
        from . import receivers

        receivers.connect()
