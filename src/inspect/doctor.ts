/**
 * `millrace doctor STORE`: tries out everything that a broker relies on in an object store, under a prefix of its own that
 * it removes afterwards, and says in words what is missing. Runs in the caller's thread, one probe after the other;
 * nothing that belongs to a cluster is read or written.
 *
 * Bounds: about 300 requests and 100 MB each way; the latency and throughput samples stop after `sampleMsMax` each.
 */
import type { Clock } from '../ports/clock.ts';
import { MillraceError } from '../ports/errors.ts';
import type { Random } from '../ports/random.ts';
import type { ObjectStore } from '../store/object-store.ts';
import { measuring, type StoreOperation } from '../store/store-decorators.ts';
import { type DoctorSample, measureStore } from './doctor-measure.ts';
import { type Probe, type ProbeContext, probes } from './doctor-probes.ts';

/** missing: a broker must not run on this; warning: it can, and something should be looked at. */
export type Verdict = 'ok' | 'warning' | 'missing' | 'skipped';

export interface Finding {
  readonly check: string;
  readonly verdict: Verdict;
  /** What was seen. */
  readonly found: string;
  /** What follows from it and what to do; '' when all is well. */
  readonly means: string;
}

export interface DoctorReport {
  readonly store: string;
  readonly findings: readonly Finding[];
  /** Permissions that requests were refused for, by S3's names. */
  readonly permissionsMissing: readonly string[];
  /** Null when the store was not fit to be measured. */
  readonly sample: DoctorSample | null;
  /** Whether a broker can run on this store. */
  readonly fit: boolean;
}

export interface DoctorOptions {
  readonly clock: Clock;
  readonly random: Random;
  /** Size of a part of the multipart probe: at least 5 MiB where the store is S3 (default). */
  readonly partBytes?: number;
  readonly sampleMsMax?: number;
}

/** What S3 calls the right to do each of our requests. */
const permissions: Readonly<Partial<Record<StoreOperation, string>>> = {
  put: 's3:PutObject',
  'put-if-absent': 's3:PutObject',
  multipart: 's3:PutObject',
  part: 's3:PutObject',
  'copy-part': 's3:GetObject and s3:PutObject',
  complete: 's3:PutObject',
  abort: 's3:AbortMultipartUpload',
  'abort-upload': 's3:AbortMultipartUpload',
  'list-uploads': 's3:ListBucketMultipartUploads',
  get: 's3:GetObject',
  head: 's3:GetObject',
  list: 's3:ListBucket',
  delete: 's3:DeleteObject',
};

/** Never rejects for what the store does: that is what the report is about. */
export async function examine(store: ObjectStore, options: DoctorOptions): Promise<DoctorReport> {
  const { clock, random } = options;
  const refused = new Set<string>();
  const watched = measuring(store, clock, {
    onCall(operation, _durationMs, code) {
      if (code === 'STORE_FORBIDDEN') refused.add(permissions[operation] ?? operation);
    },
  });
  const id = Buffer.from(random.bytes(new Uint8Array(8))).toString('hex');
  const context: ProbeContext = {
    store: watched,
    clock,
    random,
    prefix: `doctor/${id}/`,
    partBytes: options.partBytes ?? 5 << 20,
  };
  const findings: Finding[] = [];
  let reached = true;
  for (const probe of probes) {
    if (!reached) findings.push({ check: probe.check, verdict: 'skipped', found: 'not tried', means: '' });
    else findings.push(await tried(probe, context));
    // Without an answer to the first request, or to the first write, the rest would only repeat it.
    if (probe.needed && findings.at(-1)!.verdict === 'missing') reached = false;
  }
  const sample = reached ? await measured(context, options, findings) : null;
  // Nothing was written where not even the listing worked.
  const listed = findings[0]!.verdict === 'ok';
  if (listed) findings.push(await cleanedUp(context));
  return {
    store: store.url,
    findings,
    // Who is nobody to the store, or asks the wrong one, lacks more than permissions.
    permissionsMissing: listed ? [...refused].sort() : [],
    sample,
    fit: !findings.some(({ verdict }) => verdict === 'missing'),
  };
}

async function tried(probe: Probe, context: ProbeContext): Promise<Finding> {
  const { check } = probe;
  try {
    const outcome = await probe.run(context);
    if (typeof outcome === 'string') return { check, verdict: 'ok', found: outcome, means: '' };
    return { check, ...outcome };
  } catch (error) {
    return {
      check,
      verdict: 'missing',
      found: reasonOf(error),
      means: `${probe.missing} ${adviceOn(error)}`.trim(),
    };
  }
}

async function measured(
  context: ProbeContext,
  options: DoctorOptions,
  findings: Finding[],
): Promise<DoctorSample | null> {
  try {
    return await measureStore(context, options.sampleMsMax ?? 5_000);
  } catch (error) {
    const means = 'Latency and throughput could not be measured.';
    findings.push({ check: 'steady under load', verdict: 'warning', found: reasonOf(error), means });
    return null;
  }
}

/** Removes all that is below the prefix; what it cannot remove, it names. */
async function cleanedUp({ store, prefix }: ProbeContext): Promise<Finding> {
  const check = 'cleaned up';
  try {
    for (const upload of await store.listUploads(prefix)) await store.abortUpload(upload);
    for (;;) {
      const keys = (await store.list(prefix)).map((info) => info.key);
      if (keys.length === 0) break;
      await store.delete(keys);
      // A store that goes on listing what was deleted would keep us here.
      if ((await store.list(prefix)).some(({ key }) => key === keys[0]))
        throw new Error('deleted keys are still listed');
    }
    return { check, verdict: 'ok', found: `nothing is left below ${prefix}`, means: '' };
  } catch (error) {
    const means = `Remove what is left below ${prefix} by hand.`;
    return { check, verdict: 'warning', found: reasonOf(error), means };
  }
}

function reasonOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

function adviceOn(error: unknown): string {
  if (!(error instanceof MillraceError)) return '';
  switch (error.code) {
    case 'STORE_UNAVAILABLE':
      return 'The store did not answer: check address, network and proxy.';
    case 'STORE_THROTTLED':
      return 'The store asked to slow down: try again when it is less busy.';
    default:
      return '';
  }
}
