# SPDX-License-Identifier: Apache-2.0

"""How compute hosts are reached."""

from oslo_config import cfg

GROUP = 'fleet'

OPTIONS = [
    cfg.StrOpt(
        'driver',
        default='ansible',
        help="""
What carries work to compute hosts: an entry point of ``nova_recovery.fleet``.
``ansible`` runs ansible-playbook with your own inventory; ``local`` knows this
machine alone.
""",
    ),
    cfg.MultiStrOpt(
        'inventory',
        default=[],
        help="""
What ansible-playbook's ``-i`` takes: a file, a directory or a script. Repeat
it for several. Without one, Ansible's own configuration says which.
""",
    ),
    cfg.StrOpt(
        'directory',
        help="""
The directory in which ansible-playbook is run, such that the ``ansible.cfg``
there counts. Without one, the directory of the command.
""",
    ),
    cfg.StrOpt(
        'ansible_playbook',
        help="""
The path of ansible-playbook, such as that of a virtual environment of its
own; ansible-inventory must lie beside it. Without one, it is looked for beside
this Python, then in PATH.
""",
    ),
    cfg.MultiStrOpt(
        'host',
        default=[],
        help="""
``NOVA_HOST=INVENTORY_NAME``: what the inventory calls a compute host. Repeat
it for each one. Without it, the variable ``nova_recovery_host`` of the
inventory's hosts counts, then a host that the inventory calls exactly as nova
does.
""",
    ),
    cfg.StrOpt(
        'host_map',
        help="""
A file of such pairs: a line each, ``NOVA_HOST INVENTORY_NAME``; ``#`` begins a
comment.
""",
    ),
    cfg.BoolOpt(
        'become',
        default=False,
        help="""
Become root on the hosts, as ansible-playbook's ``--become``. Not needed where
the inventory says so, or logs in as root.
""",
    ),
    cfg.StrOpt(
        'become_password_file',
        help="""
The file with the password for becoming root, or a program that prints it.
""",
    ),
    cfg.StrOpt(
        'connection_password_file',
        help="""
The file with the password for logging in, or a program that prints it.
""",
    ),
    cfg.StrOpt(
        'vault_password_file',
        help="""
The file with the password of Ansible's vault, or a program that prints it.
""",
    ),
    cfg.IntOpt(
        'forks',
        default=25,
        min=1,
        max=500,
        help="""
How many hosts are asked side by side. Behind a bastion, no more than 10: its
sshd drops the rest (``MaxStartups``).
""",
    ),
    cfg.IntOpt(
        'connect_timeout',
        default=10,
        min=1,
        help="""
Seconds until a host that doesn't answer counts as unreachable.
""",
    ),
    cfg.IntOpt(
        'timeout',
        default=120,
        min=5,
        help="""
Seconds that one host may take for one call. What takes longer is started
there and asked about; a call that was given up is in doubt.
""",
    ),
    cfg.StrOpt(
        'home',
        default='/var/lib/nova-recovery',
        help="""
The directory on the hosts for the agent and what it must remember. It must
outlive a reboot.
""",
    ),
]
