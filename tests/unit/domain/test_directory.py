"""The org directory's rules on rows in memory (rules 3.2, 3.3, 3.6, 3.7)."""

import datetime as dt

import pytest

from tokengov_pipelines.domain.cells import CellError, key_hash, shown, text
from tokengov_pipelines.domain.csv_rows import read_csv
from tokengov_pipelines.domain.directory import TABLES, check_header, read_rows
from tokengov_pipelines.domain.directory_checks import Directory, DirectoryPolicy, check_directory
from tokengov_pipelines.domain.problem import Findings, Problem, in_reading_order

CENTERS = """code,name,legal_entity,valid_from,valid_to,successor
CC-100,Payments,Acme Inc,2026-01-01,,
CC-900-SUSPENSE,Suspense,Acme Inc,2026-01-01,,
CC-990-CENTRAL,Central,Acme Inc,2026-01-01,,
"""
TEAMS = """team_id,team_name,cost_center,time_zone,lead_email,owner_contact,valid_from,valid_to
t-pay,Payments,CC-100,America/New_York,lead@acme.example,#pay,2026-01-01,
"""
USERS = """email,user_id,github_login,team_id,valid_from,valid_to
ana@acme.example,u-ana,ana,t-pay,2026-01-01,
"""
HEADERS = {name: ",".join(table.header) + "\n" for name, table in TABLES.items()}


def check(policy: DirectoryPolicy | None = None, **files: str) -> Findings:
    """All checks over the sound files above, some of them replaced or added."""
    findings, records, rows = Findings(), {}, {}
    for name, content in {"cost_centers": CENTERS, "teams": TEAMS, "users": USERS, **files}.items():
        table = TABLES[name]
        parsed = read_csv(content.encode(), table.file)
        findings.errors += [*parsed.problems, *check_header(table, parsed.header)]
        records[name], found = read_rows(table, parsed.rows)
        findings.errors += found
        rows[name] = (*parsed.rows, *parsed.ragged)
    findings.extend(check_directory(Directory(records, rows), policy or DirectoryPolicy()))
    return findings


def errors(**files: str) -> list[str]:
    return [str(problem) for problem in in_reading_order(check(**files).errors)]


def warnings(**files: str) -> list[str]:
    findings = check(**files)
    assert findings.errors == []
    return [str(problem) for problem in in_reading_order(findings.warnings)]


def test_a_sound_directory_has_nothing_to_say():
    assert check() == Findings()


class TestProblems:
    def test_name_place_field_and_fix(self):
        assert str(Problem("teams.csv", 7, "cost_center", "is empty", "fill it in")) == (
            "teams.csv:7 cost_center: is empty. Fix: fill it in."
        )
        assert str(Problem("teams.csv", None, None, "is empty", "write it")) == "teams.csv: is empty. Fix: write it."

    def test_come_in_reading_order_and_once(self):
        first, second = Problem("a", 2, "x", "w", "f"), Problem("a", 10, "x", "w", "f")
        assert in_reading_order([second, first, second, Problem("a", None, None, "w", "f")])[1:] == [first, second]


class TestHeader:
    def test_any_order_will_do(self):
        assert check_header(TABLES["teams"], list(reversed(TABLES["teams"].header))) == []

    def test_missing_and_unknown_columns(self):
        header = ["code", "nmae", "legal_entity", "valid_from", "valid_to", "colour"]
        problems = [str(problem) for problem in check_header(TABLES["cost_centers"], header)]
        assert len(problems) == 4
        assert problems[0].startswith(
            "cost_centers.csv:1 name: the column is missing. Fix: add it; the columns are code,"
        )
        assert (
            "cost_centers.csv:1 'nmae': the column is unknown. Fix: write name, if that is what is meant." in problems
        )
        assert "cost_centers.csv:1 'colour': the column is unknown. Fix: delete it, or correct its name." in problems


class TestCells:
    @pytest.mark.parametrize(
        ("table", "row", "problem"),
        [
            ("cost_centers", ",N,E,2026-01-01,,", "2 code: is empty. Fix: fill it in."),
            ("cost_centers", "C,N,E,,,", "2 valid_from: is empty."),
            ("cost_centers", "C,N,E,01/02/2026,,", "2 valid_from: '01/02/2026' is not a date. Fix: write YYYY-MM-DD,"),
            ("cost_centers", "C,N,E,20260102,,", "2 valid_from: '20260102' is not a date."),
            ("cost_centers", "C,N,E,2026-02-30,,", "2 valid_from: '2026-02-30' is not a date."),
            (
                "cost_centers",
                "C,N,E,2026-02-03,2026-02-03,",
                "2 valid_to: 2026-02-03 is not after valid_from 2026-02-03",
            ),
            (
                "cost_centers",
                "C,N,E,2026-02-03,2026-02-01,",
                "2 valid_to: 2026-02-01 is not after valid_from 2026-02-03",
            ),
            ("teams", "t,T,CC-100,Mars/Base,,,2026-01-01,", "2 time_zone: 'Mars/Base' is not a time zone."),
            ("teams", "t,T,CC-100,,nobody,,2026-01-01,", "2 lead_email: 'nobody' is not an e-mail address."),
            (
                "users",
                "a@b.example,,,t-pay,2026-01-01,",
                "2 user_id: is empty. Fix: write the proxy's user id, or repeat",
            ),
            ("service_accounts", "sk-1234,N,CC-100,,2026-01-01,", "2 key_hash: holds a key, not its hash."),
            ("provider_keys", "OpenAI,a,,k,proxy,,2026-01-01,", "2 provider: 'OpenAI' is not a provider's name."),
            ("provider_keys", "openai,a,,k,proxies,,2026-01-01,", "2 role: 'proxies' is not one of proxy, other."),
            ("people", "a@b.example,A,boss,,2026-01-01,", "2 role: 'boss' is not one of viewer, team_lead, finance,"),
            ("people", "a@b.example,A,finnance,,2026-01-01,", "Fix: write finance, if that is what is meant."),
            ("fx_rates", "EUR,USD,2026-10-01,0,ECB", "2 rate: '0' is not a rate: a rate is above zero."),
            ("fx_rates", "EUR,USD,2026-10-01,-1.08,ECB", "2 rate: '-1.08' is not a rate"),
            ("fx_rates", 'EUR,USD,2026-10-01,"1,08",ECB', "2 rate: '1,08' is not a decimal number."),
            ("fx_rates", "EUR,USD,2026-10-01,NaN,ECB", "2 rate: 'NaN' is not a decimal number."),
            ("fx_rates", "eur,USD,2026-10-01,1,ECB", "2 from_currency: 'eur' is not an ISO 4217 currency code."),
            ("fx_rates", "USD,USD,2026-10-01,1,ECB", "2 to_currency: is USD, the same as from_currency."),
        ],
    )
    def test_each_is_named(self, table, row, problem):
        found = [line for line in errors(**{table: HEADERS[table] + row + "\n"}) if line.startswith(f"{table}.csv:2 ")]
        assert any(problem in line for line in found), found

    def test_optional_cells_may_be_empty(self):
        extra = HEADERS["service_accounts"] + "abc123,Nightly build,CC-100,,2026-01-01,\n"
        assert check(service_accounts=extra) == Findings()

    @pytest.mark.parametrize(
        "secret",
        [
            "sk-ant-api03-0123456789abcdefghij",
            "ghp_0123456789abcdefghij",
            "Bearer abc.def.ghi",
            "-----BEGIN RSA PRIVATE KEY-----",
        ],
    )
    def test_a_secret_is_refused_and_never_repeated(self, secret):
        with pytest.raises(CellError) as caught:
            text(secret)
        assert secret not in str(caught.value)
        assert secret not in shown(secret)
        people = HEADERS["people"] + f"a@b.example,A,finance,{secret},2026-01-01,\n"
        (line,) = errors(people=people)
        assert line.startswith("people.csv:2 signing_key: holds what looks like a secret key.")
        assert secret not in line

    def test_a_key_is_not_repeated_either(self):
        with pytest.raises(CellError) as caught:
            key_hash("sk-1234")
        assert "1234" not in str(caught.value)

    def test_text_is_one_short_line(self):
        with pytest.raises(CellError, match="line break or a control character"):
            text("two\nlines")
        with pytest.raises(CellError, match="501 characters long"):
            text("x" * 501)

    def test_records_are_typed_and_ordered_by_key_and_date(self):
        table = TABLES["cost_centers"]
        content = HEADERS["cost_centers"] + "B,b,E,2026-01-01,,\nA,a2,E,2026-03-01,,\nA,a1,E,2026-01-01,2026-03-01,\n"
        records, problems = read_rows(table, read_csv(content.encode(), table.file).rows)
        assert problems == []
        assert [(record["name"], record.row) for record in records] == [("a1", 4), ("a2", 3), ("b", 2)]
        assert records[0]["valid_to"] == dt.date(2026, 3, 1)
        assert records[1]["valid_to"] is None
        assert records[1]["successor"] is None


def test_accounts_as_an_earlier_release_wrote_them_are_sound():
    header = "legal_entity,provider,expense_account,clearing_account,valid_from,valid_to\n"
    table = TABLES["gl_accounts"]
    parsed = read_csv((header + "Acme Inc,openai,006420,2150,2026-01-01,\n").encode(), table.file)
    assert [*parsed.problems, *check_header(table, parsed.header)] == []
    (record,), problems = read_rows(table, parsed.rows)
    assert problems == []
    assert (record["expense_account"], record["prepaid_account"], record["input_tax_account"]) == ("006420", None, None)


class TestOneAnswerADay:
    def test_overlap_of_a_cost_center(self):
        assert errors(cost_centers=CENTERS + "CC-100,Again,Acme Inc,2026-05-01,,\n") == [
            (
                "cost_centers.csv:5 valid_from: CC-100 is also in row 2: both are valid from 2026-05-01 on. "
                "Fix: end one row where the other begins."
            )
        ]

    @pytest.mark.parametrize(
        ("table", "rows"),
        [
            ("teams", "t-pay,X,CC-100,,,,2026-01-01,\nt-pay,Y,CC-100,,,,2026-02-01,\n"),
            ("users", "x@a.example,u1,,t-pay,2026-01-01,\nx@a.example,u2,,t-pay,2026-02-01,\n"),
            ("users", "x@a.example,u1,,t-pay,2026-01-01,\ny@a.example,u1,,t-pay,2026-02-01,\n"),
            ("users", "x@a.example,u1,,t-pay,2026-01-01,\nX@A.example,u2,,t-pay,2026-02-01,\n"),
            ("users", "x@a.example,u1,,t-pay,2026-01-01,\ny@a.example,x@a.example,,t-pay,2026-02-01,\n"),
            ("service_accounts", "h,N,CC-100,,2026-01-01,\nh,M,CC-100,,2026-02-01,\n"),
            ("provider_keys", "openai,a,,k,proxy,,2026-01-01,\nopenai,a,w,k,other,,2026-02-01,\n"),
            (
                "gl_accounts",
                "Acme Inc,openai,6420,2150,,,,,,2026-01-01,\nAcme Inc,openai,6421,2150,1400,,,,,2026-02-01,\n",
            ),
            ("people", "x@a.example,X,viewer,,2026-01-01,\nx@a.example,X,admin,,2026-02-01,\n"),
            ("seat_assignments", "openai,seat-1,CC-100,2026-01-01,\nopenai,seat-1,,2026-02-01,\n"),
        ],
    )
    def test_overlap_in_every_table(self, table, rows):
        (line,) = errors(**{table: HEADERS[table] + rows})
        assert line.startswith(f"{table}.csv:3 valid_from: ")
        assert "is also in row 2: both are valid from 2026-02-01 on" in line

    def test_the_same_user_in_both_columns_is_one_identity(self):
        users = HEADERS["users"] + "x@a.example,x@a.example,,t-pay,2026-01-01,2026-02-01\n"
        assert check(users=users + "x@a.example,X@a.example,,t-pay,2026-02-01,\n") == Findings()

    def test_the_same_key_of_another_account_is_another_key(self):
        rows = "openai,a,,k,proxy,,2026-01-01,\nopenai,b,,k,proxy,,2026-01-01,\n"
        assert check(provider_keys=HEADERS["provider_keys"] + rows) == Findings()
        rows = "openai,a b,,c,proxy,,2026-01-01,\nopenai,a,,b c,proxy,,2026-01-01,\n"
        assert check(provider_keys=HEADERS["provider_keys"] + rows) == Findings()

    def test_a_gap_of_a_cost_center_or_team_is_an_error(self):
        gap = CENTERS.replace("2026-01-01,,", "2026-01-01,2026-03-01,", 1) + "CC-100,Again,Acme Inc,2026-04-01,,\n"
        assert errors(cost_centers=gap) == [
            (
                "cost_centers.csv:5 valid_from: CC-100 is not valid from 2026-03-01 to 2026-04-01, "
                "between row 2 and this row. "
                "Fix: close the gap or give the second row another key."
            )
        ]
        rows = "t-pay,P,CC-100,,,,2026-01-01,2026-03-01\nt-pay,P,CC-100,,,,2026-04-01,\n"
        (line,) = errors(teams=HEADERS["teams"] + rows)
        assert line.startswith("teams.csv:3 valid_from: t-pay is not valid from 2026-03-01 to 2026-04-01")

    @pytest.mark.parametrize(
        ("table", "rows"),
        [
            ("users", "x@a.example,u,,t-pay,2026-01-01,2026-03-01\nx@a.example,u,,t-pay,2026-04-01,\n"),
            ("service_accounts", "h,N,CC-100,,2026-01-01,2026-03-01\nh,N,CC-100,,2026-04-01,\n"),
        ],
    )
    def test_people_and_services_may_leave_and_return(self, table, rows):
        """Rule 3.3: the days between fall to the next rung."""
        (line,) = warnings(**{table: HEADERS[table] + rows})
        assert "is not valid from 2026-03-01 to 2026-04-01, between row 2 and this row" in line
        assert "fall to the next rung" in line

    def test_a_row_with_an_error_is_not_called_a_gap(self):
        days = ["2026-01-01,2026-03-01", "2026-03-01,2026-04-01", "2026-04-01,"]
        zones = ["", "Nowhere", ""]
        rows = [f"t-pay,P,CC-100,{zone},,,{dates}" for zone, dates in zip(zones, days, strict=True)]
        (line,) = errors(teams=HEADERS["teams"] + "\n".join(rows) + "\n")
        assert line.startswith("teams.csv:3 time_zone")

    def test_a_rate_is_there_once_a_day(self):
        rows = "EUR,USD,2026-10-01,1.08,ECB\nEUR,USD,2026-10-02,1.08,ECB\nEUR,USD,2026-10-01,1.09,desk\n"
        assert errors(fx_rates=HEADERS["fx_rates"] + rows) == [
            "fx_rates.csv:4 rate_date: EUR USD 2026-10-01 is already in row 2. Fix: delete one of the two rows."
        ]


class TestReferences:
    @pytest.mark.parametrize(
        ("table", "row", "column"),
        [
            ("teams", "t-pay,P,CC-10,,,,2026-01-01,", "cost_center"),
            ("service_accounts", "h,N,CC-10,,2026-01-01,", "owner_cost_center"),
            ("provider_keys", "openai,a,,k,other,CC-10,2026-01-01,", "owner_cost_center"),
        ],
    )
    def test_unknown_cost_center(self, table, row, column):
        assert errors(**{table: HEADERS[table] + row + "\n"}) == [
            (
                f"{table}.csv:2 {column}: 'CC-10' is not in cost_centers.csv. "
                "Fix: write CC-100, if that is what is meant, or add it to cost_centers.csv."
            )
        ]

    def test_unknown_successor_and_team(self):
        (line,) = errors(cost_centers=CENTERS + "CC-200,Old,Acme Inc,2026-01-01,2026-02-01,NOWHERE\n")
        assert line.startswith(
            "cost_centers.csv:5 successor: 'NOWHERE' is not in cost_centers.csv. Fix: correct it, or"
        )
        (line,) = errors(users=USERS + "bo@acme.example,u-bo,,t-ops,2026-01-01,\n")
        assert line.startswith("users.csv:3 team_id: 't-ops' is not in teams.csv.")

    def test_a_row_with_an_error_is_still_known_by_its_code(self):
        (line,) = errors(
            cost_centers=CENTERS.replace("CC-100,Payments,Acme Inc,2026-01-01", "CC-100,Payments,Acme Inc,soon")
        )
        assert line.startswith("cost_centers.csv:2 valid_from")
        (line,) = errors(teams=TEAMS.replace(",2026-01-01,", ",2026-01-01,,"))
        assert "the row has 9 cells and the header has 8" in line

    def test_a_team_of_a_cost_center_that_is_not_valid(self):
        closing = CENTERS.replace("2026-01-01,,", "2026-01-01,2026-10-01,", 1)
        (line,) = warnings(cost_centers=closing)
        assert line.startswith(
            "teams.csv:2 cost_center: CC-100 is not valid from 2026-10-01 on and no successor is. Fix:"
        )

    def test_a_successor_takes_over_but_not_before_the_end(self):
        closed = "CC-100,Payments,Acme Inc,2026-02-01,2026-10-01,CC-200\n"
        centers = CENTERS.replace("CC-100,Payments,Acme Inc,2026-01-01,,\n", closed)
        (line,) = warnings(cost_centers=centers + "CC-200,New,Acme Inc,2025-01-01,,\n")
        assert "CC-100 is not valid from 2026-01-01 to 2026-02-01" in line

    def test_a_user_of_a_team_that_has_ended(self):
        (line,) = warnings(teams=TEAMS.replace("2026-01-01,", "2026-01-01,2026-10-01"))
        assert line.startswith("users.csv:2 team_id: t-pay is not valid from 2026-10-01 on.")


class TestSuccessors:
    @staticmethod
    def chain(steps: int) -> str:
        ended = [f"CC-{n},Old,Acme Inc,2026-01-01,2026-02-01,CC-{n + 1}" for n in range(1, steps + 1)]
        return CENTERS + "\n".join([*ended, f"CC-{steps + 1},Now,Acme Inc,2026-01-01,,"]) + "\n"

    def test_five_steps_are_followed(self):
        assert check(cost_centers=self.chain(5)) == Findings()

    def test_six_are_too_many(self):
        (line,) = errors(cost_centers=self.chain(6))
        assert "cost_centers.csv:5 successor: the chain of successors has 6 steps, 5 are followed: CC-1 -> CC-2" in line
        assert line.endswith("Fix: name CC-7 directly.")

    def test_the_policy_sets_the_length(self):
        findings = check(policy=DirectoryPolicy(max_successor_chain=2), cost_centers=self.chain(3))
        assert len(findings.errors) == 1

    @pytest.mark.parametrize("length", [1, 2, 3])
    def test_a_circle_is_named_once(self, length):
        rows = [f"CC-{n},Old,Acme Inc,2026-01-01,2026-02-01,CC-{(n + 1) % length}" for n in range(length)]
        lead_in = "CC-9,Old,Acme Inc,2026-01-01,2026-02-01,CC-0"
        (line,) = errors(cost_centers=CENTERS + "\n".join([*rows, lead_in]) + "\n")
        assert line.startswith("cost_centers.csv:5 successor: the successors run in a circle: CC-0 -> ")

    def test_a_successor_stands_on_the_last_row(self):
        rows = "CC-7,A,Acme Inc,2026-01-01,2026-02-01,CC-100\nCC-7,B,Acme Inc,2026-02-01,,\n"
        (line,) = errors(cost_centers=CENTERS + rows)
        assert "cost_centers.csv:5 successor: CC-7 goes on in row 6, so this successor is never asked" in line


class TestPolicyCodes:
    def test_suspense_and_central_exist(self):
        assert errors(cost_centers="".join(CENTERS.splitlines(keepends=True)[:2])) == [
            (
                "cost_centers.csv code: the policy's suspense cost center CC-900-SUSPENSE is not in the file. "
                "Fix: add a row for CC-900-SUSPENSE without valid_to, or change attribution.suspense in policy.yaml."
            ),
            (
                "cost_centers.csv code: the policy's central cost center CC-990-CENTRAL is not in the file. "
                "Fix: add a row for CC-990-CENTRAL without valid_to, or change attribution.central in policy.yaml."
            ),
        ]

    def test_they_do_not_end(self):
        ending = CENTERS.replace("Central,Acme Inc,2026-01-01,,", "Central,Acme Inc,2026-01-01,2026-06-01,")
        (line,) = errors(cost_centers=ending)
        assert line.startswith("cost_centers.csv:4 valid_to: the policy's central cost center CC-990-CENTRAL ends on")


def test_every_problem_is_reported_at_once():
    teams = TEAMS + "t-x,X,CC-1,Nowhere,nobody,,yesterday,\n"
    assert [line.split(":")[1] for line in errors(teams=teams)] == [
        "3 time_zone",
        "3 lead_email",
        "3 valid_from",
        "3 cost_center",
    ]


def test_a_big_wrong_file_is_checked_quickly():
    rows = "".join(f"u{n}@a.example,u{n},,t-nowhere,2026-01-01,\n" for n in range(20_000))
    assert len(check(users=HEADERS["users"] + rows).errors) == 20_000
