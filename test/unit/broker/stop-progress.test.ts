/** One line a second while a stop works, and what it came to. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { StopProgress } from '../../../src/broker/stop-progress.ts';
import { silentLogger } from '../../../src/ports/logger.ts';
import { HandClock } from '../../support/store-fixtures.ts';

test('a line a second says what it waits for, then how far the upload is; none after the end', () => {
  const clock = new HandClock();
  const lines: string[] = [];
  const logger = { ...silentLogger, info: (message: string) => void lines.push(message) };
  let uploads = { storedBytes: 0, totalBytes: 0, objectsDone: 0, objects: 0 };
  const progress = new StopProgress(clock, logger, 30_000, () => uploads);
  clock.advance(999);
  assert.equal(lines.length, 0, 'a quick stop says nothing');
  progress.phase = 'waiting for the write-ahead log';
  clock.advance(1);
  uploads = { storedBytes: 312e6, totalBytes: 500e6, objectsDone: 2, objects: 5 };
  clock.advance(1_000);
  // Headers and indexes come on top of the bytes that were planned.
  uploads = { storedBytes: 500.2e6, totalBytes: 500e6, objectsDone: 5, objects: 5 };
  clock.advance(1_000);
  progress.end(true);
  clock.advance(60_000);
  assert.deepEqual(lines, [
    'waiting for the write-ahead log (1 of at most 30 s)',
    'uploading: 312 of 500 MB, 2 of 5 objects (2 of at most 30 s)',
    'uploading: 500 of 500 MB, 5 of 5 objects (3 of at most 30 s)',
    'everything is in the object store',
  ]);
  assert.equal(clock.pending, 0);
});

test('an unfinished stop claims nothing', () => {
  const clock = new HandClock();
  const lines: string[] = [];
  const logger = { ...silentLogger, info: (message: string) => void lines.push(message) };
  const uploads = { storedBytes: 0, totalBytes: 0, objectsDone: 0, objects: 0 };
  new StopProgress(clock, logger, 30_000, () => uploads).end(false);
  assert.deepEqual(lines, []);
});
