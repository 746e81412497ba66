"""How the status page looks: light, dark, on a phone, on paper. And what a browser may load for it: nothing."""

from __future__ import annotations

import base64
import hashlib

STYLE = """
:root { color-scheme: light dark; --back: #fff; --text: #1b1f24; --soft: #57606a; --line: #d8dee4;
  --ok: #1a7f4b; --some: #b35900; --bad: #c4231c; --none: #8c959f; --card: #f6f8fa; --link: #0a58ca }
@media (prefers-color-scheme: dark) {
  :root { --back: #0f1317; --text: #e8ecf0; --soft: #a3adb8; --line: #30363d;
    --ok: #3fb37a; --some: #e8963c; --bad: #f5766e; --none: #737d88; --card: #181d23; --link: #79b0ff }
}
* { box-sizing: border-box }
body { margin: 0 auto; padding: 1.5rem 1rem; max-width: 46rem; background: var(--back); color: var(--text);
  font: 1rem/1.5 -apple-system, "Segoe UI", Roboto, "Liberation Sans", sans-serif; overflow-wrap: anywhere }
h1 { font-size: 1.25rem; margin: 0 0 .75rem }
h2 { font-size: 1.05rem; margin: 0 }
h3 { font-size: .95rem; margin: 1rem 0 .25rem }
p, ul, ol { margin: .25rem 0; padding: 0 }
a { color: var(--link) }
section { margin-top: 1.5rem; padding: 1rem; background: var(--card); border: 1px solid var(--line);
  border-radius: 6px }
.state { display: flex; font-size: 1.35rem; font-weight: 600; padding: .6rem .8rem; border: 2px solid;
  border-radius: 6px }
.state::before { flex: 0 0 1.2em; font-weight: 700 }
.state.ok::before { content: "\\2713" }
.state.some::before, .state.bad::before { content: "!" }
.state.none::before { content: "?" }
.state.ok, .is.ok { color: var(--ok) }
.state.some, .is.some { color: var(--some) }
.state.bad, .is.bad { color: var(--bad) }
.state.none, .is.none { color: var(--soft) }
.soft, footer { color: var(--soft); font-size: .875rem }
.late { visibility: hidden; height: 0; margin: 0; animation: late 1s 600s forwards }
@keyframes late { to { visibility: visible; height: auto; margin: .5rem 0 } }
.bars { list-style: none; display: flex; gap: 1px; height: 2.25rem; margin-top: .75rem; position: relative }
.bars li { flex: 1 1 0; min-width: 0; background: var(--ok); border-radius: 1px }
.bars li.some { background: var(--some); margin-top: .5rem }
.bars li.bad { background: var(--bad); margin-top: 1rem }
.bars li.none { background: none; border: 1px solid var(--none); border-width: 0 0 3px }
.bars span { position: absolute; left: 0; right: 0; top: 100%; height: 1px; overflow: hidden; clip-path: inset(50%);
  font-size: .875rem }
.bars li:hover span { height: auto; clip-path: none; padding: .1rem .4rem; background: var(--text); color: var(--back);
  z-index: 1 }
.ends { display: flex; justify-content: space-between; color: var(--soft); font-size: .8rem }
.marked { list-style: none; font-size: .875rem }
.marked li::before { content: "\\2013"; padding-right: .4em }
svg { display: block; width: 100%; height: 3.5rem; margin-top: .5rem }
svg rect { fill: var(--link) }
svg line { stroke: var(--line) }
.entries { list-style: none }
.entries li { padding: .35rem 0; border-top: 1px solid var(--line) }
.entries li:first-child { border-top: 0 }
footer { margin-top: 1.5rem }
@media (max-width: 30rem) { .bars { gap: 0 } .bars li { border-right: 1px solid var(--card) } }
@media print { body { max-width: none } .late { display: none } section { break-inside: avoid }
  .bars li, svg { print-color-adjust: exact; -webkit-print-color-adjust: exact } }
"""

_HASH = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
POLICY = f"default-src 'none'; style-src 'sha256-{_HASH}'; base-uri 'none'; form-action 'none'"
"""Content-Security-Policy: this style and nothing else, whatever else may have come into the page."""
