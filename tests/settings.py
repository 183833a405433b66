"""The example blog's settings, with what makes tests quick."""

from mysite.settings import *  # noqa: F403

PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
# What browsers are told is Django's, where a test does not say otherwise.
VIEWCACHE = {name: value for name, value in VIEWCACHE.items() if name != "BROWSER_SECONDS"}  # noqa: F405
