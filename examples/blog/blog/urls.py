from django.urls import include, path
from viewcache.decorators import cache_page

from . import feeds, views

app_name = "blog"

# Views in views.py say themselves how they are cached; a view from elsewhere is wrapped here.
cache_feed = cache_page(60 * 60)

feed_patterns = [
    path("", views.feeds, name="feeds"),
    path("rss/", cache_feed(feeds.RssFeed()), name="feed_rss"),
    path("atom/", cache_feed(feeds.AtomFeed()), name="feed_atom"),
]

urlpatterns = [
    path("", views.Home.as_view(), name="home"),
    path("posts/", views.PostList.as_view(), name="post_list"),
    path("posts/<int:pk>-<slug:slug>/", views.PostDetail.as_view(), name="post"),
    path("posts/<int:pk>-<slug:slug>/edit/", views.PostEdit.as_view(), name="post_edit"),
    path("posts/<int:pk>-<slug:slug>/comment/", views.comment, name="comment"),
    path("posts/<int:pk>-<slug:slug>/keep/", views.keep, name="keep"),
    path("archive/<int:year>/", views.YearArchive.as_view(), name="archive_year"),
    path("archive/<int:year>/<int:month>/", views.MonthArchive.as_view(), name="archive_month"),
    path(
        "archive/<int:year>/<int:month>/<int:day>/",
        views.DayArchive.as_view(),
        name="archive_day",
    ),
    path("tags/<slug:slug>/", views.TagPage.as_view(), name="tag"),
    path("authors/<slug:slug>/", views.AuthorPage.as_view(), name="author"),
    path("search/", views.search, name="search"),
    path("about/", views.about, name="about"),
    path("feeds/", include(feed_patterns)),
    path("language/", views.language, name="language"),
    path("reading-list/", views.reading_list, name="reading_list"),
    path("account/", views.account, name="account"),
]
