"""The MIT corpora: spoken queries about movies and restaurants."""

from __future__ import annotations

from types import MappingProxyType

from spacy_padellm.data.data_set import DataSet, PublishedFile

_URL = "https://raw.githubusercontent.com/pity4yeats/promptner/728c1c9384e5df2830919c47818bb3757bb1aba9/data"
_LICENCE = "none stated, neither there nor in the copies of the corpus that others keep"
_CITATION = (
    "Liu J. et al., Asgard: A portable architecture for multilingual dialogue systems, ICASSP 2013; the corpora: "
    "https://groups.csail.mit.edu/sls/downloads/"
)

MOVIE = DataSet(
    name="mit_movie",
    title="MIT Movie, simple queries",
    lang="en",
    format="conll",
    files=MappingProxyType(
        {
            "train": (PublishedFile("mit_movie/engtrain.bio.txt", url=f"{_URL}/mit-movie/engtrain.bio.txt"),),
            "test": (
                PublishedFile(
                    "mit_movie/engtest.bio.txt",
                    url=f"{_URL}/mit-movie/engtest.bio.txt",
                    md5="fe54631ba9db4fb74812ffbe0c4d9583",
                ),
            ),
        }
    ),
    labels=MappingProxyType(
        {
            "ACTOR": "actor",
            "CHARACTER": "character",
            "DIRECTOR": "director",
            "GENRE": "genre",
            "PLOT": "plot",
            "RATING": "rating",
            "RATINGS_AVERAGE": "average ratings",
            "REVIEW": "review",
            "SONG": "song",
            "TITLE": "title",
            "TRAILER": "trailer",
            "YEAR": "year",
        }
    ),
    licence=_LICENCE,
    citation=_CITATION,
    split="train 9,775, test 2,443; dev is every tenth of train, 977",
    dev_size=977,
)

RESTAURANT = DataSet(
    name="mit_restaurant",
    title="MIT Restaurant",
    lang="en",
    format="conll",
    files=MappingProxyType(
        {
            "train": (
                PublishedFile(
                    "mit_restaurant/train.txt",
                    url=f"{_URL}/mit-restaurant/train.txt",
                    md5="817467bf0acbd8f021d7da056138a470",
                ),
            ),
            "test": (
                PublishedFile(
                    "mit_restaurant/test.txt",
                    url=f"{_URL}/mit-restaurant/test.txt",
                    md5="673a0b0b88b8803d725acab79c47d58c",
                ),
            ),
        }
    ),
    labels=MappingProxyType(
        {
            "Amenity": "amenity",
            "Cuisine": "cuisine",
            "Dish": "dish",
            "Hours": "hours",
            "Location": "location",
            "Price": "price",
            "Rating": "rating",
            "Restaurant_Name": "restaurant name",
        }
    ),
    licence=_LICENCE,
    citation=_CITATION,
    split="train 7,660, test 1,521; dev is every tenth of train, 766",
    dev_size=766,
)

ENTRIES = (MOVIE, RESTAURANT)
