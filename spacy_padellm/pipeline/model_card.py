"""What lies beside an exported model: how it is asked, for whoever has neither this package nor spaCy."""

from __future__ import annotations

import shlex

from spacy_padellm.about import __version__
from spacy_padellm.engine.pieces import Pieces
from spacy_padellm.model.architectures import shim_of
from spacy_padellm.pipeline.component import PaDeLLMNER
from spacy_padellm.pipeline.labels import words_of
from spacy_padellm.pipeline.markdown import code as span
from spacy_padellm.types import Branch

TEXT = "Ada met Hugo in Paris."
"""The text of the example."""

_CONTEXT = 4096
"""Positions that a served model is shown with, for each text, where it has more."""

_INTRODUCTION = """# {name}

{what}, exported by spacy-padellm {version}. It answers questions about the entities of a text.

## How it is asked

{manner} What is put to the model consists of segments. Each is cut into pieces (the
model's tokens) on its own, without special tokens, and the pieces stand one behind the other{start}. An engine that
cuts a prompt in one go may cut it otherwise: give it the pieces' numbers.
{closing}{blank}
An answer is the likeliest piece each time, and ends with the piece `{end}`{closer}.

{segments}

{use}
"""

_PLAIN = "In plain text, without a chat template."

_TURNS = "In the model's chat template, as it was when the model was trained."

_CLOSING = """
Behind a question about the text itself stand the pieces {names} (numbers {numbers}): there the model's turn begins.
"""

_BLANK = """
**Every segment that does not begin with a newline is cut as if a blank stood in front of it**, also an answer that is
put in front of a further question. In an answer such a blank stands in front of every string that is copied from the
text, and is no part of it.
"""

_FILE = """## How it is served

```sh
llama-server --model {file} --alias {name} --ctx-size {context} --parallel 8 --kv-unified
```

and a spaCy pipeline that asks it, made of the one that the model came from (PIPELINE):

```sh
python -m spacy padellm export PIPELINE served --served http://127.0.0.1:8080/v1 --served-name {name}
```
"""

_CODE = """import torch
from transformers import AutoModelForCausalLM, AutoTokenizer
{more_imports}
folder = "."
{load}


def cut(segment):
    {closing}{blank}return tokenizer(segment, add_special_tokens=False, split_special_tokens=True).input_ids


def answer(*segments):
    pieces = torch.tensor([[{start}*(piece for segment in segments for piece in cut(segment))]])
    ends = {{"max_new_tokens": {longest}, "eos_token_id": {end}, "pad_token_id": {end}}}
    told = model.generate(pieces, attention_mask=torch.ones_like(pieces), do_sample=False, **ends)
    return tokenizer.decode(told[0, pieces.shape[1] :], skip_special_tokens=True).strip()


asked = {asked}
"""

_CUT_ALREADY = """if isinstance(segment, list):
        return segment  # pieces already
    """

_ADD_BLANK = """if not segment.startswith("\\n"):
        segment = " " + segment
    """

_COUNT = """count = int(answer(*asked).split({closer!r})[0])
mentions = [answer(*asked, str(count), f{ask!r}) for ordinal in range(1, count + 1)]
print({label!r}, count, mentions)"""

_OTHER = """print(answer(*asked))"""


def model_card(pipe: PaDeLLMNER, *, base: str | None = None, file: str | None = None) -> str:
    """A README.md for an exported model.

    pipe (PaDeLLMNER): The pipe whose model it is.
    base (str | None): Name of the base model, where only the adapter was exported.
    file (str | None): Name of the GGUF file, where that was exported.
    RETURNS (str): Markdown. Its code runs in the folder with torch and transformers alone (for an adapter with peft).
    """
    lm = shim_of(pipe.model).lm
    pieces, tokenizer = lm.pieces, lm.pieces.tokenizer
    start = " ".join(f"`{tokenizer.convert_ids_to_tokens(piece)}`" for piece in pieces.start)
    branch, *_ = _questions(pipe)
    return _INTRODUCTION.format(
        name=pipe.name,
        what="A causal language model" if base is None else f"A LoRA adapter for the causal language model `{base}`",
        version=__version__,
        start=f" behind the piece {start} (number {', '.join(map(str, pieces.start))})" if start else "",
        manner=_TURNS if pieces.turns else _PLAIN,
        closing=_closing(pieces),
        blank=_BLANK if pieces.leading_blank else "",
        end=tokenizer.convert_ids_to_tokens(pieces.end),
        closer=f", or where `{branch.closer[0]!r}` begins" if branch.closer else "",
        segments=_segments(pipe),
        use=_served(pipe, file) if file else f"```python\n{_code(pipe, base)}\n```",
    )


def _served(pipe: PaDeLLMNER, file: str) -> str:
    context = 8 * min(shim_of(pipe.model).lm.max_positions, _CONTEXT)
    return _FILE.format(file=file, name=shlex.quote(pipe.name), context=context).rstrip()


def _closing(pieces: Pieces) -> str:
    names = " ".join(f"`{name!r}`" for name in pieces.tokenizer.convert_ids_to_tokens(pieces.closing))
    return _CLOSING.format(names=names, numbers=", ".join(map(str, pieces.closing))) if pieces.closing else ""


def _questions(pipe: PaDeLLMNER) -> list[Branch]:
    """The first questions about the example's text; a pipe without labels is shown with one."""
    labels = pipe.cfg["labels"] or {"person": None}
    return pipe.scheme.ask(words_of(labels, pipe.scheme), TEXT)


def _segments(pipe: PaDeLLMNER) -> str:
    """The segments of the example, one a line."""
    first, *_ = questions = _questions(pipe)
    lines = [f"About the text `{TEXT}`, these segments come first:", ""]
    lines += [f"* {span(repr(segment))}" for segment in pipe.scheme.trunk(TEXT)]
    lines += ["", "then a question, which is one of these:", ""]
    lines += [f"* {span(one.label) if one.label else 'all labels'}: {span(repr(one.question))}" for one in questions]
    follows = pipe.scheme.follow(first, "2")
    if follows:
        asked = " and ".join(span(repr(follow.question)) for follow in follows)
        lines += [
            "",
            f"The answer is how many mentions of the label there are. If it is `2`, the questions {asked}",
            "follow, each behind all of the above and the answer `2`; the answer to each is a mention, as it stands in",
            "the text.",
        ]
    return "\n".join(lines)


def _code(pipe: PaDeLLMNER, base: str | None) -> str:
    pieces, branch = shim_of(pipe.model).lm.pieces, _questions(pipe)[0]
    load = "tokenizer = AutoTokenizer.from_pretrained(folder)\nmodel = AutoModelForCausalLM.from_pretrained(folder)"
    if base is not None:
        load = (
            f"tokenizer = AutoTokenizer.from_pretrained({base!r})\n"
            f"model = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained({base!r}), folder)"
        )
    code = _CODE.format(
        more_imports="from peft import PeftModel\n" if base is not None else "",
        load=load,
        closing=_CUT_ALREADY if pieces.closing else "",
        blank=_ADD_BLANK if pieces.leading_blank else "",
        start="".join(f"{piece}, " for piece in pieces.start),
        longest=pipe.options.max_answer,
        end=pieces.end,
        asked=[*pipe.scheme.trunk(TEXT), branch.question, *([[*pieces.closing]] if pieces.closing else [])],
    )
    follows = pipe.scheme.follow(branch, "1")
    if not follows:
        return code + _OTHER
    ask = follows[0].question.replace("1", "{ordinal}")
    return code + _COUNT.format(closer=branch.closer[0], ask=ask, label=branch.label)
