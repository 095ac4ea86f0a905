import assert from 'node:assert/strict';
import { test } from 'node:test';
import { exitCodes, failureExitCode, startExitCode } from '../../../src/cli/exit-codes.ts';
import type { ProcessPort, StopSignal } from '../../../src/cli/process-port.ts';
import { runCommandLine } from '../../../src/cli/run.ts';
import type { Broker, BrokerOptions } from '../../../src/embedded/broker-types.ts';
import { type ErrorKind, MillraceError } from '../../../src/ports/errors.ts';
import { VirtualClock } from '../../support/virtual-clock.ts';

class FakeProcess implements ProcessPort {
  readonly args: readonly string[];
  readonly environment: Record<string, string> = {};
  readonly files = new Map<string, string>();
  readonly directory = '/srv';
  readonly version = '1.2.3';
  readonly startedAtMs = 1_000;
  stdout = '';
  stderr = '';
  #listener: (signal: StopSignal) => void = () => assert.fail('a signal before anybody listens');

  constructor(line: string) {
    this.args = line.split(' ').filter((word) => word !== '');
  }
  clock = 1_312;
  now(): number {
    return this.clock;
  }
  machine() {
    return { memoryBytes: 8 * 2 ** 30, cores: 4 };
  }
  dataFile(name: string): string {
    return `/package/${name}`;
  }
  readText(path: string): string {
    const text = this.files.get(path);
    if (text === undefined) throw new Error(`ENOENT: no such file ${path}`);
    return text;
  }
  out(text: string): void {
    this.stdout += text;
  }
  err(text: string): void {
    this.stderr += text;
  }
  onSignal(listener: (signal: StopSignal) => void): void {
    this.#listener = listener;
  }
  readonly watched: string[] = [];
  notice: () => void = () => assert.fail('nothing is watched');
  readonly notices: ProcessPort['notices'] = {
    clock: new VirtualClock(),
    open: async (place) => {
      this.watched.push(place.kind);
      return {
        name: place.kind,
        look: () =>
          new Promise((resolve) => {
            this.notice = () => resolve('terminate');
          }),
      };
    },
    onSignal: (signal, listener) => {
      this.watched.push(signal);
      this.notice = listener;
    },
  };
  signal(signal: StopSignal = 'SIGTERM'): void {
    this.#listener(signal);
  }
}

class FakeBroker implements Broker {
  readonly stuck = false;
  readonly clusterId = 'AAAAAAAAAAAAAAAAAAAAAA';
  readonly addresses = {
    plain: '127.0.0.1:9092',
    http: '127.0.0.1:9404',
    listeners: { plain: '127.0.0.1:9092', internal: '[::1]:9094' },
  };
  readonly native = true;
  stops = 0;
  aborts = 0;
  fail: (error: Error) => void = () => undefined;
  finish: (how: 'clean' | 'unfinished') => void = () => undefined;
  breakStop: (error: Error) => void = () => undefined;
  readonly failed = new Promise<Error>((resolve) => {
    this.fail = resolve;
  });
  stop(): Promise<'clean' | 'unfinished'> {
    this.stops++;
    return new Promise((resolve, reject) => {
      this.finish = resolve;
      this.breakStop = reject;
    });
  }
  async abort(): Promise<void> {
    this.aborts++;
  }
}

const noTools = (): Promise<never> => assert.fail("an operator's command was loaded");
const noMetadata = (): Promise<never> => assert.fail('metadata were opened');
const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

function run(line: string, start?: (options: BrokerOptions) => Promise<Broker>) {
  const host = new FakeProcess(line);
  const broker = new FakeBroker();
  const exit = runCommandLine(host, start ?? (async () => broker), noTools, noMetadata, async () =>
    assert.fail('a broker was asked'),
  );
  return { host, broker, exit };
}

test('help and version go to standard output and exit 0, without a broker', async () => {
  for (const line of ['help', '--version']) {
    const { host, exit } = run(line, () => assert.fail('no broker is needed'));
    assert.equal(await exit, 0);
    assert.notEqual(host.stdout, '');
    assert.equal(host.stderr, '');
  }
});

test('help fits in 100 columns and shows the sizes of this machine', async () => {
  const { host, exit } = run('--help');
  await exit;
  const lines = host.stdout.split('\n');
  for (const line of lines) assert.ok(line.length <= 100, line);
  assert.ok(lines.includes('  arena.bytes = 2 GiB'));
  assert.ok(lines.includes('  log.cache.bytes = 1 GiB'));
  assert.ok(lines.includes('  wal.capacity = 2 GiB'));
  assert.ok(lines.includes('  upload.bytes = 500 MB'));
  assert.ok(lines.includes('  threads = 3'));
  assert.ok(
    lines.includes('  shards 3, arena of 512 segments, of it to receive 256 MiB and to send 256 MiB'),
  );
  for (const code of Object.values(exitCodes)) assert.match(host.stdout, new RegExp(`\\b${code} `));
});

test('wrong words and wrong settings exit 64 and say why on standard error only', async () => {
  const wrong: [string, RegExp][] = [
    ['begin', /^millrace: unknown command begin/],
    ['start --set wal.capacity=huge', /setting wal\.capacity = "huge" \(--set\): expected a size/],
    ['start --config missing.properties', /expected a file of settings that can be read \(ENOENT/],
  ];
  for (const [line, expected] of wrong) {
    const { host, exit } = run(line, () => assert.fail('must not start'));
    assert.equal(await exit, 64, line);
    assert.match(host.stderr, expected);
    assert.equal(host.stdout, '');
  }
});

test('settings reach the broker from file, environment and flags', async () => {
  const host = new FakeProcess('start --profile dev --config m.properties --set node.id=3 --abandon-wal w');
  host.files.set('/srv/m.properties', 'node.id=1\nnum.partitions=6\nbroker.rack=a\n');
  host.environment.MILLRACE_BROKER_RACK = 'b';
  host.environment.MILLRACE_PORT = 'tcp://10.0.0.1:9092';
  let options: BrokerOptions | undefined;
  await runCommandLine(
    host,
    async (given) => {
      options = given;
      throw new MillraceError('invalid', 'LOCK_HELD', 'the directory is in use');
    },
    noTools,
    noMetadata,
    async () => assert.fail('a broker was asked'),
  );
  const settings = options!.settings;
  assert.deepEqual(
    [settings.profile, settings['node.id'], settings['num.partitions'], settings['broker.rack']],
    ['dev', 3, 6, 'b'],
  );
  assert.deepEqual([options!.abandonWals, options!.startedAtMs], [['w'], 1_000]);
  assert.match(host.stderr, /MILLRACE_PORT names no setting/);
});

test('one line on standard output when ready', async () => {
  const { host, broker, exit } = run('start');
  await turn();
  assert.equal(
    host.stdout,
    'millrace ready: plain 127.0.0.1:9092, internal [::1]:9094, http 127.0.0.1:9404, cluster AAAAAAAAAAAAAAAAAAAAAA, native, 312 ms\n',
  );
  host.signal();
  await turn();
  broker.finish('clean');
  await exit;
  assert.equal(host.stdout.split('\n').length, 2);
});

test('a signal stops the broker in order: 0 when all is uploaded, 75 when not', async () => {
  for (const [how, code] of [
    ['clean', 0],
    ['unfinished', 75],
  ] as const) {
    const { host, broker, exit } = run('start');
    await turn();
    host.signal('SIGINT');
    await turn();
    assert.equal(broker.stops, 1);
    broker.finish(how);
    assert.equal(await exit, code);
    assert.equal(broker.aborts, 0);
  }
});

test('a second signal ends a stop that hangs, with 75', async () => {
  const { host, broker, exit } = run('start');
  await turn();
  host.signal();
  await turn();
  host.clock += 1_000;
  host.signal();
  assert.equal(await exit, 75);
  assert.equal(broker.aborts, 1);
});

test("the echo of a terminal's signal, passed on by npm, is not a second one", async () => {
  const { host, broker, exit } = run('start');
  await turn();
  host.signal('SIGINT');
  host.clock += 20;
  host.signal('SIGINT');
  await turn();
  broker.finish('clean');
  assert.equal(await exit, 0);
  assert.equal(broker.aborts, 0);
});

for (const place of ['aws', 'file:/run/leave', 'http://host/x', 'signal:SIGUSR2'])
  test(`a notice stops the broker in order, whatever signal comes with it: ${place}`, async () => {
    const { host, broker, exit } = run(`start --set interruption.notices=${place}`);
    await turn();
    assert.equal(host.watched.length, 1);
    assert.equal(broker.stops, 0);
    host.notice();
    await turn();
    assert.equal(broker.stops, 1);
    assert.match(host.stderr, /this machine is to be taken away: leaving, as on SIGTERM/);
    // The machine shuts down: the stop goes on, and only another signal ends it.
    host.clock += 10_000;
    host.signal();
    await turn();
    assert.equal(broker.aborts, 0);
    broker.finish('clean');
    assert.equal(await exit, 0);
  });

test('after a notice two signals end a stop that hangs', async () => {
  const { host, broker, exit } = run('start --set interruption.notices=signal:SIGPWR');
  await turn();
  host.notice();
  await turn();
  host.signal();
  host.clock += 10_000;
  host.signal();
  assert.equal(await exit, 75);
  assert.equal(broker.aborts, 1);
});

test('a signal while starting stops as soon as it can, without a ready line', async () => {
  let started: (broker: Broker) => void = () => undefined;
  const { host, broker, exit } = run('start', () => new Promise((resolve) => (started = resolve)));
  await turn();
  host.signal();
  await turn();
  started(broker);
  await turn();
  assert.equal(broker.stops, 1);
  broker.finish('clean');
  assert.equal(await exit, 0);
  assert.equal(host.stdout, '');
});

test('two signals while starting end it at once, and a broker that comes late is ended', async () => {
  let started: (broker: Broker) => void = () => undefined;
  const { host, broker, exit } = run('start', () => new Promise((resolve) => (started = resolve)));
  await turn();
  host.signal();
  host.clock += 1_000;
  host.signal();
  assert.equal(await exit, 75);
  started(broker);
  await turn();
  assert.equal(broker.aborts, 1);
});

test('a broker that fails is ended, and the exit code tells its kind', async () => {
  const { host, broker, exit } = run('start');
  await turn();
  broker.fail(new MillraceError('fenced', 'METADATA_FENCED', 'broker 1 took over'));
  assert.equal(await exit, 76);
  assert.equal(broker.aborts, 1);
  assert.match(host.stderr, /error the broker failed: broker 1 took over code=METADATA_FENCED\n$/);
});

test('a broker that fails while it stops, or whose stop fails, is ended too', async () => {
  for (const how of ['failed', 'stop'] as const) {
    const { host, broker, exit } = run('start');
    await turn();
    host.signal();
    await turn();
    const error = new MillraceError('fenced', 'WAL_FENCED', 'x');
    if (how === 'failed') broker.fail(error);
    else broker.breakStop(error);
    assert.equal(await exit, 76, how);
    assert.equal(broker.aborts, 1);
  }
});

test('a start that fails exits with the code of its kind', async () => {
  const kinds: [ErrorKind, string, number][] = [
    ['unavailable', 'STORE_UNAVAILABLE', 69],
    ['exhausted', 'STORE_THROTTLED', 69],
    ['invalid', 'LOCK_HELD', 73],
    ['invalid', 'STORE_URL', 64],
    ['invalid', 'STORE_FORBIDDEN', 64],
    ['corrupt', 'METADATA_CORRUPT', 73],
    ['fenced', 'METADATA_FENCED', 76],
    ['internal', 'ANY', 70],
  ];
  for (const [kind, code, expected] of kinds) {
    const { host, exit } = run('start', async () => {
      throw new MillraceError(kind, code, 'why');
    });
    assert.equal(await exit, expected, code);
    assert.match(host.stderr, new RegExp(`error cannot start: why code=${code}`));
    assert.equal(host.stderr.includes('stack='), kind === 'internal');
  }
  assert.equal(startExitCode(new Error('x')), 70);
  assert.equal(failureExitCode(new MillraceError('unavailable', 'WAL_FAILED', 'x')), 75);
  assert.equal(failureExitCode(new MillraceError('corrupt', 'X', 'x')), 70);
});
