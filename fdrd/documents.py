"""What stands beside the shards of a built dataset for people and other programs: card, plots, Croissant."""

from __future__ import annotations

import json
from itertools import groupby
from pathlib import Path
from typing import Any

from fdrd.atomic import replacing, write_text
from fdrd.audit import Audit, audit
from fdrd.audited import named_records
from fdrd.card import render_card
from fdrd.croissant import croissant
from fdrd.plots import plots
from fdrd.progress import Progress, silent
from fdrd.summary import Summary


def write_documents(folder: Path, manifest: dict[str, Any], progress: Progress = silent) -> None:
    """Reads the shards once and writes README.md, plots/ and croissant.json.

    The audit is without the blind readers, which take longer than all else.
    """
    rows = manifest["records"]["kept"]
    progress("auditing captions", 0, rows)
    audits: list[Audit] = []
    summaries: list[Summary] = []
    for domain, found in groupby(named_records(folder, manifest), lambda record: record.domain):
        summaries.append(Summary(domain))
        audits += audit(summaries[-1].count(found), blind=False)
        progress("auditing captions", sum(each.rows for each in audits), rows)
    summaries.sort(key=lambda each: each.domain)
    drawn = plots(summaries)
    for plot in drawn:
        with replacing(folder / plot.path) as file:
            file.write(plot.png)
    card = render_card(manifest, sorted(audits, key=lambda each: each.domain), summaries, drawn)
    write_text(folder / "README.md", card)
    write_text(folder / "croissant.json", json.dumps(croissant(manifest), indent=1) + "\n")
