"""What is published, by name and type: exact, complete, and nobody's name in the views."""

import pytest

from assets.publish import PUBLISHED_TABLES
from resources.published_schema import (
    AS_RESTATED,
    PERIOD_VERSIONS,
    PublishedColumn,
    PublishedTable,
    admin_sql,
    all_sql,
    quoted,
    sql_type,
    views,
)
from resources.published_setup import PublishError
from resources.publisher import PUBLISH_URL_VARIABLE, Publisher, file_rows
from tokengov_pipelines.pack import chargeback_csv, unproxied_csv

TABLE = PublishedTable(
    "thing", "thing.csv", (PublishedColumn("id", "text"), PublishedColumn("note", "text")), ("id",), ("id",)
)


@pytest.mark.parametrize(
    ("kind", "scale", "expected"),
    [
        ("text", None, "text"),
        ("integer", None, "bigint"),
        ("date", None, "date"),
        ("decimal", 2, "numeric(18,2)"),
        ("decimal", 4, "numeric(18,4)"),
        ("decimal", 12, "numeric(38,12)"),
        ("decimal", None, "numeric"),
    ],
)
def test_every_kind_of_column_has_an_exact_type(kind, scale, expected):
    assert sql_type(kind, scale) == expected


def test_the_tables_have_the_columns_that_the_pack_declares():
    tables = {table.name: table for table in PUBLISHED_TABLES}
    for name, module in (("chargeback", chargeback_csv), ("unproxied_keys", unproxied_csv)):
        assert [column.name for column in tables[name].columns] == [column.name for column in module.COLUMNS]
    assert {column.sql_type for table in PUBLISHED_TABLES for column in table.columns} <= {
        "text",
        "bigint",
        "date",
        "numeric",
        "numeric(18,2)",
        "numeric(18,4)",
        "numeric(38,12)",
    }


def test_views_select_by_name_and_name_no_person():
    found = views(PUBLISHED_TABLES)
    assert set(found) == {*(table.name for table in PUBLISHED_TABLES), PERIOD_VERSIONS, AS_RESTATED}
    for query in found.values():
        assert "*" not in query.replace("count(*)", "")
        for person in ("created_by", "key_name", "api_key", "preparer", "approver", "approved_by", "e_mail", "email"):
            assert person not in query


def test_a_view_cannot_show_a_column_that_the_file_does_not_have():
    with pytest.raises(ValueError, match=r"thing\.csv has no column engineer\. Fix:"):
        PublishedTable("thing", "thing.csv", TABLE.columns, ("id",), ("engineer",))


@pytest.mark.parametrize("name", ['x"; DROP', "", "Ünder", "a.b", "1st", "x" * 64])
def test_a_name_that_is_none_of_ours_is_refused(name):
    with pytest.raises(ValueError, match="is not a name for a table or column"):
        quoted(name)


def test_the_writers_name_cannot_end_the_administrators_statement():
    assert 'AUTHORIZATION "a""; DROP ROLE b; --";' in admin_sql('a"; DROP ROLE b; --')


def test_the_sql_for_reading_has_every_table_view_and_trigger():
    text = all_sql(PUBLISHED_TABLES, "writer")
    assert text.count("CREATE TABLE") == len(PUBLISHED_TABLES) + 1
    assert text.count("CREATE OR REPLACE VIEW") == len(PUBLISHED_TABLES) + 2
    assert text.count("ENABLE ALWAYS TRIGGER") == 3 * len(PUBLISHED_TABLES) + 2
    assert 'GRANT SELECT ON "tokengov"' not in text


def test_an_empty_cell_is_null_and_in_the_key_it_is_empty_text():
    names, rows = file_rows(TABLE, b'note,id\n,\n"a, ""b""",x\n')
    assert (names, rows) == (["note", "id"], [[None, ""], ['a, "b"', "x"]])


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (
            b"id,engineer\n",
            r"thing\.csv has column 'engineer', which tokengov\.thing does not have\. Fix: publish with",
        ),
        (b"note\n", r"thing\.csv lacks column id, which is in the key of tokengov\.thing\. Fix:"),
        (b"", "lacks column id"),
    ],
)
def test_a_file_that_does_not_fit_its_table_is_refused_in_words(content, words):
    with pytest.raises(PublishError, match=words):
        file_rows(TABLE, content)


@pytest.mark.parametrize("url", ["mysql://u:s3cret@h/d", "s3cret", "postgresql://u:s3cret@h:port/d", "sqlite:///x"])
def test_a_url_that_is_none_is_refused_without_repeating_it(url, monkeypatch):
    monkeypatch.setenv(PUBLISH_URL_VARIABLE, url)
    with pytest.raises(PublishError, match="is not a URL postgresql://") as caught:
        _ = Publisher().shown_url
    assert "s3cret" not in str(caught.value)


def test_the_url_is_shown_without_its_password_and_is_no_configuration(monkeypatch):
    monkeypatch.setenv(PUBLISH_URL_VARIABLE, "postgres://writer:s3cret@db.example:5432/books?sslpassword=s3cret")
    publisher = Publisher()
    assert publisher.shown_url == "postgresql://writer:***@db.example:5432/books"
    assert publisher.writer == "writer"
    assert "s3cret" not in f"{publisher!r} {publisher.model_dump()}"
    monkeypatch.setenv(PUBLISH_URL_VARIABLE, "  ")
    assert not publisher.is_configured
    assert publisher.writer == "tokengov_publisher"
