"""
Early hits: pages that are served before Django builds a request.

What Django would send is not made up here, it is seen: a page is served early once two late hits
have sent the same for its record, byte for byte but for the age. That the third would be the same,
whoever asks, is known of the middleware: all that a hit passes must be Django's own, whose answer
to a hit depends on nothing but the page, the settings and what is checked here for each request,
or be declared safe (``VIEWCACHE["EARLY_SAFE"]``). Everything else goes to Django untouched.

``rules`` says what the settings leave, ``proof`` what is known of pages, ``asked`` finds out
whether a request may be answered early; ``viewcache.wsgi`` and ``viewcache.asgi`` do it.
"""
