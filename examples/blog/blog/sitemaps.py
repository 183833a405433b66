from django.contrib.sitemaps import Sitemap
from django.urls import reverse

from .models import Post


class PageSitemap(Sitemap):
    i18n = True

    def items(self):
        return ["blog:home", "blog:post_list", "blog:about"]

    def location(self, name):
        return reverse(name)


class PostSitemap(Sitemap):
    i18n = True

    def items(self):
        return Post.objects.published()

    def lastmod(self, post):
        return post.published_at


SITEMAPS = {"pages": PageSitemap, "posts": PostSitemap}
