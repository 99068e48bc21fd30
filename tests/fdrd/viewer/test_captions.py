"""Captions for images that have none: written in the viewer, or taken from a draft, and used by the next build."""

import re
from html import unescape
from urllib.parse import parse_qsl

import pytest

from fdrd.captioning import caption
from fdrd.curation.decisions import Decision, to_line
from fdrd.errors import FdrdError
from fdrd.pipeline.builder import build
from fdrd.viewer.context import Context
from tests.archives import tar

KEY = "train/wren/2.png: "


@pytest.fixture
def bare(draw, write, tmp_path):
    """A source of six images, two of them without a caption, and its dataset."""
    for number in range(6):
        write(f"train/wren/{number}.png", draw(number))
        if number not in (2, 4):
            write(f"train/wren/{number}.txt", f"A wren on branch {number}.")
    build(tmp_path / "raw", tmp_path / "set", workers=1)
    return tmp_path


def decision(record, value, digest=""):
    return Decision(record, digest, "ann", "2026-01-01T00:00:00Z", "caption", value)


def write_caption(site, page, position, text):
    """Send the form of one of the rejected records on a page."""
    forms = re.findall(r'<form class="write".*?</form>', page, re.DOTALL)
    hidden = re.findall(r'type="hidden" name="(\w+)" value="([^"]*)"', forms[position])
    fields = {name: unescape(value) for name, value in hidden}
    answer = site.post("/review/decide", **fields, value=text)
    return dict(parse_qsl(answer.headers["location"].partition("?")[2]))


def test_a_written_caption_is_in_the_next_build(bare, open_site):
    site = open_site(bare / "set", source=bare / "raw", review="write", reviewer="ann")
    page = site.text("/rejected", reason="caption_missing")
    images = re.findall(r"/rejected/image\?n=\d+", page)
    assert len(images) == 2
    for image in images:
        assert site.ask(image).headers["content-type"] == "image/webp"
    assert write_caption(site, page, 0, "")["problem"] == "Not saved: the caption is empty"
    assert "over 20,000" in write_caption(site, page, 0, "x" * 20_001)["problem"]
    assert write_caption(site, page, 0, "A  first try.")["saved"] == "caption"
    assert write_caption(site, page, 0, "A blue wren &amp; a nest.")["saved"] == "caption"
    page = site.text("/rejected", reason="caption_missing")
    assert "caption by ann" in page
    assert "<strong>1</strong> of 2 images" in page
    file = site.context.review.path
    built = build(bare / "raw", bare / "set", decisions=file, workers=1)
    rows = [row for split in built for row in built[split]]
    assert "A blue wren & a nest." in {row["caption"] for row in rows}
    manifest = built.manifest
    assert (manifest.records.kept, manifest.records.rejected, manifest.records.read) == (5, 1, 6)
    assert manifest.rules["caption_from_review"] == 1
    assert (manifest.decisions.applied, built.stale) == (2, [])
    assert sum(sum(splits.values()) for splits in manifest.decisions.verified.values()) == 1
    (row,) = (row for row in rows if "blue" in row["caption"])
    assert {each["type"] for each in row["attributes"]} == {"color"}


@pytest.mark.parametrize(
    ("record", "value", "reason"),
    [
        (KEY, "x" * 20_001, "over 20,000 characters"),
        (KEY, ["A wren."], "not a string"),
        ("train/wren/0.txt: ", "A caption for one that has one.", "no such record"),
        ("../../etc/passwd: ", "A password.", "no such record"),
    ],
)
def test_a_caption_that_does_not_fit_is_reported(bare, record, value, reason):
    (bare / "decisions.jsonl").write_bytes(to_line(decision(record, value)))
    built = build(bare / "raw", bare / "set", decisions=bare / "decisions.jsonl", workers=1)
    assert built.manifest.records.kept == 4
    (stale,) = built.stale
    assert reason in stale[1]


def test_images_in_an_archive_are_shown_and_captioned(draw, tmp_path, open_site):
    members = {}
    for number in range(4):
        members[f"{number}.png"] = draw(number)
        if number:
            members[f"{number}.txt"] = f"A wren on branch {number}.".encode()
        members[f"{number}.cls"] = b"wren"
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw" / "a.tar").write_bytes(tar(members))
    build(tmp_path / "raw", tmp_path / "set", workers=1)
    site = open_site(tmp_path / "set", source=tmp_path / "raw", review="tar")
    page = site.text("/rejected", reason="caption_missing")
    (image,) = re.findall(r"/rejected/image\?n=\d+", page)
    assert site.ask(image).headers["content-type"] == "image/webp"
    assert "saved" in write_caption(site, page, 0, "A red wren.")
    built = build(tmp_path / "raw", tmp_path / "set", decisions=site.context.review.path, workers=1)
    assert built.manifest.records.kept == 4


def test_drafts_stand_side_by_side_and_one_is_taken(bare, open_site):
    texts = (
        "A brown <b>{category}</b>.",
        "A {category} on a post.",
        "I'm sorry, but I cannot describe it.",
    )
    for number, text in enumerate(texts):
        caption(
            bare / "raw", bare / f"model-{number}", captioner="template", options={"text": text}
        )
    assert (bare / "model-2" / "raw" / "rejected_captions.jsonl").is_file()
    drafts = [bare / f"model-{number}" for number in range(3)]
    site = open_site(bare / "set", source=bare / "raw", review="drafts", drafts=drafts)
    page = site.text("/rejected", reason="caption_missing")
    forms = re.findall(r'<form class="draft".*?</form>', page, re.DOTALL)
    assert len(forms) == 2 * 3  # two images; the filters refused one draft of each
    assert "<b>" not in page
    hidden = dict(re.findall(r'type="hidden" name="(\w+)" value="([^"]*)"', forms[1]))
    site.post("/review/decide", **{name: unescape(value) for name, value in hidden.items()})
    (taken,) = site.context.review.effective()[0]
    assert (taken.value, taken.record) == ("A wren on a post.", KEY)


def test_a_folder_without_drafts_is_named(bare):
    with pytest.raises(FdrdError, match=r"--drafts takes an output of `fdrd caption`"):
        Context(bare / "set", source=bare / "raw", drafts=[bare / "raw"])
    (bare / "drafts" / "raw").mkdir(parents=True)
    (bare / "drafts" / "captioning.json").write_text("{}")
    (bare / "drafts" / "raw" / "captions.json").write_text("[" * 100_000)
    with pytest.raises(FdrdError, match=r"captions\.json is damaged"):
        Context(bare / "set", source=bare / "raw", drafts=[bare / "drafts"])
