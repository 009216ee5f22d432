"""Returns from any source as one frozen record: bundled, a file, or simulated."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from usjp_research.market.record import BENCHMARK, MIRROR, Dropped, Market
from usjp_research.market.simulate import simulated_market
from usjp_research.market.table import FEWEST_SESSIONS, _existing, read_returns
from usjp_research.spec.records import Spec, find_root
from usjp_research.words import InputError, nearest


def load_market(spec: Spec, source: str | None = None) -> Market:
    """Load the returns a study runs on.

    Parameters
    ----------
    spec : Spec
        Its rule names the benchmark funds and, when ``source`` is absent, the source.
    source : str, optional
        ``bundled``; ``file:PATH`` for a CSV or Parquet of prices or returns, long or wide; or
        ``simulated`` (``simulated:SEED``).

    Returns
    -------
    Market

    Raises
    ------
    InputError
        One line that names file, row and column when the source cannot be used.

    Examples
    --------
    >>> market = load_market(read_spec(), "bundled")                # doctest: +SKIP
    >>> market.level                                                # doctest: +SKIP
    'portfolio'
    """
    source = source or spec.rule.market
    kind, _, rest = source.partition(":")
    if kind == "bundled" and not rest:
        return _load_bundle(find_root() / "data" / "bundled")
    if kind == "file" and rest:
        return _from_file(spec, _existing(rest))
    if kind == "simulated":
        if rest and not rest.isdecimal():
            raise InputError(f"market '{source}': the seed must be a whole number of 0 or more")
        return simulated_market(spec, seed=int(rest) if rest else spec.rule.seed)
    if Path(source).is_file():
        raise InputError(f"unknown market '{source}': did you mean 'file:{source}'?")
    known = ("bundled", "file:PATH", "simulated")
    raise InputError(f"unknown market '{source}': {nearest(source, known)}")


# --- files -----------------------------------------------------------------------------------


def _from_file(spec: Spec, path: Path) -> Market:
    returns, dropped = read_returns(path)
    missing = [
        Dropped("security", firm.ticker, "not in the price file")
        for firm in spec.firms
        if firm.ticker not in returns.columns
    ]
    if len(missing) == len(spec.firms):
        raise InputError(
            f"{path}: none of the {len(missing)} tickers of universe.csv is a column or ticker "
            f"there; seen {', '.join(map(str, returns.columns[:5]))}, ..."
        )
    wanted = [firm.ticker for firm in spec.firms if firm.ticker in returns.columns]
    benchmark = _mean_of(returns, BENCHMARK, spec.rule.benchmark)
    if benchmark is None:
        names = ", ".join((BENCHMARK, *spec.rule.benchmark))
        raise InputError(
            f"{path}: no benchmark: none of {names} is there; add one of them, or name yours "
            "under 'benchmark' in study.yaml"
        )
    frame = {BENCHMARK: benchmark}
    mirror = _mean_of(returns, MIRROR, spec.rule.mirror)
    if mirror is not None:
        frame[MIRROR] = mirror
    table = pd.concat([pd.DataFrame(frame), returns[wanted]], axis=1)
    if spec.rule.since:
        table = table.loc[table.index >= pd.Timestamp(spec.rule.since)]
    known = table[BENCHMARK].notna()
    gaps = [
        Dropped("day", str(day.date()), "the benchmark has no return; the day is not used")
        for day in table.index[~known & known.cummax()]
    ]
    table = table.loc[known]
    if len(table) < FEWEST_SESSIONS:
        since = f" since {spec.rule.since}" if spec.rule.since else ""
        raise InputError(
            f"{path}: seen {len(table)} days with a benchmark return{since}, "
            f"expected at least {FEWEST_SESSIONS}; give a longer file or an earlier 'since'"
        )
    used = [name for name in (BENCHMARK, *spec.rule.benchmark) if name in returns.columns]
    return Market(
        name=f"file:{path.name}",
        returns=table,
        level="firm",
        dropped=(*missing, *dropped, *gaps),
        provenance={
            "source": "file",
            "file": path.name,
            "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
            "benchmark": used[:1] if BENCHMARK in used else used,
        },
    )


def _mean_of(returns: pd.DataFrame, own: str, funds: Sequence[str]) -> pd.Series | None:
    if own in returns.columns:
        return returns[own]
    there = [fund for fund in funds if fund in returns.columns]
    return returns[there].mean(axis=1) if there else None


# --- the bundle ------------------------------------------------------------------------------


def _load_bundle(folder: Path) -> Market:
    try:
        returns = pd.read_parquet(folder / "returns.parquet").astype("float64")
        record = json.loads((folder / "provenance.json").read_text(encoding="utf-8"))
        table = pd.read_csv(folder / "membership.csv", keep_default_na=False, dtype=str)
    except (OSError, ValueError) as error:
        raise InputError(
            f"{folder}: the bundled market cannot be read ({' '.join(str(error).split())}); "
            "restore it from the repository or build it with 'usjp bundle --prices FILE'"
        ) from None
    returns.index = pd.DatetimeIndex(returns.index, name="date").astype("datetime64[ns]")
    members = {
        series: tuple(text.split())
        for series, text in zip(table["series"], table["members"], strict=True)
    }
    return Market(
        name="bundled",
        returns=returns,
        level="portfolio",
        members=members,
        values=record["market_value_usd_bn"],
        counts={name: (have, total) for name, (have, total) in record["valued_firms"].items()},
        dropped=tuple(Dropped(**item) for item in record["dropped"]),
        provenance={key: record[key] for key in record if key not in ("dropped", "built_for")},
        built=record.get("built_for", {}),
    )


# --- simulation ------------------------------------------------------------------------------
