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

"""Sphinx configuration of the documentation."""

extensions = [
    'cliff.sphinxext',
    'openstackdocstheme',
    'oslo_config.sphinxconfiggen',
    'oslo_config.sphinxext',
]

project = 'nova-recovery'
copyright = 'OpenStack contributors'
root_doc = 'index'
pygments_style = 'native'

html_theme = 'openstackdocs'
openstackdocs_repo_name = 'openstack/nova-recovery'
openstackdocs_auto_name = False
openstackdocs_auto_version = False
version = ''
release = ''

autoprogram_cliff_application = 'openstack'

config_generator_config_file = (
    '../../etc/nova-recovery/config-generator.conf'
)
sample_config_basename = '_static/nova-recovery'
