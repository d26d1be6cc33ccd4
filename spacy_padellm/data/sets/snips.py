"""Two queries of the SNIPS benchmark, which come with the project."""

from __future__ import annotations

from types import MappingProxyType

from spacy_padellm.data.data_set import DataSet, Part, PublishedFile

_URL = "https://raw.githubusercontent.com/sonos/nlu-benchmark/b86ac7f1577868c42158d0dec77db50956046696"
_CITATION = (
    "Coucke A. et al., Snips Voice Platform: an embedded Spoken Language Understanding system for private-by-design "
    "voice interfaces, 2018, https://arxiv.org/abs/1805.10190"
)


def _snips(name: str, intent: str, *, labels: dict[str, str], md5: dict[Part, str], split: str) -> DataSet:
    names: dict[Part, str] = {"train": f"train_{intent}_full.json", "test": f"validate_{intent}.json"}
    files: dict[Part, tuple[PublishedFile, ...]] = {
        part: (
            PublishedFile(
                path=f"snips/{intent}/{file}",
                url=f"{_URL}/2017-06-custom-intent-engines/{intent}/{file}",
                md5=md5[part],
            ),
        )
        for part, file in names.items()
    }
    return DataSet(
        name=name,
        title=f"SNIPS {intent}",
        lang="en",
        format="snips",
        files=MappingProxyType(files),
        labels=MappingProxyType(labels),
        licence="CC0-1.0",
        citation=_CITATION,
        split=split,
        shipped=True,
        dev_size=100,
    )


ENTRIES = (
    _snips(
        "snips_screening",
        "SearchScreeningEvent",
        labels={
            "location_name": "location name",
            "movie_name": "movie name",
            "movie_type": "movie type",
            "object_location_type": "object location type",
            "object_type": "object type",
            "spatial_relation": "spatial relation",
            "timeRange": "time range",
        },
        md5={"train": "ce504fd6fd146d2ceddef90b18cda98c", "test": "8fa67041822d303dbe5e79407515be87"},
        split="train 1,959, test 100; dev is 100 of train",
    ),
    _snips(
        "snips_weather",
        "GetWeather",
        labels={
            "city": "city",
            "condition_description": "condition description",
            "condition_temperature": "condition temperature",
            "country": "country",
            "current_location": "current location",
            "geographic_poi": "geographic point of interest",
            "spatial_relation": "spatial relation",
            "state": "state",
            "timeRange": "time range",
        },
        md5={"train": "7153b2ca3549fd5a7e634d442ab26e05", "test": "36c9dcdad83a16b388db45f2e7cc3d97"},
        split="train 2,000, test 100; dev is 100 of train",
    ),
)
