"""The experiment behind paging: map a real file, walk what a token needs, and count what that brought into memory.

Each way of mapping runs in a process of its own, so that its counts are of this walk alone. The file is opened
read-only and only its own pages are ever asked to leave the page cache.
"""
