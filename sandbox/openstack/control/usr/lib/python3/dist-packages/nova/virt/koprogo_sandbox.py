"""Nova's view of the sandbox: a server is a machine that the host makes, asked over a socket that both see.

The host's side is hypervisor.py. What has no meaning here (volumes, live migration, a picture) is the fake driver's.
"""

from typing import Any

from koprogo_hypervisor import ask
from nova import exception
from nova.compute import power_state
from nova.virt import fake, hardware


class SandboxDriver(fake.FakeDriverWithoutFakeNodes):  # type: ignore[misc]  # Nova has no types
    """Machines of the host as servers. The signatures are Nova's, whose manager passes most arguments by position."""

    def __init__(self, virtapi: Any, read_only: bool = False) -> None:
        super().__init__(virtapi, read_only)
        self.capabilities = {**self.capabilities, "supports_migrate_to_same_host": True}

    def spawn(
        self, context: Any, instance: Any, image_meta: Any, *_rest: Any,
        network_info: Any = None, power_on: bool = True, **_options: Any,
    ) -> None:  # fmt: skip
        """Make the machine of a new server, or of one that is made again from an image."""
        server = {
            "hostname": instance.hostname,
            "image": image_meta.name,
            "memory_mb": instance.flavor.memory_mb,
            "addresses": [ip["address"] for vif in network_info or [] for ip in vif.fixed_ips()],
            "key": instance.key_data,
            "user_data": instance.user_data,
        }
        ask("spawn", uuid=instance.uuid, server=server, power_on=power_on)

    def destroy(
        self, context: Any, instance: Any, network_info: Any, block_device_info: Any = None,
        destroy_disks: bool = True, **_options: Any,
    ) -> None:  # fmt: skip
        """End a machine. A resize that is taken back "destroys" the new size, but not the disk."""
        ask("destroy" if destroy_disks else "power_off", uuid=instance.uuid)

    def cleanup(
        self, context: Any, instance: Any, network_info: Any, block_device_info: Any = None,
        destroy_disks: bool = True, **_options: Any,
    ) -> None:  # fmt: skip
        """Remove what a build that failed left."""
        if destroy_disks:
            ask("destroy", uuid=instance.uuid)

    def reboot(
        self, context: Any, instance: Any, network_info: Any, reboot_type: str, *_rest: Any, **_options: Any
    ) -> None:
        """Reboot by the machine's own systemd (SOFT) or by cutting its power (HARD)."""
        ask("reboot", uuid=instance.uuid, hard=reboot_type == "HARD")

    def power_off(self, instance: Any, timeout: int = 0, retry_interval: int = 0) -> None:
        """Shut down."""
        ask("power_off", uuid=instance.uuid)

    def power_on(self, context: Any, instance: Any, *_rest: Any, **_options: Any) -> None:
        """Boot."""
        ask("power_on", uuid=instance.uuid)

    def list_instance_uuids(self) -> list[str]:
        """Every machine there is, also from before a restart of nova-compute."""
        return list(ask("list"))

    def list_instances(self) -> list[str]:
        """As `list_instance_uuids`: machines have no other name here."""
        return self.list_instance_uuids()

    def instance_exists(self, instance: Any) -> bool:
        """Whether there is a machine."""
        return instance.uuid in ask("list")

    def get_info(self, instance: Any, use_cache: bool = True) -> Any:
        """Whether it is on."""
        state = ask("list").get(instance.uuid)
        if state is None:
            raise exception.InstanceNotFound(instance_id=instance.uuid)
        return hardware.InstanceInfo(state=power_state.RUNNING if state == "on" else power_state.SHUTDOWN)

    def get_console_output(self, context: Any, instance: Any) -> bytes:
        """What it printed on its console."""
        return str(ask("console", uuid=instance.uuid)).encode()

    def migrate_disk_and_power_off(self, context: Any, instance: Any, *_rest: Any, **_options: Any) -> str:
        """Begin a resize; the disk stays where it is."""
        ask("power_off", uuid=instance.uuid)
        return ""

    def finish_migration(self, context: Any, migration: Any, instance: Any, *rest: Any) -> None:
        """Boot with the new size; `rest` ends with block_device_info and power_on."""
        ask("resize", uuid=instance.uuid, memory_mb=instance.flavor.memory_mb, power_on=rest[-1])

    def finish_revert_migration(self, context: Any, instance: Any, *rest: Any) -> None:
        """Boot with the old size; `rest` ends with block_device_info and power_on."""
        ask("resize", uuid=instance.uuid, memory_mb=instance.flavor.memory_mb, power_on=rest[-1])

    def check_instance_shared_storage_local(self, context: Any, instance: Any) -> None:
        """There is one host: source and destination of a resize share the disk, which None stands for."""

    def confirm_migration(self, context: Any, migration: Any, instance: Any, network_info: Any) -> None:
        """Source and destination are the same machine: nothing is left to remove."""
