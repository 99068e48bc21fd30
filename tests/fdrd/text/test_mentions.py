import pickle

from hypothesis import given
from hypothesis import strategies as st

from fdrd.text.mentions import (
    NameIndex,
    find_mentions,
    is_mentioned,
    longer_names,
    mention_pattern,
    same_name,
)

NAMES = "Shiba Inu|A380|A380-800|bird-of-paradise|o'neill’s finch|mayfly|ſtar|Käfer|2CV|柴犬|İlk|c++".split(
    "|"
)
TEXT = st.text(
    alphabet=st.sampled_from("aAsS38 0-_'.,;Kyh") | st.characters(max_codepoint=127), max_size=20
)
CHANGES = [str, str.upper, str.lower, str.title, lambda text: text.replace(" ", "_")]


@given(st.text(st.characters(codec="utf-8", exclude_categories=["Cs", "Cc"]), min_size=1))
def test_separators_do_not_change_a_name(name):
    assert same_name(name, name.replace(" ", "_"))


@given(st.sampled_from(NAMES), TEXT, TEXT, st.sampled_from(CHANGES), st.booleans())
def test_the_ascii_pattern_finds_the_same_mentions_as_the_general_pattern(
    name, before, after, change, many
):
    pattern = mention_pattern(name, [other for other in NAMES if name in other and name != other])
    form = pattern.plurals[-1] if many and pattern.plurals else name
    caption = before + change(form).encode("ascii", "ignore").decode() + after
    assert caption.isascii()
    found = [match.span() for match in pattern._ascii.finditer(caption)]
    assert found == [match.span() for match in pattern._any.finditer(caption)]
    assert found == [match.span() for match in pattern.finditer(caption)]
    copy = pickle.loads(pickle.dumps(pattern))
    assert find_mentions(caption, pattern) == find_mentions(caption, copy)
    assert is_mentioned(caption, pattern) == bool(find_mentions(caption, pattern))


@given(st.lists(st.tuples(st.sampled_from(NAMES), st.sampled_from(CHANGES), TEXT), max_size=3))
def test_an_index_misses_no_mention(parts):
    caption = "".join(f"{change(name)}{between}" for name, change, between in parts)
    patterns = list(map(mention_pattern, NAMES))
    index = NameIndex([(*pattern.plurals, pattern.name) for pattern in patterns])
    found = index.find(caption)
    assert {n for n, pattern in enumerate(patterns) if is_mentioned(caption, pattern)} <= found
    assert pickle.loads(pickle.dumps(index)).find(caption) == found


def test_longer_names_are_those_that_mention_the_name():
    names = ["cat", "wild cat", "bobcat", "wild cat of prey", "A380", "a380-800", "猫", "柴犬猫"]
    cats = [["wild cat", "wild cat of prey"], ["wild cat of prey"], [], []]
    assert longer_names(names) == [*cats, ["a380-800"], [], ["柴犬猫"], []]


def test_a_pattern_considers_the_longer_names_that_a_caption_has():
    names = ["bird", *(f"bird {number}" for number in range(300))]
    pattern = mention_pattern("bird", names[1:])
    caption = "A bird 299, two Bird  17 and a bird."
    assert [caption[m.start :] for m in find_mentions(caption, pattern)] == ["bird."]
