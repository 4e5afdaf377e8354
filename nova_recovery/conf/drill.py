# SPDX-License-Identifier: Apache-2.0

"""Drills: how long each step may take, and what takes a site's power."""

from oslo_config import cfg

GROUP = 'drill'

OPTIONS = [
    cfg.DictOpt(
        'targets',
        default={'seen': '120', 'restart': '600', 'back': '1800'},
        help="""
How many seconds a step of a drill may take, ``STEP:SECONDS`` divided by
commas; ``--target`` of the command comes before. The steps are ``snapshot``,
``loss``, ``power`` (of a whole site: until it is back), ``seen``, those of a
disaster (``record``, ``clean``, ``restart``, ``attach``, ``guests``) and
``back``, which is all from the loss of the power until all is whole again. A
step without a target is only timed.
""",
    ),
    cfg.StrOpt(
        'site_power_off',
        help="""
The program that takes the power of the whole site, for ``drill site``: all
compute hosts, and what else shall lose it with them. It is split like a
command line and run without a shell, once. Exit code 0 means that the power
is off; whatever else it ends with is in doubt. What the drill runs on has to
keep its power.
""",
    ),
    cfg.StrOpt(
        'site_power_on',
        help="""
The program that gives the power back, in the same form. It may be run again
when it failed, and may return before the hosts have booted.
""",
    ),
    cfg.IntOpt(
        'site_power_off_timeout',
        default=600,
        min=1,
        help='Seconds for ``site_power_off``.',
    ),
    cfg.IntOpt(
        'site_power_on_timeout',
        default=1800,
        min=1,
        help='Seconds for ``site_power_on``.',
    ),
    cfg.IntOpt(
        'site_silent_timeout',
        default=300,
        min=1,
        help="""
Seconds until nothing more is heard of any nova-compute, once the power is
off.
""",
    ),
    cfg.IntOpt(
        'site_back_timeout',
        default=1800,
        min=1,
        help="""
Seconds until the databases, nova's API and each nova-compute are back, once
the power is on.
""",
    ),
]
