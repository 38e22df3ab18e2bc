"""A reader of a test's Postgres, and patience.

Belongs here: what several tests of the demo's database ask it. Does not belong here: servers and databases (conftest).
"""

import time
from collections.abc import Callable
from typing import Any

import psycopg2


def query(url: str, sql: str) -> list[tuple[Any, ...]]:
    connection = psycopg2.connect(url)
    try:
        with connection, connection.cursor() as cursor:
            cursor.execute(sql)
            return cursor.fetchall()
    finally:
        connection.close()


def wait_for(condition: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)
