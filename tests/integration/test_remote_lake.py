"""Lake, directory and invoices on an object store: a real local S3 server, reached through fsspec."""

import datetime as dt
import json
import uuid
from collections.abc import Iterator
from pathlib import Path

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from moto.server import ThreadedMotoServer

from resources.directory import OrgDirectory
from resources.invoices import InvoiceFolder
from resources.lake import Lake, LakeTable
from tests.installation import COST_CENTERS, TEAMS, USERS, TestHome

NOW = dt.datetime(2026, 11, 5, tzinfo=dt.UTC)
CALLS = LakeTable(
    "calls",
    pa.schema([("request_id", pa.string()), ("spend_text", pa.string())]),
    identity="request_id",
    sums={"spend_usd": "sum(try_cast(spend_text as decimal(38, 12)))"},
)


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A fresh bucket on a local S3 server; the client is set up by environment, as an operator would."""
    server = ThreadedMotoServer(port=0)
    server.start()
    host, port = server.get_host_and_port()
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setitem(fsspec.config.conf, "s3", {"endpoint_url": f"http://{host}:{port}"})
    name = f"lake-{uuid.uuid4().hex[:8]}"
    fsspec.filesystem("s3", skip_instance_cache=True).mkdir(name)
    yield f"s3://{name}"
    server.stop()


def load(lake: Lake, rows: list[dict[str, str]]) -> str:
    with lake.writing(CALLS) as writer:
        for batch in pa.Table.from_pylist(rows, schema=CALLS.schema).to_batches():
            writer.write(batch)
        outcome = lake.commit(CALLS, "day=2026-10-05", writer, extracted_at=NOW, window=("a", "b"))
    return outcome.verdict


def test_a_lake_on_s3_behaves_like_a_folder(bucket: str, tmp_path: Path) -> None:
    lake = Lake(root=f"{bucket}/lake", cache_dir=str(tmp_path / "cache"))
    rows = [{"request_id": "a", "spend_text": "1.5"}, {"request_id": "b", "spend_text": "2.25"}]
    assert [load(lake, rows), load(lake, rows), load(lake, rows[:1])] == ["first", "unchanged", "shrunk"]
    record = lake.current("calls", "day=2026-10-05")
    assert record is not None
    assert (record.rows, record.sums) == (2, {"spend_usd": "3.750000000000"})
    (path,) = lake.current_files("calls")
    assert pq.read_table(path).to_pylist() == rows
    assert Path(path).parent == tmp_path / "cache"
    assert lake.current_files("calls") == [path]
    assert lake.partitions("calls") == ["day=2026-10-05"]
    assert lake.accept("calls", "day=2026-10-05").rows == 1


def test_a_load_file_that_went_missing_is_put_back(tmp_path: Path) -> None:
    lake = Lake(root=str(tmp_path / "lake"), cache_dir=str(tmp_path / "cache"))
    rows = [{"request_id": "a", "spend_text": "1.5"}]
    load(lake, rows)
    (path,) = lake.current_files("calls")
    Path(path).unlink()
    assert load(lake, rows) == "unchanged"
    assert pq.read_table(path).to_pylist() == rows


def test_directory_and_invoices_are_read_from_s3(bucket: str, tmp_path: Path) -> None:
    fs = fsspec.filesystem("s3")
    for name, text in (("cost_centers", COST_CENTERS), ("teams", TEAMS), ("users", USERS)):
        fs.pipe(f"{bucket}/directory/{name}.csv", text.encode())
    home = TestHome(tmp_path, "")
    fs.put(str(home.invoice("anthropic", "2026-10", "12.34", "2026-10-31")), f"{bucket}/invoices/a.json")
    assert OrgDirectory(url=f"{bucket}/directory").load().tables["teams"].num_rows == 2
    loaded = InvoiceFolder(url=f"{bucket}/invoices").load()
    assert [invoice.invoice_id for invoice in loaded.invoices] == ["ANTHROPIC-2026-10"]
    assert json.loads(json.dumps(loaded.table.column("total_amount").to_pylist(), default=str)) == ["12.34"]
