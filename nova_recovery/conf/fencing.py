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
the host in nova. It is split like a command line and run without a shell.

A line of its output has to tell the state, and its exit code to agree:
``Status: OFF`` (or just ``off``) with 2 and ``Status: ON`` with 0, as the
fence agents do, or ``Chassis Power is off``, as ipmitool does, or Redfish's
``"PowerState": "Off"``, both with 0. Whatever else it says or ends with, a
usage text or an error beside, is unknown, and refuses.
""",
    ),
    cfg.ListOpt(
        'control_host',
        default=[],
        help="""
Hosts that are known to be on, by the names that ``command_status`` takes.
"Off" counts only if the same command says "on" of one of them: a wrong plug
or a wildcard would call every host off. Without them it is told that nobody
tried.
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
