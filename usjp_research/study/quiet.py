"""Which controls the second rule uses: chosen on quiet dates, before any event is read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd

from usjp_research.engine.design import Floats, Ints
from usjp_research.engine.evidence import SEED, held_out_size
from usjp_research.engine.placebo import Leg, admissible_shifts, enough, family_detectable
from usjp_research.market.donors import DONOR
from usjp_research.study.sample import Sample
from usjp_research.study.second import calendar_of, design_of, kept_share, second_legs, yardstick
from usjp_research.words import InputError, card

MOST = 7  # controls of a forward set
DRAWS, BLOCK = 500, 60  # of the circular block bootstrap of the quiet shifts
HALF = 0.5  # of a sector's uniform shock must survive benchmark and controls
LATER = ("difference", "error", "chosen")  # columns that need all candidates
ROWS = ("candidate", "controls", "sector", "placebo_sd", "mde", "retained", "mde_over_retained")
TABLE = (
    *("candidate", "controls", "criterion", "difference", "error", "least_retained"),
    *("row_size", "family_size", "size_error", "later_size", "admissible", "chosen"),
)


@dataclass(frozen=True, slots=True)
class Candidates:
    """What every set of controls would have been worth on quiet dates, and which one wins.

    ``table`` has one row per candidate: mean over sectors of log(MDE / retained share), its
    distance to the smallest with standard error, the smallest retained share, sizes at nominal
    alpha; ``sectors`` one per candidate and sector: placebo sd of the sum, MDE, retained share, as
    decimals. ``controls`` is the choice, ``last`` the last day that was read.
    """

    table: pd.DataFrame
    sectors: pd.DataFrame
    controls: tuple[str, ...]
    shifts: int
    last: pd.Timestamp

    def _repr_html_(self) -> str:
        names = ", ".join(self.controls) or "none"
        return card("Controls", names, f"{self.shifts} quiet shifts", f"read to {self.last.date()}")


class _Trial(NamedTuple):
    """One candidate on the quiet shifts: three arrays of shape (n_shifts, n_sectors)."""

    controls: tuple[str, ...]
    penalty: float
    effect: Floats
    error: Floats
    retained: Floats

    def sizes(self, alpha: float, power: float, rows: Ints | slice) -> Floats:
        """Return MDE and retained share by sector on some of the shifts, shape (2, n_sectors)."""
        effect, error = self.effect[rows], self.error[rows]
        away = effect / error - (effect / error).mean(axis=0)
        _, mde = family_detectable(away, alpha, power)
        return np.array([mde * error.mean(axis=0), self.retained[rows].mean(axis=0)])


def quiet_candidates(data: Sample) -> Candidates:
    """Compare sets of controls on calendars that end before the first event.

    The criterion was written down before this table was first computed: the smallest mean over
    sectors of log(MDE / retained share) among candidates that keep at least half of every
    sector's uniform shock and whose family size is not above alpha by more than two of its own
    standard errors; within one standard error of it the fewest controls win (docs/methods.md).
    Candidates are no control, forward sets of up to seven shipped averages, each adding the one
    that lowers the criterion most, and ridge on all of them. No return after the last quiet
    window is read. Raises `InputError` when the study has no second rule, no shipped averages or
    too few quiet shifts.
    """
    quiet = _Quiet.of(data)
    names = _averages(data)
    trials = [quiet.trial(())]
    while len(trials[-1].controls) < min(MOST, len(names)):
        held = trials[-1].controls
        more = [quiet.trial((*held, name)) for name in names if name not in held]
        trials.append(min(more, key=lambda trial: (quiet.criterion(trial), trial.controls[-1:])))
    trials.append(quiet.trial(names, float(data.spec.rule.estimation.sessions)))
    return _chosen(data, quiet, trials)


def _averages(data: Sample) -> tuple[str, ...]:
    """List the shipped averages that may be controls, in the order of the alphabet."""
    second = data.spec.rule.second
    assert second is not None
    out = {f"basket/{sector}/{b}" for sector, own in second.without.items() for b in own}
    names = [str(name) for name in data.controls if str(name).startswith(DONOR) or name in out]
    if not names:
        raise InputError(
            "no averages of outside firms that could be controls: they come with the bundled "
            "market and are not used beside simulated returns; give prices with --market file:PATH"
        )
    return tuple(sorted(names))


@dataclass(frozen=True, slots=True)
class _Quiet:
    """The second rule's legs, and the shifts that move all of them before the first event."""

    data: Sample
    legs: dict[str, tuple[Leg, ...]]
    calendar: tuple[Leg, ...]
    shifts: Ints
    end: int  # days that may be read

    @classmethod
    def of(cls, data: Sample) -> _Quiet:
        (legs, silent), calendar = second_legs(data), calendar_of(data)
        if not legs:
            sector, reason = next(iter(silent.items()))
            raise InputError(f"rule 2 has no sector that it could test: {sector}: {reason}")
        every = admissible_shifts(calendar, data.panel.masked, data.spec.rule)
        last = max(leg.day0 + leg.window[1] for leg in calendar)
        shifts = every[every + last < int(np.flatnonzero(data.panel.masked)[0])]
        if len(shifts):
            quiet = cls(data, legs, calendar, shifts, int(last + shifts.max() + 1))
            full = quiet.trial(_averages(data), float(data.spec.rule.estimation.sessions))
            shifts = shifts[np.isfinite(full.effect + full.error).all(axis=1)]
        what = "quiet calendars with complete returns before the first event"
        enough(len(shifts), data.spec.rule, what)
        return cls(data, legs, calendar, shifts, int(last + shifts.max() + 1))

    def trial(self, controls: Sequence[str], penalty: float = 0.0) -> _Trial:
        """Compute all sectors' sums, errors and retained shares at the quiet shifts."""
        data, found = self.data, {}
        for yard in dict.fromkeys(yardstick(data, sector) for sector in self.legs):
            own = {s: legs for s, legs in self.legs.items() if yardstick(data, s) == yard}
            design = design_of(data, yard, controls, penalty=penalty, days=self.end)
            read, masked = data.portfolios.returns.iloc[: self.end], data.panel.masked[: self.end]
            how = {"returns": read, "design": design, "masked": masked, "calendar": self.calendar}
            effect, variance, loading, _ = data.sums([*own.values()], self.shifts, **how)
            for at, sector in enumerate(own):
                kept = kept_share(data, sector, loading[:, at])
                found[sector] = (effect[:, at], np.sqrt(variance[:, at]), kept)
        parts = np.array([found[sector] for sector in self.legs]).transpose(1, 2, 0)
        return _Trial(tuple(controls), penalty, *parts)

    def criterion(self, trial: _Trial, rows: Ints | slice = slice(None)) -> float:
        """Mean over sectors of log(MDE / retained share)."""
        rule = self.data.spec.rule
        mde, kept = trial.sizes(rule.alpha, rule.power, rows)
        return float(np.log(mde / kept).mean()) if (kept > 0).all() else np.inf


def _chosen(data: Sample, quiet: _Quiet, trials: Sequence[_Trial]) -> Candidates:
    rule, rows, sectors, days = data.spec.rule, [], [], [leg.day0 for leg in quiet.calendar]
    n = len(quiet.shifts)  # circular blocks of them are drawn
    starts = np.random.default_rng(SEED).integers(0, n, (DRAWS, -(-n // BLOCK)))
    draws = ((starts[..., None] + np.arange(BLOCK)) % n).reshape(DRAWS, -1)[:, :n]
    resampled = np.array([[quiet.criterion(trial, draw) for trial in trials] for draw in draws])
    for trial in trials:
        mde, kept = trial.sizes(rule.alpha, rule.power, slice(None))
        size = held_out_size(trial.effect / trial.error, rule.alpha, np.ptp(days))
        last = trial.controls[-1].rpartition("/")[2] if trial.controls else ""
        name = "ridge on all" if trial.penalty else f"and {last}" if last else "no control"
        named = (name, len(trial.controls))
        sound = bool(kept.min() >= HALF and size.family <= rule.alpha + 2 * size.error)
        rows.append((*named, quiet.criterion(trial), float(kept.min()), *size, sound))
        each = zip(quiet.legs, trial.effect.std(axis=0, ddof=1), mde, kept, mde / kept, strict=True)
        sectors += [(*named, *numbers) for numbers in each]
    table = pd.DataFrame(rows, columns=[name for name in TABLE if name not in LATER])
    good = np.flatnonzero(table["admissible"])
    if not len(good):
        raise InputError("no candidate is admissible: every one fails on shock or on size")
    best = good[table["criterion"].to_numpy()[good].argmin()]
    table["difference"] = table["criterion"] - table["criterion"][best]
    table["error"] = (resampled - resampled[:, [best]]).std(axis=0, ddof=1)
    near = [k for k in good if table["difference"][k] <= table["error"][k]]
    pick = int(min(near, key=lambda k: (table["controls"][k], table["criterion"][k])))
    table["chosen"] = table.index == pick
    last_day = data.market.dates[quiet.end - 1]
    by_sector = pd.DataFrame(sectors, columns=list(ROWS))
    own = (trials[pick].controls, len(quiet.shifts), last_day)
    return Candidates(table[list(TABLE)], by_sector, *own)
