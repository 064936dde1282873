"""Search: every word counts, small mistakes are forgiven, and no input breaks it."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from storefront import index, search, synonyms, words
from storefront.tests.conftest import MakeProduct

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def shelves(make_product: MakeProduct) -> None:
    make_product("soup", name="Tomato soup", brand="Acme", category="Soup", popularity=5)
    make_product("sauce", name="Tomato sauce", brand="Acme", category="Sauces", popularity=9)
    make_product("pizza", name="Pizza with tomato", brand="Bella", category="Pizza", popularity=50)
    make_product("paste", name="Paste", type="Tomato", category="Canned vegetables", popularity=99)
    make_product("pepper", name="Jalapeño peppers", category="Vegetables", popularity=3)
    make_product("hidden", name="Hidden tomato soup", category="Soup", hidden=True)
    make_product("sale", name="50% off_crackers", category="Snacks")
    make_product("berry", name="Blackberry jam", category="Jam")


def found(query: str) -> list[str]:
    return [index.current().ids[place] for place in search.find(query).ranked]


def test_products_named_so_come_first_then_the_others_by_popularity() -> None:
    assert found("tomato") == ["sauce", "soup", "pizza", "paste"]


def test_every_word_must_be_somewhere_in_name_brand_type_or_category() -> None:
    assert found("acme tomato") == ["sauce", "soup"]
    assert found("canned tomato") == ["paste"]
    assert found("acme pizza") == []


@pytest.mark.parametrize("query", ["TOMATO SOUP", "soup tomatoes", "tomatoe soup", "tomato suop", " tomato,soup! "])
def test_case_order_plurals_and_small_mistakes_do_not_matter(query: str) -> None:
    assert found(query) == ["soup"]


@pytest.mark.parametrize("query", ["jalapeno", "jalapeño", "jalepeno", "jalapenos"])
def test_accents_are_found_with_and_without(query: str) -> None:
    assert found(query) == ["pepper"]


def test_berries_find_a_berry() -> None:
    assert found("blackberries") == ["berry"]


def test_a_word_that_nothing_resembles_finds_nothing() -> None:
    assert found("xylophone") == []


@pytest.mark.parametrize("query", ["", " ", "%", "_", "\\", "\0", "'; drop table--", "%%%%", "\ud800"])
def test_characters_that_mean_something_to_sql_mean_nothing_here(query: str) -> None:
    assert found(query) == []


def test_a_percent_sign_beside_a_word_is_no_wildcard() -> None:
    assert found("50%") == ["sale"]
    assert found("9%") == []


@given(query=st.text(max_size=3_000))
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_text_is_a_search(query: str) -> None:
    assert len(found(query)) <= 7


def corrected(query: str) -> str:
    return search.find(query).corrected


def test_a_correction_is_told_and_a_plural_is_none() -> None:
    assert corrected("tomatto suop") == "tomato soup"
    assert corrected("tomatoes soups") == ""
    assert corrected("acme tomatto") == "acme tomato"
    assert corrected("xylophone") == ""


def test_an_exact_search_corrects_nothing() -> None:
    assert search.find("tomatto", exact=True).ranked == []


def test_the_beginning_of_a_word_finds_it_but_a_whole_word_is_not_a_beginning(make_product: MakeProduct) -> None:
    make_product("peas", name="Peas")
    make_product("peach", name="Peaches")
    assert found("pea") == ["peas"]
    assert found("peac") == ["peach"]
    assert corrected("peac") == ""


def test_two_words_written_as_one_are_read_as_two(make_product: MakeProduct) -> None:
    make_product("ice", name="Vanilla ice cream")
    assert found("icecream") == ["ice"]
    assert corrected("icecream") == "ice cream"


def test_what_a_product_is_comes_before_what_it_is_made_of(make_product: MakeProduct) -> None:
    make_product("bar", name="Milk chocolate bar", type="Candy bar", popularity=99)
    make_product("milk", name="Hill whole milk", type="Milk", brand="Hill")
    assert found("milk") == ["milk", "bar"]


def test_what_a_product_is_packed_in_does_not_matter_to_what_it_is(make_product: MakeProduct) -> None:
    make_product("float", name="Soda float", type="Ice cream", popularity=99)
    make_product("six", name="Lime soda", type="Soda 12-Pack", popularity=9)
    make_product("one", name="Cherry soda", type="Cherry soda", popularity=1)
    assert found("soda") == ["six", "one", "float"]
    assert found("soda pack") == ["six"]


def test_the_nearest_words_are_those_of_the_catalogue() -> None:
    assert "pizza" in search.nearest("pizzzzas")
    assert search.nearest("tomato") == []


def test_words_of_a_search_without_results_are_counted_one_by_one() -> None:
    assert search.alone("acme pizza xylophone") == [("acme", 2), ("pizza", 1)]
    assert search.alone("xylophone") == []


@pytest.fixture
def drinks(make_product: MakeProduct) -> None:
    make_product("cola", name="Cola soda", type="Soda", category="Soft drinks", popularity=50)
    make_product("lolly", name="Cherry ice pop", type="Ice pop", category="Frozen", popularity=9)
    make_product("tonic", name="Tonic", category="Soft drinks", popularity=70)
    make_product("plain", name="Potato chips", type="Potato chips", category="Snacks", popularity=9)
    make_product("bits", name="Chocolate chips", type="Baking chips", category="Baking", popularity=90)
    make_product("tube", name="Potato crisps", type="Potato crisps", category="Snacks", popularity=1)


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("soda", ["cola", "tonic"]),
        ("fizzy drinks", ["cola", "tonic"]),
        ("soft drink", ["tonic", "cola"]),
        ("cherry pop", ["lolly"]),
        ("pop", ["lolly", "cola", "tonic"]),
        ("crisps", ["tube", "plain"]),
        ("potato chips", ["plain", "tube"]),
        ("chips", ["bits", "plain"]),
    ],
)
def test_other_words_for_one_thing_find_it_after_what_bears_the_words_asked_for(
    drinks: None, query: str, expected: list[str]
) -> None:
    assert found(query) == expected


@pytest.mark.parametrize("query", ["yoghurt", "YOGHURTS", "yogh", "vanilla yoghurt", "acme vanila yoghurt"])
def test_a_word_that_only_the_table_knows_is_understood_and_not_called_a_mistake(
    make_product: MakeProduct, query: str
) -> None:
    make_product("yogurt", name="Vanilla yogurt", brand="Acme")
    make_product("yolk", name="Egg yolk")
    assert found(query) == ["yogurt"]
    assert corrected(query) == ("acme vanilla yogurt" if "vanila" in query else "")


def test_what_is_asked_for_in_other_words_is_never_taken_for_a_misspelling(make_product: MakeProduct) -> None:
    make_product("cake", name="Angel cake")
    make_product("cola", name="Cola")
    assert found("coke") == ["cola"]
    assert search.find("coke").also == ("cola",)
    assert search.find("cola").also == ()


def test_an_exact_search_takes_the_words_as_they_are(drinks: None) -> None:
    assert [index.current().ids[place] for place in search.find("crisps", exact=True).ranked] == ["tube"]


@pytest.mark.parametrize("query", ["soup and tomato", "soup of the tomato", "a tomato soup"])
def test_little_words_that_a_name_lacks_do_not_count(query: str) -> None:
    assert found(query) == ["soup"]


def test_of_little_words_alone_each_counts(make_product: MakeProduct) -> None:
    make_product("tv", name="The And")
    assert found("the") == ["tv"]


def test_every_phrase_of_the_table_means_itself_or_what_is_before_the_colon() -> None:
    """One that two lines claim would silently belong to the later one."""
    lines = [line.partition("#")[0].replace(":", ",").split(",") for line in synonyms._FILE.read_text().splitlines()]
    phrases = [tuple(words.of(phrase)) for line in lines for phrase in line if phrase.strip()]
    assert len(phrases) == len(set(phrases)) > 50
