"""What is in memory at a moment, and in whose account.

Three counts are taken for "the memory that the model needs": the pages in the process's own page table (RssFile, a part
of RES in top), the pages in the page cache (mincore; buff/cache in free), and the process's own, anonymous memory
(RssAnon; most of "used" in free). A page of the file that nobody has touched is in none of them, one that read-ahead
brought in only in the second, one that the process touched in the first two. None of the three is what a token reads.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from roofline.workload import Real


@dataclass(frozen=True, slots=True)
class Resident:
    """Memory at a moment [B].

    mapped: pages of the file in the process's page table; cached: those in the page cache; own: anonymous memory. What
    of the file is in memory can be given up and read again, the process's own cannot.
    """

    mapped: Real
    cached: Real
    own: Real

    @property
    def shown(self) -> Real:
        """RES of the process [B]: its own and the mapped pages."""
        return self.mapped + self.own


def held(touched: Real, fetched: Real, own: Real, room: Real) -> Resident:
    """What is held once `touched` bytes of pages have been touched and `fetched` were read into the page cache.

    own: anonymous memory [B]. room: what memory has beside it for pages of files [B], np.inf where that is open. A page
    is mapped only while it is cached, so neither count exceeds the room.
    """
    cached = np.minimum(np.maximum(fetched, touched), np.maximum(room, 0.0))
    mapped = np.minimum(touched, cached)
    if np.ndim(cached) == 0:
        return Resident(float(mapped), float(cached), float(own))
    return Resident(mapped, cached, own)
