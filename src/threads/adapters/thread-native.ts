/** The native bindings of one thread with their portable stand-ins, chosen once at start. */
import type { CopyRanges, FileCalls, NativeBindings } from '../../../native-bindings/contract.ts';
import { loadNative } from '../../../native-bindings/index.ts';
import { portableBootTimeMs } from '../../../native-bindings/portable/boot-time.ts';
import { portableCopyRanges } from '../../../native-bindings/portable/copy-ranges.ts';
import { PortableFiles } from '../../../native-bindings/portable/files.ts';
import type { Arena } from '../../ports/arena.ts';
import { type Crc32c, portableCrc32c } from '../../protocol/records/crc32c.ts';
import { portableRecordWalk, type RecordWalk } from '../../protocol/records/record-walk.ts';

export interface ThreadNative {
  readonly native: NativeBindings | null;
  readonly files: FileCalls;
  readonly crc32c: Crc32c;
  readonly walk: RecordWalk;
  readonly copyRanges: CopyRanges;
  /** Clock.boottime. */
  readonly boottime: () => number;
  /** CRC-32C over the arena without a view per call. */
  crc32cAt(arena: Arena): (position: number, length: number) => number;
  /** Gives back the arenas of crc32cAt, which must not be called again. A thread that ends needs no release. */
  release(): void;
}

export function threadNative(wanted: boolean): ThreadNative {
  const native = wanted ? loadNative() : null;
  if (native === null) {
    const { crc32c } = portableCrc32c();
    return {
      native: null,
      files: new PortableFiles(),
      crc32c,
      walk: portableRecordWalk,
      copyRanges: portableCopyRanges,
      boottime: portableBootTimeMs,
      crc32cAt: (arena) => (position, length) => crc32c(arena.buffer, position, length),
      release() {},
    };
  }
  const releases: (() => void)[] = [];
  return {
    native,
    files: native,
    crc32c: (buffer, position, length, seed) => native.crc32c(buffer, position, length, seed),
    walk: (buffer, position, length, count, flags, report) =>
      native.walkRecords(buffer, position, length, count, flags, report),
    copyRanges: (source, target, table, count) => native.copyRanges(source, target, table, count),
    boottime: () => native.bootTimeMs(),
    crc32cAt: (arena) => {
      let handle = native.registerArena(arena.buffer);
      releases.push(() => {
        native.releaseArena(handle);
        // Another broker of this process may get the number: who still uses it fails.
        handle = -1;
      });
      return (position, length) => native.crc32cAt(handle, position, length);
    },
    release() {
      for (const release of releases.splice(0)) release();
    },
  };
}
