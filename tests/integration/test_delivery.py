"""A closed pack by every way to a real server, killed at every step: no half a file, no second message, no silence."""

import base64
import datetime as dt
import hashlib
import hmac
import ipaddress
import json
import os
import signal
import ssl
import subprocess
import sys
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import dagster as dg
import fsspec
import pytest
import typer
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from moto.server import ThreadedMotoServer
from typer.testing import CliRunner

from assets.delivery import delivery_assets
from assets.pack_delivery import Delivered
from resources.home import Home
from resources.notifier import Notifier
from tests.dagster_server import free_port
from tests.integration import delivering_run, sftp_server
from tests.integration.delivering_run import FILES, MONTH, closed_home, delivery_run, manifest_of, opened, run
from tokengov_pipelines.delivery_cli import deliver
from tokengov_pipelines.delivery_settings import SMTP_URL_VARIABLE, DeliverySettings
from tokengov_pipelines.domain.alert import Severity
from tokengov_pipelines.ledger.outbox import Addressee, DeliveryState

PROGRAM = Path(delivering_run.__file__)
REPOSITORY = PROGRAM.parents[2]
WHOLE = {**FILES, "manifest.json": manifest_of(FILES)}
SENDER, FINANCE, CFO = "tokengov@example.com", "finance@example.com", "cfo@example.com"
MAIL = DeliverySettings(name="mail", to=f"mailto:{FINANCE},{CFO}", sender=SENDER)
SMTP_USER, SMTP_PASSWORD = "mailer@example.com", "secret-of-the-relay"
TOKEN = "shared-secret-of-the-hook"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    home = tmp_path / "home"
    home.mkdir()
    closed_home(home)
    return home


def killed(home: Path, step: str, destination: DeliverySettings) -> None:
    """Deliver in a process of its own that is killed at the step."""
    command = [sys.executable, str(PROGRAM), str(home), step, destination.model_dump_json()]
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == -signal.SIGKILL, done.stdout + done.stderr


def only(done: list[Delivered]) -> Delivered:
    (each,) = done
    return each


def kinds(home: Path) -> list[str]:
    assert opened(home).verify_chain().intact
    return [event.kind.removeprefix("delivery.") for event in opened(home).events(MONTH) if "delivery." in event.kind]


def tree(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def assert_kept_nowhere(home: Path, *secrets: str) -> None:
    everything = b"".join(path.read_bytes() for path in home.glob("ledger.db*"))
    for secret in secrets:
        assert secret.encode() not in everything


# --- e-mail ----------------------------------------------------------------------------------------------------------


class Mailbox:
    """A real SMTP server. `refuses` is a recipient it does not know; `silent` hangs up in place of its last answer."""

    def __init__(self) -> None:
        self.mails: list[tuple[list[str], EmailMessage]] = []
        self.refuses, self.answer, self.silent = "", "250 queued as 4711", False

    async def handle_RCPT(self, server, session, envelope, address, options):  # noqa: N802 - aiosmtpd's name
        if address == self.refuses:
            return f"550 5.1.1 no such user {address}"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server, session, envelope):  # noqa: N802 - aiosmtpd's name
        if self.answer.startswith("250"):
            self.mails.append((envelope.rcpt_tos, message_from_bytes(envelope.content, policy=default)))
        if self.silent:
            server.transport.abort()
        return self.answer

    @contextmanager
    def running(self, tls: ssl.SSLContext | None = None) -> Iterator["Mailbox"]:
        def knows(_server, _session, _envelope, _mechanism, data):
            right = (data.login, data.password) == (SMTP_USER.encode(), SMTP_PASSWORD.encode())
            return AuthResult(success=right, handled=False)

        controller = Controller(
            self,
            hostname="127.0.0.1",
            port=free_port(),
            authenticator=knows,
            auth_required=True,
            auth_require_tls=False,
            tls_context=tls,
            require_starttls=tls is not None,
        )
        controller.start()
        self.port = controller.port
        yield self
        controller.stop()


def smtp_url(port: int, query: str = "", password: str = SMTP_PASSWORD) -> str:
    return f"smtp://{SMTP_USER.replace('@', '%40')}:{password}@127.0.0.1:{port}/{query}"


@pytest.fixture
def mailbox(monkeypatch: pytest.MonkeyPatch) -> Iterator[Mailbox]:
    with Mailbox().running() as mailbox:
        monkeypatch.setenv(SMTP_URL_VARIABLE, smtp_url(mailbox.port, "?starttls=never"))
        yield mailbox


class TestEmail:
    def test_a_message_with_the_workbook_and_the_report_goes_out_once(self, home, mailbox):
        first, second = only(run(home, MAIL)), only(run(home, MAIL))
        assert (first.arrived, first.tried, second.arrived, second.tried) == (True, True, True, False)
        ((recipients, mail),) = mailbox.mails
        digest = opened(home).period(MONTH).content_sha256[:12]
        assert recipients == [FINANCE, CFO]
        assert (mail["From"], mail["To"]) == (SENDER, f"{FINANCE}, {CFO}")
        assert mail["Message-ID"] == f"<tokengov-2026-10-v1-mail-{digest}@example.com>"
        assert mail["Subject"] == "AI token spend of 2026-10: 7.05 EUR, 99.90 USD (closed, v1)"
        body = mail.get_body(("plain",)).get_content()
        assert "Charged in total: 7.05 EUR, 99.90 USD, in 3 lines." in body
        assert "CC-" not in body
        attached = {part.get_filename(): part.get_payload(decode=True) for part in mail.iter_attachments()}
        assert attached == {name: FILES[name] for name in ("pack.xlsx", "summary.pdf")}
        assert kinds(home) == ["intended", "attempted", "received", "recorded"]
        assert first.delivery.receipt["server"] == "250 queued as 4711"
        assert_kept_nowhere(home, SMTP_PASSWORD, SMTP_USER, FINANCE, CFO)

    @pytest.mark.parametrize(
        ("step", "sent", "state"),
        [
            ("intent", 0, DeliveryState.RECEIPT),
            ("attempt", 0, DeliveryState.UNCERTAIN),
            ("sent", 1, DeliveryState.UNCERTAIN),
            ("receipt", 1, DeliveryState.RECEIPT),
        ],
    )
    def test_a_run_killed_at_any_step_never_sends_a_second_one(self, step, sent, state, home, mailbox):
        killed(home, step, MAIL)
        assert len(mailbox.mails) == sent
        for _ in range(2):
            assert only(run(home, MAIL)).delivery.state is state
        assert len(mailbox.mails) == (1 if step in ("intent", "sent", "receipt") else 0)
        assert ("uncertain" in kinds(home)) == (state is DeliveryState.UNCERTAIN)
        assert kinds(home).count("attempted") == 1

    def test_a_person_sends_what_is_uncertain_again_under_the_same_id(self, home, mailbox):
        killed(home, "sent", MAIL)
        run(home, MAIL)
        ledger = opened(home)
        (alert,) = ledger.alerts.open_alerts()
        assert (alert.key, alert.severity) == ("delivery:mail:2026-10:v1", Severity.ERROR)
        assert alert.title == "pack 2026-10 v1 for mail: nobody knows whether it arrived"
        assert "tokengov deliver 2026-10 --resend mail --by YOU" in alert.text
        assert "@" not in alert.text
        (owed,) = ledger.alerts.undelivered()
        assert owed.transport == "mail:1"
        done = delivery_run(home, [MAIL]).send_again(MONTH, "mail", "controller@example.com")
        assert (done.arrived, done.tried, ledger.alerts.open_alerts()) == (True, True, [])
        ((_, first), (_, second)) = mailbox.mails
        assert first["Message-ID"] == second["Message-ID"]
        (ordered,) = ledger.events(MONTH, "delivery.resend_ordered")
        assert (ordered.actor, ordered.payload["before"]) == ("controller@example.com", "uncertain")
        assert kinds(home)[-4:] == ["resend_ordered", "attempted", "received", "recorded"]

    def test_a_person_who_asked_the_receiver_ends_the_doubt_without_sending(self, home, mailbox):
        killed(home, "sent", MAIL)
        done = delivery_run(home, [MAIL]).confirm(MONTH, "mail", "controller@example.com")
        assert (done.arrived, done.tried, len(mailbox.mails)) == (True, False, 1)
        assert opened(home).alerts.open_alerts() == []
        assert kinds(home)[-3:] == ["uncertain", "confirmed", "recorded"]

    def test_silence_after_the_message_is_uncertain(self, home, mailbox):
        mailbox.silent = True
        done = only(run(home, MAIL))
        assert done.delivery.state is DeliveryState.UNCERTAIN
        assert "the connection ended after the message was sent and before the server answered" in done.said
        mailbox.silent = False
        assert only(run(home, MAIL)).tried is False
        assert len(mailbox.mails) == 1

    def test_a_refusal_is_failed_with_the_servers_words_and_tried_again(self, home, mailbox):
        mailbox.refuses = CFO
        done = only(run(home, MAIL))
        refused = "refuses recipient 2 of 2, nothing was sent to anybody: 550 5.1.1 no such user ***"
        assert done.delivery.state is DeliveryState.FAILED
        assert done.said == f"the mail server 127.0.0.1:{mailbox.port} {refused}"
        (alert,) = opened(home).alerts.open_alerts()
        assert alert.severity is Severity.WARNING
        assert only(run(home, MAIL)).tried is False  # it waits
        mailbox.refuses, mailbox.answer = "", "554 5.7.1 too large"
        done = only(delivery_run(home, [MAIL]).deliver(MONTH, at_once=True))
        assert (done.delivery.state, done.delivery.failures) == (DeliveryState.FAILED, 2)
        assert done.said.endswith(": 554 5.7.1 too large")
        mailbox.answer = "250 OK"
        assert only(delivery_run(home, [MAIL]).deliver(MONTH, at_once=True)).arrived
        assert (len(mailbox.mails), opened(home).alerts.open_alerts()) == (1, [])

    def test_the_password_travels_in_tls_to_a_server_that_is_known(self, home, tmp_path, monkeypatch):
        context, certificate = certified(tmp_path)
        with Mailbox().running(context) as mailbox:
            monkeypatch.setenv(SMTP_URL_VARIABLE, smtp_url(mailbox.port, password="wrong"))
            assert "certificate verify failed" in only(run(home, MAIL)).said
            monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
            again = delivery_run(home, [MAIL])
            assert "535" in only(again.deliver(MONTH, at_once=True)).said
            monkeypatch.setenv(SMTP_URL_VARIABLE, smtp_url(mailbox.port))
            assert only(again.deliver(MONTH, at_once=True)).arrived
        assert len(mailbox.mails) == 1


# --- webhook ---------------------------------------------------------------------------------------------------------


class Hook:
    """A real HTTP server that answers with `status`, or hangs up on 0; keeps what it got."""

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self.status, self.got = 200, []
        hook = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                hook.got.append((dict(self.headers), body))
                if hook.status == 0:
                    self.connection.close()
                    return
                self.send_response(hook.status)
                self.end_headers()
                self.wfile.write(f"said {hook.status} to {TOKEN}".encode())

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        if tls is not None:
            self.server.socket = tls.wrap_socket(self.server.socket, server_side=True)
        scheme = "http" if tls is None else "https"
        to = f"{scheme}://127.0.0.1:{self.server.server_port}/hook"
        self.destination = DeliverySettings(name="erp-hook", to=to, files=("chargeback.csv",))

    @contextmanager
    def running(self) -> Iterator["Hook"]:
        thread = threading.Thread(target=self.server.serve_forever, daemon=True)
        thread.start()
        yield self
        self.server.shutdown()
        self.server.server_close()
        thread.join()


@pytest.fixture
def hook(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hook]:
    monkeypatch.setenv("TOKENGOV_DELIVERY_ERP_HOOK_TOKEN", TOKEN)
    with Hook().running() as running:
        yield running


class TestWebhook:
    def test_the_news_is_signed_and_sent_once(self, home, hook):
        assert only(run(home, hook.destination)).arrived
        assert only(run(home, hook.destination)).tried is False
        ((headers, body),) = hook.got
        closed = opened(home).period(MONTH).content_sha256
        content = FILES["chargeback.csv"]
        assert json.loads(body) == {
            "month": "2026-10",
            "version": 1,
            "content_sha256": closed,
            "files": [{"name": "chargeback.csv", "sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}],
            "totals": {"EUR": "7.05", "USD": "99.90"},
        }
        assert headers["Idempotency-Key"] == f"tokengov-2026-10-v1-erp-hook-{closed[:12]}"
        expected = hmac.new(TOKEN.encode(), body, hashlib.sha256).hexdigest()
        assert headers["X-Tokengov-Signature"] == f"sha256={expected}"
        assert_kept_nowhere(home, TOKEN)

    @pytest.mark.parametrize(
        ("status", "state", "said"),
        [
            (422, DeliveryState.FAILED, "127.0.0.1 answered 422 said 422 to ***"),
            (307, DeliveryState.FAILED, "127.0.0.1 answered 307 said 307 to ***"),
            (502, DeliveryState.UNCERTAIN, "127.0.0.1 answered 502 said 502 to ***"),
            (0, DeliveryState.UNCERTAIN, "127.0.0.1: the connection ended after sending began and before an answer"),
        ],
    )
    def test_a_refusal_is_failed_and_doubt_is_uncertain(self, status, state, said, home, hook):
        hook.status = status
        done = only(run(home, hook.destination))
        assert done.delivery.state is state
        assert done.said.startswith(said)
        assert len(hook.got) == 1

    def test_a_run_killed_between_sending_and_receipt_is_uncertain(self, home, hook):
        killed(home, "sent", hook.destination)
        assert only(run(home, hook.destination)).delivery.state is DeliveryState.UNCERTAIN
        assert delivery_run(home, [hook.destination]).send_again(MONTH, "erp-hook", "Grace").arrived
        assert len({headers["Idempotency-Key"] for headers, _ in hook.got}) == 1
        assert len(hook.got) == 2

    def test_a_server_that_cannot_prove_itself_gets_nothing(self, home, tmp_path, monkeypatch):
        monkeypatch.setenv("TOKENGOV_DELIVERY_ERP_HOOK_TOKEN", TOKEN)
        context, certificate = certified(tmp_path)
        with Hook(context).running() as hook:
            done = only(run(home, hook.destination))
            assert (done.delivery.state, hook.got) == (DeliveryState.FAILED, [])
            assert "CERTIFICATE_VERIFY_FAILED" in done.said
            monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
            assert only(delivery_run(home, [hook.destination]).deliver(MONTH, at_once=True)).arrived

    def test_without_its_secret_nothing_is_attempted_or_sent(self, home, hook, monkeypatch):
        monkeypatch.delenv("TOKENGOV_DELIVERY_ERP_HOOK_TOKEN")
        done = only(run(home, hook.destination))
        assert done.said.startswith("TOKENGOV_DELIVERY_ERP_HOOK_TOKEN is not set. Fix: export it")
        assert (done.delivery.state, hook.got) == (DeliveryState.FAILED, [])


# --- files -----------------------------------------------------------------------------------------------------------


class TestFolder:
    @pytest.fixture
    def share(self, tmp_path: Path) -> Path:
        (tmp_path / "share").mkdir()
        return tmp_path / "share"

    @pytest.mark.parametrize("step", ["intent", "attempt", "uploaded", "placed", "sent", "receipt"])
    def test_a_run_killed_at_any_step_is_finished_by_the_next(self, step, home, share):
        destination = DeliverySettings(name="share", to=str(share))
        killed(home, step, destination)
        target = share / "2026-10/v1"
        there = tree(target) if target.exists() else {}
        assert there == (WHOLE if step in ("placed", "sent", "receipt") else {})
        inode = target.stat().st_ino if there else None
        assert only(run(home, destination)).arrived
        assert tree(share) == {f"2026-10/v1/{name}": content for name, content in WHOLE.items()}
        assert inode in (None, target.stat().st_ino)
        assert "uncertain" not in kinds(home)


class TestSftp:
    @pytest.fixture
    def server(self, tmp_path: Path) -> Iterator[sftp_server.SftpServer]:
        (tmp_path / "inbox").mkdir()
        with sftp_server.SftpServer(tmp_path / "inbox").running() as server:
            yield server

    def destination(self, server: sftp_server.SftpServer, **trust: str) -> DeliverySettings:
        to = f"sftp://{sftp_server.USER}@127.0.0.1:{server.port}/erp/in"
        return DeliverySettings(name="erp", to=to, **(trust or {"host_key": fingerprint(server)}))

    def test_files_arrive_whole_and_a_second_look_finds_them(self, home, server, tmp_path, monkeypatch):
        monkeypatch.setenv("TOKENGOV_DELIVERY_ERP_PASSWORD", sftp_server.PASSWORD)
        destination = self.destination(server)
        assert only(run(home, destination)).said == "files 5, written 5"
        assert tree(tmp_path / "inbox") == {f"erp/in/2026-10/v1/{name}": content for name, content in WHOLE.items()}
        again = delivery_run(home, [destination]).send_again(MONTH, "erp", "Grace")
        assert again.said == "files 5, written 0"
        assert_kept_nowhere(home, sftp_server.PASSWORD)

    @pytest.mark.parametrize("step", ["uploaded", "placed"])
    def test_a_run_killed_amid_the_files_leaves_no_half_folder(self, step, home, server, tmp_path, monkeypatch):
        monkeypatch.setenv("TOKENGOV_DELIVERY_ERP_PASSWORD", sftp_server.PASSWORD)
        killed(home, step, self.destination(server))
        target = tmp_path / "inbox/erp/in/2026-10/v1"
        assert (tree(target) if target.exists() else {}) == ({} if step == "uploaded" else WHOLE)
        done = only(run(home, self.destination(server)))
        assert done.said == f"files 5, written {5 if step == 'uploaded' else 0}"
        assert tree(tmp_path / "inbox/erp/in") == {f"2026-10/v1/{name}": content for name, content in WHOLE.items()}

    def test_a_key_file_and_a_known_hosts_file(self, home, server, monkeypatch):
        server.user_key.write_private_key_file(str(home / "id_ecdsa"))
        monkeypatch.setenv("TOKENGOV_DELIVERY_ERP_KEY_FILE", str(home / "id_ecdsa"))
        line = f"[127.0.0.1]:{server.port} {server.host_key.get_name()} {server.host_key.get_base64()}\n"
        (home / "known_hosts").write_text(line)
        assert only(run(home, self.destination(server, known_hosts="known_hosts"))).arrived

    def test_a_server_with_another_key_gets_no_password(self, home, server, monkeypatch):
        monkeypatch.setenv("TOKENGOV_DELIVERY_ERP_PASSWORD", sftp_server.PASSWORD)
        other = "SHA256:" + base64.b64encode(bytes(32)).decode().rstrip("=")
        done = only(run(home, self.destination(server, host_key=other)))
        shown = f"the server shows the ecdsa-sha2-nistp256 key {fingerprint(server)} and not {other}"
        assert done.delivery.state is DeliveryState.FAILED
        assert shown in done.said
        (home / "known_hosts").write_text("")
        again = delivery_run(home, [self.destination(server, known_hosts="known_hosts")])
        assert "and not a key in the known_hosts file" in only(again.deliver(MONTH, at_once=True)).said

    def test_a_wrong_password_is_told_without_it(self, home, server, monkeypatch):
        monkeypatch.setenv("TOKENGOV_DELIVERY_ERP_PASSWORD", "not-the-password")
        said = only(run(home, self.destination(server))).said
        assert said.startswith("sftp 127.0.0.1: Authentication failed")
        assert "not-the-password" not in said


class TestObjectStore:
    @pytest.fixture
    def bucket(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
        server = ThreadedMotoServer(port=0)
        server.start()
        host, port = server.get_host_and_port()
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
        monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        monkeypatch.setenv("FSSPEC_S3_ENDPOINT_URL", f"http://{host}:{port}")  # for the program that is killed
        monkeypatch.setitem(fsspec.config.conf, "s3", {"endpoint_url": f"http://{host}:{port}"})
        name = f"packs-{uuid.uuid4().hex[:8]}"
        fsspec.filesystem("s3", skip_instance_cache=True).mkdir(name)
        yield f"s3://{name}"
        server.stop()

    def objects(self, bucket: str) -> dict[str, bytes]:
        fs = fsspec.filesystem("s3", skip_instance_cache=True)
        root = f"{bucket.removeprefix('s3://')}/finance/2026-10/v1/"
        return {path.removeprefix(root): fs.cat_file(path) for path in fs.find(root)}

    def times(self, bucket: str) -> dict[str, object]:
        fs = fsspec.filesystem("s3", skip_instance_cache=True)
        return {path: each["LastModified"] for path, each in fs.find(bucket, detail=True).items()}

    def test_bytes_are_equal_and_a_second_run_writes_nothing(self, home, bucket):
        destination = DeliverySettings(name="archive", to=f"{bucket}/finance")
        assert only(run(home, destination)).said == "files 5, written 5"
        assert self.objects(bucket) == WHOLE
        before = self.times(bucket)
        assert only(run(home, destination)).tried is False
        again = delivery_run(home, [destination]).send_again(MONTH, "archive", "Grace")
        assert (again.said, self.times(bucket)) == ("files 5, written 0", before)
        fs = fsspec.filesystem("s3", skip_instance_cache=True)
        fs.pipe_file(f"{bucket}/finance/2026-10/v1/chargeback.csv", b"edited")
        again = delivery_run(home, [destination]).send_again(MONTH, "archive", "Grace")
        assert "is there already and holds other bytes (chargeback.csv). Nothing was overwritten." in again.said
        assert self.objects(bucket)["chargeback.csv"] == b"edited"

    def test_a_run_killed_amid_the_objects_leaves_no_manifest_and_is_completed(self, home, bucket):
        destination = DeliverySettings(name="archive", to=f"{bucket}/finance")
        killed(home, "uploaded", destination)
        assert list(self.objects(bucket)) == ["chargeback.csv"]
        assert only(run(home, destination)).said == "files 5, written 4"
        assert self.objects(bucket) == WHOLE

    def test_a_bucket_that_is_not_there_is_a_clear_failure(self, home, bucket):
        done = only(run(home, DeliverySettings(name="archive", to="s3://no-such-bucket-here/finance")))
        assert done.delivery.state is DeliveryState.FAILED
        assert done.said.startswith("s3://no-such-bucket-here/finance cannot be written (")


class TestAsset:
    def test_it_delivers_what_follows_a_close_and_fails_no_run(self, home, tmp_path, mailbox):
        (tmp_path / "share").mkdir()
        mailbox.refuses = CFO
        destinations = [
            {"name": "share", "to": str(tmp_path / "share"), "after": "close"},
            {"name": "by-hand", "to": str(tmp_path / "by-hand")},
            MAIL.model_dump(exclude_none=True) | {"after": "close"},
        ]
        (home / "tokengov.yaml").write_text(json.dumps({"deliveries": destinations}), encoding="utf-8")
        months = dg.MonthlyPartitionsDefinition("2026-09", fmt="%Y-%m")
        resources = {"home": Home(path=str(home)), "notifier": Notifier()}
        with dg.instance_for_test() as instance:
            for again in (False, True):
                result = dg.materialize(
                    delivery_assets(months), instance=instance, partition_key="2026-10", resources=resources
                )
                assert result.success
                (event,) = result.asset_materializations_for_node("finance__delivered_packs")
                metadata = event.metadata
                assert (metadata["delivered"].value, metadata["not_delivered"].value) == (1, 1)
                said = [record.data["said"] for record in metadata["destinations"].value.records]
                assert said[0] == ("it has it" if again else "files 5, written 5")
                assert "550 5.1.1 no such user ***" in said[1]
        assert tree(tmp_path / "share/2026-10/v1") == WHOLE
        (alert,) = opened(home).alerts.open_alerts()
        assert alert.title == "pack 2026-10 v1 for mail: not delivered"


def test_the_outbox_on_postgres(new_database, tmp_path):
    ledger = closed_home(tmp_path, url=new_database())
    addressee = Addressee("erp", "sftp", "tokengov-2026-10-v1-erp-abababababab")
    who = {"actor": "service", "run_id": "run-2"}
    _, (owed,) = ledger.deliveries.intend(MONTH, [addressee], **who, at=delivering_run.clock())
    begun = ledger.deliveries.begin(owed, **who, at=delivering_run.clock())
    done = ledger.deliveries.record_receipt(begun, {"files": 5}, **who, at=delivering_run.clock())
    assert ledger.deliveries.deliveries() == [done]
    assert (done.state, done.receipt, done.received_at) == (
        DeliveryState.RECEIPT,
        {"files": 5},
        delivering_run.clock(),
    )
    assert ledger.deliveries.release(MONTH, ["erp"], **who)
    assert ledger.verify_chain().intact


# --- the command -----------------------------------------------------------------------------------------------------


class TestCommandLine:
    RUNNER = CliRunner(env={"COLUMNS": "240"})

    def invoke(self, home: Path, *arguments: str):
        app = typer.Typer()
        app.command("deliver")(deliver)
        app.command("nothing")(lambda: None)
        return self.RUNNER.invoke(app, ["deliver", *arguments, "--home", str(home)])

    def test_it_delivers_shows_and_decides(self, home, hook, mailbox):
        settings = {"deliveries": [hook.destination.model_dump(exclude_none=True), MAIL.model_dump(exclude_none=True)]}
        (home / "tokengov.yaml").write_text(json.dumps(settings), encoding="utf-8")
        assert self.invoke(home, "2026-10", "--status").output.count("not yet") == 2
        hook.status = 502
        done = self.invoke(home, "2026-10")
        assert (done.exit_code, len(mailbox.mails)) == (1, 1)
        for words in ("erp-hook", "uncertain", "receipt", "250 queued as 4711", "127.0.0.1 answered 502"):
            assert words in done.output
        hook.status = 200
        assert self.invoke(home, "2026-10").exit_code == 1
        refused = self.invoke(home, "2026-10", "--resend", "erp-hook")
        assert (refused.exit_code, "--by NAME goes with" in refused.stderr) == (2, True)
        again = self.invoke(home, "2026-10", "--resend", "erp-hook", "--by", "grace@example.com")
        assert (again.exit_code, again.stderr) == (0, "")
        assert (len(hook.got), self.invoke(home, "2026-10").exit_code) == (2, 0)
        listed = self.invoke(home, "2026-10", "--status").output
        assert (listed.count("receipt"), "uncertain" in listed) == (2, False)
        assert (SMTP_PASSWORD in listed, TOKEN in listed) == (False, False)

    def test_what_is_wrong_is_one_sentence(self, home):
        none = self.invoke(home, "2026-10")
        assert (none.exit_code, "Fix: see deliveries in tokengov.yaml (it has none)" in none.stderr) == (1, True)
        (home / "tokengov.yaml").write_text("deliveries: [{name: share, to: share}]", encoding="utf-8")
        still_open = self.invoke(home, "2026-11")
        assert still_open.exit_code == 1
        assert still_open.stderr.startswith("2026-11 is not delivered: period 2026-11 is open: only a closed version")
        unknown = self.invoke(home, "2026-10", "--to", "sahre")
        assert "there is no destination sahre. Fix: see deliveries in tokengov.yaml (share)." in unknown.stderr


# --- proofs of identity ----------------------------------------------------------------------------------------------


def fingerprint(server: sftp_server.SftpServer) -> str:
    digest = hashlib.sha256(server.host_key.asbytes()).digest()
    return "SHA256:" + base64.b64encode(digest).decode().rstrip("=")


def certified(folder: Path) -> tuple[ssl.SSLContext, Path]:
    """A server's context with a certificate for 127.0.0.1 that nobody signed, and the file that makes it trusted."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    secret = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (folder / "server.key").write_bytes(secret)
    (folder / "server.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "server.pem", folder / "server.key")
    return context, folder / "server.pem"
