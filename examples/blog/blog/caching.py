"""Which pages a change makes old. The settings name these functions in VIEWCACHE.

A tag reaches every page that carries it, wherever it lives; a path reaches one address and all
its variants; a tree reaches a path and everything below it.
"""

from django.conf import settings
from django.urls import reverse
from django.utils.translation import override


def urls_for_post(post):
    """Every list of posts, the post, the feeds and the sitemap."""
    return [
        "tag:blog.post",
        f"tag:blog.post:{post.pk}",
        *(f"tree:{path}" for path in in_every_language(reverse, "blog:feeds")),
        reverse("sitemap"),
    ]


def urls_for_comment(comment):
    """The page that the comment stands on."""
    return in_every_language(comment.post.get_absolute_url)


def in_every_language(function, *args):
    """What `function` returns in each language of the site."""
    urls = []
    for language, _ in settings.LANGUAGES:
        with override(language):
            urls.append(function(*args))
    return urls
