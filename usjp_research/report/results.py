"""Results on disk: every frame as numbers.csv declares it, each file whole or not at all."""

from __future__ import annotations

import hashlib
import json
import math
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml
from pydantic import ConfigDict, TypeAdapter

from usjp_research import __version__
from usjp_research.engine.placebo import Placebo
from usjp_research.market.record import Dropped, Market, market_digest
from usjp_research.report.numbers import SCRAP, checked
from usjp_research.runs import store
from usjp_research.spec.records import Claim, Spec, digest, in_project
from usjp_research.study import disclosure
from usjp_research.study.answer import Study
from usjp_research.study.missing import missing_lines
from usjp_research.study.quiet import Candidates

SAVED = ("effect", "error", "statistic")  # of a law


def record(
    out: str | Path,
    name: str,
    spec: Spec,
    market: Market,
    numbers: Mapping[str, object],
    **frames: pd.DataFrame,
) -> Path:
    """Save what a notebook found, for the notebooks and pages after it.

    Parameters
    ----------
    out, name : path, str
        Folder of the run, and name of the record: ``results/NAME.json`` comes into place last.
        What notebooks of another study have left there goes: one folder holds one study.
    spec, market : Spec, Market
        Their digests identify the record; a record of another study is never used.
    numbers, **frames : mapping, DataFrame
        Plain values, NaN and infinity as null; each frame lands in ``results/NAME-KEY.parquet``.
        In a notebook single numbers are also said as data, as scrapbook's ``glue`` does: the table
        of a batch shows them.

    Raises
    ------
    InputError
        When the folder holds a finished run.
    """
    folder = store.own_results(out, digest(spec), market_digest(market))
    content = {
        "spec": digest(spec),
        "snapshot": market_digest(market),
        "code": _code(),
        "market": market.name,
        "numbers": dict(numbers),
        "frames": sorted(frames),
    }
    table = name.partition("-")[0]
    kept = {key: checked(f"{table}-{key}", frame) for key, frame in frames.items()}
    files = {f"{name}-{key}.parquet": frame.to_parquet() for key, frame in kept.items()}
    store.write_all(folder, {**files, f"{name}.json": encoded(content)})
    _glue(disclosure.coarse(dict(numbers), market.level))  # notebooks may be published
    return folder / f"{name}.json"


def _glue(numbers: Mapping[str, object]) -> None:
    """Say single numbers as data in the notebook that a kernel runs; nothing elsewhere."""
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    if getattr(shell, "kernel", None) is None:
        return
    from IPython.display import display

    for name, value in json.loads(encoded(numbers)).items():
        if type(value) in (int, float):
            scrap = {"name": name, "data": value, "encoder": "json", "version": 1}
            display({f"{SCRAP}json+json": scrap}, raw=True)  # type: ignore[no-untyped-call]


def encoded(content: Mapping[str, Any]) -> bytes:
    """Encode records as JSON, which has no NaN and no infinity: both become null."""
    plain = TypeAdapter(dict, config=ConfigDict(ser_json_inf_nan="null"))
    return store.json_bytes(plain.dump_python(dict(content), mode="json", fallback=np.generic.item))


def _code() -> str:
    """Return the SHA-256 of this package's modules: a law of other code is not this study's."""
    seen = hashlib.sha256()
    for path in sorted(Path(__file__).parents[1].rglob("*.py")):
        seen.update(path.read_bytes())
    return seen.hexdigest()


def collect_laws(out: str | Path, spec: Spec, market: Market) -> list[Placebo]:
    """Read the sectors' placebo laws that notebooks of this very study have saved in a run.

    They come in the order of the universe; none unless the laws of all sectors that have events are
    there, made from the same parameters and returns by the same code.
    """
    laws = []
    own = (digest(spec), market_digest(market), _code())
    for sector in spec.sectors:
        path = in_project(Path(out)) / "results" / f"2_event_study-{sector}.json"
        content = store.plain_json(path) if path.is_file() else {}
        if (content.get("spec"), content.get("snapshot"), content.get("code")) != own:
            return []
        if "law" in content["frames"]:
            laws.append(law_from_frame(pd.read_parquet(path.with_name(f"{path.stem}-law.parquet"))))
    return [law for law in laws if len(law)]  # a sector that cannot be judged has none


def save_study(study: Study, out: str | Path) -> Path:
    """Write a study's results, all of them or none, and return the folder that was written.

    It is ``out/results``, or a new temporary folder when that one cannot be written any more, so
    that nothing computed is lost. Raises `InputError` when ``out`` holds a finished run.
    """
    files = _files(study)
    try:
        folder = store.own_results(out, digest(study.data.spec), market_digest(study.data.market))
        store.write_all(folder, files)
    except OSError:
        folder = Path(tempfile.mkdtemp(prefix="usjp-results-"))
        try:
            store.write_all(folder, files)
        except OSError:
            folder.rmdir()  # nothing is written by halves
            raise
    return folder


def save_candidates(found: Candidates, folder: Path) -> None:
    """Write the table of controls on quiet dates, to six digits: what decides is no finer."""
    frames = {"candidates": found.table, "candidate-sectors": found.sectors}
    kept = {name: checked(name, frame) for name, frame in frames.items()}
    files = {f"{n}.csv": store.csv_bytes(f, float_format="%.6g") for n, f in kept.items()}
    store.write_all(store.prepare_folder(folder), files)


def withhold(run: Path, level: str) -> None:
    """Bring the results of a run, whose market has this level, to what may be published."""
    folder, gone = run / "results", set()
    for path in sorted([*folder.glob("*.csv"), *folder.glob("*.parquet")]):
        frame = store.read_csv(path) if path.suffix == ".csv" else pd.read_parquet(path)
        if disclosure.withheld({path.stem: list(map(str, frame))}, level):
            path.unlink()
            gone.add(path.stem)
        elif level == "firm":
            kept = disclosure.coarse(frame, level)
            content = store.csv_bytes(kept) if path.suffix == ".csv" else kept.to_parquet()
            store.write_whole(path, content)
    for path in sorted(folder.glob("*.json")):
        kept = disclosure.public_record(json.loads(path.read_text(encoding="utf-8")), level)
        if frames := kept.get("frames"):
            kept["frames"] = [key for key in frames if f"{path.stem}-{key}" not in gone]
        store.write_whole(path, store.json_bytes(kept))


def _files(study: Study) -> dict[str, bytes]:
    spec = study.data.spec
    words = yaml.safe_dump(spec.words.model_dump(), allow_unicode=True, sort_keys=False)
    frames = {
        "reactions": study.reactions,
        "variants": study.variants,
        "timing": study.timing,
        "calendar": study.data.panel.frame(),
        "claims": pd.DataFrame(spec.claims, columns=[item.name for item in fields(Claim)]),
        "dropped": pd.DataFrame(study.dropped, columns=[item.name for item in fields(Dropped)]),
    }
    own = ("says", "assurance", "first_trade", "control", "since")
    frames |= {name: getattr(study, name) for name in own if len(getattr(study, name))}
    return {
        "verdicts.json": encoded(_plain(study)),
        "words.yaml": words.encode(),
        **{f"{name}.csv": store.csv_bytes(checked(name, frame)) for name, frame in frames.items()},
    }


def _plain(study: Study) -> dict[str, object]:
    spec, market, made = study.data.spec, study.data.market, study.data.portfolios
    versions = ((item.row.numbers(), item.named, item.safe) for item in study.contrast_versions)
    return {
        "schema": store.SCHEMA,
        "version": __version__,
        "market": market.name,
        "level": market.level,
        "spec": digest(spec),
        "snapshot": market_digest(market),
        **({"not_the_rule": spec.changed} if spec.changed else {}),
        "rule": spec.rule.model_dump(mode="json"),
        "data": {
            "first": str(market.dates[0].date()),
            "last": str(market.dates[-1].date()),
            "sessions": len(market.dates),
            "securities": sum(len(made.members[f"sector/{s}"]) for s in spec.sectors),
            "provenance": dict(market.provenance),
        },
        "alpha": spec.rule.alpha,
        "power": spec.rule.power,
        "shifts": len(study.law),
        "independent_shifts": round(study.law.independent),
        "critical": next(x.critical for x in study.verdicts if not math.isnan(x.critical)),
        "headline_rule": 1 if study.law is study.family else 2,
        "rows": [row.numbers() for row in study.verdicts],
        "rule_1": [row.numbers() for row in study.first],
        "contrast": study.contrast.numbers() if study.contrast else None,
        "contrast_versions": [{**row, "named": n, "safe": safe} for row, n, safe in versions],
        "leak_inclusive": [row.numbers() for row in study.leaks],
        "campaign": [row.numbers() for row in study.campaign],
        "prospective": {
            "rows": [row.numbers() for row in study.prospective.rows],
            "dropped": [asdict(item) for item in study.prospective.dropped],
        },
        "missing": missing_lines(study),
    }


def law_frame(law: Placebo) -> pd.DataFrame:
    """Return C, se and S by shift and group as a table; shift 0 is the real calendar."""
    shifts = np.append(0, law.shifts)
    pairs = {name: (getattr(law, name), getattr(law, f"null_{name}")) for name in SAVED}
    return pd.DataFrame(
        {"group": np.repeat(law.groups, len(shifts)), "shift": np.tile(shifts, len(law.groups))}
        | {name: np.vstack(pair).ravel(order="F") for name, pair in pairs.items()}
        | {"independent": law.independent}
    )


def law_from_frame(frame: pd.DataFrame) -> Placebo:
    """Return the law that `law_frame` laid out, for one group."""
    real, null = frame[frame["shift"] == 0], frame[frame["shift"] != 0]
    parts: dict[str, Any] = {name: real[name].to_numpy("float64") for name in SAVED}
    parts |= {f"null_{name}": null[[name]].to_numpy("float64") for name in SAVED}
    worth = real["independent"].to_numpy("float64")
    return Placebo(tuple(real["group"]), null["shift"].to_numpy("int64"), **parts, worth=worth)
