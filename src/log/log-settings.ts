/** Topic settings that the append and read path consult. */
export interface LogSettings {
  readonly maxMessageBytes: number;
  readonly logAppendTime: boolean;
  readonly compacted: boolean;
  /** Compressed records are not unpacked when they are produced (records.validation=header). */
  readonly trustCompressed: boolean;
  /** What records are compressed with before they are appended; absent: they stay as their producer compressed them. */
  readonly recode?: { readonly codec: number; readonly level: number | null };
  /** Most bytes that the records of one batch may take when plain. */
  readonly decompressedBytesMax: number;
  readonly timestampBeforeMaxMs: number;
  readonly timestampAfterMaxMs: number;
}
