"""An endpoint that answers every question with made-up products, a round trip away: ``canned.py PORT MILLISECONDS``.

A program of its own on the other core. Answers have the contract's shape and a real one's size; they are put together
from prepared pieces, so that what is measured is the asker.
"""

import asyncio
import random
import re
import sys
from typing import cast

import orjson

LENGTH = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)
VARIANTS = 64


class Canned(asyncio.Protocol):
    def __init__(self, delay: float, slates: "Slates") -> None:
        self.delay, self.slates, self.received = delay, slates, bytearray()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self.received += data
        end = self.received.find(b"\r\n\r\n")
        length = LENGTH.search(self.received, 0, end) if end > 0 else None
        if length and len(self.received) >= end + 4 + int(length[1]):
            answer = self.slates.answer(bytes(self.received[end + 4 :]))
            self.received.clear()
            head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(answer)
            asyncio.get_running_loop().call_later(self.delay, self.transport.write, head + answer)


class Slates:
    """Lists of products, each made once and then a piece of bytes."""

    def __init__(self) -> None:
        self.draw = random.Random(7)
        self.made: dict[tuple[str, int], list[bytes]] = {}

    def answer(self, body: bytes) -> bytes:
        answers = [
            b'{"slate_id":"%s","slates":{%s}}'
            % (query["slate_id"].encode(), b",".join(self.slate(one["name"], one["limit"]) for one in query["slates"]))
            for query in orjson.loads(body)["queries"]
        ]
        return b'{"version":1,"model_version":"canned","answers":[%s]}' % b",".join(answers)

    def slate(self, name: str, limit: int) -> bytes:
        if (name, limit) not in self.made:
            self.made[name, limit] = [b'"%s":%s' % (name.encode(), self.products(limit)) for _ in range(VARIANTS)]
        return self.draw.choice(self.made[name, limit])

    def products(self, limit: int) -> bytes:
        score, because = self.draw.random, [str(self.draw.randrange(1_000_000, 1_020_000)) for _ in range(8)]
        return orjson.dumps(
            [
                {"product_id": str(1_000_000 + n), "score": round(score(), 6), "because": self.draw.choice(because)}
                for n in self.draw.sample(range(20_000), limit)
            ]
        )


async def serve(port: int, delay: float) -> None:
    slates = Slates()
    server = await asyncio.get_running_loop().create_server(lambda: Canned(delay, slates), "127.0.0.1", port)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1]), float(sys.argv[2]) / 1000))
