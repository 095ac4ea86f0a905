import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createLogger, type LoggerOptions } from '../../../src/observe/logger.ts';

function collect(options: Partial<LoggerOptions>): {
  lines: string[];
  logger: ReturnType<typeof createLogger>;
} {
  const lines: string[] = [];
  const logger = createLogger({
    level: 'info',
    format: 'text',
    now: () => 0,
    write: (line) => lines.push(line),
    ...options,
  });
  return { lines, logger };
}

test('lines below the level are not written', () => {
  const { lines, logger } = collect({ level: 'warn' });
  logger.debug('a');
  logger.info('b');
  logger.warn('c');
  logger.error('d');
  assert.deepEqual(lines, ['1970-01-01T00:00:00.000Z warn  c\n', '1970-01-01T00:00:00.000Z error d\n']);
});

test('text shows fields as name=value, quoted where they need it', () => {
  const { lines, logger } = collect({ fields: { thread: 'main' } });
  logger.info('ready', { port: 9092, path: 'a b', empty: '', ok: true, none: null, gone: undefined });
  assert.equal(
    lines[0],
    '1970-01-01T00:00:00.000Z info  ready thread=main port=9092 path="a b" empty="" ok=true none=null\n',
  );
});

test('what clients send cannot forge a line or move the cursor', () => {
  const { lines, logger } = collect({});
  logger.info('x\n2026 error\u001b[2J', { client: 'a\r\nb\u009b\u2028c' });
  assert.equal(lines.length, 1);
  assert.equal(
    lines[0],
    '1970-01-01T00:00:00.000Z info  x\\n2026 error\\u001b[2J client="a\\r\\nb\\u009b\\u2028c"\n',
  );
});

test('json is one object a line; fields do not hide the time, level and message', () => {
  const { lines, logger } = collect({ format: 'json' });
  logger.error('no "store"', { code: 'X', level: 'mine' });
  assert.ok(lines[0]!.endsWith('}\n'));
  assert.deepEqual(JSON.parse(lines[0]!), {
    time: '1970-01-01T00:00:00.000Z',
    level: 'error',
    message: 'no "store"',
    code: 'X',
    level_: 'mine',
  });
});

test('long messages and fields are cut', () => {
  const { lines, logger } = collect({});
  logger.info('m'.repeat(100_000), { f: 'f'.repeat(100_000) });
  assert.ok(lines[0]!.length < 17_000);
});
