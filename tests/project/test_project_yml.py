import hashlib
import re
from pathlib import Path

import pytest
import srsly
from spacy.util import load_config, registry
from weasel.cli.run import project_run
from weasel.schemas import ProjectConfigSchema, validate
from weasel.util import load_project_config, split_command

from spacy_padellm.data.catalogue import CATALOGUE

ROOT = Path(__file__).parents[2]
RAW = srsly.read_yaml(ROOT / "project.yml")
COMMANDS = {command["name"]: command for command in RAW["commands"]}
CONFIGS = sorted(path.stem for path in (ROOT / "project" / "configs").glob("*.cfg") if path.stem != "ner")


def test_project_is_valid(project):
    assert validate(ProjectConfigSchema, RAW) == []
    config = load_project_config(project)
    assert "${" not in str(config["commands"])


@pytest.mark.parametrize("workflow", RAW["workflows"])
def test_workflow_names_commands_in_the_order_they_need(workflow):
    made = {"project/assets"}
    for name in RAW["workflows"][workflow]:
        command = COMMANDS[name]
        needed = {path for path in command["deps"] if not path.startswith(("project/scripts", "project/configs"))}
        there = {str(part) for path in made for part in (Path(path), *Path(path).parents)}
        assert needed <= there, name
        made.update([*command.get("outputs", []), *command.get("outputs_no_cache", [])])


def test_workflows_are_those_of_the_readme():
    assert RAW["workflows"] == {
        "all": ["convert", "debug", "train", "evaluate", "visualize", "package"],
        "compare": ["convert", "first_weights", "train_schemes", "compare_schemes", "report"],
    }


@pytest.mark.parametrize("name", COMMANDS)
def test_command_is_whole(name):
    command = COMMANDS[name]
    assert command["help"]
    assert command["deps"]
    assert command.get("outputs") or command.get("outputs_no_cache") or name == "clean"
    for line in command["script"]:
        assert not re.search(r"[|<>&;*`]|\$\(", line), "commands run without a shell"
        for script in re.findall(r"project/scripts/\S+\.py", line):
            assert script in command["deps"]
    for path in command["deps"]:
        if path.startswith("project/scripts"):
            assert (ROOT / path).is_file()


@pytest.mark.parametrize("name", COMMANDS)
def test_script_gets_only_what_is_declared(name):
    """What a command reads or writes is in its deps or outputs, so that a change makes it run again."""
    command = COMMANDS[name]
    declared = [*command["deps"], *command.get("outputs", []), *command.get("outputs_no_cache", [])]
    if name == "clean":
        return
    for line in command["script"]:
        for argument in split_command(line):
            if argument.startswith("project/"):
                covered = any(Path(argument) in (Path(p), *Path(p).parents) for p in declared)
                assert covered, argument


def test_every_script_belongs_to_a_command():
    scripts = {f"project/scripts/{path.name}" for path in (ROOT / "project" / "scripts").glob("*.py")}
    assert scripts <= {path for command in COMMANDS.values() for path in command["deps"]}


def test_assets_are_the_shipped_files():
    listed = {asset["dest"]: asset for asset in RAW["assets"]}
    for entry in (entry for entry in CATALOGUE.values() if entry.shipped):
        for file in entry:
            asset = listed[f"project/assets/{file.path}"]
            assert (asset["url"], asset["checksum"]) == (file.url, file.md5)
    for dest, asset in listed.items():
        assert hashlib.md5((ROOT / dest).read_bytes()).hexdigest() == asset["checksum"]


def test_dry_run(project, capfd):
    for command in ("convert", "clean"):
        project_run(project, command, dry=True, overrides={"vars.dataset": "snips_weather"})
    out, _ = capfd.readouterr()
    assert "convert.py snips_weather" in out


@pytest.mark.parametrize("name", CONFIGS)
def test_config_takes_what_train_gives(name):
    overrides = {"paths.train": "a", "paths.dev": "b", "paths.labels": "c", "system.seed": 3, "nlp.lang": "de"}
    config = load_config(ROOT / "project" / "configs" / f"{name}.cfg", overrides=overrides, interpolate=True)
    assert config["nlp"]["pipeline"] == ["padellm_ner"]
    assert config["corpora"]["train"]["path"] == "a"
    assert config["corpora"]["dev"]["path"] == "b"
    assert config["initialize"]["components"]["padellm_ner"]["labels"]["path"] == "c"
    assert config["training"]["seed"] == 3


def test_comment_names_every_data_set():
    comment = (ROOT / "project.yml").read_text(encoding="utf-8").partition("  dataset:")[0]
    readme = (ROOT / "project" / "README.md").read_text(encoding="utf-8")
    for name in CATALOGUE:
        family, _, domain = name.partition("_") if name.startswith("crossner") else (name, "", "")
        assert family in comment and domain in comment, name
        assert f"`{name}`" in readme, name


@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize("prompt", ["English", "Chinese", "Compact"])
def test_prompt_can_be_chosen(name, prompt):
    overrides = {"components.padellm_ner.scheme.prompt.@misc": f"spacy-padellm.{prompt}Prompt.v1"}
    config = load_config(ROOT / "project" / "configs" / f"{name}.cfg", overrides=overrides)
    built = registry.resolve({"prompt": config["components"]["padellm_ner"]["scheme"]["prompt"]})["prompt"]
    assert built.after_label.endswith({"English": "<num>", "Chinese": "<数量>", "Compact": ":"}[prompt])


@pytest.mark.parametrize("name", [name for name in CONFIGS if name.startswith("zero_shot")])
def test_zero_shot_configs_draw_labels_and_take_those_of_training(name):
    overrides = {"paths.train_labels": "d", "paths.labels": "c"}
    config = load_config(ROOT / "project" / "configs" / f"{name}.cfg", overrides=overrides, interpolate=True)
    blocks = config["initialize"]["components"]["padellm_ner"]
    assert (blocks["train_labels"]["path"], blocks["labels"]["path"]) == ("d", "c")
    draw = registry.resolve({"draw": config["components"]["padellm_ner"]["label_draw"]})["draw"]
    assert draw.absent > 0 and draw.ratio > 0


def test_default_config_exists():
    assert RAW["vars"]["zero_shot_config"] in CONFIGS
    assert (ROOT / "project" / "assets" / RAW["vars"]["zero_shot_train"] / "labels.json").is_file()
    assert RAW["vars"]["config"] in CONFIGS
    assert RAW["vars"]["dataset"] in CATALOGUE


def test_documentation_is_current(tmp_path):
    """`python -m spacy project document --output project/README.md` was run after the last change."""
    text = (ROOT / "project" / "README.md").read_text(encoding="utf-8")
    for command in COMMANDS.values():
        assert f"| `{command['name']}` | {command['help']} |" in text
    for asset in RAW["assets"]:
        assert f"`{asset['dest']}`" in text or f"({asset['dest']})" in text
