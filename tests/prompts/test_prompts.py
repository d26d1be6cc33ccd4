"""The paper's formats and our compact one, character by character (DESIGN 3)."""

import pytest

from spacy_padellm.prompts.chinese import LABEL_WORDS, build_chinese_prompt_v1
from spacy_padellm.prompts.compact import build_compact_prompt_v1
from spacy_padellm.prompts.english import build_english_prompt_v1
from spacy_padellm.prompts.template import Prompt


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
