"""Pausing Python's search for reference cycles while many small records are made.

Belongs here: the pause. Does not belong here: what is made meanwhile. A match makes hundreds of thousands of frozen
records that hold no cycles; the search walks all of them again and again, and takes as long as the match itself.
"""

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def paused_cycle_search() -> Iterator[None]:
    """No search for cycles inside the block; memory of everything else is freed as always."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
