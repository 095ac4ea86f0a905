/** Topic settings that the append and read path consult. */
export interface LogSettings {
  readonly maxMessageBytes: number;
  readonly logAppendTime: boolean;
  readonly compacted: boolean;
  readonly timestampBeforeMaxMs: number;
  readonly timestampAfterMaxMs: number;
}
