# SPDX-License-Identifier: Apache-2.0

"""One play: a script for each host, and no word of Ansible's about how."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def play(
    scripts: Mapping[str, str], seconds: float, become: bool
) -> list[dict[str, Any]]:
    """The play as Ansible reads it, to be written as JSON.

    ``raw``: no module is sent, which would want a Python that this Ansible
    supports (RHEL 8's is too old for 2.17 and later), and no tty problem
    with sudo's ``requiretty``. All that an ``ansible.cfg`` could change is
    said: each host gets its script, once, whatever the others do.

    :param scripts: by the exact names of the inventory; they have no braces
        that Jinja would read
    :param seconds: after which a host is given up
    """
    made: dict[str, Any] = {
        'name': 'nova-recovery',
        'hosts': sorted(scripts),
        'gather_facts': False,
        'strategy': 'linear',
        'any_errors_fatal': False,
        'max_fail_percentage': 100,
        'tags': ['always'],
        'vars': {'nova_recovery_scripts': dict(scripts)},
        'tasks': [
            {
                'name': 'agent',
                'raw': '{{ nova_recovery_scripts[inventory_hostname] }}',
                'args': {'executable': '/bin/sh'},
                'timeout': max(int(seconds), 1),
                'check_mode': False,
                'diff': False,
                'no_log': False,
                'ignore_errors': False,
                'ignore_unreachable': False,
                'changed_when': False,
            }
        ],
    }
    if become:
        made['become'] = True
    return [made]
