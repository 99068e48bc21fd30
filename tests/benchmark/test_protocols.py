"""Protocols: base to new, transfer between domains, seeds, several methods."""

import dataclasses
from statistics import harmonic_mean

import pytest

import benchmark
from benchmark import TrainConfig, get_method, read_categories
from benchmark.reporting import comparison
from benchmark.reporting.pages import markdown, table
from benchmark.reporting.tables import command
from benchmark.training.row_selection import CategoryList, half_of, training_rows
from fdrd.errors import FdrdError
from tests.running import printed

QUICK = {"epochs": 2, "batch_size": 24}
BASE = CategoryList("base.txt", {"circle": 1, "square": 2})


def written(folder, content):
    path = folder / "categories.txt"
    path.write_bytes(content)
    return path


def test_a_list_of_categories_has_blank_lines_and_comments(tmp_path):
    text = "\ufeff# half of the shapes\r\ncircle\r\n\r\n  square \r\n  # no more\r\ncircle\r\n"
    listed = read_categories(written(tmp_path, text.encode()))
    assert listed.lines == {"circle": 2, "square": 4}
    assert listed.name == str(tmp_path / "categories.txt")
    assert listed.fingerprint == CategoryList("other.txt", {"square": 1, "circle": 9}).fingerprint
    assert listed.fingerprint != CategoryList("other.txt", {"circle": 1}).fingerprint


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"# nothing\n\n", "lists no category; write one per line"),
        (b"\xff\xfe\x00", "give a text file"),
        (None, r"categories\.txt: .*No such file"),
    ],
)
def test_an_empty_or_unreadable_list_is_an_error(tmp_path, content, message):
    path = tmp_path / "categories.txt" if content is None else written(tmp_path, content)
    with pytest.raises(FdrdError, match=message):
        read_categories(path)


@pytest.mark.parametrize(
    ("lines", "half", "message"),
    [
        (
            ["circle", "sqare"],
            "base",
            r"mine, line 2: drawn has no category 'sqare'; did you mean 'square'",
        ),
        (["Circle"], "new", r"line 1: .*did you mean 'circle'\?"),
        (["aardvark"], "base", r"line 1: .*write one per line"),
        (["circle", "square", "triangle"], "new", r"lists all categories of test .*leave some out"),
    ],
)
def test_unknown_categories_are_an_error(tiny_dataset, lines, half, message):
    listed = CategoryList("mine", {name: number for number, name in enumerate(lines, 1)})
    with pytest.raises(FdrdError, match=message):
        half_of(tiny_dataset["test"], listed, half)


def test_categories_without_rows_in_a_split_are_an_error(tiny_dataset):
    with pytest.raises(FdrdError, match="none of its categories occurs in test of drawn"):
        half_of(tiny_dataset["test"].select([0]), CategoryList("mine", {"square": 1}), "base")


def test_halves_share_nothing_and_leave_nothing_out(tiny_dataset):
    test = tiny_dataset["test"]
    base, new = (half_of(test, BASE, half) for half in ("base", "new"))
    assert {base.categories[number] for number in base.row_category} == {"circle", "square"}
    assert {new.categories[number] for number in new.row_category} == {"triangle"}
    assert sorted(base.ids + new.ids) == sorted(test.ids)


def stages(seen):
    return lambda stage, _done, _total: seen.append(stage.partition(" | ")[0])


@pytest.fixture(scope="module")
def both(tiny_clip, tiny_dataset, tmp_path_factory):
    """Zero-shot and CoOp with two seeds on both halves, what was going on, and the folder."""
    folder = tmp_path_factory.mktemp("runs")
    seen = []
    found = benchmark.evaluate(
        ["zero_shot", ("coop", {"n_ctx": 4})],
        tiny_dataset,
        seeds=range(2),
        categories=BASE,
        progress=stages(seen),
        backbone=tiny_clip,
        results=folder,
        **QUICK,
    )
    assert not found.failed
    return found.results, seen, folder


def test_base_to_new_trains_once_and_measures_both_halves(both, tiny_dataset):
    found, seen, _ = both
    assert [(each.settings.method, each.settings.seed, each.settings.half) for each in found] == [
        ("zero_shot", None, "base"),
        ("zero_shot", None, "new"),
        ("coop", 0, "base"),
        ("coop", 0, "new"),
        ("coop", 1, "base"),
        ("coop", 1, "new"),
    ]
    base, new = found[2:4]
    queries = [len(each.ranks["image_to_text"].strict.split()) for each in (base, new)]
    assert queries == [16, 8]  # a gallery for each
    assert set(new.metrics.by_category) == {"triangle"}
    train = tiny_dataset["train"]
    learned = half_of(train, BASE, "base").fingerprint
    assert base.settings.learned_from["train"] == new.settings.learned_from["train"] == learned
    assert base.fit == new.fit
    assert sum(stage.startswith("coop seed 0: trained before") for stage in seen) == 1
    assert base.settings.categories.name == "base.txt"


def test_halves_and_the_whole_do_not_collide(both, zero_shot, run_tiny):
    page = markdown([*both[0], zero_shot])
    headings = [line for line in page.splitlines() if line.startswith("## ")]
    assert headings == [
        "## drawn, test, tiny, base categories of base.txt",
        "## drawn, test, tiny, new categories of base.txt",
        "## drawn, test, tiny",
        "## drawn, test, tiny, base categories of base.txt to new",
    ]
    # The same triangles, but learned from in one of them only.
    other = CategoryList("base.txt", {"triangle": 1})
    new, base = (
        run_tiny(categories=categories, half=half).settings.identity()
        for categories, half in ((BASE, "new"), (other, "base"))
    )
    assert new != base


def test_the_harmonic_mean_is_shown_for_both_halves(both):
    found = both[0]
    page = markdown(found)
    section = page[page.index("to new\n") :]
    row = next(line for line in section.splitlines() if line.startswith("| coop"))
    mrr = [each.metrics.by_direction["image_to_text"]["MRR"] for each in found[2:]]
    base, new = (mrr[0] + mrr[2]) / 2, (mrr[1] + mrr[3]) / 2
    assert row.split(" | ")[1] == "I2T"
    assert row.split(" | ")[-1] == f"{100 * harmonic_mean((base, new)):.0f} |"
    for results, shown in ((found, True), (found[::2], False)):
        assert ("to new" in printed(table(results))) == shown


def test_the_command_contains_the_category_list(both):
    assert "--categories base.txt" in command(both[0][0].settings)
    across = dataclasses.replace(both[0][0].settings, train_domain="near", categories=None)
    assert "--train-domain near" in command(across)


def test_few_shots_come_from_the_listed_categories(tiny_dataset):
    rows = training_rows(tiny_dataset, None, 2, 0, BASE)
    assert len(rows["train"]) == 4
    assert set(rows["train"].row_category) <= {0, 1}


@pytest.mark.parametrize(
    ("asked", "measured", "learned", "label"),
    [
        ({}, 12, "all", "coop"),
        ({"domain": "round"}, 4, "round", "coop"),
        ({"domain": "round", "train_domain": "edged"}, 4, "edged", "coop (train-domain=edged)"),
        ({"domain": "round", "train_domain": "all"}, 4, "all", "coop (train-domain=all)"),
        ({"train_domain": "edged"}, 12, "edged", "coop (train-domain=edged)"),
        ({"train_domain": "all"}, 12, "all", "coop"),
        ({"domain": "round", "train_domain": "round"}, 4, "round", "coop"),
    ],
)
def test_domains_that_are_learned_from_and_measured(
    two_domains, run_tiny, asked, measured, learned, label
):
    result = run_tiny("coop", two_domains, **asked)
    assert len(result.ranks["text_to_image"].strict.split()) == measured
    train = two_domains["train"]
    source = train if learned == "all" else train.of_domain(learned)
    assert result.settings.learned_from["train"] == source.fingerprint
    bare = dataclasses.replace(result.settings, options_given={}, train_given={})
    assert comparison.label(bare) == label


def test_an_unknown_domain_is_an_error(two_domains, run_tiny):
    with pytest.raises(FdrdError, match="no domain 'rund' in train; it has edged, round"):
        run_tiny("coop", two_domains, train_domain="rund")


def test_a_few_shot_draw_has_a_seed_even_if_the_method_takes_none(
    tiny_clip, tiny_dataset, registry
):
    def unseeded(backbone, *, train=TrainConfig()):
        made = get_method("coop")(backbone, n_ctx=4, train=train)
        return made

    benchmark.method("unseeded")(unseeded)
    asked = {"backbone": tiny_clip, "epochs": 1, "seeds": range(2)}
    few = benchmark.evaluate("unseeded", tiny_dataset, shots=1, **asked)
    assert [each.settings.seed for each in few.results] == [0, 1]
    every = benchmark.evaluate("unseeded", tiny_dataset, **asked)
    assert [each.settings.seed for each in every.results] == [None]
