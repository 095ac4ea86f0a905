import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { ConditionChecker } from '../../../src/metadata/conditions.ts';
import { grantIds } from '../../../src/metadata/id-blocks.ts';
import { ImageBuilder } from '../../../src/metadata/image-builder.ts';
import type { MetadataChange } from '../../../src/metadata/metadata-store.ts';
import { MillraceError } from '../../../src/ports/errors.ts';
import { seededRandom } from '../../support/store-fixtures.ts';

const condition = 'METADATA_CONDITION';
const hasErrorCode = (code: string) => (error: unknown) =>
  error instanceof MillraceError && error.code === code;

/** One log of several brokers. */
class SharedLog {
  readonly entries: (readonly MetadataChange[])[] = [];
  readonly random: ReturnType<typeof seededRandom>;

  constructor(seed: number) {
    this.random = seededRandom(seed);
  }

  /** Some turns later. */
  async later(): Promise<void> {
    for (let turns = this.random.below(6); turns > 0; turns--) await null;
  }
}

/** A broker whose image is behind until it commits: what it read before, it read of the past. */
class LaggingBroker {
  readonly builder = new ImageBuilder();
  readonly #log: SharedLog;
  #read = 0;

  constructor(log: SharedLog) {
    this.#log = log;
  }

  get image() {
    return this.builder.image;
  }

  async commit(changes: readonly MetadataChange[]): Promise<number> {
    await this.#log.later();
    for (const entry of this.#log.entries.slice(this.#read)) this.builder.apply(entry);
    this.#read = this.#log.entries.length;
    new ConditionChecker(this.image).check({ author: null, changes });
    this.#log.entries.push(changes);
    this.builder.apply(changes);
    this.#read++;
    await this.#log.later();
    return this.image.revision;
  }
}

describe('blocks of ids', () => {
  it('of brokers with images of different ages never overlap and leave no hole, whatever their sizes', async () => {
    for (let seed = 1; seed <= 50; seed++) {
      const log = new SharedLog(seed);
      const granted: { first: number; next: number }[] = [];
      const take = async (broker: LaggingBroker): Promise<void> => {
        for (let block = 0; block < 5; block++) {
          const count = 1 + log.random.below(1_000);
          const first = await grantIds(broker, 'producer', count);
          granted.push({ first, next: first + count });
        }
      };
      await Promise.all(Array.from({ length: 3 }, () => take(new LaggingBroker(log))));
      granted.sort((a, b) => a.first - b.first);
      let reached = 0;
      for (const { first, next } of granted) {
        assert.equal(first, reached, `seed ${seed}`);
        reached = next;
      }
    }
  });

  it('of producers and of objects are counted apart', async () => {
    const broker = new LaggingBroker(new SharedLog(1));
    assert.equal(await grantIds(broker, 'producer', 10), 0);
    assert.equal(await grantIds(broker, 'object', 7), 0);
    assert.equal(await grantIds(broker, 'producer', 1), 10);
    assert.deepEqual([broker.image.nextProducerId, broker.image.nextObjectId], [11, 7]);
  });

  it('are asked for again while others take them, not when the commit fails otherwise', async () => {
    const { image } = new ImageBuilder();
    const attempts = async (code: string): Promise<number> => {
      let asked = 0;
      const commit = async (changes: readonly MetadataChange[]): Promise<number> => {
        if (changes.length === 0) return 1;
        asked++;
        throw new MillraceError('invalid', code, 'no');
      };
      await assert.rejects(grantIds({ image, commit }, 'object', 1), hasErrorCode(code));
      return asked;
    };
    assert.equal(await attempts('METADATA_BUSY'), 1);
    assert.equal(await attempts(condition), 100);
  });

  it('are a compare-and-set on where the last block ended', () => {
    const builder = new ImageBuilder();
    const refused = (first: number, next: number): boolean => {
      const changes: MetadataChange[] = [{ type: 'idBlock', kind: 'object', first, next }];
      try {
        new ConditionChecker(builder.image).check({ author: null, changes });
        builder.apply(changes);
        return false;
      } catch (error) {
        assert.ok(hasErrorCode(condition)(error), String(error));
        return true;
      }
    };
    assert.deepEqual(
      [refused(0, 256), refused(0, 300), refused(256, 256), refused(300, 400), refused(256, 257)],
      [false, true, true, true, false],
    );
  });
});
