"""The Chinese data sets that the paper trains and tests on. The words for their labels are those that the authors' code
asks with."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from spacy_padellm.data.data_set import DataSet, Part, PublishedFile
from spacy_padellm.data.sets.authors import NO_LICENCE, authors_files


def _chinese(
    name: str,
    title: str,
    *,
    md5: Mapping[Part, str | None],
    labels: dict[str, str],
    licence: str,
    citation: str,
    split: str,
    dev_size: int = 0,
) -> DataSet:
    return DataSet(
        name=name,
        title=title,
        lang="zh",
        format="padellm_chars",
        files=authors_files(name, md5),
        labels=MappingProxyType(labels),
        licence=licence,
        citation=citation,
        split=split,
        dev_size=dev_size,
    )


ONTONOTES4 = DataSet(
    name="ontonotes4",
    title="OntoNotes 4, Chinese",
    lang="zh",
    format="conll_chars",
    files=MappingProxyType(
        {
            "train": (PublishedFile("ontonotes4/train.char.bmes"),),
            "dev": (PublishedFile("ontonotes4/dev.char.bmes"),),
            "test": (PublishedFile("ontonotes4/test.char.bmes"),),
        }
    ),
    labels=MappingProxyType({"PER": "名称", "LOC": "地点", "ORG": "组织", "GPE": "地缘"}),
    licence="LDC User Agreement",
    citation=(
        "Weischedel R. et al., OntoNotes Release 4.0, LDC2011T03, Linguistic Data Consortium, 2011, "
        "https://catalog.ldc.upenn.edu/LDC2011T03"
    ),
    split="not published: the work that one compares with says which documents are whose part",
    obtain=(
        "OntoNotes 4 is licensed by the Linguistic Data Consortium: order LDC2011T03 at "
        "https://catalog.ldc.upenn.edu/LDC2011T03 and cut it into sentences and parts as the work you compare with "
        "does, one character and its tag (B-PER, M-PER, E-PER, S-PER, O) a line."
    ),
)

ENTRIES = (
    _chinese(
        "weibo",
        "Weibo NER",
        md5={
            "train": "1174ec8a804267be0218aa0cd155cb09",
            "dev": "9440064b3e142ae45ee46e7ddcd401c5",
            "test": "faa52c7a8b4e40b7abfc7a5719002dcd",
        },
        labels={
            "PER.NAM": "名称特指",
            "PER.NOM": "名称代称",
            "GPE.NAM": "行政区特指",
            "GPE.NOM": "行政区代称",
            "LOC.NAM": "地点特指",
            "LOC.NOM": "地点代称",
            "ORG.NAM": "组织特指",
            "ORG.NOM": "组织代称",
        },
        licence=f"annotations CC BY-SA 3.0, messages under Weibo's terms; {NO_LICENCE}",
        citation=(
            "Peng N. and Dredze M., Named Entity Recognition for Chinese Social Media with Jointly Trained Embeddings, "
            "EMNLP 2015, https://aclanthology.org/D15-1064/"
        ),
        split="train 1,350, dev 270, test 270; 42 dev and 40 test texts stand in train, too",
    ),
    _chinese(
        "msra",
        "MSRA",
        md5={"train": None, "test": "680e6140a1bb16b5f49f8c5f0753edd1"},
        labels={"PER": "名称", "LOC": "地点", "ORG": "组织"},
        licence=f"Microsoft Research data of the SIGHAN 2006 bakeoff, terms not known; {NO_LICENCE}",
        citation=(
            "Levow G.-A., The Third International Chinese Language Processing Bakeoff: Word Segmentation and Named "
            "Entity Recognition, SIGHAN 2006, https://aclanthology.org/W06-0115/"
        ),
        split=(
            "test 4,361, train 45,000 at its origin, not counted here; dev is 1,000 of it. The authors' test lacks 4 "
            "of the original's 4,365 sentences, and with them 670 of 6,181 mentions: figures on the two do not compare"
        ),
        dev_size=1000,
    ),
    ONTONOTES4,
    _chinese(
        "resume",
        "Resume NER",
        md5={
            "train": None,
            "dev": "4ced58bc9492b10d1b08cfd28b39c505",
            "test": "338b02e62ed3efba2770e02772e5949e",
        },
        labels={
            "NAME": "名称",
            "CONT": "国籍",
            "RACE": "民族",
            "TITLE": "职位",
            "EDU": "学历",
            "ORG": "公司",
            "PRO": "专业",
            "LOC": "籍贯",
        },
        licence=f"none stated at its origin: curricula of real persons; {NO_LICENCE}",
        citation=("Zhang Y. and Yang J., Chinese NER Using Lattice LSTM, ACL 2018, https://aclanthology.org/P18-1144/"),
        split="train 3,819, dev 463, test 477",
    ),
    _chinese(
        "youku",
        "Youku NER",
        md5={
            "train": None,
            "dev": "3e64ffc4a3a1b855ac8aaabdcaebea1c",
            "test": "19091e1472227871a56de6b882700854",
        },
        labels={"TELEVISION": "电视剧", "PER": "明星", "MISC": "其他"},
        licence=NO_LICENCE,
        citation=(
            "Jie Z. et al., Better Modeling of Incomplete Annotations for Named Entity Recognition, NAACL 2019, "
            "https://aclanthology.org/N19-1079/"
        ),
        split="train 8,001, dev 1,000, test 1,001",
    ),
    _chinese(
        "ecommerce",
        "Ecommerce NER",
        md5={
            "train": None,
            "dev": "c954eefe7c3172c733920ff82693385b",
            "test": "9c86dff4f3aa07e217f0a5c197ac46db",
        },
        labels={"HC": "商品", "HP": "品牌"},
        licence=NO_LICENCE,
        citation=(
            "Ding R. et al., A Neural Multi-digraph Model for Chinese NER with Gazetteers, ACL 2019, "
            "https://aclanthology.org/P19-1141/"
        ),
        split="train 3,989, dev 500, test 498",
    ),
)
