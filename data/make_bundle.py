"""Build the averages that the repository ships, from which no single firm can be read.

    python data/make_bundle.py PRICES OUT [--donors FILE] [--params FOLDER]

PRICES and FILE are tables of prices as ``usjp study --market file:PATH`` reads them, of the
firms in universe.csv and of those in donors.csv; OUT is the folder to write, ``data/bundled`` to
replace what is shipped. Vendor prices themselves are not in the repository.
"""

from __future__ import annotations

import json
from argparse import ArgumentParser
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from datetime import date
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd

from usjp_research.market.donors import DONOR, Donors, load_donors
from usjp_research.market.record import BENCHMARK, MIRROR, Dropped, Market, market_digest
from usjp_research.runs.store import prepare_folder
from usjp_research.spec.read import read_spec
from usjp_research.spec.records import Spec
from usjp_research.study.built import built_for, contrast_key
from usjp_research.study.contrast import contrast_row
from usjp_research.study.disclosure import SMALLEST, disclosed_firms
from usjp_research.study.portfolios import PADDED, Portfolios, averages_of, from_firms
from usjp_research.study.sample import Sample, sample
from usjp_research.words import InputError

Pads = Mapping[tuple[date, str], tuple[str, ...]]


def main() -> None:
    """Read the command line, build the bundle and put it in place when it is whole."""
    parser = ArgumentParser(description="Build the bundled averages from prices of single firms.")
    parser.add_argument("prices", type=Path, help="CSV or Parquet of firm prices")
    parser.add_argument("out", type=Path, help="folder to write")
    parser.add_argument("--donors", type=Path, help="prices of the firms in donors.csv")
    parser.add_argument("--params", type=Path, help="folder of parameters; the project's own")
    given = parser.parse_args()
    try:
        folder = prepare_folder(given.out.absolute())
        data = sample(read_spec(given.params), f"file:{given.prices.absolute()}")
        donors = None
        if given.donors:
            donors = load_donors(data.spec, data.market, str(given.donors.absolute()))
        with TemporaryDirectory(dir=folder, prefix=".new-") as fresh:
            record = write_bundle(data, Path(fresh), donors)
            for path in Path(fresh).iterdir():
                path.replace(folder / path.name)
    except InputError as error:
        parser.exit(2, f"make_bundle: {error}\n")
    print(
        f"{record['series']} series, {record['sessions']} sessions, largest leverage of any "
        f"firm {record['largest_leverage']}: {folder}"
    )


def write_bundle(data: Sample, out: Path, donors: Donors | None = None) -> dict[str, object]:
    """Write the averages that the repository ships, once no firm can be read back from them.

    Where a slot would disclose a firm, the next firm of the same basket in alphabetical order
    leaves the slot too, and is listed; returns play no part in the choice.

    Parameters
    ----------
    data : Sample
        At firm level.
    out : Path
        Folder for ``returns.parquet``, ``membership.csv`` and ``provenance.json``.
    donors : Donors, optional
        Single firms outside the sectors; averages of the groups of ``donors.csv`` come last.

    Returns
    -------
    dict
        The provenance record.

    Raises
    ------
    InputError
        When the market has no single firms, or safe averages cannot be found.
    """
    if data.firms is None:
        raise InputError("a bundle is built from single firms; give a file of their prices")
    made, pads, leverage = _safe(data)
    outside, groups, donor_leverage = _donor_averages(data.spec, donors)
    frame = made.returns.copy()
    frame.insert(0, BENCHMARK, made.benchmark)
    frame.insert(1, MIRROR, data.market.returns.get(MIRROR, np.nan))
    frame = pd.concat([frame, outside.reindex(frame.index)], axis=1).astype("float32")
    record = {
        **_provenance(data, made, frame),
        "largest_leverage": round(max(leverage, donor_leverage), 4),
        "built_for": built_for(data.spec, data.market.returns)
        | {"contrast rests on": [contrast_key(data.spec), _carrying(data)]},
        "dropped": [asdict(item) for item in _left_out(data.market, made, pads, donors)],
    }
    if donors is not None:
        record["donor_prices_sha256"] = donors.sha256
        record["donors"] = (
            "members of the index today (survivors), by industry; groups in params/donors.csv "
            "are from general knowledge"
        )
    _write(out, frame, {**made.members, **groups}, record)
    return record


def _provenance(data: Sample, made: Portfolios, frame: pd.DataFrame) -> dict[str, object]:
    given = data.market.provenance
    values = {name: round(made.values[name], 1) for name in made.values if name in made.members}
    valued = {name: list(pair) for name, pair in made.counts.items() if name in made.members}
    return {
        "source": "averages of three or more securities, from vendor prices that are not shipped",
        "kind": "daily simple returns, equal weights, adjusted for splits and dividends",
        "first": str(frame.index[0].date()),
        "last": str(frame.index[-1].date()),
        "sessions": len(frame),
        "series": frame.shape[1],
        "prices_sha256": given.get("sha256"),
        "benchmark": given.get("benchmark"),
        "market_value_usd_bn": values,
        "valued_firms": valued,
    }


def _left_out(
    market: Market, made: Portfolios, pads: Pads, donors: Donors | None
) -> Iterable[Dropped]:
    """List whom readers left out, then who is out of which slot, each once."""
    found = dict.fromkeys((*market.dropped, *made.dropped))
    for slot in made.slots.values():
        if slot.series:
            short = "too few returns in its windows"
            found |= dict.fromkeys(Dropped(slot.series, t, short) for t in slot.short)
            pad = pads.get((slot.session, slot.sector), ())
            found |= dict.fromkeys(Dropped(slot.series, t, PADDED) for t in pad)
    return [*found, *(donors.dropped if donors else ())]


def _write(
    out: Path,
    frame: pd.DataFrame,
    members: Mapping[str, Sequence[str]],
    record: dict[str, object],
) -> None:
    """Write the three files, and the digest of the returns as they are read back."""
    out.mkdir(parents=True, exist_ok=True)
    frame.to_parquet(
        out / "returns.parquet",
        compression="zstd",
        use_dictionary=False,
        use_byte_stream_split=True,
    )
    pd.DataFrame(
        {"series": list(members), "members": [" ".join(t) for t in members.values()]}
    ).to_csv(out / "membership.csv", index=False, lineterminator="\n")
    values = record["market_value_usd_bn"]
    assert isinstance(values, dict)
    as_read = Market("bundled", frame.astype("float64"), "portfolio", values=values)
    record["digest"] = market_digest(as_read)
    text = json.dumps(record, indent=1, ensure_ascii=False) + "\n"
    (out / "provenance.json").write_text(text, encoding="utf-8")


def _carrying(data: Sample) -> str:
    """Return the firm that carries the contrast; a market of averages cannot leave one out."""
    row, _, _ = contrast_row(data)
    return row.rests_on if row else ""


def _donor_averages(
    spec: Spec, donors: Donors | None
) -> tuple[pd.DataFrame, dict[str, tuple[str, ...]], float]:
    """Average donors by group, three at least, and make sure that none can be read back."""
    if donors is None:
        return pd.DataFrame(), {}, 0.0
    groups: dict[str, tuple[str, ...]] = {}
    for donor in spec.donors:
        if donor.group and donor.ticker in donors.returns.columns:
            name = f"{DONOR}{donor.group}"
            groups[name] = (*groups.get(name, ()), donor.ticker)
    small = [name for name, tickers in groups.items() if len(tickers) < SMALLEST]
    if small or not groups:
        which = f"group '{small[0].removeprefix(DONOR)}' has fewer" if small else "no group has"
        raise InputError(f"donors.csv: {which} than {SMALLEST} donors with prices; merge groups")
    averages = averages_of(donors.returns, groups)
    present = donors.returns[[ticker for group in groups.values() for ticker in group]].notna()
    found, leverage = disclosed_firms(groups, present, averages.notna())
    if found:
        raise InputError(f"donors.csv: firm '{found[0]}' could be read back")
    return averages, groups, leverage


def _safe(data: Sample) -> tuple[Portfolios, Pads, float]:
    """Pad slots until no firm can be read back; return the averages and the largest leverage."""
    pads: dict[tuple[date, str], tuple[str, ...]] = {}
    for sector in data.spec.sectors:
        groups, present, shown = _shown(data, data.portfolios, sector)
        while found := disclosed_firms(groups, present, shown)[0]:
            names, companion = _companion(data.spec, sector, groups, present, shown, found)
            groups = _without(groups, names, companion)
            for name in names:
                day = date.fromisoformat(name.split("/")[1])
                pads[day, sector] = (*pads.get((day, sector), ()), companion)
    made = from_firms(data.spec, data.market, data.panel, pads)
    made = replace(made, returns=made.returns[list(made.members)])
    largest = 0.0
    for sector in data.spec.sectors:
        found, leverage = disclosed_firms(*_shown(data, made, sector))
        if found:
            raise InputError(f"sector '{sector}': firm '{found[0]}' could be read back")
        largest = max(largest, leverage)
    return made, pads, largest


def _shown(
    data: Sample, made: Portfolios, sector: str
) -> tuple[dict[str, tuple[str, ...]], pd.DataFrame, pd.DataFrame]:
    """Return a sector's averages, all of them shipped, and when firms and averages are there."""
    returns = data.market.returns
    groups = {
        name: tickers
        for name, tickers in made.members.items()
        if name.split("/")[-1] == sector or name.startswith(f"basket/{sector}/")
    }
    firms = [firm.ticker for firm in data.spec.members(sector) if firm.ticker in returns]
    return groups, returns[firms].notna(), made.returns[list(groups)].notna()


def _without(
    groups: Mapping[str, tuple[str, ...]], names: Sequence[str], ticker: str
) -> dict[str, tuple[str, ...]]:
    less = {name: tuple(t for t in groups[name] if t != ticker) for name in names}
    return {**groups, **less}


def _companion(
    spec: Spec,
    sector: str,
    groups: Mapping[str, tuple[str, ...]],
    present: pd.DataFrame,
    shown: pd.DataFrame,
    found: Sequence[str],
) -> tuple[list[str], str]:
    """Choose the slots and the further firm to leave them that leave the fewest disclosed.

    Slots with the same members go together. The contrast's own slot is left as it is.
    """
    baskets = {firm.ticker: firm.basket for firm in spec.members(sector)}
    fixed = {f"slot/{name.partition('/')[2]}" for name in groups if name.startswith("named/")}
    alike: dict[tuple[str, ...], list[str]] = {}
    for name, tickers in groups.items():
        if name.startswith("slot/") and name not in fixed:
            alike.setdefault(tickers, []).append(name)
    trials = [
        (names, companion)
        for tickers, names in alike.items()
        for firm in found
        for companion in sorted(t for t in tickers if baskets[t] == baskets[firm] and t != firm)[:1]
    ]
    left = [
        len(disclosed_firms(_without(groups, names, companion), present, shown)[0])
        for names, companion in trials
    ]
    if not trials or min(left) >= len(found):
        raise InputError(f"sector '{sector}': firm '{found[0]}' can be read back from its averages")
    return trials[left.index(min(left))]


if __name__ == "__main__":
    main()
