"""Every mistake in a folder of parameters is one line: where, what was seen, what to do."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from usjp_research.spec import records
from usjp_research.spec.read import FILES, GIVEN, read_spec
from usjp_research.spec.records import Spec
from usjp_research.words import InputError, nearest

UNIVERSE = """ticker,name,sector,basket,market_value_usd_bn
AAA,Alpha,solar,panels,10
BBB,Beta,solar,,
CCC,Gamma,rail,,5.5
"""
EVENTS = """id,announced,zone,precision,role,title,solar,rail
E1,2025-07-22 19:12,America/New_York,minute,primary,first,+,-
E2,2025-09-04,Asia/Tokyo,day,secondary,second,0,
"""
STUDY = """alpha: 0.10
window: [-1, 1]
estimation:
  sessions: 250
  minimum: 200
"""
THESIS = """valued_on: 2025-07-22
values_as_of: 2026-07-31
margin: {low: 0.04, base: 0.08, high: 0.12}
tax: 0.21
discount_rate: 0.08
years_to_cash: 5
realised:
  approved: {low: 0.5, base: 1, high: 1}
lines:
  - {id: A1, sector: solar, title: panels, amount_usd_bn: 10, basis: list, realised: approved,
     firms: {AAA: 0.5}, other_listed: {low: 0, base: 0.1, high: 0.2}, source: paper}
"""
BASE = {
    "universe.csv": UNIVERSE,
    "events.csv": EVENTS,
    "study.yaml": STUDY,
    "thesis.yaml": THESIS,
    "own_news.csv": "ticker,session,kind\nAAA,2025-07-22,results\n",
    "own_news_coverage.csv": "ticker,checked\nAAA,2025-07-22 2025-09-04\n",
    "confounders.csv": "session,title\n2025-07-22,other news\n",
    "claims.csv": "id,claim,found,status\nT1,a claim,a source,differs\n",
    "checks.csv": "key,title,window,roles,part,priced\ndrift20,Drift,2 20,primary,,flat\n",
    "donors.csv": "ticker,group,note\nXXX,banks,\nYYY,,close to solar\n",
}


def _folder(path: Path, **changes: str | bytes | None) -> Path:
    for name, text in {**BASE, **changes}.items():
        if text is not None:
            content = text if isinstance(text, bytes) else text.encode()
            (path / name).write_bytes(content)
    return path


def _complaint(folder: Path) -> str:
    with pytest.raises(InputError) as caught:
        read_spec(folder)
    message = str(caught.value)
    assert "\n" not in message
    assert len(message) < 400 + len(str(folder))
    return message


def _read(folder: Path) -> Spec | None:
    try:
        return read_spec(folder)
    except InputError as error:
        assert "\n" not in str(error)
        return None


# file, text to replace (all of it when empty), replacement, words of the complaint
Case = tuple[str, str, str, tuple[str, ...]]
CASES: dict[str, Case] = {
    # --- any table
    "empty universe": ("universe.csv", "", "", ("empty", "ticker, sector")),
    "empty events": ("events.csv", "", "", ("empty", "id, announced, role, title")),
    "universe with a header only": ("universe.csv", "", "ticker,sector\n",
        ("a header but no row", "add at least one")),
    "events with a header only": ("events.csv", "", EVENTS.splitlines()[0],
        ("a header but no row", "add at least one")),
    "missing column": ("universe.csv", "sector", "secter",
        ("row 1", "column 'sector' is missing", "did you mean 'secter'")),
    "missing column of events": ("events.csv", "announced", "announce",
        ("row 1", "column 'announced' is missing", "did you mean 'announce'")),
    "unknown column": ("universe.csv", "market_value_usd_bn", "market_value",
        ("row 1", "unknown column 'market_value'", "did you mean 'market_value_usd_bn'")),
    "unknown sector column": ("events.csv", ",rail\n", ",rial\n",
        ("row 1", "unknown column 'rial'", "did you mean 'rail'")),
    "a field of the record that is no column": ("events.csv", ",rail\n", ",signs\n",
        ("row 1", "unknown column 'signs'")),
    "duplicated column": ("universe.csv", "name,sector", "sector,sector",
        ("row 1", "'sector' stands there twice", "keep one")),
    "a cell too many": ("events.csv", ",first,", ",first, second,",
        ("row 2", "seen 9 cells", "expected 8", "quote cells")),
    "a cell too few": ("universe.csv", "CCC,Gamma,", "CCC,", ("row 4", "seen 4", "expected 5")),
    "blank rows count in the row number": ("universe.csv", "CCC,Gamma,", "\n,,,,\nCCC,",
        ("row 6", "seen 4 cells", "expected 5")),
    "a quote that is never closed": ("universe.csv", "Beta", '"Beta', ("CSV", "close quotes")),
    # --- universe
    "duplicate ticker": ("universe.csv", "CCC", "AAA",
        ("row 4", "column 'ticker'", "'AAA' already stands in row 2")),
    "no ticker": ("universe.csv", "BBB", "", ("row 3", "column 'ticker'", "seen ''", "fill it in")),
    "no sector": ("universe.csv", ",rail", ",", ("row 4", "column 'sector'", "seen ''")),
    "sector that is no key": ("universe.csv", "rail", "Rail Roads",
        ("row 4", "column 'sector'", "'Rail Roads'", "small letters")),
    "sector named as a column of events.csv": ("universe.csv", "rail", "title",
        ("row 4", "column 'sector'", "'title'", "another name")),
    "market value that is text": ("universe.csv", "5.5", "5.5bn",
        ("row 4", "column 'market_value_usd_bn'", "'5.5bn'", "a number in USD bn")),
    "negative market value": ("universe.csv", "5.5", "-5.5",
        ("row 4", "column 'market_value_usd_bn'", "'-5.5'", "zero or more")),
    "market value that is not a number": ("universe.csv", "5.5", "nan",
        ("row 4", "column 'market_value_usd_bn'", "'nan'", "zero or more")),
    # --- events
    "duplicate event": ("events.csv", "E2", "E1",
        ("row 3", "column 'id'", "'E1' already stands in row 2")),
    "event without id": ("events.csv", "E2", "", ("row 3", "column 'id'", "seen ''")),
    "event id with a blank": ("events.csv", "E2", "E 2", ("row 3", "column 'id'", "'E 2'")),
    "event without title": ("events.csv", ",second,", ",,", ("row 3", "column 'title'", "seen ''")),
    "unreadable instant": ("events.csv", "2025-07-22 19:12", "22 July 2025",
        ("row 2", "column 'announced'", "'22 July 2025'", "YYYY-MM-DD HH:MM")),
    "instant with day first": ("events.csv", "2025-07-22 19:12", "22/07/2025 19:12",
        ("row 2", "column 'announced'", "'22/07/2025 19:12'", "YYYY-MM-DD HH:MM")),
    "a day that does not exist": ("events.csv", "2025-09-04", "2025-09-31",
        ("row 3", "column 'announced'", "'2025-09-31'", "YYYY-MM-DD")),
    "an offset after a date is not taken for a time": (
        "events.csv", "2025-09-04", "2025-09-04+09:00",
        ("row 3", "column 'announced'", "'2025-09-04+09:00'", "YYYY-MM-DD")),
    "a time after another sign than a blank or T is not lost": (
        "events.csv", "2025-09-04", "2025-09-04_10:30",
        ("row 3", "column 'announced'", "'2025-09-04_10:30'", "YYYY-MM-DD HH:MM")),
    "a year that no calendar knows": ("events.csv", "2025-07-22 19:12", "1025-07-22 19:12",
        ("row 2", "column 'announced'", "'1025-07-22 19:12'", "1998 to 2100")),
    "an hour that clocks skip": ("events.csv", "2025-07-22 19:12", "2025-03-09 02:30",
        ("row 2", "column 'announced'", "'2025-03-09 02:30'", "clocks skip")),
    "unknown zone": ("events.csv", "America/New_York", "America/NewYork",
        ("row 2", "column 'zone'", "'America/NewYork'", "such as America/New_York")),
    "zone without summer time": ("events.csv", "America/New_York", "EST",
        ("row 2", "column 'zone'", "'EST'", "such as America/New_York")),
    "missing zone": ("events.csv", "America/New_York", "",
        ("row 2", "column 'zone'", "seen ''", "such as America/New_York")),
    "primary event without time of day": (
        "events.csv", "2025-07-22 19:12,America/New_York,minute", "2025-07-22,America/New_York,day",
        ("row 2", "column 'announced'", "'2025-07-22'", "primary event needs its instant")),
    "precision that the instant denies": ("events.csv", "minute", "day",
        ("row 2", "column 'precision'", "'day'", "time of day is not given")),
    "unknown precision": ("events.csv", "minute", "hour",
        ("row 2", "column 'precision'", "'hour'", "minute, about, day")),
    "bad sign": ("events.csv", ",+,-", ",+1,-", ("row 2", "column 'solar'", "'+1'", "+ - 0 +/-")),
    "typographic minus": ("events.csv", ",+,-", ",+,\N{MINUS SIGN}",
        ("row 2", "column 'rail'", "'\N{MINUS SIGN}'", "+ - 0 +/-")),
    "unknown role": ("events.csv", "primary", "primery",
        ("row 2", "column 'role'", "'primery'", "did you mean 'primary'")),
    # --- what else there may be
    "own news of an unknown kind": ("own_news.csv", "results", "result",
        ("row 2", "column 'kind'", "'result'", "did you mean 'results'")),
    "own news without date": ("own_news.csv", "2025-07-22", "July",
        ("row 2", "column 'session'", "'July'", "YYYY-MM-DD")),
    "coverage with a bad date": ("own_news_coverage.csv", "2025-09-04", "2025-9-4",
        ("row 2", "column 'checked'", "2025-9-4", "separated by spaces")),
    "confounder without date": ("confounders.csv", "2025-07-22", "",
        ("row 2", "column 'session'", "seen ''", "YYYY-MM-DD")),
    "claim without status": ("claims.csv", "differs", "",
        ("row 2", "column 'status'", "seen ''", "fill it in")),
    "a donor inside a sector": ("donors.csv", "XXX", "AAA",
        ("row 2", "column 'ticker'", "seen 'AAA'", "outside the sectors", "'solar'")),
    "a donor with neither group nor note": ("donors.csv", "close to solar", "",
        ("row 3", "column 'group'", "a note that says why")),
    "a check in a window that ends before it starts": ("checks.csv", "2 20", "20 2",
        ("row 2", "column 'window'", "seen '20 2'", "such as '2 20', in order")),
    "a check of a role that no event may have": ("checks.csv", "primary", "primry",
        ("row 2", "column 'roles'", "seen 'primry'", "roles of events.csv or 'note'")),
    "a check of half an event": ("checks.csv", ",,flat", ",during,flat",
        ("row 2", "column 'part'", "seen 'during'", "before, after or nothing")),
    "a check without a title": ("checks.csv", "Drift", "",
        ("row 2", "column 'title'", "expected a title")),
    "a check with spaces in its key": ("checks.csv", "drift20", "drift 20",
        ("row 2", "column 'key'", "seen 'drift 20'", "a key of small letters")),
    "the same check twice": ("checks.csv", "", "key,title,roles\nleak,A,leak\nleak,B,leak\n",
        ("row 3", "column 'key'", "'leak'")),
    # --- study.yaml
    "YAML syntax": ("study.yaml", "[-1, 1]", "[-1, 1", ("row 3", "column", "not readable as YAML")),
    "YAML indented with a tab": ("study.yaml", "  sessions", "\tsessions", ("row 4", "YAML")),
    "a character that YAML forbids": ("study.yaml", "0.10", "0.10 \x07", ("YAML", "character")),
    "a key that stands twice": ("study.yaml", "window", "alpha",
        ("row 2", "'alpha' stands there twice", "keep one")),
    "empty study.yaml": ("study.yaml", "", "", ("empty", "'key: value'")),
    "a list as study.yaml": ("study.yaml", "", "- alpha\n", ("no mapping", "'key: value'")),
    "unknown key": ("study.yaml", "alpha", "alhpa",
        ("unknown key 'alhpa'", "did you mean 'alpha'")),
    "unknown nested key": ("study.yaml", "sessions", "session",
        ("unknown key 'estimation.session'", "did you mean 'sessions'")),
    "text for a number": ("study.yaml", "0.10", "ten", ("'alpha'", "'ten'", "valid number")),
    "percent for a share": ("study.yaml", "0.10", "10", ("'alpha'", "seen 10", "less than 0.5")),
    "infinity": ("thesis.yaml", "amount_usd_bn: 10", "amount_usd_bn: .inf", ("inf", "finite")),
    "a number for a list": ("study.yaml", "[-1, 1]", "1", ("'window'", "seen 1", "a list")),
    "a text for keys": ("study.yaml", "\n  sessions: 250\n  minimum: 200", " 250",
        ("'estimation'", "seen 250", "keys with values")),
    "no value": ("study.yaml", "0.10", "", ("'alpha'", "None", "valid number")),
    "a date that does not exist": ("study.yaml", "alpha: 0.10", "since: 2022-13-01",
        ("'since'", "'2022-13-01'", "date")),
    "window the wrong way round": ("study.yaml", "[-1, 1]", "[1, -1]",
        ("'window'", "seen ['1', '-1']", "in order")),
    "more usable days than days": ("study.yaml", "200", "300", ("estimation.minimum", "larger")),
    "a guard longer than the estimation": ("study.yaml", "alpha: 0.10", "guard_sessions: 300",
        ("guard_sessions", "larger", "estimation.sessions")),
    "alpha too small for any interval": ("study.yaml", "0.10", "0.001",
        ("alpha 0.001", "least_shifts", "999")),
    "unknown kind of blackout": ("study.yaml", "alpha: 0.10", "blackout: {kinds: [result]}",
        ("blackout.kinds", "'result'", "did you mean 'results'")),
    "contrast of an unknown sector": (
        "study.yaml", "alpha: 0.10", "contrast: {sector: solr, event: E1}",
        ("'contrast.sector'", "unknown 'solr'", "did you mean 'solar'", "remove the key")),
    "contrast at an unknown event": (
        "study.yaml", "alpha: 0.10", "contrast: {sector: solar, event: E33}",
        ("'contrast.event'", "unknown 'E33'", "known: E1, E2", "remove the key")),
    "campaign backwards": ("study.yaml", "alpha: 0.10", "campaign: [E2, E1]",
        ("campaign", "'E1' is before 'E2'", "earlier event first")),
    # --- thesis.yaml
    "YAML syntax of the thesis": ("thesis.yaml", "0.12}", "0.12",
        ("row 4", "not readable as YAML")),
    "unknown key of the thesis": ("thesis.yaml", "tax:", "taxes:",
        ("unknown key 'taxes'", "did you mean 'tax'")),
    "misspelt key of a line": ("thesis.yaml", "amount_usd_bn", "amount_usd",
        ("unknown key 'lines.0.amount_usd'", "did you mean 'amount_usd_bn'")),
    "misspelt case of a range": ("thesis.yaml", "low: 0.5", "lo: 0.5",
        ("unknown key 'realised.approved.lo'", "did you mean 'low'")),
    "missing key": ("thesis.yaml", "tax: 0.21\n", "", ("'tax' is missing", "add it")),
    "missing key of a line": ("thesis.yaml", ", source: paper", "",
        ("'lines.0.source' is missing", "add it")),
    "text for a range": ("thesis.yaml", "0.21", "low", ("'tax'", "'low'", "a number, or low")),
    "percent for a tax": ("thesis.yaml", "0.21", "21", ("'tax'", "seen 21", "0.08 is 8%")),
    "a rate that cannot discount": ("thesis.yaml", "rate: 0.08", "rate: -1",
        ("'discount_rate'", "seen -1", "0 to 1")),
    "values before the valuation": ("thesis.yaml", "2026-07-31", "2025-07-01",
        ("values_as_of 2025-07-01", "before valued_on")),
    "line of an unknown sector": ("thesis.yaml", "sector: solar", "sector: solr",
        ("line A1", "unknown sector 'solr'", "did you mean 'solar'")),
    "line with an unknown status": ("thesis.yaml", "realised: approved", "realised: aproved",
        ("line A1", "realised", "'aproved'", "did you mean 'approved'")),
    "line with a firm of another sector": ("thesis.yaml", "AAA", "CCC",
        ("line A1", "'CCC' is not in sector 'solar'", "universe.csv")),
    "line with an unknown firm": ("thesis.yaml", "AAA", "ON",
        ("line A1", "'ON' is not in sector 'solar'", "universe.csv")),
    "shares above one": ("thesis.yaml", "AAA: 0.5", "AAA: 0.9", ("line A1", "seen 1.1", "0 to 1")),
    "negative share": ("thesis.yaml", "AAA: 0.5", "AAA: -0.5", ("line A1", "seen -0.5", "0 to 1")),
    "negative share of others": ("thesis.yaml", "low: 0,", "low: -0.3,",
        ("line A1", "seen -0.3", "other_listed")),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_a_mistake_is_one_line_that_says_where_and_what(case: str, tmp_path: Path) -> None:
    file, old, new, words = CASES[case]
    text = new if not old else BASE[file].replace(old, new, 1)
    assert text != BASE[file]
    message = _complaint(_folder(tmp_path, **{file: text}))
    assert message.startswith(f"{tmp_path / file}: ")
    for word in words:
        assert word in message


def test_the_folder_without_a_mistake_is_read(tmp_path: Path) -> None:
    spec = read_spec(_folder(tmp_path))
    assert spec.sectors == ("solar", "rail")
    assert [event.signs for event in spec.events] == [
        {"solar": 1, "rail": -1},
        {"solar": 0, "rail": 0},
    ]
    assert spec.rule.contrast is None  # names a sector of the project, not of this folder


@pytest.mark.parametrize("file", ["universe.csv", "events.csv"])
def test_a_needed_file_that_is_missing_is_named_with_its_columns(file: str, tmp_path: Path) -> None:
    message = _complaint(_folder(tmp_path, **{file: None}))
    assert str(tmp_path / file) in message
    assert "no such file" in message and "expected columns" in message


@pytest.mark.parametrize("file", BASE)
def test_a_file_that_is_no_text_is_named(file: str, tmp_path: Path) -> None:
    message = _complaint(_folder(tmp_path, **{file: b"\x89PNG\r\n\x1a\n\xff\xfe\x00"}))
    assert message.startswith(f"{tmp_path / file}: ")


def test_a_file_that_one_letter_keeps_from_being_read_is_refused(tmp_path: Path) -> None:
    _folder(tmp_path)
    (tmp_path / "events2.csv").write_text("kept beside the real one", encoding="utf-8")
    read_spec(tmp_path)
    (tmp_path / "acepted.csv").write_text("ticker,date,reason\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"acepted\.csv: no file of a study; .*'accepted\.csv'\?"):
        read_spec(tmp_path)


def test_files_put_aside_or_of_another_name_may_stand_beside_those_of_a_study(
    tmp_path: Path,
) -> None:
    _folder(tmp_path)
    absent = ("confounders_old.csv", "my_claims.csv", "own_news_coverage_2019.csv", "words_de.yaml")
    for name in (*absent, "_checks.csv", "checks.csv~", ".sectors.csv", "#sectors.csv#"):
        (tmp_path / name).write_text("of no study", encoding="utf-8")
    read_spec(tmp_path)
    (tmp_path / "Sectors.CSV").write_text("sector\n", encoding="utf-8")
    if not (tmp_path / "sectors.csv").exists():  # where capitals tell files apart
        with pytest.raises(InputError, match=r"Sectors\.CSV: no file of a study"):
            read_spec(tmp_path)


def test_columns_parted_by_semicolons_are_named_as_what_is_wrong(tmp_path: Path) -> None:
    _folder(tmp_path)
    path = tmp_path / "events.csv"
    path.write_text(path.read_text("utf-8").replace(",", ";"), encoding="utf-8")
    with pytest.raises(InputError, match=r"row 1: columns parted by semicolons; save it with comm"):
        read_spec(tmp_path)


@pytest.mark.parametrize("file", sorted(set(BASE) - {"universe.csv", "events.csv"}))
def test_every_other_file_may_be_missing(file: str, tmp_path: Path) -> None:
    assert read_spec(_folder(tmp_path, **{file: None})).sectors == ("solar", "rail")


def test_a_byte_order_mark_and_windows_line_ends_change_nothing(tmp_path: Path) -> None:
    first, second = tmp_path / "a", tmp_path / "b"
    first.mkdir()
    second.mkdir()
    other = {
        name: b"\xef\xbb\xbf" + text.replace("\n", "\r\n").encode()
        for name, text in BASE.items()
        if name.endswith(".csv")
    }
    assert read_spec(_folder(first)) == read_spec(_folder(second, **other))


def test_another_events_file_may_leave_out_events_that_the_rule_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = STUDY + "contrast: {sector: solar, event: E1}\ncampaign: [E1, E2]\ncleanest: E1\n"
    folder = _folder(tmp_path, **{"study.yaml": study})
    assert read_spec(folder).rule.cleanest == "E1"
    other = tmp_path / "other.csv"
    other.write_text(EVENTS.replace("E1", "X1"), encoding="utf-8")
    rule = read_spec(folder, events=other).rule
    assert (rule.campaign, rule.cleanest) == (None, "")
    assert rule.contrast and rule.contrast.event == "E1"  # its row says why there is none
    (folder / GIVEN).write_text(other.read_text("utf-8"), encoding="utf-8")
    assert read_spec(folder) == read_spec(folder, events=other)
    monkeypatch.chdir(tmp_path)  # where its own name leads to it
    assert read_spec(folder) == read_spec(folder, events="other.csv")


def test_outside_the_project_the_complaint_is_about_the_folder_that_was_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=r"nosuch: no such folder.*universe\.csv"):
        read_spec("nosuch")
    assert len(read_spec().sectors) == 6  # the checkout's own study


def test_unknown_names_of_a_spec_come_with_the_nearest_known_one(tmp_path: Path) -> None:
    spec = read_spec(_folder(tmp_path))
    with pytest.raises(InputError, match=r"unknown sector 'solr': did you mean 'solar'\?"):
        spec.members("solr")
    with pytest.raises(InputError, match=r"unknown event 'E11': did you mean 'E1'\?"):
        spec.event("E11")


def test_a_long_list_of_known_names_is_cut() -> None:
    assert nearest("zzz", [f"name{k:03d}" for k in range(500)]).endswith("name019, ...")


@pytest.mark.parametrize("file", ["universe.csv", "events.csv", "study.yaml", "thesis.yaml"])
def test_no_change_of_a_file_gives_anything_but_a_study_or_one_line(
    file: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = _folder(tmp_path_factory.mktemp("fuzz"))
    text = BASE[file]
    odd = st.sampled_from(["", ",", "\n", '"', "nan", "-1", "1e999", "{", "]", ": ", "é", "0", "2"])

    @settings(max_examples=60, deadline=None, derandomize=True, database=None)
    @given(st.integers(0, len(text)), st.integers(0, 12), odd | st.text(max_size=6))
    def change(start: int, length: int, new: str) -> None:
        changed = text[:start] + new + text[start + length :]
        (folder / file).write_bytes(changed.encode("utf-8", "surrogatepass"))
        _read(folder)

    change()
    shutil.rmtree(folder)


def test_the_names_that_a_study_may_hold_are_those_that_are_read() -> None:
    code = Path(records.__file__).parents[1]
    read = (path.read_text("utf-8") for path in (code / "spec").glob("*.py"))
    text = "".join([*read, (code / "market" / "donors.py").read_text("utf-8")])
    assert {*re.findall(r'"([a-z_]+\.(?:csv|yaml))"', text)} == FILES
