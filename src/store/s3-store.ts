/**
 * Object store over S3 and what speaks its protocol. The one importer of the AWS SDK, and imported lazily itself
 * (open-store.ts). Runs on the caller's thread.
 *
 * - Bodies go out as they lie: unsigned payload (the transport is TLS in production) with a CRC-32C that the server
 *   checks, computed by the injected function; the SDK hashes nothing in JavaScript.
 * - One attempt per call: retries, concurrency and measurements are decorators. Create-if-absent is
 *   `If-None-Match: *`; 412 = STORE_EXISTS; 409, time-outs and 5xx are ambiguous and say STORE_UNAVAILABLE.
 * - Completing a multipart upload may be answered with anything, NoSuchUpload too, after it took effect: the object is
 *   read back before the call fails.
 * Limits: sockets (64 by default), as many kept idle; one part or object per put below 5 GiB.
 */
import { Agent } from 'node:https';
import { Readable } from 'node:stream';
import {
  AbortMultipartUploadCommand,
  CompleteMultipartUploadCommand,
  CreateMultipartUploadCommand,
  DeleteObjectsCommand,
  GetObjectCommand,
  HeadObjectCommand,
  ListMultipartUploadsCommand,
  ListObjectsV2Command,
  PutObjectCommand,
  S3Client,
  type S3ClientConfig,
  UploadPartCommand,
  UploadPartCopyCommand,
} from '@aws-sdk/client-s3';
import type { Crc32c } from '../protocol/records/crc32c.ts';
import { uploadPage } from './memory-store.ts';
import type {
  MultipartUpload,
  ObjectInfo,
  ObjectStore,
  PartRule,
  PutOptions,
  UnfinishedUpload,
} from './object-store.ts';
import { isNoSuchUpload, s3Error } from './s3-errors.ts';
import { ReceivingAgent, receiveBody } from './s3-receive.ts';
import { bodyLength, checkKey, checkRange, hasCode, misuse, unavailable } from './store-errors.ts';

export interface S3Settings {
  readonly bucket: string;
  /** Key prefix of the cluster, without '/' at either end; '' = the whole bucket. */
  readonly prefix: string;
  readonly region?: string;
  /** URL of a server other than AWS. */
  readonly endpoint?: string;
  readonly pathStyle?: boolean;
  /** Without them: the SDK's default chain (environment, profile, web identity, instance). */
  readonly credentials?: {
    readonly accessKeyId: string;
    readonly secretAccessKey: string;
    readonly sessionToken?: string;
  };
  /** What the store takes as parts of an upload; any by default. */
  readonly parts?: PartRule;
  readonly encryption?: 'AES256' | 'aws:kms';
  readonly kmsKeyId?: string;
  /** PEM of the authorities to trust instead of the built-in ones. */
  readonly ca?: string;
  readonly maxSockets?: number;
  readonly connectTimeoutMs?: number;
  /** Longest silence of the server. */
  readonly requestTimeoutMs?: number;
}

const listPageMax = 1000;
const deleteBatchMax = 1000;
/** Of one listing, empty ones included: a limit of a thousand keys takes one as a rule. */
const pagesMax = 100_000;
/** Smaller bodies go out as one buffer: a stream per request costs more than the copy. */
const joinBytesMax = 64 * 1024;

/** Pages of one listing: each goes on where a page before it never did, or the listing would never end. */
class Pages {
  readonly #what: string;
  readonly #seen = new Set<string>();

  constructor(what: string) {
    this.#what = what;
  }

  /** The place where the next page begins, which the server must have named. */
  next(place: string | undefined): string {
    if (place === undefined || place === '' || this.#seen.has(place) || this.#seen.size >= pagesMax) {
      const how = place === undefined || place === '' ? 'names no next page' : 'goes round in its pages';
      throw unavailable(this.#what, `the server says that there is more, and ${how}`);
    }
    this.#seen.add(place);
    return place;
  }
}

type Encryption = {
  ServerSideEncryption?: 'AES256' | 'aws:kms';
  SSEKMSKeyId?: string;
  BucketKeyEnabled?: boolean;
};

export class S3Store implements ObjectStore {
  readonly url: string;
  readonly partRule: PartRule;
  readonly #client: S3Client;
  readonly #bucket: string;
  readonly #root: string;
  readonly #crc32c: Crc32c;
  readonly #encryption: Encryption;

  constructor(settings: S3Settings, crc32c: Crc32c) {
    this.url = `s3://${settings.bucket}/${settings.prefix}`;
    this.partRule = settings.parts ?? 'any';
    this.#bucket = settings.bucket;
    this.#root = settings.prefix === '' ? '' : `${settings.prefix}/`;
    this.#crc32c = crc32c;
    this.#encryption = encryptionOf(settings);
    this.#client = withoutVersionWarning(() => new S3Client(clientConfig(settings)));
    this.#client.middlewareStack.add(
      (next) => (args) => {
        const request = args.request as { method?: string; headers?: Record<string, string> };
        if (request.method === 'PUT' && request.headers !== undefined) {
          request.headers['x-amz-content-sha256'] = 'UNSIGNED-PAYLOAD';
        }
        return next(args);
      },
      { step: 'build', name: 'millraceUnsignedPayload' },
    );
    this.#client.middlewareStack.add(
      (next, context) => async (args) => {
        if (context.commandName === 'DeleteObjectsCommand')
          await withContentMd5(args.request, this.#client.config.md5);
        return next(args);
      },
      { step: 'build', priority: 'low', name: 'millraceContentMd5' },
    );
  }

  async put(key: string, body: readonly Uint8Array[], options?: PutOptions): Promise<void> {
    checkKey(key);
    const condition = options?.ifAbsent === true ? { IfNoneMatch: '*' } : {};
    const input = { ...this.#at(key), ...this.#body(body), ...this.#encryption, ...condition };
    await this.#send(`put ${key}`, key, () => this.#client.send(new PutObjectCommand(input)));
  }

  async multipart(key: string): Promise<MultipartUpload> {
    checkKey(key);
    const at = this.#at(key);
    const create = { ...at, ...this.#encryption, ChecksumAlgorithm: 'CRC32C' as const };
    const { UploadId } = await this.#send(`create multipart ${key}`, key, () =>
      this.#client.send(new CreateMultipartUploadCommand(create)),
    );
    const upload = { ...at, UploadId };
    const parts = new Map<number, { PartNumber: number; ETag?: string; ChecksumCRC32C?: string }>();
    const sizes = new Map<number, number>();
    const note = (number: number, size: number, tag: string | undefined, crc: string | undefined): void => {
      sizes.set(number, size);
      parts.set(number, {
        PartNumber: number,
        ...(tag === undefined ? {} : { ETag: tag }),
        ...(crc === undefined ? {} : { ChecksumCRC32C: crc }),
      });
    };
    return {
      uploadPart: async (number, body) => {
        const sent = this.#body(body);
        const input = { ...upload, ...sent, PartNumber: number };
        const answer = await this.#send(`part ${number} of ${key}`, key, () =>
          this.#client.send(new UploadPartCommand(input)),
        );
        note(number, sent.ContentLength, answer.ETag, sent.ChecksumCRC32C);
      },
      copyPart: async (number, sourceKey, start, end) => {
        checkKey(sourceKey);
        checkRange({ start, end });
        const source = {
          CopySource: `${this.#bucket}/${(this.#root + sourceKey).split('/').map(encodeURIComponent).join('/')}`,
          CopySourceRange: `bytes=${start}-${end - 1}`,
        };
        const answer = await this.#send(`copy part ${number} of ${key}`, sourceKey, () =>
          this.#client.send(new UploadPartCopyCommand({ ...upload, ...source, PartNumber: number })),
        );
        const { ETag, ChecksumCRC32C } = answer.CopyPartResult ?? {};
        note(number, end - start, ETag, ChecksumCRC32C);
      },
      complete: async () => {
        if (parts.size === 0) throw misuse(`multipart upload of ${key} has no part`);
        const Parts = [...parts.values()].sort((a, b) => a.PartNumber - b.PartNumber);
        const command = new CompleteMultipartUploadCommand({ ...upload, MultipartUpload: { Parts } });
        await this.#send(`complete ${key}`, key, async () => {
          try {
            await this.#client.send(command);
          } catch (error) {
            let size = 0;
            for (const bytes of sizes.values()) size += bytes;
            if (!(await this.#tookEffect(key, error, size, Parts.length))) throw error;
          }
        });
      },
      abort: () => this.#abort(key, upload),
    };
  }

  async get(key: string, range?: { readonly start: number; readonly end: number }): Promise<Buffer> {
    checkKey(key);
    if (range !== undefined) checkRange(range);
    // S3 knows no empty range; one byte of it tells a missing object all the same.
    const empty = range !== undefined && range.start === range.end;
    const bytes = await this.#read(
      key,
      empty ? { start: range.start, end: range.end + 1 } : range,
      Buffer.allocUnsafeSlow,
    );
    return empty ? Buffer.alloc(0) : bytes;
  }

  async getInto(key: string, start: number, into: Uint8Array): Promise<number> {
    checkKey(key);
    checkRange({ start, end: start + into.length });
    if (into.length === 0) return 0;
    const place = Buffer.from(into.buffer, into.byteOffset, into.length);
    const read = await this.#read(key, { start, end: start + into.length }, (length) =>
      place.subarray(0, length),
    );
    return read.length;
  }

  async head(key: string): Promise<ObjectInfo | null> {
    checkKey(key);
    try {
      const found = await this.#send(`head ${key}`, key, () =>
        this.#client.send(new HeadObjectCommand(this.#at(key))),
      );
      return { key, size: found.ContentLength ?? 0, modifiedMs: found.LastModified?.getTime() ?? 0 };
    } catch (error) {
      if (hasCode(error, 'STORE_NOT_FOUND')) return null;
      throw error;
    }
  }

  async list(
    prefix: string,
    options?: { readonly after?: string; readonly limit?: number },
  ): Promise<ObjectInfo[]> {
    const limit = options?.limit ?? listPageMax;
    const found: ObjectInfo[] = [];
    const after = options?.after ?? '';
    const what = `list ${prefix}`;
    const pages = new Pages(what);
    let ContinuationToken: string | undefined;
    while (found.length < limit) {
      const start = after === '' ? {} : { StartAfter: this.#root + after };
      const page = await this.#send(what, prefix, () =>
        this.#client.send(
          new ListObjectsV2Command({
            Bucket: this.#bucket,
            Prefix: this.#root + prefix,
            MaxKeys: Math.min(listPageMax, limit - found.length),
            ...(ContinuationToken === undefined ? start : { ContinuationToken }),
          }),
        ),
      );
      for (const { Key, Size, LastModified } of page.Contents ?? []) {
        const key = (Key ?? '').slice(this.#root.length);
        found.push({ key, size: Size ?? 0, modifiedMs: LastModified?.getTime() ?? 0 });
      }
      if (page.IsTruncated !== true || found.length >= limit) break;
      // A page may be empty and not the last: markers of deleted versions are skipped after they were counted.
      ContinuationToken = pages.next(page.NextContinuationToken);
    }
    return found;
  }

  async delete(keys: readonly string[]): Promise<void> {
    for (const key of keys) checkKey(key);
    for (let at = 0; at < keys.length; at += deleteBatchMax) {
      const Objects = keys.slice(at, at + deleteBatchMax).map((key) => ({ Key: this.#root + key }));
      const what = `delete of ${Objects.length} objects`;
      const answer = await this.#send(what, '', () =>
        this.#client.send(
          new DeleteObjectsCommand({ Bucket: this.#bucket, Delete: { Objects, Quiet: true } }),
        ),
      );
      const refused = answer.Errors?.find((error) => error.Code !== 'NoSuchKey');
      if (refused !== undefined) {
        const named = Object.assign(new Error(refused.Message ?? 'refused'), {
          name: refused.Code ?? 'Unknown',
        });
        throw s3Error(what, refused.Key ?? '', named);
      }
    }
  }

  async listUploads(
    prefix: string,
    options?: { readonly after?: string; readonly limit?: number },
  ): Promise<UnfinishedUpload[]> {
    const limit = options?.limit ?? listPageMax;
    const found: UnfinishedUpload[] = [];
    const after = options?.after ?? '';
    const what = `list uploads of ${prefix}`;
    const pages = new Pages(what);
    let KeyMarker = after === '' ? undefined : this.#root + after;
    while (found.length < limit) {
      const page = await this.#send(what, prefix, () =>
        this.#client.send(
          new ListMultipartUploadsCommand({
            Bucket: this.#bucket,
            Prefix: this.#root + prefix,
            MaxUploads: Math.min(listPageMax, limit - found.length),
            ...(KeyMarker === undefined ? {} : { KeyMarker }),
          }),
        ),
      );
      const uploads = (page.Uploads ?? []).map(({ Key, UploadId, Initiated }) => ({
        key: (Key ?? '').slice(this.#root.length),
        uploadId: UploadId ?? '',
        startedMs: Initiated?.getTime() ?? 0,
      }));
      // Some servers know neither marker, maximum nor order.
      const behind = uploadPage(uploads, prefix, { after, limit: limit - found.length });
      found.push(...behind);
      if (page.IsTruncated !== true || found.length >= limit) break;
      // Behind a key as a whole: not every server can go on in the middle of one.
      const last = behind.at(-1)?.key;
      KeyMarker = pages.next(last === undefined ? page.NextKeyMarker : this.#root + last);
    }
    return found;
  }

  async abortUpload(upload: UnfinishedUpload): Promise<void> {
    const UploadId = upload.uploadId;
    await this.#abort(upload.key, { ...this.#at(upload.key), UploadId });
  }

  async close(): Promise<void> {
    this.#client.destroy();
  }

  /**
   * Whether an upload was completed although the answer said otherwise: the object has its size, and the tag that S3
   * gives to what has that many parts. An answer that is clear is believed.
   */
  async #tookEffect(key: string, error: unknown, size: number, parts: number): Promise<boolean> {
    const { kind } = s3Error('', key, error);
    if (!isNoSuchUpload(error) && kind !== 'unavailable' && kind !== 'exhausted') return false;
    try {
      const found = await this.#client.send(new HeadObjectCommand(this.#at(key)));
      return found.ContentLength === size && (found.ETag ?? '').replaceAll('"', '').endsWith(`-${parts}`);
    } catch {
      return false;
    }
  }

  /** An upload that is over already is no error: what was wanted is so. */
  async #abort(key: string, upload: { Bucket: string; Key: string; UploadId: string | undefined }) {
    await this.#send(`abort ${key}`, key, async () => {
      try {
        await this.#client.send(new AbortMultipartUploadCommand(upload));
      } catch (error) {
        if (!isNoSuchUpload(error)) throw error;
      }
    });
  }

  #at(key: string): { Bucket: string; Key: string } {
    return { Bucket: this.#bucket, Key: this.#root + key };
  }

  #body(body: readonly Uint8Array[]): {
    Body: Buffer | Readable;
    ContentLength: number;
    ChecksumCRC32C: string;
  } {
    const views = body.map((part) => Buffer.from(part.buffer, part.byteOffset, part.length));
    const length = bodyLength(views);
    const crc = Buffer.alloc(4);
    let value = this.#crc32c(crc, 0, 0);
    for (const view of views) value = this.#crc32c(view, 0, view.length, value);
    crc.writeUInt32BE(value >>> 0);
    const Body = length <= joinBytesMax ? Buffer.concat(views) : Readable.from(views, { objectMode: false });
    return { Body, ContentLength: length, ChecksumCRC32C: crc.toString('base64') };
  }

  /** Bytes of the range, in the memory that `place` gives for so many. */
  async #read(
    key: string,
    range: { readonly start: number; readonly end: number } | undefined,
    place: (length: number) => Buffer,
  ): Promise<Buffer> {
    const Range = range === undefined ? {} : { Range: `bytes=${range.start}-${range.end - 1}` };
    try {
      return await this.#send(`get ${key}`, key, async () => {
        const answer = await this.#client.send(new GetObjectCommand({ ...this.#at(key), ...Range }));
        const body = answer.Body as Readable;
        const length = answer.ContentLength ?? -1;
        const wanted = range === undefined ? length : range.end - range.start;
        if (length < 0 || length > wanted) {
          body.destroy();
          throw new Error(`${length} bytes were announced for ${wanted}`);
        }
        const into = place(length);
        await receiveBody(body, into);
        return into;
      });
    } catch (error) {
      // The range begins behind the end: no bytes, as with the other adapters.
      if (hasCode(error, 'STORE_RANGE')) return Buffer.alloc(0);
      throw error;
    }
  }

  async #send<T>(what: string, key: string, call: () => Promise<T>): Promise<T> {
    try {
      return await call();
    } catch (error) {
      throw s3Error(what, key, error);
    }
  }
}

function encryptionOf(settings: S3Settings): Encryption {
  if (settings.encryption === undefined) return {};
  if (settings.encryption === 'AES256') return { ServerSideEncryption: 'AES256' };
  const key = settings.kmsKeyId === undefined ? {} : { SSEKMSKeyId: settings.kmsKeyId };
  // One data key for many objects: without it every put would be a billed KMS call.
  return { ServerSideEncryption: 'aws:kms', BucketKeyEnabled: true, ...key };
}

function clientConfig(settings: S3Settings): S3ClientConfig {
  const maxSockets = settings.maxSockets ?? 64;
  const agent = { keepAlive: true, maxSockets, maxFreeSockets: maxSockets };
  const tls = settings.ca === undefined ? {} : { ca: settings.ca };
  // Servers that are not AWS sign for whatever region they are told; this is their usual one.
  const region = settings.region ?? (settings.endpoint === undefined ? undefined : 'us-east-1');
  return {
    maxAttempts: 1,
    logger: silentSdk,
    // A round trip before each large body is worth it only where requests are often refused.
    expectContinueHeader: false,
    requestChecksumCalculation: 'WHEN_REQUIRED',
    responseChecksumValidation: 'WHEN_REQUIRED',
    forcePathStyle: settings.pathStyle ?? false,
    ...(region === undefined ? {} : { region }),
    ...(settings.endpoint === undefined ? {} : { endpoint: settings.endpoint }),
    ...(settings.credentials === undefined ? {} : { credentials: settings.credentials }),
    requestHandler: {
      logger: silentSdk,
      connectionTimeout: settings.connectTimeoutMs ?? 3_000,
      socketTimeout: settings.requestTimeoutMs ?? 30_000,
      httpAgent: new ReceivingAgent(agent),
      httpsAgent: new Agent({ ...agent, ...tls }),
    },
  };
}

/**
 * DeleteObjects must carry a checksum. The SDK's CRC is unknown to older MinIO and to Oracle's storage, while all know
 * Content-MD5; where this Node has no MD5 (FIPS), the CRC stays.
 */
async function withContentMd5(request: unknown, Md5: S3Client['config']['md5']): Promise<void> {
  const { headers, body } = request as { headers: Record<string, string>; body: string | Uint8Array };
  let digest: Uint8Array;
  try {
    const hash = new Md5();
    hash.update(body);
    digest = await hash.digest();
  } catch {
    return;
  }
  for (const name of Object.keys(headers)) {
    if (/^x-amz-(sdk-)?checksum-/i.test(name)) delete headers[name];
  }
  headers['content-md5'] = Buffer.from(digest).toString('base64');
}

/** What went wrong leaves as an error; the SDK's own lines belong to nobody's log. */
const silentSdk = { debug() {}, info() {}, warn() {}, error() {} };

/**
 * The SDK warns on standard error that it will need a newer Node, once in a process and unless the environment says not
 * to. Which Node versions Millrace runs on is for its own releases to say.
 */
function withoutVersionWarning<T>(make: () => T): T {
  const name = 'AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED';
  const before = process.env[name];
  process.env[name] = 'true';
  try {
    return make();
  } finally {
    if (before === undefined) delete process.env[name];
    else process.env[name] = before;
  }
}
