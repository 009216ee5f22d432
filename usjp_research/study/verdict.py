"""Observed reaction against thesis-implied value: the decision rule and what it rests on."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from datetime import date
from typing import Any, Literal, get_args

from usjp_research.engine.placebo import Leg, Placebo
from usjp_research.spec.files import validated
from usjp_research.spec.records import Channel, Spec, Thesis, ThesisLine
from usjp_research.study.capped import tested_firms, without_price
from usjp_research.study.legs import common_sign
from usjp_research.study.sample import Sample
from usjp_research.words import InputError, card, label, money, nearest, p_value, percent

Case = Literal["low", "base", "high"]
Ends = tuple[float, float, float]  # an effect, and its interval from low to high
CASES: tuple[Case, ...] = ("low", "base", "high")
STEPS = ("spent", "revenue", "profit", "after_tax", "dollars")  # from announced to worth
VERDICTS: Mapping[str, str] = {  # each with its meaning
    "no implied value": "the thesis puts no dollars on these firms, or their market value is not "
    "known, so there is no size to judge the reaction by",
    "moved against": "moved against the thesis: the whole interval lies on the other side of zero",
    "not priced in": "did not move by the implied value: the interval holds zero and rules the "
    "implied value out",
    "cannot say": "no reaction and the implied value both fit the data; “too small to see” when "
    "the implied value is below the MDE, “interval too wide” when it is not",
    "more than priced in": "moved by more than the implied value",
    "partly priced in": "moved the thesis’s way, but by less than the implied value",
    "priced in": "moved by what the thesis is worth: the interval lies on the thesis’s side of "
    "zero, holds the implied value and ends below twice that value",
    "reacted, size unclear": "moved the thesis’s way; how far is open, up to more than twice the "
    "implied value",
}
DEPENDS = "depends on the implied value"
NO_VERDICT = "no verdict"  # of a row that has no numbers, or whose numbers decide nothing
MEANINGS: Mapping[str, str] = {
    **VERDICTS,
    DEPENDS: "the low, base and high implied value give different verdicts; all three are shown",
    NO_VERDICT: "there is nothing to judge: the row says what is missing",
    "rests on one firm": "without that firm the row would say something else; what it says with "
    "it stands behind",
}


@dataclass(frozen=True, slots=True)
class Implied:
    """How much a group of firms should have moved if the thesis is right; dollars in USD bn.

    By case: a share of market value, empty when that is unknown, and the way down from dollars
    announced to the present value of what tax leaves of listed firms' profit.
    """

    share: Mapping[str, float]
    spent: Mapping[str, float]
    revenue: Mapping[str, float]
    profit: Mapping[str, float]
    after_tax: Mapping[str, float]
    dollars: Mapping[str, float]
    announced: float
    market_value: float | None  # before the news, of the firms whose value is known
    valued: int  # how many those are, of so many firms
    firms: int
    lines: tuple[str, ...]
    left_out: tuple[str, ...]  # lines or parts of lines that are not in the value
    channels: Mapping[str, Mapping[str, float]] = field(default_factory=dict)  # parts of share
    kept: float = 0.0  # of the announced dollars after tax and discount, base case

    def _repr_html_(self) -> str:
        cases = " / ".join(percent(self.share[case], 3) for case in CASES) if self.share else "none"
        value = f"USD {money(self.market_value)} bn ({self.valued} of {self.firms} firms)"
        told = f"USD {money(self.announced)} bn announced", f"market value {value}"
        return card("Implied value", cases, *told)


@dataclass(frozen=True, slots=True)
class Verdict:
    """One row of the answer: what was measured, and what the rule makes of it.

    Every row is a row of one table: a number that its kind does not have is NaN. Effects are
    decimals. ``sign`` is what the thesis expects of every event of the row, 0 where they differ;
    ``low`` to ``high`` is the interval that the verdict rests on, ``marginal_`` that of this row
    alone; ``statistic`` is S = C / se, ``center`` its mean over the shifts, and ``critical`` the
    interval's half-width in standard errors. ``breakeven_share`` is the margin times listed share
    at which the implied value would equal the MDE; ``rests_on`` the firm that carries the row.
    """

    name: str  # sector key, or ``sector: title`` of a contrast
    kind: str  # sector, leak-inclusive, campaign, prospective, contrast or contrast version
    events: tuple[str, ...]
    sign: int
    implied: Implied
    effect: float = math.nan
    error: float = math.nan
    low: float = math.nan
    high: float = math.nan
    marginal_low: float = math.nan
    marginal_high: float = math.nan
    statistic: float = math.nan
    center: float = math.nan
    critical: float = math.nan
    p: float = math.nan
    p_stepdown: float = math.nan
    p_holm: float = math.nan
    p_bh: float = math.nan
    mde: float = math.nan
    by_case: Mapping[str, str] = field(default_factory=lambda: dict.fromkeys(CASES, NO_VERDICT))
    headline: str = NO_VERDICT
    reason: str = ""
    breakeven_share: float | None = None
    remark: str = ""
    rests_on: str = ""

    def numbers(self) -> dict[str, Any]:
        """Lay the row out flat, as it is saved: NaN or None where it has no such number."""
        base, value = self.implied.share.get("base", 0.0), self.implied.market_value
        known = not math.isnan(self.effect)
        # A bound on a difference of two portfolios is no bound on dollars of either.
        usd = value if known and "contrast" not in self.kind else None
        shares = {"priced_share": self.effect, "priced_low": self.low, "priced_high": self.high}
        sizes = {"effect_usd_bn": self.effect, "excluded_usd_bn": self.high}
        return {
            **asdict(self),
            **{key: x / base if known and base > 0 else None for key, x in shares.items()},
            **{key: x * usd if usd else None for key, x in sizes.items()},
        }

    @property
    def verdict(self) -> str:
        """What the rule says of this row, whoever carries it."""
        return headline(self.by_case)

    def _repr_html_(self) -> str:
        told = (
            f"{self.headline}: {self.reason}" if self.reason else self.headline,
            f"observed {percent(self.effect)}, {percent(self.low)} to {percent(self.high)}",
            f"implied {percent(self.implied.share['base'], 3)}" if self.implied.share else "",
            f"adjusted p {p_value(self.p_stepdown)}",
            f"MDE {percent(self.mde, sign=False)}",
        )
        return card("Verdict", label(self.name), *told)


UNTESTED = dict.fromkeys(("p", "p_stepdown", "p_holm", "p_bh", "mde"), math.nan)
NUMBERS = tuple(item.name for item in fields(Verdict) if item.type == "float")


def verdict_of(row: Mapping[str, Any]) -> Verdict:
    """Build a row again from `Verdict.numbers` as saved, where null stands for no finite number."""
    found = {item.name: row[item.name] for item in fields(Verdict)}
    found |= {key: math.nan for key in NUMBERS if row[key] is None}
    lists = {key: tuple(row["implied"][key]) for key in ("lines", "left_out")}
    found |= {"implied": Implied(**{**row["implied"], **lists}), "events": tuple(row["events"])}
    return Verdict(**found)


def family_rows(
    data: Sample,
    legs: Mapping[str, Sequence[Leg]],
    law: Placebo,
    kind: str,
    implied: Mapping[str, Implied] | None = None,
) -> tuple[Verdict, ...]:
    """Judge every group of a law as one family; implied values are the sectors' where not given."""
    rule = data.spec.rule
    alone = law.table(rule.alpha, rule.power, family=False)[["low", "high"]]
    table = law.table(rule.alpha, rule.power, family=True).join(alone.add_prefix("marginal_"))
    rows = []
    for name, found in zip(law.groups, table.to_dict("records"), strict=True):
        events = tuple(dict.fromkeys(leg.event for leg in legs[name]))
        value = implied[name] if implied else worth(data, name)
        numbers = {key: found[key] for key in NUMBERS}
        row = Verdict(name, kind, events, common_sign(legs[name]), value, **numbers)
        rows.append(judge(data.spec, row))
    return tuple(rows)


def every_sector(
    data: Sample,
    kind: str,
    rows: Sequence[Verdict],
    silent: Mapping[str, str],
    *,
    tested: bool = False,
) -> tuple[Verdict, ...]:
    """Put the sectors that cannot be judged back in their places, with the reason as verdict.

    ``tested`` is as for `worth`: rows of the second rule are of its firms.
    """
    own = {row.name: row for row in rows}
    for sector, reason in silent.items():
        implied = worth(data, sector, tested=tested)
        own[sector] = Verdict(sector, kind, (), 1, implied, reason=reason)
    return tuple(own[sector] for sector in data.spec.sectors if sector in own)


def worth(
    data: Sample, sector: str, named_on: date | None = None, *, tested: bool = False
) -> Implied:
    """Return the implied value of a sector, or of its firms that were named on a day alone.

    Of the firms that the second rule tests where ``tested``.
    """
    made, own = data.portfolios, named_on is not None
    key = f"named/{named_on}/{sector}" if own else f"{'tested' if tested else 'sector'}/{sector}"
    firms = tested_firms(data.spec, sector) if tested else made.members[key]
    gone = without_price(data.spec, data.market) if tested else ()
    value = made.values.get(key)
    return implied_value(data.spec, firms, value, sector=sector, own=own, without=gone)


def judge(spec: Spec, row: Verdict) -> Verdict:
    """Hold a row's interval against its implied value; a firm that carries it is told first."""
    share = row.implied.share
    by_case = {str(case): decide(row.low, row.high, share.get(case)) for case in CASES}
    said, reason = headline(by_case), ""
    if by_case["base"] == "cannot say":
        small = abs(share["base"]) < row.mde
        reason = "too small to see" if small else "interval too wide"
    if row.rests_on:
        reason = f"by the rule {said}" + (f", {reason}" if reason else "")
        said = rests_words(row.rests_on)
    even = breakeven_share(spec.thesis, row.implied, row.mde)
    return replace(row, by_case=by_case, headline=said, reason=reason, breakeven_share=even)


def decide(low: float, high: float, implied: float | None) -> str:
    """Apply the eight-way rule to a simultaneous interval and an implied value in its units.

    One of `VERDICTS`: the rules are tried in order, and are exhaustive and exclusive. The sign of
    the implied value is the thesis's direction.

    Examples
    --------
    >>> decide(-0.01, 0.02, 0.03)
    'not priced in'
    """
    if implied is None or implied == 0 or not math.isfinite(implied):
        return "no implied value"
    if implied < 0:
        low, high, implied = -high, -low, -implied
    if high < 0:
        return "moved against"
    if low <= 0:
        return "not priced in" if high < implied else "cannot say"
    if low > implied:
        return "more than priced in"
    if high < implied:
        return "partly priced in"
    return "priced in" if high <= 2 * implied else "reacted, size unclear"


def rests_words(ticker: str) -> str:
    """Return the headline of a row that one firm carries."""
    return f"rests on one firm: {ticker}"


def carried(row: Ends, without: Ends) -> bool:
    """Tell whether a number rests on the firm left out: zero enters its interval, or half goes."""
    (effect, low, high), (rest, rest_low, rest_high) = row, without
    gone = (low > 0 or high < 0) and rest_low <= 0 <= rest_high
    return gone or (effect != 0 and rest * effect <= 0.5 * effect**2)


def carrier(row: Ends, without: Mapping[str, Ends]) -> str:
    """Return which of the firms that carry a number leaves least of it; empty when none does."""
    left = {ticker: rest[0] / row[0] for ticker, rest in without.items() if carried(row, rest)}
    return min(left, key=left.__getitem__, default="")


def headline(by_case: Mapping[str, str]) -> str:
    """Return the one verdict of all cases, or say that it depends on the implied value."""
    seen = list(dict.fromkeys(by_case.values()))
    return seen[0] if len(seen) == 1 else DEPENDS


def implied_value(
    spec: Spec,
    tickers: Sequence[str],
    value: float | None,
    *,
    sector: str,
    own: bool = False,
    without: Collection[str] = (),
) -> Implied:
    """Turn the thesis's dollar lines into an implied move of a group of firms.

    For each case, the sum over the lines of ``sector`` of ``sign x amount x part x years x realised
    x listed share x margin x kept`` over market ``value``, in USD bn of those that have one, where
    `line_dollars` gives what tax and time leave; and by channel what each adds. ``own`` counts only
    the parts that name firms of the group. Firms without a market value, and those that ``value``
    is ``without``, are in neither part and are listed. There are no shares without a thesis or a
    market value. Raises `InputError` for a sector that the study does not have.
    """
    spec.members(sector)
    thesis = spec.thesis
    sizes = {firm.ticker: firm.market_value_usd_bn for firm in spec.firms}
    known = {t for t in tickers if sizes.get(t) is not None and t not in without}
    left_out: list[str] = []
    used: list[ThesisLine] = []
    for line in thesis.lines if thesis else ():
        if line.sector != sector:
            continue
        lost = sorted(t for t in line.firms if t not in known and (not own or t in tickers))
        if lost:
            left_out.append(f"{line.id}: the part of {', '.join(lost)} (no market value)")
        if not own or known & set(line.firms):
            used.append(line)

    def shares(lines: Sequence[ThesisLine]) -> tuple[dict[str, dict[str, float]], dict[str, float]]:
        steps = {case: _steps(thesis, lines, known, case, own) for case in CASES}
        down = {step: {str(case): steps[case][step] for case in CASES} for step in STEPS}
        return down, {c: usd / value for c, usd in down["dollars"].items()} if value else {}

    down, share = shares(used)
    names = [n for n in get_args(Channel) if value and any(line.channel == n for line in used)]
    channels = {n: shares([line for line in used if line.channel == n])[1] for n in names}
    base = [(line.sign, *line_dollars(thesis, line, "base")) for line in used if thesis]
    return Implied(
        share=share if any(share.values()) else {},
        announced=sum((dollars for _, dollars, _ in base), 0.0),
        market_value=value,
        valued=len(known),
        firms=len(tickers),
        lines=tuple(line.id for line in used),
        left_out=tuple(left_out),
        channels=channels,
        kept=sum(sign * dollars * kept for sign, dollars, kept in base),
        **down,
    )


def line_dollars(thesis: Thesis, line: ThesisLine, case: Case) -> tuple[float, float]:
    """Return the dollars of all years of a line, and what tax and time leave of one as profit.

    Dollars are in USD bn, none discounted; for ever is counted as 1 / rate years. Orders are
    paid at once, after the years to cash; other channels at the end of every year from then on.
    """
    rate, years = getattr(thesis.discount_rate, case), getattr(line.years, case)
    a_year = line.amount_usd_bn * getattr(line.part, case)
    kept = kept_per_dollar(thesis, case, line)
    if line.channel == "orders":
        return a_year * years, kept
    present = (1 - (1 + rate) ** -years) / rate if rate else years
    whole = years if math.isfinite(years) else present
    return a_year * whole, kept * present / whole


def _steps(
    thesis: Thesis | None, lines: Sequence[ThesisLine], firms: set[str], case: Case, own: bool
) -> dict[str, float]:
    steps = dict.fromkeys(STEPS, 0.0)
    if thesis is None:
        return steps
    for line in lines:
        dollars, kept = line_dollars(thesis, line, case)
        named = sum(part for ticker, part in line.firms.items() if ticker in firms)
        spent = dollars * getattr(thesis.realised[line.realised], case)
        revenue = spent * (named + (0.0 if own else getattr(line.other_listed, case)))
        profit = line.sign * revenue * getattr(line.margin or thesis.margin, case)
        after_tax = profit * (1 - getattr(thesis.tax, case))
        found = (spent, revenue, profit, after_tax, profit * kept)
        for step, more in zip(STEPS, found, strict=True):
            steps[step] += more
    return steps


def ceiling(thesis: Thesis | None, implied: Implied) -> float:
    """Return all dollars of every channel's high case, as if profit at once, over value.

    A loss counts like a gain, so no implied value of that case is larger on either side; what is
    paid for ever, which has no sum, counts with 1 / rate years.
    """
    if thesis is None or not implied.market_value:
        return math.nan
    return implied.spent["high"] / implied.market_value


def most_kept(thesis: Thesis | None, implied: Implied) -> float:
    """Return what tax and time leave of the high case's dollars, all as profit, over value."""
    if thesis is None or not implied.market_value:
        return math.nan
    lines = [line for line in thesis.lines if line.id in implied.lines]
    spent = (thesis.realised[line.realised].high * line.sign for line in lines)
    dollars = sum(next(spent) * math.prod(line_dollars(thesis, line, "high")) for line in lines)
    return abs(dollars) / implied.market_value


def kept_per_dollar(thesis: Thesis, case: Case, line: ThesisLine | None = None) -> float:
    """Return what tax and the years to cash, a line's own or the thesis's, leave of profit."""
    wait = (line and line.years_to_cash) or thesis.years_to_cash
    rate, years = getattr(thesis.discount_rate, case), getattr(wait, case)
    kept: float = (1 - getattr(thesis.tax, case)) / (1 + rate) ** years
    return kept


ASSUMPTIONS = ("margin", "tax", "discount_rate", "years_to_cash", "realised", "other_listed")


def with_assumptions(spec: Spec, changes: Mapping[str, float]) -> Spec:
    """Return the study with other assumptions of the thesis, each one number for all cases.

    `ASSUMPTIONS` by name: ``realised`` is the share of every line that is spent, ``other_listed``
    that which unnamed listed firms earn, at most what the named ones leave; a line's own margin
    and years to cash stay. Raises `InputError` for an assumption that is unknown or out of
    range, or without a thesis.
    """
    if spec.thesis is None:
        raise InputError("no thesis.yaml: there is no assumption to change")
    thesis = spec.thesis.model_dump()
    for name, value in changes.items():
        if name not in ASSUMPTIONS:
            raise InputError(f"what_if: unknown '{name}': {nearest(name, ASSUMPTIONS)}")
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise InputError(f"what_if: '{name}': seen {value!r}, expected a number such as 0.1")
        if name == "realised":
            thesis[name] = dict.fromkeys(thesis[name], value)
        elif name == "other_listed":
            if not 0 <= value <= 1:
                raise InputError(f"what_if: key '{name}': seen {value:g}, expected 0 to 1")
            for line in thesis["lines"]:
                line[name] = min(value, 1 - sum(line["firms"].values()))
        else:
            thesis[name] = value
    return replace(spec, thesis=validated("what_if", thesis, Thesis))


def breakeven_share(thesis: Thesis | None, implied: Implied, mde: float) -> float | None:
    """Return the margin times listed share at which the dollars announced would equal the MDE.

    Above one, even every dollar as profit of listed firms would be too small to see.
    """
    if thesis is None or not implied.kept or not implied.market_value:
        return None
    return mde * implied.market_value / abs(implied.kept)
