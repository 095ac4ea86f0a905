/** Installs and builds every client family, the slow ones too, so that later runs find them; says what cannot be had. */
import { families, openFamily } from './families.ts';

for (const family of families) {
  const began = performance.now();
  const client = await openFamily(family, { slow: true });
  const verdict = typeof client === 'string' ? client : 'ready';
  process.stdout.write(`${family}: ${verdict} (${((performance.now() - began) / 1000).toFixed(1)} s)\n`);
}
