"""Package metadata, dependencies and every entry point. Tool settings are in `pyproject.toml`."""

import runpy
from pathlib import Path

from setuptools import find_packages, setup

ROOT = Path(__file__).parent
VERSION = runpy.run_path(str(ROOT / "spacy_padellm" / "about.py"))["__version__"]
README = ROOT / "README.md"

# spaCy brings numpy, srsly and typer; transformers brings tokenizers, safetensors and huggingface-hub. They are named
# all the same because the package imports them itself.
REQUIRES = [
    "spacy>=3.8,<3.9",
    "thinc>=8.3,<8.4",  # what spaCy 3.8 is built on; thinc 9 has another wrapper interface
    "torch>=2.4,<3",
    "transformers>=4.53,<6",  # AttentionInterface as the forest engine uses it
    "peft>=0.18,<1",  # the first release that imports beside transformers 5
    "tokenizers>=0.21,<1",
    "safetensors>=0.4.3,<1",
    "huggingface-hub>=0.30,<3",
    "numpy>=1.26,<3",
]

# spacy-transformers 1.4 holds transformers below 4.53.3, so whoever wants transformers 5 must be able to do without.
SPACY_TRANSFORMERS = ["spacy-transformers>=1.4,<1.5"]

# 4 and 8 bits; the first release whose kernels run on a CPU in both is older.
QUANTIZATION = ["bitsandbytes>=0.48"]

# `padellm serve`: requests, who listens for them, and what is told of them.
SERVE = ["fastapi>=0.115", "uvicorn>=0.30", "prometheus-client>=0.20"]

# Models on completions servers: requests, and how often they are made.
SERVER = ["httpx>=0.27", "tenacity>=8.3"]

# `padellm export --gguf`: writes the file.
GGUF = ["gguf>=0.17"]

# `padellm annotate --engine ray`: the first release whose checkpoints are written in two steps, beside documents that
# are named by the task alone. fsspec and pyarrow come with it; they are named because they are imported.
RAY = ["ray[data]>=2.60,<3", "pyarrow>=18", "fsspec>=2024.2"]

# Training by several processes. peft brings accelerate already; what is used of it here is in later releases only.
DEVICES = ["accelerate>=1.0"]

# `spacy package` calls build, and the project's report draws with matplotlib. sentencepiece and protobuf: tests make a
# Llama tokenizer of the SentencePiece family.
TEST = [
    "build>=1.2",
    "matplotlib>=3.8",
    "pytest>=8.3",
    "pytest-xdist>=3.6",
    "hypothesis>=6.100",
    "sentencepiece>=0.2",
    "protobuf>=4.25",
    f'{QUANTIZATION[0]}; sys_platform == "linux"',
    *SERVE,
    *SERVER,
    *GGUF,
    *RAY,
    *DEVICES,
    "schemathesis>=4",
    "xllamacpp>=2026",  # llama.cpp's server, which tests ask
    "openai>=1.98",  # what `transformers serve` needs
]

# The site. Sphinx 9 needs Python 3.11, so that older ones get its predecessor.
DOCS = ["sphinx>=8.1,<10", "myst-parser>=4,<6", "furo>=2024.8.6"]

# ruff changes its formatting from one minor release to the next, so its range is narrow.
DEV = [
    *TEST,
    *DOCS,
    "import-linter>=2.1",
    "mypy>=1.15,<3",
    "ruff>=0.17,<0.18",
]

ENTRY_POINTS = {
    "spacy_factories": {
        "padellm_ner": "spacy_padellm.pipeline.factory:make_padellm_ner",
    },
    "spacy_architectures": {
        "spacy-padellm.CausalLM.v1": "spacy_padellm.model.architectures:build_causal_lm_v1",
        "spacy-padellm.FreshCausalLM.v1": "spacy_padellm.model.architectures:build_fresh_causal_lm_v1",
        "spacy-padellm.CompletionsServer.v1": "spacy_padellm.model.completions_server:build_completions_server_v1",
    },
    "spacy_misc": {
        "spacy-padellm.PaDeLLM.v1": "spacy_padellm.schemes.padellm:build_padellm_v1",
        "spacy-padellm.OneStep.v1": "spacy_padellm.schemes.one_step:build_one_step_v1",
        "spacy-padellm.AutoRegStruct.v1": "spacy_padellm.schemes.structured:build_structured_v1",
        "spacy-padellm.AutoRegAug.v1": "spacy_padellm.schemes.augmented:build_augmented_v1",
        "spacy-padellm.EnglishPrompt.v1": "spacy_padellm.prompts.english:build_english_prompt_v1",
        "spacy-padellm.ChinesePrompt.v1": "spacy_padellm.prompts.chinese:build_chinese_prompt_v1",
        "spacy-padellm.CompactPrompt.v1": "spacy_padellm.prompts.compact:build_compact_prompt_v1",
        "spacy-padellm.LabelDraw.v1": "spacy_padellm.training.label_draw:build_label_draw_v1",
        "spacy-padellm.LoRA.v1": "spacy_padellm.model.lora:build_lora_v1",
        "spacy-padellm.ChatTemplate.v1": "spacy_padellm.model.chat:build_chat_template_v1",
    },
    "spacy_batchers": {
        "spacy-padellm.batch_by_pieces.v1": "spacy_padellm.training.batcher:build_batch_by_pieces_v1",
    },
    "spacy_augmenters": {
        "spacy-padellm.MentionSwap.v1": "spacy_padellm.training.augment:build_mention_swap_v1",
    },
    "spacy_readers": {
        "spacy-padellm.read_labels.v1": "spacy_padellm.data.labels:read_labels_v1",
    },
    "spacy_scorers": {
        "spacy-padellm.ner_scorer.v1": "spacy_padellm.pipeline.scorer:make_ner_scorer_v1",
    },
    "spacy_cli": {
        "padellm": "spacy_padellm.cli:app",
    },
}

setup(
    name="spacy-padellm",
    version=VERSION,
    description="Named entity recognition in spaCy with LLMs that decode all mentions of a text in parallel",
    long_description=README.read_text(encoding="utf-8") if README.exists() else "",
    long_description_content_type="text/markdown",
    author="spacy-padellm contributors",
    license="MIT",
    license_files=["LICENSE"],
    keywords=["spacy", "ner", "named entity recognition", "large language models", "parallel decoding", "lora"],
    classifiers=[
        "Development Status :: 3 - Alpha",
        "Intended Audience :: Developers",
        "Intended Audience :: Science/Research",
        "Operating System :: OS Independent",
        "Programming Language :: Python :: 3",
        "Programming Language :: Python :: 3.10",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Programming Language :: Python :: 3.13",
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
        "Topic :: Text Processing :: Linguistic",
        "Typing :: Typed",
    ],
    python_requires=">=3.10",
    packages=find_packages(include=["spacy_padellm", "spacy_padellm.*"]),
    package_data={"spacy_padellm": ["py.typed"], "spacy_padellm.service": ["page.html"]},
    install_requires=REQUIRES,
    extras_require={
        "spacy-transformers": SPACY_TRANSFORMERS,
        "quantization": QUANTIZATION,
        "serve": SERVE,
        "server": SERVER,
        "gguf": GGUF,
        "ray": RAY,
        "devices": DEVICES,
        "test": TEST,
        "docs": DOCS,
        "dev": DEV,
    },
    entry_points={
        group: [f"{name} = {target}" for name, target in targets.items()] for group, targets in ENTRY_POINTS.items()
    },
    zip_safe=False,
)
