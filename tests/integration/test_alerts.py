"""Alerts from a real Dagster run to a real mail server and a real webhook: once each, in order, without a secret."""

import datetime as dt
import io
import json
import logging
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from decimal import Decimal
from email import message_from_bytes
from email.policy import default
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import dagster as dg
import pytest
import typer
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult
from typer.testing import CliRunner

from resources.home import Home
from resources.lake import Lake
from resources.notifier import Notifier, NotifierError
from resources.readings import newest_readings
from tests.dagster_server import free_port
from tokengov_pipelines.alerting import conditions_of_run, deliver_alerts, record_run, tell_of_runs
from tokengov_pipelines.alerts_cli import app
from tokengov_pipelines.domain.alert import Condition, Severity
from tokengov_pipelines.domain.alert_messages import Message
from tokengov_pipelines.ledger.errors import LedgerError
from tokengov_pipelines.ledger.ledger import Ledger
from tokengov_pipelines.sensors import all_sensors
from tokengov_pipelines.settings import ALERT_URLS_VARIABLE, Installation, ScheduleSettings, Settings, load_installation

USER, PASSWORD, TOKEN = "ada.lovelace", "hunter2-and-more", "T0ken-in-the-path"
START = dt.datetime(2026, 11, 5, 3, 0, tzinfo=dt.UTC)


class Webhook:
    """A real HTTP server that answers with the next of `statuses`, the last one for ever; keeps what it accepted."""

    def __init__(self) -> None:
        self.statuses = [200]
        self.delay = 0.0
        self.accepted: list[dict[str, str]] = []
        self.asked = 0
        webhook = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                webhook.asked += 1
                body = self.rfile.read(int(self.headers["Content-Length"]))
                time.sleep(webhook.delay)
                status = webhook.statuses.pop(0) if len(webhook.statuses) > 1 else webhook.statuses[0]
                if status == 200:
                    webhook.accepted.append(json.loads(body))
                self.send_response(status)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"json://{USER}:{PASSWORD}@127.0.0.1:{self._server.server_port}/{TOKEN}"

    @contextmanager
    def running(self) -> Iterator["Webhook"]:
        thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        thread.start()
        yield self
        self._server.shutdown()
        self._server.server_close()
        thread.join()


class Mailbox:
    """A real SMTP server on 127.0.0.1 that wants user and password; keeps what it accepted."""

    def __init__(self) -> None:
        self.mails: list[tuple[str, str, str]] = []

    async def handle_DATA(self, server, session, envelope):  # noqa: N802 - the name that aiosmtpd calls
        mail = message_from_bytes(envelope.content, policy=default)
        self.mails.append((envelope.rcpt_tos[0], str(mail["Subject"]), mail.get_body(("plain",)).get_content()))
        return "250 OK"

    @contextmanager
    def running(self) -> Iterator[str]:
        def is_ada(_server, _session, _envelope, _mechanism, data):
            right = (data.login, data.password) == (USER.encode(), PASSWORD.encode())
            return AuthResult(success=right, handled=False)  # not handled: the server says 535 itself

        controller = Controller(
            self,
            hostname="127.0.0.1",
            port=free_port(),
            authenticator=is_ada,
            auth_required=True,
            auth_require_tls=False,
        )
        controller.start()
        yield (
            f"mailto://{USER}:{PASSWORD}@127.0.0.1:{controller.port}"
            "?mode=insecure&from=tokengov@example.com&to=finance@example.com"
        )
        controller.stop()


@pytest.fixture
def webhook() -> Iterator[Webhook]:
    with Webhook().running() as running:
        yield running


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "tokengov.yaml").write_text("log_start: 2026-10-01\n", encoding="utf-8")
    return tmp_path


@pytest.fixture
def ledger(home: Path) -> Ledger:
    ledger = Ledger(f"sqlite:///{home / 'ledger.db'}", lambda: START, lock_seconds=5)
    ledger.upgrade()
    return ledger


@pytest.fixture
def everything_logged() -> Iterator[io.StringIO]:
    """What a program would log whose root logger writes everything (pytest's caplog listens behind closed doors)."""
    text, root = io.StringIO(), logging.getLogger()
    handler, level = logging.StreamHandler(text), root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    yield text
    root.removeHandler(handler)
    root.setLevel(level)


@pytest.fixture
def urls(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv(ALERT_URLS_VARIABLE, raising=False)
    return lambda *each: monkeypatch.setenv(ALERT_URLS_VARIABLE, "\n  ".join(each))


def observed(minutes: float, *, bad: bool, key: str = "run:load_days_job") -> Condition:
    at, parts = START + dt.timedelta(minutes=minutes), frozenset({""} if bad else ())
    return Condition(key, at, Severity.ERROR, "load_days_job failed", "down. Fix: start it.", bad=parts, run_id="run-1")


def page(minutes: float, amount: str | None) -> Condition:
    """Unproxied spend as a look at the month found it; None for none."""
    return Condition(
        "recon:unproxied:anthropic:acme:2026-10",
        START + dt.timedelta(minutes=minutes),
        Severity.PAGE,
        "anthropic (acme) 2026-10: unproxied spend above its limit",
        f"{amount} USD bypassed the proxy. Keys: ...er 7. Fix: tokengov unproxied list.",
        bad=frozenset({""} if amount else ()),
        owner="platform lead, security",
        amount=Decimal(amount) if amount else None,
    )


def drain(ledger: Ledger, home: Path, minutes: float):
    return deliver_alerts(ledger, Notifier(), home, clock=lambda: START + dt.timedelta(minutes=minutes))


def everything_kept(home: Path) -> str:
    with closing(sqlite3.connect(home / "ledger.db")) as connection:
        return "\n".join(connection.iterdump())


def assert_no_secret(text: str) -> None:
    for secret in (USER, PASSWORD, TOKEN, USER.partition(".")[0] + ".", "hunter2"):
        assert secret not in text


class TestTransports:
    def test_a_webhook_that_fails_and_recovers_gets_each_message_once(self, webhook, home, ledger, urls):
        urls(webhook.url)
        webhook.statuses = [500, 500, 200]
        ledger.alerts.observe([observed(0, bad=True)], Notifier().transports)
        assert drain(ledger, home, 0).sent == 0
        assert drain(ledger, home, 0.5).failures == []
        (label,) = Notifier().transports
        (failure,) = drain(ledger, home, 1).failures
        said = "Failed to send JSON POST notification: Internal server error., error=500."
        assert failure == f"{label} (URL 1 of {ALERT_URLS_VARIABLE}): {said}"
        (owed,) = ledger.alerts.undelivered()
        assert (owed.attempts, owed.next_attempt_at) == (2, START + dt.timedelta(minutes=3))
        assert drain(ledger, home, 3).sent == 1
        ledger.alerts.observe([observed(60 * 24, bad=False)], Notifier().transports)
        assert drain(ledger, home, 60 * 24).sent == 1
        assert drain(ledger, home, 60 * 48).sent == 0
        assert [each["title"] for each in webhook.accepted] == [
            "[error] load_days_job failed",
            "[over] load_days_job failed",
        ]
        assert "down. Fix: start it." in webhook.accepted[0]["message"]
        assert "From 2026-11-05 03:00 UTC to 2026-11-06 03:00 UTC: 1 d 0 h." in webhook.accepted[1]["message"]
        assert [each["type"] for each in webhook.accepted] == ["failure", "success"]

    def test_a_mail_is_sent_beside_a_webhook_that_is_down(self, webhook, home, ledger, urls):
        webhook.statuses = [503]
        mailbox = Mailbox()
        with mailbox.running() as mail_url:
            urls(webhook.url, mail_url)
            ledger.alerts.observe([observed(0, bad=True)], Notifier().transports)
            report = drain(ledger, home, 0)
        assert (report.sent, len(report.failures), webhook.accepted) == (1, 1, [])
        ((to, subject, body),) = mailbox.mails
        assert (to, subject) == ("finance@example.com", "[error] load_days_job failed")
        assert body.startswith("down. Fix: start it.")

    def test_a_page_that_doubles_is_told_again_once_by_mail_and_webhook_and_its_end_once(
        self, webhook, home, ledger, urls
    ):
        mailbox, day = Mailbox(), 24 * 60
        with mailbox.running() as mail_url:
            urls(webhook.url, mail_url)
            for minutes, amount, sent in (
                (0, "1234.50", 2),
                (0, "1234.50", 0),  # the same look, recorded again
                (60, "1234.50", 0),  # another look at the same figures
                (120, "2468.99", 0),
                (180, "2469.00", 2),
                (240, "2469.00", 0),
                (300, None, 2),
                (360, None, 0),
            ):
                ledger.alerts.observe([page(minutes, amount)], Notifier().transports)
                assert drain(ledger, home, minutes).sent == sent
            assert drain(ledger, home, 9 * day).sent == 0
        title = "anthropic (acme) 2026-10: unproxied spend above its limit"
        titles = [f"[page] {title}", f"[page, grown] {title}", f"[over] {title}"]
        assert [each["title"] for each in webhook.accepted] == titles
        assert [each["type"] for each in webhook.accepted] == ["failure", "failure", "success"]
        assert [(to, subject) for to, subject, _ in mailbox.mails] == [("finance@example.com", each) for each in titles]
        for body in (webhook.accepted[0]["message"], mailbox.mails[0][2]):
            assert body.splitlines()[:5] == [
                "1234.50 USD bypassed the proxy. Keys: ...er 7. Fix: tokengov unproxied list.",
                "",
                "For: platform lead, security. Amount: 1,234.50 USD.",
                "Since 2026-11-05 03:00 UTC.",
                "Told every day until it is over, or: tokengov alerts ack 1 --by NAME",
            ]
        for body in (webhook.accepted[1]["message"], mailbox.mails[1][2]):
            assert body.startswith("It was told before and has grown since: its amount has at least doubled, or ")
            assert "Amount: 2,469.00 USD." in body
            assert "Since 2026-11-05 03:00 UTC." in body

    def test_a_page_that_nobody_acknowledges_is_told_every_day(self, webhook, home, ledger, urls):
        day = 24 * 60
        urls(webhook.url)
        ledger.alerts.observe([page(0, "150.00"), observed(0, bad=True)], Notifier().transports)
        assert [drain(ledger, home, minutes).sent for minutes in (0, day - 1, day, day + 1, 2 * day)] == [2, 0, 1, 0, 1]
        ledger.alerts.acknowledge(1, by="Ada", at=START + dt.timedelta(minutes=2 * day + 1))
        assert drain(ledger, home, 9 * day).sent == 0
        last = webhook.accepted[-1]
        assert last["title"] == "[page, still open] anthropic (acme) 2026-10: unproxied spend above its limit"
        assert last["message"].startswith("This is open for 2 d 0 h and nobody has acknowledged it.\n\n150.00 USD ")

    def test_each_severity_has_a_kind_of_apprise(self, webhook, urls):
        urls(webhook.url)
        (label,) = Notifier().transports
        for severity in [None, *Severity]:
            Notifier().send(label, Message("t", "b", severity))
        assert [each["type"] for each in webhook.accepted] == [
            "success", "info", "warning", "warning", "failure", "failure", "failure"
        ]  # fmt: skip

    def test_no_secret_is_kept_said_or_logged(self, webhook, home, ledger, urls, everything_logged, capfd):
        mailbox = Mailbox()
        with mailbox.running() as mail_url:
            refused = mail_url.replace(PASSWORD, f"{PASSWORD}-wrong")
            nobody = f"json://{USER}:{PASSWORD}@127.0.0.1:{free_port()}/{TOKEN}"
            slack = f"slak://{TOKEN}/{PASSWORD}/more"
            webhook.statuses = [500]
            urls(webhook.url, refused, nobody, slack, f"{TOKEN}/{PASSWORD}")
            ledger.alerts.observe([observed(0, bad=True)], Notifier().transports)
            report = drain(ledger, home, 0)
        assert (report.sent, len(report.failures)) == (0, 5)
        assert [each.partition(":")[0] for each in report.failures] == ["json", "mailto", "json", "slak", "no-scheme"]
        assert "535" in report.failures[1]
        assert "Connection error" in report.failures[2] or "A Connection" in report.failures[2]
        assert report.failures[3].endswith("Apprise does not know this URL. Fix: compare it with docs/alerts.md")
        assert len(ledger.alerts.undelivered()) == 5
        printed = capfd.readouterr()
        for text in (
            everything_kept(home),
            everything_logged.getvalue(),
            printed.out,
            printed.err,
            *report.failures,
            repr(Notifier()),
        ):
            assert_no_secret(text)

    def test_a_transport_that_does_not_answer_ends_at_the_time_limit(self, webhook, urls):
        urls(webhook.url + "?rto=30")
        webhook.delay = 1.5
        notifier, began = Notifier(seconds=0.5), time.monotonic()
        with pytest.raises(NotifierError, match=r"no answer within 0\.5 s"):
            notifier.send(notifier.transports[0], Message("t", "b", None))
        assert time.monotonic() - began < 1.4

    def test_no_url_is_silent(self, home, ledger, urls):
        assert Notifier().transports == ()
        ledger.alerts.observe([observed(0, bad=True)], Notifier().transports)
        assert (drain(ledger, home, 0).sent, ledger.alerts.undelivered()) == (0, [])
        assert len(ledger.alerts.open_alerts()) == 1
        urls("  \n ")
        assert Notifier().transports == ()

    def test_a_url_that_is_no_longer_set_is_named_by_its_label(self, urls):
        with pytest.raises(NotifierError, match=r"transport slack:00000001 is not in TOKENGOV_ALERT_URLS\. Fix: "):
            Notifier().send("slack:00000001", Message("t", "b", None))


# --- runs of a real Dagster instance ---------------------------------------------------------------------------------


class Observatory:
    """An installation with an asset and three checks whose verdicts a test sets, and a Dagster instance."""

    def __init__(self, home: Path, instance: dg.DagsterInstance) -> None:
        self.home, self.instance = home, instance
        self.verdicts = {
            "vocabulary_is_known": True,
            "rows_lie_within_their_day": True,
            "gap_is_within_tolerance": True,
        }
        self.metadata: dict[str, dict[str, str]] = {}
        self.fails = ""
        severity = dg.AssetCheckSeverity

        @dg.asset(key=["raw", "calls"])
        def calls() -> None:
            if self.fails:
                raise ConnectionError(self.fails)

        def check(name: str, level: dg.AssetCheckSeverity, *, blocking: bool = False) -> dg.AssetChecksDefinition:
            @dg.asset_check(asset=calls, name=name, blocking=blocking)
            def verdict() -> dg.AssetCheckResult:
                passed, words = self.verdicts[name], f"{name} says so. Fix: look."
                metadata = self.metadata.get(name, {})
                return dg.AssetCheckResult(passed=passed, severity=level, description=words, metadata=metadata)

            return verdict

        checks = [
            check("vocabulary_is_known", severity.WARN),
            check("rows_lie_within_their_day", severity.ERROR, blocking=True),
            check("gap_is_within_tolerance", severity.WARN),
        ]
        job = dg.define_asset_job("load_days_job", selection="*")
        self.definitions = dg.Definitions(assets=[calls], asset_checks=checks, jobs=[job])

    def run(self, **tags: str) -> str:
        """One run of the job; returns its id."""
        job = self.definitions.resolve_job_def("load_days_job")
        return job.execute_in_process(instance=self.instance, raise_on_error=False, tags=tags).run_id


@pytest.fixture
def observatory(home: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Observatory]:
    quiet = {"telemetry": {"enabled": False}}
    with dg.DagsterInstance.local_temp(str(tmp_path_factory.mktemp("dagster")), overrides=quiet) as instance:
        yield Observatory(home, instance)


def sensors(newest=lambda *_: {}, *, enabled: bool = False) -> dict[str, dg.SensorDefinition]:
    settings = Settings(schedules=ScheduleSettings(enabled=enabled))
    return {sensor.name: sensor for sensor in all_sensors(settings, newest)}


def tick(sensor: dg.SensorDefinition, observatory: Observatory, cursor: str | None = None):
    """One evaluation of a sensor as the daemon makes it."""
    lake = Lake(root=str(observatory.home / "lake"), cache_dir=str(observatory.home / "cache"))
    resources = {"home": Home(path=str(observatory.home)), "lake": lake, "notifier": Notifier()}
    used = {name: resources[name] for name in sensor.required_resource_keys}
    with dg.build_sensor_context(instance=observatory.instance, cursor=cursor, resources=used) as context:
        return sensor.evaluate_tick(context)


class TestRuns:
    def test_a_failed_warn_check_of_a_green_run_opens_and_the_next_green_check_closes(
        self, observatory, ledger, webhook, urls
    ):
        urls(webhook.url)
        found = sensors()
        observatory.verdicts["vocabulary_is_known"] = False
        first = observatory.run()
        assert observatory.instance.get_run_by_id(first).is_success
        result = tick(found["run_finished_sensor"], observatory)
        assert result.skip_message == "1 runs finished; alerts: 1 opened"
        (alert,) = ledger.alerts.open_alerts()
        assert (alert.key, alert.severity) == ("check:raw/calls:vocabulary_is_known", Severity.WARNING)
        assert (alert.title, alert.run_id) == ("raw/calls: vocabulary_is_known failed", first)
        assert alert.text == "vocabulary_is_known says so. Fix: look."
        assert tick(found["deliver_alerts_sensor"], observatory).skip_message == "1 messages sent"

        observatory.run()
        result = tick(found["run_finished_sensor"], observatory, result.cursor)
        assert result.skip_message == "1 runs finished; alerts: 1 repeated"
        observatory.verdicts["vocabulary_is_known"] = True
        observatory.run()
        result = tick(found["run_finished_sensor"], observatory, result.cursor)
        assert result.skip_message == "1 runs finished; alerts: 1 closed"
        assert tick(found["deliver_alerts_sensor"], observatory).skip_message == "1 messages sent"
        assert tick(found["run_finished_sensor"], observatory, result.cursor).skip_message.startswith("0 runs")
        assert [(each["title"], each["type"]) for each in webhook.accepted] == [
            ("[warning] raw/calls: vocabulary_is_known failed", "warning"),
            ("[over] raw/calls: vocabulary_is_known failed", "success"),
        ]

    def test_a_source_that_is_down_opens_once_and_heals_without_a_person(self, observatory, ledger):
        sensor, cursor = sensors()["run_finished_sensor"], None
        observatory.fails = "litellm: postgresql://reader:hunter2@db:5432/x does not answer. Fix: start it."
        for _ in range(3):
            observatory.run()
            cursor = tick(sensor, observatory, cursor).cursor
        (alert,) = ledger.alerts.open_alerts()
        assert (alert.key, alert.severity) == ("run:load_days_job", Severity.ERROR)
        assert alert.text == "raw/calls: litellm: postgresql://***@db:5432/x does not answer. Fix: start it."
        observatory.fails = ""
        observatory.run()
        tick(sensor, observatory, cursor)
        assert ledger.alerts.open_alerts() == []
        assert [each.key for each in ledger.alerts.closed_alerts()] == ["run:load_days_job"]

    def test_a_blocking_check_opens_its_own_alert_and_the_runs(self, observatory, ledger):
        observatory.verdicts["rows_lie_within_their_day"] = False
        run = observatory.run()
        record_run(observatory.instance, run, ledger, Notifier())
        alerts = {alert.key: alert.text for alert in ledger.alerts.open_alerts()}
        stopped, fix = (
            "raw/calls_rows_lie_within_their_day: stopped by failed checks",
            f"look at run {run[:8]} in the UI",
        )
        assert alerts == {
            "check:raw/calls:rows_lie_within_their_day": "rows_lie_within_their_day says so. Fix: look.",
            "run:load_days_job": f"{stopped}\nFix: {fix}, then run it again.",
        }

    def test_octobers_green_does_not_close_septembers_alert(self, observatory, ledger):
        name, key = "gap_is_within_tolerance", "check:raw/calls:gap_is_within_tolerance"
        for month, passed, is_open in (
            ("2026-09", False, ["2026-09"]),
            ("2026-10", True, ["2026-09"]),
            ("2026-10", False, ["2026-09", "2026-10"]),
            ("2026-09", True, ["2026-10"]),
            ("2026-09 to 2026-10", True, []),
        ):
            observatory.verdicts[name] = passed
            observatory.metadata[name] = {"looked_at": month}
            record_run(observatory.instance, observatory.run(), ledger, Notifier())
            assert [alert.key for alert in ledger.alerts.open_alerts()] == [f"{key}:{each}" for each in is_open]

    def test_a_day_stays_open_until_that_day_is_green(self, observatory, ledger):
        name = "vocabulary_is_known"
        for looked_at, red, is_open in (
            ("2026-10-30 to 2026-11-01", "2026-10-30, 2026-11-01", ["2026-10", "2026-11"]),
            ("2026-10-31 to 2026-11-02", "", ["2026-10"]),
            ("2026-10-30", "", []),
        ):
            observatory.verdicts[name] = not red
            observatory.metadata[name] = {"looked_at": looked_at, "red": red}
            record_run(observatory.instance, observatory.run(), ledger, Notifier())
            assert [alert.title for alert in ledger.alerts.open_alerts()] == [
                f"raw/calls: vocabulary_is_known failed ({month})" for month in is_open
            ]

    def test_runs_of_months_are_told_apart(self, observatory, ledger):
        september = {"dagster/asset_partition_range_start": "2026-09", "dagster/asset_partition_range_end": "2026-09"}
        observatory.fails = "no invoice. Fix: enter it."
        record_run(observatory.instance, observatory.run(**september), ledger, Notifier())
        observatory.fails = ""
        record_run(observatory.instance, observatory.run(**{"dagster/partition": "2026-10"}), ledger, Notifier())
        assert [alert.key for alert in ledger.alerts.open_alerts()] == ["run:load_days_job:2026-09"]
        record_run(observatory.instance, observatory.run(**september), ledger, Notifier())
        assert ledger.alerts.open_alerts() == []

    def test_recording_runs_twice_or_in_the_wrong_order_ends_the_same(self, observatory, ledger):
        observatory.fails = "down"
        failed = observatory.run()
        observatory.fails = ""
        succeeded = observatory.run()
        for run in (succeeded, failed, succeeded, failed):
            record_run(observatory.instance, run, ledger, Notifier())
        assert (ledger.alerts.open_alerts(), ledger.alerts.closed_alerts()) == ([], [])

    def test_a_run_whose_process_died_opens_and_one_that_was_canceled_says_nothing(self, observatory, ledger):
        job = observatory.definitions.resolve_job_def("load_days_job")
        for end in ("report_run_failed", "report_run_canceled"):
            run = observatory.instance.create_run_for_job(job, status=dg.DagsterRunStatus.STARTED)
            assert conditions_of_run(observatory.instance, run.run_id) == []
            getattr(observatory.instance, end)(run, "The process of this run is gone.")
            record_run(observatory.instance, run.run_id, ledger, Notifier())
        (alert,) = ledger.alerts.open_alerts()
        assert alert.key == "run:load_days_job"
        assert alert.text.startswith("The process of this run is gone.\nFix: look at run ")

    def test_a_tick_that_cannot_use_the_ledger_fails_and_the_next_one_records_the_run(self, observatory, ledger):
        """Dagster's own run-status sensors would move on, and the alert would be lost."""
        sensor = sensors()["run_finished_sensor"]
        observatory.fails = "down"
        observatory.run()
        cursor = tick(sensor, observatory).cursor
        observatory.fails = ""
        observatory.run()
        database = observatory.home / "ledger.db"
        content = database.read_bytes()
        database.write_bytes(b"this is no database" * 1000)
        with pytest.raises(LedgerError):
            tick(sensor, observatory, cursor)
        database.write_bytes(content)
        assert tick(sensor, observatory, cursor).skip_message == "1 runs finished; alerts: 1 closed"

    def test_more_runs_than_one_tick_takes_are_taken_by_the_next(self, observatory, ledger):
        job = observatory.definitions.resolve_job_def("load_days_job")
        for n in range(1, 6):
            tags = {"dagster/partition": f"2026-{n:02d}"}
            observatory.instance.create_run_for_job(job, status=dg.DagsterRunStatus.FAILURE, tags=tags)
        sensor = {each.name: each for each in all_sensors(Settings(), lambda *_: {}, runs_a_tick=3)}[
            "run_finished_sensor"
        ]
        first = tick(sensor, observatory)
        second = tick(sensor, observatory, first.cursor)
        third = tick(sensor, observatory, second.cursor)
        said = [each.skip_message for each in (first, second, third)]
        assert said == [
            "3 runs finished; alerts: 3 opened",
            "2 runs finished; alerts: 2 opened",
            "0 runs finished; alerts: none",
        ]
        assert len(ledger.alerts.open_alerts()) == 5

    def test_without_a_daemon_the_command_line_records_and_sends(self, observatory, ledger, webhook, urls):
        urls(webhook.url)
        observatory.fails = "down. Fix: start it."
        run = observatory.run()
        webhook.statuses = [500, 200]
        installation = load_installation(observatory.home)
        (said,) = tell_of_runs(observatory.instance, [run], installation, Notifier())
        assert said.startswith("an alert was not sent and is retried: json:")
        (observatory.home / "ledger.db").write_bytes(b"this is no database" * 1000)
        (said,) = tell_of_runs(observatory.instance, [run], installation, Notifier())
        assert said.startswith("alerts were not recorded: the ledger at ")


class TestStaleness:
    def test_a_stale_source_opens_once_and_closes_with_the_next_extraction(self, observatory, ledger):
        ages = [27, 28, 1]
        newest = lambda *_: {"litellm": dt.datetime.now(dt.UTC) - dt.timedelta(hours=ages[0]), "openai": None}  # noqa: E731
        sensor = sensors(newest)["stale_sources_sensor"]
        assert tick(sensor, observatory).skip_message == "2 sources looked at; alerts: 2 opened"
        ages.pop(0)
        assert tick(sensor, observatory).skip_message == "2 sources looked at; alerts: 2 repeated"
        ages.pop(0)
        assert tick(sensor, observatory).skip_message == "2 sources looked at; alerts: 1 closed, 1 repeated"
        assert [alert.key for alert in ledger.alerts.open_alerts()] == ["stale:openai"]

    def test_with_a_fixed_present_ages_are_measured_against_it(self, observatory, ledger):
        (observatory.home / "tokengov.yaml").write_text("as_of: 2026-11-05\n", encoding="utf-8")
        sensor = sensors(lambda *_: {"litellm": dt.datetime(2026, 11, 3, tzinfo=dt.UTC)})["stale_sources_sensor"]
        tick(sensor, observatory)
        (alert,) = ledger.alerts.open_alerts()
        assert alert.text.startswith("litellm was last read at 2026-11-03 00:00 UTC, 2 d 0 h ago; the limit is 26 h.")

    def test_the_newest_reading_is_told_by_the_lake(self, tmp_path):
        installation = Installation(home=tmp_path)
        lake = Lake(root=str(tmp_path / "lake"), cache_dir=str(tmp_path / "cache"))
        assert newest_readings(installation, lake) == {"litellm": None}
        for day, at in (("2026-11-02", "2026-11-04T03:00:00+00:00"), ("2026-11-03", "2026-11-03T03:00:00+00:00")):
            folder = tmp_path / "lake" / "raw" / "litellm_spend_logs" / f"day={day}"
            folder.mkdir(parents=True)
            for name in ("current.json", "last_seen.json"):
                (folder / name).write_text(json.dumps({"extracted_at": at}), encoding="utf-8")
        assert newest_readings(installation, lake) == {"litellm": dt.datetime(2026, 11, 4, 3, tzinfo=dt.UTC)}


def test_sensors_are_off_unless_schedules_are_on():
    status = dg.DefaultSensorStatus
    assert {each.default_status for each in sensors().values()} == {status.STOPPED}
    assert {each.default_status for each in sensors(enabled=True).values()} == {status.RUNNING}


class TestCommandLine:
    RUNNER = CliRunner(env={"COLUMNS": "200"})

    def invoke(self, home: Path, *arguments: str):
        tokengov = typer.Typer()
        tokengov.add_typer(app, name="alerts")
        tokengov.command()(lambda: None)
        return self.RUNNER.invoke(tokengov, ["alerts", *arguments, "--home", str(home)])

    def test_it_lists_open_alerts_and_messages_that_failed(self, home, ledger, webhook, urls):
        urls(webhook.url)
        webhook.statuses = [500, 200]
        assert "No alert is open." in self.invoke(home).output
        ledger.alerts.observe([observed(0, bad=True)], Notifier().transports)
        failed = self.invoke(home, "send")
        assert (failed.exit_code, "0 messages sent." in failed.output) == (1, True)
        listed = self.invoke(home).output
        for words in ("load_days_job failed", "down. Fix: start it.", "2026-11-05 03:00Z", "Messages not sent", "=500"):
            assert words in listed
        assert_no_secret(failed.output + listed)

    def test_it_shows_severity_owner_amount_and_how_often_it_was_told(self, home, ledger):
        ledger.alerts.observe([page(0, "1234.50"), page(1, "2469.00")], [])
        listed = self.invoke(home).output
        for words in (
            " page ",
            " 2,469.00 ",
            " 2 ",
            "For: platform lead, security.",
            "unproxied spend above its limit",
        ):
            assert words in listed
        done = self.invoke(home, "ack", "1", "--by", "Ada [1]")
        title = "anthropic (acme) 2026-10: unproxied spend above its limit"
        assert (done.exit_code, done.output) == (0, f"acknowledged 1: {title}\n")
        assert "Acknowledged by Ada [1], 20" in self.invoke(home).output
        refused = self.invoke(home, "ack", "7", "--by", "Ada")
        assert (refused.exit_code, refused.stderr) == (
            1,
            "alert 7 is not open. Fix: look at the numbers in: tokengov alerts\n",
        )

    def test_what_is_over_is_listed_on_demand(self, home, ledger):
        ledger.alerts.observe([observed(0, bad=True)], [])
        number = str(ledger.alerts.open_alerts()[0].id)
        done = self.invoke(home, "close", number, "--by", "ada@example.com", "--reason", "waived [1]")
        assert (done.exit_code, done.output) == (0, f"closed {number}: load_days_job failed\n")
        assert "load_days_job" not in self.invoke(home).output
        assert "Closed by hand: ada@example.com: waived [1]" in self.invoke(home, "--all").output
        again = self.invoke(home, "close", number, "--by", "ada@example.com", "--reason", "r")
        assert (again.exit_code, again.stderr) == (
            1,
            f"alert {number} is not open. Fix: look at the numbers in: tokengov alerts\n",
        )

    def test_a_test_message_goes_to_every_transport_and_one_failure_is_exit_1(self, home, webhook, urls):
        none = self.invoke(home, "test")
        assert (none.exit_code, none.stderr) == (
            1,
            f"there is no transport. Fix: export {ALERT_URLS_VARIABLE}; docs/alerts.md says what it holds.\n",
        )
        mailbox = Mailbox()
        with mailbox.running() as mail_url:
            urls(mail_url, webhook.url)
            assert self.invoke(home, "test").exit_code == 0
            webhook.statuses = [500]
            result = self.invoke(home, "test")
        assert result.exit_code == 1
        assert len(mailbox.mails) == 2
        assert [each["title"] for each in webhook.accepted] == ["[test] tokengov can reach you"]
        assert_no_secret(result.output)
