"""`python3 -m ovh_api CONFIG.json`: serve the account that the file describes."""

import json
import sys
from pathlib import Path

from .access import Account, ConsumerKey
from .server import Server
from .store import Store
from .zonefile import KnotPublisher


def main(config_file: str) -> None:
    """Serve for ever. See `sandbox.internet.configuration.ovh_account` for the file's keys."""
    config = json.loads(Path(config_file).read_text())
    account = Account(
        applications=config["applications"],
        consumer_keys={
            name: ConsumerKey(k["application_key"], k["state"], tuple((m, p) for m, p in k["rules"]))
            for name, k in config["consumer_keys"].items()
        },
    )
    store = Store(Path(config["state"]), KnotPublisher(Path(config["zones_folder"]), config["name_server"]))
    for name, records in config["zones"].items():
        store.add_zone(name, records)
    store.deploy_all()
    Server(("", config["port"]), account, store).serve_forever()


if __name__ == "__main__":
    main(sys.argv[1])
