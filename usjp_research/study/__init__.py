"""A study: from events and portfolios to verdicts."""
