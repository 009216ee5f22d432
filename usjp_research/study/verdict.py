"""Observed reaction against thesis-implied value: the decision rule and what it rests on."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Literal

from usjp_research.spec.records import Spec, Thesis, ThesisLine
from usjp_research.words import InputError, card, label, money, nearest, p_value, percent

Case = Literal["low", "base", "high"]
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
class Tested:
    """Placebo p-values, alone and adjusted over the family, and the minimum detectable effect."""

    p: float
    p_stepdown: float
    p_holm: float
    p_bh: float
    mde: float


@dataclass(frozen=True, slots=True)
class Measured:
    """What a placebo law says of one group; effects are decimals.

    Attributes
    ----------
    effect, error, low, high : float
        Observed reaction C, its guarded standard error and the interval the verdict rests on.
    marginal_low, marginal_high : float
        The interval of this row alone.
    statistic, center, critical : float
        S = C / se, its mean over the shifts, and the interval's half-width in standard errors.
    test : Tested or None
        None where the windows are too long for a test.
    """

    effect: float
    error: float
    low: float
    high: float
    marginal_low: float
    marginal_high: float
    statistic: float
    center: float
    critical: float
    test: Tested | None


@dataclass(frozen=True, slots=True)
class Judgement:
    """What the rule makes of a row.

    Attributes
    ----------
    implied : Implied
    by_case : mapping of case to str
        The verdict under the low, base and high implied value.
    headline : str
        The verdict; before it, where one firm carries the row, that it does.
    reason : str
        Why it cannot be said, when it cannot; of a row without numbers, why it has none; of a
        row that one firm carries, what the rule says of it.
    breakeven_share : float or None
        Margin times listed share at which the implied value would equal the MDE.
    remark : str
        What the leak windows would change, or which other events share the contrast's session.
    rests_on : str
        Ticker of the firm without which the row is another one; see `carried`.
    """

    implied: Implied
    by_case: Mapping[str, str]
    headline: str
    reason: str
    breakeven_share: float | None = None
    remark: str = ""
    rests_on: str = ""


@dataclass(frozen=True, slots=True)
class Verdict:
    """One row of the answer: what was measured, and what the rule makes of it.

    Attributes
    ----------
    name : str
        Sector key, or ``sector: title`` of a contrast.
    kind : str
        ``sector``, ``leak-inclusive``, ``campaign``, ``contrast`` or ``contrast version``.
    events : tuple of str
    sign : int
        Sign that the thesis expects of every event of the row, which its effect carries; 0 when
        its events differ.
    measured : Measured or None
        None where nothing can be computed; `Judgement.reason` says why.
    judged : Judgement

    Examples
    --------
    >>> study.verdicts[0].numbers()["low"]                          # doctest: +SKIP
    """

    name: str
    kind: str
    events: tuple[str, ...]
    sign: int
    measured: Measured | None
    judged: Judgement

    def numbers(self) -> dict[str, Any]:
        """Lay the row out flat, as it is saved: NaN or None where it has no such number."""
        measured, judged = self.measured, self.judged
        test = measured.test if measured else None
        ends = {key: getattr(measured, key, math.nan) for key in ("effect", "low", "high")}
        base, value = judged.implied.share.get("base", 0.0), judged.implied.market_value
        priced = {key: ends[key] / base for key in ends} if measured and base > 0 else {}
        # A bound on a difference of two portfolios is no bound on dollars of either.
        one = measured and value and "contrast" not in self.kind
        usd = {key: ends[key] * value for key in ends} if one and value else {}
        return {
            **{"name": self.name, "kind": self.kind, "events": self.events},
            **{key: getattr(measured, key, math.nan) for key in MEASURED},
            **{key: getattr(test, key, math.nan) for key in TESTED},
            **{"implied": asdict(judged.implied), "by_case": dict(judged.by_case)},
            **{key: getattr(judged, key) for key in ("headline", "reason", "remark")},
            **{"excluded_usd_bn": usd.get("high"), "breakeven_share": judged.breakeven_share},
            **{"priced_share": priced.get("effect"), "priced_low": priced.get("low")},
            **{"priced_high": priced.get("high"), "effect_usd_bn": usd.get("effect")},
            **{"sign": self.sign, "rests_on": judged.rests_on},
        }

    @property
    def effect(self) -> float:
        """Observed reaction; NaN where there is none, as for its interval and its test."""
        return self.measured.effect if self.measured else math.nan

    @property
    def low(self) -> float:
        """Lower end of the interval that the verdict rests on."""
        return self.measured.low if self.measured else math.nan

    @property
    def high(self) -> float:
        """Upper end of the interval that the verdict rests on."""
        return self.measured.high if self.measured else math.nan

    @property
    def test(self) -> Tested:
        """What the law says against zero, in NaN where there is no test."""
        return (self.measured and self.measured.test) or UNTESTED

    @property
    def p(self) -> float:
        """Placebo p-value of this row alone."""
        return self.test.p

    @property
    def p_stepdown(self) -> float:
        """Placebo p-value, adjusted over the family by step-down."""
        return self.test.p_stepdown

    @property
    def mde(self) -> float:
        """Effect that the interval finds with the rule's power."""
        return self.test.mde

    @property
    def implied(self) -> Implied:
        """How much the group should have moved."""
        return self.judged.implied

    @property
    def by_case(self) -> Mapping[str, str]:
        """The verdict under the low, base and high implied value."""
        return self.judged.by_case

    @property
    def headline(self) -> str:
        """The verdict, or the firm that carries the row."""
        return self.judged.headline

    @property
    def reason(self) -> str:
        """Why it cannot be said."""
        return self.judged.reason

    @property
    def remark(self) -> str:
        """What else must be known."""
        return self.judged.remark

    @property
    def rests_on(self) -> str:
        """Ticker of the firm that carries the row."""
        return self.judged.rests_on

    @property
    def breakeven_share(self) -> float | None:
        """Margin times listed share at which the implied value would equal the MDE."""
        return self.judged.breakeven_share

    @property
    def excluded_usd_bn(self) -> float | None:
        """Upper end of the interval times market value: a size, not a bound on dollars gained."""
        found: float | None = self.numbers()["excluded_usd_bn"]
        return found

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


TESTED = tuple(item.name for item in fields(Tested))
MEASURED = tuple(item.name for item in fields(Measured) if item.name != "test")
UNTESTED = Tested(*[math.nan] * len(TESTED))


def verdict_of(row: Mapping[str, Any]) -> Verdict:
    """Build a row again from `Verdict.numbers` as saved, where null stands for no finite number."""

    def some(keys: Sequence[str]) -> dict[str, Any]:
        return {key: math.nan if row[key] is None else row[key] for key in keys}

    lists = {key: tuple(row["implied"][key]) for key in ("lines", "left_out")}
    implied = Implied(**{**row["implied"], **lists})
    words = {key: row[key] for key in ("by_case", "headline", "reason", "remark", "rests_on")}
    test = None if row["p"] is None else Tested(**some(TESTED))
    measured = None if row["effect"] is None else Measured(**some(MEASURED), test=test)
    judged = Judgement(implied, breakeven_share=row["breakeven_share"], **words)
    return Verdict(row["name"], row["kind"], tuple(row["events"]), row["sign"], measured, judged)


def judge(
    spec: Spec, measured: Measured, implied: Implied, remark: str = "", rests_on: str = ""
) -> Judgement:
    """Hold an interval against an implied value.

    The firm that carries the row, if one does, stands before the verdict, which becomes the
    reason.
    """
    by_case: dict[str, str] = {
        case: decide(measured.low, measured.high, implied.share.get(case)) for case in CASES
    }
    said, reason, mde = headline(by_case), "", (measured.test or UNTESTED).mde
    if by_case["base"] == "cannot say":
        small = abs(implied.share["base"]) < mde
        reason = "too small to see" if small else "interval too wide"
    if rests_on:
        reason = f"by the rule {said}" + (f", {reason}" if reason else "")
        said = rests_words(rests_on)
    breakeven = breakeven_share(spec.thesis, implied, mde)
    return Judgement(implied, by_case, said, reason, breakeven, remark, rests_on)


def worded(row: Verdict, **words: str) -> Verdict:
    """Return the row with other words of its judgement, such as its remark."""
    return replace(row, judged=replace(row.judged, **words))  # type: ignore[arg-type]


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
    steps = {case: _steps(thesis, used, known, case, own=own) for case in CASES}
    down = {step: {str(case): steps[case][step] for case in CASES} for step in STEPS}
    share = {case: dollars / value for case, dollars in down["dollars"].items()} if value else {}
    return Implied(
        share=share if any(share.values()) else {},
        announced=sum((line.amount_usd_bn * line.years for line in used), 0.0),
        market_value=value,
        valued=len(known),
        firms=len(tickers),
        lines=tuple(line.id for line in used),
        left_out=tuple(left_out),
        **down,
    )


def _steps(
    thesis: Thesis | None,
    lines: Sequence[ThesisLine],
    known: Collection[str],
    case: Case,
    *,
    own: bool,
) -> dict[str, float]:
    """Go down from what is spent to its present value, in one case."""
    if thesis is None:
        return dict.fromkeys(STEPS, 0.0)
    spent = revenue = 0.0
    for line in lines:
        paid = line.amount_usd_bn * line.years * getattr(thesis.realised[line.realised], case)
        named = sum(part for ticker, part in line.firms.items() if ticker in known)
        spent += paid
        revenue += paid * (named + (0.0 if own else getattr(line.other_listed, case)))
    profit = revenue * getattr(thesis.margin, case)
    after_tax = profit * (1 - getattr(thesis.tax, case))
    present = profit * kept_per_dollar(thesis, case)
    return dict(zip(STEPS, (spent, revenue, profit, after_tax, present), strict=True))


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
