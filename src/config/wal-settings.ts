/** Settings of the write-ahead log: a part of the one table, in its order. */
import { defaultWalCapacity } from './derive.ts';
import { bytes, double, int, list } from './setting-spec.ts';
import { below, isWalUrl } from './setting-urls.ts';

const MiB = 2 ** 20;
const TiB = 2 ** 40;
const int32Max = 2 ** 31 - 1;

export const walSettings = {
  'wal.url': list({
    group: 'Write-ahead log',
    default: (context) => [context.profile === 'embedded' ? 'memory:' : below(context, 'wal')],
    defaultText: 'a file in data.dir/wal; embedded: memory:',
    check: (urls) =>
      urls.length >= 1 && urls.length <= 16 && urls.every(isWalUrl)
        ? null
        : '1 to 16 of file:///directory, shared:/directory, store:, store:URL, s3://bucket/prefix and memory: with commas between',
    doc: 'WAL volumes: directories on different disks add up; shared: is a directory that other machines reach (NFS); store: writes objects to the store and needs no disk, s3:// or store:URL to another; memory: survives nothing.',
  }),
  'wal.capacity': bytes({
    group: 'Write-ahead log',
    default: (context) => defaultWalCapacity(context.profile),
    defaultText: '2 GiB; dev 512 MiB; embedded 16 MiB',
    min: 16 * MiB,
    max: TiB,
    doc: 'Size a volume may grow to; records leave it once they are uploaded.',
  }),
  'wal.iops': int({
    group: 'Write-ahead log',
    default: 0,
    min: 50,
    max: int32Max,
    also: 0,
    doc: 'Writes per second a volume may use (one per 256 KiB, as cloud disks count); 0 = as many as it takes.',
  }),
  'wal.bandwidth': bytes({
    group: 'Write-ahead log',
    default: 0,
    min: MiB,
    max: TiB,
    also: 0,
    doc: 'Bytes per second a volume may use; 0 = as many as it takes.',
  }),
  'wal.linger.max.ms': double({
    group: 'Write-ahead log',
    default: 0.5,
    min: 0,
    max: 100,
    doc: 'Longest wait for company before a small commit is written, in ms; an idle volume never waits.',
  }),
  'wal.write.timeout.ms': int({
    group: 'Write-ahead log',
    default: 30_000,
    min: 500,
    max: 600_000,
    doc: 'A write to a volume without an answer for this long counts as failed: its partitions refuse writes from then on.',
  }),
  'wal.alone.max.ms': int({
    group: 'Write-ahead log',
    default: (context) => (context.get('metadata.url') === '' ? 0 : 300_000),
    defaultText: '0; in a cluster 300000',
    min: 30_000,
    max: 3_600_000,
    also: 0,
    doc: 'A broker that cannot reach its metadata acknowledges for so long, then refuses producers until it can; 0 = as long as it has room. It is asked every 10 s. Who abandons its WAL elsewhere must wait as long.',
  }),
  'wal.extra.write.delay.ms': double({
    group: 'Write-ahead log',
    default: 0,
    min: 0,
    max: 1_000,
    doc: 'Added to every write in ms, so that a fast disk measures like a slower one. For benchmarks only.',
  }),
  'wal.object.batch.bytes': bytes({
    group: 'Write-ahead log',
    default: 4 * MiB,
    min: 64 * 1024,
    max: 8 * MiB,
    doc: 'A WAL of objects stores this much at once, or what has come when the linger is over.',
  }),
  'wal.object.linger.max.ms': double({
    group: 'Write-ahead log',
    default: 250,
    min: 0,
    max: 5_000,
    doc: 'Longest time between two objects of a WAL, in ms; less where a put takes less, none when idle. Each object costs a request.',
  }),
  'wal.object.in.flight': int({
    group: 'Write-ahead log',
    default: 4,
    min: 1,
    max: 16,
    doc: 'Objects of a WAL under way at once.',
  }),
};
