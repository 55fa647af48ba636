"""The style sheet of the report: for screens, for paper, for readers who enlarge or do without colour."""

STYLE = """
:root { --ink: #1b2430; --soft: #4a5665; --line: #d5dbe3; --band: #f4f6f9; --accent: #1f4e79;
  --good: #0b6b3a; --good-band: #e7f5ec; --bad: #a3161b; --bad-band: #fdecec; }
* { box-sizing: border-box; }
html { font-size: 100%; }
body { margin: 0; color: var(--ink); background: #fff; line-height: 1.5;
  font-family: system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", "Liberation Sans", Arial, sans-serif; }
.skip { position: absolute; left: -999px; }
.skip:focus { left: 1rem; top: 1rem; background: #fff; padding: .5rem 1rem; outline: 3px solid var(--accent); }
header, main, footer, nav { max-width: 72rem; margin: 0 auto; padding: 0 2rem; }
header { padding-top: 2.5rem; }
header p.kind { margin: 0; color: var(--accent); font-weight: 600; letter-spacing: .04em; }
h1 { font-size: 2rem; line-height: 1.2; margin: .2rem 0 .4rem; overflow-wrap: anywhere; }
h2 { font-size: 1.35rem; margin: 2.6rem 0 .6rem; padding-top: .8rem; border-top: 2px solid var(--ink); }
h3 { font-size: 1.08rem; margin: 1.6rem 0 .4rem; }
p { margin: .4rem 0 .8rem; max-width: 46rem; }
.soft { color: var(--soft); }
nav ol { columns: 3 14rem; padding: .9rem 1rem .9rem 2.2rem; background: var(--band); border: 1px solid var(--line);
  border-radius: 6px; }
a { color: var(--accent); }
a:focus-visible { outline: 3px solid var(--accent); outline-offset: 2px; }
.verdict { border: 2px solid; border-left-width: .8rem; border-radius: 6px; padding: .8rem 1.2rem; margin: 1rem 0; }
.verdict p { margin: .2rem 0; max-width: none; }
.verdict .word { font-size: 1.25rem; font-weight: 700; }
.verdict.good { border-color: var(--good); background: var(--good-band); }
.verdict.good .word { color: var(--good); }
.verdict.bad { border-color: var(--bad); background: var(--bad-band); }
.verdict.bad .word { color: var(--bad); }
dl.figures { display: grid; grid-template-columns: repeat(auto-fill, minmax(11rem, 1fr)); gap: .8rem; margin: 1rem 0; }
dl.figures div { border: 1px solid var(--line); border-radius: 6px; padding: .7rem .9rem; background: var(--band);
  display: flex; flex-direction: column-reverse; justify-content: flex-end; }
dl.figures dt { color: var(--soft); font-size: .9rem; }
dl.figures dd { margin: 0; font-size: 1.5rem; font-weight: 650; font-variant-numeric: tabular-nums;
  overflow-wrap: anywhere; }
.wide { overflow-x: auto; }
.wide:focus-visible { outline: 3px solid var(--accent); }
table { border-collapse: collapse; width: 100%; font-size: .92rem; margin: .4rem 0 1rem; }
caption { text-align: left; color: var(--soft); padding: .3rem 0; }
th, td { text-align: left; vertical-align: top; padding: .4rem .7rem .4rem 0; border-bottom: 1px solid var(--line); }
thead th { border-bottom: 2px solid var(--ink); white-space: nowrap; }
tbody th { font-weight: 600; }
td { overflow-wrap: break-word; unicode-bidi: isolate; }
td.number, th.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
td.time { white-space: nowrap; font-variant-numeric: tabular-nums; }
td code.short { white-space: nowrap; }
td ul { margin: 0; padding-left: 1.1rem; }
code { font-family: ui-monospace, "Cascadia Mono", "DejaVu Sans Mono", Consolas, monospace; font-size: .86em;
  overflow-wrap: anywhere; }
pre { background: var(--band); border: 1px solid var(--line); border-radius: 6px; padding: .7rem .9rem;
  white-space: pre-wrap; }
.outcome { font-weight: 600; white-space: nowrap; }
.outcome.no { color: var(--bad); }
.outcome.yes { color: var(--good); }
svg.chart { width: 100%; max-width: 46rem; height: auto; display: block; margin: .6rem 0; }
.chart .grid { stroke: var(--line); stroke-width: 1; }
.chart .tick { fill: var(--soft); font-size: 12px; }
.chart .y { text-anchor: end; dominant-baseline: middle; }
.chart .end { text-anchor: end; }
.chart .spent { fill: none; stroke: var(--accent); stroke-width: 2.5; }
.chart .dot { fill: var(--accent); }
.chart .limit { stroke: var(--bad); stroke-width: 1.5; stroke-dasharray: 7 5; }
footer { margin-top: 3rem; padding-top: 1rem; padding-bottom: 2.5rem; border-top: 1px solid var(--line);
  color: var(--soft); font-size: .9rem; }
@page { size: A4; margin: 16mm 14mm 18mm; @bottom-right { content: counter(page) " / " counter(pages); } }
@media print {
  body { font-size: 9.5pt; }
  header, main, footer { padding: 0; max-width: none; }
  header { padding-top: 0; }
  nav, .skip { display: none; }
  h1 { font-size: 18pt; }
  h2 { font-size: 13pt; break-after: avoid; }
  h3 { font-size: 11pt; break-after: avoid; }
  .account > p { break-after: avoid; }
  .wide { overflow: visible; }
  table { font-size: 8.5pt; }
  thead { display: table-header-group; }
  tr, .verdict, dl.figures div, svg.chart { break-inside: avoid; }
  .verdict, dl.figures div, pre { print-color-adjust: exact; -webkit-print-color-adjust: exact; }
  a { color: inherit; text-decoration: none; }
}
"""
