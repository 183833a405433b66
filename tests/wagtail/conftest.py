"""
site/ and site_of_pages/ are other Django projects: their tests run in processes of their own
(test_wagtail.py).
"""

collect_ignore = ["site", "site_of_pages"]
