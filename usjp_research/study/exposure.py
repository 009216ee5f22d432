"""Did more exposed firms react more? The slope of abnormal return on dose, against quiet days."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
import numpy.typing as npt

from usjp_research.engine.design import expected_return_design
from usjp_research.engine.placebo import Leg, admissible_shifts, minimum_detectable, own_days
from usjp_research.engine.rolling import Forecast, rolling_forecast
from usjp_research.engine.slopes import (
    Factors,
    Prologue,
    gls_weights,
    ols_weights,
    prologue,
    residual_factors,
    slope_variances,
)
from usjp_research.market.record import BENCHMARK, Dropped, Market
from usjp_research.spec.records import Spec
from usjp_research.study.doses import Section, cross_section, firm_doses, naming_events
from usjp_research.study.events import EventPanel
from usjp_research.study.portfolios import Portfolios
from usjp_research.study.verdict import (
    CASES,
    carried,
    decide,
    headline,
    kept_per_dollar,
    rests_words,
)
from usjp_research.words import card, number

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
Ints = npt.NDArray[np.int64]
Method = Literal["ols", "gls"]

METHODS: tuple[Method, ...] = ("ols", "gls")
POOLED = "pooled"
LEAST_EXPOSED = 3
LEAST_QUIET = 250
LEAST_IN_SECTOR = 5
MOST_ON_ONE = 0.5
STEP = 5  # sessions between two estimates of the covariance
# What would give the slope back, together with the MDE: t is the slope in units of its law.
TELLING = (
    *("slope", "error", "low", "high", "raw_low", "raw_high", "raw_center", "guarded_center"),
    *("raw_t", "raw_p_t", "guarded_t", "guarded_p_t"),
)
NEEDS_FIRMS = (
    "needs single firms, and this market has averages of three or more; give firm prices with "
    "'usjp study --market file:PATH'"
)


@dataclass(frozen=True, slots=True)
class Exposure:
    """The slope of event CAR on dose and its law on quiet days.

    A dose is the dollars announced for a firm over its market value before the news, so a slope
    of 0.05 says that each dollar announced moved market value by five cents (five percentage
    points of CAR for a dose of 100%).

    Attributes
    ----------
    events : tuple of str
        Events whose own named firms carry the slope; sector effects are each event's own.
    method : {"ols", "gls"}
    blackout : bool
        Whether firms with news of their own are out, as in the event slots.
    before : bool
        Whether the law is of quiet days before the first primary event only.
    firms, exposed : int
        Firms in the cross-sections, summed over events; those with a dose above zero.
    slope, error : float
        The slope and its guarded standard error.
    top_share : float
        Part of the slope that the most exposed firm carries.
    shifts : ndarray of shape (n_shifts,), int
        Sessions by which the events were moved.
    law, law_error : ndarray of shape (n_shifts,)
        The slope and its guarded standard error there.
    admissible, few : int
        Quiet places of the events, and those of them with fewer than three exposed firms.
    raw, guarded : Prologue or None
        The slope, and the slope over its guarded error, against their laws.
    low, high : float
        Interval of the slope by inversion of the guarded law.
    mde, raw_mde : float
        Slope that the guarded and the raw interval find with the rule's power.
    implied : mapping of case to float
        The slope if every named firm moved as the thesis says; empty without a thesis.
    by_case : mapping of case to str
        What the rule of the verdict would say; evidence, never the verdict.
    breakeven : float or None
        Margin times listed share at which the thesis would equal the MDE.
    length : int
        Days of the window.
    same_session : tuple of str
        Other events whose first session is that of one of these.
    left_out : tuple of Dropped
    reason : str
        Why there is no slope; the numbers are NaN then.
    rests_on : str
        Ticker of the exposed firm without which the slope is another one; see `carried`.
    """

    events: tuple[str, ...]
    method: Method
    blackout: bool
    before: bool
    sector: str = ""
    without: tuple[str, ...] = ()
    firms: int = 0
    exposed: int = 0
    slope: float = math.nan
    error: float = math.nan
    top_share: float = math.nan
    shifts: Ints = field(default_factory=lambda: np.zeros(0, np.int64))
    law: Floats = field(default_factory=lambda: np.zeros(0))
    law_error: Floats = field(default_factory=lambda: np.zeros(0))
    admissible: int = 0
    few: int = 0
    raw: Prologue | None = None
    guarded: Prologue | None = None
    low: float = math.nan
    high: float = math.nan
    mde: float = math.nan
    raw_mde: float = math.nan
    implied: Mapping[str, float] = field(default_factory=dict)
    by_case: Mapping[str, str] = field(default_factory=dict)
    breakeven: float | None = None
    length: int = 1
    same_session: tuple[str, ...] = ()
    left_out: tuple[Dropped, ...] = ()
    reason: str = ""
    rests_on: str = ""

    @property
    def headline(self) -> str:
        """The firm that carries the slope where one does, else the verdict, or nothing."""
        return rests_words(self.rests_on) if self.rests_on else self.verdict

    @property
    def verdict(self) -> str:
        """What the rule of the verdict would say of this slope, or nothing."""
        return headline(self.by_case) if self.by_case else ""

    @property
    def remark(self) -> str:
        """What a reader must know before the slope: one firm that carries it, other news."""
        parts = []
        if self.top_share > MOST_ON_ONE:
            parts.append(f"one firm carries {self.top_share:.0%} of the slope")
        if self.same_session:
            parts.append(f"other news in the same session: {', '.join(self.same_session)}")
        return "; ".join(parts)

    @property
    def safe(self) -> bool:
        """Whether the slope may be published: one firm carries no more than half of it."""
        return not self.top_share > MOST_ON_ONE

    @property
    def independent(self) -> float:
        """Rough number of independent quiet days: windows of neighbours overlap."""
        return len(self.law) / self.length

    def numbers(self) -> dict[str, object]:
        """Return what a public page may show: the slope and its law, rounded, no single firm.

        Where one firm carries the slope, slope times dose is close to that firm's return, so the
        slope and whatever gives it back are withheld; the placebo p stays. The list of slopes on
        quiet days is never in it.
        """
        plain = ("events", "method", "blackout", "before", "sector", "firms", "exposed")
        sizes = ("slope", "error", "low", "high", "mde", "raw_mde", "top_share", "breakeven")
        words = ("admissible", "few", "headline", "verdict", "rests_on", "remark", "reason")
        tests = (("raw", self.raw), ("guarded", self.guarded))
        numbers: dict[str, object] = {
            **{name: getattr(self, name) for name in (*plain, *words)},
            **{name: _rounded(getattr(self, name)) for name in sizes},
            **{
                f"{name}_{key}": _rounded(getattr(test, key, None))
                for name, test in tests
                for key in ("center", "p_cdf", "t", "df", "p_t")
            },
            "raw_low": _rounded(getattr(self.raw, "low", None)),
            "raw_high": _rounded(getattr(self.raw, "high", None)),
            "quiet_days": len(self.law),
            "independent": round(self.independent),
            "implied": {case: _rounded(value) for case, value in self.implied.items()},
            "by_case": dict(self.by_case),
            "withheld": not self.safe,
        }
        if not self.safe:
            numbers |= dict.fromkeys(TELLING)
        return numbers

    def _repr_html_(self) -> str:
        events = ", ".join(self.events) or "no event"
        if self.reason:
            return card("Exposure", events, self.method.upper(), self.reason)
        slope = f"slope {number(100 * self.slope, 1)} cents per dollar announced"
        span = f"{number(100 * self.low, 1)} to {number(100 * self.high, 1)}"
        return card("Exposure", events, self.method.upper(), f"{slope} ({span})", self.remark)


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)


# --- the law ---------------------------------------------------------------------------------


def exposure_law(
    spec: Spec,
    market: Market,
    panel: EventPanel,
    made: Portfolios,
    event: str = POOLED,
    *,
    method: Method = "ols",
    blackout: bool = True,
    before: bool = True,
    sector: str = "",
    without: Sequence[str] = (),
    factors: Mapping[int, Factors] | None = None,
) -> Exposure:
    """Compare the slope of event CAR on dose with the same slope on quiet days.

    On each date the abnormal returns of all firms are regressed on their doses with sector
    effects; over several events the slope is common and sector effects are each event's own.
    Firms that were not named have a dose of zero; firms named at another event are left out.
    The law is the slope at every admissible shift of the events: no window touches a primary,
    secondary or leak event and estimation fits. The slope is a portfolio, so its guarded
    standard error is that of a portfolio, and the interval comes from slope over error.

    Parameters
    ----------
    spec : Spec
    market : Market
    panel : EventPanel
    made : Portfolios
        Its slots say who is in blackout.
    event : str
        An event id, or ``pooled``: every primary or secondary event that names firms.
    method : {"ols", "gls"}
        Ordinary least squares, or generalised with the covariance of `residual_factors`,
        estimated before each date and again every five sessions.
    blackout : bool
        Leave out firms with news of their own, as the sector portfolios do.
    before : bool
        Law from quiet days before the first primary event, or from all quiet days.
    sector : str, optional
        One sector only; it needs five named firms with a dose.
    without : sequence of str
        Tickers to leave out.
    factors : mapping of int to Factors, optional
        Computed before, to be used again.

    Returns
    -------
    Exposure
        With a ``reason`` and no slope when the market has no single firms, fewer than three
        exposed firms are left, or there are fewer than 250 quiet days.

    Raises
    ------
    InputError
        When the event or the sector is unknown.

    References
    ----------
    Cohn, Johnson, Liu and Wardlaw (2026), "Past is Prologue", Journal of Financial Economics.

    Examples
    --------
    >>> row = exposure_law(spec, market, panel, made)               # doctest: +SKIP
    >>> row.slope, row.raw.p_cdf                                    # doctest: +SKIP
    """
    events = naming_events(spec, panel) if event == POOLED else (spec.event(event).id,)
    low, high = spec.rule.window
    row = Exposure(
        events=events,
        method=method,
        blackout=blackout,
        before=before,
        sector=sector,
        without=tuple(without),
        length=high - low + 1,
        same_session=_same_session(panel, events),
    )
    if sector:
        named = [f for f in spec.members(sector) if f.named_event in events and f.dose_usd_bn]
        if len(named) < LEAST_IN_SECTOR:
            reason = f"named firms with a dose: {len(named)}, expected {LEAST_IN_SECTOR} or more"
            return replace(row, reason=reason)
    if not events:
        return replace(row, reason="no firm is named with dollars at any event that can be tested")
    missing = [id for id in events if panel.position(id) is None]
    if missing:
        return replace(row, reason=f"event {missing[0]} cannot be tested on this market")
    options = {"blackout": blackout, "sector": sector, "without": without}
    pairs = [cross_section(spec, market, panel, made, id, **options) for id in events]  # type: ignore[arg-type]
    sections = [section for section, _ in pairs]
    row = replace(
        row,
        firms=sum(len(section.tickers) for section in sections),
        exposed=sum(int((section.dose > 0).sum()) for section in sections),
        left_out=tuple(item for _, items in pairs for item in items),
    )
    if market.level != "firm":
        return replace(row, implied=_implied_alone(sections), reason=NEEDS_FIRMS)
    if row.exposed < LEAST_EXPOSED:
        return replace(row, reason=_too_few(row.exposed))
    return _measured(spec, market, panel, row, sections, factors)


def _same_session(panel: EventPanel, events: Sequence[str]) -> tuple[str, ...]:
    days = {panel.new_york[k] for k, event in enumerate(panel.events) if event.id in events}
    return tuple(
        event.id
        for event, day in zip(panel.events, panel.new_york, strict=True)
        if day in days and event.id not in events
    )


def _too_few(exposed: int) -> str:
    return f"exposed firms left: {exposed}, expected {LEAST_EXPOSED} or more"


@dataclass(frozen=True, slots=True)
class _Part:
    """One event's share of the slope: at the real date in row 0, at each shift below it."""

    section: Section
    fit: Forecast
    dates: Ints
    returns: Floats
    present: Bools
    usable: Bools
    weights: Floats
    curvature: Floats


def _measured(
    spec: Spec,
    market: Market,
    panel: EventPanel,
    row: Exposure,
    sections: Sequence[Section],
    factors: Mapping[int, Factors] | None,
) -> Exposure:
    rule = spec.rule
    legs = [Leg(s.event, "", s.day0, rule.window, 1) for s in sections]
    shifts = admissible_shifts(legs, panel.masked, rule)
    if row.before and panel.index("primary"):
        first = min(int(panel.day0[k]) for k in panel.index("primary")) + rule.window[0]
        shifts = shifts[max(s.day0 for s in sections) + shifts + rule.window[1] < first]
    moves = np.concatenate([[0], shifts])
    if row.method == "ols":
        factors = None
    elif factors is None:
        factors = _factors(spec, market, panel, legs, [s.day0 + moves for s in sections])
    own = own_days(legs)
    parts = [_part(spec, market, panel, section, moves, own, factors) for section in sections]
    curvature = np.sum([part.curvature for part in parts], axis=0)
    count = np.sum([part.present @ (part.section.dose > 0).astype(int) for part in parts], axis=0)
    good = (count >= LEAST_EXPOSED) & (curvature > 0)
    gone = [
        Dropped("exposure", f"{part.section.event}/{ticker}", "no abnormal return at the event")
        for part in parts
        for ticker, here in zip(part.section.tickers, part.present[0], strict=True)
        if not here
    ]
    row = replace(
        row,
        firms=sum(int(part.present[0].sum()) for part in parts),
        exposed=int(count[0]),
        admissible=len(shifts),
        few=int((~good[1:]).sum()),
        left_out=(*row.left_out, *gone),
    )
    if not good[0]:
        return replace(row, reason=_too_few(row.exposed))
    if good[1:].sum() < LEAST_QUIET:
        when = " before the first primary event" if row.before else ""
        reason = f"{int(good[1:].sum())} quiet days{when}, expected {LEAST_QUIET} or more"
        return replace(row, reason=reason)
    slope, variance, share = np.zeros(len(moves)), np.zeros(len(moves)), 0.0
    implied: dict[str, float] = dict.fromkeys(CASES, 0.0)
    for part in parts:
        weights = part.weights / np.where(good, curvature, np.inf)[:, None]
        slope += (weights * np.nan_to_num(part.fit.car[part.dates])).sum(axis=1)
        variance += slope_variances(
            weights,
            part.returns,
            market.returns[BENCHMARK].to_numpy("float64"),
            part.usable,
            part.fit,
            part.dates,
            window=rule.window,
            estimation=rule.estimation,
            guard_sessions=rule.guard_sessions,
        )
        share = max(share, float((weights[0] * part.section.dose).max()))
        for case in CASES:
            implied[case] += float(weights[0] @ part.section.implied[case])
    error, quiet = np.sqrt(variance), np.flatnonzero(good[1:]) + 1
    row = replace(
        row,
        slope=float(slope[0]),
        error=float(error[0]),
        top_share=share,
        shifts=moves[quiet],
        law=slope[quiet],
        law_error=error[quiet],
        implied=implied if any(implied.values()) else {},
    )
    return replace(_judged(spec, row), rests_on=_half_on(parts, factors, row.slope))


def _part(
    spec: Spec,
    market: Market,
    panel: EventPanel,
    section: Section,
    moves: Ints,
    own: Sequence[int],
    factors: Mapping[int, Factors] | None,
) -> _Part:
    """Weigh the firms of one event at the real date and at every shift.

    Who was there at the event is in wherever it has an abnormal return. The calendar's own
    windows are masked as it moves, as in `placebo_law`.
    """
    returns = market.returns.to_numpy("float64")[:, section.at]
    benchmark = market.returns[BENCHMARK].to_numpy("float64")
    moving = [day - section.day0 for day in own]
    fit = _fit(spec, returns, benchmark, panel.masked, moving)
    dates = section.day0 + moves
    present = np.isfinite(fit.car[dates]) & np.isfinite(fit.car[section.day0])
    weights, curvature = _weigh(section, present, dates, factors)
    usable = np.tile(~panel.masked & np.isfinite(benchmark), (len(dates), 1))
    for k in moving:
        inside = np.flatnonzero((dates + k >= 0) & (dates + k < len(benchmark)))
        usable[inside, dates[inside] + k] = False
    return _Part(section, fit, dates, returns, present, usable, weights, curvature)


def _weigh(
    section: Section, present: Bools, dates: Ints, factors: Mapping[int, Factors] | None
) -> tuple[Floats, Floats]:
    """Weigh the firms present; generalised weights take those out that have no covariance."""
    if factors is None:
        return ols_weights(present, section.dose, section.group)
    models = _latest(factors, dates)
    present &= np.array([np.isin(section.at, model.firms) for model in models])
    return gls_weights(present, section.dose, section.group, models, section.at)


def _half_on(parts: Sequence[_Part], factors: Mapping[int, Factors] | None, slope: float) -> str:
    """Find the exposed firm that takes half of the slope or more with it; empty when none does."""
    exposed = {
        ticker
        for part in parts
        for ticker, dose, here in zip(
            part.section.tickers, part.section.dose, part.present[0], strict=True
        )
        if dose > 0 and here
    }
    rest: dict[str, float] = {}
    for ticker in sorted(exposed):
        total = curvature = 0.0
        for part in parts:
            present = part.present[:1] & (np.array(part.section.tickers) != ticker)
            weights, size = _weigh(part.section, present, part.dates[:1], factors)
            car = np.nan_to_num(part.fit.car[part.section.day0])
            total, curvature = total + float(weights[0] @ car), curvature + float(size[0])
        rest[ticker] = total / curvature if curvature > 0 else 0.0
    return _heaviest({ticker: (value, math.nan, math.nan) for ticker, value in rest.items()}, slope)


def _heaviest(
    rest: Mapping[str, tuple[float, float, float]],
    slope: float,
    low: float = math.nan,
    high: float = math.nan,
) -> str:
    """Return which of the firms that carry a slope leaves least of it; empty when none does."""
    found = {
        ticker: value[0] / slope
        for ticker, value in rest.items()
        if carried((slope, low, high), value)
    }
    return min(found, key=lambda ticker: found[ticker]) if found else ""


def _fit(
    spec: Spec, returns: Floats, benchmark: Floats, masked: Bools, moving: Sequence[int] = ()
) -> Forecast:
    return rolling_forecast(
        returns,
        expected_return_design(spec.rule.model, {"market": benchmark}),
        masked,
        window=spec.rule.window,
        estimation=spec.rule.estimation,
        moving_mask=moving,
    )


def _factors(
    spec: Spec, market: Market, panel: EventPanel, legs: Sequence[Leg], dates: Sequence[Ints]
) -> dict[int, Factors]:
    """Estimate the covariance of all firms before the events and before every fifth session."""
    returns = market.returns.to_numpy("float64").copy()
    firms = {firm.ticker for firm in spec.firms}
    returns[:, [name not in firms for name in market.returns.columns]] = np.nan
    benchmark = market.returns[BENCHMARK].to_numpy("float64")
    return residual_factors(
        returns,
        benchmark,
        panel.masked,
        _fit(spec, returns, benchmark, panel.masked),
        np.union1d(np.concatenate(dates) // STEP * STEP, [leg.day0 for leg in legs]),
        window=spec.rule.window,
        estimation=spec.rule.estimation,
    )


def _latest(factors: Mapping[int, Factors], dates: Ints) -> list[Factors]:
    """Return each date's latest estimate; the very first dates take one a few sessions younger.

    It ends well before their windows all the same.
    """
    known = sorted(factors)
    places = np.maximum(np.searchsorted(known, dates, side="right") - 1, 0)
    return [factors[known[k]] for k in places.tolist()]


def _implied_alone(sections: Sequence[Section]) -> dict[str, float]:
    """Return the implied slope from parameters alone, where there is no return to look at."""
    every = [section for section in sections if len(section.dose)]
    pairs = [
        (section, *ols_weights(np.ones((1, len(section.dose)), bool), section.dose, section.group))
        for section in every
    ]
    total = sum(float(curvature[0]) for *_, curvature in pairs)
    implied = {
        case: sum(float(weights[0] @ section.implied[case]) for section, weights, _ in pairs)
        for case in CASES
    }
    return {case: value / total for case, value in implied.items()} if any(implied.values()) else {}


def _judged(spec: Spec, row: Exposure) -> Exposure:
    """Add tests, intervals, and what they say of the implied slope."""
    rule = spec.rule
    raw = prologue(row.slope, row.law, rule.alpha)
    scaled = row.law / row.law_error
    guarded = prologue(row.slope / row.error, scaled, rule.alpha)
    mde = minimum_detectable(scaled - guarded.center, row.error, guarded.critical, rule.power)
    low, high = guarded.low * row.error, guarded.high * row.error
    return replace(
        row,
        raw=raw,
        guarded=guarded,
        low=low,
        high=high,
        mde=mde,
        raw_mde=minimum_detectable(row.law - raw.center, 1.0, raw.critical, rule.power),
        by_case={case: decide(low, high, row.implied.get(case)) for case in CASES},
        breakeven=mde / kept_per_dollar(spec.thesis, "base") if spec.thesis else None,
    )


# --- rows ------------------------------------------------------------------------------------


def exposure_rows(
    spec: Spec, market: Market, panel: EventPanel, made: Portfolios
) -> tuple[Exposure, ...]:
    """Compute the slopes that any page may show: pooled by both methods, and per sector.

    All of them rest on one membership, the rule's. Others differ by one or two exposed firms,
    and a slope with and without a firm would give its return away: `exposure_versions`.

    Parameters
    ----------
    spec : Spec
    market : Market
    panel : EventPanel
    made : Portfolios

    Returns
    -------
    tuple of Exposure
        Pooled: OLS and GLS, each with the law of quiet days before the first primary event and
        of all quiet days. Then each sector, most of them with a reason instead of a slope.
    """
    shared = _shared(spec, market, panel)
    pooled = [
        _alone(spec, market, panel, made, row, shared)
        for method in METHODS
        for before in (True, False)
        for row in (
            exposure_law(spec, market, panel, made, method=method, before=before, factors=shared),
        )
    ]
    sectors = [
        _alone(spec, market, panel, made, exposure_law(spec, market, panel, made, sector=key), None)
        for key in spec.sectors
    ]
    return (*pooled, *(_public(row, pooled[0]) for row in sectors))


def _alone(
    spec: Spec,
    market: Market,
    panel: EventPanel,
    made: Portfolios,
    row: Exposure,
    factors: Mapping[int, Factors] | None,
) -> Exposure:
    """Ask of an interval that leaves out zero whether it does so without each exposed firm."""
    if row.reason or row.rests_on or row.low <= 0 <= row.high:
        return row
    tickers = [f.ticker for f in spec.firms if f.named_event in row.events and f.dose_usd_bn]
    rest = {}
    for ticker in tickers:
        less = exposure_law(
            spec,
            market,
            panel,
            made,
            method=row.method,
            before=row.before,
            sector=row.sector,
            without=(ticker,),
            factors=factors,
        )
        if not less.reason:
            rest[ticker] = (less.slope, less.low, less.high)
    return replace(row, rests_on=_heaviest(rest, row.slope, row.low, row.high))


def _public(row: Exposure, pooled: Exposure) -> Exposure:
    """Hide a sector's slope where the pooled one less it would be about one or two firms."""
    if row.reason or not 0 < pooled.exposed - row.exposed < LEAST_EXPOSED:
        return row
    reason = "not shown: with the pooled slope it would give the other sectors' exposed firms away"
    return Exposure(row.events, row.method, row.blackout, row.before, row.sector, reason=reason)


def exposure_versions(
    spec: Spec, market: Market, panel: EventPanel, made: Portfolios
) -> tuple[Exposure, ...]:
    """Compute the slope for other memberships; for local eyes, not for public pages.

    Pooled and for each event alone, by both methods: with and without blackout, without the
    most exposed firm, and without that firm's whole basket. Empty at portfolio level.

    Returns
    -------
    tuple of Exposure
    """
    doses = firm_doses(spec, market).dropna(subset="dose").sort_values("dose")
    if market.level != "firm" or doses.empty:
        return ()
    shared = _shared(spec, market, panel)
    firms = {firm.ticker: firm for firm in spec.firms}
    top = firms[str(doses["ticker"].iloc[-1])]
    basket = tuple(f.ticker for f in spec.members(top.sector) if f.basket == top.basket != "")
    choices: list[tuple[bool, tuple[str, ...]]] = [(True, ()), (False, ()), (False, (top.ticker,))]
    if len(basket) > 1:
        choices.append((False, basket))
    return tuple(
        exposure_law(
            spec,
            market,
            panel,
            made,
            event,
            method=method,
            blackout=blackout,
            without=without,
            factors=shared,
        )
        for event in (POOLED, *naming_events(spec, panel))
        for blackout, without in choices
        for method in METHODS
    )


def _shared(spec: Spec, market: Market, panel: EventPanel) -> dict[int, Factors] | None:
    """Estimate once what all generalised slopes need."""
    legs = [
        Leg(id, "", int(panel.day0[panel.position(id) or 0]), spec.rule.window, 1)
        for id in naming_events(spec, panel)
    ]
    if market.level != "firm" or not legs:
        return None
    dates = []
    for group in (legs, *([leg] for leg in legs)):
        moves = np.append(admissible_shifts(group, panel.masked, spec.rule), 0)
        dates += [leg.day0 + moves for leg in group]
    return _factors(spec, market, panel, legs, dates)
