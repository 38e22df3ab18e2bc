"""One sealed pack for all tests of the folder: making it takes longer than reading it."""

import pytest

from tests.unit.closing.small_month import pack_files


@pytest.fixture(scope="session")
def sealed():
    """The files of 2026-10 v1, signed; a test that changes one does so in a copy."""
    return pack_files()
