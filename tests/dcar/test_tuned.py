"""`dcar_plus` beside trained towers: both parts train as they do alone, and validation chooses the weight."""

import pytest
import torch

import dcar.plus
import dcar.tuned
from benchmark import TrainConfig, get_method
from benchmark.training.losses import info_nce
from dcar.plus import SCALES
from dcar.tuned import TOWER_WEIGHTS
from fdrd.errors import FdrdError
from tests.encoding import features

TRAIN = TrainConfig(optimizer="adamw", learning_rate=1e-3, steps=4, eval_every=2, batch_size=8)


@pytest.fixture(autouse=True)
def _one_prior(monkeypatch):
    monkeypatch.setattr(dcar.plus, "PRIORS", (0.3,))


def fitted(name, backbone, splits, train=TRAIN, **options):
    method = get_method(name)(backbone, train=train, seed=1, **options)
    return method, method.fit(splits["train"], splits["validation"])


def scores(method, dataset):
    images, texts = features(method, dataset)
    return images @ texts.T


@pytest.mark.parametrize(
    ("prompts", "alone", "options"),
    [(False, "full", {}), (True, "maple", {"n_ctx": 4, "ctx_init": ""})],
)
def test_both_parts_train_as_they_do_alone(prompts, alone, options, tiny_clip, tiny_dataset):
    test = tiny_dataset["test"]
    method, log = fitted("dcar_tuned", tiny_clip, tiny_dataset, prompts=prompts)
    maps, maps_log = fitted("dcar_plus", tiny_clip, tiny_dataset, dcar.plus.TRAIN)
    towers, towers_log = fitted(alone, tiny_clip, tiny_dataset, **options)
    assert torch.equal(scores(method.maps, test), scores(maps, test))
    assert torch.equal(scores(method.towers, test), scores(towers, test))
    assert (scores(towers, test) - scores(get_method("zero_shot")(tiny_clip), test)).abs().max() > 0
    assert log.steps == maps_log.steps + towers_log.steps == maps_log.steps + 4
    weight = float(method.learner.weight)
    expected = (scores(maps, test) + weight * scores(towers, test)) / (1 + weight)
    assert (scores(method, test) - expected).abs().max() < 1e-6


def test_validation_chooses_the_weight(tiny_clip, tiny_dataset, monkeypatch):
    """It has the lowest contrastive loss of what is scored, and towers that were spoiled get none."""
    validation = tiny_dataset["validation"]
    method, _ = fitted("dcar_tuned", tiny_clip, tiny_dataset)
    image, caption = validation.pairs.T
    same = torch.from_numpy((image[:, None] == image) | (caption[:, None] == caption))

    def loss(weight):
        method.learner.weight.fill_(weight)
        found = scores(method, validation)[image][:, caption]
        repeats = same & ~torch.eye(len(same), dtype=torch.bool)
        return min(float(info_nce(scale * found, repeats=repeats)) for scale in SCALES)

    chosen = float(method.learner.weight)
    assert chosen == min(TOWER_WEIGHTS, key=loss)
    monkeypatch.setattr(dcar.tuned, "learn", lambda towers, *_args, earlier, **_options: earlier)
    method = get_method("dcar_tuned")(tiny_clip)
    with torch.no_grad():
        for each in method.towers.learner.parameters():
            each.normal_(generator=torch.Generator().manual_seed(0))
    method.fit(tiny_dataset["train"], validation)
    assert float(method.learner.weight) == 0


def test_the_backbone_stays_as_it_was(tiny_clip, tiny_dataset):
    before = {name: value.clone() for name, value in tiny_clip.model.state_dict().items()}
    fitted("dcar_tuned", tiny_clip, tiny_dataset)
    after = tiny_clip.model.state_dict()
    assert all(torch.equal(value, after[name]) for name, value in before.items())


@pytest.mark.parametrize("weight", [-1.0, float("nan"), float("inf")])
def test_a_weight_that_training_cannot_choose_is_refused(weight, tiny_clip):
    """A checkpoint of a stranger may hold any number."""
    method = get_method("dcar_tuned")(tiny_clip)
    method.learner.weight.fill_(weight)
    with pytest.raises(FdrdError, match="the weight of the towers is"):
        method.encode_text(["a red bird"])
