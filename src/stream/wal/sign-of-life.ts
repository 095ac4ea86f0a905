/**
 * `wal/<log id>/alive`: the one object of an object WAL that is overwritten. Its owner writes it on opening, every ten
 * seconds in which no commit was stored, and when it ends in order. It protects nothing (the seal does): it keeps a
 * second broker from fencing one that lives.
 */
import type { Clock } from '../../ports/clock.ts';
import { MillraceError } from '../../ports/errors.ts';
import type { Logger } from '../../ports/logger.ts';
import type { Crc32c } from '../../protocol/records/crc32c.ts';
import { type SequencedEntries, sleep } from '../../store/sequenced-entries.ts';
import { decodeSequenced } from '../../store/sequenced-object.ts';
import { hasCode } from '../../store/store-errors.ts';
import { ownerSilenceMs } from './wal-limits.ts';

export const ownerStates = { running: 0, stopped: 1, clean: 2 } as const;
export type OwnerState = (typeof ownerStates)[keyof typeof ownerStates];

export interface SignOfLife {
  readonly state: OwnerState;
  readonly epoch: number;
  /** Who, for people. */
  readonly writer: string;
}

function aliveKey(entries: SequencedEntries): string {
  return `${entries.prefix}alive`;
}

export async function writeSign(entries: SequencedEntries, epoch: number, state: OwnerState): Promise<void> {
  const object = { kind: 'data' as const, number: 0, epoch, nonce: entries.nonce() };
  await entries.store.put(aliveKey(entries), entries.encode(object, [Buffer.from([state])]));
}

/** null when there is none, or none that can be read: then only the objects' age counts. */
export async function readSign(entries: SequencedEntries, crc32c: Crc32c): Promise<SignOfLife | null> {
  try {
    const key = aliveKey(entries);
    const { epoch, writer, payload } = decodeSequenced(crc32c, key, 0, await entries.store.get(key));
    const state = payload[0];
    const known = state === ownerStates.stopped || state === ownerStates.clean ? state : ownerStates.running;
    return { state: known, epoch, writer };
  } catch (error) {
    if (hasCode(error, 'STORE_NOT_FOUND') || hasCode(error, 'SEQUENCED_LOG_CORRUPT')) return null;
    throw error;
  }
}

/** A look every so often, so that a refusal does not take the whole wait. */
const lookMs = 2_000;
const listPage = 1000;

/**
 * Waits until the owner's last sign is 30 s old by the store's clock. Rejects with WAL_OWNER_ALIVE (invalid) as soon as
 * a newer one appears. Returns at once behind an owner that has said that it stopped, if that is the newest one: signs are
 * overwritten without a condition, so one that was slow may come after those of the next owner.
 */
export async function awaitSilence(
  entries: SequencedEntries,
  options: {
    readonly clock: Clock;
    readonly logger: Logger;
    readonly crc32c: Crc32c;
    readonly logId: string;
    /** The newest epoch that the metadata record for the log. */
    readonly epoch: number;
  },
): Promise<void> {
  const { clock, logger, crc32c, logId, epoch } = options;
  const sign = await readSign(entries, crc32c);
  if (sign !== null && sign.state !== ownerStates.running && sign.epoch >= epoch) return;
  const owner = sign === null ? 'its owner' : sign.writer;
  const newest = await newestMs(entries);
  if (newest === null) return;
  const storeNow = await storeClock(entries);
  const began = clock.monotonic();
  let told = false;
  for (;;) {
    const age = storeNow + (clock.monotonic() - began) - newest;
    if (age >= ownerSilenceMs) return;
    if (!told) {
      told = true;
      const waitMs = Math.ceil(ownerSilenceMs - age);
      logger.warn('waiting until the last owner of the write-ahead log has been silent for 30 s', {
        log: logId,
        owner,
        waitMs,
        hint: '--take-over skips the wait',
      });
    }
    await sleep(clock, Math.min(lookMs, ownerSilenceMs - age));
    const now = await newestMs(entries);
    if (now !== null && now > newest) {
      const what =
        `${owner} is alive: it wrote to the write-ahead log ${logId} (${entries.store.url}) while this broker waited. ` +
        'Stop it first, or take the log from it with --take-over';
      throw new MillraceError('invalid', 'WAL_OWNER_ALIVE', what);
    }
  }
}

/** Objects of those who only ask for the time. */
const starterName = 'starter-';

function isStarter(entries: SequencedEntries, key: string): boolean {
  return key.startsWith(entries.prefix + starterName);
}

/** When the log's newest object was stored, by the store's clock. */
async function newestMs(entries: SequencedEntries): Promise<number | null> {
  let newest: number | null = null;
  for (let after = ''; ; ) {
    const page = await entries.store.list(
      entries.prefix,
      after === '' ? { limit: listPage } : { limit: listPage, after },
    );
    for (const info of page) {
      if (!isStarter(entries, info.key)) newest = Math.max(newest ?? 0, info.modifiedMs);
    }
    if (page.length < listPage) return newest;
    after = page.at(-1)!.key;
  }
}

/** The store's time, which only an object just stored can tell. Stores tell whole seconds; never earlier than it is. */
export async function storeClock(entries: SequencedEntries): Promise<number> {
  const key = `${entries.prefix}${starterName}${entries.nonce().toString('hex')}`;
  await entries.store.put(key, [Buffer.from('clock')]);
  const info = await entries.store.head(key);
  await entries.store.delete([key]);
  if (info === null) throw new MillraceError('unavailable', 'STORE_UNAVAILABLE', `${key} vanished at once`);
  return info.modifiedMs;
}
