"""A site of Wagtail's that has its pages and none of its other apps."""

SECRET_KEY = "not a secret"
ROOT_URLCONF = "wagtail.urls"
USE_TZ = True
LANGUAGE_CODE = "en"
STATIC_URL = "/static/"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}}
INSTALLED_APPS = [
    "viewcache",
    "viewcache.wagtail",
    "wagtail",
    "modelcluster",
    "taggit",
    "django.contrib.auth",
    "django.contrib.contenttypes",
]
WAGTAIL_SITE_NAME = "Trial"
WAGTAILADMIN_BASE_URL = "http://testserver"
