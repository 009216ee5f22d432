"""Write docs/tests.md, and the table of docs/methods.md: what pins every statistic, how closely."""

from __future__ import annotations

from pathlib import Path

import usjp_research.engine.battery.run  # noqa: F401 its tests enter the catalogue
from usjp_research.engine.battery.catalogue import TESTS, believable_first
from usjp_research.runs.store import write_whole

PAGE = Path(__file__).with_name("methods.md")
CATALOGUE = Path(__file__).with_name("tests.md")
MARKS = (
    "<!-- made by docs/make_methods.py: start -->",
    "<!-- made by docs/make_methods.py: end -->",
)
GOLDEN = "battery/test_battery_command: test_the_command_reproduces_the_golden_numbers"
JOINT = (
    "battery/test_battery_properties: "
    "test_joint_tests_are_those_of_a_multivariate_regression_with_event_dummies"
)
OTHERWISE = {  # tests of the battery that are not in the golden file
    "placebo_t": (
        "battery/test_battery_properties: "
        "test_placebo_p_follows_from_the_same_portfolio_on_every_earlier_date",
        "1e-9",
    ),
    "sectors_equal_F": (JOINT, "1e-8"),
    "sectors_zero_F": ("battery/test_battery: test_every_number_follows_the_definitions", "1e-9"),
}
STUDY = [  # statistic, source, file and test, tolerance
    (
        "abnormal return and forecast error",
        "MacKinlay (1997); Salinger (1992)",
        "study/test_study: test_event_caars_agree_with_pandas_and_statsmodels",
        "1e-9",
    ),
    (
        "firm-level fit",
        "MacKinlay (1997)",
        "engine/test_models: test_firm_level_fit_and_full_forecast_error_match_r",
        "1e-9",
    ),
    (
        "Scholes-Williams beta",
        "Scholes and Williams (1977)",
        "engine/test_models: test_scholes_williams_is_their_formula_with_its_prediction_error",
        "1e-9",
    ),
    (
        "guarded error",
        "this project",
        "engine/test_models: test_the_guard_takes_the_larger_variance",
        "exact",
    ),
    (
        "placebo shifts",
        "Brown and Warner (1985)",
        "engine/test_placebo: test_admissible_shifts_equal_a_search_day_by_day",
        "exact",
    ),
    (
        "C, se and S",
        "Brown and Warner (1985)",
        "engine/test_placebo: test_statistics_are_signed_sums_over_guarded_errors",
        "1e-9",
    ),
    (
        "interval",
        "inversion of the test",
        "engine/test_placebo: "
        "test_the_interval_is_the_set_of_effects_that_the_test_does_not_reject",
        "6e-5 (a grid)",
    ),
    (
        "step-down p",
        "Romano and Wolf (2005)",
        "engine/test_placebo: test_stepdown_equals_its_definition_and_is_never_below_the_single_p",
        "1e-6",
    ),
    (
        "MDE",
        "this project",
        "engine/test_placebo: test_minimum_detectable_effect_is_the_smallest_with_the_power",
        "1e-9",
    ),
    (
        "verdict",
        "this project",
        "study/test_verdict: "
        "test_every_interval_and_value_gets_exactly_the_one_verdict_of_the_rule",
        "exact",
    ),
    (
        "implied value",
        "this project",
        "study/test_verdict: test_the_implied_value_is_the_formula_line_by_line",
        "1e-12",
    ),
    (
        "capped weights",
        "this project",
        "study/test_second: test_capped_weights_are_the_one_cut_scaling_that_sums_to_one",
        "1e-6",
    ),
    (
        "rows of rule 2",
        "this project",
        "study/test_second: test_the_rows_are_those_of_statsmodels_on_the_slots_series",
        "1e-8",
    ),
    (
        "retained share",
        "this project",
        "study/test_second: test_the_retained_share_is_what_is_left_of_a_shock_of_the_whole_sector",
        "1e-10",
    ),
    (
        "criterion on quiet dates",
        "this project",
        "study/test_quiet: "
        "test_the_criterion_is_the_mean_log_of_mde_over_retained_share_by_statsmodels",
        "1e-7",
    ),
    (
        "evidence ratio",
        "kernel densities",
        "engine/test_evidence: test_the_ratio_is_that_of_two_kernel_densities_at_any_law",
        "1e-12",
    ),
    (
        "assurance",
        "this project",
        "engine/test_evidence: test_assurance_is_the_chance_of_each_verdict_on_a_normal_law",
        "Monte Carlo",
    ),
    (
        "held-out size",
        "this project",
        "engine/test_evidence: "
        "test_the_size_is_the_one_counted_by_hand_on_random_halves_of_ten_blocks",
        "1e-12",
    ),
    (
        "random calendars",
        "this project",
        "study/test_method: test_a_random_calendar_is_the_rule_on_those_days",
        "1e-9",
    ),
    (
        "first trade",
        "this project",
        "study/test_first_trade: "
        "test_rows_are_those_of_statsmodels_on_the_first_trades_of_single_firms",
        "1e-8",
    ),
    (
        "since the note",
        "this project",
        "study/test_since: test_sum_and_band_are_those_of_statsmodels",
        "1e-10",
    ),
    (
        "slope on dose",
        "Cohn, Johnson, Liu and Wardlaw (2026)",
        "study/test_exposure: test_slopes_equal_statsmodels_on_every_tenth_day",
        "1e-9",
    ),
    (
        "synthetic control",
        "Abadie, Diamond and Hainmueller (2010)",
        "engine/test_synthetic: test_the_fit_is_that_of_two_generic_solvers",
        "1e-6",
    ),
]


def rows() -> list[tuple[str, str, str, str]]:
    """List the study's statistics, then the tests of the battery."""
    found = list(STUDY)
    for key in believable_first(TESTS):
        found.append((f"`{key}`", TESTS[key].paper, *OTHERWISE.get(key, (GOLDEN, "1e-9"))))
    return found


def page(text: str) -> str:
    """Put the table between the marks of a page."""
    head, start, rest = text.partition(MARKS[0])
    _, end, tail = rest.partition(MARKS[1])
    lines = ["| statistic | source | pinned by, in `tests/` | agreement |", "|---|---|---|---|"]
    lines += [f"| {' | '.join(row)} |" for row in rows()]
    return "\n".join([head + start, *lines, end + tail])


def catalogue() -> str:
    """Write the page that lists every test of the battery."""
    rows = "".join(
        f"| `{e.key}` | {e.null} | {'N(0, 1)' if e.law == 'normal' else e.law} "
        f"| {', '.join(e.robust_to) or 'nothing'} | {e.trust} | {e.paper} |\n"
        for e in (TESTS[key] for key in believable_first(TESTS))
    )
    return f"""# Tests of the battery

What `usjp battery` computes, in the order of what can be believed when all firms share
one event date. Cross-correlation is then the rule, and a test that assumes independent
firms rejects a true null far too often: such tests are printed for comparison only.
The key is the name of the statistic in the JSON file.

| key | null | law | survives | when to trust it | paper |
|---|---|---|---|---|---|
{rows}"""


if __name__ == "__main__":
    write_whole(CATALOGUE, catalogue().encode())
    write_whole(PAGE, page(PAGE.read_text(encoding="utf-8")).encode())
