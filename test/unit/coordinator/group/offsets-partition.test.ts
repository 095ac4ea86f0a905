import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { coordinatorPartition, javaHashCode } from '../../../../src/coordinator/group/offsets-partition.ts';

describe('partition of a group', () => {
  it('hashes as Java does, over UTF-16 code units', () => {
    assert.equal(javaHashCode(''), 0);
    assert.equal(javaHashCode('a'), 97);
    assert.equal(javaHashCode('hello'), 99162322);
    assert.equal(javaHashCode('Hello, World!'), 1498789909);
    assert.equal(javaHashCode('polygenelubricants'), -2147483648);
    // 0xe9 alone; 0x65e5 * 31 + 0x672c; and the surrogates 0xd83d, 0xde00.
    assert.equal(javaHashCode('é'), 233);
    assert.equal(javaHashCode('日本'), 0x65e5 * 31 + 0x672c);
    assert.equal(javaHashCode('😀'), 0xd83d * 31 + 0xde00);
  });

  it('masks the sign instead of taking the absolute value', () => {
    assert.equal(coordinatorPartition('polygenelubricants', 50), 0);
    assert.equal(coordinatorPartition('hello', 50), 22);
    const negative = 'consumer-group-negative';
    const hash = javaHashCode(negative);
    assert.equal(coordinatorPartition(negative, 50), (hash < 0 ? hash + 2 ** 31 : hash) % 50);
  });
});
