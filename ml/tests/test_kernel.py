"""The compiled kernel says what the plain one says, from any thread, and leaves its scratch as it found it."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from ml import kernel
from ml.index import Codes
from ml.kernel import Kernel, Lists, Numbers, Places, Rows, Task, Terms

PRODUCTS, SETS, TERMS, KINDS, TASKS = 9, 2, 3, 4, 3
DAY = 86_400.0
Question = tuple[Codes, Numbers, Places, Codes]


def a_kernel(draw: np.random.Generator) -> Kernel:
    rows = [np.sort(draw.permutation(PRODUCTS)[: draw.integers(5)]) for _ in range(SETS * PRODUCTS)]
    flat = np.concatenate(rows).astype(np.int32)
    stacked = Rows(
        np.cumsum([0] + [len(row) for row in rows], dtype=np.int64),
        flat,
        draw.choice([0.1, 0.2, 0.7], len(flat)).astype(np.float32),
    )
    for array in stacked:
        array.flags.writeable = False
    terms = Terms(
        offset=PRODUCTS * draw.integers(0, SETS, TERMS),
        liking=draw.choice([-1.0, 0.0, 0.25, 1.0], (TERMS, KINDS)),
        weight=draw.choice([0.1, 0.5, 1.0], TERMS),
        seconds=DAY * draw.choice([1.0, 90.0], TERMS),
        power=draw.choice([1 / 3, 0.5, 1.0], TERMS),
    )
    return Kernel(stacked, terms, np.arange(PRODUCTS, dtype=np.int32), PRODUCTS)


def a_question(draw: np.random.Generator) -> Question:
    """Three tasks over one history, in which products come back with other kinds."""
    many = int(draw.integers(8))
    history = draw.integers(-1, PRODUCTS, many).astype(np.int32)
    kinds, days, counts = draw.integers(0, KINDS, many), draw.choice([0.0, 1.0, 30.0], many), draw.integers(1, 4, many)
    events = np.column_stack([kinds, days * DAY, counts]).astype(np.float64)
    excluded = draw.integers(-1, PRODUCTS, draw.integers(4)).astype(np.int32)
    tasks: list[Task] = []
    for _ in range(TASKS):
        first_term, last_term = np.sort(draw.integers(0, TERMS + 1, 2)).tolist()
        fillers, limit = int(draw.choice([0, PRODUCTS])), int(draw.integers(1, PRODUCTS + 1))
        hides = int(draw.integers(2**KINDS))
        tasks.append(Task(0, many, first_term, last_term, hides, 0, len(excluded), 0, fillers, limit))
    return history, events, np.array(tasks, np.int64), excluded


def said(lists: Lists) -> list[Any]:
    """What counts of an answer."""
    return [[part[task, :length].tolist() for part in lists[:3]] for task, length in enumerate(lists.length.tolist())]


def plain(asked: Kernel, question: Question) -> list[Any]:
    compiled = kernel.top
    kernel.top = kernel.top_plain
    try:
        return said(asked.rank(*question))
    finally:
        kernel.top = compiled


@settings(max_examples=300)
@given(st.integers(0, 2**32 - 1))
def test_the_compiled_kernel_answers_exactly_as_the_plain_one(seed: int) -> None:
    draw = np.random.default_rng(seed)
    asked, question = a_kernel(draw), a_question(draw)

    assert said(asked.rank(*question)) == plain(asked, question)


@settings(max_examples=100)
@given(st.integers(0, 2**32 - 1))
def test_an_answer_leaves_no_trace_for_the_next(seed: int) -> None:
    draw = np.random.default_rng(seed)
    asked = a_kernel(draw)

    for _ in range(4):
        question = a_question(draw)
        assert said(asked.rank(*question)) == plain(asked, question)
        assert not asked.scratch.any()


@settings(max_examples=50)
@given(st.integers(0, 2**32 - 1), st.randoms(use_true_random=False))
def test_the_order_of_different_products_in_a_history_says_nothing(seed: int, random: Any) -> None:
    draw = np.random.default_rng(seed)
    asked = a_kernel(draw)
    _, _, tasks, excluded = a_question(draw)
    history = draw.permutation(PRODUCTS)[:5].tolist()
    tasks[:, 0], tasks[:, 1] = 0, len(history)
    mixed = random.sample(history, len(history))

    answers = []
    for products in (history, mixed):
        events = np.array([(2.0, product * DAY, 1.0) for product in products])
        lists = asked.rank(np.array(products, dtype=np.int32), events, tasks, excluded)
        because = np.where(lists.because < 0, -1, np.take(products, lists.because, mode="clip")).astype(np.int32)
        answers.append(said(lists._replace(because=because)))

    assert answers[0] == answers[1]


def test_many_threads_get_the_answers_of_one() -> None:
    draw = np.random.default_rng(5)
    asked = a_kernel(draw)
    questions = [a_question(draw) for _ in range(50)] * 8
    expected = [said(asked.rank(*question)) for question in questions]

    def answered(question: Question) -> tuple[list[Any], bool]:
        return said(asked.rank(*question)), not asked.scratch.any()

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(answered, questions))

    assert found == [(each, True) for each in expected]


def test_a_batch_without_tasks_is_an_empty_answer() -> None:
    nobody, none = np.empty(0, dtype=np.int32), np.empty((0, len(Task._fields)), dtype=np.int64)

    assert said(a_kernel(np.random.default_rng(1)).rank(nobody, np.empty((0, 3)), none, nobody)) == []


def test_the_kernel_is_compiled_here() -> None:
    kernel.compile()

    assert kernel.top is not kernel.top_plain
