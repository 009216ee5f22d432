"""What every part of the study starts from: one frozen record, made once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pandas as pd

from usjp_research.engine.design import MODELS, Design, Floats, Ints, expected_return_design
from usjp_research.engine.placebo import Leg, Placebo, placebo_law, signed_sums
from usjp_research.engine.rolling import Forecast, rolling_forecast
from usjp_research.market.factors import Factors, check_factors, read_factors
from usjp_research.market.load import load_market, shipped_averages
from usjp_research.market.openings import load_openings
from usjp_research.market.record import BENCHMARK, Market
from usjp_research.spec.records import Spec
from usjp_research.study.capped import with_capped
from usjp_research.study.events import EventPanel, event_panel
from usjp_research.study.portfolios import Portfolios, form_portfolios
from usjp_research.words import InputError, card


@dataclass(frozen=True, slots=True)
class Sample:
    """A study on a market: what is asked, the returns, where events lie, who is in a portfolio.

    ``controls`` (n_days, n_averages) are averages of outside firms that ship with the project, for
    the second rule; without a column where there is no such rule, or the returns are drawn.
    """

    spec: Spec
    market: Market
    panel: EventPanel
    portfolios: Portfolios
    controls: pd.DataFrame = field(default_factory=pd.DataFrame)

    @property
    def firms(self) -> pd.DataFrame | None:
        """Daily returns of single firms, shape (n_days, n_firms); None where only averages are."""
        return self.market.returns if self.market.level == "firm" else None

    @property
    def design(self) -> Design:
        """The rule's expected-return model on the market's days."""
        factors = self.market.factors
        columns = {str(name): factors[name].to_numpy("float64") for name in factors}
        columns["market"] = self.portfolios.benchmark
        return expected_return_design(self.spec.rule.model, columns)

    @property
    def plan(self) -> dict[str, Any]:
        """What the rule computes every law on: returns, design, mask, and the rule itself."""
        own = {"returns": self.portfolios.returns, "design": self.design}
        return {**own, "masked": self.panel.masked, "rule": self.spec.rule}

    def law(self, groups: Mapping[str, Sequence[Leg]], **how: Any) -> Placebo:
        """Compute the `placebo_law` of groups of windows; ``how`` replaces what is in `plan`."""
        return placebo_law(groups, **{**self.plan, **how})

    def sums(self, groups: Sequence[Sequence[Leg]], moves: Ints, **how: Any) -> Floats:
        """Compute the `signed_sums` of groups of windows by the rule, as `law` does."""
        return signed_sums(groups, moves=moves, **{**self.plan, **how})

    def forecast(self, returns: Floats, *, design: Design | None = None, **how: Any) -> Forecast:
        """Forecast the rule's window on every day, for series of shape (n_days, n_series).

        ``design`` and ``how`` replace what the rule says, as for `rolling_forecast`.
        """
        rule = self.spec.rule
        own = {key: getattr(rule, key) for key in ("window", "estimation", "guard_sessions")}
        return rolling_forecast(returns, design or self.design, self.panel.masked, **own | how)

    def days(self, event: str, sector: str) -> tuple[pd.DataFrame, pd.DataFrame]:
        """Return the days on which an event's model is fitted, and those of its window.

        Columns are ``sector``, the return of the event's portfolio, and ``market``; days in the
        windows of real events are left out of the fit, as are days without a return. Raises
        `InputError` for names that the study does not have, and where there is no portfolio.
        """
        self.spec.members(sector)
        place = self.panel.position(self.spec.event(event).id)
        if place is None:
            raise InputError(f"event {event} cannot be tested: {self.panel.why(event)}")
        slot, rule = self.portfolios.slots[event, sector], self.spec.rule
        if not slot.series:
            raise InputError(f"{event}, {sector}: no portfolio ({slot.reason})")
        returns = self.portfolios.returns[slot.series]
        table = pd.DataFrame({"sector": returns, "market": self.portfolios.benchmark})
        low, high = (int(self.panel.day0[place]) + day for day in rule.window)
        last = low - rule.estimation.ends_before + 1
        past = slice(last - rule.estimation.sessions, last)
        return table[past][~self.panel.masked[past]].dropna(), table[low : high + 1]

    def _repr_html_(self) -> str:
        sectors = f"{len(self.spec.sectors)} sectors, {len(self.panel.events)} events"
        return card("Sample", "", sectors, f"returns of {self.market.name}")


def lacking(model: str, factors: Factors) -> str:
    """Say which factors of a model a file does not have; nothing where it has all."""
    absent = [name for name in MODELS[model].factors if name not in factors.returns]
    told = f"{factors.source} has no column {', '.join(absent)}"
    return (factors.reason or told) if absent else ""


def with_factors(spec: Spec, market: Market, factors: Factors) -> Market:
    """Add what the rule's model is made of besides the market, or raise `InputError` without it.

    Factors of another day than the market's are refused, whatever the model.
    """
    check_factors(factors, market.returns[BENCHMARK])
    needed = [name for name in MODELS[spec.rule.model].factors if name not in market.factors]
    if not needed:
        return market
    if reason := lacking(spec.rule.model, factors):
        raise InputError(f"model '{spec.rule.model}': {reason}")
    ends = factors.returns[needed].dropna().index.max()
    late = (e for e in spec.with_role("primary") if pd.Timestamp(e.instant.date()) > ends)
    if event := next(late, None):
        raise InputError(
            f"{factors.source}: ends {ends.date()}, before primary event {event.id}; give a longer "
            f"file, or another model than '{spec.rule.model}'"
        )
    told = {**market.provenance, "factors": factors.source}
    return replace(market, factors=factors.returns[needed], provenance=told)


def sample(
    spec: Spec,
    market: Market | str | None = None,
    openings: str | None = None,
    *,
    factors: str = "",
    factor_units: str = "auto",
) -> Sample:
    """Place the events in a market's calendar and form the portfolios.

    The market is one of returns, or a source as `load_market` takes it, by default the one that
    the spec names; ``openings`` and ``factors`` are files as `load_openings` and `read_factors`
    take them, the latter read for a model of factors alone. Raises `InputError` as these,
    `event_panel` and `form_portfolios` do.

    Examples
    --------
    >>> data = sample(read_spec())                                  # doctest: +SKIP
    >>> data.panel.days("primary")                                  # doctest: +SKIP
    """
    if not isinstance(market, Market):
        market = load_market(spec, market)
    market = load_openings(spec, market, openings)
    if MODELS[spec.rule.model].factors:
        market = with_factors(spec, market, read_factors(factors, market.dates, factor_units))
    panel = event_panel(spec, market)
    made = form_portfolios(spec, market, panel)
    if spec.rule.second is None:
        return Sample(spec, market, panel, made)
    return Sample(spec, market, panel, with_capped(spec, market, made), shipped_averages(market))
