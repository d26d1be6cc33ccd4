"""Completions of all forms are read as the engine would have answered."""

from __future__ import annotations

import math
from typing import Any

import pytest

from spacy_padellm.backends.answers import read_answer
from spacy_padellm.backends.dialects import DIALECTS, dialect_of, read_completion
from spacy_padellm.engine.pieces import Pieces
from spacy_padellm.types import Branch, Finish
from tests.checkpoints import TOKENIZERS, pieces_of

COUNT = Branch("entity type:\nperson\n\n<num>", "person", closer="\n<mention 1>", limit=4)
MENTION = Branch("\n<mention 1>", "person", 1, copies=True)


def vllm(pieces: Pieces, numbers: list[int], *, full: bool = False) -> dict[str, Any]:
    tokenizer = pieces.tokenizer
    return {
        "model": "m",
        "choices": [
            {
                "text": tokenizer.decode([one for one in numbers if one != pieces.end]),
                "token_ids": numbers,
                "finish_reason": "length" if full else "stop",
                "logprobs": {
                    "tokens": [tokenizer.decode([one]) for one in numbers],
                    "token_logprobs": [-0.1] * len(numbers),
                },
            }
        ],
        "usage": {"prompt_tokens": 7, "completion_tokens": len(numbers), "prompt_tokens_details": {"cached_tokens": 5}},
    }


def llama_cpp(pieces: Pieces, numbers: list[int], *, left_out: int = 0) -> dict[str, Any]:
    tokenizer = pieces.tokenizer
    told = numbers[left_out:]
    return {
        "model": "m",
        "choices": [
            {
                "text": tokenizer.decode([one for one in numbers if one != pieces.end]),
                "finish_reason": "stop",
                "logprobs": {
                    "content": [
                        {"id": one, "token": "" if one == pieces.end else tokenizer.decode([one]), "logprob": -0.1}
                        for one in told
                    ]
                },
            }
        ],
        "usage": {"completion_tokens": len(numbers)},
    }


@pytest.mark.parametrize("tokenizer", TOKENIZERS)
@pytest.mark.parametrize("form", [vllm, llama_cpp])
def test_a_count_ends_where_its_mentions_begin(tokenizer: str, form: Any):
    pieces = pieces_of(tokenizer)
    count = pieces.question("12")
    answer, numbers = read_answer(
        read_completion(form(pieces, [*count, *pieces.question(COUNT.closer)[:2]])), COUNT, pieces
    )
    assert (answer.text, numbers, answer.finish) == ("12", count, Finish.FOLLOWED)
    assert answer.probability == pytest.approx(math.exp(-0.1 * len(count)))
    answer, numbers = read_answer(read_completion(form(pieces, [*pieces.question("0"), pieces.end])), COUNT, pieces)
    assert (answer.text, numbers, answer.finish) == ("0", pieces.question("0"), Finish.END)


@pytest.mark.parametrize("tokenizer", TOKENIZERS)
def test_text_alone_is_cut_there_too(tokenizer: str):
    pieces = pieces_of(tokenizer)
    for rest in ("", "\n", "\n<", "\n<mention 1>Ada", " \n<me"):
        told = {"model": "m", "choices": [{"text": f" 2{rest}", "finish_reason": "length"}]}
        answer, numbers = read_answer(read_completion(told), COUNT, pieces)
        assert (answer.text, numbers) == ("2", pieces.question("2")), rest
        assert answer.finish is (Finish.FOLLOWED if rest else Finish.LIMIT)
        assert math.isnan(answer.probability)
    told = {"model": "m", "choices": [{"text": " Ada\nHugo", "finish_reason": "stop"}]}
    answer, _ = read_answer(read_completion(told), MENTION, pieces)
    assert (answer.text, answer.finish) == ("Ada\nHugo", Finish.END)


def test_text_with_probabilities_but_without_numbers():
    pieces = pieces_of("gpt2")
    told = vllm(pieces, [*pieces.question("2"), *pieces.question(COUNT.closer)[:2]])
    del told["choices"][0]["token_ids"]
    answer, _ = read_answer(read_completion(told), COUNT, pieces)
    assert answer.text == "2"
    assert answer.probability == pytest.approx(math.exp(-0.1 * len(pieces.question("2"))))


def test_pieces_that_llama_cpp_leaves_out():
    """A character of several pieces: the text is whole, the probability is that of the pieces told."""
    pieces = pieces_of("gpt2")
    numbers = [*pieces.question("日本"), pieces.end]
    assert len(numbers) > 3
    completion = read_completion(llama_cpp(pieces, numbers, left_out=2))
    answer, _ = read_answer(completion, MENTION, pieces)
    assert (answer.text, completion.n_untold) == ("日本", 2)
    assert answer.probability == pytest.approx(math.exp(-0.1 * (len(numbers) - 3)))
    assert read_completion(vllm(pieces, numbers)).n_untold == 0


def test_a_character_that_llama_cpp_tells_as_its_last_piece():
    pieces = pieces_of("gpt2")
    first, *others = pieces.question("a🦈")
    assert len(others) > 1
    told = llama_cpp(pieces, [first, others[-1], pieces.end])
    told["choices"][0]["text"] = pieces.tokenizer.decode([first, *others])
    told["choices"][0]["logprobs"]["content"][1].update(token="🦈", bytes=[*"🦈".encode()])
    told["usage"]["completion_tokens"] = len(others) + 2
    completion = read_completion(told)
    assert completion.n_untold == len(others) - 1
    answer, numbers = read_answer(completion, MENTION, pieces)
    assert (answer.text, numbers) == ("a🦈", (first, *others))
    assert answer.probability == pytest.approx(math.exp(-0.2))


def test_an_answer_that_is_full_or_empty():
    pieces = pieces_of("gpt2")
    numbers = [*pieces.question("12")]
    answer, _ = read_answer(read_completion(vllm(pieces, numbers, full=True)), COUNT, pieces)
    assert answer.finish is Finish.LIMIT
    answer, numbers_read = read_answer(read_completion(vllm(pieces, [pieces.end])), COUNT, pieces)
    assert (answer.text, numbers_read, answer.probability) == ("", (), 1.0)


def test_what_it_cost():
    completion = read_completion(vllm(pieces_of("gpt2"), [5, 6]))
    assert (completion.n_prompt, completion.n_cached, completion.n_pieces, completion.model) == (7, 5, 2, "m")


@pytest.mark.parametrize(
    "told",
    [None, [], "text", {}, {"choices": []}, {"choices": [{}]}, {"choices": [{"text": 3}]}, {"choices": "text"}],
)
def test_no_completion_p074(told: Any):
    with pytest.raises(ValueError, match="P074"):
        read_completion(told)


def test_dialects():
    assert [dialect_of(owner).name for owner in ("vllm", "sglang", "llamacpp", "me", "")] == [
        *("vllm", "sglang", "llama.cpp"),
        *("plain", "plain"),
    ]
    guides = {name: one.guide and dict(one.guide("g")) for name, one in DIALECTS.items()}
    assert guides == {
        "vllm": {"structured_outputs": {"grammar": "g"}},
        "sglang": {"ebnf": "g"},
        "llama.cpp": {"grammar": "g"},
        "plain": None,
    }
