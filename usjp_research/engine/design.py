"""Estimation days, event windows and expected-return models."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from usjp_research.words import InputError, card, nearest

Floats = npt.NDArray[np.float64]

MODEL_FACTORS: dict[str, tuple[str, ...]] = {
    "mean": (),
    "market_adjusted": (),
    "market": (),
    "ff3": ("mkt_rf", "smb3", "hml"),
    "carhart": ("mkt_rf", "smb3", "hml", "mom"),
    "ff5": ("mkt_rf", "smb5", "hml", "rmw", "cma"),
}
FACTOR_MODELS = {
    "ff3": "Fama-French three factors",
    "carhart": "Carhart four factors",
    "ff5": "Fama-French five factors",
}


@dataclass(frozen=True, slots=True)
class Timing:
    """Estimation days and event windows as offsets from day 0, both ends included.

    Attributes
    ----------
    estimation : (int, int)
    windows : tuple of (int, int)

    Raises
    ------
    InputError
        When an end comes before its start, or the estimation days reach into a window.
    """

    estimation: tuple[int, int]
    windows: tuple[tuple[int, int], ...]

    def __post_init__(self) -> None:
        for name, (low, high) in (
            ("estimation", self.estimation),
            *(("window", w) for w in self.windows),
        ):
            if high < low:
                raise InputError(f"{name} {low},{high}: the end comes before the start; turn round")
        if not self.windows:
            raise InputError("no window is given; give at least one, such as 0,0")
        if self.estimation[1] >= self.hull[0]:
            raise InputError(
                f"estimation {self.estimation[0]},{self.estimation[1]}: ends on day "
                f"{self.estimation[1]:+d}, expected before the first event day {self.hull[0]:+d}"
            )

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
    """An expected-return model: the return less ``base`` is regressed on ``regressors``.

    Attributes
    ----------
    base : ndarray of shape (n_days,)
        Zero, the market (market-adjusted) or the riskless rate; NaN on days that cannot be used.
    regressors : ndarray of shape (n_days, k)
        The constant first, the others centred and scaled: that changes no residual and keeps
        the normal equations well conditioned.
    centre, scale : ndarray of shape (k,)
        To return coefficients to the units of the data.
    """

    model: str
    base: Floats
    regressors: Floats
    centre: Floats
    scale: Floats

    def _repr_html_(self) -> str:
        return card("Expected return", self.model, f"{self.parameters} parameters")

    @property
    def parameters(self) -> int:
        """Number of estimated coefficients k."""
        return int(self.regressors.shape[1])


def expected_return_design(
    model: str, n_days: int, benchmark: Floats | None = None, factors: Mapping[str, Floats] = {}
) -> Design:
    """Set up an expected-return model on a common list of days.

    Parameters
    ----------
    model : {"mean", "market_adjusted", "market", "ff3", "carhart", "ff5"}
        Factor models are fitted to excess returns.
    n_days : int
    benchmark : ndarray of shape (n_days,)
        Simple returns of the market, as decimals; for the market and market-adjusted models.
    factors : mapping of str to ndarray of shape (n_days,)
        Decimals, under the names of `MODEL_FACTORS` and ``rf``.

    Returns
    -------
    Design

    Raises
    ------
    InputError
        For an unknown model, or a missing benchmark or factor.

    References
    ----------
    Brown and Warner (1980), Journal of Financial Economics 8, 205-258; MacKinlay (1997), Journal
    of Economic Literature 35, 13-39; Fama and French (1993, 2015), Journal of Financial Economics
    33 and 116; Carhart (1997), Journal of Finance 52, 57-82.

    Examples
    --------
    >>> expected_return_design("market", 3, np.array([0.01, -0.02, 0.0])).parameters
    2
    """
    if model not in MODEL_FACTORS:
        raise InputError(f"unknown model '{model}': {nearest(model, MODEL_FACTORS)}")
    base = np.zeros(n_days)
    columns: list[Floats] = []
    if model in ("market", "market_adjusted"):
        if benchmark is None:
            raise InputError(f"model '{model}' needs a benchmark; name its series")
        if model == "market":
            columns = [benchmark]
        else:
            base = benchmark.copy()
    elif MODEL_FACTORS[model]:
        for name in ("rf", *MODEL_FACTORS[model]):
            if name not in factors:
                raise InputError(f"model '{model}' needs the factor '{name}'")
        base = factors["rf"].copy()
        columns = [factors[name] for name in MODEL_FACTORS[model]]
    table = np.column_stack(columns) if columns else np.empty((n_days, 0))
    known = np.isfinite(base) & np.isfinite(table).all(axis=1)
    if not known.any():
        raise InputError(f"model '{model}': no day has a value for every regressor")
    centre = table[known].mean(axis=0)
    scale = table[known].std(axis=0)
    scale[scale < 1e-100] = 1.0  # it does not move
    table = (table - centre) / scale
    if model != "market_adjusted":
        table = np.column_stack([np.ones(n_days), table])
        centre, scale = np.r_[0.0, centre], np.r_[1.0, scale]
    base[~known], table[~known] = np.nan, 0.0
    return Design(model, base, table, centre, scale)
