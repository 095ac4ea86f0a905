/** The record of decisions in memory. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { AuditEvent, AuditRecord } from '../../../src/cluster/audit.ts';
import { AuditTrail, trailLimits } from '../../../src/cluster/audit-trail.ts';

const record = (event: AuditEvent): AuditRecord => ({ timeMs: 5, revision: 9, node: 1, event });
const sequences = (records: readonly unknown[]) =>
  records.map((each) => (each as { sequence: number }).sequence);

test('keeps the newest decisions, in order, and hands out those behind a sequence', () => {
  const trail = new AuditTrail({ ...trailLimits, recordsMax: 3 });
  assert.deepEqual(trail.after(0), []);
  for (let i = 0; i < 20; i++) {
    trail.record(record({ type: 'leads' }));
    assert.equal(trail.kept, Math.min(3, i + 1));
    assert.deepEqual(
      sequences(trail.after(0)),
      [i - 1, i, i + 1].filter((each) => each > 0),
    );
    assert.deepEqual(sequences(trail.after(i)), [i + 1]);
    assert.deepEqual(trail.after(i + 1), []);
  }
  assert.equal(trail.recorded, 20);
  assert.deepEqual(trail.after(19), [
    { sequence: 20, timeMs: 5, revision: 9, node: 1, event: { type: 'leads' } },
  ]);
});

test('is bounded in characters and in the length of lists, and says what it left out', () => {
  const trail = new AuditTrail({ recordsMax: 1_000, charsMax: 2_000, listMax: 2 });
  const message = 'x'.repeat(500);
  for (let i = 0; i < 100; i++) trail.record(record({ type: 'refused', step: 's', code: 'C', message }));
  assert.equal(trail.kept, 3);
  trail.record(
    record({
      type: 'assigned',
      cause: 'overdue',
      streams: 5,
      to: { 1: 5 },
      named: ['a', 'b', 'c', 'd', 'e'],
    }),
  );
  const [last] = trail.after(100) as { event: unknown }[];
  assert.deepEqual(last!.event, {
    type: 'assigned',
    cause: 'overdue',
    streams: 5,
    to: { 1: 5 },
    named: ['a', 'b'],
    namedLeftOut: 3,
  });
  // One that is too large for all is not kept, and stands in nobody's way.
  trail.record(record({ type: 'refused', step: 's', code: 'C', message: 'x'.repeat(5_000) }));
  assert.equal(trail.kept, 0);
  trail.record(record({ type: 'leads' }));
  assert.equal(trail.kept, 1);
});
