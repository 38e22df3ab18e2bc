"""A month of calls that is loaded once and copied by whoever needs one."""

from collections.abc import Callable

import pytest

from tests.conftest import REPOSITORY, run_sql_file
from tests.installation import TestHome, insert_three_calls_a_day
from tokengov_pipelines.jobs import CLOSE_MONTH, LOAD_DAYS

SIGNED = {"preparer": "pia@example.com", "approver": "carl@example.com"}


@pytest.fixture(scope="session")
def loaded_month(new_database: Callable[[], str], tmp_path_factory: pytest.TempPathFactory) -> TestHome:
    """September 2026 with 39.00 USD in the log and 39.07 USD on two invoices, loaded and not yet prepared.

    Leave it as it is: work on a `twin` of it.
    """
    url = new_database()
    run_sql_file(url, REPOSITORY / "tokengov_pipelines" / "demo" / "litellm_schema.sql")
    insert_three_calls_a_day(url, "2026-09-01", "2026-09-30")
    folder = tmp_path_factory.mktemp("loaded_month")
    home = TestHome(folder, url, log_start="2026-09-01", books_start="2026-09", as_of="2026-10-05")
    home.invoice("openai", "2026-09", "24.07", "2026-09-30")
    home.invoice("anthropic", "2026-09", "15.00", "2026-09-30")
    loaded = home.run(LOAD_DAYS, "2026-09-01", "2026-09-30")
    assert loaded.succeeded, loaded
    assert not loaded.failed_checks
    return home


@pytest.fixture(scope="session")
def closed_month(loaded_month: TestHome, tmp_path_factory: pytest.TempPathFactory) -> TestHome:
    """The same month, closed without a hitch; leave it as it is, too."""
    home = loaded_month.twin(tmp_path_factory.mktemp("closed_month"))
    signed = {"ops": {"finance__closed_month": {"config": SIGNED}}}
    assert home.run(CLOSE_MONTH, "2026-09", config=signed).succeeded
    return home
