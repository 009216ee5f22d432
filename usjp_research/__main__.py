"""The ``usjp`` command."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Optional

import typer
from rich.console import Console
from rich.table import Table

from usjp_research.spec import InputError, digest, in_project, nearest, read_spec

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Has the market priced in the U.S.-Japan partnership? Event studies on six sectors.",
)
stderr = Console(stderr=True, highlight=False)

Params = Annotated[
    Optional[Path],  # noqa: UP045 - typer reads this form
    typer.Option(help="Folder of parameters: universe.csv, events.csv and what else there is."),
]


@contextmanager
def _one_line_errors() -> Iterator[None]:
    """End with exit code 2 and one line when the input is at fault."""
    try:
        yield
    except InputError as error:
        print(f"usjp: {' '.join(str(error).split())}", file=sys.stderr)
        raise typer.Exit(2) from None


@app.command()
def study(
    market: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(help="bundled, file:PATH (CSV or Parquet of prices or returns) or simulated."),
    ] = None,
    params: Params = None,
    events: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(help="Another events file in place of the folder's events.csv."),
    ] = None,
    sector: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Option(
            help="Print this sector only; may be repeated. Intervals stay those of the family."
        ),
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder of the run.")] = Path("outputs/study"),
    as_json: Annotated[bool, typer.Option("--json", help="Print the verdicts as JSON.")] = False,
) -> None:
    """Run the study: one verdict per sector, and named against unnamed beneficiaries."""
    with _one_line_errors():
        from usjp_research.market import load_market, market_digest
        from usjp_research.results import prepare_folder, save_study
        from usjp_research.study import run_study

        spec = read_spec(params, events=events)
        for key in sector or ():
            if key not in spec.sectors:
                raise InputError(f"unknown sector '{key}': {nearest(key, spec.sectors)}")
        folder = prepare_folder(in_project(out))
        stages = Stages(7)
        stages("loading returns")
        loaded = load_market(spec, market)
        result = run_study(spec, loaded, stages)
        stages("writing results")
        landed = save_study(result, folder)
        if as_json:
            text = (landed / "verdicts.json").read_text(encoding="utf-8")
            print(_only(text, sector))
        else:
            rows = [r for r in result.rows if not sector or r.name.split(":")[0] in sector]
            _print_rows(rows, result.spec.rule.alpha)
            first, last = loaded.dates[0].date(), loaded.dates[-1].date()
            _say(
                f"{len(result.family)} placebo calendars (about {result.family.independent:.0f} "
                f"independent), {loaded.name}, {first} to {last}."
            )
            _say("The rule was written after the events, when some reactions were already known.")
            if loaded.name.startswith("simulated"):
                _say("SIMULATED returns: these rows say nothing about any real market.")
            _say(f"spec {digest(spec)[:12]}, snapshot {market_digest(loaded)[:12]}")
            _say(f"{len(result.dropped)} things left out, each with its reason: dropped.csv")
        for key in sector or ():
            if key not in result.family.groups:
                stderr.print(f"Sector '{key}' has no verdict; dropped.csv says why.", markup=False)
        stderr.print(f"Results: {landed}", soft_wrap=True, markup=False)
        if landed.parent != folder:
            raise InputError(f"{folder / 'results'}: cannot be written; results are in {landed}")


@app.command()
def bundle(
    prices: Annotated[Path, typer.Option(help="CSV or Parquet of firm prices.")],
    params: Params = None,
    out: Annotated[Path, typer.Option(help="Folder to write.")] = Path("data/bundled"),
) -> None:
    """Build the averages that the repository ships from a file of firm prices."""
    with _one_line_errors():
        from usjp_research.events import event_panel
        from usjp_research.market import load_market
        from usjp_research.portfolios import write_bundle
        from usjp_research.results import prepare_folder

        spec = read_spec(params)
        folder = prepare_folder(in_project(out))
        loaded = load_market(spec, f"file:{prices}")
        record = write_bundle(spec, loaded, event_panel(spec, loaded), folder)
        _say(
            f"{record['series']} series, {record['sessions']} sessions, largest leverage of any "
            f"firm {record['largest_leverage']}: {folder}"
        )


class Stages:
    """Progress on standard error: one line a stage, so that a log reads as well as a screen."""

    def __init__(self, total: int) -> None:
        """Count to ``total``."""
        self.total, self.at = total, 0

    def __call__(self, text: str) -> None:
        """Say the next stage."""
        self.at += 1
        stderr.print(f"[{self.at}/{max(self.total, self.at)}] {text}", markup=False)


def _say(text: str) -> None:
    Console(highlight=False).print(text, markup=False)


def _only(text: str, sectors: list[str] | None) -> str:
    content = json.loads(text)
    if sectors:
        for key in ("rows", "leak_inclusive", "campaign"):
            content[key] = [row for row in content[key] if row["name"] in sectors]
        contrast = content["contrast"]
        if contrast and contrast["name"].split(":")[0] not in sectors:
            content["contrast"] = None
    return json.dumps(content, indent=1, ensure_ascii=False)


def _print_rows(rows: list, alpha: float) -> None:  # type: ignore[type-arg]
    from usjp_research.tables import verdict_table

    frame = verdict_table(rows)
    console = Console(highlight=False)
    if console.width < 120:
        for record in frame.to_dict("records"):
            _say(f"\n{record.pop('Sector')}")
            for key, value in record.items():
                _say(f"  {key}: {value}")
        _say("")
        return
    table = Table(title=f"Priced in? Simultaneous {1 - alpha:.0%} intervals", expand=False)
    for name in frame.columns:
        table.add_column(name, justify="left" if name in ("Sector", "Verdict") else "right")
    for values in frame.itertuples(index=False):
        table.add_row(*values)
    console.print(table)


def main() -> None:
    """Run the command."""
    app()


if __name__ == "__main__":
    main()
