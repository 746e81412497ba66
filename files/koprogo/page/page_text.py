"""The words of the status page, in every language that it has, and how each writes dates and figures."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping

SPACE = "\u00a0"
"""Between a figure and its unit, where no line ends."""

MONTHS = {
    "en": (
        "January",
        "February",
        "March",
        "April",
        "May",
        "June",
        "July",
        "August",
        "September",
        "October",
        "November",
        "December",
    ),
    "fr": (
        "janvier",
        "février",
        "mars",
        "avril",
        "mai",
        "juin",
        "juillet",
        "août",
        "septembre",
        "octobre",
        "novembre",
        "décembre",
    ),
}  # fmt: skip}

TEXTS: Mapping[str, Mapping[str, str]] = {
    "en": {
        "title": "Status of {site}",
        "well": "Everything works",
        "attention": "Everything works; something behind it needs attention",
        "certificate": "The certificate of {names} is not valid",
        "certificates": "The certificates of {names} are not valid",
        "down": "{names} does not answer",
        "downs": "{names} do not answer",
        "all_down": "Nothing answers",
        "unknown": "Not checked so far",
        "and": "and",
        "as_of": "As of {time}.",
        "honest": "This page is written anew every five minutes. If that time is long past, the checks have stopped, "
        "and everything below is as old as that.",
        "stale_view": "This page was loaded more than ten minutes ago.",
        "reload": "Load it again",
        "answers": "answers",
        "answers_in": "answers, in {time}",
        "address_down": "does not answer",
        "address_certificate": "answers, but its certificate is not valid: browsers warn of it",
        "valid": "Certificate valid until {day}.",
        "uptime": "{share} up in the last 90 days",
        "no_uptime": "Not watched so far",
        "bars": "The last 90 days",
        "today": "today",
        "ago": "90 days ago",
        "day_well": "{day}: no failure",
        "day_bad": "{day}: {share} up, {time} down",
        "day_failed": "{day}: {count} of {checks} checks failed",
        "day_unknown": "{day}: not watched",
        "day_part": "watched for {time}",
        "response": "Response time",
        "response_today": "Today: half of the answers within {median}, 95 % within {slow}.",
        "response_month": "Last 30 days: half of the answers within {median}, 95 % within {slow}.",
        "response_none": "No answer was timed so far.",
        "chart": "Median response time in each of the last 24 hours: from {least} to {most}",
        "incidents": "Incidents of the last 14 days",
        "no_incidents": "None.",
        "more": "And {count} before these.",
        "was_down": "{name} did not answer.",
        "was_certificate": "The certificate of {name} was not valid.",
        "was_unwatched": "Nobody checked: the server was off, or its checks did not run.",
        "from_to": "{begin} to {end} ({time})",
        "since": "Since {begin} ({time} so far)",
        "blip": "{time}, at one check",
        "version": "Version",
        "runs": "{version} runs since {time}.",
        "runs_none": "Nothing was deployed so far.",
        "deploys": "Last changes",
        "deployed": "{version} was deployed",
        "settings": "{version} was started again with other settings",
        "rollback": "Back to {version}",
        "undone": "{version} did not become healthy; the version of before went on",
        "failed": "{version} did not become healthy",
        "backups": "Backups",
        "backup": "The last verified backup is of {time}.",
        "no_backup": "There is no verified backup so far.",
        "drill": "A backup was last restored, as a drill, on {time}.",
        "zone": "All times are those of {zone}.",
        "source": "These checks are made by the server itself, at the addresses that visitors use.",
    },
    "fr": {
        "title": "État de {site}",
        "well": "Tout fonctionne",
        "attention": "Tout fonctionne ; quelque chose en coulisse demande de l'attention",
        "certificate": "Le certificat de {names} n'est pas valable",
        "certificates": "Les certificats de {names} ne sont pas valables",
        "down": "{names} ne répond pas",
        "downs": "{names} ne répondent pas",
        "all_down": "Rien ne répond",
        "unknown": "Pas encore vérifié",
        "and": "et",
        "as_of": "Au {time}.",
        "honest": "Cette page est réécrite toutes les cinq minutes. Si cette heure est passée depuis longtemps, les "
        "vérifications se sont arrêtées, et tout ce qui suit date de ce moment-là.",
        "stale_view": "Cette page a été chargée il y a plus de dix minutes.",
        "reload": "La recharger",
        "answers": "répond",
        "answers_in": "répond, en {time}",
        "address_down": "ne répond pas",
        "address_certificate": "répond, mais son certificat n'est pas valable : les navigateurs avertissent",
        "valid": "Certificat valable jusqu'au {day}.",
        "uptime": "{share} de disponibilité sur les 90 derniers jours",
        "no_uptime": "Pas encore observé",
        "bars": "Les 90 derniers jours",
        "today": "aujourd'hui",
        "ago": "il y a 90 jours",
        "day_well": "{day} : aucune panne",
        "day_bad": "{day} : disponible {share}, en panne {time}",
        "day_failed": "{day} : {count} vérifications sur {checks} ont échoué",
        "day_unknown": "{day} : non observé",
        "day_part": "observé pendant {time}",
        "response": "Temps de réponse",
        "response_today": "Aujourd'hui : la moitié des réponses en moins de {median}, 95 % en moins de {slow}.",
        "response_month": "30 derniers jours : la moitié des réponses en moins de {median}, 95 % en moins de {slow}.",
        "response_none": "Aucune réponse n'a encore été mesurée.",
        "chart": "Temps de réponse médian de chacune des 24 dernières heures : de {least} à {most}",
        "incidents": "Incidents des 14 derniers jours",
        "no_incidents": "Aucun.",
        "more": "Et {count} avant ceux-ci.",
        "was_down": "{name} ne répondait pas.",
        "was_certificate": "Le certificat de {name} n'était pas valable.",
        "was_unwatched": "Personne ne vérifiait : le serveur était éteint, ou ses vérifications ne tournaient pas.",
        "from_to": "Du {begin} au {end} ({time})",
        "since": "Depuis le {begin} ({time} jusqu'ici)",
        "blip": "{time}, lors d'une seule vérification",
        "version": "Version",
        "runs": "{version} tourne depuis le {time}.",
        "runs_none": "Rien n'a encore été déployé.",
        "deploys": "Derniers changements",
        "deployed": "{version} a été déployée",
        "settings": "{version} a été redémarrée avec d'autres réglages",
        "rollback": "Retour à {version}",
        "undone": "{version} n'a pas démarré correctement ; la version précédente a continué",
        "failed": "{version} n'a pas démarré correctement",
        "backups": "Sauvegardes",
        "backup": "La dernière sauvegarde vérifiée est du {time}.",
        "no_backup": "Il n'y a pas encore de sauvegarde vérifiée.",
        "drill": "Une sauvegarde a été restaurée pour la dernière fois, à l'essai, le {time}.",
        "zone": "Toutes les heures sont celles de {zone}.",
        "source": "Ces vérifications sont faites par le serveur lui-même, aux adresses que les visiteurs utilisent.",
    },
}


class Words:
    """One language."""

    def __init__(self, language: str) -> None:
        self.language = language
        self._texts = TEXTS[language]

    def __call__(self, name: str, /, **values: object) -> str:
        """Return a text with its values filled in."""
        text = self._texts[name].format(**values)
        # No line begins with these: the space before them does not break.
        for mark in ";:%" if self.language == "fr" else "%":
            text = text.replace(f" {mark}", f"{SPACE}{mark}")
        if self.language == "fr":
            text = text.replace("'", "\u2019")
        return text

    def day(self, at: time.struct_time) -> str:
        """Return a date without its year: 23 November."""
        first = "1er" if self.language == "fr" and at.tm_mday == 1 else str(at.tm_mday)
        return f"{first} {MONTHS[self.language][at.tm_mon - 1]}"

    def date(self, seconds: float) -> str:
        """Return a date in the server's time zone: 23 November 2026."""
        at = time.localtime(seconds)
        return f"{self.day(at)} {at.tm_year}"

    def moment(self, seconds: float) -> str:
        """Return a moment in the server's time zone, which is named: 23 November 2026, 14:05 CET."""
        at = time.localtime(seconds)
        return f"{self.date(seconds)}, {at.tm_hour:02}:{at.tm_min:02} {at.tm_zone}"

    def share(self, share: float) -> str:
        """Return 0 to 1 in per cent with two decimals, rounded down: what was not all is never 100 %."""
        if share >= 1:
            return f"100{SPACE}%"
        text = f"{math.floor(max(share, 0) * 10000) / 100:.2f}{SPACE}%"
        return text.replace(".", ",") if self.language == "fr" else text

    def span(self, seconds: float) -> str:
        """Return how long something took, in two units at most: 3 h 10 min."""
        minutes = max(round(seconds / 60), 1)
        day = "j" if self.language == "fr" else "d"
        parts = [(minutes // 1440, day), (minutes // 60 % 24, "h"), (minutes % 60, "min")]
        while parts[0][0] == 0:
            parts.pop(0)
        return SPACE.join(f"{number}{SPACE}{unit}" for number, unit in parts[:2] if number)

    def milliseconds(self, milliseconds: float) -> str:
        """Return a short time: 45 ms, or 2.5 s."""
        if milliseconds < 1000:  # noqa: PLR2004 - one second
            return f"{max(milliseconds, 1):.0f}{SPACE}ms"
        text = f"{milliseconds / 1000:.1f}{SPACE}s"
        return text.replace(".", ",") if self.language == "fr" else text

    def listed(self, names: list[str]) -> str:
        """Return names as a sentence has them: a, b and c."""
        return f" {self('and')} ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)
