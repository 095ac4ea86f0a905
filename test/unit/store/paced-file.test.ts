/** Large bodies go to disk piece by piece, each durable before the next, one at a time; small ones do not queue. */
import assert from 'node:assert/strict';
import type { FileHandle } from 'node:fs/promises';
import { describe, it } from 'node:test';
import { PacedFiles, pieceBytes, piecesOf } from '../../../src/store/paced-file.ts';

/** A file that writes down what is asked of it; its syncs wait for the test. */
class Recorder {
  readonly calls: string[] = [];
  readonly syncs: ((error?: Error) => void)[] = [];
  readonly bytes = Buffer.alloc(8 * pieceBytes);
  dirty = 0;
  dirtyMax = 0;

  get handle(): FileHandle {
    return {
      writev: async (parts: Uint8Array[], at: number) => {
        let bytesWritten = 0;
        for (const part of parts) {
          this.bytes.set(part, at + bytesWritten);
          bytesWritten += part.length;
        }
        this.dirty += bytesWritten;
        this.dirtyMax = Math.max(this.dirty, this.dirtyMax);
        this.calls.push(`write ${at} ${bytesWritten}`);
        return { bytesWritten };
      },
      datasync: () =>
        new Promise<void>((resolve, reject) => {
          this.calls.push('sync');
          this.syncs.push((error) => {
            if (error !== undefined) return reject(error);
            this.dirty = 0;
            resolve();
          });
        }),
    } as unknown as FileHandle;
  }
}

const settle = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

async function letAllSync(file: Recorder): Promise<void> {
  for (let idle = 0; idle < 3; idle++) {
    await settle();
    for (const sync of file.syncs.splice(0)) {
      idle = 0;
      sync();
    }
  }
}

function bodyOf(...lengths: readonly number[]): Buffer[] {
  return lengths.map((length, i) => Buffer.alloc(length, i + 1));
}

describe('paced files', () => {
  it('cuts a body into pieces without losing or copying a byte', () => {
    const body = bodyOf(1, pieceBytes - 1, 0, 2 * pieceBytes + 7, 3);
    const pieces = [...piecesOf(body, pieceBytes)];
    const lengths = pieces.map((piece) => piece.reduce((sum, part) => sum + part.length, 0));
    assert.deepEqual(lengths, [pieceBytes, pieceBytes, pieceBytes, 10]);
    assert.ok(Buffer.concat(pieces.flat()).equals(Buffer.concat(body)));
    for (const part of pieces.flat()) assert.ok(body.some(({ buffer }) => buffer === part.buffer));
  });

  it('has at most one piece that is not durable, of all that is written', async () => {
    const files = new PacedFiles();
    const file = new Recorder();
    const first = files.write(file.handle, bodyOf(2 * pieceBytes));
    const second = files.writeDurably(file.handle, bodyOf(100, 2 * pieceBytes), 4 * pieceBytes);
    await settle();
    assert.deepEqual(file.calls, [`write 0 ${pieceBytes}`, 'sync'], 'nothing more before it is durable');
    await letAllSync(file);
    await Promise.all([first, second]);
    assert.equal(file.dirtyMax, pieceBytes);
    assert.equal(file.dirty, 0);
    assert.equal(file.calls.filter((call) => call === 'sync').length, 5);
    assert.ok(file.bytes.subarray(0, 2 * pieceBytes).every((byte) => byte === 1));
    assert.ok(file.bytes.subarray(4 * pieceBytes + 100, 6 * pieceBytes + 100).every((byte) => byte === 2));
  });

  it('lets a small file pass, and makes a small part of a shared one durable', async () => {
    const files = new PacedFiles();
    const large = new Recorder();
    const upload = files.write(large.handle, bodyOf(3 * pieceBytes));
    await settle();
    const small = new Recorder();
    await files.write(small.handle, bodyOf(500));
    assert.deepEqual(small.calls, ['write 0 500'], 'its own fsync follows');
    await letAllSync(large);
    await upload;
    const part = files.writeDurably(small.handle, bodyOf(500), 500);
    await letAllSync(small);
    await part;
    assert.deepEqual(small.calls.slice(1), ['write 500 500', 'sync']);
  });

  it('tells a failed sync to the one who wrote, and goes on with the next', async () => {
    const files = new PacedFiles();
    const file = new Recorder();
    const failing = files.writeDurably(file.handle, bodyOf(2 * pieceBytes), 0);
    const next = files.writeDurably(file.handle, bodyOf(10), 5 * pieceBytes);
    failing.catch(() => {});
    await settle();
    file.syncs.shift()!(new Error('the disk is gone'));
    await letAllSync(file);
    await assert.rejects(failing, /the disk is gone/);
    await next;
    assert.equal(file.calls.filter((call) => call.startsWith(`write ${pieceBytes} `)).length, 0);
  });
});
