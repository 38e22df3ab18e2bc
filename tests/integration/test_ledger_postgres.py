"""The ledger on a real Postgres: exact money, one winner, nothing rewritten, clear words (architecture 4)."""

import datetime as dt
import multiprocessing
import signal
import subprocess
import sys
import threading
import time
import traceback
import uuid
from contextlib import closing
from decimal import Decimal
from pathlib import Path
from runpy import run_path
from types import SimpleNamespace

import psycopg2
import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import make_url, text

from tokengov_pipelines.domain.approval import PackSubject, Role, asserted
from tokengov_pipelines.domain.chargeback import Posting
from tokengov_pipelines.domain.close import WaiverSubject
from tokengov_pipelines.domain.dispute import ConsentKind, Decision, DisputedLine
from tokengov_pipelines.domain.period import BillingMonth
from tokengov_pipelines.ledger.adjustments import Adjustment
from tokengov_pipelines.ledger.connection import write_transaction
from tokengov_pipelines.ledger.errors import (
    LedgerBusyError,
    LedgerTooNewError,
    LedgerUnavailableError,
    PageNotWritableError,
)
from tokengov_pipelines.ledger.ledger import Ledger
from tokengov_pipelines.ledger.periods import PeriodState
from tokengov_pipelines.ledger.schema import _config
from tokengov_pipelines.ledger.tables import metadata
from tokengov_pipelines.pack.folders import read_folder_files

PROGRAM = Path(__file__).parents[1] / "unit" / "pack" / "closing_run.py"
AUGUST, SEPTEMBER = BillingMonth(2026, 8), BillingMonth(2026, 9)
SHA = "ab" * 32
ACCRUED = {
    "amount": Decimal("1250.00"),
    "currency": "USD",
    "method": "provider cost report",
    "expected_error": None,
    "requested_by": "Ada",
    "approved_by": "Grace",
}


def clock():
    return dt.datetime(2026, 11, 5, 9, 0, 0, 123456, tzinfo=dt.UTC)


@pytest.fixture(scope="module")
def closing_run():
    return SimpleNamespace(**run_path(str(PROGRAM)))


def execute(url, statement):
    with closing(psycopg2.connect(url)) as connection, connection, connection.cursor() as cursor:
        cursor.execute(statement)


def wait_until_refused(url):
    """The server reads its new rules of access a moment after it was told to."""
    for _ in range(100):
        try:
            psycopg2.connect(url.render_as_string(hide_password=False)).close()
        except psycopg2.OperationalError:
            return
        time.sleep(0.1)
    pytest.fail("the server still lets a wrong password in")


@pytest.fixture
def url(postgres_server):
    """A schema of its own, in a time zone that is not UTC, so that no instant is right by luck.

    Not a database of its own: stopping a server that made two dozen of them took 20 s.
    """
    schema = f"books_{uuid.uuid4().hex[:12]}"
    execute(postgres_server.get_uri(), f"CREATE SCHEMA {schema}")
    options = f"-c search_path={schema} -c timezone=America/New_York"
    return make_url(postgres_server.get_uri()).update_query_dict({"options": options}).render_as_string(False)


@pytest.fixture
def ledger(url):
    ledger = Ledger(url, clock, lock_seconds=10)
    ledger.upgrade()
    return ledger


@pytest.fixture
def start_run(url, tmp_path):
    def start(deed, central="0.00", die_at="-"):
        command = [sys.executable, str(PROGRAM), url, str(tmp_path), deed, central, die_at]
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    return start


def close(page, *amounts):
    lines = [Posting("anthropic", "INV-19", f"CC-{n:03d}", "direct", amount, "USD") for n, amount in enumerate(amounts)]
    page.record_close(
        version=1, content_sha256=SHA, pack_path="p", totals={}, lines=lines, preparer="Ada", approver="Grace"
    )


def accepted_dispute(ledger):
    line = DisputedLine("anthropic", "INV-19", "direct", Decimal("0.50"))
    raised = ledger.disputes.raise_dispute(
        AUGUST,
        "CC-000",
        [line],
        currency="USD",
        reason="moved",
        claimed_owner="CC-200",
        evidence="FIN-7",
        raised_by="Ada",
        charged={line.key: Decimal("1.00")},
        days_after_close=60,
    )
    return ledger.disputes.decide(
        raised.dispute_id,
        Decision.ACCEPTED,
        reason="agreed",
        by="Grace",
        consent_by="Hopper",
        consent_kind=ConsentKind.VP,
    )


def post_correction(ledger, month, **changes):
    with ledger.closed_book(month, "pack", "Ada", "run-1") as page:
        record_correction(page, month, **changes)


def record_correction(page, month, **changes):
    """Close a month with a correction of August in it."""
    subject = PackSubject(month, 1, SHA)
    adjustment = Adjustment(
        AUGUST, "anthropic", "INV-19", "CC-200", Decimal("0.500000000001"), "USD", "dispute", "D-1", "Grace"
    )
    values = {
        "version": 1,
        "content_sha256": SHA,
        "pack_path": "p",
        "totals": {},
        "lines": [
            Posting("anthropic", "INV-19", "CC-200", "prior_period", adjustment.amount, "USD", "2026-08"),
            Posting("anthropic", "INV-20", "CC-200", "direct", Decimal("1.10"), "USD"),
        ],
        "preparer": "Ada",
        "approver": "Grace",
        "adjustments": [adjustment],
        "approvals": [asserted(subject, Role.PREPARER, "Ada", [], clock())],
        "manifest_sha256": "cd" * 32,
    }
    page.record_close(**values | changes)


def record_events(url, start, count):
    start.wait()
    ledger = Ledger(url, clock)
    ledger.upgrade()
    for n in range(count):
        ledger.record_event("note", "service", {"n": n}, SEPTEMBER if n % 2 else None)


def test_migrations_make_exactly_the_tables_of_the_code(ledger):
    with ledger._engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []


def test_processes_that_start_at_once_upgrade_once_and_write_one_chain(url):
    context = multiprocessing.get_context("spawn")
    start = context.Event()
    processes = [context.Process(target=record_events, args=(url, start, 10)) for _ in range(4)]
    for process in processes:
        process.start()
    start.set()
    for process in processes:
        process.join(120)
    assert [process.exitcode for process in processes] == [0, 0, 0, 0]
    report = Ledger(url, clock).verify_chain()
    assert (report.intact, report.events) == (True, 40)


def test_amounts_come_back_digit_for_digit(ledger):
    texts = ["0.10", "-0.10", "123456789012345678901234.567890123456", "0.000000000001", "2.50", "9007199254740993.01"]
    with ledger.closed_book(AUGUST, "pack", "Ada", "run-1") as page:
        close(page, *(Decimal(each) for each in texts))
    assert [f"{posting.amount:f}" for posting in ledger.postings(AUGUST, 1)] == texts
    with ledger._engine.connect() as connection:
        kinds = connection.execute(text("SELECT DISTINCT pg_typeof(amount)::text FROM postings")).scalars().all()
    assert kinds == ["numeric"]


@pytest.mark.parametrize("amount", [1.1, Decimal("NaN")])
def test_what_is_not_a_finite_decimal_is_refused(ledger, amount):
    with (
        pytest.raises(Exception, match="not an amount for the ledger"),
        ledger.closed_book(AUGUST, "pack", "Ada", "run-1") as page,
    ):
        close(page, amount)
    assert ledger.period(AUGUST).state is PeriodState.OPEN


def test_instants_are_utc_whatever_the_servers_time_zone(ledger):
    with ledger.closed_book(AUGUST, "pack", "Ada", "run-1") as page:
        close(page)
    assert ledger.period(AUGUST).closed_at == clock()
    assert ledger.period(AUGUST).closed_at.utcoffset() == dt.timedelta(0)
    assert ledger.verify_chain().intact


def test_a_waiver_is_kept_on_postgres_too(ledger):
    signed = {"reason": "seen", "requested_by": "Ada", "approved_by": "Grace", "limit_amount": Decimal("60.00")}
    granted = ledger.grant_waiver(SEPTEMBER, WaiverSubject.SUSPENSE, provider="anthropic", **signed)
    assert ledger.waivers(SEPTEMBER) == [granted]
    ledger.revoke_waiver(SEPTEMBER, granted.id, actor="Grace", reason="error")
    assert ledger.waivers(SEPTEMBER)[0].revoked_at == clock()


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE events SET actor = 'Eve'",
        "DELETE FROM events",
        "UPDATE postings SET amount = 0",
        "DELETE FROM postings",
        "UPDATE period_versions SET content_sha256 = ''",
        "UPDATE adjustments SET amount = 0",
        "DELETE FROM adjustments",
        "UPDATE approvals SET name = 'Eve'",
        "DELETE FROM approvals",
        "UPDATE accrual_approvals SET amount = 0",
        "DELETE FROM accrual_approvals",
        "UPDATE disputes SET decision = 'rejected'",
        "UPDATE disputes SET reason = 'none'",
        "DELETE FROM disputes",
    ],
)
def test_the_database_itself_refuses_to_rewrite_what_is_closed(ledger, statement):
    ledger.accruals.approve(SEPTEMBER, "openai", **ACCRUED)
    with ledger.closed_book(AUGUST, "pack", "Ada", "run-1") as page:
        close(page, Decimal("1.00"))
    dispute = accepted_dispute(ledger)
    post_correction(ledger, SEPTEMBER, posted_disputes=[dispute.dispute_id])
    with pytest.raises(Exception, match="are not rewritten"), ledger._engine.begin() as connection:
        connection.execute(text(statement))
    assert ledger.verify_chain().intact


def test_a_correction_and_what_it_rests_on_come_back_as_written(ledger):
    with ledger.closed_book(AUGUST, "pack", "Ada", "run-1") as page:
        close(page, Decimal("1.00"))
        head = page.chain_head()
    accrued = ledger.accruals.approve(SEPTEMBER, "openai", **ACCRUED)
    dispute = accepted_dispute(ledger)
    post_correction(ledger, SEPTEMBER, posted_disputes=[dispute.dispute_id], adjustments_known=0)
    assert ledger.accruals.approved(SEPTEMBER, "openai") == accrued
    assert accrued.at == dispute.raised_at == clock()
    (posted,) = ledger.adjustments(AUGUST)
    assert (posted.amount, posted.posting_month) == (Decimal("0.500000000001"), SEPTEMBER)
    assert [each.original_month for each in ledger.postings(SEPTEMBER, 1)] == ["2026-08", ""]
    assert ledger.disputes.get(dispute.dispute_id).posting_ref == "2026-09/v1"
    (approval,) = ledger.approvals.of(SEPTEMBER, SHA)
    assert (approval.name, approval.at) == ("Ada", clock().replace(microsecond=0))
    assert ledger.versions(SEPTEMBER)[0].manifest_sha256 == "cd" * 32
    assert ledger.holds_head(head)
    assert ledger.verify_chain().intact


def test_of_two_months_that_correct_the_same_month_at_once_the_second_is_told(url, ledger):
    with ledger.closed_book(AUGUST, "pack", "Ada", "run-1") as page:
        close(page, Decimal("1.00"))
    known, said = ledger.adjustments_known(), []

    def second():
        try:
            post_correction(Ledger(url, clock, lock_seconds=10), SEPTEMBER.next(), adjustments_known=known)
        except PageNotWritableError as error:
            said.append(str(error))

    thread = threading.Thread(target=second)
    with ledger.closed_book(SEPTEMBER, "pack", "Ada", "run-1") as page:
        record_correction(page, SEPTEMBER, adjustments_known=known)
        thread.start()
        thread.join(0.5)
        assert said == []  # it waits for the first to end
    thread.join()
    assert len(said) == 1
    assert "another close has posted adjustments since these were computed (0, 1)" in said[0]
    assert ledger.period(SEPTEMBER.next()).state is PeriodState.OPEN


def test_a_ledger_of_the_release_before_keeps_what_it_posted(url):
    ledger, config = Ledger(url, clock), _config()
    with write_transaction(ledger._engine) as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0003")
        connection.execute(
            text(
                "INSERT INTO postings VALUES ('2026-08', 1, 'anthropic', 'INV-19', 'CC-100', 'direct', 404.330, 'USD')"
            )
        )
    ledger.upgrade()
    assert [f"{each.amount:f} {each.original_month}" for each in ledger.postings(AUGUST, 1)] == ["404.330 "]
    with ledger._engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []
    with pytest.raises(Exception, match="are not rewritten"), ledger._engine.begin() as connection:
        connection.execute(text("UPDATE postings SET original_month = '2026-07'"))


def test_a_tampered_event_is_found(ledger):
    for n in range(3):
        ledger.record_event("note", "Ada", {"n": n})
    with ledger._engine.begin() as connection:
        connection.execute(text("ALTER TABLE events DISABLE TRIGGER ALL"))
        connection.execute(text("UPDATE events SET actor = 'Eve' WHERE seq = 2"))
    report = ledger.verify_chain()
    assert (report.intact, report.broken_seq) == (False, 2)


def test_a_writer_waits_for_its_month_only(url, ledger):
    impatient = Ledger(url, clock, lock_seconds=0.3)
    with ledger.closed_book(AUGUST, "pack", "Ada", "run-1") as page:
        with impatient.closed_book(SEPTEMBER, "pack", "Bob", "run-2") as other:
            assert other.writable
        with (
            pytest.raises(LedgerBusyError, match="is being written by another process"),
            impatient.closed_book(AUGUST, "pack", "Bob", "run-2"),
        ):
            pass
        close(page)
    with impatient.closed_book(AUGUST, "pack", "Bob", "run-3") as page:
        assert not page.writable


def test_who_waited_sees_the_close_that_came_first(url, ledger):
    seen = []

    def second():
        with Ledger(url, clock, lock_seconds=10).closed_book(AUGUST, "pack", "Bob", "run-2") as page:
            seen.append((page.writable, page.period.preparer))

    thread = threading.Thread(target=second)
    with ledger.closed_book(AUGUST, "pack", "Ada", "run-1") as page:
        thread.start()
        thread.join(0.5)
        close(page)
    thread.join()
    assert seen == [(False, "Ada")]


def test_of_closes_at_the_same_time_one_wins_and_the_others_are_told(start_run, ledger, closing_run, tmp_path):
    runs = {central: start_run("close", central) for central in ("0.01", "0.02", "0.03", "0.04")}
    said = {central: process.communicate(timeout=120)[0] for central, process in runs.items()}
    assert [process.returncode for process in runs.values()] == [0, 0, 0, 0], said
    (winner,) = [central for central, words in said.items() if words.startswith("True")]
    content, _ = closing_run.gathered(1, winner)
    assert all(content.content_sha256 in words and "was closed at v1" in words for words in said.values())
    assert (tmp_path / "packs/2026-08/v1/chargeback.csv").read_bytes() == content.files["chargeback.csv"]
    assert ledger.period(AUGUST).content_sha256 == content.content_sha256
    assert len(ledger.events(AUGUST, "period.closed")) == 1


@pytest.mark.parametrize("step", ["locked", "written", "placed", "recorded", "committed"])
def test_a_close_killed_at_any_step_is_finished_by_the_next(step, start_run, ledger, closing_run, tmp_path):
    killed = start_run("close", die_at=step)
    killed.communicate(timeout=60)
    assert killed.returncode == -signal.SIGKILL
    assert (ledger.period(AUGUST).state is PeriodState.CLOSED) == (step == "committed")
    finished = start_run("close")
    said, _ = finished.communicate(timeout=60)
    content, _ = closing_run.gathered(1, "0.00")
    assert (finished.returncode, content.content_sha256 in said) == (0, True), said
    assert content.files.items() <= read_folder_files(tmp_path / "packs/2026-08/v1").items()
    assert [path.name for path in (tmp_path / "packs/2026-08").iterdir()] == ["v1"]
    assert len(ledger.events(AUGUST, "period.closed")) == 1


def test_a_ledger_of_a_newer_version_is_refused(url, ledger):
    with ledger._engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '0999'"))
    for call in (lambda new: new.upgrade(), lambda new: new.period(AUGUST)):
        with pytest.raises(LedgerTooNewError, match="revision 0999"):
            call(Ledger(url, clock))


def test_a_user_without_rights_a_wrong_password_and_a_missing_database_are_told_apart(url, ledger):
    with ledger._engine.begin() as connection:
        connection.execute(text("CREATE ROLE bookkeeper LOGIN PASSWORD 'right-word'"))
        schema = connection.execute(text("SELECT current_schema()")).scalar_one()
        connection.execute(text(f"GRANT USAGE ON SCHEMA {schema} TO bookkeeper"))
        connection.execute(text(f"GRANT SELECT ON ALL TABLES IN SCHEMA {schema} TO bookkeeper"))
        rules = Path(connection.execute(text("SHOW hba_file")).scalar_one())
        rules.write_text("local all bookkeeper scram-sha-256\n" + rules.read_text())
        connection.execute(text("SELECT pg_reload_conf()"))
    bookkeeper = make_url(url).set(username="bookkeeper", password="right-word")

    reader = Ledger(bookkeeper.render_as_string(hide_password=False), clock)
    assert reader.events() == []
    with pytest.raises(LedgerUnavailableError, match=r"refuses this user \(permission denied for table events"):
        reader.record_event("note", "Ada", {})

    wrong = bookkeeper.set(password="wr0ng-word").render_as_string(hide_password=False)
    wait_until_refused(bookkeeper.set(drivername="postgresql", password="wr0ng-word"))
    with pytest.raises(LedgerUnavailableError, match=r"cannot be reached: .*password authentication failed") as caught:
        Ledger(wrong, clock).upgrade()
    assert "wr0ng-word" not in "".join(traceback.format_exception(caught.value))

    missing = make_url(url).set(database="no_such_books").render_as_string(hide_password=False)
    with pytest.raises(LedgerUnavailableError, match='database "no_such_books" does not exist'):
        Ledger(missing, clock).upgrade()
