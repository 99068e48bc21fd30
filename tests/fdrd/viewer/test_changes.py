"""What changed between two builds: every record that differs, once in each way."""

import re
from urllib.parse import quote

from fdrd.curation.decisions import Decision, to_line
from fdrd.pipeline.builder import build
from fdrd.viewer.review import digest_of


def test_records_that_differ_are_listed_with_their_images(drawn, copied, tmp_path, open_site):
    index = open_site(copied).context.library.current()
    dropped, edited, moved = index.records([0, 1, 2])

    changes = ("drop", ""), ("caption", "A <b>red</b> teapot."), ("category", "teapot")
    decisions = [
        Decision(record["id"], digest_of(record), "ann", "2026-01-01T00:00:00Z", *change)
        for record, change in zip((dropped, edited, moved), changes, strict=True)
    ]
    (tmp_path / "decisions").write_bytes(b"".join(map(to_line, decisions)))
    build(drawn / "raw", tmp_path / "new", decisions=tmp_path / "decisions", workers=1)
    site = open_site(tmp_path / "new", before=copied)
    page = site.text("/changes")
    counts = dict(re.findall(r"kind=(\w+)\"[^>]*>[^<]+<span class=\"count\">(\d+)", page))
    assert counts == {"added": "0", "dropped": "1", "caption": "1", "category": "1", "split": "0"}
    thumbnail = site.ask(f"/changes/thumb?id={quote(dropped['id'])}")
    assert thumbnail.headers["content-type"] == "image/webp"
    assert site.ask("/changes/thumb?id=none").status == 404
    page = site.text("/changes", kind="caption")
    assert "<b>" not in page
    assert "teapot" in page
    back = open_site(copied, before=tmp_path / "new").text("/changes")
    assert re.search(r"kind=added\"[^>]*>[^<]+<span class=\"count\">1<", back)
    assert "--before" in open_site(copied).text("/changes")
