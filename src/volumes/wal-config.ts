/** One `--wal` as plain structured-cloneable values: where the volume lies, how large it grows, and its budgets. */
export interface WalConfig {
  /**
   * Path of the volume's file or device, a directory in which a log file is made, 'memory:', 'shared:/directory',
   * 'store:' (the broker's own store), 'store:URL' or 's3://…'.
   */
  readonly location: string;
  /** The store of 's3://…' and 'store:URL', with its settings; null for other kinds and for the broker's own store. */
  readonly storeUrl: string | null;
  readonly capacityBytes: number;
  readonly lingerMs: number;
  /** Writes and bytes per second; Infinity = no budget. */
  readonly iops: number;
  readonly bandwidth: number;
  /** A write without an answer for so long ends the volume's epoch. */
  readonly writeTimeoutMs: number;
  /** Added to every write: for measurements on disks faster than cloud disks. */
  readonly extraWriteDelayMs: number;
  /** Of a volume of objects. */
  readonly objects: { readonly batchBytes: number; readonly lingerMs: number; readonly inFlight: number };
}
