"""Every error and warning a user can meet, by code. Raise as `ValueError(Errors.P001.format(...))`."""

from __future__ import annotations

from typing import Any


class Message(str):
    """A message template that puts its code in front when formatted."""

    code: str

    def format(self, *args: Any, **values: Any) -> str:
        return f"[{self.code}] {super().format(*args, **values)}"


class Coded(type):
    """Turns the strings of a class into messages that carry the name they are bound to as their code."""

    def __new__(cls, name: str, bases: tuple[type, ...], namespace: dict[str, Any]) -> Coded:
        for code, text in namespace.items():
            if isinstance(text, str) and not code.startswith("_"):
                namespace[code] = Message(text)
                namespace[code].code = code
        return super().__new__(cls, name, bases, namespace)


class Warnings(metaclass=Coded):
    """Codes W001 to W099: the work goes on, and what was lost or changed is counted."""

    # W001-W019: pipeline and schemes; W020-W039: spans; W040-W059: files and examples.
    W001 = "Not everything the model answered became a span: {lost}. For instance {example}."
    W002 = "No training example has these labels, so the model will learn to answer 0 for them: {labels}."
    W003 = "The training examples have labels that are not asked about, and their mentions are left out: {labels}."
    W004 = (
        "{count} of {mentions} gold mentions cannot be written in the answers of this scheme and are left out. For "
        "instance {example}."
    )
    W005 = (
        "Out of memory with {documents} documents in flight. They begin anew, and the stream goes on with at most "
        "{limit} at once, and fewer if that is still too much. A smaller batch_size, max_row or kv_bytes avoids this."
    )
    W008 = (
        "The steps of this model cannot be captured as CUDA graphs, so they are launched kernel by kernel: {reason}. "
        "Set 'cuda_graphs' to false to be spared this."
    )
    W010 = (
        "{documents} of {seen} documents are longer than {limit} pieces and were read in {windows} windows. "
        "doc.spans['{spans_key}'].attrs['windows'] of each says from where to where they reach. Set 'strict' to true "
        "to refuse such documents."
    )
    W011 = (
        "{count} of {mentions} gold mentions lie whole in none of the windows that their texts are cut into. They are "
        "left out, and so will others be without a further word. For instance {example}. Raise 'window' or "
        "'window_overlap', or annotate sentences, at whose ends texts are cut."
    )
    W012 = (
        "The modules of '{name}' cannot be copied, so every pipe that uses it has the base model's weights for itself: "
        "{reason}."
    )
    W040 = "{path}: {count} broken records were left out. The first: {first}"
    W041 = "{count} of {mentions} mentions were left out: {reasons}."
    W042 = (
        "{count} of the first {docs} training documents are larger than a batch of {size} pieces (by estimate; the "
        "largest has {largest}), and {treated}. Those behind them are treated alike without a further word. Raise "
        "'size', or split the documents."
    )
    # W060-W069: evaluation.
    W060 = (
        "{count} of {docs} documents in {path} were left out, because they have no gold annotation: neither "
        "doc.spans['{spans_key}'] nor doc.ents."
    )
    # W070-W079: training that goes on.
    W070 = (
        "{path} has no checkpoint beside it, so training goes on from its weights (averaged ones, if the optimizer "
        "averages), and all else begins anew: the optimizer's moments, schedules and steps, and the order of the "
        "examples. 'model-best' is replaced once its score is reached again."
    )
    W071 = (
        "The checkpoint was written with other versions, so training may go on a little differently than it would have "
        "without a break: {differences}."
    )
    # W080-W089: models for other engines, and models on servers.
    W080 = (
        "The tokenizer of '{name}' cuts texts in a way that llama.cpp has no name for, so that llama.cpp itself may "
        'cut a text otherwise. Give it the numbers of pieces, as the architecture "spacy-padellm.CompletionsServer.v1" '
        "does."
    )
    W081 = "The server at {url} {lacks}."
    W083 = (
        "The server told no probability of {count} of {total} pieces, which are parts of characters: the scores of "
        "mentions with such characters leave them out."
    )
    W082 = (
        "The server cut {count} of {total} prompts into another number of pieces than training did: answers may differ "
        "from those of the model here. A server that takes numbers of pieces does not."
    )


class Errors(metaclass=Coded):
    """Codes P001 to P199. Each says what was expected, what came and what to do."""

    # P001-P099: configuration, models, engine, pipeline.
    P001 = "Setting '{name}': expected {expected}, got {got!r}."
    P010 = (
        "The model of padellm_ner has no weights yet. Call nlp.initialize(), train the pipeline, or load a trained one."
    )
    P011 = (
        "The pipe '{name}' has no labels. Annotate entities in the training data, give 'labels' in "
        "[initialize.components.{name}], or call add_label()."
    )
    P012 = (
        "Training on a GPU needs cupy, which spaCy's optimizer works with, and it is not installed. Install it "
        "(for instance spacy[cuda12x]), or set 'device' to \"cpu\"."
    )
    P013 = (
        "A GPU cannot be used in forked processes (n_process > 1). Use n_process=1 with a larger batch_size, or set "
        "'device' to \"cpu\"."
    )
    P014 = "The file {name} ({size} bytes) is too large for a message; use to_disk() for this model."
    P015 = "A label must be a string that is not blank, got {label!r}."
    P016 = (
        'Expected labels as a list of names, as {{"name": "words in the prompt"}} or as {{"name": {{"words": ..., '
        """"description": ..., "examples": [...], "colour": ..., "threshold": ...}}}}, got {got}."""
    )
    P017 = (
        "The labels {first!r} and {second!r} have the same words in the prompt: {words!r}. This scheme tells labels "
        "apart by their words alone; give one of them other words."
    )
    P018 = (
        "The gold mention {string!r} ({label}) has no place. This scheme marks mentions in the text itself, so each "
        "needs 'start', its offset in the text."
    )
    P020 = (
        "The tokenizer of '{name}' ({kind}, end of sequence {end!r}) cannot be used: expected a fast tokenizer "
        "(tokenizer.json) with an end-of-sequence token. Convert it, or set 'eos_token' in its tokenizer_config.json."
    )
    P021 = (
        "The model was called without its forest. Models loaded for padellm_ner attend only within the component; "
        "load them again with another 'attn_implementation' to use them alone."
    )
    P022 = "This model needs {kind}, which the forest's attention does not support. Choose a model of another family."
    P023 = (
        "A text with its questions needs {got} positions, but the model has {limit}. Split the text, for instance "
        "into sentences, or use a model with more positions. The text begins: {text!r}"
    )
    P024 = (
        "The model's output is not a finite number. Check its weights and its dtype: float16 overflows in models "
        "that were trained in bfloat16."
    )
    P025 = (
        "Models of the family '{family}' cannot be used: '{name}' failed the check that a packed tree equals its "
        "paths run alone: {reason}. Choose a model of another family; Llama, Qwen2, Qwen3 and Mistral pass."
    )
    P026 = 'The device {device!r} was asked for, but torch sees no GPU. Set \'device\' to "auto" or "cpu".'
    P027 = (
        "The {what} '{name}' could not be loaded: {reason}. Expected a hub id, or a local folder with config.json, "
        "*.safetensors and tokenizer.json."
    )
    P028 = (
        "The training loss is {loss}, not a finite number, so the weights were left as they are after the last update. "
        "Lower the learning rate, clip gradients (grad_clip = 1.0), or load the base model in float32."
    )
    P029 = (
        "torch.compile could not compile the model's layers: {reason}. Set 'compile_layers' to false, or give torch "
        "what it compiles with: a C++ compiler, and triton on a GPU."
    )
    P036 = (
        "The chat template of '{name}' cannot be used: {reason}. Expected a template that takes a user's turn and an "
        "answer (and a system turn, if 'chat.system' is set). Mend 'model.chat', or set it to null: plain text."
    )
    P037 = (
        "The model '{name}' was trained {trained}, but 'model.chat' says {asked}: it would be asked other than it was "
        "trained. Set 'model.chat' as it was."
    )

    P030 = (
        "The weights of the base model of the pipe '{name}' are quantised ({method}), so the adapter cannot be merged "
        "into them as they are. {advice}"
    )
    P031 = (
        "The model of this pipe is frozen ('frozen' is true), so it cannot be trained. Leave the pipe out of the "
        "training with frozen_components, give the model an adapter, or set 'frozen' to false with dtype = \"float32\"."
    )
    P032 = "Expected exactly one of --merged, --adapter, --pipeline, --gguf and --served, got {got}."
    P033 = "{path}: expected a folder to write to that is new or empty, got {got}. {advice}"
    P034 = (
        "The pipe {name!r} cannot be exported: {problem}. The pipeline's padellm_ner pipes are: {pipes}. Name one with "
        "--pipe."
    )
    P035 = (
        "The adapter '{name}' cannot be used with the base model '{base}': {problem}. Expected the hub id or folder of "
        "a plain LoRA adapter of PEFT, with adapter_config.json and adapter_model.safetensors, that was made for this "
        "base model."
    )

    P038 = (
        "The base model '{name}' is not the one that this pipeline was trained over: its weights are others. Put the "
        "same model there, or name it with its 'revision'; a pipeline that is self-contained brings its base along."
    )

    # P039-P049: a corpus on a cluster.
    P039 = 'The engine "ray" needs the packages of an extra: pip install "spacy-padellm[ray]" ({problem}).'
    P040 = (
        "The option {option} belongs to the engine {other!r}, but this command runs with {engine!r}. Leave it out, or "
        "choose with --engine."
    )
    P041 = (
        "The address {address!r} cannot be opened: {problem}. Expected a path, or an address that pyarrow or fsspec "
        "knows; some need a further package (s3fs, gcsfs, adlfs)."
    )
    P042 = "{path}: expected a file that ends in {suffixes}, or a folder with such files; there is none."
    P043 = (
        "A worker has no pipeline {name!r}: neither a folder of that name nor an installed package. Put it on every "
        "machine under the same path, on a shared one, or install it there as a package."
    )
    P044 = (
        "The job failed: {problem}. What is in {output} stays, and the same command goes on from there. Ray's logs say "
        "more; a block whose worker was killed again and again may need another machine or a smaller --batch-size."
    )
    P045 = (
        "The output in {path} is damaged: it has {rows} rows, and the ids of {ids}. Two jobs may have written to it at "
        "once. Move the folder away and begin anew."
    )
    P046 = "There is no cluster at {address!r}: {problem}. Start one with 'ray start --head', or leave --address out."
    P047 = (
        "Expected {expected:g} GPUs for each worker (--gpus-per-worker), but Ray finds {got:g} on this machine. Leave "
        "the option out, or name a cluster that has them with --address."
    )
    P049 = "{path} is not a Parquet file, or a damaged one: {problem}."
    # P050-P059: training by several processes.
    P050 = (
        'Training by several processes needs the package of an extra: pip install "spacy-padellm[devices]" ({problem}).'
    )
    P051 = (
        "The environment speaks of {expected} processes (WORLD_SIZE), but does not say how they meet: {missing} is not "
        "set. Start them with torchrun or accelerate launch, or unset WORLD_SIZE to train with one."
    )
    P052 = (
        "This is process number {place} on this machine, which has {gpus} GPUs: each process needs one of its own. "
        "Start at most {gpus}, or hide the GPUs (CUDA_VISIBLE_DEVICES=) to train on the CPU."
    )
    P053 = (
        "The config puts the model on {device}, but this process trains on cuda:{own}. Set 'device' to \"auto\": the "
        "launcher gives each process a GPU of its own."
    )
    P054 = (
        "The weights of the pipe '{name}' are not the same in all processes before the first update. Give all of them "
        "the same base model, config, corpus and packages."
    )
    P055 = (
        "The processes read different batches. Give all of them the same corpus, and augmenters and batchers that draw "
        "from 'random' or a seed of their own."
    )

    P056 = (
        "--shard divides a model among several processes, but this is a single one. Start it with torchrun or "
        "accelerate launch, or leave --shard out."
    )
    P057 = "This model cannot be trained in parts (--shard): {reason}."
    P058 = (
        "The pipe '{name}' is one of 'annotating_components', which would need its whole model in every update, but "
        "--shard leaves a part of it to each process. Leave one of the two out."
    )
    # P060-P069: sharing on the hub.
    P060 = "Expected exactly one of --pipeline, --adapter, --merged and --as-is, got {got}."
    P061 = (
        "{repo!r} is no name of a repository: {problem}. Expected OWNER/NAME with your user name or an organisation of "
        "yours, for instance ada/film-names."
    )
    P062 = "There is no token to push with: {problem}. {advice}"
    P063 = (
        "The hub refuses this ({status}): {problem}. Is the token valid, may it write, and may you write to {repo}? "
        "Log in anew with `hf auth login`, or name the environment variable of another token with --token-name."
    )
    P064 = "The hub at {endpoint} cannot be reached, or fails: {problem}. Try again; what it has is not sent twice."
    P065 = (
        "No licence that could be stated, got {got!r}. Expected --licence with the hub's short name of one, "
        "such as mit; else 'license' of the pipeline's meta.json counts. Mind those of the base model and the data."
    )
    P066 = (
        "The figures in {path} cannot be used: {problem}. Expected a file that `padellm evaluate MODEL DATA --output "
        "FILE` wrote."
    )
    P067 = (
        "The figures in {path} are those of another pipeline: {problem}. Evaluate this one, and name the file that "
        "comes of it with --metrics."
    )
    P068 = (
        "The pipe '{name}' needs its base model, which is a folder that nobody else has ({base}). If the hub has the "
        "same model, name it with --base-model; else push the model whole, with --pipeline or --merged."
    )
    P069 = "The hub does not take this ({status}): {problem}."
    # P070-P079: models for other engines, and models on servers.
    P070 = '{what} needs the packages of an extra: pip install "spacy-padellm[{extra}]" ({problem}).'
    P071 = (
        "The model of the pipe '{name}' cannot be written as GGUF: {problem}. Export it with --merged, and convert "
        "that folder with llama.cpp's own convert_hf_to_gguf.py, which knows more models."
    )
    P072 = (
        "The server at {url} cannot be asked: {reason}. Expected an OpenAI-compatible server with /models and "
        "/completions. See that it runs, that 'base_url' ends before /completions, and that 'served_name' is what it "
        "calls the model."
    )
    P073 = "The server at {url} gave no answer; attempts: {attempts}; the last one: {reason}."
    P074 = "Expected a completion (an object with 'choices' that have a 'text'), got {got}."
    P075 = (
        "The server at {url} has another model than the one that this pipe is for: {problem}. Load the model that was "
        "exported from this pipeline, or name it with 'served_name'."
    )
    P076 = (
        "The environment variable '{name}', which 'api_key_env' names, {problem}, so the server gets no key. Set it to "
        "the key alone where the pipeline runs."
    )
    P077 = "The server at {url} cannot be asked with {what}: {instead}."
    P078 = (
        "The model of this pipe is on a server ({url}): it is not trained and not exported here. Leave the pipe out of "
        "training with frozen_components, or use the pipeline that the model came from."
    )
    P079 = "{url} refused a request with status {status}: {told}"
    P080 = (
        "The server tells no probabilities, and {what} needs them. Take a server that tells log-probabilities, or go "
        "without: 'threshold' 0, also of labels, no calibration, 'one_label_per_string' false."
    )

    # P100-P129: files and converters.
    P100 = (
        "{path}, line {line}: {problem}. Expected one JSON object a line: "
        '{{"text": str, "spans": [[start, end, label], ...]}}, with "tokens": [str, ...] if the tokens are known. '
        "Mend the line, or leave broken lines out with --on-error skip."
    )
    P101 = (
        "{path}, line {line}, column {column}: not JSON: {problem}. The rest of the file cannot be read. If it is of "
        "another format, name that with --format."
    )
    P102 = (
        '{path}, query {query}: {problem}. Expected {{"data": [{{"text": str}}, {{"text": str, "entity": label}}, '
        "...]}}. Mend the query, or leave broken queries out with --on-error skip."
    )
    P103 = (
        "{path}: expected {{intent: [query, ...]}}, as SNIPS files are published, got {got}. Name another format with "
        "--format."
    )
    P104 = "There is no format {name!r}. Choose one of: {names}."
    P105 = "{path}: no records came out of it. {skipped} were left out as broken."
    P106 = "{path}, line {line}: not UTF-8: {problem}."
    P107 = "There is no policy {policy!r} for mentions off token borders. Choose one of: {policies}."
    P108 = "There is no data set {name!r}. Choose one of: {names}."
    P109 = "{path} is not a .spacy file, or a damaged one: {problem}. Write it anew with 'spacy padellm convert'."
    P110 = "{path}: expected a .spacy file, a folder of them, or a .cfg file with [corpora], got {got}."
    P111 = "The data set '{name}' has {got} training texts, too few to take {size} of them for the dev part."
    P112 = "{path}: the file is not the one that was published: its MD5 is {got}, expected {expected}."
    P113 = (
        "{path}, line {line}: {problem}. Expected {expected}. Mend the file, or leave broken records out with "
        "--on-error skip."
    )
    P114 = "{path}: {problem}. Mend the file, or leave broken ones out with --on-error skip."
    P115 = "The data set '{name}' lacks files. Get {files}.{obtain} Its licence: {licence}."
    P116 = (
        "{path}: the labels cannot be read: {problem}. Expected a JSON list of names or an object of names with their "
        "words in the prompt; leave the path out to take the labels of the training examples."
    )
    P117 = (
        "The ways to train do not have the same loss, so their costs cannot be compared: {losses}. Expected one loss; "
        "use a model whose own attention sees what the forest's sees."
    )

    # P130-P149: spans and benchmarks input.
    P130 = "There is no placing policy {policy!r}. Choose one of: {policies}."
    P131 = (
        "{path}, line {line}: {problem}. Expected one JSON object a line: "
        '{{"text": str, "pred": {{label: [[string, probability], ...]}}, "gold": [[start, end, label], ...]}}, '
        'with "tokens": [str, ...] if the tokens are known.'
    )
    P132 = "{path} has no predictions: every line is blank. Expected one JSON object a line."
    P133 = (
        "The settings in {got!r} cannot be read: {problem}. Expected a factory and a JSON object, as "
        """'spancat={{"threshold": 0.4}}'."""
    )
    P134 = (
        "There is no pipeline or factory {name!r}. Expected an installed package, a folder with a meta.json, or a "
        "registered factory: 'ner', or 'spancat={{...}}' with its settings."
    )
    P135 = "A run needs documents: {path} has none with a token. Expected one JSON object a line."

    # P150-P159: evaluation.
    P150 = "{path}: expected a .spacy file or a folder of them, got {got}."
    P151 = (
        "{path}: none of its {docs} documents has gold annotation: neither doc.spans['{spans_key}'] nor doc.ents. "
        "Name the span group with --spans-key."
    )
    P152 = "{path}: nothing to score: {got}."
    P153 = (
        "The pipeline changed the text {gold!r} to {predicted!r}, so that its spans cannot be compared with gold. "
        "Use a tokenizer that keeps the text."
    )
    P154 = "There is no pipeline '{name}': neither a folder of that name nor an installed package."
    P155 = (
        "Labels were given, but the pipeline has no padellm_ner pipe that could be asked about them; it has {pipes}. "
        "Leave --labels out, or choose another pipeline."
    )

    # P156-P159, more from P185 on: annotating files.
    P156 = "{path}: expected a .txt, .jsonl, .csv or .spacy file, or a folder of them, got {got}."
    P157 = (
        "{path}: expected a first line with the columns' names, each once, {field!r} among them, got {columns}. Name "
        "the column of the texts with --field."
    )
    P158 = (
        "{path}: expected a folder to write to that is new or empty or holds output of the same command, got {got}. "
        "Name another folder."
    )
    P159 = (
        "{path} holds output of another command, which goes on only with what it began with. What differs: "
        "{differences}. Name another folder, or give the same again."
    )

    # P160-P165: seeing what a pipe does, and looking at gold.
    P160 = "There is no padellm_ner pipe {name!r}; the pipeline has {pipes}. Name one that it has with --pipe."

    # P170-P174: benchmarks on documents made to measure.
    P170 = (
        "A document of {words} words that is asked about {labels} labels cannot have {mentions} mentions: expected one "
        "word at least, at most one mention a word, and at most {most} a label."
    )
    P171 = "--{axis} takes whole numbers of at least {least}, got {got}."

    # P175-P179: the service.
    P175 = "The command 'serve' needs the packages of an extra: pip install \"spacy-padellm[serve]\" ({problem})."
    P176 = "Too many texts are waiting ({waiting}). Try again in a moment, or send fewer at once."
    P177 = "The service is shutting down: it finishes what it has accepted and takes nothing more."
    P178 = "The answer took longer than {seconds} seconds. Send shorter texts or fewer labels, or try again later."
    P179 = "The request has {got} {what}, at most {limit} are taken. Send less at once."

    # P180-P181: long texts.
    P180 = (
        "A single token has {got} pieces, more than the {limit} of a window: no window can hold it. Raise 'window', or "
        "use a tokenizer that splits it. It begins: {token!r}"
    )
    P181 = (
        "A text has {got} pieces, more than the {limit} that 'window' allows, and 'strict' is set. Split the text, "
        "raise 'window', or set 'strict' to false to have it read in windows. The text begins: {text!r}"
    )

    # P182-P184: the service, on.
    P182 = (
        "The service cannot listen at {host}, port {port}: {problem}. Give an address of this machine with --host, "
        "and a port with --port that nobody has, 0 for any."
    )

    # P185-P189: annotating files.
    P185 = "{path} is being written to by another process. Wait for it, or name another folder."
    P186 = "The output in {path} is damaged: {problem}. Move the folder away and begin anew."
    P187 = (
        "A pipe gives back other documents than it got, so that nobody can say which text they belong to. The text "
        "begins: {text!r}. Leave the pipe out, or let it change the document that it is given."
    )
    P188 = "No pipe reported an error, but the pipeline did not give this document back."
    # P190-P195: what is said about labels, and how sure mentions are.
    P190 = (
        "The label {label!r}: {problem}. Expected 'words' and 'description' as strings that are not blank, 'examples' "
        "as a list of such strings, 'colour' as CSS has it (\"#ffd966\"), and 'threshold' as a number from 0 to 1."
    )
    P191 = (
        "The labels of a document are to be found in its context under {key!r}, but the context is of type {got}. "
        "Give a mapping to nlp.pipe(as_tuples=True), or set 'labels_from_context' to null."
    )
    P192 = (
        "The pipe cannot be calibrated: of its mentions {right} are right and {wrong} are wrong, and {problem}. Give "
        "it more documents, which it was not trained on."
    )
    P193 = (
        "There is no padellm_ner pipe {name!r} to calibrate; the pipeline has {pipes}. Name one that it has with "
        "--pipe."
    )
    # P195-P199: training that goes on.
    P195 = (
        "The training in {path} cannot go on with other settings or another corpus than it began with. What differs: "
        "{differences}. Give the same again, or name another folder."
    )
    P196 = (
        "The corpus does not give the same {count} batches again, so the place in it is lost. Expected a reader, an "
        "augmenter and a batcher that draw from Python's `random` or have a seed of their own, and the same code as "
        "then. Train from the beginning, or take this checkpoint's pipeline as a sourced component."
    )
    P197 = (
        "The optimizer and the pipeline do not have the same weights: {name!r} is in one only. Expected the same code "
        "as when the training began, and components whose weights thinc or torch hold."
    )
    P198 = (
        "The checkpoint {path} is damaged: {problem}. Remove it, to begin anew or, with --resume, to go on "
        "from 'model-last'."
    )
    P199 = (
        "{path} has a training that was interrupted with {updates} updates done. Go on with --resume, or remove the "
        "folder to begin anew."
    )
