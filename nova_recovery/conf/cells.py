# Licensed under the Apache License, Version 2.0 (the "License"); you may
# not use this file except in compliance with the License. You may obtain
# a copy of the License at
#
#      http://www.apache.org/licenses/LICENSE-2.0
#
# Unless required by applicable law or agreed to in writing, software
# distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the
# License for the specific language governing permissions and limitations
# under the License.


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
    ),
]
