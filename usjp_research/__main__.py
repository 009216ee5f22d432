"""The ``usjp`` command."""

from __future__ import annotations

import errno
import hashlib
import json
import math
import re
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text
from typer import Argument, Option
from typer.core import TyperGroup

import usjp_research as ur
from usjp_research.market.snapshots import DATA, STORE, find_snapshot
from usjp_research.market.sources import is_simulated, sources_help
from usjp_research.runs import batches, prices, store
from usjp_research.runs.folder import check_folder, check_study, locked, recover, staged, swap
from usjp_research.runs.terminal import WIDTH, columns
from usjp_research.spec.read import GIVEN, read_settings, read_spec, study_folder
from usjp_research.spec.records import digest, expanded, find_root, home, not_the_rule, sha_of
from usjp_research.words import InputError, level, shown

UsageError: Any = typer.BadParameter.__mro__[1]  # of the click that typer carries with it
REFUSED: Any = (InputError, OSError, UsageError)


class Commands(TyperGroup):
    """Commands whose refusals of options are one line, like all other refusals."""

    def main(self, args: Sequence[str] | None = None, **how: Any) -> Any:  # type: ignore[override]
        """Run a command; an option that is empty or unknown ends with one line."""
        words = sys.argv[1:] if args is None else [*args]
        code: Any = 2
        try:
            _no_empty_words(words)
            code = super().main(words, standalone_mode=False, **how)
        except typer.Abort:
            code = 1
        except REFUSED as error:
            if type(error).__name__ == "NoArgsIsHelpError":
                error.show()
            else:
                print(f"usjp: {_told(error)}", file=sys.stderr)
        sys.exit(code if isinstance(code, int) else 0)


def _told(error: Any) -> InputError:
    """Return one line; no space, no permission: the disk's fault is no reason for a trace."""
    if isinstance(error, InputError):
        return error
    if isinstance(error, UsageError):
        where = error.ctx.command_path if error.ctx else "usjp"
        return InputError(f"{error.format_message()} See '{where} --help'.")
    where = error.filename or "the disk"
    if error.errno == errno.ENAMETOOLONG:
        return InputError(f"{where}: the name is too long for a file; give another")
    return InputError(f"{where}: {error.strerror or error}; nothing that was there has changed")


def _no_empty_words(args: Sequence[str]) -> None:
    """Refuse empty options: an empty folder would mean the one that the user stands in."""
    for before, word in zip(["", *args], args, strict=False):
        name, equals, value = word.partition("=")
        named, given = (name, value) if equals and word.startswith("--") else (before, word)
        if not given.strip():
            where = named or "argument"
            raise InputError(f"{where}: seen nothing, expected a value; give one or leave it out")


class Screen(Console):
    """A console that shows control characters of a text and does not obey them."""

    def print(self, *objects: Any, **how: Any) -> None:
        """Print, texts as `shown` writes them."""
        super().print(*(shown(x) if isinstance(x, str) else x for x in objects), **how)


if TYPE_CHECKING:
    import pandas as pd

    from usjp_research.report.summary import Line
    from usjp_research.runs.job import Job

app = typer.Typer(
    cls=Commands,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Has the market priced it in? Event studies of sectors that share each event date.",
)
stderr = Screen(stderr=True, highlight=False)


def _version(wanted: bool) -> None:
    if wanted:
        print(f"usjp {ur.__version__}")
        raise typer.Exit


@app.callback()
def _usjp(version: bool = Option(False, "--version", callback=_version, help="Print it.")) -> None:
    pass


def _batch_pages(folder: Path, jobs: Sequence[Job], numbers: Sequence[str]) -> Path:
    from usjp_research.report.batch_pages import write_pages

    return write_pages(folder, jobs, numbers)


class SiteCommands(TyperGroup):
    """``usjp site RUN`` means ``usjp site build RUN``; a run named like a command is ``./diff``."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Show what ``build`` takes too, as its name may be left out."""
        super().format_help(ctx, formatter)
        build = self.commands["build"]
        build.format_help(build.context_class(build, info_name="build", parent=ctx), formatter)

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Put ``build`` in front of what names no command."""
        named = args and (args[0] in self.commands or args[0] == "--help")
        return super().parse_args(ctx, args if named or not args else ["build", *args])


site = typer.Typer(
    cls=SiteCommands,
    no_args_is_help=True,
    help="The pages of a run: usjp site RUN builds them, in other forms too.",
)
app.add_typer(site, name="site")
app.add_typer(prices.app, name="prices")
app.command("batch", context_settings={"obj": _batch_pages})(batches.batch)
app.command("params")(batches.params)


def asked(help: str, *names: str, default: Any = None) -> Any:
    """Return an option of a command, whose name is the parameter's unless it has others."""
    return Option(default, *names, help=help)


def flag(name: str, help: str) -> Any:
    """Return an option that is on when it is named."""
    return Option(False, name, help=help)


File = Path | None
Stage = Callable[[str], None]
Values = Mapping[str, Any]
HOLDS = {"factors": "factors", "donors": "prices", "openings": "prices"}  # a snapshot of them
LARGEST = 5_000_000  # bytes of a file that is to be mailed
PARAMS = asked("Folder of parameters: universe.csv, events.csv and what else there is.")
MARKET = asked(sources_help())
RETURNS = flag("--returns", "The file of --market holds returns, not prices.")
UNITS = asked("percent or decimal of --factors; auto tells them by their size.", default="auto")
Run = Annotated[Path, Argument(help="Folder of a finished run.")]


@app.command()
def study(
    market: str | None = MARKET,
    returns: bool = RETURNS,
    params: File = PARAMS,
    events: File = asked("Another events file in place of the folder's events.csv."),
    sector: list[str] | None = asked(
        "Print this sector only; may be repeated. Intervals stay those of the family."
    ),
    factors: File = asked("French's daily factors, or snapshot:DIGEST, for the robustness pages."),
    factor_units: str = UNITS,
    donors: File = asked(
        "Prices of firms outside the sectors, or snapshot:DIGEST, for the robustness pages."
    ),
    openings: File = asked("Opening prices, or overnight and intraday returns, of the firms."),
    settings: list[str] | None = asked(
        "KEY=VALUE in place of study.yaml's: another study; may be repeated.", "--set"
    ),
    out: File = asked("Folder of the run: outputs/study, or one of its own with --set."),
    pages: bool = asked(
        "Run the notebooks and build the pages, or only print the rows.", default=True
    ),
    method: bool = flag("--method", "Try the rules themselves too: level, power, controls."),
    public: bool = flag("--public", "Leave tables of single firms out of the pages."),
    wide: bool = flag("--wide", "Print the rest too: implied values, adjusted p, MDE."),
    as_json: bool = flag("--json", "Print the verdicts as JSON."),
    replace: bool = flag("--replace", "Put this run in the place of another study's."),
) -> None:
    """Run the study: one verdict per sector, and named against unnamed beneficiaries."""
    from usjp_research.runs import warm
    from usjp_research.runs.batch import failures

    if method and not pages:
        raise InputError("--method: it is a notebook, and --no-pages runs none; leave one out")
    given = study_folder(params)
    other = _here(events) if events else None
    rule = read_settings(settings or ())
    itself, spec = (read_spec(given, events=other, rule=part) for part in ({}, rule))
    files = {"factors": factors, "donors": donors, "openings": openings}
    options = {name: _table(path, HOLDS[name]) for name, path in files.items()}
    source = _source(market or spec.rule.market, returns=returns)
    units = "" if factor_units == "auto" else factor_units
    chosen = (market and source, *options.values(), units, *(sector or ()), public, method)
    folder = _here(out or Path(f"outputs/study{_tried(spec, chosen)}"))
    check_folder(folder)
    keys = _sectors(spec, sector or ())
    options["factor_units"] = factor_units
    if pages:
        warm.start()  # imports what kernels need while the returns are read
    with locked(folder), staged(folder) as fresh:
        stages = _stages(4 if pages else 7)
        own = _own_params(given, other, fresh)
        shared: dict[str, Any] = {"params": str(own), "market": source, "out": str(fresh)}
        shared |= {"rule": rule} if rule else {}
        front, jobs = _batch(own, keys, shared, options, method) if pages else (None, [])
        loaded = _returns(spec, source, options, stages)
        facts = _facts(spec, loaded, public) | {"front": front}
        facts["inputs"] = _inputs(source, options, given, rule)
        check_study(folder, facts, replace=replace, never=digest(itself) if spec.changed else "")
        stages("placing the events, forming the portfolios of each")
        data = ur.sample(spec, loaded)
        outcomes = _run_notebooks(data, jobs, fresh, stages) if pages else ()
        if not (fresh / "results" / "verdicts.json").is_file():  # no notebook has saved it
            _compute(data, fresh, folder, stages)
        _print_study(fresh, spec, facts, sector or [], as_json, wide)
        inputs = map(Path, (source.partition(":")[2], *(options[name] for name in files)))
        _finish(fresh, facts, outcomes, [p for p in inputs if p.is_absolute()], given)
        if pages:
            from usjp_research.report.site import write_site

            stages("building the pages")
            write_site(fresh, fresh)
        swap(folder, fresh)
    _log(f"Results: {folder / 'results'}")
    if pages:
        _log(f"Pages: {folder / 'site/index.html'}")
    _fail(failures(outcomes), 1)


def _sectors(spec: ur.Spec, asked: Sequence[str]) -> list[str]:
    """Return the sectors that were asked for in the study's order, all of them by default."""
    for key in asked:
        spec.members(key)  # which refuses an unknown one
    return [key for key in spec.sectors if not asked or key in asked]


def _tried(spec: ur.Spec, chosen: Sequence[object]) -> str:
    """Return what tells the folder of another rule apart: its digest, and what else was chosen."""
    if not spec.changed:
        return ""
    more = hashlib.sha256(json.dumps(chosen).encode()).hexdigest()[:8]
    return f"-{digest(spec)[:8]}" + f"-{more}" * any(chosen)


def _fail(faults: Sequence[object], code: int) -> None:
    """Say what is wrong, such as notebooks that failed, and end so where anything is."""
    for fault in faults:
        print(f"usjp: {InputError(str(fault))}", file=sys.stderr)
    if faults:
        raise typer.Exit(code)


def _source(source: str, *, returns: bool) -> str:
    """Return a market with its file from where the user stands, and with what the file holds."""
    kind, _, rest = source.partition(":")
    if returns and (kind not in ("file", "returns") or not rest):
        raise InputError("--returns: says what a file holds; give it with --market file:PATH")
    if kind == "snapshot" and rest:
        return f"snapshot:{_table(Path(source), 'prices')}"
    if kind not in ("file", "returns", "prices") or not rest:
        return source
    return f"{'returns' if returns else kind}:{_here(Path(rest))}"


def _table(path: Path | None, holds: str) -> str:
    """Return a file from where the user stands, or the table of a snapshot; empty without one."""
    kind, _, name = str(path or "").partition(":")
    if kind == "snapshot" and name:
        return str(find_snapshot(name, holds).data)
    return str(_here(path)) if path else ""


def _here(path: Path) -> Path:
    """Return a path of the command line from the folder that the user stands in."""
    return expanded(path).absolute()


def _own_params(params: Path, events: Path | None, folder: Path) -> Path:
    """Return the folder that the notebooks read: a copy in the run when an events file is given."""
    if events is None:
        return params
    copy = folder / "params"
    copy.mkdir()
    for path in filter(Path.is_file, params.iterdir()):
        shutil.copyfile(path, copy / path.name)
    shutil.copyfile(events, copy / GIVEN)
    return copy


def _batch(
    params: Path, sectors: Sequence[str], shared: Values, options: Mapping[str, str], method: bool
) -> tuple[str | None, list[Job]]:
    """Return the first page's job and all jobs of a study, once they are known to be right."""
    from usjp_research.runs.batch import check_jobs
    from usjp_research.runs.plan import front_page, make_jobs, read_batch

    entries = read_batch(params, method=method)
    jobs = make_jobs(entries, sectors, shared, options)
    check_jobs(jobs)
    return front_page(entries), jobs


def _returns(spec: ur.Spec, source: str, options: Mapping[str, str], stages: Stage) -> ur.Market:
    """Load the market; a fault in factors or donors ends here too, and not in a notebook."""
    from usjp_research.market.openings import load_openings
    from usjp_research.study.sample import with_factors

    market = _market(spec, source, stages)
    french = ur.read_factors(options["factors"], market.dates, options["factor_units"])
    market = with_factors(spec, market, french)
    ur.load_donors(spec, market, options["donors"])
    return load_openings(spec, market, options["openings"])


def _market(spec: ur.Spec, source: str, stages: Stage) -> ur.Market:
    """Load the market, and say what it was read as and what looks wrong."""
    from usjp_research.market.check import told

    stages("loading returns")
    market = ur.load_market(spec, source)
    _say_each("Read as", market.read_as)
    _say_each("Check", told(market.findings))
    return market


def _facts(spec: ur.Spec, market: ur.Market, public: bool) -> dict[str, Any]:
    """Return what a run's manifest says of its study."""
    from usjp_research.market.record import market_digest
    from usjp_research.study.disclosure import is_public

    return {
        "spec": digest(spec),
        "snapshot": market_digest(market),
        "market": market.name,
        "not_the_rule": spec.changed or None,
        "level": market.level,
        "public": is_public(market.level, public),
        "first": str(market.dates[0].date()),
        "last": str(market.dates[-1].date()),
    }


def _inputs(source: str, options: Values, params: Path, rule: Values) -> dict[str, Any]:
    """Return what `usjp verify` needs to compute a run again, without places of this machine."""
    kind, _, place = source.partition(":")
    read = {"market": place if Path(place).is_absolute() else "", **options, "factor_units": ""}
    files = {k: (Path(path).name, sha_of(Path(path))) for k, path in read.items() if path}
    return {
        "market": f"{kind}:{Path(place).name}" if place else kind,
        "params": params.name if params.parent == home() / "params" else "",
        "rule": rule,
        "factor_units": options["factor_units"],
        "files": files,
    }


def _run_notebooks(
    data: ur.Sample, jobs: Sequence[Job], fresh: Path, stages: Stage
) -> tuple[store.Outcome, ...]:
    """Run the batch; a study that cannot be made is refused before any kernel starts."""
    from usjp_research.runs.batch import run_batch, usual_workers
    from usjp_research.runs.progress import shown_progress
    from usjp_research.study.answer import family_legs

    data.law(family_legs(data))
    stages(f"running the notebooks, {usual_workers()} at a time")
    with shown_progress(len(jobs), stderr) as tell:
        outcomes = run_batch(jobs, fresh, tell=tell)
    for outcome in outcomes:
        if outcome.output is None and outcome.error and outcome.error.kind == "OSError":
            raise InputError(f"notebook of job {outcome.name}: cannot be written, {outcome.error}")
    return outcomes


def _compute(data: ur.Sample, fresh: Path, folder: Path, stages: Stage) -> None:
    """Compute and save the study in this process."""
    result = ur.run_study(data, stages)
    stages("writing results")
    landed = ur.save_study(result, fresh)
    if landed.parent != fresh:
        raise InputError(f"{folder / 'results'}: cannot be written; results are in {landed}")


def _finish(
    fresh: Path, facts: Values, outcomes: Sequence[store.Outcome], files: list[Path], own: Path
) -> None:
    """Bring a run to what may be kept and shown, and write its manifest."""
    from usjp_research.report.results import withhold
    from usjp_research.runs.private import places, tidy

    store.check_records(fresh, facts)
    root = find_root()
    names = places(files, [fresh, own, Path.cwd(), root, Path(__file__).parents[1], Path.home()])
    names |= {str(root / "params"): "params"}
    if facts["public"]:
        withhold(fresh, facts["level"])
    tidy(fresh, names, public=facts["public"])
    store.write_manifest(fresh, facts, outcomes, names)


def _print_study(
    fresh: Path, spec: ur.Spec, facts: Values, sectors: list[str], as_json: bool, wide: bool
) -> None:
    """Print the answer, a line per sector that was saved, and what must be known beside them."""
    from usjp_research.report.first_screen import screen
    from usjp_research.study.disclosure import public_record
    from usjp_research.study.verdict import verdict_of

    content = json.loads((fresh / "results" / "verdicts.json").read_text(encoding="utf-8"))
    for row in content["rows"]:
        if sectors and row["name"] in sectors and not row["events"]:
            _log(f"Sector '{row['name']}' has no verdict; dropped.csv says why.")
    if sectors:
        for key in ("rows", "leak_inclusive", "campaign"):
            content[key] = [row for row in content[key] if row["name"] in sectors]
        if content["contrast"] and content["contrast"]["name"].split(":")[0] not in sectors:
            content["contrast"] = None
    results = {**ur.read_results(fresh), "study": content}
    results["says"] = [row for row in results["says"] if not sectors or row["sector"] in sectors]
    if facts["public"]:
        results["study"] = content = public_record(content, facts["level"])
    if as_json:
        print(json.dumps(content, indent=1, ensure_ascii=False))
        return
    if is_simulated(facts["market"]):
        _say("SIMULATED returns: these rows say nothing about any real market.")
    if first := not_the_rule(spec):
        _say(first)
    found = screen(results)
    _say(f"{found.headline}. {' '.join(found.lead[1:])}\n")
    _print_lines(found.lines, found.alpha)
    if wide:
        rows = [*content["rows"], *filter(None, [content["contrast"]])]
        _print_table(ur.table("verdicts", [*map(verdict_of, rows)]), "Verdicts")
    for line in content["missing"]:
        _say(line)
    _say(spec.words.provenance or "The study does not say when its rule was written.")
    law = "{shifts} placebo calendars (about {independent_shifts} independent)".format_map(content)
    _say(f"{law}, {facts['market']}, {facts['first']} to {facts['last']}.")
    _say(f"spec {facts['spec'][:12]}, snapshot {facts['snapshot'][:12]}")


def _print_lines(lines: Sequence[Line], alpha: float) -> None:
    """Print a line per sector, and its remarks below by its number."""
    from usjp_research.report.summary import HEADS

    rows: list[tuple[str, ...]] = [(*HEADS[:2], f"[{level(alpha)} interval]", *HEADS[3:], "")]
    notes: list[tuple[str, str]] = []
    for line in lines:
        if line.notes:
            notes.append((f"({len(notes) + 1})", f"{line.label}: {'; '.join(line.notes)}"))
        rows.append((*line.cells, notes[-1][0] if line.notes else ""))
    end = [""] if notes else []
    for text in (*columns(rows, "wrrrrl", _width()), "", *columns(notes, "lw", _width()), *end):
        _say(text)


def _print_table(frame: pd.DataFrame, title: str) -> None:
    """Print a table of words; on a narrow screen each row stands under its first cell."""
    console = Screen(highlight=False)
    if console.width < 120:
        for record in frame.to_dict("records"):
            _say(f"\n{record.pop(frame.columns[0])}")
            for key, value in record.items():
                _say(f"  {key}: {value}")
        _say("")
        return
    screen = Table(title=title, expand=False)
    for at, name in enumerate(frame.columns):
        screen.add_column(name, justify="right" if at and name != "Verdict" else "left")
    for values in frame.itertuples(index=False):
        screen.add_row(*(Text(shown(value)) for value in values))
    console.print(screen)


def _width() -> int:
    return min(Console().width, WIDTH)


def _say(text: str) -> None:
    Screen(highlight=False).print(text, markup=False, width=_width())


def _say_each(what: str, lines: Sequence[str]) -> None:
    """Say lines that may be long, each under its first word."""
    for line in lines:
        for part in columns([(f"{what}:", line)], "lw", _width()):
            _log(part)


def _log(text: str) -> None:
    stderr.print(text, soft_wrap=True, markup=False)


def _stages(total: int) -> Stage:
    """Return what says the next stage: one line each, so that a log reads as well as a screen."""
    numbers = count(1)

    def say(text: str) -> None:
        at = next(numbers)
        stderr.print(f"[{at}/{max(total, at)}] {text}", markup=False)

    return say


# --- usjp new, usjp check --------------------------------------------------------------------


@app.command("new")
def new_command(
    folder: Annotated[Path, Argument(metavar="DIR", help="Folder to write, new or empty.")],
) -> None:
    """Lay out a study of your own: an example that runs at once, with every key explained."""
    from usjp_research.runs.new import new_study

    _say_each("Wrote", [str(path) for path in new_study(_here(folder))])
    _say_each("Next", [f"usjp check {folder}"])


@app.command("check")
def check_command(
    params: Annotated[Path, Argument(metavar="DIR", help="Folder of the study.")],
    market: str | None = MARKET,
    returns: bool = RETURNS,
) -> None:
    """Say all that is wrong with a study at once, what would count, and if it is worth running."""
    from usjp_research.report.outlook import check_lines
    from usjp_research.spec.read import find_faults

    spec, faults = find_faults(study_folder(params))
    if spec is None:
        return _fail(faults, 2)
    source = _source(market or spec.rule.market, returns=returns)
    for line in check_lines(spec, _market(spec, source, _stages(1))):
        _say(line)


@app.command("rule")
def rule_command(
    market: str | None = MARKET,
    returns: bool = RETURNS,
    params: File = PARAMS,
    out: File = asked("Folder for candidates.csv and candidate-sectors.csv."),
) -> None:
    """Compare the controls that the second rule could use, on dates before the first event."""
    from usjp_research.report.numbers import lay_out
    from usjp_research.report.results import save_candidates
    from usjp_research.report.tables import records
    from usjp_research.study.quiet import quiet_candidates
    from usjp_research.study.second import second_legs, second_of

    spec, stages = read_spec(study_folder(params)), _stages(2)
    source = _source(market or spec.rule.market, returns=returns)
    data = ur.sample(spec, _market(spec, source, stages))
    stages("the same sums on quiet dates, with one set of controls after the other")
    found, second = quiet_candidates(data), second_of(data)
    _say_each("Left out", [f"{name}: {why}" for name, why in second_legs(data)[1].items()])
    mine = found.sectors["candidate"] == found.table.loc[found.table["chosen"], "candidate"].item()
    _print_table(ur.table("candidates", found.table), "Controls on quiet dates")
    _print_table(lay_out("candidate-sectors", records(found.sectors[mine])), "The choice by sector")
    _say(f"{found.shifts} quiet calendars; no return after {found.last.date()} was read.")
    _say(f"This market would choose: {', '.join(found.controls) or 'none'}.")
    same = set(second.controls) == set(found.controls)
    kept = "the same" if same else f"others ({', '.join(second.controls) or 'none'})"
    told = f"has frozen {kept}, on {second.chosen_on}; the study uses those"
    _say(f"study.yaml {told if second.chosen_on else 'has frozen none: set second.chosen_on'}.")
    if out:
        save_candidates(found, folder := _here(out))
        _log(f"Results: {folder}")


@prices.app.command("check")
def prices_check(
    file: Annotated[
        str, Argument(help="FILE, prices:FILE or returns:FILE to say which, or a snapshot's name.")
    ],
    params: File = PARAMS,
    against: File = asked("A second file: prices, returns, or overnight and intraday returns."),
    tolerance: float = asked(
        "Gap of a day's return between both files that counts as none.", default=0.0025
    ),
    json_file: File = asked("Write everything that was found to this file too.", "--json"),
) -> None:
    """Say what a study could do with a file: exit code 0 usable, 1 when a finding stops it."""
    from usjp_research.report.prices_check import KINDS, check_prices, print_checked

    kept = re.fullmatch("latest|[0-9a-f]{4,64}", file) and not _here(Path(file)).exists()
    named = file if file.partition(":")[0] in KINDS else f"{'snapshot' if kept else 'file'}:{file}"
    source, other = _source(named, returns=False), _here(against) if against else None
    done = check_prices(read_spec(study_folder(params)), source, other, tolerance)
    print_checked(done, _say, _width())
    if json_file:
        _write(json_file, done.json())
        _wrote(json_file)
    if not done.usable:
        raise typer.Exit(1)


@app.command("verify")
def verify_command(
    run: Run,
    params: File = PARAMS,
    files: Path = asked("Folder of the prices and factors it read.", default=Path()),
) -> None:
    """Compute a finished run again, without notebooks: exit code 0 equal, 1 a number moved."""
    from usjp_research.report.compare import compare_runs

    folder = _here(run)
    recover(folder)
    held = store.read_manifest(folder)
    asked = store.Inputs(**(held.get("inputs") or {"market": held["market"]}))
    kept = folder / "params"  # of a run with an events file of its own
    known = Path(asked.params) if asked.params else None
    given = study_folder(params or (kept if kept.is_dir() else known))
    spec = read_spec(given, rule=asked.rule)
    if (seen := digest(spec)) != held["spec"]:
        told = f"parameters {seen[:12]}, the run's {held['spec'][:12]}"
        raise InputError(f"{given}: {told}; give the folder of the run's with --params")
    found = {name: _same_file(_here(files) / f, sha) for name, (f, sha) in asked.files.items()}
    market = f"{asked.market.partition(':')[0]}:{found['market']}" if "market" in found else ""
    options = {name: found.get(name, "") for name in ("factors", "donors", "openings")}
    options["factor_units"], stages = asked.factor_units, _stages(6)
    loaded = _returns(spec, market or asked.market, options, stages)
    with TemporaryDirectory() as scratch:
        fresh = Path(scratch) / "again"
        _compute(ur.sample(spec, loaded), fresh, folder, stages)
        _finish(fresh, _facts(spec, loaded, bool(held.get("public"))), (), [], given)
        done = compare_runs(folder, fresh, whole=False)
    if done.same:
        return _say(f"Equal: {done.checked:,} values, computed again.")
    _say(f"{len(done.moved)} of {done.checked:,} values moved. {done.conclusion}")
    for table, row, column, before, after, _ in done.moved.head(20).itertuples(index=False):
        _say(f"  {table}, {row}, {column}: {before} -> {after}")
    raise typer.Exit(1)


def _same_file(path: Path, sha: str) -> str:
    """Return the place of a file that a run has read, also as a snapshot, or refuse another one."""
    kept = path.parent / STORE / sha / DATA
    path = kept if path.name == DATA and kept.is_file() else path
    seen = sha_of(path) if path.is_file() else ""
    if seen == sha:
        return str(path)
    told = f"SHA-256 {seen[:12]}, the run's {sha[:12]}"
    told = f"is another file, {told}" if seen else f"is not there, nor a snapshot {sha[:12]}"
    raise InputError(f"{path}: {told}; give the folder of what the run has read with --files")


@app.command("battery")
def battery_command(
    returns: Annotated[
        str, Argument(help="Daily simple returns: date, a column a series; or snapshot:DIGEST.")
    ],
    groups: Path = asked("CSV with firm, sector and optionally treated.", default=...),
    benchmark: str | None = asked("The market's column."),
    event: str | None = asked("Day 0 of every firm, YYYY-MM-DD."),
    events: File = asked("CSV with firm and date, in place of one --event."),
    estimation: str = asked("First and last day, from day 0.", default="-260,-11"),
    window: list[str] | None = asked(
        "First and last day, from day 0; may be repeated. Default 0,0."
    ),
    model: str = asked(
        "Expected return, such as market; --model list names all.", default="market"
    ),
    factors: File = asked("Daily factors; by default columns of RETURNS."),
    factor_units: str = UNITS,
    everything: bool = flag(
        "--all", "Print every test of every group and window below the summary."
    ),
    json_file: File = asked("Write every number to this file in place of tables.", "--json"),
) -> None:
    """Test abnormal returns around events in any panel, dependence between firms first."""
    from usjp_research.report.battery import battery_from_files, print_battery, write_battery

    files: dict[str, Any] = {"returns": _source(returns, returns=False), "groups": groups}
    files |= {"events": events, "factors": factors}
    asked: dict[str, Any] = {"event": event, "benchmark": benchmark, "model": model}
    asked |= {"estimation": estimation, "windows": window or ["0,0"], "factor_units": factor_units}
    done = battery_from_files(**files, **asked, say=_say_each)
    if json_file is None:
        print_battery(done, _say, everything=everything)
    else:
        write_battery(done, expanded(json_file), files, asked)
        stderr.print(f"{len(done.dropped)} left out. Results: {json_file}", markup=False)


@site.command("build")
def site_build(
    run: Run,
    single_file: File = asked("All pages in one HTML file."),
    pdf: File = asked("All pages on paper; needs Chromium or Chrome."),
    brief: File = asked("The answer on two pages, as .html, or as .pdf with Chromium or Chrome."),
    xlsx: File = asked("Every result table as a sheet, with units and a codebook."),
    tables: File = asked("Folder for every result table as CSV, with codebook.csv."),
    browser: str | None = asked("Program that prints the PDF, when it is not found by name."),
) -> None:
    """Build the pages of a run again, and hand its results on in other forms."""
    from usjp_research.report import exports as sheets
    from usjp_research.report import onefile
    from usjp_research.report.pages import render
    from usjp_research.report.site import brief_page, build_site

    single_file, pdf, brief, xlsx, tables = (
        path and expanded(path) for path in (single_file, pdf, brief, xlsx, tables)
    )
    folder = _here(run)
    on_paper = brief is not None and brief.suffix.lower() == ".pdf"
    printer = onefile.find_browser(browser) if pdf or on_paper else ""
    _log(f"Pages: {build_site(folder)}")
    whole = onefile.join_pages(render(folder)) if single_file or pdf else ""
    if single_file:
        _write(single_file, whole.encode())
        _wrote(single_file, LARGEST)
    if pdf:
        onefile.print_pdf(whole, pdf, printer)
        _wrote(pdf)
    if brief:
        page = brief_page(folder)
        if on_paper:
            onefile.print_pdf(page, brief, printer)
        else:
            _write(brief, page.encode())
        _wrote(brief)
    notes = list(sheets.write_workbook(folder, xlsx)) if xlsx else []
    notes += sheets.write_tables(folder, tables) if tables else []
    for made in filter(None, (xlsx, tables)):
        _wrote(made)
    for note in dict.fromkeys(notes):
        _log(note)


def _write(path: Path, content: bytes) -> None:
    store.prepare_folder(_here(path).parent)
    store.write_whole(_here(path), content)


def _wrote(path: Path, most: float = math.inf) -> None:
    size = path.stat().st_size if path.is_file() else 0
    told = f" ({size / 1e6:.1f} MB)" if size else ""
    told += f", more than the {most / 1e6:.0f} MB that mail takes" if size > most else ""
    _log(f"Wrote {path}{told}")


@site.command("diff")
def site_diff(run_a: Run, run_b: Run) -> None:
    """Say what moved between two runs, and what did it: exit code 0 when nothing, 1 when it did."""
    from usjp_research.report.compare import compare_runs

    found = compare_runs(_here(run_a), _here(run_b))
    for line in found.lines():
        _say(line)
    if not found.same:
        raise typer.Exit(1)


@site.command("gallery")
def site_gallery(
    folders: Annotated[list[Path], Argument(help="Runs, or folders that hold runs.")],
    out: Path = asked("The page to write.", default=Path("outputs/index.html")),
) -> None:
    """Write one page that leads to several runs."""
    from usjp_research.report.compare import gallery_page

    page, count = gallery_page([_here(folder) for folder in folders], _here(out))
    _write(out, page.encode())
    _log(f"{count} run{'s' * (count != 1)}: {_here(out)}")


def main() -> None:
    """Run the command."""
    app()


if __name__ == "__main__":
    main()
