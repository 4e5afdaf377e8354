# SPDX-License-Identifier: Apache-2.0

"""Where snapshots are, and how many are kept."""

from oslo_config import cfg

GROUP = 'snapshot'

OPTIONS = [
    cfg.StrOpt(
        'directory',
        default='/var/lib/nova-recovery/snapshots',
        help="""
Where ``snapshot create`` writes, and the others look. Keep it on a disk that
survives what the snapshots are for, or copy it to one.
""",
    ),
    cfg.IntOpt(
        'keep_count',
        default=14,
        min=0,
        help="""
How many snapshots of the cloud, and of each host, are kept. Older ones are
deleted after a new one was written. 0 keeps any number. The newest complete
one is always kept, and so are the newest one of a living cloud and those of
runs.
""",
    ),
    cfg.IntOpt(
        'keep_days',
        default=60,
        min=0,
        help="""
After how many days a snapshot is deleted. 0 keeps them for ever.
""",
    ),
]
