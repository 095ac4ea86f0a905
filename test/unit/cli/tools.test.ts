import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseCommandLine, UsageError } from '../../../src/cli/arguments.ts';
import type { ProcessPort } from '../../../src/cli/process-port.ts';
import { runCommandLine } from '../../../src/cli/run.ts';
import { storeUrl, type Tools } from '../../../src/cli/tools.ts';
import type { DoctorReport } from '../../../src/inspect/doctor.ts';
import type { BucketReport, InspectOptions } from '../../../src/inspect/inspect.ts';
import { MillraceError } from '../../../src/ports/errors.ts';

function parse(line: string) {
  return parseCommandLine(line.split(' ').filter((word) => word !== ''));
}

const bare = { configFile: null, flags: [], json: false, verify: false, topic: null };

test('doctor and inspect take a store, as a word, an option or from the settings', () => {
  assert.deepEqual(parse('doctor s3://b/p'), { ...bare, kind: 'doctor', store: 's3://b/p' });
  assert.deepEqual(parse('doctor --store s3://b'), { ...bare, kind: 'doctor', store: 's3://b' });
  assert.deepEqual(parse('inspect'), { ...bare, kind: 'inspect', store: null });
  assert.deepEqual(parse('inspect d --verify --json --topic t --set s3.region=x --config f'), {
    kind: 'inspect',
    store: 'd',
    verify: true,
    json: true,
    topic: 't',
    configFile: 'f',
    flags: [{ name: 's3.region', value: 'x', origin: '--set' }],
  });
});

test('what npm start puts in front does not matter', () => {
  const command = parse('start --profile dev doctor s3://b');
  assert.equal(command.kind, 'doctor');
  assert.equal(command.kind === 'doctor' && command.store, 's3://b');
});

test('options are for the commands that have a use for them', () => {
  const wrong: [string, RegExp][] = [
    ['start --json', /option --json is for doctor and inspect/],
    ['start --verify', /option --verify is for inspect/],
    ['doctor --topic t', /option --topic is for inspect/],
    ['inspect --data d', /option --data is for start/],
    ['doctor a b', /nothing can be made of "b" after doctor/],
    ['doctor a --store b', /the store is given twice/],
    ['docter', /unknown command docter, perhaps doctor is meant/],
  ];
  for (const [line, expected] of wrong) {
    assert.throws(
      () => parse(line),
      (error) => error instanceof UsageError && expected.test(error.message),
      line,
    );
  }
});

test('a directory is the file store in it', () => {
  assert.equal(storeUrl('s3://b/p', '/srv'), 's3://b/p');
  assert.equal(storeUrl('memory:', '/srv'), 'memory:');
  assert.equal(storeUrl('data/store', '/srv'), 'file:///srv/data/store');
  assert.equal(storeUrl('/a b', '/srv'), 'file:///a%20b');
});

interface Run {
  readonly code: number;
  readonly out: string;
  readonly err: string;
  readonly url: string;
}

async function run(
  line: string,
  given: { fit?: boolean; problemCount?: number; error?: Error },
): Promise<Run> {
  let [out, err, url] = ['', '', ''];
  const host = {
    args: line.split(' '),
    environment: {},
    directory: '/srv',
    machine: () => ({ memoryBytes: 8 * 2 ** 30, cores: 4 }),
    out: (text: string) => {
      out += text;
    },
    err: (text: string) => {
      err += text;
    },
  } as unknown as ProcessPort;
  const asked = (to: string): void => {
    url = to;
    if (given.error !== undefined) throw given.error;
  };
  const tools: Tools = {
    doctor: async (to) => {
      asked(to);
      return { store: to, fit: given.fit ?? true } as DoctorReport;
    },
    doctorText: () => 'examined\n',
    inspect: async (to, options: InspectOptions) => {
      asked(to);
      return { store: to, problemCount: given.problemCount ?? 0, ...options } as unknown as BucketReport;
    },
    inspectText: () => 'inspected\n',
  };
  const noBroker = (): never => assert.fail('a broker was started');
  const code = await runCommandLine(
    host,
    noBroker,
    async () => tools,
    async () => assert.fail('metadata were opened'),
    async () => assert.fail('a broker was asked'),
  );
  return { code, out, err, url };
}

test('exit codes: 0 and 69 of doctor, 0 and 1 of inspect', async () => {
  assert.deepEqual(await run('doctor s3://b/p', {}), {
    code: 0,
    out: 'examined\n',
    err: '',
    url: 's3://b/p?maxSockets=64&connectTimeoutMs=3000&requestTimeoutMs=30000',
  });
  assert.equal((await run('doctor file:///d', { fit: false })).code, 69);
  assert.equal((await run('inspect file:///d', {})).code, 0);
  const found = await run('inspect file:///d --verify', { problemCount: 2 });
  assert.deepEqual([found.code, found.out], [1, 'inspected\n']);
});

test('--json prints the report itself', async () => {
  const { out } = await run('inspect dir --json --topic t', {});
  assert.deepEqual(JSON.parse(out), { store: 'file:///srv/dir', problemCount: 0, verify: false, topic: 't' });
});

test('what keeps a command from looking is said, with the exit code of its kind', async () => {
  const error = new MillraceError('unavailable', 'STORE_UNAVAILABLE', 'nobody answers');
  assert.deepEqual(await run('inspect file:///d', { error }), {
    code: 69,
    out: '',
    err: 'millrace: nobody answers\n',
    url: 'file:///d',
  });
  const unknown = new MillraceError('invalid', 'INSPECT_TOPIC', 'no such topic');
  assert.equal((await run('inspect file:///d', { error: unknown })).code, 64);
  assert.equal((await run('inspect http://d', {})).code, 64);
});
