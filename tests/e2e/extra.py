"""What one extra is for, done with nothing but that extra installed: it must bring all that its command needs.

python -I tests/e2e/extra.py EXTRA     # or "none": then each command must say which extra it lacks
"""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))
# Behind what is installed, so that the checkout's package does not stand in for it.
sys.path.append(str(HERE.parent.parent))

import smallest  # noqa: E402
import spacy  # noqa: E402
from spacy.tokens import DocBin  # noqa: E402

PIPELINE, CORPUS = "pipeline", "corpus.spacy"
"""In the folder of each probe: the trained pipeline, and what it was trained on."""


def python(folder: Path, *args: Any, code: int = 0) -> str:
    """Run a module of this environment. RETURNS (str): All that it printed."""
    command = [sys.executable, "-I", "-m", *map(str, args)]
    ran = subprocess.run(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if ran.returncode != code:
        raise SystemExit(f"{' '.join(command)} ended with {ran.returncode}, not {code}:\n{ran.stdout}")
    return ran.stdout


def padellm(folder: Path, *args: Any, code: int = 0) -> str:
    return python(folder, "spacy", "padellm", *args, code=code)


def same(found: Any, expected: Any, what: str) -> None:
    if found != expected:
        raise SystemExit(f"{what}: expected {expected}, got {found}")


def places(found: list[dict[str, Any]]) -> list[Any]:
    return [one["spans"] for one in found]


def none(folder: Path, expected: list[dict[str, Any]]) -> None:
    """Each command that has an extra says so."""
    server = ["--served", "http://127.0.0.1:9/v1", "--served-name", "tiny"]
    for code, extra, *command in (
        ("P175", "serve", "serve", PIPELINE),
        ("P039", "ray", "annotate", PIPELINE, CORPUS, "out", "--engine", "ray"),
        ("P070", "gguf", "export", PIPELINE, "out", "--gguf"),
        ("P070", "server", "export", PIPELINE, "served", *server),
    ):
        printed = " ".join(padellm(folder, *command, code=1).split())
        same((code in printed, f"spacy-padellm[{extra}]" in printed), (True, True), f"{command}: {printed}")
    padellm(folder, "export", PIPELINE, "merged", "--merged")
    try:
        quantised(folder)
    except Exception as error:
        same("spacy-padellm[quantization]" in str(error), True, f"an error that names its extra, got {error}")
    else:
        raise SystemExit("weights were quantised without bitsandbytes")


def serve(folder: Path, expected: list[dict[str, Any]]) -> None:
    """Ask the service over HTTP, and end it."""
    command = [sys.executable, "-I", "-m", "spacy", "padellm", "serve", PIPELINE, "--port", "0"]
    with subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as served:
        assert served.stdout is not None
        said: list[str] = []
        try:
            for line in served.stdout:
                said.append(line)
                if address := re.search(r"http://[\d.]+:\d+", line):
                    break
            else:
                raise SystemExit(f"the service did not start:\n{''.join(said)}")
            body = json.dumps({"texts": smallest.TEXTS}).encode()
            request = urllib.request.Request(
                f"{address[0]}/annotate", body, {"Content-Type": "application/json", "Accept": "application/json"}
            )
            told = json.load(urllib.request.urlopen(request, timeout=60))
            found = [[[one["start"], one["end"], one["label"]] for one in doc["spans"]] for doc in told["documents"]]
            same(found, places(expected), "the service's answer")
        finally:
            served.send_signal(signal.SIGTERM)
            served.stdout.read()
    same(served.returncode, -signal.SIGTERM, "the service's exit code")


def server(folder: Path, expected: list[dict[str, Any]]) -> None:
    """Ask a model that stands behind HTTP."""
    from spacy_padellm.model.architectures import shim_of
    from tests.servers import StandIn

    nlp = spacy.load(folder / PIPELINE)
    padellm(folder, "export", PIPELINE, "merged", "--merged")
    stand_in = StandIn(folder / "merged", shim_of(nlp.get_pipe("padellm_ner").model).lm.pieces).start()
    padellm(folder, "export", PIPELINE, "served", "--served", stand_in.url, "--served-name", stand_in.name)
    # It takes no grammar, so what the model has not learnt may come out otherwise.
    n_known = len(smallest.GOLD)
    same(places(smallest.annotate(spacy.load(folder / "served")))[:n_known], places(expected)[:n_known], "its answers")
    same(len(stand_in.seen) > n_known, True, "questions put to the server")


def gguf(folder: Path, expected: list[dict[str, Any]]) -> None:
    """Write the file, and read it."""
    padellm(folder, "export", PIPELINE, "out", "--gguf")
    from gguf import GGUFReader

    (file,) = (folder / "out").glob("*.gguf")
    same("token_embd.weight" in {tensor.name for tensor in GGUFReader(file).tensors}, True, "the file's tensors")


def ray(folder: Path, expected: list[dict[str, Any]]) -> None:
    """Annotate a file on a cluster of this machine."""
    lines = "".join(json.dumps({"text": text}) + "\n" for text in smallest.TEXTS)
    (folder / "in.jsonl").write_text(lines, encoding="utf-8")
    engine = ["--engine", "ray", "--workers", 1, "--format", "jsonl"]
    padellm(folder, "annotate", PIPELINE, "in.jsonl", "out", *engine)
    files = sorted((folder / "out" / "documents").iterdir())
    rows = [json.loads(line) for file in files for line in file.read_text(encoding="utf-8").splitlines()]
    found = {row["text"]: [[one["start"], one["end"], one["label"]] for one in row["spans"]] for row in rows}
    same(found, dict(zip(smallest.TEXTS, places(expected), strict=True)), "the cluster's answer")


def devices(folder: Path, expected: list[dict[str, Any]]) -> None:
    """Train in two processes."""
    nlp = spacy.load(folder / PIPELINE)
    config = nlp.config.copy()
    config["initialize"]["components"] = {}
    config["training"].update({"max_steps": 3, "eval_frequency": 3, "seed": 0})
    config["paths"].update({"train": CORPUS, "dev": CORPUS})
    config.to_disk(folder / "config.cfg")
    launch = ["torch.distributed.run", "--standalone", "--nproc-per-node", 2, "-m", "spacy", "padellm"]
    python(folder, *launch, "train", "config.cfg", "--output", "trained")
    same(len(smallest.annotate(spacy.load(folder / "trained" / "model-last"))), len(expected), "texts annotated")


def quantised(folder: Path) -> Any:
    """RETURNS (Language): A pipeline over the merged model in 8 bits, with an adapter."""
    model = {
        **{"@architectures": "spacy-padellm.CausalLM.v1", "name": str(folder / "merged"), "device": "cpu"},
        "lora": {"@misc": "spacy-padellm.LoRA.v1", "rank": 2},
        "quantization": {"quant_method": "bitsandbytes", "load_in_8bit": True},
    }
    nlp = spacy.blank("en")
    nlp.add_pipe("padellm_ner", config={"model": model})
    nlp.initialize(lambda: smallest.examples(nlp))
    return nlp


def quantization(folder: Path, expected: list[dict[str, Any]]) -> None:
    padellm(folder, "export", PIPELINE, "merged", "--merged")
    found = smallest.annotate(quantised(folder))
    same(places(found), places(expected), "the answers of the model in 8 bits")


def spacy_transformers(folder: Path, expected: list[dict[str, Any]]) -> None:
    """The `transformer` component beside this one, in one pipeline."""
    nlp = spacy.load(folder / PIPELINE)
    nlp.add_pipe("transformer", first=True)
    same(nlp.pipe_names, ["transformer", "padellm_ner"], "the pipeline's components")


def docs(folder: Path, expected: list[dict[str, Any]]) -> None:
    """Build the site."""
    python(folder, "sphinx", "-W", "-q", "-b", "html", HERE.parent.parent / "docs", "site")
    same((folder / "site" / "index.html").exists(), True, "a site")


PROBES: dict[str, Callable[[Path, list[dict[str, Any]]], None]] = {
    **{"none": none, "serve": serve, "server": server, "gguf": gguf, "ray": ray, "devices": devices},
    **{"quantization": quantization, "spacy-transformers": spacy_transformers, "docs": docs},
}


def main(names: list[str]) -> None:
    nlp = smallest.train()
    expected = smallest.annotate(nlp)
    for name in names:
        with tempfile.TemporaryDirectory() as made:
            folder = Path(made)
            nlp.to_disk(folder / PIPELINE)
            DocBin(docs=[one.reference for one in smallest.examples(nlp)]).to_disk(folder / CORPUS)
            PROBES[name](folder, expected)
        print(f"{name}: works")


if __name__ == "__main__":
    main(sys.argv[1:])
