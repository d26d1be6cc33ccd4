import pytest

from spacy_padellm.data.records import Record
from spacy_padellm.data.splits import count_doubles, sameness, take_dev, without_doubles


def records(*texts):
    return [Record(text) for text in texts]


@pytest.mark.parametrize(
    ("length", "size", "taken"),
    [(10, 2, [4, 9]), (11, 2, [4, 9]), (5, 4, [0, 1, 2, 3]), (3, 0, []), (7, 3, [1, 3, 5])],
)
def test_take_dev_takes_the_last_of_each_stretch(length, size, taken):
    given = records(*map(str, range(length)))
    train, dev = take_dev(given, size, name="a")
    assert [record.text for record in dev] == [str(index) for index in taken]
    assert [record.text for record in train] == [str(index) for index in range(length) if index not in taken]


def test_take_dev_of_too_few():
    with pytest.raises(ValueError, match=r"\[P111\] .*'mine' has 2 .*too few to take 2"):
        take_dev(records("a", "b"), 2, name="mine")


def test_doubles():
    train = records("One  film", "one film ", "two", "three", "three", "four")
    dev, test = records("TWO", "two", "new"), records("four", "newer")
    assert sameness(" One\nfilm") == "one film"
    assert count_doubles(train, dev, test) == (2, 2, 1)
    assert [record.text for record in without_doubles(train, dev, test)] == ["One  film", "three"]
    assert without_doubles([]) == []
