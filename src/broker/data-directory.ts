/** The data directory of a broker: made durably, and held by one broker at a time. Main thread. */
import { join } from 'node:path';
import type { NativeBindings } from '../../native-bindings/contract.ts';
import { acquireLock } from '../../native-bindings/portable/lock-file.ts';
import { MillraceError } from '../ports/errors.ts';

/** The directory must be there. @returns what lets go of it. */
export function lockDataDirectory(dataDir: string, native: Pick<NativeBindings, 'flock'> | null): () => void {
  const lock = acquireLock(join(dataDir, 'lock'), native);
  if ('heldBy' in lock) {
    throw new MillraceError(
      'invalid',
      'DATA_DIR_IN_USE',
      `the data directory ${dataDir} is in use by ${lock.heldBy}; stop that broker or choose another --data`,
    );
  }
  return lock.release;
}
