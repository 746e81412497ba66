"""What a server emits by using electricity: an estimate, printed with what it assumes.

Making and scrapping the hardware, disks and network are left out. The power of a server of a given size is that of
Cloud Carbon Footprint's method (cloudcarbonfootprint.org/docs/methodology, 2024), which has no figures for OVH's
processors: its average of AWS's is taken.
"""

import re
from dataclasses import dataclass

WATTS_PER_VCPU = 2.12
"""0.74 W idle and 3.5 W busy, at the 50 % use that the method assumes for servers whose use is unknown."""

WATTS_PER_GB = 0.392
"""Of memory: the mean of what Crucial and Micron state for DDR4."""

PUE = 1.26
"""What a data centre uses for every unit that its servers use: OVHcloud's average of all its data centres, fiscal year
2024 (corporate.ovhcloud.com/en/sustainability/environment)."""

YEAR = 2023

GRAMS_PER_KWH = {
    "France": 56,
    "Germany": 381,
    "United Kingdom": 238,
    "Poland": 662,
    "Italy": 331,
    "Singapore": 471,
    "Australia": 549,
    "India": 713,
}
"""CO2 equivalent of a country's electricity in YEAR, as in codecarbon 3.3.2 (global_energy_mix.json)."""

COUNTRIES = {
    "GRA": "France",
    "RBX": "France",
    "SBG": "France",
    "EU-WEST-PAR": "France",
    "DE": "Germany",
    "UK": "United Kingdom",
    "WAW": "Poland",
    "EU-SOUTH-MIL": "Italy",
    "SGP": "Singapore",
    "SYD": "Australia",
    "AP-SOUTH-MUM": "India",
}
"""Of OVH's regions, without the number at the end. Canada and the USA are left out: their electricity differs too much
from one province or state to the next for the country's average to say anything of BHS (Québec's hydropower)."""


@dataclass(frozen=True)
class Footprint:
    """The electricity that a server uses and what it emits; str() is one line with every assumption."""

    watts: float
    """All in all, the data centre's share included."""
    country: str
    grams_per_kwh: int
    """CO2 equivalent."""
    year: int
    """Of grams_per_kwh."""
    watts_per_vcpu: float = WATTS_PER_VCPU
    watts_per_gb: float = WATTS_PER_GB
    pue: float = PUE

    @property
    def kg_a_year(self) -> float:
        """CO2 equivalent of 365 days."""
        return self.watts * 8.760 * self.grams_per_kwh / 1000

    def __str__(self) -> str:
        """To be printed."""
        return (
            f"about {self.kg_a_year:.1f} kg CO2 a year: {self.watts:.1f} W"
            f" ({self.watts_per_vcpu} W a vCPU, {self.watts_per_gb} W a GB, PUE {self.pue}),"
            f" {self.country} {self.grams_per_kwh} g/kWh in {self.year}"
        )


def footprint(vcpus: int, memory_mb: int, region: str) -> Footprint | None:
    """What a server of this size emits in one of OVH's regions; None for a region whose electricity is not known."""
    country = COUNTRIES.get(re.sub(r"-?\d+$", "", region))
    if country is None:
        return None
    # OVH's flavors have thousands of MB: d2-2 has 2000.
    watts = (vcpus * WATTS_PER_VCPU + memory_mb / 1000 * WATTS_PER_GB) * PUE
    return Footprint(watts, country, GRAMS_PER_KWH[country], YEAR)
