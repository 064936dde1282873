"""A program: loads a toy server at a constant rate, open loop and closed loop, and prints both histograms as JSON.

A program of its own, because Locust replaces sockets in the whole process. ``python -m …stalling URL RATE SECONDS``
"""

from locust.event import Events  # isort: skip

import json
import sys
import time

from loadtests import arrivals
from loadtests.browser import Browser, connections
from loadtests.recording import Recording

url, rate, seconds = sys.argv[1], float(sys.argv[2]), float(sys.argv[3])


def session(recording: Recording) -> Browser:
    events = Events()  # type: ignore[no-untyped-call]
    events.request.add_listener(recording.fire)  # type: ignore[no-untyped-call]
    return Browser.of(url, events.request, connections())


opened = Recording(seconds + 5, time.time())  # its tail too, however busy this machine is
browser = session(opened)
arrivals.play(arrivals.constant(rate, seconds), lambda due: browser.page("/open", "home", due=due), opened.late.record)

closed = Recording(seconds, time.time())
browser, number = session(closed), 0
while (left := closed.begins + seconds - time.time()) > 0:
    browser.page("/closed", "home")
    number += 1
    time.sleep(max(0.0, closed.begins + number / rate - time.time()))

print(json.dumps({"open": opened.shown(), "closed": closed.shown()}))
