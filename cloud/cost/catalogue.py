"""What a flavor costs: by OVH's public catalogue, by what this machine kept of it, or by the table in prices.toml."""

import json
import math
import re
import threading
import time
import tomllib
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path

import requests
from ovh.client import ENDPOINTS

from cloud.cost.price_list import PriceList, dump, parse, restore

FRESH = timedelta(days=7)
"""How long what is kept is used without asking again."""

TIMEOUTS = (3.0, 5.0)
"""Seconds to connect, and to wait for more of an answer."""

SECONDS = 12.0
"""For everything together: a plan can do without the catalogue, which is about 8 MB."""

LARGEST = 100_000_000
"""Bytes; whatever is longer is not the catalogue."""

HOURS = 730
"""Of a month, as OVH and other clouds count it: 8760 / 12."""

_OK = 200


@dataclass(frozen=True)
class Price:
    """What a flavor costs in EUR without VAT, by OVH's French catalogue (Belgium's customers have the same)."""

    hourly: Decimal
    """For an hour. A server that is made through OpenStack is billed so."""
    monthly: Decimal | None
    """For a month, once monthly billing is switched on in OVH's console; None if it is not known to be possible."""
    vat: Decimal
    """As a fraction: 0.2. France's; other countries' customers and companies may have another, or none."""
    source: str
    """Where these come from, to be printed."""

    @property
    def month(self) -> Decimal:
        """A month at the price of an hour, to the cent."""
        return _cents(self.hourly * HOURS)

    @property
    def month_with_vat(self) -> Decimal:
        """The same with VAT."""
        return _cents(self.hourly * HOURS * (1 + self.vat))


@dataclass(frozen=True)
class NoPrice:
    """That the price of a flavor is not known."""

    why: str
    """Where it was looked for, to be printed."""


def cost_so_far(price: Price, created: datetime, now: datetime) -> Decimal:
    """What a server has cost since the first of this month (UTC), in EUR without VAT: an estimate, to the cent.

    Every hour begun counts, whether the server was running or stopped. Both times need a time zone.
    """
    first = now.astimezone(UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    hours = math.ceil((now - max(created, first)) / timedelta(hours=1))
    return _cents(price.hourly * max(hours, 0))


def no_price_in(region: str) -> NoPrice | None:
    """Why prices are not known in one of OVH's regions; None where the catalogue's count.

    Regions of three zones (EU-WEST-PAR) and local zones (EU-WEST-LZ-BRU-A) have plans of their own in the catalogue,
    and nothing in it says which belongs to which region.
    """
    if "-" not in region:
        return None
    return NoPrice(f"{region} has prices of its own, and only those of regions such as GRA11 are looked up")


def price(flavor: str, endpoint: str, cache: Path, today: date) -> Price | NoPrice:
    """The price of a flavor, from the best source that there is; a NoPrice if that does not know the flavor.

    `endpoint` is OVH_ENDPOINT: a name that python-ovh knows, or a base URL. What is kept of the catalogue is in the
    folder `cache`; nothing is lost when that is removed. A NoPrice for the accounts of OVH in
    Canada and the USA too, which pay other prices in other currencies. Never raises, and takes SECONDS at most.
    """
    if endpoint in ENDPOINTS and endpoint != "ovh-eu":
        return NoPrice(f"accounts of {endpoint} pay in another currency, and only OVH's prices in euros are looked up")
    base = ENDPOINTS.get(endpoint, endpoint).rstrip("/")
    file = cache / f"prices-{re.sub(r'[^a-z0-9.]+', '-', base.partition('://')[2])}.json"
    kept = _kept(file)
    if kept and timedelta(0) <= today - kept.date < FRESH:
        return _of(kept, flavor, _kept_on(kept))
    try:
        prices = _ask(base, today)
    except _Unreachable as error:
        if kept:
            return _of(kept, flavor, f"{_kept_on(kept)}; it cannot be reached now ({error})")
        return _from_table(flavor, f"OVH's catalogue cannot be reached ({error})")
    _keep(file, prices)
    return _of(prices, flavor, f"OVH's catalogue of {today}")


def _of(prices: PriceList, flavor: str, source: str) -> Price | NoPrice:
    found = prices.flavors.get(flavor)
    return Price(found.hourly, found.monthly, prices.vat, source) if found else _none(flavor, source)


def _none(flavor: str, source: str) -> NoPrice:
    return NoPrice(f"there is none for {flavor} in {source}")


def _cents(amount: Decimal) -> Decimal:
    return amount.quantize(Decimal("0.01"), ROUND_HALF_UP)


# -- what this machine has -------------------------------------------------------------------------------------------


def _kept(file: Path) -> PriceList | None:
    try:
        return restore(file.read_text("utf-8"))
    except (OSError, ValueError):  # there is none, or it is not text
        return None


def _kept_on(kept: PriceList) -> str:
    return f"OVH's catalogue of {kept.date}, kept on this machine"


def _keep(file: Path, prices: PriceList) -> None:
    new = file.with_suffix(".new")
    with suppress(OSError):  # then the next run asks again
        file.parent.mkdir(parents=True, exist_ok=True)
        new.write_text(dump(prices), "utf-8")
        new.replace(file)


def _from_table(flavor: str, why: str) -> Price | NoPrice:
    table = tomllib.loads(Path(__file__).with_name("prices.toml").read_text("utf-8"))
    entry = table.get(flavor)
    if not isinstance(entry, dict):
        return _none(flavor, f"the table in this package; {why}")
    source = f"the table of {entry['date']:%B %Y} in this package; {why}"
    return Price(Decimal(entry["hourly"]), None, Decimal(table["vat"]), source)


# -- what OVH says ---------------------------------------------------------------------------------------------------


class _Unreachable(Exception):
    """The catalogue cannot be had; str() is the reason."""


def _ask(base: str, today: date) -> PriceList:
    """Fetch and read the catalogue; raises _Unreachable."""
    outcome: list[PriceList | _Unreachable] = []

    def work() -> None:
        try:
            outcome.append(parse(json.loads(_download(base), parse_float=Decimal), today))
        except _Unreachable as error:
            outcome.append(error)
        except requests.Timeout:
            outcome.append(_Unreachable("it does not answer in time"))
        except OSError:
            outcome.append(_Unreachable("no connection"))
        except (json.JSONDecodeError, UnicodeError, RecursionError):
            outcome.append(_Unreachable("it answers something that is not JSON"))
        except ValueError as error:
            outcome.append(_Unreachable(str(error)))
        except ArithmeticError:
            outcome.append(_Unreachable("it has a number that is none"))

    # In a thread, since nothing limits how long looking up a name or a trickle of headers takes.
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(SECONDS)
    found = outcome[0] if outcome else _Unreachable("it does not answer in time")
    if isinstance(found, _Unreachable):
        raise found
    return found


def _download(base: str) -> bytes:
    deadline = time.monotonic() + SECONDS
    url, query = f"{base}/order/catalog/public/cloud", {"ovhSubsidiary": "FR"}
    with requests.get(url, query, timeout=TIMEOUTS, stream=True) as answer:
        if answer.status_code != _OK:
            raise _Unreachable(f"it answers {answer.status_code}")
        body = bytearray()
        for chunk in answer.iter_content(2**16):
            body += chunk
            if len(body) > LARGEST or time.monotonic() > deadline:
                raise _Unreachable("its answer does not end")
    return bytes(body)
