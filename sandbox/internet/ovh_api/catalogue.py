"""The catalogue of Public Cloud, in the form of the original and with a few of its several thousand plans.

The form is that of answers of 2026; the prices are those of OVH's French catalogue of January 2026 and, where that
gives them only to the cent, of the German one of August 2026. Other subsidiaries get the same numbers in their
currency, which the original does not do.
"""

from typing import Any

from .errors import bad_request

# What the API in Europe sells for: currency and VAT in percent. Its schema lists EU too, and the service refuses it.
SUBSIDIARIES: dict[str, tuple[str, float]] = {
    "CZ": ("CZK", 21),
    "DE": ("EUR", 19),
    "ES": ("EUR", 21),
    "FI": ("EUR", 25.5),
    "FR": ("EUR", 20),
    "GB": ("GBP", 20),
    "IE": ("EUR", 23),
    "IT": ("EUR", 22),
    "LT": ("EUR", 21),
    "MA": ("MAD", 20),
    "NL": ("EUR", 21),
    "PL": ("PLN", 23),
    "PT": ("EUR", 23),
    "SN": ("XOF", 18),
    "TN": ("TND", 19),
}

# Flavor: vCPUs, GB of memory, GB of disk, Mb/s, brickSubtype.
FLAVORS = {
    "b2-7": (2, 7, 50, 250, "general-purpose"),
    "b3-8": (2, 8, 50, 500, "general-purpose"),
    "d2-2": (1, 2, 25, 100, "discovery"),
    "d2-4": (2, 4, 50, 250, "discovery"),
    "d2-8": (4, 8, 50, 500, "discovery"),
    "win-b2-7": (2, 7, 50, 250, "general-purpose"),
}

# planCode → product, price in 1e-8 of the currency, unit. In no order, as in the original.
PLANS = {
    "b3-8.consumption.LZ.AF": ("publiccloud-instance", 9_300_000, "hour"),
    "d2-4.monthly.postpaid": ("publiccloud-instance", 1_100_000_000, "month"),
    "d2-2.monthly.postpaid": ("publiccloud-instance", 549_000_000, "month"),
    "b2-7.option.dc-adp.consumption": ("publiccloud-instance-option-dc-adp", 1_360_000, "hour"),
    "d2-4.consumption": ("publiccloud-instance", 2_060_000, "hour"),
    "snapshot.consumption": ("publiccloud-snapshot", 5_900, "hour"),
    "b3-8.consumption.LZ.EU": ("publiccloud-instance", 5_120_000, "hour"),
    "b3-8.consumption.3AZ": ("publiccloud-instance", 5_120_000, "hour"),
    "d2-8.monthly.postpaid": ("publiccloud-instance", 1_980_000_000, "month"),
    "d2-2.consumption": ("publiccloud-instance", 1_040_000, "hour"),
    "win-b2-7.consumption": ("publiccloud-instance", 19_070_000, "hour"),
    "b3-8.consumption": ("publiccloud-instance", 5_120_000, "hour"),
    "volume.classic.consumption": ("publiccloud-volume-classic", 5_900, "hour"),
    "b2-7.consumption": ("publiccloud-instance", 7_090_000, "hour"),
    "d2-8.consumption": ("publiccloud-instance", 3_720_000, "hour"),
    "b3-8.consumption.LZ.EUROZONE": ("publiccloud-instance", 5_120_000, "hour"),
}


def public_cloud(subsidiary: str) -> dict[str, Any]:
    """Return the catalogue of a subsidiary; ApiError for one that does not exist or has none."""
    if subsidiary not in SUBSIDIARIES:
        raise bad_request("invalid ovhSubsidiary")
    currency, tax_rate = SUBSIDIARIES[subsidiary]
    sign = "€" if currency == "EUR" else currency
    products = sorted({product for product, _, _ in PLANS.values()})
    return {
        "catalogId": 4711,
        "locale": {"currencyCode": currency, "subsidiary": subsidiary, "taxRate": tax_rate},
        "products": [{"name": name, "description": name, "blobs": None, "configurations": []} for name in products],
        "plans": [],  # the project itself, under which the addons hang: not modelled
        "addons": [
            _addon(code, product, unit, _price(price, tax_rate, sign)) for code, (product, price, unit) in PLANS.items()
        ],
        "planFamilies": [],
    }


def _price(price: int, tax_rate: float, sign: str) -> dict[str, Any]:
    return {"price": price, "formattedPrice": f"{price / 1e8:.2f} {sign}", "tax": round(price * tax_rate / 100)}


def _addon(code: str, product: str, unit: str, price: dict[str, Any]) -> dict[str, Any]:
    flavor = code.partition(".")[0] if product == "publiccloud-instance" else None
    return {
        "planCode": code,
        "invoiceName": flavor or code,
        "addonFamilies": [],
        "product": product,
        "pricingType": "consumption",
        "consumptionConfiguration": {
            "billingStrategy": "ping",
            "prorataUnit": "second" if unit == "hour" else "hour",
            "pingEndPolicy": "prorata",
        },
        "pricings": [
            {
                "phase": 0,
                "capacities": ["consumption"],
                "commitment": 0,
                "description": f"{unit}ly prices",
                "interval": 1,
                "intervalUnit": unit,
                "quantity": {"min": 1, "max": None},
                "repeat": {"min": 1, "max": None},
                **price,
                "mode": "default",
                "strategy": "tiered",
                "mustBeCompleted": False,
                "type": "consumption",
                "promotions": [],
                "engagementConfiguration": None,
            }
        ],
        "configurations": [],
        "family": None,
        "blobs": _blobs(flavor, unit) if flavor else None,
    }


def _blobs(flavor: str, unit: str) -> dict[str, Any]:
    cores, memory, disk, megabits, subtype = FLAVORS[flavor]
    interval = {"interval": "PT1H", "precision": 4, "unit": "h"} if unit == "hour" else {"interval": "P1M"}
    speed = {"guaranteed": False, "level": megabits, "unlimited": False}
    return {
        "commercial": {
            "brick": "guaranteed-resources",
            "brickSubtype": subtype,
            "name": flavor,
            "price": interval,
        },
        "tags": ["active"],
        "technical": {
            "bandwidth": speed,
            "cpu": {"cores": cores, "frequency": 2, "model": "vCore", "type": "vCore"},
            "memory": {"size": memory},
            "name": flavor,
            "os": {"family": "windows" if flavor.startswith("win-") else "linux"},
            "storage": {"disks": [{"capacity": disk, "interface": "NVMe", "number": 1}], "raid": "local"},
            "vrack": speed,
        },
    }
