"""Published recalls beside ours: names, differences, means over the domains that both have."""

import dataclasses
import json

import pytest

from benchmark.reporting.published import PAPER, beside, read_published
from fdrd.errors import FdrdError

RECALLS = ("R@1", "R@5", "R@10")
DIRECTIONS = ("image_to_text", "text_to_image")


def table(**by_method):
    return {k: dict.fromkeys(DIRECTIONS, by_method) for k in RECALLS}


@pytest.fixture
def results(zero_shot):
    """Zero-shot on one domain, and the same numbers as if they were of another domain."""
    by_domain = {"edged_shapes": zero_shot.metrics.by_domain["shapes"]}
    metrics = dataclasses.replace(zero_shot.metrics, by_domain=by_domain)
    data = dataclasses.replace(zero_shot.settings.data, fingerprint="1" * 64)
    settings = dataclasses.replace(zero_shot.settings, data=data, domain="edged_shapes")
    return [zero_shot, dataclasses.replace(zero_shot, settings=settings, metrics=metrics)]


@pytest.fixture
def published(tmp_path):
    domains = {
        "Shapes": table(CLIP=10.0, CoOp=1.0),
        "EdgedShapes": table(CLIP=20.0),
        "AVG": table(CLIP=99.0),
    }
    content = {"source": "a table", "domains": domains, "ours": {"CLIP": "zero_shot"}}
    (tmp_path / "p.json").write_text(json.dumps(content | {"test_pairs": {"Shapes": 30}}))
    return read_published(tmp_path / "p.json")


def test_rows_hold_ours_theirs_and_the_difference_and_their_means(results, published):
    edged, unknown, shapes, gallery, mean, notes = beside(results, published)
    assert gallery == (
        "shapes: measured on 24 test pairs of 24 images; the published test split has 30 pairs; a smaller gallery "
        "has higher recalls."
    )
    assert unknown.startswith("edged_shapes: measured on 24 test pairs of 24 images; the size of")
    recall = 100 * results[0].metrics.by_direction["image_to_text"]["R@1"]
    ours, theirs, gap = shapes.rows
    assert (shapes.title, ours[:3]) == (
        "shapes, next to a table",
        ["zero_shot", "ours", f"{recall:.2f}"],
    )
    assert (theirs[2], gap[2]) == ("10.00", f"{recall - 10:+.2f}")
    assert edged.rows[1][2] == "20.00"
    assert [mean.rows[1][2], mean.rows[2][2]] == ["15.00", f"{recall - 15:+.2f}"]
    assert "AVG" not in mean.title
    assert "backbone tiny" in notes.rows[0][1]


def test_a_validation_result_and_an_unknown_method_are_not_compared(zero_shot, published):
    settings = dataclasses.replace(zero_shot.settings, split="validation")
    with pytest.raises(FdrdError, match="its domains are Shapes, EdgedShapes"):
        beside([dataclasses.replace(zero_shot, settings=settings)], published)


def test_the_table_of_the_paper_has_its_nine_domains_and_means():
    paper = read_published(PAPER)
    assert len(paper.domains) == 9
    found = [paper.values(name, "clip_adapter") for name in paper.domains]
    assert [round(sum(v) / 9, 2) for v in zip(*found, strict=True)][::3] == [29.20, 17.34]
    assert paper.values("oxfordpets", "zero_shot")[0] == 40.77
    assert paper.values("oxfordpets", "negclip") is None
    assert paper.values("pets", "zero_shot") == paper.values("oxfordpets", "zero_shot")
    assert not paper.name("AVG", paper.domains)


def test_a_file_maps_names_to_those_of_the_paper_and_others_are_listed(results, tmp_path):
    (tmp_path / "p.json").write_text('{"ours": {"StanfordCars": "shapes"}}')
    cars, gallery, others, _ = beside(results, read_published(tmp_path / "p.json"))
    assert cars.rows[1][2] == "25.88"
    assert "published test split is not known" in gallery
    assert others.startswith("Without published numbers: edged_shapes. `fdrd report --beside")


@pytest.mark.parametrize(
    ("data", "message"),
    [(b'{"domains": {"DTD": {}}}', "source"), (b'{"source": "\xff", "domains": {}}', "utf-8")],
)
def test_a_file_of_another_form_is_an_error_with_its_name(tmp_path, data, message):
    (tmp_path / "p.json").write_bytes(data)
    with pytest.raises(FdrdError, match=rf"p\.json: not published numbers .*{message}"):
        read_published(tmp_path / "p.json")
