/**
 * The rooms of the source tree and what each may lean on, read by layering.ts. Changing a line here changes the
 * architecture: say why in docs/decisions.
 *
 * A room is a folder of src, with one exception: src/threads is three rooms. *threads* is shared memory, doorbells and links;
 * *adapters* (src/threads/adapters) is the outside as one thread has it: clocks, native functions, the guarded store;
 * *roles* (src/threads/{shard,wal,pool,main}) are the entries of the threads, with their contracts and clients.
 */

/** A room, or only its types. */
export type Allowance = string;

const common = ['ports', 'protocol', 'config', 'observe', 'native-bindings'] as const;

/** What each room may import besides itself. */
export const rooms: Readonly<Record<string, readonly Allowance[]>> = {
  main: ['cli', 'embedded', 'inspect', 'threads', 'adapters', ...common],
  cli: ['embedded', 'inspect', 'cost', 'threads', 'adapters', ...common],
  embedded: ['broker', 'threads', 'adapters', 'coordinator', 'store', 'cost', ...common],
  broker: [
    'roles',
    'upkeep',
    'ownership',
    'volumes',
    'shard',
    'cluster',
    'adapters',
    'threads',
    'net',
    'requests',
    'coordinator',
    'log',
    'stream',
    'store',
    'metadata',
    ...common,
  ],
  // Entries of threads put the parts of a shard, a volume's writer or a pool together; only the broker starts them.
  roles: ['shard', 'adapters', 'threads', 'net', 'requests', 'log', 'stream', 'store', 'metadata', ...common],
  upkeep: ['ownership', 'volumes', 'shard', 'requests', 'log', 'stream', 'store', 'metadata', ...common],
  ownership: ['net', 'volumes', 'shard', 'requests', 'log', 'stream', 'store', 'metadata', ...common],
  volumes: ['stream', 'store', 'metadata', ...common],
  shard: [
    'adapters',
    'threads',
    'net',
    'interbroker',
    'requests',
    'coordinator',
    'log',
    'stream',
    'store',
    'metadata',
    ...common,
  ],
  adapters: ['threads', 'store', ...common],
  threads: ['ports', 'native-bindings'],
  // Requests and logs say what they need as interfaces; the control plane implements what requests ask of it.
  cluster: ['requests', 'metadata', ...common],
  // Frames arrive through interfaces that net states and requests implement: no code of net runs there.
  requests: ['coordinator', 'log', 'metadata', 'types of net', ...common],
  net: [...common],
  // What coordinators and logs ask of one another, brought to other brokers: their words, none of their code.
  interbroker: ['types of coordinator', 'types of log', 'types of metadata', 'types of net', ...common],
  coordinator: [...common],
  log: ['stream', 'metadata', ...common],
  stream: ['store', 'types of metadata', ...common],
  // Tools of an operator: they look at what stores hold with the broker's own readers, and run beside no broker.
  inspect: ['stream', 'metadata', 'store', ...common],
  // Bills from numbers: no part of a broker.
  cost: ['ports'],
  metadata: ['store', ...common],
  store: [...common],
  observe: ['ports', 'config'],
  protocol: ['ports'],
  config: ['ports'],
  'native-bindings': ['ports'],
  ports: [],
};

/** Folders of src/threads that are roles. */
export const roleRooms: readonly string[] = ['shard', 'wal', 'pool', 'main'];

/** A bound of its own, and why. */
interface OwnBound {
  readonly reason: string;
}

/** How large rooms and files may grow before they are divided. Generated files do not count. */
export const sizes: {
  readonly filesMax: number;
  readonly linesMax: number;
  readonly rooms: Readonly<Record<string, OwnBound & { readonly filesMax: number }>>;
  readonly files: Readonly<Record<string, OwnBound & { readonly linesMax: number }>>;
} = {
  filesMax: 30,
  linesMax: 520,
  rooms: {
    stream: { filesMax: 100, reason: 'a folder for each noun of the design, and no folder above 30 files' },
    requests: { filesMax: 120, reason: 'one file for each Kafka request, of which there are ninety' },
    shard: { filesMax: 34, reason: 'folders for the links between shards and for share partitions' },
    metadata: { filesMax: 45, reason: 'a folder for the authority in etcd' },
    coordinator: { filesMax: 80, reason: 'a folder for each kind of coordinator' },
    protocol: { filesMax: 40, reason: 'records, compression and schema' },
    store: { filesMax: 40, reason: 'three stores, and the sequenced log over them' },
  },
  files: {
    'src/config/setting-table.ts': { linesMax: 650, reason: 'one table' },
    'src/metadata/conditions.ts': {
      linesMax: 560,
      reason: 'a condition for each kind of change, over one set of overlays',
    },
    'src/metadata/image-builder.ts': { linesMax: 600, reason: 'one fold, a method for each kind of change' },
    'src/stream/wal/wal-writer.ts': { linesMax: 600, reason: 'one state machine of a volume' },
  },
};

/** The one file that imports each third-party package. */
export const packageImporters: Readonly<Record<string, string>> = {
  '@aws-sdk/client-s3': 'src/store/s3-store.ts',
  '@grpc/grpc-js': 'src/metadata/etcd/grpc-endpoint.ts',
  '@napi-rs/snappy': 'src/protocol/compression/snappy.ts',
  '@node-rs/crc32': 'src/protocol/records/crc32c.ts',
  '@toondepauw/node-zstd': 'src/protocol/compression/zstd.ts',
  'hdr-histogram-js': 'src/observe/metrics.ts',
  'lz4-napi': 'src/protocol/compression/lz4.ts',
  piscina: 'src/threads/pool/client.ts',
  re2js: 'src/protocol/pattern.ts',
};

/** Rooms, or path prefixes, that may import each of Node's own modules for its values. Unlisted modules are for nobody. */
export const builtinRooms: Readonly<Record<string, readonly string[]>> = {
  assert: ['native-bindings'],
  buffer: ['protocol', 'store', 'stream', 'native-bindings'],
  // A platform that is asked for brokers may be a command.
  child_process: ['src/threads/adapters/scaling-hook.ts'],
  crypto: ['src/threads/adapters/'],
  'dns/promises': ['src/broker/address-limits.ts'],
  events: ['src/threads/shard/shard.worker.ts'],
  fs: [
    'store',
    'broker',
    'volumes',
    'cli',
    'main',
    'native-bindings',
    'src/stream/wal/file-wal-device.ts',
    'src/stream/wal/async-file-wal-device.ts',
    'src/embedded/',
    'src/threads/adapters/',
  ],
  // Volumes: a start looks at files that may not answer, and must not be held up by them.
  'fs/promises': ['store', 'stream', 'volumes', 'native-bindings'],
  http: ['observe', 'store', 'src/threads/adapters/'],
  https: ['store', 'src/threads/adapters/'],
  module: ['protocol', 'native-bindings'],
  net: ['broker', 'shard', 'net', 'observe', 'store'],
  os: ['broker', 'volumes', 'embedded', 'cli', 'main', 'native-bindings'],
  path: [
    'broker',
    'volumes',
    'config',
    'cli',
    'main',
    'embedded',
    'store',
    'native-bindings',
    'src/stream/wal/file-wal-device.ts',
  ],
  perf_hooks: ['threads', 'observe', 'native-bindings'],
  stream: ['store'],
  timers: [],
  tls: ['net'],
  url: ['broker', 'volumes', 'roles', 'embedded', 'config', 'cli', 'store', 'native-bindings'],
  util: ['broker', 'volumes', 'ownership', 'shard', 'cli', 'stream', 'native-bindings'],
  worker_threads: ['src/threads/', 'native-bindings'],
  zlib: ['protocol'],
};

/** Where the process itself may be touched: adapters of the ports, and entry points. */
export const entryFiles: readonly string[] = ['src/threads/adapters/', 'src/main.ts', 'src/cli/'];

/** Wall clocks, randomness, the environment: everywhere else they come from a port. */
export const forbiddenCalls: readonly string[] = [
  'Date.now',
  'Math.random',
  'process.env',
  'process.hrtime',
  'performance.now',
];
export const forbiddenObjects: readonly string[] = ['setTimeout', 'setInterval', 'setImmediate'];

/** Files outside `entryFiles` that touch one of them all the same, and why. */
export const ambientExceptions: Readonly<
  Record<string, { readonly names: readonly string[]; readonly reason: string }>
> = {
  'src/store/s3-store.ts': {
    names: ['process.env'],
    reason:
      'the AWS SDK takes the wish for silence about Node versions from nowhere else; it is put back at once',
  },
  'src/observe/http.ts': {
    names: ['setTimeout'],
    reason:
      'the adapter over node:http: the limit on closing belongs to the server, and nothing is measured by it',
  },
};

export const sharedMemoryNames: readonly string[] = ['SharedArrayBuffer', 'Atomics'];
