# SPDX-License-Identifier: Apache-2.0

"""Where the configuration of nova and cinder is."""

from oslo_config import cfg

GROUP = 'DEFAULT'

OPTIONS = [
    cfg.MultiStrOpt(
        'nova_config_file',
        default=[],
        help="""
nova.conf of a controller: the file whose ``[api_database]`` leads to the
cells. Repeat it for several files, where the later one wins, as with
``nova-api --config-file``.

Without it, and without ``nova_config_dir``, the files are read that nova
itself reads: those of ``OS_NOVA_CONFIG_DIR`` and ``OS_NOVA_CONFIG_FILES``
when they are set, else ``nova.conf`` in ``~/.nova``, ``~``, ``/etc/nova`` or
``/etc`` with the directory ``nova.conf.d`` beside it, else kolla's
``/etc/kolla/nova-api/nova.conf``.
""",
    ),
    cfg.MultiStrOpt(
        'nova_config_dir',
        default=[],
        help="""
A directory whose ``*.conf`` files are read after ``nova_config_file``, in the
order of their names. Repeat it for several directories.
""",
    ),
    cfg.MultiStrOpt(
        'cinder_config_file',
        default=[],
        help="""
cinder.conf of a controller: the file with cinder's ``[database]``. Repeat it
for several files, where the later one wins.

Without it, ``cinder.conf`` in ``~/.cinder``, ``~``, ``/etc/cinder`` or
``/etc`` with the directory ``cinder.conf.d`` beside it, else kolla's
``/etc/kolla/cinder-api/cinder.conf``.
""",
    ),
]
