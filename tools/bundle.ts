/**
 * Joins the compiled product's some five hundred files into a few, which the package ships and `millrace` runs: loading a
 * file costs Node about half a millisecond, in each thread anew. Nothing is rewritten but imports: the code stays readable
 * and its stack traces tell names. Packages stay outside, and so does what is loaded when it is used (the S3 client,
 * a deployment, the tools of an operator).
 * Usage: node dist/tools/bundle.js [--out DIR]      (default: dist/bundle/bin)
 *
 * All files lie in one folder, so that a thread finds its entry beside whoever starts it, three levels below package.json
 * like the files they are made of.
 */
import { rmSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';

const built = join(dirname(fileURLToPath(import.meta.url)), '..');

/** What is started or imported by name, by the file of src it is made of. */
const entries = {
  main: 'main',
  index: 'embedded/index',
  'shard.worker': 'threads/shard/shard.worker',
  'wal.worker': 'threads/wal/wal.worker',
  'object-wal.worker': 'threads/wal/object-wal.worker',
  'pool.worker': 'threads/pool/pool.worker',
  'records.worker': 'threads/pool/records.worker',
} as const;

/** Replaces what lies in the folder. @returns the names of the files written. */
export async function bundle(folder: string): Promise<string[]> {
  rmSync(folder, { recursive: true, force: true });
  const { metafile } = await build({
    absWorkingDir: built,
    entryPoints: Object.entries(entries).map(([out, file]) => ({ out, in: join('src', `${file}.js`) })),
    outdir: folder,
    bundle: true,
    splitting: true,
    format: 'esm',
    platform: 'node',
    target: 'node20',
    packages: 'external',
    chunkNames: '[name]-[hash]',
    metafile: true,
    logLevel: 'warning',
  });
  return Object.keys(metafile.outputs).map((name) => name.slice(name.lastIndexOf('/') + 1));
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const flag = process.argv.indexOf('--out');
  const folder = flag === -1 ? join(built, 'bundle/bin') : resolve(process.argv[flag + 1] ?? '');
  const files = await bundle(folder);
  process.stdout.write(`bundle: ${files.length} files in ${folder}\n`);
}
