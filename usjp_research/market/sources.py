"""Where returns may come from: one register, which help texts and notebooks print."""

from __future__ import annotations

import re
from typing import NamedTuple


class Source(NamedTuple):
    """A kind of market: what follows the colon of its name, and what it is, in words."""

    place: str
    told: str
    simulated: bool = False  # its returns are drawn, so nothing is about a real market


SOURCES = {
    "bundled": Source("", "averages of firms that ship with the project"),
    "file": Source("PATH", "prices or returns, as CSV, Excel or Parquet"),
    "returns": Source("PATH", "the same where it must be said that they are returns"),
    "prices": Source("PATH", "the same where it must be said that they are prices"),
    "snapshot": Source("DIGEST", "prices that usjp prices fetch has kept, or snapshot:latest"),
    "simulated": Source(
        "", "a market with a known law, of the rule's seed or simulated:SEED", True
    ),
}


def usage(name: str) -> str:
    """Return how a source is written, such as ``file:PATH``."""
    place = SOURCES[name].place
    return f"{name}:{place}" if place else name


def sources_help() -> str:
    """Return the register in one sentence, for the help of an option."""
    return "; ".join(f"{usage(name)} ({source.told})" for name, source in SOURCES.items()) + "."


def is_simulated(market: str) -> bool:
    """Whether a market, by the name that its run recorded, is about no real one."""
    source = SOURCES.get(re.split(r"[:\s]", market, maxsplit=1)[0])
    return source is not None and source.simulated
