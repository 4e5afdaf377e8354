# SPDX-License-Identifier: Apache-2.0

"""Databases of cells: other than those that nova names, or all."""

from oslo_config import cfg

GROUP = 'cells'

OPTIONS = [
    cfg.MultiStrOpt(
        'connection',
        default=[],
        secret=True,
        help="""
``NAME=URL`` of one cell's database, such as
``cell1=mysql+pymysql://nova:PASSWORD@db1/nova``. Repeat it for each cell.

Where nova.conf has an ``[api_database]``, the cells come from there, and this
is only for another user or address than the one in ``cell_mappings``: name
the cells that it is for. Where it has none, this must name all cells but
cell0, since a cell that is not named is not searched. In a password write
``$$`` for ``$``.
""",
    )
]
