"""Make sessions.csv from the hand-checked fact file: run as `python tests/data/make_sessions.py`.

The table holds, for every event of params/events.csv, the first session that could react in New
York and Tokyo as a person found it, and a reason where our rule says otherwise.
"""

import csv
import re
from pathlib import Path

HERE = Path(__file__).resolve().parent
FACTS = HERE.parents[2] / "shared" / "facts" / "events.csv"
REASONS = {
    "E29": "only the date is known, and that by inference: day 0 is the date itself (a Monday "
    "session in New York); the fact file took the day after",
    "E17": "the fact file gives the session of the first leak and of the full list; the tested "
    "news is the full list",
}

ids = [row["id"] for row in csv.DictReader((HERE.parents[1] / "params/events.csv").open())]
facts = {row["id"]: row for row in csv.DictReader(FACTS.open())}
with (HERE / "sessions.csv").open("w", newline="") as file:
    write = csv.writer(file, lineterminator="\n")
    write.writerow(["id", "new_york", "tokyo", "reason"])
    for id in ids:
        tokyo = re.findall(r"\d{4}-\d\d-\d\d", facts[id]["first_tokyo_session"])[-1]
        write.writerow([id, facts[id]["first_us_session"], tokyo, REASONS.get(id, "")])
