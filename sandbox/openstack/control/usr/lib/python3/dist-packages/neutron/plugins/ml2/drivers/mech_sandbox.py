"""Every port is bound at once: the host connects a server's machine with the network by itself, no agent does."""

from neutron_lib import constants
from neutron_lib.api.definitions import portbindings
from neutron_lib.plugins.ml2 import api


class SandboxMechanismDriver(api.MechanismDriver):
    """Binds what it is asked to bind."""

    def initialize(self):
        """Nothing to prepare."""

    def bind_port(self, context):
        for segment in context.segments_to_bind:
            context.set_binding(
                segment[api.ID],
                portbindings.VIF_TYPE_OVS,
                {portbindings.CAP_PORT_FILTER: True},
                status=constants.PORT_STATUS_ACTIVE,
            )
