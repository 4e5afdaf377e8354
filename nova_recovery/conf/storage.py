# SPDX-License-Identifier: Apache-2.0

"""Where the disks of the servers are."""

from oslo_config import cfg

GROUP = 'storage'

OPTIONS = [
    cfg.BoolOpt(
        'shared_instances',
        help="""
Whether the disks of servers that don't boot from a volume can be reached from
every compute host: instances_path is on shared storage, or they are in Ceph.
Without an answer, a server with such a disk is refused unless the operator
says so for the one recovery with ``--shared-storage``, or its target is seen
to have the disk, over the fleet.
""",
    )
]
