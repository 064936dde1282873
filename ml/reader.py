# mypy: allow-untyped-defs, allow-untyped-decorators
"""A request's bytes become arrays in one compiled pass, without an object for each of its fields.

It reads what the shop sends: the contract's fields in the contract's order, compact, plain ASCII without escapes. It
refuses everything else, whether right or wrong, and ml.request then says which; the tests hold the two to one reading.
"""

import numpy as np
from numba import njit
from numpy.typing import NDArray

from ml import contract
from ml.plain import Task
from ml.slates import KIND_NAMES, SLATE_NAMES

LIMIT = len(Task._fields) - 1
MAX_TEXT, MAX_AGE, MAX_COUNT, MAX_LIMIT = contract.MAX_TEXT, contract.MAX_AGE, contract.MAX_COUNT, contract.MAX_LIMIT
MAX_QUERIES, MAX_HISTORY = contract.MAX_QUERIES, contract.MAX_HISTORY
MAX_SLATES, MAX_EXCLUDE = contract.MAX_SLATES, contract.MAX_EXCLUDE
POWERS = 10.0 ** np.arange(23)  # exact
EXACT = 10**15  # below it a decimal of at most 22 places is one exact division from the nearest double


def _piece(text: str) -> NDArray[np.uint8]:
    return np.frombuffer(text.encode(), np.uint8)


KINDS = tuple(_piece(f'"{name}"') for name in KIND_NAMES)
SLATES = tuple(_piece(f'"{name}"') for name in SLATE_NAMES)
START = _piece(f'{{"version":{contract.VERSION},"queries":[')
SLATE_ID, HISTORY, WANTED, QUERY_END = map(_piece, ('{"slate_id":', ',"history":[', '],"slates":[', "]}"))
PRODUCT, KIND, AGE, COUNT = map(_piece, ('{"product_id":', ',"kind":', ',"age":', ',"count":'))
NAME, MANY, EXCLUDE, YES, NO = map(
    _piece, ('{"name":', ',"limit":', ',"exclude":[', ',"repeats":true', ',"repeats":false')
)
COMMA, BRACE, BRACKET = (ord(each) for each in ",}]")
QUOTE, ESCAPE, POINT, ZERO, NINE = (ord(each) for each in '"\\.09')


@njit(nogil=True, cache=True)
def read(body, recipes, points, events, tasks, names, spans, counts):
    """Fill the arrays from ``body``, behind which stands a NUL, and ``counts`` with how many ids, tasks and queries
    there are and how many products are wanted.

    ``recipes`` has, for each slate and for repeats not mentioned, refused and wanted, a Task's terms, hides and filler.
    ``points`` get the ids, each ended by a 0; ``events`` their kinds, ages and counts where they are a history's.
    ``names`` get the tasks' slates; ``spans`` where each query's slate_id, quotes included, begins and ends, and its
    last task. Nothing is read unless ``counts[0]`` is 0 or more.
    """
    counts[:] = -1
    ids = used = many = wanted = queries = 0
    at = _after(body, 0, START)
    while body[at] != BRACKET:
        if queries == MAX_QUERIES or (queries and body[at] != COMMA):
            return
        first = _after(body, at + (queries > 0), SLATE_ID)
        at, _ = _text(body, first, points, used)  # overwritten by the next id
        spans[queries, 0], spans[queries, 1] = first, at
        at, used, last = _history(body, _after(body, at, HISTORY), points, used, events, ids)
        at = _after(body, at, WANTED)
        before, seen, end = many, 0, last
        while body[at] != BRACKET:
            if many - before == MAX_SLATES or (many > before and body[at] != COMMA):
                return
            at, name = _choice(body, _after(body, at + (many > before), NAME), SLATES)
            at, limit = _whole(body, _after(body, at, MANY), MAX_LIMIT)
            if seen >> name & 1:
                return
            seen |= 1 << name
            excluded = end
            if body[_after(body, at, EXCLUDE)]:
                at, used, end = _ids(body, _after(body, at, EXCLUDE), points, used, end)
            repeats = 1 if body[_after(body, at, NO)] else 2 if body[_after(body, at, YES)] else 0
            at = _after(body, at, NO if repeats == 1 else YES) if repeats else at
            if body[at] != BRACE:
                return
            at += 1
            tasks[many, 0], tasks[many, 1], tasks[many, 5], tasks[many, 6] = ids, last, excluded, end
            for place in range(3):
                tasks[many, 2 + place] = recipes[name, repeats, place]
            tasks[many, 7], tasks[many, 8] = recipes[name, repeats, 3], recipes[name, repeats, 4]
            tasks[many, LIMIT] = limit
            names[many] = name
            many += 1
            wanted += limit
        at = _after(body, at, QUERY_END)
        spans[queries, 2] = many
        ids = end
        queries += 1
    if at + 3 == len(body) and body[at + 1] == BRACE:
        counts[0], counts[1], counts[2], counts[3] = ids, many, queries, wanted


@njit(nogil=True, cache=True)
def _after(body, at, piece):
    """Where ``piece`` ends if it begins at ``at``. What fails sends reading to the NUL, where everything fails."""
    for place in range(len(piece)):
        if body[at + place] != piece[place]:
            return len(body) - 1
    return at + len(piece)


@njit(nogil=True, cache=True)
def _history(body, at, points, used, events, ids):
    """The items up to the list's end, and behind them how many points and ids there are then."""
    first = ids
    while body[at] != BRACKET:
        if ids - first == MAX_HISTORY or (ids > first and body[at] != COMMA):
            return len(body) - 1, used, ids
        at, used = _text(body, _after(body, at + (ids > first), PRODUCT), points, used)
        at, kind = _choice(body, _after(body, at, KIND), KINDS)
        at, age, _ = _number(body, _after(body, at, AGE))
        at, count = _whole(body, _after(body, at, COUNT), MAX_COUNT)
        if age > MAX_AGE or body[at] != BRACE:
            return len(body) - 1, used, ids
        events[ids, 0], events[ids, 1], events[ids, 2] = kind, age, count
        at += 1
        ids += 1
    return at, used, ids


@njit(nogil=True, cache=True)
def _ids(body, at, points, used, ids):
    """Excluded ids up to the list's end and past it."""
    first = ids
    while body[at] != BRACKET:
        if ids - first == MAX_EXCLUDE or (ids > first and body[at] != COMMA):
            return len(body) - 1, used, ids
        at, used = _text(body, at + (ids > first), points, used)
        ids += 1
    return at + 1, used, ids


@njit(nogil=True, cache=True)
def _text(body, at, points, used):
    """A text of plain ASCII; its points and a 0 behind them are written."""
    if body[at] != QUOTE:
        return len(body) - 1, used
    first = at + 1
    at = first
    while body[at] != QUOTE:
        point = body[at]
        if point < 0x20 or point >= 0x80 or point == ESCAPE or at - first == MAX_TEXT:
            return len(body) - 1, used
        points[used + at - first] = point
        at += 1
    points[used + at - first] = 0
    return (at + 1 if at > first else len(body) - 1), used + at - first + 1


@njit(nogil=True, cache=True)
def _choice(body, at, choices):
    for code in range(len(choices)):
        after = _after(body, at, choices[code])
        if body[after]:
            return after, code
    return len(body) - 1, 0


@njit(nogil=True, cache=True)
def _number(body, at):
    """Where it ends, a number without sign and exponent, and whether it is whole."""
    digits, places, whole, first = np.int64(0), 0, True, at
    while ZERO <= body[at] <= NINE or (whole and at > first and body[at] == POINT):
        if body[at] == POINT:
            whole = False
        else:
            digits = digits * 10 + np.int64(body[at]) - ZERO
            places += not whole
        if digits >= EXACT or places > 22 or (at == first + 1 and whole and body[first] == ZERO):
            return len(body) - 1, 0.0, False
        at += 1
    if at == first or body[at - 1] == POINT:
        return len(body) - 1, 0.0, False
    return at, (digits / POWERS[places] if places else np.float64(digits)), whole


@njit(nogil=True, cache=True)
def _whole(body, at, most):
    at, number, whole = _number(body, at)
    return (at if whole and 1 <= number <= most else len(body) - 1), np.int64(number)
