"""Observed reaction against thesis-implied value: the decision rule and what it rests on."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from usjp_research.spec.records import Spec, Thesis, ThesisLine
from usjp_research.words import InputError, card, label, money, nearest, p_value, percent

Case = Literal["low", "base", "high"]
CASES: tuple[Case, ...] = ("low", "base", "high")
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
    """How much a group of firms should have moved if the thesis is right.

    Attributes
    ----------
    share : mapping of case to float
        Implied value as a share of market value (a decimal return), per case; empty when the
        market value is unknown.
    spent, revenue, profit, after_tax, dollars : mapping of case to float
        The way down from dollars announced, in USD bn: what is spent, what of it is revenue of
        listed firms, the profit on that, what tax leaves, and its present value.
    announced : float
        Dollars of the group's lines, in USD bn.
    market_value : float or None
        Before the news, in USD bn, of the firms whose value is known.
    valued, firms : int
        How many firms have a known value, and how many there are.
    left_out : tuple of str
        Lines or parts of lines that are not in the value.
    """

    share: Mapping[str, float]
    spent: Mapping[str, float]
    revenue: Mapping[str, float]
    profit: Mapping[str, float]
    after_tax: Mapping[str, float]
    dollars: Mapping[str, float]
    announced: float
    market_value: float | None
    valued: int
    firms: int
    lines: tuple[str, ...]
    left_out: tuple[str, ...]

    def _repr_html_(self) -> str:
        cases = " / ".join(percent(self.share[case], 3) for case in CASES) if self.share else "none"
        return card(
            "Implied value",
            cases,
            f"USD {money(self.announced)} bn announced",
            f"market value USD {money(self.market_value)} bn ({self.valued} of {self.firms} firms)",
        )


@dataclass(frozen=True, slots=True)
class Verdict:
    """One row of the answer; effects are decimals, money is USD bn.

    Attributes
    ----------
    effect, error, low, high : float
        Observed reaction C, its guarded standard error and the interval the verdict rests on.
    marginal_low, marginal_high : float
        The interval of this row alone.
    p, p_stepdown, p_holm, p_bh : float
        Placebo p-values, alone and adjusted over the family.
    mde : float
        Effect that the interval finds with the rule's power.
    implied : Implied
    by_case : mapping of case to str
        The verdict under the low, base and high implied value.
    headline : str
        The verdict; before it, where one firm carries the row, that it does.
    reason : str
        Why it cannot be said, when it cannot; of a row without numbers, why it has none; of a
        row that one firm carries, what the rule says of it.
    remark : str
        What the leak windows would change, or which other events share the contrast's session.
    excluded_usd_bn : float or None
        Upper end of the interval times the market value of the firms whose value is known. The
        interval is of an equal-weighted portfolio: a size, not a bound on dollars gained.
    breakeven_share : float or None
        Margin times listed share at which the implied value would equal the MDE.
    priced_share, priced_low, priced_high : float or None
        Observed over implied value with its interval, where the base case is above zero.
    sign : int
        Sign that the thesis expects of every event of the row, which ``effect`` carries; 0 when
        its events differ.
    rests_on : str
        Ticker of the firm without which the row is another one; see `carried`.
    """

    name: str
    kind: str
    events: tuple[str, ...]
    effect: float
    error: float
    low: float
    high: float
    marginal_low: float
    marginal_high: float
    statistic: float
    center: float
    critical: float
    p: float
    p_stepdown: float
    p_holm: float
    p_bh: float
    mde: float
    implied: Implied
    by_case: Mapping[str, str]
    headline: str
    reason: str
    remark: str
    excluded_usd_bn: float | None
    breakeven_share: float | None
    priced_share: float | None
    priced_low: float | None
    priced_high: float | None
    effect_usd_bn: float | None
    sign: int = 1
    rests_on: str = ""

    @property
    def verdict(self) -> str:
        """What the rule says of this row, whoever carries it."""
        return headline(self.by_case)

    def _repr_html_(self) -> str:
        return card(
            "Verdict",
            label(self.name),
            f"{self.headline}: {self.reason}" if self.reason else self.headline,
            f"observed {percent(self.effect)}, {percent(self.low)} to {percent(self.high)}",
            f"implied {percent(self.implied.share['base'], 3)}" if self.implied.share else "",
            f"adjusted p {p_value(self.p_stepdown)}",
            f"MDE {percent(self.mde, sign=False)}",
        )


def decide(low: float, high: float, implied: float | None) -> str:
    """Apply the eight-way rule to an interval and an implied value.

    Parameters
    ----------
    low, high : float
        Simultaneous interval of the observed reaction.
    implied : float or None
        Implied value G in the same units; its sign is the thesis's direction.

    Returns
    -------
    str
        One of `VERDICTS`; the rules are tried in the order of METHODS section 12 and are
        exhaustive and exclusive.

    Examples
    --------
    >>> decide(-0.01, 0.02, 0.03)
    'not priced in'
    >>> decide(-0.01, 0.05, 0.03)
    'cannot say'
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


def headed(row: Verdict, ticker: str) -> Verdict:
    """Put the firm that carries a row before its verdict, which stands behind as the reason."""
    reason = f"by the rule {row.headline}" + (f", {row.reason}" if row.reason else "")
    return replace(row, rests_on=ticker, headline=rests_words(ticker), reason=reason)


def carried(row: tuple[float, float, float], without: tuple[float, float, float]) -> bool:
    """Tell whether a number rests on the firm that was left out.

    Parameters
    ----------
    row, without : (float, float, float)
        Effect and ends of the interval, with the firm and without it.

    Returns
    -------
    bool
        Leaving the firm out moves the interval from leaving out zero to containing it, or takes
        away half of the effect or more.

    Examples
    --------
    >>> carried((0.09, 0.02, 0.16), (0.03, -0.05, 0.13))
    True
    >>> carried((0.09, 0.02, 0.16), (0.08, 0.01, 0.15))
    False
    """
    (effect, low, high), (rest, rest_low, rest_high) = row, without
    clear = low > 0 or high < 0
    gone = clear and rest_low <= 0 <= rest_high
    return gone or (effect != 0 and rest * effect <= 0.5 * effect**2)


def headline(by_case: Mapping[str, str]) -> str:
    """Return the one verdict of all cases, or say that it depends on the implied value."""
    seen = list(dict.fromkeys(by_case.values()))
    return seen[0] if len(seen) == 1 else DEPENDS


def implied_value(
    spec: Spec, tickers: Sequence[str], value: float | None, *, sector: str, own: bool = False
) -> Implied:
    """Turn the thesis's dollar lines into an implied move of a group of firms.

    For each case, the sum over lines of ``amount x years x realised x listed share x margin x
    (1 - tax) / (1 + rate)^years`` over market value. Firms without a market value count in
    neither part and are listed.

    Parameters
    ----------
    spec : Spec
    tickers : sequence of str
        The group.
    value : float or None
        Market value in USD bn of those of them that have one.
    sector : str
        Whose lines count.
    own : bool
        Only the parts that name firms of the group, not what other listed firms may earn.

    Returns
    -------
    Implied
        Without shares when there is no thesis or no market value.
    """
    thesis = spec.thesis
    known = {
        f.ticker for f in spec.firms if f.ticker in tickers and f.market_value_usd_bn is not None
    }
    lines = [line for line in thesis.lines if line.sector == sector] if thesis else []
    left_out: list[str] = []
    spent: dict[str, float] = dict.fromkeys(CASES, 0.0)
    revenue: dict[str, float] = dict.fromkeys(CASES, 0.0)
    announced, used = 0.0, []
    for line in lines:
        named = {ticker: part for ticker, part in line.firms.items() if ticker in known}
        missing = sorted(set(line.firms) - set(named))
        if own:
            missing = [ticker for ticker in missing if ticker in tickers]
        if missing:
            left_out.append(f"{line.id}: the part of {', '.join(missing)} (no market value)")
        if own and not named:
            continue
        used.append(line.id)
        announced += line.amount_usd_bn * line.years
        for case in CASES:
            other = 0.0 if own else getattr(line.other_listed, case)
            part = sum(named.values()) + other
            spent[case] += _spent(thesis, line, case)
            revenue[case] += _spent(thesis, line, case) * part
    profit: dict[str, float] = dict.fromkeys(CASES, 0.0)
    after_tax, present = dict(profit), dict(profit)
    if thesis:
        for case in CASES:
            profit[case] = revenue[case] * getattr(thesis.margin, case)
            after_tax[case] = profit[case] * (1 - getattr(thesis.tax, case))
            present[case] = profit[case] * kept_per_dollar(thesis, case)
    share: dict[str, float] = (
        {case: present[case] / value for case in CASES} if value and lines else {}
    )
    return Implied(
        share=share if any(share.values()) else {},
        spent=spent,
        revenue=revenue,
        profit=profit,
        after_tax=after_tax,
        dollars=present,
        announced=announced,
        market_value=value,
        valued=len(known),
        firms=len(tickers),
        lines=tuple(used),
        left_out=tuple(left_out),
    )


def _spent(thesis: Thesis | None, line: ThesisLine, case: Case) -> float:
    if thesis is None:
        return 0.0
    realised: float = getattr(thesis.realised[line.realised], case)
    return line.amount_usd_bn * line.years * realised


def kept_per_dollar(thesis: Thesis, case: Case) -> float:
    """Return what tax and discounting leave of a dollar of profit."""
    rate, years = getattr(thesis.discount_rate, case), getattr(thesis.years_to_cash, case)
    kept: float = (1 - getattr(thesis.tax, case)) / (1 + rate) ** years
    return kept


ASSUMPTIONS = ("margin", "tax", "discount_rate", "years_to_cash", "realised", "other_listed")


def with_assumptions(spec: Spec, changes: Mapping[str, float]) -> Spec:
    """Return the study with other assumptions of the thesis, each one number for all cases.

    Parameters
    ----------
    spec : Spec
    changes : mapping of str to float
        ``margin``, ``tax``, ``discount_rate``, ``years_to_cash``, ``realised`` (the share of
        every line that is spent) or ``other_listed`` (the share of every line that unnamed
        listed firms earn, at most what its named firms leave).

    Returns
    -------
    Spec
        Another study, with another digest.

    Raises
    ------
    InputError
        When an assumption is unknown or out of range, or there is no thesis.
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
            for line in thesis["lines"]:
                line[name] = min(value, 1 - sum(line["firms"].values()))
        else:
            thesis[name] = value
    try:
        return replace(spec, thesis=Thesis(**thesis))
    except ValueError as error:
        text = " ".join(str(error).split("[type")[0].split())
        raise InputError(f"what_if: {text}") from None


def breakeven_share(thesis: Thesis | None, implied: Implied, mde: float) -> float | None:
    """Return the margin times listed share at which the implied value would equal the MDE.

    The dollars are those announced, all realised; a result above one says that even with every
    dollar as profit of listed firms the thesis would be too small to see.
    """
    if thesis is None or not implied.announced or not implied.market_value:
        return None
    return mde * implied.market_value / (implied.announced * kept_per_dollar(thesis, "base"))
