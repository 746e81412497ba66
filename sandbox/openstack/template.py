"""The templates of the cloud: the control plane after its first start, and the disk of a server."""

from pathlib import Path

from sandbox import templates

CONTROL = Path(__file__).parent / "control"
"""The files of the control plane, laid out as in the machine."""

# Libraries, not the service packages: those ask questions and bring libvirt.
_LIBRARIES = (
    "python3-keystone python3-glance python3-nova python3-neutron python3-placement python3-openstacksdk "
    "python3-pymysql uwsgi-core uwsgi-plugin-python3 rabbitmq-server mariadb-server"
)
# Only what a service package has and the library lacks is taken from it: entry scripts and pipelines.
_SCRIPTS = "nova-common neutron-common glance-common"

_INSTALL = f"""
apt() {{
    apt-get -qq -y -o Dpkg::Options::=--force-unsafe-io --no-install-recommends "$@" >/tmp/log 2>&1 ||
        {{ tail -n 20 /tmp/log; exit 1; }}
}}
# Of several thousand Python modules a tenth is used, and the first start compiles those.
dpkg-divert --quiet --local --rename --add /usr/bin/py3compile
ln -s /bin/true /usr/bin/py3compile
for path in share/doc share/man share/locale 'lib/python3/dist-packages/*/tests'; do
    echo "path-exclude=/usr/$path/*"
done > /etc/dpkg/dpkg.cfg.d/sandbox
apt update
apt install {_LIBRARIES}
cd /tmp
apt download {_SCRIPTS}
for package in *.deb; do dpkg -x "$package" scripts; done
cp scripts/usr/bin/* /usr/bin/
mkdir -p /etc/nova /etc/neutron /etc/glance
cp scripts/usr/share/nova-common/api-paste.ini /etc/nova/
cp scripts/usr/share/neutron-common/api-paste.ini /etc/neutron/
cp scripts/usr/share/glance-common/glance-api-paste.ini /etc/glance/
# trixie's oslo.messaging looks for an answer every half second only.
sed -i 's/time.sleep(0.5)/time.sleep(0.01)/' /usr/lib/python3/dist-packages/oslo_messaging/_drivers/amqpdriver.py
systemctl mask mariadb.service rabbitmq-server.service epmd.service epmd.socket ssh.service
apt-get clean
"""

_FIRST_START = """
systemctl -q enable openstack-database openstack-queue openstack-api openstack-nova
# A network and processes of its own: it uses the ports of the real services, and none of it must stay.
exec unshare --net --uts --pid --fork --kill-child --mount-proc python3 /usr/lib/sandbox/first_start.py
"""


def control_plane() -> list[Path]:
    """The layers (top first) of the machine that runs OpenStack: initialised, seeded, stopped cleanly."""
    base = templates.base()
    packages = templates.layer("openstack-packages", [base], _INSTALL)
    ready = templates.layer("openstack", [packages, base], _FIRST_START, files={"/": CONTROL})
    return [ready, packages, base]


# What OVH's images bring besides the base.
_SERVER_PACKAGES = ["cloud-init", "rsyslog", "systemd-timesyncd", "python3-apt", "vim-tiny"]
_CLOUD_INIT = """
cat > /etc/cloud/cloud.cfg.d/90-sandbox.cfg <<'END'
datasource_list: [NoCloud, None]
# Addresses come from the host, the disk has no partitions, and the package mirror is the one of the host.
network: {config: disabled}
growpart: {mode: "off"}
resize_rootfs: false
apt: {preserve_sources_list: true}
END
# A login prompt hangs the console up as it starts. What cloud-init prints in that moment, the host keys say, is lost
# on the pseudo-terminal that the console is here.
systemctl -q mask console-getty.service
rm -rf /var/lib/cloud /var/log/cloud-init*
"""


def server() -> list[Path]:
    """The layers (top first) of the disk of every server, whatever its image is called: Debian 13 with cloud-init."""
    base = templates.base()
    return [templates.apt_layer("server", [base], _SERVER_PACKAGES, then=_CLOUD_INIT), base]
