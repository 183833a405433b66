from django.db import models
from django.http import HttpResponse
from wagtail.admin.panels import FieldPanel
from wagtail.contrib.routable_page.models import RoutablePageMixin, path
from wagtail.contrib.settings.models import BaseSiteSetting, register_setting
from wagtail.fields import RichTextField
from wagtail.models import DraftStateMixin, Page, RevisionMixin
from wagtail.snippets.models import register_snippet


@register_snippet
class Logo(models.Model):
    """A snippet that refers to an image, so pages show that image by way of it."""

    text = models.CharField(max_length=100)
    image = models.ForeignKey(
        "wagtailimages.Image", null=True, blank=True, on_delete=models.SET_NULL, related_name="+"
    )

    def __str__(self):
        return self.text


@register_snippet
class Notice(DraftStateMixin, RevisionMixin, models.Model):
    text = models.CharField(max_length=100)
    panels = [FieldPanel("text")]

    def __str__(self):
        return self.text


@register_setting
class Footer(BaseSiteSetting):
    text = models.CharField(max_length=100)


class HomePage(Page):
    pass


class IndexPage(RoutablePageMixin, Page):
    """Lists the pages below it, also under a route of its own."""

    @path("archive/")
    def archive(self, request):
        titles = ", ".join(self.get_children().live().values_list("title", flat=True))
        return HttpResponse(f"archive, {self.seo_title}: {titles}")


class ArticlePage(Page):
    body = RichTextField(blank=True)
    logo = models.ForeignKey(Logo, null=True, blank=True, on_delete=models.SET_NULL)
    notice = models.ForeignKey(Notice, null=True, blank=True, on_delete=models.SET_NULL)
    image = models.ForeignKey(
        "wagtailimages.Image", null=True, blank=True, on_delete=models.SET_NULL, related_name="+"
    )
    content_panels = [*Page.content_panels, FieldPanel("body")]


class PrintedPage(ArticlePage):
    """Has another path that is to be expired with it, by Wagtail's convention."""

    def get_cached_paths(self):
        return ["/", "/print/"]


class ElsewherePage(Page):
    """Is served under a URL of its own."""

    def get_url_parts(self, *args, **kwargs):
        site_id, root_url, _ = super().get_url_parts(*args, **kwargs)
        return site_id, root_url, f"/elsewhere/{self.slug}/"
