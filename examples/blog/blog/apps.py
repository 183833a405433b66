from django.apps import AppConfig
from django.conf import settings


class BlogConfig(AppConfig):
    name = "blog"

    def ready(self):
        if settings.BLOG_CACHE != "viewcache":
            from . import comparison

            comparison.swap(settings.BLOG_CACHE)
