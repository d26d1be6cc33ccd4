"""The four functions of the scheme: what is asked, what a perfect model answers, and what is read out of answers."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from spacy_padellm.prompts.chinese import build_chinese_prompt_v1
from spacy_padellm.prompts.compact import build_compact_prompt_v1
from spacy_padellm.prompts.english import build_english_prompt_v1
from spacy_padellm.schemes.padellm import PaDeLLM, build_padellm_v1, read_count
from spacy_padellm.types import Answer, Answered, Branch, Finish, Mention, Scheme

SCHEME = build_padellm_v1(prompt=build_english_prompt_v1())
LABELS = {"PER": "person", "LOC": "place", "ORG": "club"}
GOLD = [Mention("LOC", "Japan", 1), Mention("PER", "Ann", 1), Mention("LOC", "Japan", 2)]


def grow(scheme: PaDeLLM, labels: dict[str, str], gold: list[Mention]) -> list[Answered]:
    """Every question with a perfect answer, each followed by those it opens."""
    answered, waiting = [], scheme.ask(labels)[::-1]
    while waiting:
        branch = waiting.pop()
        text = scheme.answer(branch, gold)
        answered.append(Answered(branch, Answer(text, 0.5 if branch.ordinal else 0.25, Finish.END, 1)))
        waiting += scheme.follow(branch, text)[::-1]
    return answered


def count_of(label: str, text: str, probability: float = 1.0) -> Answered:
    return Answered(Branch("?", label), Answer(text, probability, Finish.END, 1))


def test_it_is_a_scheme():
    assert isinstance(SCHEME, Scheme)


def test_whole_sequences_as_in_the_paper():
    """Trunk, question, answer, question and answer of one path, put together."""
    sequences = []
    for branch, answer in grow(SCHEME, LABELS, GOLD):
        path = branch.question + answer.text
        if branch.parent is not None:
            path = branch.parent.question + SCHEME.answer(branch.parent, GOLD) + path
        sequences.append("".join(SCHEME.trunk("Ann left Japan for Japan")) + path)
    start = "text:\nAnn left Japan for Japan\nentity type:\n"
    assert sequences == [
        start + "person\n\n<num>1",
        start + "person\n\n<num>1\n<mention 1>Ann",
        start + "place\n\n<num>2",
        start + "place\n\n<num>2\n<mention 1>Japan",
        start + "place\n\n<num>2\n<mention 2>Japan",
        start + "club\n\n<num>0",
    ]


def test_chinese_sequence():
    scheme = PaDeLLM(build_chinese_prompt_v1())
    (branch,) = scheme.ask({"PER": scheme.words("PER")})
    (mention,) = scheme.follow(branch, "1")
    whole = [*scheme.trunk("王小明来了"), branch.question, "1", mention.question, "王小明"]
    assert "".join(whole) == "文本:\n王小明来了\n指定NER标签:\n人名\n\n<数量>1\n<第1文段>王小明"


def test_compact_sequence():
    scheme = PaDeLLM(build_compact_prompt_v1())
    branch, _ = scheme.ask({"PER": "person", "LOC": "place"})
    (mention,) = scheme.follow(branch, "1")
    assert branch.closer == mention.question
    whole = [*scheme.trunk("Ann left Japan"), branch.question, "1", mention.question, "Ann"]
    assert "".join(whole) == "\nAnn left Japan\nperson:1#1:Ann"


def test_questions_about_labels():
    branches = SCHEME.ask(LABELS)
    assert [branch.label for branch in branches] == list(LABELS)
    for branch in branches:
        assert (branch.ordinal, branch.parent, branch.copies) == (0, None, False)
        assert branch.closer == "\n<mention 1>"
    assert SCHEME.ask({}) == []


@pytest.mark.parametrize("most, limit", [(9, 3), (99, 4), (100, 5)])
def test_counts_may_have_two_pieces_more_than_digits(most, limit):
    assert PaDeLLM(build_english_prompt_v1(), most).ask(LABELS)[0].limit == limit


def test_questions_about_mentions():
    (branch,) = SCHEME.ask({"LOC": "place"})
    mentions = SCHEME.follow(branch, "3")
    assert [mention.ordinal for mention in mentions] == [1, 2, 3]
    for mention in mentions:
        assert (mention.label, mention.parent, mention.copies, mention.closer) == ("LOC", branch, True, "")
        assert SCHEME.follow(mention, "2") == []


UNREADABLE = ["", "abc", "-1", "+1", "01", "00", "１", "²", "٣", "1.0", " 1", "1 ", "1\n", "1_0", "10" * 10, "1" * 5000]


@pytest.mark.parametrize("text", UNREADABLE)
def test_unreadable_counts_open_nothing_and_are_reported(text):
    assert read_count(text) is None
    (branch,) = SCHEME.ask({"LOC": "place"})
    assert SCHEME.follow(branch, text) == []
    reading = SCHEME.read([count_of("LOC", text), count_of("PER", "0")])
    assert reading.unreadable == (("LOC", text),)
    assert (reading.mentions, reading.counts, reading.over_limit) == ((), {"PER": 0}, ())


@pytest.mark.parametrize("text, count", [("0", 0), ("1", 1), ("10", 10), ("99", 99), ("999999999", 999999999)])
def test_readable_counts(text, count):
    assert read_count(text) == count
    assert SCHEME.read([count_of("LOC", text)]).counts == {"LOC": count}


@given(st.text())
@example("0")
def test_a_count_is_read_only_where_it_is_written_as_python_writes_it(text):
    count = read_count(text)
    assert count is None or str(count) == text


@pytest.mark.parametrize("text", ["4", "100", str(10**8)])
def test_counts_over_the_limit_open_nothing_and_are_reported(text):
    scheme = build_padellm_v1(prompt=build_english_prompt_v1(), max_mentions=3)
    (branch,) = scheme.ask({"LOC": "place"})
    assert scheme.follow(branch, text) == []
    assert len(scheme.follow(branch, "3")) == 3
    reading = scheme.read([count_of("LOC", text)])
    assert reading.over_limit == (("LOC", int(text)),)
    assert (reading.unreadable, reading.counts) == ((), {"LOC": int(text)})
    assert scheme.read([count_of("LOC", "3")]).over_limit == ()


def test_a_count_beyond_any_number_is_unreadable():
    assert SCHEME.read([count_of("LOC", str(10**9))]).unreadable == (("LOC", str(10**9)),)


@given(
    st.lists(
        st.tuples(st.sampled_from(["A", "B", "C"]), st.sampled_from(["Japan", "<num>", "\n<mention 1>", "3", ""])),
        max_size=12,
    )
)
def test_what_a_perfect_model_answers_is_read_as_gold(found):
    gold, counts = [], dict.fromkeys("ABC", 0)
    for label, string in found:
        counts[label] += 1
        gold.append(Mention(label, string, counts[label], score=0.5, count_score=0.25))
    reading = SCHEME.read(grow(SCHEME, {label: label.lower() for label in "ABC"}, gold))
    assert list(reading.mentions) == sorted(gold, key=lambda mention: (mention.label, mention.ordinal))
    assert reading.counts == counts
    assert (reading.unreadable, reading.over_limit) == ((), ())


def test_scores_are_those_of_the_mention_and_of_its_count():
    branch = Branch("?", "LOC")
    reading = SCHEME.read(
        [
            Answered(branch, Answer("2", 0.75, Finish.FOLLOWED, 1)),
            Answered(Branch("!", "LOC", 2, parent=branch), Answer("Syria", 0.5, Finish.END, 1)),
            Answered(Branch("!", "LOC", 1, parent=branch), Answer("Japan", 0.125, Finish.END, 1)),
        ]
    )
    assert reading.mentions == (Mention("LOC", "Japan", 1, 0.125, 0.75), Mention("LOC", "Syria", 2, 0.5, 0.75))


def test_mentions_come_in_the_order_labels_were_asked():
    reading = SCHEME.read(grow(SCHEME, LABELS, GOLD))
    assert [mention.label for mention in reading.mentions] == ["PER", "LOC", "LOC"]


def test_words_are_the_prompts():
    scheme = build_padellm_v1(prompt=build_english_prompt_v1(label_words={"LOC": "location"}))
    assert (scheme.words("LOC"), scheme.words("PER")) == ("location", "PER")


@pytest.mark.parametrize("most", [0, -1])
def test_no_mentions_at_all_is_no_setting(most):
    with pytest.raises(ValueError, match=r"P001.*'max_mentions'.*at least 1"):
        build_padellm_v1(prompt=build_english_prompt_v1(), max_mentions=most)
