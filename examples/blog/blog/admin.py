from django.contrib import admin
from viewcache.admin import ExpirePagesMixin

from .models import Author, Comment, Post, Tag


@admin.register(Post)
class PostAdmin(ExpirePagesMixin, admin.ModelAdmin):
    list_display = ("title", "author", "status", "published_at")
    list_filter = ("status", "author", "tags")
    date_hierarchy = "published_at"
    search_fields = ("title", "body")
    prepopulated_fields = {"slug": ["title"]}  # noqa: RUF012


@admin.register(Author, Tag)
class NameAdmin(ExpirePagesMixin, admin.ModelAdmin):
    list_display = ("name", "slug")
    prepopulated_fields = {"slug": ["name"]}  # noqa: RUF012


@admin.register(Comment)
class CommentAdmin(ExpirePagesMixin, admin.ModelAdmin):
    list_display = ("name", "post", "created")
    search_fields = ("name", "text")
