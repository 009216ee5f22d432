"""A snapshot never changes, is found by its digest, and runs the study that asked for it."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import Result

from tests.conftest import SECTORS
from usjp_research.market import fetch
from usjp_research.market.fetch import SOURCES, Fetched, Request
from usjp_research.market.record import Dropped
from usjp_research.market.snapshots import find_snapshot, snapshots
from usjp_research.spec.read import read_spec, study_folder
from usjp_research.words import InputError

Usjp = Callable[..., Result]
DAYS = pd.bdate_range("2024-01-02", "2024-03-28", name="date")


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[Request]]:
    """Let both sources send a frame; return what they were asked for."""
    asked: list[Request] = []

    def send(frame: pd.DataFrame, *dropped: Dropped) -> list[Request]:
        def answer(request: Request) -> Fetched:
            asked.append(request)
            request.said("2 of 2 tickers", 1.0)
            return Fetched(frame, dropped, {"address": "here"})

        for name, source in list(SOURCES.items()):
            monkeypatch.setitem(SOURCES, name, source._replace(fetch=answer))
        return asked

    return send


def frame(*tickers: str, days: pd.DatetimeIndex = DAYS) -> pd.DataFrame:
    draw = np.random.default_rng(1)
    close = 50 * np.exp(np.cumsum(draw.normal(0, 0.01, (len(days), len(tickers))), axis=0))
    prices = pd.DataFrame(close, days, pd.Index(tickers))
    parts = {"open": prices, "close": prices, "adj_close": prices, "volume": prices * 1e4}
    return pd.concat(parts, axis=1)


def digests() -> list[str]:
    return [one.digest for one in snapshots()]


def test_a_study_names_what_is_fetched_and_terms_are_said_once(
    usjp: Usjp, own: Callable[..., Path], sent: Callable[..., list[Request]]
) -> None:
    rule = "benchmark: [SPY]\nmirror: [EWJ]\nsince: 2023-01-04\n"
    folder = own(study=rule, donors="ticker,group,note\nKO,food,\nDIS,,a note\n")
    asked = sent(frame("SPY", "S00"), Dropped("security", "R01", "no price"))
    done = usjp("prices", "fetch", "--params", folder, "--end", "2024-03-28")
    assert done.exit_code == 0, done.stderr
    (request,) = asked
    assert request.names == (*SECTORS["solar"], *SECTORS["rail"], "SPY", "EWJ", "KO")
    assert (request.start, request.end) == (date(2022, 12, 28), date(2024, 3, 28))
    assert done.stderr.count("personal use") == 1
    assert "  2 of 2 tickers" in done.stderr.splitlines()
    assert "left out: security R01: no price" in done.stdout
    (one,) = snapshots()
    assert one.about["coverage"]["SPY"] == ["2024-01-02", "2024-03-28", len(DAYS)]
    assert one.about["sha256"] == one.digest
    assert "personal use" in one.about["terms"]
    words = f"usjp study --params {folder} --market snapshot:{one.digest[:12]}"
    assert done.stdout.splitlines()[-1] == words  # without --donors: none of donors.csv came
    assert sorted(path.name for path in Path("snapshots").iterdir()) == [".gitignore", one.digest]
    assert Path("snapshots/.gitignore").read_text() == "*\n"


def test_a_study_that_ships_is_fetched_for_by_its_bare_name_as_it_is_run(
    usjp: Usjp, sent: Callable[..., list[Request]]
) -> None:
    asked = sent(frame("SPY"))
    done = usjp("prices", "fetch", "--params", "liberation_day")
    assert done.exit_code == 0, done.stderr
    firms = read_spec(study_folder(Path("liberation_day"))).firms
    assert {firm.ticker for firm in firms} <= {*asked[0].names}
    assert done.stdout.splitlines()[-1].startswith("usjp study --params liberation_day --market")


def test_a_snapshot_is_never_written_again_and_a_change_in_it_is_refused(
    usjp: Usjp, sent: Callable[..., list[Request]]
) -> None:
    sent(frame("SPY"))
    assert usjp("prices", "fetch", "SPY").exit_code == 0
    (digest,) = digests()
    about = Path("snapshots", digest, "provenance.json")
    os.utime(about, (1, 1))
    assert "nothing was written" in usjp("prices", "fetch", "SPY").stderr
    assert about.stat().st_mtime == 1
    text = about.read_text()
    for bad in ("{", "[]", text.replace('"coverage"', '"covered"')):
        about.write_text(bad)
        assert "provenance.json: damaged" in usjp("prices", "list").stderr
    about.write_text(text)
    data = Path("snapshots", digest, "prices.parquet")
    data.write_bytes(data.read_bytes()[:-1])
    for words in (("prices", "show"), ("prices", "fetch", "SPY")):
        done = usjp(*words)
        assert (done.exit_code, done.stdout) == (2, "")
        assert "changed since it was fetched" in done.stderr


def test_a_fetch_that_is_stopped_leaves_parts_and_no_snapshot(
    usjp: Usjp, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetch, "BATCH", 1)
    monkeypatch.setattr(time, "sleep", lambda _: None)
    raw = frame("AAA").rename(columns={v: k for k, v in fetch.FIELDS.items()}, level=0)
    heard: list[str] = []

    def answer(tickers: list[str], start: date, end: date) -> pd.DataFrame:
        heard.extend(tickers)
        if tickers == ["BBB"] and heard.count("BBB") == 1:
            raise KeyboardInterrupt
        return raw.rename(columns={"AAA": tickers[0]}, level=1)

    monkeypatch.setattr(fetch, "download", answer)
    words = ("prices", "fetch", "AAA", "BBB", "--start", "2024-01-02", "--end", "2024-03-28")
    stopped = usjp(*words)
    assert stopped.exit_code != 0
    assert stopped.stderr.splitlines()[-1].startswith("Stopped. What came is kept: the same comm")
    assert not snapshots()
    assert usjp(*words).exit_code == 0
    assert heard == ["AAA", "BBB", "BBB"]
    (one,) = snapshots()
    assert list(one.about["coverage"]) == ["AAA", "BBB"]
    assert sorted(path.name for path in Path("snapshots").iterdir()) == [".gitignore", one.digest]


def test_a_digest_that_is_unknown_or_not_one_says_what_is_there(
    usjp: Usjp, sent: Callable[..., list[Request]]
) -> None:
    with pytest.raises(InputError, match=r"'latest': no such snapshot; there is none yet, usjp pr"):
        find_snapshot("latest")
    for name in ("SPY", "IVV"):
        sent(frame(name))
        usjp("prices", "fetch", name)
        with pytest.raises(InputError, match=r"snapshot '\.': .*; there: .*yahoo"):
            find_snapshot(".")  # not the only one either
    sent(pd.DataFrame({"mkt_rf": 0.01}, index=DAYS))
    usjp("prices", "fetch", "--source", "french")
    first = digests()[0]
    assert find_snapshot(first[:6]).digest == first == find_snapshot(first).digest
    with pytest.raises(InputError, match=f"'xyz': no such snapshot; there: .*{first[:12]} .yahoo"):
        find_snapshot("xyz")
    with pytest.raises(InputError, match=r"'': several begin so; there"):
        find_snapshot("")
    twin = Path("snapshots", f"{first[:8]}0")
    shutil.copytree(Path("snapshots", first), twin)
    with pytest.raises(InputError, match=f"several begin so; there: [^,]*, {first[:9]}[^,]*$"):
        find_snapshot(first[:6])  # those that may be meant, and no others
    shutil.rmtree(twin)
    other = Path("elsewhere")
    other.mkdir()
    Path("snapshots", first).rename(other / first)
    with pytest.raises(InputError, match="no such snapshot"):
        find_snapshot(first)
    assert find_snapshot(f"elsewhere/{first[:9]}").digest == first
    (other / first).rename(Path("snapshots", first))
    assert find_snapshot("latest", "factors").about["source"] == "french"
    assert find_snapshot("latest", "prices").about["source"] == "yahoo"
    listed = usjp("prices", "list").stdout.splitlines()
    assert len(listed) == 3
    assert "2 left out" not in listed[0]
    done = usjp("rule", "--market", "snapshot:nothing")
    assert done.exit_code == 2
    assert "no such snapshot of prices; there:" in done.stderr


def test_no_snapshot_lies_inside_the_package(
    usjp: Usjp, sent: Callable[..., list[Request]], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = sent(frame("SPY"))
    monkeypatch.chdir(Path(fetch.__file__).parent)
    done = usjp("prices", "fetch", "SPY")
    assert (done.exit_code, asked) == (2, [])
    assert "inside the package, where no prices may lie" in done.stderr


def test_revisions_are_by_series_and_day_and_a_split_or_dividend_is_none(
    usjp: Usjp, sent: Callable[..., list[Request]]
) -> None:
    before = frame("AAA", "BBB", "OLD")
    after = before.drop(columns="OLD", level=1)
    after.loc[:, ["open", "close"]] /= 2  # split since
    after["adj_close"] *= 0.97  # dividend since
    after["close", "AAA"] *= np.where(DAYS[3] == DAYS, 1.02, 1)
    after["adj_close", "BBB"] *= np.where(DAYS[9] == DAYS, 0.9, 1)
    after["volume"] = 1.0
    for one in (before, after):
        sent(one)
        usjp("prices", "fetch", "AAA")
    first, second = digests()
    done = usjp("prices", "diff", first, second[:10])
    lines = [" ".join(line.split()) for line in done.stdout.splitlines()]
    assert done.exit_code == 1, done.stderr
    assert lines[0] == f"only in {first}: OLD"
    assert lines[2].startswith(f"BBB {DAYS[9].date()} adj_close")
    assert lines[2].endswith("−10.000%")
    assert lines[3].startswith(f"AAA {DAYS[3].date()} close")
    assert lines[3].endswith("+2.000%")
    assert lines[4] == "2 revised, in 2 series."
    assert usjp("prices", "diff", first, first).exit_code == 0


def test_a_study_runs_on_a_snapshot_and_says_which(
    usjp: Usjp, own: Callable[..., Path], sent: Callable[..., list[Request]], prices: Path
) -> None:
    table = pd.read_csv(prices, index_col="date", parse_dates=True)
    table = table.rename(columns={"us_market": "SPY"})
    sent(pd.concat({key: table for key in ("open", "close", "adj_close", "volume")}, axis=1))
    folder = own()
    assert usjp("prices", "fetch", "--params", folder).exit_code == 0
    (one,) = snapshots()
    words = ("study", "--params", folder, "--no-pages", "--json", "--market")
    kept = usjp(*words, "snapshot:latest", "--out", "a")
    assert kept.exit_code == 0, kept.stderr
    for option, told in {
        "--factors": "no such snapshot of factors",
        "--donors": "no donor",
    }.items():
        refused = usjp(*words, "snapshot:latest", option, "snapshot:latest", "--out", "c")
        assert refused.exit_code == 2 and told in refused.stderr
    table.to_csv("own.csv")
    own_file = usjp(*words, "file:own.csv", "--out", "b")
    manifests = [json.loads(Path(name, "run.json").read_text()) for name in ("a", "b")]
    assert manifests[0]["market"] == f"snapshot:{one.digest[:12]}"
    assert str(Path.cwd()) not in Path("a/run.json").read_text()
    near = usjp(*words, f"snapshot:snapshots/{one.digest[:9]}", "--out", "c")  # from where one is
    assert near.exit_code == 0, near.stderr
    assert find_snapshot(f"snapshots/{one.digest[:9]}").data.is_absolute()
    assert json.loads(Path("c/run.json").read_text())["inputs"] == manifests[0]["inputs"]
    rows, same = (json.loads(done.stdout)["rows"] for done in (kept, own_file))
    assert rows[0]["effect"] == pytest.approx(same[0]["effect"], abs=1e-9)
    checked = [usjp("prices", "check", name, "--params", folder) for name in ("latest", one.digest)]
    assert {done.stdout.partition("\n")[0] for done in checked} == {"Usable: nothing looks wrong."}
    again = usjp("verify", "a", "--params", folder)
    assert (again.exit_code, again.stdout.split(":")[0]) == (0, "Equal"), again.stderr
    Path("snapshots").rename("gone")
    gone = usjp("verify", "a", "--params", folder)
    assert gone.exit_code == 2
    assert f"prices.parquet: is not there, nor a snapshot {one.digest[:12]}" in gone.stderr


def test_the_battery_takes_a_snapshots_returns(
    usjp: Usjp, own: Callable[..., Path], sent: Callable[..., list[Request]], prices: Path
) -> None:
    table = pd.read_csv(prices, index_col="date", parse_dates=True)
    sent(pd.concat({key: table for key in ("open", "close", "adj_close", "volume")}, axis=1))
    assert usjp("prices", "fetch", "--params", own()).exit_code == 0
    table.pct_change(fill_method=None).iloc[1:].to_csv("r.csv")
    rows = [f"{ticker},a" for ticker in SECTORS["solar"]]
    Path("g.csv").write_text("\n".join(["firm,sector", *rows]) + "\n", encoding="utf-8")
    words = ("--groups", "g.csv", "--benchmark", "us_market", "--event", "2024-03-05", "--json")
    for source, out in (("snapshot:latest", "a.json"), ("r.csv", "b.json")):
        done = usjp("battery", source, *words, out)
        assert done.exit_code == 0, done.stderr
    kept, file = (json.loads(Path(name).read_text()) for name in ("a.json", "b.json"))
    (one,) = snapshots()
    assert kept["provenance"]["files"]["returns"]["sha256"] == one.digest
    numbers = [part["ALL"]["[0;0]"]["caar"] for part in (kept, file)]
    assert numbers[0] == pytest.approx(numbers[1], abs=1e-9)
    done = usjp("battery", "snapshot:nothing", *words, "c.json")
    assert done.exit_code == 2
    assert "no such snapshot of prices" in done.stderr


def test_bad_requests_are_one_line(usjp: Usjp, sent: Callable[..., list[Request]]) -> None:
    asked = sent(frame("SPY"))
    for words, told in (
        (("--source", "yaho"), "unknown source 'yaho': did you mean 'yahoo'?"),
        (("--start", "soon"), "'soon' does not match the format"),
        (("--start", "2024-01-02", "--end", "2024-01-02"), "no days; give --start before --end"),
    ):
        done = usjp("prices", "fetch", "SPY", *words)
        assert (done.exit_code, len(done.stderr.splitlines())) == (2, 1)
        assert told in done.stderr
    assert not asked


def test_the_source_that_the_docs_show_works(usjp: Usjp, monkeypatch: pytest.MonkeyPatch) -> None:
    text = (Path(fetch.__file__).parents[2] / "docs" / "sources.md").read_text(encoding="utf-8")
    code = text.split("```python")[1].split("```")[0]
    monkeypatch.setattr(fetch, "SOURCES", {**SOURCES})
    exec(compile(code, "sources.md", "exec"), {})
    Path("vendor").mkdir()
    frame("AAA").xs("AAA", axis=1, level=1).to_csv("vendor/AAA.csv")
    words = ("AAA", "../AAA", "--start", "2024-01-02", "--end", "2024-03-28")
    done = usjp("prices", "fetch", "--source", "vendor", *words)
    assert done.exit_code == 0, done.stderr
    assert done.stderr.count("by contract: not to be passed on") == 1
    (one,) = snapshots()
    assert list(one.about["coverage"]) == ["AAA"]
    assert "left out: security ../AAA: the vendor sent no file" in done.stdout
