/** Writes the reference pages that come from tables: `node dist/tools/generate-reference.js`, from the repository's root. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { metricsReference } from '../src/observe/metric-table.ts';
import { configurationReference } from './configuration-reference.ts';

mkdirSync('docs/reference', { recursive: true });
writeFileSync('docs/reference/configuration.md', configurationReference());
writeFileSync('docs/reference/metrics.md', metricsReference());
