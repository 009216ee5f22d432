"""Numbers that are hardly prices or returns: found, named, and stopped where they would mislead."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
from typer.testing import Result

import usjp_research as ur
from usjp_research.market.check import told
from usjp_research.market.record import EVERY, Finding, Market
from usjp_research.market.units import benchmark_faults, check_days
from usjp_research.study.portfolios import form_portfolios

Floats = npt.NDArray[np.float64]
Fault = Callable[[Floats, int], None]
GROUPS = {"solar": "S", "rail": "R"}
UNIVERSE = "ticker,sector\n" + "".join(
    f"{letter}{k:02d},{sector}\n" for sector, letter in GROUPS.items() for k in range(12)
)
UNIVERSE += "X00,tiny\nX01,tiny\n"  # too few for a portfolio: members of nothing
IN_WINDOW, BEFORE, ELSEWHERE = "2024-03-05", "2023-11-01", "2022-03-08"
REAL = Path(__file__).parents[3] / "shared" / "data"


@pytest.fixture(scope="module")
def clean() -> pd.DataFrame:
    """Four years of prices of 26 firms and their market on New York's sessions."""
    import exchange_calendars

    calendar = exchange_calendars.get_calendar("XNYS", start="2021-01-04", end="2024-12-31")
    days = pd.DatetimeIndex(calendar.sessions, name="date")
    draw = np.random.default_rng(11)
    market = 0.0003 + 0.01 * draw.standard_normal(len(days))
    names = [row.split(",")[0] for row in UNIVERSE.splitlines()[1:]]
    noise = 0.015 * draw.standard_normal((len(days), len(names)))
    frame = pd.DataFrame(market[:, None] + noise, index=days, columns=names)
    frame.insert(0, "us_market", market)
    return 50 * (1 + frame).cumprod()


@pytest.fixture
def mine(own: Callable[..., Path]) -> ur.Spec:
    return ur.read_spec(own(universe=UNIVERSE))


def _returns(levels: pd.DataFrame) -> pd.DataFrame:
    return levels.pct_change(fill_method=None).iloc[1:]


def _found(levels: pd.DataFrame, **more: pd.DataFrame) -> tuple[Finding, ...]:
    returns = _returns(levels)
    market = returns["us_market"]
    return ur.check_returns(returns, levels=levels, benchmark=market, funds=["us_market"], **more)


def _stops(spec: ur.Spec, levels: pd.DataFrame, found: tuple[Finding, ...] | None = None) -> str:
    """Return the message that stops a study on these prices, or nothing."""
    found = _found(levels) if found is None else found
    market = Market("file:x.csv", _returns(levels), "firm", findings=found)
    try:
        form_portfolios(spec, market, ur.event_panel(spec, market))
    except ur.InputError as error:
        return str(error)
    return ""


# --- a day ------------------------------------------------------------------------------------


def _times(factor: float, sessions: int = 1) -> Fault:
    """Multiply the prices of some sessions, or of all from then on (0)."""

    def plant(row: Floats, at: int) -> None:
        row[at : at + sessions if sessions else len(row)] *= factor

    return plant


def _exactly(ratio: float) -> Fault:
    def plant(row: Floats, at: int) -> None:
        row[at:] *= ratio * row[at - 1] / row[at]

    return plant


def _value(price: float) -> Fault:
    def plant(row: Floats, at: int) -> None:
        row[at] = price

    return plant


def _run(sessions: int) -> Fault:
    def plant(row: Floats, at: int) -> None:
        row[at : at + sessions] = row[at - 1]

    return plant


WITNESSED: dict[str, tuple[str, Fault]] = {
    "pence for a day": ("pence", _times(100)),
    "pence from then on": ("pence", _times(100, 0)),
    "pounds from then on": ("pence", _times(0.01, 0)),
    "pence for a month": ("pence", _times(100, 20)),
    "a decimal slip": ("tick", _times(10)),
    "a decimal slip downwards": ("tick", _times(0.1)),
    "thousandfold": ("pence", _times(1000)),
    "a price of 1e26": ("gap", _value(1e26)),
    "a price of a date": ("gap", _value(20250203.0)),
    "a price of 1.7e38": ("gap", _value(1.7e38)),
    "a price near nothing": ("gap", _value(1e-30)),
    "a bad tick up": ("tick", _times(1.6)),
    "a bad tick down": ("tick", _times(0.6)),
    "a wrong level for three days": ("tick", _times(2, 3)),
    "thirtyfold from then on": ("split", _times(31, 0)),
    "a wrong level for two weeks": ("split", _times(10, 10)),
    "a 10:1 split": ("split", _times(1 / 10, 0)),
    "a 20:1 split": ("split", _times(1 / 20, 0)),
    "a 1:25 reverse split": ("split", _times(25, 0)),
    "nine sessions unchanged": ("stale", _run(9)),
    "forty sessions unchanged": ("stale", _run(40)),
}
EXACT = {f"{n}:{m}": (n, m, _exactly(m / n)) for n, m in ((2, 1), (3, 1), (4, 1), (1, 2), (1, 4))}
WARNED = {
    "a fall of a third": ("jump", _exactly(0.64)),
    "a rise by two thirds": ("jump", _exactly(1.72)),
    "3:2 exactly": ("split", _exactly(2 / 3)),
    "4:3 exactly": ("split", _exactly(3 / 4)),
    "5:4 exactly": ("split", _exactly(4 / 5)),
    "digits that changed places": ("tick", _times(54.3 / 45.3)),
    "six sessions unchanged": ("stale", _run(6)),
}


def _planted(levels: pd.DataFrame, fault: Fault, name: str, day: str) -> pd.DataFrame:
    row = levels[name].to_numpy("float64").copy()
    fault(row, int(levels.index.searchsorted(pd.Timestamp(day))))
    return levels.assign(**{name: row})


def test_clean_prices_show_nothing(clean: pd.DataFrame, mine: ur.Spec) -> None:
    assert _found(clean) == ()
    assert _stops(mine, clean) == ""


@pytest.mark.parametrize("name", WITNESSED)
def test_a_fault_with_a_witness_stops_where_its_day_is_used(
    clean: pd.DataFrame, mine: ur.Spec, name: str
) -> None:
    kind, fault = WITNESSED[name]
    for day, where in (
        (IN_WINDOW, "the window of N1"),
        (BEFORE, "before N1"),
        (ELSEWHERE, "calen"),
    ):
        levels = _planted(clean, fault, "S03", day)
        found = _found(levels)
        first = next(item for item in found if item.ticker == "S03")
        assert (first.kind, str(first.day)) == (kind, day), first
        assert first.witness, first
        message = _stops(mine, levels, found)
        assert "S03" in message and day in message and where in message
        assert first.looks_like in message and "accepted.csv" in message
        assert len(message) <= 300 and "\n" not in message
    assert _stops(mine, _planted(clean, fault, "X00", IN_WINDOW)) == ""
    assert _stops(mine, _planted(clean, fault, "us_market", IN_WINDOW))


@pytest.mark.parametrize("name", EXACT)
def test_an_exact_split_stops_in_windows_only(
    clean: pd.DataFrame, mine: ur.Spec, name: str
) -> None:
    *_, fault = EXACT[name]
    for day in (IN_WINDOW, BEFORE):
        levels = _planted(clean, fault, "R05", day)
        found = _found(levels)
        assert [(item.kind, item.exact) for item in found] == [("split", True)]
        assert name in found[0].looks_like
        assert "R05" in _stops(mine, levels)
    assert _found(_planted(clean, fault, "R05", ELSEWHERE))
    assert _stops(mine, _planted(clean, fault, "R05", ELSEWHERE)) == ""
    assert _stops(mine, _planted(clean, fault, "X01", IN_WINDOW)) == ""


@pytest.mark.parametrize("name", WARNED)
def test_a_large_move_alone_is_listed_and_stops_nothing(
    clean: pd.DataFrame, mine: ur.Spec, name: str
) -> None:
    kind, fault = WARNED[name]
    levels = _planted(clean, fault, "S03", IN_WINDOW)
    assert [(item.ticker, item.kind, item.witness) for item in _found(levels)] == [
        ("S03", kind, "")
    ]
    assert _stops(mine, levels) == ""


@pytest.mark.parametrize("ratio", [0.49, 0.51, 0.34, 1.97])
def test_a_split_that_moved_with_its_day_s_news_stops_in_an_event_window_alone(
    clean: pd.DataFrame, mine: ur.Spec, ratio: float
) -> None:
    message = _stops(mine, _planted(clean, _exactly(ratio), "S03", IN_WINDOW))
    assert "S03" in message and "split not applied" in message and "accepted.csv" in message
    for day in (BEFORE, ELSEWHERE):
        levels = _planted(clean, _exactly(ratio), "S03", day)
        assert [(item.kind, item.exact) for item in _found(levels)] == [("split", False)]
        assert _stops(mine, levels) == ""


def test_the_raw_close_is_a_witness(clean: pd.DataFrame, mine: ur.Spec) -> None:
    levels = _planted(clean, _times(0.8, 0), "S03", IN_WINDOW)  # 5:4, small for a split
    assert (
        _stops(mine, levels, _found(levels, close=levels)) == ""
    )  # the raw close fell too: perhaps news
    assert "the raw close moved" in _stops(mine, levels, _found(levels, close=clean))
    split = _planted(clean, _times(0.1, 0), "S03", IN_WINDOW)  # as it should be
    assert _stops(mine, clean, _found(clean, close=split)) == ""
    assert ur.check_returns(_returns(clean), levels=clean, close=split) == ()


def test_several_faults_are_counted_in_one_line(clean: pd.DataFrame, mine: ur.Spec) -> None:
    levels = _planted(clean, _times(100), "S03", IN_WINDOW)
    for name in ("S04", "R01"):
        levels = _planted(levels, _times(10), name, "2023-10-16")
    message = _stops(mine, levels)
    assert message.endswith("(and 2 more)") and message.startswith("file:x.csv: S03 2024-03-05")


def test_accepted_days_pass_and_idle_rows_are_listed(
    clean: pd.DataFrame, own: Callable[..., Path], tmp_path: Path
) -> None:
    path = tmp_path / "x.csv"
    _planted(clean, _times(10), "S03", IN_WINDOW).to_csv(path)
    spec = ur.read_spec(own(universe=UNIVERSE))
    market = ur.load_market(spec, f"file:{path}")
    with pytest.raises(ur.InputError, match="S03 2024-03-05"):
        form_portfolios(spec, market, ur.event_panel(spec, market))
    rows = "ticker,date,reason\nS03,2024-03-05,seen on the tape\nS04,2024-03-05,no need\n"
    allowed = ur.read_spec(own(universe=UNIVERSE, accepted=rows))
    assert ur.digest(allowed) != ur.digest(spec)
    market = ur.load_market(allowed, f"file:{path}")
    form_portfolios(allowed, market, ur.event_panel(allowed, market))
    assert market.findings[0].accepted == "seen on the tape"
    assert "accepted: seen on the tape" in market.findings[0].line()
    idle = [item.name for item in market.dropped if item.what == "accepted.csv"]
    assert idle == ["S04 2024-03-05"]
    for bad, told_ in (("S03,2024-3-5,x", "YYYY-MM-DD"), ("S03,2024-03-05,", "reason")):
        with pytest.raises(ur.InputError, match=told_):
            ur.read_spec(own(universe=UNIVERSE, accepted=f"ticker,date,reason\n{bad}\n"))


def test_the_command_lists_findings_and_ends_with_two(
    clean: pd.DataFrame, own: Callable[..., Path], usjp: Callable[..., Result], tmp_path: Path
) -> None:
    path = tmp_path / "x.csv"
    levels = _planted(clean, _times(100), "S03", IN_WINDOW)
    for k in range(10):
        levels = _planted(levels, _exactly(0.6), f"R{k:02d}", f"2022-03-{10 + k}")
    levels.to_csv(path)
    words = ("study", "--params", own(universe=UNIVERSE), "--market", f"file:{path}", "--no-pages")
    done = usjp(*words)
    assert done.exit_code == 2
    listed = [line for line in done.stderr.splitlines() if line.startswith("Check:")]
    assert len(listed) == 9 and "S03" in listed[0] and listed[-1] == "Check: and 3 more: 3 jump"
    assert done.stderr.splitlines()[-1].startswith("usjp: file:x.csv: S03 2024-03-05: +99")
    assert not list(Path("outputs").glob("*/results/*"))


def test_a_row_copied_from_the_day_before_is_named(clean: pd.DataFrame, mine: ur.Spec) -> None:
    levels = clean.copy()
    levels.loc[IN_WINDOW] = levels.shift(1).loc[IN_WINDOW]
    assert [(item.ticker, item.kind) for item in _found(levels)] == [(EVERY, "stale")]
    assert "the day before copied" in _stops(mine, levels)


def test_history_before_since_is_not_judged(
    clean: pd.DataFrame, own: Callable[..., Path], tmp_path: Path
) -> None:
    path = tmp_path / "x.csv"
    _planted(clean, _times(100), "S03", ELSEWHERE).to_csv(path)
    spec = ur.read_spec(own(universe=UNIVERSE, study="since: 2022-06-01\n"))
    assert ur.load_market(spec, f"file:{path}").findings == ()


# --- whole series -----------------------------------------------------------------------------


def _log(frame: pd.DataFrame) -> pd.DataFrame:
    return pd.DataFrame(np.log(frame.to_numpy("float64")), frame.index, frame.columns)


def _whole(returns: pd.DataFrame, **more: pd.DataFrame) -> tuple[str, str]:
    market, funds = returns["us_market"], ["us_market"]
    first = ur.check_returns(returns, benchmark=market, funds=funds, **more)[0]
    assert first.witness or first.ticker != EVERY
    return first.ticker, first.kind


def test_units_are_told_for_the_whole_file(clean: pd.DataFrame) -> None:
    returns = _returns(clean)
    assert _whole(returns * 100) == (EVERY, "percent")
    assert _whole(returns + 1) == (EVERY, "percent")
    assert _whole(clean) == (EVERY, "prices")
    assert _whole(clean / 500) == (EVERY, "prices")
    assert _whole(_log(1 + returns), close=clean) == (EVERY, "log")
    assert _whole(returns, levels=_log(clean)) == (EVERY, "log")
    assert _whole(_returns(1 + returns), levels=1 + returns) == (EVERY, "returns")
    assert ur.check_returns(returns, close=clean, benchmark=returns["us_market"]) == ()
    rebased = clean / clean.iloc[0]
    assert _found(rebased) == () and _found(rebased * 8) == ()


def test_one_series_in_other_units_is_named_and_stops(clean: pd.DataFrame, mine: ur.Spec) -> None:
    returns = _returns(clean)
    returns["S03"] *= 100
    found = ur.check_returns(returns, benchmark=returns["us_market"])
    assert [(item.ticker, item.kind) for item in found] == [("S03", "percent")]
    market = Market("file:x.csv", returns, "firm", findings=found)
    with pytest.raises(ur.InputError, match=r"S03.*percent where decimals should be"):
        form_portfolios(mine, market, ur.event_panel(mine, market))


def test_a_stretch_in_percent_is_named_with_its_first_day(clean: pd.DataFrame) -> None:
    returns = _returns(clean)
    returns.loc["2024-01-02":, "S03"] *= 100
    found = ur.check_returns(returns, benchmark=returns["us_market"])
    assert [(item.ticker, item.kind) for item in found] == [("S03", "percent")]
    assert abs((pd.Timestamp(found[0].day) - pd.Timestamp("2024-01-02")).days) < 90


@pytest.mark.parametrize("step", [5, 21])
def test_data_that_are_not_daily_are_refused(clean: pd.DataFrame, step: int) -> None:
    assert _found(clean.iloc[::step])[0].kind == "weekly"
    sparse = clean.copy()
    sparse.iloc[np.arange(len(sparse)) % step != 0] = np.nan
    assert _found(sparse)[0].kind == "weekly"


@pytest.mark.parametrize("by", [-1, 1])
def test_dates_shifted_against_the_benchmark_are_told(
    clean: pd.DataFrame, mine: ur.Spec, by: int
) -> None:
    moved = clean.drop(columns="us_market").shift(by).assign(us_market=clean["us_market"])
    every = _found(moved)
    assert [(item.ticker, item.kind) for item in every] == [(EVERY, "shifted")]
    assert ("early" if by < 0 else "late") in every[0].looks_like
    one = clean.assign(S03=clean["S03"].shift(by))
    found = [item for item in _found(one) if item.kind == "shifted"]
    assert [(item.ticker, item.witness) for item in found] == [("S03", "")]
    assert _stops(mine, one) == ""  # a firm that trades in another zone looks the same


def test_a_file_with_a_fault_in_every_series_is_not_read(
    clean: pd.DataFrame, own: Callable[..., Path], tmp_path: Path
) -> None:
    spec = ur.read_spec(own(universe=UNIVERSE))
    utc = clean.set_axis(clean.index + pd.Timedelta(days=1))
    filled = clean.resample("D").ffill()
    cases: dict[str, pd.DataFrame] = {
        "daily": clean.iloc[::5],
        "logarithms": _log(clean),
        "dates moved by a day, .* Saturdays": utc,
        "a row for every calendar day, .*; keep the rows of trading days": filled,
        "a session late": clean.assign(us_market=clean["us_market"].shift(-1)).iloc[:-1],
    }
    for told_, frame in cases.items():
        path = tmp_path / "x.csv"
        frame.rename_axis("date").to_csv(path)
        with pytest.raises(ur.InputError, match=told_) as caught:
            ur.load_market(spec, f"file:{path}")
        assert len(str(caught.value).replace(str(path), "x.csv")) <= 300


def test_a_file_moved_as_a_whole_or_in_logarithms_is_told_by_the_market_that_ships() -> None:
    known = ur.load_market(ur.read_spec(), "bundled").returns["us_market"]
    noise = np.random.default_rng(4).normal(0, 2e-4, len(known))  # of another close of one index

    def told(own: pd.Series, *, prices: bool = False) -> list[tuple[str, str]]:
        found = benchmark_faults(own, known, prices=prices)
        return [(item.kind, item.looks_like) for item in found]

    assert told(known + noise) == told(known + noise, prices=True) == []
    assert told(known.shift(1) + noise) == [("shifted", "dates a session late")]
    assert told(known.shift(-1) + noise, prices=True) == [("shifted", "dates a session early")]
    assert told(np.log1p(known) + noise) == [("log", "log returns")]
    for slope in (0.97, 0.98, 1.02, 1.03):  # of another index of the same market
        assert told(slope * known) == told(slope * known + noise / 4) == []
    abroad = 0.6 * known.shift(1) + np.random.default_rng(5).normal(0, 0.008, len(known))
    assert told(abroad) == told(known[:90].shift(1)) == []  # follows it a day later; too short


def test_a_few_weekend_rows_do_not_make_shifted_dates(clean: pd.DataFrame) -> None:
    assert check_days(clean) == ()
    some = clean.rename(index={day: day + pd.Timedelta(days=1) for day in clean.index[4:500:50]})
    assert check_days(some) == ()
    every = check_days(clean.set_axis(pd.DatetimeIndex(clean.index) - pd.Timedelta(days=1)))
    assert [(item.kind, "Sundays" in item.looks_like) for item in every] == [("shifted", True)]


# --- what must not stop -----------------------------------------------------------------------

DAYS = pd.bdate_range("2021-01-04", periods=1000)
BETA = np.linspace(0.6, 1.4, 24)
Draw = Callable[[np.random.Generator, Floats], Floats]


def _heavy(draw: np.random.Generator, market: Floats) -> Floats:
    noise = 0.018 / np.sqrt(3) * draw.standard_t(3, (len(market), len(BETA)))
    return np.asarray(np.expm1(market[:, None] * BETA + noise))


def _rounded(levels: Floats) -> Floats:
    cents = np.maximum(np.round(levels, 2), 0.01)
    return np.asarray(np.vstack([levels[:1] * 0 + 0.01, cents[1:] / cents[:-1] - 1]))


def _pennies(draw: np.random.Generator, market: Floats) -> Floats:
    moves = market[:, None] * BETA + 0.05 * draw.standard_normal((len(market), len(BETA)))
    return _rounded(draw.uniform(0.02, 1.5, len(BETA)) * np.exp(moves.cumsum(axis=0)))


def _thin(draw: np.random.Generator, market: Floats) -> Floats:
    moves = market[:, None] * BETA + 0.02 * draw.standard_normal((len(market), len(BETA)))
    levels = 20 * np.exp(moves.cumsum(axis=0))
    asleep = draw.random(levels.shape) < draw.uniform(0.1, 0.9, len(BETA))
    return _rounded(pd.DataFrame(np.where(asleep, np.nan, levels)).ffill().bfill().to_numpy())


def _offers(draw: np.random.Generator, market: Floats) -> Floats:
    moves = market[:, None] * BETA + 0.02 * draw.standard_normal((len(market), len(BETA)))
    for column in range(len(BETA)):
        at = int(draw.integers(200, 900))
        flat = 50 * np.exp((0.0008 * draw.standard_normal((len(market) - at, 1))).cumsum(axis=0))
        moves[at:, column] = _rounded(flat)[:, 0]
        moves[at, column] = (0.3, 0.7, 1.0, 2.0)[column % 4] + 0.001 * draw.standard_normal()
    return moves


def _trials(draw: np.random.Generator, market: Floats) -> Floats:
    moves = market[:, None] * BETA + 0.02 * draw.standard_normal((len(market), len(BETA)))
    for column in range(len(BETA)):
        at = int(draw.integers(200, 900))
        moves[at:, column] *= 1 + 4 * np.exp(-np.arange(len(market) - at) / 40)
        moves[at, column] = (-0.66, -0.4, -0.55, 0.9)[column % 4]
        moves[at + 1, column] = draw.normal(0, 0.15)
    return moves


def _holes(draw: np.random.Generator, market: Floats) -> Floats:
    moves = _heavy(draw, market)
    moves[:400, :6], moves[700:, 6:12] = np.nan, np.nan  # listed late, delisted
    moves[300:340, 12:18], moves[340, 12:18] = np.nan, -0.45  # halted, then news
    moves[::50] = np.nan  # days that the vendor does not have
    return moves


def _jumps_back(draw: np.random.Generator, market: Floats) -> Floats:
    moves = market[:, None] * BETA + 0.08 * draw.standard_normal((len(market), len(BETA)))
    moves[500], moves[501] = -0.3247, 0.4451  # a miner's two days, within its habits
    return np.maximum(moves, -0.6)


HARMLESS: Sequence[Draw] = (_heavy, _pennies, _thin, _offers, _trials, _holes, _jumps_back)


def _witnessed(make: Draw, seed: int) -> list[Finding]:
    draw = np.random.default_rng(seed)
    market = 0.0004 + 0.01 * draw.standard_normal(len(DAYS))
    frame = pd.DataFrame(make(draw, market), DAYS, [f"T{k}" for k in range(len(BETA))])
    found = ur.check_returns(frame, benchmark=pd.Series(market, DAYS))
    return [item for item in found if item.witness or item.exact]


@pytest.mark.parametrize("make", HARMLESS, ids=lambda make: make.__name__.strip("_"))
def test_real_life_carries_no_witness(make: Draw) -> None:
    assert [item for seed in range(3) for item in _witnessed(make, seed)] == []


@pytest.mark.soak
@pytest.mark.parametrize("make", HARMLESS, ids=lambda make: make.__name__.strip("_"))
def test_real_life_carries_no_witness_in_two_hundred_markets(make: Draw) -> None:
    found = [item for seed in range(200) for item in _witnessed(make, 1000 + seed)]
    # In five million days, t(3) falls by seven eighths, between quiet days, about once by chance.
    assert len(found) <= (2 if make in (_heavy, _holes) else 0), [item.line() for item in found]


@pytest.mark.parametrize("name", ["prices_core", "prices_sp500"])
def test_no_real_series_carries_a_witness(name: str) -> None:
    path = REAL / f"{name}.parquet"
    if not path.is_file():
        pytest.skip("needs the price files, which are not shipped")
    table = pd.read_parquet(path)
    levels = table.pivot(index="date", columns="ticker", values="adj_close")
    close = (
        table.pivot(index="date", columns="ticker", values="close") if "close" in table else None
    )
    returns = _returns(levels)
    found = ur.check_returns(returns, levels=levels, close=close, benchmark=returns.mean(axis=1))
    assert [item.line() for item in found if item.witness or item.exact] == []
    assert found  # jumps are listed


# --- battery and donors -----------------------------------------------------------------------


@pytest.fixture
def battery(
    clean: pd.DataFrame, tmp_path: Path, usjp: Callable[..., Result]
) -> Callable[..., Result]:
    """Run the battery on returns with one value planted, or on another table."""
    firms = [f"S{k:02d}" for k in range(6)]
    groups = tmp_path / "six.csv"
    groups.write_text("firm,sector\n" + "".join(f"{firm},a\n" for firm in firms))
    words = (f"--groups={groups}", "--benchmark=us_market", f"--event={IN_WINDOW}")

    def run(value: float | None = None, day: str = IN_WINDOW, table: bool = False) -> Result:
        frame = (clean / 500 if table else _returns(clean))[["us_market", *firms]].iloc[:900]
        if value is not None:
            frame.loc[day, "S03"] = value
        frame.to_csv(tmp_path / "r.csv")
        return usjp("battery", tmp_path / "r.csv", *words, "--estimation=-250,-11")

    return run


@pytest.mark.parametrize("value", [99.0, -0.5])
def test_the_battery_refuses_returns_that_are_none(
    battery: Callable[..., Result], value: float
) -> None:
    for day in (IN_WINDOW, BEFORE):
        done = battery(value, day)
        assert done.exit_code == 2
        assert f"S03 {day}" in done.stderr.splitlines()[-1] and not done.stdout
    outside = battery(value, "2021-06-01")
    assert outside.exit_code == 0 and "Check: S03 2021-06-01" in outside.stderr


def test_the_battery_refuses_prices_and_passes_what_is_right(
    battery: Callable[..., Result],
) -> None:
    done = battery(table=True)
    assert done.exit_code == 2 and "not prices" in done.stderr
    right, large = battery(), battery(-0.45)
    assert right.exit_code == large.exit_code == 0
    assert "Check" not in right.stderr and "a large move" in large.stderr
    assert "; listed" in large.stderr and "fix the file" not in large.stderr


# --- shown ------------------------------------------------------------------------------------


def test_the_table_of_findings_says_what_to_do_or_that_there_is_none(clean: pd.DataFrame) -> None:
    market = Market("file:x.csv", _returns(clean), "firm")
    assert "nothing looks wrong" in ur.table("findings", market).to_string()
    averages = replace(market, level="portfolio")
    assert "no single price" in ur.table("findings", averages).to_string()
    levels = _planted(clean, _times(100), "S03", IN_WINDOW)
    table = ur.table("findings", replace(market, findings=_found(levels)))
    assert list(table.columns) == ["Series", "First day", "Size", "Looks like", "What to do"]
    assert table.iloc[0]["Series"] == "S03" and "accepted.csv" in table.iloc[0]["What to do"]


def test_a_long_list_is_counted_by_kind(clean: pd.DataFrame) -> None:
    levels = clean
    for k in range(12):
        levels = _planted(levels, _exactly(0.6), f"S{k:02d}", f"2022-03-{10 + k}")
    lines = told(_found(levels), most=5)
    assert len(lines) == 6 and lines[-1] == "and 7 more: 7 jump"


def test_a_day_that_most_series_shared_is_no_bad_price(clean: pd.DataFrame) -> None:
    at = clean.index.searchsorted(pd.Timestamp(IN_WINDOW))
    some = np.where(np.isin(np.arange(len(clean)), [at, at + 1, at + 2]), 0.82, 1.0)
    alone = clean.assign(S03=clean["S03"] * some)
    (item,) = _found(alone)
    assert (item.kind, item.witness) == ("tick", "")
    assert item.looks_like == "a move and back, perhaps a bad price"
    others = clean.mul(np.where(some < 1, 0.93, 1.0), axis=0)
    assert _found(others.assign(S03=alone["S03"])) == ()  # as when tariffs came, and went


def test_a_market_that_moves_without_its_firms_has_a_witness(clean: pd.DataFrame) -> None:
    day = pd.Timestamp(IN_WINDOW)
    split = clean.copy()
    split.loc[: day - pd.Timedelta(days=1), "us_market"] *= 2
    (item,) = _found(split)
    assert (item.ticker, item.kind, item.day) == ("us_market", "split", day.date())
    assert item.witness.startswith("the middle firm moved")
    crash = clean.copy()
    crash.loc[day:] *= 0.5  # firms and all: a large move alone
    assert not any(i.witness for i in _found(crash) if i.ticker == "us_market")
    one = clean.copy()
    one.loc[: day - pd.Timedelta(days=1), "S03"] *= 2
    assert not any(item.witness for item in _found(one))


def test_one_of_the_funds_that_split_stops_a_study(
    clean: pd.DataFrame, own: Callable[..., Path], tmp_path: Path
) -> None:
    funds = clean.rename(columns={"us_market": "F1"}).assign(F2=clean["us_market"] + 0.01)
    funds.loc[:ELSEWHERE, "F1"] *= 2
    funds.to_csv(tmp_path / "prices.csv")
    rule = "since: 2021-01-04\nbenchmark: [F1, F2]\n"
    mine = ur.read_spec(own(universe=UNIVERSE, study=rule))
    market = ur.load_market(mine, f"file:{tmp_path / 'prices.csv'}")
    with pytest.raises(ur.InputError, match=r"F1 .*2:1 split.*the middle firm moved"):
        form_portfolios(mine, market, ur.event_panel(mine, market))


def test_a_series_under_two_names_is_named(clean: pd.DataFrame) -> None:
    (item,) = _found(clean.assign(S04=3 * clean["S03"]))
    assert (item.ticker, item.kind, item.witness) == ("S04", "twin", "")
    assert "looks like S03 under another name" in item.line()
    days = range(len(clean))
    for growth in (1.0, 1.01):  # whatever else is said of them, they are no twins
        alike = pd.Series([growth**k for k in days], clean.index)
        found = _found(clean.assign(S03=alike, S04=alike))
        assert not any(item.kind == "twin" for item in found)


def test_a_market_in_logarithms_beside_prices_is_named(clean: pd.DataFrame) -> None:
    (item,) = _found(clean.assign(us_market=np.log(clean["us_market"])))
    assert (item.ticker, item.kind) == ("us_market", "log")


def test_a_move_that_nothing_else_confirms_is_not_told_to_be_mended() -> None:
    alone = Finding("AAA", pd.Timestamp("2024-03-05").date(), "jump", -0.24, "a large move")
    assert "listed only" in alone.line() and "fix the file" not in alone.line()
    for sure in (replace(alone, witness="the raw close did not move"), replace(alone, exact=True)):
        assert "fix the file" in sure.line()


def test_a_table_that_is_in_no_order_is_refused_and_an_empty_one_has_no_findings() -> None:
    days = pd.bdate_range("2024-01-02", periods=90)
    draw = np.random.default_rng(3).standard_normal((90, 2))
    returns = pd.DataFrame(0.01 * draw, days, ["S01", "S02"])
    for wrong, fault in {
        "days must ascend": returns.iloc[::-1],
        "each once": pd.concat([returns, returns.iloc[-1:]]),
        "a series stands there twice": returns.set_axis(["S01", "S01"], axis=1),
    }.items():
        with pytest.raises(ur.InputError, match=wrong):
            ur.check_returns(fault)
    assert ur.check_returns(returns.iloc[:0]) == () == ur.check_returns(returns[[]])
