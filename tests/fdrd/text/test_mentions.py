import pickle

from hypothesis import given
from hypothesis import strategies as st

from fdrd.text.mentions import find_mentions, is_mentioned, mention_pattern, same_name

NAMES = ["Shiba Inu", "A380", "A380-800", "bird-of-paradise", "o'neill’s finch", "mayfly", "ſtar", "Käfer",
         "2CV", "柴犬"]  # fmt: skip
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
    copy = pickle.loads(pickle.dumps(pattern))
    assert find_mentions(caption, pattern) == find_mentions(caption, copy)
    assert is_mentioned(caption, pattern) == bool(find_mentions(caption, pattern))
