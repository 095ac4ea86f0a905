/**
 * Stores one object: a single put when it is small, a multipart upload with a few parts in flight otherwise. The object
 * appears whole or not at all; a failed multipart upload is aborted. Retrying a request is the store's business,
 * repeating an upload the caller's (under a new object id).
 *
 * Size of a part: PUT-class requests are what an upload costs, so parts are as large as the limit of 128 MiB allows and
 * equal in size (some stores insist): 500 MB = 4 parts + create + complete = 6 requests, 12 per GB; a single put may have
 * 256 MiB. Where small batches are copied together a part is as large as the staging pool allows: 103 MiB, 14 per GB.
 * Memory: bytes in the arena are sent from there; copies of small batches are bounded by the staging pool.
 */
import type { Arena } from '../../ports/arena.ts';
import type { Clock } from '../../ports/clock.ts';
import { MillraceError } from '../../ports/errors.ts';
import type { Crc32c } from '../../protocol/records/crc32c.ts';
import type { MultipartUpload, ObjectStore } from '../../store/object-store.ts';
import { objectKey } from '../objects/object-format.ts';
import type { UploadPlan, UploadResult } from '../objects/objects.ts';
import { ObjectBuilder, type ObjectPart } from './object-builder.ts';
import { StagingPool, stagingChunkBytes } from './staging-pool.ts';
import { UploadPacer } from './upload-pace.ts';

const MiB = 1 << 20;

export interface UploadSettings {
  /** Larger objects are uploaded in parts. */
  readonly putBytesMax: number;
  /** Between 5 MiB (S3's least) and what one request should carry. */
  readonly partBytesMax: number;
  readonly partsInFlight: number;
}

export const uploadDefaults: UploadSettings = {
  putBytesMax: 256 * MiB,
  partBytesMax: 128 * MiB,
  partsInFlight: 4,
};

export interface UploadDeps {
  readonly crc32c: Crc32c;
  readonly staging: StagingPool;
  readonly settings?: UploadSettings;
  /** With a clock and a flow uploads are paced behind tail traffic. */
  readonly clock?: Clock;
  readonly flow?: UploadFlow;
}

/** Where a thread learns how fast its uploads may go, and tells how far they are. */
export interface UploadFlow {
  /** Bytes per second of all uploads of the broker together; Infinity = unpaced. */
  readonly uploadRate: number;
  /** So many bytes more are stored. */
  stored(bytes: number): void;
}

/** Equal parts of whole MiB, as few as the maximum allows. */
export function partBytesFor(objectBytes: number, partBytesMax: number): number {
  const parts = Math.ceil(objectBytes / partBytesMax);
  return Math.min(partBytesMax, Math.ceil(objectBytes / parts / MiB) * MiB);
}

/**
 * @param plan its arena ranges are referenced by the caller, and unchanged, until this settles.
 * @param share this object's part of the upload rate, 0 to 1: objects of one upload are done at about the same time.
 * @throws the store's errors; UPLOAD_PLAN (internal) when the plan contradicts the bytes.
 */
export async function uploadObject(
  plan: UploadPlan,
  arena: Arena,
  store: ObjectStore,
  deps: UploadDeps,
  share = 1,
): Promise<UploadResult> {
  const settings = deps.settings ?? uploadDefaults;
  const builder = new ObjectBuilder(plan, arena, deps.crc32c);
  const size = builder.objectBytes;
  const key = objectKey(plan.objectId);
  // A part must never need more staging than the pool will ever have.
  const stagingLimit =
    builder.stagedBytes === 0 ? Number.POSITIVE_INFINITY : (deps.staging.chunksMax - 1) * stagingChunkBytes;
  const putBytesMax = Math.min(settings.putBytesMax, Math.max(stagingLimit, stagingChunkBytes));
  const sending = sendingOf(deps, share);
  if (size <= putBytesMax) await putWhole(builder, key, store, deps, sending);
  else
    await putParts(
      builder,
      partBytesFor(size, Math.min(settings.partBytesMax, putBytesMax)),
      key,
      store,
      deps,
      sending,
      settings,
    );
  return { objectId: plan.objectId, size, ranges: builder.ranges };
}

/** What a request waits for, and whom it tells. */
interface Sending {
  pace(bytes: number): Promise<void>;
  stored(bytes: number): void;
}

function sendingOf({ clock, flow }: UploadDeps, share: number): Sending {
  if (clock === undefined || flow === undefined) return { pace: async () => {}, stored() {} };
  // An object of states has no part in the data, and no part of an unlimited rate is no number.
  const part = share > 0 ? share : 1;
  const { pace } = new UploadPacer(clock, () => flow.uploadRate * part);
  return { pace, stored: (bytes) => flow.stored(bytes) };
}

async function putWhole(
  builder: ObjectBuilder,
  key: string,
  store: ObjectStore,
  deps: UploadDeps,
  sending: Sending,
): Promise<void> {
  const chunks = StagingPool.chunksFor(builder.stagedBytes);
  await deps.staging.reserve(chunks);
  let part: ObjectPart | null = null;
  try {
    await sending.pace(builder.objectBytes);
    part = builder.nextPart(builder.objectBytes, deps.staging);
    await store.put(key, part!.body);
    sending.stored(builder.objectBytes);
  } finally {
    deps.staging.release(chunks, part?.taken ?? []);
  }
}

async function putParts(
  builder: ObjectBuilder,
  partBytes: number,
  key: string,
  store: ObjectStore,
  deps: UploadDeps,
  sending: Sending,
  settings: UploadSettings,
): Promise<void> {
  const upload = await store.multipart(key);
  const chunks = StagingPool.chunksFor(Math.min(partBytes, builder.stagedBytes));
  let number = 0;
  let failed = false;
  // Each lane builds the next part and sends it; building is synchronous, so parts come out in order.
  const lane = async (): Promise<void> => {
    while (!failed) {
      await deps.staging.reserve(chunks);
      let part: ObjectPart | null = null;
      try {
        await sending.pace(partBytes);
        if (failed) return;
        part = builder.nextPart(partBytes, deps.staging);
        if (part === null) return;
        number++;
        await upload.uploadPart(number, part.body);
        sending.stored(part.bytes);
      } catch (error) {
        failed = true;
        throw error;
      } finally {
        deps.staging.release(chunks, part?.taken ?? []);
      }
    }
  };
  const lanes: Promise<void>[] = [];
  const count = Math.min(settings.partsInFlight, Math.ceil(builder.objectBytes / partBytes));
  for (let i = 0; i < count; i++) lanes.push(lane());
  // Every lane has ended before anything is thrown: the arena bytes are no longer read then.
  const ended = await Promise.allSettled(lanes);
  try {
    for (const one of ended) if (one.status === 'rejected') throw one.reason;
    await complete(upload, builder.objectBytes, key, store);
  } catch (error) {
    await upload.abort().catch(() => {
      // Left for the bucket's rule on unfinished uploads; the first error is the one to tell.
    });
    throw error;
  }
}

/**
 * A complete without a clear answer may have taken effect, and one sent twice finds no upload any more. The key is this
 * upload's alone, so the object being there, whole, is the answer.
 */
async function complete(
  upload: MultipartUpload,
  objectBytes: number,
  key: string,
  store: ObjectStore,
): Promise<void> {
  try {
    await upload.complete();
  } catch (error) {
    const unclear =
      error instanceof MillraceError && (error.kind !== 'invalid' || error.code === 'STORE_MISUSE');
    const found = unclear ? await store.head(key).catch(() => null) : null;
    if (found?.size !== objectBytes) throw error;
  }
}
