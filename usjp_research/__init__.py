"""Has the market priced in the U.S.-Japan partnership? Event studies that survive a common date.

The public names stand in the order of the pipeline: parameters, returns, events, portfolios,
expected returns, tests, placebo calendars, verdicts, the study, tables. Nothing is loaded until
it is used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

__version__ = "0.1.0"

_PUBLIC = {
    "read_spec": "params",
    "digest": "spec",
    "in_project": "spec",
    "Spec": "spec",
    "Event": "spec",
    "Firm": "spec",
    "Rule": "spec",
    "Thesis": "spec",
    "InputError": "spec",
    "load_market": "market",
    "simulated_market": "market",
    "read_returns": "market",
    "market_digest": "market",
    "Market": "market",
    "Dropped": "market",
    "first_session": "events",
    "event_panel": "events",
    "EventPanel": "events",
    "form_portfolios": "portfolios",
    "disclosed_firms": "portfolios",
    "Portfolios": "portfolios",
    "rolling_forecast": "models",
    "Forecast": "models",
    "TestResult": "inference",
    "portfolio_t": "inference",
    "adjusted_p": "inference",
    "admissible_shifts": "placebo",
    "placebo_law": "placebo",
    "join_laws": "placebo",
    "stepdown_p": "placebo",
    "minimum_detectable": "placebo",
    "Placebo": "placebo",
    "implied_value": "verdict",
    "decide": "verdict",
    "Implied": "verdict",
    "Verdict": "verdict",
    "family_legs": "study",
    "sector_law": "study",
    "event_reactions": "study",
    "event_paths": "study",
    "firm_reactions": "study",
    "coverage": "study",
    "relative_paths": "study",
    "run_study": "study",
    "Study": "study",
    "EventPaths": "study",
    "record": "results",
    "collect_laws": "results",
    "law_frame": "results",
    "save_study": "results",
    "verdict_table": "tables",
    "thesis_table": "tables",
    "reaction_table": "tables",
    "law_table": "tables",
    "variant_table": "tables",
    "coverage_table": "tables",
    "members_table": "tables",
    "event_table": "tables",
    "calendar_table": "tables",
    "confounder_table": "tables",
    "claims_table": "tables",
    "dropped_table": "tables",
    "firm_table": "tables",
    "plot_scoreboard": "figures",
    "plot_reactions": "figures",
    "plot_caar": "figures",
    "plot_placebo": "figures",
    "plot_sectors": "figures",
    "Picture": "figures",
}

__all__ = [  # noqa: RUF022 - in the order of the pipeline
    "__version__",
    "read_spec",
    "digest",
    "in_project",
    "Spec",
    "Event",
    "Firm",
    "Rule",
    "Thesis",
    "InputError",
    "load_market",
    "simulated_market",
    "read_returns",
    "market_digest",
    "Market",
    "Dropped",
    "first_session",
    "event_panel",
    "EventPanel",
    "form_portfolios",
    "disclosed_firms",
    "Portfolios",
    "rolling_forecast",
    "Forecast",
    "TestResult",
    "portfolio_t",
    "adjusted_p",
    "admissible_shifts",
    "placebo_law",
    "join_laws",
    "stepdown_p",
    "minimum_detectable",
    "Placebo",
    "implied_value",
    "decide",
    "Implied",
    "Verdict",
    "family_legs",
    "sector_law",
    "event_reactions",
    "event_paths",
    "firm_reactions",
    "coverage",
    "relative_paths",
    "run_study",
    "Study",
    "EventPaths",
    "record",
    "collect_laws",
    "law_frame",
    "save_study",
    "verdict_table",
    "thesis_table",
    "reaction_table",
    "law_table",
    "variant_table",
    "coverage_table",
    "members_table",
    "event_table",
    "calendar_table",
    "confounder_table",
    "claims_table",
    "dropped_table",
    "firm_table",
    "plot_scoreboard",
    "plot_reactions",
    "plot_caar",
    "plot_placebo",
    "plot_sectors",
    "Picture",
]

if TYPE_CHECKING:
    from usjp_research.events import EventPanel, event_panel, first_session
    from usjp_research.figures import (
        Picture,
        plot_caar,
        plot_placebo,
        plot_reactions,
        plot_scoreboard,
        plot_sectors,
    )
    from usjp_research.inference import TestResult, adjusted_p, portfolio_t
    from usjp_research.market import (
        Dropped,
        Market,
        load_market,
        market_digest,
        read_returns,
        simulated_market,
    )
    from usjp_research.models import Forecast, rolling_forecast
    from usjp_research.params import read_spec
    from usjp_research.placebo import (
        Placebo,
        admissible_shifts,
        join_laws,
        minimum_detectable,
        placebo_law,
        stepdown_p,
    )
    from usjp_research.portfolios import Portfolios, disclosed_firms, form_portfolios
    from usjp_research.results import collect_laws, law_frame, record, save_study
    from usjp_research.spec import Event, Firm, InputError, Rule, Spec, Thesis, digest, in_project
    from usjp_research.study import (
        EventPaths,
        Study,
        coverage,
        event_paths,
        event_reactions,
        family_legs,
        firm_reactions,
        relative_paths,
        run_study,
        sector_law,
    )
    from usjp_research.tables import (
        calendar_table,
        claims_table,
        confounder_table,
        coverage_table,
        dropped_table,
        event_table,
        firm_table,
        law_table,
        members_table,
        reaction_table,
        thesis_table,
        variant_table,
        verdict_table,
    )
    from usjp_research.verdict import Implied, Verdict, decide, implied_value


def __getattr__(name: str) -> object:
    if name not in _PUBLIC:
        raise AttributeError(f"module 'usjp_research' has no attribute '{name}'")
    value = getattr(import_module(f"usjp_research.{_PUBLIC[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return list(__all__)
