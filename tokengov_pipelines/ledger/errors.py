"""What can go wrong with the ledger, each with a text that names what, where and the fix.

Belongs here: the error types. Does not belong here: the translation of driver errors into them (`connection`) and
blockers of a close, which are answers and not errors (`domain.close`).
"""


class LedgerError(RuntimeError):
    """The ledger refused or failed; nothing of the transaction was written."""


class LedgerUnavailableError(LedgerError):
    """The database cannot be reached, read or written, or holds no ledger."""


class LedgerTooNewError(LedgerError):
    """The tables were made by a newer version of the product than the one running."""


class LedgerBusyError(LedgerError):
    """Another process held the lock for longer than this one was told to wait."""


class PageNotWritableError(LedgerError):
    """Something was recorded on a page of the closed book that the guard had not opened for writing."""


class WaiverRefusedError(LedgerError):
    """A waiver that breaks a rule: not two people, no reason, a period that is closed already."""
