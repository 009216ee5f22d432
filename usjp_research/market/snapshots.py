"""Snapshots of what was fetched: found by digest, checked before use, compared day by day."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from usjp_research.spec.records import find_root, sha_of
from usjp_research.words import InputError

if TYPE_CHECKING:
    import pandas as pd

STORE, DATA, ABOUT = "snapshots", "prices.parquet", "provenance.json"
KEYS = ("fetched", "source", "holds", "terms", "from", "to", "coverage", "dropped")
ROUNDED = 1e-5  # adjusted prices are rounded: smaller differences are no revision


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What was fetched once, in a folder that is named by the SHA-256 of its table."""

    data: Path  # the table, read as any file of prices or factors
    about: Mapping[str, Any]  # source, holds, fetched, terms, coverage, dropped and more

    @property
    def digest(self) -> str:
        """The SHA-256 of its table."""
        return self.data.parent.name


def store() -> Path:
    """Return the folder of snapshots where the user stands; none inside the package."""
    here, package = Path.cwd().resolve(), Path(__file__).resolve().parents[1]
    if here.is_relative_to(package):
        raise InputError(f"{here}: inside the package, where no prices may lie; go elsewhere")
    return here / STORE


def snapshots(folder: Path | None = None) -> list[Snapshot]:
    """List the snapshots of a folder, by default where the user stands; the newest last."""
    places = [folder] if folder else [Path.cwd() / STORE, find_root() / STORE]
    folder, found = next((place for place in places if place.is_dir()), places[0]), []
    for path in folder.absolute().glob(f"[!.]*/{ABOUT}"):  # a kernel may stand elsewhere
        try:
            about = json.loads(path.read_text(encoding="utf-8"))
            found.append(Snapshot(path.with_name(DATA), about | {key: about[key] for key in KEYS}))
        except (OSError, ValueError, LookupError, TypeError) as error:
            raise InputError(f"{path}: damaged ({type(error).__name__}); move it away") from None
    return sorted(found, key=lambda one: str(one.about["fetched"]))


def find_snapshot(name: str, holds: str = "") -> Snapshot:
    """Find a snapshot and see that its table is as it was fetched.

    The name is a digest, the first digits of one, ``latest``, or a snapshot's folder or table; it
    may have to hold ``prices`` or ``factors``. InputError says what there is, when none or several
    are meant or the table has changed.
    """
    path = Path(name).parent if Path(name).name == DATA else Path(name)
    every = snapshots(path.parent if len(path.parts) > 1 else None)
    fit = [one for one in every if holds in ("", one.about["holds"])]
    found = fit[-1:] if name == "latest" else [s for s in fit if s.digest.startswith(path.name)]
    if len(found) != 1 or not path.name:
        names = [f"{s.digest[:12]} ({s.about['source']})" for s in found or every]
        there = ", ".join(names[::-1][:4])
        none = f"no such snapshot{holds and f' of {holds}'}"
        fault = "several begin so" if len(found) > 1 else none
        told = f"there: {there}" if there else "there is none yet, usjp prices fetch makes one"
        raise InputError(f"snapshot '{name}': {fault}; {told}")
    (one,) = found
    if not one.data.is_file() or sha_of(one.data) != one.digest:
        raise InputError(f"{one.data}: changed since it was fetched; fetch it again")
    return one


def revisions(before: Snapshot, after: Snapshot) -> pd.DataFrame:
    """Compare two snapshots where both have a number, the largest revision first.

    Columns are series, day, field, before, after and size: a difference of factors; of prices their
    ratio over the usual one of the series, less one, as splits and dividends move all earlier
    prices alike.
    """
    import pandas as pd

    if before.about["holds"] != after.about["holds"]:
        raise InputError("one snapshot holds prices, the other factors: nothing to compare")
    old, new = (pd.read_parquet(one.data) for one in (before, after))
    if old.columns.nlevels == 1:
        old, new = (pd.concat({"factor": frame}, axis=1) for frame in (old, new))
        size = new - old
    else:
        old, new = (frame.drop(columns="volume", level=0, errors="ignore") for frame in (old, new))
        size = new / old
        size = size / size.median() - 1
    names = ["field", "series"]
    parts = {"before": old, "after": new, "size": size}
    long = {k: frame.rename_axis(columns=names).unstack().dropna() for k, frame in parts.items()}
    table = pd.DataFrame(long).dropna().rename_axis([*names, "day"]).reset_index()
    table = table[table["size"].abs() > ROUNDED]
    return table.sort_values("size", key=abs, ascending=False, kind="stable", ignore_index=True)
