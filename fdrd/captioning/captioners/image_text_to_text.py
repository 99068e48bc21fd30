"""Any image-text-to-text model of `transformers`, by Hub id or folder, on one GPU, several, or none.

Weights are read from safetensors alone, and no code of a repository is run. A model too large for one GPU is spread
over several by `accelerate` (`-C device_map=auto`). To use several GPUs for speed, start the same command once on each
(`CUDA_VISIBLE_DEVICES=1 fdrd caption ...`): the runs share the questions by way of the cache, none is answered twice.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any, Literal

from fdrd.captioning import Answer, Captioner, Expected, Failure, Question, Spending, captioner
from fdrd.captioning.captioner import Keep
from fdrd.errors import FdrdError


@captioner("transformers")
def transformers(
    spending: Spending,
    *,
    model: str = "",
    precision: Literal["auto", "float32", "bfloat16", "float16"] = "auto",
    device_map: str = "",
    batch_size: int = 8,
    max_tokens: int = 120,
    max_side: int = 1024,
) -> Captioner:
    """Runs an image-text-to-text model of transformers here; answers are the likeliest ones.

    Args:
        spending: the account of the run.
        model: a Hub id, ORG/NAME@REVISION, or a folder.
        precision: of weights and arithmetic; auto is bfloat16 on a GPU and float32 without one.
        device_map: of accelerate, as `auto`, which spreads one model over several GPUs; empty: one device.
        batch_size: pictures at a time.
        max_tokens: of an answer.
        max_side: pixels of a picture's longer side before the model's own preprocessing.
    """
    if not model:
        raise FdrdError("transformers: name the model, -C model=ORG/NAME or a folder")
    if batch_size < 1 or max_tokens < 1:
        raise FdrdError("transformers: batch_size and max_tokens are at least 1")
    return ImageTextToText(model, precision, device_map, batch_size, max_tokens, max_side)


@dataclass(eq=False)
class ImageTextToText:
    """The model, loaded when the first question comes that is not in the cache."""

    model: str
    precision: str
    device_map: str
    batch_size: int
    max_tokens: int
    max_side: int
    converses: bool = True
    free: bool = False
    _resolved: dict[str, str] = field(default_factory=dict, repr=False)

    @cached_property
    def identity(self) -> Mapping[str, Any]:
        """The model's commit on the Hub, or the digest of its folder, and what decides an answer."""
        return {
            "name": "transformers",
            "model": Path(self.model).name if self._is_folder() else self.model.partition("@")[0],
            "revision": self._revision(),
            "precision": self._precision(),
            "max_tokens": self.max_tokens,
            "max_side": self.max_side,
        }

    def expected(self, text: str) -> Expected:
        """What it writes at most; nobody asks for money."""
        return Expected(len(text) // 3, self.max_tokens, 0.0)

    def answer(self, questions: Iterator[Question], keep: Keep) -> str:
        """Takes questions a batch at a time."""
        while batch := list(islice(questions, self.batch_size)):
            pictures, asked = [], []
            for question in batch:
                try:
                    pictures.append(question.picture.upright(self.max_side))
                    asked.append(question)
                except (OSError, ValueError) as error:
                    keep(question, Failure("picture_unreadable", str(error)))
            if not asked:
                continue
            answers = self._generate(pictures, [question.text for question in asked])
            for question, answer in zip(asked, answers, strict=True):
                keep(question, answer if answer.text.strip() else Failure("empty_answer"))
        return ""

    def _generate(self, pictures: Sequence[Any], texts: Sequence[str]) -> list[Answer]:
        import torch

        processor, model = self._loaded
        prompts = [self._prompt(processor, text) for text in texts]
        inputs = processor(
            images=[[picture] for picture in pictures],
            text=prompts,
            padding=True,
            return_tensors="pt",
            # The template has the begin of the text in it.
            **({"add_special_tokens": False} if processor.chat_template else {}),
        ).to(model.device)
        for name, value in inputs.items():
            if torch.is_tensor(value) and value.is_floating_point():
                inputs[name] = value.to(model.dtype)
        with torch.inference_mode():
            written = model.generate(**inputs, max_new_tokens=self.max_tokens, do_sample=False)
        read = inputs["input_ids"].shape[1]
        ends = set(_list(model.generation_config.eos_token_id))
        answers = []
        for row, mask in zip(written[:, read:], inputs["attention_mask"], strict=True):
            tokens = row.tolist()
            stop = next((place for place, token in enumerate(tokens) if token in ends), None)
            own = tokens[:stop]
            text = processor.decode(own, skip_special_tokens=True)
            answers.append(Answer(text, int(mask.sum()), len(own), cut=stop is None))
        return answers

    def _prompt(self, processor: Any, text: str) -> str:
        if not processor.chat_template:  # a model from before chats: the picture, then the words
            return f"{getattr(processor, 'image_token', '') or ''}{text}"
        content = [{"type": "image"}, {"type": "text", "text": text}]
        turn = [{"role": "user", "content": content}]
        return str(processor.apply_chat_template(turn, add_generation_prompt=True, tokenize=False))

    @cached_property
    def _loaded(self) -> tuple[Any, Any]:
        """The processor and the model."""
        import torch
        from transformers import AutoModelForImageTextToText, AutoProcessor

        name, revision = self._name()
        try:
            processor = AutoProcessor.from_pretrained(name, revision=revision)
            model = AutoModelForImageTextToText.from_pretrained(
                name,
                revision=revision,
                use_safetensors=True,
                dtype=getattr(torch, self._precision()),
                **({"device_map": self.device_map} if self.device_map else {}),
            )
        except (OSError, ValueError, ImportError) as error:
            raise self._not_there(error) from error
        if not self.device_map and torch.cuda.is_available():
            model = model.to("cuda")
        processor.tokenizer.padding_side = "left"  # else short questions are answered after padding
        if processor.tokenizer.pad_token is None:
            processor.tokenizer.pad_token = processor.tokenizer.eos_token
        return processor, model.eval()

    def _precision(self) -> str:
        import torch

        if self.precision != "auto":
            return self.precision
        return "bfloat16" if torch.cuda.is_available() else "float32"

    def _revision(self) -> str:
        from transformers import AutoConfig

        name, revision = self._name()
        if self._is_folder():
            return f"sha256:{_digest(Path(name))}"
        try:
            config = AutoConfig.from_pretrained(name, revision=revision)
        except (OSError, ValueError) as error:
            raise self._not_there(error) from error
        return str(getattr(config, "_commit_hash", None) or revision)

    def _is_folder(self) -> bool:
        return self.model.startswith((".", "/", "~")) or Path(self.model).is_dir()

    def _name(self) -> tuple[str, str]:
        if self._is_folder():
            folder = Path(self.model).expanduser()
            if not (folder / "config.json").is_file():
                raise FdrdError(
                    f"transformers: {folder} holds no config.json; give a folder that save_pretrained of "
                    "a model and its processor wrote"
                )
            return str(folder), "main"
        name, _, revision = self.model.partition("@")
        return name, revision or "main"

    def _not_there(self, error: BaseException) -> FdrdError:
        said = (str(error).strip().splitlines() or [type(error).__name__])[0]
        return FdrdError(
            f"transformers: {self.model} cannot be had ({said}); it must be an image-text-to-text model with "
            "safetensors that needs no code of its own; check the name and the connection, or give a folder"
        )


def _digest(folder: Path) -> str:
    """Digest of all that decides what a saved model says."""
    digest = hashlib.sha256()
    for file in sorted(folder.iterdir()):
        if file.suffix in (".json", ".safetensors", ".jinja", ".txt", ".model"):
            digest.update(file.name.encode() + b"\0")
            with file.open("rb") as data:
                digest.update(hashlib.file_digest(data, "sha256").digest())
    return digest.hexdigest()[:16]


def _list(value: int | list[int] | None) -> list[int]:
    return [] if value is None else [value] if isinstance(value, int) else list(value)
