"""Returns from any source as one frozen record: bundled, a file, a snapshot, or simulated."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import date
from functools import partial
from pathlib import Path

import pandas as pd

from usjp_research.market.check import accept, check_returns, refuse_file
from usjp_research.market.columns import plain
from usjp_research.market.files import existing
from usjp_research.market.openings import OVERNIGHT, SESSION, opened
from usjp_research.market.record import ABSENT, BENCHMARK, MIRROR, Dropped, Market
from usjp_research.market.simulate import simulated_market
from usjp_research.market.snapshots import find_snapshot
from usjp_research.market.sources import SOURCES, usage
from usjp_research.market.table import FEWEST_SESSIONS, Kind, Table, read_prices
from usjp_research.market.units import benchmark_faults
from usjp_research.spec.records import Spec, find_root, home, sha_of
from usjp_research.words import InputError, nearest


def load_market(spec: Spec, source: str | None = None) -> Market:
    """Load the returns a study runs on.

    The source is one of `sources_help`, such as ``file:prices.csv``; the rule's own by default.
    InputError names file, row and column when it cannot be used.

    Examples
    --------
    >>> load_market(read_spec(), "bundled").level                   # doctest: +SKIP
    'portfolio'
    """
    kind, place = named_market(source or spec.rule.market)
    return OPEN[kind](spec, place)


def named_market(source: str) -> tuple[str, str]:
    """Return a market's kind and what follows its colon, or refuse a name that is none."""
    kind, _, rest = source.partition(":")
    known = SOURCES.get(kind)
    if known and (rest or not known.place):
        return kind, rest
    if Path(source).is_file():
        raise InputError(f"unknown market '{source}': did you mean 'file:{source}'?")
    raise InputError(f"unknown market '{source}': {nearest(source, map(usage, SOURCES))}")


def _from_file(spec: Spec, place: str, kind: Kind) -> Market:
    path = existing(place)
    return market_of(spec, path, read_prices(path, kind))


def market_of(spec: Spec, path: Path, read: Table, *, every: bool = False) -> Market:
    """Make a study's market of a file; ``every`` looks at the series that it does not use too."""
    returns = read.returns
    wanted = [firm.ticker for firm in spec.firms if firm.ticker in returns.columns]
    absent = [firm.ticker for firm in spec.firms if firm.ticker not in returns.columns]
    alike = spelled(absent, returns.columns)
    missing = [Dropped("security", name, ABSENT + alike.get(name, "")) for name in absent]
    if len(missing) == len(spec.firms):
        none = f"none of the {len(missing)} tickers of universe.csv is a column or ticker there"
        seen = f"seen {', '.join(map(str, returns.columns[:5]))}, ...; spell both alike"
        raise InputError(f"{path}: {none}; {seen}")
    funds = spec.rule.benchmark
    benchmark, used = _mean_of(returns, BENCHMARK, funds)
    if benchmark is None:
        none = f"no benchmark: none of {', '.join(dict.fromkeys((BENCHMARK, *funds)))} is there"
        do = "add one of them, or name yours under 'benchmark' in study.yaml"
        raise InputError(f"{path}: {none}; {do}")
    looked = list(map(str, returns.columns)) if every else list(dict.fromkeys((*used, *wanted)))
    first = pd.Timestamp(spec.rule.since or returns.index[0])
    beside = {"levels": read.levels, "close": read.close}
    held = {k: f.loc[first:].reindex(columns=looked) for k, f in beside.items() if f is not None}
    found = check_returns(returns.loc[first:, looked], benchmark=benchmark, funds=used, **held)
    shipped = benchmark_faults(benchmark, _shipped_market(), prices=read.are_prices)
    findings, idle = accept((*shipped, *found), spec.accepted)
    refuse_file(str(path), findings)
    mirror, _ = _mean_of(returns, MIRROR, spec.rule.mirror)
    own = {BENCHMARK: benchmark} | ({} if mirror is None else {MIRROR: mirror})
    table = pd.concat([pd.DataFrame(own), returns[wanted]], axis=1)
    table, gaps = _benchmarked(path, table, spec.rule.since)
    about = {"source": "file", "file": path.name, "sha256": sha_of(path), "benchmark": used}
    dropped = (*missing, *read.dropped, *gaps, *idle)
    made = Market(f"file:{path.name}", table, "firm", dropped=dropped, provenance=about)
    return opened(read, replace(made, read_as=read.read_as, findings=findings), spec)


def spelled(absent: Iterable[str], names: Iterable[object]) -> dict[str, str]:
    """Say of a ticker that a file lacks what is there: another case, mark or exchange's ending."""
    there: dict[str, str] = {}
    for name in map(str, names):
        base = re.sub(r"(?:[. ][A-Za-z]{1,2})?(?: Equity)?$", "", name)
        for word in (plain(base), plain(name)):  # the whole name has the last word
            there[word] = name
    found = ((ticker, there.get(plain(ticker))) for ticker in absent)
    return {ticker: f" (there is '{name}': the same?)" for ticker, name in found if name}


def _from_snapshot(spec: Spec, name: str) -> Market:
    found = find_snapshot(name, "prices")
    made = _from_file(spec, str(found.data), "prices")
    about = {key: found.about[key] for key in ("source", "fetched", "terms")}
    told = {**made.provenance, **about, "snapshot": found.digest}
    return replace(made, name=f"snapshot:{found.digest[:12]}", provenance=told)


def _benchmarked(
    path: Path, table: pd.DataFrame, since: date | None
) -> tuple[pd.DataFrame, list[Dropped]]:
    """Cut a market at the first and last return of its benchmark, and list the holes between."""
    if since:
        table = table.loc[table.index >= pd.Timestamp(since)]
    known = table[BENCHMARK].notna()
    holes = table.index[~known & known.cummax()]
    reason = "the benchmark has no return: no window may hold the day"
    gaps = [Dropped("day", str(day.date()), reason) for day in holes]
    if known.sum() < FEWEST_SESSIONS:
        start = f" since {since}" if since else ""
        seen = f"seen {known.sum()} days with a benchmark return{start}"
        least = f"expected at least {FEWEST_SESSIONS}; give a longer file or an earlier 'since'"
        raise InputError(f"{path}: {seen}, {least}")
    return table.loc[known[known].index[0] : known[known].index[-1]], gaps


def _mean_of(
    returns: pd.DataFrame, own: str, funds: Sequence[str]
) -> tuple[pd.Series | None, list[str]]:
    """Return a series of its own or the mean of funds, None without any, and what was used."""
    used = [name for name in ([own] if own in returns.columns else funds) if name in returns]
    return returns[used].mean(axis=1) if used else None, used


def _bundled(spec: Spec, rest: str) -> Market:
    if rest:
        raise InputError(f"market 'bundled:{rest}': there is one bundle; give 'bundled'")
    folder = _bundle()
    try:
        returns = _bundled_returns(folder)
        record = json.loads((folder / "provenance.json").read_text(encoding="utf-8"))
        table = pd.read_csv(folder / "membership.csv", keep_default_na=False, dtype=str)
    except (OSError, ValueError) as error:
        fault = f"the bundled market cannot be read ({' '.join(str(error).split())})"
        do = "restore it from the repository, or see data/make_bundle.py"
        raise InputError(f"{folder}: {fault}; {do}") from None
    members = dict(zip(table["series"], map(tuple, table["members"].str.split()), strict=True))
    # What was left out of series that this study does not use is not left out of this study.
    unused = {"donor": not spec.donors, "market value": spec.thesis is None}
    if spec.rule.second is None:
        unused |= dict.fromkeys(("rule 2", "capped", OVERNIGHT, SESSION), True)

    def used(item: Dropped) -> bool:
        kind, _, slot = item.what.partition("/")
        sector = (slot or item.name).rpartition("/")
        return not unused.get(kind) and (not sector[0] or sector[2] in spec.sectors)

    return Market(
        name="bundled",
        returns=returns,
        level="portfolio",
        members=members,
        values=record["market_value_usd_bn"],
        weighing=record.get("weighing", {}),
        dropped=tuple(filter(used, (Dropped(**item) for item in record["dropped"]))),
        provenance={key: record[key] for key in record if key not in ("dropped", "built_for")},
        built=record.get("built_for", {}),
    )


def _bundle() -> Path:
    own = find_root() / "data" / "bundled"
    return own if own.is_dir() else home() / "data" / "bundled"


def _bundled_returns(folder: Path) -> pd.DataFrame:
    returns = pd.read_parquet(folder / "returns.parquet").astype("float64")
    returns.index = pd.DatetimeIndex(returns.index, name="date").astype("datetime64[ns]")
    return returns


def _shipped_market() -> pd.Series:
    """Return the bundle's market; without a day where there is no bundle to read."""
    try:
        return _bundled_returns(_bundle())[BENCHMARK]
    except (OSError, ValueError, KeyError):
        return pd.Series(dtype="float64")


def shipped_averages(market: Market) -> pd.DataFrame:
    """Return the bundle's averages on a market's days; no column where the returns are drawn."""
    if market.level == "portfolio":
        return market.returns
    try:
        found = _bundled_returns(_bundle())
    except (OSError, ValueError):
        return pd.DataFrame(index=market.dates)
    return found.reindex(market.dates)[[] if market.simulated else list(found)]


def _simulated(spec: Spec, seed: str) -> Market:
    if seed and not seed.isdecimal():
        raise InputError(f"market 'simulated:{seed}': the seed must be a whole number of 0 or more")
    return simulated_market(spec, seed=int(seed) if seed else spec.rule.seed)


OPEN: Mapping[str, Callable[[Spec, str], Market]] = {
    "bundled": _bundled,
    "file": partial(_from_file, kind="auto"),
    "returns": partial(_from_file, kind="returns"),
    "prices": partial(_from_file, kind="prices"),
    "snapshot": _from_snapshot,
    "simulated": _simulated,
}
