import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { coordinatorPartition, javaHashCode } from '../../../../src/coordinator/runtime/coordinator-place.ts';

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

  it('takes the absolute value, which for the smallest number is 0', () => {
    assert.equal(coordinatorPartition('polygenelubricants', 50), 0);
    assert.equal(coordinatorPartition('hello', 50), 22);
    // Negative hashes: masking the sign, as was done up to 0.1, would say 36, 8 and 17.
    assert.equal(javaHashCode('my-group'), -1_906_497_762);
    assert.equal(coordinatorPartition('my-group', 50), 12);
    assert.equal(coordinatorPartition('group1', 50), 40);
    assert.equal(coordinatorPartition('orders', 50), 31);
  });
});
