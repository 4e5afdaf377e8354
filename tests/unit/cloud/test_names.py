# SPDX-License-Identifier: Apache-2.0

"""The many names of a server."""

from __future__ import annotations

from nova_recovery.cloud import names
from tests.base import TestCase

UUID = '3f57699a-e773-4650-a443-b4b37eed5a06'
ROW = {'id': 5561, 'uuid': UUID, 'display_name': 'web', 'hostname': 'web-1'}


class TestMeanings(TestCase):
    def columns(
        self, text: str, template: str = 'instance-%08x'
    ) -> dict[str, str | int]:
        return {
            meaning.column: meaning.value
            for meaning in names.meanings(text, template)
        }

    def test_a_uuid_is_nothing_else(self) -> None:
        self.assertEqual({'uuid': UUID}, self.columns(UUID))
        self.assertEqual({'uuid': UUID}, self.columns(UUID.upper()))

    def test_a_name(self) -> None:
        self.assertEqual({'display_name': 'web'}, self.columns('web'))

    def test_a_number_may_be_a_name_too(self) -> None:
        self.assertEqual(
            {'display_name': '5561', 'id': 5561}, self.columns('5561')
        )

    def test_a_number_that_is_no_id(self) -> None:
        self.assertEqual(['display_name'], list(self.columns('1' * 11)))

    def test_hexadecimal(self) -> None:
        self.assertEqual(5561, self.columns('0x15b9')['id'])
        self.assertEqual(5561, self.columns('0x15B9')['id'])

    def test_the_name_in_the_hypervisor(self) -> None:
        self.assertEqual(5561, self.columns('instance-000015b9')['id'])
        # not of our making: eight digits always
        self.assertEqual(['display_name'], list(self.columns('instance-15b')))

    def test_the_name_of_ec2(self) -> None:
        found = self.columns('i-000015b9')
        self.assertEqual(5561, found['ec2'])
        self.assertNotIn('id', found)

    def test_other_templates(self) -> None:
        for template, text, column, value in (
            ('vm-%d', 'vm-5561', 'id', 5561),
            ('vm-%06d-x', 'vm-005561-x', 'id', 5561),
            ('vm-%X', 'vm-15B9', 'id', 5561),
            ('vm%%-%o', 'vm%-12671', 'id', 5561),
            ('vm-%s', 'vm-5561', 'id', 5561),
            ('vm-%s', 'vm-web', 'id', None),
            ('%(uuid)s', UUID, 'uuid', UUID),
            ('uuid-%(uuid)s', f'uuid-{UUID}', 'uuid', UUID),
            ('%(hostname)s-%(id)d', 'web-1-5561', 'id', 5561),
            ('i.%(hostname)s', 'i.web-1', 'hostname', 'web-1'),
        ):
            self.assertEqual(
                value, self.columns(text, template).get(column), template
            )

    def test_the_name_that_the_template_makes_is_understood(self) -> None:
        for template in ('instance-%08x', 'vm-%d', 'u-%(uuid)s', 'x%(id)05d'):
            made = names.instance_name(template, ROW)
            found = self.columns(made, template)
            self.assertIn(
                ROW[next(reversed(found))], list(found.values()), template
            )


class TestInstanceName(TestCase):
    def test_as_nova_makes_it(self) -> None:
        for template, expected in (
            ('instance-%08x', 'instance-000015b9'),
            ('%(uuid)s', UUID),
            ('vm-%(hostname)s', 'vm-web-1'),
            ('%(no_such_column)s', UUID),
        ):
            self.assertEqual(expected, names.instance_name(template, ROW))
