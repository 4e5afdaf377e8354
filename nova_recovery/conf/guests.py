# SPDX-License-Identifier: Apache-2.0

"""How guests are reached that are rebooted from inside."""

from oslo_config import cfg

GROUP = 'guests'

OPTIONS = [
    cfg.StrOpt(
        'config_file',
        help="""
The ssh_config(5) that is read instead of the operator's own and of that of
the machine, as ssh's -F takes it. It is of whoever carries a plan out: a plan
of somebody else can't name one, for it may run programs.
""",
    ),
    cfg.MultiStrOpt(
        'ssh_option',
        default=[],
        help="""
An option for ssh, NAME=VALUE as in ssh_config(5), that counts before what is
there; the same as --ssh-option. What runs a program (ProxyCommand) is for
ssh_config itself. May be given several times.
""",
    ),
    cfg.StrOpt(
        'user',
        help="""
The user of a guest whose metadata names none. Without one, ssh_config says
it. Who isn't root needs sudo without a password for shutdown and for reading
/sys/class/dmi/id/product_uuid.
""",
    ),
    cfg.StrOpt(
        'network',
        help="""
The network whose addresses are used for guests whose metadata names none.
Without one, all networks are good.
""",
    ),
    cfg.StrOpt(
        'prefer',
        default='floating',
        choices=('floating', 'fixed'),
        help="""
Which of the addresses of a guest comes first.
""",
    ),
    cfg.StrOpt(
        'reboot_key',
        default='recovery_reboot',
        help="""
The key of a server's metadata that says whether its guest is to be rebooted
from inside: true or false.
""",
    ),
    cfg.StrOpt(
        'address_key',
        default='recovery_address',
        help="""
The key of a server's metadata that says which of the server's own addresses
is to be used. An address that isn't its own is refused: metadata is the word
of whoever owns the server.
""",
    ),
    cfg.StrOpt(
        'network_key',
        default='recovery_network',
        help="""
The key of a server's metadata that says through which of its networks it is
reached.
""",
    ),
    cfg.StrOpt(
        'user_key',
        default='recovery_user',
        help="""
The key of a server's metadata that says as whom to log in.
""",
    ),
    cfg.BoolOpt(
        'require_identity',
        default=True,
        help="""
Whether a machine has to prove that it is the server, by the UUID in its
firmware, which libvirt and nova set to that of the server. Tenants may use
the addresses of others in their networks. A machine that says another UUID
is never rebooted; this is about those that say none.
""",
    ),
    cfg.IntOpt(
        'connect_timeout',
        default=10,
        min=1,
        help="""
Seconds until a guest has answered a connection, unless ssh_config says it.
""",
    ),
    cfg.IntOpt(
        'answer_timeout',
        default=40,
        min=5,
        help="""
Seconds after which an ssh that hasn't ended is killed, whatever ssh_config
says.
""",
    ),
    cfg.IntOpt(
        'reach_timeout',
        default=120,
        min=0,
        help="""
Seconds for a guest that may still be starting to be reachable for the first
time.
""",
    ),
    cfg.IntOpt(
        'settle',
        default=60,
        min=1,
        help="""
Seconds after which a guest that answers, isn't shutting down and is still
the boot from before was not rebooted.
""",
    ),
    cfg.IntOpt(
        'return_timeout',
        default=600,
        min=1,
        help="""
Seconds that a guest may take from its shutdown until it answers again.
""",
    ),
]
