"""Nova's view of the sandbox: a server is a machine that the host makes (hypervisor.py), asked over a socket that both see.

Everything that has no meaning here (volumes, live migration, consoles with a picture) is the fake driver's.
"""

import json
import socket

from nova import exception
from nova.compute import power_state
from nova.virt import fake, hardware

SOCKET = "/hypervisor/socket"
_SECONDS = 180


def ask(action, **arguments):
    """Have the host do `action` and return its answer. Raises NovaException with the host's words."""
    request = json.dumps({"action": action, **arguments}) + "\n"
    try:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(_SECONDS)
            connection.connect(SOCKET)
            connection.sendall(request.encode())
            with connection.makefile() as answers:
                answer = json.loads(answers.readline())
    except (OSError, ValueError) as error:
        raise exception.NovaException(f"the host's hypervisor does not answer: {error}") from error
    if "error" in answer:
        raise exception.NovaException(answer["error"])
    return answer["result"]


class SandboxDriver(fake.FakeDriverWithoutFakeNodes):
    """Machines of the host as servers."""

    def __init__(self, virtapi, read_only=False):
        super().__init__(virtapi, read_only)
        self.capabilities = {**self.capabilities, "supports_migrate_to_same_host": True}

    def _known(self, instance):
        state = ask("list").get(instance.uuid)
        if state is None:
            raise exception.InstanceNotFound(instance_id=instance.uuid)
        return state

    def spawn(
        self, context, instance, image_meta, injected_files, admin_password, allocations,
        network_info=None, block_device_info=None, power_on=True, accel_info=None,
    ):
        addresses = [ip["address"] for vif in network_info or [] for ip in vif.fixed_ips()]
        ask(
            "spawn", uuid=instance.uuid, hostname=instance.hostname, image=image_meta.name,
            memory_mb=instance.flavor.memory_mb, addresses=addresses, key=instance.key_data,
            user_data=instance.user_data, power_on=power_on,
        )

    def destroy(
        self, context, instance, network_info, block_device_info=None, destroy_disks=True, destroy_secrets=True
    ):
        # A resize that is taken back "destroys" the new size, but not the disk.
        ask("destroy" if destroy_disks else "power_off", uuid=instance.uuid)

    def cleanup(self, context, instance, network_info, block_device_info=None, destroy_disks=True, **options):
        if destroy_disks:
            ask("destroy", uuid=instance.uuid)

    def reboot(self, context, instance, network_info, reboot_type, *arguments, **options):
        ask("reboot", uuid=instance.uuid, hard=reboot_type == "HARD")

    def power_off(self, instance, timeout=0, retry_interval=0):
        ask("power_off", uuid=instance.uuid)

    def power_on(self, context, instance, network_info, *arguments, **options):
        ask("power_on", uuid=instance.uuid)

    def list_instance_uuids(self):
        return list(ask("list"))

    def list_instances(self):
        return self.list_instance_uuids()

    def instance_exists(self, instance):
        return instance.uuid in ask("list")

    def get_info(self, instance, use_cache=True):
        running = self._known(instance) == "on"
        return hardware.InstanceInfo(state=power_state.RUNNING if running else power_state.SHUTDOWN)

    def get_console_output(self, context, instance):
        return ask("console", uuid=instance.uuid).encode()

    def migrate_disk_and_power_off(self, context, instance, *arguments, **options):
        ask("power_off", uuid=instance.uuid)

    def finish_migration(
        self, context, migration, instance, disk_info, network_info, image_meta, resize_instance,
        allocations, block_device_info=None, power_on=True,
    ):
        ask("resize", uuid=instance.uuid, memory_mb=instance.flavor.memory_mb, power_on=power_on)

    def finish_revert_migration(
        self, context, instance, network_info, migration, block_device_info=None, power_on=True
    ):
        ask("resize", uuid=instance.uuid, memory_mb=instance.flavor.memory_mb, power_on=power_on)

    def check_instance_shared_storage_local(self, context, instance):
        """There is one host: source and destination of a resize share the disk, which None stands for."""

    def confirm_migration(self, context, migration, instance, network_info):
        """Source and destination are the same machine: nothing is left to remove."""
