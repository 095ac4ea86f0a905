/** The plots of a result: each tracked figure as bars over the variants, and latencies of each variant as curves. */
import { figureSpecs } from '../harness/figures.ts';
import { percentilesOf } from '../harness/latency-summary.ts';
import type { ScenarioResult, VariantResult } from '../harness/schema.ts';
import { figuresOf, spread } from '../harness/statistics.ts';
import { type SystemName, systemNames, systemTitles } from '../systems/system.ts';
import { type Bar, barPlot, type Curve, percentilePlot } from './svg.ts';

const percentiles = [50, 75, 90, 95, 99, 99.5, 99.9, 99.95, 99.99];

export interface Plot {
  /** Without a directory. */
  readonly file: string;
  readonly title: string;
  readonly svg: string;
}

export function systemsOf(result: ScenarioResult): SystemName[] {
  const found = new Set(result.variants.flatMap(({ runs }) => runs.map(({ system }) => system)));
  return systemNames.filter((name) => found.has(name));
}

export function plotsOf(result: ScenarioResult): Plot[] {
  const figures = [...new Set(result.variants.flatMap(({ tracked }) => tracked.map(({ figure }) => figure)))];
  const bars = figures.flatMap((figure) => barsOf(result, figure) ?? []);
  return [...bars, ...result.variants.flatMap((variant) => curvesOf(result, variant) ?? [])];
}

function barsOf(result: ScenarioResult, figure: string): Plot | null {
  const bars: Bar[] = [];
  for (const variant of result.variants)
    for (const system of systemsOf(result)) {
      const found = spread(figuresOf(variant.runs, system, figure));
      if (found !== null) bars.push({ group: variant.title, label: systemTitles[system], ...found });
    }
  if (bars.length === 0) return null;
  const spec = (figureSpecs as Readonly<Record<string, { title: string; unit: string }>>)[figure];
  const title = `${result.title}: ${spec?.title ?? figure}`;
  return { file: `${figure}.svg`, title, svg: barPlot(title, spec?.unit ?? '', bars) };
}

/** The run whose p99 is the median of a system's runs. */
function curvesOf(result: ScenarioResult, variant: VariantResult): Plot | null {
  const curves: Curve[] = [];
  for (const system of systemsOf(result)) {
    const runs = variant.runs
      .filter((run) => run.system === system && run.part === 'ab' && run.latency !== null)
      .sort((a, b) => a.latency!.p99Ms - b.latency!.p99Ms);
    const latency = runs[runs.length >> 1]?.latency;
    if (latency == null) continue;
    // What fewer samples than that cannot tell is left out.
    const told = percentiles.filter((percentile) => latency.count * (1 - percentile / 100) >= 1);
    const values = percentilesOf(latency, told);
    curves.push({
      label: systemTitles[system],
      points: told.map((percentile, i) => [percentile, values[i]!]),
    });
  }
  if (curves.length === 0) return null;
  const title = `${result.title}, ${variant.title}: time to the acknowledgement`;
  return { file: `latency-${variant.name}.svg`, title, svg: percentilePlot(title, curves) };
}
