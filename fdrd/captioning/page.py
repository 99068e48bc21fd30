"""A page of pictures and captions to look through: one HTML file that loads nothing and runs nothing."""

from __future__ import annotations

import base64
import hashlib
import io
from collections.abc import Sequence
from html import escape
from pathlib import Path

from PIL import Image, ImageOps

from fdrd.captioning.written import Written
from fdrd.checks.audit.flaws import clip_tokens
from fdrd.images.check import FORMATS, examine, read_image
from fdrd.record import ImageRef

THUMBNAIL = 240
"""Pixels of the longer side."""

_MOST_PIXELS = 50_000_000
_STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; margin: 2rem auto; max-width: 76rem; padding: 0 1rem }
body { color: #222; background: #fff }
article { display: grid; grid-template-columns: 250px 1fr; gap: 1.25rem; padding: 1rem 0; border-top: 1px solid #ddd }
img { max-width: 100%; display: block } h2 { font-size: 1rem; margin: 0 0 .5rem } p { margin: .2rem 0 }
dt { font-weight: 600; margin-top: .6rem } dd { margin: 0 } .note { color: #666; font-size: .85rem }
.rejected { color: #a11 } .missing { color: #666; font-style: italic }
@media (prefers-color-scheme: dark) { body { background: #16181b; color: #ddd } article { border-color: #333 }
  .note, .missing { color: #999 } .rejected { color: #f77 } }
@media (max-width: 40rem) { article { grid-template-columns: 1fr } }
"""
_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<title>{title}</title>
<style>{style}</style>
</head>
<body>
<h1>{title}</h1>
<p class="note">{shown} of {all} pictures, drawn by a hash of their ids: the same ones in every run.</p>
{articles}
</body>
</html>
"""


def render(runs: Sequence[Written], number: int) -> str:
    """The page: so many pictures, each with what each run says of it, rejected captions among it."""
    ids = {id_ for run in runs for id_ in (*run.records, *run.rejected)}
    drawn = sorted(
        ids, key=lambda id_: hashlib.sha256(id_.encode("utf-8", "surrogatepass")).digest()
    )
    shown = sorted(drawn[:number])
    title = "Captions of " + " and ".join(str(run.root) for run in runs)
    return _PAGE.format(
        title=escape(title),
        style=_STYLE,
        shown=f"{len(shown):,}",
        all=f"{len(ids):,}",
        articles="\n".join(_article(id_, runs) for id_ in shown),
    )


def _article(id_: str, runs: Sequence[Written]) -> str:
    category, picture = "", ""
    for run in runs:
        found = run.records.get(id_) or run.rejected.get(id_)
        if found:
            category = category or found.category
            picture = picture or _thumbnail(run.root, found.image)
    picture = picture or '<span class="missing">the picture is not there</span>'
    said = "\n".join(_said(id_, run, len(runs) > 1) for run in runs)
    return (
        f"<article>\n<div>{picture}</div>\n<div>\n<h2>{escape(category)}</h2>\n"
        f'<p class="note">{escape(id_)}</p>\n<dl>\n{said}\n</dl>\n</div>\n</article>'
    )


def _said(id_: str, run: Written, several: bool) -> str:
    head = f"<dt>{escape(str(run.root))}</dt>" if several else ""
    if record := run.records.get(id_):
        note = ", ".join([f"{clip_tokens(record.caption)} tokens (estimate)", *_notes(id_, run)])
        return f'{head}<dd>{escape(record.caption)}<p class="note">{escape(note)}</p></dd>'
    if rejected := run.rejected.get(id_):
        caption = escape(rejected.caption) or "<i>no draft</i>"
        return (
            f'{head}<dd>{caption}<p class="rejected">rejected: {escape(rejected.reason)}</p></dd>'
        )
    return f'{head}<dd class="missing">nothing in this run</dd>'


def _notes(id_: str, run: Written) -> list[str]:
    made = run.made.get(id_, {})
    captioner = made.get("captioner")
    notes = []
    if isinstance(captioner, dict):
        notes.append(str(captioner.get("model") or captioner.get("name", "")))
    problems = made.get("problems")
    if isinstance(problems, list) and len(problems) > 1:
        told = "; ".join(" and ".join(map(str, each)) for each in problems if each)
        notes.append(f"{len(problems)} rounds, after {told}")
    if "clip_score" in made:
        notes.append(f"CLIP score {made['clip_score']}")
    return notes


def _thumbnail(root: Path, image: ImageRef) -> str:
    """The picture as an element with its data inside, or nothing where there is no good one."""
    if examine(str(root), image, _MOST_PIXELS).reason:
        return ""
    with Image.open(io.BytesIO(read_image(str(root), image)), formats=FORMATS) as opened:
        small = ImageOps.exif_transpose(opened).convert("RGB")
    small.thumbnail((THUMBNAIL, THUMBNAIL))
    data = io.BytesIO()
    small.save(data, "JPEG", quality=80)
    return f'<img alt="" src="data:image/jpeg;base64,{base64.b64encode(data.getvalue()).decode()}">'
