"""
Try the installed package, and nothing but it: a page is stored, served, and expired.

Needs Django and django-viewcache; run it in an environment that has no checkout on its path.
"""

from __future__ import annotations

import sys
from pathlib import Path

import django
from django.conf import settings
from django.core.management import call_command
from django.http import HttpRequest, HttpResponse
from django.urls import path

rendered = []


def view(request: HttpRequest) -> HttpResponse:
    rendered.append(request.path)
    return HttpResponse(str(len(rendered)))


urlpatterns = [path("page/", view)]


def main() -> None:
    settings.configure(
        SECRET_KEY="not one",
        ALLOWED_HOSTS=["testserver"],
        ROOT_URLCONF=__name__,
        INSTALLED_APPS=["viewcache"],
        DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
        MIDDLEWARE=[
            "viewcache.middleware.UpdateCacheMiddleware",
            "viewcache.middleware.FetchFromCacheMiddleware",
        ],
        VIEWCACHE={"DURABLE": True},
    )
    django.setup()
    import viewcache
    from django.db import transaction
    from django.test import Client

    checkout = Path(__file__).resolve().parent.parent / "python"
    assert checkout not in Path(str(viewcache.__file__)).resolve().parents, viewcache.__file__
    call_command("migrate", verbosity=0)
    call_command("makemigrations", "--check", "--dry-run", verbosity=0)
    get = Client().get
    said = [get("/page/").content for _ in range(2)]
    with transaction.atomic():
        viewcache.expire(path="/page/")
    said += [get("/page/?utm_source=x").content for _ in range(2)]
    assert said == [b"1", b"1", b"2", b"2"], said
    gil = getattr(sys, "_is_gil_enabled", lambda: True)()
    print(f"ok: Python {sys.version.split()[0]}, Django {django.__version__}, GIL {gil}")


if __name__ == "__main__":
    main()
