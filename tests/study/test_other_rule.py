"""Another rule in one parameter: another study, said in the first line, in a folder of its own."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import nbformat
import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from bs4 import BeautifulSoup
from typer.testing import Result

import usjp_research as ur
from tests.conftest import Instead
from tests.here import run_notebook
from usjp_research.engine.design import MODELS
from usjp_research.runs import store
from usjp_research.runs.job import Job
from usjp_research.spec.read import read_settings
from usjp_research.spec.records import Rule, Spec, find_root

Own = Callable[..., Path]
Run = Callable[..., Result]
KEPT = "; rule 2 keeps its own window and model"


# --- the rule as asked -------------------------------------------------------------------------


def test_the_rule_takes_every_model_of_the_register() -> None:
    assert get_args(Rule.model_fields["model"].annotation) == tuple(MODELS)


SETTINGS: dict[tuple[str, ...], tuple[dict[str, object], str]] = {
    ("window=-5,5", "model=ff3"): (
        {"window": [-5, 5], "model": "ff3"},
        f"window -5 to 5, model ff3{KEPT}",
    ),
    ("window=[-5, 5]", "second=null"): (
        {"window": (-5, 5), "second": None},
        "window -5 to 5, second none",
    ),
    ("guard_sessions=40",): ({"guard_sessions": 40}, "guard sessions 40"),
    ("second.cap=0.2", "second.material=0.03"): (
        {"second": {"cap": 0.2, "material": 0.03}},
        "second cap 0.2, second material 0.03",
    ),
    ("second.yardstick.mining_metals=outside",): (
        {"second.yardstick.mining_metals": "outside"},
        "second yardstick mining metals outside",
    ),
    ("second.without={}",): ({"second": {"without": {}}}, "second without mining metals none"),
    ("benchmark=SPY,IVV", "blackout.margin=0"): (
        {"benchmark": ["SPY", "IVV"], "blackout": {"margin": 0}},
        "benchmark SPY, IVV, blackout margin 0",
    ),
    ("contrast=", "since=2023-01-03"): (
        {"contrast": None, "since": "2023-01-03"},
        "since 2023-01-03, contrast none",
    ),
}


@pytest.mark.parametrize("words", SETTINGS)
def test_command_and_notebook_ask_for_the_same_other_study(
    words: tuple[str, ...], spec: Spec
) -> None:
    rule, said = SETTINGS[words]
    by_command, by_notebook = ur.read_spec(rule=read_settings(words)), ur.read_spec(rule=rule)
    assert by_command == by_notebook and ur.digest(by_command) == ur.digest(by_notebook)
    assert ur.digest(by_command) != ur.digest(spec)
    assert by_command.changed == said
    assert str(ur.not_the_rule(by_command)) == f"Not the study's rule: {said}"
    assert "Not the study" in by_command._repr_html_()


def test_what_is_not_named_stays_and_what_is_the_same_changes_nothing(spec: Spec) -> None:
    other = ur.read_spec(rule={"second.cap": 0.2}).rule.second
    assert other and spec.rule.second and other.cap == 0.2
    assert other.model_dump(exclude={"cap"}) == spec.rule.second.model_dump(exclude={"cap"})
    same = ur.read_spec(rule={"window": [-1, 1], "alpha": 0.1})
    assert same == spec and not same.changed and ur.not_the_rule(same) is None


REFUSED = {
    "windw=-5,5": ("'rule': unknown key 'windw'", "did you mean 'window'?"),
    "second.capp=0.2": ("unknown key 'second.capp'", "did you mean 'cap'?"),
    "model=ff4": ("key 'model': seen 'ff4'", "scholes_williams", "did you mean 'ff5'?"),
    "window=5,-5": ("key 'window'", "two numbers of sessions from day 0"),
    "window=5": ("key 'window': seen 5", "a list, as [a, b]"),
    "window.low=-5": ("key 'window'", "a list, as [a, b]"),
    "guard_sessions=4.5": ("key 'guard_sessions': seen 4.5", "a whole number"),
    "guard_sessions=400": ("guard_sessions is larger than estimation.sessions",),
    "estimation.sessions=100": ("estimation.minimum is larger",),
    "alpha=nan": ("key 'alpha': seen nan", "finite"),
    "since=2023": ("key 'since': seen 2023", "YYYY-MM-DD"),
    "contrast.event=E99": ("study.yaml with --set", "key 'contrast.event'", "unknown 'E99'"),
    "window={a: [1": ("--set window: row 1", "not readable as YAML"),
    "window": ("--set: seen 'window'", "expected KEY=VALUE such as window=-5,5"),
    "=3": ("--set: seen '=3'", "KEY=VALUE"),
}


@pytest.mark.parametrize("word", REFUSED)
def test_a_bad_key_or_value_is_one_line_before_any_return_is_read(word: str, usjp: Run) -> None:
    result = usjp("study", "--no-pages", "--set", word)
    assert result.exit_code == 2 and not result.stdout
    (line,) = result.stderr.splitlines()
    for words in ("--set", *REFUSED[word]):
        assert words in line, line


def test_a_key_that_is_set_twice_is_refused() -> None:
    with pytest.raises(ur.InputError, match="--set alpha: seen twice, expected once"):
        read_settings(["alpha=0.05", "alpha=0.1"])


@pytest.mark.parametrize("rule", [{5: 1}, {"window": object()}, {"": 1}, {"second": {"cap": []}}])
def test_a_notebook_s_bad_value_is_one_line_too(rule: dict[str, object]) -> None:
    with pytest.raises(ur.InputError, match="parameter 'rule': "):
        ur.read_spec(rule=rule)


# --- the command -------------------------------------------------------------------------------


def test_a_run_of_another_rule_says_so_first_and_has_its_own_folder(usjp: Run, spec: Spec) -> None:
    words = ("study", "--no-pages", "--set", "guard_sessions=40", "--set", "second=")
    result = usjp(*words)
    assert result.exit_code == 0, result.stderr
    first = "Not the study's rule: guard sessions 40, second none"
    assert result.stdout.splitlines()[0] == first
    other = ur.digest(ur.read_spec(rule={"guard_sessions": 40, "second": None}))
    (run,) = Path("outputs").iterdir()
    assert run.name == f"study-{other[:8]}" and other != ur.digest(spec)
    for name in ("run.json", "results/verdicts.json"):
        held = json.loads((run / name).read_text("utf-8"))
        assert held["spec"] == other and held["not_the_rule"] == "guard sessions 40, second none"
    assert held["rule"]["guard_sessions"] == 40 and len(held["rows"]) == len(spec.sectors)


def test_the_study_s_own_folder_is_not_taken_even_to_replace_it(
    own: Own, prices: Path, usjp: Run
) -> None:
    words = ("study", "--params", own(), "--market", f"file:{prices}", "--no-pages")
    assert usjp(*words).exit_code == 0
    before = Path("outputs/study/run.json").read_bytes()
    assert "not_the_rule" not in json.loads(Path("outputs/study/results/verdicts.json").read_text())
    other = (*words, "--set", "alpha=0.2", "--out", "outputs/study")
    for more in ((), ("--replace",)):
        result = usjp(*other, *more)
        assert result.exit_code == 2, result.stdout
        assert "holds a run of the study itself" in result.stderr.splitlines()[-1]
        assert "--replace" not in result.stderr.splitlines()[-1]
    assert Path("outputs/study/run.json").read_bytes() == before
    assert usjp(*words, "--set", "alpha=0.10").exit_code == 0  # the study's own value
    assert [path.name for path in Path("outputs").iterdir()] == ["study"]


BUNDLED = {
    "second.cap=0.2": ("key 'second', cap: seen 0.2", "built for 0.1"),
    "second.without={}": ("key 'second', without: seen {}",),
    "since=2023-01-03": ("key 'since'",),
    "window=-5,5": ("key 'window': seen [-5, 5]", "is in another place"),
    "model=ff3": ("model 'ff3': needs French's daily factors", "--factors FILE"),
}


@pytest.mark.parametrize("word", BUNDLED)
def test_what_averages_hold_cannot_be_replaced_on_them(word: str, usjp: Run) -> None:
    result = usjp("study", "--no-pages", "--set", word)
    assert result.exit_code == 2
    for words in BUNDLED[word]:
        assert words in result.stderr.splitlines()[-1]
    assert not list(Path("outputs").rglob("*.json"))


# --- models of factors -------------------------------------------------------------------------


@pytest.fixture(scope="module")
def factors(prices: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three factors in percent on the days of the prices; the market's is the market's own."""
    market = pd.read_csv(prices, index_col="date")["us_market"].pct_change().dropna()
    draw = np.random.default_rng(8)
    size, value = 0.006 * draw.standard_normal((2, len(market)))
    table = {"Mkt-RF": market - 0.0001, "SMB": size, "HML": value, "RF": 0.0001 + 0 * market}
    path = tmp_path_factory.mktemp("factors") / "french.csv"
    pd.DataFrame({name: 100 * column for name, column in table.items()}).to_csv(path)
    return path


def test_ff3_is_a_regression_on_the_file_s_factors(own: Own, prices: Path, factors: Path) -> None:
    spec = ur.read_spec(own(), rule={"model": "ff3", "window": [-2, 2]})
    data = ur.sample(spec, f"file:{prices}", factors=str(factors))
    rows = ur.event_reactions(data).query("event == 'N2' and sector == 'solar'")
    french = pd.read_csv(factors, index_col=0, parse_dates=True) / 100
    french = french.reindex(data.market.dates)
    firms = [firm.ticker for firm in spec.members("solar")]
    y = (data.market.returns[firms].mean(axis=1) - french["RF"]).to_numpy()
    X = sm.add_constant(french[["Mkt-RF", "SMB", "HML"]].to_numpy())
    day0 = int(np.flatnonzero(data.market.dates == "2024-04-09")[0])
    days = np.arange(day0 - 2 - 21 - 249, day0 - 2 - 21 + 1)
    days = days[~data.panel.masked[days]]
    fit = sm.OLS(y[days], X[days]).fit()
    ahead = np.arange(day0 - 2, day0 + 3)
    car = (y[ahead] - fit.predict(X[ahead])).sum()
    total = X[ahead].sum(axis=0)
    error = np.sqrt(fit.scale * 5 + total @ fit.cov_params() @ total)
    assert rows["caar"].item() == pytest.approx(car, abs=1e-12)
    assert rows["se"].item() == pytest.approx(error, rel=1e-9)


def test_paths_and_since_follow_the_model_in_use(own: Own, prices: Path, factors: Path) -> None:
    for model in MODELS:
        if model in ("carhart", "ff5"):
            continue
        spec = ur.read_spec(own(), rule={"model": model})
        data = ur.sample(spec, f"file:{prices}", factors=str(factors))
        study = ur.run_study(data)
        assert study.verdicts[0].effect == pytest.approx(3 * 0.08, abs=0.03), model
        laws = study.family.part(["solar"])
        paths = ur.event_paths(data, laws)
        at = {int(day): place for place, day in enumerate(paths.offsets)}
        moved = paths.paths[:, at[1]] - paths.paths[:, at[-2]]
        solar = ur.event_reactions(data).query("sector == 'solar'")
        assert moved == pytest.approx(solar["caar"].to_numpy(), abs=1e-12), model


def test_a_file_without_the_model_s_factors_is_refused_by_name(
    own: Own, prices: Path, factors: Path, usjp: Run
) -> None:
    words = ("study", "--no-pages", "--params", own(), "--market", f"file:{prices}")
    result = usjp(*words, "--factors", factors, "--set", "model=carhart")
    assert result.exit_code == 2
    assert "model 'carhart': file:french.csv has no column mom" in result.stderr.splitlines()[-1]
    short = factors.with_name("short.csv")
    pd.read_csv(factors, index_col=0).loc[:"2024-04-30"].to_csv(short)
    result = usjp(*words, "--factors", short, "--set", "model=ff3")
    line = result.stderr.splitlines()[-1]
    assert result.exit_code == 2 and "short.csv: ends 2024-04-30, before primary event N3" in line


def test_factors_of_another_day_are_refused_wherever_a_study_is_made(
    own: Own, prices: Path, factors: Path
) -> None:
    late = factors.with_name("late.csv")
    pd.read_csv(factors, index_col=0).shift(1).iloc[1:].to_csv(late)
    spec = ur.read_spec(own(), rule={"model": "ff3"})
    with pytest.raises(ur.InputError, match=r"late\.csv: factor 'mkt_rf' .* a session late"):
        ur.sample(spec, f"file:{prices}", factors=str(late))


def test_other_factors_are_another_snapshot(own: Own, prices: Path, factors: Path) -> None:
    from usjp_research.market.record import market_digest

    def snapshot(model: str, file: Path) -> str:
        spec = ur.read_spec(own(), rule={"model": model})
        return market_digest(ur.sample(spec, f"file:{prices}", factors=str(file)).market)

    other = factors.with_name("other.csv")
    table = pd.read_csv(factors, index_col=0)
    table.assign(HML=-table["HML"]).to_csv(other)
    assert snapshot("ff3", factors) != snapshot("ff3", other)
    assert snapshot("market", factors) == snapshot("market", other)


# --- notebooks and pages -----------------------------------------------------------------------


def test_a_notebook_takes_the_rule_and_says_so_before_anything_else(
    own: Own, prices: Path, factors: Path, tmp_path: Path
) -> None:
    rule = {"window": [-2, 2], "model": "ff3"}
    shared = {"params": str(own()), "market": f"file:{prices}", "factors": str(factors)}
    notebook = find_root(Path(__file__)) / "notebooks" / "4_verdict.ipynb"
    done = run_notebook(
        Job("one", notebook, {**shared, "out": str(tmp_path / "run"), "rule": rule})
    )
    first = next(o for cell in done.cells for o in cell.get("outputs", []) if "data" in o)
    assert first["data"]["text/markdown"] == "Not the study's rule: window -2 to 2, model ff3"
    held = json.loads((tmp_path / "run/results/verdicts.json").read_text("utf-8"))
    assert held["spec"] == ur.digest(ur.read_spec(own(), rule=rule))


def test_every_notebook_is_given_the_rule_and_every_page_says_it_first(
    own: Own, prices: Path, usjp: Run, instead: Instead
) -> None:
    given = []

    def stored(jobs: list[Job], out: Path, **_: object) -> tuple[store.Outcome, ...]:
        """Hand over notebooks of one line: what stands above them is in question."""
        (out / "notebooks").mkdir()
        for job in jobs:
            given.append(job.parameters.get("rule"))
            done: Any = nbformat.v4.new_notebook()  # type: ignore[no-untyped-call]
            done.cells = [nbformat.v4.new_markdown_cell("# A page")]  # type: ignore[no-untyped-call]
            nbformat.write(done, out / "notebooks" / f"{job.name}.ipynb")  # type: ignore[no-untyped-call]
        return tuple(
            store.Outcome(j.name, j.notebook.name, {}, "done", 0.1, f"notebooks/{j.name}.ipynb")
            for j in jobs
        )

    instead(stored)
    words = ("study", "--params", own(), "--market", f"file:{prices}", "--sector", "rail")
    result = usjp(*words, "--set", "window=-5,5", "--set", "model=mean", "--out", "tried")
    assert result.exit_code == 0, result.stderr
    assert given == [{"window": ["-5", "5"], "model": "mean"}] * 5
    pages = sorted(Path("tried/site").glob("*.html"))
    assert len(pages) == 6
    for page in pages:
        banner = BeautifulSoup(page.read_text("utf-8"), "html.parser").select("body > p")[0]
        assert banner.text == "Not the study’s rule: window -5 to 5, model mean"
    assert usjp("site", "gallery", "tried", "--out", "all.html").exit_code == 0
    assert "window -5 to 5, model mean" in Path("all.html").read_text("utf-8")
