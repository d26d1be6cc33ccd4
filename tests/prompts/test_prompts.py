"""The paper's formats and our compact one, character by character (DESIGN 3)."""

import pytest

from spacy_padellm.prompts.chinese import LABEL_WORDS, build_chinese_prompt_v1
from spacy_padellm.prompts.compact import build_compact_prompt_v1
from spacy_padellm.prompts.english import build_english_prompt_v1
from spacy_padellm.prompts.template import Prompt
from spacy_padellm.types import Wording


def test_english():
    prompt = build_english_prompt_v1()
    assert "".join(prompt.trunk("Japan won")) == "text:\nJapan won\n"
    assert prompt.ask_label("person") == "entity type:\nperson\n\n<num>"
    assert prompt.ask_mention(1) == "\n<mention 1>"
    assert prompt.ask_mention(12) == "\n<mention 12>"
    assert prompt.ask_list("person") == "entity type:\nperson\n\n<mentions>"
    assert prompt.ask_pairs(["person", "place"]) == "entity types:\nperson, place\n\n<entities>"
    assert prompt.ask_marked(["person", "place"]) == "entity types:\nperson, place\n\n<marked text>"


def test_chinese():
    prompt = build_chinese_prompt_v1()
    assert "".join(prompt.trunk("中国队获胜")) == "文本:\n中国队获胜\n"
    assert prompt.ask_label("人名") == "指定NER标签:\n人名\n\n<数量>"
    assert prompt.ask_mention(1) == "\n<第1文段>"
    assert prompt.ask_mention(12) == "\n<第12文段>"
    assert prompt.ask_list("人名") == "指定NER标签:\n人名\n\n<文段>"
    assert prompt.ask_pairs(["人名", "地名"]) == "指定NER标签:\n人名、地名\n\n<实体>"
    assert prompt.ask_marked(["人名", "地名"]) == "指定NER标签:\n人名、地名\n\n<标注文本>"


def test_compact():
    prompt = build_compact_prompt_v1()
    assert "".join(prompt.trunk("Japan won")) == "\nJapan won\n"
    assert prompt.ask_label("person") == "person:"
    assert prompt.ask_mention(1) == "#1:"
    assert prompt.ask_mention(12) == "#12:"
    assert prompt.ask_list("person") == "person="
    assert prompt.ask_pairs(["person", "place"]) == "person, place->"
    assert prompt.ask_marked(["person", "place"]) == "person, place=>"


BUILDERS = [build_english_prompt_v1, build_chinese_prompt_v1, build_compact_prompt_v1]


@pytest.mark.parametrize("build", BUILDERS)
def test_the_text_is_a_segment_of_its_own(build):
    for text in ("Japan", "", "text:\n", "\n", "<num>"):
        before, middle, after = build().trunk(text)
        assert middle == text
        assert (before, after) == (build().before_text, build().after_text)


@pytest.mark.parametrize("build", BUILDERS)
def test_the_text_may_stand_in_the_trunk_again(build):
    once, twice = build(), build(repeat_text=2)
    assert twice.trunk("Japan") == once.trunk("Japan") * 2
    assert once.repeat_text == 1


@pytest.mark.parametrize("build", BUILDERS)
def test_a_trunk_without_the_text_p001(build):
    with pytest.raises(ValueError, match=r"\[P001\].*repeat_text.*at least 1, got 0"):
        build(repeat_text=0)


def test_words_for_labels():
    prompt = build_english_prompt_v1(label_words={"LOC": "location"})
    assert (prompt.words("LOC"), prompt.words("PER")) == ("location", "PER")
    chinese = build_chinese_prompt_v1(label_words={"LOC": "地点", "X": "新"})
    assert [chinese.words(label) for label in ("LOC", "X", "PER", "Y")] == ["地点", "新", "人名", "Y"]
    assert LABEL_WORDS["LOC"] == "地名"
    assert build_chinese_prompt_v1().words("LOC") == "地名"


def test_label_words_given_are_not_shared():
    words = {"LOC": "location"}
    prompt = build_english_prompt_v1(label_words=words)
    words["LOC"] = "changed"
    assert prompt.words("LOC") == "location"


def test_a_prompt_of_ones_own():
    prompt = Prompt("<", ">", "[", "]", "{", "}", "/", "(", "+", ")", "*")
    assert (prompt.trunk("t"), prompt.ask_label("l"), prompt.ask_mention(3)) == (("<", "t", ">"), "[l]", "{3}")
    assert (prompt.ask_list("l"), prompt.ask_pairs(["l", "m"]), prompt.ask_marked(["l"])) == ("[l/", "(l+m)", "(l*")


# Labels that are explained

FULL = Wording("person", "somebody with a name", ("Ada", "Hugo"))


@pytest.mark.parametrize(
    ("build", "explained"),
    [
        (build_english_prompt_v1, "person: somebody with a name (e.g. Ada, Hugo)"),
        (build_chinese_prompt_v1, "person：somebody with a name（例如：Ada、Hugo）"),
        (build_compact_prompt_v1, "person - somebody with a name (Ada, Hugo)"),
    ],
)
def test_a_label_with_description_and_examples(build, explained):
    prompt = build()
    assert prompt.explain(FULL) == explained
    assert prompt.ask_label(FULL) == prompt.ask_label(explained)
    assert prompt.ask_list(FULL) == prompt.ask_list(explained)
    # Commas of a description would run into those between labels.
    for ask in (prompt.ask_pairs, prompt.ask_marked):
        assert ask([FULL, "place"]) == ask([f"{explained}\nplace"])


def test_a_label_with_one_of_them():
    prompt = build_english_prompt_v1()
    assert prompt.explain(Wording("person", "somebody")) == "person: somebody"
    assert prompt.explain(Wording("person", examples=("Ada",))) == "person (e.g. Ada)"


@pytest.mark.parametrize("build", BUILDERS)
def test_a_label_with_neither_is_asked_as_its_words_are(build):
    prompt = build()
    assert prompt.explain(Wording("person")) == "person"
    for ask in (prompt.ask_pairs, prompt.ask_marked):
        assert ask([Wording("person"), "place"]) == ask(["person", "place"])
    assert prompt.ask_label(Wording("person")) == prompt.ask_label("person")
