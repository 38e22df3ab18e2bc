"""The installation's ledger for assets and checks.

Belongs here: opening it. Does not belong here: anything that is read from it or written to it.
"""

from tokengov_pipelines.ledger.ledger import Ledger
from tokengov_pipelines.settings import Installation


def open_ledger(installation: Installation) -> Ledger:
    """The installation's ledger, with its tables in place."""
    ledger = Ledger(installation.ledger_url, installation.settings.now)
    ledger.upgrade()
    return ledger
