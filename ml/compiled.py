# mypy: allow-untyped-defs, allow-untyped-decorators, disable-error-code="call-arg"
"""What numba compiles: ids are found, products ranked and answers written in one call, without Python's objects.

Importing numba takes a second, so ml.kernel imports this module late. All of it is one file, because numba's cache
notices a change in the file of the function that was called, and in no other.
"""

import math

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic

from ml.index import BASIS, BITS, PRIME
from ml.plain import DECIMALS, LEAST, Task

FIELDS = len(Task._fields)
CACHE_LINE = 16  # numbers of four bytes


@intrinsic
def prefetch(typing, array, place):
    """Ask memory for an array's cache line and do not wait for it."""

    def generate(context, builder, signature, arguments):
        data = context.make_array(signature.args[0])(context, builder, arguments[0]).data
        line = builder.bitcast(builder.gep(data, [arguments[1]]), ir.IntType(8).as_pointer())
        number = ir.IntType(32)
        kind = ir.FunctionType(ir.VoidType(), [line.type, number, number, number])
        to_read, for_long, of_data = number(0), number(3), number(1)
        builder.call(
            builder.module.declare_intrinsic("llvm.prefetch", [line.type], kind), [line, to_read, for_long, of_data]
        )
        return context.get_dummy_value()

    return types.void(array, types.int64), generate


@njit(nogil=True, cache=True)
def find(ids, bucket, member, asked, found):
    """Fill ``found``. ``asked`` has the code points of one id after another, each ended by a 0."""
    last = 0
    for number in range(len(found)):
        hashed = BASIS
        while asked[last]:
            hashed = (hashed ^ asked[last]) * PRIME & BITS
            last += 1
        last += 1
        found[number] = hashed & (len(bucket) - 2)
    # Memory fetches what these loops read all at once; the loop after them would wait for it id by id. The sum is
    # returned to nobody, lest the compiler leaves them out.
    touched = 0
    for number in range(len(found)):
        touched += bucket[found[number]]
    for number in range(len(found)):
        touched += member[min(bucket[found[number]], len(member) - 1)]
    for number in range(len(found)):
        touched += ids[member[min(bucket[found[number]], len(member) - 1)], 0]
    first = 0
    for number in range(len(found)):
        last = first
        while asked[last]:
            last += 1
        place, length = found[number], last - first
        found[number] = -1
        for position in range(bucket[place], bucket[place + 1]):
            product = member[position]
            if length > ids.shape[1] or (length < ids.shape[1] and ids[product, length]):
                continue
            same = 0
            while same < length and ids[product, same] == asked[first + same]:
                same += 1
            if same == length:
                found[number] = product
        first = last + 1
    return touched


@njit(nogil=True, cache=True)
def top(
    row_start, row_product, row_value, offset, liking, term_weight, seconds, power, filler, score,
    history, events, tasks, excluded, out_product, out_score, out_because, out_length,
):  # fmt: skip
    longest = out_product.shape[1]
    share = np.empty(longest, dtype=np.float64)
    best = np.empty(longest, dtype=np.float64)
    most_events = 0
    most_terms = 0
    for task in range(len(tasks)):
        most_events = max(most_events, tasks[task, 1] - tasks[task, 0])
        most_terms = max(most_terms, tasks[task, 3] - tasks[task, 2])
    entry = np.empty(most_events, dtype=np.int32)
    source = np.empty(most_events, dtype=np.int32)
    kinds = np.empty(most_events, dtype=np.int64)
    weight = np.empty((most_terms, most_events), dtype=np.float64)
    for task in range(len(tasks)):
        first, last, first_term, last_term = tasks[task, 0], tasks[task, 1], tasks[task, 2], tasks[task, 3]
        hides, first_excluded, last_excluded = tasks[task, 4], tasks[task, 5], tasks[task, 6]
        first_filler, last_filler, limit = tasks[task, 7], tasks[task, 8], tasks[task, 9]

        # The history's products, each once and in order, so that an answer does not hang on the order of the history.
        entries = 0
        for event in range(first, last):
            product = history[event]
            if product >= 0 and score[product] == 0.0:
                score[product] = 1.0
                entry[entries] = product
                entries += 1
        entry[:entries].sort()

        # Memory fetches the rows while their weights are reckoned; the loop that adds them would wait row by row.
        for place in range(entries):
            for term in range(first_term, last_term):
                row = offset[term] + entry[place]
                for position in range(row_start[row], row_start[row + 1], CACHE_LINE):
                    prefetch(row_product, position)
                    prefetch(row_value, position)
        for place in range(entries):
            score[entry[place]] = place
            kinds[place] = 0
            for term in range(last_term - first_term):
                weight[term, place] = 0.0
        for event in range(first, last):
            product = history[event]
            if product < 0:
                continue
            mine = np.int64(score[product])
            source[mine] = event
            kind = np.int64(events[event, 0])
            kinds[mine] |= 1 << kind
            for term in range(first_term, last_term):
                fade = math.exp(-events[event, 1] / seconds[term])
                weight[term - first_term, mine] += liking[term, kind] * events[event, 2] * fade
        for place in range(entries):
            score[entry[place]] = -np.inf if kinds[place] & hides else 0.0
            for term in range(first_term, last_term):
                value = weight[term - first_term, place]
                if value != 0.0:
                    value = term_weight[term] * math.copysign(math.pow(abs(value), power[term]), value)
                weight[term - first_term, place] = value
        for place in range(first_excluded, last_excluded):
            if excluded[place] >= 0:
                score[excluded[place]] = -np.inf

        # Nothing is asked in this loop, and whoever is hidden stays at minus infinity whatever is added.
        for place in range(entries):
            for term in range(first_term, last_term):
                row = offset[term] + entry[place]
                strength = weight[term - first_term, place]
                products = row_product[row_start[row] : row_start[row + 1]]
                values = row_value[row_start[row] : row_start[row + 1]]
                for position in range(len(products)):
                    score[products[position]] += strength * np.float64(values[position])

        # Once more over the same rows: whoever was met is set back to nothing, so none is met twice. Insertion into a
        # short sorted list, as few of the thousands ever move anything.
        kept = 0
        least = LEAST
        for place in range(entries):
            for term in range(first_term, last_term):
                row = offset[term] + entry[place]
                products = row_product[row_start[row] : row_start[row + 1]]
                for position in range(len(products)):
                    target = products[position]
                    value = score[target]
                    score[target] = 0.0
                    if value < least:
                        continue
                    rank = kept
                    if kept == limit:
                        rank = kept - 1
                        if value == least and target > out_product[task, rank]:
                            continue
                    while rank > 0 and (
                        value > out_score[task, rank - 1]
                        or (value == out_score[task, rank - 1] and target < out_product[task, rank - 1])
                    ):
                        out_score[task, rank] = out_score[task, rank - 1]
                        out_product[task, rank] = out_product[task, rank - 1]
                        rank -= 1
                    out_score[task, rank] = value
                    out_product[task, rank] = target
                    kept = min(kept + 1, limit)
                    if kept == limit:
                        least = out_score[task, kept - 1]

        # Reasons, for the chosen alone: what each entry gave to each of them, all of its terms together.
        for rank in range(kept):
            score[out_product[task, rank]] = rank + 1
            out_score[task, rank] = np.rint(out_score[task, rank] * DECIMALS) / DECIMALS
            out_because[task, rank] = -1
            share[rank] = 0.0
            best[rank] = 0.0
        for place in range(entries):
            for term in range(first_term, last_term):
                row = offset[term] + entry[place]
                strength = weight[term - first_term, place]
                products = row_product[row_start[row] : row_start[row + 1]]
                for position in range(len(products)):
                    mark = score[products[position]]
                    if mark > 0.0:
                        share[np.int64(mark) - 1] += strength * np.float64(row_value[row_start[row] + position])
            for rank in range(kept):
                if share[rank] > best[rank]:
                    best[rank] = share[rank]
                    out_because[task, rank] = source[place]
                share[rank] = 0.0

        chosen = kept
        if kept < limit:
            for place in range(entries):
                if kinds[place] & hides:
                    score[entry[place]] = -np.inf
            for place in range(first_excluded, last_excluded):
                if excluded[place] >= 0:
                    score[excluded[place]] = -np.inf
            for position in range(first_filler, last_filler):
                if kept == limit:
                    break
                if score[filler[position]] == 0.0:
                    out_product[task, kept] = filler[position]
                    out_score[task, kept] = 0.0
                    out_because[task, kept] = -1
                    kept += 1
        out_length[task] = kept

        for rank in range(chosen):
            score[out_product[task, rank]] = 0.0
        for place in range(entries):
            score[entry[place]] = 0.0
        for place in range(first_excluded, last_excluded):
            if excluded[place] >= 0:
                score[excluded[place]] = 0.0


PRODUCT, SCORE, REASON, NO_REASON, QUOTE, COMMA, ESCAPE = (
    np.frombuffer(each, np.uint8)
    for each in (b'{"product_id":"', b'","score":', b',"because":"', b',"because":null}', b'"}', b",", b"\\u00")
)
HEX = np.frombuffer(b"0123456789abcdef", np.uint8)


@njit(nogil=True, cache=True)
def answer(
    ids, bucket, member, popularity, row_start, row_product, row_value, offset, liking, term_weight, seconds, power,
    filler, score, points, asked, events, tasks, text, ends,
):  # fmt: skip
    """Write the lists of all tasks into ``text``; task ``i`` ends at ``ends[i]``.

    ``points`` are the code points of ``asked`` ids, histories' and excluded ones, which the tasks slice; ``events`` has
    the kind, age and count of those that are a history's.
    """
    found = np.empty(asked, dtype=np.int32)
    find(ids, bucket, member, points, found)
    longest = 1
    for task in range(len(tasks)):
        longest = max(longest, tasks[task, FIELDS - 1])
    products = np.empty((len(ends), longest), dtype=np.int32)
    scores = np.empty((len(ends), longest), dtype=np.float64)
    because = np.empty((len(ends), longest), dtype=np.int32)
    length = np.empty(len(ends), dtype=np.int64)
    top(
        row_start, row_product, row_value, offset, liking, term_weight, seconds, power, filler, score,
        found, events, tasks, found, products, scores, because, length,
    )  # fmt: skip
    at = 0
    for task in range(len(ends)):
        for rank in range(length[task]):
            prefetch(ids[products[task, rank]], 0)
        plainly_popular = tasks[task, 2] == tasks[task, 3]
        for rank in range(length[task]):
            product = products[task, rank]
            at = _put(text, at, PRODUCT)
            at = _put_id(text, at, ids, product)
            at = _put(text, at, SCORE)
            at = _put_score(text, at, popularity[product] if plainly_popular else scores[task, rank])
            if because[task, rank] < 0:
                at = _put(text, at, NO_REASON)
            else:
                at = _put(text, at, REASON)
                at = _put_id(text, at, ids, found[because[task, rank]])
                at = _put(text, at, QUOTE)
            if rank + 1 < length[task]:
                at = _put(text, at, COMMA)
        ends[task] = at


@njit(nogil=True, cache=True)
def _put(text, at, piece):
    for place in range(len(piece)):
        text[at + place] = piece[place]
    return at + len(piece)


@njit(nogil=True, cache=True)
def _put_id(text, at, ids, product):
    """As JSON in UTF-8: at most six bytes a code point."""
    for column in range(ids.shape[1]):
        point = ids[product, column]
        if point == 0:
            break
        if point < 0x20 or point == 0x22 or point == 0x5C:
            at = _put(text, at, ESCAPE)
            text[at], text[at + 1] = HEX[point >> 4], HEX[point & 15]
            at += 2
        elif point < 0x80:
            text[at] = point
            at += 1
        else:
            more = 1 if point < 0x800 else 2 if point < 0x10000 else 3
            text[at] = (0xFF00 >> more + 1 & 0xFF) | point >> 6 * more
            for place in range(more):
                text[at + 1 + place] = 0x80 | point >> 6 * (more - 1 - place) & 0x3F
            at += 1 + more
    return at


@njit(nogil=True, cache=True)
def _put_score(text, at, score):
    """A number that is not negative, in six decimals at most and one at least."""
    millionths = np.int64(np.rint(score * DECIMALS))
    whole, part = millionths // 1_000_000, millionths % 1_000_000
    digits = 1
    while whole >= 10**digits:
        digits += 1
    for place in range(digits):
        text[at + digits - 1 - place] = 0x30 + whole % 10
        whole //= 10
    at += digits
    text[at] = 0x2E
    places = 6
    while places > 1 and part % 10 == 0:
        part //= 10
        places -= 1
    for place in range(places):
        text[at + places - place] = 0x30 + part % 10
        part //= 10
    return at + 1 + places
