/**
 * Plots as SVG text, without a library: bars with least, median and most, and curves over a logarithmic axis. Readable on
 * white and on dark pages: grey for what frames, two colours for what is compared.
 */
export interface Bar {
  readonly group: string;
  readonly label: string;
  readonly min: number;
  readonly median: number;
  readonly max: number;
}

export interface Curve {
  readonly label: string;
  readonly points: readonly (readonly [x: number, y: number])[];
}

const colours = ['#2a7de1', '#d9730d', '#8b5cc7', '#3d9a50', '#c2410c', '#64748b'];
const grey = '#8a8f98';
/** Of a character on average, generously. */
const charPx = 6.9;
const font = 'font-family="system-ui, sans-serif" font-size="12"';

function escaped(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('"', '&quot;');
}

function frame(width: number, height: number, title: string, body: readonly string[]): string {
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" viewBox="0 0 ${width} ${height}" role="img" aria-label="${escaped(title)}" ${font} fill="${grey}">`,
    `<text x="10" y="20" font-size="14" font-weight="600">${escaped(title)}</text>`,
    ...body,
    '</svg>',
    '',
  ].join('\n');
}

export function colourOf(index: number): string {
  return colours[index % colours.length]!;
}

/** A number as people say it: 1,234 and 0.123. */
export function shortNumber(value: number): string {
  if (value === 0) return '0';
  const digits = Math.abs(value) >= 100 ? 0 : Math.abs(value) >= 10 ? 1 : Math.abs(value) >= 1 ? 2 : 3;
  return value.toLocaleString('en', { maximumFractionDigits: digits });
}

/** Horizontal bars, in groups; whiskers from least to most. Labels of one name have one colour. */
export function barPlot(title: string, unit: string, bars: readonly Bar[]): string {
  const labels = [...new Set(bars.map(({ label }) => label))];
  const groups = [...new Set(bars.map(({ group }) => group))];
  const most = Math.max(...bars.map(({ max }) => max), Number.MIN_VALUE);
  const left = 24 + charPx * Math.max(...groups.map((group) => group.length));
  const [plot, row] = [420, 18];
  const body: string[] = [];
  let y = 40;
  for (const [i, label] of labels.entries())
    body.push(
      `<rect x="${10 + i * 160}" y="${y - 9}" width="10" height="10" fill="${colourOf(i)}"/>`,
      `<text x="${26 + i * 160}" y="${y}">${escaped(label)}</text>`,
    );
  y += 16;
  const x = (value: number): number => left + (value / most) * plot;
  for (const group of groups) {
    const own = bars.filter((bar) => bar.group === group);
    body.push(`<text x="10" y="${y + own.length * row * 0.5 + 4}">${escaped(group)}</text>`);
    for (const { label, min, median, max } of own) {
      const colour = colourOf(labels.indexOf(label));
      const middle = y + row / 2;
      body.push(
        `<rect x="${left}" y="${y + 2}" width="${(x(median) - left).toFixed(1)}" height="${row - 4}" fill="${colour}" opacity="0.75"/>`,
        `<path d="M${x(min).toFixed(1)} ${middle}H${x(max).toFixed(1)}" stroke="${colour}" stroke-width="2"/>`,
        `<text x="${(x(max) + 6).toFixed(1)}" y="${middle + 4}">${shortNumber(median)} ${escaped(unit)}</text>`,
      );
      y += row;
    }
    y += 8;
  }
  return frame(left + plot + 130, y + 6, title, body);
}

/** Decades that hold all values. */
function decades(values: readonly number[]): [number, number] {
  const positive = values.filter((value) => value > 0);
  const least = Math.floor(Math.log10(Math.min(...positive)));
  return [least, Math.max(least + 1, Math.ceil(Math.log10(Math.max(...positive))))];
}

/** Curves over percentiles: x from p50 to p99.99 by nines, y logarithmic in milliseconds. */
export function percentilePlot(title: string, curves: readonly Curve[]): string {
  const shown = curves.filter(({ points }) => points.some(([, y]) => y > 0));
  if (shown.length === 0) return frame(640, 60, `${title}: nothing was measured`, []);
  const [left, top, width, height] = [70, 60, 560, 260];
  const [low, high] = decades(shown.flatMap(({ points }) => points.map(([, y]) => y)));
  const nines = (percentile: number): number => -Math.log10(1 - percentile / 100);
  const [from, to] = [nines(50), nines(99.99)];
  const x = (percentile: number): number => left + ((nines(percentile) - from) / (to - from)) * width;
  const y = (ms: number): number =>
    top + height - ((Math.log10(Math.max(ms, 10 ** low)) - low) / (high - low)) * height;
  const body: string[] = [];
  for (let decade = low; decade <= high; decade++)
    body.push(
      `<path d="M${left} ${y(10 ** decade).toFixed(1)}h${width}" stroke="${grey}" opacity="0.3"/>`,
      `<text x="${left - 8}" y="${(y(10 ** decade) + 4).toFixed(1)}" text-anchor="end">${10 ** decade} ms</text>`,
    );
  for (const percentile of [50, 90, 99, 99.9, 99.99])
    body.push(
      `<path d="M${x(percentile).toFixed(1)} ${top}v${height}" stroke="${grey}" opacity="0.3"/>`,
      `<text x="${x(percentile).toFixed(1)}" y="${top + height + 18}" text-anchor="middle">p${percentile}</text>`,
    );
  for (const [i, { label, points }] of shown.entries()) {
    const path = points
      .map(([p, ms], at) => `${at === 0 ? 'M' : 'L'}${x(p).toFixed(1)} ${y(ms).toFixed(1)}`)
      .join('');
    body.push(
      `<path d="${path}" fill="none" stroke="${colourOf(i)}" stroke-width="2"/>`,
      `<rect x="${left + (i % 3) * 190}" y="${31 + Math.floor(i / 3) * 14}" width="10" height="10" fill="${colourOf(i)}"/>`,
      `<text x="${left + 16 + (i % 3) * 190}" y="${40 + Math.floor(i / 3) * 14}">${escaped(label)}</text>`,
    );
  }
  return frame(left + width + 30, top + height + 34, title, body);
}

export interface TimeLine {
  readonly label: string;
  /** One each second, from 0 on. */
  readonly values: readonly number[];
}

/** Values over seconds, both axes linear from 0. */
export function timePlot(title: string, lines: readonly TimeLine[]): string {
  const seconds = Math.max(1, ...lines.map(({ values }) => values.length));
  const most = Math.max(1, ...lines.flatMap(({ values }) => values));
  const [left, top, width, height] = [70, 60, 560, 220];
  const x = (second: number): number => left + (second / seconds) * width;
  const y = (value: number): number => top + height - (value / most) * height;
  const body: string[] = [];
  for (const part of [0, 0.25, 0.5, 0.75, 1])
    body.push(
      `<path d="M${left} ${y(part * most).toFixed(1)}h${width}" stroke="${grey}" opacity="0.3"/>`,
      `<text x="${left - 8}" y="${(y(part * most) + 4).toFixed(1)}" text-anchor="end">${shortNumber(part * most)}</text>`,
      `<text x="${x(part * seconds).toFixed(1)}" y="${top + height + 18}" text-anchor="middle">${shortNumber(part * seconds)} s</text>`,
    );
  for (const [i, { label, values }] of lines.entries()) {
    const path = values
      .map(
        (value, second) => `${second === 0 ? 'M' : 'L'}${x(second + 0.5).toFixed(1)} ${y(value).toFixed(1)}`,
      )
      .join('');
    body.push(
      `<path d="${path}" fill="none" stroke="${colourOf(i)}" stroke-width="2"/>`,
      `<rect x="${left + i * 190}" y="31" width="10" height="10" fill="${colourOf(i)}"/>`,
      `<text x="${left + 16 + i * 190}" y="40">${escaped(label)}</text>`,
    );
  }
  return frame(left + width + 30, top + height + 34, title, body);
}
