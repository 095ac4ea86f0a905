/** Builds and installs every S3 server that tests can use, the slow one too, so that later runs find them. */
import { s3Program, s3ServerNames } from './s3-programs.ts';

for (const name of s3ServerNames) {
  const began = performance.now();
  const program = await s3Program(name, true);
  const verdict = typeof program === 'string' ? program : 'ready';
  process.stdout.write(`${name}: ${verdict} (${((performance.now() - began) / 1000).toFixed(1)} s)\n`);
}
