"""Whether a market's numbers can be what they say: splits, pence, bad ticks, stale runs."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from usjp_research.market.columns import Flags, Floats, check_frame
from usjp_research.market.record import EVERY, KINDS, Dropped, Finding
from usjp_research.market.units import middles, raw_moves, stretches, whole_series
from usjp_research.spec.records import Accepted
from usjp_research.words import InputError, percent

DOWN, UP = -0.30, 0.40  # a move beyond these in a day is listed
LOOKED_AT = (0.08, 0.18)  # log moves from which a day is looked at, of calm and of wild series
WHOLE_SPLITS = (2, 3, 4, 5, 6, 7, 8, 10, 12, 15, 20, 25, 30, 40, 50)
SPLITS = (*((many, 1) for many in WHOLE_SPLITS), (5, 4), (4, 3), (3, 2), (5, 2))
UNEVEN_NEAR = 0.01
EXACT = 0.002
MOST_DAYS = 50  # of a series that are looked at, the largest
LARGE_SPLIT = 8  # from here on quiet days on both sides are witness enough
ALIKE = 2.0  # days after news are wilder than those before, days after an offer quieter
COARSE = 0.25  # share of days without a move from which exact ratios and runs say nothing
ODD = 10.0  # moves of the days around, from which a move is out of the ordinary
BACK = 0.12  # log move from which the way back is a witness
DECIMAL_SLIP = 2.0  # log move, sevenfold: no bound by the series' own largest moves
LOST = math.log(1e-9)
NEVER = math.log(20.0)  # no listed price rises twentyfold in a day
ABSURD = math.log(1000.0)  # in either direction
RUN_LISTED, RUN_STOPS = 5, 8
TICKS = 0.08  # usual move of a price that has no finer steps
NO_TRADE = "leave the cells empty where there was no trade, or accept it in accepted.csv"
LATE = 5  # sessions
TWINS = 60  # days on which two series moved, and moved alike
ALONE, APART = 0.15, 4.0  # a market's move, and how many times the firms' it is, from which
FEWEST = 5  # firms have it that it is none


def check_returns(
    returns: pd.DataFrame,
    *,
    levels: pd.DataFrame | None = None,
    close: pd.DataFrame | None = None,
    benchmark: pd.Series | None = None,
    funds: Collection[str] = (),
) -> tuple[Finding, ...]:
    """Look for numbers that are hardly returns, or not those of their day.

    A move is judged by the days around it, and alone is only listed; it carries a witness where
    something else says that it is no price: the raw close did not move, the old level is back
    within days, the gap is one of pence for pounds or none that a price can make, a large split's
    ratio is met between days as quiet as each other, or the market moved and no firm did.

    Parameters
    ----------
    returns : DataFrame of shape (n_days, n_series)
        Simple returns as decimals, NaN where missing.
    levels, close : DataFrame, optional
        Adjusted prices that the returns come from, none of a file of returns; and raw closes.
    benchmark : Series of shape (n_days,), optional
        The market's returns, the mean of ``funds``; all other series are firms.

    Returns
    -------
    tuple of Finding
        The heaviest first: whole files, then those with a witness, then by size.
    """
    check_frame(returns, "the returns")
    if returns.empty:
        return ()
    whole = whole_series(returns, levels, close, benchmark, funds)
    if every := tuple(item for item in whole if item.ticker == EVERY):
        return every
    odd = {item.ticker for item in whole if item.kind != "shifted"}
    rest = returns[[name for name in returns.columns if name not in odd]]
    found = [*whole, *_moves(rest, close), *_runs(rest, benchmark), *_ends(rest), *_twins(rest)]
    firms = returns.drop(columns=[*funds])
    found = [_beside(item, firms) if item.ticker in funds else item for item in found]
    return tuple(sorted(found, key=_weight))


def refuse_file(where: str, findings: Iterable[Finding]) -> None:
    """Refuse a file whose series all share a fault that nobody accepted."""
    for item in findings:
        if item.ticker == EVERY and item.witness and not item.accepted and item.kind != "stale":
            raise InputError(f"{where}: {item.line()}")


def accept(
    findings: Iterable[Finding], accepted: Sequence[Accepted]
) -> tuple[tuple[Finding, ...], tuple[Dropped, ...]]:
    """Mark what the user accepts, and list the rows of ``accepted.csv`` that meet nothing."""
    used, marked = set(), []
    for item in findings:
        last = item.until or item.day
        rows = [a for a in accepted if a.ticker == item.ticker and item.day <= a.day <= last]
        used.update(rows)
        marked.append(replace(item, accepted=rows[0].reason) if rows else item)
    unused = (f"{row.ticker} {row.day}" for row in accepted if row not in used)
    reason = "nothing looks wrong there; not needed"
    return tuple(marked), tuple(Dropped("accepted.csv", name, reason) for name in unused)


def doubtful(findings: Iterable[Finding], what: str) -> tuple[Dropped, ...]:
    """List series that are left out because a finding on them has a witness, or is exact."""
    first = {item.ticker: item for item in reversed([*findings]) if item.witness or item.exact}
    first.pop(EVERY, None)
    said = ((name, f"{item.day}: {item.measure}: {item.words}") for name, item in first.items())
    return tuple(Dropped(what, name, words) for name, words in said)


def told(findings: Sequence[Finding], most: int = 8) -> list[str]:
    """Say the heaviest findings in a line each, and count the rest by what they look like."""
    lines = [item.line() for item in findings[:most]]
    rest = [item.kind for item in findings[most:]]
    if rest:
        counts = (f"{rest.count(kind)} {kind}" for kind in dict.fromkeys(rest))
        lines.append(f"and {len(rest)} more: {', '.join(counts)}")
    return lines


def _weight(item: Finding) -> tuple[float, ...]:
    rank = 0 if item.ticker == EVERY else 1 if item.witness else 2 if item.exact else 3
    moves = not KINDS[item.kind]
    size = min(abs(math.log(max(1 + item.size, 1e-300))), ABSURD) if moves else abs(item.size)
    return rank, [*KINDS].index(item.kind), -round(size), item.day.toordinal()


@dataclass(frozen=True, slots=True)
class _Move:
    """One large log move of a series, the way back if there is one, and what stands around."""

    size: float
    raw: float  # the raw close's log move that day, NaN where there is none
    most: float  # what the largest half percent of the series' own moves reach
    others: float  # the middle series' move that day, NaN of a few
    sessions: int  # to the first large move within five days if it is an opposite one, or 0
    back: float  # that move
    left: float  # what both and the days between come to
    unit: float  # a usual day's move, the larger of both sides
    unlike: bool  # the days after are known to be wilder or quieter than those before
    quiet: bool  # days on both sides are known and alike, as they are around a split
    coarse: bool  # so few different prices that ratios are whole numbers by themselves

    @property
    def odd(self) -> bool:
        """Whether it is out of the ordinary for the days around."""
        return abs(self.size) >= ODD * self.unit

    @property
    def shared(self) -> bool:
        """Whether the middle series moved the same way, by a quarter of it or more."""
        return self.others * math.copysign(APART, self.size) >= abs(self.size)


def _move(row: Floats, at: int, large: Flags, usual: float, **known_of: float) -> _Move:
    after = slice(at + 1, at + 6)
    stops = np.flatnonzero(large[after] | ~np.isfinite(row[after]))
    end = at + 1 + int(stops[0]) if len(stops) else at
    end = end if row[end] * row[at] < 0 else at
    left, right = np.abs(row[max(0, at - 60) : at]), np.abs(row[end + 1 : end + 41])
    known = np.concatenate([left, right])
    known = known[np.isfinite(known)]
    before, later = _middle(left[left > 0][-40:]), _middle(right[right > 0][:20])
    if math.isnan(before) and math.isnan(later):
        before = usual
    unlike = later > ALIKE * before or before > ALIKE * later
    return _Move(
        **known_of,
        size=float(row[at]),
        sessions=end - at,
        back=float(row[end]),
        left=abs(float(row[at : end + 1].sum())),
        unit=float(np.nanmax([0.003, before, later])),
        unlike=unlike,
        quiet=not (unlike or math.isnan(before + later)),
        coarse=len(known) > 0 and float((known == 0).mean()) >= COARSE,
    )


def _middle(moves: Floats) -> float:
    """Usual size of moves, NaN where fewer than five are known."""
    return 1.4826 * float(np.median(moves)) if len(moves) >= 5 else math.nan


def _moves(returns: pd.DataFrame, close: pd.DataFrame | None) -> Iterator[Finding]:
    logs = _logs(returns.to_numpy("float64"))
    raw = np.full(logs.shape, np.nan) if close is None else _logs(raw_moves(returns, close))
    sizes = np.abs(logs)
    usual = 1.4826 * middles(np.where(sizes > 0, sizes, np.nan))[:, 0]
    scale = np.nan_to_num(usual)
    least = np.maximum(np.clip(8 * scale, *LOOKED_AT), np.minimum(4 * scale, ABSURD))
    days = pd.DatetimeIndex(returns.index)
    others = np.where(np.isfinite(logs).sum(axis=0) >= FEWEST, middles(logs.T)[:, 0], np.nan)
    with np.errstate(invalid="ignore"):
        large = sizes >= least[:, None]
    for column in np.flatnonzero(large.any(axis=1)).tolist():
        row, name = logs[column], str(returns.columns[column])
        known = np.sort(sizes[column][np.isfinite(sizes[column])])
        most = float(known[-min(len(known), int(0.005 * len(known)) + 4)])
        done, there = -1, np.flatnonzero(large[column])
        largest = np.argsort(-sizes[column][there], kind="stable")[:MOST_DAYS]
        for at in np.sort(there[largest]).tolist():
            if at <= done:
                continue
            more = {"raw": float(raw[column][at]), "most": most, "others": float(others[at])}
            move = _move(row, at, large[column], float(usual[column]), **more)
            item = _judge(name, days[at : at + 6], move)
            if item is not None:
                yield item
                done = at + move.sessions if item.until else at


def _beside(item: Finding, firms: pd.DataFrame) -> Finding:
    """Give a large move of the market itself a witness where the firms did not make it."""
    if item.witness or item.kind not in ("split", "jump") or abs(item.size) < ALONE:
        return item
    moves = firms.loc[pd.Timestamp(item.day)].dropna().to_numpy("float64")
    middle = float(np.median(moves)) if len(moves) >= FEWEST else math.inf
    if abs(middle) * APART > abs(item.size):
        return item
    return replace(item, witness=f"the middle firm moved {percent(middle)}")


def _judge(name: str, days: pd.DatetimeIndex, move: _Move) -> Finding | None:
    size = math.expm1(min(move.size, 600.0))
    kind, words, exact, witness = _shape(move)
    until = None
    if move.sessions and _is_back(move):
        until = days[move.sessions].date()
        far, own = min(abs(move.size), abs(move.back)), 4 if move.sessions == 1 else 6
        beyond_habit = far >= own * move.most and not (move.coarse or move.unlike)
        if far >= DECIMAL_SLIP or beyond_habit:
            span = "the next day" if move.sessions == 1 else f"after {move.sessions} sessions"
            witness = f"the old level is back {span}"
        if kind not in ("pence", "gap"):
            words = "a bad price" if witness else "a move and back, perhaps a bad price"
            kind, exact = "tick", False
    elif abs(move.raw) <= min(0.15, abs(move.size) / 2):
        witness = f"the raw close moved {percent(math.expm1(move.raw))}"
        words = "an adjustment on the wrong day" if kind == "jump" else words
    usual = kind == "jump" or (kind == "tick" and move.shared)
    if usual and not witness and DOWN < size < UP:
        return None
    day = days[0].date()
    return Finding(name, day, kind, size, words, witness=witness, exact=exact, until=until)


def _shape(move: _Move) -> tuple[str, str, bool, str]:
    """Return what a move looks like by its size: kind, words, an exact split, a witness."""
    far = abs(move.size)
    for power in (2, 3):
        if abs(far - power * math.log(10)) <= max(0.15, min(4 * move.unit, 0.3)) and move.odd:
            times, up = 10**power, move.size > 0
            words = f"pence for pounds (x{times})" if up else f"pounds for pence (1/{times})"
            return "pence", words, False, f"a gap of x{times}"
    found, words, off = _split(move)
    never = "no price moves that far in a day"
    if far >= ABSURD or (move.size >= NEVER and move.odd and not found):
        return "gap", "no price", False, never
    if not found or not move.odd:
        return "jump", "a large move, perhaps news", False, ""
    exact = off <= EXACT and found >= 2 and not (move.coarse or move.unlike)
    if found >= LARGE_SPLIT and move.quiet and not move.coarse and far >= 4 * move.most:
        return "split", words, exact, "the days on both sides are quiet"
    return "split", words, exact, never if move.size >= NEVER else ""


def _split(move: _Move) -> tuple[float, str, float]:
    """Return the nearest split's ratio, its words and how far off it is; 0 when none is near."""
    far = abs(move.size)
    off, many, one = min((abs(far - math.log(n / m)), n, m) for n, m in SPLITS)
    near = UNEVEN_NEAR if one > 1 else max(EXACT, min(2.5 * move.unit, 0.06))
    if off > near:
        return 0.0, "", off
    split = f"{many}:{one} split" if move.size < 0 else f"{one}:{many} reverse split"
    return many / one, f"a {split} not applied", off


def _is_back(move: _Move) -> bool:
    """Whether a way back ends at the old level, but for the usual moves of the days between."""
    if abs(move.size) < max(BACK, 7 * move.unit):
        return False
    rounding = move.size < LOST and abs(move.back) >= ABSURD  # all that is left
    return rounding or move.left <= 2.5 * move.unit * math.sqrt((move.sessions + 1) / 2)


def _logs(values: Floats) -> Floats:
    return np.ascontiguousarray(np.log(np.maximum(1.0 + values.T, 1e-300)))


def _runs(returns: pd.DataFrame, benchmark: pd.Series | None) -> Iterator[Finding]:
    values = returns.to_numpy("float64").T
    days = pd.DatetimeIndex(returns.index)
    still = np.abs(values) < 1e-12
    yield from _copied_rows(values, still, days)
    known = np.isfinite(values)
    moved = 2 * (known & ~still).sum(axis=0) >= np.maximum(known.sum(axis=0), 1)
    if benchmark is not None:
        moved |= np.abs(benchmark.reindex(days).to_numpy("float64")) > 1e-12
    for row, first, last in stretches(still, RUN_LISTED):
        count = last - first
        if moved[first:last].mean() < 0.8:
            continue
        share, chance = _chance(values[row], still[row], first, last)
        if chance > 1e-3:
            continue
        words = "the last price filled forward" if last == len(days) else "an old price repeated"
        sure = count >= RUN_STOPS and chance < 1e-6 and share < COARSE
        witness = "a run while the market moved" if sure else ""
        name, day, until = str(returns.columns[row]), days[first].date(), days[last - 1].date()
        yield Finding(name, day, "stale", float(count), words, NO_TRADE, witness, until=until)


def _chance(values: Floats, still: Flags, first: int, last: int) -> tuple[float, float]:
    """Return how often the series stands still near a run, and how many such runs chance makes."""
    shares, moves = [], []
    for part in (slice(max(0, first - 60), first), slice(last, last + 60)):
        known = int(np.isfinite(values[part]).sum())
        if known >= 20:
            shares.append((still[part].sum() + 1) / (known + 2))
            moves.append(np.abs(values[part])[np.isfinite(values[part]) & ~still[part]])
    sizes = np.concatenate(moves) if moves else np.array([])
    if not shares or (len(sizes) and np.median(sizes) >= TICKS):  # the next price is far away
        return 1.0, 1.0
    return max(shares), float(len(values) * max(shares) ** (last - first))


def _copied_rows(values: Floats, still: Flags, days: pd.DatetimeIndex) -> Iterator[Finding]:
    known = np.isfinite(values)
    lively = still.sum(axis=1) < 0.1 * known.sum(axis=1)
    if lively.sum() < LATE:
        return
    count = known[lively].sum(axis=0)
    copied = (count >= LATE) & (still[lively].sum(axis=0) >= 0.9 * count)
    does = "remove the row if there was no session, or give that day's prices"
    for day in days[copied].date:
        yield Finding(EVERY, day, "stale", 1.0, "the day before copied", does, "no series moved")


def _twins(returns: pd.DataFrame) -> Iterator[Finding]:
    """List series that are another one under a second name: a column or a ticker mistaken."""
    values = returns.round(9) + 0.0
    steps = values.diff().abs()  # one that never moves, or always alike, is no twin
    first: dict[bytes, object] = {}
    for name, row in values.loc[:, (steps > 0).sum() >= TWINS].items():
        other = first.setdefault(row.to_numpy().tobytes(), name)
        if other != name:
            days = pd.DatetimeIndex(row.dropna().index)
            words = f"{other} under another name: no day differs"
            does = "give its own prices, or take one of them out"
            yield Finding(str(name), days[0].date(), "twin", float(len(days)), words, does)


def _ends(returns: pd.DataFrame) -> Iterator[Finding]:
    """List series that start late, end early, or lack days on which most others have a return."""
    words, does = "a series that ends early", "give the rest of its prices if it still trades"
    begun, before = "a series that starts late", "give what is earlier if it was listed before"
    known, days = returns.notna().to_numpy(), pd.DatetimeIndex(returns.index)
    common = known.mean(axis=1) > 0.5
    for name, own in zip(map(str, returns.columns), known.T, strict=True):
        if not own.any():
            continue
        first, last = int(own.argmax()), len(own) - 1 - int(own[::-1].argmax())
        if (missing := len(own) - 1 - last) >= LATE:
            yield Finding(name, days[last].date(), "ends early", float(missing), words, does)
        if first >= LATE:
            day, until = days[0].date(), days[first - 1].date()
            yield Finding(name, day, "starts late", float(first), begun, before, until=until)
        holes = first + np.flatnonzero(~own[first:last] & common[first:last])
        if len(holes):
            day, until = days[holes[0]].date(), days[holes[-1]].date()
            lost, fill = float(len(holes)), "give its prices of those days if it traded"
            yield Finding(name, day, "holes", lost, "days without a return", fill, until=until)
