"""Daily factors under the names and in the units that they come in."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from usjp_research.market.files import existing
from usjp_research.market.table import ascending_days, date_column, read_numbers, read_table
from usjp_research.words import InputError, nearest

Floats = npt.NDArray[np.float64]
FAR = 0.5  # a day; the codes for missing days, -99.99 and -999, lie beyond it in either unit
FACTOR_NAMES = {
    "mkt_rf": ("mktrf",),
    "smb3": ("smb3", "smb"),
    "smb5": ("smb5", "smb"),
    "hml": ("hml",),
    "rmw": ("rmw",),
    "cma": ("cma",),
    "mom": ("mom", "umd", "wml"),
    "rf": ("rf",),
}


def read_factors(path: str | Path) -> pd.DataFrame:
    """Read a file of daily factors: ``date`` (or days as YYYYMMDD) and a column per factor.

    Returns
    -------
    DataFrame
        Days as index, columns as they are named, units as they are.

    Raises
    ------
    InputError
        As `open_returns`.
    """
    path = existing(str(path))
    table = read_table(path)
    name = date_column(path, table.columns)
    if table.empty:
        raise InputError(f"{path}: there is a header but no row; add factors")
    written = table[name].astype(str)
    if written.str.fullmatch(r"\d{8}").all():
        table[name] = written.str.replace(r"(\d{4})(\d\d)(\d\d)", r"\1-\2-\3", regex=True)
    days = ascending_days(path, table, name)
    wanted = [column for column in table.columns if column != name]
    numbers = {column: read_numbers(path, table[column], column).to_numpy() for column in wanted}
    return pd.DataFrame(numbers, index=days)


def factor_columns(names: Iterable[str], needed: Iterable[str], where: str) -> Mapping[str, str]:
    """Find factors under the names they go by: MKT-RF, Mkt-RF, MKTRF and mkt_rf are one.

    Parameters
    ----------
    names : iterable of str
        Columns of the file.
    needed : iterable of str
        `mkt_rf`, `smb3`, `smb5`, `hml`, `rmw`, `cma`, `mom`, `rf`. `smb3` is the size factor of
        the three-factor file, `smb5` of the five-factor file; a plain SMB serves for either.
    where : str
        For the message.

    Raises
    ------
    InputError

    Examples
    --------
    >>> factor_columns(["Mkt-RF", "SMB", "RF"], ["mkt_rf", "smb3", "rf"], "the file")
    {'mkt_rf': 'Mkt-RF', 'smb3': 'SMB', 'rf': 'RF'}
    """
    plain: dict[str, list[str]] = {}
    for name in names:
        plain.setdefault(re.sub(r"[^a-z0-9]", "", name.lower()), []).append(name)
    found = {}
    for key in needed:
        called = next((word for word in FACTOR_NAMES[key] if word in plain), None)
        if called is None:
            seen = ", ".join(list(names)[:8]) if isinstance(names, Sequence) else ""
            raise InputError(
                f"{where}: factor '{key}' is missing: seen {seen}, expected a column named "
                f"{' or '.join(FACTOR_NAMES[key])} (capitals, - and _ do not matter)"
            )
        if len(plain[called]) > 1:
            raise InputError(
                f"{where}: columns '{plain[called][0]}' and '{plain[called][1]}' are both the "
                f"factor '{key}'; keep one"
            )
        found[key] = plain[called][0]
    return found


def in_decimals(factors: Mapping[str, Floats], units: str, where: str) -> dict[str, Floats]:
    """Return factors as decimals, from a declared unit or one that the numbers leave no doubt of.

    The daily standard deviation of a stock market is between 0.2% and 10%: above 0.1 the market
    factor must be in percent, below 0.1 in decimals; close to that line the unit must be
    declared. The riskless rate is checked against the same unit: no more than 0.5% a day.

    Parameters
    ----------
    factors : mapping of str to ndarray
        With ``mkt_rf`` and ``rf``.
    units : {"auto", "percent", "decimal"}
    where : str

    Raises
    ------
    InputError
    """
    if units not in ("auto", "percent", "decimal"):
        raise InputError(
            f"unknown factor units '{units}': {nearest(units, ('auto', 'percent', 'decimal'))}"
        )
    for name, column in factors.items():
        if not np.isfinite(column).any():
            raise InputError(f"{where}: factor '{name}' has no value on any day of the returns")
    spread = float(np.nanstd(factors["mkt_rf"]))
    if units != "auto":
        size = spread / 100 if units == "percent" else spread
        if not 0.0005 <= size <= 0.2:
            raise InputError(
                f"{where}: read as {units} the market factor has a daily standard deviation of "
                f"{100 * size:.3g}%, expected 0.05% to 20%; declare the other unit"
            )
    if units == "auto":
        if 0.07 < spread < 0.14:
            raise InputError(
                f"{where}: the market factor's daily standard deviation is {spread:.3g}: percent "
                "or decimals cannot be told apart; give --factor-units percent or decimal"
            )
        units = "percent" if spread > 0.1 else "decimal"
    scale = 0.01 if units == "percent" else 1.0
    out = {name: values * scale for name, values in factors.items()}
    for name, values in out.items():
        far = np.flatnonzero(np.abs(values) > FAR)
        if len(far):
            raise InputError(
                f"{where}: factor '{name}': seen {factors[name][far[0]]:g}, read as {units}, "
                f"expected at most {FAR:.0%} a day; leave missing days empty, not -99.99 or -999"
            )
    highest = float(np.nanmax(np.abs(out["rf"])))
    if highest > 0.005:
        raise InputError(
            f"{where}: the riskless rate reaches {highest:.2%} a day when read as {units}, "
            "expected at most 0.5%; give all factors in one unit, per day"
        )
    return out
