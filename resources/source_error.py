"""The one error of every source.

Belongs here: the class. Does not belong here: what went wrong at a certain source, which its own module says.
"""


class SourceError(RuntimeError):
    """A source cannot be read; the text says what, where and how to fix it, and never holds a secret."""
