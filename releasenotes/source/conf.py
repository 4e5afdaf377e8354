# SPDX-License-Identifier: Apache-2.0

"""Sphinx configuration of the release notes."""

extensions = ['openstackdocstheme', 'reno.sphinxext']

project = 'nova-recovery release notes'
copyright = 'OpenStack contributors'
root_doc = 'index'
pygments_style = 'native'

html_theme = 'openstackdocs'
openstackdocs_repo_name = 'openstack/nova-recovery'
openstackdocs_auto_name = False
openstackdocs_auto_version = False
version = ''
release = ''
