"""PromptSRC holds its prompts near the frozen backbone, and evaluates their mean over epochs."""

import numpy as np
import pytest
import torch

from benchmark import TrainConfig, get_method

TRAIN = TrainConfig(epochs=1, batch_size=8, learning_rate=0.02)
UNREGULATED = {"text_weight": 0.0, "image_weight": 0.0, "logit_weight": 0.0, "gpa_std": 0.0}


def make(backbone, **options):
    return get_method("promptsrc")(backbone, train=TRAIN, **options)


def test_without_regulation_it_is_independent_prompts(tiny_clip, tiny_dataset):
    """Trained the same way, every number is the same."""

    def trained(method):
        method.fit(tiny_dataset["train"], tiny_dataset["validation"])
        prompts = method.learner()
        return [each.detach() for each in (*prompts.text, *prompts.vision)]

    options = {"n_ctx": 4, "coupling": "independent", "train": TRAIN}
    independent = trained(get_method("maple")(tiny_clip, **options))
    assert all(map(torch.equal, trained(make(tiny_clip, **UNREGULATED)), independent))


def test_the_mean_over_epochs_is_weighted_by_a_gaussian(tiny_clip):
    """Prompts 1, 2 and 4 at the ends of three epochs; mean 2 and deviation 1 weigh them g, 1, g."""
    g = np.exp(-1 / 2)
    expected = [1.0, (g * 1 + 2) / (g + 1), (g * 1 + 2 + g * 4) / (g + 1 + g)]
    learner = make(tiny_clip, gpa_mean=2, gpa_std=1).learner
    for epoch, value in enumerate((1.0, 2.0, 4.0)):
        learner.train()
        learner.enter(epoch)
        with torch.no_grad():
            for parameter in learner.prompts.parameters():
                parameter.fill_(value)
        for prompt in (*learner().text, *learner().vision):
            assert torch.equal(prompt, torch.full_like(prompt, value))  # trained as they are
        learner.eval()
        for prompt in (*learner().text, *learner().vision):
            assert prompt.detach().numpy() == pytest.approx(expected[epoch], abs=1e-6)

    other = make(tiny_clip, gpa_mean=2, gpa_std=1).learner
    other.load_state_dict(learner.state_dict())
    assert other().text[0].detach().numpy() == pytest.approx(expected[2], abs=1e-6)


def test_a_distant_gaussian_does_not_underflow(tiny_clip):
    """Weights of e^-2000 are no numbers; the latest epoch outweighs the ones before."""
    learner = make(tiny_clip, gpa_mean=64, gpa_std=1).learner
    learner.enter(1)
    assert learner().text[0].detach().isfinite().all()


def test_the_default_mean_is_at_three_quarters_of_the_epochs(tiny_clip):
    twenty = get_method("promptsrc")(tiny_clip, train=TrainConfig(epochs=20))
    assert twenty.learner.mean == 15  # the paper's
    assert make(tiny_clip, gpa_mean=3).learner.mean == 3
