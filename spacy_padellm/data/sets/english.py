"""The English data sets that the paper trains and tests on: CoNLL03, ACE05, GENIA."""

from __future__ import annotations

from types import MappingProxyType

from spacy_padellm.data.data_set import DataSet, PublishedFile
from spacy_padellm.data.sets.authors import NO_LICENCE, authors_files

CONLL03 = DataSet(
    name="conll03",
    title="CoNLL 2003, English",
    lang="en",
    format="padellm",
    files=authors_files(
        "conll03",
        {
            "train": None,
            "dev": "757f6e2d1740663a56bda671f2b6f135",
            "test": "ca1e945a8908ef79421f1854c4f23466",
        },
    ),
    labels=MappingProxyType({"PER": "person", "ORG": "organization", "LOC": "location", "MISC": "miscellaneous"}),
    licence=f"texts from Reuters RCV1, under NIST's agreement; {NO_LICENCE}",
    citation=(
        "Tjong Kim Sang E. and De Meulder F., Introduction to the CoNLL-2003 Shared Task: Language-Independent Named "
        "Entity Recognition, CoNLL 2003, https://aclanthology.org/W03-0419/"
    ),
    split="train 14,041, dev 3,250, test 3,453",
    published=MappingProxyType(
        {"string_f": 92.52, "length_padellm": 6.54, "length_structured": 28.36, "length_augmented": 33.85}
    ),
)

ACE05 = DataSet(
    name="ace05",
    title="ACE 2005, English",
    lang="en",
    format="nested",
    files=MappingProxyType(
        {
            "train": (PublishedFile("ace05/train.json"),),
            "dev": (PublishedFile("ace05/dev.json"),),
            "test": (PublishedFile("ace05/test.json"),),
        }
    ),
    labels=MappingProxyType(
        {
            "PER": "person",
            "ORG": "organization",
            "GPE": "geo-political entity",
            "LOC": "location",
            "FAC": "facility",
            "VEH": "vehicle",
            "WEA": "weapon",
        }
    ),
    licence="LDC User Agreement",
    citation=(
        "Walker C. et al., ACE 2005 Multilingual Training Corpus, LDC2006T06, Linguistic Data Consortium, 2006, "
        "https://catalog.ldc.upenn.edu/LDC2006T06"
    ),
    split="not published: the work that one compares with says which documents are whose part",
    obtain=(
        "ACE 2005 is licensed by the Linguistic Data Consortium: order LDC2006T06 at "
        "https://catalog.ldc.upenn.edu/LDC2006T06 and cut it into sentences and parts as the work you compare with "
        'does, one object {"tokens": [...], "entities": [...]} a sentence. The distribution\'s own files are read by '
        "'spacy padellm convert --format ace'."
    ),
    nested=True,
)

GENIA = DataSet(
    name="genia",
    title="GENIA",
    lang="en",
    format="padellm_genia",
    files=authors_files(
        "genia",
        {
            "train": None,
            "dev": "e9087e265a159a68c597e49f8e355c13",
            "test": "b40ce999ba5a0a51c1564cd10b0f8400",
        },
    ),
    labels=MappingProxyType(
        {
            "DNA": "DNA",
            "RNA": "RNA",
            "protein": "protein",
            "cell_line": "cell line",
            "cell_type": "cell type",
        }
    ),
    licence=(
        f"annotations CC BY 3.0 (c) GENIA Project, abstracts under PubMed's terms (GENIA Project License); {NO_LICENCE}"
    ),
    citation=(
        "Kim J.-D. et al., GENIA corpus: a semantically annotated corpus for bio-textmining, Bioinformatics 19 "
        "(suppl. 1), 2003, https://doi.org/10.1093/bioinformatics/btg1023"
    ),
    split="dev 1,669, test 1,854; train was not counted",
    nested=True,
)

ENTRIES = (CONLL03, ACE05, GENIA)
