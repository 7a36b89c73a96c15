"""One pass over a message scores all models, and says which features spoke for a class."""

import numpy as np
import pytest

from knowledge.model import Models, keys_of
from knowledge.training import Example, Lesson, fold_of, hold_out, learn, near_copies

TEXTS = {
    "身份证丢了": ("c身", "c份", "c丢"),
    "身份证没了": ("c身", "c份", "c没"),
    "狗叫得睡不着": ("c狗", "c叫", "c睡"),
    "狗又叫了一夜": ("c狗", "c叫", "c夜"),
    "着火了": ("c着", "c火", "c丢"),
    "厨房着火": ("c着", "c火", "c没"),
}
TOPICS = [Example(text, "idcard" if "身" in text else "dog") for text in TEXTS if "火" not in text]
URGENT = [Example(text, "fire" if "火" in text else "calm") for text in TEXTS]


@pytest.fixture(scope="module")
def models() -> Models:
    return learn({"topics": Lesson(TOPICS, 1.0), "urgent": Lesson(URGENT, 1.0)}, TEXTS)


def best(models: Models, model: str, *features: str) -> str:
    return models.classes[model][int(models.weigh(keys_of(features)).scores(model).argmax())]


def test_each_model_gives_its_own_classes_from_the_same_features(models: Models) -> None:
    assert best(models, "topics", "c狗", "c叫") == "dog"
    assert best(models, "topics", "c身") == "idcard"
    assert best(models, "urgent", "c火") == "fire"
    assert best(models, "urgent", "c狗") == "calm"


def test_a_message_of_unknown_features_is_scored_by_what_is_usual(models: Models) -> None:
    weighed = models.weigh(keys_of(["c龘"]))
    assert np.array_equal(weighed.all_scores, models.bias)
    assert weighed.reasons("topics", "dog") == []


def test_the_reasons_for_a_class_are_the_features_that_add_to_its_score(models: Models) -> None:
    features = ["c龘", "c狗", "c身", "c叫"]
    weighed = models.weigh(keys_of(features))
    assert {features[place] for place in weighed.reasons("topics", "dog")} == {"c狗", "c叫"}
    assert {features[place] for place in weighed.reasons("topics", "idcard")} == {"c身"}


def test_a_topic_gains_by_what_speaks_for_its_family() -> None:
    families = [Example(example.text, example.label[0]) for example in TOPICS]
    topics = [Example(example.text, f"{example.label[0]}.{example.label}") for example in TOPICS]
    models = learn({"topics": Lesson(topics, 1.0), "families": Lesson(families, 1.0)}, TEXTS)
    weighed = models.weigh(keys_of(["c狗"]))
    own, family = weighed.scores("topics"), weighed.scores("families")
    assert models.classes["topics"] == ("d.dog", "i.idcard")
    assert np.array_equal(np.sign(weighed.topics() - own), np.sign(family))
    assert weighed.topics().argmax() == 0


def test_near_copies_are_kept_out_together() -> None:
    texts = ["户口本丢了怎么办", "我户口本丢了怎么办", "小区停水了"]
    near = near_copies([Example(text, "a") for text in texts])
    assert near[texts[0]] == near[texts[1]] != near[texts[2]]
    apart = near_copies([Example(texts[0], "a"), Example(texts[1], "b")])
    assert len(set(apart.values())) == 2


def test_what_is_kept_out_is_judged_by_models_that_have_not_seen_it() -> None:
    held = hold_out({"topics": Lesson(TOPICS, 1.0)}, TEXTS, 8)["topics"]
    for place, text in enumerate(held.texts):
        others = [its for its in TOPICS if fold_of(its.text, 8) != fold_of(text, 8)]
        unseen = learn({"topics": Lesson(others, 1.0)}, TEXTS).weigh(keys_of(TEXTS[text])).scores("topics")
        assert np.allclose(held.scores[place], unseen)


def test_which_of_near_copies_stands_for_the_others_does_not_depend_on_the_order_they_are_found_in() -> None:
    """Else the bands would change from one build to the next."""
    examples = [Example(text, "a") for text in ("小狗咬人", "大狗咬人", "大狗咬了人", "黄狗咬了人", "小区停水了")]
    assert near_copies(examples) == near_copies(examples[::-1])
    assert len(set(near_copies(examples).values())) < len(examples) - 1
