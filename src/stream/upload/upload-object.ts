/**
 * Stores one object: a single put when it is small, a multipart upload with a few parts in flight otherwise. The object
 * appears whole or not at all; a failed multipart upload is aborted. Retrying a request is the store's business,
 * repeating an upload the caller's (under a new object id).
 *
 * Size of a part: PUT-class requests are what an upload costs, so parts are as large as the limit of 64 MiB allows and
 * equal in size (some stores insist): 500 MB = 8 parts + create + complete = 10 requests, 20 per GB.
 * Memory: bytes in the arena are sent from there; copies of small batches are bounded by the staging pool.
 */
import type { Arena } from '../../ports/arena.ts';
import type { Crc32c } from '../../protocol/records/crc32c.ts';
import type { ObjectStore } from '../../store/object-store.ts';
import { objectKey } from '../objects/object-format.ts';
import type { UploadPlan, UploadResult } from '../objects/objects.ts';
import { ObjectBuilder, type ObjectPart } from './object-builder.ts';
import { StagingPool, stagingChunkBytes } from './staging-pool.ts';

const MiB = 1 << 20;

export interface UploadSettings {
  /** Larger objects are uploaded in parts. */
  readonly putBytesMax: number;
  /** Between 5 MiB (S3's least) and what one request should carry. */
  readonly partBytesMax: number;
  readonly partsInFlight: number;
}

export const uploadDefaults: UploadSettings = {
  putBytesMax: 64 * MiB,
  partBytesMax: 64 * MiB,
  partsInFlight: 4,
};

export interface UploadDeps {
  readonly crc32c: Crc32c;
  readonly staging: StagingPool;
  readonly settings?: UploadSettings;
  /** Asked before each request with its size: the place to pace uploads behind tail traffic. */
  readonly pace?: (bytes: number) => Promise<void>;
}

/** Equal parts of whole MiB, as few as the maximum allows. */
export function partBytesFor(objectBytes: number, partBytesMax: number): number {
  const parts = Math.ceil(objectBytes / partBytesMax);
  return Math.min(partBytesMax, Math.ceil(objectBytes / parts / MiB) * MiB);
}

/**
 * @param plan its arena ranges are referenced by the caller, and unchanged, until this settles.
 * @throws the store's errors; UPLOAD_PLAN (internal) when the plan contradicts the bytes.
 */
export async function uploadObject(
  plan: UploadPlan,
  arena: Arena,
  store: ObjectStore,
  deps: UploadDeps,
): Promise<UploadResult> {
  const settings = deps.settings ?? uploadDefaults;
  const builder = new ObjectBuilder(plan, arena, deps.crc32c);
  const size = builder.objectBytes;
  const key = objectKey(plan.objectId);
  // A part must never need more staging than the pool will ever have.
  const stagingLimit =
    builder.stagedBytes === 0 ? Number.POSITIVE_INFINITY : (deps.staging.chunksMax - 1) * stagingChunkBytes;
  const putBytesMax = Math.min(settings.putBytesMax, Math.max(stagingLimit, stagingChunkBytes));
  if (size <= putBytesMax) await putWhole(builder, key, store, deps);
  else
    await putParts(
      builder,
      partBytesFor(size, Math.min(settings.partBytesMax, putBytesMax)),
      key,
      store,
      deps,
      settings,
    );
  return { objectId: plan.objectId, size, ranges: builder.ranges };
}

async function putWhole(
  builder: ObjectBuilder,
  key: string,
  store: ObjectStore,
  deps: UploadDeps,
): Promise<void> {
  const chunks = StagingPool.chunksFor(builder.stagedBytes);
  await deps.staging.reserve(chunks);
  let part: ObjectPart | null = null;
  try {
    await deps.pace?.(builder.objectBytes);
    part = builder.nextPart(builder.objectBytes, deps.staging);
    await store.put(key, part!.body);
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
        await deps.pace?.(partBytes);
        if (failed) return;
        part = builder.nextPart(partBytes, deps.staging);
        if (part === null) return;
        number++;
        await upload.uploadPart(number, part.body);
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
    await upload.complete();
  } catch (error) {
    await upload.abort().catch(() => {
      // Left for the bucket's rule on unfinished uploads; the first error is the one to tell.
    });
    throw error;
  }
}
