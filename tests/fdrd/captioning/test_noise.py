"""What each noise filter rejects, what it must let through, and what it counts in existing captions."""

import pytest

from fdrd.captioning.noise import FILTERS, Draft, count_noise, digest, first_problem
from fdrd.record import ImageRef, Record, Source

BIRDS = ("house wren", "wren", "robin", "snow robin", "owl")


@pytest.mark.parametrize(
    ("caption", "reason"),
    [
        ("A robin sits on a mossy post beside a red barn.", ""),
        ("This is a photo of a robin on a mossy post.", ""),
        ("A close-up photograph of a robin with a red breast.", ""),
        ("Three robins share a bird bath in the morning light.", ""),
        ("A robin looks at its own image in the water.", ""),
        ("A robin and an owl sit side by side on a wire.", ""),
        ("A robin perches on a picture frame against a white wall.", ""),
        ("I'm sorry, but I cannot tell which robin this is.", "refusal"),
        ("As an AI language model, I see a robin.", "refusal"),
        ("Unable to view the robin.", "refusal"),
        ("The image shows a robin on a post.", "meta_talk"),
        ("This picture captures a robin in flight.", "meta_talk"),
        ("A robin is the main subject of the image.", "meta_talk"),
        ("A robin sits on a post. Let me know if you need more.", "meta_talk"),
        ("In this photo, a robin sits on a post.", "meta_talk"),
        ("A robin.", "too_short"),
        ("a red robin on a red post on a red roof on a red hill by a red sea", ""),
        ("A robin robin robin sits on a post by the sea.", "repetition"),
        ("A robin sits on a post. It is red. A robin sits on a post.", "repetition"),
        ("A robin with red wings with red wings with red wings on a post.", "repetition"),
        ("An owl sits on a mossy post in the rain.", "category_contradicted"),
        ("A snow robin sits on a mossy post.", ""),  # names "robin" too
        ("A small bird sits on a mossy post.", "category_not_named"),
        ("A robin sits on a post, and", "cut_short"),
        ("A robin sits on a mossy post", ""),
        ('A robin under the words "I\'m sorry, the image shows nothing".', ""),
        ("A robin sits on the left side of the image, near a hand that turns it on", ""),
        ("A robin in the centre of the frame of a door.", ""),
        ('A robin under a sign that says "Open."', ""),
    ],
)
def test_each_filter_rejects_what_it_should(caption, reason):
    assert first_problem(Draft(caption, "robin", BIRDS, 20)) == reason


ROBIN = "A robin sits on a mossy post."


@pytest.mark.parametrize(
    ("draft", "reason"),
    [
        (Draft("A wren sits on a mossy post.", "house wren", BIRDS), "category_not_named"),
        (Draft("A house wren on a post.", "owl", ("owl", "house wren")), "category_contradicted"),
        (Draft("A house wren on a post.", "owl", ("owl", "wren")), "category_contradicted"),
        (Draft("A snow robin on a post.", "owl", ("owl", "snowy")), "category_not_named"),
        (Draft(ROBIN, "robin", tokens=77), ""),
        (Draft(ROBIN, "robin", tokens=78), "too_long"),
        (Draft(ROBIN, "robin", tokens=25, max_tokens=24), "too_long"),
        (Draft(ROBIN, "robin", score=0.2, min_score=0.21), "clip_score"),
        (Draft(ROBIN, "robin", score=0.2, min_score=0.2), ""),
        (Draft(ROBIN, "robin", score=0.2), ""),
        (Draft(ROBIN, "robin", cut=True), ""),
        (Draft(ROBIN[:-1], "robin", cut=True), "cut_short"),
    ],
)
def test_names_inside_names_and_limits_are_told_apart(draft, reason):
    assert first_problem(draft) == reason


def test_a_filter_can_be_left_out():
    draft = Draft("The image shows a bird on a post.", "robin", BIRDS)
    assert first_problem(draft) == "meta_talk"
    assert first_problem(draft, {"meta_talk"}) == "category_not_named"
    assert first_problem(draft, set(FILTERS)) == ""


def row(caption, category="wren", domain="test.json"):
    source = Source("1.png", origin=f"{domain}: key 1")
    return Record("d/1", ImageRef("1.png"), caption, category, source, domain=domain)


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
