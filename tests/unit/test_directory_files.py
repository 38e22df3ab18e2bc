"""The org directory on disk and in memory: which files are read, how they are refused, what the tables hold."""

import datetime as dt
from pathlib import Path

import fsspec
import pyarrow as pa
import pytest

from resources.directory import DIRECTORY_FILES, DIRECTORY_SCHEMAS, DirectoryError, OrgDirectory

FILES = {
    "cost_centers.csv": (
        "code,name,legal_entity,valid_from,valid_to,successor\n"
        "CC-990-CENTRAL,Central,Acme Inc,2026-01-01,,\n"
        "CC-100,Payments,Acme Inc,2026-01-01,,\n"
        "CC-900-SUSPENSE,Suspense,Acme Inc,2026-01-01,,\n"
    ),
    "teams.csv": (
        "team_id,team_name,cost_center,time_zone,lead_email,owner_contact,valid_from,valid_to\n"
        't-pay,"Payments, cards",CC-100,America/New_York,lead@acme.example,,2026-03-01,\n'
        "t-pay,Payments,CC-100,,,,2026-01-01,2026-03-01\n"
    ),
    "users.csv": (
        "email,user_id,github_login,team_id,valid_from,valid_to\nana@acme.example,u-ana,,t-pay,2026-01-01,2026-10-16\n"
    ),
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, content in FILES.items():
        (tmp_path / name).write_text(content, encoding="utf-8")
    return tmp_path


def complaints(folder: Path, **settings) -> list[str]:
    with pytest.raises(DirectoryError) as caught:
        OrgDirectory(url=str(folder), **settings).load()
    first, *lines = str(caught.value).splitlines()
    assert first == f"{len(lines)} problem{'s' if len(lines) > 1 else ''} in the org directory {folder}:"
    assert lines == [str(problem) for problem in caught.value.problems]
    return lines


def test_every_table_is_there_with_its_schema(folder):
    load = OrgDirectory(url=str(folder)).load()
    assert tuple(load.tables) == DIRECTORY_FILES
    assert load.warnings == []
    for name, table in load.tables.items():
        assert table.schema == DIRECTORY_SCHEMAS[name]
    assert load.tables["fx_rates"].num_rows == 0
    assert DIRECTORY_SCHEMAS["fx_rates"].field("rate").type == pa.string()
    assert DIRECTORY_SCHEMAS["fx_rates"].field("rate_date").type == pa.date32()


def test_rows_are_ordered_by_key_and_date_and_know_their_line(folder):
    tables = OrgDirectory(url=str(folder)).load().tables
    assert tables["cost_centers"].column("code").to_pylist() == ["CC-100", "CC-900-SUSPENSE", "CC-990-CENTRAL"]
    assert tables["cost_centers"].column("source_row").to_pylist() == [3, 4, 2]
    assert tables["teams"].to_pylist() == [
        {
            "team_id": "t-pay",
            "team_name": "Payments",
            "cost_center": "CC-100",
            "time_zone": None,
            "lead_email": None,
            "owner_contact": None,
            "valid_from": dt.date(2026, 1, 1),
            "valid_to": dt.date(2026, 3, 1),
            "source_file": "teams.csv",
            "source_row": 3,
        },
        {
            "team_id": "t-pay",
            "team_name": "Payments, cards",
            "cost_center": "CC-100",
            "time_zone": "America/New_York",
            "lead_email": "lead@acme.example",
            "owner_contact": None,
            "valid_from": dt.date(2026, 3, 1),
            "valid_to": None,
            "source_file": "teams.csv",
            "source_row": 2,
        },
    ]


def test_a_byte_order_mark_blank_lines_and_carriage_returns_are_passed_over(folder):
    content = FILES["cost_centers.csv"].replace("\n", "\r\n").replace("\r\nCC-100,", "\r\n\r\n,,,,,\r\n CC-100 ,")
    (folder / "cost_centers.csv").write_bytes(b"\xef\xbb\xbf" + content.encode())
    table = OrgDirectory(url=str(folder)).load().tables["cost_centers"]
    assert table.column("code").to_pylist()[0] == "CC-100"
    assert table.column("source_row").to_pylist() == [5, 6, 2]


def test_any_file_system_will_do():
    fs = fsspec.filesystem("memory")
    for name, content in FILES.items():
        fs.pipe(f"/org-directory/{name}", content.encode())
    assert OrgDirectory(url="memory://org-directory").load().tables["teams"].num_rows == 2


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"", "teams.csv: is empty. Fix: write the header row."),
        (
            b"team_id;team_name\n",
            "teams.csv:1: the columns are separated by semicolons or tabs. Fix: save it with commas",
        ),
        ("team_id,caf\u00e9\n".encode("latin-1"), "teams.csv: is not UTF-8 text (byte 12). Fix: save it as 'CSV UTF-8"),
        ("team_id\n".encode("utf-16"), "teams.csv: is not UTF-8 text (byte 1)."),
        (b"team_id,team_id\n", "teams.csv:1 team_id: the column is there twice. Fix: delete one of the two."),
        (b"team_id,\n", "teams.csv:1: column 2 has no name. Fix: name it or delete the column."),
        (
            b'team_id,team_name\n"x,y\n',
            "teams.csv: is not CSV (unexpected end of data). Fix: look for an unclosed quot",
        ),
    ],
)
def test_a_file_that_is_no_table_is_one_problem(folder, content, complaint):
    (folder / "teams.csv").write_bytes(content)
    (line,) = complaints(folder)
    assert line.startswith(complaint)


def test_a_wrong_header_is_not_followed_by_its_consequences(folder):
    (folder / "cost_centers.csv").write_text(FILES["cost_centers.csv"].replace("successor", "succesor"))
    assert complaints(folder) == [
        (
            "cost_centers.csv:1 successor: the column is missing. Fix: add it; the columns are "
            "code, name, legal_entity, valid_from, valid_to, successor."
        ),
        "cost_centers.csv:1 'succesor': the column is unknown. Fix: write successor, if that is what is meant.",
    ]


def test_ragged_rows_are_named(folder):
    (folder / "users.csv").write_text(FILES["users.csv"] + "bo@acme.example,u-bo\n")
    assert complaints(folder) == [
        (
            "users.csv:3: the row has 2 cells and the header has 6. "
            "Fix: add the missing commas, or quote a cell that contains a comma."
        )
    ]


def test_all_problems_of_all_files_come_at_once(folder):
    (folder / "users.csv").write_text(FILES["users.csv"].replace("t-pay", "t-ops"))
    (folder / "fx_rates.csv").write_text("from_currency,to_currency,rate_date,rate,source\nEUR,USD,2026-10-01,0,ECB\n")
    lines = complaints(folder, central="CC-999")
    assert [line.split(":")[0] for line in lines] == ["cost_centers.csv code", "fx_rates.csv", "users.csv"]


def test_required_files_are_missed_by_name(folder):
    (folder / "users.csv").rename(folder / "Users.csv")
    (line,) = complaints(folder)
    assert line == (
        "users.csv: the file is missing. Fix: rename Users.csv, if that is the one, or create it with the columns "
        "email, user_id, github_login, team_id, valid_from, valid_to."
    )
    (folder / "Users.csv").unlink()
    (line,) = complaints(folder)
    assert line.startswith("users.csv: the file is missing. Fix: create it with the columns email,")


def test_a_file_that_is_not_read_is_a_warning(folder):
    (folder / "service_acounts.csv").write_text("key_hash\n")
    (folder / "notes.csv").write_text("x\n")
    (folder / "readme.txt").write_text("x\n")
    (folder / ".~lock.users.csv").write_text("x\n")
    assert [str(warning) for warning in OrgDirectory(url=str(folder)).load().warnings] == [
        "notes.csv: this is no file of the directory, so it is not read. Fix: move it elsewhere.",
        (
            "service_acounts.csv: this is no file of the directory, so it is not read. "
            "Fix: rename it to service_accounts.csv, if that is what it is."
        ),
    ]


def test_warnings_do_not_stop_the_load(folder):
    (folder / "users.csv").write_text(FILES["users.csv"] + "ana@acme.example,u-ana,,t-pay,2026-11-01,\n")
    (warning,) = OrgDirectory(url=str(folder)).load().warnings
    assert (warning.file, warning.row) == ("users.csv", 3)


def test_a_folder_that_is_not_there(tmp_path):
    (line,) = complaints(tmp_path / "nowhere")
    assert line.endswith("nowhere: there is no such folder. Fix: create it, or correct its url.")


def test_an_unknown_schema_version(folder):
    assert complaints(folder, schema_version=2) == [
        "tokengov.yaml directory: schema_version 2 is not known; this release reads version 1. Fix: set it to 1."
    ]


def test_a_password_in_the_url_is_not_repeated():
    with pytest.raises(DirectoryError) as caught:
        OrgDirectory(url="nosuchprotocol://key:hunter2secret@bucket/folder").load()
    assert "hunter2secret" not in str(caught.value)


def test_the_example_of_the_documentation_loads(tmp_path):
    """docs/directory.md and docs/seats.md show a file for each table; together they are a sound directory."""
    docs = Path(__file__).parents[2] / "docs"
    pages = [(docs / name).read_text(encoding="utf-8") for name in ("directory.md", "seats.md")]
    for section in [section for page in pages for section in page.split("\n## ")[1:]]:
        name = section.splitlines()[0]
        if name.endswith(".csv"):
            (tmp_path / name).write_text(section.split("```csv\n")[1].split("```")[0], encoding="utf-8")
    load = OrgDirectory(url=str(tmp_path)).load()
    assert all(table.num_rows > 0 for table in load.tables.values())
    assert load.warnings == []
