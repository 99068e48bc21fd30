"""Any image-text-to-text model of `transformers`, by Hub id or folder, on a GPU or CPU.

Weights are read from safetensors only, and no code from a repository runs. `-C device_map=auto` spreads a large model
over several GPUs.
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any, ClassVar, Literal

from fdrd.captioning.interface import Answer, Failure, Keep, Question, Spending, captioner
from fdrd.errors import FdrdError, first_line


@captioner("transformers")
@dataclass(eq=False)
class ImageTextToText:
    """Runs an image-text-to-text model of transformers on this machine, with greedy decoding.

    Attributes:
        spending: Account of the run; nothing is spent.
        model: Hub id, ORG/NAME@REVISION, or a folder.
        precision: Precision of weights and arithmetic; auto is bfloat16 on a GPU and float32 on a CPU.
        device_map: Device map of accelerate, e.g. `auto` to spread a model over several GPUs; empty for one device.
        batch_size: Images per batch.
        max_tokens: Maximum tokens of an answer.
        max_side: Maximum width and height in pixels before the model's own preprocessing.
    """

    spending: Spending
    _: KW_ONLY
    model: str = ""
    precision: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    device_map: str = ""
    batch_size: int = 8
    max_tokens: int = 120
    max_side: int = 1024
    converses: ClassVar[bool] = True
    free: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if not self.model:
            raise FdrdError("transformers: name the model, -C model=ORG/NAME or a folder")
        if min(self.batch_size, self.max_tokens) < 1:
            raise FdrdError("transformers: batch_size and max_tokens must be at least 1")

    @cached_property
    def identity(self) -> Mapping[str, Any]:
        """The model's Hub commit or folder digest, and what else determines an answer."""
        return {
            "name": "transformers",
            "model": Path(self.model).name if self._is_folder else self.model.partition("@")[0],
            "revision": self._commit(),
            "precision": self._dtype,
            "max_tokens": self.max_tokens,
            "max_side": self.max_side,
        }

    def answer(self, questions: Iterator[Question], keep: Keep) -> str:
        """Answer one batch at a time."""
        while batch := list(islice(questions, self.batch_size)):
            images, asked = [], []
            for question in batch:
                try:
                    images.append(question.image.load(self.max_side))
                    asked.append(question)
                except (OSError, ValueError) as error:
                    keep(question, Failure("picture_unreadable", str(error)))
            answers = self._generate(images, [question.text for question in asked]) if asked else []
            for question, answer in zip(asked, answers, strict=True):
                keep(question, answer if answer.text.strip() else Failure("empty_answer"))
        return ""

    def _generate(self, images: Sequence[Any], texts: Sequence[str]) -> list[Answer]:
        import torch

        processor, model = self._loaded
        inputs = processor(
            images=[[image] for image in images],
            text=[_prompt(processor, text) for text in texts],
            padding=True,
            return_tensors="pt",
            # The chat template contains the begin token already.
            **({"add_special_tokens": False} if processor.chat_template else {}),
        ).to(model.device)
        for name, value in inputs.items():
            if torch.is_tensor(value) and value.is_floating_point():
                inputs[name] = value.to(model.dtype)
        with torch.inference_mode():
            written = model.generate(**inputs, max_new_tokens=self.max_tokens, do_sample=False)
        end = model.generation_config.eos_token_id
        ends = end if isinstance(end, list) else [end]
        answers = []
        for row, mask in zip(written, inputs["attention_mask"], strict=True):
            tokens = row[inputs["input_ids"].shape[1] :].tolist()
            stop = next((index for index, token in enumerate(tokens) if token in ends), None)
            text = processor.decode(tokens[:stop], skip_special_tokens=True)
            answers.append(Answer(text, int(mask.sum()), len(tokens[:stop]), cut=stop is None))
        return answers

    @cached_property
    def _loaded(self) -> tuple[Any, Any]:
        """The processor and the model, loaded for the first question that is not in the cache."""
        import torch
        from transformers import AutoModelForImageTextToText, AutoProcessor

        name, revision = self._name
        options: dict[str, Any] = {"device_map": self.device_map} if self.device_map else {}
        options |= {"use_safetensors": True, "dtype": getattr(torch, self._dtype)}
        load = AutoModelForImageTextToText.from_pretrained
        try:
            processor = AutoProcessor.from_pretrained(name, revision=revision)
            model = load(name, revision=revision, **options)
        except (OSError, ValueError, ImportError) as error:
            raise self._not_found(error) from error
        if not self.device_map and torch.cuda.is_available():
            model = model.to("cuda")
        tokenizer = processor.tokenizer
        tokenizer.padding_side = "left"  # generation continues the last token
        tokenizer.pad_token = tokenizer.pad_token or tokenizer.eos_token
        return processor, model.eval()

    @property
    def _dtype(self) -> str:
        import torch

        if self.precision != "auto":
            return self.precision
        return "bfloat16" if torch.cuda.is_available() else "float32"

    def _commit(self) -> str:
        from transformers import AutoConfig

        name, revision = self._name
        if self._is_folder:
            return f"sha256:{_digest(Path(name))}"
        try:
            config = AutoConfig.from_pretrained(name, revision=revision)
        except (OSError, ValueError) as error:
            raise self._not_found(error) from error
        return str(getattr(config, "_commit_hash", None) or revision)

    @property
    def _is_folder(self) -> bool:
        return self.model.startswith((".", "/", "~")) or Path(self.model).is_dir()

    @property
    def _name(self) -> tuple[str, str]:
        if not self._is_folder:
            name, _, revision = self.model.partition("@")
            return name, revision or "main"
        folder = Path(self.model).expanduser()
        if not (folder / "config.json").is_file():
            flaw = "has no config.json, which save_pretrained writes"
            raise FdrdError(f"transformers: {folder} {flaw}")
        return str(folder), "main"

    def _not_found(self, error: BaseException) -> FdrdError:
        needed = "it must be an image-text-to-text model with safetensors and without custom code"
        remedy = "check the name and the connection, or give a folder"
        flaw = f"cannot load {self.model} ({first_line(error)})"
        return FdrdError(f"transformers: {flaw}; {needed}; {remedy}")


def _prompt(processor: Any, text: str) -> str:
    if not processor.chat_template:  # a model without chat: the image, then the text
        return f"{getattr(processor, 'image_token', '') or ''}{text}"
    turn = [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": text}]}]
    return str(processor.apply_chat_template(turn, add_generation_prompt=True, tokenize=False))


def _digest(folder: Path) -> str:
    """Return a digest of all files that determine a saved model's answers."""
    digest = hashlib.sha256()
    for file in sorted(folder.iterdir()):
        if file.suffix in (".json", ".safetensors", ".jinja", ".txt", ".model"):
            digest.update(file.name.encode() + b"\0")
            with file.open("rb") as data:
                digest.update(hashlib.file_digest(data, "sha256").digest())
    return digest.hexdigest()[:16]
