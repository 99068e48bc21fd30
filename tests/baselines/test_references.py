"""Methods equal plain implementations of their papers, in logits, loss and gradients.

These share nothing with the package but tensors. `PlainCLIP` reads the weights of a random CLIP and runs one caption or
image at a time, without padding, hooks or batches; the function with the name of a method is its paper on top of that.
"""

from __future__ import annotations

import pytest
import torch
from torch.nn.functional import layer_norm, normalize

from benchmark import get_method
from benchmark.models.image_batches import PixelCache
from benchmark.training.loop import batches

PAIRS = 3
"""Pairs of the compared batch: each is a pass of both plain towers, forth and back."""


class PlainCLIP:
    """CLIP (arXiv 2103.00020) written out, over the weights of a `CLIPModel`."""

    def __init__(self, backbone):
        self.weights = dict(backbone.model.named_parameters())
        self.tokenizer = backbone.tokenizer
        self.pixels = PixelCache(backbone.image_processor)
        self.heads = 4
        self.scale = self.weights["logit_scale"].exp().float()

    def norm(self, x, name):
        weight, bias = self.weights[f"{name}.weight"], self.weights[f"{name}.bias"]
        return layer_norm(x, weight.shape, weight, bias, 1e-5)

    def linear(self, x, name):
        return x @ self.weights[f"{name}.weight"].T + self.weights[f"{name}.bias"]

    def block(self, x, name, causal):
        h = self.norm(x, f"{name}.layer_norm1")
        q, k, v = (
            self.linear(h, f"{name}.self_attn.{part}_proj").view(len(x), self.heads, -1)
            for part in "qkv"
        )
        scores = torch.einsum("thc,shc->hts", q, k) / q.shape[-1] ** 0.5
        if causal:
            above = torch.ones(len(x), len(x)).triu(1).bool()
            scores = scores.masked_fill(above, -torch.inf)
        mixed = torch.einsum("hts,shc->thc", scores.softmax(-1), v).reshape(len(x), -1)
        x = x + self.linear(mixed, f"{name}.self_attn.out_proj")
        h = self.linear(self.norm(x, f"{name}.layer_norm2"), f"{name}.mlp.fc1")
        return x + self.linear(h * torch.sigmoid(1.702 * h), f"{name}.mlp.fc2")

    def text_states(self, caption, context=None, before=lambda _layer, x: x):
        """Return final states (T, width): context follows BOS and has positions; `before` edits a layer's input."""
        table = self.weights["text_model.embeddings.token_embedding.weight"]
        x = table[torch.tensor(self.tokenizer(caption)["input_ids"])]
        if context is not None:
            x = torch.cat([x[:1], context, x[1:]])
        x = x + self.weights["text_model.embeddings.position_embedding.weight"][: len(x)]
        for layer in range(3):
            x = self.block(before(layer, x), f"text_model.encoder.layers.{layer}", causal=True)
        return self.norm(x, "text_model.final_layer_norm") @ self.projection("text")

    def image_states(self, pixels, tokens=None, before=lambda _layer, x: x):
        """Return final normalized states (1 + P + n, width); n `tokens` follow the patches, without positions."""
        kernel = self.weights["vision_model.embeddings.patch_embedding.weight"]
        patches = (
            torch.nn.functional.conv2d(pixels[None].double(), kernel, stride=16)[0].flatten(1).T
        )
        x = torch.cat([self.weights["vision_model.embeddings.class_embedding"][None], patches])
        x = x + self.weights["vision_model.embeddings.position_embedding.weight"]
        x = self.norm(x if tokens is None else torch.cat([x, tokens]), "vision_model.pre_layrnorm")
        for layer in range(3):
            x = self.block(before(layer, x), f"vision_model.encoder.layers.{layer}", causal=False)
        return self.norm(x, "vision_model.post_layernorm")

    def projection(self, tower):
        return self.weights[f"{'visual' if tower == 'image' else tower}_projection.weight"].T

    def texts(self, captions, **edits):
        states = torch.stack([self.text_states(caption, **edits)[-1] for caption in captions])
        return normalize(states, dim=-1).float()

    def images(self, images, **edits):
        states = [self.image_states(pixels, **edits)[0] for pixels in self.pixels.of(images)]
        return normalize(torch.stack(states) @ self.projection("image"), dim=-1).float()


def cross_entropy(logits, right):
    """Return the mean of -log softmax at the right column of each row."""
    rows = range(len(logits))
    chosen = torch.stack([logits[row, right[row]] for row in rows])
    return (logits.exp().sum(1).log() - chosen).mean()


def symmetric(logits, direction="symmetric"):
    size = len(logits)
    to_text = cross_entropy(logits, range(size))
    to_image = cross_entropy(logits[:, :size].T, range(size))
    return to_text if direction == "image_to_text" else (to_text + to_image) / 2


def deep_text(prompts):
    """Return an edit that replaces the context after BOS in every layer but the first."""

    def before(layer, x):
        if not 0 < layer < len(prompts):
            return x
        return torch.cat([x[:1], prompts[layer], x[1 + len(prompts[0]) :]])

    return before


def deep_vision(prompts):
    """Return an edit that replaces the tokens after the patches in every layer but the first."""

    def before(layer, x):
        return torch.cat([x[: -len(prompts[0])], prompts[layer]]) if layer else x

    return before


def both_prompted(clip, batch, text, vision):
    images = clip.images(batch.images, tokens=vision[0], before=deep_vision(vision))
    return images, clip.texts(batch.captions, context=text[0], before=deep_text(text))


def coupled(prompts):
    text = list(prompts.context.text)
    maps = prompts.couplings
    return text, [t @ m.weight.T + m.bias for t, m in zip(text, maps, strict=True)]


def bottleneck(x, adapter, ratio):
    inner, last = adapter.inner[0].weight, adapter.inner[2].weight
    learned = torch.relu(torch.relu(x @ inner.T) @ last.T)
    return normalize(ratio * learned + (1 - ratio) * x, dim=-1)


def fine_tuned_logits(clip, batch, negatives):
    """Return logits with captions (B, B), with the own negatives (list of B lists), and all text features."""
    images, texts = clip.images(batch.images), clip.texts(batch.captions)
    others = [[clip.texts([n])[0] for n in row if n] for row in negatives]
    own = [[clip.scale * image @ n for n in row] for image, row in zip(images, others, strict=True)]
    return clip.scale * images @ texts.T, own, (images, texts, others)


def with_negatives(clip, logits, images, others):
    every = torch.stack([n for row in others for n in row])
    return torch.cat([logits, clip.scale * images @ every.T], dim=1)


def coop(clip, learner, batch):
    images = clip.images(batch.images)
    logits = clip.scale * images @ clip.texts(batch.captions, context=learner.text[0]).T
    return logits, symmetric(logits, "image_to_text")


def cocoop(clip, learner, batch):
    images, hidden, out = clip.images(batch.images), learner.shift[0], learner.shift[2]
    logits = []
    for image in images:
        shift = torch.relu(image @ hidden.weight.T + hidden.bias) @ out.weight.T + out.bias
        texts = clip.texts(batch.captions, context=learner.context.text[0] + shift)
        logits.append(clip.scale * image @ texts.T)
    return torch.stack(logits), symmetric(torch.stack(logits), "image_to_text")


def coprompt(clip, learner, batch):
    images, texts = both_prompted(clip, batch, *coupled(learner.prompts))
    images, texts = bottleneck(images, learner.image, 0.1), bottleneck(texts, learner.text, 0.2)
    logits = clip.scale * images @ texts.T
    far = (1 - (images * clip.images(batch.images)).sum(1)).mean()
    far = far + (1 - (texts * clip.texts(batch.captions)).sum(1)).mean()
    return logits, symmetric(logits, "image_to_text") + 8 * clip.scale / 100 * far


def tcp(clip, learner, batch):
    hidden, out = learner.network[0], learner.network[2]
    texts = []
    for caption in batch.captions:
        h = clip.texts([caption])[0] @ hidden.weight.T + hidden.bias
        h = (h * torch.sigmoid(1.702 * h)) @ out.weight.T + out.bias
        edit = deep_text([learner.context.text[0], h.view(4, -1)])
        texts.append(clip.texts([caption], context=learner.context.text[0], before=edit)[0])
    texts = torch.stack(texts)
    far = (1 - (texts * clip.texts(batch.captions)).sum(1)).mean()
    logits = clip.scale * clip.images(batch.images) @ texts.T
    return logits, symmetric(logits, "image_to_text") + 8 * clip.scale / 100 * far


def maple(clip, learner, batch):
    images, texts = both_prompted(clip, batch, *coupled(learner))
    logits = clip.scale * images @ texts.T
    return logits, symmetric(logits, "image_to_text")


def maple_adapter(clip, learner, batch):
    images, texts = both_prompted(clip, batch, *coupled(learner.prompts))

    def adapted(x, adapter):
        inner, last = adapter.inner[0].weight, adapter.inner[2].weight
        return normalize(x + torch.relu(x @ inner.T) @ last.T, dim=-1)

    logits = clip.scale * adapted(images, learner.image) @ adapted(texts, learner.text).T
    return logits, symmetric(logits)


def mmrl(clip, learner, batch):
    """Tokens follow BOS and the class token, in the second and third layer."""

    def joining(maps):
        def before(layer, x):
            if layer == 0:
                return x
            tokens = learner.tokens @ maps[layer - 1].weight.T + maps[layer - 1].bias
            return torch.cat([x[:1], tokens, x[1 if layer == 1 else 6 :]])

        return before

    states = [
        clip.image_states(p, before=joining(learner.to_vision))
        for p in clip.pixels.of(batch.images)
    ]
    images = torch.stack([s[0] for s in states]) @ clip.projection("image")
    images = normalize(images, dim=1).float()
    second = torch.stack([s[1:6].mean(0) for s in states]).float() @ learner.readout
    second = normalize(second, dim=1)
    texts = clip.texts(batch.captions, before=joining(learner.to_text))
    far = (1 - (images * clip.images(batch.images)).sum(1)).mean()
    far = far + (1 - (texts * clip.texts(batch.captions)).sum(1)).mean()
    one, other = (clip.scale * each @ texts.T for each in (images, second))
    loss = 0.7 * symmetric(one, "image_to_text") + 0.3 * symmetric(other, "image_to_text")
    return 0.7 * one + 0.3 * other, loss + clip.scale / 100 * far


def promptsrc(clip, learner, batch):
    prompts = learner.prompts
    images, texts = both_prompted(
        clip, batch, list(prompts.context.text), list(prompts.tokens.vision)
    )
    plain_images, plain_texts = clip.images(batch.images), clip.texts(batch.captions)
    logits = clip.scale * images @ texts.T
    p = (clip.scale * plain_images @ plain_texts.T).log_softmax(1)
    q = logits.log_softmax(1)
    near = 25 * (texts - plain_texts).abs().mean() + 10 * (images - plain_images).abs().mean()
    divergence = (p.exp() * (p - q)).sum() / q.numel()  # of the prompted from the frozen ones
    near = clip.scale / 100 * near
    return logits, symmetric(logits, "image_to_text") + near + divergence


def clip_adapter(clip, learner, batch):
    images = bottleneck(clip.images(batch.images), learner["image"], 0.2)
    logits = clip.scale * images @ clip.texts(batch.captions).T
    return logits, symmetric(logits, "image_to_text")


def negclip(clip, _learner, batch, negatives):
    logits, _, (images, _, others) = fine_tuned_logits(clip, batch, negatives)
    return logits, symmetric(with_negatives(clip, logits, images, others))


def ce_clip(clip, learner, batch, negatives):
    margin = learner.margin.tolist()
    logits, _, (images, texts, others) = fine_tuned_logits(clip, batch, negatives)
    rank = contrast = 0
    every = torch.stack([n for row in others for n in row])
    for number, row in enumerate(negatives):
        positive = logits[number, number]
        for place, caption in enumerate(row):
            if caption:
                wrong = clip.scale * images[number] @ clip.texts([caption])[0]
                rank = rank + torch.relu(margin[place] + wrong - positive) / 4
        among = torch.cat([positive[None], clip.scale * texts[number] @ every.T])
        contrast = contrast + among.exp().sum().log() - positive
    total = symmetric(with_negatives(clip, logits, images, others))
    return logits, total + 0.2 * rank / len(logits) + 0.3 * contrast / len(logits)


def fsc_clip(clip, _learner, batch, negatives):
    patches = [
        normalize(clip.image_states(p)[1:] @ clip.projection("image"), dim=-1)
        for p in clip.pixels.of(batch.images)
    ]

    def local(number, caption):
        total = 0
        for token in normalize(clip.text_states(caption)[1:-1], dim=-1):
            near = (patches[number] @ token).detach()
            weight = (near - near.min()) / (near.max() - near.min())
            seen = normalize(weight / weight.sum() @ patches[number], dim=-1)
            total = total + (clip.scale * seen @ token).exp()
        return total.log()

    def focal(scores):
        p = torch.stack(scores).softmax(0)
        target = torch.full_like(p, 0.02 / len(p))
        target[0] += 0.98
        return -(target * (1 - p) ** 2 * p.log()).sum()

    logits, own, _ = fine_tuned_logits(clip, batch, negatives)
    loss = symmetric(logits)
    for number, row in enumerate(negatives):
        whole = focal([logits[number, number], *own[number]])
        parts = focal([local(number, c) for c in (batch.captions[number], *filter(None, row))])
        loss = loss + (0.5 * whole + 0.2 * parts) / len(logits)
    return logits, loss


def compare(method, batch, logits, mine, loss):
    """Check logits, loss and the gradient of every learned parameter."""
    with torch.no_grad():
        found = method.similarity(
            method.encode_image(batch.images), method.encode_text(batch.captions)
        )
    assert method.backbone.logit_scale * found == pytest.approx(logits.detach(), abs=1e-5)
    assert mine.item() == pytest.approx(loss.item(), rel=1e-5)
    learned = [each for each in method.learner.parameters() if each.requires_grad]
    gradients = [torch.autograd.grad(value, learned) for value in (mine, loss)]
    largest = max(float(each.abs().max()) for each in gradients[1])
    for one, other in zip(*gradients, strict=True):
        allowed = (
            1e-5 * float(other.abs().max()) + 1e-7 * largest
        )  # keys have a bias without effect
        assert one == pytest.approx(other, abs=allowed)


def doubled(make_clip):
    """Return a backbone whose rounding is far below any mistake."""
    backbone = make_clip()
    backbone.model.double()
    return backbone


FROZEN = {
    coop: {"n_ctx": 4},
    cocoop: {"rerank": 1},
    coprompt: {},
    tcp: {},
    maple: {},
    maple_adapter: {"loss": "symmetric"},
    mmrl: {},
    promptsrc: {},
    clip_adapter: {"side": "image"},
}


@pytest.mark.parametrize("reference", FROZEN, ids=lambda each: each.__name__)
def test_a_method_that_leaves_the_backbone_frozen(reference, make_clip, tiny_dataset):
    backbone = doubled(make_clip)
    options = {"loss": "image_to_text", **FROZEN[reference]}
    method = get_method(reference.__name__)(backbone, **options)
    method.learner.train()
    torch.manual_seed(0)
    with torch.no_grad():  # away from zero and identity, where a missing term would not show
        for parameter in method.learner.parameters():
            parameter += 0.05 * torch.randn_like(parameter)
    batch = next(batches(tiny_dataset["train"], PAIRS, 0, 0))
    logits, loss = reference(PlainCLIP(backbone), method.learner, batch)
    compare(method, batch, logits, method.loss(batch), loss)


@pytest.mark.parametrize("reference", [negclip, ce_clip, fsc_clip], ids=lambda each: each.__name__)
def test_a_method_that_trains_a_copy(reference, make_clip, tiny_dataset):
    """Captions of the data offer swaps of the category only, so half of the places are empty."""
    method = get_method(reference.__name__)(doubled(make_clip))
    if reference is ce_clip:
        method.learner.margin.copy_(torch.tensor([0.5, 1.0, 2.0, 3.0]))
    batch = next(batches(tiny_dataset["train"], PAIRS, 0, 0))
    negatives = method.negatives(tiny_dataset["train"])(batch)
    size = len(negatives) // PAIRS
    rows = [negatives[start : start + size] for start in range(0, len(negatives), size)]
    logits, loss = reference(PlainCLIP(method.backbone), method.learner, batch, rows)
    compare(method, batch, logits, method.loss(batch, negatives), loss)
