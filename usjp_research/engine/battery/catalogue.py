"""Every test of the battery: its null, its law, what it survives and when to trust it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from usjp_research.engine.battery.inference import TestResult

Floats = npt.NDArray[np.float64]
CROSS, EVENT, SHAPE = "cross-correlation", "event-induced variance", "non-normality"
MARKS = (CROSS, EVENT, SHAPE)
HEADLINE = ("adj_bmp_t", "placebo_t")
CROSS_CHECKS = ("corrado_z", "portfolio_t")
FOILS = ("cs_t", "patell_sum_z", "patell_mp_z", "bmp_t", "bw80_indep_t", "grank_z_indep")
MEAN = "the mean abnormal return is zero"
MEDIAN = "abnormal returns are as often above as below what is usual"
RANKS = "the event days' abnormal returns have the ranks of any other days"


@dataclass(frozen=True, slots=True)
class Entry:
    """What the documentation, the results and the JSON file say of one test.

    Attributes
    ----------
    law : str
        ``t``, ``F``, ``normal`` or ``exact``.
    p_key, p_normal_key, df_keys : str or tuple of str
        Names of its further numbers in the JSON file.
    """

    null: str
    law: str
    robust_to: tuple[str, ...]
    trust: str
    paper: str
    p_key: str
    df_keys: tuple[str, ...] = ()
    p_normal_key: str = ""


TESTS: dict[str, Entry] = {
    "adj_bmp_t": Entry(
        MEAN, "t", (CROSS, EVENT),
        "The headline on a common date: refer it to t(n-1), not to the normal law.",
        "Kolari and Pynnönen (2010)", "adj_bmp_p_t", (), "adj_bmp_p_z",
    ),
    "placebo_t": Entry(
        "the portfolio's abnormal return is one of those of earlier dates", "exact",
        (CROSS, SHAPE),
        "The second headline, where 99 earlier dates or more are there. The larger of forecast "
        "and trailing variance scales it, so volatility that began before the event is allowed "
        "for; against volatility that starts on the event day itself only adj_bmp_t helps.",
        "Brown and Warner (1985); METHODS section 12", "placebo_p",
    ),
    "corrado_z": Entry(
        RANKS, "normal", (CROSS, SHAPE),
        "Cross-check on a common date, fat tails welcome; rejects too often when the event days "
        "are more volatile.",
        "Corrado (1989)", "corrado_p",
    ),
    "portfolio_t": Entry(
        MEAN, "t", (CROSS,),
        "Cross-check on a common date: exact under normality whatever the correlation; rejects "
        "too often when the event days are more volatile.",
        "Brown and Warner (1980); Schipper and Thompson (1983)", "portfolio_p", ("portfolio_df",),
    ),
    "grank_t": Entry(
        RANKS, "t", (CROSS, EVENT, SHAPE),
        "On a common date with thirty firms or more; with six strongly correlated firms its "
        "true size is about twice the nominal one.",
        "Kolari and Pynnönen (2011)", "grank_p", ("grank_df",),
    ),
    "corrado_zivney_z": Entry(
        RANKS, "normal", (CROSS, EVENT, SHAPE),
        "Like corrado_z when event days are more volatile; weak with few firms, whose "
        "cross-sectional spread is then a poor scale.",
        "Corrado and Zivney (1992)", "corrado_zivney_p",
    ),
    "corrado_u_z": Entry(
        RANKS, "normal", (CROSS, SHAPE),
        "corrado_z with holes in the returns: days weigh by how many firms they have.",
        "Corrado and Zivney (1992)", "corrado_u_p",
    ),
    "adj_patell_z": Entry(
        MEAN, "normal", (CROSS,),
        "On a common date if the event days are as volatile as the estimation days.",
        "Kolari and Pynnönen (2010)", "adj_patell_p",
    ),
    "cda_t": Entry(
        MEAN, "t", (CROSS,),
        "As portfolio_t, without the forecast error: short windows after long estimation only.",
        "Brown and Warner (1980, 1985)", "cda_p", ("cda_df",),
    ),
    "mvrm_F": Entry(
        "no firm has an abnormal return", "F", (CROSS,),
        "A joint question, for effects of either sign. Fat tails make it reject too often at "
        "any length of estimation: prefer its placebo p.",
        "Schipper and Thompson (1983); Binder (1985)", "mvrm_p", ("mvrm_df1", "mvrm_df2"),
    ),
    "sectors_zero_F": Entry(
        "no sector's portfolio has an abnormal return", "F", (CROSS,),
        "The joint question for sectors; prefer its placebo p.",
        "Schipper and Thompson (1983); Binder (1985)", "sectors_zero_p",
        ("sectors_zero_df1", "sectors_zero_df2"),
    ),
    "sectors_equal_F": Entry(
        "all sectors' portfolios have the same abnormal return", "F", (CROSS,),
        "Whether sectors reacted differently, whatever the market of all of them did; prefer "
        "its placebo p.",
        "Schipper and Thompson (1983); Binder (1985)", "sectors_equal_p",
        ("sectors_equal_df1", "sectors_equal_df2"),
    ),
    "bmp_t": Entry(
        MEAN, "t", (EVENT,),
        "Separate dates only: on a common date it rejects a true null in 20-50% of cases.",
        "Boehmer, Musumeci and Poulsen (1991)", "bmp_p_t", (), "bmp_p_z",
    ),
    "cs_t": Entry(
        MEAN, "t", (EVENT,),
        "Separate dates and many firms only.",
        "Campbell, Lo and MacKinlay (1997)", "cs_p", ("cs_df",),
    ),
    "patell_sum_z": Entry(
        MEAN, "normal", (),
        "Separate dates, quiet event days, one-day windows: days are taken for independent.",
        "Patell (1976)", "patell_sum_p",
    ),
    "patell_mp_z": Entry(
        MEAN, "normal", (),
        "Separate dates and quiet event days only.",
        "Patell (1976); Mikkelson and Partch (1988)", "patell_mp_p",
    ),
    "bw80_indep_t": Entry(
        MEAN, "normal", (),
        "Never for a decision: it shows what ignoring dependence does.",
        "Brown and Warner (1980)", "bw80_indep_p",
    ),
    "skew_johnson_lbt": Entry(
        MEAN, "t", (EVENT, SHAPE),
        "Separate dates and long windows, where buy-and-hold returns are skewed; not monotone "
        "when skewness is strong.",
        "Johnson (1978); Lyon, Barber and Tsai (1999)", "skew_johnson_p",
    ),
    "skew_hall_est": Entry(
        MEAN, "t", (EVENT, SHAPE),
        "As skew_johnson_lbt, and monotone.",
        "Hall (1992)", "skew_hall_p",
    ),
    "sign_z": Entry(
        "abnormal returns are positive as often as negative", "exact", (EVENT, SHAPE),
        "Separate dates only; daily returns are skewed, so prefer gsign_z.",
        "binomial test", "sign_p_binom",
    ),
    "gsign_z": Entry(
        MEDIAN, "normal", (EVENT, SHAPE),
        "Separate dates only; its yardstick is the share of positive residuals.",
        "Cowan (1992)", "gsign_p",
    ),
    "wilcoxon_V": Entry(
        "abnormal returns are symmetric about zero", "exact", (EVENT, SHAPE),
        "Separate dates only. Exact below 50 firms without ties, otherwise normal with "
        "continuity correction.",
        "Wilcoxon (1945)", "wilcoxon_p",
    ),
    "grank_z_indep": Entry(
        RANKS, "normal", (EVENT, SHAPE),
        "Separate dates only: it is grank_t without its protection.",
        "Kolari and Pynnönen (2011)", "grank_z_p",
    ),
}  # fmt: skip


def law_p(law: str, statistic: float, df: Sequence[int]) -> float:
    """Return the p-value of a statistic: two-sided for t and normal, the upper tail for F."""
    from scipy import special

    if law == "t":
        return float(2 * special.stdtr(df[0], -abs(statistic)))
    if law == "F":
        return float(special.fdtrc(df[0], df[1], statistic))
    return float(2 * special.ndtr(-abs(statistic)))


def outcome(
    key: str,
    statistic: float = math.nan,
    *,
    df: Sequence[int] = (),
    p: float | None = None,
    law: str = "",
    reason: str = "",
) -> TestResult:
    """Make the record of one test of the catalogue, with its p-value.

    Parameters
    ----------
    key : str
        A key of `TESTS`.
    statistic : float
    df : sequence of int
        Of the law.
    p : float, optional
        For laws that are exact; otherwise it follows from statistic and law.
    law : str, optional
        In words, where the catalogue says ``exact``.
    reason : str
        Why there is no statistic.

    Returns
    -------
    TestResult

    Examples
    --------
    >>> print(outcome("cs_t", 2.0, df=(9,)))
    cs_t: 2.00, t(9), p = 0.077; H0: the mean abnormal return is zero
    """
    entry = TESTS[key]
    names = {"t": f"t({', '.join(map(str, df))})", "normal": "N(0, 1)", "exact": law or "exact"}
    named = names.get(entry.law, f"F({', '.join(map(str, df))})")
    if not reason and not math.isfinite(statistic):
        reason = "the statistic is not finite: nothing varies"
    if reason:
        return TestResult(key, entry.null, math.nan, named, math.nan, entry.robust_to, reason)
    value = law_p(entry.law, statistic, df) if p is None else p
    normal = law_p("normal", statistic, ()) if entry.p_normal_key else math.nan
    return TestResult(
        key, entry.null, statistic, named, value, entry.robust_to, "", tuple(df), normal
    )


def catalogue_page() -> str:
    """Write the page of documentation that lists every test.

    Returns
    -------
    str
        Markdown; ``docs/tests.md`` holds it.
    """
    laws = {"t": "t", "F": "F", "normal": "N(0, 1)", "exact": "exact"}
    rows = [
        f"| `{key}` | {entry.null} | {laws[entry.law]} | {', '.join(entry.robust_to) or 'nothing'} "
        f"| {entry.trust} | {entry.paper} |"
        for key, entry in TESTS.items()
    ]
    head = (
        "# Tests of the battery\n\n"
        "What `usjp battery` computes, in the order of what can be believed when all firms share\n"
        "one event date. Cross-correlation is then the rule, and a test that assumes independent\n"
        "firms rejects a true null far too often: such tests are printed for comparison only.\n"
        "The key is the name of the statistic in the JSON file.\n\n"
        "| key | null | law | survives | when to trust it | paper |\n"
        "|---|---|---|---|---|---|\n"
    )
    return head + "\n".join(rows) + "\n"
