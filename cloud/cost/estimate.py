"""What a server costs and emits, in the lines below a plan and as data."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

import platformdirs

from cloud.cost import carbon, catalogue
from cloud.cost.carbon import Footprint
from cloud.cost.catalogue import NoPrice, Price
from cloud.resources import Size
from settings import CloudSettings


@dataclass(frozen=True)
class Estimate:
    """What is known of a flavor."""

    flavor: str
    size: Size
    price: Price | NoPrice
    footprint: Footprint | None

    def lines(self) -> Iterator[str]:
        """For the eye."""
        yield f"{self.flavor}: {self.size}"
        if isinstance(self.price, NoPrice):
            yield f"Price: not known; {self.price.why}"
        else:
            yield f"Price: {_price(self.price)}"
            yield f"       {self.price.source}"
        if self.footprint is None:
            yield "CO2: not known for this region"
        else:
            yield f"CO2: {self.footprint}"

    def as_data(self) -> dict[str, Any]:
        """For programs: amounts in euros, as text."""
        size = {"vcpus": self.size.vcpus, "memory_mb": self.size.memory_mb, "disk_gb": self.size.disk_gb}
        return {
            "flavor": self.flavor,
            "size": size,
            "price": _price_as_data(self.price) if isinstance(self.price, Price) else None,
            "price_not_known": self.price.why if isinstance(self.price, NoPrice) else None,
            "carbon": _carbon_as_data(self.footprint) if self.footprint else None,
        }


def estimate(settings: CloudSettings, flavor: str, size: Size) -> Estimate:
    """Look up what a flavor costs and emits in the settings' region."""
    region = settings.openstack.region
    price = catalogue.no_price_in(region) or catalogue.price(
        flavor,
        settings.ovh.endpoint,
        platformdirs.user_cache_path("koprogo-infrastructure"),
        datetime.now(UTC).date(),
    )
    return Estimate(flavor, size, price, carbon.footprint(size.vcpus, size.memory_mb, region))


def _price(price: Price) -> str:
    parts = [
        f"{price.month:.2f} € a month, {price.month_with_vat:.2f} € with {price.vat * 100:.0f} % VAT"
        f" ({price.hourly:f} € an hour)"
    ]
    if price.monthly is not None:
        with_vat = price.monthly * (1 + price.vat)
        parts.append(f"{price.monthly:.2f} € ({with_vat:.2f} €) once OVH bills it by the month")
    return "; ".join(parts)


def _price_as_data(price: Price) -> dict[str, str | None]:
    return {
        "hour": f"{price.hourly:f}",
        "month": f"{price.month:.2f}",
        "month_with_vat": f"{price.month_with_vat:.2f}",
        "month_billed_by_the_month": None if price.monthly is None else f"{price.monthly:.2f}",
        "vat": f"{price.vat:f}",
        "source": price.source,
    }


def _carbon_as_data(footprint: Footprint) -> dict[str, Any]:
    return asdict(footprint) | {"kg_a_year": round(footprint.kg_a_year, 2)}
