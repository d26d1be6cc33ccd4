import json

import pytest

from benchmarks.mapping import main, token_offsets

LINES = [
    # One of two occurrences predicted.
    {"text": "a b a", "pred": {"X": [["a", 0.9]]}, "gold": [[0, 1, "X"], [4, 5, "X"]]},
    # The predicted string stands first inside a longer mention.
    {
        "text": "Bank of China and China",
        "pred": {"ORG": [["Bank of China", 0.8]], "LOC": [["China", 0.7]]},
        "gold": [[0, 13, "ORG"], [18, 23, "LOC"]],
    },
    # "b" under two labels; a surplus "c"; a "z" that is not in the text.
    {
        "text": "b c b",
        "tokens": ["b", "c", "b"],
        "pred": {"X": [["b", 0.5], ["c", 0.5], ["c", 0.4]], "Y": [["b", 0.3], ["z", 0.2]]},
        "gold": [[0, 1, "X"], [4, 5, "Y"]],
    },
    # Repeats, and a key that is not ours.
    {"id": 4, "text": "d d", "pred": {"X": [["d", 1], ["d", 1.0]]}, "gold": [[0, 1, "X"], [2, 3, "X"]]},
]
# Hits, predicted spans; unplaced, surplus, filled. There are 8 gold spans.
FLAT = {
    "ordered": (7, 8, 1, 1, 2),
    "first": (4, 5, 1, 2, 0),
    "all": (7, 9, 1, 1, 4),
    "strict": (5, 6, 1, 1, 0),
}
NESTED = {
    "ordered": (7, 10, 1, 1, 2),
    "first": (4, 7, 1, 2, 0),
    "all": (8, 12, 1, 1, 4),
    "strict": (5, 8, 1, 1, 0),
}


@pytest.fixture
def run(tmp_path, capsys):
    def run(lines, *options):
        path = tmp_path / "predictions.jsonl"
        path.write_text("".join(line if isinstance(line, str) else json.dumps(line) + "\n" for line in lines), "utf8")
        main(["--predictions", str(path), *options])
        return capsys.readouterr().out.splitlines()

    return run


@pytest.mark.parametrize("options, expected", [((), FLAT), (("--nested",), NESTED)])
def test_figures_of_each_policy(run, options, expected):
    figures = json.loads(run(LINES, *options)[-1])
    assert set(figures) == set(expected)
    for policy, (hits, predicted, unplaced, surplus, filled) in expected.items():
        row = figures[policy]
        assert row["span_p"] == pytest.approx(100 * hits / predicted, abs=1e-4)
        assert row["span_r"] == pytest.approx(100 * hits / 8, abs=1e-4)
        assert row["span_f"] == pytest.approx(200 * hits / (predicted + 8), abs=1e-4)
        assert (row["docs"], row["gold"], row["predicted"]) == (4, 8, predicted)
        assert (row["unplaced"], row["surplus"], row["filled"]) == (unplaced, surplus, filled)


def test_string_sets_are_the_same_under_every_policy(run):
    # Distinct (label, string): 6 gold, 8 predicted, 6 of them right.
    for row in json.loads(run(LINES)[-1]).values():
        assert (row["string_set_p"], row["string_set_r"], row["string_set_f"]) == (75.0, 100.0, 85.7143)


def test_one_label_drops_the_worse_label_first(run):
    row = json.loads(run(LINES, "--one-label")[-1])["ordered"]
    # Y loses its "b", so X fills both: 7 of 9 spans; 5 of 7 strings.
    assert (row["predicted"], row["filled"], row["span_f"]) == (9, 3, 82.3529)
    assert row["string_set_f"] == 76.9231


def test_table_has_a_row_for_each_policy(run):
    out = run(LINES)
    assert out[0] == "4 texts, 8 gold spans, spans that do not overlap"
    assert [line.split()[0] for line in out[2:-1]] == ["policy", "ordered", "first", "all", "strict"]
    assert out[3].split() == ["ordered", "87.50", "87.50", "87.50", "85.71", "1", "1", "2"]


@pytest.mark.parametrize(
    "options, tokens, f", [((), {}, 0.0), (("--lang", "zh"), {}, 100.0), ((), {"tokens": 1}, 100.0)]
)
def test_borders_come_from_the_tokens_or_the_tokenizer_never_from_gold(run, options, tokens, f):
    text = "去北京人"
    line = {
        "text": text,
        "pred": {"X": [["北京", 0.9]]},
        "gold": [[1, 3, "X"]],
        **({"tokens": [*text]} if tokens else {}),
    }
    assert json.loads(run([line], *options)[-1])["ordered"]["span_f"] == f


def test_gold_mentions_as_predictions(tmp_path, capsys):
    """The second "b" goes to its place only where the policy looks at the order."""
    line = {"text": "b c b", "tokens": ["b", "c", "b"], "spans": [[0, 1, "X"], [4, 5, "X"], [2, 3, "Y"]]}
    path, output = tmp_path / "gold.jsonl", tmp_path / "out" / "mapping.json"
    path.write_text(json.dumps(line) + "\n", "utf8")
    main(["--gold", str(path), "--output", str(output)])
    figures = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (figures["ordered"]["span_f"], figures["first"]["span_f"]) == (100.0, 80.0)
    written = json.loads(output.read_text("utf8"))
    assert written["policies"] == figures and written["machine"]
    assert "| ordered | 100.00 | 100.00 | 100.00 |" in output.with_suffix(".md").read_text("utf8")


def test_no_prediction_at_all_is_zero_and_not_a_division(run):
    row = json.loads(run([{"text": "a", "pred": {}, "gold": []}])[-1])["ordered"]
    assert (row["span_p"], row["span_r"], row["span_f"], row["string_set_f"]) == (0.0, 0.0, 0.0, 0.0)


@pytest.mark.parametrize(
    "broken",
    [
        '{"text": \n',
        "[]\n",
        "3\n",
        '{"pred": {}, "gold": []}\n',
        '{"text": "a", "gold": []}\n',
        '{"text": "a", "pred": {}}\n',
        '{"text": 1, "pred": {}, "gold": []}\n',
        '{"text": "a", "pred": [], "gold": []}\n',
        '{"text": "a", "pred": {"X": ["a"]}, "gold": []}\n',
        '{"text": "a", "pred": {"X": [["a", "0.5"]]}, "gold": []}\n',
        '{"text": "a", "pred": {"X": [["a", 1.5]]}, "gold": []}\n',
        '{"text": "a", "pred": {"X": [["a", NaN]]}, "gold": []}\n',
        '{"text": "a", "pred": {"X": [[1, 0.5]]}, "gold": []}\n',
        '{"text": "a", "pred": {}, "gold": [[0, 2, "X"]]}\n',
        '{"text": "a", "pred": {}, "gold": [[0, 0, "X"]]}\n',
        '{"text": "a", "pred": {}, "gold": [[0.0, 1.0, "X"]]}\n',
        '{"text": "a", "pred": {}, "gold": [[0, 1]]}\n',
        '{"text": "a", "tokens": ["b"], "pred": {}, "gold": []}\n',
        '{"text": "a b", "tokens": ["a"], "pred": {}, "gold": []}\n',
    ],
)
def test_a_broken_line_is_named(run, broken):
    with pytest.raises(ValueError, match=r"\[P131\] .*predictions\.jsonl, line 3: "):
        run([LINES[0], "\n", broken])


def test_bytes_that_are_no_text_are_named(tmp_path):
    path = tmp_path / "latin1.jsonl"
    path.write_bytes('{"text": "é", "pred": {}, "gold": []}\n'.encode("latin1"))
    with pytest.raises(ValueError, match=r"\[P131\] .*latin1\.jsonl, line 1: "):
        main(["--predictions", str(path)])


def test_a_file_without_predictions_is_refused(run):
    with pytest.raises(ValueError, match=r"\[P132\] .*predictions\.jsonl"):
        run(["\n", "  \n"])


@pytest.mark.parametrize(
    "text, tokens, expected",
    [
        ("a b", ["a", "b"], [(0, 1), (2, 3)]),
        ("ab", ["a", "b"], [(0, 1), (1, 2)]),
        ("a  b ", ["a", " ", "b"], [(0, 1), (3, 4)]),
        ("aa a", ["a", "a", "a"], [(0, 1), (1, 2), (3, 4)]),
        ("", [], []),
        (" ", [" "], []),
    ],
)
def test_token_offsets(text, tokens, expected):
    assert token_offsets(text, tokens) == expected
