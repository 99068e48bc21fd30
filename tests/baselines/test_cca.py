"""CCA equals a plain implementation, and validation chooses among its settings, the layers and the joint space."""

import numpy as np
import pytest
import torch
from torch.nn.functional import normalize

import benchmark.training.closed_form
from baselines.cca import cca
from benchmark import Images, load_method
from benchmark.evaluation.encoding import encode_split, rank_split
from benchmark.evaluation.ranking import mean_mrr
from benchmark.models.layers import BlockEncoder
from benchmark.models.plain_encoder import PlainEncoder
from benchmark.training.closed_form import candidates, choose, covariances, covariances_of
from fdrd.errors import FdrdError
from tests.running import run_method


def plain_scores(x, y, queries, gallery, lx, ly, power, joint=0, prior=0.0):
    """Return (I, C) scores of regularized CCA, written after its definition."""

    def inverse_root(covariance, strength):
        regular = covariance + strength * np.trace(covariance) / len(covariance) * np.eye(
            len(covariance)
        )
        values, vectors = np.linalg.eigh(regular)
        return vectors @ np.diag(values**-0.5) @ vectors.T

    mx, my = x.mean(0), y.mean(0)
    cxx, cyy = np.cov(x.T, bias=True), np.cov(y.T, bias=True)
    cxy = (x - mx).T @ (y - my) / len(x)
    shares = lx * np.trace(cxx) / len(cxx) * ly * np.trace(cyy) / len(cyy)
    cxy[:joint, :joint] += prior * np.sqrt(shares) * np.eye(joint)
    a, b = inverse_root(cxx, lx), inverse_root(cyy, ly)
    u, s, vt = np.linalg.svd(a @ cxy @ b, full_matrices=False)
    one = (queries - mx) @ a @ u @ np.diag(s**power)
    other = (gallery - my) @ b @ vt.T @ np.diag(s**power)
    one /= np.linalg.norm(one, axis=1, keepdims=True)
    other /= np.linalg.norm(other, axis=1, keepdims=True)
    return one @ other.T


def pairs(count, dx, dy, seed=0):
    """Return correlated unit features of images and captions, in double precision."""
    draw = np.random.default_rng(seed)
    shared = draw.normal(size=(count, 5))
    x = shared @ draw.normal(size=(5, dx)) + 0.5 * draw.normal(size=(count, dx)) + 1
    y = shared @ draw.normal(size=(5, dy)) + 0.5 * draw.normal(size=(count, dy)) - 1
    return (each / np.linalg.norm(each, axis=1, keepdims=True) for each in (x, y))


def in_parts(x, y, rows):
    return [
        tuple(torch.from_numpy(each[start : start + rows]) for each in (x, y))
        for start in range(0, len(x), rows)
    ]


@pytest.mark.parametrize(
    ("count", "dx", "dy", "joint", "prior"),
    [
        (200, 12, 9, 0, 0.0),
        (200, 9, 12, 0, 0.0),
        (7, 12, 9, 0, 0.0),  # directions without variance are left out, which changes no score
        (13, 12, 9, 0, 0.0),
        (3, 12, 9, 4, 0.3),  # axes of the joint space in which the pairs do not vary
        (200, 12, 9, 4, 1.0),
    ],
)
def test_scores_equal_a_plain_implementation(count, dx, dy, joint, prior):
    x, y = pairs(count, dx, dy)
    new_x, new_y = pairs(20, dx, dy, seed=1)
    for each in candidates("cca", covariances_of(in_parts(x, y, 5)), joint=joint, prior=prior):
        lx, ly = (float(part.split("=")[1]) for part in each.name.split(", ")[:2])
        for power in (0.5, 1.0, 1.5):
            sides = zip(each.weighed(power), (new_x, new_y), strict=True)
            a, b = (normalize(side.project(torch.from_numpy(new)), dim=1) for side, new in sides)
            scores = a @ b.T
            expected = plain_scores(x, y, new_x, new_y, lx, ly, power, joint, prior)
            assert np.abs(scores.numpy() - expected).max() < (1e-5 if prior else 1e-6)


def test_ridge_and_procrustes_equal_their_definitions():
    x, y = pairs(200, 12, 9)
    found = covariances_of(in_parts(x, y, 200))
    cx, cy = x - x.mean(0), y - y.mean(0)
    to_text, to_image = list(candidates("ridge", found))[4:6]  # of strength 0.1
    penalty = 0.1 * np.trace(cx.T @ cx) / 12 * np.eye(12)
    weights = np.linalg.solve(cx.T @ cx + penalty, cx.T @ cy)
    assert to_text.maps.image.map.numpy() == pytest.approx(weights, abs=1e-9)
    assert torch.equal(to_text.maps.text.map, torch.eye(9, dtype=torch.float64))
    penalty = 0.1 * np.trace(cy.T @ cy) / 9 * np.eye(9)
    weights = np.linalg.solve(cy.T @ cy + penalty, cy.T @ cx)
    assert to_image.maps.text.map.numpy() == pytest.approx(weights, abs=1e-9)
    (rotation,) = candidates("procrustes", found)
    u, _, vt = np.linalg.svd(cx.T @ cy, full_matrices=False)
    product = rotation.maps.image.map @ rotation.maps.text.map.T
    assert product.numpy() == pytest.approx(u @ vt, abs=1e-9)


def test_streamed_covariances_equal_direct_ones(tiny_clip, tiny_dataset, monkeypatch):
    """Three rows share an image and two a caption, and each row counts."""
    train = tiny_dataset["train"].select([*range(24), 3, 3, 5])
    encoder = BlockEncoder(tiny_clip, "joint,0")
    monkeypatch.setattr(benchmark.training.closed_form, "ROWS", 5)
    found = covariances(encoder, train)
    images = encoder.encode_image(Images.of(train))[train.pairs[:, 0]].double()
    texts = encoder.encode_text(train.captions)[train.pairs[:, 1]].double()
    assert found.image.numpy() == pytest.approx(np.cov(images.T.numpy(), bias=True), abs=1e-8)
    assert found.text.numpy() == pytest.approx(np.cov(texts.T.numpy(), bias=True), abs=1e-8)
    cross = (images - images.mean(0)).T @ (texts - texts.mean(0)) / len(train)
    assert found.cross.numpy() == pytest.approx(cross.numpy(), abs=1e-8)
    some = found.leading(16, 48)
    assert some.cross.shape == (16, 48)
    assert torch.equal(some.text, found.text[:48, :48])


def fitted(backbone, data, **options):
    method = cca(backbone, **options)
    log = method.fit(data["train"], data["validation"])
    return method, log


def mrr(method, dataset):
    return mean_mrr(rank_split(method, *encode_split(method, dataset), dataset))


@pytest.mark.parametrize("kind", ["cca", "ridge", "procrustes"])
@pytest.mark.parametrize("layers", ["joint", "auto"])
def test_the_best_on_validation_is_kept_and_never_below_the_joint_space(
    kind, layers, tiny_clip, tiny_dataset
):
    validation = tiny_dataset["validation"]
    method, log = fitted(tiny_clip, tiny_dataset, kind=kind, layers=layers)
    found = choose(BlockEncoder(tiny_clip, layers), tiny_dataset["train"], validation, kind)
    assert mrr(method, validation) == pytest.approx(found.mrr, abs=1e-4)
    assert log.zero_shot_mrr == pytest.approx(mrr(cca(tiny_clip), validation))
    assert found.mrr >= log.zero_shot_mrr
    assert log.steps == 0


def test_the_joint_space_stays_where_no_map_is_better(tiny_clip, tiny_dataset, caplog):
    """Captions of training belong to other images, so what is learned misleads."""
    wrong = tiny_dataset["train"].select([0, 1]).joined(tiny_dataset["train"].select([10, 20]))
    wrong.pairs[:, 1] = [3, 2, 1, 0]
    method, validation, stages = cca(tiny_clip), tiny_dataset["validation"], []
    ranks, _ = rank_split(method, *encode_split(method, validation), validation)
    perfect = validation.select([int(np.argmin(ranks.strict))])  # a caption that is first
    method.fit(wrong, perfect, benchmark.TrainContext(lambda stage, *_: stages.append(stage)))
    plain = tiny_clip.encode_text(["a dog"]).pooled
    assert (method.encode_text(["a dog"]).pooled - plain).abs().max() < 1e-6
    assert "joint space" in stages[-1]
    assert "no map is better than the joint space" in caplog.text


def test_a_long_validation_split_is_thinned_evenly(tiny_clip, tiny_dataset, monkeypatch):
    monkeypatch.setattr(benchmark.training.closed_form, "VALIDATION_ROWS", 3)
    encoder, validation = BlockEncoder(tiny_clip), tiny_dataset["validation"]
    found = choose(encoder, tiny_dataset["train"], validation)
    expected = choose(encoder, tiny_dataset["train"], validation.select([0, 11, 23]))
    assert found.mrr == expected.mrr


def test_a_single_pair_is_refused(tiny_clip, tiny_dataset):
    with pytest.raises(FdrdError, match="covariances need at least 2 pairs, got 1"):
        cca(tiny_clip).fit(tiny_dataset["train"].select([0]), tiny_dataset["validation"])


def test_it_joins_two_encoders_that_share_no_space(tiny_clip, tiny_dataset):
    encoder = PlainEncoder(
        lambda images: tiny_clip.encode_image(images, layers=[2]).layers[:, 0],
        lambda captions: tiny_clip.encode_text(captions, layers=[2]).layers[:, 0],
        name="two",
        fingerprint="1",
        dim=48,
        text_dim=32,
    )
    with pytest.raises(FdrdError, match=r"zero_shot needs one space .* work on it: cca, random$"):
        run_method("zero_shot", tiny_dataset, backbone=encoder)
    log = run_method("cca", tiny_dataset, backbone=encoder, gallery="joint").fit
    assert log.zero_shot_mrr is None
    method, _ = fitted(encoder, tiny_dataset)
    assert mrr(method, tiny_dataset["validation"]) > 0.3  # by chance 0.16


def test_maps_of_layers_are_saved_and_loaded(tiny_clip, tiny_dataset, tmp_path):
    options = {"layers": "auto"}
    asked = {"backbone": tiny_clip, "options": options, "results": tmp_path}
    assert run_method("cca", tiny_dataset, **asked).settings.train is None
    loaded = load_method(next(tmp_path.glob("*.safetensors")), backbone=tiny_clip)
    direct, _ = fitted(tiny_clip, tiny_dataset, **options)
    texts = tiny_dataset["test"].captions
    with torch.no_grad():
        assert torch.equal(loaded.encode_text(texts).pooled, direct.encode_text(texts).pooled)
