"""A slot's function, where it can be found again."""

from __future__ import annotations

from django.http import HttpRequest


def name(request: HttpRequest) -> str:
    return str(request.COOKIES.get("name"))
