"""A table of returns and one date as a study: no folder of parameters is needed."""

from __future__ import annotations

from datetime import datetime, time
from pathlib import Path

import pandas as pd

from usjp_research.market.check import check_returns, refuse_file
from usjp_research.market.columns import check_returned
from usjp_research.market.panel import panel_of_frame
from usjp_research.market.record import BENCHMARK, Market
from usjp_research.market.table import on_sessions
from usjp_research.spec.files import validated
from usjp_research.spec.records import HOME_ZONE, Event, Firm, Rule, Spec
from usjp_research.study.sample import Sample, sample
from usjp_research.words import InputError, nearest

TABLE = Path("returns")  # how refusals call the table
READ = "read a file with pd.read_csv(FILE, index_col='date', parse_dates=True)"


def one_date(returns: pd.DataFrame, benchmark: str, day: str, **rule: object) -> Sample:
    """Make a study of a table of returns and one date, for a look without a folder of parameters.

    All series but the benchmark are the firms of one sector, ``firms``, which is expected to rise
    at one event, ``E1``. What needs a thesis or market values stays empty.

    Parameters
    ----------
    returns : DataFrame of shape (n_days, n_series)
        Daily simple returns as decimals, NaN where there is none; dates as index. The days are
        sessions of New York: nothing is filled, and other rows are left out and listed.
    benchmark : str
        The market's column.
    day : str
        Day 0, ``YYYY-MM-DD``: a session that is in the table.
    **rule
        Keys of ``study.yaml``, such as ``window=(0, 0)`` or ``least_firms=5``.

    Raises
    ------
    InputError
        For a day or column that is not there, for what is no daily return, and for wrong keys.

    Examples
    --------
    >>> data = one_date(returns, "SPY", "2024-02-13")               # doctest: +SKIP
    >>> sector_battery(data, "firms", "E1")                         # doctest: +SKIP
    """
    if not isinstance(returns, pd.DataFrame):
        raise InputError(f"returns: seen {type(returns).__name__}, expected a table; {READ}")
    if benchmark not in returns or returns.shape[1] < 2:
        known = nearest(benchmark, returns.columns)
        raise InputError(f"returns: expected '{benchmark}' and a firm among the columns; {known}")
    table, dropped = on_sessions(TABLE, _numbers(returns))
    asked = pd.to_datetime(day, format="%Y-%m-%d", errors="coerce")
    if not isinstance(asked, pd.Timestamp) or asked not in table.index.intersection(returns.index):
        span = f"{table.index[0].date()} to {table.index[-1].date()}"
        raise InputError(f"'{day}': expected a session of the table, YYYY-MM-DD from {span}")
    for name, column in table.items():
        check_returned(TABLE, column, str(name))
    findings = check_returns(table, benchmark=table[benchmark], funds=[benchmark])
    refuse_file(str(TABLE), findings)
    told = validated("one_date", {"least_firms": 1, **rule}, Rule)
    noon = datetime.combine(asked.date(), time(12), HOME_ZONE)
    event = Event("E1", noon, "primary", f"News of {day}", "day", {"firms": 1})
    firms = tuple(Firm(str(name), "firms") for name in table if name != benchmark)
    if BENCHMARK in (firm.ticker for firm in firms):
        raise InputError(f"returns: '{BENCHMARK}' is not the benchmark; drop or rename it")
    market = Market(
        name="returns",
        returns=table.rename(columns={benchmark: BENCHMARK}),
        level="firm",
        dropped=dropped,
        provenance={"source": "a table in memory", "benchmark": [benchmark]},
        findings=findings,
    )
    return sample(Spec(told, (event,), firms, ("firms",)), market)


def _numbers(returns: pd.DataFrame) -> pd.DataFrame:
    """Return a table whose index is days, each once and ascending, and whose cells are numbers."""
    if not (isinstance(returns.index, pd.DatetimeIndex) and len(returns)) or returns.index.tz:
        raise InputError(f"returns: expected days without a time zone as index; {READ}")
    try:
        panel = panel_of_frame(returns, str(TABLE))
        return pd.DataFrame(panel.read(panel.names).T, panel.days, list(panel.names))
    except (TypeError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"returns: expected numbers in every cell ({error})") from None
