import assert from 'node:assert/strict';
import { test } from 'node:test';
import { optionsHelp, parseCommandLine, UsageError } from '../../../src/cli/arguments.ts';

function parse(line: string) {
  return parseCommandLine(line.split(' ').filter((word) => word !== ''));
}

test('start takes its options as settings, in order', () => {
  const command = parse(
    'start --data /d --wal file:///a --wal=file:///b --listen :9092 --listen tls://:9093 --set a=b --set c=d=e --abandon-wal x --salvage-wal y --salvage-wal=z',
  );
  assert.deepEqual(command, {
    kind: 'start',
    configFile: null,
    flags: [
      { name: 'data.dir', value: '/d', origin: '--data' },
      { name: 'wal.url', value: 'file:///a,file:///b', origin: '--wal' },
      { name: 'listeners', value: 'plain://:9092,tls://:9093', origin: '--listen' },
      { name: 'a', value: 'b', origin: '--set' },
      { name: 'c', value: 'd=e', origin: '--set' },
    ],
    abandonWals: ['x'],
    salvageWals: ['y', 'z'],
    takeOver: false,
  });
});

test('options may stand before the command', () => {
  assert.equal(parse('--profile dev start').kind, 'start');
});

test('help and version, in all their forms', () => {
  for (const line of ['help', '--help', '-h', 'start --help', 'start --data x -h']) {
    assert.deepEqual(parse(line), { kind: 'help', profile: 'start' }, line);
  }
  assert.deepEqual(parse('--help --profile dev'), { kind: 'help', profile: 'dev' });
  for (const line of ['--version', '-v']) assert.deepEqual(parse(line), { kind: 'version' }, line);
});

test('what is wrong is named, with what may have been meant', () => {
  const wrong: [string, RegExp][] = [
    ['', /what to do\? millrace start/],
    ['strat', /unknown command strat, perhaps start is meant/],
    ['start now', /nothing can be made of "now" after start/],
    ['start --prot 1', /unknown option --prot/],
    ['start --profil dev', /unknown option --profil, perhaps --profile is meant/],
    ['start -x', /unknown option -x/],
    ['start --toString', /unknown option --toString/],
    ['start --data', /option --data needs a value/],
    ['start --data --http', /option --data needs a value/],
    ['start --data a --data b', /option --data is given twice/],
    ['start --help=yes', /option --help takes no value/],
    ['start --set secret', /^option --set needs KEY=VALUE\n/],
    ['--help --profile big', /profile "big" is none of start, dev, embedded/],
  ];
  for (const [line, expected] of wrong) {
    assert.throws(
      () => parse(line),
      (error) => error instanceof UsageError && expected.test(error.message),
      line,
    );
  }
});

test('every option in the help is one that is taken', () => {
  for (const [option] of optionsHelp) {
    const [, name, argument] = /(--[a-z-]+)(?: (.+))?$/.exec(option)!;
    const command = ['--json', '--verify', '--topic'].includes(name!) ? ['inspect'] : ['start'];
    const moves = ['--to', '--dry-run'].includes(name!) ? ['metadata', 'migrate', '--to=x'] : command;
    const words =
      name === '--to'
        ? ['metadata', 'migrate', name, 'k=v']
        : [...moves, name!, ...(argument === undefined ? [] : ['k=v'])];
    assert.doesNotThrow(
      () => parseCommandLine(name === '--profile' ? ['start', name, 'dev'] : words),
      option,
    );
  }
});
