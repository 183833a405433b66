from django import template
from django.urls import translate_url

register = template.Library()


@register.simple_tag(takes_context=True)
def translated_path(context, language):
    """The path of this page in another language."""
    return translate_url(context["request"].path, language)
