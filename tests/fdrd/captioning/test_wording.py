"""From an answer to a caption."""

import pytest

from fdrd.captioning.wording import describe_directly, fit, make_caption, sentences, unwrap


@pytest.mark.parametrize(
    ("answer", "plain"),
    [
        ("A pug on a sofa.", "A pug on a sofa."),
        ("  A pug\n on a sofa. \n", "A pug on a sofa."),
        ('"A pug on a sofa."', "A pug on a sofa."),
        ("“A pug on a sofa.”", "A pug on a sofa."),
        ("**Caption:** A pug on a sofa.", "A pug on a sofa."),
        ("Sure! Here's a caption for the picture:\n\nA pug on a sofa.", "A pug on a sofa."),
        ("<think>It is a dog. Or a pug?</think>A pug on a sofa.", "A pug on a sofa."),
        ("<think>It is a dog", ""),
        ('A pug called "Bo" on a "red" sofa.', 'A pug called "Bo" on a "red" sofa.'),
        ('"Bo", says the collar of a pug', '"Bo", says the collar of a pug'),
        ("Description of a pug: old and grey.", "Description of a pug: old and grey."),
        ("Surely a pug on a sofa.", "Surely a pug on a sofa."),
    ],
)
def test_wrapping_around_a_caption_is_removed(answer, plain):
    assert unwrap(answer) == plain


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("A St. Bernard lies by Mt. Blanc. It sleeps.", 2),
        ("A car, e.g. a van, from the U.S. is parked. It is red.", 2),
        ("A 2.5 litre engine. Red!", 2),
        ("一只鸟。它很小。", 2),
        ('It says "Stop." Then it goes.', 2),
        ("", 0),
    ],
)
def test_a_text_is_split_into_sentences(text, parts):
    assert len(sentences(text)) == parts
    assert "".join("".join(sentences(text)).split()) == "".join(text.split())


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("The image captures a robin.", "A robin."),
        (
            "This is a photo of a robin. The image also features two eggs.",
            "This is a photo of a robin. Two eggs.",
        ),
        ("In this picture, a robin sings.", "A robin sings."),
        ("The close-up image shows a robin.", "The close-up image shows a robin."),
        ("The colourful image shows a robin.", "A robin."),
        ("The image shows how a robin sings.", "The image shows how a robin sings."),
        ("A robin on the image shows its wings.", "A robin on the image shows its wings."),
        ("A robin, which The image shows here.", "A robin, which The image shows here."),
    ],
)
def test_a_sentence_about_the_image_becomes_one_about_its_subject(before, after):
    assert describe_directly(before) == after


def words(text):
    return len(text.split())


def test_a_long_answer_is_cut_at_the_end_of_a_sentence():
    text = "A pug sleeps. Its bed is red. The wall is white."
    assert fit(text, 7, words) == "A pug sleeps. Its bed is red."
    assert fit(text, 6, words) == "A pug sleeps."
    assert fit(text, 2, words) == "A pug sleeps."  # which the filter `too_long` then rejects


@pytest.mark.parametrize(
    ("answer", "cut", "opening", "caption"),
    [
        ("A pug sleeps. Its bed is", True, "", "A pug sleeps."),
        ("A pug sleeps. Its bed is", False, "", "A pug sleeps. Its bed is"),
        ("A pug sleeps.", True, "", "A pug sleeps."),
        (
            "A dog sleeps.",
            False,
            "This is a photo of {a category}.",
            "This is a photo of an old pug. A dog sleeps.",
        ),
        ("An old pug sleeps.", False, "This is a photo of {a category}.", "An old pug sleeps."),
        ("A old pug sleeps.It is red.", False, "", "An old pug sleeps. It is red."),
        ("<think>hm", False, "This is a photo of {a category}.", ""),
    ],
)
def test_a_caption_is_normalized_as_in_a_build(answer, cut, opening, caption):
    made = make_caption(answer, "old pug", cut=cut, opening=opening, max_tokens=77, count=words)
    assert made == caption
