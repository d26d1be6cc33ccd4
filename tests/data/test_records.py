import pytest

from spacy_padellm.data.records import Skip, decode, same_but_for_blanks, stop, whole_characters


def cesu_8(text: str) -> bytes:
    """`text` as some programs write it: each surrogate of a pair encoded on its own."""
    units = text.encode("utf-16-be")
    halves = [int.from_bytes(units[at : at + 2], "big") for at in range(0, len(units), 2)]
    return b"".join(chr(half).encode("utf-8", "surrogatepass") for half in halves)


@pytest.mark.parametrize("text", ["", "plain", "Beyoncé", "café 🎵 ok", "全角", "\u2028"])
def test_decode_gives_the_text_back(text):
    assert decode(text.encode()) == text
    assert decode(cesu_8(text)) == text


def test_decode_drops_byte_order_mark_only_at_start():
    assert decode("\ufeffa\ufeffb".encode()) == "a\ufeffb"


def test_decode_refuses_what_is_not_utf_8():
    with pytest.raises(UnicodeDecodeError):
        decode("café".encode("latin-1"))


@pytest.mark.parametrize(
    ("text", "whole"),
    [("\ud83c\udfb5", "🎵"), ("a\ud83c", "a\ufffd"), ("\udfb5b", "\ufffdb"), ("\udfb5\ud83c", "\ufffd\ufffd")],
)
def test_surrogates(text, whole):
    assert whole_characters(text) == whole
    whole.encode()


def test_same_but_for_blanks():
    assert same_but_for_blanks(("a", "b c", "\t"), " ab  c")
    assert not same_but_for_blanks(("a",), "b")


def test_on_error():
    error = ValueError("this")
    with pytest.raises(ValueError, match="this"):
        stop(error)
    skip = Skip()
    skip(error)
    assert skip.messages == ["this"]
