"""Endpoints that really serve: what is under way with each, and who answers its calls."""

import logging
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from moto.core.utils import utcnow
from moto.sagemaker.models import FakeEndpoint

from deploy.local import registry
from deploy.local.containers import Failure
from deploy.local.deployment import Deployment, Wish
from deploy.local.fleets import CLOSE_SECONDS, Fleet, Fleets
from deploy.local.host import Host
from deploy.local.routes import Routes

IN_PROGRESS = frozenset({"Creating", "Updating", "Deleting"})

log = logging.getLogger("deploy.local")


class Endpoints:
    """Every endpoint of this program's life."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._fleets = Fleets(host)
        self._routes = Routes()
        self._threads: list[threading.Thread] = []

    def fleet(self, region: str, name: str) -> Fleet | None:
        """Who answers one call, drawn anew for each; None if nobody does."""
        route = self._routes.get(region, name)
        return route.draw() if route else None

    def resume(self) -> None:
        """Start the kept endpoints again, each in the background: Creating, then InService."""
        for region, backend in registry.regions():
            for endpoint in backend.endpoints.values():
                if endpoint.endpoint_status != "Failed":
                    self.deploy(region, endpoint, Wish(endpoint.endpoint_config_name), "Creating")

    def deploy(self, region: str, endpoint: FakeEndpoint, wish: Wish, status: str) -> None:
        """Bring an endpoint to a configuration, in the background; ``status`` is what it shows meanwhile."""
        endpoint.endpoint_status = status
        endpoint.failure_reason = None
        endpoint.last_modified_time = utcnow()
        self._begin(Deployment(region, endpoint, wish, self._routes, self._fleets, self._host.keep))

    def scale(self, region: str, endpoint: Any, variant_name: str, count: int) -> None:
        """Change the number of a variant's instances, in the background."""
        route = self._routes.get(region, endpoint.endpoint_name)
        variant = next((each for each in route.blue.all if each.name == variant_name), None) if route else None
        if variant is None or count == len(variant.servers):
            return
        endpoint.endpoint_status = "Updating"
        variant.summary["DesiredInstanceCount"] = count

        def resize() -> None:
            try:
                self._fleets.resize(variant, count)
            except (Failure, OSError) as error:
                log.error("endpoint %s does not scale: %s", endpoint.endpoint_name, error)
                endpoint.failure_reason = str(error)
                variant.summary["DesiredInstanceCount"] = len(variant.servers)
            endpoint.endpoint_status = "InService"

        self._in_background(resize, f"scale-{endpoint.endpoint_name}")

    def remove(self, region: str, name: str) -> None:
        """Stop answering an endpoint's calls at once, and its containers in the background."""
        route = self._routes.pop(region, name)
        for fleet in route.fleets if route else ():
            self._in_background(fleet.retire, f"retire-{name}")

    def close(self) -> None:
        """Stop every container, because the local cloud ends."""
        self._fleets.close()
        fleets = [fleet for route in self._routes.close() for fleet in route.fleets]
        with ThreadPoolExecutor(max_workers=max(1, len(fleets))) as pool:
            list(pool.map(lambda fleet: fleet.retire(CLOSE_SECONDS), fleets))
        for thread in self._threads:
            thread.join()

    def _in_background(self, work: Callable[[], None], name: str) -> None:
        self._begin(threading.Thread(target=work, name=name))

    def _begin(self, thread: threading.Thread) -> None:
        self._threads = [each for each in self._threads if each.is_alive()]
        self._threads.append(thread)
        thread.start()
