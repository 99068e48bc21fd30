"""At test time a caption knows no image; what `rerank` and `leak_paired` do instead, and how they say so."""

import json
from typing import get_args

import numpy as np
import pytest
import torch
from benchmark.evaluation.scoring import make_reranker
from PIL import Image
from rich.console import Console

import benchmark
import dcar
from benchmark import Batch, Images, TrainConfig, get_method
from benchmark.evaluation.encoding import encode_split
from benchmark.evaluation.ranking import rank
from benchmark.models.backbone import WeightPlace
from benchmark.reporting.significance import compare
from benchmark.reporting.terminal import significance_table
from benchmark.result import read_results
from dcar.options import TestWeights
from fdrd.dataset import RetrievalDataset
from fdrd.errors import FdrdError

MODES = get_args(TestWeights)
TRAIN = TrainConfig(epochs=1, batch_size=8, optimiser="adamw", learning_rate=0.01)


def fitted(backbone, splits, mode, **options):
    options = {"n_ctx": 2, "depth": 2, "adapter_epochs": 2, "train": TRAIN, "beta": 1.0, **options}
    method = get_method("dcar")(backbone, test_weights=mode, **options)
    method.fit(splits["train"], splits["validation"])
    return method


class OtherImages(RetrievalDataset):
    """A split whose captions are the same, and whose photos are others."""

    def __init__(self, given, photos):
        self.__dict__.update(given.__dict__)
        self.photos = photos

    def images(self, numbers):
        return [self.photos[number] for number in numbers]


def encoded(method, dataset):
    """The captions' features as a run has them."""
    return encode_split(method, dataset, leak=method.scoring.leak)[1].pooled


@pytest.mark.parametrize("place", get_args(WeightPlace))
@pytest.mark.parametrize("mode", MODES)
def test_caption_features_depend_on_images_only_for_leak_paired(
    mode, place, tiny_clip, tiny_dataset
):
    method = fitted(tiny_clip, tiny_dataset, mode, weight_place=place)
    dataset = tiny_dataset["test"]
    own = dataset.images(range(24))
    red = [Image.new("RGB", (40, 40), "red")] * 24
    before = encoded(method, dataset)
    permuted, replaced = (
        encoded(method, OtherImages(dataset, photos)) for photos in (own[::-1], red)
    )
    if mode == "leak_paired":
        assert (permuted - before).abs().max() > 1e-3
        assert (replaced - before).abs().max() > 1e-3
    else:
        assert torch.equal(permuted, before)
        assert torch.equal(replaced, before)
        turned = method.encode_text(dataset.captions[::-1]).pooled
        assert torch.equal(turned.flip(0), before)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"weight_image": "frozen", "gamma": 0.0},
        {"weight_look": "patch_max", "weight_token": "isolated"},
        {"weight_look": "patch_mean", "weight_image": "frozen"},
        {"weight_place": "attention", "weight_token": "isolated", "train_weights": "as_tested"},
    ],
    ids=lambda options: ",".join(options) or "default",
)
def test_a_reranked_pair_uses_the_weights_of_its_image(options, tiny_clip, tiny_dataset):
    """Worked out pair by pair, as in training."""
    method, dataset = fitted(tiny_clip, tiny_dataset, "rerank", **options), tiny_dataset["test"]
    captions = [dataset.captions[number] for number in (0, 5, 5, 7)]
    images = Images.of(dataset)[[3, 3, 4, 20]]
    with torch.no_grad():
        found = method.scoring.shortlist.score(
            method.encode_image(images), method.encode_text(captions)
        )
        for place, caption in enumerate(captions):
            _, compared = method.encode_compared(images[[place]], method.learner.prompts())
            seen = method.encode_image(images[[place]]).pooled
            plain = method.plain([caption], tokens=True)
            weights = method.weights([caption], plain, compared, method.blank())
            text = method.features([caption], weights).pooled
            assert (weights - 1).abs().max() > 1e-3
            assert found[place].item() == pytest.approx((seen @ text.T).item(), abs=1e-5)


def test_trained_as_used_a_pair_is_scored_from_its_own_image_and_caption(tiny_clip, tiny_dataset):
    """With the whole batch on the shortlist, each pair has its score of test time, whatever its mates."""
    options = {"weight_place": "attention", "weight_token": "isolated", "gamma": 0.0}
    options |= {"train_weights": "as_tested", "shortlist": 8}
    method, dataset = fitted(tiny_clip, tiny_dataset, "rerank", **options), tiny_dataset["test"]
    seen = []
    given = method._rescored
    method._rescored = lambda *batch: seen.append(given(*batch)) or seen[-1]
    scores = {}
    for rows in ([0, 1, 2, 3], [0, 4, 2, 5]):
        captions = [dataset.captions[row] for row in rows]
        batch = Batch(0, np.array(rows), Images(dataset, np.array(rows)), captions)
        with torch.no_grad():
            method.loss(batch)
            images, texts = method.encode_image(batch.images), method.encode_text(captions)
            for place in range(4):
                own = method.scoring.shortlist.score(images[torch.full((4,), place)], texts)
                assert (seen[-1][place] - own).abs().max() < 1e-5
        scores[tuple(rows)] = seen[-1][[0, 2]][:, [0, 2]]
    first, second = scores.values()
    assert (first - second).abs().max() < 1e-6


def test_trained_as_used_without_image_the_captions_know_none(tiny_clip, tiny_dataset):
    method = fitted(tiny_clip, tiny_dataset, "predictor", train_weights="as_tested")
    dataset, weights = tiny_dataset["test"], []
    prompted = method._prompted
    method._prompted = lambda captions, of: weights.append(of) or prompted(captions, of)
    captions = [dataset.captions[row] for row in (0, 1)]
    for images in ([0, 1], [5, 9]):
        method.loss(Batch(0, np.array([0, 1]), Images(dataset, np.array(images)), captions))
    assert torch.equal(weights[0], weights[1])
    with pytest.raises(FdrdError, match="choose token_mean, predictor or rerank"):
        get_method("dcar")(tiny_clip, train_weights="as_tested")


def test_the_shortlist_is_rescored_and_the_rest_ranks_below(tiny_clip, tiny_dataset):
    method, dataset = fitted(tiny_clip, tiny_dataset, "rerank", shortlist=5), tiny_dataset["test"]
    images, texts = encode_split(method, dataset)
    first = method.similarity(images, texts)
    reranker = make_reranker(dataset, method.scoring, "dcar")
    every = method.scoring.shortlist.score
    for dim in (1, 0):
        second = reranker.rescore_best(first, images, texts, dim)
        best = first.topk(5, dim=dim).indices
        for query in range(24):
            line, listed = second.select(1 - dim, query), best.select(1 - dim, query)
            rest = [item for item in range(24) if item not in listed]
            own = torch.full((5,), query)
            pair = (images[own], texts[listed]) if dim == 1 else (images[listed], texts[own])
            assert (line[listed] - every(*pair)).abs().max() < 1e-5
            assert line[rest].max() < line[listed].min()
            assert line[rest].equal(
                first.select(1 - dim, query)[rest] - benchmark.evaluation.scoring.BELOW
            )


def test_a_shortlist_includes_all_ties_at_its_end(tiny_dataset):
    """Which of them is stored first must not decide."""
    shortlist = benchmark.evaluation.scoring.Shortlist(
        1, 10**6, lambda images, _: images.pooled[:, 0]
    )
    reranker = make_reranker(
        tiny_dataset["test"], benchmark.evaluation.scoring.Scoring(shortlist=shortlist), "m"
    )
    images, texts = benchmark.Features(torch.tensor([[0.3]])), benchmark.Features(torch.ones(3, 1))
    scores = reranker.rescore_best(torch.tensor([[0.5, 0.5, 0.2]]), images, texts, 1)
    assert scores.tolist() == [pytest.approx([0.3, 0.3, 0.2 - 3])]


def test_ranks_use_the_reranked_scores(tiny_clip, tiny_dataset):
    """With everything on the shortlist, the ranks of the whole matrix of pairs, at any block size."""
    method, dataset = fitted(tiny_clip, tiny_dataset, "rerank", shortlist=24), tiny_dataset["test"]
    images, texts = encode_split(method, dataset)
    rows = torch.arange(24)
    whole = torch.stack([method.scoring.shortlist.score(images[rows * 0 + i], texts) for i in rows])
    expected = 1 + (whole >= whole.diagonal()[:, None]).sum(1) - 1
    for block in (None, 5):
        reranker = make_reranker(dataset, method.scoring, "dcar")
        found = rank(
            method.similarity, images, texts, dataset.pairs, dataset.row_category,
            block=block, reranker=reranker,
        )  # fmt: skip
        assert np.array_equal(found.image_to_text.strict, expected.numpy())


def bench(backbone, splits, mode, folder, **options):
    given = {"n_ctx": 2, "depth": 2, "adapter_epochs": 2, "test_weights": mode, **options}
    train = {"epochs": 1, "batch_size": 8}
    return benchmark.run(
        "dcar", splits, backbone=backbone, options=given, train=train, results=folder
    )


def test_every_table_marks_a_leak(tiny_clip, tiny_dataset, tmp_path):
    bench(tiny_clip, tiny_dataset, "leak_paired", tmp_path)
    benchmark.run("zero_shot", tiny_dataset, backbone=tiny_clip, results=tmp_path)
    saved = next(tmp_path.glob("dcar-*.safetensors"))
    benchmark.run("dcar", tiny_dataset, backbone=tiny_clip, checkpoint=saved, results=tmp_path)
    results = read_results(tmp_path)
    for line in benchmark.markdown(results).splitlines():
        assert "| dcar" not in line or "leak" in line
        assert "LEAK" in line or not line.startswith("Percent.")
    console = Console(width=200)
    for shown in (benchmark.table(results), significance_table(compare([tmp_path], "zero_shot"))):
        with console.capture() as capture:
            console.print(shown)
        lines = [line for line in capture.get().splitlines() if "dcar (" in line]
        assert lines, capture.get()
        assert all("leak" in line for line in lines)
    written = [json.loads(path.read_text()) for path in tmp_path.glob("dcar-*.json")]
    assert all("LEAK" in each["settings"]["remarks"]["leak"] for each in written)


def test_reranking_changes_ranks_and_is_marked(tiny_clip, tiny_dataset, tmp_path):
    honest, reranked = (
        bench(tiny_clip, tiny_dataset, mode, tmp_path, shortlist=12, gamma=0.0)
        for mode in ("none", "rerank")
    )
    assert honest.ranks != reranked.ranks
    assert honest.settings.remarks == {}
    assert reranked.metrics.hard_negatives != honest.metrics.hard_negatives
    page = benchmark.markdown([honest, reranked])
    assert r"\[rerank\]: the 12 best items of each query are scored again" in page


def test_too_many_pairs_are_refused_with_the_number_before_anything_is_learned(
    tiny_clip, tiny_dataset, tmp_path
):
    """24 images and 24 captions with 5 each, and 24 rows of a caption and two negatives: 312."""
    with pytest.raises(FdrdError, match=r"dcar: 312 pairs .*-M pair_limit=312"):
        bench(tiny_clip, tiny_dataset, "rerank", tmp_path, shortlist=5, pair_limit=311)
    assert not list(tmp_path.iterdir())
    bench(tiny_clip, tiny_dataset, "rerank", tmp_path, shortlist=5, pair_limit=312)


def test_each_word_is_encoded_once_on_its_own(tiny_clip):
    """`zebra` is no word of the tokenizer: all its pieces have the feature of the whole word."""
    captions = ["a zebra, red", "red zebra"]
    features = tiny_clip.encode_text(captions, tokens=True)
    words = dcar.words.WordFeatures(tiny_clip)
    with torch.no_grad():
        found = words.of(captions, features.words)
        expected = tiny_clip.encode_text(["zebra"]).pooled[0]
    assert tiny_clip.words(captions) == [["a", "zebra", ",", "red"], ["red", "zebra"]]
    assert (features.words[0] == 1).sum() == 5
    assert (found[0][features.words[0] == 1] - expected).abs().max() < 1e-6
    assert (found[1][features.words[1] == 1] - expected).abs().max() < 1e-6
    assert not found[0][features.words[0] < 0].any()
    assert sorted(words.found) == [",", "a", "red", "zebra"]
