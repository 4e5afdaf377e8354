# SPDX-License-Identifier: Apache-2.0

"""Where runs are recorded."""

from oslo_config import cfg

GROUP = 'journal'

OPTIONS = [
    cfg.StrOpt(
        'connection',
        default='sqlite:////var/lib/nova-recovery/journal.sqlite',
        secret=True,
        help="""
SQLAlchemy URL of the journal: what was planned, what was there before, and
how far each run is. SQLite by default, on a local file system.

Where several controllers share the work, a MySQL or MariaDB database of its
own, such as ``mysql+pymysql://recovery:PASSWORD@db1/nova_recovery``. Do not
put it on the servers that you would recover with it.
""",
    ),
    cfg.StrOpt(
        'images',
        help="""
Folder for what was there before where that is too large for the journal, or
secret: files for their owner alone, whose names and checksums the journal
has. By default ``images`` beside the file of the journal, or
``/var/lib/nova-recovery/images`` where the journal is in MySQL; such a file
is only on the controller that wrote it, and ``run export`` takes it along.
""",
    ),
]
