/**
 * A taker that comes to the first missing number always a moment after its owner, who stores one entry after the other:
 * the owner learns of the wish at its next look and makes room.
 */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { EmbeddedMetadataStore } from '../../../src/metadata/embedded-metadata-store.ts';
import type { MillraceError } from '../../../src/ports/errors.ts';
import { silentLogger } from '../../../src/ports/logger.ts';
import { MemoryStore } from '../../../src/store/memory-store.ts';
import type { ObjectInfo, ObjectStore } from '../../../src/store/object-store.ts';
import { SlowStore } from '../../support/slow-store.ts';
import { crc32cForTests, seededRandom } from '../../support/store-fixtures.ts';
import { VirtualClock } from '../../support/virtual-clock.ts';
import { topic } from './fixtures.ts';

let seed = 400;
/** What a call of the store takes. */
const ownerMs = 10;
const takerMs = 50;

class Race {
  readonly clock = new VirtualClock();
  readonly objects = new MemoryStore(this.clock);
  owner!: EmbeddedMetadataStore;
  /** What ended the owner, and when. */
  fencedBy: MillraceError | null = null;
  committed = 0;
  #topics = 0;

  open(writer: string, ms: number, store: ObjectStore = this.objects): Promise<EmbeddedMetadataStore> {
    return EmbeddedMetadataStore.open({
      store: new SlowStore(store, this.clock, ms),
      clock: this.clock,
      random: seededRandom(seed++),
      logger: silentLogger,
      crc32c: crc32cForTests,
      writer,
      onFenced: (error) => {
        this.fencedBy ??= error;
      },
    });
  }

  /** Lets virtual time go on until it has settled; rejects when it has not after `limitMs`. */
  async wait<T>(promise: Promise<T>, limitMs: number): Promise<T> {
    let settled = false;
    const mark = (): void => {
      settled = true;
    };
    promise.then(mark, mark);
    for (let ms = 0; !settled; ms += 10) {
      assert.ok(ms <= limitMs, `not settled after ${limitMs} ms`);
      await this.clock.advanceAsync(10);
    }
    return promise;
  }

  /** An owner that commits without a pause, each commit an entry, until it is fenced. */
  async begin(): Promise<void> {
    const opening = this.open('owner', ownerMs);
    this.owner = await this.wait(opening, 1_000);
    await this.wait(this.owner.claim(), 1_000);
    const commit = (): void => {
      this.owner.commit([topic(++this.#topics)]).then(
        () => {
          this.committed++;
          commit();
        },
        () => {},
      );
    };
    commit();
  }
}

describe('a contested take-over of the metadata journal', () => {
  it('ends with the owner’s next look, ten seconds behind the wish at most; nothing acknowledged is lost', async () => {
    const race = new Race();
    await race.begin();
    await race.clock.advanceAsync(1_000);
    const taker = await race.wait(race.open('taker', takerMs), 20_000);
    const before = race.committed;
    await race.wait(taker.claim(), 30_000);
    assert.ok(race.committed > before + 100, 'the owner went on for a while: there was a race');
    await race.clock.advanceAsync(100);
    assert.equal(race.fencedBy?.code, 'METADATA_FENCED');
    assert.match(race.fencedBy?.message ?? '', /taker/);
    assert.ok(taker.image.topicsByName.size >= race.committed);
    await race.wait(taker.commit([topic(1_000_000)]), 1_000);
    assert.deepEqual(await race.objects.list('meta/log.'), [], 'the wish is gone');
  });

  it('a wish that nobody waits for any more ends no later owner', async () => {
    const race = new Race();
    await race.begin();
    const taker = await race.wait(race.open('taker', takerMs), 20_000);
    const claim = taker.claim();
    claim.catch(() => {});
    let wish: ObjectInfo | undefined;
    for (let ms = 0; wish === undefined; ms += 10) {
      assert.ok(ms <= 20_000, 'the taker asks');
      await race.clock.advanceAsync(10);
      [wish] = await race.objects.list('meta/log.');
    }
    const asked = await race.objects.get(wish.key);
    await race.wait(claim, 30_000);
    await race.wait(taker.close(), 1_000);
    await race.objects.put(wish.key, [asked]);
    race.fencedBy = null;
    await race.begin();
    await race.clock.advanceAsync(60_000);
    assert.equal(race.fencedBy, null);
    await race.wait(race.owner.close(), 1_000);
  });

  it('without take-over it asks for nothing: the other broker lives', async () => {
    const race = new Race();
    await race.begin();
    const starter = await race.wait(race.open('starter', takerMs), 20_000);
    await assert.rejects(race.wait(starter.claim(starter.image.revision), 20_000), {
      code: 'METADATA_MOVED',
    });
    assert.deepEqual(await race.objects.list('meta/log.'), []);
    await race.clock.advanceAsync(20_000);
    assert.equal(race.fencedBy, null);
    await race.wait(race.owner.close(), 1_000);
  });

  it('gives up, saying so, on an owner that does not heed it', async () => {
    const race = new Race();
    await race.begin();
    // What the taker asks for never reaches the owner's eyes.
    const deaf = new (class extends SlowStore {
      override async put(...args: Parameters<ObjectStore['put']>): Promise<void> {
        if (!args[0].startsWith('meta/log.')) return super.put(...args);
      }
    })(race.objects, race.clock, 0);
    const taker = await race.wait(race.open('taker', takerMs, deaf), 20_000);
    await assert.rejects(race.wait(taker.claim(), 90_000), {
      code: 'SEQUENCED_LOG_CONTESTED',
      message: /owner/,
    });
    await race.wait(race.owner.close(), 1_000);
  });
});
