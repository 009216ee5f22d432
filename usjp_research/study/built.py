"""What a market of averages was built for, so that no other study is answered with it unseen."""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from usjp_research.engine.placebo import runs
from usjp_research.market.record import Market
from usjp_research.spec.records import Spec
from usjp_research.words import InputError

REMEDY = "use --market file:PATH, or rebuild with 'python data/make_bundle.py PRICES data/bundled'"
LONGEST = 24  # characters of a value in a message
WEIGHTS = {"cap", "least_valued", "without"}  # what the capped averages of the second rule hold


def built_for(spec: Spec, returns: pd.DataFrame) -> dict[str, Any]:
    """Record as plain values all that averages of firms' returns, (n_days, n_firms), hold fixed."""
    return {**_fixed(spec), **_membership(spec), "returns_from_to": _spans(spec, returns)}


def _fixed(spec: Spec) -> dict[str, Any]:
    """List what is in the averages themselves: another value would change nothing unseen."""
    rule, thesis, second = spec.rule, spec.thesis, spec.rule.second
    return {
        "study.yaml: since": str(rule.since) if rule.since else None,
        "study.yaml: benchmark": list(rule.benchmark),
        "study.yaml: mirror": list(rule.mirror),
        "study.yaml: contrast": rule.contrast.model_dump() if rule.contrast else None,
        "thesis.yaml: valued_on": str(thesis.valued_on) if thesis else None,
        "thesis.yaml: values_as_of": str(thesis.values_as_of) if thesis else None,
        "universe.csv: basket": {firm.ticker: firm.basket for firm in spec.firms},
        "universe.csv: market_value_usd_bn": {f.ticker: f.market_value_usd_bn for f in spec.firms},
        "donors.csv: group": {donor.ticker: donor.group for donor in spec.donors if donor.group},
        "study.yaml: second": second.model_dump(mode="json", include=WEIGHTS) if second else None,
    }


def _membership(spec: Spec) -> dict[str, Any]:
    """List what decides who is in a portfolio: another value holds where nobody moves by it."""
    rule = spec.rule
    news = sorted((item.ticker, str(item.session), item.kind) for item in spec.own_news)
    looked = sorted((ticker, *sorted(map(str, days))) for ticker, days in spec.coverage.items())
    return {
        "study.yaml: window": list(rule.window),
        "study.yaml: estimation": rule.estimation.model_dump(),
        "study.yaml: blackout": rule.blackout.model_dump(mode="json"),
        "own_news.csv": _sha([news, looked]),
    }


def _sha(content: object) -> str:
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()


def contrast_key(spec: Spec) -> str:
    """Name everything but its firms that decides whether one firm carries the contrast."""
    rule = spec.rule
    events = sorted((e.id, e.instant.isoformat(), e.role) for e in spec.announced())
    keys = ("window", "estimation", "model", "guard_sessions", "alpha", "contrast", "blackout")
    plain = rule.model_dump(mode="json")
    return _sha([[plain[key] for key in keys], events, _membership(spec)["own_news.csv"]])


def check_built(spec: Spec, market: Market) -> None:
    """Refuse a study that a market of averages was not built for, naming file and key.

    Of a universe with fewer sectors only its own firms are compared.
    """
    if not market.built:
        raise InputError(
            f"market '{market.name}': its provenance does not say what it was built for; {REMEDY}"
        )
    unused = {  # without mirror, contrast, thesis or donors nothing of theirs can differ
        "study.yaml: mirror": not spec.rule.mirror,
        "study.yaml: contrast": spec.rule.contrast is None,
        "thesis.yaml: valued_on": spec.thesis is None,
        "thesis.yaml: values_as_of": spec.thesis is None,
        "universe.csv: market_value_usd_bn": spec.thesis is None and spec.rule.second is None,
        "donors.csv: group": not spec.donors,
        "study.yaml: second": spec.rule.second is None,
    }
    firms = {firm.ticker for firm in spec.firms}
    for key, seen in _fixed(spec).items():
        built = market.built.get(key)
        if built and key.startswith("universe.csv"):
            built = {ticker: value for ticker, value in built.items() if ticker in firms}
        if not unused.get(key) and seen != built:
            raise InputError(f"{_difference(key, seen, built)}; {REMEDY}")


def _difference(key: str, seen: Any, built: Any) -> str:
    file, _, name = key.partition(": ")
    where = f"key '{name}'"
    if isinstance(seen, Mapping) and isinstance(built, Mapping):
        part = next(k for k in sorted({**seen, **built}) if seen.get(k) != built.get(k))
        where = f"{part}, column '{name}'" if file.endswith(".csv") else f"{where}, {part}"
        seen, built = seen.get(part), built.get(part)
    told = [json.dumps(value) if value not in (None, "") else "nothing" for value in (seen, built)]
    told = [text if len(text) <= LONGEST else f"{text[:LONGEST]}..." for text in told]
    return f"{file}: {where}: seen {told[0]}, the bundled market was built for {told[1]}"


def moved_by(spec: Spec, market: Market) -> str:
    """Name the file and the key that put a firm into another portfolio."""
    for key, seen in _membership(spec).items():
        if seen != market.built[key]:
            return _difference(key, seen, market.built[key]) if ": " in key else key
    return "events.csv"


def _spans(spec: Spec, returns: pd.DataFrame) -> dict[str, list[list[str]]]:
    """List the days from and to which firms have returns, of those that lack some."""
    days = [str(day.date()) for day in returns.index]
    known = returns.notna()
    return {
        ticker: [[days[first], days[last]] for first, last in runs(np.flatnonzero(known[ticker]))]
        for ticker in (firm.ticker for firm in spec.firms)
        if ticker in known and not known[ticker].all()
    }


def firms_known(market: Market) -> pd.DataFrame:
    """Return when the firms behind a market of averages have returns, (n_days, n_firms), bool."""
    sectors = [names for key, names in market.members.items() if key.startswith("sector/")]
    firms = list(dict.fromkeys(itertools.chain(*sectors)))
    known = pd.DataFrame(True, index=market.dates, columns=firms)
    for ticker, spans in market.built.get("returns_from_to", {}).items():
        if ticker in known:
            known[ticker] = False
            for first, last in spans:
                known.loc[first:last, ticker] = True
    return known
