# SPDX-License-Identifier: Apache-2.0

"""Drills: how long each step may take."""

from oslo_config import cfg

GROUP = 'drill'

OPTIONS = [
    cfg.DictOpt(
        'targets',
        default={'seen': '120', 'restart': '600', 'back': '1800'},
        help="""
How many seconds a step of a drill may take, ``STEP:SECONDS`` divided by
commas; ``--target`` of the command comes before. The steps are ``snapshot``,
``loss``, ``seen``, those of a disaster (``record``, ``clean``, ``restart``,
``attach``, ``guests``) and ``back``, which is all from the loss of the power
until the server is whole again. A step without a target is only timed.
""",
    )
]
