/** The comparison of two brokers' answers: what differs is found, and ends the case. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { differences } from '../../differential/compare.ts';

const step = (label: string, answer: unknown) => ({ label, answer });

test('the same answers do not differ', () => {
  const answers = [
    step('a', { errorCode: 0, topics: [{ name: 't' }] }),
    step('b', 'the connection was closed'),
  ];
  assert.deepEqual(differences('case', answers, structuredClone(answers)), []);
});

test('a field that differs is named with both values, and what follows it is not told', () => {
  const kafka = [step('a', { topics: [{ offset: 1 }] }), step('b', { offset: 2 })];
  const millrace = [step('a', { topics: [{ offset: 3 }] }), step('b', { offset: 4 })];
  assert.deepEqual(differences('case', kafka, millrace), [
    { place: 'case / a answer topics[0] offset', kafka: '1', millrace: '3', reason: null },
  ]);
});

test('of an answer whose error differs only the error is told', () => {
  const found = differences(
    'case',
    [step('a', { errorCode: 3, offset: -1 })],
    [step('a', { errorCode: 0, offset: 7 })],
  );
  assert.deepEqual(found, [{ place: 'case / a answer errorCode', kafka: '3', millrace: '0', reason: null }]);
});

test('an answer that one side does not give, and a step that it does not reach', () => {
  const found = differences('case', [step('a', 'no answer'), step('b', {})], [step('a', { errorCode: 0 })]);
  assert.equal(found.length, 1);
  assert.equal(differences('case', [step('a', {}), step('b', {})], [step('a', {})]).length, 1);
});

test('what may differ has its reason', () => {
  const [found] = differences(
    'case',
    [step('a: Fetch v12', { abortedTransactions: [] })],
    [step('a: Fetch v12', { abortedTransactions: null })],
  );
  assert.match(found!.reason!, /nothing is aborted/);
});

test('an allowance that ends its case hides what follows, and no other value', () => {
  const name = 'produce a batch and one byte';
  const answers = (errorCode: number) => [step('sent', { errorCode }), step('offset', { offset: errorCode })];
  const reasons = (millrace: number) =>
    differences(name, answers(0), answers(millrace)).map(({ reason }) => reason !== null);
  assert.deepEqual(reasons(87), [true]);
  assert.deepEqual(reasons(2), [false]);
});
