"""Prices of flavors as plain data: taken out of OVH's catalogue, and written down to be kept. No network, no files.

The catalogue is that of GET /order/catalog/public/cloud. Of its `addons`, those of the product publiccloud-instance
whose planCode is FLAVOR.consumption are billed by the hour, and FLAVOR.monthly.postpaid by the month; prices are
whole numbers in 1e-8 of the currency, without VAT. Not taken: FLAVOR.consumption.LZ.AF, .LZ.EU and .LZ.EUROZONE
(local zones; an hour in Africa costs nearly twice as much) and FLAVOR.consumption.3AZ (regions of three zones).
"""

import json
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any

HOURLY, MONTHLY = ".consumption", ".monthly.postpaid"
UNIT = Decimal("1e-8")
TOO_MUCH = Decimal(100_000)
"""EUR. No flavor costs that by the hour or month: such a number is no price."""


@dataclass(frozen=True)
class FlavorPrice:
    """EUR without VAT for an hour, and for a month billed as a whole (None: it cannot be)."""

    hourly: Decimal
    monthly: Decimal | None = None


@dataclass(frozen=True)
class PriceList:
    """The prices of one catalogue, as it was on a day."""

    flavors: Mapping[str, FlavorPrice]
    vat: Decimal
    """As a fraction."""
    date: date


def parse(catalogue: Any, today: date) -> PriceList:
    """The prices in a catalogue that was fetched today. Raises ValueError with the reason if it is none.

    A flavor without one clear price by the hour is left out.
    """
    if not isinstance(catalogue, dict):
        raise ValueError("it has an unknown form")
    locale, addons = catalogue.get("locale"), catalogue.get("addons")
    if not isinstance(locale, dict) or not isinstance(addons, list):
        raise ValueError("it has an unknown form")
    if locale.get("currencyCode") != "EUR":
        raise ValueError("its prices are not in EUR")
    percent: Any = locale.get("taxRate")
    if type(percent) not in (int, Decimal) or not 0 <= percent < 100:  # noqa: PLR2004
        raise ValueError("it has no rate of VAT")
    hourly, monthly = _prices(addons, HOURLY, "hour"), _prices(addons, MONTHLY, "month")
    if not hourly:
        raise ValueError("it has no prices of instances")
    flavors = {flavor: FlavorPrice(price, monthly.get(flavor)) for flavor, price in hourly.items()}
    return PriceList(flavors, Decimal(percent) / 100, today)


def _prices(addons: list[Any], suffix: str, unit: str) -> dict[str, Decimal]:
    """Flavor → price, of the plans whose code ends so and that are billed by this unit."""
    found: defaultdict[str, list[Decimal]] = defaultdict(list)
    for addon in addons:
        if isinstance(addon, dict) and addon.get("product") == "publiccloud-instance":
            code = addon.get("planCode")
            if isinstance(code, str) and code.endswith(suffix):
                found[code.removesuffix(suffix)] += _pricings(addon, unit)
    return {flavor: prices[0] for flavor, prices in found.items() if _one_price(prices)}


def _pricings(addon: dict[str, Any], unit: str) -> list[Decimal]:
    pricings = addon.get("pricings")
    if not isinstance(pricings, list):
        return []
    return [
        # A price that is no whole number becomes 0, and is refused as such.
        (Decimal(each["price"]) * UNIT).normalize() if type(each.get("price")) is int else Decimal(0)
        for each in pricings
        if isinstance(each, dict)
        and (each.get("mode"), each.get("interval"), each.get("intervalUnit")) == ("default", 1, unit)
    ]


def _one_price(prices: list[Decimal]) -> bool:
    return len(set(prices)) == 1 and 0 < prices[0] < TOO_MUCH


def dump(prices: PriceList) -> str:
    """The list as text for `restore`."""
    flavors = {
        flavor: [str(price.hourly), None if price.monthly is None else str(price.monthly)]
        for flavor, price in prices.flavors.items()
    }
    return json.dumps({"date": prices.date.isoformat(), "vat": str(prices.vat), "flavors": flavors}, indent=1)


def restore(text: str) -> PriceList | None:
    """The list that a text of `dump` holds; None for any other text."""
    try:
        kept = json.loads(text)
        flavors = {
            str(flavor): FlavorPrice(_price(hourly), None if monthly is None else _price(monthly))
            for flavor, (hourly, monthly) in kept["flavors"].items()
        }
        vat = Decimal(kept["vat"])
        return PriceList(flavors, vat, date.fromisoformat(kept["date"])) if 0 <= vat < 1 else None
    # Whatever it is that stands there instead.
    except (ValueError, ArithmeticError, TypeError, KeyError, AttributeError, RecursionError):
        return None


def _price(text: str) -> Decimal:
    value = Decimal(text)
    if not 0 < value < TOO_MUCH:
        raise ValueError(text)
    return value
