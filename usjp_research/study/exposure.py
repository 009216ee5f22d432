"""Did more exposed firms react more? The slope of abnormal return on dose, against quiet days."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from usjp_research.engine.placebo import Leg, Placebo, admissible_shifts, independent_shifts
from usjp_research.engine.slopes import Prologue, prologue, slope_portfolio, slope_weights
from usjp_research.market.record import Dropped
from usjp_research.study.doses import (
    Section,
    calendar,
    cross_section,
    event_cars,
    firm_doses,
    firm_returns,
    forecast,
    naming_events,
)
from usjp_research.study.events import EventPanel
from usjp_research.study.sample import Sample
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

POOLED = "pooled"
LEAST_EXPOSED = 3
LEAST_QUIET = 250
MOST_ON_ONE = 0.5
SLOPE = "slope"  # the one group of the law
# What would give a slope back that one firm carries, together with the MDE.
TELLING = ("slope", "error", "low", "high", "raw_center", "raw_t", "raw_p_t")
SAVED = (  # what is saved of a slope
    *("slope", "error", "low", "high", "mde", "p", "top_share", "breakeven", "admissible", "few"),
    *("raw_center", "raw_p_cdf", "raw_t", "raw_df", "raw_p_t", "quiet_days", "independent"),
    *("rests_on", "withheld"),
)
NEEDS_FIRMS = (
    "needs single firms, and this market has averages of three or more; give firm prices with "
    "'usjp study --market file:PATH'"
)


@dataclass(frozen=True, slots=True)
class Slope:
    """A slope of abnormal return on dose with its law on quiet days, and what it says.

    ``by_case`` is what the rule of the verdict would say: evidence, never the verdict.
    ``breakeven`` is the margin times listed share at which the thesis would equal the MDE, and
    ``rests_on`` the exposed firm without which the slope is another one: see `carried`.
    """

    law: Placebo
    low: float
    high: float
    p: float
    mde: float
    raw: Prologue
    top_share: float
    by_case: Mapping[str, str]
    breakeven: float | None
    rests_on: str

    @property
    def value(self) -> float:
        """The slope at the events."""
        return float(self.law.effect[0])

    @property
    def quiet(self) -> Floats:
        """The slope on every quiet day, shape (n_shifts,)."""
        return self.law.null_effect[:, 0]

    @property
    def safe(self) -> bool:
        """Whether the slope may be published: one firm carries no more than half of it."""
        return not self.top_share > MOST_ON_ONE


@dataclass(frozen=True, slots=True)
class Exposure:
    """Who was exposed at which events, what is implied for them, and the slope where there is one.

    A dose is the dollars announced for a firm over its market value before the news, so a slope
    of 0.05 says that each dollar announced moved market value by five cents (five percentage
    points of CAR for a dose of 100%). ``firms`` and ``exposed`` are summed over events.
    """

    events: tuple[str, ...]
    blackout: bool
    before: bool
    without: tuple[str, ...]
    same_session: tuple[str, ...] = ()
    firms: int = 0
    exposed: int = 0
    implied: Mapping[str, float] = field(default_factory=dict)
    left_out: tuple[Dropped, ...] = ()
    slope: Slope | None = None
    reason: str = ""

    @property
    def verdict(self) -> str:
        """What the rule of the verdict would say of this slope, or nothing."""
        return headline(self.slope.by_case) if self.slope else ""

    @property
    def headline(self) -> str:
        """The firm that carries the slope where one does, else the verdict, or nothing."""
        on = self.slope.rests_on if self.slope else ""
        return rests_words(on) if on else self.verdict

    @property
    def remark(self) -> str:
        """What a reader must know before the slope: one firm that carries it, other news."""
        parts = []
        if self.slope and not self.slope.safe:
            parts.append(f"one firm carries {self.slope.top_share:.0%} of the slope")
        if self.same_session:
            parts.append(f"other news in the same session: {', '.join(self.same_session)}")
        return "; ".join(parts)

    def numbers(self) -> dict[str, object]:
        """Return what a public page may show: the slope and its law, rounded, no single firm.

        Where one firm carries the slope, slope times dose is close to that firm's return, so the
        slope and whatever gives it back are withheld; the placebo p stays. The list of slopes on
        quiet days is never in it.
        """
        words = ("events", "blackout", "before", "firms", "exposed")
        said = ("headline", "verdict", "remark", "reason")
        numbers: dict[str, object] = {name: getattr(self, name) for name in (*words, *said)}
        numbers["implied"] = {case: round(value, 4) for case, value in self.implied.items()}
        nothing = {**dict.fromkeys(SAVED), "by_case": dict.fromkeys(CASES)}
        found = _slope_numbers(self.slope) if self.slope else nothing
        return numbers | found

    def _repr_html_(self) -> str:
        events = ", ".join(self.events) or "no event"
        if not self.slope:
            return card("Exposure", events, "", self.reason)
        found = self.slope
        slope = f"slope {number(100 * found.value, 1)} cents per dollar announced"
        span = f"{number(100 * found.low, 1)} to {number(100 * found.high, 1)}"
        return card("Exposure", events, "", f"{slope} ({span})", self.remark)


def _slope_numbers(found: Slope) -> dict[str, object]:
    law, raw = found.law, found.raw
    sizes = {
        "slope": found.value,
        "error": float(law.error[0]),
        **{name: getattr(found, name) for name in ("low", "high", "mde", "p", "top_share")},
        "breakeven": found.breakeven,
        **{f"raw_{name}": getattr(raw, name) for name in ("center", "p_cdf", "t", "df", "p_t")},
    }
    numbers: dict[str, object] = {
        **{name: None if value is None else round(value, 4) for name, value in sizes.items()},
        "admissible": law.admissible,
        "few": law.admissible - len(law),
        "quiet_days": len(law),
        "independent": round(law.independent),
        "rests_on": found.rests_on,
        "by_case": dict(found.by_case),
        "withheld": not found.safe,
    }
    return numbers if found.safe else numbers | dict.fromkeys(TELLING)


# --- the law ---------------------------------------------------------------------------------


def exposure_law(
    data: Sample,
    event: str = POOLED,
    *,
    blackout: bool = True,
    before: bool = True,
    without: Sequence[str] = (),
) -> Exposure:
    """Compare the slope of event CAR on dose with the same slope on quiet days.

    The abnormal returns of all firms are regressed on their doses with sector effects; over
    several events the slope is common and sector effects are each event's own. Firms that were
    not named have a dose of zero; firms named at another event are left out. The slope is the
    return of a portfolio, so its law is that of any portfolio of the study: the events are
    moved to every quiet place, where the same firms, as far as they have returns, form it with
    the same doses. Without single firms, three exposed ones or 250 quiet days there is no slope
    but a ``reason``.

    Parameters
    ----------
    event : str
        An event id, or ``pooled``: every primary or secondary event that names firms.
    blackout : bool
        Leave out firms with news of their own, as the sector portfolios do.
    before : bool
        Law from quiet days before the first primary event, or from all quiet days.
    without : sequence of str
        Tickers to leave out.

    Raises
    ------
    InputError
        When the event is unknown.

    References
    ----------
    Cohn, Johnson, Liu and Wardlaw (2026), "Past is Prologue", Journal of Financial Economics;
    Fama (1976), Foundations of Finance, chapter 9, for slopes as portfolios.

    Examples
    --------
    >>> row = exposure_law(data)                                    # doctest: +SKIP
    >>> row.slope.value, row.slope.raw.p_cdf                        # doctest: +SKIP
    """
    spec, panel = data.spec, data.panel
    events = naming_events(spec, panel) if event == POOLED else (spec.event(event).id,)
    row = Exposure(events, blackout, before, tuple(without), _same_session(panel, events))
    if not events:
        return replace(row, reason="no firm is named with dollars at any event that can be tested")
    missing = [id for id in events if panel.position(id) is None]
    if missing:
        return replace(row, reason=f"event {missing[0]} cannot be tested on this market")
    sections = [cross_section(data, id, blackout=blackout, without=without) for id in events]
    cars = [event_cars(data, section, sections) for section in sections]
    if data.firms is not None:
        sections = [_seen(s, np.isfinite(car)) for s, car in zip(sections, cars, strict=True)]
        cars = [car[np.isfinite(car)] for car in cars]
    exposed = sum(int((section.dose > 0).sum()) for section in sections)
    row = replace(
        row,
        firms=sum(len(section.tickers) for section in sections),
        exposed=exposed,
        left_out=tuple(item for section in sections for item in section.left_out),
    )
    if exposed < LEAST_EXPOSED:
        reason = f"exposed firms left: {exposed}, expected {LEAST_EXPOSED} or more"
        return replace(row, reason=reason)
    row = replace(row, implied=_implied(sections))
    if data.firms is None:
        return replace(row, reason=NEEDS_FIRMS)
    return _measured(data, row, sections, cars)


def _same_session(panel: EventPanel, events: Sequence[str]) -> tuple[str, ...]:
    days = {panel.new_york[k] for k, event in enumerate(panel.events) if event.id in events}
    return tuple(
        event.id
        for event, day in zip(panel.events, panel.new_york, strict=True)
        if day in days and event.id not in events
    )


def _seen(section: Section, here: Bools) -> Section:
    """Leave out the firms that have no abnormal return at the event."""
    reason = "no abnormal return at the event"
    gone = [ticker for ticker, seen in zip(section.tickers, here, strict=True) if not seen]
    left_out = [Dropped("exposure", f"{section.event}/{ticker}", reason) for ticker in gone]
    return replace(section.only(here), left_out=(*section.left_out, *left_out))


def _at_events(sections: Sequence[Section]) -> tuple[list[Floats], list[float]]:
    """Weigh every firm of every event for one common slope; return each event's curvature too."""
    pairs = [
        slope_weights(np.ones((1, len(section.dose)), bool), section.dose, section.group)
        for section in sections
    ]
    curvatures = [float(curvature[0]) for _, curvature in pairs]
    total = sum(curvatures)
    return [weights[0] / total if total else weights[0] for weights, _ in pairs], curvatures


def _implied(sections: Sequence[Section]) -> dict[str, float]:
    """Return the slope if every named firm moved by what its own lines are worth."""
    weights, _ = _at_events(sections)
    pairs = list(zip(weights, sections, strict=True))
    implied: dict[str, float] = {
        case: sum((float(w @ s.implied[case]) for w, s in pairs), start=0.0) for case in CASES
    }
    return implied if any(implied.values()) else {}


def _measured(
    data: Sample, row: Exposure, sections: Sequence[Section], cars: Sequence[Floats]
) -> Exposure:
    """Form the slope's portfolio, move it over the quiet days, and say what it shows."""
    rule, primary = data.spec.rule, data.panel.index("primary")
    legs = calendar(data, sections)
    shifts = admissible_shifts(legs, data.panel.masked, rule)
    if row.before and primary:
        first = min(int(data.panel.day0[k]) for k in primary) + rule.window[0]
        shifts = shifts[max(leg.day0 for leg in legs) + shifts + rule.window[1] < first]
    law = _law(data, sections, legs, shifts)
    if len(law) < LEAST_QUIET:
        when = " before the first primary event" if row.before else ""
        reason = f"{len(law)} quiet days{when}, expected {LEAST_QUIET} or more"
        return replace(row, reason=reason)
    weights, _ = _at_events(sections)
    share = max(float((w * s.dose).max()) for w, s in zip(weights, sections, strict=True))
    on = _half_on(sections, cars)
    return replace(row, slope=_slope(data, law, share, row.implied, on))


def _law(data: Sample, sections: Sequence[Section], legs: Sequence[Leg], shifts: Ints) -> Placebo:
    """Compute the slope and its guarded error at the events and at every shift of them.

    Exposed firms are listed at different times. Dates that have the same ones share a portfolio,
    so that its error is estimated on the firms that are in it; dates with fewer than three are
    left out.
    """
    moves = np.concatenate([[0], shifts])
    there = np.hstack(
        [
            np.isfinite(
                forecast(data, legs, leg, firm_returns(data, section)).car[leg.day0 + moves]
            )
            for leg, section in zip(legs, sections, strict=True)
        ]
    )
    exposed = np.concatenate([section.dose > 0 for section in sections])
    there[:, ~exposed] = True
    patterns, which = np.unique(there, axis=0, return_inverse=True)
    effect = np.where(there[:, exposed].sum(axis=1) >= LEAST_EXPOSED, 0.0, np.nan)
    variance = effect.copy()
    for k, pattern in enumerate(patterns):
        dates = np.flatnonzero((which == k) & np.isfinite(effect))
        for leg, series in zip(legs, _portfolios(data, sections, pattern), strict=True):
            fit = forecast(data, legs, leg, series[:, None])
            effect[dates] += fit.car[leg.day0 + moves[dates], 0]
            variance[dates] += fit.guarded[leg.day0 + moves[dates], 0]
    error = np.sqrt(variance)[:, None]
    effect = effect[:, None]
    known = np.isfinite(effect + error)[1:, 0]
    return Placebo(
        groups=(SLOPE,),
        shifts=shifts[known],
        effect=effect[0],
        error=error[0],
        statistic=effect[0] / error[0],
        null_effect=effect[1:][known],
        null_error=error[1:][known],
        null_statistic=(effect / error)[1:][known],
        admissible=len(shifts),
        worth=np.array([independent_shifts(legs, shifts[known]) if known.any() else 0.0]),
    )


def _portfolios(data: Sample, sections: Sequence[Section], pattern: Bools) -> list[Floats]:
    """Return the daily return of each event's part of the slope, formed by some of its firms."""
    every = np.split(pattern, np.cumsum([len(section.dose) for section in sections])[:-1])
    left = [section.only(here) for section, here in zip(sections, every, strict=True)]
    _, curvatures = _at_events(left)
    return [
        slope_portfolio(firm_returns(data, s), s.dose, s.group) * curvature / sum(curvatures)
        for s, curvature in zip(left, curvatures, strict=True)
    ]


def _slope(
    data: Sample, law: Placebo, share: float, implied: Mapping[str, float], on: str
) -> Slope:
    """Read a slope's law: interval, tests, and what they say of the implied slope."""
    rule, thesis = data.spec.rule, data.spec.thesis
    numbers = law.table(rule.alpha, rule.power, family=False).iloc[0]
    low, high, p, mde = (float(numbers[name]) for name in ("low", "high", "p", "mde"))
    return Slope(
        law=law,
        low=low,
        high=high,
        p=p,
        mde=mde,
        raw=prologue(float(law.effect[0]), law.null_effect[:, 0]),
        top_share=share,
        by_case={case: decide(low, high, implied.get(case)) for case in CASES},
        breakeven=mde / kept_per_dollar(thesis, "base") if thesis else None,
        rests_on=on,
    )


def _half_on(sections: Sequence[Section], cars: Sequence[Floats]) -> str:
    """Find the exposed firm that takes half of the slope or more with it; empty when none does."""
    from statsmodels.regression.linear_model import OLS

    firms = np.array([ticker for section in sections for ticker in section.tickers])
    dose = np.concatenate([section.dose for section in sections])
    cell = np.concatenate([1000 * k + section.group for k, section in enumerate(sections)])
    design = np.column_stack([dose, cell[:, None] == np.unique(cell)]).astype(float)
    car = np.concatenate(cars)
    whole = float(OLS(car, design).fit().params[0])
    rest = {
        ticker: (float(OLS(car[stays], design[stays]).fit().params[0]), math.nan, math.nan)
        for ticker in np.unique(firms[dose > 0]).tolist()
        if (dose[stays := firms != ticker] > 0).any()
    }
    return _heaviest(rest, (whole, math.nan, math.nan))


def _heaviest(
    rest: Mapping[str, tuple[float, float, float]], whole: tuple[float, float, float]
) -> str:
    """Return which of the firms that carry a slope leaves least of it; empty when none does."""
    found = {t: value[0] / whole[0] for t, value in rest.items() if carried(whole, value)}
    return min(found, key=lambda ticker: found[ticker]) if found else ""


# --- rows ------------------------------------------------------------------------------------


def exposure_rows(data: Sample) -> tuple[Exposure, ...]:
    """Compute the pooled slopes that any page may show: quiet days before the news, and all.

    Both rest on one membership, the rule's. Others differ by one or two exposed firms, and a
    slope with and without a firm would give its return away: `exposure_versions`.
    """
    return tuple(_alone(data, exposure_law(data, before=before)) for before in (True, False))


def _alone(data: Sample, row: Exposure) -> Exposure:
    """Ask of an interval that leaves out zero whether it does so without each exposed firm."""
    found = row.slope
    if found is None or found.rests_on or found.low <= 0 <= found.high:
        return row
    named = [f.ticker for f in data.spec.firms if f.named_event in row.events and f.dose_usd_bn]
    without = {t: exposure_law(data, before=row.before, without=(t,)).slope for t in named}
    rest = {t: (less.value, less.low, less.high) for t, less in without.items() if less}
    on = _heaviest(rest, (found.value, found.low, found.high))
    return replace(row, slope=replace(found, rests_on=on))


def exposure_versions(data: Sample) -> tuple[Exposure, ...]:
    """Compute the slope for other memberships; for local eyes, not for public pages.

    Pooled and for each event alone: with and without blackout, without the most exposed firm,
    and without that firm's whole basket. Empty at portfolio level.
    """
    spec = data.spec
    doses = firm_doses(spec, data.market).dropna(subset="dose").sort_values("dose")
    if data.firms is None or doses.empty:
        return ()
    top = next(firm for firm in spec.firms if firm.ticker == doses["ticker"].iloc[-1])
    basket = tuple(f.ticker for f in spec.members(top.sector) if f.basket == top.basket != "")
    choices: list[tuple[bool, tuple[str, ...]]] = [(True, ()), (False, ()), (False, (top.ticker,))]
    if len(basket) > 1:
        choices.append((False, basket))
    return tuple(
        exposure_law(data, event, blackout=blackout, without=without)
        for event in (POOLED, *naming_events(spec, data.panel))
        for blackout, without in choices
    )
