"""Build the averages that the repository ships, from which no single firm can be read.

    python data/make_bundle.py PRICES OUT [--donors FILE] [--params FOLDER]

PRICES and FILE are tables of prices as ``usjp study --market file:PATH`` reads them, of the
firms in universe.csv and of those in donors.csv; OUT is the folder to write, ``data/bundled`` to
replace what is shipped. Vendor prices themselves are not in the repository.
"""

from __future__ import annotations

import json
import re
from argparse import ArgumentParser
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import date
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd

from usjp_research.market.donors import DONOR, OUTSIDE, Donors, load_donors
from usjp_research.market.openings import OVERNIGHT, SESSION
from usjp_research.market.record import BENCHMARK, MIRROR, Dropped, Market, market_digest
from usjp_research.runs.store import prepare_folder
from usjp_research.spec.read import read_spec
from usjp_research.spec.records import Spec
from usjp_research.study.built import built_for, contrast_key
from usjp_research.study.capped import (
    CAPPED,
    capped_weights,
    opening_name,
    valued_firms,
    with_capped,
)
from usjp_research.study.contrast import contrast_row
from usjp_research.study.disclosure import SMALLEST, disclosed_firms
from usjp_research.study.portfolios import PADDED, Portfolios, averages_of, from_firms
from usjp_research.study.sample import Sample, sample
from usjp_research.words import InputError

PARTS = (OVERNIGHT, SESSION)
NIGHT = "overnight "
PADDABLE = re.compile(f"(?:slot|{CAPPED}|{OVERNIGHT}|{SESSION})/\\d")
Members = Mapping[str, Sequence[str]]
Pads = Mapping[str, tuple[str, ...]]


def main() -> None:
    """Read the command line, build the bundle and put it in place when it is whole."""
    parser = ArgumentParser(description="Build the bundled averages from prices of single firms.")
    parser.add_argument("prices", type=Path, help="CSV or Parquet of firm prices")
    parser.add_argument("out", type=Path, help="folder to write")
    parser.add_argument("--donors", type=Path, help="prices of the firms in donors.csv")
    parser.add_argument(
        "--keep", type=Path, help="membership.csv whose averages keep their members"
    )
    parser.add_argument("--openings", help="opening prices of the firms")
    parser.add_argument("--params", type=Path, help="folder of parameters; the project's own")
    given = parser.parse_args()
    try:
        folder = prepare_folder(given.out.absolute())
        data = sample(read_spec(given.params), f"file:{given.prices.absolute()}", given.openings)
        donors = None
        if given.donors:
            donors = load_donors(data.spec, data.market, str(given.donors.absolute()))
        with TemporaryDirectory(dir=folder, prefix=".new-") as fresh:
            record = write_bundle(data, Path(fresh), donors, _members(given.keep))
            for path in Path(fresh).iterdir():
                path.replace(folder / path.name)
    except InputError as error:
        parser.exit(2, f"make_bundle: {error}\n")
    print(
        f"{record['series']} series, {record['sessions']} sessions, largest leverage of any "
        f"firm {record['largest_leverage']}: {folder}"
    )


def _members(path: Path | None) -> dict[str, list[str]]:
    table = pd.read_csv(path, dtype=str) if path else pd.DataFrame(columns=["series", "members"])
    return dict(zip(table["series"], table["members"].str.split(), strict=True))


def write_bundle(
    data: Sample, out: Path, donors: Donors | None = None, kept: Members | None = None
) -> dict[str, object]:
    """Write the averages that the repository ships, once no firm can be read back from them.

    Where an average would disclose a firm, another firm of the same basket, or of the sector,
    leaves it too, and is listed: the one that leaves the fewest disclosed, the first in the
    alphabet; returns play no part in the choice.

    Parameters
    ----------
    data : Sample
        At firm level.
    out : Path
        Folder for ``returns.parquet``, ``membership.csv`` and ``provenance.json``.
    donors : Donors, optional
        Single firms outside the sectors; averages of the groups of ``donors.csv`` come last.
    kept : mapping of str to sequence of str, optional
        Members of averages that were published before.

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
    outside, groups, donor_leverage = _donor_averages(data.spec, donors)
    made, pads, leverage = _safe(data, kept or {})
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
    kept = [n for n in made.values if n in made.members or n.startswith("tested/")]
    values = {name: round(made.values[name], 1) for name in kept}
    return {
        "source": "averages of three or more securities, from vendor prices that are not shipped",
        "kind": "daily simple returns, adjusted for splits and dividends; equal weights, but for "
        "capped/, by market value under a cap",
        "first": str(frame.index[0].date()),
        "last": str(frame.index[-1].date()),
        "sessions": len(frame),
        "series": frame.shape[1],
        "prices_sha256": given.get("sha256"),
        "benchmark": given.get("benchmark"),
        "market_value_usd_bn": values,
        "weighing": {name: [n, round(size, 1)] for name, (n, size) in made.weighing.items()},
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
    found |= dict.fromkeys(Dropped(name, t, PADDED) for name, out in pads.items() for t in out)
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
    row, _ = contrast_row(data)
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
    groups[OUTSIDE] = tuple(ticker for group in groups.values() for ticker in group)
    averages = averages_of(donors.returns, groups)
    present = donors.returns[list(groups[OUTSIDE])].notna()
    found, leverage = disclosed_firms(groups, present, averages.notna())
    if found:
        raise InputError(f"donors.csv: firm '{found[0]}' could be read back")
    return averages, groups, leverage


def _safe(data: Sample, kept: Members) -> tuple[Portfolios, Pads, float]:
    """Pad slots until no firm stands out; return the averages and the largest leverage.

    Averages that were published before keep their members: of two versions that differ by a firm
    that firm could be read.
    """
    values = valued_firms(data.spec, data.market)
    plain = _formed(data, {})
    pads = {
        name: tuple(ticker for ticker in tickers if ticker not in kept[name])
        for name, tickers in plain.members.items()
        if PADDABLE.match(name) and name in kept
    }
    pads = {name: out for name, out in pads.items() if out}
    start = _formed(data, pads)  # what leaves one sector's averages is in no other's
    for sector in data.spec.sectors:
        shown = _Shown.of(data, start, sector)
        while found := shown.disclosed()[0]:
            names, companion = _companion(data.spec, sector, shown, found, kept, values)
            shown = shown.without(names, companion, values, data.spec)
            pads |= {name: (*pads.get(name, ()), companion) for name in names}
    made = _formed(data, pads)
    markets = [opening_name(part) for part in data.market.openings]
    made = replace(made, returns=made.returns[[*made.members, *markets]])
    largest = 0.0
    for sector in data.spec.sectors:
        found, leverage = _Shown.of(data, made, sector).disclosed()
        if found:
            raise InputError(f"sector '{sector}': firm '{found[0]}' could be read back")
        largest = max(largest, leverage)
    return made, pads, largest


def _formed(data: Sample, pads: Pads) -> Portfolios:
    """Form the averages without those that leave them; what is capped leaves slots as they were."""
    spec, market, panel = data.spec, data.market, data.panel
    slots = {
        (date.fromisoformat(day), sector): out
        for name, out in pads.items()
        for kind, day, sector in [name.split("/")]
        if kind == "slot"
    }
    made = from_firms(spec, market, panel, slots)
    return with_capped(spec, market, made, slots=from_firms(spec, market, panel).slots, out=pads)


@dataclass(frozen=True)
class _Shown:
    """A sector's averages, all of them shipped, and when firms and averages are there."""

    weights: Mapping[str, Mapping[str, float]]
    present: pd.DataFrame
    shown: pd.DataFrame

    @classmethod
    def of(cls, data: Sample, made: Portfolios, sector: str) -> _Shown:
        returns, spec = data.market.returns, data.spec
        values = valued_firms(spec, data.market)
        weights = {
            name: _weights(spec, name, tickers, values)
            for name, tickers in made.members.items()
            if name.split("/")[-1] == sector or name.startswith(f"basket/{sector}/")
        }
        firms = [firm.ticker for firm in spec.members(sector) if firm.ticker in returns]
        present = returns[firms].notna()
        if OVERNIGHT in data.market.openings:
            opened = data.market.openings[OVERNIGHT][firms].notna()
            present = pd.concat([present, opened.add_prefix(NIGHT)], axis=1)
        return cls(weights, present, made.returns[list(weights)].notna())

    def disclosed(self) -> tuple[tuple[str, ...], float]:
        """Test all averages together: what moved overnight is a second number of every firm.

        The session's return is the day's less the overnight one.
        """
        weights = {}
        for name, own in self.weights.items():
            night = {f"{NIGHT}{ticker}": weight for ticker, weight in own.items()}
            less = {ticker: -weight for ticker, weight in night.items()}
            by_part = {OVERNIGHT: night, SESSION: {**own, **less}}
            weights[name] = by_part.get(name.partition("/")[0], own)
        found, leverage = disclosed_firms(weights, self.present, self.shown)
        return tuple(dict.fromkeys(name.removeprefix(NIGHT) for name in found)), leverage

    def without(
        self, names: Sequence[str], ticker: str, values: Mapping[str, float], spec: Spec
    ) -> _Shown:
        """Leave a firm out of some averages."""
        less = dict(self.weights)
        for name in names:
            rest = [own for own in less[name] if own != ticker]
            less[name] = _weights(spec, name, rest, values)
        return replace(self, weights=less)


def _weights(
    spec: Spec, name: str, tickers: Sequence[str], values: Mapping[str, float]
) -> dict[str, float]:
    """Return the weights of an average's members: by value under the cap, or equal."""
    if name.partition("/")[0] not in (CAPPED, *PARTS) or "named/" in name:
        return dict.fromkeys(tickers, 1.0)
    assert spec.rule.second is not None
    found = capped_weights(np.array([values[t] for t in tickers]), spec.rule.second.cap)
    return dict(zip(tickers, found.tolist(), strict=True))


def _companion(
    spec: Spec,
    sector: str,
    shown: _Shown,
    found: Sequence[str],
    kept: Members,
    values: Mapping[str, float],
) -> tuple[list[str], str]:
    """Choose the averages and the further firm to leave them that leave the fewest disclosed.

    Averages with the same members go together. The contrast's own slot is left as it is, and so
    are averages that were published, while others can be padded.
    """
    baskets = {firm.ticker: firm.basket for firm in spec.members(sector)}
    fixed = {f"slot/{n.partition('/')[2]}" for n in shown.weights if n.startswith("named/")}
    alike: dict[tuple[str, ...], list[str]] = {}
    for name, tickers in shown.weights.items():
        if PADDABLE.match(name) and name not in fixed and not name.startswith("slot/"):
            alike.setdefault(tuple(tickers), []).append(name)
    if not any(PADDABLE.match(name) and name in kept for name in shown.weights):
        for name, tickers in shown.weights.items():
            if name.startswith("slot/") and name not in fixed:
                alike.setdefault(tuple(tickers), []).append(name)
    before = (len(found), round(shown.disclosed()[1], 6))
    near = {ticker for ticker in baskets if baskets[ticker] in {baskets[firm] for firm in found}}
    for companions in (near, set(baskets)):
        trials = [
            (n, t) for own, n in alike.items() for t in sorted(companions & {*own} - {*found})
        ]
        seen = [shown.without(*trial, values, spec).disclosed() for trial in trials]
        left = [(len(firms), round(leverage, 6)) for firms, leverage in seen]
        if left and min(left) < before:
            return trials[left.index(min(left))]
    raise InputError(f"sector '{sector}': firm '{found[0]}' can be read back from its averages")


if __name__ == "__main__":
    main()
