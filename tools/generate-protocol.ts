/**
 * Writes src/protocol/generated and docs/reference/protocol.md from src/protocol/schema.
 *
 *     npm run build && node dist/tools/generate-protocol.js            write
 *     npm run build && node dist/tools/generate-protocol.js --check    fail if a file differs
 *
 * Run from the repository's root. Files in the generated directory that no longer belong there are removed, or with
 * --check reported.
 */
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import {
  GENERATED_DIRECTORY,
  generateFiles,
  SCHEMA_DIRECTORY,
  SCHEMA_FILES,
  type SchemaTexts,
} from './protocol/generate.ts';

export function readSchemaTexts(): SchemaTexts {
  const read = (file: string): string => readFileSync(join(SCHEMA_DIRECTORY, file), 'utf8');
  return {
    messages: read(SCHEMA_FILES.messages),
    coordinatorRecords: read(SCHEMA_FILES.coordinatorRecords),
    errors: read(SCHEMA_FILES.errors),
    apiVersions: read(SCHEMA_FILES.apiVersions),
  };
}

/** Paths whose content differs from what the schema says: changed, missing, or not generated any more. */
export function staleFiles(): string[] {
  const files = generateFiles(readSchemaTexts());
  const stale: string[] = [];
  for (const [path, text] of files) if (readIfThere(path) !== text) stale.push(path);
  for (const path of presentFiles()) if (!files.has(path)) stale.push(path);
  return stale;
}

function presentFiles(): string[] {
  const entries = readdirSync(GENERATED_DIRECTORY, { recursive: true, withFileTypes: true });
  return entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name));
}

function readIfThere(path: string): string | null {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null;
    throw error;
  }
}

function main(): void {
  if (process.argv.includes('--check')) {
    const stale = staleFiles();
    for (const path of stale) process.stderr.write(`differs from the schema: ${path}\n`);
    process.exitCode = stale.length === 0 ? 0 : 1;
    return;
  }
  const files = generateFiles(readSchemaTexts());
  mkdirSync(GENERATED_DIRECTORY, { recursive: true });
  for (const path of presentFiles()) if (!files.has(path)) rmSync(path);
  for (const [path, text] of files) {
    mkdirSync(dirname(path), { recursive: true });
    if (readIfThere(path) !== text) writeFileSync(path, text);
  }
  process.stdout.write(`${files.size} files\n`);
}

if (process.argv[1]?.endsWith('generate-protocol.js') === true) main();
