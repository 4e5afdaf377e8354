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
        default=1800,
        min=0,
        help="""
Seconds until a request that was sent without an answer, and of which nova has
no record, can't be carried out any more; only then may the same be sent
again. nova's API itself holds on to one while it waits for others: on a loaded
cloud 899 seconds were seen (it waited for glance), and it was carried out ten
minutes after its client had gone. The default is twice that. What it costs: a
server whose request was not answered waits that long, and the others go on
without it. Counted from when it was sent; whoever knows better may end the
run, look at the server, and resume with --again or --skip. Don't set it below
the time-outs of proxies and web servers before the API.
""",
    ),
]
