"""What instances cost, dated and sourced; a table to replace before money depends on it.

On-demand prices of real-time hosting in us-east-1, US dollars an hour. Collected in November 2026 from several public
copies of AWS's list (several agree on c5 and m5, two were a sixth higher, c6i stood in one alone), and not from AWS
itself, whose page no program here could open. AWS
changes prices and other regions differ: look them up at aws.amazon.com/sagemaker-ai/pricing.
"""

from typing import NamedTuple

AS_OF = "collected November 2026 from public copies of AWS's list, us-east-1, on demand; not checked with AWS"


class Instance(NamedTuple):
    name: str
    vcpus: int
    dollars_per_hour: float


INSTANCES = (
    Instance("ml.c5.large", 2, 0.102),
    Instance("ml.c5.xlarge", 4, 0.204),
    Instance("ml.c5.2xlarge", 8, 0.408),
    Instance("ml.c6i.large", 2, 0.102),
    Instance("ml.c6i.xlarge", 4, 0.204),
    Instance("ml.m5.large", 2, 0.115),
    Instance("ml.m5.xlarge", 4, 0.23),
)
