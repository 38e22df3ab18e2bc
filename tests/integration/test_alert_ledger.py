"""Alerts and their outbox in a ledger on SQLite and on a real Postgres: one alert, nothing lost, nothing sent early."""

import datetime as dt
import multiprocessing
import uuid
from contextlib import closing
from decimal import Decimal

import psycopg2
import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import CheckConstraint, inspect, make_url, text

from tokengov_pipelines.domain.alert import WHOLE, Condition, Severity, Step
from tokengov_pipelines.domain.period import BillingMonth
from tokengov_pipelines.ledger import schema
from tokengov_pipelines.ledger.alerts import LEASE, AlertNotOpenError
from tokengov_pipelines.ledger.connection import open_engine, write_transaction
from tokengov_pipelines.ledger.ledger import Ledger
from tokengov_pipelines.ledger.tables import metadata

START = dt.datetime(2026, 11, 5, 3, 0, 0, 123456, tzinfo=dt.UTC)
KEY = "run:load_days_job"
SLACK, MAIL = "slack:00000001", "mailto:00000002"


def clock():
    return START


def minute(number):
    return START + dt.timedelta(minutes=number)


def observed(number, bad, key=KEY, text="what. Fix: fix", run_id=None, severity=Severity.ERROR, amount=None):
    return Condition(
        key,
        minute(number),
        severity,
        f"{key} failed",
        text,
        bad=frozenset({WHOLE}) if bad else frozenset(),
        run_id=run_id,
        owner="platform lead, security" if amount else "",
        amount=None if amount is None else Decimal(amount),
    )


def steps(transitions):
    return [transition.step.value for transition in transitions]


@pytest.fixture(params=["sqlite", "postgres"])
def url(request, tmp_path):
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'ledger.db'}"
    server, schema_name = request.getfixturevalue("postgres_server").get_uri(), f"alerts_{uuid.uuid4().hex[:12]}"
    with closing(psycopg2.connect(server)) as connection, connection, connection.cursor() as cursor:
        cursor.execute(f"CREATE SCHEMA {schema_name}")
    options = f"-c search_path={schema_name} -c timezone=America/New_York"
    return make_url(server).update_query_dict({"options": options}).render_as_string(False)


@pytest.fixture
def ledger(url):
    ledger = Ledger(url, clock, lock_seconds=20)
    ledger.upgrade()
    return ledger


@pytest.fixture
def book(ledger):
    return ledger.alerts


def drain(book, transports, now):
    """Claim and record all that is due at one moment; returns what was handed out, in order."""
    out = []
    while delivery := book.claim(transports, now):
        book.record_success(delivery, now)
        out.append((delivery.transport, delivery.event, delivery.alert.key))
    return out


def test_migrations_make_exactly_the_tables_of_the_code(ledger):
    with ledger._engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []


@pytest.mark.parametrize("table", sorted(metadata.tables))
def test_and_exactly_its_checks_keys_and_indexes(ledger, table):
    """Alembic's comparison passes over check constraints, and SQLite's migrations copy whole tables."""
    found = inspect(ledger._engine)
    checks = {c.name for c in metadata.tables[table].constraints if isinstance(c, CheckConstraint)}
    assert {check["name"] for check in found.get_check_constraints(table)} == checks
    assert {index["name"] for index in found.get_indexes(table) if "duplicates_constraint" not in index} == {
        index.name for index in metadata.tables[table].indexes
    }
    assert found.get_pk_constraint(table)["name"] == metadata.tables[table].primary_key.name


def test_a_ledger_of_the_second_revision_keeps_its_alerts_messages_and_waivers(url):
    engine, config = open_engine(url, 20), schema._config()
    with write_transaction(engine) as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0002")
        at = "2026-11-05T03:00:00.000000Z"
        rows = {
            "alerts (key, severity, title, text, opened_at, last_seen_at, closed_at)": [
                f"('stale:litellm', 'error', 'old', 'x', '{at}', '{at}', '{at}')",
                f"('{KEY}', 'warning', 'open', 'y', '{at}', '{at}', NULL)",
            ],
            "alert_observations (key, part, bad, observed_at)": [f"('{KEY}', '', true, '{at}')"],
            "alert_deliveries (alert_id, event, transport, attempts, next_attempt_at, delivered_at)": [
                f"(1, 'opened', '{SLACK}', 0, '{at}', '{at}')",
                f"(1, 'closed', '{SLACK}', 3, '{at}', NULL)",
                f"(2, 'opened', '{SLACK}', 0, '{at}', '{at}')",
            ],
            "waivers (month, subject, reason, requested_by, approved_by, limit_amount, granted_at)": [
                f"('2026-09', 'suspense', 'r', 'Ada', 'Grace', '60.00', '{at}')"
            ],
        }
        for table, values in rows.items():
            connection.execute(text(f"INSERT INTO {table} VALUES {', '.join(values)}"))
    ledger = Ledger(url, clock)
    ledger.upgrade()
    book = ledger.alerts
    (alert,) = book.open_alerts()
    assert (alert.id, alert.severity, alert.told, alert.owner, alert.amount) == (2, "warning", 1, "", None)
    assert (alert.last_told.severity, alert.last_told.at) == ("warning", START.replace(microsecond=0))
    assert [waiver.limit_amount for waiver in ledger.waivers(BillingMonth(2026, 9))] == [Decimal("60.00")]
    with ledger._engine.begin() as connection:
        connection.execute(text("UPDATE waivers SET subject = 'true_up'"))
    with pytest.raises(Exception, match="ck_waivers_subject"), ledger._engine.begin() as connection:
        connection.execute(text("UPDATE waivers SET subject = 'anything'"))

    assert steps(book.observe([observed(1, True)], [SLACK])) == ["raised"]  # a warning became an error
    assert steps(book.observe([observed(2, False)], [SLACK])) == ["closed"]
    assert drain(book, [SLACK], minute(3)) == [
        (SLACK, "raised", KEY),
        (SLACK, "closed", KEY),
        (SLACK, "closed", "stale:litellm"),
    ]


def test_a_ledger_of_the_first_revision_is_upgraded_and_keeps_its_chain(url):
    engine = open_engine(url, 20)
    config = schema._config()
    with write_transaction(engine) as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0001")
    ledger = Ledger(url, clock)
    ledger.upgrade()
    ledger.record_event("note", "Ada", {})
    assert ledger.alerts.open_alerts() == []
    assert ledger.verify_chain().intact


def test_an_alert_opens_once_is_repeated_and_closes_by_itself(ledger, book):
    book.observe([observed(0, True, run_id="run-1")], [SLACK])
    book.observe([observed(1, True, text="still. Fix: fix", run_id="run-2")], [SLACK])
    (alert,) = book.open_alerts()
    assert (alert.key, alert.severity, alert.title) == (KEY, Severity.ERROR, f"{KEY} failed")
    assert (alert.text, alert.run_id) == ("still. Fix: fix", "run-2")
    assert (alert.opened_at, alert.last_seen_at) == (minute(0), minute(1))
    assert alert.opened_at.utcoffset() == dt.timedelta(0)

    book.observe([observed(2, False)], [SLACK])
    assert book.open_alerts() == []
    (closed,) = book.closed_alerts()
    assert (closed.closed_at, closed.closed_by, closed.text) == (minute(2), None, "still. Fix: fix")
    assert drain(book, [SLACK], minute(3)) == [(SLACK, "opened", KEY), (SLACK, "closed", KEY)]
    assert drain(book, [SLACK], minute(99)) == []
    assert ledger.events() == []


def test_the_same_run_recorded_again_after_the_close_opens_nothing(book):
    book.observe([observed(0, True)], [])
    book.observe([observed(1, False)], [])
    assert book.observe([observed(0, True)], []) == []
    assert book.open_alerts() == []


def test_an_older_observation_does_not_rewrite_the_text_of_a_newer_one(book):
    book.observe([observed(5, True, text="new")], [])
    book.observe([observed(1, True, text="old")], [])
    assert [alert.text for alert in book.open_alerts()] == ["new"]


def test_the_database_itself_refuses_a_second_open_alert_of_a_key(ledger, book):
    book.observe([observed(0, True)], [])
    columns = "key, severity, title, text, opened_at, last_seen_at, owner, told, told_at, told_severity"
    copy = f"INSERT INTO alerts (id, {columns}) SELECT 99, {columns} FROM alerts"
    with pytest.raises(Exception, match=r"(?i)unique"), ledger._engine.begin() as connection:
        connection.execute(text(copy))


def observe_in_a_process(url, start, steps, number):
    start.wait()
    ledger = Ledger(url, clock, lock_seconds=60)
    for n in range(20):
        bad = observed(n, True, key=f"run:job_{n}")
        for transition in ledger.alerts.observe([bad], [SLACK]):
            steps.put((transition.step.value, transition.condition.key, number))


def test_processes_that_observe_the_same_at_once_open_exactly_one_alert(url, ledger):
    context = multiprocessing.get_context("spawn")
    start, steps = context.Event(), context.Queue()
    processes = [context.Process(target=observe_in_a_process, args=(url, start, steps, n)) for n in range(2)]
    for process in processes:
        process.start()
    start.set()
    found = [steps.get(timeout=60) for _ in range(20)]
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0, 0]
    assert sorted(key for _, key, _ in found) == sorted(f"run:job_{n}" for n in range(20))
    assert {step for step, _, _ in found} == {"opened"}
    assert steps.empty()
    assert len(ledger.alerts.open_alerts()) == 20
    assert len(ledger.alerts.undelivered()) == 20


class TestOutbox:
    def test_without_transports_nothing_is_owed(self, book):
        book.observe([observed(0, True)], [])
        book.observe([observed(1, False)], [])
        assert book.undelivered() == []
        assert book.claim([], minute(2)) is None

    def test_each_transport_gets_each_message_once(self, book):
        book.observe([observed(0, True)], [SLACK, MAIL])
        assert drain(book, [SLACK, MAIL], minute(0)) == [(SLACK, "opened", KEY), (MAIL, "opened", KEY)]
        book.observe([observed(1, True)], [SLACK, MAIL])
        assert drain(book, [SLACK, MAIL], minute(1)) == []

    def test_a_transport_set_later_is_told_what_is_still_open_and_not_what_is_over(self, book):
        book.observe([observed(0, True), observed(0, True, key="stale:litellm")], [])
        book.observe([observed(1, False)], [])
        assert drain(book, [MAIL], minute(2)) == [(MAIL, "opened", "stale:litellm")]

    def test_a_failing_transport_is_tried_after_1_2_4_minutes_and_is_listed(self, book):
        book.observe([observed(0, True)], [SLACK, MAIL])
        now, tries = minute(0), []
        for _ in range(4):
            while (delivery := book.claim([SLACK], now)) is None:
                now += dt.timedelta(seconds=30)
            tries.append(now)
            book.record_failure(delivery, "refused by https://ada:secret@example.com", now)
        assert [(each - START) / dt.timedelta(minutes=1) for each in tries] == [0, 1, 3, 7]
        failing, waiting = book.undelivered()
        assert (failing.transport, failing.attempts, failing.next_attempt_at) == (SLACK, 4, minute(15))
        assert failing.last_error == "refused by https://***@example.com"
        assert (waiting.transport, waiting.attempts) == (MAIL, 0)

    def test_the_close_is_told_after_the_opening_however_late_that_is(self, book):
        book.observe([observed(0, True)], [SLACK])
        delivery = book.claim([SLACK], minute(0))
        book.record_failure(delivery, "down", minute(0))
        book.observe([observed(0.5, False)], [SLACK])
        assert book.claim([SLACK], minute(0.5)) is None
        assert drain(book, [SLACK], minute(1)) == [(SLACK, "opened", KEY), (SLACK, "closed", KEY)]

    def test_a_message_that_keeps_failing_does_not_hold_up_the_others(self, book):
        book.observe([observed(0, True)], [SLACK])
        book.record_failure(book.claim([SLACK], minute(0)), "too long", minute(0))
        book.observe([observed(5, True, key="stale:litellm")], [SLACK])
        assert drain(book, [SLACK], minute(5)) == [(SLACK, "opened", "stale:litellm"), (SLACK, "opened", KEY)]

    def test_what_was_handed_out_and_not_recorded_is_sent_again_and_not_at_once(self, book):
        """A crash between sending and recording sends twice, never zero times."""
        book.observe([observed(0, True)], [SLACK])
        lost = book.claim([SLACK], minute(0))
        assert book.claim([SLACK], minute(0) + LEASE - dt.timedelta(seconds=1)) is None
        again = book.claim([SLACK], minute(0) + LEASE)
        assert (again.id, again.alert.key, again.attempts) == (lost.id, KEY, 0)

    def test_what_is_owed_to_a_transport_that_is_not_set_now_waits(self, book):
        book.observe([observed(0, True)], [SLACK])
        assert drain(book, [MAIL], minute(9)) == [(MAIL, "opened", KEY)]
        assert [each.transport for each in book.undelivered()] == [SLACK]
        book.observe([observed(10, False)], [MAIL])
        assert drain(book, [SLACK, MAIL], minute(11)) == [
            (SLACK, "opened", KEY),
            (MAIL, "closed", KEY),
            (SLACK, "closed", KEY),
        ]


class TestToldAgain:
    def page(self, number, amount, bad=True, severity=Severity.PAGE):
        return observed(number, bad, severity=severity, amount=amount)

    def test_an_alert_that_doubled_is_told_again_once(self, book):
        assert steps(book.observe([self.page(0, "100.00")], [SLACK])) == ["opened"]
        assert drain(book, [SLACK], minute(0)) == [(SLACK, "opened", KEY)]
        assert steps(book.observe([self.page(1, "199.99")], [SLACK])) == ["repeated"]
        assert drain(book, [SLACK], minute(1)) == []
        assert steps(book.observe([self.page(2, "200.00")], [SLACK])) == ["raised"]
        assert book.observe([self.page(2, "200.00")], [SLACK]) == []
        assert steps(book.observe([self.page(3, "200.00"), self.page(4, "399.99")], [SLACK])) == ["repeated"] * 2
        assert drain(book, [SLACK], minute(4)) == [(SLACK, "raised", KEY)]
        assert drain(book, [SLACK], minute(5)) == []
        (alert,) = book.open_alerts()
        assert (alert.amount, alert.told, alert.owner) == (Decimal("399.99"), 2, "platform lead, security")
        assert (alert.last_told.amount, alert.last_told.at) == (Decimal("200.00"), minute(2))
        assert steps(book.observe([self.page(6, None, bad=False)], [SLACK])) == ["closed"]
        assert drain(book, [SLACK], minute(6)) == [(SLACK, "closed", KEY)]
        assert drain(book, [SLACK], minute(6 + 48 * 60)) == []

    def test_what_shrank_and_grew_back_is_not_told_again(self, book):
        book.observe([self.page(0, "100.00"), self.page(1, "10.00")], [SLACK])
        assert steps(book.observe([self.page(2, "150.00")], [SLACK])) == ["repeated"]

    def test_a_rise_of_severity_is_told_once_however_often_it_comes_back(self, book):
        book.observe([self.page(0, "100.00", severity=Severity.MEDIUM)], [])
        assert steps(book.observe([self.page(1, "100.00", severity=Severity.HIGH)], [])) == ["raised"]
        assert steps(book.observe([self.page(2, "100.00", severity=Severity.MEDIUM)], [])) == ["repeated"]
        assert steps(book.observe([self.page(3, "100.00", severity=Severity.HIGH)], [])) == ["repeated"]

    def test_the_first_amount_that_there_is_is_no_growth_but_is_what_later_ones_are_compared_with(self, book):
        book.observe([self.page(0, None)], [SLACK])
        assert steps(book.observe([self.page(1, "50.00")], [SLACK])) == ["repeated"]
        assert steps(book.observe([self.page(2, "100.00")], [SLACK])) == ["raised"]

    def test_what_grew_while_a_transport_was_down_is_told_with_its_opening_in_one_message(self, book):
        book.observe([self.page(0, "100.00")], [SLACK, MAIL])
        book.record_failure(book.claim([SLACK], minute(0)), "down", minute(0))
        assert drain(book, [MAIL], minute(0)) == [(MAIL, "opened", KEY)]
        book.observe([self.page(0.5, "200.00")], [SLACK, MAIL])
        assert drain(book, [SLACK, MAIL], minute(0.5)) == [(MAIL, "raised", KEY)]
        late = book.claim([SLACK], minute(1))
        assert (late.event, late.number, late.until, late.alert.amount) == ("opened", 1, 2, Decimal("200.00"))
        book.observe([self.page(1, "400.00")], [SLACK])  # while it is being sent: not in that message
        book.record_success(late, minute(1))
        assert drain(book, [SLACK], minute(1)) == [(SLACK, "raised", KEY)]
        assert drain(book, [SLACK], minute(999)) == []

    def test_a_transport_that_is_set_when_an_alert_grows_hears_of_it_once(self, book):
        book.observe([self.page(0, "100.00")], [])
        book.observe([self.page(1, "200.00")], [MAIL])
        book.observe([self.page(2, None, bad=False)], [MAIL])
        assert drain(book, [MAIL], minute(3)) == [(MAIL, "opened", KEY), (MAIL, "closed", KEY)]

    def test_a_page_is_recalled_every_24_hours_until_it_is_acknowledged(self, book):
        day = 24 * 60
        book.observe([self.page(0, "100.00"), observed(0, True, key="stale:litellm")], [SLACK])
        assert len(drain(book, [SLACK], minute(0))) == 2
        assert drain(book, [SLACK], minute(day - 1)) == []
        assert drain(book, [SLACK], minute(day)) == [(SLACK, "reminded", KEY)]
        assert drain(book, [SLACK], minute(2 * day - 1)) == []
        assert drain(book, [SLACK], minute(2 * day + 30)) == [(SLACK, "reminded", KEY)]
        page = next(alert for alert in book.open_alerts() if alert.key == KEY)
        acknowledged = book.acknowledge(page.id, by=" Ada ", at=minute(2 * day + 31))
        assert (acknowledged.acknowledged_by, acknowledged.acknowledged_at) == ("Ada", minute(2 * day + 31))
        assert acknowledged.told == 3
        assert drain(book, [SLACK], minute(9 * day)) == []
        assert steps(book.observe([self.page(9 * day, "200.00")], [SLACK])) == ["raised"]
        assert drain(book, [SLACK], minute(9 * day)) == [(SLACK, "raised", KEY)]
        assert [alert.acknowledged_by for alert in book.open_alerts()] == [None, None]
        assert drain(book, [SLACK], minute(10 * day)) == [(SLACK, "reminded", KEY)]

    def test_a_transport_that_was_down_for_days_gets_one_message_for_all_recalls(self, book):
        book.observe([self.page(0, "100.00")], [SLACK])
        drain(book, [SLACK], minute(0))
        for day in (1, 2, 3):
            book.record_failure(book.claim([SLACK], minute(day * 24 * 60)), "down", minute(day * 24 * 60))
        assert len(book.undelivered()) == 3
        assert drain(book, [SLACK], minute(3 * 24 * 60 + 9)) == [(SLACK, "reminded", KEY)]
        assert book.undelivered() == []

    def test_an_acknowledgement_needs_an_open_alert_and_a_person(self, book):
        with pytest.raises(AlertNotOpenError, match=r"alert 7 is not open\. Fix: "):
            book.acknowledge(7, by="Ada", at=START)
        with pytest.raises(AlertNotOpenError, match="needs a person"):
            book.acknowledge(7, by=" ", at=START)


class TestClosingByHand:
    def test_a_person_closes_what_nothing_else_will_and_everybody_is_told(self, book):
        book.observe([observed(0, True)], [SLACK])
        (alert,) = book.open_alerts()
        closed = book.close_by_hand(alert.id, by="ada@example.com", reason=" waived ", at=minute(1))
        assert (closed.closed_at, closed.closed_by) == (minute(1), "ada@example.com: waived")
        assert book.open_alerts() == []
        assert drain(book, [SLACK], minute(2)) == [(SLACK, "opened", KEY), (SLACK, "closed", KEY)]

    def test_it_opens_again_when_it_is_found_again(self, book):
        book.observe([observed(0, True)], [])
        book.close_by_hand(book.open_alerts()[0].id, by="Ada", reason="r", at=minute(1))
        assert book.observe([observed(0.5, True)], []) == []
        assert [step.step for step in book.observe([observed(2, True)], [])] == [Step.OPENED]

    def test_what_is_not_open_or_not_signed_is_refused(self, book):
        with pytest.raises(AlertNotOpenError, match=r"alert 7 is not open\. Fix: "):
            book.close_by_hand(7, by="Ada", reason="r", at=START)
        with pytest.raises(AlertNotOpenError, match="needs a person and a reason"):
            book.close_by_hand(7, by="Ada", reason=" ", at=START)
