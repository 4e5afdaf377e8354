# SPDX-License-Identifier: Apache-2.0

"""What is required is used, and what is used is required."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from importlib import metadata, util
import pathlib
import re

from tests.base import TestCase

ROOT = pathlib.Path(__file__).parents[2]
#: Used without an import: the unified client is the program whose plugin this
#: is.
PROGRAMS = {'python-openstackclient'}
#: Extras, the callback that Ansible loads into itself, and types that no
#: interpreter loads.
OPTIONAL = {'ansible', 'libvirt', 'typing_extensions'}
#: Modules whose distribution isn't called like them.
NAMES = {
    'cinderclient': 'python-cinderclient',
    'novaclient': 'python-novaclient',
    'openstack': 'openstacksdk',
    'openstackclient': 'python-openstackclient',
    'oslo_config': 'oslo.config',
    'oslo_db': 'oslo.db',
    'oslo_log': 'oslo.log',
    'oslo_utils': 'oslo.utils',
    'subunit': 'python-subunit',
    'yaml': 'pyyaml',
}


def named(name: str) -> str:
    return re.sub(r'[-_.]+', '-', name).lower()


def required(file: str) -> set[str]:
    return {
        named(re.split(r'[<>=~! ]', line)[0])
        for line in (ROOT / file).read_text().splitlines()
        if line and not line.startswith('#')
    }


def installed(module: str) -> bool:
    """Whether it comes from a distribution, not with Python or from here.

    Python 3.9 has no list of its own modules.
    """
    found = util.find_spec(module)
    return found is None or bool(
        re.search('/(site|dist)-packages/', found.origin or '')
    )


def imported(folder: str) -> Iterator[str]:
    """The distributions, not ours, that modules below a folder import."""
    for path in (ROOT / folder).rglob('*.py'):
        for node in ast.walk(ast.parse(path.read_text())):
            names = []
            if isinstance(node, ast.Import):
                names = [one.name for one in node.names]
            elif isinstance(node, ast.ImportFrom) and not node.level:
                names = [node.module or '']
            for name in names:
                top = name.partition('.')[0]
                if top not in OPTIONAL and installed(top):
                    yield named(NAMES.get(top, top))


class RequirementsTest(TestCase):
    def test_each_is_imported_and_no_other(self) -> None:
        self.assertEqual(
            required('requirements.txt') - PROGRAMS,
            set(imported('nova_recovery')),
        )

    def test_unit_tests_have_what_they_import(self) -> None:
        has = required('requirements.txt') | required('test-requirements.txt')
        self.assertLessEqual(set(imported('tests/unit')), has)

    def test_the_names_are_those_of_distributions(self) -> None:
        for name in required('requirements.txt'):
            metadata.version(name)

    def test_constraints_name_each_once(self) -> None:
        for path in (ROOT / 'constraints').glob('*.txt'):
            names = [
                named(line.split('==')[0])
                for line in path.read_text().splitlines()
                if not line.startswith('#')
            ]
            self.assertEqual(sorted(set(names)), sorted(names), path.name)
            # OpenStack's own, whose generations belong together
            self.assertLessEqual(
                {
                    name
                    for name in required('requirements.txt')
                    if re.match(r'oslo|os|python-|cliff|keystone', name)
                },
                set(names),
            )
