"""The page's style sheet: light and dark, wide and narrow, screen and paper.

Series colours are those of Okabe and Ito (lightened for the dark ground), which all kinds of colour vision
tell apart; lines after the first are dashed as well.
"""

CSS = """
:root { --ground: #fff; --raised: #f6f7f9; --ink: #1b1f24; --quiet: #5d6671; --rule: #dde1e6;
  --faint: #eceff2; --accent: #0b5cad; --gain: #dcebfa; --gain-ink: #0b4f94; --loss: #fde6cf;
  --loss-ink: #8f4300; --good: #0b5cad; --own: #1b1f24; --thought: #f3f1fa; --thought-rule: #a99bd1;
  --answer-rule: #3b8f6b; --mark: #d5420b; --c0: #0072b2; --c1: #d55e00; --c2: #009e73; --c3: #b0568a;
  --c4: #b98a00; --c5: #4aa3df; --c6: #6b6b6b; --c7: #8a5a2b;
  --sans: system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", "DejaVu Sans", Arial, sans-serif;
  --mono: ui-monospace, "SF Mono", Menlo, Consolas, "DejaVu Sans Mono", monospace; }
@media (prefers-color-scheme: dark) {
  :root { --ground: #14171b; --raised: #1c2026; --ink: #e4e7eb; --quiet: #9aa4b0; --rule: #343b44;
    --faint: #262c33; --accent: #7bb8f0; --gain: #14365a; --gain-ink: #a9d3fb; --loss: #4d2c0d;
    --loss-ink: #ffc48a; --good: #7bb8f0; --own: #e4e7eb; --thought: #221f30; --thought-rule: #7d6fb0;
    --answer-rule: #4fae86; --mark: #ff8a5c; --c0: #56b4e9; --c1: #ff8f4d; --c2: #2fc79b; --c3: #dd8fbd;
    --c4: #e6b93f; --c5: #9fd3f5; --c6: #a8adb3; --c7: #c99a66; }
}
* { box-sizing: border-box; }
html { color-scheme: light dark; }
body { margin: 0 auto; max-width: 1320px; padding: 28px clamp(14px, 3vw, 40px) 60px;
  background: var(--ground); color: var(--ink); font: 15px/1.5 var(--sans); -webkit-text-size-adjust: 100%; }
a { color: var(--accent); text-decoration: none; }
a:hover { text-decoration: underline; }
h1 { font-size: 2rem; line-height: 1.15; margin: 0 0 14px; letter-spacing: -.02em; overflow-wrap: anywhere; }
h2 { font-size: 1.35rem; margin: 0 0 6px; letter-spacing: -.01em; overflow-wrap: anywhere; }
h3 { font-size: 1rem; margin: 26px 0 8px; }
h4 { margin: 16px 0 6px; font-size: .92rem; }
h5 { margin: 0 0 6px; font-size: .78rem; font-weight: 600; color: var(--quiet); }
section { margin-top: 46px; scroll-margin-top: 56px; }
section.stage { border-top: 1px solid var(--rule); padding-top: 26px; }
p { margin: 6px 0; }
pre, code { font-family: var(--mono); font-size: .86em; }
pre { margin: 0; white-space: pre-wrap; overflow-wrap: anywhere; line-height: 1.45; }
code { overflow-wrap: anywhere; }
small { font-size: .74rem; color: var(--quiet); font-weight: 400; }
.quiet, p.kind { color: var(--quiet); }
p.kind { margin: 0; font-size: .85rem; }
.empty { background: var(--raised); border: 1px dashed var(--rule); border-radius: 8px; padding: 22px; }
.aside { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); }
dl.facts { display: flex; flex-wrap: wrap; gap: 8px 34px; margin: 0; }
dl.facts dt { font-size: .78rem; color: var(--quiet); }
dl.facts dd { margin: 0; font-variant-numeric: tabular-nums; }
p.facts { color: var(--quiet); margin: 0 0 10px; }
#verdict { margin-top: 24px; padding: 14px 18px; border-left: 5px solid var(--quiet);
  background: var(--raised); border-radius: 0 8px 8px 0; }
#verdict p { margin: 0; }
#verdict b { font-size: 1.12rem; }
#verdict.good { border-color: var(--good); }
#verdict.bad { border-color: var(--mark); }
#verdict .gates-line { margin-top: 4px; color: var(--quiet); }
nav { position: sticky; top: 0; z-index: 5; background: var(--ground); border-bottom: 1px solid var(--rule);
  margin-top: 20px; }
nav ol { display: flex; gap: 4px 20px; list-style: none; margin: 0; padding: 9px 0; overflow-x: auto;
  font-size: .88rem; scrollbar-width: thin; }
nav li { flex: none; }
.scroll { overflow-x: auto; max-width: 100%; position: relative; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th { font-weight: 600; text-align: left; }
thead th { vertical-align: bottom; font-size: .82rem; }
td, th { padding: 6px 10px; border-bottom: 1px solid var(--faint); }
thead th { border-bottom: 1px solid var(--rule); }
table.plain { font-size: .88rem; min-width: min(100%, 420px); }
table.plain tbody th { font-weight: 500; }
table.numbers td, table.numbers thead th:not(:first-child) { text-align: right; }
table.matrix { width: 100%; border-collapse: separate; border-spacing: 3px; margin-left: -3px; }
.matrix td, .matrix thead th:not(:first-child) { text-align: center; }
.matrix td { padding: 7px 4px; white-space: nowrap; }
.matrix td { background: var(--raised); border: 0; border-radius: 5px; min-width: 66px; }
.matrix th { border: 0; }
.matrix td b { font-size: 1.02rem; font-weight: 600; }
.matrix td small, .matrix th small { display: block; line-height: 1.35; }
.matrix tbody th, .matrix tfoot th, .matrix thead th:first-child { position: sticky; left: 0;
  background: var(--ground); z-index: 1; padding-left: 3px; min-width: 124px; max-width: 150px;
  overflow-wrap: break-word; }
.matrix td.own { box-shadow: inset 0 0 0 2px var(--own); }
.matrix td.none { color: var(--quiet); }
.matrix td.gain { background: var(--gain); }
.matrix td.loss { background: var(--loss); }
.matrix td.gain b, td.gain small { color: var(--gain-ink); }
.matrix td.loss b, td.loss small { color: var(--loss-ink); }
.matrix td.excused { background: color-mix(in srgb, var(--loss) 45%, var(--raised)); }
.matrix td.kept { background: none; }
.matrix td.kept.loss { background: var(--loss); }
.matrix tfoot td { background: none; color: var(--quiet); font-size: .8rem; padding-block: 2px; }
.matrix tfoot th { font-weight: 400; color: var(--quiet); font-size: .8rem; }
.matrix.modes tr.first:not(:first-child) > * { border-top: 7px solid var(--ground); }
.matrix.modes td { padding-block: 4px; }
.arrow { font-style: normal; font-size: .7em; margin-left: 3px; vertical-align: .12em; }
.legend-text { font-size: .85rem; color: var(--quiet); max-width: 120ch; }
.chip { padding: 1px 7px; border-radius: 4px; white-space: nowrap; }
.chip.gain { background: var(--gain); color: var(--gain-ink); }
.chip.loss { background: var(--loss); color: var(--loss-ink); }
.chip.own { box-shadow: inset 0 0 0 2px var(--own); }
.chip.excused { background: color-mix(in srgb, var(--loss) 45%, var(--raised)); }
.spark { display: block; margin: auto; }
.spark .line { fill: none; stroke: var(--c0); stroke-width: 1.6; stroke-linejoin: round; }
.matrix td:has(.spark), .matrix td:last-child:empty { background: none; }
.own-ring { fill: var(--ground); stroke: var(--own); stroke-width: 1.5; }
.knob { position: absolute; opacity: 0; }
.knob + label { display: inline-block; padding: 4px 13px; margin: 0 6px 10px 0; border: 1px solid var(--rule);
  border-radius: 99px; font-size: .85rem; cursor: pointer; }
.knob:checked + label { background: var(--ink); color: var(--ground); border-color: var(--ink); }
.knob:focus-visible + label { outline: 2px solid var(--accent); outline-offset: 2px; }
.panel { display: none; }
.panel h3 { margin: 4px 0 0; font-size: .95rem; }
.panel > p { color: var(--quiet); font-size: .85rem; }
#view-0:checked ~ .panel-0, #view-1:checked ~ .panel-1, #view-2:checked ~ .panel-2,
  #view-3:checked ~ .panel-3, #view-4:checked ~ .panel-4, #view-5:checked ~ .panel-5 { display: block; }
.outcome { font-size: .78rem; font-weight: 600; padding: 2px 9px; border-radius: 99px; vertical-align: .15em;
  letter-spacing: 0; background: var(--faint); color: var(--quiet); white-space: nowrap; }
.outcome.good { background: var(--gain); color: var(--gain-ink); }
.outcome.bad { background: var(--loss); color: var(--loss-ink); }
.outcome.middling { background: var(--faint); color: var(--ink); }
nav .outcome { font-size: .7rem; padding: 0 7px; vertical-align: 0; }
.alarms { list-style: none; margin: 12px 0; padding: 10px 16px; border-left: 5px solid var(--mark);
  background: var(--raised); border-radius: 0 8px 8px 0; }
.alarms li { margin: 3px 0; }
.alarms li::before { content: "▲ "; color: var(--mark); font-size: .8em; }
.curves { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 300px), 1fr));
  gap: 22px 26px; }
.reading { margin: -4px 0 12px; font-size: .85rem; color: var(--quiet); }
.curve { margin: 0; min-width: 0; }
.curve figcaption { font-weight: 600; font-size: .92rem; margin-bottom: 2px; }
.curve svg { display: block; width: 100%; height: auto; overflow: visible; }
.curve p { font-size: .8rem; color: var(--quiet); line-height: 1.4; }
svg text { font-family: var(--sans); fill: var(--quiet); }
svg .tick { font-size: 10.5px; font-variant-numeric: tabular-nums; }
svg .unit { font-size: 10.5px; }
.grid { stroke: var(--faint); }
.axis, .notch { stroke: var(--quiet); stroke-opacity: .6; }
.series path { fill: none; stroke: currentColor; stroke-width: 1.9; stroke-linejoin: round;
  stroke-linecap: round; }
.series path.raw { stroke-width: 1; opacity: .32; }
.series .band { fill: currentColor; opacity: .14; }
.series circle { fill: currentColor; }
.series.c1 .line, .series.c4 .line { stroke-dasharray: 6 4; }
.series.c2 .line, .series.c5 .line { stroke-dasharray: 2 4; }
.series.c3 .line, .series.c6 .line { stroke-dasharray: 9 3 2 3; }
.c0 { color: var(--c0); }
.c1 { color: var(--c1); }
.c2 { color: var(--c2); }
.c3 { color: var(--c3); }
.c4 { color: var(--c4); }
.c5 { color: var(--c5); }
.c6 { color: var(--c6); }
.c7 { color: var(--c7); }
.hit { fill: transparent; }
.hit:hover { fill: var(--ink); fill-opacity: .09; }
.phase line { stroke: var(--quiet); stroke-dasharray: 3 3; opacity: .65; }
.phase text { font-size: 9.5px; }
.mark path { fill: var(--mark); stroke: var(--ground); stroke-width: 1; }
.bars { display: block; margin: 14px 0 4px; overflow: visible; }
.bar { fill: currentColor; stroke: var(--ground); stroke-width: 1; }
.bars .bar-name { font-size: 13px; fill: var(--ink); }
.bars .tick { font-size: 12px; }
.legend { list-style: none; display: flex; flex-wrap: wrap; gap: 2px 16px; margin: 2px 0 6px; padding: 0;
  font-size: .82rem; }
.key { display: inline-block; width: 20px; height: 0; border-top: 3px solid currentColor; margin-right: 6px;
  vertical-align: middle; }
.key.c1, .key.c4 { border-top-style: dashed; }
.key.c2, .key.c5 { border-top-style: dotted; }
.key.bar { width: 12px; height: 12px; border: 0; border-radius: 2px; background: currentColor; }
details { border: 1px solid var(--rule); border-radius: 8px; margin: 12px 0; }
details > summary { cursor: pointer; padding: 8px 14px; font-weight: 600; }
details > summary .quiet { font-weight: 400; margin-left: 8px; }
details[open] > summary { border-bottom: 1px solid var(--faint); }
details > :not(summary) { margin: 10px 14px 14px; }
.pair details { margin: 6px 0; }
dl.json { display: grid; grid-template-columns: minmax(90px, max-content) minmax(0, 1fr); gap: 3px 18px;
  margin: 0; font-size: .88rem; }
dl.json dt { color: var(--quiet); }
dl.json dd { margin: 0; overflow-wrap: anywhere; min-width: 0; }
.chain { display: flex; flex-wrap: wrap; gap: 8px 14px; align-items: center; }
.node { background: var(--raised); border: 1px solid var(--rule); border-radius: 8px; padding: 6px 12px;
  font-size: .82rem; color: var(--quiet); }
.node code { color: var(--ink); margin-left: 4px; }
.node small { display: block; }
ul.notes { padding-left: 20px; margin: 8px 0; }
.answers td, .answers th { vertical-align: top; text-align: left; }
.answers td { min-width: 17rem; max-width: 24rem; font-size: 0.9em; }
.answers td p { margin: 2px 0 6px; }
.answers pre { white-space: pre-wrap; overflow-wrap: anywhere; max-height: 22rem; overflow-y: auto; }
.asked { margin: 14px 14px 26px; }
.sides { display: grid; grid-template-columns: repeat(2, minmax(0, 1fr)); gap: 20px; }
.side { display: flex; flex-direction: column; }
.sample { border: 1px solid var(--rule); border-radius: 8px; flex: 1; }
.sample header, .sample footer, .sample .note { padding: 8px 14px; margin: 0; }
.sample header { border-bottom: 1px solid var(--faint); }
.sample footer { font-size: .76rem; overflow-wrap: anywhere; }
.sample .note { font-size: .84rem; border-top: 1px solid var(--faint); }
.sample .note::before { content: "Grader: "; color: var(--quiet); }
.sample > div { padding: 8px 14px; }
.label { display: block; font-size: .74rem; color: var(--quiet); }
.sample .prompt { background: var(--raised); }
.sample .thought { background: var(--thought); border-left: 4px solid var(--thought-rule);
  padding-left: 10px; }
.sample .thought pre { font-style: italic; color: var(--quiet); }
.sample .answer { border-left: 4px solid var(--answer-rule); padding-left: 10px; }
.sample > p.quiet { padding: 4px 14px; font-size: .85rem; }
.gap { display: block; color: var(--mark); font-style: normal; padding: 4px 0; }
footer { margin-top: 50px; }
.sample footer { margin-top: 0; }
#unread { color: var(--mark); }
@media (max-width: 720px) {
  body { font-size: 14px; }
  h1 { font-size: 1.55rem; }
  .sides { grid-template-columns: 1fr; }
  .matrix td { min-width: 60px; }
  .matrix tbody th, .matrix thead th:first-child { min-width: 92px; max-width: 110px; font-size: .84rem; }
  dl.json { grid-template-columns: 1fr; gap: 0; }
  dl.json dd { margin: 0 0 6px; }
  dl.json dl.json { padding-left: 12px; }
}
@media print {
  body { max-width: none; padding: 0; font-size: 10pt; }
  nav, .knob, .knob + label { display: none; }
  .panel { display: block; break-inside: avoid; margin-bottom: 12px; }
  .scroll { overflow: visible; }
  .curve, .sample, .bars, tr { break-inside: avoid; }
  section.stage { break-before: page; }
  .curves { grid-template-columns: repeat(3, 1fr); }
  * { print-color-adjust: exact; -webkit-print-color-adjust: exact; }
  .matrix td { min-width: 0; padding: 4px 2px; }
}
"""
