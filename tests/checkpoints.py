"""Tokenizers and models small enough to be made in a test: every family that the package claims to work with."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel, PreTrainedTokenizerFast

from spacy_padellm.engine.attention import FOREST
from spacy_padellm.engine.fresh import train_tokenizer
from spacy_padellm.engine.language_model import LanguageModel
from spacy_padellm.engine.pieces import Pieces
from spacy_padellm.engine.turns import turns_of
from spacy_padellm.prompts.english import build_english_prompt_v1
from spacy_padellm.schemes.padellm import PaDeLLM
from spacy_padellm.training.loss import row_loss
from spacy_padellm.training.targets import TargetTree, grow_gold
from spacy_padellm.types import Mention

TEXTS = (
    "Japan began the defence of their Asian Cup title with a lucky 2-1 win against Syria.",
    "But China saw their luck desert them: Mr. Cuttitta didn't play in the 1995 World Cup.",
    "The city of São Paulo (Brazil) isn't the capital; Brasília is, since 1960!",
    "text:\nentity type:\nperson\n\n<num>2\n<mention 1>Japan\n<mention 12>",
    "本报讯记者王小明从北京发回报道，上海市政府今天宣布中国队以2比1获胜。",
    "文本:\n指定NER标签:\n人名\n\n<数量>3\n<第1文段>北京",
)
"""What the tokenizers are trained on."""

QUESTIONS = ("text:\n", "entity type:\nperson\n\n<num>", "\n<mention 1>", "指定NER标签:\n人名\n\n<数量>", "\n<第1文段>")
"""Segments of the prompts."""

QWEN_CUTS = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
"""How Qwen2 and Qwen3 cut a text before merging."""


def fresh_tokenizer(texts: Sequence[str] = TEXTS, vocab_size: int = 420) -> PreTrainedTokenizerFast:
    """The package's own tokenizer, to be used with `leading_blank=True`."""
    return train_tokenizer(texts, QUESTIONS, vocab_size)


def gpt2_tokenizer(texts: Sequence[str] = TEXTS, vocab_size: int = 420) -> PreTrainedTokenizerFast:
    """Byte-level BPE as of GPT-2."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    _train(tokenizer, texts, vocab_size, ["<|endoftext|>"])
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<|endoftext|>", bos_token="<|endoftext|>")


def qwen_tokenizer(texts: Sequence[str] = TEXTS, vocab_size: int = 600) -> PreTrainedTokenizerFast:
    """Byte-level BPE as of Qwen2: the text is brought to NFC first, digits stand alone, Chinese words are merged."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(QWEN_CUTS), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    _train(tokenizer, [*texts, "北京 北京 上海 上海 北京市 上海市"], vocab_size, ["<|endoftext|>", "<|im_end|>"])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token="<|im_end|>", additional_special_tokens=["<|endoftext|>"]
    )


def llama_tokenizer(texts: Sequence[str] = TEXTS, vocab_size: int = 600) -> PreTrainedTokenizerFast:
    """SentencePiece BPE as of Llama 2: "▁" in front, digits alone, bytes for unknown characters, "<s>" first.

    "3" is cut into "▁" and "3", and "\\n<mention 1>" into "▁", "<0x0A>" and more.
    """
    learner = Tokenizer(models.BPE())
    learner.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Metaspace(), pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.Punctuation()]
    )
    trainer = trainers.BpeTrainer(vocab_size=vocab_size - 259, show_progress=False)
    learner.train_from_iterator([text.replace("\n", " ") for text in texts], trainer)
    learnt = json.loads(learner.to_str())["model"]
    names = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256))]
    names += sorted(learnt["vocab"], key=learnt["vocab"].get)
    vocab = {name: place for place, name in enumerate(dict.fromkeys(names))}
    merges = [tuple(pair) for pair in learnt["merges"]]
    tokenizer = Tokenizer(models.BPE(vocab, merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    tokenizer.add_special_tokens(names[:3])
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token="<s>",
        eos_token="</s>",
        unk_token="<unk>",
        clean_up_tokenization_spaces=False,
    )


_CHATML = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)

TEMPLATES = {
    "chatml": _CHATML,
    "thinking": _CHATML
    + "{% if add_generation_prompt and enable_thinking is false %}<think>\n\n</think>\n\n{% endif %}",
    "dated": "<s>Today is {{ date }}.\n" + _CHATML,
    "llama3": (
        "<s>{% for m in messages %}<|im_start|>{{ m.role }}\n\n{{ m.content | trim }}<|im_end|>{% endfor %}"
        "{% if add_generation_prompt %}<|im_start|>assistant\n\n{% endif %}"
    ),
    "mistral": (
        "<s>{% for m in messages %}{% if m.role == 'user' %}[INST] {{ m.content }} [/INST]"
        "{% else %}{{ m.content }}</s>{% endif %}{% endfor %}"
    ),
    "gemma": (
        "<s>{% if messages[0].role == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}"
        "{% for m in messages %}<turn>{{ 'model' if m.role == 'assistant' else m.role }}\n{{ m.content | trim }}"
        "<end_of_turn>\n{% endfor %}{% if add_generation_prompt %}<turn>model\n{% endif %}"
    ),
    "bare": "{% for m in messages %}{{ 'Q: ' if m.role == 'user' else 'A:' }}{{ m.content }}\n{% endfor %}"
    "{% if add_generation_prompt %}A:{% endif %}",
    "twice": "{% for m in messages %}{{ m.content }} {{ m.content }}{% endfor %}",
    "broken": "{% if messages %}{{ raise_exception('broken') }}{% endif %}",
}
"""Chat templates in the manner of families that have one, and some that cannot be used."""


@functools.cache
def chat_tokenizer(template: str) -> PreTrainedTokenizerFast:
    """A byte-level tokenizer with one of `TEMPLATES` and the special tokens they write."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    names = ["<s>", "</s>", "<|im_start|>", "<|im_end|>", "<turn>", "<end_of_turn>"]
    _train(tokenizer, TEXTS, 420, names)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token="<s>",
        eos_token="</s>",
        additional_special_tokens=names[2:],
        chat_template=TEMPLATES[template],
    )


def write_instruct(folder: Path, template: str = "chatml") -> Path:
    """Save a random instruct model with one of `TEMPLATES` as transformers saves one."""
    tokenizer = chat_tokenizer(template)
    model = build_model("llama", vocab_size=len(tokenizer), attention="eager", hidden_size=48, initializer_range=0.08)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def _train(tokenizer: Tokenizer, texts: Sequence[str], vocab_size: int, specials: list[str]) -> None:
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=specials,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)


TOKENIZERS: dict[str, Callable[[], PreTrainedTokenizerFast]] = {
    "fresh": fresh_tokenizer,
    "gpt2": gpt2_tokenizer,
    "qwen": qwen_tokenizer,
    "llama": llama_tokenizer,
}


@functools.cache
def pieces_of(family: str) -> Pieces:
    """The tokenizer of one of `TOKENIZERS`, made once; "chatml" and the like for one of `TEMPLATES`."""
    if family in TEMPLATES:
        tokenizer = chat_tokenizer(family)
        turns = turns_of(tokenizer, system=None, settings={}, name=family)
        return Pieces(tokenizer, name=family, turns=turns)
    return Pieces(TOKENIZERS[family](), leading_blank=family == "fresh", name=family)


_SIZES = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 512,
    # Far larger than usual, so that a wrong mask or position changes the logits by far more than rounding does.
    "initializer_range": 0.3,
    "tie_word_embeddings": False,
}

MODELS: dict[str, dict[str, Any]] = {
    "llama": {"model_type": "llama"},
    "qwen2": {"model_type": "qwen2"},
    "qwen3": {"model_type": "qwen3", "head_dim": 8},
    "mistral": {"model_type": "mistral", "sliding_window": None, "head_dim": 8},
    "mistral-window": {"model_type": "mistral", "sliding_window": 5, "head_dim": 8},
}
"""The families the package vouches for; the last one's window is shorter than the texts of the tests."""


def build_model(
    family: str, *, vocab_size: int = 64, seed: int = 0, attention: str = FOREST, **settings: Any
) -> PreTrainedModel:
    """A model of one of `MODELS` with random weights, in evaluation mode. The same seed makes the same weights.

    attention (str): "eager" for the model's own attention.
    settings (Any): Of its config, in place of the small ones.
    """
    specials = {"bos_token_id": None, "eos_token_id": 0, "pad_token_id": None}
    config = AutoConfig.for_model(**{**_SIZES, **MODELS[family], **specials, "vocab_size": vocab_size, **settings})
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = AutoModelForCausalLM.from_config(config, attn_implementation=attention)
    return model.eval()


def build_lm(family: str, pieces: Pieces, *, seed: int = 0, attention: str = FOREST, **settings: Any) -> LanguageModel:
    """A random model of one of `MODELS` for a tokenizer."""
    model = build_model(family, vocab_size=len(pieces), seed=seed, attention=attention, **settings)
    return LanguageModel(model, pieces, torch.device("cpu"), family)


def write_checkpoint(
    folder: Path,
    *,
    family: str = "llama",
    tokenizer: str = "llama",
    seed: int = 0,
    shard: str = "5GB",
    **settings: Any,
) -> Path:
    """Save a random model with its tokenizer as transformers itself saves them, as a user would find them on the hub.

    shard (str): The largest file of weights.
    RETURNS (Path): The folder.
    """
    pieces = pieces_of(tokenizer)
    model = build_model(family, vocab_size=len(pieces), seed=seed, attention="eager", **settings)
    model.save_pretrained(folder, max_shard_size=shard)
    pieces.tokenizer.save_pretrained(folder)
    return folder


def train(lm: LanguageModel, trees: Sequence[TargetTree], *, steps: int, rate: float = 5e-3) -> float:
    """Fit a model to some trees. RETURNS (float): The mean loss of the last step, in nats per target."""
    optimizer = torch.optim.Adam(lm.model.parameters(), lr=rate)
    weight = sum(tree.weight for tree in trees)
    for _ in range(steps):
        loss = row_loss(lm, trees) / weight
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return loss.item()


GOLD = (
    ("Japan beat Syria in Abu Dhabi .", (("LOC", "Japan"), ("LOC", "Syria"), ("LOC", "Abu Dhabi"))),
    ("Mr. Cuttitta isn't in Japan", (("PER", "Cuttitta"), ("LOC", "Japan"))),
    ("nobody came", ()),
    ("王小明在北京， Japan and Japan", (("PER", "王小明"), ("LOC", "北京"), ("LOC", "Japan"), ("LOC", "Japan"))),
)
"""Texts with their mentions (label, string) in text order."""

LABELS = {"PER": "person", "LOC": "place", "ORG": "club"}


def gold_mentions() -> list[list[Mention]]:
    """The mentions of `GOLD`, text by text."""
    found = []
    for _, mentions in GOLD:
        counts: dict[str, int] = {}
        found.append([])
        for label, string in mentions:
            counts[label] = counts.get(label, 0) + 1
            found[-1].append(Mention(label, string, counts[label]))
    return found


@functools.cache
def trained_lm(tokenizer: str) -> LanguageModel:
    """A small model that knows the answers about `GOLD` by heart, with one of `TOKENIZERS`."""
    lm = build_lm("llama", pieces_of(tokenizer), hidden_size=48, initializer_range=0.05)
    scheme = PaDeLLM(build_english_prompt_v1())
    trees = [
        grow_gold(scheme, LABELS, text, mentions, lm.pieces)
        for (text, _), mentions in zip(GOLD, gold_mentions(), strict=True)
    ]
    # The loss cannot reach zero: where two mention questions part, both pieces are targets of one node.
    train(lm, trees, steps=120, rate=1e-2)
    return lm
