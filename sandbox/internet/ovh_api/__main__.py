"""`python3 -m ovh_api CONFIG.json`: serve the account that the file describes."""

import json
import sys
from pathlib import Path
from typing import Any

from .accounts import Account, ConsumerKey, ServiceAccount, pairs
from .server import Server
from .store import Store
from .zonefile import KnotPublisher


def main(config_file: str) -> None:
    """Serve for ever. See `sandbox.internet.configuration.ovh_account` for the file's keys."""
    config = json.loads(Path(config_file).read_text())
    state = Path(config["state"])
    store = Store(state, KnotPublisher(Path(config["zones_folder"]), config["name_server"]))
    for name, records in config["zones"].items():
        store.add_zone(name, records)
    store.deploy_all()
    account = _account(config, state.with_name("keys.json"))
    Server(("", config["port"]), account, store, door=config["fault_token"]).serve_forever()


def _account(config: dict[str, Any], saved: Path) -> Account:
    keys = {
        name: ConsumerKey(key["application_key"], key["state"], pairs(key["rules"]))
        for name, key in config["consumer_keys"].items()
    }
    services = {
        name: ServiceAccount(service["secret"], pairs(service["policy"]))
        for name, service in config["service_accounts"].items()
    }
    customer = config["customer"]
    return Account(config["applications"], keys, services, customer["login"], customer["password"], saved)


if __name__ == "__main__":
    main(sys.argv[1])
