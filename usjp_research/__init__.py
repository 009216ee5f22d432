"""Has the market priced in the U.S.-Japan partnership? Event studies that survive a common date.

The public names stand in the order of the pipeline: parameters, returns, events, portfolios,
expected returns, tests, placebo calendars, verdicts, the study, tables. Nothing is loaded until
it is used; ``__init__.pyi`` tells type checkers and editors the same names. Editors sort what
they complete: a cell that ends in the package's name shows the names in order.
"""

from __future__ import annotations

from importlib import import_module

__version__ = "0.1.0"

_PUBLIC = {
    "spec": (
        "digest",
        "in_project",
        "Spec",
        "Event",
        "Firm",
        "Rule",
        "Thesis",
        "InputError",
    ),
    "params": ("read_spec",),
    "market": (
        "load_market",
        "simulated_market",
        "read_returns",
        "market_digest",
        "Market",
        "Dropped",
    ),
    "donors": (
        "load_donors",
        "load_factors",
        "Donors",
        "Factors",
    ),
    "events": (
        "first_session",
        "event_panel",
        "EventPanel",
    ),
    "portfolios": (
        "form_portfolios",
        "disclosed_firms",
        "Portfolios",
    ),
    "models": (
        "rolling_forecast",
        "rolling_regression",
        "Forecast",
    ),
    "synthetic": (
        "synthetic_control",
        "synthetic_controls",
        "SyntheticFit",
    ),
    "matching": (
        "matched_forecast",
        "Match",
    ),
    "inference": (
        "TestResult",
        "portfolio_t",
        "adjusted_p",
    ),
    "placebo": (
        "admissible_shifts",
        "placebo_law",
        "join_laws",
        "stepdown_p",
        "minimum_detectable",
        "Placebo",
    ),
    "catalogue": ("catalogue_page",),
    "expected": (
        "expected_return_design",
        "Design",
        "Timing",
    ),
    "abnormal": (
        "abnormal_returns",
        "AbnormalReturns",
    ),
    "dependence": ("effective_firms",),
    "window_tests": ("WindowTests",),
    "battery": (
        "run_battery",
        "Battery",
    ),
    "reactions": (
        "event_reactions",
        "event_paths",
        "firm_reactions",
        "sector_battery",
        "coverage",
        "relative_paths",
        "EventPaths",
        "campaign_paths",
    ),
    "counterfactual": (
        "counterfactuals",
        "Counterfactuals",
    ),
    "verdict": (
        "implied_value",
        "decide",
        "Implied",
        "Verdict",
        "with_assumptions",
    ),
    "contrasts": (
        "contrast_versions",
        "NamedVersion",
    ),
    "timing": ("before_and_after",),
    "slopes": (
        "prologue",
        "Prologue",
    ),
    "doses": (
        "firm_doses",
        "dose_response",
    ),
    "exposure": (
        "exposure_law",
        "exposure_rows",
        "exposure_versions",
        "Exposure",
    ),
    "study": (
        "family_legs",
        "sector_law",
        "run_study",
        "Study",
        "what_if",
    ),
    "results": (
        "record",
        "collect_laws",
        "law_frame",
        "save_study",
    ),
    "battery_command": ("battery_frame",),
    "tables": (
        "verdict_table",
        "thesis_table",
        "reaction_table",
        "law_table",
        "battery_table",
        "dependence_table",
        "variant_table",
        "counterfactual_table",
        "match_table",
        "coverage_table",
        "members_table",
        "event_table",
        "calendar_table",
        "confounder_table",
        "claims_table",
        "dropped_table",
        "firm_table",
        "contrast_table",
        "timing_table",
        "timing_numbers",
        "exposure_table",
        "dose_table",
    ),
    "reading": (
        "save_reading",
        "read_results",
        "compose",
        "Reading",
    ),
    "figures": (
        "plot_scoreboard",
        "plot_reactions",
        "plot_caar",
        "plot_placebo",
        "plot_counterfactuals",
        "plot_sectors",
        "plot_exposure",
        "plot_dose_response",
        "Picture",
        "plot_calendar",
        "plot_campaign",
        "plot_events",
        "plot_waterfall",
    ),
}
_HOME = {name: module for module, names in _PUBLIC.items() for name in names}

__all__ = ["__version__", *_HOME]


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module 'usjp_research' has no attribute '{name}'")
    value = getattr(import_module(f"usjp_research.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return list(__all__)


def _repr_html_() -> str:
    rows = (
        f"<tr><th>{module}</th><td>{', '.join(names)}</td></tr>"
        for module, names in _PUBLIC.items()
    )
    return f"<table><caption>The pipeline, in order</caption>{''.join(rows)}</table>"
