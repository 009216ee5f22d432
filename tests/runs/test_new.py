"""A study of one's own: laid out with every key of the schema, and checked before it is run."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from datetime import date
from pathlib import Path

import pandas as pd
import pytest
import yaml
from pydantic import BaseModel
from typer.testing import Result

from usjp_research.market.simulate import simulated_market
from usjp_research.report.outlook import check_lines
from usjp_research.runs.new import KINDS, new_study
from usjp_research.spec import records
from usjp_research.spec.files import columns_of
from usjp_research.spec.read import find_faults, read_spec
from usjp_research.study.answer import family_legs
from usjp_research.study.events import event_panel
from usjp_research.study.outlook import outlooks, unread
from usjp_research.study.sample import sample
from usjp_research.words import InputError

Run = Callable[..., Result]
RECORDS = [
    *KINDS.values(),
    *(records.Estimation, records.Blackout, records.Contrast, records.ContrastVersion),
    *(records.Second, records.ThesisLine),
]
SECOND = records.Second(least_valued=3)


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    """The folder that `usjp new` lays out."""
    new_study(tmp_path / "mine")
    return tmp_path / "mine"


def test_every_key_of_the_schema_says_what_it_means() -> None:
    for model in RECORDS:
        for name, field in columns_of(model).items():
            told = [m for m in (*field.metadata, field.description) if isinstance(m, str)]
            assert told and all(told), (model.__name__, name)


def test_every_file_has_every_key_that_the_schema_knows(mine: Path) -> None:
    readme = (mine / "README.txt").read_text(encoding="utf-8")
    for name, model in KINDS.items():
        path = mine / name
        text = path.read_text(encoding="utf-8") if path.exists() else readme
        if name.endswith(".csv"):
            for key in columns_of(model):
                assert re.search(rf"^(?:# )?{key} ", text, re.M), (name, key)
            if path.exists():
                header = set(pd.read_csv(path, comment="#").columns)
                assert header >= {*columns_of(model)} - {"a sector's key"}
        else:
            _same_keys(yaml.safe_load(re.sub(r"^# (?!A key)", "", text, flags=re.M)), model)


def _same_keys(content: object, model: type[BaseModel]) -> None:
    """Once nothing is a comment any more, the keys are those of the record, and of those in it."""
    assert isinstance(content, dict) and list(content) == [*model.model_fields], model
    for name, value in content.items():
        kind = str(model.model_fields[name].annotation)
        inner = {k.__name__: k for k in (*RECORDS, records.Notes)}
        found = next((inner[k] for k in re.findall(r"records\.(\w+)", kind) if k in inner), None)
        if found and not kind.startswith("dict"):
            for item in value if isinstance(value, list) else [value]:
                _same_keys(item, found)


def test_the_defaults_that_the_files_show_are_those_of_the_schema(mine: Path) -> None:
    text = (mine / "study.yaml").read_text(encoding="utf-8")
    shown = re.sub(r"^# (?!A key)", "", text, flags=re.M)
    content = {k: v for k, v in yaml.safe_load(shown).items() if v is not None}
    kept = {k: v for k, v in content.items() if k not in ("contrast", "contrast_versions")}
    kept["second"] = {k: v for k, v in kept["second"].items() if v is not None}
    rule = records.Rule.model_validate(kept)
    assert rule == read_spec(mine).rule.model_copy(update={"second": records.Second()})


def test_nothing_is_overwritten(mine: Path, usjp: Run) -> None:
    before = {path: path.read_bytes() for path in mine.iterdir()}
    for place in (mine, mine / "events.csv"):
        found = usjp("new", place)
        assert found.exit_code == 2 and found.stderr.count("\n") == 1
    assert before == {path: path.read_bytes() for path in mine.iterdir()}


def test_what_is_laid_out_is_checked_and_runs_at_once(usjp: Run) -> None:
    assert usjp("new", "mine").exit_code == 0
    checked = usjp("check", "mine", "--market", "simulated")
    assert checked.exit_code == 0, checked.stderr
    assert "N2    2025-06-10    primary Solar +" in checked.stdout
    assert "SIMULATED" in checked.stdout and "too small by" in checked.stdout
    assert "no value given" in checked.stdout
    assert max(map(len, checked.stdout.splitlines())) <= 80
    ran = usjp("study", "--params", "mine", "--market", "simulated", "--no-pages")
    assert ran.exit_code == 0, ran.stderr


def test_every_fault_is_told_at_once_and_each_in_a_line(mine: Path, usjp: Run) -> None:
    for name, old, new in (
        *(("universe.csv", "RAI3,rail", "RAI3,Rail!"), ("universe.csv", ",12\n", ",-12\n")),
        *(("study.yaml", "firms: 5 ", "firms: x "), ("thesis.yaml", "tax: 0.21", "taxes: 21")),
        ("own_news.csv", ",results", ",resluts"),
    ):
        text = (mine / name).read_text(encoding="utf-8")
        assert old in text, old
        (mine / name).write_text(text.replace(old, new), encoding="utf-8")
    found = usjp("check", mine)
    lines = found.stderr.splitlines()
    assert found.exit_code == 2 and not found.stdout
    assert len(lines) == 6 and all(line.startswith("usjp: ") for line in lines)
    for words in ("'Rail!'", "row 13", "'x'", "did you mean 'tax'", "did you mean 'results'"):
        assert words in found.stderr
    with pytest.raises(InputError) as first:  # the study itself stops at the first, as it did
        read_spec(mine)
    assert lines[0] == f"usjp: {first.value}"


def test_faults_between_files_are_told_at_once_when_each_can_be_read(mine: Path) -> None:
    with (mine / "study.yaml").open("a", encoding="utf-8") as file:
        file.write("cleanest: N9\ncontrast: {sector: sola, event: N1}\n")
    spec, found = find_faults(mine)
    assert spec is None
    assert len(found) == 2 and all("\n" not in str(fault) for fault in found)
    assert "'sola'" in str(found[0]) and "'N9'" in str(found[1])


def test_a_fault_between_files_is_told_once_and_hides_none_behind_it(mine: Path) -> None:
    with (mine / "study.yaml").open("a", encoding="utf-8") as file:
        file.write("campaign: [N1, N9]\n")
    path = mine / "thesis.yaml"
    lines = path.read_text("utf-8").replace("sector: solar", "sector: sola")
    path.write_text(lines, encoding="utf-8")
    _, found = find_faults(mine)
    unknown = [str(fault) for fault in found if "unknown sector 'sola'" in str(fault)]
    assert len(unknown) == lines.count("sector: sola") > 0
    (campaign,) = (str(fault) for fault in found if str(fault) not in unknown)
    assert "key 'campaign': unknown 'N9'" in campaign
    with pytest.raises(InputError) as first:
        read_spec(mine)
    assert str(first.value) == campaign


@pytest.mark.parametrize("second", [None, SECOND], ids=["rule 1", "rule 2"])
def test_no_reaction_is_read_whatever_it_was(mine: Path, second: records.Second | None) -> None:
    spec = read_spec(mine)
    assert spec.thesis is not None  # market values go back by price, over the events
    thesis = spec.thesis.model_copy(update={"values_as_of": date(2026, 7, 31)})
    rule = spec.rule.model_copy(update={"second": second})
    spec = replace(spec, rule=rule, thesis=thesis)
    quiet = simulated_market(spec, seed=1)
    days = quiet.dates[event_panel(spec, quiet).masked]
    assert len(days) == 6
    loud = simulated_market(
        spec, seed=1, effects={(s, day): 0.3 for s in spec.sectors for day in days}
    )
    assert list(check_lines(spec, quiet)) == list(check_lines(spec, loud))


def test_what_could_be_seen_is_what_the_study_then_finds_it_could(mine: Path) -> None:
    spec = read_spec(mine)
    data = sample(spec, simulated_market(spec, seed=1))
    law = data.law(family_legs(data))
    table = law.table(spec.rule.alpha, spec.rule.power, family=True)
    found = {row.sector: row.mde for row in outlooks(unread(spec, data.market))}
    usual = table["mde"] / law.error * law.null_error.mean(axis=0)  # at the quiet dates' error
    assert list(found.values()) == pytest.approx(list(usual), rel=0.01)
