# SPDX-License-Identifier: Apache-2.0

"""A cloud after a power loss."""

from oslo_config import cfg

GROUP = 'disaster'

OPTIONS = [
    cfg.StrOpt(
        'priority_key',
        default='recovery_priority',
        help="""
The key in the metadata of servers whose value, a number, says in what order
they come up again: 1 before 2. A server without it has 100.
""",
    ),
    cfg.IntOpt(
        'quiet',
        default=300,
        min=0,
        help="""
Seconds for which nobody else may have done anything to a server before the
site counts as ready. What our own run sends, and what nova stops by itself
because it doesn't run, does not count. 0: it is no hindrance.
""",
    ),
]
