/** Options of the commands of this repository (bench, long tests): `--help`, and wrong ones answered with the usage. */
import { type ParseArgsConfig, parseArgs } from 'node:util';
import { outliveOutputReaders } from '../src/threads/adapters/output-reader.ts';

type Options = NonNullable<ParseArgsConfig['options']>;
type Parsed<T extends Options> = ReturnType<
  typeof parseArgs<{ allowPositionals: true; allowNegative: true; options: T }>
>;

/** Ends the process for `--help` (0), and for what it does not know (64, as for a wrong setting of the broker). */
export function commandLine<T extends Options>(usage: string, options: T): Parsed<T> {
  outliveOutputReaders();
  const given = process.argv.slice(2);
  if (given.includes('--help') || given.includes('-h')) {
    process.stdout.write(`${usage}\n`);
    process.exit(0);
  }
  try {
    return parseArgs({ args: given, allowPositionals: true, allowNegative: true, options });
  } catch (error) {
    process.stderr.write(`${(error as Error).message}\n\n${usage}\n`);
    process.exit(64);
  }
}
