"""The example blog with a cache and a database of its own, and its expiries on record."""

import os

from mysite.settings import *  # noqa: F403

CACHES = {
    "default": {
        "BACKEND": "django.core.cache.backends.filebased.FileBasedCache",
        "LOCATION": os.environ["BROWSER_CACHE"],
    }
}
VIEWCACHE = {"RECORD_EXPIRIES": 100, "INVENTORY": 500, "COUNT_HITS": True}
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
