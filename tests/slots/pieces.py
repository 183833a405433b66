"""What the slots of the tests are made of: functions that can be found again by their names."""

from __future__ import annotations

from secrets import token_hex
from typing import Any, cast

from django.contrib import messages
from django.http import HttpRequest
from django.middleware.csrf import CsrfViewMiddleware, get_token
from django.utils.functional import SimpleLazyObject
from django.utils.html import format_html_join
from django.utils.safestring import mark_safe
from viewcache import slot, tag

calls: list[str] = []
fails = False


def greeting(request: HttpRequest) -> str:
    calls.append("greeting")
    if fails:
        raise RuntimeError("no greeting today")
    return f"Hello, {request.session.get('name', 'stranger')}!"


def safe(request: HttpRequest) -> str:
    return mark_safe(f"<b>{request.COOKIES.get('name', '')}</b>")


def nonce(request: HttpRequest) -> str:
    return str(cast(Any, request).csp_nonce)


def theme(request: HttpRequest) -> str:
    return str(request.COOKIES.get("theme", "light"))


def user(request: HttpRequest) -> str:
    return str(request.user.lazy_name)  # type: ignore[union-attr]


def shown_messages(request: HttpRequest) -> str:
    return format_html_join("", "<li>{}</li>", ((item,) for item in messages.get_messages(request)))


def count_visits(request: HttpRequest) -> str:
    visits = request.session.get("visits", 0) + 1
    request.session["visits"] = visits
    return f"visit {visits}"


def form(request: HttpRequest) -> str:
    return get_token(request)


def outer(request: HttpRequest) -> str:
    return mark_safe("[" + slot(request, "inner", greeting) + "]")


def empty(request: HttpRequest) -> str:
    return ""


def tagging(request: HttpRequest) -> str:
    tag(request, "mine")
    return "tagged"


async def coroutine(request: HttpRequest) -> str:
    return ""


class Kind:
    def method(self, request: HttpRequest) -> str:
        return ""

    @staticmethod
    def static(request: HttpRequest) -> str:
        return f"static {request.COOKIES.get('name')}"


class OwnDomain(CsrfViewMiddleware):
    """Sets the cookie for a domain that it chooses, as sites with several do."""

    header = ""

    def _set_csrf_cookie(self, request: HttpRequest, response: Any) -> None:
        response.set_cookie("csrftoken", request.META["CSRF_COOKIE"], domain="own.example.com")
        if self.header:
            response[self.header] = request.META["CSRF_COOKIE"]


class Policies:
    """Makes policies as the middleware of django-csp does, of what its decorators have left."""

    def __init__(self, get_response: Any) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> Any:
        values = vars(request)
        values["csp_nonce"] = SimpleLazyObject(
            lambda: values.setdefault("_csp_nonce", token_hex(8))
        )
        response = self.get_response(request)
        for suffix, name in (("", ""), ("_ro", "-Report-Only")):
            own = vars(response).get(f"_csp_update{suffix}")
            nonce = values.get("_csp_nonce", "none")
            response.headers.setdefault(f"Content-Security-Policy{name}", f"{own}, {nonce}")
        return response
