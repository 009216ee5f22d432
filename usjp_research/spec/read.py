"""Read a study from ``params/`` and hold its files against each other."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel

from usjp_research.spec import files
from usjp_research.spec import records as r
from usjp_research.spec.records import Event, Rule, Spec, expanded, find_root, home, in_project
from usjp_research.words import InputError, nearest, use_names

T = TypeVar("T")
SET = "--set or parameter 'rule'"
FILES = {f"{name}.yaml" for name in ("study", "thesis", "words")}  # that a study may hold
FILES |= {f"{name}.csv" for name in ("universe", "events", "sectors", "own_news", "accepted")}
FILES |= {f"{name}.csv" for name in ("own_news_coverage", "confounders", "claims", "checks")}
FILES |= {"donors.csv"}
GIVEN = "events-of-this-run.csv"  # in a run's copy of the parameters, in place of events.csv


def read_spec(
    params: str | Path | None = None,
    *,
    events: str | Path | None = None,
    rule: Mapping[str, object] | None = None,
) -> Spec:
    """Read a study from a folder of parameters.

    Only ``universe.csv`` and ``events.csv`` are needed; without ``study.yaml`` the fixed rule
    holds. `label` and figures show sectors as the study that was read last. What is wrong raises
    InputError: one line that names file, row and column, what was seen and what was expected.

    Parameters
    ----------
    params : path, optional
        Folder of parameters, or the ``study.yaml`` in it, from the working directory or else the
        project's root. The project's own by default.
    events : path, optional
        An events file in place of the folder's; what the rule says of other events is left out.
    rule : mapping, optional
        Other values for keys of ``study.yaml``, such as ``{"window": [-5, 5], "second.cap": 0.2}``:
        another study, with another `digest`; `not_the_rule` says what is replaced.

    Examples
    --------
    >>> spec = read_spec()                                          # doctest: +SKIP
    """
    folder = _params_folder(params)
    given = folder / GIVEN if (folder / GIVEN).is_file() else None
    other = in_project(Path(events)) if events else given

    def rows(name: str, model: type[T], **how: Any) -> tuple[T, ...]:
        return files.read_rows(folder / name, model, **how)

    firms = rows("universe.csv", r.Firm, once="ticker", needed=True)
    sector_of = {firm.ticker: firm.sector for firm in firms}
    with files.on_its_own():
        _check_files(folder)
    whole, sectors = not files.faulty(), tuple(dict.fromkeys(firm.sector for firm in firms))
    asked, changed = _asked(folder / "study.yaml", rule or {})
    event_rows: tuple[Event, ...] = ()
    if whole:  # else the sectors, which are columns of events, may not be all
        told: Any = {"more": ("zone", *sectors), "known": dict.fromkeys(sectors)}
        place = other or folder / "events.csv"
        event_rows = files.read_rows(place, Event, once="id", needed=True, **told)
    if other:
        asked = _fit_rule(asked, {event.id for event in event_rows})
    covered = "own_news_coverage.csv"
    spec = Spec(
        rule=asked,
        events=event_rows,
        firms=firms,
        sectors=sectors,
        own_news=rows("own_news.csv", r.News, beside=("timing", "confidence")),
        coverage={x.ticker: x.checked for x in rows(covered, r.Checked, once="ticker")},
        confounders=rows("confounders.csv", r.Confounder, beside=("date", "type")),
        thesis=files.read_yaml(folder / "thesis.yaml", r.Thesis),
        claims=rows("claims.csv", r.Claim, beside=("figure", "unit", "as_of"), once="id"),
        donors=rows("donors.csv", r.Donor, once="ticker", known=sector_of),
        accepted=rows("accepted.csv", r.Accepted),
        checks=rows("checks.csv", r.Check, once="key"),
        words=read_words(folder),
        changed=changed,
    )
    own = [] if other else [_check_events]
    checks = [_check_names, *own, _check_campaign, _check_prospective, _check_thesis]
    for check in [] if files.faulty() else checks:
        with files.on_its_own():
            check(spec, folder)
    use_names(spec.words.names(), spec.words.colours(spec.sectors), spec.words.events)
    return spec


def find_faults(params: Path) -> tuple[Spec | None, list[InputError]]:
    """Read a study, and list all that can be found wrong in it at once: then there is no study."""
    spec = None
    with files.every_fault() as found, files.on_its_own():
        spec = read_spec(params)
    return None if found else spec, found


def read_settings(words: Sequence[str]) -> dict[str, object]:
    """Read settings as the command has them: KEY=VALUE, the value YAML or a list with commas."""
    found: dict[str, object] = {}
    for word in words:
        key, equals, text = word.partition("=")
        if not (key and equals):
            raise InputError(f"--set: seen '{word}', expected KEY=VALUE such as window=-5,5")
        if key in found:
            raise InputError(f"--set {key}: seen twice, expected once; keep one")
        plain_list = "," in text and not text.lstrip().startswith(("[", "{", '"', "'"))
        found[key] = files.plain_yaml(f"--set {key}", f"[{text}]" if plain_list else text)
    return found


def _asked(path: Path, changes: Mapping[str, object]) -> tuple[Rule, str]:
    """Read a rule, put changes in, and say in words what they change."""
    own = files.read_yaml(path, Rule) or Rule()
    asked = files.validated(SET, _merged(own, changes), Rule)
    said = r.differences(own.model_dump(), asked.model_dump())
    kept = asked.second and any(words.startswith(("window", "model")) for words in said)
    return asked, ", ".join(said) + ("; rule 2 keeps its own window and model" if kept else "")


def _merged(old: object, changes: Mapping[str, object]) -> dict[str, object]:
    """Put changes into a record or mapping; a dot in a key leads into what the key holds."""
    told: dict[str, object] = dict(old) if isinstance(old, BaseModel | dict) else {}
    for key, value in changes.items():
        head, _, rest = str(key).partition(".")
        held = told.get(head)
        inner = {rest: value} if rest else value if isinstance(held, BaseModel) else None
        told[head] = _merged(held, inner) if isinstance(inner, Mapping) else value
    return told


def read_words(folder: Path) -> r.Words:
    """Read what a study says of itself from its parameters or its results; neutral without."""
    words = files.read_yaml(folder / "words.yaml", r.Words) or r.Words()
    path = folder / "sectors.csv"
    if not path.exists():
        return words
    if words.sectors:
        told = "names the sectors too; keep one, the file, which has their colours as well"
        raise InputError(f"{folder / 'words.yaml'}: key 'sectors': {path} {told}")
    rows = files.read_rows(path, r.Sector, once="sector", needed=True)
    return words.model_copy(update={"sectors": {row.sector: row for row in rows}})


def study_folder(params: Path | None) -> Path:
    """Return the folder that a command names: the user's own, or one that ships, by bare name."""
    if not params:
        return find_root() / "params"
    own, shipped = expanded(params).absolute(), home() / "params" / params.name
    if own.is_file():
        return own.parent
    named = params in (Path(params.name), Path("params", params.name))
    return shipped if named and not own.exists() and (shipped / "universe.csv").is_file() else own


def _params_folder(params: str | Path | None) -> Path:
    if params is None:
        return find_root() / "params"
    if not str(params).strip():
        raise InputError("params: seen '', expected a folder with universe.csv and events.csv")
    path = in_project(Path(params))
    if path.is_file():
        path = path.parent
    if not path.is_dir():
        raise InputError(f"{path}: no such folder; expected one with universe.csv and events.csv")
    return path


def _study(spec: Spec, folder: Path) -> str:
    """Say where the rule stands."""
    return f"{folder / 'study.yaml'}{f' with {SET}' if spec.changed else ''}"


def _check_files(folder: Path) -> None:
    """Refuse a file that nobody would read for a letter of its name; one put aside may stay."""
    there = {path.name for path in folder.glob("*") if path.is_file()}
    absent = [name for name in sorted(FILES) if not (folder / name).exists()]
    for name in sorted(there - FILES):
        meant = [file for file in absent if len(name) <= len(file) + 1]
        close = get_close_matches(name.casefold(), meant, n=1, cutoff=0.85)
        if close and name[0] not in "._" and name[-1] != "~":
            told = f"no file of a study; did you mean '{close[0]}'? Rename it or take it out"
            raise InputError(f"{folder / name}: {told}")


def _check_names(spec: Spec, folder: Path) -> None:
    """Refuse sectors and firms that the universe does not have."""
    tickers = [firm.ticker for firm in spec.firms]
    study, words, file = _study(spec, folder), folder / "words.yaml", folder / "sectors.csv"
    if spec.rule.contrast:
        names = [spec.rule.contrast.sector]
        _known(f"{study}: key 'contrast.sector'", names, spec.sectors, advice=" or remove the key")
    for version in spec.rule.contrast_versions:
        where = f"{study}: contrast_versions '{version.title}'"
        _known(where, (*version.named, *version.without), tickers, "firm ")
    where = f"{file}: column 'sector'" if file.exists() else f"{words}: key 'sectors'"
    _known(where, spec.words.sectors, spec.sectors)
    _known(f"{words}: key 'caveats'", spec.words.caveats, (*spec.sectors, "contrast"))


def _check_events(spec: Spec, folder: Path) -> None:
    """Refuse events that events.csv does not have."""
    rule, ids = spec.rule, {event.id for event in spec.events}
    keys = {
        "contrast.event": [rule.contrast.event] if rule.contrast else [],
        "contrast_versions.events": [id for v in rule.contrast_versions for id in v.events],
        "cleanest": [rule.cleanest] if rule.cleanest else [],
        "note": [rule.note] if rule.note else [],
        "campaign": rule.campaign or (),
    }
    for key, names in keys.items():
        where = f"{_study(spec, folder)}: key '{key}'"
        _known(where, names, ids, advice=" or remove the key")
    _known(f"{folder / 'words.yaml'}: key 'events'", spec.words.events, ids, "event ")
    empty = " or leave it empty"
    for firm in spec.firms:
        where = f"{folder / 'universe.csv'}: ticker '{firm.ticker}', column 'named_event'"
        _known(where, firm.named_event.split(), ids, "event ", empty)
    for item in spec.confounders:
        where = f"{folder / 'confounders.csv'}: session {item.session}, column 'near_events'"
        _known(where, item.near_events, ids, "event ", empty)


def _known(
    where: str, names: Iterable[str], known: Collection[str], what: str = "", advice: str = ""
) -> None:
    """Refuse the first name that nobody knows."""
    for name in names:
        if name not in known:
            told = f"unknown {what}'{name}' ({nearest(name, known)}); correct it{advice}"
            files.refuse(InputError(f"{where}: {told}"))


def _fit_rule(rule: Rule, ids: Collection[str]) -> Rule:
    """Leave out what the rule says of events that another events file does not have."""
    other: dict[str, object] = {k: "" for k in ("cleanest", "note") if getattr(rule, k) not in ids}
    other |= {} if {*(rule.campaign or ())} <= {*ids} else {"campaign": None}
    return rule.model_copy(update=other)


def _check_campaign(spec: Spec, folder: Path) -> None:
    known = {event.id: event for event in spec.events}
    first, last = (known.get(id) for id in spec.rule.campaign or ("", ""))
    if first and last and last.instant < first.instant:
        told = f"'{last.id}' is before '{first.id}'; give the earlier event first"
        raise InputError(f"{_study(spec, folder)}: key 'campaign': {told}")


def _check_prospective(spec: Spec, folder: Path) -> None:
    """Refuse a table of signs that does not fit the sectors, or an event that it has none for."""
    for category, signs in spec.rule.second.prospective.items() if spec.rule.second else ():
        where = f"{_study(spec, folder)}: key 'second.prospective.{category}'"
        _known(where, signs, spec.sectors, "sector ", " or remove it")
        if silent := [sector for sector in spec.sectors if sector not in signs]:
            told = f"no sign for '{silent[0]}'; give it one of + - 0 +/-"
            files.refuse(InputError(f"{where}: {told}"))
    for event in spec.announced(later=True):
        if event.role == "primary":
            spec.later_signs(event)


def _check_thesis(spec: Spec, folder: Path) -> None:
    """Refuse lines of other sectors or firms, shares that are none, and a fall counted twice."""
    thesis, path = spec.thesis, folder / "thesis.yaml"
    if thesis is None:
        return
    for line in thesis.lines:
        where = f"{path}: line {line.id}"
        _known(where, [line.sector], spec.sectors, "sector ")
        _known(f"{where}: realised", [line.realised], thesis.realised)
        inside = {firm.ticker for firm in spec.firms if firm.sector == line.sector}
        strange = [ticker for ticker in line.firms if ticker not in inside]
        if strange and inside:
            told = f"is not in sector '{line.sector}' of universe.csv; correct one of the two"
            files.refuse(InputError(f"{where}: firm '{strange[0]}' {told}"))
        named, others = line.firms.values(), line.other_listed.cases
        shares = (*named, sum(named) + max(others), *others)
        if wrong := [share for share in shares if not 0 <= share <= 1]:
            seen = f"seen {wrong[0]:g} as a share of listed firms or their sum, expected 0 to 1"
            files.refuse(InputError(f"{where}: {seen}; lower 'firms' or 'other_listed'"))
        loss = line.sign < 0 or min((line.margin or thesis.margin).cases) < 0
        falling = [x.id for x in spec.with_role("primary") if x.signs.get(line.sector, 0) < 0]
        if loss and falling:
            key = f"line {line.id}: key 'sign'" if line.sign < 0 else "key 'margin'"
            falls = f"and event '{falling[0]}' already expects '{line.sector}' to fall"
            expected = "a value above zero, the size of the fall, or '+' in events.csv"
            seen = f"seen a value below zero, {falls}; expected {expected}"
            files.refuse(InputError(f"{path}: {key}: {seen}"))
