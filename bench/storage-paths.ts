/**
 * What bytes cost on their way to and from S3: processor seconds per GB of the client's process alone, against a real
 * server in a process of its own. `npm run bench -- storage-paths`, about two minutes.
 *
 *   upload   SDK defaults │ unsigned payload │ unsigned + native CRC-32C header (the broker's store): put, multipart
 *   read     SDK defaults │ the broker's store into the arena (no checksum of the SDK: every block has a CRC of its own)
 *
 * Every way is measured `rounds` times in turn, so that what else the machine does falls on all of them; the table has
 * the median and the spread. Bodies lie in shared memory, as in the broker, and differ.
 */
import { randomFillSync } from 'node:crypto';
import { Agent } from 'node:http';
import type { Readable } from 'node:stream';
import { GetObjectCommand, PutObjectCommand, S3Client, type S3ClientConfig } from '@aws-sdk/client-s3';
import { loadNative } from '../native-bindings/index.ts';
import { portableCrc32c } from '../src/protocol/records/crc32c.ts';
import { S3Store } from '../src/store/s3-store.ts';
import { type S3Server, startS3 } from '../test/support/s3-server.ts';

const MiB = 1 << 20;
const GB = 1e9;
const bodyBytes = 32 * MiB;
const partBytes = 16 * MiB;
const readBytes = 4 * MiB;
const bodies = 8;
const rounds = 3;
const parallel = 4;
const bucket = 'storage-paths';

export interface StoragePath {
  readonly direction: 'upload' | 'read';
  readonly name: string;
  /** Client's CPU seconds per GB, one per round. */
  readonly cpuSecondsPerGb: readonly number[];
  readonly mbPerSecond: readonly number[];
}

export interface StoragePaths {
  readonly server: string;
  readonly bytesPerRound: number;
  readonly paths: readonly StoragePath[];
}

interface Way {
  readonly direction: StoragePath['direction'];
  readonly name: string;
  /** Moves body `n`. */
  readonly move: (n: number) => Promise<void>;
}

/** The measurement, or the reason why there is none. */
export async function runStoragePaths(say: (line: string) => void): Promise<StoragePaths | string> {
  const server = await startS3({ build: true });
  if (typeof server === 'string') return server;
  const closes: (() => void)[] = [];
  try {
    await server.createBucket(bucket);
    const ways = waysTo(server, closes);
    // Once for nothing: compiles the code, opens the connections, puts what is read.
    for (const way of ways) for (let n = 0; n < bodies; n++) await way.move(n);
    const measured = ways.map(() => ({ cpu: [] as number[], rate: [] as number[] }));
    for (let round = 0; round < rounds; round++) {
      for (const [i, way] of ways.entries()) {
        const { cpuSecondsPerGb, mbPerSecond } = await measure(way);
        measured[i]!.cpu.push(cpuSecondsPerGb);
        measured[i]!.rate.push(mbPerSecond);
        say(
          `${way.direction}, ${way.name}: ${cpuSecondsPerGb.toFixed(2)} CPU-s/GB, ${mbPerSecond.toFixed(0)} MB/s`,
        );
      }
    }
    const paths = ways.map(({ direction, name }, i) => {
      return { direction, name, cpuSecondsPerGb: measured[i]!.cpu, mbPerSecond: measured[i]!.rate };
    });
    return { server: server.name, bytesPerRound: bodies * bodyBytes, paths };
  } finally {
    for (const close of closes) close();
    await server.stop();
  }
}

async function measure(way: Way): Promise<{ cpuSecondsPerGb: number; mbPerSecond: number }> {
  const begun = performance.now();
  const before = process.cpuUsage();
  let next = 0;
  await Promise.all(
    Array.from({ length: parallel }, async () => {
      while (next < bodies) await way.move(next++);
    }),
  );
  const { user, system } = process.cpuUsage(before);
  const bytes = bodies * bodyBytes;
  return {
    cpuSecondsPerGb: (user + system) / 1e6 / (bytes / GB),
    mbPerSecond: bytes / 1e6 / ((performance.now() - begun) / 1000),
  };
}

function waysTo(server: S3Server, closes: (() => void)[]): Way[] {
  const arena = Buffer.from(new SharedArrayBuffer(bodies * bodyBytes));
  const random = randomFillSync(Buffer.allocUnsafe(bodyBytes));
  for (let n = 0; n < bodies; n++) {
    random.copy(arena, n * bodyBytes);
    arena.writeUInt32LE(n, n * bodyBytes);
  }
  const body = (n: number): Buffer => arena.subarray(n * bodyBytes, (n + 1) * bodyBytes);
  const common = {
    region: server.region,
    endpoint: server.endpoint,
    forcePathStyle: true,
    credentials: server.credentials,
  };
  const client = (config: S3ClientConfig): S3Client => {
    const made = new S3Client({
      ...common,
      requestHandler: { httpAgent: new Agent({ keepAlive: true, maxSockets: 64 }) },
      ...config,
    });
    closes.push(() => made.destroy());
    return made;
  };
  const defaults = client({});
  const unsigned = client({ requestChecksumCalculation: 'WHEN_REQUIRED' });
  unsigned.middlewareStack.add(
    (next) => (args) => {
      const request = args.request as { headers?: Record<string, string> };
      if (request.headers !== undefined) request.headers['x-amz-content-sha256'] = 'UNSIGNED-PAYLOAD';
      return next(args);
    },
    { step: 'build', name: 'unsignedPayload' },
  );
  const native = loadNative();
  const crc32c =
    native === null
      ? portableCrc32c().crc32c
      : (buffer: Uint8Array, position: number, length: number, seed = 0) =>
          native.crc32c(buffer, position, length, seed);
  const { endpoint, region, credentials } = server;
  const store = new S3Store({ bucket, prefix: '', endpoint, region, credentials, pathStyle: true }, crc32c);
  closes.push(() => void store.close());
  const put = (by: S3Client, n: number) =>
    by.send(new PutObjectCommand({ Bucket: bucket, Key: `sdk/${n}`, Body: body(n) }));
  return [
    { direction: 'upload', name: 'SDK defaults', move: async (n) => void (await put(defaults, n)) },
    { direction: 'upload', name: 'SDK, unsigned payload', move: async (n) => void (await put(unsigned, n)) },
    {
      direction: 'upload',
      name: 'unsigned payload, native CRC-32C, put',
      move: (n) => store.put(`store/${n}`, [body(n)]),
    },
    {
      direction: 'upload',
      name: 'unsigned payload, native CRC-32C, multipart of 16 MiB',
      move: async (n) => {
        const upload = await store.multipart(`parts/${n}`);
        for (let at = 0; at < bodyBytes; at += partBytes)
          await upload.uploadPart(1 + at / partBytes, [body(n).subarray(at, at + partBytes)]);
        await upload.complete();
      },
    },
    {
      direction: 'read',
      name: 'SDK defaults, whole objects',
      move: async (n) => {
        const answer = await defaults.send(new GetObjectCommand({ Bucket: bucket, Key: `sdk/${n}` }));
        let bytes = 0;
        for await (const chunk of answer.Body as Readable) bytes += (chunk as Uint8Array).length;
        if (bytes !== bodyBytes) throw new Error(`${bytes} bytes came`);
      },
    },
    {
      direction: 'read',
      name: 'ranges of 4 MiB into the arena',
      move: async (n) => {
        const into = body(n);
        for (let at = 0; at < bodyBytes; at += readBytes) {
          const got = await store.getInto(`store/${n}`, at, into.subarray(at, at + readBytes));
          if (got !== readBytes) throw new Error(`${got} bytes came`);
        }
      },
    },
    {
      direction: 'read',
      name: 'ranges of 4 MiB into the arena, CRC-32C of the blocks',
      move: async (n) => {
        const into = body(n);
        for (let at = 0; at < bodyBytes; at += readBytes) {
          await store.getInto(`store/${n}`, at, into.subarray(at, at + readBytes));
          for (let b = at; b < at + readBytes; b += MiB) crc32c(into, b, MiB);
        }
      },
    },
  ];
}

export function storagePathsTable(result: StoragePaths): string {
  const lines = [
    `Server: ${result.server}, a process of its own. ${(result.bytesPerRound / 1e6).toFixed(0)} MB a round, ${rounds} rounds of each way in turn, ${parallel} requests at a time.`,
    '',
    '| direction | way | CPU-s/GB, median (least–most) | MB/s, median |',
    '|---|---|---:|---:|',
  ];
  for (const { direction, name, cpuSecondsPerGb, mbPerSecond } of result.paths) {
    const cpu = [...cpuSecondsPerGb].sort((a, b) => a - b);
    const rate = [...mbPerSecond].sort((a, b) => a - b);
    const middle = Math.floor(cpu.length / 2);
    lines.push(
      `| ${direction} | ${name} | ${cpu[middle]!.toFixed(2)} (${cpu[0]!.toFixed(2)}–${cpu.at(-1)!.toFixed(2)}) | ${rate[middle]!.toFixed(0)} |`,
    );
  }
  return `${lines.join('\n')}\n`;
}
