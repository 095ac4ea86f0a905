/**
 * The rooms of the source tree and what each may lean on, read by layering.ts. Changing a line here changes the
 * architecture: say why in docs/decisions.
 *
 * Two names are not folders. *compose* is the composition root: src/broker, and the roles of src/threads (shard, wal,
 * pool), whose workers put the same parts together inside a thread. *threads* is the rest of src/threads: shared memory,
 * doorbells, links and the system's clocks, which know no broker.
 */

/** A room, or only its types. */
export type Allowance = string;

const common = ['ports', 'protocol', 'config', 'observe', 'native-bindings'] as const;

/** What each room may import besides itself. */
export const rooms: Readonly<Record<string, readonly Allowance[]>> = {
  main: ['cli', 'embedded', 'inspect', 'threads', ...common],
  cli: ['embedded', 'inspect', 'threads', ...common],
  embedded: ['compose', 'threads', 'coordinator', ...common],
  compose: [
    'threads',
    'net',
    'requests',
    'cluster',
    'coordinator',
    'log',
    'stream',
    'store',
    'metadata',
    ...common,
  ],
  threads: ['ports', 'native-bindings'],
  // Requests and logs say what they need as interfaces; the control plane implements what requests ask of it.
  cluster: ['requests', 'metadata', ...common],
  // Frames arrive through interfaces that net states and requests implement: no code of net runs there.
  requests: ['coordinator', 'log', 'metadata', 'types of net', ...common],
  net: [...common],
  coordinator: [...common],
  log: ['stream', 'metadata', ...common],
  stream: ['store', 'types of metadata', ...common],
  // Tools of an operator: they look at what stores hold with the broker's own readers, and run beside no broker.
  inspect: ['stream', 'metadata', 'store', ...common],
  metadata: ['store', ...common],
  store: [...common],
  observe: ['ports', 'config'],
  protocol: ['ports'],
  config: ['ports'],
  'native-bindings': ['ports'],
  ports: [],
};

/** Folders of src/threads that belong to the composition root. */
export const roleRooms: readonly string[] = ['shard', 'wal', 'pool', 'main'];

/** Files of a thread role that may import from src/broker. */
export const roleFiles = /^(.+\.worker|client|contract|assemble|peers|peer-.+|remote-.+)\.ts$/;

/** The one file that imports each third-party package. */
export const packageImporters: Readonly<Record<string, string>> = {
  '@aws-sdk/client-s3': 'src/store/s3-store.ts',
  '@napi-rs/snappy': 'src/protocol/compression/snappy.ts',
  '@node-rs/crc32': 'src/protocol/records/crc32c.ts',
  '@toondepauw/node-zstd': 'src/protocol/compression/zstd.ts',
  'hdr-histogram-js': 'src/observe/metrics.ts',
  'lz4-napi': 'src/protocol/compression/lz4.ts',
  piscina: 'src/threads/pool/client.ts',
};

/** Rooms, or path prefixes, that may import each of Node's own modules for its values. Unlisted modules are for nobody. */
export const builtinRooms: Readonly<Record<string, readonly string[]>> = {
  assert: ['native-bindings'],
  buffer: ['protocol', 'store', 'stream', 'native-bindings'],
  child_process: [],
  crypto: ['src/threads/adapters/'],
  events: ['src/threads/shard/shard.worker.ts'],
  fs: [
    'store',
    'compose',
    'cli',
    'main',
    'native-bindings',
    'src/stream/wal/file-wal-device.ts',
    'src/stream/wal/async-file-wal-device.ts',
    'src/embedded/',
    'src/threads/adapters/',
  ],
  'fs/promises': ['store', 'stream', 'native-bindings'],
  http: ['observe', 'store'],
  https: ['store'],
  module: ['protocol', 'native-bindings'],
  net: ['compose', 'net', 'observe', 'store'],
  os: ['compose', 'embedded', 'cli', 'main', 'native-bindings'],
  path: [
    'compose',
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
  tls: ['compose', 'net'],
  url: ['compose', 'embedded', 'config', 'cli', 'store', 'native-bindings'],
  util: ['compose', 'cli', 'stream', 'native-bindings'],
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
  'src/net/socket-transport.ts': {
    names: ['setTimeout'],
    reason:
      'the adapter over node:tls: the limit on a handshake belongs to the socket, before there is a connection',
  },
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
