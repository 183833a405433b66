"""The views of the blog.

Each public view says which tags its page carries, and carries them before it reads the data: a
page that was being rendered while a post was saved is then never taken for a fresh one.
"""

import viewcache
from asgiref.sync import sync_to_async
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.contrib.auth.mixins import PermissionRequiredMixin
from django.db.models import Count, Q
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.cache import cache_control
from django.views.decorators.http import require_POST
from django.views.generic import DetailView, ListView, UpdateView
from django.views.generic.dates import DayArchiveView, MonthArchiveView, YearArchiveView
from viewcache.decorators import cache_page
from viewcache.mixins import CacheMixin

from .forms import CommentForm, PostForm
from .models import Author, Post, Tag

HOUR = 60 * 60


class Shared(CacheMixin):
    """A page that everybody shares; what belongs to a visitor stands in slots (base.html)."""

    cache_authenticated = True


class WithNames:
    """A page that shows posts shows the names of authors and tags, too."""

    def dispatch(self, request, *args, **kwargs):
        viewcache.tag(request, "blog.author", "blog.tag")
        return super().dispatch(request, *args, **kwargs)


# Lists: CacheMixin tags them "blog.post", after the model of the view.


class PostList(Shared, WithNames, ListView):
    queryset = Post.objects.for_list()
    template_name = "blog/post_list.html"
    paginate_by = 5
    cache_timeout = HOUR


class Home(PostList):
    template_name = "blog/home.html"
    paginate_by = None

    def get_queryset(self):
        return super().get_queryset()[:3]

    def get_context_data(self, **kwargs):
        published = Count("posts", filter=Q(posts__status=Post.Status.PUBLISHED))
        return super().get_context_data(
            tags=Tag.objects.annotate(count=published).filter(count__gt=0),
            authors=Author.objects.all(),
            years=Post.objects.published().dates("published_at", "year", order="DESC"),
            **kwargs,
        )


class TagPage(PostList):
    def get_queryset(self):
        self.extra_context = {"tag": get_object_or_404(Tag, slug=self.kwargs["slug"])}
        return super().get_queryset().filter(tags=self.extra_context["tag"])


class AuthorPage(PostList):
    def get_queryset(self):
        self.extra_context = {"author": get_object_or_404(Author, slug=self.kwargs["slug"])}
        return super().get_queryset().filter(author=self.extra_context["author"])


class Archive(Shared, WithNames):
    """What the archives by year, month and day have in common."""

    queryset = Post.objects.for_list()
    date_field = "published_at"
    month_format = "%m"
    allow_future = True
    template_name = "blog/post_archive.html"

    def get_cache_timeout(self):
        """The past is quiet."""
        return 24 * HOUR


class YearArchive(Archive, YearArchiveView):
    make_object_list = True


class MonthArchive(Archive, MonthArchiveView):
    pass


class DayArchive(Archive, DayArchiveView):
    pass


# One post: CacheMixin tags it "blog.post:12", after the object of the view.


class PostDetail(Shared, WithNames, DetailView):
    queryset = Post.objects.for_list()
    # By its primary key, so that a page that tracks its queries reads this row and no other.
    query_pk_and_slug = True
    cache_timeout = HOUR

    def get_context_data(self, **kwargs):
        return super().get_context_data(form=CommentForm(), **kwargs)


# Pages under the decorator, sync and async.


@cache_page(60)
@viewcache.tagged("blog.post", "blog.author", "blog.tag")
def search(request):
    query = request.GET.get("q", "").strip()
    posts = Post.objects.for_list().filter(Q(title__icontains=query) | Q(body__icontains=query))
    context = {"query": query, "post_list": posts[:20] if query else []}
    return render(request, "blog/search.html", context)


@cache_page(HOUR)
@viewcache.tagged("blog.post")
async def about(request):
    context = {"posts": await Post.objects.published().acount()}
    # In a thread: the slots of the page ask the database who looks.
    return await sync_to_async(render)(request, "blog/about.html", context)


@cache_page(24 * HOUR)
def feeds(request):
    return render(request, "blog/feeds.html")


def language(request):
    """The form of set_language; the middleware caches this page, no decorator does."""
    return render(request, "blog/language.html")


# Changes. A save expires what it made old: see caching.py.


@require_POST
def comment(request, pk, slug):
    post = get_object_or_404(Post.objects.published(), pk=pk, slug=slug)
    form = CommentForm(request.POST)
    if form.is_valid():
        form.instance.post = post
        messages.success(request, _("Thank you for your comment."))
        return redirect(form.save())
    return render(request, "blog/post_detail.html", {"post": post, "form": form}, status=422)


class PostEdit(PermissionRequiredMixin, UpdateView):
    permission_required = "blog.change_post"
    model = Post
    form_class = PostForm


# Private pages: they belong to one visitor, and no shared cache keeps them.


@require_POST
def keep(request, pk, slug):
    """Put a post on the reading list of this session."""
    post = get_object_or_404(Post.objects.published(), pk=pk, slug=slug)
    request.session["reading_list"] = [*request.session.get("reading_list", []), post.pk]
    return redirect("blog:reading_list")


@cache_control(private=True)
def reading_list(request):
    keys = request.session.get("reading_list", [])
    return render(
        request,
        "blog/reading_list.html",
        {"post_list": Post.objects.for_list().filter(pk__in=keys)},
    )


@cache_control(private=True)
@login_required
def account(request):
    editable = Post.objects.all() if request.user.has_perm("blog.change_post") else []
    return render(request, "blog/account.html", {"editable": editable})
