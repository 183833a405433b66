"""The page that is served while writers are killed."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest, HttpResponse
from django.urls import path
from shop.models import Brand


def text() -> str:
    return " ".join(Brand.objects.order_by("pk").values_list("name", flat=True))


def page(request: HttpRequest) -> HttpResponse:
    return HttpResponse(text())


def of(brand: Any) -> list[str]:
    """For ``EXPIRE_ON_SAVE``."""
    return ["/page/"]


urlpatterns = [path("page/", page)]
