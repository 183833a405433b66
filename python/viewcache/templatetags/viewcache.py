"""
``{% load viewcache %}``: pieces of a cached page that are made for each request::

    {% slot "greeting" %}Hello, {{ user.first_name }}!{% endslot %}

What stands between the tags sees the request and what the context processors say of it, not the
context of the view: when the page comes from the cache there is no view.
"""

from __future__ import annotations

import sys
from types import FrameType
from typing import Any, cast

from django import template
from django.http import HttpRequest
from django.template import Context, RequestContext, TemplateSyntaxError
from django.template.base import NodeList, Parser, Token
from django.template.loader import get_template
from django.templatetags.cache import CacheNode
from django.utils.safestring import SafeString

from viewcache import slots

register = template.Library()

_DATA = "viewcache.slots"


class SlotNode(template.Node):
    """``{% slot "name" %}…{% endslot %}``."""

    child_nodelists = ("nodelist",)

    def __init__(self, name: str, nodelist: NodeList) -> None:
        self.name = name
        self.nodelist = nodelist

    def render(self, context: Context) -> SafeString:
        if _is_kept():
            raise TemplateSyntaxError(
                f"The slot {self.name!r} stands in {{% cache %}}, which would keep what one "
                "visitor is shown, and show it to others. Close {% cache %} before the slot, and "
                "open another behind it."
            )
        template: Any = context.template
        request = getattr(context, "request", None) or context.get("request")
        request = getattr(request, "_request", request)  # Django REST framework wraps it
        if not isinstance(request, HttpRequest):
            return self.render_alone(Context(autoescape=context.autoescape), template)
        return slots.piece(
            request,
            "template",
            self.name,
            self._where(),
            lambda: self.render_for(request, template),
        )

    def render_for(self, request: HttpRequest, template: Any) -> SafeString:
        """What stands between the tags, for this request and nothing else."""
        return self.render_alone(
            RequestContext(request, autoescape=template.engine.autoescape), template
        )

    def render_alone(self, context: Context, template: Any) -> SafeString:
        with context.render_context.push_state(template), context.bind_template(template):
            return self.nodelist.render(context)

    def _where(self) -> str:
        """The name of the template that this stands in; empty when it does not lead back here."""
        name = getattr(self.origin, "template_name", None)
        try:
            node, _ = _find(self.name, str(name))
        except Exception:
            return ""
        return str(name) if node.origin == self.origin else ""


def _is_kept() -> bool:
    """Does Django's ``{% cache %}`` render this, and keep it?"""
    frame: FrameType | None = sys._getframe(2)
    while frame is not None:
        if frame.f_code is CacheNode.render.__code__:
            return True
        frame = frame.f_back
    return False


def _find(name: str, where: str) -> tuple[SlotNode, Any]:
    """The slot of this name in the template of that one, and the template."""
    found = cast(Any, get_template(where)).template
    return found.extra_data[_DATA][name], found


def _make(name: str, where: str) -> slots.Function:
    node, template = _find(name, where)
    return lambda request: node.render_for(request, template)


slots.KINDS["template"] = _make


@register.tag
def slot(parser: Parser, token: Token) -> SlotNode:
    """A piece of the page that is made for each request."""
    bits = token.split_contents()
    if len(bits) != 2 or len(bits[1]) < 3 or bits[1][0] not in "\"'" or bits[1][0] != bits[1][-1]:
        raise TemplateSyntaxError('slot takes one quoted name: {% slot "greeting" %}')
    name = bits[1][1:-1]
    nodelist = parser.parse(("endslot",))
    parser.delete_first_token()
    node = SlotNode(name, nodelist)
    # Kept with the template: not every tag says which nodes stand inside it.
    known: dict[str, SlotNode] = cast(Any, parser).extra_data.setdefault(_DATA, {})
    if name in known:
        raise TemplateSyntaxError(f"Two slots of this template are called {name!r}.")
    known[name] = node
    return node
