/**
 * `millrace inspect STORE`: what a store holds, and with --verify whether all of it is as it was written. Reads only, also
 * beside a running broker: what that broker does meanwhile may then show as an orphan or a missing object, never as
 * damage of a block. Runs in the caller's thread.
 *
 *   meta/  ─► journal, image ─► topics, partitions, WALs
 *   manifests of the partitions ─┬─► objects that are named ─► data/ compared with them ─► each read (--verify)
 *   image's objects ─────────────┘
 *
 * Memory: the image, an entry per named object, the index of one object and one window of its blocks.
 */
import { addressText } from '../config/addresses.ts';
import { EmbeddedMetadataStore } from '../metadata/embedded-metadata-store.ts';
import type { ClusterImage } from '../metadata/metadata-store.ts';
import type { Clock } from '../ports/clock.ts';
import { MillraceError } from '../ports/errors.ts';
import { silentLogger } from '../ports/logger.ts';
import type { Random } from '../ports/random.ts';
import type { Crc32c } from '../protocol/records/crc32c.ts';
import type { ObjectStore } from '../store/object-store.ts';
import { decodeSequencedHeader, sequencedHeaderBytes } from '../store/sequenced-object.ts';
import { parseManifestKey } from '../stream/manifest/manifest.ts';
import { objectKey } from '../stream/objects/object-format.ts';
import {
  type BucketReport,
  type InspectOptions,
  type ObjectsReport,
  Problems,
  Tally,
  type TopicReport,
  type WalLeftovers,
} from './inspect-report.ts';
import { inspectJournal } from './journal.ts';
import { NamedObjects, streamName } from './named-objects.ts';
import { ObjectCheck } from './object-check.ts';
import { inspectPartition } from './partition-check.ts';
import { allKeys, keysOutside, readOnly } from './read-only-store.ts';

export type { BucketReport, InspectOptions } from './inspect-report.ts';

export interface InspectDeps {
  readonly crc32c: Crc32c;
  readonly clock: Clock;
  readonly random: Random;
}

const orphanKeysShown = 20;
/** Of the layout below a store's root, and of an examination that was cut short. */
const folders = ['data', 'doctor', 'manifest', 'meta', 'wal'];

/** Rejects when the store cannot be read, or with INSPECT_TOPIC (invalid) when there is no such topic. */
export async function inspectStore(
  given: ObjectStore,
  deps: InspectDeps,
  options: InspectOptions,
): Promise<BucketReport> {
  const store = readOnly(given);
  const problems = new Problems();
  const journal = await inspectJournal(store, deps.crc32c, options.verify, problems);
  const image = journal.entries === 0 ? null : await imageOf(store, deps, problems);
  const named = new NamedObjects();
  const topics =
    image === null ? [] : await inspectTopics(store, deps, image, named, options.topic, problems);
  const objects = await inspectObjects(store, deps, image, named, options.topic === null, problems);
  const manifests = await inspectManifests(store, image, named, options.topic === null);
  const check = image === null || !options.verify ? null : await verify(store, deps, image, named, problems);
  return {
    store: store.url,
    cluster:
      image === null
        ? null
        : {
            clusterId: image.clusterId,
            revision: image.revision,
            brokers: [...image.brokers].map(([node, { epoch, endpoints }]) => ({
              node,
              epoch,
              address: endpoints.map(addressText).join(', '),
            })),
          },
    journal,
    wals: image === null ? [] : [...image.wals.values()],
    topics,
    ...objects,
    manifests,
    walObjects: await inspectWals(store, image, problems),
    unfinishedUploads: (await store.listUploads('')).length,
    verified: check === null ? null : { objects: check.objects, batches: check.batches, bytes: check.bytes },
    problems: problems.list,
    problemCount: problems.count,
  };
}

/** Damage of the metadata is a problem to report, not a reason to stop looking. */
async function imageOf(
  store: ObjectStore,
  deps: InspectDeps,
  problems: Problems,
): Promise<ClusterImage | null> {
  try {
    const metadata = await EmbeddedMetadataStore.open({
      ...deps,
      store,
      logger: silentLogger,
      writer: 'inspect',
    });
    const { image } = metadata;
    await metadata.close();
    return image;
  } catch (error) {
    if (!(error instanceof MillraceError) || error.kind === 'unavailable' || error.kind === 'exhausted')
      throw error;
    problems.add('meta/', `the metadata cannot be read: ${error.message}`);
    return null;
  }
}

async function inspectTopics(
  store: ObjectStore,
  deps: InspectDeps,
  image: ClusterImage,
  named: NamedObjects,
  only: string | null,
  problems: Problems,
): Promise<TopicReport[]> {
  const topic = only === null ? null : image.topicsByName.get(only);
  if (topic === undefined)
    throw new MillraceError(
      'invalid',
      'INSPECT_TOPIC',
      `there is no topic ${JSON.stringify(only)} in ${store.url}`,
    );
  named.addImage(image, (topicId) => topic === null || topicId === topic.topicId);
  const reports: TopicReport[] = [];
  const wanted = topic === null ? image.topicsByName.values() : [topic];
  for (const { name, topicId, internal, configs, partitions } of wanted) {
    const inspected = [];
    for (const partition of partitions) {
      const manifest = await named.addManifest(store, deps.crc32c, image, partition, problems);
      inspected.push(inspectPartition(image, partition, manifest, problems));
    }
    reports.push({ name, topicId, internal, configs, partitions: inspected });
  }
  return reports.sort((a, b) => (a.name < b.name ? -1 : 1));
}

/** Compares the listing of data/ with what is named. `whole` = all topics were looked at, so the rest are orphans. */
async function inspectObjects(
  store: ObjectStore,
  deps: InspectDeps,
  image: ClusterImage | null,
  named: NamedObjects,
  whole: boolean,
  problems: Problems,
): Promise<{ objects: ObjectsReport; foreign: Tally }> {
  const [streamSet, stream, manifest, dropped, orphans, foreign] = Array.from(
    { length: 6 },
    () => new Tally(),
  );
  const orphanKeys: string[] = [];
  for await (const { key, size } of allKeys(store, 'data/')) {
    const objectId = key.slice(key.lastIndexOf('/') + 1);
    if (!/^[0-9a-f]{16}$/.test(objectId) || objectKey(objectId) !== key) {
      foreign!.add(size);
      continue;
    }
    const known = named.objects.get(objectId);
    if (known !== undefined) {
      known.found = true;
      (known.by === 'manifest' ? manifest! : known.ranges.length > 1 ? streamSet! : stream!).add(size);
      if (known.size !== size) problems.add(key, `it has ${size} bytes, ${known.by} says ${known.size}`);
    } else if (image?.dropped.has(objectId) === true) dropped!.add(size);
    else if (whole && image !== null) {
      orphans!.add(size);
      if (orphanKeys.length < orphanKeysShown) orphanKeys.push(key);
      if (Number.parseInt(objectId, 16) >= image.nextObjectId)
        problems.add(key, `no object ids from ${image.nextObjectId} on have been granted, yet it is there`);
    }
  }
  for (const { objectId, found, ranges } of named.objects.values()) {
    if (found || image === null) continue;
    const concerns = ranges
      .map(
        (range) =>
          `${streamName(image, range.topicId, range.partition)} offsets ${range.baseOffset} to ${range.endOffset - 1}`,
      )
      .join(', ');
    problems.add(objectKey(objectId), 'the object is not in the store', null, concerns);
  }
  for await (const { size } of keysOutside(store, folders)) foreign!.add(size);
  const now = deps.clock.now();
  const due = image === null ? 0 : [...image.dropped.values()].filter((dueMs) => dueMs <= now).length;
  return {
    objects: {
      streamSet: streamSet!,
      stream: stream!,
      manifest: manifest!,
      dropped: dropped!,
      due,
      orphans: orphans!,
      orphanKeys,
      leftovers: leftoversOf(image),
    },
    foreign: foreign!,
  };
}

/** Objects that stay for producers whose records are below the log start. */
function leftoversOf(image: ClusterImage | null): Tally {
  const tally = new Tally();
  for (const objectId of image?.leftoverObjects.keys() ?? []) tally.add(image!.objects.get(objectId)!.size);
  return tally;
}

async function inspectManifests(
  store: ObjectStore,
  image: ClusterImage | null,
  named: NamedObjects,
  whole: boolean,
): Promise<BucketReport['manifests']> {
  const [current, other] = [new Tally(), new Tally()];
  for await (const { key, size } of allKeys(store, 'manifest/')) {
    if (named.manifests.has(key)) current.add(size);
    else if (whole || image === null || parseManifestKey(key) === null) other.add(size);
  }
  return { current, other };
}

/** Logs of objects, whatever the metadata say of them: the newest entries of an open one are in no other object. */
async function inspectWals(
  store: ObjectStore,
  image: ClusterImage | null,
  problems: Problems,
): Promise<WalLeftovers[]> {
  const logs = new Map<string, { entries: Tally; seals: number }>();
  for await (const { key, size } of allKeys(store, 'wal/')) {
    const [, logId = '', number = ''] = key.split('/');
    // Beside its entries a log has a sign of life.
    if (!/^\d{20}$/.test(number)) continue;
    let log = logs.get(logId);
    if (log === undefined) {
      log = { entries: new Tally(), seals: 0 };
      logs.set(logId, log);
    }
    if (size !== sequencedHeaderBytes) {
      log.entries.add(size);
      continue;
    }
    try {
      decodeSequencedHeader(key, await store.get(key));
      log.seals++;
    } catch (error) {
      problems.add(key, (error as Error).message);
    }
  }
  return [...logs].map(([logId, log]) => ({
    logId,
    state: image?.wals.get(logId)?.state ?? 'unknown',
    ...log,
  }));
}

async function verify(
  store: ObjectStore,
  deps: InspectDeps,
  image: ClusterImage,
  named: NamedObjects,
  problems: Problems,
): Promise<ObjectCheck> {
  const check = new ObjectCheck({
    store,
    crc32c: deps.crc32c,
    clusterId: image.clusterId,
    streamName: (topicId, partition) => streamName(image, topicId, partition),
    logStart: (topicId, partition) =>
      image.topicsById.get(topicId)?.partitions[partition]?.startOffset ?? Number.POSITIVE_INFINITY,
    problems,
  });
  for (const object of named.objects.values()) if (object.found) await check.check(object);
  return check;
}
