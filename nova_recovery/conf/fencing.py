# SPDX-License-Identifier: Apache-2.0

"""How a host is proved to be off."""

from oslo_config import cfg

GROUP = 'fencing'

OPTIONS = [
    cfg.StrOpt(
        'driver',
        default='operator',
        help="""
What proves that a host is off: an entry point of ``nova_recovery.fencing``.
``operator`` takes the word that is given with ``--fenced``; ``command`` runs
``command_status`` and ``command_off``.
""",
    ),
    cfg.StrOpt(
        'command_status',
        help="""
The command that tells whether a host is off, such as
``fence_ipmilan --ip {host}-ipmi --action status``. ``{host}`` is the name of
the host in nova. It is split like a command line and run without a shell. As
with the fence agents, exit code 2 together with the word "off" in what it
prints means off, exit code 0 means on, anything else is unknown.
""",
    ),
    cfg.StrOpt(
        'command_off',
        help="""
The command that turns a host off, in the same form. Exit code 0 means that
the host is off.
""",
    ),
]
