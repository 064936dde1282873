"""What jobs and endpoints need of the machine they run on."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from deploy.local.faults import Switch
from deploy.local.storage import Storage


@dataclass(frozen=True, slots=True)
class Host:
    """S3, the images that can be run, scratch space that goes and logs that stay."""

    storage: Storage
    keep: Callable[[], None]  # brings the disk up to date; raises OSError when it is full
    images: Mapping[str, Sequence[str]]
    work: Path
    logs: Path
    faults: Switch = field(default_factory=Switch)
