"""What the filters would reject in existing captions."""

from fdrd.captioning.noise import count_noise, digest
from fdrd.record import ImageRef, Record, Source


def row(caption, category="wren", domain="test.json"):
    place = ImageRef("1.png")
    return Record(
        "d/1", place, caption, category, Source("1.png", origin=f"{domain}: key 1"), domain=domain
    )


def test_each_filter_is_counted_before_and_after_rewording():
    rows = [
        row("A wren sits on a mossy post."),
        row("The image shows a wren on a mossy post."),
        row("A bird on a mossy post is the subject of the image."),
        row("A robin sits on a mossy post."),
        row("A robin sits on a mossy post.", "robin"),
    ]
    (found,) = count_noise(rows)
    assert (found.rows, found.rejected, found.after) == (5, 3, 2)
    meta = found.filters["meta_talk"]
    assert (meta.rows, meta.fixed, meta.alone) == (2, 1, 1)
    assert (digest(rows[1].caption), "key 1") in meta.examples
    assert found.filters["category_contradicted"].rows == 1
    assert found.filters["category_not_named"].rows == 2


def test_scores_below_the_minimum_are_counted():
    (found,) = count_noise(
        [row("A wren sits here now."), row("A wren sleeps here now.")], [0.1, 0.3], 0.2
    )
    assert (found.rejected, found.filters["clip_score"].rows) == (1, 1)
