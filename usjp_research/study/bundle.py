"""The averages that the repository ships: built from single firms, and from which none is read."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from datetime import date
from pathlib import Path

import numpy as np
import pandas as pd

from usjp_research.market.donors import DONOR, Donors
from usjp_research.market.record import BENCHMARK, MIRROR, Market, market_digest
from usjp_research.spec.records import Spec
from usjp_research.study.built import built_for, contrast_key
from usjp_research.study.contrast import contrast_row
from usjp_research.study.disclosure import SMALLEST, disclosed_firms
from usjp_research.study.events import EventPanel
from usjp_research.study.portfolios import PADDED, Portfolios, averages_of, from_firms
from usjp_research.study.sample import Sample
from usjp_research.words import InputError


def write_bundle(
    spec: Spec, market: Market, panel: EventPanel, out: Path, donors: Donors | None = None
) -> dict[str, object]:
    """Write the averages that the repository ships, once no firm can be read back from them.

    Where a slot would disclose a firm, the next firm of the same basket in alphabetical order
    leaves the slot too, and is listed; returns play no part in the choice.

    Parameters
    ----------
    spec : Spec
    market : Market
        At firm level.
    panel : EventPanel
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
    if market.level != "firm":
        raise InputError("a bundle is built from single firms; give --prices FILE")
    made, pads, leverage = _safe(spec, market, panel)
    dropped = [asdict(item) for item in (*market.dropped, *made.dropped)]
    for slot in made.slots.values():
        pad = pads.get((slot.session, slot.sector), ())
        for ticker, reason in (
            *((t, "too few returns in its windows") for t in slot.short),
            *((t, PADDED) for t in pad),
        ):
            row = {"what": slot.series, "name": ticker, "reason": reason}
            if slot.series and row not in dropped:
                dropped.append(row)
    frame = made.returns.copy()
    frame.insert(0, BENCHMARK, made.benchmark)
    frame.insert(1, MIRROR, market.returns.get(MIRROR, np.nan))
    outside, groups, donor_leverage = _donor_averages(spec, donors)
    frame = pd.concat([frame, outside.reindex(frame.index)], axis=1).astype("float32")
    members = {**made.members, **groups}
    values = {name: round(made.values[name], 1) for name in made.values if name in made.members}
    record: dict[str, object] = {
        "source": "averages of three or more securities, from vendor prices that are not shipped",
        "kind": "daily simple returns, equal weights, adjusted for splits and dividends",
        "first": str(frame.index[0].date()),
        "last": str(frame.index[-1].date()),
        "sessions": len(frame),
        "series": frame.shape[1],
        "prices_sha256": market.provenance.get("sha256"),
        "benchmark": market.provenance.get("benchmark"),
        "market_value_usd_bn": values,
        "valued_firms": {
            name: list(pair) for name, pair in made.counts.items() if name in made.members
        },
        "largest_leverage": round(max(leverage, donor_leverage), 4),
        "built_for": built_for(spec, market.returns)
        | {"contrast rests on": [contrast_key(spec), _carrying(spec, market, panel)]},
        "dropped": dropped,
    }
    if donors is not None:
        dropped += [asdict(item) for item in donors.dropped]
        record["donor_prices_sha256"] = donors.sha256
        record["donors"] = (
            "members of the index today (survivors), by industry; groups in params/donors.csv "
            "are from general knowledge"
        )
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
    as_read = frame.astype("float64")
    record["digest"] = market_digest(Market("bundled", as_read, "portfolio", values=values))
    text = json.dumps(record, indent=1, ensure_ascii=False) + "\n"
    (out / "provenance.json").write_text(text, encoding="utf-8")
    return record


def _carrying(spec: Spec, market: Market, panel: EventPanel) -> str:
    """Return the firm that carries the contrast; a market of averages cannot leave one out."""
    row, _, _ = contrast_row(Sample(spec, market, panel, from_firms(spec, market, panel)))
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


def _safe(
    spec: Spec, market: Market, panel: EventPanel
) -> tuple[Portfolios, dict[tuple[date, str], tuple[str, ...]], float]:
    pads: dict[tuple[date, str], tuple[str, ...]] = {}
    made = from_firms(spec, market, panel)
    for sector in spec.sectors:
        firms = [firm.ticker for firm in spec.members(sector) if firm.ticker in market.returns]
        present = market.returns[firms].notna()
        groups = dict(_published(made, sector))
        shown = made.returns[list(groups)].notna()
        while found := disclosed_firms(groups, present, shown)[0]:
            names, companion = _companion(spec, sector, groups, present, shown, found)
            groups = _without(groups, names, companion)
            for name in names:
                day = date.fromisoformat(name.split("/")[1])
                pads[day, sector] = (*pads.get((day, sector), ()), companion)
    made = from_firms(spec, market, panel, pads)
    made = replace(made, returns=made.returns[list(made.members)])
    largest = 0.0
    for sector in spec.sectors:
        firms = [firm.ticker for firm in spec.members(sector) if firm.ticker in market.returns]
        groups = dict(_published(made, sector))
        present, shown = market.returns[firms].notna(), made.returns[list(groups)].notna()
        found, leverage = disclosed_firms(groups, present, shown)
        if found:
            raise InputError(f"sector '{sector}': firm '{found[0]}' could be read back")
        largest = max(largest, leverage)
    return made, pads, largest


def _published(made: Portfolios, sector: str) -> list[tuple[str, tuple[str, ...]]]:
    """List a sector's series: whatever is averaged is shipped."""
    return [
        (name, tickers)
        for name, tickers in made.members.items()
        if name.split("/")[-1] == sector or name.startswith(f"basket/{sector}/")
    ]


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
