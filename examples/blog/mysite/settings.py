"""Settings of the example blog.

What belongs to viewcache stands first and fits on one screen; the rest is any Django project.
"""

import os
from pathlib import Path

from . import env

BASE_DIR = Path(__file__).resolve().parent.parent

# The page cache ------------------------------------------------------------------------------

# "viewcache"; or, to compare with it, "stock" (Django's own page cache) or "off".
BLOG_CACHE = os.environ.get("BLOG_CACHE", "viewcache")

UPDATE_CACHE, FETCH_FROM_CACHE = {
    "viewcache": (
        ["viewcache.middleware.UpdateCacheMiddleware"],
        ["viewcache.middleware.FetchFromCacheMiddleware"],
    ),
    "stock": (
        ["django.middleware.cache.UpdateCacheMiddleware"],
        ["django.middleware.cache.FetchFromCacheMiddleware"],
    ),
    "off": ([], []),
}[BLOG_CACHE]

MIDDLEWARE = [
    *UPDATE_CACHE,  # first: it sees the response that leaves
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.locale.LocaleMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    *FETCH_FROM_CACHE,  # last: it sees the request that the view would see
]

CACHES = {"default": env.cache(os.environ.get("CACHE_URL", "locmem://"))}
CACHE_MIDDLEWARE_SECONDS = 60 * 60
CACHE_MIDDLEWARE_KEY_PREFIX = os.environ.get("BLOG_CACHE_PREFIX", "")

# Browsers ask each time: their own copies are out of reach of an expiry.
BROWSERS_ASK = {"BROWSER_SECONDS": 0}

if BLOG_CACHE != "viewcache":
    VIEWCACHE = {}
elif os.environ.get("BLOG_TRACK") == "1":
    # Pages know what they read: nothing is named by hand.
    VIEWCACHE = {"TRACK": True, **BROWSERS_ASK}
else:
    # What a saved object makes old. None is its own URL and its own tags.
    VIEWCACHE = {
        "EXPIRE_ON_SAVE": {
            "blog.Post": "blog.caching.urls_for_post",
            "blog.Comment": "blog.caching.urls_for_comment",
            "blog.Tag": None,
            "blog.Author": None,
        },
        **BROWSERS_ASK,
    }

# The project ---------------------------------------------------------------------------------

SECRET_KEY = "insecure-example-key-never-use-it-for-a-real-site"
DEBUG = os.environ.get("DEBUG", "1") == "1"
ALLOWED_HOSTS = [
    "localhost",
    "127.0.0.1",
    "[::1]",
    "testserver",
    "blog.example.com",
    "www.example.com",
]

INSTALLED_APPS = [
    "blog",
    "viewcache",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.messages",
    "django.contrib.sessions",
    "django.contrib.sitemaps",
    "django.contrib.staticfiles",
]

ROOT_URLCONF = "mysite.urls"
WSGI_APPLICATION = "mysite.wsgi.application"
ASGI_APPLICATION = "mysite.asgi.application"

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    },
]

SQLITE = {
    "ENGINE": "django.db.backends.sqlite3",
    "NAME": os.environ.get("BLOG_DATABASE", BASE_DIR / "db.sqlite3"),
    "OPTIONS": {"transaction_mode": "IMMEDIATE"},  # writers queue up, none fails
}
DATABASE_URL = os.environ.get("DATABASE_URL")
DATABASES = {"default": env.database(DATABASE_URL) if DATABASE_URL else SQLITE}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

LOGIN_REDIRECT_URL = "blog:account"
LOGOUT_REDIRECT_URL = "blog:home"

LANGUAGE_CODE = "en"
LANGUAGES = [("en", "English"), ("fr", "Français")]
LOCALE_PATHS = [BASE_DIR / "locale"]
USE_I18N = True
TIME_ZONE = "UTC"
USE_TZ = True

STATIC_URL = "static/"
