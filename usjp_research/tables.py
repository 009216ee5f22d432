"""Results as display tables: units and words for the eye, nothing computed."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pandas as pd

from usjp_research.verdict import CASES, DEPENDS, Verdict

__all__ = ["label", "money", "percent", "verdict_table"]

LABELS = {
    "power_utilities": "Power & Utilities",
    "ai_infrastructure": "AI Infrastructure",
    "mining_metals": "Mining & Metals",
    "defense_aerospace": "Defense & Aerospace",
    "manufacturing_logistics": "Manufacturing & Logistics",
    "pharma_biotech": "Pharma & Biotech",
    "japan_basket": "Japan basket",
}


def label(name: str) -> str:
    """Return the words for a sector key or a row's name.

    Examples
    --------
    >>> label("power_utilities: named minus unnamed")
    'Power & Utilities: named minus unnamed'
    """
    key, colon, rest = name.partition(":")
    return LABELS.get(key, key.replace("_", " ").capitalize()) + colon + rest


def percent(value: float | None, digits: int = 1, *, sign: bool = True) -> str:
    """Return a decimal as percent with a true minus sign, or a dash when there is none."""
    if value is None or not math.isfinite(value):
        return "–"
    text = f"{100 * value:{'+' if sign else ''}.{digits}f}%"
    return text.replace("-", "\N{MINUS SIGN}")


def money(value: float | None) -> str:
    """Return USD bn, with as many digits as its size can bear."""
    if value is None or not math.isfinite(value):
        return "–"
    text = f"{value:,.0f}" if abs(value) >= 10 else f"{value:.1f}"
    return text.replace("-", "\N{MINUS SIGN}")


def verdict_table(rows: Sequence[Verdict]) -> pd.DataFrame:
    """Lay out verdict rows for reading.

    Parameters
    ----------
    rows : sequence of Verdict

    Returns
    -------
    DataFrame of str
        One row each: verdict, observed reaction with its interval, implied value, adjusted p,
        MDE and break-evens.
    """
    return pd.DataFrame(
        [
            {
                "Sector": label(row.name),
                "Verdict": verdict_words(row),
                "Observed": percent(row.effect),
                "Interval": f"{percent(row.low)} to {percent(row.high)}",
                "Implied low / base / high": implied_words(row),
                "Adjusted p": f"{row.p_stepdown:.3f}",
                "MDE": percent(row.mde, sign=False),
                "Excludes gains above, USD bn": money(
                    row.excluded_usd_bn if row.high > 0 else None
                ),
                "Break-even margin x share": share_words(row.breakeven_share),
            }
            for row in rows
        ]
    )


def share_words(value: float | None) -> str:
    """Return a share in percent; more than all of it cannot be had and is said so."""
    return "over 100%" if value is not None and value > 1 else percent(value, 0, sign=False)


def verdict_words(row: Verdict) -> str:
    """Return the headline with its reason, its three cases, or what leaks would change."""
    text = f"{row.headline}: {row.reason}" if row.reason else row.headline
    if row.headline == DEPENDS:
        text += f" ({' / '.join(row.by_case[case] for case in CASES)})"
    return f"{text} ({row.remark})" if row.remark else text


def implied_words(row: Verdict) -> str:
    """Return the implied value's three cases in percent, with digits for small ones."""
    if not row.implied.share:
        return "none"
    size = abs(row.implied.share["base"])
    digits = 1 if size >= 0.01 else 2 if size >= 0.001 else 3
    least = 10.0 ** -(digits + 2)
    return " / ".join(
        f"under {percent(least, digits, sign=False)}"
        if 0 < row.implied.share[case] < least
        else percent(row.implied.share[case], digits)
        for case in CASES
    )
