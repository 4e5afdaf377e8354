# SPDX-License-Identifier: Apache-2.0

"""How much is done at a time."""

from oslo_config import cfg

GROUP = 'runner'

OPTIONS = [
    cfg.IntOpt(
        'workers',
        default=16,
        min=1,
        max=64,
        help="""
How many changes run side by side, at most. The APIs of the cloud are the
limit: see the benchmark in the documentation.
""",
    ),
    cfg.IntOpt(
        'per_target',
        default=4,
        min=1,
        max=64,
        help="""
How many servers are brought up side by side on one target host, at most.
Nova does not limit evacuations by ``max_concurrent_builds``.
""",
    ),
]
