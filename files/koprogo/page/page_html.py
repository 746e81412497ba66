"""The status page as one HTML file that needs nothing else: what it says follows from its arguments and the time zone.

It is public. It names addresses that are public anyway, versions, states and dates; and nothing else, whatever is
wrong: no reason, no path, no name of a container or of a person, no message of a commit.
"""

from __future__ import annotations

import html
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta

from koprogo.health import record
from koprogo.health.record import Fault, Outage, Record, Seen, Tally
from koprogo.page.page_style import POLICY, STYLE
from koprogo.page.page_text import Words
from koprogo.state import Outcome

DAYS, MONTH, HOURS, INCIDENT_DAYS = 90, 30, 24, 14
INCIDENTS, CHANGES = 20, 5
BAD_SHARE = 0.01
"""Of a day: a quarter of an hour. What is down for longer makes a bad day."""
PART = 0.9
"""Of a day, or of all of them; what was watched for less says so."""
CHART_HEIGHT = 40
CHART_STEP = 10
CHART_LEAST = 100
"""Milliseconds that a column of full height stands for at least: what is fast looks so."""


@dataclass(frozen=True)
class Change:
    """A deploy that touched what runs."""

    at: float
    version: str
    result: Outcome


@dataclass(frozen=True)
class Facts:
    """What the page tells beside the record. Times are seconds since 1970."""

    site: str
    """The name that people know it by."""
    version: str | None = None
    since: float | None = None
    changes: tuple[Change, ...] = ()
    """Newest first."""
    backup: float | None = None
    """When the last verified backup was made."""
    drill: float | None = None
    """When a backup was last restored to see whether it can be."""


def render(kept: Record, facts: Facts, now: float, words: Words) -> str:
    """Return the whole page."""
    level, state = _state(kept, words)
    title = f"{words('title', site=facts.site)}: {state}"
    as_of = f"{words('as_of', time=_moment(kept.last.at, words))} {_text(words('honest'))}" if kept.last else ""
    seen = sorted(kept.last.seen if kept.last else (), key=lambda each: each.address != facts.site)
    parts = [
        f'<!doctype html>\n<html lang="{words.language}">\n<head>\n<meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f'<meta http-equiv="Content-Security-Policy" content="{_text(POLICY)}">',
        '<meta name="color-scheme" content="light dark">',
        f"<title>{_text(title)}</title>",
        f"<style>{STYLE}</style>\n</head>\n<body>",
        f"<header>\n<h1>{_text(words('title', site=facts.site))}</h1>",
        f'<p class="state {level}">{_text(state)}</p>',
        *([f'<p class="soft">{as_of}</p>'] if as_of else []),
        f'<p class="late">{_text(words("stale_view"))} <a href="">{_text(words("reload"))}</a>.</p>',
        "</header>\n<main>",
        *(_address(each, kept, now, words) for each in seen),
        _incidents(kept, now, words),
        _version(facts, words),
        _backups(facts, words),
        f"</main>\n<footer>\n<p>{_text(words('source'))} {_text(words('zone', zone=zone(now)))}</p>\n</footer>",
        "</body>\n</html>\n",
    ]
    return "\n".join(parts)


def zone(now: float) -> str:
    """Return the server's time zone as it is now: CET (UTC+01:00)."""
    at = time.localtime(now)
    offset = time.strftime("%z", at)
    return f"{at.tm_zone} (UTC{offset[:3]}:{offset[3:]})"


def _text(text: str) -> str:
    return html.escape(text)


def _moment(seconds: float, words: Words) -> str:
    at = time.strftime("%Y-%m-%dT%H:%M:%S%z", time.localtime(seconds))
    return f'<time datetime="{at}">{_text(words.moment(seconds))}</time>'


def _state(kept: Record, words: Words) -> tuple[str, str]:
    """The whole in a few words, and how bad that is: ok, some, bad or none."""
    if kept.last is None or not kept.last.seen:
        return "none", words("unknown")
    down = [seen.address for seen in kept.last.seen if seen.fault is Fault.ANSWER]
    uncertified = [seen.address for seen in kept.last.seen if seen.fault is Fault.CERTIFICATE]
    if len(down) == len(kept.last.seen):
        return "bad", words("all_down")
    if down:
        return "bad", words("downs" if len(down) > 1 else "down", names=words.listed(down))
    if uncertified:
        return "bad", words("certificates" if len(uncertified) > 1 else "certificate", names=words.listed(uncertified))
    return ("some", words("attention")) if kept.last.attention else ("ok", words("well"))


def _address(seen: Seen, kept: Record, now: float, words: Words) -> str:
    today = date(*time.localtime(now)[:3])
    days = [today - timedelta(days=back) for back in range(DAYS - 1, -1, -1)]
    tallies = [kept.days.get(day.isoformat(), {}).get(seen.address, Tally()) for day in days]
    whole = record.together(tallies)
    uptime = words("uptime", share=words.share(_up(whole))) if whole.known else words("no_uptime")
    if 0 < whole.known < PART * DAYS * 86400:
        uptime += f" ({words('day_part', time=words.span(whole.known))})"
    said = [_day(day, tally, words, whole=day != today) for day, tally in zip(days, tallies, strict=True)]
    bars = "".join(
        f'<li class="{_level(tally)}"><span>{_text(text)}</span></li>\n'
        for tally, text in zip(tallies, said, strict=True)
    )
    level, now_said = _now(seen, words)
    lines = [
        f'<section>\n<h2>{_text(seen.address)}: <span class="is {level}">{_text(now_said)}</span></h2>',
        f"<p>{_text(uptime)}</p>",
        f'<ol class="bars" aria-label="{_text(words("bars"))}">\n{bars}</ol>',
        f'<p class="ends"><span>{_text(words("ago"))}</span><span>{_text(words("today"))}</span></p>',
    ]
    marked = [text for tally, text in zip(tallies, said, strict=True) if tally.failed][::-1]
    if marked:
        listed = "".join(f"<li>{_text(text)}</li>" for text in marked[:INCIDENTS])
        lines.append(f'<ul class="marked">{listed}</ul>')
    lines += [f"<h3>{_text(words('response'))}</h3>", *_response(seen.address, tallies, kept, now, words)]
    if kept.last is not None and seen.certificate_days is not None and seen.fault is not Fault.CERTIFICATE:
        ends = words.date(kept.last.at + seen.certificate_days * 86400)
        lines.append(f'<p class="soft">{_text(words("valid", day=ends))}</p>')
    return "\n".join([*lines, "</section>"])


def _now(seen: Seen, words: Words) -> tuple[str, str]:
    if seen.fault is Fault.CERTIFICATE:
        return "bad", words("address_certificate")
    if seen.fault is not Fault.NONE:
        return "bad", words("address_down")
    if seen.milliseconds is None:
        return "ok", words("answers")
    return "ok", words("answers_in", time=words.milliseconds(seen.milliseconds))


def _up(tally: Tally) -> float:
    return 1 - tally.down / tally.known if tally.known else 1.0


def _level(tally: Tally) -> str:
    if not tally.checks:
        return "none"
    if not tally.failed:
        return "ok"
    return "bad" if tally.known and tally.down / tally.known >= BAD_SHARE else "some"


def _day(day: date, tally: Tally, words: Words, *, whole: bool) -> str:
    """What happened on a day; `whole` unless it is not over."""
    called = words.day(day.timetuple())
    if not tally.checks:
        return words("day_unknown", day=called)
    if not tally.failed:
        said = words("day_well", day=called)
    elif tally.down:
        said = words("day_bad", day=called, share=words.share(_up(tally)), time=words.span(tally.down))
    else:
        said = words("day_failed", day=called, count=tally.failed, checks=tally.checks)
    if whole and tally.known < PART * 86400:
        said += f" ({words('day_part', time=words.span(tally.known))})"
    return said


def _response(address: str, tallies: Sequence[Tally], kept: Record, now: float, words: Words) -> list[str]:
    lines = []
    for name, tally in (("response_today", tallies[-1]), ("response_month", record.together(tallies[-MONTH:]))):
        median, slow = record.percentile(tally.times, 0.5), record.percentile(tally.times, 0.95)
        if median is not None and slow is not None:
            said = words(name, median=words.milliseconds(median), slow=words.milliseconds(slow))
            lines.append(f"<p>{_text(said)}</p>")
    return [*lines, *_chart(address, kept, now, words)] if lines else [f"<p>{_text(words('response_none'))}</p>"]


def _chart(address: str, kept: Record, now: float, words: Words) -> list[str]:
    """The last 24 hours as columns, the newest on the right; an hour without an answer has none."""
    this = int(now // 3600)
    hours = [kept.hours.get(this - back, {}).get(address, Tally()) for back in range(HOURS - 1, -1, -1)]
    medians = [record.percentile(tally.times, 0.5) for tally in hours]
    known = [median for median in medians if median is not None]
    if len(known) < 2:  # noqa: PLR2004 - one column says no more than the line above it
        return []
    scale = CHART_HEIGHT / max(*known, CHART_LEAST)
    heights = {number: max(round(median * scale), 1) for number, median in enumerate(medians) if median is not None}
    columns = "".join(
        f'<rect x="{number * CHART_STEP}" y="{CHART_HEIGHT - height}" width="{CHART_STEP - 2}" height="{height}"/>'
        for number, height in heights.items()
    )
    least, most = words.milliseconds(min(known)), words.milliseconds(max(known))
    label = words("chart", least=least, most=most)
    width = HOURS * CHART_STEP
    return [
        f'<svg role="img" aria-label="{_text(label)}" viewBox="0 0 {width} {CHART_HEIGHT}" preserveAspectRatio="none">',
        f'{columns}<line x1="0" y1="{CHART_HEIGHT}" x2="{width}" y2="{CHART_HEIGHT}"/></svg>',
        f'<p class="soft">{_text(label)}.</p>',
    ]


def _incidents(kept: Record, now: float, words: Words) -> str:
    """What one check alone found wrong is there too: it was wrong."""
    begin = now - INCIDENT_DAYS * 86400
    recent = [each for each in kept.outages if (each.end or now) >= begin and max(each.begin, each.end or 0) <= now]
    lines = [f"<section>\n<h2>{_text(words('incidents'))}</h2>"]
    if not recent:
        lines.append(f"<p>{_text(words('no_incidents'))}</p>")
    else:
        shown = "".join(f"<li>{_incident(each, now, words)}</li>\n" for each in recent[::-1][:INCIDENTS])
        lines.append(f'<ul class="entries">\n{shown}</ul>')
    if len(recent) > INCIDENTS:
        lines.append(f"<p>{_text(words('more', count=len(recent) - INCIDENTS))}</p>")
    return "\n".join([*lines, "</section>"])


def _incident(outage: Outage, now: float, words: Words) -> str:
    texts = {Fault.CERTIFICATE: "was_certificate", Fault.UNWATCHED: "was_unwatched"}
    what = words(texts.get(outage.fault, "was_down"), name=outage.address)
    if outage.end is None:
        when = words("since", begin=words.moment(outage.begin), time=words.span(now - outage.begin))
    elif outage.checks == 1:
        when = words("blip", time=words.moment(outage.begin))
    else:
        took = words.span(outage.end - outage.begin)
        when = words("from_to", begin=words.moment(outage.begin), end=words.moment(outage.end), time=took)
    return f'{_text(what)}<br><span class="soft">{_text(when)}.</span>'


def _version(facts: Facts, words: Words) -> str:
    lines = [f"<section>\n<h2>{_text(words('version'))}</h2>"]
    if facts.version is None or facts.since is None:
        lines.append(f"<p>{_text(words('runs_none'))}</p>")
    else:
        lines.append(f"<p>{_text(words('runs', version=facts.version, time=words.moment(facts.since)))}</p>")
    if facts.changes:
        changes = "".join(
            f"<li>{_text(words(change.result.value, version=change.version))}<br>"
            f'<span class="soft">{_moment(change.at, words)}</span></li>\n'
            for change in facts.changes[:CHANGES]
        )
        lines.append(f'<h3>{_text(words("deploys"))}</h3>\n<ul class="entries">\n{changes}</ul>')
    return "\n".join([*lines, "</section>"])


def _backups(facts: Facts, words: Words) -> str:
    said = [words("backup", time=words.moment(facts.backup)) if facts.backup else words("no_backup")]
    said += [words("drill", time=words.moment(facts.drill))] if facts.drill else []
    lines = "".join(f"<p>{_text(line)}</p>\n" for line in said)
    return f"<section>\n<h2>{_text(words('backups'))}</h2>\n{lines}</section>"
