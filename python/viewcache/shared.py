"""
What of a response all its visitors may share: the body without the pieces that are each visitor's
own, unless one of them is shown where it could not be filled in again.
"""

from __future__ import annotations

from binascii import a2b_base64
from collections.abc import Collection, Iterator
from string import ascii_letters, digits

from django.http import HttpResponse
from django.utils.html import escapejs

from . import _core, page, slots
from .policy import Permission


def cut(
    response: HttpResponse, permission: Permission
) -> tuple[bytes, list[tuple[int, str]]] | str:
    """The body with its slots taken out, and where they stood; or why it cannot be shared."""
    pieces = slots.places(response)
    if permission.secret is not None and response.headers.get("Content-Encoding"):
        return "CSRF token in an encoded body"
    refusal = _refuses_policy(response, permission)
    if refusal is not None:
        return refusal
    refusal = _refuses_token(response, permission.secret) or _refuses_nonce(
        response, permission.nonce
    )
    if refusal is not None:
        return refusal
    body = response.content
    places: list[tuple[int, str]] = []
    if permission.secret is not None or pieces:
        spans = [(start, end) for start, end, _ in pieces]
        found = _core.cut(body, permission.secret, spans)
        if found is None:
            # Asked for and not shown (ensure_csrf_cookie), or in a form that we cannot fill in.
            return "CSRF cookie without a token in the body"
        body = found[0]
        if permission.secret is not None and _shows_transformed(body, permission.secret):
            return "CSRF token in a form that cannot be filled in"
        places = [(at, page.TOKEN if piece is None else pieces[piece][2]) for at, piece in found[1]]
    if permission.nonce is not None and any(
        text.encode() in body for text in (permission.nonce, escapejs(permission.nonce))
    ):
        return "CSP nonce in the body"
    return body, places


def _refuses_token(response: HttpResponse, secret: str | None) -> str | None:
    """Where the secret, or a token of it, is shown and would not be filled in for each visitor."""
    if secret is None:
        return None
    beside = _beside(response)
    if secret.encode() in response.content or any(secret in text for text in beside.values()):
        return "CSRF secret in the response"
    for where, text in beside.items():
        if _shows_token(text.encode(), secret) or _shows_transformed(text.encode(), secret):
            return f"CSRF token in {where}"
    return None


def _shows_token(text: bytes, secret: str) -> bool:
    # Most texts have no word of that length, which is soonest said this way.
    return _LONG in text.translate(_WORDS) and _core.cut(text, secret, []) is not None


_ALPHABET = b"+/-_" + (ascii_letters + digits).encode()
#: Makes one letter of all that tokens and their base64 are made of; so this is in every token.
_WORDS = bytes(ord("a" if code in _ALPHABET else " ") for code in range(256))
_LONG = b"a" * 64
#: Characters of the base64 of a token.
_ENCODED = 86
_NOT_URLSAFE = bytes.maketrans(b"-_", b"+/")


def _shows_transformed(text: bytes, secret: str) -> bool:
    """
    Does it show a token in base64, be it within more that is encoded, or backwards? Others would
    be sent that one. Tokens that are masked otherwise than those in the body are found, too.
    """
    words = text.translate(_WORDS) + b" "
    end = 0
    while (start := words.find(_LONG, end)) >= 0:
        end = words.index(b" ", start)
        word = text[start:end]
        if any(_shows_token(read, secret) for read in (word[::-1], *_decoded(word))):
            return True
    return False


def _decoded(word: bytes) -> Iterator[bytes]:
    """What this may be the base64 of, wherever that begins: a slash before it looks the same."""
    if len(word) < _ENCODED:
        return
    word = word.translate(_NOT_URLSAFE)
    for start in range(4):
        part = word[start:]
        yield a2b_base64(part + b"A" * (-len(part) % 4))


def _refuses_nonce(response: HttpResponse, nonce: str | None) -> str | None:
    """Where the nonce is shown beside the body, but in the headers that are made anew."""
    if nonce is None:
        return None
    beside = _beside(response, but=page.CSP)
    return next((f"CSP nonce in {where}" for where in beside if nonce in beside[where]), None)


def _beside(response: HttpResponse, *, but: Collection[str] = ()) -> dict[str, str]:
    """What is stored of a response with its body, by where it stands; but for these headers."""
    headers = slots.text_of_headers(response, but=but)
    return {"a header": headers, "an attribute": page.marks(response)}


def _refuses_policy(response: HttpResponse, permission: Permission) -> str | None:
    """Why the Content-Security-Policy of this response could not be made again for a hit."""
    for name, attributes in _POLICIES.items():
        # The decorators leave a view's own policy on the response, which a hit is not; it has the
        # header, or the middleware makes one of the settings.
        is_own = not attributes.isdisjoint(response.__dict__)
        if is_own and (permission.nonce or name not in response.headers):
            return "CSP of the view's own"
    return None


#: Where the decorators of django.views.decorators.csp, and those of django-csp, leave a policy.
_POLICIES = {
    "Content-Security-Policy": frozenset({"_csp_config", "_csp_update", "_csp_replace"}),
    "Content-Security-Policy-Report-Only": frozenset(
        {"_csp_ro_config", "_csp_config_ro", "_csp_update_ro", "_csp_replace_ro"}
    ),
}
