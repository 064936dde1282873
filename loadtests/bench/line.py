"""A line with a round trip: ``line.py FROM_PORT TO_PORT MILLISECONDS`` passes bytes on, each way half of it later."""

import asyncio
import sys
from typing import cast


class End(asyncio.Protocol):
    """One end of a connection; what arrives here, its end included, leaves at ``other``."""

    def __init__(self, delay: float, port: int = 0) -> None:
        self.delay, self.port = delay, port
        self.other: End | None = None
        self.transport: asyncio.Transport | None = None
        self.waiting: list[bytes] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        for data in self.waiting:
            self.transport.write(data)
        if self.port:
            self.other = end = End(self.delay)
            end.other = self
            loop = asyncio.get_running_loop()
            self.connecting = loop.create_task(loop.create_connection(lambda: end, "127.0.0.1", self.port))
            self.connecting.add_done_callback(lambda connecting: self.close() if connecting.exception() else None)

    def data_received(self, data: bytes) -> None:
        if self.other:
            asyncio.get_running_loop().call_later(self.delay, self.other.send, data)

    def send(self, data: bytes) -> None:
        if self.transport:
            self.transport.write(data)
        else:
            self.waiting.append(data)

    def connection_lost(self, error: Exception | None) -> None:
        if self.other:  # as late as the bytes before it, which would else be lost
            asyncio.get_running_loop().call_later(self.delay, self.other.close)

    def close(self) -> None:
        if self.transport:
            self.transport.close()


async def serve(port: int, to_port: int, round_trip: float) -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: End(round_trip / 2, to_port), "127.0.0.1", port)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]) / 1000))
