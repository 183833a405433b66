from django.contrib.syndication.views import Feed
from django.urls import reverse_lazy
from django.utils.feedgenerator import Atom1Feed
from django.utils.text import Truncator
from django.utils.translation import gettext_lazy as _

from .models import Post


class RssFeed(Feed):
    title = _("The example blog")
    description = _("A blog whose pages are cached, and fresh.")
    link = reverse_lazy("blog:home")

    def items(self):
        return Post.objects.published()[:10]

    def item_description(self, post):
        return Truncator(post.body).words(40)

    def item_pubdate(self, post):
        return post.published_at


class AtomFeed(RssFeed):
    feed_type = Atom1Feed
    subtitle = RssFeed.description
