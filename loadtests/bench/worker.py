"""The refresh path: shoppers refreshed per second, and how soon an event is seen in the shopper's slates."""

import time

from redis import Redis

from loadtests.bench import catalogue, freshness
from loadtests.bench.part import PATIENCE, BenchError
from loadtests.bench.stack import Stack, answers, free_port

RUNS = 5
ROUND_TRIP_MS = 20


def measure(stack: Stack) -> dict[str, float]:
    return refreshes(stack) | freshness.measure(stack)


def refreshes(stack: Stack) -> dict[str, float]:
    """Everybody with a history of catalogue.HISTORY events becomes pending at once; one worker process serves them."""
    port, shop = free_port(), stack.shop
    canned = stack.python("canned endpoint", "loadtests/bench/canned.py", str(port), str(ROUND_TRIP_MS))
    canned.wait_until(lambda: answers(port))
    worker = stack.worker(under_test=True, env={"AWS_ENDPOINT_URL_SAGEMAKER_RUNTIME": f"http://127.0.0.1:{port}"})
    rates, cpu = [], []
    with Redis(port=stack.redis_port) as redis:
        keys = [f"shopper:{n}" for n in range(catalogue.HOUSEHOLDS + 1, len(shop.shoppers) + 1)]
        for run in range(RUNS + 1):
            stack.say(f"refreshing {len(keys):,} shoppers, run {run} of {RUNS}")
            before = worker.cpu_seconds()
            seconds = drained(stack, redis, keys)
            if run:  # the first one warms up
                rates.append(len(keys) / seconds)
                cpu.append((worker.cpu_seconds() - before) / len(keys) * 1e6)
        made = redis.memory_usage(f"{{aisle}}:slate:{keys[0]}")
    worker.stop()
    canned.stop()
    return {
        "refreshes_per_s": stack.median("refreshes_per_s", rates),
        "refresh_cpu_us": stack.median("refresh_cpu_us", cpu),
        "slate_bytes": float(made or 0),
    }


def drained(stack: Stack, redis: "Redis", keys: list[str]) -> float:
    """Seconds from the first key's being taken to the last one's being done."""
    redis.zadd("{aisle}:pending", dict.fromkeys(keys, time.time() * 1000))
    # The sweep wakes a worker for keys that nobody announced.
    stack.python("wake", "-m", "celery", "-A", "storefront", "call", "recommender.tasks.sweep")
    waited = time.monotonic() + PATIENCE
    while not redis.zcard("{aisle}:in-flight"):
        if time.monotonic() > waited:
            raise BenchError("nobody drains the pending set")
        time.sleep(0.001)
    began = time.monotonic()
    while redis.zcard("{aisle}:pending") or redis.zcard("{aisle}:in-flight"):
        if time.monotonic() > waited:
            raise BenchError("the pending set is never empty")
        time.sleep(0.002)
    return time.monotonic() - began
