/**
 * Reads an object WAL from the cut that the metadata calls freed, fences its owner, and says where a new one begins.
 *
 *   0 birth │ freed … │ cut ─► commits, each naming the one before ─► first missing number: SEAL ═ 16 ═► new epoch
 *
 * read() only looks, so a start may still be refused. claim() comes after the metadata was claimed: from then on no
 * fenced owner can move the cut or delete what lies behind it, so the first missing number is the log's true end.
 *   - a commit counts when number, position, previous CRC and epoch hold; objects are whole or not there, so none is torn;
 *   - numbers behind the end that can have been in flight were never acknowledged, and count for nothing;
 *   - a number further behind, or a commit that does not hold, is damage: the rest is salvaged and the loss is named.
 */
import type { Clock } from '../../ports/clock.ts';
import { MillraceError } from '../../ports/errors.ts';
import type { Crc32c } from '../../protocol/records/crc32c.ts';
import { firstBehindSeal, sealNumber } from '../../store/pipelined-log.ts';
import type { SequencedEntries } from '../../store/sequenced-entries.ts';
import { type SequencedHeader, sequencedHeaderBytes } from '../../store/sequenced-object.ts';
import { SequencedWalk, type WalkedEntry } from '../../store/sequenced-walk.ts';
import { hasCode } from '../../store/store-errors.ts';
import { TakeOverContest } from '../../store/take-over-wish.ts';
import { lostOffsets, type SequenceRange } from './lost-offsets.ts';
import { ObjectWalBytes } from './object-wal-bytes.ts';
import { RecoveredBatches } from './recovered-batches.ts';
import type { RecoveredState, RecoveredWal } from './recovery.ts';
import { ownerStates, readSign } from './sign-of-life.ts';
import type { WalCut } from './wal.ts';
import type { WalBytes } from './wal-device.ts';
import {
  type CommitHeader,
  commitHeadLength,
  commitKinds,
  decodeCommit,
  decodeSuperblock,
  descriptorAt,
  emptyCommitHeader,
  encodeSuperblock,
  readId,
  type Superblock,
  viewOf,
} from './wal-format.ts';
import {
  batchHeaderBytes,
  commitBytesMax,
  commitHeaderBytes,
  descriptorBytes,
  pageBytes,
} from './wal-limits.ts';

/** Fetched of each commit at first: enough for the descriptors of 680 batches. */
const headBytes = 64 * 1024;

export interface RecoveredObjectWal extends RecoveredWal {
  /** First number of the epoch in `superblock`, once claimed. */
  readonly first: number;
  readonly bytes: WalBytes;
}

export interface ObjectWalIdentity {
  readonly entries: SequencedEntries;
  readonly crc32c: Crc32c;
  readonly logId: string;
  readonly clusterId: string;
}

/** Makes an empty log: its first object says whose it is. Recorded in the metadata only after this has resolved. */
export async function createObjectWal(
  identity: ObjectWalIdentity,
  node: number,
  capacityBytes: number,
): Promise<void> {
  const { entries, crc32c, logId, clusterId } = identity;
  const page = Buffer.alloc(pageBytes);
  const superblock: Superblock = {
    logId,
    clusterId,
    generation: 0,
    capacityBytes,
    writtenBytes: 0,
    trimPosition: 0,
    trimSequence: 0,
    trimChainCrc: 0,
    durableSequence: 0,
    epoch: 0,
    epochFirstSequence: 1,
    node,
    clean: true,
    corrupt: false,
    commitBytesMax,
  };
  encodeSuperblock(page, 0, superblock, crc32c);
  const body = entries.encode({ kind: 'data', number: 0, epoch: 0, nonce: entries.nonce() }, [page]);
  // The id is new: a lost answer and a repetition both end with this very object.
  await entries.store.put(entries.key(0), body);
}

/** What the log's first object says; refuses one that is missing, damaged or of another cluster. */
export async function readBirth(identity: ObjectWalIdentity): Promise<Superblock> {
  const { entries, crc32c, logId, clusterId } = identity;
  const birth = await entries.object(0);
  if (birth === null) {
    throw new MillraceError('invalid', 'WAL_NOT_FORMATTED', `${entries.store.url} holds no WAL ${logId}`);
  }
  const superblock = birth.payload.length === pageBytes ? decodeSuperblock(birth.payload, 0, crc32c) : null;
  if (superblock === null) {
    throw new MillraceError('corrupt', 'WAL_SUPERBLOCKS_LOST', `the first object of WAL ${logId} is damaged`);
  }
  if (superblock.clusterId !== clusterId || superblock.logId !== logId) {
    const what = `WAL ${superblock.logId} belongs to cluster ${superblock.clusterId}, not ${clusterId}`;
    throw new MillraceError('invalid', 'WAL_FOREIGN', what);
  }
  return superblock;
}

export class ObjectWalRecovery {
  readonly #identity: ObjectWalIdentity;
  readonly #birth: Superblock;
  readonly #capacityBytes: number;
  readonly #from: WalCut;
  readonly #idBytes: Buffer;
  readonly #walk: SequencedWalk;
  readonly #bytes: ObjectWalBytes;
  readonly #batches = new RecoveredBatches();
  readonly #reasons: string[] = [];
  readonly #missing: SequenceRange[] = [];
  readonly #header = emptyCommitHeader();
  #next: WalCut;
  /** While it claims: what it reads then may be new. */
  #contest: TakeOverContest | null = null;
  /** Behind damage the next commit is taken as it says of itself. */
  #resync = false;
  /** The latest epoch before what is damaged. */
  #epochSeen = 0;

  /** @param capacityBytes what the log may hold from now on. */
  static async open(
    identity: ObjectWalIdentity,
    from: WalCut,
    capacityBytes: number,
  ): Promise<ObjectWalRecovery> {
    return new ObjectWalRecovery(identity, await readBirth(identity), from, capacityBytes);
  }

  private constructor(identity: ObjectWalIdentity, birth: Superblock, from: WalCut, capacityBytes: number) {
    this.#identity = identity;
    this.#birth = birth;
    this.#capacityBytes = capacityBytes;
    this.#from = { ...from };
    this.#next = this.#from;
    this.#idBytes = Buffer.from(identity.logId, 'base64url');
    this.#walk = new SequencedWalk(identity.entries, from.sequence + 1, sequencedHeaderBytes + headBytes);
    this.#bytes = new ObjectWalBytes(identity.entries);
  }

  /** Reads on to the first missing number; behind an owner that stores faster it stops before that. */
  async read(): Promise<void> {
    for (;;) {
      try {
        return await this.#walk.run((entry) => this.#take(entry));
      } catch (error) {
        if (!hasCode(error, 'SEQUENCED_LOG_CORRUPT')) throw error;
        const bad = this.#walk.next;
        const beyond = await this.#walk.beyond();
        const lostSeal = beyond !== null && (await this.#sealWasAt(bad, beyond));
        this.#goOn((error as Error).message, bad, lostSeal ? beyond : bad + 1);
      }
    }
  }

  /**
   * Looks for numbers that prove that the end found is none. An owner may live: he begins a number that far behind only
   * once this one was answered, so it must be found now.
   */
  async lookBehind(): Promise<void> {
    for (let beyond = await this.#walk.beyond(); beyond !== null; beyond = await this.#walk.beyond()) {
      const { next } = this.#walk;
      const { entries } = this.#identity;
      if ((await entries.head(next, 1)) === null) {
        const reason = `entry ${next} is missing, but entry ${beyond} is there`;
        let behind = beyond;
        if (!(await this.#sealWasAt(next, beyond))) {
          const [above] = await entries.listed(next + 1, 1);
          behind = above === undefined ? beyond : (entries.numberOf(above.key) ?? beyond);
        }
        this.#goOn(reason, next, Math.min(behind, beyond));
      }
      await this.read();
    }
  }

  /** What lies from `bad` to before `behind` is lost; the next commit is taken as it says of itself. */
  #goOn(reason: string, bad: number, behind: number): void {
    this.#damaged(reason, bad, behind);
    this.#epochSeen = Math.max(this.#epochSeen, this.#walk.epoch);
    this.#walk.next = behind;
    this.#walk.epoch = 0;
  }

  /**
   * Whether what is lost was a seal. Then its followers up to the next epoch were on their way when their owner was fenced:
   * they were never acknowledged, and their offsets were given again.
   */
  async #sealWasAt(bad: number, beyond: number): Promise<boolean> {
    const { entries } = this.#identity;
    const epoch = Math.max(this.#epochSeen, this.#walk.epoch);
    const header = async (number: number): Promise<SequencedHeader | null> =>
      entries.header(number).catch((error: unknown) => {
        if (hasCode(error, 'SEQUENCED_LOG_CORRUPT')) return null;
        throw error;
      });
    const later = await header(beyond);
    if (epoch === 0 || later === null || later.epoch <= epoch) return false;
    // A seal that is there began the later epoch.
    for (let number = bad + 1; number <= Math.min(beyond, firstBehindSeal(bad)); number++)
      if ((await header(number))?.kind === 'seal') return false;
    return true;
  }

  /**
   * Fences every earlier owner: seals the first missing number, again until it wins, and reads up to there.
   * @param salvage seal a damaged log, too, behind the last number that is there; else damage is only reported.
   */
  async claim(clock: Clock, epochRecorded: number, salvage = false): Promise<RecoveredObjectWal> {
    const contest = new TakeOverContest(this.#identity.entries, clock);
    this.#contest = contest;
    try {
      return await this.#claim(clock, epochRecorded, salvage, contest);
    } finally {
      this.#contest = null;
      await contest.end();
    }
  }

  async #claim(
    clock: Clock,
    epochRecorded: number,
    salvage: boolean,
    contest: TakeOverContest,
  ): Promise<RecoveredObjectWal> {
    for (;;) {
      await this.read();
      await this.lookBehind();
      await contest.attend();
      if (this.#reasons.length > 0 && !salvage) return this.result();
      const number = this.#walk.next;
      const epoch = Math.max(this.#walk.epoch, epochRecorded) + 1;
      if ((await sealNumber(this.#identity.entries, clock, number, epoch)) !== null) continue;
      return { ...(await this.result()), ...this.#claimed(number, epoch) };
    }
  }

  #claimed(number: number, epoch: number): Pick<RecoveredObjectWal, 'superblock' | 'first'> {
    const first = firstBehindSeal(number);
    const superblock = { ...this.#superblock(), epoch, epochFirstSequence: first };
    return { superblock, first };
  }

  async result(): Promise<RecoveredObjectWal> {
    const { entries, crc32c } = this.#identity;
    const damaged = this.#reasons.length > 0;
    let state: RecoveredState = damaged ? 'damaged' : 'recovered';
    if (!damaged && this.#next.sequence === this.#from.sequence) {
      const sign = await readSign(entries, crc32c);
      const clean = sign?.state === ownerStates.clean && sign.epoch >= this.#walk.epoch;
      state = clean ? 'clean' : 'empty';
    }
    return {
      state,
      superblock: this.#superblock(),
      trim: this.#from,
      next: this.#next,
      batches: this.#batches,
      reasons: this.#reasons,
      lostCommits: this.#missing,
      lost: damaged ? lostOffsets(this.#batches, this.#missing) : [],
      first: 0,
      bytes: this.#bytes,
    };
  }

  #superblock(): Superblock {
    return { ...this.#birth, capacityBytes: this.#capacityBytes, epoch: this.#walk.epoch };
  }

  #damaged(reason: string, from: number, until: number): void {
    this.#reasons.push(reason);
    this.#missing.push({ from, until });
    this.#resync = true;
  }

  async #take({ header, bytes }: WalkedEntry): Promise<void> {
    const { number, payloadBytes } = header;
    this.#contest?.lost(header);
    await this.#contest?.attend();
    const head = await this.#wholeHead(number, bytes);
    const commit = this.#header;
    const at = sequencedHeaderBytes;
    const reason =
      head === null ? 'has no header' : this.#fault(head, commit, header.epoch, number, payloadBytes);
    if (head === null || reason !== null) {
      this.#damaged(`commit ${number} ${reason}`, number, number + 1);
      return;
    }
    this.#resync = false;
    this.#bytes.add(commit.position, commit.length, number);
    const view = viewOf(head);
    for (let i = 0; i < commit.descriptors; i++) {
      const descriptor = at + commitHeaderBytes + i * descriptorBytes;
      this.#batches.add(head, view, descriptor, commit.position, number);
    }
    this.#next = { sequence: number, position: commit.position + commit.length, chainCrc: commit.crc };
  }

  /** The object's bytes up to its last descriptor, or null when they are none of this log. */
  async #wholeHead(number: number, bytes: Buffer): Promise<Buffer | null> {
    const at = sequencedHeaderBytes;
    if (bytes.length < at + commitHeaderBytes) return null;
    const length = commitHeadLength(bytes, viewOf(bytes), at, this.#idBytes);
    if (length === 0) return null;
    if (at + length <= bytes.length) return bytes;
    const whole = await this.#identity.entries.head(number, at + length);
    return whole === null || whole.length < at + length ? null : whole;
  }

  /** Why this commit does not hold, or null. */
  #fault(
    head: Buffer,
    commit: CommitHeader,
    epoch: number,
    number: number,
    payloadBytes: number,
  ): string | null {
    const view = viewOf(head);
    const at = sequencedHeaderBytes;
    if (!decodeCommit(head, view, at, commit, this.#identity.crc32c, 1)) return 'fails its CRC';
    if (readId(head, at + 32) !== this.#identity.clusterId) return 'is of another cluster';
    if (commit.kind !== commitKinds.commit || commit.length !== payloadBytes) return 'has another length';
    if (commit.sequence !== number || commit.epoch !== epoch) return 'is another commit';
    if (!this.#descriptorsHold(view, at, commit)) return 'has a broken descriptor';
    if (this.#resync) return commit.position < this.#next.position ? 'lies before its predecessor' : null;
    if (commit.position !== this.#next.position)
      return `is at ${commit.position}, not ${this.#next.position}`;
    return commit.previousCrc === this.#next.chainCrc ? null : 'does not name the commit before it';
  }

  #descriptorsHold(view: DataView, at: number, commit: CommitHeader): boolean {
    for (let i = 0; i < commit.descriptors; i++) {
      const descriptor = at + commitHeaderBytes + i * descriptorBytes;
      const records = view.getUint32(descriptor + descriptorAt.records, true);
      const length = view.getUint32(descriptor + descriptorAt.length, true);
      if (view.getInt32(descriptor + descriptorAt.header + 8, false) + 12 !== length) return false;
      if (length < batchHeaderBytes || records + length - batchHeaderBytes > commit.length) return false;
    }
    return true;
  }
}
