# SPDX-License-Identifier: Apache-2.0

"""How long to wait."""

from oslo_config import cfg

GROUP = 'timeouts'

OPTIONS = [
    cfg.IntOpt(
        'database_connect',
        default=3,
        min=1,
        max=60,
        help="""
Seconds until a database counts as down. What it holds is then unknown, which
refuses every step that needs it.
""",
    ),
    cfg.IntOpt(
        'database_read',
        default=30,
        min=11,
        help="""
Seconds that a single answer of a database may take. It must be longer than
the ten seconds that a change waits for a lock.
""",
    ),
    cfg.IntOpt(
        'api',
        default=60,
        min=1,
        help="""
Seconds that a single request to an API may take.
""",
    ),
    cfg.IntOpt(
        'server',
        default=600,
        min=1,
        help="""
Seconds that one server may take to be evacuated, started or rebooted before
it counts as failed. The fetching of images is part of it.
""",
    ),
    cfg.IntOpt(
        'settle',
        default=60,
        min=0,
        help="""
Seconds until a request that was sent, and of which nova has no record, can't
arrive any more. It must be at least the longest time that a proxy or a web
server in front of nova's API holds on to a request. Only then may the same
request be sent again.
""",
    ),
]
