"""The published tables on a real Postgres: what was signed, once, for good; BI sees views and nobody's name."""

import csv
import io
import signal
import subprocess
import sys
import threading
import uuid
from decimal import Decimal
from pathlib import Path
from runpy import run_path
from types import SimpleNamespace

import dagster as dg
import psycopg2
import pytest
from sqlalchemy import make_url
from typer import Typer
from typer.testing import CliRunner

from assets.publish import PUBLISHED_TABLES, publish_assets, publish_month
from resources.home import Home
from resources.published_setup import PublishError
from resources.publisher import PUBLISH_URL_VARIABLE, Publisher, SealedVersion
from tests.conftest import execute
from tests.integration.postgres_client import query
from tokengov_pipelines.domain.period import BillingMonth
from tokengov_pipelines.publish_cli import publish as publish_command

PROGRAM = Path(__file__).with_name("publishing_run.py")
AUGUST, SEPTEMBER = BillingMonth(2026, 8), BillingMonth(2026, 9)
TABLES = [table.name for table in PUBLISHED_TABLES]


@pytest.fixture(scope="module")
def run() -> SimpleNamespace:
    return SimpleNamespace(**run_path(str(PROGRAM)))


@pytest.fixture(scope="module")
def database(new_database) -> str:
    """One for all tests: stopping a server that made two dozen databases takes 20 s."""
    return new_database()


@pytest.fixture
def url(database, monkeypatch) -> str:
    execute(database, "DROP SCHEMA IF EXISTS tokengov, tokengov_bi CASCADE")
    monkeypatch.setenv(PUBLISH_URL_VARIABLE, database)
    return database


@pytest.fixture
def home(tmp_path) -> Path:
    return tmp_path / "home"


@pytest.fixture
def ledger(run, home):
    ledger = run.open_ledger(home)
    run.close(ledger, home, AUGUST, run.august())
    return ledger


@pytest.fixture
def publish(ledger, home):
    def publish(month=AUGUST, **changes):
        return publish_month(ledger, home, Publisher(), month, actor="service", run_id="run-2", **changes)

    return publish


@pytest.fixture
def login(url):
    """A function that makes a login of the cluster and returns the database's URL for it."""

    def make(options: str = "") -> str:
        name = f"user_{uuid.uuid4().hex[:12]}"
        execute(url, f"CREATE ROLE {name} LOGIN {options}")
        return make_url(url).set(username=name).render_as_string(hide_password=False)

    return make


def written(content: bytes) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(content.decode(), newline="")))


def dump(url: str) -> dict[str, list[tuple[object, ...]]]:
    return {
        name: query(url, f"SELECT * FROM tokengov.{name} ORDER BY 1, 2, 3") for name in ("period_versions", *TABLES)
    }


def test_every_row_of_the_sealed_files_is_there_and_sums_to_the_cent(publish, url, run, ledger):
    result = publish()
    assert result.publication.rows == {
        "chargeback": 4,
        "chargeback_detail": 2,
        "journal": 2,
        "reconciliation": 2,
        "recon_items": 1,
        "unproxied_keys": 1,
        "cost_per_pr": 1,
    }
    assert result.reason.startswith("published 2026-08 v1: 4 of chargeback, 2 of chargeback_detail")
    files = run.august()
    for table in PUBLISHED_TABLES:
        rows = written(files[table.file]) if table.file in files else []
        stored = query(url, f"SELECT * FROM tokengov.{table.name} ORDER BY row_no")
        assert [row[:3] for row in stored] == [("2026-08", 1, number) for number in range(1, len(rows) + 1)]
        names = ", ".join(f'"{column.name}"::text' for column in table.columns)
        found = query(url, f"SELECT {names} FROM tokengov.{table.name} ORDER BY row_no")
        assert [["" if cell is None else cell for cell in row] for row in found] == [list(row.values()) for row in rows]
    total = sum(Decimal(row["amount"]) for row in written(files["chargeback.csv"]))
    assert query(url, "SELECT sum(amount) FROM tokengov.chargeback") == [(total,)]
    assert total == Decimal("162.34")
    assert query(url, "SELECT sum(debit) - sum(credit) FROM tokengov.journal") == [(Decimal("0.00"),)]
    (version,) = query(url, "SELECT month, version, content_sha256, preparer, approver FROM tokengov.period_versions")
    assert version == ("2026-08", 1, ledger.period(AUGUST).content_sha256, "Ada", "Grace")
    assert len(ledger.events(AUGUST, "publish.recorded")) == 1


def test_types_are_exact_and_no_column_is_a_float(publish, url):
    publish()
    kinds = dict(
        query(
            url,
            "SELECT table_name || '.' || column_name, data_type || coalesce('(' || numeric_precision || ',' || "
            "numeric_scale || ')', '') FROM information_schema.columns WHERE table_schema = 'tokengov'",
        )
    )
    assert kinds["reconciliation.amount"] == "numeric(18,2)"
    assert kinds["chargeback.direct_logged_exact"] == "numeric(38,12)"
    assert kinds["chargeback.amount"] == "numeric"
    assert kinds["journal.posting_date"] == "date"
    assert kinds["chargeback.quantity_tokens"].startswith("bigint")
    assert not [name for name, kind in kinds.items() if kind.startswith(("double", "real"))]


def test_a_pack_that_lacks_files_publishes_those_it_has(publish, url, run, ledger, home):
    publish()  # August has no adjustments.csv
    run.close(ledger, home, SEPTEMBER, run.september())
    assert publish(SEPTEMBER).publication.rows == {"chargeback": 3, "adjustments": 2}
    counted = "SELECT pack_month, count(*) FROM tokengov.{} GROUP BY 1 ORDER BY 1"
    assert query(url, counted.format("adjustments")) == [("2026-09", 2)]
    assert query(url, counted.format("journal")) == [("2026-08", 2)]


def test_a_second_run_writes_nothing_and_says_why(publish, url, ledger):
    publish()
    before, events = dump(url), ledger.events()
    result = publish()
    assert (result.is_new, result.notes) == (False, ())
    assert "publish has it and does not get it again" in result.reason
    assert (dump(url), ledger.events()) == (before, events)


def test_a_month_that_is_not_closed_is_not_published(publish, url):
    result = publish(SEPTEMBER)
    assert (result.version, result.reason) == (
        0,
        "period 2026-09 is open: only a closed version is handed to publish",
    )
    assert query(url, "SELECT count(*) FROM pg_namespace WHERE nspname = 'tokengov'") == [(0,)]


def test_without_a_database_nothing_is_published(publish, monkeypatch, ledger):
    monkeypatch.delenv(PUBLISH_URL_VARIABLE, raising=False)
    assert publish().reason == "TOKENGOV_PUBLISH_URL is not set: nothing is published (docs/published-tables.md)"
    assert ledger.events(AUGUST, "publish.recorded") == []


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE tokengov.chargeback SET amount = 0",
        "DELETE FROM tokengov.chargeback WHERE row_no = 1",
        "TRUNCATE tokengov.journal",
        "UPDATE tokengov.period_versions SET content_sha256 = ''",
        "DELETE FROM tokengov.period_versions",
        "SET session_replication_role = replica; UPDATE tokengov.chargeback SET amount = 0",
    ],
)
def test_a_published_version_is_not_changed_even_by_its_owner(publish, url, statement):
    publish()
    before = dump(url)
    with pytest.raises(psycopg2.Error, match="are not changed or deleted"):
        execute(url, statement)
    assert dump(url) == before


def test_a_published_version_gets_no_further_rows(publish, url):
    publish()
    with pytest.raises(psycopg2.Error, match="a published version gets no further rows"):
        execute(url, "INSERT INTO tokengov.chargeback (pack_month, pack_version, row_no) VALUES ('2026-08', 1, 99)")
    assert query(url, "SELECT count(*) FROM tokengov.chargeback") == [(4,)]


def test_names_that_look_like_sql_or_formulas_are_text_as_the_file_has_them(publish, url, run):
    publish()
    stored = query(url, "SELECT cost_center, cost_center_name FROM tokengov.chargeback WHERE charge_type = 'direct'")
    assert dict(stored) == {"CC-200": run.HOSTILE, "CC-100": "'=Shop"}


# --- readers ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def reader(publish, url, login) -> str:
    """The URL of a BI login, after August was published."""
    publish()
    return login("IN ROLE tokengov_bi_reader")


def test_a_reader_reads_views_and_no_table(reader):
    assert query(reader, "SELECT sum(amount) FROM tokengov_bi.chargeback") == [(Decimal("162.34"),)]
    for name in ("period_versions", *TABLES):
        query(reader, f"SELECT * FROM tokengov_bi.{name}")
        with pytest.raises(psycopg2.errors.InsufficientPrivilege):
            query(reader, f"SELECT * FROM tokengov.{name}")
    for statement in ("CREATE TABLE tokengov_bi.mine (a int)", "DELETE FROM tokengov_bi.chargeback"):
        with pytest.raises(psycopg2.errors.InsufficientPrivilege):
            execute(reader, statement)


def test_the_views_name_nobody_and_are_security_barriers(reader, url):
    columns = query(url, "SELECT column_name FROM information_schema.columns WHERE table_schema = 'tokengov_bi'")
    hidden = {"created_by", "key_name", "api_key", "what", "cell", "evidence_link", "preparer", "approver"}
    assert not hidden & {name for (name,) in columns}
    for name in ("period_versions", *TABLES):
        assert "Noor" not in str(query(reader, f"SELECT * FROM tokengov_bi.{name}"))
    options = query(
        url,
        "SELECT DISTINCT reloptions FROM pg_class WHERE relkind = 'v' AND relnamespace = 'tokengov_bi'::regnamespace",
    )
    assert options == [(["security_barrier=true"],)]


def test_a_month_as_restated_is_its_close_and_what_was_posted_for_it_since(reader, publish, run, ledger, home):
    run.close(ledger, home, SEPTEMBER, run.september())
    publish(SEPTEMBER)
    rows = query(
        reader,
        "SELECT basis, original_period, cost_center, closed_amount, adjustments_amount, as_restated_amount, "
        "adjusted_through FROM tokengov_bi.chargeback_as_restated WHERE cost_center IN ('CC-100', 'CC-200') "
        "ORDER BY original_period, cost_center",
    )
    label = "as restated: closed + adjustments"
    assert rows == [
        (label, "2026-08", "CC-100", Decimal("108.23"), Decimal("4.11"), Decimal("112.34"), "2026-09"),
        (label, "2026-08", "CC-200", Decimal("54.11"), Decimal("-4.11"), Decimal("50.00"), "2026-09"),
        (label, "2026-09", "CC-100", Decimal("10.00"), Decimal(0), Decimal("10.00"), "2026-09"),
    ]
    assert query(reader, "SELECT sum(amount), count(*) FROM tokengov_bi.adjustments") == [(Decimal("0.00"), 2)]
    total = "SELECT sum(amount) FROM tokengov_bi.chargeback"
    assert query(reader, "SELECT sum(as_restated_amount) FROM tokengov_bi.chargeback_as_restated") == query(
        reader, total
    )


def test_views_show_the_latest_version_and_restate_the_first(reader, url, run, ledger):
    files = {"chargeback.csv": run.august()["chargeback.csv"].replace(b"108.23,USD", b"100.00,USD")}
    second = SealedVersion("2026-08", 2, "f" * 64, run.clock(), "Ada", "Grace", files)
    Publisher().publish(second, PUBLISHED_TABLES)
    amount = "SELECT DISTINCT pack_version, sum(amount) FROM {} GROUP BY 1 ORDER BY 1"
    assert query(url, amount.format("tokengov.chargeback")) == [(1, Decimal("162.34")), (2, Decimal("154.11"))]
    assert query(reader, amount.format("tokengov_bi.chargeback")) == [(2, Decimal("154.11"))]
    assert query(reader, "SELECT count(*) FROM tokengov_bi.journal") == [(0,)]
    versions = query(reader, "SELECT version, is_latest FROM tokengov_bi.period_versions ORDER BY 1")
    assert versions == [(1, False), (2, True)]
    restated = "SELECT sum(as_restated_amount) FROM tokengov_bi.chargeback_as_restated"
    assert query(reader, restated) == [(Decimal("162.34"),)]


@pytest.fixture
def no_reader_role(url):
    """The role of the readers is the cluster's: set aside for a test, and put back."""
    found = query(url, "SELECT 1 FROM pg_roles WHERE rolname = 'tokengov_bi_reader'")
    if found:
        execute(url, "ALTER ROLE tokengov_bi_reader RENAME TO tokengov_set_aside")
    yield
    execute(url, "DROP OWNED BY tokengov_bi_reader")
    execute(url, "DROP ROLE tokengov_bi_reader")
    if found:
        execute(url, "ALTER ROLE tokengov_set_aside RENAME TO tokengov_bi_reader")


@pytest.mark.usefixtures("no_reader_role")
def test_a_writer_without_createrole_publishes_and_says_what_an_administrator_runs(publish, url, login, monkeypatch):
    writer = login()
    name = make_url(writer).username
    execute(url, f"GRANT CREATE ON DATABASE {make_url(url).database} TO {name}")
    monkeypatch.setenv(PUBLISH_URL_VARIABLE, writer)
    (note,) = publish().notes
    assert note == (
        f"the role tokengov_bi_reader is not there and {name} may not create roles, so nobody can read the views "
        "yet. Fix: let an administrator run what `tokengov publish MONTH --print-sql` prints, then publish again."
    )
    execute(url, printed_sql().partition("-- 2.")[0])
    assert publish().notes == ()
    assert query(login("IN ROLE tokengov_bi_reader"), "SELECT count(*) FROM tokengov_bi.journal") == [(2,)]


@pytest.mark.usefixtures("no_reader_role")
def test_a_writer_with_createrole_needs_no_administrator(publish, url, login, monkeypatch):
    writer = login("CREATEROLE")
    execute(url, f"GRANT CREATE ON DATABASE {make_url(url).database} TO {make_url(writer).username}")
    monkeypatch.setenv(PUBLISH_URL_VARIABLE, writer)
    assert publish().notes == ()
    assert query(login("IN ROLE tokengov_bi_reader"), "SELECT count(*) FROM tokengov_bi.journal") == [(2,)]
    with pytest.raises(psycopg2.Error, match="are not changed or deleted"):
        execute(writer, "DELETE FROM tokengov.chargeback")


def test_a_writer_who_may_make_nothing_is_told_and_the_administrators_sql_is_enough(publish, url, login, monkeypatch):
    writer = login()
    monkeypatch.setenv(PUBLISH_URL_VARIABLE, writer)
    with pytest.raises(PublishError, match=r"the schema tokengov and tokengov_bi is not there and .* no CREATE on the"):
        publish()
    execute(url, printed_sql().partition("-- 2.")[0])
    assert publish().publication.rows["chargeback"] == 4


def test_a_right_past_the_views_is_taken_away_or_told(publish, url, run, ledger, home):
    publish()
    execute(url, "GRANT SELECT ON tokengov.journal TO tokengov_bi_reader")
    assert publish().notes == ()
    assert query(url, "SELECT has_table_privilege('tokengov_bi_reader', 'tokengov.journal', 'SELECT')") == [(False,)]


# --- what goes wrong -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("step", "rows", "records"), [("copied", 0, 0), ("published", 4, 0)])
def test_a_run_that_is_killed_is_finished_by_the_next(step, rows, records, ledger, home, url, publish):
    def start(die_at):
        return subprocess.run(
            [sys.executable, str(PROGRAM), str(home), "2026-08", die_at],
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    killed = start(step)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    there = query(url, "SELECT to_regclass('tokengov.chargeback') IS NOT NULL")
    assert there == [(rows > 0,)]
    assert len(ledger.events(AUGUST, "publish.recorded")) == records
    finished = start("-")
    assert finished.returncode == 0, finished.stderr
    word = "recorded now" if rows else "published 2026-08 v1: 4 of chargeback"
    assert word in finished.stdout
    assert query(url, "SELECT count(*) FROM tokengov.chargeback") == [(4,)]
    assert len(ledger.events(AUGUST, "publish.recorded")) == 1
    assert not publish().is_new


@pytest.mark.parametrize("change", ["edited", "added", "gone"])
def test_a_pack_that_is_not_what_was_closed_is_not_published(change, publish, home, url, ledger):
    folder = home / "packs/2026-08/v1"
    if change == "edited":
        (folder / "chargeback.csv").write_bytes((folder / "chargeback.csv").read_bytes().replace(b"108.23", b"108.24"))
    elif change == "added":
        (folder / "budgets.csv").write_text("a\n1\n")
    else:
        folder.rename(home / "elsewhere")
    with pytest.raises(
        PublishError, match=r"the pack packs/2026-08/v1 .* nothing was published\. Fix: put the pack back"
    ):
        publish()
    assert query(url, "SELECT count(*) FROM pg_namespace WHERE nspname = 'tokengov'") == [(0,)]
    assert ledger.events(AUGUST, "publish.recorded") == []


def test_another_installations_version_is_not_overwritten(publish, url, run, tmp_path):
    publish()
    other = tmp_path / "other"
    ledger = run.open_ledger(other)
    run.close(ledger, other, AUGUST, run.september())
    with pytest.raises(PublishError, match="another installation publishes to this database"):
        publish_month(ledger, other, Publisher(), AUGUST, actor="service", run_id="run-3")
    assert query(url, "SELECT count(*) FROM tokengov.chargeback") == [(4,)]


def test_a_database_that_lost_the_month_is_told_and_restored_on_demand(publish, url, ledger):
    publish()
    execute(url, "DROP SCHEMA tokengov, tokengov_bi CASCADE")
    with pytest.raises(PublishError, match="run `tokengov publish 2026-08 --restore`"):
        publish()
    assert publish(restore=True).reason.startswith("restored 2026-08 v1 from its pack: 4 of chargeback")
    assert query(url, "SELECT sum(amount) FROM tokengov.chargeback") == [(Decimal("162.34"),)]
    assert len(ledger.events(AUGUST, "publish.restored")) == 1
    assert not publish(restore=True).is_new
    assert ledger.verify_chain().intact


def test_a_column_of_a_later_release_is_added_and_not_shown_to_bi(publish, url, run, ledger, home):
    publish()
    execute(url, "DROP VIEW tokengov_bi.cost_per_pr")
    execute(url, "ALTER TABLE tokengov.cost_per_pr DROP COLUMN status")
    run.close(ledger, home, SEPTEMBER, run.september())
    publish(SEPTEMBER)
    assert query(url, "SELECT status FROM tokengov.cost_per_pr") == [(None,)]
    execute(url, "ALTER TABLE tokengov.chargeback ADD COLUMN engineer text")
    assert "engineer" not in str(query(url, "SELECT definition FROM pg_views WHERE viewname = 'chargeback'"))


def test_a_column_of_another_type_is_refused_with_table_column_and_fix(publish, url):
    execute(url, "CREATE SCHEMA tokengov")
    execute(url, "CREATE TABLE tokengov.reconciliation (amount double precision)")
    with pytest.raises(PublishError) as caught:
        publish()
    assert "column pack_month" not in str(caught.value)
    assert "tokengov.reconciliation: column amount is double precision and has to be numeric(18,2). Fix:" in str(
        caught.value
    )


def test_a_value_that_its_column_cannot_hold_names_table_and_column(publish, run, tmp_path, url):
    home = tmp_path / "large"
    ledger = run.open_ledger(home)
    content = run.august()["reconciliation.csv"].replace(b"150.00,", b"1" * 20 + b".00,")
    run.close(ledger, home, AUGUST, {"reconciliation.csv": content})
    with pytest.raises(PublishError, match=r"refused: .*COPY reconciliation, line 1, column amount.*Fix: ") as caught:
        publish_month(ledger, home, Publisher(), AUGUST, actor="service", run_id="run-3")
    assert "Nothing was published" in str(caught.value)
    assert query(url, "SELECT to_regclass('tokengov.period_versions') IS NULL") == [(True,)]


def test_a_trigger_that_changes_amounts_is_found_out(publish, url, run, ledger, home):
    publish()
    execute(
        url,
        "CREATE FUNCTION tokengov.shave() RETURNS trigger LANGUAGE plpgsql AS "
        "$$BEGIN NEW.amount := NEW.amount - 0.01; RETURN NEW; END$$; "
        "CREATE TRIGGER shave BEFORE INSERT ON tokengov.chargeback FOR EACH ROW EXECUTE FUNCTION tokengov.shave()",
    )
    run.close(ledger, home, SEPTEMBER, run.september())
    words = r"tokengov.chargeback, row 1, column amount: chargeback.csv says '4.11' and the database keeps '4.10'"
    with pytest.raises(PublishError, match=words):
        publish(SEPTEMBER)
    assert query(url, "SELECT month FROM tokengov.period_versions") == [("2026-08",)]


def test_a_server_that_is_not_there_and_a_wrong_password_hold_no_secret(publish, url, monkeypatch):
    for target in (
        "postgresql://writer:s3cret-word@127.0.0.1:1/books",
        make_url(url).set(username="nobody-here", password="s3cret-word").render_as_string(hide_password=False),
    ):
        monkeypatch.setenv(PUBLISH_URL_VARIABLE, target)
        with pytest.raises(PublishError, match=r"cannot be reached: .*Fix: check host, port, database, user") as caught:
            publish()
        assert "s3cret-word" not in str(caught.value)
        assert caught.value.__cause__ is None


def test_a_table_that_somebody_holds_is_waited_for_and_then_told(publish, url, run, ledger, home):
    publish()
    run.close(ledger, home, SEPTEMBER, run.september())
    holder = psycopg2.connect(url)
    try:
        with holder.cursor() as cursor:
            cursor.execute("LOCK TABLE tokengov.chargeback IN ACCESS EXCLUSIVE MODE")
        with pytest.raises(PublishError, match="another session holds the table; wait for it to end"):
            publish_month(ledger, home, Publisher(lock_seconds=0.2), SEPTEMBER, actor="service", run_id="run-3")
    finally:
        holder.close()
    assert publish(SEPTEMBER).is_new


def test_two_installations_that_publish_at_once_both_find_the_tables(url, run, tmp_path):
    results, homes = [], {AUGUST: tmp_path / "a", SEPTEMBER: tmp_path / "s"}
    ledgers = {month: run.open_ledger(home) for month, home in homes.items()}
    run.close(ledgers[AUGUST], homes[AUGUST], AUGUST, run.august())
    run.close(ledgers[SEPTEMBER], homes[SEPTEMBER], SEPTEMBER, run.september())

    def work(month):
        publisher = Publisher()
        results.append(publish_month(ledgers[month], homes[month], publisher, month, actor="service", run_id="run-2"))

    threads = [threading.Thread(target=work, args=(month,)) for month in homes]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [result.is_new for result in results] == [True, True]


# --- doors -----------------------------------------------------------------------------------------------------------


def command(*arguments: str) -> tuple[int, str]:
    app = Typer()
    app.command()(publish_command)
    result = CliRunner().invoke(app, arguments)
    return result.exit_code, result.output


def printed_sql() -> str:
    code, output = command("2026-08", "--print-sql")
    assert code == 0, output
    return output


def test_no_email_of_a_signer_is_published(run, url, tmp_path):
    home = tmp_path / "signed"
    ledger = run.open_ledger(home)
    run.close(ledger, home, AUGUST, run.september(), preparer="ada@example.com", approver="Grace")
    publish_month(ledger, home, Publisher(), AUGUST, actor="service", run_id="run-2")
    assert query(url, "SELECT preparer, approver FROM tokengov.period_versions") == [("(e-mail)", "Grace")]


def test_the_command_publishes_once_and_its_sql_is_complete(ledger, home, url, monkeypatch):
    monkeypatch.setenv("TOKENGOV_HOME", str(home))
    monkeypatch.setenv("TOKENGOV_LEDGER_URL", f"sqlite:///{home / 'ledger.db'}")
    assert command("2026-08")[0] == 0
    code, output = command("2026-08")
    assert (code, "does not get it again" in output) == (0, True)
    assert command("2026-09") == (1, "period 2026-09 is open: only a closed version is handed to publish\n")
    assert command("september")[0] == 2
    shape = (
        "SELECT table_schema, table_name, column_name, data_type FROM information_schema.columns "
        "WHERE table_schema LIKE 'tokengov%' ORDER BY 1, 2, 3"
    )
    made = query(url, shape)
    execute(url, "DROP SCHEMA tokengov, tokengov_bi CASCADE")
    execute(url, printed_sql())  # the whole, as an administrator may run it
    assert query(url, shape) == made


def test_the_asset_says_what_it_did_for_each_month(ledger, home, url, monkeypatch):
    monkeypatch.setenv("TOKENGOV_LEDGER_URL", f"sqlite:///{home / 'ledger.db'}")
    (asset,) = publish_assets(dg.MonthlyPartitionsDefinition("2026-08", fmt="%Y-%m"))

    def materialized(month):
        with dg.DagsterInstance.ephemeral() as instance:
            result = dg.materialize(
                [asset],
                instance=instance,
                partition_key=month,
                resources={"home": Home(path=str(home)), "publisher": Publisher()},
            )
            (event,) = result.get_asset_materialization_events()
            return {name: value.value for name, value in event.materialization.metadata.items()}

    first, second, third = materialized("2026-08"), materialized("2026-08"), materialized("2026-09")
    assert (first["written"], first["dagster/row_count"], first["version"]) == (True, 13, "v1")
    assert (second["written"], "does not get it again" in second["reason"]) == (False, True)
    assert third["reason"] == "period 2026-09 is open: only a closed version is handed to publish"
