"""The project's own study on the bundled market, made once."""

from __future__ import annotations

import pytest

from usjp_research.spec.records import Spec
from usjp_research.study.answer import Study, run_study
from usjp_research.study.sample import sample


@pytest.fixture(scope="session")
def bundled(spec: Spec) -> Study:
    return run_study(sample(spec, "bundled"))
