"""Sets of keys are compact and complete."""

from fdrd.checks.tally import KeySet, true_captions, true_key


def test_a_set_of_keys_has_what_was_put_in_and_nothing_else():
    keys = KeySet([7, 2**64 - 1, 7, 0])
    assert [key in keys for key in (0, 7, 2**64 - 1, 1, 8, 2**63)] == [True] * 3 + [False] * 3
    assert 0 not in KeySet([])


def test_captions_are_found_by_the_key_of_their_normalized_text():
    true = true_captions(["A  Pug.", "A cat."])
    assert true_key("a pug.") in true
    assert true_key("A dog.") not in true
