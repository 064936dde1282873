"""What an answer keeps to: excluded, bought and dismissed products, true reasons, popularity where nothing is known."""

from dataclasses import replace
from typing import Any

import pytest

from ml import kernel
from ml.contract import KINDS, SLATES, HistoryItem, Kind, Query, Recommendation, SlateName
from ml.model import SECONDS_A_DAY, Model
from ml.slates import Recipe, Term


def item(product_id: str, kind: Kind = "purchase", days: float = 1.0, count: int = 1) -> HistoryItem:
    return HistoryItem(product_id=product_id, kind=kind, age=days * SECONDS_A_DAY, count=count)


def ask(model: Model, name: SlateName, *history: HistoryItem, limit: int = 8, **more: Any) -> list[Recommendation]:
    query: Query = {
        "slate_id": "q",
        "history": list(history),
        "slates": [{"name": name, "limit": limit, **more}],  # type: ignore[typeddict-item]
    }
    return model.recommend([query])[0]["slates"][name]


def ids(items: list[Recommendation]) -> list[str]:
    return [each["product_id"] for each in items]


def test_a_slate_is_in_order_of_score_without_doubles(model: Model) -> None:
    found = ask(model, "for_you", item("p00"), item("p01"))

    assert [each["score"] for each in found] == sorted((each["score"] for each in found), reverse=True)
    assert len(set(ids(found))) == len(found) == 8


def test_bought_products_are_hidden_unless_repeats_are_wanted(model: Model) -> None:
    bought = [item(f"p0{number}") for number in range(5)]

    assert not {"p00", "p01", "p02", "p03", "p04"} & set(ids(ask(model, "for_you", *bought, limit=40)))
    assert {"p00", "p01"} & set(ids(ask(model, "for_you", *bought, limit=40, repeats=True)))


def test_again_is_what_the_shopper_buys_most_and_lately(model: Model) -> None:
    found = ask(model, "again", item("p00", count=3), item("p11", count=9), item("p22", count=9, days=300), item("p33"))

    assert ids(found) == ["p11", "p00", "p33", "p22"]
    assert [each["because"] for each in found] == ids(found)


def test_again_holds_nothing_for_who_bought_nothing(model: Model) -> None:
    assert ask(model, "again", item("p00", "view")) == []


def test_again_shows_no_purchase_when_repeats_are_refused(model: Model) -> None:
    assert ask(model, "again", item("p00"), repeats=False) == []


@pytest.mark.parametrize("name", sorted(SLATES))
def test_dismissed_and_excluded_products_never_appear(model: Model, name: SlateName) -> None:
    history = [item(f"p0{number}", "cart") for number in range(3)] + [item("p05", "dismiss"), item("p05"), item("p06")]

    found = ask(model, name, *history, limit=40, exclude=["p07", "p06", "no such product"], repeats=True)

    assert not {"p05", "p06", "p07"} & set(ids(found))


def test_a_dismissed_product_speaks_against_its_companions(model: Model) -> None:
    liked = {each["product_id"]: each["score"] for each in ask(model, "for_you", item("p00"), limit=40)}
    warned = ask(model, "for_you", item("p00"), item("p01", "dismiss"), limit=40)

    both = [each for each in warned if each["because"]]
    assert both
    assert all(each["score"] <= liked[each["product_id"]] for each in both)
    assert sum(each["score"] for each in both) < sum(liked[each["product_id"]] for each in both)


def test_a_purchase_says_more_than_a_view(model: Model) -> None:
    found = ask(model, "for_you", item("p00", "view"), item("p10", "purchase"))

    assert found[0]["because"] == "p10"


def test_the_reason_is_what_contributed_most_and_scores_are_weighted_sums_of_rows(model: Model) -> None:
    history = [item("p00", days=3), item("p02", "view", days=0.1, count=4), item("p04", "cart", days=20), item("p11")]
    everything = {each["product_id"]: each for each in ask(model, "for_you", *history, limit=40)}
    alone = [
        {each["product_id"]: each["score"] for each in ask(model, "for_you", part, limit=40, repeats=True)}
        for part in history
    ]

    for product_id, each in everything.items():
        parts = [scores.get(product_id, 0.0) for scores in alone]
        assert each["score"] == pytest.approx(sum(parts), abs=5e-6)
        if each["because"]:
            assert max(parts) == pytest.approx(parts[[part["product_id"] for part in history].index(each["because"])])


def test_an_empty_history_gets_popularity_for_no_reason(model: Model) -> None:
    popular = ids(ask(model, "popular"))

    assert ids(ask(model, "for_you")) == ids(ask(model, "complete")) == popular == model.product_ids[:8]
    assert {each["because"] for each in ask(model, "for_you")} == {None}


def test_unknown_products_are_skipped(model: Model) -> None:
    assert ask(model, "for_you", item("unknown"), item("p00")) == ask(model, "for_you", item("p00"))
    assert ids(ask(model, "for_you", item("unknown"))) == ids(ask(model, "popular"))


def test_popular_keeps_to_its_category(model: Model) -> None:
    shelf = dict(zip(model.product_ids, model.category, strict=True))

    found = ask(model, "popular", category="Pasta", limit=40)

    assert len(found) == 10
    assert {shelf[product_id] for product_id in ids(found)} == {"Pasta"}
    assert found[0]["score"] >= found[-1]["score"] > 0
    assert ask(model, "popular", category="Spaceships") == []


def test_what_goes_with_a_product_is_not_the_product(model: Model) -> None:
    for name in ("together", "similar", "complete"):
        assert "p00" not in ids(ask(model, name, item("p00", "cart"), limit=40))


def test_a_cart_is_completed_from_its_own_shelf(model: Model) -> None:
    shelf = dict(zip(model.product_ids, model.category, strict=True))

    found = ask(model, "complete", item("p20", "cart", 0), item("p22", "cart", 0), limit=4)

    assert {shelf[product_id] for product_id in ids(found)} == {"Baking"}


def test_a_limit_past_the_catalogue_is_the_whole_catalogue(model: Model) -> None:
    assert len(ask(model, "popular", limit=200)) == len(model.product_ids)


def test_a_batch_is_answered_as_each_query_alone(model: Model) -> None:
    queries: list[Query] = [
        {
            "slate_id": str(number),
            "history": [item(f"p{(number * 7 + step) % 40:02}", kind) for step, kind in enumerate(sorted(KINDS))],  # type: ignore[arg-type]
            "slates": [{"name": name, "limit": 3 + number} for name in sorted(SLATES)],  # type: ignore[typeddict-item]
        }
        for number in range(12)
    ]

    assert model.recommend(queries) == [model.recommend([query])[0] for query in queries]
    assert model.recommend([]) == []


def test_a_recipe_of_several_terms_adds_their_contributions_to_one_reason(model: Model) -> None:
    liking: dict[Kind, float] = {"purchase": 1.0}
    twice = Recipe((Term("households", liking), Term("households", liking, weight=2.0)), hides=("purchase",))
    changed = replace(model, slates={**model.slates, "for_you": twice})
    once = Recipe((Term("households", liking, weight=3.0),), hides=("purchase",))
    plain = replace(model, slates={**model.slates, "for_you": once})

    found, expected = (ask(each, "for_you", item("p00"), item("p12")) for each in (changed, plain))

    assert ids(found) == ids(expected)
    assert [each["because"] for each in found] == [each["because"] for each in expected]


def test_answers_are_the_same_before_and_after_the_kernel_is_compiled(
    model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kernel, "top", kernel.top_plain)
    before = ask(model, "for_you", item("p00"), item("p12", "view"), item("p20", "dismiss"), limit=40)

    model.compile()

    assert kernel.top is not kernel.top_plain
    assert ask(model, "for_you", item("p00"), item("p12", "view"), item("p20", "dismiss"), limit=40) == before
