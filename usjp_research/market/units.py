"""Whether whole series are daily simple returns of their day: units, prices, logs, dates."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator
from dataclasses import replace

import numpy as np
import pandas as pd

from usjp_research.market.columns import Flags, Floats
from usjp_research.market.record import EVERY, Finding
from usjp_research.words import InputError

ENOUGH = 100  # days that a correlation needs
SAME = 0.9  # correlation of two benchmarks of one market; another market's next day has less
STRETCH = 60  # days that units need
NOT_TODAY, ANOTHER_DAY, AGAINST = 0.2, 0.5, -0.3  # correlations with the market
NEW_YORK = "give the date in New York, perhaps not that of a UTC stamp"
TRADING = "keep the rows of trading days, without prices filled in between"
PERCENT = 0.1  # no series has a middle day of that size in decimals
# What may stand where returns should: kind, words, what to do, and what says so.
DECLARE = "give returns, or say that the file holds prices"
PRICES = ("prices", "prices where returns should be", DECLARE, "all above zero, and persist")
GROSS = ("percent", "one plus the return", "subtract one", "all near one")
HUNDREDS = ("percent", "percent where decimals should be", "divide by 100", "by the middle day")


def whole_series(
    returns: pd.DataFrame,
    levels: pd.DataFrame | None,
    close: pd.DataFrame | None,
    benchmark: pd.Series | None,
    funds: Collection[str],
) -> list[Finding]:
    """Find series that are another thing than daily simple returns of their day."""
    if weekly := _weekly(returns if levels is None else levels):
        return [weekly]
    if levels is None:
        found = [*_units(returns), *_log_returns(returns, close)]
    else:
        found = [*_not_prices(levels)]
    if not found and benchmark is not None:
        found = _shifted(returns, benchmark)
    several = max(2, returns.shape[1] / 2)
    out: list[Finding] = []
    for kind in dict.fromkeys(item.kind for item in found):
        alike = [item for item in found if item.kind == kind]
        if len(alike) >= several:
            middle = float(np.median([item.size for item in alike]))
            witness = alike[0].witness or f"{len(alike)} of {returns.shape[1]} series"
            out.append(replace(alike[0], ticker=EVERY, size=middle, witness=witness))
        else:  # one low price that moves little, as logarithms do, may well be a firm's
            out += [item for item in alike if kind != "log" or item.ticker in funds]
    return out


def _weekly(table: pd.DataFrame) -> Finding | None:
    days = pd.DatetimeIndex(table.index[table.notna().any(axis=1)])
    gaps = np.diff(days.to_numpy("datetime64[D]").astype("int64"))
    if len(gaps) < 8 or np.median(gaps) < 4:
        return None
    step = float(np.median(gaps))
    words = "weekly data" if step < 12 else "monthly or rarer data"
    first = days[0].date()
    return Finding(EVERY, first, "weekly", step, words, "give daily ones", "by its dates")


def _series(table: pd.DataFrame) -> Iterator[tuple[str, pd.DatetimeIndex, Floats]]:
    values, days = np.ascontiguousarray(table.to_numpy("float64").T), pd.DatetimeIndex(table.index)
    known = np.isfinite(values)
    for row in np.flatnonzero(known.sum(axis=1) >= STRETCH).tolist():
        here = known[row]
        yield str(table.columns[row]), days[here], values[row, here]


def _units(returns: pd.DataFrame) -> Iterator[Finding]:
    """Find percent, prices and gross returns among what should be returns as decimals."""
    for name, days, row in _series(returns):
        sizes = np.abs(row)
        stretches = sizes[: len(row) // STRETCH * STRETCH].reshape(-1, STRETCH)
        usual, at = float(np.median(sizes)), 0
        if usual < PERCENT <= (most := np.median(stretches, axis=1)).max():
            at = STRETCH * int(np.flatnonzero(most >= PERCENT)[0])  # a stretch only
            usual = float(most[at // STRETCH])
        positive = float((row > 0).mean()) > 0.95
        if positive and usual >= 0.002 and _persistence(row) > 0.8:
            kind, words, does, sign = PRICES
        elif positive and 0.9 < usual < 1.1:
            kind, words, does, sign = GROSS
        elif usual >= PERCENT:
            kind, words, does, sign = HUNDREDS
        else:
            continue
        yield Finding(name, days[at].date(), kind, usual, words, does, sign)


def _not_prices(levels: pd.DataFrame) -> Iterator[Finding]:
    """Find returns and logarithms among what should be prices."""
    for name, days, row in _series(levels):
        steps = np.diff(row) / row[:-1]
        usual, first = float(np.median(np.abs(steps))), days[0].date()
        if usual == 0.0:
            continue
        if _persistence(row) < 0.3 and _persistence(steps) < -0.35:
            words, does = "returns where prices should be", "say that the file holds returns"
            sign = "the levels do not persist"
            yield Finding(name, first, "returns", usual, words, does, sign)
        elif row.max() < 12 and 1.5 < float(np.median(row)) < 9.5:  # as high as logarithms are
            move = float(np.median(np.abs(np.diff(row))))
            cents = float(np.mean(np.abs(row * 100 - np.round(row * 100)) < 1e-6))
            if 0.004 <= move <= 0.04 and usual < 0.005 and cents < 0.5:
                yield Finding(name, first, "log", usual, "logarithms of prices", "give prices")


def _persistence(row: Floats) -> float:
    """Correlation of a row with itself a day later; NaN when it never changes."""
    late, early = row[1:] - row[1:].mean(), row[:-1] - row[:-1].mean()
    length = math.sqrt(float(late @ late) * float(early @ early))
    return float(late @ early) / length if length > 0 and row.std() > 0 else math.nan


def _log_returns(returns: pd.DataFrame, close: pd.DataFrame | None) -> Iterator[Finding]:
    """Tell log returns from simple ones where the file has closes beside them."""
    if close is None:
        return
    moves = raw_moves(returns, close)
    given = returns.to_numpy("float64")
    use = np.isfinite(moves) & np.isfinite(given) & (np.abs(moves) > 0.02) & (moves > -1)
    if use.sum() < 20:
        return
    as_log = np.median(np.abs(given[use] - np.log1p(moves[use])))
    if as_log >= 0.1 * np.median(np.abs(given[use] - moves[use])):
        return
    day, size = returns.index[0].date(), float(np.median(np.abs(given[use])))
    does, sign = "give simple returns, or prices", "by the closes beside them"
    for name in returns.columns:
        yield Finding(str(name), day, "log", size, "log returns", does, sign)


def raw_moves(returns: pd.DataFrame, close: pd.DataFrame) -> Floats:
    """Return simple returns of closes, in the place of the returns beside them."""
    moves = close.reindex(columns=returns.columns).pct_change(fill_method=None)
    return moves.reindex(returns.index).to_numpy("float64")


def _shifted(returns: pd.DataFrame, benchmark: pd.Series) -> list[Finding]:
    """Find series that go with the market of the day before or after, and not with today's."""
    market = _scaled(benchmark.reindex(returns.index).to_frame())[0]
    rows = _scaled(returns)
    now, late, early = rows @ market, rows[:, 1:] @ market[:-1], rows[:, :-1] @ market[1:]
    best = np.maximum(late, early)
    enough = returns.notna().sum().to_numpy() >= ENOUGH
    odd = enough & (best >= 0.3) & (now <= 0.1) & (best - now >= 0.25)
    found, first = [], returns.index[0].date()
    for k in np.flatnonzero(odd).tolist():
        which = "late" if late[k] > early[k] else "early"
        words = f"dates a session {which} against the benchmark, "
        words += f"correlation {now[k]:.2f} on the same day"
        name, size = str(returns.columns[k]), float(best[k])
        found.append(Finding(name, first, "shifted", size, words, NEW_YORK))
    return found


def refuse_other_day(
    where: str, own: pd.Series, market: pd.Series, advice: str, what: str = "the market"
) -> None:
    """Refuse returns that go with a market, or with what they are of, a day apart or against it."""
    if (own.notna() & market.notna()).sum() < ENOUGH:
        return
    now, late, early = (float(market.shift(lag).corr(own)) for lag in (0, 1, -1))
    best, side = max(late, early), "late" if late > early else "early"
    turned, apart = now <= AGAINST, best >= ANOTHER_DAY and now <= NOT_TODAY
    if not (turned or apart):
        return
    dates = f"{best:.2f} a session apart: its dates are a session {side}"
    looks = "its sign is turned" if turned else dates
    seen = f"has a correlation of {now:.2f} with {what} on the same day, {looks}"
    raise InputError(f"{where} {seen}; {advice}")


def benchmark_faults(benchmark: pd.Series, known: pd.Series, *, prices: bool) -> list[Finding]:
    """Find a benchmark that is a known market of the day before or after, or its log returns.

    Another market's benchmark shows nothing here; where all dates are moved alike, this alone does.
    """
    both = pd.DataFrame({"own": benchmark, "known": known}).dropna()
    if len(both) < ENOUGH:
        return []
    first = pd.Timestamp(both.index[0]).date()
    now = both["own"].corr(both["known"])
    other = {"late": both["known"].shift(1), "early": both["known"].shift(-1)}
    alike = {which: both["own"].corr(moved) for which, moved in other.items()}
    which = max(alike, key=lambda name: alike[name])
    if now < SAME / 2 and alike[which] >= SAME:
        words, sign = f"dates a session {which}", "against the U.S. market that ships"
        return [Finding(EVERY, first, "shifted", alike[which], words, NEW_YORK, sign)]
    far = both[both["known"].abs() > 0.02]
    off = float((far["own"] - far["known"]).abs().median())
    as_log = float((far["own"] - np.log1p(far["known"])).abs().median())
    if prices or len(far) < 20 or now < SAME or as_log >= 0.6 * off:
        return []
    apart = (far["own"] - far["known"]).groupby(far["known"] > 0).median()
    if len(apart) < 2 or apart.max() >= 0:  # logs are lower on either side, a larger slope on one
        return []
    size = float(both["own"].abs().median())
    does, sign = "give simple returns, or prices", "by the U.S. market that ships"
    return [Finding(EVERY, first, "log", size, "log returns", does, sign)]


def _scaled(table: pd.DataFrame) -> Floats:
    """Series as rows about their middle and of length one, outliers bound and zero for nothing."""
    rows = np.ascontiguousarray(table.to_numpy("float64").T)
    apart = rows - middles(rows)
    bound = 6 * middles(np.abs(apart))
    bounded = np.nan_to_num(np.clip(apart, -bound, bound))
    length = np.sqrt((bounded**2).sum(axis=1, keepdims=True))
    length[length == 0] = np.inf
    return np.asarray(bounded / length)


def middles(rows: Floats) -> Floats:
    """Return the median of what is known of each row, as a column; NaN where nothing is."""
    ranked = np.sort(rows, axis=1)  # NaN last
    known = np.maximum((~np.isnan(rows)).sum(axis=1, keepdims=True), 1)
    low, high = (np.take_along_axis(ranked, k // 2, axis=1) for k in (known - 1, known))
    return np.asarray((low + high) / 2)


def stretches(rows: Flags, least: int = 1) -> list[list[int]]:
    """List runs of true in each row: the row, its first place and the one after its last."""
    steps = np.diff(np.pad(rows.astype(np.int8), ((0, 0), (1, 1))), axis=1)
    starts, ends = np.argwhere(steps == 1), np.argwhere(steps == -1)
    found = np.column_stack([starts, ends[:, 1]])
    kept: list[list[int]] = found[found[:, 2] - found[:, 1] >= least].tolist()
    return kept


def check_days(table: pd.DataFrame) -> tuple[Finding, ...]:
    """Find dates of a file that are no daily ones of New York: weekly rows, rows on weekends."""
    if weekly := _weekly(table):
        return (weekly,)
    days = pd.DatetimeIndex(table.index[table.notna().any(axis=1)])
    weekend = days[days.day_of_week >= 5]
    if len(weekend) < max(4, 0.1 * len(days)):
        return ()
    first, count = weekend[0], len(weekend)
    which = "Saturdays" if first.day_of_week == 5 else "Sundays"
    words, does = f"dates moved by a day, {count} of {len(days)} on {which}", NEW_YORK
    if len({*weekend.day_of_week}) == 2 and len({*days.day_of_week}) == 7:
        words, does = f"a row for every calendar day, {count} of {len(days)} on weekends", TRADING
    sign = "no exchange is open then"
    return (Finding(EVERY, first.date(), "shifted", float(count), words, does, sign),)
