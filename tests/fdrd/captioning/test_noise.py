"""What each noise filter rejects, and what it must let through."""

import pytest

from fdrd.captioning.noise import FILTERS, Draft, first_problem

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


def test_a_name_inside_the_own_category_does_not_contradict_it():
    draft = Draft("A wren sits on a mossy post.", "house wren", BIRDS)
    assert first_problem(draft) == "category_not_named"


def test_a_longer_category_name_is_not_confused_with_a_shorter_one():
    draft = Draft("A house wren sits on a mossy post.", "owl", ("owl", "wren", "house wren"))
    assert first_problem(draft) == "category_contradicted"
    assert first_problem(Draft(draft.caption, "owl", ("owl", "wren"))) == "category_contradicted"
    assert (
        first_problem(Draft("A snow robin on a mossy post.", "owl", ("owl", "snowy")))
        == "category_not_named"
    )


def test_tokens_and_score_have_limits():
    caption = "A robin sits on a mossy post."
    assert first_problem(Draft(caption, "robin", tokens=77)) == ""
    assert first_problem(Draft(caption, "robin", tokens=78)) == "too_long"
    assert first_problem(Draft(caption, "robin", tokens=25, max_tokens=24)) == "too_long"
    assert first_problem(Draft(caption, "robin", score=0.2, min_score=0.21)) == "clip_score"
    assert first_problem(Draft(caption, "robin", score=0.2, min_score=0.2)) == ""
    assert first_problem(Draft(caption, "robin", score=0.2)) == ""


def test_a_truncated_answer_must_end_with_a_sentence():
    assert first_problem(Draft("A robin sits on a mossy post", "robin", cut=True)) == "cut_short"
    assert first_problem(Draft("A robin sits on a mossy post.", "robin", cut=True)) == ""


def test_a_filter_can_be_left_out():
    draft = Draft("The image shows a bird on a post.", "robin", BIRDS)
    assert first_problem(draft) == "meta_talk"
    assert first_problem(draft, {"meta_talk"}) == "category_not_named"
    assert first_problem(draft, set(FILTERS)) == ""
