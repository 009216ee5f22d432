"""Estimation days, event windows and expected-return models."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
import numpy.typing as npt

from usjp_research.words import InputError, card, nearest

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]


class Estimation(Protocol):
    """An estimation window, as a rule gives it."""

    @property
    def sessions(self) -> int:
        """Its length in trading days."""

    @property
    def ends_before(self) -> int:
        """Trading days from its end to the start of the event window."""

    @property
    def minimum(self) -> int:
        """Least number of usable days."""


class Plan(Protocol):
    """What a rule fixes of windows and calendars."""

    @property
    def window(self) -> tuple[int, int]:
        """The event window, offsets from day 0."""

    @property
    def estimation(self) -> Estimation:
        """The estimation window."""

    @property
    def guard_sessions(self) -> int:
        """Trailing sessions of the volatility guard."""

    @property
    def least_shifts(self) -> int:
        """Least number of placebo calendars."""


@dataclass(frozen=True, slots=True)
class Model:
    """An expected-return model: the return less ``base`` is regressed on ``regressors``."""

    title: str
    regressors: tuple[str, ...] = ()
    base: str = ""
    constant: bool = True
    reach: int = 0  # instruments are the regressors summed over so many days on either side

    @property
    def needs(self) -> tuple[str, ...]:
        """Names of the columns that the model is made of."""
        return (*filter(None, (self.base,)), *self.regressors)

    @property
    def factors(self) -> tuple[str, ...]:
        """Those of them that are French's factors."""
        return tuple(name for name in self.needs if name != "market")


MODELS = {
    "mean": Model("mean return"),
    "market_adjusted": Model("the market itself", base="market", constant=False),
    "market": Model("market model", ("market",)),
    # Its beta, (b_-1 + b_0 + b_1) / (1 + 2 rho) with all covariances over the same days, is that of
    # instrumental variables: the market, with its sum over three days as the instrument. Its t law
    # is approximate.
    "scholes_williams": Model("Scholes-Williams, for thin trading", ("market",), reach=1),
    "ff3": Model("Fama-French three factors", ("mkt_rf", "smb3", "hml"), "rf"),
    "carhart": Model("Carhart four factors", ("mkt_rf", "smb3", "hml", "mom"), "rf"),
    "ff5": Model("Fama-French five factors", ("mkt_rf", "smb5", "hml", "rmw", "cma"), "rf"),
}


@dataclass(frozen=True, slots=True)
class Timing:
    """Estimation days and event windows as offsets from day 0, both ends included.

    Raises `InputError` when an end comes before its start, or estimation reaches into a window.
    """

    estimation: tuple[int, int]
    windows: tuple[tuple[int, int], ...]

    def __post_init__(self) -> None:
        spans = [("estimation", self.estimation), *(("window", window) for window in self.windows)]
        for name, (low, high) in spans:
            if high < low:
                raise InputError(f"{name} {low},{high}: the end comes before the start; turn round")
        if not self.windows:
            raise InputError("no window is given; give at least one, such as 0,0")
        (first, last), start = self.estimation, self.hull[0]
        if last >= start:
            asked = f"expected before the first event day {start:+d}"
            raise InputError(f"estimation {first},{last}: ends on day {last:+d}, {asked}")

    def _repr_html_(self) -> str:
        windows = ", ".join(f"{low} to {high}" for low, high in self.windows)
        low, high = self.estimation
        return card("Timing", "", f"estimation {low} to {high}", f"windows {windows}")

    @property
    def hull(self) -> tuple[int, int]:
        """The shortest window that holds all windows."""
        return min(low for low, _ in self.windows), max(high for _, high in self.windows)

    @property
    def days(self) -> int:
        """Number of estimation days."""
        return self.estimation[1] - self.estimation[0] + 1

    def place(self, window: tuple[int, int]) -> slice:
        """Where a window lies inside the hull."""
        return slice(window[0] - self.hull[0], window[1] - self.hull[0] + 1)


@dataclass(frozen=True, slots=True)
class Design:
    """An expected-return model on a list of days, in k coefficients ``(Z'X)^-1 Z'y``.

    ``base`` (n_days,) is taken off the returns: zero, the market or the riskless rate; NaN on
    unusable days. ``regressors`` X and ``instruments`` Z (n_days, k) have the constant first, the
    others centred by ``centre`` and scaled by ``scale`` to keep the normal equations well
    conditioned.
    """

    model: str
    base: Floats
    regressors: Floats
    instruments: Floats
    centre: Floats
    scale: Floats
    penalty: float = 0.0  # ridge: so many days on which every regressor after the first is zero

    def _repr_html_(self) -> str:
        return card("Expected return", self.model, f"{self.parameters} parameters")

    @property
    def parameters(self) -> int:
        """Number of estimated coefficients k."""
        return int(self.regressors.shape[1])

    def original(self, coefficients: Floats) -> Floats:
        """Return coefficients, shape (..., k), to the units of the data, intercept first."""
        out = coefficients / self.scale
        if self.parameters > 1:
            out[..., 0] -= out[..., 1:] @ self.centre[1:]
        return np.asarray(out)


def expected_return_design(
    model: str | Model, columns: Mapping[str, Floats], n_days: int | None = None
) -> Design:
    """Set up a model, of `MODELS` by its name, on the columns that it needs, decimals (n_days,).

    Brown and Warner (1980); MacKinlay (1997); Fama and French (1993, 2015); Carhart (1997);
    Scholes and Williams (1977).
    """
    made = named_model(model) if isinstance(model, str) else model
    model = model if isinstance(model, str) else model.title
    for name in made.needs:
        if name not in columns:
            what = "a benchmark; name its series" if name == "market" else f"the factor '{name}'"
            raise InputError(f"model '{model}' needs {what}")
    if n_days is None:
        n_days = len(next(iter(columns.values())))
    base = columns[made.base].copy() if made.base else np.zeros(n_days)
    table = np.array([columns[name] for name in made.regressors]).reshape(-1, n_days).T
    known = np.isfinite(base) & np.isfinite(table).all(axis=1)
    if not known.any():
        raise InputError(f"model '{model}': no day has a value for every regressor")
    centre, scale = table[known].mean(axis=0), table[known].std(axis=0)
    scale[scale < 1e-100] = 1.0  # it does not move
    table = (table - centre) / scale
    if made.constant:
        table = np.column_stack([np.ones(n_days), table])
        centre, scale = np.r_[0.0, centre], np.r_[1.0, scale]
    base[~known], table[~known] = np.nan, 0.0
    instruments = table
    if made.reach:  # a missing day counts as the mean
        around = np.ones(2 * made.reach + 1)
        sums = [np.convolve(x, around)[made.reach : -made.reach] for x in table[:, 1:].T]
        instruments = np.column_stack([table[:, 0], *sums])
    return Design(model, base, table, instruments, centre, scale)


def controlled_design(first: Floats, controls: Floats, penalty: float = 0.0) -> Design:
    """Set up a yardstick (n_days,) and controls (n_days, n_controls) as one model."""
    names = ("market", *(f"control {k + 1}" for k in range(controls.shape[1])))
    columns = dict(zip(names, np.column_stack([first, controls]).T, strict=True))
    made = expected_return_design(Model("market and controls", names), columns)
    return replace(made, penalty=penalty)


def named_model(name: str) -> Model:
    """Look a model up; where there is none of that name, refuse and propose the nearest."""
    if name not in MODELS:
        raise InputError(f"unknown model '{name}': {nearest(name, MODELS)}")
    return MODELS[name]
