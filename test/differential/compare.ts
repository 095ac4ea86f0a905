/** Two transcripts field by field, and what may differ. */
import { allowances } from './allowances.ts';
import type { Step } from './side.ts';

export interface Difference {
  readonly place: string;
  readonly kafka: string;
  readonly millrace: string;
  /** Why it may be so; null when it may not. */
  readonly reason: string | null;
}

/** Where the answers to the first step that differs do so: what follows, follows from it. An allowed one ends only what its allowance says. */
export function differences(name: string, kafka: readonly Step[], millrace: readonly Step[]): Difference[] {
  const found: Difference[] = [];
  let ended = false;
  for (let at = 0; at < Math.max(kafka.length, millrace.length); at++) {
    const label = kafka[at]?.label ?? millrace[at]!.label;
    if (ended) break;
    const [left, right] = [flat(kafka[at]), flat(millrace[at])];
    // Another step altogether, or no answer on one side: its fields tell nothing more.
    const all = [...new Set([...left.keys(), ...right.keys()])].filter(
      (path) => left.get(path) !== right.get(path),
    );
    const whole = all.filter((path) => path === '' || path === ' label' || path === ' answer');
    // What comes with an error is decided by it.
    const codes = all.filter((path) => path.endsWith('errorCode'));
    const paths = whole.length > 0 ? whole.slice(0, 1) : codes.length > 0 ? codes : all;
    for (const path of paths) {
      const [a, b] = [left.get(path) ?? 'absent', right.get(path) ?? 'absent'];
      if (a === b) continue;
      const place = `${name} / ${label}${path}`;
      const allowed = allowances.find(
        (each) =>
          each.place.test(place) &&
          (each.kafka === undefined || each.kafka === a) &&
          (each.millrace === undefined || each.millrace === b),
      );
      found.push({ place, kafka: a, millrace: b, reason: allowed?.reason ?? null });
      ended ||= allowed === undefined || allowed.ends === true;
    }
  }
  return found;
}

/** Scalars by path; an empty list or object is a scalar, too. */
function flat(value: unknown, path = '', into = new Map<string, string>()): Map<string, string> {
  if (value === undefined) return into;
  if (typeof value !== 'object' || value === null) into.set(path, JSON.stringify(value));
  else {
    const entries = Object.entries(value).filter(([, part]) => part !== undefined);
    if (entries.length === 0) into.set(path, Array.isArray(value) ? '[]' : '{}');
    for (const [name, part] of entries)
      flat(part, `${path}${Array.isArray(value) ? `[${name}]` : ` ${name}`}`, into);
  }
  return into;
}
