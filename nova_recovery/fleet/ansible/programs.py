# SPDX-License-Identifier: Apache-2.0

"""Ansible's programs: where they are, and how they are run for us."""

from __future__ import annotations

import os
import pathlib
import shutil
import sys

from oslo_config import cfg

from nova_recovery.exceptions import ConfigError

_CALLBACKS = pathlib.Path(__file__).parent / 'callback'
_MISSING = """\
ansible-playbook is not installed{where}. Either of these installs it:
  pip install 'nova-recovery[ansible]'     beside nova-recovery
  apt install ansible-core                 Debian, Ubuntu
  dnf install ansible-core                 RHEL, CentOS Stream
or say where it is with [fleet] ansible_playbook"""


def find(configured: str | None) -> tuple[str, str]:
    """The paths of ansible-playbook and ansible-inventory.

    :param configured: ``[fleet] ansible_playbook``
    :raises ConfigError: they are not there
    """
    if configured:
        places = [os.path.expanduser(configured)]
        where = f' as {configured} ([fleet] ansible_playbook)'
    else:
        beside = os.path.dirname(sys.executable)
        places = [os.path.join(beside, 'ansible-playbook'), 'ansible-playbook']
        where = ' beside this Python or in PATH'
    for place in places:
        playbook = shutil.which(place)
        if playbook is None:
            continue
        inventory = os.path.join(
            os.path.dirname(playbook), 'ansible-inventory'
        )
        if os.access(inventory, os.X_OK):
            return playbook, inventory
    raise ConfigError(_MISSING.format(where=where))


def arguments(conf: cfg.ConfigOpts) -> list[str]:
    """What both programs are told of the operator's own things."""
    found = [f'--inventory={_path(place)}' for place in conf.fleet.inventory]
    if conf.fleet.vault_password_file:
        path = _path(conf.fleet.vault_password_file)
        found.append(f'--vault-password-file={path}')
    return found


def secrets(conf: cfg.ConfigOpts) -> list[str]:
    """Where ansible-playbook reads passwords: none is in an argument."""
    return [
        f'--{name.replace("_", "-")}={_path(value)}'
        for name in ('become_password_file', 'connection_password_file')
        if (value := getattr(conf.fleet, name))
    ]


def _path(place: str) -> str:
    """As it was meant where the command was typed.

    "host1," is a list of hosts and no path.
    """
    path = os.path.abspath(os.path.expanduser(place))
    return path if os.path.exists(path) else place


def environment(**more: str) -> dict[str, str]:
    """The operator's own, but what would change what a play is.

    ansible.cfg counts too; what is set here counts before it.
    """
    found = {
        name: value
        for name, value in os.environ.items()
        if name not in ('ANSIBLE_RUN_TAGS', 'ANSIBLE_SKIP_TAGS')
    }
    found |= {
        # Ansible refuses to start without UTF-8
        'LC_ALL': 'C.UTF-8',
        'ANSIBLE_STDOUT_CALLBACK': 'nova_recovery_events',
        'ANSIBLE_CALLBACK_PLUGINS': str(_CALLBACKS),
        'ANSIBLE_NOCOLOR': 'True',
        'ANSIBLE_FORCE_COLOR': 'False',
        'ANSIBLE_DEBUG': 'False',
        'ANSIBLE_VERBOSITY': '0',
        'ANSIBLE_RETRY_FILES_ENABLED': 'False',
        'ANSIBLE_GATHERING': 'explicit',
        'ANSIBLE_LOCALHOST_WARNING': 'False',
        'ANSIBLE_DEPRECATION_WARNINGS': 'False',
    }
    return found | more
